//! Trees: filling nodes up (layer L4).
//!
//! Owns: the walk over a tree, from left to right, that fills each node from its right neighbour
//! and merges away what that empties, in parts of a bounded size.
//! Must not know: files, or when a part is committed.
//! Keeps: separators-bound-children (the separator between two moves with their entries),
//! uniform-depth, page-owned-once.

use super::remove::{bytes_of, is_bounding};
use super::share::replace_separator;
use super::{Dirty, Edit, Expected, Held, Root, Tree};
use crate::buffer::Buffer;
use crate::error::Result;
use crate::node::{Filled, NodeMut, fill_left};
use crate::page::ChildRef;
use crate::seeded::seeded;

/// A node is full from this part of its page on. Where entries are small, the rest is room for
/// some more, so that the next insertions do not split each leaf.
const FULL_FROM: (usize, usize) = (24, 25);

/// How far a tree has been filled up, and how far it may be in this part of the walk.
#[derive(Clone, Debug)]
pub(crate) struct Repack {
    /// The walk goes on at the node to which this key belongs; at the first, if it is empty.
    pub(crate) from: Vec<u8>,
    /// How many more pages may be written.
    budget: u32,
    /// How many more nodes may be looked at: it also ends a walk over pages that form no tree.
    looks: u32,
    /// Pages that will be written, but for branches above them.
    pub(crate) written: u32,
    /// Pages that were emptied.
    pub(crate) united: u32,
    root_level: u8,
}

impl Repack {
    /// A part of a walk from `from` on.
    pub(crate) fn new(from: Vec<u8>, budget: u32, looks: u32) -> Repack {
        Repack { from, budget, looks, written: 0, united: 0, root_level: 0 }
    }

    /// Whether this part of the walk is over.
    pub(crate) fn is_spent(&self) -> bool {
        self.budget == 0 || self.looks == 0
    }

    fn write(&mut self, pages: u32) {
        self.budget = self.budget.saturating_sub(pages);
        self.written += pages;
    }
}

/// What became of a node and its right neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The left one is full.
    Kept,
    /// The left one was filled.
    Moved,
    /// The left one holds all.
    United,
    /// The left one could hold all, but its parent would have no other child.
    Lonely,
}

impl Tree {
    /// Fills nodes up, as far as the budget goes. Returns whether anything changed.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn repack(&mut self, edit: &mut Edit<'_>, goal: &mut Repack) -> Result<bool> {
        goal.looks = goal.looks.saturating_sub(1);
        let is_changed = match &mut self.root {
            Root::Empty => false,
            Root::Dirty(dirty) => {
                goal.root_level = dirty.node().level();
                edit.repack_below(dirty, goal)?
            }
            Root::Clean(child, level) => {
                goal.root_level = *level;
                let expected = Expected { level: *level, txn_max: self.txn };
                let root = edit.repack_sealed(*child, expected, goal)?;
                let is_changed = root.is_some();
                if let Some(root) = root {
                    self.root = Root::Dirty(root);
                }
                is_changed
            }
        };
        self.collapse_root();
        Ok(is_changed)
    }
}

