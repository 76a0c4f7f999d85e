//! Tree pages against simple twins.
//!
//! Attack: sorted-keys, cells-disjoint, separators-bound-children, bytes-never-panic,
//! same-calls-same-bytes (bytes that nothing uses are zero).

pub(crate) mod anatomy;
mod arrays;
mod dense;
mod halves;
mod heads;
mod hostile;
pub(crate) mod keys;
mod row;
mod share;
mod twin;
mod units;
mod walk;
