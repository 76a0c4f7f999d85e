//! The twin of the free space: sets of page numbers, and a disk that forgets what is overwritten.
//! It attacks page-owned-once, no-reuse-while-reachable and space-log-replays: it knows which
//! pages each state that may still be read consists of, and compares by that, not by rules.

use super::ANYWHERE;
use crate::format::META_SLOTS;
use crate::page::{Extent, PageId, TxnId};
use crate::space::{FreeSpace, LogPage, Placement};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub tail: usize,
    pub page: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Allocate {
        pages: u32,
        placement: Placement,
    },
    AllocateUpTo {
        pages: u32,
        placement: Placement,
    },
    /// Frees some of the owned pages that lie side by side; `pick` chooses where.
    Free {
        pick: usize,
        pages: u32,
    },
    /// Frees this page if it is owned.
    FreeAt {
        page: u32,
    },
    /// Frees this page if it is owned, and allocates one for it.
    Swap {
        page: u32,
    },
    Grow {
        pages: u32,
    },
    /// Cuts off some of the free pages at the end; `pick` chooses how many.
    Cut {
        pick: u32,
    },
    WantCheckpoint,
}

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Install,
    Undo,
    /// It is undone before its log is written.
    Abandon,
    /// Its pages reach the disk, its meta page does not, and the file is opened again.
    Lose,
    /// It is durable, and the file is opened again.
    Reopen,
}

/// What a transaction of a reader does before a commit.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    Rest,
    Pin,
    /// Gives up the pin that this chooses.
    Unpin(usize),
}

#[derive(Clone, Debug)]
struct OnDisk {
    checksum: u32,
    words: Vec<u32>,
    previous: Option<(PageId, u32)>,
}

/// What a meta page says, and what the state consists of.
#[derive(Clone, Debug)]
struct Meta {
    page_count: u32,
    head: Option<(PageId, u32)>,
    log_pages: u32,
    tail: Vec<u32>,
    /// Pages of the state, log pages included.
    owned: BTreeSet<u32>,
    /// Pages that its own commit freed.
    freed: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
pub struct Twin {
    pub space: FreeSpace,
    limits: Limits,
    txn: TxnId,
    page_count: u32,
    /// Owned pages that are not of the log, and the state that each was born in.
    owned: BTreeMap<u32, TxnId>,
    /// Pages of the log, and the state that each was born in.
    log: BTreeMap<u32, TxnId>,
    free: BTreeSet<u32>,
    /// Freed by, born in.
    pending: BTreeMap<u32, (TxnId, TxnId)>,
    pins: BTreeSet<TxnId>,
    /// States that may be read: the two in the slots, and the pinned ones.
    metas: BTreeMap<TxnId, Meta>,
    disk: BTreeMap<u32, OnDisk>,
    /// Seals so far; the next checksum.
    seals: u32,
    /// Words of a full snapshot.
    pub snapshot_words: usize,
    /// Log pages that the latest commit wrote, and those it dropped.
    pub written: usize,
    pub dropped: usize,
}

/// Runs of pages that lie side by side.
fn runs(pages: impl IntoIterator<Item = u32>) -> Vec<Extent> {
    let mut runs: Vec<Extent> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(last) if last.end() == page => last.pages += 1,
            _ => runs.push(Extent::one(PageId(page))),
        }
    }
    runs
}

fn pages_of(extents: impl Iterator<Item = Extent>) -> Vec<u32> {
    extents.flat_map(|extent| extent.first.0..extent.end()).collect()
}

impl Twin {
    pub fn new(limits: Limits) -> Twin {
        let space = FreeSpace::new(META_SLOTS);
        let mut twin = Twin {
            space,
            limits,
            txn: TxnId(0),
            page_count: META_SLOTS,
            owned: BTreeMap::new(),
            log: BTreeMap::new(),
            free: BTreeSet::new(),
            pending: BTreeMap::new(),
            pins: BTreeSet::new(),
            metas: BTreeMap::new(),
            disk: BTreeMap::new(),
            seals: 0,
            snapshot_words: 0,
            written: 0,
            dropped: 0,
        };
        let meta = twin.meta(BTreeSet::new());
        twin.metas.insert(TxnId(0), meta);
        twin
    }

