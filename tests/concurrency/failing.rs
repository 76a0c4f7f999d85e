//! Flushes that fail while others follow.

use super::{BTree, Barriers, Error, MemVfs, NAME, Op, Watch, add_one, get, in_time, on, open};
use crate::common::story;
use btree_store::{Iter, Txn};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

/// A store on a watched disk, with a counter.
fn watched(barriers: Barriers) -> (MemVfs, Watch, BTree) {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).barriers(barriers).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
    (vfs, watch, db)
}

/// Makes the first operation that `is_it` names wait until it is released, and then fail, and
/// all others of its kind after it, as long as the hook is there.
pub(super) fn fail_when_released(
    watch: &Watch,
    is_it: fn(&Op) -> bool,
    kind: ErrorKind,
) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reached, wait) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let mut is_first = true;
    watch.hook(move |op| {
        if !is_it(op) {
            return Ok(());
        }
        if std::mem::take(&mut is_first) {
            reached.send(()).expect("the test waits");
            released.recv().expect("the test releases");
        }
        Err(io::Error::from(kind))
    });
    (wait, release)
}

pub(super) fn is_data_write(op: &Op) -> bool {
    matches!(op, Op::Write { offset, .. } if *offset >= 2 * 4096)
}

fn is_meta_write(op: &Op) -> bool {
    matches!(op, Op::Write { offset, .. } if *offset < 2 * 4096)
}

fn is_begin(op: &Op) -> bool {
    matches!(op, Op::BeginWriteBack)
}

fn is_growth(op: &Op) -> bool {
    matches!(op, Op::SetLen(_))
}

/// One leader fails while four followers have run on what it was flushing.
fn fail_a_leader(
    watch: &Watch,
    db: &BTree,
    is_it: fn(&Op) -> bool,
    kind: ErrorKind,
) -> Vec<Result<u64, Error>> {
    let (at_failure, release) = fail_when_released(watch, is_it, kind);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| db.exec("b", add_one));
        at_failure.recv().unwrap();
        let followers: Vec<_> = (0..4).map(|_| scope.spawn(|| db.exec("b", add_one))).collect();
        std::thread::sleep(Duration::from_millis(30));
        release.send(()).unwrap();
        let all = std::iter::once(leader).chain(followers);
        all.map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_full_disk_fails_the_followers_and_the_store_works_later() {
    let both = [Barriers::One, Barriers::Two];
    let of_write = both.map(|barriers| (is_data_write as fn(&Op) -> bool, barriers));
    let of_begin = both.map(|barriers| (is_begin as fn(&Op) -> bool, barriers));
    for (is_it, barriers) in of_write.into_iter().chain(of_begin) {
        let (vfs, watch, db) = watched(barriers);
        let before = db.current_seq();
        in_time(move || {
            for round in 0..10 {
                let results = fail_a_leader(&watch, &db, is_it, ErrorKind::StorageFull);
                assert!(results.iter().all(|r| *r == Err(Error::NoSpace)), "{results:?}");
                assert_eq!(get(&db, "b", "counter"), Ok(round), "the state before");
                watch.unhook();
                // There is room again; nobody's failed work is in the state.
                assert_eq!(db.exec("b", add_one), Ok(round + 1));
                let killed = open(&vfs.snapshot()).unwrap();
                assert_eq!(get(&killed, "b", "counter"), Ok(round + 1));
                assert!(killed.verify().unwrap().is_sound());
            }
            assert_eq!(db.current_seq(), before + 10);
            assert!(db.verify().unwrap().is_sound());
        });
    }
}

#[test]
fn a_disk_that_is_full_when_the_file_grows_leaves_the_state_before() {
    let (vfs, watch, db) = watched(Barriers::One);
    watch.hook(|op| if is_growth(op) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) });
    let large = db.exec("b", |txn| txn.put("large", vec![1; 1 << 20]));
    assert_eq!(large, Err(Error::NoSpace));
    // Small changes have room.
    assert_eq!(db.exec("b", add_one), Ok(1));
    watch.unhook();
    db.exec("b", |txn| txn.put("large", vec![1; 1 << 20])).unwrap();
    assert_eq!(db.view("b", |txn| txn.get("large")).unwrap(), vec![1; 1 << 20]);
    drop(db);
    assert!(open(&vfs).unwrap().verify().unwrap().is_sound());
}

