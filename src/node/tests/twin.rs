//! A page beside a `BTreeMap` that must hold the same.
//!
//! Attack: sorted-keys, cells-disjoint, same-calls-same-bytes.

use super::anatomy::dissect;
use crate::buffer::Buffer;
use crate::format::{CHILD_LEN, HEADER_LEN};
use crate::node::{Encoded, Node, NodeMut, Run, Sought, Touch, Value, check_node};
use crate::page::{ChildRef, PageId, TxnId, seal_bytes};
use std::collections::BTreeMap;

/// No page of the tests refers behind this.
pub(super) const PAGE_COUNT: u32 = 1 << 20;
/// The id that pages get when they are checked.
const ID: PageId = PageId(7);

/// What a slot holds beside its key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Inline(Vec<u8>),
    Overflow(Run),
    /// The child on the separator's right.
    Child(ChildRef),
}

impl Content {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Content::Inline(bytes) => Value::Inline(bytes),
            Content::Overflow(run) => Value::Overflow(*run),
            Content::Child(_) => panic!("a leaf holds no children"),
        }
    }

    pub(super) fn child(&self) -> ChildRef {
        match self {
            Content::Child(child) => *child,
            _ => panic!("a branch holds no values"),
        }
    }

    /// Bytes of slot and cell beside the key's rest.
    fn len(&self) -> usize {
        match self {
            Content::Inline(bytes) => 4 + 2 + 4 + bytes.len(),
            Content::Overflow(_) => 4 + 2 + 4 + 12,
            Content::Child(_) => 4 + 2 + 2 + CHILD_LEN,
        }
    }
}

/// A page, and what it must hold.
#[derive(Clone, Debug)]
pub(super) struct Twin {
    pub(super) page: Buffer,
    /// The first child of a branch.
    pub(super) first: Option<ChildRef>,
    pub(super) slots: BTreeMap<Vec<u8>, Content>,
    pub(super) prefix_len: usize,
    pub(super) run: usize,
}

/// Bytes that two keys share at their beginning.
pub(super) fn shared(a: &[u8], b: &[u8]) -> usize {
    (0..a.len().min(b.len())).find(|at| a[*at] != b[*at]).unwrap_or(a.len().min(b.len()))
}

/// Bytes that a page of these slots takes, with a prefix of `prefix_len` bytes.
pub(super) fn cost(is_leaf: bool, slots: &BTreeMap<Vec<u8>, Content>, prefix_len: usize) -> usize {
    let fixed = HEADER_LEN + if is_leaf { 0 } else { CHILD_LEN };
    let padded = prefix_len.div_ceil(4) * 4;
    let slot = |(key, content): (&Vec<u8>, &Content)| {
        content.len() + (key.len() - prefix_len).saturating_sub(4)
    };
    fixed + padded + slots.iter().map(slot).sum::<usize>()
}

/// The prefix of a page that is built whole: the longest that all keys share, or the longest of
/// those that take the fewest bytes when that takes more than a page.
pub(super) fn prefix_of(
    is_leaf: bool,
    slots: &BTreeMap<Vec<u8>, Content>,
    page_size: usize,
) -> usize {
    let longest = match (slots.first_key_value(), slots.last_key_value()) {
        (Some((first, _)), Some((last, _))) => shared(first, last),
        _ => 0,
    };
    if cost(is_leaf, slots, longest) <= page_size {
        return longest;
    }
    (0..=longest).rev().min_by_key(|&len| cost(is_leaf, slots, len)).expect("zero is one")
}

impl Twin {
    /// The twin of a page that was built whole.
    pub(super) fn built(
        page: Buffer,
        first: Option<ChildRef>,
        slots: BTreeMap<Vec<u8>, Content>,
        run: usize,
    ) -> Twin {
        let prefix_len = prefix_of(first.is_none(), &slots, page.len());
        Twin { page, first, slots, prefix_len, run }
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.first.is_none()
    }

    /// The slot of a key, or the slot where it belongs.
    pub(super) fn rank(&self, key: &[u8]) -> Result<usize, usize> {
        let below = self.slots.keys().filter(|held| held.as_slice() < key).count();
        if self.slots.contains_key(key) { Ok(below) } else { Err(below) }
    }

    /// Inserts a new key into page and twin. `false` when the page has no room, which the twin
    /// knows too.
    pub(super) fn insert(&mut self, key: &[u8], content: &Content) -> bool {
        let at = self.rank(key).expect_err("the key is new");
        let before = self.page.clone();
        let mut node = NodeMut::new(&mut self.page);
        let fits = match content {
            Content::Child(child) => node.insert_branch(at, key, *child),
            _ => node.insert_leaf(at, key, Encoded::new(content.value()).payload()),
        };
        // A page keeps what it can of the prefix that it was built with.
        let held = shared(Node::new(&before).prefix(), key);
        let prefix_len = if self.slots.is_empty() { 0 } else { held };
        self.slots.insert(key.to_vec(), content.clone());
        let need = cost(self.is_leaf(), &self.slots, prefix_len);
        assert_eq!(fits, need <= self.page.len(), "{need} bytes are needed");
        if fits {
            self.prefix_len = prefix_len;
            self.run = at + 1;
        } else {
            assert!(before == self.page, "a refused insertion changes nothing");
            self.slots.remove(key);
        }
        fits
    }

