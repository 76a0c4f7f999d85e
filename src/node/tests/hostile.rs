//! Bytes from outside: refused with a typed error, or safe to read and to change.
//!
//! Attack: bytes-never-panic.

use super::halves::{rebalance, split_branch, split_leaf};
use super::keys::{Rng, Shape, inline_len};
use super::twin::agree;
use crate::buffer::Buffer;
use crate::error::{Error, ErrorDetail};
use crate::format::{
    HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_KIND, HEADER_LEN, HEADER_LEVEL, HEADER_PREFIX,
    PAGE_SIZE_DEFAULT, PAGE_SIZE_MIN, leaf_cell_max,
};
use crate::node::{
    Encoded, Insertion, Node, NodeMut, Run, Value, check_node, merge, single_branch, single_leaf,
};
use crate::page::{ChildRef, PageId, get_u16, put_u16, put_u32};
use quickcheck::quickcheck;

pub(super) const ID: PageId = PageId(7);
pub(super) const PAGES: u32 = 1 << 20;
pub(super) const SIZE: usize = PAGE_SIZE_MIN as usize;

/// A whole page of random entries.
pub(super) fn whole(rng: &mut Rng, page_size: usize) -> Buffer {
    let shape = *rng.pick(Shape::ALL);
    let is_leaf = rng.percent(60);
    let key = shape.key(rng, page_size);
    let child = |number| ChildRef { id: PageId(10 + number), checksum: number };
    let run = Value::Overflow(Run { len: 600, first: PageId(40), checksum: 1 });
    let mut page = if is_leaf {
        single_leaf(page_size, &key, Encoded::new(run).payload())
    } else {
        single_branch(page_size, 2, [child(0), child(1)], &key)
    };
    for number in 2..u32::try_from(2 + rng.below(60)).expect("it is small") {
        let key = shape.key(rng, page_size);
        let value = vec![7; inline_len(rng, page_size, &key)];
        match Node::new(&page).search(&key) {
            Ok(at) if is_leaf && Node::new(&page).count() > 1 && rng.percent(30) => {
                NodeMut::new(&mut page).remove_leaf(at);
            }
            Ok(_) => {}
            Err(at) if is_leaf => {
                let encoded = Encoded::new(Value::Inline(&value));
                NodeMut::new(&mut page).insert_leaf(at, &key, encoded.payload());
            }
            Err(at) => {
                NodeMut::new(&mut page).insert_branch(at, &key, child(number));
            }
        }
    }
    page
}

/// Changes a few bytes where it hurts.
pub(super) fn damage(rng: &mut Rng, page: &mut [u8]) {
    let fields = [HEADER_COUNT, HEADER_HEAP, HEADER_DEAD, HEADER_PREFIX];
    for _ in 0..=rng.below(3) {
        let count = usize::from(get_u16(page, HEADER_COUNT)).min(page.len() / 6);
        let at = match rng.below(8) {
            0 => *rng.pick(&fields),
            1 => HEADER_KIND + rng.below(2),
            2..5 => HEADER_LEN + rng.below(6 * count + 64),
            5 => usize::from(get_u16(page, HEADER_HEAP)) + rng.below(16),
            _ => rng.below(page.len()),
        };
        let at = at.min(page.len() - 1);
        match rng.below(4) {
            0 => page[at] ^= 1 << rng.below(8),
            1 => page[at] = *rng.pick(&[0, 1, 2, 4, 0x7f, 0xfe, 0xff]),
            2 => page[at] = page[at].wrapping_add(*rng.pick(&[1, 2, 4, 0xff, 0xfc])),
            _ => page[at] = rng.bytes(1)[0],
        }
    }
}

