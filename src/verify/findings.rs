//! What was found so far (part of verify, layer L5).
//!
//! Owns: [`Findings`], which keeps a bounded number of violations, and [`Flaw`], one of them
//! before it is known where it lies.
//! Must not know: what is checked.

use super::report::Violation;
use crate::invariant::Invariant;
use std::fmt;

/// Violations kept at most; the others are counted.
const VIOLATIONS_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Findings {
    pub(super) kept: Vec<Violation>,
    pub(super) dropped: u64,
}

impl Findings {
    /// Adds a violation, which is made only if it is kept.
    #[cold]
    pub(super) fn add(&mut self, make: impl FnOnce() -> Violation) {
        if self.kept.len() < VIOLATIONS_MAX {
            self.kept.push(make());
        } else {
            self.dropped += 1;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.kept.len() as u64 + self.dropped
    }
}

/// What is wrong, without where; boxed, so that the result of a check that passes is small.
#[derive(Debug)]
pub(super) struct Flaw(Box<Reason>);

#[derive(Debug)]
struct Reason {
    invariant: Invariant,
    expected: String,
    found: String,
}

/// The result of a check.
pub(super) type Checked<T> = Result<T, Flaw>;

impl Flaw {
    #[cold]
    pub(super) fn new(
        invariant: Invariant,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Flaw {
        let (expected, found) = (expected.to_string(), found.to_string());
        Flaw(Box::new(Reason { invariant, expected, found }))
    }

    /// The flaw of a page, before anything is known of a state.
    pub(super) fn at(self, page: Option<u32>) -> Violation {
        let Reason { invariant, expected, found } = *self.0;
        Violation { page, invariant, expected, found, slot: None, txn: None, path: String::new() }
    }
}

/// Whether bytes that have no meaning are zero.
pub(super) fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}
