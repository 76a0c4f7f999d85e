//! Three nodes in one process, each with a file of its own: a leader is chosen, keys are written,
//! a node is stopped and comes back from its file.
//!
//! `cargo run --example three_nodes`

mod router;

use btree_store::BTree;
use btree_store_raft::kv::{KeyValue, KeyValueConfig, Request};
use btree_store_raft::{Group, LogStore, StateMachine, StateReader};
use openraft::{BasicNode, Config, Raft};
use router::Router;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A running node.
struct Node {
    raft: Raft<KeyValueConfig>,
    reader: StateReader<KeyValueConfig>,
}

impl Node {
    /// Starts a node on its file, which is made when it is missing.
    async fn start(id: u64, directory: &Path, router: &Router) -> Result<Node> {
        let db = BTree::open(directory.join(format!("node-{id}.db")))?;
        let group = Group::new(&db, "kv")?;
        let snapshots = directory.join(format!("node-{id}-snapshots"));
        let machine = StateMachine::open(&group, KeyValue, snapshots)?;
        let reader = machine.reader();
        let log = LogStore::open(&group, machine.progress())?;
        let config = Arc::new(Config::default().validate()?);
        let raft = Raft::new(id, config, router.clone(), log, machine).await?;
        router.connect(id, raft.clone());
        Ok(Node { raft, reader })
    }

    /// What the node holds of a key, once it has applied so many entries.
    async fn read(&self, key: &str, applied: u64) -> Result<Option<String>> {
        let wait = self.raft.wait(Some(Duration::from_secs(10)));
        wait.applied_index_at_least(Some(applied), "to read").await?;
        let value = KeyValue::get(&self.reader.view()?, key)?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
}

/// Writes through whichever node leads.
async fn write(nodes: &BTreeMap<u64, Node>, request: Request) -> Result<u64> {
    let (_, any) = nodes.first_key_value().ok_or("there is no node")?;
    let wait = any.raft.wait(Some(Duration::from_secs(10)));
    let elected = wait.metrics(
        |metrics| metrics.current_leader.is_some_and(|leader| nodes.contains_key(&leader)),
        "a leader",
    );
    let leader = elected.await?.current_leader.ok_or("there is no leader")?;
    Ok(nodes[&leader].raft.client_write(request).await?.log_id.index)
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let router = Router::default();
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        nodes.insert(id, Node::start(id, directory.path(), &router).await?);
    }
    let members: BTreeMap<u64, BasicNode> =
        (1..=3).map(|id| (id, BasicNode::new(format!("node {id}")))).collect();
    nodes[&1].raft.initialize(members).await?;

    let written = write(&nodes, Request::put("colour", "green")).await?;
    for (id, node) in &nodes {
        println!("node {id}: colour is {:?}", node.read("colour", written).await?);
    }

    let stopped = nodes.remove(&3).ok_or("node 3 is there")?;
    router.disconnect(3);
    stopped.raft.shutdown().await?;
    drop(stopped);
    println!("node 3 is stopped");
    let written = write(&nodes, Request::put("colour", "blue")).await?;
    println!("node 1: colour is {:?}", nodes[&1].read("colour", written).await?);

    nodes.insert(3, Node::start(3, directory.path(), &router).await?);
    println!("node 3 is back: colour is {:?}", nodes[&3].read("colour", written).await?);
    for node in nodes.values() {
        node.raft.shutdown().await?;
    }
    Ok(())
}