#[test]
fn a_failed_sync_or_meta_write_poisons_the_store_for_all() {
    let places = [(Op::is_sync as fn(&Op) -> bool, "sync"), (is_meta_write, "meta write")];
    // A full disk is none of those that leave the state before, if a sync says it.
    let kinds = [ErrorKind::Other, ErrorKind::StorageFull];
    for ((is_it, name), kind) in places.into_iter().flat_map(|place| kinds.map(|k| (place, k))) {
        let (vfs, watch, db) = watched(Barriers::One);
        in_time(move || {
            let results = fail_a_leader(&watch, &db, is_it, kind);
            let is_failure =
                |r: &Result<u64, Error>| matches!(r, Err(Error::IoError | Error::Poisoned));
            assert!(results.iter().all(is_failure), "{name}: {results:?}");
            assert_eq!(results[0], Err(Error::IoError), "{name}");
            watch.unhook();
            for handle in [&db, &db.clone()] {
                assert_eq!(handle.exec("b", add_one), Err(Error::Poisoned), "{name}");
                assert_eq!(handle.commit(), Err(Error::Poisoned), "{name}");
                assert_eq!(get(handle, "b", "counter"), Ok(0), "{name}: readers go on");
            }
            drop(db);
            let db = open(&vfs).unwrap();
            let found = get(&db, "b", "counter").unwrap();
            assert!(found <= 1, "{name}: the state before or after, not {found}");
            assert_eq!(db.exec("b", add_one), Ok(found + 1), "{name}");
        });
    }
}

/// Whoever ran while the leader panicked leads next, and finds the store poisoned.
#[test]
fn a_leader_that_panics_fails_the_follower_that_runs_meanwhile() {
    for changes in [true, false] {
        let (_, watch, db) = watched(Barriers::One);
        in_time(move || {
            let (reached, at_sync) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            watch.hook(move |op| {
                if op.is_sync() {
                    reached.send(()).expect("the test waits");
                    released.recv().expect("the test releases");
                    panic!("the storage panics");
                }
                Ok(())
            });
            let follower = std::thread::scope(|scope| {
                let led = || catch_unwind(AssertUnwindSafe(|| db.exec("b", add_one)));
                let leader = scope.spawn(led);
                at_sync.recv().unwrap();
                db.exec("b", |txn| {
                    let seen = if changes { add_one(txn)? } else { 0 };
                    release.send(()).unwrap();
                    leader.join().unwrap().expect_err("it panics");
                    Ok(seen)
                })
            });
            watch.unhook();
            assert_eq!(follower, Err(Error::Internal), "{changes}");
            assert_eq!(db.exec("b", add_one), Err(Error::Poisoned));
            assert_eq!(get(&db, "b", "counter"), Ok(0));
        });
    }
}

#[test]
fn an_error_of_any_operation_of_a_commit_leaves_one_of_two_states() {
    for barriers in [Barriers::One, Barriers::Two] {
        for (failing, kind) in (0..8).flat_map(|at| {
            [ErrorKind::StorageFull, ErrorKind::Other, ErrorKind::TimedOut].map(|kind| (at, kind))
        }) {
            let (vfs, watch, db) = watched(barriers);
            let mut seen = 0;
            watch.hook(move |op| {
                let counts = op.is_change() || op.is_sync();
                seen += usize::from(counts);
                if counts && seen == failing + 1 { Err(kind.into()) } else { Ok(()) }
            });
            let result = db.exec("b", |txn| {
                txn.put("large", vec![1; 50_000])?;
                add_one(txn)
            });
            watch.unhook();
            let context = format!("{barriers:?}, operation {failing}, {kind:?}: {result:?}");
            let seen = get(&db, "b", "counter");
            assert_eq!(seen, Ok(u64::from(result.is_ok())), "{context}");
            let is_poisoned = db.commit() == Err(Error::Poisoned);
            if !is_poisoned {
                assert_eq!(db.exec("b", add_one), Ok(seen.unwrap() + 1), "{context}");
            }
            drop(db);
            let db = open(&vfs).unwrap();
            let found = get(&db, "b", "counter").unwrap();
            let has_large = db.view("b", |txn| txn.contains("large")).unwrap();
            if is_poisoned {
                assert_eq!(found, u64::from(has_large), "{context}: half a transaction");
            } else {
                assert_eq!(found, seen.unwrap() + 1, "{context}");
                assert_eq!(has_large, result.is_ok(), "{context}");
            }
            assert!(db.verify().unwrap().is_sound(), "{context}");
        }
    }
}

