//! Trees: room for an entry from a neighbour, before a leaf is split (layer L4).
//!
//! Owns: sharing the entries of a full leaf with a neighbour that has room, so that leaves filled
//! in no order are fuller than splits alone would leave them.
//! Must not know: files.
//! Keeps: separators-bound-children.

use super::insert::{Entry, bounded, share_values};
use super::remove::{bytes_of, is_bounding};
use super::{Dirty, Edit, UNSEALED};
use crate::error::Result;
use crate::format::{HEAD_LEN, LEAF_CELL_HEADER, OFFSET_LEN};
use crate::node::{Node, NodeMut, rebalance};
use crate::sync::Arc;

/// Two leaves share their entries if they are full to this part of both pages at most: less would
/// leave the file larger, more would share again after a few insertions.
const FULL_MAX: (usize, usize) = (7, 8);

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
        pairs.sort_by_key(|&(_, neighbour)| parent.kids[neighbour].is_none());
        for (left_at, _) in pairs {
            if self.share_pair(parent, left_at, needed)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shares the entries of leaves `left_at` and `left_at + 1` evenly, if they have room for
    /// `needed` bytes more and the parent has for the new separator; else nothing changes.
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
        let Some(halves) = rebalance(bytes_of(&left), &separator, bytes_of(&right)) else {
            return Ok(false);
        };
        let mut bytes = parent.bytes.clone();
        NodeMut::new(&mut bytes).remove_child(left_at + 1);
        bounded(&bytes, left_at, &halves.split.separator)?;
        if !NodeMut::new(&mut bytes).insert_branch(left_at, &halves.split.separator, UNSEALED) {
            return Ok(false);
        }
        parent.bytes = bytes;
        let mut new_left = self.adopt(left, halves.left);
        let mut new_right = self.adopt(right, halves.split.right);
        share_values(&mut new_left, &mut new_right);
        parent.kids[left_at] = Some(Arc::new(new_left));
        parent.kids[left_at + 1] = Some(Arc::new(new_right));
        Ok(true)
    }
}

/// Bytes that an entry takes in a leaf, if it has the leaf's prefix.
fn needed(leaf: Node<'_>, entry: &Entry<'_>) -> usize {
    let rest = entry.key.len().saturating_sub(leaf.prefix().len() + HEAD_LEN);
    HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + entry.payload.bytes.len()
}
