//! The certificate: every workload of a family, crashed in every way.
//!
//! Owns: [`Certifier`], which runs workloads, and [`Certificate`], what it found, as text that a
//! machine reads.
//! Must not know: what a workload does.
//! Keeps: a workload that was not searched to its end is counted as unverified.
//!
//! The family: four initial states, and from each all sequences of one to three transactions of
//! an alphabet of twelve: 7,536 workloads. Each is crashed before every sync and at its end, in
//! every way in which sectors, sizes and names can survive, and its recovery is crashed again; a
//! workload of one transaction once more. What happens before the last transaction is left to
//! the workload that ends there. Then each operation of the last transaction fails.

use super::disk::SimDisk;
use super::explore::Explorer;
use super::fault::{Errno, Failure, Fault, OpSet, SyncFailure, When};
use super::profile::Profile;
use super::report::{Report, Verdict};
use super::state::Snapshot;
use super::trial::{OnDisk, PATH, Trial, sizes};
use super::workloads::{Edit, commit};
pub use super::workloads::{Initial, Step};
use super::{audit::Audit, index};
use crate::{Barriers, Options, Result};
use std::fmt::Write;

/// Workloads from one initial state: sequences of one, two, three of twelve.
const PER_INITIAL: usize = 12 + 12 * 12 + 12 * 12 * 12;

/// What is certified, and how much of it.
#[derive(Clone, Debug)]
pub struct Certifier {
    /// The page size in bytes.
    pub page_size: u32,
    /// How many barriers a commit uses.
    pub barriers: Barriers,
    /// The disk.
    pub profile: Profile,
    /// Every `every`-th workload is run: 1 for all.
    pub every: usize,
    /// Runs of checks for one workload, at most; beyond it the workload is unverified.
    pub executions_max: u64,
    /// Whether operations fail too.
    pub faults: Faults,
}

/// Whether operations fail too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Crashes only.
    None,
    /// Each operation of the last transaction fails, in each way.
    Each,
}

/// What was found for one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The workload's number in the family.
    pub number: usize,
    /// Its initial state and transactions.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Crash points of the workload.
    pub points: u64,
    /// Checks run after crashes.
    pub executions: u64,
    /// Runs of the workload with a fault in it, and checks run after them.
    pub fault_runs: u64,
    /// See `fault_runs`.
    pub fault_executions: u64,
    /// The images of its widest crash point, as a base-two logarithm.
    pub log2_images_max: f64,
    /// The first violation: message, story, token.
    pub violation: Option<String>,
}

impl Certifier {
    /// All workloads with this page size, on a disk whose sectors are its pages, so that a page
    /// is whole or not there; with faults.
    pub fn new(page_size: u32) -> Certifier {
        let profile = Profile { sector_bytes: page_size, ..Profile::default() };
        Certifier {
            page_size,
            barriers: Barriers::One,
            profile,
            every: 1,
            executions_max: 1_000_000,
            faults: Faults::Each,
        }
    }

    /// How many workloads the family has.
    pub fn family() -> usize {
        Initial::ALL.len() * PER_INITIAL
    }

