//! Tree pages: reading (layer L3).
//!
//! Owns: [`Node`], the view of a leaf or branch whose bytes were checked or built here.
//! Must not know: where pages come from, or how a tree hangs together.
//! Keeps: cells-disjoint (within one page).

mod arrays;
mod build;
mod check;
mod edit;
mod fill;
mod heads;
mod parts;
mod search;
mod share;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

pub(crate) use arrays::{Begun, Sought};
pub(crate) use build::{
    Halves, Insertion, common_prefix, merge, rebalance, single_branch, single_leaf, split_branch,
    split_leaf,
};
pub(crate) use check::check_node;
pub(crate) use edit::NodeMut;
pub(crate) use fill::{Filled, fill_left};
pub(crate) use search::{Tie, Touch};
pub(crate) use share::share;
pub(crate) use walk::{Leaf, Walk, Way};

use crate::arena::{LINE_BYTES, prefetch_bytes, prefetch_value};
use crate::format::{
    BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_KIND,
    HEADER_LEN, HEADER_LEVEL, HEADER_PREFIX, HEADER_RUN, KIND_LEAF, LEAF_CELL_HEADER, OFFSET_LEN,
    OVERFLOW_LEN, VALUE_OVERFLOW, VALUE_UNPLACED,
};
use crate::page::{ChildRef, Extent, PageId, get_u16, get_u32, get_u64, put_u32, put_u64};
use std::ops::Range;

/// An overflow value: where it lies, and what its bytes must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Length of the value in bytes.
    pub len: u32,
    /// First page of the run.
    pub first: PageId,
    /// Checksum of the run's pages.
    pub checksum: u32,
}

impl Run {
    /// Pages of the run.
    pub(crate) fn pages(self, page_size: usize) -> u32 {
        run_pages(self.len, page_size)
    }

    /// Where the run lies.
    pub(crate) fn extent(self, page_size: usize) -> Extent {
        Extent { first: self.first, pages: self.pages(page_size) }
    }
}

/// Pages that a value of `len` bytes takes in a run.
pub(crate) fn run_pages(len: u32, page_size: usize) -> u32 {
    let size = u32::try_from(page_size).expect("a page size fits 32 bits");
    len.div_ceil(size).max(1)
}

/// A value as a leaf cell holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// The bytes themselves.
    Inline(&'a [u8]),
    /// A reference to a run of pages.
    Overflow(Run),
    /// A large value of the running transaction, in memory only.
    Unplaced {
        /// Length in bytes.
        len: u32,
        /// Its number in the transaction.
        handle: u64,
    },
}

/// The tag and the payload of a leaf cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) tag: u16,
    pub(crate) bytes: &'a [u8],
}

/// A value's encoding, which lives as long as the value.
pub(crate) struct Encoded<'a> {
    tag: u16,
    reference: [u8; OVERFLOW_LEN],
    inline: Option<&'a [u8]>,
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(value: Value<'a>) -> Encoded<'a> {
        let mut reference = [0; OVERFLOW_LEN];
        match value {
            Value::Inline(bytes) => {
                let tag = u16::try_from(bytes.len()).expect("an inline value fits a cell");
                Encoded { tag, reference, inline: Some(bytes) }
            }
            Value::Overflow(run) => {
                put_u32(&mut reference, 0, run.len);
                put_u32(&mut reference, 4, run.first.0);
                put_u32(&mut reference, 8, run.checksum);
                Encoded { tag: VALUE_OVERFLOW, reference, inline: None }
            }
            Value::Unplaced { len, handle } => {
                put_u32(&mut reference, 0, len);
                put_u64(&mut reference, 4, handle);
                Encoded { tag: VALUE_UNPLACED, reference, inline: None }
            }
        }
    }

    pub(crate) fn payload(&self) -> Payload<'_> {
        Payload { tag: self.tag, bytes: self.inline.unwrap_or(&self.reference) }
    }
}

