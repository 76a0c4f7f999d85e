//! What a commit does to the log (part of the space codec, layer L3).
//!
//! Owns: [`Step`]: append, checkpoint or spill; and the work of each, bounded by the commit.
//! Must not know: how records look, except for their length.
//! Keeps: space-log-replays (whatever the step, old records and new ones tell the same state).

use super::chain::{ChainPage, Change};
use super::log::{
    EXTENT_WORDS, Position, RESIZE_WORDS, Room, SNAPSHOT_WORDS, TXN_WORDS, Tail, WASTE_WORDS,
    Writer,
};
use super::{Commit, FreeSpace};
use crate::format::META_SLOTS;
use crate::invariant::invariant;
use crate::page::{Extent, PageId};
use crate::seeded::seeded;

/// What becomes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The records go to the tail.
    Append,
    /// The records and a snapshot of all addresses are the new tail; all log pages are dropped.
    Checkpoint,
    /// Tail, records and a snapshot of the next addresses go to this many log pages.
    Spill(usize),
}

/// Log pages that a spill of `pages` drops at most: more than it adds, so that the log of a file
/// whose free space has shrunk shrinks too.
fn dropped_max(pages: usize) -> usize {
    pages + 2
}

impl Commit {
    fn txn_words(&self) -> usize {
        TXN_WORDS + EXTENT_WORDS * (self.allocated.len() + self.freed.len())
    }

    /// The words of the commit's records.
    fn words(&self, page_count: u32) -> usize {
        let is_silent = self.allocated.is_empty() && self.freed.is_empty();
        let txn = if is_silent { 0 } else { self.txn_words() };
        let grown = usize::from(self.count_highest > self.count_before);
        let cut = usize::from(page_count < self.count_highest);
        txn + RESIZE_WORDS * (grown + cut)
    }
}

impl FreeSpace {
    /// What the commit under way has to do to the log.
    pub(super) fn step(&self, tail_words_max: usize, page_words_max: usize) -> Step {
        let commit = self.commit.as_ref().expect("a commit is under way");
        let words = self.chain.tail.words.len() + commit.words(self.page_count);
        let is_wanted = commit.checkpoint_from.is_some() && !self.chain.pages.is_empty();
        let lies_behind = |limit| self.chain.pages.iter().any(|page| page.id >= limit);
        if is_wanted && self.fits_checkpoint(commit, tail_words_max / 2) {
            Step::Checkpoint
        } else if words <= tail_words_max && !commit.checkpoint_from.is_some_and(lies_behind) {
            Step::Append
        } else if self.fits_checkpoint(commit, tail_words_max / 2) {
            Step::Checkpoint
        } else {
            Step::Spill(self.pages_for(words, page_words_max))
        }
    }

    /// Whether a checkpoint needs no more than `words`. Looks at few extents.
    fn fits_checkpoint(&self, commit: &Commit, words: usize) -> bool {
        // Dropping all log pages adds an extent for each to both records at most.
        let dropped = 2 * EXTENT_WORDS * self.chain.pages.len();
        let fixed = commit.txn_words() + SNAPSHOT_WORDS + dropped;
        words.checked_sub(fixed).is_some_and(|left| {
            let extents_max = left / EXTENT_WORDS;
            self.unused_from(META_SLOTS).take(extents_max + 1).count() <= extents_max
        })
    }

    /// Pages for a spill of `words`, with a snapshot at least a third as long as the rest.
    fn pages_for(&self, words: usize, page_words_max: usize) -> usize {
        let page_words = page_words_max - WASTE_WORDS;
        let needed = |pages: usize| {
            let dropped = self.chain.droppable(dropped_max(pages));
            // Allocating the pages adds an extent for each, dropping old ones too, and the
            // file may have to grow for them.
            let spilled = words + TXN_WORDS + RESIZE_WORDS + EXTENT_WORDS * (pages + dropped);
            spilled + spilled.div_ceil(3) + SNAPSHOT_WORDS + EXTENT_WORDS
        };
        let mut pages = 1;
        while pages * page_words < needed(pages) {
            pages += 1;
        }
        pages
    }

    pub(super) fn append(&self, tail_words_max: usize) -> Change {
        let room = Room { pages: 1, words: tail_words_max };
        let mut writer = Writer::new(&self.chain.tail, room);
        self.write_records(&mut writer);
        Change { dropped: 0, pages: Vec::new(), sealed: 0, tail: writer.into_tail() }
    }

