//! The questions, in groups that share what they set up.

mod bounded;
mod commit;
mod large;
mod mixed;
mod open;
mod read;
mod size;
mod task;
#[cfg(test)]
mod tests;
mod write;

use crate::engine::Result;
use crate::report::Report;
use crate::settings::Settings;

/// A group: it asks the report which of its rows are wanted, and runs those.
type Group = fn(&Settings, &mut Report) -> Result<()>;

pub const GROUPS: &[Group] = &[
    read::run,
    write::run,
    commit::run,
    task::run,
    large::run,
    mixed::run,
    size::run,
    bounded::run,
    open::run,
];
