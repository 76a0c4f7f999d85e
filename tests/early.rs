//! Large values that are written before their commit: what is in memory and what is not, whose
//! pages they take, and who gets these when nothing comes of the commit.
//!
//! Attacks: no-reuse-while-reachable, committed-pages-immutable, commit-atomic, page-owned-once,
//! snapshot-stable.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod common;

use btree_store::vfs::{FileId, LockMode, MemVfs, OpenMode, Vfs, VfsFile};
use btree_store::{BTree, Barriers, Error, Options, Result};
use common::random::Random;
use common::watch::{Op, Watch};
use common::{NAME, file_len, on};
use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const PAGE: usize = 512;
const PIECE: usize = 1 << 18;

fn tiny(vfs: impl Vfs) -> Options {
    on(vfs).page_size(u32::try_from(PAGE).unwrap()).cache_bytes(0)
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

#[track_caller]
fn assert_sound(db: &BTree) {
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{report}");
}

#[track_caller]
fn assert_holds(db: &BTree, key: &str, value: &[u8]) {
    let found = db.view("b", |txn| txn.get(key)).unwrap();
    assert!(found == value, "{key}: {} bytes, {} wanted", found.len(), value.len());
}

/// A reader that says of each piece that it read a byte more than there was room for.
struct Boasts;

impl Read for Boasts {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // One byte is nobody's: that is how the end is looked for.
        Ok(if buf.len() == 1 { 0 } else { buf.len() + 1 })
    }
}

/// A reader that fails, or panics, behind its bytes.
struct Ending<'b> {
    bytes: &'b [u8],
    panics: bool,
}

impl Read for Ending<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            assert!(!self.panics, "the reader panics");
            return Err(ErrorKind::TimedOut.into());
        }
        let len = self.bytes.len().min(buf.len()).min(1 + PAGE / 3);
        let (now, rest) = self.bytes.split_at(len);
        buf[..len].copy_from_slice(now);
        self.bytes = rest;
        Ok(len)
    }
}

#[test]
fn a_value_from_a_reader_is_the_value_whatever_its_length() {
    let borders = [0, PAGE / 4, PAGE, 2 * PAGE, 3 * PAGE, PIECE, PIECE + PAGE, 2 * PIECE];
    let around = borders.iter().flat_map(|&at| [at.saturating_sub(1), at, at + 1]);
    let db = tiny(MemVfs::new()).open(NAME).unwrap();
    let mut all = Vec::new();
    for (seed, len) in (0..).zip(around.chain([100, 333, 700_001])) {
        let (key, value) = (format!("{len}"), bytes(seed, len));
        db.exec("b", |txn| {
            let mut reader = Ending { bytes: &value, panics: true }.take(len as u64);
            txn.put_from(&key, len as u64, &mut reader)?;
            assert!(txn.get(&key)? == value);
            assert!(txn.compare_and_swap(&key, Some(&value), Some(&value))?);
            txn.put_from(&key, len as u64, &mut &*value)
        })
        .unwrap();
        all.push((key, value));
    }
    for (key, value) in &all {
        assert_holds(&db, key, value);
    }
    assert_sound(&db);
}

#[test]
fn no_more_than_a_piece_is_in_memory_and_nothing_waits_for_the_commit() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("small", "1")).unwrap();
    let value = bytes(1, 2_000_000);
    let mut early = 0;
    let (all, done) = watch.record(|| {
        db.exec("b", |txn| {
            for key in ["a", "b", "c", "d"] {
                txn.put(key, &value)?;
            }
            txn.insert("e", &value)?;
            assert!(txn.update("a", &value)?);
            early = watch.counts().bytes_written;
            Ok(())
        })
    });
    done.unwrap();
    let written = |op: &Op| if let Op::Write { len, .. } = op { *len } else { 0 };
    let pad = PIECE.next_multiple_of(PAGE);
    assert!(all.iter().map(written).max().unwrap() <= pad, "a write is longer than a piece");
    assert!(early >= 6 * 2_000_000);
    let late = watch.counts().bytes_written - early;
    assert!(late < 50_000, "{late} bytes waited for the commit");
    assert_sound(&db);
}

