//! The space log as a whole (part of the space codec, layer L3).
//!
//! Owns: [`Chain`]: the log pages that a state retains and the tail in its meta page, and
//! [`Change`]: what a commit makes of them. The change is built beside the chain.
//! Must not know: which pages are free.
//! Keeps: space-log-replays (a page is dropped only when newer records cover every address).
//!
//! The log is swept in a circle: each spill writes a snapshot of the next addresses. A page may
//! be dropped when the sweep has come once around since the page after it was begun.

use super::log::Position;
use crate::invariant::invariant;
use crate::page::{PageId, TxnId};
use std::collections::VecDeque;

/// A page of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainPage {
    pub id: PageId,
    pub checksum: u32,
    /// Where the sweep stood when the page was begun.
    pub start: Position,
    /// The state that the page was written for; 0 where that is not known.
    pub birth: TxnId,
}

#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// Oldest first.
    pub pages: VecDeque<ChainPage>,
    pub tail: Vec<u32>,
    /// Where the sweep stood when the tail was begun.
    pub tail_start: Position,
    /// Where the sweep stands.
    pub cursor: Position,
}

/// What a commit makes of the chain.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// How many of the oldest pages it drops.
    pub dropped: usize,
    pub pages: Vec<ChainPage>,
    /// How many of `pages` have their checksum.
    pub sealed: usize,
    pub tail: Vec<u32>,
    pub tail_start: Position,
    pub cursor: Position,
}

impl Chain {
    pub fn new(tail: Vec<u32>, tail_start: Position, cursor: Position) -> Chain {
        Chain { pages: VecDeque::new(), tail, tail_start, cursor }
    }

    /// How many of the oldest pages newer records make superfluous, `max` at most.
    pub fn droppable(&self, max: usize) -> usize {
        let later = self.pages.iter().skip(1).map(|page| page.start);
        later
            .chain([self.tail_start])
            .take(self.pages.len())
            .take(max)
            .take_while(|start| start.next_lap() <= self.cursor)
            .count()
    }

    /// The newest page and its checksum, `change` included as far as it is sealed.
    pub fn head(&self, change: Option<&Change>) -> Option<(PageId, u32)> {
        let (dropped, sealed) = change
            .map_or((0, [].as_slice()), |change| (change.dropped, &change.pages[..change.sealed]));
        let kept = self.pages.back().filter(|_| dropped < self.pages.len());
        sealed.last().or(kept).map(|page| (page.id, page.checksum))
    }

    /// Makes `change` the state.
    pub fn install(&mut self, change: Change) {
        invariant!(
            SpaceLogReplays,
            change.sealed == change.pages.len(),
            "a log page is not sealed"
        );
        self.pages.drain(..change.dropped);
        self.pages.extend(change.pages);
        self.tail = change.tail;
        self.tail_start = change.tail_start;
        self.cursor = change.cursor;
    }
}
