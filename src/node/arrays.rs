//! Tree pages: a search without a comparison for each look (part of node, layer L3).
//!
//! Owns: [`Arrays`], the arrays of a page that were found to lie in it, and the search for a key
//! there; [`Sought`], a key whose first bytes are at hand.
//! Must not know: trees. Keeps: sorted-keys (a key is found where the order of slots puts it);
//! bytes-never-panic (whatever a page says of its arrays, no look leaves it).
//!
//! A search looks at a page some twenty times, and each look would be compared with the page's
//! length. What the compiler cannot see is unsafe here: that arrays which end in a page lie in it.
//! Pages and keys that are not as most are get no answer, and are searched as [`Node`] does it.
//!
//! [`Node`]: super::Node

use super::heads::{WINDOW, below_in, compare_rests, head_of};
use crate::format::{
    BRANCH_CELL_HEADER, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_KIND, HEADER_LEN, HEADER_PREFIX,
    KIND_BRANCH, KIND_LEAF, OFFSET_LEN,
};
use crate::page::ChildRef;
use crate::seeded::seeded;
use std::cmp::Ordering;
use std::hint::select_unpredictable;

/// A key that is looked for, and its first bytes as one word, the first one lowest, with zeros
/// where it has none.
#[derive(Clone, Copy)]
pub(crate) struct Sought<'k> {
    pub(crate) key: &'k [u8],
    word: u64,
}

impl<'k> Sought<'k> {
    #[inline(always)]
    pub(crate) fn new(key: &'k [u8]) -> Sought<'k> {
        let word =
            key.first_chunk().map_or_else(|| short_word(key), |word| u64::from_le_bytes(*word));
        Sought { key, word }
    }

    /// The head of the key behind a prefix of so many bytes. `None` where it is shorter.
    #[inline(always)]
    fn head(self, prefix: usize) -> Option<u32> {
        u32::try_from(self.long_head(prefix)? >> u32::BITS).ok()
    }

    /// The first eight bytes of the key as they lie, the first one lowest.
    #[inline(always)]
    pub(crate) fn word(self) -> u64 {
        self.word
    }

    /// The eight bytes of the key behind a prefix of so many, as a number that compares alike, with
    /// zeros where it has none. `None` where it is shorter than the prefix.
    #[inline(always)]
    pub(crate) fn long_head(self, prefix: usize) -> Option<u64> {
        if prefix > self.key.len() {
            return None;
        }
        let Some(last) = self.key.len().checked_sub(size_of::<u64>()) else {
            return Some(self.word.unbounded_shr(BITS[prefix]).swap_bytes());
        };
        // The eight bytes from there on, or as many as are left: how many they are is not known
        // before the page is, and a branch on it would have to wait for that.
        let from = prefix.min(last);
        let word = u64::from_le_bytes(*self.key.get(from..)?.first_chunk()?);
        Some(word.unbounded_shr(BITS[prefix - from]).swap_bytes())
    }

    /// Whether the last `len` bytes of the key are the first of these. `None` where either has
    /// less than a word.
    #[inline(always)]
    pub(super) fn ends_with(self, len: usize, bytes: &[u8]) -> Option<bool> {
        if seeded!(RestsNotCompared) {
            return Some(true);
        }
        let last = u64::from_le_bytes(*self.key.last_chunk()?);
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        if len <= size_of::<u64>() {
            // Without a branch on a length that differs from page to page.
            let other = word(bytes.first_chunk()?);
            let unwanted = BITS[size_of::<u64>() - len];
            return Some(
                last.unbounded_shr(unwanted)
                    == other.unbounded_shl(unwanted).unbounded_shr(unwanted),
            );
        }
        let (rest, other) = (self.key.get(self.key.len().checked_sub(len)?..)?, bytes.get(..len)?);
        let (words, others) = (rest.as_chunks::<8>().0, other.as_chunks::<8>().0);
        let is_last = last == word(other.last_chunk()?);
        Some(is_last && words.iter().zip(others).all(|(one, other)| word(one) == word(other)))
    }
}

/// The first eight of `len` bytes as a number that compares alike, with zeros where there are none.
#[inline(always)]
fn first_word(bytes: &[u8], len: usize) -> u64 {
    let len = len.min(size_of::<u64>());
    if let Some(word) = bytes.first_chunk() {
        let unwanted = BITS[size_of::<u64>() - len];
        return u64::from_be_bytes(*word).unbounded_shr(unwanted).unbounded_shl(unwanted);
    }
    let bytes = &bytes[..len.min(bytes.len())];
    let word = bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    word.unbounded_shl(BITS[size_of::<u64>() - bytes.len()])
}

/// Bits of so many bytes.
const BITS: [u32; 9] = [0, 8, 16, 24, 32, 40, 48, 56, 64];

#[cold]
fn short_word(key: &[u8]) -> u64 {
    key.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Bytes of a page that are looked at before it is known what it holds: its header, and a word
/// behind that.
const FRONT: usize = HEADER_LEN + size_of::<u64>();

/// A search that has looked at heads only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// The first slot whose key may be the key or above it.
    pub(crate) slot: usize,
    /// Its head is that of the key.
    pub(super) is_tied: bool,
}

/// The arrays of a page. They lie in its bytes, and a window of heads, wherever it begins in their
/// array or at its end.
#[derive(Clone, Copy)]
pub(super) struct Arrays<'a> {
    bytes: &'a [u8],
    count: usize,
    prefix: usize,
    heads: usize,
    /// The prefix, if it is short, and what lies behind it.
    word: u64,
}

