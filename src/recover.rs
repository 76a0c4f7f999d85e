//! Recovery: choosing a state when a file is opened (layer L5).
//!
//! Owns: the choice between the slots, the check of what a commit wrote, the re-writing of what
//! may not be durable, and the bytes of a new file.
//! Must not know: transactions, handles. Reads a number of pages that does not depend on the
//! number of keys: two slots, the items of one commit or two, and the space log.
//! Keeps: valid-meta-whole, slots-alternate, bytes-never-panic, failed-sync-poisons (what an
//! earlier process failed to sync is written and fenced again before anything builds on it),
//! parent-holds-checksum and child-not-newer (along the space log).

use crate::catalog::Catalog;
use crate::commit::Start;
use crate::error::{Error, Fault, Result};
use crate::format::{
    HEADER_COUNT, HEADER_KIND, HEADER_TXN, KIND_SPACE_LOG, LOG_BODY, LOG_PREVIOUS,
    LOG_PREVIOUS_CHECKSUM, META_BODY, META_MAGIC, META_PAGE_COUNT, META_SLOTS, PAGE_SIZE_MAX,
    PAGE_SIZE_MIN, log_page_words_max,
};
use crate::invariant::Invariant;
use crate::meta::{CatalogPart, Item, Meta, Slot, is_of_a_commit, page_size_of};
use crate::page::{
    ChildRef, Extent, PageId, TxnId, check_bytes, get_u16, get_u32, get_u64, not_meant,
    run_checksum, too_new,
};
use crate::pager::write_extents;
use crate::readers::State;
use crate::seeded::seeded;
use crate::space::{FreeSpace, LogPage};
use crate::vfs::{VfsFile, read_exact_at, write_all_at};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Display;

/// Whether recovery may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A slot that was read: its meta page, and the bytes it came from.
struct Found {
    slot: Slot,
    meta: Meta,
    bytes: Vec<u8>,
}

/// What a commit wrote in one place.
struct Piece {
    extent: Extent,
    bytes: Vec<u8>,
}

/// The bytes of a new file: both slots hold the empty state 0.
pub(crate) fn initial_bytes(page_size: usize) -> Vec<u8> {
    let mut meta = Meta {
        txn: TxnId(0),
        page_size,
        page_count: META_SLOTS,
        is_mirror: false,
        buckets: 0,
        catalog: CatalogPart::Inline(Vec::new()),
        log_head: None,
        log_pages: 0,
        items: Vec::new(),
        tail: FreeSpace::new(META_SLOTS).tail().to_vec(),
    };
    let mut out = meta.encode(Slot::Zero);
    meta.is_mirror = true;
    out.extend(meta.encode(Slot::One));
    out
}

