//! Faults that the disk reports while it runs.
//!
//! Owns: [`Fault`] (which operation fails, when, how) and the plan that a disk follows.
//! Must not know: how an operation is carried out.
//! Keeps: a plan and a source of choices decide every fault.

use super::choose::{Choice, Choose};
use super::trace::OpKind;
use crate::{Error, Result};
use std::io;

/// The error that a failed operation reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Errno {
    /// The device failed.
    Eio,
    /// No space is left.
    Enospc,
    /// A signal came first; nothing was done, and the caller may try again.
    Eintr,
}

impl Errno {
    /// The error as the standard library reports it.
    pub fn error(self) -> io::Error {
        match self {
            Errno::Eio => io::Error::other("simulated EIO"),
            Errno::Enospc => io::ErrorKind::StorageFull.into(),
            Errno::Eintr => io::ErrorKind::Interrupted.into(),
        }
    }
}

/// What a failed sync leaves behind, or writing back that was begun and failed. On other operations
/// each of these is a plain EIO.
///
/// The first three are what ext4, XFS and Btrfs were found to do ("Can Applications Recover from
/// fsync Failures?", USENIX ATC 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncFailure {
    /// EIO. Any subset of the sectors landed; the others are clean in the cache all the same, so
    /// that reads still see them and later syncs succeed without writing them. The size, which
    /// goes by the file system's journal, is left to a later sync.
    Drop,
    /// EIO. Everything stays dirty; a further sync may succeed.
    Keep,
    /// EIO. Any subset of the sectors landed, and reads see the medium at once.
    Revert,
    /// The sync reports success although it dropped what it should have written; the next sync
    /// of the file fails.
    Late,
    /// As `Drop`, with ENOSPC: every write was accepted, but no room was left for it.
    NoSpace,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// It reports an error and does nothing.
    Error(Errno),
    /// A read or a write transfers this many bytes at most; other operations do not fail.
    Short(usize),
    /// A sync fails in one of the ways that syncs fail.
    Sync(SyncFailure),
    /// The power fails inside the operation. Whatever is called after it fails until
    /// [`SimDisk::crash`](super::SimDisk::crash) brings the machine back.
    PowerOff,
}

/// Which operations a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpSet(u32);

impl OpSet {
    /// Every operation that has a number: all but those of [`OpSet::WRITE_BACKS`].
    pub const ALL: OpSet = OpSet(!OpSet::WRITE_BACKS.0);
    /// Telling the disk to begin with what was written. Only a fault that is meant for it strikes
    /// there, so that it makes no difference to other faults whether the disk was told.
    pub const WRITE_BACKS: OpSet = OpSet::of(&[OpKind::BeginWriteBack]);
    /// Reading bytes.
    pub const READS: OpSet = OpSet::of(&[OpKind::Read]);
    /// Writing bytes and setting the length.
    pub const WRITES: OpSet = OpSet::of(&[OpKind::Write, OpKind::SetLen]);
    /// Making data durable: `sync_data` and `sync_all`.
    pub const SYNCS: OpSet = OpSet::of(&[OpKind::SyncData, OpKind::SyncAll]);
    /// Changing names and making them durable: also those of directories. A file is made by
    /// [`OpKind::Open`], which is not among them.
    pub const NAMES: OpSet = OpSet::of(&[
        OpKind::Rename,
        OpKind::Remove,
        OpKind::SyncDir,
        OpKind::CreateDir,
        OpKind::RemoveDir,
    ]);

    /// The set of these operations.
    pub const fn of(kinds: &[OpKind]) -> OpSet {
        let mut bits = 0;
        let mut at = 0;
        while at < kinds.len() {
            bits |= 1 << kinds[at] as usize;
            at += 1;
        }
        OpSet(bits)
    }

    /// Whether the set holds a kind of operation.
    pub const fn contains(self, kind: OpKind) -> bool {
        self.0 & (1 << kind as usize) != 0
    }
}

/// When a fault strikes, counted in operations that its [`OpSet`] holds, from 0, beginning when
/// the fault is injected. For [`Failure::Short`] only those count that move bytes: reads and
/// writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum When {
    /// At this one.
    Once(u64),
    /// At this one and all that follow.
    From(u64),
    /// Wherever the source of choices says so, this many times at most. An exploration runs the
    /// workload with the fault at each place, and without it; what the fault makes of it, the
    /// workload has to expect, see [`Explorer::explore`](super::Explorer::explore).
    Chosen(u32),
    /// From wherever the source of choices says so.
    ChosenFrom,
}

/// A fault: which operations, when, how.
///
/// ```
/// use btree_store::sim::{Errno, Failure, Fault, OpSet, SimDisk, When};
/// let disk = SimDisk::new();
/// // The disk is full from the third write on.
/// disk.inject(Fault::new(OpSet::WRITES, When::From(2), Failure::Error(Errno::Enospc)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    ops: OpSet,
    when: When,
    failure: Failure,
    seen: u64,
}

impl Fault {
    /// Whether it strikes these operations, and no others.
    pub(super) fn is_of(&self, ops: OpSet) -> bool {
        self.ops == ops
    }

