//! Pages in a map, in the place of a file.
//!
//! Attack: parent-holds-checksum, uniform-depth, child-not-newer.

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::node::{Run, check_node};
use crate::page::{ChildRef, Extent, Page, PageId, check_bytes, run_checksum};
use crate::tree::{Expected, PageRead, PlacedRun, check_child};
use std::cell::Cell;
use std::collections::BTreeMap;

/// What lies at the places of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    pub(super) page_size: usize,
    pub(super) pages: BTreeMap<PageId, Page>,
    /// The bytes of overflow runs, by first page.
    pub(super) runs: BTreeMap<PageId, Vec<u8>>,
    /// Pages that read with one bit of this byte flipped.
    damaged: BTreeMap<PageId, usize>,
    /// The number of the first page that was never given out.
    pub(super) end: u32,
    pub(super) reads: Cell<u64>,
    /// How many reads succeed from now on; the others fail with an I/O error.
    pub(super) reads_left: Cell<Option<u64>>,
    /// Pages that a transaction may hold.
    pub(super) held_max: usize,
}

impl Store {
    pub(super) fn new(page_size: usize) -> Store {
        Store { page_size, end: 2, held_max: usize::MAX, ..Store::default() }
    }

    /// Extends the file.
    pub(super) fn grow(&mut self, pages: u32) -> Extent {
        let first = PageId(self.end);
        self.end += pages;
        Extent { first, pages }
    }

    pub(super) fn add(&mut self, page: Page) {
        let old = self.pages.insert(page.id(), page);
        assert!(old.is_none(), "a place is taken twice: {old:?}");
    }

    pub(super) fn add_run(&mut self, placed: &PlacedRun) {
        let mut bytes = placed.value.to_vec();
        bytes.resize(placed.extent.pages as usize * self.page_size, 0);
        assert_eq!(run_checksum(placed.extent.first, &bytes), placed.checksum);
        let old = self.runs.insert(placed.extent.first, bytes);
        assert!(old.is_none(), "a place is taken twice");
    }

    /// Forgets what lies there, so that a later read of it panics.
    pub(super) fn drop_extent(&mut self, extent: Extent) {
        let was_page = extent.pages == 1 && self.pages.remove(&extent.first).is_some();
        if !was_page {
            let run = self.runs.remove(&extent.first).expect("a freed page was there");
            assert_eq!(run.len(), extent.pages as usize * self.page_size);
        }
    }

    /// Flips a bit of what later reads of a page return.
    pub(super) fn damage(&mut self, id: PageId, byte: usize) {
        self.damaged.insert(id, byte);
    }

    fn count_read(&self) -> Result<()> {
        self.reads.set(self.reads.get() + 1);
        match self.reads_left.get() {
            Some(0) => Err(Error::io("read", &std::io::Error::other("planted"))),
            Some(left) => {
                self.reads_left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl PageRead for Store {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn read_node(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        self.count_read()?;
        let page = self.pages.get(&child.id);
        let page = page.unwrap_or_else(|| panic!("page {} was freed, or never there", child.id));
        let mut bytes = Buffer::from(page.bytes());
        if let Some(byte) = self.damaged.get(&child.id) {
            bytes[*byte] ^= 0x10;
        }
        check_bytes(&bytes, child.id)?;
        check_node(&bytes, child.id, self.end)?;
        check_child(&bytes, child, expected)?;
        Ok(Page::own(bytes))
    }

    fn held_max(&self) -> usize {
        self.held_max
    }

    fn read_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        self.count_read()?;
        let bytes = self.runs.get(&run.first).expect("the run was freed, or never there");
        assert_eq!(run_checksum(run.first, bytes), run.checksum);
        out.extend_from_slice(&bytes[..run.len as usize]);
        Ok(())
    }
}
