//! Trees: removal (layer L4).
//!
//! Owns: removing an entry, merging and rebalancing upwards, the collapse of the root.
//! Must not know: files.
//! Keeps: separators-bound-children, uniform-depth, entry-count; no leaf is empty.

use super::insert::{Change, SplitUp, add_child, share_values, unbounded};
use super::way::{Below, Condition, Spot};
use super::{Beside, Cursor, Dirty, Edit, Expected, Held, PageRead, Root, Tree};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::invariant::{Invariant, invariant};
use crate::node::{Halves, Node, NodeMut, merge, rebalance};
use crate::seeded::seeded;
use crate::sync::Arc;
use std::ops::Range;

/// What a removal did to the node it was in.
struct Removed {
    /// A branch may have to split, when a separator was replaced by a longer one.
    split: Option<SplitUp>,
    entries: u64,
    overflow_freed: u64,
}

/// What is to be removed.
#[derive(Clone, Copy)]
enum Doomed<'a> {
    One(&'a [u8]),
    /// All of one leaf from the first key on, below the second.
    Run {
        from: &'a [u8],
        to: Option<&'a [u8]>,
    },
}

impl Doomed<'_> {
    fn key(&self) -> &[u8] {
        match self {
            Doomed::One(key) | Doomed::Run { from: key, .. } => key,
        }
    }

    /// The slots of a leaf that are meant, the first of which holds the key.
    fn slots(&self, leaf: Node<'_>) -> Option<Range<usize>> {
        let first = leaf.search(self.key()).ok()?;
        let behind = match self {
            Doomed::One(_) => first + 1,
            Doomed::Run { to, .. } => {
                to.map_or(leaf.count(), |to| leaf.search(to).unwrap_or_else(|at| at))
            }
        };
        Some(first..behind)
    }
}

