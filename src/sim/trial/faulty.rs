//! Runs of a trial in which operations fail (part of a trial of the certificate).
//!
//! Owns: the runs of [`Trial`] under a fault, and what must hold after an error.
//! Must not know: which faults there are.
//! Keeps: an error that no fault explains is told. It attacks failed-sync-poisons and commit-atomic
//! (P11).

use super::{Looked, Next, Trial};
use crate::sim::crash::{Checked, Crash};
use crate::sim::disk::SimDisk;
use crate::sim::dump::{Ways, probe};
use crate::sim::fault::{Failure, Fault, SyncFailure, is_of_storage};
use crate::sim::machine::Struck;
use crate::sim::process::{Process, Settling};
use crate::sim::promise::{LAST_PROBE, PROBES, Promise, State, probe_acknowledged, probe_started};
use crate::sim::trace::OpKind;
use crate::sim::workloads::{Step, commit};
use crate::{BTree, Error, Result};

impl Trial {
    /// Runs the workload with a fault that may strike from the last step on, then starts the
    /// process again without a reboot.
    pub(in crate::sim) fn run_faulted(&self, disk: &SimDisk, fault: Fault) -> Checked {
        self.guard(disk);
        let mut process = self.begin(disk)?;
        let last = self.steps.len();
        for number in 1..last {
            self.step(disk, &mut process, number)?;
        }
        disk.inject(fault);
        let result = self.step(disk, &mut process, last);
        Trial::forget_what_others_have(disk);
        match result {
            Ok(()) => {
                self.note_what_is_durable(disk, process.durable);
                Trial::look_behind_a_fault(disk, &mut process)?;
            }
            Err(error) => {
                explained(error, disk.has_failed())?;
                if disk.choose(2) == 0 {
                    disk.clear_faults();
                    self.check_after_error(disk, &mut process, error)?;
                    process.check_readers()?;
                }
            }
        }
        self.close(disk, process);
        self.restart(disk, &Crash::default(), Next::Probe)
    }

    /// Where a fault struck and the step got over it, readers see what they saw. Or the fault goes
    /// on until the process ends.
    fn look_behind_a_fault(disk: &SimDisk, process: &mut Process) -> Checked {
        if !disk.has_fault_struck() || process.readers.is_empty() || disk.choose(2) > 0 {
            return Ok(());
        }
        // With the fault out of mind, a close would be taken for one that nothing has kept from
        // making durable what was deferred.
        if process.settling == Settling::Close {
            process.settling = Settling::Sync;
        }
        disk.clear_faults();
        process.check_readers()
    }

    /// Runs the workload, ends the process before it closes the store, and lets a fault strike
    /// while the next process opens it, if there is one; then starts the process once more.
    pub(in crate::sim) fn run_recovering(&self, disk: &SimDisk, fault: Option<Fault>) -> Checked {
        self.guard(disk);
        let mut process = self.begin(disk)?;
        for number in 1..=self.steps.len() {
            self.step(disk, &mut process, number)?;
        }
        disk.kill();
        let durable = process.durable;
        drop(process);
        disk.forget_crash_points();
        self.note_what_is_durable(disk, durable);
        if let Some(fault) = fault {
            disk.inject(fault);
        }
        if let Some(db) = self.look_under_faults(disk, &self.left(disk, &Crash::default()))? {
            self.probe_under_faults(disk, &db)
                .or_else(|error| explained(error, disk.has_failed()))?;
        }
        if fault.is_some() {
            Trial::forget_what_others_have(disk);
        }
        self.restart(disk, &Crash::default(), Next::Probe)
    }

    /// Notes that the last step is durable, if it is, and no sync can have lied so far.
    fn note_what_is_durable(&self, disk: &SimDisk, durable: usize) {
        let is_last = durable == self.steps.len() && self.promise == Promise::LastMayBeLost;
        if is_last && !disk.has_fault_struck() {
            disk.mark(State::of_step(durable as u64).is_found());
        }
    }

    /// Where no fault has struck, the run without faults has the crash points so far.
    fn forget_what_others_have(disk: &SimDisk) {
        if !disk.has_fault_struck() {
            disk.forget_crash_points();
        }
    }

    /// Opens the store while a fault may strike. If it opens, it holds what it may.
    fn look_under_faults(&self, disk: &SimDisk, possible: &[State]) -> Looked<Option<BTree>> {
        let db = match self.open(disk) {
            Ok(db) => db,
            Err(error) => return explained(error, disk.has_failed()).map(|()| None),
        };
        match self.find(&db, Ways::Both, possible) {
            Ok(_) => {}
            Err(told) => match told.downcast_ref::<Error>() {
                Some(&error) => explained(error, disk.has_failed())?,
                None => return Err(told),
            },
        }
        Ok(Some(db))
    }

