//! The inspection of one state (part of verify, layer L5).
//!
//! Owns: [`Inspection`]: reading a page of the state and holding it against what points to it,
//! the owners of the pages, what the meta page lists, and where the walk is.
//! Must not know: how trees or the space log hang together.

use super::findings::{Findings, Flaw};
use super::owners::{Owner, Owners, Refusal};
use super::page_checksum;
use super::report::{Shown, Violation};
use super::slot::{Item, Meta, Pointer};
use crate::error::{Error, Result};
use crate::format::{HEADER_CHECKSUM, HEADER_ID, HEADER_TXN, LEVELS_MAX};
use crate::invariant::Invariant;
use crate::page::{PageId, get_u32, get_u64};
use crate::vfs::{VfsFile, read_exact_at};
use std::fmt;

/// What is being walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Slot,
    Catalog,
    Bucket,
    SpaceLog,
}

/// Where the walk is, for those who read the report.
pub(super) struct Trail {
    pub(super) part: Part,
    /// The bucket's name.
    pub(super) name: Vec<u8>,
    /// The page at each level, from `root` down to `here`.
    pub(super) pages: [u32; LEVELS_MAX as usize],
    pub(super) root: usize,
    pub(super) here: usize,
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Slot => return Ok(()),
            Part::SpaceLog => return f.write_str("space log"),
            Part::Catalog => f.write_str("catalog")?,
            Part::Bucket => {
                write!(f, "bucket \"{}\"", Shown(&String::from_utf8_lossy(&self.name)))?;
            }
        }
        let levels = (self.here..=self.root).rev();
        levels.into_iter().try_for_each(|at| write!(f, ", level {at} page {}", self.pages[at]))
    }
}

/// What the meta page lists, and what of it was met.
#[derive(Default)]
pub(super) struct Listed {
    items: Vec<(Item, bool)>,
}

impl Listed {
    pub(super) fn reset(&mut self, meta: &Meta) {
        self.items.clear();
        self.items.extend(meta.items().map(|item| (item, false)));
    }

    /// Notes that a page or a run was met. `false` when it is not listed as it is.
    fn meet(&mut self, met: Item) -> bool {
        let Ok(at) = self.items.binary_search_by_key(&met.first, |(item, _)| item.first) else {
            return false;
        };
        let (item, is_met) = &mut self.items[at];
        let is_right = *item == met;
        *is_met |= is_right;
        is_right
    }

    /// The first item that was not met.
    fn missed(&self) -> Option<Item> {
        self.items.iter().find(|(_, is_met)| !is_met).map(|(item, _)| *item)
    }
}

/// A state under inspection.
pub(super) struct Inspection<'a> {
    pub(super) file: &'a dyn VfsFile,
    pub(super) meta: &'a Meta,
    pub(super) owners: &'a mut Owners,
    pub(super) listed: &'a mut Listed,
    pub(super) trail: Trail,
    /// All that the state points to could be read and followed.
    pub(super) is_complete: bool,
    findings: &'a mut Findings,
}

