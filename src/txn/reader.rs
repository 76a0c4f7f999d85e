//! Values that are read piece by piece (part of txn, layer L6).
//!
//! Owns: [`ValueReader`]. Must not know: how a value was found, or where its pages lie.
//! Keeps: snapshot-stable (the state is pinned as long as the reader lives), errors-stick.

use super::iter::Hold;
use crate::error::{Error, Fault, Result};
use crate::node::Run;
use crate::pager::{PIECE_BYTES, Pieces};
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::tree::{EarlyRun, Large, Stored};
use std::io;

/// A value that is read from its beginning to its end, of which little is in memory at a time: at
/// most 256 KiB of one that has pages of its own.
///
/// It is the value as it was when the reader was made, and the reader may outlive the transaction.
///
/// # What is checked when
///
/// The checksum covers the whole value, so that it is compared when all of it was read, and before
/// the last piece is given: whoever got the last byte got the value that was put. Whoever acts on
/// earlier bytes acts on bytes that nobody has checked. Damage is an error instead of the last
/// piece, never a short value.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec("b", |txn| txn.put("k", vec![7; 1_000_000]))?;
/// let mut reader = db.view("b", |txn| txn.get_reader("k"))?;
/// assert_eq!(reader.len(), 1_000_000);
/// let mut sum = 0;
/// while let Some(piece) = reader.next_piece()? {
///     sum += piece.iter().map(|&byte| u64::from(byte)).sum::<u64>();
/// }
/// assert_eq!(sum, 7_000_000);
///
/// let mut reader = db.view("b", |txn| txn.get_reader("k"))?;
/// let copied = std::io::copy(&mut reader, &mut std::io::sink());
/// assert_eq!(copied.unwrap(), 1_000_000);
/// # Ok::<(), btree_store::Error>(())
/// ```
pub struct ValueReader {
    hold: Arc<Hold>,
    source: Source,
    len: u64,
    /// The piece that was read last, where the value comes from the file.
    piece: Vec<u8>,
    /// The bytes of the piece that [`io::Read`] has not given yet begin here.
    given: usize,
    fault: Option<Fault>,
    /// A piece is being read; or was, when the storage panicked, and nobody knows what was read.
    is_reading: bool,
    /// The pages of a value that was not committed when the reader was made.
    _keeper: Option<Arc<EarlyRun>>,
}

/// Where a value comes from.
enum Source {
    Memory { value: Arc<[u8]>, at: usize },
    File(Box<Pieces>),
}

impl ValueReader {
    /// A reader of a value of a tree of the state that is held, or of a change of it.
    pub(super) fn of_stored(stored: Stored, hold: Arc<Hold>) -> ValueReader {
        match stored {
            Stored::Run(run) | Stored::Large(Large::Moving(run)) => ValueReader::of_run(run, hold),
            Stored::Inline(value) | Stored::Large(Large::Here(value)) => {
                ValueReader::in_memory(value, hold)
            }
            Stored::Large(Large::Early(early)) => ValueReader::of_early(early, hold),
        }
    }

    /// A reader of a value that is in memory.
    pub(super) fn in_memory(value: Arc<[u8]>, hold: Arc<Hold>) -> ValueReader {
        let len = value.len() as u64;
        ValueReader::new(Source::Memory { value, at: 0 }, len, hold)
    }

    /// A reader of a run that the state that is held has.
    pub(super) fn of_run(run: Run, hold: Arc<Hold>) -> ValueReader {
        // It may not be in the file yet: then it stays in memory as long as it is read.
        if let Some(value) = hold.core.pager.run_in_flight(run) {
            return ValueReader::in_memory(value, hold);
        }
        ValueReader::new(Source::File(Box::new(Pieces::new(run))), u64::from(run.len), hold)
    }

    /// A reader of a run that was written before its commit.
    pub(super) fn of_early(early: Arc<EarlyRun>, hold: Arc<Hold>) -> ValueReader {
        let run = early.run;
        if seeded!(EarlyRunLetGoUnderAReader) {
            return ValueReader::of_run(run, hold);
        }
        ValueReader { _keeper: Some(early), ..ValueReader::of_run(run, hold) }
    }

    fn new(source: Source, len: u64, hold: Arc<Hold>) -> ValueReader {
        let (piece, given, fault, is_reading) = (Vec::new(), 0, None, false);
        ValueReader { hold, source, len, piece, given, fault, is_reading, _keeper: None }
    }

    /// The length of the whole value in bytes, however much of it was read.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the value has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that follow those which were read, at most 256 KiB; `None` at the end of the
    /// value.
    ///
    /// # Errors
    /// [`Error::Corruption`](crate::Error::Corruption), instead of the last piece, when the value
    /// is not what was put; [`Error::IoError`](crate::Error::IoError). The reader then keeps
    /// failing, and so does its transaction.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        if self.rest().is_empty() {
            self.advance()?;
        }
        let from = std::mem::replace(&mut self.given, self.piece.len());
        let piece = match &mut self.source {
            Source::File(_) => &self.piece[from..],
            Source::Memory { value, at } => {
                let from = *at;
                *at = value.len().min(from + PIECE_BYTES);
                &value[from..*at]
            }
        };
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// The bytes that follow those which were given, as many as are in memory; none at the end of
    /// the value. They are not given before [`ValueReader::give`] says so.
    ///
    /// # Errors
    /// Those of [`ValueReader::next_piece`].
    pub(crate) fn at_hand(&mut self) -> Result<&[u8]> {
        if self.rest().is_empty() {
            self.advance()?;
        }
        Ok(self.rest())
    }

    /// So many of the bytes at hand are given.
    pub(crate) fn give(&mut self, len: usize) {
        match &mut self.source {
            Source::File(_) => self.given += len,
            Source::Memory { at, .. } => *at += len,
        }
    }

    /// What is in memory and not given yet.
    fn rest(&self) -> &[u8] {
        match &self.source {
            Source::File(_) => &self.piece[self.given..],
            Source::Memory { value, at } => &value[*at..],
        }
    }

    /// Reads the next piece, where the value comes from the file.
    fn advance(&mut self) -> Result<()> {
        if let Some(fault) = &self.fault {
            return self.hold.note(Err(fault.raise()));
        }
        if self.is_reading {
            return self.hold.note(Err(Error::internal("a read of the value panicked")));
        }
        let Source::File(pieces) = &mut self.source else { return Ok(()) };
        (self.given, self.is_reading) = (0, true);
        let mut piece = std::mem::take(&mut self.piece);
        let read = self.hold.core.pager.read_piece(pieces, &mut piece);
        self.is_reading = false;
        let read = self.hold.note(read);
        self.fault = read.err().map(Fault::keep);
        if read.is_ok() {
            self.piece = piece;
        }
        read
    }
}

/// Fails as [`ValueReader::next_piece`] does: with an error of the kind `InvalidData` for a value
/// that is damaged, and `Other` else, around a [`DetailedError`](crate::DetailedError).
impl io::Read for ValueReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let bytes = self.at_hand().map_err(io::Error::from)?;
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        self.give(len);
        Ok(len)
    }
}

impl std::fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueReader").field("len", &self.len).finish_non_exhaustive()
    }
}
