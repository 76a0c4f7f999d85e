//! The workloads of the certificate: initial states, and what a transaction does.
//!
//! Owns: [`Initial`], [`Step`] and their effect on a model of the store's contents.
//! Must not know: crashes.
//! Keeps: what a step does follows from the contents before it alone.

use crate::{BTree, Durability, Error, Result, Txn};
use std::collections::BTreeMap;

/// The bucket that most workloads write to, and all checks.
pub(super) const BUCKET: &str = "b";

/// What a bucket holds.
pub(super) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a store holds.
pub(super) type Buckets = BTreeMap<String, Contents>;

/// What a store holds before a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Initial {
    /// No bucket.
    Empty,
    /// A few entries.
    OneLeaf,
    /// A root that has room for one more child.
    TwoLevels,
    /// A root, two branches or three, and leaves.
    ThreeLevels,
}

impl Initial {
    /// All of them.
    pub const ALL: [Initial; 4] =
        [Initial::Empty, Initial::OneLeaf, Initial::TwoLevels, Initial::ThreeLevels];

    /// Its name in certificates and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Initial::Empty => "empty",
            Initial::OneLeaf => "one-leaf",
            Initial::TwoLevels => "two-levels",
            Initial::ThreeLevels => "three-levels",
        }
    }

    /// How many entries it has, beside those of its last leaves.
    fn entries(self, sizes: Sizes) -> u32 {
        // Small pages have room for fewer of the separators.
        let is_small = sizes.page < 1024;
        match self {
            Initial::Empty => 0,
            Initial::OneLeaf => 3,
            Initial::TwoLevels => {
                if is_small {
                    36
                } else {
                    70
                }
            }
            Initial::ThreeLevels => {
                if is_small {
                    44
                } else {
                    80
                }
            }
        }
    }

    pub(super) fn contents(self, sizes: Sizes) -> Contents {
        let mut contents: Contents =
            (1..=self.entries(sizes)).map(|n| (sizes.key(n * 10), sizes.value(n, 0))).collect();
        if self > Initial::OneLeaf {
            // Leaves of keys unlike the others make separators long and branches small.
            contents.extend((0..8).map(|n| (format!("~{n}").into_bytes(), sizes.value(n, 1))));
        }
        contents
    }
}

/// What one transaction does, or what happens instead of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Puts an entry that fits into its leaf.
    PutNew,
    /// Puts a value of the same size in place of one.
    OverwriteSame,
    /// Puts a larger value in place of one.
    OverwriteLarger,
    /// Removes an entry.
    DeleteHit,
    /// Removes an entry that is not there.
    DeleteMiss,
    /// Puts entries that do not fit into one leaf.
    PutSplit,
    /// Removes entries until leaves are joined, and levels may go away.
    DeleteMerge,
    /// Puts a value of three pages, and one of a page that is written before the commit.
    PutPages,
    /// Removes a range.
    DeleteRange,
    /// Puts so much that the file grows.
    Grow,
    /// Overwrites and removes while a reader holds the state before.
    UnderReader,
    /// Compacts the file.
    Compact,
    /// Puts values of a page each, whose keys fill two leaves.
    PutLarge,
    /// Removes an entry, and then a range from the front that leaves one entry: the leaf that lost
    /// the first becomes the root, and loses more.
    DeleteToRoot,
    /// In an owned transaction, puts a value that comes from a reader, and a bulk behind all keys.
    FillOwned,
    /// Puts an entry into each of six buckets, which are too many for the meta page, and for one
    /// page.
    PutBuckets,
    /// Puts a value of three pages into one of them, and into another one of a page that is written
    /// before the commit.
    PutRuns,
    /// Removes one of them, that with the three pages if it is there.
    DropBucket,
    /// Removes all of them.
    DropBuckets,
}

impl Step {
    /// Those of the family that most parts of the certificate consist of.
    pub const ALL: [Step; 12] = [
        Step::PutNew,
        Step::OverwriteSame,
        Step::OverwriteLarger,
        Step::DeleteHit,
        Step::DeleteMiss,
        Step::PutSplit,
        Step::DeleteMerge,
        Step::PutPages,
        Step::DeleteRange,
        Step::Grow,
        Step::UnderReader,
        Step::Compact,
    ];

    /// Those of the family about roots.
    pub const OF_ROOTS: [Step; 5] =
        [Step::PutLarge, Step::DeleteToRoot, Step::FillOwned, Step::PutNew, Step::Compact];

