//! A tree with all that a store would do around it: transactions, savepoints, cursors, snapshots,
//! places given out and taken back.
//!
//! Attack: page-owned-once (each page is freed once, and none is lost), no-reuse-while-reachable
//! (in the form that a freed page is never read), snapshot-stable, entry-count.

use super::store::Store;
use super::walk::{Found, Model, walk};
use crate::error::{Error, Result};
use crate::node::tests::anatomy::dissect;
use crate::node::tests::keys::Rng;
use crate::page::{Extent, Page, PageId, TxnId};
use crate::tree::{Cursor, Edit, Freed, Move, SealedSize, Sealer, Tree, sealed_size};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A tree, its twin, and the pages around them.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) tree: Tree,
    pub(super) model: Model,
    /// Whether each change is followed by a look at it, which builds what is planned.
    pub(super) looks: bool,
    /// What the last sealed tree owns.
    base_pages: BTreeSet<PageId>,
    base: (Tree, Model),
    freed: Vec<Freed>,
    next_handle: u64,
    entered: u64,
    txn: TxnId,
    /// Places that nothing reads any more.
    free: Vec<Extent>,
    /// Whether free places are given out again, or all places are new.
    pub(super) reuse: bool,
    /// Freed by the transaction, while a cursor or snapshot of an older state may live.
    pending: Vec<(TxnId, Extent)>,
    savepoints: Vec<(Tree, Model, usize)>,
    snapshots: Vec<(Tree, Model)>,
    cursors: Vec<OpenCursor>,
}

/// A cursor, and what it must show.
struct OpenCursor {
    cursor: Cursor,
    entries: Vec<(Vec<u8>, Rc<[u8]>)>,
    /// The number of the entry behind the position; none before the first step.
    at: Option<usize>,
    pin: TxnId,
}

impl World {
    pub(super) fn new(page_size: usize) -> World {
        World {
            store: Store::new(page_size),
            tree: Tree::empty(),
            model: Model::new(),
            looks: true,
            base_pages: BTreeSet::new(),
            base: (Tree::empty(), Model::new()),
            freed: Vec::new(),
            next_handle: 0,
            entered: 0,
            txn: TxnId(0),
            free: Vec::new(),
            reuse: true,
            pending: Vec::new(),
            savepoints: Vec::new(),
            snapshots: Vec::new(),
            cursors: Vec::new(),
        }
    }

    /// Runs a change of the tree.
    pub(super) fn edit<R>(&mut self, change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> R) -> R {
        let mut edit = Edit {
            pages: &self.store,
            freed: &mut self.freed,
            next_handle: &mut self.next_handle,
            entered: &mut self.entered,
            base: self.txn,
        };
        change(&mut self.tree, &mut edit)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.edit(|tree, edit| tree.put(edit, key, value)).expect("nothing fails here");
        self.model.insert(key.to_vec(), Rc::from(value));
        assert_eq!(self.tree.entries, self.model.len() as u64);
        self.look(key);
    }

    pub(super) fn del(&mut self, key: &[u8]) {
        let before = self.freed.len();
        let done = self.edit(|tree, edit| tree.del(edit, key));
        let expected: Result<()> = match self.model.remove(key) {
            Some(_) => Ok(()),
            None => Err(Error::NotFound),
        };
        assert_eq!(done, expected, "removal of {key:?}");
        assert!(done.is_ok() || before == self.freed.len(), "a failed removal frees nothing");
        assert_eq!(self.tree.entries, self.model.len() as u64);
        self.look(key);
    }

    /// Removes so many entries from a key on, those of one leaf at a time.
    pub(super) fn delete_range(&mut self, from: &[u8], count: usize) {
        let keys = self.model.range(from.to_vec()..).take(count + 1);
        let mut keys: Vec<Vec<u8>> = keys.map(|(key, _)| key.clone()).collect();
        let to = if keys.len() > count { keys.pop() } else { None };
        let mut left = keys.as_slice();
        while let Some(first) = left.first() {
            let removed = self.edit(|tree, edit| tree.del_run(edit, first, to.as_deref()));
            let removed = usize::try_from(removed.expect("nothing fails here")).expect("few");
            assert!(removed > 0, "the first of them is there");
            for key in &left[..removed] {
                self.model.remove(key);
            }
            left = &left[removed..];
        }
        assert_eq!(self.tree.entries, self.model.len() as u64);
    }

