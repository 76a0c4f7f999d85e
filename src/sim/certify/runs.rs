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
}

impl Run {
    /// The runs with faults.
    pub(super) fn faulty() -> impl Iterator<Item = Run> {
        (0..FAULTS.len()).map(Run::Fault).chain((0..OPENING.len()).map(Run::Opening))
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
        }
    }

    pub(super) fn of_suffix(suffix: &str) -> Option<Run> {
        let all = [Run::Plain].into_iter().chain(Run::faulty());
        all.into_iter().find(|run| run.suffix() == suffix)
    }

    /// Whether a sync reports success although it failed.
    pub(super) fn has_late_failure(self) -> bool {
        let late = Failure::Sync(SyncFailure::Late);
        match self {
            Run::Fault(number) => FAULTS[number].failure() == late,
            Run::Opening(number) => OPENING[number].failure() == late,
            Run::Plain => false,
        }
    }
}

const TRANSFERS: OpSet = OpSet::of(&[OpKind::Read, OpKind::Write]);

const fn once(ops: OpSet, failure: Failure) -> Fault {
    Fault::new(ops, When::Chosen(1), failure)
}

const fn sync(failure: SyncFailure) -> Fault {
    once(OpSet::SYNCS, Failure::Sync(failure))
}

/// The faults of the last transaction, each tried at every place.
pub(super) const FAULTS: [Fault; 13] = [
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
];

/// The faults of the open that follows on a process that ended, each tried at every place.
pub(super) const OPENING: [Fault; 8] = [
    once(OpSet::ALL, Failure::Error(Errno::Eio)),
    Fault::new(OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio)),
    once(OpSet::WRITES, Failure::Error(Errno::Enospc)),
    sync(SyncFailure::Drop),
    sync(SyncFailure::Keep),
    sync(SyncFailure::Revert),
    sync(SyncFailure::NoSpace),
    sync(SyncFailure::Late),
];
