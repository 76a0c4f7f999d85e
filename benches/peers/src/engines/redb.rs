//! redb, with its default durability: every commit is synced.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
    directory_bytes,
};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

pub const PEER: Peer =
    Peer { name: "redb", open, lends: true, bulk_most: usize::MAX, is_durable: true };

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new(BUCKET);

struct Redb(Database);

fn open(directory: &Path, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let cache_bytes = usize::try_from(cache_bytes)?;
    let mut builder = Database::builder();
    let db = builder.set_cache_size(cache_bytes).create(directory.join("data.redb"))?;
    // Only where it is missing: a commit is not what opening is to be charged for.
    if db.begin_read()?.open_table(TABLE).is_err() {
        let txn = db.begin_write()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
    }
    Ok(Box::new(Redb(db)))
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Redb {
    fn table(&self) -> Result<Table> {
        Ok(self.0.begin_read()?.open_table(TABLE)?)
    }
}

#[inline]
fn look_up(table: &Table, key: &[u8], form: Form, seen: &mut Seen) -> Result<()> {
    match (table.get(key)?, form) {
        (None, _) => {}
        (Some(guard), Form::Borrowed) => seen.value(guard.value()),
        (Some(guard), Form::Copied) => seen.value(&std::hint::black_box(guard.value().to_vec())),
    }
    Ok(())
}

impl Engine for Redb {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let txn = self.0.begin_write()?;
        {
            let mut table = txn.open_table(TABLE)?;
            for (key, value) in batch.iter() {
                match value {
                    Some(value) => table.insert(key, value)?,
                    None => table.remove(key)?,
                };
            }
        }
        Ok(txn.commit()?)
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        match scope {
            Scope::PerGet => {
                for key in queries.iter() {
                    look_up(&self.table()?, key, form, &mut seen)?;
                }
            }
            Scope::Long => {
                let table = self.table()?;
                for key in queries.iter() {
                    look_up(&table, key, form, &mut seen)?;
                }
            }
        }
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let (table, mut seen) = (self.table()?, Seen::default());
        match direction {
            Direction::Forwards => {
                for entry in table.iter()? {
                    let (key, value) = entry?;
                    seen.entry(key.value(), value.value());
                }
            }
            Direction::Backwards => {
                for entry in table.iter()?.rev() {
                    let (key, value) = entry?;
                    seen.entry(key.value(), value.value());
                }
            }
        }
        Ok(Some(seen))
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        let (table, mut seen) = (self.table()?, Seen::default());
        for query in queries.iter() {
            for entry in table.range(query..)?.take(entries) {
                let (key, value) = entry?;
                seen.entry(key.value(), value.value());
            }
        }
        Ok(Some(seen))
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        let table: TableDefinition<&[u8], &[u8]> = TableDefinition::new(name);
        let txn = self.0.begin_write()?;
        txn.open_table(table)?;
        txn.commit()?;
        let txn = self.0.begin_write()?;
        txn.delete_table(table)?;
        Ok(Some(txn.commit()?))
    }

    fn drop_bucket(&self) -> Answer<()> {
        let txn = self.0.begin_write()?;
        txn.delete_table(TABLE)?;
        Ok(Some(txn.commit()?))
    }

    fn mixed(&self, queries: &Queries) -> Answer<()> {
        let txn = self.0.begin_write()?;
        {
            let mut table = txn.open_table(TABLE)?;
            for key in queries.iter() {
                table.insert(key, MIXED_VALUE)?;
                table.insert(key, MIXED_VALUE)?;
                std::hint::black_box(table.get(key)?.map(|value| value.value().len()));
                table.remove(key)?;
            }
        }
        Ok(Some(txn.commit()?))
    }

    fn compact(&mut self, directory: &Path) -> Answer<u64> {
        self.0.compact()?;
        directory_bytes(directory).map(Some)
    }
}
