//! A walk over every node of a tree, clean or dirty, that knows nothing of the tree's own code.
//!
//! Attack: sorted-keys, separators-bound-children, uniform-depth, entry-count, child-not-newer,
//! page-owned-once.

use super::store::Store;
use crate::node::{Node, Value};
use crate::page::{PageId, TxnId};
use crate::tree::{Dirty, Large, Root, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a tree must hold.
pub(super) type Model = BTreeMap<Vec<u8>, Rc<[u8]>>;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sealed pages and the pages of runs.
    pub(super) pages: BTreeSet<PageId>,
    pub(super) overflow_pages: u64,
    pub(super) level: u8,
    pub(super) leaves: usize,
    pub(super) branches: usize,
    pub(super) leaf_bytes_used: usize,
    pub(super) branch_bytes_used: usize,
}

impl Found {
    pub(super) fn leaf_fill(&self, page_size: usize) -> f64 {
        percentage(self.leaf_bytes_used, self.leaves * page_size)
    }

    pub(super) fn branch_fill(&self, page_size: usize) -> f64 {
        percentage(self.branch_bytes_used, self.branches * page_size)
    }
}

fn percentage(part: usize, whole: usize) -> f64 {
    let as_float = |number: usize| f64::from(u32::try_from(number).expect("it is small"));
    100.0 * as_float(part) / as_float(whole.max(1))
}

/// A node to visit.
#[derive(Clone, Copy)]
enum Place<'a> {
    Sealed(PageId),
    Dirty(&'a Dirty),
}

/// What the path to a node says about it.
#[derive(Clone)]
struct Bounds {
    level: u8,
    txn_max: TxnId,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

struct Walk<'a, 'm> {
    store: &'a Store,
    expected: std::collections::btree_map::Iter<'m, Vec<u8>, Rc<[u8]>>,
    found: Found,
}

/// Walks a tree and compares it with what it must hold.
pub(super) fn walk(store: &Store, tree: &Tree, model: &Model) -> Found {
    let mut walk = Walk { store, expected: model.iter(), found: Found::default() };
    let txn_max = tree.txn;
    let (place, level) = match &tree.root {
        Root::Empty => {
            assert!(model.is_empty());
            assert_eq!((tree.entries, tree.overflow_pages), (0, 0));
            return walk.found;
        }
        Root::Clean(child, level) => {
            assert_eq!(store.pages[&child.id].checksum(), child.checksum);
            (Place::Sealed(child.id), *level)
        }
        Root::Dirty(dirty) => (Place::Dirty(dirty), Node::new(&dirty.bytes).level()),
    };
    walk.found.level = level;
    walk.visit(place, &Bounds { level, txn_max, low: None, high: None });
    assert_eq!(walk.expected.next(), None, "the tree lacks an entry");
    assert_eq!(tree.entries, model.len() as u64, "the count of entries");
    assert_eq!(tree.overflow_pages, walk.found.overflow_pages, "the count of overflow pages");
    walk.found
}

impl<'a> Walk<'a, '_> {
    fn visit(&mut self, place: Place<'a>, bounds: &Bounds) {
        let store = self.store;
        let (bytes, txn_max) = match place {
            Place::Sealed(id) => {
                assert!(self.found.pages.insert(id), "page {id} has two owners");
                let page = &store.pages[&id];
                assert!(page.txn() <= bounds.txn_max, "page {id} is newer than its parent");
                (page.bytes(), page.txn())
            }
            Place::Dirty(dirty) => (&*dirty.bytes, bounds.txn_max),
        };
        let node = Node::new(bytes);
        assert_eq!(node.level(), bounds.level);
        assert_eq!(node.is_leaf(), node.level() == 0);
        assert!(node.count() > 0, "an empty node at level {}", node.level());
        if node.is_leaf() {
            self.found.leaves += 1;
            self.found.leaf_bytes_used += node.used();
            self.visit_leaf(place, node, bounds);
        } else {
            self.found.branches += 1;
            self.found.branch_bytes_used += node.used();
            self.visit_branch(place, node, &Bounds { txn_max, ..bounds.clone() });
        }
    }

    fn visit_branch(&mut self, place: Place<'a>, node: Node<'a>, bounds: &Bounds) {
        let mut low = bounds.low.clone();
        for at in 0..node.children() {
            let high = if at < node.count() { Some(node.key(at)) } else { bounds.high.clone() };
            if let (Some(low), Some(high)) = (&low, &high) {
                assert!(low < high, "separators ascend: {low:?}, {high:?}");
            }
            let child = node.child(at);
            let dirty = match place {
                Place::Dirty(dirty) => {
                    assert_eq!(dirty.kids().len(), node.children());
                    dirty.kids()[at].as_ref()
                }
                Place::Sealed(_) => None,
            };
            let kid = dirty.map_or(Place::Sealed(child.id), Place::Dirty);
            if let Place::Sealed(id) = kid {
                assert_eq!(self.store.pages[&id].checksum(), child.checksum);
            }
            let level = bounds.level - 1;
            self.visit(kid, &Bounds { level, txn_max: bounds.txn_max, low, high: high.clone() });
            low = high;
        }
    }

    fn visit_leaf(&mut self, place: Place<'a>, node: Node<'a>, bounds: &Bounds) {
        let mut handles = BTreeSet::new();
        for at in 0..node.count() {
            let key = node.key(at);
            assert!(bounds.low.as_ref().is_none_or(|low| *low <= key), "{key:?} is too low");
            assert!(bounds.high.as_ref().is_none_or(|high| key < *high), "{key:?} is too high");
            let (wanted, value) = self.expected.next().expect("the tree has an entry too many");
            assert_eq!(&key, wanted);
            match node.value(at) {
                Value::Inline(bytes) => assert_eq!(bytes, &**value),
                Value::Overflow(run) => {
                    assert_eq!(run.len as usize, value.len());
                    assert_eq!(self.store.runs[&run.first][..value.len()], **value);
                    let pages = value.len().div_ceil(self.store.page_size);
                    let pages = u32::try_from(pages).expect("a value is not that long");
                    self.found.overflow_pages += u64::from(pages);
                    for page in run.first.0..run.first.0 + pages {
                        assert!(self.found.pages.insert(PageId(page)), "{page} has two owners");
                    }
                }
                Value::Unplaced { len, handle } => {
                    assert!(handles.insert(handle), "two cells share a value");
                    assert_eq!(len as usize, value.len());
                    let Place::Dirty(dirty) = place else { panic!("a sealed page without pages") };
                    let held = dirty.values().iter().find(|(number, _)| *number == handle);
                    let Large::Here(held) = &held.expect("the leaf holds the value").1 else {
                        panic!("no test of trees writes early")
                    };
                    assert_eq!(**held, **value);
                    self.found.overflow_pages += value.len().div_ceil(self.store.page_size) as u64;
                }
            }
        }
        if let Place::Dirty(dirty) = place {
            assert_eq!(dirty.values().len(), handles.len(), "values that no cell refers to");
        }
    }
}