/// Whether a file without a state that can be chosen is more than what a creator that died may have
/// left of [`initial_bytes`], whatever their page size: a damaged store, or one of another version.
///
/// # Errors
/// What the storage says.
pub(crate) fn is_more_than_begun(file: &dyn VfsFile) -> Result<bool> {
    let file_len = file.size().map_err(|error| Error::io("ask for the size", &error))?;
    if file_len > u64::from(META_SLOTS * PAGE_SIZE_MAX) {
        return Ok(true);
    }
    for offset in std::iter::once(0).chain(page_sizes()) {
        if offset as u64 + META_BODY as u64 > file_len {
            break;
        }
        if is_of_a_commit(&read_bytes(file, file_len, offset as u64, META_BODY)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every page size, in bytes.
fn page_sizes() -> impl Iterator<Item = usize> {
    let sizes = std::iter::successors(Some(PAGE_SIZE_MIN), |size| Some(size * 2));
    sizes.take_while(|size| *size <= PAGE_SIZE_MAX).map(|size| size as usize)
}

/// Chooses the state of a file and, with write access, makes sure that it is durable.
///
/// # Errors
/// Corruption when no slot holds a state that is whole; what the storage says.
pub(crate) fn recover(file: &dyn VfsFile, access: Access) -> Result<Start> {
    let file_len = file.size().map_err(|error| Error::io("ask for the size", &error))?;
    let found = read_slots(file, file_len)?;
    let (chosen, written) = choose(file, file_len, &found)?;
    let accepted = &found[chosen];
    let other = found.iter().find(|other| other.slot != accepted.slot);
    let twin = other.filter(|other| other.meta.txn == accepted.meta.txn);
    let is_clean = twin.is_some_and(|twin| twin.meta.is_mirror != accepted.meta.is_mirror);
    let mut is_mirrored = twin.is_some();
    let may_write = access == Access::ReadWrite || seeded!(RecoveryWritesReadOnly);
    let mends = may_write && !is_clean;
    // Before anything is written: a store that is refused is left as it is.
    let catalog = read_catalog(&accepted.meta)?;
    let (space, space_fault) = match read_space(file, &accepted.meta) {
        Ok(space) => (space, None),
        // Who reads needs no free pages, and may save what is there.
        Err(error) if !may_write => (FreeSpace::new(META_SLOTS), Some(Fault::keep(error))),
        Err(error) => return Err(error),
    };
    if mends {
        // Before the older commit is read, which the disk need not wait for.
        write_whole(file, file_len, accepted, &written)?;
    }
    let original = twin.filter(|_| is_clean && accepted.meta.is_mirror && may_write);
    let next_slot = match original {
        // The copy is overwritten next: the original is durable for sure.
        Some(original) if is_still_whole(file, file_len, original) => accepted.slot,
        Some(_) => {
            // Only the copy is accepted from now on, and it may be in the system's cache only.
            write_again(file, accepted, &[])?;
            // Twice: a device may tell one sync late that a sync failed.
            sync(file)?;
            sync(file)?;
            accepted.slot.other()
        }
        None => accepted.slot.other(),
    };
    if mends {
        let older = other.filter(|other| other.meta.txn <= accepted.meta.txn);
        fence(file, file_len, accepted, older, &space)?;
        if older.is_none() && !seeded!(RejectedSlotLeftAlone) {
            mirror(file, &accepted.meta, accepted.slot.other())?;
            is_mirrored = true;
        }
    }
    let meta = accepted.meta.clone();
    let state = State::new(meta.txn, meta.page_count, catalog);
    // Whatever lies behind, an earlier process may have added without making it durable.
    let fenced_len = meta.file_len();
    // A copy is written when what it copies is durable: of two copies, one is.
    let is_fenced =
        may_write || twin.is_some_and(|twin| twin.meta.is_mirror || accepted.meta.is_mirror);
    Ok(Start { meta, state, space, space_fault, next_slot, is_mirrored, is_fenced, fenced_len })
}

/// Reads the slots that hold a meta page; at least one does.
fn read_slots(file: &dyn VfsFile, file_len: u64) -> Result<Vec<Found>> {
    let mut stated = None;
    let first = read_first_slot(file, file_len, &mut stated).map_err(Fault::keep);
    // Slot 0 may be torn; the size that it states is the file's, unless that is damaged.
    let second =
        stated.map_or(Err(Error::Corruption), |size| read_slot(file, file_len, Slot::One, size));
    let second = match second {
        Err(Error::Corruption) if first.is_err() => search_second(file, file_len, stated),
        second => second,
    };
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(vec![first, second]),
        (Ok(first), Err(Error::Corruption)) => Ok(vec![first]),
        (Err(fault), Ok(second)) if fault.error() == Error::Corruption => Ok(vec![second]),
        // What is wrong with the first slot says more than that no size fits the second.
        (Err(fault), Ok(_) | Err(Error::Corruption)) => Err(fault.raise()),
        (Ok(_), Err(error)) => Err(error),
        // A slot that could not be read may be whole.
        (Err(fault), Err(error)) if fault.error() == Error::Corruption => Err(error),
        (Err(fault), Err(_)) => Err(fault.raise()),
    }
}

/// Slot 1 with the only page size, beside the one that slot 0 states, with which there is one.
/// Where it would be with another lies what users wrote, which may look like a slot.
fn search_second(file: &dyn VfsFile, file_len: u64, stated: Option<usize>) -> Result<Found> {
    let mut only = Err(Error::Corruption);
    for size in page_sizes().filter(|&size| Some(size) != stated) {
        match read_slot(file, file_len, Slot::One, size) {
            Ok(_) if only.is_ok() => return Err(Error::Corruption),
            Ok(found) => only = only.or(Ok(found)),
            Err(Error::Corruption) => {}
            Err(error) => return Err(error),
        }
    }
    only
}

/// Reads slot 0, which states the page size; `stated` is what it states, whatever else is wrong.
fn read_first_slot(file: &dyn VfsFile, file_len: u64, stated: &mut Option<usize>) -> Result<Found> {
    let size = page_size_of(&read_bytes(file, file_len, 0, META_BODY)?, Slot::Zero)?;
    *stated = Some(size);
    read_slot(file, file_len, Slot::Zero, size)
}

/// Reads one slot of a file whose page size is known.
fn read_slot(file: &dyn VfsFile, file_len: u64, slot: Slot, page_size: usize) -> Result<Found> {
    let bytes = read_bytes(file, file_len, slot.page().offset(page_size), page_size)?;
    let meta = Meta::decode(&bytes, slot)?;
    Ok(Found { slot, meta, bytes })
}

fn read_bytes(file: &dyn VfsFile, file_len: u64, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    if offset + len as u64 > file_len {
        let expected = format!("{} bytes", offset + len as u64);
        let page = Some(u32::from(offset > 0));
        return Err(Error::corruption(page, Invariant::ValidMetaWhole, expected, file_len));
    }
    read_exact_at(file, &mut bytes, offset)
        .map_err(|error| Error::io("read a meta page", &error))?;
    Ok(bytes)
}

/// Whether what a commit wrote, which was durable, is what it was: a page may be damaged since, or
/// not be readable any more.
fn is_still_whole(file: &dyn VfsFile, file_len: u64, original: &Found) -> bool {
    seeded!(DamagedOriginalTrusted) || check_whole(file, file_len, &original.meta).is_ok()
}

/// The newest slot whose commit is whole, and what that commit wrote. Of two slots with one state
/// the copy comes first: it lists nothing that could not be read.
fn choose(file: &dyn VfsFile, file_len: u64, found: &[Found]) -> Result<(usize, Vec<Piece>)> {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by_key(|&at| (Reverse(found[at].meta.txn), !found[at].meta.is_mirror));
    if seeded!(OlderSlotPreferred) {
        order.reverse();
    }
    let mut refusal = None;
    for &at in &order {
        match check_whole(file, file_len, &found[at].meta) {
            Ok(written) => {
                check_next(&found[at].meta, &found[order[0]].meta)?;
                return Ok((at, written));
            }
            Err(error @ Error::Corruption) => {
                // The newest state is the one that is missed.
                refusal.get_or_insert_with(|| Fault::keep(error));
            }
            Err(error) => return Err(error),
        }
    }
    Err(refusal.map_or(Error::Corruption, |fault| fault.raise()))
}

/// Whether the newest state, if it was refused, is the next one to that which is accepted: a commit
/// that a crash tore was made on the state in the other slot. If it is not, that slot has lost what
/// was written to it, and nobody knows how many commits.
fn check_next(accepted: &Meta, newest: &Meta) -> Result<()> {
    if newest.txn <= accepted.txn.next() || seeded!(LostStatesPassedOver) {
        return Ok(());
    }
    let expected = format!("transaction {} or the one before", newest.txn.0);
    let found = format!("{} as the newest that is whole", accepted.txn.0);
    Err(Error::corruption(None, Invariant::TxnIdsIncrease, expected, found))
}

/// Checks that a file holds what a meta page says its commit wrote, item by item.
fn check_whole(file: &dyn VfsFile, file_len: u64, meta: &Meta) -> Result<Vec<Piece>> {
    let wanted = meta.file_len();
    if file_len < wanted && !seeded!(FileLengthNotChecked) {
        let (invariant, wanted) = (Invariant::ValidMetaWhole, format!("{wanted} bytes"));
        return Err(Error::corruption(None, invariant, wanted, file_len));
    }
    if seeded!(ListNotChecked) {
        return Ok(Vec::new());
    }
    meta.items.iter().map(|item| read_item(file, meta.page_size, *item)).collect()
}

/// Reads an item's pages, if they are what was written.
fn read_item(file: &dyn VfsFile, page_size: usize, item: Item) -> Result<Piece> {
    let mut bytes = vec![0; item.extent.pages as usize * page_size];
    read_exact_at(file, &mut bytes, item.extent.first.offset(page_size))
        .map_err(|error| Error::io("read pages of the last commit", &error))?;
    let found = if item.is_run {
        run_checksum(item.extent.first, &bytes)
    } else {
        check_bytes(&bytes, item.extent.first)?;
        get_u32(&bytes, 0)
    };
    if found == item.checksum || (seeded!(ListCheckedByPageOnly) && !item.is_run) {
        return Ok(Piece { extent: item.extent, bytes });
    }
    let page = Some(item.extent.first.0);
    let expected = format!("{:#010x}", item.checksum);
    Err(Error::corruption(page, Invariant::ValidMetaWhole, expected, format!("{found:#010x}")))
}

/// Writes what the accepted state relies on: an earlier process may have seen its sync fail and
/// left it in the system's cache only.
fn write_whole(file: &dyn VfsFile, len: u64, accepted: &Found, written: &[Piece]) -> Result<()> {
    file.set_len(len).map_err(|error| Error::io("set the length while recovering", &error))?;
    if seeded!(RecoveryTrustsPageCache) {
        return Ok(());
    }
    write_again(file, accepted, written)
}

/// Writes what the state before the accepted one relied on, as far as that has it still, and fences
/// both. Without an `older` state in the other slot, that one is emptied.
fn fence(
    file: &dyn VfsFile,
    file_len: u64,
    accepted: &Found,
    older: Option<&Found>,
    space: &FreeSpace,
) -> Result<()> {
    if seeded!(RecoveryTrustsPageCache) {
        return sync(file);
    }
    if let Some(older) = older {
        // A device may report a failure one sync late: then it was this commit's.
        if !seeded!(OlderCommitNotWrittenAgain) {
            write_again(file, older, &read_what_is_left(file, file_len, &older.meta, space)?)?;
        }
    } else if !seeded!(RejectedSlotLeftAlone | RefusedSlotNotEmptied) {
        empty(file, accepted)?;
    }
    if seeded!(RecoveryNotFenced) {
        return Ok(());
    }
    sync(file)?;
    // A device may report a failure one sync late: the next commit would go over the older slot
    // before it is told. Without an older state, the copy that follows waits for that.
    if older.is_some() { sync(file) } else { Ok(()) }
}

/// Reads what an older commit wrote, as far as the newer one has it still: pages that were freed
/// since, or cut off, are not needed, and may be damaged.
fn read_what_is_left(
    file: &dyn VfsFile,
    file_len: u64,
    meta: &Meta,
    space: &FreeSpace,
) -> Result<Vec<Piece>> {
    let is_needed = |item: &&Item| {
        let end = u64::from(item.extent.end()) * meta.page_size as u64;
        end <= file_len && !space.has_unused(item.extent)
    };
    let read =
        meta.items.iter().filter(is_needed).map(|item| read_item(file, meta.page_size, *item));
    read.filter(|read| !matches!(read, Err(Error::Corruption))).collect()
}

/// Writes what a commit wrote, neighbours together, and then its meta page.
fn write_again(file: &dyn VfsFile, found: &Found, pieces: &[Piece]) -> Result<()> {
    let page_size = found.meta.page_size;
    let pieces = pieces.iter().map(|piece| (piece.extent, &*piece.bytes)).collect();
    write_extents(file, page_size, pieces)?;
    write(file, &found.bytes, found.slot.page().offset(page_size))
}

/// Empties the other slot, which was refused and must not come to life when its missing pages are
/// written again by chance. The copy that follows would not do: whoever finds it takes the file for
/// one that was closed cleanly, though its sync may have failed, or never come, and the disk still
/// have the refused slot. The page size stays: a crash may leave a part of the slot as it was, with
/// names of buckets, and without the size a name may be taken for the slot behind this one.
fn empty(file: &dyn VfsFile, accepted: &Found) -> Result<()> {
    let mut bytes = vec![0; accepted.meta.page_size];
    let stated = META_MAGIC..META_PAGE_COUNT;
    bytes[stated.clone()].copy_from_slice(&accepted.bytes[stated]);
    write(file, &bytes, accepted.slot.other().page().offset(accepted.meta.page_size))
}

/// Writes a copy of an accepted, fenced state into the other slot, which is empty on the disk.
fn mirror(file: &dyn VfsFile, meta: &Meta, slot: Slot) -> Result<()> {
    // A failure that the device reports late belongs to the emptied slot, not to the copy.
    if !seeded!(RecoveryMirrorsBeforeFence) {
        sync(file)?;
    }
    write(file, &meta.mirror().encode(slot), slot.page().offset(meta.page_size))?;
    sync(file)
}

fn write(file: &dyn VfsFile, bytes: &[u8], offset: u64) -> Result<()> {
    write_all_at(file, bytes, offset).map_err(|error| Error::io("write while recovering", &error))
}

fn sync(file: &dyn VfsFile) -> Result<()> {
    file.sync_all().map_err(|error| Error::io("sync while recovering", &error))
}

fn read_catalog(meta: &Meta) -> Result<Catalog> {
    Catalog::from_part(&meta.catalog, meta.buckets, meta.txn)
}

fn read_space(file: &dyn VfsFile, meta: &Meta) -> Result<FreeSpace> {
    let log = read_log(file, meta)?;
    FreeSpace::replay(meta.txn, meta.page_count, &log, &meta.tail)
}

/// Reads the space log, oldest page first.
fn read_log(file: &dyn VfsFile, meta: &Meta) -> Result<Vec<LogPage>> {
    let mut log = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut next, mut txn_max) = (meta.log_head, meta.txn);
    for _ in 0..meta.log_pages {
        let broken = |found: &dyn Display| {
            let page = next.map(|next| next.id.0);
            Error::corruption(page, Invariant::SpaceLogReplays, "a page of the space log", found)
        };
        let Some(page) = next else { return Err(broken(&"the end")) };
        let in_file = page.id.0 >= META_SLOTS && page.id.0 < meta.page_count;
        if !in_file || !seen.insert(page.id) {
            return Err(broken(&page.id));
        }
        let mut bytes = vec![0; meta.page_size];
        read_exact_at(file, &mut bytes, page.id.offset(meta.page_size))
            .map_err(|error| Error::io("read the space log", &error))?;
        check_bytes(&bytes, page.id)?;
        txn_max = check_log_page(&bytes, page, txn_max)?;
        let count = usize::from(get_u16(&bytes, HEADER_COUNT));
        let is_log = bytes[HEADER_KIND] == KIND_SPACE_LOG;
        if !is_log || count > log_page_words_max(meta.page_size) {
            return Err(broken(&"another page"));
        }
        let words = (0..count).map(|at| get_u32(&bytes, LOG_BODY + at * 4)).collect();
        log.push(LogPage { id: page.id, checksum: page.checksum, words });
        let previous = PageId(get_u32(&bytes, LOG_PREVIOUS));
        let checksum = get_u32(&bytes, LOG_PREVIOUS_CHECKSUM);
        next = (previous != PageId::NONE).then_some(ChildRef { id: previous, checksum });
    }
    log.reverse();
    Ok(log)
}

/// Whether a page of the log is the one that what points to it means. Returns its transaction,
/// which bounds that of the page before.
fn check_log_page(bytes: &[u8], page: ChildRef, txn_max: TxnId) -> Result<TxnId> {
    let (checksum, txn) = (get_u32(bytes, 0), TxnId(get_u64(bytes, HEADER_TXN)));
    if checksum != page.checksum && !seeded!(LogPageNotCompared) {
        return Err(not_meant(page, checksum));
    }
    if txn > txn_max {
        return Err(too_new(page.id, txn_max, txn));
    }
    Ok(txn)
}
