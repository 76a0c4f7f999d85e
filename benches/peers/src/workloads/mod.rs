//! The questions, in groups that share what they set up.

mod commit;
mod read;
mod write;

use crate::engine::Result;
use crate::report::Report;
use crate::settings::Settings;

/// A group: it asks the report which of its rows are wanted, and runs those.
type Group = fn(&Settings, &mut Report) -> Result<()>;

pub const GROUPS: &[Group] = &[read::run, write::run, commit::run];
