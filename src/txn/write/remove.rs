//! What write transactions remove (part of txn, layer L6).
//!
//! Owns: the calls of [`Txn`] that remove one entry, or those of a range. Must not know: how a tree
//! closes up. Keeps: errors-stick.

use super::Txn;
use crate::error::{Error, Result};
use crate::tree::Condition;
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
        match self.gather_if((key, None), true)? {
            Some(was_there) => Ok(was_there),
            None => self.change(|tree, edit| tree.del_if(edit, key, Condition::Present)),
        }
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
        let Bounds { from, to } = Bounds::of(&range);
        self.remove_within(from, to.as_deref())
    }

    pub(in crate::txn) fn remove_within(
        &mut self,
        from: Vec<u8>,
        to: Option<&[u8]>,
    ) -> Result<u64> {
        let mut removed = 0;
        self.change(|tree, edit| {
            removed = tree.del_within(edit, from, to)?;
            Ok(removed > 0)
        })?;
        Ok(removed)
    }
}
