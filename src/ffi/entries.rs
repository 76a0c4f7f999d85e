//! Entries of a bucket (part of ffi, layer L8).
//!
//! Owns: the functions that take a `Txn` and a key, and the memory of values that C gets.
//! Must not know: iterators. Keeps: nothing of its own; the transaction does.

use super::TxnHandle;
use super::active::with_txn;
use super::args::{Out, bytes};
use super::last_error::call;
use std::ffi::{c_int, c_void};
use std::ops::Bound;

/// The value of a key. `*out` becomes memory of `*out_len` bytes, which [`btree_free`] frees; it
/// is not `NULL`, also for an empty value. On failure they become `NULL` and 0.
///
/// Fails with `NOT_FOUND`; `INVALID` for `NULL`, a stale handle or an empty key; `TOO_LARGE` for
/// a key beyond the limit; `IO`, `CORRUPTION`, which stick to the transaction.
///
/// # Safety
/// `key` points to `klen` bytes, or is `NULL`; `out` and `out_len` are `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_get(
    txn: *mut TxnHandle,
    key: *const u8,
    klen: usize,
    out: *mut *mut u8,
    out_len: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out, std::ptr::null_mut()) };
        // SAFETY: the caller's promise.
        let out_len = unsafe { Out::new(out_len, 0) };
        let (mut out, mut out_len) = (out?, out_len?);
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        let value = with_txn(txn, |txn| txn.get(key))?;
        let value = value.into_boxed_slice();
        out_len.set(value.len());
        out.set(Box::into_raw(value).cast());
        Ok(())
    })
}

/// Frees a value that [`txn_get`] gave out. `NULL` or a length of 0 is nothing to free.
///
/// # Safety
/// `p` and `len` are what [`txn_get`] gave out together, and were not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_free(p: *mut c_void, len: usize) {
    call(|| {
        if !p.is_null() && len > 0 {
            let value = std::ptr::slice_from_raw_parts_mut(p.cast::<u8>(), len);
            // SAFETY: the caller's promise: it came from `Box::into_raw` in `txn_get`.
            drop(unsafe { Box::from_raw(value) });
        }
        Ok(())
    });
}

/// Inserts an entry, or replaces its value. `val` may be `NULL` when `vlen` is 0.
///
/// Fails with `INVALID` for `NULL`, a stale handle, an empty key, and in a view; `TOO_LARGE` for
/// a key or a value beyond its limit; with nothing changed. `IO`, `CORRUPTION`, and `NO_SPACE` for
/// a value of 256 KiB or more, which stick.
///
/// # Safety
/// `key` points to `klen` bytes and `val` to `vlen` bytes, or they are `NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_put(
    txn: *mut TxnHandle,
    key: *const u8,
    klen: usize,
    val: *const u8,
    vlen: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        // SAFETY: the caller's promise; the value is used during this call only.
        let value = unsafe { bytes(val, vlen) }?;
        Ok(with_txn(txn, |txn| txn.put(key, value))?)
    })
}

/// Inserts an entry whose key is absent.
///
/// Fails with `DUPLICATE` when the key exists; otherwise as [`txn_put`].
///
/// # Safety
/// As [`txn_put`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_insert(
    txn: *mut TxnHandle,
    key: *const u8,
    klen: usize,
    val: *const u8,
    vlen: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        // SAFETY: the caller's promise; the value is used during this call only.
        let value = unsafe { bytes(val, vlen) }?;
        Ok(with_txn(txn, |txn| txn.insert(key, value))?)
    })
}

/// Replaces the value of a key that exists.
///
/// Fails with `NOT_FOUND` when the key does not exist; otherwise as [`txn_put`].
///
/// # Safety
/// As [`txn_put`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_update(
    txn: *mut TxnHandle,
    key: *const u8,
    klen: usize,
    val: *const u8,
    vlen: usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        // SAFETY: the caller's promise; the value is used during this call only.
        let value = unsafe { bytes(val, vlen) }?;
        Ok(with_txn(txn, |txn| txn.update(key, value))?)
    })
}

/// Removes an entry.
///
/// Fails with `NOT_FOUND` when the key does not exist; otherwise as [`txn_put`].
///
/// # Safety
/// `key` points to `klen` bytes, or is `NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_del(txn: *mut TxnHandle, key: *const u8, klen: usize) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        Ok(with_txn(txn, |txn| txn.del(key))?)
    })
}

/// Removes the entries whose keys are not below `start` and below `end`. `NULL` for `start` means
/// from the first entry on, `NULL` for `end` through the last one. `removed`, which may be `NULL`,
/// becomes how many there were; none in a range that ends before it begins.
///
/// Fails with `INVALID` for a stale handle and in a view; `IO`, `CORRUPTION`, which stick.
///
/// # Safety
/// `start` points to `slen` bytes and `end` to `elen` bytes, or they are `NULL`; `removed` is
/// `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_del_range(
    txn: *mut TxnHandle,
    start: *const u8,
    slen: usize,
    end: *const u8,
    elen: usize,
    removed: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let removed = unsafe { Out::optional(removed, 0) };
        // SAFETY: the caller's promise; the key is used during this call only.
        let first = unsafe { bytes(start, slen) }?;
        // SAFETY: the caller's promise; the key is used during this call only.
        let last = unsafe { bytes(end, elen) }?;
        let last = if end.is_null() { Bound::Unbounded } else { Bound::Excluded(last) };
        let range = (Bound::Included(first), last);
        let count = with_txn(txn, |txn| txn.delete_range(range))?;
        if let Some(mut removed) = removed {
            removed.set(count);
        }
        Ok(())
    })
}

/// Whether the bucket holds a key: 0 when it does.
///
/// Fails with `NOT_FOUND` when it does not; otherwise as [`txn_get`].
///
/// # Safety
/// `key` points to `klen` bytes, or is `NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_contains(txn: *mut TxnHandle, key: *const u8, klen: usize) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        Ok(with_txn(txn, |txn| txn.contains(key))?)
    })
}

/// The number of entries of the bucket, known without a scan.
///
/// Fails with `INVALID` for `NULL` and a stale handle; `IO`, `CORRUPTION` that stuck to the
/// transaction before.
///
/// # Safety
/// `entries` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_len(txn: *mut TxnHandle, entries: *mut u64) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut entries = unsafe { Out::new(entries, 0) }?;
        Ok(with_txn(txn, |txn| {
            entries.set(txn.len()?);
            Ok(())
        })?)
    })
}
