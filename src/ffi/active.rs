//! The transactions whose callbacks run on this thread (part of ffi, layer L8).
//!
//! Owns: the table from the numbers that C holds as handles to transactions. Must not know: what
//! is done with them.
//! Keeps: errors-stick (a transaction in which an operation panicked, or a bucket's operation
//! failed, cannot commit), snapshot-stable (no handle outlives its callback).
//!
//! A handle is a number that is used once in a process. It is looked up here and never followed:
//! one that is stale, made up or of another thread is not found.

use super::access::Access;
use super::begun::{self, bucket_of, next_id, with_open};
use super::{MultiTxnHandle, TxnHandle};
use crate::error::{Error, Fault, Result};
use crate::txn::{MultiTxn, ReadOnlyTxn, Txn};
use std::cell::RefCell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr::without_provenance_mut;
use std::rc::Rc;

/// What a handle stands for. The lifetimes are not true: an entry is taken out of the table
/// before what it points to ends.
#[derive(Clone)]
enum Target {
    Write(*mut Txn<'static>),
    Read(*const ReadOnlyTxn<'static>),
    Multi(*mut MultiTxn<'static>),
    /// A bucket of the multi-bucket transaction that is the entry's root.
    Bucket(Rc<str>),
}

struct Entry {
    id: usize,
    /// The transaction that ends this entry: itself, or a bucket's transaction.
    root: usize,
    target: Target,
    /// Why the transaction cannot commit any more.
    failed: Option<Fault>,
    /// Why no other call gets the transaction: a call on it runs a callback.
    waits: Option<&'static str>,
}

thread_local! {
    /// Never dropped: what runs when a thread or the process ends may still use transactions.
    static ACTIVE: ManuallyDrop<RefCell<Vec<Entry>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

fn active<R>(work: impl FnOnce(&mut Vec<Entry>) -> R) -> R {
    ACTIVE.with(|entries| work(&mut entries.borrow_mut()))
}

/// Whether a transaction, or a bucket of one, that runs on this thread has this handle.
fn is_here(id: usize) -> bool {
    active(|entries| entries.iter().any(|entry| entry.id == id))
}

/// Runs a callback that has a handle of a write transaction. See [`run`].
pub(super) fn run_write(
    txn: &mut Txn<'_>,
    callback: impl FnOnce(*mut TxnHandle) -> c_int,
) -> Result<c_int> {
    let target = Target::Write(std::ptr::from_mut(txn).cast());
    run(target, |id| callback(without_provenance_mut(id)))
}

/// Runs a callback that has a handle of a read transaction. See [`run`].
pub(super) fn run_read(
    txn: &ReadOnlyTxn<'_>,
    callback: impl FnOnce(*mut TxnHandle) -> c_int,
) -> Result<c_int> {
    let target = Target::Read(std::ptr::from_ref(txn).cast());
    run(target, |id| callback(without_provenance_mut(id)))
}

/// Runs a callback that has a handle of a multi-bucket transaction. See [`run`].
pub(super) fn run_multi(
    multi: &mut MultiTxn<'_>,
    callback: impl FnOnce(*mut MultiTxnHandle) -> c_int,
) -> Result<c_int> {
    let target = Target::Multi(std::ptr::from_mut(multi).cast());
    run(target, |id| callback(without_provenance_mut(id)))
}

/// Runs a callback while its transaction is in the table. Returns the callback's code; an error
/// when the code is 0 and the transaction must not commit.
fn run(target: Target, callback: impl FnOnce(usize) -> c_int) -> Result<c_int> {
    /// Takes a transaction and its buckets out of the table, also when the callback unwinds.
    struct Scope(usize);
    impl Drop for Scope {
        fn drop(&mut self) {
            active(|entries| {
                entries.retain(|entry| entry.root != self.0);
                if entries.is_empty() {
                    // Nobody else gives its memory back.
                    *entries = Vec::new();
                }
            });
        }
    }
    let id = next_id();
    add(Entry { id, root: id, target, failed: None, waits: None });
    let _scope = Scope(id);
    let code = callback(id);
    match with_entry(id, |entry| entry.failed.clone())? {
        Some(fault) if code == 0 => Err(fault.raise()),
        _ => Ok(code),
    }
}

/// Runs an operation on a bucket's transaction. When it panics, the transaction cannot commit.
pub(super) fn with_txn<R>(
    handle: *mut TxnHandle,
    operation: impl FnOnce(Access<'_, '_>) -> Result<R>,
) -> Result<R> {
    let id = handle.addr();
    if !is_here(id)
        && let Some((root, name)) = bucket_of(id)
    {
        return with_open(root, |txn| operation(Access::Owned(&mut txn.bucket(&name)?, root)));
    }
    let (target, root) = find(id)?;
    let armed = Armed { root };
    let result = match target {
        Target::Write(txn) => {
            // SAFETY: `run_write` keeps the entry only while it holds the transaction mutably and
            // runs the callback. An operation that runs a callback in turn lends the transaction,
            // and `find` does not find it then: this is the only reference.
            let txn = unsafe { &mut *txn };
            operation(Access::Write(txn))
        }
        Target::Read(txn) => {
            // SAFETY: `run_read` keeps the entry only while it holds the transaction.
            let txn = unsafe { &*txn };
            operation(Access::Read(txn))
        }
        Target::Bucket(name) => {
            let exec =
                |multi: &mut MultiTxn<'_>| multi.exec(&*name, |txn| operation(Access::Write(txn)));
            let result = with_multi(without_provenance_mut(root), exec);
            note(root, &result);
            result
        }
        Target::Multi(_) => Err(Error::invalid("this is a MultiTxn, not a Txn")),
    };
    armed.disarm();
    result
}

/// Runs an operation on a multi-bucket transaction. When it panics, the transaction cannot commit.
pub(super) fn with_multi<R>(
    handle: *mut MultiTxnHandle,
    operation: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
) -> Result<R> {
    let (target, root) = find(handle.addr())?;
    let Target::Multi(multi) = target else {
        return Err(Error::invalid("this is a Txn, not a MultiTxn"));
    };
    let armed = Armed { root };
    // SAFETY: `run_multi` keeps the entry only while it holds the transaction mutably and runs the
    // callback. An operation that runs a callback in turn lends the transaction, and `find` does
    // not find it then: this is the only reference.
    let multi = unsafe { &mut *multi };
    let result = operation(multi);
    armed.disarm();
    result
}

/// A transaction on which a call runs a callback; meanwhile no other call of this thread gets it.
struct Lent(usize);

impl Lent {
    fn new(root: usize, why: &'static str) -> Lent {
        set_waits(root, Some(why));
        Lent(root)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        set_waits(self.0, None);
    }
}

/// As [`with_multi`], of an operation that runs a callback.
pub(super) fn lend_multi<R>(
    handle: *mut MultiTxnHandle,
    operation: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
) -> Result<R> {
    with_multi(handle, |multi| {
        let why = "the transaction waits for the callback of mtxn_exec";
        let _lent = Lent::new(handle.addr(), why);
        operation(multi)
    })
}

/// As [`with_txn`], of an operation that runs a callback, for which all else on the transaction
/// waits. One that was begun does not wait: it works without references that nobody else may have.
pub(super) fn lend_txn<R>(
    handle: *mut TxnHandle,
    why: &'static str,
    operation: impl FnOnce(Access<'_, '_>) -> Result<R>,
) -> Result<R> {
    let root = root_of(handle)?;
    with_txn(handle, |access| {
        let _lent = Lent::new(root, why);
        operation(access)
    })
}

/// A handle of a bucket of a multi-bucket transaction: the same one for the same name.
pub(super) fn bucket(multi: *mut MultiTxnHandle, name: &str) -> *mut TxnHandle {
    let root = multi.addr();
    let known = active(|entries| {
        entries.iter().find(|entry| entry.root == root && is_bucket(entry, name)).map(|e| e.id)
    });
    let id = known.unwrap_or_else(|| {
        let id = next_id();
        let target = Target::Bucket(Rc::from(name));
        add(Entry { id, root, target, failed: None, waits: None });
        id
    });
    without_provenance_mut(id)
}

/// Ends the handle of a bucket.
pub(super) fn end_bucket(multi: *mut MultiTxnHandle, name: &str) {
    let root = multi.addr();
    active(|entries| {
        entries.retain(|entry| entry.root != root || !is_bucket(entry, name));
    });
}

/// The transaction of a handle, for [`note`].
pub(super) fn root_of(handle: *mut TxnHandle) -> Result<usize> {
    let id = handle.addr();
    if is_here(id) {
        return find(id).map(|(_, root)| root);
    }
    bucket_of(id).map_or_else(|| find(id).map(|(_, root)| root), |(root, _)| Ok(root))
}

/// Makes a failure of the storage stick to a transaction, if it still runs on this thread. A bad
/// argument or a missing key is none.
pub(super) fn note<R>(root: usize, result: &Result<R>) {
    if let Err(error @ (Error::Corruption | Error::IoError | Error::Internal | Error::NoSpace)) =
        result
    {
        fail(root, &Fault::keep(*error));
    }
}

/// Fails a transaction unless it is disarmed: the operation on it panicked.
pub(super) struct Armed {
    root: usize,
}

impl Armed {
    pub(super) fn new(root: usize) -> Armed {
        Armed { root }
    }

    pub(super) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let fault = Fault::keep(Error::internal("an operation of this transaction panicked"));
        fail(self.root, &fault);
        begun::fail(self.root, fault);
    }
}

fn is_bucket(entry: &Entry, name: &str) -> bool {
    matches!(&entry.target, Target::Bucket(other) if **other == *name)
}

fn fail(root: usize, fault: &Fault) {
    active(|entries| {
        if let Some(entry) = entries.iter_mut().find(|entry| entry.id == root) {
            entry.failed.get_or_insert_with(|| fault.clone());
        }
    });
}

fn add(entry: Entry) {
    active(|entries| entries.push(entry));
}

fn set_waits(id: usize, why: Option<&'static str>) {
    active(|entries| {
        if let Some(entry) = entries.iter_mut().find(|entry| entry.id == id) {
            entry.waits = why;
        }
    });
}

fn with_entry<R>(id: usize, read: impl FnOnce(&Entry) -> R) -> Result<R> {
    active(|entries| {
        let entry = entries.iter().rev().find(|entry| entry.id == id);
        entry.map(read).ok_or_else(|| {
            Error::invalid("no transaction of this thread has this handle, or it has ended")
        })
    })
}

/// What a handle stands for, and its transaction, unless that has failed or is lent.
fn find(id: usize) -> Result<(Target, usize)> {
    let (target, root) = with_entry(id, |entry| (entry.target.clone(), entry.root))?;
    let (failed, waits) = with_entry(root, |entry| (entry.failed.clone(), entry.waits))?;
    if let Some(fault) = failed {
        return Err(fault.raise());
    }
    if let Some(why) = waits {
        return Err(Error::invalid(why));
    }
    Ok((target, root))
}