#[test]
fn a_reader_of_another_length_changes_nothing_and_the_transaction_goes_on() {
    for len in [10, 1000, 600_000] {
        let db = tiny(MemVfs::new()).open(NAME).unwrap();
        let (old, new) = (bytes(1, len), bytes(2, len));
        db.exec("b", |txn| txn.put("k", &old)).unwrap();
        db.exec("b", |txn| {
            let said = len as u64;
            assert_eq!(txn.put_from("k", said + 1, &mut &*new), Err(Error::Invalid));
            assert_eq!(txn.put_from("k", said - 1, &mut &*new), Err(Error::Invalid));
            assert_eq!(txn.put_from("new", said + 1, &mut &*new), Err(Error::Invalid));
            let mut fails = Ending { bytes: &new, panics: false };
            assert_eq!(txn.put_from("k", said + 1, &mut fails), Err(Error::IoError));
            assert_eq!(txn.put_from("k", said, &mut Boasts), Err(Error::Invalid));
            assert_eq!(txn.put_from("k", 1 << 32, &mut io::empty()), Err(Error::TooLarge));
            assert_eq!(txn.put_from("", said, &mut &*new), Err(Error::Invalid));
            assert!(txn.get("k")? == old);
            assert_eq!(txn.len(), 1);
            txn.put("other", "1")
        })
        .unwrap();
        assert_holds(&db, "k", &old);
        assert_sound(&db);
    }
}

#[test]
fn a_reader_whose_own_disk_is_full_is_a_reader_that_fails() {
    struct Full;
    impl Read for Full {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
    }
    for len in [10, 1000, 600_000] {
        let db = tiny(MemVfs::new()).open(NAME).unwrap();
        db.exec("b", |txn| {
            assert_eq!(txn.put_from("k", len, &mut Full), Err(Error::IoError), "{len}");
            txn.put("other", "1")
        })
        .unwrap();
        assert_sound(&db);
    }
}

#[test]
fn pages_come_back_from_whatever_is_not_committed() {
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    let value = bytes(1, 400_000);
    db.exec("b", |txn| txn.put("k", &value)).unwrap();
    let mut lens = Vec::new();
    for _ in 0..20 {
        let failed: Result<()> = db.exec("b", |txn| {
            txn.put("k", &value)?;
            txn.put("l", &value)?;
            Err(Error::Conflict)
        });
        assert_eq!(failed, Err(Error::Conflict));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            db.exec("b", |txn| {
                let mut reader = Ending { bytes: &value, panics: true };
                txn.put_from("k", 500_000, &mut reader)
            })
        }));
        assert!(panicked.is_err());
        db.exec_multi(|multi| {
            let undone = multi.exec("c", |txn| {
                txn.put("k", &value)?;
                txn.get("missing")
            });
            assert_eq!(undone, Err(Error::NotFound));
            multi.exec("b", |txn| {
                txn.put("m", &value)?;
                txn.put("m", &value)?;
                txn.del("m")?;
                txn.put("n", "1")
            })
        })
        .unwrap();
        lens.push(file_len(&vfs));
    }
    assert_eq!(lens[2], lens[19], "{lens:?}");
    assert_holds(&db, "k", &value);
    assert_sound(&db);
}

#[test]
fn an_early_run_lies_where_no_state_has_a_page_and_a_crash_finds_the_state_before() {
    for barriers in [Barriers::One, Barriers::Two] {
        let vfs = MemVfs::new();
        let db = tiny(vfs.clone()).barriers(barriers).open(NAME).unwrap();
        let mut random = Random::new(7);
        let mut old = bytes(0, 300_000);
        db.exec("b", |txn| txn.put("k", &old)).unwrap();
        for seed in 1..30 {
            let (new, key) = (bytes(seed, 1 + random.below(500_000)), format!("{}", seed % 5));
            db.exec("b", |txn| {
                txn.put_from(&key, new.len() as u64, &mut &*new)?;
                txn.put_from("k", new.len() as u64, &mut &*new)?;
                let killed = tiny(vfs.snapshot()).open(NAME)?;
                assert_holds(&killed, "k", &old);
                assert_sound(&killed);
                Ok(())
            })
            .unwrap();
            assert_holds(&db, "k", &new);
            let killed = tiny(vfs.snapshot()).open(NAME).unwrap();
            assert_holds(&killed, "k", &new);
            assert_sound(&killed);
            old = new;
        }
    }
}

