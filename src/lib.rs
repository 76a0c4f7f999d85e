//! A persistent embedded key-value store: a copy-on-write B+tree in one file.
//!
//! Keys and values are bytes, and live in named buckets. Writing is done in closures that commit
//! when they return `Ok`, and roll back when they return an error or panic; reading sees one state
//! for as long as the transaction, the cursor or the [`Snapshot`] lives, and waits for nobody.
//!
//! ```
//! use btree_store::{BTree, Error};
//!
//! # let dir = std::env::temp_dir().join(format!("btree-store-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! # let path = dir.join("data.db");
//! let db = BTree::open(&path)?;
//! db.exec("users", |txn| {
//!     txn.put("id:100", "Alice")?;
//!     txn.put("id:101", "Bob")
//! })?; // durable from here on
//!
//! let failed = db.exec("users", |txn| {
//!     txn.put("id:100", "Mallory")?;
//!     txn.del("id:999") // not there: nothing of this transaction happens
//! });
//! assert_eq!(failed, Err(Error::NotFound));
//! assert_eq!(db.view("users", |txn| txn.get("id:100"))?, b"Alice");
//! assert!(db.verify()?.is_sound());
//! # drop(db);
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), Error>(())
//! ```
//!
//! # The order of keys
//!
//! Entries are in the order of their keys, which are compared byte by byte, as unsigned numbers; a
//! key comes before those that it is a prefix of. So integers keep their order as `to_be_bytes`,
//! signed ones with the sign bit flipped: `(n ^ i64::MIN).to_be_bytes()`.
//!
//! ```
//! # let db = btree_store::Options::new().open_in_memory()?;
//! db.exec("b", |txn| {
//!     [3_i64, -1, 256].iter().try_for_each(|n| txn.put((n ^ i64::MIN).to_be_bytes(), ""))?;
//!     let (mut range, mut numbers) = (txn.range::<[u8]>(..), Vec::new());
//!     while let Some(key) = range.next_key()? {
//!         numbers.push(i64::from_be_bytes(key.try_into().unwrap()) ^ i64::MIN);
//!     }
//!     assert_eq!(numbers, [-1, 3, 256]);
//!     Ok(())
//! })?;
//! # Ok::<(), btree_store::Error>(())
//! ```
//!
//! # Where to begin
//!
//! - [`BTree`]: open a file, run transactions, compact, verify. [`Options`] chooses page size,
//!   cache, durability, barriers and storage, or a store in memory.
//! - [`Txn`], [`ReadOnlyTxn`], [`MultiTxn`], [`Iter`]: what transactions can do. [`Snapshot`]: one
//!   state of all buckets, kept. [`OwnedTxn`]: a write transaction, kept, of which several are open
//!   at once; [`BTree::transact`] runs one until nobody was ahead of it. [`ReadBucket`]: a trait
//!   for functions that read a bucket of any of them.
//! - [`Error`]: plain values to compare; [`Error::detail`] says which page, which invariant, or
//!   what the system said. [`BTree::try_exec`] and the like: closures that fail with errors of a
//!   program's own.
//! - [`verify`]: every invariant of a file, page by page, also of one that does not open.
//! - [`vfs`]: the storage as a trait, to put one of your own beneath the store.
//!
//! # What is guaranteed
//!
//! What `exec` acknowledged survives a crash, but for commits that were [deferred](Durability) and
//! not yet synced; a transaction happens as a whole or not at all; readers see durable states only;
//! damage to the file is an error that names page and invariant, never a wrong answer; after a
//! failed sync nothing more is acknowledged. `docs/invariants.md` in the repository states each
//! promise, what it assumes of disk and system, and what checks it; `docs/format.md` describes the
//! file to the byte.
//!
//! # Features
//!
//! - `ffi`: the C interface of `include/btree_store.h`.
//! - `sim`: a simulated disk and an explorer of crashes, for this store and for programs on top.
//! - `cli`: the command `btree-store`, which reads, writes, checks and crash-tests stores.

// Here and not in `Cargo.toml`, which would hold the tests' helpers to it too.
#![warn(clippy::unwrap_used)]
// A lock that a condition takes is held to the end of what it leads to, and may be wanted there.
#![warn(clippy::significant_drop_in_scrutinee)]

#[cfg(all(feature = "ffi", not(loom)))]
pub mod ffi;
pub mod format;
#[doc(hidden)]
#[cfg(any(fuzzing, feature = "sim"))]
pub mod fuzzing;
#[doc(hidden)]
pub mod json;
#[cfg(loom)]
#[doc(hidden)]
#[path = "../models/mod.rs"]
pub mod models;
#[cfg(feature = "sim")]
pub mod sim;
pub mod verify;
pub mod vfs;

mod arena;
mod backup;
mod buffer;
mod cache;
mod catalog;
mod commit;
mod compact;
mod db;
mod error;
mod fence;
mod image;
mod invariant;
mod meta;
mod node;
mod options;
mod page;
mod pager;
mod readers;
mod recover;
#[cfg(not(loom))]
mod registry;
#[cfg(not(seeded_bug))]
mod seeded;
#[cfg(seeded_bug)]
pub mod seeded;
mod slots;
mod space;
mod sync;
mod tree;
mod txn;

/// Its example compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/porting.md")]
mod porting {}

pub use backup::BackupStats;
pub use commit::{Barriers, Durability};
pub use compact::CompactStats;
pub use db::{BTree, Stats};
pub use error::{Corruption, DetailedError, Error, ErrorDetail, Result};
pub use invariant::Invariant;
pub use options::Options;
/// The name of [`Iter`] in version 0.1 of the crate whose interface this began with.
pub type TreeIterator = Iter;

pub use txn::{
    Iter, MultiTxn, OwnedTxn, Range, ReadBucket, ReadOnlyTxn, ReadRange, Snapshot, Txn, TxnBucket,
    TxnRange, ValueReader, ValueRef,
};
