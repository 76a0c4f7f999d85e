//! Is the state after a crash, or after a fault, always one that it may be?
//!
//! Workloads run on a disk in memory that freezes at the n-th operation, for every n, and loses
//! what was not synced: nothing, all of it, or each sector by a coin; or the process dies and the
//! disk stays. The store is opened again and compared with the oracle: it holds exactly the state
//! that was acknowledged last, or the one that was in flight; the file is sound; one more commit
//! works and is durable. Then each write, each growth and each sync fails in turn.
//!
//! Attacks: no-reuse-while-reachable, meta-lists-pages, slots-alternate, valid-meta-whole,
//! durable-before-ok, commit-atomic, publish-after-durable, failed-sync-poisons, errors-stick.
#![cfg(feature = "sim")]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

#[path = "crash/disk.rs"]
mod disk;
mod model;

use btree_store::sim::Seeded;
use btree_store::sim::oracle::{
    End, Ending, Exec, Handle, KeyShape, Op, Oracle, Part, Peek, Read, Step, ValueShape, View,
    Workload, Write, compare,
};
use btree_store::vfs::{OpenMode, Vfs, write_all_at};
use btree_store::{BTree, Barriers, Durability, Error, Options, Txn};
use disk::{CrashDisk, Fault, Kind, Survivors};
use model::{PATH, check_file};
use std::io::ErrorKind;
use std::ops::{Bound, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
struct Setting {
    page_size: u32,
    barriers: Barriers,
}

const SETTINGS: [Setting; 4] = [
    Setting { page_size: 512, barriers: Barriers::One },
    Setting { page_size: 512, barriers: Barriers::Two },
    Setting { page_size: 4096, barriers: Barriers::One },
    Setting { page_size: 4096, barriers: Barriers::Two },
];

/// What power failures leave, for each point of time.
const SURVIVORS: [Survivors; 6] = [
    Survivors::Everything,
    Survivors::Nothing,
    Survivors::Coin(1),
    Survivors::Coin(2),
    Survivors::Coin(3),
    Survivors::Coin(4),
];

type Checked = Result<(), String>;

impl Setting {
    fn options(self, disk: &CrashDisk) -> Options {
        Options::new()
            .page_size(self.page_size)
            .barriers(self.barriers)
            .cache_bytes(u64::from(self.page_size) * 4)
            .vfs(Arc::new(disk.clone()))
    }

    fn open(self, disk: &CrashDisk) -> btree_store::Result<Handle> {
        Handle::open(self.options(disk), PATH)
    }
}

fn exec(bucket: &str, steps: Vec<Write>) -> Op {
    let steps = steps.into_iter().map(Step::Write).collect();
    Op::Exec(Exec { bucket: bucket.to_owned(), steps, end: End::Commit })
}

fn put(key: &str, len: usize) -> Write {
    let byte = key.bytes().fold(b'!', u8::wrapping_add);
    Write::Put(key.into(), vec![byte; len].into())
}

/// A bit of everything: several buckets, a value of many pages, growth, removal, a transaction
/// that fails, one that changes nothing, a clean close in the middle, compaction.
fn short_workload() -> Vec<Op> {
    let many = (0..12).map(|n| put(&format!("k{n:02}"), 60)).collect();
    let failed =
        Exec { bucket: "c".to_owned(), steps: Vec::new(), end: End::Fail(Error::Conflict) };
    let inside = |bucket: &str, write| {
        let steps = vec![Step::Write(write)];
        Part::Exec(Exec { bucket: bucket.to_owned(), steps, end: End::Commit })
    };
    vec![
        exec("a", vec![put("one", 3)]),
        exec("a", many),
        Op::Multi {
            parts: vec![inside("b", put("large", 9000)), inside("a", put("k05", 200))],
            end: End::Commit,
        },
        Op::Exec(failed),
        exec("a", vec![Write::Del("k03".into()), Write::Del("k04".into())]),
        Op::Reopen,
        exec("b", vec![put("large", 5000)]),
        exec("b", vec![Write::Update("missing".into(), "x".into())]),
        Op::DelBucket("b".to_owned()),
        exec("a", vec![put("k06", 7)]),
        Op::Compact(0),
        exec("a", vec![put("two", 300)]),
    ]
}

/// A file of many pages, of which a compaction gives most back, under an old cursor and without.
fn compacting_workload() -> Vec<Op> {
    let fill = |from: usize| (from..from + 40).map(|n| put(&format!("k{n:03}"), 90)).collect();
    let open = Read::Open { slot: 1, from: None };
    vec![
        exec("a", fill(0)),
        exec("b", fill(40)),
        exec("b", vec![put("large", 9000)]),
        exec("a", fill(40)),
        Op::View(View { bucket: "a".to_owned(), steps: vec![Peek::Read(open)], end: End::Commit }),
        Op::DelBucket("b".to_owned()),
        exec("a", vec![Write::DeleteRange(Bound::Unbounded, Bound::Excluded("k060".into()))]),
        Op::Compact(0),
        Op::Reopen,
        Op::Compact(0),
        exec("a", vec![put("k061", 10)]),
    ]
}

/// A tree of leaves that are two thirds full, among them some with large values, which a
/// compaction fills up in several commits.
fn filling_workload() -> Vec<Op> {
    let len = |n: usize| if n % 50 == 7 { 1500 } else { 60 + n % 30 };
    let numbers: Vec<usize> = (0..240).map(|n| n * 103 % 240).collect();
    let part = |bucket: &str, part: &[usize]| {
        exec(bucket, part.iter().map(|&n| put(&format!("k{n:03}"), len(n))).collect())
    };
    let mut ops: Vec<Op> = numbers.chunks(80).map(|numbers| part("a", numbers)).collect();
    ops.push(part("b", &numbers[..60]));
    ops.extend([Op::Compact(0), exec("a", vec![put("k061", 10)])]);
    ops
}

/// Commits that do not fit the list of a meta page.
fn large_workload() -> Vec<Op> {
    let fill = |len| (0..400).map(|n| put(&format!("k{n:03}"), len)).collect();
    vec![
        exec("a", fill(400)),
        exec("a", vec![put("k200", 20)]),
        exec("a", fill(300)),
        exec("a", vec![Write::DeleteRange(Bound::Unbounded, Bound::Unbounded)]),
    ]
}

/// Deferred commits, made durable in each way: by one that is durable, by a sync, by a compaction,
/// by the close of the store. A large value among them is written before.
fn deferring_workload() -> Vec<Op> {
    let deferred = |key: &str, len| {
        let steps = vec![
            Step::Durability(Durability::Deferred),
            Step::Write(put(key, len)),
            Step::Write(put("all", 900)),
        ];
        Op::Exec(Exec { bucket: "a".to_owned(), steps, end: End::Commit })
    };
    vec![
        exec("a", vec![put("one", 3)]),
        deferred("two", 300),
        deferred("three", 9000),
        exec("b", vec![put("durable", 20)]),
        deferred("four", 30),
        Op::Sync,
        deferred("five", 5000),
        deferred("two", 20),
        Op::Compact(0),
        deferred("six", 100),
        Op::Reopen,
        deferred("seven", 300),
        exec("a", Vec::new()),
        deferred("eight", 700),
        deferred("large", 300_000),
        deferred("nine", 5),
    ]
}

/// Operations of all kinds by a seed. Compaction only by itself, so that states can be counted.
fn random_workload(setting: Setting, seed: u64, count: usize) -> Vec<Op> {
    random_ops(setting, seed, count, 0)
}

/// As [`random_workload`]; of eight write transactions, so many are deferred.
fn random_ops(setting: Setting, seed: u64, count: usize, deferred: u32) -> Vec<Op> {
    let mut workload = Workload::new(setting.page_size, KeyShape::Mixed, ValueShape::Mixed);
    workload.key_count = 40;
    workload.bucket_count = 3;
    workload.deferred = deferred;
    let mut source = Seeded::new(seed);
    let mut ops = Vec::new();
    while ops.len() < count {
        let op = workload.op(&mut source);
        let is_compact = matches!(op, Op::Compact(_));
        if is_compact || !format!("{op:?}").contains("Compact(") {
            ops.push(op);
        }
    }
    ops
}

/// What a workload that ran until the disk froze leaves: the oracle, and the states that may be
/// found.
struct Left {
    oracle: Oracle,
    states: RangeInclusive<u64>,
}

/// Runs a workload until the disk freezes, or to its end and a clean close, which makes durable
/// what is deferred.
fn run(disk: &CrashDisk, setting: Setting, ops: &[Op]) -> Result<Left, String> {
    let mut oracle = Oracle::new(setting.page_size);
    let mut store = match setting.open(disk) {
        Ok(store) => store,
        Err(_) if disk.is_frozen() => return Ok(Left { oracle, states: 0..=0 }),
        Err(error) => return Err(format!("a new store does not open: {error}")),
    };
    for op in ops {
        let (before, had_deferred) = (oracle.seq(), oracle.has_deferred());
        let found = store.run(op);
        let wanted = oracle.apply(op);
        let done = oracle.seq();
        if disk.is_frozen() {
            if oracle.has_deferred() {
                oracle.follow(oracle.seq() + 1);
            }
            if matches!(op, Op::Compact(_)) {
                oracle.follow(before + 1000);
            }
            // A store that is closed cannot say that its last flush failed.
            let is_silent = had_deferred && *op == Op::Reopen;
            let is_done = found == wanted && wanted.end == Ending::Done && !is_silent;
            let low = if is_done { done } else { before };
            return Ok(Left { states: low..=oracle.seq(), oracle });
        }
        if found != wanted {
            return Err(format!("{op:?} answers {found:?}, not {wanted:?}"));
        }
        oracle.follow(store.db().current_seq());
    }
    let before = oracle.seq();
    drop(store);
    if oracle.has_deferred() {
        oracle.follow(before + 1);
    }
    let low = if disk.is_frozen() { before } else { oracle.seq() };
    Ok(Left { states: low..=oracle.seq(), oracle })
}

/// Opens what a crash has left, and checks it; goes on from there, and crashes once more.
fn check_left(disk: &CrashDisk, setting: Setting, left: &Left) -> Checked {
    let text = |error: Error| match error.detail() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    };
    let mut store =
        setting.open(disk).map_err(|error| format!("does not open: {}", text(error)))?;
    let seq = store.db().current_seq();
    if !left.states.contains(&seq) {
        return Err(format!("state {seq} is none of {:?}", left.states));
    }
    let mut oracle = left.oracle.clone();
    if !oracle.recover(seq) {
        return Err(format!("the oracle has no state {seq}"));
    }
    let same = |store: &Handle, oracle: &Oracle, when: &str| {
        let compared = compare(store.db(), oracle.now());
        compared.map_err(|difference| format!("{when}, state {seq}: {difference}"))?;
        check_file(disk).map_err(|report| format!("{when}, state {seq}: {report}"))
    };
    same(&store, &oracle, "recovered")?;
    let more = exec("a", vec![put("after", 700)]);
    if store.run(&more) != oracle.apply(&more) || store.db().current_seq() != oracle.seq() {
        return Err(format!("no commit works after state {seq}"));
    }
    same(&store, &oracle, "a commit later")?;
    let cut = disk.crash(Survivors::Nothing);
    drop(store);
    let store =
        setting.open(disk).map_err(|error| format!("not a second time: {}", text(error)))?;
    same(&store, &oracle, "closed and opened")?;
    let store = setting.open(&cut).map_err(|error| format!("not after a cut: {}", text(error)))?;
    let compared = compare(store.db(), oracle.now());
    compared.map_err(|difference| format!("a cut after a commit after state {seq}: {difference}"))
}

