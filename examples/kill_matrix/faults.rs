//! Each operation of a commit fails, in each way, at each index. An error means the state before
//! or after it; the store goes on, or says that it does not.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::crash::{Edit, apply, apply_in};
use crate::matrix::scripts::{Contents, PATH, check_pages, dump, fill, key, options, value};
use crate::matrix::watch::{Op, Watch};
use btree_store::sim::{
    Errno, Failure, Fault, OpKind, OpSet, SimDisk, Snapshot, SyncFailure, When,
};
use btree_store::{BTree, Error, Iter};
use std::io;
use std::sync::Arc;

/// Writes of a single commit; a store that asks for more tries one for ever.
const WRITES_MAX: u32 = 10_000;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    check_all(budget).and_then(|()| removals(budget)).err()
}

/// A removal of a range whose reads fail tells no number of entries.
fn removals(budget: &mut Budget) -> Checked {
    for index in 0..20 {
        budget.spend();
        let disk = SimDisk::new();
        let db = options(disk.vfs()).cache_bytes(0).open(PATH)?;
        db.exec("b", |txn| (0..40).try_for_each(|n| txn.put(key(n), value(n, 60))))?;
        disk.inject(Fault::new(OpSet::READS, When::Once(index), Failure::Error(Errno::Eio)));
        let mut told = None;
        let ended = db.exec("b", |txn| {
            told = Some(txn.delete_range::<[u8]>(..));
            Ok(())
        });
        let has_struck = disk.has_fault_struck();
        ensure(!matches!(told, Some(Ok(count)) if count != 40), || format!("it tells {told:?}"))?;
        ensure(ended.is_err() == has_struck, || format!("read {index} fails: {ended:?}"))?;
    }
    Ok(())
}

/// The number and the length of a value that is written before its commit.
const EARLY: (u32, usize) = (2, 1100);

/// Applies the edits, and keeps a cursor at the early value.
fn apply_reading(db: &BTree, held: &mut Option<Iter>) -> Result<(), Error> {
    db.exec_multi(|multi| {
        apply_in(multi, &edits())?;
        *held = Some(multi.exec("new", |txn| txn.iter_from(key(EARLY.0)))?);
        Ok(())
    })
}

/// A commit that grows the file, writes large values and many pages.
fn edits() -> Vec<Edit> {
    let puts = (0..12).map(|n| Edit::Put("b", n * 4, 140));
    let large = [Edit::Put("new", 1, 2500), Edit::PutFrom("new", EARLY.0, EARLY.1)];
    puts.chain(large).chain([Edit::Delete("b", 33)]).collect()
}

fn check_all(budget: &mut Budget) -> Checked {
    let disk = SimDisk::new();
    let db = options(disk.vfs()).open(PATH)?;
    fill(&db)?;
    let before = dump(&db)?;
    drop(db);
    disk.settle();
    let start = disk.snapshot();
    let after = after(&start)?;
    let trial = Trial { start, before, after };
    trial.read_only(budget)?;
    let error = |ops, errno| (ops, Failure::Error(errno));
    let kinds = [
        error(OpSet::WRITES, Errno::Enospc),
        error(OpSet::SYNCS, Errno::Eio),
        (OpSet::SYNCS, Failure::Sync(SyncFailure::Drop)),
        error(OpSet::of(&[OpKind::Write]), Errno::Eintr),
        error(OpSet::READS, Errno::Eintr),
        (OpSet::WRITES, Failure::Short(100)),
        (OpSet::READS, Failure::Short(100)),
        (OpSet::WRITES, Failure::Short(0)),
        error(OpSet::WRITES, Errno::Eio),
        error(OpSet::READS, Errno::Eio),
        error(OpSet::WRITE_BACKS, Errno::Eio),
        (OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Drop)),
    ];
    for (ops, failure) in kinds {
        for index in 0..40 {
            budget.spend();
            if !trial.run(ops, When::Once(index), failure)? {
                break;
            }
        }
    }
    budget.spend();
    trial.run(OpSet::WRITES, When::From(0), Failure::Short(0))?;
    // A sync without room is a sync that failed.
    for index in 0..4 {
        budget.spend();
        trial.run(OpSet::SYNCS, When::Once(index), Failure::Sync(SyncFailure::NoSpace))?;
    }
    Ok(())
}

fn after(start: &Snapshot) -> Checked<Contents> {
    let db = options(SimDisk::from_snapshot(start).vfs()).open(PATH)?;
    apply(&db, &edits())?;
    Ok(dump(&db)?)
}

struct Trial {
    start: Snapshot,
    before: Contents,
    after: Contents,
}

