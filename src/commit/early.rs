//! Runs that are written before their commit (part of commit, layer L5).
//!
//! Owns: [`EarlyWriter`], which puts a large value into the file while its transaction runs, so
//! that memory holds little of it; and [`Length`], the file's length while two may change it.
//! Must not know: where the value comes from, or which key it gets.
//! Keeps: no-reuse-while-reachable, committed-pages-immutable (only pages that the free space has
//! set aside are written: no state that recovery or a reader may choose has them).
//!
//! The run is part of no state before a commit whose barrier comes later than these writes, and
//! nothing refers to it until then; so it needs no barrier of its own. A failed sync in between
//! may lose it, and poisons the store, so that no such commit follows.

use super::leader::Held;
use super::seal::{IDS_HAVE_RUN_OUT, step_ahead};
use super::{Bucket, Core, Leader, Writer};
use crate::error::{Error, Fault, Result};
use crate::node::{Run, run_pages};
use crate::page::{Extent, PageId, RunHash};
use crate::pager::{Pager, Pieces};
use crate::seeded::seeded;
use crate::space::{FreeSpace, Reservation};
use crate::sync::{Arc, Mutex, Ordering};
use crate::tree::{EarlyRun, Large, PageRead};
use crate::vfs::VfsFile;
use std::ops::Range;

/// The length of the file, which the leader, the running transaction and owned ones may change at
/// once: how many bytes transactions have written to, or will. Locked while the length changes.
pub(super) struct Length(Mutex<u64>);

impl Length {
    pub(super) fn new() -> Length {
        Length(Mutex::new(0))
    }

    /// Makes the file as long as is wanted, and never shorter: until it is written over, the other
    /// slot may hold a state that needs more, and so may a transaction.
    pub(super) fn grow(&self, file: &dyn VfsFile, wanted: u64) -> Result<()> {
        let _length = self.0.lock();
        grow(file, wanted)
    }

    /// As [`Length::grow`], for pages that are set aside.
    fn grow_for_early(&self, file: &dyn VfsFile, wanted: u64) -> Result<()> {
        let mut early = self.0.lock();
        grow(file, wanted)?;
        *early = wanted.max(*early);
        Ok(())
    }

    /// Forgets what was set aside behind so many bytes. The caller holds the writer.
    pub(super) fn expect(&self, early: u64) {
        *self.0.lock() = early;
    }

    /// Takes bytes off the end of the file, but for what is set aside. That may reach beyond the
    /// end: of a value that is still written, the file has little more than what was.
    pub(super) fn shorten(&self, file: &dyn VfsFile, end: Range<u64>) -> Result<()> {
        let early = self.0.lock();
        let wanted = end.start.max(*early);
        let shortened = if wanted <= end.end { file.set_len(wanted) } else { Ok(()) };
        shortened.map_err(|error| Error::io("shorten the file", &error))
    }
}

impl Core {
    /// Gives the end of the file back, as far as the newest durable state does not reach. Waits
    /// for the flush under way.
    ///
    /// # Errors
    /// What the storage says; a failed sync poisons the store.
    pub(crate) fn shorten_file(&self) -> Result<()> {
        self.take_lead().at_work(|leader| self.shorten_as_leader(leader))
    }

    fn shorten_as_leader(&self, leader: &mut Leader<'_>) -> Result<()> {
        // Before anything is locked that a storage which looks at the store would wait for.
        let len = self.pager.file().size();
        let len = len.map_err(|error| Error::io("ask for the size", &error))?;
        let mut writer = Held::of(self);
        writer.catch_up();
        let slot = writer.next_slot;
        writer.space.take_dropped();
        let edge = PageId(if seeded!(EarlyRunCutOff) { 0 } else { writer.space.edge() });
        self.length.expect(edge.offset(self.pager.page_size()));
        let mut flush = self.flush.lock();
        let wanted = flush.meta.file_len();
        if wanted >= len || flush.poisoned.is_some() {
            writer.done();
            return Ok(());
        }
        // Either slot may be the one that the next recovery accepts. Nobody runs a transaction
        // meanwhile, which would not know of a failure.
        if !flush.is_mirrored
            && !seeded!(CutBeforeBothSlotsForget)
            && let Err(error) = self.mirror(&mut flush, slot)
        {
            let error = error.of_unknown_outcome();
            let fault = Fault::keep(error);
            flush.poisoned = Some(fault.clone());
            self.is_poisoned.store(true, Ordering::Release);
            drop(flush);
            self.fail(&mut writer, &fault, leader);
            writer.done();
            return Err(error);
        }
        writer.done();
        // First: a system may shorten a file and report a failure all the same.
        flush.fenced_len = wanted;
        self.length.shorten(self.pager.file(), wanted..len)
    }

