//! Scenarios of the crash model by name, on every kind of disk: a crash inside of the creation, the
//! hard case of a sync that fails, a recovery that fails, many crashes in a row; and whether the
//! explorer's short way through the images of this engine sees what brute force sees.
#![cfg(feature = "sim")]

#[path = "common/slot.rs"]
mod slot;
#[path = "common/watch.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod watch;

use btree_store::sim::certify::Certifier;
use btree_store::sim::{
    Checked, Crash, CrashPoints, DataSync, Errno, Explorer, Failure, Fault, Flush, Growth, Images,
    Mark, OpSet, Profile, Seeded, SimDisk, SyncFailure, When,
};
use btree_store::{BTree, Barriers, Error, Options, Result};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

const PATH: &str = "store";

fn options(disk: &SimDisk, barriers: Barriers) -> Options {
    Options::new().page_size(512).cache_bytes(64 * 512).barriers(barriers).vfs(disk.vfs())
}

/// The disks that keep what they promise.
fn honest_disks() -> Vec<Profile> {
    let plain = Profile::default();
    vec![
        plain,
        Profile { growth: Growth::Stale, ..plain },
        Profile { data_sync: DataSync::LosesSize, ..plain },
        Profile { sector_bytes: 4096, ..plain },
    ]
}

const BARRIERS: [Barriers; 2] = [Barriers::One, Barriers::Two];

/// The number under one key; 0 when there is none.
fn number(db: &BTree) -> Result<u64> {
    match db.view("b", |txn| txn.get("n")) {
        Ok(bytes) => Ok(bytes.try_into().map_or(u64::MAX, u64::from_le_bytes)),
        Err(Error::NotFound) => Ok(0),
        Err(error) => Err(error),
    }
}

fn put(disk: &SimDisk, db: &BTree, n: u64) -> Result<()> {
    disk.started(n);
    db.exec("b", |txn| txn.put("n", n.to_le_bytes()))?;
    disk.acknowledged(n);
    Ok(())
}

/// What is found is a number between the last acknowledged and the last started; the file is
/// sound, and one more commit works.
fn check(disk: &SimDisk, crash: &Crash, barriers: Barriers) -> Checked {
    let db = options(disk, barriers).open(PATH)?;
    let n = number(&db)?;
    if n < crash.acknowledged() || n > crash.started() {
        return Err(format!("found {n} after {crash:?}").into());
    }
    let report = db.verify()?;
    if !report.is_sound() {
        return Err(report.to_string().into());
    }
    put(disk, &db, crash.started() + 1)?;
    Ok(())
}

#[test]
fn a_crash_inside_of_the_creation_leaves_nothing_or_a_store_that_opens() {
    for profile in honest_disks() {
        for barriers in BARRIERS {
            let explorer = Explorer::new("create").profile(profile).nested(2);
            let report = explorer.explore(
                |disk| Ok(put(disk, &options(disk, barriers).open(PATH)?, 1)?),
                |disk, crash| check(disk, crash, barriers),
            );
            assert!(report.is_verified(), "{profile:?} {barriers:?}: {report}");
            assert!(report.executions > 200, "{report}");
        }
    }
}

/// Something fails while the file is made, and the process ends; the next one makes it or finds it
/// made, and acknowledges a commit; then the power fails.
#[test]
fn a_creation_that_fails_is_done_by_the_next_process() {
    let once = |ops, failure| Fault::new(ops, When::Chosen(1), failure);
    let sync = |how| once(OpSet::SYNCS, Failure::Sync(how));
    let ways = [
        once(OpSet::ALL, Failure::Error(Errno::Eio)),
        Fault::new(OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio)),
        sync(SyncFailure::Drop),
        sync(SyncFailure::Keep),
        sync(SyncFailure::Revert),
    ];
    for (profile, way) in honest_disks().into_iter().flat_map(|p| ways.map(|way| (p, way))) {
        let workload = |disk: &SimDisk| -> Checked {
            disk.inject(way);
            let is_made = options(disk, Barriers::One).open(PATH).is_ok();
            disk.clear_faults();
            disk.kill();
            disk.evict_some();
            let db = options(disk, Barriers::One).open(PATH);
            let db = db.map_err(|error| format!("made {is_made}, then {error}"))?;
            put(disk, &db, 1)?;
            put(disk, &db, 2)?;
            Ok(())
        };
        let explorer = Explorer::new("creation fails").profile(profile);
        let report = explorer.explore(workload, |disk, crash| check(disk, crash, Barriers::One));
        assert!(report.is_verified(), "{profile:?} {way:?}: {report}");
        assert!(report.workload_runs > 1, "{report}");
    }
}

