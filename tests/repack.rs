//! Compaction fills leaves up: how small the file becomes, what that costs, and that nothing is
//! lost by it.
//!
//! Attacks: separators-bound-children, uniform-depth, page-owned-once.

mod common;

use btree_store::vfs::MemVfs;
use btree_store::{BTree, CompactStats};
use common::random::Random;
use common::watch::{Op, Watch};
use common::{NAME, dump, file_len, on, open, story};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

/// Puts pairs with random keys, in transactions of a thousand.
fn load(db: &BTree, random: &mut Random, count: usize, lens: (usize, usize)) {
    for part in 0..count.div_ceil(1_000) {
        let here = (count - part * 1_000).min(1_000);
        let put = |txn: &mut btree_store::Txn<'_>| {
            (0..here).try_for_each(|_| txn.put(random.bytes(lens.0), vec![7; lens.1]))
        };
        db.exec("b", put).unwrap();
    }
}

/// Pairs of twenty bytes, in random order.
fn load_small(db: &BTree, count: usize) {
    let mut numbers: Vec<usize> = (0..count).collect();
    Random::new(1).shuffle(&mut numbers);
    let put = |txn: &mut btree_store::Txn<'_>, i: &usize| {
        txn.put(format!("key_{i:06}"), format!("val_{i:06}"))
    };
    db.exec("b", |txn| numbers.iter().try_for_each(|i| put(txn, i))).unwrap();
}

/// Thousandths of the data that the file takes.
fn thousandths(vfs: &MemVfs, data: usize) -> u64 {
    file_len(vfs) * 1_000 / data as u64
}

#[test]
fn a_compacted_file_takes_less_than_1_08_times_its_data() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    load(&db, &mut Random::new(1), 50_000, (24, 150));
    let loaded = thousandths(&vfs, 50_000 * 174);
    let stats = db.compact(0).unwrap();
    let large = thousandths(&vfs, 50_000 * 174);
    assert!(db.verify().unwrap().is_sound());
    println!("50,000 of 174 bytes: {loaded} to {large}, {stats:?}");

    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    load_small(&db, 100_000);
    let loaded = thousandths(&vfs, 100_000 * 20);
    let stats = db.compact(0).unwrap();
    let small = thousandths(&vfs, 100_000 * 20);
    assert!(db.verify().unwrap().is_sound());
    println!("100,000 of 20 bytes: {loaded} to {small}, {stats:?}");
    assert!(large <= 1_080 && small <= 1_080, "{large}, {small}");
}

#[test]
fn small_entries_have_room_after_a_compaction() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    load_small(&db, 50_000);
    db.compact(0).unwrap();
    let used = |db: &BTree| {
        let stats = db.stats().unwrap();
        u64::from(stats.page_count) - stats.free_pages - stats.pending_pages
    };
    let before = used(&db);
    let mut random = Random::new(2);
    let mut put = |txn: &mut btree_store::Txn<'_>| {
        let key = format!("key_{:06}_", random.below(50_000));
        txn.put(key, "a value")
    };
    db.exec("b", |txn| (0..500).try_for_each(|_| put(txn))).unwrap();
    let after = used(&db);
    println!("a hundredth more entries: {before} pages to {after}");
    assert!(after <= before + before / 50, "{before} to {after}");
}

#[test]
fn a_second_compaction_reads_and_writes_nothing() {
    for (count, lens) in [(300, (24, 150)), (8_000, (24, 150)), (30_000, (8, 12)), (60, (9, 3_000))]
    {
        let (memory, watch) = Watch::memory();
        let db = on(watch.clone()).open(NAME).unwrap();
        load(&db, &mut Random::new(3), count, lens);
        db.compact(0).unwrap();
        let before = (memory.read_file(NAME), db.current_seq());
        for _ in 0..3 {
            let (counts, stats) = watch.during(|| db.compact(0).unwrap());
            assert!(counts.is_silent(), "{count} {lens:?}: {counts:?} {stats:?}");
            assert_eq!(stats, CompactStats::default(), "{count} {lens:?}");
        }
        assert_eq!(before, (memory.read_file(NAME), db.current_seq()));
    }
}

/// The longest that the file was during `call`, in bytes.
fn peak(watch: &Watch, vfs: &MemVfs, call: impl FnOnce()) -> u64 {
    let longest = Arc::new(AtomicU64::new(file_len(vfs)));
    let seen = Arc::clone(&longest);
    watch.hook(move |op| {
        match op {
            Op::SetLen(len) => seen.fetch_max(*len, Ordering::Relaxed),
            Op::Write { offset, len } => seen.fetch_max(offset + *len as u64, Ordering::Relaxed),
            _ => 0,
        };
        Ok(())
    });
    call();
    watch.unhook();
    longest.load(Ordering::Relaxed)
}

