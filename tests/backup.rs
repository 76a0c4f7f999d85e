//! Is a backup the state that it was made of, all of it and nothing else, and is there nothing
//! where it would be if it could not be made?
//!
//! Tiny pages and caches; contents by chance, whose seed a failure prints.
//!
//! Attacks: snapshot-stable, durable-before-ok (of commits to a copy), bytes-never-panic,
//! sorted-keys and entry-count (of streams), parent-holds-checksum and commit-atomic (of what is
//! put together of several), page-owned-once (of what is copied page by page), meta-lists-pages and
//! publish-after-durable (of what a chain begins with).
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod common;

#[cfg(feature = "sim")]
#[path = "backup/crash.rs"]
mod crash;
#[path = "backup/failing.rs"]
mod failing;
#[path = "backup/hostile.rs"]
mod hostile;
#[path = "backup/increments.rs"]
mod increments;
#[path = "backup/memory.rs"]
mod memory;
#[path = "backup/names.rs"]
mod names;
#[path = "backup/twin.rs"]
mod twin;

use btree_store::verify::verify_path;
use btree_store::vfs::{MemVfs, OsVfs, Vfs};
use btree_store::{BTree, BackupStats, Error, Options, Result, Snapshot};
use common::counting::{Counting, within};
use common::random::Random;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twin::{Contents, Entries};

/// Each test asks for memory in its own thread.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NAME: &str = "data.db";
const COPY: &str = "copy.db";
/// The name that keeps others from making the same file.
const CREATING: &str = "copy.db-create";
/// The name of a copy until it is whole.
const FILLING: &str = "copy.db-btree-store-backup";
/// Values from here on come in pieces.
const PIECE: usize = 256 << 10;

/// Runs a restoration from a stream, whose memory depends on what comes, and not on what it states.
#[track_caller]
fn in_little_memory<R>(stream: &[u8], restore: impl FnOnce() -> R) -> R {
    // The file that is made is in memory too.
    within(4 * stream.len() + (3 << 20), "the restoration", restore)
}

/// Whether anything is left of a copy that is being made.
fn is_left(vfs: &MemVfs) -> bool {
    [CREATING, FILLING].iter().any(|name| vfs.read_file(name).is_some())
}

fn options(vfs: &(impl Vfs + Clone), page_size: u32) -> Options {
    let cache_bytes = 8 * u64::from(page_size);
    Options::new().page_size(page_size).cache_bytes(cache_bytes).vfs(Arc::new(vfs.clone()))
}

fn fill(db: &BTree, contents: &Contents) {
    db.exec_multi(|multi| {
        contents.iter().try_for_each(|(name, entries)| {
            multi.exec(name, |txn| entries.iter().try_for_each(|(k, v)| txn.put(k, v)))
        })
    })
    .unwrap();
}

fn contents(snapshot: &Snapshot) -> Result<Contents> {
    let entries = |name: &String| {
        snapshot.view(name, |txn| {
            let entries = txn.range::<[u8]>(..).collect::<Result<Entries>>()?;
            assert_eq!(txn.len(), entries.len() as u64, "{name}");
            Ok(entries)
        })
    };
    snapshot.buckets()?.into_iter().map(|name| Ok((name.clone(), entries(&name)?))).collect()
}

/// What a store file holds, which is whole.
#[track_caller]
fn contents_of(vfs: &(impl Vfs + Clone), path: impl AsRef<Path>) -> Contents {
    let report = verify_path(vfs, &path).unwrap();
    assert!(report.is_sound() && report.is_at_rest(), "{report}");
    let db = options(vfs, 512).must_exist().open(&path).unwrap();
    contents(&db.snapshot()).unwrap()
}

fn stream_of(snapshot: &Snapshot) -> Vec<u8> {
    let mut stream = Vec::new();
    let stats = snapshot.backup_to(&mut stream).unwrap();
    assert_eq!(stats.written_bytes, stream.len() as u64);
    stream
}

fn restore(vfs: &(impl Vfs + Clone), stream: &[u8]) -> Result<BackupStats> {
    Options::new().vfs(Arc::new(vfs.clone())).restore(&mut &*stream, COPY)
}

/// The fields that follow from the contents.
fn counts(stats: BackupStats) -> (u64, u64, u64) {
    (stats.buckets, stats.entries, stats.content_bytes)
}

fn counts_of(contents: &Contents) -> (u64, u64, u64) {
    let entries = || contents.values().flatten();
    let bytes = entries().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    (contents.len() as u64, entries().count() as u64, bytes)
}

