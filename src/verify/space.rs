//! The space log, read on its own (part of verify, layer L5).
//!
//! Owns: following the log's pages, replaying its records on a map of colours, and claiming the
//! unused pages.
//! Must not know: the engine's free space. Written from `docs/format.md`.

use super::findings::{Checked, Flaw, all_zero};
use super::inspect::{Inspection, Part};
use super::node::kind_of;
use super::owners::Owner;
use super::slot::{Meta, Pointer};
use crate::error::Result;
use crate::format::{
    HEADER_COUNT, HEADER_HEAP, HEADER_LEN, HEADER_LEVEL, HEADER_TXN, KIND_SPACE_LOG, LOG_BODY,
    LOG_PREVIOUS, LOG_PREVIOUS_CHECKSUM, LOG_RECORD_RESIZE, LOG_RECORD_SNAPSHOT, LOG_RECORD_TXN,
    META_LOG_PAGES, META_SLOTS, log_page_words_max,
};
use crate::invariant::Invariant;
use crate::page::{get_u16, get_u32, get_u64};
use std::collections::BTreeMap;
use std::ops::Range;

/// Words of one page of the log, or of the tail.
struct Portion {
    page: u32,
    /// The page's transaction; no record is of a later one.
    txn: u64,
    words: Range<usize>,
}

/// The log's words, the portions from the newest to the oldest.
#[derive(Default)]
struct Words {
    all: Vec<u32>,
    portions: Vec<Portion>,
}

impl Words {
    fn add(&mut self, page: u32, txn: u64, bytes: &[u8]) {
        let start = self.all.len();
        self.all.extend(bytes.chunks_exact(4).map(|word| get_u32(word, 0)));
        self.portions.push(Portion { page, txn, words: start..self.all.len() });
    }

    /// Calls `apply` with each record from the oldest to the newest; a flaw comes with its page.
    fn replay<'w>(
        &'w self,
        mut apply: impl FnMut(Record<'w>, &Portion) -> Checked<()>,
    ) -> std::result::Result<(), (u32, Flaw)> {
        for portion in self.portions.iter().rev() {
            let mut rest = &self.all[portion.words.clone()];
            while !rest.is_empty() {
                let applied = Record::take(&mut rest).and_then(|record| apply(record, portion));
                applied.map_err(|flaw| (portion.page, flaw))?;
            }
        }
        Ok(())
    }
}

/// Reads the log, and claims its pages and all unused ones.
pub(super) fn inspect(inspection: &mut Inspection<'_>) -> Result<()> {
    inspection.trail.part = Part::SpaceLog;
    let mut words = Words::default();
    let meta = inspection.meta;
    words.add(u32::from(meta.slot), meta.txn(), meta.tail());
    if !read_chain(inspection, &mut words)? {
        inspection.is_complete = false;
        return Ok(());
    }
    match Replay::run(&words, inspection.meta) {
        Ok(replay) => {
            replay.claim_unused(inspection);
            if meta.has_items() && inspection.is_complete {
                check_allocated(inspection, replay.allocated);
            }
        }
        Err((page, flaw)) => {
            inspection.report_flaw(page, flaw);
            inspection.is_complete = false;
        }
    }
    Ok(())
}

