//! Transactions (layer L6).
//!
//! Owns: what a closure gets: [`Txn`], [`ReadOnlyTxn`], [`MultiTxn`], and [`Iter`]; the limits of
//! keys and names. Must not know: how a store is opened or shared.
//! Keeps: errors-stick, commit-atomic, snapshot-stable.

mod iter;
mod multi;
mod read;
mod write;

pub use iter::Iter;
pub use multi::MultiTxn;
pub use read::ReadOnlyTxn;
pub use write::Txn;

pub(crate) use multi::run_multi;
pub(crate) use read::run_view;
pub(crate) use write::run_exec;

use crate::error::{Error, Fault, Result};
use crate::format::{VALUE_LEN_MAX, key_len_max};
use crate::sync::{Arc, Mutex};

/// The first failure of the storage that a transaction or one of its cursors met.
#[derive(Clone, Debug)]
struct Sticky(Arc<Mutex<Option<Fault>>>);

impl Sticky {
    fn new() -> Sticky {
        Sticky(Arc::new(Mutex::new(None)))
    }

    /// Fails when something failed before.
    fn check(&self) -> Result<()> {
        match &*self.0.lock() {
            Some(fault) => Err(fault.raise()),
            None => Ok(()),
        }
    }

    /// Remembers a failure of the storage. A bad argument or a missing key is none.
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error @ (Error::Corruption | Error::IoError | Error::Internal | Error::NoSpace)) =
            result
        {
            let mut first = self.0.lock();
            if first.is_none() {
                *first = Some(Fault::keep(error));
            }
        }
        result
    }
}

/// Refuses keys that are empty or too long.
fn check_key(page_size: usize, key: &[u8]) -> Result<()> {
    let limit = key_len_max(page_size);
    if key.is_empty() {
        return Err(Error::invalid("a key has at least one byte"));
    }
    if key.len() > limit {
        return Err(Error::too_large("key", limit as u64, key.len() as u64));
    }
    Ok(())
}

/// Refuses values that are too long.
fn check_value(value: &[u8]) -> Result<()> {
    let len = value.len() as u64;
    if len > VALUE_LEN_MAX {
        return Err(Error::too_large("value", VALUE_LEN_MAX, len));
    }
    Ok(())
}
