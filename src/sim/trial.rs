//! One workload of the certificate, on a disk: what it does, and what must hold after a crash.
//!
//! Owns: [`Trial`]: the states that the workload goes through, its run, and the check.
//! Must not know: how crashes are found, which workloads there are.
//! Keeps: what is found is compared with a model that shares nothing with the store.
//!
//! It attacks durable-before-ok and commit-atomic (P1, P2: what is found is a state between the
//! last acknowledged and the last started commit, read in both directions), valid-meta-whole and
//! page-owned-once (P4, P5: every state in a slot is sound, and every page has one owner),
//! meta-lists-pages, slots-alternate, no-reuse-while-reachable and committed-pages-immutable (P13:
//! each write is checked as it happens), snapshot-stable (P12), failed-sync-poisons.

mod faulty;

use super::audit::Medium;
use super::crash::{Checked, Crash};
use super::disk::SimDisk;
use super::dump::{Dump, Ways, probe, probed};
use super::guard::{Guard, Watched};
use super::points::Mark;
use super::process::{Process, Settling, is_change};
use super::promise::{PROBES, Promise, State, possible};
use super::trace::OpKind;
use super::workloads::{
    BUCKET, Buckets, Edit, Initial, Sizes, Step, apply, commit, commit_as, commit_owned,
};
use crate::sync::Arc;
use crate::vfs::Vfs;
use crate::{BTree, Barriers, Durability, Error, Options, Result};
use std::path::Path;

/// The file of every trial.
pub(super) const PATH: &str = "store";

/// Enough for all of a trial; a larger cache takes longer to set up, thousands of times a second.
const CACHE_PAGES: u64 = 64;

/// What was looked for, or what is wrong.
type Looked<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is written after a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A probe.
    Probe,
    /// The last step once more, if it is lost, and a probe along with it: some pages are then what
    /// they were in the commit that was lost, and others are not.
    Retry,
}

/// What a store has done last. Of the pages that a commit gives up, and of those that it found to
/// wait, none is free before the next one; right after an open just the last commit's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Open,
    Commit,
}

/// One workload.
pub(super) struct Trial {
    page_size: u32,
    barriers: Barriers,
    durability: Durability,
    promise: Promise,
    steps: Vec<(Step, Vec<Edit>)>,
    /// What the store may be found to hold, by step and probes.
    dumps: Vec<Vec<Dump>>,
    /// The disk as the store sees it.
    vfs: fn(&SimDisk) -> Arc<dyn Vfs>,
}

impl Trial {
    pub(super) fn new(
        initial: Initial,
        steps: &[Step],
        page_size: u32,
        barriers: Barriers,
    ) -> Trial {
        let sizes = sizes(page_size);
        let mut buckets = Buckets::new();
        if initial != Initial::Empty {
            buckets.insert(BUCKET.to_owned(), initial.contents(sizes));
        }
        let mut dumps = vec![probed(&buckets)];
        let mut planned = Vec::new();
        for &step in steps {
            let edits = step.edits(&buckets, sizes);
            if step != Step::Compact {
                apply(&mut buckets, &edits);
            }
            dumps.push(probed(&buckets));
            planned.push((step, edits));
        }
        let (durability, promise) = (Durability::Durable, Promise::Durable);
        let vfs = SimDisk::vfs;
        Trial { page_size, barriers, durability, promise, steps: planned, dumps, vfs }
    }

    /// The same workload, whose transactions are committed in this way.
    pub(super) fn with_durability(self, durability: Durability) -> Trial {
        Trial { durability, ..self }
    }

    /// The same workload, of which less is asked.
    pub(super) fn with_promise(self, promise: Promise) -> Trial {
        Trial { promise, ..self }
    }

    fn open(&self, disk: &SimDisk) -> Result<BTree> {
        self.options(disk).open(PATH)
    }

