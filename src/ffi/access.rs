//! What a `Txn` of C stands for, while a call works on it (part of ffi, layer L8).
//!
//! Owns: [`Access`]: one set of calls for all kinds of transactions. Must not know: handles.
//! Keeps: nothing of its own; the transaction does.

use super::steps::Steps;
use crate::error::{Error, Result};
use crate::txn::{PushFn, ReadOnlyTxn, Txn, TxnBucket, ValueReader};
use std::io::Read;
use std::ops::Bound;

/// A bucket of a transaction that an operation works on.
pub(super) enum Access<'a, 't> {
    Write(&'a mut Txn<'t>),
    Read(&'a ReadOnlyTxn<'t>),
    /// Of a transaction that was begun, under this number.
    Owned(&'a mut TxnBucket<'t>, usize),
}

fn refuse<R>() -> Result<R> {
    Err(Error::invalid("a view cannot write"))
}

/// An answer that says that there is no such key.
fn found(is_there: bool) -> Result<()> {
    if is_there { Ok(()) } else { Err(Error::NotFound) }
}

impl Access<'_, '_> {
    pub(super) fn get(self, key: &[u8]) -> Result<Vec<u8>> {
        match self {
            Access::Write(txn) => txn.get(key),
            Access::Read(txn) => txn.get(key),
            Access::Owned(bucket, _) => bucket.get(key),
        }
    }

    pub(super) fn get_reader(self, key: &[u8]) -> Result<ValueReader> {
        match self {
            Access::Write(txn) => txn.get_reader(key),
            Access::Read(txn) => txn.get_reader(key),
            Access::Owned(bucket, _) => bucket.get_reader(key),
        }
    }

    /// Fails with `NotFound` when the key is absent.
    pub(super) fn contains(self, key: &[u8]) -> Result<()> {
        found(match self {
            Access::Write(txn) => txn.contains(key),
            Access::Read(txn) => txn.contains(key),
            Access::Owned(bucket, _) => bucket.contains(key),
        }?)
    }

    pub(super) fn len(self) -> Result<u64> {
        match self {
            Access::Write(txn) => txn.try_len(),
            Access::Read(txn) => txn.try_len(),
            Access::Owned(bucket, _) => bucket.try_len(),
        }
    }

    pub(super) fn put(self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Access::Write(txn) => txn.put(key, value),
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.put(key, value),
        }
    }

    pub(super) fn put_from(self, key: &[u8], len: u64, reader: &mut impl Read) -> Result<()> {
        match self {
            Access::Write(txn) => txn.put_from(key, len, reader),
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.put_from(key, len, reader),
        }
    }

    /// Puts the entries that a closure gives to the function it gets.
    pub(super) fn load(self, entries: impl FnOnce(&mut PushFn<'_>) -> Result<()>) -> Result<u64> {
        match self {
            Access::Write(txn) => {
                txn.load(|loader| entries(&mut |key: &[u8], value: &[u8]| loader.push(key, value)))
            }
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.load(entries),
        }
    }

    pub(super) fn insert(self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Access::Write(txn) => txn.insert(key, value),
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.insert(key, value),
        }
    }

    /// Fails with `NotFound` when the key is absent.
    pub(super) fn update(self, key: &[u8], value: &[u8]) -> Result<()> {
        found(match self {
            Access::Write(txn) => txn.update(key, value),
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.update(key, value),
        }?)
    }

    pub(super) fn del(self, key: &[u8]) -> Result<()> {
        match self {
            Access::Write(txn) => txn.del(key),
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.del(key),
        }
    }

    pub(super) fn delete_range(self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<u64> {
        match self {
            Access::Write(txn) => txn.delete_range::<[u8]>(range),
            Access::Read(_) => refuse(),
            Access::Owned(bucket, _) => bucket.delete_range::<[u8]>(range),
        }
    }

    /// What an iterator walks with; it fails when the transaction has.
    pub(super) fn steps(self) -> Steps {
        match self {
            Access::Write(txn) => Steps::Plain(txn.iter()),
            Access::Read(txn) => Steps::Plain(txn.iter()),
            Access::Owned(bucket, id) => Steps::Noted(bucket.cursor(), id),
        }
    }
}
