//! The two slots, and which state counts (part of verify, layer L5).
//!
//! Owns: [`Slots`]: reading both slots, the choice that an open of the file makes, and what the
//! two must be to each other.
//! Must not know: trees, free space. Reads what recovery reads, in the same order.

use super::findings::{Checked, Findings, Flaw};
use super::owners::{Owner, Owners};
use super::page_checksum;
use super::report::{Standing, Violation};
use super::slot::{Item, Meta, page_size_of};
use crate::error::{Error, Result};
use crate::format::{
    HEADER_CHECKSUM, HEADER_ID, META_BODY, META_SLOTS, PAGE_SIZE_MAX, PAGE_SIZE_MIN,
};
use crate::invariant::Invariant;
use crate::page::{PageId, get_u32};
use crate::vfs::{VfsFile, read_exact_at};
use std::cmp::Reverse;

/// The slots of a file.
pub(super) struct Slots {
    pub(super) file_len: u64,
    /// The slots that hold a meta page, the newest first; of two of one transaction the
    /// mirror.
    pub(super) states: Vec<(Meta, Standing)>,
    pub(super) refused: Vec<Violation>,
    /// The item that refused a slot.
    broken: Option<Item>,
}

fn read(file: &dyn VfsFile, bytes: &mut [u8], offset: u64) -> Result<()> {
    read_exact_at(file, bytes, offset).map_err(|error| Error::io("read a page", &error))
}

impl Slots {
    pub(super) fn read(file: &dyn VfsFile) -> Result<Slots> {
        let file_len = file.size().map_err(|error| Error::io("ask for the size", &error))?;
        let states = Vec::with_capacity(META_SLOTS as usize);
        let mut slots = Slots { file_len, states, refused: Vec::new(), broken: None };
        let (first, stated) = match slots.stated_size(file)? {
            Ok(size) => (slots.read_slot(file, 0, size)?, Some(size)),
            Err(flaw) => (Err(flaw), None),
        };
        // The pages have the size that slot 0 tells; when it is damaged, any size may be right.
        let mut second = slots.read_slot(file, 1, stated.unwrap_or(PAGE_SIZE_MIN as usize))?;
        if first.is_err() && (second.is_err() || stated.is_none()) {
            second = slots.search_second(file, stated)?.unwrap_or(second);
        }
        for (slot, read) in [(0, first), (1, second)] {
            match read {
                Ok(meta) => slots.states.push((meta, Standing::Refused)),
                Err(flaw) => {
                    let violation = flaw.at(Some(u32::from(slot)));
                    slots.refused.push(Violation { slot: Some(slot), ..violation });
                }
            }
        }
        slots.states.sort_by_key(|(meta, _)| (Reverse(meta.txn()), !meta.is_mirror()));
        slots.choose(file)?;
        Ok(slots)
    }

    /// Slot 1 with each page size that slot 0 does not tell; nothing if there is none. Where it
    /// would be with another size lies what users wrote, so that one of two cannot be told from
    /// the other.
    fn search_second(
        &self,
        file: &dyn VfsFile,
        stated: Option<usize>,
    ) -> Result<Option<Checked<Meta>>> {
        let all = std::iter::successors(Some(PAGE_SIZE_MIN as usize), |size| Some(size * 2));
        let all = all.take_while(|size| *size <= PAGE_SIZE_MAX as usize);
        let mut found = None;
        for size in all.filter(|&size| Some(size) != stated) {
            let Ok(meta) = self.read_slot(file, 1, size)? else { continue };
            let is_only = found.is_none();
            found = Some(if is_only {
                Ok(meta)
            } else {
                Err(Flaw::new(Invariant::ValidMetaWhole, "one page size", "slot 1 with several"))
            });
        }
        Ok(found)
    }

    /// The page size that slot 0 tells, whatever else is wrong with it.
    fn stated_size(&self, file: &dyn VfsFile) -> Result<Checked<usize>> {
        if self.file_len < META_BODY as u64 {
            return Ok(Err(self.too_short(META_BODY)));
        }
        let mut begin = [0; META_BODY];
        read(file, &mut begin, 0)?;
        Ok(page_size_of(&begin))
    }

    fn too_short(&self, wanted: usize) -> Flaw {
        let expected = format_args!("a file of {wanted} bytes at least");
        Flaw::new(Invariant::ValidMetaWhole, expected, self.file_len)
    }

    /// Reads a slot of a file whose page size is known.
    fn read_slot(&self, file: &dyn VfsFile, slot: u8, page_size: usize) -> Result<Checked<Meta>> {
        let offset = PageId(u32::from(slot)).offset(page_size);
        if self.file_len < offset + page_size as u64 {
            return Ok(Err(self.too_short((usize::from(slot) + 1) * page_size)));
        }
        let mut bytes = vec![0; page_size];
        read(file, &mut bytes, offset)?;
        Ok(Meta::decode(bytes, slot))
    }

