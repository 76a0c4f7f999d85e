//! A session of a campaign: transactions on one disk, beside a model.
//!
//! Owns: [`Session`], its run, and what must hold after each of its transactions.
//! Must not know: how many sessions there are.

use super::super::fault::{is_of_storage, tells_of_loss};
use super::super::minimise::minimise_within;
use super::super::oracle::{
    Data, End, Exec, Handle, KeyShape, Op, Oracle, Step, ValueShape, Workload, Write, compare,
    compare_snapshots,
};
use super::super::{
    DataSync, Errno, Failure, Fault, Growth, OpSet, Profile, Seeded, SimDisk, SyncFailure, When,
};
use super::aside::{Aside, Put, give_up, go_on};
use super::check::{Unused, check, check_opened, check_undisturbed};
use super::event::{Act, Counts, Event, Outage};
use super::kind::{Kind, one_of};
use super::left::Left;
use crate::{BTree, Barriers, Options};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const PATH: &str = "store";
/// Power failures in a row after the first, at most.
const NESTED_MAX: u32 = 3;
/// How syncs of a recovery fail.
const RECOVERY_FAILURES: [SyncFailure; 5] = [
    SyncFailure::Drop,
    SyncFailure::Keep,
    SyncFailure::Revert,
    SyncFailure::NoSpace,
    SyncFailure::Late,
];
/// Letters of an operation that are told.
const TOLD_MAX: usize = 600;

/// Transactions on one disk.
#[derive(Clone, Debug)]
pub(super) struct Session {
    kind: Kind,
    page_size: u32,
    barriers: Barriers,
    profile: Profile,
    acts: Vec<Act>,
}

impl Session {
    pub(super) fn new(seed: u64, kind: Kind, len: u64) -> Session {
        let mut random = Seeded::new(seed);
        let page_size = one_of(&mut random, &[512, 512, 4096]);
        let barriers = one_of(&mut random, &[Barriers::One, Barriers::Two]);
        let profile = Profile {
            sector_bytes: one_of(&mut random, &[512, 512, 64, 4096]),
            growth: one_of(&mut random, &[Growth::Zeros, Growth::Stale]),
            data_sync: one_of(&mut random, &[DataSync::KeepsSize, DataSync::LosesSize]),
            ..Profile::default()
        };
        let keys = one_of(&mut random, &[KeyShape::Mixed, KeyShape::Sequential, KeyShape::Longest]);
        let values = one_of(&mut random, &[ValueShape::Small, ValueShape::Mixed, ValueShape::Edge]);
        let mut workload = Workload::new(page_size, keys, values);
        workload.key_count = one_of(&mut random, &[10, 40, 150]);
        workload.bucket_count = 3;
        kind.tune(&mut workload, &mut random);
        let acts = (0..len).map(|_| {
            let op = workload.op(&mut random);
            let event = Event::random(&mut random, &op, kind);
            Act { op, event, seed: random.next_u64() }
        });
        Session { kind, page_size, barriers, profile, acts: acts.collect() }
    }

    fn open(&self, disk: &SimDisk) -> crate::Result<Handle> {
        let options = Options::new()
            .page_size(self.page_size)
            .barriers(self.barriers)
            .cache_bytes(u64::from(self.page_size) * self.kind.cache_pages())
            .vfs(disk.vfs());
        Handle::open(options, PATH)
    }

