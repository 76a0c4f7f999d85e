//! Tree pages: their slots as one sequence (part of node, layer L3).
//!
//! Owns: [`Parts`], the slots of a page, of a page with one more, or of two neighbours, where they
//! lie; [`Key`], a key in pieces. Must not know: how a page is written, trees.

use super::{Layout, Node, Payload, payload_len};
use crate::format::{BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, LEAF_CELL_HEADER, OFFSET_LEN};
use crate::page::{ChildRef, get_u16};

/// What a slot holds beside its key.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Leaf(Payload<'a>),
    /// The child on the separator's right.
    Branch(ChildRef),
}

/// A key, in the pieces in which its page holds it.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) prefix: &'a [u8],
    /// Zero padded.
    pub(super) head: [u8; HEAD_LEN],
    pub(super) head_len: usize,
    pub(super) rest: &'a [u8],
}

impl<'a> Key<'a> {
    /// A key in one piece.
    pub(super) fn whole(key: &'a [u8]) -> Key<'a> {
        Key { prefix: key, head: [0; HEAD_LEN], head_len: 0, rest: &[] }
    }

    fn pieces(&self) -> [&[u8]; 3] {
        [self.prefix, &self.head[..self.head_len], self.rest]
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.prefix.len() + self.head_len + self.rest.len()
    }

    /// Fills `out` with the key's bytes from `from` on.
    pub(super) fn copy_to(&self, from: usize, mut out: &mut [u8]) {
        let mut skip = from;
        for piece in self.pieces() {
            let wanted = &piece[skip.min(piece.len())..];
            skip = skip.saturating_sub(piece.len());
            let (now, later) = out.split_at_mut(wanted.len().min(out.len()));
            now.copy_from_slice(&wanted[..now.len()]);
            out = later;
        }
    }

    /// The first `len` bytes.
    pub(super) fn first_bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.copy_to(0, &mut bytes);
        bytes
    }

    /// Bytes that two keys share at their beginning.
    pub(super) fn common_prefix(&self, other: &Key<'_>) -> usize {
        let bytes = self.pieces().into_iter().flatten();
        let others = other.pieces().into_iter().flatten();
        bytes.zip(others).take_while(|(a, b)| a == b).count()
    }
}

/// A slot: its key, and what it holds.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) key: Key<'a>,
    pub(super) content: Content<'a>,
}

impl Slot<'_> {
    /// Bytes of the cell and of its place in the arrays, with a prefix of `prefix_len` bytes.
    #[inline]
    pub(super) fn len(&self, prefix_len: usize) -> usize {
        let rest = (self.key.len() - prefix_len).saturating_sub(HEAD_LEN);
        match self.content {
            Content::Leaf(payload) => {
                HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + payload.bytes.len()
            }
            Content::Branch(_) => HEAD_LEN + OFFSET_LEN + CHILD_LEN + BRANCH_CELL_HEADER + rest,
        }
    }
}

/// What a page is, beside its slots.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) level: u8,
    /// The first child of a branch.
    pub(super) first: Option<ChildRef>,
}

impl Shape {
    /// The shape of a page.
    pub(super) fn of(node: Node<'_>) -> Shape {
        let first = if node.is_leaf() { None } else { Some(node.child(0)) };
        Shape { level: node.level(), first }
    }
}

/// The slots of a page.
#[derive(Clone, Copy)]
struct Side<'a> {
    node: Node<'a>,
    layout: Layout,
    prefix: &'a [u8],
    is_leaf: bool,
}

impl<'a> Side<'a> {
    fn new(node: Node<'a>) -> Side<'a> {
        let (layout, prefix) = (Layout::of(node.bytes), node.prefix());
        Side { node, layout, prefix, is_leaf: node.is_leaf() }
    }

    #[inline]
    fn slot(&self, at: usize) -> Slot<'a> {
        let cell = self.node.cell(self.layout, at);
        let (len, rest) = self.node.rest_in(self.layout, cell);
        let head = u32::from_le_bytes(self.node.heads(self.layout)[at]).to_be_bytes();
        let key = Key { prefix: self.prefix, head, head_len: len.min(HEAD_LEN), rest };
        let content = if self.is_leaf {
            Content::Leaf(self.node.payload_behind(cell, rest.len()))
        } else {
            Content::Branch(self.node.child_in(self.layout, at + 1))
        };
        Slot { key, content }
    }