#[test]
fn what_is_still_read_keeps_its_pages_though_nothing_came_of_the_commit() {
    let (memory, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("a", "1")).unwrap();
    let value = bytes(1, 300_000);
    let mut held = Vec::new();
    let failed: Result<()> = db.exec("b", |txn| {
        txn.put("k", &value)?;
        held.push((txn.iter_from("k")?, txn.get_reader("k")?));
        Err(Error::Conflict)
    });
    assert_eq!(failed, Err(Error::Conflict));
    // Here the flush fails, after the file has grown.
    let failed = db.exec("b", |txn| {
        txn.put("k", &value)?;
        held.push((txn.iter_from("k")?, txn.get_reader("k")?));
        watch.hook(|op| match op {
            Op::Write { .. } => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        });
        Ok(())
    });
    assert_eq!(failed, Err(Error::NoSpace));
    watch.unhook();
    for seed in 2..9 {
        db.exec("b", |txn| txn.put("other", bytes(seed, 300_000))).unwrap();
        db.exec("b", |txn| (0..500).try_for_each(|i: u32| txn.put(i.to_be_bytes(), [7; 100])))
            .unwrap();
    }
    db.compact(0).unwrap();
    for (mut iter, mut reader) in held {
        let (key, found) = iter.next_entry().unwrap().unwrap();
        assert!(key == b"k" && found == value);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == value);
    }
    assert_sound(&db);
    drop(db);
    let db = tiny(memory).open(NAME).unwrap();
    assert_holds(&db, "other", &bytes(8, 300_000));
    db.compact(0).unwrap();
    assert_sound(&db);
}

#[test]
fn pages_of_a_value_that_no_commit_has_are_pending_while_it_is_read() {
    let db = tiny(MemVfs::new()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("room", bytes(0, 100 * PAGE))).unwrap();
    db.exec("b", |txn| txn.del("room")).unwrap();
    let mut held = None;
    db.exec("b", |txn| {
        let value = bytes(1, 5 * PAGE);
        txn.put_from("k", value.len() as u64, &mut value.as_slice())?;
        held = Some(txn.iter_from("k")?);
        txn.del("k")?;
        txn.put("l", "2")
    })
    .unwrap();
    let unused = || {
        let (stats, report) = (db.stats().unwrap(), db.verify().unwrap());
        let state = &report.states[0];
        assert_eq!(stats.free_pages + stats.pending_pages, state.free + state.pending);
        stats.free_pages
    };
    let beside = unused();
    drop(held);
    assert_eq!(unused(), beside + 5);
}

#[test]
fn a_file_that_grew_for_nothing_stays_long_until_it_is_used_or_compacted() {
    const LEN: u64 = 400_000;
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "1")).unwrap();
    let before = file_len(&vfs);
    let abandon = |db: &BTree| {
        let failed: Result<()> = db.exec("b", |txn| {
            txn.put_from("l", LEN, &mut io::repeat(1).take(LEN))?;
            Err(Error::Conflict)
        });
        assert_eq!(failed, Err(Error::Conflict));
    };
    abandon(&db);
    let grown = file_len(&vfs);
    assert!(grown + 20 * PAGE as u64 > before + LEN);
    // Neither a commit nor closing gives the end back.
    db.exec("b", |txn| txn.put("k", "2")).unwrap();
    drop(db);
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    assert_eq!(file_len(&vfs), grown);
    abandon(&db);
    db.exec("b", |txn| txn.put_from("l", LEN, &mut io::repeat(2).take(LEN))).unwrap();
    assert!(file_len(&vfs) < grown + LEN / 4);
    db.exec("b", |txn| txn.del("l")).unwrap();
    abandon(&db);
    db.compact(0).unwrap();
    assert!(file_len(&vfs) <= before, "{} bytes after {before}", file_len(&vfs));
    assert_sound(&db);
}