impl Tree {
    /// Removes an entry.
    ///
    /// # Errors
    /// `NotFound`, with nothing changed; those of [`Tree::del_if`].
    pub(crate) fn del(&mut self, edit: &mut Edit<'_>, key: &[u8]) -> Result<()> {
        let was_there = self.del_if(edit, key, Condition::Present)?;
        if was_there { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Removes the entry of a key, if the condition is met. Returns whether it was; otherwise
    /// nothing changed.
    ///
    /// # Errors
    /// What reading pages says, and then the tree is to be thrown away.
    pub(crate) fn del_if(
        &mut self,
        edit: &mut Edit<'_>,
        key: &[u8],
        condition: Condition<'_>,
    ) -> Result<bool> {
        let mut condition = condition;
        if !self.is_dirty() {
            let found = self.find(edit.pages, key)?;
            let found = found.as_ref().map(|(held, at)| Spot::of(held, *at));
            if found.is_none() || !condition.is_met(edit.pages, found)? {
                return Ok(false);
            }
            condition = Condition::Always;
        }
        let page_size = edit.pages.page_size();
        let root = edit.dirty_root(self)?;
        let removed = match edit.remove_in_place(root, key, condition)? {
            Attempt::Done(removed) => removed,
            Attempt::Refused => return Ok(false),
            Attempt::Small => edit.remove(root, Doomed::One(key))?,
        };
        self.note_removed(page_size, removed)?;
        Ok(true)
    }

    /// Removes all entries whose keys are not below `from`, and below `to` where there is one, leaf
    /// by leaf. Returns how many there were; where there were none, nothing has changed.
    ///
    /// # Errors
    /// What reading pages says, and then the tree is to be thrown away.
    pub(crate) fn del_within(
        &mut self,
        edit: &mut Edit<'_>,
        mut from: Vec<u8>,
        to: Option<&[u8]>,
    ) -> Result<u64> {
        let mut removed = 0;
        loop {
            let first = self.first_within(edit.pages, &from, to);
            if seeded!(RemovalEndsAtAFailure, first.is_err()) {
                return Ok(removed);
            }
            let Some(key) = first? else { return Ok(removed) };
            if removed > 0 && key <= from {
                // A page that the tree has many times would be met once for each way to it.
                let bounds = Invariant::SeparatorsBoundChildren;
                let met = "a leaf above those on its left";
                return Err(Error::corruption(None, bounds, met, "none"));
            }
            from = key;
            removed += self.del_run(edit, &from, to)?;
            if seeded!(DeletingSkipsTheNext) {
                from.push(0);
                let next = self.first_within(edit.pages, &from, to)?.unwrap_or_default();
                from = [next.as_slice(), &[0]].concat();
            }
        }
    }

    /// The first key within bounds. The cursor is gone before the tree changes: what it holds would
    /// be copied.
    fn first_within(
        &self,
        pages: &dyn PageRead,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        let to = to.map(<[u8]>::to_vec);
        let mut cursor = Cursor::bounded(self.clone(), from.to_vec(), to);
        Ok(cursor.next_key(pages)?.map(<[u8]>::to_vec))
    }

    /// Removes the entries of one leaf whose keys are not below `from`, which the tree holds, and
    /// below `to` where there is one. Returns how many there were.
    ///
    /// # Errors
    /// Those of [`Tree::del`].
    pub(crate) fn del_run(
        &mut self,
        edit: &mut Edit<'_>,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<u64> {
        let page_size = edit.pages.page_size();
        let root = edit.dirty_root(self)?;
        let removed = edit.remove(root, Doomed::Run { from, to })?;
        let entries = removed.entries;
        self.note_removed(page_size, removed)?;
        Ok(entries)
    }

    fn note_removed(&mut self, page_size: usize, removed: Removed) -> Result<()> {
        let change = Change { added: 0, removed: removed.overflow_freed };
        self.overflow_pages = change.of(self.overflow_pages)?;
        self.entries = Change { added: 0, removed: removed.entries }.of(self.entries)?;
        if let Some(split) = removed.split {
            self.grow_root(page_size, split)?;
        }
        self.collapse_root();
        // Counts that were read from a file must end where the tree does.
        let is_empty = matches!(self.root, Root::Empty);
        if is_empty != (self.entries == 0) || is_empty && self.overflow_pages > 0 {
            let expected = "as many entries as the tree has";
            return Err(Error::corruption(None, Invariant::EntryCount, expected, self.entries));
        }
        Ok(())
    }

    /// Drops an empty root, and roots of a single child.
    pub(super) fn collapse_root(&mut self) {
        while let Root::Dirty(root) = &self.root {
            let node = root.node();
            if node.count() > 0 {
                return;
            }
            self.root = if node.is_leaf() {
                Root::Empty
            } else {
                match &root.kids()[0] {
                    Some(kid) => Root::Dirty(kid.clone()),
                    None => Root::Clean(
                        node.child(0),
                        node.level() - u8::from(!seeded!(CollapseSkipsALevel)),
                    ),
                }
            };
        }
    }
}

/// How an attempt ended to remove an entry without a change of its leaf's parents.
enum Attempt {
    Done(Removed),
    /// The condition is not met; nothing changed.
    Refused,
    /// The leaf would be too small. Nothing changed, but for copies.
    Small,
}

/// A page that uses less is merged with a neighbour, or takes slots from it.
fn used_min(page: &[u8]) -> usize {
    // A branch of one child uses less than a third, however long its prefix is.
    page.len() / 3
}

impl Edit<'_> {
    /// Removes an entry that is there from its leaf, if the leaf stays large enough.
    fn remove_in_place(
        &mut self,
        root: &mut Dirty,
        key: &[u8],
        condition: Condition<'_>,
    ) -> Result<Attempt> {
        let mut left = condition;
        let Some((below, place)) = self.way_down(root, key, &mut left)? else {
            return Ok(Attempt::Refused);
        };
        let (leaf, at) = match below {
            Below::Dirty(leaf) => {
                let Some(at) = leaf.bytes.find(place, key) else { return Ok(Attempt::Refused) };
                if !left.is_met(self.pages, Some(Spot::in_dirty(leaf, at)))? {
                    return Ok(Attempt::Refused);
                }
                (leaf, at)
            }
            Below::Sealed(branch, child) => {
                let expected = Expected { level: 0, txn_max: self.base };
                let leaf = self.pages.read_node(branch.node().child(child), expected)?;
                let found = place.search(Node::new(leaf.bytes()), key);
                let Ok(at) = found else { return Ok(Attempt::Refused) };
                if !left.is_met(self.pages, Some(Spot::in_sealed(&leaf, at)))? {
                    return Ok(Attempt::Refused);
                }
                (self.plan_removal((branch, child), &leaf), at)
            }
        };
        let (count, used) = leaf.bytes.fill();
        let cell_len = leaf.bytes.slots().cell_len(at);
        if count == 1 || used < used_min(leaf.bytes.source()) + cell_len {
            return Ok(Attempt::Small);
        }
        let overflow_freed = self.give_up_value(leaf.bytes.slots().value(at), &mut leaf.beside);
        leaf.bytes.remove(at);
        Ok(Attempt::Done(Removed { split: None, entries: 1, overflow_freed }))
    }

    fn remove(&mut self, node: &mut Dirty, doomed: Doomed<'_>) -> Result<Removed> {
        if node.node().is_leaf() {
            // Whoever found the key did so in the leaf to which it belongs, or in a wrong one.
            let Some(slots) = doomed.slots(node.node()) else { return Err(unbounded(&node.bytes)) };
            let mut removed = Removed { split: None, entries: 0, overflow_freed: 0 };
            for at in slots.rev() {
                // A root that was a leaf below a branch may have a plan; all others are built.
                let leaf = if seeded!(PlannedRootTakenForBuilt) {
                    node.bytes.slots()
                } else {
                    Node::new(&node.bytes)
                };
                removed.entries += 1;
                removed.overflow_freed += self.give_up_value(leaf.value(at), &mut node.beside);
                NodeMut::new(&mut node.bytes).remove_leaf(at);
            }
            return Ok(removed);
        }
        let at = node.node().child_for(doomed.key());
        let child = self.dirty_child(node, at)?;
        let mut removed = self.remove(child, doomed)?;
        removed.split = match removed.split.take() {
            Some(split) => add_child(node, at, split)?,
            None => self.mend_child(node, at)?,
        };
        Ok(removed)
    }

    /// Removes a dirty child that has become empty; merges or rebalances one that is too small.
    pub(super) fn mend_child(&mut self, parent: &mut Dirty, at: usize) -> Result<Option<SplitUp>> {
        // Only between two steps of one removal has a branch a single child.
        let last = parent.node().count();
        invariant!(SeparatorsBoundChildren, last > 0, "a branch of one child");
        let Some(child) = &parent.kids()[at] else { return Ok(None) };
        let node = child.node();
        if node.is_leaf() && node.count() == 0 && seeded!(EmptyLeafLeft) {
            return Ok(None);
        }
        if node.is_leaf() && node.count() == 0 {
            NodeMut::new(&mut parent.bytes).remove_child(at);
            parent.kids_mut().remove(at);
            return Ok(None);
        }
        if node.used() >= used_min(&child.bytes) {
            return Ok(None);
        }
        self.join(parent, at.min(last - 1))
    }

    /// Merges children `left_at` and `left_at + 1`, or shares their slots.
    fn join(&mut self, parent: &mut Dirty, left_at: usize) -> Result<Option<SplitUp>> {
        let separator = parent.node().key(left_at);
        let left = parent.child(self.pages, left_at, self.base)?;
        let right = parent.child(self.pages, left_at + 1, self.base)?;
        if !is_bounding(left.node(), &separator, right.node()) {
            return Err(unbounded(&parent.bytes));
        }
        let (left_bytes, right_bytes) = (bytes_of(&left), bytes_of(&right));
        if let Some(merged) = merge(left_bytes, &separator, right_bytes) {
            self.unite(parent, left_at, [left, right], merged);
            return Ok(None);
        }
        let Some(halves) = rebalance(left_bytes, &separator, right_bytes) else {
            return Ok(None);
        };
        let separator = halves.split.separator.clone();
        let [new_left, new_right] = self.adopt_halves([left, right], halves);
        parent.kids_mut()[left_at] = Some(new_left);
        parent.kids_mut().remove(left_at + 1);
        NodeMut::new(&mut parent.bytes).remove_child(left_at + 1);
        add_child(parent, left_at, SplitUp { separator, right: new_right })
    }

    /// Puts a page that holds all of children `left_at` and `left_at + 1` in their place.
    pub(super) fn unite(
        &mut self,
        parent: &mut Dirty,
        left_at: usize,
        pair: [Held; 2],
        bytes: Buffer,
    ) {
        parent.kids_mut()[left_at] = Some(self.adopt_both(pair, bytes));
        parent.kids_mut().remove(left_at + 1);
        NodeMut::new(&mut parent.bytes).remove_child(left_at + 1);
    }

    /// A dirty page in the place of two neighbours.
    pub(super) fn adopt_both(&mut self, pair: [Held; 2], bytes: Buffer) -> Dirty {
        let [left, right] = pair;
        let mut page = self.adopt(left, bytes.clone());
        let right = self.adopt(right, bytes);
        if let Some(right) = right.beside {
            let Beside { kids, values } = Arc::unwrap_or_clone(right);
            let left = page.beside_mut();
            left.kids.extend(kids);
            left.values.extend(values);
        }
        page
    }

    /// Two dirty pages in the place of two neighbours.
    pub(super) fn adopt_halves(&mut self, pair: [Held; 2], halves: Halves) -> [Dirty; 2] {
        let [left, right] = pair;
        let is_leaf = left.node().is_leaf();
        let Halves { left: left_page, split } = halves;
        let mut new_left = self.adopt(left, left_page);
        let mut new_right = self.adopt(right, split.right);
        if is_leaf {
            share_values(&mut new_left, &mut new_right);
        } else {
            let (left, right) = (new_left.kids_mut(), new_right.kids_mut());
            left.append(right);
            *right = left.split_off(split.left_len - usize::from(seeded!(RebalanceOffByOne)));
        }
        [new_left, new_right]
    }

    /// A dirty page with new bytes in the place of `old`, which is given up if it was sealed.
    pub(super) fn adopt(&mut self, old: Held, bytes: Buffer) -> Dirty {
        match old {
            Held::Clean(page) => {
                self.free_page(&page);
                Dirty::instead_of(&page, bytes)
            }
            Held::Dirty(dirty) => Dirty { bytes: bytes.into(), ..dirty },
        }
    }
}

/// Whether a separator lies above all keys on its left, and at or below those on its right.
pub(super) fn is_bounding(left: Node<'_>, separator: &[u8], right: Node<'_>) -> bool {
    let begins = right.search(separator);
    // The first key of a leaf may be the separator; that of a branch is above it.
    let is_above = begins == Err(0) || begins == Ok(0) && right.is_leaf();
    left.search(separator) == Err(left.count()) && is_above
}

pub(super) fn bytes_of(held: &Held) -> &[u8] {
    match held {
        Held::Clean(page) => page.bytes(),
        Held::Dirty(dirty) => &dirty.bytes,
    }
}
