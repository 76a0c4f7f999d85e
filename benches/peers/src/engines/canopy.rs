//! canopydb, with its log synced at each commit and the checksums of its pages on.

use crate::data::Queries;
use crate::engine::{
    Answer, BUCKET, Batch, Direction, Engine, Form, MIXED_VALUE, Peer, Result, Scope, Seen,
    directory_bytes,
};
use canopydb::{Database, DbOptions, EnvOptions, Tree};
use std::hint::black_box;
use std::path::Path;

pub const PEER: Peer =
    Peer { name: "canopydb", open, lends: true, bulk_most: usize::MAX, is_durable: true };

const MISSING: &str = "the tree is missing";

struct Canopy(Database);

fn open(directory: &Path, cache_bytes: u64) -> Result<Box<dyn Engine>> {
    let mut environment = EnvOptions::new(directory);
    environment.page_cache_size = usize::try_from(cache_bytes)?;
    environment.use_checksums = true;
    let mut options = DbOptions::new();
    options.default_commit_sync = true;
    let db = Database::with_options(environment, options)?;
    let txn = db.begin_write()?;
    txn.get_or_create_tree(BUCKET.as_bytes())?;
    txn.commit()?;
    Ok(Box::new(Canopy(db)))
}

#[inline]
fn look_up(tree: &Tree<'_>, key: &[u8], form: Form, seen: &mut Seen) -> Result<()> {
    match (tree.get(key)?, form) {
        (None, _) => {}
        (Some(value), Form::Borrowed) => seen.value(&value),
        (Some(value), Form::Copied) => seen.value(&black_box(value.to_vec())),
    }
    Ok(())
}

impl Engine for Canopy {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let txn = self.0.begin_write()?;
        {
            let mut tree = txn.get_or_create_tree(BUCKET.as_bytes())?;
            for (key, value) in batch.iter() {
                match value {
                    Some(value) => tree.insert(key, value)?,
                    None => {
                        tree.delete(key)?;
                    }
                }
            }
        }
        txn.commit()?;
        Ok(())
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        match scope {
            Scope::PerGet => {
                for key in queries.iter() {
                    let txn = self.0.begin_read()?;
                    let tree = txn.get_tree(BUCKET.as_bytes())?.ok_or(MISSING)?;
                    look_up(&tree, key, form, &mut seen)?;
                }
            }
            Scope::Long => {
                let txn = self.0.begin_read()?;
                let tree = txn.get_tree(BUCKET.as_bytes())?.ok_or(MISSING)?;
                for key in queries.iter() {
                    look_up(&tree, key, form, &mut seen)?;
                }
            }
        }
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let (txn, mut seen) = (self.0.begin_read()?, Seen::default());
        let tree = txn.get_tree(BUCKET.as_bytes())?.ok_or(MISSING)?;
        match direction {
            Direction::Forwards => {
                for entry in tree.iter()? {
                    let (key, value) = entry?;
                    seen.entry(&key, &value);
                }
            }
            Direction::Backwards => {
                for entry in tree.iter()?.rev() {
                    let (key, value) = entry?;
                    seen.entry(&key, &value);
                }
            }
        }
        Ok(Some(seen))
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        let (txn, mut seen) = (self.0.begin_read()?, Seen::default());
        let tree = txn.get_tree(BUCKET.as_bytes())?.ok_or(MISSING)?;
        for query in queries.iter() {
            for entry in tree.range(query..)?.take(entries) {
                let (key, value) = entry?;
                seen.entry(&key, &value);
            }
        }
        Ok(Some(seen))
    }

    fn create_and_drop(&self, name: &str) -> Answer<()> {
        let txn = self.0.begin_write()?;
        txn.get_or_create_tree(name.as_bytes())?;
        txn.commit()?;
        let txn = self.0.begin_write()?;
        txn.delete_tree(name.as_bytes())?;
        txn.commit()?;
        Ok(Some(()))
    }

    fn drop_bucket(&self) -> Answer<()> {
        let txn = self.0.begin_write()?;
        txn.delete_tree(BUCKET.as_bytes())?;
        txn.commit()?;
        Ok(Some(()))
    }

    fn mixed(&self, queries: &Queries) -> Answer<()> {
        let txn = self.0.begin_write()?;
        {
            let mut tree = txn.get_or_create_tree(BUCKET.as_bytes())?;
            for key in queries.iter() {
                tree.insert(key, MIXED_VALUE)?;
                tree.insert(key, MIXED_VALUE)?;
                black_box(tree.get(key)?);
                tree.delete(key)?;
            }
        }
        txn.commit()?;
        Ok(Some(()))
    }

    fn compact(&mut self, directory: &Path) -> Answer<u64> {
        self.0.compact()?;
        directory_bytes(directory).map(Some)
    }
}
