//! Write transactions on one bucket (part of txn, layer L6).
//!
//! Owns: [`Txn`]. Must not know: when its changes reach the disk.
//! Keeps: commit-atomic (undone when dropped before it is settled), errors-stick.

mod early;
mod load;
mod remove;

use super::iter::{Hold, Shared};
use super::range::Bounds;
use super::work::{Waiting, Work};
use super::{
    Iter, Range, Sticky, ValueReader, check_key, check_name, check_value, edge_entry,
    none_if_absent,
};
use crate::commit::{Bucket, Core, Durability, Hearing, Outcome, Writer};
use crate::error::{Error, Result, of_closure};
use crate::page::TxnId;
use crate::seeded::seeded;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::tree::{Condition, Cursor, Edit, NewValue, PageRead, Tree};
use early::EARLY_BYTES_MIN;
pub(super) use early::Taken;
pub(crate) use early::read_whole;
pub(super) use load::Loader;
pub(crate) use load::PushFn;
use std::ops::RangeBounds;

/// A bucket in a write transaction: reads see what the transaction wrote.
///
/// Nothing is visible to others, or durable, before the closure has returned `Ok`.
pub struct Txn<'t> {
    core: &'t Arc<Core>,
    /// The newest sealed one.
    state: TxnId,
    /// Locked for one call at a time: one that reads may have to make gathered puts first.
    work: Mutex<Work<'t>>,
    is_settled: bool,
    /// What was asked for last.
    durability: Option<Durability>,
    hold: Shared,
    sticky: Sticky,
    /// Of the transaction of which this is a part.
    whole: &'t Sticky,
}

/// Runs a closure in a write transaction of its own, and waits until it is durable, if it is to be.
pub(crate) fn run_exec<R>(
    core: &Arc<Core>,
    hearing: &Hearing,
    bucket: &str,
    closure: impl FnOnce(&mut Txn<'_>) -> Result<R>,
) -> Result<R> {
    check_name(core, bucket)?;
    let mut guard = core.begin_for(hearing)?;
    let (whole, mut waiting) = (Sticky::new(), Waiting::default());
    let within = Within { writer: guard.writer(), whole: &whole, waiting: &mut waiting };
    let (value, ended) = run_in_bucket(core, within, bucket, None, closure)?;
    let outcome = if seeded!(NoOpMovesSequence) { Outcome::Changed } else { ended.outcome };
    guard.finish_for(hearing, outcome, ended.durability.unwrap_or(hearing.durability))?;
    Ok(value)
}

/// How a closure on a bucket ended that did not fail.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// What it asked for.
    pub(super) durability: Option<Durability>,
}

/// Where a closure on a bucket runs.
pub(super) struct Within<'t> {
    pub(super) writer: &'t mut Writer,
    pub(super) whole: &'t Sticky,
    pub(super) waiting: &'t mut Waiting,
}

