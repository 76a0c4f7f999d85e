//! Every crash of a small workload: a transaction is there as a whole, or not at all.

use btree_store::sim::{Explorer, Failure, Fault, OpKind, OpSet, SimDisk, SyncFailure, When};
use btree_store::{BTree, Error, Options, OwnedTxn};
use std::cell::Cell;
use std::io::{self, Read};

fn open(disk: &SimDisk) -> btree_store::Result<BTree> {
    Options::new().page_size(512).cache_bytes(0).vfs(disk.vfs()).open("data.db")
}

/// How many of the transactions have happened, by the two buckets that each of them writes.
fn count(db: &BTree) -> btree_store::Result<[u64; 2]> {
    let count = |name| match db.view(name, |txn| Ok(txn.len())) {
        Err(Error::NotFound) => Ok(0),
        other => other,
    };
    Ok([count("a")?, count("b")?])
}

#[test]
fn every_crash_leaves_each_transaction_whole_or_out() {
    let report = Explorer::new("optimistic transactions").nested(1).explore(
        |disk| {
            let db = open(disk)?;
            for n in 1..=3_u64 {
                let (txn, late) = (db.begin(), db.begin());
                for name in ["a", "b"] {
                    txn.bucket(name)?.put(n.to_be_bytes(), vec![7; 200])?;
                    late.bucket(name)?.put(n.to_be_bytes(), "late")?;
                    late.bucket(name)?.put("late", "")?;
                }
                disk.started(n);
                txn.commit()?;
                disk.acknowledged(n);
                if late.commit() != Err(Error::Conflict) {
                    return Err("the late one commits".into());
                }
            }
            Ok(())
        },
        |disk, crash| {
            let db = open(disk)?;
            let [n, other] = count(&db)?;
            if n != other || n < crash.acknowledged() || n > crash.started() {
                return Err(format!("{n} and {other} are left").into());
            }
            // And it goes on, after each crash.
            let txn = db.begin();
            txn.bucket("c")?.put("k", n.to_be_bytes())?;
            txn.commit()?;
            Ok(())
        },
    );
    assert!(report.is_verified(), "{report}");
    assert!(report.executions > 50, "{report}");
}

type Look = fn(&OwnedTxn) -> btree_store::Result<bool>;

/// Whether a value is the one that was put.
fn is_whole(found: &[u8]) -> bool {
    found == [7; 1_200]
}

const LOOKS: [Look; 4] = [
    |txn| txn.bucket("b")?.get("early").map(|found| is_whole(&found)),
    |txn| {
        let last = txn.bucket("b")?.iter().last().expect("there is one");
        last.map(|(_, found)| is_whole(&found))
    },
    |txn| {
        let (mut reader, mut all) = (txn.bucket("b")?.get_reader("early")?, Vec::new());
        while let Some(piece) = reader.next_piece()? {
            all.extend_from_slice(piece);
        }
        Ok(is_whole(&all))
    },
    |txn| txn.bucket("b")?.compare_and_swap("early", Some(&[7; 1_200]), Some(b"")),
];

fn put_early(txn: &OwnedTxn) -> btree_store::Result<()> {
    txn.bucket("b")?.put_from("early", 1_200, &mut io::repeat(7).take(1_200))
}

/// A commit of others, of which the disk takes some sectors, and some of what lies in the system's
/// cache beside it.
fn fail_a_commit(disk: &SimDisk, db: &BTree) -> Result<(), String> {
    let failure = Failure::Sync(SyncFailure::Revert);
    disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(0), failure));
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| db.exec("other", |txn| txn.put("k", "w"))).join()
    });
    disk.clear_faults();
    let is_told = failed.is_ok_and(|failed| failed == Err(Error::IoError));
    if is_told { Ok(()) } else { Err("the commit of others does not fail".to_owned()) }
}

/// What was put early, and is gone with a commit of others, is a conflict for whoever reads it.
#[test]
fn a_value_that_a_failed_commit_of_others_may_have_taken_is_there_or_a_conflict() {
    for look in LOOKS {
        let (found, gone) = (Cell::new(0), Cell::new(0));
        let report = Explorer::new("early, and then gone").explore(
            |disk| {
                let db = open(disk)?;
                db.exec("other", |txn| txn.put("k", "v"))?;
                let txn = db.begin();
                put_early(&txn)?;
                fail_a_commit(disk, &db)?;
                match look(&txn) {
                    Ok(true) => found.set(found.get() + 1),
                    Err(Error::Conflict) => gone.set(gone.get() + 1),
                    other => return Err(format!("what was put is {other:?}").into()),
                }
                match txn.commit() {
                    Err(Error::Conflict) => Ok(()),
                    other => Err(format!("it commits: {other:?}").into()),
                }
            },
            |disk, _| Ok(open(disk).map(drop)?),
        );
        assert!(report.is_verified(), "{report}");
        assert!(
            found.get() > 0 && gone.get() > 0,
            "{} are there, {} gone",
            found.get(),
            gone.get()
        );
    }
}

