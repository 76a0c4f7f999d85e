//! What an exploration found.
//!
//! Owns: [`Report`], [`Verdict`], [`Violation`], [`PointReport`].
//! Must not know: how it was found.
//! Keeps: a search that did not end is never a pass.

use super::trace::OpKind;
use std::fmt;

/// How an exploration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Every outcome at every crash point was run, and passed.
    Verified,
    /// Every run passed, but the search reached its limit before its end, or took samples.
    Unverified,
    /// A run failed.
    Violated,
}

/// One crash point of the workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointReport {
    /// Its number among the crash points of its run, from 0.
    pub number: u32,
    /// The operation before which power failed, by number; the last one, before a mark and at the
    /// end of the workload.
    pub operation: u64,
    /// That operation's kind; `None` before a mark and at the end of the workload.
    pub before: Option<OpKind>,
    /// The checks run, those after nested crashes included.
    pub executions: u64,
    /// The images that a crash here may leave, as a base-two logarithm.
    pub log2_images: f64,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What the check, the workload or the monitor said.
    pub message: String,
    /// What repeats it, see [`Explorer::replay`](super::Explorer::replay).
    pub token: String,
    /// What happened, in a few lines.
    pub story: String,
}

/// What an exploration found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The name of the workload.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Runs of the workload.
    pub workload_runs: u64,
    /// Those of them in which a fault has struck.
    pub struck_runs: u64,
    /// Runs of the check, each after another crash.
    pub executions: u64,
    /// Those of them that used the disk. A check that never does cannot fail, unless by the marks.
    pub looks: u64,
    /// Crash points that left a disk which another one had left before, with the same marks:
    /// what follows was run once.
    pub repeated: u64,
    /// Crash points of the workload, nested ones not included.
    pub points: Vec<PointReport>,
    /// What all runs asked of the disk, in order, as a hash: the same for the same program.
    pub trace: u64,
    /// The first run that failed.
    pub violation: Option<Violation>,
}

impl Report {
    pub(super) fn new(name: &str) -> Report {
        Report {
            name: name.to_owned(),
            verdict: Verdict::Verified,
            workload_runs: 0,
            struck_runs: 0,
            executions: 0,
            looks: 0,
            repeated: 0,
            points: Vec::new(),
            trace: 0,
            violation: None,
        }
    }

    /// Whether everything was run and passed.
    pub fn is_verified(&self) -> bool {
        self.verdict == Verdict::Verified
    }

    /// The images of the crash point that has most, as a base-two logarithm.
    pub fn log2_images_max(&self) -> f64 {
        self.points.iter().map(|point| point.log2_images).fold(0.0, f64::max)
    }

    /// Passes on what a test wants to pass on: nothing, or the whole failure.
    ///
    /// # Errors
    /// The story of the failure, or that the search was cut off.
    pub fn into_result(self) -> Result<Report, String> {
        match self.verdict {
            Verdict::Verified => Ok(self),
            Verdict::Unverified | Verdict::Violated => Err(self.to_string()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Verified => "verified",
            Verdict::Unverified => "UNVERIFIED",
            Verdict::Violated => "VIOLATED",
        };
        write!(
            f,
            "{}: {verdict} after {} executions at {} crash points, 2^{:.0} images at most",
            self.name,
            self.executions,
            self.points.len(),
            self.log2_images_max(),
        )?;
        if self.executions > 0 && self.looks == 0 {
            write!(f, "; no check has looked at the disk")?;
        }
        match &self.violation {
            Some(violation) => write!(f, "\n{violation}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\nreplay token: {}", self.message, self.story, self.token)
    }
}
