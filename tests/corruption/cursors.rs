//! Scans that meet damage: they end, say so, and the transaction around them fails.

use crate::common::walk::{Owner, Walk};
use crate::common::watch::{Op, Watch};
use crate::common::{self, NAME, holding, on, open};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, ErrorDetail, Invariant, Iter, ReadBucket, ReadRange, Result, Txn};

const KEYS: usize = 2_000;

fn key(i: usize) -> String {
    format!("key_{i:05}")
}

/// A file of several levels with one damaged leaf in the middle, and that leaf's page.
fn with_damaged_leaf() -> (MemVfs, u32) {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| (0..KEYS).try_for_each(|i| txn.put(key(i), [7; 20]))).unwrap();
    db.exec("whole", |txn| txn.put("k", "v")).unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    let owners = walk.owners(walk.newest());
    let leaves: Vec<u32> =
        owners.iter().filter(|(_, o)| **o == Owner::Tree(0)).map(|(page, _)| *page).collect();
    let leaf = leaves[leaves.len() / 2];
    bytes[leaf as usize * 512 + 300] ^= 4;
    (holding(&bytes), leaf)
}

/// Scans until the end, then asks again: the cursor stays where it failed.
fn scan_to_the_end(iter: &mut Iter, step: super::StepFn, leaf: u32) -> usize {
    let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
    while step(iter, &mut key, &mut value) {
        count += 1;
    }
    for _ in 0..3 {
        assert!(!step(iter, &mut key, &mut value), "the cursor goes on after an error");
        assert!(!iter.next_ref(&mut key, &mut value));
        assert!(!iter.prev_ref(&mut key, &mut value));
        assert_eq!(iter.seek("key"), Err(Error::Corruption));
        let error = iter.error().expect("the cursor tells");
        let named = (Some(leaf), Invariant::ChecksumCoversPage.name());
        assert_eq!(common::corruption(error), named);
    }
    count
}

#[test]
fn a_scan_over_a_damaged_leaf_ends_with_an_error_that_the_view_returns() {
    let (vfs, leaf) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    for (name, step) in [("next", Iter::next_ref as super::StepFn), ("prev", Iter::prev_ref)] {
        let mut count = 0;
        let result = db.view("b", |txn| {
            count = scan_to_the_end(&mut txn.iter(), step, leaf);
            Ok("the closure is content")
        });
        assert_eq!(result, Err(Error::Corruption), "{name}");
        assert_eq!(common::corruption(Error::Corruption).0, Some(leaf), "{name}");
        assert!(count > 100 && count < KEYS, "{name}: {count} entries before the damage");
    }
    assert_eq!(db.view("whole", |txn| txn.get("k")).unwrap(), b"v");
}

#[test]
fn a_scan_over_a_damaged_leaf_fails_the_write_transaction_too() {
    let (vfs, leaf) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    let seq = db.current_seq();
    let result = db.exec("b", |txn| {
        txn.put(key(0), "new")?;
        scan_to_the_end(&mut txn.iter(), Iter::next_ref, leaf);
        assert_eq!(txn.put(key(0), "newer"), Err(Error::Corruption), "the transaction is done for");
        assert_eq!(txn.get(key(0)), Err(Error::Corruption));
        Ok(())
    });
    assert_eq!(result, Err(Error::Corruption));
    let multi = db.exec_multi(|multi| {
        let inner = multi.exec("b", |txn| {
            txn.put(key(0), "new")?;
            scan_to_the_end(&mut txn.iter(), Iter::prev_ref, leaf);
            Ok(())
        });
        assert_eq!(inner, Err(Error::Corruption));
        inner
    });
    assert_eq!(multi, Err(Error::Corruption));
    assert_eq!(db.view("b", |txn| txn.get(key(0))).unwrap(), [7; 20]);
    assert_eq!(db.current_seq(), seq);
    // What does not touch the damage works.
    db.exec("b", |txn| txn.put(key(0), "new")).unwrap();
    db.exec("whole", |txn| txn.put("k", "w")).unwrap();
}

