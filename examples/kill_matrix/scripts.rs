//! Small stores with rare shapes, and plain ways to look at one.

use crate::matrix::budget::{Checked, Kill, ensure};
use btree_store::vfs::Vfs;
use btree_store::{BTree, Error, Options};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const PATH: &str = "store";
pub const PAGE: u32 = 512;

/// All that a store holds.
pub type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

pub fn options(vfs: Arc<dyn Vfs>) -> Options {
    Options::new().page_size(PAGE).cache_bytes(4 * u64::from(PAGE)).vfs(vfs)
}

/// The same with a cache that keeps large values, too.
pub fn roomy(vfs: Arc<dyn Vfs>) -> Options {
    options(vfs).cache_bytes(128 * u64::from(PAGE))
}

/// A long key, so that a few dozen entries make a tree of three levels.
pub fn key(n: u32) -> Vec<u8> {
    let mut key = format!("{n:04}").into_bytes();
    key.resize(96, b'k');
    key
}

pub fn value(n: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at + n as usize * 7) % 251).unwrap_or(0)).collect()
}

/// Reads a whole store, in both directions; an error that a cursor met is the result.
pub fn dump(db: &BTree) -> Result<Contents, Error> {
    let mut contents = Contents::new();
    for name in db.buckets()? {
        let entries = db.view(&name, |txn| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let mut entries = BTreeMap::new();
            let mut iter = txn.iter();
            while iter.next_ref(&mut key, &mut value) {
                entries.insert(key.clone(), value.clone());
            }
            iter.error().map_or(Ok(()), Err)?;
            let mut iter = txn.iter();
            let mut left = entries.iter().rev();
            while iter.prev_ref(&mut key, &mut value) {
                if left.next() != Some((&key, &value)) {
                    return Err(Error::Internal);
                }
            }
            iter.error().map_or(Ok(()), Err)?;
            if left.next().is_some() || txn.len() != entries.len() as u64 {
                return Err(Error::Internal);
            }
            for (key, value) in &entries {
                if txn.get(key)? != *value {
                    return Err(Error::Internal);
                }
            }
            Ok(entries)
        })?;
        contents.insert(name, entries);
    }
    Ok(contents)
}

/// The file is sound, and what the store says of its pages is what the file says.
pub fn check_pages(db: &BTree) -> Checked {
    let report = db.verify()?;
    ensure(report.is_sound() && report.refused.is_empty(), || format!("{report}"))?;
    let accepted = report.accepted().ok_or(Kill("no state".into()))?;
    let stats = db.stats()?;
    let told = (u64::from(stats.page_count), stats.free_pages, stats.pending_pages);
    let found = (u64::from(accepted.page_count), accepted.free, accepted.pending);
    // Pages that a reader holds, or that nobody has asked for since, may still count as pending.
    let is_same = told.0 == found.0 && told.1 + told.2 == found.1 + found.2;
    ensure(is_same, || format!("the store says {told:?} of its pages, the file {found:?}"))?;
    let accounted = accepted.reachable + accepted.free + accepted.pending + accepted.log_pages + 2;
    ensure(accounted == found.0, || format!("{accounted} pages of {}", found.0))
}

/// Fills a store with a tree of three levels, large values and a second bucket.
pub fn fill(db: &BTree) -> Result<(), Error> {
    for part in 0..6 {
        db.exec("b", |txn| (0..10).try_for_each(|n| txn.put(key(part * 10 + n), value(n, 60))))?;
    }
    db.exec_multi(|multi| {
        multi.exec("b", |txn| txn.put(key(17), value(3, 1300)))?;
        multi.exec("other", |txn| {
            (0..4).try_for_each(|n| txn.put(key(n), value(n, 700 + n as usize)))
        })
    })?;
    // Deletions leave room inside of pages.
    db.exec("b", |txn| (0..8).try_for_each(|n| txn.del(key(n * 7))))
}