    /// As [`Slot::len`], without a look at more than the cell's header.
    #[inline]
    fn slot_len(&self, at: usize, prefix_len: usize) -> usize {
        let cell = self.node.cell(self.layout, at);
        let suffix_len = usize::from(get_u16(self.node.bytes, cell));
        let rest = (self.prefix.len() + suffix_len - prefix_len).saturating_sub(HEAD_LEN);
        if self.is_leaf {
            let payload = payload_len(get_u16(self.node.bytes, cell + 2));
            HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + payload
        } else {
            HEAD_LEN + OFFSET_LEN + CHILD_LEN + BRANCH_CELL_HEADER + rest
        }
    }

    #[inline]
    fn cell(&self, at: usize) -> Cell<'a> {
        let bytes = self.node.bytes;
        let cell = self.node.cell(self.layout, at);
        let rest = usize::from(get_u16(bytes, cell)).saturating_sub(HEAD_LEN);
        let (len, child) = if self.is_leaf {
            (LEAF_CELL_HEADER + rest + payload_len(get_u16(bytes, cell + 2)), None)
        } else {
            (BRANCH_CELL_HEADER + rest, Some(self.node.child_in(self.layout, at + 1)))
        };
        Cell { head: self.node.heads(self.layout)[at], bytes: &bytes[cell..cell + len], child }
    }
}

/// A slot as its page holds it: a page with the same prefix holds it alike.
pub(super) struct Cell<'a> {
    pub(super) head: [u8; HEAD_LEN],
    pub(super) bytes: &'a [u8],
    /// Of a branch: the child on the separator's right.
    pub(super) child: Option<ChildRef>,
}

/// Where a slot of a sequence is.
enum Origin<'p, 'a> {
    /// A slot of a page.
    Page(&'p Side<'a>, usize),
    Alone(Slot<'a>),
}

/// Slots of one or two pages, and one between them, in ascending order.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    left: Side<'a>,
    left_len: usize,
    middle: Option<Slot<'a>>,
    right: Side<'a>,
    /// The first slot of the right page that belongs to the sequence.
    right_from: usize,
    pub(super) len: usize,
}

impl<'a> Parts<'a> {
    /// The slots of a page.
    pub(super) fn of(node: Node<'a>) -> Parts<'a> {
        let side = Side::new(node);
        let len = side.layout.count;
        Parts { left: side, left_len: len, middle: None, right: side, right_from: len, len }
    }

    /// The slots of a page, and one more in front of slot `at`.
    pub(super) fn with(node: Node<'a>, at: usize, slot: Slot<'a>) -> Parts<'a> {
        let side = Side::new(node);
        let len = side.layout.count + 1;
        Parts { left: side, left_len: at, middle: Some(slot), right: side, right_from: at, len }
    }

    /// The slots of two neighbours, and one between them.
    pub(super) fn joined(left: Node<'a>, middle: Option<Slot<'a>>, right: Node<'a>) -> Parts<'a> {
        let (left, right) = (Side::new(left), Side::new(right));
        let len = left.layout.count + usize::from(middle.is_some()) + right.layout.count;
        Parts { left, left_len: left.layout.count, middle, right, right_from: 0, len }
    }

    #[inline]
    fn origin(&self, at: usize) -> Origin<'_, 'a> {
        if at < self.left_len {
            return Origin::Page(&self.left, at);
        }
        let at = at - self.left_len;
        match self.middle {
            Some(middle) if at == 0 => Origin::Alone(middle),
            Some(_) => Origin::Page(&self.right, self.right_from + at - 1),
            None => Origin::Page(&self.right, self.right_from + at),
        }
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Slot<'a> {
        match self.origin(at) {
            Origin::Page(side, at) => side.slot(at),
            Origin::Alone(slot) => slot,
        }
    }

    /// Bytes of a slot, as [`Slot::len`] counts them.
    #[inline]
    pub(super) fn slot_len(&self, at: usize, prefix_len: usize) -> usize {
        match self.origin(at) {
            Origin::Page(side, at) => side.slot_len(at, prefix_len),
            Origin::Alone(slot) => slot.len(prefix_len),
        }
    }

    /// A slot as it is, if it lies in a page with a prefix of that many bytes.
    #[inline]
    pub(super) fn cell(&self, at: usize, prefix_len: usize) -> Option<Cell<'a>> {
        match self.origin(at) {
            Origin::Page(side, at) if side.prefix.len() == prefix_len => Some(side.cell(at)),
            _ => None,
        }
    }
}
