//! Seeded bugs, on which the checks prove that they check (layer L0).
//!
//! Owns: the macro [`seeded`], which marks the place of a bug; under `--cfg seeded_bug` the
//! catalogue [`Bug`] and the switch. Must not know: what the marked places do.
//! Keeps: a build without the cfg holds no trace of them: the macro is the literal `false`.
//!
//! The cfg is never a feature, so that no dependency can switch it on. Each bug has the shape of
//! a real one; `examples/kill_matrix.rs` shows which technique finds it, and after how many runs.

/// Whether one of these seeded bugs is switched on, and what else is asked for holds too.
#[cfg(not(seeded_bug))]
macro_rules! seeded {
    ($($bug:ident)|+ $(, $also:expr)?) => {
        false
    };
}

/// Whether one of these seeded bugs is switched on, and what else is asked for holds too.
#[cfg(seeded_bug)]
macro_rules! seeded {
    ($($bug:ident)|+ $(, $also:expr)?) => {
        ($($crate::seeded::is_on($crate::seeded::Bug::$bug))||+) $(&& $also)?
    };
}

pub(crate) use seeded;

#[cfg(seeded_bug)]
mod catalogue;
#[cfg(seeded_bug)]
mod switch;
#[cfg(seeded_bug)]
pub use {catalogue::*, switch::*};