    /// One commit, compared at every step.
    pub fn commit(&mut self, reader: Reader, ops: &[Op], end: End) {
        self.read(reader);
        let txn = self.txn.next();
        let pinned: Vec<TxnId> = self.pins.iter().copied().collect();
        self.space.begin(txn, &pinned);
        self.mature(txn);
        self.compare();
        let before = self.clone();
        for &op in ops {
            self.apply(txn, op);
            self.compare();
        }
        if end == End::Abandon {
            return self.undo(before);
        }
        self.write_log(txn);
        self.compare();
        let freed = self.pending.iter().filter(|(_, (freed, _))| *freed == txn);
        let freed = freed.map(|(&page, _)| page).collect();
        let meta = self.meta(freed);
        for (&state, meta) in self.metas.iter().rev().take(2) {
            self.check_replay(state, meta);
        }
        self.check_replay(txn, &meta);
        match end {
            End::Install | End::Reopen => {
                self.space.installed();
                self.txn = txn;
                self.metas.insert(txn, meta);
                self.forget();
            }
            End::Undo | End::Lose | End::Abandon => self.undo(before),
        }
        if matches!(end, End::Reopen | End::Lose) {
            self.reopen();
        }
    }

    /// What the newest state is replayed from.
    pub fn newest(&self) -> (TxnId, u32, Vec<LogPage>, Vec<u32>) {
        let meta = &self.metas[&self.txn];
        let pages = self.chain(meta.head, meta.log_pages);
        (self.txn, meta.page_count, pages, meta.tail.clone())
    }

    /// Goes back to the twin `before` the commit. What was written to the disk stays there.
    fn undo(&mut self, before: Twin) {
        let mut undone = self.clone();
        undone.space.undo();
        let Twin { space, disk, seals, .. } = undone;
        *self = Twin { space, disk, seals, ..before };
        self.compare();
    }

    fn read(&mut self, reader: Reader) {
        match reader {
            Reader::Pin => drop(self.pins.insert(self.txn)),
            Reader::Unpin(pick) if !self.pins.is_empty() => {
                let pin = *self.pins.iter().nth(pick % self.pins.len()).expect("in range");
                self.pins.remove(&pin);
                self.forget();
            }
            Reader::Rest | Reader::Unpin(_) => {}
        }
    }

    /// Drops the states that cannot be read any more.
    fn forget(&mut self) {
        let (newest, pins) = (self.txn, &self.pins);
        self.metas.retain(|state, _| state.0 + 1 >= newest.0 || pins.contains(state));
    }

    fn mature(&mut self, txn: TxnId) {
        let pins = &self.pins;
        let is_free = |freed: TxnId, birth: TxnId| {
            freed.0 + 2 <= txn.0 && !pins.iter().any(|&pin| birth <= pin && pin < freed)
        };
        let ready = self.pending.iter().filter(|(_, (freed, birth))| is_free(*freed, *birth));
        let ready: Vec<u32> = ready.map(|(&page, _)| page).collect();
        for page in ready {
            self.pending.remove(&page);
            self.free.insert(page);
        }
    }

    fn apply(&mut self, txn: TxnId, op: Op) {
        match op {
            Op::Allocate { pages, placement } => {
                let expected = self.expected(pages, placement);
                let found = self.space.allocate(pages, placement);
                assert_eq!(found, expected, "{op:?}");
                self.took(txn, found);
            }
            Op::AllocateUpTo { pages, placement } => {
                let expected = self.expected_up_to(pages, placement);
                let found = self.space.allocate_up_to(pages, placement);
                assert_eq!(found, expected, "{op:?}");
                self.took(txn, found);
            }
            Op::Free { pick, pages } => self.free(txn, pick, pages),
            Op::FreeAt { page } if self.owned.contains_key(&page) => {
                let pick = self.owned.range(..page).count();
                self.free(txn, pick, 1);
            }
            Op::Swap { page } if self.owned.contains_key(&page) => {
                self.apply(txn, Op::FreeAt { page });
                self.apply(txn, Op::Allocate { pages: 1, placement: Placement::BestFit });
            }
            Op::FreeAt { .. } | Op::Swap { .. } => {}
            Op::Grow { pages } => self.grow(pages),
            Op::WantCheckpoint => {
                let limit = PageId(self.space.page_count() / 2);
                self.space.want_checkpoint(limit);
            }
            Op::Cut { pick } => {
                let run = runs(self.free.iter().copied()).pop();
                let run = run.filter(|run| run.end() == self.page_count);
                assert_eq!(self.space.tail_free(), run.map_or(0, |run| run.pages));
                let Some(run) = run else { return };
                self.page_count -= 1 + pick % run.pages;
                self.free.split_off(&self.page_count);
                self.space.cut(self.page_count);
            }
        }
    }

