//! Does a snapshot stay what it was, whatever becomes of the store?
//!
//! Pages of 512 bytes and a cache of a few of them, so that what a snapshot reads lies in the file,
//! and would be written anew if nobody held it.
//!
//! Attacks: snapshot-stable, no-reuse-while-reachable.
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

#[path = "snapshot/lookups.rs"]
mod lookups;

use btree_store::vfs::{MemVfs, Vfs};
use btree_store::{BTree, Error, Options, ReadOnlyTxn, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE: u32 = 512;
const CACHED_PAGES: u64 = 8;
const ENTRIES: u32 = 300;
/// More than there are slots for readers.
const MANY: usize = 200;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn store(vfs: &MemVfs) -> BTree {
    let options = Options::new().page_size(PAGE).cache_bytes(CACHED_PAGES * u64::from(PAGE));
    options.vfs(Arc::new(vfs.clone())).open("data.db").unwrap()
}

/// Every entry of both buckets is of this round.
fn fill(db: &BTree, round: u8) {
    db.exec_multi(|multi| {
        for bucket in ["a", "b"] {
            multi.exec(bucket, |txn| {
                (0..ENTRIES).try_for_each(|at| txn.put(at.to_be_bytes(), [round; 20]))?;
                txn.put("large", vec![round; 3_000])
            })?;
        }
        Ok(())
    })
    .unwrap();
}

fn entries(snapshot: &Snapshot, bucket: &str) -> Entries {
    snapshot
        .view(bucket, |txn| {
            let entries = txn.range::<[u8]>(..).collect::<Result<Entries, Error>>()?;
            for (key, value) in &entries {
                assert_eq!((&txn.get(key)?, &*txn.get_ref(key)?), (value, value.as_slice()));
            }
            let keys: Vec<&Vec<u8>> = entries.keys().collect();
            let found = txn.get_many(&keys)?;
            assert!(found.iter().zip(entries.values()).all(|(a, b)| a.as_deref() == Some(&**b)));
            assert_eq!(txn.len(), entries.len() as u64);
            Ok(entries)
        })
        .unwrap()
}

fn assert_of_round(snapshot: &Snapshot, round: u8) {
    for bucket in ["a", "b"] {
        let found = entries(snapshot, bucket);
        assert_eq!(found.len(), ENTRIES as usize + 1);
        assert!(found.values().all(|value| value.iter().all(|&byte| byte == round)), "{round}");
    }
}

#[test]
fn it_sees_all_buckets_in_one_state_whatever_is_written() {
    let db = store(&MemVfs::new());
    fill(&db, 0);
    let mut kept = vec![(0, db.snapshot())];
    for round in 1..40 {
        fill(&db, round);
        if round % 5 == 0 {
            kept.push((round, db.snapshot()));
        }
        if round % 11 == 0 {
            kept.swap_remove(0);
            db.compact(0).unwrap();
        }
        for (round, snapshot) in &kept {
            assert_of_round(snapshot, *round);
        }
    }
    assert!(kept.len() > 3, "several states are read");
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn it_keeps_buckets_that_are_dropped_and_does_not_see_new_ones() {
    let db = store(&MemVfs::new());
    fill(&db, 1);
    let snapshot = db.snapshot();
    db.del_bucket("a").unwrap();
    fill(&db, 2);
    db.exec("c", |txn| txn.put("k", "v")).unwrap();
    assert_of_round(&snapshot, 1);
    assert_eq!(snapshot.buckets().unwrap(), ["a", "b"]);
    assert_eq!(snapshot.view("c", |txn| txn.get("k")), Err(Error::NotFound));
    assert_eq!(snapshot.view("", |_| Ok(())), Err(Error::Invalid));
    assert_eq!(snapshot.view("b".repeat(1_000), |_| Ok(())), Err(Error::TooLarge));
}

#[test]
fn its_number_is_that_of_its_state() {
    let db = store(&MemVfs::new());
    let before = db.snapshot();
    fill(&db, 1);
    let after = db.snapshot();
    fill(&db, 2);
    assert_eq!(before.seq() + 1, after.seq());
    assert_eq!(after.seq() + 1, db.current_seq());
    assert_eq!(after.clone().seq(), after.seq());
    assert_eq!(before.buckets().unwrap(), Vec::<String>::new());
}

#[test]
fn it_outlives_the_handles_and_keeps_the_file_locked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let db = Options::new().page_size(PAGE).open(&path).unwrap();
    fill(&db, 1);
    let snapshot = db.snapshot();
    drop(db);
    assert_of_round(&snapshot, 1);
    let file = std::fs::File::open(&path).unwrap();
    assert!(file.try_lock_shared().is_err(), "nobody else opens it");
    drop(snapshot);
    file.try_lock_shared().unwrap();
}

#[test]
fn a_clone_keeps_the_state_when_the_first_is_gone() {
    let db = store(&MemVfs::new());
    fill(&db, 1);
    let first = db.snapshot();
    let second = first.clone();
    drop(first);
    (2..12).for_each(|round| fill(&db, round));
    assert_of_round(&second, 1);
}

#[test]
fn what_it_alone_needs_is_used_again_when_it_is_dropped() {
    let db = store(&MemVfs::new());
    fill(&db, 1);
    let snapshot = db.snapshot();
    (2..12).for_each(|round| fill(&db, round));
    let held = db.stats().unwrap().pending_pages;
    drop(snapshot);
    fill(&db, 12);
    let left = db.stats().unwrap().pending_pages;
    let used = u64::from(db.stats().unwrap().page_count) - db.stats().unwrap().free_pages - left;
    assert!(held > left + used / 2, "{held} pages were held, then {left}, of {used}");
}

#[test]
fn more_of_them_than_readers_have_slots_are_read_inside_each_other() {
    fn inside(snapshots: &[Snapshot], depth: usize) {
        if let Some((first, rest)) = snapshots.split_first() {
            first
                .view("a", |txn| {
                    assert_eq!(txn.get(0_u32.to_be_bytes())?, [1; 20], "{depth} deep");
                    inside(rest, depth + 1);
                    assert_eq!(*txn.get_ref(7_u32.to_be_bytes())?, [1; 20], "{depth} deep");
                    Ok(())
                })
                .unwrap();
        }
    }
    let db = store(&MemVfs::new());
    fill(&db, 1);
    let snapshots: Vec<Snapshot> = (0..MANY).map(|_| db.snapshot()).collect();
    fill(&db, 2);
    inside(&snapshots, 0);
    for snapshot in &snapshots {
        assert_of_round(snapshot, 1);
    }
}

#[test]
fn threads_share_it_beside_a_writer() {
    let db = store(&MemVfs::new());
    fill(&db, 1);
    let snapshot = Arc::new(db.snapshot());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let snapshot = Arc::clone(&snapshot);
            scope.spawn(move || (0..10).for_each(|_| assert_of_round(&snapshot, 1)));
        }
        (2..20).for_each(|round| fill(&db, round));
    });
    let moved = std::thread::spawn(move || assert_of_round(&snapshot, 1));
    moved.join().unwrap();
}

