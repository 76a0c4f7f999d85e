//! A program written for the original interface compiles and behaves the same: its first example
//! word for word, and every method by its name and meaning.

mod common;

use btree_store::vfs::MemVfs;
use btree_store::{BTree, CompactStats, Error, ErrorDetail, MultiTxn, ReadOnlyTxn, Result, Txn};
use common::{NAME, holding, open};
use std::process::Command;

/// The example, as it stands in the original's readme.
mod readme {
    include!("seed_api/readme.rs");

    pub fn run() -> Result<(), Error> {
        main()
    }
}

const HERE: &str = "BTREE_STORE_TEST_HERE";

/// Runs the example where it is, in the child process of the test below only.
#[test]
fn the_readme_runs_here() {
    if std::env::var_os(HERE).is_some() {
        readme::run().unwrap();
        readme::run().unwrap();
    }
}

#[test]
fn the_readme_example_compiles_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["the_readme_runs_here", "--exact", "--nocapture"])
        .env(HERE, "1")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("User: \"Alice\"").count(), 2, "{said}");
    let db = BTree::open(dir.path().join("data.db")).unwrap();
    assert_eq!(db.view("users", |txn| txn.get(b"id:101")).unwrap(), b"Bob");
    assert_eq!(db.view("stats", |txn| txn.get(b"total_users")).unwrap(), b"2");
    assert_eq!(db.buckets().unwrap(), ["stats", "users"]);
}

fn memory() -> BTree {
    open(&MemVfs::new()).unwrap()
}

#[test]
fn the_handle_is_cloned_sent_and_shared() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<BTree>();
    let db = memory();
    let clone = db.clone();
    clone.exec("b", |txn| txn.put("k", "v")).unwrap();
    let other = std::thread::spawn(move || clone.view("b", |txn| txn.get("k"))).join().unwrap();
    assert_eq!(other, db.view("b", |txn| txn.get("k")));
}

#[test]
fn open_creates_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    // Whatever names a path will do.
    let db: Result<BTree> = BTree::open(path.to_str().unwrap());
    db.unwrap().exec("b", |txn| txn.put("k", "v")).unwrap();
    let db = BTree::open(&path).unwrap();
    let same = BTree::open(path.as_path()).unwrap();
    same.exec("b", |txn| txn.put("k", "w")).unwrap();
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"w");
    let string = path.into_os_string().into_string().unwrap();
    assert_eq!(BTree::open(string).unwrap().current_seq(), 2);
}

#[test]
fn keys_and_values_are_whatever_bytes_are() {
    let db = memory();
    db.exec(String::from("b"), |txn| {
        txn.put("str", String::from("String"))?;
        txn.put(b"array", [1, 2, 3])?;
        txn.put([4_u8, 5], &[6_u8][..])?;
        txn.put(vec![7_u8], vec![8_u8])?;
        txn.put(Box::<[u8]>::from(&[9_u8][..]), b"")
    })
    .unwrap();
    let get = |key: &[u8]| db.view("b", |txn| txn.get(key));
    assert_eq!(get(b"str").unwrap(), b"String");
    assert_eq!(get(b"array").unwrap(), [1, 2, 3]);
    assert_eq!(get(&[4, 5]).unwrap(), [6]);
    assert_eq!(get(&[7]).unwrap(), [8]);
    assert_eq!(get(&[9]).unwrap(), b"");
}

#[test]
fn exec_makes_the_bucket_and_returns_what_the_closure_returns() {
    let db = memory();
    assert_eq!(db.view("b", |_| Ok(1)), Err(Error::NotFound));
    let answer: Result<usize> = db.exec("b", |txn: &mut Txn<'_>| {
        txn.put("k", "v")?;
        Ok(42)
    });
    assert_eq!(answer, Ok(42));
    assert_eq!(db.view("b", |txn: &ReadOnlyTxn<'_>| Ok(txn.get("k")?.len())), Ok(1));
    assert_eq!(db.view("b", |txn| txn.get("missing")), Err(Error::NotFound));
    let failed: Result<()> = db.exec("b", |txn| {
        txn.put("k", "changed")?;
        Err(Error::Invalid)
    });
    assert_eq!(failed, Err(Error::Invalid));
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
    let failed: Result<()> = db.exec("never made", |_| Err(Error::Conflict));
    assert_eq!(failed, Err(Error::Conflict));
    assert_eq!(db.buckets().unwrap(), ["b"]);
}

#[test]
fn put_get_del_and_update_do_what_they_say() {
    let db = memory();
    db.exec("b", |txn| {
        assert_eq!(txn.get("k"), Err(Error::NotFound));
        assert_eq!(txn.del("k"), Err(Error::NotFound));
        assert_eq!(txn.update("k", "v"), Ok(false));
        assert_eq!(txn.get("k"), Err(Error::NotFound), "update makes no key");
        txn.put("k", "v")?;
        txn.put("k", "w")?;
        let value: Vec<u8> = txn.get("k")?;
        assert_eq!(value, b"w", "a transaction reads what it wrote");
        assert_eq!(txn.update("k", "x"), Ok(true));
        assert_eq!(txn.get("k")?, b"x");
        txn.put("gone", "")?;
        txn.del("gone")
    })
    .unwrap();
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"x");
    assert_eq!(db.view("b", |txn| txn.get("gone")), Err(Error::NotFound));
}

