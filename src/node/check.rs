//! Tree pages: the check when bytes come from outside (layer L3).
//!
//! Owns: [`check_node`], after which no access through [`super::Node`] can fail.
//! Must not know: trees. Keeps: bytes-never-panic (reading and changing an accepted page cannot
//! fail), sorted-keys, cells-disjoint.

use super::{Layout, Node, payload_len};
use crate::error::{Error, Result};
use crate::format::{
    BRANCH_CELL_HEADER, HEAD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_KIND, HEADER_LEN,
    HEADER_LEVEL, HEADER_PREFIX, KIND_BRANCH, KIND_LEAF, LEAF_CELL_HEADER, LEVELS_MAX, META_SLOTS,
    OFFSET_LEN, PAGE_SIZE_MAX, VALUE_OVERFLOW, VALUE_UNPLACED, key_len_max, leaf_cell_max,
};
use crate::invariant::Invariant;
use crate::page::{PageId, get_u16, get_u32};
use crate::seeded::seeded;
use std::cmp::Ordering;

fn broken(
    id: PageId,
    invariant: Invariant,
    expected: &str,
    found: impl std::fmt::Display,
) -> Error {
    Error::corruption(Some(id.0), invariant, expected, found)
}

/// Checks the structure of a leaf or branch read from `id` of a file of `page_count` pages.
pub(crate) fn check_node(bytes: &[u8], id: PageId, page_count: u32) -> Result<()> {
    let (kind, level) = (bytes[HEADER_KIND], bytes[HEADER_LEVEL]);
    let level_fits_kind = match kind {
        KIND_LEAF => level == 0,
        KIND_BRANCH => level > 0 && level < LEVELS_MAX,
        _ => false,
    };
    if !level_fits_kind {
        let found = format_args!("kind {kind}, level {level}");
        return Err(broken(id, Invariant::UniformDepth, "a tree page at its level", found));
    }
    check_bounds(bytes, id)?;
    check_cells(bytes, id, page_count)
}

/// Checks that the arrays lie in the page.
fn check_bounds(bytes: &[u8], id: PageId) -> Result<()> {
    let disjoint = Invariant::CellsDisjoint;
    let prefix = usize::from(get_u16(bytes, HEADER_PREFIX));
    if prefix > key_len_max(bytes.len()) || HEADER_LEN + prefix > bytes.len() {
        return Err(broken(id, disjoint, "a prefix no longer than a key", prefix));
    }
    let count = usize::from(get_u16(bytes, HEADER_COUNT));
    if count == 0 {
        return Err(broken(id, disjoint, "at least one key", count));
    }
    let heap = usize::from(get_u16(bytes, HEADER_HEAP));
    let dead = usize::from(get_u16(bytes, HEADER_DEAD));
    let end = Layout::of(bytes).end;
    if (heap < end && !seeded!(CountTrusted)) || heap > bytes.len() || dead > bytes.len() - heap {
        let found = format_args!("{count} slots, heap at {heap}, {dead} bytes dead");
        return Err(broken(id, disjoint, "arrays in front of the heap", found));
    }
    Ok(())
}

fn check_cells(bytes: &[u8], id: PageId, page_count: u32) -> Result<()> {
    let node = Node::new(bytes);
    let layout = Layout::of(bytes);
    let heap = usize::from(get_u16(bytes, HEADER_HEAP));
    let prefix = node.prefix().len();
    let mut total = 0;
    let mut taken = Taken::default();
    for at in 0..layout.count {
        let cell = usize::from(get_u16(bytes, layout.offsets + at * OFFSET_LEN));
        let len = check_cell(bytes, id, cell, CellLimits { heap, prefix, page_count })?;
        if !taken.take(cell, cell + len) {
            return Err(broken(id, Invariant::CellsDisjoint, "cells that do not overlap", cell));
        }
        total += len;
        if !head_is_padded(node, layout, at) {
            return Err(broken(id, Invariant::SortedKeys, "a head padded with zeros", at));
        }
        if at > 0 && order(node, layout, at) != Ordering::Less {
            return Err(broken(id, Invariant::SortedKeys, "ascending keys", at));
        }
    }
    let dead = usize::from(get_u16(bytes, HEADER_DEAD));
    if total + dead != bytes.len() - heap {
        let expected = format!("{} bytes of cells", bytes.len() - heap - dead);
        return Err(broken(id, Invariant::CellsDisjoint, &expected, total));
    }
    if node.is_leaf() {
        return Ok(());
    }
    for at in 0..node.children() {
        let child = node.child(at).id;
        let is_own = child == id && !seeded!(CyclicChildAccepted);
        if child.0 < META_SLOTS || child.0 >= page_count || is_own {
            return Err(broken(id, Invariant::PageOwnedOnce, "a child within the file", child));
        }
    }
    Ok(())
}

