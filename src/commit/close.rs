//! Closing a store (part of commit, layer L5).
//!
//! Owns: the flush of what nobody waits for, and the second copy of the last state.
//! Must not know: who had the store open.
//! Keeps: nothing of its own; it flushes and writes as every commit does.

use super::Core;
use crate::error::{Result, unheard};
use crate::seeded::seeded;

impl Core {
    /// Writes the newest durable state into both slots. Nobody else writes to the store.
    ///
    /// # Errors
    /// What the storage says.
    pub(crate) fn settle(&self) -> Result<()> {
        self.take_lead().at_work(|_| self.settle_as_leader())
    }

    fn settle_as_leader(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        writer.catch_up();
        let slot = writer.next_slot;
        drop(writer);
        let mut flush = self.flush.lock();
        if flush.is_mirrored { Ok(()) } else { self.mirror(&mut flush, slot) }
    }

    /// Flushes what nobody waits for. The store is being closed.
    fn flush_rest(&self) {
        let writer = self.writer.lock();
        let has_rest = writer.batch.changes > 0 && !seeded!(CloseForgetsDeferred);
        let waiter = if has_rest { self.join(writer.batch.number) } else { None };
        drop(writer);
        if let Some(waiter) = waiter
            && self.wait(waiter).is_err()
        {
            // No handle is left that could be told; who has to know calls sync before.
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let is_read_only = self.is_read_only && !seeded!(ReadOnlyCloseWrites);
        if is_read_only || self.is_poisoned() {
            return;
        }
        unheard(|| {
            self.flush_rest();
            if self.is_poisoned() || self.settle().is_err() {
                // Every durable commit is so already; the next open mends the slots.
            }
        });
    }
}