    /// Whether the file can be lengthened ahead of need, found out by doing so.
    pub(super) fn can_grow(&self, writer: &Writer) -> bool {
        let edge = writer.space.edge();
        let wanted = edge.saturating_add(step_ahead(writer.space.page_count()));
        let wanted = PageId(wanted).offset(self.pager.page_size());
        self.length.grow(self.pager.file(), wanted).is_ok()
    }

    /// Gives back what a flush that failed had added to a file of so many bytes; but not what the
    /// transaction set aside there meanwhile.
    pub(super) fn give_back(&self, writer: &mut Writer, len: u64) {
        writer.space.take_dropped();
        let edge = PageId(writer.space.edge()).offset(self.pager.page_size());
        let end = self.pager.file().size().map(|end| len.max(edge)..end);
        if !end.is_ok_and(|end| self.length.shorten(self.pager.file(), end).is_ok()) {
            // The file stays longer than it needs to be, as after a crash.
        }
    }
}

fn grow(file: &dyn VfsFile, wanted: u64) -> Result<()> {
    let len = file.size().map_err(|error| Error::io("ask for the size", &error))?;
    let len = if seeded!(GrowthCutsTheFile) { wanted } else { len.max(wanted) };
    file.set_len(len).map_err(|error| Error::io("grow the file", &error))
}

/// The file grows by so many bytes for a value that is written, or by as many as were written of
/// it: who names a length of which little comes does not get that much.
/// A model has values of a few pages.
const AHEAD_BYTES: u64 = if cfg!(loom) { 0 } else { 16 << 20 };

/// A large value on its way into the file, from its beginning. Dropped, it gives its pages back.
pub(crate) struct EarlyWriter<'a> {
    pager: &'a Pager,
    /// The store, where the value's pages make its file longer.
    grows: Option<&'a Core>,
    /// Pages of the value that the file is long enough for.
    roomy: u32,
    len: u32,
    pages: Reservation,
    hash: RunHash,
    /// Pages that were written.
    written: u32,
}

