//! Pages that are set aside (part of the space codec, layer L3).
//!
//! Owns: [`Reservation`] and [`Reserved`]: pages that may be written before a commit has them.
//! Must not know: what is written there.
//! Keeps: page-owned-once (nobody else gets them), no-reuse-while-reachable (only free pages are
//! set aside, which no state of the file has).
//!
//! For the log, pages that are set aside are free: a crash leaves them so. A commit that adopts
//! them makes them its own; undone, they are set aside again. They are free again when their
//! reservation was dropped, whoever held it last.

use super::FreeSpace;
use super::extents::{ExtentSet, FreeSet, Placement, span};
use crate::format::PAGE_COUNT_MAX;
use crate::invariant::invariant;
use crate::page::{Extent, PageId};
use crate::seeded::seeded;
use crate::sync::{Arc, Mutex};
use std::collections::BTreeMap;

/// Pages that nobody else gets as long as this lives, or, from then on for good, if a commit that
/// adopted them has become durable.
#[derive(Debug)]
pub(crate) struct Reservation {
    extent: Extent,
    /// No other has it, so that an end that is told late is not taken for another's.
    number: u64,
    dropped: Arc<Mutex<Vec<(Extent, u64)>>>,
}

impl Reservation {
    /// The pages.
    pub fn extent(&self) -> Extent {
        self.extent
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !seeded!(DroppedEarlyRunLeaks) {
            self.dropped.lock().push((self.extent, self.number));
        }
    }
}

/// The pages that are set aside, and not part of a commit under way.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    numbers: BTreeMap<Extent, u64>,
    set: ExtentSet,
    next: u64,
    /// The pages of the file: from here on nothing else is known to be free.
    page_count: u32,
    /// What is not set aside behind the file, in front of others that are.
    gaps: FreeSet,
    /// Reservations that were dropped, and were not looked at since.
    dropped: Arc<Mutex<Vec<(Extent, u64)>>>,
}

impl Reserved {
    pub fn new(page_count: u32) -> Reserved {
        let (dropped, gaps) = (Arc::new(Mutex::new(Vec::new())), FreeSet::default());
        let (numbers, set) = (BTreeMap::new(), ExtentSet::default());
        Reserved { numbers, set, next: 0, page_count, gaps, dropped }
    }

    /// The file has another number of pages.
    pub fn set_page_count(&mut self, page_count: u32) {
        let before = std::mem::replace(&mut self.page_count, page_count);
        let (from, to) = (before.min(page_count), before.max(page_count).min(self.end()));
        let gaps = if from < to { self.gaps(from, to) } else { Vec::new() };
        for gap in gaps {
            if page_count < before {
                self.gaps.insert(gap);
            } else {
                self.gaps.remove(gap);
            }
        }
    }

    /// The page behind the last one of the file, or behind the last that is set aside.
    fn edge(&self) -> u32 {
        self.page_count.max(self.end())
    }

    /// The page behind the last that is set aside.
    fn end(&self) -> u32 {
        self.set.last().map_or(0, Extent::end)
    }

    /// How many ends were told, and not looked at.
    #[cfg(test)]
    pub fn dropped(&self) -> usize {
        self.dropped.lock().len()
    }

    /// What is set aside behind the file and what is not are known twice, and agree.
    #[cfg(test)]
    pub fn agree(&self) -> bool {
        let edge = self.edge();
        let gaps =
            if edge > self.page_count { self.gaps(self.page_count, edge) } else { Vec::new() };
        gaps.into_iter().eq(self.gaps.set().iter())
    }

    fn add(&mut self, extent: Extent) -> Reservation {
        let number = self.next;
        self.next += 1;
        self.put(extent, number);
        Reservation { extent, number, dropped: Arc::clone(&self.dropped) }
    }

    /// Sets pages aside under a number.
    pub fn put(&mut self, extent: Extent, number: u64) {
        let edge = self.edge();
        if let Some(gap) = within(edge, extent.first.0) {
            self.gaps.insert(gap);
        }
        if let Some(inside) = within(extent.first.0.max(self.page_count), extent.end().min(edge)) {
            self.gaps.remove(inside);
        }
        self.set.insert(extent);
        self.numbers.insert(extent, number);
    }

    fn take(&mut self, extent: Extent) -> Option<u64> {
        let number = self.numbers.remove(&extent)?;
        self.set.remove(extent);
        let edge = self.edge();
        if let Some(gap) = within(extent.first.0.max(self.page_count), extent.end().min(edge)) {
            self.gaps.insert(gap);
        }
        if let Some(last) = self.gaps.set().last().filter(|last| last.end() > edge) {
            self.gaps.remove(last);
        }
        Some(number)
    }

    pub fn overlaps(&self, range: Extent) -> bool {
        self.set.overlaps(range)
    }