    fn options(&self, disk: &SimDisk) -> Options {
        Options::new()
            .page_size(self.page_size)
            .cache_bytes(CACHE_PAGES * u64::from(self.page_size))
            .barriers(self.barriers)
            .vfs((self.vfs)(disk))
    }

    /// Opens the store, and chooses how what is deferred becomes durable.
    fn begin(&self, disk: &SimDisk) -> Result<Process> {
        let db = self.open(disk)?;
        if self.durability == Durability::Durable {
            return Ok(Process::new(db));
        }
        // A compaction makes everything durable before it begins.
        let is_settled = self.steps.last().is_some_and(|(step, _)| *step == Step::Compact);
        let settling =
            if is_settled { Settling::Commit } else { Settling::chosen(disk, self.steps.len()) };
        Ok(Process::deferring(db, settling))
    }

    /// Runs the workload; crash points count from its last step on.
    pub(super) fn run(&self, disk: &SimDisk) -> Checked {
        let mut process = self.begin(disk)?;
        for number in 1..=self.steps.len() {
            if number == self.steps.len() && number > 1 {
                disk.forget_crash_points();
            }
            self.step(disk, &mut process, number)?;
            if self.durability == Durability::Deferred {
                self.check_shown(&process)?;
            }
        }
        process.check_readers()?;
        self.close(disk, process);
        Ok(())
    }

    /// Ends the process. What waited for nothing else is durable then, if nothing failed.
    fn close(&self, disk: &SimDisk, process: Process) {
        let (settling, is_done) = (process.settling, process.committed == self.steps.len());
        drop(process);
        if settling == Settling::Close && is_done && !disk.has_failed() {
            disk.acknowledged(self.steps.len() as u64);
        }
    }

    /// Runs one step, from 1. A reader that it opens is left with the state that it reads.
    fn step(&self, disk: &SimDisk, process: &mut Process, number: usize) -> Result<()> {
        let (step, edits) = &self.steps[number - 1];
        let before = self.dumps[process.durable][0];
        if *step == Step::UnderReader && before.exists {
            process.readers.push((process.db.view(BUCKET, |txn| Ok(txn.iter()))?, before));
        }
        let is_last = number == self.steps.len();
        let waits = is_last && process.settling == Settling::Commit;
        let durability = if waits { Durability::Durable } else { self.durability };
        disk.started(number as u64);
        match step {
            Step::Compact => drop(process.db.compact(0)?),
            Step::FillOwned => commit_owned(&process.db, edits)?,
            _ => commit_as(&process.db, edits, durability)?,
        }
        process.committed = number;
        process.is_waiting |= is_change(self.dumps[number - 1][0], self.dumps[number][0], edits)
            && durability == Durability::Deferred;
        if is_last && process.settling == Settling::Sync {
            process.db.sync().inspect_err(|_| process.is_told = true)?;
        } else if durability == Durability::Deferred && *step != Step::Compact {
            return Ok(());
        }
        disk.acknowledged(number as u64);
        (process.durable, process.is_waiting) = (number, false);
        Ok(())
    }

    /// Readers see what is durable, and nothing of what is not.
    fn check_shown(&self, process: &Process) -> std::result::Result<(), String> {
        let durable = process.durable;
        match Dump::of_store(&process.db, Ways::Both) {
            Ok(found) if found == self.dumps[durable][0] => Ok(()),
            found => Err(format!("durable is step {durable}, readers see {found:?}")),
        }
    }

    /// Runs the workload; every write of it, and of the checks that follow, is guarded.
    pub(super) fn run_guarded(&self, disk: &SimDisk) -> Checked {
        self.guard(disk);
        self.run(disk)
    }

    fn guard(&self, disk: &SimDisk) {
        if self.promise == Promise::Durable {
            let mut machine = disk.machine();
            let path = machine.paths.id(Path::new(PATH));
            let page_size = super::index(self.page_size);
            machine.guard = Some(Guard::new(Watched::Path(path), page_size));
        }
    }

