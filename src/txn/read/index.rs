//! Read transactions: when a tree gets an index (part of txn, layer L6).
//!
//! Owns: how many lookups in a state make an index of it pay. Must not know: what an index holds.
//! Keeps: snapshot-stable (the index belongs to the state).

use super::ReadOnlyTxn;
use crate::pager::Sight;
use crate::slots::LOOKS_PER_ROUND;
use crate::tree::sparse::{LEVELS_SPARED, SparseIndex, Unfit};
use crate::tree::{At, PageLook};

/// Lookups of one thread in a state, for so many entries one, before an index pays. It takes some
/// ten nanoseconds for each page, which has a hundred entries, and saves as much of a lookup.
const ENTRIES_PER_LOOK: u64 = 16;
/// Lookups in a state, for so large a tree as there is: of one with more leaves than an index may
/// have, the pages are branches.
const LOOKS_MAX: u64 = 1 << 16;

impl<'t> ReadOnlyTxn<'t> {
    /// The index of a tree, where there is one. Who looks up much in a state makes it.
    #[inline(always)]
    pub(super) fn index(&self, root: At, pages: &Sight<'t>) -> Option<&SparseIndex> {
        // Who looks for long entries waits for these, and has hints of where they are.
        if root.expected.level < LEVELS_SPARED || pages.has_long_entries() {
            return None;
        }
        match self.state.index.get() {
            Some(index) => index.as_ref().filter(|index| index.is_of(root)),
            None if self.state.seat()?.count_look() => self.make_index(pages),
            None => None,
        }
    }

    /// Makes the index of a tree, if so many looked something up there that it pays.
    #[cold]
    #[inline(never)]
    fn make_index(&self, pages: &Sight<'t>) -> Option<&SparseIndex> {
        let seat = self.state.seat()?;
        let looks = seat.count_round(self.state.txn.0) * u64::from(LOOKS_PER_ROUND);
        if looks < (self.record.entries / ENTRIES_PER_LOOK).min(LOOKS_MAX) {
            return None;
        }
        seat.forget_rounds();
        let claim = self.core.pager.claim_index()?;
        // Whoever comes meanwhile does not wait.
        let index = match SparseIndex::new(self.root()?, pages, claim) {
            Err(Unfit::Now) => return None,
            made => made.ok(),
        };
        self.state.index.get_or_init(|| index).as_ref()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::options::Options;

    /// What the tests of lookups rely on: with a cache for all pages, and with one for branches.
    #[test]
    fn many_lookups_in_one_state_make_an_index() {
        for (entries, cache_bytes) in [(2_000_u32, 16 << 20), (60_000, 250 * 512)] {
            let options = Options::new().page_size(512).cache_bytes(cache_bytes);
            let db = options.open_in_memory().unwrap();
            let key = |n: u32| n.to_be_bytes();
            db.exec("b", |txn| (0..entries).try_for_each(|n| txn.put(key(n), key(n)))).unwrap();
            let snapshot = db.snapshot();
            // Scattered at last, so that branches are what stays at hand.
            let scattered = (0..entries).map(|n| n * 79 % entries);
            snapshot
                .view("b", |txn| {
                    (0..entries).chain(scattered).try_for_each(|n| {
                        assert_eq!(txn.get(key(n))?, key(n));
                        Ok(())
                    })
                })
                .unwrap();
            let state = snapshot.core().readers.newest();
            assert!(matches!(state.index.get(), Some(Some(_))), "{entries} entries");
        }
    }
}
