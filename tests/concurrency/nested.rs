//! Calls inside calls, and panics inside closures.

use super::{BTree, Error, MemVfs, NAME, Op, Result, Watch, add_one, counter, get, in_time, on};
use btree_store::Options;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A panic without a message on the standard error.
fn quiet_panic<T>() -> T {
    resume_unwind(Box::new("thrown by the test"))
}

fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

#[test]
fn a_write_transaction_inside_another_is_refused() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        let clone = db.clone();
        let calls: [(&str, &dyn Fn() -> Result<()>); 7] = [
            ("exec", &|| db.exec("b", |_| Ok(()))),
            ("exec of another bucket", &|| db.exec("c", |_| Ok(()))),
            ("exec by a clone", &|| clone.exec("b", |_| Ok(()))),
            ("exec_multi", &|| db.exec_multi(|_| Ok(()))),
            ("del_bucket", &|| db.del_bucket("b")),
            ("compact", &|| db.compact(0).map(drop)),
            ("commit", &|| db.commit()),
        ];
        for (name, call) in calls {
            db.exec("b", |txn| {
                assert_eq!(call(), Err(Error::Invalid), "{name} in exec");
                assert!(Error::Invalid.detail().is_some(), "{name}");
                add_one(txn)
            })
            .unwrap();
            db.exec_multi(|multi| {
                assert_eq!(call(), Err(Error::Invalid), "{name} in exec_multi");
                multi.exec("b", |txn| {
                    assert_eq!(call(), Err(Error::Invalid), "{name} in multi.exec");
                    add_one(txn)
                })
            })
            .unwrap();
        }
        // The transactions around them were not harmed, and the lock was given back.
        assert_eq!(get(&db, "b", "counter"), Ok(14));
        for (name, call) in calls {
            call().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    });
}

#[test]
fn reads_inside_a_write_transaction_see_the_durable_state() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        db.exec("b", |txn| {
            add_one(txn)?;
            assert_eq!(get(&db, "b", "counter"), Ok(0));
            assert_eq!(get(&db.clone(), "b", "counter"), Ok(0));
            assert_eq!(db.buckets()?, ["b"]);
            assert_eq!(db.current_seq(), 1);
            assert_ne!(db.pending_pages(), (0, 0));
            assert_eq!(db.stats().unwrap_err(), Error::Invalid);
            add_one(txn)
        })
        .unwrap();
        assert_eq!(get(&db, "b", "counter"), Ok(2));
        assert_eq!(db.pending_pages(), (0, 0));
    });
}

#[test]
fn writes_inside_a_view_work_and_the_view_stays() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        db.view("b", |txn| {
            assert_eq!(db.exec("b", add_one), Ok(1));
            assert_eq!(db.exec_multi(|multi| multi.exec("b", add_one)), Ok(2));
            db.compact(0)?;
            db.commit()?;
            db.exec("c", |_| Ok(()))?;
            db.del_bucket("c")?;
            assert_eq!(txn.get("counter")?, 0_u64.to_le_bytes());
            assert_eq!(get(&db, "b", "counter"), Ok(2), "a view inside a view");
            db.view("b", |_| db.view("b", |_| db.exec("b", add_one)))
        })
        .unwrap();
        assert_eq!(get(&db, "b", "counter"), Ok(3));
    });
}

#[test]
fn views_inside_views_do_not_wait_for_a_writer_that_waits() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        let db = &db;
        for _ in 0..10 {
            std::thread::scope(|scope| {
                let (begins, begun) = channel();
                db.view("b", |_| {
                    scope.spawn(move || {
                        begins.send(()).unwrap();
                        for _ in 0..50 {
                            db.exec("b", add_one).unwrap();
                        }
                    });
                    begun.recv().unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                    db.view("b", |_| db.view("b", |_| Ok(())))
                })
                .unwrap();
            });
        }
    });
}

