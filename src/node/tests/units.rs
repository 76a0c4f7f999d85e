//! Single claims on tree pages, each with the smallest case that shows it.
//!
//! Attack: sorted-keys, cells-disjoint, separators-bound-children, same-calls-same-bytes.

use super::anatomy::dissect;
use super::halves::{rebalance, split_leaf};
use super::keys::inline_len_max;
use super::twin::{Content, Twin, agree, cost};
use crate::format::{HEADER_LEN, PAGE_SIZE_MAX, PAGE_SIZE_MIN, VALUE_OVERFLOW, key_len_max};
use crate::node::build::Halving;
use crate::node::parts::{self, Key, Parts, Shape, Slot};
use crate::node::{
    Encoded, Insertion, Node, NodeMut, Run, Value, merge, run_pages, single_branch, single_leaf,
};
use crate::page::{ChildRef, PageId};
use std::collections::BTreeMap;

const SIZE: usize = PAGE_SIZE_MIN as usize;

fn leaf_of(entries: &[(&[u8], &[u8])]) -> Twin {
    let (key, value) = entries[0];
    let content = |value: &[u8]| Content::Inline(value.to_vec());
    let page = single_leaf(SIZE, key, Encoded::new(Value::Inline(value)).payload());
    let slots = BTreeMap::from([(key.to_vec(), content(value))]);
    let mut twin = Twin::built(page, None, slots, 0);
    for (key, value) in &entries[1..] {
        assert!(twin.insert(key, &content(value)));
    }
    twin.check();
    twin
}

#[test]
fn keys_that_differ_in_trailing_zeros_stay_apart() {
    let zeros: [&[u8]; 8] =
        [b"a", b"a\0", b"a\0\0", b"a\0\0\0", b"a\0\0\0\0", b"a\0\0\0\0\0", b"\0", b"\0\0"];
    let entries = zeros.map(|key| (key, key));
    for start in 0..entries.len() {
        let mut rotated = entries;
        rotated.rotate_left(start);
        leaf_of(&rotated);
        rotated.reverse();
        leaf_of(&rotated);
    }
}

#[test]
fn every_length_of_an_inline_value_fits_beside_every_length_of_a_key() {
    for key_len in [1, 3, 4, 5, 64, key_len_max(SIZE)] {
        let key = vec![b'k'; key_len];
        for len in 0..=inline_len_max(SIZE, &key) {
            let value = vec![0xa5; len];
            leaf_of(&[(&key, &value), (b"a", &value)]);
        }
    }
}

#[test]
fn two_of_the_largest_cells_share_every_size_of_page() {
    let mut size = PAGE_SIZE_MIN;
    while size <= PAGE_SIZE_MAX {
        let page_size = size as usize;
        let (left, right) = (vec![b'a'; key_len_max(page_size)], vec![b'b'; 2]);
        let value = vec![1; inline_len_max(page_size, &left)];
        let mut page = single_leaf(page_size, &left, Encoded::new(Value::Inline(&value)).payload());
        let value = vec![2; inline_len_max(page_size, &right)];
        let encoded = Encoded::new(Value::Inline(&value));
        assert!(NodeMut::new(&mut page).insert_leaf(1, &right, encoded.payload()));
        assert_eq!(dissect(&page).keys, [left, right]);
        size *= 2;
    }
}

#[test]
fn three_of_the_longest_separators_share_a_branch() {
    let child = |i: u32| ChildRef { id: PageId(10 + i), checksum: i };
    let key = |byte: u8| vec![byte; key_len_max(SIZE)];
    let mut page = single_branch(SIZE, 1, [child(0), child(1)], &key(1));
    assert!(NodeMut::new(&mut page).insert_branch(1, &key(2), child(2)));
    assert!(NodeMut::new(&mut page).insert_branch(2, &key(3), child(3)));
    assert_eq!(dissect(&page).keys, [key(1), key(2), key(3)]);
}

