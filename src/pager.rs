//! The pager: page ids to bytes of the file, through the cache (layer L4).
//!
//! Owns: the open file, the cache, and the pages that are sealed but not yet durable.
//! Must not know: trees, transactions, when to sync (the commit says so).
//! Keeps: cache-coherent, parent-holds-checksum and child-not-newer (on every read).

mod runs;

pub(crate) use runs::{PIECE_BYTES, Pieces};

use crate::arena::{LINE_BYTES, Lines, Peeked, Spot};
use crate::buffer::Buffer;
use crate::cache::{Cache, Cue, Look, Recalled};
use crate::error::{Error, Result};
use crate::format::{HEADER_KIND, KIND_SPACE_LOG, META_SLOTS};
use crate::invariant::Invariant;
use crate::node::{Begun, Node, Run, check_node};
use crate::page::{ChildRef, Extent, Page, PageId, TxnId, check_bytes, seal_bytes};
use crate::seeded::seeded;
use crate::slots::{Seat, Slots};
use crate::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Ordering, RwLock};
use crate::tree::sparse::Claim;
use crate::tree::{At, Draft, Expected, PageLook, PageRead, PlacedRun, check_child, look_for_leaf};
use crate::vfs::{VfsFile, read_exact_at, write_all_vectored_at};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::ops::Range;

/// Buffers of one write, at most: as many as systems take at once.
const WRITE_BUFS_MAX: usize = 1024;
/// Stretches of a commit with which the disk begins together: each beginning is a call of the
/// system, and asks the disk for something. The first few are not many enough to wait for more.
const BEGUN_TOGETHER: u32 = 4;
/// A stretch of the file in bytes. Linux may keep it in one piece of memory, as it was written by
/// one call; what comes into that while the disk is at it waits, and goes to the disk after it.
const STRETCH_BYTES: u64 = 256 << 10;
/// Lines that a search of a leaf touches where its entries are longer than a line, and so few that
/// hints pay: 8 of the 64 of a page of 4 KiB.
fn hinted_leaf_lines(page_size: usize) -> usize {
    (2 + page_size / LINE_BYTES * 3 / 32).min(SearchLines::MAX as usize - 1)
}

/// A transaction holds this part of the frames at most.
const HELD_PART: usize = 4;
/// Pages that are looked at and then copied: few enough for the processor's cache.
const LANDED_TOGETHER: usize = 64;

/// Sealed pages and runs whose flush has not ended.
#[derive(Default)]
struct InFlight {
    /// By their ids.
    pages: Arc<Vec<Page>>,
    runs: BTreeMap<PageId, PlacedRun>,
}

impl InFlight {
    fn page(&self, id: PageId) -> Option<Page> {
        let found = self.pages.binary_search_by_key(&id, Page::id).ok()?;
        Some(self.pages[found].clone())
    }

    /// A cursor that outlived a flush that failed may look for another run at this place, perhaps
    /// of the same bytes in pages, which end in zeros.
    fn run(&self, run: Run) -> Option<&PlacedRun> {
        let placed = self.runs.get(&run.first)?;
        let is_same = placed.checksum == run.checksum && placed.value.len() == run.len as usize;
        let is_same = is_same || seeded!(RunInFlightFoundByPlace);
        is_same.then_some(placed)
    }
}

/// Reads and writes the pages of one file.
pub(crate) struct Pager {
    file: Box<dyn VfsFile>,
    page_size: usize,
    cache: Cache,
    slots: Arc<Slots>,
    in_flight: RwLock<InFlight>,
    leaf_lines: SearchLines,
    branch_lines: SearchLines,
    hinted_leaf_lines: usize,
    /// Pages of the newest sealed state.
    page_count: AtomicU32,
    /// Pages read from the file since it was opened.
    reads: AtomicU64,
    /// Whether there is an index of a tree: one at a time has room beside the cache.
    has_index: Arc<AtomicBool>,
}

impl Pager {
    pub(crate) fn new(file: Box<dyn VfsFile>, page_size: usize, cache_bytes: u64) -> Pager {
        let slots = Arc::new(Slots::new());
        Pager {
            file,
            page_size,
            cache: Cache::new(cache_bytes, page_size, &slots),
            slots,
            in_flight: RwLock::new(InFlight::default()),
            leaf_lines: SearchLines::new(),
            branch_lines: SearchLines::new(),
            hinted_leaf_lines: hinted_leaf_lines(page_size),
            page_count: AtomicU32::new(0),
            reads: AtomicU64::new(0),
            has_index: Arc::new(AtomicBool::new(false)),
        }
    }

    pub(crate) fn file(&self) -> &dyn VfsFile {
        &*self.file
    }

