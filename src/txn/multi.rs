//! Write transactions over several buckets (part of txn, layer L6).
//!
//! Owns: [`MultiTxn`]. Must not know: when its changes reach the disk.
//! Keeps: commit-atomic: an inner closure that fails is undone alone, the outer one as a whole.

use super::work::Waiting;
use super::write::{Txn, Within, run_in_bucket};
use super::{Sticky, check_name, with_own_error};
use crate::catalog::shown_names;
use crate::commit::{Batch, Bucket, Core, Durability, Hearing, Outcome, Writer};
use crate::error::{Error, Result, of_closure};
use crate::readers::Loss;
use crate::space::FreeSpace;
use crate::sync::Arc;
use crate::tree::Edit;
use std::collections::BTreeMap;

/// Of so many buckets puts may wait.
const WAITING_MAX: usize = 64;

/// A write transaction over several buckets, with one sync for all of them.
pub struct MultiTxn<'t> {
    core: &'t Arc<Core>,
    writer: &'t mut Writer,
    outcome: Outcome,
    durability: Durability,
    /// Of some buckets: what parts have put, and nobody has looked at since.
    waiting: BTreeMap<Vec<u8>, Waiting>,
    /// What cursors met that outlived the closure that made them, and what the transaction met
    /// outside of closures.
    sticky: Sticky,
}

/// Runs a closure in a write transaction of its own, and waits until it is durable, if it is to be.
pub(crate) fn run_multi<R>(
    core: &Arc<Core>,
    hearing: &Hearing,
    closure: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
) -> Result<R> {
    let mut guard = core.begin_for(hearing)?;
    let (outcome, durability) = (Outcome::Same, hearing.durability);
    let (writer, waiting) = (guard.writer(), BTreeMap::new());
    let sticky = Sticky::on(&writer.batch.base);
    let mut multi = MultiTxn { core, writer, outcome, durability, waiting, sticky };
    let value = of_closure(|| closure(&mut multi))?;
    multi.sticky.check()?;
    multi.make_all()?;
    let MultiTxn { outcome, durability, .. } = multi;
    guard.finish_for(hearing, outcome, durability)?;
    Ok(value)
}

