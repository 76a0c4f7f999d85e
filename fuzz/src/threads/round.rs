//! One kind of store, round after round: opened, used by all threads, closed, and looked at.
//!
//! Owns: the files, the threads and how long they run. Must not know: what each does.

use crate::must;
use crate::opening::open_and_close;
use crate::pairs::{Draw, KEYS, key, value};
use crate::reading::{Reader, keep, read_all};
use crate::upkeep::Upkeep;
use crate::writing::Writer;
use btree_store::{BTree, Options, Result};
use std::fs::{create_dir_all, remove_dir_all};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 3;
const READERS: u64 = 4;
const WRITERS: u64 = 2;

/// How a store is opened.
pub struct Kind {
    pub name: &'static str,
    pub options: fn() -> Options,
}

/// What was done.
#[derive(Default)]
struct Tally {
    looks: u64,
    writes: u64,
    opens: u64,
}

/// All rounds of a kind of store. Its files stay where something fails.
pub fn run(kind: &Kind, each: Duration, seeds: &mut Draw) {
    let dir = format!("btree-store-threads-{}-{}", std::process::id(), kind.name);
    let dir = std::env::temp_dir().join(dir);
    create_dir_all(&dir).expect("the system has a place for files that do not stay");
    let path = dir.join("data.db");
    let mut tally = Tally::default();
    for round in 0..ROUNDS {
        let db = must((kind.options)().open(&path));
        must(prepare(&db));
        use_all(&db, round, each, &dir, seeds, &mut tally);
        must(read_all(&db));
    }
    let db = must((kind.options)().open(&path));
    assert!(must(db.verify()).is_sound(), "the store is sound when all is over");
    must(read_all(&db));
    let (seq, Tally { looks, writes, opens }) = (db.current_seq(), tally);
    let name = kind.name;
    println!("{name}: {ROUNDS} rounds, {looks} looks, {writes} writes, {opens} opens, state {seq}");
    drop(db);
    remove_dir_all(&dir).expect("nobody else has the files");
}

/// Both buckets are there from the beginning, also for readers, and every second key of one.
fn prepare(db: &BTree) -> Result<()> {
    db.exec("h", |txn| txn.put(key(0), value(0, 0, 0)))?;
    if !db.contains_bucket("g")? {
        let mut numbers = (0..KEYS).step_by(2);
        db.exec("g", |txn| numbers.try_for_each(|at| txn.put(key(at), value(at, 1, 30))))?;
    }
    db.sync()
}

fn use_all(
    db: &BTree,
    round: u64,
    each: Duration,
    dir: &Path,
    seeds: &mut Draw,
    tally: &mut Tally,
) {
    let (stop, path) = (&AtomicBool::new(false), &dir.join("data.db"));
    let (keeper, snapshots) = channel();
    thread::scope(|scope| {
        let draw = seeds.apart();
        scope.spawn(move || keep(&snapshots, draw));
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let (db, keeper, draw) = (db.clone(), keeper.clone(), seeds.apart());
                scope.spawn(move || Reader { db, draw, stop, keeper }.run())
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (db, keeper, draw) = (db.clone(), keeper.clone(), seeds.apart());
                let stamp = (round * WRITERS + writer + 1) << 32;
                scope.spawn(move || Writer { db, draw, stop, keeper, stamp }.run())
            })
            .collect();
        drop(keeper);
        let (db, draw) = (db.clone(), seeds.apart());
        scope.spawn(move || Upkeep { db, draw, stop, path, dir }.run());
        let begun = Instant::now();
        // A thread that ends before it was told to has failed.
        let runs = || !readers.iter().chain(&writers).any(thread::ScopedJoinHandle::is_finished);
        while begun.elapsed() < each && runs() {
            tally.opens += open_and_close(&dir.join("other.db"));
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        let sum = |threads: Vec<thread::ScopedJoinHandle<'_, u64>>| -> u64 {
            threads.into_iter().map(|thread| thread.join().expect("no thread fails")).sum()
        };
        tally.looks += sum(readers);
        tally.writes += sum(writers);
    });
}
