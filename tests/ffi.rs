//! The C ABI as C programs meet it: the header against the sources, and programs that are compiled
//! by a C compiler, linked both ways, run, and run under valgrind.
//!
//! Needs gcc, g++, nm, readelf and valgrind: without one of them the tests fail and say so. Without
//! pkg-config one test is skipped, and a line on standard error says so.
//!
//! Attacks: bytes-never-panic, commit-atomic, errors-stick.
#![cfg(feature = "ffi")]

#[path = "ffi/build.rs"]
mod build;
#[path = "ffi/files.rs"]
mod files;
#[path = "ffi/gate.rs"]
mod gate;
#[path = "ffi/header.rs"]
mod header;
#[path = "ffi/layout.rs"]
mod layout;
#[path = "ffi/package.rs"]
mod package;
#[path = "ffi/parse.rs"]
mod parse;
#[path = "ffi/programs.rs"]
mod programs;
#[path = "ffi/soname.rs"]
mod soname;