    /// Commits a probe, which may fail.
    fn probe_under_faults(&self, disk: &SimDisk, db: &BTree) -> Result<()> {
        disk.mark(probe_started(LAST_PROBE));
        commit(db, &[probe(PROBES - 1)])?;
        if self.promise == Promise::Durable {
            disk.mark(probe_acknowledged(LAST_PROBE));
        }
        Ok(())
    }

    /// The check after a crash, of which the recovery meets a fault; then the process starts
    /// again, without a reboot. After a further crash it is the ordinary check.
    pub(in crate::sim) fn check_recovering(
        &self,
        disk: &SimDisk,
        crash: &Crash,
        fault: Fault,
    ) -> Checked {
        if crash.depth() > 1 {
            return self.check(disk, crash);
        }
        let seen = self.check_read_only(disk, &self.possible(crash.marks()))?;
        disk.mark(seen.is_found());
        disk.inject(fault);
        if let Some(db) = self.look_under_faults(disk, &[seen])? {
            let is_late = fault.failure() == Failure::Sync(SyncFailure::Late);
            if is_late && !disk.has_fault_struck() {
                // It would strike a commit, or the close, for which other rules hold.
                return Ok(());
            }
            self.probe_under_faults(disk, &db)
                .or_else(|error| explained(error, disk.has_failed()))?;
        }
        // Until its first sync the next recovery leaves all that a crash could leave by now.
        disk.forget_crash_points();
        self.restart(disk, crash, Next::Retry)
    }

    /// Starts the process again, without a reboot, and checks what it finds.
    fn restart(&self, disk: &SimDisk, crash: &Crash, next: Next) -> Checked {
        disk.clear_faults();
        disk.kill();
        disk.evict_some();
        // A failure that the disk tells late may come only now, once.
        let is_owed = disk.machine().state.files.iter().any(|file| file.fails_late);
        if is_owed || self.may_lose_last() {
            let met = self.open(disk).and_then(|db| self.probe_under_faults(disk, &db));
            self.noticed(met.or_else(|error| explained(error, is_owed)))?;
            disk.kill();
        }
        self.recover(disk, &self.left(disk, crash), crash.depth(), next)
    }

    fn may_lose_last(&self) -> bool {
        matches!(self.promise, Promise::LastMayBeLost | Promise::LastMayBreak)
    }

    /// After an error readers see the state before; and once its cause is over, the store goes on
    /// from there, or says that it does not.
    fn check_after_error(&self, disk: &SimDisk, process: &mut Process, error: Error) -> Checked {
        let told = |what| format!("after {error:?}: {what}");
        // A compaction may have failed when it had made durable what was deferred.
        let is_compaction = self.steps.last().is_some_and(|(step, _)| *step == Step::Compact);
        if is_compaction && self.check_shown(process).is_err() {
            (process.durable, process.is_waiting) = (process.committed, false);
        }
        self.check_shown(process).map_err(told)?;
        let shown = process.durable;
        process.hear_of_losses().map_err(told)?;
        self.check_shown(process).map_err(told)?;
        let before = process.durable as u64;
        if process.durable > shown {
            disk.mark(State::of_step(before).is_found());
        }
        let next = State { step: before, probes: LAST_PROBE };
        disk.mark(next.has_begun());
        match commit(&process.db, &[probe(PROBES - 1)]) {
            Ok(()) => disk.mark(next.is_found()),
            Err(Error::Poisoned) if !self.must_go_on(disk) => {}
            Err(other) => {
                let message = format!("after {error:?}, and once it is over: {other:?}");
                return Err(message.into());
            }
        }
        Ok(())
    }

    /// Where no sync has failed, and no write of a slot, nothing is in doubt.
    pub(super) fn must_go_on(&self, disk: &SimDisk) -> bool {
        let slots_end = 2 * u64::from(self.page_size);
        let is_in_doubt = |struck: &Struck| match struck.kind {
            OpKind::SyncData | OpKind::SyncAll => true,
            OpKind::Write => struck.offset < slots_end,
            // The sync behind it tells.
            OpKind::BeginWriteBack => struck.failure == Failure::Sync(SyncFailure::Late),
            _ => false,
        };
        !disk.machine().struck.iter().any(is_in_doubt)
    }
}

/// An error of the storage is fine where the storage has failed; any other is told, also where a
/// call was interrupted or a transfer was short.
pub(super) fn explained(error: Error, has_failed: bool) -> Checked {
    if is_of_storage(error) && has_failed { Ok(()) } else { Err(error.into()) }
}