    fn expected(&self, pages: u32, placement: Placement) -> Option<Extent> {
        let fits = runs(self.free.iter().copied()).into_iter().filter(|run| run.pages >= pages);
        let run = match placement {
            Placement::BestFit => fits.min_by_key(|run| (run.pages, run.first)),
            Placement::Below(limit) => {
                fits.filter(|run| run.first.0 + pages <= limit.0).min_by_key(|run| run.first)
            }
        };
        run.map(|run| Extent { first: run.first, pages })
    }

    fn expected_up_to(&self, pages: u32, placement: Placement) -> Option<Extent> {
        let free = self.free.iter().copied();
        let run = match placement {
            Placement::BestFit => {
                let all = runs(free);
                let fits = self.expected(pages, placement);
                let most = all.iter().map(|run| run.pages).max();
                fits.or_else(|| all.into_iter().rfind(|run| Some(run.pages) == most))
            }
            Placement::Below(limit) => {
                runs(free.take_while(|&page| page < limit.0)).into_iter().next()
            }
        };
        run.map(|run| Extent { first: run.first, pages: run.pages.min(pages) })
    }

    /// No state that may be read has a page that is written now.
    fn took(&mut self, txn: TxnId, extent: Option<Extent>) {
        for page in pages_of(extent.into_iter()) {
            for (state, meta) in &self.metas {
                assert!(!meta.owned.contains(&page), "{txn} overwrites {page} of state {state}");
            }
            assert!(self.free.remove(&page), "{page} is not free");
            self.owned.insert(page, txn);
            self.disk.remove(&page);
        }
    }

    fn free(&mut self, txn: TxnId, pick: usize, pages: u32) {
        if self.owned.is_empty() {
            return;
        }
        let first = *self.owned.keys().nth(pick % self.owned.len()).expect("in range");
        let mut pages: Vec<u32> = (first..first + pages).collect();
        pages.retain(|page| self.owned.contains_key(page));
        let run = runs(pages)[0];
        let birth = (first..run.end()).map(|page| self.owned[&page]).min().expect("not empty");
        for page in first..run.end() {
            self.owned.remove(&page);
            self.pending.insert(page, (txn, birth));
        }
        if run.pages.is_multiple_of(2) {
            let parts = (run.first.0..run.end()).map(|page| (Extent::one(PageId(page)), birth));
            self.space.release_all(run, parts).expect("the pages are owned");
        } else {
            self.space.release(run, birth).expect("the pages are owned");
        }
    }

    fn grow(&mut self, pages: u32) {
        self.free.extend(self.page_count..self.page_count + pages);
        self.page_count += pages;
        self.space.grow(self.page_count);
    }

    /// Does what the commit code does, and finds out which log pages are dropped.
    fn write_log(&mut self, txn: TxnId) {
        let needed = self.space.log_pages_needed(self.limits.tail, self.limits.page);
        let mut ids = Vec::new();
        while ids.len() < needed as usize {
            let missing = needed - u32::try_from(ids.len()).expect("small");
            match self.space.allocate_up_to(missing, ANYWHERE) {
                Some(extent) => {
                    self.took(txn, Some(extent));
                    ids.extend((extent.first.0..extent.end()).map(PageId));
                }
                None => self.grow(missing),
            }
        }
        let plan = self.space.finish(self.limits.tail, self.limits.page, &ids);
        assert_eq!(plan.pages.len(), ids.len());
        self.written = ids.len();
        for (&id, words) in ids.iter().zip(plan.pages) {
            assert!(words.len() <= self.limits.page);
            self.seals += 1;
            let previous = self.space.log_head();
            let page = OnDisk { checksum: self.seals, words, previous };
            self.disk.insert(id.0, page);
            self.space.log_page_sealed(id, self.seals);
            self.owned.remove(&id.0);
            self.log.insert(id.0, txn);
        }
        assert!(self.space.tail().len() <= self.limits.tail);
        let live = self.chain(self.space.log_head(), self.space.log_page_count());
        let live: BTreeSet<u32> = live.iter().map(|page| page.id.0).collect();
        let dropped: Vec<u32> = self.log.keys().copied().filter(|id| !live.contains(id)).collect();
        self.dropped = dropped.len();
        for page in dropped {
            let birth = self.log.remove(&page).expect("just found");
            self.pending.insert(page, (txn, birth));
        }
        assert!(live.iter().eq(self.log.keys()), "the log has pages of its own only");
    }

