//! Each check of the invariants finds a planted gap, and nothing in a project without gaps.

use crate::checks::{self, LOCK, Named};
use crate::document::{DOCUMENT, Document};
use crate::tree::{Tree, Violation};
use std::collections::BTreeMap;

const TEXT: &str = "\
# Invariants
| Kind | Files | How |
|---|---|---|
| model | `tests/oracle.rs` | |
| unit | `src/node/tests.rs` | |
| walk | `src/verify.rs` | |

## sorted-keys
**Statement:** Keys
ascend.
**Why:** Search.
**Assumes:** Nothing.
**Enforced:** `src/node/mod.rs`
**Checked by:** `tests/oracle.rs`, `src/node/tests.rs`, `src/verify.rs`
**Seeded bugs:** `split-swaps-halves`
**Limits:** None.

## one-writer
**Statement:** One.
**Why:** Order.
**Assumes:** Nothing.
**Enforced:** by construction in `src/txn.rs`
**Checked by:** `tests/oracle.rs`, `src/verify.rs`
**Seeded bugs:** `lock-dropped-early`, `second-door`
**Limits:** None.
";

const FILES: &[(&str, &str)] = &[
    (
        "src/node/mod.rs",
        "//! Keeps: sorted-keys (here).\n#[cfg(test)]\nmod tests;\n\
            fn f() { invariant!(SortedKeys, x); }\n",
    ),
    ("src/node/tests.rs", "//! Attacks: sorted-keys.\nfn f() {}\n"),
    (
        "src/seeded/catalogue.rs",
        "//! Bugs.\nmacro_rules! bugs { ($bug:ident = $name:literal breaks $i:ident) => {} }\n\
            A = \"split-swaps-halves\" breaks SortedKeys,\n\
            B = \"lock-dropped-early\"\n    breaks OneWriter,\n\
            C = \"second-door\" breaks OneWriter,\n",
    ),
    ("src/txn.rs", "//! Keeps: one-writer.\n"),
    ("src/verify.rs", "//! Walks.\nfn f() { Invariant::SortedKeys; Invariant::OneWriter; }\n"),
    ("tests/oracle.rs", "//! Attacks: sorted-keys, one-writer.\n"),
];

fn named() -> Vec<Named> {
    [("SortedKeys", "sorted-keys"), ("OneWriter", "one-writer")]
        .map(|(variant, name)| Named { variant: variant.to_owned(), name: name.to_owned() })
        .to_vec()
}

/// A project without gaps, then with each `from` replaced by `to` in the file at `path`.
fn project(changes: &[(&str, &str, &str)]) -> (Tree, Document) {
    let mut texts: BTreeMap<String, String> =
        FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    texts.insert(DOCUMENT.to_owned(), TEXT.to_owned());
    let whole = Tree::new(texts.clone());
    let lock = checks::lock(&whole, &Document::read(TEXT), &named());
    texts.insert(LOCK.to_owned(), lock);
    for (path, from, to) in changes {
        let text = texts.entry((*path).to_owned()).or_default();
        assert!(text.contains(from), "{path} has no {from:?}");
        *text = if from.is_empty() { (*to).to_owned() } else { text.replace(from, to) };
    }
    texts.retain(|_, text| !text.is_empty());
    let document = Document::read(texts.get(DOCUMENT).map_or("", String::as_str));
    (Tree::new(texts), document)
}

