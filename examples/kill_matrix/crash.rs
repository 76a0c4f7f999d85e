//! Small workloads, crashed before every sync in every way that recovery can tell apart; the
//! recovery is crashed again. Faults of the disk come before the crash in some.

use crate::matrix::budget::{Budget, Kill};
use crate::matrix::scripts::{Contents, PAGE, PATH, check_pages, dump, fill, key, value};
use crate::matrix::{copies, losses, recovering};
use btree_store::sim::{
    Checked, Crash, DataSync, Errno, Explorer, Failure, Fault, Mark, OpSet, Profile, SimDisk,
    Snapshot, SyncFailure, When,
};
use btree_store::{BTree, Error, MultiTxn, Options};
use std::cell::RefCell;

/// A change of one transaction.
#[derive(Clone, Debug)]
pub enum Edit {
    Put(&'static str, u32, usize),
    /// Puts a value that comes from a reader.
    PutFrom(&'static str, u32, usize),
    Delete(&'static str, u32),
    Touch(&'static str),
}

/// What a workload does.
#[derive(Clone, Debug)]
enum Act {
    Commit(Vec<Edit>),
    /// The disk follows these faults from here on.
    Inject(Fault),
    /// Ends the faults; the process ends, without a reboot, and starts again. What a failed sync
    /// left clean in the cache may be evicted.
    Restart,
    /// As `Restart`, and nothing is evicted.
    Return,
    Close,
}

/// A workload with all that belongs to it.
struct Scenario {
    name: &'static str,
    profile: Profile,
    start: Option<Snapshot>,
    acts: Vec<Act>,
    /// What the check writes after a crash.
    probe: Vec<Edit>,
    nested: u32,
    /// The disk lies: what was acknowledged may be lost, but nothing may be torn.
    lies: bool,
    /// The disk has lied, and nothing is asked of it until the last commit was acknowledged.
    lied: bool,
}

use Edit::{Delete, Put, PutFrom, Touch};

/// Executions of one scenario at most.
const MOST: u64 = 6_000;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    let scenarios = scenarios().map_err(|error| Kill(format!("the workloads: {error}")));
    match scenarios {
        Ok(scenarios) => {
            let found = scenarios.iter().find_map(|scenario| explore(budget, scenario));
            let found = found.or_else(|| recovering::run(budget));
            found.or_else(|| losses::run(budget)).or_else(|| copies::run(budget))
        }
        Err(kill) => Some(kill),
    }
}

/// The plainest exploration: two commits and a close.
pub fn run_plain(budget: &mut Budget) -> Option<Kill> {
    explore(budget, &plain().ok()?)
}

fn commit(edits: &[Edit]) -> Act {
    Act::Commit(edits.to_vec())
}

fn base(name: &'static str, start: &Snapshot, acts: Vec<Act>) -> Scenario {
    Scenario {
        name,
        profile: Profile::default(),
        start: Some(start.clone()),
        acts,
        probe: vec![Put("b", 9, 20)],
        nested: 0,
        lies: false,
        lied: false,
    }
}

fn plain() -> Result<Scenario, Error> {
    let small = start(|db| apply(db, &[Put("b", 1, 20)]))?;
    let acts = vec![commit(&[Put("b", 2, 30)]), commit(&[Put("b", 3, 30)]), Act::Close];
    Ok(Scenario { nested: 1, ..base("two commits", &small, acts) })
}

fn large(seed: usize) -> Vec<Edit> {
    (0..24).map(|n| Put("b", n, 100 + seed)).collect()
}

fn chosen(ops: OpSet, failure: Failure) -> Act {
    Act::Inject(Fault::new(ops, When::Chosen(1), failure))
}

fn scenarios() -> Result<Vec<Scenario>, Error> {
    let mut all = crashes()?;
    all.extend(faulty()?);
    all.extend(early()?);
    Ok(all)
}

/// With values that are written before their commit, and with writing back that is begun and fails.
fn early() -> Result<Vec<Scenario>, Error> {
    let small = start(|db| apply(db, &[Put("b", 1, 20)]))?;
    let lossy = Profile { data_sync: DataSync::LosesSize, ..Profile::default() };
    // Free pages in the middle, so that the commit itself needs no growth.
    let lossy_holes = start_on(lossy, |db| {
        apply(db, &[Put("b", 1, 20), Put("b", 5, 1900)])?;
        apply(db, &[Put("b", 6, 1200)])?;
        apply(db, &[Delete("b", 5)])?;
        (20..24).try_for_each(|len| apply(db, &[Put("b", 1, len)]))
    })?;
    let grow = commit(&[PutFrom("b", 2, 4200)]);
    let drop = chosen(OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Drop));
    let fails = vec![drop, commit(&[Put("b", 2, 30)]), commit(&[Put("b", 3, 30)])];
    Ok(vec![
        base("a value from a reader", &small, vec![commit(&[PutFrom("b", 2, 1200)]), Act::Close]),
        Scenario { profile: lossy, ..base("early growth", &lossy_holes, vec![grow]) },
        base("writing back fails", &small, fails),
    ])
}

/// Without faults.
fn crashes() -> Result<Vec<Scenario>, Error> {
    let small = start(|db| apply(db, &[Put("b", 1, 20)]))?;
    let torn = Profile { sector_bytes: 128, ..Profile::default() };
    let lossy = Profile { data_sync: DataSync::LosesSize, ..Profile::default() };
    let torn_small = start_on(torn, |db| apply(db, &[Put("b", 1, 20)]))?;
    let lossy_small = start_on(lossy, |db| apply(db, &[Put("b", 1, 20)]))?;
    let grow = vec![commit(&[Put("b", 2, 450), Put("b", 3, 450), Put("b", 4, 3000)])];
    Ok(vec![
        plain()?,
        Scenario { start: None, ..base("create", &small, vec![commit(&[Put("b", 1, 20)])]) },
        base("growth", &small, grow.clone()),
        Scenario { profile: lossy, ..base("growth whose size is lost", &lossy_small, grow) },
        base("a large value", &small, vec![commit(&[Put("b", 2, 1200)]), Act::Close]),
        base("a large commit", &small, vec![Act::Commit(large(0)), Act::Close]),
        base("the log spills", &spilling()?, vec![commit(&[Put("b", 20, 33)])]),
        Scenario {
            profile: torn,
            ..base("torn pages", &torn_small, vec![commit(&[Put("b", 2, 9)]), Act::Close])
        },
        Scenario {
            probe: vec![Put("b", 2, 30)],
            nested: 1,
            ..base("a refused slot", &small, vec![commit(&[Put("b", 2, 30), Touch("y")])])
        },
    ])
}

/// With faults.
fn faulty() -> Result<Vec<Scenario>, Error> {
    let small = start(|db| apply(db, &[Put("b", 1, 20)]))?;
    let lossy = Profile { data_sync: DataSync::LosesSize, ..Profile::default() };
    let lossy_small = start_on(lossy, |db| apply(db, &[Put("b", 1, 20)]))?;
    let sync = |failure| chosen(OpSet::SYNCS, Failure::Sync(failure));
    let full = chosen(OpSet::WRITES, Failure::Error(Errno::Enospc));
    let two = || [commit(&[Put("b", 2, 30)]), commit(&[Put("b", 3, 30)])];
    let mut all = Vec::new();
    for failure in [SyncFailure::Drop, SyncFailure::Keep, SyncFailure::Revert] {
        let [first, second] = two();
        let acts = vec![first, sync(failure), second, Act::Restart, commit(&[Delete("b", 1)])];
        all.push(base("a sync fails", &small, acts));
    }
    let [first, second] = two();
    let acts = vec![full.clone(), first, second, commit(&[Put("b", 4, 30), Delete("b", 1)])];
    all.push(base("no space", &small, acts));
    let grow = commit(&[Put("b", 2, 450), Put("b", 3, 450), Put("b", 4, 3000)]);
    let again = commit(&[Put("b", 3, 450), Put("b", 4, 3000), Put("b", 6, 400)]);
    let acts = vec![full, grow, again];
    all.push(Scenario { profile: lossy, ..base("no space to grow", &lossy_small, acts) });
    let late = |acts| Scenario { lies: true, ..base("a failure told late", &small, acts) };
    all.push(late(vec![sync(SyncFailure::Late), Act::Commit(large(1))]));
    let [first, _] = two();
    all.push(late(vec![sync(SyncFailure::Late), first, Act::Close]));
    // The first commit is lost, the second one told so; what the third builds on is both of them.
    let [first, _] = two();
    let lost = Fault::new(OpSet::SYNCS, When::Once(0), Failure::Sync(SyncFailure::Late));
    let [second, third] = [commit(&[Put("c", 2, 30)]), commit(&[Put("c", 3, 30)])];
    let acts = vec![Act::Inject(lost), first, second, Act::Return, third];
    all.push(Scenario { lied: true, ..base("a failure told late, and a start", &small, acts) });
    Ok(all)
}

/// A disk with a store that was closed cleanly.
fn start(fill: impl Fn(&BTree) -> Result<(), Error>) -> Result<Snapshot, Error> {
    start_on(Profile::default(), fill)
}

fn start_on(
    profile: Profile,
    fill: impl Fn(&BTree) -> Result<(), Error>,
) -> Result<Snapshot, Error> {
    let disk = SimDisk::with_profile(profile);
    let db = open(&disk)?;
    fill(&db)?;
    drop(db);
    disk.settle();
    Ok(disk.snapshot())
}

/// A store whose next commit writes pages of the space log.
fn spilling() -> Result<Snapshot, Error> {
    let log_pages =
        |db: &BTree| db.verify().map(|report| report.accepted().map_or(0, |state| state.log_pages));
    let mut snapshot = start(fill)?;
    for _ in 0..60 {
        let disk = SimDisk::from_snapshot(&snapshot);
        let db = open(&disk)?;
        let wanted = log_pages(&db)? + 1;
        db.exec("b", |txn| txn.put(key(20), value(20, 33)))?;
        if log_pages(&db)? >= wanted {
            return Ok(snapshot);
        }
        drop(db);
        disk.settle();
        snapshot = disk.snapshot();
    }
    // The bug that is on keeps the log from spilling.
    Ok(snapshot)
}

fn open(disk: &SimDisk) -> Result<BTree, Error> {
    Options::new().page_size(PAGE).vfs(disk.vfs()).open(PATH)
}

pub fn apply(db: &BTree, edits: &[Edit]) -> Result<(), Error> {
    db.exec_multi(|multi| apply_in(multi, edits))
}

pub fn apply_in(multi: &mut MultiTxn<'_>, edits: &[Edit]) -> Result<(), Error> {
    for edit in edits {
        match *edit {
            Put(bucket, n, len) => multi.exec(bucket, |txn| txn.put(key(n), value(n, len)))?,
            PutFrom(bucket, n, len) => multi.exec(bucket, |txn| {
                txn.put_from(key(n), len as u64, &mut value(n, len).as_slice())
            })?,
            Delete(bucket, n) => multi.exec(bucket, |txn| match txn.del(key(n)) {
                Err(Error::NotFound) => Ok(()),
                result => result,
            })?,
            Touch(bucket) => multi.exec(bucket, |_| Ok(()))?,
        }
    }
    Ok(())
}

fn apply_to(contents: &Contents, edits: &[Edit]) -> Contents {
    let mut contents = contents.clone();
    for edit in edits {
        match *edit {
            Put(bucket, n, len) | PutFrom(bucket, n, len) => {
                contents.entry(bucket.into()).or_default().insert(key(n), value(n, len));
            }
            Delete(bucket, n) => {
                contents.entry(bucket.into()).or_default().remove(&key(n));
            }
            Touch(bucket) => {
                contents.entry(bucket.into()).or_default();
            }
        }
    }
    contents
}

/// The states that a run goes through: contents by number.
struct Run<'s> {
    scenario: &'s Scenario,
    states: RefCell<Vec<Contents>>,
}

/// Numbers of states that checks write, one for each crash in a row, on top of the state found.
const PROBE: u64 = 1000;

fn explore(budget: &mut Budget, scenario: &Scenario) -> Option<Kill> {
    let run = Run { scenario, states: RefCell::new(Vec::new()) };
    let mut explorer = Explorer::new(scenario.name)
        .profile(scenario.profile)
        .nested(scenario.nested)
        .executions_max(MOST);
    if let Some(start) = &scenario.start {
        explorer = explorer.start(start);
    }
    let report = explorer.explore(
        |disk| run.work(disk),
        |disk, crash| {
            budget.spend();
            run.check(disk, crash)
        },
    );
    budget.judge(report)
}

impl Run<'_> {
    fn work(&self, disk: &SimDisk) -> Checked {
        let before = match &self.scenario.start {
            Some(_) => dump(&open(&SimDisk::from_snapshot(&disk.snapshot()))?)?,
            None => Contents::new(),
        };
        *self.states.borrow_mut() = vec![before];
        let mut db = Some(open(disk)?);
        let mut now = 0;
        for act in &self.scenario.acts {
            match act {
                Act::Commit(edits) => {
                    let Some(db) = &db else { continue };
                    let wanted = apply_to(&self.states.borrow()[now], edits);
                    self.states.borrow_mut().push(wanted);
                    let next = self.states.borrow().len() - 1;
                    disk.started(next as u64);
                    if apply(db, edits).is_ok() {
                        disk.acknowledged(next as u64);
                        now = next;
                    }
                }
                Act::Inject(fault) => disk.inject(*fault),
                Act::Restart | Act::Return => {
                    drop(db.take());
                    disk.clear_faults();
                    disk.kill();
                    if matches!(act, Act::Restart) {
                        disk.evict_some();
                    }
                    let again = open(disk)?;
                    let found = dump(&again)?;
                    let states = self.states.borrow();
                    now = self.find(&states, &found, &states_of(disk.marks().into_iter()))?;
                    disk.acknowledged(now as u64);
                    drop(states);
                    db = Some(again);
                }
                Act::Close => drop(db.take()),
            }
        }
        drop(db);
        Ok(())
    }

