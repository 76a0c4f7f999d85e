//! The pager: page ids to bytes of the file, through the cache (layer L4).
//!
//! Owns: the open file, the cache, and the pages that are sealed but not yet durable.
//! Must not know: trees, transactions, when to sync (the commit says so).
//! Keeps: cache-coherent, parent-holds-checksum and child-not-newer (on every read).

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::format::META_SLOTS;
use crate::invariant::Invariant;
use crate::node::{Run, check_node};
use crate::page::{ChildRef, Extent, Page, PageId, run_checksum};
use crate::seeded::seeded;
use crate::sync::{AtomicU32, AtomicU64, Ordering, RwLock};
use crate::tree::{Expected, PageRead, PlacedRun, check_child};
use crate::vfs::{VfsFile, read_exact_at, write_all_at};
use std::collections::BTreeMap;

/// Bytes of one write at most: larger runs of pages go out in several writes.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Sealed pages and runs whose flush has not ended.
#[derive(Default)]
struct InFlight {
    pages: BTreeMap<PageId, Page>,
    runs: BTreeMap<PageId, PlacedRun>,
}

/// Reads and writes the pages of one file.
pub(crate) struct Pager {
    file: Box<dyn VfsFile>,
    page_size: usize,
    cache: Cache,
    in_flight: RwLock<InFlight>,
    /// Pages of the newest sealed state.
    page_count: AtomicU32,
    /// Pages read from the file since it was opened.
    reads: AtomicU64,
}

impl Pager {
    pub(crate) fn new(file: Box<dyn VfsFile>, page_size: usize, cache_bytes: u64) -> Pager {
        let pages_max = usize::try_from(cache_bytes / page_size as u64).unwrap_or(usize::MAX);
        Pager {
            file,
            page_size,
            cache: Cache::new(pages_max),
            in_flight: RwLock::new(InFlight::default()),
            page_count: AtomicU32::new(0),
            reads: AtomicU64::new(0),
        }
    }

    pub(crate) fn file(&self) -> &dyn VfsFile {
        &*self.file
    }

    pub(crate) fn page_count(&self) -> u32 {
        self.page_count.load(Ordering::Relaxed)
    }

    pub(crate) fn set_page_count(&self, page_count: u32) {
        self.page_count.store(page_count, Ordering::Relaxed);
    }

    pub(crate) fn cached_pages(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn pages_read(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Serves these pages from memory until their flush ends.
    pub(crate) fn begin_flight(&self, pages: &[Page], runs: &[PlacedRun]) {
        if seeded!(CacheServesReusedPage) {
            return;
        }
        let mut in_flight = self.in_flight.write();
        for page in pages {
            self.cache.remove(page.id());
            in_flight.pages.insert(page.id(), page.clone());
        }
        for run in runs {
            // A page of the run may have been a tree page before.
            (run.extent.first.0..run.extent.end()).for_each(|id| self.cache.remove(PageId(id)));
            in_flight.runs.insert(run.extent.first, run.clone());
        }
        if seeded!(FlightDroppedEarly) {
            *in_flight = InFlight::default();
        }
    }

    /// Moves the pages of a flush that succeeded to the cache.
    pub(crate) fn land_flight(&self) {
        let mut in_flight = self.in_flight.write();
        let landed = std::mem::take(&mut *in_flight);
        for page in landed.pages.into_values() {
            self.cache.insert(page);
        }
    }

    /// Forgets the pages of a flush that failed.
    pub(crate) fn drop_flight(&self) {
        *self.in_flight.write() = InFlight::default();
    }

    /// Fills `buf` with the pages from `first` on.
    pub(crate) fn read_pages(&self, first: PageId, buf: &mut [u8]) -> Result<()> {
        self.reads.fetch_add((buf.len() / self.page_size) as u64, Ordering::Relaxed);
        read_exact_at(&*self.file, buf, first.offset(self.page_size))
            .map_err(|error| Error::io("read pages", &error))
    }

    /// Writes pages and runs, neighbours together.
    pub(crate) fn write_flight(&self, pages: &[Page], runs: &[PlacedRun]) -> Result<()> {
        let mut pieces: Vec<(Extent, &[u8])> = Vec::with_capacity(pages.len() + runs.len());
        pieces.extend(pages.iter().map(|page| (Extent::one(page.id()), page.bytes())));
        pieces.extend(runs.iter().map(|run| (run.extent, &*run.value)));
        pieces.sort_unstable_by_key(|(extent, _)| *extent);
        let mut buffer: Vec<u8> = Vec::new();
        let mut start = PageId::NONE;
        let mut end = 0;
        for (extent, bytes) in pieces {
            if extent.first.0 != end || buffer.len() + bytes.len() > WRITE_BYTES_MAX {
                self.write_bytes(start, &buffer)?;
                buffer.clear();
                start = extent.first;
            }
            // A large value goes out from where it lies; its last page, padded, joins the others.
            let is_large = bytes.len() > WRITE_BYTES_MAX;
            let whole = if is_large { bytes.len() / self.page_size * self.page_size } else { 0 };
            for part in bytes[..whole].chunks(WRITE_BYTES_MAX) {
                self.write_bytes(start, part)?;
                let pages = u32::try_from(part.len() / self.page_size);
                start.0 += pages.expect("a part has few pages");
            }
            buffer.extend_from_slice(&bytes[whole..]);
            end = extent.end();
            buffer.resize(buffer.len().next_multiple_of(self.page_size), 0);
        }
        self.write_bytes(start, &buffer)
    }

    /// Writes bytes at a page.
    pub(crate) fn write_bytes(&self, first: PageId, bytes: &[u8]) -> Result<()> {
        write_all_at(&*self.file, bytes, first.offset(self.page_size))
            .map_err(|error| Error::io("write pages", &error))
    }

    fn load(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        let page_count = self.page_count();
        if child.id.0 < META_SLOTS || child.id.0 >= page_count {
            let wanted = format_args!("a page of {page_count}").to_string();
            let page = Some(child.id.0);
            return Err(Error::corruption(page, Invariant::PageOwnedOnce, wanted, child.id));
        }
        let mut bytes = vec![0; self.page_size];
        self.read_pages(child.id, &mut bytes)?;
        let read = Page::from_disk(&bytes, child.id);
        assert!(!seeded!(CorruptPageAborts) || read.is_ok(), "a page is corrupt");
        let page = read?;
        check_child(&page, child, expected)?;
        check_node(page.bytes(), child.id, page_count)?;
        self.cache.insert(page.clone());
        Ok(page)
    }
}

impl PageRead for Pager {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn read_node(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        let here = self.cache.get(child.id).or_else(|| {
            // In flight only while a commit is being flushed; the cache knows nothing of it.
            self.in_flight.read().pages.get(&child.id).cloned()
        });
        let Some(page) = here else { return self.load(child, expected) };
        check_child(&page, child, expected)?;
        Ok(page)
    }

    fn read_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        if let Some(placed) = self.in_flight.read().runs.get(&run.first) {
            out.extend_from_slice(&placed.value);
            return Ok(());
        }
        let from = out.len();
        out.resize(from + run.pages(self.page_size) as usize * self.page_size, 0);
        self.read_pages(run.first, &mut out[from..])?;
        let found = run_checksum(run.first, &out[from..]);
        if found != run.checksum && !seeded!(RunChecksumNotCompared) {
            out.truncate(from);
            return Err(Error::corruption(
                Some(run.first.0),
                Invariant::ParentHoldsChecksum,
                format_args!("{:#010x}", run.checksum),
                format_args!("{found:#010x}"),
            ));
        }
        out.truncate(from + run.len as usize);
        Ok(())
    }
}
