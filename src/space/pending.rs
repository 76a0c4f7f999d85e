//! Pages freed but not yet reusable (part of the space codec, layer L3).
//!
//! Owns: [`Pending`]: who freed which page when, and which pinned snapshot still needs it.
//! Must not know: free pages, or the log.
//! Keeps: no-reuse-while-reachable.
//!
//! A page freed by transaction F may be used by transaction W if F + 2 <= W (both meta slots
//! keep whole states) and no pinned snapshot S has birth <= S < F. An extent waits with those
//! that the same transaction freed until they are old enough; if a snapshot needs it then, it is
//! blocked under that snapshot, and is looked at again only when that snapshot is gone.

use super::extents::{ExtentSet, span};
use crate::invariant::invariant;
use crate::page::{Extent, TxnId};
use crate::seeded::seeded;
use std::collections::{BTreeMap, VecDeque};

/// A freed extent.
#[derive(Clone, Copy, Debug)]
struct Freed {
    extent: Extent,
    /// The first state without the pages.
    freed: TxnId,
    /// The first state with them; a lower number is safe.
    birth: TxnId,
}

impl Freed {
    /// The middle one of the pinned snapshots that need the pages: so they are looked at a few
    /// times, whether these go from the first on or from the last, or by chance. `pinned` ascends.
    fn blocker(self, pinned: &[TxnId]) -> Option<TxnId> {
        let slip = u64::from(seeded!(PinnedBoundOffByOne));
        let born = pinned.partition_point(|&snapshot| snapshot.0 < self.birth.0 + slip);
        let older = pinned.partition_point(|&snapshot| snapshot < self.freed);
        let needing = pinned.get(born..older)?;
        needing.get(needing.len() / 2).copied()
    }
}

/// What one transaction freed, by address.
#[derive(Clone, Debug)]
struct Generation {
    freed: TxnId,
    extents: Vec<Freed>,
}

impl Generation {
    /// How many extents begin in front of `page` or at it.
    fn up_to(&self, page: u32) -> usize {
        // What is freed comes by address, so most look at the end.
        match self.extents.last() {
            Some(last) if last.extent.first.0 <= page => self.extents.len(),
            _ => self.extents.partition_point(|freed| freed.extent.first.0 <= page),
        }
    }

    /// The last extent that begins at `page` or before it.
    fn at_or_before(&self, page: u32) -> Option<Extent> {
        self.extents[..self.up_to(page)].last().map(|freed| freed.extent)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    pages: u64,
    /// What is not old enough, oldest first: a few transactions.
    waiting: VecDeque<Generation>,
    /// What is old enough, by address.
    blocked: BTreeMap<u32, Freed>,
    /// The same pages, neighbours melted: commits look at the next few extents.
    blocked_set: ExtentSet,
    /// First pages of blocked extents, by a snapshot that needs them.
    blockers: BTreeMap<TxnId, Vec<u32>>,
    /// The snapshots that were pinned when it was looked last, ascending.
    pinned: Vec<TxnId>,
}

impl Pending {
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// All extents, by address; not all neighbours are melted.
    #[cfg(any(test, fuzzing, feature = "sim"))]
    pub fn iter(&self) -> impl Iterator<Item = Extent> {
        self.iter_from(0)
    }

    /// The last waiting extents of each transaction that begin at `page` or before it.
    fn at_or_before(&self, page: u32) -> impl Iterator<Item = Extent> {
        self.waiting.iter().filter_map(move |waiting| waiting.at_or_before(page))
    }

    /// The parts of the extents that lie at `from` or behind it.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = Extent> {
        let cut = self.at_or_before(from).find(|extent| extent.end() > from);
        let mut waiting: Vec<&[Freed]> =
            self.waiting.iter().map(|waiting| &waiting.extents[waiting.up_to(from)..]).collect();
        let mut blocked = self.blocked_set.iter_from(from).peekable();
        let rest = std::iter::from_fn(move || {
            let heads = waiting.iter_mut().filter(|waiting| !waiting.is_empty());
            let lowest = heads.min_by_key(|waiting| waiting[0].extent);
            match (lowest, blocked.peek()) {
                (Some(lowest), other) if other.is_none_or(|&other| lowest[0].extent < other) => {
                    let (first, rest) = lowest.split_first().expect("the empty were left out");
                    *lowest = rest;
                    Some(first.extent)
                }
                _ => blocked.next(),
            }
        });
        cut.map(|extent| span(from, extent.end())).into_iter().chain(rest)
    }

    /// Whether a page of `range`, which is not empty, is pending.
    pub fn overlaps(&self, range: Extent) -> bool {
        self.at_or_before(range.end() - 1).any(|below| below.end() > range.first.0)
            || self.blocked_set.overlaps(range)
    }

    /// Adds extents, each with its birth, that lie side by side and are `extent` together. `freed`
    /// is never lower than that of an earlier call.
    pub fn insert(
        &mut self,
        extent: Extent,
        freed: TxnId,
        parts: impl Iterator<Item = (Extent, TxnId)>,
    ) {
        invariant!(PageOwnedOnce, !self.overlaps(extent), "{extent:?} is freed again");
        let last = self.generation(freed);
        let at = last.up_to(extent.first.0);
        let parts = parts.map(|(extent, birth)| Freed { extent, freed, birth });
        last.extents.splice(at..at, parts);
        self.pages += u64::from(extent.pages);
    }