#[test]
fn a_cursor_walks_the_state_it_was_made_on() {
    let db = memory();
    db.exec("b", |txn| (0..3_000).try_for_each(|i| txn.put(format!("{i:04}"), "old"))).unwrap();
    let count = db
        .exec("b", |txn| {
            let mut iter = txn.iter();
            let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
            while iter.next_ref(&mut key, &mut value) {
                assert_eq!(
                    (key.as_slice(), value.as_slice()),
                    (format!("{count:04}").as_bytes(), b"old".as_slice())
                );
                // Writing and deleting while iterating skips nothing and adds nothing.
                txn.put(&key, "new")?;
                if count % 3 == 0 {
                    txn.del(&key)?;
                }
                txn.put([key.as_slice(), b"!"].concat(), "new")?;
                count += 1;
            }
            assert_eq!(iter.error(), None);
            assert!(!iter.next_ref(&mut key, &mut value), "the end stays the end");
            Ok(count)
        })
        .unwrap();
    assert_eq!(count, 3_000);
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(5_000));
    // One that outlives its view goes on yielding.
    let mut iter = db.view("b", |txn| Ok(txn.iter())).unwrap();
    db.del_bucket("b").unwrap();
    let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
    while iter.next_ref(&mut key, &mut value) {
        count += 1;
    }
    assert_eq!(count, 5_000);
}

#[test]
fn exec_multi_takes_several_buckets_and_the_same_again() {
    let db = memory();
    let sum = db
        .exec_multi(|multi: &mut MultiTxn<'_>| {
            multi.exec("a", |txn| txn.put("k", [1]))?;
            multi.exec("b", |txn| txn.put("k", [2]))?;
            let a = multi.exec("a", |txn| txn.get("k"))?;
            let b = multi.exec("b", |txn| txn.get("k"))?;
            Ok(a[0] + b[0])
        })
        .unwrap();
    assert_eq!((sum, db.current_seq()), (3, 1));
    let failed: Result<()> = db.exec_multi(|multi| {
        multi.exec("a", |txn| txn.put("k", [9]))?;
        multi.exec("c", |txn| txn.put("k", [9]))?;
        multi.exec("b", |txn| txn.get("missing").map(drop))
    });
    assert_eq!(failed, Err(Error::NotFound));
    assert_eq!(db.view("a", |txn| txn.get("k")).unwrap(), [1]);
    assert_eq!(db.buckets().unwrap(), ["a", "b"]);
}

#[test]
fn a_later_part_without_a_change_keeps_what_an_earlier_part_did() {
    let db = memory();
    db.exec("a", |txn| txn.put("k", [0])).unwrap();
    db.exec_multi(|multi| {
        multi.exec("a", |txn| txn.put("k", [1]))?;
        multi.exec("a", |txn| txn.get("k").map(drop))
    })
    .unwrap();
    assert_eq!(db.view("a", |txn| txn.get("k")).unwrap(), [1]);
}

#[test]
fn an_inner_error_that_is_swallowed_undoes_its_own_changes_only() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("a", |txn| (0..500).try_for_each(|i| txn.put(format!("{i}"), [0; 50]))).unwrap();
    db.exec_multi(|multi| {
        let swallowed = multi.exec("a", |txn| {
            (0..500).try_for_each(|i| txn.del(format!("{i}")))?;
            txn.get("missing")
        });
        assert_eq!(swallowed, Err(Error::NotFound));
        multi.exec("b", |txn| txn.put("k", "v"))
    })
    .unwrap();
    drop(db);
    let db = open(&vfs).unwrap();
    assert_eq!(common::dump(&db, "a").unwrap().len(), 500);
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
}

#[test]
fn buckets_are_listed_and_deleted() {
    let db = memory();
    assert_eq!(db.buckets(), Ok(Vec::<String>::new()));
    for name in ["z", "a", "ü", "a b"] {
        db.exec(name, |txn| txn.put("k", name)).unwrap();
    }
    assert_eq!(db.buckets().unwrap(), ["a", "a b", "z", "ü"]);
    assert_eq!(db.del_bucket("missing"), Err(Error::NotFound));
    assert_eq!(db.del_bucket(String::from("a")), Ok(()));
    assert_eq!(db.buckets().unwrap(), ["a b", "z", "ü"]);
    assert_eq!(db.view("a", |_| Ok(())), Err(Error::NotFound));
    assert_eq!(db.del_bucket("a"), Err(Error::NotFound));
    // A new bucket of the old name is empty.
    db.exec("a", |_| Ok(())).unwrap();
    assert_eq!(db.view("a", |txn| txn.get("k")), Err(Error::NotFound));
}

