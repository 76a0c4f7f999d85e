//! An independent walk of a whole file (layer L5).
//!
//! Owns: [`verify_file`] and [`verify_path`]: which states an open of the file may choose, and
//! whether all that is known of a sound state holds of each of them.
//! Must not know: the engine's search, its codecs, its free space; all of it is written a second
//! time here, from `docs/format.md`.
//! Keeps: bytes-never-panic (a file's length bounds all memory and time).
//!
//! The walk goes on after a violation where what follows can still be read: below a page that is
//! not the one its parent means nothing can be counted, and then no page is called lost.

mod catalog;
mod findings;
mod inspect;
mod json;
mod node;
mod owners;
mod replay;
mod report;
mod slot;
mod slots;
mod space;
mod walk;

pub use owners::Owner;
pub use report::{BucketReport, Report, Standing, StateReport, Violation};

use crate::error::{Error, Result};
use crate::format::{HEADER_CHECKSUM, META_BUCKETS, META_CATALOG_LEVEL};
use crate::invariant::Invariant;
use crate::seeded::seeded;
use crate::vfs::{LockMode, OpenMode, Vfs, VfsFile};
use catalog::Bucket;
use findings::{Findings, Flaw};
use inspect::{Inspection, Listed, Part};
use owners::Owners;
use slot::Meta;
use slots::Slots;
use std::path::Path;
use walk::{Counts, Entries, Scratch, Walk};

/// The checksum of a page, by another library than the engine's.
fn page_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(&bytes[HEADER_CHECKSUM + 4..])
}

/// Walks the file behind a path, which is only read, under a shared lock.
///
/// ```
/// use btree_store::verify::verify_path;
/// use btree_store::vfs::MemVfs;
/// let vfs = MemVfs::new();
/// vfs.write_file("numbers.db", b"this is no database");
/// let report = verify_path(&vfs, "numbers.db")?;
/// assert!(!report.is_sound() && report.states.is_empty());
/// # Ok::<(), btree_store::Error>(())
/// ```
///
/// # Errors
/// `Busy` when the file is open for writing; `IoError` when the storage fails, also when there is
/// no such file, and when there is no byte of memory for each page of the file. What is wrong with
/// the bytes is in the report.
pub fn verify_path(vfs: &dyn Vfs, path: impl AsRef<Path>) -> Result<Report> {
    let path = path.as_ref();
    verify_at(vfs, path).map_err(|error| error.of_file(path))
}

fn verify_at(vfs: &dyn Vfs, path: &Path) -> Result<Report> {
    let file = vfs.open(path, OpenMode::Read);
    let file = file.map_err(|error| Error::io("open the file", &error))?;
    let locked = file.try_lock(LockMode::Shared);
    if !locked.map_err(|error| Error::io("lock the file", &error))? {
        return Err(Error::Busy.bare());
    }
    verify_file(&*file)
}

