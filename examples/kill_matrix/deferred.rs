//! Commits that nobody waits for: a sync and the end of the store make them durable, the loss of
//! one is told, and not too many wait.

use crate::common::watch::{Op, Watch};
use crate::matrix::budget::{Budget, Checked, ensure};
use crate::matrix::scripts::{PAGE, PATH, options};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Durability, Error};
use std::io::ErrorKind;
use std::sync::Arc;

pub fn run(budget: &mut Budget) -> Checked {
    kept(budget, "a sync", |db| db.sync().map(|()| Some(db)))?;
    kept(budget, "the end of the store", |db| {
        drop(db);
        Ok(None)
    })?;
    lost(budget)?;
    counted(budget)
}

/// Entries that ascend, some at a time, wait until they are so many that the store flushes unasked:
/// at 256 KiB without a cache.
fn counted(budget: &mut Budget) -> Checked {
    let (_, watch) = Watch::memory();
    let db = options(Arc::new(watch.clone())).cache_bytes(0).open(PATH)?;
    let before = watch.counts().syncs;
    for first in (0..3_000_u32).step_by(100) {
        budget.spend();
        db.exec("b", |txn| {
            txn.set_durability(Durability::Deferred);
            (first..first + 100).try_for_each(|n| txn.put(n.to_be_bytes(), [7; 96]))
        })?;
        if watch.counts().syncs > before {
            return Ok(());
        }
    }
    ensure(false, || "300,000 bytes wait".to_owned())
}

fn put(db: &BTree, key: &str, durability: Durability) -> Result<(), Error> {
    db.exec("b", |txn| {
        txn.set_durability(durability);
        txn.put(key, "v")
    })
}

/// What makes deferred commits durable, and the store if it is still open then.
type End = fn(BTree) -> Result<Option<BTree>, Error>;

/// What is deferred is there after this, even if the process is killed then.
fn kept(budget: &mut Budget, what: &str, end: End) -> Checked {
    budget.spend();
    let memory = MemVfs::new();
    let db = options(Arc::new(memory.clone())).open(PATH)?;
    put(&db, "k", Durability::Deferred)?;
    let _open = end(db)?;
    let left = options(Arc::new(memory.snapshot())).open(PATH)?;
    let found = left.view("b", |txn| txn.get("k"));
    ensure(found == Ok(b"v".to_vec()), || format!("{what} leaves {found:?}"))
}

/// The flush of another handle takes a deferred commit with it.
fn lost(budget: &mut Budget) -> Checked {
    budget.spend();
    let (_, watch) = Watch::memory();
    let db = options(Arc::new(watch.clone())).open(PATH)?;
    let other = db.clone();
    put(&db, "deferred", Durability::Deferred)?;
    let is_page =
        |op: &Op| matches!(op, Op::Write { offset, .. } if *offset >= 2 * u64::from(PAGE));
    watch.hook(move |op| if is_page(op) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) });
    let durable = put(&other, "durable", Durability::Durable);
    watch.unhook();
    ensure(durable == Err(Error::NoSpace), || format!("a full disk: {durable:?}"))?;
    let told = db.sync();
    ensure(told == Err(Error::NoSpace), || format!("of a lost commit a sync says {told:?}"))
}
