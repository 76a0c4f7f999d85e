//! Trees: moving pages away from the end of the file (layer L4).
//!
//! Owns: making dirty what lies behind a limit, with its ancestors; the commit gives new places.
//! Must not know: which places. Keeps: parent-holds-checksum (ancestors are written anew too).

use super::release::check_once;
use super::{Dirty, Edit, Expected, Large, Root, Tree};
use crate::error::Result;
use crate::node::{Encoded, Node, NodeMut, Run, Value};
use crate::page::{ChildRef, Extent, Page, PageId, TxnId};
use crate::seeded::seeded;
use crate::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be moved, and what was.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    /// Pages from here on are moved.
    pub(crate) limit: PageId,
    /// The walk goes on at the node to which this key belongs; at the first, if it is empty.
    pub(crate) from: Vec<u8>,
    /// How many more pages may be moved.
    budget: u32,
    /// How many more nodes may be looked at: it also ends a walk over pages that form no tree.
    looks: u32,
    /// The free extents in front of the limit, in pages: an overflow run needs one to itself.
    pub(crate) holes: Vec<u32>,
    /// Where holes of so many pages were found last.
    searched: BTreeMap<u32, usize>,
    /// Overflow runs of more pages stay where they are.
    pub(crate) run_pages_max: u32,
    /// Values of so many bytes are not read: they are copied when all that moves is known.
    pub(crate) copied_bytes_min: usize,
    /// Pages that were made dirty because they lie behind the limit.
    pub(crate) moved: u32,
    /// Pages of overflow runs that lie behind the limit and found no hole.
    pub(crate) left: u32,
    /// The pages of the shortest of these runs: no hole has as many any more.
    pub(crate) shortest_left: Option<u32>,
    /// The sealed branches met so far.
    branches: BTreeSet<PageId>,
}

impl Move {
    /// Moves up to `budget` pages from `limit` on, and no overflow runs of several pages. Looks at
    /// so many nodes at most.
    pub(crate) fn new(limit: PageId, budget: u32, looks: u32) -> Move {
        Move {
            limit,
            from: Vec::new(),
            budget,
            looks,
            holes: Vec::new(),
            searched: BTreeMap::new(),
            run_pages_max: u32::MAX,
            copied_bytes_min: usize::MAX,
            moved: 0,
            left: 0,
            shortest_left: None,
            branches: BTreeSet::new(),
        }
    }

    /// Whether the walk is over, and has to go on another time.
    pub(crate) fn is_spent(&self) -> bool {
        self.budget == 0 || self.looks == 0
    }

    fn look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// The first hole of at least so many pages. Holes become no longer: in front of where as many
    /// were found last, or fewer, there is none.
    fn hole(&mut self, pages: u32) -> Option<usize> {
        let from = self.searched.range(..=pages).map(|(_, &at)| at).max().unwrap_or(0);
        let found = (from..self.holes.len()).find(|&at| self.holes[at] >= pages);
        self.searched.insert(pages, found.unwrap_or(self.holes.len()));
        found
    }

    /// Whether a run lies behind the limit, and is not too long.
    fn wants(&self, run: Extent) -> bool {
        run.end() > self.limit.0 && run.pages <= self.run_pages_max
    }

    fn takes(&mut self, extent: Extent) -> bool {
        if extent.end() <= self.limit.0 || self.is_spent() {
            return false;
        }
        let is_sought = self.shortest_left.is_none_or(|shortest| extent.pages < shortest);
        let hole = if is_sought { self.hole(extent.pages) } else { None };
        if extent.pages > 1 && hole.is_none() {
            self.left = self.left.saturating_add(extent.pages);
            let shortest = self.shortest_left.map_or(extent.pages, |left| left.min(extent.pages));
            self.shortest_left = Some(shortest);
            return false;
        }
        // A long run moves alone, or it would never.
        if extent.pages > self.budget && self.moved > 0 {
            self.budget = 0;
            return false;
        }
        if let Some(hole) = hole {
            self.holes[hole] -= extent.pages;
        }
        self.budget = self.budget.saturating_sub(extent.pages);
        self.moved += extent.pages;
        true
    }
}

impl Tree {
    /// Makes dirty what lies behind the limit, from `goal.from` on, as far as the budget goes.
    /// Where that is spent, `goal.from` says where to go on.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn relocate(&mut self, edit: &mut Edit<'_>, goal: &mut Move) -> Result<()> {
        goal.look();
        let with_runs = goal.run_pages_max > 0 && self.overflow_pages > 0;
        match &mut self.root {
            Root::Empty => Ok(()),
            Root::Dirty(dirty) => edit.relocate_dirty(dirty, with_runs, goal),
            Root::Clean(child, level) => {
                let expected = Expected { level: *level, txn_max: self.txn };
                if let Some(dirty) = edit.relocate_sealed(*child, expected, with_runs, goal)? {
                    self.root = Root::Dirty(dirty);
                }
                Ok(())
            }
        }
    }
}

