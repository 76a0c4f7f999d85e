//! What every engine is asked to do. The loops are inside the engines, so that none pays for a
//! dynamic call per operation.

use crate::data::{Data, Queries};
use std::path::Path;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What an engine answers: `None` when it offers no such thing.
pub type Answer<T> = Result<Option<T>>;

/// The bucket, table or database that holds the pairs.
pub const BUCKET: &str = "bench";

/// What the mixed transactions write.
pub const MIXED_VALUE: &[u8] = b"value";

/// How many reads a transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One each.
    PerGet,
    /// All of them.
    Long,
}

/// How a value comes to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lent, without a copy.
    Borrowed,
    /// As bytes of its own.
    Copied,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forwards,
    Backwards,
}

/// What is done with each pair of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Written, with the value of this version.
    Put(usize),
    Remove,
}

/// Changes that are made durable together.
pub struct Batch<'d> {
    pub data: &'d Data,
    /// The numbers of the pairs.
    pub pairs: &'d [u32],
    pub change: Change,
}

impl<'d> Batch<'d> {
    pub fn put(data: &'d Data, pairs: &'d [u32]) -> Batch<'d> {
        Batch { data, pairs, change: Change::Put(0) }
    }

    /// Keys, with the value to write or `None` to remove.
    pub fn iter(&self) -> impl Iterator<Item = (&'d [u8], Option<&'d [u8]>)> {
        let (data, change) = (self.data, self.change);
        self.pairs.iter().map(move |pair| {
            let pair = *pair as usize;
            let value = match change {
                Change::Put(version) => Some(data.value(pair, version)),
                Change::Remove => None,
            };
            (data.key(pair), value)
        })
    }
}

/// What a read has seen: compared between engines and with the pairs themselves, so that all have
/// done the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub entries: u64,
    /// The sum of the first bytes of the values, and of the last bytes of a scan's keys.
    pub sum: u64,
}

impl Seen {
    /// What gets of these keys see in a store that was loaded and not changed.
    pub fn expected(data: &Data, queries: &Queries) -> Seen {
        let mut seen = Seen::default();
        queries.pairs().iter().for_each(|pair| seen.value(data.value(*pair as usize, 0)));
        seen
    }

    #[inline]
    pub fn value(&mut self, value: &[u8]) {
        self.entries += 1;
        self.sum += u64::from(value.first().copied().unwrap_or(0));
    }

    #[inline]
    pub fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.value(value);
        self.sum += u64::from(key.last().copied().unwrap_or(0));
    }
}

/// An open store.
pub trait Engine: Send + Sync {
    /// Makes the changes, in one transaction, durable before it returns.
    fn write(&self, batch: &Batch<'_>) -> Result<()>;

    /// Puts pairs with ascending keys behind all others, by what the engine has for that.
    fn write_sorted(&self, _batch: &Batch<'_>) -> Answer<()> {
        Ok(None)
    }

    /// Looks every key up.
    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen>;

    /// Looks the keys up in groups.
    fn get_many(&self, _queries: &Queries, _group: usize) -> Answer<Seen> {
        Ok(None)
    }

    /// Steps over all entries, lent.
    fn scan(&self, direction: Direction) -> Answer<Seen>;

    /// From each key on, steps over some entries, in one transaction.
    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen>;

    /// Makes a bucket, durably, and drops it, durably.
    fn create_and_drop(&self, _name: &str) -> Answer<()> {
        Ok(None)
    }

    /// Drops the bucket that holds the pairs, durably.
    fn drop_bucket(&self) -> Answer<()> {
        Ok(None)
    }

    /// In one durable transaction, on each key in turn: a put, an update, a get and a removal.
    fn mixed(&self, _queries: &Queries) -> Answer<()> {
        Ok(None)
    }

    /// Makes the files as small as it can. Returns their bytes.
    fn compact(&mut self, _directory: &Path) -> Answer<u64> {
        Ok(None)
    }
}

/// The bytes of all files in a directory.
pub fn directory_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes +=
            if kind.is_dir() { directory_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// How engines are opened.
#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    /// Opens or creates a store in an existing directory, with so many bytes of cache.
    pub open: fn(&Path, u64) -> Result<Box<dyn Engine>>,
    /// Where the values come lent, without a copy.
    pub lends: bool,
    /// Pairs that it can take in one transaction without taking minutes.
    pub bulk_most: usize,
    /// It keeps what it is given on a disk.
    pub is_durable: bool,
}
