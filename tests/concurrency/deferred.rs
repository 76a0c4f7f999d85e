//! Commits that nobody waits for: what makes them durable, who sees them, and who is told when they
//! are lost.

use super::failing::{fail_when_released, is_data_write};
use super::{BTree, Error, MemVfs, NAME, Result, Watch, add_one, get, in_time, on, open};
use crate::common::story;
use btree_store::{Durability, Txn};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

/// A store of deferred commits on a watched disk, with a counter of 0 that is durable.
fn deferring() -> (MemVfs, Watch, BTree) {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).durability(Durability::Deferred).open(NAME).unwrap();
    durable(&db, |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
    (vfs, watch, db)
}

/// A durable transaction.
fn durable<R>(db: &BTree, closure: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
    db.exec("b", |txn| {
        txn.set_durability(Durability::Durable);
        closure(txn)
    })
}

/// The counter as a process that is killed now leaves it.
fn left_behind(vfs: &MemVfs) -> Result<u64> {
    get(&open(&vfs.snapshot()).unwrap(), "b", "counter")
}

fn fill_the_disk(watch: &Watch) {
    watch.hook(|op| {
        if is_data_write(op) { Err(io::Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
    });
}

#[test]
fn a_deferred_commit_touches_nothing_until_a_sync_flushes_all_at_once() {
    let (vfs, watch, db) = deferring();
    let seq = db.current_seq();
    let (counts, ()) = watch.during(|| {
        for n in 1..=100 {
            // The next one sees it.
            assert_eq!(db.exec("b", add_one), Ok(n));
        }
        db.exec("new", |txn| txn.put("k", "v")).unwrap();
    });
    assert!(counts.is_silent(), "{counts:?}");
    // Who only reads does not.
    assert_eq!(get(&db, "b", "counter"), Ok(0));
    assert_eq!(db.snapshot().view("b", |txn| txn.get("counter")).unwrap(), 0_u64.to_le_bytes());
    assert_eq!(db.buckets().unwrap(), ["b"]);
    let seen = (db.current_seq(), db.snapshot().seq(), db.stats().unwrap().seq);
    assert_eq!(seen, (seq, seq, seq));
    assert_eq!(left_behind(&vfs), Ok(0));
    let (counts, synced) = watch.during(|| db.sync());
    assert_eq!((counts.syncs, synced), (1, Ok(())));
    assert_eq!((db.current_seq(), get(&db, "b", "counter")), (seq + 1, Ok(100)));
    assert_eq!(left_behind(&vfs), Ok(100));
    let (counts, synced) = watch.during(|| db.sync());
    assert!(counts.is_silent() && synced.is_ok(), "nothing waits: {counts:?}");
}

/// A call that waits, and what it is.
type Way<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);

#[test]
fn whoever_waits_makes_the_deferred_commits_before_durable_too() {
    let (vfs, _, db) = deferring();
    let other = db.clone();
    let ways: [Way<'_>; 7] = [
        ("sync", Box::new(|| other.sync())),
        ("commit", Box::new(|| other.commit())),
        ("a durable commit", Box::new(|| durable(&other, |txn| txn.put("k", "v")))),
        // What it saw is durable when it returns.
        (
            "a durable transaction that reads",
            Box::new(|| durable(&other, |txn| txn.get("counter")).map(drop)),
        ),
        ("one that changes nothing", Box::new(|| durable(&other, |_| Ok(())))),
        (
            "a durable one over several buckets",
            Box::new(|| {
                other.exec_multi(|multi| {
                    multi.set_durability(Durability::Durable);
                    multi.exec("c", |txn| txn.put("k", "v"))
                })
            }),
        ),
        ("a compaction", Box::new(|| other.compact(0).map(drop))),
    ];
    for (way, wait) in ways {
        let n = db.exec("b", add_one).unwrap();
        assert_eq!(left_behind(&vfs), Ok(n - 1), "{way}");
        wait().unwrap();
        assert_eq!((get(&db, "b", "counter"), left_behind(&vfs)), (Ok(n), Ok(n)), "{way}");
        assert!(db.verify().unwrap().is_sound(), "{way}");
    }
    // One that fails waits for nobody.
    let n = db.exec("b", add_one).unwrap();
    assert_eq!(durable(&other, |txn| txn.get("missing")).map(drop), Err(Error::NotFound));
    assert_eq!(left_behind(&vfs), Ok(n - 1));
}

#[test]
fn the_last_call_in_a_transaction_counts_unless_its_part_fails() {
    use Durability::{Deferred, Durable};
    let ask = |durability| {
        move |txn: &mut Txn<'_>| {
            txn.set_durability(durability);
            add_one(txn).map(drop)
        }
    };
    for default in [Deferred, Durable] {
        let vfs = MemVfs::new();
        let db = on(vfs.clone()).durability(default).open(NAME).unwrap();
        db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
        db.sync().unwrap();
        let was_durable = |call: &dyn Fn() -> Result<()>| {
            call().unwrap();
            let now = durable_counter(&db);
            db.sync().unwrap();
            now == durable_counter(&db)
        };
        assert_eq!(was_durable(&|| db.exec("b", |txn| add_one(txn).map(drop))), default == Durable);
        assert!(was_durable(&|| db.exec("b", |txn| {
            txn.set_durability(Deferred);
            ask(Durable)(txn)
        })));
        assert!(!was_durable(&|| db.exec("b", |txn| {
            txn.set_durability(Durable);
            ask(Deferred)(txn)
        })));
        assert!(!was_durable(&|| db.exec_multi(|multi| {
            multi.set_durability(Durable);
            multi.exec("b", ask(Deferred))
        })));
        assert!(was_durable(&|| db.exec_multi(|multi| {
            multi.exec("b", ask(Deferred))?;
            multi.set_durability(Durable);
            Ok(())
        })));
        assert!(!was_durable(&|| db.exec_multi(|multi| {
            multi.exec("b", ask(Deferred))?;
            let failed = multi.exec("b", |txn| {
                ask(Durable)(txn)?;
                txn.get("missing").map(drop)
            });
            assert_eq!(failed, Err(Error::NotFound));
            Ok(())
        })));
    }
}

