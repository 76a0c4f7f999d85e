//! Damage, from bytes: what bad media do, and what only somebody with a pen can do.

use super::input::Input;
use super::seeds::Seed;
use btree_store::format::{
    CHILD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_ID, HEADER_KIND, HEADER_LEN,
    HEADER_LEVEL, HEADER_PREFIX, HEADER_RUN, HEADER_TXN, LOG_BODY, LOG_PREVIOUS, META_BODY,
    META_BUCKETS, META_CATALOG_LEN, META_CATALOG_LEVEL, META_CATALOG_ROOT, META_FLAGS,
    META_ITEM_LEN, META_ITEMS, META_LOG_HEAD, META_LOG_PAGES, META_PAGE_COUNT, META_PAGE_SIZE,
    META_TAIL_WORDS,
};
use std::collections::BTreeSet;

/// Patches of one input at most.
const PATCHES_MAX: usize = 24;

const HEADER_FIELDS: [usize; 9] = [
    HEADER_COUNT,
    HEADER_HEAP,
    HEADER_DEAD,
    HEADER_PREFIX,
    HEADER_RUN,
    HEADER_LEVEL,
    HEADER_KIND,
    HEADER_TXN,
    HEADER_ID,
];
const META_FIELDS: [usize; 11] = [
    META_PAGE_COUNT,
    META_FLAGS,
    META_LOG_HEAD,
    META_LOG_PAGES,
    META_BUCKETS,
    META_CATALOG_ROOT,
    META_CATALOG_LEVEL,
    META_CATALOG_LEN,
    META_ITEMS,
    META_TAIL_WORDS,
    META_PAGE_SIZE,
];

/// Whether checksums may be written and pages brought from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Bad media know no checksums.
    Media,
    /// A forger does.
    Forger,
}

/// A file being damaged.
pub struct Patient<'a> {
    pub bytes: Vec<u8>,
    pub page_size: usize,
    pub hand: Hand,
    /// Pages that were written to.
    pub touched: BTreeSet<usize>,
    /// Files that pages are brought from.
    pub others: &'a [Seed],
}

impl Patient<'_> {
    /// Applies what the input says until it ends.
    pub fn damage(&mut self, input: &mut Input<'_>) {
        for _ in 0..PATCHES_MAX {
            if input.is_empty() || self.bytes.len() < self.page_size {
                return;
            }
            self.patch(input);
        }
    }

    fn patch(&mut self, input: &mut Input<'_>) {
        let kind = input.below(12);
        let page = input.below(self.bytes.len() / self.page_size);
        let from = page * self.page_size;
        match kind {
            0 => self.flip(from, input),
            1 => self.write(from + input.pick(&HEADER_FIELDS), 2, input),
            2 => {
                let slot = input.below(2) * self.page_size;
                self.write(slot + input.pick(&META_FIELDS), 4, input);
            }
            3 => {
                let at = from + input.below(self.page_size);
                self.write(at, 2, input);
            }
            4 => self.write_array(from, input),
            5 => {
                let at = LOG_BODY + 4 * input.below(self.page_size / 8);
                self.write(from + input.pick(&[at, at, LOG_PREVIOUS]), 4, input);
            }
            6 => self.write_body(input),
            7 => {
                let to = input.below(self.bytes.len() / self.page_size);
                let copy = self.bytes[from..from + self.page_size].to_vec();
                self.copy(&copy, to);
            }
            8 => self.bring(page, input),
            9 => {
                let at = from + input.below(self.page_size);
                let end = (at + 64).min(self.bytes.len());
                let byte = input.pick(&[0, 0xFF]);
                self.store(at, &vec![byte; end - at]);
            }
            10 => {
                let at = from + input.below(self.page_size);
                let len = input.below(16);
                self.store(at, input.bytes(len));
            }
            _ => self.resize(input),
        }
    }

    /// Writes bytes. Bad media leave checksums as they are: to a forger they belong.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        for (at, &byte) in (at..self.bytes.len()).zip(bytes) {
            if self.hand == Hand::Forger || at % self.page_size >= 4 {
                self.bytes[at] = byte;
                self.touched.insert(at / self.page_size);
            }
        }
    }

    fn flip(&mut self, from: usize, input: &mut Input<'_>) {
        let at = from + input.below(self.page_size);
        let flipped = self.bytes[at] ^ (1 << input.below(8));
        self.store(at, &[flipped]);
    }

    /// Writes a number that means something.
    fn write(&mut self, at: usize, len: usize, input: &mut Input<'_>) {
        let number = input.number();
        self.store(at, &number.to_le_bytes()[..len]);
    }

    /// Writes a field of the arrays or of the cells of a tree page.
    fn write_array(&mut self, from: usize, input: &mut Input<'_>) {
        let field = |at: usize| {
            usize::from(u16::from_le_bytes([self.bytes[from + at], self.bytes[from + at + 1]]))
        };
        let children = HEADER_LEN + field(HEADER_PREFIX).next_multiple_of(4);
        let place = input.below(32);
        let at = match input.below(4) {
            0 => children + place * CHILD_LEN,
            1 => children + place * 4,
            2 => children + place * 2,
            _ => field(HEADER_HEAP) + place,
        };
        let len = input.pick(&[4, 2]);
        self.write(from + at.min(self.page_size - 4), len, input);
    }

    /// Writes a field of a record, of the commit list, or of the space log's tail.
    fn write_body(&mut self, input: &mut Input<'_>) {
        let slot = input.below(2) * self.page_size;
        if slot + self.page_size > self.bytes.len() {
            return;
        }
        let field = |at: usize| {
            let at = slot + at;
            let bytes = self.bytes[at..at + 4].try_into().expect("four bytes");
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(0) % self.page_size
        };
        let items = META_BODY + field(META_CATALOG_LEN);
        let tail = items + field(META_ITEMS) * META_ITEM_LEN;
        let place = input.below(32);
        let at = match input.below(3) {
            0 => META_BODY + place * 2,
            1 => items + place * 4,
            _ => tail + place * 4,
        };
        self.write(slot + at % self.page_size, 4, input);
    }

    fn copy(&mut self, page: &[u8], to: usize) {
        let from = to * self.page_size;
        self.bytes[from..from + self.page_size].copy_from_slice(page);
        self.touched.insert(to);
    }

    /// Brings a page from another file, or from another place.
    fn bring(&mut self, page: usize, input: &mut Input<'_>) {
        let other = &self.others[input.below(self.others.len())];
        let fits = self.hand == Hand::Forger && other.page_size == self.page_size;
        let source = if fits { &other.bytes } else { &self.bytes };
        let from = input.below(source.len() / self.page_size) * self.page_size;
        let brought = source[from..from + self.page_size].to_vec();
        self.copy(&brought, page);
    }

    fn resize(&mut self, input: &mut Input<'_>) {
        let pages = input.below(self.bytes.len() / self.page_size + 4);
        let rest = input.pick(&[0, 1, self.page_size / 2, self.page_size - 1]);
        self.bytes.resize(pages * self.page_size + rest, 0);
    }
}
