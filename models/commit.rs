//! Group commit, in every order of its threads: the real store over a disk that knows what is
//! durable. One scenario each: the lead passes from hand to hand; a flush fails with transactions
//! behind it; a transaction that fails among others; the last handles go while a cursor reads; two
//! transactions are open at once.
//!
//! Attacks: durable-before-ok, publish-after-durable, commit-atomic, one-writer,
//! failed-sync-poisons, snapshot-stable, first-committer-wins.

use super::disk::{Disk, Fault, PAGE};
use super::{Model, models};
use crate::{BTree, Durability, Error, Options};
use loom::thread;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = models![
    the_lead_passes_on,
    the_lead_passes_on_among_three,
    a_reader_beside_a_commit,
    a_sync_fails_before_followers,
    a_write_fails_before_followers,
    a_writer_gives_up_beside_another,
    a_deferred_commit_is_lost_beside_a_durable_one,
    the_store_closes_under_a_cursor,
    one_of_two_open_transactions_is_ahead,
];

pub(super) fn open(disk: &Disk) -> BTree {
    let vfs = Arc::new(disk.clone());
    Options::new().page_size(PAGE).cache_bytes(1 << 16).vfs(vfs).open("model").unwrap()
}

/// A commit of the meta page alone.
pub(super) fn make_bucket(db: &BTree, name: &str) -> Result<(), Error> {
    db.exec(name, |_| Ok(()))
}

/// Whatever was acknowledged is durable at that moment.
fn committers(count: usize) {
    let disk = Disk::new();
    let db = open(&disk);
    let commit = |name: &'static str| {
        let (db, disk) = (db.clone(), disk.clone());
        move || {
            make_bucket(&db, name).unwrap();
            assert!(disk.is_durable(name), "{name} was acknowledged");
        }
    };
    let names = ["first", "second", "third"];
    let others: Vec<_> = names[1..count].iter().map(|name| thread::spawn(commit(name))).collect();
    commit(names[0])();
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!(db.buckets().unwrap().len(), count);
}

fn the_lead_passes_on() {
    committers(2);
}

fn the_lead_passes_on_among_three() {
    committers(3);
}

/// A reader beside a committer sees nothing that could still be lost.
fn a_reader_beside_a_commit() {
    let disk = Disk::new();
    let db = open(&disk);
    let writer = {
        let db = db.clone();
        thread::spawn(move || make_bucket(&db, "fresh").unwrap())
    };
    for seen in db.buckets().unwrap() {
        assert!(disk.is_durable(&seen), "{seen} is seen");
    }
    writer.join().unwrap();
}

/// A sync fails: whoever waits is told, and an acknowledged commit is durable all the same.
fn a_sync_fails_before_followers() {
    let disk = Disk::new();
    let db = open(&disk);
    disk.arm(Fault::Sync(1));
    let commit = |name: &'static str| {
        let (db, disk) = (db.clone(), disk.clone());
        move || {
            let outcome = make_bucket(&db, name);
            match outcome {
                Ok(()) => assert!(disk.is_durable(name), "{name} was acknowledged"),
                Err(error) => assert!(matches!(error, Error::IoError | Error::Poisoned), "{error}"),
            }
            outcome
        }
    };
    let other = thread::spawn(commit("second"));
    let outcomes = [("first", commit("first")()), ("second", other.join().unwrap())];
    let is_told = outcomes.iter().any(|(_, outcome)| *outcome == Err(Error::IoError));
    assert!(is_told, "the sync that failed was somebody's: {outcomes:?}");
    assert_eq!(make_bucket(&db, "late"), Err(Error::Poisoned));
    drop(db);
    let kept = open(&disk.after_power_failure()).buckets().unwrap();
    for (name, outcome) in outcomes {
        let is_kept = kept.iter().any(|kept| kept == name);
        assert!(outcome.is_err() || is_kept, "{name} was acknowledged, {kept:?} are left");
    }
}

/// A page cannot be written: the state before holds, and what comes behind does not build on it.
fn a_write_fails_before_followers() {
    let disk = Disk::new();
    let db = open(&disk);
    disk.arm(Fault::Page(1));
    let commit = |name: &'static str| {
        let db = db.clone();
        move || db.exec(name, |txn| txn.put("k", name))
    };
    let other = thread::spawn(commit("second"));
    let outcomes = [("first", commit("first")()), ("second", other.join().unwrap())];
    disk.arm(Fault::None);
    make_bucket(&db, "late").unwrap();
    let mut failures = 0;
    for (name, outcome) in outcomes {
        let found = db.view(name, |txn| txn.get("k"));
        match outcome {
            Ok(()) => assert_eq!(found, Ok(name.as_bytes().to_vec()), "{name} was acknowledged"),
            Err(error) => {
                assert_eq!(error, Error::IoError);
                assert_eq!(found, Err(Error::NotFound), "{name} failed");
                failures += 1;
            }
        }
    }
    assert!(failures > 0, "the write that failed was somebody's");
}