/// Backs these contents up both ways, and looks at everything that comes of it. Returns the pages
/// of the new file.
#[track_caller]
fn round_trip(page_size: u32, wanted: &Contents) -> u64 {
    let vfs = MemVfs::new();
    let db = options(&vfs, page_size).open(NAME).unwrap();
    fill(&db, wanted);
    let snapshot = db.snapshot();
    let stats = snapshot.backup(COPY).unwrap();
    let copied = vfs.read_file(COPY).unwrap();
    assert_eq!((stats.seq, counts(stats)), (snapshot.seq(), counts_of(wanted)));
    assert_eq!(stats.written_bytes, copied.len() as u64);
    assert!(!is_left(&vfs));
    assert!(contents_of(&vfs, COPY) == *wanted, "the file differs");
    let copy = options(&vfs, 512).open(COPY).unwrap();
    assert_eq!(copy.stats().unwrap().page_size, page_size);

    let stream = stream_of(&snapshot);
    assert!(stream == twin::backup(page_size, stats.seq, wanted), "the stream differs");
    assert!(stream_of(&snapshot) == stream, "the same state gives the same bytes");
    let other = MemVfs::new();
    let restored = restore(&other, &stream).unwrap();
    assert_eq!(restored, stats, "both ways make the same file");
    assert!(other.read_file(COPY).unwrap() == copied, "both ways make the same file");
    // Blocks of other lengths say the same.
    let (other, records) = (MemVfs::new(), twin::records(wanted));
    let cut = twin::stream(page_size, 7, &records, 1 + records.len() / 7);
    if records.len() / 7 < PIECE {
        let restored = restore(&other, &cut).unwrap();
        assert_eq!((restored.seq, counts(restored)), (7, counts(stats)));
        assert!(other.read_file(COPY).unwrap() == copied);
    }
    stats.written_bytes / u64::from(page_size)
}

/// Some contents: names, keys and values from nothing to their limits.
fn random_contents(random: &mut Random, page_size: usize) -> Contents {
    let key_max = page_size / 4;
    let mut contents = Contents::new();
    for _ in 0..random.below(5) {
        let name = "n".repeat(1 + random.below(key_max - 8)) + &random.below(1_000).to_string();
        let count = [0, 1, 5, 40, 300][random.below(5)];
        let mut entries = Entries::new();
        for _ in 0..count {
            let key_len = [1 + random.below(8), 1 + random.below(key_max), key_max];
            let key_len = key_len[random.below(3)];
            let near = random.below(4);
            let value_len = match random.below(12) {
                0..=2 => 0,
                3..=7 => random.below(page_size / 4),
                8..=9 => page_size * near + random.below(3),
                10 => random.below(20 * page_size),
                _ if random.below(20) == 0 => PIECE - 1 + random.below(3 * page_size),
                _ => page_size / 2 - random.below(60),
            };
            entries.insert(random.bytes(key_len), random.bytes(value_len));
        }
        contents.insert(name, entries);
    }
    contents
}

#[test]
fn a_copy_is_the_state_whatever_it_holds() {
    for seed in 0..40 {
        println!("seed {seed}");
        let page_size = [512, 1_024, 4_096][usize::try_from(seed).unwrap() % 3];
        let wanted = random_contents(&mut Random::new(seed), page_size);
        round_trip(u32::try_from(page_size).unwrap(), &wanted);
    }
}

#[test]
fn a_store_without_anything_is_copied() {
    assert!(round_trip(512, &Contents::new()) < 12);
    let names = ["a", "b", "c"].map(|name| (name.to_owned(), Entries::new()));
    round_trip(512, &Contents::from(names));
}

#[test]
fn thousands_of_buckets_are_copied() {
    let bucket = |at: u32| {
        let entries =
            (0..at % 3).map(|key| (vec![b'k'; key as usize + 1], at.to_le_bytes().to_vec()));
        (format!("bucket {at}"), entries.collect())
    };
    round_trip(512, &(0..4_000).map(bucket).collect());
}

#[test]
fn keys_and_values_at_the_limits_are_copied() {
    let mut random = Random::new(1);
    for page_size in [512, 4_096, 32_768] {
        let key_max = page_size / 4;
        let mut entries = Entries::new();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 2_000_000] {
            entries.insert(random.bytes(key_max), random.bytes(len));
            entries.insert(random.bytes(1), random.bytes(len / 3));
        }
        let names =
            [0, 1].map(|from| ("é".repeat(key_max / 2)[from * 2..].to_owned(), entries.clone()));
        round_trip(u32::try_from(page_size).unwrap(), &Contents::from(names));
    }
}

