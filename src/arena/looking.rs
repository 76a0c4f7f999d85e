//! Frames that are looked at without pinning them (part of arena, layer L2).
//!
//! Owns: [`Looking`], the time in which a thread does so, [`Peeked`], a frame that it looks at, and
//! [`Pinned`], bytes of one that is held beyond that.
//! Must not know: which page a frame should hold.
//! Keeps: cache-coherent (what is lent is not written again before it was given back).

use super::lines::{HEADER_BYTES, LINE_BYTES, prefetch_lines};
use super::{Arena, Header, Pin, count_pin};
use crate::slots::Entered;
#[cfg(loom)]
use crate::sync::Watched;
use crate::sync::{Arc, AtomicU32, Ordering};
use std::ptr::NonNull;

/// The time in which a thread looks at frames without pinning them.
pub(crate) struct Looking<'a> {
    pub(super) arena: &'a Arena,
    pub(super) entered: Entered<'a>,
}

impl<'a> Looking<'a> {
    /// The frame that a number has as its remainder by the number of frames.
    #[inline(always)]
    pub(crate) fn spot(&self, number: u32) -> Spot {
        let frame = self.arena.home(number);
        Spot { frame, place: self.arena.at(frame) }
    }

    #[cfg(not(loom))]
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "the arena is borrowed as long as the header")]
    fn header(&self, spot: Spot) -> &'a Header {
        // SAFETY: as in `Arena::header`; the arena is borrowed as long.
        unsafe { spot.place.cast::<Header>().as_ref() }
    }

    #[cfg(loom)]
    fn header(&self, spot: Spot) -> &'a Header {
        self.arena.header(spot.frame)
    }

    /// The frame, if it has this tag.
    #[inline(always)]
    pub(crate) fn peek(&self, spot: Spot, tag: u64) -> Option<Peeked<'_, 'a>> {
        let header = self.header(spot);
        if header.tag.load(Ordering::Acquire) != tag {
            return None;
        }
        header.note_use();
        // SAFETY: a frame is longer than its header.
        let page = unsafe { spot.place.add(HEADER_BYTES) };
        // SAFETY: this thread entered an epoch before it saw the tag, and the slice borrows from
        // the time in which it stays.
        let bytes = unsafe { self.arena.bytes_at(spot.frame, page) };
        Some(Peeked { looking: self, frame: spot.frame, bytes })
    }
}

/// A frame of the arena that is looked at, and where it is.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    frame: u32,
    place: NonNull<u8>,
}

impl Spot {
    /// Asks for the first lines of the frame, before it is known what it holds.
    #[inline(always)]
    pub(crate) fn prefetch(self, lines: usize) {
        prefetch_lines(self.place.as_ptr(), lines);
    }

    /// Asks for lines of the frame from one on.
    #[inline(always)]
    pub(crate) fn prefetch_from(self, line: usize, lines: usize) {
        prefetch_lines(self.place.as_ptr().wrapping_add(line * LINE_BYTES), lines);
    }
}

/// A frame that is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Peeked<'l, 'a> {
    looking: &'l Looking<'a>,
    frame: u32,
    pub(crate) bytes: &'l [u8],
}

impl<'a> Peeked<'_, 'a> {
    #[inline(always)]
    pub(crate) fn frame(&self) -> u32 {
        self.frame
    }

    /// Holds the frame beyond the time in which it is looked at, for some of its bytes.
    ///
    /// # Panics
    /// Where they are not its.
    #[inline(always)]
    pub(crate) fn pin(self, part: &[u8]) -> Pinned<'a> {
        let (from, page) = (part.as_ptr().addr(), self.bytes.as_ptr().addr());
        let is_part = from >= page && from - page <= self.bytes.len() - part.len();
        assert!(part.len() <= self.bytes.len() && is_part, "a part of the page");
        // The tag was there in this epoch: whoever retires the frame waits for the epoch to end,
        // and finds the frame held then.
        let held = self.looking.entered.hold_frame(self.frame);
        let is_place = held.is_some();
        let held = held.unwrap_or_else(|| self.looking.arena.add_pin(self.frame));
        Pinned {
            is_place,
            held: Some(held),
            bytes: NonNull::from(part),
            #[cfg(loom)]
            page: Some(&self.looking.arena.pages[self.frame as usize]),
        }
    }

    /// Holds the frame beyond the life of whoever looks at it. `arena` is the frame's.
    #[inline(always)]
    pub(crate) fn keep(self, arena: &Arc<Arena>) -> Pin {
        assert!(std::ptr::eq(Arc::as_ptr(arena), self.looking.arena), "the frame's arena");
        // As above: whoever retires the frame waits for this epoch, and sees the pin then.
        count_pin(&arena.header(self.frame).pins, Ordering::Relaxed);
        Pin::new(arena, self.frame)
    }
}

/// Bytes of a frame that is held by somebody who borrows the arena.
// In this order, a result of it has its error beside the first field, and not on top of part of
// another: what is put together of such parts is loaded as a whole only after some wait.
#[repr(C)]
pub(crate) struct Pinned<'a> {
    /// Whether a place in a slot says that the frame is held; otherwise it is the frame's pins.
    is_place: bool,
    /// `None` where there is no frame.
    held: Option<&'a AtomicU32>,
    bytes: NonNull<[u8]>,
    #[cfg(loom)]
    page: Option<&'a Watched>,
}

// SAFETY: as for `Pin`.
unsafe impl Send for Pinned<'_> {}
// SAFETY: as above.
unsafe impl Sync for Pinned<'_> {}

impl Pinned<'_> {
    /// No bytes of no frame.
    pub(crate) fn none() -> Pinned<'static> {
        Pinned {
            is_place: false,
            held: None,
            bytes: NonNull::from(&[]),
            #[cfg(loom)]
            page: None,
        }
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        #[cfg(loom)]
        self.page.into_iter().for_each(Watched::read);
        // SAFETY: they are none, or lie in a page whose frame is held as long as this lives, and
        // are not written before it is reclaimed.
        unsafe { self.bytes.as_ref() }
    }
}

impl Drop for Pinned<'_> {
    #[inline]
    fn drop(&mut self) {
        match self.held {
            Some(place) if self.is_place => place.store(0, Ordering::Release),
            Some(pins) => {
                pins.fetch_sub(1, Ordering::Release);
            }
            None => {}
        }
    }
}
