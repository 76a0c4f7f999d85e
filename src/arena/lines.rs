//! Lines of memory that are asked for before they are wanted (part of arena, layer L2).
//!
//! Owns: the length of a frame, how many of its lines are asked for at once, and [`Lines`] that are
//! asked for by and by.
//! Must not know: what lies there.

use super::Arena;

/// Frames begin at multiples of it.
pub(crate) const LINE_BYTES: usize = 64;

/// Bytes in front of a page in its frame; together with the page's own header a line.
pub(super) const HEADER_BYTES: usize = 32;

/// Bytes that a frame of this page size takes.
pub(crate) fn frame_bytes(page_size: usize) -> usize {
    (HEADER_BYTES + page_size).next_multiple_of(LINE_BYTES)
}

/// Whether asking for a line does anything here.
pub(crate) const CAN_ASK: bool = cfg!(target_arch = "x86_64");

/// Asks for some lines, rounded up to fours, without a loop for as few as a search touches: its
/// steps would cost more than the lines.
#[inline(always)]
pub(super) fn prefetch_lines(first: *const u8, lines: usize) {
    let ask = |from: usize| {
        (from..from + 4).for_each(|line| prefetch_line(first.wrapping_add(line * LINE_BYTES)));
    };
    ask(0);
    if lines > 4 {
        ask(4);
    }
    if lines > 8 {
        ask(8);
    }
    if lines > 12 {
        ask(12);
    }
    if lines > 16 {
        ask(16);
    }
    if lines > 20 {
        ask(20);
    }
    if lines > 24 {
        ask(24);
    }
    if lines > 28 {
        prefetch_more(first, lines);
    }
}

/// Asks for the lines behind those of a search.
#[inline(never)]
fn prefetch_more(first: *const u8, lines: usize) {
    (28..lines).for_each(|line| prefetch_line(first.wrapping_add(line * LINE_BYTES)));
}

/// Lines that may be asked for later, one by one, whatever is there by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    first: usize,
    /// All but the last, if there are a power of two, as those of a page are.
    mask: usize,
}

impl Lines {
    /// Those of some bytes.
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8]) -> Lines {
        Lines::at(bytes.as_ptr(), bytes.len() / LINE_BYTES)
    }

    #[inline(always)]
    fn at(first: *const u8, count: usize) -> Lines {
        Lines { first: first.addr(), mask: count.wrapping_sub(1) }
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        self.mask.wrapping_add(1)
    }

    /// Asks for all of them.
    pub(crate) fn ask(self) {
        prefetch_lines(std::ptr::without_provenance(self.first), self.count());
    }

    /// Asks for one of them; behind the last follows the first.
    #[inline(always)]
    pub(crate) fn ask_for(self, line: usize) {
        let line = line & self.mask;
        prefetch_line(std::ptr::without_provenance(self.first + line * LINE_BYTES));
    }
}

impl Arena {
    /// The lines of a frame, without the last: as many as a page has.
    pub(crate) fn lines(&self, frame: u32) -> Lines {
        Lines::at(self.at(frame).as_ptr(), self.page_size / LINE_BYTES)
    }
}

/// Asks for the first lines of some bytes, before they are wanted.
#[inline]
pub(crate) fn prefetch_bytes(bytes: &[u8], lines: usize) {
    prefetch_lines(bytes.as_ptr(), lines.min(bytes.len() / LINE_BYTES));
}

/// Asks for the line in which a byte lies, wherever that is, before it is wanted.
#[inline(always)]
pub(crate) fn prefetch_at(bytes: &[u8], at: usize) {
    prefetch_line(bytes.as_ptr().wrapping_add(at));
}

/// Asks for the line in which a value begins, before it is wanted.
#[inline]
pub(crate) fn prefetch_value<T>(value: &T) {
    prefetch_line(std::ptr::from_ref(value).cast());
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing and cannot fault, wherever it points.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn prefetch_line(_: *const u8) {}
