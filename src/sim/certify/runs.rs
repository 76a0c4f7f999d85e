//! What is run of each workload beside the run without faults.
//!
//! Owns: [`Run`] and the lists of faults.
//! Must not know: workloads.
//! Keeps: a run has one suffix, which stands in tokens.

use super::super::fault::{Errno, Failure, Fault, OpSet, SyncFailure, When};
use super::super::trace::OpKind;

/// One way to run a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Nothing fails but the power.
    Plain,
    /// An operation of the last transaction, or of the close, fails: by number in [`FAULTS`].
    Fault(usize),
    /// An operation of the open after it fails: by number in [`OPENING`].
    Opening(usize),
    /// The power fails, and an operation of the recovery fails: by number in [`RECOVERY`].
    Recovery(usize),
}

impl Run {
    /// The runs with faults.
    pub(super) fn faulty() -> impl Iterator<Item = Run> {
        let faults = (0..FAULTS.len()).map(Run::Fault);
        let opening = (0..OPENING.len()).map(Run::Opening);
        faults.chain(opening).chain((0..RECOVERY.len()).map(Run::Recovery))
    }

    /// Whether it is one of the two that every workload has: any operation fails, once or from
    /// then on.
    pub(super) fn is_basic(self) -> bool {
        matches!(self, Run::Fault(0 | 1))
    }

    pub(super) fn suffix(self) -> String {
        match self {
            Run::Plain => String::new(),
            Run::Fault(number) => format!("!{number}"),
            Run::Opening(number) => format!("?{number}"),
            Run::Recovery(number) => format!("~{number}"),
        }
    }

    pub(super) fn of_suffix(suffix: &str) -> Option<Run> {
        let all = [Run::Plain].into_iter().chain(Run::faulty());
        all.into_iter().find(|run| run.suffix() == suffix)
    }

    /// Whether a sync reports success although it failed. Of what the disk was told to begin with,
    /// the sync behind it tells.
    pub(super) fn has_late_failure(self) -> bool {
        let is_late = |fault: &Fault| {
            fault.failure() == Failure::Sync(SyncFailure::Late) && fault.concerns(OpKind::SyncData)
        };
        match self {
            Run::Fault(number) => is_late(&FAULTS[number]),
            Run::Opening(number) => OPENING[number].as_ref().is_some_and(is_late),
            Run::Plain | Run::Recovery(_) => false,
        }
    }
}

const TRANSFERS: OpSet = OpSet::of(&[OpKind::Read, OpKind::Write]);

/// All that recovery does to a file.
const CHANGES: OpSet =
    OpSet::of(&[OpKind::Write, OpKind::SetLen, OpKind::SyncData, OpKind::SyncAll]);

const fn once(ops: OpSet, failure: Failure) -> Fault {
    Fault::new(ops, When::Chosen(1), failure)
}

const fn sync(failure: SyncFailure) -> Fault {
    once(OpSet::SYNCS, Failure::Sync(failure))
}

/// The faults of the last transaction, each tried at every place.
pub(super) const FAULTS: [Fault; 18] = [
    once(OpSet::ALL, Failure::Error(Errno::Eio)),
    Fault::new(OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio)),
    once(OpSet::WRITES, Failure::Error(Errno::Enospc)),
    Fault::new(OpSet::WRITES, When::ChosenFrom, Failure::Error(Errno::Enospc)),
    once(TRANSFERS, Failure::Error(Errno::Eintr)),
    once(TRANSFERS, Failure::Short(200)),
    Fault::new(TRANSFERS, When::ChosenFrom, Failure::Short(200)),
    once(OpSet::WRITES, Failure::Short(0)),
    sync(SyncFailure::Drop),
    sync(SyncFailure::Keep),
    sync(SyncFailure::Revert),
    sync(SyncFailure::NoSpace),
    sync(SyncFailure::Late),
    once(OpSet::WRITE_BACKS, Failure::Error(Errno::Eio)),
    once(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Drop)),
    once(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Revert)),
    once(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::NoSpace)),
    once(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Late)),
];

/// The faults of the open that follows on a process that ended, each tried at every place; once
/// none, so that the power fails at every place.
pub(super) const OPENING: [Option<Fault>; 10] = [
    Some(once(OpSet::ALL, Failure::Error(Errno::Eio))),
    Some(Fault::new(OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio))),
    Some(once(OpSet::WRITES, Failure::Error(Errno::Enospc))),
    Some(sync(SyncFailure::Drop)),
    Some(sync(SyncFailure::Keep)),
    Some(sync(SyncFailure::Revert)),
    Some(sync(SyncFailure::NoSpace)),
    Some(sync(SyncFailure::Late)),
    None,
    Some(once(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Drop))),
];

/// The faults of the recovery of a crash, each tried at every place.
pub(super) const RECOVERY: [Fault; 6] = [
    Fault::new(CHANGES, When::ChosenFrom, Failure::Error(Errno::Eio)),
    sync(SyncFailure::Drop),
    sync(SyncFailure::Keep),
    sync(SyncFailure::Revert),
    sync(SyncFailure::Late),
    once(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Drop)),
];