fn every_check(tree: &Tree, document: &Document) -> Vec<Violation> {
    let named = named();
    [
        checks::headings(document, &named),
        checks::fields(document),
        checks::enforced(tree, document, &named),
        checks::checked(tree, document, &named),
        checks::cited(tree, document, &named),
        checks::locked(tree, document, &named),
        checks::bugs(tree, document, &named),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Asserts that the changed project has violations, and that each of `parts` is in one of them.
#[track_caller]
fn assert_found(changes: &[(&str, &str, &str)], parts: &[&str]) {
    let (tree, document) = project(changes);
    let found: Vec<String> =
        every_check(&tree, &document).iter().map(ToString::to_string).collect();
    for part in parts {
        let says = found.iter().any(|violation| violation.contains(part));
        assert!(says, "nothing says {part:?}:\n{}", found.join("\n"));
    }
}

#[test]
fn a_project_without_gaps_passes() {
    let (tree, document) = project(&[]);
    assert_eq!(every_check(&tree, &document), []);
}

#[test]
fn a_missing_heading_is_found() {
    assert_found(&[(DOCUMENT, "## one-writer\n", "")], &["one-writer belongs here"]);
}

#[test]
fn a_heading_without_a_variant_is_found() {
    assert_found(
        &[(DOCUMENT, "## one-writer", "## two-writers\n## one-writer")],
        &["md:18: the heading of one-writer belongs here", "one-writer is no variant"],
    );
}

#[test]
fn a_missing_field_is_found() {
    assert_found(&[(DOCUMENT, "**Why:** Order.\n", "")], &["one-writer has the fields"]);
    assert_found(&[(DOCUMENT, "**Why:** Order.", "**Why:**")], &["Why says nothing"]);
    assert_found(&[(DOCUMENT, "`split-swaps-halves`", "none")], &["Seeded bugs are names"]);
}

#[test]
fn an_invariant_that_nothing_keeps_is_found() {
    let code = ("src/node/mod.rs", "invariant!(SortedKeys, x);", "");
    let walk = ("src/verify.rs", "Invariant::SortedKeys; ", "");
    assert_found(&[code, walk], &["neither invariant!(SortedKeys"]);
    let vague = (DOCUMENT, "**Enforced:** by construction in `src/txn.rs`", "**Enforced:** well");
    assert_found(&[vague], &["one-writer: Enforced names no file"]);
}

#[test]
fn a_keeper_that_is_gone_or_silent_is_found() {
    let gone = (DOCUMENT, "in `src/txn.rs`", "in `src/gone.rs`");
    assert_found(&[gone], &["src/gone.rs, which does not exist"]);
    let silent = ("src/txn.rs", "Keeps: one-writer.", "Transactions.");
    assert_found(&[silent], &["src/txn.rs, which does not cite it"]);
}

#[test]
fn a_check_that_is_gone_or_silent_is_found() {
    let gone = ("tests/oracle.rs", "//! Attacks: sorted-keys, one-writer.\n", "");
    assert_found(
        &[gone],
        &[
            "sorted-keys: Checked by names tests/oracle.rs, which does not exist",
            "one-writer: no test file cites it",
        ],
    );
    let silent = ("src/node/tests.rs", "//! Attacks: sorted-keys.", "//! Units.");
    assert_found(&[silent], &["tests.rs, which does not cite it at its head"]);
}

#[test]
fn checks_of_one_kind_are_not_enough() {
    assert_found(&[(DOCUMENT, "| walk |", "| model |")], &["one-writer: checked by {\"model\"}"]);
    let unlisted = (DOCUMENT, "| walk | `src/verify.rs` | |\n", "");
    assert_found(&[unlisted], &["src/verify.rs is not in the table"]);
}

#[test]
fn a_citation_without_its_partner_is_found() {
    let typo = ("src/txn.rs", "one-writer", "one-writers");
    assert_found(&[typo], &["src/txn.rs:1: one-writers is no invariant"]);
    let unlisted = ("src/node/tests.rs", "sorted-keys", "sorted-keys, one-writer");
    assert_found(&[unlisted], &["tests.rs:1: cites one-writer, but `Checked by`"]);
    let keeper = ("src/node/mod.rs", "sorted-keys (here)", "sorted-keys, one-writer");
    assert_found(&[keeper], &["mod.rs:1: cites one-writer, but `Enforced`"]);
}

#[test]
fn a_changed_statement_is_found() {
    let changed = (DOCUMENT, "ascend.", "ascend strictly.");
    assert_found(&[changed], &["sorted-keys: its statement or the number of its citations"]);
    assert_found(&[(LOCK, "one-writer", "two-writers")], &["one-writer: its statement"]);
    let (tree, document) = project(&[(DOCUMENT, "Keys\nascend.", "Keys ascend.")]);
    assert_eq!(every_check(&tree, &document), [], "a new line break is no change");
}

#[test]
fn a_seeded_bug_that_is_listed_elsewhere_or_nowhere_is_found() {
    let second = "`lock-dropped-early`, `second-door`";
    let only = |list| (DOCUMENT, second, list);
    assert_found(&[only("`lock-dropped-early`")], &["second-door is not in the section"]);
    assert_found(&[only("`second-door`")], &["lock-dropped-early is not in the section"]);
    let invented = only("`lock-dropped-early`, `second-door`, `third-door`");
    assert_found(&[invented], &["third-door does not break one-writer"]);
    let twice = only("`lock-dropped-early`, `second-door`, `second-door`");
    assert_found(&[twice], &["second-door does not break one-writer"]);
    let halves = "`split-swaps-halves`";
    let elsewhere = [only("`lock-dropped-early`"), (DOCUMENT, halves, "`second-door`")];
    let wanted = ["second-door does not break sorted-keys", "second-door is not in the section"];
    assert_found(&elsewhere, &wanted);
}
