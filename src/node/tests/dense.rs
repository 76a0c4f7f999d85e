//! How full splits leave their pages.
//!
//! Attack: separators-bound-children (the split points are chosen freely within it).

use super::halves::{split_branch, split_leaf};
use super::keys::Rng;
use crate::buffer::Buffer;
use crate::format::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MIN};
use crate::node::{Encoded, Insertion, Node, NodeMut, Value, single_branch, single_leaf};
use crate::page::{ChildRef, PageId};

const SIZES: [usize; 2] = [PAGE_SIZE_MIN as usize, PAGE_SIZE_DEFAULT as usize];

/// Leaves in order, with the separators between them; only the last one may be at an end.
struct Leaves {
    pages: Vec<Buffer>,
    separators: Vec<Vec<u8>>,
}

impl Leaves {
    fn insert(&mut self, key: &[u8], value: &[u8]) {
        let at = self.separators.iter().filter(|separator| separator.as_slice() <= key).count();
        let page = &mut self.pages[at];
        let slot = Node::new(page).search(key).expect_err("the key is new");
        let encoded = Encoded::new(Value::Inline(value));
        let payload = encoded.payload();
        if NodeMut::new(page).insert_leaf(slot, key, payload) {
            return;
        }
        let ascending = at == self.separators.len() && slot == Node::new(page).count();
        let split = split_leaf(page, Insertion { at: slot, key, payload, ascending });
        self.pages[at] = split.left;
        self.pages.insert(at + 1, split.right);
        self.separators.insert(at, split.separator);
    }

    /// The share of the bytes in use, leaving out the `out` pages at each end.
    fn fill(&self, out: usize) -> f64 {
        let inner = &self.pages[out..self.pages.len() - out];
        let used: usize = inner.iter().map(|page| Node::new(page).used()).sum();
        let all: usize = inner.iter().map(|page| page.len()).sum();
        percentage(used, all)
    }
}

fn percentage(part: usize, whole: usize) -> f64 {
    let as_float = |number: usize| f64::from(u32::try_from(number).expect("it is small"));
    100.0 * as_float(part) / as_float(whole)
}

fn leaves(page_size: usize, key: &[u8]) -> Leaves {
    let encoded = Encoded::new(Value::Inline(b"value"));
    let page = single_leaf(page_size, key, encoded.payload());
    Leaves { pages: vec![page], separators: Vec::new() }
}

#[test]
fn ascending_insertion_fills_leaves_to_95_percent() {
    for page_size in SIZES {
        let mut leaves = leaves(page_size, b"00000000");
        for i in 1..5000_u32 {
            leaves.insert(format!("{i:08}").as_bytes(), b"value");
        }
        let fill = leaves.fill(1);
        assert!(fill > 95.0, "{page_size}: {fill:.1} %");
    }
}

#[test]
fn ascending_insertion_in_the_middle_of_a_page_fills_leaves_to_95_percent() {
    for page_size in SIZES {
        let mut leaves = leaves(page_size, b"a");
        for i in 0..6_u32 {
            leaves.insert(format!("a{i:08}").as_bytes(), b"value");
            leaves.insert(format!("z{i:08}").as_bytes(), b"value");
        }
        for i in 0..5000_u32 {
            leaves.insert(format!("m{i:08}").as_bytes(), b"value");
        }
        let fill = leaves.fill(2);
        assert!(fill > 95.0, "{page_size}: {fill:.1} %");
    }
}

#[test]
fn random_insertion_fills_leaves_to_two_thirds() {
    for page_size in SIZES {
        let mut rng = Rng(1);
        let mut leaves = leaves(page_size, b"0");
        let mut fills = Vec::new();
        for i in 0..8000 {
            leaves.insert(&rng.bytes(12), b"value");
            // Pages that grow alike split alike: the fill swings, once in each doubling.
            if i >= 4000 && i % 50 == 0 {
                fills.push(leaves.fill(0));
            }
        }
        let fill = fills.iter().sum::<f64>() / f64::from(80);
        assert!((67.0..72.0).contains(&fill), "{page_size}: {fill:.1} %");
    }
}

#[test]
fn ascending_separators_fill_branches_to_90_percent() {
    for page_size in SIZES {
        let child = |i: u32| ChildRef { id: PageId(i + 2), checksum: i };
        let key = |i: u32| format!("{i:08}").into_bytes();
        let mut last = single_branch(page_size, 1, [child(0), child(1)], &key(1));
        let (mut used, mut pages) = (0, 0);
        for i in 2..5000 {
            let at = Node::new(&last).count();
            if NodeMut::new(&mut last).insert_branch(at, &key(i), child(i)) {
                continue;
            }
            let split = split_branch(&last, at, &key(i), child(i));
            used += Node::new(&split.left).used();
            pages += 1;
            last = split.right;
        }
        let fill = percentage(used, pages * page_size);
        assert!(fill > 90.0, "{page_size}: {fill:.1} %");
    }
}