/// Bytes of the payload behind a tag.
fn payload_len(tag: u16) -> usize {
    if tag >= VALUE_UNPLACED { OVERFLOW_LEN } else { usize::from(tag) }
}

/// Where the parts of a tree page begin.
#[derive(Clone, Copy)]
struct Layout {
    is_leaf: bool,
    count: usize,
    prefix: usize,
    children: usize,
    heads: usize,
    offsets: usize,
    end: usize,
}

impl Layout {
    #[inline]
    fn of(bytes: &[u8]) -> Layout {
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().expect("a page has a header");
        let field = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        Layout::new(header[HEADER_KIND] == KIND_LEAF, field(HEADER_COUNT), field(HEADER_PREFIX))
    }

    #[inline]
    fn new(is_leaf: bool, count: usize, prefix: usize) -> Layout {
        let children = HEADER_LEN + ((prefix + 3) & !3);
        let heads = if is_leaf { children } else { children + (count + 1) * CHILD_LEN };
        let offsets = heads + count * HEAD_LEN;
        let end = offsets + count * OFFSET_LEN;
        Layout { is_leaf, count, prefix, children, heads, offsets, end }
    }
}

/// A leaf or a branch.
///
/// The bytes were built by this module, or passed [`check_node`]; so no access fails.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    bytes: &'a [u8],
}

