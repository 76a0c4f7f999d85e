//! Transactions over several buckets (part of ffi, layer L8).
//!
//! Owns: the functions that take a `MultiTxn`. Must not know: entries.
//! Keeps: commit-atomic: a callback of `mtxn_exec` that fails is undone alone.

use super::args::{Out, callback, text};
use super::last_error::call;
use super::store::{settle, with_code};
use super::{BTreeTxnFn, MultiTxnHandle, TxnHandle, active};
use std::ffi::{c_char, c_int, c_void};

/// A bucket of the transaction, which is made when it is missing. `*out` becomes a handle that is
/// valid until the callback of the transaction returns, or the bucket is removed; it belongs to
/// the transaction, and the same name gives the same handle. `NULL` on failure.
///
/// Fails with `INVALID` for `NULL`, a stale handle, an empty name or one that is not UTF-8;
/// `TOO_LARGE` for a name beyond the limit; `IO`, `CORRUPTION`, which stick to the transaction.
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL; `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mtxn_bucket(
    mtxn: *mut MultiTxnHandle,
    bucket: *const c_char,
    out: *mut *mut TxnHandle,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        let touched = active::with_multi(mtxn, |multi| multi.exec(bucket, |_| Ok(())));
        active::note(mtxn.addr(), &touched);
        touched?;
        out.set(active::bucket(mtxn, bucket)?);
        Ok(())
    })
}

/// Runs `callback` on a bucket, which is made when it is missing. When it returns another value
/// than 0, what it did is undone, the value is returned, and the transaction may go on. Until it
/// returns, `mtxn` and the handles of [`mtxn_bucket`] are not to be used: `INVALID`.
///
/// Fails as [`mtxn_bucket`], and with an error of the storage that the callback met; neither
/// sticks.
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL; `callback` is `NULL` or a function that may be called
/// with `ctx`. It does not leave by `longjmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mtxn_exec(
    mtxn: *mut MultiTxnHandle,
    bucket: *const c_char,
    callback: Option<BTreeTxnFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        let callback = self::callback(callback)?;
        with_code(|code| {
            active::lend_multi(mtxn, |multi| {
                multi.exec(bucket, |txn| {
                    // SAFETY: the caller's promise.
                    *code = active::run_write(txn, |handle| unsafe { callback(handle, ctx) })?;
                    settle(*code)
                })
            })
        })
    })
}

/// Removes a bucket and all that it holds. A handle that [`mtxn_bucket`] gave out for it ends.
///
/// Fails with `NOT_FOUND`, with nothing changed, when there is no such bucket; otherwise as
/// [`mtxn_bucket`].
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mtxn_del_bucket(
    mtxn: *mut MultiTxnHandle,
    bucket: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        let dropped = active::with_multi(mtxn, |multi| multi.del_bucket(bucket));
        active::note(mtxn.addr(), &dropped);
        dropped?;
        active::end_bucket(mtxn, bucket);
        Ok(())
    })
}
