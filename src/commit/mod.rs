//! Commit: one writer at a time, one flush for all who wait (layer L5).
//!
//! Owns: [`Core`], the store behind all handles: the writer's lock, the hand-over from leader to
//! leader, the publication of durable states, poisoning, closing.
//! Must not know: buckets' contents, handles.
//! Keeps: one-writer, durable-before-ok, publish-after-durable, failed-sync-poisons.
//!
//! A transaction runs under the writer's lock and leaves its changes in the open batch. Its
//! thread then waits, unless its commit is deferred; one of those who wait leads: it seals the
//! batch, lets the next transactions run on the sealed state, and flushes. Whoever's batch was
//! flushed returns.
//! Lock order: `writer`, then `flush`, then the length, and the readers' table. The leader holds
//! none of them while it writes and syncs a batch; before a compaction cuts the file, it holds the
//! first two over the copy of the state in the other slot.

mod batch;
mod close;
mod durability;
mod early;
mod flush;
mod guard;
mod leader;
mod queue;
mod seal;
mod writing;

pub use durability::Durability;

pub(crate) use batch::{Batch, Bucket, Mark, View};
pub(crate) use durability::Hearing;
pub(crate) use early::EarlyWriter;
pub(crate) use guard::{Outcome, WriteGuard};
pub(crate) use leader::Leader;
pub(crate) use seal::log_page;

use crate::error::{Error, Fault, Result};
use crate::meta::{Meta, Slot};
use crate::page::PageId;
use crate::pager::Pager;
use crate::readers::{Readers, State};
use crate::seeded::seeded;
use crate::space::FreeSpace;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Stopwatch, yield_now};
use crate::vfs::Vfs;
use durability::{Losses, waiting_bytes_max};
use early::Length;
use flush::{Failed, flush, write_mirror};
use leader::{Held, Underway};
use queue::{Gathering, Queue, Waiter, Word};
use seal::{Job, Surroundings, seal};
use writing::AsIfWriting;

/// How many barriers a commit uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Barriers {
    /// One: the meta page lists what the commit wrote, and recovery checks the list. A commit
    /// too large for the list uses two, and syncs twice at the first.
    #[default]
    One,
    /// Two: the data is durable before the meta page is written.
    Two,
}

/// What only the running write transaction, or the leader while it seals, may touch.
pub(crate) struct Writer {
    pub(crate) batch: Batch,
    pub(crate) space: FreeSpace,
    next_slot: Slot,
    /// A sealed batch whose outcome the free space has not been told.
    in_flight: bool,
    /// What the next commit does for a compaction.
    packing: Option<Packing>,
    /// A flush failed: the disk may be full, and the file is lengthened only if it must, and by no
    /// more, until one has succeeded and the disk lets the file grow again.
    is_cramped: bool,
}

/// What a commit does for a compaction, beside its transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// New pages come to lie in front of it, where there is room.
    pub(crate) limit: PageId,
    /// Pages of the catalog that may be moved.
    pub(crate) catalog_budget: u32,
}

impl Writer {
    /// Takes note that the last flush succeeded, if there was one. A failed one was undone before.
    fn catch_up(&mut self) -> bool {
        let has_succeeded = std::mem::take(&mut self.in_flight);
        if has_succeeded {
            self.space.installed();
            if !seeded!(SameSlotTwice) {
                self.next_slot = self.next_slot.other();
            }
        }
        has_succeeded
    }
}

/// What flushes have come to, and who waits for the next.
struct Flush {
    queue: Queue,
    /// The newest batch that is durable.
    durable: u64,
    poisoned: Option<Fault>,
    losses: Losses,
    /// The file's length in bytes, as far as a barrier has made it durable.
    fenced_len: u64,
    /// The newest durable meta page.
    meta: Meta,
    /// Both slots hold it.
    is_mirrored: bool,
}

/// Counts of the free space.
pub(crate) struct SpaceCounts {
    pub(crate) free_pages: u64,
    pub(crate) free_extents: usize,
    pub(crate) pending_pages: u64,
}

/// What recovery found, or what a new file begins with.
pub(crate) struct Start {
    pub(crate) meta: Meta,
    pub(crate) state: State,
    pub(crate) space: FreeSpace,
    /// Why there is no free space: of a store that is opened for reading only.
    pub(crate) space_fault: Option<Fault>,
    pub(crate) next_slot: Slot,
    pub(crate) is_mirrored: bool,
    /// The state is durable for sure.
    pub(crate) is_fenced: bool,
    /// A length in bytes that is durable.
    pub(crate) fenced_len: u64,
}

