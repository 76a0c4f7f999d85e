//! What each call does, and what it refuses.

use super::{SETTINGS, store};
use crate::common::watch::Watch;
use crate::common::{NAME, on, story};
use btree_store::vfs::{MemVfs, OpenMode, Vfs};
use btree_store::{BTree, Error, Options, OwnedTxn, Result, TxnBucket, TxnRange, ValueReader};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Entries of bucket "b": "k000" to "k399".
fn filled() -> BTree {
    let db = store(SETTINGS[1]);
    db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
    db
}

fn key(at: u32) -> String {
    format!("k{at:03}")
}

/// It saw one state, whatever has happened since.
#[test]
fn one_that_wrote_nothing_commits_whatever_it_has_seen() {
    let db = filled();
    let txn = db.begin();
    assert_eq!(txn.bucket("b").unwrap().get(key(1)), Ok(vec![7; 30]));
    db.exec("b", |txn| txn.put(key(1), "other")).unwrap();
    assert_eq!(txn.commit(), Ok(()));
}

#[test]
fn a_key_that_was_not_there_is_an_answer_that_counts_as_read() {
    let ask: [fn(&mut TxnBucket<'_>, &str); 2] = [
        |bucket, key| assert_eq!(bucket.find(key), Ok(None)),
        |bucket, key| assert_eq!(bucket.remove(key), Ok(false)),
    ];
    for ask in ask {
        let db = filled();
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        assert_eq!(bucket.find(key(1)), Ok(Some(vec![7; 30])));
        assert_eq!(bucket.remove(key(2)), Ok(true));
        assert_eq!(bucket.find(key(2)), Ok(None), "it shows what it wrote");
        ask(&mut bucket, "new");
        assert_eq!(bucket.find(""), Err(Error::Invalid));
        assert_eq!(bucket.remove(""), Err(Error::Invalid));
        drop(bucket);
        db.exec("b", |txn| txn.put("new", "")).unwrap();
        assert_eq!(txn.commit(), Err(Error::Conflict));
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        assert_eq!(bucket.remove(key(2)), Ok(true));
        assert_eq!(bucket.remove("absent"), Ok(false));
        drop(bucket);
        assert_eq!(txn.commit(), Ok(()));
        assert_eq!(db.view("b", |txn| txn.find(key(2))), Ok(None));
    }
}

#[test]
fn transactions_and_their_parts_go_to_other_threads() {
    fn is_send<T: Send + Sync>() {}
    is_send::<OwnedTxn>();
    is_send::<TxnBucket<'_>>();
    is_send::<TxnRange<'_>>();
    let db = filled();
    let txn = db.begin();
    txn.bucket("b").unwrap().put(key(1), "here").unwrap();
    let ended = std::thread::spawn(move || {
        txn.bucket("b").unwrap().put(key(2), "there").unwrap();
        txn.commit()
    });
    assert_eq!(ended.join().unwrap(), Ok(()));
    let found = db.view("b", |txn| Ok((txn.get(key(1))?, txn.get(key(2))?)));
    assert_eq!(found, Ok((b"here".to_vec(), b"there".to_vec())));
}

#[test]
fn it_reads_what_it_began_with_and_what_it_wrote() {
    let db = filled();
    let txn = db.begin();
    for round in 0..30 {
        db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [round; 40]))).unwrap();
    }
    db.exec("later", |txn| txn.put("k", "v")).unwrap();
    db.compact(0).unwrap();
    let mut bucket = txn.bucket("b").unwrap();
    assert!(bucket.iter().all(|entry| entry.unwrap().1 == [7; 30]));
    assert_eq!((bucket.len(), txn.buckets()), (400, Ok(vec!["b".to_owned()])));
    bucket.put("z", "own").unwrap();
    assert_eq!(bucket.last(), Ok(Some((b"z".to_vec(), b"own".to_vec()))));
    assert_eq!(bucket.prefix("k39").count(), 10);
    assert_eq!(bucket.range::<[u8]>(..).rev().count(), 401);
    assert_eq!(txn.bucket("b").unwrap().get("z").unwrap(), b"own", "all parts show the same");
    assert_eq!(db.view("b", |txn| txn.get("z")), Err(Error::NotFound), "nobody else sees it");
    drop(bucket);
    drop(txn);
    assert_eq!(db.view("b", |txn| txn.get("z")), Err(Error::NotFound), "and it never happened");
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_range_shows_what_was_there_when_it_was_made() {
    let db = filled();
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    bucket.put("k000+", "own").unwrap();
    let mut range = bucket.iter();
    let mut count = 0;
    while let Some((key, _)) = range.next_entry().unwrap() {
        let key = key.to_vec();
        bucket.del(&key).unwrap();
        bucket.put([&key, b"/".as_slice()].concat(), "behind it").unwrap();
        count += 1;
    }
    assert_eq!((count, bucket.len()), (401, 401));
    assert_eq!((range.next(), range.next_back()), (None, None));
    assert_eq!(bucket.delete_range::<[u8]>(..), Ok(401));
    assert!(bucket.is_empty());
    drop(range);
    txn.commit().unwrap();
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(0));
}

