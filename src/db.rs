//! The store as its users see it (layer L7).
//!
//! Owns: [`BTree`] and its statistics. Must not know: pages.
//! Keeps: nothing of its own; each call goes to the layer that does.

mod own_error;

use crate::commit::{Core, Durability, Hearing};
use crate::compact::{CompactStats, compact};
use crate::error::{Error, Result};
use crate::recover::Access;
use crate::sync::{Arc, Ordering};
use crate::tree::PageRead;
use crate::txn::{
    MultiTxn, OwnedTxn, ReadOnlyTxn, Snapshot, Txn, bucket_names, contains_bucket, run_exec,
    run_multi, run_transact, run_view,
};
use crate::verify::{Report, verify_file};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A handle to a store: buckets of ordered entries in one file.
///
/// Clones share the store, and so do handles that one process opens on the same file. A handle
/// may be used by any number of threads. Write transactions run one after another; threads that
/// commit at the same time share one flush. Readers see the newest durable state as it was when
/// they began; they wait for nobody and nobody waits for them.
///
/// The file is closed with the last handle, snapshot, owned transaction, cursor and
/// [`ValueReader`](crate::ValueReader). Deferred commits that wait are made durable then; but only
/// [`BTree::sync`] can say whether that works.
///
/// The child of a `fork` is another process: what its parent has open is not to be used there. It
/// writes nothing to the file ([`Error::IoError`]), and dropped it leaves the parent's lock; while
/// it is not dropped, the file stays locked, also when the parent is gone. The child opens the file
/// itself, which is [`Error::Busy`] until its parent has closed it.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.db");
/// use btree_store::{BTree, Error};
/// let db = BTree::open(&path)?;
/// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
/// assert_eq!(db.view("users", |txn| txn.get("id:100"))?, b"Alice");
/// assert_eq!(db.view("users", |txn| txn.get("id:101")), Err(Error::NotFound));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct BTree {
    core: Arc<Core>,
    hearing: Hearing,
}

// A call that panics, in a closure or in the storage, is taken back, or the store says that it
// cannot go on.
impl UnwindSafe for BTree {}
impl RefUnwindSafe for BTree {}

impl std::fmt::Debug for BTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BTree").field("seq", &self.current_seq()).finish_non_exhaustive()
    }
}

/// Sizes of a store. Free and pending pages are those that the next commit would find: commits that
/// are deferred, or on their way to the disk, count. The other figures of the file are those of the
/// newest durable state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the file, the two meta pages included.
    pub page_count: u32,
    /// Pages that hold nothing.
    pub free_pages: u64,
    /// Extents of pages that hold nothing.
    pub free_extents: usize,
    /// Pages that hold what an older state still needs, or a large value that was put and is not
    /// yet committed, or is no longer wanted and still read.
    pub pending_pages: u64,
    /// Pages in memory now.
    pub cached_pages: usize,
    /// Pages read from the file since it was opened.
    pub pages_read: u64,
    /// Buckets.
    pub buckets: u32,
    /// The newest durable state.
    pub seq: u64,
    /// Older states that snapshots or transactions still read. What was replaced since stays in
    /// the file for them, as pending pages.
    pub pinned_states: usize,
    /// The oldest of them; `seq` where there are none. It tells who is in the way when a file
    /// grows: [`Snapshot::seq`](crate::Snapshot::seq) is the same number.
    pub oldest_seq: u64,
}

impl BTree {
    pub(crate) fn new(core: Arc<Core>, durability: Durability, access: Access) -> BTree {
        let hearing = core.hearing(durability, access == Access::ReadOnly);
        BTree { core, hearing }
    }

    /// The same handle once more, for a call that the program's own may not outlive. Other than a
    /// clone it is told of lost commits what that is told.
    #[cfg(feature = "ffi")]
    pub(crate) fn shared(&self) -> BTree {
        BTree { core: Arc::clone(&self.core), hearing: self.hearing.shared() }
    }

