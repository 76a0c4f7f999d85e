//! The certificate: every workload of a family, crashed in every way.
//!
//! Owns: [`Certifier`], which runs workloads, and the list of what the certificate consists of.
//! Must not know: what a workload does.
//! Keeps: a workload that was not searched to its end is counted as unverified.
//!
//! The family: four initial states, and from each all sequences of one to three transactions of an
//! alphabet of twelve: 7,536 workloads. Each is crashed before every sync and at its end, in every
//! way in which sectors and the size can survive (the file and its name are durable; tests look at
//! how a store is made), and its recovery is crashed again; a
//! workload of one transaction once more. What happens before the last transaction is left to the
//! workload that ends there, which a part that is a sample mostly leaves out. Then each operation
//! of the last transaction fails, and in a sample of the workloads in more ways, and each of the
//! next open; the process starts again without a reboot, with any part of what a failed sync left
//! in the cache evicted; and the power fails before every sync behind the fault, and at the end; in
//! a smaller sample once more inside of the recovery behind that. Last, in a sample, the power
//! fails first, each change that the recovery makes to the file fails, the process starts again in
//! the same way, and the power fails once more.
//!
//! Two parts are of other families: 155 workloads each from the empty store, of five transactions.
//! In the one a leaf that is held where it lies loses entries and becomes the root, and owned
//! transactions put values from readers and load in bulk. In the other a transaction writes to
//! several buckets, whose records are a tree then, buckets go with their large values, and all go.
//!
//! In two parts the transactions are deferred. What was deferred is found as far as one of them,
//! and no less than what a sync, a durable commit, a compaction or a close has made durable; what
//! a fault took of it is told by the next sync of each handle.

mod certificate;
mod family;
mod runs;

use super::audit::Audit;
use super::crash::{Checked, Crash};
use super::disk::SimDisk;
use super::explore::Explorer;
use super::index;
use super::minimise::minimise;
use super::profile::{DataSync, Flush, Growth, Profile};
use super::promise::Promise;
use super::report::{Report, Verdict, Violation};
use super::state::Snapshot;
use super::trial::{OnDisk, PATH, Trial, sizes};
use super::workers::on_threads;
use super::workloads::{Edit, commit};
pub use super::workloads::{Initial, Step};
use crate::sync::{AtomicU64, Ordering};
use crate::{Barriers, Durability, Options, Result};
pub use certificate::{Certificate, Part, Row, rows_of};
pub use family::{FAMILY, Family, Workload};
use runs::{FAULTS, OPENING, RECOVERY, Run};

/// What is certified, and how much of it.
#[derive(Clone, Debug)]
pub struct Certifier {
    /// The page size in bytes.
    pub page_size: u32,
    /// How many barriers a commit uses.
    pub barriers: Barriers,
    /// How transactions are committed. If they are deferred, all of a workload are, and made
    /// durable by a sync at the end, by the store's close, or by the last one, which then is
    /// durable.
    pub durability: Durability,
    /// The disk.
    pub profile: Profile,
    /// Which workloads there are.
    pub family: Family,
    /// Every `every`-th workload is run: 1 for all.
    pub every: usize,
    /// Workloads with one of these transactions are left out.
    pub without: &'static [Step],
    /// Runs of checks for one exploration, at most; beyond it the workload is unverified.
    pub executions_max: u64,
    /// Crashes after the first, at most.
    pub nested_max: u32,
    /// Whether operations fail too.
    pub faults: Faults,
    /// Of which workloads operations fail in all ways; of the others, each operation fails once,
    /// and from each one on, with EIO. Every so many, by number.
    pub all_faults_every: usize,
    /// Of which workloads the recoveries fail too. Every so many, by number.
    pub recoveries_every: usize,
    /// Of which workloads the power fails inside of the recoveries that follow on a run with a
    /// fault. Every so many, by number.
    pub behind_faults_every: usize,
}

/// Whether operations fail too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Crashes only.
    None,
    /// Operations of the last transaction and of the next open fail.
    Each,
}

