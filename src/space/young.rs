//! Pages that are younger than the oldest state that is read (part of the space codec, layer L3).
//!
//! Owns: [`Young`], a lower bound of the birth of pages whose own is not known: no page says when
//! a value in pages of its own was put, nor a branch when the leaves below it were written.
//! Must not know: who frees them, or when they are used again.
//! Keeps: no-reuse-while-reachable.

use super::extents::ExtentSet;
use crate::page::{Extent, TxnId};
use crate::seeded::seeded;

/// Pages in use that commits allocated while one state was the oldest that is read, from the
/// second commit on. So nothing is written down where readers come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Young {
    oldest: Option<TxnId>,
    is_same: bool,
    pages: ExtentSet,
}

impl Young {
    /// A commit begins; of the states that are read, this is the oldest.
    pub fn begin(&mut self, oldest: Option<TxnId>) {
        self.is_same = oldest.is_some() && oldest == self.oldest;
        if !self.is_same && !seeded!(YoungPagesOutliveTheirReader) {
            self.pages = ExtentSet::default();
        }
        self.oldest = oldest;
    }

    /// The first state that has the pages, where `birth` does not say so: a lower number is safe.
    pub fn birth(&self, extent: Extent, birth: TxnId) -> TxnId {
        let Some(oldest) = self.oldest.filter(|_| birth == TxnId(0)) else { return birth };
        let whole = self.pages.iter_from(extent.first.0).next();
        let is_young = whole.is_some_and(|e| e.first == extent.first && e.end() >= extent.end());
        if is_young { oldest.next() } else { birth }
    }

    /// The commit is durable. What it `adopted` of its pages had been written before: whoever has
    /// read them since then has the state in which the transaction began, which is older.
    pub fn installed<'a>(
        &mut self,
        allocated: &ExtentSet,
        adopted: impl Iterator<Item = &'a Extent>,
        freed: &ExtentSet,
    ) {
        if self.is_same {
            for extent in allocated.iter() {
                self.pages.insert(extent);
            }
            for extent in adopted.filter(|_| !seeded!(AdoptedPagesAreYoung)) {
                self.pages.subtract(*extent);
            }
        }
        if !self.pages.is_empty() {
            freed.iter().for_each(|extent| self.pages.subtract(extent));
        }
    }
}