impl MultiTxn<'_> {
    /// The newest state of all buckets, which the transaction changes.
    pub(super) fn batch(&self) -> &Batch {
        &self.writer.batch
    }

    /// Tells whether the batch is lost that the transaction is of.
    pub(super) fn loss(&mut self) -> Arc<Loss> {
        self.writer.batch.loss()
    }

    /// Remembers a failure of the storage, and says why it is one.
    pub(super) fn note<T>(&self, result: Result<T>) -> Result<T> {
        self.sticky.note(result)
    }

    /// Which pages are free. Whoever takes it brings it back.
    pub(super) fn space(&mut self) -> &mut FreeSpace {
        &mut self.writer.space
    }

    /// Runs a closure on a bucket, which is made when it is missing. The same bucket may be
    /// named again; it then holds what was written to it before.
    ///
    /// When the closure fails, its own changes are undone; what came before stays, and the
    /// transaction may go on. It fails as a whole when a cursor that outlives its closure meets an
    /// error: what was read with it would be short; when [`MultiTxn::del_bucket`] does; and when
    /// one of the puts, insertions, updates and removals does that a closure ended with: they wait
    /// for the next call that names the bucket, for one that names a further one where there are
    /// many, or for the end, which tells.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec_multi(|multi| {
    ///     multi.exec("kept", |txn| txn.put("key", "value"))?;
    ///     let failed = multi.exec("undone", |txn| {
    ///         txn.put("key", "value")?;
    ///         txn.get("missing")
    ///     });
    ///     assert_eq!(failed, Err(Error::NotFound));
    ///     Ok(())
    /// })?;
    /// assert_eq!(db.buckets()?, ["kept"]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns; [`Error::Invalid`] and [`Error::TooLarge`] for the name;
    /// [`Error::Corruption`] and [`Error::IoError`], where the bucket is looked for or by what the
    /// closure did, even when it returns `Ok`; so with [`Error::NoSpace`] of a large value, and
    /// [`Error::Internal`] where a call panicked.
    pub fn exec<R>(
        &mut self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&mut Txn<'_>) -> Result<R>,
    ) -> Result<R> {
        self.sticky.check()?;
        let bucket = bucket.as_ref();
        check_name(self.core, bucket)?;
        let name = bucket.as_bytes();
        if !self.waiting.contains_key(name) {
            if self.waiting.len() >= WAITING_MAX {
                self.make_all()?;
            }
            self.waiting.insert(name.to_vec(), Waiting::default());
        }
        let Some(waiting) = self.waiting.get_mut(name) else {
            return Err(Error::internal("what was put in is missing"));
        };
        let within = Within { writer: self.writer, whole: &self.sticky, waiting };
        let (value, ended) = run_in_bucket(self.core, within, bucket, Some(name), closure)?;
        if ended.outcome == Outcome::Changed {
            self.outcome = Outcome::Changed;
        }
        self.durability = ended.durability.unwrap_or(self.durability);
        Ok(value)
    }

    /// Makes all puts that wait.
    fn make_all(&mut self) -> Result<()> {
        for (bucket, waiting) in &mut self.waiting {
            self.sticky.note(waiting.make_kept(self.core, self.writer, bucket))?;
        }
        self.waiting.clear();
        Ok(())
    }

    /// As [`MultiTxn::exec`], with a closure that fails with errors of the program's own: then its
    /// changes are undone, and this returns that very error.
    ///
    /// ```
    /// # use btree_store::{Error, Options};
    /// # let db = Options::new().open_in_memory()?;
    /// db.exec_multi(|multi| {
    ///     let refused = multi.try_exec("undone", |txn| -> Result<(), Box<dyn std::error::Error>> {
    ///         txn.put("key", "value")?;
    ///         Err("not today".into())
    ///     });
    ///     multi.exec("kept", |txn| txn.put("why", refused.unwrap_err().to_string()))
    /// })?;
    /// assert_eq!(db.buckets()?, ["kept"]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns; those of [`MultiTxn::exec`], as an `E`.
    pub fn try_exec<R, E: From<Error>>(
        &mut self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&mut Txn<'_>) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        with_own_error(|keep| self.exec(bucket, |txn| keep.or_keep(|| closure(txn))))
    }

    /// Whether the transaction waits until it is durable, whatever the options say. The last call
    /// counts, here and in the closures of [`MultiTxn::exec`]; but those of a closure that fails
    /// are undone with the rest.
    ///
    /// ```
    /// # use btree_store::{Durability, Error};
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec_multi(|multi| {
    ///     multi.set_durability(Durability::Deferred);
    ///     multi.exec("b", |txn| txn.put("k", "v"))
    /// })?;
    /// assert_eq!(db.current_seq(), 0);
    /// db.sync()?;
    /// assert_eq!(db.current_seq(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Whether there is a bucket of this name, with what the transaction has done so far. It is
    /// not made, and the sequence does not move.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec_multi(|multi| {
    ///     assert!(!multi.contains_bucket("b")?);
    ///     multi.exec("b", |txn| txn.put("k", "v"))?;
    ///     assert!(multi.contains_bucket("b")?);
    ///     multi.del_bucket("b")?;
    ///     assert!(!multi.contains_bucket("b")?);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::TooLarge`] for the name; [`Error::Corruption`] and
    /// [`Error::IoError`], with which the transaction keeps failing.
    pub fn contains_bucket(&self, name: impl AsRef<str>) -> Result<bool> {
        let name = name.as_ref();
        self.sticky.check()?;
        check_name(self.core, name)?;
        let found = self.batch().bucket(&self.core.pager, name.as_bytes());
        Ok(self.sticky.note(found)?.is_some())
    }

    /// The names of all buckets as the transaction sees them, in ascending order.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("a", |txn| txn.put("k", "v"))?;
    /// db.exec_multi(|multi| {
    ///     multi.exec("b", |txn| txn.put("k", "v"))?;
    ///     assert_eq!(multi.buckets()?, ["a", "b"]);
    ///     multi.del_bucket("a")?;
    ///     assert_eq!(multi.buckets()?, ["b"]);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], with which the transaction keeps failing.
    pub fn buckets(&self) -> Result<Vec<String>> {
        self.sticky.check()?;
        let names = self.sticky.note(self.batch().names(&self.core.pager))?;
        self.sticky.note(shown_names(names.iter()))
    }

    /// Removes a bucket and all that it holds.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] and [`Error::TooLarge`] for the name, with nothing
    /// changed; [`Error::Corruption`] and [`Error::IoError`], with which the transaction keeps
    /// failing.
    pub fn del_bucket(&mut self, name: impl AsRef<str>) -> Result<()> {
        let name = name.as_ref();
        self.sticky.check()?;
        check_name(self.core, name)?;
        let dropped = self.drop_bucket(name);
        self.sticky.note(dropped)
    }

    fn drop_bucket(&mut self, name: &str) -> Result<()> {
        let pages = &self.core.pager;
        if let Some(waiting) = self.waiting.get_mut(name.as_bytes()) {
            waiting.make_kept(self.core, self.writer, name.as_bytes())?;
        }
        let batch = &mut self.writer.batch;
        let found = batch.bucket(pages, name.as_bytes())?;
        let Some(mut tree) = found else { return Err(Error::NotFound) };
        // Given up only if all goes well, and not where the storage panics.
        let mut freed = Vec::new();
        tree.clear(&mut Edit { freed: &mut freed, ..batch.edit(pages) })?;
        batch.freed.append(&mut freed);
        batch.install(name.as_bytes(), Bucket::Dropped);
        self.outcome = Outcome::Changed;
        Ok(())
    }
}

impl std::fmt::Debug for MultiTxn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MultiTxn").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