/// How many operations a workload makes, the close at its end included.
fn count_operations(setting: Setting, ops: &[Op]) -> u64 {
    let disk = CrashDisk::new();
    run(&disk, setting, ops).unwrap();
    disk.operations().len() as u64
}

fn fail(context: &str, ops: &[Op], what: &str) -> ! {
    let ops: Vec<String> = ops.iter().map(|op| format!("  {op:?}")).collect();
    panic!("{context}: {what}\nthe workload:\n{}", ops.join("\n"))
}

/// Freezes the disk at every operation of a workload, and checks what every power failure leaves.
fn crash_everywhere(setting: Setting, ops: &[Op], name: &str) -> u64 {
    let count = count_operations(setting, ops);
    for at in 0..=count {
        let disk = CrashDisk::new();
        disk.freeze_at(at);
        let left = run(&disk, setting, ops);
        let left = left.unwrap_or_else(|what| fail(&format!("{name}, {setting:?}"), ops, &what));
        for survivors in SURVIVORS {
            let checked = check_left(&disk.crash(survivors), setting, &left);
            if let Err(what) = checked {
                let context = format!("{name}, {setting:?}, frozen at {at}, {survivors:?}");
                fail(&context, ops, &what);
            }
        }
    }
    count
}

#[test]
fn a_crash_at_any_operation_leaves_the_acknowledged_state_or_the_one_in_flight() {
    for setting in SETTINGS {
        let count = crash_everywhere(setting, &short_workload(), "the short workload");
        assert!(count > 40, "only {count} operations");
    }
}