    /// Those of the family about buckets.
    pub const OF_BUCKETS: [Step; 5] =
        [Step::PutBuckets, Step::PutRuns, Step::DropBucket, Step::DropBuckets, Step::Compact];

    /// Every step, once.
    pub(super) fn every() -> impl Iterator<Item = Step> {
        let others = Step::OF_ROOTS.into_iter().chain(Step::OF_BUCKETS);
        Step::ALL.into_iter().chain(others.filter(|step| !Step::ALL.contains(step)))
    }

    /// Its name in certificates and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Step::PutNew => "put-new",
            Step::OverwriteSame => "overwrite-same",
            Step::OverwriteLarger => "overwrite-larger",
            Step::DeleteHit => "delete-hit",
            Step::DeleteMiss => "delete-miss",
            Step::PutSplit => "put-split",
            Step::DeleteMerge => "delete-merge",
            Step::PutPages => "put-pages",
            Step::DeleteRange => "delete-range",
            Step::Grow => "grow",
            Step::UnderReader => "under-reader",
            Step::Compact => "compact",
            Step::PutLarge => "put-large",
            Step::DeleteToRoot => "delete-to-root",
            Step::FillOwned => "fill-owned",
            Step::PutBuckets => "put-buckets",
            Step::PutRuns => "put-runs",
            Step::DropBucket => "drop-bucket",
            Step::DropBuckets => "drop-buckets",
        }
    }

    /// What the step does to a store that holds this.
    pub(super) fn edits(self, buckets: &Buckets, sizes: Sizes) -> Vec<Edit> {
        let others = || buckets.keys().filter(|name| *name != BUCKET);
        match self {
            Step::PutBuckets => (0..6).map(|n| sizes.put_small_into(buckets, n)).collect(),
            Step::PutRuns => {
                let run = Edit::Put(sizes.key(5000), vec![b'p'; sizes.page * 5 / 2]);
                let early = Edit::PutFrom(sizes.key(5000), vec![b'e'; sizes.page]);
                let runs = [(1, run), (4, early)].into_iter();
                runs.map(|(n, edit)| Edit::In(sizes.bucket(n), Box::new(edit))).collect()
            }
            Step::DropBucket => {
                let wanted = sizes.bucket(1);
                let dropped = others().find(|name| **name >= wanted).or_else(|| others().next());
                dropped.cloned().map(Edit::Drop).into_iter().collect()
            }
            Step::DropBuckets => others().cloned().map(Edit::Drop).collect(),
            _ => {
                let none = Contents::new();
                self.edits_of_one(buckets.get(BUCKET).unwrap_or(&none), sizes)
            }
        }
    }

    /// What a step does that writes to one bucket, if it holds this.
    fn edits_of_one(self, contents: &Contents, sizes: Sizes) -> Vec<Edit> {
        let picked = |part: usize| contents.keys().nth(contents.len() * part / 8).cloned();
        let (early, middle) = (picked(2), picked(4));
        let middle = middle.unwrap_or_else(|| sizes.key(5000));
        let early = early.unwrap_or_else(|| middle.clone());
        match self {
            Step::PutNew => vec![Edit::Put(sizes.free_key(contents, &middle), sizes.small())],
            Step::OverwriteSame => {
                let len = contents.get(&middle).map_or(sizes.value_len(), Vec::len);
                vec![Edit::Put(middle, vec![b'o'; len])]
            }
            Step::OverwriteLarger => {
                let len = contents.get(&early).map_or(0, Vec::len).min(sizes.page);
                vec![Edit::Put(early, vec![b'l'; len + sizes.page / 8])]
            }
            Step::DeleteHit => vec![Edit::Delete(early)],
            Step::DeleteMiss => vec![Edit::Delete(sizes.key(9999))],
            Step::PutSplit => sizes.large_puts(contents, &middle, 3),
            Step::DeleteMerge => {
                let (from, to) = (contents.len() / 4, contents.len() * 3 / 4 + 1);
                let keys = contents.keys().skip(from).take(to - from);
                keys.map(|key| Edit::Delete(key.clone())).collect()
            }
            Step::PutPages => {
                let (key, value) =
                    (sizes.free_key(contents, &early), vec![b'p'; sizes.page * 5 / 2]);
                let mut held = contents.clone();
                held.insert(key.clone(), Vec::new());
                let early = Edit::PutFrom(sizes.free_key(&held, &early), vec![b'e'; sizes.page]);
                vec![Edit::Put(key, value), early]
            }
            Step::DeleteRange => {
                let to = contents.range(early.clone()..).nth(4).map(|(key, _)| key.clone());
                vec![Edit::DeleteRange(early, to.unwrap_or_else(|| sizes.key(9999)))]
            }
            Step::Grow => sizes.large_puts(contents, &sizes.key(7000), 24),
            Step::UnderReader => {
                vec![Edit::Put(middle, sizes.small()), Edit::Delete(early)]
            }
            Step::Compact
            | Step::PutBuckets
            | Step::PutRuns
            | Step::DropBucket
            | Step::DropBuckets => Vec::new(),
            Step::PutLarge => sizes.larges().map(|(key, value)| Edit::Put(key, value)).collect(),
            Step::DeleteToRoot => {
                let gone = contents.keys().nth_back(2).cloned().map(Edit::Delete);
                let last = contents.keys().next_back().cloned();
                let front = last.map(|last| Edit::DeleteRange(Vec::new(), last));
                gone.into_iter().chain(front).collect()
            }
            Step::FillOwned => {
                let early = Edit::PutFrom(sizes.free_key(contents, &early), vec![b'e'; sizes.page]);
                vec![early, Edit::Bulk(sizes.bulk_behind(contents))]
            }
        }
    }
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Put(Vec<u8>, Vec<u8>),
    /// Puts a value that comes from a reader.
    PutFrom(Vec<u8>, Vec<u8>),
    /// Puts entries behind all others.
    Bulk(Vec<(Vec<u8>, Vec<u8>)>),
    /// Removes a key, which may be missing.
    Delete(Vec<u8>),
    /// Removes the keys from the first to in front of the second.
    DeleteRange(Vec<u8>, Vec<u8>),
    /// Does this to another bucket.
    In(String, Box<Edit>),
    /// Removes another bucket.
    Drop(String),
}

