//! Storage and writers that fail.

use super::twin::Contents;
use super::{
    COPY, FILLING, NAME, PIECE, contents, contents_of, fill_round, is_left, options, stream_of,
};
use crate::common::watch::{Op, Watch};
use crate::common::{put_checksum, story};
use btree_store::format::{CHILD_LEN, HEADER_COUNT, HEADER_LEN, HEADER_PREFIX, META_BODY};
use btree_store::vfs::{MemVfs, OpenMode, Vfs};
use btree_store::{BTree, Error, Options};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

fn watched() -> (MemVfs, Watch, BTree) {
    let (memory, watch) = Watch::memory();
    let db = options(&watch, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    (memory, watch, db)
}

/// Fails one operation, or all from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    One,
    AllFrom,
}

/// Lets each operation of `make`, which makes a store, fail, one after the other, until there are
/// no more.
fn fail_each(
    failing: Failing,
    kind: ErrorKind,
    syncs_min: usize,
    make: impl FnMut(&BTree, &Watch) -> btree_store::Result<()>,
) {
    fail_each_and(failing, kind, syncs_min, make, |memory| contents_of(memory, COPY));
}

/// The same of a file in which something else finds the contents.
fn fail_each_and(
    failing: Failing,
    kind: ErrorKind,
    syncs_min: usize,
    mut make: impl FnMut(&BTree, &Watch) -> btree_store::Result<()>,
    read: impl Fn(&MemVfs) -> Contents,
) {
    let (memory, watch, db) = watched();
    let wanted = contents(&db.snapshot()).unwrap();
    let mut failed_syncs = 0;
    for at in 0.. {
        let mut operations = 0;
        watch.hook(move |_| {
            operations += 1;
            let fails = match failing {
                Failing::One => operations == at + 1,
                Failing::AllFrom => operations > at,
            };
            if fails { Err(kind.into()) } else { Ok(()) }
        });
        let (ops, made) = watch.record(|| make(&db, &watch));
        watch.unhook();
        let (is_there, is_left) = (memory.read_file(COPY).is_some(), is_left(&memory));
        let Err(error) = made else {
            assert!(read(&memory) == wanted);
            if let Some(op) = ops.get(at) {
                // The last one: an empty file stays that kept others from making the same.
                assert_eq!((op, memory.read_file(FILLING)), (&Op::Remove, None));
                memory.remove(COPY.as_ref()).unwrap();
                continue;
            }
            assert_eq!((is_there, is_left), (true, false));
            assert!(at > 10 && failed_syncs >= syncs_min, "{at} operations");
            return;
        };
        let op = &ops[at];
        failed_syncs += usize::from(op.is_sync());
        assert!(matches!(error, Error::IoError | Error::NoSpace), "{at}: {error} of {op:?}");
        if failing == Failing::One {
            assert_eq!((is_there, is_left), (false, false), "{at}: {op:?}");
        } else if is_there {
            // Nothing could be removed any more; it is whole.
            assert!(read(&memory) == wanted, "{at}: {op:?}");
            memory.remove(COPY.as_ref()).unwrap();
        }
        db.exec("c", |txn| txn.put("k", at.to_le_bytes())).unwrap();
        db.del_bucket("c").unwrap();
        assert!(contents(&db.snapshot()).unwrap() == wanted);
    }
}

#[test]
fn whatever_fails_leaves_no_copy_and_a_healthy_source() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        fail_each(Failing::One, kind, 3, |db, _| db.backup(COPY).map(drop));
        fail_each(Failing::AllFrom, kind, 3, |db, _| db.backup(COPY).map(drop));
    }
}

#[test]
fn whatever_fails_leaves_nothing_restored() {
    let (_, _, db) = watched();
    let stream = stream_of(&db.snapshot());
    for failing in [Failing::One, Failing::AllFrom] {
        fail_each(failing, ErrorKind::Other, 3, |_, watch| {
            let options = Options::new().vfs(Arc::new(watch.clone()));
            options.restore(&mut stream.as_slice(), COPY).map(drop)
        });
    }
}

#[test]
fn whatever_fails_leaves_nothing_of_an_increment_and_a_healthy_base() {
    for failing in [Failing::One, Failing::AllFrom] {
        fail_each(failing, ErrorKind::Other, 1, |db, _| {
            let (snapshot, mut stream) = (db.snapshot(), Vec::new());
            snapshot.backup_since(snapshot.seq(), &mut stream)?;
            snapshot.apply_backup(&mut stream.as_slice(), COPY).map(drop)
        });
    }
}