#[test]
fn a_crash_at_any_operation_of_a_compaction_is_survived() {
    for setting in SETTINGS {
        crash_everywhere(setting, &compacting_workload(), "the compacting workload");
        crash_everywhere(setting, &filling_workload(), "the filling workload");
    }
}

#[test]
fn a_crash_at_any_operation_of_a_large_commit_is_survived() {
    for setting in SETTINGS {
        crash_everywhere(setting, &large_workload(), "the large workload");
    }
}

#[test]
fn a_crash_at_any_operation_of_random_workloads_is_survived() {
    for (seed, setting) in (0..24).zip(SETTINGS.into_iter().cycle()) {
        let ops = random_workload(setting, seed, 12);
        crash_everywhere(setting, &ops, &format!("seed {seed}"));
    }
}

/// What is left are the commits up to one of them, and at least to the last durable one.
#[test]
fn a_crash_at_any_operation_leaves_deferred_commits_up_to_some_point() {
    for setting in SETTINGS {
        let count = crash_everywhere(setting, &deferring_workload(), "the deferring workload");
        assert!(count > 30, "only {count} operations");
    }
    for (seed, setting) in (100..112).zip(SETTINGS.into_iter().cycle()) {
        let ops = random_ops(setting, seed, 12, 5);
        crash_everywhere(setting, &ops, &format!("deferring, seed {seed}"));
    }
}