#[test]
fn a_part_of_a_range_that_was_not_walked_is_no_conflict() {
    let walk = |walk: &dyn Fn(&mut TxnRange<'_>), other: u32| {
        let db = filled();
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        walk(&mut bucket.range(key(100).as_str()..key(200).as_str()));
        bucket.put("own", "").unwrap();
        // A new key, right behind that one.
        db.exec("b", |txn| txn.put(key(other) + "+", "")).unwrap();
        txn.commit()
    };
    let front = |range: &mut TxnRange<'_>| drop(range.nth(10));
    let back = |range: &mut TxnRange<'_>| drop(range.nth_back(10));
    let all = |range: &mut TxnRange<'_>| assert_eq!(range.by_ref().count(), 100);
    let meet = |range: &mut TxnRange<'_>| {
        while range.next().is_some() && range.next_back().is_some() {}
    };
    // The same by keys alone.
    let front_keys = |range: &mut TxnRange<'_>| {
        (0..11).for_each(|_| assert!(range.next_key().unwrap().is_some()));
    };
    let back_keys = |range: &mut TxnRange<'_>| {
        (0..11).for_each(|_| assert!(range.prev_key().unwrap().is_some()));
    };
    // And by entries that are lent.
    let front_lent = |range: &mut TxnRange<'_>| {
        (0..11).for_each(|_| assert!(range.next_entry().unwrap().is_some()));
    };
    let back_lent = |range: &mut TxnRange<'_>| {
        (0..11).for_each(|_| assert!(range.prev_entry().unwrap().is_some()));
    };
    let gone = Err(Error::Conflict);
    for front in [&front as &dyn Fn(&mut TxnRange<'_>), &front_keys, &front_lent] {
        let walks = (walk(front, 109), walk(front, 110), walk(front, 99));
        assert_eq!(walks, (gone, Ok(()), Ok(())));
    }
    for back in [&back as &dyn Fn(&mut TxnRange<'_>), &back_keys, &back_lent] {
        let walks = (walk(back, 189), walk(back, 188), walk(back, 200));
        assert_eq!(walks, (gone, Ok(()), Ok(())));
    }
    for whole in [&all as &dyn Fn(&mut TxnRange<'_>), &meet] {
        assert_eq!((walk(whole, 100), walk(whole, 150), walk(whole, 199)), (gone, gone, gone));
        assert_eq!((walk(whole, 99), walk(whole, 200)), (Ok(()), Ok(())));
    }
}

#[test]
fn two_that_each_read_what_the_other_writes_do_not_both_commit() {
    let db = filled();
    let (one, other) = (db.begin(), db.begin());
    for (txn, read, written) in [(&one, 1, 2), (&other, 2, 1)] {
        let mut bucket = txn.bucket("b").unwrap();
        bucket.get(key(read)).unwrap();
        bucket.put(key(written), "").unwrap();
    }
    assert_eq!((one.commit(), other.commit()), (Ok(()), Err(Error::Conflict)));
}

#[test]
fn of_blind_writes_only_those_to_one_key_conflict() {
    let db = filled();
    let txns: Vec<OwnedTxn> = (0..10).map(|_| db.begin()).collect();
    for (at, txn) in (0..).zip(&txns) {
        txn.bucket("b").unwrap().put(key(at / 2), at.to_string()).unwrap();
        txn.bucket("b").unwrap().put(format!("new {at}"), "").unwrap();
        txn.bucket(format!("bucket {at}")).unwrap().put("k", "").unwrap();
    }
    let ended: Vec<Result<()>> = txns.into_iter().map(OwnedTxn::commit).collect();
    for (at, ended) in ended.into_iter().enumerate() {
        let wanted = if at % 2 == 0 { Ok(()) } else { Err(Error::Conflict) };
        assert_eq!(ended, wanted, "{at}");
    }
    let story = story(Error::Conflict);
    assert_eq!(story, "an entry that was read or written has changed since");
    assert_eq!(db.buckets().unwrap().len(), 6, "nothing of those that were late");
}

#[test]
fn what_a_compaction_moves_has_not_changed() {
    let db = store(SETTINGS[1]);
    let fill = |bucket: &str, len: usize| {
        db.exec(bucket, |txn| (0..60).try_for_each(|at| txn.put(key(at), vec![7; len]))).unwrap();
    };
    fill("front", 3_000);
    db.exec("front", |txn| txn.put("huge", vec![7; 700 << 10])).unwrap();
    fill("b", 3_000);
    db.exec("b", |txn| txn.put("huge", vec![7; 300 << 10])).unwrap();
    let begin = |name: &str| {
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        assert!(bucket.contains(name).unwrap());
        assert_eq!(bucket.range("k".."l").count(), 60);
        bucket.put(format!("after {name}"), "").unwrap();
        drop(bucket);
        txn
    };
    // What is free when they begin may be written anew while they are open.
    db.del_bucket("front").unwrap();
    for round in 0..3 {
        db.exec("other", |txn| txn.put("k", [round])).unwrap();
    }
    let (moved, huge) = (begin("k000"), begin("huge"));
    let moved_pages = db.compact(0).unwrap().moved_pages;
    assert!(moved_pages > 800, "{moved_pages} pages moved: the huge value, and others");
    assert_eq!(moved.commit(), Ok(()));
    // It is not read, so that nobody knows.
    assert_eq!(huge.commit(), Err(Error::Conflict));
}

#[test]
fn large_values_are_read_and_committed_as_they_were_put() {
    let db = store(SETTINGS[1]);
    let lens = [0, 100, 600, 70_000, 256 << 10, 700 << 10];
    let txn = db.begin();
    for (at, len) in (0..).zip(lens) {
        txn.bucket("b").unwrap().put(key(at), vec![9; len]).unwrap();
        assert_eq!(txn.bucket("b").unwrap().get(key(at)).unwrap(), vec![9; len]);
    }
    txn.commit().unwrap();
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    for (at, len) in (0..).zip(lens) {
        assert_eq!(bucket.get(key(at)).unwrap(), vec![9; len]);
        assert_eq!(bucket.compare_and_swap(key(at), Some(&vec![9; len]), Some(b"small")), Ok(true));
    }
    drop(bucket);
    txn.commit().unwrap();
    db.view("b", |txn| {
        (0..6).for_each(|at| assert_eq!(txn.get(key(at)).unwrap(), b"small"));
        Ok(())
    })
    .unwrap();
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_value_that_is_read_in_pieces_is_the_one_of_the_call_and_counts_as_read() {
    let db = store(SETTINGS[1]);
    let pieces = |mut reader: ValueReader| {
        let mut value = Vec::new();
        while let Some(piece) = reader.next_piece().unwrap() {
            value.extend_from_slice(piece);
        }
        value
    };
    for len in [0, 100, 70_000, 700 << 10] {
        db.exec("b", |txn| txn.put("k", vec![1; len])).unwrap();
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        let old = bucket.get_reader("k").unwrap();
        bucket.put("k", vec![2; len + 1]).unwrap();
        let new = bucket.get_reader("k").unwrap();
        bucket.del("k").unwrap();
        drop(bucket);
        txn.commit().unwrap();
        // The pages of the first value are free by now, but for its reader.
        for round in 3..9 {
            db.exec("b", |txn| txn.put("k", vec![round; len + 2])).unwrap();
        }
        assert!(pieces(old) == vec![1; len] && pieces(new) == vec![2; len + 1], "{len} bytes");

        let late = db.begin();
        let reader = late.bucket("b").unwrap().get_reader("k").unwrap();
        assert!(late.bucket("b").unwrap().get_reader("other").is_err());
        late.bucket("b").unwrap().put("mine", "").unwrap();
        db.exec("b", |txn| txn.put("k", "changed")).unwrap();
        assert_eq!(late.commit(), Err(Error::Conflict), "it was read");
        assert!(pieces(reader) == vec![8; len + 2], "{len} bytes");
    }
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn bad_arguments_are_refused_and_the_transaction_goes_on() {
    let db = filled();
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    let long = vec![b'k'; 129];
    assert_eq!(bucket.put("", "v"), Err(Error::Invalid));
    assert_eq!(bucket.get(&long), Err(Error::TooLarge));
    assert_eq!(story(Error::TooLarge), "key of 129 bytes, the limit is 128");
    assert_eq!(bucket.get_reader("").err(), Some(Error::Invalid));
    assert_eq!(bucket.get_reader("missing").err(), Some(Error::NotFound));
    assert_eq!(bucket.put(&long, "v"), Err(Error::TooLarge));
    assert_eq!(bucket.del(""), Err(Error::Invalid));
    assert_eq!(bucket.contains(""), Err(Error::Invalid));
    assert_eq!(bucket.insert(&long, ""), Err(Error::TooLarge));
    assert_eq!(bucket.update("", ""), Err(Error::Invalid));
    for (old, new) in [(None, None), (None, Some(b"".as_slice())), (Some(b"".as_slice()), None)] {
        assert_eq!(bucket.compare_and_swap("", old, new), Err(Error::Invalid));
    }
    assert_eq!(bucket.delete_range("b".."a"), Ok(0));
    assert_eq!(bucket.range("b".."a").next(), None);
    assert_eq!(txn.bucket("").unwrap_err(), Error::Invalid);
    assert_eq!(txn.create_bucket("n".repeat(129)), Err(Error::TooLarge));
    assert_eq!(txn.contains_bucket(""), Err(Error::Invalid));
    assert_eq!(txn.del_bucket("missing"), Err(Error::NotFound));
    assert_eq!(txn.create_bucket("b"), Err(Error::Duplicate));
    bucket.put("k", "v").unwrap();
    drop(bucket);
    txn.commit().unwrap();
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
}

#[test]
fn a_transaction_inside_another_of_the_same_thread_does_not_commit() {
    let db = filled();
    let txn = db.begin();
    txn.bucket("b").unwrap().put("k", "v").unwrap();
    db.exec("b", |outer| {
        assert_eq!(txn.commit(), Err(Error::Invalid));
        assert_eq!(db.transact(|_| Ok(())), Err(Error::Invalid));
        let unchanged = db.begin();
        assert_eq!(unchanged.bucket("b")?.len(), 400);
        assert_eq!(unchanged.commit(), Ok(()), "there is nothing to wait for");
        outer.put("outer", "")
    })
    .unwrap();
    assert_eq!(db.view("b", |txn| txn.get("k")), Err(Error::NotFound));
}

#[test]
fn it_touches_nothing_before_it_commits_and_then_syncs_once() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("a", |txn| txn.put("k", "v")).unwrap();
    let (counts, txn) = watch.during(|| {
        let unchanged = db.begin();
        unchanged.bucket("a").unwrap().get("k").unwrap();
        unchanged.bucket("new").unwrap();
        unchanged.commit().unwrap();
        let txn = db.begin();
        for bucket in ["a", "b", "c"] {
            txn.bucket(bucket).unwrap().put("k", "new").unwrap();
        }
        drop(txn);
        let txn = db.begin();
        for bucket in ["a", "b", "c"] {
            txn.bucket(bucket).unwrap().put("k", "new").unwrap();
        }
        txn
    });
    assert!(counts.is_silent(), "{counts:?}");
    let (counts, ended) = watch.during(|| txn.commit());
    assert_eq!((ended, counts.syncs), (Ok(()), 1), "{counts:?}");
    assert_eq!(db.buckets().unwrap(), ["a", "b", "c"]);
}

#[test]
fn many_that_are_open_take_nothing_of_a_tiny_cache() {
    let db = filled();
    let txns: Vec<OwnedTxn> = (0..100).map(|_| db.begin()).collect();
    for (at, txn) in (0..).zip(&txns) {
        let mut bucket = txn.bucket("b").unwrap();
        (0..4).for_each(|n| bucket.put(key(4 * at + n), "own").unwrap());
        bucket.del(key(4 * at)).unwrap();
    }
    assert_eq!(db.view("b", |txn| txn.get(key(7))).unwrap(), [7; 30]);
    for txn in txns {
        txn.commit().unwrap();
    }
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(300));
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn the_pages_that_it_needs_are_free_again_when_it_ends() {
    let db = filled();
    let rewrite = |round: u8| {
        db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [round; 30]))).unwrap();
    };
    let ends: [fn(OwnedTxn); 3] = [
        drop,
        |txn| txn.commit().unwrap(),
        |txn| {
            txn.bucket("b").unwrap().put(key(0), "late").unwrap();
            assert_eq!(txn.commit(), Err(Error::Conflict));
        },
    ];
    for end in ends {
        let txn = db.begin();
        assert_eq!(txn.bucket("b").unwrap().iter().next().unwrap().unwrap().1.len(), 30);
        (0..4).for_each(rewrite);
        let held = db.stats().unwrap().pending_pages;
        end(txn);
        (4..8).for_each(rewrite);
        let left = db.stats().unwrap().pending_pages;
        assert!(left + 20 < held, "{held} pages were held, then {left}");
    }
}