#[test]
fn a_compaction_copies_a_large_value_piece_by_piece_and_a_crash_finds_it_whole() {
    let (memory, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let value = bytes(1, 700_001);
    for key in ["first", "between", "k"] {
        db.exec("b", |txn| txn.put(key, &value)).unwrap();
    }
    db.exec("b", |txn| txn.del("first")).unwrap();
    // The disk is full at first: what was copied so far is free again.
    watch.hook(|op| match op {
        Op::Write { len, .. } if (PIECE / 2..PIECE).contains(len) => {
            Err(ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    assert_eq!(db.compact(0), Err(Error::NoSpace));
    watch.unhook();
    assert_holds(&db, "k", &value);
    let (before, wanted) = (file_len(&memory), value.clone());
    let snapshots = memory.clone();
    watch.hook(move |op| {
        if op.is_change() {
            let killed = tiny(snapshots.snapshot()).open(NAME).unwrap();
            assert_holds(&killed, "k", &wanted);
        }
        Ok(())
    });
    let (all, done) = watch.record(|| db.compact(0));
    watch.unhook();
    assert!(done.unwrap().moved_pages > 700_001 / PAGE);
    let len = |op: &Op| match op {
        Op::Write { len, .. } | Op::Read { len, .. } => *len,
        _ => 0,
    };
    assert_eq!(all.iter().map(len).max().unwrap(), PIECE, "more than a piece is in memory");
    assert!(file_len(&memory) < before - 600_000);
    assert_holds(&db, "k", &value);
    assert_sound(&db);
    assert_eq!(db.stats().unwrap().pending_pages, 0);
}

#[test]
fn a_write_that_fails_is_told_at_once_and_sticks() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let value = bytes(1, 600_000);
    db.exec("b", |txn| txn.put("k", &value)).unwrap();
    for fails in [|op: &Op| matches!(op, Op::Write { .. }), |op: &Op| matches!(op, Op::SetLen(_))] {
        let failed = db.exec("b", |txn| {
            watch.hook(move |op| if fails(op) { Err(ErrorKind::Other.into()) } else { Ok(()) });
            assert_eq!(txn.put("k", bytes(2, 900_000)), Err(Error::IoError));
            watch.unhook();
            assert_eq!(txn.put("l", "1"), Err(Error::IoError));
            Ok(())
        });
        assert_eq!(failed, Err(Error::IoError));
        assert_holds(&db, "k", &value);
    }
    db.exec("b", |txn| txn.put("k", bytes(2, 900_000))).unwrap();
    assert_sound(&db);
}

/// Makes the `n`-th write of pages take a while, and then fail. Tells when it came to that.
fn fail_slowly(watch: &Watch, mut n: usize) -> mpsc::Receiver<()> {
    let (reached, wait) = mpsc::channel();
    watch.hook(move |op| {
        let is_page = matches!(op, Op::Write { offset, .. } if *offset >= 2 * PAGE as u64);
        n = n.wrapping_sub(usize::from(is_page));
        if !(is_page && n == 0) {
            return Ok(());
        }
        reached.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        Err(ErrorKind::StorageFull.into())
    });
    wait
}

/// Whichever of a compaction's writes fails, also one of the commit that cuts the file off: the
/// value that a transaction has set pages aside for meanwhile is the only one who has them.
#[test]
fn a_compaction_that_fails_does_not_free_what_was_set_aside_meanwhile() {
    let value = bytes(1, 300_000);
    for n in 1.. {
        let (_, watch) = Watch::memory();
        let db = tiny(watch.clone()).open(NAME).unwrap();
        for round in 0..4 {
            let mut keys = (0..1_500_u32).map(|i| (i * 4 + round).to_be_bytes());
            db.exec("b", |txn| keys.try_for_each(|key| txn.put(key, [1; 60]))).unwrap();
        }
        let mut doomed = (0..5_000_u32).filter(|i| i % 8 > 0);
        db.exec("b", |txn| doomed.try_for_each(|i| txn.del(i.to_be_bytes()))).unwrap();
        let (reached, mut held) = (fail_slowly(&watch, n), None);
        let is_over = std::thread::scope(|scope| {
            let compaction = scope.spawn(|| {
                let done = db.compact(0);
                watch.unhook();
                done
            });
            // The hook, which tells, is gone when the compaction is over.
            if reached.recv().is_err() {
                compaction.join().unwrap().unwrap();
                return true;
            }
            let follower = db.exec("b", |txn| {
                txn.put([0], &value)?;
                held = Some(txn.iter());
                Ok(())
            });
            assert_eq!(compaction.join().unwrap(), Err(Error::NoSpace));
            // It has seen what the compaction left behind, or has come late.
            assert!(matches!(follower, Ok(()) | Err(Error::NoSpace)), "{follower:?}");
            false
        });
        if is_over {
            assert!(n > 3, "{n} writes");
            return;
        }
        for byte in 0..4 {
            db.exec("c", |txn| {
                (0..400_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [byte; 200]))
            })
            .unwrap();
        }
        assert!(held.unwrap().next_entry().unwrap().unwrap().1 == value, "write {n}");
        assert_sound(&db);
    }
}

#[test]
fn writers_readers_and_a_compaction_do_not_get_in_each_others_pages() {
    let vfs = MemVfs::new();
    let db = Arc::new(tiny(vfs.clone()).open(NAME).unwrap());
    let len = |seed: u64| 200_000 + usize::try_from(seed % 7).unwrap() * 50_000;
    db.exec("b", |txn| (0..4).try_for_each(|n: u64| txn.put(format!("{n}"), bytes(n, len(n)))))
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let db = Arc::clone(&db);
            scope.spawn(move || {
                for round in 1..25 {
                    let seed = thread + 4 * round;
                    let key = format!("{thread}");
                    let ends_with = if round % 5 == 0 { Err(Error::Conflict) } else { Ok(()) };
                    let done = db.exec("b", |txn| {
                        txn.put(&key, bytes(seed, len(seed)))?;
                        txn.put(format!("small {thread}"), vec![7; 3000])?;
                        ends_with
                    });
                    assert_eq!(done, ends_with, "thread {thread}, round {round}");
                    let seed = if done.is_ok() { seed } else { seed - 4 };
                    assert_holds(&db, &key, &bytes(seed, len(seed)));
                }
            });
        }
        let db = Arc::clone(&db);
        scope.spawn(move || {
            for _ in 0..6 {
                db.compact(0).unwrap();
            }
        });
    });
    assert_sound(&db);
    drop(db);
    let db = tiny(vfs).open(NAME).unwrap();
    for thread in 0..4 {
        let seed = thread + 4 * 24;
        assert_holds(&db, &format!("{thread}"), &bytes(seed, len(seed)));
    }
    assert_sound(&db);
}

