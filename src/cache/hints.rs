//! Where keys were found (part of cache, layer L3).
//!
//! Owns: [`Hints`], which know of keys that were looked up before in which frame and line each was.
//! Must not know: trees, what a frame holds.
//! Keeps: nothing. What a hint names is asked for ahead, and looked at by none but those who come
//! there by the tree, so that a hint that is wrong costs time and nothing else.
//! [`Hinted`] does not leave the cache, so that no reader can believe one; the bug that is seeded
//! here is one of where the words lie.
//!
//! A way down waits for a leaf, and then for an entry of it. With a hint both are asked for at
//! once, before the leaf is known. Hints may be far too: who wants one asks for it, and goes on.

use super::{high, low};
use crate::arena::{CAN_ASK, LINE_BYTES, frame_bytes, prefetch_value};
use crate::sync::{AtomicU64, Ordering};

/// Bytes of pages for which there is a word, which has two hints.
const BYTES_PER_WORD: usize = 512;

/// Words of hints that there are for a page of this size at most.
pub(super) fn words_per_page(page_size: usize) -> usize {
    page_size / BYTES_PER_WORD
}

/// How hints are kept in words: from its lowest bit on, a hint has the number of a line in its
/// frame, that of the frame, and as much of the key's hash as there is room for.
pub(super) struct Hints {
    line_bits: u32,
    /// Bits of both numbers.
    place_bits: u32,
    words_per_page: usize,
}

/// Where a key was found before, if the hint is right.
pub(super) struct Hinted {
    pub(super) frame: u32,
    pub(super) line: usize,
}

/// Where the hint of a key would be.
#[derive(Clone, Copy)]
pub(crate) struct Cue {
    at: usize,
    /// What a hint of this key has above its place.
    mark: u32,
}

/// A hint that was looked up, for when it is known whether it is right.
#[derive(Clone, Copy)]
pub(crate) struct Recalled {
    cue: Cue,
    /// Two hints, the newer one in the low half.
    word: u64,
}

impl Hints {
    pub(super) fn new(frames: u32, page_size: usize) -> Hints {
        let lines = frame_bytes(page_size) / LINE_BYTES;
        let line_bits = lines.next_power_of_two().trailing_zeros();
        let place_bits = line_bits + (u32::BITS - frames.leading_zeros());
        let is_useful = CAN_ASK && place_bits < u32::BITS;
        let words_per_page = if is_useful { words_per_page(page_size) } else { 0 };
        Hints { line_bits, place_bits, words_per_page }
    }

    /// How many words are of use for so many pages: none, or a power of two.
    #[inline(always)]
    pub(super) fn words(&self, pages: u32) -> usize {
        match pages as usize * self.words_per_page {
            0 => 0,
            words => words.next_power_of_two(),
        }
    }

    /// Asks for what is known of a key, before it is wanted.
    #[inline(always)]
    pub(super) fn ask(&self, words: &[AtomicU64], key: &[u8]) -> Option<Cue> {
        if words.is_empty() {
            return None;
        }
        let hash = hash(key);
        let at = high(hash) as usize & (words.len() - 1);
        prefetch_value(words.get(at)?);
        Some(Cue { at, mark: low(hash) >> self.place_bits << self.place_bits })
    }

    /// What is known of a key.
    #[inline(always)]
    pub(super) fn recall(&self, words: &[AtomicU64], cue: Cue) -> Option<(Recalled, Hinted)> {
        let word = words.get(cue.at)?.load(Ordering::Relaxed);
        // Without branches: a guess that is wrong would undo what was begun meanwhile.
        let of_newer = low(word) & self.mask(low(word), cue.mark);
        let of_older = high(word) & self.mask(high(word), cue.mark);
        let hint = of_newer | (of_older & !self.mask(low(word), cue.mark));
        let place = hint & ((1 << self.place_bits) - 1);
        let line = (place & ((1 << self.line_bits) - 1)) as usize;
        Some((Recalled { cue, word }, Hinted { frame: place >> self.line_bits, line }))
    }

    /// All ones where a hint has this mark.
    #[inline(always)]
    fn mask(&self, hint: u32, mark: u32) -> u32 {
        u32::from((hint ^ mark) >> self.place_bits == 0).wrapping_neg()
    }

    /// Takes note of where a key was found that was asked for.
    #[inline(always)]
    pub(super) fn note(&self, words: &[AtomicU64], recalled: Recalled, frame: u32, line: usize) {
        let Recalled { cue: Cue { at, mark }, word } = recalled;
        let line = u32::try_from(line).expect("a frame has few lines");
        let hint = mark | frame << self.line_bits | line;
        if hint == low(word) || hint == high(word) {
            return;
        }
        let is_newer_its = self.mask(low(word), mark) != 0;
        let other = if is_newer_its { high(word) } else { low(word) };
        if let Some(place) = words.get(at) {
            place.store(u64::from(other) << 32 | u64::from(hint), Ordering::Relaxed);
        }
    }
}

/// A number of a key that differs between keys as a rule.
#[inline(always)]
fn hash(key: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let step = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = key.as_chunks::<8>();
    let words = words.iter().map(|&word| u64::from_le_bytes(word));
    let hash = words.fold(key.len() as u64, step);
    let hash = rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)));
    (hash ^ hash >> 32).wrapping_mul(FACTOR)
}

#[cfg(all(test, not(loom)))]
mod tests;
