//! A persistent embedded key-value store: a copy-on-write B+tree in one file.

pub mod vfs;

mod error;
pub mod format;
mod invariant;
#[allow(dead_code)]
mod node;
mod page;
#[allow(dead_code)]
mod space;
mod sync;
#[allow(dead_code)]
mod tree;

pub use error::{Corruption, Error, ErrorDetail, Result};
pub use invariant::Invariant;
