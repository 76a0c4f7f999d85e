//! Values from readers, and sorted input: what of it is in the file, who waits for it, what is seen
//! of a bucket by it, and what is left when it ends in the middle.

use super::{SETTINGS, store};
use crate::common::random::Random;
use crate::common::watch::{Op, Watch};
use crate::common::{NAME, file_len, on, story};
use btree_store::vfs::{MemVfs, Vfs};
use btree_store::{BTree, Error, Options, OwnedTxn, Result, ValueReader};
use std::io::{self, Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const PAGE: usize = 512;
const PIECE: usize = 256 << 10;
/// Some of a leaf, of some pages, and of some pieces.
const LENS: [usize; 7] = [0, 10, 1_000, PIECE - 1, PIECE, PIECE + 1, 700_001];

fn tiny(vfs: impl Vfs) -> Options {
    on(vfs).page_size(512).cache_bytes(0)
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

#[track_caller]
fn assert_sound(db: &BTree) {
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{report}");
    let (stats, state) = (db.stats().unwrap(), &report.states[0]);
    assert_eq!(stats.pending_pages + stats.free_pages, state.free + state.pending);
}

/// For the file they are free, for the store they are not. Some that are pending for the store may
/// be free for the file too.
fn pages_aside(db: &BTree) -> u64 {
    db.stats().unwrap().pending_pages - db.verify().unwrap().states[0].pending
}

#[track_caller]
fn assert_holds(db: &BTree, key: &str, value: &[u8]) {
    let found = db.view("b", |txn| txn.get(key)).unwrap();
    assert!(found == value, "{key}: {} bytes, {} wanted", found.len(), value.len());
}

/// Bytes, and then what a function says.
fn ending(bytes: &[u8], end: impl FnMut(&mut [u8]) -> io::Result<usize>) -> impl Read {
    struct Ending<F>(F);
    impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Ending<F> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            (self.0)(buf)
        }
    }
    Cursor::new(bytes.to_vec()).chain(Ending(end))
}

#[test]
fn a_value_from_a_reader_is_the_value_whatever_its_length() {
    let db = tiny(MemVfs::new()).open(NAME).unwrap();
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    for (seed, len) in (0..).zip(LENS) {
        let (key, value) = (len.to_string(), bytes(seed, len));
        bucket.put_from(&key, len as u64, &mut &*value).unwrap();
        assert!(bucket.get(&key).unwrap() == value);
        let mut read = Vec::new();
        bucket.get_reader(&key).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == value);
        assert_eq!(bucket.compare_and_swap(&key, Some(b"other"), None), Ok(false));
    }
    let lens: Result<Vec<usize>> =
        bucket.iter().map(|entry| entry.map(|(_, value)| value.len())).collect();
    assert_eq!(lens.unwrap().iter().sum::<usize>(), LENS.iter().sum());
    // The values of transactions that are open at once do not share pages.
    let other = db.begin();
    other.bucket("c").unwrap().put_from("k", 700_001, &mut &*bytes(99, 700_001)).unwrap();
    drop(bucket);
    txn.commit().unwrap();
    other.commit().unwrap();
    for (seed, len) in (0..).zip(LENS) {
        assert_holds(&db, &len.to_string(), &bytes(seed, len));
    }
    assert!(db.view("c", |txn| txn.get("k")).unwrap() == bytes(99, 700_001));
    assert_sound(&db);
}

#[test]
fn a_large_value_is_written_when_it_is_put_and_little_of_it_waits() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("small", "1")).unwrap();
    let value = bytes(1, 2_000_000);
    let txn = db.begin();
    let before = watch.counts().bytes_written;
    let (ops, put) =
        watch.record(|| txn.bucket("b").unwrap().put_from("k", value.len() as u64, &mut &*value));
    put.unwrap();
    let early = watch.counts().bytes_written - before;
    let written = |op: &Op| if let Op::Write { len, .. } = op { *len } else { 0 };
    let longest = ops.iter().map(written).max().unwrap();
    assert!(longest <= PIECE.next_multiple_of(PAGE), "a write of {longest} bytes");
    assert!(early >= 2_000_000, "{early} bytes are written early");
    assert!(!ops.iter().any(Op::is_sync), "nothing is to be durable yet");
    let before = watch.counts().bytes_written;
    txn.commit().unwrap();
    let late = watch.counts().bytes_written - before;
    assert!(late < 50_000, "{late} bytes waited for the commit");
    assert_holds(&db, "k", &value);
    assert_sound(&db);
}