fn durable_counter(db: &BTree) -> u64 {
    get(db, "b", "counter").unwrap()
}

#[test]
fn a_deferred_commit_waits_for_no_flush_under_way() {
    let (_, watch, db) = deferring();
    let (reached, at_sync) = mpsc::channel();
    let (go_on, release) = mpsc::channel::<()>();
    watch.hook(move |op| {
        if op.is_sync() {
            reached.send(()).expect("the test waits");
            release.recv().expect("the test releases");
        }
        Ok(())
    });
    in_time(move || {
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| durable(&db, add_one));
            at_sync.recv().unwrap();
            // It runs on what is being flushed; one that changes nothing has nothing to wait for.
            assert_eq!(db.exec("b", add_one), Ok(2));
            db.exec("b", |txn| txn.get("counter")).unwrap();
            assert_eq!(get(&db, "b", "counter"), Ok(0));
            go_on.send(()).unwrap();
            assert_eq!(leader.join().unwrap(), Ok(1));
        });
        assert_eq!(get(&db, "b", "counter"), Ok(1), "the flush does not hold what came behind");
        watch.unhook();
        db.sync().unwrap();
        assert_eq!(get(&db, "b", "counter"), Ok(2));
    });
}

#[test]
fn closing_makes_deferred_commits_durable() {
    let (vfs, watch, db) = deferring();
    let snapshot = db.snapshot();
    assert_eq!(db.exec("b", add_one), Ok(1));
    drop(db);
    assert_eq!(left_behind(&vfs), Ok(0), "the snapshot keeps the store open");
    let (counts, ()) = watch.during(|| drop(snapshot));
    assert!(counts.syncs > 0);
    assert_eq!(left_behind(&vfs), Ok(1));
    // One that cannot tells nobody, and leaves the state before.
    let db = on(watch.clone()).durability(Durability::Deferred).open(NAME).unwrap();
    assert_eq!(db.exec("b", add_one), Ok(2));
    fill_the_disk(&watch);
    drop(db);
    watch.unhook();
    assert_eq!(left_behind(&vfs), Ok(1));
    assert!(open(&vfs).unwrap().verify().unwrap().is_sound());
}

#[test]
fn files_of_the_system_share_what_is_deferred_and_keep_it_when_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let open = || btree_store::Options::new().durability(Durability::Deferred).open(&path).unwrap();
    let (one, two) = (open(), BTree::open(&path).unwrap());
    one.exec("b", |txn| txn.put("counter", 1_u64.to_le_bytes())).unwrap();
    assert_eq!(one.buckets().unwrap().len(), 0);
    // This one was not told to defer.
    assert_eq!(two.exec("b", add_one), Ok(2));
    assert_eq!(get(&one, "b", "counter"), Ok(2));
    one.exec("b", |txn| txn.put("counter", 2_u64.to_le_bytes())).unwrap();
    drop((one, two));
    assert_eq!(get(&open(), "b", "counter"), Ok(2));
}

