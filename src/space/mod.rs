//! Free space (layer L3).
//!
//! Owns: [`FreeSpace`]: which pages are free or pending, and the log that makes this persistent.
//! Must not know: the file, the meta page, how log pages are sealed or read.
//! Keeps: page-owned-once, no-reuse-while-reachable, space-log-replays.
//!
//! One commit at a time: [`FreeSpace::begin`], then allocations, releases and resizes, then
//! [`FreeSpace::log_pages_needed`], the allocation of so many pages, and [`FreeSpace::finish`];
//! at last [`FreeSpace::installed`], or [`FreeSpace::undo`] at any point after `begin`.
//!
//! A commit appends its records to the tail of the log, in the meta page. When the tail is full,
//! a snapshot of all unused pages replaces the whole log if it is short. Else the tail spills to
//! log pages, together with a snapshot of the next few addresses, at least a third as long as
//! what is spilled; old pages whose addresses are all covered again are dropped, a few per
//! commit. So a commit's work does not grow with the file, and the log is at most about four
//! times as long as a full snapshot.

mod chain;
mod extents;
mod fresh;
mod log;
mod marks;
mod pending;
mod plan;
mod replay;
mod reserved;
#[cfg(test)]
mod tests;
mod young;

use crate::error::{Error, Result};
use crate::format::META_SLOTS;
use crate::invariant::{Invariant, invariant};
use crate::page::{Extent, PageId, TxnId};
use crate::seeded::seeded;
use chain::{Chain, Change};
pub(crate) use extents::Placement;
use extents::{ExtentSet, FreeSet, span};
pub(crate) use fresh::PageSet;
use log::{Position, Room, SNAPSHOT_WORDS, Tail, Writer};
use pending::Pending;
use plan::Step;
pub(crate) use replay::LogPage;
pub(crate) use reserved::Reservation;
use reserved::Reserved;
use std::collections::BTreeMap;
use young::Young;

/// Which pages of the file are unused, and the log of that.
#[derive(Clone, Debug)]
pub(crate) struct FreeSpace {
    /// The latest installed state.
    txn: TxnId,
    page_count: u32,
    free: FreeSet,
    pending: Pending,
    young: Young,
    reserved: Reserved,
    chain: Chain,
    commit: Option<Commit>,
}

/// What the commit under way did.
#[derive(Clone, Debug)]
struct Commit {
    txn: TxnId,
    /// The page count at the beginning.
    count_before: u32,
    /// The highest page count so far.
    count_highest: u32,
    allocated: ExtentSet,
    /// Of what is allocated: what had been set aside, and under which number.
    adopted: BTreeMap<Extent, u64>,
    /// Of what is adopted: what was dropped since, and is free if the commit is undone.
    dropped: Vec<(Extent, u64)>,
    freed: ExtentSet,
    /// All log pages are dropped if a checkpoint fits the tail; else those from here on are to be
    /// dropped soon.
    checkpoint_from: Option<PageId>,
    change: Option<Change>,
}

/// The words of the log pages that a commit writes, oldest first. Some may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogPlan {
    pub pages: Vec<Vec<u32>>,
}

impl FreeSpace {
    /// A fresh file of this many pages, all owned: the meta slots, and whatever follows them.
    pub fn new(page_count: u32) -> FreeSpace {
        let room = Room { pages: 1, words: SNAPSHOT_WORDS };
        let mut writer = Writer::new(&Tail::empty(Position::START), room);
        if page_count > META_SLOTS {
            writer.sweep(std::iter::empty());
        }
        FreeSpace {
            txn: TxnId(0),
            page_count,
            free: FreeSet::default(),
            pending: Pending::default(),
            young: Young::default(),
            reserved: Reserved::new(page_count),
            chain: Chain::new(writer.into_tail()),
            commit: None,
        }
    }

    /// Pages of the file.
    pub fn page_count(&self) -> u32 {
        self.page_count
    }

    /// Pages that may be allocated.
    pub fn free_pages(&self) -> u64 {
        self.free.set().pages()
    }

