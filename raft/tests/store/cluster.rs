//! Does a cluster agree, and a node catch up that comes back from its file?

#[path = "../../examples/three_nodes/router.rs"]
mod router;

use btree_store::BTree;
use btree_store_raft::kv::{KeyValue, KeyValueConfig, Request, Response};
use btree_store_raft::{Group, LogStore, StateMachine, StateReader};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use router::Router;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who begins the cluster.
const NODES: std::ops::RangeInclusive<u64> = 1..=3;

struct Node {
    raft: Raft<KeyValueConfig>,
    reader: StateReader<KeyValueConfig>,
}

/// Short logs, so that a new node needs a snapshot; small chunks, so that it takes some.
fn config() -> Arc<Config> {
    let config = Config {
        heartbeat_interval: 200,
        election_timeout_min: 1_000,
        election_timeout_max: 2_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(10),
        max_in_snapshot_log_to_keep: 2,
        replication_lag_threshold: 5,
        purge_batch_size: 1,
        snapshot_max_chunk_size: 700,
        install_snapshot_timeout: 60_000,
        ..Config::default()
    };
    Arc::new(config.validate().expect("these are possible"))
}

fn file(dir: &Path, id: u64, life: u32) -> PathBuf {
    dir.join(format!("node-{id}-{life}.db"))
}

/// Starts a node. In each life it has a file of its own: a copy of what the one before has left, so
/// that nothing can come from memory.
async fn start(dir: &Path, id: u64, life: u32, router: &Router) -> Node {
    if life > 0 {
        std::fs::copy(file(dir, id, life - 1), file(dir, id, life)).expect("it is copied");
    }
    let db = BTree::open(file(dir, id, life)).expect("it opens");
    let group = Group::new(&db, "kv").expect("it is a name");
    let snapshots = dir.join(format!("snapshots-{id}-{life}"));
    let machine = StateMachine::open(&group, KeyValue, snapshots).expect("it opens");
    let reader = machine.reader();
    let log = LogStore::open(&group, machine.progress()).expect("it opens");
    let raft = Raft::new(id, config(), router.clone(), log, machine).await.expect("it starts");
    router.connect(id, raft.clone());
    Node { raft, reader }
}

/// Whoever leads, in the eyes of a node.
async fn leader<'n>(nodes: &'n BTreeMap<u64, Node>, node: &Node) -> &'n Node {
    let wait = node.raft.wait(None);
    let has_leader = |leader: Option<u64>| leader.is_some_and(|id| nodes.contains_key(&id));
    let metrics = wait.metrics(|metrics| has_leader(metrics.current_leader), "a leader").await;
    &nodes[&metrics.expect("the node runs").current_leader.expect("it has a leader")]
}

/// Writes through whichever node leads, and returns the index of the entry.
async fn write(nodes: &BTreeMap<u64, Node>, request: &Request) -> u64 {
    for node in nodes.values().cycle() {
        let leader = leader(nodes, node).await;
        if let Ok(written) = leader.raft.client_write(request.clone()).await {
            assert_eq!(written.data, Response::Done);
            return written.log_id.index;
        }
    }
    unreachable!("the circle has no end")
}

/// Lets a node take part, and waits until it has what the leader has.
async fn add_learner(nodes: &BTreeMap<u64, Node>, id: u64) {
    for node in nodes.values().cycle() {
        let leader = leader(nodes, node).await;
        let purged = leader.raft.metrics().borrow().purged;
        assert!(purged.is_some(), "the log goes back to its beginning");
        if leader.raft.add_learner(id, BasicNode::default(), true).await.is_ok() {
            return;
        }
    }
}

async fn stop(nodes: &mut BTreeMap<u64, Node>, router: &Router, id: u64) {
    let node = nodes.remove(&id).expect("it runs");
    router.disconnect(id);
    node.raft.shutdown().await.expect("it ends");
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

async fn pairs(node: &Node, applied: u64) -> Pairs {
    let wait = node.raft.wait(None);
    wait.applied_index_at_least(Some(applied), "all is applied").await.expect("it runs");
    let view = node.reader.view().expect("it opens");
    let pairs = view.view("kv", |txn| txn.range::<[u8]>(..).collect());
    pairs.expect("it is read")
}

fn key(n: u64) -> String {
    format!("key {:02}", n % 40)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_agree_and_those_that_were_away_or_are_new_catch_up() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let router = Router::default();
    let mut nodes = BTreeMap::new();
    for id in NODES {
        nodes.insert(id, start(dir.path(), id, 0, &router).await);
    }
    let members: BTreeMap<u64, BasicNode> = NODES.map(|id| (id, BasicNode::default())).collect();
    nodes[&1].raft.initialize(members).await.expect("a cluster begins");

    let mut model = BTreeMap::new();
    let mut last = 0;
    for n in 0..100 {
        match n {
            25 => stop(&mut nodes, &router, 3).await,
            75 => {
                let node = start(dir.path(), 3, 1, &router).await;
                assert!(node.reader.view().expect("it opens").last_applied().is_some());
                nodes.insert(3, node);
            }
            90 => {
                let node = start(dir.path(), 4, 0, &router).await;
                add_learner(&nodes, 4).await;
                // The others no longer have the entries that it would need.
                let view = node.reader.view().expect("it opens");
                assert!(view.last_applied().is_some(), "it has a snapshot");
                nodes.insert(4, node);
            }
            _ => {}
        }
        last = write(&nodes, &Request::put(key(n), format!("value {n}"))).await;
        model.insert(key(n).into_bytes(), format!("value {n}").into_bytes());
    }
    let expected: Pairs = model.into_iter().collect();
    for (id, node) in &nodes {
        assert_eq!(pairs(node, last).await, expected, "node {id}");
    }
    // All stop, and come back from their files.
    for id in 1..=4 {
        stop(&mut nodes, &router, id).await;
    }
    for (id, life) in [(1, 1), (2, 1), (3, 2), (4, 1)] {
        nodes.insert(id, start(dir.path(), id, life, &router).await);
    }
    let last = write(&nodes, &Request::delete(key(0))).await;
    for (id, node) in &nodes {
        assert_eq!(pairs(node, last).await, expected[1..], "node {id}");
    }
    for id in 1..=4 {
        stop(&mut nodes, &router, id).await;
    }
}
