//! Large values of the running transaction (layer L4).
//!
//! Owns: [`Large`]: where such a value is until the tree that has it is sealed.
//! Must not know: files, or who writes a value's pages.
//! Keeps: commit-atomic (a value that no tree has any more gives its pages back by itself).

use super::PageRead;
use crate::error::Result;
use crate::node::Run;
use crate::sync::Arc;
use std::any::Any;

/// A value whose pages were written before its commit; nothing in the file refers to them.
#[derive(Debug)]
pub(crate) struct EarlyRun {
    pub(crate) run: Run,
    /// Gives the pages back when it is dropped, unless a commit has them.
    pub(crate) _keeper: Box<dyn Any + Send + Sync>,
}

/// A value that is to be put.
#[derive(Clone, Copy)]
pub(crate) enum NewValue<'a> {
    Bytes(&'a [u8]),
    Early(&'a Arc<EarlyRun>),
}

/// A large value that no sealed page refers to.
#[derive(Clone, Debug)]
pub(crate) enum Large {
    /// In memory, without pages.
    Here(Arc<[u8]>),
    Early(Arc<EarlyRun>),
}

impl Large {
    /// Appends the value to `out`.
    pub(super) fn append_to(&self, pages: &dyn PageRead, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Large::Here(value) => out.extend_from_slice(value),
            Large::Early(early) => pages.read_run(early.run, out)?,
        }
        Ok(())
    }

    pub(super) fn equals(&self, pages: &dyn PageRead, wanted: &[u8]) -> Result<bool> {
        match self {
            Large::Here(value) => Ok(**value == *wanted),
            Large::Early(early) => run_equals(pages, early.run, wanted),
        }
    }
}

/// Whether a run holds this value. It is not read where its length says no.
pub(super) fn run_equals(pages: &dyn PageRead, run: Run, wanted: &[u8]) -> Result<bool> {
    if run.len as usize != wanted.len() {
        return Ok(false);
    }
    let mut value = Vec::new();
    pages.read_run(run, &mut value)?;
    Ok(value == wanted)
}