    /// The number of the state with these contents, if it may be found.
    fn find(
        &self,
        states: &[Contents],
        found: &Contents,
        possible: &[u64],
    ) -> Result<usize, Box<dyn std::error::Error>> {
        let may = |number: usize| self.scenario.lies || possible.contains(&(number as u64));
        let place = (0..states.len()).rev().find(|&number| may(number) && states[number] == *found);
        place.ok_or_else(|| {
            let known = states.iter().position(|state| state == found);
            format!("state {known:?} was found, possible are {possible:?}").into()
        })
    }

    /// The check after a crash: what is found may be found, is sound, and goes on.
    fn check(&self, disk: &SimDisk, crash: &Crash) -> Checked {
        let mut states = self.states.borrow().clone();
        let mut possible = vec![0];
        let last = Mark::Acknowledged(states.len() as u64 - 1);
        if self.scenario.lied && !crash.marks().any(|mark| mark == last) {
            return Ok(());
        }
        for mark in crash.marks() {
            follow(&mut states, &mut possible, mark, &self.scenario.probe);
        }
        let db = open(disk)?;
        let found = self.find(&states, &dump(&db)?, &possible)?;
        check_pages(&db).map_err(|kill| kill.0)?;
        // The state that a probe makes, on top of the one found, is the next one.
        disk.mark(Mark::Note(found as u64));
        disk.started(PROBE);
        apply(&db, &self.scenario.probe)?;
        disk.acknowledged(PROBE);
        check_pages(&db).map_err(|kill| kill.0)?;
        drop(db);
        let wanted = apply_to(&states[found], &self.scenario.probe);
        if dump(&open(disk)?)? != wanted {
            return Err("a commit after recovery is lost".into());
        }
        Ok(())
    }
}

/// The states that may be found after these marks of a workload.
fn states_of(marks: impl Iterator<Item = Mark>) -> Vec<u64> {
    let (mut states, mut possible) = (Vec::new(), vec![0]);
    marks.for_each(|mark| follow(&mut states, &mut possible, mark, &[]));
    possible
}

/// Goes on over a mark: which states there are, and which may be found.
fn follow(states: &mut Vec<Contents>, possible: &mut Vec<u64>, mark: Mark, probe: &[Edit]) {
    match mark {
        Mark::Note(found) => *possible = vec![found],
        Mark::Started(PROBE) => {
            let found = usize::try_from(possible[0]).unwrap_or(usize::MAX);
            let next = apply_to(&states[found], probe);
            states.push(next);
            possible.push(states.len() as u64 - 1);
        }
        Mark::Acknowledged(PROBE) => *possible = vec![states.len() as u64 - 1],
        Mark::Started(step) => possible.push(step),
        Mark::Acknowledged(step) => *possible = vec![step],
    }
}
