//! Leaves with keys that their separators do not allow: a change that would carry one on fails.

use super::forge::{CELL_HEADER, Forge, children_at};
use crate::common::walk::u16_at;
use crate::common::{self, NAME, holding, on, open};
use btree_store::format::{
    HEAD_LEN, HEADER_COUNT, HEADER_LEN, HEADER_LEVEL, HEADER_PREFIX, OFFSET_LEN,
};
use btree_store::vfs::MemVfs;
use btree_store::{Error, Result, Txn};

fn key(i: usize) -> String {
    format!("key_{i:05}_and_more")
}

/// A tree of one branch, in whose last leaves lie keys of another kind.
fn two_kinds() -> Forge {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| {
        (0..40).try_for_each(|i| txn.put(key(i), [b'v'; 40]))?;
        (200..216_u8).try_for_each(|i| txn.put([i; 20], [b's'; 150]))
    })
    .unwrap();
    drop(db);
    let mut forge = Forge::new(&vfs.read_file(NAME).unwrap());
    let root = forge.root();
    assert_eq!(forge.page(root)[HEADER_LEVEL], 1);
    forge
}

/// Where the head and the cell of a slot of a leaf are.
fn slot_at(page: &[u8], slot: usize) -> (usize, usize) {
    let (heads, count) = (children_at(page), usize::from(u16_at(page, HEADER_COUNT)));
    let offset = heads + count * HEAD_LEN + slot * OFFSET_LEN;
    (heads + slot * HEAD_LEN, usize::from(u16_at(page, offset)))
}

/// Gives an entry of a leaf another key, as long as its own and with the page's prefix.
fn rename(page: &mut [u8], slot: usize, key: &str) {
    let prefix_len = usize::from(u16_at(page, HEADER_PREFIX));
    let (prefix, suffix) = key.as_bytes().split_at(prefix_len);
    assert_eq!(&page[HEADER_LEN..HEADER_LEN + prefix_len], prefix);
    let (head_at, cell) = slot_at(page, slot);
    assert_eq!(usize::from(u16_at(page, cell)), suffix.len());
    let (head, rest) = suffix.split_at(HEAD_LEN);
    let head = u32::from_be_bytes(head.try_into().unwrap()).to_le_bytes();
    page[head_at..head_at + HEAD_LEN].copy_from_slice(&head);
    page[cell + CELL_HEADER..][..rest.len()].copy_from_slice(rest);
}

#[track_caller]
fn assert_refused(forge: &Forge, change: impl FnOnce(&mut Txn<'_>) -> Result<u64>) {
    let db = open(&holding(&forge.bytes)).unwrap();
    let changed = db.exec("b", change);
    assert_eq!(changed, Err(Error::Corruption));
    assert_eq!(common::corruption(Error::Corruption).1, "separators-bound-children");
}

#[test]
fn a_bulk_load_behind_keys_below_their_separator_is_refused() {
    let mut forge = two_kinds();
    let last = *forge.leaves().last().unwrap();
    assert_eq!(u16_at(forge.page(last), HEADER_COUNT), 2);
    forge.change(last, |page| {
        rename(page, 0, "key_00030_b_and_more");
        rename(page, 1, "key_00030_c_and_more");
    });
    let keys = || (0..400).map(|i| (format!("key_00030_d{i:05}"), [b'w'; 40]));
    assert_refused(&forge, |txn| txn.bulk_load(keys()));
}

#[test]
fn a_range_with_a_key_that_belongs_to_another_leaf_is_not_deleted() {
    let mut forge = two_kinds();
    let first = forge.leaves()[0];
    let last = usize::from(u16_at(forge.page(first), HEADER_COUNT)) - 1;
    forge.change(first, |page| rename(page, last, &format!("key_{:05}_aaa_more", last + 1)));
    let from = format!("key_{last:05}_b");
    assert_refused(&forge, |txn| txn.delete_range(from.as_str()..));
}
