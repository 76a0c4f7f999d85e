//! The process that recovers from a crash meets a failure and ends; the next one recovers too, and
//! commits; then the power fails again.

use crate::matrix::budget::{Budget, Kill};
use crate::matrix::scripts::{PAGE, PATH};
use btree_store::sim::{
    Checked, Crash, Errno, Explorer, Failure, Fault, Mark, OpSet, SimDisk, SyncFailure, When,
};
use btree_store::{BTree, Error, Options};

pub fn run(budget: &mut Budget) -> Option<Kill> {
    let ways = [
        (OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio)),
        (OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::Drop)),
        (OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::Keep)),
        (OpSet::SYNCS, When::Chosen(1), LATE),
    ];
    ways.into_iter().find_map(|way| explore(budget, way))
}

const LATE: Failure = Failure::Sync(SyncFailure::Late);

/// What fails, when, and how.
type Way = (OpSet, When, Failure);

/// A number in each of two buckets, whose leaves are pages of their own.
type Numbers = [u8; 2];

fn explore(budget: &mut Budget, way: Way) -> Option<Kill> {
    let workload = |disk: &SimDisk| -> Checked {
        let db = open(disk)?;
        put(&db, [1, 1])?;
        disk.forget_crash_points();
        put(&db, [2, 2])?;
        disk.kill();
        Ok(())
    };
    let explorer = Explorer::new("a recovery fails").nested(1);
    let report = explorer.explore(workload, |disk, crash| {
        budget.spend();
        if crash.depth() == 1 { recover_twice(disk, way) } else { check(disk, crash) }
    });
    budget.judge(report).map(|Kill(found)| Kill(format!("{way:?}: {found}")))
}

/// Opens a store while the disk fails, then again in another process, and commits: of one bucket
/// the page that the refused commit wrote, of the other one another.
fn recover_twice(disk: &SimDisk, (ops, when, how): Way) -> Checked {
    disk.inject(Fault::new(ops, when, how));
    let first = open(disk).and_then(|db| numbers(&db)).ok();
    disk.clear_faults();
    disk.kill();
    if how == LATE && first.is_some() {
        // It is told to whoever syncs next, whose commit need not be there.
        return Ok(());
    }
    if disk.choose(2) == 1 {
        disk.evict();
    }
    let db = open(disk)?;
    let found = numbers(&db)?;
    if first.is_some_and(|first| first != found) {
        return Err(format!("found {first:?}, then {found:?}").into());
    }
    disk.mark(note(found));
    put(&db, [3, 2])?;
    disk.acknowledged(3);
    Ok(())
}

fn check(disk: &SimDisk, crash: &Crash) -> Checked {
    let found = numbers(&open(disk)?)?;
    let before = crash.marks_of(1).iter().find(|mark| matches!(mark, Mark::Note(_)));
    let is_right = match before {
        Some(before) => found == [3, 2] || (*before == note(found) && crash.acknowledged() == 0),
        None => found == [1, 1] || found == [2, 2],
    };
    if is_right { Ok(()) } else { Err(format!("found {found:?} after {crash:?}").into()) }
}

fn note(found: Numbers) -> Mark {
    Mark::Note(u64::from(u16::from_le_bytes(found)))
}

fn open(disk: &SimDisk) -> Result<BTree, Error> {
    Options::new().page_size(PAGE).vfs(disk.vfs()).open(PATH)
}

fn numbers(db: &BTree) -> Result<Numbers, Error> {
    let number = |bucket| match db.view(bucket, |txn| txn.get("n")) {
        Ok(bytes) => Ok(bytes.first().copied().unwrap_or(0)),
        Err(Error::NotFound) => Ok(0),
        Err(error) => Err(error),
    };
    Ok([number("a")?, number("b")?])
}

fn put(db: &BTree, numbers: Numbers) -> Result<(), Error> {
    db.exec_multi(|multi| {
        multi.exec("a", |txn| txn.put("n", [numbers[0]]))?;
        multi.exec("b", |txn| txn.put("n", [numbers[1]]))
    })
}
