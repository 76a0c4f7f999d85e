//! The process that makes a copy ends when the copy has its name, which is not durable yet; the
//! next one commits to it; then the power fails. Or the power fails when a copy is told of.

use crate::matrix::budget::{Budget, Kill};
use crate::matrix::scripts::{PAGE, PATH};
use btree_store::sim::{
    Checked, Crash, Errno, Explorer, Failure, Fault, OpKind, OpSet, SimDisk, When,
};
use btree_store::vfs::Vfs;
use btree_store::{Error, Options};
use std::path::Path;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    match streams() {
        Ok(streams) => explore(budget, &streams.0).or_else(|| explore_told(budget, &streams)),
        Err(error) => Some(Kill(format!("a backup: {error}"))),
    }
}

/// A backup of one entry, and all pages of its store.
fn streams() -> Result<(Vec<u8>, Vec<u8>), Error> {
    let db = Options::new().page_size(PAGE).open_in_memory()?;
    db.exec("b", |txn| txn.put("k", "v"))?;
    let (mut stream, mut pages) = (Vec::new(), Vec::new());
    db.snapshot().backup_to(&mut stream)?;
    db.backup_since(0, &mut pages)?;
    Ok((stream, pages))
}

/// A copy that was told of as made, entry by entry or page by page, is there after a crash.
fn explore_told(budget: &mut Budget, (stream, pages): &(Vec<u8>, Vec<u8>)) -> Option<Kill> {
    [true, false].into_iter().find_map(|by_entries| {
        let workload = |disk: &SimDisk| -> Checked {
            disk.started(1);
            if by_entries {
                options(disk).restore(&mut stream.as_slice(), PATH)?;
            } else {
                options(disk).restore_chain([pages.as_slice()], PATH)?;
            }
            disk.acknowledged(1);
            Ok(())
        };
        let report = Explorer::new("a copy").explore(workload, |disk, crash| {
            budget.spend();
            check(disk, crash, b"v")
        });
        budget.judge(report)
    })
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
        check(disk, crash, b"w")
    });
    budget.judge(report)
}

fn check(disk: &SimDisk, crash: &Crash, wanted: &[u8]) -> Checked {
    if crash.acknowledged() == 0 {
        return Ok(());
    }
    if disk.file_id(Path::new(PATH))?.is_none() {
        return Err("a store with an acknowledged commit is gone".into());
    }
    let found = options(disk).open(PATH)?.view("b", |txn| txn.get("k"))?;
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}").into()) }
}

fn options(disk: &SimDisk) -> Options {
    Options::new().vfs(disk.vfs())
}