#[test]
fn a_crash_at_any_operation_of_a_recovery_is_survived() {
    for setting in SETTINGS {
        let ops = short_workload();
        let mut crashes = 0;
        for at in 0..=count_operations(setting, &ops) {
            let disk = CrashDisk::new();
            disk.freeze_at(at);
            let left = run(&disk, setting, &ops).unwrap();
            for first in [Survivors::Nothing, Survivors::Coin(at)] {
                for inner in 0.. {
                    let again = disk.crash(first);
                    again.freeze_at(inner);
                    if setting.open(&again).is_ok() && !again.is_frozen() {
                        break;
                    }
                    for second in [Survivors::Everything, Survivors::Nothing, Survivors::Coin(at)] {
                        let checked = check_left(&again.crash(second), setting, &left);
                        if let Err(what) = checked {
                            let context = format!(
                                "{setting:?}, frozen at {at}, {first:?}, again at {inner}, \
                                 {second:?}"
                            );
                            fail(&context, &ops, &what);
                        }
                        crashes += 1;
                    }
                }
            }
        }
        assert!(crashes > 200, "only {crashes} crashes");
    }
}

/// A process that dies leaves the system's cache as it is; nothing says what of it is durable.
#[test]
fn what_is_acknowledged_after_a_killed_process_survives_a_power_failure() {
    for setting in SETTINGS {
        let ops = short_workload();
        for at in 0..=count_operations(setting, &ops) {
            let disk = CrashDisk::new();
            disk.freeze_at(at);
            let left = run(&disk, setting, &ops).unwrap();
            disk.heal();
            if let Err(what) = check_left(&disk, setting, &left) {
                fail(&format!("{setting:?}, killed at {at}"), &ops, &what);
            }
        }
    }
}

#[test]
fn a_crash_at_any_operation_of_the_creation_leaves_a_file_that_opens() {
    for setting in SETTINGS {
        // With no file, and with the empty file that a tool has left.
        for has_empty_file in [false, true] {
            for at in 0.. {
                let disk = CrashDisk::new();
                if has_empty_file {
                    drop(disk.open(Path::new(PATH), OpenMode::Create).unwrap());
                    disk.sync_dir(Path::new(PATH)).unwrap();
                    disk.heal();
                }
                disk.freeze_at(at);
                let is_created = setting.open(&disk).is_ok();
                if is_created && !disk.is_frozen() {
                    assert!(at >= 5, "the creation has {at} operations");
                    break;
                }
                let left = Left { oracle: Oracle::new(setting.page_size), states: 0..=0 };
                for survivors in SURVIVORS {
                    if let Err(what) = check_left(&disk.crash(survivors), setting, &left) {
                        fail(&format!("{setting:?}, frozen at {at}, {survivors:?}"), &[], &what);
                    }
                }
                disk.heal();
                if let Err(what) = check_left(&disk, setting, &left) {
                    fail(&format!("{setting:?}, killed at {at}"), &[], &what);
                }
            }
        }
    }
}

#[test]
fn a_half_written_temporary_file_is_no_obstacle() {
    for setting in SETTINGS {
        let disk = CrashDisk::new();
        let file = disk.open(Path::new("data.db-create"), OpenMode::Create).unwrap();
        write_all_at(&*file, &[0xAB; 10_000], 0).unwrap();
        drop(file);
        let left = Left { oracle: Oracle::new(setting.page_size), states: 0..=0 };
        check_left(&disk, setting, &left).unwrap();
    }
}

/// Which operations of a kind there are in the workload, by number.
fn numbers_of(setting: Setting, ops: &[Op], is_meant: impl Fn(Kind) -> bool) -> Vec<u64> {
    let disk = CrashDisk::new();
    run(&disk, setting, ops).unwrap();
    let kinds = disk.operations();
    (0..).zip(kinds).filter(|(_, kind)| is_meant(*kind)).map(|(at, _)| at).collect()
}

/// What came of a workload of which one operation failed once.
struct Failed {
    store: Handle,
    oracle: Oracle,
    /// What the operation that met the fault returned.
    error: Error,
    /// The state that was in flight.
    in_flight: u64,
    /// The operations behind it.
    rest: Vec<Op>,
}

/// Which call met the fault.
enum Met {
    Call(Box<Failed>),
    /// An open, a close, or a part of a call that may fail: no commit.
    Edge(Left),
}

