//! The walk of one tree (part of verify, layer L5).
//!
//! Owns: [`Walk`], which visits every page of a tree once, in key order.
//! Must not know: what the tree is for. The level counts down at every step, so that a pointer
//! that goes in a circle ends.

use super::catalog::{Bucket, Source};
use super::findings::all_zero;
use super::inspect::Inspection;
use super::node::{Cell, Node, Run, Value, kind_at, kind_of};
use super::owners::Owner;
use super::slot::Pointer;
use crate::error::Result;
use crate::format::{HEADER_LEVEL, HEADER_TXN};
use crate::invariant::Invariant;
use crate::page::get_u64;

/// Bytes of an overflow run that are read at once, at most.
const CHUNK_LEN: usize = 64 * 1024;

/// What a tree holds.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) leaf_pages: u64,
    pub(super) branch_pages: u64,
    pub(super) overflow_pages: u64,
    pub(super) key_bytes: u64,
    pub(super) value_bytes: u64,
    pub(super) used_bytes: u64,
    /// Some page could not be read or followed.
    pub(super) is_partial: bool,
}

/// A bound of the keys below a page; none beside the outermost separators.
#[derive(Default)]
struct Bound {
    key: Vec<u8>,
    is_set: bool,
}

impl Bound {
    fn copy(&mut self, other: &Bound) {
        self.is_set = other.is_set;
        self.key.clone_from(&other.key);
    }
}

/// The page of one level, and the bounds of its keys.
#[derive(Default)]
struct Frame {
    bytes: Vec<u8>,
    low: Bound,
    high: Bound,
}

/// Memory that one walk leaves to the next.
pub(super) struct Scratch {
    frames: Vec<Frame>,
    cells: Vec<(usize, usize)>,
    key: Vec<u8>,
    /// The entry and the separator that were visited last.
    entry: Bound,
    separator: Bound,
    chunk: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch {
            frames: Vec::new(),
            cells: Vec::new(),
            key: Vec::new(),
            entry: Bound::default(),
            separator: Bound::default(),
            chunk: Vec::new(),
        }
    }
}

/// What is done with the entries of a tree.
pub(super) enum Entries<'w> {
    /// They are counted.
    Count,
    /// They are buckets, which are collected.
    Collect(&'w mut Vec<Bucket>),
}

/// A walk under way.
pub(super) struct Walk<'w, 'a> {
    inspection: &'w mut Inspection<'a>,
    scratch: &'w mut Scratch,
    entries: Entries<'w>,
    counts: Counts,
    /// The transaction of the page that is visited, or less where that is too high.
    txn: u64,
}

/// A place of an entry or a separator.
#[derive(Clone, Copy)]
struct Slot {
    page: u32,
    at: usize,
}

impl<'w, 'a> Walk<'w, 'a> {
    /// Walks the tree below `root`, whose level is less than `LEVELS_MAX`.
    pub(super) fn run(
        inspection: &'w mut Inspection<'a>,
        scratch: &'w mut Scratch,
        entries: Entries<'w>,
        root: (Pointer, u8),
    ) -> Result<Counts> {
        let (pointer, level) = root;
        let levels = scratch.frames.len().max(usize::from(level) + 1);
        scratch.frames.resize_with(levels, Frame::default);
        let top = &mut scratch.frames[usize::from(level)];
        (top.low.is_set, top.high.is_set) = (false, false);
        scratch.entry.is_set = false;
        inspection.trail.root = usize::from(level);
        let counts = Counts::default();
        let mut walk = Walk { inspection, scratch, entries, counts, txn: pointer.txn_max };
        walk.visit(pointer, level)?;
        Ok(walk.counts)
    }

    fn visit(&mut self, pointer: Pointer, level: u8) -> Result<()> {
        let at = usize::from(level);
        self.inspection.trail.here = at;
        self.inspection.trail.pages[at] = pointer.id;
        let mut frame = std::mem::take(&mut self.scratch.frames[at]);
        let visited = self.visit_frame(&mut frame, pointer, level);
        self.scratch.frames[at] = frame;
        visited
    }

