//! What an iterator of C walks with (part of ffi, layer L8).
//!
//! Owns: [`Steps`]: one set of moves for all kinds of transactions. Must not know: pointers.
//! Keeps: errors-stick.

use super::begun::with_open;
use crate::error::{Error, Result};
use crate::node::Way;
use crate::txn::{Iter, NotingIter};

/// What an iterator walks with.
#[derive(Debug)]
pub(super) enum Steps {
    Plain(Iter),
    /// Of a transaction that was begun, under this number. What is seen after it ended would be
    /// compared with nothing.
    Noted(NotingIter, usize),
}

impl Steps {
    pub(super) fn error(&self) -> Option<Error> {
        match self {
            Steps::Plain(iter) => iter.error(),
            Steps::Noted(iter, _) => iter.error(),
        }
    }

    pub(super) fn seek(&mut self, key: &[u8]) -> Result<()> {
        match self {
            Steps::Plain(iter) => iter.seek(key),
            Steps::Noted(iter, txn) => with_open(*txn, |_| iter.seek(key)),
        }
    }

    /// Steps over an entry, if there is one; its value is read if there is a buffer for it.
    pub(super) fn step(
        &mut self,
        way: Way,
        key: &mut Vec<u8>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<bool> {
        match self {
            Steps::Plain(iter) => iter.step(way, key, value),
            Steps::Noted(iter, txn) => with_open(*txn, |_| iter.step(way, key, value)),
        }
    }
}
