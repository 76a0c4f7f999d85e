//! Threads: readers and writers at once, snapshots, group commit, and calls inside calls.
//!
//! Attacks: one-writer, snapshot-stable, no-reuse-while-reachable, committed-pages-immutable,
//! publish-after-durable, cache-coherent, durable-before-ok.

mod common;

#[path = "concurrency/calling.rs"]
mod calling;
#[path = "concurrency/deferred.rs"]
mod deferred;
#[path = "concurrency/failing.rs"]
mod failing;
#[path = "concurrency/nested.rs"]
mod nested;

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Barriers, Error, Iter, ReadOnlyTxn, Result};
use common::random::Random;
use common::watch::{Op, Watch};
use common::{NAME, dump, on, open};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longer than any step of these tests takes; a deadlock fails instead of hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a call in a thread of its own, and fails when it does not return.
#[track_caller]
fn in_time<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = call();
        sender.send(()).expect("the caller waits");
        result
    });
    let ended = receiver.recv_timeout(LIMIT);
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "the call does not return");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a number has eight bytes"))
}

fn get(db: &BTree, bucket: &str, key: &str) -> Result<u64> {
    db.view(bucket, |txn| txn.get(key)).map(|value| number(&value))
}

/// A store with a counter of 0 in bucket "b".
fn counter(vfs: &MemVfs) -> BTree {
    let db = open(vfs).unwrap();
    db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
    db
}

fn add_one(txn: &mut btree_store::Txn<'_>) -> Result<u64> {
    let next = number(&txn.get("counter")?) + 1;
    txn.put("counter", next.to_le_bytes())?;
    Ok(next)
}

#[test]
fn a_reader_holds_its_view_while_a_hundred_commits_pass() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        let writer = db.clone();
        db.view("b", |txn| {
            let mut iter = txn.iter();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..100 {
                        writer.exec("b", add_one).unwrap();
                    }
                });
            });
            assert_eq!(number(&txn.get("counter")?), 0, "the view's state");
            let (mut key, mut value) = (Vec::new(), Vec::new());
            assert!(iter.next_ref(&mut key, &mut value));
            assert_eq!(number(&value), 0, "the cursor's state");
            Ok(())
        })
        .unwrap();
        assert_eq!(get(&db, "b", "counter"), Ok(100));
    });
}

#[test]
fn a_writer_holds_its_transaction_while_a_thousand_views_proceed() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        db.exec("b", |txn| {
            add_one(txn)?;
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        assert_eq!(get(&db, "b", "counter"), Ok(0), "not durable yet");
                        assert_eq!(db.buckets().unwrap(), ["b"]);
                    }
                });
            });
            add_one(txn).map(drop)
        })
        .unwrap();
        assert_eq!(get(&db, "b", "counter"), Ok(2));
    });
}

#[test]
fn readers_wait_for_no_flush() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
    // The sync of the next commit waits until the readers are done.
    let (reached, at_sync) = mpsc::channel();
    let (go_on, release) = mpsc::channel();
    watch.hook(move |op| {
        if op.is_sync() {
            reached.send(()).unwrap();
            release.recv().unwrap();
        }
        Ok(())
    });
    in_time(move || {
        std::thread::scope(|scope| {
            scope.spawn(|| db.exec("b", add_one).unwrap());
            at_sync.recv().unwrap();
            for _ in 0..100 {
                assert_eq!(get(&db, "b", "counter"), Ok(0), "not durable before its sync ends");
                assert_eq!(db.current_seq(), 1);
            }
            // The next transaction runs on what is being flushed, without being seen.
            let next = scope.spawn(|| {
                db.exec("b", |txn| {
                    assert_eq!(get(&db, "b", "counter"), Ok(0));
                    add_one(txn)
                })
                .unwrap()
            });
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(get(&db, "b", "counter"), Ok(0));
            go_on.send(()).unwrap();
            at_sync.recv().unwrap();
            assert_eq!(get(&db, "b", "counter"), Ok(1));
            go_on.send(()).unwrap();
            assert_eq!(next.join().unwrap(), 2);
            assert_eq!(get(&db, "b", "counter"), Ok(2));
        });
        watch.unhook();
    });
}

/// Opens a cursor and reads all of it in small steps, between which others write.
fn rest_of(iter: &mut Iter) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (mut key, mut value, mut all) = (Vec::new(), Vec::new(), BTreeMap::new());
    while iter.next_ref(&mut key, &mut value) {
        all.insert(key.clone(), value.clone());
    }
    assert_eq!(iter.error(), None, "{}", iter.error().map(common::story).unwrap_or_default());
    all
}

/// What a bucket holds.
type Twin = BTreeMap<Vec<u8>, Vec<u8>>;