    fn look(&self, key: &[u8]) {
        if self.looks {
            self.get(key);
        }
    }

    pub(super) fn get(&self, key: &[u8]) {
        let wanted = self.model.get(key).map(|value| value.to_vec());
        assert_eq!(self.tree.get(&self.store, key), wanted.ok_or(Error::NotFound), "{key:?}");
    }

    pub(super) fn contains(&self, key: &[u8]) {
        let found = self.tree.contains(&self.store, key);
        assert_eq!(found, Ok(self.model.contains_key(key)), "{key:?}");
    }

    pub(super) fn clear(&mut self) {
        self.edit(Tree::clear).expect("nothing fails here");
        self.model.clear();
        self.check();
    }

    /// Makes dirty what lies behind some page, part by part.
    pub(super) fn relocate(&mut self, rng: &mut Rng) {
        let end = usize::try_from(self.store.end).expect("the file is small");
        let limit = PageId(u32::try_from(rng.below(end)).expect("it is below a u32"));
        let budget = *rng.pick(&[1, 5, u32::MAX]);
        // A part comes down to a leaf, at least.
        let looks = *rng.pick(&[40, u32::MAX]);
        let mut holes = vec![3; rng.below(3)];
        let longest = holes.first().map_or(1, |_| 3);
        let behind = |found: &Found| found.pages.range(limit..).count() as u64;
        let before = self.check();
        let (mut from, mut moved, mut left, mut parts) = (Vec::new(), 0, 0, 0);
        loop {
            let mut goal = Move::new(limit, budget, looks);
            (goal.from, goal.holes) = (from, holes);
            self.edit(|tree, edit| tree.relocate(edit, &mut goal)).expect("nothing fails here");
            assert!(goal.moved <= budget.max(longest), "no more than the budget, or a run alone");
            (moved, left, parts) = (moved + goal.moved, left + goal.left, parts + 1);
            assert!(parts <= 10 + 2 * before.pages.len(), "it does not come to an end: {goal:?}");
            if !goal.is_spent() {
                break;
            }
            (from, holes) = (goal.from, goal.holes);
        }
        let after = self.check();
        assert!(after.pages.is_subset(&before.pages), "relocation only makes pages dirty");
        let context = format!("limit {limit}, budget {budget}, {parts} parts");
        assert!(behind(&after) <= u64::from(left), "{left} left, {context}");
        assert!(behind(&before) <= u64::from(moved + left), "{moved} and {left}, {context}");
        if self.tree.overflow_pages == 0 {
            assert_eq!((behind(&after), left), (0, 0), "{context}");
            let front = before.pages.difference(&after.pages).take_while(|id| **id < limit);
            let is_branch = |id: &PageId| self.store.pages[id].level() > 0;
            assert!(front.clone().all(is_branch), "a leaf in front of the limit was moved");
        }
    }

    /// Walks the whole tree.
    pub(super) fn check(&self) -> Found {
        walk(&self.store, &self.tree, &self.model)
    }

    pub(super) fn save(&mut self) {
        self.savepoints.push((self.tree.clone(), self.model.clone(), self.freed.len()));
    }

    /// Goes back to a savepoint, and forgets the ones made after it.
    pub(super) fn restore(&mut self, number: usize) {
        if self.savepoints.is_empty() {
            return;
        }
        self.savepoints.truncate(number % self.savepoints.len() + 1);
        let (tree, model, freed) = self.savepoints.pop().expect("one is left");
        (self.tree, self.model) = (tree, model);
        self.freed.truncate(freed);
        self.check();
    }

    /// Goes back to the latest savepoint.
    pub(super) fn restore_latest(&mut self) {
        self.restore(self.savepoints.len() - 1);
    }