    /// A disk that loses what it promised to keep may leave no state; it is noticed: `None`.
    fn noticed<T>(&self, looked: Looked<T>) -> Looked<Option<T>> {
        match looked {
            Err(error)
                if matches!(self.promise, Promise::Whole | Promise::LastMayBreak)
                    && error.downcast_ref::<Error>() == Some(&Error::Corruption) =>
            {
                Ok(None)
            }
            looked => looked.map(Some),
        }
    }

    /// What may be found after the marks so far.
    fn left(&self, disk: &SimDisk, crash: &Crash) -> Vec<State> {
        self.possible(crash.marks().chain(disk.marks()))
    }

    /// The check after a crash.
    pub(super) fn check(&self, disk: &SimDisk, crash: &Crash) -> Checked {
        let possible = self.possible(crash.marks());
        let Some(seen) = self.noticed(self.check_read_only(disk, &possible))? else {
            return Ok(());
        };
        // What is on the medium is what every further recovery finds, also one that follows on a
        // crash of this one.
        disk.mark(seen.is_found());
        self.recover(disk, &[seen], crash.depth(), Next::Probe)
    }

    /// Opens the store and checks all that must hold, then goes on with it. What follows on a crash
    /// was read in ascending order before, by a reader that may not write.
    fn recover(&self, disk: &SimDisk, possible: &[State], crashes: usize, next: Next) -> Checked {
        let opened = self.open(disk).map_err(Into::into);
        let opened = opened.and_then(|db| {
            let state = self.find(&db, Ways::Descending, possible)?;
            Ok((db, state))
        });
        let Some((db, state)) = self.noticed(opened)? else { return Ok(()) };
        disk.mark(state.is_found());
        self.check_pages(disk, &db, Since::Open)?;
        let (edits, after) = self.next(state, crashes, next);
        disk.mark(after.has_begun());
        commit(&db, &edits)?;
        disk.mark(after.is_found());
        self.check_pages(disk, &db, Since::Commit)?;
        drop(db);
        self.find(&self.open(disk)?, Ways::Both, &[after])?;
        Ok(())
    }

    /// What is written after a recovery, and the state that this leads to.
    fn next(&self, state: State, crashes: usize, next: Next) -> (Vec<Edit>, State) {
        let place = crashes.min(PROBES - 1);
        let mut after = State { probes: state.probes | 1 << place, ..state };
        let mut edits = Vec::new();
        let last = self.steps.len();
        let is_lost = state == State::of_step(last as u64 - 1);
        if next == Next::Retry && is_lost {
            edits.clone_from(&self.steps[last - 1].1);
            after.step = last as u64;
        }
        edits.push(probe(place));
        (edits, after)
    }

    /// A reader that may not write finds a state, and writes nothing.
    fn check_read_only(&self, disk: &SimDisk, possible: &[State]) -> Looked<State> {
        let made = || disk.machine().state.files.len();
        let before = made();
        let opened = self.options(disk).read_only().open(PATH).map_err(Into::into);
        let state = opened.and_then(|db| self.find(&db, Ways::Ascending, possible));
        if made() > before {
            return Err("a read-only open made a file".into());
        }
        let files = [OpKind::Write, OpKind::SetLen, OpKind::SyncData, OpKind::SyncAll];
        let names = [OpKind::Rename, OpKind::Remove, OpKind::SyncDir];
        let changes = files.into_iter().chain(names);
        let written: u64 = changes.map(|kind| disk.count(kind)).sum();
        if written == 0 { state } else { Err("a read-only open wrote".into()) }
    }

    /// The state that a store is in, read in these directions.
    fn find(&self, db: &BTree, ways: Ways, possible: &[State]) -> Looked<State> {
        let found = Dump::of_store(db, ways)?;
        let is_it = |state: &&State| {
            let dumps = self.dumps.get(usize::try_from(state.step).unwrap_or(usize::MAX));
            let dump = dumps.and_then(|dumps| dumps.get(usize::try_from(state.probes).ok()?));
            dump.is_some_and(|dump| dump.seen(ways) == found)
        };
        let state = possible.iter().rev().find(is_it).copied();
        Ok(state.ok_or_else(|| match self.any_state(found, ways) {
            Some(state) => format!("found {state:?}, possible are {possible:?}"),
            None => format!("found {found:?}, which is no state at all"),
        })?)
    }