/// A copy made with a cursor that outlives the closure that made it, whatever became of that.
#[test]
fn a_cursor_that_meets_damage_later_fails_the_transaction_of_which_its_closure_was_a_part() {
    let (vfs, leaf) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    let broken = (0..KEYS).find(|&i| db.view("b", |txn| txn.get(key(i))).is_err()).unwrap();
    for ends_with in [Ok(()), Err(Error::Conflict), Err(Error::Corruption)] {
        let mut goes_on = None;
        let multi = db.exec_multi(|multi| {
            let mut kept = None;
            let made = multi.exec("b", |txn| {
                kept = Some(txn.iter());
                match ends_with {
                    // It meets the damage itself as well.
                    Err(Error::Corruption) => txn.get(key(broken)).map(drop),
                    as_said => as_said,
                }
            });
            assert_eq!(made, ends_with);
            multi.exec("copy", |txn| {
                scan_to_the_end(&mut kept.unwrap(), Iter::next_ref, leaf);
                txn.put("all", "copied")
            })?;
            goes_on = Some((multi.exec("whole", |_| Ok(())), multi.del_bucket("whole")));
            Ok(())
        });
        assert_eq!(multi, Err(Error::Corruption));
        assert_eq!(goes_on, Some((Err(Error::Corruption), Err(Error::Corruption))));
        assert_eq!(db.buckets().unwrap(), ["b", "whole"]);
    }
    // What a closure met itself is up to whoever ran it.
    let multi = db.exec_multi(|multi| {
        let inner = multi.exec("b", |txn| {
            scan_to_the_end(&mut txn.iter(), Iter::next_ref, leaf);
            Ok(())
        });
        assert_eq!(inner, Err(Error::Corruption));
        multi.exec("whole", |txn| txn.put("k", "w"))
    });
    assert_eq!(multi, Ok(()));
}

#[test]
fn a_bucket_that_could_not_be_removed_fails_the_transaction_that_goes_on() {
    let (vfs, _) = with_damaged_leaf();
    let watch = Watch::new(vfs);
    let db = on(watch.clone()).cache_bytes(0).open(NAME).unwrap();
    let multi = db.exec_multi(|multi| {
        multi.exec("whole", |txn| txn.put("k", "w"))?;
        watch.hook(|op| match op {
            Op::Read { .. } => Err(std::io::Error::other("it cannot be read")),
            _ => Ok(()),
        });
        assert_eq!(multi.del_bucket("b"), Err(Error::IoError));
        watch.unhook();
        assert_eq!(multi.exec("whole", |_| Ok(())), Err(Error::IoError));
        assert_eq!(multi.del_bucket("whole"), Err(Error::IoError));
        assert_eq!(multi.contains_bucket("whole"), Err(Error::IoError));
        assert_eq!(multi.buckets(), Err(Error::IoError));
        Ok(())
    });
    assert_eq!(multi, Err(Error::IoError));
    assert!(common::story(Error::IoError).contains("it cannot be read"));
    assert_eq!(db.view("whole", |txn| txn.get("k")).unwrap(), b"v");
    // A name that is not there is an answer.
    let multi = db.exec_multi(|multi| {
        assert_eq!(multi.del_bucket("missing"), Err(Error::NotFound));
        assert_eq!(multi.del_bucket(""), Err(Error::Invalid));
        multi.exec("whole", |txn| txn.put("k", "w"))
    });
    assert_eq!(multi, Ok(()));
}

#[test]
fn a_cursor_over_a_bucket_that_may_be_half_changed_yields_nothing() {
    let (vfs, _) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    let broken = (0..KEYS).find(|&i| db.view("b", |txn| txn.get(key(i))).is_err()).unwrap();
    let result = db.exec("b", |txn| {
        assert_eq!(txn.put(key(broken), "new"), Err(Error::Corruption));
        assert_eq!(txn.iter().next_entry(), Err(Error::Corruption));
        assert_eq!(txn.iter_from(key(0)).map(drop), Err(Error::Corruption));
        assert_eq!(txn.prefix("key").next(), Some(Err(Error::Corruption)));
        assert_eq!(txn.range::<str>(..).next_back(), Some(Err(Error::Corruption)));
        Ok(())
    });
    assert_eq!(result, Err(Error::Corruption));
}

