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

/// What the steps of a program name by numbers.
#[derive(Debug)]
struct Place {
    files: [&'static str; 3],
    directories: [&'static str; 4],
}

/// Files in two directories, which are there and durable.
const PLAIN: Place =
    Place { files: ["d/one", "d/two", "e/three"], directories: ["d", "e", "d", "e"] };

/// Files in directories that the program makes, one of which may be a file.
const NESTED: Place =
    Place { files: ["d/one", "d/in/two", "e"], directories: ["d", "d/in", "e", ""] };

#[derive(Clone, Copy, Debug)]
enum Step {
    Write {
        file: usize,
        offset: u64,
        len: usize,
        byte: u8,
    },
    SetLen {
        file: usize,
        len: u64,
    },
    Sync {
        file: usize,
        all: bool,
    },
    SyncDir {
        file: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Remove {
        file: usize,
    },
    Read {
        file: usize,
        offset: u64,
        len: usize,
    },
    Size {
        file: usize,
    },
    Exists {
        file: usize,
    },
    FailNextSync(SyncFailure),
    Evict,
    EvictSome,
    CreateDir {
        directory: usize,
    },
    RemoveDir {
        directory: usize,
    },
    /// Of the directory that holds this one.
    SyncParent {
        directory: usize,
    },
    ReadDir {
        directory: usize,
    },
    /// The files in all directories.
    Names,
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

/// A step of a program that works with names.
fn random_naming_step(random: &mut Seeded, only_reads: bool) -> Step {
    let (file, directory) = (random.below(3) as usize, random.below(3) as usize);
    match if only_reads { 16 + random.below(8) } else { random.below(24) } {
        0..5 => Step::CreateDir { directory },
        5 | 6 => Step::RemoveDir { directory },
        7 | 8 => Step::SyncParent { directory },
        9 | 10 => Step::SyncDir { file },
        11 | 12 => Step::Write { file, offset: 0, len: 0, byte: 0 },
        13 => Step::Rename { from: file, to: (file + 1 + random.below(2) as usize) % 3 },
        14 | 15 => Step::Remove { file },
        16..20 => Step::ReadDir { directory: random.below(4) as usize },
        20 => Step::Names,
        _ => Step::Exists { file },
    }
}

/// Runs a program; what it sees goes to `seen`.
fn run(disk: &SimDisk, place: &Place, program: &[Step], seen: &mut String) {
    for step in program {
        let told = take(disk, place, step);
        let told = told.unwrap_or_else(|error| format!("{:?}", error.kind()));
        write!(seen, "{told} ").expect("a string takes text");
    }
}

/// Takes a step; what it sees.
fn take(disk: &SimDisk, place: &Place, step: &Step) -> std::io::Result<String> {
    let open = |file: usize, mode| disk.open(Path::new(place.files[file]), mode);
    let path = |file: usize| Path::new(place.files[file]);
    let dir = |directory: usize| Path::new(place.directories[directory]);
    let mut told = String::new();
    match *step {
        Step::Write { file, offset, len, byte } => {
            open(file, OpenMode::Create)?.write_at(&vec![byte; len], offset)?;
        }
        Step::SetLen { file, len } => open(file, OpenMode::Create)?.set_len(len)?,
        Step::Sync { file, all } => {
            let file = open(file, OpenMode::Create)?;
            if all { file.sync_all() } else { file.sync_data() }?;
        }
        Step::SyncDir { file } => disk.sync_dir(path(file))?,
        Step::Rename { from, to } => disk.rename(path(from), path(to))?,
        Step::Remove { file } => disk.remove(path(file))?,
        Step::Read { file, offset, len } => {
            let mut buf = vec![0; len];
            let read = open(file, OpenMode::Read)?.read_at(&mut buf, offset)?;
            told = format!("{read}:{:x}", crc32c::crc32c(&buf[..read]));
        }
        Step::Size { file } => told = open(file, OpenMode::Read)?.size()?.to_string(),
        Step::Exists { file } => told = disk.file_id(path(file))?.is_some().to_string(),
        Step::FailNextSync(failure) => {
            let next = When::Once(0);
            disk.inject(Fault::new(OpSet::SYNCS, next, Failure::Sync(failure)));
        }
        Step::Evict => disk.evict(),
        Step::EvictSome => disk.evict_some(),
        Step::CreateDir { directory } => disk.create_dir(dir(directory))?,
        Step::RemoveDir { directory } => disk.remove_dir(dir(directory))?,
        Step::SyncParent { directory } => disk.sync_dir(dir(directory))?,
        Step::ReadDir { directory } => told = format!("{:?}", disk.read_dir(dir(directory))?),
        Step::Names => told = format!("{:?}", disk.names()),
    }
    Ok(told)
}

/// A program, and what runs after the first crash of it, and after the second.
#[derive(Debug)]
struct Programs {
    before: Vec<Step>,
    after: Vec<Step>,
    at_last: Vec<Step>,
}

impl Programs {
    fn random(random: &mut Seeded, step: fn(&mut Seeded, bool) -> Step, more: u32) -> Programs {
        let lens = (random.below(7) + more, random.below(4) + more, random.below(3));
        let mut program =
            |len, only_reads| (0..len).map(|_| step(random, only_reads)).collect::<Vec<Step>>();
        let before = program(2 + lens.0, false);
        let mut after = program(1 + lens.1, false);
        after.extend(program(1, true));
        Programs { before, after, at_last: program(1 + lens.2, true) }
    }
}

/// What all runs see, and how many they are, unless those are too many.
fn everything_seen(
    explorer: &Explorer,
    place: &Place,
    programs: &Programs,
) -> Option<(BTreeSet<String>, u64)> {
    let mut all = BTreeSet::new();
    let report = explorer.clone().executions_max(1 << 12).explore(
        |disk| {
            run(disk, place, &programs.before, &mut String::new());
            Ok(())
        },
        |disk, crash| -> Checked {
            let program = if crash.depth() == 1 { &programs.after } else { &programs.at_last };
            let mut seen = format!("{}: ", crash.depth());
            run(disk, place, program, &mut seen);
            all.insert(seen);
            Ok(())
        },
    );
    report.is_verified().then_some((all, report.executions))
}

/// The programs compared, the runs of the lazy and of the eager exploration.
#[derive(Debug, Default)]
struct Compared {
    programs: u64,
    lazy_runs: u64,
    eager_runs: u64,
    widest: u64,
}

impl Compared {
    /// Holds what an exploration by demand sees against what one of all images sees.
    fn compare(&mut self, seed: u64, lazy: &Explorer, place: &Place, programs: &Programs) {
        let eager = lazy.clone().images(Images::Eager).crash_points(CrashPoints::EveryOperation);
        let Some(few) = everything_seen(lazy, place, programs) else { return };
        let Some(all) = everything_seen(&eager, place, programs) else { return };
        assert_eq!(few.0, all.0, "seed {seed}, {lazy:?}: {programs:?}");
        self.programs += 1;
        self.lazy_runs += few.1;
        self.eager_runs += all.1;
        self.widest = self.widest.max(all.1 / few.1.max(1));
    }
}

#[test]
fn lazy_and_eager_exploration_agree_on_random_programs() {
    let mut compared = Compared::default();
    for seed in 0..1500 {
        let mut random = Seeded::new(seed);
        let plain = Profile { sector_bytes: 64, ..Profile::default() };
        let profile = match random.below(4) {
            0 => Profile { growth: Growth::Stale, ..plain },
            1 => Profile { data_sync: DataSync::LosesSize, ..plain },
            _ => plain,
        };
        let disk = SimDisk::with_profile(profile);
        for directory in ["d", "e"] {
            disk.create_dir(Path::new(directory)).expect("the disk has room");
        }
        disk.settle();
        let lazy = Explorer::new("lazy").start(&disk.snapshot()).nested(1);
        let programs = Programs::random(&mut random, random_step, 0);
        compared.compare(seed, &lazy, &PLAIN, &programs);
    }
    println!("{compared:?}");
    assert!(compared.programs > 1200, "only {compared:?} were small enough");
    assert!(compared.lazy_runs * 10 < compared.eager_runs);
}

#[test]
fn lazy_and_eager_exploration_agree_on_random_directories() {
    let mut compared = Compared::default();
    for seed in 0..4000 {
        let mut random = Seeded::new(seed);
        let programs = Programs::random(&mut random, random_naming_step, 3);
        let lazy = Explorer::new("lazy").nested(1);
        compared.compare(seed, &lazy, &NESTED, &programs);
    }
    println!("{compared:?}");
    assert!(compared.programs > 3900, "only {compared:?} were small enough");
    assert!(compared.lazy_runs * 2 < compared.eager_runs, "{compared:?}");
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
