//! Every crash of a small workload: a transaction is there as a whole, or not at all.

use btree_store::sim::{Explorer, Failure, Fault, OpSet, SimDisk, SyncFailure, When};
use btree_store::{BTree, Error, Options, OwnedTxn};

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

type Look = fn(&OwnedTxn) -> btree_store::Result<()>;

/// The pages that it had put lay in the system's cache, and were on their way to the disk when a
/// commit of others failed: they are as they were before.
#[test]
fn a_value_that_went_with_a_failed_commit_of_others_is_a_conflict_whoever_reads_it() {
    let disk = SimDisk::new();
    let db = open(&disk).unwrap();
    db.exec("other", |txn| txn.put("k", "v")).unwrap();
    let value = vec![7; 300_000];
    let lose = || {
        let failure = Failure::Sync(SyncFailure::Revert);
        disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(0), failure));
        let failed = std::thread::scope(|scope| {
            scope.spawn(|| db.exec("other", |txn| txn.put("k", "w"))).join().unwrap()
        });
        assert_eq!(failed, Err(Error::IoError));
        disk.clear_faults();
    };
    let put = |txn: &OwnedTxn| {
        let mut bucket = txn.bucket("b").unwrap();
        bucket.put_from("early", value.len() as u64, &mut value.as_slice()).unwrap();
    };
    let looks: [Look; 4] = [
        |txn| txn.bucket("b")?.get("early").map(drop),
        |txn| txn.bucket("b")?.iter().last().map_or(Ok(()), |last| last.map(drop)),
        |txn| {
            let mut reader = txn.bucket("b")?.get_reader("early")?;
            while reader.next_piece()?.is_some() {}
            Ok(())
        },
        |txn| txn.bucket("b")?.compare_and_swap("early", Some(&vec![7; 300_000]), None).map(drop),
    ];
    for look in looks {
        let txn = db.begin();
        put(&txn);
        lose();
        for _ in 0..2 {
            assert_eq!(look(&txn), Err(Error::Conflict));
        }
        assert_eq!(txn.commit(), Err(Error::Conflict));
    }
    let mut runs = 0;
    db.transact(|txn| {
        runs += 1;
        put(txn);
        if runs < 3 {
            lose();
        }
        txn.bucket("b")?.get("early")
    })
    .unwrap();
    assert_eq!(runs, 3);
    assert!(db.view("b", |txn| txn.get("early")).unwrap() == value);
    assert!(db.verify().unwrap().is_sound());
}
