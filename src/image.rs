//! A store file that is made page by page (layer L5).
//!
//! Owns: [`Image`]: a file that gets the pages of a state at their places, and then what makes a
//! store of them. Must not know: where pages come from, or the file's name.
//! Keeps: parent-holds-checksum, page-owned-once and entry-count (all that the state can reach is
//! read again before the file counts as whole), bytes-never-panic, space-log-replays,
//! meta-lists-pages (the pages are durable before a slot is written).

use crate::catalog::{Catalog, Record, shown_name};
use crate::commit::log_page;
use crate::error::{Error, Result};
use crate::format::{PAGE_COUNT_MAX, log_page_words_max, meta_tail_words_max};
use crate::invariant::Invariant;
use crate::meta::{Meta, Slot};
use crate::node::{Run, run_pages};
use crate::page::{ChildRef, Extent, Page, PageId};
use crate::pager::{Pager, Pieces};
use crate::seeded::seeded;
use crate::space::PageSet;
use crate::tree::PageRead;
use crate::tree::newer::{Visit, Visited};
use crate::vfs::{VfsFile, write_all_at};

/// Bytes of pages that are kept in memory while the file is read again.
const CACHE_BYTES: u64 = 1 << 20;

/// A file that is being made.
pub(crate) struct Image {
    pager: Pager,
    /// What was written, be it replaced later.
    given: PageSet,
    /// Where the next bytes go, and how many are to come there.
    at: u64,
    left: usize,
}

/// What a file holds that was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) visited: Visited,
    pub(crate) buckets: u64,
    pub(crate) file_bytes: u64,
}

impl Image {
    /// Begins with an empty file.
    ///
    /// # Errors
    /// What the storage says.
    pub(crate) fn begin(file: Box<dyn VfsFile>, page_size: usize) -> Result<Image> {
        // A process that died may have left something there.
        file.set_len(0).map_err(|error| Error::io("empty the new file", &error))?;
        let pager = Pager::new(file, page_size, CACHE_BYTES);
        Ok(Image { pager, given: PageSet::default(), at: 0, left: 0 })
    }

    pub(crate) fn page_size(&self) -> usize {
        self.pager.page_size()
    }

    /// From here on come the bytes of a page, or of a value that has pages of its own.
    pub(crate) fn begin_piece(&mut self, first: PageId, len: u32) {
        let pages = run_pages(len, self.page_size());
        self.given.add(Extent { first, pages });
        self.at = first.offset(self.page_size());
        self.left = len as usize;
    }

    /// Writes the next bytes, and behind the last of them the zeros that make whole pages.
    ///
    /// # Errors
    /// What the storage says.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(Error::Internal)?;
        self.write(bytes)?;
        let page_size = self.page_size() as u64;
        let padding = self.at.next_multiple_of(page_size) - self.at;
        if self.left == 0 && padding > 0 {
            let zeros = vec![0; usize::try_from(padding).map_err(|_| Error::Internal)?];
            self.write(&zeros)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = write_all_at(self.pager.file(), bytes, self.at);
        self.at += bytes.len() as u64;
        written.map_err(|error| Error::io("write pages of the new file", &error))
    }

    /// Makes a durable store of the file, which holds this state and nothing else. `state` has no
    /// space log and no list.
    ///
    /// # Errors
    /// Corruption, when a page of the state is missing, or not the one that its parent means; what
    /// the storage says.
    pub(crate) fn finish(&mut self, mut state: Meta) -> Result<Made> {
        // Behind the last page that was given there is nothing to be read.
        self.pager.set_page_count(self.given.end());
        let (used, buckets, visited) = self.walk(&state)?;
        self.write_log(&used, &mut state)?;
        let file_bytes = state.file_len();
        let file = self.pager.file();
        let synced = || if seeded!(ImageNotSynced) { Ok(()) } else { file.sync_all() };
        let sync = || synced().map_err(|error| Error::io("sync the new file", &error));
        let sized = file.set_len(file_bytes);
        sized.map_err(|error| Error::io("set the length of the new file", &error))?;
        // The slots list nothing, so that what they need is durable first. A device may tell one
        // sync late that a sync failed: behind the last is the copy, which an open makes again.
        sync()?;
        for slot in [Slot::Zero, Slot::One] {
            state.is_mirror = slot == Slot::One;
            let written =
                write_all_at(file, &state.encode(slot), slot.page().offset(state.page_size));
            written.map_err(|error| Error::io("write a meta page of the new file", &error))?;
            sync()?;
        }
        Ok(Made { visited, buckets, file_bytes })
    }

