//! Trees: the bytes of a dirty page (layer L4).
//!
//! Owns: [`Draft`], bytes that are built, or a [`Plan`]; which leaves get a plan.
//! Must not know: how a plan is carried out, files.

use super::insert::{Entry, Inserted};
use super::plan::{PLANNED_ENTRIES_MAX, Plan, Removals};
use super::way::Place;
use super::{Dirty, Edit, Expected};
use crate::buffer::Buffer;
use crate::error::Result;
use crate::node::{Node, NodeMut};
use crate::page::Page;
use crate::seeded::seeded;
use crate::sync::Arc;
use std::ops::{Deref, DerefMut};

/// The bytes of a dirty page.
#[derive(Clone, Debug)]
pub(crate) enum Draft {
    /// In memory of their own.
    Built(Buffer),
    /// Where the sealed leaf lies, until somebody looks at them or they are sealed: most leaves
    /// that a transaction meets it meets once, and so they are copied once, not twice.
    Planned(Arc<Plan>),
}

impl Draft {
    /// Memory that is looked at when the bytes are built or sealed, to be asked for ahead. Kind and
    /// level are those of the bytes.
    #[inline]
    pub(crate) fn source(&self) -> &[u8] {
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(plan) => plan.leaf.bytes(),
        }
    }

    /// The bytes, which are built if they are not yet.
    #[inline]
    pub(super) fn buffer(&self) -> &Buffer {
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(plan) => plan.look(),
        }
    }

    /// Removals that are planned, and the sealed leaf.
    #[inline]
    fn removals(&self) -> Option<(&Plan, &Removals)> {
        let Draft::Planned(plan) = self else { return None };
        plan.removals().map(|removals| (&**plan, removals))
    }

    /// The leaf in which [`Draft::find`] finds slots, and [`Draft::remove`] removes them: that one
    /// of which entries are to be removed has them all.
    #[inline]
    pub(super) fn slots(&self) -> Node<'_> {
        match self.removals() {
            Some((plan, _)) => Node::new(plan.leaf.bytes()),
            None => Node::new(self),
        }
    }

    /// The slot of a leaf that holds a key.
    #[inline]
    pub(super) fn find(&self, place: Place, key: &[u8]) -> Option<usize> {
        let found = place.search(self.slots(), key).ok()?;
        let is_gone = self.removals().is_some_and(|(_, removals)| removals.has(found));
        (!is_gone).then_some(found)
    }

    /// How many entries a leaf has, and how many bytes it uses.
    #[inline]
    pub(super) fn fill(&self) -> (usize, usize) {
        let node = self.slots();
        let (count, used) = (node.count(), node.used());
        match self.removals() {
            Some((_, removals)) => (count - removals.count, used - removals.bytes),
            None => (count, used),
        }
    }

    /// Removes an entry from a leaf, or plans to.
    #[inline]
    pub(super) fn remove(&mut self, mut at: usize) {
        if let Draft::Planned(plan) = self
            && let Some(removals) = plan.removals()
        {
            if plan.built.get().is_none() {
                if let Some(plan) = Arc::get_mut(plan) {
                    return plan.remove_too(at);
                }
                let mut copy = plan.copy();
                copy.remove_too(at);
                *plan = Arc::new(copy);
                return;
            }
            // Who looks at a leaf once will do so again, and each time it would be built anew.
            at -= removals.before(at);
        }
        NodeMut::new(self.built()).remove_leaf(at);
    }

    /// The bytes to be changed, in memory of their own.
    #[inline]
    pub(super) fn built(&mut self) -> &mut Buffer {
        if let Draft::Planned(plan) = self {
            *self = Draft::Built(plan.take());
        }
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(_) => unreachable!("it was built just now"),
        }
    }

    pub(crate) fn into_buffer(self) -> Buffer {
        match self {
            Draft::Built(bytes) => bytes,
            Draft::Planned(plan) => plan.take(),
        }
    }

    /// Writes the bytes to memory of the same length.
    pub(crate) fn write_to(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(self.source());
        if let Draft::Planned(plan) = self {
            if let Some(built) = plan.built.get().filter(|_| seeded!(PlanCarriedOutTwice)) {
                bytes.copy_from_slice(built);
            }
            plan.carry_out(bytes);
        }
    }
}

impl From<Buffer> for Draft {
    fn from(bytes: Buffer) -> Draft {
        Draft::Built(bytes)
    }
}

impl Deref for Draft {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        self.buffer()
    }
}

impl DerefMut for Draft {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.built()
    }
}

impl Edit<'_> {
    /// Makes a sealed leaf dirty, which a branch has as this child: with a plan for an entry, if it
    /// has room for it, or else as a copy, into which the entry is still to be put.
    pub(super) fn plan_entry(
        &mut self,
        (branch, at): (&mut Dirty, usize),
        place: Place,
        entry: &Entry<'_>,
    ) -> Result<Option<Inserted>> {
        let expected = Expected { level: 0, txn_max: self.base };
        let leaf = self.pages.read_node(branch.node().child(at), expected)?;
        let may_hold = self.freed.len() < self.pages.held_max();
        if !seeded!(PlannedLeafNotFreed, may_hold) {
            self.free_page(&leaf);
        }
        let node = Node::new(leaf.bytes());
        let is_kept_here = !entry.is_large() || seeded!(PlanKeepsNoLargeValue);
        if may_hold && is_kept_here && node.count() <= PLANNED_ENTRIES_MAX {
            let slot = place.search(node, entry.key);
            if let Some(plan) = Plan::put(&leaf, slot, entry) {
                let is_last = place.rightmost && slot == Err(node.count());
                branch.kids_mut()[at] = Some(Dirty::planned(plan));
                let was_there = slot.is_ok();
                return Ok(Some(Inserted { was_there, is_last, ..Inserted::default() }));
            }
        }
        branch.kids_mut()[at] = Some(Dirty::copy_of(&leaf));
        Ok(None)
    }

    /// Makes a sealed leaf dirty of which an entry is to be removed, and which a branch has as this
    /// child: with a plan, or as a copy.
    pub(super) fn plan_removal<'n>(
        &mut self,
        (branch, at): (&'n mut Dirty, usize),
        leaf: &Page,
    ) -> &'n mut Dirty {
        let may_hold = self.freed.len() < self.pages.held_max();
        if !seeded!(PlannedLeafNotFreed, may_hold) {
            self.free_page(leaf);
        }
        let is_planned = may_hold && Node::new(leaf.bytes()).count() <= PLANNED_ENTRIES_MAX;
        let dirty =
            if is_planned { Dirty::planned(Plan::remove(leaf)) } else { Dirty::copy_of(leaf) };
        branch.kids_mut()[at].insert(dirty)
    }
}
