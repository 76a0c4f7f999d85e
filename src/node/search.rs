//! Tree pages: finding a key (part of node, layer L3).
//!
//! Owns: the search of a page by the heads of its keys, then by their rests.
//! Must not know: trees. Keeps: sorted-keys (a key is found where the order of slots puts it).

use super::arrays::{Arrays, Begun, Sought};
use super::heads::{compare_rests, head_of, lower_bound};
use super::{Layout, Node, Value};
use crate::arena::{LINE_BYTES, prefetch_at, prefetch_bytes};
use crate::format::{HEAD_LEN, HEADER_LEN, LEAF_CELL_HEADER};
use crate::page::ChildRef;
use std::cmp::Ordering;

/// How much of a value whoever looks it up will touch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Beginning,
    Whole,
}

/// The first slot of a leaf that shares the head of a key, and so may hold it.
#[derive(Clone, Copy)]
pub(crate) struct Tie {
    slot: usize,
    cell: usize,
    prefix: usize,
}

impl Tie {
    /// Where the slot's cell begins in its page.
    #[inline(always)]
    pub(crate) fn cell(self) -> usize {
        self.cell
    }
}

/// Where the heads of a page say that a key is.
#[derive(Clone, Copy)]
enum Rank<'k> {
    /// If the page holds it, here or further behind: this slot has the head of the key's part
    /// behind the prefix.
    Tied(usize, &'k [u8]),
    /// Not there; it belongs here.
    Between(usize),
}

impl<'a> Node<'a> {
    /// The slot that holds `key`, or the slot where it belongs.
    pub(crate) fn search(self, key: &[u8]) -> Result<usize, usize> {
        self.search_in(Layout::of(self.bytes), key)
    }

    /// Begins a search for who walks on from there: asks for the next cells, which lie anywhere in
    /// a leaf, before the key is compared with the first of them.
    // Inlined into another crate, it would call what is inlined here.
    #[inline(never)]
    pub(crate) fn begin_search(self, key: &[u8]) -> Begun {
        let arrays = Arrays::of_leaf(self.bytes);
        let begun = arrays.and_then(|arrays| arrays.rank(Sought::new(key)));
        let begun = begun.unwrap_or_else(|| match self.rank(Layout::of(self.bytes), key) {
            Rank::Tied(slot, _) => Begun { slot, is_tied: true },
            Rank::Between(slot) => Begun { slot, is_tied: false },
        });
        self.prefetch_cells(begun.slot..self.count().min(begun.slot + AHEAD));
        begun
    }

    /// The first slot whose key is not below `key`, with which the search was begun.
    #[inline]
    pub(crate) fn end_search(self, begun: Begun, key: &[u8]) -> usize {
        if !begun.is_tied {
            return begun.slot;
        }
        let layout = Layout::of(self.bytes);
        let rank = Rank::Tied(begun.slot, &key[layout.prefix..]);
        self.settle(layout, rank).unwrap_or_else(|slot| slot)
    }

    /// Asks for as many of this leaf's first cells as a search asks for beyond a leaf in front of
    /// it, where so many are left.
    pub(crate) fn prefetch_behind(self, left: usize) {
        self.prefetch_cells(0..self.count().min(AHEAD.saturating_sub(left)));
    }

    #[inline]
    fn search_in(self, layout: Layout, key: &[u8]) -> Result<usize, usize> {
        self.settle(layout, self.rank(layout, key))
    }

    #[inline(always)]
    fn settle(self, layout: Layout, rank: Rank<'_>) -> Result<usize, usize> {
        let (first, suffix) = match rank {
            Rank::Tied(first, suffix) => (first, suffix),
            Rank::Between(at) => return Err(at),
        };
        match self.compare_tie(layout, suffix, self.cell(layout, first)) {
            Ordering::Equal => Ok(first),
            Ordering::Less => Err(first),
            Ordering::Greater => self.search_tied(suffix, first + 1),
        }
    }

