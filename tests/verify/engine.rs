//! Files that the engine wrote: sound after every commit, at rest when closed, counted right, and
//! not sound any more whichever used page is damaged.
//!
//! Attacks: page-owned-once, entry-count, space-log-replays, no-reuse-while-reachable.

use crate::build::File;
use crate::{Random, engine_reads};
use btree_store::verify::{Report, verify_path};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Barriers, Error, ErrorDetail, Options, Result, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the buckets hold.
type Oracle = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

const NAMES: [&str; 6] =
    ["a", "bb", "a-name-that-takes-some-space-in-the-slot", "of its own", "é", "zz"];

struct Store {
    vfs: MemVfs,
    db: BTree,
    oracle: Oracle,
    random: Random,
    page_size: usize,
}

impl Store {
    fn new(seed: u64, page_size: u32, barriers: Barriers) -> Store {
        let vfs = MemVfs::new();
        let options = Options::new().page_size(page_size).barriers(barriers);
        let db = options.vfs(Arc::new(vfs.clone())).open("file").expect("it is created");
        let page_size = usize::try_from(page_size).expect("a page fits");
        Store { vfs, db, oracle: Oracle::new(), random: Random::new(seed), page_size }
    }

    fn file(&self) -> File {
        let bytes = self.vfs.read_file("file").expect("it is there");
        File { size: self.page_size, bytes }
    }

    fn step(&mut self) -> Result<()> {
        let name = NAMES[self.random.index(NAMES.len())];
        match self.random.below(40) {
            0 => match self.db.del_bucket(name) {
                Ok(()) => drop(self.oracle.remove(name)),
                Err(error) => assert!(error == Error::NotFound && !self.oracle.contains_key(name)),
            },
            1 => drop(self.db.compact(u64::MAX)?),
            _ => {
                let (random, page_size) = (&mut self.random, self.page_size);
                let bucket = self.oracle.entry(name.to_owned()).or_default();
                self.db.exec(name, |txn| write(txn, bucket, random, page_size))?;
            }
        }
        Ok(())
    }
}

/// A transaction's changes, made to the bucket and to the oracle's.
fn write(
    txn: &mut Txn<'_>,
    bucket: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    random: &mut Random,
    page_size: usize,
) -> Result<()> {
    let changes = if random.below(12) == 0 { 150 } else { 4 };
    for _ in 0..=random.below(changes) {
        let prefix = ["", "pre", "prefix-that-is-shared-", "prefix-that"][random.index(4)];
        let width = random.index(24) + 1;
        let key = format!("{prefix}{:0>width$}", random.below(300)).into_bytes();
        if random.below(3) == 0 {
            match txn.del(&key) {
                Ok(()) => assert!(bucket.remove(&key).is_some()),
                Err(error) => assert!(error == Error::NotFound && !bucket.contains_key(&key)),
            }
            continue;
        }
        let most = match random.below(20) {
            0 => 4 * page_size,
            1 => page_size,
            _ => page_size / 12,
        };
        let value = vec![random.byte(); random.index(most)];
        txn.put(&key, &value)?;
        bucket.insert(key, value);
    }
    Ok(())
}

/// The accepted state holds what the oracle holds.
fn check_counts(report: &Report, oracle: &Oracle) {
    let state = report.accepted().expect("a sound file has a state");
    let sum = |lengths: &mut dyn Iterator<Item = usize>| lengths.map(|len| len as u64).sum::<u64>();
    let wanted: Vec<_> = oracle
        .iter()
        .map(|(name, bucket)| {
            let keys = sum(&mut bucket.keys().map(Vec::len));
            (name.clone(), bucket.len() as u64, keys, sum(&mut bucket.values().map(Vec::len)))
        })
        .collect();
    let found: Vec<_> = state
        .buckets
        .iter()
        .map(|bucket| (bucket.name.clone(), bucket.entries, bucket.key_bytes, bucket.value_bytes))
        .collect();
    assert_eq!(found, wanted);
    let total = state.reachable + state.log_pages + state.free + state.pending + 2;
    assert_eq!((total, state.lost), (u64::from(state.page_count), 0));
}

#[test]
fn every_commit_of_a_random_workload_leaves_a_sound_file() {
    for seed in 0..24 {
        let page_size = if seed % 3 == 0 { 4096 } else { 512 };
        let barriers = if seed % 2 == 0 { Barriers::One } else { Barriers::Two };
        let mut store = Store::new(seed, page_size, barriers);
        for step in 0..150 {
            store.step().expect("the workload runs");
            let report = store.file().report();
            assert!(report.is_sound() && report.refused.is_empty(), "{seed}/{step}: {report}");
            check_counts(&report, &store.oracle);
            if step % 10 == 0 {
                let read = engine_reads(&store.file()).into_iter();
                let read: Oracle =
                    read.map(|(name, all)| (name, all.into_iter().collect())).collect();
                assert!(read == store.oracle, "{seed}/{step}");
            }
        }
        let report = store.db.verify().expect("memory does not fail");
        assert!(report.is_sound(), "seed {seed}: {report}");
        let Store { vfs, db, oracle, .. } = store;
        drop(db);
        let report = verify_path(&vfs, "file").expect("memory does not fail");
        assert!(report.is_at_rest(), "seed {seed}: {report}");
        check_counts(&report, &oracle);
    }
}

#[test]
fn every_damaged_page_of_a_closed_file_is_found_unless_it_is_unused() {
    for seed in 100..106 {
        let mut store = Store::new(seed, 512, Barriers::One);
        for _ in 0..60 {
            store.step().expect("the workload runs");
        }
        let (vfs, page_size) = (store.vfs.clone(), store.page_size);
        drop(store);
        let bytes = vfs.read_file("file").expect("it is there");
        let mut file = File { size: page_size, bytes };
        let sound = file.report();
        assert!(sound.is_at_rest(), "{sound}");
        let state = sound.accepted().expect("a sound file has a state");
        let mut random = Random::new(seed);
        let mut unseen = 0;
        for page in 0..file.pages() {
            let (at, bit) = (random.index(page_size), random.below(8));
            file.page_mut(page)[at] ^= 1 << bit;
            unseen += u64::from(file.report() == sound);
            file.page_mut(page)[at] ^= 1 << bit;
        }
        let behind = u64::from(file.pages() - state.page_count);
        assert_eq!(unseen, state.free + state.pending + behind, "seed {seed}: {sound}");
    }
}

#[test]
fn a_path_is_verified_under_a_shared_lock() {
    let vfs = MemVfs::new();
    let error = verify_path(&vfs, "file").expect_err("there is no file");
    assert_eq!(error, Error::IoError);
    let is_missing = |detail: &ErrorDetail| {
        matches!(detail, ErrorDetail::Io { kind: std::io::ErrorKind::NotFound, .. })
    };
    assert!(error.detail().as_ref().is_some_and(is_missing));
    let open = || Options::new().vfs(Arc::new(vfs.clone()));
    let db = open().open("file").expect("it is created");
    db.exec("a", |txn| txn.put("key", "value")).expect("it commits");
    assert_eq!(verify_path(&vfs, "file"), Err(Error::Busy));
    drop(db);
    let before = vfs.read_file("file");
    let reader = open().read_only().open("file").expect("it opens");
    assert!(verify_path(&vfs, "file").is_ok_and(|report| report.is_at_rest()));
    drop(reader);
    assert_eq!(vfs.read_file("file"), before);
    // Nothing is left locked.
    drop(open().open("file").expect("it opens"));
}
