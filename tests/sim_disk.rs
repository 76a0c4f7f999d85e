//! Does the simulated disk do what its documentation says, rule by rule?
#![cfg(feature = "sim")]

#[path = "sim_disk/directories.rs"]
mod directories;
#[path = "sim_disk/twin.rs"]
mod twin;

use btree_store::sim::{
    Choice, Choose, DataSync, Errno, Failure, Fault, Flush, Growth, Monitor, OpKind, OpSet,
    Profile, Script, Seeded, SimDisk, SyncFailure, When, WriteEvent,
};
use btree_store::vfs::{LockMode, OpenMode, Vfs, VfsFile, read_exact_at, write_all_at};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

const PATH: &str = "dir/file";

fn create(disk: &SimDisk) -> Box<dyn VfsFile> {
    disk.open(Path::new(PATH), OpenMode::Create).expect("the disk has room")
}

/// A disk with a durable file of these bytes.
fn disk_with(profile: Profile, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::with_profile(profile);
    disk.write_file(PATH, bytes);
    disk
}

#[test]
fn a_read_where_the_numbers_end_finds_the_end_of_the_file() {
    let disk = disk_with(Profile::default(), b"0123456789abcdef");
    let file = create(&disk);
    assert_eq!(file.read_at(&mut [0; 16], u64::MAX - 7).expect("the disk reads"), 0);
    file.set_len(32).expect("the disk has room");
    disk.crash(); // The size is open: 16 or 32.
    let file = create(&disk);
    assert_eq!(file.read_at(&mut [0; 16], u64::MAX - 7).expect("the disk reads"), 0);
}

/// A file that is brought from elsewhere makes nothing else durable.
#[test]
fn a_file_from_elsewhere_leaves_other_names_open() {
    let left = survivors(|| {
        let disk = disk_with(Profile::default(), b"old");
        disk.remove(Path::new(PATH)).expect("removed");
        disk.write_file("dir/other", b"brought");
        disk
    });
    assert_eq!(left, [None, Some(b"old".to_vec())].into());
}

/// What a file holds after the crash of a disk, over many seeds.
fn survivors(make: impl Fn() -> SimDisk) -> BTreeSet<Option<Vec<u8>>> {
    let crash = |seed| {
        let disk = make();
        disk.choose_from(Seeded::new(seed));
        disk.crash();
        disk.read_file(PATH)
    };
    (0..200).map(crash).collect()
}

fn set(values: &[&[u8]]) -> BTreeSet<Option<Vec<u8>>> {
    values.iter().map(|value| Some(value.to_vec())).collect()
}

#[test]
fn each_sector_stops_at_one_of_its_versions() {
    let found = survivors(|| {
        let disk = disk_with(Profile { sector_bytes: 4, ..Profile::default() }, b"aaaabbbb");
        let file = create(&disk);
        file.write_at(b"AAAA", 0).expect("written");
        file.write_at(b"1111BBBB", 0).expect("written");
        disk
    });
    let wanted: [&[u8]; 6] =
        [b"aaaabbbb", b"AAAAbbbb", b"1111bbbb", b"aaaaBBBB", b"AAAABBBB", b"1111BBBB"];
    assert_eq!(found, set(&wanted));
}

/// Where the size comes with a full sync only, so do the zeros of a cut, in the sector that is cut
/// through as behind it.
#[test]
fn a_cut_inside_of_a_sector_may_not_have_happened_either() {
    let data_sync = DataSync::LosesSize;
    let profile = Profile { sector_bytes: 4, data_sync, ..Profile::default() };
    let found = survivors(|| {
        let disk = disk_with(profile, b"aaaabbbb");
        let file = create(&disk);
        file.write_at(b"A", 0).expect("written");
        file.set_len(2).expect("cut");
        file.sync_data().expect("synced");
        disk
    });
    assert!(found.contains(&Some(b"Aaaabbbb".to_vec())), "{found:?}");
    assert!(found.iter().flatten().all(|bytes| bytes[0] == b'A'), "{found:?}");
}

