//! What a C program cannot bring about by itself: panics on both sides of the boundary, and disks
//! that fail.
//!
//! Attacks: bytes-never-panic, errors-stick, commit-atomic, failed-sync-poisons.

use super::begun::with_open;
use super::*;
use crate::commit::Durability;
use crate::db::BTree;
use crate::options::Options;
use crate::vfs::{FileId, LockMode, MemVfs, OpenMode, Vfs, VfsFile};
use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A store, as C holds it.
struct Store(*mut BTree);

impl Store {
    fn new(db: BTree) -> Store {
        Store(Box::into_raw(Box::new(db)))
    }

    fn in_memory() -> Store {
        Store::new(Options::new().page_size(512).open_in_memory().unwrap())
    }

    fn exec(&self, body: impl FnMut(*mut TxnHandle) -> c_int) -> c_int {
        let mut body: Body<'_> = Box::new(body);
        let ctx = (&raw mut body).cast();
        // SAFETY: the handle is open; the body lives until the call returns.
        unsafe { btree_exec(self.0, c"b".as_ptr(), Some(txn_body), ctx) }
    }

    fn view(&self, body: impl FnMut(*mut TxnHandle) -> c_int) -> c_int {
        let mut body: Body<'_> = Box::new(body);
        let ctx = (&raw mut body).cast();
        // SAFETY: the handle is open; the body lives until the call returns.
        unsafe { btree_view(self.0, c"b".as_ptr(), Some(txn_body), ctx) }
    }

    /// Runs a body on the bucket's handle inside a multi-bucket transaction.
    fn exec_multi(&self, mut body: impl FnMut(*mut TxnHandle) -> c_int) -> c_int {
        self.multi(|multi| {
            let mut txn = null_mut();
            // SAFETY: the name ends with a NUL, the place may be written.
            let code = unsafe { mtxn_bucket(multi, c"b".as_ptr(), &raw mut txn) };
            if code == BTREE_OK { body(txn) } else { code }
        })
    }

    /// A transaction that is begun, and its handle of the bucket.
    fn begin(&self) -> (*mut OwnedTxnHandle, *mut TxnHandle) {
        let (mut txn, mut bucket) = (null_mut(), null_mut());
        // SAFETY: the handle is open, the place may be written.
        assert_eq!(unsafe { btree_begin(self.0, &raw mut txn) }, BTREE_OK);
        // SAFETY: the name ends with a NUL, the place may be written.
        let code = unsafe { btree_txn_bucket(txn, c"b".as_ptr(), &raw mut bucket) };
        assert_eq!(code, BTREE_OK);
        (txn, bucket)
    }