/// Asks everything of a page that was accepted.
fn read_all(page: &[u8]) {
    let node = Node::new(page);
    assert!(node.used() <= page.len());
    assert!(node.prefix().len() < page.len());
    for at in 0..node.count() {
        let key = node.key(at);
        assert_eq!(node.search(&key), Ok(at));
        agree(node, &key);
        assert!(!node.continues_run(0));
        if node.is_leaf() {
            match node.value(at) {
                Value::Inline(bytes) => assert!(bytes.len() < page.len()),
                Value::Overflow(run) => assert!(run.first.0 + run.pages(page.len()) <= PAGES),
                Value::Unplaced { .. } => panic!("a value without pages comes from no file"),
            }
        } else {
            assert_eq!(node.child_for(&key), at + 1);
        }
    }
    if !node.is_leaf() {
        assert!((0..node.children()).all(|at| node.child(at).id.0 < PAGES));
    }
}

/// Makes every change of a page that was accepted.
fn change_all(rng: &mut Rng, page: &[u8]) {
    let key = Rng(rng.next()).pick(Shape::ALL).key(rng, page.len());
    let Err(at) = Node::new(page).search(&key) else { return };
    let child = ChildRef { id: PageId(9), checksum: 0 };
    let value = vec![1; inline_len(rng, page.len(), &key)];
    let encoded = Encoded::new(Value::Inline(&value));
    let mut changed: Buffer = page.into();
    let is_leaf = Node::new(page).is_leaf();
    for remaining in (1..=Node::new(page).count()).rev() {
        if is_leaf {
            NodeMut::new(&mut changed).remove_leaf(rng.below(remaining));
        } else {
            NodeMut::new(&mut changed).remove_child(rng.below(remaining + 1));
        }
    }
    let mut changed: Buffer = page.into();
    let (ascending, payload) = (false, encoded.payload());
    let split = if is_leaf {
        if NodeMut::new(&mut changed).insert_leaf(at, &key, payload) {
            return;
        }
        split_leaf(page, Insertion { at, key: &key, payload, ascending })
    } else {
        if NodeMut::new(&mut changed).insert_branch(at, &key, child) {
            return;
        }
        split_branch(page, at, &key, child)
    };
    if let Some(merged) = merge(&split.left, &split.separator, &split.right) {
        read_all(&merged);
    }
    assert!(rebalance(&split.left, &split.separator, &split.right).is_some());
}

/// Returns whether the page was accepted.
fn judge(rng: &mut Rng, page: &[u8]) -> bool {
    match check_node(page, ID, PAGES) {
        Ok(()) => {
            read_all(page);
            change_all(rng, page);
            true
        }
        Err(error) => {
            assert_eq!(error, Error::Corruption);
            let detail = error.detail();
            assert!(matches!(&detail, Some(ErrorDetail::Corruption(c)) if c.page == Some(ID.0)));
            false
        }
    }
}

