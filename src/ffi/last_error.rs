//! The boundary between C and Rust, and what failed last (part of ffi, layer L8).
//!
//! Owns: [`call`], through which every exported function runs, and the error that a thread keeps.
//! Must not know: what the functions do. Keeps: bytes-never-panic: a panic ends here.

use super::{BTREE_ERR_INTERNAL, BTREE_OK, code_of};
use crate::error::Error;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The version of this library, with a NUL.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// The same as a number.
const VERSION_NUMBER: u32 = {
    let major = version_part(env!("CARGO_PKG_VERSION_MAJOR"));
    let minor = version_part(env!("CARGO_PKG_VERSION_MINOR"));
    let patch = version_part(env!("CARGO_PKG_VERSION_PATCH"));
    assert!(minor < 1000 && patch < 1000, "the parts of the version keep their places");
    major * 1_000_000 + minor * 1000 + patch
};

const fn version_part(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(part) => part,
        Err(_) => panic!("the parts of a version are numbers"),
    }
}

/// Why a call into the library did not succeed.
pub(super) enum Failure {
    /// The library says so; the thread keeps code and text.
    Library(Error),
    /// A code of the program's own callback, or the end of an iteration; nothing is kept.
    Code(c_int),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

/// What an exported function's body answers.
pub(super) type Answer = Result<(), Failure>;

/// The error that a thread keeps.
struct LastError {
    code: c_int,
    text: CString,
}

thread_local! {
    static LAST: RefCell<Option<LastError>> = const { RefCell::new(None) };
}

/// Runs an exported function's body and turns what comes of it into a code.
///
/// A panic is caught. Nothing half done is seen afterwards: a transaction is undone when its
/// closure unwinds, `active` fails a transaction whose operation panicked, and what a function
/// hands out through pointers is written at its end.
pub(super) fn call(body: impl FnOnce() -> Answer) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => BTREE_OK,
        Ok(Err(Failure::Code(code))) => code,
        Ok(Err(Failure::Library(error))) => keep(code_of(error), &text_of(error)),
        Err(payload) => keep(BTREE_ERR_INTERNAL, &format!("panic: {}", panic_text(payload))),
    }
}

fn text_of(error: Error) -> String {
    match error.detail() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(payload) => payload,
    };
    match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => {
            // The drop of a foreign payload may panic in turn.
            std::mem::forget(payload);
            "without a text".to_owned()
        }
    }
}

fn keep(code: c_int, text: &str) -> c_int {
    let bytes: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    let text = CString::new(bytes).expect("the NUL bytes were taken out");
    // A thread that is ending keeps nothing.
    LAST.try_with(|last| *last.borrow_mut() = Some(LastError { code, text })).unwrap_or_default();
    code
}

/// The code and the text of the latest call of this thread that failed; a call that succeeds
/// leaves them as they are, and so do a callback's own code and the end of an iteration.
///
/// `*msg` becomes a text that ends with a NUL, `*len` its length without the NUL; each is left
/// out when it is `NULL`. The text lives until the next call of this thread that fails, or until
/// [`btree_last_error_clear`]. Without an error the text is empty. Returns the code, 0 for none.
///
/// # Safety
/// `msg` and `len` are `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_last_error(msg: *mut *const c_char, len: *mut usize) -> c_int {
    let empty: &CStr = c"";
    let none = (BTREE_OK, empty.as_ptr(), 0);
    let read = |last: &RefCell<Option<LastError>>| match &*last.borrow() {
        Some(last) => (last.code, last.text.as_ptr(), last.text.as_bytes().len()),
        None => none,
    };
    let (code, text, text_len) = LAST.try_with(read).unwrap_or(none);
    if !msg.is_null() {
        // SAFETY: the caller passes NULL or a place that may be written.
        unsafe { msg.write(text) };
    }
    if !len.is_null() {
        // SAFETY: the caller passes NULL or a place that may be written.
        unsafe { len.write(text_len) };
    }
    code
}

/// Forgets this thread's error, and frees its text.
#[unsafe(no_mangle)]
pub extern "C" fn btree_last_error_clear() {
    LAST.try_with(|last| *last.borrow_mut() = None).unwrap_or_default();
}

/// The version of the library, such as `0.1.0`: a static text that ends with a NUL.
#[unsafe(no_mangle)]
pub extern "C" fn btree_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// The version of the library as a number, to be compared: 1002003 is 1.2.3.
#[unsafe(no_mangle)]
pub extern "C" fn btree_version_number() -> u32 {
    VERSION_NUMBER
}
