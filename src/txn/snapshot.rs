//! States that are read for as long as wanted (part of txn, layer L6).
//!
//! Owns: [`Snapshot`]. Must not know: writers. Keeps: snapshot-stable (the state is pinned as long
//! as the snapshot lives).

use super::read::view_state;
use super::{ReadOnlyTxn, check_name, with_own_error};
use crate::catalog::shown_names;
use crate::commit::Core;
use crate::error::{Error, Result};
use crate::readers::State;
use crate::seeded::seeded;
use crate::sync::Arc;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A durable state of the whole store, which is read for as long as wanted: what several calls see
/// of several buckets belongs together.
///
/// It waits for nobody, and nobody waits for it. The pages that it can reach are not used again
/// while it lives, so a store that is written grows by what it replaces of them. A clone is of the
/// same state. It keeps the file open, and may go to another thread.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec_multi(|multi| {
///     multi.exec("debit", |txn| txn.put("anna", "10"))?;
///     multi.exec("credit", |txn| txn.put("otto", "10"))
/// })?;
/// let snapshot = db.snapshot();
/// db.del_bucket("debit")?;
/// assert_eq!(snapshot.view("debit", |txn| txn.get("anna"))?, b"10");
/// assert_eq!(snapshot.view("credit", |txn| txn.get("otto"))?, b"10");
/// assert_eq!(snapshot.buckets()?, ["credit", "debit"]);
/// # Ok::<(), btree_store::Error>(())
/// ```
pub struct Snapshot {
    core: Arc<Core>,
    state: Arc<State>,
}

// A panic changes nothing of a state.
impl UnwindSafe for Snapshot {}
impl RefUnwindSafe for Snapshot {}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("seq", &self.seq()).finish_non_exhaustive()
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Snapshot {
        if !seeded!(ClonedSnapshotUnpinned) {
            self.core.readers.pin(self.state.txn);
        }
        Snapshot { core: Arc::clone(&self.core), state: Arc::clone(&self.state) }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.core.readers.unpin(self.state.txn);
    }
}

impl Snapshot {
    /// Of the newest durable state.
    pub(crate) fn new(core: &Arc<Core>) -> Snapshot {
        Snapshot { core: Arc::clone(core), state: core.readers.keep_newest() }
    }

    /// Whose state it is.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The state itself.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The number of its state: [`BTree::current_seq`](crate::BTree::current_seq) when it was made.
    pub fn seq(&self) -> u64 {
        self.state.txn.0
    }

    /// Runs a read transaction on a bucket, as [`BTree::view`](crate::BTree::view) does on the
    /// newest state.
    ///
    /// # Errors
    /// Those of [`BTree::view`](crate::BTree::view).
    pub fn view<R>(
        &self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&ReadOnlyTxn<'_>) -> Result<R>,
    ) -> Result<R> {
        view_state(&self.core, || self.core.readers.lend(&self.state), bucket.as_ref(), closure)
    }

    /// As [`Snapshot::view`], with a closure that fails with errors of the program's own, as that
    /// of [`BTree::try_view`](crate::BTree::try_view).
    ///
    /// # Errors
    /// What the closure returns; those of [`Snapshot::view`], as an `E`.
    pub fn try_view<R, E: From<Error>>(
        &self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&ReadOnlyTxn<'_>) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        with_own_error(|keep| self.view(bucket, |txn| keep.or_keep(|| closure(txn))))
    }

    /// The names of its buckets, in ascending order.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`].
    pub fn buckets(&self) -> Result<Vec<String>> {
        bucket_names(&self.core, &self.state)
    }

    /// Whether it has a bucket of this name.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// let snapshot = db.snapshot();
    /// db.exec("b", |txn| txn.put("k", "v"))?;
    /// assert!(!snapshot.contains_bucket("b")?);
    /// assert!(db.snapshot().contains_bucket("b")?);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`BTree::contains_bucket`](crate::BTree::contains_bucket).
    pub fn contains_bucket(&self, name: impl AsRef<str>) -> Result<bool> {
        contains_bucket(&self.core, &self.state, name.as_ref())
    }
}

/// Whether a pinned state has a bucket of this name.
pub(crate) fn contains_bucket(core: &Core, state: &State, name: &str) -> Result<bool> {
    check_name(core, name)?;
    let found = state.catalog.find_record(&core.pager, name.as_bytes(), &mut None)?.is_some();
    Ok(found)
}

/// The names of a pinned state's buckets, in ascending order.
pub(crate) fn bucket_names(core: &Core, state: &State) -> Result<Vec<String>> {
    let names = state.catalog.list(&core.pager)?;
    shown_names(names.iter().map(|(name, _)| name))
}
