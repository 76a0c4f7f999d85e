//! Frames of memory for pages (layer L2).
//!
//! Owns: [`Arena`], one bounded region of frames with a tag each; who may read or write a frame.
//! Must not know: which page to keep or to drop, trees, files.
//! Keeps: cache-coherent (a frame is filled before its tag appears, and not written again while
//! somebody may read what the tag promised).
//!
//! ```text
//!          publish                     retire                    reclaim
//!  Empty ------------> tagged, shared ---------> Retired ----------------------> Empty
//!  (one owner writes)  (many read)               (tag gone, some still read)     (nobody reads)
//! ```
//!
//! A reader may look at a tagged frame in one of two ways. It *pins* the frame: it adds to the
//! frame's pins, and then looks whether the tag is there. Or it *enters* an epoch in its slot,
//! and then looks at tags for as long as it stays. Whoever retires a frame removes its tag, and
//! then looks at the pins and through the slots. Full fences stand between the two steps of each,
//! so that at least one sees the other: the reader finds no tag, or the frame is not reclaimed.

mod empties;
mod lines;
mod looking;
mod poison;

pub(crate) use empties::Empties;
pub(crate) use lines::{
    CAN_ASK, LINE_BYTES, Lines, frame_bytes, prefetch_at, prefetch_bytes, prefetch_value,
};
pub(crate) use looking::{Looking, Peeked, Pinned, Spot};

use lines::{HEADER_BYTES, prefetch_lines};

use crate::seeded::seeded;
use crate::slots::{Seat, Slots};
#[cfg(loom)]
use crate::sync::Watched;
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering, fence_after_rmw};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Regions of at least this size are aligned to it, so that the system may map large pages.
const HUGE_BYTES: usize = 2 << 20;

/// What stands in front of a page. All zeros is a frame that holds nothing.
#[derive(Default)]
#[repr(C)]
struct Header {
    /// Which page this is, as its parent refers to it; 0 when nobody may look.
    tag: AtomicU64,
    /// Readers that hold the frame, and some that are about to find that they must not.
    pins: AtomicU32,
    /// 1 when the page was looked at since the clock came by.
    used: AtomicU32,
}

/// A bounded number of frames.
pub(crate) struct Arena {
    base: NonNull<u8>,
    layout: Layout,
    /// Where the first frame is, in the region that begins at the base.
    first: NonNull<u8>,
    frames: u32,
    page_size: usize,
    stride: usize,
    /// How many stand behind the frames.
    words: usize,
    /// Grows whenever frames are reclaimed; never 0.
    epoch: AtomicU64,
    slots: Arc<Slots>,
    #[cfg(loom)]
    headers: Box<[Header]>,
    #[cfg(loom)]
    word_list: Box<[AtomicU64]>,
    /// Stands for the page of each frame, so that the models see when it is read and written.
    #[cfg(loom)]
    pages: Box<[Watched]>,
}

// SAFETY: the region belongs to the arena alone; its headers are atomics, and who may touch the
// bytes of a frame is ruled by `Empty`, `Pin` and `Peeked`, wherever they are.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

/// The right to write a frame, which nobody can read.
#[derive(Debug)]
pub(crate) struct Empty {
    frame: u32,
}

/// A frame without a tag, which somebody may still read.
#[derive(Debug)]
pub(crate) struct Retired {
    frame: u32,
    /// Who looks at frames in this epoch or a later one has not seen the tag. `None` before the
    /// next reclaiming.
    since: Option<u64>,
}

/// Bytes of so many frames, and of as many words behind them.
#[inline(always)]
fn region_bytes(frames: u32, stride: usize, words: usize) -> usize {
    frames as usize * stride + words * size_of::<AtomicU64>()
}

/// The line of a frame in which this byte of its page lies.
#[inline(always)]
pub(crate) fn line_of(at: usize) -> usize {
    (HEADER_BYTES + at) / LINE_BYTES
}