/// Reads the pages of the log from the newest to the oldest.
fn read_chain(inspection: &mut Inspection<'_>, words: &mut Words) -> Result<bool> {
    let mut bytes = Vec::new();
    let mut next = inspection.meta.log_head();
    for _ in 0..inspection.meta.field(META_LOG_PAGES) {
        if next.id == 0 {
            let expected = format_args!("{} pages", inspection.meta.field(META_LOG_PAGES));
            let (found, invariant) = (words.portions.len() - 1, Invariant::SpaceLogReplays);
            inspection.report(Some(u32::from(inspection.meta.slot)), invariant, expected, found);
            return Ok(false);
        }
        if !inspection.read_target(next, Owner::Log, &mut bytes)? {
            return Ok(false);
        }
        if let Err(flaw) = check_log_page(&bytes) {
            inspection.report_flaw(next.id, flaw);
            return Ok(false);
        }
        let end = LOG_BODY + 4 * usize::from(get_u16(&bytes, HEADER_COUNT));
        let unused = [HEADER_LEVEL..HEADER_COUNT, HEADER_HEAP..HEADER_LEN, end..bytes.len()];
        if !unused.into_iter().all(|range| all_zero(&bytes[range])) {
            let zeros = "zeros in what a page of the log does not use";
            let invariant = Invariant::SameCallsSameBytes;
            inspection.report(Some(next.id), invariant, zeros, "other bytes");
        }
        let txn_max = get_u64(&bytes, HEADER_TXN).min(next.txn_max);
        words.add(next.id, txn_max, &bytes[LOG_BODY..end]);
        let (id, checksum) =
            (get_u32(&bytes, LOG_PREVIOUS), get_u32(&bytes, LOG_PREVIOUS_CHECKSUM));
        next = Pointer { id, checksum, txn_max };
    }
    Ok(true)
}

fn check_log_page(bytes: &[u8]) -> Checked<()> {
    let replays = Invariant::SpaceLogReplays;
    let kind = kind_of(bytes);
    if kind != KIND_SPACE_LOG {
        let expected = format_args!("kind {KIND_SPACE_LOG}");
        return Err(Flaw::new(replays, expected, format_args!("kind {kind}")));
    }
    let (count, max) = (usize::from(get_u16(bytes, HEADER_COUNT)), log_page_words_max(bytes.len()));
    if count > max {
        return Err(Flaw::new(replays, format_args!("at most {max} words"), count));
    }
    Ok(())
}

/// A record, its extents in ascending order with gaps between them.
enum Record<'w> {
    Txn { txn: u64, allocated: &'w [u32], freed: &'w [u32] },
    Snapshot { from: u32, to: u32, unused: &'w [u32] },
    Resize { old: u32, new: u32 },
}

fn broken<T>(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Checked<T> {
    Err(Flaw::new(Invariant::SpaceLogReplays, expected, found))
}

/// First page and end of each extent.
fn spans(extents: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    extents.chunks_exact(2).map(|extent| (extent[0], extent[0].saturating_add(extent[1])))
}

impl<'w> Record<'w> {
    fn take(rest: &mut &'w [u32]) -> Checked<Record<'w>> {
        match *take(rest, 1)? {
            [LOG_RECORD_TXN] => {
                let head = take(rest, 4)?;
                let txn = u64::from(head[0]) | u64::from(head[1]) << 32;
                let (allocated, freed) = (extents(rest, head[2])?, extents(rest, head[3])?);
                Ok(Record::Txn { txn, allocated, freed })
            }
            [LOG_RECORD_SNAPSHOT] => {
                let head = take(rest, 3)?;
                Ok(Record::Snapshot { from: head[0], to: head[1], unused: extents(rest, head[2])? })
            }
            [LOG_RECORD_RESIZE] => {
                let head = take(rest, 2)?;
                Ok(Record::Resize { old: head[0], new: head[1] })
            }
            ref other => broken("a record", format_args!("{other:?}")),
        }
    }
}

fn take<'w>(rest: &mut &'w [u32], count: usize) -> Checked<&'w [u32]> {
    let Some((taken, behind)) = rest.split_at_checked(count) else {
        return broken(format_args!("{count} more words of a record"), rest.len());
    };
    *rest = behind;
    Ok(taken)
}

fn extents<'w>(rest: &mut &'w [u32], count: u32) -> Checked<&'w [u32]> {
    let words = (count as usize).saturating_mul(2);
    let extents = take(rest, words)?;
    let mut end = META_SLOTS - 1;
    for extent in extents.chunks_exact(2) {
        let (first, pages) = (extent[0], extent[1]);
        let behind = first.checked_add(pages);
        end = match behind {
            Some(behind) if first > end && pages > 0 => behind,
            _ => return broken("ascending extents", format_args!("{pages} pages from {first}")),
        };
    }
    Ok(extents)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    /// No record has spoken of it.
    Unknown,
    Used,
    Unused,
    /// Unused since the state's own transaction.
    Pending,
}

