//! Opening and closing (part of ffi, layer L8).
//!
//! Owns: [`BTreeOptions`] and the functions that make and end a store's handle. Must not know:
//! transactions. Keeps: nothing of its own.

use super::args::{Out, text};
use super::last_error::call;
use super::{
    BTREE_BARRIERS_ONE, BTREE_BARRIERS_TWO, BTREE_CACHE_BYTES_DEFAULT, BTREE_CREATE_NEW,
    BTREE_DEFERRED, BTREE_MUST_EXIST, BTREE_READ_ONLY,
};
use crate::commit::{Barriers, Durability};
use crate::db::BTree;
use crate::error::{Error, Result};
use crate::options::Options;
use std::ffi::{c_char, c_int};

/// How a store is opened. `BTREE_OPTIONS_INIT` of the header fills it with the defaults.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BTreeOptions {
    /// The size of this structure in bytes, so that a later version can tell.
    pub size: usize,
    /// How many bytes of pages are kept in memory at most; [`BTREE_CACHE_BYTES_DEFAULT`] leaves
    /// it to the library.
    pub cache_bytes: u64,
    /// The page size of a file that is created: a power of two from 512 to 32,768; 0 leaves it
    /// to the library.
    pub page_size: u32,
    /// [`BTREE_BARRIERS_ONE`] or [`BTREE_BARRIERS_TWO`]; 0 leaves it to the library.
    pub barriers: u32,
    /// Any of [`BTREE_READ_ONLY`], [`BTREE_MUST_EXIST`], [`BTREE_CREATE_NEW`] and
    /// [`BTREE_DEFERRED`], or 0. `BTREE_CREATE_NEW` excludes the two before it.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// Reads the options; the defaults for `NULL`.
///
/// # Safety
/// `options` is `NULL`, or points to a structure that begins with its size in bytes.
unsafe fn read_options(options: *const BTreeOptions) -> Result<Options> {
    if options.is_null() {
        return Ok(Options::new());
    }
    // The size is the structure's first field.
    // SAFETY: the caller's promise; not NULL.
    let size = unsafe { options.cast::<usize>().read() };
    if size != size_of::<BTreeOptions>() {
        return Err(Error::invalid("the options have the size of another version"));
    }
    // SAFETY: the caller's promise; not NULL, and of the size of the structure.
    let options = unsafe { options.read() };
    translate(&options)
}

fn translate(from: &BTreeOptions) -> Result<Options> {
    let mut options = Options::new();
    if from.page_size != 0 {
        options = options.page_size(from.page_size);
    }
    if from.cache_bytes != BTREE_CACHE_BYTES_DEFAULT {
        options = options.cache_bytes(from.cache_bytes);
    }
    options = match from.barriers {
        0 => options,
        BTREE_BARRIERS_ONE => options.barriers(Barriers::One),
        BTREE_BARRIERS_TWO => options.barriers(Barriers::Two),
        _ => return Err(Error::invalid("there are one or two barriers")),
    };
    if from.flags & BTREE_READ_ONLY != 0 {
        options = options.read_only();
    }
    if from.flags & BTREE_MUST_EXIST != 0 {
        options = options.must_exist();
    }
    if from.flags & BTREE_CREATE_NEW != 0 {
        options = options.create_new();
    }
    if from.flags & BTREE_DEFERRED != 0 {
        options = options.durability(Durability::Deferred);
    }
    let known = BTREE_READ_ONLY | BTREE_MUST_EXIST | BTREE_CREATE_NEW | BTREE_DEFERRED;
    if from.flags & !known != 0 || from.reserved != 0 {
        return Err(Error::invalid("the options have a flag that this version does not know"));
    }
    Ok(options)
}

/// Runs `open` and hands the store out.
///
/// # Safety
/// `out` is `NULL`, or may be written.
unsafe fn hand_out(out: *mut *mut BTree, open: impl FnOnce() -> Result<BTree>) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut out = unsafe { Out::new(out, std::ptr::null_mut()) }?;
        out.set(Box::into_raw(Box::new(open()?)));
        Ok(())
    })
}

/// Opens a store, and creates it when there is no file. `*out` becomes a handle, which
/// [`btree_close`] ends; `NULL` on failure. A file that the process has open already is shared.
///
/// Fails with `BUSY` when another process has it open, or this one for reading only; `POISONED`
/// while it is open and a sync of it has failed; `CORRUPTION` when it is no database, or one whose
/// state cannot be recovered; `NO_SPACE`; `IO`; `INVALID` for `NULL`, a path that is not UTF-8, and
/// a file that is to be created where another store has the name under which it is made.
///
/// # Safety
/// `path` is `NULL` or ends with a NUL; `out` is `NULL` or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_open(path: *const c_char, out: *mut *mut BTree) -> c_int {
    let open = || {
        // SAFETY: the caller's promise; the text is used during this call only.
        let path = unsafe { text(path) }?;
        BTree::open(path)
    };
    // SAFETY: the caller's promise.
    unsafe { hand_out(out, open) }
}

/// Opens a store as the options say; `NULL` stands for the defaults. A file that this process has
/// open already is shared, whatever the options say, but for `BTREE_DEFERRED` and
/// `BTREE_READ_ONLY`, which are the handle's own, and `BTREE_CREATE_NEW`. Otherwise as
/// [`btree_open`].
///
/// Fails with `INVALID` also for options that are not allowed or not known, with `IO` for a
/// missing file that is not to be created, and with `DUPLICATE` for one that exists and is to be.
///
/// # Safety
/// As [`btree_open`]; `options` is `NULL`, or points to a structure that begins with its size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_open_with(
    path: *const c_char,
    options: *const BTreeOptions,
    out: *mut *mut BTree,
) -> c_int {
    let open = || {
        // SAFETY: the caller's promise.
        let options = unsafe { read_options(options) }?;
        // SAFETY: the caller's promise; the text is used during this call only.
        let path = unsafe { text(path) }?;
        options.open(path)
    };
    // SAFETY: the caller's promise.
    unsafe { hand_out(out, open) }
}

/// Opens a store that lives in memory and goes away with its handle; a backup of it is a file, and
/// stays. `options` may be `NULL`.
///
/// # Safety
/// As [`btree_open_with`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_open_in_memory(
    options: *const BTreeOptions,
    out: *mut *mut BTree,
) -> c_int {
    let open = || {
        // SAFETY: the caller's promise.
        let options = unsafe { read_options(options) }?;
        options.open_in_memory()
    };
    // SAFETY: the caller's promise.
    unsafe { hand_out(out, open) }
}

/// Ends a handle; `NULL` is none. The file is closed with its last handle, snapshot, iterator,
/// reader and begun transaction. A callback may close the handle that its transaction came from:
/// the store stays open until the transaction has ended.
///
/// # Safety
/// `db` is `NULL`, or a handle that was opened and not closed, and no other thread is in a call
/// with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn btree_close(db: *mut BTree) {
    call(|| {
        if !db.is_null() {
            // SAFETY: it came from `Box::into_raw` in `hand_out`, and is given back once.
            drop(unsafe { Box::from_raw(db) });
        }
        Ok(())
    });
}
