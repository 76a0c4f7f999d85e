//! Operations on a simulated disk. The input's first bytes say what disk it is and where the power
//! fails, the front of the rest which operations run, the back what else the disk chooses: what
//! survives.
//!
//! What is asked after each crash: is what is found one of the states that may be found, is the
//! file sound, does the store go on? After each fault: is every deferred commit durable that a sync
//! does not tell of?

use super::input::Input;
use super::op::{bulks, tune, workload};
use btree_store::sim::oracle::{Data, End, Ending, Exec, Handle, Op, Oracle, Step, Write, compare};
use btree_store::sim::{
    Bytes, Checked, Choice, Choose, Crash, CrashPoints, DataSync, Errno, Explorer, Failure, Fault,
    Growth, Mark, OpKind, OpSet, Profile, Seeded, SimDisk, SyncFailure, Verdict, When,
};
use btree_store::{BTree, Barriers, Error, Options};
use std::cell::RefCell;

const PATH: &str = "store";
/// Operations of one input at most.
const OPS_MAX: usize = 40;
/// Bytes before those that say which operations run.
const HEAD: usize = 10;

/// What the first bytes say.
struct Setting {
    profile: Profile,
    page_size: u32,
    cache_bytes: u64,
    barriers: Barriers,
    nested: u32,
    at: CrashPoints,
    /// Stands for the crash point, each as likely as the others however many there are.
    point: u16,
}

/// What the disk chooses. Each of a hundred crash points is a question; if they were asked of the
/// bytes, none would be left to say what survives.
struct Choices {
    points: Seeded,
    rest: Bytes,
}

impl Choose for Choices {
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32 {
        match what {
            Choice::CrashPoint => self.points.below(alternatives),
            what => self.rest.choose(alternatives, what),
        }
    }
}

impl Setting {
    fn read(input: &mut Input<'_>) -> Setting {
        let page_size = input.pick(&[512, 512, 512, 4096]);
        let profile = Profile {
            sector_bytes: input.pick(&[512, 64, 4096, 256]),
            growth: input.pick(&[Growth::Zeros, Growth::Stale]),
            data_sync: input.pick(&[DataSync::KeepsSize, DataSync::LosesSize]),
            ..Profile::default()
        };
        Setting {
            profile,
            page_size,
            cache_bytes: input.pick(&[1 << 20, 0, 4 * 512]),
            barriers: input.pick(&[Barriers::One, Barriers::One, Barriers::Two]),
            nested: input.pick(&[0, 1, 2, 0]),
            at: input.pick(&[CrashPoints::Fences, CrashPoints::EveryOperation]),
            point: u16::from_le_bytes([input.byte(), input.byte()]),
        }
    }

    fn options(&self, disk: &SimDisk) -> Options {
        let options = Options::new().page_size(self.page_size).barriers(self.barriers);
        options.cache_bytes(self.cache_bytes).vfs(disk.vfs())
    }
}

/// What may be found from some moment on: the oracle of each state, the newest last.
type Possible = Vec<Oracle>;

/// One input: its setting, its operations, and what may be found after each mark.
struct Trial<'a> {
    setting: Setting,
    ops: &'a [u8],
    /// The whole input, whose first byte says more than the setting.
    data: &'a [u8],
    possible: RefCell<Vec<Possible>>,
}

pub fn run(data: &[u8]) {
    let setting = Setting::read(&mut Input::new(data));
    let ops = data.get(HEAD..).unwrap_or_default();
    let back: Vec<u8> = ops.iter().rev().copied().collect();
    let points = Seeded::new(u64::from(setting.point));
    let choices = Choices { points, rest: Bytes::new(&back) };
    let explorer = Explorer::new("fuzz")
        .profile(setting.profile)
        .nested(setting.nested)
        .crash_points(setting.at);
    let trial = Trial { setting, ops, data, possible: RefCell::default() };
    let report =
        explorer.sample(choices, |disk| trial.run(disk), |disk, crash| trial.check(disk, crash));
    assert!(report.verdict != Verdict::Violated, "{report}");
}

/// An oracle without the past, and the same for a state of the past.
fn state_of(oracle: &Oracle, seq: u64) -> Option<Oracle> {
    let mut state = oracle.clone();
    if seq != state.seq() && !state.recover(seq) {
        return None;
    }
    state.forget_before(seq);
    Some(state)
}

/// The same for what is not durable: it may have become so.
fn flushed(oracle: &Oracle) -> Option<Oracle> {
    let mut flushed = oracle.clone();
    flushed.follow(oracle.seq() + 1);
    oracle.has_deferred().then_some(flushed)
}