/// A reader that fails behind its bytes, as one does whose source was cut off.
struct CutOff<'b>(&'b [u8]);

impl Read for CutOff<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { self.0.read(buf) }
    }
}

#[test]
fn a_reader_that_fails_as_if_it_had_ended_has_failed() {
    for len in [10, 1000, 600_000] {
        let db = tiny(MemVfs::new()).open(NAME).unwrap();
        let value = bytes(1, len);
        db.exec("b", |txn| {
            for said in [len as u64, len as u64 + 1] {
                let failed = txn.put_from("k", said, &mut CutOff(&value));
                assert_eq!(failed, Err(Error::IoError), "{len}, {said}");
            }
            assert_eq!(txn.get("k"), Err(Error::NotFound));
            txn.put("other", "1")
        })
        .unwrap();
        assert_sound(&db);
    }
}

/// Once armed, the next write of a page waits for a word, and then finds the disk full.
struct Gate {
    armed: AtomicBool,
    failed: AtomicBool,
    reached: Mutex<mpsc::Sender<()>>,
    go: Mutex<mpsc::Receiver<()>>,
    cut: Mutex<mpsc::Sender<()>>,
}

#[derive(Clone)]
struct Full(MemVfs, Arc<Gate>);

struct FullFile(Box<dyn VfsFile>, Arc<Gate>);

