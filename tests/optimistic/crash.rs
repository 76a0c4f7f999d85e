//! Every crash of a small workload: a transaction is there as a whole, or not at all.

use btree_store::sim::{Explorer, SimDisk};
use btree_store::{BTree, Error, Options};

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