    fn multi(&self, body: impl FnMut(*mut MultiTxnHandle) -> c_int) -> c_int {
        let mut body: MultiBody<'_> = Box::new(body);
        let ctx = (&raw mut body).cast();
        // SAFETY: the handle is open; the body lives until the call returns.
        unsafe { btree_exec_multi(self.0, Some(multi_body), ctx) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and closed here alone.
        unsafe { btree_close(self.0) }
    }
}

type Body<'a> = Box<dyn FnMut(*mut TxnHandle) -> c_int + 'a>;
type MultiBody<'a> = Box<dyn FnMut(*mut MultiTxnHandle) -> c_int + 'a>;

unsafe extern "C-unwind" fn txn_body(txn: *mut TxnHandle, ctx: *mut c_void) -> c_int {
    // SAFETY: `exec` and `view` pass a body that lives until they return.
    let body = unsafe { &mut *ctx.cast::<Body<'_>>() };
    body(txn)
}

unsafe extern "C-unwind" fn multi_body(multi: *mut MultiTxnHandle, ctx: *mut c_void) -> c_int {
    // SAFETY: `exec_multi` passes a body that lives until it returns.
    let body = unsafe { &mut *ctx.cast::<MultiBody<'_>>() };
    body(multi)
}

fn put(txn: *mut TxnHandle, key: &[u8], value: &[u8]) -> c_int {
    // SAFETY: the slices give pointers and lengths.
    unsafe { txn_put(txn, key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

fn get(txn: *mut TxnHandle, key: &[u8]) -> c_int {
    let (mut value, mut len) = (null_mut(), 0);
    // SAFETY: the slice gives pointer and length, the places may be written.
    let code = unsafe { txn_get(txn, key.as_ptr(), key.len(), &raw mut value, &raw mut len) };
    // SAFETY: they came together, and are freed once; NULL and 0 after a failure.
    unsafe { btree_free(value.cast(), len) };
    code
}

fn new_iter(txn: *mut TxnHandle) -> *mut TxnIter {
    let mut iter = null_mut();
    // SAFETY: the place may be written.
    assert_eq!(unsafe { txn_iter_new(txn, &raw mut iter) }, BTREE_OK);
    iter
}

fn next(iter: *mut TxnIter) -> c_int {
    let (mut key, mut key_len, mut value, mut value_len) = (null(), 0, null(), 0);
    let (key, key_len) = (&raw mut key, &raw mut key_len);
    // SAFETY: the iterator was made and not freed, the places may be written.
    unsafe { txn_iter_next(iter, key, key_len, &raw mut value, &raw mut value_len) }
}

fn next_key(iter: *mut TxnIter) -> c_int {
    let (mut key, mut key_len) = (null(), 0);
    // SAFETY: the iterator was made and not freed, the places may be written.
    unsafe { txn_iter_next_key(iter, &raw mut key, &raw mut key_len) }
}

fn free(iter: *mut TxnIter) {
    // SAFETY: the iterator was made, and is freed once.
    unsafe { txn_iter_free(iter) }
}

type ReadBody<'a> = Box<dyn FnMut(&mut [u8]) -> usize + 'a>;

unsafe extern "C-unwind" fn read_body(
    buf: *mut u8,
    capacity: usize,
    len: *mut usize,
    ctx: *mut c_void,
) -> c_int {
    // SAFETY: `put_from` passes a body that lives until it returns.
    let body = unsafe { &mut *ctx.cast::<ReadBody<'_>>() };
    // SAFETY: the library gives so much room, all of it written.
    let room = unsafe { std::slice::from_raw_parts_mut(buf, capacity) };
    let count = body(room);
    // SAFETY: the library's own place.
    unsafe { len.write(count) };
    BTREE_OK
}

/// Puts a value of so many bytes that a body brings.
fn put_from(txn: *mut TxnHandle, len: u64, body: impl FnMut(&mut [u8]) -> usize) -> c_int {
    let mut body: ReadBody<'_> = Box::new(body);
    let ctx = (&raw mut body).cast();
    // SAFETY: the key has four bytes; the body lives until the call returns.
    unsafe { txn_put_from(txn, b"long".as_ptr(), 4, len, Some(read_body), ctx) }
}

fn new_reader(txn: *mut TxnHandle, key: &[u8]) -> *mut TxnReader {
    let mut reader = null_mut();
    // SAFETY: the slice gives pointer and length, the place may be written.
    let code = unsafe { txn_reader_new(txn, key.as_ptr(), key.len(), &raw mut reader) };
    assert_eq!(code, BTREE_OK);
    reader
}

fn read(reader: *mut TxnReader) -> c_int {
    let (mut buf, mut len) = ([0; 100], 0);
    // SAFETY: the reader was made and not freed, the places may be written.
    unsafe { txn_reader_read(reader, buf.as_mut_ptr(), buf.len(), &raw mut len) }
}

fn free_reader(reader: *mut TxnReader) {
    // SAFETY: the reader was made, and is freed once.
    unsafe { txn_reader_free(reader) }
}

fn last_error() -> (c_int, String) {
    let mut text = null();
    // SAFETY: the place may be written; NULL leaves the length out.
    let code = unsafe { btree_last_error(&raw mut text, null_mut()) };
    // SAFETY: the text ends with a NUL and is read before the next call.
    let text = unsafe { CStr::from_ptr(text) };
    (code, text.to_str().unwrap().to_owned())
}

fn fails_with(code: c_int, part: &str) {
    let (kept, text) = last_error();
    assert_eq!(kept, code, "{text}");
    assert!(text.contains(part), "{text:?} lacks {part:?}");
}

#[test]
fn every_error_has_its_own_code() {
    let all = [
        (Error::NotFound, -1),
        (Error::Corruption, -2),
        (Error::TooLarge, -3),
        (Error::Internal, -4),
        (Error::NoSpace, -5),
        (Error::IoError, -6),
        (Error::Invalid, -7),
        (Error::Duplicate, -8),
        (Error::Conflict, -9),
        (Error::Busy, -10),
        (Error::Poisoned, -11),
    ];
    for (error, code) in all {
        assert_eq!(code_of(error), code, "{error:?}");
    }
}

#[test]
fn a_panicking_callback_is_a_code_and_a_rollback() {
    let store = Store::in_memory();
    assert_eq!(store.exec(|txn| put(txn, b"kept", b"1")), BTREE_OK);
    let code = store.exec(|txn| {
        assert_eq!(put(txn, b"lost", b"1"), BTREE_OK);
        panic!("out of {}", "a callback");
    });
    assert_eq!(code, BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "out of a callback");
    let code = store.exec_multi(|txn| {
        assert_eq!(put(txn, b"lost", b"1"), BTREE_OK);
        panic!("without arguments");
    });
    assert_eq!(code, BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "without arguments");
    assert_eq!(store.view(|_| std::panic::panic_any(7_u8)), BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "without a text");
    assert_eq!(store.view(|txn| get(txn, b"lost")), BTREE_ERR_NOT_FOUND);
    assert_eq!(store.view(|txn| get(txn, b"kept")), BTREE_OK);
    assert_eq!(store.exec(|txn| put(txn, b"again", b"1")), BTREE_OK);
}

#[test]
fn a_handle_from_a_callback_that_panicked_is_stale() {
    let store = Store::in_memory();
    let mut stale = null_mut();
    let code = store.exec(|txn| {
        stale = txn;
        panic!("on purpose");
    });
    assert_eq!(code, BTREE_ERR_INTERNAL);
    assert_eq!(put(stale, b"k", b"v"), BTREE_ERR_INVALID);
    assert_eq!(store.exec(|_| put(stale, b"k", b"v")), BTREE_ERR_INVALID);
}

#[test]
fn a_text_with_a_nul_is_kept_without_it() {
    let store = Store::in_memory();
    assert_eq!(store.exec(|_| panic!("one\0two")), BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "onetwo");
    btree_last_error_clear();
    assert_eq!(last_error(), (BTREE_OK, String::new()));
}

/// What a place holds that nobody has written to.
const UNTOUCHED: u64 = 0xA5A5_A5A5_A5A5_A5A5;

#[test]
fn places_that_may_be_left_out_are_written_on_failure_too() {
    let store = Store::in_memory();
    let mut stats = BTreeCompactStats { moved_pages: UNTOUCHED, remaining_candidates: UNTOUCHED };
    // SAFETY: the store is missing, the place may be written.
    let code = unsafe { btree_compact(null_mut(), 0, &raw mut stats) };
    assert_eq!((code, stats), (BTREE_ERR_INVALID, BTreeCompactStats::default()));
    let code = store.exec(|_| {
        stats.moved_pages = UNTOUCHED;
        // SAFETY: the handle is open, the place may be written.
        let code = unsafe { btree_compact(store.0, 0, &raw mut stats) };
        assert_eq!((code, stats), (BTREE_ERR_INVALID, BTreeCompactStats::default()));
        BTREE_OK
    });
    assert_eq!(code, BTREE_OK);
    let fails = |txn, start, len| {
        let mut removed = UNTOUCHED;
        // SAFETY: no bytes are at NULL, so that none are read; the place may be written.
        let code = unsafe { txn_del_range(txn, start, len, null(), 0, &raw mut removed) };
        assert_eq!((code, removed), (BTREE_ERR_INVALID, 0));
    };
    fails(null_mut(), null(), 0);
    assert_eq!(store.exec(|txn| put(txn, b"k", b"v")), BTREE_OK);
    assert_eq!(
        store.exec(|txn| {
            fails(txn, null(), 3);
            BTREE_OK
        }),
        BTREE_OK
    );
    assert_eq!(
        store.view(|txn| {
            fails(txn, null(), 0);
            BTREE_OK
        }),
        BTREE_OK
    );
}

#[test]
fn a_place_is_written_though_the_one_before_it_is_missing() {
    let store = Store::in_memory();
    let mut given_up = UNTOUCHED;
    // SAFETY: the handle is open; one place is NULL, the other may be written.
    let code = unsafe { btree_pending_pages(store.0, null_mut(), &raw mut given_up) };
    assert_eq!((code, given_up), (BTREE_ERR_INVALID, 0));
    assert_eq!(store.exec(|txn| put(txn, b"k", b"v")), BTREE_OK);
    let code = store.view(|txn| {
        let mut len = 7;
        // SAFETY: the key has one byte; one place is NULL, the other may be written.
        let code = unsafe { txn_get(txn, b"k".as_ptr(), 1, null_mut(), &raw mut len) };
        assert_eq!((code, len), (BTREE_ERR_INVALID, 0));
        let iter = new_iter(txn);
        let (mut key_len, mut value, mut value_len) = (7, b"".as_ptr(), 7);
        let (lens, val) = ((&raw mut key_len, &raw mut value_len), &raw mut value);
        // SAFETY: the iterator was made and not freed; one place is NULL, the others may be
        // written.
        let code = unsafe { txn_iter_next(iter, null_mut(), lens.0, val, lens.1) };
        assert_eq!((code, key_len, value_len), (BTREE_ERR_INVALID, 0, 0));
        assert!(value.is_null());
        assert_eq!(next(iter), BTREE_OK, "it has not moved");
        free(iter);
        BTREE_OK
    });
    assert_eq!(code, BTREE_OK);
}

/// What the disk does from now on.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Mood {
    Good,
    ReadFails,
    ReadPanics,
    WriteFull,
    SyncFails,
}

#[derive(Clone, Default)]
struct Moody {
    inner: MemVfs,
    mood: Arc<AtomicU8>,
}

struct MoodyFile {
    inner: Box<dyn VfsFile>,
    mood: Arc<AtomicU8>,
}

impl Moody {
    fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }
}

impl MoodyFile {
    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }
}

impl Vfs for Moody {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Box::new(MoodyFile { inner, mood: Arc::clone(&self.mood) }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.inner.file_id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
}

impl VfsFile for MoodyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(!self.is(Mood::ReadPanics), "the disk panics");
        if self.is(Mood::ReadFails) {
            return Err(io::Error::other("the disk cannot read"));
        }
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if self.is(Mood::WriteFull) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is(Mood::SyncFails) {
            return Err(io::Error::other("the disk cannot sync"));
        }
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.inner.try_lock(mode)
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }
}

/// A store without a cache whose bucket has several levels, on a disk with moods.
fn moody() -> (Store, Moody) {
    let disk = Moody::default();
    let options = Options::new().page_size(512).cache_bytes(0).vfs(Arc::new(disk.clone()));
    let store = Store::new(options.open("memory").unwrap());
    let code = store.exec(|txn| {
        for i in 0..200_u32 {
            assert_eq!(put(txn, format!("key{i:04}").as_bytes(), &[7; 60]), BTREE_OK);
        }
        BTREE_OK
    });
    assert_eq!(code, BTREE_OK);
    (store, disk)
}

#[test]
fn what_needs_no_page_fails_too_in_a_transaction_that_failed() {
    let (store, disk) = moody();
    let mut body = |txn| {
        disk.set(Mood::ReadFails);
        assert_eq!(get(txn, b"key0100"), BTREE_ERR_IO);
        disk.set(Mood::Good);
        let mut count = 7;
        // SAFETY: the place may be written.
        assert_eq!(unsafe { txn_len(txn, &raw mut count) }, BTREE_ERR_IO);
        fails_with(BTREE_ERR_IO, "the disk cannot read");
        let mut iter = std::ptr::dangling_mut();
        // SAFETY: the place may be written.
        assert_eq!(unsafe { txn_iter_new(txn, &raw mut iter) }, BTREE_ERR_IO);
        fails_with(BTREE_ERR_IO, "the disk cannot read");
        assert_eq!((count, iter), (0, null_mut()));
        BTREE_OK
    };
    assert_eq!(store.exec(&mut body), BTREE_ERR_IO);
    assert_eq!(store.exec_multi(&mut body), BTREE_ERR_IO);
    assert_eq!(store.view(&mut body), BTREE_ERR_IO);
}

#[test]
fn a_panic_inside_an_operation_fails_its_transaction() {
    let (store, disk) = moody();
    let mut body = |txn| {
        disk.set(Mood::ReadPanics);
        assert_eq!(get(txn, b"key0100"), BTREE_ERR_INTERNAL);
        fails_with(BTREE_ERR_INTERNAL, "the disk panics");
        disk.set(Mood::Good);
        assert_eq!(get(txn, b"key0100"), BTREE_ERR_INTERNAL, "the error sticks");
        BTREE_OK
    };
    assert_eq!(store.exec(&mut body), BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "panicked");
    assert_eq!(store.exec_multi(&mut body), BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "panicked");
    assert_eq!(store.view(&mut body), BTREE_ERR_INTERNAL);
    fails_with(BTREE_ERR_INTERNAL, "panicked");
    assert_eq!(store.view(|txn| get(txn, b"key0100")), BTREE_OK);
}

#[test]
fn a_panic_inside_a_call_fails_the_transaction_that_was_begun() {
    let (store, disk) = moody();
    let by_get = |txn| assert_eq!(get(txn, b"key0100"), BTREE_ERR_INTERNAL);
    let by_step = |txn| {
        disk.set(Mood::Good);
        let iter = new_iter(txn);
        disk.set(Mood::ReadPanics);
        assert_eq!(next(iter), BTREE_ERR_INTERNAL);
        free(iter);
    };
    let panics: [&dyn Fn(*mut TxnHandle); 2] = [&by_get, &by_step];
    for panics in panics {
        let (txn, bucket) = store.begin();
        assert_eq!(put(bucket, b"lost", b"1"), BTREE_OK);
        disk.set(Mood::ReadPanics);
        panics(bucket);
        fails_with(BTREE_ERR_INTERNAL, "the disk panics");
        disk.set(Mood::Good);
        assert_eq!(put(bucket, b"lost", b"1"), BTREE_ERR_INTERNAL, "the error sticks");
        fails_with(BTREE_ERR_INTERNAL, "an operation of this transaction panicked");
        btree_last_error_clear();
        assert_eq!(btree_txn_commit(txn), BTREE_ERR_INTERNAL);
        fails_with(BTREE_ERR_INTERNAL, "an operation of this transaction panicked");
        assert_eq!(btree_txn_commit(txn), BTREE_ERR_INVALID, "it has ended");
        assert_eq!(store.view(|txn| get(txn, b"lost")), BTREE_ERR_NOT_FOUND);
    }
    let (txn, bucket) = store.begin();
    assert_eq!(put(bucket, b"kept", b"1"), BTREE_OK);
    assert_eq!(btree_txn_commit(txn), BTREE_OK);
}

/// Ends a transaction that was begun while another thread is in a call with it.
fn end_beside_a_call(txn: *mut OwnedTxnHandle, end: impl FnOnce()) {
    let (enter, entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let id = txn.addr();
    std::thread::scope(|scope| {
        let call = scope.spawn(move || {
            with_open(id, |txn| {
                enter.send(()).unwrap();
                // Also released when the other thread fails.
                released.recv().unwrap_or_default();
                txn.bucket("b")?.contains("k")
            })
        });
        let release = release;
        entered.recv().unwrap();
        end();
        drop(release);
        assert_eq!(call.join().unwrap(), Ok(true), "the call goes on");
    });
}

#[test]
fn a_commit_beside_a_call_is_refused_and_an_abort_lets_it_end() {
    let store = Store::in_memory();
    let (txn, bucket) = store.begin();
    assert_eq!(put(bucket, b"k", b"v"), BTREE_OK);
    end_beside_a_call(txn, || {
        assert_eq!(btree_txn_commit(txn), BTREE_ERR_INVALID);
        fails_with(BTREE_ERR_INVALID, "a call with the transaction is under way");
        assert_eq!(put(bucket, b"l", b"v"), BTREE_OK, "it has not ended");
    });
    assert_eq!(store.view(|txn| get(txn, b"k")), BTREE_ERR_NOT_FOUND, "nothing has happened");
    assert_eq!(btree_txn_commit(txn), BTREE_OK);
    assert_eq!(store.view(|txn| get(txn, b"l")), BTREE_OK);
    let (txn, bucket) = store.begin();
    assert_eq!(put(bucket, b"lost", b"v"), BTREE_OK);
    end_beside_a_call(txn, || {
        assert_eq!(btree_txn_abort(txn), BTREE_OK);
        assert_eq!(put(bucket, b"lost", b"v"), BTREE_ERR_INVALID, "it has ended");
    });
    assert_eq!(store.view(|txn| get(txn, b"lost")), BTREE_ERR_NOT_FOUND);
}

#[test]
fn a_panic_inside_an_iterator_breaks_it_and_its_transaction() {
    let (store, disk) = moody();
    let code = store.view(|txn| {
        let iter = new_iter(txn);
        disk.set(Mood::ReadPanics);
        assert_eq!(next(iter), BTREE_ERR_INTERNAL);
        fails_with(BTREE_ERR_INTERNAL, "the disk panics");
        disk.set(Mood::Good);
        assert_eq!(next(iter), BTREE_ERR_INTERNAL);
        fails_with(BTREE_ERR_INTERNAL, "this iterator panicked");
        free(iter);
        BTREE_OK
    });
    assert_eq!(code, BTREE_ERR_INTERNAL);
}

#[test]
fn an_error_of_the_disk_fails_the_transaction_that_ignores_it() {
    let (store, disk) = moody();
    let ignore: [&dyn Fn(*mut TxnHandle); 3] = [
        &|txn| assert_eq!(get(txn, b"key0100"), BTREE_ERR_IO),
        &|txn| {
            let iter = new_iter(txn);
            assert_eq!(next(iter), BTREE_ERR_IO);
            free(iter);
        },
        &|txn| {
            let iter = new_iter(txn);
            assert_eq!(next_key(iter), BTREE_ERR_IO);
            assert_eq!(next_key(iter), BTREE_ERR_IO, "the error sticks");
            free(iter);
        },
    ];
    // A put of the first value waits for whoever looks at the bucket, here a get.
    let all: [&[u8]; 3] = [b"1", &[1; 2_000], &[1; 2_000]];
    for (value, ignore) in all.into_iter().zip(ignore) {
        let mut body = |txn| {
            assert_eq!(put(txn, b"lost", value), BTREE_OK);
            disk.set(Mood::ReadFails);
            ignore(txn);
            fails_with(BTREE_ERR_IO, "the disk cannot read");
            disk.set(Mood::Good);
            assert_eq!(put(txn, b"lost", value), BTREE_ERR_IO, "the error sticks");
            BTREE_OK
        };
        assert_eq!(store.exec(&mut body), BTREE_ERR_IO);
        fails_with(BTREE_ERR_IO, "the disk cannot read");
        assert_eq!(store.exec_multi(&mut body), BTREE_ERR_IO);
        fails_with(BTREE_ERR_IO, "the disk cannot read");
        assert_eq!(store.view(|txn| get(txn, b"lost")), BTREE_ERR_NOT_FOUND);
    }
}

#[test]
fn an_error_of_the_disk_at_a_bucket_fails_the_transaction_that_ignores_it() {
    let (store, disk) = moody();
    // So many that the catalog is a tree, which is read.
    let names: Vec<CString> =
        (0..60).map(|at| CString::new(format!("more{at}")).unwrap()).collect();
    let bucket = |multi, name: &CStr| {
        let mut txn = null_mut();
        // SAFETY: the name ends with a NUL, the place may be written.
        unsafe { mtxn_bucket(multi, name.as_ptr(), &raw mut txn) }
    };
    let made = store.multi(|multi| names.iter().map(|name| bucket(multi, name)).sum());
    assert_eq!(made, BTREE_OK);
    let ignored: [&dyn Fn(*mut MultiTxnHandle) -> c_int; 2] = [
        // SAFETY: the name ends with a NUL.
        &|multi| unsafe { mtxn_del_bucket(multi, c"b".as_ptr()) },
        &|multi| bucket(multi, c"more7"),
    ];
    for ignored in ignored {
        let code = store.multi(|multi| {
            assert_eq!(bucket(multi, c"lost"), BTREE_OK);
            disk.set(Mood::ReadFails);
            assert_eq!(ignored(multi), BTREE_ERR_IO);
            disk.set(Mood::Good);
            assert_eq!(bucket(multi, c"lost"), BTREE_ERR_IO, "the error sticks");
            BTREE_OK
        });
        assert_eq!(code, BTREE_ERR_IO);
        fails_with(BTREE_ERR_IO, "the disk cannot read");
        // SAFETY: the handle is open, the name ends with a NUL.
        assert_eq!(unsafe { btree_del_bucket(store.0, c"lost".as_ptr()) }, BTREE_ERR_NOT_FOUND);
    }
}

#[test]
fn a_full_disk_is_the_state_before() {
    let (store, disk) = moody();
    disk.set(Mood::WriteFull);
    assert_eq!(store.exec(|txn| put(txn, b"lost", b"1")), BTREE_ERR_NO_SPACE);
    disk.set(Mood::Good);
    assert_eq!(store.view(|txn| get(txn, b"lost")), BTREE_ERR_NOT_FOUND);
    assert_eq!(store.exec(|txn| put(txn, b"kept", b"1")), BTREE_OK);
}

#[test]
fn a_failed_sync_poisons() {
    let (store, disk) = moody();
    disk.set(Mood::SyncFails);
    assert_eq!(store.exec(|txn| put(txn, b"lost", b"1")), BTREE_ERR_IO);
    fails_with(BTREE_ERR_IO, "the disk cannot sync");
    disk.set(Mood::Good);
    assert_eq!(store.exec(|txn| put(txn, b"lost", b"1")), BTREE_ERR_POISONED);
    fails_with(BTREE_ERR_POISONED, "reopen");
    // SAFETY: the handle is open.
    assert_eq!(unsafe { btree_commit(store.0) }, BTREE_ERR_POISONED);
    assert_eq!(store.view(|txn| get(txn, b"key0100")), BTREE_OK);
}

#[test]
fn what_is_copied_out_of_memory_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["of the handle.db", "of the snapshot.db"].map(|name| {
        let path = dir.path().join(name).into_os_string().into_encoded_bytes();
        CString::new(path).unwrap()
    });
    let store = Store::in_memory();
    assert_eq!(store.exec(|txn| put(txn, b"k", b"v")), BTREE_OK);
    // SAFETY: the handle is open, the path ends with a NUL.
    assert_eq!(unsafe { btree_backup(store.0, paths[0].as_ptr()) }, BTREE_OK);
    let mut snapshot = null_mut();
    // SAFETY: the handle is open, the place may be written.
    assert_eq!(unsafe { btree_snapshot(store.0, &raw mut snapshot) }, BTREE_OK);
    // SAFETY: the snapshot was made and not freed, the path ends with a NUL.
    assert_eq!(unsafe { btree_snapshot_backup(snapshot, paths[1].as_ptr()) }, BTREE_OK);
    // SAFETY: it was made, and is freed once.
    unsafe { btree_snapshot_free(snapshot) };
    drop(store);
    for path in paths {
        let mut db = null_mut();
        // SAFETY: the path ends with a NUL, the place may be written.
        assert_eq!(unsafe { btree_open(path.as_ptr(), &raw mut db) }, BTREE_OK);
        let copy = Store(db);
        assert_eq!(copy.view(|txn| get(txn, b"k")), BTREE_OK, "{path:?}");
    }
}

/// A handle of a bucket of a multi-bucket transaction.
fn bucket(multi: *mut MultiTxnHandle, name: &str) -> *mut TxnHandle {
    let (name, mut txn) = (CString::new(name).unwrap(), null_mut());
    // SAFETY: the name ends with a NUL, the place may be written.
    assert_eq!(unsafe { mtxn_bucket(multi, name.as_ptr(), &raw mut txn) }, BTREE_OK);
    txn
}

/// A tenth of a second of work. As long as each call looked through all handles, it was two and a
/// half seconds, and four times as much with twice as many.
#[test]
fn a_transaction_may_have_a_handle_of_each_of_many_buckets() {
    let store = Store::in_memory();
    let names: Vec<String> = (0..20_000).map(|at| format!("bucket {at}")).collect();
    let mut all = Vec::new();
    let code = store.multi(|multi| {
        all = names.iter().map(|name| bucket(multi, name)).collect();
        for (name, &txn) in names.iter().zip(&all) {
            assert_eq!(bucket(multi, name), txn, "{name} has one handle");
            assert_eq!(put(txn, b"name", name.as_bytes()), BTREE_OK);
        }
        BTREE_OK
    });
    assert_eq!(code, BTREE_OK);
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    // SAFETY: the handle is open.
    let db = unsafe { &*store.0 };
    for name in &names {
        assert_eq!(db.view(name, |txn| txn.get("name")).unwrap(), name.as_bytes());
    }
    assert!(all.into_iter().all(|txn| put(txn, b"k", b"v") == BTREE_ERR_INVALID));
}

#[test]
fn a_transaction_ends_the_handles_of_its_buckets_and_no_others() {
    let (outer, inner) = (Store::in_memory(), Store::in_memory());
    let code = outer.multi(|multi| {
        let [a, b] = ["a", "b"].map(|name| bucket(multi, name));
        let mut of_inner = null_mut();
        let code = inner.multi(|multi| {
            of_inner = bucket(multi, "a");
            assert_ne!(of_inner, a, "the same name in another transaction");
            // SAFETY: the name ends with a NUL.
            assert_eq!(unsafe { mtxn_del_bucket(multi, c"a".as_ptr()) }, BTREE_OK);
            assert_eq!(put(of_inner, b"k", b"v"), BTREE_ERR_INVALID, "its bucket is gone");
            assert_eq!(put(a, b"outer", b"1"), BTREE_OK, "it may be used here");
            let again = bucket(multi, "a");
            assert_ne!(again, of_inner, "it was not given out again");
            of_inner = again;
            assert_eq!(put(of_inner, b"inner", b"1"), BTREE_OK);
            BTREE_OK
        });
        assert_eq!(code, BTREE_OK);
        assert_eq!(put(of_inner, b"k", b"v"), BTREE_ERR_INVALID, "its transaction is over");
        for txn in [a, b] {
            assert_eq!(put(txn, b"outer", b"2"), BTREE_OK);
        }
        assert_eq!(["a", "b"].map(|name| bucket(multi, name)), [a, b]);
        let code = inner.multi(|_| panic!("out of a callback"));
        assert_eq!(code, BTREE_ERR_INTERNAL);
        assert_eq!(get(b, b"outer"), BTREE_OK, "another transaction failed");
        BTREE_OK
    });
    assert_eq!(code, BTREE_OK);
}

#[test]
fn an_iterator_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<TxnIter>();
    is_send::<BTree>();
}

fn sync(store: &Store) -> c_int {
    // SAFETY: the handle is open.
    unsafe { btree_sync(store.0) }
}

#[test]
fn what_took_deferred_commits_is_told_once_and_before_the_next_callback() {
    let disk = Moody::default();
    let options = Options::new().page_size(512).durability(Durability::Deferred);
    let store = Store::new(options.vfs(Arc::new(disk.clone())).open("memory").unwrap());
    assert_eq!(store.exec(|txn| put(txn, b"lost", b"1")), BTREE_OK);
    // SAFETY: the handle is open.
    let other = Store::new(unsafe { &*store.0 }.clone());
    disk.set(Mood::WriteFull);
    assert_eq!(sync(&other), BTREE_ERR_NO_SPACE);
    disk.set(Mood::Good);
    assert_eq!(sync(&other), BTREE_OK, "it was told");
    let mut has_run = false;
    let code = store.exec(|_| {
        has_run = true;
        BTREE_OK
    });
    assert_eq!((code, has_run), (BTREE_ERR_NO_SPACE, false), "what it builds on is not there");
    assert_eq!(sync(&store), BTREE_ERR_NO_SPACE);
    assert_eq!(store.exec(|txn| put(txn, b"next", b"1")), BTREE_OK);
    assert_eq!(sync(&store), BTREE_OK, "it was told once");
    assert_eq!(store.view(|txn| get(txn, b"next")), BTREE_OK);
    assert_eq!(store.view(|txn| get(txn, b"lost")), BTREE_ERR_NOT_FOUND);
}

#[test]
fn a_compaction_works_once_a_sync_has_told_what_took_deferred_commits() {
    let disk = Moody::default();
    let options = Options::new().page_size(512).durability(Durability::Deferred);
    let store = Store::new(options.vfs(Arc::new(disk.clone())).open("memory").unwrap());
    assert_eq!(store.exec(|txn| put(txn, b"lost", b"1")), BTREE_OK);
    disk.set(Mood::WriteFull);
    assert_eq!(sync(&store), BTREE_ERR_NO_SPACE);
    disk.set(Mood::Good);
    // SAFETY: the handle is open; NULL leaves the answer out.
    assert_eq!(unsafe { btree_compact(store.0, 0, null_mut()) }, BTREE_OK);
}

struct AtEnd(Store, std::sync::mpsc::Sender<c_int>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let code = self.0.exec(|txn| put(txn, b"late", b"v"));
        self.1.send(code).unwrap();
    }
}

thread_local! {
    static AT_END: std::cell::RefCell<Option<AtEnd>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_thread_that_ends_may_still_run_transactions() {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        // Before the table of transactions is used, so that it goes after it.
        AT_END.set(Some(AtEnd(Store::in_memory(), tell)));
        AT_END.with_borrow(|held| {
            let store = &held.as_ref().unwrap().0;
            assert_eq!(store.exec(|txn| put(txn, b"k", b"v")), BTREE_OK);
        });
    });
    thread.join().unwrap();
    assert_eq!(told.recv().unwrap(), BTREE_OK);
}