/// What was written where the file ended again before the sync need not have reached the medium.
#[test]
fn what_a_cut_took_comes_back_with_the_size_also_behind_a_write_that_was_cut_off() {
    let data_sync = DataSync::LosesSize;
    let profile = Profile { sector_bytes: 4, data_sync, ..Profile::default() };
    let found = survivors(|| {
        let disk = disk_with(profile, b"aaaabbbb");
        let file = create(&disk);
        file.set_len(4).expect("cut");
        file.set_len(8).expect("grown");
        file.write_at(b"XXXX", 4).expect("written");
        file.set_len(4).expect("cut");
        file.sync_data().expect("synced");
        disk
    });
    assert_eq!(found, set(&[b"aaaa", b"aaaabbbb", b"aaaaXXXX", b"aaaa\0\0\0\0"]));
}

/// Old bytes are those of the file itself, too, also those that a crash cut off.
#[test]
fn what_was_cut_off_may_show_where_a_stale_file_grows_again() {
    let profile = Profile { sector_bytes: 4, growth: Growth::Stale, ..Profile::default() };
    for (cut, again) in [(0, &b"aaaabbbb"[..]), (2, b"..\0\0bbbb"), (4, b"....bbbb")] {
        let grown = |disk: &SimDisk| {
            let file = create(disk);
            file.write_at(&vec![b'.'; cut], 0).expect("written");
            file.sync_all().expect("synced");
            file.set_len(8).expect("grown");
        };
        let found = survivors(|| {
            let disk = disk_with(profile, b"aaaabbbb");
            let file = create(&disk);
            file.set_len(cut as u64).expect("cut");
            file.sync_all().expect("synced");
            grown(&disk);
            disk
        });
        assert!(found.contains(&Some(again.to_vec())), "cut to {cut}: {found:?}");
        // The cut lands with the crash, if it does.
        let found = survivors(|| {
            let disk = disk_with(profile, b"aaaabbbb");
            create(&disk).set_len(cut as u64).expect("cut");
            disk.crash();
            if disk.file_len(PATH) == Some(cut as u64) {
                grown(&disk);
            }
            disk
        });
        assert!(found.contains(&Some(again.to_vec())), "cut to {cut} by a crash: {found:?}");
    }
    let found = survivors(|| {
        let disk = disk_with(profile, b"aaaabbbb");
        let file = create(&disk);
        file.set_len(0).expect("cut");
        file.sync_all().expect("synced");
        file.write_at(b"AAAABBBB", 0).expect("written");
        file.sync_all().expect("synced");
        file.set_len(4).expect("cut");
        file.sync_all().expect("synced");
        file.set_len(8).expect("grown");
        disk
    });
    let old = found.iter().flatten().any(|bytes| bytes.ends_with(b"bbbb"));
    assert!(found.contains(&Some(b"AAAABBBB".to_vec())) && !old, "{found:?}");
}

#[test]
fn what_was_synced_survives() {
    for all in [false, true] {
        let found = survivors(|| {
            let disk = disk_with(Profile::default(), b"");
            let file = create(&disk);
            file.write_at(&[7; 2000], 0).expect("written");
            if all { file.sync_all() } else { file.sync_data() }.expect("synced");
            disk
        });
        assert_eq!(found, set(&[&[7; 2000]]));
    }
}

#[test]
fn the_size_stops_at_one_of_its_values() {
    let found = survivors(|| {
        let disk = disk_with(Profile::default(), b"12");
        let file = create(&disk);
        file.set_len(5).expect("grown");
        file.set_len(1).expect("shrunk");
        disk
    });
    // The shrinking may have zeroed the tail of the sector, the size notwithstanding.
    assert_eq!(found, set(&[b"1", b"12", b"1\0", b"12\0\0\0", b"1\0\0\0\0"]));
}

#[test]
fn stale_bytes_show_only_where_the_file_grew() {
    let profile = Profile { sector_bytes: 4, growth: Growth::Stale, ..Profile::default() };
    let found = survivors(|| {
        let disk = disk_with(profile, b"abcdef");
        create(&disk).set_len(12).expect("grown");
        disk
    });
    assert!(found.iter().flatten().all(|bytes| bytes.starts_with(b"abcdef")));
    assert_eq!(found.len(), 5, "the old size, or two stale or zero sectors: {found:?}");
}

#[test]
fn sync_data_loses_the_size_if_the_profile_says_so() {
    let profile = Profile { data_sync: DataSync::LosesSize, ..Profile::default() };
    let found = survivors(|| {
        let disk = disk_with(profile, b"one");
        let file = create(&disk);
        file.write_at(b"ONE more", 0).expect("written");
        file.sync_data().expect("synced");
        disk
    });
    assert_eq!(found, set(&[b"ONE", b"ONE more"]));
}