impl Arena {
    /// An arena of so many frames, of which none holds anything, and of words behind them, all 0.
    /// Memory is taken from the system when it is first written. `None` where the system does not
    /// have so much of it.
    pub(crate) fn new(
        frames: u32,
        words: usize,
        page_size: usize,
        slots: Arc<Slots>,
    ) -> Option<(Arc<Arena>, Empties)> {
        let stride = frame_bytes(page_size);
        let of_words = words.checked_mul(size_of::<AtomicU64>())?;
        let bytes = (frames as usize).checked_mul(stride)?.checked_add(of_words)?;
        let align = if bytes >= HUGE_BYTES { HUGE_BYTES } else { LINE_BYTES };
        // Zeroed memory of the smallest alignment is not touched until it is used.
        let layout = Layout::from_size_align(bytes.checked_add(align)?, 1).ok()?;
        // SAFETY: the layout's size is not 0, since the alignment is not.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let offset = base.addr().get().next_multiple_of(align) - base.addr().get();
        // SAFETY: the region is longer than its bytes by the alignment.
        let first = unsafe { base.add(offset) };
        let arena = Arena {
            base,
            layout,
            first,
            frames,
            page_size,
            stride,
            words,
            epoch: AtomicU64::new(1),
            slots,
            #[cfg(loom)]
            headers: (0..frames).map(|_| Header::default()).collect(),
            #[cfg(loom)]
            word_list: (0..words).map(|_| AtomicU64::new(0)).collect(),
            #[cfg(loom)]
            pages: (0..frames).map(|_| Watched::new()).collect(),
        };
        arena.close_all();
        Some((Arc::new(arena), Empties::all(frames)))
    }

    /// A region of large pages spares the processor most misses of its address cache; but the
    /// first touch of each takes as long as that of hundreds of small ones.
    #[cfg(target_os = "linux")]
    pub(crate) fn ask_for_huge_pages(&self) {
        let bytes = region_bytes(self.frames, self.stride, self.words);
        if bytes < HUGE_BYTES {
            return;
        }
        // SAFETY: the range lies in the region; the call changes how it is mapped, not what it
        // holds. It is a hint: that the system refuses it changes nothing.
        unsafe { libc::madvise(self.first.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "other systems are not asked")]
    pub(crate) fn ask_for_huge_pages(&self) {}

    /// Nobody may read a page that no frame holds, or what is behind a page in its frame.
    fn close_all(&self) {
        if cfg!(poisoned) {
            let page_bytes = self.stride - HEADER_BYTES;
            (0..self.frames).for_each(|at| poison::close(self.page(at).as_ptr(), page_bytes));
        }
    }

    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// The frame that a number has as its remainder by the number of frames; 0 where there is none.
    #[inline(always)]
    pub(crate) fn home(&self, number: u32) -> u32 {
        if number < self.frames { number } else { number.checked_rem(self.frames).unwrap_or(0) }
    }

    #[inline(always)]
    fn at(&self, frame: u32) -> NonNull<u8> {
        assert!(frame < self.frames, "a frame of the arena");
        // SAFETY: the frame lies in the region, which is as long as all frames together.
        unsafe { self.first.add(frame as usize * self.stride) }
    }

    #[cfg(not(loom))]
    #[inline]
    fn header(&self, frame: u32) -> &Header {
        // SAFETY: a frame is aligned to a line and begins with a header; all zeros is one, and
        // nothing else is ever written there.
        unsafe { self.at(frame).cast::<Header>().as_ref() }
    }

    #[cfg(loom)]
    fn header(&self, frame: u32) -> &Header {
        &self.headers[frame as usize]
    }

    /// Words that mean nothing to the arena.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let stride = if seeded!(HintsInAFrame) { self.page_size } else { self.stride };
        // SAFETY: the words lie in the region, behind all frames.
        let first = unsafe { self.first.add(region_bytes(self.frames, stride, 0)) };
        let first = first.cast::<AtomicU64>().as_ptr();
        // SAFETY: they begin at a line, since frames take whole ones; zeros are such words, and
        // nothing else is ever written there.
        unsafe { std::slice::from_raw_parts(first, self.words) }
    }

