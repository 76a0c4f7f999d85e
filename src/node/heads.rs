//! Tree pages: comparing heads (part of node, layer L3).
//!
//! Owns: the head of a key, and what follows it; how many heads of a page are below another.
//! Must not know: pages.
//! Keeps: sorted-keys (as far as heads tell it).

use crate::format::HEAD_LEN;
use crate::seeded::seeded;
use std::cmp::Ordering;
use std::hint::select_unpredictable;

/// The first four bytes of a key after the prefix, zero padded, as a number that compares alike.
#[inline(always)]
pub(super) fn head_of(suffix: &[u8]) -> u32 {
    if let Some(first) = suffix.first_chunk() {
        return u32::from_be_bytes(*first);
    }
    let byte = |at: usize| suffix.get(at).copied().unwrap_or(0);
    u32::from_be_bytes([byte(0), byte(1), byte(2), 0])
}

/// Compares two keys whose prefix and head are the same: of one the part behind the prefix, of
/// the other that part's length, and what follows its head.
#[inline(always)]
pub(super) fn compare_rests(suffix: &[u8], len: usize, rest: &[u8]) -> Ordering {
    if seeded!(HeadTieIgnoresLength) && (suffix.len() < HEAD_LEN || len < HEAD_LEN) {
        return Ordering::Equal;
    }
    if suffix.len() <= HEAD_LEN || len <= HEAD_LEN {
        return suffix.len().cmp(&len);
    }
    if seeded!(TiedHeadsCompareByLength) {
        return suffix.len().cmp(&len).then_with(|| suffix[HEAD_LEN..].cmp(rest));
    }
    suffix[HEAD_LEN..].cmp(rest)
}

/// Heads that are compared all, and always as many, so that the end of the loop is no surprise.
pub(super) const WINDOW: usize = 24;

/// The first of the first `count` heads that is not below `head`.
///
/// No step branches on a comparison, since it could not be predicted; and few wait for the one
/// before them.
#[inline(always)]
pub(super) fn lower_bound(heads: &[[u8; HEAD_LEN]], count: usize, head: u32) -> usize {
    let is_below = |slot: &[u8; HEAD_LEN]| u32::from_le_bytes(*slot) < head;
    let (mut base, mut len) = (0, count);
    while len > WINDOW {
        let half = len / 2;
        base = select_unpredictable(is_below(&heads[base + half - 1]), base + half, base);
        len -= half;
    }
    let below = match heads[base..].first_chunk::<WINDOW>() {
        // What lies behind the heads may be below too; but heads ascend, so that it only counts
        // if all are.
        Some(window) => below_in(window, head).trailing_ones() as usize,
        None => heads[base..base + len].iter().filter(|slot| is_below(slot)).count(),
    };
    base + below.min(len)
}

/// A bit for each head of a window, which is set where that is below `head`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn below_in(window: &[[u8; HEAD_LEN]; WINDOW], head: u32) -> u32 {
    // SAFETY: every processor of this kind has the instructions.
    unsafe { below_by_fours(window, head) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn below_in(window: &[[u8; HEAD_LEN]; WINDOW], head: u32) -> u32 {
    below_one_by_one(window, head)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
pub(super) fn below_one_by_one(window: &[[u8; HEAD_LEN]; WINDOW], head: u32) -> u32 {
    let is_below = |slot: &[u8; HEAD_LEN]| u32::from_le_bytes(*slot) < head;
    let bits = window.iter().enumerate().map(|(at, slot)| u32::from(is_below(slot)) << at);
    bits.fold(0, |bits, bit| bits | bit)
}

/// The same, four heads at a time: half of the instructions that the loop is compiled to.
// Loads of four, and not four loads each: these become the same, but only after it was decided that
// so much is not inlined.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn below_by_fours(window: &[[u8; HEAD_LEN]; WINDOW], head: u32) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpgt_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32,
        _mm_set1_epi32, _mm_setzero_si128, _mm_xor_si128,
    };
    // Numbers without a sign compare as those with one whose highest bit is the other.
    let flip = _mm_set1_epi32(i32::MIN);
    let head = _mm_xor_si128(_mm_set1_epi32(head.cast_signed()), flip);
    let four = |at: usize| {
        let four: &[[u8; HEAD_LEN]; 4] = window[at..].first_chunk().expect("four heads more");
        // SAFETY: four heads are as long as a vector, which may lie anywhere.
        let four = unsafe { _mm_loadu_si128(four.as_ptr().cast()) };
        _mm_cmpgt_epi32(head, _mm_xor_si128(four, flip))
    };
    let eight = |at: usize| _mm_packs_epi32(four(at), four(at + 4));
    let low = _mm_movemask_epi8(_mm_packs_epi16(eight(0), eight(8)));
    let high = _mm_movemask_epi8(_mm_packs_epi16(eight(16), _mm_setzero_si128()));
    low.cast_unsigned() | high.cast_unsigned() << 16
}
