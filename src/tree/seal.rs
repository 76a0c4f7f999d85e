//! Trees: sealing, bottom up (layer L4).
//!
//! Owns: turning the dirty pages of a tree into sealed ones at given places.
//! Must not know: how places are chosen, or files.
//! Keeps: parent-holds-checksum (a child is sealed before its parent), committed-pages-immutable.

use super::{Dirty, EarlyRun, Large, PageRead, Root, Tree};
use crate::arena::{Lines, prefetch_bytes};
use crate::format::HEADER_ID;
use crate::invariant::invariant;
use crate::node::{Encoded, NodeMut, Run, Value, run_pages};
use crate::page::{ChildRef, Extent, Page, PageId, RunHash, TxnId, get_u32};
use crate::seeded::seeded;
use crate::sync::Arc;

/// What the dirty part of a tree will take when it is sealed.
#[derive(Clone, Debug, Default)]
pub(crate) struct SealedSize {
    /// Tree pages of each level, leaves first.
    pub(crate) levels: Vec<u32>,
    /// Pages of each overflow run, in the order in which they will be asked for.
    pub(crate) runs: Vec<u32>,
    /// Values that have their pages already.
    pub(crate) early: Vec<Arc<EarlyRun>>,
}

impl SealedSize {
    /// Tree pages.
    pub(crate) fn nodes(&self) -> u32 {
        self.levels.iter().sum()
    }
}

/// Adds what the dirty part of a tree will take.
pub(crate) fn sealed_size(tree: &Tree, page_size: usize, size: &mut SealedSize) {
    if let Root::Dirty(dirty) = &tree.root {
        count(dirty, page_size, size);
    }
}

fn count(dirty: &Dirty, page_size: usize, size: &mut SealedSize) {
    for kid in dirty.kids().iter().flatten() {
        count(kid, page_size, size);
    }
    for (_, len, handle) in unplaced(dirty) {
        match dirty.value(handle) {
            Large::Here(_) | Large::Moving(_) => size.runs.push(run_pages(len, page_size)),
            Large::Early(early) => size.early.push(Arc::clone(early)),
        }
    }
    let level = usize::from(dirty.level());
    if size.levels.len() <= level {
        size.levels.resize(level + 1, 0);
    }
    size.levels[level] += 1;
}

/// The slots, lengths and handles of a leaf's values without pages.
fn unplaced(dirty: &Dirty) -> impl Iterator<Item = (usize, u32, u64)> + '_ {
    let count = if dirty.values().is_empty() { 0 } else { dirty.node().count() };
    (0..count).filter_map(move |at| match dirty.node().value(at) {
        Value::Unplaced { len, handle } => Some((at, len, handle)),
        _ => None,
    })
}

/// A large value that got its pages.
#[derive(Clone, Debug)]
pub(crate) struct PlacedRun {
    pub(crate) extent: Extent,
    pub(crate) checksum: u32,
    /// The value, without the zeros behind it.
    pub(crate) value: Arc<[u8]>,
}

/// Seals trees into pages at given places.
pub(crate) struct Sealer<'a> {
    txn: TxnId,
    store: &'a dyn PageRead,
    nodes: &'a [PageId],
    /// How many places of each level's lie in front of its next.
    taken: Vec<usize>,
    runs: &'a mut dyn Iterator<Item = Extent>,
    /// The sealed pages, children first.
    pub(crate) pages: Vec<Page>,
    /// The placed values.
    pub(crate) placed: Vec<PlacedRun>,
}

