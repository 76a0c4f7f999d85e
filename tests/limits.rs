//! The sizes of keys, names, values and trees: what fits works, what does not is refused by name,
//! and the transaction goes on.

mod common;

#[path = "limits/longest.rs"]
mod longest;
#[path = "limits/memory.rs"]
mod memory;

use btree_store::format::{HEAD_LEN, LEAF_CELL_HEADER, OFFSET_LEN, key_len_max, leaf_cell_max};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, ErrorDetail, Options, Result};
use common::random::Random;
use common::walk::{Owner, Walk};
use common::{NAME, dump, on, open};
use std::collections::BTreeMap;

const PAGE_SIZES: [u32; 7] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768];

fn store(page_size: u32) -> (MemVfs, BTree) {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(page_size).open(NAME).unwrap();
    (vfs, db)
}

/// Asserts that a call was refused because something is too long, and which limit it names.
#[track_caller]
fn assert_too_large<T: std::fmt::Debug>(result: Result<T>, what: &str, limit: usize, found: usize) {
    let error = result.unwrap_err();
    assert_eq!(error, Error::TooLarge);
    let (limit, found) = (limit as u64, found as u64);
    match error.detail() {
        Some(ErrorDetail::Limit { what: named, limit: named_limit, found: named_found }) => {
            assert_eq!((named, named_limit, named_found), (what, limit, found));
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error, Error::Invalid);
    assert!(matches!(error.detail(), Some(ErrorDetail::Message(_))), "{:?}", error.detail());
}

#[test]
fn keys_of_1024_bytes_fit_into_pages_of_4096() {
    assert_eq!(key_len_max(4096), 1024);
    let (vfs, db) = store(4096);
    let key = |len: usize| vec![b'k'; len];
    db.exec("b", |txn| (1..=1024).try_for_each(|len| txn.put(key(len), len.to_le_bytes())))
        .unwrap();
    drop(db);
    let db = open(&vfs).unwrap();
    for len in 1..=1024_usize {
        let value = db.view("b", |txn| txn.get(key(len))).unwrap();
        assert_eq!(value, len.to_le_bytes());
    }
    let lens: Vec<usize> = dump(&db, "b").unwrap().iter().map(|(key, _)| key.len()).collect();
    assert!(lens.into_iter().eq(1..=1024), "the shorter of two keys comes first");
    db.exec("b", |txn| (1..=1024).rev().try_for_each(|len| txn.del(key(len)))).unwrap();
    assert_eq!(dump(&db, "b").unwrap(), []);
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn an_empty_or_too_long_key_is_refused_and_the_transaction_goes_on() {
    for page_size in PAGE_SIZES {
        let (_, db) = store(page_size);
        let max = key_len_max(page_size as usize);
        let long = vec![b'k'; max + 1];
        db.exec("b", |txn| {
            txn.put("before", "v")?;
            assert_invalid(txn.put("", "v"));
            assert_invalid(txn.get(""));
            assert_invalid(txn.del(""));
            assert_invalid(txn.update("", "v"));
            assert_invalid(txn.insert("", "v"));
            assert_invalid(txn.contains(""));
            for len in [max + 1, max + 2, 70_000] {
                let long = vec![b'k'; len];
                assert_too_large(txn.put(&long, vec![0; 1 << 20]), "key", max, len);
                assert_too_large(txn.get(&long), "key", max, len);
                assert_too_large(txn.del(&long), "key", max, len);
                assert_too_large(txn.update(&long, "v"), "key", max, len);
                assert_too_large(txn.insert(&long, "v"), "key", max, len);
                assert_too_large(txn.contains(&long), "key", max, len);
            }
            txn.put(&long[..max], "the longest")?;
            txn.put("after", "v")
        })
        .unwrap();
        let stats = db.stats().unwrap();
        assert!(stats.page_count < 64 && db.verify().unwrap().is_sound(), "{stats:?}");
        let keys: Vec<Vec<u8>> = dump(&db, "b").unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [b"after".to_vec(), b"before".to_vec(), long[..max].to_vec()]);
        db.view("b", |txn| {
            assert_invalid(txn.get(""));
            assert_too_large(txn.get(&long), "key", max, max + 1);
            assert_eq!(txn.get("before")?, b"v");
            // A place to begin a scan at is no key: any bytes will do.
            assert!(!txn.iter_from(&long)?.next_ref(&mut vec![], &mut vec![]));
            assert!(txn.iter_from("")?.next_ref(&mut vec![], &mut vec![]));
            assert_eq!(txn.range(&[][..]..=&long[..]).count(), 3);
            assert_eq!((txn.range(&long[..]..).count(), txn.prefix(&long).count()), (0, 0));
            Ok(())
        })
        .unwrap();
        let removed = db.exec("b", |txn| txn.delete_range(&b""[..]..&long[..])).unwrap();
        assert_eq!(removed, 3);
    }
}

#[test]
fn an_empty_or_too_long_bucket_name_is_refused_before_the_closure_runs() {
    for page_size in PAGE_SIZES {
        let (vfs, db) = store(page_size);
        let max = key_len_max(page_size as usize);
        let long = "n".repeat(max + 1);
        let before = (vfs.read_file(NAME), db.current_seq());
        let never = || -> Result<()> { panic!("the closure runs") };
        assert_invalid(db.exec("", |_| never()));
        assert_invalid(db.view("", |_| never()));
        assert_invalid(db.del_bucket(""));
        assert_invalid(db.exec_multi(|multi| multi.exec("", |_| never())));
        assert_too_large(db.exec(&long, |_| never()), "bucket name", max, max + 1);
        assert_too_large(db.view(&long, |_| never()), "bucket name", max, max + 1);
        assert_too_large(db.del_bucket(&long), "bucket name", max, max + 1);
        let multi = db.exec_multi(|multi| multi.exec(&long, |_| never()));
        assert_too_large(multi, "bucket name", max, max + 1);
        assert!(before == (vfs.read_file(NAME), db.current_seq()), "something was written");
        // Within a transaction over several buckets, the others go on.
        db.exec_multi(|multi| {
            multi.exec("one", |txn| txn.put("k", "v"))?;
            assert_too_large(multi.exec(&long, |_| never()), "bucket name", max, max + 1);
            assert_invalid(multi.del_bucket(""));
            multi.exec(&long[..max], |txn| txn.put("k", "v"))?;
            multi.exec("x", |txn| txn.put("k", "v"))
        })
        .unwrap();
        assert_eq!(db.buckets().unwrap(), [&long[..max], "one", "x"]);
        drop(db);
        let db = open(&vfs).unwrap();
        assert_eq!(db.view(&long[..max], |txn| txn.get("k")).unwrap(), b"v");
        db.del_bucket(&long[..max]).unwrap();
        assert_eq!(db.buckets().unwrap(), ["one", "x"]);
    }
}

/// The longest value that lies in the leaf, with a key of this length.
fn inline_max(page_size: usize, key: usize) -> usize {
    let rest = key.saturating_sub(HEAD_LEN);
    leaf_cell_max(page_size) - HEAD_LEN - OFFSET_LEN - LEAF_CELL_HEADER - rest
}

fn runs(vfs: &MemVfs) -> usize {
    let bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    walk.owners(walk.newest()).values().filter(|owner| **owner == Owner::Run).count()
}

#[test]
fn values_around_every_limit_come_back_as_they_were() {
    for page_size in PAGE_SIZES {
        let (vfs, db) = store(page_size);
        let size = page_size as usize;
        let inline = inline_max(size, 3);
        let lens =
            [0, 1, inline - 1, inline, inline + 1, size - 1, size, size + 1, 2 * size, 70_000];
        let mut random = Random::new(u64::from(page_size));
        let mut twin = BTreeMap::new();
        for (at, &len) in lens.iter().enumerate() {
            let value = random.bytes(len);
            let key = format!("k{at:02}").into_bytes();
            let before = runs(&vfs);
            db.exec("b", |txn| txn.put(&key, &value)).unwrap();
            let pages = if len > inline { len.div_ceil(size) } else { 0 };
            assert_eq!(runs(&vfs) - before, pages, "pages of {page_size}: {len} bytes");
            twin.insert(key, value);
        }
        let check = |db: &BTree, twin: &BTreeMap<Vec<u8>, Vec<u8>>| {
            let wanted: Vec<_> = twin.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            assert!(dump(db, "b").unwrap() == wanted, "pages of {page_size}");
            for (key, value) in twin {
                assert!(db.view("b", |txn| txn.get(key)).as_ref() == Ok(value));
            }
        };
        check(&db, &twin);
        // Each length takes the place of each other one.
        let keys: Vec<Vec<u8>> = twin.keys().cloned().collect();
        for shift in 1..lens.len() {
            for (at, key) in keys.iter().enumerate() {
                let value = random.bytes(lens[(at + shift) % lens.len()]);
                db.exec("b", |txn| txn.put(key, &value)).unwrap();
                twin.insert(key.clone(), value);
            }
        }
        check(&db, &twin);
        drop(db);
        let db = open(&vfs).unwrap();
        check(&db, &twin);
        db.exec("b", |txn| txn.delete_range::<[u8]>(..).map(drop)).unwrap();
        assert_eq!(runs(&vfs), 0);
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn values_of_a_megabyte_and_of_64_come_back_as_they_were() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    for len in [1 << 20, 64 << 20] {
        let mut value = vec![0; len];
        for (at, word) in (0_u64..).zip(value.chunks_exact_mut(8)) {
            word.copy_from_slice(&at.to_le_bytes());
        }
        db.exec("b", |txn| {
            txn.put("large", &value)?;
            assert!(txn.get("large")? == value, "read by the transaction that wrote it");
            Ok(())
        })
        .unwrap();
        assert!(db.view("b", |txn| txn.get("large")).unwrap() == value);
        let mut iter = db.view("b", |txn| Ok(txn.iter())).unwrap();
        let (mut key, mut found) = (Vec::new(), Vec::new());
        assert!(iter.next_ref(&mut key, &mut found) && found == value);
    }
    // The place of the first is used again by what comes later.
    let full = common::file_len(&vfs);
    db.exec("b", |txn| txn.put("other", vec![1; 1 << 19])).unwrap();
    assert_eq!(common::file_len(&vfs), full);
    drop(db);
    let db = open(&vfs).unwrap();
    assert_eq!(db.view("b", |txn| txn.get("large")).unwrap().len(), 64 << 20);
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn five_thousand_buckets_are_kept_apart() {
    for page_size in [512, 4096] {
        let (vfs, db) = store(page_size);
        let name = |i: usize| format!("bucket {i:05}");
        for first in (0..5_000).step_by(500) {
            db.exec_multi(|multi| {
                (first..first + 500)
                    .try_for_each(|i| multi.exec(name(i), |txn| txn.put("k", i.to_le_bytes())))
            })
            .unwrap();
        }
        // One at a time, too.
        for i in (0..5_000).step_by(50) {
            db.exec(name(i), |txn| txn.put("more", "v")).unwrap();
        }
        for i in (0..5_000).filter(|i| i % 5 == 1) {
            db.del_bucket(name(i)).unwrap();
        }
        drop(db);
        let db = open(&vfs).unwrap();
        let there = |i: &usize| i % 5 != 1;
        let names: Vec<String> = (0..5_000).filter(there).map(name).collect();
        assert_eq!(db.buckets().unwrap(), names);
        assert_eq!(db.stats().unwrap().buckets, 4_000);
        for i in 0..5_000_usize {
            let found = db.view(name(i), |txn| txn.get("k"));
            let wanted =
                if there(&i) { Ok(i.to_le_bytes().to_vec()) } else { Err(Error::NotFound) };
            assert_eq!(found, wanted, "{i}");
        }
        assert!(db.verify().unwrap().is_sound());
        (0..5_000).filter(there).for_each(|i| db.del_bucket(name(i)).unwrap());
        assert_eq!(db.buckets(), Ok(Vec::<String>::new()));
        assert!(db.verify().unwrap().is_sound());
    }
}

/// Keys that share almost all of their bytes with one neighbour, and few with the other: the
/// separators are as long as keys, and branches have few children.
fn awkward(i: usize, len: usize) -> Vec<u8> {
    let group = (i / 2).wrapping_mul(0x9E37_79B9) % 100_003;
    let mut key = format!("{group:06}").into_bytes();
    key.resize(len - 1, b'x');
    key.push(if i.is_multiple_of(2) { b'a' } else { b'b' });
    key
}

#[test]
fn deep_trees_are_built_searched_and_taken_down() {
    let (vfs, db) = store(512);
    let len = key_len_max(512);
    let mut numbers: Vec<usize> = (0..20_000).collect();
    Random::new(4).shuffle(&mut numbers);
    for part in numbers.chunks(5_000) {
        let put = |i: &usize| (awkward(*i, len), i.to_le_bytes());
        db.exec("b", |txn| part.iter().map(put).try_for_each(|(k, v)| txn.put(k, v))).unwrap();
    }
    let height = {
        let bytes = vfs.read_file(NAME).unwrap();
        let walk = Walk::new(&bytes);
        walk.height(walk.newest())
    };
    println!("height {height}");
    assert!(height >= 6, "{height} levels only");
    drop(db);
    let db = open(&vfs).unwrap();
    for i in 0..20_000_usize {
        assert_eq!(db.view("b", |txn| txn.get(awkward(i, len))).unwrap(), i.to_le_bytes());
    }
    let keys: Vec<Vec<u8>> = dump(&db, "b").unwrap().into_iter().map(|(key, _)| key).collect();
    assert!(keys.is_sorted() && keys.len() == 20_000);
    assert!(db.verify().unwrap().is_sound());
    let (first, rest) = numbers.split_at(10_000);
    for part in first.chunks(2_500) {
        db.exec("b", |txn| part.iter().try_for_each(|i| txn.del(awkward(*i, len)))).unwrap();
        assert!(db.verify().unwrap().is_sound());
    }
    for &i in rest.iter().take(500) {
        assert_eq!(db.view("b", |txn| txn.get(awkward(i, len))).unwrap(), i.to_le_bytes());
    }
    db.exec("b", |txn| rest.iter().try_for_each(|i| txn.del(awkward(*i, len)))).unwrap();
    assert_eq!(db.view("b", |txn| Ok((txn.len(), txn.first()?))), Ok((0, None)));
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_value_of_one_page_more_than_a_run_needs_grows_the_file_as_little_as_it_can() {
    let (vfs, db) = store(4096);
    db.exec("b", |txn| txn.put("k", vec![1; 10 << 20])).unwrap();
    let needed = (10 << 20) + 4 * 4096;
    let len = common::file_len(&vfs);
    assert!(len >= needed - 4096 && len < needed + needed / 16, "{len} bytes");
}

#[test]
fn a_cache_larger_than_all_memory_is_a_smaller_one() {
    let db = Options::new().cache_bytes(u64::MAX).open_in_memory().unwrap();
    db.exec("b", |txn| (0..2_000_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 1000])))
        .unwrap();
    assert_eq!(db.view("b", |txn| txn.get(999_u32.to_be_bytes())).unwrap(), [7; 1000]);
    let stats = db.stats().unwrap();
    assert!(stats.cached_pages > 500, "{stats:?}");
}

#[test]
fn ranges_that_end_before_they_begin_are_empty() {
    let db = Options::new().open_in_memory().unwrap();
    db.exec("b", |txn| {
        (b'a'..=b'e').try_for_each(|key| txn.put([key], "v"))?;
        let removed = txn.delete_range(&b"d"[..]..&b"b"[..])?;
        assert_eq!((removed, txn.len()), (0, 5));
        assert_eq!(txn.delete_range(&b"b"[..]..&b"b"[..])?, 0);
        assert_eq!(txn.delete_range(&b"b"[..]..=&b"c"[..])?, 2);
        assert_eq!(txn.delete_range::<[u8]>(..)?, 3);
        assert_eq!(txn.delete_range::<[u8]>(..)?, 0);
        Ok(())
    })
    .unwrap();
}

/// Of a catalog in the meta page, and of one that is a tree.
#[test]
fn a_bucket_is_there_if_the_newest_durable_state_or_the_snapshot_has_it() {
    let (_, db) = store(512);
    for count in [1, 30] {
        let name = |at: usize| format!("{at:0>60}");
        let before = db.snapshot();
        (0..count).for_each(|at| db.exec(name(at), |_| Ok(())).unwrap());
        let all = db.snapshot();
        db.del_bucket(name(0)).unwrap();
        for at in 0..=count {
            assert_eq!(before.contains_bucket(name(at)), Ok(false));
            assert_eq!(all.contains_bucket(name(at)), Ok(at < count));
            assert_eq!(db.contains_bucket(name(at)), Ok((1..count).contains(&at)));
        }
        (1..count).for_each(|at| db.del_bucket(name(at)).unwrap());
    }
    let max = key_len_max(512);
    assert_invalid(db.contains_bucket(""));
    assert_too_large(db.contains_bucket("n".repeat(max + 1)), "bucket name", max, max + 1);
    assert_invalid(db.snapshot().contains_bucket(""));
}

/// Of a catalog in the meta page, and of one that is a tree.
#[test]
fn a_transaction_over_buckets_finds_those_it_made_and_makes_none_by_asking() {
    let (_, db) = store(512);
    let name = |at: usize| format!("{at:0>60}");
    for count in [1, 30] {
        (0..count).for_each(|at| db.exec(name(at), |_| Ok(())).unwrap());
        let before = db.current_seq();
        let asked = |at| db.exec_multi(|multi| multi.contains_bucket(name(at)));
        (0..=count).for_each(|at| assert_eq!(asked(at), Ok(at < count), "{at} of {count}"));
        assert_eq!((db.current_seq(), db.buckets().unwrap().len()), (before, count));
        let undone = db.exec_multi(|multi| {
            multi.del_bucket(name(0))?;
            multi.exec(name(count), |_| Ok(()))?;
            let failed = multi.exec(name(count + 1), |txn| txn.get("missing"));
            assert_eq!(failed, Err(Error::NotFound));
            for at in 0..count + 2 {
                let there = multi.contains_bucket(name(at))?;
                assert_eq!(there, (1..=count).contains(&at), "{at} of {count}");
            }
            assert_eq!(multi.buckets()?, (1..=count).map(name).collect::<Vec<_>>());
            assert_invalid(multi.contains_bucket(""));
            Err::<(), _>(Error::NotFound)
        });
        assert_eq!(undone, Err(Error::NotFound));
        assert_eq!((db.current_seq(), db.buckets().unwrap().len()), (before, count));
    }
}
