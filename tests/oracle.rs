//! Does the store answer as the oracle does, call by call?
//!
//! A million random calls: every shape of keys and values, pages of 512 and 4,096 bytes, no cache,
//! a tiny and a large one, one barrier and two; closures that fail and panic, calls inside calls,
//! cursors under writes and beyond their transactions, snapshots, dropped buckets, thousands of
//! buckets, compaction, closing and opening; commits that are deferred; owned transactions.
//!
//! Twenty times as many, in larger trees:
//!
//! ```text
//! BTREE_STORE_DEEP=1 cargo test --release --features sim --test oracle
//! ```
//!
//! Attacks: sorted-keys, entry-count, txn-ids-increase, commit-atomic, snapshot-stable,
//! cache-coherent, errors-stick, durable-before-ok.
#![cfg(feature = "sim")]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod model;

use btree_store::sim::Seeded;
use btree_store::sim::oracle::{
    Answer, End, Exec, Handle, KeyShape, Op, Oracle, Peek, Read, SnapshotAct, Step, ValueShape,
    Workload, Write, compare,
};
use btree_store::{BTree, Barriers, Error, Options};
use model::{Pair, Setting, message_of, report};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Calls of all tests together.
const CALLS: u64 = 1_000_000;
const CALLS_DEEP: u64 = 20_000_000;
/// Workloads that share the calls: fifteen shapes of keys and values on nine settings.
const WORKLOADS: u64 = 135;
/// The contents are compared after this many calls, and of thousands of buckets so many times:
/// to look at each of them takes longer than the calls.
const CALLS_PER_CHECK: u64 = 400;
const CHECKS_OF_MANY: u64 = 100;

/// Calls of one workload.
fn calls() -> u64 {
    let is_deep = std::env::var_os("BTREE_STORE_DEEP").is_some();
    (if is_deep { CALLS_DEEP } else { CALLS }) / WORKLOADS
}

/// No cache, one of eight pages, one that holds everything; both page sizes; both barriers.
fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for (page_size, barriers) in [(512, Barriers::One), (512, Barriers::Two), (4096, Barriers::One)]
    {
        for cache_bytes in [0, 8 * u64::from(page_size), 64 << 20] {
            settings.push(Setting { page_size, cache_bytes, barriers });
        }
    }
    settings
}

/// Runs a workload on one setting; on a failure, says how to get there in few steps.
fn run(setting: Setting, mut workload: Workload, seed: u64, calls: u64, calls_per_check: u64) {
    let mut source = Seeded::new(seed);
    let mut ops = Vec::new();
    let mut pair = Pair::new(setting);
    let (mut done, mut checked) = (0, 0);
    while done < calls {
        ops.push(workload.op(&mut source));
        let op = ops.last().unwrap();
        done += op.calls();
        let is_check_due = done - checked >= calls_per_check;
        let step = || {
            pair.step(op)?;
            if is_check_due {
                pair.check()?;
                let seq = pair.oracle.seq();
                pair.oracle.forget_before(seq);
            }
            Ok(())
        };
        let result: Result<(), String> = match catch_unwind(AssertUnwindSafe(step)) {
            Ok(result) => result,
            Err(payload) => Err(format!("panics: {}", message_of(&*payload))),
        };
        if let Err(first) = result {
            panic!("{}", report(setting, &ops, seed, &first));
        }
        if is_check_due {
            checked = done;
        }
    }
    if let Err(difference) = pair.step(&Op::Reopen).and_then(|()| pair.check()) {
        panic!("{}", report(setting, &ops, seed, &difference));
    }
}

/// Runs a shape of keys and values on all settings.
fn run_shape(first_seed: u64, keys: KeyShape, values: ValueShape, tune: fn(&mut Workload)) {
    run_checked(first_seed, keys, values, CALLS_PER_CHECK, tune);
}

fn run_checked(
    first_seed: u64,
    keys: KeyShape,
    values: ValueShape,
    calls_per_check: u64,
    tune: fn(&mut Workload),
) {
    for (seed, setting) in (first_seed..).zip(settings()) {
        let mut workload = Workload::new(setting.page_size, keys, values);
        tune(&mut workload);
        run(setting, workload, seed, calls(), calls_per_check);
    }
}

