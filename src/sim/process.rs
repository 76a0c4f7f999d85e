//! The process of a trial: its open store, and what is known to be durable in it.
//!
//! Owns: [`Process`], and [`Settling`], how a trial makes durable what it deferred.
//! Must not know: what the steps of a workload do, what a store may hold.
//! Keeps: nothing of its own. It attacks durable-before-ok: a deferred commit that is lost is told
//! to every handle.

use super::crash::Checked;
use super::disk::SimDisk;
use super::dump::Dump;
use super::fault::tells_of_loss;
use super::workloads::Edit;
use crate::{BTree, Error, Iter};

/// How what is deferred becomes durable behind the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settling {
    /// The last step is a durable commit, or a compaction.
    Commit,
    /// By a sync.
    Sync,
    /// When the store is closed.
    Close,
}

impl Settling {
    /// One of those that a workload of so many steps can have; each is tried.
    pub(super) fn chosen(disk: &SimDisk, steps: usize) -> Settling {
        let all = [Settling::Sync, Settling::Close, Settling::Commit];
        // A single step that is durable defers nothing.
        let possible = if steps > 1 { 3 } else { 2 };
        all[super::index(disk.choose(possible))]
    }
}

/// A process; what it holds is dropped in this order.
pub(super) struct Process {
    /// Readers, each with the state that it reads.
    pub(super) readers: Vec<(Iter, Dump)>,
    pub(super) db: BTree,
    /// Another handle, where commits are deferred: it is told of losses too.
    other: Option<BTree>,
    pub(super) settling: Settling,
    /// The newest step that is durable.
    pub(super) durable: usize,
    /// The newest step that was committed.
    pub(super) committed: usize,
    /// A deferred commit waits; one that changes nothing does not.
    pub(super) is_waiting: bool,
    /// The error that the last step met was that of a sync, which told of the loss.
    pub(super) is_told: bool,
}

impl Process {
    /// Of a trial that defers nothing.
    pub(super) fn new(db: BTree) -> Process {
        Process {
            readers: Vec::new(),
            db,
            other: None,
            settling: Settling::Commit,
            durable: 0,
            committed: 0,
            is_waiting: false,
            is_told: false,
        }
    }

    /// Of one that defers.
    pub(super) fn deferring(db: BTree, settling: Settling) -> Process {
        Process { other: Some(db.clone()), settling, ..Process::new(db) }
    }

    /// Its readers see what they saw at first; they end.
    pub(super) fn check_readers(&mut self) -> Checked {
        self.readers.drain(..).try_for_each(|(reader, state)| check_reader(reader, state))
    }

    /// After an error: each handle's next sync says whether deferred commits were lost. Where one
    /// says that none was, they are durable.
    pub(super) fn hear_of_losses(&mut self) -> Result<(), String> {
        let Some(other) = self.other.as_ref().filter(|_| self.is_waiting) else { return Ok(()) };
        let told = other.sync();
        let is_lost = tells_of_loss(told)?;
        if told == Err(Error::Poisoned) {
            return Err("a loss is not told".to_owned());
        }
        let told = self.db.sync();
        if tells_of_loss(told)? != (is_lost && !self.is_told) {
            return Err(format!("of what was deferred (lost: {is_lost}) a sync says {told:?}"));
        }
        let again = (other.sync(), self.db.sync());
        if !matches!(again, (Ok(()), Ok(())) | (Err(Error::Poisoned), Err(Error::Poisoned))) {
            return Err(format!("what was told is told again: {again:?}"));
        }
        self.durable = if is_lost { self.durable } else { self.committed };
        self.is_waiting = false;
        Ok(())
    }
}

/// A reader still sees the state that it saw at first.
fn check_reader(mut reader: Iter, state: Dump) -> Checked {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let (mut forward, mut backward, mut entries) = (0, 0, 0);
    while reader.next_ref(&mut key, &mut value) {
        forward = Dump::add(forward, &key, &value);
        entries += 1;
    }
    while reader.prev_ref(&mut key, &mut value) {
        backward = Dump::add(backward, &key, &value);
    }
    let found = (forward, backward, entries, reader.error());
    if found == (state.forward, state.backward, state.entries, None) {
        return Ok(());
    }
    Err(format!("an old reader found {entries} entries of {}", state.entries).into())
}

/// Whether a transaction counts as a change to the store: also one that puts what is there.
pub(super) fn is_change(before: Dump, after: Dump, edits: &[Edit]) -> bool {
    let is_put = |edit: &Edit| matches!(edit, Edit::Put(..) | Edit::PutFrom(..) | Edit::Bulk(..));
    before != after || after.entries > 0 && edits.iter().any(is_put)
}
