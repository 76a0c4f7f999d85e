//! Transactions that C begins and ends (part of ffi, layer L8).
//!
//! Owns: the functions that take a `BTreeTxn`. Must not know: entries, which transactions are open.
//! Keeps: commit-atomic (what ends otherwise than by a commit has done nothing).

use super::args::{Out, callback, store, text};
use super::begun::{add, bucket, end, end_alone, with_open};
use super::check::tell;
use super::last_error::call;
use super::{BTreeTextFn, OwnedTxnHandle, TxnHandle};
use crate::db::BTree;
use crate::error::Error;
use crate::txn::OwnedTxn;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::without_provenance_mut;

/// Begins an optimistic write transaction over all buckets, on the newest durable state. `*out`
/// becomes its handle, which [`btree_txn_commit`] or [`btree_txn_abort`] ends; `NULL` on failure.
/// Until it commits it waits for nobody, but in [`txn_put_from`](super::txn_put_from). Several may
/// be open at once; any thread may use it, one at a time, and it keeps the store open.
///
/// Fails with `INVALID` for `NULL`, and for a handle that was opened for reading only: a snapshot
/// reads.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_begin(db: *mut BTree, out: *mut *mut OwnedTxnHandle) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        if store.is_read_only() {
            return Err(Error::invalid("the handle was opened for reading only").into());
        }
        out.set(without_provenance_mut(add(store.begin())));
        Ok(())
    })
}

/// Makes the changes durable, if nothing that the transaction read or wrote has changed since it
/// began; otherwise nothing has happened. The handle ends, whatever this returns, and so do those
/// of its buckets; but not while a call with it is under way, on another thread or around a
/// callback: `INVALID`.
///
/// Fails with `CONFLICT` when others were ahead, or a commit of others failed that may have taken
/// what [`txn_put_from`](super::txn_put_from) put; `INVALID` for a handle that is stale or `NULL`,
/// inside a write transaction of the same thread; `NO_SPACE`: the state
/// before holds; `IO`; `POISONED` after a failed sync; what the transaction met before; `INTERNAL`
/// when one of its calls panicked; what took deferred commits of the handle that began it, until
/// [`btree_sync`](super::btree_sync) has told it.
#[unsafe(no_mangle)]
pub extern "C" fn btree_txn_commit(txn: *mut OwnedTxnHandle) -> c_int {
    call(|| {
        let txn = end_alone(txn.addr())?;
        Ok(txn.commit()?)
    })
}

/// Ends a transaction that has done nothing then. Its handle ends, and those of its buckets.
///
/// Fails with `INVALID` for a handle that is stale or `NULL`.
#[unsafe(no_mangle)]
pub extern "C" fn btree_txn_abort(txn: *mut OwnedTxnHandle) -> c_int {
    call(|| Ok(end(txn.addr())?))
}

/// A bucket of the transaction. It need not be there: then it has no entries, and the first call
/// that puts one makes it. `*out` becomes a handle that is valid until the transaction ends, also
/// if the bucket is removed; it is not freed, and the same name gives the same handle. `NULL` on
/// failure.
///
/// Fails with `INVALID` for `NULL`, a stale handle, an empty name or one that is not UTF-8;
/// `TOO_LARGE` for a name beyond the limit; `IO`, `CORRUPTION`, which stick to the transaction.
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL; `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_txn_bucket(
    txn: *mut OwnedTxnHandle,
    bucket: *const c_char,
    out: *mut *mut TxnHandle,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        // SAFETY: the caller's promise; the name is used during this call only.
        let name = unsafe { text(bucket) }?;
        with_open(txn.addr(), |txn| txn.bucket(name).map(drop))?;
        out.set(without_provenance_mut(self::bucket(txn.addr(), name)?));
        Ok(())
    })
}

/// Makes a bucket without entries.
///
/// Fails with `DUPLICATE`, with nothing changed, when it is there; otherwise as
/// [`btree_txn_bucket`].
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_txn_create_bucket(
    txn: *mut OwnedTxnHandle,
    bucket: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the name is used during this call only.
        let name = unsafe { text(bucket) }?;
        Ok(with_open(txn.addr(), |txn| txn.create_bucket(name))?)
    })
}

/// Whether there is a bucket of this name: 0 when there is.
///
/// Fails with `NOT_FOUND` when there is none; otherwise as [`btree_txn_bucket`].
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_txn_contains_bucket(
    txn: *mut OwnedTxnHandle,
    bucket: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the name is used during this call only.
        let name = unsafe { text(bucket) }?;
        let is_there = with_open(txn.addr(), |txn| txn.contains_bucket(name))?;
        if is_there { Ok(()) } else { Err(Error::NotFound.into()) }
    })
}

/// Removes a bucket and all that it holds, which counts as read to its end. A handle of it shows no
/// entries then, and may put new ones.
///
/// Fails with `NOT_FOUND`, with nothing changed, when there is none; otherwise as
/// [`btree_txn_bucket`].
///
/// # Safety
/// `bucket` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_txn_del_bucket(
    txn: *mut OwnedTxnHandle,
    bucket: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the name is used during this call only.
        let name = unsafe { text(bucket) }?;
        Ok(with_open(txn.addr(), |txn| txn.del_bucket(name))?)
    })
}

/// Calls `callback` with the name of each bucket that the transaction sees, in ascending order. A
/// value other than 0 ends the listing and is returned. The callback may use the transaction, and
/// end it.
///
/// Fails with `INVALID` for `NULL` and a stale handle; `IO`, `CORRUPTION`, which stick.
///
/// # Safety
/// `callback` is `NULL` or a function that may be called with `ctx`. It does not leave by
/// `longjmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_txn_buckets(
    txn: *mut OwnedTxnHandle,
    callback: Option<BTreeTextFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        let callback = self::callback(callback)?;
        for name in with_open(txn.addr(), OwnedTxn::buckets)? {
            // SAFETY: the caller's promise.
            unsafe { tell(callback, name, ctx) }?;
        }
        Ok(())
    })
}