#[test]
fn a_store_that_cannot_write_is_read_and_says_why() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let write = |db: &BTree| {
        let txn = db.begin();
        assert_eq!(txn.bucket("b")?.get("k")?, b"v");
        txn.bucket("b")?.put("k", "new")?;
        txn.commit()
    };
    let reader = on(vfs.snapshot()).read_only().open(NAME).unwrap();
    assert_eq!(write(&reader), Err(Error::Invalid));
    assert_eq!(reader.transact(|txn| txn.bucket("b")?.put("k", "new")), Err(Error::Invalid));
    assert_eq!(reader.transact(|txn| txn.bucket("b")?.get("k")), Ok(b"v".to_vec()));
    watch.hook(|op| if op.is_sync() { Err(io::Error::from(ErrorKind::Other)) } else { Ok(()) });
    assert_eq!(write(&db), Err(Error::IoError));
    watch.unhook();
    assert_eq!(write(&db), Err(Error::Poisoned));
    assert_eq!(db.transact(|txn| txn.bucket("b")?.get("k")), Ok(b"v".to_vec()));
}

#[test]
fn an_error_that_was_met_fails_the_commit() {
    let damaged = || {
        let vfs = MemVfs::new();
        let db = Options::new().page_size(512).cache_bytes(0);
        let db = db.vfs(std::sync::Arc::new(vfs.clone())).open(NAME).unwrap();
        db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
        db.exec("c", |txn| txn.put("k", "v")).unwrap();
        let txn = db.begin();
        txn.bucket("c").unwrap().put("k", "new").unwrap();
        let file = vfs.open(NAME.as_ref(), OpenMode::ReadWrite).unwrap();
        let mut page = vec![0; 512];
        for at in (2 * 512..file.size().unwrap()).step_by(512) {
            file.read_at(&mut page, at).unwrap();
            page[100] ^= 1;
            file.write_at(&page, at).unwrap();
        }
        (db, txn)
    };
    let meets: [fn(&OwnedTxn); 5] = [
        |txn| assert_eq!(txn.bucket("b").unwrap().get(key(1)), Err(Error::Corruption)),
        |txn| {
            let error = txn.bucket("b").unwrap().get_reader(key(1)).err();
            assert_eq!(error, Some(Error::Corruption));
        },
        |txn| assert_eq!(txn.bucket("b").unwrap().put(key(1), ""), Err(Error::Corruption)),
        |txn| assert_eq!(txn.bucket("b").unwrap().iter().count(), 1),
        |txn| assert_eq!(txn.bucket("b").unwrap().delete_range("a"..), Err(Error::Corruption)),
    ];
    for meet in meets {
        let (db, txn) = damaged();
        let mut other = txn.bucket("c").unwrap();
        meet(&txn);
        assert_eq!(txn.bucket("c").err(), Some(Error::Corruption), "it keeps failing");
        for (name, call) in CALLS {
            assert_eq!(call(&txn, &mut other), Err(Error::Corruption), "{name}");
        }
        drop(other);
        assert_eq!(txn.commit(), Err(Error::Corruption));
        let (mut runs, before) = (0, db.current_seq());
        let swallowed = db.transact(|txn| {
            runs += 1;
            meet(txn);
            Ok(())
        });
        assert_eq!((swallowed, runs), (Err(Error::Corruption), 1));
        // In the run that has the writer's turn, too.
        let mut runs = 0;
        let swallowed = db.transact(|txn| {
            runs += 1;
            if runs <= 4 {
                return Err(Error::Conflict);
            }
            txn.bucket("new")?.put("k", "v")?;
            meet(txn);
            Ok(())
        });
        assert_eq!((swallowed, runs), (Err(Error::Corruption), 5));
        assert_eq!(db.current_seq(), before);
    }
}

