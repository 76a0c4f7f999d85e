//! Values piece by piece (part of ffi, layer L8).
//!
//! Owns: [`TxnReader`] and the functions that take it; [`txn_put_from`]. Must not know: where a
//! value lies.
//! Keeps: errors-stick (of a reader, and of its transaction), commit-atomic (a value whose callback
//! fails has changed nothing), bytes-never-panic (a callback may say that it put any number of
//! bytes).

use super::active::{Armed, lend_txn, note, root_of, with_txn};
use super::args::{Out, bytes, callback};
use super::last_error::call;
use super::store::{settle, with_code};
use super::{BTREE_OK, BTreeReadFn, TxnHandle};
use crate::error::{Error, Result};
use crate::txn::ValueReader;
use std::ffi::{c_int, c_void};
use std::io::{self, Read};

/// A value that a callback brings.
struct Source<'c> {
    read: BTreeReadFn,
    ctx: *mut c_void,
    /// What the callback returned last.
    code: &'c mut c_int,
    /// It said that it put more bytes than there was room for.
    has_overrun: bool,
}

impl<'c> Source<'c> {
    /// # Safety
    /// `read` may be called with `ctx`, and puts as many bytes as there is room for at most.
    unsafe fn new(read: BTreeReadFn, ctx: *mut c_void, code: &'c mut c_int) -> Source<'c> {
        Source { read, ctx, code, has_overrun: false }
    }

    /// What a put of the value came to: a callback that fails is no failure of the storage.
    fn ended(self, put: Result<()>) -> Result<()> {
        settle(*self.code)?;
        if self.has_overrun {
            return Err(Error::invalid("the callback says that it put more than it had room for"));
        }
        put
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        // SAFETY: the promise of `new`; the buffer and the length may be written.
        *self.code = unsafe { (self.read)(buf.as_mut_ptr(), buf.len(), &raw mut len, self.ctx) };
        self.has_overrun = *self.code == BTREE_OK && len > buf.len();
        if *self.code != BTREE_OK || self.has_overrun {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(len)
    }
}

/// As [`txn_put`](super::txn_put), of a value of `len` bytes that `read` brings piece by piece. It
/// is called until it has brought all of them, and then once more with room for one byte, when it
/// must bring none. A value that has no room in a leaf goes to the file meanwhile, of which 256 KiB
/// are in memory at a time.
///
/// When `read` returns another value than 0, nothing has changed, the value is returned, and the
/// transaction may go on. Until this returns, the transaction is not to be used: `INVALID`; but one
/// of [`btree_begin`](super::btree_begin) may be used by `read`, and aborted.
///
/// Fails with `INVALID` when `read` ends before `len` bytes, goes on behind them, or says that it
/// put more than it had room for: nothing has changed; otherwise as [`txn_put`](super::txn_put),
/// and with `NO_SPACE` of any value that has no room in a leaf, which sticks. In a transaction that
/// was begun, such a value also fails with `INVALID` inside a write transaction of the same thread,
/// and with `POISONED` after a failed sync.
///
/// # Safety
/// `key` points to `klen` bytes, or is `NULL`, and they stay as they are until this returns; `read`
/// is `NULL` or a function that may be called with `ctx`, and writes to no more than the bytes that
/// it has room for. It does not leave by `longjmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_put_from(
    txn: *mut TxnHandle,
    key: *const u8,
    klen: usize,
    len: u64,
    read: Option<BTreeReadFn>,
    ctx: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        let read = callback(read)?;
        let why = "the transaction waits for the callback of txn_put_from";
        with_code(|code| {
            lend_txn(txn, why, |txn| {
                // SAFETY: the caller's promise.
                let mut source = unsafe { Source::new(read, ctx, code) };
                let put = txn.put_from(key, len, &mut source);
                source.ended(put)
            })
        })
    })
}

/// `TxnReader` of the header: a value that is read from its beginning to its end.
#[derive(Debug)]
pub struct TxnReader {
    value: ValueReader,
    /// The transaction that an error sticks to, while it runs.
    root: usize,
}

impl TxnReader {
    /// Copies the bytes that follow to `buf`, as many as there are, at most `capacity`. Returns how
    /// many there were. An error of the storage, or a panic, fails the transaction too.
    ///
    /// # Safety
    /// `buf` points to `capacity` bytes that may be written.
    unsafe fn read(&mut self, buf: *mut u8, capacity: usize) -> Result<usize> {
        let armed = Armed::new(self.root);
        let mut filled = 0;
        let result = loop {
            // SAFETY: the caller's promise: so much of it is left behind what was filled.
            match unsafe { self.read_some(buf.wrapping_add(filled), capacity - filled) } {
                Ok(0) => break Ok(filled),
                Ok(len) => filled += len,
                Err(error) => break Err(error),
            }
        };
        armed.disarm();
        note(self.root, &result);
        result
    }

