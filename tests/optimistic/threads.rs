//! Threads: commits that nobody sees yet, flushes that fail, transactions that run again.

use super::{SETTINGS, store};
use crate::common::watch::{Op, Watch};
use crate::common::{NAME, on};
use btree_store::{BTree, Error, OwnedTxn, Result};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a number has eight bytes"))
}

fn read(db: &BTree, key: &str) -> u64 {
    db.view("b", |txn| txn.get(key)).map(|value| number(&value)).unwrap()
}

fn add(txn: &OwnedTxn, key: &str, count: u64) -> Result<u64> {
    let mut bucket = txn.bucket("b")?;
    let next = number(&bucket.get(key)?) + count;
    bucket.put(key, next.to_le_bytes())?;
    Ok(next)
}

/// Bucket "b" with the numbers "one" and "two".
fn fill(db: &BTree) {
    db.exec("b", |txn| ["one", "two"].iter().try_for_each(|key| txn.put(key, 0_u64.to_le_bytes())))
        .unwrap();
}

#[test]
fn no_increment_is_lost() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 60;
    for setting in SETTINGS {
        let db = store(setting);
        fill(&db);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let db = &db;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        // Writers of all kinds.
                        if (thread + round) % 5 == 0 {
                            db.exec("b", |txn| {
                                let next = number(&txn.get("one")?) + 1;
                                txn.put("one", next.to_le_bytes())
                            })
                            .unwrap();
                        } else {
                            db.transact(|txn| add(txn, "one", 1)).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(read(&db, "one"), THREADS * ROUNDS, "{setting:?}");
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn whoever_begins_after_a_conflict_sees_what_was_ahead() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 40;
    let db = store(SETTINGS[2]);
    fill(&db);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut last = 0;
                    loop {
                        let txn = db.begin();
                        let next = add(&txn, "one", 1).unwrap();
                        assert!(next > last, "{next} again after a conflict");
                        last = next;
                        match txn.commit() {
                            Ok(()) => break,
                            Err(error) => assert_eq!(error, Error::Conflict),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(read(&db, "one"), THREADS * ROUNDS);
}

/// A commit of `write` is held inside its flush, which succeeds or fails when `beside` releases it.
fn beside_a_flush<R: Send>(
    fails: Option<fn(&Op) -> bool>,
    write: impl FnOnce(&BTree) -> Result<()> + Send,
    beside: impl FnOnce(&BTree, mpsc::Sender<()>) -> R + Send,
) -> (BTree, Result<()>, R) {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    fill(&db);
    let (reached, wait) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let mut is_first = true;
    watch.hook(move |op| {
        let is_it = fails.unwrap_or(Op::is_sync);
        if !is_it(op) || !std::mem::take(&mut is_first) {
            return Ok(());
        }
        reached.send(()).expect("the test waits");
        released.recv().expect("the test releases");
        if fails.is_some() { Err(io::Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
    });
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| write(&db));
        wait.recv().unwrap();
        let second = scope.spawn(|| beside(&db, release));
        (first.join().unwrap(), second.join().unwrap())
    });
    watch.unhook();
    (db, first, second)
}

/// Commits while the flush is held, for all that can be told, and then lets it end.
fn ends_beside(txn: OwnedTxn, release: &mpsc::Sender<()>) -> Result<()> {
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| txn.commit());
        (0..1000).for_each(|_| std::thread::yield_now());
        release.send(()).unwrap();
        ended.join().unwrap()
    })
}

fn put_one(db: &BTree) -> Result<()> {
    db.exec("b", |txn| txn.put("one", 7_u64.to_le_bytes()))
}

#[test]
fn a_commit_that_is_not_durable_yet_is_ahead_all_the_same() {
    // It begins before anybody can see the other's work, and ends when that is durable.
    let (db, first, (second, third)) = beside_a_flush(None, put_one, |db, release| {
        let (late, apart) = (db.begin(), db.begin());
        add(&late, "one", 1).unwrap();
        add(&apart, "two", 1).unwrap();
        let late = ends_beside(late, &release);
        assert_eq!(read(db, "one"), 7, "what was ahead is durable");
        (late, apart.commit())
    });
    assert_eq!((first, second, third), (Ok(()), Err(Error::Conflict), Ok(())));
    assert_eq!((read(&db, "one"), read(&db, "two")), (7, 1));
}

