//! Transactions (layer L6).
//!
//! Owns: what a closure gets: [`Txn`], [`ReadOnlyTxn`], [`MultiTxn`], [`Iter`], [`Range`] and
//! [`ValueReader`]; [`Snapshot`] and [`OwnedTxn`]; [`ReadBucket`], which is one trait for all that
//! reads a bucket; the limits of keys and names.
//! Must not know: how a store is opened or shared.
//! Keeps: errors-stick, commit-atomic, snapshot-stable, durable-before-ok (what a failed flush of
//! others may have taken is noted, and not committed).

mod iter;
mod multi;
mod own_error;
mod owned;
mod pieces;
mod range;
mod read;
mod read_bucket;
mod reader;
mod snapshot;
mod value;
mod work;
mod write;

pub use iter::Iter;
pub use multi::MultiTxn;
pub use owned::{OwnedTxn, TxnBucket, TxnRange};
pub use range::Range;
pub use read::ReadOnlyTxn;
pub use read_bucket::{ReadBucket, ReadRange};
pub use reader::ValueReader;
pub use snapshot::Snapshot;
pub use value::ValueRef;
pub use write::Txn;

pub(crate) use multi::run_multi;
pub(crate) use own_error::with_own_error;
#[cfg(all(feature = "ffi", not(loom)))]
pub(crate) use owned::NotingIter;
pub(crate) use owned::run_transact;
pub(crate) use pieces::Shown;
pub(crate) use read::run_view;
pub(crate) use snapshot::{bucket_names, contains_bucket};
#[cfg(all(feature = "ffi", not(loom)))]
pub(crate) use write::PushFn;
pub(crate) use write::{read_whole, run_exec};

use crate::commit::Core;
use crate::error::{Error, Fault, Result};
use crate::format::{VALUE_LEN_MAX, bucket_name_len_max, key_len_max};
use crate::readers::State;
use crate::seeded::seeded;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, OnceLock, Ordering};
use crate::tree::{Cursor, PageRead, Tree};

/// The first failure of the storage that a transaction met, or one of the cursors that share it.
#[derive(Clone, Debug)]
struct FirstFault(Arc<First>);

#[derive(Debug)]
struct First {
    told: Mutex<Told>,
    /// Set when there is a fault: whoever asks before each step need not lock.
    has_failed: AtomicBool,
    /// Set when an owned transaction puts its first value early.
    early: OnceLock<EarlySince>,
}

/// Since when values of an owned transaction are in the file, of which no sync tells it.
#[derive(Debug)]
struct EarlySince {
    /// Of the store: flushes that failed.
    failures: Arc<AtomicU64>,
    /// How many had failed before.
    before: u64,
    /// The transaction is durable: what fails from now on takes nothing of it.
    is_durable: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    fault: Option<Fault>,
    /// Of the transaction of which this was a part, which is over: what a cursor of it meets from
    /// then on is told there.
    whole: Option<FirstFault>,
}

impl FirstFault {
    fn new() -> FirstFault {
        let (told, has_failed) = (Mutex::new(Told::default()), AtomicBool::new(false));
        FirstFault(Arc::new(First { told, has_failed, early: OnceLock::new() }))
    }

    /// Why values that were put early cannot be committed, or read, where the disk may have lost
    /// them: no sync was to tell of them, but the batches of others went to the same file.
    fn conflict(&self) -> Option<&'static str> {
        let since = self.0.early.get()?;
        let is_durable = since.is_durable.load(Ordering::Acquire);
        let is_lost = !is_durable && since.failures.load(Ordering::Acquire) != since.before;
        let is_lost = is_lost && !seeded!(EarlyRunOutlivesAFailure);
        is_lost.then_some("a commit that failed may have taken what was put from a reader")
    }

    /// Why something could not be read, where the file is not to blame: what is read was `lost`, so
    /// that its pages may be others', or what was put early may have been.
    #[cold]
    fn cause_of(&self, lost: impl FnOnce() -> Option<Error>, error: Error) -> Error {
        let is_read = matches!(error, Error::Corruption | Error::IoError);
        let conflict = || self.conflict().filter(|_| is_read).map(Error::conflict);
        let cause = if is_failure(error) { lost().or_else(conflict) } else { None };
        cause.unwrap_or(error)
    }

    /// Fails when something failed before.
    #[inline]
    fn check(&self) -> Result<()> {
        if self.0.has_failed.load(Ordering::Acquire) { self.raise() } else { Ok(()) }
    }

    #[cold]
    fn raise(&self) -> Result<()> {
        self.0.told.lock().fault.as_ref().map_or(Ok(()), |fault| Err(fault.raise()))
    }

    /// Remembers a failure of the storage. Returns why it is one.
    fn fail(&self, lost: impl FnOnce() -> Option<Error>, error: Error) -> Error {
        let error = self.cause_of(lost, error);
        self.keep(error);
        error
    }

    fn keep(&self, error: Error) {
        if seeded!(SwallowedErrorCommits) {
            return;
        }
        let mut told = self.0.told.lock();
        if told.fault.is_none() {
            told.fault = Some(Fault::keep(error));
            self.0.has_failed.store(true, Ordering::Release);
        }
        let whole = told.whole.take();
        drop(told);
        if let Some(whole) = whole {
            whole.keep(error);
        }
    }
}

/// Whether the storage failed, and not whoever called.
fn is_failure(error: Error) -> bool {
    matches!(error, Error::Corruption | Error::IoError | Error::Internal | Error::NoSpace)
}

/// The same for the transaction: takes memory when a cursor shares it, or when something fails.
struct Sticky {
    first: OnceLock<FirstFault>,
    /// The state that is read, if its flush may still fail.
    base: Option<Arc<State>>,
}