/// Walks a file, which is only read. Nobody may write it meanwhile. Takes a byte of memory for each
/// page of the file, twice where the state before is there, and the words of the space log.
///
/// # Errors
/// `IoError` when the storage fails, or there is not so much memory. What is wrong with the bytes
/// is in the report, also when they are no file of this format.
pub fn verify_file(file: &dyn VfsFile) -> Result<Report> {
    let slots = Slots::read(file)?;
    let mut findings = Findings::default();
    slots.check(&mut findings);
    let mut memory = Memory { scratch: Scratch::new(), listed: Listed::default() };
    let mut newer: Option<(&Meta, Owners, bool)> = None;
    let mut states = Vec::with_capacity(slots.states.len());
    for (meta, standing) in &slots.states {
        let mut owners = Owners::default();
        let mut state = blank_state(meta, *standing);
        match standing {
            Standing::Accepted => {
                // A copy lists nothing, where the original may.
                let is_original = |twin: &&Meta| twin.has_items() && twin.is_same_state(meta);
                let source = slots.twin().filter(is_original).unwrap_or(meta);
                let before = findings.count();
                let inspection =
                    Inspection::new(file, source, &mut owners, &mut memory.listed, &mut findings)?;
                inspect_state(inspection, &mut memory.scratch, &mut state)?;
                newer = Some((source, owners, findings.count() == before));
            }
            Standing::Fallback => {
                let inspection =
                    Inspection::new(file, meta, &mut owners, &mut memory.listed, &mut findings)?;
                inspect_state(inspection, &mut memory.scratch, &mut state)?;
                let accepted = newer.as_ref().filter(|(_, _, is_sound)| *is_sound);
                if let Some((newer, newer_owners, _)) = accepted
                    && state.is_complete
                    && meta.txn().checked_add(1) == Some(newer.txn())
                {
                    compare_states(newer, newer_owners, &owners, &mut findings);
                }
            }
            Standing::Refused => {
                if let Some((newer, owners, true)) = &newer {
                    slots.check_overwritten(newer, owners, &mut findings);
                }
            }
            Standing::Twin => {}
        }
        states.push(state);
    }
    let owners = newer.map(|(_, owners, _)| owners).unwrap_or_default();
    let page_size = slots.states.first().map(|(meta, _)| meta.page_size());
    Ok(Report {
        page_size: page_size.and_then(|size| u32::try_from(size).ok()),
        file_len: slots.file_len,
        states,
        refused: slots.refused,
        violations: findings.kept,
        violations_dropped: findings.dropped,
        owners,
    })
}

/// What one walk leaves to the next.
struct Memory {
    scratch: Scratch,
    listed: Listed,
}

/// The report of a state that nobody has looked at.
fn blank_state(meta: &Meta, standing: Standing) -> StateReport {
    StateReport {
        slot: meta.slot,
        txn: meta.txn(),
        is_mirror: meta.is_mirror(),
        standing,
        is_complete: false,
        page_count: meta.page_count(),
        reachable: 0,
        catalog_pages: 0,
        log_pages: 0,
        free: 0,
        pending: 0,
        lost: 0,
        buckets: Vec::new(),
    }
}

/// Walks all that belongs to a state, and counts its pages.
fn inspect_state(
    mut inspection: Inspection<'_>,
    scratch: &mut Scratch,
    state: &mut StateReport,
) -> Result<()> {
    let mut buckets = Vec::new();
    inspect_catalog(&mut inspection, scratch, &mut buckets, state)?;
    inspection.trail.part = Part::Bucket;
    state.buckets.reserve(buckets.len());
    for bucket in &buckets {
        state.buckets.push(inspect_bucket(&mut inspection, scratch, bucket)?);
    }
    space::inspect(&mut inspection)?;
    inspection.trail.part = Part::Slot;
    inspection.check_listed();
    state.is_complete = inspection.is_complete;
    let count = |owner| inspection.owners.count(|found| found == owner);
    state.reachable = inspection.owners.count(Owner::is_reachable);
    state.log_pages = count(Owner::Log);
    state.free = count(Owner::Free);
    state.pending = count(Owner::Pending);
    state.lost = count(Owner::Nobody);
    if state.is_complete && state.lost > 0 && !seeded!(AccountingAlwaysZero) {
        report_lost(&mut inspection);
    }
    Ok(())
}

/// Adds a violation for each row of pages that nobody owns.
fn report_lost(inspection: &mut Inspection<'_>) {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    for (page, owner) in inspection.owners.iter() {
        match rows.last_mut() {
            _ if owner != Owner::Nobody => {}
            Some((_, end)) if *end == page => *end += 1,
            _ => rows.push((page, page + 1)),
        }
    }
    for (first, end) in rows {
        let lost = end - first;
        let found = format_args!("none, {lost} pages from here on are lost");
        inspection.report(Some(first), Invariant::PageOwnedOnce, "an owner", found);
    }
}

