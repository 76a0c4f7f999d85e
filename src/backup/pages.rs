//! Streams of pages: what a state has that is newer than another (part of backup, layer L7).
//!
//! Owns: what the blocks of such a stream hold, written and read, and the pages of a state, one
//! after another. Must not know: what pages hold, or how a file becomes a store.
//! Keeps: snapshot-stable (one state's pages), bytes-never-panic (no place is written to that the
//! stream did not announce), page-owned-once (no more pages are copied than a state has).

use super::blocks::{BlockReader, BlockWriter, Form, Head};
use super::{BackupStats, Totals};
use crate::error::{Error, Result};
use crate::format::{META_SLOTS, STREAM_PIECE_LEN, STREAM_SINCE_LEN};
use crate::image::{Image, check_bucket};
use crate::invariant::Invariant;
use crate::meta::{Meta, Slot};
use crate::node::{Run, run_pages};
use crate::page::{Extent, Page, PageId, TxnId, get_u32, get_u64, put_u32, put_u64};
use crate::pager::{Pager, Pieces};
use crate::readers::State;
use crate::seeded::seeded;
use crate::tree::PageRead;
use crate::tree::newer::{Visit, Visited};
use crate::txn::Snapshot;
use std::io::Write;

/// What takes pages, and values that have pages of their own.
trait Sink {
    /// From here on come so many bytes of what begins at this page.
    fn begin_piece(&mut self, first: PageId, len: u32) -> Result<()>;

    fn push(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Sink for BlockWriter<'_> {
    fn begin_piece(&mut self, first: PageId, len: u32) -> Result<()> {
        let mut record = [0; STREAM_PIECE_LEN];
        put_u32(&mut record, 0, first.0);
        put_u32(&mut record, 4, len);
        BlockWriter::push(self, &record)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        BlockWriter::push(self, bytes)
    }
}

impl Sink for Image {
    fn begin_piece(&mut self, first: PageId, len: u32) -> Result<()> {
        Image::begin_piece(self, first, len);
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        Image::push(self, bytes)
    }
}

/// Brings what a walk meets to a sink.
struct Pour<'a> {
    pager: &'a Pager,
    sink: &'a mut dyn Sink,
    /// Pages of the state that were not met yet. Each has one owner: what is met once for each
    /// path that leads to it would be met billions of times.
    left: u32,
}

impl Pour<'_> {
    fn meet(&mut self, extent: Extent) -> Result<()> {
        let left = self.left.checked_sub(extent.pages);
        self.left = left.ok_or_else(|| {
            let (page, invariant) = (Some(extent.first.0), Invariant::PageOwnedOnce);
            Error::corruption(page, invariant, "pages of one owner", "more than the state has")
        })?;
        Ok(())
    }
}

impl Visit for Pour<'_> {
    fn page(&mut self, page: &Page) -> Result<()> {
        let len = u32::try_from(page.bytes().len()).map_err(|_| Error::Internal)?;
        self.meet(Extent::one(page.id()))?;
        self.sink.begin_piece(page.id(), len)?;
        self.sink.push(page.bytes())
    }

    fn run(&mut self, run: Run) -> Result<()> {
        if seeded!(IncrementMissesRuns) {
            return Ok(());
        }
        self.meet(run.extent(self.pager.page_size()))?;
        self.sink.begin_piece(run.first, run.len)?;
        let (mut pieces, mut piece) = (Pieces::new(run), Vec::new());
        loop {
            self.pager.read_piece(&mut pieces, &mut piece)?;
            if piece.is_empty() {
                return Ok(());
            }
            self.sink.push(&piece)?;
        }
    }
}

/// Brings the pages of a state to a sink that are newer than another, or all.
fn pour(snapshot: &Snapshot, since: Option<TxnId>, sink: &mut dyn Sink) -> Result<Visited> {
    let (pager, state) = (&snapshot.core().pager, snapshot.state());
    let mut pour = Pour { pager, sink, left: state.page_count };
    let mut all = Visited::default();
    for (name, record) in state.catalog.visit_newer(pager, since, &mut pour)? {
        let visited = record.tree(state.txn).visit_newer(pager, since, &mut pour)?;
        if since.is_none() {
            check_bucket(&name, &record, visited)?;
        }
        all.add(visited);
    }
    Ok(all)
}

/// Writes all pages of a state into a file.
///
/// # Errors
/// What reading pages says, and the file.
pub(super) fn copy_pages(snapshot: &Snapshot, image: &mut Image) -> Result<()> {
    pour(snapshot, None, image).map(drop)
}

/// The state, as a meta page without a space log and a list says it.
fn meta_of(state: &State, page_size: usize) -> Meta {
    Meta {
        txn: state.txn,
        page_size,
        page_count: state.page_count,
        is_mirror: false,
        buckets: state.catalog.buckets,
        catalog: state.catalog.to_part(),
        log_head: None,
        log_pages: 0,
        items: Vec::new(),
        tail: Vec::new(),
    }
}

