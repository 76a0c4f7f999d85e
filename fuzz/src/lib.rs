//! The bodies of the fuzz targets; `docs/fuzzing.md` says what each attacks and how it is run.
//!
//! They use nothing but the store's crate, so that `tests/fuzz_corpus.rs` can run them without
//! a fuzzer.

pub mod bodies;