/// Deferred commits until the store flushes unasked: how many bytes of values there were.
fn bytes_until_a_flush(db: &BTree, watch: &Watch, value: usize) -> usize {
    let before = watch.counts().syncs;
    for n in 1_u64.. {
        db.exec("filled", |txn| txn.put(n.to_be_bytes(), vec![7; value])).unwrap();
        if watch.counts().syncs > before {
            return usize::try_from(n).unwrap() * value;
        }
        assert!(n < 1 << 20, "the store never flushes");
    }
    unreachable!("the loop ends")
}

#[test]
fn deferred_commits_do_not_fill_the_memory() {
    for (cache_bytes, limit) in [(0, 256 << 10), (1 << 20, 256 << 10), (16 << 20, 2 << 20)] {
        let (vfs, watch) = Watch::memory();
        let options = on(watch.clone()).durability(Durability::Deferred).cache_bytes(cache_bytes);
        let db = options.open(NAME).unwrap();
        for value in [100, 1_000, 60_000, 300_000] {
            let bytes = bytes_until_a_flush(&db, &watch, value);
            assert!(bytes <= limit + value, "{bytes} bytes wait, in values of {value}, of {limit}");
            assert!(bytes >= limit / 4, "{bytes} bytes in values of {value}, of {limit}");
        }
        // What a transaction put that came to nothing does not count.
        let before = watch.counts().syncs;
        let failed = db.exec("filled", |txn| {
            txn.put("large", vec![7; 4 << 20])?;
            (0..8_000_u64).try_for_each(|n| txn.put(n.to_le_bytes(), [7; 400]))?;
            Err::<(), Error>(Error::Conflict)
        });
        assert_eq!(failed, Err(Error::Conflict));
        db.exec("filled", |txn| txn.put("small", "")).unwrap();
        assert_eq!(watch.counts().syncs, before);
        drop(db);
        let db = open(&vfs).unwrap();
        assert!(db.view("filled", |txn| txn.contains("small")).unwrap());
        assert!(db.verify().unwrap().is_sound());
    }
}

/// Ascending keys go behind the last one without a way down for each.
#[test]
fn a_run_of_ascending_puts_counts_as_what_it_takes_in() {
    let (_vfs, watch) = Watch::memory();
    let options = on(watch.clone()).durability(Durability::Deferred).cache_bytes(0);
    let db = options.open(NAME).unwrap();
    let (before, limit, puts) = (watch.counts().syncs, 256_u64 << 10, 64_u64);
    for n in 0_u64.. {
        let put = |txn: &mut Txn<'_>, i: u64| txn.put((n * puts + i).to_be_bytes(), [7; 100]);
        db.exec("b", |txn| (0..puts).try_for_each(|i| put(txn, i))).unwrap();
        if watch.counts().syncs > before {
            break;
        }
        let bytes = (n + 1) * puts * 108;
        assert!(bytes <= limit + puts * 108, "{bytes} bytes wait, of {limit}");
    }
}

