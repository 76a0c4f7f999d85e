//! Rows of neighbouring pages under random insertions, removals, splits, merges, rebalances.
//!
//! Attack: sorted-keys, cells-disjoint, separators-bound-children.

use super::halves::{Halves, rebalance, split_branch, split_leaf};
use super::keys::{Rng, Shape, inline_len};
use super::twin::{Content, PAGE_COUNT, Twin, cost, prefix_of, shared};
use crate::format::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_SIZE_MIN};
use crate::node::{Encoded, Insertion, Node, NodeMut, Run, merge, single_branch, single_leaf};
use crate::page::{ChildRef, PageId};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Neighbours, as the children of one branch would be.
struct Row {
    page_size: usize,
    pages: Vec<Twin>,
    separators: Vec<Vec<u8>>,
}

/// A step of a test.
#[derive(Clone, Debug)]
enum Op {
    Put(Vec<u8>, Content),
    /// Removes the entry or child with this number, modulo how many there are.
    Remove(usize),
    Merge(usize),
    Rebalance(usize),
}

fn check_separator(left: &[u8], separator: &[u8], right: &[u8]) {
    assert!(left < separator && separator <= right, "{left:?} < {separator:?} <= {right:?}");
    let shorter = &separator[..separator.len() - 1];
    assert!(shorter <= left, "{shorter:?} would separate {left:?} from {right:?}");
    assert_eq!(separator.len(), shared(left, right) + 1);
}

/// What a split inserted.
#[derive(Clone, Copy, Default)]
struct Inserted {
    /// The slot in the page before the split.
    slot: Option<usize>,
    /// The lengths of the two prefixes, where they are not the longest ones.
    prefixes: Option<[usize; 2]>,
}

impl Row {
    fn leaves(page_size: usize, key: &[u8], content: &Content) -> Row {
        let page = single_leaf(page_size, key, Encoded::new(content.value()).payload());
        let slots = BTreeMap::from([(key.to_vec(), content.clone())]);
        let row = Twin::built(page, None, slots, 0);
        Row { page_size, pages: vec![row], separators: Vec::new() }
    }

    fn branches(page_size: usize, key: &[u8], content: &Content) -> Row {
        let first = ChildRef { id: PageId(2), checksum: 9 };
        let page = single_branch(page_size, 3, [first, content.child()], key);
        let slots = BTreeMap::from([(key.to_vec(), content.clone())]);
        let row = Twin::built(page, Some(first), slots, 0);
        Row { page_size, pages: vec![row], separators: Vec::new() }
    }