    fn any_state(&self, found: Dump, ways: Ways) -> Option<State> {
        let all = self.dumps.iter().zip(0..);
        all.flat_map(|(dumps, step)| dumps.iter().zip(0..).map(move |(dump, p)| (dump, step, p)))
            .find(|(dump, _, _)| dump.seen(ways) == found)
            .map(|(_, step, probes)| State { step, probes })
    }

    /// Every state in a slot is sound, by the audit and by the walk; every page has one owner,
    /// and the store counts them as the file does.
    fn check_pages(&self, disk: &SimDisk, db: &BTree, since: Since) -> Checked {
        if self.promise == Promise::Whole {
            return Ok(());
        }
        let look = {
            let mut machine = disk.machine();
            let path = machine.paths.id(Path::new(PATH));
            let file = machine.find_file(path).ok_or("the store is missing")?;
            machine.look(file, super::index(self.page_size))
        };
        // Where a sync lied, the state before the accepted one may be gone.
        let trouble = match self.promise {
            Promise::Durable | Promise::Whole => &look.trouble,
            Promise::LastMayBeLost | Promise::LastMayBreak => &look.newest_trouble,
        };
        if let Some(trouble) = trouble {
            return Err(trouble.as_str().into());
        }
        // Where a sync lied before the file was cut, an older state may have lost its end.
        if look.refused > 0 && self.promise == Promise::Durable {
            return Err("recovery left a slot that does not count".into());
        }
        let newest = look.newest().ok_or("no slot holds a state")?;
        let stats = db.stats()?;
        let said = (stats.seq, stats.page_count, stats.free_pages + stats.pending_pages);
        let found = (newest.txn, newest.page_count, u64::from(newest.unused));
        if said != found {
            let told =
                format!("state, pages and unused pages are {said:?}, the file has {found:?}");
            return Err(told.into());
        }
        let (said, found) = (Some(stats.free_pages), look.free);
        let is_right = if since == Since::Open { said == found } else { said <= found };
        if is_right || self.promise != Promise::Durable {
            return Ok(());
        }
        Err(format!("{said:?} pages are free since {since:?}, the file has {found:?}").into())
    }

    /// What may be found, after these marks.
    fn possible(&self, marks: impl Iterator<Item = Mark>) -> Vec<State> {
        possible(self.promise, self.oldest()..self.steps.len() as u64, marks)
    }

    /// The oldest state that a slot can hold when the last step begins, of those that commits of
    /// the workload have written, or found: each slot has one of the two newest.
    fn oldest(&self) -> u64 {
        if self.durability == Durability::Deferred {
            return 0;
        }
        let is_commit = |number: &usize| {
            let [before, after] = [number - 1, *number].map(|number| self.dumps[number][0]);
            is_change(before, after, &self.steps[number - 1].1)
        };
        let before = (1..=self.steps.len()).rev().filter(is_commit).nth(1);
        before.map_or(0, |number| number as u64 - 1)
    }
}

/// The file of a trial, as a process would read it.
pub(super) struct OnDisk<'a>(pub(super) &'a SimDisk);

impl Medium for OnDisk<'_> {
    fn len(&mut self) -> u64 {
        self.0.file_len(PATH).unwrap_or(0)
    }

    fn read(&mut self, buf: &mut [u8], offset: u64) {
        if !self.0.peek(PATH, buf, offset) {
            buf.fill(0);
        }
    }
}

pub(super) fn sizes(page_size: u32) -> Sizes {
    Sizes { page: super::index(page_size) }
}

#[cfg(test)]
mod tests;
