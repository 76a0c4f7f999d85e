//! Every page of the file accounted for after each commit, by a walk that shares no code with
//! the engine.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::scripts::{PATH, check_pages, fill, key, options, roomy, value};
use btree_store::sim::Seeded;
use btree_store::sim::oracle::{Handle, KeyShape, Op, ValueShape, Workload};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Durability, Error};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const OPS: u32 = 60;
/// Entries with a large value each, in two leaves.
const ENTRIES: u32 = 18;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    let found = directed(budget).err().or_else(|| random(budget).err());
    let found = found.or_else(|| new_roots(budget).err());
    let found = found.or_else(|| readers_in_turn(budget).err());
    found.or_else(|| reader_of_what_came_later(budget).err())
}

/// One step of each kind, and what is left after it.
fn directed(budget: &mut Budget) -> Checked {
    let vfs = Arc::new(MemVfs::new());
    let open = || options(vfs.clone()).open(PATH);
    let mut db = open()?;
    let steps: &[fn(&BTree) -> Result<(), Error>] = &[
        |db| db.exec("b", |txn| txn.put(key(1), value(1, 40))),
        |db| db.exec("b", |txn| txn.put(key(1), value(2, 40))),
        |db| db.exec("b", |txn| txn.put(key(2), value(3, 1500))),
        |db| db.exec("b", |txn| txn.put(key(2), value(4, 900))),
        fill,
        |db| db.exec("b", |txn| (0..60).try_for_each(|n| txn.put(key(n), value(n, 100)))),
        |db| db.exec("b", |txn| (10..40).try_for_each(|n| txn.del(key(n)))),
        fails,
        panics,
        takes_back_parts,
        |db| db.exec("b", |txn| txn.del(key(2))),
        |db| db.compact(0).map(drop),
        // Leaves that are two thirds full, which a compaction fills up.
        |db| db.exec("b", |txn| (0..240).try_for_each(|n| txn.put(key(n * 103 % 240), [7; 60]))),
        |db| db.compact(0).map(drop),
        |db| db.del_bucket("other"),
        |db| db.del_bucket("b"),
        |db| db.exec("c", |txn| txn.put(key(1), value(1, 40))),
        abandons,
        // More than is written at once.
        |db| db.exec("c", |txn| txn.put(key(2), value(2, 300_000))),
    ];
    for step in steps {
        budget.spend();
        step(&db)?;
        check_pages(&db)?;
        budget.spend();
        drop(db);
        db = open()?;
        check_pages(&db)?;
    }
    Ok(())
}

fn fails(db: &BTree) -> Result<(), Error> {
    let failed = db.exec("b", |txn| {
        (0..9).try_for_each(|n| txn.put(key(n), value(n, 90)))?;
        Err::<(), _>(Error::Conflict)
    });
    if failed != Err(Error::Conflict) {
        return Err(Error::Internal);
    }
    db.exec("b", |txn| txn.put(key(90), value(1, 9)))
}

/// Large values that come to nothing leave every page as it was.
fn abandons(db: &BTree) -> Result<(), Error> {
    let unused = || db.stats().map(|stats| (stats.free_pages, stats.pending_pages));
    let before = unused()?;
    let failed = db.exec("c", |txn| {
        let written = value(1, 900);
        txn.put_from(key(1), 900, &mut written.as_slice())?;
        txn.put_from(key(1), 901, &mut written.as_slice())
    });
    if failed != Err(Error::Invalid) || unused()? != before {
        return Err(Error::Internal);
    }
    Ok(())
}

fn panics(db: &BTree) -> Result<(), Error> {
    let call = || {
        db.exec_multi(|multi| {
            multi.exec("b", |txn| txn.put(key(3), value(3, 700)))?;
            multi.exec("b", |txn| {
                (0..9).try_for_each(|n| txn.put(key(n), value(n, 90)))?;
                panic!("as planned")
            })
        })
    };
    if catch_unwind(AssertUnwindSafe(|| call().map(|()| ()))).is_ok() {
        return Err(Error::Internal);
    }
    db.exec("b", |txn| txn.put(key(91), value(1, 9)))
}