#[test]
fn a_write_transaction_takes_and_reads_the_state_before_itself() {
    let db = store(&MemVfs::new());
    fill(&db, 1);
    let snapshot = db
        .exec("a", |txn| {
            txn.put(0_u32.to_be_bytes(), "changed")?;
            let snapshot = db.snapshot();
            assert_of_round(&snapshot, 1);
            Ok(snapshot)
        })
        .unwrap();
    assert_of_round(&snapshot, 1);
}

#[test]
fn damage_is_an_error_of_the_view_that_meets_it() {
    let vfs = MemVfs::new();
    let db = store(&vfs);
    fill(&db, 1);
    let snapshot = db.snapshot();
    fill(&db, 2);
    let file = vfs.open("data.db".as_ref(), btree_store::vfs::OpenMode::ReadWrite).unwrap();
    // All but the two meta pages, as the cache holds a few at most.
    let mut page = vec![0; PAGE as usize];
    for at in (2 * u64::from(PAGE)..file.size().unwrap()).step_by(PAGE as usize) {
        file.read_at(&mut page, at).unwrap();
        page[100] ^= 1;
        file.write_at(&page, at).unwrap();
    }
    let scan = snapshot.view("a", |txn| {
        let mut iter = txn.iter();
        while iter.next_ref(&mut Vec::new(), &mut Vec::new()) {}
        Ok(())
    });
    assert_eq!(scan, Err(Error::Corruption));
}

