//! What a file costs: bytes per entry, growth under every way of working, and the owner of each
//! single page.
//!
//! Attacks: page-owned-once, space-log-replays.

mod common;

use btree_store::verify::Owner;
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Options, Result, Txn};
use common::random::Random;
use common::walk::Walk;
use common::{NAME, file_len, on, open};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// Every page of the file has one owner: the tree and the log of the newest state, found by code
/// of the tests' own, and what the store counts as free or pending.
#[track_caller]
fn assert_exact(db: &BTree, vfs: &MemVfs, context: &str) {
    let bytes = vfs.read_file(NAME).expect("the file exists");
    let stats = db.stats().expect("no transaction runs");
    let walk = Walk::new(&bytes);
    let newest = walk.newest();
    assert_eq!(newest.txn, stats.seq, "{context}");
    assert_eq!(newest.page_count, stats.page_count, "{context}");
    let used = walk.owners(newest).len() as u64;
    let sum = used + stats.free_pages + stats.pending_pages;
    assert_eq!(sum, u64::from(stats.page_count), "{context}: {used} used of {stats:?}");
    let wanted = u64::from(stats.page_count) * u64::from(stats.page_size);
    assert_eq!(bytes.len() as u64, wanted, "{context}: the file's length");
    let report = db.verify().expect("the file can be read");
    assert!(report.is_sound(), "{context}: {report:?}");
    let state = report.accepted().expect("a sound file has a state");
    let counted = 2 + state.reachable + state.log_pages;
    assert_eq!((state.txn, counted), (stats.seq, used), "{context}: {report:?}");
}

fn pages(vfs: &MemVfs) -> u64 {
    file_len(vfs) / 4096
}

#[test]
fn a_hundred_thousand_pairs_take_less_than_eight_mebibytes() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| {
        for i in 0..100_000 {
            let key = format!("key_{i}");
            txn.put(&key, &key)?;
        }
        Ok(())
    })
    .unwrap();
    println!("100,000 pairs: {} bytes", file_len(&vfs));
    assert_exact(&db, &vfs, "loaded");
    drop(db);
    assert!(file_len(&vfs) < 8 * MIB, "{} bytes", file_len(&vfs));
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Ascending,
    Random,
}

#[derive(Clone, Copy, Debug)]
enum Commits {
    One,
    OneEach,
}

/// Bytes of the file by bytes of the values, after `count` values of `len` bytes.
fn overhead(count: usize, len: usize, order: Order, commits: Commits) -> f64 {
    let mut numbers: Vec<usize> = (0..count).collect();
    if matches!(order, Order::Random) {
        Random::new(7).shuffle(&mut numbers);
    }
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    let value = vec![0xA5; len];
    match commits {
        Commits::One => db
            .exec("b", |txn| numbers.iter().try_for_each(|i| txn.put(format!("key_{i}"), &value)))
            .unwrap(),
        Commits::OneEach => numbers
            .iter()
            .try_for_each(|i| db.exec("b", |txn| txn.put(format!("key_{i}"), &value)))
            .unwrap(),
    }
    assert_exact(&db, &vfs, &format!("{count} values of {len} bytes, {order:?}, {commits:?}"));
    println!("{count} x {len} {order:?} {commits:?}: {:?}", db.stats().unwrap());
    drop(db);
    let bytes = u32::try_from(file_len(&vfs)).unwrap();
    f64::from(bytes) / f64::from(u32::try_from(count * len).unwrap())
}

#[test]
fn small_values_take_less_than_1_6_times_their_bytes() {
    let mut too_large = Vec::new();
    for (count, len) in [(5_000, 100), (10_000, 300)] {
        for order in [Order::Ascending, Order::Random] {
            for commits in [Commits::One, Commits::OneEach] {
                let times = overhead(count, len, order, commits);
                let what = format!("{count} x {len} bytes, {order:?}, {commits:?}: {times:.3}");
                println!("{what}");
                if times >= 1.6 {
                    too_large.push(what);
                }
            }
        }
    }
    assert!(too_large.is_empty(), "{too_large:#?}");
}