#[test]
fn a_reader_that_fails_or_has_another_length_changes_nothing_and_the_transaction_goes_on() {
    for len in LENS.into_iter().filter(|&len| len > 0) {
        let db = tiny(MemVfs::new()).open(NAME).unwrap();
        let (old, new) = (bytes(1, len), bytes(2, len));
        db.exec("b", |txn| txn.put("k", &old)).unwrap();
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        let said = len as u64;
        assert_eq!(bucket.put_from("k", said + 1, &mut &*new), Err(Error::Invalid));
        assert_eq!(story(Error::Invalid), "the reader ends before the length given");
        assert_eq!(bucket.put_from("k", said - 1, &mut &*new), Err(Error::Invalid));
        assert_eq!(story(Error::Invalid), "the reader goes on behind the length given");
        assert_eq!(bucket.put_from("new", said + 1, &mut &*new), Err(Error::Invalid));
        let mut fails = ending(&new, |_| Err(ErrorKind::TimedOut.into()));
        assert_eq!(bucket.put_from("k", said + 1, &mut fails), Err(Error::IoError));
        assert_eq!(bucket.put_from("k", 1 << 32, &mut io::empty()), Err(Error::TooLarge));
        assert_eq!(bucket.put_from("", said, &mut &*new), Err(Error::Invalid));
        assert_eq!(bucket.put_from(vec![7; 200], said, &mut &*new), Err(Error::TooLarge));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            bucket.put_from("k", said + 1, &mut ending(&new, |_| panic!("the reader panics")))
        }));
        assert!(panicked.is_err());
        assert!(bucket.get("k").unwrap() == old);
        assert_eq!(bucket.len(), 1);
        bucket.put("other", "1").unwrap();
        drop(bucket);
        txn.commit().unwrap();
        assert_holds(&db, "k", &old);
        assert_sound(&db);
        assert!(pages_aside(&db) < 5);
    }
}

/// Whatever becomes of the transaction but a commit, the next one writes over the same pages.
#[test]
fn pages_come_back_from_whatever_is_not_committed() {
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    let value = bytes(1, 400_000);
    // Room for all values, in the file.
    db.exec("room", |txn| (0..4).try_for_each(|at| txn.put([at], &value))).unwrap();
    db.del_bucket("room").unwrap();
    db.exec("b", |txn| txn.put("small", "1")).unwrap();
    db.exec("b", |txn| txn.put("small", "2")).unwrap();
    let ends: [fn(&BTree, OwnedTxn); 4] = [
        |_, txn| drop(txn),
        |db, txn| {
            db.exec("b", |txn| txn.put("k", "ahead")).unwrap();
            assert_eq!(txn.commit(), Err(Error::Conflict));
        },
        |_, txn| {
            let mut bucket = txn.bucket("b").unwrap();
            bucket.del("k").unwrap();
            bucket.put("l", "2").unwrap();
            txn.del_bucket("c").unwrap();
            drop(bucket);
            txn.commit().unwrap();
        },
        |db, txn| {
            // A write transaction of the same thread: it cannot commit.
            db.exec("b", |_| {
                assert_eq!(txn.commit(), Err(Error::Invalid));
                Ok(())
            })
            .unwrap();
        },
    ];
    let mut lens = Vec::new();
    for round in 0..12 {
        let txn = db.begin();
        for name in ["b", "c"] {
            let mut bucket = txn.bucket(name).unwrap();
            bucket.put_from("k", 400_000, &mut &*value).unwrap();
            bucket.put_from("k", 400_000, &mut &*value).unwrap();
        }
        // Those that were put twice are put once now.
        assert!(pages_aside(&db) >= 2 * 782, "{} pages are set aside", pages_aside(&db));
        ends[round % 4](&db, txn);
        assert_sound(&db);
        assert!(pages_aside(&db) < 5, "round {round}");
        lens.push(file_len(&vfs));
    }
    assert_eq!(lens[3], lens[11], "{lens:?}");
    drop(db);
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    assert_sound(&db);
    assert_eq!(db.compact(0).map(|_| file_len(&vfs) < 20 * PAGE as u64), Ok(true));
}

