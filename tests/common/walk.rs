//! A file's bytes, read with code that the engine does not have: which page belongs to whom.
//!
//! For files that are whole; whatever is not as it should be panics.

use btree_store::format::{
    BUCKET_LEN, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_ID, HEADER_KIND, HEADER_LEN,
    HEADER_LEVEL, HEADER_PREFIX, HEADER_TXN, KIND_BRANCH, KIND_LEAF, KIND_SPACE_LOG,
    LEAF_CELL_HEADER, LOG_PREVIOUS, META_BODY, META_CATALOG_LEN, META_CATALOG_ROOT,
    META_FLAG_CATALOG_TREE, META_FLAG_MIRROR, META_FLAGS, META_ITEM_LEN, META_ITEMS, META_LOG_HEAD,
    META_LOG_PAGES, META_PAGE_COUNT, META_PAGE_SIZE, META_SLOTS, OFFSET_LEN, VALUE_OVERFLOW,
};
use std::collections::BTreeMap;

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Who owns a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Meta,
    /// A page of the catalog's tree.
    Catalog,
    /// A page of a bucket's tree, at this level.
    Tree(u8),
    /// A page of an overflow run.
    Run,
    Log,
}

/// A meta page, as far as the walk needs it.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    pub slot: usize,
    pub txn: u64,
    pub page_count: u32,
    pub is_mirror: bool,
    /// Items of the commit list.
    pub items: usize,
}

/// A file's bytes.
pub struct Walk<'a> {
    bytes: &'a [u8],
    pub page_size: usize,
}

impl<'a> Walk<'a> {
    pub fn new(bytes: &'a [u8]) -> Walk<'a> {
        let page_size = u32_at(bytes, META_PAGE_SIZE) as usize;
        assert!(page_size.is_power_of_two() && page_size >= 512, "slot 0 is whole");
        Walk { bytes, page_size }
    }

    pub fn page(&self, id: u32) -> &'a [u8] {
        &self.bytes[id as usize * self.page_size..][..self.page_size]
    }

    pub fn meta(&self, slot: usize) -> Meta {
        let page = &self.bytes[slot * self.page_size..][..self.page_size];
        Meta {
            slot,
            txn: u64_at(page, HEADER_TXN),
            page_count: u32_at(page, META_PAGE_COUNT),
            is_mirror: u32_at(page, META_FLAGS) & META_FLAG_MIRROR != 0,
            items: u32_at(page, META_ITEMS) as usize,
        }
    }

    /// The slot with the higher transaction.
    pub fn newest(&self) -> Meta {
        let (zero, one) = (self.meta(0), self.meta(1));
        if one.txn > zero.txn { one } else { zero }
    }

    /// Every page that the state of a slot uses, the meta slots included, with its owner.
    pub fn owners(&self, meta: Meta) -> BTreeMap<u32, Owner> {
        let mut owners: BTreeMap<u32, Owner> =
            (0..META_SLOTS).map(|slot| (slot, Owner::Meta)).collect();
        let page = self.page(u32::try_from(meta.slot).unwrap());
        let mut log = u32_at(page, META_LOG_HEAD);
        for _ in 0..u32_at(page, META_LOG_PAGES) {
            assert_eq!(self.page(log)[HEADER_KIND], KIND_SPACE_LOG, "page {log}");
            own(&mut owners, log, Owner::Log);
            log = u32_at(self.page(log), LOG_PREVIOUS);
        }
        for record in self.records(page, &mut owners) {
            let root = u32_at(&record, 0);
            if root != 0 {
                let mut leaves = Vec::new();
                self.tree(root, &mut owners, &mut leaves, Owner::Tree);
                for leaf in leaves {
                    self.runs(leaf, &mut owners);
                }
            }
        }
        owners
    }

    /// The number of tree levels of the first bucket that has a root.
    pub fn height(&self, meta: Meta) -> u32 {
        let page = self.page(u32::try_from(meta.slot).unwrap());
        let records = self.records(page, &mut BTreeMap::new());
        let rooted = records.iter().find(|record| u32_at(record, 0) != 0);
        rooted.map_or(0, |record| u32_at(record, 8) + 1)
    }