impl<'a> Node<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Node<'a> {
        Node { bytes }
    }

    pub(crate) fn is_leaf(self) -> bool {
        self.bytes[HEADER_KIND] == KIND_LEAF
    }

    pub(crate) fn level(self) -> u8 {
        self.bytes[HEADER_LEVEL]
    }

    /// Entries of a leaf, separators of a branch.
    pub(crate) fn count(self) -> usize {
        usize::from(get_u16(self.bytes, HEADER_COUNT))
    }

    /// Children of a branch.
    pub(crate) fn children(self) -> usize {
        self.count() + 1
    }

    pub(crate) fn prefix(self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..HEADER_LEN + usize::from(get_u16(self.bytes, HEADER_PREFIX))]
    }

    /// Bytes in use, header and arrays included.
    pub(crate) fn used(self) -> usize {
        let heap = usize::from(get_u16(self.bytes, HEADER_HEAP));
        let dead = usize::from(get_u16(self.bytes, HEADER_DEAD));
        Layout::of(self.bytes).end + self.bytes.len() - heap - dead
    }

    /// Bytes from the beginning of the page to the end of what a search touches but for cells.
    pub(crate) fn search_bytes(self) -> usize {
        Layout::of(self.bytes).end
    }

    /// Whether slot `at` continues a run of ascending insertions.
    pub(crate) fn continues_run(self, at: usize) -> bool {
        at > 0 && usize::from(get_u16(self.bytes, HEADER_RUN)) == at
    }

    #[inline]
    fn heads(self, layout: Layout) -> &'a [[u8; HEAD_LEN]] {
        self.bytes[layout.heads..layout.offsets].as_chunks().0
    }

    #[inline]
    fn cell(self, layout: Layout, at: usize) -> usize {
        usize::from(get_u16(self.bytes, layout.offsets + at * OFFSET_LEN))
    }

    /// The length of a key after the prefix, and the rest of it after the head.
    #[inline]
    fn rest_in(self, layout: Layout, cell: usize) -> (usize, &'a [u8]) {
        let header = if layout.is_leaf { LEAF_CELL_HEADER } else { BRANCH_CELL_HEADER };
        self.rest_behind(cell, header)
    }

    #[inline(always)]
    fn rest_behind(self, cell: usize, header: usize) -> (usize, &'a [u8]) {
        let len = usize::from(get_u16(self.bytes, cell));
        let at = cell + header;
        (len, &self.bytes[at..at + len.saturating_sub(HEAD_LEN)])
    }

    fn rest(self, cell: usize) -> (usize, &'a [u8]) {
        self.rest_in(Layout::of(self.bytes), cell)
    }

    /// Asks for where the cells of some slots begin, before they are wanted.
    #[inline(always)]
    pub(crate) fn prefetch_cells(self, slots: Range<usize>) {
        let layout = Layout::of(self.bytes);
        // More than one line is touched only where cells are longer than that.
        let are_short = layout.count * LINE_BYTES >= self.bytes.len();
        for offset in &self.bytes[layout.offsets..layout.end].as_chunks().0[slots] {
            let cell = &self.bytes[usize::from(u16::from_le_bytes(*offset))..];
            if are_short { prefetch_value(&cell[0]) } else { prefetch_bytes(cell, 1) }
        }
    }

    /// Child `at` of a branch.
    pub(crate) fn child(self, at: usize) -> ChildRef {
        self.child_in(Layout::of(self.bytes), at)
    }

    #[inline]
    fn child_in(self, layout: Layout, at: usize) -> ChildRef {
        let from = layout.children + at * CHILD_LEN;
        let child = &self.bytes[from..from + CHILD_LEN];
        ChildRef { id: PageId(get_u32(child, 0)), checksum: get_u32(child, 4) }
    }

    /// The head of slot `at`, what follows it in the key, and the length of both together.
    #[inline]
    fn suffix(self, layout: Layout, at: usize) -> ([u8; HEAD_LEN], &'a [u8], usize) {
        let (len, rest) = self.rest_in(layout, self.cell(layout, at));
        (u32::from_le_bytes(self.heads(layout)[at]).to_be_bytes(), rest, len)
    }

    /// The length of the key of slot `at`.
    pub(crate) fn key_len(self, at: usize) -> usize {
        let layout = Layout::of(self.bytes);
        layout.prefix + self.rest_in(layout, self.cell(layout, at)).0
    }

    /// Appends the key of slot `at` to `out`.
    pub(crate) fn append_key(self, at: usize, out: &mut Vec<u8>) {
        let layout = Layout::of(self.bytes);
        let (head, rest, len) = self.suffix(layout, at);
        out.reserve(layout.prefix + len);
        out.extend_from_slice(self.prefix());
        out.extend_from_slice(&head[..len.min(HEAD_LEN)]);
        out.extend_from_slice(rest);
    }

    /// The key of slot `at`.
    pub(crate) fn key(self, at: usize) -> Vec<u8> {
        let mut key = Vec::new();
        self.append_key(at, &mut key);
        key
    }

    pub(crate) fn payload(self, at: usize) -> Payload<'a> {
        self.payload_in(Layout::of(self.bytes), at)
    }

    #[inline]
    fn payload_in(self, layout: Layout, at: usize) -> Payload<'a> {
        let cell = self.cell(layout, at);
        let len = usize::from(get_u16(self.bytes, cell));
        self.payload_behind(cell, len.saturating_sub(HEAD_LEN))
    }

    /// The payload of a leaf's cell, behind the key's rest.
    #[inline(always)]
    fn payload_behind(self, cell: usize, rest_len: usize) -> Payload<'a> {
        let tag = get_u16(self.bytes, cell + 2);
        let from = cell + LEAF_CELL_HEADER + rest_len;
        Payload { tag, bytes: &self.bytes[from..from + payload_len(tag)] }
    }

    /// The value of slot `at` of a leaf.
    pub(crate) fn value(self, at: usize) -> Value<'a> {
        self.value_in(Layout::of(self.bytes), at)
    }

    #[inline]
    fn value_in(self, layout: Layout, at: usize) -> Value<'a> {
        self.payload_in(layout, at).value()
    }
}

impl<'a> Payload<'a> {
    /// The value of which this is the encoding.
    #[inline(always)]
    fn value(self) -> Value<'a> {
        let field = |from| get_u32(self.bytes, from);
        match self.tag {
            VALUE_OVERFLOW => {
                Value::Overflow(Run { len: field(0), first: PageId(field(4)), checksum: field(8) })
            }
            VALUE_UNPLACED => Value::Unplaced { len: field(0), handle: get_u64(self.bytes, 4) },
            _ => Value::Inline(self.bytes),
        }
    }
}
