//! The records of the space log (part of the space codec, layer L3).
//!
//! Owns: [`Record`], read from words with every bound checked, and [`Writer`], which packs
//! records into pages so that every page holds whole records only.
//! Must not know: what the records do to the free pages.
//! Keeps: bytes-never-panic.

use super::extents::ExtentSet;
use crate::error::{Error, Result};
use crate::format::{LOG_RECORD_RESIZE, LOG_RECORD_SNAPSHOT, LOG_RECORD_TXN, META_SLOTS};
use crate::invariant::{Invariant, invariant};
use crate::page::{Extent, PageId, TxnId};
use std::fmt;

/// Words of a transaction record without its extents.
pub(super) const TXN_WORDS: usize = 5;
/// Words of a snapshot record without its extents.
pub(super) const SNAPSHOT_WORDS: usize = 4;
/// Words of a resize record.
pub(super) const RESIZE_WORDS: usize = 3;
/// Words of an extent.
pub(super) const EXTENT_WORDS: usize = 2;
/// Words of a page that may stay empty, or hold the repeated head of a record that was split.
pub(super) const WASTE_WORDS: usize = TXN_WORDS + EXTENT_WORDS - 1;

/// How far the sweep has come: `lap` times over all addresses, then up to `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub lap: u64,
    pub address: u32,
}

impl Position {
    pub const START: Position = Position { lap: 0, address: META_SLOTS };

    /// The position behind a snapshot record that ends at `to`.
    pub fn behind(self, to: u32) -> Position {
        match to {
            u32::MAX => Position { lap: self.lap + 1, address: META_SLOTS },
            _ => Position { lap: self.lap, address: to },
        }
    }

    /// The position one lap later.
    pub fn next_lap(self) -> Position {
        Position { lap: self.lap + 1, address: self.address }
    }
}

/// The newest records of a log, which have no page of their own yet.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub words: Vec<u32>,
    /// Where the sweep stood before them.
    pub start: Position,
    /// Where it stands after them.
    pub cursor: Position,
}

impl Tail {
    /// No records.
    pub fn empty(at: Position) -> Tail {
        Tail { words: Vec::new(), start: at, cursor: at }
    }
}

/// How much a [`Writer`] may write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub pages: usize,
    /// Words of each page.
    pub words: usize,
}

/// Extents as they lie in a record: ascending, with a gap between any two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extents<'a>(&'a [u32]);

impl<'a> Extents<'a> {
    pub fn iter(self) -> impl Iterator<Item = Extent> + 'a {
        self.0.chunks_exact(EXTENT_WORDS).map(|e| Extent { first: PageId(e[0]), pages: e[1] })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Record<'a> {
    Txn { txn: TxnId, allocated: Extents<'a>, freed: Extents<'a> },
    Snapshot { from: u32, to: u32, unused: Extents<'a> },
    Resize { old: u32, new: u32 },
}

/// The records of a page, or of the tail in the meta page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'a> {
    /// The page, where it is known.
    pub page: Option<u32>,
    pub words: &'a [u32],
}

impl<'a> Records<'a> {
    /// The error of a page whose words are wrong.
    pub fn broken(&self, expected: impl fmt::Display, found: impl fmt::Display) -> Error {
        Error::corruption(self.page, Invariant::SpaceLogReplays, expected, found)
    }

    /// The next record, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Record<'a>>> {
        let Some(&tag) = self.words.first() else {
            return Ok(None);
        };
        self.take(1)?;
        let record = match tag {
            LOG_RECORD_TXN => {
                let head = self.take(TXN_WORDS - 1)?;
                let txn = TxnId(u64::from(head[0]) | u64::from(head[1]) << 32);
                let allocated = self.extents(head[2])?;
                let freed = self.extents(head[3])?;
                Record::Txn { txn, allocated, freed }
            }
            LOG_RECORD_SNAPSHOT => {
                let head = self.take(SNAPSHOT_WORDS - 1)?;
                Record::Snapshot { from: head[0], to: head[1], unused: self.extents(head[2])? }
            }
            LOG_RECORD_RESIZE => {
                let head = self.take(RESIZE_WORDS - 1)?;
                Record::Resize { old: head[0], new: head[1] }
            }
            _ => return Err(self.broken("the tag of a record", tag)),
        };
        Ok(Some(record))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u32]> {
        let Some((taken, rest)) = self.words.split_at_checked(count) else {
            return Err(self.broken(format_args!("{count} more words"), self.words.len()));
        };
        self.words = rest;
        Ok(taken)
    }

    fn extents(&mut self, count: u32) -> Result<Extents<'a>> {
        let count = count as usize;
        if count > self.words.len() / EXTENT_WORDS {
            let most = self.words.len() / EXTENT_WORDS;
            return Err(self.broken(format_args!("at most {most} extents"), count));
        }
        let extents = Extents(self.take(count * EXTENT_WORDS)?);
        let mut end = None;
        for extent in extents.iter() {
            let (first, Some(next)) = (extent.first.0, extent.first.0.checked_add(extent.pages))
            else {
                return Err(self.broken("an extent of page ids", format_args!("{extent:?}")));
            };
            if extent.pages == 0 || first < META_SLOTS || end.is_some_and(|end| first <= end) {
                return Err(self.broken("ascending extents", format_args!("{extent:?}")));
            }
            end = Some(next);
        }
        Ok(extents)
    }
}