#[test]
fn pending_pages_are_those_that_the_last_part_replaced() {
    let db = memory();
    db.exec("b", |txn| {
        assert_eq!(db.pending_pages(), (0, 0), "nothing is changed");
        txn.put("k", "v")?;
        assert_eq!(db.pending_pages(), (1, 0), "a new tree replaces nothing");
        Ok(())
    })
    .unwrap();
    db.exec("b", |txn| {
        txn.put("k", "w")?;
        txn.put("l", "w")?;
        assert_eq!(db.pending_pages(), (1, 1), "the leaf, once");
        txn.put("long", vec![7; 70_000])
    })
    .unwrap();
    db.exec("b", |txn| {
        txn.del("long")?;
        assert_eq!(db.pending_pages(), (2, 2), "the leaf, and the value as one");
        Ok(())
    })
    .unwrap();
    db.exec_multi(|multi| {
        multi.exec("b", |txn| txn.delete_range::<str>(..))?;
        assert_eq!(db.pending_pages(), (1, 1), "the leaf");
        multi.exec("b", |txn| txn.put("k", "v"))?;
        assert_eq!(db.pending_pages(), (1, 0), "what waits has replaced nothing");
        Ok(())
    })
    .unwrap();
}

#[test]
fn commit_compact_current_seq_and_pending_pages_are_there() {
    let db = memory();
    assert_eq!((db.current_seq(), db.pending_pages()), (0, (0, 0)));
    db.exec("b", |txn| {
        (0..500).try_for_each(|i| txn.put(format!("{i}"), [0; 500]))?;
        assert_ne!(db.pending_pages(), (0, 0), "inside a transaction");
        Ok(())
    })
    .unwrap();
    let seq: u64 = db.current_seq();
    assert_eq!(seq, 1);
    let pending: (usize, usize) = db.pending_pages();
    assert_eq!(pending, (0, 0));
    assert_eq!(db.commit(), Ok(()));
    assert_eq!(db.current_seq(), seq, "nothing to commit");
    let stats: CompactStats = db.compact(0).unwrap();
    let CompactStats { moved_pages, remaining_candidates } = stats;
    let _: (usize, usize) = (moved_pages, remaining_candidates);
    db.compact(64 * 1024 * 1024).unwrap();
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(500));
}

#[test]
fn every_transaction_starts_from_the_freshest_state() {
    let db = memory();
    let stale = db.clone();
    for i in 0..20_u8 {
        db.exec("b", |txn| txn.put("k", [i])).unwrap();
        assert_eq!(stale.commit(), Ok(()));
        stale.exec("b", |txn| txn.put("other", [i])).unwrap();
        assert_eq!(stale.view("b", |txn| txn.get("k")).unwrap(), [i]);
        assert_eq!(stale.commit(), Ok(()));
    }
}

#[test]
fn errors_are_plain_values_with_their_old_names() {
    let names = [
        Error::NotFound,
        Error::Corruption,
        Error::TooLarge,
        Error::Internal,
        Error::NoSpace,
        Error::IoError,
        Error::Invalid,
        Error::Duplicate,
        Error::Conflict,
    ];
    for (at, one) in names.iter().enumerate() {
        for (other_at, other) in names.iter().enumerate() {
            assert_eq!(one == other, at == other_at);
        }
        let copied = *one;
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(copied);
        assert!(!boxed.to_string().is_empty());
        assert_eq!(format!("{one:?}"), format!("{copied:?}"));
    }
    // The patterns of a program that was written for them.
    let word = |error: Error| match error {
        Error::NotFound => "not found",
        Error::Corruption | Error::Internal => "broken",
        Error::TooLarge | Error::Invalid => "refused",
        Error::NoSpace | Error::IoError => "disk",
        Error::Duplicate | Error::Conflict => "again",
        _ => "new",
    };
    let words: Vec<&str> = names.into_iter().map(word).collect();
    assert!(!words.contains(&"new"), "{words:?}");
    assert_eq!(word(Error::Busy), "new");
}

fn asked(db: &BTree) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
    Ok(db.view("b", |txn| txn.get("k"))?)
}

#[test]
fn errors_pass_through_the_question_mark() {
    let db = memory();
    let error = asked(&db).unwrap_err();
    assert_eq!(error.downcast_ref::<Error>(), Some(&Error::NotFound));
}

#[test]
fn a_corruption_is_equal_to_its_name_whatever_it_says() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| (0..2_000).try_for_each(|i| txn.put(format!("{i:04}"), [0; 50]))).unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    for page in 2..bytes.len() / 4096 {
        bytes[page * 4096 + 1_000] ^= 1;
    }
    let db = open(&holding(&bytes)).unwrap();
    let result = db.view("b", |txn| txn.get("0000"));
    assert_eq!(result, Err(Error::Corruption));
    let Some(ErrorDetail::Corruption(one)) = result.unwrap_err().detail() else { panic!() };
    assert_eq!(db.exec("b", |txn| txn.put("0000", "v")), Err(Error::Corruption));
    assert_eq!(
        db.view("b", |txn| Ok(txn.iter().next_ref(&mut vec![], &mut vec![]))),
        Err(Error::Corruption)
    );
    assert!(one.page.is_some());
    assert_eq!(one.invariant.name(), "checksum-covers-page");
}
