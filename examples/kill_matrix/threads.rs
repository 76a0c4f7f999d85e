//! Threads that commit at once, readers beside a writer, calls within calls, transactions that are
//! open at once, deferred commits.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::gate::{At, Gate};
use crate::matrix::scripts::{PATH, key, options};
use crate::matrix::{deferred, meanwhile, optimistic};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Txn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const FOLLOWERS: u64 = 3;
/// How often, and how long at a time, it is waited until all followers run.
const WAITS: u32 = 100;
const WAIT: Duration = Duration::from_millis(20);

pub fn run(budget: &mut Budget) -> Option<Kill> {
    let all: [fn(&mut Budget) -> Checked; 7] =
        [nested, held, failing, meanwhile::run, beside, optimistic::run, deferred::run];
    all.iter().find_map(|check| check(budget).err())
}

fn add_one(txn: &mut Txn<'_>) -> Result<u64, Error> {
    let next = counter(&txn.get("counter")?) + 1;
    txn.put("counter", next.to_le_bytes())?;
    Ok(next)
}

fn counter(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_le_bytes)
}

fn read(db: &BTree) -> Result<u64, Error> {
    db.view("b", |txn| txn.get("counter").map(|bytes| counter(&bytes)))
}

/// A store with a counter behind a gate, without a cache that could hide what is read.
fn gated() -> Checked<(Gate, BTree)> {
    let gate = Gate::default();
    let db = options(Arc::new(gate.clone())).cache_bytes(0).open(PATH)?;
    db.exec("b", |txn| txn.put("counter", 0_u64.to_le_bytes()))?;
    Ok((gate, db))
}

/// A transaction within another is an error, and no deadlock.
fn nested(budget: &mut Budget) -> Checked {
    let (_, db) = gated()?;
    budget.spend();
    let inner = db.exec("b", |_| Ok(db.exec("b", |txn| txn.put("k", "v"))))?;
    ensure(inner == Err(Error::Invalid), || format!("a nested transaction: {inner:?}"))
}

/// A leader is held inside its flush while others run on what it flushes.
fn group(budget: &mut Budget, at: At, works: bool) -> Checked<(BTree, Vec<Result<u64, Error>>)> {
    budget.spend();
    let (gate, db) = gated()?;
    gate.close(at);
    let (ran, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let one = || {
        let result = db.exec("b", |txn| {
            ran.fetch_add(1, Ordering::SeqCst);
            add_one(txn)
        });
        done.fetch_add(1, Ordering::SeqCst);
        result
    };
    let results = std::thread::scope(|scope| -> Checked<Vec<Result<u64, Error>>> {
        let leader = scope.spawn(one);
        // A bug may leave out the operation.
        let is_held = gate.wait_for_somebody();
        let followers: Vec<_> = (0..FOLLOWERS).map(|_| scope.spawn(one)).collect();
        // Whoever runs joins before the leader can fail; a bug may let nobody run.
        let waits = || ran.load(Ordering::SeqCst) <= FOLLOWERS;
        (0..WAITS).take_while(|_| waits()).for_each(|_| std::thread::sleep(WAIT));
        std::thread::sleep(WAIT);
        let early = done.load(Ordering::SeqCst);
        let seen = read(&db);
        gate.open_again(works);
        let all = std::iter::once(leader).chain(followers);
        let results = all.map(|thread| thread.join().map_err(|payload| Kill::of_panic(&*payload)));
        let results = results.collect::<Result<Vec<_>, Kill>>()?;
        ensure(is_held, || "a commit does not reach the storage".into())?;
        ensure(early == 0, || format!("{early} commits returned before the flush ended"))?;
        ensure(seen == Ok(0), || format!("readers see {seen:?} before it is durable"))?;
        Ok(results)
    })?;
    Ok((db, results))
}

/// All who waited are told success, and each has its own.
fn held(budget: &mut Budget) -> Checked {
    for at in [At::Data, At::Sync] {
        let (db, results) = group(budget, at, true)?;
        let mut numbers: Vec<u64> = results.into_iter().collect::<Result<_, Error>>()?;
        numbers.sort_unstable();
        ensure(numbers == [1, 2, 3, 4], || format!("the counter was {numbers:?}"))?;
        ensure(read(&db) == Ok(1 + FOLLOWERS), || "an acknowledged commit is not seen".into())?;
    }
    Ok(())
}

/// All who waited are told that it failed, and nothing of it is left.
fn failing(budget: &mut Budget) -> Checked {
    let (db, results) = group(budget, At::Data, false)?;
    let all_failed = results.iter().all(|result| *result == Err(Error::NoSpace));
    ensure(all_failed, || format!("a failed flush: {results:?}"))?;
    ensure(read(&db) == Ok(0), || "readers see what failed".into())?;
    let next = db.exec("b", add_one);
    ensure(next == Ok(1), || format!("after a failed flush: {next:?}"))
}

/// Readers beside a writer see one state each, and never go back.
fn beside(budget: &mut Budget) -> Checked {
    let db = options(Arc::new(MemVfs::new())).open(PATH)?;
    let write = |round: u64| {
        db.exec("b", |txn| (0..40).try_for_each(|n| txn.put(key(n), round.to_le_bytes())))
    };
    write(0)?;
    let stop = AtomicBool::new(false);
    let look = || -> Checked {
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            let (found, count) = db.view("b", |txn| {
                let (mut key, mut value) = (Vec::new(), Vec::new());
                let (mut found, mut count) = (Vec::new(), 0);
                let mut iter = txn.iter();
                while iter.next_ref(&mut key, &mut value) {
                    count += 1;
                    found.push(counter(&value));
                }
                iter.error().map_or(Ok((found, count)), Err)
            })?;
            let first = found[0];
            ensure(count == 40 && found.iter().all(|value| *value == first), || {
                format!("a reader sees a mixture of {count}: {found:?}")
            })?;
            ensure(first >= last, || format!("a reader goes back from {last} to {first}"))?;
            last = first;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(look)).collect();
        let mut verdict = Ok(());
        for round in 1..400 {
            budget.spend();
            verdict = write(round).map_err(Kill::from);
            if verdict.is_err() || readers.iter().any(|reader| reader.is_finished()) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let seen = reader.join().unwrap_or_else(|payload| Err(Kill::of_panic(&*payload)));
            verdict = verdict.and(seen);
        }
        verdict
    })
}
