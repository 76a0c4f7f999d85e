//! Trees with one fault each: checksums, ids, transactions, keys, separators, levels, cells,
//! counts.
//!
//! Attacks: checksum-covers-page, page-knows-its-id, parent-holds-checksum, child-not-newer,
//! sorted-keys, separators-bound-children, uniform-depth, cells-disjoint, entry-count.

use crate::cases::{Case, case, check, unsealed};
use crate::samples::{Sample, large, single};
use btree_store::Invariant::{
    CellsDisjoint, ChecksumCoversPage, ChildNotNewer, EntryCount, PageKnowsItsId,
    ParentHoldsChecksum, SeparatorsBoundChildren, SortedKeys, UniformDepth,
};

/// Exchanges two neighbours of `width` bytes at `at`.
fn exchange(sample: &mut Sample, page: u32, at: usize, width: usize) {
    let bytes = sample.file().page_mut(page);
    let (left, right) = bytes[at..at + 2 * width].split_at_mut(width);
    left.swap_with_slice(right);
}

/// Exchanges the first two keys of a leaf, each with its value.
fn exchange_keys(sample: &mut Sample, page: u32) -> u32 {
    let [_, heads, offsets, _] = sample.file().arrays(page);
    exchange(sample, page, heads, 4);
    exchange(sample, page, offsets, 2);
    page
}

const PAGES: &[Case] = &[
    unsealed("a flipped bit in a leaf", single, ChecksumCoversPage, |s| {
        let page = s.a.leaves[3];
        s.file().page_mut(page)[510] ^= 4;
        page
    }),
    unsealed("a flipped bit in a branch", single, ChecksumCoversPage, |s| {
        let page = s.a.root;
        s.file().page_mut(page)[40] ^= 1;
        page
    }),
    unsealed("a flipped bit in the catalog", large, ChecksumCoversPage, |s| {
        let page = s.catalog.leaves[1];
        s.file().page_mut(page)[300] ^= 1;
        page
    }),
    unsealed("a flipped bit in the space log", large, ChecksumCoversPage, |s| {
        let page = s.log[0];
        s.file().page_mut(page)[511] ^= 128;
        page
    }),
    case("a leaf that says it is another", single, PageKnowsItsId, |s| {
        let (page, other) = (s.a.leaves[3], s.a.leaves[2]);
        s.file().set_u32(page, 4, other);
        page
    }),
    case("a page of the log that says it is another", large, PageKnowsItsId, |s| {
        let page = s.log[1];
        s.file().set_u32(page, 4, 77);
        page
    }),
    unsealed("a stale leaf", single, ParentHoldsChecksum, |s| {
        let page = s.a.leaves[3];
        s.file().page_mut(page)[510] ^= 4;
        s.file().stamp(page);
        page
    }),
    unsealed("a stale root", single, ParentHoldsChecksum, |s| {
        let page = s.o.root;
        s.file().page_mut(page)[510] ^= 4;
        s.file().stamp(page);
        page
    }),
    unsealed("a stale catalog", large, ParentHoldsChecksum, |s| {
        let page = s.catalog.root;
        s.file().set_u64(page, 8, 7);
        s.file().stamp(page);
        page
    }),
    unsealed("a stale page of the log", large, ParentHoldsChecksum, |s| {
        let page = s.log[0];
        s.file().set_u64(page, 8, 7);
        s.file().stamp(page);
        page
    }),
    unsealed("a flipped bit in a run", single, ParentHoldsChecksum, |s| {
        let (first, _) = s.o.runs[1];
        s.file().page_mut(first + 2)[9] ^= 2;
        first
    }),
    case("a leaf newer than its branch", single, ChildNotNewer, |s| {
        let page = s.a.leaves[3];
        s.file().set_u64(page, 8, 6);
        page
    }),
    case("a root newer than the state", single, ChildNotNewer, |s| {
        let page = s.o.root;
        s.file().set_u64(page, 8, 8);
        page
    }),
    case("a root newer than the catalog's page", large, ChildNotNewer, |s| {
        let page = s.o.root;
        s.file().set_u64(page, 8, 9);
        page
    }),
    case("a page of the log newer than the one behind it", large, ChildNotNewer, |s| {
        let page = s.log[0];
        s.file().set_u64(page, 8, 9);
        page
    }),
];