#[test]
fn others_write_and_compact_while_a_reader_takes_its_time() {
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    let fill = |round: u8| {
        db.exec("b", |txn| {
            txn.put("large", vec![round; 300_000])?;
            (0..300_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [round; 60]))
        })
        .unwrap();
    };
    fill(0);
    let value = bytes(1, 900_000);
    let txn = db.begin();
    let mut rest = Cursor::new(value.clone());
    let mut round = 0;
    let mut reader = ending(&[], |buf| {
        // Another thread: this one waits for it, and it for nobody.
        round += 1;
        if round % 400 == 0 {
            std::thread::scope(|scope| {
                let write = || fill(u8::try_from(round / 400 % 200).unwrap());
                scope.spawn(write).join().unwrap();
                db.compact(0).unwrap();
            });
        }
        let len = buf.len().min(701);
        rest.read(&mut buf[..len])
    });
    txn.bucket("c").unwrap().put_from("k", 900_000, &mut reader).unwrap();
    drop(reader);
    assert!(round > 1_200, "{round} rounds");
    fill(100);
    db.compact(0).unwrap();
    assert!(txn.bucket("c").unwrap().get("k").unwrap() == value);
    // A crash now leaves what was committed, and no more.
    let killed = tiny(vfs.snapshot()).open(NAME).unwrap();
    assert_eq!(killed.buckets().unwrap(), ["b"]);
    assert_sound(&killed);
    txn.commit().unwrap();
    drop(killed);
    let killed = tiny(vfs.snapshot()).open(NAME).unwrap();
    assert!(killed.view("c", |txn| txn.get("k")).unwrap() == value);
    assert_sound(&killed);
    assert_sound(&db);
}

/// Somebody names a length of which little comes: a compaction meanwhile does not give the file
/// that length.
#[test]
fn a_compaction_does_not_lengthen_the_file_to_what_is_still_to_come() {
    const SAID: u64 = 3 << 30;
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    // It does not need pages behind the end itself.
    for key in ["hole", "k"] {
        db.exec("b", |txn| txn.put(key, bytes(1, 300_000))).unwrap();
    }
    db.exec("b", |txn| txn.del("hole")).unwrap();
    let txn = db.begin();
    let mut lens = Vec::new();
    let mut reader = ending(&[7; 1_000], |_| {
        lens.push(file_len(&vfs));
        db.compact(0).unwrap();
        lens.push(file_len(&vfs));
        Ok(0)
    });
    let mut bucket = txn.bucket("c").unwrap();
    assert_eq!(bucket.put_from("k", SAID, &mut reader), Err(Error::Invalid));
    drop((reader, bucket));
    drop(txn);
    assert!(lens[0] > 16 << 20 && lens[1] <= lens[0], "{lens:?}");
    db.compact(0).unwrap();
    assert!(file_len(&vfs) < 1 << 20, "{} bytes", file_len(&vfs));
    assert_sound(&db);
}

#[test]
fn the_turn_is_not_waited_for_inside_a_write_transaction_of_the_thread() {
    let db = tiny(MemVfs::new()).open(NAME).unwrap();
    let value = bytes(1, 300_000);
    let txn = db.begin();
    db.exec("b", |outer| {
        let mut bucket = txn.bucket("b")?;
        let put = bucket.put_from("k", 300_000, &mut &*value);
        assert_eq!(put, Err(Error::Invalid));
        assert_eq!(bucket.put_from("k", 5, &mut "small".as_bytes()), Ok(()), "it needs no pages");
        outer.put("outer", "1")
    })
    .unwrap();
    txn.bucket("b").unwrap().put_from("k", 300_000, &mut &*value).unwrap();
    txn.commit().unwrap();
    assert_holds(&db, "k", &value);
}