/// Parts that were made behind a deferred commit are taken back with the whole, and it stays.
fn takes_back_parts(db: &BTree) -> Result<(), Error> {
    db.exec("b", |txn| {
        txn.set_durability(Durability::Deferred);
        txn.put(key(4), "old")
    })?;
    let failed = db.exec_multi(|multi| {
        multi.exec("b", |txn| txn.put(key(4), "new"))?;
        multi.exec("b", |txn| txn.get(key(4)))?;
        Err::<(), _>(Error::Conflict)
    });
    db.sync()?;
    let left = db.view("b", |txn| txn.get(key(4)))?;
    if failed == Err(Error::Conflict) && left == b"old" { Ok(()) } else { Err(Error::Internal) }
}

fn random(budget: &mut Budget) -> Checked {
    for (seed, keys, values) in [
        (1, KeyShape::Longest, ValueShape::Edge),
        (2, KeyShape::Mixed, ValueShape::Mixed),
        (3, KeyShape::SharedPrefix, ValueShape::Large),
    ] {
        let mut store = Handle::open(options(Arc::new(MemVfs::new())), PATH)?;
        let mut workload = Workload::new(crate::matrix::scripts::PAGE, keys, values);
        workload.key_count = 100;
        let mut source = Seeded::new(seed);
        for number in 0..OPS {
            budget.spend();
            store.run(&workload.op(&mut source));
            check_pages(store.db())?;
            if number % 8 == 7 {
                store.run(&Op::Reopen);
                check_pages(store.db())?;
            }
        }
    }
    Ok(())
}

/// Entries are removed one by one, so that their leaf has a plan, and then by a range that makes
/// it the root.
fn new_roots(budget: &mut Budget) -> Checked {
    let short = |n: u32| key(n)[..21].to_vec();
    for gone in ENTRIES / 2..ENTRIES {
        let db = roomy(Arc::new(MemVfs::new())).open(PATH)?;
        let put = |n| db.exec("b", |txn| txn.put(short(n), value(n, 600 + n as usize * 100)));
        (0..ENTRIES).try_for_each(put)?;
        budget.spend();
        db.exec("b", |txn| {
            txn.del(short(gone))?;
            txn.delete_range(short(0).as_slice()..&short(ENTRIES - 1)).map(drop)
        })?;
        check_pages(&db)?;
    }
    Ok(())
}

/// One reads on until another has begun: what was written since the first did is younger than that
/// one, and is not younger than the other.
fn readers_in_turn(budget: &mut Budget) -> Checked {
    let db = options(Arc::new(MemVfs::new())).cache_bytes(0).open(PATH)?;
    let put = |n: u32| db.exec("b", |txn| txn.put(key(0), value(n, 3_000)));
    put(0)?;
    let first = db.snapshot();
    (1..6).try_for_each(put)?;
    let second = db.snapshot();
    drop(first);
    for n in 6..20 {
        budget.spend();
        put(n)?;
        // What grows takes whatever is free.
        db.exec("c", |txn| txn.put(key(n), value(n, 3_000)))?;
        let found = second.view("b", |txn| txn.get(key(0)))?;
        ensure(found == value(5, 3_000), || format!("a reader finds what commit {n} wrote"))?;
        check_pages(&db)?;
    }
    Ok(())
}

/// A value that was put before its commit, and read, is not of the state that its reader keeps.
fn reader_of_what_came_later(budget: &mut Budget) -> Checked {
    const LEN: u64 = 3_000;
    let db = options(Arc::new(MemVfs::new())).cache_bytes(0).open(PATH)?;
    let large = |n: u32| value(n, 3_000);
    let other = |n: u32| db.exec("c", |txn| txn.put(key(n), large(n)));
    db.exec("b", |txn| txn.put(key(0), value(0, 9)))?;
    let txn = db.begin();
    (0..2).try_for_each(other)?;
    let mut bucket = txn.bucket("b")?;
    bucket.put_from(key(1), LEN, &mut large(9).as_slice())?;
    let mut reader = bucket.get_reader(key(1))?;
    txn.commit()?;
    db.exec("b", |txn| txn.del(key(1)))?;
    for n in 2..12 {
        budget.spend();
        other(n)?;
    }
    let mut found = Vec::new();
    reader.read_to_end(&mut found).map_err(|error| Kill(format!("a value's reader: {error}")))?;
    ensure(found == large(9), || "a value's reader finds what others put".into())
}