/// More than one commit takes: small entries, and values that come in pieces among them.
fn large_contents() -> Contents {
    let mut random = Random::new(2);
    let mut entries = Entries::new();
    for at in 0..12_000_u32 {
        let len = if at % 300 == 0 { PIECE + random.below(PIECE) } else { random.below(1_500) };
        entries.insert(at.to_be_bytes().to_vec(), random.bytes(len));
    }
    let small = (0..1_000_u32).map(|at| (at.to_be_bytes().to_vec(), vec![7; 10]));
    Contents::from([("large".to_owned(), entries), ("small".to_owned(), small.collect())])
}

#[test]
fn what_takes_several_commits_is_copied_and_its_pages_are_full() {
    let wanted = large_contents();
    let page_size = 4_096;
    let pages = round_trip(page_size, &wanted);
    let vfs = MemVfs::new();
    let db = options(&vfs, page_size).open(NAME).unwrap();
    // One load, in one commit, makes full pages too.
    db.exec_multi(|multi| {
        wanted.iter().try_for_each(|(name, entries)| {
            multi.exec(name, |txn| txn.bulk_load(entries)).map(drop)
        })
    })
    .unwrap();
    let stats = db.stats().unwrap();
    let used = u64::from(stats.page_count) - stats.free_pages - stats.pending_pages;
    assert!(pages <= used + 20, "{pages} pages, {used} are needed");
    db.backup(COPY).unwrap();
    let copy = options(&vfs, page_size).open(COPY).unwrap();
    assert!(copy.current_seq() > 3, "it takes several commits");
}

#[test]
fn a_copy_of_a_sparse_store_is_compact() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    let mut random = Random::new(3);
    db.exec("b", |txn| (0..20_000).try_for_each(|_| txn.put(random.bytes(8), [1; 20]))).unwrap();
    db.exec("b", |txn| {
        let keys: Vec<_> = txn.range::<[u8]>(..).collect::<Result<Vec<_>>>()?;
        keys.iter().step_by(2).try_for_each(|(key, _)| txn.del(key))
    })
    .unwrap();
    let before = contents(&db.snapshot()).unwrap();
    let (stats, copied) = (db.stats().unwrap(), db.backup(COPY).unwrap());
    assert!(copied.written_bytes < u64::from(stats.page_count) * 512 / 2, "{copied:?} {stats:?}");
    assert!(contents_of(&vfs, COPY) == before);
    let stats = options(&vfs, 512).open(COPY).unwrap().stats().unwrap();
    let unused = stats.free_pages + stats.pending_pages;
    assert!(unused <= 12, "{unused} of {} pages hold nothing", stats.page_count);
}

/// Every entry of both buckets is of one round.
fn fill_round(db: &BTree, round: u8) {
    db.exec_multi(|multi| {
        for bucket in ["a", "b"] {
            multi.exec(bucket, |txn| {
                (0..300_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [round; 20]))?;
                txn.put([9; 5], vec![round; 3_000])?;
                txn.put([9; 6], vec![round; PIECE + 5])
            })?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_backup_beside_a_writer_is_of_one_state() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 0);
    let kept = db.snapshot();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in (1..=250).cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                fill_round(&db, round);
                if round % 40 == 0 {
                    db.compact(0).unwrap();
                }
            }
        });
        for at in 0..12 {
            let path = format!("copy {at}");
            let snapshot = if at % 3 == 0 { kept.clone() } else { db.snapshot() };
            let stats = snapshot.backup(&path).unwrap();
            assert_eq!(stats.seq, snapshot.seq());
            let (wanted, found) = (contents(&snapshot).unwrap(), contents_of(&vfs, &path));
            assert!(wanted == found, "copy {at} is not the snapshot");
            let rounds: std::collections::BTreeSet<u8> =
                found.values().flat_map(|entries| entries.values().map(|value| value[0])).collect();
            assert_eq!(rounds.len(), 1, "copy {at} is of several states");
            let stream = stream_of(&snapshot);
            assert!(stream == twin::backup(512, stats.seq, &wanted), "stream {at}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(db.current_seq() > 12, "the writer wrote");
    assert!(db.verify().unwrap().is_sound());
}

#[test]
fn a_write_transaction_may_back_up_the_state_before_itself() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let before = contents(&db.snapshot()).unwrap();
    db.exec("a", |txn| {
        txn.put("new", "entry")?;
        db.backup(COPY).map(drop)
    })
    .unwrap();
    assert!(contents_of(&vfs, COPY) == before);
}

