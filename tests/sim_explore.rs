//! Does the explorer find every mistake that a store can make with its disk, and nothing in a
//! store that makes none?
#![cfg(feature = "sim")]

mod sim_toys;

use btree_store::Options;
use btree_store::sim::{
    Bytes, Checked, CrashPoints, DataSync, Errno, Explorer, Failure, Fault, Flush, Growth, Images,
    Mark, Monitor, Newest, OpSet, Profile, Report, Seeded, SimDisk, SyncFailure, Verdict, When,
    WriteEvent,
};
use btree_store::vfs::{OpenMode, Vfs, VfsFile, write_all_at};
use sim_toys::{MISTAKES, Mistake, Toy, check, commits};
use std::collections::BTreeSet;
use std::path::Path;

/// The profiles in which a store has to be right.
fn profiles() -> [Profile; 4] {
    let plain = Profile::default();
    [
        plain,
        Profile { growth: Growth::Stale, ..plain },
        Profile { data_sync: DataSync::LosesSize, ..plain },
        Profile { sector_bytes: 4096, growth: Growth::Stale, ..plain },
    ]
}

/// Two commits under any single fault of a kind at any place; after an error the process starts
/// again without a reboot, under memory pressure or not, and commits once more.
fn commits_under_faults(
    mistake: Mistake,
    ops: OpSet,
    failure: Failure,
) -> impl FnMut(&SimDisk) -> btree_store::sim::Checked {
    move |disk| {
        let mut toy = Toy::open(disk, mistake)?;
        disk.inject(Fault::new(ops, When::Chosen(1), failure));
        let mut healthy = true;
        for _ in 0..2 {
            healthy = healthy && toy.commit(disk).is_ok();
        }
        drop(toy);
        disk.clear_faults();
        if !healthy {
            disk.kill();
            if disk.choose(2) == 1 {
                disk.evict();
            }
            let mut again = Toy::open(disk, mistake)?;
            disk.acknowledged(again.seq);
            again.commit(disk)?;
        }
        Ok(())
    }
}

/// The failures of a sync after which nothing acknowledged may be lost.
const SYNC_FAILURES: [SyncFailure; 4] =
    [SyncFailure::Drop, SyncFailure::Keep, SyncFailure::Revert, SyncFailure::NoSpace];

/// Explores everything that finds one of the mistakes; returns the first violation, or the last
/// report.
fn explore_all(mistake: Mistake) -> Report {
    let mut last = None;
    for profile in profiles() {
        let explorer = Explorer::new(format!("{mistake:?}")).profile(profile).nested(1);
        let report = explorer.explore(commits(mistake, 2), check(mistake));
        if report.verdict != Verdict::Verified {
            return report;
        }
        last = Some(report);
    }
    let explorer = Explorer::new(format!("{mistake:?}"));
    for failure in SYNC_FAILURES {
        let workload = commits_under_faults(mistake, OpSet::SYNCS, Failure::Sync(failure));
        let report = explorer.explore(workload, check(mistake));
        if report.verdict != Verdict::Verified {
            return report;
        }
    }
    let workload = commits_under_faults(mistake, OpSet::WRITES, Failure::Short(700));
    let report = explorer.explore(workload, check(mistake));
    if report.verdict == Verdict::Verified { last.expect("there are profiles") } else { report }
}

#[test]
fn a_store_without_mistake_is_verified() {
    let report = explore_all(Mistake::None);
    assert!(report.is_verified(), "{report}");
    assert!(report.executions > 100, "{report}");
    println!("{report}");
}

#[test]
fn every_mistake_is_found_and_its_token_repeats_it() {
    for mistake in MISTAKES {
        let report = explore_all(mistake);
        let violation = report.violation.unwrap_or_else(|| panic!("{mistake:?} was not found"));
        println!("{mistake:?}: {violation}\n");
        assert!(violation.token.len() <= 300, "{mistake:?}: {}", violation.token);
        assert!(violation.story.lines().count() > 3, "{mistake:?}: {violation}");
    }
}

#[test]
fn a_token_repeats_its_failure() {
    let mistake = Mistake::HalfChecksum;
    let explorer = Explorer::new("half");
    let report = explorer.explore(commits(mistake, 2), check(mistake));
    let found = report.violation.expect("the mistake is found");
    let again = explorer.replay(&found.token, commits(mistake, 2), check(mistake));
    assert_eq!(again, Ok(Some(found.clone())));
    let right = explorer.replay(&found.token, commits(Mistake::None, 2), check(Mistake::None));
    assert_eq!(right, Ok(None));
}

/// The states seen by a check, with what was acknowledged, over all runs.
fn outcomes(explorer: &Explorer, mistake: Mistake, number: u64) -> (BTreeSet<String>, Report) {
    let mut seen = BTreeSet::new();
    let report = explorer.explore(commits(mistake, number), |disk, _| {
        let outcome = match Toy::open(disk, mistake) {
            Ok(toy) => match toy.read() {
                Ok(value) => format!("{} {:08x}", toy.seq, crc32c::crc32c(&value)),
                Err(error) => format!("{} {error}", toy.seq),
            },
            Err(error) => error.to_string(),
        };
        seen.insert(outcome);
        Ok(())
    });
    (seen, report)
}