#[test]
fn ranges_that_overlap_are_compared_once() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    let fill = |keys: std::ops::Range<u32>| {
        let put = |txn: &mut btree_store::Txn<'_>| {
            keys.clone().try_for_each(|at| txn.put(format!("{at:05}"), [7; 30]))
        };
        db.exec("b", put).unwrap();
    };
    fill(0..1000);
    let txn = db.begin();
    let mut queue = txn.bucket("b").unwrap();
    for _ in 0..900 {
        let (key, _) = queue.first().unwrap().unwrap();
        queue.del(key).unwrap();
    }
    drop(queue);
    // Behind all that was seen; branches split.
    fill(1000..3000);
    let (counts, ended) = watch.during(|| txn.commit());
    assert_eq!(ended, Ok(()));
    assert!(counts.reads < 36_000, "{} pages are read for 900 entries", counts.reads);
}

#[test]
fn a_storage_that_panics_in_a_call_fails_the_commit() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
    let txn = db.begin();
    txn.bucket("b").unwrap().put(key(1), "first").unwrap();
    txn.bucket("c").unwrap().put("k", "other").unwrap();
    watch.hook(|op| {
        assert!(!matches!(op, crate::common::watch::Op::Read { .. }), "the storage panics");
        Ok(())
    });
    std::thread::scope(|scope| {
        let late = scope.spawn(|| txn.bucket("b").unwrap().put(key(399), "second"));
        assert!(late.join().is_err());
    });
    watch.unhook();
    assert_eq!(txn.commit(), Err(Error::Internal));
    // In the run that has the writer's turn, too.
    let mut runs = 0;
    let ended = db.transact(|txn| {
        runs += 1;
        if runs <= 4 {
            return Err(Error::Conflict);
        }
        txn.bucket("b")?.put(key(1), "first")?;
        watch.hook(|op| {
            assert!(!matches!(op, crate::common::watch::Op::Read { .. }), "the storage panics");
            Ok(())
        });
        let panics = AssertUnwindSafe(|| txn.bucket("b").unwrap().put(key(399), "second"));
        assert!(catch_unwind(panics).is_err());
        watch.unhook();
        Ok(())
    });
    assert_eq!((ended, runs), (Err(Error::Internal), 5));
    assert_eq!(db.view("b", |txn| txn.get(key(1))).unwrap(), [7; 30]);
    assert_eq!(db.buckets().unwrap(), ["b"]);
}

