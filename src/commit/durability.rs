//! Commits that nobody waits for (part of commit, layer L5).
//!
//! Owns: [`Durability`]; [`Losses`], the deferred commits that were taken back when their callers
//! had gone on; [`Hearing`], what a handle was told of them.
//! Must not know: what a commit holds, or how a batch is flushed.
//! Keeps: durable-before-ok (who was told Ok before a commit was durable is told if it is lost, and
//! commits nothing on top of the loss before that).
//!
//! A deferred commit leaves its changes in the open batch, as every commit does, and returns. The
//! next who joins those who wait for that batch, or for a later one, flushes it.

use super::{Batch, Core, Outcome, WriteGuard};
use crate::error::{Error, Fault, Result};
use crate::seeded::seeded;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::tree::PageRead;

/// When a commit returns.
///
/// ```
/// use btree_store::{Durability, Error, Options};
/// let db = Options::new().durability(Durability::Deferred).open_in_memory()?;
/// for n in 0..100_u8 {
///     db.exec("log", |txn| txn.put([n], "an entry"))?;
/// }
/// // Write transactions see them, readers do not yet.
/// assert_eq!(db.exec("log", |txn| Ok(txn.len()))?, 100);
/// assert_eq!(db.view("log", |txn| Ok(txn.len())), Err(Error::NotFound));
/// db.sync()?; // durable from here on
/// assert_eq!(db.view("log", |txn| Ok(txn.len()))?, 100);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When its changes are durable, and with them all commits before it, deferred ones too.
    #[default]
    Durable,
    /// When its changes are in memory, without waiting for the disk. They become durable with the
    /// next durable commit, whoever's it is, with [`BTree::sync`](crate::BTree::sync), or when the
    /// store is closed. Commits keep their order: what a crash leaves is what they had made up to
    /// one of them, the last durable one or a later one.
    ///
    /// Write transactions see deferred commits at once. What only reads sees durable states:
    /// `view`, `snapshot`, `buckets`, `current_seq`, `verify` and backups do not know of a deferred
    /// commit before it is durable, nor does `stats` but for its free and pending pages. Nor do
    /// transactions of [`BTree::begin`](crate::BTree::begin), which are always durable themselves.
    ///
    /// Where the keys and values of the waiting commits, and the pages that they replace, come to
    /// more than an eighth of the cache, or than 256 KiB if that is more, a deferred commit waits
    /// as a durable one does. Values that were written to the file already count too. In memory the
    /// others take up to three times as much, and once more while a flush is under way.
    ///
    /// A flush that fails takes back all commits that were to become durable with it. Of deferred
    /// ones that is told by the next [`BTree::sync`](crate::BTree::sync), of every handle: it fails
    /// with the flush's error, once, even if nothing waits any more. Until then a handle that has
    /// made deferred commits makes no others: its write transactions fail with that error, or with
    /// `Poisoned`, before their closures run, since what they would build on is not there; those of
    /// [`BTree::begin`](crate::BTree::begin) and [`BTree::transact`](crate::BTree::transact), which
    /// build on durable states, when they commit. When the store is closed,
    /// nobody can be told: call `sync` before.
    Deferred,
}

/// Deferred commits wait up to this part of the cache, or up to so many bytes if that is more.
const CACHE_PART: u64 = 8;
const WAITING_BYTES_MIN: u64 = 256 << 10;

/// How many bytes deferred commits may take in before one of them waits for a flush.
pub(super) fn waiting_bytes_max(cache_bytes: u64) -> u64 {
    (cache_bytes / CACHE_PART).max(WAITING_BYTES_MIN)
}

/// Deferred commits that were taken back.
#[derive(Default)]
pub(super) struct Losses {
    /// The newest batch that holds a deferred commit of which nobody knows the outcome; 0 if none.
    open: u64,
    /// The newest batch whose deferred commits were lost, and to what; 0 if none.
    lost: u64,
    fault: Option<Fault>,
    /// Up to which batch somebody was told of losses.
    told: u64,
}

impl Losses {
    /// The batches from `first` on failed.
    pub(super) fn note(&mut self, first: u64, fault: &Fault) {
        if self.open >= first && self.open > 0 && !seeded!(LossNotTold) {
            self.lost = self.open;
            self.fault = Some(fault.clone());
        }
        self.open = 0;
    }
}

/// How a handle commits, and what it was told of lost commits.
#[derive(Debug)]
pub(crate) struct Hearing {
    heard: Arc<Heard>,
    /// Of the handle's transactions that do not say otherwise.
    pub(crate) durability: Durability,
    /// The handle does not write, though others may.
    pub(crate) is_read_only: bool,
}

#[derive(Debug)]
struct Heard {
    /// Up to which batch it was told of losses. Changed under the lock of the flush.
    told: AtomicU64,
    /// The batch of the handle's first deferred commit; 0 before. Set under the writer's lock.
    defers: AtomicU64,
}

