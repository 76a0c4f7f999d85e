//! A tree page, taken apart (part of verify, layer L5).
//!
//! Owns: [`Node`] and [`Cell`]: what lies where, with every bound checked at every access.
//! Must not know: trees, files. Written from `docs/format.md`, apart from the engine's codec.

use super::findings::{Checked, Flaw, all_zero};
use crate::format::{
    BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_KIND,
    HEADER_LEN, HEADER_PREFIX, HEADER_SPARE, KIND_BRANCH, KIND_LEAF, LEAF_CELL_HEADER, OFFSET_LEN,
    OVERFLOW_LEN, VALUE_OVERFLOW, VALUE_UNPLACED, key_len_max, leaf_cell_max,
};
use crate::invariant::Invariant;
use crate::page::{get_u16, get_u32};

/// A page whose arrays lie inside it.
#[derive(Clone, Copy)]
pub(super) struct Node<'b> {
    bytes: &'b [u8],
    is_leaf: bool,
    pub(super) count: usize,
    prefix: &'b [u8],
    children: usize,
    heads: usize,
    offsets: usize,
    arrays_end: usize,
    heap: usize,
    dead: usize,
}

/// An entry or a separator.
pub(super) struct Cell<'b> {
    /// The bytes of the page that it takes, `from` included, `to` not.
    pub(super) from: usize,
    pub(super) to: usize,
    head: [u8; HEAD_LEN],
    /// Length of the key after the prefix.
    key_len: usize,
    rest: &'b [u8],
    pub(super) value: Value<'b>,
}

#[derive(Clone, Copy)]
pub(super) enum Value<'b> {
    /// A separator has none.
    None,
    Inline(&'b [u8]),
    Run(Run),
}

#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) len: u32,
    pub(super) first: u32,
    pub(super) checksum: u32,
}

