//! Trees: insertion (layer L4).
//!
//! Owns: putting an entry, splitting upwards. Must not know: files.
//! Keeps: sorted-keys, separators-bound-children, uniform-depth, entry-count.

use super::way::{Below, Condition, Place, Spot};
use super::{Beside, Dirty, Edit, Large, NewValue, Root, Tree, UNSEALED};
use crate::error::{Error, Result};
use crate::format::{HEAD_LEN, HEADER_ID, LEAF_CELL_HEADER, LEVELS_MAX, OFFSET_LEN, leaf_cell_max};
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
    pub(super) right: Dirty,
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
    new: Entering<'a>,
}

impl Entry<'_> {
    /// Whether the value is too large for a leaf.
    pub(super) fn is_large(&self) -> bool {
        self.new.handle.is_some()
    }
}

/// A value on its way into a leaf.
#[derive(Clone, Copy)]
pub(super) struct Entering<'a> {
    value: NewValue<'a>,
    /// Of a large value: its number, under which the leaf keeps it until the tree is sealed.
    handle: Option<u64>,
}

impl<'a> Entering<'a> {
    pub(super) fn encoded(self) -> Encoded<'a> {
        match (self.handle, self.value) {
            (None, NewValue::Bytes(bytes)) => Encoded::new(Value::Inline(bytes)),
            (handle, _) => {
                let handle = handle.expect("a value with pages has a number");
                Encoded::new(Value::Unplaced { len: self.len(), handle })
            }
        }
    }

    /// Pages that the value will take beside its leaf.
    pub(super) fn overflow_pages(self, page_size: usize) -> u64 {
        self.handle.map_or(0, |_| u64::from(run_pages(self.len(), page_size)))
    }

    fn len(self) -> u32 {
        match self.value {
            NewValue::Early(early) => early.run.len,
            NewValue::Bytes(bytes) => {
                u32::try_from(bytes.len()).expect("the caller checked the value's length")
            }
        }
    }
}

/// What an insertion did.
#[derive(Clone, Copy, Default)]
pub(super) struct Inserted {
    pub(super) was_there: bool,
    /// Overflow pages that the replaced value had.
    pub(super) overflow_freed: u64,
    /// Nothing lies behind it in its tree.
    pub(super) is_last: bool,
}

/// How an attempt ended to change a leaf without a change of its parents.
enum Attempt {
    Done(Inserted),
    /// The condition is not met; nothing changed.
    Refused,
    /// The leaf has to be split.
    Full(Inserted),
}