    /// Accepts the newest state whose commit is whole, and looks at the other one.
    fn choose(&mut self, file: &dyn VfsFile) -> Result<()> {
        let mut accepted = None;
        let newest = self.states.first().map_or(0, |(meta, _)| meta.txn());
        for (meta, standing) in &mut self.states {
            if let Some((item, flaw)) = find_broken(file, self.file_len, meta)? {
                let page = item.map(|item| item.first);
                let (slot, txn) = (Some(meta.slot), Some(meta.txn()));
                self.refused.push(Violation { slot, txn, ..flaw.at(page) });
                self.broken = item;
                continue;
            }
            if accepted.is_none() && newest - meta.txn() > 1 {
                // What is torn was made on a state that this slot has lost: an open refuses it.
                let expected = format!("transaction {newest} or the one before");
                let flaw = Flaw::new(Invariant::TxnIdsIncrease, expected, meta.txn());
                let (slot, txn) = (Some(meta.slot), Some(meta.txn()));
                self.refused.push(Violation { slot, txn, ..flaw.at(None) });
                continue;
            }
            *standing = match accepted {
                None => Standing::Accepted,
                Some(txn) if txn == meta.txn() => Standing::Twin,
                Some(_) => Standing::Fallback,
            };
            accepted = accepted.or(Some(meta.txn()));
        }
        Ok(())
    }

    /// The slot that holds the accepted state once more.
    pub(super) fn twin(&self) -> Option<&Meta> {
        let twin = self.states.iter().find(|(_, standing)| *standing == Standing::Twin);
        twin.map(|(meta, _)| meta)
    }

    /// Checks the form of the slots, and what they are to each other.
    pub(super) fn check(&self, findings: &mut Findings) {
        if self.states.iter().all(|(_, standing)| *standing == Standing::Refused) {
            self.refused.iter().for_each(|refused| findings.add(|| refused.clone()));
        }
        for (meta, _) in &self.states {
            meta.check_form(|flaw| findings.add(|| flaw_of(meta, flaw)));
        }
        if let [(newer, _), (older, _)] = self.states.as_slice()
            && let Some(flaw) = check_pair(newer, older)
        {
            findings.add(|| flaw_of(older, flaw));
        }
    }

    /// Looks at the older slot, which was refused, beside the accepted state, which is sound:
    /// pages of the older state may have been written again too early.
    pub(super) fn check_overwritten(&self, newer: &Meta, owners: &Owners, findings: &mut Findings) {
        let Some((older, _)) = self.states.iter().find(|(meta, _)| meta.slot != newer.slot) else {
            return;
        };
        let Some(item) = self.broken.filter(|_| older.txn().checked_add(1) == Some(newer.txn()))
        else {
            return;
        };
        for page in item.first..item.first + item.pages {
            let owner = owners.of(page).unwrap_or(Owner::Nobody);
            if owner != Owner::Pending {
                let invariant = Invariant::NoReuseWhileReachable;
                let expected = "a page that the state before needs to be left alone";
                let flaw = Flaw::new(invariant, expected, format_args!("one of {owner}"));
                findings.add(|| Violation { page: Some(page), ..flaw_of(newer, flaw) });
                return;
            }
        }
    }
}

fn flaw_of(meta: &Meta, flaw: Flaw) -> Violation {
    let violation = flaw.at(Some(u32::from(meta.slot)));
    Violation { slot: Some(meta.slot), txn: Some(meta.txn()), ..violation }
}

/// What two slots must be to each other.
fn check_pair(newer: &Meta, older: &Meta) -> Option<Flaw> {
    let (new, old) = (newer.txn(), older.txn());
    let alternate = Invariant::SlotsAlternate;
    if new - old > 1 {
        let expected = format_args!("transaction {new} or {}", new - 1);
        return Some(Flaw::new(Invariant::TxnIdsIncrease, expected, old));
    }
    if new == old && !newer.is_mirror() && !older.is_mirror() {
        return Some(Flaw::new(alternate, "two transactions, or a mirror", "the same twice"));
    }
    if new == old && !newer.is_same_state(older) {
        let expected = "slots of one transaction to hold one state";
        return Some(Flaw::new(alternate, expected, "two"));
    }
    None
}

/// What recovery refuses a state for: the item, where it is one.
fn find_broken(
    file: &dyn VfsFile,
    file_len: u64,
    meta: &Meta,
) -> Result<Option<(Option<Item>, Flaw)>> {
    let whole = Invariant::ValidMetaWhole;
    let wanted = PageId(meta.page_count()).offset(meta.page_size());
    if file_len < wanted {
        return Ok(Some((None, Flaw::new(whole, format_args!("{wanted} bytes"), file_len))));
    }
    let mut bytes = Vec::new();
    for item in meta.items() {
        bytes.resize(meta.page_size(), 0);
        let mut found = crc32c::crc32c(&item.first.to_le_bytes());
        for page in item.first..item.first + item.pages {
            read(file, &mut bytes, PageId(page).offset(meta.page_size()))?;
            found = crc32c::crc32c_append(found, &bytes);
        }
        if !item.is_run {
            found = get_u32(&bytes, HEADER_CHECKSUM);
            let is_itself = get_u32(&bytes, HEADER_ID) == item.first;
            if !is_itself || found != page_checksum(&bytes) {
                let flaw = Flaw::new(whole, "a page that the commit wrote", "another, or a part");
                return Ok(Some((Some(item), flaw)));
            }
        }
        if found != item.checksum {
            let (expected, found) = (format!("{:#010x}", item.checksum), format!("{found:#010x}"));
            return Ok(Some((Some(item), Flaw::new(whole, expected, found))));
        }
    }
    Ok(None)
}
