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
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr::without_provenance_mut;
use std::rc::Rc;

/// A transaction. The lifetimes are not true: it is taken out of the table before what this points
/// to ends.
#[derive(Clone, Copy)]
enum Target {
    Write(*mut Txn<'static>),
    Read(*const ReadOnlyTxn<'static>),
    Multi(*mut MultiTxn<'static>),
}

struct Running {
    id: usize,
    target: Target,
    /// Why it cannot commit any more; large, and mostly not there.
    failed: Option<Box<Fault>>,
    /// Why no other call gets it: a call on it runs a callback.
    waits: Option<&'static str>,
    /// The handle of each bucket that has one.
    handles: BTreeMap<Rc<str>, usize>,
}

struct Active {
    /// One begins inside the callback of another and ends before it: mostly there is one, and the
    /// last is the one that is looked for.
    txns: Vec<Running>,
    /// The transaction and the name of each bucket that has a handle.
    buckets: BTreeMap<usize, (usize, Rc<str>)>,
}

thread_local! {
    /// Never dropped: what runs when a thread or the process ends may still use transactions.
    static ACTIVE: ManuallyDrop<RefCell<Active>> =
        const { ManuallyDrop::new(RefCell::new(Active::EMPTY)) };
}

fn active<R>(work: impl FnOnce(&mut Active) -> R) -> R {
    ACTIVE.with(|active| work(&mut active.borrow_mut()))
}

impl Active {
    const EMPTY: Active = Active { txns: Vec::new(), buckets: BTreeMap::new() };

    fn txn(&mut self, id: usize) -> Option<&mut Running> {
        self.txns.iter_mut().rev().find(|txn| txn.id == id)
    }

    fn has(&self, id: usize) -> bool {
        self.txns.iter().rev().any(|txn| txn.id == id) || self.buckets.contains_key(&id)
    }

    /// A number that is not in use here: where they come round, it may be that of a transaction
    /// that still runs.
    fn fresh(&self) -> usize {
        loop {
            let id = next_id();
            if !self.has(id) {
                return id;
            }
        }
    }

    fn add(&mut self, target: Target) -> usize {
        let id = self.fresh();
        let handles = BTreeMap::new();
        self.txns.push(Running { id, target, failed: None, waits: None, handles });
        id
    }

    /// Takes a transaction out, and the handles of its buckets.
    fn end(&mut self, id: usize) -> Option<Running> {
        let at = self.txns.iter().rposition(|txn| txn.id == id)?;
        let ended = self.txns.remove(at);
        for handle in ended.handles.values() {
            self.buckets.remove(handle);
        }
        if self.txns.is_empty() {
            // Nobody else gives their memory back: an empty map may keep some, too.
            *self = Active::EMPTY;
        }
        Some(ended)
    }

    fn bucket(&mut self, root: usize, name: &str) -> Result<usize> {
        let txn = self.txn(root).ok_or_else(ended)?;
        if let Some(&known) = txn.handles.get(name) {
            return Ok(known);
        }
        let (id, name) = (self.fresh(), Rc::<str>::from(name));
        self.buckets.insert(id, (root, Rc::clone(&name)));
        if let Some(txn) = self.txn(root) {
            txn.handles.insert(name, id);
        }
        Ok(id)
    }
}

/// Whether a transaction, or a bucket of one, that runs on this thread has this handle.
fn is_here(id: usize) -> bool {
    active(|active| active.has(id))
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
            active(|active| active.end(self.0));
        }
    }
    let id = active(|active| active.add(target));
    let _scope = Scope(id);
    let code = callback(id);
    let failed = active(|active| active.txn(id).map(|txn| txn.failed.clone()));
    match failed.ok_or_else(ended)? {
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
    let Found { target, root, bucket } = find(id)?;
    let armed = Armed { root };
    let result = match (target, bucket) {
        (Target::Write(txn), _) => {
            // SAFETY: `run_write` keeps it in the table only while it holds the transaction mutably
            // and runs the callback. An operation that runs a callback in turn lends the
            // transaction, and `find` does not find it then: this is the only reference.
            let txn = unsafe { &mut *txn };
            operation(Access::Write(txn))
        }
        (Target::Read(txn), _) => {
            // SAFETY: `run_read` keeps it in the table only while it holds the transaction.
            let txn = unsafe { &*txn };
            operation(Access::Read(txn))
        }
        (Target::Multi(_), Some(name)) => {
            let exec =
                |multi: &mut MultiTxn<'_>| multi.exec(&*name, |txn| operation(Access::Write(txn)));
            let result = with_multi(without_provenance_mut(root), exec);
            note(root, &result);
            result
        }
        (Target::Multi(_), None) => Err(Error::invalid("this is a MultiTxn, not a Txn")),
    };
    armed.disarm();
    result
}

/// Runs an operation on a multi-bucket transaction. When it panics, the transaction cannot commit.
pub(super) fn with_multi<R>(
    handle: *mut MultiTxnHandle,
    operation: impl FnOnce(&mut MultiTxn<'_>) -> Result<R>,
) -> Result<R> {
    let Found { target: Target::Multi(multi), root, bucket: None } = find(handle.addr())? else {
        return Err(Error::invalid("this is a Txn, not a MultiTxn"));
    };
    let armed = Armed { root };
    // SAFETY: `run_multi` keeps it in the table only while it holds the transaction mutably and
    // runs the callback. An operation that runs a callback in turn lends the transaction, and
    // `find` does not find it then: this is the only reference.
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
pub(super) fn bucket(multi: *mut MultiTxnHandle, name: &str) -> Result<*mut TxnHandle> {
    active(|active| active.bucket(multi.addr(), name)).map(without_provenance_mut)
}

/// Ends the handle of a bucket.
pub(super) fn end_bucket(multi: *mut MultiTxnHandle, name: &str) {
    active(|active| {
        let txn = active.txn(multi.addr());
        if let Some(id) = txn.and_then(|txn| txn.handles.remove(name)) {
            active.buckets.remove(&id);
        }
    });
}

/// The transaction of a handle, for [`note`].
pub(super) fn root_of(handle: *mut TxnHandle) -> Result<usize> {
    let id = handle.addr();
    if is_here(id) {
        return find(id).map(|found| found.root);
    }
    bucket_of(id).map_or_else(|| find(id).map(|found| found.root), |(root, _)| Ok(root))
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

fn fail(root: usize, fault: &Fault) {
    active(|active| {
        if let Some(txn) = active.txn(root) {
            txn.failed.get_or_insert_with(|| Box::new(fault.clone()));
        }
    });
}

fn set_waits(root: usize, why: Option<&'static str>) {
    active(|active| {
        if let Some(txn) = active.txn(root) {
            txn.waits = why;
        }
    });
}

fn ended() -> Error {
    Error::invalid("no transaction of this thread has this handle, or it has ended")
}

/// What a handle stands for: a transaction, or a bucket of it.
struct Found {
    target: Target,
    root: usize,
    bucket: Option<Rc<str>>,
}

/// What a handle stands for, unless the transaction has failed or is lent.
fn find(id: usize) -> Result<Found> {
    let found = active(|active| {
        let bucket = active.buckets.get(&id).cloned();
        let (root, bucket) = bucket.map_or((id, None), |(root, name)| (root, Some(name)));
        let txn = active.txn(root)?;
        Some((Found { target: txn.target, root, bucket }, txn.failed.clone(), txn.waits))
    });
    let (found, failed, waits) = found.ok_or_else(ended)?;
    if let Some(fault) = failed {
        return Err(fault.raise());
    }
    if let Some(why) = waits {
        return Err(Error::invalid(why));
    }
    Ok(found)
}