impl<'a> EarlyWriter<'a> {
    /// Sets pages aside for a value of so many bytes, at least one.
    ///
    /// # Errors
    /// `NoSpace`; what the storage says.
    pub(crate) fn begin(
        core: &'a Core,
        space: &mut FreeSpace,
        len: u32,
    ) -> Result<EarlyWriter<'a>> {
        let page_size = core.pager.page_size();
        let reserved = space.reserve(run_pages(len, page_size));
        let pages = reserved.ok_or_else(|| Error::no_space(IDS_HAVE_RUN_OUT))?;
        EarlyWriter::to(core, space, len, pages)
    }

    /// The file may lack pages that the free space has: a commit that has added them is on its way
    /// to it. Behind the end of the file nothing is written but what made it longer, which others
    /// respect who do the same.
    fn to(
        core: &'a Core,
        space: &FreeSpace,
        len: u32,
        pages: Reservation,
    ) -> Result<EarlyWriter<'a>> {
        let Extent { first, pages: roomy } = pages.extent();
        core.pager.forget_extent(pages.extent());
        let hash = RunHash::new(first);
        let pager = &core.pager;
        let mut early = EarlyWriter { pager, grows: None, roomy, len, pages, hash, written: 0 };
        let end = PageId(first.0 + roomy);
        let end_bytes = end.offset(pager.page_size());
        let is_on_its_way = || {
            let fenced_len = core.flush.lock().fenced_len;
            end_bytes > fenced_len && !seeded!(GrowthUnderWayBelieved)
        };
        if end.0 > space.page_count() || is_on_its_way() {
            (early.grows, early.roomy) = (Some(core), 0);
            early.make_room(1)?;
            if seeded!(EarlyGrowthBelieved) {
                core.flush.lock().fenced_len = end_bytes;
            }
        }
        Ok(early)
    }

    /// Makes the file long enough for more pages of the value.
    fn make_room(&mut self, more: u32) -> Result<()> {
        let needed = self.written.saturating_add(more);
        let Some(core) = self.grows.filter(|_| needed > self.roomy) else { return Ok(()) };
        let page_size = self.pager.page_size();
        let ahead = u32::try_from(AHEAD_BYTES / page_size as u64).expect("the quotient is small");
        let Extent { first, pages } = self.pages.extent();
        let roomy = needed.max(ahead).max(self.written.saturating_mul(2)).min(pages);
        let wanted = PageId(first.0 + roomy).offset(page_size);
        // The length is locked meanwhile: a storage that commits then would wait for itself.
        let _turn = core.as_if_writing();
        core.length.grow_for_early(self.pager.file(), wanted)?;
        self.roomy = roomy;
        Ok(())
    }

    /// Writes the next bytes: whole pages, or the last ones.
    ///
    /// # Errors
    /// What the storage says.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<()> {
        let page_size = self.pager.page_size();
        let pages = piece.len().div_ceil(page_size);
        let pages = u32::try_from(pages).expect("a piece has few pages");
        self.make_room(pages)?;
        let padding = piece.len().next_multiple_of(page_size) - piece.len();
        let zeros = vec![0; padding];
        self.hash.update(piece);
        self.hash.update(&zeros);
        let before = if seeded!(EarlyPiecesAtOnePlace) { 0 } else { self.written };
        let first = PageId(self.pages.extent().first.0 + before);
        self.pager.write_padded(first, piece, &zeros)?;
        self.written += pages;
        Ok(())
    }

    /// The run, of which all was written.
    ///
    /// # Errors
    /// `Internal` when bytes are missing.
    pub(crate) fn finish(self) -> Result<Arc<EarlyRun>> {
        let EarlyWriter { len, pages, hash, written, .. } = self;
        if written != pages.extent().pages {
            return Err(Error::internal("a value was not written to its end"));
        }
        let run = Run { len, first: pages.extent().first, checksum: hash.checksum() };
        Ok(Arc::new(EarlyRun { run, _keeper: Box::new(pages) }))
    }
}

/// Copies the large values that the open batch moves, piece by piece, to places before a limit.
///
/// # Errors
/// What the storage says; corruption.
pub(super) fn copy_moving(core: &Core, writer: &mut Writer, limit: PageId) -> Result<()> {
    let Writer { batch, space, .. } = writer;
    batch.buckets.values_mut().try_for_each(|bucket| match bucket {
        Bucket::Live(tree) => tree.copy_moving(&mut |run| copy(core, space, limit, run)),
        Bucket::Dropped => Ok(()),
    })
}

fn copy(core: &Core, space: &mut FreeSpace, limit: PageId, run: Run) -> Result<Large> {
    let pager = &core.pager;
    if let Some(value) = pager.run_in_flight(run) {
        return Ok(Large::Here(value));
    }
    let Some(pages) = space.reserve_below(run.pages(pager.page_size()), limit) else {
        let mut value = Vec::new();
        pager.read_run(run, &mut value)?;
        return Ok(Large::Here(Arc::from(value)));
    };
    let mut writer = EarlyWriter::to(core, space, run.len, pages)?;
    let (mut pieces, mut piece) = (Pieces::new(run), Vec::new());
    loop {
        pager.read_piece(&mut pieces, &mut piece)?;
        if piece.is_empty() {
            return writer.finish().map(Large::Early);
        }
        writer.push(&piece)?;
    }
}