impl<'a> Arrays<'a> {
    /// Those of a leaf, or `None`.
    #[inline(always)]
    pub(super) fn of_leaf(bytes: &'a [u8]) -> Option<Arrays<'a>> {
        Arrays::of(bytes, KIND_LEAF)
    }

    /// Those of a branch, or `None`.
    #[inline(always)]
    pub(super) fn of_branch(bytes: &'a [u8]) -> Option<Arrays<'a>> {
        Arrays::of(bytes, KIND_BRANCH)
    }

    #[inline(always)]
    fn of(bytes: &'a [u8], kind: u8) -> Option<Arrays<'a>> {
        let front: &[u8; FRONT] = bytes.first_chunk()?;
        // As one number each, which is not loaded byte by byte.
        let field =
            |at: usize| front[at..].first_chunk().map_or(0, |field| u16::from_le_bytes(*field));
        let (count, prefix) = (field(HEADER_COUNT).into(), usize::from(field(HEADER_PREFIX)));
        let word = u64::from_le_bytes(*front.last_chunk()?);
        let children = HEADER_LEN + ((prefix + 3) & !3);
        let heads = if kind == KIND_LEAF { children } else { children + (count + 1) * CHILD_LEN };
        let end = heads + count * (HEAD_LEN + OFFSET_LEN) + WINDOW * HEAD_LEN;
        let is_known = front[HEADER_KIND] == kind && end <= bytes.len();
        is_known.then_some(Arrays { bytes, count, prefix, heads, word })
    }

    pub(super) fn prefix(self) -> usize {
        self.prefix
    }

    /// Some bytes of an array.
    ///
    /// # Safety
    /// The range lies in the page.
    #[inline(always)]
    unsafe fn look<const N: usize>(self, at: usize) -> &'a [u8; N] {
        let place = self.bytes.as_ptr().wrapping_add(at).cast();
        // SAFETY: the caller says that the range lies in the bytes.
        unsafe { &*place }
    }

    /// The head of a slot, or what lies behind the last one.
    ///
    /// # Safety
    /// There are at least as many slots as `slot` says.
    #[inline(always)]
    unsafe fn head(self, slot: usize) -> u32 {
        // SAFETY: the heads lie in the bytes, and a window behind the last.
        u32::from_le_bytes(*unsafe { self.look(self.heads + slot * HEAD_LEN) })
    }

    /// Where a key is. `None` where it does not begin with the page's prefix.
    #[inline(always)]
    pub(super) fn rank(self, sought: Sought<'_>) -> Option<Begun> {
        if self.prefix < size_of::<u64>() {
            let mask = (1 << (self.prefix * 8)) - 1;
            if (sought.word ^ self.word) & mask != 0 {
                return None;
            }
        } else if !sought.key.starts_with(self.bytes.get(HEADER_LEN..HEADER_LEN + self.prefix)?) {
            return None;
        }
        let head = sought.head(self.prefix)?;
        let slot = self.lower_bound(head);
        // SAFETY: it is one of the slots, or their number.
        let is_tied = unsafe { self.head(slot) } == head && slot < self.count;
        Some(Begun { slot, is_tied })
    }

    /// The first slot whose head is not below `head`; as [`super::heads::lower_bound`] does it.
    #[inline(always)]
    fn lower_bound(self, head: u32) -> usize {
        let (mut base, mut len) = (0, self.count);
        let mut halve = || {
            let half = len / 2;
            // SAFETY: `base` and `len` together are never more than the slots, and `len` is more
            // than one: it is halved no more often than that.
            let is_below = unsafe { self.head(base + half - 1) } < head;
            base = select_unpredictable(is_below, base + half, base);
            len -= half;
        };
        // Twice for each four times as many slots, and not until few are left: a leaf has some more
        // or less than its neighbour, and the end of a loop that depends on it is not foreseen.
        if self.count > WINDOW {
            if self.count > 4 * WINDOW {
                if self.count > 16 * WINDOW {
                    if self.count > 64 * WINDOW {
                        halve();
                        halve();
                    }
                    halve();
                    halve();
                }
                halve();
                halve();
            }
            halve();
            halve();
        }
        let window: *const [[u8; HEAD_LEN]; WINDOW] =
            self.bytes.as_ptr().wrapping_add(self.heads + base * HEAD_LEN).cast();
        // SAFETY: a window that begins at a slot, or behind the last, lies in the bytes.
        let window = unsafe { &*window };
        base + (below_in(window, head).trailing_ones() as usize).min(len)
    }

    /// The child to which a search for a key leads in a branch. `None` where the key does not begin
    /// with the page's prefix.
    #[inline(always)]
    pub(super) fn child_for(self, sought: Sought<'_>) -> Option<ChildRef> {
        let Begun { mut slot, is_tied } = self.rank(sought)?;
        if is_tied {
            let settled = self.settle(sought, slot, BRANCH_CELL_HEADER);
            slot = settled.map_or_else(|child| child, |separator| separator + 1);
        }
        let at = self.heads - (self.count + 1 - slot) * CHILD_LEN;
        // SAFETY: in a branch the children lie in front of the heads, one more than these, and the
        // slot is one of them or their number.
        Some(ChildRef::of_word(u64::from_le_bytes(*unsafe { self.look(at) })))
    }

    /// Where a key is among the slots that share its head, of which this is the first one.
    ///
    /// The words behind the heads tell most of them apart, without a call for each. Bytes of cells
    /// that do not lie in the page count as zeros.
    #[inline(never)]
    pub(super) fn settle(
        self,
        sought: Sought<'_>,
        first: usize,
        cell_header: usize,
    ) -> Result<usize, usize> {
        let suffix = sought.key.get(self.prefix..).unwrap_or_default();
        let rest = suffix.get(HEAD_LEN..).unwrap_or_default();
        let wanted = first_word(rest, rest.len());
        let above = head_of(suffix).checked_add(1);
        let (mut low, mut high) = (first, above.map_or(self.count, |head| self.lower_bound(head)));
        while low < high {
            let middle = low.midpoint(high);
            let cell = self.bytes.get(self.cell(middle)..).unwrap_or_default();
            let len = cell.first_chunk().map_or(0, |len| usize::from(u16::from_le_bytes(*len)));
            let behind = cell.get(cell_header..).unwrap_or_default();
            let rest_len = len.saturating_sub(HEAD_LEN);
            let order = wanted.cmp(&first_word(behind, rest_len)).then_with(|| {
                compare_rests(suffix, len, behind.get(..rest_len).unwrap_or_default())
            });
            match order {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        Err(low)
    }

    /// Where the cell of a leaf's slot begins.
    ///
    /// # Panics
    /// Where there is no such slot.
    #[inline(always)]
    pub(super) fn cell(self, slot: usize) -> usize {
        assert!(slot < self.count, "a slot of the page");
        let at = self.heads + self.count * HEAD_LEN + slot * OFFSET_LEN;
        // SAFETY: the offsets lie in the bytes, behind the heads, one for each slot.
        usize::from(u16::from_le_bytes(*unsafe { self.look(at) }))
    }
}
