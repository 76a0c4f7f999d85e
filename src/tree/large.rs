//! Large values of the running transaction (layer L4).
//!
//! Owns: [`Large`]: where such a value is until the tree that has it is sealed.
//! Must not know: files, or who writes a value's pages.
//! Keeps: commit-atomic (a value that no tree has any more gives its pages back by itself).

use super::{Dirty, PageRead, Root, Tree};
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
    /// In the pages that are given up, until a compaction has copied it.
    Moving(Run),
}

impl Large {
    /// Appends the value to `out`.
    pub(super) fn append_to(&self, pages: &dyn PageRead, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Large::Here(value) => out.extend_from_slice(value),
            Large::Early(early) => pages.read_run(early.run, out)?,
            Large::Moving(run) => pages.read_run(*run, out)?,
        }
        Ok(())
    }

    pub(super) fn equals(&self, pages: &dyn PageRead, wanted: &[u8]) -> Result<bool> {
        match self {
            Large::Here(value) => Ok(**value == *wanted),
            Large::Early(early) => run_equals(pages, early.run, wanted),
            Large::Moving(run) => run_equals(pages, *run, wanted),
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

impl Tree {
    /// Puts copies in place of the values that are still to be moved.
    ///
    /// # Errors
    /// What copying says; the tree is then to be thrown away.
    pub(crate) fn copy_moving(&mut self, copy: &mut dyn FnMut(Run) -> Result<Large>) -> Result<()> {
        match &mut self.root {
            Root::Dirty(dirty) => dirty.copy_moving(copy),
            Root::Empty | Root::Clean(..) => Ok(()),
        }
    }
}

impl Dirty {
    fn copy_moving(&mut self, copy: &mut dyn FnMut(Run) -> Result<Large>) -> Result<()> {
        if self.kids().is_empty() && self.values().is_empty() {
            return Ok(());
        }
        for (_, value) in self.values_mut() {
            if let Large::Moving(run) = value {
                *value = copy(*run)?;
            }
        }
        self.kids_mut().iter_mut().flatten().try_for_each(|kid| kid.copy_moving(copy))
    }
}
