//! A network for nodes of one process: a call to another node is a call of its functions.

use btree_store_raft::kv::KeyValueConfig;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Raft};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

type NodeId = u64;
type Failed<E> = RPCError<NodeId, BasicNode, E>;
type Nodes = BTreeMap<NodeId, Raft<KeyValueConfig>>;

/// The nodes that can be reached.
#[derive(Clone, Default)]
pub struct Router {
    nodes: Arc<Mutex<Nodes>>,
}

impl Router {
    /// Lets others reach a node.
    pub fn connect(&self, id: NodeId, raft: Raft<KeyValueConfig>) {
        self.nodes().insert(id, raft);
    }

    /// Cuts a node off.
    pub fn disconnect(&self, id: NodeId) {
        self.nodes().remove(&id);
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftNetworkFactory<KeyValueConfig> for Router {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, _node: &BasicNode) -> Connection {
        Connection { router: self.clone(), target }
    }
}

/// The way to one node.
pub struct Connection {
    router: Router,
    target: NodeId,
}

impl Connection {
    fn raft<E: std::error::Error>(&self) -> Result<Raft<KeyValueConfig>, Failed<E>> {
        let found = self.router.nodes().get(&self.target).cloned();
        let gone = std::io::Error::other(format!("node {} is cut off", self.target));
        found.ok_or_else(|| RPCError::Unreachable(Unreachable::new(&gone)))
    }

    fn remote<E: std::error::Error>(&self, error: E) -> Failed<E> {
        RPCError::RemoteError(RemoteError::new(self.target, error))
    }
}

impl RaftNetwork<KeyValueConfig> for Connection {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<KeyValueConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failed<RaftError<NodeId>>> {
        let answer = self.raft::<RaftError<NodeId>>()?.append_entries(request).await;
        answer.map_err(|error| self.remote(error))
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<KeyValueConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeId>, Failed<RaftError<NodeId, InstallSnapshotError>>>
    {
        let answer =
            self.raft::<RaftError<NodeId, InstallSnapshotError>>()?.install_snapshot(request).await;
        answer.map_err(|error| self.remote(error))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failed<RaftError<NodeId>>> {
        let answer = self.raft::<RaftError<NodeId>>()?.vote(request).await;
        answer.map_err(|error| self.remote(error))
    }
}