#[test]
fn a_store_that_is_read_only_is_backed_up() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let wanted = contents(&db.snapshot()).unwrap();
    drop(db);
    let before = vfs.read_file(NAME).unwrap();
    let db = options(&vfs, 512).read_only().open(NAME).unwrap();
    db.backup(COPY).unwrap();
    assert!(contents_of(&vfs, COPY) == wanted);
    assert!(vfs.read_file(NAME).unwrap() == before, "nothing of the source was written");
}

/// Copies a store in memory in every way, to these paths. The copies outlive it.
#[track_caller]
fn copies_of(memory: BTree, vfs: &(impl Vfs + Clone), dir: &Path) -> [PathBuf; 3] {
    let paths = ["newest.db", "snapshot.db", "applied.db"].map(|name| dir.join(name));
    fill_round(&memory, 1);
    let base = memory.snapshot();
    fill_round(&memory, 2);
    let wanted = contents(&memory.snapshot()).unwrap();
    assert!(contents(&base).unwrap() != wanted);
    let mut increment = Vec::new();
    memory.backup_since(base.seq(), &mut increment).unwrap();
    memory.backup(&paths[0]).unwrap();
    memory.snapshot().backup(&paths[1]).unwrap();
    base.apply_backup(&mut increment.as_slice(), &paths[2]).unwrap();
    let other = MemVfs::new();
    restore(&other, &stream_of(&memory.snapshot())).unwrap();
    assert!(contents_of(&other, COPY) == wanted, "the stream differs");
    drop((memory, base));
    for path in &paths {
        assert!(contents_of(vfs, path) == wanted, "{}", path.display());
    }
    paths
}

#[test]
fn what_is_copied_out_of_memory_is_where_somebody_finds_it() {
    let memory = Options::new().page_size(512);
    let dir = tempfile::tempdir().unwrap();
    let copies = copies_of(memory.clone().open_in_memory().unwrap(), &OsVfs, dir.path());
    let there = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(there.collect::<BTreeSet<_>>(), BTreeSet::from(copies));
    // Where a place was chosen, there, and the store itself is still in memory of its own.
    let vfs = MemVfs::new();
    let memory = memory.vfs(Arc::new(vfs.clone())).open_in_memory().unwrap();
    assert!(!vfs.exists("memory".as_ref()).unwrap());
    copies_of(memory, &vfs, "".as_ref());
}

#[test]
fn a_stream_ends_where_it_says_and_another_may_follow() {
    let all = [1, 2].map(|round| {
        let vfs = MemVfs::new();
        let db = options(&vfs, 512).open(NAME).unwrap();
        fill_round(&db, round);
        (contents(&db.snapshot()).unwrap(), stream_of(&db.snapshot()))
    });
    let both = [all[0].1.as_slice(), &all[1].1, b"more"].concat();
    let mut reader = both.as_slice();
    for (wanted, _) in &all {
        let vfs = MemVfs::new();
        Options::new().vfs(Arc::new(vfs.clone())).restore(&mut reader, COPY).unwrap();
        assert!(contents_of(&vfs, COPY) == *wanted);
    }
    assert_eq!(reader, b"more");
}

#[test]
fn the_options_choose_the_page_size_of_what_is_restored() {
    let wanted = Contents::from([(
        "b".to_owned(),
        Entries::from([(vec![7; 300], vec![1; 1_000]), (vec![8; 10], vec![2; PIECE])]),
    )]);
    let stream = twin::backup(4_096, 1, &wanted);
    for page_size in [2_048, 4_096, 32_768] {
        let vfs = MemVfs::new();
        let stats = options(&vfs, page_size).restore(&mut stream.as_slice(), COPY).unwrap();
        assert!(contents_of(&vfs, COPY) == wanted);
        let opened = options(&vfs, 512).open(COPY).unwrap().stats().unwrap();
        assert_eq!(opened.page_size, page_size);
        assert_eq!(u64::from(opened.page_count) * u64::from(page_size), stats.written_bytes);
    }
    let vfs = MemVfs::new();
    let refused = |options: Options| options.restore(&mut stream.as_slice(), COPY);
    assert_eq!(refused(options(&vfs, 1_024)), Err(Error::TooLarge));
    assert_eq!(common::story(Error::TooLarge), "key of 300 bytes, the limit is 256");
    for wrong in [0, 511, 513, 65_536] {
        assert_eq!(refused(options(&vfs, wrong)), Err(Error::Invalid));
    }
    assert_eq!(refused(options(&vfs, 4_096).read_only()), Err(Error::Invalid));
    assert_eq!(refused(options(&vfs, 4_096).must_exist()), Err(Error::Invalid));
    assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
}
