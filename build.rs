//! The name by which programs ask for the shared library of the C interface: the feature `ffi`.
//!
//! Without one, a program that was linked with the library by its path asks for that path for ever.

use std::env::{var, var_os};

/// Who packages the library gives its file, and here programs, a name with a version.
const VARIABLE: &str = "BTREE_STORE_SONAME";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let is_linux = var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if !is_linux || var_os("CARGO_FEATURE_FFI").is_none() {
        return;
    }
    // The name that cargo gives the file: another one needs a file of that name.
    let name = var(VARIABLE).unwrap_or_else(|_| "libbtree_store.so".to_owned());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    assert!(!name.is_empty() && name.bytes().all(is_plain), "{VARIABLE} is no file name: {name:?}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{name}");
}
