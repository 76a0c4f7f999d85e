//! Closures that fail with errors of a program's own (part of txn, layer L6).
//!
//! Owns: how such an error comes through a call whose closure returns the store's. Must not know:
//! which call it is. Keeps: nothing of its own; the call undoes what it does on any error.

use crate::error::{Error, Result, of_own_closure};

/// Runs a call of the store with a closure that fails with errors of its own. The call hands what
/// the closure returns to the function that it gets, which keeps the error and fails in its place.
pub(crate) fn with_own_error<R, E: From<Error>>(
    call: impl FnOnce(&mut Keep<E>) -> Result<R>,
) -> std::result::Result<R, E> {
    let mut keep = Keep(None);
    // The store's own errors, where the closure had none, or did not run.
    call(&mut keep).map_err(|error| keep.0.unwrap_or_else(|| E::from(error)))
}

/// Where the error of a closure waits while the call undoes what it did.
pub(crate) struct Keep<E>(Option<E>);

impl<E> Keep<E> {
    /// What the call is told: an error that stands for the closure's, and that no call takes for a
    /// conflict or for a failure of the storage.
    pub(crate) fn or_keep<R>(
        &mut self,
        closure: impl FnOnce() -> std::result::Result<R, E>,
    ) -> Result<R> {
        of_own_closure(closure).map_err(|error| {
            self.0 = Some(error);
            Error::Invalid
        })
    }
}