/// Whether edits concern one bucket: that is made then, also where there are none.
fn is_of_one(edits: &[Edit]) -> bool {
    !edits.iter().any(|edit| matches!(edit, Edit::In(..) | Edit::Drop(_)))
}

/// Applies the edits of a transaction to a model.
pub(super) fn apply(buckets: &mut Buckets, edits: &[Edit]) {
    if is_of_one(edits) {
        buckets.entry(BUCKET.to_owned()).or_default();
    }
    for edit in edits {
        match edit {
            Edit::In(name, edit) => edit.apply(buckets.entry(name.clone()).or_default()),
            Edit::Drop(name) => drop(buckets.remove(name)),
            edit => edit.apply(buckets.entry(BUCKET.to_owned()).or_default()),
        }
    }
}

impl Edit {
    fn apply(&self, contents: &mut Contents) {
        match self {
            Edit::Put(key, value) | Edit::PutFrom(key, value) => {
                contents.insert(key.clone(), value.clone());
            }
            Edit::Bulk(entries) => contents.extend(entries.iter().cloned()),
            Edit::Delete(key) => {
                contents.remove(key);
            }
            Edit::DeleteRange(from, to) => contents.retain(|key, _| key < from || key >= to),
            Edit::In(..) | Edit::Drop(_) => unreachable!("a bucket holds no buckets"),
        }
    }

    fn carry_out(&self, txn: &mut Txn<'_>) -> Result<()> {
        match self {
            Edit::Put(key, value) => txn.put(key, value),
            Edit::PutFrom(key, value) => {
                txn.put_from(key, value.len() as u64, &mut value.as_slice())
            }
            Edit::Bulk(entries) => {
                txn.bulk_load(entries.iter().map(|(key, value)| (key, value))).map(drop)
            }
            Edit::Delete(key) => match txn.del(key) {
                Ok(()) | Err(Error::NotFound) => Ok(()),
                Err(error) => Err(error),
            },
            Edit::DeleteRange(from, to) => txn.delete_range(from..to).map(drop),
            Edit::In(..) | Edit::Drop(_) => unreachable!("a bucket holds no buckets"),
        }
    }
}

/// Applies edits to a store, in one durable transaction.
pub(super) fn commit(db: &BTree, edits: &[Edit]) -> Result<()> {
    commit_as(db, edits, Durability::Durable)
}

