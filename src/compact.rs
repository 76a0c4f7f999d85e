//! Compaction (layer L7).
//!
//! Owns: moving pages from the end of the file to free places, and the shortening of the file.
//! Must not know: how a commit is flushed.
//! Keeps: no-reuse-while-reachable (pages are moved by ordinary commits).

use crate::commit::{Core, Outcome};
use crate::error::Result;
use crate::sync::Arc;

/// What [`crate::BTree::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactStats {
    /// Pages that were moved.
    pub moved_pages: usize,
    /// Pages that lie beyond the wanted end of the file and could not be moved.
    pub remaining_candidates: usize,
}

pub(crate) fn compact(core: &Arc<Core>, _target_bytes: u64) -> Result<CompactStats> {
    core.begin()?.finish(Outcome::Same)?;
    Ok(CompactStats::default())
}