    /// As [`TxnReader::read`], of a part of them. None at the end, and where there is no room.
    ///
    /// # Safety
    /// As [`TxnReader::read`].
    unsafe fn read_some(&mut self, buf: *mut u8, capacity: usize) -> Result<usize> {
        if capacity == 0 {
            return Ok(0);
        }
        let bytes = self.value.at_hand()?;
        let len = bytes.len().min(capacity);
        // SAFETY: the caller's promise; the reader's bytes are its own.
        unsafe { buf.copy_from_nonoverlapping(bytes.as_ptr(), len) };
        self.value.give(len);
        Ok(len)
    }
}

/// The reader behind a pointer.
///
/// # Safety
/// `reader` is `NULL`, or was made and not freed, and no other call uses it while the result lives.
unsafe fn borrow<'a>(reader: *mut TxnReader) -> Result<&'a mut TxnReader> {
    // SAFETY: the caller's promise: NULL, or live and used by nobody else.
    let reader = unsafe { reader.as_mut() };
    reader.ok_or_else(|| Error::invalid("the reader is NULL"))
}

/// A reader of the value that a key has now; later writes do not change what it gives. `*out`
/// becomes the reader, which [`txn_reader_free`] frees; `NULL` on failure. It may outlive its
/// transaction, and keeps the store open. In one of [`btree_begin`](super::btree_begin), the value
/// counts as read as a whole.
///
/// Fails as [`txn_get`](super::txn_get); what is found to be damaged later, the reader says.
///
/// # Safety
/// `key` points to `klen` bytes, or is `NULL`; `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_reader_new(
    txn: *mut TxnHandle,
    key: *const u8,
    klen: usize,
    out: *mut *mut TxnReader,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        // SAFETY: the caller's promise; the key is used during this call only.
        let key = unsafe { bytes(key, klen) }?;
        let root = root_of(txn)?;
        let value = with_txn(txn, |txn| txn.get_reader(key))?;
        out.set(Box::into_raw(Box::new(TxnReader { value, root })));
        Ok(())
    })
}

/// The length of the whole value in bytes, however much of it was read.
///
/// Fails with `INVALID` for `NULL`.
///
/// # Safety
/// `reader` is `NULL`, or was made and not freed, and no other thread is in a call with it; `len`
/// is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_reader_len(reader: *mut TxnReader, len: *mut u64) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut len = unsafe { Out::new(len, 0) }?;
        // SAFETY: the caller's promise.
        let reader = unsafe { borrow(reader) }?;
        len.set(reader.value.len());
        Ok(())
    })
}

/// Copies the bytes that follow those which were read to `buf`. `*len` becomes their number:
/// `capacity`, or what is left of the value, and 0 at its end. At most 256 KiB are in memory
/// besides. The checksum covers the whole value and is compared before the last bytes are given:
/// damage is an error instead, never a short value.
///
/// Fails with `INVALID` for `NULL`, but for `buf` where `capacity` is 0; `IO`, `CORRUPTION`, which
/// stick to reader and transaction; `*len` is 0 then, and what is at `buf` counts for nothing.
///
/// # Safety
/// `reader` is `NULL`, or was made and not freed, and no other thread is in a call with it; `buf`
/// is `NULL`, or points to `capacity` bytes that may be written; `len` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_reader_read(
    reader: *mut TxnReader,
    buf: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut len = unsafe { Out::new(len, 0) }?;
        // SAFETY: the caller's promise.
        let reader = unsafe { borrow(reader) }?;
        if buf.is_null() && capacity > 0 {
            return Err(Error::invalid("the buffer is NULL, its capacity is not 0").into());
        }
        // SAFETY: the caller's promise; not NULL, unless nothing is written.
        let filled = unsafe { reader.read(buf, capacity) }?;
        len.set(filled);
        Ok(())
    })
}

/// Frees a reader; `NULL` is none. It may be freed inside its callback or after, at any place of
/// the value.
///
/// # Safety
/// `reader` is `NULL`, or was made and not freed, and no other thread is in a call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn txn_reader_free(reader: *mut TxnReader) {
    call(|| {
        if !reader.is_null() {
            // SAFETY: it came from `Box::into_raw` in `txn_reader_new`, and is given back once.
            drop(unsafe { Box::from_raw(reader) });
        }
        Ok(())
    });
}
