//! Cursors for users (part of txn, layer L6).
//!
//! Owns: [`Iter`]. Must not know: how a tree is walked. Keeps: snapshot-stable (the state is
//! pinned as long as the cursor lives), errors-stick (its transaction fails with it).

use super::{FirstFault, ReadOnlyTxn, Sticky, Txn, is_failure};
use crate::commit::Core;
use crate::error::{Error, Result};
use crate::node::{Begun, Way};
use crate::page::{Page, TxnId};
use crate::readers::{Loss, State};
use crate::seeded::seeded;
use crate::sync::{Arc, OnceLock};
use crate::tree::{At, Cursor, Lent, Tree};

/// A state that stays as it is while somebody walks over it.
pub(super) struct Hold {
    pub(super) core: Arc<Core>,
    pub(super) state: TxnId,
    /// The state itself, if its flush may still fail.
    sealed: Option<Arc<State>>,
    /// Tells whether the batch is lost whose transaction this is of.
    batch: Option<Arc<Loss>>,
    /// What the transaction and its cursors met first.
    first: FirstFault,
}

impl Hold {
    /// Holds a state that is pinned, or cannot go away while this runs.
    fn new(core: &Arc<Core>, state: TxnId, sticky: &Sticky, batch: Option<Arc<Loss>>) -> Hold {
        let (sealed, first) = (sticky.base.clone(), sticky.share().clone());
        if !seeded!(PinReleasedWithTransaction) {
            core.readers.pin(state);
        }
        Hold { core: Arc::clone(core), state, sealed, batch, first }
    }

    /// Remembers a failure of the storage, and says why it is one.
    #[inline(always)]
    pub(super) fn note<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => result,
            Err(error) => Err(self.fail(*error)),
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(&self, error: Error) -> Error {
        if is_failure(error) { self.first.fail(|| self.loss(), error) } else { error }
    }

    /// Why something could not be read.
    pub(super) fn cause_of(&self, error: Error) -> Error {
        self.first.cause_of(|| self.loss(), error)
    }

    /// What took what is read, if a flush that failed did.
    fn loss(&self) -> Option<Error> {
        let state = self.sealed.as_ref().and_then(|state| state.loss());
        state.or_else(|| self.batch.as_ref()?.told())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !seeded!(PinReleasedWithTransaction) {
            self.core.readers.unpin(self.state);
        }
    }
}

/// The hold of a transaction's state that all its cursors share: one pin for all of them.
pub(super) struct Shared(OnceLock<Arc<Hold>>);

impl Shared {
    pub(super) fn new() -> Shared {
        Shared(OnceLock::new())
    }

    /// Holds a state that is pinned, or cannot go away while this runs.
    pub(super) fn hold(
        &self,
        core: &Arc<Core>,
        state: TxnId,
        sticky: &Sticky,
        batch: impl FnOnce() -> Option<Arc<Loss>>,
    ) -> Arc<Hold> {
        let hold = || Arc::new(Hold::new(core, state, sticky, batch()));
        Arc::clone(self.0.get_or_init(hold))
    }
}

/// A cursor over a bucket as it was when the cursor was made, in the order of the keys.
///
/// It does not see what its transaction writes afterwards, and it may outlive the transaction.
/// Where that saw what other threads had written, and the flush of all of it failed, the cursor
/// fails with what the flush met when it comes to a page that is gone.
/// It stands between two entries: at first before the first one for steps forward and behind the
/// last one for steps backward; both move the same position.
///
/// The fast way is [`Iter::next_entry`] and [`Iter::prev_entry`], which lend key and value until
/// the next step and allocate nothing. As an [`Iterator`] the cursor gives copies, yields an error
/// once, and then ends; [`Range`](super::Range) moves both ends.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec("b", |txn| {
///     txn.put("a", "1")?;
///     txn.put("b", "2")
/// })?;
/// let keys = db.view("b", |txn| {
///     let mut keys = Vec::new();
///     let mut iter = txn.iter();
///     while let Some((key, _value)) = iter.next_entry()? {
///         keys.push(key.to_vec());
///     }
///     Ok(keys)
/// })?;
/// assert_eq!(keys, [b"a", b"b"]);
/// # Ok::<(), btree_store::Error>(())
/// ```
pub struct Iter {
    pub(super) cursor: Cursor,
    pub(super) hold: Arc<Hold>,
    /// The error was yielded by the `Iterator`, which then ends.
    has_told: bool,
}

impl Iter {
    /// A cursor over `tree`, which belongs to the state that is held.
    #[inline(always)]
    pub(super) fn new(tree: Tree, hold: Arc<Hold>) -> Iter {
        Iter { cursor: Cursor::new(tree), hold, has_told: false }
    }

    /// The cursor, which fails if the tree could not be made what it should be.
    pub(super) fn after(mut self, made: Result<()>) -> Iter {
        if let Err(error) = made {
            self.cursor.fail(error);
        }
        self
    }

