//! Tree pages: changes in place (layer L3).
//!
//! Owns: [`NodeMut`]: insertion, removal, replacement of a child, compaction of the heap.
//! Must not know: trees; a change that does not fit is refused, and the tree splits.
//! Keeps: sorted-keys (the caller gives the slot that a search returned), cells-disjoint,
//! same-calls-same-bytes (bytes that nothing uses are zero).

use super::build::{Form, PageCopy, common_prefix, shared_prefix, write_slot};
use super::heads::head_of;
use super::parts::{Parts, Shape};
use super::{Layout, Node, Payload};
use crate::format::{
    BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_RUN,
    LEAF_CELL_HEADER, OFFSET_LEN,
};
use crate::page::{ChildRef, get_u16, put_u16, put_u32};
use crate::seeded::seeded;
use std::cmp::Ordering;
use std::ops::Range;

/// A leaf or a branch of the running transaction.
pub(crate) struct NodeMut<'a> {
    bytes: &'a mut [u8],
}

/// A place for a cell.
struct Room<'k> {
    /// The page's, before the slot is opened.
    layout: Layout,
    cell: usize,
    /// The key's part after the prefix that the page has now.
    suffix: &'k [u8],
}

/// A slot that is to be opened.
#[derive(Clone, Copy)]
struct Slotted {
    at: usize,
    head: u32,
    cell: usize,
}

#[inline]
fn small(value: usize) -> u16 {
    u16::try_from(value).expect("offsets within a page fit 16 bits")
}

impl Node<'_> {
    /// Whether a look at the last slot tells that `key` lies behind all keys here.
    #[inline]
    pub(crate) fn ends_before(self, key: &[u8]) -> bool {
        let layout = Layout::of(self.bytes);
        let Some(last) = self.heads(layout).last() else { return false };
        let Some(suffix) = key.strip_prefix(self.prefix()) else { return false };
        match u32::from_le_bytes(*last).cmp(&head_of(suffix)) {
            Ordering::Less => true,
            Ordering::Equal => {
                let cell = self.cell(layout, layout.count - 1);
                self.compare_tie(layout, suffix, cell) == Ordering::Greater
            }
            Ordering::Greater => false,
        }
    }
}

impl Node<'_> {
    /// Whether an entry with a new key can be inserted into a leaf without moving what it holds.
    pub(crate) fn has_room_for(self, key: &[u8], payload: Payload<'_>) -> bool {
        let Some(suffix) = key.strip_prefix(self.prefix()) else { return false };
        let rest_len = suffix.len().saturating_sub(HEAD_LEN);
        let need = HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest_len + payload.bytes.len();
        self.gap() >= need
    }

    /// Bytes between the arrays and the heap.
    pub(super) fn gap(self) -> usize {
        usize::from(get_u16(self.bytes, HEADER_HEAP)) - Layout::of(self.bytes).end
    }

    /// Bytes of slot `at` of a leaf, its places in the arrays included.
    pub(crate) fn cell_len(self, at: usize) -> usize {
        let (_, rest) = self.rest(self.cell(Layout::of(self.bytes), at));
        let payload = self.payload(at).bytes.len();
        HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest.len() + payload
    }
}

