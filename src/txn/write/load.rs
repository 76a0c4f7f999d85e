//! Bulk load (part of txn, layer L6).
//!
//! Owns: [`Txn::bulk_load`], and [`Loader`], which takes its entries. Must not know: how full pages
//! are built. Keeps: commit-atomic (a load that fails has changed nothing).

use super::super::{Sticky, check_key, check_value};
use super::Txn;
use crate::error::Result;
use crate::tree::{Append, Edit, Tree};

/// Takes an entry whose key is above those before.
pub(crate) type PushFn<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Takes the entries of a bulk load.
pub(crate) struct Loader<'l, 'e> {
    append: Append,
    edit: &'l mut Edit<'e>,
    /// The first failure of the storage.
    sticky: &'l Sticky,
}

impl<'l, 'e> Loader<'l, 'e> {
    /// Puts the entries that a closure gives to the loader behind the last one of a tree.
    ///
    /// # Errors
    /// Those of [`Txn::bulk_load`]; what the closure returns.
    pub(in crate::txn) fn fill(
        tree: Tree,
        edit: &'l mut Edit<'e>,
        sticky: &'l Sticky,
        entries: impl FnOnce(&mut Loader<'l, 'e>) -> Result<()>,
    ) -> Result<Tree> {
        let append = sticky.note(Append::begin(tree, edit))?;
        let mut loader = Loader { append, edit, sticky };
        entries(&mut loader)?;
        sticky.note(loader.append.finish(loader.edit))
    }

    /// Takes an entry whose key is above those before.
    ///
    /// # Errors
    /// Those of [`Txn::bulk_load`].
    #[inline]
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(self.edit.pages.page_size(), key)?;
        check_value(value)?;
        self.sticky.note(self.append.push(self.edit, key, value))
    }
}

impl Txn<'_> {
    /// Puts entries with ascending keys into an empty bucket, or behind its last key. Builds full
    /// pages from the bottom up, without a search for each key. Returns how many there were.
    ///
    /// The pages stay in memory until the transaction commits, and so do large values, unlike those
    /// of [`Txn::put`]: about as many bytes as the file will grow by, and large values once more
    /// than that.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     let entries = (0..10_000_u32).map(|number| (number.to_be_bytes(), "value"));
    ///     assert_eq!(txn.bulk_load(entries)?, 10_000);
    ///     assert_eq!(txn.bulk_load([("a", "1"), ("b", "2"), ("b", "3")]), Err(Error::Duplicate));
    ///     assert_eq!(txn.len(), 10_000);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Duplicate`] for a key that equals the one before, [`Error::Invalid`] for one that
    /// is lower, or empty; [`Error::TooLarge`] for a key or a value beyond its limit: nothing is
    /// changed then, and nothing was kept of what came before. [`Error::Corruption`] and
    /// [`Error::IoError`], which stick.
    ///
    /// [`Error::Corruption`]: crate::Error::Corruption
    /// [`Error::Duplicate`]: crate::Error::Duplicate
    /// [`Error::Invalid`]: crate::Error::Invalid
    /// [`Error::IoError`]: crate::Error::IoError
    /// [`Error::TooLarge`]: crate::Error::TooLarge
    pub fn bulk_load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.load(|loader| {
            entries
                .into_iter()
                .try_for_each(|(key, value)| loader.push(key.as_ref(), value.as_ref()))
        })
    }

    /// As [`Txn::bulk_load`], of the entries that a closure gives to the loader.
    ///
    /// # Errors
    /// What the closure returns: nothing is changed then; those of [`Txn::bulk_load`].
    pub(crate) fn load(
        &mut self,
        entries: impl FnOnce(&mut Loader<'_, '_>) -> Result<()>,
    ) -> Result<u64> {
        let core = self.core;
        self.work_mut()?;
        let (work, sticky) = (self.work.get_mut(), &self.sticky);
        let before = work.tree.entries;
        // Given up only if all goes well.
        let (mut freed, mut entered) = (Vec::new(), 0);
        let edit = work.writer.batch.edit(&core.pager);
        let mut edit = Edit { freed: &mut freed, entered: &mut entered, ..edit };
        let tree = Loader::fill(work.tree.clone(), &mut edit, sticky, entries)?;
        let count = tree.entries - before;
        if count > 0 {
            work.writer.batch.freed.append(&mut freed);
            self.change(|old, edit| {
                *old = tree;
                *edit.entered += entered;
                Ok(true)
            })?;
        }
        Ok(count)
    }
}