    /// Steps over the next entry and lends it until the cursor moves again. `None` at the end.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// # db.exec("b", |txn| (0..100_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 3])))?;
    /// let bytes = db.view("b", |txn| {
    ///     let (mut iter, mut bytes) = (txn.iter(), 0);
    ///     while let Some((key, value)) = iter.next_entry()? {
    ///         bytes += key.len() + value.len();
    ///     }
    ///     Ok(bytes)
    /// })?;
    /// assert_eq!(bytes, 700);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`]; the cursor then keeps failing, and so does
    /// its transaction.
    #[inline(always)]
    pub fn next_entry(&mut self) -> Result<Option<Lent<'_>>> {
        self.hold.note(self.cursor.step(|| &self.hold.core.pager, Way::Forward))
    }

    /// Steps over the previous entry and lends it until the cursor moves again. `None` at the
    /// beginning.
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    #[inline(always)]
    pub fn prev_entry(&mut self) -> Result<Option<Lent<'_>>> {
        self.hold.note(self.cursor.step(|| &self.hold.core.pager, Way::Backward))
    }

    /// Steps over the next entry and lends its key, as [`Iter::next_entry`] does; the value is not
    /// read, however large it is. `None` at the end.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     txn.put("film", vec![7; 1_000_000])?;
    ///     txn.put("text", "short")
    /// })?;
    /// db.view("b", |txn| {
    ///     let mut iter = txn.iter();
    ///     assert_eq!(iter.next_key()?, Some(b"film".as_slice()));
    ///     assert_eq!(iter.next_entry()?, Some((b"text".as_slice(), b"short".as_slice())));
    ///     assert_eq!(iter.next_key()?, None);
    ///     assert_eq!(iter.prev_key()?, Some(b"text".as_slice()));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    pub fn next_key(&mut self) -> Result<Option<&[u8]>> {
        self.step_key(Way::Forward)
    }

    /// Steps over the previous entry and lends its key; the value is not read. `None` at the
    /// beginning.
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    pub fn prev_key(&mut self) -> Result<Option<&[u8]>> {
        self.step_key(Way::Backward)
    }

    fn step_key(&mut self, way: Way) -> Result<Option<&[u8]>> {
        self.hold.note(self.cursor.key_if(&self.hold.core.pager, way, |_| true))
    }

    /// Steps over an entry and puts its key into a buffer, and its value if there is one for it.
    /// `false` where there is no entry.
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    #[cfg(all(feature = "ffi", not(loom)))]
    pub(crate) fn step(
        &mut self,
        way: Way,
        key: &mut Vec<u8>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<bool> {
        let is_there = match (way, value) {
            (Way::Forward, Some(value)) => self.next_ref(key, value),
            (Way::Backward, Some(value)) => self.prev_ref(key, value),
            (_, None) => {
                key.clear();
                let lent = self.step_key(way)?;
                key.extend_from_slice(lent.unwrap_or_default());
                lent.is_some()
            }
        };
        self.error().map_or(Ok(is_there), Err)
    }

    /// Steps over the next entry and puts it into the two buffers; a value of more than 64 pages
    /// goes there straight from the file. `false` at the end, or when the file is damaged:
    /// [`Iter::error`] tells, and the transaction around it fails.
    pub fn next_ref(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        let step = self.cursor.next(&self.hold.core.pager, key, value);
        self.hold.note(step).unwrap_or(false)
    }

    /// Steps over the previous entry and puts it into the two buffers. `false` at the beginning,
    /// or when the file is damaged: [`Iter::error`] tells, and the transaction around it fails.
    pub fn prev_ref(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        let step = self.cursor.previous(&self.hold.core.pager, key, value);
        self.hold.note(step).unwrap_or(false)
    }

    /// Moves to the place in front of the first entry whose key is not below `key`, which may be
    /// empty, or longer than keys may be.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`]; the cursor then keeps failing.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let moved = self.cursor.seek(&self.hold.core.pager, key.as_ref());
        self.hold.note(moved)
    }

    /// The cursor in front of a key in the leaf to which that belongs, where its search was begun.
    #[inline(always)]
    pub(super) fn stand_in(&mut self, leaf: Page, begun: Begun, next: Option<At>, key: &[u8]) {
        self.cursor.stand_in(leaf, begun, next, key);
    }

    /// The error that ended the cursor, if one did.
    pub fn error(&self) -> Option<Error> {
        self.cursor.error().map(|error| self.hold.cause_of(error))
    }
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_told {
            return None;
        }
        let entry = owned(self.next_entry());
        self.has_told = matches!(entry, Some(Err(_)));
        entry
    }
}

/// A lent entry as an iterator yields it.
pub(super) fn owned(entry: Result<Option<Lent<'_>>>) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
    entry.map(|lent| lent.map(|(key, value)| (key.to_vec(), value.to_vec()))).transpose()
}

impl std::fmt::Debug for Iter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").field("state", &self.hold.state).finish_non_exhaustive()
    }
}

/// All entries of a bucket, copied, as [`ReadOnlyTxn::iter`] yields them.
impl IntoIterator for &ReadOnlyTxn<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

/// All entries of a bucket, copied, as they are now.
impl IntoIterator for &Txn<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}