impl Hearing {
    /// Of whoever is told of the losses behind a batch.
    fn from(told: u64, durability: Durability, is_read_only: bool) -> Hearing {
        let (told, defers) = (AtomicU64::new(told), AtomicU64::new(0));
        Hearing { heard: Arc::new(Heard { told, defers }), durability, is_read_only }
    }

    /// Of whoever makes no deferred commits.
    pub(crate) fn none() -> Hearing {
        Hearing::from(0, Durability::Durable, false)
    }

    /// Fails where the handle does not write.
    pub(crate) fn check_writes(&self) -> Result<()> {
        if self.is_read_only {
            return Err(Error::invalid("the handle was opened for reading only"));
        }
        Ok(())
    }

    /// Of what commits for the handle: is told what the handle is told.
    pub(crate) fn shared(&self) -> Hearing {
        Hearing { heard: Arc::clone(&self.heard), ..*self }
    }
}

impl Clone for Hearing {
    /// Of another handle, which knows what the first one knows now.
    fn clone(&self) -> Hearing {
        let told = self.heard.told.load(Ordering::Relaxed);
        let hearing = Hearing::from(told, self.durability, self.is_read_only);
        hearing.heard.defers.store(self.heard.defers.load(Ordering::Relaxed), Ordering::Relaxed);
        hearing
    }
}

impl Core {
    /// What a new handle knows: the losses that somebody was told of are not its own.
    pub(crate) fn hearing(&self, durability: Durability, is_read_only: bool) -> Hearing {
        Hearing::from(self.flush.lock().losses.told, durability, is_read_only)
    }

    /// Begins a write transaction of a handle; waits for the one that runs.
    ///
    /// # Errors
    /// Those of [`Core::begin`]; what took deferred commits of the handle, until a sync told it.
    pub(crate) fn begin_for(&self, hearing: &Hearing) -> Result<WriteGuard<'_>> {
        hearing.check_writes()?;
        let guard = self.begin()?;
        // Commits are lost under the writer's lock; so none is between this and the end.
        let first = hearing.heard.defers.load(Ordering::Relaxed);
        if first > 0 {
            self.untold(hearing, first).map_or(Ok(()), |fault| Err(fault.raise()))?;
        }
        Ok(guard)
    }

    /// Waits until all that was committed before is durable.
    ///
    /// # Errors
    /// What took deferred commits, if the handle was not told; `Invalid` inside a write transaction
    /// of this thread and on a read-only store; `Poisoned`; what the flush says.
    pub(crate) fn sync(&self, hearing: &Hearing) -> Result<()> {
        if self.is_writing() {
            self.check_poison()?;
            return Err(Error::invalid("a transaction commits when its closure returns"));
        }
        let mut begun = hearing.check_writes().and_then(|()| self.begin());
        let waited = begun.as_mut().map_or(u64::MAX, |guard| guard.batch().0.newest());
        // Under the writer's lock: what is lost later was committed later, or is waited for.
        if let Some(fault) = self.tell(hearing, u64::MAX) {
            return Err(fault.raise());
        }
        if seeded!(SyncSkipsDeferred) {
            return Ok(());
        }
        // What this fails with is told by this, and not once more; but not what others lost since.
        begun?.finish(Outcome::Same).inspect_err(|_| drop(self.tell(hearing, waited)))
    }

    /// What took deferred commits since a handle's first, in this batch, and was not told to it.
    fn untold(&self, hearing: &Hearing, first: u64) -> Option<Fault> {
        let flush = self.flush.lock();
        let lost = flush.losses.lost;
        let is_told = hearing.heard.told.load(Ordering::Relaxed) >= lost || lost < first;
        if is_told { None } else { flush.losses.fault.clone() }
    }

    /// The same of the batches up to one, which the handle is told now.
    fn tell(&self, hearing: &Hearing, until: u64) -> Option<Fault> {
        let losses = &mut self.flush.lock().losses;
        let until = losses.lost.min(until);
        losses.told = losses.told.max(until);
        let is_told = hearing.heard.told.fetch_max(until, Ordering::Relaxed) >= until;
        if is_told { None } else { losses.fault.clone() }
    }

    /// Whether the open batch has room for one more commit that nobody waits for.
    pub(super) fn may_defer(&self, batch: &Batch) -> bool {
        let is_full = batch.taken_bytes(self.pager.page_size()) > self.waiting_bytes_max;
        !is_full && !self.is_poisoned()
    }

    /// Takes note that a handle leaves a commit in a batch. The caller holds the writer.
    pub(super) fn defer(&self, batch: u64, hearing: &Hearing) {
        if hearing.heard.defers.load(Ordering::Relaxed) == 0 {
            hearing.heard.defers.store(batch, Ordering::Relaxed);
        }
        self.flush.lock().losses.open = batch;
    }
}