#[test]
fn a_flush_that_fails_is_told_to_every_handle_by_its_next_sync() {
    let (vfs, watch, db) = deferring();
    // Neither of them makes deferred commits.
    let (other, idle) = (db.clone(), db.clone());
    assert_eq!(db.exec("b", add_one), Ok(1));
    fill_the_disk(&watch);
    // It is told itself; whoever made the commit before is gone.
    assert_eq!(durable(&other, add_one), Err(Error::NoSpace));
    watch.unhook();
    assert_eq!(get(&db, "b", "counter"), Ok(0));
    assert_eq!(left_behind(&vfs), Ok(0));
    // Nothing is built on a state that lacks what was acknowledged.
    let clone = db.clone();
    for handle in [&db, &clone, &db] {
        let refused = |_: &mut Txn<'_>| -> Result<()> { panic!("the closure runs") };
        assert_eq!(handle.exec("b", refused), Err(Error::NoSpace));
        assert!(story(Error::NoSpace).contains("write pages"), "{}", story(Error::NoSpace));
        assert_eq!(
            durable(handle, |_| panic!("the closure runs")).map(|()| 0),
            Err(Error::NoSpace)
        );
        assert_eq!(handle.del_bucket("b"), Err(Error::NoSpace));
    }
    // Who makes no deferred commits has lost none.
    assert_eq!(durable(&other, add_one), Ok(1));
    for handle in [&db, &clone, &other, &idle] {
        let (counts, synced) = watch.during(|| handle.sync());
        assert_eq!(synced, Err(Error::NoSpace));
        assert!(counts.is_silent());
        assert!(story(Error::NoSpace).contains("write pages"), "{}", story(Error::NoSpace));
        assert_eq!(handle.commit(), Ok(()), "it was told");
    }
    assert_eq!(db.exec("b", add_one), Ok(2));
    assert_eq!(clone.exec("b", add_one), Ok(3));
    assert_eq!(other.sync(), Ok(()));
    assert_eq!(left_behind(&vfs), Ok(3));
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_sync_that_fails_tells_its_own_loss_once() {
    let (vfs, watch, db) = deferring();
    for n in 1..4 {
        assert_eq!(db.exec("b", add_one), Ok(n));
        assert_eq!(db.exec("b", add_one), Ok(n + 1));
        fill_the_disk(&watch);
        assert_eq!(db.sync(), Err(Error::NoSpace));
        watch.unhook();
        assert_eq!(db.sync(), Ok(()), "nothing is left of them");
        assert_eq!(db.exec("b", add_one), Ok(n));
        assert_eq!(db.sync(), Ok(()));
        assert_eq!(left_behind(&vfs), Ok(n));
    }
}

/// It returns before the flush has failed on whose state it ran.
#[test]
fn a_deferred_commit_behind_a_flush_that_fails_is_lost_and_told() {
    let (_, watch, db) = deferring();
    in_time(move || {
        let leader = db.clone();
        let (at_failure, release) =
            fail_when_released(&watch, is_data_write, ErrorKind::StorageFull);
        std::thread::scope(|scope| {
            let leader = scope.spawn(move || durable(&leader, add_one));
            at_failure.recv().unwrap();
            assert_eq!(db.exec("b", add_one), Ok(2));
            release.send(()).unwrap();
            assert_eq!(leader.join().unwrap(), Err(Error::NoSpace));
        });
        watch.unhook();
        assert_eq!(db.exec("b", add_one), Err(Error::NoSpace));
        assert_eq!(db.sync(), Err(Error::NoSpace));
        assert_eq!((db.sync(), get(&db, "b", "counter")), (Ok(()), Ok(0)));
        assert_eq!(db.exec("b", add_one), Ok(1));
        assert_eq!(db.sync(), Ok(()));
    });
}

#[test]
fn a_failed_sync_poisons_what_is_deferred_too() {
    for waits_itself in [true, false] {
        let (vfs, watch, db) = deferring();
        assert_eq!(db.exec("b", add_one), Ok(1));
        watch.hook(|op| if op.is_sync() { Err(io::Error::other("lost")) } else { Ok(()) });
        if waits_itself {
            assert_eq!(db.sync(), Err(Error::IoError));
        } else {
            assert_eq!(durable(&db.clone(), add_one), Err(Error::IoError));
            assert_eq!(db.sync(), Err(Error::IoError), "what took the commit");
        }
        watch.unhook();
        assert_eq!(db.sync(), Err(Error::Poisoned));
        assert_eq!(db.exec("b", add_one), Err(Error::Poisoned));
        assert_eq!(get(&db, "b", "counter"), Ok(0));
        let (counts, ()) = watch.during(|| drop(db));
        assert!(counts.is_silent(), "{counts:?}");
        let found = get(&open(&vfs).unwrap(), "b", "counter").unwrap();
        assert!(found <= 2, "{found}");
    }
}

/// It is no use inside of a transaction; but that nothing becomes durable any more is said first.
#[test]
fn a_sync_inside_of_a_transaction_says_that_the_store_is_poisoned() {
    let (_, watch, db) = deferring();
    in_time(move || {
        let ended = db.transact(|_| {
            assert_eq!(db.sync(), Err(Error::Invalid));
            watch.hook(|op| if op.is_sync() { Err(io::Error::other("lost")) } else { Ok(()) });
            let meanwhile = || durable(&db, add_one);
            let failed = std::thread::scope(|scope| scope.spawn(meanwhile).join().unwrap());
            assert_eq!(failed, Err(Error::IoError));
            watch.unhook();
            Ok(db.sync())
        });
        assert_eq!(ended, Ok(Err(Error::Poisoned)));
    });
}

#[test]
fn figures_walks_and_copies_know_durable_states_only() {
    let (_, _, db) = deferring();
    (0..50_u64).for_each(|n| {
        db.exec("b", |txn| txn.put(n.to_be_bytes(), [1; 500])).unwrap();
    });
    db.exec("b", |txn| txn.put("large", vec![1; 200_000])).unwrap();
    let (report, stats) = (db.verify().unwrap(), db.stats().unwrap());
    assert!(report.is_sound(), "{report}");
    assert_eq!((db.pending_pages(), stats.seq), ((0, 0), db.current_seq()));
    let mut stream = Vec::new();
    let copied = db.snapshot().backup_to(&mut stream).unwrap();
    assert_eq!((copied.entries, copied.seq), (1, db.current_seq()));
    assert!(db.verify().unwrap().is_sound());
    db.sync().unwrap();
    assert!(db.verify().unwrap().is_sound());
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(52));
}

