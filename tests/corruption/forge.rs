//! Making pages that are wrong in their content and right in every checksum.

use crate::common::walk::{Walk, u16_at, u32_at};
use btree_store::format::{
    BUCKET_LEN, CHILD_LEN, HEADER_CHECKSUM, HEADER_KIND, HEADER_LEN, HEADER_PREFIX, HEADER_SPARE,
    KIND_BRANCH, LEAF_CELL_HEADER, META_BODY, VALUE_OVERFLOW,
};

/// A file with one commit, large enough that no meta page lists its pages.
pub struct Forge {
    pub bytes: Vec<u8>,
    pub page_size: usize,
}

impl Forge {
    pub fn new(bytes: &[u8]) -> Forge {
        let page_size = Walk::new(bytes).page_size;
        for slot in 0..2 {
            assert_eq!(Walk::new(bytes).meta(slot).items, 0, "the slot lists pages");
        }
        Forge { bytes: bytes.to_vec(), page_size }
    }

    pub fn page(&mut self, id: u32) -> &mut [u8] {
        let at = id as usize * self.page_size;
        &mut self.bytes[at..at + self.page_size]
    }

    /// The root page of the only bucket; `record` is where its record lies in a meta page.
    pub fn root(&self) -> u32 {
        u32_at(&self.bytes, self.record())
    }

    /// Where the record of the first bucket lies in a meta page.
    pub fn record(&self) -> usize {
        META_BODY + 2 + usize::from(u16_at(&self.bytes, META_BODY))
    }

    /// Changes a page of the tree and seals it and all above it again.
    pub fn change(&mut self, id: u32, change: impl FnOnce(&mut [u8])) {
        // Before the page becomes one that cannot be walked.
        let references = self.all_references(id);
        change(self.page(id));
        let mut checksum = (id, self.seal(id));
        for (page, parent, at) in references {
            if page != checksum.0 {
                checksum = (page, u32_at(self.page(page), 0));
            }
            self.page(parent)[at..at + 4].copy_from_slice(&checksum.1.to_le_bytes());
            self.seal(parent);
        }
    }

    /// Who points to a page, to those, and so on: page, parent, offset in the parent.
    fn all_references(&self, id: u32) -> Vec<(u32, u32, usize)> {
        let (mut found, mut todo) = (Vec::new(), vec![id]);
        while let Some(id) = todo.pop() {
            for (parent, at) in self.references(id) {
                found.push((id, parent, at));
                if parent >= 2 {
                    todo.push(parent);
                }
            }
        }
        found
    }

    /// Changes both meta pages and seals them again.
    pub fn change_meta(&mut self, change: impl Fn(&mut [u8])) {
        for slot in 0..2 {
            change(self.page(slot));
            self.seal(slot);
        }
    }

    /// Gives a page the checksum of its content.
    pub fn seal(&mut self, id: u32) -> u32 {
        let page = self.page(id);
        let checksum = crc32c::crc32c(&page[HEADER_CHECKSUM + 4..]);
        page[..4].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    /// Seals a page, and whoever points to it, up to the meta pages.
    pub fn seal_up(&mut self, id: u32) {
        let checksum = self.seal(id);
        let parents: Vec<(u32, usize)> = self.references(id);
        for (parent, at) in parents {
            self.page(parent)[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
            if parent < 2 {
                self.seal(parent);
            } else {
                self.seal_up(parent);
            }
        }
    }

    /// Where the checksum of a page is held: page and offset.
    fn references(&self, id: u32) -> Vec<(u32, usize)> {
        let record = self.record();
        if self.root() == id {
            return vec![(0, record + 4), (1, record + 4)];
        }
        let pages = u32::try_from(self.bytes.len() / self.page_size).unwrap();
        let walk = Walk::new(&self.bytes);
        let mut found = Vec::new();
        for parent in (2..pages).filter(|&page| walk.page(page)[HEADER_KIND] == KIND_BRANCH) {
            let first = children_at(walk.page(parent));
            let children = walk.children(parent);
            let places = children.iter().enumerate().filter(|(_, child)| **child == id);
            found.extend(places.map(|(at, _)| (parent, first + at * CHILD_LEN + 4)));
        }
        found
    }

    /// Gives a page the checksum that somebody holds of it already, by way of a field that
    /// nothing uses.
    pub fn force_checksum(&mut self, id: u32, wanted: u32) {
        let page = self.page(id);
        page[HEADER_SPARE..HEADER_SPARE + 4].fill(0);
        let base = crc32c::crc32c(&page[4..]);
        // The checksum is linear: find the bits of the spare field whose effects add up.
        let mut rows: Vec<(u32, u32)> = Vec::new();
        for bit in 0..32 {
            page[HEADER_SPARE..HEADER_SPARE + 4].copy_from_slice(&(1_u32 << bit).to_le_bytes());
            let (mut effect, mut bits) = (crc32c::crc32c(&page[4..]) ^ base, 1_u32 << bit);
            for &(other, others_bits) in &rows {
                if effect ^ other < effect {
                    (effect, bits) = (effect ^ other, bits ^ others_bits);
                }
            }
            rows.push((effect, bits));
            rows.sort_unstable_by(|a, b| b.cmp(a));
        }
        let (mut rest, mut spare) = (base ^ wanted, 0);
        for (effect, bits) in rows {
            if rest ^ effect < rest {
                (rest, spare) = (rest ^ effect, spare ^ bits);
            }
        }
        assert_eq!(rest, 0, "every checksum can be reached");
        page[HEADER_SPARE..HEADER_SPARE + 4].copy_from_slice(&spare.to_le_bytes());
        assert_eq!(self.seal(id), wanted);
    }

    /// The leaves of the tree, from left to right.
    pub fn leaves(&self) -> Vec<u32> {
        let walk = Walk::new(&self.bytes);
        let (mut todo, mut leaves) = (vec![self.root()], Vec::new());
        while let Some(id) = todo.pop() {
            if walk.page(id)[HEADER_KIND] == KIND_BRANCH {
                todo.extend(walk.children(id).into_iter().rev());
            } else {
                leaves.push(id);
            }
        }
        leaves
    }

    /// The leaf and the offset in it of the first overflow reference.
    pub fn overflow(&self) -> (u32, usize) {
        let walk = Walk::new(&self.bytes);
        let find = |leaf: u32| {
            let page = walk.page(leaf);
            let payload = walk.payloads(leaf).find(|(tag, _)| *tag == VALUE_OVERFLOW)?.1;
            Some((leaf, page.len() - payload.len()))
        };
        self.leaves().into_iter().find_map(find).expect("the tree has a large value")
    }
}

/// Where the child references of a branch begin.
pub fn children_at(page: &[u8]) -> usize {
    HEADER_LEN + usize::from(u16_at(page, HEADER_PREFIX)).next_multiple_of(4)
}

/// Where the first cell's offset, and the first cell itself, lie in a leaf or branch.
pub fn first_cell(page: &[u8]) -> (usize, usize) {
    let count = usize::from(u16_at(page, btree_store::format::HEADER_COUNT));
    let children = if page[HEADER_KIND] == KIND_BRANCH { (count + 1) * CHILD_LEN } else { 0 };
    let offsets = children_at(page) + children + count * 4;
    (offsets, usize::from(u16_at(page, offsets)))
}

/// Bytes of a record, and of a cell's header, for those who change fields by hand.
pub const RECORD_LEN: usize = BUCKET_LEN;
pub const CELL_HEADER: usize = LEAF_CELL_HEADER;
