//! Sets of pages kept as extents (part of the space codec, layer L3).
//!
//! Owns: [`ExtentSet`], coalesced and ordered by address; [`FreeSet`], which finds a fit too.
//! Must not know: why a page is in a set, or what the log says.
//! Keeps: page-owned-once (a page that is in a set is never added to it again).

use crate::invariant::invariant;
use crate::page::{Extent, PageId};
use crate::seeded::seeded;
use std::collections::{BTreeMap, BTreeSet};

/// Which extent an allocation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The smallest that fits; the lowest address among equals.
    BestFit,
    /// The lowest address that fits and ends at this page or before.
    Below(PageId),
}

/// The extent `from..to`, which is not empty.
pub(super) fn span(from: u32, to: u32) -> Extent {
    Extent { first: PageId(from), pages: to - from }
}

/// A set of pages. Extents that touch are one.
#[derive(Clone, Debug, Default)]
pub(super) struct ExtentSet {
    by_address: BTreeMap<u32, u32>,
    pages: u64,
}

impl ExtentSet {
    /// The set of these extents, which ascend and do not touch.
    pub fn from_extents(extents: Vec<Extent>) -> ExtentSet {
        let pages = extents.iter().map(|extent| u64::from(extent.pages)).sum();
        let by_address = extents.into_iter().map(|extent| (extent.first.0, extent.pages)).collect();
        ExtentSet { by_address, pages }
    }

    /// How many extents.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// How many pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    pub fn iter(&self) -> impl Iterator<Item = Extent> {
        self.by_address.iter().map(|(&first, &pages)| Extent { first: PageId(first), pages })
    }

    /// The last extent.
    pub fn last(&self) -> Option<Extent> {
        let (&first, &pages) = self.by_address.last_key_value()?;
        Some(Extent { first: PageId(first), pages })
    }

    /// The last extent that begins at `page` or before it.
    fn at_or_before(&self, page: u32) -> Option<Extent> {
        let (&first, &pages) = self.by_address.range(..=page).next_back()?;
        Some(Extent { first: PageId(first), pages })
    }

    /// The parts of the extents that lie at `from` or behind it.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = Extent> {
        let cut = self.at_or_before(from).filter(|extent| extent.end() > from);
        let rest =
            self.by_address.range((std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded));
        cut.map(|extent| span(from, extent.end()))
            .into_iter()
            .chain(rest.map(|(&first, &pages)| Extent { first: PageId(first), pages }))
    }

    /// Whether a page of `range`, which is not empty, is in the set.
    pub fn overlaps(&self, range: Extent) -> bool {
        self.at_or_before(range.end() - 1).is_some_and(|below| below.end() > range.first.0)
    }

    /// Adds pages that are not in the set. Returns the neighbours that `extent` melts with.
    pub fn insert(&mut self, extent: Extent) -> [Option<Extent>; 2] {
        // One search finds both neighbours, and the one in front grows where it is.
        let mut below = self.by_address.range_mut(..=extent.end());
        let mut last = below.next_back();
        let mut after = None;
        if let Some((first, pages)) = &last
            && **first == extent.end()
        {
            after = Some(Extent { first: PageId(**first), pages: **pages });
            last = below.next_back();
        }
        let end = after.map_or(extent.end(), Extent::end);
        let gap = u32::from(seeded!(ExtentsMergedOverAGap));
        let mut before = None;
        if let Some((&first, pages)) = last {
            let below = Extent { first: PageId(first), pages: *pages };
            let is_new = below.end() <= extent.first.0;
            invariant!(PageOwnedOnce, is_new, "{extent:?} is added again");
            if below.end() + gap >= extent.first.0 {
                *pages = end - first;
                before = Some(below);
            }
        }
        if after.is_some() {
            self.by_address.remove(&extent.end());
        }
        if before.is_none() {
            self.by_address.insert(extent.first.0, end - extent.first.0);
        }
        self.pages += u64::from(extent.pages);
        [before, after]
    }

    /// Takes out those of the pages that are there.
    pub fn subtract(&mut self, range: Extent) {
        loop {
            let part = self.iter_from(range.first.0).next();
            let Some(part) = part.filter(|part| part.first.0 < range.end()) else { return };
            self.remove(span(part.first.0, part.end().min(range.end())));
        }
    }

    /// Takes out pages that lie in one extent of the set. Returns that extent as it was.
    pub fn remove(&mut self, extent: Extent) -> Extent {
        // Most begin where an extent does.
        let whole = match self.by_address.get(&extent.first.0) {
            Some(&pages) => Some(Extent { first: extent.first, pages }),
            None => self.at_or_before(extent.first.0),
        };
        let whole = whole.filter(|whole| whole.end() >= extent.end());
        invariant!(PageOwnedOnce, whole.is_some(), "{extent:?} is not in the set");
        let whole = whole.expect("checked above");
        self.by_address.remove(&whole.first.0);
        if whole.first < extent.first {
            self.by_address.insert(whole.first.0, extent.first.0 - whole.first.0);
        }
        if extent.end() < whole.end() {
            self.by_address.insert(extent.end(), whole.end() - extent.end());
        }
        self.pages -= u64::from(extent.pages);
        whole
    }
}