    /// The parts of `from..to` that are set aside, by address.
    pub fn iter(&self, from: u32, to: u32) -> impl Iterator<Item = Extent> {
        let parts = self.set.iter_from(from).take_while(move |part| part.first.0 < to);
        parts.map(move |part| span(part.first.0, part.end().min(to)))
    }

    /// The parts of `from..to` that are not set aside.
    pub fn gaps(&self, from: u32, to: u32) -> Vec<Extent> {
        let (mut gaps, mut at) = (Vec::new(), from);
        for part in
            self.iter(from, to).chain(std::iter::once(Extent { first: PageId(to), pages: 0 }))
        {
            if part.first.0 > at {
                gaps.push(span(at, part.first.0));
            }
            at = part.end();
        }
        gaps
    }
}

/// The pages from one to another, if there are any.
fn within(from: u32, to: u32) -> Option<Extent> {
    (from < to).then(|| span(from, to))
}

impl FreeSpace {
    /// The file has another number of pages.
    pub(super) fn set_page_count(&mut self, page_count: u32) {
        self.page_count = page_count;
        self.reserved.set_page_count(page_count);
    }

    /// What an undone commit had adopted is set aside again, and free if nobody wants it any more.
    pub(super) fn give_up(
        &mut self,
        adopted: impl Iterator<Item = (Extent, u64)>,
        dropped: Vec<(Extent, u64)>,
    ) {
        for (extent, number) in adopted {
            self.free.remove(extent);
            self.reserved.put(extent, number);
        }
        self.reserved.dropped.lock().extend(dropped);
    }

    /// Sets pages aside that lie side by side: free ones, or such that the file does not have yet.
    /// `None` where ids run out.
    pub fn reserve(&mut self, pages: u32) -> Option<Reservation> {
        self.take_dropped();
        if seeded!(EarlyRunInPendingPages) {
            self.pending.mature(self.txn.next(), &[], |extent| self.free.insert(extent));
        }
        let found = self.free.find(pages, Placement::BestFit);
        let found = found.or_else(|| self.gap_behind_the_file(pages)).or_else(|| {
            let is_blind = seeded!(SecondEarlyRunOverlapsTheFirst);
            let edge = if is_blind { self.page_count } else { self.edge() };
            let first = edge - self.tail_free();
            (pages <= PAGE_COUNT_MAX - first).then_some(Extent { first: PageId(first), pages })
        })?;
        if let Some(inside) = self.inside(found) {
            self.free.remove(inside);
        }
        Some(self.reserved.add(found))
    }

    /// Pages behind the end of the file, in front of others that are set aside there: where a value
    /// is put again and again, one goes when the next is there, and only the end would move on.
    fn gap_behind_the_file(&self, pages: u32) -> Option<Extent> {
        self.reserved.gaps.find(pages, Placement::Below(PageId(u32::MAX)))
    }

    /// Sets pages aside that lie side by side in front of a limit, all of them free.
    pub fn reserve_below(&mut self, pages: u32, limit: PageId) -> Option<Reservation> {
        self.take_dropped();
        let found = self.free.find(pages, Placement::Below(limit))?;
        self.free.remove(found);
        Some(self.reserved.add(found))
    }

    /// Frees the pages of reservations that were dropped.
    pub fn take_dropped(&mut self) {
        let dropped = std::mem::take(&mut *self.reserved.dropped.lock());
        for (extent, number) in dropped {
            if let Some(commit) = &mut self.commit
                && commit.adopted.get(&extent) == Some(&number)
            {
                // The commit may still be undone.
                commit.dropped.push((extent, number));
            } else if self.reserved.numbers.get(&extent) == Some(&number) {
                self.reserved.take(extent);
                if let Some(inside) = self.inside(extent) {
                    self.free.insert(inside);
                }
            }
        }
    }

    /// Lets the commit under way have pages that are set aside. The file grows to their end.
    pub fn adopt(&mut self, all: impl Iterator<Item = Extent> + Clone) {
        let end = all.clone().map(Extent::end).max();
        if let Some(end) = end.filter(|&end| end > self.page_count) {
            self.grow(end);
        }
        for extent in all {
            let number = self.reserved.take(extent);
            invariant!(PageOwnedOnce, number.is_some(), "{extent:?} is not set aside");
            let commit = self.open_commit();
            commit.allocated.insert(extent);
            commit.adopted.extend(number.map(|number| (extent, number)));
        }
    }

    /// Pages of the file that are set aside.
    pub fn pages_aside(&self) -> u64 {
        self.reserved.iter(0, self.page_count).map(|part| u64::from(part.pages)).sum()
    }

    /// The page behind the last one of the file, or behind the last that is set aside.
    pub fn edge(&self) -> u32 {
        self.reserved.edge()
    }

    /// The part of an extent that lies in the file.
    fn inside(&self, extent: Extent) -> Option<Extent> {
        let end = extent.end().min(self.page_count);
        (end > extent.first.0).then(|| span(extent.first.0, end))
    }
}