impl Edit<'_> {
    fn relocate_dirty(
        &mut self,
        dirty: &mut Dirty,
        with_runs: bool,
        goal: &mut Move,
    ) -> Result<()> {
        goal.look();
        if dirty.level() == 0 {
            return if with_runs { self.relocate_runs(dirty, goal) } else { Ok(()) };
        }
        for at in dirty.node().child_for(&goal.from)..dirty.kids().len() {
            enter(dirty.node(), at, goal);
            if let Some(kid) = &mut dirty.kids_mut()[at] {
                self.relocate_dirty(kid, with_runs, goal)?;
            } else {
                let expected = Expected { level: dirty.node().level() - 1, txn_max: self.base };
                let child = dirty.node().child(at);
                dirty.kids_mut()[at] = self.relocate_sealed(child, expected, with_runs, goal)?;
            }
            if goal.is_spent() {
                leave(dirty.node(), at, goal);
                break;
            }
        }
        Ok(())
    }

    /// A dirty copy of a sealed page, if it or something below it is to be moved.
    fn relocate_sealed(
        &mut self,
        child: ChildRef,
        expected: Expected,
        with_runs: bool,
        goal: &mut Move,
    ) -> Result<Option<Dirty>> {
        let moves = goal.takes(Extent::one(child.id));
        if !moves && (goal.is_spent() || expected.level == 0 && !with_runs) {
            return Ok(None);
        }
        goal.look();
        if expected.level > 0 {
            check_once(&mut goal.branches, child.id)?;
        }
        let page = self.pages.read_node(child, expected)?;
        let mut dirty = moves.then(|| Dirty::copy_of(&page));
        if expected.level > 0 {
            self.relocate_children(&mut dirty, &page, with_runs, goal)?;
        } else if with_runs && self.has_run_to_move(&page, goal) {
            let taken = goal.moved;
            let mut leaf = dirty.take().unwrap_or_else(|| Dirty::copy_of(&page));
            self.relocate_runs(&mut leaf, goal)?;
            dirty = (moves || goal.moved > taken).then_some(leaf);
        }
        if dirty.is_some() {
            self.free_page(&page);
        }
        Ok(dirty)
    }

    /// Makes children of a sealed branch dirty, and with the first of them the branch.
    fn relocate_children(
        &mut self,
        dirty: &mut Option<Dirty>,
        page: &Page,
        with_runs: bool,
        goal: &mut Move,
    ) -> Result<()> {
        let node = Node::new(page.bytes());
        let below = Expected { level: node.level() - 1, txn_max: page.txn() };
        for at in node.child_for(&goal.from)..node.children() {
            enter(node, at, goal);
            if let Some(kid) = self.relocate_sealed(node.child(at), below, with_runs, goal)? {
                let dirty = dirty.get_or_insert_with(|| Dirty::copy_of(page));
                dirty.kids_mut()[at] = Some(kid);
            }
            if goal.is_spent() {
                leave(node, at, goal);
                break;
            }
        }
        Ok(())
    }

    /// Whether a leaf refers to a run that ends behind the limit, and may be moved.
    fn has_run_to_move(&self, leaf: &Page, goal: &Move) -> bool {
        let (node, page_size) = (Node::new(leaf.bytes()), self.pages.page_size());
        (0..node.count()).any(|at| match node.value(at) {
            Value::Overflow(run) => goal.wants(run.extent(page_size)),
            Value::Inline(_) | Value::Unplaced { .. } => false,
        })
    }

    /// Takes the runs of a leaf that are to be moved from their places, so that they get new ones.
    fn relocate_runs(&mut self, leaf: &mut Dirty, goal: &mut Move) -> Result<()> {
        let page_size = self.pages.page_size();
        for at in 0..leaf.node().count() {
            let Value::Overflow(run) = leaf.node().value(at) else { continue };
            let extent = run.extent(page_size);
            if goal.wants(extent) && goal.takes(extent) {
                let is_copied = run.len as usize >= goal.copied_bytes_min;
                let value = if is_copied { Large::Moving(run) } else { self.read_large(run)? };
                self.unplace(leaf, at, run, value);
            }
        }
        Ok(())
    }

    fn read_large(&self, run: Run) -> Result<Large> {
        let mut value = Vec::new();
        self.pages.read_run(run, &mut value)?;
        Ok(Large::Here(Arc::from(value)))
    }

    fn unplace(&mut self, leaf: &mut Dirty, at: usize, run: Run, value: Large) {
        let handle = *self.next_handle;
        *self.next_handle += 1;
        leaf.values_mut().push((handle, value));
        let encoded = Encoded::new(Value::Unplaced { len: run.len, handle });
        NodeMut::new(&mut leaf.bytes).retag_payload(at, encoded.payload());
        if seeded!(CompactionLosesRun) {
            return;
        }
        let extent = run.extent(self.pages.page_size());
        self.freed.push(super::Freed { extent, birth: TxnId(0) });
    }
}

/// The walk comes to child `at` of a branch. Below a branch above leaves nobody takes note of the
/// place, so that it is told when the walk ends there: to build each leaf's bound takes its time.
fn enter(branch: Node<'_>, at: usize, goal: &mut Move) {
    if branch.level() > 1 {
        note_bound(branch, at, goal);
    }
}

/// The walk ends at child `at` of a branch, or below it.
fn leave(branch: Node<'_>, at: usize, goal: &mut Move) {
    if branch.level() == 1 {
        note_bound(branch, at, goal);
    }
}

/// The walk is at child `at`. In front of the first one the place was told above.
fn note_bound(branch: Node<'_>, at: usize, goal: &mut Move) {
    if at > branch.child_for(&goal.from) {
        goal.from = branch.key(at - 1);
    }
}