impl<'a> Inspection<'a> {
    /// # Errors
    /// Those of [`Owners::reset`].
    pub(super) fn new(
        file: &'a dyn VfsFile,
        meta: &'a Meta,
        owners: &'a mut Owners,
        listed: &'a mut Listed,
        findings: &'a mut Findings,
    ) -> Result<Inspection<'a>> {
        owners.reset(meta.page_count())?;
        listed.reset(meta);
        let pages = [0; LEVELS_MAX as usize];
        let trail = Trail { part: Part::Slot, name: Vec::new(), pages, root: 0, here: 0 };
        Ok(Inspection { file, meta, owners, listed, trail, is_complete: true, findings })
    }

    /// Adds a violation.
    #[cold]
    pub(super) fn report(
        &mut self,
        page: Option<u32>,
        invariant: Invariant,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        let (slot, txn) = (Some(self.meta.slot), Some(self.meta.txn()));
        let trail = &self.trail;
        self.findings.add(|| Violation {
            page,
            invariant,
            expected: expected.to_string(),
            found: found.to_string(),
            slot,
            txn,
            path: trail.to_string(),
        });
    }

    /// Adds a violation that a check found on a page.
    #[cold]
    pub(super) fn report_flaw(&mut self, page: u32, flaw: Flaw) {
        let (slot, txn) = (Some(self.meta.slot), Some(self.meta.txn()));
        let trail = &self.trail;
        let make = || Violation { slot, txn, path: trail.to_string(), ..flaw.at(Some(page)) };
        self.findings.add(make);
    }

    /// Claims a page, or says why that is wrong.
    pub(super) fn claim(&mut self, page: u32, owner: Owner) -> bool {
        let Err(refusal) = self.owners.claim(page, owner) else { return true };
        match refusal {
            Refusal::Outside { page_count } => {
                let expected = format_args!("a page below {page_count}");
                self.report(Some(page), Invariant::PageOwnedOnce, expected, page);
            }
            Refusal::Owned(other) => {
                let found = format_args!("{other} and {owner}");
                self.report(Some(page), Invariant::PageOwnedOnce, "one owner", found);
            }
        }
        false
    }

    /// Reads a page of the file.
    pub(super) fn read(&self, page: u32, bytes: &mut [u8]) -> Result<()> {
        read_exact_at(self.file, bytes, PageId(page).offset(self.meta.page_size()))
            .map_err(|error| Error::io("read a page", &error))
    }

    /// Reads the page that something points to into `bytes`. `false`, with the reason reported,
    /// when it is not the page that is meant.
    pub(super) fn read_target(
        &mut self,
        pointer: Pointer,
        owner: Owner,
        bytes: &mut Vec<u8>,
    ) -> Result<bool> {
        if !self.claim(pointer.id, owner) {
            self.is_complete = false;
            return Ok(false);
        }
        bytes.resize(self.meta.page_size(), 0);
        self.read(pointer.id, bytes)?;
        let page = Some(pointer.id);
        let (stored, computed) = (get_u32(bytes, HEADER_CHECKSUM), page_checksum(bytes));
        let id = get_u32(bytes, HEADER_ID);
        if stored != computed {
            let (expected, found) = (format_args!("{computed:#010x}"), format!("{stored:#010x}"));
            self.report(page, Invariant::ChecksumCoversPage, expected, found);
        } else if id != pointer.id {
            self.report(page, Invariant::PageKnowsItsId, pointer.id, id);
        } else if stored != pointer.checksum {
            let expected = format_args!("{:#010x}", pointer.checksum).to_string();
            let found = format_args!("{stored:#010x}").to_string();
            self.report(page, Invariant::ParentHoldsChecksum, expected, found);
        } else {
            self.check_txn(pointer, get_u64(bytes, HEADER_TXN), stored);
            return Ok(true);
        }
        self.is_complete = false;
        Ok(false)
    }

    fn check_txn(&mut self, pointer: Pointer, txn: u64, checksum: u32) {
        let page = Some(pointer.id);
        if txn > pointer.txn_max {
            let expected = format_args!("transaction {} or an earlier one", pointer.txn_max);
            self.report(page, Invariant::ChildNotNewer, expected, txn);
        } else if txn == self.meta.txn() && self.meta.has_items() {
            let met = Item { first: pointer.id, pages: 1, checksum, is_run: false };
            if !self.listed.meet(met) {
                let expected = "a list with all pages of the commit";
                self.report(page, Invariant::MetaListsPages, expected, "one without this page");
            }
        }
    }

    /// Notes an overflow run; the list may name it.
    pub(super) fn meet_run(&mut self, first: u32, pages: u32, checksum: u32) {
        // Whether the commit wrote the run cannot be seen from the run.
        self.listed.meet(Item { first, pages, checksum, is_run: true });
    }

    /// Checks at the end of the walk that all that is listed belongs to the state.
    pub(super) fn check_listed(&mut self) {
        if let Some(item) = self.listed.missed().filter(|_| self.is_complete) {
            let found = format_args!("{} pages that are not, or are others", item.pages);
            let expected = "pages of the state";
            self.report(Some(item.first), Invariant::MetaListsPages, expected, found);
        }
    }
}