#[test]
fn short_keys_with_small_values() {
    run_shape(100, KeyShape::Short, ValueShape::Small, |_| {});
}

#[test]
fn short_keys_with_values_at_the_limit_of_a_leaf() {
    run_shape(200, KeyShape::Short, ValueShape::Edge, |_| {});
}

#[test]
fn short_keys_with_values_of_several_pages() {
    run_shape(300, KeyShape::Short, ValueShape::Large, |_| {});
}

#[test]
fn keys_with_a_long_shared_prefix() {
    run_shape(400, KeyShape::SharedPrefix, ValueShape::Mixed, |workload| {
        workload.key_count = 2000;
    });
}

#[test]
fn keys_that_are_prefixes_of_each_other() {
    run_shape(500, KeyShape::Nested, ValueShape::Empty, |workload| workload.key_count = 4096);
}

#[test]
fn sequential_keys() {
    run_shape(600, KeyShape::Sequential, ValueShape::Small, |workload| {
        workload.steps_max = 20;
        workload.bucket_count = 2;
    });
}

#[test]
fn keys_of_the_greatest_length() {
    run_shape(700, KeyShape::Longest, ValueShape::Mixed, |workload| workload.key_count = 900);
}

#[test]
fn keys_and_values_of_all_shapes() {
    run_shape(800, KeyShape::Mixed, ValueShape::Mixed, |_| {});
}

#[test]
fn thousands_of_buckets() {
    let calls_per_check = CALLS_PER_CHECK.max(calls() / CHECKS_OF_MANY);
    run_checked(900, KeyShape::Short, ValueShape::Small, calls_per_check, |workload| {
        workload.bucket_count = 3000;
        workload.key_count = 20;
        workload.steps_max = 2;
    });
}

#[test]
fn one_bucket_of_many_keys() {
    run_shape(1000, KeyShape::Mixed, ValueShape::Small, |workload| {
        workload.bucket_count = 1;
        workload.key_count = 50_000;
        workload.steps_max = 30;
    });
}

#[test]
fn deferred_commits_of_few_keys() {
    run_shape(1400, KeyShape::Mixed, ValueShape::Small, |workload| {
        workload.deferred = 6;
        workload.key_count = 60;
    });
}

#[test]
fn deferred_commits_of_large_values() {
    run_shape(1500, KeyShape::Sequential, ValueShape::Mixed, |workload| {
        workload.deferred = 7;
        workload.bucket_count = 2;
        workload.steps_max = 20;
    });
}

/// Leaves that are held where they lie lose entries, and become roots.
#[test]
fn large_values_that_go_in_ranges() {
    run_shape(1600, KeyShape::Mixed, ValueShape::Large, |workload| {
        (workload.key_count, workload.bucket_count, workload.steps_max) = (60, 2, 20);
        (workload.ranges, workload.phase) = (4, 16);
    });
}

#[test]
fn owned_transactions() {
    run_shape(1700, KeyShape::Mixed, ValueShape::Mixed, |workload| {
        (workload.owned, workload.deferred, workload.ranges) = (4, 2, 8);
        (workload.key_count, workload.bucket_count) = (60, 2);
    });
}

/// Values that readers give, also such as go to the file before the commit, and bulk loads; in
/// transactions of both kinds.
#[test]
fn buckets_that_are_filled_from_readers_and_in_bulk() {
    run_shape(1800, KeyShape::Mixed, ValueShape::Mixed, |workload| {
        (workload.readers, workload.bulks) = (5, 6);
        (workload.owned, workload.rivals) = (3, 4);
        (workload.key_count, workload.bucket_count) = (60, 2);
    });
}

