//! Tree pages: walking over the entries of a leaf (part of node, layer L3).
//!
//! Owns: [`Walk`], a place in a leaf that is held, and the steps from there.
//! Must not know: trees. Keeps: bytes-never-panic (whatever a leaf says of its cells, no step
//! leaves it).
//!
//! A step looks at its entry twice: it finds where the entry's parts are, and then takes them. The
//! compiler sees that what was compared in the first half holds in the second. What it cannot see
//! is unsafe here: that bytes stay where they are as long as their leaf is held, and that the
//! arrays of a leaf were found to lie in it when it was entered.

use super::{Layout, Node, Value};
use crate::arena::Lines;
use crate::buffer::Buffer;
use crate::format::{HEAD_LEN, LEAF_CELL_HEADER, OFFSET_LEN, PAGE_SIZE_MAX, VALUE_UNPLACED};
use crate::page::{Page, get_u32};
use std::ptr::NonNull;

/// A key's rest is copied in one step of this many bytes, where the page has them: what is too
/// much is overwritten later. A copy of a length that is not known costs three times as much.
const STEP: usize = 32;
/// What such a step fills behind the prefix.
const ROOM: usize = HEAD_LEN + STEP;

/// Which way a step goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Backward,
}

/// A leaf that is held: its bytes stay where they are when this moves, and nobody writes them.
#[derive(Debug)]
pub(crate) enum Leaf {
    Sealed(Page),
    /// Who writes to another clone gets a copy.
    Built(Buffer),
}

impl Leaf {
    fn bytes(&self) -> &[u8] {
        match self {
            Leaf::Sealed(page) => page.bytes(),
            Leaf::Built(bytes) => bytes,
        }
    }
}

/// A place between two entries of a leaf, or nowhere.
#[derive(Debug)]
pub(crate) struct Walk {
    leaf: Option<Leaf>,
    /// Where the bytes of the leaf are.
    bytes: NonNull<[u8]>,
    /// Where its arrays have the first slot that is walked over. They lie in its bytes, with at
    /// least `span` slots from there.
    heads: NonNull<[u8; HEAD_LEN]>,
    offsets: NonNull<[u8; OFFSET_LEN]>,
    /// The first slot that is walked over.
    low: usize,
    /// How many are walked over.
    span: usize,
    /// How many of them lie in front of the place.
    passed: usize,
    /// The key that was shown last, and bytes of no meaning behind it. It begins with the leaf's
    /// prefix, and has room for a step behind that.
    key: Vec<u8>,
    key_len: usize,
    prefix: usize,
    /// What the steps ask for: lines of another leaf, or of this one.
    along: Lines,
}

// SAFETY: what is pointed to belongs to `leaf`, which may go to another thread.
unsafe impl Send for Walk {}
// SAFETY: through a shared reference a walk is only read.
unsafe impl Sync for Walk {}

/// An entry that can be stepped over at once, and where its parts are.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    /// What is passed behind the step.
    to: usize,
    head: [u8; HEAD_LEN],
    cell: usize,
    /// Of the key behind the prefix.
    key_len: usize,
    value: usize,
    value_len: usize,
}

impl Default for Walk {
    fn default() -> Walk {
        Walk {
            leaf: None,
            bytes: NonNull::from(&[]),
            heads: NonNull::dangling(),
            offsets: NonNull::dangling(),
            low: 0,
            span: 0,
            passed: 0,
            key: Vec::new(),
            key_len: 0,
            prefix: 0,
            along: Lines::of(&[]),
        }
    }
}

impl Walk {
    /// Takes the place in front of the first entry of a leaf.
    pub(crate) fn enter(&mut self, leaf: Leaf) {
        self.leave();
        let bytes = leaf.bytes();
        let layout = Layout::of(bytes);
        assert!(layout.is_leaf, "a leaf");
        assert!(bytes.len() <= PAGE_SIZE_MAX as usize, "a page of a known size");
        let prefix = Node::new(bytes).prefix();
        make_room(&mut self.key, prefix.len() + ROOM);
        self.key[..prefix.len()].copy_from_slice(prefix);
        (self.prefix, self.key_len) = (prefix.len(), 0);
        self.bytes = NonNull::from(self.leaf.insert(leaf).bytes());
        self.along = Lines::of(self.bytes());
        self.span_over(layout, 0, layout.count);
    }

    /// Has the steps through this leaf ask for lines, each for one.
    pub(crate) fn ask_along(&mut self, lines: Lines) {
        self.along = lines;
    }

    /// Goes nowhere.
    pub(crate) fn leave(&mut self) {
        (self.low, self.span, self.passed) = (0, 0, 0);
        self.bytes = NonNull::from(&[]);
        self.leaf = None;
    }

