//! A second reading of a tree page, from the format's numbers alone.
//!
//! Attack: cells-disjoint, same-calls-same-bytes.

use crate::format::{
    CHILD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_KIND, HEADER_LEN, HEADER_PREFIX,
    HEADER_RUN, HEADER_SPARE, KIND_LEAF, VALUE_OVERFLOW, VALUE_UNPLACED,
};
use crate::page::{get_u16, get_u32};

/// What a page's bytes say.
#[derive(Debug)]
pub(crate) struct Anatomy {
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) prefix_len: usize,
    pub(crate) run: usize,
    /// Bytes of header, padded prefix, arrays and cells.
    pub(crate) used: usize,
}

/// Which bytes of the page something uses.
struct Claims {
    taken: Vec<bool>,
}

impl Claims {
    fn claim(&mut self, from: usize, len: usize, what: &str) {
        for (at, taken) in self.taken.iter_mut().enumerate().skip(from).take(len) {
            assert!(!*taken, "byte {at} is used twice, by {what} too");
            *taken = true;
        }
        assert!(from + len <= self.taken.len(), "{what} reaches behind the page");
    }

    fn count(&self) -> usize {
        self.taken.iter().filter(|taken| **taken).count()
    }
}

/// Reads a page, and checks that its parts are disjoint, its counters exact and the rest zero.
pub(crate) fn dissect(page: &[u8]) -> Anatomy {
    let field = |at| usize::from(get_u16(page, at));
    let (count, prefix_len) = (field(HEADER_COUNT), field(HEADER_PREFIX));
    let (heap, dead, run) = (field(HEADER_HEAP), field(HEADER_DEAD), field(HEADER_RUN));
    let is_leaf = page[HEADER_KIND] == KIND_LEAF;
    let mut claims = Claims { taken: vec![false; page.len()] };
    claims.claim(0, HEADER_SPARE, "the header");
    claims.claim(HEADER_LEN, prefix_len, "the prefix");
    let padding = prefix_len.next_multiple_of(4) - prefix_len;
    let mut at = HEADER_LEN + prefix_len + padding;
    if !is_leaf {
        claims.claim(at, (count + 1) * CHILD_LEN, "the children");
        at += (count + 1) * CHILD_LEN;
    }
    let offsets = at + count * 4;
    claims.claim(at, count * 6, "heads and offsets");
    let arrays = claims.count();
    let mut keys = Vec::new();
    for slot in 0..count {
        let cell = field(offsets + slot * 2);
        assert!(cell >= heap, "the cell of slot {slot} lies below the heap");
        let suffix_len = field(cell);
        let rest = suffix_len.saturating_sub(4);
        let tag = is_leaf.then(|| get_u16(page, cell + 2));
        let (header, payload) = match tag {
            None => (2, 0),
            Some(VALUE_OVERFLOW | VALUE_UNPLACED) => (4, 12),
            Some(len) => (4, usize::from(len)),
        };
        claims.claim(cell, header + rest + payload, "a cell");
        let head = get_u32(page, at + slot * 4).to_be_bytes();
        let held = suffix_len.min(4);
        assert!(head[held..].iter().all(|byte| *byte == 0), "head {slot} is padded with zeros");
        let prefix = &page[HEADER_LEN..HEADER_LEN + prefix_len];
        keys.push([prefix, &head[..held], &page[cell + header..cell + header + rest]].concat());
    }
    let cells = claims.count() - arrays;
    assert_eq!(page.len() - heap, cells + dead, "every byte of the heap is a cell's or dead");
    for (at, taken) in claims.taken.iter().enumerate() {
        assert!(*taken || page[at] == 0, "byte {at} is used by nothing and not zero");
    }
    let used = claims.count() + (HEADER_LEN - HEADER_SPARE) + padding;
    Anatomy { keys, prefix_len, run, used }
}
