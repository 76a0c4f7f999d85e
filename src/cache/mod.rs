//! The page cache (layer L3).
//!
//! Owns: which frame holds which page, and which page makes room for another.
//! Must not know: files, trees.
//! Keeps: cache-coherent (what is written anew is removed by its writer before anybody can ask
//! for it, and a page is found only under the checksum that its parent holds).
//!
//! A page's *home* is the frame whose number is the page's id, modulo the number of frames. While
//! the file is smaller than the cache every page is at home, and finding one costs nothing but
//! the comparison of its tag. A page that finds its home taken goes to any other frame; then the
//! *locator* knows where. *Hints* know where keys were found, for who asks for memory ahead.

mod hints;
mod look;
mod runs;

pub(crate) use hints::{Cue, Recalled};
pub(crate) use look::Look;

use crate::arena::{Arena, Empties, Empty, Lines, Pin, Retired, frame_bytes};
use crate::error::Result;
use crate::page::{ChildRef, Page, PageId};
use crate::seeded::seeded;
use crate::slots::Slots;
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, OnceLock, Ordering};
use hints::{Hints, words_per_page};

/// Places of a set of the locator: a cache line.
const WAYS: usize = 8;
/// Frames that are retired together at most: readers are asked once for all of them.
const BATCH_MAX: u32 = 64;

/// Pages by id.
pub(crate) struct Cache {
    arena: Arc<Arena>,
    /// Pages that are not at home: a page's id in the high half, its frame in the low one.
    /// Made when the first page finds its home taken.
    locator: OnceLock<Box<[AtomicU64]>>,
    is_large: AtomicBool,
    frames: Mutex<Frames>,
    hints: Hints,
    /// Runs that others would have to make room for, so far.
    turns: AtomicU32,
}

/// What only the thread that fills or frees a frame needs.
struct Frames {
    empties: Empties,
    /// Frames without a tag that somebody may still read.
    retired: Vec<Retired>,
    hand: u32,
    /// How often no look is taken for frames to empty, since the last found nearly all held.
    pause: u32,
}

/// Frames in use from which on large pages of memory pay: readers miss the address cache of the
/// processor long before its others.
const LARGE_FROM: u32 = 512;

/// Where all frames are held, as by a commit that is larger than the cache, each of them is looked
/// at once for so many frames that are asked for in vain: a cost that does not grow with the cache.
const LOOKED_AT_IN_VAIN: u32 = 128;

/// Bytes of a set of the locator.
const SET_BYTES: u64 = (WAYS * size_of::<AtomicU64>()) as u64;

/// Pages to which an index of a tree refers at most: its arrays stay in the processor's cache.
pub(crate) const INDEX_PAGES_MAX: usize = 1 << 14;

/// Bytes of an index for each. Room for one is left where frames are.
pub(crate) const INDEX_BYTES_PER_PAGE: usize = 48;

/// How many frames, of so many bytes each, these bytes are enough for, with an index.
fn frames_in(bytes: u64, bytes_of_one: u64) -> u64 {
    let (of_entry, entries_max) = (INDEX_BYTES_PER_PAGE as u64, INDEX_PAGES_MAX as u64);
    let all_indexed = bytes / (bytes_of_one + of_entry);
    if all_indexed <= entries_max {
        return all_indexed;
    }
    (bytes - entries_max * of_entry) / bytes_of_one
}

/// Bytes of a frame and of its share in the locator, which has two places for each frame, and in
/// the hints.
fn bytes_of_one(page_size: usize) -> u64 {
    let words = 2 + words_per_page(page_size);
    (frame_bytes(page_size) + words * size_of::<AtomicU64>()) as u64
}

/// Set in the tags of pages of runs, and in no other. The structure of a tree's page was checked,
/// and a run has none: a file made to deceive must not have one taken for the other.
const RUN_BIT: u64 = 1 << 32;

#[inline(always)]
fn tag_of(child: ChildRef) -> u64 {
    let checksum = if seeded!(PageFoundByIdAlone) { 1 } else { child.checksum };
    (u64::from(checksum) << 32 | u64::from(child.id.0)) & !RUN_BIT
}

