//! How far the state machine is, for the log.
//!
//! Owns: [`Progress`]. Must not know: how entries are applied, or kept.

use crate::error::{Error, Result};
use openraft::{LogId, NodeId, RaftTypeConfig};
use std::fmt::{self, Debug};
use std::sync::Arc;
use tokio::sync::watch;

/// How far a state machine is, durably: what its log must stay in reach of.
///
/// openraft 0.9 has the log purged up to a snapshot's end while the snapshot is still being
/// installed. If the power failed then, neither the entries nor the state would be there, and the
/// node could not start again. So a log waits with a purge until the state is so far. The store may
/// be the same one or another.
///
/// From [`StateMachine::progress`](crate::StateMachine::progress).
pub struct Progress<C: RaftTypeConfig>(Option<watch::Receiver<Told<C::NodeId>>>);

/// What was applied last, if anything was; or what ended the state machine.
type Told<N> = Result<Option<LogId<N>>>;

impl<C: RaftTypeConfig> Progress<C> {
    /// Of a state machine that does not tell: purges do not wait. For a log alone, or one whose
    /// state machine is not of this crate. Then a power failure while a snapshot is being installed
    /// may leave a node that must be set up anew.
    pub fn unknown() -> Progress<C> {
        Progress(None)
    }

    /// Waits until the state machine has ended: openraft drops it some time after a `shutdown` has
    /// returned, and with it its hold on the store. At once where nobody tells.
    ///
    /// ```
    /// # use btree_store::BTree;
    /// # use btree_store_raft::{Progress, kv::KeyValueConfig};
    /// type Node = openraft::Raft<KeyValueConfig>;
    /// async fn close(raft: Node, progress: Progress<KeyValueConfig>, db: BTree) {
    ///     raft.shutdown().await.expect("the node ends");
    ///     progress.ended().await;
    ///     // The last handle: it closes the store, which writes and syncs.
    ///     tokio::task::spawn_blocking(move || drop(db)).await.expect("it is dropped");
    /// }
    /// ```
    pub async fn ended(mut self) {
        let Some(applied) = &mut self.0 else { return };
        while applied.changed().await.is_ok() {}
    }

    /// Waits until a log id is applied, or is in a snapshot that was installed.
    pub(crate) async fn reaches(&mut self, log_id: &LogId<C::NodeId>) -> Result<()> {
        let Some(applied) = &mut self.0 else { return Ok(()) };
        let is_known = |told: &Told<C::NodeId>| match told {
            Ok(applied) => applied.as_ref() >= Some(log_id),
            Err(_) => true,
        };
        match applied.wait_for(is_known).await {
            Ok(told) => told.clone().map(drop),
            // openraft drops a state machine that failed.
            Err(_) => Err(Error::Interrupted { why: "the state machine has ended".to_owned() }),
        }
    }

    /// How far it is now, if that is known.
    pub(crate) fn now(&self) -> Option<LogId<C::NodeId>> {
        self.0.as_ref()?.borrow().as_ref().ok()?.clone()
    }
}

impl<C: RaftTypeConfig> Clone for Progress<C> {
    fn clone(&self) -> Progress<C> {
        Progress(self.0.clone())
    }
}

impl<C: RaftTypeConfig> Debug for Progress<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0).finish()
    }
}

/// Where a state machine tells how far it is. Who waits is told when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Applying<N: NodeId>(Arc<watch::Sender<Told<N>>>);

impl<N: NodeId> Applying<N> {
    pub(crate) fn new(applied: Option<LogId<N>>) -> Applying<N> {
        Applying(Arc::new(watch::Sender::new(Ok(applied))))
    }

    pub(crate) fn is_at(&self, applied: Option<LogId<N>>) {
        drop(self.0.send_replace(Ok(applied)));
    }

    /// It ends by this error, as openraft has it.
    pub(crate) fn ends_by(&self, error: &Error) {
        drop(self.0.send_replace(Err(error.clone())));
    }

    pub(crate) fn progress<C: RaftTypeConfig<NodeId = N>>(&self) -> Progress<C> {
        Progress(Some(self.0.subscribe()))
    }
}