/// Runs a workload, of which operation `at` fails once, up to the call that meets the fault.
fn run_failing(
    disk: &CrashDisk,
    setting: Setting,
    ops: &[Op],
    at: u64,
    fault: Fault,
) -> Result<Met, String> {
    disk.plan(move |number, kind| (number == at && kind != Kind::Read).then_some(fault));
    let edge = |oracle: Oracle| Ok(Met::Edge(Left { states: oracle.seq()..=oracle.seq(), oracle }));
    let mut oracle = Oracle::new(setting.page_size);
    let Ok(mut store) = setting.open(disk) else { return edge(oracle) };
    for (place, op) in ops.iter().enumerate() {
        let had_failed = disk.operations().len() as u64 > at;
        let found = store.run(op);
        let has_failed = disk.operations().len() as u64 > at;
        if has_failed && !store.is_open() || has_failed && !had_failed && *op == Op::Reopen {
            return edge(oracle);
        }
        if has_failed && matches!(op, Op::Compact(_)) {
            // It may have committed states of the same contents before it failed.
            oracle.follow(store.db().current_seq());
        }
        let before = oracle.clone();
        let wanted = oracle.apply(op);
        if let (true, Ending::Failed(error)) = (has_failed && found != wanted, &found.end) {
            let (error, in_flight) = (*error, oracle.seq());
            let rest = ops[place + 1..].to_vec();
            return Ok(Met::Call(Box::new(Failed {
                store,
                oracle: before,
                error,
                in_flight,
                rest,
            })));
        }
        if found != wanted {
            return Err(format!("{op:?} answers {found:?}, not {wanted:?}"));
        }
        oracle.follow(store.db().current_seq());
    }
    edge(oracle)
}

/// The call that met the fault. When it was an open or a close, checks that nothing is lost.
fn call_that_failed(
    disk: &CrashDisk,
    setting: Setting,
    ops: &[Op],
    at: u64,
    fault: Fault,
) -> Option<Failed> {
    let context = format!("{setting:?}, operation {at}, {fault:?}");
    match run_failing(disk, setting, ops, at, fault) {
        Ok(Met::Call(failed)) => Some(*failed),
        Ok(Met::Edge(left)) => {
            if let Err(what) = check_lasting(disk, setting, &left, fault) {
                fail(&context, ops, &what);
            }
            None
        }
        Err(what) => fail(&context, ops, &what),
    }
}

/// The power fails now, or the process just ends; what is left is checked.
fn check_lasting(disk: &CrashDisk, setting: Setting, left: &Left, fault: Fault) -> Checked {
    disk.heal();
    // What a sync promised and did not do, nobody can promise.
    let is_honest = fault != Fault::Late;
    for survivors in SURVIVORS.into_iter().filter(|_| is_honest) {
        check_left(&disk.crash(survivors), setting, left)
            .map_err(|what| format!("{survivors:?}: {what}"))?;
    }
    check_left(disk, setting, left).map_err(|what| format!("no power failure: {what}"))
}

/// After a failed sync: the error, then `Poisoned` for all that writes; reads go on.
fn check_poisoned(failed: &mut Failed) -> Checked {
    let db = failed.store.db().clone();
    let writes = [
        db.exec("a", |txn| txn.put("k", "v")),
        db.exec_multi(|_| Ok(())),
        db.del_bucket("a"),
        db.commit(),
        db.compact(0).map(drop),
    ];
    for (at, result) in writes.into_iter().enumerate() {
        if result != Err(Error::Poisoned) {
            return Err(format!("write {at} after the failure: {result:?}"));
        }
    }
    if db.current_seq() != failed.oracle.seq() {
        return Err(format!("state {} was published", db.current_seq()));
    }
    compare(&db, failed.oracle.now()).map_err(|difference| format!("poisoned: {difference}"))
}

#[test]
fn a_failed_sync_poisons_and_a_reopened_store_keeps_what_it_acknowledges() {
    let keep = Fault::Error(ErrorKind::Other);
    let full = Fault::Error(ErrorKind::StorageFull);
    for setting in SETTINGS {
        let ops = short_workload();
        let syncs = numbers_of(setting, &ops, |kind| kind == Kind::Sync);
        let mut poisoned = 0;
        for (at, fault) in syncs.iter().flat_map(|at| {
            [keep, full, Fault::Drop, Fault::Revert, Fault::Late].map(|fault| (*at, fault))
        }) {
            let context = format!("{setting:?}, sync {at}, {fault:?}");
            let disk = CrashDisk::new();
            let Some(mut failed) = call_that_failed(&disk, setting, &ops, at, fault) else {
                continue;
            };
            let is_io = matches!(failed.error, Error::IoError | Error::NoSpace);
            assert!(is_io, "{context}: {}", failed.error);
            if let Err(what) = check_poisoned(&mut failed) {
                fail(&context, &ops, &what);
            }
            poisoned += 1;
            let Failed { store, mut oracle, in_flight, .. } = failed;
            let low = oracle.seq();
            // A compaction commits states of the same contents; the one in flight is among them.
            let next = in_flight.max(low + 1);
            let op = &ops[ops.len() - failed.rest.len() - 1];
            oracle.apply(op);
            oracle.follow(next);
            drop(store);
            let left = Left { oracle, states: low..=next };
            if let Err(what) = check_lasting(&disk, setting, &left, fault) {
                fail(&context, &ops, &what);
            }
        }
        assert!(poisoned > 20, "only {poisoned} failures");
    }
}