    /// The page whose keys include `key`.
    fn page_for(&self, key: &[u8]) -> usize {
        self.separators.iter().filter(|separator| separator.as_slice() <= key).count()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(key, content @ Content::Child(_)) => self.put_child(key, content),
            Op::Put(key, content) => self.put(key, content),
            Op::Remove(number) => self.remove(*number),
            Op::Merge(at) => self.merge(*at),
            Op::Rebalance(at) => self.rebalance(*at),
        }
    }

    fn put(&mut self, key: &[u8], content: &Content) {
        let at = self.page_for(key);
        let page = &mut self.pages[at];
        if let Ok(slot) = page.rank(key) {
            let same_tag = match (&page.slots[key], content) {
                (Content::Inline(old), Content::Inline(new)) => old.len() == new.len(),
                (Content::Overflow(_), Content::Overflow(_)) => true,
                _ => false,
            };
            let encoded = Encoded::new(content.value());
            let done = NodeMut::new(&mut page.page).overwrite_payload(slot, encoded.payload());
            assert_eq!(done, same_tag, "only a payload of the same tag is overwritten");
            if done {
                page.slots.insert(key.to_vec(), content.clone());
                return page.check();
            }
            page.remove_leaf(key);
            page.check();
        }
        if page.insert(key, content) {
            return page.check();
        }
        let slot = page.rank(key).expect_err("the key is not there");
        // Either answer is allowed, and neither may break anything.
        let ascending = slot == page.slots.len() && key.len().is_multiple_of(2);
        let encoded = Encoded::new(content.value());
        let insertion = Insertion { at: slot, key, payload: encoded.payload(), ascending };
        let split = split_leaf(&page.page, insertion);
        let is_run = ascending || Node::new(&page.page).continues_run(slot);
        let first = page.slots.first_key_value().expect("a full page has keys").0;
        // A full page behind which a run goes on stays as it is.
        let kept =
            (is_run && slot == page.slots.len()).then(|| [page.prefix_len, shared(first, key)]);
        let mut slots = page.slots.clone();
        slots.insert(key.to_vec(), content.clone());
        self.install_leaves(at, 1, split, slots, Inserted { slot: Some(slot), prefixes: kept });
    }

    /// Replaces `old_len` leaves from `at` on by the halves of a split.
    fn install_leaves(
        &mut self,
        at: usize,
        old_len: usize,
        split: Halves,
        mut left: BTreeMap<Vec<u8>, Content>,
        inserted: Inserted,
    ) {
        let boundary = left.keys().nth(split.left_len).expect("the right is not empty").clone();
        let right = left.split_off(&boundary);
        let last = left.last_key_value().expect("the left is not empty").0;
        check_separator(last, &split.separator, &boundary);
        let run_of = |from: usize, len: usize| match inserted.slot {
            Some(slot) if slot >= from && slot < from + len => slot - from + 1,
            _ => 0,
        };
        let (left_len, right_len) = (left.len(), right.len());
        assert_eq!(left_len, split.left_len);
        let mut left = Twin::built(split.left, None, left, run_of(0, left_len));
        let mut right = Twin::built(split.right, None, right, run_of(left_len, right_len));
        if let Some(prefixes) = inserted.prefixes {
            [left.prefix_len, right.prefix_len] = prefixes;
        }
        self.install(at, old_len, [left, right], split.separator);
    }

    fn install(&mut self, at: usize, old_len: usize, pages: [Twin; 2], separator: Vec<u8>) {
        for page in &pages {
            page.check();
            assert_eq!(Node::new(&page.page).search(&separator), page.rank(&separator));
        }
        self.pages.splice(at..at + old_len, pages);
        self.separators.splice(at..at + old_len - 1, [separator]);
    }

    fn put_child(&mut self, key: &[u8], content: &Content) {
        let at = self.page_for(key);
        let page = &mut self.pages[at];
        if let Ok(slot) = page.rank(key) {
            NodeMut::new(&mut page.page).set_child(slot + 1, content.child());
            page.slots.insert(key.to_vec(), content.clone());
            return page.check();
        }
        if self.separators.iter().any(|separator| separator == key) {
            return;
        }
        if page.insert(key, content) {
            return page.check();
        }
        let slot = page.rank(key).expect_err("the separator is not there");
        let split = split_branch(&page.page, slot, key, content.child());
        let mut slots = page.slots.clone();
        slots.insert(key.to_vec(), content.clone());
        let first = page.first;
        self.install_branches(at, 1, split, (first, slots), Some(slot));
    }

    /// Replaces `old_len` branches from `at` on by the halves of a split.
    fn install_branches(
        &mut self,
        at: usize,
        old_len: usize,
        split: Halves,
        (first, mut left): (Option<ChildRef>, BTreeMap<Vec<u8>, Content>),
        inserted: Option<usize>,
    ) {
        let promoted = split.left_len - 1;
        assert!(promoted > 0, "the left keeps a separator");
        assert_eq!(left.keys().nth(promoted), Some(&split.separator));
        let mut right = left.split_off(&split.separator);
        let middle = right.remove(&split.separator).expect("it was the boundary").child();
        assert!(!right.is_empty(), "the right keeps a separator");
        let (left_run, right_run) = match inserted {
            Some(slot) if slot > promoted => (0, slot - promoted),
            Some(slot) if slot < promoted => (slot + 1, 0),
            _ => (0, 0),
        };
        let left = Twin::built(split.left, first, left, left_run);
        let right = Twin::built(split.right, Some(middle), right, right_run);
        self.install(at, old_len, [left, right], split.separator);
    }

    fn remove(&mut self, number: usize) {
        let total: usize = self.pages.iter().map(|page| page.slots.len()).sum();
        if total == 0 {
            return;
        }
        let mut number = number % total;
        let holds = |page: &&mut Twin| {
            let found = number < page.slots.len();
            number -= if found { 0 } else { page.slots.len() };
            found
        };
        let page = self.pages.iter_mut().find(holds).expect("it is below the total");
        if page.is_leaf() {
            let key = page.slots.keys().nth(number).expect("it is there").clone();
            page.remove_leaf(&key);
        } else {
            // Each child in turn, the first too.
            page.remove_child((number + total) % (page.slots.len() + 1));
        }
        page.check();
        let at = self.pages.iter().position(|page| page.slots.is_empty());
        if let Some(at) = at.filter(|_| self.pages.len() > 1) {
            self.pages.remove(at);
            self.separators.remove(at.saturating_sub(1));
        }
    }

    /// What a page of two neighbours would hold.
    fn joined(&self, at: usize) -> BTreeMap<Vec<u8>, Content> {
        let (left, right) = (&self.pages[at], &self.pages[at + 1]);
        let mut slots = left.slots.clone();
        if let Some(first) = right.first {
            slots.insert(self.separators[at].clone(), Content::Child(first));
        }
        slots.extend(right.slots.clone());
        slots
    }

    fn merge(&mut self, at: usize) {
        if self.separators.is_empty() {
            return;
        }
        let at = at % self.separators.len();
        let slots = self.joined(at);
        let (left, right) = (&self.pages[at], &self.pages[at + 1]);
        let merged = merge(&left.page, &self.separators[at], &right.page);
        let prefix_len = prefix_of(left.is_leaf(), &slots, self.page_size);
        let need = cost(left.is_leaf(), &slots, prefix_len);
        assert_eq!(merged.is_some(), need <= self.page_size, "{need} bytes are needed");
        if let Some(page) = merged {
            let page = Twin::built(page, left.first, slots, 0);
            page.check();
            self.pages.splice(at..at + 2, [page]);
            self.separators.remove(at);
        }
    }

    fn rebalance(&mut self, at: usize) {
        if self.separators.is_empty() {
            return;
        }
        let at = at % self.separators.len();
        let slots = self.joined(at);
        let (left, right) = (&self.pages[at], &self.pages[at + 1]);
        let (is_leaf, first) = (left.is_leaf(), left.first);
        let split = rebalance(&left.page, &self.separators[at], &right.page);
        let slots_min = if is_leaf { 2 } else { 3 };
        assert_eq!(split.is_some(), slots.len() >= slots_min, "two full pages are possible");
        match split {
            Some(split) if is_leaf => self.install_leaves(at, 2, split, slots, Inserted::default()),
            Some(split) => self.install_branches(at, 2, split, (first, slots), None),
            None => {}
        }
    }

    fn check(&self) {
        assert_eq!(self.pages.len(), self.separators.len() + 1);
        self.pages.iter().for_each(Twin::check);
        for (separator, pages) in self.separators.iter().zip(self.pages.windows(2)) {
            assert!(pages[0].slots.keys().all(|key| key < separator));
            assert!(pages[1].slots.keys().all(|key| key >= separator));
        }
    }
}