/// Applies edits to a store, in one transaction.
pub(super) fn commit_as(db: &BTree, edits: &[Edit], durability: Durability) -> Result<()> {
    if is_of_one(edits) {
        return db.exec(BUCKET, |txn| {
            txn.set_durability(durability);
            edits.iter().try_for_each(|edit| edit.carry_out(txn))
        });
    }
    db.exec_multi(|multi| {
        multi.set_durability(durability);
        edits.iter().try_for_each(|edit| match edit {
            Edit::In(name, edit) => multi.exec(name, |txn| edit.carry_out(txn)),
            Edit::Drop(name) => multi.del_bucket(name),
            edit => multi.exec(BUCKET, |txn| edit.carry_out(txn)),
        })
    })
}

/// Applies edits to a store, in an owned transaction.
pub(super) fn commit_owned(db: &BTree, edits: &[Edit]) -> Result<()> {
    let txn = db.begin();
    let mut bucket = txn.bucket(BUCKET)?;
    for edit in edits {
        match edit {
            Edit::Put(key, value) => bucket.put(key, value)?,
            Edit::PutFrom(key, value) => {
                bucket.put_from(key, value.len() as u64, &mut value.as_slice())?;
            }
            Edit::Bulk(entries) => {
                bucket.bulk_load(entries.iter().map(|(key, value)| (key, value)))?;
            }
            Edit::Delete(key) => match bucket.del(key) {
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            },
            Edit::DeleteRange(from, to) => {
                bucket.delete_range(from..to)?;
            }
            Edit::In(..) | Edit::Drop(_) => unreachable!("owned transactions write to one bucket"),
        }
    }
    drop(bucket);
    txn.commit()
}

/// The sizes of keys and values, which grow with the page, so that trees have the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The page size in bytes.
    pub(super) page: usize,
}

impl Sizes {
    pub(super) fn key(self, n: u32) -> Vec<u8> {
        let mut key = vec![b'k'; self.page / 16];
        key.extend_from_slice(format!("{n:04}").as_bytes());
        key
    }

    /// The length of an ordinary value: four fit into a leaf, and leave some room.
    fn value_len(self) -> usize {
        self.page * 5 / 32
    }

    pub(super) fn value(self, n: u32, version: u8) -> Vec<u8> {
        let mut value = vec![b'0' + version; self.value_len()];
        value[..4].copy_from_slice(&n.to_le_bytes());
        value
    }

    fn small(self) -> Vec<u8> {
        vec![b's'; self.page / 32]
    }

    /// The first key behind `near` that nobody has.
    fn free_key(self, contents: &Contents, near: &[u8]) -> Vec<u8> {
        let digits = near.len().saturating_sub(4);
        let number = std::str::from_utf8(&near[digits..]).ok().and_then(|text| text.parse().ok());
        let mut n: u32 = number.unwrap_or(1);
        while contents.contains_key(&self.key(n)) {
            n += 1;
        }
        self.key(n)
    }

    /// Entries of which five fill a leaf, with values of a page each.
    fn larges(self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        (0..10_u8).map(move |n| {
            let mut key = format!("large {n}").into_bytes();
            key.resize(self.page / 8, b'l');
            (key, vec![b'0' + n; self.page * 3 / 4])
        })
    }

    /// Small entries behind all others.
    fn bulk_behind(self, contents: &Contents) -> Vec<(Vec<u8>, Vec<u8>)> {
        let last = contents.keys().next_back().filter(|key| key[0] == u8::MAX);
        let first = last.map_or(0, |key| key[1] + 1);
        (0..4).map(|n| (vec![u8::MAX, first + n], self.small())).collect()
    }

    /// The name of one of the buckets beside the first: five records of such fill a page.
    fn bucket(self, n: u32) -> String {
        let mut name = format!("bucket {n} ");
        name.extend(std::iter::repeat_n('n', self.page / 8 - name.len()));
        name
    }

    /// Puts an entry that is not there into one of these buckets.
    fn put_small_into(self, buckets: &Buckets, n: u32) -> Edit {
        let (name, none) = (self.bucket(n), Contents::new());
        let contents = buckets.get(&name).unwrap_or(&none);
        let put = Edit::Put(self.free_key(contents, &self.key(1)), self.small());
        Edit::In(name, Box::new(put))
    }

    /// Puts of values of which two fill a leaf.
    fn large_puts(self, contents: &Contents, near: &[u8], count: usize) -> Vec<Edit> {
        let mut held = contents.clone();
        let mut edits = Vec::new();
        for _ in 0..count {
            let key = self.free_key(&held, near);
            let value = vec![b'x'; self.page * 11 / 32];
            held.insert(key.clone(), value.clone());
            edits.push(Edit::Put(key, value));
        }
        edits
    }
}
