//! The space log as a whole (part of the space codec, layer L3).
//!
//! Owns: [`Chain`]: the log pages that a state retains and the tail in its meta page, and
//! [`Change`]: what a commit makes of them. The change is built beside the chain.
//! Must not know: which pages are free.
//! Keeps: space-log-replays (a page is dropped only when newer records cover every address).
//!
//! The log is swept in a circle: each spill writes a snapshot of the next addresses. A page may
//! be dropped when the sweep has come once around since the page after it was begun.

use super::log::{Position, Tail};
use crate::invariant::invariant;
use crate::page::{Extent, PageId, TxnId};
use crate::seeded::seeded;
use std::collections::{BTreeSet, VecDeque};

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
    ids: BTreeSet<PageId>,
    pub tail: Tail,
}

/// What a commit makes of the chain.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// How many of the oldest pages it drops.
    pub dropped: usize,
    pub pages: Vec<ChainPage>,
    /// How many of `pages` have their checksum.
    pub sealed: usize,
    pub tail: Tail,
}

impl Chain {
    pub fn new(tail: Tail) -> Chain {
        Chain { pages: VecDeque::new(), ids: BTreeSet::new(), tail }
    }

    /// Adds a page, newer than all. Returns whether it was not there before.
    pub fn push(&mut self, page: ChainPage) -> bool {
        self.pages.push_back(page);
        self.ids.insert(page.id)
    }

    /// Whether a page of `range` is of the log.
    pub fn overlaps(&self, range: Extent) -> bool {
        self.ids.range(range.first..PageId(range.end())).next().is_some()
    }

    /// How many of the oldest pages newer records make superfluous, `max` at most.
    pub fn droppable(&self, max: usize) -> usize {
        let later = self.pages.iter().skip(1).map(|page| page.start);
        later
            .chain([self.tail.start])
            .take(self.pages.len())
            .take(max)
            .take_while(|start| {
                let early = seeded!(LogPageDroppedEarly);
                (if early { *start } else { start.next_lap() }) <= self.tail.cursor
            })
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
        for page in self.pages.drain(..change.dropped) {
            self.ids.remove(&page.id);
        }
        for page in change.pages {
            let is_new = self.push(page);
            invariant!(PageOwnedOnce, is_new, "log page {} is there already", page.id);
        }
        self.tail = change.tail;
    }
}
