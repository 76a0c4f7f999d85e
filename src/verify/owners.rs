//! Who owns which page of a state (part of verify, layer L5).
//!
//! Owns: [`Owner`], and [`Owners`], one byte a page, never more bytes than the file has pages.
//! Must not know: how an owner is found.

use crate::error::{Error, Result};
use crate::format::META_SLOTS;
use std::{fmt, io};

/// What a page of a state is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// Nothing: the page is lost, or what leads to it could not be followed.
    Nobody,
    /// A meta page: the two slots.
    Slot,
    /// A page of the catalog's tree.
    Catalog,
    /// A branch of a bucket's tree.
    Branch,
    /// A leaf of a bucket's tree.
    Leaf,
    /// A part of a value that has pages of its own.
    Run,
    /// A page of the space log.
    Log,
    /// Nothing now: the next transaction may write it.
    Free,
    /// Nothing now, but the state before may still need it.
    Pending,
}

impl Owner {
    /// The state's trees, and the values outside of their leaves.
    pub(super) fn is_reachable(self) -> bool {
        matches!(self, Owner::Catalog | Owner::Branch | Owner::Leaf | Owner::Run)
    }

    /// Whether the state reads the page.
    pub(super) fn is_read(self) -> bool {
        self.is_reachable() || self == Owner::Log
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Owner::Nobody => "nobody",
            Owner::Slot => "a meta slot",
            Owner::Catalog | Owner::Branch | Owner::Leaf => "a tree",
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
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Owners {
    pages: Vec<Owner>,
}

/// A byte a page is too much to read.
impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners").field("pages", &self.pages.len()).finish_non_exhaustive()
    }
}

impl Owners {
    /// The owners of a file of `page_count` pages, which the file has.
    ///
    /// # Errors
    /// `IoError` when there is not so much memory: a file may be terabytes of holes.
    pub(super) fn reset(&mut self, page_count: u32) -> Result<()> {
        self.pages.clear();
        self.pages.try_reserve_exact(page_count as usize).map_err(|_| {
            let error = io::Error::from(io::ErrorKind::OutOfMemory);
            Error::io("find a byte of memory for each page", &error)
        })?;
        self.pages.resize(page_count as usize, Owner::Nobody);
        let slots = self.pages.len().min(META_SLOTS as usize);
        self.pages[..slots].fill(Owner::Slot);
        Ok(())
    }

    pub(super) fn claim(&mut self, page: u32, owner: Owner) -> std::result::Result<(), Refusal> {
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

    pub(super) fn all(&self) -> &[Owner] {
        &self.pages
    }

    pub(super) fn count(&self, is_meant: impl Fn(Owner) -> bool) -> u64 {
        self.pages.iter().filter(|&&found| is_meant(found)).count() as u64
    }

    /// Every page with its owner.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Owner)> {
        (0..self.page_count()).zip(self.pages.iter().copied())
    }
}