/// What `keep` made of a transaction on `b` that sees what `put` puts there, whose flush fails
/// meanwhile; it outlives both.
fn kept_over_failure<T>(
    db: &BTree,
    watch: &Watch,
    is_it: fn(&Op) -> bool,
    put: impl FnOnce() -> Result<(), Error> + Send,
    keep: impl FnOnce(&Txn<'_>) -> T,
) -> T {
    let (at_failure, release) = fail_when_released(watch, is_it, ErrorKind::StorageFull);
    let kept = std::thread::scope(|scope| {
        let leader = scope.spawn(put);
        at_failure.recv().unwrap();
        let mut kept = None;
        let follower = db.exec_multi(|multi| {
            multi.exec("b", |txn| {
                kept = Some(keep(txn));
                Ok(())
            })?;
            release.send(()).unwrap();
            Ok(())
        });
        assert_eq!(leader.join().unwrap(), Err(Error::NoSpace));
        assert_eq!(follower, Err(Error::NoSpace), "it saw what was never durable");
        kept.unwrap()
    });
    watch.unhook();
    kept
}

fn iter_of(txn: &Txn<'_>) -> Iter {
    txn.iter()
}

#[test]
fn a_cursor_over_a_batch_that_failed_yields_no_wrong_entry() {
    // A transaction runs on a batch whose flush fails later; its cursor outlives both.
    let (_, watch, db) = watched(Barriers::One);
    in_time(move || {
        let put = || {
            db.exec("b", |txn| (0..200_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [1; 100])))
        };
        let iter = kept_over_failure(&db, &watch, is_data_write, put, iter_of);
        // Other commits take the places of the failed one.
        (0..300_u32).for_each(|i| {
            db.exec("c", |txn| txn.put(i.to_be_bytes(), [2; 100])).unwrap();
        });
        let (mut key, mut value, mut iter) = (Vec::new(), Vec::new(), iter);
        while iter.next_ref(&mut key, &mut value) {
            assert!(value == [1; 100] || key == b"counter", "an entry of another bucket");
        }
        drop(iter);
        assert_eq!(get(&db, "b", "counter"), Ok(0));
        assert!(db.verify().unwrap().is_sound());
    });
}

#[test]
fn a_cursor_over_a_batch_that_failed_yields_no_large_value_of_the_next() {
    let (_, watch, db) = watched(Barriers::One);
    in_time(move || {
        let put = |byte: u8| {
            db.exec("b", |txn| {
                txn.put("a", [byte; 10])?;
                (0..8).try_for_each(|i| txn.put(format!("large {i}"), vec![byte; 5_000]))
            })
        };
        let mut iter = kept_over_failure(
            &db,
            &watch,
            is_data_write,
            || put(1),
            |txn| {
                let mut iter = txn.iter();
                let (mut key, mut value) = (Vec::new(), Vec::new());
                assert!(iter.next_ref(&mut key, &mut value));
                assert_eq!((&*key, &*value), (b"a".as_slice(), [1; 10].as_slice()));
                iter
            },
        );
        // The same places for other values, which are being written.
        let (at_write, release) = fail_when_released(&watch, is_data_write, ErrorKind::StorageFull);
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| put(2));
            at_write.recv().unwrap();
            let (read, was_read) = mpsc::channel::<()>();
            let reader = scope.spawn(move || {
                let (mut key, mut value, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
                while iter.next_ref(&mut key, &mut value) {
                    if key != b"counter" && value.iter().any(|&byte| byte != 1) {
                        wrong.push(key.clone());
                    }
                }
                drop(read);
                wrong
            });
            // What is not in memory cannot be read before the write is released.
            let ended = was_read.recv_timeout(Duration::from_millis(200));
            assert!(ended.is_err(), "nothing is sent");
            release.send(()).unwrap();
            let wrong: Vec<Vec<u8>> = reader.join().unwrap();
            leader.join().unwrap().unwrap_err();
            assert!(wrong.is_empty(), "{wrong:?}");
        });
        watch.unhook();
        assert!(db.verify().unwrap().is_sound());
    });
}

