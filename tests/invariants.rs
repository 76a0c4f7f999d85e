//! Every invariant has its partners: a variant, a heading, the files that keep it, at least two
//! independent kinds of check, and a statement whose citations were looked at since it changed.
//!
//! Reads `docs/invariants.md`, the sources and the heads of the tests; `invariants/planted.rs`
//! gives each check something missing to find.

#[path = "invariants/checks.rs"]
mod checks;
#[path = "invariants/document.rs"]
mod document;
#[path = "invariants/planted.rs"]
mod planted;
#[path = "tidy/source.rs"]
#[allow(dead_code, reason = "tidy.rs uses the rest")]
mod source;
#[path = "tidy/tree.rs"]
#[allow(dead_code, reason = "tidy.rs uses the rest")]
mod tree;

use btree_store::Invariant;
use checks::Named;
use document::{DOCUMENT, Document};
use std::path::Path;
use tree::{Tree, Violation};

fn project() -> (Tree, Document, Vec<Named>) {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    let document = Document::read(tree.text(DOCUMENT));
    let name = |i: &Invariant| Named { variant: format!("{i:?}"), name: i.name().to_owned() };
    let named: Vec<Named> = Invariant::ALL.iter().map(name).collect();
    assert!(named.len() >= 20, "the invariants were not found");
    (tree, document, named)
}

#[track_caller]
fn assert_none(mut found: Vec<Violation>) {
    found.sort();
    let report: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), report.join("\n"));
}

#[test]
fn every_variant_is_a_heading_and_the_reverse() {
    let (_, document, named) = project();
    assert_none(checks::headings(&document, &named));
}

#[test]
fn every_section_says_everything() {
    let (_, document, _) = project();
    assert_none(checks::fields(&document));
}

#[test]
fn every_invariant_is_kept_by_the_files_it_names() {
    let (tree, document, named) = project();
    assert_none(checks::enforced(&tree, &document, &named));
}

#[test]
fn every_invariant_is_checked_in_two_ways() {
    let (tree, document, named) = project();
    assert_none(checks::checked(&tree, &document, &named));
}

#[test]
fn every_citation_has_its_partner() {
    let (tree, document, named) = project();
    assert_none(checks::cited(&tree, &document, &named));
}

#[test]
fn every_seeded_bug_is_listed_where_it_belongs() {
    let (tree, document, named) = project();
    assert_none(checks::bugs(&tree, &document, &named));
}

#[test]
fn every_changed_statement_was_looked_at() {
    let (tree, document, named) = project();
    if std::env::var_os("UPDATE_INVARIANTS_LOCK").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(checks::LOCK);
        let lines = checks::lock(&tree, &document, &named);
        std::fs::write(path, lines).expect("the lock file can be written");
        return;
    }
    assert_none(checks::locked(&tree, &document, &named));
}
