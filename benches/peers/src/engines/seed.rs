//! btree-store 2.1.0, whose interface this project's store began with.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
};
use btree_store_2::{BTree, Error, OpenOptions, PAGE_SIZE};
use std::hint::black_box;
use std::path::Path;

pub const PEER: Peer =
    Peer { name: "seed", open, lends: false, bulk_most: 100_000, is_durable: true };

struct Seed(BTree);

fn open(directory: &Path, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let mut options = OpenOptions::new();
    options.cache_capacity = usize::try_from(cache_bytes)? / PAGE_SIZE;
    let db = BTree::open_with_options(directory.join("data.db"), options)?;
    if !db.buckets()?.iter().any(|name| name == BUCKET) {
        db.new_bucket(BUCKET, false)?;
    }
    Ok(Box::new(Seed(db)))
}

impl Engine for Seed {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let done = self.0.exec(BUCKET, |txn| {
            batch.iter().try_for_each(|(key, value)| match value {
                Some(value) => txn.put(key, value),
                None => txn.del(key).map(|_| ()),
            })
        });
        Ok(done?)
    }

    fn get(&self, queries: &Queries, scope: Scope, _form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        let mut look_up = |txn: &btree_store_2::ReadOnlyTxn<'_>, key: &[u8]| {
            seen.value(&black_box(txn.get(key)?));
            Ok::<(), Error>(())
        };
        match scope {
            Scope::PerGet => {
                for key in queries.iter() {
                    self.0.view(BUCKET, |txn| look_up(txn, key))?;
                }
            }
            Scope::Long => {
                self.0.view(BUCKET, |txn| queries.iter().try_for_each(|key| look_up(txn, key)))?;
            }
        }
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let seen = self.0.view(BUCKET, |txn| {
            let (mut key, mut value, mut seen) = (Vec::new(), Vec::new(), Seen::default());
            let mut iter = txn.iter();
            match direction {
                Direction::Forwards => {
                    while iter.next_ref(&mut key, &mut value) {
                        seen.entry(&key, &value);
                    }
                }
                Direction::Backwards => {
                    while iter.prev_ref(&mut key, &mut value) {
                        seen.entry(&key, &value);
                    }
                }
            }
            Ok(seen)
        });
        Ok(Some(seen?))
    }

    /// Its cursors cannot be placed.
    fn seek(&self, _queries: &Queries, _entries: usize) -> Answer<Seen> {
        Ok(None)
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        self.0.new_bucket(name, false)?;
        Ok(Some(self.0.del_bucket(name)?))
    }

    fn drop_bucket(&self) -> Answer<()> {
        Ok(Some(self.0.del_bucket(BUCKET)?))
    }

    fn mixed(&self, queries: &Queries) -> Answer<()> {
        let done = self.0.exec_multi(|multi| {
            for key in queries.iter() {
                multi.exec(BUCKET, |txn| txn.put(key, MIXED_VALUE))?;
                multi.exec(BUCKET, |txn| txn.update(key, MIXED_VALUE))?;
                multi.exec(BUCKET, |txn| txn.get(key).map(black_box))?;
                multi.exec(BUCKET, |txn| txn.del(key))?;
            }
            Ok(())
        });
        Ok(Some(done?))
    }
}