impl Vfs for Full {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(FullFile(self.0.open(path, mode)?, Arc::clone(&self.1))))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.0.file_id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
}

impl VfsFile for FullFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if offset >= 2 * PAGE as u64 && self.1.armed.swap(false, Ordering::SeqCst) {
            self.1.reached.lock().unwrap().send(()).unwrap();
            self.1.go.lock().unwrap().recv().unwrap();
            self.1.failed.store(true, Ordering::SeqCst);
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let done = self.0.set_len(len);
        if self.1.failed.load(Ordering::SeqCst) {
            self.1.cut.lock().unwrap().send(()).unwrap_or_default();
        }
        done
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }

    fn id(&self) -> io::Result<FileId> {
        self.0.id()
    }
}

/// Once armed, the next change of the length waits for a word; whoever asks for the length
/// meanwhile says so.
struct Late {
    armed: AtomicBool,
    watched: AtomicBool,
    reached: Mutex<mpsc::Sender<()>>,
    go: Mutex<mpsc::Receiver<()>>,
    asked: Mutex<mpsc::Sender<()>>,
}

#[derive(Clone)]
struct Lengths(MemVfs, Arc<Late>);

struct LengthsFile(Box<dyn VfsFile>, Arc<Late>);

impl Vfs for Lengths {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(LengthsFile(self.0.open(path, mode)?, Arc::clone(&self.1))))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.0.file_id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
}

impl VfsFile for LengthsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.1.armed.swap(false, Ordering::SeqCst) {
            self.1.watched.store(true, Ordering::SeqCst);
            self.1.reached.lock().unwrap().send(()).unwrap();
            self.1.go.lock().unwrap().recv().unwrap();
        }
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        if self.1.watched.swap(false, Ordering::SeqCst) {
            self.1.asked.lock().unwrap().send(()).unwrap();
        }
        self.0.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }

    fn id(&self) -> io::Result<FileId> {
        self.0.id()
    }
}

/// A reader of so many zeros that arms the storage when so few are left.
struct Arms(usize, usize, Arc<Late>);

impl Read for Arms {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0 == self.1 {
            self.2.armed.store(true, Ordering::SeqCst);
        }
        let mut len = self.0.min(buf.len());
        if self.0 > self.1 {
            len = len.min(self.0 - self.1);
        }
        buf[..len].fill(0);
        self.0 -= len;
        Ok(len)
    }
}

/// One value makes the file longer, piece by piece, while a commit waits to make it longer for
/// itself and for what comes behind it; there goes the value of a third.
#[test]
fn a_value_that_makes_the_file_longer_cuts_nothing_off_that_others_put_meanwhile() {
    let (reached, is_reached) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let (asked, is_asked) = mpsc::channel();
    let late = Arc::new(Late {
        armed: AtomicBool::new(false),
        watched: AtomicBool::new(false),
        reached: Mutex::new(reached),
        go: Mutex::new(may_go),
        asked: Mutex::new(asked),
    });
    let db = on(Lengths(MemVfs::new(), Arc::clone(&late))).page_size(4096).open(NAME).unwrap();
    let filled = |count: u32, len: usize| {
        let db = &db;
        move |bucket| {
            db.exec(bucket, |txn| {
                (0..count).try_for_each(|i| txn.put(i.to_be_bytes(), vec![7; len]))
            })
        }
    };
    filled(8_000, 2_000)("b").unwrap();
    let value = bytes(1, 300_000);
    let (put, is_put) = mpsc::channel();
    std::thread::scope(|scope| {
        let owned = scope.spawn(|| {
            let txn = db.begin();
            let mut zeros = Arms(40 << 20, (40 << 20) - (16 << 20), Arc::clone(&late));
            txn.bucket("o").unwrap().put_from("k", 40 << 20, &mut zeros).unwrap();
            txn.commit()
        });
        is_reached.recv().unwrap();
        let longer = scope.spawn(|| filled(300, 1_000)("c"));
        is_asked.recv().unwrap();
        let third = scope.spawn(|| {
            db.exec("d", |txn| {
                txn.put("k", &value)?;
                put.send(()).unwrap();
                Ok(())
            })
        });
        // Where the third waits for the length, too, nobody is behind it.
        let waits = is_put.recv_timeout(Duration::from_millis(200)).is_err();
        go.send(()).unwrap();
        if waits {
            is_put.recv().unwrap();
        }
        third.join().unwrap().unwrap();
        longer.join().unwrap().unwrap();
        owned.join().unwrap().unwrap();
    });
    assert!(db.view("d", |txn| txn.get("k")).unwrap() == value);
    assert_sound(&db);
}

