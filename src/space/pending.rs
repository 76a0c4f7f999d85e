//! Pages freed but not yet reusable (part of the space codec, layer L3).
//!
//! Owns: [`Pending`]: who freed which page when, and which pinned snapshot still needs it.
//! Must not know: free pages, or the log.
//! Keeps: no-reuse-while-reachable.
//!
//! A page freed by transaction F may be used by transaction W if F + 2 <= W (both meta slots
//! keep whole states) and no pinned snapshot S has birth <= S < F. An extent waits in `queue`
//! until it is old enough; if a snapshot needs it then, it waits in `blocked` under that
//! snapshot, and is looked at again only when that snapshot is gone.

use super::extents::span;
use crate::invariant::invariant;
use crate::page::{Extent, PageId, TxnId};
use crate::seeded::seeded;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, Debug)]
struct Freed {
    pages: u32,
    /// The first state without the pages.
    freed: TxnId,
    /// The first state with them; a lower number is safe.
    birth: TxnId,
}

impl Freed {
    /// A pinned snapshot that needs the pages. `pinned` ascends.
    fn blocker(self, pinned: &[TxnId]) -> Option<TxnId> {
        let slip = u64::from(seeded!(PinnedBoundOffByOne));
        let at = pinned.partition_point(|&snapshot| snapshot.0 < self.birth.0 + slip);
        pinned.get(at).copied().filter(|&snapshot| snapshot < self.freed)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    by_address: BTreeMap<u32, Freed>,
    pages: u64,
    /// First pages of extents, in the order in which they were freed.
    queue: VecDeque<u32>,
    /// First pages of extents that are old enough, by a snapshot that needs them.
    blocked: BTreeMap<TxnId, Vec<u32>>,
}

impl Pending {
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// All extents, by address; neighbours are not merged.
    #[cfg(any(test, fuzzing, feature = "sim"))]
    pub fn iter(&self) -> impl Iterator<Item = Extent> {
        self.by_address.iter().map(|(&first, f)| Extent { first: PageId(first), pages: f.pages })
    }

    /// The last extent that begins at `page` or before it.
    fn at_or_before(&self, page: u32) -> Option<Extent> {
        let (&first, freed) = self.by_address.range(..=page).next_back()?;
        Some(Extent { first: PageId(first), pages: freed.pages })
    }

    /// The parts of the extents that lie at `from` or behind it.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = Extent> {
        let cut = self.at_or_before(from).filter(|extent| extent.end() > from);
        let rest =
            self.by_address.range((std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded));
        cut.map(|extent| span(from, extent.end()))
            .into_iter()
            .chain(rest.map(|(&first, f)| Extent { first: PageId(first), pages: f.pages }))
    }

    /// Whether a page of `range`, which is not empty, is pending.
    pub fn overlaps(&self, range: Extent) -> bool {
        self.at_or_before(range.end() - 1).is_some_and(|below| below.end() > range.first.0)
    }

    /// Adds an extent. `freed` is never lower than that of an earlier call.
    pub fn insert(&mut self, extent: Extent, freed: TxnId, birth: TxnId) {
        invariant!(PageOwnedOnce, !self.overlaps(extent), "{extent:?} is freed again");
        self.by_address.insert(extent.first.0, Freed { pages: extent.pages, freed, birth });
        self.pages += u64::from(extent.pages);
        self.queue.push_back(extent.first.0);
    }

    /// Forgets what `txn`, the latest, freed.
    pub fn take_back(&mut self, txn: TxnId) {
        while let Some(first) = self.queue.back().copied() {
            if self.by_address[&first].freed != txn {
                break;
            }
            self.queue.pop_back();
            self.take(first);
        }
    }

    /// Hands out every extent that `txn` may use. `pinned` ascends.
    pub fn mature(&mut self, txn: TxnId, pinned: &[TxnId], mut reuse: impl FnMut(Extent)) {
        let gone = |snapshot: &TxnId| pinned.binary_search(snapshot).is_err();
        let gone: Vec<TxnId> = self.blocked.keys().copied().filter(gone).collect();
        let mut ready: Vec<u32> =
            gone.iter().filter_map(|snapshot| self.blocked.remove(snapshot)).flatten().collect();
        while let Some(first) = self.queue.front().copied() {
            let wait = 2 - u64::from(seeded!(ReusedOneCommitEarly));
            if txn.0.saturating_sub(self.by_address[&first].freed.0) < wait {
                break;
            }
            self.queue.pop_front();
            ready.push(first);
        }
        // Neighbours are handed out together.
        ready.sort_unstable();
        let mut run: Option<Extent> = None;
        for first in ready {
            let blocker =
                if pinned.is_empty() { None } else { self.by_address[&first].blocker(pinned) };
            if let Some(snapshot) = blocker {
                self.blocked.entry(snapshot).or_default().push(first);
                continue;
            }
            let extent = self.take(first);
            match &mut run {
                Some(run) if run.end() == first => run.pages += extent.pages,
                _ => run.replace(extent).into_iter().for_each(&mut reuse),
            }
        }
        run.into_iter().for_each(reuse);
    }

    fn take(&mut self, first: u32) -> Extent {
        let freed = self.by_address.remove(&first).expect("an index names only what is pending");
        self.pages -= u64::from(freed.pages);
        Extent { first: PageId(first), pages: freed.pages }
    }
}
