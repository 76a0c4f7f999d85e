//! Trees: the way down to a leaf that will be changed (layer L4).
//!
//! Owns: making the pages of that way dirty, and none before a [`Condition`] is met.
//! Must not know: what the change is, files.

use super::large::run_equals;
use super::{Dirty, Edit, Expected, Held, LINES, PageRead, find_sealed};
use crate::arena::prefetch_bytes;
use crate::error::{Error, Result};
use crate::node::{Node, Value};
use crate::page::Page;

/// What must be true of a key for an entry to be put or removed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Condition<'a> {
    /// Nothing.
    Always,
    /// The tree does not hold it.
    Absent,
    /// The tree holds it.
    Present,
    /// The tree holds it with this value.
    Holds(&'a [u8]),
}

impl Condition<'_> {
    /// Whether it is true of a key that was looked for.
    pub(super) fn is_met(self, pages: &dyn PageRead, found: Option<Spot<'_>>) -> Result<bool> {
        match (self, found) {
            (Condition::Always, _) | (Condition::Absent, None) | (Condition::Present, Some(_)) => {
                Ok(true)
            }
            (Condition::Holds(wanted), Some(spot)) => spot.holds(pages, wanted),
            _ => Ok(false),
        }
    }

    pub(super) fn is_always(self) -> bool {
        matches!(self, Condition::Always)
    }
}

/// An entry of a leaf of either kind.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    leaf: Node<'a>,
    dirty: Option<&'a Dirty>,
    at: usize,
}

impl<'a> Spot<'a> {
    pub(super) fn of(held: &'a Held, at: usize) -> Spot<'a> {
        let dirty = match held {
            Held::Clean(_) => None,
            Held::Dirty(dirty) => Some(dirty),
        };
        Spot { leaf: held.node(), dirty, at }
    }

    pub(super) fn in_sealed(leaf: &'a Page, at: usize) -> Spot<'a> {
        Spot { leaf: Node::new(leaf.bytes()), dirty: None, at }
    }

    pub(super) fn in_dirty(leaf: &'a Dirty, at: usize) -> Spot<'a> {
        Spot { leaf: leaf.bytes.slots(), dirty: Some(leaf), at }
    }

    fn holds(self, pages: &dyn PageRead, wanted: &[u8]) -> Result<bool> {
        match (self.leaf.value(self.at), self.dirty) {
            (Value::Inline(value), _) => Ok(value == wanted),
            (Value::Unplaced { handle, .. }, Some(dirty)) => {
                dirty.value(handle).equals(pages, wanted)
            }
            (Value::Overflow(run), _) => run_equals(pages, run, wanted),
            (Value::Unplaced { .. }, None) => Ok(false),
        }
    }
}

/// Where a node lies in its tree.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Nothing lies behind it.
    pub(super) rightmost: bool,
}

impl Place {
    pub(super) const ROOT: Place = Place { rightmost: true };

    /// The child of a branch whose keys include `key`; the place becomes its place.
    #[inline]
    pub(super) fn enter(&mut self, branch: Node<'_>, key: &[u8]) -> usize {
        // Where keys ascend, a look at the last one saves the search.
        if self.rightmost && branch.ends_before(key) {
            return branch.count();
        }
        let at = branch.child_for(key);
        self.rightmost &= at == branch.count();
        at
    }

    #[inline]
    pub(super) fn search(self, leaf: Node<'_>, key: &[u8]) -> std::result::Result<usize, usize> {
        if self.rightmost && leaf.ends_before(key) { Err(leaf.count()) } else { leaf.search(key) }
    }
}

/// A leaf at the end of a dirty way.
pub(super) enum Below<'n> {
    Dirty(&'n mut Dirty),
    /// Sealed: its parent, and which child it is.
    Sealed(&'n mut Dirty, usize),
}

impl Edit<'_> {
    /// The leaf that `key` belongs to, on a way that is made dirty, and where it lies. `None` when
    /// the condition is not met in sealed pages, of which none was copied then. At a leaf that is
    /// sealed, or has a plan, it is the caller who looks.
    #[inline]
    pub(super) fn way_down<'n>(
        &mut self,
        root: &'n mut Dirty,
        key: &[u8],
        condition: &mut Condition<'_>,
    ) -> Result<Option<(Below<'n>, Place)>> {
        let (mut node, mut place) = (root, Place::ROOT);
        while node.level() > 1 {
            let at = place.enter(node.node(), key);
            if node.kids()[at].is_none() && !self.is_met_below(node, at, key, condition)? {
                return Ok(None);
            }
            node = self.dirty_child(node, at)?;
        }
        if node.level() == 0 {
            return Ok(Some((Below::Dirty(node), place)));
        }
        let at = place.enter(node.node(), key);
        if node.kids()[at].is_none() {
            return Ok(Some((Below::Sealed(node, at), place)));
        }
        match &mut node.kids_mut()[at] {
            Some(leaf) => {
                prefetch_bytes(leaf.bytes.source(), LINES);
                Ok(Some((Below::Dirty(leaf), place)))
            }
            None => Err(Error::internal("a child that was there is not")),
        }
    }

    /// Whether a condition is met below the sealed child `at`. Where it is, it is not asked again.
    #[inline]
    pub(super) fn is_met_below(
        &mut self,
        node: &Dirty,
        at: usize,
        key: &[u8],
        condition: &mut Condition<'_>,
    ) -> Result<bool> {
        if condition.is_always() {
            return Ok(true);
        }
        let branch = node.node();
        let expected = Expected { level: branch.level() - 1, txn_max: self.base };
        let found = find_sealed(self.pages, branch.child(at), expected, key)?;
        let spot = found.as_ref().map(|(held, at)| Spot::of(held, *at));
        let is_met = condition.is_met(self.pages, spot)?;
        if is_met {
            *condition = Condition::Always;
        }
        Ok(is_met)
    }
}
