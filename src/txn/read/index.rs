//! Read transactions: when a tree gets an index (part of txn, layer L6).
//!
//! Owns: how many lookups in a state make an index of it pay. Must not know: what an index holds.
//! Keeps: snapshot-stable (the index belongs to the state).

use super::ReadOnlyTxn;
use crate::pager::Sight;
use crate::tree::sparse::{LEVELS_SPARED, SparseIndex, Unfit};
use crate::tree::{At, PageLook};

/// Lookups of one thread in a state, at least, before an index pays, which takes some ten of
/// nanoseconds for each page.
const LOOKS_MIN: u64 = 128;
/// One more for so many entries.
const LOOKS_PART: u64 = 16;

impl<'t> ReadOnlyTxn<'t> {
    /// The index of a tree, where there is one. Who looks up much in a state makes it.
    #[inline(always)]
    pub(super) fn index(&self, root: At, pages: &Sight<'t>) -> Option<&SparseIndex> {
        // Who looks for long entries waits for these, and has hints of where they are.
        if root.expected.level < LEVELS_SPARED || pages.has_long_entries() {
            return None;
        }
        match self.state.index.get() {
            Some(index) => index.as_ref().filter(|index| index.is_of(root.child)),
            None => self.count_look(root, pages),
        }
    }

    #[inline(always)]
    fn count_look(&self, root: At, pages: &Sight<'t>) -> Option<&SparseIndex> {
        let looks = self.state.seat()?.count_look(self.state.txn.0);
        let is_early = looks < LOOKS_MIN.max(self.record.entries / LOOKS_PART);
        if is_early { None } else { self.make_index(root, pages) }
    }

    #[cold]
    #[inline(never)]
    fn make_index(&self, root: At, pages: &Sight<'t>) -> Option<&SparseIndex> {
        self.state.seat()?.forget_looks();
        let claim = self.core.pager.claim_index()?;
        // Whoever comes meanwhile does not wait.
        let index = match SparseIndex::new(root, pages, claim) {
            Err(Unfit::Now) => return None,
            made => made.ok(),
        };
        self.state.index.get_or_init(|| index).as_ref()
    }
}
