//! What the tests of the whole store share.
//!
//! `watch` counts and disturbs what reaches the storage, `walk` reads a file's bytes with code of
//! its own, `random` is the source of repeatable chance, `memory` and `counting` measure.
#![allow(dead_code, reason = "each test uses a part")]

pub mod counting;
pub mod memory;
pub mod random;
pub mod slot;
pub mod walk;
pub mod watch;

use btree_store::vfs::{MemVfs, Vfs};
use btree_store::{BTree, Error, ErrorDetail, Options, Result};
use std::sync::Arc;

/// The name of the file under test in a [`MemVfs`].
pub const NAME: &str = "data.db";

/// Whether there is time for all that can be asked, and not for a part of it.
pub fn is_deep() -> bool {
    std::env::var_os("BTREE_STORE_DEEP").is_some()
}

/// Options for the file under test in some storage.
pub fn on(vfs: impl Vfs) -> Options {
    Options::new().vfs(Arc::new(vfs))
}

/// Opens the file under test in memory.
pub fn open(vfs: &MemVfs) -> Result<BTree> {
    on(vfs.clone()).open(NAME)
}

/// A place whose file under test holds these bytes.
pub fn holding(bytes: &[u8]) -> MemVfs {
    let vfs = MemVfs::new();
    vfs.write_file(NAME, bytes);
    vfs
}

/// Writes into a page the checksum of its other bytes. Returns it.
pub fn put_checksum(page: &mut [u8]) -> u32 {
    let checksum = crc32c::crc32c(&page[4..]);
    page[..4].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Length of the file under test in bytes.
pub fn file_len(vfs: &MemVfs) -> u64 {
    vfs.read_file(NAME).map_or(0, |bytes| bytes.len() as u64)
}

/// All entries of a bucket, in the order of the cursor.
pub fn dump(db: &BTree, bucket: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    db.view(bucket, |txn| {
        let (mut key, mut value, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let mut iter = txn.iter();
        while iter.next_ref(&mut key, &mut value) {
            all.push((key.clone(), value.clone()));
        }
        Ok(all)
    })
}

/// What an error says beyond its name, as one line.
pub fn story(error: Error) -> String {
    error.detail().map_or_else(|| "no detail".to_owned(), |detail| detail.to_string())
}

/// The page and the invariant that a corruption error names.
#[track_caller]
pub fn corruption(error: Error) -> (Option<u32>, &'static str) {
    assert_eq!(error, Error::Corruption);
    match error.detail() {
        Some(ErrorDetail::Corruption(found)) => (found.page, found.invariant.name()),
        other => panic!("a corruption error says {other:?}"),
    }
}
