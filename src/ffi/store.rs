//! What is done with a whole store (part of ffi, layer L8).
//!
//! Owns: the functions that run transactions, and those about buckets, space and figures. Must
//! not know: entries. Keeps: commit-atomic (a callback's own code rolls back).

use super::args::{Out, callback, store, text};
use super::check::tell;
use super::last_error::{Answer, Failure, call};
use super::{BTREE_OK, BTreeMultiTxnFn, BTreeTextFn, BTreeTxnFn, active};
use crate::db::BTree;
use crate::error::{Error, Result};
use std::ffi::{c_char, c_int, c_void};

/// Figures of a store. Free and pending pages are those that the next commit would find; the other
/// figures of the file are those of the newest durable state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BTreeStats {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the file, the two meta pages included.
    pub page_count: u32,
    /// Pages that hold nothing.
    pub free_pages: u64,
    /// Pages that hold what an older state still needs, or a large value that was put and is not
    /// yet committed, or is no longer wanted and still read.
    pub pending_pages: u64,
    /// Pages in memory now.
    pub cached_pages: u64,
    /// Pages read from the file since it was opened.
    pub pages_read: u64,
    /// Buckets.
    pub buckets: u64,
    /// The newest durable state.
    pub seq: u64,
    /// Older states that snapshots or transactions still read.
    pub pinned_states: u64,
    /// The oldest of them; `seq` where there are none.
    pub oldest_seq: u64,
}

/// What [`btree_compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BTreeCompactStats {
    /// Pages that were filled up, or moved.
    pub moved_pages: u64,
    /// Pages that lie beyond the wanted end of the file and could not be moved.
    pub remaining_candidates: u64,
}

/// Runs a transaction whose closure runs a callback and puts its code into the place given. The
/// code, when it is not 0, is the outcome.
pub(super) fn with_code(run: impl FnOnce(&mut c_int) -> Result<()>) -> Answer {
    let mut code = BTREE_OK;
    let result = run(&mut code);
    if code == BTREE_OK { Ok(result?) } else { Err(Failure::Code(code)) }
}

/// Makes a transaction roll back for a code other than 0. `with_code` returns the code, and
/// nobody sees the error.
pub(super) fn settle(code: c_int) -> Result<()> {
    if code == BTREE_OK { Ok(()) } else { Err(Error::Invalid) }
}

/// Runs a write transaction on a bucket, which is made when it is missing. When `callback`
/// returns 0, the changes are durable before this returns, unless commits are deferred. Any other
/// value rolls them back and is returned.
///
/// Fails with `INVALID` for `NULL`, an empty name or one that is not UTF-8, inside another write
/// transaction of the same thread on the same store, and on a read-only store; `TOO_LARGE` for a
/// name beyond the limit; `NO_SPACE`, `IO` and `CORRUPTION`, with nothing changed; `POISONED`
/// after a failed sync; `INTERNAL` after a panic; what took deferred commits of this handle, until
/// [`btree_sync`] has told it.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `bucket` is `NULL` or ends with a NUL; `callback` is
/// `NULL` or a function that may be called with `ctx`. It does not leave by `longjmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_exec(
    db: *mut BTree,
    bucket: *const c_char,
    callback: Option<BTreeTxnFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        let callback = self::callback(callback)?;
        with_code(|code| {
            store.exec(bucket, |txn| {
                // SAFETY: the caller's promise.
                *code = active::run_write(txn, |handle| unsafe { callback(handle, ctx) })?;
                settle(*code)
            })
        })
    })
}

/// Runs a read transaction on a bucket of the newest durable state. A value other than 0 that
/// `callback` returns is returned. An error of the storage that the transaction or one of its
/// iterators met is returned even when `callback` returns 0.
///
/// Fails with `NOT_FOUND` when there is no such bucket; `INVALID`, `TOO_LARGE` for the name;
/// `IO`, `CORRUPTION`.
///
/// # Safety
/// As [`btree_exec`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_view(
    db: *mut BTree,
    bucket: *const c_char,
    callback: Option<BTreeTxnFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        let callback = self::callback(callback)?;
        with_code(|code| {
            store.view(bucket, |txn| {
                // SAFETY: the caller's promise.
                *code = active::run_read(txn, |handle| unsafe { callback(handle, ctx) })?;
                settle(*code)
            })
        })
    })
}

/// Runs a write transaction over several buckets, with one flush for all of them. Otherwise as
/// [`btree_exec`].
///
/// # Safety
/// As [`btree_exec`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_exec_multi(
    db: *mut BTree,
    callback: Option<BTreeMultiTxnFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        let callback = self::callback(callback)?;
        with_code(|code| {
            store.exec_multi(|multi| {
                // SAFETY: the caller's promise.
                *code = active::run_multi(multi, |handle| unsafe { callback(handle, ctx) })?;
                settle(*code)
            })
        })
    })
}

