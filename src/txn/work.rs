//! What a write transaction has done to its bucket (part of txn, layer L6).
//!
//! Owns: [`Work`], the changed tree, and the puts that are gathered to be made together.
//! Must not know: the limits of keys and values, which errors stick.
//! Keeps: commit-atomic (what is gathered belongs to the transaction and goes away with it).
//!
//! A put needs no answer from the tree, so that a run of them is copied first and made some at a
//! time: what they will touch is asked for side by side, and the keys and values of the caller,
//! which may lie anywhere, are read without waiting for the tree. Whatever looks at the tree makes
//! the gathered puts first.

use crate::commit::{Core, EarlyWriter, Mark, Outcome, Writer};
use crate::error::{Error, Result};
use crate::sync::Ordering;
use crate::tree::{Condition, Edit, NewValue, TOGETHER, Tree};

/// Longer entries are put at once: they take their time anyway.
const ENTRY_BYTES_MAX: usize = 1024;

/// The bucket of a write transaction, with the changes made so far.
pub(super) struct Work<'t> {
    pub(super) writer: &'t mut Writer,
    pub(super) tree: Tree,
    pub(super) outcome: Outcome,
    pub(super) mark: Mark,
    gathered: Gathered,
    /// A change is under way, or has panicked: nobody knows then what the tree holds.
    is_broken: bool,
}

/// Puts that wait, in their order.
#[derive(Default)]
struct Gathered {
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    ends: Vec<Ends>,
    /// The last thing that was done to the bucket was a put: one alone is not gathered.
    is_run: bool,
}

/// Where an entry ends in the bytes of all; it begins where the one before ends.
struct Ends {
    key: usize,
    value: usize,
}

impl Gathered {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push(Ends { key, value: self.bytes.len() });
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|ends| ends.value));
        begins
            .zip(&self.ends)
            .map(|(begin, ends)| (&self.bytes[begin..ends.key], &self.bytes[ends.key..ends.value]))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

impl<'t> Work<'t> {
    pub(super) fn new(writer: &'t mut Writer, tree: Tree, outcome: Outcome) -> Work<'t> {
        let mark = writer.batch.mark();
        Work { writer, tree, outcome, mark, gathered: Gathered::default(), is_broken: false }
    }

    /// Puts an entry, or gathers it. The caller checked the limits of key and value.
    #[inline]
    pub(super) fn put(&mut self, core: &Core, key: &[u8], value: &[u8]) -> Result<()> {
        if self.gathered.is_run && key.len() + value.len() <= ENTRY_BYTES_MAX {
            self.gathered.push(key, value);
            return if self.gathered.ends.len() < TOGETHER { Ok(()) } else { self.settle(core) };
        }
        self.change(core, |tree, edit| {
            tree.put_if(edit, (key, NewValue::Bytes(value)), Condition::Always)
        })?;
        self.gathered.is_run = true;
        Ok(())
    }

    /// Begins to write a value of so many bytes to the file.
    pub(super) fn begin_early<'c>(&mut self, core: &'c Core, len: u32) -> Result<EarlyWriter<'c>> {
        EarlyWriter::begin(core, &mut self.writer.space, len)
    }

    /// Makes the puts that were gathered.
    fn settle(&mut self, core: &Core) -> Result<()> {
        // Left behind when a put fails: the tree may be half changed then.
        let mut gathered = std::mem::take(&mut self.gathered);
        self.change_now(core, |tree, edit| {
            tree.put_all(edit, gathered.entries())?;
            Ok(true)
        })?;
        gathered.clear();
        self.gathered = gathered;
        Ok(())
    }

    /// Ends a run of puts: makes the tree what it should be.
    pub(super) fn end_run(&mut self, core: &Core) -> Result<()> {
        if self.is_broken {
            return Err(Error::internal("a call of the transaction panicked"));
        }
        if !self.gathered.ends.is_empty() {
            self.settle(core)?;
        }
        self.gathered.is_run = false;
        Ok(())
    }

    /// Changes the tree, in which all puts are made first; the closure tells whether it did.
    pub(super) fn change(
        &mut self,
        core: &Core,
        change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> Result<bool>,
    ) -> Result<bool> {
        self.end_run(core)?;
        self.change_now(core, change)
    }

    #[inline]
    fn change_now(
        &mut self,
        core: &Core,
        change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> Result<bool>,
    ) -> Result<bool> {
        self.is_broken = true;
        let changed = change(&mut self.tree, &mut self.writer.batch.edit(&core.pager));
        self.is_broken = false;
        let has_changed = changed?;
        if has_changed {
            self.outcome = Outcome::Changed;
            let freed = self.writer.batch.freed_since(self.mark);
            core.running.1.store(freed, Ordering::Relaxed);
            core.running.0.store(freed.max(1), Ordering::Relaxed);
        }
        Ok(has_changed)
    }
}
