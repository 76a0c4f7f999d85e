//! The main path, end to end, on real files and in memory.

mod common;

#[path = "smoke/full_disk.rs"]
mod full_disk;
#[path = "smoke/own_error.rs"]
mod own_error;
#[path = "smoke/unwind.rs"]
mod unwind;

use btree_store::{BTree, Error, Options};
use std::collections::BTreeMap;

#[test]
fn what_is_written_is_read_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    for size in [512, 4096] {
        let mut twin = BTreeMap::new();
        let path = path.with_extension(size.to_string());
        for round in 0..12_u32 {
            let db = Options::new().page_size(size).cache_bytes(16384).open(&path).unwrap();
            for i in 0..50_u32 {
                let key = format!("key_{}", (round * 7919 + i * 31) % 300);
                let value = vec![(i % 251) as u8; (i * round) as usize % 1500];
                if i % 5 == 4 {
                    let result = db.exec("b", |txn| txn.del(&key));
                    match twin.remove(&key) {
                        Some(_) => result.unwrap(),
                        None => assert_eq!(result, Err(Error::NotFound)),
                    }
                } else {
                    db.exec("b", |txn| txn.put(&key, &value)).unwrap();
                    twin.insert(key, value);
                }
            }
            db.view("b", |txn| {
                let (mut k, mut v) = (Vec::new(), Vec::new());
                let mut iter = txn.iter();
                for (key, value) in &twin {
                    assert!(iter.next_ref(&mut k, &mut v), "size {size} round {round}");
                    assert_eq!((key.as_bytes(), value), (&k[..], &v));
                }
                assert!(!iter.next_ref(&mut k, &mut v));
                assert_eq!(txn.len(), twin.len() as u64);
                Ok(())
            })
            .unwrap();
            println!("{size} {round} {:?}", db.stats().unwrap());
        }
    }
}

#[test]
fn a_second_handle_shares_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let one = BTree::open(&path).unwrap();
    let two = BTree::open(&path).unwrap();
    one.exec("b", |txn| txn.put("k", "v")).unwrap();
    assert_eq!(two.view("b", |txn| txn.get("k")).unwrap(), b"v");
    assert_eq!(one.exec("b", |_| two.exec("c", |_| Ok(()))), Err(Error::Invalid));
}