/// How the key before slot `at` compares with the key at it.
fn order(node: Node<'_>, layout: Layout, at: usize) -> Ordering {
    let heads = node.heads(layout);
    let (left, right) = (u32::from_le_bytes(heads[at - 1]), u32::from_le_bytes(heads[at]));
    left.cmp(&right).then_with(|| {
        let (left_len, left_rest) = node.rest(node.cell(layout, at - 1));
        let (right_len, right_rest) = node.rest(node.cell(layout, at));
        if left_len <= HEAD_LEN || right_len <= HEAD_LEN {
            return left_len.cmp(&right_len);
        }
        left_rest.cmp(right_rest)
    })
}

/// Whether a head shows nothing but its key; keys would be found at other places otherwise.
fn head_is_padded(node: Node<'_>, layout: Layout, at: usize) -> bool {
    let (len, _) = node.rest(node.cell(layout, at));
    let head = u32::from_le_bytes(node.heads(layout)[at]).to_be_bytes();
    head.iter().skip(len).all(|&byte| byte == 0)
}

/// Which bytes of a page belong to cells, one bit each.
struct Taken([u64; PAGE_SIZE_MAX as usize / 64]);

impl Default for Taken {
    fn default() -> Taken {
        Taken([0; PAGE_SIZE_MAX as usize / 64])
    }
}

impl Taken {
    /// Takes the bytes `from..to`. `false` when one of them was taken before.
    fn take(&mut self, mut from: usize, to: usize) -> bool {
        let mut were_free = true;
        while from < to {
            let (word, bit) = (&mut self.0[from / 64], from % 64);
            let len = (64 - bit).min(to - from);
            let mask = (u64::MAX >> (64 - len)) << bit;
            were_free &= *word & mask == 0;
            *word |= mask;
            from += len;
        }
        were_free
    }
}

#[derive(Clone, Copy)]
struct CellLimits {
    heap: usize,
    prefix: usize,
    page_count: u32,
}

/// Checks one cell. Returns its length in bytes.
fn check_cell(bytes: &[u8], id: PageId, cell: usize, limits: CellLimits) -> Result<usize> {
    let disjoint = Invariant::CellsDisjoint;
    let is_leaf = bytes[HEADER_KIND] == KIND_LEAF;
    let header = if is_leaf { LEAF_CELL_HEADER } else { BRANCH_CELL_HEADER };
    let slack = usize::from(seeded!(CellBoundOffByOne));
    if cell < limits.heap || cell + header > bytes.len() + slack {
        return Err(broken(id, disjoint, "a cell in the heap", cell));
    }
    let len = usize::from(get_u16(bytes, cell));
    if limits.prefix + len > key_len_max(bytes.len()) || limits.prefix + len == 0 {
        return Err(broken(id, disjoint, "a key within its limits", limits.prefix + len));
    }
    let mut end = cell + header + len.saturating_sub(HEAD_LEN);
    if is_leaf {
        let tag = get_u16(bytes, cell + 2);
        let payload = end;
        end += payload_len(tag);
        if end > bytes.len() || tag == VALUE_UNPLACED {
            return Err(broken(id, disjoint, "a value in the page", tag));
        }
        let rest = (limits.prefix + len).saturating_sub(HEAD_LEN);
        let whole = HEAD_LEN + OFFSET_LEN + LEAF_CELL_HEADER + rest + payload_len(tag);
        if whole > leaf_cell_max(bytes.len()) {
            return Err(broken(id, disjoint, "a cell of at most half a page", whole));
        }
        if tag == VALUE_OVERFLOW {
            check_run(bytes, id, payload, limits.page_count)?;
        }
    }
    if end > bytes.len() {
        return Err(broken(id, disjoint, "a cell within the page", end));
    }
    Ok(end - cell)
}

/// Checks that an overflow run lies in the file.
fn check_run(bytes: &[u8], id: PageId, at: usize, page_count: u32) -> Result<()> {
    let (len, first) = (get_u32(bytes, at), get_u32(bytes, at + 4));
    // It would have a page without having a byte of it.
    if len == 0 {
        return Err(broken(id, Invariant::CellsDisjoint, "a run of a value with bytes", len));
    }
    let pages = super::run_pages(len, bytes.len());
    let fits = first.checked_add(pages).is_some_and(|end| end <= page_count);
    if (first < META_SLOTS || !fits) && !seeded!(LengthTrustedForAllocation) {
        let found = format_args!("{pages} pages from {first}");
        return Err(broken(id, Invariant::PageOwnedOnce, "a run within the file", found));
    }
    Ok(())
}
