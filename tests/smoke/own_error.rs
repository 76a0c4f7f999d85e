//! Closures that fail with errors of a program's own: what they did is taken back, and the caller
//! gets that very error. Attacks: commit-atomic, errors-stick.

use crate::common::watch::{Op, Watch};
use crate::common::{NAME, dump, on};
use btree_store::vfs::{MemVfs, OpenMode, Vfs};
use btree_store::{BTree, DetailedError, Error, OwnedTxn};
use std::io::ErrorKind;

/// Not to be compared with another, nor copied: who gets it has the one that was made.
#[derive(Debug, PartialEq)]
enum Failure {
    Own(Box<u32>),
    Store(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

fn own<R>(number: u32) -> Result<R, Failure> {
    Err(Failure::Own(Box::new(number)))
}

/// Each call that writes, with a closure that puts "k" and then ends like this.
type Write = fn(&BTree, &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure>;

const WRITES: [(&str, Write); 4] = [
    ("exec", |db, end| {
        db.try_exec("b", |txn| {
            txn.put("k", "new")?;
            end()
        })
    }),
    ("exec_multi", |db, end| {
        db.try_exec_multi(|multi| {
            multi.exec("b", |txn| txn.put("k", "new"))?;
            multi.exec("c", |txn| txn.put("k", "new"))?;
            end()
        })
    }),
    ("part", |db, end| {
        db.try_exec_multi(|multi| {
            multi.try_exec("b", |txn| {
                txn.put("k", "new")?;
                end()
            })
        })
    }),
    ("transact", |db, end| {
        db.try_transact(|txn| {
            txn.bucket("b")?.put("k", "new")?;
            end()
        })
    }),
];

#[test]
fn an_own_error_takes_the_transaction_back_and_comes_out() {
    for (name, write) in WRITES {
        let (_, watch) = Watch::memory();
        let db = on(watch.clone()).open(NAME).unwrap();
        db.exec("b", |txn| txn.put("k", "old")).unwrap();
        let seq = db.current_seq();
        let (counts, failed) = watch.during(|| write(&db, &mut || own(7)));
        assert_eq!(failed, own(7), "{name}");
        assert!(counts.is_silent(), "{name}: {counts:?}");
        assert_eq!((db.current_seq(), db.buckets().unwrap().len()), (seq, 1), "{name}");
        assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"old", "{name}");
        assert_eq!(write(&db, &mut || Ok(())), Ok(()), "{name}");
        assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"new", "{name}");
    }
}

#[test]
fn a_part_that_fails_with_an_own_error_is_undone_alone() {
    let db = on(MemVfs::new()).open(NAME).unwrap();
    let done = db.try_exec_multi(|multi| {
        multi.exec("b", |txn| txn.put("kept", "1"))?;
        let undone: Result<(), Failure> = multi.try_exec("b", |txn| {
            txn.put("undone", "1")?;
            own(1)
        });
        assert_eq!(undone, own(1));
        Ok::<(), Failure>(())
    });
    assert_eq!(done, Ok(()));
    assert_eq!(dump(&db, "b").unwrap(), [(b"kept".to_vec(), b"1".to_vec())]);
}

#[test]
fn what_the_store_refuses_is_made_an_own_error() {
    let db = on(MemVfs::new()).open(NAME).unwrap();
    let never = || -> Result<(), Failure> { panic!("the closure runs") };
    assert_eq!(db.try_exec("", |_| never()), Err(Failure::Store(Error::Invalid)));
    assert_eq!(db.try_view("b", |_| never()), Err(Failure::Store(Error::NotFound)));
    assert_eq!(db.snapshot().try_view("b", |_| never()), Err(Failure::Store(Error::NotFound)));
    let nested = db.try_exec("b", |_| db.try_exec("c", |_| never()));
    assert_eq!(nested, Err(Failure::Store(Error::Invalid)));
    let nested = db.exec("b", |_| {
        assert_eq!(db.try_transact(|_| never()), Err(Failure::Store(Error::Invalid)));
        assert_eq!(db.try_exec_multi(|_| never()), Err(Failure::Store(Error::Invalid)));
        Ok(())
    });
    assert_eq!(nested, Ok(()));
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    assert_eq!(db.try_view("b", |_| own::<()>(2)), own(2));
    assert_eq!(db.snapshot().try_view("b", |_| own::<()>(3)), own(3));
    assert_eq!(db.try_view("b", |txn| Ok::<_, Failure>(txn.get("k")?)), Ok(b"v".to_vec()));
}

#[test]
fn a_commit_that_fails_is_told_with_its_detail() {
    for (name, write) in WRITES {
        let (_, watch) = Watch::memory();
        let db = on(watch.clone()).open(NAME).unwrap();
        watch.hook(|op| match op {
            Op::Write { .. } => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        });
        assert_eq!(write(&db, &mut || Ok(())), Err(Failure::Store(Error::NoSpace)), "{name}");
        let told: Result<(), DetailedError> = db.try_exec("b", |txn| Ok(txn.put("k", "v")?));
        let told = told.unwrap_err();
        assert!(told.error == Error::NoSpace && told.detail.is_some(), "{name}: {told}");
        watch.hook(|op| if op.is_sync() { Err(ErrorKind::Other.into()) } else { Ok(()) });
        assert_eq!(write(&db, &mut || Ok(())), Err(Failure::Store(Error::IoError)), "{name}");
        watch.unhook();
        assert_eq!(write(&db, &mut || Ok(())), Err(Failure::Store(Error::Poisoned)), "{name}");
    }
}

#[test]
fn damage_that_the_closure_swallowed_is_told() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    db.exec("b", |txn| (0..400_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [7; 30]))).unwrap();
    let file = vfs.open(NAME.as_ref(), OpenMode::ReadWrite).unwrap();
    let mut page = vec![0; 512];
    for at in (2 * 512..file.size().unwrap()).step_by(512) {
        file.read_at(&mut page, at).unwrap();
        page[100] ^= 1;
        file.write_at(&page, at).unwrap();
    }
    let met = |failed: btree_store::Result<Vec<u8>>| {
        assert_eq!(failed, Err(Error::Corruption));
        Ok::<(), Failure>(())
    };
    let key = 5_u32.to_be_bytes();
    let told = Err(Failure::Store(Error::Corruption));
    assert_eq!(db.try_exec("b", |txn| met(txn.get(key))), told);
    assert_eq!(db.try_view("b", |txn| met(txn.get(key))), told);
    assert_eq!(db.snapshot().try_view("b", |txn| met(txn.get(key))), told);
    let meet = |txn: &OwnedTxn| met(txn.bucket("b")?.get(key));
    assert_eq!(db.try_transact(meet), told);
    let part = db.try_exec_multi(|multi| {
        let part = multi.try_exec("b", |txn| met(txn.get(key)));
        assert_eq!(part, Err(Failure::Store(Error::Corruption)));
        own::<()>(4)
    });
    assert_eq!(part, own(4), "the closure's own error is the one that counts");
}

/// The same number of runs as that of `transact`, and the last of them beside nobody.
#[test]
fn a_conflict_begins_again_and_an_own_error_made_of_one_does_not() {
    let db = on(MemVfs::new()).open(NAME).unwrap();
    let mut runs = 0;
    let done = db.try_transact(|txn| {
        runs += 1;
        let mut bucket = txn.bucket("b")?;
        let before = bucket.len();
        if runs <= 4 {
            let ahead = || db.exec("b", |txn| txn.put([runs], ""));
            std::thread::scope(|scope| scope.spawn(ahead).join().unwrap())?;
        }
        bucket.put("ours", "")?;
        Ok::<_, Failure>(before)
    });
    assert_eq!((done, runs), (Ok(4), 5));
    let mut runs = 0;
    let failed = db.try_transact(|_| {
        runs += 1;
        Err::<(), Failure>(Error::Conflict.into())
    });
    assert_eq!((failed, runs), (Err(Failure::Store(Error::Conflict)), 1));
}
