//! Transactions that are open at once: whoever has seen or written what another changed is late.

use crate::matrix::budget::{Budget, Checked, ensure};
use crate::matrix::gate::{At, Gate};
use crate::matrix::scripts::{PATH, key, options};
use btree_store::{BTree, Error, OwnedTxn, Result};
use std::sync::Arc;
use std::time::Duration;

/// How long a commit has to look at a state before the flush beside it ends.
const WAIT: Duration = Duration::from_millis(20);

/// What a transaction looks at, and what another does to it meanwhile.
struct Case {
    what: &'static str,
    look: fn(&OwnedTxn) -> Result<()>,
    change: fn(&BTree) -> Result<()>,
}

const CASES: [Case; 5] = [
    Case {
        what: "a key that was read",
        look: |txn| txn.bucket("b")?.get(key(1)).map(drop),
        change: |db| db.exec("b", |txn| txn.put(key(1), "other")),
    },
    Case {
        what: "a key that was written",
        look: |txn| txn.bucket("b")?.put(key(1), "own"),
        change: |db| db.exec("b", |txn| txn.put(key(1), "other")),
    },
    Case {
        what: "a range that was walked",
        look: |txn| txn.bucket("b")?.range(&key(5)..&key(20)).try_for_each(|entry| entry.map(drop)),
        change: |db| db.exec("b", |txn| txn.put([&key(10), b"+".as_slice()].concat(), "other")),
    },
    Case {
        what: "a count",
        look: |txn| txn.bucket("b").map(|bucket| assert_eq!(bucket.len(), 40)),
        change: |db| db.exec("b", |txn| txn.del(key(30))),
    },
    Case { what: "a list", look: |txn| txn.buckets().map(drop), change: |db| db.del_bucket("c") },
];

fn store() -> Checked<(Gate, BTree)> {
    let gate = Gate::default();
    let db = options(Arc::new(gate.clone())).open(PATH)?;
    db.exec("b", |txn| (0..40).try_for_each(|n| txn.put(key(n), "value")))?;
    db.exec("c", |_| Ok(()))?;
    Ok((gate, db))
}

/// Who is ahead has committed, or its flush is still under way.
pub fn run(budget: &mut Budget) -> Checked {
    for Case { what, look, change } in CASES {
        for is_held in [false, true] {
            budget.spend();
            let (gate, db) = store()?;
            let txn = db.begin();
            look(&txn)?;
            txn.bucket("mine")?.put("k", "v")?;
            let (ended, apart) = std::thread::scope(|scope| -> Checked<_> {
                if is_held {
                    gate.close(At::Sync);
                }
                let other = scope.spawn(|| change(&db));
                let (other, ended) = if is_held {
                    gate.wait_for_somebody();
                    let ended = scope.spawn(|| txn.commit());
                    // A bug may let it pass while it is compared with what is durable.
                    std::thread::sleep(WAIT);
                    gate.open_again(true);
                    (other.join(), ended.join())
                } else {
                    (other.join(), Ok(txn.commit()))
                };
                other.expect("it does not panic")?;
                let apart = db.begin();
                apart.bucket("b")?.put(key(39), "apart")?;
                Ok((ended.expect("it does not panic"), apart.commit()))
            })?;
            ensure(ended == Err(Error::Conflict), || format!("{what} has changed: {ended:?}"))?;
            ensure(apart == Ok(()), || format!("nobody is ahead: {apart:?}"))?;
        }
    }
    Ok(())
}
