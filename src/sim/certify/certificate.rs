//! What was found, as text that a machine reads.
//!
//! Owns: [`Row`], [`Part`], [`Certificate`] and their JSON form.
//! Must not know: how anything was found.
//! Keeps: the same findings are the same bytes; a workload whose search did not end is never
//! counted as verified.

use super::super::fault::{Failure, Fault};
use super::super::report::{Report, Verdict};
use super::super::workloads::{Initial, Step};
use super::family::{FAMILY, Family, Workload};
use super::runs::{FAULTS, OPENING, RECOVERY};
use super::{Certifier, Faults};
use std::fmt::Write;

/// What was found for one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The workload's number in the family.
    pub number: usize,
    /// How it ended.
    pub verdict: Verdict,
    /// Crash points of the workload, without faults.
    pub points: u64,
    /// Checks run after crashes, without faults.
    pub executions: u64,
    /// Runs of the workload in which a fault strikes it, or the next open.
    pub fault_runs: u64,
    /// Checks run after crashes of those.
    pub fault_executions: u64,
    /// The images of its widest crash point, as a base-two logarithm.
    pub log2_images_max: f64,
    /// What all runs asked of the disk, as a hash.
    pub trace: u64,
    /// The first violation: message, story, token.
    pub violation: Option<String>,
}

impl Row {
    pub(super) fn new(number: usize) -> Row {
        Row {
            number,
            verdict: Verdict::Verified,
            points: 0,
            executions: 0,
            fault_runs: 0,
            fault_executions: 0,
            log2_images_max: 0.0,
            trace: 0,
            violation: None,
        }
    }

    /// Adds what an exploration found: the worse verdict counts.
    pub(super) fn add(&mut self, report: &Report) {
        self.trace = super::super::arena::mix(self.trace, report.trace);
        self.log2_images_max = self.log2_images_max.max(report.log2_images_max());
        let is_worse = match (self.verdict, report.verdict) {
            (Verdict::Violated, _) | (_, Verdict::Verified) => false,
            (_, Verdict::Violated | Verdict::Unverified) => true,
        };
        if is_worse {
            self.verdict = report.verdict;
            self.violation = report.violation.as_ref().map(ToString::to_string);
        }
    }

    /// The row as it stands in the certificate.
    pub fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Verified => "verified",
            Verdict::Unverified => "UNVERIFIED",
            Verdict::Violated => "VIOLATED",
        };
        format!(
            "[\"{}\", \"{verdict}\", {}, {}, {}, {}, {:.1}, \"{:016x}\"]",
            Workload::numbered(self.number).code(),
            self.points,
            self.executions,
            self.fault_runs,
            self.fault_executions,
            self.log2_images_max,
            self.trace
        )
    }
}

/// What was found for the workloads of one certifier.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was certified.
    pub certifier: Certifier,
    /// What was found, by number.
    pub rows: Vec<Row>,
}

impl Part {
    /// The rows that are not verified.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict != Verdict::Verified)
    }

    fn total(&self, count: impl Fn(&Row) -> u64) -> u64 {
        self.rows.iter().map(count).sum()
    }

    /// All checks run after crashes.
    pub fn executions(&self) -> u64 {
        self.total(|row| row.executions + row.fault_executions)
    }

    /// All runs of workloads with a fault in them.
    pub fn fault_runs(&self) -> u64 {
        self.total(|row| row.fault_runs)
    }

    fn to_json(&self) -> String {
        let certifier = &self.certifier;
        let profile = &certifier.profile;
        let count = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let log2 = self.rows.iter().map(|row| row.log2_images_max).fold(0.0, f64::max);
        let mut json = String::from("    {\n");
        let mut field = |name: &str, value: String| {
            writeln!(json, "      \"{name}\": {value},").expect("a string takes all text");
        };
        field("tag", format!("\"{}\"", certifier.tag()));
        field("page_bytes", certifier.page_size.to_string());
        field("sector_bytes", profile.sector_bytes.to_string());
        field("growth", format!("\"{:?}\"", profile.growth));
        field("data_sync", format!("\"{:?}\"", profile.data_sync));
        field("flush", format!("\"{:?}\"", profile.flush));
        field("barriers", format!("\"{:?}\"", certifier.barriers));
        field("durability", format!("\"{:?}\"", certifier.durability));
        if certifier.family != Family::Common {
            field("transactions", letters(certifier.family));
        }
        field("faults", (certifier.faults == Faults::Each).to_string());
        field("all_faults_every", certifier.all_faults_every.to_string());
        field("recoveries_every", certifier.recoveries_every.to_string());
        field("behind_faults_every", certifier.behind_faults_every.to_string());
        field("every", certifier.every.to_string());
        let without: Vec<&str> = certifier.without.iter().map(|step| step.name()).collect();
        field("without", format!("\"{}\"", without.join(",")));
        field("nested_max", certifier.nested_max.to_string());
        field("executions_max", certifier.executions_max.to_string());
        field("workloads", self.rows.len().to_string());
        field("verified", count(Verdict::Verified).to_string());
        field("unverified", count(Verdict::Unverified).to_string());
        field("violated", count(Verdict::Violated).to_string());
        field("crash_points", self.total(|row| row.points).to_string());
        field("executions", self.total(|row| row.executions).to_string());
        field("fault_runs", self.fault_runs().to_string());
        field("fault_executions", self.total(|row| row.fault_executions).to_string());
        field("log2_images_max", format!("{log2:.1}"));
        let rows: Vec<String> =
            self.rows.iter().map(|row| format!("        {}", row.line())).collect();
        write!(json, "      \"rows\": [\n{}\n      ]\n    }}", rows.join(",\n"))
            .expect("a string takes all text");
        json
    }
}

