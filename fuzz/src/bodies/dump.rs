//! What a store answers when everything in it is asked for, errors included.

use btree_store::{BTree, Error, Iter, Result};
use std::collections::BTreeMap;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The entries of all buckets of a state that is known.
pub type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Entries that are read of one bucket: pages that are linked in a circle have no end.
const ENTRIES_MAX: usize = 20_000;

/// What a cursor came over, and why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub entries: Vec<Entry>,
    pub error: Option<Error>,
}

/// A bucket, read in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub len: u64,
    pub up: Scan,
    pub down: Scan,
}

/// All buckets, or why they cannot be listed.
pub type Dump = Result<BTreeMap<String, Result<Bucket>>>;

/// Reads everything.
pub fn read(db: &BTree) -> Dump {
    let names = db.buckets()?;
    let read = |name: String| {
        let bucket = read_bucket(db, &name);
        (name, bucket)
    };
    Ok(names.into_iter().map(read).collect())
}

fn read_bucket(db: &BTree, name: &str) -> Result<Bucket> {
    let mut read = Err(Error::Internal);
    let viewed = db.view(name, |txn| {
        let up = scan(txn.iter(), Iter::next_ref);
        let down = scan(txn.iter(), Iter::prev_ref);
        read = Ok(Bucket { len: txn.len(), up, down });
        Ok(())
    });
    match (viewed, read) {
        (Ok(()), read) => read,
        // An error of a cursor is one of its transaction.
        (Err(error), Ok(bucket)) if bucket.up.error.or(bucket.down.error) == Some(error) => {
            Ok(bucket)
        }
        (Err(error), Ok(bucket)) => panic!("the view fails with {error:?}, its scans: {bucket:?}"),
        (Err(error), Err(_)) => Err(error),
    }
}

fn scan(mut iter: Iter, step: fn(&mut Iter, &mut Vec<u8>, &mut Vec<u8>) -> bool) -> Scan {
    let (mut key, mut value, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    while entries.len() < ENTRIES_MAX && step(&mut iter, &mut key, &mut value) {
        entries.push((key.clone(), value.clone()));
    }
    let error = iter.error();
    assert!(matches!(error, None | Some(Error::Corruption)), "bad bytes lead to {error:?}");
    Scan { entries, error }
}

/// Asks for everything in the other ways that there are. Only the kind of an error is judged.
pub fn poke(db: &BTree, dump: &Dump) {
    let Ok(buckets) = dump else { return };
    for (name, bucket) in buckets {
        judge(db.view(name, |txn| {
            judge(txn.first());
            txn.last()
        }));
        let Ok(bucket) = bucket else { continue };
        for (key, _) in bucket.up.entries.iter().step_by(1 + bucket.up.entries.len() / 16) {
            judge(db.view(name, |txn| txn.get(key)));
            judge(db.view(name, |txn| {
                let mut iter = txn.iter_from(&key[..key.len() - 1])?;
                let (mut key, mut value) = (Vec::new(), Vec::new());
                Ok(iter.next_ref(&mut key, &mut value) || iter.prev_ref(&mut key, &mut value))
            }));
        }
    }
}

/// Bad bytes are a corruption; a key that is not found may be one of a tree that is none.
pub fn judge<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Corruption) => {
            let detail = Error::Corruption.detail();
            assert!(detail.is_some(), "a corruption says what is wrong");
            None
        }
        Err(Error::NotFound) => None,
        Err(error) => panic!("bad bytes lead to {error:?}: {:?}", error.detail()),
    }
}

/// What a sound file holds: every scan ends well, both directions agree, and so does the count.
pub fn contents(dump: &Dump) -> Contents {
    let buckets = dump.as_ref().unwrap_or_else(|error| panic!("no buckets: {error:?}"));
    let read = |(name, bucket): (&String, &Result<Bucket>)| {
        let bucket = bucket.as_ref().unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!((bucket.up.error, bucket.down.error), (None, None), "{name}");
        assert!(bucket.up.entries.iter().eq(bucket.down.entries.iter().rev()), "{name}");
        assert_eq!(bucket.len, bucket.up.entries.len() as u64, "{name}");
        (name.clone(), bucket.up.entries.iter().cloned().collect())
    };
    buckets.iter().map(read).collect()
}

/// Whether all that was answered is right in this state. What was refused as damaged is no answer.
pub fn agrees(db: &BTree, dump: &Dump, state: &Contents) -> bool {
    scans_agree(dump, state) && state.iter().all(|(name, entries)| gets_agree(db, name, entries))
}

fn scans_agree(dump: &Dump, state: &Contents) -> bool {
    let buckets = match dump {
        Ok(buckets) => buckets,
        Err(error) => return *error == Error::Corruption,
    };
    buckets.keys().eq(state.keys())
        && buckets.values().zip(state.values()).all(|(bucket, entries)| match bucket {
            Err(error) => *error == Error::Corruption,
            Ok(bucket) => {
                bucket.len == entries.len() as u64
                    && begins(&bucket.up, entries.iter())
                    && begins(&bucket.down, entries.iter().rev())
            }
        })
}

/// Whether a scan came over the first of these entries; over all, if it ended well.
fn begins<'a>(scan: &Scan, mut entries: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> bool {
    scan.entries.iter().all(|(key, value)| entries.next() == Some((key, value)))
        && (scan.error.is_some() || entries.next().is_none())
}

fn gets_agree(db: &BTree, name: &str, entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
    let len = db.view(name, |txn| Ok(txn.len()));
    if len != Ok(entries.len() as u64) && len != Err(Error::Corruption) {
        return false;
    }
    entries.iter().step_by(1 + entries.len() / 16).all(|(key, value)| {
        let found = db.view(name, |txn| txn.get(key));
        found.as_ref() == Ok(value) || found == Err(Error::Corruption)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one_entry() -> BTree {
        let db = btree_store::Options::new().open_in_memory().unwrap();
        db.exec("b", |txn| txn.put("k", "v")).unwrap();
        db
    }

    #[test]
    fn a_bucket_that_is_denied_is_a_lie() {
        let db = of_one_entry();
        let state = contents(&read(&db));
        assert!(agrees(&db, &read(&db), &state));
        let denied = Ok(BTreeMap::from([("b".to_owned(), Err(Error::NotFound))]));
        assert!(!agrees(&db, &denied, &state));
    }

    #[test]
    fn what_cannot_be_listed_is_asked_for_all_the_same() {
        let db = of_one_entry();
        let entries = BTreeMap::from([(b"k".to_vec(), b"other".to_vec())]);
        let other = BTreeMap::from([("b".to_owned(), entries)]);
        assert!(!agrees(&db, &Err(Error::Corruption), &other));
    }
}