#[test]
fn a_commit_that_gives_its_growth_back_leaves_what_was_put_there_meanwhile() {
    let (reached, is_reached) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let (cut, is_cut) = mpsc::channel();
    let gate = Arc::new(Gate {
        armed: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        reached: Mutex::new(reached),
        go: Mutex::new(may_go),
        cut: Mutex::new(cut),
    });
    let db = tiny(Full(MemVfs::new(), Arc::clone(&gate))).open(NAME).unwrap();
    let filled = |txn: &mut btree_store::Txn<'_>| {
        (0..9_000_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 200]))
    };
    db.exec("b", filled).unwrap();
    let fill = |n: u64| db.exec("b", |txn| txn.put(format!("fill{n}"), bytes(n, 40 * PAGE)));
    // Until the next one has to lengthen the file, by a 16th of it.
    let mut n = 0;
    while db.stats().map(|stats| stats.free_pages + stats.pending_pages).unwrap() >= 40 {
        fill(n).unwrap();
        n += 1;
        assert!(n < 1_000);
    }
    gate.armed.store(true, Ordering::SeqCst);
    let value = bytes(1, 100 * PAGE);
    std::thread::scope(|scope| {
        let full = scope.spawn(|| fill(n));
        is_reached.recv().unwrap();
        let mut held = None;
        let lost = db.exec("b", |txn| {
            txn.put_from("early", value.len() as u64, &mut value.as_slice())?;
            held = Some(txn.get_reader("early")?);
            go.send(()).unwrap();
            // Whoever cuts only when this is over does not come.
            is_cut.recv_timeout(Duration::from_millis(100)).unwrap_or_default();
            Ok(())
        });
        assert_eq!((full.join().unwrap(), lost), (Err(Error::NoSpace), Err(Error::NoSpace)));
        let mut read = Vec::new();
        held.unwrap().read_to_end(&mut read).unwrap();
        assert!(read == value);
    });
}

/// Each value took pages behind those of the one before, which was dropped when the next was there.
#[test]
fn a_value_that_is_put_again_and_again_takes_two_places() {
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let (len, before) = (300_000, file_len(&vfs));
    let value = |n: u64| bytes(n, len);
    db.exec("b", |txn| (0..40).try_for_each(|n| txn.put("k", value(n)))).unwrap();
    assert_holds(&db, "k", &value(39));
    assert_sound(&db);
    let added = file_len(&vfs) - before;
    assert!(added < 4 * len as u64, "{added} bytes for a value of {len}");
    // Of others that grow, the places are used again as well.
    db.exec("b", |txn| {
        (0..40).try_for_each(|n| txn.put("grows", vec![7; len + 1_000 * n]))?;
        txn.put("k", value(40))
    })
    .unwrap();
    assert_holds(&db, "k", &value(40));
    assert_sound(&db);
    let added = file_len(&vfs) - before;
    assert!(added < 12 * len as u64, "{added} bytes for two values of {len}");
}