    /// Runs a write transaction on a bucket, which is made when it is missing. When the closure
    /// returns `Ok`, the changes are durable before this returns, and so is all that it saw, unless
    /// the commit is [deferred](crate::Durability); when it returns an error or panics, nothing has
    /// changed. A closure that fails with errors of the program's own is for [`BTree::try_exec`]:
    /// an `Ok(Err(..))` commits.
    ///
    /// Other writers wait meanwhile, and so may a commit whose closure has ended: it may share a
    /// flush with the transaction behind it, and then waits for that closure too. So a closure must
    /// not wait for a thread whose commit of this store has not returned. And where threads run
    /// transactions of several stores one inside the other, all begin with the same store, and so
    /// on: two of which each waits for the store that the other writes to wait for ever.
    ///
    /// # Errors
    /// What the closure returns; [`Error::Invalid`] inside another write transaction of the same
    /// thread, on a read-only store and for an empty name; [`Error::TooLarge`] for a name beyond
    /// the limit; [`Error::NoSpace`] when the disk is full: the state before holds;
    /// [`Error::IoError`] when the storage failed, and [`Error::Poisoned`] after a failed sync;
    /// [`Error::Corruption`]. Where this handle has deferred commits, and deferred ones, its own or
    /// another's, were lost since the first of them: what took these, until [`BTree::sync`] has
    /// told it.
    pub fn exec<R>(
        &self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&mut Txn<'_>) -> Result<R>,
    ) -> Result<R> {
        run_exec(&self.core, &self.hearing, bucket.as_ref(), closure)
    }

    /// Runs a read transaction on a bucket of the newest durable state.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such bucket; [`Error::Invalid`] for an empty name,
    /// [`Error::TooLarge`] for one beyond the limit; [`Error::Corruption`] and [`Error::IoError`]
    /// where the bucket is looked for; what the closure returns; an error that the transaction or
    /// one of its cursors met, even when the closure returns `Ok`.
    pub fn view<R>(
        &self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&ReadOnlyTxn<'_>) -> Result<R>,
    ) -> Result<R> {
        run_view(&self.core, bucket.as_ref(), closure)
    }

