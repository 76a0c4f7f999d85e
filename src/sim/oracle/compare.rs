//! Comparing a store with what it must hold (part of the oracle, layer L8).
//!
//! Owns: [`compare`] and [`compare_snapshots`]: a full dump in both directions, counts, edges,
//! seeks, lookups.
//! Must not know: operations. Keeps: a difference names the bucket and the key.

use super::contents::{Bucket, Contents};
use super::{CursorMove, Handle, Op, Oracle, Way};
use crate::error::{Error, Result};
use crate::seeded::seeded;
use crate::{BTree, Iter, ReadOnlyTxn, Snapshot};
use std::fmt;
use std::ops::Bound;

/// How a store differs from what it must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Difference {}

type Compared = std::result::Result<(), Difference>;

/// Of many entries only this many are looked up one by one; all of them are scanned.
const LOOKUPS: usize = 64;
/// Entries that a cursor goes up, and down again.
const CURSOR_STEPS: u32 = 20;

fn check(holds: bool, what: impl FnOnce() -> String) -> Compared {
    if holds || seeded!(OracleAlwaysEqual) { Ok(()) } else { Err(Difference(what())) }
}

/// Compares all that a store holds with what it must hold.
///
/// # Errors
/// The first difference, or an error of the store.
pub fn compare(db: &BTree, expected: &Contents) -> Compared {
    compare_state(db, expected)
}

/// Compares the snapshots that operations keep with those of the oracle.
///
/// # Errors
/// The first difference, or an error of the store.
pub fn compare_snapshots(store: &Handle, oracle: &Oracle) -> Compared {
    let (found, wanted) = (store.snapshots(), &oracle.snapshots);
    check(found.keys().eq(wanted.keys()), || "others are kept".to_owned())?;
    for ((slot, snapshot), expected) in found.iter().zip(wanted.values()) {
        let in_slot = |Difference(what)| Difference(format!("snapshot {slot}: {what}"));
        compare_state(snapshot, expected).map_err(in_slot)?;
    }
    Ok(())
}

/// Compares where the cursors stand that operations keep, and what they see on both sides: each
/// moves up, and down again.
pub(in crate::sim) fn compare_cursors(store: &mut Handle, oracle: &mut Oracle) -> Compared {
    let slots: Vec<u8> = oracle.cursors.keys().copied().collect();
    for slot in slots {
        for way in [Way::Up, Way::Down] {
            let op = Op::Cursor(CursorMove { slot, seek: None, way, most: CURSOR_STEPS });
            let (found, wanted) = (store.run(&op), oracle.apply(&op));
            check(found == wanted, || format!("{op:?} answers {found:?}, not {wanted:?}"))?;
        }
    }
    Ok(())
}

