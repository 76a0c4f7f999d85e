//! Every program runs, linked both ways, and valgrind finds nothing.

use super::build::{Link, compile, compile_cpp, finish, libraries, root, run};
use super::parse::header_functions;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

const EXAMPLE: &str = "examples/ffi.c";
/// Each takes a directory for its files.
const PROGRAMS: &[&str] = &[
    "tests/ffi/seed.c",
    "tests/ffi/extra.c",
    "tests/ffi/load.c",
    "tests/ffi/misuse.c",
    "tests/ffi/owned.c",
    "tests/ffi/pieces.c",
    "tests/ffi/threads.c",
];
const SIGABRT: i32 = 6;

fn valgrind(program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
    command.args(["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]);
    command.arg(program);
    command
}

/// Compiles a program and runs it: linked statically, linked dynamically, under valgrind.
fn passes(source: &str) {
    let new_directory = || tempfile::tempdir().expect("there is room for files");
    let directory = new_directory();
    let fixed = compile(source, Link::Static, directory.path());
    let shared = compile(source, Link::Shared, directory.path());
    for mut command in [Command::new(fixed), Command::new(&shared), valgrind(&shared)] {
        let files = new_directory();
        run(command.arg(files.path()));
    }
}

#[test]
fn the_first_abi_works() {
    passes("tests/ffi/seed.c");
}

#[test]
fn the_further_functions_work() {
    passes("tests/ffi/extra.c");
}

#[test]
fn a_callback_loads_a_bucket() {
    passes("tests/ffi/load.c");
}

#[test]
fn wrong_calls_are_codes() {
    passes("tests/ffi/misuse.c");
}

#[test]
fn the_child_of_a_fork_is_another_process() {
    passes("tests/ffi/fork.c");
}

#[test]
fn a_store_takes_no_number_of_a_standard_stream() {
    passes("tests/ffi/streams.c");
}

#[test]
fn transactions_are_begun_and_ended_by_calls() {
    passes("tests/ffi/owned.c");
}

#[test]
fn values_come_and_go_piece_by_piece() {
    passes("tests/ffi/pieces.c");
}

#[test]
fn threads_share_a_handle() {
    passes("tests/ffi/threads.c");
}

#[test]
fn the_example_prints_what_it_should() {
    for link in [Link::Shared, Link::Static] {
        let directory = tempfile::tempdir().unwrap();
        let program = compile(EXAMPLE, link, directory.path());
        for (name, mut command) in
            [("plain.db", Command::new(&program)), ("valgrind.db", valgrind(&program))]
        {
            let text = run(command.arg(directory.path().join(name)));
            assert_eq!(text, "alice has number 100\nalice: 100\ncarol: 300\n");
        }
    }
}

#[test]
fn valgrind_would_find_a_leak_and_a_wrong_read() {
    let directory = tempfile::tempdir().unwrap();
    for (fault, found) in [
        ("leak", "definitely lost"),
        ("after free", "Invalid read"),
        ("iterator", "definitely lost"),
    ] {
        let program = compile("tests/ffi/faulty.c", Link::Shared, directory.path());
        let output = finish(valgrind(&program).arg(fault));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(9), "{fault}: {text}");
        assert!(text.contains(found), "{fault}: {text}");
    }
}

#[test]
fn every_function_is_used_by_a_program() {
    let mut unused: BTreeSet<String> =
        header_functions().into_iter().map(|function| function.name).collect();
    for source in PROGRAMS {
        let text = std::fs::read_to_string(root().join(source)).unwrap();
        let words: BTreeSet<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        unused.retain(|name| !words.contains(name.as_str()));
    }
    assert!(unused.is_empty(), "no program uses {unused:?}");
}

#[test]
fn an_exception_that_leaves_a_callback_ends_the_process() {
    for link in [Link::Shared, Link::Static] {
        let directory = tempfile::tempdir().unwrap();
        let program = compile_cpp("tests/ffi/throw.cpp", link, directory.path());
        run(&mut Command::new(&program));
        let output = finish(Command::new(&program).arg("throw"));
        assert_eq!(output.status.signal(), Some(SIGABRT), "{link:?}: {output:?}");
    }
}

/// glibc unwinds a thread that ends, and lets nobody stop that.
#[cfg(target_env = "gnu")]
#[test]
fn a_thread_that_ends_inside_of_a_call_ends_the_process() {
    for link in [Link::Shared, Link::Static] {
        let directory = tempfile::tempdir().unwrap();
        let program = compile("tests/ffi/leave.c", link, directory.path());
        for (how, signal) in [
            ("not", None),
            ("exit", Some(SIGABRT)),
            ("cancel", Some(SIGABRT)),
            ("cancel outside", Some(SIGABRT)),
        ] {
            let output = finish(Command::new(&program).arg(directory.path()).arg(how));
            assert_eq!(output.status.signal(), signal, "{link:?}, {how}: {output:?}");
            assert_eq!(output.status.success(), signal.is_none(), "{link:?}, {how}: {output:?}");
        }
    }
}

#[test]
fn the_shared_library_exports_what_the_header_declares() {
    let library = libraries().join("libbtree_store.so");
    let listed = run(Command::new("nm").args(["--dynamic", "--defined-only"]).arg(library));
    let is_ours = |name: &&str| ["btree_", "txn_", "mtxn_"].iter().any(|p| name.starts_with(p));
    let exported: BTreeSet<&str> =
        listed.lines().filter_map(|line| line.rsplit(' ').next()).filter(is_ours).collect();
    let functions = header_functions();
    let declared: BTreeSet<&str> = functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(exported, declared);
}