#[test]
fn lazy_images_at_fences_show_what_all_images_at_all_operations_show() {
    for mistake in [Mistake::None].into_iter().chain(MISTAKES) {
        for profile in profiles() {
            let lazy = Explorer::new("lazy").profile(profile);
            let eager =
                lazy.clone().images(Images::Eager).crash_points(CrashPoints::EveryOperation);
            let (few, few_report) = outcomes(&lazy, mistake, 1);
            let (all, all_report) = outcomes(&eager, mistake, 1);
            assert!(few_report.is_verified() && all_report.is_verified());
            assert_eq!(few, all, "{mistake:?} {profile:?}");
            assert!(few_report.executions < all_report.executions);
        }
    }
}

/// States are told apart by hashes: no easy pair of them may have one.
#[test]
fn states_that_differ_in_little_are_all_looked_at() {
    let path = Path::new("file");
    let seen = |change: fn(&dyn VfsFile) -> std::io::Result<()>| {
        let mut seen = BTreeSet::new();
        let workload = |disk: &SimDisk| -> Checked {
            let file = disk.open(path, OpenMode::Create)?;
            file.write_at(&[0; 512], 0)?;
            file.sync_all()?;
            disk.sync_dir(path)?;
            disk.forget_crash_points();
            // The state before is looked at first.
            file.sync_all()?;
            change(&*file)?;
            Ok(())
        };
        let report = Explorer::new("little").explore(workload, |disk, _| {
            seen.insert(disk.read_file(path));
            Ok(())
        });
        assert!(report.is_verified() && report.repeated == 0, "{report}");
        seen.len()
    };
    assert_eq!(seen(|file| file.write_at(&[1], 0).map(drop)), 2);
    assert_eq!(seen(|file| file.write_at(&[1], 256).map(drop)), 2);
    assert_eq!(seen(|file| file.set_len(0)), 2);
    assert_eq!(seen(|file| file.set_len(1024)), 2);
}

/// Explores a workload that marks its step behind the write, or behind a look that comes after it.
fn marks_late(at: CrashPoints, looks_between: bool) -> Report {
    let path = Path::new("file");
    let workload = |disk: &SimDisk| -> Checked {
        let file = disk.open(path, OpenMode::Create)?;
        file.write_at(&[0], 0)?;
        file.sync_all()?;
        disk.sync_dir(path)?;
        file.write_at(&[1], 0)?;
        if looks_between {
            file.size()?;
        }
        disk.started(1);
        file.sync_all()?;
        disk.acknowledged(1);
        Ok(())
    };
    Explorer::new("marks").crash_points(at).explore(workload, |disk, crash| {
        let found = disk.read_file(path).and_then(|bytes| bytes.first().copied());
        if u64::from(found.unwrap_or(0)) <= crash.started() {
            return Ok(());
        }
        Err("a step is found that had not begun".into())
    })
}

/// A moment between two syncs has no image of its own, but the marks of its own.
#[test]
fn what_is_done_before_its_step_is_marked_only_every_operation_sees() {
    let verdict = |at| marks_late(at, true).verdict;
    assert_eq!(verdict(CrashPoints::Fences), Verdict::Verified);
    assert_eq!(verdict(CrashPoints::EveryOperation), Verdict::Violated);
}

/// Between an operation and the mark behind it lies no other operation.
#[test]
fn what_is_done_right_before_its_mark_every_operation_sees() {
    let report = marks_late(CrashPoints::EveryOperation, false);
    let violation = report.violation.expect("the step is found before its mark");
    assert!(violation.story.contains("\nthe power fails behind #5"), "{}", violation.story);
}

/// A check that only asks for names has looked at the disk.
#[test]
fn whoever_asks_for_a_name_has_looked() {
    let path = Path::new("file");
    let disk = SimDisk::new();
    drop(disk.open(path, OpenMode::Create).expect("made"));
    let mut seen = BTreeSet::new();
    let report = Explorer::new("asks").start(&disk.snapshot()).explore(
        |_| Ok(()),
        |disk, _| {
            seen.insert(disk.exists(path)?);
            Ok(())
        },
    );
    assert!(report.is_verified() && report.looks == report.executions, "{report}");
    assert_eq!(seen.len(), 2, "its name was not durable");
}

#[test]
#[should_panic(expected = "100000 crashes in a row")]
fn crashes_in_a_row_have_a_limit() {
    drop(Explorer::new("deep").nested(100_000));
}

/// What the disk is told to begin with has no number, and a power failure inside of it is a crash.
#[test]
fn a_power_failure_while_the_disk_is_told_to_begin_is_a_crash_point() {
    let path = Path::new("file");
    for at in [CrashPoints::Fences, CrashPoints::EveryOperation] {
        let workload = |disk: &SimDisk| -> Checked {
            let file = disk.open(path, OpenMode::Create)?;
            disk.sync_dir(path)?;
            file.write_at(b"x", 0)?;
            disk.inject(Fault::new(OpSet::WRITE_BACKS, When::Once(0), Failure::PowerOff));
            file.begin_write_back(0..1).expect_err("there is no power");
            Ok(())
        };
        let report = Explorer::new("told").crash_points(at).explore(workload, |disk, _| {
            if disk.read_file(path).as_deref() == Some(b"x") { Err("found".into()) } else { Ok(()) }
        });
        assert_eq!(report.verdict, Verdict::Violated, "{at:?}: {report}");
    }
}