/// A commit that leaves all as it was waits for no sync: what it had put early is not durable.
#[test]
fn a_commit_that_writes_nothing_makes_nothing_durable() {
    let (found, gone) = (Cell::new(0), Cell::new(0));
    let report = Explorer::new("early, and removed").explore(
        |disk| {
            let db = open(disk)?;
            db.exec("b", |txn| txn.put("other", "v"))?;
            let txn = db.begin();
            put_early(&txn)?;
            let mut reader = txn.bucket("b")?.get_reader("early")?;
            txn.bucket("b")?.del("early")?;
            let syncs = || disk.count(OpKind::SyncData) + disk.count(OpKind::SyncAll);
            let before = syncs();
            txn.commit()?;
            if syncs() != before {
                return Err("nothing was to be made durable".into());
            }
            fail_a_commit(disk, &db)?;
            let count = loop {
                match reader.next_piece() {
                    Ok(Some(_)) => {}
                    Ok(None) => break &found,
                    Err(Error::Conflict) => break &gone,
                    Err(error) => return Err(format!("the file is blamed: {error:?}").into()),
                }
            };
            count.set(count.get() + 1);
            Ok(())
        },
        |disk, _| Ok(open(disk).map(drop)?),
    );
    assert!(report.is_verified(), "{report}");
    assert!(found.get() > 0 && gone.get() > 0, "{} are there, {} gone", found.get(), gone.get());
}

#[test]
fn a_closure_that_misses_what_it_put_runs_again() {
    let again = Cell::new(0);
    let report = Explorer::new("early, and again").explore(
        |disk| {
            let db = open(disk)?;
            db.exec("other", |txn| txn.put("k", "v"))?;
            let mut runs = 0;
            disk.started(1);
            let is_found_whole = db.transact(|txn| {
                runs += 1;
                put_early(txn)?;
                if runs == 1 {
                    fail_a_commit(disk, &db).expect("it fails");
                }
                LOOKS[0](txn)
            })?;
            disk.acknowledged(1);
            again.set(again.get() + runs - 1);
            if is_found_whole { Ok(()) } else { Err("it reads other bytes".into()) }
        },
        |disk, crash| match open(disk)?.view("b", |txn| txn.get("early")) {
            Ok(found) if is_whole(&found) => Ok(()),
            Err(Error::NotFound) if crash.acknowledged() == 0 => Ok(()),
            other => Err(format!("of what was put is found {other:?}").into()),
        },
    );
    assert!(report.is_verified(), "{report}");
    assert!(again.get() > 1, "{report}");
}

/// Zeros, before whose end a commit of others fails once.
struct Disturbed<'a> {
    left: usize,
    fails_at: usize,
    disk: &'a SimDisk,
    db: &'a BTree,
}

impl Read for Disturbed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left <= self.fails_at {
            self.fails_at = 0;
            fail_a_commit(self.disk, self.db).map_err(io::Error::other)?;
        }
        let len = buf.len().min(self.left);
        buf[..len].fill(0);
        self.left -= len;
        Ok(len)
    }
}

#[test]
fn a_commit_that_fails_while_a_value_comes_may_have_taken_its_beginning() {
    const LEN: usize = 700_000;
    for fails_at in [LEN, 400_000, 1] {
        let disk = SimDisk::new();
        let db = open(&disk).unwrap();
        db.exec("other", |txn| txn.put("k", "v")).unwrap();
        let txn = db.begin();
        let mut reader = Disturbed { left: LEN, fails_at, disk: &disk, db: &db };
        txn.bucket("b").unwrap().put_from("early", LEN as u64, &mut reader).unwrap();
        assert_eq!(reader.fails_at, 0, "a commit failed meanwhile");
        assert_eq!(txn.commit(), Err(Error::Conflict), "with {fails_at} bytes to come");
    }
}