#[test]
fn a_thousand_openings_with_one_update_each_do_not_grow_the_file() {
    for filled in [0, 2_000] {
        let vfs = MemVfs::new();
        let db = open(&vfs).unwrap();
        db.exec("b", |txn| (0..filled).try_for_each(|i| txn.put(format!("key_{i}"), [7; 50])))
            .unwrap();
        drop(db);
        let mut random = Random::new(filled);
        let mut settled = 0;
        for round in 0..1_000 {
            let db = open(&vfs).unwrap();
            let key = format!("key_{}", random.below(2_000));
            db.exec("b", |txn| txn.put(key, round.to_string())).unwrap();
            if round % 100 == 0 {
                assert_exact(&db, &vfs, &format!("round {round}"));
            }
            drop(db);
            if round < 10 {
                settled = pages(&vfs);
            }
            if filled > 0 {
                assert_eq!(pages(&vfs), settled, "grown in round {round}");
            }
        }
        // Two thousand short values take about twenty pages.
        assert!(pages(&vfs) <= settled + 40, "{} pages, {settled} at first", pages(&vfs));
    }
}

/// How a bucket is emptied.
#[derive(Clone, Copy, Debug)]
enum Clear {
    Keys,
    Range,
    Bucket,
}

#[test]
fn two_hundred_rounds_of_fill_and_clear_stay_within_twice_the_third() {
    for clear in [Clear::Keys, Clear::Range, Clear::Bucket] {
        let vfs = MemVfs::new();
        let db = open(&vfs).unwrap();
        let mut third = 0;
        let mut random = Random::new(11);
        for round in 0..200 {
            let mut numbers: Vec<usize> = (0..1_000).collect();
            random.shuffle(&mut numbers);
            for part in numbers.chunks(250) {
                db.exec("b", |txn| {
                    part.iter().try_for_each(|i| txn.put(format!("key_{i}"), [1; 99]))
                })
                .unwrap();
            }
            db.exec("b", |txn| txn.put("large", vec![2; 9_000])).unwrap();
            match clear {
                Clear::Keys => db.exec("b", |txn| {
                    numbers.iter().try_for_each(|i| txn.del(format!("key_{i}")))?;
                    txn.del("large")
                }),
                Clear::Range => db.exec("b", |txn| txn.delete_range::<[u8]>(..).map(drop)),
                Clear::Bucket => db.del_bucket("b"),
            }
            .unwrap();
            if round == 2 {
                third = file_len(&vfs);
            }
            if round % 50 == 3 {
                assert_exact(&db, &vfs, &format!("{clear:?}, round {round}"));
            }
            let len = file_len(&vfs);
            assert!(round < 3 || len <= 2 * third, "{clear:?}, round {round}: {len} bytes");
        }
        println!("{clear:?}: third round {third}, last {}", file_len(&vfs));
    }
}

/// Ends a transaction in one of the ways in which it can fail, after `changes`.
fn fail(db: &BTree, way: usize) {
    let changes = |txn: &mut btree_store::Txn<'_>| -> Result<()> {
        for i in 0..200 {
            txn.put(format!("new_{i}"), [9; 300])?;
            txn.put(format!("key_{i}"), vec![8; i * 40])?;
        }
        txn.del("key_300")
    };
    let failed = match way % 5 {
        0 => db.exec("b", |txn| changes(txn).and(Err(Error::Conflict))),
        1 => {
            let run = || db.exec("b", |txn| changes(txn).map(|()| resume_unwind(Box::new(1))));
            catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Error::Internal))
        }
        2 => db.exec_multi(|multi| {
            multi.exec("b", |txn| changes(txn))?;
            multi.exec("other", |txn| changes(txn).or_else(|_| txn.put("k", "v")))?;
            Err(Error::Conflict)
        }),
        3 => db.exec_multi(|multi| {
            multi.del_bucket("b")?;
            multi.exec("b", |txn| txn.get("missing")).map(drop)
        }),
        _ => db.exec("b".repeat(1025), |txn| changes(txn)),
    };
    assert!(failed.is_err(), "way {way}");
}

#[test]
fn a_thousand_failed_transactions_do_not_grow_the_file() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| (0..500).try_for_each(|i| txn.put(format!("key_{i}"), [7; 100]))).unwrap();
    let before = (vfs.read_file(NAME), db.current_seq(), db.stats().unwrap());
    for round in 0..1_000 {
        fail(&db, round);
        assert_eq!(db.pending_pages(), (0, 0), "round {round}");
    }
    let mut after = (vfs.read_file(NAME), db.current_seq(), db.stats().unwrap());
    // Reading is allowed.
    after.2.pages_read = before.2.pages_read;
    after.2.cached_pages = before.2.cached_pages;
    assert!(before == after, "{:?} {:?}", before.2, after.2);
    assert_eq!(db.buckets().unwrap(), ["b"]);
    assert_exact(&db, &vfs, "after the failures");
}

