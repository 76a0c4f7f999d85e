//! The C ABI (layer L8).
//!
//! Owns: the functions that `include/btree_store.h` declares, and the codes and structures that
//! cross the boundary. Must not know: anything below the public API but how errors are raised.
//! Keeps: bytes-never-panic (a panic becomes [`BTREE_ERR_INTERNAL`]), commit-atomic (a callback
//! that returns another value than 0 rolls back), errors-stick.
//!
//! `docs/ffi.md` is the manual for C programs. The rules that hold for all functions:
//!
//! - A function that can fail returns an `int`: 0, or a negative code of this module. The text
//!   behind the code is kept per thread, see [`btree_last_error`].
//! - A callback that returns another value than 0 ends its transaction, or the call that ran it,
//!   without effect; that value comes back unchanged.
//! - Handles of transactions are numbers in the guise of pointers. They are looked up among the
//!   transactions of the calling thread, or those that [`btree_begin`] began, and never followed,
//!   so that a stale or foreign one is [`BTREE_ERR_INVALID`] and nothing worse.
//! - `BTree *`, `BTreeSnapshot *`, `TxnIter *` and `TxnReader *` are real pointers: to use one
//!   after it was closed or freed is undefined, as with `free`.
//! - `NULL` where an argument is needed is [`BTREE_ERR_INVALID`].
//! - Panics do not leave these functions.

mod access;
mod active;
mod args;
mod begun;
mod check;
mod entries;
mod iter;
mod last_error;
mod load;
mod multi;
mod open;
mod owned;
mod pieces;
mod snapshot;
mod steps;
mod store;
#[cfg(test)]
mod tests;

pub use check::{btree_verify, btree_verify_path};
pub use entries::{
    btree_free, txn_contains, txn_del, txn_del_range, txn_get, txn_insert, txn_len, txn_put,
    txn_update,
};
pub use iter::{
    TxnIter, txn_iter_free, txn_iter_new, txn_iter_next, txn_iter_next_key, txn_iter_prev,
    txn_iter_prev_key, txn_iter_seek,
};
pub use last_error::{
    btree_last_error, btree_last_error_clear, btree_version, btree_version_number,
};
pub use load::txn_bulk_load;
pub use multi::{mtxn_bucket, mtxn_del_bucket, mtxn_exec};
pub use open::{BTreeOptions, btree_close, btree_open, btree_open_in_memory, btree_open_with};
pub use owned::{
    btree_begin, btree_txn_abort, btree_txn_bucket, btree_txn_buckets, btree_txn_commit,
    btree_txn_contains_bucket, btree_txn_create_bucket, btree_txn_del_bucket,
};
pub use pieces::{
    TxnReader, txn_put_from, txn_reader_free, txn_reader_len, txn_reader_new, txn_reader_read,
};
pub use snapshot::{
    btree_snapshot, btree_snapshot_backup, btree_snapshot_buckets, btree_snapshot_free,
    btree_snapshot_seq, btree_snapshot_view,
};
pub use store::{
    BTreeCompactStats, BTreeStats, btree_backup, btree_buckets, btree_commit, btree_compact,
    btree_current_seq, btree_del_bucket, btree_exec, btree_exec_multi, btree_pending_pages,
    btree_stats, btree_sync, btree_view,
};

use crate::error::Error;
use std::ffi::{c_char, c_int, c_void};

/// Success.
pub const BTREE_OK: c_int = 0;
/// [`Error::NotFound`]; also the end of an iteration.
pub const BTREE_ERR_NOT_FOUND: c_int = -1;
/// [`Error::Corruption`].
pub const BTREE_ERR_CORRUPTION: c_int = -2;
/// [`Error::TooLarge`].
pub const BTREE_ERR_TOO_LARGE: c_int = -3;
/// [`Error::Internal`], and a panic.
pub const BTREE_ERR_INTERNAL: c_int = -4;
/// [`Error::NoSpace`].
pub const BTREE_ERR_NO_SPACE: c_int = -5;
/// [`Error::IoError`].
pub const BTREE_ERR_IO: c_int = -6;
/// [`Error::Invalid`].
pub const BTREE_ERR_INVALID: c_int = -7;
/// [`Error::Duplicate`].
pub const BTREE_ERR_DUPLICATE: c_int = -8;
/// [`Error::Conflict`].
pub const BTREE_ERR_CONFLICT: c_int = -9;
/// [`Error::Busy`].
pub const BTREE_ERR_BUSY: c_int = -10;
/// [`Error::Poisoned`].
pub const BTREE_ERR_POISONED: c_int = -11;
/// Kept for programs that ask for it; no function returns it.
pub const BTREE_ERR_UNKNOWN: c_int = -1000;

