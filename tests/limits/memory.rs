//! How much memory a large value takes: its own, and one copy. And a range that is removed: none.

use crate::common::memory::{MIB, measure, peak, role, tell};
use btree_store::Options;
use std::io::Read;

const VALUE: usize = 96 * MIB;
const KEYS: u64 = 300_000;

/// Plays its role in a process of its own, where nothing else takes memory.
#[test]
fn measures_itself() {
    let Some((role, path)) = role() else { return };
    let db = Options::new().cache_bytes(1 << 20).open(path).unwrap();
    let value = if role == "put" { vec![7; VALUE] } else { Vec::new() };
    let before = peak().unwrap();
    match role.as_str() {
        "put" => db.exec("b", |txn| txn.put("k", &value)).unwrap(),
        "get" => {
            let found = db.view("b", |txn| txn.get("k")).unwrap();
            assert_eq!((found.len(), found[VALUE - 1]), (VALUE, 7));
        }
        "lay" => {
            // What is removed leaves room for the other, and for the pages of the tree.
            for (key, len) in [("first", VALUE + MIB), ("k", VALUE)] {
                let mut bytes = std::io::repeat(7).take(len as u64);
                db.exec("b", |txn| txn.put_from(key, len as u64, &mut bytes)).unwrap();
            }
            db.exec("b", |txn| txn.del("first")).unwrap();
        }
        "compact" => {
            let done = db.compact(0).unwrap();
            assert!(done.moved_pages >= VALUE / 4096, "{done:?}");
        }
        "fill" => {
            let mut keys = (0..KEYS).map(|key| format!("key_{key:06}"));
            db.exec("b", |txn| keys.try_for_each(|key| txn.put(key, "value"))).unwrap();
        }
        "read" => {
            for key in (0..KEYS).map(|key| key * 7_919 % KEYS) {
                db.view("b", |txn| txn.get(format!("key_{key:06}"))).unwrap();
            }
        }
        "clear" => {
            let txn = db.begin();
            let removed = txn.bucket("b").unwrap().delete_range::<[u8]>(..).unwrap();
            assert_eq!(removed, KEYS);
            txn.commit().unwrap();
            assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(0));
        }
        other => panic!("there is no role {other}"),
    }
    tell(before);
}

#[test]
fn a_large_value_is_copied_once_at_most() {
    if peak().is_none() {
        println!("skipped: this system does not tell");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    for role in ["put", "get"] {
        let took = measure(role, &path);
        println!("{role} of {} MiB takes {} MiB", VALUE / MIB, took / MIB);
        assert!(took < VALUE + VALUE / 4, "{role} takes {} MiB", took / MIB);
    }
}

#[test]
fn a_large_value_is_put_from_a_reader_and_moved_in_pieces() {
    if peak().is_none() {
        println!("skipped: this system does not tell");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    for role in ["lay", "compact"] {
        let took = measure(role, &path);
        println!("{role} of {} MiB takes {} MiB", VALUE / MIB, took / MIB);
        assert!(took < VALUE / 6, "{role} takes {} MiB", took / MIB);
    }
}

/// The keys alone take 3 MB, each in a place of its own five times that; the pages 8 MB.
#[test]
fn what_reads_all_or_removes_a_range_keeps_neither_pages_nor_keys() {
    if peak().is_none() {
        println!("skipped: this system does not tell");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    measure("fill", &path);
    let took = measure("read", &path);
    println!("to read {KEYS} keys with a cache of 1 MiB takes {} KiB", took / 1024);
    assert!(took < 3 * MIB, "{} KiB", took / 1024);
    let took = measure("clear", &path);
    println!("to clear {KEYS} keys takes {} KiB", took / 1024);
    assert!(took < 3 * MIB, "{} KiB", took / 1024);
}
