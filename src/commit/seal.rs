//! Sealing a batch: pages get their ids and checksums (part of commit, layer L5).
//!
//! Owns: [`seal`], which turns the open batch into a [`Job`] for the flush.
//! Must not know: when anything is written or synced.
//! Keeps: parent-holds-checksum (bottom up), no-reuse-while-reachable and page-owned-once (all
//! places come from the free space), meta-lists-pages, txn-ids-increase.

use super::batch::{Batch, Bucket};
use super::{Barriers, Writer};
use crate::buffer::Buffer;
use crate::catalog::{Catalog, Names, Record};
use crate::error::{Error, Result};
use crate::format::{
    HEADER_COUNT, HEADER_KIND, KIND_SPACE_LOG, LOG_BODY, LOG_PREVIOUS, LOG_PREVIOUS_CHECKSUM,
    ONE_BARRIER_PAGES_MAX, PAGE_COUNT_MAX, log_page_words_max, meta_items_max, meta_tail_words_max,
};
use crate::invariant::invariant;
use crate::meta::{Item, Meta, Slot};
use crate::page::{ChildRef, Extent, Page, PageId, TxnId, put_u16, put_u32};
use crate::readers::{Loss, State};
use crate::seeded::seeded;
use crate::space::{FreeSpace, Placement};
use crate::sync::Arc;
use crate::tree::{EarlyRun, Move, PageRead, PlacedRun, SealedSize, Sealer, sealed_size};

/// Commits of more pages do not insist on lying side by side.
const CONTIGUOUS_PAGES_MAX: u32 = 1024;
/// The file grows by a sixteenth, within these bounds, in pages.
const GROWTH_MIN: u32 = 8;
const GROWTH_MAX: u32 = 4096;

/// A commit of at least so many pages may lengthen the file, where it would fall into pieces of
/// less than `PIECE_PAGES` on average, unless this part of the file is free already. Each piece
/// costs a request to the disk, about a tenth of a sync; rewriting leaves at random, a file with
/// few free pages leaves single ones only.
const TOGETHER_FROM: u32 = 8;
const PIECE_PAGES: u32 = 4;
const FREE_PART_MAX: u64 = 4;

/// A sealed batch on its way to the disk.
pub(super) struct Job {
    pub(super) number: u64,
    /// Who holds on to what it has of its own.
    pub(super) held: Option<Arc<Loss>>,
    pub(super) state: Arc<State>,
    /// By their ids.
    pub(super) pages: Arc<Vec<Page>>,
    pub(super) runs: Vec<PlacedRun>,
    /// Runs that were written already. They keep their pages, also when the flush fails and
    /// somebody still reads them; so this is dropped when the free space knows how it ended.
    pub(super) _early: Vec<Arc<EarlyRun>>,
    /// Pages of the state before that the new one does not have.
    pub(super) replaced: Vec<Extent>,
    pub(super) meta: Meta,
    pub(super) slot: Slot,
    /// A barrier between the data and the meta page.
    pub(super) data_barrier: bool,
}

/// What sealing needs to know beside the writer.
pub(super) struct Surroundings<'a> {
    pub(super) pages: &'a dyn PageRead,
    pub(super) pinned: Vec<TxnId>,
    pub(super) barriers: Barriers,
}

/// What is said where the file cannot have so many pages more.
pub(super) const IDS_HAVE_RUN_OUT: &str = "page ids, or pages side by side, have run out";

/// Where the pages of a commit will lie.
struct Places {
    /// Of the trees, leaves first.
    nodes: Vec<PageId>,
    runs: Vec<Extent>,
    log: Vec<PageId>,
}