    /// Where readers of this file's pages say what they read.
    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Begins to look at cached pages without holding them. `None` where that cannot be.
    #[inline(always)]
    pub(crate) fn look<'a>(&'a self, seat: &'a Seat<'_>) -> Option<Sight<'a>> {
        let (leaf_lines, branch_lines) = (self.leaf_lines.get(), self.branch_lines.get());
        let has_long_entries = leaf_lines <= self.hinted_leaf_lines;
        let hinted_pages = if has_long_entries { self.page_count() } else { 0 };
        let look = self.cache.look(seat)?.with_hints(hinted_pages);
        Some(Sight { look, leaf_lines, branch_lines, has_long_entries })
    }

    fn note_lines(&self, bytes: &[u8]) {
        let node = Node::new(bytes);
        let lines = if node.is_leaf() { &self.leaf_lines } else { &self.branch_lines };
        lines.note(node.search_bytes());
    }

    #[inline]
    pub(crate) fn page_count(&self) -> u32 {
        self.page_count.load(Ordering::Relaxed)
    }

    pub(crate) fn set_page_count(&self, page_count: u32) {
        self.page_count.store(page_count, Ordering::Relaxed);
        self.cache.expect_pages(page_count);
    }

    /// The right to make an index of a tree; `None` where there is one.
    pub(crate) fn claim_index(&self) -> Option<Claim> {
        Claim::of(&self.has_index, self.cache.frames())
    }

    /// How many bytes of pages the cache takes at most.
    pub(crate) fn cache_bytes(&self) -> u64 {
        (self.cache.frames() * self.page_size) as u64
    }

    pub(crate) fn cached_pages(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn pages_read(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Serves these pages from memory until their flush ends.
    pub(crate) fn begin_flight(&self, pages: &Arc<Vec<Page>>, runs: &[PlacedRun]) {
        if seeded!(CacheServesReusedPage) {
            return;
        }
        let mut in_flight = self.in_flight.write();
        let elsewhere = pages.iter().filter(|page| !page.is_in_frame());
        elsewhere.for_each(|page| self.cache.remove(page.id()));
        in_flight.pages = Arc::clone(pages);
        for run in runs {
            // A page of the run may have been a tree page before.
            self.forget_extent(run.extent);
            in_flight.runs.insert(run.extent.first, run.clone());
        }
        if seeded!(FlightDroppedEarly) {
            pages.iter().for_each(|page| self.cache.remove(page.id()));
            *in_flight = InFlight::default();
        }
    }

    /// Moves the pages of a flush that succeeded to the cache, those that were not sealed there.
    /// What they replaced makes room: only readers of older states look at it, and left alone it
    /// would keep the homes of pages that all look at.
    pub(crate) fn land_flight(&self, replaced: &[Extent]) {
        // Until they are in the cache, readers find them in flight, and do not wait.
        let pages = Arc::clone(&self.in_flight.read().pages);
        for &extent in replaced {
            self.forget_extent(extent);
        }
        self.cache.settle();
        // Nobody reads the space log before the file is opened again.
        let is_here =
            |page: &Page| page.is_in_frame() || page.bytes()[HEADER_KIND] == KIND_SPACE_LOG;
        let together = pages.chunks(LANDED_TOGETHER);
        for pages in together.flat_map(|pages| pages.split(is_here)) {
            self.cache.insert(pages);
        }
        self.end_flight();
    }

    /// Forgets the pages of a flush that failed.
    pub(crate) fn drop_flight(&self) {
        let pages = Arc::clone(&self.in_flight.read().pages);
        pages.iter().for_each(|page| self.cache.remove(page.id()));
        self.end_flight();
    }

    fn end_flight(&self) {
        let landed = std::mem::take(&mut *self.in_flight.write());
        drop(landed);
    }

    /// Fills `buf` with the pages from `first` on.
    pub(crate) fn read_pages(&self, first: PageId, buf: &mut [u8]) -> Result<()> {
        self.reads.fetch_add((buf.len() / self.page_size) as u64, Ordering::Relaxed);
        read_exact_at(&*self.file, buf, first.offset(self.page_size))
            .map_err(|error| Error::io("read pages", &error))
    }

    /// Writes pages and runs from where they lie; see [`write_extents`].
    pub(crate) fn write_flight(&self, pages: &[Page], runs: &[PlacedRun]) -> Result<()> {
        let mut all: Vec<(Extent, &[u8])> = Vec::with_capacity(pages.len() + runs.len());
        all.extend(pages.iter().map(|page| (Extent::one(page.id()), page.bytes())));
        all.extend(runs.iter().map(|run| (run.extent, &*run.value)));
        write_extents(&*self.file, self.page_size, all)
    }

    /// Writes bytes at a page.
    pub(crate) fn write_bytes(&self, first: PageId, bytes: &[u8]) -> Result<()> {
        let offset = first.offset(self.page_size);
        write_bufs(&*self.file, offset, &mut [IoSlice::new(bytes)])
    }

    /// Writes bytes at a page, and the zeros behind them that make them whole pages.
    pub(crate) fn write_padded(&self, first: PageId, bytes: &[u8], zeros: &[u8]) -> Result<()> {
        let bufs = &mut [IoSlice::new(bytes), IoSlice::new(zeros)];
        write_bufs(&*self.file, first.offset(self.page_size), bufs)
    }

    fn load(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        let page_count = self.page_count();
        if child.id.0 < META_SLOTS || child.id.0 >= page_count {
            let wanted = format_args!("a page of {page_count}").to_string();
            let page = Some(child.id.0);
            return Err(Error::corruption(page, Invariant::PageOwnedOnce, wanted, child.id));
        }
        let fill = |bytes: &mut [u8]| {
            self.read_pages(child.id, bytes)?;
            let read = check_bytes(bytes, child.id);
            assert!(!seeded!(CorruptPageAborts) || read.is_ok(), "a page is corrupt");
            read?;
            check_child(bytes, child, expected)?;
            check_node(bytes, child.id, page_count)?;
            self.note_lines(bytes);
            Ok(())
        };
        if let Some(page) = self.cache.load(child, fill)? {
            return Ok(page);
        }
        let mut bytes = Buffer::zeroed(self.page_size);
        fill(&mut bytes)?;
        Ok(Page::own(bytes))
    }
}

/// Writes extents from where their bytes lie, neighbours together, and lets the disk begin with
/// those in front while the others are copied: with a stretch when all of it is written.
pub(crate) fn write_extents(
    file: &dyn VfsFile,
    page_size: usize,
    mut all: Vec<(Extent, &[u8])>,
) -> Result<()> {
    all.sort_unstable_by_key(|(extent, _)| *extent);
    let is_padded =
        |(extent, bytes): &(Extent, &[u8])| extent.pages as usize * page_size > bytes.len();
    let zeros = if all.iter().any(is_padded) { vec![0; page_size] } else { Vec::new() };
    let mut bufs: Vec<IoSlice<'_>> = Vec::with_capacity(WRITE_BUFS_MAX);
    let pieces = all.chunk_by(|left, right| left.0.touches(right.0));
    // Each may need a second buffer.
    let pieces = pieces.flat_map(|piece| piece.chunks(WRITE_BUFS_MAX / 2));
    let mut pieces = pieces.peekable();
    let offset = |id| PageId(id).offset(page_size);
    let (mut rest, mut stretches) = (0..0, 0);
    while let Some(piece) = pieces.next() {
        bufs.clear();
        for (extent, bytes) in piece {
            bufs.push(IoSlice::new(bytes));
            let padding = extent.pages as usize * page_size - bytes.len();
            if padding > 0 {
                bufs.push(IoSlice::new(&zeros[..padding]));
            }
        }
        let (first, last) = (piece[0].0, piece[piece.len() - 1].0);
        write_bufs(file, offset(first.first.0), &mut bufs)?;
        let from = if rest.is_empty() { offset(first.first.0) } else { rest.start };
        rest = from..offset(last.end());
        let next = pieces.peek().map(|piece| offset(piece[0].0.first.0) / STRETCH_BYTES);
        if next == Some(offset(last.end() - 1) / STRETCH_BYTES) {
            continue;
        }
        stretches += 1;
        if stretches <= BEGUN_TOGETHER || stretches % BEGUN_TOGETHER == 0 {
            begin_write_back(file, std::mem::take(&mut rest))?;
        }
    }
    begin_write_back(file, rest)
}

/// Lets the disk begin with a range of bytes that were written.
fn begin_write_back(file: &dyn VfsFile, range: Range<u64>) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let begun = file.begin_write_back(range);
    if seeded!(FailureToBeginForgotten) {
        return Ok(());
    }
    begun.map_err(|error| Error::io("begin to write pages", &error))
}

