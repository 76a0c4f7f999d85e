//! Trees over pages in a map, beside a `BTreeMap` that must hold the same.
//!
//! Attack: sorted-keys, separators-bound-children, uniform-depth, entry-count, page-owned-once,
//! no-reuse-while-reachable, parent-holds-checksum, child-not-newer, snapshot-stable,
//! same-calls-same-bytes, errors-stick.

mod compare;
mod draft;
mod faults;
mod fill;
mod random;
mod share;
mod store;
mod units;
mod walk;
mod world;
