//! Verification (part of ffi, layer L8).
//!
//! Owns: the functions that walk a whole file. Must not know: what is sound.
//! Keeps: bytes-never-panic.

use super::args::{store, text};
use super::last_error::{Answer, Failure, call};
use super::{BTREE_OK, BTreeTextFn};
use crate::db::BTree;
use crate::error::Error;
use crate::verify::{Report, verify_path};
use crate::vfs::OsVfs;
use std::ffi::{c_char, c_int, c_void};

/// Calls the callback with a text.
///
/// # Safety
/// `callback` may be called with `ctx`.
pub(super) unsafe fn tell(callback: BTreeTextFn, text: String, ctx: *mut c_void) -> Answer {
    let len = text.len();
    let mut bytes = text.into_bytes();
    bytes.push(0);
    // SAFETY: the caller's promise; the text lives until the callback returns.
    match unsafe { callback(bytes.as_ptr().cast(), len, ctx) } {
        BTREE_OK => Ok(()),
        code => Err(Failure::Code(code)),
    }
}

/// Tells the violations, and answers with the first one.
///
/// # Safety
/// `callback` is `None`, or may be called with `ctx`.
unsafe fn answer(report: &Report, callback: Option<BTreeTextFn>, ctx: *mut c_void) -> Answer {
    if let Some(callback) = callback {
        for violation in &report.violations {
            // SAFETY: the caller's promise.
            unsafe { tell(callback, violation.to_string(), ctx) }?;
        }
        if report.violations_dropped > 0 {
            let more = format!("and {} more", report.violations_dropped);
            // SAFETY: the caller's promise.
            unsafe { tell(callback, more, ctx) }?;
        }
    }
    match report.violations.first() {
        None => Ok(()),
        Some(first) => {
            Err(Error::corruption(first.page, first.invariant, &first.expected, &first.found)
                .into())
        }
    }
}

/// Walks the whole file of an open store and checks every invariant that can be seen in it.
/// `callback`, which may be `NULL`, gets a text for each violation; a value other than 0 ends the
/// listing and is returned.
///
/// Fails with `CORRUPTION` when something is wrong, with the first violation as the text; `IO`;
/// `INVALID` inside a write transaction of the same thread.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `callback` is `NULL` or a function that may be
/// called with `ctx`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_verify(
    db: *mut BTree,
    callback: Option<BTreeTextFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        let report = store.verify()?;
        // SAFETY: the caller's promise.
        unsafe { answer(&report, callback, ctx) }
    })
}

/// Walks a file that is not open, also one that cannot be opened; nothing is written. Otherwise
/// as [`btree_verify`].
///
/// Fails with `BUSY` when the file is open for writing, by this process or another.
///
/// # Safety
/// `path` is `NULL` or ends with a NUL; `callback` is `NULL` or a function that may be called
/// with `ctx`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_verify_path(
    path: *const c_char,
    callback: Option<BTreeTextFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the path is used during this call only.
        let path = unsafe { text(path) }?;
        let report = verify_path(&OsVfs, path)?;
        // SAFETY: the caller's promise.
        unsafe { answer(&report, callback, ctx) }
    })
}