type Call = fn(&mut Txn<'_>) -> Result<()>;

/// None of them would meet the damage.
const CALLS: [(&str, Call); 16] = [
    ("put", |txn| txn.put(key(0), "new")),
    ("insert", |txn| txn.insert("new", "new")),
    ("update", |txn| txn.update(key(0), "new").map(drop)),
    ("compare_and_swap", |txn| txn.compare_and_swap("new", None, Some(b"new")).map(drop)),
    ("del", |txn| txn.del(key(0))),
    ("remove", |txn| txn.remove(key(0)).map(drop)),
    ("delete_range", |txn| txn.delete_range(&key(0)..&key(1)).map(drop)),
    ("put_from", |txn| txn.put_from(key(0), 3, &mut "new".as_bytes())),
    ("bulk_load", |txn| txn.bulk_load([("z", "new")]).map(drop)),
    ("get", |txn| txn.get(key(0)).map(drop)),
    ("get_reader", |txn| txn.get_reader(key(0)).map(drop)),
    ("contains", |txn| txn.contains(key(0)).map(drop)),
    ("first", |txn| txn.first().map(drop)),
    ("last", |txn| txn.last().map(drop)),
    ("iter_from", |txn| txn.iter_from(key(0)).map(drop)),
    ("range", |txn| txn.range::<str>(..).next_entry().map(drop)),
];

#[test]
fn each_call_of_a_write_transaction_that_met_damage_fails() {
    let (vfs, _) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    let broken = (0..KEYS).find(|&i| db.view("b", |txn| txn.get(key(i))).is_err()).unwrap();
    for (name, call) in CALLS {
        let result = db.exec("b", |txn| {
            assert_eq!(txn.get(key(broken)), Err(Error::Corruption));
            assert_eq!(call(txn), Err(Error::Corruption), "{name}");
            Ok(())
        });
        assert_eq!(result, Err(Error::Corruption), "{name}");
    }
    for (name, call) in CALLS {
        assert_eq!(db.exec("b", call), Ok(()), "{name}: not because of the damage");
    }
}

type Ask<B> = fn(&B) -> Result<()>;

const ASKS: usize = 11;

/// Each way to read an entry.
fn asks<B: ReadBucket>() -> [(&'static str, Ask<B>); ASKS] {
    [
        ("get", |bucket| bucket.get(key(0)).map(drop)),
        ("find", |bucket| bucket.find(key(0)).map(drop)),
        ("get_ref", |bucket| bucket.get_ref(key(0)).map(drop)),
        ("get_reader", |bucket| bucket.get_reader(key(0)).map(drop)),
        ("contains", |bucket| bucket.contains(key(0)).map(drop)),
        ("first", |bucket| bucket.first().map(drop)),
        ("last", |bucket| bucket.last().map(drop)),
        ("iter", |bucket| bucket.iter().next_key().map(drop)),
        ("range", |bucket| bucket.range::<str>(..).prev_entry().map(drop)),
        ("prefix", |bucket| bucket.prefix("key").next().expect("an entry").map(drop)),
        ("back", |bucket| bucket.iter().next_back().expect("an entry").map(drop)),
    ]
}

/// Whoever takes an answer that was never read for a missing key, say, does not commit.
#[test]
fn each_call_that_meets_damage_first_fails_its_transaction() {
    let (vfs, _) = with_damaged_leaf();
    let mut bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    for (page, owner) in walk.owners(walk.newest()) {
        if owner == Owner::Tree(0) {
            bytes[page as usize * 512 + 300] |= 0xf0;
            bytes[page as usize * 512 + 301] ^= 1;
        }
    }
    let db = open(&holding(&bytes)).unwrap();
    let end = Err(Error::Corruption);
    for at in 0..ASKS {
        let ended = db.view("b", |txn| {
            let (name, ask) = asks()[at];
            assert_eq!(ask(txn), end, "{name}");
            Ok(())
        });
        assert_eq!(ended, end, "number {at} of a view");
        let put = |txn: &mut Txn<'_>| {
            let (name, ask) = asks()[at];
            assert_eq!(ask(txn), end, "{name}");
            Ok(())
        };
        assert_eq!(db.exec("b", put), end, "number {at} of exec");
        let whole = db.exec_multi(|multi| {
            assert_eq!(multi.exec("b", put), end, "number {at} of a part");
            multi.exec("c", |txn| txn.put("k", "v"))
        });
        assert_eq!(whole, Ok(()), "the part was undone, and the whole went on");
        let txn = db.begin();
        {
            let (name, ask) = asks()[at];
            assert_eq!(ask(&txn.bucket("b").unwrap()), end, "{name}");
        }
        assert_eq!(txn.bucket("c").map(drop), end, "number {at} of an owned one");
        assert_eq!(txn.commit(), end, "number {at} of an owned one");
    }
    let seen = db.view("b", |txn| {
        assert_eq!(txn.get_many(&[key(0)]).map(drop), end);
        Ok(())
    });
    assert_eq!(seen, end, "get_many");
}

/// What a get that met damage leaves behind.
#[test]
fn a_view_that_met_damage_fails_whatever_its_closure_returns() {
    let (vfs, _) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    let broken = (0..KEYS).find(|&i| db.view("b", |txn| txn.get(key(i))).is_err()).unwrap();
    let result = db.view("b", |txn| {
        assert_eq!(txn.get(key(broken)), Err(Error::Corruption));
        assert_eq!(txn.get(key(0)), Err(Error::Corruption), "errors stick");
        assert_eq!(txn.contains(key(0)), Err(Error::Corruption));
        assert_eq!(txn.first(), Err(Error::Corruption));
        assert_eq!(txn.last(), Err(Error::Corruption));
        assert_eq!(txn.get_ref(key(0)).map(drop), Err(Error::Corruption));
        assert_eq!(txn.get_many(&[key(0)]).map(drop), Err(Error::Corruption));
        assert_eq!(txn.get_reader(key(0)).map(drop), Err(Error::Corruption));
        assert_eq!(txn.iter().next_entry(), Err(Error::Corruption));
        assert_eq!(txn.iter_from(key(0)).map(drop), Err(Error::Corruption));
        assert_eq!(txn.prefix("key").next(), Some(Err(Error::Corruption)));
        assert_eq!(txn.range::<str>(..).next_back(), Some(Err(Error::Corruption)));
        Ok(())
    });
    assert_eq!(result, Err(Error::Corruption));
    // The closure's own error goes first.
    let result: Result<()> = db.view("b", |txn| {
        assert!(txn.get(key(broken)).is_err());
        Err(Error::Conflict)
    });
    assert_eq!(result, Err(Error::Conflict));
    // Each transaction begins anew.
    assert_eq!(db.view("b", |txn| txn.get(key(0))).unwrap(), [7; 20]);
}

#[test]
fn a_cursor_that_was_placed_behind_the_damage_reads_on() {
    let (vfs, _) = with_damaged_leaf();
    let db = open(&vfs).unwrap();
    let is_broken = |i: usize| db.view("b", |txn| txn.get(key(i))).is_err();
    let first_whole = (0..KEYS).rfind(|&i| is_broken(i)).unwrap() + 1;
    let rest = db.view("b", |txn| {
        let mut iter = txn.iter_from(key(first_whole))?;
        let all = super::scan(&mut iter, Iter::next_ref);
        assert_eq!(iter.error(), None);
        Ok(all.len())
    });
    assert_eq!(rest, Ok(KEYS - first_whole));
    assert_eq!(
        db.view("b", |txn| txn.iter_from(key(first_whole - 1)).map(drop)).unwrap_err(),
        Error::Corruption
    );
}

/// A damaged byte of a large value is found by the get and by the scan, and names its run.
#[test]
fn a_flipped_bit_of_a_large_value_is_an_error() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| txn.put("large", vec![9; 100_000])).unwrap();
    db.exec("b", |txn| txn.put("small", "v")).unwrap();
    drop(db);
    let bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    let owners = walk.owners(walk.newest());
    let runs: Vec<u32> =
        owners.iter().filter(|(_, o)| **o == Owner::Run).map(|(page, _)| *page).collect();
    assert_eq!(runs.len(), 25);
    // The last page of the run ends in zeros, which are covered too.
    for (page, offset) in [(runs[0], 0), (runs[12], 2_000), (runs[24], 4_095)] {
        let mut bytes = bytes.clone();
        bytes[page as usize * 4096 + offset] ^= 1;
        let db: BTree = open(&holding(&bytes)).unwrap();
        assert_eq!(db.view("b", |txn| txn.get("large")), Err(Error::Corruption));
        assert_eq!(common::corruption(Error::Corruption).0, Some(runs[0]));
        assert_eq!(common::dump(&db, "b"), Err(Error::Corruption));
        assert_eq!(db.view("b", |txn| txn.get("small")).unwrap(), b"v");
        assert!(matches!(Error::Corruption.detail(), Some(ErrorDetail::Corruption(_))));
        // Nobody has to read what is removed.
        assert_eq!(db.exec("b", |txn| txn.delete_range::<str>(.."m")), Ok(1));
    }
}

