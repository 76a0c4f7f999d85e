//! Values in overflow runs: which of them are read once, and that none is found where it was.
//!
//! Attacks: cache-coherent.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod common;

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Iter};
use common::on;
use common::random::Random;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: usize = 512;
const NAME: &str = common::NAME;

fn store(frames: u64) -> BTree {
    let options = on(MemVfs::new()).page_size(512).cache_bytes(frames * 700);
    options.open(NAME).unwrap()
}

/// Pages that a read takes from the file.
fn reads(db: &BTree, read: impl FnOnce(&BTree)) -> u64 {
    let before = db.stats().unwrap().pages_read;
    read(db);
    db.stats().unwrap().pages_read - before
}

fn get(db: &BTree, key: &str) -> Vec<u8> {
    db.view("b", |txn| txn.get(key)).unwrap()
}

#[test]
fn a_short_run_is_read_once_however_it_is_asked_for() {
    // Of one page, of several, and of the most that is kept: a sixteenth of the frames.
    for pages in [1, 3, 12] {
        let db = store(200);
        let value = Random::new(1).bytes(pages * PAGE - 7);
        db.exec("b", |txn| txn.put("k", &value)).unwrap();
        assert_eq!(reads(&db, |db| assert_eq!(get(db, "k"), value)), pages as u64);
        let read_again = |db: &BTree| {
            assert_eq!(get(db, "k"), value);
            db.view("b", |txn| {
                assert_eq!(*txn.get_ref("k")?, *value);
                assert_eq!(**txn.get_many(&["k"])?[0].as_ref().unwrap(), *value);
                let mut iter = txn.iter();
                assert_eq!(iter.next_entry()?.unwrap().1, value);
                Ok(())
            })
            .unwrap();
            db.exec("b", |txn| {
                assert_eq!(txn.get("k")?, value);
                Ok(())
            })
            .unwrap();
        };
        assert_eq!(reads(&db, read_again), 0, "{pages} pages");
    }
}

#[test]
fn a_long_run_is_read_each_time_and_puts_nothing_out() {
    let db = store(200);
    let value = Random::new(1).bytes(100 * PAGE);
    db.exec("b", |txn| txn.put("k", &value)).unwrap();
    for _ in 0..2 {
        assert_eq!(reads(&db, |db| assert_eq!(get(db, "k"), value)), 100);
    }
    assert_eq!(db.stats().unwrap().cached_pages, 1, "the leaf");
}

#[test]
fn runs_that_are_kept_hold_the_bound_of_the_cache() {
    let (db, bytes) = (store(64), 64 * 700);
    for i in 0..300_u32 {
        db.exec("b", |txn| txn.put(i.to_be_bytes(), vec![7; 2 * PAGE])).unwrap();
        db.view("b", |txn| txn.get(i.to_be_bytes())).unwrap();
        assert!(db.stats().unwrap().cached_pages * PAGE <= bytes);
    }
    assert!(db.stats().unwrap().cached_pages > 32);
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn dump(iter: &mut Iter) -> Model {
    let mut entries = Model::new();
    while let Some((key, value)) = iter.next_entry().unwrap() {
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries
}

/// Values of all lengths, in few keys and few pages, each read several times before and after it
/// is replaced, in caches that keep nothing, little and all of it; old snapshots are read late.
#[test]
fn what_is_kept_is_what_was_put() {
    for (seed, frames) in (0..).zip([0, 4, 20, 60, 1_000]) {
        let (db, mut random) = (store(frames), Random::new(seed));
        let mut model = Model::new();
        let mut old: Vec<(Iter, Model)> = Vec::new();
        for step in 0..1_500 {
            let key = vec![b'a' + u8::try_from(random.below(12)).unwrap()];
            let lens = [random.below(200), PAGE, 2 * PAGE - 1, random.below(8 * PAGE)];
            let len = lens[random.below(4)];
            let value = random.bytes(len);
            let is_kept = random.below(4) > 0;
            let ends_with = if is_kept { Ok(()) } else { Err(btree_store::Error::NotFound) };
            let done = db.exec("b", |txn| {
                txn.put(&key, &value)?;
                assert_eq!(txn.get(&key)?, value);
                ends_with
            });
            assert_eq!(done, ends_with, "seed {seed}, step {step}");
            if is_kept {
                model.insert(key, value);
            }
            for _ in 0..2 {
                let key = vec![b'a' + u8::try_from(random.below(12)).unwrap()];
                let found = db.view("b", |txn| txn.get(&key));
                let wanted = model.get(&key).cloned().ok_or(btree_store::Error::NotFound);
                assert_eq!(found, wanted, "seed {seed}, step {step}");
            }
            if random.below(20) == 0 && !model.is_empty() {
                old.push((db.view("b", |txn| Ok(txn.iter())).unwrap(), model.clone()));
            }
            if old.len() > random.below(4) {
                let at = random.below(old.len());
                let (mut iter, wanted) = old.swap_remove(at);
                assert!(dump(&mut iter) == wanted, "seed {seed}, step {step}: an old snapshot");
            }
        }
        assert!(db.verify().unwrap().is_sound(), "seed {seed}");
    }
}

/// Readers beside a writer that replaces every value again and again: each value is of one piece.
#[test]
fn readers_beside_a_writer_see_whole_values() {
    let db = store(120);
    let write = |round: u8| {
        db.exec("b", |txn| {
            (0..6_u8).try_for_each(|key| {
                txn.put([key], vec![round; PAGE * (1 + usize::from(key)) - 100])
            })
        })
    };
    write(0).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (db, is_over) = (&db, &is_over);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                while !is_over.load(Ordering::Relaxed) {
                    let key = u8::try_from(random.below(6)).unwrap();
                    let value = db.view("b", |txn| txn.get([key])).unwrap();
                    assert!(value.iter().all(|&byte| byte == value[0]), "key {key}");
                    assert_eq!(value.len(), PAGE * (1 + usize::from(key)) - 100);
                }
            });
        }
        for round in 0..400_u16 {
            write(u8::try_from(round % 251).unwrap()).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