/// A store: one file, its cache, its readers and its writer.
pub(crate) struct Core {
    pub(crate) pager: Pager,
    pub(crate) readers: Readers,
    writer: Mutex<Writer>,
    flush: Mutex<Flush>,
    length: Length,
    is_poisoned: AtomicBool,
    /// Counts up when a flush fails, which may have taken what others wrote to the file before, and
    /// when its batch is given up.
    pub(crate) failures: Arc<AtomicU64>,
    barriers: Barriers,
    /// What deferred commits may take in before one of them waits for a flush.
    waiting_bytes_max: u64,
    pub(crate) is_read_only: bool,
    /// Why nobody knows the free space.
    space_fault: Option<Fault>,
    /// What readers see is durable for sure: it is not where a store whose writer died was opened
    /// for reading only.
    pub(crate) is_fenced: bool,
    /// Where copies of the store are made: where its file lives, unless nobody else sees that.
    pub(crate) copies: Arc<dyn Vfs>,
    /// Of the running transaction: pages it made dirty, pages it freed.
    pub(crate) running: (AtomicU64, AtomicU64),
    /// What must outlive the file; fields are dropped in this order.
    _keeper: Keeper,
}

/// Something that is dropped after the file of a store was closed.
pub(crate) type Keeper = Option<Box<dyn std::any::Any + Send + Sync>>;

/// How a store is used.
pub(crate) struct Usage {
    pub(crate) barriers: Barriers,
    pub(crate) is_read_only: bool,
    /// See [`Core::copies`].
    pub(crate) copies: Arc<dyn Vfs>,
    pub(crate) keeper: Keeper,
}