/// Seals the open batch. On an error nothing has happened to the free space.
pub(super) fn seal(writer: &mut Writer, around: &Surroundings<'_>) -> Result<Job> {
    let mut catalog = writer.batch.base.catalog.clone();
    enter_buckets(&mut writer.batch, &mut catalog, around.pages)?;
    if let (Some(packing), Names::Tree(tree)) = (writer.packing, &mut catalog.names) {
        let mut goal = Move::new(packing.limit, packing.catalog_budget, u32::MAX);
        tree.relocate(&mut writer.batch.edit(around.pages), &mut goal)?;
    }
    let page_size = around.pages.page_size();
    let mut size = SealedSize::default();
    for bucket in writer.batch.buckets.values() {
        if let Bucket::Live(tree) = bucket {
            sealed_size(tree, page_size, &mut size);
        }
    }
    if let Names::Tree(tree) = &catalog.names {
        sealed_size(tree, page_size, &mut size);
    }
    let txn = writer.batch.txn();
    if txn.0 == u64::MAX {
        // None could follow; so no file has it.
        return Err(Error::no_space("the numbers of transactions have run out"));
    }
    if seeded!(CompactionIgnoresPins) && writer.packing.is_some() {
        writer.space.begin(txn, &[]);
    } else {
        writer.space.begin(txn, &around.pinned);
    }
    writer.space.adopt(size.early.iter().map(|early| early.run.extent(page_size)));
    let sealed = find_places(writer, &size, page_size).and_then(|places| {
        let sealed = seal_at(writer, catalog, &size, &places, around);
        if sealed.is_err() {
            around.pages.forget(&places.nodes);
        }
        sealed
    });
    if sealed.is_err() {
        writer.space.undo();
    }
    sealed
}

/// Gives every changed bucket its entry in the catalog, with the root still to come.
fn enter_buckets(batch: &mut Batch, catalog: &mut Catalog, pages: &dyn PageRead) -> Result<()> {
    let buckets = std::mem::take(&mut batch.buckets);
    let base = batch.base.txn;
    let mut edit = batch.edit(pages);
    let entered = buckets.iter().try_for_each(|(name, bucket)| match bucket {
        Bucket::Live(tree) => catalog.put(&mut edit, name, Record::of(tree)),
        Bucket::Dropped if catalog.find(pages, name, base)?.is_none() => Ok(()),
        Bucket::Dropped => catalog.remove(&mut edit, name),
    });
    batch.buckets = buckets;
    entered
}

/// Releases what the batch freed and allocates what it needs.
fn find_places(writer: &mut Writer, size: &SealedSize, page_size: usize) -> Result<Places> {
    let space = &mut writer.space;
    let step = if writer.is_cramped { Step::Least } else { Step::Ahead };
    let mut placement = Placement::BestFit;
    if let Some(packing) = writer.packing {
        placement = Placement::Below(packing.limit);
        space.want_checkpoint(packing.limit);
    }
    if seeded!(PlacedByChance, crate::seeded::chance()) {
        placement = Placement::Below(PageId(u32::MAX));
    }
    // In order, so that each finds in the processor's cache what the one before needed, and
    // neighbours together.
    writer.batch.freed.sort_unstable_by_key(|freed| freed.extent);
    for run in writer.batch.freed.chunk_by(|left, right| left.extent.touches(right.extent)) {
        let (first, last) = (run[0].extent, run[run.len() - 1].extent);
        let whole = Extent { pages: last.end() - first.first.0, ..first };
        space.release_all(whole, run.iter().map(|freed| (freed.extent, freed.birth)))?;
    }
    let mut runs = Vec::with_capacity(size.runs.len());
    let mut nodes = Vec::with_capacity(size.nodes() as usize);
    let total = size.runs.iter().try_fold(size.nodes(), |sum, &pages| sum.checked_add(pages));
    let total = total.filter(|&total| total > 0 && total <= CONTIGUOUS_PAGES_MAX);
    if let Some(total) = total.filter(|_| writer.packing.is_none() && !writer.is_cramped) {
        keep_together(space, total);
    }
    let together = total.and_then(|total| space.allocate(total, placement));
    if let Some(extent) = together {
        let mut first = extent.first.0;
        for &pages in &size.runs {
            runs.push(Extent { first: PageId(first), pages });
            first += pages;
        }
        nodes.extend(pages_of(Extent { first: PageId(first), pages: extent.end() - first }));
    } else {
        for &pages in &size.runs {
            runs.push(allocate_run(space, pages, placement, step)?);
        }
        let pieces = allocate_pages(space, size.nodes(), placement, step)?;
        // The longest pieces come first, and the leaves of `nodes`. The higher a page's level, the
        // sooner it is replaced: what lies side by side is free side by side again.
        nodes.extend(pieces.into_iter().rev().flat_map(pages_of));
    }
    if let Some(packing) = writer.packing {
        let kept = (space.page_count() - space.tail_free()).max(packing.limit.0);
        if kept < space.page_count() {
            space.cut(kept);
        }
    }
    let needed =
        space.log_pages_needed(meta_tail_words_max(page_size), log_page_words_max(page_size));
    let log = allocate_pages(space, needed, placement, step)?;
    let log = log.into_iter().flat_map(pages_of).collect();
    Ok(Places { nodes, runs, log })
}

