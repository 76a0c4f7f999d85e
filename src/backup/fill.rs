//! Entries into a new store (part of backup, layer L7).
//!
//! Owns: how a copy is cut into commits. Must not know: where the entries come from.
//! Keeps: bytes-never-panic (what a commit holds in memory does not depend on the source).

use super::Totals;
use super::source::{Bucket, Entry, Source, Value};
use crate::commit::{Core, Hearing};
use crate::error::{Fault, Result};
use crate::pager::PIECE_BYTES;
use crate::sync::Arc;
use crate::txn::{Txn, run_multi};
use std::io::{self, Read};

/// A commit takes entries of so many bytes. It holds them in memory, and the pages that they
/// become; a sync is short beside the writing of so much.
const COMMIT_BYTES: u64 = 8 << 20;
/// What an entry or a bucket counts for beside its bytes.
const OVERHEAD_BYTES: u64 = 32;

/// What a commit may still take, in bytes.
struct Budget(u64);

impl Budget {
    fn spend(&mut self, bytes: u64) {
        self.0 = self.0.saturating_sub(bytes + OVERHEAD_BYTES);
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// Copies all that a source gives into an empty store.
///
/// # Errors
/// What the source says, and the store.
pub(super) fn fill(core: &Arc<Core>, source: &mut dyn Source) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut bucket = source.next_bucket()?;
    while bucket.is_some() {
        run_multi(core, &Hearing::none(), |multi| {
            let mut budget = Budget(COMMIT_BYTES);
            while let Some(Bucket { name, .. }) = &bucket
                && !budget.is_spent()
            {
                budget.spend(name.len() as u64);
                let load = |txn: &mut Txn<'_>| load(txn, source, &mut budget, &mut totals);
                if multi.exec(name, load)? == Stop::End {
                    totals.buckets += 1;
                    bucket = source.next_bucket()?;
                }
            }
            Ok(())
        })?;
    }
    Ok(totals)
}

/// Why no more entries are put side by side.
#[derive(PartialEq, Eq)]
enum Stop {
    /// The bucket has no more.
    End,
    /// The commit is large enough.
    Spent,
    /// The value of this key, of so many bytes, comes in pieces.
    Large(Vec<u8>, u32),
}

/// Copies entries into a bucket until it, or the budget, is at its end.
fn load(
    txn: &mut Txn<'_>,
    source: &mut dyn Source,
    budget: &mut Budget,
    totals: &mut Totals,
) -> Result<Stop> {
    loop {
        let mut stop = Stop::Spent;
        txn.load(|loader| {
            while !budget.is_spent() {
                let Some(Entry { key, value }) = source.next_entry()? else {
                    stop = Stop::End;
                    break;
                };
                match value {
                    Value::Whole(value) => {
                        loader.push(key, value)?;
                        totals.add_entry(key, value.len() as u64);
                        budget.spend((key.len() + value.len()) as u64);
                    }
                    Value::Pieces(len) => {
                        stop = Stop::Large(key.to_vec(), len);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        let Stop::Large(key, len) = stop else { return Ok(stop) };
        put_large(txn, source, &key, len)?;
        totals.add_entry(&key, u64::from(len));
        // It does not stay in memory; but the next load copies the way to it.
        budget.spend(u64::from(len).min(PIECE_BYTES as u64));
    }
}

/// Puts a value that comes in pieces.
fn put_large(txn: &mut Txn<'_>, source: &mut dyn Source, key: &[u8], len: u32) -> Result<()> {
    let mut reader = PieceReader { source, piece: Vec::new(), given: 0, fault: None };
    let put = txn.put_from(key, u64::from(len), &mut reader);
    // What the source says, and not that it could not be read.
    put.map_err(|error| reader.fault.map_or(error, |fault: Fault| fault.raise()))
}

/// The pieces of a value as a reader.
struct PieceReader<'s> {
    source: &'s mut dyn Source,
    piece: Vec<u8>,
    /// Bytes of the piece that were given.
    given: usize,
    fault: Option<Fault>,
}

impl PieceReader<'_> {
    fn advance(&mut self) -> Result<()> {
        self.piece.clear();
        self.given = 0;
        if let Some(piece) = self.source.next_piece()? {
            self.piece.extend_from_slice(piece);
        }
        Ok(())
    }
}

impl Read for PieceReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len()
            && let Err(error) = self.advance()
        {
            self.fault = Some(Fault::keep(error));
            return Err(io::Error::from(error));
        }
        let rest = &self.piece[self.given..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }
}
