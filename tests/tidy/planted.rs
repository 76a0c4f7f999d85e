//! Each check finds a planted violation, at its line, and lets the lawful neighbour pass.

use crate::tree::{Tree, Violation};
use crate::{
    check_command, check_features, check_gates, check_parts, layers, matrix, shape, words,
};

/// A table of layers as `docs/architecture.md` has it.
const TABLE: &str = "\
| Layer | Modules | What |
|---|---|---|
| L0 | `sync` | |
| L1 | `vfs/` | |
| L3 | `node/`, `cache` | |
| L4 | `tree/`, `readers` | |
| L7 | `db` | |
| L8 | `ffi` | |

## Unsafe code
| File | Why | Attacked by |
|---|---|---|
| `src/ffi.rs` | the C ABI | `tests/ffi.rs` |
";

/// Lawful files, one for each module of the table, so that a report names the planted one alone.
const LAWFUL: &[(&str, &str)] = &[
    ("docs/architecture.md", TABLE),
    ("src/lib.rs", "//! A store.\npub mod ffi;\nmod db;\npub use db::Store;\n"),
    ("src/sync.rs", "//! Locks (layer L0).\n//! Owns: locks.\npub use std::sync::Mutex;\n"),
    ("src/vfs/mod.rs", "//! Files (layer L1).\n//! Owns: files.\nmod os;\n"),
    ("src/vfs/os.rs", "//! Owns: real files.\nuse std::fs::File;\n"),
    ("src/node/mod.rs", "//! Pages (layer L3).\n//! Owns: pages.\nmod leaf;\nmod branch;\n"),
    ("src/node/leaf.rs", "//! Owns: leaves.\nuse super::Node;\n"),
    ("src/node/branch.rs", "//! Owns: branches.\nuse super::leaf::Leaf;\n"),
    ("src/cache.rs", "//! Pages in memory (layer L3).\n//! Owns: frames.\n"),
    ("src/tree/mod.rs", "//! Trees (layer L4).\n//! Owns: trees.\nuse crate::node::Node;\n"),
    ("src/readers.rs", "//! Snapshots (layer L4).\n//! Owns: pins.\n"),
    ("src/db.rs", "//! The store (layer L7).\n//! Owns: it.\nuse crate::{cache, tree::Tree};\n"),
    (
        "src/ffi.rs",
        "//! C (layer L8).\n//! Owns: it.\nfn f() {\n    // SAFETY: p is ours.\n\
            \x20   unsafe { p() }\n}\n",
    ),
    ("tests/ffi.rs", "//! Attacks the C ABI.\n"),
];