/// A run of pages has one checksum: torn into the sectors of all its pages it has too many images
/// to look at each.
const RUNS: &[Step] = &[Step::PutPages];

impl Certifier {
    /// All workloads with this page size, on a disk whose sectors are its pages, so that a page
    /// is whole or not there; with faults.
    pub fn new(page_size: u32) -> Certifier {
        let profile = Profile { sector_bytes: page_size, ..Profile::default() };
        Certifier {
            page_size,
            barriers: Barriers::One,
            durability: Durability::Durable,
            profile,
            family: Family::Common,
            every: 1,
            without: &[],
            executions_max: 1_000_000,
            nested_max: 2,
            faults: Faults::Each,
            all_faults_every: 7,
            recoveries_every: 17,
            behind_faults_every: 245,
        }
    }

    /// What the certificate consists of. A workload's number, divided by the number of transactions
    /// that its part has (twelve, eleven without one of them, or five), leaves its first one:
    /// samples have strides that share no factor with that. Its last one, at which faults and
    /// crashes begin, is what the number divided by powers of that leaves: strides are chosen so
    /// that each is there.
    pub fn all() -> Vec<Certifier> {
        let small = Certifier::new(512);
        let sampled = |all| Certifier {
            every: 17,
            all_faults_every: 5,
            recoveries_every: 13,
            behind_faults_every: 25,
            ..all
        };
        let sample = |profile| sampled(Certifier { profile, ..small.clone() });
        let plain = small.profile;
        let torn = |sector_bytes| Profile { sector_bytes, ..plain };
        vec![
            small.clone(),
            Certifier { barriers: Barriers::Two, every: 5, all_faults_every: 35, ..small.clone() },
            Certifier {
                every: 7,
                all_faults_every: 13,
                behind_faults_every: 13,
                ..sampled(Certifier::new(4096))
            },
            sample(Profile { growth: Growth::Stale, ..plain }),
            sample(Profile { data_sync: DataSync::LosesSize, ..plain }),
            Certifier { faults: Faults::None, ..sample(Profile { flush: Flush::Lying, ..plain }) },
            Certifier {
                profile: torn(64),
                every: 100,
                without: RUNS,
                nested_max: 0,
                faults: Faults::None,
                ..small.clone()
            },
            Certifier {
                profile: torn(512),
                every: 100,
                without: RUNS,
                nested_max: 0,
                faults: Faults::None,
                ..Certifier::new(4096)
            },
            Certifier {
                durability: Durability::Deferred,
                every: 61,
                all_faults_every: 5,
                recoveries_every: 7,
                behind_faults_every: 5,
                ..small.clone()
            },
            Certifier {
                durability: Durability::Deferred,
                barriers: Barriers::Two,
                every: 101,
                all_faults_every: 5,
                recoveries_every: 5,
                behind_faults_every: 5,
                ..small.clone()
            },
            Certifier::of_roots(),
            Certifier { family: Family::Buckets, ..Certifier::of_roots() },
        ]
    }

    /// The part about leaves that become roots, and about owned transactions. A workload's number,
    /// divided by five, leaves its first transaction.
    pub fn of_roots() -> Certifier {
        let strides = Certifier {
            all_faults_every: 4,
            recoveries_every: 7,
            behind_faults_every: 12,
            ..Certifier::new(512)
        };
        Certifier { family: Family::Roots, ..strides }
    }

    /// A short name for page size, disk, barriers, durability and family.
    pub fn tag(&self) -> String {
        let profile = &self.profile;
        let mut tag = self.page_size.to_string();
        if profile.sector_bytes != self.page_size {
            tag.push('/');
            tag.push_str(&profile.sector_bytes.to_string());
        }
        let mut add = |is_so: bool, word: &str| {
            if is_so {
                tag.push('+');
                tag.push_str(word);
            }
        };
        add(self.barriers == Barriers::Two, "two");
        add(profile.growth == Growth::Stale, "stale");
        add(profile.data_sync == DataSync::LosesSize, "size-lost");
        add(profile.flush == Flush::Lying, "lying");
        add(self.durability == Durability::Deferred, "deferred");
        add(self.family == Family::Roots, "roots");
        add(self.family == Family::Buckets, "buckets");
        tag
    }