/// A state whose buckets can be read.
trait Readable {
    fn buckets(&self) -> Result<Vec<String>>;
    fn view(&self, bucket: &str, read: &mut dyn FnMut(&ReadOnlyTxn<'_>)) -> Result<()>;
}

macro_rules! readable {
    ($state:ty) => {
        impl Readable for $state {
            fn buckets(&self) -> Result<Vec<String>> {
                <$state>::buckets(self)
            }

            fn view(&self, bucket: &str, read: &mut dyn FnMut(&ReadOnlyTxn<'_>)) -> Result<()> {
                <$state>::view(self, bucket, |txn| {
                    read(txn);
                    Ok(())
                })
            }
        }
    };
}

readable!(BTree);
readable!(Snapshot);

fn compare_state(state: &dyn Readable, expected: &Contents) -> Compared {
    let names: Vec<&str> = expected.buckets().map(|(name, _)| name).collect();
    match state.buckets() {
        Ok(found) => {
            check(found == names, || format!("the buckets are {found:?}, not {names:?}"))?;
        }
        Err(error) => return Err(failed("buckets", error)),
    }
    for (name, bucket) in expected.buckets() {
        let mut result = Ok(());
        let viewed = state.view(name, &mut |txn| result = compare_bucket(txn, bucket));
        result.map_err(|Difference(what)| Difference(format!("bucket {name:?}: {what}")))?;
        viewed.map_err(|error| failed(name, error))?;
    }
    Ok(())
}

fn failed(what: &str, error: Error) -> Difference {
    match error.detail() {
        Some(detail) => Difference(format!("{what}: {error}: {detail}")),
        None => Difference(format!("{what}: {error}")),
    }
}

fn compare_bucket(txn: &ReadOnlyTxn<'_>, bucket: &Bucket) -> Compared {
    let (len, wanted) = (txn.len(), bucket.len());
    check(len == wanted as u64, || format!("len is {len}, not {wanted}"))?;
    check(txn.is_empty() == bucket.is_empty(), || "is_empty is wrong".to_owned())?;
    let edges = [
        ("first", txn.first(), bucket.first_key_value()),
        ("last", txn.last(), bucket.last_key_value()),
    ];
    for (edge, found, wanted) in edges {
        let found = found.map_err(|error| failed(edge, error))?;
        let wanted = wanted.map(|(key, value)| (key.bytes().to_vec(), value.bytes().to_vec()));
        check(found == wanted, || format!("{edge} is {found:?}, not {wanted:?}"))?;
    }
    let up = bucket.iter().map(|(key, value)| (key.bytes(), value.bytes()));
    scan("upwards", txn.iter(), Iter::next_ref, up.clone())?;
    scan("downwards", txn.iter(), Iter::prev_ref, up.rev())?;
    let every = (wanted / LOOKUPS).max(1);
    bucket
        .iter()
        .step_by(every)
        .try_for_each(|(key, value)| look_up(txn, bucket, key.bytes(), value.bytes()))
}

fn scan<'a>(
    way: &str,
    mut iter: Iter,
    step: fn(&mut Iter, &mut Vec<u8>, &mut Vec<u8>) -> bool,
    entries: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Compared {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for wanted in entries {
        let is_there = step(&mut iter, &mut key, &mut value);
        if let Some(error) = iter.error() {
            return Err(failed(way, error));
        }
        let name = wanted.0.escape_ascii();
        check(is_there, || format!("{way} the scan ends before \"{name}\""))?;
        check(key == wanted.0, || {
            format!("{way} comes \"{}\", not \"{name}\"", key.escape_ascii())
        })?;
        check(value == wanted.1, || {
            let (found, wanted) = (value.len(), wanted.1.len());
            format!("{way} \"{name}\" has another value, {found} bytes, not {wanted}")
        })?;
    }
    let is_there = step(&mut iter, &mut key, &mut value);
    check(!is_there, || format!("{way} \"{}\" is too much", key.escape_ascii()))?;
    iter.error().map_or(Ok(()), |error| Err(failed(way, error)))
}

/// Looks a key up, and seeks it and its neighbourhood.
fn look_up(txn: &ReadOnlyTxn<'_>, bucket: &Bucket, key: &[u8], value: &[u8]) -> Compared {
    let name = key.escape_ascii();
    let found = txn.get(key).map_err(|error| failed(&format!("get \"{name}\""), error))?;
    check(found == value, || format!("get \"{name}\" gives {} bytes", found.len()))?;
    let mut above = key.to_vec();
    above.push(0);
    for wanted in [key, &above, &key[..key.len() - 1]] {
        let name = wanted.escape_ascii();
        let seek = |error| failed(&format!("seek \"{name}\""), error);
        let from = (Bound::Included(wanted), Bound::Unbounded);
        let until = (Bound::Unbounded, Bound::Excluded(wanted));
        let next = bucket.range::<[u8], _>(from).next();
        let before = bucket.range::<[u8], _>(until).next_back();
        for (step, entry) in [
            (Iter::next_ref as fn(&mut Iter, &mut _, &mut _) -> bool, next),
            (Iter::prev_ref, before),
        ] {
            let mut iter = txn.iter_from(wanted).map_err(seek)?;
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let is_there = step(&mut iter, &mut key, &mut value);
            let found = is_there.then_some((key.as_slice(), value.as_slice()));
            let entry = entry.map(|(key, value)| (key.bytes(), value.bytes()));
            check(found == entry, || {
                let key = key.escape_ascii();
                format!("seek \"{name}\" leads to \"{key}\" (there: {is_there})")
            })?;
        }
    }
    Ok(())
}