#[test]
fn the_file_grows_by_little_meanwhile_also_beside_a_reader() {
    for with_reader in [false, true] {
        let (vfs, watch) = Watch::memory();
        let db = on(watch.clone()).open(NAME).unwrap();
        db.exec("b", |txn| {
            let mut random = Random::new(4);
            (0..30_000).try_for_each(|_| txn.put(random.bytes(24), [7; 150]))
        })
        .unwrap();
        let reader = with_reader.then(|| db.view("b", |txn| Ok(txn.iter())).unwrap());
        let before = file_len(&vfs);
        let compact = || assert!(db.compact(0).is_ok());
        let (counts, highest) = watch.during(|| peak(&watch, &vfs, compact));
        let after = file_len(&vfs);
        println!("reader {with_reader}: {before}, at most {highest}, then {after}");
        println!("{} bytes written", counts.bytes_written);
        assert!(highest <= before + before / 4, "{before}, {highest}");
        assert!(counts.bytes_written <= before * 5 / 4, "{} bytes", counts.bytes_written);
        if let Some(mut reader) = reader {
            let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
            while reader.next_ref(&mut key, &mut value) {
                count += 1;
            }
            assert_eq!((count, reader.error()), (30_000, None));
            drop(reader);
            db.compact(0).unwrap();
        }
        assert!(file_len(&vfs) * 1_000 <= 30_000 * 174 * 1_085, "{}", file_len(&vfs));
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn a_small_target_fills_no_more_than_it_takes() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    load(&db, &mut Random::new(5), 20_000, (24, 150));
    db.compact(0).unwrap();
    load(&db, &mut Random::new(6), 5_000, (24, 150));
    let before = file_len(&vfs);
    let stats = db.compact(1).unwrap();
    assert!(before - file_len(&vfs) <= 4096, "{before} {}", file_len(&vfs));
    assert!(stats.moved_pages < 600, "{stats:?}");
}

type Twin = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// One change of a bucket, and of its twin.
fn change(db: &BTree, twin: &mut Twin, random: &mut Random, page_size: usize) {
    let bucket = ["a", "b", "c"][random.below(3)];
    let entries = twin.entry(bucket.to_owned()).or_default();
    let lens = [1, 9, page_size / 40, page_size / 8, page_size / 3, page_size * 3];
    db.exec(bucket, |txn| {
        for _ in 0..random.below(60) {
            let shared = [0, 3, page_size / 5][random.below(3)];
            let mut key = vec![b'x'; shared];
            key.extend(format!("{:03}", random.below(400)).bytes());
            if random.below(4) == 0 && entries.remove(&key).is_some() {
                txn.del(&key)?;
                continue;
            }
            let len = lens[random.below(lens.len())];
            let value = random.bytes(len);
            txn.put(&key, &value)?;
            entries.insert(key, value);
        }
        Ok(())
    })
    .unwrap();
}

#[track_caller]
fn assert_same(db: &BTree, twin: &Twin, context: &str) {
    for (bucket, entries) in twin {
        let found: BTreeMap<_, _> = dump(db, bucket).unwrap().into_iter().collect();
        assert!(found == *entries, "{context}: {bucket}");
        for (key, value) in entries {
            assert_eq!(db.view(bucket, |txn| txn.get(key)).as_ref(), Ok(value), "{context}");
        }
    }
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{context}: {report:?}");
}

#[track_caller]
fn compact(db: &BTree, target: u64, context: &str) -> CompactStats {
    db.compact(target).unwrap_or_else(|error| panic!("{context}: {}", story(error)))
}

#[test]
fn random_trees_are_the_same_after_each_compaction() {
    for (seed, page_size) in (0..24).zip([512, 512, 1024, 4096].into_iter().cycle()) {
        let vfs = MemVfs::new();
        let db = on(vfs.clone()).page_size(page_size).cache_bytes(30_000).open(NAME).unwrap();
        let (mut random, mut twin) = (Random::new(seed), Twin::new());
        let mut readers = Vec::new();
        for round in 0..30 {
            let context = format!("seed {seed}, round {round}");
            for _ in 0..random.below(6) {
                change(&db, &mut twin, &mut random, page_size as usize);
            }
            if random.below(3) == 0 {
                let read = |bucket: &str| db.view(bucket, |txn| Ok(txn.iter()));
                readers.extend(twin.get("a").map(|held| (held.clone(), read("a").unwrap())));
            }
            let before = file_len(&vfs);
            let target = [0, 0, 1, 1 << 14][random.below(4)];
            let context = format!("{context}, target {target} {:?}", db.stats().unwrap());
            let stats = compact(&db, target, &context);
            let context = format!("{context} {stats:?} {:?}", db.stats().unwrap());
            if readers.is_empty() {
                assert!(file_len(&vfs) <= before, "{context}: {before} {}", file_len(&vfs));
            }
            assert_same(&db, &twin, &context);
            if readers.len() > random.below(3) {
                let (entries, mut reader) = readers.swap_remove(random.below(readers.len()));
                let (mut key, mut value) = (Vec::new(), Vec::new());
                for entry in &entries {
                    assert!(reader.next_ref(&mut key, &mut value), "{context}");
                    assert_eq!(entry, (&key, &value), "{context}");
                }
                assert!(!reader.next_ref(&mut key, &mut value), "{context}");
            }
        }
        drop((readers, db));
        let db = on(vfs.clone()).page_size(page_size).open(NAME).unwrap();
        assert_same(&db, &twin, &format!("seed {seed}, opened again"));
        // Where runs of pages are in the way, some calls move a few pages more.
        let mut calls = 0;
        while {
            let seq = db.current_seq();
            db.compact(0).unwrap();
            db.current_seq() > seq
        } {
            calls += 1;
            assert!(calls < 10, "seed {seed}: it does not come to an end");
        }
    }
}

#[test]
fn others_write_while_leaves_are_filled() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    let mut entries = BTreeMap::new();
    let mut random = Random::new(8);
    for _ in 0..40 {
        let part: Vec<_> = (0..200).map(|_| (random.bytes(6), random.bytes(40))).collect();
        db.exec("b", |txn| part.iter().try_for_each(|(key, value)| txn.put(key, value))).unwrap();
        entries.extend(part);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (begun, has_begun) = mpsc::channel();
    let writer = std::thread::spawn({
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        move || {
            let mut random = Random::new(9);
            let keys: Vec<_> = entries.keys().cloned().collect();
            while !stop.load(Ordering::Relaxed) {
                let (key, value) = (random.bytes(6), random.bytes(60));
                let doomed = &keys[random.below(keys.len())];
                db.exec("b", |txn| {
                    txn.put(&key, &value)?;
                    if entries.contains_key(doomed) { txn.del(doomed) } else { Ok(()) }
                })
                .unwrap();
                entries.insert(key, value);
                entries.remove(doomed);
                begun.send(()).expect("the test listens until it has joined");
            }
            entries
        }
    });
    has_begun.recv().unwrap();
    for _ in 0..5 {
        db.compact(0).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let entries = writer.join().unwrap();
    assert_same(&db, &Twin::from([("b".to_owned(), entries)]), "after the writer");
}

/// What the trees are that a compaction walks through.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Pairs,
    /// Among the pairs one value that has pages of its own.
    PairsAndOneRun,
    ManyRuns,
    ManyBuckets,
}

/// A store of many pages, of which most become free, those in front too.
fn fill_and_thin(db: &BTree, shape: Shape) {
    let buckets = if matches!(shape, Shape::ManyBuckets) { 500 } else { 1 };
    let key = |i: usize| format!("{:05}", i * 7_919 % 60_000);
    let value = |i: usize| match shape {
        Shape::ManyRuns if i % 20 == 3 => vec![7; 1_200],
        _ => vec![7; 60],
    };
    let in_each = |change: &dyn Fn(&mut btree_store::Txn<'_>, usize) -> btree_store::Result<()>| {
        for part in 0..10 {
            let numbers = |bucket| (part * buckets + bucket..60_000).step_by(10 * buckets);
            db.exec_multi(|multi| {
                (0..buckets).try_for_each(|at| {
                    let all = |txn: &mut btree_store::Txn<'_>| {
                        numbers(at).try_for_each(|i| change(txn, i))
                    };
                    multi.exec(format!("b{at}"), all)
                })
            })
            .unwrap();
        }
    };
    in_each(&|txn, i| txn.put(key(i), value(i)));
    in_each(&|txn, i| if i / 1_000 % 3 == 0 { Ok(()) } else { txn.del(key(i)) });
    if matches!(shape, Shape::PairsAndOneRun) {
        db.exec("b0", |txn| txn.put("z", [7; 1_200])).unwrap();
    }
}