impl Trial {
    /// Runs the commit with a fault. `false` when it did not strike.
    fn run(&self, ops: OpSet, when: When, failure: Failure) -> Checked<bool> {
        let disk = SimDisk::from_snapshot(&self.start);
        let watch = Watch::new(disk.clone());
        let mut writes = 0;
        watch.hook(move |op| {
            writes += u32::from(matches!(op, Op::Write { .. }));
            assert!(writes < WRITES_MAX, "a write is tried for ever");
            Ok(())
        });
        let open = || options(Arc::new(watch.clone())).open(PATH);
        let db = open()?;
        disk.inject(Fault::new(ops, when, failure));
        let counted = disk.operations();
        let mut held = None;
        let result = apply_reading(&db, &mut held);
        let operations = disk.operations() - counted;
        disk.clear_faults();
        let what = format!("{failure:?} {when:?}: {result:?}");
        let is_harmless = matches!(failure, Failure::Error(Errno::Eintr) | Failure::Short(1..));
        ensure(result.is_ok() || !is_harmless, || format!("{what}: it had to be tried again"))?;
        let lasts = matches!(failure, Failure::Short(0)) && matches!(when, When::From(_));
        ensure(result.is_err() || !lasts, || format!("{what}: nothing could be written"))?;
        self.check(&db, result, (ops, failure), &what)?;
        let (mut found_key, mut found) = (Vec::new(), Vec::new());
        if let Some(iter) = &mut held {
            iter.next_ref(&mut found_key, &mut found);
            let is_same = found == value(EARLY.0, EARLY.1);
            ensure(is_same, || format!("{what}: who reads what failed sees other bytes"))?;
        }
        drop((held, db));
        let db = open()?;
        self.check_contents(&dump(&db)?, result, &what)?;
        check_pages(&db)?;
        apply(&db, &[Edit::Put("b", 1, 10)])?;
        check_pages(&db)?;
        Ok(operations > 0 && (result.is_err() || is_harmless && self.may_strike(when)))
    }

    /// A fault that does no harm is tried at the first places only.
    fn may_strike(&self, when: When) -> bool {
        matches!(when, When::Once(0..12)) && !self.before.is_empty()
    }

    fn check_contents(&self, found: &Contents, result: Result<(), Error>, what: &str) -> Checked {
        let mut found = found.clone();
        // The commit that tells whether the store goes on.
        found.remove("probe");
        let is_right = match result {
            Ok(()) => found == self.after,
            Err(_) => found == self.before || found == self.after,
        };
        ensure(is_right, || format!("{what}: neither the state before nor after"))
    }

    /// What an open store does after a fault.
    fn check(
        &self,
        db: &BTree,
        result: Result<(), Error>,
        (ops, failure): (OpSet, Failure),
        what: &str,
    ) -> Checked {
        let now = dump(db)?;
        self.check_contents(&now, result, what)?;
        if result.is_err() {
            ensure(now == self.before, || format!("{what}: readers see what failed"))?;
        }
        let probe = apply(db, &[Edit::Put("probe", 1, 1200)]);
        let is_sync = ops == OpSet::SYNCS && matches!(failure, Failure::Sync(_));
        if result.is_err() && is_sync {
            return ensure(probe == Err(Error::Poisoned), || {
                format!("{what}: a sync failed, then {probe:?}")
            });
        }
        match probe {
            Ok(()) => {
                self.check_contents(&dump(db)?, result, what)?;
                check_pages(db)
            }
            Err(Error::Poisoned) if result == Err(Error::NoSpace) => {
                Err(Kill(format!("{what}: the disk was full, and nothing can be written any more")))
            }
            Err(Error::Poisoned) if result.is_err() => Ok(()),
            Err(error) => Err(Kill(format!("{what}: then {error:?}"))),
        }
    }

    /// A read-only open of a file that needs recovery writes nothing.
    fn read_only(&self, budget: &mut Budget) -> Checked {
        budget.spend();
        let disk = SimDisk::from_snapshot(&self.start);
        let db = options(disk.vfs()).open(PATH)?;
        apply(&db, &edits())?;
        disk.kill();
        drop(db);
        let watch = Watch::new(disk);
        watch.hook(|op| {
            let is_change = op.is_change() || op.is_sync();
            if is_change { Err(io::Error::other("a read-only store writes")) } else { Ok(()) }
        });
        let (counts, found) = watch.during(|| {
            let db = options(Arc::new(watch.clone())).read_only().open(PATH)?;
            dump(&db)
        });
        ensure(found? == self.after, || "a read-only open finds another state".into())?;
        ensure(counts.is_silent(), || format!("a read-only open did {counts:?}"))
    }
}