#[test]
fn a_lying_flush_fences_nothing() {
    let profile = Profile { flush: Flush::Lying, ..Profile::default() };
    let found = survivors(|| {
        let disk = disk_with(profile, b"one");
        let file = create(&disk);
        file.write_at(b"two", 0).expect("written");
        file.sync_all().expect("the sync lies");
        disk
    });
    assert_eq!(found, set(&[b"one", b"two"]));
}

#[test]
fn a_name_survives_only_a_directory_sync() {
    let other = Path::new("dir/other");
    let renamed = |sync: bool| {
        survivors(|| {
            let disk = disk_with(Profile::default(), b"old");
            let file = disk.open(other, OpenMode::Create).expect("created");
            file.write_at(b"new", 0).expect("written");
            file.sync_all().expect("synced");
            disk.rename(other, Path::new(PATH)).expect("renamed");
            if sync {
                disk.sync_dir(Path::new(PATH)).expect("synced");
            }
            disk
        })
    };
    assert_eq!(renamed(false), set(&[b"old", b"new"]));
    assert_eq!(renamed(true), set(&[b"new"]));
    let removed = survivors(|| {
        let disk = disk_with(Profile::default(), b"old");
        disk.remove(Path::new(PATH)).expect("removed");
        disk
    });
    assert_eq!(removed, [None, Some(b"old".to_vec())].into());
}

/// A durable `old`, then `new` written and a sync that fails.
fn after_failed_sync(failure: SyncFailure) -> (SimDisk, Box<dyn VfsFile>, bool) {
    let disk = disk_with(Profile::default(), b"old");
    // The older version is the one that landed.
    disk.choose_from(Script::new(vec![1; 100]));
    let file = create(&disk);
    file.write_at(b"new", 0).expect("written");
    disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), Failure::Sync(failure)));
    let succeeded = file.sync_all().is_ok();
    (disk, file, succeeded)
}

#[test]
fn a_failed_sync_leaves_what_its_kind_says() {
    let (disk, file, succeeded) = after_failed_sync(SyncFailure::Drop);
    assert!(!succeeded);
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"new"[..]));
    file.sync_all().expect("the retry believes that nothing is dirty");
    disk.evict();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"old"[..]));

    let (disk, file, succeeded) = after_failed_sync(SyncFailure::Keep);
    assert!(!succeeded);
    file.sync_all().expect("the retry writes it");
    disk.crash();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"new"[..]));

    let (disk, _file, succeeded) = after_failed_sync(SyncFailure::Revert);
    assert!(!succeeded);
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"old"[..]));

    let (disk, file, succeeded) = after_failed_sync(SyncFailure::Late);
    assert!(succeeded);
    assert!(file.sync_all().is_err(), "the next sync reports it");
    disk.crash();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"old"[..]));
}

#[test]
fn what_the_disk_was_told_to_begin_with_is_not_durable() {
    let survivors: BTreeSet<_> = (0..2)
        .map(|version| {
            let disk = disk_with(Profile::default(), b"old");
            disk.choose_from(Script::new(vec![version; 100]));
            let file = create(&disk);
            file.write_at(b"new", 0).expect("written");
            let before = disk.operations();
            file.begin_write_back(0..3).expect("begun");
            assert_eq!(disk.operations(), before, "it has no number");
            assert_eq!(disk.count(OpKind::BeginWriteBack), 1);
            disk.crash();
            disk.read_file(PATH)
        })
        .collect();
    assert_eq!(survivors, [Some(b"new".to_vec()), Some(b"old".to_vec())].into());
}

#[test]
fn only_a_fault_that_is_meant_for_it_strikes_what_the_disk_is_told_to_begin_with() {
    let disk = disk_with(Profile::default(), b"old");
    disk.choose_from(Script::new(vec![1; 100]));
    let file = create(&disk);
    let eio = Failure::Error(Errno::Eio);
    disk.inject(Fault::new(OpSet::ALL, When::From(0), eio));
    file.begin_write_back(0..3).expect("the fault is for others");
    disk.clear_faults();

    file.write_at(b"new", 0).expect("written");
    disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(0), eio));
    disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(1), Failure::Sync(SyncFailure::Late)));
    assert!(file.begin_write_back(0..3).is_err());
    file.begin_write_back(0..3).expect("it fails late");
    assert!(file.sync_all().is_err(), "the next sync reports it");
    disk.crash();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"old"[..]));
}

