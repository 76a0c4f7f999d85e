//! The running write transaction's hold on the writer (part of commit, layer L5).
//!
//! Owns: [`WriteGuard`], which undoes the transaction unless it is finished, and [`Outcome`].
//! Must not know: what the transaction does, or how a batch is flushed.
//! Keeps: txn-ids-increase (a transaction that leaves all as it was makes no commit).

use super::batch::{Batch, Mark};
use super::early::copy_moving;
use super::{Core, Durability, Hearing, Packing, Writer};
use crate::error::{Error, Result};
use crate::page::{Extent, PageId};
use crate::sync::MutexGuard;
use crate::tree::PageRead;

/// The running write transaction's hold on the writer. Dropped, it undoes the transaction.
pub(crate) struct WriteGuard<'a> {
    core: &'a Core,
    writer: Option<MutexGuard<'a, Writer>>,
    mark: Mark,
}

impl<'a> WriteGuard<'a> {
    pub(super) fn new(
        core: &'a Core,
        writer: MutexGuard<'a, Writer>,
        mark: Mark,
    ) -> WriteGuard<'a> {
        WriteGuard { core, writer: Some(writer), mark }
    }

    /// The open batch, and where to read pages.
    pub(crate) fn batch(&mut self) -> (&mut Batch, &dyn PageRead) {
        let writer = self.writer.as_mut().expect("the guard holds the writer until it ends");
        (&mut writer.batch, &self.core.pager)
    }

    /// What the transaction may touch.
    pub(crate) fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("the guard holds the writer until it ends")
    }

    /// The free extents, by address, and the pages of the file.
    pub(crate) fn free_extents(&mut self) -> (Vec<Extent>, u32) {
        let writer = self.writer();
        writer.space.take_dropped();
        (writer.space.iter_free().collect(), writer.space.page_count())
    }

    /// Pages that will be free when no state needs them any more.
    pub(crate) fn pending_pages(&self) -> u64 {
        let writer = self.writer.as_ref().expect("the guard holds the writer until it ends");
        writer.space.pending_pages()
    }

    /// Pages that are free or will be, and the pages of the file.
    pub(crate) fn unused_pages(&mut self) -> (u64, u32) {
        let writer = self.writer();
        writer.space.take_dropped();
        let unused = writer.space.free_pages() + writer.space.pending_pages();
        (unused, writer.space.page_count())
    }

    /// Pages of the file from `from` on that something has.
    pub(crate) fn used_from(&self, from: PageId) -> u32 {
        let writer = self.writer.as_ref().expect("the guard holds the writer until it ends");
        writer.space.used_from(from)
    }

    /// How many of them the log has.
    pub(crate) fn log_pages_from(&self, from: PageId) -> u32 {
        let writer = self.writer.as_ref().expect("the guard holds the writer until it ends");
        writer.space.log_pages_from(from)
    }

    /// The page size in bytes.
    pub(crate) fn page_size(&self) -> usize {
        self.core.pager.page_size()
    }

    /// Lets the next commit work for a compaction.
    pub(crate) fn pack(&mut self, packing: Packing) {
        let writer = self.writer.as_mut().expect("the guard holds the writer until it ends");
        writer.packing = Some(packing);
    }

    /// Says why something could not be read: where the flush has failed of the state on which the
    /// transaction runs, that is to blame, and not the file.
    pub(crate) fn note<T>(&self, result: Result<T>) -> Result<T> {
        let loss = || self.writer.as_ref()?.batch.base.loss();
        result.map_err(|error| match error {
            Error::Corruption | Error::IoError => loss().unwrap_or(error),
            other => other,
        })
    }

    /// Copies the large values that are moved to places in front of a limit.
    ///
    /// # Errors
    /// What the storage says; corruption.
    pub(crate) fn copy_moving(&mut self, limit: PageId) -> Result<()> {
        let copied = copy_moving(self.core, self.writer(), limit);
        self.note(copied)
    }

    /// Leaves the transaction's changes in the batch, and waits until they are durable, and with
    /// them all that the transaction may have seen. A transaction that leaves all buckets as they
    /// were has no changes.
    ///
    /// # Errors
    /// What the flush says. The state is then the one before, or, after a failed sync, nobody
    /// knows which of the two a reopened store will find.
    pub(crate) fn finish(self, outcome: Outcome) -> Result<()> {
        self.end(outcome, None)
    }

    /// As [`WriteGuard::finish`]; if it is to be deferred, waits only where too much does already.
    ///
    /// # Errors
    /// Those of [`WriteGuard::finish`].
    pub(crate) fn finish_for(
        self,
        hearing: &Hearing,
        outcome: Outcome,
        durability: Durability,
    ) -> Result<()> {
        match durability {
            Durability::Durable => self.end(outcome, None),
            Durability::Deferred => self.end(outcome, Some(hearing)),
        }
    }

    fn end(mut self, outcome: Outcome, deferring: Option<&Hearing>) -> Result<()> {
        let (core, mark) = (self.core, self.mark);
        let batch = &mut self.writer().batch;
        let mut has_changed = outcome == Outcome::Changed;
        // While the guard undoes the transaction: this may read pages, and the storage may panic.
        if has_changed && batch.left_all_as_it_was(&core.pager) {
            batch.roll_back(mark);
            has_changed = false;
        }
        let Some(mut writer) = self.writer.take() else {
            return Err(Error::internal("a transaction ended twice"));
        };
        let batch = &mut writer.batch;
        batch.changes += u64::from(has_changed);
        let replaced = batch.settle();
        let number = batch.number;
        let waiter = match deferring {
            Some(_) if !has_changed => None,
            Some(hearing) if self.core.may_defer(&writer.batch) => {
                self.core.defer(number, hearing);
                None
            }
            // What others left there is waited for too: this may have seen it.
            _ => self.core.join(writer.batch.newest()),
        };
        self.core.leave();
        drop(writer);
        drop(replaced);
        waiter.map_or(Ok(()), |waiter| self.core.wait(waiter))
    }
}

/// Whether a transaction has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Changed,
    Same,
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.batch.roll_back(self.mark);
            self.core.leave();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::error::Fault;
    use crate::{Error, Options};

    /// Attacks: errors-stick.
    #[test]
    fn what_a_compaction_cannot_read_is_told_by_what_took_it() {
        let db = Options::new().open_in_memory().expect("there is memory");
        let core = crate::sync::Arc::clone(db.snapshot().core());
        let mut guard = core.begin().expect("nobody writes");
        let told = |error| guard.note::<()>(Err(error)).expect_err("it is an error");
        assert_eq!(told(Error::Corruption), Error::Corruption);
        let base = crate::sync::Arc::clone(&guard.batch().0.base);
        base.lose(&Fault::keep(Error::NoSpace));
        let told = |error| guard.note::<()>(Err(error)).expect_err("it is an error");
        assert_eq!(told(Error::Corruption), Error::NoSpace);
        assert_eq!(told(Error::IoError), Error::NoSpace);
        assert_eq!(told(Error::TooLarge), Error::TooLarge);
    }
}
