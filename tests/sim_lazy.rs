//! Does deciding by demand, at fences only, show a reader exactly what building every image at
//! every operation shows?
//!
//! Random programs of a few operations run before the crash, and others after it, perhaps
//! through a second crash; the sets of all that the readers saw must be equal.
#![cfg(feature = "sim")]

use btree_store::sim::{
    Checked, CrashPoints, DataSync, Errno, Explorer, Failure, Fault, Growth, Images, OpSet,
    Profile, Seeded, SimDisk, SyncFailure, When,
};
use btree_store::vfs::{OpenMode, Vfs};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const SECTOR: u64 = 64;
const FILES: [&str; 3] = ["d/one", "d/two", "e/three"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Write { file: usize, offset: u64, len: usize, byte: u8 },
    SetLen { file: usize, len: u64 },
    Sync { file: usize, all: bool },
    SyncDir { file: usize },
    Rename { from: usize, to: usize },
    Remove { file: usize },
    Read { file: usize, offset: u64, len: usize },
    Size { file: usize },
    Exists { file: usize },
    FailNextSync(SyncFailure),
    Evict,
    EvictSome,
}

fn random_step(random: &mut Seeded, only_reads: bool) -> Step {
    let file = random.below(2) as usize;
    let near = [0, 1, SECTOR - 1, SECTOR, SECTOR + 7, 2 * SECTOR, 3 * SECTOR];
    let offset = near[random.below(7) as usize];
    let len = near[random.below(7) as usize];
    let kind = if only_reads { 14 + random.below(6) } else { random.below(20) };
    match kind {
        0..6 => {
            let byte = b'a' + u8::try_from(random.below(26)).expect("a letter");
            Step::Write { file, offset, len: usize::try_from(len).expect("short"), byte }
        }
        6 | 7 => Step::SetLen { file, len },
        8 | 9 => Step::Sync { file, all: random.below(2) == 0 },
        10 => Step::SyncDir { file },
        11 => {
            let from = random.below(3) as usize;
            Step::Rename { from, to: (from + 1 + random.below(2) as usize) % 3 }
        }
        12 => Step::Remove { file },
        13 => match random.below(6) {
            0 => Step::Evict,
            5 => Step::EvictSome,
            1 => Step::FailNextSync(SyncFailure::Drop),
            2 => Step::FailNextSync(SyncFailure::Revert),
            3 => Step::FailNextSync(SyncFailure::Keep),
            _ => Step::FailNextSync(SyncFailure::Late),
        },
        14..17 => Step::Read { file, offset, len: usize::try_from(len).expect("short") },
        17 => Step::Size { file },
        _ => Step::Exists { file: random.below(3) as usize },
    }
}

/// Runs a program; what it sees goes to `seen`.
fn run(disk: &SimDisk, program: &[Step], seen: &mut String) -> std::io::Result<()> {
    let open = |file: usize, mode| disk.open(Path::new(FILES[file]), mode);
    for step in program {
        match *step {
            Step::Write { file, offset, len, byte } => {
                open(file, OpenMode::Create)?.write_at(&vec![byte; len], offset)?;
            }
            Step::SetLen { file, len } => open(file, OpenMode::Create)?.set_len(len)?,
            Step::Sync { file, all } => {
                let file = open(file, OpenMode::Create)?;
                let result = if all { file.sync_all() } else { file.sync_data() };
                write!(seen, "{} ", u8::from(result.is_ok())).expect("a string takes text");
            }
            Step::SyncDir { file } => disk.sync_dir(Path::new(FILES[file]))?,
            Step::Rename { from, to } => {
                let result = disk.rename(Path::new(FILES[from]), Path::new(FILES[to]));
                write!(seen, "{} ", u8::from(result.is_ok())).expect("a string takes text");
            }
            Step::Remove { file } => {
                let result = disk.remove(Path::new(FILES[file]));
                write!(seen, "{} ", u8::from(result.is_ok())).expect("a string takes text");
            }
            Step::Read { file, offset, len } => {
                let mut buf = vec![0; len];
                let read = match open(file, OpenMode::Read) {
                    Ok(file) => file.read_at(&mut buf, offset)?,
                    Err(_) => 0,
                };
                let sum = crc32c::crc32c(&buf[..read]);
                write!(seen, "{read}:{sum:x} ").expect("a string takes text");
            }
            Step::Size { file } => {
                let size = open(file, OpenMode::Read).map_or(Ok(u64::MAX), |file| file.size())?;
                write!(seen, "{size} ").expect("a string takes text");
            }
            Step::Exists { file } => {
                let exists = disk.file_id(Path::new(FILES[file]))?.is_some();
                write!(seen, "{exists} ").expect("a string takes text");
            }
            Step::FailNextSync(failure) => {
                let next = When::Once(0);
                disk.inject(Fault::new(OpSet::SYNCS, next, Failure::Sync(failure)));
            }
            Step::Evict => disk.evict(),
            Step::EvictSome => disk.evict_some(),
        }
    }
    Ok(())
}