/// What is said of failing syncs is said of syncs: anything else just fails.
#[test]
fn what_fails_as_a_sync_does_is_a_plain_error_elsewhere() {
    let disk = disk_with(Profile::default(), b"old");
    let (path, other) = (Path::new(PATH), Path::new("dir/other"));
    let file = create(&disk);
    disk.inject(Fault::new(OpSet::ALL, When::From(0), Failure::Sync(SyncFailure::Keep)));
    let failures = [
        disk.open(path, OpenMode::Read).is_err(),
        disk.file_id(path).is_err(),
        disk.rename(path, other).is_err(),
        disk.remove(path).is_err(),
        disk.sync_dir(path).is_err(),
        disk.create_dir(other).is_err(),
        disk.remove_dir(other).is_err(),
        disk.read_dir(Path::new("dir")).is_err(),
        file.read_at(&mut [0; 3], 0).is_err(),
        file.write_at(b"new", 0).is_err(),
        file.set_len(1).is_err(),
        file.size().is_err(),
        file.try_lock(LockMode::Shared).is_err(),
        file.id().is_err(),
        file.sync_data().is_err(),
    ];
    assert_eq!(failures, [true; 15]);
    disk.clear_faults();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"old"[..]));
}

/// Neither writing back that fails nor a second sync that fails late makes up for what a sync owes.
#[test]
fn what_a_sync_owes_the_next_one_tells() {
    let late = Failure::Sync(SyncFailure::Late);
    let drop = Failure::Sync(SyncFailure::Drop);
    let disk = disk_with(Profile::default(), b"old");
    let file = create(&disk);
    disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), late));
    disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(0), drop));
    file.write_at(b"new", 0).expect("written");
    file.sync_data().expect("it fails late");
    assert!(file.begin_write_back(0..3).is_err());
    assert!(file.sync_data().is_err());
    file.sync_data().expect("all is told");

    disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), late));
    disk.inject(Fault::new(OpSet::SYNCS, When::Once(1), late));
    file.sync_data().expect("it fails late");
    assert!(file.sync_data().is_err(), "the first is told");
    assert!(file.sync_data().is_err(), "the second is told");
    file.sync_data().expect("all is told");
}

/// Two sectors that a failed sync lost: each stays in the cache, or goes, by itself.
#[test]
fn memory_pressure_takes_any_of_what_a_failed_sync_left() {
    let read = |seed, crashes: bool| {
        let disk = disk_with(Profile { sector_bytes: 4, ..Profile::default() }, b"aaaabbbb");
        let file = create(&disk);
        file.write_at(b"AAAABBBB", 0).expect("written");
        disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), Failure::Sync(SyncFailure::Drop)));
        assert!(file.sync_all().is_err());
        disk.choose_from(Seeded::new(seed));
        disk.evict_some();
        let seen = disk.read_file(PATH).expect("it is there");
        assert_eq!(disk.read_file(PATH).as_deref(), Some(&*seen), "it is decided");
        file.sync_all().expect("there is nothing to do");
        if crashes {
            disk.crash();
        }
        (seen, disk.read_file(PATH).expect("it is there"))
    };
    let seen: BTreeSet<_> = (0..200).map(|seed| read(seed, false).0).collect();
    let wanted: [&[u8]; 4] = [b"AAAABBBB", b"AAAAbbbb", b"aaaaBBBB", b"aaaabbbb"];
    assert_eq!(seen, wanted.map(<[u8]>::to_vec).into());
    // What was seen to be gone stays gone; what is still in the cache may be on the medium.
    let left: BTreeSet<_> = (0..400).map(|seed| read(seed, true)).collect();
    let of = |seen: &[u8]| left.iter().filter(|(found, _)| found == seen).count();
    assert_eq!(wanted.map(of), [4, 2, 2, 1]);
}

/// A write of zeros changes nothing where the file just grew, and is a write all the same.
#[test]
fn zeros_in_growth_are_read_as_zeros_after_a_failed_sync_on_a_stale_disk() {
    let disk = disk_with(Profile { growth: Growth::Stale, ..Profile::default() }, b"");
    disk.choose_from(Script::new(vec![1; 100]));
    let file = create(&disk);
    file.write_at(&[0; 700], 0).expect("written");
    disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), Failure::Sync(SyncFailure::Drop)));
    assert!(file.sync_all().is_err());
    assert!(disk.read_file(PATH).expect("it is there").iter().all(|byte| *byte == 0));
    disk.evict();
    assert!(disk.read_file(PATH).expect("it is there").iter().any(|byte| *byte != 0));
}

