//! Do transactions that are open at once happen one after another, or not at all?
//!
//! Random histories beside maps, threads, flushes that are under way or fail, crashes; pages of 512
//! bytes, and no cache, a tiny one and a large one.
//!
//! Attacks: first-committer-wins, commit-atomic, snapshot-stable, errors-stick.
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod common;

#[path = "optimistic/calls.rs"]
mod calls;
#[cfg(feature = "sim")]
#[path = "optimistic/crash.rs"]
mod crash;
#[path = "optimistic/fill.rs"]
mod fill;
#[path = "optimistic/history.rs"]
mod history;
#[path = "optimistic/threads.rs"]
mod threads;

use btree_store::{BTree, Options};

/// Page sizes, and pages of the cache.
const SETTINGS: [(u32, u64); 4] = [(512, 0), (512, 8), (512, 1 << 12), (4096, 64)];

fn store((page_size, cache_pages): (u32, u64)) -> BTree {
    let cache_bytes = cache_pages * u64::from(page_size);
    Options::new().page_size(page_size).cache_bytes(cache_bytes).open_in_memory().unwrap()
}
