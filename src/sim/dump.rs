//! A store's contents in a few numbers, of the store and of the model.
//!
//! Owns: [`Dump`], and the probes that checks add. Must not know: which contents are right.
//! Keeps: a store is read as a whole, in both directions.

use super::arena::{mix, mix_bytes};
use super::promise::PROBES;
use super::workloads::{BUCKET, Buckets, Edit, apply};
use crate::{BTree, Result};

/// A store's contents, summed up: equal sums are equal contents, in all likelihood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// Of the bucket that checks write to: a hash of the entries in ascending order, and one of
    /// them in descending order.
    pub(super) forward: u64,
    pub(super) backward: u64,
    pub(super) entries: u64,
    /// A missing bucket is not an empty one.
    pub(super) exists: bool,
    /// A hash of the same of all other buckets, with their names.
    others: u64,
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

    pub(super) fn of_model(buckets: &Buckets) -> Dump {
        let mut dump = Dump::default();
        for (name, contents) in buckets {
            let sum = |sum, (key, value): (&Vec<u8>, &Vec<u8>)| Dump::add(sum, key, value);
            dump.take(
                name,
                &Dump {
                    forward: contents.iter().fold(0, sum),
                    backward: contents.iter().rev().fold(0, sum),
                    entries: contents.len() as u64,
                    exists: true,
                    others: 0,
                },
            );
        }
        dump
    }

    /// Reads a whole store, in both directions, and compares the counts that it keeps.
    pub(super) fn of_store(db: &BTree) -> Result<Dump> {
        let mut dump = Dump::default();
        for name in db.buckets()? {
            dump.take(&name, &Dump::of_bucket(db, &name)?);
        }
        Ok(dump)
    }

    /// Takes in the dump of a bucket; they come in the order of their names.
    fn take(&mut self, name: &str, bucket: &Dump) {
        if name == BUCKET {
            *self = Dump { others: self.others, ..*bucket };
            return;
        }
        let sums = [bucket.forward, bucket.backward, bucket.entries];
        self.others = sums.into_iter().fold(Dump::add(self.others, name.as_bytes(), &[]), mix);
    }

    fn of_bucket(db: &BTree, name: &str) -> Result<Dump> {
        db.view(name, |txn| {
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
        })
    }
}

/// What the check after so many crashes adds to the store.
pub(super) fn probe(crashes: usize) -> Edit {
    Edit::Put(format!("probe{crashes}").into_bytes(), vec![b'!'; 40])
}

/// The dumps of buckets with every set of probes.
pub(super) fn probed(buckets: &Buckets) -> Vec<Dump> {
    let dump = |probes: usize| {
        let mut buckets = buckets.clone();
        for crashes in (0..PROBES).filter(|crashes| probes >> crashes & 1 == 1) {
            apply(&mut buckets, &[probe(crashes)]);
        }
        Dump::of_model(&buckets)
    };
    (0..1 << PROBES).map(dump).collect()
}
