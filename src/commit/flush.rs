//! The flush: a sealed batch goes to the disk (part of commit, layer L5).
//!
//! Owns: the order of writes and barriers. The only caller of sync, and the only writer of the
//! meta slots, beside recovery. Must not know: what pages mean.
//! Keeps: meta-lists-pages, slots-alternate, durable-before-ok, failed-sync-poisons.

use super::early::Length;
use super::seal::Job;
use crate::error::{Error, Result};
use crate::meta::{Meta, Slot};
use crate::pager::Pager;
use crate::seeded::seeded;
use crate::vfs::VfsFile;

/// What became of a flush that failed.
pub(super) enum Failed {
    /// Nothing that recovery looks at was touched; the state before holds. With the length that the
    /// file had, if it was lengthened.
    Before(Error, Option<u64>),
    /// Nobody knows what is durable.
    Unknown(Error),
}

impl Failed {
    fn before(error: Error) -> Failed {
        Failed::Before(error, None)
    }

    fn unknown(error: Error) -> Failed {
        if seeded!(FullDiskAtASyncForgiven, error == Error::NoSpace) {
            return Failed::before(error);
        }
        Failed::Unknown(error.of_unknown_outcome())
    }
}

/// How a barrier is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// The file grew since the last barrier, so its length must be fenced too.
    Grew,
    Same,
}

fn barrier(file: &dyn VfsFile, growth: Growth) -> Result<()> {
    let synced = match growth {
        Growth::Grew => file.sync_all(),
        Growth::Same => file.sync_data(),
    };
    let synced =
        if seeded!(SyncRetriedAndBelieved) { synced.or_else(|_| file.sync_all()) } else { synced };
    synced.map_err(|error| Error::io("sync", &error))
}

/// Writes a job and makes it durable. The file's length is durable up to `fenced_len` bytes; what
/// a flush that failed, or a process that was killed, has added to it is not.
pub(super) fn flush(
    pager: &Pager,
    length: &Length,
    job: &Job,
    fenced_len: u64,
) -> std::result::Result<(), Failed> {
    let wanted = job.meta.file_len();
    let mut growth = Growth::Same;
    let believed = if seeded!(FailedGrowthBelieved) { pager.file().size().ok() } else { None };
    let fenced_len = believed.unwrap_or(fenced_len);
    let mut len_before = None;
    if wanted > fenced_len {
        let len = pager.file().size().map_err(|error| Error::io("ask for the size", &error));
        len_before = Some(len.map_err(Failed::before)?);
        length.grow(pager.file(), wanted).map_err(Failed::before)?;
        growth = if seeded!(GrowthNotFenced) { Growth::Same } else { Growth::Grew };
    }
    let written = pager.write_flight(&job.pages, &job.runs);
    written.map_err(|error| {
        let poisons = seeded!(FullDiskPoisons, error == Error::NoSpace);
        if poisons { Failed::Unknown(error) } else { Failed::Before(error, len_before) }
    })?;
    // Without pages as well: what is told late belongs to the commit before, and the meta page goes
    // over the one before that.
    let has_barrier = !job.pages.is_empty() || !seeded!(NoBarrierWithoutPages);
    if job.data_barrier && has_barrier && !seeded!(MetaBeforeData) {
        barrier(pager.file(), growth).map_err(Failed::unknown)?;
        growth = Growth::Same;
        if job.meta.items.is_empty() && !job.pages.is_empty() && !seeded!(LateFailureBelieved) {
            // A device may report a failure one sync late. Recovery does not write large
            // commits again, so their data must be known to be durable before the meta page is.
            barrier(pager.file(), growth).map_err(Failed::unknown)?;
        }
    }
    let bytes = job.meta.encode(job.slot);
    pager.write_bytes(job.slot.page(), &bytes).map_err(Failed::unknown)?;
    if seeded!(AcknowledgedBeforeSync) {
        return Ok(());
    }
    let unknown: fn(Error) -> Failed =
        if seeded!(PoisonForgotten) { Failed::before } else { Failed::unknown };
    barrier(pager.file(), growth).map_err(unknown)
}

/// Writes a second copy of a durable state into the other slot, so that a file at rest survives
/// the loss of either slot, and the next open has nothing to mend.
pub(super) fn write_mirror(pager: &Pager, meta: &Meta, slot: Slot) -> Result<()> {
    // A failure that the device reports late belongs to the commit, not to the copy.
    if !seeded!(MirrorBeforeFence) {
        barrier(pager.file(), Growth::Same)?;
    }
    let slot = if seeded!(MirrorOverwritesNewest) { slot.other() } else { slot };
    pager.write_bytes(slot.page(), &meta.mirror().encode(slot))?;
    barrier(pager.file(), Growth::Same)
}