    fn visit_frame(&mut self, frame: &mut Frame, pointer: Pointer, level: u8) -> Result<()> {
        let owner = match (&self.entries, level) {
            (Entries::Collect(_), _) => Owner::Catalog,
            (Entries::Count, 0) => Owner::Leaf,
            (Entries::Count, _) => Owner::Branch,
        };
        if !self.inspection.read_target(pointer, owner, &mut frame.bytes)? {
            self.counts.is_partial = true;
            return Ok(());
        }
        let (kind, found) = (kind_of(&frame.bytes), frame.bytes[HEADER_LEVEL]);
        if kind != kind_at(level) || found != level {
            let expected = format_args!("kind {}, level {level}", kind_at(level)).to_string();
            let found = format_args!("kind {kind}, level {found}").to_string();
            self.report(pointer.id, Invariant::UniformDepth, &expected, &found);
            self.give_up();
            return Ok(());
        }
        let node = match Node::open(&frame.bytes, level == 0) {
            Ok(node) => node,
            Err(flaw) => {
                self.inspection.report_flaw(pointer.id, flaw);
                self.give_up();
                return Ok(());
            }
        };
        self.txn = get_u64(&frame.bytes, HEADER_TXN).min(pointer.txn_max);
        self.counts.used_bytes += node.used() as u64;
        if level == 0 {
            self.counts.leaf_pages += 1;
            return self.visit_cells(frame, node, pointer.id).map(drop);
        }
        self.counts.branch_pages += 1;
        if self.visit_cells(frame, node, pointer.id)? {
            self.visit_children(frame, node, level - 1)?;
        }
        Ok(())
    }

    /// Checks the cells of a page and counts those of a leaf. `false` when some cannot be read.
    fn visit_cells(&mut self, frame: &Frame, node: Node<'_>, page: u32) -> Result<bool> {
        let is_leaf = kind_of(&frame.bytes) == kind_at(0);
        // Entries ascend from leaf to leaf, separators within their branch.
        let before = [&mut self.scratch.separator, &mut self.scratch.entry];
        let mut before = std::mem::take(before[usize::from(is_leaf)]);
        before.is_set &= is_leaf;
        self.scratch.cells.clear();
        let (mut is_sorted, mut is_bounded, mut is_whole) = (true, true, true);
        for at in 0..node.count {
            let cell = match node.cell(at) {
                Ok(cell) => cell,
                Err(flaw) => {
                    self.inspection.report_flaw(page, flaw);
                    self.give_up();
                    is_whole = false;
                    break;
                }
            };
            self.scratch.cells.push((cell.from, cell.to));
            node.key(&cell, &mut self.scratch.key);
            is_sorted = is_sorted && self.check_order(&before, &cell, Slot { page, at });
            // Ascending keys are bounded when the first and the last are.
            if at == 0 || at + 1 == node.count {
                is_bounded = is_bounded && self.check_bounds(frame, Slot { page, at });
            }
            if is_leaf {
                self.visit_entry(&cell, page)?;
            }
            std::mem::swap(&mut self.scratch.key, &mut before.key);
            before.is_set = true;
        }
        let kept = [&mut self.scratch.separator, &mut self.scratch.entry];
        *kept[usize::from(is_leaf)] = before;
        if is_whole {
            let flaws = [node.check_heap(&mut self.scratch.cells), node.check_unused()];
            for flaw in flaws.into_iter().filter_map(std::result::Result::err) {
                self.inspection.report_flaw(page, flaw);
            }
        }
        Ok(is_whole)
    }

    fn check_order(&mut self, before: &Bound, cell: &Cell<'_>, slot: Slot) -> bool {
        let key = &self.scratch.key;
        let (expected, found) = if before.is_set && before.key >= *key {
            (format!("a key above {}", show(&before.key)), show(key))
        } else if !cell.has_padded_head() {
            ("zeros behind a short key in its head".to_owned(), "other bytes".to_owned())
        } else {
            return true;
        };
        let found = format!("{found} in slot {}", slot.at);
        self.report(slot.page, Invariant::SortedKeys, &expected, &found);
        false
    }

    fn check_bounds(&mut self, frame: &Frame, slot: Slot) -> bool {
        let key = &self.scratch.key;
        let expected = if frame.low.is_set && *key < frame.low.key {
            format!("a key from {} on", show(&frame.low.key))
        } else if frame.high.is_set && *key >= frame.high.key {
            format!("a key below {}", show(&frame.high.key))
        } else {
            return true;
        };
        let found = format!("{} in slot {}", show(key), slot.at);
        self.report(slot.page, Invariant::SeparatorsBoundChildren, &expected, &found);
        false
    }

