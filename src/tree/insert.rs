//! Trees: insertion (layer L4).
//!
//! Owns: putting an entry, splitting upwards. Must not know: files.
//! Keeps: sorted-keys, separators-bound-children, uniform-depth, entry-count.

use super::{Dirty, Edit, Root, Tree, UNSEALED};
use crate::error::{Error, Result};
use crate::format::{HEAD_LEN, HEADER_ID, LEAF_CELL_HEADER, OFFSET_LEN, leaf_cell_max};
use crate::invariant::Invariant;
use crate::node::{
    Encoded, Insertion, Node, NodeMut, Payload, Value, run_pages, single_branch, single_leaf,
    split_branch, split_leaf,
};
use crate::page::{PageId, get_u32};
use crate::seeded::seeded;
use crate::sync::Arc;

/// A new right neighbour, and the separator in front of it.
pub(super) struct SplitUp {
    pub(super) separator: Vec<u8>,
    pub(super) right: Arc<Dirty>,
}

/// What a change does to a count that was read from a file.
pub(super) struct Change {
    pub(super) added: u64,
    pub(super) removed: u64,
}

impl Change {
    /// The count after the change.
    pub(super) fn of(self, count: u64) -> Result<u64> {
        let sum = count.checked_add(self.added);
        sum.and_then(|sum| sum.checked_sub(self.removed)).ok_or_else(|| {
            let expected = format_args!("at least {} and few", self.removed);
            Error::corruption(None, Invariant::EntryCount, expected, count)
        })
    }
}

/// An entry on its way into a leaf.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) payload: Payload<'a>,
    /// A large value, which the leaf keeps until the transaction is sealed.
    unplaced: Option<(u32, Arc<[u8]>)>,
}

/// What an insertion did to the node it went into.
struct Inserted {
    split: Option<SplitUp>,
    was_there: bool,
    /// Overflow pages that the replaced value had.
    overflow_freed: u64,
}

impl Tree {
    /// Inserts an entry, or replaces its value.
    ///
    /// The caller checked the limits of key and value.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn put(&mut self, edit: &mut Edit<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        let page_size = edit.pages.page_size();
        let mut unplaced = None;
        let mut overflow_added = 0;
        let encoded = if fits_inline(page_size, key, value) {
            Encoded::new(Value::Inline(value))
        } else {
            let handle = *edit.next_handle;
            *edit.next_handle += u32::from(!seeded!(LargeValuesShareHandle));
            unplaced = Some((handle, Arc::from(value)));
            let len = u32::try_from(value.len()).expect("the caller checked the value's length");
            overflow_added = u64::from(run_pages(len, page_size));
            Encoded::new(Value::Unplaced { len, handle })
        };
        let entry = Entry { key, payload: encoded.payload(), unplaced };
        if matches!(self.root, Root::Empty) {
            let mut leaf = Dirty::leaf(single_leaf(page_size, key, entry.payload));
            leaf.values.extend(entry.unplaced);
            self.root = Root::Dirty(Arc::new(leaf));
            (self.entries, self.overflow_pages) = (1, overflow_added);
            return Ok(());
        }
        let root = edit.dirty_root(self)?;
        let inserted = edit.insert(root, entry, Place { rightmost: true })?;
        let removed = if seeded!(ReplacedRunNotSubtracted) { 0 } else { inserted.overflow_freed };
        let change = Change { added: overflow_added, removed };
        self.overflow_pages = change.of(self.overflow_pages)?;
        let is_counted = !inserted.was_there || seeded!(OverwriteCountsTwice);
        let change = Change { added: u64::from(is_counted), removed: 0 };
        self.entries = change.of(self.entries)?;
        if let Some(split) = inserted.split {
            self.grow_root(page_size, split);
        }
        Ok(())
    }

    /// Puts a new root above the old one and its new neighbour.
    pub(super) fn grow_root(&mut self, page_size: usize, split: SplitUp) {
        let Root::Dirty(left) = std::mem::replace(&mut self.root, Root::Empty) else {
            unreachable!("a root that split is dirty")
        };
        let level = left.node().level() + 1;
        let bytes = single_branch(page_size, level, [UNSEALED, UNSEALED], &split.separator);
        let kids = vec![Some(left), Some(split.right)];
        self.root = Root::Dirty(Arc::new(Dirty::branch(bytes, kids)));
    }
}

fn fits_inline(page_size: usize, key: &[u8], value: &[u8]) -> bool {
    let rest = key.len().saturating_sub(HEAD_LEN);
    let cell = HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + value.len();
    cell <= leaf_cell_max(page_size)
}

/// Where a node lies in its tree.
#[derive(Clone, Copy)]
struct Place {
    /// Nothing lies behind it.
    rightmost: bool,
}

