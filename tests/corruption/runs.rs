//! Pages of large values where pages of trees should be, and the other way around, each with the
//! checksum that is held of it.

use super::forge::{Forge, RECORD_LEN};
use crate::common::walk::{Walk, u32_at};
use crate::common::{self, NAME, holding, on, open};
use btree_store::format::{HEADER_KIND, HEADER_LEVEL, KIND_LEAF};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error};

/// Looks like a leaf without entries.
fn large() -> [u8; 1_200] {
    let mut value = [0; 1_200];
    value[HEADER_KIND] = KIND_LEAF;
    value
}

/// Two buckets: a tree with a large value, and a leaf.
fn honest() -> Forge {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec_multi(|multi| {
        multi.exec("b", |txn| {
            (0..600).try_for_each(|i| txn.put(format!("key {i:03}"), [b'v'; 40]))?;
            txn.put("large", large())
        })?;
        multi.exec("c", |txn| txn.put("k", "v"))
    })
    .unwrap();
    drop(db);
    Forge::new(&vfs.read_file(NAME).unwrap())
}

/// Twice, as what was read once may have been kept.
#[track_caller]
fn assert_refused(db: &BTree, bucket: &str, key: &str, page: u32) {
    for round in 0..2 {
        let found = db.view(bucket, |txn| txn.get_ref(key).map(|value| value.len()));
        assert_eq!(found, Err(Error::Corruption), "round {round}");
        assert_eq!(common::corruption(Error::Corruption).0, Some(page), "round {round}");
    }
}

#[test]
fn a_large_value_is_not_taken_for_a_page_of_a_tree() {
    let mut forge = honest();
    let (leaf, at) = forge.overflow();
    let (first, checksum) = (u32_at(forge.page(leaf), at + 4), u32_at(forge.page(leaf), at + 8));
    let record = forge.record() + RECORD_LEN + 2 + "c".len();
    let root = u32_at(&forge.bytes, record);
    assert_eq!(Walk::new(&forge.bytes).page(root)[HEADER_LEVEL], 0, "the record is that of c");
    forge.change_meta(|page| {
        page[record..record + 4].copy_from_slice(&first.to_le_bytes());
        page[record + 4..record + 8].copy_from_slice(&checksum.to_le_bytes());
    });
    let db = open(&holding(&forge.bytes)).unwrap();
    for _ in 0..2 {
        assert_eq!(db.view("b", |txn| txn.get("large")).unwrap(), large());
    }
    assert_refused(&db, "c", "k", first);
}

#[test]
fn a_page_of_a_tree_is_not_taken_for_a_large_value() {
    let mut forge = honest();
    let (leaf, at) = forge.overflow();
    let record = forge.record() + RECORD_LEN + 2 + "c".len();
    let (id, checksum) = (u32_at(&forge.bytes, record), u32_at(&forge.bytes, record + 4));
    forge.change(leaf, |page| {
        for (field, value) in [(0, 512), (4, id), (8, checksum)] {
            page[at + field..at + field + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
    });
    let db = open(&holding(&forge.bytes)).unwrap();
    for _ in 0..2 {
        assert_eq!(db.view("c", |txn| txn.get("k")).unwrap(), b"v");
    }
    assert_refused(&db, "b", "large", id);
}