#[test]
fn a_page_that_is_not_the_one_that_is_meant_is_found() {
    check(PAGES);
}

const KEYS: &[Case] = &[
    case("two keys exchanged", single, SortedKeys, |s| {
        let page = s.a.leaves[1];
        exchange_keys(s, page)
    }),
    case("the same key twice", single, SortedKeys, |s| {
        let page = s.a.leaves[0];
        let heads = s.file().arrays(page)[1];
        let head = s.file().u32(page, heads);
        s.file().set_u32(page, heads + 4, head);
        page
    }),
    case("a head that goes on behind its key", single, SortedKeys, |s| {
        let page = s.a.leaves[0];
        let heads = s.file().arrays(page)[1];
        s.file().set_u8(page, heads, 1);
        page
    }),
    case("names exchanged in the catalog", single, SortedKeys, |s| {
        s.file().set_u8(0, 106, b'p');
        0
    }),
    case("names exchanged in the catalog's tree", large, SortedKeys, |s| {
        let page = s.catalog.leaves[3];
        exchange_keys(s, page)
    }),
    case("a separator above the first key on its right", single, SeparatorsBoundChildren, |s| {
        let (root, leaf) = (s.a.root, s.a.leaves[1]);
        let heads = s.file().arrays(root)[1];
        let head = s.file().u32(root, heads);
        s.file().set_u32(root, heads, head + (1 << 16));
        leaf
    }),
    case("a separator below the last key on its left", single, SeparatorsBoundChildren, |s| {
        let (root, leaf) = (s.a.root, s.a.leaves[0]);
        let heads = s.file().arrays(root)[1];
        let head = s.file().u32(root, heads);
        s.file().set_u32(root, heads, head - (1 << 16));
        leaf
    }),
    case(
        "a separator equal to the last key on its left, two levels up",
        large,
        SeparatorsBoundChildren,
        |s| {
            let root = s.deep.root;
            let leaf = s.deep.leaves[3];
            let heads = s.file().arrays(root)[1];
            let head = s.file().u32(root, heads);
            s.file().set_u32(root, heads, head - (1 << 16));
            leaf
        },
    ),
];

#[test]
fn keys_and_separators_out_of_order_are_found() {
    check(KEYS);
}

const LEVELS: &[Case] = &[
    case("a leaf at level 1", single, UniformDepth, |s| {
        let page = s.a.leaves[2];
        s.file().set_u8(page, 17, 1);
        page
    }),
    case("a leaf among the branches", large, UniformDepth, |s| {
        let (page, leaf) = (s.deep.branches[1], s.deep.leaves[4]);
        let bytes = s.file().page(leaf).to_vec();
        s.file().page_mut(page).copy_from_slice(&bytes);
        s.file().set_u32(page, 4, page);
        page
    }),
    case("a leaf of another kind", single, UniformDepth, |s| {
        let page = s.a.leaves[2];
        s.file().set_u8(page, 16, 4);
        page
    }),
    case("a record with a level too many", single, UniformDepth, |s| {
        let at = s.file().record(0, 1) + 8;
        s.file().set_u32(0, at, 1);
        s.o.root
    }),
    case("a record with a level that no tree has", single, UniformDepth, |s| {
        let at = s.file().record(0, 1) + 8;
        s.file().set_u32(0, at, 32);
        0
    }),
    case("a catalog with a level too many", large, UniformDepth, |s| {
        s.file().set_u32(0, 80, 2);
        s.catalog.root
    }),
];

#[test]
fn wrong_levels_are_found() {
    check(LEVELS);
}

