//! A store that threads open and close at the same time.
//!
//! Owns: the second store of a round. Must not know: the first.

use crate::must;
use crate::pairs::{check, key, value};
use btree_store::{Options, Result};
use std::path::Path;
use std::thread;

/// Two threads open it three times each; the number of times.
pub fn open_and_close(path: &Path) -> u64 {
    thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || (0..3).for_each(|_| must(use_once(path, number))));
        }
    });
    6
}

/// A snapshot outlives the handle.
fn use_once(path: &Path, number: u64) -> Result<()> {
    let db = Options::new().page_size(512).cache_bytes(16 << 10).open(path)?;
    db.exec("b", |txn| txn.put(key(number), value(number, 0, 9)))?;
    let snapshot = db.snapshot();
    drop(db);
    let found = snapshot.view("b", |txn| txn.get(key(number)))?;
    check(key(number), &found);
    Ok(())
}