#[test]
fn a_lost_sector_is_durable_once_it_is_written_again() {
    let (disk, file, _) = after_failed_sync(SyncFailure::Drop);
    file.write_at(b"new", 0).expect("written");
    file.sync_all().expect("synced");
    disk.crash();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_killed_process_leaves_its_writes_in_the_page_cache() {
    let (disk, file, _) = after_failed_sync(SyncFailure::Drop);
    assert!(file.try_lock(LockMode::Exclusive).expect("asked"));
    disk.kill();
    assert!(file.write_at(b"x", 0).is_err(), "the handle is dead");
    assert!(create(&disk).try_lock(LockMode::Exclusive).expect("asked"), "the lock is free");
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"new"[..]));
    disk.crash();
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"old"[..]));
}

#[test]
fn locks_exclude_each_other_until_the_file_is_closed() {
    let disk = disk_with(Profile::default(), b"");
    let (one, two) = (create(&disk), create(&disk));
    assert!(one.try_lock(LockMode::Shared).expect("asked"));
    assert!(two.try_lock(LockMode::Shared).expect("asked"));
    assert!(!two.try_lock(LockMode::Exclusive).expect("asked"));
    drop(one);
    assert!(two.try_lock(LockMode::Exclusive).expect("asked"));
    assert!(!create(&disk).try_lock(LockMode::Shared).expect("asked"));
}

#[test]
fn faults_strike_where_they_are_told() {
    let disk = disk_with(Profile::default(), b"0123456789");
    let file = create(&disk);
    let eintr = Failure::Error(Errno::Eintr);
    disk.inject(Fault::new(OpSet::READS, When::Once(1), eintr));
    disk.inject(Fault::new(OpSet::WRITES, When::From(1), Failure::Short(0)));
    let mut buf = [0; 4];
    assert_eq!(file.read_at(&mut buf, 0).expect("the first read works"), 4);
    assert_eq!(file.read_at(&mut buf, 0).map_err(|e| e.kind()), Err(ErrorKind::Interrupted));
    read_exact_at(&*file, &mut buf, 0).expect("the third read works");
    write_all_at(&*file, b"x", 0).expect("the first write works");
    let nothing = write_all_at(&*file, b"y", 0).map_err(|error| error.kind());
    assert_eq!(nothing, Err(ErrorKind::WriteZero));
    disk.clear_faults();
    write_all_at(&*file, b"z", 0).expect("the faults are over");
}

#[test]
fn short_transfers_move_a_part() {
    let disk = disk_with(Profile::default(), b"0123456789");
    let file = create(&disk);
    disk.inject(Fault::new(OpSet::ALL, When::From(0), Failure::Short(3)));
    let mut buf = [0; 10];
    assert_eq!(file.read_at(&mut buf, 0).expect("read"), 3);
    read_exact_at(&*file, &mut buf, 0).expect("the rest follows");
    assert_eq!(&buf, b"0123456789");
    assert_eq!(file.write_at(b"abcdef", 0).expect("written"), 3);
    write_all_at(&*file, b"abcdef", 0).expect("the rest follows");
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"abcdef6789"[..]));
}

#[test]
fn without_power_nothing_works_until_the_crash() {
    let disk = disk_with(Profile::default(), b"old");
    let file = create(&disk);
    disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), Failure::PowerOff));
    file.write_at(b"new", 0).expect("written");
    assert!(file.sync_all().is_err());
    disk.clear_faults();
    disk.kill();
    assert!(disk.open(Path::new(PATH), OpenMode::Read).is_err(), "a restart needs power");
    disk.crash();
    let found = disk.read_file(PATH).expect("the file is there");
    assert!(found == b"old" || found == b"new");
}

#[test]
fn a_longest_file_is_a_full_disk() {
    let disk = disk_with(Profile { file_bytes_max: 1000, ..Profile::default() }, b"");
    let file = create(&disk);
    file.write_at(&[1; 1000], 0).expect("there is room");
    let full = file.write_at(&[1], 1000).map_err(|error| error.kind());
    assert_eq!(full, Err(ErrorKind::StorageFull));
    assert!(file.write_at(&[1], u64::MAX).is_err());
    assert!(file.set_len(u64::MAX).is_err());
}