#[test]
fn a_flush_that_fails_fails_those_behind_it_and_nothing_else() {
    let is_data_write = |op: &Op| matches!(op, Op::Write { offset, .. } if *offset >= 2 * 4096);
    let (db, first, (late, apart)) = beside_a_flush(Some(is_data_write), put_one, |db, release| {
        let (late, apart) = (db.begin(), db.begin());
        add(&late, "one", 1).unwrap();
        add(&apart, "two", 1).unwrap();
        (ends_beside(late, &release), apart.commit())
    });
    assert_eq!(first, Err(Error::NoSpace));
    // Where the flush had failed before they came, they were not behind it.
    for (name, ended) in [("one", late), ("two", apart)] {
        let wanted = match ended {
            Ok(()) => 1,
            Err(error) => {
                assert_eq!(error, Error::NoSpace);
                0
            }
        };
        assert_eq!(read(&db, name), wanted);
    }
    db.transact(|txn| add(txn, "one", 1).and(add(txn, "two", 1))).unwrap();
    assert!(read(&db, "one") <= 2 && read(&db, "one") > 0);
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_closure_that_is_always_late_runs_alone_in_the_end() {
    let db = store(SETTINGS[2]);
    fill(&db);
    let mut runs = 0_u64;
    let sum = db.transact(|txn| {
        runs += 1;
        let sum = add(txn, "one", 10)?;
        let put = || db.exec("b", |txn| txn.put("one", (100 * runs).to_le_bytes()));
        // Whoever runs alone is not disturbed.
        if runs <= 4 {
            std::thread::scope(|scope| scope.spawn(put).join().unwrap()).unwrap();
        }
        Ok(sum)
    });
    assert_eq!((sum, runs, read(&db, "one")), (Ok(410), 5, 410));
}

/// In the last run, which has the writer's turn, it could not be done.
#[test]
fn each_run_of_a_closure_refuses_what_the_last_would() {
    let db = store(SETTINGS[2]);
    fill(&db);
    let mut runs = 0;
    let ended = db.transact(|txn| {
        runs += 1;
        add(txn, "one", 10)?;
        assert_eq!(db.exec("b", |txn| txn.put("one", "")), Err(Error::Invalid));
        assert_eq!(db.transact(|_| Ok(())), Err(Error::Invalid));
        assert_eq!(db.compact(0).map(drop), Err(Error::Invalid));
        let inner = db.begin();
        add(&inner, "two", 10)?;
        assert_eq!(inner.commit(), Err(Error::Invalid));
        if runs < 7 { Err(Error::Conflict) } else { Ok(()) }
    });
    assert_eq!((ended, runs), (Err(Error::Conflict), 5));
    // It has left its turn, also where it ended by a panic.
    let panicking = || db.transact(|_| -> Result<()> { panic!("planned") });
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    db.exec("b", |txn| txn.put("two", 1_u64.to_le_bytes())).unwrap();
    assert_eq!((read(&db, "one"), read(&db, "two")), (0, 1));
}

#[test]
fn each_run_refuses_to_set_pages_aside_for_another_transaction() {
    let db = store(SETTINGS[2]);
    fill(&db);
    let (value, mut found) = (vec![7; 300_000], Vec::new());
    let ended = db.transact(|_| {
        let other = db.begin();
        found.push(other.bucket("b")?.put_from("k", 300_000, &mut value.as_slice()));
        Err::<(), _>(Error::Conflict)
    });
    assert_eq!(ended, Err(Error::Conflict));
    assert_eq!(found, vec![Err(Error::Invalid); 5]);
}

#[test]
fn a_closure_that_runs_alone_sees_what_is_not_durable_yet() {
    let (db, first, sum) = beside_a_flush(None, put_one, |db, release| {
        let mut runs = 0;
        db.transact(|txn| {
            runs += 1;
            if runs <= 4 {
                return Err(Error::Conflict);
            }
            // It began alone before the flush ended.
            release.send(()).unwrap();
            txn.create_bucket("c")?;
            let mut all = txn.bucket("b")?;
            all.put("large", vec![1; 10_000])?;
            assert_eq!((all.len(), txn.buckets()?.len()), (3, 2));
            all.delete_range("large"..="large")?;
            add(txn, "one", 1)
        })
    });
    assert_eq!((first, sum, read(&db, "one")), (Ok(()), Ok(8), 8));
    assert_eq!(db.buckets().unwrap(), ["b", "c"]);
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_closure_that_fails_or_panics_ends_it_and_nothing_has_happened() {
    let db = store(SETTINGS[2]);
    fill(&db);
    let mut runs = 0;
    let failed = db.transact(|txn| {
        runs += 1;
        add(txn, "one", 1)?;
        txn.bucket("b")?.get("missing")
    });
    assert_eq!((failed, runs), (Err(Error::NotFound), 1));
    let given_up = db.transact(|txn| add(txn, "one", 1).and(Err::<(), _>(Error::Conflict)));
    assert_eq!(given_up, Err(Error::Conflict));
    // In a run beside others, and in the one alone.
    for last in [1, 5] {
        let mut runs = 0;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            db.transact(|txn| {
                runs += 1;
                add(txn, "one", 1)?;
                assert!(runs < last, "planned");
                Err::<(), _>(Error::Conflict)
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(read(&db, "one"), 0);
        db.exec("b", |txn| txn.put("two", 0_u64.to_le_bytes())).unwrap();
    }
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn money_moves_and_none_is_lost_or_made() {
    const ACCOUNTS: u8 = 12;
    const THREADS: u8 = 4;
    const ROUNDS: u8 = 50;
    let db = store(SETTINGS[1]);
    db.exec("b", |txn| (0..ACCOUNTS).try_for_each(|at| txn.put([at], 100_u64.to_le_bytes())))
        .unwrap();
    let transfer = |txn: &OwnedTxn, from: u8, to: u8| {
        let mut bucket = txn.bucket("b")?;
        // Reads all, and so conflicts with all.
        let sum = bucket.iter().map(|entry| entry.map(|(_, value)| number(&value)));
        assert_eq!(sum.sum::<Result<u64>>()?, 100 * u64::from(ACCOUNTS));
        let (held, there) = (bucket.get([from])?, bucket.get([to])?);
        if from != to && number(&held) > 0 {
            bucket.put([from], (number(&held) - 1).to_le_bytes())?;
            bucket.put([to], (number(&there) + 1).to_le_bytes())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, transfer) = (&db, &transfer);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let (from, to) =
                        ((thread * 7 + round) % ACCOUNTS, (thread + round * 5) % ACCOUNTS);
                    db.transact(|txn| transfer(txn, from, to)).unwrap();
                }
            });
        }
    });
    db.transact(|txn| transfer(txn, 0, 0)).unwrap();
}