    #[cfg(loom)]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.word_list
    }

    #[inline(always)]
    fn page(&self, frame: u32) -> NonNull<u8> {
        // SAFETY: a frame is longer than its header.
        unsafe { self.at(frame).add(HEADER_BYTES) }
    }

    /// The bytes of a page that nobody writes while the slice lives.
    ///
    /// # Safety
    /// The frame is pinned, or the caller entered an epoch, before it saw the frame's tag, and
    /// the slice does not outlive that. `page` is where the frame's page is.
    #[inline(always)]
    #[cfg_attr(not(loom), expect(unused_variables, reason = "the models note what is read"))]
    unsafe fn bytes_at(&self, frame: u32, page: NonNull<u8>) -> &[u8] {
        #[cfg(loom)]
        self.pages[frame as usize].read();
        // SAFETY: the page lies in the region, which does not move; it was written before its tag
        // appeared, and is not written before the frame is reclaimed, which the caller rules out.
        unsafe { std::slice::from_raw_parts(page.as_ptr(), self.page_size) }
    }

    /// The bytes of a frame that nobody else can touch.
    pub(crate) fn bytes_mut<'e>(&'e self, empty: &'e mut Empty) -> &'e mut [u8] {
        #[cfg(loom)]
        self.pages[empty.frame as usize].write();
        let page = self.page(empty.frame);
        poison::open(page.as_ptr(), self.page_size);
        // SAFETY: the page lies in the region, which is initialised; `Empty` is the only right to
        // this frame, and it is borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(page.as_ptr(), self.page_size) }
    }

    /// Lets readers find a frame under `tag`, which is not 0, and holds it.
    #[expect(clippy::needless_pass_by_value, reason = "the right to write the frame ends here")]
    pub(crate) fn publish(self: &Arc<Self>, empty: Empty, tag: u64) -> Pin {
        let Empty { frame } = empty;
        let header = self.header(frame);
        header.pins.fetch_add(1, Ordering::Relaxed);
        header.used.store(0, Ordering::Relaxed);
        let is_early = seeded!(TagSeenBeforePage);
        header.tag.store(tag, if is_early { Ordering::Relaxed } else { Ordering::Release });
        Pin::new(self, frame)
    }

    /// The tag of a frame; it may be gone the next moment.
    pub(crate) fn tag(&self, frame: u32) -> u64 {
        self.header(frame).tag.load(Ordering::Relaxed)
    }

    /// Holds a frame if it has this tag.
    pub(crate) fn pin(self: &Arc<Self>, frame: u32, tag: u64) -> Option<Pin> {
        let header = self.header(frame);
        if header.tag.load(Ordering::Relaxed) != tag {
            return None;
        }
        count_pin(&header.pins, Ordering::SeqCst);
        fence_after_rmw();
        let pin = Pin::new(self, frame);
        // If the tag is gone, the drop of the pin takes it back.
        (header.tag.load(Ordering::Acquire) == tag).then(|| {
            header.note_use();
            pin
        })
    }

    /// Begins to look at frames without pinning them.
    #[inline(always)]
    pub(crate) fn enter<'a>(&'a self, seat: &'a Seat<'_>) -> Looking<'a> {
        assert!(Arc::ptr_eq(&self.slots, seat.slots()), "slots of the same store");
        assert!(self.frames > 0, "frames to look at");
        Looking { arena: self, entered: seat.enter(self.epoch.load(Ordering::Acquire)) }
    }

    /// Holds a frame by its pins. Whoever asks has seen its tag in an epoch that lasts.
    #[cold]
    fn add_pin(&self, frame: u32) -> &AtomicU32 {
        let pins = &self.header(frame).pins;
        count_pin(pins, Ordering::Relaxed);
        pins
    }

    /// Removes the tag of a frame, unless it is another by now.
    pub(crate) fn retire(&self, frame: u32, tag: u64) -> Option<Retired> {
        let header = self.header(frame);
        let swap = header.tag.compare_exchange(tag, 0, Ordering::Relaxed, Ordering::Relaxed);
        swap.ok().map(|_| Retired { frame, since: None })
    }

    /// Empties the retired frames that nobody can read any more. Returns how many others will be
    /// free soon, when those end who look at frames; who holds one may keep it for long.
    pub(crate) fn reclaim(&self, retired: &mut Vec<Retired>, empties: &mut Empties) -> u32 {
        if retired.is_empty() {
            return 0;
        }
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        if !self.slots.fence() && !seeded!(DeniedFenceBelieved) {
            // Any of them may be read; what finds no frame is read past the cache.
            return u32::try_from(retired.len()).unwrap_or(u32::MAX);
        }
        let mut soon = 0;
        let oldest = self.slots.oldest_epoch();
        // Once for all frames. Whoever begins to hold one later saw its tag in an epoch that still
        // lasts: the frame is seen.
        let lent = self.slots.held_frames();
        retired.retain_mut(|retired| {
            let since = *retired.since.get_or_insert(epoch);
            let frame = retired.frame;
            let is_seen = oldest < since && !seeded!(FrameEmptiedWhileLookedAt);
            let is_held = self.header(frame).pins.load(Ordering::Acquire) != 0
                && !seeded!(FrameEmptiedWhileHeld);
            let is_lent = lent.binary_search(&frame).is_ok() && !seeded!(FrameEmptiedWhileLent);
            if is_seen || is_held || is_lent {
                soon += u32::from(is_seen);
                return true;
            }
            poison::close(self.page(retired.frame).as_ptr(), self.page_size);
            empties.put(Empty { frame: retired.frame });
            false
        });
        soon
    }

    /// Whether a frame was used since the last call; a frame that somebody holds is.
    pub(crate) fn take_use(&self, frame: u32) -> bool {
        let header = self.header(frame);
        let was_used = header.used.load(Ordering::Relaxed) != 0;
        if was_used {
            header.used.store(0, Ordering::Relaxed);
        }
        was_used || header.pins.load(Ordering::Relaxed) != 0
    }

    /// Asks for the first lines of a frame; behind a short frame those of the next.
    #[inline(always)]
    pub(crate) fn prefetch(&self, frame: u32, lines: usize) {
        prefetch_lines(self.at(frame).as_ptr(), lines);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        poison::open(self.base.as_ptr(), self.layout.size());
        // SAFETY: `base` was allocated with this layout, and nobody borrows from the arena.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

impl Header {
    #[inline]
    fn note_use(&self) {
        // Loading first keeps the line shared while many threads read the same page.
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Relaxed);
        }
    }
}

