//! A persistent embedded key-value store: a copy-on-write B+tree in one file.

pub mod vfs;

mod error;
pub mod format;
mod invariant;
mod page;
mod sync;

pub use error::{Corruption, Error, ErrorDetail, Result};
pub use invariant::Invariant;