    /// The workloads that are run, by number.
    pub fn numbers(&self) -> Vec<usize> {
        let is_wanted = |number: &usize| {
            let steps = Workload::numbered(*number).steps;
            !steps.iter().any(|step| self.without.contains(step))
        };
        self.family.numbers().filter(is_wanted).step_by(self.every.max(1)).collect()
    }

    /// Runs all of its workloads on this many threads, or as many as the system has.
    ///
    /// # Errors
    /// What the store says when the initial states are made.
    pub fn run(&self, threads: usize) -> Result<Part> {
        self.run_some(&self.numbers(), threads)
    }

    /// Runs the workloads with these numbers on this many threads, or as many as the system has.
    ///
    /// # Errors
    /// What the store says when the initial states are made.
    ///
    /// # Panics
    /// If a thread of it panicked: a defect of the certifier, since checks that panic are caught.
    pub fn run_some(&self, numbers: &[usize], threads: usize) -> Result<Part> {
        let starts: Vec<Snapshot> =
            Initial::ALL.into_iter().map(|initial| self.start(initial)).collect::<Result<_>>()?;
        let next = AtomicU64::new(0);
        let work = || {
            let mut rows = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let number = usize::try_from(place).ok().and_then(|place| numbers.get(place));
                let Some(&number) = number else { return rows };
                rows.push(self.run_number(number, &starts));
            }
        };
        let mut rows: Vec<Row> = on_threads(threads, work).into_iter().flatten().collect();
        rows.sort_by_key(|row| row.number);
        Ok(Part { certifier: self.clone(), rows })
    }

    /// A disk with an initial state, closed cleanly.
    ///
    /// # Errors
    /// What the store says.
    pub fn start(&self, initial: Initial) -> Result<Snapshot> {
        let honest = Profile { flush: Flush::Honest, ..self.profile };
        let disk = SimDisk::with_profile(honest);
        let options = Options::new().page_size(self.page_size).vfs(disk.vfs());
        let db = options.open(PATH)?;
        let contents: Vec<_> = initial.contents(sizes(self.page_size)).into_iter().collect();
        for part in contents.chunks(8) {
            let puts = part.iter().map(|(key, value)| Edit::Put(key.clone(), value.clone()));
            commit(&db, &puts.collect::<Vec<_>>())?;
        }
        db.compact(0)?;
        drop(db);
        disk.settle();
        disk.machine().profile = self.profile;
        Ok(disk.snapshot())
    }

    /// The levels of the highest tree after these steps.
    ///
    /// # Errors
    /// What the store says.
    pub fn height(&self, initial: Initial, steps: &[Step]) -> Result<u8> {
        let disk = SimDisk::from_snapshot(&self.start(initial)?);
        let workload = Workload { initial, steps: steps.to_vec() };
        if self.trial(&workload, Run::Plain).run(&disk).is_err() {
            return Ok(0);
        }
        let audit = Audit::of_slot(&mut OnDisk(&disk), 0, index(self.page_size));
        Ok(audit.ok().flatten().map_or(0, |audit| audit.height))
    }

    fn trial(&self, workload: &Workload, run: Run) -> Trial {
        let promise = match (self.profile.flush, self.barriers) {
            (Flush::Lying, _) => Promise::Whole,
            (Flush::Honest, _) if !run.has_late_failure() => Promise::Durable,
            // With one barrier the next commit of a step that makes several has written a slot over
            // before a failure is told.
            (Flush::Honest, Barriers::One) if makes_commits(workload, run) => Promise::LastMayBreak,
            (Flush::Honest, _) => Promise::LastMayBeLost,
        };
        Trial::new(workload.initial, &workload.steps, self.page_size, self.barriers)
            .with_durability(self.durability)
            .with_promise(promise)
    }

    /// How often the power fails again in the recoveries of a workload.
    fn nested(&self, number: usize, run: Run) -> u32 {
        let nested = match run {
            Run::Plain if Workload::numbered(number).steps.len() == 1 => 2,
            Run::Plain | Run::Recovery(_) => 1,
            Run::Fault(_) | Run::Opening(_) => {
                u32::from(number.is_multiple_of(self.behind_faults_every.max(1)))
            }
        };
        nested.min(self.nested_max)
    }

    fn explorer(&self, workload: &Workload, run: Run, start: &Snapshot) -> Explorer {
        Explorer::new(format!("{}@{}{}", workload.name(), self.tag(), run.suffix()))
            .start(start)
            .executions_max(self.executions_max)
    }

    /// Explores one way to run a workload, of which the power fails again so often.
    fn explore(&self, workload: &Workload, run: Run, nested: u32, start: &Snapshot) -> Report {
        let trial = self.trial(workload, run);
        self.explorer(workload, run, start)
            .nested(nested)
            .explore(|disk| work(&trial, run, disk), |disk, crash| look(&trial, run, disk, crash))
    }

    /// Whether a workload is run in this way.
    fn takes(&self, number: usize, run: Run) -> bool {
        let every = match run {
            Run::Recovery(_) => self.recoveries_every,
            run if run.is_basic() => 1,
            Run::Plain | Run::Fault(_) | Run::Opening(_) => self.all_faults_every,
        };
        number.is_multiple_of(every.max(1))
    }

    /// Runs one workload of the family.
    fn run_number(&self, number: usize, starts: &[Snapshot]) -> Row {
        let workload = Workload::numbered(number);
        let start = &starts[workload.initial as usize];
        let mut row = Row::new(number);
        let explore = |run| self.explore(&workload, run, self.nested(number, run), start);
        let plain = explore(Run::Plain);
        row.points = plain.points.len() as u64;
        row.executions = plain.executions;
        self.add(&mut row, &workload, Run::Plain, start, &plain);
        if self.faults == Faults::Each {
            for run in Run::faulty().filter(|run| self.takes(number, *run)) {
                let report = explore(run);
                row.fault_runs += report.struck_runs;
                row.fault_executions += report.executions;
                self.add(&mut row, &workload, run, start, &report);
            }
        }
        row
    }

    /// Adds what was found; a failure is made as small as it gets before it is told.
    fn add(&self, row: &mut Row, workload: &Workload, run: Run, start: &Snapshot, found: &Report) {
        if found.verdict != Verdict::Violated || row.violation.is_some() {
            return row.add(found);
        }
        let (initial, nested) = (workload.initial, self.nested(row.number, run));
        let of = |steps: &[Step]| {
            let smaller = Workload { initial, steps: steps.to_vec() };
            self.explore(&smaller, run, nested, start)
        };
        let fails = |steps: &[Step]| !steps.is_empty() && of(steps).violation.is_some();
        let smallest = of(&minimise(&workload.steps, fails));
        row.add(found);
        row.violation = smallest.violation.map(|violation| violation.to_string());
    }

    /// Runs a workload again as a token tells, and says what it finds: a story, if it still
    /// fails.
    ///
    /// # Errors
    /// The token names none of the certificate's workloads, or the initial state cannot be made.
    pub fn replay(token: &str) -> std::result::Result<Option<String>, String> {
        let (_, violation) = Certifier::retell(token)?;
        Ok(violation.map(|violation| violation.to_string()))
    }

    /// The same with all that happens, also where nothing fails.
    ///
    /// # Errors
    /// Those of [`Certifier::replay`].
    pub fn retell(token: &str) -> std::result::Result<(String, Option<Violation>), String> {
        let no_workload = || "the token names no workload of the certificate".to_owned();
        let (name, rest) = token.trim().split_once('@').ok_or_else(no_workload)?;
        let workload = Workload::named(name).ok_or_else(no_workload)?;
        let (kind, _) = rest.split_once(':').ok_or_else(no_workload)?;
        let at = kind.find(['!', '?', '~']).unwrap_or(kind.len());
        let (tag, suffix) = kind.split_at(at);
        let run = Run::of_suffix(suffix).ok_or_else(no_workload)?;
        let all = Certifier::all();
        let certifier = all.iter().find(|known| known.tag() == tag).ok_or_else(no_workload)?;
        let start = certifier.start(workload.initial).map_err(|error| error.to_string())?;
        let trial = certifier.trial(&workload, run);
        let told = certifier.explorer(&workload, run, &start).retell(
            token,
            |disk| work(&trial, run, disk),
            |disk, crash| look(&trial, run, disk, crash),
        );
        told.map_err(|error| error.to_string())
    }
}

