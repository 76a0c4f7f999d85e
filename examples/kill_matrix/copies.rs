//! The process that makes a copy ends when the copy has its name, which is not durable yet; the
//! next one commits to it; then the power fails.

use crate::matrix::budget::{Budget, Kill};
use crate::matrix::scripts::{PAGE, PATH};
use btree_store::sim::{
    Checked, Crash, Errno, Explorer, Failure, Fault, OpKind, OpSet, SimDisk, Verdict, When,
};
use btree_store::vfs::Vfs;
use btree_store::{Error, Options};
use std::path::Path;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    match stream() {
        Ok(stream) => explore(budget, &stream),
        Err(error) => Some(Kill(format!("a backup: {error}"))),
    }
}

/// A backup of one entry.
fn stream() -> Result<Vec<u8>, Error> {
    let db = Options::new().page_size(PAGE).open_in_memory()?;
    db.exec("b", |txn| txn.put("k", "v"))?;
    let mut stream = Vec::new();
    db.snapshot().backup_to(&mut stream)?;
    Ok(stream)
}

fn explore(budget: &mut Budget, stream: &[u8]) -> Option<Kill> {
    let workload = |disk: &SimDisk| -> Checked {
        let ended = OpSet::of(&[OpKind::SyncDir, OpKind::Remove]);
        disk.inject(Fault::new(ended, When::From(0), Failure::Error(Errno::Eio)));
        let made = options(disk).restore(&mut &*stream, PATH);
        disk.clear_faults();
        disk.kill();
        if made != Err(Error::IoError) {
            return Err(format!("the copy was made: {made:?}").into());
        }
        let db = options(disk).must_exist().open(PATH)?;
        disk.started(1);
        db.exec("b", |txn| txn.put("k", "w"))?;
        disk.acknowledged(1);
        Ok(())
    };
    let report = Explorer::new("a commit to a copy").explore(workload, |disk, crash| {
        budget.spend();
        check(disk, crash)
    });
    let found = report.violation.map(|found| Kill(found.message));
    found.filter(|_| report.verdict == Verdict::Violated)
}

fn check(disk: &SimDisk, crash: &Crash) -> Checked {
    if crash.acknowledged() == 0 {
        return Ok(());
    }
    if disk.file_id(Path::new(PATH))?.is_none() {
        return Err("a store with an acknowledged commit is gone".into());
    }
    let found = options(disk).open(PATH)?.view("b", |txn| txn.get("k"))?;
    if found == b"w" { Ok(()) } else { Err(format!("found {found:?}").into()) }
}

fn options(disk: &SimDisk) -> Options {
    Options::new().vfs(disk.vfs())
}
