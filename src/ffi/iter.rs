//! Iterators (part of ffi, layer L8).
//!
//! Owns: [`TxnIter`] and the functions that take it. Must not know: how a tree is walked.
//! Keeps: errors-stick (of the iterator, and of its transaction), snapshot-stable.

use super::active::{Armed, note, root_of, with_txn};
use super::args::{Out, bytes};
use super::last_error::{Answer, Failure, call};
use super::steps::Steps;
use super::{BTREE_ERR_NOT_FOUND, TxnHandle};
use crate::error::{Error, Result};
use crate::node::Way;
use std::ffi::c_int;

/// `TxnIter` of the header: a position in a bucket as it was when the iterator was made.
#[derive(Debug)]
pub struct TxnIter {
    steps: Steps,
    /// The entry stepped over last, which C reads.
    key: Vec<u8>,
    value: Vec<u8>,
    /// The transaction that an error sticks to, while it runs.
    root: usize,
    /// An operation began and did not end: it panicked.
    is_broken: bool,
}

/// Where a step puts the entry.
struct Entry {
    key: Out<*const u8>,
    key_len: Out<usize>,
    value: Out<*const u8>,
    value_len: Out<usize>,
}

impl Entry {
    /// Takes the places.
    ///
    /// # Safety
    /// Each is `NULL`, or may be written as long as the result lives.
    unsafe fn new(
        key: *mut *const u8,
        key_len: *mut usize,
        value: *mut *const u8,
        value_len: *mut usize,
    ) -> Result<Entry> {
        // SAFETY: the caller's promise.
        let key = unsafe { Out::new(key, std::ptr::null()) };
        // SAFETY: the caller's promise.
        let key_len = unsafe { Out::new(key_len, 0) };
        // SAFETY: the caller's promise.
        let value = unsafe { Out::new(value, std::ptr::null()) };
        // SAFETY: the caller's promise.
        let value_len = unsafe { Out::new(value_len, 0) };
        Ok(Entry { key: key?, key_len: key_len?, value: value?, value_len: value_len? })
    }

    fn set(&mut self, from: &TxnIter) {
        self.key.set(from.key.as_ptr());
        self.key_len.set(from.key.len());
        self.value.set(from.value.as_ptr());
        self.value_len.set(from.value.len());
    }
}

impl TxnIter {
    /// Runs an operation. An error of the storage, or a panic, fails the transaction too.
    fn run<R>(&mut self, operation: impl FnOnce(&mut TxnIter) -> Result<R>) -> Result<R> {
        if self.is_broken {
            return Err(Error::internal("an operation of this iterator panicked"));
        }
        self.is_broken = true;
        let armed = Armed::new(self.root);
        let result = operation(self);
        armed.disarm();
        self.is_broken = false;
        note(self.root, &result);
        result
    }

    /// Steps over an entry. The end is a code, but no error that the thread would keep.
    fn step(&mut self, way: Way, entry: &mut Entry) -> Answer {
        let is_there = self.run(|this| this.steps.step(way, &mut this.key, &mut this.value))?;
        if !is_there {
            return Err(Failure::Code(BTREE_ERR_NOT_FOUND));
        }
        entry.set(self);
        Ok(())
    }
}

/// The iterator behind a pointer.
///
/// # Safety
/// `iter` is `NULL`, or was made and not freed, and no other call uses it while the result lives.
unsafe fn borrow<'a>(iter: *mut TxnIter) -> Result<&'a mut TxnIter> {
    // SAFETY: the caller's promise: NULL, or live and used by nobody else.
    let iter = unsafe { iter.as_mut() };
    iter.ok_or_else(|| Error::invalid("the iterator is NULL"))
}

/// An iterator over the bucket as it is now; later writes do not change what it yields. It stands
/// before the first entry for [`txn_iter_next`], and behind the last one for [`txn_iter_prev`].
/// `*out` becomes the iterator, which [`txn_iter_free`] frees; `NULL` on failure. It may outlive
/// its transaction, and keeps the store open; but in one of `btree_begin` what it steps over counts
/// as read, so that it does not step when that has ended: `INVALID`.
///
/// Fails with `INVALID` for `NULL` and a stale handle; `IO`, `CORRUPTION` that stuck to the
/// transaction before.
///
/// # Safety
/// `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_new(txn: *mut TxnHandle, out: *mut *mut TxnIter) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        let root = root_of(txn)?;
        let steps = with_txn(txn, |txn| {
            let steps = txn.steps();
            steps.error().map_or(Ok(steps), Err)
        })?;
        let (key, value) = (Vec::new(), Vec::new());
        let iter = TxnIter { steps, key, value, root, is_broken: false };
        out.set(Box::into_raw(Box::new(iter)));
        Ok(())
    })
}

/// Moves to the place in front of the first entry whose key is not below `key`; an empty key
/// leads before the first entry.
///
/// Fails with `INVALID` for `NULL`; `IO`, `CORRUPTION`, which stick to iterator and transaction.
///
/// # Safety
/// `iter` is `NULL`, or was made and not freed, and no other thread is in a call with it; `key`
/// points to `klen` bytes, or is `NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_seek(iter: *mut TxnIter, key: *const u8, klen: usize) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let iter = unsafe { borrow(iter) }?;
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        Ok(iter.run(|this| this.steps.seek(key))?)
    })
}

/// Steps over the next entry. Key and value stay where the pointers show until the next call with
/// this iterator; they are not to be freed. On failure the answers become `NULL` and 0.
///
/// Fails with `NOT_FOUND` at the end, of which the thread keeps nothing; `INVALID` for `NULL`;
/// `IO`, `CORRUPTION`, which stick to iterator and transaction.
///
/// # Safety
/// `iter` is `NULL`, or was made and not freed, and no other thread is in a call with it; the
/// other pointers are `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_next(
    iter: *mut TxnIter,
    key: *mut *const u8,
    klen: *mut usize,
    val: *mut *const u8,
    vlen: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut entry = unsafe { Entry::new(key, klen, val, vlen) }?;
        // SAFETY: the caller's promise.
        let iter = unsafe { borrow(iter) }?;
        iter.step(Way::Forward, &mut entry)
    })
}

/// Steps over the previous entry. Otherwise as [`txn_iter_next`]; both move the same position.
///
/// # Safety
/// As [`txn_iter_next`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_prev(
    iter: *mut TxnIter,
    key: *mut *const u8,
    klen: *mut usize,
    val: *mut *const u8,
    vlen: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut entry = unsafe { Entry::new(key, klen, val, vlen) }?;
        // SAFETY: the caller's promise.
        let iter = unsafe { borrow(iter) }?;
        iter.step(Way::Backward, &mut entry)
    })
}

/// Frees an iterator; `NULL` is none. It may be freed inside its callback or after.
///
/// # Safety
/// `iter` is `NULL`, or was made and not freed, and no other thread is in a call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_free(iter: *mut TxnIter) {
    call(|| {
        if !iter.is_null() {
            // SAFETY: it came from `Box::into_raw` in `txn_iter_new`, and is given back once.
            drop(unsafe { Box::from_raw(iter) });
        }
        Ok(())
    });
}
