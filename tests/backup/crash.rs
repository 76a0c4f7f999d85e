//! The power fails during a backup: every outcome that can be seen, on the simulated disk.
//!
//! Attacks: snapshot-stable, commit-atomic (a copy is there as a whole or not at all).

use super::twin::Contents;
use super::{COPY, NAME, contents};
use btree_store::sim::{Checked, Crash, Explorer, SimDisk};
use btree_store::verify::verify_path;
use btree_store::vfs::Vfs;
use btree_store::{BTree, Options};
use std::path::Path;

fn open(disk: &SimDisk, name: &str) -> btree_store::Result<BTree> {
    Options::new().page_size(512).cache_bytes(4_096).vfs(disk.vfs()).open(name)
}

fn source(disk: &SimDisk) -> btree_store::Result<BTree> {
    let db = open(disk, NAME)?;
    db.exec_multi(|multi| {
        multi.exec("a", |txn| (0..9_u8).try_for_each(|key| txn.put([key], [key; 90])))?;
        multi.exec("b", |txn| txn.put("large", [7; 600]))
    })?;
    Ok(db)
}

fn wanted() -> Contents {
    contents(&source(&SimDisk::new()).unwrap().snapshot()).unwrap()
}

fn copy_is_there(disk: &SimDisk) -> std::io::Result<bool> {
    Ok(disk.file_id(Path::new(COPY))?.is_some())
}

/// After a crash the copy is absent, or whole, and there if it was told; a missing one can be made.
fn check(disk: &SimDisk, crash: &Crash, wanted: &Contents) -> Checked {
    let is_there = copy_is_there(disk)?;
    if crash.acknowledged() == 1 && !is_there {
        return Err("the copy that was told is gone".into());
    }
    if crash.started() == 0 {
        return Ok(());
    }
    if contents(&open(disk, NAME)?.snapshot())? != *wanted {
        return Err("the source is not what it was".into());
    }
    if is_there {
        let report = verify_path(disk, COPY)?;
        if !report.is_sound() {
            return Err(format!("the copy is not sound: {report}").into());
        }
    } else {
        open(disk, NAME)?.backup(COPY)?;
    }
    if contents(&open(disk, COPY)?.snapshot())? != *wanted {
        return Err("the copy is not the source".into());
    }
    Ok(())
}

#[test]
fn after_a_crash_the_copy_is_absent_or_whole() {
    let wanted = wanted();
    let work = |disk: &SimDisk| {
        let db = source(disk)?;
        disk.started(1);
        db.backup(COPY)?;
        disk.acknowledged(1);
        Ok(())
    };
    let report = Explorer::new("a backup")
        .nested(1)
        .explore(work, |disk, crash| check(disk, crash, &wanted));
    assert!(report.is_verified(), "{report}");
    println!("{report}");
    assert!(report.points.len() >= 8 && report.executions > 100, "{report}");
}

#[test]
fn after_a_crash_what_is_restored_is_absent_or_whole() {
    let wanted = wanted();
    let mut stream = Vec::new();
    source(&SimDisk::new()).unwrap().snapshot().backup_to(&mut stream).unwrap();
    let work = |disk: &SimDisk| {
        drop(source(disk)?);
        disk.started(1);
        Options::new().vfs(disk.vfs()).restore(&mut stream.as_slice(), COPY)?;
        disk.acknowledged(1);
        Ok(())
    };
    let report = Explorer::new("a restore")
        .nested(1)
        .explore(work, |disk, crash| check(disk, crash, &wanted));
    assert!(report.is_verified(), "{report}");
    println!("{report}");
    assert!(report.points.len() >= 8 && report.executions > 100, "{report}");
}
