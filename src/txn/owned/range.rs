//! Ranges of a bucket in an owned transaction (part of txn, layer L6).
//!
//! Owns: [`TxnRange`]. Must not know: what becomes of what it has seen.
//! Keeps: errors-stick, snapshot-stable.

use super::OwnedTxn;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::node::Way;
use crate::sync::{Arc, Mutex};
use crate::tree::Lent;
use crate::txn::Range;
use std::iter::FusedIterator;
use std::marker::PhantomData;

/// The entries of a bucket in an [`OwnedTxn`] whose keys lie in a range, as they were when this was
/// made: what the transaction began with and what it had written. Entries that it writes
/// afterwards do not show.
///
/// As [`Range`](crate::Range), with two differences: it cannot outlive its transaction; and what it
/// yields counts as read, together with the absence of all other keys that it passed over.
/// What it has not come to does not.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec("b", |txn| (b'a'..=b'f').try_for_each(|key| txn.put([key], "old")))?;
/// let txn = db.begin();
/// let mut bucket = txn.bucket("b")?;
/// bucket.put("c", "new")?;
/// for entry in bucket.range("b"..) {
///     let (key, value) = entry?;
///     if value == b"new" {
///         break; // the keys from "b" to "c" were read
///     }
///     bucket.del(key)?;
/// }
/// db.exec("b", |txn| txn.put("d", "other"))?;
/// txn.commit()?;
/// assert_eq!(db.view("b", |txn| Ok(txn.len()))?, 5);
/// # Ok::<(), btree_store::Error>(())
/// ```
pub struct TxnRange<'t> {
    range: Range,
    walk: Arc<Mutex<Walk>>,
    /// What it yields is checked when the transaction commits; so it does not yield afterwards.
    txn: PhantomData<&'t OwnedTxn>,
}

impl TxnRange<'_> {
    pub(super) fn new(range: Range, walk: Arc<Mutex<Walk>>) -> Self {
        TxnRange { range, walk, txn: PhantomData }
    }

    /// The first entry that is left, lent until the range moves again; `None` when none is left.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`]; the range then keeps failing, and so does
    /// its transaction.
    pub fn next_entry(&mut self) -> Result<Option<Lent<'_>>> {
        let entry = self.range.next_entry()?;
        self.walk.lock().step(Way::Forward, entry.map(|(key, _)| key));
        Ok(entry)
    }

    /// The last entry that is left, lent until the range moves again; `None` when none is left.
    ///
    /// # Errors
    /// Those of [`TxnRange::next_entry`].
    pub fn prev_entry(&mut self) -> Result<Option<Lent<'_>>> {
        let entry = self.range.prev_entry()?;
        self.walk.lock().step(Way::Backward, entry.map(|(key, _)| key));
        Ok(entry)
    }

    /// The key of the first entry that is left, as [`TxnRange::next_entry`] lends it; the value is
    /// not read, however large it is, but counts as read.
    ///
    /// # Errors
    /// Those of [`TxnRange::next_entry`].
    pub fn next_key(&mut self) -> Result<Option<&[u8]>> {
        let key = self.range.next_key()?;
        self.walk.lock().step(Way::Forward, key);
        Ok(key)
    }

    /// The key of the last entry that is left; the value is not read, but counts as read.
    ///
    /// # Errors
    /// Those of [`TxnRange::next_entry`].
    pub fn prev_key(&mut self) -> Result<Option<&[u8]>> {
        let key = self.range.prev_key()?;
        self.walk.lock().step(Way::Backward, key);
        Ok(key)
    }

    /// The error that ended the range, if one did.
    pub fn error(&self) -> Option<Error> {
        self.range.error()
    }

    /// An entry as an iterator yields it; an end that met an error has told nothing more.
    fn tell(
        &self,
        way: Way,
        entry: Option<Result<(Vec<u8>, Vec<u8>)>>,
    ) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        match &entry {
            Some(Ok((key, _))) => self.walk.lock().step(way, Some(key)),
            None => self.walk.lock().step(way, None),
            Some(Err(_)) => {}
        }
        entry
    }
}

impl Iterator for TxnRange<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.range.next();
        self.tell(Way::Forward, entry)
    }
}

impl DoubleEndedIterator for TxnRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.range.next_back();
        self.tell(Way::Backward, entry)
    }
}

impl FusedIterator for TxnRange<'_> {}

impl std::fmt::Debug for TxnRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxnRange").field("range", &self.range).finish_non_exhaustive()
    }
}