fn disjoint<T>(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Checked<T> {
    Err(Flaw::new(Invariant::CellsDisjoint, expected, found))
}

impl<'b> Node<'b> {
    /// Finds the arrays of a page that should be a leaf or a branch.
    pub(super) fn open(bytes: &'b [u8], is_leaf: bool) -> Checked<Node<'b>> {
        let field = |at| usize::from(get_u16(bytes, at));
        let (count, heap, dead) = (field(HEADER_COUNT), field(HEADER_HEAP), field(HEADER_DEAD));
        let prefix_len = field(HEADER_PREFIX);
        let max = key_len_max(bytes.len());
        if prefix_len > max {
            let expected = format_args!("a prefix of at most {max} bytes");
            return disjoint(expected, prefix_len);
        }
        if count == 0 {
            return disjoint("a key", "a tree page without one");
        }
        let children = HEADER_LEN + prefix_len.next_multiple_of(4);
        let heads = if is_leaf { children } else { children + (count + 1) * CHILD_LEN };
        let offsets = heads + count * HEAD_LEN;
        let arrays_end = offsets + count * OFFSET_LEN;
        if arrays_end > heap || heap > bytes.len() || dead > bytes.len() - heap {
            let expected = format_args!("a heap from {arrays_end} to {}", bytes.len());
            return disjoint(expected, format_args!("one from {heap}, {dead} bytes dead"));
        }
        let prefix = &bytes[HEADER_LEN..HEADER_LEN + prefix_len];
        Ok(Node { bytes, is_leaf, count, prefix, children, heads, offsets, arrays_end, heap, dead })
    }

    /// The child between the separators `at - 1` and `at`: page and checksum.
    pub(super) fn child(&self, at: usize) -> (u32, u32) {
        let from = self.children + at * CHILD_LEN;
        (get_u32(self.bytes, from), get_u32(self.bytes, from + 4))
    }

    pub(super) fn cell(&self, at: usize) -> Checked<Cell<'b>> {
        let bytes = self.bytes;
        let from = usize::from(get_u16(bytes, self.offsets + at * OFFSET_LEN));
        let header = if self.is_leaf { LEAF_CELL_HEADER } else { BRANCH_CELL_HEADER };
        let rest_from = from + header;
        if from < self.heap || rest_from > bytes.len() {
            return disjoint(format_args!("a cell between {} and the end", self.heap), from);
        }
        let key_len = usize::from(get_u16(bytes, from));
        let whole_len = self.prefix.len() + key_len;
        let max = key_len_max(bytes.len());
        if whole_len == 0 || whole_len > max {
            let expected = format_args!("a key of 1 to {max} bytes");
            return disjoint(expected, whole_len);
        }
        let value_from = rest_from + key_len.saturating_sub(HEAD_LEN);
        let Some(rest) = bytes.get(rest_from..value_from) else {
            return disjoint("a key within the page", format_args!("{key_len} bytes at {from}"));
        };
        let (value, to) =
            if self.is_leaf { self.value(from, value_from)? } else { (Value::None, value_from) };
        if let Value::Inline(_) | Value::Run(_) = value {
            check_place(bytes.len(), whole_len, value)?;
        }
        let head_at = self.heads + at * HEAD_LEN;
        // A head lies as a little endian number whose bytes mean what they mean in the key.
        let head = get_u32(bytes, head_at).to_be_bytes();
        Ok(Cell { from, to, head, key_len, rest, value })
    }

    /// The value of the cell at `cell`, and where it ends.
    fn value(&self, cell: usize, from: usize) -> Checked<(Value<'b>, usize)> {
        let tag = get_u16(self.bytes, cell + 2);
        let len = match tag {
            VALUE_UNPLACED => return disjoint("a value that has its place", "one that has none"),
            VALUE_OVERFLOW => OVERFLOW_LEN,
            len => usize::from(len),
        };
        let Some(value) = self.bytes.get(from..from + len) else {
            return disjoint("a value within the page", format_args!("{len} bytes at {from}"));
        };
        let field = |at| get_u32(value, at);
        let value = if tag == VALUE_OVERFLOW {
            Value::Run(Run { len: field(0), first: field(4), checksum: field(8) })
        } else {
            Value::Inline(value)
        };
        Ok((value, from + len))
    }

    /// Writes the key of a cell to `out`.
    pub(super) fn key(&self, cell: &Cell<'_>, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.prefix);
        out.extend_from_slice(&cell.head[..cell.key_len.min(HEAD_LEN)]);
        out.extend_from_slice(cell.rest);
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.arrays_end + self.bytes.len() - self.heap - self.dead
    }

    /// Checks that the cells, sorted here, do not overlap and leave as many bytes of the heap as
    /// are dead.
    pub(super) fn check_heap(&self, cells: &mut [(usize, usize)]) -> Checked<()> {
        cells.sort_unstable();
        let mut end = self.heap;
        let (mut gaps, mut gaps_are_zero) = (0, true);
        for &(from, to) in cells.iter() {
            if from < end {
                return disjoint(format_args!("a cell that begins at {end} or behind"), from);
            }
            gaps += from - end;
            gaps_are_zero &= all_zero(&self.bytes[end..from]);
            end = to;
        }
        gaps += self.bytes.len() - end;
        gaps_are_zero &= all_zero(&self.bytes[end..]);
        if gaps != self.dead {
            let expected = format_args!("{gaps} bytes dead, which no cell has");
            return disjoint(expected, self.dead);
        }
        if gaps_are_zero {
            return Ok(());
        }
        Err(Flaw::new(Invariant::SameCallsSameBytes, "zeros between the cells", "other bytes"))
    }

    /// Checks that the bytes without a meaning in front of the heap are zero.
    pub(super) fn check_unused(&self) -> Checked<()> {
        let unused = [
            ("the spare field", HEADER_SPARE, HEADER_LEN),
            ("the bytes behind the prefix", HEADER_LEN + self.prefix.len(), self.children),
            ("the free space", self.arrays_end, self.heap),
        ];
        for (what, from, to) in unused {
            if !all_zero(&self.bytes[from..to]) {
                let expected = format_args!("zeros in {what}");
                return Err(Flaw::new(Invariant::SameCallsSameBytes, expected, "other bytes"));
            }
        }
        Ok(())
    }
}

impl Cell<'_> {
    /// Whether the head of a key shorter than itself ends in zeros.
    pub(super) fn has_padded_head(&self) -> bool {
        all_zero(&self.head[self.key_len.min(HEAD_LEN)..])
    }
}

/// Checks that a value lies in the leaf if and only if it is small enough.
fn check_place(page_size: usize, key_len: usize, value: Value<'_>) -> Checked<()> {
    let (value_len, is_inline) = match value {
        Value::None => return Ok(()),
        Value::Inline(value) => (value.len(), true),
        Value::Run(run) => (run.len as usize, false),
    };
    let beside = HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + key_len.saturating_sub(HEAD_LEN);
    let max = leaf_cell_max(page_size) - beside;
    match (is_inline, value_len <= max) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => disjoint(format_args!("a value of at most {max} bytes"), value_len),
        (false, true) => disjoint(format_args!("a run of more than {max} bytes"), value_len),
    }
}

/// The kind that a tree page of this level has.
pub(super) fn kind_at(level: u8) -> u8 {
    if level == 0 { KIND_LEAF } else { KIND_BRANCH }
}

/// The kind of a page.
pub(super) fn kind_of(bytes: &[u8]) -> u8 {
    bytes[HEADER_KIND]
}