    /// Runs all of it; what is wrong, if anything is. A panic of the store is.
    pub(super) fn run(&self, counts: &mut Counts) -> Result<(), String> {
        let run = catch_unwind(AssertUnwindSafe(|| self.run_all(counts)));
        run.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a text")))
        })
    }

    /// The session with as few transactions as it still fails with.
    pub(super) fn smallest(&self) -> Session {
        let with = |acts: &[Act]| Session { acts: acts.to_vec(), ..self.clone() };
        let fails = |acts: &[Act]| with(acts).run(&mut Counts::default()).is_err();
        with(&minimise_within(100 * self.acts.len().max(100), &self.acts, fails))
    }

    /// Its transactions, and what happens to each.
    pub(super) fn story(&self) -> String {
        let mut story = format!("{:?}, {:?}", self.profile, self.barriers);
        for act in &self.acts {
            let op: String = format!("{:?}", act.op).chars().take(TOLD_MAX).collect();
            let (event, seed) = (act.event, act.seed);
            write!(story, "\n  {op}\n    {event:?}, seed {seed}").expect("text is taken");
        }
        story
    }

    fn run_all(&self, counts: &mut Counts) -> Result<(), String> {
        let disk = SimDisk::with_profile(self.profile);
        let store = self.open(&disk).map_err(|error| error.to_string())?;
        self.run_beside(&disk, store, Oracle::new(self.page_size), counts)
    }

    /// Runs its transactions on a store that holds what the oracle says.
    fn run_beside(
        &self,
        disk: &SimDisk,
        mut store: Handle,
        mut oracle: Oracle,
        counts: &mut Counts,
    ) -> Result<(), String> {
        for (number, act) in self.acts.iter().enumerate() {
            let told = |what: String| format!("transaction {number}: {what}");
            disk.guard(Path::new(PATH), self.page_size);
            if !disk.has_unsynced(Path::new(PATH)) {
                store.note_synced();
            }
            store = self.step(disk, store, &mut oracle, act, counts).map_err(told)?;
            disk.violation().map_or(Ok(()), Err).map_err(told)?;
            oracle.forget_before(oracle.seq());
        }
        let at_end = |what: String| format!("at the end: {what}");
        check(store.db(), &oracle).map_err(at_end)?;
        if self.kind.is_filling {
            store.look_back().map_err(|error| at_end(format!("a value is {error}")))?;
            give_up(&store, self.page_size).map_err(at_end)?;
        }
        Ok(())
    }

    /// Runs one transaction, and goes on from what is left of it.
    fn step(
        &self,
        disk: &SimDisk,
        mut store: Handle,
        oracle: &mut Oracle,
        act: &Act,
        counts: &mut Counts,
    ) -> Result<Handle, String> {
        counts.transactions += 1;
        let mut random = Seeded::new(act.seed);
        disk.choose_from(Seeded::new(random.next_u64()));
        let aside = self.set_aside(&store, act, &mut random)?;
        let unused = Unused::of(&store);
        Session::let_happen(disk, &mut store, act.event);
        let before = oracle.has_deferred().then(|| oracle.clone());
        let witness = self.witness(&store, &act.op);
        let low = oracle.seq();
        let found = store.run(&act.op);
        let wanted = oracle.apply(&act.op);
        // Whoever answers otherwise says why.
        let is_struck = disk.has_fault_struck();
        if found != wanted && !(is_struck && found.blames_storage(&wanted)) {
            return Err(format!("{:?} answers {found:?}, not {wanted:?}", act.op));
        }
        counts.deferred += u64::from(oracle.has_just_deferred());
        if act.event == Event::Nothing {
            check_undisturbed(&store, oracle, &act.op)?;
            unused.check(&store, &act.op, &found)?;
            let done = aside.map_or(Ok(()), |aside| aside.end(store.db(), oracle, &mut random));
            return done.map(|()| store);
        }
        let mut left = Left::behind(disk, act, (&found, &wanted), oracle, (before, low), counts);
        disk.clear_faults();
        let is_on = store.is_open() && !matches!(act.event, Event::PowerOff(_));
        if is_on {
            let of = |what: String| format!("{:?}, still open: {what}", act.event);
            let state = left.find(store.db(), oracle).map_err(of)?;
            let stays = compare_snapshots(&store, oracle);
            stays.map_err(|what| of(format!("a snapshot has changed: {what}")))?;
            if self.may_go_on(act, &left, &mut random) && store.db().sync().is_ok() {
                oracle.go_on_in(state);
                // One that was opened behind what failed sees what the model does not know, and one
                // of a transaction that met the fault goes on saying so.
                let opens = format!("{:?}", act.op).contains("Open {");
                if act.event.may_stop_cursors() || opens {
                    store.drop_cursors();
                    oracle.drop_cursors();
                }
                let taken_by = act.event.taker(&found.end);
                let put = (aside, Put { since: store.synced(), taken_by });
                go_on(&mut store, oracle, put, self.page_size, &mut random).map_err(of)?;
                if random.below(2) == 0 {
                    return Ok(store);
                }
                left = Left::at(disk, oracle.seq());
                return self.restart(store, oracle, left, act, &mut random, counts);
            }
        }
        // It would keep the store open.
        Aside::end_behind_trouble(aside.filter(|_| is_on && !left.is_lying))?;
        if let Some(witness) = witness
            && is_on
            && found != wanted
        {
            Session::hear_of_losses(&store, &witness, act, &mut left, counts)?;
        }
        self.restart(store, oracle, left, act, &mut random, counts)
    }

    /// Lets an event happen from now on.
    fn let_happen(disk: &SimDisk, store: &mut Handle, event: Event) {
        if event.may_lie() {
            disk.unguard();
        }
        event.inject(disk);
        store.expect_calm(event == Event::Nothing);
    }

    /// A transaction that is open meanwhile.
    fn set_aside(
        &self,
        store: &Handle,
        act: &Act,
        random: &mut Seeded,
    ) -> Result<Option<Aside>, String> {
        if !self.kind.sets_aside() || act.op == Op::Reopen || random.below(4) == 0 {
            return Ok(None);
        }
        let begun = Aside::begin(store.db(), self.page_size, random);
        begun.map(Some).map_err(|error| format!("nothing can be set aside: {error}"))
    }

    /// Whether the process goes on behind a fault, if the store does: of four times in three.
    fn may_go_on(&self, act: &Act, left: &Left<'_>, random: &mut Seeded) -> bool {
        let may = !self.kind.is_deferring && act.event.is_fault() && !left.is_lying;
        may && random.below(4) > 0
    }

    /// Another handle, which is told of losses too. It keeps the store open, and is dropped before
    /// the process ends.
    fn witness(&self, store: &Handle, op: &Op) -> Option<BTree> {
        let is_wanted = self.kind.is_deferring && *op != Op::Reopen;
        is_wanted.then(|| store.db().clone())
    }

    /// After an error a sync of each handle says whether deferred commits were lost. If one says
    /// that none was, they are durable.
    fn hear_of_losses(
        store: &Handle,
        witness: &BTree,
        act: &Act,
        left: &mut Left<'_>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let told = witness.sync();
        let of = |what: String| format!("{:?}: {what}", act.event);
        let is_lost = tells_of_loss(told).map_err(of)?;
        match &left.without {
            None if is_lost => {
                return Err(of(format!("a sync tells of {told:?}, lost is nothing")));
            }
            Some(without) if told.is_ok() => {
                compare(witness, &without.durable())
                    .map_err(|what| of(format!("a sync says that nothing is lost, but {what}")))?;
                left.low = if left.is_lying { left.low } else { without.seq() };
                left.at_close = left.low;
            }
            Some(_) if !is_lost => return Err(of("a loss is not told".to_owned())),
            None | Some(_) => {}
        }
        counts.losses += u64::from(is_lost);
        // An operation that is a sync has told it.
        let is_told = matches!(act.op, Op::Sync | Op::Commit);
        for (handle, is_to_tell) in [(store.db(), is_lost && !is_told), (witness, false)] {
            let told = handle.sync();
            if tells_of_loss(told).map_err(of)? != is_to_tell {
                return Err(of(format!("the next sync says {told:?}")));
            }
        }
        Ok(())
    }

    /// Ends the process, perhaps with a power failure, perhaps with more while it comes back.
    fn restart(
        &self,
        store: Handle,
        oracle: &mut Oracle,
        left: Left<'_>,
        act: &Act,
        random: &mut Seeded,
        counts: &mut Counts,
    ) -> Result<Handle, String> {
        let disk = left.disk;
        let seen = if store.is_open() { store.db().current_seq() } else { 0 };
        let power_fails = matches!(act.event, Event::PowerOff(_)) || random.below(2) == 0;
        // After a sync that lied, closing may cover the state before.
        let closes = !power_fails && random.below(2) == 0 && !left.is_lying;
        if closes {
            drop(store);
        } else {
            disk.kill();
            drop(store);
        }
        disk.kill();
        let mut shown = None;
        if power_fails {
            lose_power(disk, counts);
            for _ in 0..random.below(NESTED_MAX + 1) {
                let seq = self.fail_to_recover(disk, random, counts);
                shown = same_state(shown, seq?)?;
            }
        } else if random.below(3) == 0 {
            disk.evict_some();
        }
        let mut opened = self.open(disk);
        // A failure that is told late comes now, once.
        if left.is_lying && opened.as_ref().is_err_and(|error| is_of_storage(*error)) {
            disk.kill();
            opened = self.open(disk);
        }
        let opened = opened.map_err(|error| {
            let detail = error.detail().map_or_else(String::new, |detail| detail.to_string());
            format!("after {:?} the store does not open: {error}: {detail}", act.event)
        })?;
        same_state(shown, Some(opened.db().current_seq()))?;
        let left = Left { low: if closes { left.at_close } else { left.low }, ..left };
        *oracle = left
            .find(opened.db(), oracle)
            .map_err(|what| format!("after {:?} {what}", act.event))?;
        let found = oracle.seq();
        if found < seen && !left.is_lying {
            let event = act.event;
            return Err(format!("after {event:?} state {found} is found, readers saw {seen}"));
        }
        check_opened(opened.db()).map_err(|what| format!("after {:?}, {what}", act.event))?;
        if left.is_lying { self.hear_late(opened, oracle, &left) } else { Ok(opened) }
    }

    /// A recovery that meets another power failure, or a fault, and a process that ends. Returns
    /// the state that it shows all the same, if it comes to that.
    fn fail_to_recover(
        &self,
        disk: &SimDisk,
        random: &mut Seeded,
        counts: &mut Counts,
    ) -> Result<Option<u64>, String> {
        let mut place = Seeded::new(random.next_u64());
        let (ops, when, failure) = match random.below(4) {
            0 => {
                let how = one_of(random, &RECOVERY_FAILURES);
                // The next process finds a closed store behind a later one, and does not sync.
                let at = if how == SyncFailure::Late { 0 } else { place.below(3) };
                (OpSet::SYNCS, When::Once(u64::from(at)), Failure::Sync(how))
            }
            1 => {
                let when = When::From(u64::from(place.below(5)));
                (OpSet::WRITES, when, Failure::Error(Errno::Eio))
            }
            _ => {
                let outage = Outage::random(&mut place);
                (outage.calls.ops(), When::Once(outage.at), Failure::PowerOff)
            }
        };
        if failure == Failure::Sync(SyncFailure::Late) {
            disk.unguard();
        }
        disk.inject(Fault::new(ops, when, failure));
        let opened = self.open(disk);
        let has_struck = disk.has_fault_struck();
        if let Err(error) = &opened
            && !(has_struck && is_of_storage(*error))
        {
            return Err(format!("a recovery that meets {failure:?} {when:?} ends with {error}"));
        }
        let seq = opened.as_ref().ok().map(|opened| opened.db().current_seq());
        if failure == Failure::PowerOff {
            counts.nested += u64::from(has_struck);
            lose_power(disk, counts);
        } else {
            disk.clear_faults();
            disk.kill();
            if failure == Failure::Sync(SyncFailure::Late) && seq.is_some() {
                // The next process is told; until then nothing may be lost of the cache.
                let told = self.open(disk).map(|next| next.db().current_seq());
                match told {
                    Ok(next) => drop(same_state(seq, Some(next))?),
                    Err(error) if is_of_storage(error) => {}
                    Err(error) => return Err(format!("behind a sync that lied: {error}")),
                }
                disk.kill();
            } else {
                disk.evict_some();
            }
        }
        drop(opened);
        Ok(seq)
    }

    /// Goes on until whatever is still to be told late is told.
    fn hear_late(
        &self,
        opened: Handle,
        oracle: &mut Oracle,
        left: &Left<'_>,
    ) -> Result<Handle, String> {
        // Each time another entry: what changes nothing is not synced, and hears nothing.
        let key = Data::from(oracle.seq().to_be_bytes());
        let told = opened.db().exec("late", |txn| txn.put(key.bytes(), ""));
        match told {
            Err(error) if is_of_storage(error) => left.disk.kill(),
            told => told.map_err(|error| format!("a failure that is told late is {error}"))?,
        }
        drop(opened);
        let again = self.open(left.disk).map_err(|error| error.to_string())?;
        let bucket = "late".to_owned();
        let steps = vec![Step::Write(Write::Put(key, Data::from("")))];
        oracle.apply(&Op::Exec(Exec { bucket, steps, end: End::Commit }));
        // A sync that tells of nothing has made the entry durable.
        let low = if told.is_ok() { oracle.seq() } else { left.low };
        let seq = again.db().current_seq();
        if seq < low || !oracle.recover(seq) {
            return Err(format!("after a failure told late state {seq} is found"));
        }
        compare(again.db(), &oracle.durable()).map_err(|what| format!("told late: {what}"))?;
        Ok(again)
    }
}