#[test]
fn a_search_that_is_cut_off_is_not_verified() {
    let explorer = Explorer::new("cut").executions_max(5);
    let report = explorer.explore(commits(Mistake::None, 2), check(Mistake::None));
    assert_eq!(report.verdict, Verdict::Unverified);
    assert_eq!(report.executions, 5);
}

/// Checks are not all that is counted: a workload may have more runs than they.
#[test]
fn runs_of_the_workload_have_the_same_cap() {
    let report = Explorer::new("many").executions_max(1000).explore(
        |disk| {
            let chosen: u32 = (0..18).map(|_| disk.choose(2)).sum();
            assert!(chosen <= 18);
            Ok(())
        },
        |_, _| Ok(()),
    );
    assert_eq!((report.verdict, report.workload_runs), (Verdict::Unverified, 1000));
}

/// A loop that tries again whatever the error is does not keep the search from its end.
#[test]
fn a_run_that_tries_again_for_ever_is_told() {
    let keep = Failure::Sync(SyncFailure::Keep);
    for (ops, failure) in [
        (OpSet::SYNCS, keep),
        (OpSet::SYNCS, Failure::PowerOff),
        (OpSet::WRITE_BACKS, Failure::Error(Errno::Eio)),
        (OpSet::WRITE_BACKS, Failure::PowerOff),
    ] {
        let is_sync = ops == OpSet::SYNCS;
        let report = Explorer::new("for ever").explore(
            |disk| {
                let file = disk.open(Path::new("file"), OpenMode::Create)?;
                disk.inject(Fault::new(ops, When::ChosenFrom, failure));
                let ask = || if is_sync { file.sync_all() } else { file.begin_write_back(0..1) };
                while ask().is_err() {}
                Ok(())
            },
            |_, _| Ok(()),
        );
        let violation = report.violation.expect("it has no end");
        assert!(violation.message.ends_with("the run has no end"), "{violation}");
        let told = if is_sync { "#2 fails" } else { "the begin_write_back behind #1 fails" };
        assert!(violation.story.contains(told), "{violation}");
    }
}

#[test]
fn a_run_that_uses_for_ever_what_is_gone_is_told() {
    type Run = fn(&SimDisk) -> Checked;
    let of_a_dead_process: Run = |disk| {
        let file = disk.open(Path::new("file"), OpenMode::Create)?;
        disk.kill();
        while file.sync_all().is_err() {}
        Ok(())
    };
    let without_power: Run = |disk| {
        disk.open(Path::new("file"), OpenMode::Create)?;
        disk.power_off();
        while disk.exists(Path::new("file")).is_err() {}
        Ok(())
    };
    let of_no_directory: Run = |disk| {
        disk.open(Path::new("file"), OpenMode::Create)?;
        while disk.exists(Path::new("file/within")).is_err() {}
        Ok(())
    };
    for run in [of_a_dead_process, without_power, of_no_directory] {
        let report = Explorer::new("for ever").explore(run, |_, _| Ok(()));
        let violation = report.violation.expect("it has no end");
        assert!(violation.message.ends_with("the run has no end"), "{violation}");
    }
}

/// A start that waits for a file to go that a crash has left there.
#[test]
fn a_check_that_looks_for_ever_is_told() {
    let lock = Path::new("lock");
    let looks: [fn(&SimDisk, &Path) -> bool; 2] = [
        |disk, path| disk.exists(path).is_ok_and(|is_there| is_there),
        |disk, path| disk.file_len(path).is_some(),
    ];
    for is_there in looks {
        let report = Explorer::new("stale").explore(
            |disk| {
                disk.open(lock, OpenMode::Create)?;
                Ok(disk.sync_dir(lock)?)
            },
            |disk, _| {
                while is_there(disk, lock) {}
                Ok(())
            },
        );
        let violation = report.violation.expect("it has no end");
        assert!(violation.message.ends_with("the run has no end"), "{violation}");
    }
}

/// Of a fuzzer's few bytes none is left where each of many crash points asks for one.
#[test]
fn a_sample_by_few_bytes_crashes_in_the_middle_too() {
    let path = Path::new("file");
    let crashed_at: BTreeSet<u64> = (0..100)
        .map(|input| {
            let mut found = None;
            Explorer::new("few bytes").sample(
                Bytes::new(&[input, 255, 255]),
                |disk| {
                    let file = disk.open(path, OpenMode::Create)?;
                    for number in 0..40_u8 {
                        file.write_at(&[number], 0)?;
                        file.sync_all()?;
                    }
                    Ok(())
                },
                |_, crash| {
                    found = Some(crash.operation());
                    Ok(())
                },
            );
            found.expect("it crashes")
        })
        .collect();
    assert!(crashed_at.len() > 20, "{crashed_at:?}");
}