#[test]
fn whatever_fails_leaves_no_file_of_a_stream() {
    let restored = |memory: &MemVfs| {
        let vfs = MemVfs::new();
        super::restore(&vfs, &memory.read_file(COPY).unwrap()).unwrap();
        contents_of(&vfs, COPY)
    };
    for failing in [Failing::One, Failing::AllFrom] {
        let make = |db: &BTree, _: &Watch| db.backup_since_file(0, COPY).map(drop);
        fail_each_and(failing, ErrorKind::Other, 2, make, restored);
    }
}

#[test]
fn pages_are_synced_before_they_are_named() {
    let (_, watch, db) = watched();
    let mut stream = Vec::new();
    db.backup_since(0, &mut stream).unwrap();
    let (ops, _) = watch.record(|| {
        let options = Options::new().vfs(Arc::new(watch.clone()));
        options.restore(&mut stream.as_slice(), COPY).unwrap()
    });
    let changes: Vec<&Op> =
        ops.iter().filter(|op| op.is_sync() || op.is_change() || **op == Op::SyncDir).collect();
    let [.., synced, renamed, named, _] = changes.as_slice() else { panic!("{ops:?}") };
    assert!(synced.is_sync(), "{changes:?}");
    assert_eq!((*renamed, *named), (&Op::Rename, &Op::SyncDir));
}

#[test]
fn a_copy_is_synced_before_it_is_named_and_its_name_before_it_is_told() {
    let (_, watch, db) = watched();
    let (ops, _) = watch.record(|| db.backup(COPY).unwrap());
    let changes: Vec<&Op> =
        ops.iter().filter(|op| op.is_sync() || op.is_change() || **op == Op::SyncDir).collect();
    let [.., mirrored, cut, renamed, named, _] = changes.as_slice() else { panic!("{ops:?}") };
    assert!(mirrored.is_sync() && matches!(cut, Op::SetLen(_)), "{changes:?}");
    assert_eq!((*renamed, *named), (&Op::Rename, &Op::SyncDir));
}

/// A writer that takes few bytes at a time, and fails after some.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(1_000).min(self.0);
        self.0 -= len;
        if len == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(len) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 > 100 { Ok(()) } else { Err(io::Error::other("not flushed")) }
    }
}

#[test]
fn what_the_writer_says_is_told() {
    let (_, _, db) = watched();
    let snapshot = db.snapshot();
    let len = stream_of(&snapshot).len();
    for after in (0..len).step_by(9_973).chain([1, 28, len - 1]) {
        assert_eq!(snapshot.backup_to(&mut Full(after)), Err(Error::NoSpace), "after {after}");
        assert!(story(Error::NoSpace).starts_with("write the backup"));
    }
    assert_eq!(snapshot.backup_to(&mut Full(len)), Err(Error::IoError));
    assert_eq!(story(Error::IoError), "write the backup: not flushed");
    snapshot.backup_to(&mut Full(len + 101)).unwrap();
    fill_round(&db, 2);
}

#[test]
fn damage_of_the_source_is_told_and_leaves_no_copy() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    db.exec("b", |txn| {
        (0..100_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [7; 50]))?;
        txn.put("large", vec![3; 700_000])?;
        txn.put("medium", vec![5; 7_000])
    })
    .unwrap();
    drop(db);
    let whole = vfs.read_file(NAME).unwrap();
    let value = |byte| whole.windows(300).position(|part| part == [byte; 300]).unwrap();
    let leaf = whole.windows(50).position(|part| part == [7; 50]).unwrap();
    for at in [leaf, value(3), value(3) + 2 * PIECE, value(5)] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        let vfs = MemVfs::new();
        vfs.write_file(NAME, &damaged);
        let db = options(&vfs, 512).open(NAME).unwrap();
        assert_eq!(db.backup(COPY), Err(Error::Corruption));
        let told = story(Error::Corruption);
        assert!(told.starts_with("page "), "{told}");
        assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
        let mut stream = Vec::new();
        assert_eq!(db.snapshot().backup_to(&mut stream), Err(Error::Corruption));
        assert_eq!(super::restore(&MemVfs::new(), &stream), Err(Error::Corruption));
        assert_eq!(db.view("b", |txn| txn.get("none")), Err(Error::NotFound));
    }
}

#[test]
fn a_panic_of_the_reader_leaves_nothing() {
    struct Panics;
    impl io::Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the reader panics")
        }
    }
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let stream = stream_of(&db.snapshot());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut reader = io::Read::chain(&stream[..stream.len() / 2], Panics);
        Options::new().vfs(Arc::new(vfs.clone())).restore(&mut reader, COPY)
    }));
    assert!(caught.is_err());
    assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
    vfs.open(COPY.as_ref(), OpenMode::Read).map(drop).unwrap_err();
}