/// Calls `callback` with the name of each bucket of the newest durable state, in ascending order.
/// A value other than 0 ends the listing and is returned. The callback may use the store.
///
/// # Safety
/// As [`btree_exec`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_buckets(
    db: *mut BTree,
    callback: Option<BTreeTextFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        let callback = self::callback(callback)?;
        for name in store.buckets()? {
            // SAFETY: the caller's promise.
            unsafe { tell(callback, name, ctx) }?;
        }
        Ok(())
    })
}

/// Removes a bucket and all that it holds.
///
/// Fails with `NOT_FOUND` when there is no such bucket; otherwise as [`btree_exec`].
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `bucket` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_del_bucket(db: *mut BTree, bucket: *const c_char) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        // SAFETY: the caller's promise; the name is used during this call only.
        let bucket = unsafe { text(bucket) }?;
        Ok(store.del_bucket(bucket)?)
    })
}

/// Waits until all commits made before, by whichever handle, are durable. Where none is deferred
/// that is so already, and this only reports whether the store still can.
///
/// Fails with what took deferred commits of which this handle was not told; `NO_SPACE` and `IO` of
/// the flush, which takes back all that waited for it; `POISONED` after a failed sync; `INVALID`
/// inside a write transaction, and on a read-only store.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_sync(db: *mut BTree) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        Ok(store.sync()?)
    })
}

/// As [`btree_sync`], under another name.
///
/// # Safety
/// As [`btree_sync`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_commit(db: *mut BTree) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        Ok(store.commit()?)
    })
}

/// Fills leaves up, moves pages from the end of the file to free places, and shortens the file by
/// `target_bytes` if it can; 0 asks for as much as it can, and is no built-in ratio. The file is
/// longer meanwhile, and as long as a reader needs what was replaced. `stats` may be `NULL`.
///
/// Fails as [`btree_exec`].
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `stats` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_compact(
    db: *mut BTree,
    target_bytes: u64,
    stats: *mut BTreeCompactStats,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let stats = unsafe { Out::optional(stats, BTreeCompactStats::default()) };
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        let done = store.compact(target_bytes)?;
        if let Some(mut stats) = stats {
            stats.set(BTreeCompactStats {
                moved_pages: done.moved_pages as u64,
                remaining_candidates: done.remaining_candidates as u64,
            });
        }
        Ok(())
    })
}

/// Copies the newest durable state into a new store file. Others read and write meanwhile.
///
/// Fails with `INVALID` for `NULL`; `DUPLICATE` when there is something at `path`, which is left as
/// it is; `BUSY` when somebody else makes the same file; `NO_SPACE`, `IO`, and `CORRUPTION` of the
/// source: there is nothing at `path` then.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `path` is `NULL` or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_backup(db: *mut BTree, path: *const c_char) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        // SAFETY: the caller's promise; the path is used during this call only.
        let path = unsafe { text(path) }?;
        store.backup(path)?;
        Ok(())
    })
}

/// The number of the newest durable state: it grows with every commit that changed something, and
/// with those of a compaction, which leave the contents as they are. Commits that share a flush
/// share a number, so that deferred ones have that of the commit that makes them durable. A
/// transaction that leaves its buckets empty or missing, as they were, has changed nothing.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `seq` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_current_seq(db: *mut BTree, seq: *mut u64) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut seq = unsafe { Out::new(seq, 0) }?;
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        seq.set(store.current_seq());
        Ok(())
    })
}

/// A rough figure of the write transaction that runs: how many places its part that wrote last has
/// given up, a value with pages of its own counted as one, and as many made anew, at least one.
/// Both are 0 between transactions.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `made` and `given_up` are `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_pending_pages(
    db: *mut BTree,
    made: *mut u64,
    given_up: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let made = unsafe { Out::new(made, 0) };
        // SAFETY: the caller's promise.
        let given_up = unsafe { Out::new(given_up, 0) };
        let (mut made, mut given_up) = (made?, given_up?);
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        let pages = store.pending_pages();
        made.set(pages.0 as u64);
        given_up.set(pages.1 as u64);
        Ok(())
    })
}

/// Figures of the store now. Waits for the write transaction that runs.
///
/// Fails with `INVALID` inside a write transaction of the same thread, and as
/// [`BTree::stats`](crate::BTree::stats) of a store whose free space is not known.
///
/// # Safety
/// `db` is `NULL`, or opened and not closed; `stats` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_stats(db: *mut BTree, stats: *mut BTreeStats) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(stats, BTreeStats::default()) }?;
        // SAFETY: the caller's promise.
        let store = unsafe { store(db) }?;
        let stats = store.stats()?;
        out.set(BTreeStats {
            page_size: stats.page_size,
            page_count: stats.page_count,
            free_pages: stats.free_pages,
            pending_pages: stats.pending_pages,
            cached_pages: stats.cached_pages as u64,
            pages_read: stats.pages_read,
            buckets: u64::from(stats.buckets),
            seq: stats.seq,
            pinned_states: stats.pinned_states as u64,
            oldest_seq: stats.oldest_seq,
        });
        Ok(())
    })
}