/// Writes buffers, one behind the other.
fn write_bufs(file: &dyn VfsFile, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
    write_all_vectored_at(file, bufs, offset).map_err(|error| Error::io("write pages", &error))
}

/// The time in which a thread looks at cached pages without holding them.
pub(crate) struct Sight<'a> {
    look: Look<'a>,
    leaf_lines: usize,
    branch_lines: usize,
    has_long_entries: bool,
}

impl Sight<'_> {
    /// Whether there are hints, and so few that they are near.
    #[inline(always)]
    pub(crate) fn has_near_hints(&self) -> bool {
        self.look.has_near_hints()
    }

    /// As [`PageRead::leaf_at_hand`].
    #[inline(always)]
    pub(crate) fn leaf_for(&self, root: At, key: &[u8]) -> Option<(Page, Begun, Option<At>)> {
        let (leaf, begun, next) = look_for_leaf(root, self, key)?;
        Some((self.look.keep(leaf), begun, next))
    }
}

impl<'a> PageLook<'a> for Sight<'a> {
    type Cue = Option<Cue>;
    type Recalled = Option<Recalled>;

    type Home = Spot;

    #[inline(always)]
    fn home(&self, id: PageId) -> Spot {
        self.look.home(id)
    }

    #[inline(always)]
    fn prefetch(&self, home: Spot, level: u8) {
        home.prefetch(if level == 0 { self.leaf_lines } else { self.branch_lines });
    }

    #[inline(always)]
    fn has_long_entries(&self) -> bool {
        self.has_long_entries
    }

    #[inline(always)]
    fn ask(&self, key: &[u8]) -> Option<Cue> {
        self.look.ask(key)
    }

    #[inline(always)]
    fn recall(&self, cue: Option<Cue>) -> Option<Recalled> {
        self.look.recall(cue?, self.leaf_lines)
    }

    #[inline(always)]
    fn note(&self, recalled: Option<Recalled>, leaf: &Peeked<'_, 'a>, at: usize) {
        if let Some(recalled) = recalled {
            self.look.note(recalled, leaf, at);
        }
    }

    #[inline(always)]
    fn peek(&self, home: Spot, child: ChildRef) -> Option<Peeked<'_, 'a>> {
        self.look.peek_from(home, child)
    }
}

