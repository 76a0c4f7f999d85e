//! Computes the checksums of a damaged file anew, so that what lies behind them is reached. It
//! follows `docs/format.md`, believes nothing, and leaves alone what it cannot follow.

use btree_store::format::{
    BUCKET_LEN, CHILD_LEN, HEAD_LEN, HEADER_COUNT, HEADER_KIND, HEADER_LEN, HEADER_PREFIX,
    KIND_BRANCH, KIND_LEAF, LEAF_CELL_HEADER, LEVELS_MAX, LOG_PREVIOUS, LOG_PREVIOUS_CHECKSUM,
    META_BODY, META_CATALOG_CHECKSUM, META_CATALOG_LEN, META_CATALOG_ROOT, META_FLAG_CATALOG_TREE,
    META_FLAGS, META_ITEM_LEN, META_ITEM_RUN, META_ITEMS, META_LOG_CHECKSUM, META_LOG_HEAD,
    META_SLOTS, OFFSET_LEN, OVERFLOW_LEN, VALUE_OVERFLOW,
};
use btree_store::fuzzing::{page_checksum, run_checksum};
use std::collections::{BTreeMap, BTreeSet};

/// Pages of the log that are followed at most.
const LOG_PAGES_MAX: u32 = 64;

/// The checksum in the header of each of these pages.
pub fn headers(bytes: &mut [u8], page_size: usize, pages: &BTreeSet<usize>) {
    for &page in pages {
        let whole = bytes.get_mut(page * page_size..(page + 1) * page_size);
        if let Some(page) = whole {
            let checksum = page_checksum(page);
            page[..4].copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

/// Every checksum that a slot leads to, bottom up, and the slots' own.
pub fn everything(bytes: &mut [u8], page_size: usize) {
    let mut sealer = Sealer { bytes, page_size, sealed: BTreeMap::new(), entered: BTreeSet::new() };
    for slot in 0..META_SLOTS {
        sealer.slot(slot);
    }
}

struct Sealer<'a> {
    bytes: &'a mut [u8],
    page_size: usize,
    sealed: BTreeMap<u32, u32>,
    /// Pages that were begun: a circle of checksums has no solution.
    entered: BTreeSet<u32>,
}

/// What the leaves of a tree hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Entries,
    Records,
}

impl Sealer<'_> {
    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"))
    }

    fn put(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Where a page that is no slot begins, if it lies in the file.
    fn page(&self, id: u32) -> Option<usize> {
        let from = usize::try_from(id).ok()?.checked_mul(self.page_size)?;
        let is_inside = id >= META_SLOTS && from.checked_add(self.page_size)? <= self.bytes.len();
        is_inside.then_some(from)
    }

    fn seal(&mut self, from: usize) -> u32 {
        let checksum = page_checksum(&self.bytes[from..from + self.page_size]);
        self.put(from, checksum);
        checksum
    }

    fn slot(&mut self, slot: u32) {
        let from = usize::try_from(slot).expect("there are two") * self.page_size;
        let end = from + self.page_size;
        if end > self.bytes.len() {
            return;
        }
        let mut at = from + META_BODY;
        let inline = usize::try_from(self.u32(from + META_CATALOG_LEN)).unwrap_or(usize::MAX);
        let inline_end = at.saturating_add(inline).min(end);
        if self.u32(from + META_FLAGS) & META_FLAG_CATALOG_TREE == 0 {
            self.inline_catalog(at, inline_end);
        } else {
            let root = self.u32(from + META_CATALOG_ROOT);
            if let Some(checksum) = self.tree(root, LEVELS_MAX, Values::Records) {
                self.put(from + META_CATALOG_CHECKSUM, checksum);
            }
        }
        let head = self.u32(from + META_LOG_HEAD);
        if let Some(checksum) = self.log(head, LOG_PAGES_MAX) {
            self.put(from + META_LOG_CHECKSUM, checksum);
        }
        at = inline_end;
        for _ in 0..self.u32(from + META_ITEMS) {
            if at + META_ITEM_LEN > end {
                break;
            }
            self.item(at);
            at += META_ITEM_LEN;
        }
        self.seal(from);
    }

    fn inline_catalog(&mut self, mut at: usize, end: usize) {
        while at + 2 <= end {
            let record = at + 2 + self.u16(at);
            if record + BUCKET_LEN > end {
                break;
            }
            self.record(record);
            at = record + BUCKET_LEN;
        }
    }

    fn record(&mut self, at: usize) {
        if let Some(checksum) = self.tree(self.u32(at), LEVELS_MAX, Values::Entries) {
            self.put(at + 4, checksum);
        }
    }

    fn item(&mut self, at: usize) {
        let (first, pages) = (self.u32(at), self.u32(at + 4));
        let checksum = if pages & META_ITEM_RUN == 0 {
            self.page(first).map(|from| self.seal(from))
        } else {
            self.run(first, u64::from(pages & !META_ITEM_RUN))
        };
        if let Some(checksum) = checksum {
            self.put(at + 8, checksum);
        }
    }

    fn run(&self, first: u32, pages: u64) -> Option<u32> {
        let from = self.page(first)?;
        let len = usize::try_from(pages).ok()?.checked_mul(self.page_size)?;
        let bytes = self.bytes.get(from..from.checked_add(len)?)?;
        Some(run_checksum(first, bytes))
    }

    fn log(&mut self, id: u32, left: u32) -> Option<u32> {
        let from = self.page(id)?;
        if let Some(checksum) = self.sealed.get(&id) {
            return Some(*checksum);
        }
        if left == 0 || !self.entered.insert(id) {
            return None;
        }
        if let Some(checksum) = self.log(self.u32(from + LOG_PREVIOUS), left - 1) {
            self.put(from + LOG_PREVIOUS_CHECKSUM, checksum);
        }
        let checksum = self.seal(from);
        self.sealed.insert(id, checksum);
        Some(checksum)
    }

    fn tree(&mut self, id: u32, levels: u8, values: Values) -> Option<u32> {
        let from = self.page(id)?;
        if let Some(checksum) = self.sealed.get(&id) {
            return Some(*checksum);
        }
        if levels == 0 || !self.entered.insert(id) {
            return None;
        }
        match self.bytes[from + HEADER_KIND] {
            KIND_BRANCH => self.branch(from, levels, values),
            KIND_LEAF => self.leaf(from, values),
            _ => {}
        }
        let checksum = self.seal(from);
        self.sealed.insert(id, checksum);
        Some(checksum)
    }

    /// Where the arrays begin.
    fn arrays(&self, from: usize) -> usize {
        from + HEADER_LEN + self.u16(from + HEADER_PREFIX).next_multiple_of(4)
    }

    fn branch(&mut self, from: usize, levels: u8, values: Values) {
        let end = from + self.page_size;
        let children = self.arrays(from);
        for child in 0..=self.u16(from + HEADER_COUNT) {
            let at = children + child * CHILD_LEN;
            if at + CHILD_LEN > end {
                break;
            }
            if let Some(checksum) = self.tree(self.u32(at), levels - 1, values) {
                self.put(at + 4, checksum);
            }
        }
    }

    fn leaf(&mut self, from: usize, values: Values) {
        let end = from + self.page_size;
        let count = self.u16(from + HEADER_COUNT);
        let offsets = self.arrays(from) + count * HEAD_LEN;
        for slot in 0..count {
            let at = offsets + slot * OFFSET_LEN;
            if at + OFFSET_LEN > end {
                break;
            }
            let cell = from + self.u16(at);
            if cell + LEAF_CELL_HEADER > end {
                continue;
            }
            let (key_len, tag) = (self.u16(cell), self.u16(cell + 2));
            let payload = cell + LEAF_CELL_HEADER + key_len.saturating_sub(HEAD_LEN);
            if tag == usize::from(VALUE_OVERFLOW) && payload + OVERFLOW_LEN <= end {
                let (len, first) = (u64::from(self.u32(payload)), self.u32(payload + 4));
                let pages = len.div_ceil(self.page_size as u64).max(1);
                if let Some(checksum) = self.run(first, pages) {
                    self.put(payload + 8, checksum);
                }
            } else if values == Values::Records && tag == BUCKET_LEN && payload + tag <= end {
                self.record(payload);
            }
        }
    }
}
