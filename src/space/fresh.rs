//! The log of a state whose pages are known (part of the space codec, layer L3).
//!
//! Owns: [`PageSet`], pages that were met one after another, and the log that calls all others
//! free. Must not know: who met them.
//! Keeps: page-owned-once (a page is claimed once), space-log-replays.

use super::extents::{ExtentSet, span};
use super::log::{EXTENT_WORDS, Position, Room, SNAPSHOT_WORDS, Tail, Writer};
use crate::error::{Error, Result};
use crate::format::META_SLOTS;
use crate::invariant::Invariant;
use crate::page::Extent;

/// Pages of a file, by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageSet {
    set: ExtentSet,
}

/// The log of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FreshLog {
    /// The words of its pages, oldest first.
    pub(crate) pages: Vec<Vec<u32>>,
    pub(crate) tail: Vec<u32>,
}

impl PageSet {
    /// Adds pages of which some may be there.
    pub(crate) fn add(&mut self, extent: Extent) {
        let mut from = extent.first.0;
        while from < extent.end() {
            let there = self.set.iter_from(from).next().filter(|e| e.first.0 < extent.end());
            let gap_end = there.map_or(extent.end(), |there| there.first.0);
            if from < gap_end {
                self.set.insert(span(from, gap_end));
            }
            from = there.map_or(extent.end(), Extent::end);
        }
    }

    /// Adds pages of which none is there.
    ///
    /// # Errors
    /// Corruption, if one is.
    pub(crate) fn claim(&mut self, extent: Extent) -> Result<()> {
        if self.set.overlaps(extent) {
            let page = Some(extent.first.0);
            let found = format_args!("{} of which one has an owner", extent.pages);
            return Err(Error::corruption(page, Invariant::PageOwnedOnce, "pages of one", found));
        }
        self.set.insert(extent);
        Ok(())
    }

    /// Whether all of these pages are there.
    pub(crate) fn holds(&self, extent: Extent) -> bool {
        let there = self.set.iter_from(extent.first.0).next();
        there.is_some_and(|e| e.first == extent.first && e.end() >= extent.end())
    }

    /// The page behind the last one, or behind the meta slots.
    pub(crate) fn end(&self) -> u32 {
        self.set.last().map_or(META_SLOTS, Extent::end)
    }

    /// The log of a file that ends behind the last of these pages, or behind those of the log: it
    /// calls free what is not there.
    pub(crate) fn log_of_others(&self, tail_words_max: usize, page_words_max: usize) -> FreshLog {
        let mut free = Vec::new();
        let mut from = META_SLOTS;
        for extent in self.set.iter() {
            if from < extent.first.0 {
                free.push(span(from, extent.first.0));
            }
            from = extent.end();
        }
        if self.set.is_empty() {
            return FreshLog { pages: Vec::new(), tail: Vec::new() };
        }
        let start = Tail::empty(Position::START);
        // A fuller tail would not take what the next commits append.
        if SNAPSHOT_WORDS + EXTENT_WORDS * free.len() <= tail_words_max / 2 {
            let mut writer = Writer::new(&start, Room { pages: 1, words: tail_words_max });
            writer.sweep(free.into_iter());
            return FreshLog { pages: Vec::new(), tail: writer.into_tail().words };
        }
        let in_page = (page_words_max - SNAPSHOT_WORDS) / EXTENT_WORDS;
        let room = Room { pages: free.len().div_ceil(in_page), words: page_words_max };
        let mut writer = Writer::new(&start, room);
        writer.sweep(free.into_iter());
        FreshLog { pages: writer.into_pages().0, tail: Vec::new() }
    }
}