/// What a step did, if it is one of those that may be answered in several ways.
fn outcome_of(step: &Step, answer: &btree_store::Result<Answer>) -> Option<String> {
    let name = match step {
        Step::Write(Write::Swap { .. }) => "swap",
        Step::Write(Write::BulkLoad(entries)) if entries.len() > 5 => "bulk load",
        Step::Write(Write::PutFrom { value, .. }) if value.bytes().len() > 1 << 17 => "long value",
        Step::Write(Write::PutFrom { .. }) => "put_from",
        Step::Peek(Peek::Read(Read::Range(..))) => "range",
        Step::Peek(Peek::Read(Read::Prefix(..))) => "prefix",
        Step::Peek(Peek::Read(Read::GetMany(..))) => "get_many",
        _ => return None,
    };
    let outcome = match answer {
        Ok(Answer::Entries(entries)) if entries.is_empty() => "none",
        Ok(Answer::Entries(_)) => "some",
        Ok(Answer::Values(values)) if values.contains(&None) => "some absent",
        Ok(Answer::Flag(false)) => "no",
        Ok(_) => "yes",
        Err(Error::Duplicate) => "duplicate",
        Err(Error::Invalid) => "invalid",
        Err(Error::IoError) => "failed",
        Err(_) => "refused",
    };
    Some(format!("{name}: {outcome}"))
}

const OUTCOMES: [&str; 35] = [
    "swap: yes",
    "swap: no",
    "bulk load: yes",
    "bulk load: duplicate",
    "bulk load: invalid",
    "bulk load: refused",
    "owned bulk load: yes",
    "owned bulk load: duplicate",
    "owned bulk load: invalid",
    "put_from: yes",
    "put_from: invalid",
    "put_from: failed",
    "put_from: refused",
    "owned put_from: yes",
    "owned put_from: invalid",
    "owned put_from: failed",
    "owned put_from: refused",
    "long value: yes",
    "long value: failed",
    "owned long value: yes",
    "owned long value: failed",
    "range: some",
    "range: none",
    "prefix: some",
    "prefix: none",
    "get_many: yes",
    "get_many: some absent",
    "snapshot: read",
    "Begin: Some(Done)",
    "Begin: Some(Failed(Conflict))",
    "Begin: Some(Failed(Invalid))",
    "Begin: None",
    "Transact: Some(Done)",
    "Transact: Some(Failed(Invalid))",
    "Transact: None",
];

/// A call that is always refused, or never, would show little.
#[test]
fn the_calls_meet_every_outcome() {
    let mut found = BTreeSet::new();
    let mut workload = Workload::new(512, KeyShape::Mixed, ValueShape::Small);
    (workload.owned, workload.deferred, workload.readers) = (1, 2, 2);
    let (mut source, mut oracle) = (Seeded::new(1), Oracle::new(512));
    for _ in 0..60_000 {
        let op = workload.op(&mut source);
        let reply = oracle.apply(&op);
        if matches!(op, Op::Snapshot { act: SnapshotAct::View(_), .. }) && !reply.steps.is_empty() {
            found.insert("snapshot: read".to_owned());
        }
        if let Op::Owned { by, exec } = &op {
            let end = (exec.end == End::Commit).then_some(&reply.end);
            found.insert(format!("{by:?}: {end:?}"));
        }
        let (of, exec) = match op {
            Op::Exec(exec) => ("", exec),
            Op::Owned { exec, .. } => ("owned ", exec),
            _ => continue,
        };
        let outcomes = exec.steps.iter().zip(&reply.steps);
        let outcomes = outcomes.filter_map(|(step, answer)| outcome_of(step, answer));
        found.extend(outcomes.map(|outcome| format!("{of}{outcome}")));
    }
    for outcome in OUTCOMES {
        assert!(found.contains(outcome), "no {outcome:?} in {found:?}");
    }
}

#[test]
fn every_commit_of_a_small_store_leaves_a_sound_file() {
    for (seed, setting) in (1100..).zip(settings()) {
        let mut workload = Workload::new(setting.page_size, KeyShape::Mixed, ValueShape::Mixed);
        workload.key_count = 60;
        workload.bucket_count = if seed % 2 == 0 { 3 } else { 40 };
        run(setting, workload, seed, 2000, 1);
    }
}