/// Too long for a leaf, and more than one piece.
const LONG: u64 = 300_000;

#[test]
fn a_panicking_callback_of_a_value_fails_its_transaction() {
    let store = Store::in_memory();
    let panics = |txn| {
        let mut calls = 0;
        let code = put_from(txn, LONG, |room| {
            calls += 1;
            assert!(calls < 2, "out of a callback");
            room.len()
        });
        assert_eq!(code, BTREE_ERR_INTERNAL);
        fails_with(BTREE_ERR_INTERNAL, "out of a callback");
        assert_eq!(put(txn, b"k", b"v"), BTREE_ERR_INTERNAL, "the error sticks");
        fails_with(BTREE_ERR_INTERNAL, "an operation of this transaction panicked");
        BTREE_OK
    };
    assert_eq!(store.exec(|txn| put(txn, b"kept", b"1")), BTREE_OK);
    assert_eq!(store.exec(panics), BTREE_ERR_INTERNAL);
    assert_eq!(store.exec_multi(panics), BTREE_ERR_INTERNAL);
    let (txn, bucket) = store.begin();
    assert_eq!(panics(bucket), BTREE_OK);
    assert_eq!(btree_txn_commit(txn), BTREE_ERR_INTERNAL);
    assert_eq!(store.view(|txn| get(txn, b"long")), BTREE_ERR_NOT_FOUND);
    assert_eq!(store.exec(|txn| put_from(txn, 3, |room| room.len().min(3))), BTREE_ERR_INVALID);
    assert_eq!(store.exec(|txn| put(txn, b"again", b"1")), BTREE_OK);
}