    fn visit_entry(&mut self, cell: &Cell<'_>, page: u32) -> Result<()> {
        self.counts.entries += 1;
        self.counts.key_bytes += self.scratch.key.len() as u64;
        match cell.value {
            Value::None => {}
            Value::Inline(value) => self.counts.value_bytes += value.len() as u64,
            Value::Run(run) => {
                self.counts.value_bytes += u64::from(run.len);
                self.visit_run(run)?;
            }
        }
        let Entries::Collect(buckets) = &mut self.entries else { return Ok(()) };
        let record = match cell.value {
            Value::Inline(value) => value,
            Value::None | Value::Run(_) => &[],
        };
        match Bucket::decode(&self.scratch.key, record, Source { page, txn: self.txn }) {
            Ok(bucket) => buckets.push(bucket),
            Err(flaw) => {
                self.inspection.report_flaw(page, flaw);
                self.give_up();
            }
        }
        Ok(())
    }

    fn visit_run(&mut self, run: Run) -> Result<()> {
        let page_size = self.inspection.meta.page_size();
        let pages = u64::from(run.len).div_ceil(page_size as u64);
        self.counts.overflow_pages += pages;
        let page_count = self.inspection.meta.page_count();
        let end = u32::try_from(u64::from(run.first) + pages);
        let Some(end) = end.ok().filter(|&end| end <= page_count) else {
            let expected = format!("a run that ends before page {page_count}");
            let found = format!("{pages} pages");
            self.report(run.first, Invariant::PageOwnedOnce, &expected, &found);
            self.inspection.is_complete = false;
            return Ok(());
        };
        if !(run.first..end).all(|page| self.inspection.claim(page, Owner::Run)) {
            self.inspection.is_complete = false;
            return Ok(());
        }
        let mut checksum = crc32c::crc32c(&run.first.to_le_bytes());
        let chunk_len = CHUNK_LEN.next_multiple_of(page_size);
        let chunk_pages = chunk_len / page_size;
        let (mut left, mut page) = (run.len as usize, run.first);
        let mut is_padded = true;
        while left > 0 {
            let pages = left.div_ceil(page_size).min(chunk_pages);
            let chunk = &mut self.scratch.chunk;
            chunk.resize(pages * page_size, 0);
            self.inspection.read(page, chunk)?;
            checksum = crc32c::crc32c_append(checksum, chunk);
            is_padded &= all_zero(&chunk[left.min(chunk.len())..]);
            left = left.saturating_sub(chunk.len());
            page += u32::try_from(pages).expect("a chunk has few pages");
        }
        if checksum != run.checksum {
            let (expected, found) =
                (format!("{:#010x}", run.checksum), format!("{checksum:#010x}"));
            self.report(run.first, Invariant::ParentHoldsChecksum, &expected, &found);
        } else if !is_padded {
            let expected = "zeros behind the value";
            self.report(page - 1, Invariant::SameCallsSameBytes, expected, "other bytes");
        }
        let pages = page - run.first;
        self.inspection.meet_run(run.first, pages, checksum);
        Ok(())
    }

    fn visit_children(&mut self, frame: &Frame, node: Node<'_>, below: u8) -> Result<()> {
        let txn_max = self.txn;
        for at in 0..=node.count {
            let child = &mut self.scratch.frames[usize::from(below)];
            set_bound(&mut child.low, &frame.low, node, at.checked_sub(1));
            set_bound(&mut child.high, &frame.high, node, (at < node.count).then_some(at));
            let (id, checksum) = node.child(at);
            self.visit(Pointer { id, checksum, txn_max }, below)?;
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.counts.is_partial = true;
        self.inspection.is_complete = false;
    }

    #[cold]
    fn report(&mut self, page: u32, invariant: Invariant, expected: &str, found: &str) {
        self.inspection.report(Some(page), invariant, expected, found);
    }
}

/// Makes `bound` the separator in slot `at`, or what bounds the whole page where there is none.
fn set_bound(bound: &mut Bound, outer: &Bound, node: Node<'_>, at: Option<usize>) {
    match at.map(|at| node.cell(at)) {
        Some(Ok(cell)) => {
            node.key(&cell, &mut bound.key);
            bound.is_set = true;
        }
        // All cells were read before.
        Some(Err(_)) | None => bound.copy(outer),
    }
}

/// A key for people: bytes that are no text are escaped, a long key is cut.
fn show(key: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    let shown = &key[..key.len().min(SHOWN_MAX)];
    let more = if shown.len() < key.len() { "..." } else { "" };
    format!("\"{}{more}\"", shown.escape_ascii())
}