type Call = fn(&OwnedTxn, &mut TxnBucket<'_>) -> Result<()>;

/// None of them answers where the transaction has failed.
const CALLS: [(&str, Call); 12] = [
    ("put", |_, bucket| bucket.put(key(5), "third")),
    ("insert", |_, bucket| bucket.insert("new", "third")),
    ("del", |_, bucket| bucket.del(key(1))),
    ("get", |_, bucket| bucket.get(key(2)).map(drop)),
    ("get_reader", |_, bucket| bucket.get_reader(key(2)).map(drop)),
    ("contains", |_, bucket| bucket.contains(key(2)).map(drop)),
    ("delete_range", |_, bucket| bucket.delete_range::<[u8]>(..).map(drop)),
    ("bulk_load", |_, bucket| bucket.bulk_load([("z", "z")]).map(drop)),
    ("range", |_, bucket| {
        bucket.range::<[u8]>(..).next().unwrap_or(Ok(Default::default())).map(drop)
    }),
    ("contains_bucket", |txn, _| txn.contains_bucket("b").map(drop)),
    ("buckets", |txn, _| txn.buckets().map(drop)),
    ("del_bucket", |txn, _| txn.del_bucket("b")),
];

/// What the transaction had put before is gone with the call that panicked: it must not be taken
/// for removed.
#[test]
fn a_call_behind_one_that_panicked_fails_and_so_does_the_commit() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
    for (name, call) in CALLS {
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        bucket.put(key(1), "first").unwrap();
        watch.hook(|op| {
            assert!(!matches!(op, crate::common::watch::Op::Read { .. }), "the storage panics");
            Ok(())
        });
        let panics = AssertUnwindSafe(|| bucket.put(key(399), "second"));
        assert!(catch_unwind(panics).is_err());
        watch.unhook();
        assert_eq!(call(&txn, &mut bucket), Err(Error::Internal), "{name}");
        drop(bucket);
        assert_eq!(txn.commit(), Err(Error::Internal), "{name}");
        assert_eq!(db.view("b", |txn| txn.get(key(1))), Ok(vec![7; 30]), "{name}");
    }
}

