//! What a store holds, as a plain map (part of the oracle, layer L8).
//!
//! Owns: [`Contents`], and the record by which a change of it is taken back.
//! Must not know: transactions, limits. Keeps: a change and its undoing leave what was before.

use super::op::Data;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The entries of a bucket.
pub type Bucket = BTreeMap<Data, Data>;

/// What a store holds: its buckets and their entries. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    buckets: BTreeMap<Arc<str>, Arc<Bucket>>,
}

/// How one change is taken back.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Entry { bucket: Arc<str>, key: Data, old: Option<Data> },
    Bucket { name: Arc<str>, old: Option<Arc<Bucket>> },
}

/// Takes changes back until `mark` of them are left, the latest first.
pub(super) fn roll_back(contents: &mut Contents, undo: &mut Vec<Undo>, mark: usize) {
    for change in undo.drain(mark..).rev() {
        contents.take_back(&change);
    }
}

impl Contents {
    /// The buckets by name.
    pub fn buckets(&self) -> impl Iterator<Item = (&str, &Bucket)> {
        self.buckets.iter().map(|(name, bucket)| (&**name, &**bucket))
    }

    /// A bucket.
    pub fn bucket(&self, name: &str) -> Option<&Bucket> {
        self.buckets.get(name).map(|bucket| &**bucket)
    }

    pub(super) fn shared(&self, name: &str) -> Option<Arc<Bucket>> {
        self.buckets.get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.buckets.keys().map(ToString::to_string).collect()
    }

    /// Makes a bucket that is missing.
    pub(super) fn create(&mut self, name: &Arc<str>, undo: &mut Vec<Undo>) {
        self.buckets.insert(Arc::clone(name), Arc::default());
        undo.push(Undo::Bucket { name: Arc::clone(name), old: None });
    }

    /// Removes a bucket; `false` when there is none.
    pub(super) fn drop_bucket(&mut self, name: &str, undo: &mut Vec<Undo>) -> bool {
        let Some((name, old)) = self.buckets.remove_entry(name) else { return false };
        undo.push(Undo::Bucket { name, old: Some(old) });
        true
    }

    /// Sets or removes an entry of a bucket that exists.
    pub(super) fn set(
        &mut self,
        name: &Arc<str>,
        key: &Data,
        value: Option<&Data>,
        undo: &mut Vec<Undo>,
    ) {
        let bucket = self.buckets.get_mut(name).expect("the transaction's bucket exists");
        let bucket = Arc::make_mut(bucket);
        let old = match value {
            Some(value) => bucket.insert(key.clone(), value.clone()),
            None => bucket.remove(key),
        };
        undo.push(Undo::Entry { bucket: Arc::clone(name), key: key.clone(), old });
    }

    /// Whether each bucket that these changes name is missing now and was before, or is empty now
    /// and was before. Such changes need no commit.
    pub(super) fn is_hollow_as_before(&self, changes: &[Undo]) -> bool {
        let names = changes.iter().map(|change| match change {
            Undo::Entry { bucket: name, .. } | Undo::Bucket { name, .. } => name,
        });
        let len = |contents: &Contents, name: &str| contents.bucket(name).map(Bucket::len);
        if changes.is_empty() || names.clone().any(|name| len(self, name).unwrap_or(0) > 0) {
            return false;
        }
        let mut before = self.clone();
        changes.iter().rev().for_each(|change| before.take_back(change));
        names.into_iter().all(|name| len(&before, name) == len(self, name))
    }

    pub(super) fn take_back(&mut self, change: &Undo) {
        match change {
            Undo::Bucket { name, old: Some(old) } => {
                self.buckets.insert(Arc::clone(name), Arc::clone(old));
            }
            Undo::Bucket { name, old: None } => {
                self.buckets.remove(name);
            }
            Undo::Entry { bucket, key, old } => {
                let bucket = self.buckets.get_mut(bucket).expect("undoing goes backwards");
                let bucket = Arc::make_mut(bucket);
                match old {
                    Some(old) => bucket.insert(key.clone(), old.clone()),
                    None => bucket.remove(key),
                };
            }
        }
    }
}

/// The keys of a bucket in a range; none in a range that ends before it begins.
pub(super) fn keys_in(bucket: &Bucket, start: &Bound<Data>, end: &Bound<Data>) -> Vec<Data> {
    let is_in = |key: &Data| {
        let above = match start {
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
            Bound::Unbounded => true,
        };
        let below = match end {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        above && below
    };
    bucket.keys().filter(|key| is_in(key)).cloned().collect()
}
