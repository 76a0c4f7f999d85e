//! What C passes in, and where it wants answers (part of ffi, layer L8).
//!
//! Owns: the way from pointers to values. Must not know: what they are for.
//! Keeps: bytes-never-panic: NULL, text that is not UTF-8 and impossible lengths are errors.

use crate::db::BTree;
use crate::error::{Error, Result};
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

/// The handle, shared, so that the program may close it while the call runs. A clone would be
/// told of lost commits by itself, in each call anew.
///
/// # Safety
/// `db` is `NULL`, or a handle that was opened and not closed.
pub(super) unsafe fn store(db: *const BTree) -> Result<BTree> {
    // SAFETY: the caller's promise: NULL, or a live BTree that nobody changes.
    let store = unsafe { db.as_ref() };
    store.map(BTree::shared).ok_or_else(|| Error::invalid("the store's handle is NULL"))
}

/// A text that ends with a NUL: a bucket's name, a path.
///
/// # Safety
/// `text` is `NULL`, or ends with a NUL and stays as it is while the result is used.
pub(super) unsafe fn text<'a>(text: *const c_char) -> Result<&'a str> {
    if text.is_null() {
        return Err(Error::invalid("a name or a path is NULL"));
    }
    // SAFETY: the caller's promise; it is not NULL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Error::invalid("a name or a path is not UTF-8"))
}

/// Bytes of a given number. `NULL` is right for none.
///
/// # Safety
/// `start` is `NULL`, or points to `len` bytes that stay as they are while the result is used.
pub(super) unsafe fn bytes<'a>(start: *const u8, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(Error::invalid("the bytes are NULL, their number is not 0"));
    }
    // No object in memory is larger; a slice must not be.
    if isize::try_from(len).is_err() {
        return Err(Error::too_large("key or value", isize::MAX as u64, len as u64));
    }
    // SAFETY: the caller's promise; not NULL, and not larger than an object can be.
    Ok(unsafe { std::slice::from_raw_parts(start, len) })
}

/// A callback, which must not be `NULL`.
pub(super) fn callback<F>(callback: Option<F>) -> Result<F> {
    callback.ok_or_else(|| Error::invalid("the callback is NULL"))
}

/// A place for an answer.
pub(super) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// Takes the place and puts there what it holds when the call fails. Where a function has
    /// several, it takes all of them before it looks whether one is missing.
    ///
    /// # Safety
    /// `place` is `NULL`, or may be written as long as the result lives.
    pub(super) unsafe fn new(place: *mut T, otherwise: T) -> Result<Out<T>> {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::optional(place, otherwise) };
        out.ok_or_else(|| Error::invalid("a pointer to a place for the answer is NULL"))
    }

    /// The same of a place that may be `NULL`.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(super) unsafe fn optional(place: *mut T, otherwise: T) -> Option<Out<T>> {
        let mut out = NonNull::new(place).map(Out)?;
        out.set(otherwise);
        Some(out)
    }

    pub(super) fn set(&mut self, value: T) {
        // SAFETY: by the contract of `new` the place may be written.
        unsafe { self.0.write(value) };
    }
}
