//! Sound files that the `file` target damages, made by the store itself.

use super::dump::{self, Contents};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Barriers, Options, Result};
use std::sync::{Arc, OnceLock};

/// A sound file, and what it may be found to hold.
pub struct Seed {
    pub bytes: Vec<u8>,
    pub page_size: usize,
    /// The state that an open finds, and the one before it if that is in the other slot.
    pub states: Vec<Contents>,
}

/// Where a file lies in its own memory.
pub const PATH: &str = "data.db";

/// Options for the file at [`PATH`].
pub fn on(vfs: &MemVfs) -> Options {
    Options::new().vfs(Arc::new(vfs.clone()))
}

/// All seeds; they are made once. A corpus means the seeds as they are: new ones come last.
pub fn all() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let history = |vfs: &MemVfs, page_size, rounds| {
            let db = on(vfs).page_size(page_size).open(PATH)?;
            (0..rounds).try_for_each(|round| work(&db, round))?;
            Ok(db)
        };
        vec![
            made(512, End::Close, |vfs| history(vfs, 512, 0)),
            made(512, End::Close, |vfs| history(vfs, 512, 2)),
            made(512, End::Kill, |vfs| history(vfs, 512, 9)),
            made(512, End::Kill, |vfs| history(vfs, 512, 10)),
            made(512, End::Kill, many_buckets),
            made(4096, End::Kill, |vfs| history(vfs, 4096, 6)),
            made(512, End::Close, fragmented),
            made(512, End::Kill, compacted),
        ]
    })
}

/// How the process that made a file ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Kill,
}

fn made(page_size: usize, end: End, make: impl FnOnce(&MemVfs) -> Result<BTree>) -> Seed {
    let vfs = MemVfs::new();
    let db = make(&vfs).expect("memory does not fail");
    let killed = vfs.snapshot();
    drop(db);
    let vfs = if end == End::Kill { killed } else { vfs };
    let bytes = vfs.read_file(PATH).expect("the file was made");
    let mut states = Vec::new();
    for slot in 0..2 {
        // Without the one slot, the other counts.
        let mut bytes = bytes.clone();
        bytes[slot * page_size..(slot + 1) * page_size].fill(0);
        let vfs = MemVfs::new();
        vfs.write_file(PATH, &bytes);
        let db = on(&vfs).read_only().open(PATH).expect("the other slot is whole");
        let state = dump::contents(&dump::read(&db));
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Seed { bytes, page_size, states }
}

fn key(number: u32, len: usize) -> Vec<u8> {
    let mut key = vec![b'k'; len];
    key.extend_from_slice(&number.to_be_bytes()[2..]);
    key
}

/// A transaction or two, each round others: short and long keys, values of several pages.
fn work(db: &BTree, round: u32) -> Result<()> {
    db.exec("one", |txn| {
        for number in 0..6 {
            let len = usize::try_from(number * 37 + round * 11).unwrap_or(0) % 190;
            txn.put(key(round * 5 + number, 3), vec![b'v'; len])?;
        }
        txn.put(key(round * 64, 3), vec![b'o'; 700 + usize::try_from(round).unwrap_or(0)])?;
        if round % 3 == 2 {
            txn.delete_range(key(round * 3, 3).as_slice()..key(round * 4, 3).as_slice())?;
        }
        Ok(())
    })?;
    db.exec_multi(|multi| {
        multi.exec("long", |txn| {
            (0..4).try_for_each(|n| txn.put(key(round * 7 + n, 100), [b'l'; 20]))
        })?;
        multi.exec(format!("round {}", round % 4), |txn| txn.put("r", round.to_le_bytes()))
    })
}

/// So many buckets that the catalog is a tree of two levels.
fn many_buckets(vfs: &MemVfs) -> Result<BTree> {
    let db = on(vfs).page_size(512).barriers(Barriers::Two).open(PATH)?;
    db.exec_multi(|multi| {
        (0..24).try_for_each(|n| multi.exec(format!("bucket {n:02}"), |txn| txn.put("k", [n; 9])))
    })?;
    db.del_bucket("bucket 07")?;
    Ok(db)
}

/// So many holes that the space log has pages.
fn fragmented(vfs: &MemVfs) -> Result<BTree> {
    let db = on(vfs).page_size(512).open(PATH)?;
    let large = vec![b'x'; 400];
    db.exec("b", |txn| (0..64).try_for_each(|n| txn.put(key(n, 8), &large)))?;
    for n in (0..64).step_by(3) {
        db.exec("b", |txn| txn.del(key(n, 8)))?;
    }
    Ok(db)
}

/// A file that was shortened, and written again.
fn compacted(vfs: &MemVfs) -> Result<BTree> {
    let db = fragmented(vfs)?;
    db.exec("b", |txn| txn.delete_range(key(6, 8).as_slice()..key(50, 8).as_slice()))?;
    db.compact(0)?;
    db.exec("b", |txn| txn.put("after", [b'a'; 1200]))?;
    Ok(db)
}
