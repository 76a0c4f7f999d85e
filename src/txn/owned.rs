//! Transactions as values (part of txn, layer L6).
//!
//! Owns: [`OwnedTxn`], which takes the writer's turn only to commit; what a conflict is; running
//! again after one. Must not know: how a commit reaches the disk.
//! Keeps: commit-atomic (what it writes waits in memory, and rollback is drop), snapshot-stable,
//! errors-stick, first-committer-wins (nobody else writes between the comparison and the changes),
//! durable-before-ok (what a failed flush of others may have taken is not committed).

mod bucket;
mod fill;
#[cfg(all(feature = "ffi", not(loom)))]
mod noting;
mod range;
mod room;
mod touched;
mod walk;

pub use bucket::TxnBucket;
#[cfg(all(feature = "ffi", not(loom)))]
pub(crate) use noting::NotingIter;
pub use range::TxnRange;

use super::iter::{Hold, Shared};
use super::{MultiTxn, Sticky, check_name, run_multi};
use crate::catalog::shown_names;
use crate::commit::{Batch, Core, Durability, Hearing, View};
use crate::error::{Error, Result, of_closure};
use crate::readers::Loss;
use crate::seeded::seeded;
use crate::sync::{Arc, Mutex};
use room::Room;
use std::collections::BTreeMap;
use std::panic::{RefUnwindSafe, UnwindSafe};
use touched::Touched;

/// How often [`run_transact`] runs its closure beside other writers before it takes their turn.
const OPTIMISTIC_RUNS: u32 = 4;

/// A write transaction over all buckets as a value: it may be kept as long as wanted and sent to
/// another thread, and several may be open at once. Until it commits it waits for nobody, and
/// nobody waits for it; but [`TxnBucket::put_from`] takes the writer's turn for a moment.
///
/// It is *optimistic*: it reads the durable state of the moment at which it began and what it has
/// written itself. [`OwnedTxn::commit`] looks whether what it read and wrote is still as it was;
/// if others were ahead of it, nothing of it happens, and that is [`Error::Conflict`]: the first
/// to commit wins. [`BTree::transact`](crate::BTree::transact) runs a closure again until it
/// commits. Dropping the transaction rolls it back.
///
/// ```
/// # use btree_store::{Error, Options};
/// # let db = Options::new().open_in_memory()?;
/// db.exec("stock", |txn| {
///     txn.put("apples", "1")?;
///     txn.put("pears", "1")
/// })?;
/// let (anna, otto, eve) = (db.begin(), db.begin(), db.begin());
/// for (txn, fruit) in [(&anna, "apples"), (&otto, "apples"), (&eve, "pears")] {
///     let mut stock = txn.bucket("stock")?;
///     assert_eq!(stock.get(fruit)?, b"1");
///     stock.put(fruit, "0")?;
/// }
/// anna.commit()?; // durable from here on
/// assert_eq!(otto.commit(), Err(Error::Conflict)); // the apple is gone
/// eve.commit()?; // another key of the same bucket
/// # Ok::<(), Error>(())
/// ```
///
/// # What conflicts
///
/// Transactions that commit are serializable: each of them has happened as if it had run as a whole
/// at the moment of its commit. What it has seen is compared with the newest state, which may be
/// newer than the newest durable one:
///
/// - keys that were looked up, those that were not there too, and keys that were *written*, even if
///   they were not read: of two transactions that write one key, the first to commit wins;
/// - the keys of a range, as far as it was walked, with the absence of others between them;
/// - how many entries a bucket has, where that was asked for; whether it exists, and which ones do,
///   also where the transaction had made or dropped it itself before it asked.
///
/// Other keys of the same buckets do not count. An entry is compared by its value: one that has its
/// old value again has not changed. Of values of more than 256 KiB, only their places in the
/// file are compared: if a compaction moved one, it counts as changed. A transaction that wrote
/// nothing never conflicts: it has happened when it began.
///
/// # What it costs
///
/// In memory: the pages of the trees that it changes, and its large values, until it commits, but
/// for those of [`TxnBucket::put_from`]; the keys that were read and written, and two keys for each
/// range. As a
/// [`Snapshot`](crate::Snapshot) does, it keeps pages from being used again while it lives.
///
/// `commit` makes the changes a second time, in the newest state, while other writers wait. Before,
/// in each bucket that others have changed since, it looks up each key twice, and reads the pages
/// of the ranges that changed, or all pages of a range below a branch that was split. A bucket that
/// has not changed costs nothing.
#[must_use = "a transaction that is dropped has done nothing"]
pub struct OwnedTxn {
    core: Arc<Core>,
    hearing: Hearing,
    /// What it began with; its base is pinned.
    view: View,
    seen: Mutex<Seen>,
    room: Room,
    hold: Shared,
    sticky: Sticky,
    /// Tells whether the batch is lost of whose transaction this is a part.
    batch: Option<Arc<Loss>>,
}

