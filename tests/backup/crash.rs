//! The power fails during a backup, or after it: every outcome that can be seen, on the simulated
//! disk.
//!
//! Attacks: snapshot-stable, commit-atomic (a copy is there as a whole or not at all),
//! durable-before-ok.

use super::twin::Contents;
use super::{COPY, CREATING, NAME, contents};
use btree_store::sim::{
    Checked, Crash, DataSync, Errno, Explorer, Failure, Fault, Growth, OpKind, OpSet, Profile,
    SimDisk, SyncFailure, When,
};
use btree_store::verify::verify_path;
use btree_store::vfs::{OpenMode, Vfs, read_exact_at};
use btree_store::{BTree, Error, Options};
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

/// Explores on a disk of each kind that tells what it has done, and asserts that so many crash
/// points and executions verify all that may come of it.
#[track_caller]
fn explore(
    name: &str,
    (points, executions): (usize, u64),
    work: impl Fn(&SimDisk) -> Checked,
    check: impl Fn(&SimDisk, &Crash) -> Checked,
) {
    let normal = Profile::default();
    let loses_size = Profile { data_sync: DataSync::LosesSize, ..normal };
    let stale = Profile { growth: Growth::Stale, ..normal };
    for profile in [normal, loses_size, stale] {
        let explorer = Explorer::new(name).profile(profile).nested(1);
        let report = explorer.explore(&work, &check);
        assert!(report.is_verified(), "{profile:?}: {report}");
        println!("{profile:?}: {report}");
        assert!(report.points.len() >= points && report.executions > executions, "{report}");
    }
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
    explore("a backup", (8, 100), work, |disk, crash| check(disk, crash, &wanted));
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
    explore("a restore", (8, 100), work, |disk, crash| check(disk, crash, &wanted));
}

/// The copy got its name from a process that ended, and nobody has made that durable; a commit to
/// it is durable all the same, once it was acknowledged.
#[test]
fn a_commit_to_a_copy_whose_maker_ended_too_early_is_there_after_a_crash() {
    let mut stream = Vec::new();
    source(&SimDisk::new()).unwrap().snapshot().backup_to(&mut stream).unwrap();
    let work = |disk: &SimDisk| {
        // Neither is the name made durable, nor can the copy be removed again.
        for kind in [OpKind::SyncDir, OpKind::Remove] {
            let fails = Failure::Error(Errno::Eio);
            disk.inject(Fault::new(OpSet::of(&[kind]), When::Once(0), fails));
        }
        let made = Options::new().vfs(disk.vfs()).restore(&mut stream.as_slice(), COPY);
        assert_eq!(made, Err(Error::IoError));
        assert!(copy_is_there(disk)?, "it failed too early");
        disk.kill();
        let db = open(disk, COPY)?;
        disk.started(1);
        db.exec("later", |txn| txn.put("k", "v"))?;
        disk.acknowledged(1);
        assert!(disk.file_id(Path::new(CREATING))?.is_none(), "the mark is left");
        Ok(())
    };
    let check = |disk: &SimDisk, crash: &Crash| {
        let found = if copy_is_there(disk)? {
            open(disk, COPY)?.view("later", |txn| txn.get("k"))
        } else {
            Err(Error::NotFound)
        };
        match found {
            Ok(_) if crash.started() == 1 => Ok(()),
            Err(Error::NotFound) if crash.acknowledged() == 0 => Ok(()),
            other => Err(format!("found {other:?} after {crash:?}").into()),
        }
    };
    let report = Explorer::new("a copy whose maker ended too early").nested(1).explore(work, check);
    assert!(report.is_verified(), "{report}");
    assert!(report.points.len() >= 8 && report.executions > 100, "{report}");
}

#[test]
fn after_a_crash_what_an_increment_makes_is_absent_or_whole() {
    let wanted = wanted();
    let memory = SimDisk::new();
    let db = source(&memory).unwrap();
    let mut full = Vec::new();
    let seq = db.backup_since(0, &mut full).unwrap().seq;
    db.exec("c", |txn| txn.put("later", [1; 600])).unwrap();
    db.exec("a", |txn| txn.del([3])).unwrap();
    let mut increment = Vec::new();
    db.backup_since(seq, &mut increment).unwrap();
    let later = contents(&db.snapshot()).unwrap();
    let put_together = |disk: &SimDisk| {
        let base = open(disk, NAME)?.snapshot();
        base.apply_backup(&mut increment.as_slice(), COPY)
    };
    let work = |disk: &SimDisk| {
        // The base is another file of the same pages: what counts is the state.
        drop(source(disk)?);
        disk.started(1);
        put_together(disk)?;
        disk.acknowledged(1);
        Ok(())
    };
    explore("an increment", (3, 20), work, |disk, crash| {
        let is_there = copy_is_there(disk)?;
        if crash.acknowledged() == 1 && !is_there {
            return Err("the copy that was told is gone".into());
        }
        if crash.started() == 0 {
            return Ok(());
        }
        if contents(&open(disk, NAME)?.snapshot())? != wanted {
            return Err("the base is not what it was".into());
        }
        if !is_there {
            put_together(disk)?;
        }
        let report = verify_path(disk, COPY)?;
        if !report.is_sound() || contents(&open(disk, COPY)?.snapshot())? != later {
            return Err(format!("the copy is not the later state: {report}").into());
        }
        Ok(())
    });
}