unsafe extern "C-unwind" fn show_panicking(
    key: *mut *const u8,
    key_len: *mut usize,
    _: *mut *const u8,
    _: *mut usize,
    ctx: *mut c_void,
) -> c_int {
    // SAFETY: `load_panicking` passes a number that lives until it returns.
    let calls = unsafe { &mut *ctx.cast::<u8>() };
    *calls += 1;
    assert!(*calls < 3, "out of a callback");
    // SAFETY: the library's own place.
    unsafe { key.write(std::ptr::from_ref(calls)) };
    // SAFETY: the library's own place.
    unsafe { key_len.write(1) };
    BTREE_OK
}

/// Loads two entries, and panics at the third.
fn load_panicking(txn: *mut TxnHandle) -> c_int {
    let (mut calls, mut loaded) = (0_u8, UNTOUCHED);
    let ctx = (&raw mut calls).cast();
    // SAFETY: the number lives until the call returns, the place may be written.
    let code = unsafe { txn_bulk_load(txn, Some(show_panicking), ctx, &raw mut loaded) };
    assert_eq!((calls, loaded), (3, 0));
    code
}

#[test]
fn a_panicking_callback_of_a_load_fails_its_transaction() {
    let store = Store::in_memory();
    let panics = |txn| {
        assert_eq!(load_panicking(txn), BTREE_ERR_INTERNAL);
        fails_with(BTREE_ERR_INTERNAL, "out of a callback");
        assert_eq!(put(txn, b"k", b"v"), BTREE_ERR_INTERNAL, "the error sticks");
        fails_with(BTREE_ERR_INTERNAL, "an operation of this transaction panicked");
        BTREE_OK
    };
    assert_eq!(store.exec(|_| BTREE_OK), BTREE_OK);
    assert_eq!(store.exec(panics), BTREE_ERR_INTERNAL);
    assert_eq!(store.exec_multi(panics), BTREE_ERR_INTERNAL);
    let (txn, bucket) = store.begin();
    assert_eq!(panics(bucket), BTREE_OK);
    assert_eq!(btree_txn_commit(txn), BTREE_ERR_INTERNAL);
    assert_eq!(store.view(|txn| get(txn, &[1])), BTREE_ERR_NOT_FOUND);
    assert_eq!(store.exec(|txn| put(txn, b"again", b"1")), BTREE_OK);
}