/// The pages as the records so far tell them.
#[derive(Default)]
struct Replay {
    /// The colour of all pages from a key up to the next key; unknown below the first. Neighbours
    /// differ.
    colours: BTreeMap<u32, Colour>,
    page_count: u32,
    /// The state's transaction, and that of the newest record.
    txn: u64,
    latest: u64,
    /// Where the next snapshot begins, once there was one.
    cursor: Option<u32>,
    /// First page and end of what the state's own transaction allocated and freed.
    allocated: Vec<(u32, u32)>,
    freed: Vec<(u32, u32)>,
}

impl Replay {
    /// Replays the whole log of a state; a flaw comes with its page.
    fn run(words: &Words, meta: &Meta) -> std::result::Result<Replay, (u32, Flaw)> {
        let mut first_count = None;
        words.replay(|record, _| {
            if let Record::Resize { old, .. } = record {
                first_count.get_or_insert(old);
            }
            Ok(())
        })?;
        let page_count = first_count.unwrap_or(meta.page_count());
        let mut replay = Replay { page_count, txn: meta.txn(), ..Replay::default() };
        words.replay(|record, portion| replay.apply(&record, portion.txn))?;
        replay.end(meta.page_count()).map_err(|flaw| (u32::from(meta.slot), flaw))?;
        Ok(replay)
    }

    /// Applies a record of a page that transaction `txn_max` wrote.
    fn apply(&mut self, record: &Record<'_>, txn_max: u64) -> Checked<()> {
        match *record {
            Record::Txn { txn, allocated, freed } => {
                if txn < self.latest || txn > txn_max {
                    let expected = format_args!("a transaction from {} to {txn_max}", self.latest);
                    return broken(expected, txn);
                }
                self.latest = txn;
                for span in spans(allocated) {
                    self.paint_inside(span, Colour::Used, Colour::Unused)?;
                }
                for span in spans(freed) {
                    self.paint_inside(span, Colour::Unused, Colour::Used)?;
                }
                if txn == self.txn {
                    self.allocated.extend(spans(allocated));
                    self.freed.extend(spans(freed));
                }
                Ok(())
            }
            Record::Snapshot { from, to, unused } => self.snapshot(from, to, unused),
            Record::Resize { old, new } => self.resize(old, new),
        }
    }

    fn snapshot(&mut self, from: u32, to: u32, unused: &[u32]) -> Checked<()> {
        let start = self.cursor.unwrap_or(from);
        if from != start || from < META_SLOTS || from >= to {
            return broken(format_args!("a range from {start}"), format_args!("{from} to {to}"));
        }
        self.cursor = Some(if to == u32::MAX { META_SLOTS } else { to });
        let mut at = from;
        for (first, end) in spans(unused) {
            if first < at || end > to {
                let expected = format_args!("pages within {from} to {to}");
                return broken(expected, format_args!("{first} to {end}"));
            }
            self.paint((at, first), Colour::Used, Colour::Used)?;
            self.paint_inside((first, end), Colour::Unused, Colour::Unused)?;
            at = end;
        }
        self.paint((at, to), Colour::Used, Colour::Used)
    }

    fn resize(&mut self, old: u32, new: u32) -> Checked<()> {
        if old != self.page_count || old < META_SLOTS || new < META_SLOTS || old == new {
            let expected = format_args!("a change of {} pages", self.page_count);
            return broken(expected, format_args!("{old} to {new}"));
        }
        self.page_count = new;
        if new > old {
            self.paint((old, new), Colour::Unused, Colour::Used)
        } else {
            // What lies behind the end is no page, which a snapshot tells as used.
            self.paint((new, old), Colour::Used, Colour::Unused)
        }
    }

    fn paint_inside(&mut self, span: (u32, u32), colour: Colour, before: Colour) -> Checked<()> {
        if span.1 > self.page_count {
            let expected = format_args!("pages below {}", self.page_count);
            return broken(expected, format_args!("{} to {}", span.0, span.1));
        }
        self.paint(span, colour, before)
    }

