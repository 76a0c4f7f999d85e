//! The transactions that C has begun and not ended (part of ffi, layer L8).
//!
//! Owns: the table from the numbers that C holds as handles to them and their buckets, and the
//! numbers of all handles. Must not know: what is done with a transaction.
//! Keeps: errors-stick (a transaction in which an operation panicked cannot commit).
//!
//! A handle is a number that is used once in a process, and looked up here by every thread. The
//! table is locked for that, and never while a transaction works or ends.

use crate::error::{Error, Fault, Result};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::txn::OwnedTxn;
use std::collections::BTreeMap;

struct Table {
    txns: BTreeMap<usize, Open>,
    /// The transaction and the name of each bucket that has a handle.
    buckets: BTreeMap<usize, (usize, Arc<str>)>,
}

struct Open {
    /// Others have it while a call works on it.
    txn: Arc<OwnedTxn>,
    /// Why it cannot commit any more.
    failed: Option<Fault>,
    /// The handle of each bucket that has one.
    handles: BTreeMap<Arc<str>, usize>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { txns: BTreeMap::new(), buckets: BTreeMap::new() });

fn ended() -> Error {
    Error::invalid("no transaction that was begun has this handle, or it has ended")
}

/// Runs an operation on a transaction. When it panics, the transaction cannot commit.
pub(super) fn with_open<R>(id: usize, operation: impl FnOnce(&OwnedTxn) -> Result<R>) -> Result<R> {
    struct Armed(usize);
    impl Drop for Armed {
        fn drop(&mut self) {
            let error = Error::internal("an operation of this transaction panicked");
            fail(self.0, Fault::keep(error));
        }
    }
    let table = TABLE.lock();
    let open = table.txns.get(&id).ok_or_else(ended)?;
    let (txn, failed) = (Arc::clone(&open.txn), open.failed.clone());
    drop(table);
    if let Some(fault) = failed {
        return Err(fault.raise());
    }
    let armed = Armed(id);
    let result = operation(&txn);
    std::mem::forget(armed);
    result
}

/// Fails a transaction, if it has not ended.
pub(super) fn fail(id: usize, fault: Fault) {
    if let Some(open) = TABLE.lock().txns.get_mut(&id) {
        open.failed.get_or_insert(fault);
    }
}

/// The transaction and the name of a bucket, if the handle is of one.
pub(super) fn bucket_of(id: usize) -> Option<(usize, Arc<str>)> {
    TABLE.lock().buckets.get(&id).cloned()
}

/// A handle of a bucket: the same one for the same name.
pub(super) fn bucket(root: usize, name: &str) -> Result<usize> {
    let mut table = TABLE.lock();
    let id = fresh(&table);
    let Table { txns, buckets } = &mut *table;
    let open = txns.get_mut(&root).ok_or_else(ended)?;
    if let Some(&known) = open.handles.get(name) {
        return Ok(known);
    }
    let name = Arc::<str>::from(name);
    open.handles.insert(Arc::clone(&name), id);
    buckets.insert(id, (root, name));
    Ok(id)
}

/// Takes a transaction out of the table, and the handles of its buckets.
fn take(table: &mut Table, id: usize) -> Result<Open> {
    let open = table.txns.remove(&id).ok_or_else(ended)?;
    for handle in open.handles.values() {
        table.buckets.remove(handle);
    }
    Ok(open)
}

/// Takes a transaction in. Returns its number.
pub(super) fn add(txn: OwnedTxn) -> usize {
    let mut table = TABLE.lock();
    let (id, txn) = (fresh(&table), Arc::new(txn));
    table.txns.insert(id, Open { txn, failed: None, handles: BTreeMap::new() });
    id
}

/// Drops a transaction, when the calls that other threads make with it have ended.
pub(super) fn end(id: usize) -> Result<()> {
    // Outside of the lock: with it the store may be closed.
    let taken = take(&mut TABLE.lock(), id);
    taken.map(drop)
}

/// Ends a transaction and gives it out, to be committed. Where a call with it is under way, on
/// another thread or around a callback, it does not end.
pub(super) fn end_alone(id: usize) -> Result<OwnedTxn> {
    let mut table = TABLE.lock();
    let users = table.txns.get(&id).map_or(0, |open| Arc::strong_count(&open.txn));
    if users > 1 {
        return Err(Error::invalid("a call with the transaction is under way"));
    }
    let taken = take(&mut table, id);
    drop(table);
    let Open { txn, failed, .. } = taken?;
    failed.map_or(Ok(()), |fault| Err(fault.raise()))?;
    Arc::into_inner(txn).ok_or(Error::Internal)
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A number that no handle has. Never 0, which would be NULL.
pub(super) fn next_id() -> usize {
    // Those of 64 bits do not come round.
    if usize::BITS < u64::BITS { fresh(&TABLE.lock()) } else { next_number() }
}

/// As [`next_id`], for whoever has the table.
fn fresh(table: &Table) -> usize {
    loop {
        let id = next_number();
        if !table.txns.contains_key(&id) && !table.buckets.contains_key(&id) {
            return id;
        }
    }
}

fn next_number() -> usize {
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % (usize::MAX as u64);
    usize::try_from(number).expect("the remainder is below the largest usize") + 1
}