/// A store of more leaves than frames, none of which is empty.
fn with_few_frames() -> BTree {
    let db = Options::new().cache_bytes(1 << 20).open_in_memory().unwrap();
    db.exec("b", |txn| (0..10_000_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 200])))
        .unwrap();
    (0..10_000).step_by(15).for_each(|i| read(&db, i));
    db
}

fn read(db: &BTree, key: u32) {
    db.view("b", |txn| txn.get(key.to_be_bytes()).map(drop)).unwrap();
}

/// Pages that are read from the file though they were just read twice.
fn pages_read_again(db: &BTree) -> u64 {
    let pages_read = || db.stats().unwrap().pages_read;
    let again = |place: u32| {
        let read = || (0..20).for_each(|i| read(db, place * 1_000 + i * 20));
        read();
        read();
        let before = pages_read();
        read();
        pages_read() - before
    };
    (0..10).map(again).sum()
}

/// What a cursor of a write transaction holds, the commit has replaced: such pages are not kept for
/// anybody else, but others find room beside them.
#[test]
fn a_cursor_that_outlives_its_transaction_does_not_stop_the_cache() {
    let db = with_few_frames();
    let iter = db
        .exec("b", |txn| {
            (0..50_u32).try_for_each(|i| txn.put((i * 200).to_be_bytes(), [8; 200]))?;
            Ok(txn.iter())
        })
        .unwrap();
    let cold = pages_read_again(&db);
    assert_eq!(cold, 0, "leaves that were just read twice are read from the file again");
    drop(iter);
}

/// Who reads on in a view has looked at pages, and looks at none between two calls: others find
/// frames.
#[test]
fn a_view_that_stays_open_does_not_stop_the_cache() {
    let db = with_few_frames();
    let snapshot = db.snapshot();
    let read_beside = |held: &ReadOnlyTxn<'_>, lent: &ReadOnlyTxn<'_>| {
        held.get([0; 4]).and(lent.get([0; 4]))?;
        Ok(pages_read_again(&db))
    };
    let cold = db.view("b", |held| snapshot.view("b", |lent| read_beside(held, lent)));
    assert_eq!(cold, Ok(0), "leaves that were just read twice are read from the file again");
}

/// Who looks for what keeps a file from shrinking finds the oldest state that is read, and how many
/// are: of snapshots, of their clones once, of transactions that read.
#[test]
fn the_statistics_tell_of_states_that_are_still_read() {
    let db = store(&MemVfs::new());
    let pinned = || {
        let stats = db.stats().unwrap();
        (stats.pinned_states, stats.oldest_seq, stats.seq)
    };
    fill(&db, 0);
    let first = db.snapshot();
    let seq = first.seq();
    assert_eq!(pinned(), (0, seq, seq), "the newest state is no older one");
    fill(&db, 1);
    let (clone, second) = (first.clone(), db.snapshot());
    fill(&db, 2);
    assert_eq!(pinned(), (2, seq, db.current_seq()));
    drop(first);
    assert_eq!(pinned(), (2, seq, db.current_seq()), "its clone reads on");
    drop(clone);
    assert_eq!(pinned(), (1, second.seq(), db.current_seq()));
    drop(second);
    assert_eq!(pinned(), (0, db.current_seq(), db.current_seq()));
    let before = db.current_seq();
    db.view("a", |txn| {
        fill(&db, 3);
        assert_eq!(pinned(), (1, before, db.current_seq()));
        assert_eq!(txn.get("large")?[0], 2);
        Ok(())
    })
    .unwrap();
    assert_eq!(pinned(), (0, db.current_seq(), db.current_seq()));
}
