//! A store's contents in a few numbers, of the store and of the model.
//!
//! Owns: [`Dump`]. Must not know: which contents are right.
//! Keeps: a store is read as a whole, in both directions.

use super::workloads::{BUCKET, Contents};
use crate::{BTree, Error, Result};

/// A store's contents, summed up: equal sums are equal contents, in all likelihood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// CRC32C of the entries in ascending order, and in descending order.
    pub(super) forward: u32,
    pub(super) backward: u32,
    pub(super) entries: u64,
    /// A missing bucket is not an empty one.
    pub(super) exists: bool,
}

impl Dump {
    pub(super) fn add(sum: u32, key: &[u8], value: &[u8]) -> u32 {
        let lens = (key.len() as u64) << 32 | value.len() as u64;
        let sum = crc32c::crc32c_append(sum, &lens.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(sum, key), value)
    }

    pub(super) fn of_model(contents: &Contents, exists: bool) -> Dump {
        let sum = |sum, (key, value): (&Vec<u8>, &Vec<u8>)| Dump::add(sum, key, value);
        Dump {
            forward: contents.iter().fold(0, sum),
            backward: contents.iter().rev().fold(0, sum),
            entries: contents.len() as u64,
            exists,
        }
    }

    /// Reads a whole store, in both directions, and compares the count that it keeps.
    pub(super) fn of_store(db: &BTree) -> Result<Dump> {
        let found = db.view(BUCKET, |txn| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let mut dump = Dump { exists: true, ..Dump::default() };
            let mut iter = txn.iter();
            while iter.next_ref(&mut key, &mut value) {
                dump.forward = Dump::add(dump.forward, &key, &value);
                dump.entries += 1;
            }
            let mut iter = txn.iter();
            while iter.prev_ref(&mut key, &mut value) {
                dump.backward = Dump::add(dump.backward, &key, &value);
            }
            // A wrong count makes a dump that is like no state.
            dump.exists = dump.entries == txn.len();
            Ok(dump)
        });
        match found {
            Err(Error::NotFound) => Ok(Dump::default()),
            found => found,
        }
    }
}
