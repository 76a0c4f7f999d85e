//! Values that are read later than they were found, or put (part of the oracle, layer L8).
//!
//! Owns: [`Awaited`]. Must not know: what became of the transactions that made the readers.
//! Keeps: a reader gives the value that was there when it was made.

use super::Reads;
use crate::ValueReader;
use crate::error::{Error, Result};
use crate::sim::oracle::op::{Data, Write};
use std::collections::VecDeque;

/// Values that are read piece by piece when some others were found, or put, since. Then the
/// transaction may have come to nothing, and the cursor there may be gone.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    values: VecDeque<(Number, ValueReader, Data)>,
    /// How many cursors were opened, and readers made.
    made: Number,
    /// What readers up to this one give the disk cannot lose.
    pub(super) synced: Number,
    /// No fault strikes at present.
    pub(super) is_calm: bool,
}

/// Of a reader, from 1.
type Number = u64;

/// Whether a fault may strike while a value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storage {
    MayFail,
    Works,
}

impl Awaited {
    const MOST: usize = 6;

    /// Adds the value where a cursor begins. No store answers with an internal error, which this
    /// is if an earlier value has become another.
    pub(super) fn add(&mut self, txn: &dyn Reads, from: Option<&[u8]>) -> Result<()> {
        self.made += 1;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut first = txn.cursor(from)?;
        if !first.next_ref(&mut key, &mut value) {
            return first.error().map_or(Ok(()), Err);
        }
        self.push(txn.reader(&key)?, value.into())
    }

    pub(super) fn push(&mut self, reader: ValueReader, value: Data) -> Result<()> {
        self.made += 1;
        self.values.push_back((self.made, reader, value));
        let storage = if self.is_calm { Storage::Works } else { Storage::MayFail };
        if self.values.len() > Awaited::MOST { self.read_first(storage).1 } else { Ok(()) }
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn note_synced(&mut self) {
        self.synced = self.made;
    }

    /// Reads all that is to be read yet, where the storage works. The first failure that is not
    /// excused is told.
    pub(super) fn read_all(&mut self, is_excused: &dyn Fn(Number, Error) -> bool) -> Result<()> {
        let mut told = Ok(());
        while !self.values.is_empty() {
            let (number, read) = self.read_first(Storage::Works);
            if read.is_err_and(|error| !is_excused(number, error)) {
                told = told.and(read);
            }
        }
        told
    }

    fn read_first(&mut self, storage: Storage) -> (Number, Result<()>) {
        let Some((number, reader, value)) = self.values.pop_front() else { return (0, Ok(())) };
        (number, Awaited::read(reader, &value, storage))
    }

    fn read(mut reader: ValueReader, value: &Data, storage: Storage) -> Result<()> {
        let mut found = Vec::new();
        loop {
            match reader.next_piece() {
                Ok(Some(piece)) => found.extend_from_slice(piece),
                Ok(None) if found == value.bytes() => return Ok(()),
                Ok(None) => return Err(Error::Internal),
                // A fault of the storage has nothing to do with the present transaction.
                Err(Error::IoError) if storage == Storage::MayFail => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The key and the value of a change behind which a reader is kept, every other one from a reader:
/// where it has pages, they stay set aside that long, whatever becomes of the transaction.
pub(super) fn read_later(write: &Write) -> Option<(&Data, &Data)> {
    match write {
        Write::PutFrom { key, value, .. } => {
            let is_odd = |byte: &u8| byte % 2 == 1;
            value.bytes().first().is_some_and(is_odd).then_some((key, value))
        }
        _ => None,
    }
}