    /// The workloads that are run, by number.
    pub fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        (0..Certifier::family()).step_by(self.every.max(1))
    }

    /// Runs the workloads of which the number, divided by `parts`, leaves `part`.
    ///
    /// # Errors
    /// What the store says when the initial states are made.
    pub fn run_part(&self, part: usize, parts: usize) -> Result<Vec<Row>> {
        let starts: Vec<Snapshot> =
            Initial::ALL.into_iter().map(|initial| self.start(initial)).collect::<Result<_>>()?;
        let mine = self.numbers().enumerate().filter(|(place, _)| place % parts.max(1) == part);
        Ok(mine.map(|(_, number)| self.run_workload(number, &starts)).collect())
    }

    /// Runs all of it on this many threads.
    ///
    /// # Errors
    /// What the store says when the initial states are made.
    ///
    /// # Panics
    /// If a thread of it panicked: a defect of the certifier, since checks that panic are caught.
    pub fn run(&self, threads: usize) -> Result<Certificate> {
        let parts: Vec<Result<Vec<Row>>> = std::thread::scope(|scope| {
            let start = |part| scope.spawn(move || self.run_part(part, threads));
            let running: Vec<_> = (0..threads.max(1)).map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Vec<Row>>>| {
                thread.join().expect("a part catches the panics of its checks")
            };
            running.into_iter().map(join).collect()
        });
        let mut rows = Vec::new();
        for part in parts {
            rows.extend(part?);
        }
        rows.sort_by_key(|row| row.number);
        Ok(Certificate { certifier: self.clone(), rows })
    }

    /// A disk with an initial state, closed cleanly.
    ///
    /// # Errors
    /// What the store says.
    pub fn start(&self, initial: Initial) -> Result<Snapshot> {
        let disk = SimDisk::with_profile(self.profile);
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
        Ok(disk.snapshot())
    }

    /// The levels of the highest tree after these steps.
    ///
    /// # Errors
    /// What the store says.
    pub fn height(&self, initial: Initial, steps: &[Step]) -> Result<u8> {
        let disk = SimDisk::from_snapshot(&self.start(initial)?);
        let trial = Trial::new(initial, steps, self.page_size, self.barriers);
        if trial.run(&disk).is_err() {
            return Ok(0);
        }
        let audit = Audit::of_slot(&mut OnDisk(&disk), 0, index(self.page_size));
        Ok(audit.ok().flatten().map_or(0, |audit| audit.height))
    }

    /// Runs one workload of the family.
    fn run_workload(&self, number: usize, starts: &[Snapshot]) -> Row {
        let (initial, steps) = workload(number);
        let name = name(initial, &steps);
        let trial = Trial::new(initial, &steps, self.page_size, self.barriers);
        let start = &starts[number / PER_INITIAL];
        let explorer = Explorer::new(format!("{}@{}", name, self.page_size))
            .start(start)
            .executions_max(self.executions_max);
        let nested = if steps.len() == 1 { 2 } else { 1 };
        let report = explorer
            .clone()
            .nested(nested)
            .explore(|disk| trial.run_guarded(disk), |disk, crash| trial.check(disk, crash));
        let mut row = Row {
            number,
            name,
            verdict: report.verdict,
            points: report.points.len() as u64,
            executions: report.executions,
            fault_runs: 0,
            fault_executions: 0,
            log2_images_max: report.log2_images_max(),
            violation: report.violation.as_ref().map(ToString::to_string),
        };
        if self.faults == Faults::Each {
            for fault in FAULTS {
                let report = explorer.explore(
                    |disk| trial.run_faulted(disk, fault),
                    |disk, crash| trial.check(disk, crash),
                );
                row.add_faults(&report);
            }
        }
        row
    }

    /// Runs one workload again as a token tells, and says what it finds.
    ///
    /// # Errors
    /// The token is none of this certifier's, or the initial state cannot be made.
    pub fn replay(&self, token: &str) -> std::result::Result<Option<String>, String> {
        let text = |error: crate::Error| error.to_string();
        let number = (0..Certifier::family())
            .find(|&number| {
                let (initial, steps) = workload(number);
                token.starts_with(&format!("{}@{}:", name(initial, &steps), self.page_size))
            })
            .ok_or("the token names no workload of this page size")?;
        let (initial, steps) = workload(number);
        let trial = Trial::new(initial, &steps, self.page_size, self.barriers);
        let name = format!("{}@{}", name(initial, &steps), self.page_size);
        let start = self.start(initial).map_err(text)?;
        let explorer = Explorer::new(name).start(&start);
        let crash = explorer.replay(
            token,
            |disk| trial.run_guarded(disk),
            |disk, crash| trial.check(disk, crash),
        );
        let found = crash.map_err(|error| error.to_string())?;
        Ok(found.map(|violation| violation.to_string()))
    }
}

/// The faults of the last transaction, each tried at every place.
const FAULTS: [Fault; 9] = [
    Fault::new(OpSet::ALL, When::Chosen(1), Failure::Error(Errno::Eio)),
    Fault::new(OpSet::ALL, When::ChosenFrom, Failure::Error(Errno::Eio)),
    Fault::new(OpSet::WRITES, When::Chosen(1), Failure::Error(Errno::Enospc)),
    Fault::new(OpSet::WRITES, When::ChosenFrom, Failure::Error(Errno::Enospc)),
    Fault::new(OpSet::WRITES, When::Chosen(1), Failure::Short(200)),
    Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::Drop)),
    Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::Keep)),
    Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::Revert)),
    Fault::new(OpSet::SYNCS, When::Chosen(1), Failure::Sync(SyncFailure::NoSpace)),
];