/// Counted behind a reopening, where the store knows only what the file says.
#[test]
fn the_free_extents_are_the_runs_of_free_pages() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| (0..2_000).try_for_each(|i| txn.put(format!("{i:05}"), [7; 200]))).unwrap();
    for from in (0..2_000).step_by(300) {
        let mut some = (from..from + 100).map(|i| format!("{i:05}"));
        db.exec("b", |txn| some.try_for_each(|key| txn.del(key))).unwrap();
    }
    drop(db);
    let db = open(&vfs).unwrap();
    let (stats, report) = (db.stats().unwrap(), db.verify().unwrap());
    let is_free = |owner: &Owner| *owner == Owner::Free;
    let runs = report.owners().chunk_by(|a, b| is_free(a) == is_free(b));
    assert!(stats.free_extents > 3, "{stats:?}");
    assert_eq!(stats.free_extents, runs.filter(|run| is_free(&run[0])).count(), "{stats:?}");
}

#[test]
fn failed_transactions_between_commits_leak_nothing() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| (0..500).try_for_each(|i| txn.put(format!("key_{i}"), [7; 100]))).unwrap();
    let update = |round: usize| {
        let key = format!("key_{}", round % 300);
        db.exec("b", |txn| txn.put(key, [1; 100])).unwrap();
    };
    (0..50).for_each(update);
    let settled = pages(&vfs);
    for round in 0..500 {
        fail(&db, round);
        update(round);
        if round % 50 == 0 {
            assert_exact(&db, &vfs, &format!("round {round}"));
        }
    }
    assert_eq!(pages(&vfs), settled);
}

/// A store with ten thousand short values in a tree of three levels or two.
fn ten_thousand(vfs: &MemVfs) -> BTree {
    let db = open(vfs).unwrap();
    db.exec("b", |txn| (0..10_000).try_for_each(|i| txn.put(format!("key_{i:05}"), [b'v'; 100])))
        .unwrap();
    db
}

/// Commits that change one key each.
fn one_key_commits(db: &BTree, random: &mut Random, count: u64) {
    for i in 0..count {
        let key = format!("key_{:05}", random.below(10_000));
        db.exec("b", |txn| txn.put(key, [i.to_le_bytes()[0]; 100])).unwrap();
    }
}

#[test]
fn commits_without_a_reader_do_not_grow_the_file_after_a_warm_up() {
    let vfs = MemVfs::new();
    let db = ten_thousand(&vfs);
    let mut random = Random::new(3);
    one_key_commits(&db, &mut random, 200);
    let settled = pages(&vfs);
    one_key_commits(&db, &mut random, 3_000);
    assert_eq!(pages(&vfs), settled);
    assert_exact(&db, &vfs, "after 3,200 commits");
}

#[test]
fn a_pinned_reader_costs_less_than_two_kibibytes_a_commit() {
    let vfs = MemVfs::new();
    let db = ten_thousand(&vfs);
    let mut random = Random::new(4);
    one_key_commits(&db, &mut random, 200);
    let before = file_len(&vfs);
    let mut reader = db.view("b", |txn| Ok(txn.iter())).unwrap();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    assert!(reader.next_ref(&mut key, &mut value));
    one_key_commits(&db, &mut random, 2_000);
    assert_exact(&db, &vfs, "under a reader");
    let grown = file_len(&vfs) - before;
    println!("2,000 commits under a reader: {} bytes a commit", grown / 2_000);
    assert!(grown < 2_000 * 2_048, "{} bytes a commit", grown / 2_000);
    // The reader's pages are reusable once it is gone.
    let pending = db.stats().unwrap().pending_pages;
    drop(reader);
    one_key_commits(&db, &mut random, 4);
    let stats = db.stats().unwrap();
    assert!(stats.pending_pages < 30 && pending > 100, "{pending} pending, then {stats:?}");
    let full = file_len(&vfs);
    one_key_commits(&db, &mut random, 2_000);
    assert_eq!(file_len(&vfs), full, "what the reader held is used again");
    assert_exact(&db, &vfs, "after the reader");
}