#[test]
fn a_full_disk_leaves_the_state_before_and_a_store_that_goes_on() {
    for setting in SETTINGS {
        let ops = short_workload();
        let slots = 2 * u64::from(setting.page_size);
        let numbers = numbers_of(setting, &ops, |kind| match kind {
            Kind::Write { offset } => offset >= slots,
            kind => kind == Kind::SetLen,
        });
        let mut refused = 0;
        for at in numbers {
            for (kind, error) in
                [(ErrorKind::StorageFull, Error::NoSpace), (ErrorKind::Other, Error::IoError)]
            {
                let context = format!("{setting:?}, operation {at}, {kind:?}");
                let disk = CrashDisk::new();
                let fault = Fault::Error(kind);
                let Some(mut failed) = call_that_failed(&disk, setting, &ops, at, fault) else {
                    continue;
                };
                refused += 1;
                assert_eq!(failed.error, error, "{context}");
                let checked = go_on(&disk, setting, &ops, &mut failed);
                if let Err(what) = checked {
                    fail(&context, &ops, &what);
                }
            }
        }
        assert!(refused > 10, "only {refused} failures");
    }
}

/// After a failure that left the state before: the store does again what failed, and the rest.
fn go_on(disk: &CrashDisk, setting: Setting, ops: &[Op], failed: &mut Failed) -> Checked {
    let Failed { store, oracle, rest, .. } = failed;
    let same = |store: &Handle, oracle: &Oracle| {
        compare(store.db(), oracle.now()).map_err(|difference| difference.to_string())?;
        check_file(disk)
    };
    same(store, oracle)?;
    for op in &ops[ops.len() - rest.len() - 1..] {
        let (found, wanted) = (store.run(op), oracle.apply(op));
        if found != wanted {
            return Err(format!("afterwards {op:?} answers {found:?}, not {wanted:?}"));
        }
        oracle.follow(store.db().current_seq());
        same(store, oracle)?;
    }
    let left = Left { oracle: oracle.clone(), states: oracle.seq()..=oracle.seq() };
    check_left(&disk.crash(Survivors::Nothing), setting, &left)
}

#[test]
fn a_meta_page_that_cannot_be_written_poisons() {
    for setting in SETTINGS {
        let ops = short_workload();
        let slots = 2 * u64::from(setting.page_size);
        let numbers = numbers_of(
            setting,
            &ops,
            |kind| matches!(kind, Kind::Write { offset } if offset < slots),
        );
        let mut poisoned = 0;
        for at in numbers {
            let disk = CrashDisk::new();
            let fault = Fault::Error(ErrorKind::StorageFull);
            let context = format!("{setting:?}, operation {at}");
            let Some(mut failed) = call_that_failed(&disk, setting, &ops, at, fault) else {
                continue;
            };
            if let Err(what) = check_poisoned(&mut failed) {
                fail(&context, &ops, &what);
            }
            poisoned += 1;
        }
        assert!(poisoned > 5, "only {poisoned} failures");
    }
}

/// A fault for some operations, which the loops over transfers make good.
fn transfer_faults(seed: u64) -> impl FnMut(u64, Kind) -> Option<Fault> + Send + 'static {
    let mut source = Seeded::new(seed);
    move |_, kind| {
        let can_be_short = matches!(kind, Kind::Read | Kind::Write { .. });
        match source.below(4) {
            0 if can_be_short => Some(Fault::Error(ErrorKind::Interrupted)),
            1 if can_be_short => {
                let most = 1 + source.below(600);
                Some(Fault::Short(usize::try_from(most).unwrap()))
            }
            _ => None,
        }
    }
}

#[test]
fn short_and_interrupted_transfers_change_nothing() {
    for (seed, setting) in (0..12).zip(SETTINGS.into_iter().cycle()) {
        for ops in [short_workload(), random_workload(setting, seed, 40)] {
            let disk = CrashDisk::new();
            disk.plan(transfer_faults(seed));
            let left = run(&disk, setting, &ops);
            let left =
                left.unwrap_or_else(|what| fail(&format!("seed {seed}, {setting:?}"), &ops, &what));
            if let Err(what) = check_left(&disk, setting, &left) {
                fail(&format!("seed {seed}, {setting:?}"), &ops, &what);
            }
        }
    }
}