/// The initial state and the transactions of a workload.
fn workload(number: usize) -> (Initial, Vec<Step>) {
    let initial = Initial::ALL[number / PER_INITIAL];
    let mut place = number % PER_INITIAL;
    let mut len = 1;
    let mut sequences = Step::ALL.len();
    while place >= sequences {
        place -= sequences;
        sequences *= Step::ALL.len();
        len += 1;
    }
    let mut steps = Vec::new();
    for _ in 0..len {
        steps.push(Step::ALL[place % Step::ALL.len()]);
        place /= Step::ALL.len();
    }
    (initial, steps)
}

fn name(initial: Initial, steps: &[Step]) -> String {
    let steps: Vec<&str> = steps.iter().map(|step| step.name()).collect();
    format!("{}/{}", initial.name(), steps.join(","))
}

impl Row {
    fn add_faults(&mut self, report: &Report) {
        self.fault_runs += report.workload_runs;
        self.fault_executions += report.executions;
        let is_worse = match (self.verdict, report.verdict) {
            (Verdict::Violated, _) | (_, Verdict::Verified) => false,
            (_, Verdict::Violated | Verdict::Unverified) => true,
        };
        if is_worse {
            self.verdict = report.verdict;
            self.violation = report.violation.as_ref().map(ToString::to_string);
        }
    }

    /// What makes two rows equal, in a line.
    fn line(&self) -> String {
        format!(
            "{} {:?} {} {} {} {} {:.3}",
            self.name,
            self.verdict,
            self.points,
            self.executions,
            self.fault_runs,
            self.fault_executions,
            self.log2_images_max
        )
    }
}

/// What was found for all workloads that were run.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What was certified.
    pub certifier: Certifier,
    /// What was found, by number.
    pub rows: Vec<Row>,
}

impl Certificate {
    /// The rows that are not verified.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict != Verdict::Verified)
    }

    /// Whether every workload that was run is verified.
    pub fn is_verified(&self) -> bool {
        !self.rows.is_empty() && self.failures().next().is_none()
    }

    fn total(&self, figure: impl Fn(&Row) -> u64) -> u64 {
        self.rows.iter().map(figure).sum()
    }

    /// Checks that were run after crashes, those after faults included.
    pub fn executions(&self) -> u64 {
        self.total(|row| row.executions + row.fault_executions)
    }

    /// A number that two certificates share only if they found, in all likelihood, the same.
    pub fn digest(&self) -> u64 {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for row in &self.rows {
            for byte in row.line().bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
        }
        hash
    }

    /// The certificate as JSON.
    pub fn to_json(&self) -> String {
        let certifier = &self.certifier;
        let profile = &certifier.profile;
        let count = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let log2 = self.rows.iter().map(|row| row.log2_images_max).fold(0.0, f64::max);
        let mut json = String::from("{\n");
        let mut field = |name: &str, value: String| {
            writeln!(json, "  \"{name}\": {value},").expect("a string takes all text");
        };
        field("format", "1".into());
        field("page_size", certifier.page_size.to_string());
        field("sector_bytes", profile.sector_bytes.to_string());
        field("growth", format!("\"{:?}\"", profile.growth));
        field("data_sync", format!("\"{:?}\"", profile.data_sync));
        field("flush", format!("\"{:?}\"", profile.flush));
        field("barriers", format!("\"{:?}\"", certifier.barriers));
        field("faults", format!("\"{:?}\"", certifier.faults));
        field("family", Certifier::family().to_string());
        field("every", certifier.every.to_string());
        field("workloads", self.rows.len().to_string());
        field("verified", count(Verdict::Verified).to_string());
        field("unverified", count(Verdict::Unverified).to_string());
        field("violated", count(Verdict::Violated).to_string());
        field("crash_points", self.total(|row| row.points).to_string());
        field("executions", self.total(|row| row.executions).to_string());
        field("fault_runs", self.total(|row| row.fault_runs).to_string());
        field("fault_executions", self.total(|row| row.fault_executions).to_string());
        field("log2_images_max", format!("{log2:.1}"));
        field("digest", format!("\"{:016x}\"", self.digest()));
        let rows: Vec<String> = self.failures().map(|row| quoted(&row.line())).collect();
        writeln!(json, "  \"failures\": [{}]", rows.join(", ")).expect("a string takes all text");
        json.push_str("}\n");
        json
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