#[test]
fn bounds_may_ask_the_transaction() {
    struct Asks<'t>(&'t OwnedTxn);
    impl AsRef<[u8]> for Asks<'_> {
        fn as_ref(&self) -> &[u8] {
            assert_eq!(self.0.bucket("b").unwrap().len(), 400);
            b"k399"
        }
    }
    let db = filled();
    let txn = db.begin();
    assert_eq!(txn.bucket("b").unwrap().delete_range(&Asks(&txn)..), Ok(1));
}

#[test]
fn a_range_whose_step_panicked_is_not_at_its_end() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).cache_bytes(0).open(NAME).unwrap();
    db.exec("b", |txn| (0..400).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
    let txn = db.begin();
    let mut range = txn.bucket("b").unwrap().iter();
    watch.hook(|op| {
        assert!(!matches!(op, crate::common::watch::Op::Read { .. }), "the storage panics");
        Ok(())
    });
    let step = std::panic::AssertUnwindSafe(|| drop(range.next()));
    assert!(std::panic::catch_unwind(step).is_err());
    watch.unhook();
    assert_eq!(range.next(), Some(Err(Error::Internal)));
    drop(range);
    assert_eq!(txn.bucket("c").err(), Some(Error::Internal), "it sticks");
    assert_eq!(txn.commit(), Err(Error::Internal));
}

/// A bucket that a transaction made, and dropped again, was made by somebody else meanwhile: that
/// is there still when the transaction commits, which has dropped it.
#[test]
fn a_bucket_that_is_made_and_dropped_conflicts_with_one_that_others_make() {
    type Makes = fn(&OwnedTxn) -> Result<()>;
    let makes: [Makes; 2] = [|txn| txn.bucket("b")?.put("k", "mine"), |txn| txn.create_bucket("b")];
    for make in makes {
        let db = on(MemVfs::new()).open(NAME).unwrap();
        let txn = db.begin();
        make(&txn).unwrap();
        txn.del_bucket("b").unwrap();
        db.exec("b", |txn| txn.put("k", "theirs")).unwrap();
        assert_eq!(txn.commit(), Err(Error::Conflict));
        db.del_bucket("b").unwrap();
        // With nobody ahead it leaves all as it was.
        let (txn, seq) = (db.begin(), db.current_seq());
        make(&txn).unwrap();
        txn.del_bucket("b").unwrap();
        assert_eq!(txn.commit(), Ok(()));
        assert_eq!((db.buckets().unwrap().len(), db.current_seq()), (0, seq));
    }
}
