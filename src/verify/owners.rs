//! Who owns which page of a state (part of verify, layer L5).
//!
//! Owns: [`Owners`], one byte a page, never more bytes than the file has pages.
//! Must not know: how an owner is found.

use crate::format::META_SLOTS;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Slot,
    Tree,
    Run,
    Log,
    Free,
    Pending,
}

impl Owner {
    /// Whether the state reads the page.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Owner::Tree | Owner::Run | Owner::Log)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owner::Nobody => "nobody",
            Owner::Slot => "a meta slot",
            Owner::Tree => "a tree",
            Owner::Run => "an overflow run",
            Owner::Log => "the space log",
            Owner::Free => "the free pages",
            Owner::Pending => "the pending pages",
        })
    }
}

/// Why a page could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Outside { page_count: u32 },
    Owned(Owner),
}

/// The owner of each page.
#[derive(Default)]
pub(super) struct Owners {
    pages: Vec<Owner>,
}

impl Owners {
    /// The owners of a file of `page_count` pages, which the file has.
    pub(super) fn reset(&mut self, page_count: u32) {
        self.pages.clear();
        self.pages.resize(page_count as usize, Owner::Nobody);
        let slots = self.pages.len().min(META_SLOTS as usize);
        self.pages[..slots].fill(Owner::Slot);
    }

    pub(super) fn claim(&mut self, page: u32, owner: Owner) -> Result<(), Refusal> {
        let page_count = self.page_count();
        let Some(place) = self.pages.get_mut(page as usize) else {
            return Err(Refusal::Outside { page_count });
        };
        if *place != Owner::Nobody {
            return Err(Refusal::Owned(*place));
        }
        *place = owner;
        Ok(())
    }

    pub(super) fn page_count(&self) -> u32 {
        u32::try_from(self.pages.len()).expect("a page count has 32 bits")
    }

    pub(super) fn of(&self, page: u32) -> Option<Owner> {
        self.pages.get(page as usize).copied()
    }

    pub(super) fn count(&self, owner: Owner) -> u64 {
        self.pages.iter().filter(|&&found| found == owner).count() as u64
    }

    /// Every page with its owner.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Owner)> {
        (0..self.page_count()).zip(self.pages.iter().copied())
    }
}