    /// Gives pages a colour; those that are known have the colour `before`.
    fn paint(&mut self, (from, to): (u32, u32), colour: Colour, before: Colour) -> Checked<()> {
        if from >= to {
            return Ok(());
        }
        let behind = self.colour_at(to);
        self.colours.entry(to).or_insert(behind);
        let first = self.colour_at(from);
        let within = self.colours.range(from..to).map(|(_, found)| *found);
        for found in within.chain([first]) {
            if found != Colour::Unknown && found != before {
                let expected = format_args!("{from} to {to}: {before:?}");
                return broken(expected, format_args!("{found:?} pages among them"));
            }
        }
        while let Some((&at, _)) = self.colours.range(from..to).next() {
            self.colours.remove(&at);
        }
        let left = self.colours.range(..from).next_back().map(|(_, colour)| *colour);
        if left.unwrap_or(Colour::Unknown) != colour {
            self.colours.insert(from, colour);
        }
        if behind == colour {
            self.colours.remove(&to);
        }
        Ok(())
    }

    fn colour_at(&self, page: u32) -> Colour {
        let found = self.colours.range(..=page).next_back();
        found.map_or(Colour::Unknown, |(_, colour)| *colour)
    }

    /// The colours within the file, each with its range of pages.
    fn spans(&self) -> impl Iterator<Item = (u32, u32, Colour)> {
        let begin = [(0, Colour::Unknown)];
        let begins =
            begin.into_iter().chain(self.colours.iter().map(|(&at, &colour)| (at, colour)));
        let ends = self.colours.keys().copied().chain([u32::MAX]);
        begins.zip(ends).filter_map(|((from, colour), to)| {
            let (from, to) = (from.max(META_SLOTS), to.min(self.page_count));
            (from < to).then_some((from, to, colour))
        })
    }

    /// Checks what must be true after the last record, and tells pending pages from free ones.
    fn end(&mut self, page_count: u32) -> Checked<()> {
        if self.page_count != page_count {
            return broken(format_args!("{page_count} pages"), self.page_count);
        }
        for (from, to, colour) in self.spans() {
            if colour == Colour::Unknown {
                let expected = "a record of every page";
                return broken(expected, format_args!("none of {from} to {to}"));
            }
        }
        for span in std::mem::take(&mut self.freed) {
            self.paint_inside(span, Colour::Pending, Colour::Unused)?;
        }
        Ok(())
    }

    fn claim_unused(&self, inspection: &mut Inspection<'_>) {
        for (from, to, colour) in self.spans() {
            let owner = match colour {
                Colour::Unused => Owner::Free,
                Colour::Pending => Owner::Pending,
                Colour::Unknown | Colour::Used => continue,
            };
            for page in from..to {
                inspection.claim(page, owner);
            }
        }
    }
}

/// Checks that a list of what the commit wrote and the log of what it allocated agree.
fn check_allocated(inspection: &mut Inspection<'_>, mut allocated: Vec<(u32, u32)>) {
    allocated.sort_unstable();
    let items = inspection.meta.items();
    let listed = joined(items.map(|item| (item.first, item.first + item.pages)));
    let allocated = joined(allocated.into_iter());
    let differ = listed.iter().zip(&allocated).find(|(listed, allocated)| listed != allocated);
    let (expected, found, page) = match differ {
        Some((l, a)) => {
            (format!("{} to {}", a.0, a.1), format!("{} to {}", l.0, l.1), l.0.min(a.0))
        }
        None if listed.len() == allocated.len() => return,
        None => {
            let at = listed.len().min(allocated.len());
            let page = listed.get(at).or(allocated.get(at)).map_or(0, |span| span.0);
            (format!("{} extents", allocated.len()), listed.len().to_string(), page)
        }
    };
    let expected = format!("the pages that the commit allocated, {expected}");
    inspection.report(Some(page), Invariant::MetaListsPages, expected, found);
}

/// Ascending ranges, neighbours as one.
fn joined(spans: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}