/// A page of 512 bytes on sectors of 64: the creation and its first commit, torn.
#[test]
fn a_creation_on_a_disk_of_small_sectors_is_not_torn() {
    let profile = Profile { sector_bytes: 64, ..Profile::default() };
    let report = Explorer::new("create").profile(profile).explore(
        |disk| Ok(put(disk, &options(disk, Barriers::One).open(PATH)?, 1)?),
        |disk, crash| check(disk, crash, Barriers::One),
    );
    assert!(report.is_verified(), "{report}");
    // Sectors that stay zero have one version only.
    assert!(report.log2_images_max() >= 5.0, "{report}");
}

/// A sync fails and drops what it should have written, the process starts again without a reboot,
/// what it reads comes from the cache and is on no disk; it acknowledges new commits on top, and
/// the power fails. No acknowledged commit may be lost, whatever the sync left, whether the cache
/// is evicted meanwhile or not.
#[test]
fn a_failed_sync_across_a_restart_without_a_reboot_loses_nothing_acknowledged() {
    let ways = [SyncFailure::Drop, SyncFailure::Keep, SyncFailure::Revert, SyncFailure::NoSpace];
    for (profile, barriers) in honest_disks().into_iter().flat_map(|p| BARRIERS.map(|b| (p, b))) {
        for way in ways {
            let explorer = Explorer::new("hard case").profile(profile).nested(1);
            let workload = |disk: &SimDisk| -> Checked {
                let db = options(disk, barriers).open(PATH)?;
                put(disk, &db, 1)?;
                disk.inject(Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(way)));
                let failed = put(disk, &db, 2).is_err();
                if failed && put(disk, &db, 3) != Err(Error::Poisoned) {
                    return Err("a store goes on after a failed sync".into());
                }
                drop(db);
                disk.clear_faults();
                disk.kill();
                disk.evict_some();
                disk.forget_crash_points();
                let db = options(disk, barriers).open(PATH)?;
                let found = number(&db)?;
                if found == 0 || (found == 1 && !failed) {
                    return Err(format!("the restarted process finds {found}").into());
                }
                disk.acknowledged(found);
                put(disk, &db, 4)?;
                put(disk, &db, 5)?;
                Ok(())
            };
            let report = explorer.explore(workload, |disk, crash| check(disk, crash, barriers));
            assert!(report.is_verified(), "{profile:?} {barriers:?} {way:?}: {report}");
            assert!(report.workload_runs > 2, "{report}");
        }
    }
}

/// The disk fails at what it was told to begin with: an error means that the commit has not
/// happened and that the store goes on, unless the next sync tells it.
#[test]
fn writing_back_that_fails_loses_nothing_acknowledged() {
    let ways = [
        Failure::Error(Errno::Eio),
        Failure::Sync(SyncFailure::Drop),
        Failure::Sync(SyncFailure::Revert),
        Failure::Sync(SyncFailure::NoSpace),
        Failure::Sync(SyncFailure::Late),
    ];
    for (profile, barriers) in honest_disks().into_iter().flat_map(|p| BARRIERS.map(|b| (p, b))) {
        for way in ways {
            let is_late = way == Failure::Sync(SyncFailure::Late);
            let workload = |disk: &SimDisk| -> Checked {
                let db = options(disk, barriers).open(PATH)?;
                put(disk, &db, 1)?;
                disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Chosen(1), way));
                let failed = put(disk, &db, 2).is_err();
                let next = put(disk, &db, 3);
                if failed && next != if is_late { Err(Error::Poisoned) } else { Ok(()) } {
                    return Err(format!("after the failure: {next:?}").into());
                }
                let last = if next.is_ok() { 3 } else { 2 - u64::from(failed) };
                let seen = number(&db)?;
                if seen != last {
                    return Err(format!("{seen} is seen, and not {last}").into());
                }
                Ok(())
            };
            let explorer = Explorer::new("begun").profile(profile).nested(1);
            let report = explorer.explore(workload, |disk, crash| check(disk, crash, barriers));
            assert!(report.is_verified(), "{profile:?} {barriers:?} {way:?}: {report}");
            assert!(report.workload_runs > 2, "{report}");
        }
    }
}