#[test]
fn a_value_without_pages_becomes_a_reference_in_place() {
    let encoded = Encoded::new(Value::Unplaced { len: 70_000, handle: 5 });
    let mut page = single_leaf(SIZE, b"key", encoded.payload());
    let other = Encoded::new(Value::Unplaced { len: 9, handle: 6 });
    assert!(NodeMut::new(&mut page).insert_leaf(0, b"a", other.payload()));
    assert_eq!(Node::new(&page).value(1), Value::Unplaced { len: 70_000, handle: 5 });
    let run = Run { len: 70_000, first: PageId(9), checksum: 77 };
    NodeMut::new(&mut page).retag_payload(1, Encoded::new(Value::Overflow(run)).payload());
    assert_eq!(Node::new(&page).value(0), Value::Unplaced { len: 9, handle: 6 });
    assert_eq!(Node::new(&page).value(1), Value::Overflow(run));
    assert_eq!(dissect(&page).keys, [b"a".to_vec(), b"key".to_vec()]);
    assert_eq!(Encoded::new(Value::Overflow(run)).payload().tag, VALUE_OVERFLOW);
}

#[test]
fn a_run_has_as_many_pages_as_its_bytes_need() {
    for (len, pages) in [(0, 1), (1, 1), (511, 1), (512, 1), (513, 2), (u32::MAX, 1 << 23)] {
        assert_eq!(run_pages(len, 512), pages, "{len} bytes");
    }
}