fn run_of(rng: &mut Rng) -> Run {
    let checksum = u32::from_le_bytes(rng.bytes(4).try_into().expect("four bytes"));
    let first = PageId(2 + u32::try_from(rng.below(1000)).expect("it is small"));
    Run { len: 1 + u32::try_from(rng.below(100_000)).expect("it is small"), first, checksum }
}

fn child_of(rng: &mut Rng) -> ChildRef {
    let id = 8 + u32::try_from(rng.below(1000)).expect("it is small");
    ChildRef { id: PageId(id % PAGE_COUNT), checksum: id * 3 }
}

fn random_op(rng: &mut Rng, page_size: usize, shapes: &[Shape], is_leaf: bool) -> Op {
    match rng.below(100) {
        0..60 => {
            let shape = *rng.pick(shapes);
            let key = shape.key(rng, page_size);
            let content = if !is_leaf {
                Content::Child(child_of(rng))
            } else if rng.percent(10) {
                Content::Overflow(run_of(rng))
            } else {
                let len = inline_len(rng, page_size, &key);
                Content::Inline(rng.bytes(len))
            };
            Op::Put(key, content)
        }
        60..90 => Op::Remove(rng.below(1 << 20)),
        90..96 => Op::Merge(rng.below(1 << 20)),
        _ => Op::Rebalance(rng.below(1 << 20)),
    }
}