/// Runs a closure on a bucket of the running transaction. When it fails, only its own changes
/// are undone. What it has put may wait if it is `part_of` a transaction, which names the bucket.
pub(super) fn run_in_bucket<R>(
    core: &Arc<Core>,
    within: Within<'_>,
    bucket: &str,
    part_of: Option<&[u8]>,
    closure: impl FnOnce(&mut Txn<'_>) -> Result<R>,
) -> Result<(R, Ended)> {
    let Within { writer, whole, waiting } = within;
    let sticky = Sticky::on(&writer.batch.base);
    // Where something is kept, the bucket is there, and whoever looks at it makes that first.
    let found = if waiting.has_kept() {
        Some(Tree::empty())
    } else {
        sticky.note(writer.batch.bucket(&core.pager, bucket.as_bytes()))?
    };
    // Touching a bucket that does not exist makes it.
    let is_there = found.is_some() || seeded!(TouchMakesNoBucket);
    let outcome = if is_there { Outcome::Same } else { Outcome::Changed };
    let state = writer.batch.base.txn;
    let tree = found.unwrap_or_else(|| Tree { txn: state, ..Tree::empty() });
    let work = Mutex::new(Work::new(writer, tree, outcome, waiting, part_of));
    let hold = Shared::new();
    let mut txn =
        Txn { core, state, work, is_settled: false, durability: None, hold, sticky, whole };
    let result = of_closure(|| closure(&mut txn));
    if result.is_err() && seeded!(InnerErrorKeptInMulti | InnerErrorDestroysBucket) {
        let work = txn.work_mut()?;
        let left = if seeded!(InnerErrorKeptInMulti) { work.tree.clone() } else { Tree::empty() };
        work.writer.batch.install(bucket.as_bytes(), Bucket::Live(left));
        txn.is_settled = true;
    }
    let value = result?;
    txn.end()?;
    let work = txn.work.get_mut();
    let outcome = work.outcome;
    if seeded!(NoOpLosesEarlierRoot) && outcome == Outcome::Same {
        let base = Arc::clone(&work.writer.batch.base);
        if let Some(old) = base.catalog.find(&core.pager, bucket.as_bytes(), base.txn)? {
            work.writer.batch.install(bucket.as_bytes(), Bucket::Live(old));
        }
    }
    // Where all that a part did waits, the batch has the bucket already, or will have it.
    if outcome == Outcome::Changed && !(is_there && work.only_waits()) {
        let tree = std::mem::replace(&mut work.tree, Tree::empty());
        work.writer.batch.install(bucket.as_bytes(), Bucket::Live(tree));
    }
    txn.is_settled = true;
    Ok((value, Ended { outcome, durability: txn.durability }))
}

impl<'t> Txn<'t> {
    fn page_size(&self) -> usize {
        self.core.pager.page_size()
    }

    fn hold(&self) -> Arc<Hold> {
        let batch = || Some(self.work.lock().writer.batch.loss());
        self.hold.hold(self.core, self.state, &self.sticky, batch)
    }

    fn check(&self, key: &[u8]) -> Result<()> {
        self.sticky.check()?;
        check_key(self.page_size(), key)
    }

    /// The work so far, with all puts made.
    fn work(&self) -> Result<MutexGuard<'_, Work<'t>>> {
        self.sticky.check()?;
        let mut work = self.work.lock();
        self.sticky.note(work.end_run(self.core))?;
        Ok(work)
    }

    fn work_mut(&mut self) -> Result<&mut Work<'t>> {
        self.sticky.check()?;
        drop(self.work()?);
        Ok(self.work.get_mut())
    }

    /// Ends the transaction on the bucket.
    fn end(&mut self) -> Result<()> {
        self.sticky.check()?;
        self.sticky.note(self.work.get_mut().end(self.core))
    }

    /// The bucket as it is now; half changed where something failed, which sticks.
    fn tree(&self) -> (Tree, Result<()>) {
        let mut work = self.work.lock();
        let made = self.sticky.check().and_then(|()| self.sticky.note(work.end_run(self.core)));
        (work.tree.clone(), made)
    }

    /// Changes the tree; the closure tells whether. A failure sticks: the tree may be half
    /// changed.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> Result<bool>,
    ) -> Result<bool> {
        self.sticky.note(self.work.get_mut().change(self.core, change))
    }

    /// Whether the transaction waits until it is durable, whatever the options say. The last call
    /// counts. In a closure of [`MultiTxn::exec`](crate::MultiTxn::exec) it is asked for the whole
    /// transaction, unless the closure fails.
    ///
    /// ```
    /// # use btree_store::{Durability, Error};
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// let put = |key: &str, durability| {
    ///     db.exec("b", |txn| {
    ///         txn.set_durability(durability);
    ///         txn.put(key, "v")
    ///     })
    /// };
    /// put("k1", Durability::Deferred)?;
    /// put("k2", Durability::Deferred)?;
    /// assert_eq!(db.current_seq(), 0);
    /// put("k3", Durability::Durable)?; // and with it the two before
    /// assert_eq!(db.view("b", |txn| Ok(txn.len()))?, 3);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = Some(durability);
    }

    /// Inserts an entry, or replaces its value. Keys are ordered byte by byte, unsigned, a prefix
    /// before what it begins: integers go in as `to_be_bytes`, signed ones with the sign bit
    /// flipped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for a key or a value beyond its
    /// limit: nothing is changed then. [`Error::Corruption`] and [`Error::IoError`], which stick;
    /// of a put that follows another, a later call may be the first to say so, or the end of the
    /// transaction. [`Error::NoSpace`] for a value of 256 KiB or more, which sticks too.
    #[inline]
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.check(key)?;
        check_value(value)?;
        if value.len() >= EARLY_BYTES_MIN {
            return self.put_from(key, value.len() as u64, &mut &*value);
        }
        self.sticky.note(self.work.get_mut().put(self.core, key, value))
    }

    /// Puts an entry if a condition is met. Returns whether it was.
    fn put_if(&mut self, key: &[u8], value: &[u8], condition: Condition<'_>) -> Result<bool> {
        self.check(key)?;
        check_value(value)?;
        if value.len() >= EARLY_BYTES_MIN && !matches!(condition, Condition::Holds(_)) {
            let is_met = self.contains(key)? == matches!(condition, Condition::Present);
            return if is_met { self.put(key, value).map(|()| true) } else { Ok(false) };
        }
        if !matches!(condition, Condition::Holds(_))
            && let Some(is_met) =
                self.gather_if((key, Some(value)), matches!(condition, Condition::Present))?
        {
            return Ok(is_met);
        }
        self.change(|tree, edit| tree.put_if(edit, (key, NewValue::Bytes(value)), condition))
    }

    /// Gathers a change that can wait, or removes a key, if the key is there as wanted.
    fn gather_if(
        &mut self,
        entry: (&[u8], Option<&[u8]>),
        is_wanted: bool,
    ) -> Result<Option<bool>> {
        self.sticky.note(self.work.get_mut().gather_if(self.core, entry, is_wanted))
    }

    /// Inserts an entry whose key is absent.
    ///
    /// # Errors
    /// [`Error::Duplicate`], with nothing changed, when the key exists; those of [`Txn::put`].
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        // That a key is there is said first, whatever the value.
        if check_value(value).is_err() && self.contains(key)? {
            return Err(Error::Duplicate);
        }
        if self.put_if(key, value, Condition::Absent)? { Ok(()) } else { Err(Error::Duplicate) }
    }

    /// Replaces the value of a key that exists. `false`, with nothing changed, when it does not.
    ///
    /// # Errors
    /// Those of [`Txn::put`].
    pub fn update(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        self.put_if(key.as_ref(), value.as_ref(), Condition::Present)
    }

    /// Gives a key a new value, or removes it, if it has the expected one; `None` stands for a
    /// key that is absent. `false`, with nothing changed, when it has another. A new value in place
    /// of an expected one is kept in memory until the commit, however large it is.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     assert!(txn.compare_and_swap("k", None, Some(b"1"))?);
    ///     assert!(!txn.compare_and_swap("k", None, Some(b"2"))?);
    ///     assert!(txn.compare_and_swap("k", Some(b"1"), Some(b"2"))?);
    ///     assert!(txn.compare_and_swap("k", Some(b"2"), None)?);
    ///     assert!(txn.is_empty());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Txn::put`].
    pub fn compare_and_swap(
        &mut self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let key = key.as_ref();
        match (expected, new) {
            (None, None) => self.contains(key).map(|is_there| !is_there),
            (None, Some(new)) => self.put_if(key, new, Condition::Absent),
            (Some(expected), Some(new)) => self.put_if(key, new, Condition::Holds(expected)),
            (Some(expected), None) => {
                self.check(key)?;
                self.change(|tree, edit| tree.del_if(edit, key, Condition::Holds(expected)))
            }
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one
    /// beyond the limit; [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let key = key.as_ref();
        self.check(key)?;
        let work = self.work()?;
        self.sticky.note(work.tree.get(&self.core.pager, key))
    }

    /// The value of a key, or `None` where there is none.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// let visits = db.exec("b", |txn| {
    ///     let visits = txn.find("visits")?.map_or(0, |value| value[0]) + 1;
    ///     txn.put("visits", [visits])?;
    ///     Ok(visits)
    /// })?;
    /// assert_eq!(visits, 1);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Txn::get`], but for `NotFound`.
    pub fn find(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        none_if_absent(self.get(key))
    }

    /// The value of a key as it is now, to be read piece by piece.
    ///
    /// # Errors
    /// Those of [`Txn::get`]; what is found to be damaged later, the reader says.
    pub fn get_reader(&self, key: impl AsRef<[u8]>) -> Result<ValueReader> {
        let key = key.as_ref();
        self.check(key)?;
        let work = self.work()?;
        let stored = self.sticky.note(work.tree.stored(&self.core.pager, key))?;
        drop(work);
        Ok(ValueReader::of_stored(stored, self.hold()))
    }

    /// Whether the bucket holds a key.
    ///
    /// # Errors
    /// Those of [`Txn::get`], but for `NotFound`.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.check(key)?;
        let work = self.work()?;
        self.sticky.note(work.tree.contains(&self.core.pager, key))
    }

    /// The number of entries of the bucket, known without a scan; any number in a transaction that
    /// failed.
    pub fn len(&self) -> u64 {
        let (tree, _) = self.tree();
        tree.entries
    }

    /// As [`Txn::len`]; fails in a transaction that failed.
    #[cfg(all(any(feature = "ffi", feature = "sim"), not(loom)))]
    pub(crate) fn try_len(&self) -> Result<u64> {
        Ok(self.work()?.tree.entries)
    }

    /// Whether the bucket has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry with the lowest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let work = self.work()?;
        self.sticky.note(edge_entry(self.core, &work.tree, Cursor::next))
    }

    /// The entry with the highest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let work = self.work()?;
        self.sticky.note(edge_entry(self.core, &work.tree, Cursor::previous))
    }

    /// A cursor over the bucket as it is now; later writes do not change what it yields. Backwards
    /// as an [`Iterator`]: `txn.range::<[u8]>(..).rev()`.
    #[allow(
        clippy::iter_not_returning_iterator,
        reason = "programs written for the seed's interface call this name and drive the cursor"
    )]
    pub fn iter(&self) -> Iter {
        let (tree, made) = self.tree();
        Iter::new(tree, self.hold()).after(made)
    }

    /// The entries whose keys lie in a range, as they are now. None, when it ends before
    /// it begins.
    ///
    /// All entries are `txn.range::<[u8]>(..)`. Bounds need not be keys: they may be empty, and as
    /// long as they like.
    pub fn range<'k, K: AsRef<[u8]> + ?Sized + 'k>(&self, range: impl RangeBounds<&'k K>) -> Range {
        self.bounded(Bounds::of(&range))
    }

    /// The entries whose keys begin with `prefix`, as they are now.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// # db.exec("b", |txn| ["a", "ab", "ac", "b"].iter().try_for_each(|key| txn.put(key, "")))?;
    /// let count = db.exec("b", |txn| Ok(txn.prefix("a").count()))?;
    /// assert_eq!(count, 3);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.bounded(Bounds::of_prefix(prefix.as_ref()))
    }

    fn bounded(&self, bounds: Bounds) -> Range {
        let (tree, made) = self.tree();
        Range::new(tree, self.hold(), bounds).after(made)
    }

    /// A cursor in front of the first entry whose key is not below `key`, which may be empty, or
    /// longer than keys may be.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn iter_from(&self, key: impl AsRef<[u8]>) -> Result<Iter> {
        let mut iter = self.iter();
        iter.seek(key)?;
        Ok(iter)
    }
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        self.sticky.end_within(self.whole);
        let work = self.work.get_mut();
        if !self.is_settled {
            work.give_up();
        }
        // What failed was not this part's, or a cursor on another thread met it as the part ended.
        if (self.is_settled || work.has_broken_all())
            && let Err(error) = self.sticky.check()
        {
            self.whole.share().keep(error);
        }
    }
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn").field("entries", &self.len()).finish_non_exhaustive()
    }
}