#[test]
fn the_run_that_has_the_turn_writes_early_too_also_on_another_thread_and_whatever_it_ends_with() {
    let (memory, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let value = bytes(1, 300_000);
    let run = |end: &dyn Fn(&OwnedTxn) -> Result<()>| {
        let mut runs = 0;
        let ended = db.transact(|txn| {
            runs += 1;
            let mut bucket = txn.bucket("b")?;
            bucket.put_from("here", 300_000, &mut &*value)?;
            let before = watch.counts().bytes_written;
            std::thread::scope(|scope| {
                let put = || bucket.put_from("there", 300_000, &mut &*value);
                scope.spawn(put).join().unwrap()
            })?;
            assert!(watch.counts().bytes_written - before >= 300_000, "run {runs}");
            if runs < 5 { Err(Error::Conflict) } else { end(txn) }
        });
        assert_eq!(runs, 5);
        ended
    };
    for _ in 0..3 {
        let failed = run(&|_| Err(Error::NotFound));
        assert_eq!(failed, Err(Error::NotFound));
        let panicked = catch_unwind(AssertUnwindSafe(|| run(&|_| panic!("the closure panics"))));
        assert!(panicked.is_err());
        assert_sound(&db);
        assert_eq!(db.buckets(), Ok(Vec::new()));
    }
    run(&|_| Ok(())).unwrap();
    assert_holds(&db, "here", &value);
    assert_holds(&db, "there", &value);
    assert_sound(&db);
    drop(db);
    let db = tiny(memory).open(NAME).unwrap();
    assert_holds(&db, "there", &value);
    assert_sound(&db);
}

#[test]
fn a_store_that_cannot_write_says_so_when_a_large_value_comes() {
    let (vfs, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let put = |db: &BTree| {
        let txn = db.begin();
        txn.bucket("b")?.put_from("k", 300_000, &mut io::repeat(1).take(300_000))
    };
    let reader = tiny(vfs.snapshot()).read_only().open(NAME).unwrap();
    assert_eq!(put(&reader), Err(Error::Invalid));
    let full = |op: &Op| matches!(op, Op::Write { .. }) || matches!(op, Op::SetLen(_));
    watch.hook(move |op| if full(op) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) });
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    let put_large = bucket.put_from("k", 300_000, &mut io::repeat(1).take(300_000));
    assert_eq!(put_large, Err(Error::NoSpace));
    watch.unhook();
    assert_eq!(bucket.put("l", "1"), Err(Error::NoSpace), "it sticks");
    drop(bucket);
    assert_eq!(txn.commit(), Err(Error::NoSpace));
    assert_eq!(put(&db), Ok(()), "there is room again");
    watch.hook(|op| if op.is_sync() { Err(ErrorKind::Other.into()) } else { Ok(()) });
    assert_eq!(db.exec("b", |txn| txn.put("l", "1")), Err(Error::IoError));
    watch.unhook();
    assert_eq!(put(&db), Err(Error::Poisoned));
}

#[test]
fn a_commit_whose_flush_fails_gives_the_pages_of_its_values_back() {
    let (memory, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("small", "1")).unwrap();
    let value = bytes(1, 300_000);
    let mut lens = Vec::new();
    for _ in 0..6 {
        let txn = db.begin();
        txn.bucket("b").unwrap().put_from("k", 300_000, &mut &*value).unwrap();
        let reader = txn.bucket("b").unwrap().get_reader("k").unwrap();
        watch.hook(|op| match op {
            Op::Write { .. } => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        });
        assert_eq!(txn.commit(), Err(Error::NoSpace));
        watch.unhook();
        db.exec("b", |txn| txn.put("other", bytes(7, 300_000))).unwrap();
        db.exec("b", |txn| txn.del("other")).unwrap();
        let mut read = Vec::new();
        { reader }.read_to_end(&mut read).unwrap();
        assert!(read == value, "who reads it still has it");
        db.exec("b", |txn| txn.put("small", "2")).unwrap();
        assert_sound(&db);
        lens.push(file_len(&memory));
    }
    assert_eq!(lens[2], lens[5], "{lens:?}");
}