/// What it moves it copies, and a copy of damaged bytes would be as sound as any value.
#[test]
fn a_compaction_gives_no_new_checksum_to_a_damaged_value() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    // Where the first was is room for the last, and for some pages more.
    for (bucket, byte, len) in [("first", 1, 800_000), ("between", 2, 700_001), ("k", 3, 700_001)] {
        db.exec(bucket, |txn| txn.put("k", vec![byte; len])).unwrap();
    }
    db.exec("first", |txn| txn.del("k")).unwrap();
    drop(db);
    let bytes = vfs.read_file(NAME).unwrap();
    let run = bytes.chunks(512).position(|page| page == [3; 512]).unwrap() * 512;
    for offset in [0, 300_000, 700_000] {
        let mut bytes = bytes.clone();
        assert_eq!(bytes[run + offset], 3);
        bytes[run + offset] ^= 1;
        let vfs = holding(&bytes);
        let db = on(vfs.clone()).cache_bytes(0).open(NAME).unwrap();
        assert_eq!(db.compact(0), Err(Error::Corruption), "byte {offset}");
        let get = |db: &BTree, bucket: &str| db.view(bucket, |txn| txn.get("k"));
        assert_eq!(get(&db, "k"), Err(Error::Corruption), "byte {offset}");
        assert!(get(&db, "between") == Ok(vec![2; 700_001]), "byte {offset}");
        db.exec("other", |txn| txn.put("k", "v")).unwrap();
        drop(db);
        let db = open(&vfs).unwrap();
        assert_eq!(get(&db, "k"), Err(Error::Corruption), "byte {offset}, opened again");
        assert!(get(&db, "between") == Ok(vec![2; 700_001]), "byte {offset}, opened again");
        assert_eq!(get(&db, "other"), Ok(b"v".to_vec()));
    }
}
