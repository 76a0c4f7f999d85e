//! The disk fails at what it was told to begin with, or tells one sync late that one failed: what
//! it may have lost belongs to others than whom it tells.

use crate::matrix::budget::{Budget, Kill};
use crate::matrix::scripts::{PAGE, PATH};
use btree_store::sim::{
    Checked, Crash, Explorer, Failure, Fault, OpSet, Profile, SimDisk, SyncFailure, When,
};
use btree_store::{BTree, Barriers, Error, Options};

const EARLY: u64 = 9;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    early(budget).or_else(|| without_pages(budget))
}

fn open(disk: &SimDisk, barriers: Barriers) -> Result<BTree, Error> {
    Options::new().page_size(PAGE).barriers(barriers).vfs(disk.vfs()).open(PATH)
}

fn put(db: &BTree, n: u8) -> Result<(), Error> {
    db.exec("b", |txn| txn.put("n", [n]))
}

fn explore(
    budget: &mut Budget,
    explorer: Explorer,
    workload: impl Fn(&SimDisk) -> Checked,
    check: impl Fn(&SimDisk, &Crash) -> Checked,
) -> Option<Kill> {
    let report = explorer.explore(workload, |disk, crash| {
        budget.spend();
        check(disk, crash)
    });
    budget.judge(report)
}

/// An owned transaction has written a value when the flush of another one fails.
fn early(budget: &mut Budget) -> Option<Kill> {
    let value = vec![7; 3 * PAGE as usize];
    let workload = |disk: &SimDisk| -> Checked {
        let db = open(disk, Barriers::One)?;
        put(&db, 1)?;
        let txn = db.begin();
        txn.bucket("early")?.put_from("k", value.len() as u64, &mut value.as_slice())?;
        let lost = Failure::Sync(SyncFailure::Drop);
        disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(0), lost));
        if put(&db, 2).is_err() && txn.commit().is_ok() {
            disk.acknowledged(EARLY);
        }
        Ok(())
    };
    let check = |disk: &SimDisk, crash: &Crash| -> Checked {
        let found = open(disk, Barriers::One)?.view("early", |txn| txn.get("k"));
        let is_right = match &found {
            Ok(found) => *found == value,
            Err(error) => *error == Error::NotFound && crash.acknowledged() < EARLY,
        };
        if is_right { Ok(()) } else { Err(format!("{found:?} after {crash:?}").into()) }
    };
    explore(budget, Explorer::new("put early"), workload, check)
}

/// With two barriers, a commit without pages goes over the slot of the state before the newest.
fn without_pages(budget: &mut Budget) -> Option<Kill> {
    let workload = |disk: &SimDisk| -> Checked {
        let db = open(disk, Barriers::Two)?;
        put(&db, 1)?;
        put(&db, 2)?;
        disk.forget_crash_points();
        let late = Failure::Sync(SyncFailure::Late);
        disk.inject(Fault::new(OpSet::SYNCS, When::Chosen(1), late));
        // It is told by the next sync, of this commit or the next.
        if put(&db, 3).is_ok() {
            db.exec("empty", |_| Ok(())).unwrap_or_default();
        }
        Ok(())
    };
    let check = |disk: &SimDisk, _: &Crash| -> Checked {
        let found = open(disk, Barriers::Two)?.view("b", |txn| txn.get("n"))?;
        if found == [2] || found == [3] { Ok(()) } else { Err(format!("found {found:?}").into()) }
    };
    let torn = Profile { sector_bytes: 64, ..Profile::default() };
    explore(budget, Explorer::new("no pages").profile(torn), workload, check)
}