    /// The newest durable state, to be read for as long as wanted, over all buckets.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", "old"))?;
    /// let snapshot = db.snapshot();
    /// db.exec("b", |txn| txn.put("k", "new"))?;
    /// assert_eq!(snapshot.view("b", |txn| txn.get("k"))?, b"old");
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.core)
    }

    /// Runs a write transaction over several buckets, with one flush for all of them.
    ///
    /// # Errors
    /// Those of [`BTree::exec`].
    pub fn exec_multi<R>(&self, closure: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>) -> Result<R> {
        run_multi(&self.core, &self.hearing, closure)
    }

    /// Begins an optimistic write transaction on the newest durable state, as a value: it is kept
    /// as long as wanted, and waits for nobody until it commits, but in
    /// [`TxnBucket::put_from`](crate::TxnBucket::put_from). Of several that are open at once and
    /// touch the same, the first to commit wins; the others get [`Error::Conflict`].
    ///
    /// Where many write the same key, a loop of one's own that begins again after each conflict may
    /// lose again and again. That is what [`BTree::transact`] is for, which goes alone in the end,
    /// and [`BTree::exec`], which waits for its turn and runs once.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// let txn = db.begin();
    /// txn.bucket("b")?.put("k", "mine")?;
    /// db.exec("b", |txn| txn.put("k", "theirs"))?;
    /// assert_eq!(txn.commit(), Err(Error::Conflict));
    /// assert_eq!(db.view("b", |txn| txn.get("k"))?, b"theirs");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn begin(&self) -> OwnedTxn {
        OwnedTxn::new(&self.core, &self.hearing)
    }

    /// Runs a closure on a transaction of [`BTree::begin`] and commits it; again from the
    /// beginning when there was a conflict. The changes are durable when this returns `Ok`.
    ///
    /// Other writers go on while the closure runs. When others were ahead of it four times, it
    /// runs a last time while other writers wait, as that of [`BTree::exec_multi`] does: then
    /// nobody is ahead of it. So it may run five times, and should do nothing outside of the
    /// transaction that cannot be done again; and it must not wait for other writers of the store.
    /// What is refused inside a write transaction of the same thread, such as [`BTree::exec`], is
    /// refused in each run.
    /// [`Error::Conflict`] may be returned by the closure too, to begin again.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("counter", [0]))?;
    /// std::thread::scope(|scope| {
    ///     for _ in 0..3 {
    ///         scope.spawn(|| {
    ///             db.transact(|txn| {
    ///                 let mut bucket = txn.bucket("b")?;
    ///                 let count = bucket.get("counter")?[0];
    ///                 bucket.put("counter", [count + 1])
    ///             })
    ///         });
    ///     }
    /// });
    /// assert_eq!(db.view("b", |txn| txn.get("counter"))?, [3]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns, but for the first four [`Error::Conflict`]; those of
    /// [`OwnedTxn::commit`]; [`Error::Invalid`] inside a write transaction of the same thread.
    pub fn transact<R>(&self, closure: impl FnMut(&OwnedTxn) -> Result<R>) -> Result<R> {
        run_transact(&self.core, &self.hearing, closure)
    }

    /// Removes a bucket and all that it holds.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such bucket; those of [`BTree::exec`].
    pub fn del_bucket(&self, name: impl AsRef<str>) -> Result<()> {
        self.exec_multi(|multi| multi.del_bucket(name))
    }

    /// The names of all buckets of the newest durable state, in ascending order.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`].
    pub fn buckets(&self) -> Result<Vec<String>> {
        bucket_names(&self.core, &self.core.readers.pin_newest())
    }

    /// Whether the newest durable state has a bucket of this name.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// assert!(!db.contains_bucket("b")?);
    /// db.exec("b", |_| Ok(()))?;
    /// assert!(db.contains_bucket("b")?);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty name, [`Error::TooLarge`] for one
    /// beyond the limit; [`Error::Corruption`] and [`Error::IoError`].
    pub fn contains_bucket(&self, name: impl AsRef<str>) -> Result<bool> {
        contains_bucket(&self.core, &self.core.readers.pin_newest(), name.as_ref())
    }

    /// Whether the store was opened to be read only: then each write is [`Error::Invalid`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("data.db");
    /// use btree_store::{BTree, Options};
    /// assert!(!BTree::open(&path)?.is_read_only());
    /// assert!(Options::new().read_only().open(&path)?.is_read_only());
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    pub fn is_read_only(&self) -> bool {
        self.core.is_read_only || self.hearing.is_read_only
    }

    /// Waits until all commits made before, by whichever handle, are durable. Where none is
    /// [deferred](crate::Durability) that is so already, and this only reports whether the store
    /// still can.
    ///
    /// `Ok` says that no deferred commit was lost since this handle was made, or since this told it
    /// of a loss. A clone knows what its original knew; so keep the handle that syncs: a clone that
    /// is made for one call hears of everything anew.
    ///
    /// ```
    /// # use btree_store::{Durability, Error, Options};
    /// let db = Options::new().durability(Durability::Deferred).open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", "v"))?;
    /// assert_eq!(db.view("b", |txn| txn.get("k")), Err(Error::NotFound));
    /// db.sync()?;
    /// assert_eq!(db.view("b", |txn| txn.get("k"))?, b"v");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What took deferred commits of which this handle was not told: call it again for those that
    /// were made after them. [`Error::NoSpace`] and [`Error::IoError`] of the flush, which takes
    /// back all that waited for it; [`Error::Poisoned`] after a failed sync; [`Error::Invalid`]
    /// inside a write transaction of the same thread, and on a read-only store.
    pub fn sync(&self) -> Result<()> {
        self.core.sync(&self.hearing)
    }

    /// As [`BTree::sync`], under another name.
    ///
    /// # Errors
    /// Those of [`BTree::sync`].
    pub fn commit(&self) -> Result<()> {
        self.sync()
    }

    /// Fills leaves up from their neighbours, moves pages from the end of the file to free places,
    /// and shortens the file by `target_bytes` if it can. 0 asks for all that can be won, where
    /// btree-store 2 had a built-in ratio: it may take longer, and leave a shorter file. A second
    /// call that follows writes nothing, or moves some pages more where values have pages of their
    /// own; it reads all leaves.
    ///
    /// A leaf is full when it has no room for the next entry, or at 96 hundredths, so that small
    /// entries find some room later. Where they are large, the next insertions split leaves.
    ///
    /// Works beside readers and writers, in commits of a 64th of the file each, and at most 512
    /// pages or one value, of which 256 KiB are in memory at a time. The file is up to a quarter
    /// longer meanwhile, or by some 100 pages; and it stays longer if a reader holds a state from
    /// before: pages that an older state needs stay. Call it again when that is gone.
    /// Deferred commits are made durable first.
    ///
    /// # Errors
    /// Those of [`BTree::exec`].
    pub fn compact(&self, target_bytes: u64) -> Result<CompactStats> {
        if !self.core.is_writing() {
            // No sync: what was lost is still to be told by one.
            self.exec_multi(|multi| {
                multi.set_durability(Durability::Durable);
                Ok(())
            })?;
        }
        compact(&self.core, target_bytes)
    }

    /// The number of the newest durable state: it grows with every commit that changed
    /// something, and with those that a compaction makes, to move pages or to let them become
    /// free, which leave the contents as they are. Commits that share a flush share a number, so
    /// that deferred ones have that of the commit that makes them durable. A transaction that
    /// leaves its buckets empty or missing, as they were, has changed nothing.
    pub fn current_seq(&self) -> u64 {
        self.core.readers.newest().txn.0
    }

    /// A rough figure of the write transaction that runs: how many places it has made anew, and how
    /// many it has given up. The second counts the pages that its part which wrote last (the last
    /// [`MultiTxn::exec`]) has replaced or removed, a value with pages of its own as one; the first
    /// is the same number, or 1 if that is 0. What the puts of a part replace that wait for a later
    /// one (see there) is not counted; what a part did that failed is, until another one writes.
    /// `(0, 0)` between transactions, and before the transaction changes something.
    pub fn pending_pages(&self) -> (usize, usize) {
        let load = |count: &crate::sync::AtomicU64| {
            usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
        };
        (load(&self.core.running.0), load(&self.core.running.1))
    }

    /// Walks the whole file and reports every invariant that does not hold. Commits wait; deferred
    /// ones that are not durable are not in the file. May wait for the write transaction that runs,
    /// so its closure must not wait for who asks.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", "v"))?;
    /// assert!(db.verify()?.is_sound());
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::IoError`]; [`Error::Invalid`] inside a write transaction of the same thread. What
    /// is wrong with the file is in the report.
    pub fn verify(&self) -> Result<Report> {
        if self.core.is_writing() {
            return Err(Error::invalid("a verification waits for the running transaction to end"));
        }
        let _leader = self.core.take_lead();
        verify_file(self.core.pager.file())
    }

    /// Sizes of the store now. Waits for the write transaction that runs, so its closure must not
    /// wait for who asks; and is not to be called inside one.
    ///
    /// # Errors
    /// [`Error::Invalid`] inside a write transaction of the same thread; [`Error::Corruption`] and
    /// [`Error::IoError`] where the store was opened for reading and its free space is not known,
    /// since the pages that tell it are damaged or cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        if self.core.is_writing() {
            return Err(Error::invalid("statistics wait for the running transaction to end"));
        }
        let space = self.core.space_counts()?;
        let state = self.core.readers.newest();
        let mut pinned = self.core.readers.pinned();
        pinned.retain(|&txn| txn < state.txn);
        let page_size = self.core.pager.page_size();
        Ok(Stats {
            page_size: u32::try_from(page_size).map_err(|_| Error::Internal)?,
            page_count: state.page_count,
            free_pages: space.free_pages,
            free_extents: space.free_extents,
            pending_pages: space.pending_pages,
            cached_pages: self.core.pager.cached_pages(),
            pages_read: self.core.pager.pages_read(),
            buckets: state.catalog.buckets,
            seq: state.txn.0,
            pinned_states: pinned.len(),
            oldest_seq: pinned.first().unwrap_or(&state.txn).0,
        })
    }
}