    pub(super) fn checkpoint(&mut self, tail_words_max: usize) -> Change {
        let dropped = self.drop_oldest(self.chain.pages.len());
        let lap = self.chain.tail.cursor.lap + 1;
        let tail = Tail::empty(Position { lap, address: META_SLOTS });
        let mut writer = Writer::new(&tail, Room { pages: 1, words: tail_words_max });
        let commit = self.commit.as_ref().expect("a commit is under way");
        writer.txn(commit.txn, &commit.allocated, &commit.freed);
        writer.sweep(self.unused_from(META_SLOTS));
        let tail = writer.into_tail();
        invariant!(SpaceLogReplays, tail.cursor == tail.start.next_lap(), "a checkpoint is cut");
        Change { dropped, pages: Vec::new(), sealed: 0, tail }
    }

    /// Returns the words of the pages too.
    pub(super) fn spill(
        &mut self,
        page_words_max: usize,
        log_pages: &[PageId],
    ) -> (Change, Vec<Vec<u32>>) {
        let dropped = self.drop_oldest(self.chain.droppable(dropped_max(log_pages.len())));
        let room = Room { pages: log_pages.len(), words: page_words_max };
        let mut writer = Writer::new(&self.chain.tail, room);
        self.write_records(&mut writer);
        writer.sweep(self.unused_from(self.chain.tail.cursor.address));
        let (words, starts, cursor) = writer.into_pages();
        let birth = self.commit.as_ref().expect("a commit is under way").txn;
        let page = |(&id, start)| ChainPage { id, checksum: 0, start, birth };
        let pages = log_pages.iter().zip(starts).map(page).collect();
        (Change { dropped, pages, sealed: 0, tail: Tail::empty(cursor) }, words)
    }

    fn write_records(&self, writer: &mut Writer) {
        let commit = self.commit.as_ref().expect("a commit is under way");
        if seeded!(ResizeAfterAllocation) {
            writer.txn(commit.txn, &commit.allocated, &commit.freed);
        }
        if commit.count_highest > commit.count_before {
            writer.resize(commit.count_before, commit.count_highest);
        }
        if !seeded!(ResizeAfterAllocation) {
            writer.txn(commit.txn, &commit.allocated, &commit.freed);
        }
        if self.page_count < commit.count_highest {
            writer.resize(commit.count_highest, self.page_count);
        }
    }

    /// Frees the oldest log pages. Returns their number.
    fn drop_oldest(&mut self, count: usize) -> usize {
        let dropped = self.chain.pages.iter().take(count);
        let mut pages: Vec<_> = dropped.map(|page| (Extent::one(page.id), page.birth)).collect();
        pages.sort_unstable();
        if !seeded!(DroppedLogPageLeaks) {
            self.add_scattered(&pages);
        }
        count
    }

    /// Pages of the file from `from` on that something has, the log included.
    pub(crate) fn used_from(&self, from: PageId) -> u32 {
        let unused: u64 = self.unused_from(from.0).map(|extent| u64::from(extent.pages)).sum();
        let all = self.page_count.saturating_sub(from.0);
        all.saturating_sub(u32::try_from(unused).unwrap_or(u32::MAX))
    }

    /// Pages from `from` on that are free, pending, or set aside.
    fn unused_from(&self, from: u32) -> impl Iterator<Item = Extent> {
        let pending = self.pending.iter_from(from);
        let pending = pending.filter(|_| !seeded!(SnapshotMissesPending));
        let free = merged(self.free.set().iter_from(from), pending);
        let aside = self.reserved.iter(from, self.page_count);
        merged(free, aside.filter(|_| !seeded!(SnapshotMissesWhatIsSetAside)))
    }
}

/// Two ascending disjoint lists as one, neighbours melted.
fn merged(
    left: impl Iterator<Item = Extent>,
    right: impl Iterator<Item = Extent>,
) -> impl Iterator<Item = Extent> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    let mut next = move || match (left.peek(), right.peek()) {
        (Some(l), Some(r)) if l.first < r.first => left.next(),
        (_, Some(_)) => right.next(),
        _ => left.next(),
    };
    let mut held = next();
    std::iter::from_fn(move || {
        let mut extent = held?;
        held = next();
        while let Some(neighbour) = held.filter(|neighbour| neighbour.first.0 == extent.end()) {
            extent.pages += neighbour.pages;
            held = next();
        }
        Some(extent)
    })
}
