//! How much memory do snapshots take?
//!
//! A process of its own, whose memory the system counts.
#![cfg(target_os = "linux")]

use btree_store::Options;
use btree_store_raft::kv::{KeyValue, KeyValueConfig, Request};
use btree_store_raft::{Group, StateMachine};
use openraft::storage::RaftStateMachine;
use openraft::testing::log_id;
use openraft::{Entry, EntryPayload, RaftSnapshotBuilder};
use std::path::Path;

/// So large that the allocator gives it back at once.
const LARGEST: usize = 40 << 20;

/// A few MiB.
const BESIDE: usize = 12 << 20;

type Machine = StateMachine<KeyValueConfig, KeyValue>;

fn machine(dir: &Path, name: &str) -> Machine {
    let options = Options::new().cache_bytes(1 << 20);
    let db = options.open(dir.join(name)).expect("it opens");
    let group = Group::new(&db, "g").expect("it is a name");
    Machine::open(&group, KeyValue, dir.join(format!("{name}-snapshots"))).expect("it opens")
}

/// A line of what the system knows of this process, in bytes.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let found = status.lines().find_map(|found| found.strip_prefix(line)).expect("it is a line");
    let kib = found.trim_matches(|c: char| !c.is_ascii_digit());
    kib.parse::<usize>().expect("it is a number") << 10
}

/// What some work takes at most beside what was there before it.
async fn most<R>(work: impl Future<Output = R>) -> (R, usize) {
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
    let before = memory("VmRSS:");
    let done = work.await;
    (done, memory("VmHWM:").saturating_sub(before))
}

#[test]
fn a_snapshot_takes_a_few_mib_and_the_largest_entry() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(async {
        let mut one = machine(dir.path(), "one");
        for (index, len) in [(1, LARGEST), (2, 10_000), (3, LARGEST - 1)] {
            let payload = EntryPayload::Normal(Request::put(index.to_string(), vec![7; len]));
            let entry = Entry { log_id: log_id(1, 0, index), payload };
            one.apply([entry]).await.expect("it is applied");
        }
        let (built, building) = most(async {
            one.get_snapshot_builder().await.build_snapshot().await.expect("it is built")
        })
        .await;
        let mut two = machine(dir.path(), "two");
        let (installed, installing) = most(two.install_snapshot(&built.meta, built.snapshot)).await;
        installed.expect("it is installed");
        println!("building takes {building} bytes, installing {installing}");
        assert!(building < LARGEST + BESIDE, "building takes {building} bytes");
        assert!(installing < LARGEST + BESIDE, "installing takes {installing} bytes");
    });
}