#[test]
fn a_read_that_fails_fails_its_transaction_and_no_other() {
    for setting in SETTINGS {
        let disk = CrashDisk::new();
        let ops = short_workload();
        let left = run(&disk, setting, &ops).unwrap();
        let db = setting.options(&disk).cache_bytes(0).open(PATH).unwrap();
        for at in 0.. {
            disk.heal();
            disk.plan(move |number, kind| {
                (kind == Kind::Read && number == at).then_some(Fault::Error(ErrorKind::Other))
            });
            let mut entries = 0;
            let scanned = db.view("a", |txn| {
                let mut iter = txn.iter();
                let (mut key, mut value) = (Vec::new(), Vec::new());
                while iter.next_ref(&mut key, &mut value) {
                    entries += 1;
                }
                // The cursor keeps failing, and so does its transaction.
                assert!(!iter.next_ref(&mut key, &mut value));
                if iter.error().is_some() {
                    assert_eq!(iter.error(), Some(Error::IoError));
                    assert_eq!(txn.get("one"), Err(Error::IoError));
                }
                Ok(())
            });
            disk.heal();
            compare(&db, left.oracle.now()).unwrap();
            if scanned.is_ok() {
                assert_eq!(
                    Some(entries),
                    left.oracle.now().bucket("a").map(std::collections::BTreeMap::len)
                );
                assert!(at > 0, "the scan makes no reads");
                break;
            }
            assert_eq!(scanned, Err(Error::IoError), "read {at}");
        }
    }
}

/// Also where the other slot is damaged: what cannot be read now may be whole.
#[test]
fn a_read_that_fails_while_a_file_opens_is_no_damage() {
    for (setting, slot) in SETTINGS.into_iter().flat_map(|setting| [0, 1].map(|s| (setting, s))) {
        let disk = CrashDisk::new();
        let left = run(&disk, setting, &short_workload()).unwrap();
        let file = disk.open(Path::new(PATH), OpenMode::ReadWrite).unwrap();
        write_all_at(&*file, &[7; 64], slot * u64::from(setting.page_size)).unwrap();
        drop(file);
        for at in 0.. {
            disk.heal();
            disk.plan(move |number, kind| {
                (kind == Kind::Read && number == at).then_some(Fault::Error(ErrorKind::Other))
            });
            let opened = setting.options(&disk).read_only().open(PATH).map(drop);
            disk.heal();
            if opened.is_ok() {
                assert!(at > 2, "the open makes {at} reads");
                break;
            }
            assert_eq!(opened, Err(Error::IoError), "{setting:?}, slot {slot}, read {at}");
        }
        compare(&setting.options(&disk).open(PATH).unwrap(), left.oracle.now()).unwrap();
    }
}

/// Fails every read of a call in turn, until it makes no more.
fn fail_each_read(disk: &CrashDisk, db: &BTree, expected: &Oracle, mut call: impl FnMut() -> bool) {
    for at in 0.. {
        let before = db.current_seq();
        disk.heal();
        disk.plan(move |number, kind| {
            (kind == Kind::Read && number == at).then_some(Fault::Error(ErrorKind::Other))
        });
        let is_done = call();
        disk.heal();
        if is_done {
            assert!(at > 0, "the call makes no reads");
            return;
        }
        assert_eq!(db.current_seq(), before, "read {at}");
        compare(db, expected.now()).unwrap();
        check_file(disk).unwrap();
    }
}

/// Also when the closure looks away, and when the reads are those of the commit, in a catalog
/// that is a tree of its own.
#[test]
fn a_read_that_fails_in_a_transaction_undoes_it() {
    for setting in SETTINGS {
        let disk = CrashDisk::new();
        let mut ops = short_workload();
        ops.extend((0..200).map(|n| exec(&format!("bucket {n}"), vec![put("k", 9)])));
        let Left { mut oracle, .. } = run(&disk, setting, &ops).unwrap();
        let db = setting.options(&disk).cache_bytes(0).open(PATH).unwrap();
        fail_each_read(&disk, &db, &oracle, || {
            let written = db.exec("a", |txn| {
                let first = txn.put("one", "again");
                let second = txn.put("two", "again");
                assert!(first.is_ok() || second == first, "{first:?}, then {second:?}");
                Ok(())
            });
            assert!(matches!(written, Ok(()) | Err(Error::IoError)), "{written:?}");
            written.is_ok()
        });
        oracle.apply(&exec(
            "a",
            vec![
                Write::Put("one".into(), "again".into()),
                Write::Put("two".into(), "again".into()),
            ],
        ));
        compare(&db, oracle.now()).unwrap();
        fail_each_read(&disk, &db, &oracle, || db.del_bucket("a").is_ok());
        oracle.apply(&Op::DelBucket("a".to_owned()));
        compare(&db, oracle.now()).unwrap();
    }
}

