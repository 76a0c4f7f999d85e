//! What may be found behind an event of a campaign.
//!
//! Owns: [`Left`]. Must not know: how the process comes back.
//! Keeps: what was acknowledged is found, and nothing that had not begun.

use super::super::SimDisk;
use super::super::oracle::{Ending, Op, Oracle, Reply, compare};
use super::check::may_compact;
use super::event::{Act, Counts};
use crate::BTree;

/// What an event leaves behind.
pub(super) struct Left<'d> {
    pub(super) disk: &'d SimDisk,
    /// The oldest state that may be found.
    pub(super) low: u64,
    /// The same when the store was closed since.
    pub(super) at_close: u64,
    /// What the store may hold instead: what was deferred before an operation that failed.
    pub(super) without: Option<Oracle>,
    pub(super) is_lying: bool,
    /// Whether a compaction ran, which commits states that the oracle does not number.
    pub(super) is_compacting: bool,
}

impl Left<'_> {
    /// Of a state that may be found, and all that follow.
    pub(super) fn at(disk: &SimDisk, low: u64) -> Left<'_> {
        let (is_lying, is_compacting) = (false, false);
        Left { disk, low, at_close: low, without: None, is_lying, is_compacting }
    }

    /// What the event of a transaction has left, by the oracle before, if that had deferred
    /// commits, and the oldest state that may be found if the transaction came to nothing.
    pub(super) fn behind<'d>(
        disk: &'d SimDisk,
        act: &Act,
        (found, wanted): (&Reply, &Reply),
        oracle: &mut Oracle,
        (before, low): (Option<Oracle>, u64),
        counts: &mut Counts,
    ) -> Left<'d> {
        let has_struck = act.event.count(disk, counts);
        // A store that is closed cannot say that its last flush failed.
        let is_silent = disk.has_fault_struck() && before.is_some() && act.op == Op::Reopen;
        let is_done = found == wanted && found.end == Ending::Done && !is_silent;
        let is_lying = has_struck && act.event.may_lie();
        let low = if is_done && !is_lying { oracle.seq() } else { low };
        let is_compacting = may_compact(&act.op);
        let mut left = Left { is_lying, is_compacting, ..Left::at(disk, low) };
        if oracle.has_deferred() {
            // Perhaps they became durable, at the latest when the store is closed.
            oracle.follow(oracle.seq() + 1);
            left.at_close = if found == wanted { oracle.seq() } else { low };
        }
        // States of a compaction have the same contents, and higher numbers than the oracle gives.
        if is_compacting {
            oracle.follow(oracle.seq() + 1000);
        }
        if let (Some(mut before), true) = (before, found != wanted) {
            // Perhaps they did, and what has failed did not.
            before.follow(before.seq() + 1);
            left.without = Some(before);
        }
        left
    }

    /// The state in which a store is, if it may be.
    pub(super) fn find(&self, db: &BTree, oracle: &Oracle) -> Result<Oracle, String> {
        let (seq, low, high) = (db.current_seq(), self.low, oracle.seq());
        let mut found = Err(format!("state {seq} is none of {low}..={high}"));
        for possible in [Some(oracle), self.without.as_ref()].into_iter().flatten() {
            let mut state = possible.clone();
            if seq < low || !state.recover(seq) {
                continue;
            }
            match compare(db, &state.durable()) {
                Ok(()) => return Ok(state),
                Err(what) => found = Err(format!("state {seq}: {what}")),
            }
            if let Some(state) = self.before_compacting(db, possible) {
                return Ok(state);
            }
        }
        found
    }

    /// A state of a lower number which the store holds, where a compaction commits states between
    /// those that an operation makes.
    fn before_compacting(&self, db: &BTree, oracle: &Oracle) -> Option<Oracle> {
        let seq = db.current_seq();
        let numbers = if self.is_compacting { self.low..seq } else { seq..seq };
        numbers.rev().find_map(|number| {
            let mut state = oracle.clone();
            let is_held = state.recover(number) && compare(db, &state.durable()).is_ok();
            state.follow(seq);
            is_held.then_some(state)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::oracle::{Data, End, Exec, Handle, Step, Write};
    use super::*;
    use crate::Options;

    fn put(value: &str) -> Op {
        let steps = vec![Step::Write(Write::Put(Data::from("key"), Data::from(value)))];
        Op::Exec(Exec { bucket: "bucket".to_owned(), steps, end: End::Commit })
    }

    /// Between two commits of one operation a compaction made a state, and failed then: the store
    /// is in a state with a number by which the model knows another.
    #[test]
    fn a_compaction_numbers_states_that_the_model_does_not() {
        let disk = SimDisk::new();
        let options = Options::new().page_size(512).vfs(disk.vfs());
        let mut store = Handle::open(options, "store").expect("it opens");
        let mut oracle = Oracle::new(512);
        for (of_store, of_oracle) in [("first", "first"), ("first", "second")] {
            assert_eq!(store.run(&put(of_store)).end, Ending::Done);
            oracle.apply(&put(of_oracle));
        }
        assert_eq!((store.db().current_seq(), oracle.seq()), (2, 2));
        let left = |low, is_compacting| Left { is_compacting, ..Left::at(&disk, low) };
        let state = left(1, true).find(store.db(), &oracle).expect("it holds the first state");
        assert_eq!(state.seq(), 2);
        left(1, false).find(store.db(), &oracle).map(drop).expect_err("no compaction ran");
        left(2, true).find(store.db(), &oracle).map(drop).expect_err("it was behind the first");
    }
}