fn new_row(page_size: usize, key: &[u8], content: &Content) -> Row {
    match content {
        Content::Child(_) => Row::branches(page_size, key, content),
        _ => Row::leaves(page_size, key, content),
    }
}

fn run_ops(page_size: usize, ops: &[Op]) {
    let mut row: Option<Row> = None;
    for op in ops {
        match (&mut row, op) {
            (Some(row), op) => row.apply(op),
            (None, Op::Put(key, content)) => row = Some(new_row(page_size, key, content)),
            (None, _) => {}
        }
    }
    if let Some(row) = row {
        row.check();
    }
}

/// Ops that proptest can shrink, drawn from the same families of keys.
fn ops(page_size: usize, is_leaf: bool) -> impl Strategy<Value = Vec<Op>> {
    let shapes = prop_oneof![
        proptest::sample::select(Shape::ALL).prop_map(|shape| vec![shape]),
        Just(Shape::ALL.to_vec()),
    ];
    shapes.prop_flat_map(move |shapes| {
        let op = any::<u64>()
            .prop_map(move |seed| random_op(&mut Rng(seed), page_size, &shapes, is_leaf));
        proptest::collection::vec(op, 0..250)
    })
}

fn config(cases: u32) -> ProptestConfig {
    // A failure prints its shortest list of operations; no file remembers it.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn leaves_of_512_bytes_hold_what_their_twins_hold(ops in ops(512, true)) {
        run_ops(512, &ops);
    }

    #[test]
    fn branches_of_512_bytes_hold_what_their_twins_hold(ops in ops(512, false)) {
        run_ops(512, &ops);
    }
}

/// Long runs from seeds, which reach what short lists cannot: many full pages.
fn long_run(page_size: u32, seeds: std::ops::Range<u64>, steps: usize) {
    let page_size = page_size as usize;
    for seed in seeds {
        for is_leaf in [true, false] {
            println!("seed {seed}, leaf: {is_leaf}, page size {page_size}");
            let mut rng = Rng(seed);
            let shapes = match rng.below(3) {
                0 => Shape::ALL.to_vec(),
                _ => vec![*rng.pick(Shape::ALL), *rng.pick(Shape::ALL)],
            };
            let ops: Vec<Op> =
                (0..steps).map(|_| random_op(&mut rng, page_size, &shapes, is_leaf)).collect();
            run_ops(page_size, &ops);
        }
    }
}

#[test]
fn rows_of_the_smallest_pages_survive_long_runs() {
    long_run(PAGE_SIZE_MIN, 0..40, 1500);
}

#[test]
fn rows_of_default_pages_survive_long_runs() {
    long_run(PAGE_SIZE_DEFAULT, 100..110, 1200);
}

#[test]
fn rows_of_the_largest_pages_survive_long_runs() {
    long_run(PAGE_SIZE_MAX, 200..202, 1500);
}