/// A put that follows another waits, and its reads are made by what comes behind it.
#[test]
fn a_put_whose_reads_fail_fails_all_that_comes_behind_it() {
    for setting in SETTINGS {
        let disk = CrashDisk::new();
        let ops = [exec("a", (0..60).map(|n| put(&format!("{n:02}"), 100)).collect())];
        let Left { oracle, .. } = run(&disk, setting, &ops).unwrap();
        let db = setting.options(&disk).cache_bytes(0).open(PATH).unwrap();
        let looks: [fn(&mut Txn<'_>) -> Option<Error>; 5] = [
            |txn| txn.get("30").err(),
            |txn| txn.del("30").err(),
            |txn| txn.iter().next_entry().err(),
            |txn| txn.range::<str>(..).next_back()?.err(),
            |txn| (0..100).find_map(|n| txn.put(format!("{n:02}"), "more").err()),
        ];
        for (number, look) in looks.into_iter().enumerate() {
            let failing = disk.clone();
            let failed = db.exec("a", |txn| {
                txn.put("00", "first")?;
                failing
                    .plan(|_, kind| (kind == Kind::Read).then_some(Fault::Error(ErrorKind::Other)));
                txn.put("59", "second")?;
                assert_eq!(look(txn), Some(Error::IoError), "{setting:?}, look {number}");
                failing.heal();
                assert_eq!(txn.put("00", "third"), Err(Error::IoError));
                Ok(())
            });
            disk.heal();
            assert_eq!(failed, Err(Error::IoError), "{setting:?}, look {number}");
            compare(&db, oracle.now()).unwrap();
        }
    }
}

#[test]
fn a_read_that_fails_in_a_part_of_a_transaction_undoes_the_part_alone() {
    for setting in SETTINGS {
        let disk = CrashDisk::new();
        let ops = [exec("a", (0..60).map(|n| put(&format!("{n:02}"), 100)).collect())];
        let Left { oracle, .. } = run(&disk, setting, &ops).unwrap();
        let db = setting.options(&disk).cache_bytes(0).open(PATH).unwrap();
        let mut failures = 0;
        for at in 0.. {
            let failing = disk.clone();
            let done = db.exec_multi(|multi| {
                multi.exec("b", |txn| txn.put(format!("{at}"), "before"))?;
                failing.heal();
                failing.plan(move |number, kind| {
                    let is_meant = kind == Kind::Read && number == at;
                    is_meant.then_some(Fault::Error(ErrorKind::Other))
                });
                let part = multi.exec("a", |txn| {
                    txn.put("new", "value")?;
                    txn.del("33")
                });
                failing.heal();
                Ok(part)
            });
            let part = done.unwrap();
            assert_eq!(db.view("b", |txn| txn.get(format!("{at}"))).unwrap(), b"before");
            check_file(&disk).unwrap();
            if part.is_ok() {
                break;
            }
            failures += 1;
            assert_eq!(part, Err(Error::IoError), "read {at}");
            let bucket = oracle.now().bucket("a").unwrap();
            let len = db.view("a", |txn| Ok((txn.len(), txn.contains("new")?, txn.get("33")?)));
            assert_eq!(len.unwrap(), (bucket.len() as u64, false, vec![b'!' + 102; 100]));
        }
        assert!(failures > 1, "the part makes {failures} reads");
    }
}

#[test]
fn a_snapshot_opened_before_a_failed_sync_stays_readable() {
    for setting in SETTINGS {
        let disk = CrashDisk::new();
        let db = setting.options(&disk).open(PATH).unwrap();
        db.exec("a", |txn| (0..50).try_for_each(|n| txn.put(format!("{n:02}"), "old"))).unwrap();
        let mut iter = db.view("a", |txn| Ok(txn.iter())).unwrap();
        disk.plan(|_, kind| (kind == Kind::Sync).then_some(Fault::Drop));
        let failed =
            db.exec("a", |txn| (0..50).try_for_each(|n| txn.put(format!("{n:02}"), "new")));
        assert_eq!(failed, Err(Error::IoError));
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for n in 0..50 {
            assert!(iter.next_ref(&mut key, &mut value), "{setting:?}, {n}");
            assert_eq!(
                (key.as_slice(), value.as_slice()),
                (format!("{n:02}").as_bytes(), &b"old"[..])
            );
        }
        assert!(!iter.next_ref(&mut key, &mut value) && iter.error().is_none());
        assert_eq!(db.view("a", |txn| txn.get("07")).unwrap(), b"old");
        assert_eq!(db.exec("a", |txn| txn.put("x", "y")), Err(Error::Poisoned));
    }
}
