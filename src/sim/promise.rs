//! What a trial may find, by the marks that were left until then.
//!
//! Owns: [`Promise`], what is asked of a disk; [`State`], what may be found; and the notes that
//! runs and checks leave for those who come after a crash.
//! Must not know: what a state holds, how it is found.
//! Keeps: what was acknowledged, or found once, stays; what had not begun is not found.

use super::points::Mark;
use std::ops::Range;

/// What holds on the disk of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// What was acknowledged is found again.
    Durable,
    /// One sync may lie, behind the last step: that step may be lost, as a whole.
    LastMayBeLost,
    /// The same, and what was built on the step may have replaced the state before: the one that
    /// the step's slot held until then is found as a whole, or the damage is noticed.
    LastMayBreak,
    /// All syncs lie: what is found is some state as a whole, or the damage is noticed.
    Whole,
}

/// A state that may be found: a state of the workload, and which checks left their probe in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) step: u64,
    pub(super) probes: u64,
}

/// Probes that can be told apart: one for each crash in a row.
pub(super) const PROBES: usize = 4;

/// The probe of a process that a fault strikes.
pub(super) const LAST_PROBE: u64 = 1 << (PROBES - 1);

/// What a note means, in its upper half.
const FOUND: u64 = 1 << 32;
const PROBE_STARTED: u64 = 2 << 32;
const PROBE_ACKNOWLEDGED: u64 = 3 << 32;
const STARTED: u64 = 4 << 32;

impl State {
    /// The state of a step, without probes.
    pub(super) fn of_step(step: u64) -> State {
        State { step, probes: 0 }
    }

    /// Notes that this state, and no other, may be found from here on.
    pub(super) fn is_found(self) -> Mark {
        Mark::Note(FOUND | self.code())
    }

    /// Notes that a commit has begun that leads to this state.
    pub(super) fn has_begun(self) -> Mark {
        Mark::Note(STARTED | self.code())
    }

    fn code(self) -> u64 {
        self.step * (1 << PROBES) + self.probes
    }

    fn from_code(code: u64) -> State {
        State { step: code >> PROBES, probes: code % (1 << PROBES) }
    }
}

/// Notes that a probe has begun on top of what may be found; `bit` is its own.
pub(super) fn probe_started(bit: u64) -> Mark {
    Mark::Note(PROBE_STARTED | bit)
}

/// Notes that it was acknowledged.
pub(super) fn probe_acknowledged(bit: u64) -> Mark {
    Mark::Note(PROBE_ACKNOWLEDGED | bit)
}

/// What may be found, after these marks, of a workload whose last step ends the range; its first is
/// the oldest that a slot can hold when the last step begins.
pub(super) fn possible(
    promise: Promise,
    steps: Range<u64>,
    marks: impl Iterator<Item = Mark>,
) -> Vec<State> {
    let last = steps.end;
    if promise == Promise::Whole {
        let states =
            (0..=last).flat_map(|step| (0..1 << PROBES).map(move |probes| State { step, probes }));
        return states.collect();
    }
    let mut possible = vec![State::of_step(0)];
    if promise == Promise::LastMayBreak {
        possible = steps.map(State::of_step).collect();
    }
    for mark in marks {
        match mark {
            Mark::Started(step) => possible.push(State::of_step(step)),
            // The sync behind the last step lied.
            Mark::Acknowledged(_) if promise == Promise::LastMayBreak => {}
            Mark::Acknowledged(step) if step == last && promise == Promise::LastMayBeLost => {}
            Mark::Acknowledged(step) => possible = vec![State::of_step(step)],
            Mark::Note(note) => follow_note(&mut possible, note),
        }
    }
    possible
}

fn follow_note(possible: &mut Vec<State>, note: u64) {
    let rest = note & 0xFFFF_FFFF;
    match note & !0xFFFF_FFFF {
        FOUND => *possible = vec![State::from_code(rest)],
        STARTED => possible.push(State::from_code(rest)),
        PROBE_STARTED => {
            let with = |state: &State| State { probes: state.probes | rest, ..*state };
            let probed: Vec<State> = possible.iter().map(with).collect();
            possible.extend(probed);
        }
        _ => possible.retain(|state| state.probes & rest != 0),
    }
}