impl Sticky {
    fn new() -> Sticky {
        Sticky { first: OnceLock::new(), base: None }
    }

    /// Of a transaction on the newest sealed state, whose flush may be under way.
    fn on(base: &Arc<State>) -> Sticky {
        Sticky { first: OnceLock::new(), base: Some(Arc::clone(base)) }
    }

    fn share(&self) -> &FirstFault {
        self.first.get_or_init(FirstFault::new)
    }

    /// Values go to the file from now on before they are committed.
    fn put_early(&self, failures: &Arc<AtomicU64>) {
        self.share().0.early.get_or_init(|| {
            let (before, is_durable) = (failures.load(Ordering::Acquire), AtomicBool::new(false));
            EarlySince { failures: Arc::clone(failures), before, is_durable }
        });
    }

    /// The batch is flushed in whose turn the transaction committed, or a later one. What was put
    /// early is durable then, unless a flush has failed meanwhile.
    fn made_durable(&self) {
        if let Some(early) = self.first.get().and_then(|first| first.0.early.get())
            && early.failures.load(Ordering::Acquire) == early.before
        {
            early.is_durable.store(true, Ordering::Release);
        }
    }

    /// Why what was put early cannot be committed.
    fn conflict(&self) -> Option<&'static str> {
        self.first.get().and_then(FirstFault::conflict)
    }

    /// Fails when something failed before.
    #[inline]
    fn check(&self) -> Result<()> {
        self.first.get().map_or(Ok(()), FirstFault::check)
    }

    /// Ends as a part of a transaction. What its cursors still meet fails the whole; what was met
    /// before is up to whoever ran the part.
    fn end_within(&self, whole: &Sticky) {
        if let Some(part) = self.first.get() {
            part.0.told.lock().whole = Some(whole.share().clone());
        }
    }

    /// Remembers a failure of the storage, and says why it is one. A bad argument or a missing key
    /// is none.
    #[inline(always)]
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if is_failure(error) => Err(self.fail(error)),
            _ => result,
        }
    }

    #[cold]
    #[inline(never)]
    fn fail(&self, error: Error) -> Error {
        self.share().fail(|| self.base.as_ref()?.loss(), error)
    }
}

/// A key that is not there as an answer, and not as an error.
#[inline(always)]
fn none_if_absent<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses keys that are empty or too long.
#[inline]
fn check_key(page_size: usize, key: &[u8]) -> Result<()> {
    let limit = key_len_max(page_size);
    if (1..=limit).contains(&key.len()) { Ok(()) } else { Err(refuse_key(limit, key)) }
}

#[cold]
fn refuse_key(limit: usize, key: &[u8]) -> Error {
    if key.is_empty() {
        return Error::invalid("a key has at least one byte");
    }
    Error::too_large("key", limit as u64, key.len() as u64)
}

/// Refuses values that are too long.
fn check_value(value: &[u8]) -> Result<()> {
    check_value_len(value.len() as u64).map(drop)
}

/// The length of a value, if that may have it.
fn check_value_len(len: u64) -> Result<u32> {
    let too_large = |_| Error::too_large("value", VALUE_LEN_MAX, len);
    u32::try_from(len).map_err(too_large)
}

/// Refuses bucket names that are empty or too long.
fn check_name(core: &Core, name: &str) -> Result<()> {
    let limit = bucket_name_len_max(core.pager.page_size());
    if name.is_empty() {
        return Err(Error::invalid("a bucket's name has at least one byte"));
    }
    if name.len() > limit {
        return Err(Error::too_large("bucket name", limit as u64, name.len() as u64));
    }
    Ok(())
}

/// How a cursor steps.
type StepFn = fn(&mut Cursor, &dyn PageRead, &mut Vec<u8>, &mut Vec<u8>) -> Result<bool>;

/// The entry that a new cursor's first step meets.
fn edge_entry(core: &Core, tree: &Tree, step: StepFn) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let is_there = step(&mut Cursor::new(tree.clone()), &core.pager, &mut key, &mut value)?;
    Ok(is_there.then_some((key, value)))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Names};
    use crate::page::TxnId;

    #[test]
    fn what_is_lost_is_not_the_files_fault() {
        let catalog = Catalog { buckets: 0, names: Names::Tree(Tree::empty()) };
        let state = Arc::new(State::new(TxnId(3), 2, catalog));
        let sticky = |base: &Arc<State>| (Sticky::on(base), Arc::new(AtomicU64::new(5)));
        let (whole, failures) = sticky(&state);
        whole.put_early(&failures);
        assert_eq!(whole.note::<()>(Err(Error::NotFound)), Err(Error::NotFound));
        assert_eq!(whole.check(), Ok(()));
        let (damaged, _) = sticky(&state);
        assert_eq!(damaged.note::<()>(Err(Error::Corruption)), Err(Error::Corruption));
        failures.fetch_add(1, Ordering::Relaxed);
        whole.put_early(&failures);
        for error in [Error::Corruption, Error::IoError] {
            assert_eq!(whole.note::<()>(Err(error)), Err(Error::Conflict));
        }
        assert_eq!(
            (whole.check(), damaged.check()),
            (Err(Error::Conflict), Err(Error::Corruption))
        );
        state.lose(&Fault::keep(Error::NoSpace));
        let (lost, _) = sticky(&state);
        lost.put_early(&failures);
        failures.fetch_add(1, Ordering::Relaxed);
        assert_eq!(lost.note::<()>(Err(Error::Invalid)), Err(Error::Invalid));
        let (lost, _) = sticky(&state);
        assert_eq!(lost.note::<()>(Err(Error::Corruption)), Err(Error::NoSpace));
        assert_eq!(lost.check(), Err(Error::NoSpace));
    }
}