#[test]
fn a_load_is_what_puts_would_have_made() {
    for setting in SETTINGS {
        let db = store(setting);
        db.exec("b", |txn| txn.put("a", "first")).unwrap();
        let value = |at: u32| vec![u8::try_from(at % 251).unwrap(); [3, 60, 900][at as usize % 3]];
        let entry = |at: u32| (format!("k{at:05}"), value(at));
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        bucket.put("b", "own").unwrap();
        assert_eq!(bucket.bulk_load((0..700).map(entry)), Ok(700));
        assert_eq!(bucket.bulk_load((700..1_400).map(entry)), Ok(700));
        assert_eq!(bucket.bulk_load::<&str, &str>([]), Ok(0));
        bucket.del("k00500").unwrap();
        assert_eq!(bucket.bulk_load([("z", vec![1; 300_000])]), Ok(1));
        assert_eq!(txn.bucket("new").unwrap().bulk_load::<&str, &str>([]), Ok(0));
        assert_eq!(bucket.len(), 1_402);
        drop(bucket);
        txn.commit().unwrap();
        assert_eq!(db.buckets().unwrap(), ["b"], "an empty load makes no bucket");
        db.view("b", |txn| {
            let mut all = txn.range::<[u8]>(..).map(Result::unwrap);
            assert_eq!(all.next().unwrap(), (b"a".to_vec(), b"first".to_vec()));
            assert_eq!(all.next().unwrap(), (b"b".to_vec(), b"own".to_vec()));
            for at in (0..1_400).filter(|&at| at != 500) {
                let (key, value) = entry(at);
                assert_eq!(all.next().unwrap(), (key.into_bytes(), value));
            }
            assert_eq!(all.next().unwrap(), (b"z".to_vec(), vec![1; 300_000]));
            assert!(all.next().is_none());
            Ok(())
        })
        .unwrap();
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn a_load_that_fails_in_the_middle_has_changed_nothing() {
    let db = store(SETTINGS[1]);
    db.exec("b", |txn| txn.put("f", "1")).unwrap();
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    let (big, long) = (vec![0; 2_000], vec![b'z'; 129]);
    let cases: [(&[&[u8]], Error); 8] = [
        (&[b"g", b"h", b"h"], Error::Duplicate),
        (&[b"g", b"i", b"h"], Error::Invalid),
        (&[b"f"], Error::Duplicate),
        (&[b"e", b"g"], Error::Invalid),
        (&[b"g", b""], Error::Invalid),
        (&[b""], Error::Invalid),
        (&[b"g", &long], Error::TooLarge),
        (&[b"g", b"h", b"g"], Error::Invalid),
    ];
    for (keys, wanted) in cases {
        let loaded = bucket.bulk_load(keys.iter().map(|key| (key, &big)));
        assert_eq!((loaded, bucket.len()), (Err(wanted), 1), "{keys:?}");
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        bucket.bulk_load((0..100).map(|at| {
            assert!(at < 50, "the input panics");
            (format!("g{at:03}"), "")
        }))
    }));
    assert!(panicked.is_err());
    assert_eq!(bucket.len(), 1);
    assert_eq!(bucket.bulk_load([("g", "2")]), Ok(1), "it goes on");
    drop(bucket);
    txn.commit().unwrap();
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(2));
    let txn = db.begin();
    txn.bucket("b").unwrap().bulk_load((0..9_000).map(|at| (format!("h{at:05}"), "v"))).unwrap();
    drop(txn);
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(2));
    assert_sound(&db);
}

#[test]
fn the_input_may_use_the_transaction_but_not_change_the_bucket() {
    let db = store(SETTINGS[1]);
    db.exec("from", |txn| (0..300).try_for_each(|at| txn.put(format!("{at:03}"), [7; 40])))
        .unwrap();
    let txn = db.begin();
    let mut to = txn.bucket("to").unwrap();
    let from = txn.bucket("from").unwrap();
    let entries = from.iter().map(|entry| {
        let (key, value) = entry.unwrap();
        assert_eq!(txn.bucket("to").unwrap().len(), 0, "it is there when it is there as a whole");
        txn.bucket("log").unwrap().put(&key, "").unwrap();
        (key, value)
    });
    assert_eq!(to.bulk_load(entries), Ok(300));
    let changing = (0..3).map(|at| {
        txn.bucket("to").unwrap().put(format!("own {at}"), "").unwrap();
        (format!("z{at}"), "")
    });
    assert_eq!(to.bulk_load(changing), Err(Error::Invalid));
    assert_eq!(story(Error::Invalid), "the bucket was changed while entries were loaded");
    assert_eq!(to.len(), 303);
    drop((to, from));
    txn.commit().unwrap();
    assert_eq!(db.view("to", |txn| Ok(txn.len())), Ok(303));
    assert_eq!(db.view("log", |txn| Ok(txn.len())), Ok(300));
}

#[test]
fn a_load_conflicts_with_keys_from_its_first_one_on_and_no_others() {
    let load = |keys: &[&str], other: &str| {
        let db = store(SETTINGS[1]);
        db.exec("b", |txn| ["a", "m"].iter().try_for_each(|key| txn.put(key, "1"))).unwrap();
        let txn = db.begin();
        let mut bucket = txn.bucket("b").unwrap();
        let loaded = bucket.bulk_load(keys.iter().map(|key| (key, "2")));
        bucket.put("0", "own").unwrap();
        drop(bucket);
        db.exec("b", |txn| txn.put(other, "3")).unwrap();
        (loaded, txn.commit())
    };
    let (gone, ok) = (Err(Error::Conflict), Ok(()));
    assert_eq!(load(&["p", "r"], "o"), (Ok(2), ok));
    assert_eq!(load(&["p", "r"], "p"), (Ok(2), gone));
    assert_eq!(load(&["p", "r"], "q"), (Ok(2), gone));
    assert_eq!(load(&["p", "r"], "z"), (Ok(2), gone), "it would have been refused");
    // Nor is what was answered to those that were refused true any more.
    assert_eq!(load(&["m"], "z"), (Err(Error::Duplicate), gone));
    assert_eq!(load(&["c"], "m"), (Err(Error::Invalid), gone));
    assert_eq!(load(&["c"], "b"), (Err(Error::Invalid), ok));
    assert_eq!(load(&[""], "z"), (Err(Error::Invalid), ok), "it was not compared");
}