#[test]
fn a_reader_of_one_leaf_tree_costs_a_page_or_two_in_all() {
    // Every commit replaces the same pages: only those of the reader's state have to stay.
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| txn.put("k", [0; 100])).unwrap();
    (0..50_u8).for_each(|i| db.exec("b", |txn| txn.put("k", [i; 100])).unwrap());
    let settled = pages(&vfs);
    let reader = db.view("b", |txn| Ok(txn.iter())).unwrap();
    for i in 0..2_000_u32 {
        db.exec("b", |txn| txn.put("k", i.to_le_bytes())).unwrap();
    }
    assert_exact(&db, &vfs, "under a reader");
    assert!(pages(&vfs) <= settled + 8, "{} pages, {settled} before", pages(&vfs));
    drop(reader);
}

/// One random change; returns what it was.
fn step(db: &BTree, random: &mut Random) -> String {
    let bucket = ["a", "b", "c"][random.below(3)];
    let from = random.below(400);
    let key = |i: usize| format!("key_{}", (from + i) % 400);
    let len = [10, 100, 700, 3_000, 20_000][random.below(5)];
    let result = match random.below(12) {
        0 => db.del_bucket(bucket),
        1 => db.exec(bucket, |_| Ok(())),
        2 | 3 => db.exec(bucket, |txn| txn.put(key(0), vec![5; len])),
        4 => db.exec(bucket, |txn| txn.del(key(0))),
        5 => db.exec(bucket, |txn| (0..50).try_for_each(|i| txn.put(key(i), vec![6; len / 10]))),
        6 => db.exec(bucket, |txn| {
            let (start, end) = (key(0), key(30));
            txn.delete_range::<[u8]>(start.as_bytes()..end.as_bytes()).map(drop)
        }),
        7 => db.exec_multi(|multi| {
            multi.exec("a", |txn| txn.put(key(1), vec![7; len]))?;
            multi.exec("b", |txn| txn.put(key(2), vec![7; len]))?;
            match multi.del_bucket("c") {
                Err(Error::NotFound) => Ok(()),
                other => other,
            }
        }),
        8 => db.exec(bucket, |txn| txn.put(key(3), vec![8; len]).and(Err(Error::Conflict))),
        9 => db.exec(bucket, |txn| {
            txn.put(key(4), vec![8; len])?;
            txn.put(key(4), vec![9; 3 * len])?;
            txn.del(key(4))
        }),
        10 => db.compact(0).map(drop),
        _ => db.commit(),
    };
    let expected = matches!(result, Ok(()) | Err(Error::NotFound | Error::Conflict));
    assert!(expected, "{result:?} {}", result.err().map(common::story).unwrap_or_default());
    format!("{bucket} {from} {len} {result:?}")
}

#[test]
fn every_page_is_accounted_for_after_every_step_and_every_opening() {
    for (seed, page_size) in [(1, 512), (2, 512), (3, 1024), (4, 4096)] {
        let vfs = MemVfs::new();
        let mut random = Random::new(seed);
        let mut readers = Vec::new();
        for round in 0..40 {
            let db = on(vfs.clone()).page_size(page_size).cache_bytes(20_000).open(NAME).unwrap();
            assert_exact(&db, &vfs, &format!("seed {seed}, opened in round {round}"));
            for at in 0..10 {
                let what = step(&db, &mut random);
                assert_exact(&db, &vfs, &format!("seed {seed}, round {round}.{at}: {what}"));
                if random.below(4) == 0 {
                    match db.view("a", |txn| Ok(txn.iter())) {
                        Err(Error::NotFound) => {}
                        reader => readers.push(reader.unwrap()),
                    }
                }
                if random.below(3) == 0 && !readers.is_empty() {
                    readers.swap_remove(random.below(readers.len()));
                }
            }
            // A killed process leaves a file whose pages are all accounted for too.
            let killed = vfs.snapshot();
            let db_killed = open(&killed).unwrap();
            assert_exact(&db_killed, &killed, &format!("seed {seed}, killed in round {round}"));
            readers.clear();
        }
    }
}

