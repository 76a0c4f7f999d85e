//! Looking at pages without holding them (part of cache, layer L3).
//!
//! Owns: [`Look`]: pages that are at hand, and what is asked for ahead.
//! Must not know: how pages come into frames.
//! Keeps: cache-coherent (a page is found only under the checksum that its parent holds).

use super::hints::{Cue, Recalled};
use super::{Cache, tag_of};
use crate::arena::{Looking, Peeked, Spot, line_of};
use crate::page::{ChildRef, Page, PageId};
use crate::slots::Seat;
use crate::sync::AtomicU64;

impl Cache {
    /// Begins to look at pages without holding them.
    #[inline(always)]
    pub(crate) fn look<'a>(&'a self, seat: &'a Seat<'_>) -> Option<Look<'a>> {
        if self.arena.frames() == 0 {
            return None;
        }
        Some(Look { cache: self, looking: self.arena.enter(seat), words: &[] })
    }
}

/// The time in which a thread looks at pages without holding them.
pub(crate) struct Look<'a> {
    cache: &'a Cache,
    looking: Looking<'a>,
    /// A power of two of hints, or none.
    words: &'a [AtomicU64],
}

/// Words of hints, at most, that stay in the cache of one core: half a megabyte.
const NEAR_WORDS_MAX: usize = 1 << 16;

/// Lines of an entry that are asked for where a hint says that it begins.
const HINTED_LINES: usize = 3;

impl<'a> Look<'a> {
    /// Where a page is, if it is at home.
    #[inline(always)]
    pub(crate) fn home(&self, id: PageId) -> Spot {
        self.looking.spot(id.0)
    }

    /// With hints of where keys were found, as many as so many pages need.
    #[inline(always)]
    pub(crate) fn with_hints(self, pages: u32) -> Look<'a> {
        if pages == 0 {
            return self;
        }
        let words = self.cache.arena.words();
        let count = self.cache.hints.words(pages).min(words.len());
        Look { words: &words[..count], ..self }
    }

    /// Whether there are hints, and so few that they stay in the processor's cache.
    #[inline(always)]
    pub(crate) fn has_near_hints(&self) -> bool {
        (1..=NEAR_WORDS_MAX).contains(&self.words.len())
    }

    /// Asks for what is known of where a key was found before.
    #[inline(always)]
    pub(crate) fn ask(&self, key: &[u8]) -> Option<Cue> {
        self.cache.hints.ask(self.words, key)
    }

    /// Asks for the place where a key was found before, and for the first lines of its page.
    #[inline(always)]
    pub(crate) fn recall(&self, cue: Cue, lines: usize) -> Option<Recalled> {
        let (recalled, hinted) = self.cache.hints.recall(self.words, cue)?;
        let spot = self.looking.spot(hinted.frame);
        spot.prefetch(lines);
        spot.prefetch_from(hinted.line, HINTED_LINES);
        Some(recalled)
    }

    /// Takes note that the key's entry is here.
    #[inline(always)]
    pub(crate) fn note(&self, recalled: Recalled, page: &Peeked<'_, 'a>, at: usize) {
        self.cache.hints.note(self.words, recalled, page.frame(), line_of(at));
    }

    /// Holds a page beyond this time.
    #[inline(always)]
    pub(crate) fn keep(&self, page: Peeked<'_, 'a>) -> Page {
        Page::in_frame(page.keep(&self.cache.arena))
    }

    /// The page to which a parent refers, if it is here.
    #[cfg(any(test, loom))]
    pub(crate) fn peek(&self, child: ChildRef) -> Option<Peeked<'_, 'a>> {
        self.peek_from(self.home(child.id), child)
    }

    /// The same, where it is known where the page is, if it is at home.
    #[inline(always)]
    pub(crate) fn peek_from(&self, home: Spot, child: ChildRef) -> Option<Peeked<'_, 'a>> {
        self.peek_tagged(home, child.id, tag_of(child))
    }

    #[inline(always)]
    pub(super) fn peek_tagged(&self, home: Spot, id: PageId, tag: u64) -> Option<Peeked<'_, 'a>> {
        match self.looking.peek(home, tag) {
            Some(page) => Some(page),
            None => self.looking.peek(self.looking.spot(located(self.cache, id)?), tag),
        }
    }
}

/// The frame of a page that is not at home. What looks is not handed over: it would have to lie in
/// memory.
#[cold]
fn located(cache: &Cache, id: PageId) -> Option<u32> {
    cache.located(id)
}
