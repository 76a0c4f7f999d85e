//! What happens to a transaction of a campaign.
//!
//! Owns: [`Act`] and [`Event`], how it is brought about, and [`Counts`] of what happened.
//! Must not know: what a transaction does, what is found after it.

use super::super::oracle::{By, Ending, Op};
use super::super::{Errno, Failure, Fault, OpKind, OpSet, Seeded, SimDisk, SyncFailure, When};
use super::kind::{Kind, one_of};
use crate::error::Error;
use std::ops::AddAssign;

/// The ways in which syncs fail, in the order of [`Counts::failed_syncs`].
pub const SYNC_FAILURES: [SyncFailure; 5] = [
    SyncFailure::Drop,
    SyncFailure::Keep,
    SyncFailure::Revert,
    SyncFailure::Late,
    SyncFailure::NoSpace,
];

/// How writing back fails.
const WRITE_BACK_FAILURES: [SyncFailure; 4] =
    [SyncFailure::Drop, SyncFailure::Keep, SyncFailure::Revert, SyncFailure::NoSpace];

/// What a campaign did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions, each on a disk of its own.
    pub sessions: u64,
    /// Transactions that were begun.
    pub transactions: u64,
    /// Power failures, wherever: also between transactions.
    pub all_power_failures: u64,
    /// Power failures inside of transactions.
    pub power_failures: u64,
    /// Power failures inside of the recoveries that followed.
    pub nested: u64,
    /// Of all power failures, also those between calls: that left more than one image possible.
    pub undecided: u64,
    /// Transactions for which the disk was full.
    pub full_disks: u64,
    /// Reads that failed, and writing back that was begun and failed.
    pub other_faults: u64,
    /// Syncs that failed, in the ways of [`SYNC_FAILURES`].
    pub failed_syncs: [u64; SYNC_FAILURES.len()],
    /// Processes that ended without a power failure.
    pub kills: u64,
    /// Transactions that were deferred.
    pub deferred: u64,
    /// Faults that took deferred ones, as syncs told.
    pub losses: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.sessions += other.sessions;
        self.transactions += other.transactions;
        self.all_power_failures += other.all_power_failures;
        self.power_failures += other.power_failures;
        self.nested += other.nested;
        self.undecided += other.undecided;
        self.full_disks += other.full_disks;
        self.other_faults += other.other_faults;
        for (sum, more) in self.failed_syncs.iter_mut().zip(other.failed_syncs) {
            *sum += more;
        }
        self.kills += other.kills;
        self.deferred += other.deferred;
        self.losses += other.losses;
    }
}

/// Calls of the disk until the power fails, at most. Most operations have fewer than the last.
const CALLS: [u32; 3] = [8, 30, 300];
const CHANGES: [u32; 3] = [3, 8, 30];

/// Which calls of the disk are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Calls {
    Any,
    /// Those that change something, or make it durable: behind many reads there are few others.
    Changing,
}

impl Calls {
    pub(super) fn ops(self) -> OpSet {
        match self {
            Calls::Any => OpSet::ALL,
            Calls::Changing => OpSet::of(&[
                OpKind::Write,
                OpKind::SetLen,
                OpKind::SyncData,
                OpKind::SyncAll,
                OpKind::Rename,
                OpKind::Remove,
                OpKind::SyncDir,
            ]),
        }
    }
}

/// When the power fails, counted in such calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outage {
    pub(super) calls: Calls,
    pub(super) at: u64,
}

impl Outage {
    pub(super) fn random(random: &mut Seeded) -> Outage {
        let calls = one_of(random, &[Calls::Any, Calls::Changing]);
        let bounds = if calls == Calls::Any { CALLS } else { CHANGES };
        let bound = one_of(random, &bounds);
        Outage { calls, at: u64::from(random.below(bound)) }
    }
}

/// How a compaction fails: for want of room, or as syncs do. What a sync that lies loses of its
/// many commits, the model does not know.
fn of_compaction(random: &mut Seeded) -> Fault {
    if random.below(2) == 0 {
        let at = u64::from(random.below(24));
        return Fault::new(OpSet::WRITES, When::Once(at), Failure::Error(Errno::Enospc));
    }
    let truthful =
        SYNC_FAILURES.map(|how| if how == SyncFailure::Late { SyncFailure::Drop } else { how });
    let how = one_of(random, &truthful);
    Fault::new(OpSet::SYNCS, When::Once(u64::from(random.below(8))), Failure::Sync(how))
}

/// What happens while a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    Nothing,
    /// The power fails inside of an operation, counted from the transaction's begin.
    PowerOff(Outage),
    Fault(Fault),
    /// The same, of a read, or of writing back.
    Other(Fault),
    /// The process ends after it.
    Kill,
}

