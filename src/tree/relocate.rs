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
use std::collections::BTreeSet;

/// What is to be moved, and what was.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    /// Pages from here on are moved.
    pub(crate) limit: PageId,
    /// How many more pages may be moved.
    pub(crate) budget: u32,
    /// The free extents in front of the limit, in pages: an overflow run needs one to itself.
    pub(crate) holes: Vec<u32>,
    /// Whether overflow runs are moved too.
    pub(crate) moves_runs: bool,
    /// Values of so many bytes are not read: they are copied when all that moves is known.
    pub(crate) copied_bytes_min: usize,
    /// Pages that were made dirty because they lie behind the limit.
    pub(crate) moved: u32,
    /// Pages that lie behind the limit and stay.
    pub(crate) remaining: u32,
    /// The sealed branches met so far.
    branches: BTreeSet<PageId>,
}

impl Move {
    /// Moves up to `budget` pages from `limit` on, and no overflow runs of several pages.
    pub(crate) fn new(limit: PageId, budget: u32) -> Move {
        let (holes, branches) = (Vec::new(), BTreeSet::new());
        let copied_bytes_min = usize::MAX;
        Move {
            limit,
            budget,
            holes,
            moves_runs: true,
            copied_bytes_min,
            moved: 0,
            remaining: 0,
            branches,
        }
    }

    fn takes(&mut self, extent: Extent) -> bool {
        if extent.end() <= self.limit.0 {
            return false;
        }
        let hole = self.holes.iter_mut().find(|hole| **hole >= extent.pages);
        let fits = extent.pages == 1 || hole.is_some();
        // A long run moves alone, or it would never.
        if !fits || extent.pages > self.budget && (self.moved > 0 || self.budget == 0) {
            self.remaining = self.remaining.saturating_add(extent.pages);
            return false;
        }
        if let Some(hole) = hole {
            *hole -= extent.pages;
        }
        self.budget = self.budget.saturating_sub(extent.pages);
        self.moved += extent.pages;
        true
    }
}

impl Tree {
    /// Makes dirty what lies behind the limit, as far as the budget goes.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn relocate(&mut self, edit: &mut Edit<'_>, goal: &mut Move) -> Result<()> {
        let with_runs = goal.moves_runs && self.overflow_pages > 0;
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
        for at in 0..dirty.kids().len() {
            if let Some(kid) = &mut dirty.kids_mut()[at] {
                self.relocate_dirty(kid, with_runs, goal)?;
                continue;
            }
            let expected = Expected { level: dirty.node().level() - 1, txn_max: self.base };
            let child = dirty.node().child(at);
            dirty.kids_mut()[at] = self.relocate_sealed(child, expected, with_runs, goal)?;
        }
        if dirty.node().is_leaf() && with_runs {
            self.relocate_runs(dirty, goal)?;
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
        if expected.level == 0 && !with_runs && !moves {
            return Ok(None);
        }
        if expected.level > 0 {
            check_once(&mut goal.branches, child.id)?;
        }
        let page = self.pages.read_node(child, expected)?;
        let mut dirty = Dirty::copy_of(&page);
        let is_changed = if expected.level == 0 {
            with_runs && self.relocate_runs(&mut dirty, goal)?
        } else {
            self.relocate_children(&mut dirty, &page, with_runs, goal)?
        };
        if !moves && !is_changed {
            return Ok(None);
        }
        self.free_page(&page);
        Ok(Some(dirty))
    }

    fn relocate_children(
        &mut self,
        dirty: &mut Dirty,
        page: &Page,
        with_runs: bool,
        goal: &mut Move,
    ) -> Result<bool> {
        let node = Node::new(page.bytes());
        let below = Expected { level: node.level() - 1, txn_max: page.txn() };
        let mut is_changed = false;
        for at in 0..node.children() {
            let kid = self.relocate_sealed(node.child(at), below, with_runs, goal)?;
            is_changed |= kid.is_some();
            dirty.kids_mut()[at] = kid;
        }
        Ok(is_changed)
    }

    /// Takes the runs of a leaf that are to be moved from their places, so that they get new ones.
    fn relocate_runs(&mut self, leaf: &mut Dirty, goal: &mut Move) -> Result<bool> {
        let page_size = self.pages.page_size();
        let mut is_changed = false;
        for at in 0..leaf.node().count() {
            let Value::Overflow(run) = leaf.node().value(at) else { continue };
            let extent = run.extent(page_size);
            if goal.takes(extent) {
                let is_copied = run.len as usize >= goal.copied_bytes_min;
                let value = if is_copied { Large::Moving(run) } else { self.read_large(run)? };
                self.unplace(leaf, at, run, value);
                is_changed = true;
            }
        }
        Ok(is_changed)
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
