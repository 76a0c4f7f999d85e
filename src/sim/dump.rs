//! A store's contents in a few numbers, of the store and of the model.
//!
//! Owns: [`Dump`], and the probes that checks add. Must not know: which contents are right.
//! Keeps: a store is read as a whole, in both directions.

use super::arena::{mix, mix_bytes};
use super::promise::PROBES;
use super::workloads::{BUCKET, Contents, Edit, apply};
use crate::{BTree, Error, Result};

/// A store's contents, summed up: equal sums are equal contents, in all likelihood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// A hash of the entries in ascending order, and one of them in descending order.
    pub(super) forward: u64,
    pub(super) backward: u64,
    pub(super) entries: u64,
    /// A missing bucket is not an empty one.
    pub(super) exists: bool,
}

impl Dump {
    pub(super) fn add(sum: u64, key: &[u8], value: &[u8]) -> u64 {
        let lens = (key.len() as u64) << 32 | value.len() as u64;
        let sum = mix_bytes(mix(sum, lens), key);
        // Of many bytes the processor makes a checksum faster.
        if value.len() < 128 {
            mix_bytes(sum, value)
        } else {
            mix(sum, u64::from(crc32c::crc32c(value)))
        }
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
            if dump.entries != txn.len() {
                // Such a dump is like no state.
                dump.entries = u64::MAX;
            }
            Ok(dump)
        });
        match found {
            Err(Error::NotFound) => Ok(Dump::default()),
            found => found,
        }
    }
}

/// What the check after so many crashes adds to the store.
pub(super) fn probe(crashes: usize) -> Edit {
    Edit::Put(format!("probe{crashes}").into_bytes(), vec![b'!'; 40])
}

/// The dumps of contents with every set of probes.
pub(super) fn probed(contents: &Contents, exists: bool) -> Vec<Dump> {
    let dump = |probes: usize| {
        let mut contents = contents.clone();
        for crashes in (0..PROBES).filter(|crashes| probes >> crashes & 1 == 1) {
            apply(&mut contents, &[probe(crashes)]);
        }
        Dump::of_model(&contents, exists || probes > 0)
    };
    (0..1 << PROBES).map(dump).collect()
}