/// The states from `first` on, without their past; the last one is what may become durable yet.
fn states(oracle: &Oracle, first: u64) -> Possible {
    let newest = flushed(oracle);
    let newest = newest.as_ref().unwrap_or(oracle);
    (first..=newest.seq()).filter_map(|seq| state_of(newest, seq)).collect()
}

fn put(bucket: &str, key: &str) -> Op {
    let write = Write::Put(key.into(), Data::from([b'!'; 40]));
    Op::Exec(Exec { bucket: bucket.to_owned(), steps: vec![Step::Write(write)], end: End::Commit })
}

/// The store at work, and what it must hold.
struct World<'a> {
    disk: &'a SimDisk,
    /// None while the process ends and another starts.
    store: Option<Handle>,
    oracle: Oracle,
    /// A fault may strike.
    is_armed: bool,
}

impl World<'_> {
    fn store(&mut self) -> &mut Handle {
        self.store.as_mut().expect("a process runs")
    }

    /// The oracle takes over the store's number.
    fn follow(&mut self) {
        let seq = self.store().db().current_seq();
        self.oracle.follow(seq);
    }
}

impl Trial<'_> {
    /// From here on, one of these states may be found.
    fn mark(&self, disk: &SimDisk, states: Possible) {
        let mut possible = self.possible.borrow_mut();
        disk.mark(Mark::Note(possible.len() as u64));
        possible.push(states);
    }

    fn possible(&self, crash: &Crash) -> Possible {
        let latest = crash.marks().last();
        let Some(Mark::Note(number)) = latest else {
            return vec![Oracle::new(self.setting.page_size)];
        };
        self.possible.borrow()[usize::try_from(number).expect("it was an index")].clone()
    }

    fn run(&self, disk: &SimDisk) -> Checked {
        self.possible.borrow_mut().clear();
        let store = Handle::open(self.setting.options(disk), PATH)?;
        let oracle = Oracle::new(self.setting.page_size);
        let mut world = World { disk, store: Some(store), oracle, is_armed: false };
        let mut input = Input::new(self.ops);
        let mut workload = workload(&mut input, self.setting.page_size);
        tune(&mut workload, self.data);
        let bulk = bulks(self.data);
        for _ in 0..OPS_MAX {
            if input.is_empty() {
                break;
            }
            let kind = input.below(16);
            match kind {
                0 if !world.is_armed => {
                    disk.inject(fault(&mut input));
                    world.is_armed = true;
                }
                1 if !world.is_armed => self.restart(&mut world, &mut input)?,
                // With faults about, simple operations: before or after, and nothing between.
                _ if kind > 10 || world.is_armed => {
                    let op = bulk(&mut input, self.setting.page_size);
                    self.step(&mut world, &op, &mut input)?;
                }
                _ => {
                    let op = workload.op(&mut input);
                    self.step(&mut world, &op, &mut input)?;
                }
            }
        }
        disk.clear_faults();
        Ok(())
    }

    /// Does an operation, and compares what it answers.
    fn step(&self, world: &mut World<'_>, op: &Op, input: &mut Input<'_>) -> Checked {
        let before = world.oracle.clone();
        let wanted = world.oracle.apply(op);
        let (first, last) = (before.seq(), world.oracle.seq());
        let mut possible = states(&before, first);
        possible.extend(states(&world.oracle, first + 1));
        self.mark(world.disk, possible);
        let found = world.store().run(op);
        // Whoever answers otherwise says why.
        if world.disk.has_fault_struck() && found.blames_storage(&wanted) {
            return self.after_trouble(world, before, op, input);
        }
        if found != wanted {
            return Err(format!("{op:?}\nanswers {found:?}\nnot {wanted:?}").into());
        }
        let seq = world.store().db().current_seq();
        let flushes = seq == last + 1 && world.oracle.has_just_deferred();
        if seq < last || (seq > last && !flushes && !format!("{op:?}").contains("Compact(")) {
            return Err(format!("{op:?}\nleads to state {seq}, not {last}").into());
        }
        world.oracle.follow(seq);
        self.mark(world.disk, states(&world.oracle, seq));
        Ok(())
    }

    /// An operation failed since the disk did: the state is the one before it or after it. The
    /// store goes on, or says that it does not; a new process finds one of the two.
    fn after_trouble(
        &self,
        world: &mut World<'_>,
        before: Oracle,
        op: &Op,
        input: &mut Input<'_>,
    ) -> Checked {
        world.disk.clear_faults();
        world.is_armed = false;
        let (had_deferred, base) = (before.has_deferred(), before.seq());
        let after = world.oracle.clone();
        let durable = [&before, &after].map(flushed);
        let mut possible = vec![before, after];
        possible.extend(durable.into_iter().flatten());
        find(world.store().db(), &possible)?;
        let told = world.store().db().commit();
        let again = if told.is_ok() { told } else { world.store().db().commit() };
        // Whoever syncs and fails has told of the loss.
        let is_told = matches!(op, Op::Sync | Op::Commit | Op::Compact(_));
        match told {
            Ok(()) if had_deferred && !is_told => possible.retain(|state| state.seq() > base),
            Err(Error::Poisoned) if had_deferred && !is_told => {
                return Err("of a loss, commit answers that the store is poisoned".into());
            }
            Err(error) if !had_deferred && told != again => {
                return Err(format!("after trouble, commit answers {error:?}").into());
            }
            Err(_) if again.is_ok() => possible.retain(|state| state.seq() == base),
            _ => {}
        }
        possible.iter_mut().for_each(Oracle::lose_deferred);
        match again {
            Ok(()) if input.below(2) == 0 => {
                world.oracle = find(world.store().db(), &possible)?;
                world.follow();
                Ok(())
            }
            Ok(()) | Err(Error::Poisoned) => self.reopen(world, [&possible, &possible], input),
            Err(error) => Err(format!("after trouble, commit answers {error:?}").into()),
        }
    }

    /// Ends the process and starts another, without a crash.
    fn restart(&self, world: &mut World<'_>, input: &mut Input<'_>) -> Checked {
        let closed = vec![flushed(&world.oracle).unwrap_or_else(|| world.oracle.clone())];
        let killed = if world.oracle.has_deferred() {
            states(&world.oracle, world.oracle.seq())
        } else {
            closed.clone()
        };
        self.reopen(world, [&killed, &closed], input)
    }

    /// The same; what may be found if the process is killed, and if it closes the store.
    fn reopen(
        &self,
        world: &mut World<'_>,
        [killed, closed]: [&Possible; 2],
        input: &mut Input<'_>,
    ) -> Checked {
        let is_killed = input.below(2) == 0;
        if is_killed {
            // The process is killed; what it does when it ends does not reach the disk.
            world.disk.kill();
        }
        let possible = if is_killed { killed } else { closed };
        world.store = None;
        world.disk.kill();
        if input.below(2) == 1 {
            world.disk.evict_some();
        }
        world.store = Some(Handle::open(self.setting.options(world.disk), PATH)?);
        world.oracle = find(world.store().db(), possible)?;
        world.follow();
        // The cursors of the old process are gone.
        world.oracle.apply(&Op::Reopen);
        let seq = world.oracle.seq();
        self.mark(world.disk, state_of(&world.oracle, seq).into_iter().collect());
        check_sound(world.store().db())
    }

    /// What must hold after a crash.
    fn check(&self, disk: &SimDisk, crash: &Crash) -> Checked {
        let mut possible = self.possible(crash);
        if crash.depth() == 1 && disk.file_len(PATH).is_some_and(|len| len > 0) {
            possible = vec![self.check_read_only(disk, &possible)?];
        }
        if disk.choose(8) == 7 {
            possible = self.fail_to_recover(disk, possible)?;
        }
        let db = self.setting.options(disk).open(PATH)?;
        let mut oracle = find(&db, &possible)?;
        oracle.follow(db.current_seq());
        self.mark(disk, vec![oracle.clone()]);
        check_sound(&db)?;
        let before = oracle.clone();
        let probe = put("probes", &format!("probe {}", crash.depth()));
        oracle.apply(&probe);
        self.mark(disk, vec![before, oracle.clone()]);
        drop(db);
        let mut store = Handle::open(self.setting.options(disk), PATH)?;
        let reply = store.run(&probe);
        if reply.end != Ending::Done {
            return Err(format!("the probe answers {reply:?}").into());
        }
        self.mark(disk, vec![oracle.clone()]);
        if disk.choose(4) == 3 {
            store.db().compact(0)?;
        }
        drop(store);
        let db = self.setting.options(disk).open(PATH)?;
        compare(&db, oracle.now())?;
        check_sound(&db)
    }

    /// A recovery that meets a fault, and a process that ends; without a reboot. What may be found
    /// then.
    fn fail_to_recover(&self, disk: &SimDisk, possible: Possible) -> Result<Possible, String> {
        let (ops, failure) = match disk.choose(4) {
            0 => (OpSet::SYNCS, Failure::Sync(SyncFailure::Drop)),
            1 => (OpSet::SYNCS, Failure::Sync(SyncFailure::Keep)),
            2 => (OpSet::SYNCS, Failure::Sync(SyncFailure::Revert)),
            _ => (OpSet::WRITES, Failure::Error(Errno::Eio)),
        };
        disk.inject(Fault::new(ops, When::From(u64::from(disk.choose(6))), failure));
        let left = match self.setting.options(disk).open(PATH) {
            Ok(db) => vec![find(&db, &possible)?],
            Err(Error::IoError | Error::NoSpace | Error::Poisoned) if disk.has_fault_struck() => {
                possible
            }
            Err(error) => return Err(format!("a recovery that meets {failure:?} says {error:?}")),
        };
        disk.clear_faults();
        disk.kill();
        disk.evict_some();
        Ok(left)
    }

    /// A reader that may not write finds a state that may be found, and writes nothing.
    fn check_read_only(
        &self,
        disk: &SimDisk,
        possible: &Possible,
    ) -> Result<Oracle, Box<dyn std::error::Error>> {
        let files = [OpKind::Write, OpKind::SetLen, OpKind::SyncData, OpKind::SyncAll];
        let names = [OpKind::Rename, OpKind::Remove, OpKind::SyncDir];
        let changes = || files.into_iter().chain(names);
        let written = || changes().map(|kind| disk.count(kind)).sum::<u64>();
        let names = || disk.names().len();
        let before = (written(), names());
        let db = self.setting.options(disk).read_only().open(PATH)?;
        let found = find(&db, possible)?;
        drop(db);
        if (written(), names()) == before {
            Ok(found)
        } else {
            Err("a read-only open wrote".into())
        }
    }
}