    /// Throws the transaction away.
    pub(super) fn roll_back(&mut self) {
        (self.tree, self.model) = self.base.clone();
        self.freed.clear();
        self.savepoints.clear();
        self.check();
    }

    fn take_place(&mut self, rng: &mut Rng, pages: u32) -> Extent {
        let found = self.free.iter().rposition(|extent| extent.pages == pages);
        match found.filter(|_| self.reuse && rng.percent(80)) {
            Some(at) => self.free.swap_remove(at),
            None => self.store.grow(pages),
        }
    }

    /// Seals the tree, and checks that every page is either kept, new, or freed once.
    pub(super) fn seal(&mut self, rng: &mut Rng) -> Found {
        let new = self.seal_alone(rng);
        let found = self.check();
        self.account(&found, &new);
        self.base_pages.clone_from(&found.pages);
        self.base = (self.tree.clone(), self.model.clone());
        self.release();
        found
    }

    /// Seals the tree without a look at the whole of it, which would take quadratic time. There
    /// is no rolling back to this state.
    pub(super) fn seal_unchecked(&mut self, rng: &mut Rng) {
        let new = self.seal_alone(rng);
        self.base_pages.extend(new);
        for freed in std::mem::take(&mut self.freed) {
            for page in pages_of(freed.extent) {
                assert!(self.base_pages.remove(&page), "page {page} is freed twice");
            }
            self.pending.push((self.txn, freed.extent));
        }
        self.release();
    }

    /// Seals the tree. Returns the pages that it got.
    fn seal_alone(&mut self, rng: &mut Rng) -> BTreeSet<PageId> {
        let txn = self.txn.next();
        let mut size = SealedSize::default();
        sealed_size(&self.tree, self.store.page_size, &mut size);
        assert_eq!(size.nodes() > 0, self.tree.is_dirty());
        let runs: Vec<Extent> = size.runs.iter().map(|n| self.take_place(rng, *n)).collect();
        let nodes: Vec<PageId> = (0..size.nodes()).map(|_| self.take_place(rng, 1).first).collect();
        if self.tree.is_dirty() {
            let mut runs = runs.iter().copied();
            let mut sealer = Sealer::new(txn, &size, &self.store, &nodes, &mut runs);
            sealer.seal(&mut self.tree);
            let (pages, placed) = (sealer.pages, sealer.placed);
            let nodes_sealed = pages.len();
            for page in pages {
                assert_eq!(page.txn(), txn);
                dissect(&without_seal(page.bytes()));
                self.store.add(page);
            }
            for placed in &placed {
                self.store.add_run(placed);
            }
            assert_eq!((nodes_sealed, runs.next()), (nodes.len(), None), "all places are used");
        }
        self.txn = txn;
        self.savepoints.clear();
        let mut new: BTreeSet<PageId> = nodes.into_iter().collect();
        new.extend(runs.iter().flat_map(|run| pages_of(*run)));
        new
    }

    /// Checks the list of freed pages against the two trees.
    fn account(&mut self, found: &Found, new: &BTreeSet<PageId>) {
        let mut gone = BTreeSet::new();
        for freed in self.freed.drain(..) {
            let page = self.store.pages.get(&freed.extent.first);
            let birth = page.map_or(TxnId(0), Page::txn);
            assert!(freed.birth == TxnId(0) || freed.birth == birth, "{freed:?}");
            for page in pages_of(freed.extent) {
                assert!(gone.insert(page), "page {page} is freed twice");
            }
            self.pending.push((self.txn, freed.extent));
        }
        let kept: BTreeSet<PageId> = found.pages.difference(new).copied().collect();
        assert!(new.is_subset(&found.pages), "a new page is not reachable");
        assert!(kept.is_disjoint(&gone), "a page in use was freed");
        let accounted: BTreeSet<PageId> = kept.union(&gone).copied().collect();
        assert_eq!(accounted, self.base_pages, "the old tree's pages are kept or freed");
    }