#[test]
fn a_store_that_is_only_read_has_nothing_to_sync() {
    let (vfs, _, db) = deferring();
    assert_eq!(db.exec("b", |_| Ok(db.sync())), Ok(Err(Error::Invalid)));
    drop(db);
    let db = on(vfs).durability(Durability::Deferred).read_only().open(NAME).unwrap();
    assert_eq!(db.sync(), Err(Error::Invalid));
    assert_eq!(db.exec("b", add_one), Err(Error::Invalid));
}

/// It reads durable states only: whoever begins behind another's end has to see what that did.
#[test]
fn a_transaction_as_a_value_is_durable_whatever_the_options_say() {
    let (vfs, _, db) = deferring();
    for n in 1..4 {
        let txn = db.begin();
        txn.bucket("b").unwrap().put("counter", u64::to_le_bytes(n)).unwrap();
        assert_eq!(txn.commit(), Ok(()));
        assert_eq!(left_behind(&vfs), Ok(n));
    }
    // A deferred commit that it did not see is ahead of it, and durable when that is told.
    assert_eq!(db.exec("b", add_one), Ok(4));
    let txn = db.begin();
    txn.bucket("b").unwrap().put("counter", u64::to_le_bytes(7)).unwrap();
    assert_eq!(txn.commit(), Err(Error::Conflict));
    assert_eq!(left_behind(&vfs), Ok(4));
    assert_eq!(db.exec("b", add_one), Ok(5));
    let mut runs = 0;
    let done = db.transact(|txn| {
        runs += 1;
        let mut bucket = txn.bucket("b")?;
        let found: [u8; 8] = bucket.get("counter")?.try_into().unwrap();
        bucket.put("counter", (u64::from_le_bytes(found) + 1).to_le_bytes())
    });
    assert_eq!((done, runs, left_behind(&vfs)), (Ok(()), 2, Ok(6)));
    // The last run has the writer's turn, and began in it.
    let mut runs = 0;
    let done = db.transact(|txn| {
        runs += 1;
        txn.bucket("b")?.put("counter", u64::to_le_bytes(9))?;
        if runs <= 4 { Err(Error::Conflict) } else { Ok(()) }
    });
    assert_eq!((done, runs, left_behind(&vfs)), (Ok(()), 5, Ok(9)));
}

#[test]
fn what_is_refused_does_not_wait() {
    let (_, watch) = Watch::memory();
    let options = on(watch.clone()).durability(Durability::Deferred).cache_bytes(0);
    let db = options.open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let before = watch.counts().syncs;
    for _ in 0..3 {
        db.exec("b", |txn| {
            assert_eq!(txn.insert("k", vec![7; 200_000]), Err(Error::Duplicate));
            let falling = [("y", vec![7; 200_000]), ("x", vec![])];
            assert_eq!(txn.bulk_load(falling), Err(Error::Invalid));
            Ok(())
        })
        .unwrap();
    }
    db.exec("b", |txn| txn.put("k", "w")).unwrap();
    assert_eq!(watch.counts().syncs, before);
}

#[cfg(feature = "sim")]
#[test]
fn operations_of_the_oracle_are_calls_on_one_handle() {
    use btree_store::sim::oracle::{End, Ending, Exec, Handle, Op, Step, Write};
    let (_, watch) = Watch::memory();
    let mut store = Handle::open(on(watch.clone()), NAME).unwrap();
    let steps = vec![
        Step::Durability(Durability::Deferred),
        Step::Write(Write::Put("k".into(), "v".into())),
    ];
    let deferred = Op::Exec(Exec { bucket: "b".to_owned(), steps, end: End::Commit });
    let other = store.db().clone();
    assert_eq!(store.run(&deferred).end, Ending::Done);
    fill_the_disk(&watch);
    assert_eq!(durable(&other, |txn| txn.put("k", "w")), Err(Error::NoSpace));
    watch.unhook();
    assert_eq!(store.run(&deferred).end, Ending::Failed(Error::NoSpace));
    assert_eq!(store.run(&Op::Sync).end, Ending::Failed(Error::NoSpace));
    assert_eq!(store.run(&Op::Sync).end, Ending::Done);
}

