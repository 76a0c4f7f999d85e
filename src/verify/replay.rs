//! Replaying the space log (part of verify, layer L5).
//!
//! Owns: [`Words`], the log as it was read, and [`Replay`], which gives each page a colour.
//! Must not know: where the words come from. Written from `docs/format.md`, apart from the
//! engine's codec.

use super::findings::{Checked, Flaw};
use super::owners::Owner;
use super::slot::Meta;
use crate::format::{LOG_RECORD_RESIZE, LOG_RECORD_SNAPSHOT, LOG_RECORD_TXN, META_SLOTS};
use crate::invariant::Invariant;
use crate::page::get_u32;
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
pub(super) struct Words {
    all: Vec<u32>,
    portions: Vec<Portion>,
}

impl Words {
    /// Adds the words of a page, which transaction `txn` wrote; an older page than the last.
    pub(super) fn add(&mut self, page: u32, txn: u64, bytes: &[u8]) {
        let start = self.all.len();
        self.all.extend(bytes.chunks_exact(4).map(|word| get_u32(word, 0)));
        self.portions.push(Portion { page, txn, words: start..self.all.len() });
    }

    /// How many pages were added, the tail among them.
    pub(super) fn pages(&self) -> usize {
        self.portions.len()
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
pub(super) struct Replay {
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
    pub(super) allocated: Vec<(u32, u32)>,
    freed: Vec<(u32, u32)>,
}

impl Replay {
    /// Replays the whole log of a state; a flaw comes with its page.
    pub(super) fn run(words: &Words, meta: &Meta) -> std::result::Result<Replay, (u32, Flaw)> {
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

    /// The unused pages, each range with its owner.
    pub(super) fn unused(&self) -> impl Iterator<Item = (u32, u32, Owner)> {
        self.spans().filter_map(|(from, to, colour)| match colour {
            Colour::Unused => Some((from, to, Owner::Free)),
            Colour::Pending => Some((from, to, Owner::Pending)),
            Colour::Unknown | Colour::Used => None,
        })
    }
}
