//! A persistent embedded key-value store: a copy-on-write B+tree in one file.

// Here and not in `Cargo.toml`, which would hold the tests' helpers to it too.
#![warn(clippy::unwrap_used)]

#[cfg(all(feature = "ffi", not(loom)))]
pub mod ffi;
pub mod format;
#[doc(hidden)]
#[cfg(any(fuzzing, feature = "sim"))]
pub mod fuzzing;
#[cfg(feature = "sim")]
pub mod sim;
pub mod verify;
pub mod vfs;

mod cache;
mod catalog;
mod commit;
mod compact;
mod db;
mod error;
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
mod space;
mod sync;
mod tree;
mod txn;

pub use commit::Barriers;
pub use compact::CompactStats;
pub use db::{BTree, Stats};
pub use error::{Corruption, Error, ErrorDetail, Result};
pub use invariant::Invariant;
pub use options::Options;
pub use txn::{Iter, MultiTxn, ReadOnlyTxn, Txn};