#[test]
fn the_file_shrinks_by_compact_and_never_by_itself() {
    let vfs = MemVfs::new();
    let db = ten_thousand(&vfs);
    let full = file_len(&vfs);
    db.exec("b", |txn| txn.delete_range::<[u8]>(b"key_00100".as_slice()..).map(drop)).unwrap();
    for i in 0..10_u32 {
        db.exec("b", |txn| txn.put("key_00001", i.to_le_bytes())).unwrap();
    }
    drop(db);
    assert!(file_len(&vfs) >= full, "deletes alone leave the length");
    let db = open(&vfs).unwrap();
    let stats = db.compact(0).unwrap();
    assert_exact(&db, &vfs, "compacted");
    println!("{full} bytes, compacted to {} {stats:?}", file_len(&vfs));
    assert!(file_len(&vfs) < full / 10, "{} of {full} bytes {stats:?}", file_len(&vfs));
    assert_eq!(db.view("b", |txn| Ok(txn.len())).unwrap(), 100);
}

#[test]
fn compacting_a_full_file_does_not_grow_it() {
    for target in [0, 1, 4096, 1 << 20, u64::MAX] {
        let vfs = MemVfs::new();
        let db = ten_thousand(&vfs);
        one_key_commits(&db, &mut Random::new(5), 100);
        let full = file_len(&vfs);
        let stats = db.compact(target).unwrap();
        assert!(file_len(&vfs) <= full, "{target}: {full} to {} {stats:?}", file_len(&vfs));
        assert_exact(&db, &vfs, "compacted");
        assert_eq!(common::dump(&db, "b").unwrap().len(), 10_000);
    }
}

#[test]
fn a_compaction_beside_a_reader_keeps_what_it_reads() {
    let vfs = MemVfs::new();
    let db = ten_thousand(&vfs);
    let mut reader = db.view("b", |txn| Ok(txn.iter())).unwrap();
    db.exec("b", |txn| txn.delete_range::<[u8]>(b"key_00010".as_slice()..).map(drop)).unwrap();
    db.compact(0).unwrap();
    one_key_commits(&db, &mut Random::new(6), 100);
    db.compact(u64::MAX).unwrap();
    let (mut key, mut value, mut seen) = (Vec::new(), Vec::new(), 0);
    while reader.next_ref(&mut key, &mut value) {
        assert_eq!(
            (key.clone(), value.clone()),
            (format!("key_{seen:05}").into(), vec![b'v'; 100])
        );
        seen += 1;
    }
    assert_eq!((seen, reader.error()), (10_000, None));
    assert_exact(&db, &vfs, "beside a reader");
}

#[test]
fn a_small_file_stays_small() {
    for (page_size, bytes_max) in [(512, 16_384), (4096, 65_536)] {
        let vfs = MemVfs::new();
        let options = Options::new().vfs(Arc::new(vfs.clone())).page_size(page_size);
        let db = options.open(NAME).unwrap();
        assert_eq!(file_len(&vfs), u64::from(page_size) * 2);
        for i in 0..1_000_u32 {
            db.exec("b", |txn| txn.put("k", i.to_le_bytes())).unwrap();
        }
        assert!(file_len(&vfs) <= bytes_max, "{} bytes", file_len(&vfs));
        drop(db);
    }
}

/// Whatever it is: a value in pages of its own, or the leaves of a bucket that is dropped.
#[test]
fn what_was_born_behind_a_reader_is_used_again_though_it_reads_on() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    let value = |i: u32| i.to_le_bytes().repeat(2_500);
    let put = |i: u32| db.exec("b", |txn| txn.put("k", value(i))).unwrap();
    let bucket = |_: u32| {
        let fill =
            |txn: &mut Txn<'_>| (0..500_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 100]));
        db.exec("t", fill).unwrap();
        db.del_bucket("t").unwrap();
    };
    for change in [&put as &dyn Fn(u32), &bucket] {
        (0..20).for_each(&put);
        let reader = db.snapshot();
        (20..40).for_each(change);
        let settled = pages(&vfs);
        (40..340).for_each(change);
        assert!(pages(&vfs) - settled <= 64, "from {settled} to {} pages", pages(&vfs));
        assert_eq!(reader.view("b", |txn| txn.get("k")).unwrap(), value(19));
    }
    assert_exact(&db, &vfs, "after the readers");
}
