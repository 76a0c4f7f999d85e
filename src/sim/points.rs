//! Crash points: the moments at which an exploration lets the power fail.
//!
//! Owns: [`Mark`], which a workload leaves behind, [`CrashPoints`], and the [`Recorder`] that
//! keeps the disk's state at each moment wanted.
//! Must not know: what is done with them.
//! Keeps: a moment is recorded before the operation that makes it one.

use super::choose::{Choice, Choose};
use super::chooser::Chooser;
use super::state::DiskState;
use super::trace::OpKind;
use std::fmt;

/// What a workload or a check notes down while it runs, so that whoever looks at the disk after
/// a crash knows what had happened by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Step `n` has begun: its effect may be found from here on.
    Started(u64),
    /// Step `n` was acknowledged: its effect must be found from here on.
    Acknowledged(u64),
    /// Anything else.
    Note(u64),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Started(step) => write!(f, "started {step}"),
            Mark::Acknowledged(step) => write!(f, "acknowledged {step}"),
            Mark::Note(note) => write!(f, "noted {note}"),
        }
    }
}

impl Mark {
    /// A number for each mark.
    pub(super) fn number(self) -> [u64; 2] {
        match self {
            Mark::Started(step) => [1, step],
            Mark::Acknowledged(step) => [2, step],
            Mark::Note(note) => [3, note],
        }
    }
}

/// Where an exploration lets the power fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CrashPoints {
    /// Before each sync, and at the end. No image is left out: between two syncs the possible
    /// images only become more.
    ///
    /// Marks move on meanwhile: an image of an earlier moment is looked at with the marks that
    /// were left by the next sync. So a workload marks a step as started before it does anything
    /// of it; what it does earlier is seen with [`CrashPoints::EveryOperation`] only.
    #[default]
    Fences,
    /// Before each operation that has a number and that may fail, before each mark, and at the end.
    /// There is no image more, but each is looked at with the marks of each moment that has it.
    EveryOperation,
}

/// When the images of a crash are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Images {
    /// When they are read: what nobody reads makes no difference.
    #[default]
    Lazy,
    /// All at once. It finds nothing more, takes as many runs as there are images, and is there
    /// to show that.
    Eager,
}

/// A recorded crash point.
#[derive(Debug, Default)]
pub(super) struct Point {
    /// Its place among all of the run, those not kept included.
    pub(super) number: u32,
    /// The operation before which the power fails, and its number; before a mark and at the end,
    /// the last number.
    pub(super) before: Option<OpKind>,
    pub(super) operation: u64,
    /// Marks left until then.
    pub(super) marks: usize,
    /// Whether this run keeps it; what is behind the kept ones is memory of earlier runs.
    pub(super) kept: bool,
    pub(super) state: DiskState,
}

/// A moment that may become a crash point.
pub(super) struct Moment<'a> {
    pub(super) before: Option<OpKind>,
    pub(super) operation: u64,
    pub(super) state: &'a DiskState,
    pub(super) marks: usize,
}

/// Which points a recorder keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keep {
    /// None, and none are looked for.
    #[default]
    Nothing,
    /// All that no earlier run of a search began with.
    New,
    /// One, each with the same likelihood, picked by the source of choices.
    Sampled,
    /// The one with this number.
    One(u32),
}

/// Keeps crash points of one run.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    keep: Keep,
    at: CrashPoints,
    seen: u32,
    /// So many of them are not drawn from any more.
    forgotten: u32,
    used: usize,
    points: Vec<Point>,
}

impl Recorder {
    /// Starts over, in the memory of `pool`.
    pub(super) fn start(&mut self, keep: Keep, at: CrashPoints, mut pool: Vec<Point>) {
        for point in &mut pool {
            point.kept = false;
        }
        *self = Recorder { keep, at, seen: 0, forgotten: 0, used: 0, points: pool };
    }

    /// Whether nothing is looked for.
    pub(super) fn is_off(&self) -> bool {
        self.keep == Keep::Nothing
    }

    /// Whether a crash point lies before each operation of this kind, recorded when it begins.
    pub(super) fn records_before(&self, kind: OpKind) -> bool {
        if self.keep == Keep::Nothing {
            return false;
        }
        match self.at {
            CrashPoints::EveryOperation => kind != OpKind::BeginWriteBack,
            CrashPoints::Fences => {
                matches!(kind, OpKind::SyncData | OpKind::SyncAll | OpKind::SyncDir)
            }
        }
    }

    /// Whether a crash point lies before each mark.
    pub(super) fn records_marks(&self) -> bool {
        self.keep != Keep::Nothing && self.at == CrashPoints::EveryOperation
    }

    /// Keeps the present moment if it is wanted.
    pub(super) fn record(&mut self, moment: &Moment<'_>, chooser: &mut Chooser) {
        let number = self.seen;
        self.seen += 1;
        let kept = match self.keep {
            Keep::Nothing => false,
            Keep::New => chooser.is_new(),
            Keep::One(wanted) => number == wanted,
            Keep::Sampled => {
                let place = number - self.forgotten;
                place == 0 || chooser.choose(place + 1, Choice::CrashPoint) == 0
            }
        };
        if !kept {
            return;
        }
        if self.keep == Keep::Sampled {
            self.used = 0;
        }
        if self.points.len() == self.used {
            self.points.push(Point::default());
        }
        let point = &mut self.points[self.used];
        self.used += 1;
        point.number = number;
        point.before = moment.before;
        point.operation = moment.operation;
        point.marks = moment.marks;
        point.kept = true;
        point.state.copy_from(moment.state);
    }

    /// Keeps none of the points so far.
    pub(super) fn forget(&mut self) {
        for point in &mut self.points {
            point.kept = false;
        }
        self.used = 0;
        self.forgotten = self.seen;
    }

    /// The points, kept and not.
    pub(super) fn take(&mut self) -> Vec<Point> {
        self.keep = Keep::Nothing;
        std::mem::take(&mut self.points)
    }
}
