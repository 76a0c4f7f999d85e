//! One violation at a time: each case breaks one invariant of a sound file, and verify names just
//! that invariant, on the page where it is broken.

use crate::samples::Sample;
use btree_store::Invariant;

/// What is done after the change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// All checksums are computed again.
    Seal,
    Leave,
}

/// Breaks something, and returns the page that is to be named.
type Change = fn(&mut Sample) -> u32;

pub struct Case {
    name: &'static str,
    sample: fn(usize) -> Sample,
    then: Then,
    invariant: Invariant,
    change: Change,
}

/// A change after which all checksums are computed again, from the leaves to the slots.
pub const fn case(
    name: &'static str,
    sample: fn(usize) -> Sample,
    invariant: Invariant,
    change: Change,
) -> Case {
    Case { name, sample, then: Then::Seal, invariant, change }
}

/// A change after which the file is left alone.
pub const fn unsealed(
    name: &'static str,
    sample: fn(usize) -> Sample,
    invariant: Invariant,
    change: Change,
) -> Case {
    Case { name, sample, then: Then::Leave, invariant, change }
}

pub fn check(cases: &[Case]) {
    for Case { name, sample, then, invariant, change } in cases {
        let mut sample = sample(512);
        let page = change(&mut sample);
        if *then == Then::Seal {
            sample.file().seal();
        }
        let report = sample.file().report();
        let found: Vec<_> = report.violations.iter().map(|v| (v.invariant, v.page)).collect();
        assert_eq!(found, [(*invariant, Some(page))], "{name}: {report}");
    }
}

/// Changes the records of the space log's tail. Returns the slot.
pub fn tail(sample: &mut Sample, change: impl FnOnce(&mut Vec<u32>)) -> u32 {
    change(&mut sample.state.tail);
    sample.rewrite();
    sample.state.slot
}

/// Where child `at` of a branch is told.
pub fn child(sample: &mut Sample, branch: u32, at: usize) -> usize {
    sample.file().arrays(branch)[0] + 8 * at
}