impl Edit<'_> {
    fn insert(&mut self, node: &mut Dirty, entry: Entry<'_>, place: Place) -> Result<Inserted> {
        if node.node().is_leaf() {
            return Ok(self.insert_into_leaf(node, entry, place));
        }
        let mut at = node.node().child_for(entry.key);
        if node.node().level() == 1 && self.share_leaf(node, at, &entry)? {
            at = node.node().child_for(entry.key);
        }
        let rightmost = place.rightmost && at == node.node().count();
        let child = self.dirty_child(node, at)?;
        let mut inserted = self.insert(child, entry, Place { rightmost })?;
        if let Some(split) = inserted.split.take() {
            inserted.split = add_child(node, at, split)?;
        }
        Ok(inserted)
    }

    fn insert_into_leaf(&mut self, leaf: &mut Dirty, entry: Entry<'_>, place: Place) -> Inserted {
        let mut inserted = Inserted { split: None, was_there: false, overflow_freed: 0 };
        let at = match leaf.node().search(entry.key) {
            Ok(at) => {
                inserted.was_there = true;
                inserted.overflow_freed = self.give_up_value(leaf, at);
                if NodeMut::new(&mut leaf.bytes).overwrite_payload(at, entry.payload) {
                    leaf.values.extend(entry.unplaced);
                    return inserted;
                }
                NodeMut::new(&mut leaf.bytes).remove_leaf(at);
                at
            }
            Err(at) => at,
        };
        leaf.values.extend(entry.unplaced);
        if NodeMut::new(&mut leaf.bytes).insert_leaf(at, entry.key, entry.payload) {
            return inserted;
        }
        let ascending = place.rightmost && at == leaf.node().count();
        let insertion = Insertion { at, key: entry.key, payload: entry.payload, ascending };
        let split = split_leaf(&leaf.bytes, insertion);
        let mut right = Dirty::leaf(split.right);
        leaf.bytes = split.left;
        share_values(leaf, &mut right);
        inserted.split = Some(SplitUp { separator: split.separator, right: Arc::new(right) });
        inserted
    }

    /// Gives up the value at `at`. Returns the overflow pages that it had.
    pub(super) fn give_up_value(&mut self, leaf: &mut Dirty, at: usize) -> u64 {
        let value = leaf.node().value(at);
        let pages = self.free_value(value);
        if let Value::Unplaced { handle, .. } = value {
            leaf.values.retain(|(number, _)| *number != handle);
        }
        pages
    }
}

/// Puts a separator and the child on its right behind child `at`.
///
/// # Errors
/// Corruption when the separator does not lie between its neighbours: what was split held keys
/// that are not its own.
pub(super) fn add_child(node: &mut Dirty, at: usize, split: SplitUp) -> Result<Option<SplitUp>> {
    bounded(&node.bytes, at, &split.separator)?;
    if NodeMut::new(&mut node.bytes).insert_branch(at, &split.separator, UNSEALED) {
        node.kids.insert(at + 1, Some(split.right));
        return Ok(None);
    }
    let halves = split_branch(&node.bytes, at, &split.separator, UNSEALED);
    node.kids.insert(at + 1, Some(split.right));
    node.bytes = halves.left;
    let kids = node.kids.split_off(halves.left_len);
    let right = Arc::new(Dirty::branch(halves.right, kids));
    Ok(Some(SplitUp { separator: halves.separator, right }))
}

/// Checks that a separator lies between its neighbours-to-be in a branch.
pub(super) fn bounded(branch: &[u8], at: usize, separator: &[u8]) -> Result<()> {
    let node = Node::new(branch);
    let is_above = at == 0 || node.key(at - 1).as_slice() < separator;
    if !is_above || (at < node.count() && separator >= node.key(at).as_slice()) {
        return Err(unbounded(branch));
    }
    Ok(())
}

/// The error of a page with a child whose keys are not bounded by its separators.
pub(super) fn unbounded(page: &[u8]) -> Error {
    // A page that was built anew has no id yet.
    let page = Some(get_u32(page, HEADER_ID)).filter(|&id| id != PageId::NONE.0);
    let invariant = Invariant::SeparatorsBoundChildren;
    Error::corruption(page, invariant, "keys between the separators", "others")
}

/// Gives each of two leaves the values that its cells refer to.
pub(super) fn share_values(left: &mut Dirty, right: &mut Dirty) {
    if left.values.is_empty() && right.values.is_empty() {
        return;
    }
    let mut all = std::mem::take(&mut left.values);
    all.append(&mut right.values);
    for leaf in [left, right] {
        let node = crate::node::Node::new(&leaf.bytes);
        for at in 0..node.count() {
            if let Value::Unplaced { handle, .. } = node.value(at)
                && let Some(found) = all.iter().position(|(number, _)| *number == handle)
            {
                leaf.values.push(all.swap_remove(found));
            }
        }
    }
}
