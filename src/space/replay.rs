//! Reading the space log back (part of the space codec, layer L3).
//!
//! Owns: [`FreeSpace::replay`] and what makes a stream of records believable.
//! Must not know: how log pages are found and read.
//! Keeps: space-log-replays, bytes-never-panic.
//!
//! Older records may have been dropped, so that nothing is known of any page at first. A page is
//! known once a record has spoken of it; from then on every record must agree with what is
//! known, and at the end every page of the file must be known.

use super::FreeSpace;
use super::chain::{Chain, ChainPage};
use super::extents::{ExtentSet, FreeSet, span};
use super::log::{Extents, Position, Record, Records, Tail};
use super::marks::Marks;
use super::pending::Pending;
use super::reserved::Reserved;
use super::young::Young;
use crate::error::{Error, Result};
use crate::format::META_SLOTS;
use crate::invariant::Invariant;
use crate::page::{Extent, PageId, TxnId};
use crate::seeded::seeded;
use std::fmt;

/// A log page that was read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogPage {
    pub id: PageId,
    pub checksum: u32,
    pub words: Vec<u32>,
}

impl FreeSpace {
    /// Rebuilds the free space of state `txn` from its log: the pages, oldest first, and the
    /// tail.
    ///
    /// The sweep's position is the end of the newest snapshot record. A page began where the
    /// first snapshot record in it or behind it begins.
    pub fn replay(
        txn: TxnId,
        page_count: u32,
        pages: &[LogPage],
        tail: &[u32],
    ) -> Result<FreeSpace> {
        let parts =
            || pages.iter().map(Records::of_page).chain([Records { page: None, words: tail }]);
        let mut replay = Replay::new(txn, page_count, parts())?;
        let mut starts = Vec::new();
        for mut records in parts() {
            starts.push(replay.cursor);
            while let Some(record) = records.next()? {
                replay.apply(&records, record)?;
            }
        }
        let cursor = replay.cursor;
        let (free, freed) = replay.end(page_count)?;
        let mut pending = Pending::default();
        for extent in freed.extents() {
            pending.insert(extent, txn, std::iter::once((extent, TxnId(0))));
        }
        let start = starts.pop().expect("the tail is the last part");
        let mut chain = Chain::new(Tail { words: tail.to_vec(), start, cursor });
        let birth = TxnId(0);
        for (&LogPage { id, checksum, .. }, start) in pages.iter().zip(starts) {
            let is_inside = id.0 >= META_SLOTS && id.0 < page_count;
            let is_owned = is_inside && ![&free, &freed].iter().any(|s| s.has_any(Extent::one(id)));
            if !chain.push(ChainPage { id, checksum, start, birth }) || !is_owned {
                return Err(broken(Some(id.0), "a log page in use, once", "another"));
            }
        }
        let free = FreeSet::from_set(ExtentSet::from_extents(free.extents()));
        let reserved = Reserved::new(page_count);
        let young = Young::default();
        Ok(FreeSpace { txn, page_count, free, pending, young, reserved, chain, commit: None })
    }
}

impl<'a> Records<'a> {
    fn of_page(page: &'a LogPage) -> Records<'a> {
        Records { page: Some(page.id.0), words: &page.words }
    }
}

struct Replay {
    /// The state's own transaction.
    txn: TxnId,
    /// The transaction of the newest record so far.
    latest: TxnId,
    page_count: u32,
    /// The most pages that the file has had, as far as the records tell.
    highest: u32,
    /// Pages that some record has spoken of.
    known: Marks,
    /// Known pages that nobody owns.
    unused: Marks,
    /// What `txn` freed.
    freed: Vec<Extent>,
    /// Where the sweep stands.
    cursor: Position,
}

impl Replay {
    /// Looks ahead for what was true before the first record.
    fn new<'a>(
        txn: TxnId,
        page_count: u32,
        parts: impl Iterator<Item = Records<'a>>,
    ) -> Result<Replay> {
        let (mut first_count, mut first_from, mut highest) = (None, None, page_count);
        for mut records in parts {
            while let Some(record) = records.next()? {
                match record {
                    Record::Resize { old, new } => {
                        first_count = first_count.or(Some(old));
                        highest = highest.max(old).max(new);
                    }
                    Record::Snapshot { from, .. } => first_from = first_from.or(Some(from)),
                    Record::Txn { .. } => {}
                }
            }
        }
        Ok(Replay {
            txn,
            latest: TxnId(0),
            page_count: first_count.unwrap_or(page_count),
            highest,
            // Of pages that the file has not, the log may speak without end.
            known: Marks::below(page_count),
            unused: Marks::below(page_count),
            freed: Vec::new(),
            cursor: Position { lap: 0, address: first_from.unwrap_or(META_SLOTS) },
        })
    }

