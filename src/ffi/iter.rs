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

/// Where a step puts a key or a value.
struct Bytes {
    start: Out<*const u8>,
    len: Out<usize>,
}

impl Bytes {
    /// Takes the places.
    ///
    /// # Safety
    /// Each is `NULL`, or may be written as long as the result lives.
    unsafe fn new(start: *mut *const u8, len: *mut usize) -> Result<Bytes> {
        // SAFETY: the caller's promise.
        let start = unsafe { Out::new(start, std::ptr::null()) };
        // SAFETY: the caller's promise.
        let len = unsafe { Out::new(len, 0) };
        Ok(Bytes { start: start?, len: len? })
    }

    fn set(&mut self, from: &[u8]) {
        self.start.set(from.as_ptr());
        self.len.set(from.len());
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

    /// Steps over an entry, whose value is read if there is a place for it. The end is a code, but
    /// no error that the thread would keep.
    fn step(&mut self, way: Way, mut key: Bytes, value: Option<Bytes>) -> Answer {
        let is_there = self.run(|this| {
            let wanted = value.is_some().then_some(&mut this.value);
            this.steps.step(way, &mut this.key, wanted)
        })?;
        if !is_there {
            return Err(Failure::Code(BTREE_ERR_NOT_FOUND));
        }
        key.set(&self.key);
        if let Some(mut value) = value {
            value.set(&self.value);
        }
        Ok(())
    }

    /// As [`TxnIter::step`], of the places that C gives.
    ///
    /// # Safety
    /// As [`txn_iter_next`].
    unsafe fn step_from_c(
        iter: *mut TxnIter,
        way: Way,
        (key, klen): (*mut *const u8, *mut usize),
        value: Option<(*mut *const u8, *mut usize)>,
    ) -> c_int {
        call(|| {
            // SAFETY: the caller's promise.
            let key = unsafe { Bytes::new(key, klen) };
            // SAFETY: the caller's promise.
            let value = value.map(|(val, vlen)| unsafe { Bytes::new(val, vlen) }).transpose();
            let (key, value) = (key?, value?);
            // SAFETY: the caller's promise.
            let iter = unsafe { borrow(iter) }?;
            iter.step(way, key, value)
        })
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
    // SAFETY: the caller's promise.
    unsafe { TxnIter::step_from_c(iter, Way::Forward, (key, klen), Some((val, vlen))) }
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
    // SAFETY: the caller's promise.
    unsafe { TxnIter::step_from_c(iter, Way::Backward, (key, klen), Some((val, vlen))) }
}

/// Steps over the next entry and shows its key alone: the value is not read, however large it is.
/// In a transaction of [`btree_begin`](super::btree_begin) it counts as read all the same.
/// Otherwise as [`txn_iter_next`].
///
/// # Safety
/// As [`txn_iter_next`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_next_key(
    iter: *mut TxnIter,
    key: *mut *const u8,
    klen: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { TxnIter::step_from_c(iter, Way::Forward, (key, klen), None) }
}

/// Steps over the previous entry. Otherwise as [`txn_iter_next_key`]; all steps move the same
/// position.
///
/// # Safety
/// As [`txn_iter_next`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_iter_prev_key(
    iter: *mut TxnIter,
    key: *mut *const u8,
    klen: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { TxnIter::step_from_c(iter, Way::Backward, (key, klen), None) }
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