    /// As [`Pending::insert`], of extents that ascend, and lie anywhere: all are put in at once.
    pub fn insert_scattered(&mut self, freed: TxnId, parts: impl Iterator<Item = (Extent, TxnId)>) {
        let parts: Vec<Freed> =
            parts.map(|(extent, birth)| Freed { extent, freed, birth }).collect();
        for Freed { extent, .. } in &parts {
            invariant!(PageOwnedOnce, !self.overlaps(*extent), "{extent:?} is freed again");
        }
        if parts.is_empty() {
            return;
        }
        self.pages += parts.iter().map(|part| u64::from(part.extent.pages)).sum::<u64>();
        let last = self.generation(freed);
        last.extents.extend(parts);
        // Two ascending runs, which this merges.
        last.extents.sort_by_key(|freed| freed.extent);
    }

    /// What a transaction, the latest, freed.
    fn generation(&mut self, freed: TxnId) -> &mut Generation {
        if self.waiting.back().is_none_or(|last| last.freed != freed) {
            self.waiting.push_back(Generation { freed, extents: Vec::new() });
        }
        self.waiting.back_mut().expect("it was added if it was missing")
    }

    /// Forgets what `txn`, the latest, freed.
    pub fn take_back(&mut self, txn: TxnId) {
        let is_last = self.waiting.back().is_some_and(|last| last.freed == txn);
        if let Some(last) = is_last.then(|| self.waiting.pop_back()).flatten() {
            let pages = last.extents.iter().map(|freed| u64::from(freed.extent.pages));
            self.pages -= pages.sum::<u64>();
        }
    }

    /// Hands out every extent that `txn` may use. `pinned` ascends.
    pub fn mature(&mut self, txn: TxnId, pinned: &[TxnId], mut reuse: impl FnMut(Extent)) {
        // Nobody else can block: one walk along both, which ascend.
        let mut rest = pinned.iter().copied().peekable();
        let mut is_gone = |&snapshot: &TxnId| {
            while rest.next_if(|&other| other < snapshot).is_some() {}
            rest.peek() != Some(&snapshot)
        };
        let mut gone = std::mem::replace(&mut self.pinned, pinned.to_vec());
        gone.retain(|snapshot| is_gone(snapshot));
        // And whether they were blocked.
        let mut ready: Vec<(Freed, bool)> = Vec::new();
        for first in gone.iter().filter_map(|gone| self.blockers.remove(gone)).flatten() {
            let freed = self.blocked.remove(&first).expect("a blocker names what is blocked");
            ready.push((freed, true));
        }
        let wait = 2 - u64::from(seeded!(ReusedOneCommitEarly));
        while let Some(oldest) = self.waiting.front()
            && txn.0.saturating_sub(oldest.freed.0) >= wait
        {
            let extents = self.waiting.pop_front().map_or(Vec::new(), |oldest| oldest.extents);
            ready.extend(extents.into_iter().map(|freed| (freed, false)));
        }
        // Neighbours are handed out together.
        ready.sort_unstable_by_key(|(freed, _)| freed.extent);
        let mut run: Option<Extent> = None;
        for (freed, was_blocked) in ready {
            let Freed { extent, .. } = freed;
            if let Some(snapshot) = freed.blocker(pinned) {
                self.blocked.insert(extent.first.0, freed);
                self.blockers.entry(snapshot).or_default().push(extent.first.0);
                if !was_blocked {
                    self.blocked_set.insert(extent);
                }
                continue;
            }
            if was_blocked {
                self.blocked_set.remove(extent);
            }
            self.pages -= u64::from(extent.pages);
            match &mut run {
                Some(run) if run.end() == extent.first.0 => run.pages += extent.pages,
                _ => run.replace(extent).into_iter().for_each(&mut reuse),
            }
        }
        run.into_iter().for_each(reuse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageId;

    /// Each commit looks at the next few extents: neighbours that a reader holds are one of them.
    #[test]
    fn what_a_snapshot_holds_is_looked_at_as_few_extents() {
        let mut pending = Pending::default();
        for page in 2..1_000 {
            let page = Extent::one(PageId(page));
            pending.insert(page, TxnId(5), std::iter::once((page, TxnId(1))));
        }
        pending.mature(TxnId(9), &[TxnId(3), TxnId(4)], |extent| panic!("{extent:?} is free"));
        assert_eq!(pending.iter_from(2).collect::<Vec<_>>(), [span(2, 1_000)]);
        assert_eq!(pending.iter_from(700).collect::<Vec<_>>(), [span(700, 1_000)]);
        pending.mature(TxnId(10), &[TxnId(3)], |extent| panic!("{extent:?} is free"));
        assert!(pending.overlaps(span(500, 501)) && !pending.overlaps(span(1_000, 1_001)));
        let mut free = Vec::new();
        pending.mature(TxnId(11), &[], |extent| free.push(extent));
        assert_eq!((free, pending.pages()), (vec![span(2, 1_000)], 0));
        assert_eq!(pending.iter_from(0).count(), 0);
    }
}
