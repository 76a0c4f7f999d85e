//! Panics that a program catches, without a word to the compiler that it takes the risk.
//! Attacks: commit-atomic, errors-stick.

use crate::common::watch::{Op, Watch};
use crate::common::{NAME, on};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, OwnedTxn, ReadOnlyTxn, Snapshot, TxnBucket};
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};

#[test]
fn handles_and_what_closures_share_may_be_used_behind_a_panic() {
    fn is_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_safe::<BTree>();
    is_safe::<Snapshot>();
    is_safe::<OwnedTxn>();
    is_safe::<TxnBucket<'_>>();
    is_safe::<ReadOnlyTxn<'_>>();
}

#[test]
fn the_store_goes_on_behind_a_closure_that_panicked() {
    let db = on(MemVfs::new()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "old")).unwrap();
    let snapshot = db.snapshot();
    let panicked = catch_unwind(|| {
        db.exec("b", |txn| -> Result<(), Error> {
            txn.put("k", "new")?;
            panic!("the closure panics")
        })
    });
    assert!(panicked.is_err());
    let panicked = catch_unwind(|| {
        db.exec_multi(|multi| -> Result<(), Error> {
            multi.exec("c", |txn| txn.put("k", "new"))?;
            panic!("the closure panics")
        })
    });
    assert!(panicked.is_err());
    let panicked = catch_unwind(|| {
        db.transact(|txn| -> Result<(), Error> {
            txn.bucket("b")?.put("k", "new")?;
            panic!("the closure panics")
        })
    });
    assert!(panicked.is_err());
    let panicked = catch_unwind(|| {
        snapshot.view("b", |_| -> Result<(), Error> { panic!("the closure panics") })
    });
    assert!(panicked.is_err());
    assert_eq!(snapshot.view("b", |txn| txn.get("k")).unwrap(), b"old");
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"old");
    drop(snapshot);
    db.exec("b", |txn| txn.put("l", "new")).unwrap();
    assert_eq!(db.buckets().unwrap(), ["b"], "behind a commit, too");
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"old");
    let stats = db.stats().unwrap();
    assert_eq!((stats.seq, stats.pinned_states), (2, 0), "no state is left pinned");
    assert!(db.verify().unwrap().is_sound());
}

/// Caught inside of the closure, where the transaction goes on.
#[test]
fn a_read_that_panicked_in_the_storage_leaves_the_transaction_whole() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    let key = |at: u32| at.to_be_bytes();
    db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), key(at)))).unwrap();
    let fail = || {
        watch.hook(|op| {
            assert!(!matches!(op, Op::Read { .. }), "the storage panics");
            Ok(())
        });
    };
    let read = |txn: &ReadOnlyTxn<'_>| {
        fail();
        let lookup = catch_unwind(|| txn.get(key(7)));
        let last = catch_unwind(|| txn.last());
        watch.unhook();
        assert!(lookup.is_err() && last.is_err());
        assert_eq!(txn.get(key(7))?, key(7));
        assert_eq!(txn.range::<[u8]>(..).count(), 400);
        Ok(())
    };
    assert_eq!(db.view("b", read), Ok(()));
    let snapshot = db.snapshot();
    assert_eq!(snapshot.view("b", read), Ok(()));
    fail();
    assert!(catch_unwind(|| snapshot.view("b", |txn| txn.get(key(7)))).is_err());
    assert!(catch_unwind(|| db.view("b", |txn| txn.get(key(7)))).is_err());
    watch.unhook();
    // What changes and cannot know how far it came says so.
    let txn = db.begin();
    let bucket = txn.bucket("b").unwrap();
    fail();
    assert!(catch_unwind(|| bucket.get(key(7))).is_err());
    watch.unhook();
    let after = bucket.get(key(7));
    assert!(after == Ok(key(7).to_vec()) || after == Err(Error::Internal), "{after:?}");
    drop(bucket);
    drop(txn);
    db.exec("b", |txn| txn.put(key(7), "new")).unwrap();
    assert_eq!(db.view("b", |txn| txn.get(key(7))).unwrap(), b"new");
    assert!(db.verify().unwrap().is_sound());
}