    /// Pages that are freed but not yet reusable.
    pub fn pending_pages(&self) -> u64 {
        self.pending.pages()
    }

    /// Extents that may be allocated.
    pub fn free_extents(&self) -> usize {
        self.free.set().len()
    }

    /// The free extents, by address.
    pub fn iter_free(&self) -> impl Iterator<Item = Extent> {
        self.free.set().iter()
    }

    /// The pending extents, by address. Neighbours are not merged.
    #[cfg(any(test, fuzzing, feature = "sim"))]
    pub fn iter_pending(&self) -> impl Iterator<Item = Extent> {
        self.pending.iter()
    }

    /// Whether some of these pages are unused: free, or waiting to be.
    pub fn has_unused(&self, extent: Extent) -> bool {
        self.free.set().overlaps(extent) || self.pending.overlaps(extent)
    }

    /// Whether the largest free extents, at most `pieces` of them, hold this many pages.
    pub fn fits_in_pieces(&self, pages: u32, pieces: u32) -> bool {
        self.free.pages_in_largest(pieces) >= u64::from(pages)
    }

    /// Free pages at the very end of the file; none if some are set aside behind it.
    pub fn tail_free(&self) -> u32 {
        let last = self.free.set().last().filter(|last| last.end() == self.edge());
        last.map_or(0, |last| last.pages)
    }

    /// Begins the commit of `txn`. `pinned` are the snapshots that may be read, ascending.
    pub fn begin(&mut self, txn: TxnId, pinned: &[TxnId]) {
        invariant!(OneWriter, self.commit.is_none(), "a commit is under way");
        invariant!(TxnIdsIncrease, txn > self.txn, "commit {txn} after {}", self.txn);
        self.take_dropped();
        self.pending.mature(txn, pinned, |extent| self.free.insert(extent));
        self.young.begin(pinned.first().copied());
        self.commit = Some(Commit {
            txn,
            count_before: self.page_count,
            count_highest: self.page_count,
            allocated: ExtentSet::default(),
            adopted: BTreeMap::new(),
            dropped: Vec::new(),
            freed: ExtentSet::default(),
            checkpoint_from: None,
            change: None,
        });
    }

    /// Asks for a checkpoint in this commit, though the tail has room: it drops all log pages,
    /// which may lie in the way of a cut. If it does not fit the tail, log pages are written as
    /// long as some lie from `limit` on, for each of them drops older ones.
    pub fn want_checkpoint(&mut self, limit: PageId) {
        self.open_commit().checkpoint_from = Some(limit);
    }

    /// Allocates pages that lie side by side, or none.
    pub fn allocate(&mut self, pages: u32, placement: Placement) -> Option<Extent> {
        let extent = self.free.find(pages, placement)?;
        Some(self.take(extent))
    }

    /// Allocates `pages` side by side, or fewer: the largest extent (`BestFit`), else the lowest.
    pub fn allocate_up_to(&mut self, pages: u32, placement: Placement) -> Option<Extent> {
        let extent = self.free.find_up_to(pages, placement)?;
        Some(self.take(extent))
    }

    fn take(&mut self, extent: Extent) -> Extent {
        self.free.remove(extent);
        if !seeded!(AllocationNotLogged) {
            self.open_commit().allocated.insert(extent);
        }
        extent
    }

    /// Lengthens the file. The new pages are free.
    pub fn grow(&mut self, page_count: u32) {
        invariant!(PageOwnedOnce, page_count > self.page_count, "growth to {page_count}");
        let gaps = if seeded!(GrowthFreesWhatIsSetAside) {
            vec![span(self.page_count, page_count)]
        } else {
            self.reserved.gaps(self.page_count, page_count)
        };
        for new in gaps {
            self.free.insert(new);
        }
        self.set_page_count(page_count);
        let commit = self.open_commit();
        commit.count_highest = commit.count_highest.max(page_count);
    }