/// The bytes of the stream that is the copy, if it is there.
fn stream_at_copy(disk: &SimDisk) -> std::io::Result<Option<Vec<u8>>> {
    if !copy_is_there(disk)? {
        return Ok(None);
    }
    let file = disk.open(Path::new(COPY), OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.size()?).expect("it is short")];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(Some(bytes))
}

#[test]
fn after_a_crash_the_file_of_a_stream_is_absent_or_whole() {
    let mut wanted = Vec::new();
    source(&SimDisk::new()).unwrap().backup_since(0, &mut wanted).unwrap();
    let work = |disk: &SimDisk| {
        let db = source(disk)?;
        disk.started(1);
        db.backup_since_file(0, COPY)?;
        disk.acknowledged(1);
        Ok(())
    };
    explore("the file of a stream", (8, 100), work, |disk, crash| {
        match stream_at_copy(disk)? {
            Some(bytes) if bytes != wanted => return Err("the file is torn".into()),
            None if crash.acknowledged() == 1 => return Err("the file is gone".into()),
            None if crash.started() == 1 => open(disk, NAME)?.backup_since_file(0, COPY)?,
            _ => return Ok(()),
        };
        let is_whole = stream_at_copy(disk)? == Some(wanted.clone());
        if is_whole { Ok(()) } else { Err("another file is not the stream".into()) }
    });
}

#[test]
fn a_sync_that_fails_late_tears_no_file_of_a_stream() {
    let mut wanted = Vec::new();
    source(&SimDisk::new()).unwrap().backup_since(0, &mut wanted).unwrap();
    let work = |disk: &SimDisk| {
        let db = source(disk)?;
        let late = Failure::Sync(SyncFailure::Late);
        disk.inject(Fault::new(OpSet::SYNCS, When::Chosen(1), late));
        match db.backup_since_file(0, COPY) {
            Ok(_) => disk.acknowledged(1),
            Err(Error::IoError) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    };
    let report =
        Explorer::new("a late failure").explore(work, |disk, crash| match stream_at_copy(disk)? {
            Some(bytes) if bytes != wanted => Err("the file is torn".into()),
            None if crash.acknowledged() == 1 => Err("the file is gone".into()),
            _ => Ok(()),
        });
    assert!(report.is_verified(), "{report}");
    println!("{report}");
    assert!(report.executions > 10, "{report}");
}

/// One sync of a maker reports success, and has failed: the next one says so.
#[test]
fn a_sync_that_fails_late_tears_nothing_that_is_made_of_pages() {
    let wanted = wanted();
    let mut full = Vec::new();
    source(&SimDisk::new()).unwrap().backup_since(0, &mut full).unwrap();
    let work = |disk: &SimDisk| {
        let late = Failure::Sync(SyncFailure::Late);
        disk.inject(Fault::new(OpSet::SYNCS, When::Chosen(1), late));
        disk.started(1);
        match Options::new().vfs(disk.vfs()).restore(&mut full.as_slice(), COPY) {
            Ok(_) => disk.acknowledged(1),
            Err(Error::IoError) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    };
    let report = Explorer::new("a late failure").explore(work, |disk, crash| {
        if !copy_is_there(disk)? {
            let is_told = crash.acknowledged() == 1;
            return if is_told { Err("the copy that was told is gone".into()) } else { Ok(()) };
        }
        let report = verify_path(disk, COPY)?;
        if !report.is_sound() || contents(&open(disk, COPY)?.snapshot())? != wanted {
            return Err(format!("the copy is torn: {report}").into());
        }
        Ok(())
    });
    assert!(report.is_verified(), "{report}");
    println!("{report}");
    assert!(report.executions > 20, "{report}");
}

/// The same for a store that an open creates: what is named can be opened.
#[test]
fn a_sync_that_fails_late_tears_nothing_that_is_created() {
    let work = |disk: &SimDisk| {
        let late = Failure::Sync(SyncFailure::Late);
        disk.inject(Fault::new(OpSet::SYNCS, When::Chosen(1), late));
        disk.started(1);
        match open(disk, NAME) {
            Ok(db) => drop(db),
            Err(Error::IoError) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    };
    let report = Explorer::new("a late failure of a creation").explore(work, |disk, _| {
        open(disk, NAME)?.exec("b", |txn| txn.put("k", "v"))?;
        Ok(())
    });
    assert!(report.is_verified(), "{report}");
    assert!(report.executions > 5, "{report}");
}

/// A store that has no page but its slots.
fn without_pages(disk: &SimDisk) -> btree_store::Result<BTree> {
    let db = open(disk, NAME)?;
    db.exec("empty", |_| Ok(()))?;
    Ok(db)
}

/// No commit made such a copy longer, so that none fenced its length.
#[test]
fn a_copy_without_pages_is_whole_where_only_sync_all_keeps_sizes() {
    let wanted = contents(&without_pages(&SimDisk::new()).unwrap().snapshot()).unwrap();
    let work = |disk: &SimDisk| {
        let db = without_pages(disk)?;
        disk.started(1);
        db.backup(COPY)?;
        disk.acknowledged(1);
        Ok(())
    };
    explore("a copy without pages", (8, 50), work, |disk, crash| check(disk, crash, &wanted));
}