#[test]
fn a_removal_between_two_insertions_ends_the_run() {
    let mut leaf = leaf_of(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
    assert!(Node::new(&leaf.page).continues_run(3));
    leaf.remove_leaf(b"a");
    leaf.check();
    assert!((0..4).all(|at| !Node::new(&leaf.page).continues_run(at)));
}

#[test]
fn an_insertion_at_slot_0_continues_no_run() {
    let leaf = leaf_of(&[(b"b", b"1"), (b"a", b"2")]);
    assert!(!Node::new(&leaf.page).continues_run(0));
    assert!(Node::new(&leaf.page).continues_run(1));
}

#[test]
fn a_page_emptied_and_filled_again_equals_a_new_one() {
    let mut used = leaf_of(&[(b"abcdefgh", b"1"), (b"abcdefgi", b"2")]);
    used.remove_leaf(b"abcdefgi");
    used.remove_leaf(b"abcdefgh");
    used.check();
    assert!(used.insert(b"zz", &Content::Inline(b"3".to_vec())));
    used.check();
    let mut new = leaf_of(&[(b"a", b"1")]);
    new.remove_leaf(b"a");
    assert!(new.insert(b"zz", &Content::Inline(b"3".to_vec())));
    assert_eq!(used.page, new.page);
}

#[test]
fn an_emptied_page_of_dead_bytes_takes_a_key_of_its_old_prefix_whole() {
    let value = vec![1; inline_len_max(SIZE, b"prefix1")];
    let halves = [leaf_of(&[(b"prefix1", &value)]), leaf_of(&[(b"prefix2", &value)])];
    let page = merge(&halves[0].page, b"prefix2", &halves[1].page).expect("both fit");
    let [mut slots, right] = halves.map(|half| half.slots);
    slots.extend(right);
    let mut leaf = Twin::built(page, None, slots, 0);
    leaf.check();
    leaf.remove_leaf(b"prefix1");
    leaf.remove_leaf(b"prefix2");
    assert!(leaf.insert(b"prefix1", &Content::Inline(value)));
    leaf.check();
}

#[test]
fn a_split_whose_smallest_key_has_another_prefix_keeps_both_halves_within_their_pages() {
    let prefix = [b'q'; 100];
    let mut leaf = leaf_of(&[(&[&prefix[..], b"000"].concat(), b"v")]);
    for i in 1..1000 {
        let key = [&prefix[..], format!("{i:03}").as_bytes()].concat();
        if !leaf.insert(&key, &Content::Inline(b"v".to_vec())) {
            break;
        }
    }
    let count = leaf.slots.len();
    for (key, at) in [(b"a".as_slice(), 0), (b"qz", count)] {
        let encoded = Encoded::new(Value::Inline(b"new"));
        let insertion = Insertion { at, key, payload: encoded.payload(), ascending: false };
        let split = split_leaf(&leaf.page, insertion);
        let keys = [dissect(&split.left).keys, dissect(&split.right).keys].concat();
        assert_eq!((keys.len(), keys[at].as_slice()), (count + 1, key));
    }
}

/// A leaf of three entries, full to the byte, whose keys share a prefix that the page does
/// without: with it they would take more than a page.
fn full_leaf(keys: [&[u8]; 3]) -> Twin {
    let mut leaf = leaf_of(&[(b"a", b"")]);
    for key in &keys[..2] {
        assert!(leaf.insert(key, &Content::Inline(vec![1; 150])));
    }
    leaf.remove_leaf(b"a");
    let last = BTreeMap::from([(keys[2].to_vec(), Content::Inline(Vec::new()))]);
    let fixed = cost(true, &last, 0) - HEADER_LEN;
    let left = SIZE - Node::new(&leaf.page).used() - fixed;
    assert!(leaf.insert(keys[2], &Content::Inline(vec![2; left])));
    leaf.check();
    assert_eq!((Node::new(&leaf.page).used(), leaf.prefix_len), (SIZE, 0));
    assert!(cost(true, &leaf.slots, 4) > SIZE);
    leaf
}

#[test]
fn two_pages_that_are_full_to_the_byte_can_be_shared_evenly() {
    let left = full_leaf([b"keyA1", b"keyA2", b"keyA3"]);
    let right = full_leaf([b"keyB1", b"keyB2", b"keyB3"]);
    let halves = rebalance(&left.page, b"keyB", &right.page).expect("they are shared already");
    assert_eq!(dissect(&halves.left).keys, dissect(&left.page).keys);
    assert_eq!(dissect(&halves.right).keys, dissect(&right.page).keys);
}

#[test]
fn two_pages_merge_into_the_page_that_the_same_entries_build() {
    let (left, right) = (leaf_of(&[(b"a", b"1"), (b"b", b"2")]), leaf_of(&[(b"c", b"3")]));
    let merged = merge(&left.page, b"c", &right.page).expect("three entries fit");
    let mut direct = leaf_of(&[(b"c", b"3")]);
    for (key, value) in [(b"b", b"2"), (b"a", b"1")] {
        assert!(direct.insert(key, &Content::Inline(value.to_vec())));
    }
    let alone = merge(&direct.page, b"d", &leaf_of(&[(b"d", b"4")]).page).expect("they fit");
    assert_eq!(dissect(&alone).keys.len(), 4);
    assert_eq!(dissect(&merged).keys, dissect(&direct.page).keys);
}

#[test]
fn a_page_is_below_another_whose_first_key_is_above_its_last() {
    let keys: [&[u8]; 12] = [
        b"a",
        b"a\0",
        b"a\0\0\0\0b",
        b"aa",
        b"aaaa",
        b"aaaaa",
        b"aaaaaaaab",
        b"aaaaaaaac",
        b"ab\0\0\0\0\0",
        b"ab\xff",
        b"b",
        b"\xff\xff\xff\xff\xff\xff",
    ];
    // Alone in its page a key is the prefix of it; beside another it has a head.
    let pages = |at: usize| {
        let pair =
            |other: &[u8]| leaf_of(&[(keys[at].min(other), b""), (keys[at].max(other), b"")]);
        [leaf_of(&[(keys[at], b"")]), pair(&[keys[at], b"~"].concat()), pair(b"\0")]
    };
    let edges = |page: &Twin| {
        let node = Node::new(&page.page);
        (node.key(0), node.key(node.count() - 1))
    };
    let pages: Vec<Twin> = (0..keys.len()).flat_map(pages).collect();
    for (page, other) in pages.iter().flat_map(|page| pages.iter().map(move |other| (page, other)))
    {
        let (last, first) = (edges(page).1, edges(other).0);
        let is_below = Node::new(&page.page).is_below(Node::new(&other.page));
        assert_eq!(is_below, last < first, "{last:?} {first:?}");
    }
}

#[test]
fn a_branch_whose_prefix_is_too_short_gets_the_whole_and_stays_what_it_is() {
    let child = |i: u32| ChildRef { id: PageId(10 + i), checksum: i };
    let mut page = single_branch(SIZE, 1, [child(0), child(1)], b"key");
    NodeMut::new(&mut page).remove_child(1);
    for at in 0..9_u32 {
        let key = format!("name_{}", at + 1);
        let slot = Node::new(&page).count();
        assert!(NodeMut::new(&mut page).insert_branch(slot, key.as_bytes(), child(at + 1)));
    }
    let (before, run) = (dissect(&page), Node::new(&page).continues_run(9));
    assert_eq!((before.prefix_len, run), (0, true));
    NodeMut::new(&mut page).lengthen_prefix();
    let after = dissect(&page);
    assert_eq!((after.prefix_len, &after.keys), (5, &before.keys));
    assert!(Node::new(&page).continues_run(9), "the run goes on");
    assert!((0..10).all(|at| Node::new(&page).child(at as usize) == child(at)));
    // There is nothing more to gain, and a leaf is left alone.
    let whole = page.clone();
    NodeMut::new(&mut page).lengthen_prefix();
    assert_eq!(page, whole);
}

/// More slots are halved more often before the last few are compared.
#[test]
fn a_key_is_found_among_as_many_as_the_largest_page_holds() {
    let size = PAGE_SIZE_MAX as usize;
    let key = |i: u32| (2 * i + 1).to_be_bytes();
    let empty = Encoded::new(Value::Inline(b""));
    let mut leaf = single_leaf(size, &key(0), empty.payload());
    let mut count = 1;
    while NodeMut::new(&mut leaf).insert_leaf(count as usize, &key(count), empty.payload()) {
        count += 1;
    }
    let child = |i: u32| ChildRef { id: PageId(10 + i), checksum: i };
    let mut branch = single_branch(size, 1, [child(0), child(1)], &key(0));
    let mut separators = 1;
    while NodeMut::new(&mut branch).insert_branch(
        separators as usize,
        &key(separators),
        child(separators + 1),
    ) {
        separators += 1;
    }
    for (page, count) in [(&leaf, count), (&branch, separators)] {
        assert!(count > 64 * 24, "{count} slots");
        for i in 0..=2 * count {
            agree(Node::new(page), &i.to_be_bytes());
        }
    }
}

/// Where no cut near the middle fits, the nearest that does is taken, as if each had been tried.
#[test]
fn a_key_that_leaves_a_long_prefix_cuts_its_page_where_it_first_fits() {
    let mut far = 0;
    for (page_size, prefix_len) in [(512, 60), (512, 120), (4096, 300), (4096, 1000)] {
        let long = |i: u32| [&vec![b'p'; prefix_len][..], &i.to_be_bytes()].concat();
        let empty = Encoded::new(Value::Inline(b""));
        let mut page = single_leaf(page_size, &long(0), empty.payload());
        let mut count = 1;
        while NodeMut::new(&mut page).insert_leaf(count as usize, &long(count), empty.payload()) {
            count += 1;
        }
        let middle = [&long(count / 3)[..], b"and more"].concat();
        let apart = [&vec![b'p'; prefix_len / 2][..], b"q"].concat();
        for odd in [&b"pa"[..], b"pz", b"q", &middle, &apart] {
            let node = Node::new(&page);
            let at = node.search(odd).expect_err("it is new");
            let slot =
                Slot { key: Key::whole(odd), content: parts::Content::Leaf(empty.payload()) };
            let parts = Parts::with(node, at, slot);
            let halving = Halving { parts: &parts, shape: Shape::of(node), page_size };
            let mut order = halving.distances();
            order.sort_unstable();
            let fits: Vec<bool> =
                order.iter().map(|(_, at)| halving.cut_at(*at).is_some()).collect();
            let first = fits.iter().position(|fits| *fits).expect("it can be split");
            far = far.max(first);
            let cut = halving.cut(&[]).expect("it can be split").at;
            assert_eq!(cut, order[first].1, "{odd:?} at {at} of {count} in {page_size} bytes");
        }
    }
    assert!(far > 10, "the nearest cut that fits was the {far}th");
}