/// Larger than what is written at once, larger than any cache, and back to a few bytes.
#[test]
fn values_of_megabytes_come_and_go() {
    let mib = 1_usize << 20;
    let lengths = [mib - 1, mib, mib + 1, 10, 3 * mib + 511, 5 * mib, 0, 2 * mib];
    for setting in settings() {
        let mut pair = Pair::new(setting);
        for (at, len) in lengths.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|n| (n * 7 + at).to_le_bytes()[0]).collect();
            for key in ["same", &format!("other {at}")] {
                let steps = vec![Step::Write(Write::Put(key.into(), bytes.clone().into()))];
                let exec = Exec { bucket: "b".to_owned(), steps, end: End::Commit };
                pair.step(&Op::Exec(exec)).unwrap();
            }
            pair.check().unwrap();
        }
        pair.step(&Op::DelBucket("b".to_owned())).unwrap();
        pair.step(&Op::Compact(0)).unwrap();
        pair.step(&Op::Reopen).unwrap();
        pair.check().unwrap();
        assert!(pair.store.db().stats().unwrap().page_count < 64, "{setting:?}");
    }
}

#[test]
fn the_largest_pages_answer_alike() {
    for (seed, page_size) in [(1300, 1024), (1301, 8192), (1302, 32768)] {
        for cache_bytes in [0, 8 * u64::from(page_size)] {
            let setting = Setting { page_size, cache_bytes, barriers: Barriers::One };
            let mut workload = Workload::new(page_size, KeyShape::Mixed, ValueShape::Mixed);
            workload.steps_max = 30;
            run(setting, workload, seed, calls(), CALLS_PER_CHECK);
        }
    }
}

/// A closure that catches the panic of a part of its transaction.
#[test]
fn a_caught_panic_of_a_part_undoes_the_part_alone() {
    let db = Options::new().page_size(512).open_in_memory().unwrap();
    db.exec("a", |txn| txn.put("k", "old")).unwrap();
    db.exec_multi(|multi| {
        multi.exec("a", |txn| txn.put("kept", "1"))?;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            multi.exec("a", |txn| -> btree_store::Result<()> {
                txn.put("k", "new")?;
                txn.del("kept")?;
                resume_unwind(Box::new("planned"))
            })
        }));
        assert!(caught.is_err());
        multi.exec("b", |txn| txn.put("kept", "2"))
    })
    .unwrap();
    assert_eq!(db.current_seq(), 2);
    assert_eq!(db.view("a", |txn| txn.get("k")).unwrap(), b"old");
    assert_eq!(db.view("a", |txn| txn.get("kept")).unwrap(), b"1");
    assert_eq!(db.view("b", |txn| txn.get("kept")).unwrap(), b"2");
    assert!(db.verify().unwrap().is_sound());
}

/// On the system's files: fewer calls, as each commit waits for the disk.
#[test]
fn the_systems_files_answer_alike() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, page_size) in [(1200, 512), (1201, 4096)] {
        let path = dir.path().join(format!("{page_size}.db"));
        let options = Options::new().page_size(page_size).cache_bytes(16 * u64::from(page_size));
        let mut store = Handle::open(options, &path).unwrap();
        let mut oracle = Oracle::new(page_size);
        let mut workload = Workload::new(page_size, KeyShape::Mixed, ValueShape::Mixed);
        let mut source = Seeded::new(seed);
        for at in 0..250 {
            let op = if at % 25 == 0 { Op::Reopen } else { workload.op(&mut source) };
            assert_eq!(store.run(&op), oracle.apply(&op), "seed {seed}, operation {at}: {op:?}");
            oracle.follow(store.db().current_seq());
        }
        compare(store.db(), oracle.now()).unwrap();
        let report = store.db().verify().unwrap();
        assert!(report.is_sound(), "{report}");
    }
}

#[test]
fn a_second_handle_shares_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let one = BTree::open(&path).unwrap();
    let two = BTree::open(&path).unwrap();
    one.exec("b", |txn| txn.put("k", "v")).unwrap();
    assert_eq!(two.view("b", |txn| txn.get("k")).unwrap(), b"v");
    assert_eq!(two.current_seq(), one.current_seq());
    assert_eq!(one.exec("b", |_| two.exec("c", |_| Ok(()))), Err(Error::Invalid));
    drop(one);
    two.exec("b", |txn| txn.put("k", "w")).unwrap();
    drop(two);
    let again = BTree::open(&path).unwrap();
    assert_eq!(again.view("b", |txn| txn.get("k")).unwrap(), b"w");
}
