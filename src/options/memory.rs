//! Stores in memory (part of options, layer L7).
//!
//! Owns: [`Options::open_in_memory`]. Must not know: transactions.
//! Keeps: nothing of its own.

use super::{Options, check_page_size};
use crate::db::BTree;
use crate::error::{Error, Result};
use crate::recover::Access;
use crate::sync::Arc;
use crate::vfs::{MemVfs, OsVfs};

impl Options {
    /// Opens a store that lives in memory and goes away with its last handle. It is empty.
    ///
    /// Nothing of it is in a file. Its backups are, and outlive it: they are made where
    /// [`Options::vfs`] says, or else as files of the operating system.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("kept.db");
    /// use btree_store::{BTree, Options};
    /// let db = Options::new().open_in_memory()?;
    /// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
    /// db.backup(&path)?;
    /// drop(db);
    /// let kept = BTree::open(&path)?;
    /// assert_eq!(kept.view("users", |txn| txn.get("id:100"))?, b"Alice");
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a page size that is not allowed, and for options that do not let a
    /// file be created.
    pub fn open_in_memory(self) -> Result<BTree> {
        if !self.may_create() {
            return Err(Error::invalid(
                "a store in memory is created, which these options exclude",
            ));
        }
        check_page_size(self.created_page_size())?;
        // What is copied out of this memory is for others to find.
        let usage = self.usage(self.vfs.clone().unwrap_or_else(|| Arc::new(OsVfs)), None);
        let core = self.open_at(&MemVfs::default(), "memory".as_ref(), usage)?;
        Ok(BTree::new(core, self.durability, Access::ReadWrite))
    }
}
