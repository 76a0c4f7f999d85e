//! Reading the state machine beside Raft.
//!
//! Owns: [`StateReader`], [`StateView`], and the record of how far the state machine is.
//! Must not know: how entries are applied.

use crate::codec::decode;
use crate::error::Result;
use crate::group::{Group, record};
use btree_store::{ReadOnlyTxn, Snapshot};
use openraft::{LogId, RaftTypeConfig, StoredMembership};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

pub(crate) const MACHINE: &str = "machine";
pub(crate) const APPLIED: &str = "applied";

/// How far the state machine is. One record, which changes together with the data.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Applied<C: RaftTypeConfig> {
    pub(crate) log_id: Option<LogId<C::NodeId>>,
    pub(crate) membership: StoredMembership<C::NodeId, C::Node>,
    /// Which of the application's buckets count: each snapshot that is installed fills new ones.
    pub(crate) generation: u64,
}

impl<C: RaftTypeConfig> Applied<C> {
    pub(crate) fn of(state: &Snapshot, group: &Group) -> Result<Applied<C>> {
        Applied::read(record(state, &group.bucket(MACHINE), APPLIED)?)
    }

    /// Of its record, if there is one.
    pub(crate) fn read(found: Option<Vec<u8>>) -> Result<Applied<C>> {
        found.map_or_else(
            || Ok(Applied { log_id: None, membership: StoredMembership::default(), generation: 0 }),
            |found| decode("record of what is applied", &found),
        )
    }
}

/// The part of the application's buckets' names that says of which generation they are.
pub(crate) fn generation_prefix(group: &Group, generation: u64) -> String {
    group.bucket(&format!("data/{generation:016x}/"))
}

/// A handle with which the application reads its state, while Raft owns the state machine.
///
/// It shows what this node has applied, which may be behind the cluster:
/// `Raft::ensure_linearizable` waits for what was committed so far.
pub struct StateReader<C> {
    group: Group,
    config: PhantomData<C>,
}

impl<C> Clone for StateReader<C> {
    fn clone(&self) -> StateReader<C> {
        StateReader { group: self.group.clone(), config: PhantomData }
    }
}

impl<C> std::fmt::Debug for StateReader<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateReader").field("group", &self.group).finish_non_exhaustive()
    }
}

impl<C: RaftTypeConfig> StateReader<C> {
    pub(crate) fn new(group: &Group) -> StateReader<C> {
        StateReader { group: group.clone(), config: PhantomData }
    }

    /// The newest state, to be read for as long as wanted. It may read from the disk, and waits
    /// for nobody.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store), [`Error::Damaged`](crate::Error::Damaged).
    pub fn view(&self) -> Result<StateView<C>> {
        let snapshot = self.group.snapshot();
        let applied = Applied::of(&snapshot, &self.group)?;
        let prefix = generation_prefix(&self.group, applied.generation);
        Ok(StateView { snapshot, applied, prefix })
    }
}

/// One state of the state machine: what a number of applied entries have made of it.
///
/// The pages that it can reach are not used again while it lives.
pub struct StateView<C: RaftTypeConfig> {
    snapshot: Snapshot,
    applied: Applied<C>,
    prefix: String,
}

impl<C: RaftTypeConfig> std::fmt::Debug for StateView<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView").field("applied", &self.applied.log_id).finish_non_exhaustive()
    }
}

impl<C: RaftTypeConfig> StateView<C> {
    /// The last entry that was applied.
    pub fn last_applied(&self) -> Option<&LogId<C::NodeId>> {
        self.applied.log_id.as_ref()
    }

    /// The membership that was applied last.
    pub fn membership(&self) -> &StoredMembership<C::NodeId, C::Node> {
        &self.applied.membership
    }

    /// Runs a read transaction on a bucket of the application's.
    ///
    /// # Errors
    /// Those of the store: `NotFound` when there is no such bucket, what the closure returns, and
    /// what the transaction met.
    pub fn view<R>(
        &self,
        bucket: &str,
        closure: impl FnOnce(&ReadOnlyTxn<'_>) -> btree_store::Result<R>,
    ) -> btree_store::Result<R> {
        self.snapshot.view(format!("{}{bucket}", self.prefix), closure)
    }

    /// The names of the application's buckets, in ascending order.
    ///
    /// # Errors
    /// Those of the store: `Corruption` and `IoError`.
    pub fn buckets(&self) -> btree_store::Result<Vec<String>> {
        let all = self.snapshot.buckets()?;
        Ok(all
            .iter()
            .filter_map(|name| name.strip_prefix(&self.prefix))
            .map(str::to_owned)
            .collect())
    }
}