/// Packs records into a given number of pages, or into one tail.
#[derive(Debug)]
pub(super) struct Writer {
    pages: Vec<Vec<u32>>,
    /// Where the sweep stood when each page was begun.
    starts: Vec<Position>,
    room: Room,
    cursor: Position,
}

impl Writer {
    /// Begins with the records of a tail.
    pub fn new(tail: &Tail, room: Room) -> Writer {
        invariant!(SpaceLogReplays, tail.words.len() <= room.words, "a tail exceeds a page");
        let mut first = Vec::with_capacity(room.words);
        first.extend_from_slice(&tail.words);
        Writer { pages: vec![first], starts: vec![tail.start], room, cursor: tail.cursor }
    }

    pub fn resize(&mut self, old: u32, new: u32) {
        self.make_room(RESIZE_WORDS);
        self.page().extend([LOG_RECORD_RESIZE, old, new]);
    }

    /// Writes a transaction's extents, in as many records as the pages ask for.
    pub fn txn(&mut self, txn: TxnId, allocated: &ExtentSet, freed: &ExtentSet) {
        let mut allocated = allocated.iter().peekable();
        let mut freed = freed.iter().peekable();
        while allocated.peek().is_some() || freed.peek().is_some() {
            self.make_room(TXN_WORDS + EXTENT_WORDS);
            let at = self.page().len();
            let (low, high) = halves(txn);
            self.page().extend([LOG_RECORD_TXN, low, high]);
            self.page().extend([0, 0]);
            let count = self.extents(&mut allocated);
            self.page()[at + 3] = count;
            let count = self.extents(&mut freed);
            self.page()[at + 4] = count;
        }
    }

    /// Writes the unused pages from the cursor on until the pages are full.
    pub fn sweep(&mut self, unused: impl Iterator<Item = Extent>) {
        let mut unused = unused.peekable();
        loop {
            let least = match unused.peek() {
                Some(_) => SNAPSHOT_WORDS + EXTENT_WORDS,
                None => SNAPSHOT_WORDS,
            };
            if self.words_left() < least {
                if self.pages.len() == self.room.pages {
                    return;
                }
                self.add_page();
            }
            let at = self.page().len();
            let from = self.cursor.address;
            self.page().extend([LOG_RECORD_SNAPSHOT, from, u32::MAX, 0]);
            let count = self.extents(&mut unused);
            self.page()[at + 3] = count;
            let done = unused.peek().is_none();
            if !done {
                let last = self.page().len() - EXTENT_WORDS;
                let (first, pages) = (self.page()[last], self.page()[last + 1]);
                self.page()[at + 2] = first + pages;
            }
            let to = self.page()[at + 2];
            self.cursor = self.cursor.behind(to);
            if done {
                return;
            }
        }
    }

    /// The pages, as many as there is room for, where each began, and where the sweep stands.
    pub fn into_pages(mut self) -> (Vec<Vec<u32>>, Vec<Position>, Position) {
        while self.pages.len() < self.room.pages {
            self.add_page();
        }
        (self.pages, self.starts, self.cursor)
    }

    /// All of it as a tail.
    pub fn into_tail(mut self) -> Tail {
        invariant!(SpaceLogReplays, self.pages.len() == 1, "a tail is one page");
        let words = self.pages.pop().expect("there is a first page");
        Tail { words, start: self.starts[0], cursor: self.cursor }
    }

    /// Writes as many extents as there is room for. Returns how many.
    fn extents(&mut self, extents: &mut impl Iterator<Item = Extent>) -> u32 {
        let mut count = 0;
        while self.words_left() >= EXTENT_WORDS
            && let Some(extent) = extents.next()
        {
            self.page().extend([extent.first.0, extent.pages]);
            count += 1;
        }
        count
    }

    fn page(&mut self) -> &mut Vec<u32> {
        self.pages.last_mut().expect("there is a first page")
    }

    fn words_left(&mut self) -> usize {
        self.room.words - self.page().len()
    }

    fn make_room(&mut self, words: usize) {
        if self.words_left() < words {
            self.add_page();
        }
    }

    fn add_page(&mut self) {
        invariant!(SpaceLogReplays, self.pages.len() < self.room.pages, "too few log pages");
        self.pages.push(Vec::with_capacity(self.room.words));
        self.starts.push(self.cursor);
    }
}

/// The low and the high word of a transaction id.
fn halves(txn: TxnId) -> (u32, u32) {
    let bytes = txn.0.to_le_bytes();
    let word = |at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the range has four bytes"))
    };
    (word(0), word(4))
}