#[test]
#[should_panic(expected = "of another kind")]
fn a_disk_that_is_given_stays_of_its_kind() {
    let start = SimDisk::new().snapshot();
    let lying = Profile { flush: Flush::Lying, ..Profile::default() };
    drop(Explorer::new("another kind").start(&start).profile(lying));
}

/// Contents that differ in three bits in the right places are two.
#[test]
fn no_two_contents_are_taken_for_one() {
    let path = Path::new("file");
    let (one, mut other) = ([3; 64], [3; 64]);
    (other[7], other[12], other[15]) = (other[7] ^ 0x80, other[12] ^ 0x04, other[15] ^ 0x80);
    let profile = Profile { sector_bytes: 64, ..Profile::default() };
    let report = Explorer::new("alike").profile(profile).explore(
        |disk| {
            let bytes = if disk.choose(2) == 0 { one } else { other };
            let file = disk.open(path, OpenMode::Create)?;
            file.write_at(&bytes, 0)?;
            file.sync_all()?;
            Ok(disk.sync_dir(path)?)
        },
        |disk, _| match disk.read_file(path) {
            Some(found) if found == other => Err("the other one".into()),
            _ => Ok(()),
        },
    );
    assert!(report.violation.is_some(), "{report}");
}

/// A disk that others have prepared counts its operations anew.
#[test]
fn a_story_names_no_operation_of_the_preparation() {
    let path = Path::new("file");
    let prepared = SimDisk::new();
    let file = prepared.open(path, OpenMode::Create).unwrap();
    file.write_at(b"old", 0).unwrap();
    file.sync_all().unwrap();
    prepared.sync_dir(path).unwrap();
    drop(file);
    prepared.settle();
    let report = Explorer::new("prepared").start(&prepared.snapshot()).explore(
        |disk| {
            let file = disk.open(path, OpenMode::ReadWrite)?;
            file.write_at(b"new", 0)?;
            disk.started(1);
            file.sync_all()?;
            Ok(())
        },
        |disk, crash| {
            let is_old = disk.read_file(path).is_some_and(|found| found == b"old");
            if is_old && crash.started() == 1 { Err("it is old".into()) } else { Ok(()) }
        },
    );
    let violation = report.violation.expect("the old bytes may be left");
    assert!(violation.story.contains("what was there at first (2 of 2)"), "{violation}");
}

/// Nor for a name that was not durable yet.
#[test]
fn a_story_names_no_operation_of_the_preparation_for_a_name() {
    let path = Path::new("file");
    let prepared = SimDisk::new();
    prepared.open(path, OpenMode::Create).unwrap();
    let report = Explorer::new("prepared").start(&prepared.snapshot()).explore(
        |disk| Ok(disk.open(Path::new("other"), OpenMode::Create).map(drop)?),
        |disk, _| if disk.exists(path)? { Ok(()) } else { Err("it is gone".into()) },
    );
    let violation = report.violation.expect("its name may be lost");
    assert!(violation.story.contains("a name that was changed before: lost"), "{violation}");
}

/// Of contents that are one when the size is decided, the story names the one that was picked.
#[test]
fn a_story_names_what_was_picked_when_the_size_was_decided_first() {
    let path = Path::new("file");
    let report = Explorer::new("size first").explore(
        |disk| {
            let file = disk.open(path, OpenMode::Create)?;
            file.write_at(b"wwww", 0)?;
            file.sync_all()?;
            disk.sync_dir(path)?;
            disk.started(1);
            file.write_at(b"x", 0)?;
            file.write_at(b"z", 4)?;
            file.sync_all()?;
            Ok(())
        },
        |disk, crash| {
            let is_old = disk.read_file(path).is_some_and(|found| found == b"wwww");
            if is_old && crash.started() == 1 { Err("it is old".into()) } else { Ok(()) }
        },
    );
    let violation = report.violation.expect("the old bytes may be left");
    assert!(violation.story.contains("what #2 wrote"), "{violation}");
    assert!(!violation.story.contains("what #5 wrote"), "{violation}");
}

#[test]
fn a_transfer_that_is_cut_short_strikes_only_what_transfers() {
    let cut = Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Short(0));
    let report = Explorer::new("short syncs").explore(
        |disk| {
            let file = disk.open(Path::new("file"), OpenMode::Create)?;
            disk.inject(cut);
            file.write_at(b"x", 0)?;
            file.sync_all()?;
            if disk.has_fault_struck() { Err("it has struck".into()) } else { Ok(()) }
        },
        |_, _| Ok(()),
    );
    assert_eq!(report.struck_runs, 0, "{report}");
}

#[test]
fn a_sample_with_choices_of_its_own_is_refused() {
    let report = Explorer::new("own choices").sample(
        Seeded::new(1),
        |disk| {
            disk.choose_from(Seeded::new(2));
            disk.open(Path::new("file"), OpenMode::Create)?.sync_all()?;
            Ok(())
        },
        |_, _| Ok(()),
    );
    let violation = report.violation.expect("nobody could repeat it");
    assert!(violation.message.contains("a source of choices of its own"), "{violation}");
}