    #[inline(always)]
    fn rank(self, layout: Layout, key: &[u8]) -> Rank<'_> {
        let Some(suffix) = self.strip_prefix(layout, key) else {
            let prefix = &self.bytes[HEADER_LEN..HEADER_LEN + layout.prefix];
            return Rank::Between(if key < prefix { 0 } else { layout.count });
        };
        let head = head_of(suffix);
        // The heads, and what lies behind them.
        let (heads, _) = self.bytes[layout.heads..].as_chunks();
        let first = lower_bound(heads, layout.count, head);
        if first < layout.count && u32::from_le_bytes(heads[first]) == head {
            return Rank::Tied(first, suffix);
        }
        Rank::Between(first)
    }

    /// The rest of a key after the page's prefix, if it has it. A prefix is short as a rule, so
    /// that a call would cost more than the comparison.
    #[inline(always)]
    fn strip_prefix(self, layout: Layout, key: &[u8]) -> Option<&[u8]> {
        let (start, suffix) = key.split_at_checked(layout.prefix)?;
        let behind = &self.bytes[HEADER_LEN..];
        if let (Some(word), Some(other)) = (key.first_chunk(), behind.first_chunk())
            && layout.prefix <= size_of::<u64>()
        {
            let differing = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
            let bits = u32::try_from(layout.prefix * 8).expect("a word has few bits");
            let behind = u64::MAX.checked_shl(bits).unwrap_or(0);
            return (differing & !behind == 0).then_some(suffix);
        }
        (*start == behind[..layout.prefix]).then_some(suffix)
    }

    /// Compares a key's part after the prefix with a cell whose head is the same.
    #[inline]
    pub(super) fn compare_tie(self, layout: Layout, suffix: &[u8], cell: usize) -> Ordering {
        let (len, rest) = self.rest_in(layout, cell);
        compare_rests(suffix, len, rest)
    }

    /// Searches the slots from `first` that share the head of `suffix`.
    #[cold]
    fn search_tied(self, suffix: &[u8], first: usize) -> Result<usize, usize> {
        // Handed over, it would lie in memory on every way to here.
        let layout = Layout::of(self.bytes);
        let heads = self.heads(layout);
        let head = head_of(suffix);
        let tied = heads[first..].partition_point(|&slot| u32::from_le_bytes(slot) == head);
        let (mut low, mut high) = (first, first + tied);
        while low < high {
            let middle = low.midpoint(high);
            match self.compare_tie(layout, suffix, self.cell(layout, middle)) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        Err(low)
    }

    /// Whether the last key of this page is below the first of another; an empty page has none that
    /// is not.
    pub(crate) fn is_below(self, other: Node<'_>) -> bool {
        let (Some(last), true) = (self.count().checked_sub(1), other.count() > 0) else {
            return true;
        };
        // Prefix and head of a key as a rule tell, without a look at its cell.
        let head = |node: Node<'_>, at: usize| {
            u32::from_le_bytes(node.heads(Layout::of(node.bytes))[at]).to_be_bytes()
        };
        let (head, other_head) = (head(self, last), head(other, 0));
        let begin = self.prefix().iter().chain(&head);
        let mut pairs = begin.zip(other.prefix().iter().chain(&other_head));
        match pairs.find(|(byte, other)| byte != other) {
            Some((byte, other)) => byte < other,
            None => self.key(last) < other.key(0),
        }
    }

    /// The child of a branch whose keys include `key`.
    pub(crate) fn child_for(self, key: &[u8]) -> usize {
        self.child_for_in(Layout::of(self.bytes), key)
    }

    #[inline(always)]
    fn child_for_in(self, layout: Layout, key: &[u8]) -> usize {
        match self.search_in(layout, key) {
            Ok(separator) => separator + 1,
            Err(child) => child,
        }
    }

    /// The child to which a step down for a key leads; `None` where the page is a leaf.
    #[inline(always)]
    pub(crate) fn step_down(self, sought: Sought<'_>) -> Option<ChildRef> {
        let arrays = Arrays::of_branch(self.bytes);
        match arrays.and_then(|arrays| arrays.child_for(sought)) {
            Some(child) => Some(child),
            None => self.step_down_anyhow(sought.key),
        }
    }

    #[cold]
    fn step_down_anyhow(self, key: &[u8]) -> Option<ChildRef> {
        let layout = Layout::of(self.bytes);
        (!layout.is_leaf).then(|| self.child_in(layout, self.child_for_in(layout, key)))
    }

    /// Where a key is, if this leaf has it; asks for its cell.
    #[inline(always)]
    pub(crate) fn tie(self, sought: Sought<'_>, touch: Touch) -> Option<Tie> {
        let arrays = Arrays::of_leaf(self.bytes);
        let tie = match arrays.and_then(|arrays| Some((arrays, arrays.rank(sought)?))) {
            Some((_, rank)) if !rank.is_tied => return None,
            Some((arrays, rank)) => {
                Tie { slot: rank.slot, cell: arrays.cell(rank.slot), prefix: arrays.prefix() }
            }
            None => self.tie_anyhow(sought.key)?,
        };
        match touch {
            // Where cells are longer than a line, its next ones are asked for together with it.
            Touch::Whole if self.count() * LINE_BYTES < self.bytes.len() => {
                prefetch_bytes(self.bytes.get(tie.cell..)?, CELL_LINES);
            }
            Touch::Whole => {}
            Touch::Beginning => {
                let rest = (sought.key.len() - tie.prefix).saturating_sub(HEAD_LEN);
                prefetch_at(self.bytes, tie.cell);
                prefetch_at(self.bytes, tie.cell + LEAF_CELL_HEADER + rest);
            }
        }
        Some(tie)
    }

    #[cold]
    fn tie_anyhow(self, key: &[u8]) -> Option<Tie> {
        let layout = Layout::of(self.bytes);
        let Rank::Tied(slot, _) = self.rank(layout, key) else { return None };
        Some(Tie { slot, cell: self.cell(layout, slot), prefix: layout.prefix })
    }

    /// The value of the `key` that may be there, in a leaf.
    #[inline(always)]
    pub(crate) fn find_tied(self, tie: Tie, sought: Sought<'_>) -> Option<Value<'a>> {
        match self.plain_value(tie, sought) {
            Some(value) => Some(Value::Inline(value)),
            None => self.find_tied_anyhow(tie, sought),
        }
    }

    /// The value, if the key is that of the first slot that may hold it, and the leaf holds the
    /// value.
    #[inline(always)]
    fn plain_value(self, tie: Tie, sought: Sought<'_>) -> Option<&'a [u8]> {
        let [low, high, tag @ ..] =
            *self.bytes.get(tie.cell..)?.first_chunk::<LEAF_CELL_HEADER>()?;
        let len = usize::from(u16::from_le_bytes([low, high]));
        // A tag that is no length is longer than a page.
        let value_len = usize::from(u16::from_le_bytes(tag));
        let rest_len = len.saturating_sub(HEAD_LEN);
        let from = tie.cell + LEAF_CELL_HEADER;
        let value = self.bytes.get(from + rest_len..)?.get(..value_len)?;
        let is_found = sought.key.len() == tie.prefix + len
            && sought.ends_with(rest_len, self.bytes.get(from..)?)?;
        is_found.then_some(value)
    }

    #[inline(never)]
    fn find_tied_anyhow(self, tie: Tie, sought: Sought<'_>) -> Option<Value<'a>> {
        let found = match Arrays::of_leaf(self.bytes) {
            Some(arrays) => arrays.settle(sought, tie.slot, LEAF_CELL_HEADER),
            None => self.search(sought.key),
        };
        found.ok().map(|at| self.value(at))
    }
}

/// Lines of a cell that are asked for together.
const CELL_LINES: usize = 4;

/// Cells that are asked for together.
const AHEAD: usize = 8;
