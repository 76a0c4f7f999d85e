//! Cursors for users (part of txn, layer L6).
//!
//! Owns: [`Iter`]. Must not know: how a tree is walked. Keeps: snapshot-stable (the state is
//! pinned as long as the cursor lives), errors-stick (its transaction fails with it).

use super::Sticky;
use crate::commit::Core;
use crate::error::{Error, Result};
use crate::page::TxnId;
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::tree::{Cursor, Tree};

/// A cursor over a bucket as it was when the cursor was made, in the order of the keys.
///
/// It does not see what its transaction writes afterwards, and it may outlive the transaction.
/// It stands between two entries: at first before the first one for [`Iter::next_ref`] and behind
/// the last one for [`Iter::prev_ref`]; both steps move the same position.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec("b", |txn| {
///     txn.put("a", "1")?;
///     txn.put("b", "2")
/// })?;
/// let keys = db.view("b", |txn| {
///     let (mut key, mut value, mut keys) = (Vec::new(), Vec::new(), Vec::new());
///     let mut iter = txn.iter();
///     while iter.next_ref(&mut key, &mut value) {
///         keys.push(key.clone());
///     }
///     Ok(keys)
/// })?;
/// assert_eq!(keys, [b"a", b"b"]);
/// # Ok::<(), btree_store::Error>(())
/// ```
pub struct Iter {
    core: Arc<Core>,
    cursor: Cursor,
    pinned: TxnId,
    sticky: Sticky,
}

impl Iter {
    /// A cursor over `tree`; `state` is pinned, or cannot go away while this runs.
    pub(super) fn new(core: &Arc<Core>, tree: Tree, state: TxnId, sticky: Sticky) -> Iter {
        if !seeded!(PinReleasedWithTransaction) {
            core.readers.pin(state);
        }
        Iter { core: Arc::clone(core), cursor: Cursor::new(tree), pinned: state, sticky }
    }

    /// Steps over the next entry and puts it into the two buffers. `false` at the end, or when
    /// the file is damaged: [`Iter::error`] tells, and the transaction around it fails.
    pub fn next_ref(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        let step = self.cursor.next(&self.core.pager, key, value);
        self.sticky.note(step).unwrap_or(false)
    }

    /// Steps over the previous entry and puts it into the two buffers. `false` at the beginning,
    /// or when the file is damaged: [`Iter::error`] tells, and the transaction around it fails.
    pub fn prev_ref(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        let step = self.cursor.previous(&self.core.pager, key, value);
        self.sticky.note(step).unwrap_or(false)
    }

    /// Moves to the place in front of the first entry whose key is not below `key`.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`]; the cursor then keeps failing.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let moved = self.cursor.seek(&self.core.pager, key.as_ref());
        self.sticky.note(moved)
    }

    /// The error that ended the cursor, if one did.
    pub fn error(&self) -> Option<Error> {
        self.cursor.error()
    }
}

impl Drop for Iter {
    fn drop(&mut self) {
        if !seeded!(PinReleasedWithTransaction) {
            self.core.readers.unpin(self.pinned);
        }
    }
}

impl std::fmt::Debug for Iter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").field("state", &self.pinned).finish_non_exhaustive()
    }
}