#[test]
fn a_flush_under_way_that_fails_does_not_take_what_was_set_aside_meanwhile() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", bytes(1, 100_000))).unwrap();
    let value = bytes(2, 300_000);
    let (reached, wait) = mpsc::channel();
    let (go_on, stopped) = mpsc::channel::<()>();
    let txn = db.begin();
    std::thread::scope(|scope| {
        let mut has_failed = false;
        watch.hook(move |op| match op {
            Op::Write { .. } if !std::mem::replace(&mut has_failed, true) => {
                reached.send(()).unwrap();
                stopped.recv().unwrap();
                Err(ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        });
        let other = scope.spawn(|| {
            // Longer than the file is: its pages are taken back when it fails.
            db.exec("b", |txn| (0..2_000_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [3; 80])))
        });
        wait.recv().unwrap();
        // The watch's hook runs one call at a time: the value is written when it has returned.
        let put = scope
            .spawn(|| txn.bucket("b").unwrap().put_from("early", 300_000, &mut value.as_slice()));
        // Its pages are set aside by then.
        std::thread::sleep(Duration::from_millis(100));
        go_on.send(()).unwrap();
        assert_eq!(other.join().unwrap(), Err(Error::NoSpace));
        put.join().unwrap().unwrap();
    });
    watch.unhook();
    for round in 0..4 {
        db.exec("c", |txn| (0..900_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [round; 80])))
            .unwrap();
    }
    assert!(txn.bucket("b").unwrap().get("early").unwrap() == value);
    // Set aside before the other one failed, it may have gone with that, for all that is known.
    match txn.commit() {
        Ok(()) => assert_holds(&db, "early", &value),
        Err(error) => assert_eq!(error, Error::Conflict),
    }
    assert_sound(&db);
}