#[test]
fn what_a_compaction_says_of_a_loss_is_still_told_by_a_sync() {
    let (_, watch, db) = deferring();
    let other = db.clone();
    assert_eq!(db.exec("b", add_one), Ok(1));
    fill_the_disk(&watch);
    assert_eq!(durable(&other, add_one), Err(Error::NoSpace));
    watch.unhook();
    assert_eq!(db.compact(0), Err(Error::NoSpace));
    assert_eq!(db.exec("b", add_one), Err(Error::NoSpace), "no sync has told it");
    assert_eq!(db.sync(), Err(Error::NoSpace));
    assert_eq!(db.exec("b", add_one), Ok(1));
}

#[test]
fn a_loss_before_its_first_deferred_commit_is_not_a_handles_own() {
    let (_, watch, db) = deferring();
    let (other, idle) = (db.clone(), db.clone());
    assert_eq!(db.exec("b", add_one), Ok(1));
    fill_the_disk(&watch);
    assert_eq!(durable(&other, add_one), Err(Error::NoSpace));
    watch.unhook();
    assert_eq!(idle.exec("b", add_one), Ok(1));
    assert_eq!(idle.exec("b", add_one), Ok(2));
    assert_eq!(idle.sync(), Err(Error::NoSpace), "of every handle");
    assert_eq!((idle.sync(), get(&idle, "b", "counter")), (Ok(()), Ok(2)));
}

#[test]
fn a_compaction_of_which_the_copy_fails_tells_of_what_was_deferred_meanwhile() {
    // Behind the sync of this number, from 1, another thread defers a commit, and all others fail.
    let compact = |turns: u64| {
        let (_, watch, db) = deferring();
        let fill = |txn: &mut btree_store::Txn<'_>| {
            (0..2_000_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 200]))
        };
        db.exec("filled", fill).unwrap();
        db.exec("filled", |txn| txn.delete_range::<[u8]>(..)).unwrap();
        db.exec("b", add_one).unwrap();
        db.sync().unwrap();
        let other = db.clone();
        let syncs = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&syncs);
        watch.hook(move |op| {
            let number = if op.is_sync() { count.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
            if number == turns {
                let deferred = || other.exec("b", add_one);
                let ended = std::thread::scope(|scope| scope.spawn(deferred).join());
                assert_eq!(ended.expect("it does not panic"), Ok(2));
            }
            if number > turns { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        });
        let ended = db.compact(0);
        watch.unhook();
        (db, ended, syncs.load(Ordering::Relaxed))
    };
    let (_, ended, syncs) = compact(u64::MAX);
    ended.unwrap();
    // Before the copy, and behind it, the writer is held: nobody commits.
    assert!(syncs > 2, "a compaction syncs for a commit, and twice for the copy: {syncs}");
    for turns in 1..=syncs - 2 {
        let (db, ended, _) = compact(turns);
        assert_eq!(ended, Err(Error::IoError), "all behind sync {turns} of {syncs} fail");
        let told = (db.sync(), db.sync());
        assert_eq!(told, (Err(Error::IoError), Err(Error::Poisoned)), "sync {turns} of {syncs}");
    }
}

#[test]
fn what_parts_made_in_place_is_taken_back_with_the_whole() {
    let (_, _, db) = deferring();
    db.exec("b", |txn| txn.put("k", "old")).unwrap();
    let failed = db.exec_multi(|multi| {
        multi.exec("b", |txn| txn.put("k", "new"))?;
        assert_eq!(multi.exec("b", |txn| txn.get("k"))?, b"new");
        multi.exec("b", |txn| txn.del("counter"))?;
        assert_eq!(multi.exec("b", |txn| Ok(txn.len()))?, 1);
        Err::<(), _>(Error::Conflict)
    });
    assert_eq!(failed, Err(Error::Conflict));
    let left = db.exec("b", |txn| Ok((txn.len(), txn.get("k")?)));
    assert_eq!(left, Ok((2, b"old".to_vec())));
    db.sync().unwrap();
    assert!(db.verify().unwrap().is_sound());
}