    /// Removes an entry of a leaf.
    pub(super) fn remove_leaf(&mut self, key: &[u8]) {
        let at = self.rank(key).expect("the key is there");
        NodeMut::new(&mut self.page).remove_leaf(at);
        self.slots.remove(key);
        self.run = 0;
    }

    /// Removes a child of a branch, with the separator on its left, or on its right for the first.
    pub(super) fn remove_child(&mut self, child: usize) {
        NodeMut::new(&mut self.page).remove_child(child);
        let separator = self.slots.keys().nth(child.saturating_sub(1)).expect("it is there");
        let content = self.slots.remove(&separator.clone()).expect("it is there");
        if child == 0 {
            self.first = Some(content.child());
        }
        self.run = 0;
    }

    /// Checks that the page says what the twin says, to every question.
    pub(super) fn check(&self) {
        let anatomy = dissect(&self.page);
        let keys: Vec<Vec<u8>> = self.slots.keys().cloned().collect();
        assert_eq!(keys, anatomy.keys);
        assert_eq!(self.prefix_len, anatomy.prefix_len, "the prefix");
        assert_eq!(self.run, anatomy.run, "the run");
        let node = Node::new(&self.page);
        assert_eq!(node.used(), anatomy.used);
        assert_eq!(node.used(), cost(self.is_leaf(), &self.slots, self.prefix_len));
        assert_eq!((node.is_leaf(), node.count()), (self.is_leaf(), keys.len()));
        for at in 0..=keys.len() + 1 {
            assert_eq!(node.continues_run(at), at > 0 && at == self.run);
        }
        for (at, (key, content)) in self.slots.iter().enumerate() {
            assert_eq!(&node.key(at), key);
            match content {
                Content::Child(child) => assert_eq!(node.child(at + 1), *child),
                _ => assert_eq!(node.value(at), content.value()),
            }
        }
        if let Some(first) = self.first {
            assert_eq!((node.child(0), node.children()), (first, keys.len() + 1));
        }
        for key in &keys {
            self.search_around(&keys, key);
        }
        self.check_sealed();
    }

    /// Searches a key and its nearest relatives; `keys` are the twin's.
    fn search_around(&self, keys: &[Vec<u8>], key: &[u8]) {
        let mut relatives = vec![key.to_vec(), [key, b"\0"].concat(), [key, b"\xff"].concat()];
        for len in [key.len() - 1, key.len() / 2, 4, 3] {
            relatives.push(key[..len.min(key.len())].to_vec());
        }
        for at in [0, key.len() / 2, key.len() - 1] {
            for change in [1, 0xff] {
                let mut other = key.to_vec();
                other[at] = other[at].wrapping_add(change);
                relatives.push(other);
            }
        }
        let node = Node::new(&self.page);
        for relative in relatives {
            let rank = keys.binary_search(&relative);
            assert_eq!(node.search(&relative), rank, "search of {relative:?}");
            if !self.is_leaf() {
                let child = rank.map_or_else(|below| below, |at| at + 1);
                assert_eq!(node.child_for(&relative), child, "the child for {relative:?}");
            }
            agree(node, &relative);
        }
    }

    /// Checks that `check_node` takes what this module built.
    fn check_sealed(&self) {
        if self.slots.is_empty() {
            return;
        }
        let mut sealed = self.page.clone();
        seal_bytes(&mut sealed, ID, TxnId(3));
        check_node(&sealed, ID, PAGE_COUNT).unwrap_or_else(|e| panic!("{:?}", e.detail()));
    }
}

/// Checks that a lookup finds what a search does.
pub(super) fn agree(node: Node<'_>, key: &[u8]) {
    let sought = Sought::new(key);
    let found = node.search(key);
    if !node.is_leaf() {
        let child = node.child(node.child_for(key));
        assert_eq!(node.step_down(sought), Some(child), "the child for {key:?}");
        return;
    }
    for touch in [Touch::Beginning, Touch::Whole] {
        let value = node.tie(sought, touch).and_then(|tie| node.find_tied(tie, sought));
        assert_eq!(value, found.ok().map(|at| node.value(at)), "a lookup of {key:?}");
    }
    let first = node.end_search(node.begin_search(key), key);
    assert_eq!(first, found.unwrap_or_else(|at| at), "a seek of {key:?}");
    assert_eq!(node.step_down(sought), None, "a leaf has no child");
}