fn inspect_catalog(
    inspection: &mut Inspection<'_>,
    scratch: &mut Scratch,
    buckets: &mut Vec<Bucket>,
    state: &mut StateReport,
) -> Result<()> {
    let meta = inspection.meta;
    let slot = u32::from(meta.slot);
    if !meta.has_catalog_tree() {
        if let Err(flaw) = catalog::read_inline(meta, buckets) {
            inspection.report_flaw(slot, flaw);
            inspection.is_complete = false;
        }
        return Ok(());
    }
    inspection.trail.part = Part::Catalog;
    // The slot was decoded, so that the level has 8 bits.
    let level = u8::try_from(meta.field(META_CATALOG_LEVEL)).unwrap_or(0);
    let root = (meta.catalog_root(), level);
    let counts = Walk::run(inspection, scratch, Entries::Collect(buckets), root)?;
    state.catalog_pages = counts.leaf_pages + counts.branch_pages;
    inspection.trail.part = Part::Slot;
    let stated = u64::from(meta.field(META_BUCKETS));
    if !counts.is_partial && counts.entries != stated {
        let expected = format_args!("{stated} buckets");
        inspection.report(Some(slot), Invariant::EntryCount, expected, counts.entries);
    }
    Ok(())
}

fn inspect_bucket(
    inspection: &mut Inspection<'_>,
    scratch: &mut Scratch,
    bucket: &Bucket,
) -> Result<BucketReport> {
    inspection.trail.name.clone_from(&bucket.name);
    let counts = match bucket.root {
        Some(root) => Walk::run(inspection, scratch, Entries::Count, root)?,
        None => Counts::default(),
    };
    check_counts(inspection, bucket, &counts);
    let pages = counts.leaf_pages + counts.branch_pages;
    Ok(BucketReport {
        name: String::from_utf8_lossy(&bucket.name).into_owned(),
        entries: counts.entries,
        level: bucket.root.map(|(_, level)| level),
        leaf_pages: counts.leaf_pages,
        branch_pages: counts.branch_pages,
        overflow_pages: counts.overflow_pages,
        key_bytes: counts.key_bytes,
        value_bytes: counts.value_bytes,
        used_bytes: counts.used_bytes,
        tree_bytes: pages * inspection.meta.page_size() as u64,
    })
}

/// Compares what a tree holds with what its record says.
fn check_counts(inspection: &mut Inspection<'_>, bucket: &Bucket, counts: &Counts) {
    if counts.is_partial {
        return;
    }
    let (page, count) = (Some(bucket.page), Invariant::EntryCount);
    if counts.entries != bucket.entries {
        let expected = format_args!("{} entries, as the record says", bucket.entries);
        inspection.report(page, count, expected, counts.entries);
    }
    if counts.overflow_pages != bucket.overflow_pages {
        let expected = format_args!("{} overflow pages, as the record says", bucket.overflow_pages);
        inspection.report(page, count, expected, counts.overflow_pages);
    }
}

/// Checks that the state before the accepted one can still be read, and that the accepted one
/// holds back just what it does not need itself.
fn compare_states(newer: &Meta, owners: &Owners, older: &Owners, findings: &mut Findings) {
    let (slot, txn) = (Some(newer.slot), Some(newer.txn()));
    let mut report = |page, invariant, expected: &str, owner: Owner| {
        let flaw = Flaw::new(invariant, expected, owner);
        findings.add(|| Violation { slot, txn, ..flaw.at(Some(page)) });
    };
    let page_count = owners.page_count().max(older.page_count());
    for page in 0..page_count {
        let now = owners.of(page).unwrap_or(Owner::Nobody);
        let before = older.of(page).unwrap_or(Owner::Nobody);
        if before.is_read() && !now.is_read() && now != Owner::Pending {
            let expected = "a page of the state before to be in use or pending";
            report(page, Invariant::NoReuseWhileReachable, expected, now);
        } else if now == Owner::Pending && !before.is_read() {
            let expected = "a pending page to be one of the state before";
            report(page, Invariant::SpaceLogReplays, expected, before);
        }
    }
}