#[test]
fn a_full_disk_under_a_value_that_comes_in_pieces_sticks() {
    let (store, disk) = moody();
    let fills = |txn| {
        disk.set(Mood::WriteFull);
        assert_eq!(put_from(txn, LONG, |room| room.len()), BTREE_ERR_NO_SPACE);
        disk.set(Mood::Good);
        assert_eq!(put(txn, b"k", b"v"), BTREE_ERR_NO_SPACE);
        BTREE_OK
    };
    assert_eq!(store.exec(fills), BTREE_ERR_NO_SPACE);
    assert_eq!(store.exec_multi(fills), BTREE_ERR_NO_SPACE);
    let (txn, bucket) = store.begin();
    assert_eq!(fills(bucket), BTREE_OK);
    assert_eq!(btree_txn_commit(txn), BTREE_ERR_NO_SPACE);
    assert_eq!(store.view(|txn| get(txn, b"k")), BTREE_ERR_NOT_FOUND);
}

#[test]
fn what_a_reader_meets_fails_its_transaction() {
    let (store, disk) = moody();
    let put_long = |txn| put(txn, b"long", &vec![7; 300_000]);
    assert_eq!(store.exec(put_long), BTREE_OK);
    for (mood, code, text) in [
        (Mood::ReadFails, BTREE_ERR_IO, "the disk cannot read"),
        (Mood::ReadPanics, BTREE_ERR_INTERNAL, "panicked"),
    ] {
        let mut meets = |txn| {
            let reader = new_reader(txn, b"long");
            assert_eq!(read(reader), BTREE_OK);
            let reader_of_all = new_reader(txn, b"long");
            disk.set(mood);
            assert_eq!(read(reader), BTREE_OK, "the first piece is at hand");
            assert_eq!(read(reader_of_all), code);
            disk.set(Mood::Good);
            assert_eq!(read(reader_of_all), code, "the error sticks");
            fails_with(code, text);
            assert_eq!(get(txn, b"key0100"), code, "to the transaction, too");
            fails_with(code, text);
            free_reader(reader);
            free_reader(reader_of_all);
            BTREE_OK
        };
        assert_eq!(store.exec(&mut meets), code);
        assert_eq!(store.exec_multi(&mut meets), code);
        assert_eq!(store.view(&mut meets), code);
        let (txn, bucket) = store.begin();
        assert_eq!(meets(bucket), BTREE_OK);
        assert_eq!(btree_txn_commit(txn), code);
        fails_with(code, text);
    }
}

#[test]
fn a_reader_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<TxnReader>();
}
