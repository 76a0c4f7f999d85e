//! Room for values that owned transactions write early (part of txn, layer L6).
//!
//! Owns: [`Room`]: where such a transaction gets pages set aside for a value before it commits.
//! Must not know: which value.
//! Keeps: one-writer (the free space is touched by whoever has the writer's turn only).

use super::super::Sticky;
use crate::commit::{Core, EarlyWriter, Hearing};
use crate::error::Result;
use crate::format::META_SLOTS;
use crate::space::FreeSpace;
use crate::sync::Mutex;

/// The free space, where the transaction runs while its thread has the writer's turn. Else the turn
/// is taken for each value, for as long as it takes to set pages aside.
pub(super) struct Room {
    /// The transaction is a run of `transact`, in which its thread counts as one that writes.
    is_run: bool,
    lent: Mutex<Option<FreeSpace>>,
}

/// The free space goes back to the writer when this is dropped, whatever happened.
pub(super) struct Lent<'a> {
    home: &'a mut FreeSpace,
    room: &'a Room,
}

impl Room {
    pub(super) fn new(is_run: bool) -> Room {
        Room { is_run, lent: Mutex::new(None) }
    }

    /// Takes the free space of whoever has the writer's turn.
    pub(super) fn lend<'a>(&'a self, home: &'a mut FreeSpace) -> Lent<'a> {
        let space = std::mem::replace(home, FreeSpace::new(META_SLOTS));
        *self.lent.lock() = Some(space);
        Lent { home, room: self }
    }

    /// Sets pages aside for a value of so many bytes. With the writer's turn, its batch fails with
    /// any that failed before; else only the transaction can tell whether one did.
    ///
    /// # Errors
    /// Those of [`EarlyWriter::begin`] and [`Core::begin_aside`].
    pub(super) fn begin_early<'c>(
        &self,
        core: &'c Core,
        hearing: &Hearing,
        sticky: &Sticky,
        len: u32,
    ) -> Result<EarlyWriter<'c>> {
        let mut lent = self.lent.lock();
        if let Some(space) = lent.as_mut() {
            return EarlyWriter::begin(core, space, len);
        }
        drop(lent);
        hearing.check_writes()?;
        let mut guard = if self.is_run { core.begin_aside()? } else { core.begin()? };
        sticky.put_early(&core.failures);
        EarlyWriter::begin(core, &mut guard.writer().space, len)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let lent = self.room.lent.lock().take();
        if let Some(space) = lent {
            *self.home = space;
        }
    }
}