/// A commit that has no pages of its own goes over the slot of the state before the newest, which
/// is all that there is where the newest one's sync has lied.
#[test]
fn with_two_barriers_a_commit_without_pages_waits_for_what_is_told_late() {
    let torn = Profile { sector_bytes: 64, ..Profile::default() };
    let workload = |disk: &SimDisk| -> Checked {
        let db = options(disk, Barriers::Two).open(PATH)?;
        put(disk, &db, 1)?;
        put(disk, &db, 2)?;
        disk.forget_crash_points();
        let late = Failure::Sync(SyncFailure::Late);
        disk.inject(Fault::new(OpSet::SYNCS, When::Chosen(1), late));
        // It is told by the next sync, of this commit or the next.
        if put(disk, &db, 3).is_ok() && db.exec("empty", |_| Ok(())).is_err() {
            return if disk.has_fault_struck() { Ok(()) } else { Err("no fault".into()) };
        }
        Ok(())
    };
    let check = |disk: &SimDisk, _: &Crash| -> Checked {
        let found = number(&options(disk, Barriers::Two).open(PATH)?)?;
        // The third commit was acknowledged by a sync that lied.
        if found == 2 || found == 3 { Ok(()) } else { Err(format!("found {found}").into()) }
    };
    let explorer = Explorer::new("no pages").profile(torn).executions_max(1 << 20);
    let report = explorer.explore(workload, check);
    assert!(report.is_verified(), "{report}");
    assert!(report.executions > 20, "{report}");
}

/// A value that an owned transaction wrote early lies in the disk's cache while others commit.
/// Where one of them fails because the disk failed at what it was to begin with, it may be lost.
#[test]
fn what_was_put_early_is_not_committed_where_the_disk_may_have_lost_it() {
    let ways = [SyncFailure::Drop, SyncFailure::Revert, SyncFailure::NoSpace, SyncFailure::Late];
    let value = vec![7; 3000];
    let (mut images, refused, committed) = (0, Cell::new(0), Cell::new(0));
    for (barriers, way) in BARRIERS.into_iter().flat_map(|b| ways.map(|way| (b, way))) {
        let workload = |disk: &SimDisk| -> Checked {
            let db = options(disk, barriers).open(PATH)?;
            put(disk, &db, 1)?;
            let txn = db.begin();
            txn.bucket("early")?.put_from("k", 3000, &mut value.as_slice())?;
            disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Chosen(1), Failure::Sync(way)));
            // Nothing fails where the fault would strike behind the first.
            let failed = put(disk, &db, 2).is_err();
            disk.started(10);
            match txn.commit() {
                Ok(()) if failed => return Err("what may be lost is committed".into()),
                Ok(()) => {
                    disk.acknowledged(10);
                    committed.set(committed.get() + 1);
                }
                Err(Error::Conflict | Error::IoError | Error::NoSpace | Error::Poisoned) => {
                    refused.set(refused.get() + 1);
                }
                Err(other) => return Err(format!("the commit ends with {other}").into()),
            }
            Ok(())
        };
        let check = |disk: &SimDisk, crash: &Crash| -> Checked {
            let db = options(disk, barriers).open(PATH)?;
            let found = db.view("early", |txn| txn.get("k"));
            let is_right = match &found {
                Ok(found) => *found == value,
                Err(error) => *error == Error::NotFound && crash.acknowledged() < 10,
            };
            if is_right { Ok(()) } else { Err(format!("{found:?} after {crash:?}").into()) }
        };
        let report = Explorer::new("put early").explore(workload, check);
        assert!(report.is_verified(), "{barriers:?} {way:?}: {report}");
        images += report.executions;
    }
    assert!(images > 20, "only {images} images");
    assert!(refused.get() > 4 && committed.get() > 0, "{refused:?} refused, {committed:?} not");
}

/// A number in each of two buckets, whose leaves are pages of their own; 0 when there is none.
fn two_numbers(db: &BTree) -> Result<[u8; 2]> {
    let number = |bucket| match db.view(bucket, |txn| txn.get("n")) {
        Ok(bytes) => Ok(bytes.first().copied().unwrap_or(0)),
        Err(Error::NotFound) => Ok(0),
        Err(error) => Err(error),
    };
    Ok([number("a")?, number("b")?])
}

fn put_two(db: &BTree, numbers: [u8; 2]) -> Result<()> {
    db.exec_multi(|multi| {
        multi.exec("a", |txn| txn.put("n", [numbers[0]]))?;
        multi.exec("b", |txn| txn.put("n", [numbers[1]]))
    })
}