impl Tree {
    /// Inserts an entry, or replaces its value.
    ///
    /// The caller checked the limits of key and value.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn put(&mut self, edit: &mut Edit<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_if(edit, (key, NewValue::Bytes(value)), Condition::Always).map(drop)
    }

    /// Inserts an entry, or replaces its value, if the condition is met. Returns whether it was;
    /// otherwise nothing changed.
    ///
    /// # Errors
    /// Those of [`Tree::put`].
    pub(crate) fn put_if(
        &mut self,
        edit: &mut Edit<'_>,
        entry: (&[u8], NewValue<'_>),
        condition: Condition<'_>,
    ) -> Result<bool> {
        Ok(self.put_one(edit, entry, condition)?.is_some())
    }

    /// As [`Tree::put_if`]; tells what it did.
    pub(super) fn put_one(
        &mut self,
        edit: &mut Edit<'_>,
        entry: (&[u8], NewValue<'_>),
        condition: Condition<'_>,
    ) -> Result<Option<Inserted>> {
        let page_size = edit.pages.page_size();
        let (key, value) = entry;
        let mut condition = condition;
        if !condition.is_always() && !self.is_dirty() {
            let found = self.find(edit.pages, key)?;
            let found = found.as_ref().map(|(held, at)| Spot::of(held, *at));
            if !condition.is_met(edit.pages, found)? {
                return Ok(None);
            }
            condition = Condition::Always;
        }
        let entered = *edit.entered;
        let new = edit.entering(key, value);
        let encoded = new.encoded();
        let entry = Entry { key, payload: encoded.payload(), new };
        let overflow_added = new.overflow_pages(page_size);
        if matches!(self.root, Root::Empty) {
            *edit.entered += page_size as u64;
            let mut leaf = Dirty::leaf(single_leaf(page_size, key, entry.payload));
            edit.keep_value(&mut leaf, &new);
            self.root = Root::Dirty(leaf);
            (self.entries, self.overflow_pages) = (1, overflow_added);
            return Ok(Some(Inserted { is_last: true, ..Inserted::default() }));
        }
        let root = edit.dirty_root(self)?;
        let mut split = None;
        let inserted = match edit.insert_in_place(root, &entry, condition)? {
            Attempt::Done(inserted) => inserted,
            Attempt::Refused => {
                *edit.entered = entered;
                return Ok(None);
            }
            Attempt::Full(inserted) => {
                split = edit.insert_splitting(root, &entry, Place::ROOT)?;
                inserted
            }
        };
        let removed = if seeded!(ReplacedRunNotSubtracted) { 0 } else { inserted.overflow_freed };
        if overflow_added > 0 || removed > 0 {
            self.overflow_pages =
                Change { added: overflow_added, removed }.of(self.overflow_pages)?;
        }
        let is_counted = !inserted.was_there || seeded!(OverwriteCountsTwice);
        let change = Change { added: u64::from(is_counted), removed: 0 };
        self.entries = change.of(self.entries)?;
        if let Some(split) = split {
            self.grow_root(page_size, split)?;
        }
        Ok(Some(inserted))
    }

    /// Puts a new root above the old one and its new neighbour.
    ///
    /// # Errors
    /// Those of [`check_level`].
    pub(super) fn grow_root(&mut self, page_size: usize, split: SplitUp) -> Result<()> {
        let Root::Dirty(left) = std::mem::replace(&mut self.root, Root::Empty) else {
            unreachable!("a root that split is dirty")
        };
        let level = check_level(usize::from(left.node().level()) + 1)?;
        let bytes = single_branch(page_size, level, [UNSEALED, UNSEALED], &split.separator);
        let kids = vec![Some(left), Some(split.right)];
        self.root = Root::Dirty(Dirty::branch(bytes, kids));
        Ok(())
    }
}

/// The level of a root-to-be, if a reader accepts it.
///
/// # Errors
/// Corruption: as many entries as a tree of this height needs, no file has. A forged one has fewer.
pub(super) fn check_level(level: usize) -> Result<u8> {
    u8::try_from(level).ok().filter(|&level| level < LEVELS_MAX).ok_or_else(|| {
        let expected = format_args!("a root below level {LEVELS_MAX}");
        Error::corruption(None, Invariant::UniformDepth, expected, level)
    })
}

/// Whether an entry whose value has so many bytes has room in a leaf.
pub(crate) fn fits_inline(page_size: usize, key: &[u8], value_len: usize) -> bool {
    let rest = key.len().saturating_sub(HEAD_LEN);
    let cell = HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest;
    // Of a value on its way the length is any, and an address may have 32 bits.
    cell.saturating_add(value_len) <= leaf_cell_max(page_size)
}

impl Edit<'_> {
    /// Puts an entry into its leaf. An old value that leaves no room for the new one is removed.
    fn insert_in_place(
        &mut self,
        root: &mut Dirty,
        entry: &Entry<'_>,
        mut condition: Condition<'_>,
    ) -> Result<Attempt> {
        let Some((below, place)) = self.way_down(root, entry.key, &mut condition)? else {
            return Ok(Attempt::Refused);
        };
        let leaf = match below {
            Below::Dirty(leaf) => {
                leaf.bytes.built();
                leaf
            }
            Below::Sealed(branch, at) => {
                if !self.is_met_below(branch, at, entry.key, &mut condition)? {
                    return Ok(Attempt::Refused);
                }
                if let Some(inserted) = self.plan_entry((branch, at), place, entry)? {
                    return Ok(Attempt::Done(inserted));
                }
                self.dirty_child(branch, at)?
            }
        };
        let found = place.search(leaf.node(), entry.key);
        if !condition.is_always() {
            let spot = found.ok().map(|at| Spot::in_dirty(leaf, at));
            if !condition.is_met(self.pages, spot)? {
                return Ok(Attempt::Refused);
            }
        }
        let mut inserted = Inserted::default();
        let at = match found {
            Ok(at) => {
                inserted.was_there = true;
                let value = Node::new(&leaf.bytes).value(at);
                inserted.overflow_freed = self.give_up_value(value, &mut leaf.beside);
                if NodeMut::new(&mut leaf.bytes).overwrite_payload(at, entry.payload) {
                    self.keep_value(leaf, &entry.new);
                    return Ok(Attempt::Done(inserted));
                }
                NodeMut::new(&mut leaf.bytes).remove_leaf(at);
                at
            }
            Err(at) => at,
        };
        inserted.is_last = place.rightmost && at == leaf.node().count();
        if NodeMut::new(&mut leaf.bytes).insert_leaf(at, entry.key, entry.payload) {
            self.keep_value(leaf, &entry.new);
            return Ok(Attempt::Done(inserted));
        }
        Ok(Attempt::Full(inserted))
    }

    /// Puts an entry that is not there into its leaf, which is dirty and full.
    fn insert_splitting(
        &mut self,
        node: &mut Dirty,
        entry: &Entry<'_>,
        mut place: Place,
    ) -> Result<Option<SplitUp>> {
        if !node.node().is_leaf() {
            let is_last = place.rightmost;
            let mut at = place.enter(node.node(), entry.key);
            if node.node().level() == 1 && self.share_leaf(node, at, entry)? {
                place.rightmost = is_last;
                at = place.enter(node.node(), entry.key);
            }
            let child = self.dirty_child(node, at)?;
            return match self.insert_splitting(child, entry, place)? {
                Some(split) => add_child(node, at, split),
                None => Ok(None),
            };
        }
        let (Ok(at) | Err(at)) = place.search(node.node(), entry.key);
        // A neighbour may have made room.
        if NodeMut::new(&mut node.bytes).insert_leaf(at, entry.key, entry.payload) {
            self.keep_value(node, &entry.new);
            return Ok(None);
        }
        let ascending = place.rightmost && at == node.node().count();
        let insertion = Insertion { at, key: entry.key, payload: entry.payload, ascending };
        let split = split_leaf(&mut node.bytes, insertion);
        let mut right = Dirty::leaf(split.right);
        self.keep_value(node, &entry.new);
        share_values(node, &mut right);
        Ok(Some(SplitUp { separator: split.separator, right }))
    }

    /// A value on its way into the leaf of `key`.
    pub(super) fn entering<'v>(&mut self, key: &[u8], value: NewValue<'v>) -> Entering<'v> {
        let (is_large, len) = match value {
            NewValue::Bytes(bytes) => {
                (!fits_inline(self.pages.page_size(), key, bytes.len()), bytes.len() as u64)
            }
            NewValue::Early(early) => (true, u64::from(early.run.len)),
        };
        *self.entered += key.len() as u64 + len;
        Entering { value, handle: is_large.then_some(*self.next_handle) }
    }

    /// Lets a leaf keep a large value until the tree is sealed: the only copy of it.
    #[inline]
    pub(super) fn keep_value(&mut self, leaf: &mut Dirty, new: &Entering<'_>) {
        if let Some(handle) = new.handle {
            *self.next_handle += u64::from(!seeded!(LargeValuesShareHandle));
            let large = match new.value {
                NewValue::Bytes(bytes) => Large::Here(Arc::from(bytes)),
                NewValue::Early(early) => Large::Early(Arc::clone(early)),
            };
            leaf.values_mut().push((handle, large));
        }
    }

    /// Gives up a value of a leaf, which has it in its bytes, or also `beside` them. Returns the
    /// overflow pages that it had. Its slot would not name it: where entries are to be removed from
    /// a sealed leaf, slots are those of that leaf, or of what will be left of it.
    #[inline]
    pub(super) fn give_up_value(
        &mut self,
        value: Value<'_>,
        beside: &mut Option<Arc<Beside>>,
    ) -> u64 {
        if let Value::Inline(_) = value {
            return 0;
        }
        if let (Value::Unplaced { handle, .. }, Some(beside)) = (value, beside) {
            Arc::make_mut(beside).values.retain(|(number, _)| *number != handle);
        }
        self.free_value(value)
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
        node.kids_mut().insert(at + 1, Some(split.right));
        return Ok(None);
    }
    let halves = split_branch(&mut node.bytes, at, &split.separator, UNSEALED);
    node.kids_mut().insert(at + 1, Some(split.right));
    let kids = node.kids_mut().split_off(halves.left_len);
    let right = Dirty::branch(halves.right, kids);
    Ok(Some(SplitUp { separator: halves.separator, right }))
}

/// Checks that a separator lies between its neighbours-to-be in a branch.
pub(super) fn bounded(branch: &[u8], at: usize, separator: &[u8]) -> Result<()> {
    let is_bounded = Node::new(branch).search(separator) == Err(at);
    if is_bounded { Ok(()) } else { Err(unbounded(branch)) }
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
    if left.values().is_empty() && right.values().is_empty() {
        return;
    }
    let mut all = std::mem::take(left.values_mut());
    all.append(right.values_mut());
    for leaf in [left, right] {
        let node = leaf.node();
        let mut values = Vec::new();
        for at in 0..node.count() {
            if let Value::Unplaced { handle, .. } = node.value(at)
                && let Some(found) = all.iter().position(|(number, _)| *number == handle)
            {
                values.push(all.swap_remove(found));
            }
        }
        *leaf.values_mut() = values;
    }
}