/// The lawful files, with these put in or put in place of theirs.
fn planted(files: &[(&str, &str)]) -> Tree {
    let all = LAWFUL.iter().chain(files);
    Tree::new(all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

/// Asserts that exactly these places are reported.
#[track_caller]
fn assert_places(found: &[Violation], places: &[(&str, usize)]) {
    let mut seen: Vec<_> = found.iter().map(|v| (v.path.as_str(), v.line)).collect();
    seen.sort_unstable();
    let report: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(seen, places, "{}", report.join("\n"));
}

#[test]
fn lawful_files_pass_every_check() {
    let tree = planted(&[]);
    for found in [
        layers::check(&tree),
        shape::check_sizes(&tree),
        shape::check_heads(&tree),
        shape::check_leftovers(&tree),
        words::check_locks(&tree),
        words::check_files(&tree),
        words::check_fences(&tree),
        words::check_determinism(&tree),
        words::check_unsafe(&tree),
        words::check_errors(&tree, &[]),
        words::check_casts(&tree),
    ] {
        assert_places(&found, &[]);
    }
}

#[test]
fn an_import_of_a_higher_layer_is_found() {
    let uses = "//! x\nuse crate::{\n    sync::Mutex,\n    tree::{self, Tree},\n};\n";
    let found = layers::check(&planted(&[("src/cache.rs", uses)]));
    assert_places(&found, &[("src/cache.rs", 4), ("src/cache.rs", 4)]);
}

#[test]
fn a_path_in_code_is_an_import_too() {
    let code = "//! x\nfn f() {\n    crate::tree::go();\n    super::super::db::go();\n}\n";
    let found = layers::check(&planted(&[("src/node/leaf.rs", code)]));
    assert_places(&found, &[("src/node/leaf.rs", 3), ("src/node/leaf.rs", 4)]);
}

#[test]
fn a_name_that_the_root_exports_counts_as_its_module() {
    let code = "//! x\nuse crate::Store;\nuse crate::Nothing;\n";
    let found = layers::check(&planted(&[("src/cache.rs", code)]));
    assert_places(&found, &[("src/cache.rs", 2), ("src/cache.rs", 3)]);
}

#[test]
fn tests_may_import_anything() {
    let inline = "//! x\n#[cfg(test)]\nmod tests {\n    use crate::tree::Tree;\n}\n";
    let declared = "//! x\n#[cfg(test)]\nmod tests;\n";
    let files = &[
        ("src/cache.rs", inline),
        ("src/node/mod.rs", declared),
        ("src/node/tests.rs", "//! x\nuse crate::tree::Tree;\n"),
    ];
    assert_places(&layers::check(&planted(files)), &[]);
}

#[test]
fn a_comment_or_a_string_is_no_import() {
    let code = "//! crate::tree::x\n// crate::tree::x\n/* crate::tree::x */\n\
        const X: &str = \"crate::tree::x\";\nconst Y: &str = r#\"crate::tree::\"x\"#;\n";
    assert_places(&layers::check(&planted(&[("src/cache.rs", code)])), &[]);
}

#[test]
fn a_file_without_a_place_is_found() {
    let found = layers::check(&planted(&[("src/stray.rs", "//! x\n")]));
    assert_places(&found, &[("src/stray.rs", 1)]);
}

#[test]
fn a_row_without_a_file_is_found() {
    let table = TABLE.replace("`sync`", "`sync`, `gone`");
    let found = layers::check(&planted(&[("docs/architecture.md", &table)]));
    assert_places(&found, &[("docs/architecture.md", 3)]);
}

#[test]
fn a_circle_within_a_layer_is_found() {
    let files = &[
        ("src/readers.rs", "//! x\nuse crate::tree;\n"),
        ("src/tree/mod.rs", "use crate::readers;\n"),
    ];
    let found = layers::check(&planted(files));
    assert_places(&found, &[("src/readers.rs", 2), ("src/tree/mod.rs", 1)]);
}

#[test]
fn a_circle_within_a_directory_is_found() {
    let found = layers::check(&planted(&[("src/node/leaf.rs", "use super::branch::Branch;\n")]));
    assert_places(&found, &[("src/node/branch.rs", 2), ("src/node/leaf.rs", 1)]);
}

#[test]
fn a_long_line_is_found_everywhere() {
    let long = format!("// {}\n", "x".repeat(98));
    let short = format!("// {}\n", "x".repeat(97));
    let files = &[("src/cache.rs", short.as_str()), ("tests/x.rs", long.as_str())];
    assert_places(&shape::check_sizes(&planted(files)), &[("tests/x.rs", 1)]);
}

#[test]
fn a_long_function_is_found() {
    let body = |lines: usize| format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(lines));
    let (short, long) = (body(68), body(69));
    let files = &[("src/cache.rs", short.as_str()), ("src/db.rs", long.as_str())];
    assert_places(&shape::check_sizes(&planted(files)), &[("src/db.rs", 2)]);
}

#[test]
fn a_long_file_is_found_and_tests_do_not_count() {
    let lines = |count: usize| "// x\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(100));
    let (short, long) = (lines(500) + &tests, lines(501) + &tests);
    let files = &[("src/cache.rs", short.as_str()), ("src/db.rs", long.as_str())];
    assert_places(&shape::check_sizes(&planted(files)), &[("src/db.rs", 1)]);
}

#[test]
fn a_file_without_a_right_head_is_found() {
    let files = &[
        ("src/cache.rs", "use std::fmt;\n//! Owns: x (layer L3)\n"),
        ("src/readers.rs", "//! Snapshots (layer L4).\n//! Owns: pins.\n"),
        ("src/db.rs", "//! The store (layer L7).\n"),
        ("src/node/leaf.rs", "//! Leaves (layer L4).\n//! Owns: leaves.\n"),
        ("src/tree/mod.rs", "//! Trees.\n//! Owns: trees.\n"),
    ];
    let found = shape::check_heads(&planted(files));
    let paths = ["src/cache.rs", "src/db.rs", "src/node/leaf.rs", "src/tree/mod.rs"];
    assert_places(&found, &paths.map(|path| (path, 1)));
}

#[test]
fn a_leftover_is_found() {
    let left = format!("//! x\n// {}: later\n// XXXL {}DO\n", concat!("TO", "DO"), "MASTO");
    let stub = "//! x\nfn f() {\n    unimplemented!(\"later\")\n}\n#[allow(dead_code)]\nmod x;\n";
    let files = &[("docs/x.md", left.as_str()), ("src/cache.rs", stub)];
    let found = shape::check_leftovers(&planted(files));
    assert_places(&found, &[("docs/x.md", 2), ("src/cache.rs", 3), ("src/cache.rs", 5)]);
}

#[test]
fn a_lock_outside_its_home_is_found() {
    let code = "//! x\nuse std::sync::{Arc, Mutex};\nuse parking_lot::RwLock;\n\
        fn f() { std::sync::atomic::fence(x); loom::model(x); crate::sync::Mutex::new(x); }\n\
        #[cfg(loom)]\nuse std::sync;\n";
    let found = words::check_locks(&planted(&[("src/cache.rs", code)]));
    let lines = [2, 3, 4, 4, 6];
    assert_places(&found, &lines.map(|line| ("src/cache.rs", line)));
}

#[test]
fn a_file_operation_outside_its_door_is_found() {
    let code = "//! x\nuse std::{fmt, fs::File};\nuse std::os::unix::fs::FileExt;\n";
    let found = words::check_files(&planted(&[("src/db.rs", code)]));
    assert_places(&found, &[("src/db.rs", 2), ("src/db.rs", 3)]);
}

#[test]
fn a_barrier_outside_its_places_is_found() {
    let code = "//! x\nfn f() {\n    file.sync_all();\n}\n";
    let files = &[("src/db.rs", code), ("src/vfs/mod.rs", code)];
    assert_places(&words::check_fences(&planted(files)), &[("src/db.rs", 3)]);
}

#[test]
fn an_import_that_the_design_forbids_is_found() {
    let found = layers::check(&planted(&[("src/node/leaf.rs", "//! x\nuse crate::vfs::Vfs;\n")]));
    assert_places(&found, &[("src/node/leaf.rs", 2)]);
}

#[test]
fn chance_in_the_engine_is_found() {
    let code = "//! x\nuse std::time::{Duration, Instant};\nuse std::collections::HashSet;\n\
        fn f() { std::thread::spawn(g); }\nfn g() { std::env::var(h); }\n\
        fn h() { rand::random(); }\n";
    let files = &[("src/tree/mod.rs", code), ("src/ffi.rs", code)];
    let found = words::check_determinism(&planted(files));
    let lines = [2, 3, 4, 5, 6];
    assert_places(&found, &lines.map(|line| ("src/tree/mod.rs", line)));
}

#[test]
fn a_hash_map_has_few_homes() {
    let code = "//! x\nuse std::collections::HashMap;\n";
    let files = &[("src/cache.rs", code), ("src/node/leaf.rs", code)];
    let found = words::check_determinism(&planted(files));
    assert_places(&found, &[("src/node/leaf.rs", 2)]);
}

#[test]
fn unsafe_code_in_a_file_that_is_not_listed_is_found() {
    let code = "//! x\n// SAFETY: fine.\nunsafe impl Send for X {}\n";
    let found = words::check_unsafe(&planted(&[("src/cache.rs", code)]));
    assert_places(&found, &[("src/cache.rs", 3)]);
}

#[test]
fn unsafe_code_without_a_reason_is_found() {
    let code = "//! x\n#[unsafe(no_mangle)]\nfn f() {\n    // Because.\n\
        \x20   let x = unsafe { y() };\n    \
        // SAFETY: y holds z.\n    let long =\n        unsafe { y() };\n    g();\n\
        \x20   unsafe { y() };\n}\n";
    let found = words::check_unsafe(&planted(&[("src/ffi.rs", code)]));
    assert_places(&found, &[("src/ffi.rs", 5), ("src/ffi.rs", 10)]);
}

#[test]
fn a_listed_file_must_be_unsafe_and_under_attack() {
    let row = "| `src/ffi.rs` | the C ABI | `tests/ffi.rs` |";
    let table = TABLE.replace(
        row,
        &format!(
            "{}\n| `src/db.rs` | x | `tests/ffi.rs` |",
            row.replace("`tests/ffi.rs`", "`tests/ffi.rs`, `tests/gone.rs`")
        ),
    );
    let found = words::check_unsafe(&planted(&[("docs/architecture.md", &table)]));
    assert_places(&found, &[("docs/architecture.md", 13), ("docs/architecture.md", 14)]);
}

#[test]
fn a_lost_error_is_found() {
    let code = "//! x\nfn f() {\n    a().unwrap();\n    let _ = b();\n    let _x = b();\n\
        \x20   c(d).ok();\n    \
        let e = c().ok();\n    g.unwrap_or(1);\n    let _ = write!(h);\n}\n\
        #[cfg(test)]\nmod tests {\n    fn f() {\n        a().unwrap();\n    }\n}\n";
    let allowed = &[("src/db.rs", "write!(h)", "writing to a string cannot fail")];
    let found = words::check_errors(&planted(&[("src/db.rs", code)]), allowed);
    assert_places(&found, &[("src/db.rs", 3), ("src/db.rs", 4), ("src/db.rs", 6)]);
}

#[test]
fn an_allowed_discard_that_is_not_there_is_found() {
    let found = words::check_errors(&planted(&[]), &[("src/db.rs", "gone()", "reason")]);
    assert_places(&found, &[("src/db.rs", 1)]);
}

#[test]
fn a_narrowing_cast_is_found() {
    let code =
        "//! x\nfn f(x: usize) -> u64 {\n    let y = x as u32;\n    x as u64\n}\nuse a as b;\n";
    let found = words::check_casts(&planted(&[("src/db.rs", code)]));
    assert_places(&found, &[("src/db.rs", 3)]);
}

#[test]
fn a_readme_with_another_command_is_found() {
    let command = crate::TEST_COMMAND;
    let files = &[(".ci/run", command), ("README.md", "    cargo test\n")];
    assert_places(&check_command(&planted(files)), &[("README.md", 1)]);
}

#[test]
fn a_target_that_is_nothing_without_a_feature_is_found() {
    let test = "//! Tests.\n#![cfg(feature = \"sim\")]\n";
    let manifest = |name: &str| {
        let gate = format!("[[test]]\nname = \"{name}\"\nrequired-features = [\"sim\"]\n");
        let files = [("Cargo.toml", gate.as_str()), ("tests/one.rs", test)];
        check_gates(&planted(&files))
    };
    assert_places(&manifest("one"), &[]);
    assert_places(&manifest("two"), &[("tests/one.rs", 2)]);
}

#[test]
fn a_part_that_is_nothing_without_a_feature_is_found() {
    let test = "//! Tests.\n#[cfg(feature = \"sim\")]\nmod part;\n";
    let manifest = |name: &str| {
        let gate = format!("[[test]]\nname = \"{name}\"\nrequired-features = [\"sim\"]\n");
        let files =
            [("Cargo.toml", gate.as_str()), ("tests/one.rs", test), ("tests/one/a.rs", test)];
        check_parts(&planted(&files))
    };
    assert_places(&manifest("one"), &[]);
    assert_places(&manifest("two"), &[("tests/one.rs", 2), ("tests/one/a.rs", 2)]);
}

#[test]
fn a_feature_that_is_not_tested_is_found() {
    let manifest = |feature: &str| {
        let text =
            format!("[features]\ndefault = []\nsim = []\n{feature} = []\n\n[other]\nx = []\n");
        check_features(&planted(&[("Cargo.toml", text.as_str())]))
    };
    assert_places(&manifest("cli"), &[]);
    assert_places(&manifest("new"), &[("Cargo.toml", 1)]);
}

#[test]
fn a_matrix_that_differs_from_the_catalogue_is_found() {
    let catalogue = "//! Bugs.\n        One = \"one\" breaks A,\n        Two = \"two\"\n";
    let table = |rows: &str, says: &str| {
        let text = format!("{says}\n| bug | breaks | model |\n|---|---|---|\n{rows}");
        let matrix = ("docs/kill-matrix.md", text.as_str());
        let files = [
            ("src/seeded/catalogue.rs", catalogue),
            matrix,
            ("README.md", "Of 2 bugs all are found."),
        ];
        matrix::check_matrix(&planted(&files))
    };
    let (one, two) = ("| one | a | 3 |\n", "| two | b | 4 |\n");
    let (matrix, readme) = ("docs/kill-matrix.md", "README.md");
    assert_places(&table(&[one, two].concat(), "2 bugs, 0 survive"), &[]);
    assert_places(&table(&[one, two].concat(), "2 bugs, 1 survive"), &[(matrix, 1)]);
    assert_places(&table(one, "1 bugs, 0 survive"), &[(readme, 1), (matrix, 1)]);
    let unfound = [one, "| two | b |  |\n"].concat();
    assert_places(&table(&unfound, "2 bugs, 0 survive"), &[(matrix, 5)]);
    let unknown = [one, two, "| six | b | 4 |\n"].concat();
    assert_places(&table(&unknown, "3 bugs, 0 survive"), &[(readme, 1), (matrix, 6)]);
}

#[test]
fn a_model_that_is_there_for_no_bug_is_found() {
    let models = "pub(super) const MODELS: &[Model] = models![\n    one,\n    two,\n];\n";
    let check = |bugs| {
        let files = [("models/cache.rs", models), ("models/bugs.rs", bugs)];
        matrix::check_models(&planted(&files))
    };
    assert_places(&check("(Bug::A, \"one\"),\n(Bug::B, \"two\"),\n"), &[]);
    assert_places(&check("(Bug::A, \"one\"),\n"), &[("models/cache.rs", 3)]);
}

#[test]
fn a_bug_without_a_place_is_found() {
    let bugs = "//! Bugs.\n        One = \"one\" breaks A,\n        Two = \"two\" breaks B,\n";
    let check = |code| {
        matrix::check_places(&planted(&[("src/seeded/catalogue.rs", bugs), ("src/a.rs", code)]))
    };
    assert_places(&check("if seeded!(One | Two, x) {}\n"), &[]);
    assert_places(&check("if seeded!(\n    One) {}\n// Two\n"), &[("src/seeded/catalogue.rs", 3)]);
}