fn note(found: [u8; 2]) -> Mark {
    Mark::Note(u64::from(u16::from_le_bytes(found)))
}

/// The process that recovers from a crash meets a failure, and ends; the next one finds a state,
/// and its commit writes one page as the commit that the crash refused, and another page in
/// another way. When the power fails again, that commit must not be made whole by the page.
#[test]
fn a_commit_that_a_crash_refused_does_not_come_back_after_a_recovery_that_failed() {
    let sync = |how| Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(how));
    let ways = [
        Fault::new(OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio)),
        sync(SyncFailure::Drop),
        sync(SyncFailure::Keep),
        sync(SyncFailure::Revert),
    ];
    for (profile, barriers) in honest_disks().into_iter().flat_map(|p| BARRIERS.map(|b| (p, b))) {
        for way in ways {
            let check = |disk: &SimDisk, crash: &Crash| -> Checked {
                if crash.depth() == 1 {
                    return recover_twice(disk, barriers, way);
                }
                check_two(disk, crash, barriers)
            };
            let explorer = Explorer::new("refused").profile(profile).nested(1);
            let report = explorer.explore(|disk| put_twice(disk, barriers), check);
            assert!(report.is_verified(), "{profile:?} {barriers:?} {way:?}: {report}");
            assert!(report.executions > 20, "{report}");
        }
    }
}

/// The power fails in a commit, and then while the recovery empties its slot: a part of it may be
/// left, with a name that looks like the other slot, if pages were shorter.
#[test]
fn a_name_in_a_slot_that_is_half_emptied_is_no_slot() {
    let name = slot::name_like_a_slot();
    let open = |disk: &SimDisk| options(disk, Barriers::One).page_size(4096).open(PATH);
    let put = |db: &BTree, value: u8| db.exec(&name, |txn| txn.put("n", [value]));
    for profile in honest_disks() {
        let explorer = Explorer::new("half emptied").profile(profile).nested(1);
        let report = explorer.explore(
            |disk| {
                let db = open(disk)?;
                put(&db, 1)?;
                disk.forget_crash_points();
                put(&db, 2)?;
                disk.kill();
                Ok(())
            },
            |disk, crash| match open(disk)?.view(&name, |txn| txn.get("n")) {
                Ok(found) if found == [1] || found == [2] => Ok(()),
                found => Err(format!("found {found:?} after {crash:?}").into()),
            },
        );
        assert!(report.is_verified(), "{profile:?}: {report}");
        assert!(report.executions > 10, "{report}");
    }
}

/// Two commits; the power fails in the second, if it fails.
fn put_twice(disk: &SimDisk, barriers: Barriers) -> Checked {
    let db = options(disk, barriers).open(PATH)?;
    put_two(&db, [1, 1])?;
    disk.forget_crash_points();
    put_two(&db, [2, 2])?;
    disk.kill();
    Ok(())
}

/// What is found is what was found before the commit that followed, as noted, or that one.
fn check_two(disk: &SimDisk, crash: &Crash, barriers: Barriers) -> Checked {
    let found = two_numbers(&options(disk, barriers).open(PATH)?)?;
    let before = crash.marks_of(1).iter().find(|mark| matches!(mark, Mark::Note(_)));
    let is_before = match before {
        Some(before) => *before == note(found) && crash.acknowledged() == 0,
        None => found == [1, 1] || found == [2, 2],
    };
    if is_before || (before.is_some() && found == [3, 2]) {
        return Ok(());
    }
    Err(format!("found {found:?} after {crash:?}").into())
}

/// Opens a store while the disk fails, then again in another process, and commits.
fn recover_twice(disk: &SimDisk, barriers: Barriers, way: Fault) -> Checked {
    disk.inject(way);
    let first = options(disk, barriers).open(PATH).and_then(|db| two_numbers(&db)).ok();
    disk.clear_faults();
    disk.kill();
    disk.evict_some();
    let db = options(disk, barriers).open(PATH)?;
    let found = two_numbers(&db)?;
    if first.is_some_and(|first| first != found) {
        return Err(format!("found {first:?}, then {found:?}").into());
    }
    disk.mark(note(found));
    put_two(&db, [3, 2])?;
    disk.acknowledged(3);
    Ok(())
}

