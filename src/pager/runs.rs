//! Values in overflow runs (part of pager, layer L4).
//!
//! Owns: reading a run, whole or piece by piece, and which runs are kept in the cache.
//! Must not know: trees, transactions.
//! Keeps: parent-holds-checksum (no whole run is handed out, or kept, without its checksum; of one
//! that is read piece by piece the last piece comes only if all had it).

use super::{Pager, Sight};
use crate::arena::Peeked;
use crate::error::{Error, Result};
use crate::invariant::Invariant;
use crate::node::Run;
use crate::page::{ChildRef, Extent, PageId, RunHash, run_checksum};
use crate::seeded::seeded;
use crate::sync::Arc;
use std::io;

/// Bytes of a run that are held in memory at once where it is read or written in pieces: enough
/// that a request to the disk is long, few enough for the processor's cache.
pub(crate) const PIECE_BYTES: usize = 1 << 18;

/// An overflow run that is read piece by piece, from its beginning.
pub(crate) struct Pieces {
    run: Run,
    hash: RunHash,
    /// Pages that were read.
    read: u32,
}

impl Pieces {
    pub(crate) fn new(run: Run) -> Pieces {
        Pieces { run, hash: RunHash::new(run.first), read: 0 }
    }
}

/// Pages of a run that is kept in the cache, at most. The system's copy of a longer one costs
/// little more than ours.
const KEPT_PAGES_MAX: usize = 64;
/// Such a run takes this part of the frames at most, or one of them.
const KEPT_PART: usize = 16;

/// How the cache knows a run.
fn first_of(run: Run) -> ChildRef {
    ChildRef { id: run.first, checksum: run.checksum }
}

impl<'a> Sight<'a> {
    /// The page that has all of a value, if it is at hand.
    pub(crate) fn peek_run(&self, run: Run) -> Option<Peeked<'_, 'a>> {
        let page = self.look.peek_run(first_of(run))?;
        (run.len as usize <= page.bytes.len()).then_some(page)
    }

    /// Appends a run's value to `out`, if all of its pages are at hand.
    pub(crate) fn copy_run(&self, run: Run, out: &mut Vec<u8>) -> bool {
        self.look.copy_run(first_of(run), run.len as usize, out)
    }
}

impl Pager {
    /// The value of a run whose flush has not ended, which is in memory.
    pub(crate) fn run_in_flight(&self, run: Run) -> Option<Arc<[u8]>> {
        self.in_flight.read().run(run).map(|placed| Arc::clone(&placed.value))
    }

    /// Puts the next bytes of a run's value into `out`, instead of what is there; none at its end.
    /// The last piece comes only if the whole run has its checksum.
    ///
    /// # Errors
    /// Corruption instead of the last piece; what the storage says.
    pub(crate) fn read_piece(&self, pieces: &mut Pieces, out: &mut Vec<u8>) -> Result<()> {
        let Pieces { run, hash, read } = pieces;
        let page_size = self.page_size;
        let most = u32::try_from(PIECE_BYTES / page_size).expect("a piece has few pages");
        let pages = (run.pages(page_size) - *read).min(most);
        out.resize(pages as usize * page_size, 0);
        self.read_pages(PageId(run.first.0 + *read), out)?;
        hash.update(out);
        let before = (*read as usize).saturating_mul(page_size);
        *read += pages;
        if pages > 0 && *read == run.pages(page_size) {
            check_run(*run, hash.checksum())?;
        }
        out.truncate((run.len as usize).saturating_sub(before));
        Ok(())
    }