    /// Reads all that the state can reach.
    fn walk(&self, state: &Meta) -> Result<(PageSet, u64, Visited)> {
        let (pages, given) = (&self.pager, &self.given);
        let mut reader = Reader { pager: pages, given, used: PageSet::default() };
        let catalog = Catalog::from_part(&state.catalog, state.buckets, state.txn)?;
        let buckets = catalog.visit_newer(pages, None, &mut reader)?;
        let mut all = Visited::default();
        for (name, record) in &buckets {
            let visited = record.tree(state.txn).visit_newer(pages, None, &mut reader)?;
            check_bucket(name, record, visited)?;
            all.add(visited);
        }
        Ok((reader.used, buckets.len() as u64, all))
    }

    /// Writes which pages are free. Pages of the log lie behind all others.
    fn write_log(&self, used: &PageSet, state: &mut Meta) -> Result<()> {
        let page_size = state.page_size;
        let room = (meta_tail_words_max(page_size), log_page_words_max(page_size));
        let log = used.log_of_others(room.0, room.1);
        let mut next = used.end();
        for words in &log.pages {
            if next == PAGE_COUNT_MAX {
                return Err(Error::no_space("page ids have run out"));
            }
            let bytes = log_page(words, state.log_head, page_size);
            let page = Page::seal(bytes, PageId(next), state.txn);
            self.pager.write_bytes(page.id(), page.bytes())?;
            state.log_head = Some(ChildRef { id: page.id(), checksum: page.checksum() });
            state.log_pages += 1;
            next += 1;
        }
        (state.page_count, state.tail) = (next, log.tail);
        Ok(())
    }
}

/// Compares what the catalog says of a bucket with all that was met of it.
///
/// # Errors
/// Corruption.
pub(crate) fn check_bucket(name: &[u8], record: &Record, visited: Visited) -> Result<()> {
    shown_name(name)?;
    let told = (record.entries, record.overflow_pages);
    let found = (visited.entries, visited.overflow_pages);
    if told == found {
        return Ok(());
    }
    let shown = |(entries, pages)| format!("{entries} entries, {pages} overflow pages");
    Err(Error::corruption(None, Invariant::EntryCount, shown(told), shown(found)))
}

/// Reads what it is shown, and notes where it lies.
struct Reader<'a> {
    pager: &'a Pager,
    given: &'a PageSet,
    used: PageSet,
}

impl Reader<'_> {
    fn claim(&mut self, extent: Extent) -> Result<()> {
        if !self.given.holds(extent) {
            let (page, invariant) = (Some(extent.first.0), Invariant::ParentHoldsChecksum);
            let found = "pages that no part of the backup has";
            return Err(Error::corruption(page, invariant, "pages of the state", found));
        }
        self.used.claim(extent)
    }
}

impl Visit for Reader<'_> {
    fn page(&mut self, page: &Page) -> Result<()> {
        self.claim(Extent::one(page.id()))
    }

    fn run(&mut self, run: Run) -> Result<()> {
        if !seeded!(RestoredRunsAreFree) {
            self.claim(run.extent(self.pager.page_size()))?;
        }
        let (mut pieces, mut piece) = (Pieces::new(run), Vec::new());
        loop {
            self.pager.read_piece(&mut pieces, &mut piece)?;
            if piece.is_empty() {
                return Ok(());
            }
        }
    }
}