/// The power fails; counted is whether more than one image may be left.
fn lose_power(disk: &SimDisk, counts: &mut Counts) {
    disk.crash();
    counts.all_power_failures += 1;
    counts.undecided += u64::from(disk.is_undecided());
}

/// What a recovery has shown, each further one finds: its number, if one has.
fn same_state(shown: Option<u64>, seq: Option<u64>) -> Result<Option<u64>, String> {
    match (shown, seq) {
        (Some(before), Some(seq)) if before != seq => {
            Err(format!("a recovery finds state {before}, the next one {seq}"))
        }
        _ => Ok(seq.or(shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Calls;
    use super::*;
    use crate::sim::Flush;
    use crate::sim::oracle::{Ending, Peek, Read, SnapshotAct, Source, SourceEnd, View};
    use crate::vfs::{OpenMode, Vfs};
    use crate::{Durability, Error};
    use std::ops::Bound;

    fn put(value: &str) -> Op {
        let steps = vec![Step::Write(Write::Put(Data::from("key"), Data::from(value)))];
        Op::Exec(Exec { bucket: "bucket".to_owned(), steps, end: End::Commit })
    }

    /// A store that was given one value, and a model that was given another: what comes later has
    /// the same answers and the same numbers in both.
    #[test]
    fn a_difference_is_found_after_each_transaction_and_at_the_end() {
        let act = Act { op: Op::Buckets, event: Event::Nothing, seed: 1 };
        for acts in [vec![], vec![act.clone(); 2]] {
            for (value, is_right) in [("right", true), ("wrong", false)] {
                let session = Session { acts: acts.clone(), ..Session::new(7, Kind::default(), 0) };
                let disk = SimDisk::with_profile(session.profile);
                let mut store = session.open(&disk).expect("it opens");
                assert_eq!(store.run(&put("right")).end, Ending::Done);
                let mut oracle = Oracle::new(session.page_size);
                oracle.apply(&put(value));
                let run = session.run_beside(&disk, store, oracle, &mut Counts::default());
                assert_eq!(run.is_ok(), is_right, "{value}: {run:?}");
                let named = run.err().is_none_or(|what| {
                    what.starts_with(if acts.is_empty() { "at the end" } else { "transaction 0" })
                });
                assert!(named);
            }
        }
    }

    /// The commit that fails behind a number of entries does not excuse it.
    #[test]
    fn a_count_is_compared_whatever_the_storage_says_behind_it() {
        let session = Session::new(7, Kind::default(), 0);
        let disk = SimDisk::with_profile(session.profile);
        let mut store = session.open(&disk).expect("it opens");
        assert_eq!(store.run(&put("value")).end, Ending::Done);
        let range = Write::DeleteRange(Bound::Unbounded, Bound::Unbounded);
        let steps = vec![Step::Write(range)];
        let op = Op::Exec(Exec { bucket: "bucket".to_owned(), steps, end: End::Commit });
        let lost = Failure::Sync(SyncFailure::Drop);
        let event = Event::Fault(Fault::new(OpSet::SYNCS, When::Once(0), lost));
        let session = Session { acts: vec![Act { op, event, seed: 1 }], ..session };
        let oracle = Oracle::new(session.page_size);
        let run = session.run_beside(&disk, store, oracle, &mut Counts::default());
        let what = run.expect_err("the model holds no entry");
        assert!(what.contains("Count(1)") && what.contains("Failed(IoError)"), "{what}");
    }

    #[test]
    fn what_a_recovery_has_shown_the_next_one_finds() {
        assert_eq!(same_state(None, Some(7)), Ok(Some(7)));
        assert_eq!(same_state(Some(7), None), Ok(Some(7)));
        assert_eq!(same_state(Some(7), Some(7)), Ok(Some(7)));
        same_state(Some(8), Some(7)).expect_err("another state");
    }

    /// What no commit has made durable is gone with a later one that fails.
    #[test]
    fn what_came_to_nothing_may_be_lost_later() {
        let source = Source { piece_max: u32::MAX, end: SourceEnd::There };
        let value = Data::from(vec![1; 10_000]);
        let write = Write::PutFrom { key: Data::from("key"), value, source };
        let end = End::Fail(Error::Invalid);
        let exec = Exec { bucket: "bucket".to_owned(), steps: vec![Step::Write(write)], end };
        let nothing = Act { op: Op::Exec(exec), event: Event::Nothing, seed: 0 };
        let lost = Failure::Sync(SyncFailure::Revert);
        let event = Event::Other(Fault::new(OpSet::WRITE_BACKS, When::Once(0), lost));
        for seed in 0..200 {
            let acts = vec![Act { seed, ..nothing.clone() }, Act { op: put("value"), event, seed }];
            let kind = Kind { is_filling: true, ..Kind::default() };
            let session = Session { acts, ..Session::new(7, kind, 0) };
            assert_eq!(session.run(&mut Counts::default()), Ok(()), "seed {seed}");
        }
    }

    fn deferred(mut op: Op) -> Op {
        let Op::Exec(exec) = &mut op else { unreachable!("a put is one") };
        exec.steps.insert(0, Step::Durability(Durability::Deferred));
        op
    }

    /// What was deferred is durable when a compaction has answered.
    #[test]
    fn what_a_compaction_has_made_durable_is_not_given_up() {
        let act = Act { op: Op::Compact(0), event: Event::Kill, seed: 1 };
        let session = Session { acts: vec![act], ..Session::new(7, Kind::default(), 0) };
        let disk = SimDisk::with_profile(session.profile);
        // The store was never given what the model holds as deferred.
        let store = session.open(&disk).expect("it opens");
        let mut oracle = Oracle::new(session.page_size);
        oracle.apply(&deferred(put("value")));
        let run = session.run_beside(&disk, store, oracle, &mut Counts::default());
        run.expect_err("a deferred commit is lost");
    }

    /// On a disk whose syncs do nothing, what a compaction made durable goes with the power.
    #[test]
    fn what_a_compaction_made_durable_is_asked_for() {
        let is_told = (0..400).any(|seed| {
            let profile = Profile { flush: Flush::Lying, ..Profile::default() };
            let acts = [
                Act { op: deferred(put("value")), event: Event::Nothing, seed },
                Act { op: Op::Compact(0), event: Event::Kill, seed },
            ];
            let session = Session {
                page_size: 512,
                barriers: Barriers::One,
                profile,
                acts: acts.to_vec(),
                ..Session::new(7, Kind { is_deferring: true, ..Kind::default() }, 0)
            };
            let disk = SimDisk::with_profile(session.profile);
            let store = session.open(&disk).expect("it opens");
            disk.settle();
            let run = session.run_beside(&disk, store, Oracle::new(512), &mut Counts::default());
            run.is_err_and(|what| what.contains("is none of"))
        });
        assert!(is_told);
    }

    /// What was deferred was flushed unasked, and readers saw it: it is not given up either.
    #[test]
    fn what_readers_have_seen_is_asked_for() {
        let session = Session::new(7, Kind::default(), 0);
        let disk = SimDisk::with_profile(session.profile);
        let mut store = session.open(&disk).expect("it opens");
        disk.settle();
        // The process that comes next finds the disk as it was before the put.
        let other = SimDisk::from_snapshot(&disk.snapshot());
        let mut oracle = Oracle::new(session.page_size);
        oracle.apply(&put("value"));
        assert_eq!(store.run(&put("value")).end, Ending::Done);
        let act = Act { op: put("value"), event: Event::Kill, seed: 1 };
        let left = Left::at(&other, 0);
        let (random, counts) = (&mut Seeded::new(1), &mut Counts::default());
        let restarted = session.restart(store, &mut oracle, left, &act, random, counts);
        restarted.map(drop).expect_err("readers saw a state that is gone");
    }

    #[test]
    fn what_was_put_behind_a_lie_is_asked_for() {
        let session = Session::new(7, Kind::default(), 0);
        let disk = SimDisk::with_profile(session.profile);
        drop(session.open(&disk).expect("it opens"));
        disk.settle();
        // The process that comes next finds the disk as it was before the put.
        let other = SimDisk::from_snapshot(&disk.snapshot());
        let opened = session.open(&disk).expect("it opens");
        let left = Left { is_lying: true, ..Left::at(&other, 0) };
        let mut oracle = Oracle::new(session.page_size);
        let heard = session.hear_late(opened, &mut oracle, &left);
        heard.map(drop).expect_err("the put is lost");
    }

    /// A store and a model that hold the same now, and of which a snapshot and a cursor that were
    /// made before see different states.
    fn with_different_pasts(session: &Session, disk: &SimDisk, act: &Op) -> (Handle, Oracle) {
        let mut store = session.open(disk).expect("it opens");
        let mut oracle = Oracle::new(session.page_size);
        for (of_store, of_oracle) in [("right", "wrong"), ("now", "now")] {
            assert_eq!(store.run(&put(of_store)).end, Ending::Done);
            oracle.apply(&put(of_oracle));
            if of_store != of_oracle {
                assert_eq!(store.run(act).end, Ending::Done);
                oracle.apply(act);
            }
        }
        (store, oracle)
    }

    /// What a session finds whose acts are all the same.
    fn found_beside(kept: &Op, op: &Op, event: Event, seeds: std::ops::Range<u64>) -> String {
        let acts = seeds.map(|seed| Act { op: op.clone(), event, seed });
        let session = Session { acts: acts.collect(), ..Session::new(7, Kind::default(), 0) };
        let disk = SimDisk::with_profile(session.profile);
        let (store, oracle) = with_different_pasts(&session, &disk, kept);
        let run = session.run_beside(&disk, store, oracle, &mut Counts::default());
        run.err().unwrap_or_default()
    }

    const TAKE: Op = Op::Snapshot { slot: 0, act: SnapshotAct::Take };

    #[test]
    fn a_snapshot_that_has_changed_is_found_behind_a_fault_and_without_one() {
        let lost = Failure::Sync(SyncFailure::Drop);
        let event = Event::Fault(Fault::new(OpSet::SYNCS, When::Once(0), lost));
        for (event, acts) in [(event, 0..1), (Event::Nothing, 0..4)] {
            let found = found_beside(&TAKE, &put("new"), event, acts);
            assert!(found.contains("a snapshot has changed"), "{event:?}: {found}");
        }
    }

    #[test]
    fn what_was_kept_is_compared_where_the_process_goes_on() {
        let full = Failure::Error(Errno::Enospc);
        let event = Event::Fault(Fault::new(OpSet::WRITES, When::From(0), full));
        let open = Peek::Read(Read::Open { slot: 0, from: None });
        let view = View { bucket: "bucket".to_owned(), steps: vec![open], end: End::Commit };
        // In one of four the process ends.
        let goes_on = |kept: &Op| {
            (0..8).any(|seed| {
                let found = found_beside(kept, &put("new"), event, seed..seed + 1);
                found.contains("what was kept has changed")
            })
        };
        assert!(goes_on(&Op::View(view)));
    }

    /// A write that no store makes is told, by whatever transaction is under way, but for one whose
    /// sync lies.
    #[test]
    fn a_write_that_breaks_a_rule_is_told() {
        let late = Failure::Sync(SyncFailure::Late);
        let late = Event::Fault(Fault::new(OpSet::SYNCS, When::Once(9), late));
        for (event, is_told) in [(Event::Nothing, true), (late, false)] {
            let acts = vec![Act { op: Op::Buckets, event, seed: 1 }];
            let session = Session { acts, ..Session::new(7, Kind::default(), 0) };
            let disk = SimDisk::with_profile(session.profile);
            let mut store = session.open(&disk).expect("it opens");
            let mut oracle = Oracle::new(session.page_size);
            assert_eq!(store.run(&put("value")).end, Ending::Done);
            oracle.apply(&put("value"));
            let run = session.run_beside(&disk, store, oracle, &mut Counts::default());
            assert_eq!(run, Ok(()));
            let file = disk.open(Path::new(PATH), OpenMode::ReadWrite).expect("it is there");
            let slots = vec![1; 2 * super::super::super::index(session.page_size)];
            file.write_at(&slots, 0).expect("it is written");
            assert_eq!(disk.violation().is_some(), is_told, "{event:?}");
        }
        // And the session ends with it.
        let disk = SimDisk::new();
        let acts = vec![Act { op: Op::Buckets, event: Event::Nothing, seed: 1 }];
        let session = Session { acts, ..Session::new(7, Kind::default(), 0) };
        let store = session.open(&disk).expect("it opens");
        disk.machine().violation = Some("a rule".to_owned());
        let oracle = Oracle::new(session.page_size);
        let run = session.run_beside(&disk, store, oracle, &mut Counts::default());
        assert_eq!(run, Err("transaction 0: a rule".to_owned()));
    }

    /// A list of buckets asks nothing of the disk: nothing can have failed inside of it.
    #[test]
    fn what_does_not_strike_is_not_counted() {
        let power = Event::PowerOff(Outage { calls: Calls::Any, at: 29 });
        let drop = Failure::Sync(SyncFailure::Drop);
        let sync = Event::Fault(Fault::new(OpSet::SYNCS, When::Once(1), drop));
        let acts = [power, sync].map(|event| Act { op: Op::Buckets, event, seed: 1 }).to_vec();
        let mut counts = Counts::default();
        let session = Session { acts, ..Session::new(7, Kind::default(), 0) };
        session.run(&mut counts).expect("nothing is wrong");
        assert_eq!((counts.power_failures, counts.failed_syncs), (0, [0; 5]));
        assert_eq!(counts.transactions, 2);
    }
}