/// All small writes: not those of a large value that goes to the file before its commit.
fn is_write_of_few(op: &Op) -> bool {
    matches!(op, Op::Write { offset, len } if *offset >= 2 * 4096 && *len < 1 << 17)
}

#[test]
fn what_outlives_a_batch_that_failed_says_why_it_cannot_be_read() {
    let (_, watch, db) = watched(Barriers::One);
    in_time(move || {
        let put = || {
            db.exec("b", |txn| {
                txn.put("large", vec![1; 1 << 19])?;
                (0..200_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [1; 100]))
            })
        };
        let keep = |txn: &Txn<'_>| (txn.iter(), txn.range::<str>(..), txn.get_reader("large"));
        let kept = kept_over_failure(&db, &watch, is_write_of_few, put, keep);
        let (mut iter, mut range, reader) = kept;
        let mut reader = reader.unwrap();
        // Other commits take the places of the failed one.
        (0..300_u32).for_each(|i| {
            db.exec("c", |txn| txn.put(i.to_be_bytes(), [2; 1_000])).unwrap();
        });
        for _ in 0..2 {
            let last = iter.by_ref().last();
            assert!(last.is_none_or(|last| last == Err(Error::NoSpace)));
            assert_eq!(iter.error(), Some(Error::NoSpace));
            assert_eq!(iter.next_entry(), Err(Error::NoSpace));
            assert_eq!(iter.seek("k"), Err(Error::NoSpace));
            assert!(story(Error::NoSpace).contains("write pages"));
            let last = range.by_ref().last();
            assert!(last.is_none_or(|last| last == Err(Error::NoSpace)));
            assert_eq!(range.error(), Some(Error::NoSpace));
            assert_eq!(range.prev_entry(), Err(Error::NoSpace));
            while let Ok(piece) = reader.next_piece() {
                assert!(piece.is_some(), "a short value");
            }
            assert_eq!(reader.next_piece(), Err(Error::NoSpace));
        }
        drop((iter, range, reader));
        assert!(db.verify().unwrap().is_sound());
    });
}

#[test]
fn what_outlives_a_batch_whose_sync_failed_does_not_blame_the_file() {
    let (_, watch, db) = watched(Barriers::One);
    in_time(move || {
        let (at_sync, release) = fail_when_released(&watch, Op::is_sync, ErrorKind::Other);
        let mut iter = std::thread::scope(|scope| {
            let leader =
                scope.spawn(|| db.exec("b", |txn| txn.put("large", vec![1; 1 << 19])).map(drop));
            at_sync.recv().unwrap();
            let mut kept = None;
            let follower = db.exec("b", |txn| {
                kept = Some(txn.iter());
                release.send(()).unwrap();
                txn.put("k", "v")
            });
            assert_eq!(leader.join().unwrap(), Err(Error::IoError));
            follower.unwrap_err();
            kept.unwrap()
        });
        // What the system had not written yet is as it was before: the value is another.
        watch.hook(|op| match op {
            Op::Read { len, .. } if *len > 4096 => Err(io::Error::other("another value")),
            _ => Ok(()),
        });
        let last = iter.by_ref().last();
        assert_eq!(last, Some(Err(Error::IoError)));
        let told = story(Error::IoError);
        assert!(told.contains("sync") && !told.contains("another value"), "{told}");
    });
}

