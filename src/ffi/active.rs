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
use super::begun::{bucket_of, next_id, with_open};
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
    /// Of a multi-bucket transaction: a callback of `mtxn_exec` has it.
    is_lent: bool,
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
    add(Entry { id, root: id, target, failed: None, is_lent: false });
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
            // runs the callback. No operation runs a callback, so that this is the only reference.
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
    // callback. The one operation that runs a callback in turn marks the transaction as lent, and
    // `find` does not find it then: this is the only reference.
    let multi = unsafe { &mut *multi };
    let result = operation(multi);
    armed.disarm();
    result
}

/// Runs an operation that runs a callback; meanwhile no other operation gets the transaction.
pub(super) fn lend_multi<R>(
    handle: *mut MultiTxnHandle,
    operation: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
) -> Result<R> {
    struct Lent(usize);
    impl Drop for Lent {
        fn drop(&mut self) {
            set_lent(self.0, false);
        }
    }
    let id = handle.addr();
    with_multi(handle, |multi| {
        set_lent(id, true);
        let _lent = Lent(id);
        operation(multi)
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
        add(Entry {
            id,
            root,
            target: Target::Bucket(Rc::from(name)),
            failed: None,
            is_lent: false,
        });
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
        let error = Error::internal("an operation of this transaction panicked");
        fail(self.root, &Fault::keep(error));
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

fn set_lent(id: usize, is_lent: bool) {
    active(|entries| {
        if let Some(entry) = entries.iter_mut().find(|entry| entry.id == id) {
            entry.is_lent = is_lent;
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
    let (failed, is_lent) = with_entry(root, |entry| (entry.failed.clone(), entry.is_lent))?;
    if let Some(fault) = failed {
        return Err(fault.raise());
    }
    if is_lent {
        return Err(Error::invalid("the transaction waits for the callback of mtxn_exec"));
    }
    Ok((target, root))
}