#[test]
fn a_snapshot_stays_what_it_was_for_all_its_life() {
    for (seed, page_size) in [(1, 512), (2, 4096)] {
        let vfs = MemVfs::new();
        // A small cache: what a snapshot reads comes from the file, where pages are reused.
        let options = on(vfs.clone()).page_size(page_size).cache_bytes(8 * u64::from(page_size));
        let db = options.open(NAME).unwrap();
        let mut random = Random::new(seed);
        let mut twin = Twin::new();
        let mut snapshots: Vec<(Iter, Twin)> = Vec::new();
        for round in 0..600 {
            let key = format!("key_{}", random.below(150)).into_bytes();
            let len = [3, 50, 200, 900, 5_000][random.below(5)];
            let value = random.bytes(len);
            if random.below(3) == 0 {
                let deleted = db.exec("b", |txn| txn.del(&key));
                assert_eq!(deleted.is_ok(), twin.remove(&key).is_some());
            } else {
                db.exec("b", |txn| txn.put(&key, &value)).unwrap();
                twin.insert(key, value);
            }
            if random.below(10) == 0 {
                db.compact(0).unwrap();
            }
            if random.below(6) == 0 {
                snapshots.push((db.view("b", |txn| Ok(txn.iter())).unwrap(), twin.clone()));
            }
            if snapshots.len() > 8 {
                let (mut iter, then) = snapshots.swap_remove(random.below(snapshots.len()));
                assert!(rest_of(&mut iter) == then, "seed {seed}, round {round}");
            }
        }
        drop(db);
        for (mut iter, then) in snapshots {
            assert!(rest_of(&mut iter) == then, "seed {seed}, after the handles were closed");
        }
    }
}

/// What all readers check: counters that are written together are equal, and never go back.
fn watch_counters(db: &BTree, stop: &AtomicBool) -> u64 {
    let (mut last, mut seen, mut rounds) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) || rounds == 0 {
        let snapshot = db.snapshot();
        assert!(snapshot.seq() >= seen, "the sequence went back");
        let both = |txn: &ReadOnlyTxn<'_>| Ok(["counter", "copy"].map(|key| txn.get(key)));
        let found = ["a", "b", "c"].map(|bucket| snapshot.view(bucket, both).unwrap());
        let found = found.map(|values| values.map(|value| number(&value.unwrap())));
        let [[a, _], ..] = found;
        assert_eq!(found, [[a; 2]; 3], "one commit's writes are seen together");
        assert!(a >= last, "a reader went back from {last} to {a}");
        // Views that follow each other see states that do.
        let later = get(db, "c", "counter").unwrap();
        assert!(later >= a, "bucket c is from an older state: {later} after {a}");
        (last, seen, rounds) = (a, snapshot.seq(), rounds + 1);
    }
    rounds
}

#[test]
fn readers_see_whole_commits_only_and_never_go_back() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(4096).open(NAME).unwrap();
    let write = |n: u64| {
        db.exec_multi(|multi| {
            for bucket in ["a", "b", "c"] {
                multi.exec(bucket, |txn| {
                    txn.put("counter", n.to_le_bytes())?;
                    txn.put("copy", n.to_le_bytes())?;
                    txn.put(format!("filler {}", n % 40), vec![0; 300])
                })?;
            }
            Ok(())
        })
        .unwrap();
    };
    write(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| watch_counters(&db, &stop))).collect();
        for n in 1..1_500 {
            write(n);
            if n % 100 == 0 {
                // All three are equal in every state that a crash could leave.
                let killed = open(&vfs.snapshot()).unwrap();
                let found: BTreeSet<u64> =
                    ["a", "b", "c"].map(|bucket| get(&killed, bucket, "counter").unwrap()).into();
                assert_eq!(found, BTreeSet::from([n]));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let rounds: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        println!("{rounds} rounds of the readers");
    });
}

#[test]
fn what_a_reader_saw_survives_a_kill_at_once() {
    // A reader notes what it saw and then takes the file as a killed process leaves it.
    let vfs = MemVfs::new();
    let db = counter(&vfs);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                db.exec("b", add_one).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let (seq, seen) = (db.current_seq(), get(&db, "b", "counter").unwrap());
            let killed = open(&vfs.snapshot()).unwrap();
            let kept = get(&killed, "b", "counter").unwrap();
            assert!(kept >= seen, "saw {seen}, a kill left {kept}");
            assert!(killed.current_seq() >= seq);
        }
    });
}

/// Eight threads commit; each looks at the file as it was right after its commit returned.
fn commit_from_eight_threads(barriers: Barriers, sync: Duration) -> (u64, u64) {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).barriers(barriers).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    watch.hook(move |op| {
        if op.is_sync() {
            std::thread::sleep(sync);
        }
        Ok(())
    });
    let (before, each) = (watch.counts(), 25);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (db, vfs, start) = (&db, &vfs, &start);
            scope.spawn(move || {
                start.wait();
                for i in 0..each {
                    let key = format!("key_{thread}_{i}");
                    db.exec("b", |txn| txn.put(&key, [thread; 50])).unwrap();
                    // A returned commit is visible, and durable.
                    assert_eq!(db.view("b", |txn| txn.get(&key)).unwrap(), [thread; 50]);
                    let killed = open(&vfs.snapshot()).unwrap();
                    let found = killed.view("b", |txn| txn.get(&key));
                    assert_eq!(found.as_deref(), Ok(&[thread; 50][..]), "{key} is lost");
                }
            });
        }
    });
    assert_eq!(dump(&db, "b").unwrap().len() as u64, 8 * each + 1);
    (8 * each, (watch.counts() - before).syncs)
}

