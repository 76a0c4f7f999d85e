//! Pages of overflow runs (part of cache, layer L3).
//!
//! Owns: how such a page is found, by its own id and the checksum of the whole run; and how often
//! a run puts others out. Must not know: which runs are short enough to be kept.
//! Keeps: cache-coherent (a run's pages come here only after all of it had its checksum),
//! cells-disjoint (they are marked, as their structure is not checked).

use super::{Cache, Look, RUN_BIT, tag_of};
use crate::arena::Peeked;
use crate::page::{ChildRef, PageId};
use crate::seeded::seeded;
use crate::sync::Ordering;

/// Where others have to make room, one run of so many is kept: one that is asked for often comes to
/// it soon, and those of which most will not be asked for again cost little.
const KEPT_IN_TURN: u32 = 8;

/// A page of a run: its id, and the run's checksum.
fn page_of(first: ChildRef, at: u32) -> ChildRef {
    ChildRef { id: PageId(first.id.0 + at), ..first }
}

fn run_tag_of(page: ChildRef) -> u64 {
    if seeded!(RunTakenForNode) { tag_of(page) } else { tag_of(page) | RUN_BIT }
}

impl Cache {
    /// Keeps the pages of a run, which has its checksum, if it is its turn. `first` is its first
    /// page.
    pub(crate) fn insert_run(&self, first: ChildRef, pages: &[u8], page_size: usize) {
        let wanted = pages.len() / page_size + self.batch() as usize;
        if self.frames.lock().empties.len() < wanted
            && !self.turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(KEPT_IN_TURN)
        {
            return;
        }
        let pages = (0..).zip(pages.chunks_exact(page_size));
        let tagged = pages.map(|(at, page)| (run_tag_of(page_of(first, at)), page));
        self.insert_tagged(&tagged.collect::<Vec<_>>());
    }
}

impl<'a> Look<'a> {
    /// A page of a run, if it is here.
    #[inline]
    pub(crate) fn peek_run(&self, page: ChildRef) -> Option<Peeked<'_, 'a>> {
        self.peek_tagged(self.home(page.id), page.id, run_tag_of(page))
    }

    /// Appends the first `len` bytes of a run to `out`, if all of its pages are here.
    pub(crate) fn copy_run(&self, first: ChildRef, len: usize, out: &mut Vec<u8>) -> bool {
        let (from, end) = (out.len(), out.len() + len);
        for at in 0.. {
            let Some(page) = self.peek_run(page_of(first, at)) else { break };
            // Not before the first page is there, as there are those that never are.
            if out.try_reserve_exact(end - out.len()).is_err() {
                // Whoever reads the run from the file says so.
                break;
            }
            let wanted = page.bytes.len().min(end - out.len());
            out.extend_from_slice(&page.bytes[..wanted]);
            if out.len() == end {
                return true;
            }
        }
        out.truncate(from);
        false
    }
}