/// How many lines a search touches, as a running average over the pages that come in. Fewer than
/// that make a search wait twice for memory; more of them waste what others wait for.
struct SearchLines(AtomicU32);

impl SearchLines {
    /// Sixteenths of a line, so that an average can creep.
    const UNIT: u32 = 16;
    const MAX: u32 = 26;

    fn new() -> SearchLines {
        SearchLines(AtomicU32::new(8 * SearchLines::UNIT))
    }

    #[inline]
    fn get(&self) -> usize {
        (self.0.load(Ordering::Relaxed) / SearchLines::UNIT) as usize
    }

    fn note(&self, bytes: usize) {
        let lines = u32::try_from(bytes / 64 + 2).unwrap_or(u32::MAX).min(SearchLines::MAX);
        let old = self.0.load(Ordering::Relaxed);
        // Rounded up, or else a small step would be none.
        let new = (15 * old + lines * SearchLines::UNIT).div_ceil(16);
        if new != old {
            self.0.store(new, Ordering::Relaxed);
        }
    }
}

impl PageRead for Pager {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn read_node(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        let here = self.cache.get(child).or_else(|| {
            // In flight only while a commit is being flushed; the cache knows nothing of it.
            self.in_flight.read().page(child.id)
        });
        let Some(page) = here else { return self.load(child, expected) };
        check_child(page.bytes(), child, expected)?;
        Ok(page)
    }

    fn seal(&self, bytes: Draft, id: PageId, txn: TxnId) -> Page {
        self.note_lines(bytes.source());
        // A frame that was only looked at already has a small page of memory.
        self.cache.expect_pages(id.0);
        if seeded!(CacheServesReusedPage) {
            return Page::seal(bytes.into_buffer(), id, txn);
        }
        let in_frame = self.cache.make(id, |frame| {
            bytes.write_to(frame);
            // While it is in the processor's cache.
            ChildRef { id, checksum: seal_bytes(frame, id, txn) }
        });
        in_frame.unwrap_or_else(|| Page::seal(bytes.into_buffer(), id, txn))
    }

    fn forget(&self, ids: &[PageId]) {
        for &id in ids {
            self.cache.remove(id);
        }
    }

    fn leaf_at_hand(&self, root: At, key: &[u8]) -> Option<(Page, Begun, Option<At>)> {
        let seat = self.slots.visit()?;
        self.look(&seat)?.leaf_for(root, key)
    }

    fn held_max(&self) -> usize {
        self.cache.frames() / HELD_PART
    }

    fn lines(&self, id: PageId) -> Option<Lines> {
        self.cache.lines(id)
    }

    fn prefetch_search(&self, leaf: ChildRef) {
        self.cache.prefetch(leaf.id, self.leaf_lines.get());
    }

    fn read_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        self.read_whole_run(run, out)
    }
}
