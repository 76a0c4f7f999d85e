//! Trees: room for an entry from a neighbour, before a leaf is split (layer L4).
//!
//! Owns: sharing the entries of a full leaf with a neighbour that has room, so that leaves filled
//! in no order are fuller than splits alone would leave them.
//! Must not know: files.
//! Keeps: separators-bound-children.

use super::insert::{Entry, bounded, share_values};
use super::remove::is_bounding;
use super::{Dirty, Edit, UNSEALED};
use crate::error::{Error, Result};
use crate::format::{HEAD_LEN, LEAF_CELL_HEADER, OFFSET_LEN};
use crate::node::{Node, NodeMut, share};
use crate::sync::Arc;

/// Two leaves share their entries if they are full to this part of both pages at most: less would
/// leave the file larger, more would share again after a few insertions. Of 22 entries that fill a
/// leaf it lets in 40 for two.
const FULL_MAX: (usize, usize) = (10, 11);

impl Edit<'_> {
    /// Makes room in leaf `at` for an entry that it cannot hold, if a neighbour has some. The
    /// entry may belong into the neighbour then. Returns whether it did anything.
    pub(super) fn share_leaf(
        &mut self,
        parent: &mut Dirty,
        at: usize,
        entry: &Entry<'_>,
    ) -> Result<bool> {
        let leaf = self.dirty_child(parent, at)?;
        let node = leaf.node();
        let mut needed = needed(node, entry);
        let is_full = |needed: usize| node.used() + needed > leaf.bytes.len();
        if !is_full(needed) {
            return Ok(false);
        }
        let slot = match node.search(entry.key) {
            Ok(slot) => {
                let replaced = node.payload(slot).bytes.len();
                needed = entry.payload.bytes.len().saturating_sub(replaced);
                slot
            }
            Err(slot) => slot,
        };
        // Ascending entries leave full pages behind, and need an empty one.
        if !is_full(needed) || node.continues_run(slot) {
            return Ok(false);
        }
        let mut pairs = Vec::with_capacity(2);
        pairs.extend(at.checked_sub(1).map(|left| (left, left)));
        pairs.extend((at < parent.node().count()).then_some((at, at + 1)));
        // A neighbour that is dirty costs no read and no page of the commit.
        pairs.sort_by_key(|&(_, neighbour)| parent.kids()[neighbour].is_none());
        for (left_at, _) in pairs {
            if self.share_pair(parent, left_at, needed)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shares the entries of leaves `left_at` and `left_at + 1` evenly, if they have room for
    /// `needed` bytes more and the parent has for the new separator; else no entry moves.
    fn share_pair(&mut self, parent: &mut Dirty, left_at: usize, needed: usize) -> Result<bool> {
        let separator = parent.node().key(left_at);
        let left = parent.child(self.pages, left_at, self.base)?;
        let right = parent.child(self.pages, left_at + 1, self.base)?;
        let used = left.node().used() + right.node().used() + needed;
        if used > 2 * parent.bytes.len() * FULL_MAX.0 / FULL_MAX.1 {
            return Ok(false);
        }
        if !is_bounding(left.node(), &separator, right.node()) {
            return Err(super::insert::unbounded(&parent.bytes));
        }
        // What still holds the pages would have them copied.
        drop((left, right));
        self.dirty_child(parent, left_at)?;
        self.dirty_child(parent, left_at + 1)?;
        let Dirty { bytes, beside } = parent;
        let kids = beside.as_mut().map(|beside| &mut Arc::make_mut(beside).kids[left_at..][..2]);
        let Some([Some(left), Some(right)]) = kids else {
            return Err(Error::internal("a child that was made dirty is not"));
        };
        let is_shared = share(&mut left.bytes, &mut right.bytes, |new| {
            replace_separator(bytes, left_at, [&separator, new])
        })?;
        if is_shared {
            share_values(left, right);
        }
        Ok(is_shared)
    }
}

/// Replaces the separator behind child `at` of a branch, the old one by the new one, if there is
/// room for it.
pub(super) fn replace_separator(
    branch: &mut [u8],
    at: usize,
    [old, new]: [&[u8]; 2],
) -> Result<bool> {
    NodeMut::new(branch).remove_child(at + 1);
    bounded(branch, at, new)?;
    let is_replaced = NodeMut::new(branch).insert_branch(at, new, UNSEALED);
    if !is_replaced && !NodeMut::new(branch).insert_branch(at, old, UNSEALED) {
        return Err(Error::internal("a separator does not fit where it was"));
    }
    Ok(is_replaced)
}

/// Bytes that an entry takes in a leaf, if it has the leaf's prefix.
fn needed(leaf: Node<'_>, entry: &Entry<'_>) -> usize {
    let rest = entry.key.len().saturating_sub(leaf.prefix().len() + HEAD_LEN);
    HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + entry.payload.bytes.len()
}