#[test]
fn a_read_only_handle_writes_nothing() {
    let disk = disk_with(Profile::default(), b"x");
    let file = disk.open(Path::new(PATH), OpenMode::Read).expect("it exists");
    assert!(file.write_at(b"y", 0).is_err());
    assert!(file.set_len(0).is_err());
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"x"[..]));
}

/// Refuses writes of a byte that the file holds already.
struct NoRepetition {
    writes: u64,
}

impl Monitor for NoRepetition {
    fn write(&mut self, event: &WriteEvent<'_>) -> Result<(), String> {
        self.writes += 1;
        match event.old {
            Some(old) if old == event.new => Err(format!("{old:?} again")),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_monitor_sees_old_and_new_bytes() {
    let disk = disk_with(Profile::default(), b"abc");
    disk.watch(Box::new(NoRepetition { writes: 0 }));
    let file = create(&disk);
    file.write_at(b"x", 0).expect("written");
    assert_eq!(disk.violation(), None);
    file.write_at(b"bc", 1).expect("written");
    file.write_at(b"bc", 1).expect("written");
    assert_eq!(disk.violation().as_deref(), Some("operation #3: [98, 99] again"));
}

/// Fails if a choice is asked for.
struct Never;

impl Choose for Never {
    fn choose(&mut self, _alternatives: u32, what: Choice) -> u32 {
        panic!("{what:?} is decided")
    }
}

#[test]
fn what_nobody_reads_is_not_decided() {
    let disk = disk_with(Profile { sector_bytes: 4, ..Profile::default() }, &[0; 64]);
    let file = create(&disk);
    file.write_at(&[1; 32], 0).expect("written");
    disk.crash();
    disk.choose_from(Never);
    assert!((disk.log2_images() - 8.0).abs() < 1e-9);
    let file = create(&disk);
    let mut buf = [0; 32];
    file.read_at(&mut buf, 32).expect("read");
    // Overwriting decides nothing either, and a further crash keeps the old versions open.
    file.write_at(&[2; 4], 0).expect("written");
    disk.crash();
    assert!((disk.log2_images() - 7.0 - 3_f64.log2()).abs() < 1e-9);
}

#[test]
fn a_snapshot_starts_other_disks() {
    let disk = disk_with(Profile::default(), b"first");
    create(&disk).write_at(b"dirty", 0).expect("written");
    let snapshot = disk.snapshot();
    create(&disk).write_at(b"later", 0).expect("written");
    let other = SimDisk::from_snapshot(&snapshot);
    assert_eq!(other.read_file(PATH).as_deref(), Some(&b"dirty"[..]));
    other.choose_from(Script::new(vec![1]));
    other.crash();
    assert_eq!(other.read_file(PATH).as_deref(), Some(&b"first"[..]));
    assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"later"[..]));
}

#[test]
fn a_settled_disk_loses_nothing_and_owes_nothing() {
    for failure in [SyncFailure::Drop, SyncFailure::Late] {
        let (disk, file, _) = after_failed_sync(failure);
        disk.settle();
        file.sync_all().expect("nothing has failed since");
        disk.crash();
        assert_eq!(disk.read_file(PATH).as_deref(), Some(&b"new"[..]));
    }
}

#[test]
fn equal_runs_have_equal_traces() {
    let run = |last: &[u8]| {
        let disk = disk_with(Profile::default(), b"abc");
        disk.keep_trace();
        let file = create(&disk);
        file.write_at(last, 1).expect("written");
        file.sync_data().expect("synced");
        disk.trace()
    };
    assert_eq!(run(b"x").hash(), run(b"x").hash());
    assert_ne!(run(b"x").hash(), run(b"y").hash());
    let lines: Vec<String> = run(b"x").ops().iter().map(ToString::to_string).collect();
    assert_eq!(lines[0], "#1 open file 0");
    assert!(lines[1].starts_with("#2 write file 0 at 1 len 1 crc "), "{lines:?}");
    assert_eq!(lines[2], "#3 sync_data file 0");
}

#[test]
fn operations_are_counted() {
    let disk = disk_with(Profile::default(), b"abc");
    let file = create(&disk);
    for _ in 0..3 {
        file.size().expect("asked");
    }
    assert_eq!((disk.count(OpKind::Size), disk.count(OpKind::Write)), (3, 0));
}

#[test]
fn long_runs_do_not_keep_old_versions() {
    let disk = disk_with(Profile { sector_bytes: 4096, ..Profile::default() }, b"");
    let file = create(&disk);
    let mut page = vec![0; 1 << 20];
    for round in 0..200_u64 {
        page.fill(round.to_le_bytes()[0]);
        file.write_at(&page, 0).expect("written");
        file.sync_data().expect("synced");
    }
    assert_eq!(disk.read_file(PATH), Some(page));
    assert!(resident_bytes() < 400 << 20, "200 MiB were written over one");
}

/// The memory of this process, or 0 where it cannot be told.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn a_cut_whose_size_was_not_fenced_may_not_have_happened() {
    let data_sync = DataSync::LosesSize;
    let profile = Profile { sector_bytes: 4, data_sync, ..Profile::default() };
    let found = survivors(|| {
        let disk = disk_with(profile, b"aaaabbbb");
        let file = create(&disk);
        file.set_len(4).expect("cut");
        file.sync_data().expect("synced");
        disk
    });
    assert!(found.contains(&Some(b"aaaabbbb".to_vec())), "{found:?}");
    assert!(found.contains(&Some(b"aaaa".to_vec())), "{found:?}");
}

