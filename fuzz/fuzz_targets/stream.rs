//! See `btree_store_fuzz::bodies::stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| btree_store_fuzz::bodies::stream(data));