#[test]
fn a_count_that_is_wrong_is_told() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    db.exec("b", |txn| (0..10_u8).try_for_each(|key| txn.put([key], "value"))).unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    // Behind the name in the catalog of both slots: the root, its checksum, its level, the count.
    let at = META_BODY + 2 + "b".len() + 12;
    for count in [9, 11] {
        for slot in bytes.chunks_mut(512).take(2) {
            slot[at] = count;
            put_checksum(slot);
        }
        let vfs = MemVfs::new();
        vfs.write_file(NAME, &bytes);
        let db = options(&vfs, 512).open(NAME).unwrap();
        assert_eq!(db.view("b", |txn| Ok(txn.len())).unwrap(), u64::from(count));
        assert_eq!(db.backup(COPY), Err(Error::Corruption));
        assert!(story(Error::Corruption).starts_with("entry-count"));
        assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
        let made = db.snapshot().backup_to(&mut Vec::new());
        assert_eq!(made, Err(Error::Corruption));
        assert_eq!(db.backup_since(0, &mut Vec::new()), Err(Error::Corruption));
        assert!(story(Error::Corruption).starts_with("entry-count"));
    }
}

/// A file whose leaves are all the first one, in all checksums right; and how many there are.
fn of_one_leaf_many_times() -> (Vec<u8>, usize) {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    db.exec("b", |txn| {
        (0..6_u32).try_for_each(|at| txn.put(at.to_be_bytes(), vec![7; 50_000]))?;
        (6..100_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [7; 60]))
    })
    .unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    // Behind the name in both slots' catalogs: the root, its checksum, its level.
    let record = META_BODY + 2 + "b".len();
    assert_eq!(word(&bytes, record + 8), 1, "the root lies above leaves");
    let root = word(&bytes, record) as usize * 512;
    let page = &mut bytes[root..root + 512];
    let half = |at: usize| usize::from(u16::from_le_bytes([page[at], page[at + 1]]));
    let (prefix_len, count) = (half(HEADER_PREFIX), half(HEADER_COUNT) + 1);
    let children = HEADER_LEN + prefix_len.next_multiple_of(4);
    assert!(count > 10, "{count} leaves");
    for child in 1..count {
        page.copy_within(children..children + CHILD_LEN, children + CHILD_LEN * child);
    }
    let checksum = put_checksum(page).to_le_bytes();
    for slot in bytes.chunks_mut(512).take(2) {
        slot[record + 4..record + 8].copy_from_slice(&checksum);
        put_checksum(slot);
    }
    (bytes, count)
}

#[test]
fn a_leaf_that_many_refer_to_is_not_copied_for_each() {
    let (bytes, _) = of_one_leaf_many_times();
    let vfs = MemVfs::new();
    vfs.write_file(NAME, &bytes);
    let db = options(&vfs, 512).open(NAME).unwrap();
    let mut stream = Vec::new();
    assert_eq!(db.backup_since(0, &mut stream), Err(Error::Corruption));
    assert!(story(Error::Corruption).contains("page-owned-once"), "{}", story(Error::Corruption));
    let len = bytes.len();
    assert!(stream.len() < 2 * len, "{} bytes of a file of {len}", stream.len());
}

#[test]
fn a_leaf_that_many_refer_to_is_given_up_once() {
    let (bytes, count) = of_one_leaf_many_times();
    let vfs = MemVfs::new();
    vfs.write_file(NAME, &bytes);
    let db = options(&vfs, 512).cache_bytes(0).open(NAME).unwrap();
    let before = db.stats().unwrap().pages_read;
    assert_eq!(db.del_bucket("b"), Err(Error::Corruption));
    let read = db.stats().unwrap().pages_read - before;
    assert!(read < count as u64, "{read} pages are read of {count} leaves that are one");
}

#[test]
fn a_reader_that_fails_as_if_it_had_ended_or_counts_wrong_is_told_so() {
    struct CutOff<'b>(&'b [u8]);
    impl io::Read for CutOff<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { self.0.read(buf) }
        }
    }
    struct Boasts;
    impl io::Read for Boasts {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            Ok(buf.len() + 1)
        }
    }
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let mut pages = Vec::new();
    db.backup_since(0, &mut pages).unwrap();
    let here = || Options::new().vfs(Arc::new(vfs.clone()));
    for stream in [stream_of(&db.snapshot()), pages] {
        for len in [0, 10, stream.len() / 2, stream.len() - 1] {
            let failed = here().restore(&mut CutOff(&stream[..len]), COPY);
            assert_eq!(failed, Err(Error::IoError), "{len}");
            let mut ended = &stream[..len];
            assert_eq!(here().restore(&mut ended, COPY), Err(Error::Corruption), "{len}");
            assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
        }
    }
    assert_eq!(here().restore(&mut Boasts, COPY), Err(Error::Invalid));
}