#[test]
fn a_panic_in_the_check_is_a_violation() {
    let report = Explorer::new("panic").explore(|_| Ok(()), |_, _| panic!("the check panics"));
    assert_eq!(report.verdict, Verdict::Violated);
    let violation = report.violation.expect("there is one");
    assert_eq!(violation.message, "panic: the check panics");
}

#[test]
fn a_workload_that_is_not_deterministic_is_a_violation() {
    let mut runs = 0;
    let report = Explorer::new("random").explore(
        |disk| {
            runs += 1;
            disk.choose(runs + 1);
            disk.choose(2);
            Ok(())
        },
        |_, _| Ok(()),
    );
    assert_eq!(report.verdict, Verdict::Violated);
    assert!(report.to_string().contains("not deterministic"), "{report}");
}

/// The store that is closed by the panic asks for choices once more, and those are others too.
#[test]
fn a_run_that_is_not_deterministic_is_told_while_a_store_is_open() {
    let mut runs = 0;
    let report = Explorer::new("random").explore(
        |disk| {
            runs += 1;
            let db = Options::new().page_size(512).vfs(disk.vfs()).open("store")?;
            db.exec("b", |txn| txn.put("key", "value"))?;
            disk.inject(Fault::new(OpSet::WRITES, When::Chosen(1), Failure::Error(Errno::Eio)));
            disk.choose(2 + runs);
            drop(db);
            Ok(())
        },
        |_, _| Ok(()),
    );
    assert_eq!(report.verdict, Verdict::Violated);
    assert!(report.to_string().contains("not deterministic"), "{report}");
}

/// Two choices of as many alternatives, the answer to one of which would be given to the other.
#[test]
fn a_check_that_reads_in_another_order_each_time_is_told() {
    let (path, mut runs) = (Path::new("file"), 0);
    let report = Explorer::new("order").explore(
        |disk| {
            let file = disk.open(path, OpenMode::Create)?;
            file.set_len(1024)?;
            file.sync_all()?;
            disk.sync_dir(path)?;
            file.write_at(&[1; 1024], 0)?;
            Ok(())
        },
        |disk, _| {
            runs += 1;
            if disk.file_len(path) == Some(1024) {
                let order = if runs % 2 == 0 { [0, 512] } else { [512, 0] };
                for at in order {
                    assert!(disk.peek(path, &mut [0], at));
                }
            }
            Ok(())
        },
    );
    let violation = report.violation.expect("the order differs");
    assert!(violation.message.contains("not deterministic"), "{violation}");
}

/// The operations of a check tell it apart, also behind the last choice: each finds what is there
/// and does more, or less, than the one before.
#[test]
fn a_check_that_commits_another_number_of_times_is_told() {
    for period in [2, 3, 64] {
        let mut runs = 0;
        let report =
            Explorer::new("commits").nested(1).explore(commits(Mistake::None, 2), |disk, crash| {
                runs += 1;
                let mut toy = Toy::open(disk, Mistake::None)?;
                if crash.depth() == 1 {
                    (0..runs % period).try_for_each(|_| toy.commit(disk))?;
                }
                Ok(())
            });
        let violation = report.violation.expect("the number differs");
        assert!(violation.message.contains("not deterministic"), "{violation}");
        assert!(violation.message.contains("operation #"), "{violation}");
    }
}

#[test]
fn a_check_that_leaves_other_marks_is_told() {
    let mut runs = 0;
    let report = Explorer::new("marks").nested(1).explore(commits(Mistake::None, 1), |disk, _| {
        runs += 1;
        disk.started(runs);
        Ok(())
    });
    assert!(report.to_string().contains("it leaves other marks"), "{report}");
}

/// The panic that tells of it may be caught by the run itself.
#[test]
fn a_run_that_is_not_deterministic_cannot_swallow_it() {
    let mut runs = 0;
    let report = Explorer::new("swallowed").explore(
        |disk| {
            runs += 1;
            let ask = || disk.choose(2 + runs % 2);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).is_err() {
                // What is wanted here, and nobody is the wiser.
                disk.choose(3);
            }
            disk.choose(2);
            disk.file_id(Path::new("file"))?;
            Ok(())
        },
        |_, _| Ok(()),
    );
    assert!(report.to_string().contains("not deterministic"), "{report}");
}

