//! Where the entries of a copy come from (part of backup, layer L7).
//!
//! Owns: [`Source`], and the one that reads a state. Must not know: where the entries go.
//! Keeps: snapshot-stable (one state gives all buckets), entry-count (a bucket that has fewer or
//! more entries than it says ends in an error).

use crate::error::{Error, Result};
use crate::invariant::Invariant;
use crate::txn::{Iter, Shown, Snapshot, ValueReader};

/// A bucket whose entries come next.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) entries: u64,
}

/// An entry, of whose value little is in memory.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Value<'a>,
}

pub(super) enum Value<'a> {
    Whole(&'a [u8]),
    /// A value of so many bytes, at least one, which [`Source::next_piece`] gives.
    Pieces(u32),
}

/// Buckets in ascending order, and the entries of each in ascending order.
pub(super) trait Source {
    /// The number of the state.
    fn seq(&self) -> u64;

    /// The next bucket; `None` at the end. The one before was read to its end.
    fn next_bucket(&mut self) -> Result<Option<Bucket>>;

    /// The next entry of the bucket; `None` at its end. The value before was read to its end.
    fn next_entry(&mut self) -> Result<Option<Entry<'_>>>;

    /// The next bytes of a value that comes in pieces; `None` at its end. Not all bytes come of a
    /// value that is damaged.
    fn next_piece(&mut self) -> Result<Option<&[u8]>>;
}

/// The entries of a state.
pub(super) struct StateSource<'s> {
    snapshot: &'s Snapshot,
    names: std::vec::IntoIter<String>,
    iter: Option<Iter>,
    /// Entries of the bucket, and how many of them were given.
    entries: u64,
    given: u64,
    value: Option<ValueReader>,
}

impl StateSource<'_> {
    /// # Errors
    /// What reading the names of the buckets says.
    pub(super) fn new(snapshot: &Snapshot) -> Result<StateSource<'_>> {
        let names = snapshot.buckets()?.into_iter();
        Ok(StateSource { snapshot, names, iter: None, entries: 0, given: 0, value: None })
    }
}

impl Source for StateSource<'_> {
    fn seq(&self) -> u64 {
        self.snapshot.seq()
    }

    fn next_bucket(&mut self) -> Result<Option<Bucket>> {
        let Some(name) = self.names.next() else { return Ok(None) };
        let (entries, iter) = self.snapshot.view(&name, |txn| Ok((txn.len(), txn.iter())))?;
        (self.iter, self.entries, self.given) = (Some(iter), entries, 0);
        Ok(Some(Bucket { name, entries }))
    }

    fn next_entry(&mut self) -> Result<Option<Entry<'_>>> {
        let Some(iter) = &mut self.iter else { return Ok(None) };
        let next = iter.next_shown()?;
        if (self.given < self.entries) != next.is_some() {
            let found = self.given + u64::from(next.is_some());
            return Err(Error::corruption(None, Invariant::EntryCount, self.entries, found));
        }
        let Some((key, shown)) = next else { return Ok(None) };
        self.given += 1;
        let value = match shown {
            Shown::Whole(value) => Value::Whole(value),
            Shown::Pieces(reader) => {
                let len = u32::try_from(reader.len()).map_err(|_| Error::Internal)?;
                self.value = Some(reader);
                Value::Pieces(len)
            }
        };
        Ok(Some(Entry { key, value }))
    }

    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        match &mut self.value {
            Some(value) => value.next_piece(),
            None => Ok(None),
        }
    }
}