    /// Drops the freed pages that no cursor and no snapshot can reach.
    fn release(&mut self) {
        let cursors = self.cursors.iter().map(|open| open.pin);
        let snapshots = self.snapshots.iter().map(|(tree, _)| tree.txn);
        let oldest = cursors.chain(snapshots).min().unwrap_or(self.txn);
        for (txn, extent) in std::mem::take(&mut self.pending) {
            if txn > oldest {
                self.pending.push((txn, extent));
                continue;
            }
            self.store.drop_extent(extent);
            if extent.first.0.is_multiple_of(2) {
                self.free.push(extent);
            } else {
                self.free.extend(pages_of(extent).map(Extent::one));
            }
        }
    }

    pub(super) fn snapshot(&mut self) {
        let (mut tree, model) = self.base.clone();
        // A tree that no transaction changed since is as old as its root.
        tree.txn = self.txn;
        self.snapshots.push((tree, model));
    }

    pub(super) fn close_snapshot(&mut self, number: usize) {
        if !self.snapshots.is_empty() {
            let (tree, model) = self.snapshots.swap_remove(number % self.snapshots.len());
            walk(&self.store, &tree, &model);
            self.release();
        }
    }

    pub(super) fn open_cursor(&mut self) {
        let entries = self.model.iter().map(|(key, value)| (key.clone(), Rc::clone(value)));
        let (cursor, entries) = (Cursor::new(self.tree.clone()), entries.collect());
        self.cursors.push(OpenCursor { cursor, entries, at: None, pin: self.txn });
    }

    pub(super) fn close_cursor(&mut self, number: usize) {
        if !self.cursors.is_empty() {
            let open = self.cursors.swap_remove(number % self.cursors.len());
            assert_eq!(open.cursor.error(), None);
            self.release();
        }
    }

    pub(super) fn cursors(&self) -> usize {
        self.cursors.len()
    }

    pub(super) fn snapshots(&self) -> usize {
        self.snapshots.len()
    }

    /// Moves a cursor a few times.
    pub(super) fn use_cursor(&mut self, rng: &mut Rng, key: &[u8]) {
        if self.cursors.is_empty() {
            return;
        }
        let at = rng.below(self.cursors.len());
        let open = &mut self.cursors[at];
        match rng.below(4) {
            0 => open.seek(&self.store, key),
            1 => (0..rng.below(40)).for_each(|_| open.previous(&self.store)),
            _ => (0..rng.below(40)).for_each(|_| open.next(&self.store)),
        }
        if rng.percent(50) {
            open.previous(&self.store);
            open.next(&self.store);
        }
    }
}

fn pages_of(extent: Extent) -> impl Iterator<Item = PageId> {
    (extent.first.0..extent.end()).map(PageId)
}

/// A sealed page as it was before it was sealed.
fn without_seal(page: &[u8]) -> Vec<u8> {
    let mut bytes = page.to_vec();
    bytes[..16].fill(0);
    bytes
}

impl OpenCursor {
    fn seek(&mut self, store: &Store, key: &[u8]) {
        self.cursor.seek(store, key).expect("nothing fails here");
        self.at = Some(self.entries.partition_point(|(held, _)| held.as_slice() < key));
    }

    fn next(&mut self, store: &Store) {
        let at = self.at.unwrap_or(0);
        let (mut key, mut value) = (b"old".to_vec(), b"old".to_vec());
        let more = self.cursor.next(store, &mut key, &mut value).expect("nothing fails here");
        assert_eq!(more, at < self.entries.len(), "next at {at}");
        if more {
            assert_eq!((&key, &*value), (&self.entries[at].0, &*self.entries[at].1));
        }
        self.at = Some(at + usize::from(more));
    }

    fn previous(&mut self, store: &Store) {
        let at = self.at.unwrap_or(self.entries.len());
        let (mut key, mut value) = (b"old".to_vec(), b"old".to_vec());
        let more = self.cursor.previous(store, &mut key, &mut value).expect("nothing fails here");
        assert_eq!(more, at > 0, "previous at {at}");
        if more {
            assert_eq!((&key, &*value), (&self.entries[at - 1].0, &*self.entries[at - 1].1));
        }
        self.at = Some(at - usize::from(more));
    }
}