/// Whoever forgets to open the store on the disk has explored nothing.
#[test]
fn a_search_that_never_uses_the_disk_is_not_verified() {
    let explorer = Explorer::new("forgotten").nested(1);
    let forgotten = explorer.explore(
        |disk| {
            disk.started(1);
            let db = Options::new().open_in_memory()?;
            db.exec("b", |txn| txn.put("key", "value"))?;
            disk.acknowledged(1);
            Ok(())
        },
        |disk, crash| {
            disk.mark(Mark::Note(crash.acknowledged()));
            Ok(())
        },
    );
    assert_eq!(forgotten.verdict, Verdict::Violated);
    let violation = forgotten.violation.expect("it is one");
    assert!(violation.message.contains("vfs(disk.vfs())"), "{violation}");
    assert_eq!(violation.token, "forgotten:");

    // One of the two is enough, and so is a look at a file that is there.
    let path = Path::new("file");
    let by_workload = explorer.explore(commits(Mistake::None, 1), |_, _| Ok(()));
    let look = |disk: &SimDisk| disk.file_id(path).map(drop);
    let by_check = explorer.explore(|_| Ok(()), |disk, _| Ok(look(disk)?));
    let disk = SimDisk::new();
    disk.write_file(path, b"kept");
    let by_look = explorer.clone().start(&disk.snapshot()).explore(
        |_| Ok(()),
        |disk, _| disk.read_file(path).map(drop).ok_or_else(|| "it is gone".into()),
    );
    assert!(by_workload.looks == 0 && by_workload.executions > 0, "{by_workload}");
    assert!(by_workload.to_string().ends_with("no check has looked at the disk"), "{by_workload}");
    assert!(by_check.looks == by_check.executions && by_look.looks > 0, "{by_check} {by_look}");
    for report in [by_workload, by_check, by_look] {
        assert!(report.is_verified(), "{report}");
    }
}

/// A story shows the marks where they were left, and which operation never began.
#[test]
fn a_story_tells_marks_and_where_the_power_fails() {
    let path = Path::new("file");
    let workload = |disk: &SimDisk| -> Checked {
        let file = disk.open(path, OpenMode::Create)?;
        disk.sync_dir(path)?;
        disk.started(7);
        file.write_at(b"x", 0)?;
        disk.mark(Mark::Note(9));
        file.sync_data()?;
        disk.acknowledged(7);
        Ok(())
    };
    let explorer = Explorer::new("marks");
    let told = |fails: fn(&[u8]) -> bool| {
        let report = explorer.explore(workload, |disk, _| {
            let found = disk.read_file(path).unwrap_or_default();
            if fails(&found) { Err("found it".into()) } else { Ok(()) }
        });
        report.violation.expect("it is found").story
    };
    let story = told(|found| found == b"x");
    let expected = "
  #1 open file 0 file
  #2 sync_dir of file
  started 7
  #3 write file 0 at 0 len 1 crc a93c5f93
  noted 9
the power fails before #4 sync_data file 0
";
    assert!(story.contains(expected), "{story}");
    let story = told(<[u8]>::is_empty);
    let expected = "the power fails before #2 sync_dir of file\nthe power is back";
    assert!(story.contains(expected), "{story}");
}

/// What was lost long before the end is told with the operation that it is about, which the story
/// has no room for.
#[test]
fn a_story_tells_the_file_and_the_name_that_were_lost_long_before() {
    let explore = |syncs_file: bool| {
        let path = Path::new("data");
        let report = Explorer::new("long ago").explore(
            |disk| {
                let file = disk.open(path, OpenMode::Create)?;
                write_all_at(&*file, b"data", 0)?;
                if syncs_file {
                    file.sync_all()?;
                } else {
                    disk.sync_dir(path)?;
                }
                for _ in 0..100 {
                    disk.file_id(path)?;
                }
                disk.acknowledged(1);
                Ok(())
            },
            |disk, crash| match disk.read_file(path) {
                Some(bytes) if bytes == b"data" => Ok(()),
                _ if crash.acknowledged() == 0 => Ok(()),
                found => Err(format!("found {found:?}").into()),
            },
        );
        report.violation.expect("it was not durable").story
    };
    let story = explore(true);
    assert!(story.contains("the name changed by #1: lost; #1 open file 0 data\n"), "{story}");
    let story = explore(false);
    assert!(story.contains("what was there at first (2 of 2); #1 open file 0 data\n"), "{story}");
}

#[test]
fn samples_find_what_the_search_finds() {
    let mistake = Mistake::HalfChecksum;
    let explorer = Explorer::new("sampled").nested(2);
    let found = (0..1000).find_map(|seed| {
        explorer.sample(Seeded::new(seed), commits(mistake, 3), check(mistake)).violation
    });
    let found = found.expect("a thousand samples find a torn meta");
    let again = explorer.replay(&found.token, commits(mistake, 3), check(mistake));
    assert_eq!(again, Ok(Some(found)));
    for seed in 0..1000 {
        let right = Mistake::None;
        let report = explorer.sample(Seeded::new(seed), commits(right, 3), check(right));
        assert_eq!(report.verdict, Verdict::Unverified, "seed {seed}: {report}");
    }
}

/// What each part looks at, and how many crash points it has, those included that leave a disk
/// which another one of the same part has left: a part does not know what others have seen.
fn seen_and_points(explorer: &Explorer) -> (BTreeSet<String>, u64) {
    let (seen, report) = outcomes(explorer, Mistake::None, 2);
    assert!(report.is_verified(), "{report}");
    (seen, report.points.len() as u64 + report.repeated)
}

#[test]
fn shards_share_the_crash_points() {
    let (all, points) = seen_and_points(&Explorer::new("whole"));
    let parts: Vec<(BTreeSet<String>, u64)> =
        (0..3).map(|part| seen_and_points(&Explorer::new("part").shard(part, 3))).collect();
    assert_eq!(parts.iter().map(|(_, points)| points).sum::<u64>(), points);
    assert!(parts.iter().any(|(seen, _)| *seen != all), "{parts:?}");
    let together: BTreeSet<String> = parts.into_iter().flat_map(|(seen, _)| seen).collect();
    assert_eq!(together, all);
}