/// Whether several commits may follow each other while operations fail.
fn makes_commits(workload: &Workload, run: Run) -> bool {
    matches!(run, Run::Fault(_)) && workload.steps.last() == Some(&Step::Compact)
}

fn work(trial: &Trial, run: Run, disk: &SimDisk) -> Checked {
    match run {
        Run::Plain | Run::Recovery(_) => trial.run_guarded(disk),
        Run::Fault(number) => trial.run_faulted(disk, FAULTS[number]),
        Run::Opening(number) => trial.run_recovering(disk, OPENING[number]),
    }
}

fn look(trial: &Trial, run: Run, disk: &SimDisk, crash: &Crash) -> Checked {
    match run {
        Run::Recovery(number) => trial.check_recovering(disk, crash, RECOVERY[number]),
        Run::Plain | Run::Fault(_) | Run::Opening(_) => trial.check(disk, crash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{META_FLAG_CATALOG_TREE, META_FLAGS};

    #[test]
    fn a_certificate_of_nothing_is_not_verified() {
        assert!(!Certificate { parts: Vec::new() }.is_verified());
        let part = Part { certifier: Certifier::new(512), rows: Vec::new() };
        assert!(!Certificate { parts: vec![part] }.is_verified());
    }

    /// Runs in which no fault strikes are no runs with a fault, also where there are several: what
    /// is deferred becomes durable in two ways here.
    #[test]
    fn runs_with_a_fault_are_those_that_it_strikes() {
        let rows = [Durability::Durable, Durability::Deferred].map(|durability| {
            let certifier = Certifier { durability, ..Certifier::new(512) };
            let start = certifier.start(Initial::Empty).expect("it can be made");
            let workload = Workload::numbered(0);
            let explore = |run| certifier.explore(&workload, run, 0, &start);
            let plain = explore(Run::Plain);
            let faulted = explore(Run::Fault(0));
            assert_eq!(plain.struck_runs, 0);
            (plain.workload_runs, faulted.workload_runs - faulted.struck_runs)
        });
        assert_eq!(rows, [(1, 1), (2, 2)]);
    }

    /// Too many records for the meta page are a tree, and few enough are none again; the audit
    /// reads both.
    #[test]
    fn buckets_become_a_tree_and_none_again() {
        let certifier = Certifier { family: Family::Buckets, ..Certifier::new(512) };
        for (steps, is_tree) in [
            (&[Step::PutBuckets][..], true),
            (&[Step::PutBuckets, Step::PutRuns, Step::DropBucket], true),
            (&[Step::PutBuckets, Step::PutRuns, Step::DropBuckets], false),
        ] {
            let start = certifier.start(Initial::Empty).expect("it can be made");
            let disk = SimDisk::from_snapshot(&start);
            let workload = Workload { initial: Initial::Empty, steps: steps.to_vec() };
            certifier.trial(&workload, Run::Plain).run(&disk).expect("nothing is wrong");
            let audit = |slot| Audit::of_slot(&mut OnDisk(&disk), slot, 512).ok().flatten();
            let txn = |slot| audit(slot).map(|audit| audit.txn);
            let newest = u32::from(txn(1) > txn(0));
            assert!(audit(newest).is_some());
            let mut flags = [0];
            assert!(disk.peek(PATH, &mut flags, u64::from(newest) * 512 + META_FLAGS as u64));
            let found = u32::from(flags[0]) & META_FLAG_CATALOG_TREE != 0;
            assert_eq!(found, is_tree, "{steps:?}");
        }
    }
}