impl Edit<'_> {
    /// A dirty copy of a sealed node, if something below it was filled up.
    fn repack_sealed(
        &mut self,
        child: ChildRef,
        expected: Expected,
        goal: &mut Repack,
    ) -> Result<Option<Dirty>> {
        if expected.level == 0 {
            return Ok(None);
        }
        goal.looks = goal.looks.saturating_sub(1);
        let page = self.pages.read_node(child, expected)?;
        let mut dirty = Dirty::copy_of(&page);
        if !self.repack_below(&mut dirty, goal)? {
            return Ok(None);
        }
        self.free_page(&page);
        Ok(Some(dirty))
    }

    /// Fills the children of a node up, each with all below it before the next.
    fn repack_below(&mut self, node: &mut Dirty, goal: &mut Repack) -> Result<bool> {
        if node.node().is_leaf() {
            return Ok(false);
        }
        let level = node.node().level();
        let mut at = node.node().child_for(&goal.from);
        let mut is_changed = false;
        loop {
            if level > 1 {
                is_changed |= self.repack_child(node, at, goal)?;
            }
            if goal.is_spent() || at == node.node().count() {
                return Ok(is_changed);
            }
            let mut step = self.fill_pair(node, at, goal)?;
            if step == Step::Kept && level == 2 {
                step = self.fill_across(node, at, goal)?;
            }
            is_changed |= matches!(step, Step::Moved | Step::United);
            match step {
                // The parent gets more children first, if there are any.
                Step::Lonely => return Ok(is_changed),
                Step::United => {}
                // What came into a branch is filled up too.
                Step::Moved if level > 1 => {}
                Step::Moved | Step::Kept => {
                    goal.from = node.node().key(at);
                    at += 1;
                }
            }
        }
    }

    fn repack_child(&mut self, node: &mut Dirty, at: usize, goal: &mut Repack) -> Result<bool> {
        if let Some(kid) = &mut node.kids_mut()[at] {
            return self.repack_below(kid, goal);
        }
        let expected = Expected { level: node.node().level() - 1, txn_max: self.base };
        let child = node.node().child(at);
        let kid = self.repack_sealed(child, expected, goal)?;
        let is_changed = kid.is_some();
        node.kids_mut()[at] = kid;
        Ok(is_changed)
    }

    /// Fills child `left_at` from the one on its right.
    fn fill_pair(&mut self, parent: &mut Dirty, left_at: usize, goal: &mut Repack) -> Result<Step> {
        goal.looks = goal.looks.saturating_sub(1);
        let separator = parent.node().key(left_at);
        let left = parent.child(self.pages, left_at, self.base)?;
        let right = parent.child(self.pages, left_at + 1, self.base)?;
        if !is_bounding(left.node(), &separator, right.node()) {
            return Err(super::insert::unbounded(&parent.bytes));
        }
        let full = full_from(&parent.bytes);
        let filled = fill_left(bytes_of(&left), &separator, bytes_of(&right), full);
        match filled {
            None => Ok(Step::Kept),
            Some(Filled::Whole(bytes)) => {
                let is_root = parent.node().level() == goal.root_level;
                if parent.node().count() == 1 && !is_root {
                    return Ok(Step::Lonely);
                }
                goal.write(is_new(&left));
                goal.united += 1;
                self.unite(parent, left_at, [left, right], bytes);
                if seeded!(EmptiedLeafLeaks) {
                    self.freed.pop();
                }
                Ok(Step::United)
            }
            Some(Filled::Part(mut halves)) => {
                let written = is_new(&left) + is_new(&right);
                if seeded!(FilledLeafKeepsItsBound, left.node().is_leaf()) {
                    halves.split.separator.clone_from(&separator);
                }
                let change = [separator.as_slice(), &halves.split.separator];
                let Some(bytes) = with_separator(parent, left_at, change)? else {
                    return Ok(Step::Kept);
                };
                goal.write(written);
                let [left, right] = self.adopt_halves([left, right], halves);
                parent.bytes = bytes.into();
                let kids = parent.kids_mut();
                kids[left_at] = Some(left);
                kids[left_at + 1] = Some(right);
                Ok(Step::Moved)
            }
        }
    }

    /// Fills the last leaf below child `at` from the first one below the next child, which gets
    /// more children before if it has two only.
    fn fill_across(&mut self, node: &mut Dirty, at: usize, goal: &mut Repack) -> Result<Step> {
        goal.looks = goal.looks.saturating_sub(1);
        let right_branch = node.child(self.pages, at + 1, self.base)?;
        if right_branch.node().count() == 1 {
            let is_last = at + 1 == node.node().count();
            return if is_last { Ok(Step::Lonely) } else { self.fill_pair(node, at + 1, goal) };
        }
        let separator = node.node().key(at);
        let left_branch = node.child(self.pages, at, self.base)?;
        let last = left_branch.node().count();
        let left = left_branch.child(self.pages, last, self.base)?;
        let right = right_branch.child(self.pages, 0, self.base)?;
        if !is_bounding(left.node(), &separator, right.node()) {
            return Err(super::insert::unbounded(&node.bytes));
        }
        let full = full_from(&node.bytes);
        let filled = fill_left(bytes_of(&left), &separator, bytes_of(&right), full);
        let (new, step) = match &filled {
            None => return Ok(Step::Kept),
            Some(Filled::Whole(_)) => (right_branch.node().key(0), Step::United),
            Some(Filled::Part(halves)) => (halves.split.separator.clone(), Step::Moved),
        };
        let bytes = with_separator(node, at, [&separator, &new])?;
        let Some(bytes) = bytes else { return Ok(Step::Kept) };
        goal.write(is_new(&left));
        let new_left = match filled {
            Some(Filled::Part(halves)) => {
                goal.write(is_new(&right));
                let [new_left, new_right] = self.adopt_halves([left, right], halves);
                self.dirty_child(node, at + 1)?.kids_mut()[0] = Some(new_right);
                new_left
            }
            Some(Filled::Whole(bytes)) => {
                goal.united += 1;
                let right_branch = self.dirty_child(node, at + 1)?;
                right_branch.kids_mut().remove(0);
                NodeMut::new(&mut right_branch.bytes).remove_child(0);
                self.adopt_both([left, right], bytes)
            }
            None => return Ok(Step::Kept),
        };
        self.dirty_child(node, at)?.kids_mut()[last] = Some(new_left);
        node.bytes = bytes.into();
        Ok(step)
    }
}

/// A branch with the new separator behind child `at` instead of the old one, if there is room for
/// it. The child behind the separator must be dirty, or become so.
fn with_separator(branch: &Dirty, at: usize, [old, new]: [&[u8]; 2]) -> Result<Option<Buffer>> {
    // Where there is no room, that child may be clean, and the branch must keep its checksum.
    let mut bytes = branch.bytes.buffer().clone();
    Ok(replace_separator(&mut bytes, at, [old, new])?.then_some(bytes))
}

/// From so many bytes on a node is full.
fn full_from(page: &[u8]) -> usize {
    page.len() * FULL_FROM.0 / FULL_FROM.1
}

/// 1 for a page that is not dirty yet.
fn is_new(held: &Held) -> u32 {
    u32::from(matches!(held, Held::Clean(_)))
}