/// Only the size is left open: what is below it was fenced.
#[test]
fn fenced_data_is_not_stale_where_the_size_was_not_fenced() {
    let (growth, data_sync) = (Growth::Stale, DataSync::LosesSize);
    let profile = Profile { sector_bytes: 4, growth, data_sync, ..Profile::default() };
    let grown = |bytes: &'static [u8], more: fn(&dyn VfsFile)| {
        survivors(|| {
            let disk = disk_with(profile, b"");
            let file = create(&disk);
            file.write_at(bytes, 0).expect("written");
            file.sync_data().expect("synced");
            more(&*file);
            disk
        })
    };
    assert_eq!(grown(b"abcd", |_| {}), set(&[b"", b"abcd"]));
    // A write of zeros changes nothing here, and is a write all the same.
    assert_eq!(grown(&[0; 4], |_| {}), set(&[b"", &[0; 4]]));
    // Later writes without a fence leave each sector at what is written, or at what was fenced.
    let over = grown(b"abcd", |file| {
        file.write_at(b"ABCD", 0).expect("written");
    });
    assert_eq!(over, set(&[b"", b"abcd", b"ABCD"]));
    // What was cut off and grew again is another place on the disk.
    let again = grown(b"abcd", |file| {
        file.set_len(0).expect("cut");
        file.set_len(4).expect("grown");
    });
    assert_eq!(again.len(), 4, "the old size, or old, zero or stale bytes: {again:?}");
    // What was never written there is not fenced.
    let beyond = grown(b"abcd", |file| file.set_len(8).expect("grown"));
    assert_eq!(beyond.len(), 4, "{beyond:?}");
    assert!(beyond.iter().flatten().all(|bytes| bytes.is_empty() || bytes.starts_with(b"abcd")));
}

#[test]
#[should_panic(expected = "sector_bytes is at least 1")]
fn a_disk_has_sectors() {
    drop(SimDisk::with_profile(Profile { sector_bytes: 0, ..Profile::default() }));
}

/// A later sync makes the length durable that a failed one has not; what was cut off stays away.
#[test]
fn what_was_cut_off_does_not_come_back_behind_a_sync_that_failed() {
    for failure in [SyncFailure::Drop, SyncFailure::NoSpace] {
        for ends_with_a_crash in [false, true] {
            let disk = disk_with(Profile::default(), &[7; 1024]);
            disk.choose_from(Script::new(vec![1; 100]));
            let file = create(&disk);
            let failure = Failure::Sync(failure);
            disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), failure));
            file.set_len(0).expect("it gets shorter");
            file.sync_all().expect_err("the fault strikes");
            file.sync_all().expect("it works again");
            file.set_len(1024).expect("it grows");
            file.sync_all().expect("it works again");
            if ends_with_a_crash {
                disk.crash();
            } else {
                disk.evict();
            }
            assert_eq!(disk.read_file(PATH), Some(vec![0; 1024]), "{failure:?}");
        }
    }
}
