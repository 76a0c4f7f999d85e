//! This project's store. The only file that names its interface.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
    directory_bytes,
};
use btree_store::{BTree, Options, ReadOnlyTxn};
use std::path::Path;

pub const PEER: Peer =
    Peer { name: super::OURS, open, lends: true, bulk_most: usize::MAX, is_durable: true };

struct Ours(BTree);

fn open(directory: &Path, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let options = Options::new().cache_bytes(cache_bytes);
    Ok(Box::new(Ours(options.open(directory.join("data.db"))?)))
}

/// One lookup that lends its value.
fn lend(txn: &ReadOnlyTxn<'_>, key: &[u8], seen: &mut Seen) -> btree_store::Result<()> {
    seen.value(&txn.get_ref(key)?);
    Ok(())
}

/// One lookup that copies its value.
fn copy(txn: &ReadOnlyTxn<'_>, key: &[u8], seen: &mut Seen) -> btree_store::Result<()> {
    seen.value(&std::hint::black_box(txn.get(key)?));
    Ok(())
}

impl Engine for Ours {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let done = self.0.exec(BUCKET, |txn| {
            batch.iter().try_for_each(|(key, value)| match value {
                Some(value) => txn.put(key, value),
                None => txn.del(key),
            })
        });
        Ok(done?)
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let db = &self.0;
        let mut seen = Seen::default();
        let result = match (scope, form) {
            (Scope::PerGet, Form::Borrowed) => {
                queries.iter().try_for_each(|key| db.view(BUCKET, |txn| lend(txn, key, &mut seen)))
            }
            (Scope::PerGet, Form::Copied) => {
                queries.iter().try_for_each(|key| db.view(BUCKET, |txn| copy(txn, key, &mut seen)))
            }
            (Scope::Long, Form::Borrowed) => {
                db.view(BUCKET, |txn| queries.iter().try_for_each(|key| lend(txn, key, &mut seen)))
            }
            (Scope::Long, Form::Copied) => {
                db.view(BUCKET, |txn| queries.iter().try_for_each(|key| copy(txn, key, &mut seen)))
            }
        };
        result?;
        Ok(Some(seen))
    }

    fn get_many(&self, queries: &Queries, group: usize) -> Answer<Seen> {
        let seen = self.0.view(BUCKET, |txn| {
            let (mut seen, mut left) = (Seen::default(), queries.iter());
            // Gathered as they are wanted, since the others read each key where it lies.
            let mut keys: Vec<&[u8]> = left.by_ref().take(group).collect();
            while !keys.is_empty() {
                txn.get_many(&keys)?.iter().flatten().for_each(|value| seen.value(value));
                keys.clear();
                keys.extend(left.by_ref().take(group));
            }
            Ok(seen)
        });
        Ok(Some(seen?))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let seen = self.0.view(BUCKET, |txn| {
            let (mut iter, mut seen) = (txn.iter(), Seen::default());
            match direction {
                Direction::Forwards => {
                    while let Some((key, value)) = iter.next_entry()? {
                        seen.entry(key, value);
                    }
                }
                Direction::Backwards => {
                    while let Some((key, value)) = iter.prev_entry()? {
                        seen.entry(key, value);
                    }
                }
            }
            Ok(seen)
        });
        Ok(Some(seen?))
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        let seen = self.0.view(BUCKET, |txn| {
            let mut seen = Seen::default();
            for query in queries.iter() {
                let mut iter = txn.iter_from(query)?;
                for _ in 0..entries {
                    let Some((key, value)) = iter.next_entry()? else { break };
                    seen.entry(key, value);
                }
            }
            Ok(seen)
        });
        Ok(Some(seen?))
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        self.0.exec(name, |_| Ok(()))?;
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
                multi.exec(BUCKET, |txn| txn.get(key).map(std::hint::black_box))?;
                multi.exec(BUCKET, |txn| txn.del(key))?;
            }
            Ok(())
        });
        Ok(Some(done?))
    }

    fn compact(&mut self, directory: &Path) -> Answer<u64> {
        self.0.compact(0)?;
        directory_bytes(directory).map(Some)
    }
}