/// The free pages: a set with an index by size.
#[derive(Clone, Debug, Default)]
pub(super) struct FreeSet {
    set: ExtentSet,
    by_size: BTreeSet<(u32, u32)>,
}

impl FreeSet {
    /// Indexes a set.
    pub fn from_set(set: ExtentSet) -> FreeSet {
        let by_size = set.iter().map(|extent| (extent.pages, extent.first.0)).collect();
        FreeSet { set, by_size }
    }

    /// The set itself.
    pub fn set(&self) -> &ExtentSet {
        &self.set
    }

    /// Adds pages that are not free.
    pub fn insert(&mut self, extent: Extent) {
        let [before, after] = self.set.insert(extent);
        let mut merged = extent;
        if let Some(before) = before {
            self.by_size.remove(&(before.pages, before.first.0));
            merged = span(before.first.0, merged.end());
        }
        if let Some(after) = after {
            self.by_size.remove(&(after.pages, after.first.0));
            merged = span(merged.first.0, after.end());
        }
        self.by_size.insert((merged.pages, merged.first.0));
    }

    /// Takes out pages that are free and lie side by side.
    pub fn remove(&mut self, extent: Extent) {
        let whole = self.set.remove(extent);
        self.by_size.remove(&(whole.pages, whole.first.0));
        if whole.first < extent.first {
            self.by_size.insert((extent.first.0 - whole.first.0, whole.first.0));
        }
        if extent.end() < whole.end() {
            self.by_size.insert((whole.end() - extent.end(), extent.end()));
        }
    }

    /// The pages of this many extents, the largest.
    pub fn pages_in_largest(&self, extents: u32) -> u64 {
        let largest = self.by_size.iter().rev().take(extents as usize);
        largest.map(|&(pages, _)| u64::from(pages)).sum()
    }

    /// Free pages of this number, side by side.
    pub fn find(&self, pages: u32, placement: Placement) -> Option<Extent> {
        let first = match placement {
            Placement::BestFit => self.by_size.range((pages, 0)..).next().map(|&(_, first)| first),
            Placement::Below(limit) => self.lowest(pages, limit.0.saturating_sub(pages)),
        };
        first.map(|first| Extent { first: PageId(first), pages })
    }

    /// The lowest of the extents of at least so many pages that begin at `last` or before it. Walks
    /// over all by address, and at once over the lowest of each length: as far as the shorter way.
    fn lowest(&self, pages: u32, last: u32) -> Option<u32> {
        let (mut length, mut lowest) = (pages, None);
        for extent in self.set.iter().take_while(|extent| extent.first.0 <= last) {
            if extent.pages >= pages {
                return Some(extent.first.0);
            }
            let large = self.by_size.range((length, 0)..).next();
            let Some(&(found, first)) = large else { return lowest };
            if first <= last && lowest.is_none_or(|lowest| first < lowest) {
                lowest = Some(first);
            }
            let Some(longer) = found.checked_add(1) else { return lowest };
            length = longer;
        }
        None
    }

    /// Free pages of this number at most, side by side: the last of the largest extents, or the
    /// lowest extent. From the end, so that single pages, which come from the front, do not sit
    /// down between longer pieces.
    pub fn find_up_to(&self, pages: u32, placement: Placement) -> Option<Extent> {
        let (extent, room) = match placement {
            Placement::BestFit => {
                let &(largest, first) = self.by_size.last()?;
                if largest >= pages {
                    return self.find(pages, placement);
                }
                (Extent { first: PageId(first), pages: largest }, largest)
            }
            Placement::Below(limit) => {
                let lowest = self.set.iter().next().filter(|lowest| lowest.first < limit)?;
                (lowest, limit.0 - lowest.first.0)
            }
        };
        Some(Extent { first: extent.first, pages: pages.min(extent.pages).min(room) })
    }
}