// A change that panics half way fails the transaction; what only reads has told nothing then.
impl UnwindSafe for OwnedTxn {}
impl RefUnwindSafe for OwnedTxn {}

/// What a transaction has looked at.
#[derive(Default)]
struct Seen {
    buckets: BTreeMap<String, Arc<Mutex<Touched>>>,
    /// Somebody was told which buckets there are.
    is_listed: bool,
}

impl Seen {
    fn has_changes(&self) -> bool {
        self.buckets.values().any(|bucket| bucket.lock().has_changes())
    }

    /// What was seen or changed, and was changed by somebody else meanwhile.
    fn conflict(&self, core: &Core, view: &View, newest: &Batch) -> Result<Option<&'static str>> {
        if self.is_listed && view.names(&core.pager)? != newest.names(&core.pager)? {
            return Ok(Some("the list of buckets has changed since"));
        }
        for (name, bucket) in &self.buckets {
            let tree = if seeded!(ComparedWithWhatIsDurable) {
                View::of(core.readers.newest()).bucket(&core.pager, name.as_bytes())?
            } else {
                newest.bucket(&core.pager, name.as_bytes())?
            };
            let conflict = bucket.lock().conflict(&core.pager, tree.as_ref())?;
            if conflict.is_some() {
                return Ok(conflict);
            }
        }
        Ok(None)
    }

    /// Fails after a change that panicked.
    fn check(&self) -> Result<()> {
        self.buckets.values().try_for_each(|bucket| bucket.lock().check())
    }

    fn replay(&self, core: &Core, multi: &mut MultiTxn<'_>) -> Result<()> {
        self.buckets.iter().try_for_each(|(name, bucket)| bucket.lock().replay(core, multi, name))
    }
}

/// Runs a closure on a fresh transaction and commits, until that does not conflict.
pub(crate) fn run_transact<R>(
    core: &Arc<Core>,
    hearing: &Hearing,
    mut closure: impl FnMut(&OwnedTxn) -> Result<R>,
) -> Result<R> {
    if core.is_writing() {
        return Err(Error::invalid("this thread is in a write transaction of this store"));
    }
    for _ in 0..OPTIMISTIC_RUNS {
        let txn = OwnedTxn::of(core, hearing, View::of(core.readers.keep_newest()), true);
        // What the last run, which has the writer's turn, would refuse is refused in each.
        let turn = core.as_if_writing();
        let ended = of_closure(|| closure(&txn));
        drop(turn);
        let ended = ended.and_then(|value| txn.commit().map(|()| value));
        if ended.as_ref().err() != Some(&Error::Conflict) {
            return ended;
        }
    }
    // Nobody is ahead of whoever has the turn.
    run_multi(core, hearing, |multi| {
        multi.set_durability(Durability::Durable);
        let mut txn = OwnedTxn::within(core, hearing, multi);
        let lent = txn.room.lend(multi.space());
        let value = of_closure(|| closure(&txn))?;
        drop(lent);
        txn.sticky.check()?;
        let seen = txn.seen.get_mut();
        seen.check()?;
        seen.replay(core, multi)?;
        Ok(value)
    })
}

impl OwnedTxn {
    /// Begins on the newest durable state.
    pub(crate) fn new(core: &Arc<Core>, hearing: &Hearing) -> OwnedTxn {
        OwnedTxn::of(core, hearing, View::of(core.readers.keep_newest()), false)
    }

    /// Begins on the newest state in memory, which nobody else changes meanwhile.
    fn within(core: &Arc<Core>, hearing: &Hearing, multi: &mut MultiTxn<'_>) -> OwnedTxn {
        let view = multi.batch().view();
        core.readers.pin(view.base.txn);
        let mut txn = OwnedTxn::of(core, hearing, view, true);
        txn.batch = Some(multi.loss());
        txn
    }

    /// Of a view whose base is pinned.
    fn of(core: &Arc<Core>, hearing: &Hearing, view: View, is_run: bool) -> OwnedTxn {
        let (seen, hold) = (Mutex::new(Seen::default()), Shared::new());
        let sticky = Sticky::on(&view.base);
        let (hearing, room) = (hearing.shared(), Room::new(is_run));
        OwnedTxn { core: Arc::clone(core), hearing, view, seen, room, hold, sticky, batch: None }
    }

    fn hold(&self) -> Arc<Hold> {
        self.hold.hold(&self.core, self.view.base.txn, &self.sticky, || self.batch.clone())
    }