/// Threads commit at the same time, so that flushes carry several commits, and the power fails
/// inside of one. Of each thread what it was told is found, or one more; nothing is found in part.
#[test]
fn threads_that_commit_together_lose_nothing_acknowledged_to_a_power_failure() {
    const THREADS: u8 = 3;
    let (mut lost, mut shared) = (0, 0);
    for seed in 0..120 {
        let disk = SimDisk::new();
        let mut random = Seeded::new(seed);
        disk.choose_from(Seeded::new(random.next_u64()));
        let barriers = BARRIERS[usize::from(seed % 2 == 0)];
        let slow = Watch::new(disk.clone());
        slow.hook(|op| {
            if op.is_sync() {
                std::thread::sleep(Duration::from_micros(300));
            }
            Ok(())
        });
        let db = options(&disk, barriers).vfs(Arc::new(slow)).open(PATH).expect("it opens");
        let at = When::Once(20 + u64::from(random.below(80)));
        disk.inject(Fault::new(OpSet::ALL, at, Failure::PowerOff));
        let commit = |db: &BTree, thread: u8, n: u64| {
            db.exec_multi(|multi| {
                multi.exec("a", |txn| txn.put([thread], n.to_le_bytes()))?;
                multi.exec("b", |txn| txn.put([thread], n.to_le_bytes()))
            })
        };
        let work =
            |thread| (1..100_000).take_while(|n| commit(&db, thread, *n).is_ok()).count() as u64;
        let told: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        shared += u64::from(db.current_seq() < told.iter().sum());
        disk.crash();
        drop(db);
        let db = options(&disk, barriers).open(PATH).expect("it opens");
        for (thread, told) in (0..THREADS).zip(told) {
            let read = |bucket| match db.view(bucket, |txn| txn.get([thread])) {
                Err(Error::NotFound) => 0,
                found => u64::from_le_bytes(found.expect("read").try_into().expect("a number")),
            };
            let found = [read("a"), read("b")];
            assert!(found == [told; 2] || found == [told + 1; 2], "seed {seed}: {found:?}, {told}");
            lost += u64::from(found == [told; 2]);
        }
        assert!(db.verify().expect("it can be read").is_sound(), "seed {seed}");
        assert_eq!(commit(&db, 0, 99), Ok(()), "seed {seed}");
    }
    assert!(lost > 20 && shared > 20, "{lost} lost what nobody was told, {shared} shared a flush");
}

#[test]
fn a_hundred_crashes_and_recoveries_do_not_grow_the_file() {
    for barriers in BARRIERS {
        let disk = SimDisk::new();
        let mut random = Seeded::new(7);
        let (mut lens, mut last, mut commits) = (Vec::new(), 0, 0);
        for round in 1..=100 {
            disk.choose_from(Seeded::new(random.next_u64()));
            let db = options(&disk, barriers).open(PATH).expect("it opens");
            let found = number(&db).expect("it can be read");
            assert_eq!(found, last, "round {round}");
            let at = When::Once(u64::from(random.below(12)));
            disk.inject(Fault::new(OpSet::ALL, at, Failure::PowerOff));
            // It may fail; then the number is the one before or this one.
            let is_done = put(&disk, &db, found + 1).is_ok();
            commits += u64::from(is_done);
            disk.crash();
            drop(db);
            let db = options(&disk, barriers).open(PATH).expect("it opens");
            let again = number(&db).expect("it can be read");
            assert!(again == found + 1 || (again == found && !is_done), "round {round}: {again}");
            last = again;
            assert!(db.verify().expect("it can be read").is_sound(), "round {round}");
            drop(db);
            lens.push(disk.file_len(PATH).expect("the file is there"));
        }
        assert!(commits > 20 && last >= commits, "{commits} commits, {last} at last");
        assert!(lens[99] <= lens[10], "{lens:?}");
    }
}

/// What recovery makes of each image: the number, or why it does not open.
fn outcomes(explorer: &Explorer, barriers: Barriers) -> (BTreeSet<String>, u64) {
    let mut seen = BTreeSet::new();
    let report = explorer.explore(
        |disk| {
            let db = options(disk, barriers).open(PATH)?;
            put(disk, &db, 1)?;
            disk.forget_crash_points();
            put(disk, &db, 2)?;
            Ok(())
        },
        |disk, crash| {
            let found = options(disk, barriers).open(PATH).and_then(|db| {
                let n = number(&db)?;
                Ok((n, db.current_seq(), db.stats()?.free_pages, db.verify()?.is_sound()))
            });
            seen.insert(format!("{found:?} {}..={}", crash.acknowledged(), crash.started()));
            Ok(())
        },
    );
    assert!(report.is_verified(), "{report}");
    (seen, report.executions)
}