/// An exploration of no crash point at all would be a pass.
#[test]
#[should_panic(expected = "part 3 of 3 parts")]
fn there_is_no_part_behind_the_last() {
    drop(Explorer::new("none").shard(3, 3));
}

#[test]
fn a_token_is_found_again_whatever_the_name_begins_with() {
    let mistake = Mistake::HalfChecksum;
    let explorer = Explorer::new(" half: ");
    let report = explorer.explore(commits(mistake, 2), check(mistake));
    let found = report.violation.expect("the mistake is found");
    let again = explorer.replay(&found.token, commits(mistake, 2), check(mistake));
    assert_eq!(again, Ok(Some(found)));
}

/// A check that brings its own choices has seen one image of many.
#[test]
fn a_run_with_choices_of_its_own_is_no_pass() {
    let mistake = Mistake::HalfChecksum;
    let report = Explorer::new("own choices").explore(commits(mistake, 2), |disk, crash| {
        disk.choose_from(Newest);
        check(mistake)(disk, crash)
    });
    assert!(!report.is_verified(), "{report}");
}

/// Refuses the third write that it sees.
struct Third(u32);

impl Monitor for Third {
    fn write(&mut self, _: &WriteEvent<'_>) -> Result<(), String> {
        self.0 += 1;
        if self.0 < 3 { Ok(()) } else { Err("the third write".to_owned()) }
    }
}

#[test]
fn a_monitor_of_one_run_does_not_watch_the_next() {
    let path = Path::new("file");
    let report = Explorer::new("watched").explore(
        |disk| {
            disk.watch(Box::new(Third(0)));
            let file = disk.open(path, OpenMode::Create)?;
            file.write_at(b"a", 0)?;
            file.sync_all()?;
            Ok(())
        },
        |disk, _| {
            disk.open(path, OpenMode::Create)?.write_at(b"b", 1)?;
            Ok(())
        },
    );
    assert!(report.is_verified(), "{report}");
    let refused = Explorer::new("watched").explore(
        |disk| {
            disk.watch(Box::new(Third(1)));
            let file = disk.open(path, OpenMode::Create)?;
            (0..2).try_for_each(|at| file.write_at(b"a", at).map(drop))?;
            Ok(())
        },
        |_, _| Ok(()),
    );
    assert!(!refused.is_verified(), "{refused}");
}

#[test]
fn a_sample_has_a_crash_behind_forgotten_points() {
    let explorer = Explorer::new("forgotten");
    let run = |seed| {
        let workload = |disk: &SimDisk| -> Checked {
            let file = disk.open(Path::new("file"), OpenMode::Create)?;
            for n in 0..20 {
                file.write_at(&[n], 0)?;
                file.sync_all()?;
            }
            disk.forget_crash_points();
            Ok(())
        };
        explorer.sample(Seeded::new(seed), workload, |_, _| Ok(())).executions
    };
    assert_eq!((0..50).map(run).sum::<u64>(), 50);
}

#[test]
fn a_run_that_asks_more_when_it_is_had_again_is_told() {
    let mut runs = 0;
    let report = Explorer::new("asks more").explore(
        |disk| {
            runs += 1;
            disk.write_file("file", &[1]);
            if runs > 1 {
                disk.choose(2);
            }
            Ok(())
        },
        |disk, _| {
            assert_eq!(disk.file_len("file"), Some(1));
            Ok(())
        },
    );
    assert!(report.to_string().contains("not deterministic"), "{report}");
}

#[test]
fn a_shard_without_a_crash_point_is_no_violation() {
    let disk = SimDisk::new();
    disk.write_file("file", &[7]);
    let start = disk.snapshot();
    for part in 0..2 {
        let report = Explorer::new("looks").start(&start).shard(part, 2).explore(
            |_| Ok(()),
            |disk, _| {
                assert_eq!(disk.file_len("file"), Some(1));
                Ok(())
            },
        );
        assert!(report.is_verified(), "{report}");
    }
}

/// Neither kinds nor places nor bytes tell the two runs apart.
#[test]
fn a_workload_that_takes_files_or_names_in_another_order_each_time_is_no_pass() {
    let mut turn = false;
    let names = Explorer::new("names").explore(
        |disk| {
            turn = !turn;
            let vfs = disk.vfs();
            for name in if turn { ["data", "ready"] } else { ["ready", "data"] } {
                let path = Path::new(name);
                vfs.open(path, OpenMode::Create)?.sync_all()?;
                vfs.sync_dir(path)?;
            }
            Ok(())
        },
        |_, _| Ok(()),
    );
    let mut turn = false;
    let files = Explorer::new("files").explore(
        |disk| {
            turn = !turn;
            let mut files = Vec::new();
            for name in ["data", "ready"] {
                files.push(disk.vfs().open(Path::new(name), OpenMode::Create)?);
            }
            for at in if turn { [0, 1] } else { [1, 0] } {
                write_all_at(&*files[at], b"1", 0)?;
                files[at].sync_all()?;
            }
            Ok(())
        },
        |_, _| Ok(()),
    );
    let told = [
        "operation #1 is open ready, where it was open data before",
        "operation #3 is write file 1 at 0 len 1 crc 90f599e3, where it was \
         write file 0 at 0 len 1 crc 90f599e3 before",
    ];
    for (report, told) in [names, files].into_iter().zip(told) {
        assert_eq!(report.verdict, Verdict::Violated, "{report}");
        let message = report.violation.expect("it is told why").message;
        assert!(message.contains("not deterministic"), "{message}");
        assert!(message.ends_with(told), "{message}");
    }
}