    /// As [`crate::tree::PageRead::read_run`].
    pub(super) fn read_whole_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        if let Some(value) = self.run_in_flight(run) {
            out.extend_from_slice(&value);
            return Ok(());
        }
        if self.copy_kept(run, out) { Ok(()) } else { self.read_run_anew(run, out) }
    }

    /// Appends a run's value to `out`, from the file.
    pub(crate) fn read_run_anew(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        let from = out.len();
        make_room(out, run.pages(self.page_size), self.page_size)?;
        self.read_pages(run.first, &mut out[from..])?;
        let checked = check_run(run, run_checksum(run.first, &out[from..]));
        if self.is_kept(run) && (checked.is_ok() || seeded!(DamagedRunKept)) {
            self.cache.insert_run(first_of(run), &out[from..], self.page_size);
        }
        let len = if checked.is_ok() { run.len as usize } else { 0 };
        out.truncate(from + len);
        checked
    }

    /// Appends a run's value to `out`, if it was kept.
    fn copy_kept(&self, run: Run, out: &mut Vec<u8>) -> bool {
        if !self.is_kept(run) {
            return false;
        }
        let Some(seat) = self.slots.visit() else { return false };
        self.look(&seat).is_some_and(|sight| sight.copy_run(run, out))
    }

    fn is_kept(&self, run: Run) -> bool {
        let pages_max = KEPT_PAGES_MAX.min(self.cache.frames() / KEPT_PART).max(1);
        run.pages(self.page_size) as usize <= pages_max
    }

    /// Forgets what is kept of pages that will be written anew.
    pub(crate) fn forget_extent(&self, extent: Extent) {
        (extent.first.0..extent.end()).for_each(|id| self.cache.remove(PageId(id)));
    }
}

/// Appends zeros for so many pages.
///
/// # Errors
/// `IoError` when there is not so much memory, or none can have so much: a value of 4 GiB is too
/// large for a process of 32 bits.
fn make_room(out: &mut Vec<u8>, pages: u32, page_size: usize) -> Result<()> {
    let added = (pages as usize).checked_mul(page_size);
    let added = added.filter(|&added| out.try_reserve(added).is_ok()).ok_or_else(|| {
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        Error::io("find memory for a value", &error)
    })?;
    out.resize(out.len() + added, 0);
    Ok(())
}

/// Compares what a run hashes to with what its leaf holds of it.
fn check_run(run: Run, found: u32) -> Result<()> {
    if found == run.checksum || seeded!(RunChecksumNotCompared) {
        return Ok(());
    }
    let (page, invariant) = (Some(run.first.0), Invariant::ParentHoldsChecksum);
    let expected = format_args!("{:#010x}", run.checksum).to_string();
    Err(Error::corruption(page, invariant, expected, format_args!("{found:#010x}")))
}

#[cfg(test)]
mod tests {
    use super::super::InFlight;
    use super::*;
    use crate::tree::PlacedRun;
    use std::collections::BTreeMap;

    /// Attacks: cache-coherent.
    #[test]
    fn a_run_under_way_is_no_other_that_ends_in_fewer_zeros() {
        let first = PageId(7);
        let value: Arc<[u8]> = Arc::from(&b"value"[..]);
        let placed = PlacedRun { extent: Extent { first, pages: 1 }, checksum: 9, value };
        let runs = BTreeMap::from([(first, placed)]);
        let in_flight = InFlight { runs, ..InFlight::default() };
        let found = |len, checksum| in_flight.run(Run { len, first, checksum }).is_some();
        assert!(found(5, 9));
        assert!(!found(5, 8) && !found(6, 9) && !found(4, 9));
    }

    /// Attacks: bytes-never-panic.
    #[test]
    fn a_value_that_memory_cannot_hold_is_an_error() {
        let mut out = vec![7];
        // More than there is (half of 32 bits may be), more than a vector may have, more than a
        // number can say.
        let many = if usize::BITS == 64 { usize::MAX >> 16 } else { usize::MAX >> 14 };
        for (pages, page_size) in
            [(1 << 14, many), (3, 1 << (usize::BITS - 2)), (8, usize::MAX / 4)]
        {
            assert_eq!(make_room(&mut out, pages, page_size), Err(Error::IoError));
            assert_eq!(out, [7]);
        }
        assert_eq!(make_room(&mut out, 2, 4), Ok(()));
        assert_eq!(out, [7, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