/// [`BTreeOptions::flags`]: nothing is written; several processes may read at once.
pub const BTREE_READ_ONLY: u32 = 1;
/// [`BTreeOptions::flags`]: a missing file is an error, not created.
pub const BTREE_MUST_EXIST: u32 = 2;
/// [`BTreeOptions::flags`]: commits are deferred; `btree_sync` waits for them.
pub const BTREE_DEFERRED: u32 = 4;
/// [`BTreeOptions::flags`]: a file that exists is [`BTREE_ERR_DUPLICATE`], not opened.
pub const BTREE_CREATE_NEW: u32 = 8;
/// [`BTreeOptions::barriers`]: a commit uses one barrier.
pub const BTREE_BARRIERS_ONE: u32 = 1;
/// [`BTreeOptions::barriers`]: a commit uses two barriers.
pub const BTREE_BARRIERS_TWO: u32 = 2;
/// [`BTreeOptions::cache_bytes`]: as much as the library finds right.
pub const BTREE_CACHE_BYTES_DEFAULT: u64 = u64::MAX;

/// `Txn` of the header: a transaction on one bucket. Never followed.
#[derive(Debug)]
#[repr(C)]
pub struct TxnHandle {
    never_read: [u8; 0],
}

/// `BTreeTxn` of the header: a transaction that is begun, and ended by a call. Never followed.
#[derive(Debug)]
#[repr(C)]
pub struct OwnedTxnHandle {
    never_read: [u8; 0],
}

/// `MultiTxn` of the header: a transaction over several buckets. Never followed.
#[derive(Debug)]
#[repr(C)]
pub struct MultiTxnHandle {
    never_read: [u8; 0],
}

/// A callback that works on one bucket. A value other than 0 rolls back.
pub type BTreeTxnFn = unsafe extern "C-unwind" fn(*mut TxnHandle, *mut c_void) -> c_int;
/// A callback that works on several buckets. A value other than 0 rolls back.
pub type BTreeMultiTxnFn = unsafe extern "C-unwind" fn(*mut MultiTxnHandle, *mut c_void) -> c_int;
/// A callback that gets a text, with a NUL behind it that `len` does not count. A value other than
/// 0 ends the listing.
pub type BTreeTextFn = unsafe extern "C-unwind" fn(*const c_char, usize, *mut c_void) -> c_int;

/// A callback that brings a value piece by piece: it puts at most so many bytes at the place given,
/// and their number, which is 0 before, at the other one. No bytes are the end of the value. What
/// it returns other than 0 ends the call that wants the value.
pub type BTreeReadFn =
    unsafe extern "C-unwind" fn(*mut u8, usize, *mut usize, *mut c_void) -> c_int;

/// A callback that shows entries, one in each call: where key and value are and how long they are,
/// into places that hold `NULL` and 0 before. A key that stays `NULL` says that there are no more.
/// What it returns other than 0 ends the call that wants the entries.
pub type BTreeEntryFn = unsafe extern "C-unwind" fn(
    *mut *const u8,
    *mut usize,
    *mut *const u8,
    *mut usize,
    *mut c_void,
) -> c_int;

/// The code of an error. Exhaustive: a new variant does not compile before it has a code.
fn code_of(error: Error) -> c_int {
    match error {
        Error::NotFound => BTREE_ERR_NOT_FOUND,
        Error::Corruption => BTREE_ERR_CORRUPTION,
        Error::TooLarge => BTREE_ERR_TOO_LARGE,
        Error::Internal => BTREE_ERR_INTERNAL,
        Error::NoSpace => BTREE_ERR_NO_SPACE,
        Error::IoError => BTREE_ERR_IO,
        Error::Invalid => BTREE_ERR_INVALID,
        Error::Duplicate => BTREE_ERR_DUPLICATE,
        Error::Conflict => BTREE_ERR_CONFLICT,
        Error::Busy => BTREE_ERR_BUSY,
        Error::Poisoned => BTREE_ERR_POISONED,
    }
}
