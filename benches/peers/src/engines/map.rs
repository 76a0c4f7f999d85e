//! The standard library's map behind a lock: what memory alone costs. Nothing of it is durable.

use crate::data::Queries;
use crate::engine::{Answer, Batch, Direction, Engine, Form, Peer, Result, Scope, Seen};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

pub const PEER: Peer =
    Peer { name: "BTreeMap", open, lends: true, bulk_most: usize::MAX, is_durable: false };

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct Map(RwLock<Pairs>);

fn open(_directory: &Path, _cache_bytes: u64) -> Result<Box<dyn Engine>> {
    Ok(Box::new(Map::default()))
}

impl Map {
    fn read(&self) -> RwLockReadGuard<'_, Pairs> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look_up(pairs: &Pairs, key: &[u8], form: Form, seen: &mut Seen) {
    match (pairs.get(key), form) {
        (None, _) => {}
        (Some(value), Form::Borrowed) => seen.value(value),
        (Some(value), Form::Copied) => seen.value(&std::hint::black_box(value.clone())),
    }
}

impl Engine for Map {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        let mut pairs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch.iter() {
            match value {
                Some(value) => pairs.insert(key.to_vec(), value.to_vec()),
                None => pairs.remove(key),
            };
        }
        Ok(())
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        let mut seen = Seen::default();
        match scope {
            Scope::PerGet => {
                queries.iter().for_each(|key| look_up(&self.read(), key, form, &mut seen));
            }
            Scope::Long => {
                let pairs = self.read();
                queries.iter().for_each(|key| look_up(&pairs, key, form, &mut seen));
            }
        }
        Ok(Some(seen))
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        let (pairs, mut seen) = (self.read(), Seen::default());
        match direction {
            Direction::Forwards => pairs.iter().for_each(|(key, value)| seen.entry(key, value)),
            Direction::Backwards => {
                pairs.iter().rev().for_each(|(key, value)| seen.entry(key, value));
            }
        }
        Ok(Some(seen))
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        let (pairs, mut seen) = (self.read(), Seen::default());
        for query in queries.iter() {
            let from = pairs.range::<[u8], _>((Bound::Included(query), Bound::Unbounded));
            from.take(entries).for_each(|(key, value)| seen.entry(key, value));
        }
        Ok(Some(seen))
    }
}