/// Lengthens the file for a commit that would be scattered over it, within bounds.
fn keep_together(space: &mut FreeSpace, pages: u32) {
    let is_small = pages < TOGETHER_FROM;
    let is_roomy = space.free_pages() * FREE_PART_MAX >= u64::from(space.page_count());
    // Where ids run out, it falls to pieces rather than fail.
    let is_full = PAGE_COUNT_MAX - space.edge() < pages;
    if !(is_small || is_roomy || is_full || space.fits_in_pieces(pages, pages / PIECE_PAGES)) {
        lengthen(space, pages, Step::Ahead);
    }
}

/// Allocates pages that lie side by side, at the end of the file if need be.
fn allocate_run(
    space: &mut FreeSpace,
    pages: u32,
    placement: Placement,
    step: Step,
) -> Result<Extent> {
    let found = space.allocate(pages, placement);
    if let Some(extent) = found.or_else(|| space.allocate(pages, Placement::BestFit)) {
        return Ok(extent);
    }
    grow(space, pages, step)?;
    let lengthened = space.allocate(pages, Placement::BestFit);
    lengthened.ok_or_else(|| Error::no_space(IDS_HAVE_RUN_OUT))
}

/// Allocates pages, side by side where that is possible.
fn allocate_pages(
    space: &mut FreeSpace,
    mut pages: u32,
    placement: Placement,
    step: Step,
) -> Result<Vec<Extent>> {
    let mut pieces = Vec::new();
    while pages > 0 {
        let whole = match placement {
            Placement::BestFit => None,
            Placement::Below(_) => space.allocate(pages, placement),
        };
        let found = whole
            .or_else(|| space.allocate_up_to(pages, placement))
            .or_else(|| space.allocate_up_to(pages, Placement::BestFit));
        let Some(extent) = found else {
            grow(space, pages, step)?;
            continue;
        };
        pages -= extent.pages;
        pieces.push(extent);
    }
    Ok(pieces)
}

fn pages_of(extent: Extent) -> impl Iterator<Item = PageId> {
    (extent.first.0..extent.end()).map(PageId)
}

/// Lengthens the file so that it ends in at least `pages` free pages.
fn grow(space: &mut FreeSpace, pages: u32, step: Step) -> Result<()> {
    let missing = pages.saturating_sub(space.tail_free()).max(1);
    if missing > PAGE_COUNT_MAX - space.edge() {
        return Err(Error::no_space(IDS_HAVE_RUN_OUT));
    }
    lengthen(space, pages, step);
    Ok(())
}

/// By how much the file is lengthened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// By more than is needed now, since each change of the length costs a sync more.
    Ahead,
    /// By what is needed: the disk may have room for no more.
    Least,
}

/// By how many pages a file of so many is lengthened ahead of need.
pub(super) fn step_ahead(page_count: u32) -> u32 {
    (page_count / 16).clamp(GROWTH_MIN, GROWTH_MAX)
}

/// Lengthens the file by a step, for which there are ids.
fn lengthen(space: &mut FreeSpace, pages: u32, step: Step) {
    let step = match step {
        Step::Ahead => step_ahead(space.page_count()),
        Step::Least => 0,
    };
    let missing = pages.saturating_sub(space.tail_free()).max(1);
    let room = PAGE_COUNT_MAX - space.edge();
    space.grow(space.edge() + missing.max(step).min(room));
}