impl Core {
    pub(crate) fn new(pager: Pager, start: Start, usage: Usage) -> Core {
        pager.set_page_count(start.state.page_count);
        let state = Arc::new(start.state);
        let writer = Writer {
            batch: Batch::new(Arc::clone(&state), 1, 0),
            space: start.space,
            next_slot: start.next_slot,
            in_flight: false,
            packing: None,
            is_cramped: false,
        };
        let flush = Flush {
            queue: Queue::default(),
            durable: 0,
            poisoned: None,
            losses: Losses::default(),
            fenced_len: start.fenced_len,
            meta: start.meta,
            is_mirrored: start.is_mirrored,
        };
        let readers = Readers::new(state, Arc::clone(pager.slots()));
        Core {
            waiting_bytes_max: waiting_bytes_max(pager.cache_bytes()),
            pager,
            readers,
            writer: Mutex::new(writer),
            flush: Mutex::new(flush),
            length: Length::new(),
            is_poisoned: AtomicBool::new(false),
            failures: Arc::new(AtomicU64::new(0)),
            barriers: usage.barriers,
            is_read_only: usage.is_read_only,
            space_fault: start.space_fault,
            is_fenced: start.is_fenced,
            copies: usage.copies,
            running: (AtomicU64::new(0), AtomicU64::new(0)),
            _keeper: usage.keeper,
        }
    }

    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Begins a write transaction; waits for the one that runs.
    ///
    /// # Errors
    /// `Invalid` on a read-only store and inside another write transaction of this thread;
    /// `Poisoned` after a failed sync.
    pub(crate) fn begin(&self) -> Result<WriteGuard<'_>> {
        self.take_turn(self.is_writing())
    }

    /// As [`Core::begin`], for what a transaction needs of the writer before it commits: also where
    /// the thread only counts as one that writes.
    pub(crate) fn begin_aside(&self) -> Result<WriteGuard<'_>> {
        self.take_turn(writing::has_turn(self.identity()))
    }

    fn take_turn(&self, is_nested: bool) -> Result<WriteGuard<'_>> {
        if self.is_read_only {
            return Err(Error::invalid("the store is open for reading only"));
        }
        if is_nested && !seeded!(NestedExecDeadlocks) {
            return Err(Error::invalid("this thread is in a write transaction of this store"));
        }
        let writer = self.writer.lock();
        self.check_poison()?;
        writing::enter(self.identity());
        let mark = writer.batch.mark();
        Ok(WriteGuard::new(self, writer, mark))
    }

    /// The calling thread's transaction ends; it still holds the writer.
    fn leave(&self) {
        self.running.0.store(0, Ordering::Relaxed);
        self.running.1.store(0, Ordering::Relaxed);
        writing::leave(self.identity());
    }

    /// Whether a failed sync ended all writing. It raises nothing, which would take the place of
    /// the error that the thread met last.
    fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    /// Fails where a failed sync ended all writing.
    pub(crate) fn check_poison(&self) -> Result<()> {
        if !self.is_poisoned() {
            return Ok(());
        }
        let why = self.flush.lock().poisoned.clone();
        Err(why.map_or(Error::Poisoned, |fault| fault.raise_as(Error::Poisoned)))
    }

    /// Joins those who wait for a batch; `None` when it is durable already. The caller holds the
    /// writer, so that whoever fails the open batch finds all who wait for it.
    fn join(&self, batch: u64) -> Option<Waiter> {
        let mut flush = self.flush.lock();
        if flush.durable >= batch || (seeded!(FollowerReturnsEarly) && flush.queue.is_led()) {
            return None;
        }
        Some(flush.queue.join(batch))
    }

    /// Whether a batch has been flushed, or one behind it.
    pub(crate) fn is_flushed(&self, batch: u64) -> bool {
        self.flush.lock().durable >= batch
    }

    /// Waits for the outcome; leads when told to.
    fn wait(&self, mut waiter: Waiter) -> Result<()> {
        loop {
            match waiter.listen() {
                Word::Outcome(outcome) => return outcome.map_err(|fault| fault.raise()),
                Word::Lead => self.lead(&mut Leader::of(self)),
            }
        }
    }

    /// Seals the open batch and flushes it.
    fn lead(&self, leader: &mut Leader<'_>) {
        leader.at_work(|leader| self.lead_on(leader));
    }

    fn lead_on(&self, leader: &mut Leader<'_>) {
        self.gather();
        let mut writer = Held::of(self);
        let job = self.seal_batch(&mut writer, leader);
        writer.done();
        if let Some(job) = job {
            self.flush_job(job, leader);
        }
    }

    /// Seals the open batch and opens the next one on it; or fails it.
    fn seal_batch(&self, writer: &mut Writer, leader: &mut Leader<'_>) -> Option<Job> {
        if writer.catch_up() && writer.is_cramped {
            writer.is_cramped = !self.can_grow(writer);
        }
        // Not where it is looked at: the lock would be held there.
        let poisoned = self.flush.lock().poisoned.clone();
        if let Some(fault) = poisoned {
            self.fail(writer, &fault, leader);
            return None;
        }
        let around = Surroundings {
            pages: &self.pager,
            pinned: self.readers.pinned(),
            barriers: self.barriers,
        };
        let job = match seal(writer, &around) {
            Ok(job) => job,
            Err(error) => {
                self.fail(writer, &Fault::keep(error), leader);
                return None;
            }
        };
        writer.in_flight = true;
        writer.packing = None;
        let number = writer.batch.number;
        writer.batch = Batch::new(Arc::clone(&job.state), number + 1, number);
        self.pager.set_page_count(job.state.page_count);
        self.pager.begin_flight(&job.pages, &job.runs);
        Some(job)
    }

    /// Lets those join whom the flush before has just released: they often commit again at once,
    /// and a flush costs the same for one as for all. Nobody is waited for who commits alone.
    fn gather(&self) {
        let mut gathering = Gathering::default();
        while self.flush.lock().queue.is_awaiting(&mut gathering) {
            yield_now();
        }
    }

    /// Writes a sealed batch, and publishes it or takes it back.
    fn flush_job(&self, job: Job, leader: &mut Leader<'_>) {
        // Only the leader touches the length, and there is one leader.
        let fenced_len = self.flush.lock().fenced_len;
        if seeded!(PublishedBeforeSync) {
            self.readers.publish(Arc::clone(&job.state));
        }
        let watch = Stopwatch::start();
        let underway = Underway::of(self, &job);
        let outcome = flush(&self.pager, &self.length, &job, fenced_len);
        underway.done();
        let nanos = watch.nanos();
        let mut flush = self.flush.lock();
        flush.queue.note_flush(nanos);
        match outcome {
            Ok(()) => {
                flush.fenced_len = fenced_len.max(job.meta.file_len());
                flush.is_mirrored = false;
                flush.meta = job.meta;
                self.readers.publish(job.state);
                self.pager.land_flight(&job.replaced);
                flush.durable = job.number;
                let released = flush.queue.take_until(job.number);
                leader.answers.extend(released.into_iter().map(|round| (round, Ok(()))));
            }
            Err(Failed::Before(error, len_before)) => {
                let fault = Fault::keep(error);
                drop(flush);
                self.lose(&job, &fault);
                let mut writer = Held::of(self);
                writer.in_flight = false;
                writer.is_cramped = true;
                writer.space.undo();
                if let Some(len) = len_before {
                    self.give_back(&mut writer, len);
                }
                if seeded!(SlotTurnsOnFailure) {
                    writer.next_slot = writer.next_slot.other();
                }
                if seeded!(FailedFlushPublished) {
                    self.readers.publish(job.state);
                }
                self.pager.drop_flight();
                self.fail_from(&mut writer, job.number, &fault, leader);
                writer.done();
            }
            Err(Failed::Unknown(error)) => {
                let fault = Fault::keep(error);
                flush.poisoned = Some(fault.clone());
                self.is_poisoned.store(true, Ordering::Release);
                drop(flush);
                self.lose(&job, &fault);
                let mut writer = Held::of(self);
                writer.in_flight = false;
                self.fail_from(&mut writer, job.number, &fault, leader);
                writer.done();
            }
        }
    }

    /// Says what becomes of what a flush that failed may have taken, before anybody misses it:
    /// transactions may run on its state, and what was put early may be gone from the file.
    fn lose(&self, job: &Job, fault: &Fault) {
        job.state.lose(fault);
        batch::lose(job.held.as_deref(), fault);
        self.failures.fetch_add(1, Ordering::Release);
    }

    /// Fails the open batch.
    fn fail(&self, writer: &mut Writer, fault: &Fault, leader: &mut Leader<'_>) {
        let number = writer.batch.number;
        self.fail_from(writer, number, fault, leader);
    }

    /// Fails the batches from `first` to the open one, and begins anew on the durable state.
    fn fail_from(&self, writer: &mut Writer, first: u64, fault: &Fault, leader: &mut Leader<'_>) {
        self.failures.fetch_add(1, Ordering::Release);
        writer.batch.lose(fault);
        let mut flush = self.flush.lock();
        flush.losses.note(first, fault);
        let last = writer.batch.number;
        let failed = flush.queue.take_until(last).into_iter().map(|round| {
            let is_forgotten = seeded!(FailureTellsTheLeaderOnly) && round.batch > first;
            (round, if is_forgotten { Ok(()) } else { Err(fault.clone()) })
        });
        leader.answers.extend(failed);
        let base = if seeded!(NextRunsOnFailedState) {
            Arc::clone(&writer.batch.base)
        } else {
            self.readers.newest()
        };
        self.pager.set_page_count(base.page_count);
        writer.batch = Batch::new(base, last + 1, flush.durable);
        writer.packing = None;
    }

    /// Counts of the free space, for statistics.
    ///
    /// # Errors
    /// What the log of the free space met, where the store was opened for reading all the same.
    pub(crate) fn space_counts(&self) -> Result<SpaceCounts> {
        if let Some(fault) = &self.space_fault {
            return Err(fault.raise());
        }
        let mut writer = self.writer.lock();
        writer.space.take_dropped();
        Ok(SpaceCounts {
            free_pages: writer.space.free_pages(),
            free_extents: writer.space.free_extents(),
            pending_pages: writer.space.pending_pages() + writer.space.pages_aside(),
        })
    }

    /// Waits for the flush under way, and keeps others from beginning one.
    pub(crate) fn take_lead(&self) -> Leader<'_> {
        let mut waiter = self.flush.lock().queue.join_to_lead();
        match waiter.listen() {
            Word::Lead | Word::Outcome(_) => Leader::of(self),
        }
    }

    /// Writes the newest durable state into both slots.
    fn mirror(&self, flush: &mut Flush, slot: Slot) -> Result<()> {
        write_mirror(&self.pager, &flush.meta, slot)?;
        flush.is_mirrored = true;
        Ok(())
    }

    /// Whether the calling thread is in a write transaction of this store.
    pub(crate) fn is_writing(&self) -> bool {
        writing::is_in(self.identity())
    }

    /// Refuses the calling thread what a write transaction of it would refuse.
    pub(crate) fn as_if_writing(&self) -> AsIfWriting {
        AsIfWriting::new(self.identity())
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("pages", &self.pager.page_count()).finish_non_exhaustive()
    }
}