#[inline(always)]
fn low(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).expect("the low half has 32 bits")
}

#[inline(always)]
fn high(word: u64) -> u32 {
    low(word >> 32)
}

impl Cache {
    /// A cache of at most so many bytes, or of as many as the system has if these are fewer, whose
    /// pages can be looked at from these slots.
    pub(crate) fn new(bytes_max: u64, page_size: usize, slots: &Arc<Slots>) -> Cache {
        let frames = frames_in(bytes_max.saturating_sub(SET_BYTES), bytes_of_one(page_size));
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        let arena_of = |frames| {
            let words = (frames as usize).saturating_mul(words_per_page(page_size));
            let words = words.checked_ilog2().map_or(0, |bits| 1 << bits);
            Arena::new(frames, words, page_size, Arc::clone(slots))
        };
        // Half as many where there is no memory for so many.
        let fewer = |&frames: &u32| (frames > 0).then_some(frames / 2);
        let found = std::iter::successors(Some(frames), fewer).find_map(arena_of);
        let (arena, empties) = found.expect("there is memory for a cache without frames");
        Cache {
            hints: Hints::new(arena.frames(), page_size),
            arena,
            locator: OnceLock::new(),
            is_large: AtomicBool::new(false),
            turns: AtomicU32::new(0),
            frames: Mutex::new(Frames { empties, retired: Vec::new(), hand: 0, pause: 0 }),
        }
    }

    /// Bytes that a cache of so many pages takes.
    #[cfg(any(test, loom))]
    pub(crate) fn bytes_for(pages: u64, page_size: usize) -> u64 {
        let indexed = pages.min(INDEX_PAGES_MAX as u64);
        SET_BYTES + pages * bytes_of_one(page_size) + indexed * INDEX_BYTES_PER_PAGE as u64
    }

    /// How many pages it takes.
    pub(crate) fn frames(&self) -> usize {
        self.arena.frames() as usize
    }

    #[inline(always)]
    fn home(&self, id: PageId) -> u32 {
        self.arena.home(id.0)
    }

    /// Takes note of how many pages the file has.
    pub(crate) fn expect_pages(&self, page_count: u32) {
        let is_large = page_count.min(self.arena.frames()) >= LARGE_FROM;
        // Looking first, since a commit says so for each of its pages.
        if is_large
            && !self.is_large.load(Ordering::Relaxed)
            && !self.is_large.swap(true, Ordering::Relaxed)
        {
            self.arena.ask_for_huge_pages();
        }
    }

    /// The places that may know where a page is.
    fn places(&self, id: PageId) -> &[AtomicU64] {
        let Some(locator) = self.locator.get() else { return &[] };
        let sets = locator.len() / WAYS;
        let hash = u64::from(id.0).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let set = usize::try_from((hash * sets as u64) >> 32).expect("a set of the locator");
        &locator[set * WAYS..(set + 1) * WAYS]
    }

    /// The frame to which the locator refers.
    fn located(&self, id: PageId) -> Option<u32> {
        let words = self.places(id).iter().map(|place| place.load(Ordering::Relaxed));
        words.into_iter().find(|&word| high(word) == id.0).map(low)
    }

    /// Asks for the first lines of a page that will be wanted, if it lies where it should.
    pub(crate) fn prefetch(&self, id: PageId, lines: usize) {
        if self.arena.frames() > 0 {
            self.arena.prefetch(self.home(id), lines);
        }
    }

    /// The lines in which a page lies, if it lies where it should.
    pub(crate) fn lines(&self, id: PageId) -> Option<Lines> {
        (self.arena.frames() > 0).then(|| self.arena.lines(self.home(id)))
    }

    /// The page to which a parent refers, if it is here.
    pub(crate) fn get(&self, child: ChildRef) -> Option<Page> {
        if self.arena.frames() == 0 {
            return None;
        }
        self.pin(tag_of(child)).map(Page::in_frame)
    }

    fn pin(&self, tag: u64) -> Option<Pin> {
        let id = PageId(low(tag));
        self.arena.pin(self.home(id), tag).or_else(|| {
            let frame = self.located(id)?;
            self.arena.pin(frame, tag)
        })
    }

