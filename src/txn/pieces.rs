//! Entries whose large values come piece by piece (part of txn, layer L6).
//!
//! Owns: [`Shown`]. Must not know: who wants entries so.
//! Keeps: snapshot-stable (a value's reader holds the state too), errors-stick.

use super::iter::Iter;
use super::reader::ValueReader;
use crate::error::Result;
use crate::pager::PIECE_BYTES;
use crate::sync::Arc;

/// A value of which little is in memory.
pub(crate) enum Shown<'a> {
    /// All of a value of less than 256 KiB.
    Whole(&'a [u8]),
    Pieces(ValueReader),
}

impl Iter {
    /// Steps over the next entry, as [`Iter::next_entry`]; a large value is not read yet.
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    pub(crate) fn next_shown(&mut self) -> Result<Option<(&[u8], Shown<'_>)>> {
        let step = self.cursor.next_or_run(&self.hold.core.pager, PIECE_BYTES);
        let entry = self.hold.note(step)?;
        let hold = &self.hold;
        Ok(entry.map(|(key, value)| match value {
            Ok(value) => (key, Shown::Whole(value)),
            Err(run) => (key, Shown::Pieces(ValueReader::of_run(run, Arc::clone(hold)))),
        }))
    }
}