#[test]
fn a_value_for_which_the_file_cannot_grow_leaves_no_mark_on_its_length() {
    let (memory, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let len = file_len(&memory);
    watch.hook(|op| match op {
        Op::SetLen(_) => Err(ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    let txn = db.begin();
    let put = txn.bucket("b").unwrap().put_from("l", 300_000, &mut io::repeat(1).take(300_000));
    assert_eq!(put, Err(Error::NoSpace));
    drop(txn);
    watch.hook(|op| match op {
        Op::Write { offset, len } if offset + *len as u64 > 20 * 512 => {
            Err(ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    let fill =
        db.exec("b", |txn| (0..1_000_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [7; 100])));
    assert_eq!(fill, Err(Error::NoSpace));
    assert_eq!(file_len(&memory), len);
}

/// A reader gives a value that others remove, and whose pages they could use again.
fn assert_kept(db: &BTree, mut reader: ValueReader, value: &[u8]) {
    db.exec("b", |txn| txn.del("k")).unwrap();
    for round in 2..12_u8 {
        db.exec("other", |txn| txn.put("x", vec![round; 300_000])).unwrap();
    }
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == value);
}

/// A reader of a value that was put has the state in which its transaction began, which is without
/// that value.
#[test]
fn a_reader_keeps_the_pages_of_a_value_that_was_committed_behind_its_state_and_removed() {
    let db = btree_store::Options::new().open_in_memory().unwrap();
    db.exec("b", |txn| txn.put("a", "1")).unwrap();
    let txn = db.begin();
    for round in 0..2_u8 {
        db.exec("other", |txn| txn.put("x", [round])).unwrap();
    }
    let value = vec![1_u8; 300_000];
    txn.bucket("b").unwrap().put_from("k", 300_000, &mut &*value).unwrap();
    let reader = txn.bucket("b").unwrap().get_reader("k").unwrap();
    txn.commit().unwrap();
    assert_kept(&db, reader, &value);
}

#[test]
fn so_does_the_reader_of_a_closure_whose_commit_follows_one_that_failed() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("a", "1")).unwrap();
    watch.hook(|op| match op {
        Op::Write { .. } => Err(ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    assert_eq!(db.exec("b", |txn| txn.put("a", "2")), Err(Error::NoSpace));
    watch.unhook();
    let value = vec![1_u8; 300_000];
    let put = |txn: &mut btree_store::Txn<'_>| {
        txn.put("k", &value)?;
        txn.get_reader("k")
    };
    let reader = db.exec("b", put).unwrap();
    assert_kept(&db, reader, &value);
}

#[test]
fn a_call_that_changes_nothing_while_entries_come_is_no_change() {
    let db = Options::new().page_size(512).open_in_memory().unwrap();
    db.exec("b", |txn| txn.put("a", "1")).unwrap();
    let txn = db.begin();
    let (mut bucket, mut other) = (txn.bucket("b").unwrap(), txn.bucket("b").unwrap());
    let entries = ["b", "c"].into_iter().map(|key| {
        assert_eq!(other.del("missing"), Err(Error::NotFound));
        assert_eq!(other.insert("a", "2"), Err(Error::Duplicate));
        assert_eq!(other.update("missing", "2"), Ok(false));
        (key, "v")
    });
    assert_eq!(bucket.bulk_load(entries), Ok(2));
    txn.commit().unwrap();
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(3));
}

#[test]
fn whatever_changes_the_bucket_while_entries_come_fails_the_load() {
    type Changes = fn(&OwnedTxn) -> Result<()>;
    let changes: [(&str, Changes); 7] = [
        ("b", |txn| txn.bucket("b")?.bulk_load([("x", "")]).map(drop)),
        ("b", |txn| txn.bucket("b")?.put_from("a", 1, &mut "2".as_bytes())),
        ("b", |txn| txn.bucket("b")?.del("a")),
        ("b", |txn| txn.bucket("b")?.delete_range("a"..).map(drop)),
        ("b", |txn| txn.del_bucket("b")),
        ("b", |txn| txn.del_bucket("b").and_then(|()| txn.create_bucket("b"))),
        ("new", |txn| txn.create_bucket("new")),
    ];
    for (number, (name, change)) in changes.into_iter().enumerate() {
        let db = store(SETTINGS[1]);
        db.exec("b", |txn| txn.put("a", "1")).unwrap();
        let txn = db.begin();
        let mut changed = Some(change);
        let entries = ["k", "l"].into_iter().inspect(|_| {
            changed.take().into_iter().for_each(|change| change(&txn).unwrap());
        });
        let loaded = txn.bucket(name).unwrap().bulk_load(entries.map(|key| (key, "v")));
        assert_eq!(loaded, Err(Error::Invalid), "change {number}");
        assert_eq!(txn.bucket(name).unwrap().contains("k"), Ok(false), "change {number}");
        txn.commit().unwrap();
        let after = db.begin();
        assert_eq!(after.bucket(name).unwrap().contains("k"), Ok(false), "change {number}");
        assert_sound(&db);
    }
}

/// Values that wait for the commit are told apart by numbers, in a leaf that has several of them.
#[test]
fn large_values_of_a_load_and_behind_it_stay_apart() {
    let db = tiny(MemVfs::new()).open(NAME).unwrap();
    let txn = db.begin();
    let mut bucket = txn.bucket("b").unwrap();
    let value = |seed| bytes(seed, 9_000);
    bucket.put("a", value(1)).unwrap();
    assert_eq!(bucket.bulk_load([("b", value(2)), ("c", value(3))]), Ok(2));
    bucket.put("d", value(4)).unwrap();
    for (key, seed) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        assert!(bucket.get(key).unwrap() == value(seed), "{key}");
    }
    drop(bucket);
    txn.commit().unwrap();
    for (key, seed) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        assert_holds(&db, key, &value(seed));
    }
    assert_sound(&db);
}

/// Reads of more than a page fail from now on, as if something else were there.
fn spoil_large_reads(watch: &Watch) {
    watch.hook(|op| match op {
        Op::Read { len, .. } if *len > PAGE => Err(io::Error::other("another value")),
        _ => Ok(()),
    });
}

/// What is read when a value's pieces are asked for until one fails.
fn failure_of(mut reader: ValueReader) -> Error {
    loop {
        match reader.next_piece() {
            Ok(piece) => assert!(piece.is_some(), "the value is there as a whole"),
            Err(error) => return error,
        }
    }
}

#[test]
fn what_is_durable_is_not_said_to_be_lost_when_a_later_commit_fails() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let value = bytes(1, 700_001);
    let put = |txn: &OwnedTxn| {
        let mut bucket = txn.bucket("b")?;
        bucket.put_from("k", value.len() as u64, &mut value.as_slice())?;
        bucket.get_reader("k")
    };
    let txn = db.begin();
    let of_begin = put(&txn).unwrap();
    txn.commit().unwrap();
    let of_transact = db.transact(put).unwrap();
    watch.hook(|op| match op {
        Op::Write { .. } => Err(ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    assert_eq!(db.exec("b", |txn| txn.put("other", "1")), Err(Error::NoSpace));
    spoil_large_reads(&watch);
    for reader in [of_begin, of_transact] {
        assert_eq!(failure_of(reader), Error::IoError);
        assert!(story(Error::IoError).contains("another value"));
    }
}

#[test]
fn a_compaction_of_which_a_sync_fails_tells_who_has_put_a_value_early() {
    let begun = || {
        let (_, watch) = Watch::memory();
        let db = tiny(watch.clone()).open(NAME).unwrap();
        db.exec("b", |txn| txn.put("k", "v")).unwrap();
        let txn = db.begin();
        let value = bytes(1, 300_000);
        txn.bucket("b").unwrap().put_from("early", 300_000, &mut value.as_slice()).unwrap();
        (watch, db, txn)
    };
    // Of this number, from 1, the sync fails. Returns how many there were.
    let compact = |watch: &Watch, db: &BTree, fails: u64| {
        let syncs = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&syncs);
        watch.hook(move |op| {
            let is_it = op.is_sync() && count.fetch_add(1, Ordering::Relaxed) + 1 == fails;
            if is_it { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        });
        let ended = db.compact(0);
        watch.unhook();
        (syncs.load(Ordering::Relaxed), ended)
    };
    let (watch, db, txn) = begun();
    // So that a copy is written before the file's end is cut off.
    let (syncs, ended) = compact(&watch, &db, 0);
    ended.unwrap();
    drop((txn, db));
    assert!(syncs > 0, "a compaction syncs");
    for fails in 1..=syncs {
        let (watch, db, txn) = begun();
        compact(&watch, &db, fails).1.unwrap_err();
        spoil_large_reads(&watch);
        let found = txn.bucket("b").unwrap().get("early");
        assert_eq!(found, Err(Error::Conflict), "sync {fails} of {syncs}");
    }
}

#[test]
fn a_reader_of_the_run_that_has_the_turn_says_what_took_its_value() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let value = bytes(1, 300_000);
    let (mut runs, mut kept) = (0, None);
    let ended = db.transact(|txn| {
        runs += 1;
        if runs < 5 {
            return Err(Error::Conflict);
        }
        let mut bucket = txn.bucket("b")?;
        bucket.put_from("large", value.len() as u64, &mut value.as_slice())?;
        kept = Some(bucket.get_reader("large")?);
        watch.hook(|op| if op.is_sync() { Err(io::Error::other("of a sync")) } else { Ok(()) });
        Ok(())
    });
    assert_eq!(ended, Err(Error::IoError));
    spoil_large_reads(&watch);
    assert_eq!(failure_of(kept.unwrap()), Error::IoError);
    let told = story(Error::IoError);
    assert!(told.contains("of a sync"), "{told}");
}

fn panic_at_syncs(watch: &Watch) {
    watch.hook(|op| {
        assert!(!op.is_sync(), "the storage panics");
        Ok(())
    });
}

#[test]
fn a_commit_of_which_a_sync_panics_tells_who_has_put_a_value_early() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let (txn, value) = (db.begin(), bytes(1, 300_000));
    txn.bucket("b").unwrap().put_from("early", 300_000, &mut value.as_slice()).unwrap();
    panic_at_syncs(&watch);
    let other = AssertUnwindSafe(|| db.exec("other", |txn| txn.put("k", "w")));
    assert!(catch_unwind(other).is_err());
    spoil_large_reads(&watch);
    assert_eq!(txn.bucket("b").unwrap().get("early"), Err(Error::Conflict));
    assert_eq!(txn.commit(), Err(Error::Conflict));
}

/// What one reads of a commit whose sync panics is not what is wrong with the file.
#[test]
fn a_reader_of_a_value_that_a_panicking_sync_took_says_so() {
    let (_, watch) = Watch::memory();
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let (value, mut kept) = (bytes(1, 300_000), None);
    panic_at_syncs(&watch);
    let put = AssertUnwindSafe(|| {
        db.exec("b", |txn| {
            txn.put("large", &value)?;
            kept = Some(txn.get_reader("large")?);
            Ok(())
        })
    });
    assert!(catch_unwind(put).is_err());
    spoil_large_reads(&watch);
    assert_eq!(failure_of(kept.unwrap()), Error::Internal);
}
