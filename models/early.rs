//! Values that are written before their commit, in every order with those who change the file's
//! length, and with a flush that fails: the real store over a disk that knows what is durable.
//!
//! Attacks: durable-before-ok, no-reuse-while-reachable, snapshot-stable, failed-sync-poisons.

use super::commit::{make_bucket, open};
use super::disk::{Disk, Fault, PAGE};
use super::{Model, models};
use crate::commit::{Core, EarlyWriter};
use crate::tree::{EarlyRun, PageRead};
use crate::{BTree, Error};
use loom::thread;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = models![
    a_value_behind_the_end_is_not_cut_off,
    the_end_is_cut_off_beside_a_value,
    a_write_fails_beside_a_value,
    a_sync_fails_beside_a_value,
];

/// A byte that no page has where nothing was written.
const BYTE: u8 = 7;

/// Sets pages aside for a value.
fn begin(core: &Core, pages: u32) -> EarlyWriter<'_> {
    let mut guard = core.begin().unwrap();
    EarlyWriter::begin(core, &mut guard.writer().space, pages * PAGE).unwrap()
}

/// Writes a value, a page at a time.
fn write(mut value: EarlyWriter<'_>, pages: u32) -> Arc<EarlyRun> {
    (0..pages).for_each(|_| value.push(&[BYTE; PAGE as usize]).unwrap());
    value.finish().unwrap()
}

/// All of a value is in the file.
fn check(core: &Core, value: &EarlyRun) {
    let mut found = Vec::new();
    core.pager.read_run(value.run, &mut found).unwrap();
    assert!(found.iter().all(|&byte| byte == BYTE));
}

/// One value makes the file longer twice, the second time beside a commit that makes it longer
/// still, and beside another value, which may lie in what that commit adds. Of both all is in the
/// file.
fn a_value_behind_the_end_is_not_cut_off() {
    let disk = Disk::of_calls();
    let db = open(&disk);
    let core = Arc::clone(db.snapshot().core());
    let first = begin(&core, 2);
    let commit = {
        let db = db.clone();
        thread::spawn(move || db.exec("b", |txn| txn.put("k", "v")).unwrap())
    };
    let second = {
        let core = Arc::clone(&core);
        thread::spawn(move || write(begin(&core, 1), 1))
    };
    let runs = [write(first, 2), second.join().unwrap()];
    commit.join().unwrap();
    runs.iter().for_each(|run| check(&core, run));
}

/// The end of the file is given back, but for the value that somebody puts there.
fn the_end_is_cut_off_beside_a_value() {
    let disk = Disk::of_calls();
    let db = open(&disk);
    let core = Arc::clone(db.snapshot().core());
    // Makes the file longer, and is dropped.
    write(begin(&core, 4), 4);
    let value = {
        let core = Arc::clone(&core);
        thread::spawn(move || write(begin(&core, 2), 2))
    };
    core.shorten_file().unwrap();
    check(&core, &value.join().unwrap());
}

/// A large value of an owned transaction, beside a commit, where one call of the disk fails, and
/// takes all that is not durable. What either was told is durable is.
fn beside_a_value(fault: Fault) -> BTree {
    let disk = Disk::of_calls();
    let db = open(&disk);
    disk.arm_with_loss(fault);
    let other = {
        let db = db.clone();
        thread::spawn(move || db.exec("b", |txn| txn.put("k", "v")))
    };
    let value = [BYTE; 2 * PAGE as usize];
    let txn = db.begin();
    let put = || txn.bucket("o")?.put_from("k", value.len() as u64, &mut value.as_slice());
    let outcome = put().and_then(|()| txn.commit());
    let told = other.join().unwrap();
    for db in [&db, &open(&disk.after_power_failure())] {
        if outcome.is_ok() {
            assert!(db.view("o", |txn| txn.get("k")).unwrap() == value, "it was acknowledged");
        }
        if told.is_ok() {
            assert!(db.view("b", |txn| txn.get("k")).unwrap() == b"v", "it was acknowledged");
        }
    }
    db
}

/// The second write: of the commit, where the value was written before it.
fn a_write_fails_beside_a_value() {
    let db = beside_a_value(Fault::Page(2));
    make_bucket(&db, "late").unwrap();
}

fn a_sync_fails_beside_a_value() {
    let db = beside_a_value(Fault::Sync(1));
    assert_eq!(make_bucket(&db, "late"), Err(Error::Poisoned));
}
