//! LMDB, by heed. Its map is as large as the address space allows; the system caches for it.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
};
use heed::types::Bytes;
use heed::{CompactionOption, Database, Env, EnvOpenOptions, PutFlags, RoTxn};
use std::ops::Bound;
use std::path::Path;

pub const PEER: Peer =
    Peer { name: "lmdb", open, lends: true, bulk_most: usize::MAX, is_durable: true };

const MAP_BYTES: usize = 64 << 30;

struct Lmdb {
    env: Env,
    table: Database<Bytes, Bytes>,
}

fn open(directory: &Path, _cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(64);
    // SAFETY: no one else changes the file while the environment is open.
    let env = unsafe { options.open(directory) }?;
    let mut txn = env.write_txn()?;
    let table = env.create_database(&mut txn, Some(BUCKET))?;
    txn.commit()?;
    Ok(Box::new(Lmdb { env, table }))
}

impl Lmdb {
    #[inline]
    fn look_up(&self, txn: &RoTxn, key: &[u8], form: Form, seen: &mut Seen) -> Result<()> {
        match (self.table.get(txn, key)?, form) {
            (None, _) => {}
            (Some(value), Form::Borrowed) => seen.value(value),
            (Some(value), Form::Copied) => seen.value(&std::hint::black_box(value.to_vec())),
        }
        Ok(())
    }
}

impl Engine for Lmdb {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in batch.iter() {
            match value {
                Some(value) => self.table.put(&mut txn, key, value)?,
                None => {
                    self.table.delete(&mut txn, key)?;
                }
            }
        }
        Ok(txn.commit()?)
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        match scope {
            Scope::PerGet => {
                for key in queries.iter() {
                    let txn = self.env.read_txn()?;
                    self.look_up(&txn, key, form, &mut seen)?;
                }
            }
            Scope::Long => {
                let txn = self.env.read_txn()?;
                for key in queries.iter() {
                    self.look_up(&txn, key, form, &mut seen)?;
                }
            }
        }
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let (txn, mut seen) = (self.env.read_txn()?, Seen::default());
        match direction {
            Direction::Forwards => {
                for entry in self.table.iter(&txn)? {
                    let (key, value) = entry?;
                    seen.entry(key, value);
                }
            }
            Direction::Backwards => {
                for entry in self.table.rev_iter(&txn)? {
                    let (key, value) = entry?;
                    seen.entry(key, value);
                }
            }
        }
        Ok(Some(seen))
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        let (txn, mut seen) = (self.env.read_txn()?, Seen::default());
        for query in queries.iter() {
            let range: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(query), Bound::Unbounded);
            for entry in self.table.range(&txn, &range)?.take(entries) {
                let (key, value) = entry?;
                seen.entry(key, value);
            }
        }
        Ok(Some(seen))
    }

    fn write_sorted(&self, batch: &Batch<'_>) -> Answer<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in batch.iter() {
            let value = value.ok_or("there is nothing to append")?;
            self.table.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?;
        }
        Ok(Some(txn.commit()?))
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        let mut txn = self.env.write_txn()?;
        let table: Database<Bytes, Bytes> = self.env.create_database(&mut txn, Some(name))?;
        txn.commit()?;
        let mut txn = self.env.write_txn()?;
        // SAFETY: nobody else has this database open.
        unsafe { table.remove(&mut txn) }?;
        Ok(Some(txn.commit()?))
    }

    fn drop_bucket(&self) -> Answer<()> {
        let mut txn = self.env.write_txn()?;
        // SAFETY: the store is not used again after this.
        unsafe { self.table.remove(&mut txn) }?;
        Ok(Some(txn.commit()?))
    }

    fn mixed(&self, queries: &Queries) -> Answer<()> {
        let mut txn = self.env.write_txn()?;
        for key in queries.iter() {
            self.table.put(&mut txn, key, MIXED_VALUE)?;
            self.table.put(&mut txn, key, MIXED_VALUE)?;
            std::hint::black_box(self.table.get(&txn, key)?);
            self.table.delete(&mut txn, key)?;
        }
        Ok(Some(txn.commit()?))
    }

    fn compact(&mut self, directory: &Path) -> Answer<u64> {
        let copy = directory.join("compact.mdb");
        self.env.copy_to_path(&copy, CompactionOption::Enabled)?;
        Ok(Some(std::fs::metadata(copy)?.len()))
    }
}