    /// Has `fill` write the bytes of a page into a frame, and keeps it. `None` when no frame can
    /// be had.
    pub(crate) fn load(
        &self,
        child: ChildRef,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<Option<Page>> {
        let home = self.home(child.id);
        let Some(empty) = self.take_empty(home) else { return Ok(None) };
        let mut filling = Filling { cache: self, empty: Some(empty) };
        fill(filling.bytes())?;
        let mut frames = self.frames.lock();
        // Another thread may have loaded it meanwhile.
        if let Some(pin) = self.pin(tag_of(child)) {
            drop(frames);
            return Ok(Some(Page::in_frame(pin)));
        }
        let pin = self.publish(&mut frames, filling.end(), tag_of(child));
        drop(frames);
        Ok(Some(Page::in_frame(pin)))
    }

    /// Has `make` write a page into the frame at its home, and keeps it. `None` when its home is
    /// taken: a page that may never be in the file puts no other out. What was here under its id is
    /// forgotten.
    pub(crate) fn make(
        &self,
        id: PageId,
        make: impl FnOnce(&mut [u8]) -> ChildRef,
    ) -> Option<Page> {
        self.remove(id);
        let empty = self.frames.lock().empties.take_only(self.home(id))?;
        let mut filling = Filling { cache: self, empty: Some(empty) };
        let child = make(filling.bytes());
        Some(Page::in_frame(self.arena.publish(filling.end(), tag_of(child))))
    }

    /// Keeps pages that were made here.
    pub(crate) fn insert(&self, pages: &[Page]) {
        let tagged = |page| (tag_of(Page::child_ref(page)), Page::bytes(page));
        let tagged: Vec<(u64, &[u8])> = pages.iter().map(tagged).collect();
        self.insert_tagged(&tagged);
    }

    fn insert_tagged(&self, pages: &[(u64, &[u8])]) {
        if self.arena.frames() == 0 {
            return;
        }
        for pages in pages.chunks(self.batch() as usize) {
            // Each step for all of them: an atomic between two copies would wait for the first.
            let mut frames = self.frames.lock();
            // Where there is no frame, the page is read from the file when it is wanted.
            let mut take = |tag| self.take_from(&mut frames, self.home(PageId(low(tag))));
            let mut empties: Vec<Option<Empty>> = pages.iter().map(|&(tag, _)| take(tag)).collect();
            drop(frames);
            for ((_, bytes), empty) in pages.iter().zip(&mut empties) {
                if let Some(empty) = empty {
                    self.arena.bytes_mut(empty).copy_from_slice(bytes);
                }
            }
            let mut frames = self.frames.lock();
            for (&(tag, _), empty) in pages.iter().zip(empties) {
                let Some(empty) = empty else { continue };
                if self.holds(tag) {
                    frames.empties.put(empty);
                } else {
                    self.publish(&mut frames, empty, tag);
                }
            }
        }
    }

    /// Whether a page is here. The caller holds the lock of the frames.
    fn holds(&self, tag: u64) -> bool {
        let id = PageId(low(tag));
        let places = [Some(self.home(id)), self.located(id)];
        places.into_iter().flatten().any(|frame| self.arena.tag(frame) == tag)
    }

    fn publish(&self, frames: &mut Frames, empty: Empty, tag: u64) -> Pin {
        let (id, frame) = (PageId(low(tag)), empty.frame());
        let pin = self.arena.publish(empty, tag);
        if frame != self.home(id) {
            self.note_place(frames, id, frame);
        }
        pin
    }

    /// Lets the locator refer to a frame.
    fn note_place(&self, frames: &mut Frames, id: PageId, frame: u32) {
        let sets = (self.arena.frames() as usize * 2 / WAYS).max(1);
        let new = || (0..sets * WAYS).map(|_| AtomicU64::new(0)).collect();
        self.locator.get_or_init(new);
        let places = self.places(id);
        let word = u64::from(id.0) << 32 | u64::from(frame);
        let is_free = |place: &&AtomicU64| {
            let word = place.load(Ordering::Relaxed);
            word == 0 || high(word) == id.0
        };
        // A set that is full gives up a place; which one, the frame decides as well as chance.
        let place = places.iter().find(is_free).unwrap_or(&places[frame as usize % WAYS]);
        let old = place.swap(word, Ordering::Relaxed);
        if old != 0 && low(old) != frame {
            let tag = self.arena.tag(low(old));
            if low(tag) == high(old) && self.home(PageId(high(old))) != low(old) {
                frames.retired.extend(self.arena.retire(low(old), tag));
            }
        }
    }

    /// Empties the frames of pages that were forgotten, so that what comes in their place finds
    /// its home free.
    pub(crate) fn settle(&self) {
        let frames = &mut *self.frames.lock();
        if !frames.retired.is_empty() {
            self.arena.reclaim(&mut frames.retired, &mut frames.empties);
        }
    }

    /// Forgets a page.
    pub(crate) fn remove(&self, id: PageId) {
        if self.arena.frames() == 0 {
            return;
        }
        let candidates = [Some(self.home(id)), self.located(id)];
        let holds = |frame: &u32| low(self.arena.tag(*frame)) == id.0;
        if !candidates.iter().flatten().any(holds) {
            return;
        }
        let mut frames = self.frames.lock();
        for frame in [Some(self.home(id)), self.located(id)].into_iter().flatten() {
            let tag = self.arena.tag(frame);
            if low(tag) == id.0 {
                self.retire(&mut frames, frame, tag);
            }
        }
    }

    fn retire(&self, frames: &mut Frames, frame: u32, tag: u64) {
        frames.retired.extend(self.arena.retire(frame, tag));
        let id = PageId(low(tag));
        if frame != self.home(id) {
            let word = u64::from(id.0) << 32 | u64::from(frame);
            for place in self.places(id) {
                if place.load(Ordering::Relaxed) == word {
                    place.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    fn take_empty(&self, home: u32) -> Option<Empty> {
        if self.arena.frames() == 0 {
            return None;
        }
        self.take_from(&mut self.frames.lock(), home)
    }

    fn take_from(&self, frames: &mut Frames, home: u32) -> Option<Empty> {
        if frames.empties.len() == 0 {
            self.make_room(frames);
        }
        frames.empties.take(home)
    }

    /// Frames that are filled or freed together at most.
    fn batch(&self) -> u32 {
        (self.arena.frames() / 16).clamp(1, BATCH_MAX)
    }

    /// Empties some frames: those retired before, or those that were not used for a while.
    fn make_room(&self, frames: &mut Frames) {
        let soon = self.arena.reclaim(&mut frames.retired, &mut frames.empties);
        if frames.empties.len() > 0 {
            return;
        }
        if frames.pause > 0 {
            frames.pause -= 1;
            return;
        }
        let count = self.arena.frames();
        let mut wanted = self.batch().saturating_sub(soon);
        // Two rounds pass by every frame that was used once more.
        for _ in 0..2 * u64::from(count) {
            if wanted == 0 {
                break;
            }
            let frame = frames.hand;
            frames.hand = if frame + 1 == count { 0 } else { frame + 1 };
            let tag = self.arena.tag(frame);
            if tag != 0 && !self.arena.take_use(frame) {
                self.retire(frames, frame, tag);
                wanted -= 1;
            }
        }
        if wanted > 0 {
            frames.pause = count / (LOOKED_AT_IN_VAIN / 2);
        }
        self.arena.reclaim(&mut frames.retired, &mut frames.empties);
    }

    /// How many pages are here.
    pub(crate) fn len(&self) -> usize {
        let frames = self.frames.lock();
        self.arena.frames() as usize - frames.empties.len() - frames.retired.len()
    }
}

/// A frame that is being filled: empty again when that fails, or whoever fills it panics.
struct Filling<'a> {
    cache: &'a Cache,
    empty: Option<Empty>,
}

impl Filling<'_> {
    fn bytes(&mut self) -> &mut [u8] {
        self.cache.arena.bytes_mut(self.empty.as_mut().expect("it is there until the end"))
    }

    /// The frame is filled.
    fn end(mut self) -> Empty {
        self.empty.take().expect("it is there until the end")
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if let Some(empty) = self.empty.take() {
            self.cache.frames.lock().empties.put(empty);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
