//! States that C keeps (part of ffi, layer L8).
//!
//! Owns: the functions of snapshots. Must not know: entries.
//! Keeps: snapshot-stable (a handle owns its snapshot until it is freed).

use super::args::{Out, callback, store, text};
use super::check::tell;
use super::last_error::call;
use super::store::{settle, with_code};
use super::{BTreeTextFn, BTreeTxnFn, active};
use crate::db::BTree;
use crate::error::{Error, Result};
use crate::txn::Snapshot;
use std::ffi::{c_char, c_int, c_void};

/// A clone, so that the program may free its own while the call runs.
///
/// # Safety
/// `snapshot` is `NULL`, or was made and not freed.
unsafe fn held(snapshot: *const Snapshot) -> Result<Snapshot> {
    // SAFETY: the caller's promise: NULL, or a live snapshot, which nobody changes.
    let snapshot = unsafe { snapshot.as_ref() };
    snapshot.cloned().ok_or_else(|| Error::invalid("the snapshot is NULL"))
}

/// The newest durable state, to be read for as long as wanted, over all buckets. `*out` becomes
/// the snapshot, which [`btree_snapshot_free`] frees; `NULL` on failure. It keeps the store open,
/// and the pages that it may read from being reused.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_snapshot(db: *mut BTree, out: *mut *mut Snapshot) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        out.set(Box::into_raw(Box::new(store.snapshot())));
        Ok(())
    })
}

/// Runs a read transaction on a bucket of the snapshot's state. Otherwise as
/// [`btree_view`](super::btree_view).
///
/// # Safety
/// `snapshot` is `NULL`, or was made and not freed; `bucket` is `NULL` or ends with a NUL;
/// `callback` is `NULL` or a function that may be called with `ctx`. It does not leave by
/// `longjmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_snapshot_view(
    snapshot: *mut Snapshot,
    bucket: *const c_char,
    callback: Option<BTreeTxnFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let snapshot = unsafe { held(snapshot) }?;
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        let callback = self::callback(callback)?;
        with_code(|code| {
            snapshot.view(bucket, |txn| {
                // SAFETY: the caller's promise.
                *code = active::run_read(txn, |handle| unsafe { callback(handle, ctx) })?;
                settle(*code)
            })
        })
    })
}

/// Calls `callback` with the name of each of the snapshot's buckets, in ascending order. A value
/// other than 0 ends the listing and is returned.
///
/// # Safety
/// As [`btree_snapshot_view`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_snapshot_buckets(
    snapshot: *mut Snapshot,
    callback: Option<BTreeTextFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let snapshot = unsafe { held(snapshot) }?;
        let callback = self::callback(callback)?;
        for name in snapshot.buckets()? {
            // SAFETY: the caller's promise.
            unsafe { tell(callback, name, ctx) }?;
        }
        Ok(())
    })
}

/// The number of the snapshot's state.
///
/// # Safety
/// `snapshot` is `NULL`, or was made and not freed; `seq` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_snapshot_seq(snapshot: *mut Snapshot, seq: *mut u64) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut seq = unsafe { Out::new(seq, 0) }?;
        // SAFETY: the caller's promise.
        let snapshot = unsafe { held(snapshot) }?;
        seq.set(snapshot.seq());
        Ok(())
    })
}

/// Copies the snapshot's state into a new store file. Otherwise as
/// [`btree_backup`](super::store::btree_backup).
///
/// # Safety
/// `snapshot` is `NULL`, or was made and not freed; `path` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_snapshot_backup(
    snapshot: *mut Snapshot,
    path: *const c_char,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let snapshot = unsafe { held(snapshot) }?;
        // SAFETY: the caller's promise; the path is used during this call only.
        let path = unsafe { text(path) }?;
        snapshot.backup(path)?;
        Ok(())
    })
}

/// Frees a snapshot; `NULL` is none. Inside a callback that reads it, too: its state stays until
/// the callback has returned.
///
/// # Safety
/// `snapshot` is `NULL`, or was made and not freed, and no other thread is in a call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_snapshot_free(snapshot: *mut Snapshot) {
    call(|| {
        if !snapshot.is_null() {
            // SAFETY: it came from `Box::into_raw` in `btree_snapshot`, and is given back once.
            drop(unsafe { Box::from_raw(snapshot) });
        }
        Ok(())
    });
}
