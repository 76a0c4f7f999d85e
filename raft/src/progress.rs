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
pub struct Progress<C: RaftTypeConfig>(Option<watch::Receiver<Option<LogId<C::NodeId>>>>);

impl<C: RaftTypeConfig> Progress<C> {
    /// Of a state machine that does not tell: purges do not wait. For a log alone, or one whose
    /// state machine is not of this crate. Then a power failure while a snapshot is being installed
    /// may leave a node that must be set up anew.
    pub fn unknown() -> Progress<C> {
        Progress(None)
    }

    /// Waits until a log id is applied, or is in a snapshot that was installed.
    pub(crate) async fn reaches(&mut self, log_id: &LogId<C::NodeId>) -> Result<()> {
        let Some(applied) = &mut self.0 else { return Ok(()) };
        let reached = applied.wait_for(|applied| applied.as_ref() >= Some(log_id)).await;
        // openraft drops a state machine that failed.
        let ended = |_| Error::Interrupted { why: "the state machine has ended".to_owned() };
        reached.map(drop).map_err(ended)
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
pub(crate) struct Applying<N: NodeId>(Arc<watch::Sender<Option<LogId<N>>>>);

impl<N: NodeId> Applying<N> {
    pub(crate) fn new(applied: Option<LogId<N>>) -> Applying<N> {
        Applying(Arc::new(watch::Sender::new(applied)))
    }

    pub(crate) fn is_at(&self, applied: Option<LogId<N>>) {
        self.0.send_replace(applied);
    }

    pub(crate) fn progress<C: RaftTypeConfig<NodeId = N>>(&self) -> Progress<C> {
        Progress(Some(self.0.subscribe()))
    }
}
