//! Do puts that are made together leave the file that the same puts leave one by one?
//!
//! Keys that ascend, that come in runs, and in no order; values that fit a leaf, and that do not.
//!
//! Attacks: same-calls-same-bytes, sorted-keys, entry-count.

mod common;

use btree_store::Txn;
use btree_store::vfs::MemVfs;
use common::random::Random;
use common::{NAME, on};
use std::collections::BTreeMap;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(seed: usize) -> Entries {
    let mut random = Random::new(seed as u64);
    let run_len = [1, 3, 40, 2000][seed % 4];
    let space = if seed & 4 == 0 { 500 } else { 100_000 };
    let (mut at, mut left) = (0, 0);
    let entry = |_| {
        if left == 0 {
            left = run_len;
            at = if run_len == 2000 { 0 } else { random.below(space) };
        }
        left -= 1;
        at += 1 + random.below(2);
        let width = 1 + random.below(12);
        let len = if random.below(60) == 0 { 2500 } else { random.below(60) };
        let key = if seed % 8 < 6 { format!("key_{at:08}") } else { format!("{at:0width$}") };
        (key.into_bytes(), random.bytes(len))
    };
    (0..2000).map(entry).collect()
}

/// The file after these puts in three transactions, with something else behind each put.
fn written(page_size: u32, entries: &Entries, behind: fn(&mut Txn<'_>)) -> Vec<u8> {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(page_size).cache_bytes(40_000).open(NAME).unwrap();
    for entries in entries.chunks(700) {
        db.exec("b", |txn| {
            for (key, value) in entries {
                txn.put(key, value)?;
                behind(txn);
            }
            Ok(())
        })
        .unwrap();
    }
    let twin: BTreeMap<_, _> = entries.iter().cloned().collect();
    db.view("b", |txn| {
        assert_eq!(txn.len(), twin.len() as u64);
        let found: Entries = txn.iter().collect::<Result<_, _>>()?;
        assert!(found.into_iter().eq(twin), "other entries");
        Ok(())
    })
    .unwrap();
    drop(db);
    vfs.read_file(NAME).unwrap()
}

#[test]
fn puts_made_together_leave_the_file_that_single_puts_leave() {
    for seed in 0..16 {
        for page_size in [512, 4096] {
            let entries = entries(seed);
            let together = written(page_size, &entries, |_| {});
            // A look at the bucket ends the run of puts.
            let single = written(page_size, &entries, |txn| assert!(!txn.is_empty()));
            assert!(together == single, "seed {seed}, pages of {page_size}");
        }
    }
}