impl<'a> Sealer<'a> {
    /// A sealer that takes places from `nodes`, leaves first, and from `runs`, as many as
    /// [`sealed_size`] said.
    pub(crate) fn new(
        txn: TxnId,
        size: &SealedSize,
        store: &'a dyn PageRead,
        nodes: &'a [PageId],
        runs: &'a mut dyn Iterator<Item = Extent>,
    ) -> Sealer<'a> {
        let mut before = 0;
        let first = |&count: &u32| {
            let first = before;
            before += count as usize;
            first
        };
        let taken = size.levels.iter().map(first).collect();
        let pages = Vec::with_capacity(nodes.len());
        Sealer { txn, store, nodes, taken, runs, pages, placed: Vec::new() }
    }

    /// Seals the dirty part of a tree.
    pub(crate) fn seal(&mut self, tree: &mut Tree) {
        if let Root::Dirty(dirty) = std::mem::replace(&mut tree.root, Root::Empty) {
            let level = dirty.level();
            tree.root = Root::Clean(self.seal_node(dirty), level);
            tree.txn = self.txn;
        } else {
            unreachable!("only a dirty tree is sealed")
        }
    }

    fn seal_node(&mut self, mut dirty: Dirty) -> ChildRef {
        // A cursor may still hold the page; then it is copied.
        let kids = dirty.take_kids().into_iter().enumerate();
        let mut kids = kids.filter_map(|(at, kid)| Some((at, kid?))).peekable();
        while let Some((at, kid)) = kids.next() {
            if let Some((_, next)) = kids.peek() {
                self.prefetch(next);
            }
            let mut child = self.seal_node(kid);
            if seeded!(ParentSealedBeforeChild) {
                child.checksum = dirty.node().child(at).checksum;
            }
            NodeMut::new(&mut dirty.bytes).set_child(at, child);
        }
        if dirty.level() > 0 {
            NodeMut::new(&mut dirty.bytes).lengthen_prefix();
        }
        self.place_values(&mut dirty);
        let taken = &mut self.taken[usize::from(dirty.level())];
        let id = *self.nodes.get(*taken).expect("a place for every dirty page was asked for");
        *taken += 1;
        let was = get_u32(dirty.bytes.source(), HEADER_ID);
        let id = if seeded!(SealedWhereItWas, was != 0) { PageId(was) } else { id };
        let page = self.store.seal(dirty.bytes, id, self.txn);
        let child = page.child_ref();
        self.pages.push(page);
        child
    }

    /// Asks for a page and its place, before the page in front of it is sealed.
    fn prefetch(&self, next: &Dirty) {
        prefetch_bytes(next.bytes.source(), usize::MAX);
        let place = self.taken[usize::from(next.level())] + 1;
        let lines = self.nodes.get(place).and_then(|&id| self.store.lines(id));
        lines.into_iter().for_each(Lines::ask);
    }

    fn place_values(&mut self, leaf: &mut Dirty) {
        let page_size = self.store.page_size();
        let values: Vec<_> = unplaced(leaf).collect();
        for (at, len, handle) in values {
            let run = match leaf.value(handle) {
                Large::Early(early) => early.run,
                Large::Moving(_) => unreachable!("a compaction copies what it moves"),
                Large::Here(value) => {
                    let value = Arc::clone(value);
                    let extent = self.runs.next().expect("a place for every value was asked for");
                    invariant!(PageOwnedOnce, extent.pages == run_pages(len, page_size));
                    let checksum = padded_checksum(extent, &value, page_size);
                    self.placed.push(PlacedRun { extent, checksum, value });
                    Run { len, first: extent.first, checksum }
                }
            };
            let encoded = Encoded::new(Value::Overflow(run));
            NodeMut::new(&mut leaf.bytes).retag_payload(at, encoded.payload());
        }
    }
}

/// The checksum of a value's run, the zeros behind the value included.
fn padded_checksum(extent: Extent, value: &[u8], page_size: usize) -> u32 {
    let padding = extent.pages as usize * page_size - value.len();
    let zeros = vec![0; if seeded!(RunChecksumWithoutPadding) { 0 } else { padding }];
    let mut hash = RunHash::new(extent.first);
    hash.update(value);
    hash.update(&zeros);
    hash.checksum()
}