/// What was found for all parts.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The parts, in order.
    pub parts: Vec<Part>,
}

impl Certificate {
    /// Whether every workload of every part was searched to its end, and nothing was found. Where
    /// there are no parts, or a part has no workloads, nothing is verified.
    pub fn is_verified(&self) -> bool {
        !self.parts.is_empty()
            && self
                .parts
                .iter()
                .all(|part| !part.rows.is_empty() && part.failures().next().is_none())
    }

    /// The certificate as JSON: the same findings give the same bytes.
    pub fn to_json(&self) -> String {
        let names = |names: &[&str]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let verdict = if self.is_verified() { "verified" } else { "NOT VERIFIED" };
        let parts: Vec<String> = self.parts.iter().map(Part::to_json).collect();
        let list = |faults: &mut dyn Iterator<Item = String>| {
            names(&faults.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())
        };
        let text_of_opening = |fault: &Option<Fault>| fault.as_ref().map_or("none".into(), text);
        format!(
            "{{\n  \"format\": 5,\n  \"verdict\": \"{verdict}\",\n  \"family\": {FAMILY},\n  \
             \"initial_states\": {},\n  \"transactions\": {},\n  \"faults\": {},\n  \
             \"faults_of_the_open\": {},\n  \"faults_of_the_recovery\": {},\n  \
             \"crash_points\": \"before every sync, and at the end\",\n  \
             \"nested_crashes\": {{\n    \
             \"without faults\": \"1, after a single transaction 2\",\n    \
             \"behind a fault of the transaction or of the open\": \"1 in every \
             behind_faults_every-th workload, none in the others\",\n    \
             \"behind a fault of the recovery\": \"1, and none inside of the recovery behind \
             it\",\n    \"where nested_max is 0\": \"none\"\n  }},\n  \
             \"row\": [\"digit of the initial state, letters of the transactions\", \
             \"verdict\", \"crash points\", \"executions\", \"runs with a fault\", \
             \"executions after them\", \"log2 of the raw images\", \"trace hash\"],\n  \
             \"parts\": [\n{}\n  ]\n}}\n",
            names(&Initial::ALL.map(Initial::name)),
            names(&Step::ALL.map(Step::name)),
            list(&mut FAULTS.iter().map(text)),
            list(&mut OPENING.iter().map(text_of_opening)),
            list(&mut RECOVERY.iter().map(text)),
            parts.join(",\n"),
        )
    }
}

/// The letters by which rows name the transactions of a family, with what they stand for.
fn letters(family: Family) -> String {
    let named = |step: &Step| {
        let workload = Workload { initial: Initial::Empty, steps: vec![*step] };
        format!("\"{} {}\"", &workload.code()[1..], step.name())
    };
    format!("[{}]", family.steps().iter().map(named).collect::<Vec<_>>().join(", "))
}

fn text(fault: &Fault) -> String {
    let what = match fault.failure() {
        Failure::Error(errno) => format!("{errno:?}"),
        Failure::Short(bytes) => format!("at most {bytes} bytes"),
        Failure::Sync(how) => format!("sync {how:?}"),
        Failure::PowerOff => "power off".to_owned(),
    };
    format!("{what} at {}", fault.place())
}

/// The rows of a certificate's text that stand in the part with this tag.
pub fn rows_of<'t>(text: &'t str, tag: &str) -> Vec<&'t str> {
    let Some((_, part)) = text.split_once(&format!("\"tag\": \"{tag}\",")) else {
        return Vec::new();
    };
    let lines = part.lines().map(|line| line.trim().trim_end_matches(','));
    let rows = lines.skip_while(|line| !line.starts_with("\"rows\"")).skip(1);
    rows.take_while(|line| line.starts_with("[\"")).collect()
}