impl<'a> NodeMut<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a mut [u8]) -> NodeMut<'a> {
        NodeMut { bytes }
    }

    pub(crate) fn node(&self) -> Node<'_> {
        Node::new(self.bytes)
    }

    /// Inserts an entry into a leaf at the slot that a search returned. `false`, with nothing
    /// changed, when it does not fit.
    pub(crate) fn insert_leaf(&mut self, at: usize, key: &[u8], payload: Payload<'_>) -> bool {
        let len = LEAF_CELL_HEADER + payload.bytes.len();
        let Some(room) = self.make_room(key, len, HEAD_LEN + OFFSET_LEN) else { return false };
        let Room { layout, cell, suffix } = room;
        let rest = suffix.get(HEAD_LEN..).unwrap_or_default();
        put_u16(self.bytes, cell, small(suffix.len()));
        put_u16(self.bytes, cell + 2, payload.tag);
        let at_rest = cell + LEAF_CELL_HEADER;
        let at_payload = at_rest + rest.len();
        self.bytes[at_rest..at_payload].copy_from_slice(rest);
        self.bytes[at_payload..cell + len + rest.len()].copy_from_slice(payload.bytes);
        self.open_slot(layout, 0, Slotted { at, head: head_of(suffix), cell });
        put_u16(self.bytes, HEADER_RUN, small(at + 1));
        true
    }

    /// Takes slots of another leaf in, in front of slot `at`. There is room for them, and their
    /// keys have the prefix of those here.
    pub(super) fn take_in(&mut self, at: usize, parts: &Parts<'_>, slots: Range<usize>) {
        let old = Layout::of(self.bytes);
        let count = slots.len();
        let (head_at, offset_at) = (old.heads + at * HEAD_LEN, old.offsets + at * OFFSET_LEN);
        let shift = count * (HEAD_LEN + OFFSET_LEN);
        self.bytes.copy_within(offset_at..old.end, offset_at + shift);
        self.bytes.copy_within(head_at..offset_at, head_at + count * HEAD_LEN);
        let offset_at = offset_at + count * HEAD_LEN;
        let mut heap = usize::from(get_u16(self.bytes, HEADER_HEAP));
        for (new, from) in slots.enumerate() {
            let (cell, head) = write_slot(self.bytes, heap, parts, from, old.prefix);
            heap = cell;
            self.bytes[head_at + new * HEAD_LEN..][..HEAD_LEN].copy_from_slice(&head.bytes);
            put_u16(self.bytes, offset_at + new * OFFSET_LEN, small(heap));
        }
        put_u16(self.bytes, HEADER_HEAP, small(heap));
        put_u16(self.bytes, HEADER_COUNT, small(old.count + count));
        put_u16(self.bytes, HEADER_RUN, 0);
    }

    /// Inserts a separator into a branch, with the child on its right. `false`, with nothing
    /// changed, when it does not fit.
    pub(crate) fn insert_branch(&mut self, at: usize, separator: &[u8], right: ChildRef) -> bool {
        let slot_len = HEAD_LEN + OFFSET_LEN + CHILD_LEN;
        let Some(room) = self.make_room(separator, BRANCH_CELL_HEADER, slot_len) else {
            return false;
        };
        let Room { layout, cell, suffix } = room;
        let rest = suffix.get(HEAD_LEN..).unwrap_or_default();
        put_u16(self.bytes, cell, small(suffix.len()));
        let at_rest = cell + BRANCH_CELL_HEADER;
        self.bytes[at_rest..at_rest + rest.len()].copy_from_slice(rest);
        self.open_slot(layout, CHILD_LEN, Slotted { at, head: head_of(suffix), cell });
        self.set_child(at + 1, right);
        put_u16(self.bytes, HEADER_RUN, small(at + 1));
        true
    }

    /// Removes an entry of a leaf.
    pub(crate) fn remove_leaf(&mut self, at: usize) {
        let node = self.node();
        let cell = node.cell(Layout::of(node.bytes), at);
        let len = LEAF_CELL_HEADER + node.rest(cell).1.len() + node.payload(at).bytes.len();
        self.free_cell(cell, len);
        self.close_slot(at, 0);
        put_u16(self.bytes, HEADER_RUN, 0);
    }

    /// Removes a child of a branch, with the separator on its left, or on its right for the first.
    pub(crate) fn remove_child(&mut self, child: usize) {
        let last = self.node().count() - 1;
        let separator = match child {
            wrong if seeded!(RemovedChildTakesWrongSeparator) => wrong.min(last),
            child => child.saturating_sub(1),
        };
        let node = self.node();
        let cell = node.cell(Layout::of(node.bytes), separator);
        let len = BRANCH_CELL_HEADER + node.rest(cell).1.len();
        self.free_cell(cell, len);
        self.close_slot(separator, child);
        put_u16(self.bytes, HEADER_RUN, 0);
    }

    /// Replaces a child of a branch.
    pub(crate) fn set_child(&mut self, at: usize, child: ChildRef) {
        let from = Layout::of(self.bytes).children + at * CHILD_LEN;
        put_u32(self.bytes, from, child.id.0);
        put_u32(self.bytes, from + 4, child.checksum);
    }

    /// Overwrites the payload of a leaf's slot when the new one has the same tag, so the same
    /// length. `false`, with nothing changed, otherwise.
    pub(crate) fn overwrite_payload(&mut self, at: usize, payload: Payload<'_>) -> bool {
        let node = self.node();
        let cell = node.cell(Layout::of(node.bytes), at);
        let (_, rest) = node.rest(cell);
        let from = cell + LEAF_CELL_HEADER + rest.len();
        if get_u16(self.bytes, cell + 2) != payload.tag {
            return false;
        }
        self.bytes[from..from + payload.bytes.len()].copy_from_slice(payload.bytes);
        true
    }

    /// Replaces a payload by one of the same length, whatever its tag.
    pub(crate) fn retag_payload(&mut self, at: usize, payload: Payload<'_>) {
        let node = self.node();
        let cell = node.cell(Layout::of(node.bytes), at);
        let from = cell + LEAF_CELL_HEADER + node.rest(cell).1.len();
        put_u16(self.bytes, cell + 2, payload.tag);
        self.bytes[from..from + payload.bytes.len()].copy_from_slice(payload.bytes);
    }

    /// Takes bytes from the heap for the cell of `key`, which has `cell_len` bytes beside the
    /// key's rest, so that `slot_len` more are left for the arrays. Shortens the prefix, and
    /// compacts the heap, where that is needed. `None`, with nothing changed, when that leaves no
    /// room.
    fn make_room<'k>(
        &mut self,
        key: &'k [u8],
        cell_len: usize,
        slot_len: usize,
    ) -> Option<Room<'k>> {
        let mut layout = Layout::of(self.bytes);
        let prefix = self.node().prefix();
        // A page that is written without keys has no prefix.
        let kept = match layout.count {
            0 => 0,
            _ if seeded!(PrefixKeptThoughAKeyLeavesIt) => prefix.len().min(key.len()),
            _ if key.starts_with(prefix) => prefix.len(),
            _ => common_prefix(prefix, key),
        };
        let suffix = &key[kept..];
        let cell_len = cell_len + suffix.len().saturating_sub(HEAD_LEN);
        let need = cell_len + slot_len;
        let mut heap = usize::from(get_u16(self.bytes, HEADER_HEAP));
        let gap = heap - layout.end;
        if kept < prefix.len() || gap < need {
            let dead = usize::from(get_u16(self.bytes, HEADER_DEAD));
            let may_fit = kept < prefix.len() || gap + dead >= need;
            if !may_fit || !self.rewrite(kept, need) {
                return None;
            }
            layout = Layout::of(self.bytes);
            heap = usize::from(get_u16(self.bytes, HEADER_HEAP));
        }
        let cell = heap - cell_len;
        put_u16(self.bytes, HEADER_HEAP, small(cell));
        Some(Room { layout, cell, suffix })
    }

    /// Builds the page anew with a prefix of `prefix_len` bytes and no dead bytes, for an
    /// insertion. `false`, with nothing changed, when that would not leave `room` bytes.
    fn rewrite(&mut self, prefix_len: usize, room: usize) -> bool {
        let old = PageCopy::of(self.bytes);
        let node = Node::new(old.bytes());
        let parts = Parts::of(node);
        let kept = parts.len - usize::from(seeded!(CompactionForgetsLastCell));
        let form = Form { parts: &parts, range: 0..kept, shape: Shape::of(node), prefix_len };
        if form.len() + room > self.bytes.len() {
            return false;
        }
        self.bytes.fill(0);
        form.write(self.bytes);
        true
    }

    /// Lengthens the prefix to what all separators of a branch share: the first ones often share
    /// little, and where heads begin with what is the same in all they tell nothing.
    pub(crate) fn lengthen_prefix(&mut self) {
        let (layout, run) = (Layout::of(self.bytes), get_u16(self.bytes, HEADER_RUN));
        if layout.is_leaf || layout.count < 2 {
            return;
        }
        let heads = self.node().heads(layout);
        if heads[0][HEAD_LEN - 1] != heads[layout.count - 1][HEAD_LEN - 1] {
            return;
        }
        let shared = shared_prefix(&Parts::of(self.node()), &(0..layout.count));
        if shared > layout.prefix && self.rewrite(shared, 0) {
            put_u16(self.bytes, HEADER_RUN, run);
        }
    }

    /// Moves the arrays apart and fills a slot; of a branch, whose children have `child` bytes,
    /// the place of the child behind it too.
    #[inline]
    fn open_slot(&mut self, old: Layout, child: usize, slot: Slotted) {
        let Slotted { at, head, cell } = slot;
        let (head_at, offset_at) = (old.heads + at * HEAD_LEN, old.offsets + at * OFFSET_LEN);
        let shift = child + HEAD_LEN + OFFSET_LEN;
        self.bytes.copy_within(offset_at..old.end, offset_at + shift);
        self.bytes.copy_within(head_at..offset_at, head_at + child + HEAD_LEN);
        if child > 0 {
            let child_at = old.children + (at + 1) * CHILD_LEN;
            self.bytes.copy_within(child_at..head_at, child_at + CHILD_LEN);
        }
        put_u16(self.bytes, HEADER_COUNT, small(old.count + 1));
        put_u32(self.bytes, head_at + child, head);
        put_u16(self.bytes, offset_at + child + HEAD_LEN, small(cell));
    }

    /// Moves the arrays together over slot `at`, and over `child` in a branch.
    fn close_slot(&mut self, at: usize, child: usize) {
        let old = Layout::of(self.bytes);
        let child_len = if self.node().is_leaf() { 0 } else { CHILD_LEN };
        let (head_at, offset_at) = (old.heads + at * HEAD_LEN, old.offsets + at * OFFSET_LEN);
        if child_len > 0 {
            let child_at = old.children + child * CHILD_LEN;
            self.bytes.copy_within(child_at + CHILD_LEN..head_at, child_at);
        }
        self.bytes.copy_within(head_at + HEAD_LEN..offset_at, head_at - child_len);
        self.bytes.copy_within(offset_at + OFFSET_LEN..old.end, offset_at - child_len - HEAD_LEN);
        let new_end = old.end - child_len - HEAD_LEN - OFFSET_LEN;
        if !seeded!(StaleMemoryInPage) {
            self.bytes[new_end..old.end].fill(0);
        }
        put_u16(self.bytes, HEADER_COUNT, small(old.count - 1));
    }

    /// Gives a cell's bytes back, zeroed.
    fn free_cell(&mut self, cell: usize, len: usize) {
        self.bytes[cell..cell + len].fill(0);
        let heap = usize::from(get_u16(self.bytes, HEADER_HEAP));
        if cell == heap {
            put_u16(self.bytes, HEADER_HEAP, small(heap + len));
        } else if !seeded!(DeadBytesNotCounted) {
            let dead = get_u16(self.bytes, HEADER_DEAD);
            put_u16(self.bytes, HEADER_DEAD, dead + small(len));
        }
    }
}