/// Every image of every operation shows no more than the images of the fences, looked at by
/// demand. What was acknowledged by then is another matter: between two fences nothing is.
#[test]
fn brute_force_over_every_operation_finds_what_the_fences_show() {
    for barriers in BARRIERS {
        for profile in honest_disks() {
            let lazy = Explorer::new("fences").profile(profile);
            let eager =
                lazy.clone().images(Images::Eager).crash_points(CrashPoints::EveryOperation);
            let (few, few_runs) = outcomes(&lazy, barriers);
            let (all, all_runs) = outcomes(&eager, barriers);
            let found = |seen: &BTreeSet<String>| -> BTreeSet<String> {
                seen.iter().map(|text| text.rsplit_once(' ').map_or("", |t| t.0).into()).collect()
            };
            assert_eq!(found(&few), found(&all), "{barriers:?} {profile:?}");
            assert!(all.is_superset(&few), "{barriers:?} {profile:?}");
            assert!(few_runs < all_runs, "{few_runs} of {all_runs}");
        }
    }
}

/// The table of properties by disk in the document names the parts of the certificate, which are
/// what shows it, and each kind of disk that the simulation has.
#[test]
fn the_document_has_a_row_for_each_part_of_the_certificate() {
    let document = include_str!("../docs/crash-model.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    for certifier in Certifier::all() {
        let begin = format!("| `{}` |", certifier.tag());
        let row = rows.iter().find(|row| row.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("{begin} has no row"));
        let waives_durability = row.contains("P1 waived");
        let is_lying = certifier.profile.flush == Flush::Lying;
        assert_eq!(waives_durability, is_lying, "{row}");
    }
    assert_eq!(rows.len(), Certifier::all().len());
}

/// The sync that empties a refused slot lies, and the next one tells: the open fails, and the next
/// process must not take the copy in the cache for a clean close.
#[test]
fn a_refused_commit_does_not_come_back_after_a_recovery_whose_sync_failed_late() {
    let late = Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::Late));
    let refused = Cell::new(0);
    let check = |disk: &SimDisk, crash: &Crash| -> Checked {
        if crash.depth() == 1 {
            disk.inject(late);
            if options(disk, Barriers::One).open(PATH).is_ok() {
                return Ok(()); // Told to a later sync: the rules for late failures hold.
            }
            refused.set(refused.get() + 1);
            disk.clear_faults();
            disk.kill();
            let db = options(disk, Barriers::One).open(PATH)?;
            disk.mark(note(two_numbers(&db)?));
            disk.forget_crash_points();
            put_two(&db, [3, 2])?;
            disk.acknowledged(3);
            return Ok(());
        }
        check_two(disk, crash, Barriers::One)
    };
    let report = Explorer::new("refused, told late")
        .nested(1)
        .explore(|disk| put_twice(disk, Barriers::One), check);
    assert!(report.is_verified(), "{report}");
    assert!(report.executions > 20 && refused.get() > 0, "{report}");
}

/// A process dies behind a sync that failed, with all of its commit in the cache; the next one
/// accepts that, its only fence lies, and it commits on top.
#[test]
fn what_a_recovery_accepts_whose_sync_fails_late_is_not_built_on() {
    for barriers in BARRIERS {
        let workload = |disk: &SimDisk| -> Checked {
            let db = options(disk, barriers).open(PATH)?;
            put(disk, &db, 1)?;
            put(disk, &db, 2)?;
            let fails = Failure::Error(Errno::Eio);
            disk.inject(Fault::new(OpSet::SYNCS, When::From(0), fails));
            if put(disk, &db, 3).is_ok() {
                return Err("a sync that fails is believed".into());
            }
            disk.clear_faults();
            disk.kill();
            drop(db);
            disk.forget_crash_points();
            let late = Failure::Sync(SyncFailure::Late);
            disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), late));
            let open = || options(disk, barriers).open(PATH);
            let db = open().or_else(|_| {
                disk.kill();
                open()
            })?;
            put(disk, &db, 4).or_else(|error| match error {
                Error::IoError => Ok(()),
                other => Err(other.into()),
            })
        };
        let explorer = Explorer::new("late recovery");
        let report = explorer.explore(workload, |disk, crash| check(disk, crash, barriers));
        assert!(report.is_verified(), "{barriers:?}: {report}");
    }
}