/// One of two writers fails after its work was done: nothing of it is left, nor is a page lost.
fn a_writer_gives_up_beside_another() {
    let disk = Disk::new();
    let db = open(&disk);
    db.exec("b", |txn| txn.put("k", "old")).unwrap();
    let other = {
        let db = db.clone();
        thread::spawn(move || make_bucket(&db, "whole").unwrap())
    };
    let given_up = db.exec_multi(|multi| {
        multi.exec("half", |_| Ok(()))?;
        multi.exec("b", |txn| txn.put("k", "new"))?;
        Err::<(), Error>(Error::Conflict)
    });
    assert_eq!(given_up, Err(Error::Conflict));
    make_bucket(&db, "after").unwrap();
    other.join().unwrap();
    assert_eq!(db.buckets().unwrap(), ["after", "b", "whole"]);
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"old");
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
}

fn make_bucket_deferred(db: &BTree, name: &str) -> Result<(), Error> {
    db.exec(name, |txn| {
        txn.set_durability(Durability::Deferred);
        Ok(())
    })
}

/// A page cannot be written: a sync that says nothing of it has lost nothing.
fn a_deferred_commit_is_lost_beside_a_durable_one() {
    let disk = Disk::new();
    let db = open(&disk);
    disk.arm(Fault::Page(1));
    let other = {
        let db = db.clone();
        thread::spawn(move || db.exec("durable", |txn| txn.put("k", "v")))
    };
    make_bucket_deferred(&db, "later").unwrap();
    let synced = db.sync();
    let committed = other.join().unwrap();
    match synced {
        Ok(()) => assert!(disk.is_durable("later"), "it was synced"),
        Err(error) => {
            assert_eq!((error, committed), (Error::IoError, Err(Error::IoError)));
            assert_eq!(db.view("later", |txn| Ok(txn.len())), Err(Error::NotFound));
        }
    }
    assert_eq!(db.sync(), Ok(()), "it was told");
}

/// A cursor outlives its transaction and all other handles, and reads what it began with.
fn the_store_closes_under_a_cursor() {
    let disk = Disk::new();
    let db = open(&disk);
    db.exec("b", |txn| txn.put("k", "old")).unwrap();
    let mut cursor = db.view("b", |txn| Ok(txn.iter())).unwrap();
    let writer = thread::spawn(move || {
        for value in ["new", "newer", "newest"] {
            db.exec("b", |txn| txn.put("k", value)).unwrap();
        }
    });
    let (mut key, mut value) = (Vec::new(), Vec::new());
    assert!(cursor.next_ref(&mut key, &mut value), "{:?}", cursor.error());
    assert_eq!(value, b"old");
    assert!(!cursor.next_ref(&mut key, &mut value));
    assert_eq!(cursor.error(), None);
    drop(cursor);
    writer.join().unwrap();
    let db = open(&disk.after_power_failure());
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"newest");
}

/// Two transactions that are open at once count up: none of what was acknowledged is lost. Whoever
/// is late sees next what was ahead.
fn one_of_two_open_transactions_is_ahead() {
    let disk = Disk::new();
    let db = open(&disk);
    db.exec("b", |txn| txn.put("k", [0])).unwrap();
    let count = || {
        let db = db.clone();
        move || {
            let txn = db.begin();
            let mut bucket = txn.bucket("b").unwrap();
            let count = bucket.get("k").unwrap()[0];
            bucket.put("k", [count + 1]).unwrap();
            match txn.commit() {
                Ok(()) => 1,
                Err(error) => {
                    assert_eq!(error, Error::Conflict);
                    let next = db.begin().bucket("b").unwrap().get("k").unwrap()[0];
                    assert!(next > count, "what was ahead is seen");
                    0
                }
            }
        }
    };
    let other = thread::spawn(count());
    let acknowledged = count()() + other.join().unwrap();
    assert!(acknowledged > 0, "the first to commit wins");
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), [acknowledged]);
}