/// The state that a store is in, the newest of those that fit: the number tells states of the
/// same contents apart. A store that compacts is ahead of the oracle, and none is behind it.
fn find(db: &BTree, possible: &[Oracle]) -> Result<Oracle, String> {
    let seq = db.current_seq();
    let mut differences = Vec::new();
    for oracle in possible.iter().rev().filter(|oracle| oracle.seq() <= seq) {
        match compare(db, &oracle.durable()) {
            Ok(()) => return Ok(oracle.clone()),
            Err(difference) => differences.push(format!("{}: {difference}", oracle.seq())),
        }
    }
    Err(format!("state {seq} is none that may be found: {}", differences.join("; ")))
}

fn check_sound(db: &BTree) -> Checked {
    let report = db.verify()?;
    if !report.is_sound() {
        return Err(report.to_string().into());
    }
    let (stats, state) = (db.stats()?, &report.states[0]);
    let said = (stats.seq, stats.page_count, stats.free_pages + stats.pending_pages);
    if said == (state.txn, state.page_count, state.free + state.pending) {
        return Ok(());
    }
    Err(format!("the store says {said:?}, its file {state:?}").into())
}

/// A fault that strikes once, or from some operation on.
fn fault(input: &mut Input<'_>) -> Fault {
    let at = input.below(24) as u64;
    let lasts = input.once_in(3);
    let ops = input.pick(&[OpSet::WRITES, OpSet::SYNCS, OpSet::ALL, OpSet::READS]);
    let failure = input.pick(&[
        Failure::Error(Errno::Eio),
        Failure::Error(Errno::Enospc),
        Failure::Sync(SyncFailure::Drop),
        Failure::Sync(SyncFailure::Keep),
        Failure::Sync(SyncFailure::Revert),
        Failure::Sync(SyncFailure::NoSpace),
        Failure::Short(200),
        Failure::Error(Errno::Eintr),
    ]);
    // What is interrupted is tried again: if it were for ever, it would be for ever.
    let lasts = lasts && failure != Failure::Error(Errno::Eintr);
    let when = if lasts { When::From(at) } else { When::Once(at) };
    Fault::new(ops, when, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_points_leave_the_bytes_to_what_survives() {
        for point in 0..50 {
            let mut choices = Choices { points: Seeded::new(point), rest: Bytes::new(&[3]) };
            let kept = (1..40).filter(|place| choices.choose(place + 1, Choice::CrashPoint) == 0);
            assert!((0..40).contains(&kept.count()));
            assert_eq!(choices.choose(4, Choice::Sector { file: 0, sector: 0 }), 3);
        }
    }
}
