//! A store's contents in a few numbers, of the store and of the model.
//!
//! Owns: [`Dump`], and the probes that checks add. Must not know: which contents are right.
//! Keeps: a store is read as a whole, in the directions that are asked for.

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
    /// Hashes of the same of all other buckets, with their names.
    others: [u64; 2],
}

/// In which directions a store is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ways {
    Ascending,
    Descending,
    Both,
}

impl Ways {
    fn ascend(self) -> bool {
        self != Ways::Descending
    }

    fn descend(self) -> bool {
        self != Ways::Ascending
    }
}

impl Dump {
    /// What of it is seen in these directions.
    pub(super) fn seen(self, ways: Ways) -> Dump {
        let [others_forward, others_backward] = self.others;
        let keep = |is_seen: bool, sum: u64| if is_seen { sum } else { 0 };
        Dump {
            forward: keep(ways.ascend(), self.forward),
            backward: keep(ways.descend(), self.backward),
            others: [keep(ways.ascend(), others_forward), keep(ways.descend(), others_backward)],
            ..self
        }
    }

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
                    others: [0; 2],
                },
                Ways::Both,
            );
        }
        dump
    }

    /// Reads a whole store, and compares the counts that it keeps.
    pub(super) fn of_store(db: &BTree, ways: Ways) -> Result<Dump> {
        let mut dump = Dump::default();
        for name in db.buckets()? {
            dump.take(&name, &Dump::of_bucket(db, &name, ways)?, ways);
        }
        Ok(dump)
    }

    /// Takes in the dump of a bucket; they come in the order of their names.
    fn take(&mut self, name: &str, bucket: &Dump, ways: Ways) {
        if name == BUCKET {
            *self = Dump { others: self.others, ..*bucket };
            return;
        }
        let named = |sum, bucket_sum| {
            mix(mix(Dump::add(sum, name.as_bytes(), &[]), bucket_sum), bucket.entries)
        };
        let [forward, backward] = self.others;
        let others = [named(forward, bucket.forward), named(backward, bucket.backward)];
        self.others = Dump { others, ..Dump::default() }.seen(ways).others;
    }

    fn of_bucket(db: &BTree, name: &str, ways: Ways) -> Result<Dump> {
        db.view(name, |txn| {
            let mut dump = Dump { exists: true, ..Dump::default() };
            let (mut ascending, mut descending) = (0, 0);
            let mut iter = txn.iter();
            while ways.ascend()
                && let Some((key, value)) = iter.next_entry()?
            {
                dump.forward = Dump::add(dump.forward, key, value);
                ascending += 1;
            }
            let mut iter = txn.iter();
            while ways.descend()
                && let Some((key, value)) = iter.prev_entry()?
            {
                dump.backward = Dump::add(dump.backward, key, value);
                descending += 1;
            }
            let read = [(ways.ascend(), ascending), (ways.descend(), descending)];
            dump.entries = txn.len();
            if read.iter().any(|&(is_read, entries)| is_read && entries != dump.entries) {
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
