//! What write transactions remove (part of txn, layer L6).
//!
//! Owns: the calls of [`Txn`] that remove one entry, or those of a range. Must not know: how a tree
//! closes up. Keeps: errors-stick.

use super::Txn;
use crate::error::{Error, Result};
use crate::invariant::Invariant;
use crate::seeded::seeded;
use crate::tree::{Condition, Cursor};
use crate::txn::range::Bounds;
use std::ops::RangeBounds;

impl Txn<'_> {
    /// Removes an entry that has to be there. Its `NotFound`, passed on by `?`, takes the whole
    /// transaction back; where an entry may be missing, [`Txn::remove`] says whether it was there.
    ///
    /// # Errors
    /// [`Error::NotFound`], with nothing changed; those of [`Txn::remove`].
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        if self.remove(key)? { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Removes an entry, if it is there. Returns whether it was.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     txn.put("k", "v")?;
    ///     assert!(txn.remove("k")?);
    ///     assert!(!txn.remove("k")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one beyond the limit;
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.check(key)?;
        self.change(|tree, edit| tree.del_if(edit, key, Condition::Present))
    }

    /// Removes all entries whose keys lie in a range. Returns how many there were; none in a
    /// range that ends before it begins. Bounds need not be keys: they may be empty, and as long as
    /// they like.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// # use std::ops::Bound;
    /// db.exec("b", |txn| {
    ///     for key in ["a", "b", "c", "d"] {
    ///         txn.put(key, "")?;
    ///     }
    ///     assert_eq!(txn.delete_range::<[u8]>(b"b".as_slice()..b"d".as_slice())?, 2);
    ///     assert_eq!(txn.len(), 2);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn delete_range<'k, K: AsRef<[u8]> + ?Sized + 'k>(
        &mut self,
        range: impl RangeBounds<&'k K>,
    ) -> Result<u64> {
        self.sticky.check()?;
        let Bounds { mut from, to } = Bounds::of(&range);
        let mut removed = 0;
        loop {
            // The cursor is gone before the tree changes: what it holds would be copied.
            let tree = self.work_mut()?.tree.clone();
            let mut cursor = Cursor::bounded(tree, from.clone(), to.clone());
            let first = self.sticky.note(cursor.next_key(&self.core.pager));
            if seeded!(RemovalEndsAtAFailure, first.is_err()) {
                return Ok(removed);
            }
            let Some(key) = first? else { return Ok(removed) };
            if removed > 0 && key <= from.as_slice() {
                // A page that the tree has many times would be met once for each way to it.
                let bounds = Invariant::SeparatorsBoundChildren;
                let met = Error::corruption(None, bounds, "a leaf above those on its left", "none");
                return self.sticky.note(Err(met));
            }
            from = key.to_vec();
            drop(cursor);
            let mut count = 0;
            self.change(|tree, edit| {
                count = tree.del_run(edit, &from, to.as_deref())?;
                Ok(true)
            })?;
            removed += count;
            if seeded!(DeletingSkipsTheNext) {
                from.push(0);
                let tree = self.work_mut()?.tree.clone();
                let mut cursor = Cursor::bounded(tree, from, to.clone());
                cursor.next_key(&self.core.pager)?;
                from = [cursor.key(), &[0]].concat();
            }
        }
    }
}