    fn apply(&mut self, from: &Records<'_>, record: Record<'_>) -> Result<()> {
        match record {
            Record::Txn { txn, allocated, freed } => {
                if txn < self.latest || txn > self.txn {
                    let expected = format_args!("{} to {}", self.latest, self.txn);
                    return Err(from.broken(format_args!("a transaction from {expected}"), txn));
                }
                self.latest = txn;
                self.allocate(from, allocated)?;
                self.free(from, freed)
            }
            Record::Snapshot { from: first, to, unused } => self.snapshot(from, first, to, unused),
            Record::Resize { old, new } => self.resize(from, old, new),
        }
    }

    fn allocate(&mut self, from: &Records<'_>, extents: Extents<'_>) -> Result<()> {
        for extent in extents.iter() {
            self.check_inside(from, extent)?;
            if !self.known.is_alike(&self.unused, extent) {
                return Err(from.broken("unused pages allocated", format_args!("{extent:?}")));
            }
            self.unused.clear(extent);
            self.known.set(extent);
        }
        Ok(())
    }

    fn free(&mut self, from: &Records<'_>, extents: Extents<'_>) -> Result<()> {
        for extent in extents.iter() {
            self.check_inside(from, extent)?;
            if self.unused.has_any(extent) {
                return Err(from.broken("owned pages freed", format_args!("{extent:?}")));
            }
            self.unused.set(extent);
            self.known.set(extent);
            if self.latest == self.txn && !seeded!(ReplayFreesAtOnce) {
                self.freed.push(extent);
            }
        }
        Ok(())
    }

    /// Every known page of the range must be what the snapshot says.
    fn snapshot(
        &mut self,
        records: &Records<'_>,
        from: u32,
        to: u32,
        unused: Extents<'_>,
    ) -> Result<()> {
        if from != self.cursor.address || from < META_SLOTS || from >= to {
            let expected = format_args!("a range from {}", self.cursor.address);
            return Err(records.broken(expected, format_args!("{from} to {to}")));
        }
        // Behind every page that there was, there is nothing to know.
        let end = to.min(self.highest);
        let range = (from < end).then(|| span(from, end));
        let mut agreed = 0;
        for extent in unused.iter() {
            self.check_inside(records, extent)?;
            let known = self.known.count(extent);
            if extent.first.0 < from || extent.end() > to {
                let expected = format_args!("pages within {from} to {to}");
                return Err(records.broken(expected, format_args!("{extent:?}")));
            }
            if known != self.unused.count(extent) {
                return Err(records.broken("unused pages", format_args!("{extent:?}")));
            }
            agreed += known;
        }
        let had = range.map_or(0, |range| self.unused.count(range));
        if had != agreed {
            return Err(records.broken(format_args!("{had} pages known as unused"), agreed));
        }
        for extent in unused.iter() {
            self.unused.set(extent);
        }
        if let Some(range) = range {
            self.known.set(range);
        }
        self.cursor = self.cursor.behind(to);
        Ok(())
    }

    fn resize(&mut self, from: &Records<'_>, old: u32, new: u32) -> Result<()> {
        if old != self.page_count || new < META_SLOTS || old < META_SLOTS || new == old {
            let expected = format_args!("a change of {} pages", self.page_count);
            return Err(from.broken(expected, format_args!("{old} to {new}")));
        }
        if new > old {
            // What is known beyond the end is that there are no pages.
            let added = span(old, new);
            self.unused.set(added);
            self.known.set(added);
        } else {
            let lost = span(new, old);
            if self.known.count(lost) != self.unused.count(lost) {
                return Err(from.broken("unused pages cut off", format_args!("{lost:?}")));
            }
            self.unused.clear(lost);
        }
        self.page_count = new;
        Ok(())
    }

    fn check_inside(&self, from: &Records<'_>, extent: Extent) -> Result<()> {
        if extent.end() <= self.page_count {
            return Ok(());
        }
        let expected = format_args!("pages below {}", self.page_count);
        Err(from.broken(expected, format_args!("{extent:?}")))
    }

    /// Checks that all is known. Returns the free pages and those that `txn` freed.
    fn end(mut self, page_count: u32) -> Result<(Marks, Marks)> {
        if self.page_count != page_count || page_count < META_SLOTS {
            return Err(broken(None, page_count, self.page_count));
        }
        let all = u64::from(page_count - META_SLOTS);
        let known = match all {
            0 => 0,
            _ => self.known.count(span(META_SLOTS, page_count)),
        };
        if known != all {
            return Err(broken(None, format_args!("{all} pages to be known"), known));
        }
        let mut freed = Marks::below(page_count);
        for &extent in &self.freed {
            if self.unused.count(extent) != u64::from(extent.pages) {
                let found = format_args!("{extent:?} in use");
                return Err(broken(None, "pages to stay unused after they are freed", found));
            }
            self.unused.clear(extent);
            freed.set(extent);
        }
        Ok((self.unused, freed))
    }
}

fn broken(page: Option<u32>, expected: impl fmt::Display, found: impl fmt::Display) -> Error {
    Error::corruption(page, Invariant::SpaceLogReplays, expected, found)
}