const CELLS: &[Case] = &[
    case("two cells that overlap", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let offsets = s.file().arrays(page)[2];
        let first = s.file().u16(page, offsets);
        // The second key has no rest, so that any cell with the same lengths will do.
        s.file().set_u16(page, offsets + 2, first);
        page
    }),
    case("a cell below the heap", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let (offsets, heap) = (s.file().arrays(page)[2], s.file().u16(page, 20));
        s.file().set_u16(page, offsets, heap - 1);
        page
    }),
    case("a cell behind the page", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let offsets = s.file().arrays(page)[2];
        s.file().set_u16(page, offsets, 511);
        page
    }),
    case("a value that ends behind the page", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let cell = s.file().cell(page, 0);
        s.file().set_u16(page, cell + 2, 60);
        page
    }),
    case("a byte that is dead and is not said to be", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let cell = s.file().cell(page, 0);
        let last = s.file().size - 1;
        s.file().set_u16(page, cell + 2, 19);
        s.file().set_u8(page, last, 0);
        page
    }),
    case("a byte that is said to be dead and is not", single, CellsDisjoint, |s| {
        let page = s.a.root;
        s.file().set_u16(page, 22, 1);
        page
    }),
    case("more dead bytes than the heap has", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        s.file().set_u16(page, 22, 500);
        page
    }),
    case("a heap that begins in the arrays", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let end = s.file().arrays(page)[3];
        s.file().set_u16(page, 20, end - 1);
        page
    }),
    case("a heap that begins behind the page", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        s.file().set_u16(page, 20, 513);
        page
    }),
    case("a prefix longer than a key may be", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        s.file().set_u16(page, 24, 129);
        page
    }),
    case("a key longer than a key may be", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        let cell = s.file().cell(page, 7);
        s.file().set_u16(page, cell, 124);
        page
    }),
    case("an empty key", single, CellsDisjoint, |s| {
        let page = s.o.root;
        let cell = s.file().cell(page, 0);
        s.file().set_u16(page, cell, 0);
        page
    }),
    case("a leaf without entries", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        s.file().set_u16(page, 18, 0);
        page
    }),
    case("a branch without separators", single, CellsDisjoint, |s| {
        let page = s.a.root;
        s.file().set_u16(page, 18, 0);
        page
    }),
    case("more entries than a page holds", single, CellsDisjoint, |s| {
        let page = s.a.leaves[1];
        s.file().set_u16(page, 18, 0xFFFF);
        page
    }),
    case("a value without a place", single, CellsDisjoint, |s| {
        let page = s.o.root;
        let cell = s.file().cell(page, 3);
        s.file().set_u16(page, cell + 2, 0xFFFE);
        page
    }),
    case("a run for a value that fits the leaf", single, CellsDisjoint, |s| {
        let page = s.o.root;
        let at = s.file().value(page, 7);
        s.file().set_u32(page, at, 222);
        page
    }),
];

#[test]
fn cells_that_do_not_fit_are_found() {
    check(CELLS);
}

const COUNTS: &[Case] = &[
    case("an entry too many in a record", single, EntryCount, |s| {
        let at = s.file().record(0, 0) + 12;
        s.file().set_u64(0, at, 41);
        0
    }),
    case("an overflow page too few in a record", single, EntryCount, |s| {
        let at = s.file().record(0, 1) + 20;
        s.file().set_u64(0, at, 5);
        0
    }),
    case("a record in the catalog's tree", large, EntryCount, |s| {
        let page = s.catalog.leaves[0];
        let at = s.file().value(page, 0) + 12;
        s.file().set_u64(page, at, 1);
        page
    }),
    case("entries without a root", single, EntryCount, |s| {
        let at = s.file().record(0, 2) + 12;
        s.file().set_u64(0, at, 1);
        0
    }),
    case("a bucket too many in the slot", single, EntryCount, |s| {
        s.file().set_u32(0, 68, 4);
        0
    }),
    case("a bucket too few in the slot", single, EntryCount, |s| {
        s.file().set_u32(0, 68, 2);
        0
    }),
    case("a bucket too many in the slot, beside a tree", large, EntryCount, |s| {
        s.file().set_u32(0, 68, 25);
        0
    }),
    case("a name that is no text", single, EntryCount, |s| {
        s.file().set_u8(0, 106, 0xFF);
        0
    }),
];

#[test]
fn wrong_counts_are_found() {
    check(COUNTS);
}