fn seal_at(
    writer: &mut Writer,
    mut catalog: Catalog,
    size: &SealedSize,
    places: &Places,
    around: &Surroundings<'_>,
) -> Result<Job> {
    let (txn, page_size) = (writer.batch.txn(), around.pages.page_size());
    let (tail_max, log_max) = (meta_tail_words_max(page_size), log_page_words_max(page_size));
    let plan = writer.space.finish(tail_max, log_max, &places.log);
    let mut runs = places.runs.iter().copied();
    let mut sealer = Sealer::new(txn, size, around.pages, &places.nodes, &mut runs);
    let freed = writer.batch.freed.len();
    let (buckets, mut edit) = writer.batch.buckets_and_edit(around.pages);
    for (name, bucket) in buckets {
        if let Bucket::Live(tree) = bucket
            && tree.is_dirty()
        {
            sealer.seal(tree);
            catalog.put(&mut edit, name, Record::of(tree))?;
        }
    }
    if let Names::Tree(tree) = &mut catalog.names
        && tree.is_dirty()
    {
        sealer.seal(tree);
    }
    let (mut pages, placed) = (sealer.pages, sealer.placed);
    invariant!(PageOwnedOnce, freed == writer.batch.freed.len(), "pages are freed after the count");
    seal_log(&mut writer.space, &plan.pages, &places.log, txn, page_size, &mut pages);
    pages.sort_unstable_by_key(Page::id);
    let runs = run_items(&placed, &size.early, page_size);
    let run_pages = runs.iter().map(|run| u64::from(run.extent.pages)).sum::<u64>();
    let is_listed = pages.len() + runs.len() <= meta_items_max(page_size)
        && pages.len() as u64 + run_pages <= u64::from(ONE_BARRIER_PAGES_MAX);
    let items = if is_listed { items_of(&pages, runs) } else { Vec::new() };
    let state = State::new(txn, writer.space.page_count(), catalog);
    let meta = Meta {
        txn,
        page_size,
        page_count: state.page_count,
        is_mirror: false,
        buckets: state.catalog.buckets,
        catalog: state.catalog.to_part(),
        log_head: writer.space.log_head().map(|(id, checksum)| ChildRef { id, checksum }),
        log_pages: writer.space.log_page_count(),
        items,
        tail: writer.space.tail().to_vec(),
    };
    Ok(Job {
        number: writer.batch.number,
        held: writer.batch.held(),
        state: Arc::new(state),
        pages: Arc::new(pages),
        runs: placed,
        _early: size.early.clone(),
        replaced: writer.batch.freed.iter().map(|freed| freed.extent).collect(),
        meta,
        slot: writer.next_slot,
        data_barrier: !is_listed || around.barriers == Barriers::Two,
    })
}

/// Seals the pages of the space log, each pointing to the one before.
fn seal_log(
    space: &mut FreeSpace,
    plan: &[Vec<u32>],
    places: &[PageId],
    txn: TxnId,
    page_size: usize,
    pages: &mut Vec<Page>,
) {
    for (words, &id) in plan.iter().zip(places) {
        let before = space.log_head().map(|(id, checksum)| ChildRef { id, checksum });
        let page = Page::seal(log_page(words, before, page_size), id, txn);
        space.log_page_sealed(id, page.checksum());
        pages.push(page);
    }
}

/// A page of the space log, not sealed yet, and the page before it.
pub(crate) fn log_page(words: &[u32], before: Option<ChildRef>, page_size: usize) -> Buffer {
    let mut bytes = Buffer::zeroed(page_size);
    bytes[HEADER_KIND] = KIND_SPACE_LOG;
    let count = u16::try_from(words.len()).expect("a page holds fewer words");
    put_u16(&mut bytes, HEADER_COUNT, count);
    if let Some(before) = before {
        put_u32(&mut bytes, LOG_PREVIOUS, before.id.0);
        put_u32(&mut bytes, LOG_PREVIOUS_CHECKSUM, before.checksum);
    }
    for (at, &word) in words.iter().enumerate() {
        put_u32(&mut bytes, LOG_BODY + at * 4, word);
    }
    bytes
}

/// What the meta page lists of runs.
fn run_items(placed: &[PlacedRun], early: &[Arc<EarlyRun>], page_size: usize) -> Vec<Item> {
    let placed = placed.iter().map(|run| (run.extent, run.checksum));
    let early = early.iter().filter(|_| !seeded!(ListMissesEarlyRun));
    let early = early.map(|early| (early.run.extent(page_size), early.run.checksum));
    let item = |(extent, checksum)| Item { extent, checksum, is_run: true };
    placed.chain(early).map(item).collect()
}

/// What the meta page lists of these pages and runs.
fn items_of(pages: &[Page], runs: Vec<Item>) -> Vec<Item> {
    let is_log = |page: &Page| page.bytes()[HEADER_KIND] == KIND_SPACE_LOG;
    let pages = pages.iter().filter(|page| !(seeded!(ListMissesLogPage) && is_log(page)));
    let page_items = pages.map(|page| Item {
        extent: Extent::one(page.id()),
        checksum: page.checksum(),
        is_run: false,
    });
    let runs = if seeded!(ListMissesRun) { Vec::new() } else { runs };
    let mut items: Vec<Item> = page_items.chain(runs).collect();
    items.sort_unstable_by_key(|item| item.extent);
    items
}