impl Empty {
    pub(crate) fn frame(&self) -> u32 {
        self.frame
    }
}

/// A frame that is held: its bytes do not change.
pub(crate) struct Pin {
    arena: Arc<Arena>,
    frame: u32,
    /// Where the page is, so that a step of a cursor need not work it out.
    page: NonNull<u8>,
}

// SAFETY: a pin is a shared reference to a page that nobody writes, beside atomics.
unsafe impl Send for Pin {}
// SAFETY: as above.
unsafe impl Sync for Pin {}

impl Pin {
    /// The pin of a frame whose pins were added to.
    #[inline(always)]
    fn new(arena: &Arc<Arena>, frame: u32) -> Pin {
        Pin { arena: Arc::clone(arena), frame, page: arena.page(frame) }
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the pin holds the frame, and the slice borrows from the pin.
        unsafe { self.arena.bytes_at(self.frame, self.page) }
    }
}

/// Counts one more who holds a frame.
#[inline(always)]
fn count_pin(pins: &AtomicU32, order: Ordering) {
    if pins.fetch_add(1, order) > u32::MAX / 2 {
        lent_too_often(pins);
    }
}

/// What was lent and forgotten stays counted. Were it to come round to none, the frame would be
/// nobody's.
#[cold]
fn lent_too_often(pins: &AtomicU32) -> ! {
    pins.fetch_sub(1, Ordering::Relaxed);
    panic!("a page is lent more often than can be counted");
}

impl Clone for Pin {
    fn clone(&self) -> Pin {
        count_pin(&self.arena.header(self.frame).pins, Ordering::Relaxed);
        Pin::new(&self.arena, self.frame)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.arena.header(self.frame).pins.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    //! Attacks: cache-coherent.

    use super::*;

    /// What is lent may be forgotten, and is never given back then.
    #[test]
    fn pins_do_not_come_round_to_none() {
        let made = Arena::new(1, 0, 512, Arc::new(Slots::new()));
        let (arena, mut empties) = made.expect("there is memory for a frame");
        let pin = arena.publish(empties.take(0).expect("it is empty"), 7);
        let pins = &arena.header(0).pins;
        pins.store(u32::MAX, Ordering::Relaxed);
        let ways: [&dyn Fn(); 3] = [
            &|| {
                let _ = arena.add_pin(0);
            },
            &|| std::mem::forget(pin.clone()),
            &|| std::mem::forget(arena.pin(0, 7)),
        ];
        for way in ways {
            let add = std::panic::AssertUnwindSafe(way);
            assert!(std::panic::catch_unwind(add).is_err());
            assert_ne!(pins.load(Ordering::Relaxed), 0);
        }
        pins.store(1, Ordering::Relaxed);
        drop(pin);
    }
}