/// Nothing is cached, so that all that is looked at is read. With pages of 512 bytes the log of the
/// free space is long, and lies in the way of the end.
#[test]
fn a_compaction_reads_each_page_a_few_times_and_leaves_few_free() {
    for shape in [Shape::Pairs, Shape::PairsAndOneRun, Shape::ManyRuns, Shape::ManyBuckets] {
        let (memory, watch) = Watch::memory();
        let options = || on(watch.clone()).page_size(512);
        fill_and_thin(&options().open(NAME).unwrap(), shape);
        let db = options().cache_bytes(0).open(NAME).unwrap();
        let unused = |db: &BTree| {
            let stats = db.stats().unwrap();
            stats.free_pages + stats.pending_pages
        };
        let before = file_len(&memory) / 512;
        let used = before - unused(&db);
        let (counts, stats) = watch.during(|| db.compact(0).unwrap());
        let (read, after) = (counts.bytes_read / 512, file_len(&memory) / 512);
        println!("{shape:?}: {used} of {before} pages in use, {read} read, {stats:?}");
        println!("{after} pages, {} unused", unused(&db));
        assert!(read <= 5 * used, "{shape:?}: {read} pages read for {used}");
        assert!(unused(&db) <= after / 25, "{shape:?}: {} of {after} unused", unused(&db));
        assert!(db.verify().unwrap().is_sound());
    }
}
