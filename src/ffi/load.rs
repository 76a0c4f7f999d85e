//! Bulk load (part of ffi, layer L8).
//!
//! Owns: [`txn_bulk_load`]. Must not know: how full pages are built.
//! Keeps: commit-atomic (a load whose callback fails has changed nothing).

use super::active::lend_txn;
use super::args::{Out, bytes, callback};
use super::last_error::call;
use super::store::{settle, with_code};
use super::{BTreeEntryFn, TxnHandle};
use crate::error::{Error, Result};
use std::ffi::{c_int, c_void};
use std::ptr::null;

/// The next entry that a callback shows; `None` when there are no more. Puts into `code` what the
/// callback returned.
///
/// # Safety
/// `next` may be called with `ctx`, and what it shows stays as it is while the result is used.
unsafe fn show<'a>(
    next: BTreeEntryFn,
    ctx: *mut c_void,
    code: &mut c_int,
) -> Result<Option<(&'a [u8], &'a [u8])>> {
    let (mut key, mut klen, mut val, mut vlen) = (null(), 0, null(), 0);
    // SAFETY: the caller's promise; the places may be written.
    *code = unsafe { next(&raw mut key, &raw mut klen, &raw mut val, &raw mut vlen, ctx) };
    settle(*code)?;
    if key.is_null() && klen == 0 {
        if !val.is_null() || vlen > 0 {
            return Err(Error::invalid("the callback shows a value without a key"));
        }
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let key = unsafe { bytes(key, klen) }?;
    // SAFETY: the caller's promise.
    let value = unsafe { bytes(val, vlen) }?;
    Ok(Some((key, value)))
}

/// Puts entries with ascending keys into an empty bucket, or behind its last key, as `next` shows
/// them one after the other, until it shows none. Builds full pages from the bottom up, without a
/// search for each key. `loaded`, which may be `NULL`, becomes how many there were. The pages stay
/// in memory until the transaction commits, and so do large values.
///
/// When `next` returns another value than 0, nothing has changed, the value is returned, and the
/// transaction may go on. Until this returns, the transaction is not to be used: `INVALID`; but one
/// of [`btree_begin`](super::btree_begin) may be used by `next`, and aborted. There, all keys from
/// the first entry's on count as read.
///
/// Fails with `DUPLICATE` for a key that equals the one before; `INVALID` for one that is lower, or
/// empty, for `NULL` and a stale handle, in a view, and when `next` has changed the bucket;
/// `TOO_LARGE` for a key or a value beyond its limit: nothing has changed. `IO`, `CORRUPTION`,
/// which stick.
///
/// # Safety
/// `next` is `NULL` or a function that may be called with `ctx`, and what it shows stays as it is
/// until it is called again, or this returns. It does not leave by `longjmp`. `loaded` is `NULL` or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_bulk_load(
    txn: *mut TxnHandle,
    next: Option<BTreeEntryFn>,
    ctx: *mut c_void,
    loaded: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let loaded = unsafe { Out::optional(loaded, 0) };
        let next = callback(next)?;
        let why = "the transaction waits for the callback of txn_bulk_load";
        let mut count = 0;
        with_code(|code| {
            count = lend_txn(txn, why, |txn| {
                txn.load(|push| {
                    // SAFETY: the caller's promise; an entry is pushed before the next is shown.
                    while let Some((key, value)) = unsafe { show(next, ctx, code) }? {
                        push(key, value)?;
                    }
                    Ok(())
                })
            })?;
            Ok(())
        })?;
        if let Some(mut loaded) = loaded {
            loaded.set(count);
        }
        Ok(())
    })
}
