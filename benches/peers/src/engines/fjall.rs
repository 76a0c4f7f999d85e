//! fjall, a log-structured merge tree, with its journal synced at each commit.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
    directory_bytes,
};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::hint::black_box;
use std::path::Path;

pub const PEER: Peer =
    Peer { name: "fjall", open, lends: true, bulk_most: usize::MAX, is_durable: true };

struct Fjall {
    db: Database,
    pairs: Keyspace,
}

fn open(directory: &Path, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let db = Database::builder(directory).cache_size(cache_bytes).open()?;
    let pairs = db.keyspace(BUCKET, KeyspaceCreateOptions::default)?;
    Ok(Box::new(Fjall { db, pairs }))
}

#[inline]
fn look_up(value: Option<fjall::UserValue>, form: Form, seen: &mut Seen) {
    match (value, form) {
        (None, _) => {}
        (Some(value), Form::Borrowed) => seen.value(&value),
        (Some(value), Form::Copied) => seen.value(&black_box(value.to_vec())),
    }
}

impl Engine for Fjall {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let mut changes = self.db.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in batch.iter() {
            match value {
                Some(value) => changes.insert(&self.pairs, key, value),
                None => changes.remove(&self.pairs, key),
            }
        }
        Ok(changes.commit()?)
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        match scope {
            Scope::PerGet => {
                for key in queries.iter() {
                    look_up(self.pairs.get(key)?, form, &mut seen);
                }
            }
            Scope::Long => {
                let snapshot = self.db.snapshot();
                for key in queries.iter() {
                    look_up(snapshot.get(&self.pairs, key)?, form, &mut seen);
                }
            }
        }
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let mut seen = Seen::default();
        match direction {
            Direction::Forwards => {
                for entry in self.pairs.iter() {
                    let (key, value) = entry.into_inner()?;
                    seen.entry(&key, &value);
                }
            }
            Direction::Backwards => {
                for entry in self.pairs.iter().rev() {
                    let (key, value) = entry.into_inner()?;
                    seen.entry(&key, &value);
                }
            }
        }
        Ok(Some(seen))
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        let (snapshot, mut seen) = (self.db.snapshot(), Seen::default());
        for query in queries.iter() {
            for entry in snapshot.range(&self.pairs, query..).take(entries) {
                let (key, value) = entry.into_inner()?;
                seen.entry(&key, &value);
            }
        }
        Ok(Some(seen))
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        let made = self.db.keyspace(name, KeyspaceCreateOptions::default)?;
        self.db.persist(PersistMode::SyncData)?;
        self.db.delete_keyspace(made)?;
        self.db.persist(PersistMode::SyncData)?;
        Ok(Some(()))
    }

    fn drop_bucket(&self) -> Answer<()> {
        self.db.delete_keyspace(self.pairs.clone())?;
        self.db.persist(PersistMode::SyncData)?;
        Ok(Some(()))
    }

    /// Its batches cannot be read; so each get sees the state before.
    fn mixed(&self, queries: &Queries) -> Answer<()> {
        let mut changes = self.db.batch().durability(Some(PersistMode::SyncData));
        for key in queries.iter() {
            changes.insert(&self.pairs, key, MIXED_VALUE);
            changes.insert(&self.pairs, key, MIXED_VALUE);
            black_box(self.pairs.get(key)?);
            changes.remove(&self.pairs, key);
        }
        changes.commit()?;
        Ok(Some(()))
    }

    fn compact(&mut self, directory: &Path) -> Answer<u64> {
        self.pairs.rotate_memtable_and_wait()?;
        self.pairs.major_compact()?;
        directory_bytes(directory).map(Some)
    }
}