    pub(crate) fn node(&self) -> Option<Node<'_>> {
        self.leaf.as_ref().map(|leaf| Node::new(leaf.bytes()))
    }

    /// Keeps to the slots `low..high` of the leaf.
    pub(crate) fn bound(&mut self, low: usize, high: usize) {
        let Some(node) = self.node() else { return assert_eq!((low, high), (0, 0)) };
        let (layout, at) = (Layout::of(node.bytes), self.at());
        assert!(low <= high && high <= layout.count, "bounds within a leaf");
        self.span_over(layout, low, high);
        self.place(at);
    }

    /// Notes where the slots `low..high` of the leaf are, of which this is the layout.
    fn span_over(&mut self, layout: Layout, low: usize, high: usize) {
        let bytes = self.bytes();
        let heads = &bytes[layout.heads + low * HEAD_LEN..layout.heads + high * HEAD_LEN];
        let offsets = &bytes[layout.offsets + low * OFFSET_LEN..layout.offsets + high * OFFSET_LEN];
        let places = (NonNull::from(heads).cast(), NonNull::from(offsets).cast());
        (self.heads, self.offsets) = places;
        (self.low, self.span) = (low, high - low);
    }

    /// Goes in front of a slot, or to the bound that lies between.
    pub(crate) fn place(&mut self, at: usize) {
        self.passed = at.clamp(self.low, self.high()) - self.low;
    }

    /// The slot behind the place.
    pub(crate) fn at(&self) -> usize {
        self.low + self.passed
    }

    /// The first slot that is walked over.
    pub(crate) fn low(&self) -> usize {
        self.low
    }

    /// Behind the last slot that is walked over.
    pub(crate) fn high(&self) -> usize {
        self.low + self.span
    }

    /// The slot that a step goes over, counted from the first one, and what is passed behind it.
    #[inline(always)]
    fn ahead(&self, way: Way) -> Option<(usize, usize)> {
        match way {
            Way::Forward => (self.passed < self.span).then(|| (self.passed, self.passed + 1)),
            // In front of the first one it is more than any.
            Way::Backward => {
                Some(self.passed.wrapping_sub(1)).filter(|&at| at < self.span).map(|at| (at, at))
            }
        }
    }

    /// The entry that a step goes over, if the leaf has it and most are like it: the key's rest is
    /// short and not at the end of the page, and the value lies in the leaf.
    #[inline(always)]
    pub(crate) fn look(&self, way: Way) -> Option<Plain> {
        let (at, to) = self.ahead(way)?;
        let bytes = self.bytes();
        // SAFETY: the array lies in the bytes, with more slots from there than `at`.
        let offset = unsafe { self.offsets.add(at) };
        // SAFETY: as above; and any bytes are an offset.
        let offset = unsafe { offset.read() };
        // SAFETY: as above.
        let head = unsafe { self.heads.add(at) };
        // SAFETY: as above.
        let head = u32::from_le_bytes(unsafe { head.read() });
        let cell = usize::from(u16::from_le_bytes(offset));
        let step = bytes.get(cell..cell + LEAF_CELL_HEADER + STEP)?;
        // Both lengths in one read.
        let [low, high, tag @ ..] = get_u32(step, 0).to_le_bytes();
        let key_len = usize::from(u16::from_le_bytes([low, high]));
        // A tag that is no length is longer than a page.
        const { assert!(VALUE_UNPLACED as usize + LEAF_CELL_HEADER > PAGE_SIZE_MAX as usize) };
        let value_len = usize::from(u16::from_le_bytes(tag));
        let value = cell + LEAF_CELL_HEADER + key_len.max(HEAD_LEN) - HEAD_LEN;
        if key_len > ROOM || value + value_len > bytes.len() {
            return None;
        }
        Some(Plain { to, head: head.to_be_bytes(), cell, key_len, value, value_len })
    }

    /// Steps over an entry that was looked at, and lends it.
    #[inline(always)]
    pub(crate) fn take(&mut self, plain: Plain) -> (&[u8], &[u8]) {
        // SAFETY: as for `bytes`; what is written below are other fields.
        let bytes = unsafe { self.bytes.as_ref() };
        let value = &bytes[plain.value..plain.value + plain.value_len];
        let step = &bytes[plain.cell..plain.cell + LEAF_CELL_HEADER + STEP];
        let key = self.key.as_mut_slice();
        // SAFETY: there is room for a step behind the prefix.
        let out = unsafe { key.get_unchecked_mut(self.prefix..self.prefix + ROOM) };
        out[..HEAD_LEN].copy_from_slice(&plain.head);
        out[HEAD_LEN..].copy_from_slice(&step[LEAF_CELL_HEADER..]);
        self.along.ask_for(plain.to);
        self.passed = plain.to;
        self.key_len = self.prefix + plain.key_len.min(ROOM);
        // SAFETY: as above, since the key is no longer than that.
        (unsafe { key.get_unchecked(..self.key_len) }, value)
    }

    /// Steps over whatever entry, and shows its key. Returns its slot, if the leaf has it.
    pub(crate) fn step(&mut self, way: Way) -> Option<usize> {
        let (at, to) = self.ahead(way)?;
        self.show(self.low + at);
        self.passed = to;
        Some(self.low + at)
    }

    /// Makes the key of a slot whole.
    pub(crate) fn show(&mut self, at: usize) {
        let Some(leaf) = &self.leaf else { return };
        let node = Node::new(leaf.bytes());
        let (head, rest, key_len) = node.suffix(Layout::of(node.bytes), at);
        make_room(&mut self.key, self.prefix + HEAD_LEN + rest.len());
        let (out, behind) = self.key[self.prefix..].split_at_mut(HEAD_LEN);
        out.copy_from_slice(&head);
        behind[..rest.len()].copy_from_slice(rest);
        self.key_len = self.prefix + key_len;
    }

    /// The key that was shown last; empty before the first.
    #[inline(always)]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.key_len]
    }

    /// The value of a slot, if the leaf holds it.
    pub(crate) fn held_value(&self, at: usize) -> Option<&[u8]> {
        let payload = self.node()?.payload(at);
        (payload.tag < VALUE_UNPLACED).then_some(payload.bytes)
    }

    /// What a slot holds.
    pub(crate) fn value(&self, at: usize) -> Option<Value<'_>> {
        self.node().map(|node| node.value(at))
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        // SAFETY: they are those of the leaf, which stay as they are as long as it is held, and it
        // is held as long as `self` is not changed; without a leaf there are none.
        unsafe { self.bytes.as_ref() }
    }
}

fn make_room(key: &mut Vec<u8>, len: usize) {
    if key.capacity() == 0 {
        // A vector that grows takes longer to ask for memory.
        *key = Vec::with_capacity(len);
    }
    if key.len() < len {
        key.resize(len, 0);
    }
}