    /// Shortens the file. All pages beyond `page_count` are free.
    pub fn cut(&mut self, page_count: u32) {
        invariant!(PageOwnedOnce, page_count >= META_SLOTS, "cut to {page_count}");
        invariant!(PageOwnedOnce, page_count < self.page_count, "cut to {page_count}");
        invariant!(
            PageOwnedOnce,
            self.page_count - page_count <= self.tail_free(),
            "cut to {page_count} of {}, of which {} free",
            self.page_count,
            self.tail_free()
        );
        self.free.remove(span(page_count, self.page_count));
        self.set_page_count(page_count);
        self.open_commit();
    }

    /// Frees pages that a state has, from state `birth` on.
    ///
    /// # Errors
    /// `Corruption` when the pages are not those of a tree: the file's trees and its log
    /// contradict each other. Nothing is freed then.
    #[cfg(any(test, fuzzing, feature = "sim"))]
    pub fn release(&mut self, extent: Extent, birth: TxnId) -> Result<()> {
        self.release_all(extent, std::iter::once((extent, birth)))
    }

    /// As [`FreeSpace::release`], of extents that lie side by side and are `extent` together.
    pub fn release_all(
        &mut self,
        extent: Extent,
        parts: impl Iterator<Item = (Extent, TxnId)>,
    ) -> Result<()> {
        let end = extent.first.0.checked_add(extent.pages).filter(|&end| end <= self.page_count);
        let is_inside = extent.first.0 >= META_SLOTS && extent.pages > 0 && end.is_some();
        let is_owned = is_inside
            && !self.free.set().overlaps(extent)
            && !self.pending.overlaps(extent)
            && !self.reserved.overlaps(extent)
            && !self.chain.overlaps(extent);
        if !is_owned {
            let page = Some(extent.first.0);
            let found = format_args!("{} that are not", extent.pages);
            return Err(Error::corruption(page, Invariant::PageOwnedOnce, "pages in use", found));
        }
        if seeded!(FreedAndReusedAtOnce) {
            self.free.insert(extent);
            self.open_commit().freed.insert(extent);
            return Ok(());
        }
        self.add_pending(extent, parts);
        Ok(())
    }

    /// Adds extents that lie side by side and are `extent` together.
    fn add_pending(&mut self, extent: Extent, parts: impl Iterator<Item = (Extent, TxnId)>) {
        let txn = self.open_commit().txn;
        let FreeSpace { pending, young, .. } = self;
        pending.insert(extent, txn, parts.map(|(part, birth)| (part, young.birth(part, birth))));
        if !seeded!(FreeingNotLogged) {
            self.open_commit().freed.insert(extent);
        }
    }

    /// Adds extents that ascend, and lie anywhere.
    fn add_scattered(&mut self, parts: &[(Extent, TxnId)]) {
        let txn = self.open_commit().txn;
        let FreeSpace { pending, young, .. } = self;
        let born = parts.iter().map(|&(part, birth)| (part, young.birth(part, birth)));
        pending.insert_scattered(txn, born);
        if !seeded!(FreeingNotLogged) {
            let freed = &mut self.open_commit().freed;
            for &(part, _) in parts {
                freed.insert(part);
            }
        }
    }

    /// How many log pages the commit must allocate before `finish`; nothing else may change in
    /// between but the allocation of them, one extent a page at most, and growth for it.
    pub fn log_pages_needed(&self, tail_words_max: usize, page_words_max: usize) -> u32 {
        match self.step(tail_words_max, page_words_max) {
            Step::Append | Step::Checkpoint => 0,
            Step::Spill(pages) => u32::try_from(pages).expect("there are fewer pages than ids"),
        }
    }