    fn touch(&self, name: &str) -> Result<Arc<Mutex<Touched>>> {
        self.sticky.check()?;
        check_name(&self.core, name)?;
        let mut seen = self.seen.lock();
        if let Some(bucket) = seen.buckets.get(name).cloned() {
            drop(seen);
            let sound = bucket.lock().check();
            return self.sticky.note(sound).map(|()| bucket);
        }
        let then = self.sticky.note(self.view.bucket(&self.core.pager, name.as_bytes()))?;
        let bucket = Arc::new(Mutex::new(Touched::new(&self.view, then)));
        seen.buckets.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }

    /// A bucket, to be read and written. It need not be there: then it has no entries, and the
    /// first call that puts one makes it.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::TooLarge`] for the name; [`Error::Corruption`] and
    /// [`Error::IoError`], which stick.
    pub fn bucket(&self, name: impl AsRef<str>) -> Result<TxnBucket<'_>> {
        self.touch(name.as_ref()).map(|bucket| TxnBucket::new(self, bucket))
    }

    /// Whether there is a bucket of this name.
    ///
    /// # Errors
    /// Those of [`OwnedTxn::bucket`].
    pub fn contains_bucket(&self, name: impl AsRef<str>) -> Result<bool> {
        Ok(self.touch(name.as_ref())?.lock().ask())
    }

    /// Makes a bucket without entries.
    ///
    /// # Errors
    /// [`Error::Duplicate`], with nothing changed, when it is there; those of [`OwnedTxn::bucket`].
    pub fn create_bucket(&self, name: impl AsRef<str>) -> Result<()> {
        let is_new = self.touch(name.as_ref())?.lock().make();
        if is_new { Ok(()) } else { Err(Error::Duplicate) }
    }

    /// Removes a bucket and all that it holds, which counts as read to its end.
    ///
    /// # Errors
    /// [`Error::NotFound`], with nothing changed; those of [`OwnedTxn::bucket`].
    pub fn del_bucket(&self, name: impl AsRef<str>) -> Result<()> {
        let was_there = self.touch(name.as_ref())?.lock().clear();
        if was_there { Ok(()) } else { Err(Error::NotFound) }
    }

    /// The names of all buckets, in ascending order.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn buckets(&self) -> Result<Vec<String>> {
        self.sticky.check()?;
        let mut seen = self.seen.lock();
        self.sticky.note(seen.check())?;
        seen.is_listed = true;
        let mut names = self.sticky.note(self.view.names(&self.core.pager))?;
        for (name, bucket) in &seen.buckets {
            if bucket.lock().is_there() {
                names.insert(name.clone().into_bytes());
            } else {
                names.remove(name.as_bytes());
            }
        }
        self.sticky.note(shown_names(names.iter()))
    }

    /// Makes the changes durable, if nothing that the transaction read or wrote has changed since
    /// it began; otherwise nothing has happened. A transaction without changes ends at once. What
    /// the options say of deferred commits does not count: a transaction that begins behind this
    /// sees what it did.
    ///
    /// # Errors
    /// [`Error::Conflict`] when others were ahead; what they committed is durable then, so that a
    /// transaction that begins now sees it. The same when a commit of others has failed since this
    /// one put a value from a reader, which the storage may have lost with that.
    /// [`Error::Invalid`] inside a write transaction of the same thread, and on a read-only store;
    /// [`Error::NoSpace`] when the disk is full: the state before holds; [`Error::IoError`] when
    /// the storage failed, and [`Error::Poisoned`] after a failed sync; [`Error::Corruption`] of
    /// what is compared or changed; what the transaction or one of its ranges met before;
    /// [`Error::Internal`] when a change that it made panicked half way. Where deferred commits of
    /// the handle were lost, what took them, until [`BTree::sync`](crate::BTree::sync) has told it.
    pub fn commit(mut self) -> Result<()> {
        self.sticky.check()?;
        let (core, view, seen, sticky) =
            (&self.core, &self.view, self.seen.get_mut(), &self.sticky);
        seen.check()?;
        if !seen.has_changes() {
            return Ok(());
        }
        // With a conflict, the turn ends without a change, when all that it saw is durable.
        let (conflict, batch) = run_multi(core, &self.hearing, |multi| {
            multi.set_durability(Durability::Durable);
            let conflict = match sticky.conflict() {
                Some(why) => Some(why),
                None => multi.note(seen.conflict(core, view, multi.batch()))?,
            };
            if conflict.is_none() {
                seen.replay(core, multi)?;
            }
            Ok((conflict, multi.batch().number()))
        })?;
        if let Some(why) = conflict {
            return Err(Error::conflict(why));
        }
        // What left all as it was has not waited for a sync.
        if core.is_flushed(batch) {
            sticky.made_durable();
        }
        Ok(())
    }
}

impl Drop for OwnedTxn {
    fn drop(&mut self) {
        self.core.readers.unpin(self.view.base.txn);
    }
}

impl std::fmt::Debug for OwnedTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnedTxn").field("state", &self.view.base.txn).finish_non_exhaustive()
    }
}
