//! Structures have the same layout on both sides.

use super::build::{Link, compile, run};
use btree_store::ffi::{BTreeCompactStats, BTreeOptions, BTreeStats};
use std::fmt::Write;
use std::mem::offset_of;
use std::process::Command;

macro_rules! layout {
    ($text:ident, $kind:ident: $($field:ident)*) => {
        writeln!($text, "{} {}", stringify!($kind), size_of::<$kind>()).unwrap();
        $(
            let offset = offset_of!($kind, $field);
            writeln!($text, "{}.{} {offset}", stringify!($kind), stringify!($field)).unwrap();
        )*
    };
}

#[test]
fn structures_have_the_same_layout_in_c() {
    let mut text = String::new();
    layout!(text, BTreeOptions: size cache_bytes page_size barriers flags reserved);
    layout!(text, BTreeCompactStats: moved_pages remaining_candidates);
    layout!(
        text,
        BTreeStats: page_size page_count free_pages pending_pages cached_pages pages_read
        buckets seq pinned_states oldest_seq
    );
    let directory = tempfile::tempdir().unwrap();
    let probe = compile("tests/ffi/probe.c", Link::Shared, directory.path());
    assert_eq!(run(Command::new(probe).arg("layout")), text);
}