    /// A fault that has not struck yet.
    pub const fn new(ops: OpSet, when: When, failure: Failure) -> Fault {
        Fault { ops, when, failure, seen: 0 }
    }

    /// How the operation fails.
    pub(super) const fn failure(&self) -> Failure {
        self.failure
    }

    /// Whether an operation of this kind may fail.
    pub(super) const fn concerns(&self, kind: OpKind) -> bool {
        self.ops.contains(kind)
    }

    /// Whether a store that tries again what was interrupted, and goes on where a transfer ended,
    /// meets no error by it.
    const fn is_got_over(&self) -> bool {
        matches!(self.failure, Failure::Error(Errno::Eintr) | Failure::Short(1..))
    }

    /// Which operations fail, in words.
    pub(super) fn place(&self) -> String {
        let kinds = OpKind::ALL.iter().filter(|kind| self.ops.contains(**kind));
        let kinds: Vec<&str> = kinds.map(|kind| kind.name()).collect();
        let which = if self.ops == OpSet::ALL { "any".into() } else { kinds.join(" or ") };
        match self.when {
            When::Once(at) => format!("{which} number {at}"),
            When::From(first) => format!("{which} from number {first} on"),
            When::Chosen(1) => format!("{which}, once"),
            When::Chosen(times) => format!("{which}, {times} times"),
            When::ChosenFrom => format!("{which}, from one on"),
        }
    }

    /// Counts an operation, and says how it fails if it does.
    fn strike(&mut self, kind: OpKind, operation: u64, choose: &mut dyn Choose) -> Option<Failure> {
        let is_short = matches!(self.failure, Failure::Short(_));
        if !self.ops.contains(kind) || is_short && !kind.transfers() {
            return None;
        }
        let seen = self.seen;
        self.seen += 1;
        let strikes = match &mut self.when {
            When::Once(at) => seen == *at,
            When::From(first) => seen >= *first,
            When::Chosen(0) => false,
            When::Chosen(left) => {
                let strikes = choose.choose(2, Choice::Fault { operation, kind }) != 0;
                *left -= u32::from(strikes);
                strikes
            }
            When::ChosenFrom => {
                let strikes = choose.choose(2, Choice::Fault { operation, kind }) != 0;
                if strikes {
                    self.when = When::From(seen);
                }
                strikes
            }
        };
        strikes.then_some(self.failure)
    }
}

/// The faults that a disk follows; of several that strike one operation, the first counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    has_struck: bool,
    /// Whether one has that a store need not get over.
    has_failed: bool,
    /// Whether one has struck, of all plans that the disk has followed since its state was loaded.
    has_ever_struck: bool,
}

impl Plan {
    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
        self.has_struck = false;
        self.has_failed = false;
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.clear();
        self.has_ever_struck = false;
    }

    /// Whether one has struck since the disk's state was loaded.
    pub(super) fn has_ever_struck(&self) -> bool {
        self.has_ever_struck
    }

    /// Whether one of the faults has struck.
    pub(super) fn has_struck(&self) -> bool {
        self.has_struck
    }

    /// Whether one has that explains an error: a store tries again what was interrupted, and goes
    /// on where a transfer ended.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn strike(
        &mut self,
        kind: OpKind,
        operation: u64,
        choose: &mut dyn Choose,
    ) -> Option<Failure> {
        let mut first = None;
        for fault in &mut self.faults {
            let failure = fault.strike(kind, operation, choose);
            self.has_failed |= failure.is_some() && first.is_none() && !fault.is_got_over();
            first = first.or(failure);
        }
        self.has_struck |= first.is_some();
        self.has_ever_struck |= self.has_struck;
        first
    }
}

/// Whether an error of a store is one that a fault explains, or follows on one that is.
pub(super) fn is_of_storage(error: Error) -> bool {
    matches!(error, Error::IoError | Error::NoSpace | Error::Poisoned)
}

/// Whether a sync tells that deferred commits were lost. A poisoned store says nothing of them.
///
/// # Errors
/// The answer, if no sync may give it.
pub(super) fn tells_of_loss(told: Result<()>) -> std::result::Result<bool, String> {
    match told {
        Ok(()) | Err(Error::Poisoned) => Ok(false),
        Err(Error::IoError | Error::NoSpace) => Ok(true),
        Err(error) => Err(format!("a sync tells of {error:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sync that meets damage, or a bug, tells no loss by it.
    #[test]
    fn only_errors_of_the_storage_tell_of_losses() {
        let quiet = [Ok(()), Err(Error::Poisoned)];
        assert_eq!(quiet.map(tells_of_loss), [Ok(false), Ok(false)]);
        let lost = [Err(Error::IoError), Err(Error::NoSpace)];
        assert_eq!(lost.map(tells_of_loss), [Ok(true), Ok(true)]);
        for error in [Error::Corruption, Error::Internal, Error::Invalid, Error::Conflict] {
            tells_of_loss(Err(error)).expect_err("a sync has no such error");
        }
    }
}
