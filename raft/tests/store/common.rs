//! What the tests share: a node's two stores on a file of its own, with pages as small as can be.

use btree_store::vfs::Vfs;
use btree_store::{BTree, Options};
use btree_store_raft::kv::{KeyValue, KeyValueConfig, Request};
use btree_store_raft::{Group, LogStore, Progress, StateMachine};
use openraft::testing::log_id;
use openraft::{Entry, EntryPayload, Membership};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

pub type Log = LogStore<KeyValueConfig>;
pub type Machine = StateMachine<KeyValueConfig, KeyValue>;
pub type LogEntry = Entry<KeyValueConfig>;

pub const FILE: &str = "node.db";

pub fn open_file(vfs: Arc<dyn Vfs>) -> btree_store::Result<BTree> {
    Options::new().page_size(512).cache_bytes(64 << 10).vfs(vfs).open(FILE)
}

pub fn in_memory() -> BTree {
    Options::new().page_size(512).open_in_memory().expect("a store in memory opens")
}

pub fn group(db: &BTree) -> Group {
    Group::new(db, "g").expect("the name is one")
}

/// A log alone, whose purges do not wait for a state.
pub fn log_on(db: &BTree) -> Log {
    Log::open(&group(db), Progress::unknown()).expect("the log opens")
}

pub fn machine_on(db: &BTree, snapshots: &Path) -> Machine {
    Machine::open(&group(db), KeyValue, snapshots).expect("the state machine opens")
}

/// Runs to the end, on a runtime with one thread beside those for what blocks.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(future)
}

pub fn blank(term: u64, index: u64) -> LogEntry {
    Entry { log_id: log_id(term, 0, index), payload: EntryPayload::Blank }
}

pub fn request(term: u64, index: u64, request: Request) -> LogEntry {
    Entry { log_id: log_id(term, 0, index), payload: EntryPayload::Normal(request) }
}

pub fn put(index: u64, key: &str, value: impl Into<Vec<u8>>) -> LogEntry {
    request(1, index, Request::put(key, value))
}

pub fn members(index: u64, ids: impl IntoIterator<Item = u64>) -> LogEntry {
    let ids: BTreeSet<u64> = ids.into_iter().collect();
    let payload = EntryPayload::Membership(Membership::new(vec![ids], None));
    Entry { log_id: log_id(1, 0, index), payload }
}

/// Numbers that a seed determines.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