/// What each run of a workload does beside what all do, and how the first difference is told.
#[test]
fn the_first_operation_that_differs_is_named() {
    let told = |unlike: fn(&SimDisk, u32) -> std::io::Result<()>| {
        let mut runs = 0;
        let report = Explorer::new("unlike").explore(
            |disk| {
                let file = disk.open(Path::new("file"), OpenMode::Create)?;
                unlike(disk, runs)?;
                runs += 1;
                file.sync_all()?;
                Ok(())
            },
            |_, _| Ok(()),
        );
        report.violation.expect("no two runs are the same").message
    };
    let ends = |message: &str, end: &str| assert!(message.ends_with(end), "{message}");
    let message = told(|disk, runs| (0..runs).try_for_each(|_| disk.sync_dir(Path::new("file"))));
    ends(&message, "operation #2 is sync_dir file, where it was sync_all file 0 before");
    let message = told(|disk, runs| {
        let to = if runs == 0 { "one" } else { "two" };
        disk.rename(Path::new("file"), Path::new(to))
    });
    ends(&message, "operation #2 is rename file to two, where it was rename file to one before");
    let message = told(|disk, runs| {
        let opened = disk.open(Path::new("file"), OpenMode::ReadWrite)?;
        opened.read_at(&mut [0], u64::from(runs))?;
        opened.set_len(3)
    });
    ends(
        &message,
        "operation #3 is read file 0 at 1 len 1, where it was \
                    read file 0 at 0 len 1 before",
    );
    let message = told(|disk, runs| {
        disk.read_file(if runs == 0 { "file" } else { "other" });
        Ok(())
    });
    ends(&message, "behind operation #1 is a look at other, where it was a look at file before");
}

/// Marks are compared as well, and nothing is said of operations that are the same.
#[test]
fn the_first_mark_that_differs_is_named() {
    let mut runs = 0;
    let report = Explorer::new("marks").explore(
        |disk| {
            runs += 1;
            disk.started(7);
            disk.started(runs);
            disk.file_id(Path::new("file"))?;
            Ok(())
        },
        |_, _| Ok(()),
    );
    let message = report.violation.expect("the marks differ").message;
    assert!(message.ends_with("it leaves other marks: started 2, not started 1"), "{message}");
}

/// What a failed run would have done, and what its replay does behind that, is no difference.
#[test]
fn a_failure_that_does_not_come_back_is_told_with_what_its_replay_does_otherwise() {
    let story = |failing: &'static str| {
        let mut runs = 0;
        let report = Explorer::new("once").explore(
            |disk| {
                disk.open(Path::new("file"), OpenMode::Create)?;
                Ok(())
            },
            |disk, _| {
                runs += 1;
                disk.file_id(Path::new(if runs == 1 { failing } else { "other" }))?;
                if runs == 1 {
                    return Err("it fails".into());
                }
                Ok(disk.sync_dir(Path::new("file"))?)
            },
        );
        let violation = report.violation.expect("it failed once");
        assert_eq!(violation.message, "it fails");
        violation.story
    };
    let plain = "it did not fail again: the run is not deterministic";
    assert_eq!(story("other"), plain);
    let told = "operation #3 is file_id other, where it was file_id one before";
    assert_eq!(story("one"), format!("{plain}; {told}"));
}

/// It would fail by chance, or pass.
#[test]
fn what_is_not_repeated_is_told_also_where_it_fails() {
    let mut runs = 0;
    let report = Explorer::new("fails").explore(
        |disk| {
            runs += 1;
            disk.file_id(Path::new(if runs == 1 { "one" } else { "two" }))?;
            if runs > 1 { Err("it fails".into()) } else { Ok(()) }
        },
        |_, _| Ok(()),
    );
    let violation = report.violation.expect("it fails");
    let told = "the run is not deterministic: it passed, and then: it fails; \
                operation #1 is file_id two, where it was file_id one before";
    assert_eq!(violation.message, told);
    assert!(violation.story.ends_with("it fails: it fails"), "{}", violation.story);
}
#[test]
fn what_fails_is_told_with_what_is_known_beyond_its_name() {
    let report = Explorer::new("long").explore(
        |disk| {
            let db = Options::new().page_size(512).vfs(disk.vfs()).open("x")?;
            db.exec("b", |txn| txn.put([1; 2000], "v"))?;
            Ok(())
        },
        |_, _| Ok(()),
    );
    let violation = report.violation.expect("it fails");
    assert!(violation.message.contains("2000"), "{}", violation.message);
}