/// Damages `pages` pages; prints the seed of the one that fails.
fn damage_many(page_size: u32, pages: u64) {
    struct Announce(u64);
    impl Drop for Announce {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the damaged page comes from seed {}", self.0);
            }
        }
    }
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..pages {
        let announce = Announce(seed);
        let mut rng = Rng(announce.0);
        let mut page = whole(&mut rng, page_size as usize);
        assert!(judge(&mut rng, &page), "an undamaged page is accepted");
        for _ in 0..8 {
            damage(&mut rng, &mut page);
            if judge(&mut rng, &page) {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(accepted > pages / 50 && refused > pages, "{accepted} accepted, {refused} refused");
}

#[test]
fn damaged_small_pages_never_panic() {
    damage_many(PAGE_SIZE_MIN, 30_000);
}

#[test]
fn damaged_default_pages_never_panic() {
    damage_many(PAGE_SIZE_DEFAULT, 6_000);
}

#[test]
fn random_bytes_behind_a_plausible_header_never_panic() {
    for seed in 0..50_000 {
        let mut rng = Rng(seed);
        let mut page = rng.bytes(SIZE);
        page[HEADER_KIND] = *rng.pick(&[2, 3]);
        page[HEADER_LEVEL] = u8::from(page[HEADER_KIND] == 3);
        for (field, bound) in
            [(HEADER_COUNT, 8), (HEADER_HEAP, SIZE + 1), (HEADER_DEAD, 64), (HEADER_PREFIX, 9)]
        {
            put_u16(&mut page, field, u16::try_from(rng.below(bound)).expect("it is small"));
        }
        judge(&mut rng, &page);
    }
}

quickcheck! {
    fn arbitrary_pages_never_panic(bytes: Vec<u8>, seed: u64) -> bool {
        let mut page = vec![0; SIZE];
        for (to, from) in page.iter_mut().zip(bytes) {
            *to = from;
        }
        judge(&mut Rng(seed), &page);
        true
    }
}

/// A leaf of two entries.
fn pair() -> Buffer {
    let value = Encoded::new(Value::Inline(b"value"));
    let mut page = single_leaf(SIZE, b"aaaa1111", value.payload());
    assert!(NodeMut::new(&mut page).insert_leaf(1, b"bbbb2222", value.payload()));
    page
}

fn refused(page: &[u8]) -> bool {
    check_node(page, ID, PAGES) == Err(Error::Corruption)
}

#[test]
fn references_out_of_the_file_are_refused() {
    let leaf = |first, len| {
        let run = Run { len, first: PageId(first), checksum: 0 };
        single_leaf(SIZE, b"key", Encoded::new(Value::Overflow(run)).payload())
    };
    for (first, len, is_refused) in [
        (2, 1, false),
        (1, 1, true),
        (0, 1, true),
        (PAGES - 2, 2 * PAGE_SIZE_MIN, false),
        (PAGES - 2, 2 * PAGE_SIZE_MIN + 1, true),
        (PAGES, 1, true),
        // Within the file, and yet no run: an empty value lies in its leaf.
        (2, 0, true),
        (40, 0, true),
        (u32::MAX, u32::MAX, true),
    ] {
        assert_eq!(refused(&leaf(first, len)), is_refused, "{len} bytes from page {first}");
    }
    for (id, is_refused) in [(2, false), (1, true), (ID.0, true), (PAGES - 1, false), (PAGES, true)]
    {
        for children in [[id, 3], [3, id]] {
            let children = children.map(|id| ChildRef { id: PageId(id), checksum: 0 });
            let page = single_branch(SIZE, 1, children, b"key");
            assert_eq!(refused(&page), is_refused, "child {id}");
        }
    }
}

#[test]
fn a_value_without_pages_is_refused() {
    let value = Encoded::new(Value::Unplaced { len: 700, handle: 40 });
    assert!(refused(&single_leaf(SIZE, b"key", value.payload())));
}

#[test]
fn cells_that_overlap_are_refused() {
    let mut page = pair();
    assert!(!refused(&page));
    // Both slots get one cell; their heads keep the keys apart.
    let offsets = HEADER_LEN + 2 * 4;
    let first = get_u16(&page, offsets);
    put_u16(&mut page, offsets + 2, first);
    assert!(refused(&page));
}

#[test]
fn a_head_whose_padding_is_not_zero_is_refused() {
    let value = Encoded::new(Value::Inline(b"value"));
    let mut page = single_leaf(SIZE, b"ab", value.payload());
    assert!(!refused(&page));
    put_u32(&mut page, HEADER_LEN + 4, u32::from_be_bytes(*b"ab\0\x01"));
    assert!(refused(&page));
}

#[test]
fn a_branch_without_separators_is_refused() {
    let child = |id| ChildRef { id: PageId(id), checksum: 0 };
    let mut page = single_branch(SIZE, 1, [child(8), child(9)], b"k");
    assert!(!refused(&page));
    NodeMut::new(&mut page).remove_child(1);
    assert!(refused(&page));
}

#[test]
fn a_cell_of_more_than_half_a_page_is_refused() {
    let key = b"key of some length";
    let too_long = leaf_cell_max(SIZE) - 10 - (key.len() - 4) + 1;
    for (len, is_refused) in [(too_long - 1, false), (too_long, true)] {
        let value = vec![1; len];
        let page = single_leaf(SIZE, key, Encoded::new(Value::Inline(&value)).payload());
        assert_eq!(refused(&page), is_refused);
    }
}
