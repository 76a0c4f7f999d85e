//! The header says what the sources say.

use super::build::{finish, root, run};
use super::parse::{header_constants, header_functions, source_constants, source_functions};
use std::process::Command;

/// The functions that the first C ABI had.
const FIRST: &[&str] = &[
    "btree_open",
    "btree_close",
    "btree_exec",
    "btree_view",
    "btree_exec_multi",
    "mtxn_bucket",
    "txn_get",
    "txn_put",
    "txn_del",
    "btree_free",
    "btree_last_error",
    "btree_last_error_clear",
];

/// Names of the header that are not constants of the library.
const OTHER_DEFINES: &[&str] = &["BTREE_STORE_H", "BTREE_OPTIONS_INIT"];

/// What the header says of the version begins so.
const VERSION_DEFINES: &str = "BTREE_STORE_VERSION";

#[test]
fn functions_have_the_same_types_in_header_and_sources() {
    let (mut header, mut sources) = (header_functions(), source_functions());
    header.sort();
    sources.sort();
    assert_eq!(header, sources);
    assert!(FIRST.iter().all(|name| header.iter().any(|function| function.name == *name)));
    assert!(header.len() > FIRST.len());
}

#[test]
fn constants_have_the_same_values_in_header_and_sources() {
    let (mut header, sources) = (header_constants(), source_constants());
    let is_other = |name: &str| OTHER_DEFINES.contains(&name) || name.starts_with(VERSION_DEFINES);
    header.retain(|name, _| !is_other(name));
    let (short, long): (Vec<_>, Vec<_>) =
        header.into_iter().partition(|(_, value)| value.starts_with("BTREE_"));
    assert_eq!(long.into_iter().collect::<std::collections::BTreeMap<_, _>>(), sources);
    let errors = sources.keys().filter(|name| name.starts_with("BTREE_ERR_"));
    let wanted: Vec<(String, String)> = {
        let mut pairs: Vec<_> =
            errors.map(|name| (name.replace("_ERR", ""), name.clone())).collect();
        pairs.sort();
        pairs
    };
    assert_eq!(short, wanted, "every code has its short name");
}

#[test]
fn the_header_has_the_version_of_the_library() {
    let constants = header_constants();
    for (part, value) in [
        ("_MAJOR", env!("CARGO_PKG_VERSION_MAJOR")),
        ("_MINOR", env!("CARGO_PKG_VERSION_MINOR")),
        ("_PATCH", env!("CARGO_PKG_VERSION_PATCH")),
        ("", concat!("\"", env!("CARGO_PKG_VERSION"), "\"")),
    ] {
        let name = format!("{VERSION_DEFINES}{part}");
        assert_eq!(constants.get(&name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn the_codes_are_those_of_the_first_abi() {
    let constants = source_constants();
    let codes = [
        ("BTREE_OK", "0"),
        ("BTREE_ERR_NOT_FOUND", "-1"),
        ("BTREE_ERR_CORRUPTION", "-2"),
        ("BTREE_ERR_TOO_LARGE", "-3"),
        ("BTREE_ERR_INTERNAL", "-4"),
        ("BTREE_ERR_NO_SPACE", "-5"),
        ("BTREE_ERR_IO", "-6"),
        ("BTREE_ERR_INVALID", "-7"),
        ("BTREE_ERR_DUPLICATE", "-8"),
        ("BTREE_ERR_CONFLICT", "-9"),
        ("BTREE_ERR_BUSY", "-10"),
        ("BTREE_ERR_POISONED", "-11"),
        ("BTREE_ERR_UNKNOWN", "-1000"),
    ];
    for (name, code) in codes {
        assert_eq!(constants.get(name).map(String::as_str), Some(code), "{name}");
    }
}

#[test]
fn the_header_stands_alone_in_c_and_in_cpp() {
    let header = root().join("include/btree_store.h");
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"];
    for (compiler, language, standards) in
        [("gcc", "c", ["c99", "c11", "c17"]), ("g++", "c++", ["c++11", "c++17", "c++20"])]
    {
        for standard in standards {
            let mut command = Command::new(compiler);
            command.arg(format!("-std={standard}")).args(strict).args(["-x", language]);
            run(command.arg(&header));
        }
    }
}

#[test]
fn a_program_with_a_wrong_type_does_not_compile() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("wrong.c");
    let text = "#include \"btree_store.h\"\n\
                int f(MultiTxn *m, TxnIter **i);\n\
                int f(MultiTxn *m, TxnIter **i) { return txn_iter_new(m, i); }\n";
    std::fs::write(&source, text).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Werror", "-fsyntax-only", "-I"]).arg(root().join("include"));
    let output = finish(gcc.arg(&source));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("txn_iter_new"), "{output:?}");
}

#[test]
fn the_manual_names_every_function_and_code() {
    let manual = std::fs::read_to_string(root().join("docs/ffi.md")).unwrap();
    let names = header_functions().into_iter().map(|function| function.name);
    let missing: Vec<String> = names
        .chain(source_constants().into_keys())
        // The name of another may go on behind it.
        .filter(|name| ['(', '`'].iter().all(|end| !manual.contains(&format!("`{name}{end}"))))
        .collect();
    assert!(missing.is_empty(), "docs/ffi.md does not explain {missing:?}");
}