    /// The log pages from the newest on, read back, oldest first.
    fn chain(&self, head: Option<(PageId, u32)>, count: u32) -> Vec<LogPage> {
        let mut next = head;
        let mut pages = Vec::new();
        for _ in 0..count {
            let (id, checksum) = next.expect("the log is as long as is said");
            let page = self.disk.get(&id.0).expect("the log page is on the disk");
            assert_eq!(page.checksum, checksum, "log page {id} was written again");
            pages.push(LogPage { id, checksum, words: page.words.clone() });
            next = page.previous;
        }
        pages.reverse();
        pages
    }

    fn meta(&mut self, freed: BTreeSet<u32>) -> Meta {
        let unused = self.free.iter().copied().chain(self.pending.keys().copied());
        let unused: BTreeSet<u32> = unused.collect();
        self.snapshot_words = 4 + 2 * runs(unused).len();
        Meta {
            page_count: self.page_count,
            head: self.space.log_head(),
            log_pages: self.space.log_page_count(),
            tail: self.space.tail().to_vec(),
            owned: self.owned.keys().chain(self.log.keys()).copied().collect(),
            freed,
        }
    }

    /// The state's log, as it lies on the disk, gives its free and its pending pages.
    fn check_replay(&self, txn: TxnId, meta: &Meta) -> FreeSpace {
        let pages = self.chain(meta.head, meta.log_pages);
        let space = FreeSpace::replay(txn, meta.page_count, &pages, &meta.tail);
        let space = space.unwrap_or_else(|error| panic!("{error}: {:?}", error.detail()));
        let unused = |page: &u32| !meta.owned.contains(page) && !meta.freed.contains(page);
        let free: Vec<u32> = (META_SLOTS..meta.page_count).filter(unused).collect();
        assert_eq!(pages_of(space.iter_free()), free, "free pages of state {txn}");
        assert!(pages_of(space.iter_pending()).iter().eq(&meta.freed), "freed by {txn}");
        assert_eq!(space.log_head(), meta.head);
        assert_eq!(space.log_page_count(), meta.log_pages);
        assert_eq!(space.tail(), meta.tail);
        space
    }

    /// Opens the file again: nothing is pinned, and births are not known.
    fn reopen(&mut self) {
        let meta = &self.metas[&self.txn];
        let space = self.check_replay(self.txn, meta);
        let droppable = |space: &FreeSpace| space.chain.droppable(usize::MAX);
        assert_eq!(droppable(&space), droppable(&self.space), "the sweep goes on where it was");
        let cursor = |space: &FreeSpace| space.chain.tail.cursor.address;
        assert_eq!(cursor(&space), cursor(&self.space), "the sweep goes on where it was");
        self.space = space;
        self.pins.clear();
        self.forget();
        for birth in self.log.values_mut() {
            *birth = TxnId(0);
        }
        for (page, (freed, _)) in std::mem::take(&mut self.pending) {
            if freed == self.txn {
                self.pending.insert(page, (freed, TxnId(0)));
            } else {
                self.free.insert(page);
            }
        }
        self.compare();
    }

    /// Both say the same, and every page has one owner.
    fn compare(&self) {
        assert_eq!(self.space.page_count(), self.page_count);
        assert!(pages_of(self.space.iter_free()).iter().eq(&self.free), "free pages");
        assert!(pages_of(self.space.iter_pending()).iter().eq(self.pending.keys()), "pending");
        assert_eq!(self.space.free_pages(), self.free.len() as u64);
        assert_eq!(self.space.pending_pages(), self.pending.len() as u64);
        assert_eq!(self.space.free_extents(), runs(self.free.iter().copied()).len());
        let unowned = self.free.len() + self.pending.len();
        let all = self.owned.len() + self.log.len() + unowned + META_SLOTS as usize;
        assert_eq!(all, self.page_count as usize, "owned, free and pending pages are all");
    }
}