/// A transaction, what happens to it, and the seed of all else.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) op: Op,
    pub(super) event: Event,
    pub(super) seed: u64,
}

impl Event {
    pub(super) fn random(random: &mut Seeded, op: &Op, kind: Kind) -> Event {
        let text = format!("{op:?}");
        // A call that holds several commits of which one fails has more than two outcomes.
        // What was deferred before is flushed on its own where a first attempt conflicts.
        let is_attempt = matches!(op, Op::Owned { by: By::Begin, .. });
        let is_call = matches!(op, Op::Exec(_) | Op::Multi { .. } | Op::DelBucket(_) | Op::Sync);
        let is_single = (is_attempt || is_call) && !text.contains("Nest(");
        // Of several parts one that fails is left out, and the rest flushed when all works again.
        // One part fails as a whole; but few have anything to do with the disk before their flush.
        let mut may_fail = || matches!(op, Op::Exec(_)) && random.below(4) == 0;
        let is_single = is_single && (!text.contains("Deferred") || may_fail());
        let is_compaction = kind.sets_aside() && matches!(op, Op::Compact(_));
        match random.below(100) {
            // With numbers of their own, so that what comes behind is what it was.
            0..14 => Event::PowerOff(Outage::random(&mut Seeded::new(random.next_u64()))),
            14..44 if is_compaction => {
                Event::Fault(of_compaction(&mut Seeded::new(random.next_u64())))
            }
            14..22 if is_single => {
                let when = When::From(u64::from(random.below(5)));
                Event::Fault(Fault::new(OpSet::WRITES, when, Failure::Error(Errno::Enospc)))
            }
            22..40 if is_single => {
                let failure = Failure::Sync(one_of(random, &SYNC_FAILURES));
                let when = When::Once(u64::from(random.below(2)));
                Event::Fault(Fault::new(OpSet::SYNCS, when, failure))
            }
            40..44 => Event::Kill,
            44..56 if is_single && kind.sets_aside() => {
                let failure = Failure::Sync(one_of(random, &WRITE_BACK_FAILURES));
                Event::Other(Fault::new(OpSet::WRITE_BACKS, When::Once(0), failure))
            }
            // Of several parts one that cannot read is left out, and the rest commits.
            56..62 if is_single && kind.sets_aside() && !matches!(op, Op::Multi { .. }) => {
                let when = When::Once(u64::from(random.below(6)));
                Event::Other(Fault::new(OpSet::READS, when, Failure::Error(Errno::Eio)))
            }
            _ => Event::Nothing,
        }
    }

    pub(super) fn inject(self, disk: &SimDisk) {
        match self {
            Event::PowerOff(Outage { calls, at }) => {
                disk.inject(Fault::new(calls.ops(), When::Once(at), Failure::PowerOff));
            }
            Event::Fault(fault) | Event::Other(fault) => disk.inject(fault),
            Event::Nothing | Event::Kill => {}
        }
    }

    /// Whether it is a fault, behind which a process may go on.
    pub(super) fn is_fault(self) -> bool {
        matches!(self, Event::Fault(_) | Event::Other(_))
    }

    /// Whether a cursor may have met it, which then goes on saying so.
    pub(super) fn may_stop_cursors(self) -> bool {
        matches!(self, Event::Other(_))
    }

    /// The failure of a transaction, so ended, with which what it had put may be gone.
    pub(super) fn taker(self, end: &Ending) -> Option<Error> {
        match (self, end) {
            (Event::Other(fault), Ending::Failed(error)) if fault.is_of(OpSet::WRITE_BACKS) => {
                Some(*error)
            }
            _ => None,
        }
    }

    /// Whether a sync may have reported success although it failed.
    pub(super) fn may_lie(self) -> bool {
        format!("{self:?}").contains("Sync(Late)")
    }

    /// Counts what has happened, and tells whether a fault has struck. One that was meant for an
    /// operation that did not come has not.
    pub(super) fn count(self, disk: &SimDisk, counts: &mut Counts) -> bool {
        let has_struck = disk.has_fault_struck();
        if has_struck || self == Event::Kill {
            self.add_to(counts);
        }
        has_struck
    }

    fn add_to(self, counts: &mut Counts) {
        let text = format!("{self:?}");
        let count = match self {
            Event::Nothing => return,
            Event::PowerOff(_) => &mut counts.power_failures,
            Event::Kill => &mut counts.kills,
            Event::Other(_) => &mut counts.other_faults,
            Event::Fault(_) => {
                let is_it = |how: &SyncFailure| text.contains(&format!("Sync({how:?})"));
                match SYNC_FAILURES.iter().position(is_it) {
                    Some(at) => &mut counts.failed_syncs[at],
                    None => &mut counts.full_disks,
                }
            }
        };
        *count += 1;
    }
}