/// Writes what a state has that is newer than state `since`.
///
/// # Errors
/// `Invalid` for a state that is still to come, and for one that may not be durable; what reading
/// pages and the writer say.
pub(super) fn write_pages(
    writer: &mut dyn Write,
    snapshot: &Snapshot,
    since: u64,
) -> Result<BackupStats> {
    let state = snapshot.state();
    if since > state.txn.0 {
        return Err(Error::invalid("a backup is made since an earlier state"));
    }
    // Another state may get its number, on which no further part of the chain would fit.
    if !snapshot.core().is_fenced {
        return Err(Error::invalid(
            "the state may not be durable: the store's last writer died, open it for writing once",
        ));
    }
    let page_size = snapshot.core().pager.page_size();
    let piece_len = u32::try_from(page_size).map_err(|_| Error::Internal)?;
    let head = Head { form: Form::Pages, page_size: piece_len, seq: state.txn.0 };
    let mut out = BlockWriter::begin(writer, head)?;
    let mut record = [0; STREAM_SINCE_LEN];
    put_u64(&mut record, 0, since);
    put_u32(&mut record, 8, state.page_count);
    out.push(&record)?;
    // No page is older than the empty state, whatever it says of itself.
    let older = Some(TxnId(since)).filter(|since| since.0 > 0);
    let visited = pour(snapshot, older, &mut out)?;
    out.begin_piece(Slot::Zero.page(), piece_len)?;
    out.push(&meta_of(state, page_size).encode(Slot::Zero))?;
    let totals = Totals::of(u64::from(state.catalog.buckets), visited);
    Ok(totals.stats(state.txn.0, out.finish()?))
}

/// A stream of pages that is read.
pub(super) struct PageStream<'r> {
    blocks: BlockReader<'r>,
    head: Head,
    /// The state on which it is to be put.
    pub(super) since: u64,
    /// Pages of the file.
    page_count: u32,
}

impl<'r> PageStream<'r> {
    /// Reads what stands in front of the pages.
    ///
    /// # Errors
    /// Corruption for what is no such stream; what the reader says.
    pub(super) fn begin(head: Head, mut blocks: BlockReader<'r>) -> Result<PageStream<'r>> {
        let mut record = [0; STREAM_SINCE_LEN];
        blocks.fill(&mut record)?;
        let (since, page_count) = (get_u64(&record, 0), get_u32(&record, 8));
        if since > head.seq {
            return Err(blocks.broken(format_args!("a state up to {}", head.seq), since));
        }
        Ok(PageStream { blocks, head, since, page_count })
    }

    /// In bytes.
    pub(super) fn page_size(&self) -> usize {
        self.head.page_size as usize
    }

    /// Writes the pages to their places in a file. Returns the state that they belong to.
    ///
    /// # Errors
    /// Corruption for a stream that is damaged; what the reader and the file say.
    pub(super) fn pour(mut self, image: &mut Image) -> Result<Meta> {
        let page_size = self.page_size();
        loop {
            let mut record = [0; STREAM_PIECE_LEN];
            self.blocks.fill(&mut record)?;
            let (first, len) = (get_u32(&record, 0), get_u32(&record, 4));
            if first == Slot::Zero.page().0 {
                return self.end(len);
            }
            let end = first.checked_add(run_pages(len, page_size));
            let is_inside = end.is_some_and(|end| end <= self.page_count);
            if first < META_SLOTS || len == 0 || !is_inside {
                let expected = format_args!("a place within {} pages", self.page_count);
                return Err(self.blocks.broken(expected, format_args!("{len} bytes at {first}")));
            }
            image.begin_piece(PageId(first), len);
            let mut left = len as usize;
            while left > 0 {
                let bytes = self.blocks.take(left)?;
                image.push(bytes)?;
                left -= bytes.len();
            }
        }
    }

    /// Reads the state, with which the stream ends.
    fn end(mut self, len: u32) -> Result<Meta> {
        let page_size = self.page_size();
        if len != self.head.page_size {
            return Err(self.blocks.broken(format_args!("a page of {page_size} bytes"), len));
        }
        let mut bytes = vec![0; page_size];
        self.blocks.fill(&mut bytes)?;
        let state = Meta::decode(&bytes, Slot::Zero)?;
        let (told, found) = ((self.head.seq, self.page_count), (state.txn.0, state.page_count));
        if told != found {
            let shown = |(seq, pages)| format!("state {seq} of {pages} pages");
            return Err(self.blocks.broken(shown(told), shown(found)));
        }
        let is_plain = !state.is_mirror
            && state.log_pages == 0
            && state.items.is_empty()
            && state.tail.is_empty();
        if !is_plain {
            return Err(self.blocks.broken("a state without a space log and a list", "another"));
        }
        self.blocks.check_end()?;
        Ok(state)
    }
}