    /// Ends the commit's changes. The caller seals the pages, oldest first: each points to what
    /// `log_head` says at that moment, and is then announced by `log_page_sealed`.
    pub fn finish(
        &mut self,
        tail_words_max: usize,
        page_words_max: usize,
        log_pages: &[PageId],
    ) -> LogPlan {
        let (change, pages) = match self.step(tail_words_max, page_words_max) {
            _ if !log_pages.is_empty() => self.spill(page_words_max, log_pages),
            Step::Append => (self.append(tail_words_max), Vec::new()),
            Step::Checkpoint => (self.checkpoint(tail_words_max), Vec::new()),
            Step::Spill(pages) => unreachable!("{pages} log pages are needed, none is given"),
        };
        let commit = self.open_commit();
        invariant!(OneWriter, commit.change.is_none(), "the commit is finished twice");
        commit.change = Some(change);
        LogPlan { pages }
    }

    /// Records the checksum of the next page of the plan.
    pub fn log_page_sealed(&mut self, id: PageId, checksum: u32) {
        let change = self.open_commit().change.as_mut().expect("finish comes first");
        let page = &mut change.pages[change.sealed];
        invariant!(SpaceLogReplays, page.id == id, "log page {id} is sealed out of order");
        page.checksum = checksum;
        change.sealed += 1;
    }

    /// The newest log page and its checksum.
    pub fn log_head(&self) -> Option<(PageId, u32)> {
        self.chain.head(self.change())
    }

    /// Log pages that the state retains; the oldest of them points to a page that is not part of
    /// the log any more.
    pub fn log_page_count(&self) -> u32 {
        let added = self.change().map_or(0, |change| change.sealed);
        let dropped = self.change().map_or(0, |change| change.dropped);
        let pages = self.chain.pages.len() + added - dropped;
        u32::try_from(pages).expect("there are fewer pages than ids")
    }

    /// Log pages that lie from `from` on.
    pub fn log_pages_from(&self, from: PageId) -> u32 {
        let dropped = self.change().map_or(0, |change| change.dropped);
        let added = self.change().map_or(&[][..], |change| &change.pages);
        let pages = self.chain.pages.iter().skip(dropped).chain(added);
        let behind = pages.filter(|page| page.id >= from).count();
        u32::try_from(behind).expect("there are fewer pages than ids")
    }

    /// The words of the log's tail.
    pub fn tail(&self) -> &[u32] {
        if seeded!(FreeListPersistedLate) {
            return &self.chain.tail.words;
        }
        &self.change().map_or(&self.chain.tail, |change| &change.tail).words
    }

    /// The commit is durable.
    pub fn installed(&mut self) {
        let commit = self.commit.take().expect("a commit is under way");
        self.young.installed(&commit.allocated, commit.adopted.keys(), &commit.freed);
        self.chain.install(commit.change.expect("finish comes first"));
        self.txn = commit.txn;
    }

    /// Takes back what the commit did. Pages that `begin` found reusable stay free.
    pub fn undo(&mut self) {
        if seeded!(NoSpaceLeavesAllocatorDirty) {
            return;
        }
        let commit = self.commit.take().expect("a commit is under way");
        if !seeded!(UndoForgetsFrees) {
            self.pending.take_back(commit.txn);
        }
        for extent in commit.allocated.iter().filter(|_| !seeded!(UndoForgetsAllocations)) {
            self.free.insert(extent);
        }
        let adopted = commit.adopted.into_iter().filter(|_| !seeded!(UndoFreesWhatWasSetAside));
        self.give_up(adopted, commit.dropped);
        let (now, before) = (self.page_count, commit.count_before);
        if now > before && seeded!(UndoForgetsGrowth) {
            return;
        }
        if now < before && seeded!(UndoneCutFreesWhatIsSetAside) {
            self.free.insert(span(now, before));
            self.set_page_count(before);
            return;
        }
        // What was set aside meanwhile, behind the end that the commit gave the file, stays so.
        for part in self.reserved.gaps(now.min(before), now.max(before)) {
            if now > before {
                self.free.remove(part);
            } else {
                self.free.insert(part);
            }
        }
        self.set_page_count(before);
    }

    /// The commit under way.
    fn open_commit(&mut self) -> &mut Commit {
        self.commit.as_mut().expect("a commit is under way")
    }

    fn change(&self) -> Option<&Change> {
        self.commit.as_ref()?.change.as_ref()
    }
}
