//! openraft's own test suite for stores.

use crate::common::{Log, Machine, in_memory, log_on, machine_on};
use btree_store_raft::kv::{KeyValue, KeyValueConfig};
use btree_store_raft::{Group, LogStore, Progress, StateMachine};
use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

/// Log and state machine share a store in memory.
struct OneStore;

impl StoreBuilder<KeyValueConfig, Log, Machine, TempDir> for OneStore {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<u64>> {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let db = in_memory();
        let machine = machine_on(&db, dir.path());
        Ok((dir, log_on(&db), machine))
    }
}

/// Each has a file of its own, with the settings that users have.
struct TwoFiles;

impl StoreBuilder<KeyValueConfig, Log, Machine, TempDir> for TwoFiles {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<u64>> {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let group = |name: &str| {
            let db = btree_store::BTree::open(dir.path().join(name)).expect("a file can be made");
            Group::new(&db, "suite").expect("the name is one")
        };
        // The suite purges what it does not apply.
        let log = LogStore::open(&group("log.db"), Progress::unknown()).expect("the log opens");
        let snapshots = dir.path().join("snapshots");
        let machine = StateMachine::open(&group("state.db"), KeyValue, snapshots);
        Ok((dir, log, machine.expect("the state machine opens")))
    }
}

#[test]
fn openrafts_suite_passes_on_one_store() -> Result<(), StorageError<u64>> {
    Suite::test_all(OneStore)
}

#[test]
fn openrafts_suite_passes_on_two_files() -> Result<(), StorageError<u64>> {
    Suite::test_all(TwoFiles)
}