#[test]
fn a_storage_that_panics_when_a_transaction_ends_rolls_it_back() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    // So many that the catalog has pages of its own.
    db.exec_multi(|multi| {
        (0..100).try_for_each(|n| multi.exec(format!("bucket {n}"), |txn| txn.put("k", "old")))
    })
    .unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        db.exec("bucket 50", |txn| {
            txn.put("k", "new")?;
            watch.hook(|op| {
                assert!(!matches!(op, Op::Read { .. }), "the storage panics");
                Ok(())
            });
            Ok(())
        })
    }));
    watch.unhook();
    assert!(caught.is_err());
    assert_eq!(db.pending_pages(), (0, 0));
    // Today Err(Invalid): the thread counts as inside of a transaction.
    assert_eq!(db.exec("bucket 10", |txn| txn.put("k", "other")), Ok(()));
    // Today, if the line above runs on another thread: b"new".
    assert_eq!(db.view("bucket 50", |txn| txn.get("k")).unwrap(), b"old");
    assert!(db.verify().unwrap().is_sound());
}

/// A store whose bucket "b" has branches below its root.
fn deep() -> (Watch, BTree) {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    db.exec("b", |txn| (0..4000_u32).try_for_each(|n| txn.put(n.to_be_bytes(), [7; 30]))).unwrap();
    (watch, db)
}

/// Whether a call panics when the storage does so at its read of this number, from 1.
fn panics_at_read<R>(watch: &Watch, at: u32, call: impl FnOnce() -> R) -> bool {
    let mut reads = 0;
    watch.hook(move |op| {
        reads += u32::from(matches!(op, Op::Read { .. }));
        assert!(reads < at, "the storage panics");
        Ok(())
    });
    let panicked = catch_unwind(AssertUnwindSafe(call)).is_err();
    watch.unhook();
    panicked
}

#[test]
fn a_range_whose_other_end_panicked_is_not_at_its_end() {
    let (watch, db) = deep();
    for is_back_first in [true, false] {
        let ended = db.view("b", |txn| {
            let mut range = txn.range::<[u8]>(..);
            if is_back_first {
                assert!(panics_at_read(&watch, 1, || range.prev_entry().map(drop)));
                assert_eq!(range.next(), Some(Err(Error::Internal)));
                assert_eq!(range.next(), None);
            } else {
                assert!(panics_at_read(&watch, 1, || range.next_entry().map(drop)));
                assert_eq!(range.by_ref().rev().last(), Some(Err(Error::Internal)));
            }
            Ok(())
        });
        assert_eq!(ended, Err(Error::Internal), "back first: {is_back_first}");
    }
}

#[test]
fn a_range_of_keys_whose_other_end_panicked_is_not_at_its_end() {
    let (watch, db) = deep();
    for is_back_first in [true, false] {
        let ended = db.view("b", |txn| {
            let mut range = txn.range::<[u8]>(..);
            if is_back_first {
                assert!(panics_at_read(&watch, 1, || range.prev_key().map(drop)));
                assert_eq!(range.next_key(), Err(Error::Internal));
            } else {
                assert!(panics_at_read(&watch, 1, || range.next_key().map(drop)));
                while range.prev_key().is_ok_and(|key| key.is_some()) {}
                assert_eq!(range.prev_key(), Err(Error::Internal));
            }
            Ok(())
        });
        assert_eq!(ended, Err(Error::Internal), "back first: {is_back_first}");
    }
}

#[test]
fn an_entry_whose_value_panicked_is_not_passed_over() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    db.exec("b", |txn| {
        txn.put("a", "1")?;
        txn.put("b", vec![7; 2_000])?;
        txn.put("c", "3")
    })
    .unwrap();
    let ended = db.view("b", |txn| {
        let mut iter = txn.iter();
        assert!(iter.next_entry()?.is_some());
        assert!(panics_at_read(&watch, 1, || iter.next_entry().map(drop)));
        assert_eq!(iter.next_entry(), Err(Error::Internal));
        Ok(())
    });
    assert_eq!(ended, Err(Error::Internal));
    let ended = db.view("b", |txn| {
        let mut range = txn.range::<[u8]>(..);
        assert!(range.prev_entry()?.is_some());
        assert!(panics_at_read(&watch, 1, || range.prev_entry().map(drop)));
        assert!(range.next_entry()?.is_some());
        assert_eq!(range.next_entry(), Err(Error::Internal), "no end has told of b");
        Ok(())
    });
    assert_eq!(ended, Err(Error::Internal));
}