#[test]
fn eight_writers_share_flushes_and_lose_nothing() {
    for barriers in [Barriers::One, Barriers::Two] {
        let (commits, syncs) = commit_from_eight_threads(barriers, Duration::from_millis(2));
        println!("{barriers:?}: {commits} commits, {syncs} syncs");
        assert!(syncs < commits, "{commits} commits, {syncs} syncs");
    }
    commit_from_eight_threads(Barriers::One, Duration::ZERO);
}

#[test]
fn counters_of_eight_threads_add_up() {
    let db = counter(&MemVfs::new());
    let seen = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mine = db.exec("b", add_one).unwrap();
                    assert!(seen.lock().unwrap().insert(mine), "{mine} was given out twice");
                }
            });
        }
    });
    assert_eq!(get(&db, "b", "counter"), Ok(1_600));
}

#[test]
fn handles_come_and_go_while_others_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let db = BTree::open(&path).unwrap();
    db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let own = BTree::open(&path).unwrap();
                    own.clone().exec("b", add_one).unwrap();
                }
            });
        }
    });
    assert_eq!(get(&db, "b", "counter"), Ok(80));
}

#[test]
fn a_cursor_moves_to_another_thread_and_outlives_its_handles() {
    let db = open(&MemVfs::new()).unwrap();
    db.exec("b", |txn| (0..1_000_u32).try_for_each(|i| txn.put(i.to_be_bytes(), "v"))).unwrap();
    let mut iter = db.view("b", |txn| Ok(txn.iter())).unwrap();
    db.del_bucket("b").unwrap();
    drop(db);
    let count = std::thread::spawn(move || rest_of(&mut iter).len()).join().unwrap();
    assert_eq!(count, 1_000);
}

#[test]
fn readers_of_a_tiny_cache_get_right_answers_while_pages_are_reused() {
    // Values say which key and which round they belong to; a stale page would say another.
    let vfs = MemVfs::new();
    let db = on(vfs).page_size(512).cache_bytes(512 * 6).open(NAME).unwrap();
    let rounds: Vec<AtomicU64> = (0..60).map(|_| AtomicU64::new(0)).collect();
    let put = |key: usize, round: u64| {
        let value = format!("{key} {round} {}", "x".repeat(key * 7));
        db.exec("b", |txn| txn.put(key.to_be_bytes(), value)).unwrap();
        rounds[key].store(round, Ordering::Release);
    };
    (0..60).for_each(|key| put(key, 0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (db, stop, rounds) = (&db, &stop, &rounds);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    let key = random.below(60);
                    let at_least = rounds[key].load(Ordering::Acquire);
                    let value = db.view("b", |txn| txn.get(key.to_be_bytes())).unwrap();
                    let text = String::from_utf8(value).unwrap();
                    let mut words = text.split(' ');
                    assert_eq!(words.next(), Some(key.to_string().as_str()));
                    let round: u64 = words.next().unwrap().parse().unwrap();
                    assert!(round >= at_least, "seed {seed}: key {key} of {round}, {at_least}");
                }
            });
        }
        let mut random = Random::new(99);
        (1..4_000).for_each(|round| put(random.below(60), round));
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_slow_reader_of_a_deleted_bucket_keeps_its_pages_from_two_writers() {
    let vfs = MemVfs::new();
    let db = on(vfs).page_size(512).open(NAME).unwrap();
    db.exec("old", |txn| (0..500_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [1; 90]))).unwrap();
    let start = Instant::now();
    let mut iter = db.view("old", |txn| Ok(txn.iter())).unwrap();
    db.del_bucket("old").unwrap();
    std::thread::scope(|scope| {
        for name in ["x", "y"] {
            let db = &db;
            scope.spawn(move || {
                for i in 0..300_u32 {
                    db.exec(name, |txn| txn.put(i.to_be_bytes(), [2; 200])).unwrap();
                }
            });
        }
        let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
        while iter.next_ref(&mut key, &mut value) {
            assert_eq!(value, [1; 90]);
            count += 1;
            std::thread::yield_now();
        }
        assert_eq!((count, iter.error()), (500, None));
    });
    assert!(start.elapsed() < LIMIT);
}

#[test]
fn two_stores_do_not_wait_for_each_other() {
    let (one, two) = (counter(&MemVfs::new()), counter(&MemVfs::new()));
    in_time(move || {
        // A transaction of one store inside a transaction of another is no nesting.
        one.exec("b", |txn| {
            two.exec("b", add_one)?;
            add_one(txn)
        })
        .unwrap();
        assert_eq!((get(&one, "b", "counter"), get(&two, "b", "counter")), (Ok(1), Ok(1)));
    });
}

#[test]
fn the_handles_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<BTree>();
    check::<Iter>();
    check::<Error>();
    check::<Arc<BTree>>();
}