#[test]
fn a_clone_taken_inside_a_closure_that_fails_or_panics_goes_on() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        let mut kept = Vec::new();
        let failed: Result<()> = db.exec("b", |txn| {
            kept.push(db.clone());
            add_one(txn)?;
            Err(Error::Conflict)
        });
        assert_eq!(failed, Err(Error::Conflict));
        assert!(panics(|| {
            let ends = db.exec("b", |txn| {
                kept.push(db.clone());
                add_one(txn)?;
                quiet_panic()
            });
            assert_eq!(ends, Ok(()));
        }));
        for (n, clone) in (1..).zip(&kept) {
            assert_eq!(clone.exec("b", add_one), Ok(n));
            assert_eq!(clone.commit(), Ok(()));
            assert_eq!(get(&db, "b", "counter"), Ok(n));
        }
        assert!(db.verify().unwrap().is_sound());
    });
}

#[test]
fn handles_are_made_and_dropped_inside_closures() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    in_time(move || {
        let db = BTree::open(&path).unwrap();
        db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes())).unwrap();
        std::thread::scope(|scope| {
            // A writer waits while a view opens and clones.
            let (begins, begun) = channel();
            db.view("b", |_| {
                let writer = &db;
                scope.spawn(move || {
                    begins.send(()).unwrap();
                    writer.exec("b", add_one).unwrap();
                });
                begun.recv().unwrap();
                std::thread::sleep(Duration::from_millis(5));
                let (clone, same) = (db.clone(), BTree::open(&path)?);
                assert!(get(&clone, "b", "counter").is_ok() && get(&same, "b", "counter").is_ok());
                Ok(())
            })
            .unwrap();
        });
        let kept = db
            .exec("b", |txn| {
                let (clone, same) = (db.clone(), BTree::open(&path)?);
                let other = BTree::open(path.with_extension("other"))?;
                other.exec("b", |txn| txn.put("counter", 7_u64.to_le_bytes()))?;
                assert_eq!(same.exec("b", add_one), Err(Error::Invalid));
                add_one(txn)?;
                Ok((clone, same, other))
            })
            .unwrap();
        for handle in [&db, &kept.0, &kept.1] {
            assert_eq!(get(handle, "b", "counter"), Ok(2));
        }
        assert_eq!(kept.0.exec("b", add_one), Ok(3));
        assert_eq!(get(&kept.2, "b", "counter"), Ok(7));
    });
}

#[test]
fn a_panic_in_a_closure_rolls_back_and_gives_the_lock_up() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        for _ in 0..20 {
            assert!(panics(|| {
                db.exec("b", |txn| {
                    add_one(txn)?;
                    txn.put("new", "v")?;
                    quiet_panic::<Result<()>>()
                })
                .unwrap();
            }));
            assert!(panics(|| {
                db.exec_multi(|multi| {
                    multi.exec("b", add_one)?;
                    multi.del_bucket("b")?;
                    multi.exec("new", |txn| txn.put("k", "v"))?;
                    multi.exec("newer", |_| quiet_panic::<Result<()>>())
                })
                .unwrap();
            }));
            assert!(panics(|| db.view("b", |_| quiet_panic::<Result<()>>()).unwrap()));
            assert_eq!(db.pending_pages(), (0, 0));
            assert_eq!(get(&db, "b", "counter"), Ok(0));
            assert_eq!(db.view("b", |txn| txn.get("new")), Err(Error::NotFound));
            assert_eq!(db.buckets().unwrap(), ["b"]);
        }
        // From another thread, too: the lock is free.
        let clone = db.clone();
        assert_eq!(std::thread::spawn(move || clone.exec("b", add_one)).join().unwrap(), Ok(1));
        assert_eq!(db.current_seq(), 2);
    });
}

#[test]
fn a_panic_inside_one_bucket_that_is_caught_undoes_that_bucket_only() {
    let db = counter(&MemVfs::new());
    in_time(move || {
        db.exec_multi(|multi| {
            multi.exec("b", add_one)?;
            let caught = catch_unwind(AssertUnwindSafe(|| {
                multi.exec("b", |txn| {
                    add_one(txn)?;
                    quiet_panic::<Result<()>>()
                })
            }));
            assert!(caught.is_err());
            let failed: Result<()> = multi.exec("c", |txn| {
                txn.put("k", "v")?;
                Err(Error::Conflict)
            });
            assert_eq!(failed, Err(Error::Conflict));
            multi.exec("b", add_one)
        })
        .unwrap();
        assert_eq!(get(&db, "b", "counter"), Ok(2));
        assert_eq!(db.buckets().unwrap(), ["b"]);
    });
}