#[test]
fn a_reader_whose_storage_panicked_gives_nothing_that_was_not_put() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", vec![7; 1_000_000])).unwrap();
    for pieces in 0..2 {
        let mut reader = db.view("b", |txn| txn.get_reader("k")).unwrap();
        for _ in 0..pieces {
            assert!(reader.next_piece().unwrap().is_some());
        }
        assert!(panics_at_read(&watch, 1, || reader.next_piece().map(drop)));
        assert_eq!(reader.next_piece(), Err(Error::Internal), "behind {pieces} pieces");
        assert!(io::Read::read(&mut reader, &mut [0; 8]).is_err());
    }
}

#[test]
fn a_storage_that_panics_in_a_verification_does_no_harm() {
    let (_, watch, db) = watched(Barriers::One);
    assert!(panics_at_read(&watch, 1, || db.verify().map(drop)));
    assert_eq!(db.exec("b", add_one), Ok(1));
}

#[test]
fn a_call_that_panicked_and_was_caught_fails_its_transaction() {
    let (watch, db) = deep();
    let ended = db.exec("b", |txn| {
        assert!(panics_at_read(&watch, 2, || txn.put(7_u32.to_be_bytes(), "new")));
        Ok(())
    });
    db.exec("c", |txn| txn.put("k", "v")).unwrap();
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(ended, Err(Error::Internal));
}

#[test]
fn puts_that_wait_are_not_lost_by_a_caught_panic() {
    let (watch, db) = deep();
    let ended = db.exec("b", |txn| {
        txn.put(1_u32.to_be_bytes(), "first")?;
        txn.put(3999_u32.to_be_bytes(), "second")?; // waits for what comes behind it
        assert!(panics_at_read(&watch, 1, || txn.len()));
        Ok(())
    });
    assert_eq!(ended, Err(Error::Internal));
    assert_eq!(db.view("b", |txn| txn.get(1_u32.to_be_bytes())).unwrap(), [7; 30]);
}

#[test]
fn a_bucket_whose_removal_panicked_keeps_its_pages() {
    let (watch, db) = deep();
    db.exec_multi(|multi| {
        assert!(panics_at_read(&watch, 3, || multi.del_bucket("b")));
        multi.exec("c", |txn| txn.put("k", "v"))
    })
    .unwrap();
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(db.view("b", |txn| Ok(txn.range::<[u8]>(..).count())), Ok(4000));
}

/// Also the last ones, which make both slots alike before the file becomes shorter.
#[test]
fn each_sync_that_fails_a_compaction_poisons_the_store() {
    let mut failing = 0;
    loop {
        failing += 1;
        let (_, watch, db) = watched(Barriers::One);
        db.exec("hole", |txn| txn.put("k", vec![1; 1 << 20])).unwrap();
        db.exec("b", |txn| txn.put("large", vec![2; 1 << 18])).unwrap();
        db.del_bucket("hole").unwrap();
        let mut syncs = 0;
        watch.hook(move |op| {
            syncs += usize::from(op.is_sync());
            if op.is_sync() && syncs == failing { Err(io::Error::other("gone")) } else { Ok(()) }
        });
        let ended = db.compact(0).map(drop);
        watch.unhook();
        if ended.is_ok() {
            break;
        }
        assert_eq!(ended, Err(Error::IoError), "sync {failing}");
        assert_eq!(db.exec("b", add_one), Err(Error::Poisoned), "sync {failing}");
        assert!(story(Error::Poisoned).ends_with("sync: gone"), "{}", story(Error::Poisoned));
    }
    assert!(failing > 3, "{failing} syncs");
}