fn everything_seen(
    explorer: &Explorer,
    before: &[Step],
    after: &[Step],
    at_last: &[Step],
    limit: u64,
) -> Option<(BTreeSet<String>, u64)> {
    let mut all = BTreeSet::new();
    let report = explorer.clone().executions_max(limit).explore(
        |disk| Ok(run(disk, before, &mut String::new())?),
        |disk, crash| -> Checked {
            let program = if crash.depth() == 1 { after } else { at_last };
            let mut seen = format!("{}: ", crash.depth());
            let result = run(disk, program, &mut seen);
            all.insert(seen);
            Ok(result?)
        },
    );
    report.is_verified().then_some((all, report.executions))
}

#[test]
fn lazy_and_eager_exploration_agree_on_random_programs() {
    let (mut compared, mut lazy_runs, mut eager_runs, mut widest) = (0, 0, 0, 0);
    for seed in 0..1500 {
        let mut random = Seeded::new(seed);
        let plain = Profile { sector_bytes: 64, ..Profile::default() };
        let profile = match random.below(4) {
            0 => Profile { growth: Growth::Stale, ..plain },
            1 => Profile { data_sync: DataSync::LosesSize, ..plain },
            _ => plain,
        };
        let lens = (random.below(7), random.below(4), random.below(3));
        let mut program = |len, only_reads| {
            (0..len).map(|_| random_step(&mut random, only_reads)).collect::<Vec<Step>>()
        };
        let before = program(2 + lens.0, false);
        let mut after = program(1 + lens.1, false);
        after.extend(program(1, true));
        let at_last = program(1 + lens.2, true);
        let lazy = Explorer::new("lazy").profile(profile).nested(1);
        let eager = lazy.clone().images(Images::Eager).crash_points(CrashPoints::EveryOperation);
        let Some(few) = everything_seen(&lazy, &before, &after, &at_last, 1 << 12) else {
            continue;
        };
        let Some(all) = everything_seen(&eager, &before, &after, &at_last, 1 << 12) else {
            continue;
        };
        assert_eq!(few.0, all.0, "seed {seed}, {profile:?}: {before:?} | {after:?} | {at_last:?}");
        compared += 1;
        lazy_runs += few.1;
        eager_runs += all.1;
        widest = widest.max(all.1 / few.1.max(1));
    }
    println!("{compared} programs, {lazy_runs} against {eager_runs} runs, 1 against {widest}");
    assert!(compared > 700, "only {compared} programs were small enough");
    assert!(lazy_runs * 10 < eager_runs);
}

#[test]
fn a_plain_error_changes_nothing() {
    let disk = SimDisk::new();
    let path = Path::new("file");
    let file = disk.open(path, OpenMode::Create).expect("the disk has room");
    file.write_at(b"before", 0).expect("the disk has room");
    disk.inject(Fault::new(OpSet::ALL, When::From(0), Failure::Error(Errno::Enospc)));
    assert!(file.write_at(b"after!", 0).is_err());
    assert!(file.set_len(1).is_err());
    assert!(disk.rename(path, Path::new("other")).is_err());
    disk.clear_faults();
    assert_eq!(disk.read_file(path).as_deref(), Some(&b"before"[..]));
}
