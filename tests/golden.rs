//! Files of this format, kept as they were written: they open, hold what they held, and the same
//! calls still write the same bytes.
//! Attacks: same-calls-same-bytes, bytes-never-panic.
//!
//! After a deliberate change of the format: `UPDATE_GOLDEN=1 cargo test --test golden`.

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Options, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// A kept file: how it was made.
struct Golden {
    name: &'static str,
    page_size: u32,
    make: fn(&BTree) -> Result<()>,
}

const FILES: &[Golden] = &[
    Golden { name: "empty", page_size: 512, make: |_| Ok(()) },
    Golden { name: "one-entry", page_size: 4096, make: |db| db.exec("b", |t| t.put("k", "v")) },
    Golden { name: "two-levels", page_size: 512, make: two_levels },
    Golden { name: "overflow", page_size: 512, make: overflow },
    Golden { name: "catalog-tree", page_size: 512, make: catalog_tree },
    Golden { name: "space-log", page_size: 512, make: space_log },
];

fn two_levels(db: &BTree) -> Result<()> {
    db.exec("b", |txn| (0..60).try_for_each(|i| txn.put(format!("key {i:02}"), format!("{i}"))))
}

fn overflow(db: &BTree) -> Result<()> {
    db.exec("b", |txn| {
        txn.put("large", vec![0xAB; 1500])?;
        txn.put("small", "")
    })
}

fn catalog_tree(db: &BTree) -> Result<()> {
    db.exec_multi(|multi| {
        (0..20).try_for_each(|i| multi.exec(format!("bucket {i:02}"), |txn| txn.put("k", [i])))
    })
}

/// Commits that leave many holes, so that the space log leaves the meta page.
fn space_log(db: &BTree) -> Result<()> {
    for round in 0..40_u32 {
        db.exec("b", |txn| {
            (0..8).try_for_each(|i| txn.put(format!("{:03}", (round * 53 + i * 97) % 400), [7; 60]))
        })?;
    }
    db.exec("b", |txn| (0..40).try_for_each(|i| txn.update(format!("{:03}", i * 9), []).map(drop)))
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
        .with_extension("btree")
}

fn made(golden: &Golden) -> Vec<u8> {
    let vfs = MemVfs::default();
    let options = Options::new().page_size(golden.page_size).vfs(Arc::new(vfs.clone()));
    let db = options.open("golden").unwrap();
    (golden.make)(&db).unwrap();
    drop(db);
    vfs.read_file("golden").unwrap()
}

fn contents(bytes: &[u8]) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let vfs = MemVfs::default();
    vfs.write_file("golden", bytes);
    let db = Options::new().read_only().vfs(Arc::new(vfs)).open("golden").unwrap();
    assert!(db.verify().unwrap().is_sound());
    let mut all = Vec::new();
    for bucket in db.buckets().unwrap() {
        db.view(&bucket, |txn| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let mut iter = txn.iter();
            while iter.next_ref(&mut key, &mut value) {
                all.push((bucket.clone(), key.clone(), value.clone()));
            }
            Ok(())
        })
        .unwrap();
    }
    all
}

#[test]
fn the_same_calls_write_the_bytes_that_were_kept() {
    for golden in FILES {
        let bytes = made(golden);
        let path = path_of(golden.name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap();
        assert_eq!(kept.len(), bytes.len(), "{}", golden.name);
        let differing = kept.iter().zip(&bytes).position(|(a, b)| a != b);
        assert_eq!(differing, None, "{}: the first differing byte", golden.name);
        assert_eq!(made(golden), bytes, "{}: made twice", golden.name);
    }
}

#[test]
fn a_kept_file_opens_and_holds_what_it_held() {
    let counts = FILES.iter().map(|golden| {
        let kept = std::fs::read(path_of(golden.name)).unwrap();
        contents(&kept).len()
    });
    assert_eq!(counts.collect::<Vec<_>>(), [0, 1, 60, 2, 20, 320]);
}

#[test]
fn the_kept_files_show_every_kind_of_page() {
    use btree_store::format::{KIND_BRANCH, KIND_LEAF, KIND_META, KIND_SPACE_LOG};
    let mut kinds = std::collections::BTreeSet::new();
    for golden in FILES {
        let kept = std::fs::read(path_of(golden.name)).unwrap();
        kinds.extend(kept.chunks(golden.page_size as usize).map(|page| page[16]));
    }
    for kind in [KIND_META, KIND_LEAF, KIND_BRANCH, KIND_SPACE_LOG] {
        assert!(kinds.contains(&kind), "kind {kind}");
    }
}
