//! The corpora of the fuzz targets, replayed: each input is one that a campaign found to go where
//! no other went, or one that once failed.
//!
//! `docs/fuzzing.md` says what the targets attack, and how inputs are found.
#![cfg(feature = "sim")]

#[path = "../fuzz/src/bodies/mod.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Inputs of a target at least: an empty directory would pass every replay.
const INPUTS_MIN: usize = 50;
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

#[track_caller]
fn replay(target: &str, body: fn(&[u8])) {
    let paths = inputs(target);
    assert!(paths.len() >= INPUTS_MIN, "{target}: {} inputs", paths.len());
    let mut failed = Vec::new();
    for path in paths {
        let data = std::fs::read(&path).expect("the input can be read");
        if catch_unwind(AssertUnwindSafe(|| body(&data))).is_err() {
            failed.push(path.display().to_string());
        }
    }
    assert!(failed.is_empty(), "{target} fails on\n{}", failed.join("\n"));
}

#[test]
fn operations_on_a_failing_disk_agree_with_the_oracle() {
    replay("ops", bodies::ops);
}

#[test]
fn damaged_files_are_refused_or_read_right() {
    replay("file", bodies::file);
}

#[test]
fn hostile_pages_are_refused_or_usable() {
    replay("page", bodies::page);
}

#[test]
fn operations_in_memory_agree_with_the_oracle() {
    replay("script", bodies::script);
}

#[test]
fn the_corpora_are_small() {
    let targets = ["ops", "file", "page", "script"];
    let len = |path: &PathBuf| std::fs::metadata(path).expect("the input is a file").len();
    let lens: Vec<u64> = targets.iter().flat_map(|target| inputs(target)).map(|p| len(&p)).collect();
    assert!(lens.iter().all(|&len| len <= INPUT_BYTES_MAX));
    assert!(lens.iter().sum::<u64>() <= CORPORA_BYTES_MAX);
}