    /// The buckets' records.
    fn records(&self, meta: &[u8], owners: &mut BTreeMap<u32, Owner>) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        if u32_at(meta, META_FLAGS) & META_FLAG_CATALOG_TREE == 0 {
            let len = u32_at(meta, META_CATALOG_LEN) as usize;
            let mut rest = &meta[META_BODY..META_BODY + len];
            while rest.len() >= BUCKET_LEN {
                let record = 2 + usize::from(u16_at(rest, 0));
                records.push(rest[record..record + BUCKET_LEN].to_vec());
                rest = &rest[record + BUCKET_LEN..];
            }
            return records;
        }
        let mut leaves = Vec::new();
        self.tree(u32_at(meta, META_CATALOG_ROOT), owners, &mut leaves, |_| Owner::Catalog);
        for leaf in leaves {
            records.extend(self.payloads(leaf).map(|(_, payload)| payload[..BUCKET_LEN].to_vec()));
        }
        records
    }

    /// Owns the pages of a tree, and lists its leaves.
    fn tree(
        &self,
        root: u32,
        owners: &mut BTreeMap<u32, Owner>,
        leaves: &mut Vec<u32>,
        owner: fn(u8) -> Owner,
    ) {
        let mut todo = vec![root];
        while let Some(id) = todo.pop() {
            let page = self.page(id);
            assert_eq!(u32_at(page, HEADER_ID), id);
            own(owners, id, owner(page[HEADER_LEVEL]));
            if page[HEADER_KIND] == KIND_LEAF {
                leaves.push(id);
                continue;
            }
            assert_eq!(page[HEADER_KIND], KIND_BRANCH, "page {id}");
            todo.extend(self.children(id));
        }
    }

    /// The children of a branch.
    pub fn children(&self, id: u32) -> Vec<u32> {
        let page = self.page(id);
        let first = HEADER_LEN + usize::from(u16_at(page, HEADER_PREFIX)).next_multiple_of(4);
        let count = usize::from(u16_at(page, HEADER_COUNT)) + 1;
        (0..count).map(|at| u32_at(page, first + at * CHILD_LEN)).collect()
    }

    /// Where the payloads of a leaf begin, in the page, with their tags.
    pub fn payloads(&self, id: u32) -> impl Iterator<Item = (u16, &'a [u8])> {
        let page = self.page(id);
        let count = usize::from(u16_at(page, HEADER_COUNT));
        let heads = HEADER_LEN + usize::from(u16_at(page, HEADER_PREFIX)).next_multiple_of(4);
        let offsets = heads + count * HEAD_LEN;
        (0..count).map(move |at| {
            let cell = usize::from(u16_at(page, offsets + at * OFFSET_LEN));
            let rest = usize::from(u16_at(page, cell)).saturating_sub(HEAD_LEN);
            (u16_at(page, cell + 2), &page[cell + LEAF_CELL_HEADER + rest..])
        })
    }

    fn runs(&self, leaf: u32, owners: &mut BTreeMap<u32, Owner>) {
        for (tag, payload) in self.payloads(leaf) {
            if tag == VALUE_OVERFLOW {
                let (len, first) = (u32_at(payload, 0) as usize, u32_at(payload, 4));
                let pages = u32::try_from(len.div_ceil(self.page_size).max(1)).unwrap();
                (first..first + pages).for_each(|page| own(owners, page, Owner::Run));
            }
        }
    }

    /// The first pages of the items that a slot lists.
    pub fn listed(&self, slot: usize) -> Vec<u32> {
        let page = self.page(u32::try_from(slot).unwrap());
        let first = META_BODY + u32_at(page, META_CATALOG_LEN) as usize;
        let items = 0..u32_at(page, META_ITEMS) as usize;
        items.map(|item| u32_at(page, first + item * META_ITEM_LEN)).collect()
    }
}

#[track_caller]
fn own(owners: &mut BTreeMap<u32, Owner>, page: u32, owner: Owner) {
    let before = owners.insert(page, owner);
    assert!(before.is_none(), "page {page} has a second owner, the first is {before:?}");
}
