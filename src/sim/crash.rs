//! What a check is told of the crash that it runs after.
//!
//! Owns: [`Crash`] and [`Checked`].
//! Must not know: how the crash came about.
//! Keeps: what was marked after the power failed is not in it.

use super::points::Mark;

/// What a workload or a check returns: nothing, or what went wrong.
pub type Checked = Result<(), Box<dyn std::error::Error>>;

/// What had happened when the power failed.
#[derive(Clone, Debug, Default)]
pub struct Crash {
    pub(super) levels: Vec<Level>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) operation: u64,
    pub(super) marks: Vec<Mark>,
}

impl Crash {
    /// 1 for a crash of the workload, 2 for a crash of the check that ran after it, and so on.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The number of the operation before which the power failed the last time; of the one behind
    /// which it failed where that is before a mark.
    ///
    /// For messages: of crashes that left the same disk after the same marks only the first is
    /// looked at, so that a check that depends on more than these two misses the others.
    pub fn operation(&self) -> u64 {
        self.levels.last().map_or(0, |level| level.operation)
    }

    /// The marks left before the power failed, by the workload and by the checks between the
    /// crashes, in order.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.levels.iter().flat_map(|level| level.marks.iter().copied())
    }

    /// The marks left by the workload (0), or by the check after the n-th crash (n).
    pub fn marks_of(&self, level: usize) -> &[Mark] {
        self.levels.get(level).map_or(&[], |level| &level.marks)
    }

    /// The largest step that was acknowledged; 0 if none was.
    pub fn acknowledged(&self) -> u64 {
        let steps = self.marks().map(|mark| match mark {
            Mark::Acknowledged(step) => step,
            Mark::Started(_) | Mark::Note(_) => 0,
        });
        steps.max().unwrap_or(0)
    }

    /// The largest step that had begun; 0 if none had.
    pub fn started(&self) -> u64 {
        let steps = self.marks().map(|mark| match mark {
            Mark::Started(step) | Mark::Acknowledged(step) => step,
            Mark::Note(_) => 0,
        });
        steps.max().unwrap_or(0)
    }
}
