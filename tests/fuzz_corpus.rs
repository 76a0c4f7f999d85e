//! The corpora of the fuzz targets, replayed: each input is one that a campaign found to go where
//! no other went, or one that once failed.
//!
//! Attacks: bytes-never-panic, checksum-covers-page, parent-holds-checksum, cells-disjoint,
//! space-log-replays, commit-atomic. `docs/fuzzing.md` says how, and how inputs are found.
#![cfg(feature = "sim")]

#[path = "../fuzz/src/bodies/mod.rs"]
mod bodies;
#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, within};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Each test asks for memory in its own thread.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TARGETS: [&str; 6] = ["ops", "file", "forged", "page", "script", "stream"];
/// Inputs of a target at least: an empty directory would pass every replay.
const INPUTS_MIN: usize = 50;
/// What a store keeps of pages unless it is told otherwise.
const CACHE_BYTES: usize = 64 << 20;
/// What the simulated disk of an input comes to.
const DISK_BYTES: usize = 16 << 20;
/// A corpus of long inputs is a slow test, and hard to read.
const INPUT_BYTES_MAX: u64 = 1024;
const CORPORA_BYTES_MAX: u64 = 300 << 10;

fn inputs(target: &str) -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&corpus).expect("the corpus can be listed");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the corpus can be listed").path()).collect();
    paths.sort();
    paths
}

/// A body that keeps to little memory beside the caches of its stores, whatever the input states.
#[track_caller]
fn replay(target: &str, cache_bytes: usize, body: fn(&[u8])) {
    bodies::prepare();
    let memory_max = cache_bytes + (8 << 20);
    let paths = inputs(target);
    assert!(paths.len() >= INPUTS_MIN, "{target}: {} inputs", paths.len());
    let mut failed = Vec::new();
    for path in paths {
        let data = std::fs::read(&path).expect("the input can be read");
        let run = || within(memory_max, "the input", || body(&data));
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            failed.push(path.display().to_string());
        }
    }
    assert!(failed.is_empty(), "{target} fails on\n{}", failed.join("\n"));
}

#[test]
fn operations_on_a_failing_disk_agree_with_the_oracle() {
    // The simulated disk holds all that was written to it.
    replay("ops", DISK_BYTES, bodies::ops);
}

#[test]
fn damaged_files_are_refused_or_read_right() {
    replay("file", 0, bodies::file);
}

#[test]
fn forged_files_are_refused_or_usable() {
    replay("forged", 0, bodies::forged);
}

#[test]
fn hostile_pages_are_refused_or_usable() {
    replay("page", 0, bodies::page);
}

#[test]
fn operations_in_memory_agree_with_the_oracle() {
    replay("script", 0, bodies::script);
}

#[test]
fn hostile_streams_are_refused_or_usable() {
    replay("stream", 2 * CACHE_BYTES, bodies::stream);
}

/// Those that a run has found are named by numbers; `fuzz/run corpus` removes them, and nothing
/// that is to stay.
#[test]
fn an_input_is_a_regression_or_was_found() {
    let is_number = |name: &str| name.bytes().all(|it| it.is_ascii_hexdigit());
    let all = TARGETS.iter().flat_map(|target| inputs(target));
    let other = all.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !is_number(name) && !name.starts_with("regression-")
    });
    assert_eq!(other.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn the_corpora_are_small() {
    let len = |path: &PathBuf| std::fs::metadata(path).expect("the input is a file").len();
    let all = TARGETS.iter().flat_map(|target| inputs(target));
    let lens: Vec<u64> = all.map(|path| len(&path)).collect();
    assert!(lens.iter().all(|&len| len <= INPUT_BYTES_MAX));
    assert!(lens.iter().sum::<u64>() <= CORPORA_BYTES_MAX);
}

/// What is here is what is built, listed in `fuzz/run`, and replayed above.
#[test]
fn every_target_has_its_body_and_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let text = |path: &str| std::fs::read_to_string(root.join(path)).expect("it can be read");
    let manifest = text("Cargo.toml");
    let built = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    assert!(built.eq(TARGETS.map(|target| format!("{target}.rs\""))));
    assert!(text("run").contains(&format!("targets=\"{}\"\n", TARGETS.join(" "))));
    let mut names: Vec<String> = std::fs::read_dir(root.join("corpus"))
        .expect("the corpora can be listed")
        .map(|entry| entry.expect("it can be listed").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    let mut wanted = TARGETS;
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}