#[test]
fn a_panic_leaves_the_committed_state_readable_after_a_reopen() {
    let vfs = MemVfs::new();
    let db = counter(&vfs);
    assert!(panics(|| {
        db.exec("b", |txn| {
            (0..500_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [1; 300]))?;
            quiet_panic::<Result<()>>()
        })
        .unwrap();
    }));
    db.exec("c", |txn| txn.put("k", "v")).unwrap();
    db.compact(0).unwrap();
    drop(db);
    let db = Options::new().vfs(std::sync::Arc::new(vfs)).open("data.db").unwrap();
    assert_eq!(get(&db, "b", "counter"), Ok(0));
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_storage_that_calls_the_store_that_writes_to_it_is_refused() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "1")).unwrap();
    in_time(move || {
        let (its, mut has_asked) = (db.clone(), false);
        watch.hook(move |op| {
            if op.is_sync() && !std::mem::replace(&mut has_asked, true) {
                assert_eq!(its.exec("b", |_| Ok(())), Err(Error::Invalid));
                assert_eq!(its.sync(), Err(Error::Invalid));
                assert_eq!(its.verify().map(drop), Err(Error::Invalid));
                assert_eq!(its.stats().map(drop), Err(Error::Invalid));
            }
            Ok(())
        });
        db.exec("b", |txn| txn.put("k", "2")).unwrap();
        watch.unhook();
        assert_eq!(db.exec("b", |txn| txn.put("k", "3")), Ok(()));
    });
}

/// Puts that a part ended with wait. Where they cannot be made, the part that finds it out is not
/// to blame, and all of the transaction fails, whatever the closure makes of it.
#[test]
fn what_a_part_put_and_cannot_be_made_fails_the_transaction() {
    for panics in [false, true] {
        let (_, watch) = Watch::memory();
        let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
        let key = |n: u32| n.to_be_bytes();
        db.exec("b", |txn| (0..4000).try_for_each(|n| txn.put(key(n), [7; 30]))).unwrap();
        let wanted = if panics { Error::Internal } else { Error::IoError };
        let ended = db.exec_multi(|multi| {
            multi.exec("b", |txn| txn.put(key(2_000), "new"))?;
            watch.hook(move |op| match op {
                Op::Read { .. } if panics => quiet_panic(),
                Op::Read { .. } => Err(std::io::Error::other("a page is gone")),
                _ => Ok(()),
            });
            let part = multi.exec("b", |txn| {
                let found = catch_unwind(AssertUnwindSafe(|| txn.get(key(1))));
                assert_eq!(found.is_err(), panics);
                Ok(())
            });
            watch.unhook();
            assert_eq!(part, Err(wanted), "panics: {panics}");
            if panics {
                assert_eq!(multi.exec("b", |txn| txn.put(key(1), "new")), Err(wanted));
            }
            let _ = multi.exec("other", |txn| txn.put("k", "v"));
            Ok(())
        });
        assert_eq!(ended, Err(wanted), "panics: {panics}");
        assert_eq!(db.buckets().unwrap(), ["b"]);
        let left = db.view("b", |txn| Ok((txn.len(), txn.get(key(2_000))?))).unwrap();
        assert_eq!(left, (4_000, vec![7; 30]));
        assert!(db.verify().unwrap().is_sound());
    }
}

/// Nobody looks at the bucket again, and the part has told nothing.
#[test]
fn a_panic_that_leaves_a_part_over_what_waited_fails_the_whole() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    let key = |n: u32| n.to_be_bytes();
    db.exec("b", |txn| (0..4000).try_for_each(|n| txn.put(key(n), [7; 30]))).unwrap();
    let ended = db.exec_multi(|multi| {
        multi.exec("b", |txn| txn.put(key(2_000), "new"))?;
        watch.hook(|op| match op {
            Op::Read { .. } => quiet_panic(),
            _ => Ok(()),
        });
        let part = || multi.exec("b", |txn| txn.get(key(1)).map(drop)).unwrap_or_default();
        assert!(panics(part), "what waits is made without a look at the file");
        watch.unhook();
        multi.exec("other", |txn| txn.put("k", "v"))
    });
    assert_eq!(ended, Err(Error::Internal));
    assert_eq!(db.buckets().unwrap(), ["b"]);
    assert_eq!(db.view("b", |txn| txn.get(key(2_000))).unwrap(), [7; 30]);
}
