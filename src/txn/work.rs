//! What a write transaction has done to its bucket (part of txn, layer L6).
//!
//! Owns: [`Work`], the changed tree, and [`Waiting`], puts that are gathered to be made together.
//! Must not know: the limits of keys and values, which errors stick.
//! Keeps: commit-atomic (what is gathered belongs to the transaction and goes away with it; of a
//! part of a transaction that fails, what it has put itself).
//!
//! A put needs no answer from the tree, so that a run of them is copied first and made some at a
//! time: what they will touch is asked for side by side, and the keys and values of the caller,
//! which may lie anywhere, are read without waiting for the tree. Whatever looks at the tree makes
//! the gathered puts first.
//!
//! Parts of a transaction can be undone alone, so that what they change is made in copies: of the
//! leaf, and of all that its parents know of their children. Puts at the end of a part wait for the
//! next part on the bucket instead: then they are not undone alone any more, and are made in place.

use crate::commit::{Core, EarlyWriter, Mark, Outcome, Writer};
use crate::error::{Error, Result};
use crate::seeded::seeded;
use crate::sync::Ordering;
use crate::tree::{Condition, Edit, NewValue, TOGETHER, Tree};
use std::ops::Range;

/// Longer entries are put at once: they take their time anyway.
const ENTRY_BYTES_MAX: usize = 1024;

/// The bucket of a write transaction, with the changes made so far.
pub(super) struct Work<'t> {
    pub(super) writer: &'t mut Writer,
    /// What the bucket is, without what waits.
    pub(super) tree: Tree,
    pub(super) outcome: Outcome,
    pub(super) mark: Mark,
    waiting: &'t mut Waiting,
    /// Where this is a part of a transaction: the name of the bucket.
    part_of: Option<&'t [u8]>,
    /// A change is under way, or has panicked: nobody knows then what the tree holds.
    is_broken: bool,
    /// The tree is another than the one with which this began.
    has_changed_tree: bool,
}

/// Puts to a bucket that wait, in their order.
#[derive(Default)]
pub(super) struct Waiting {
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    ends: Vec<Ends>,
    /// So many are of parts that have ended, and are not undone when the one that runs fails.
    kept: usize,
    /// The last thing that was done to the bucket was a put: one alone is not gathered.
    is_run: bool,
    /// While what is kept is made nobody knows what the bucket holds, and for good if that fails.
    is_broken: bool,
}

/// Where an entry ends in the bytes of all; it begins where the one before ends.
struct Ends {
    key: usize,
    value: usize,
    /// The key has no value any more.
    is_removal: bool,
}

impl Waiting {
    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(key);
        let key = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push(Ends { key, value: self.bytes.len(), is_removal: value.is_none() });
    }

    /// Entries, those that are removed without a value.
    fn entries(&self, range: Range<usize>) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let first = range.start.checked_sub(1).map_or(0, |before| self.ends[before].value);
        let ends = &self.ends[range];
        let begins = std::iter::once(first).chain(ends.iter().map(|ends| ends.value));
        begins
            .zip(ends)
            .map(|(begin, ends)| (&self.bytes[begin..ends.key], &self.bytes[ends.key..ends.value]))
    }

    /// What was done last with a key: whether it was put.
    fn last_of(&self, key: &[u8]) -> Option<bool> {
        let all = self.entries(0..self.ends.len()).zip(&self.ends);
        all.filter(|((other, _), _)| *other == key).last().map(|(_, ends)| !ends.is_removal)
    }

    /// Makes all of it.
    fn make(&self, tree: &mut Tree, edit: &mut Edit<'_>) -> Result<()> {
        let mut from = 0;
        for part in self.ends.chunk_by(|one, other| one.is_removal == other.is_removal) {
            let mut entries = self.entries(from..from + part.len());
            if part[0].is_removal {
                entries.try_for_each(|(key, _)| {
                    tree.del_if(edit, key, Condition::Present).map(drop)
                })?;
            } else {
                tree.put_all(edit, entries)?;
            }
            from += part.len();
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Whether parts that have ended left something that is not made yet.
    pub(super) fn has_kept(&self) -> bool {
        self.kept > 0
    }

    /// Takes all out.
    fn take(&mut self) -> Waiting {
        let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        Waiting { bytes, ends, ..Waiting::default() }
    }

    /// Takes what is kept out, and leaves the rest.
    fn take_kept(&mut self) -> Waiting {
        if self.kept == self.ends.len() {
            self.kept = 0;
            return self.take();
        }
        let rest = self.ends.split_off(self.kept);
        let end = self.ends.last().map_or(0, |ends| ends.value);
        let rest_of_bytes = self.bytes.split_off(end);
        let kept = Waiting {
            bytes: std::mem::replace(&mut self.bytes, rest_of_bytes),
            ends: std::mem::take(&mut self.ends),
            ..Waiting::default()
        };
        let ends = rest.into_iter();
        let moved = |ends: Ends| Ends { key: ends.key - end, value: ends.value - end, ..ends };
        self.ends = ends.map(moved).collect();
        self.kept = 0;
        kept
    }

    /// Fails where nobody knows what the bucket holds.
    ///
    /// # Errors
    /// `Internal`.
    fn check(&self) -> Result<()> {
        if self.is_broken {
            return Err(Error::internal("a call of the transaction panicked"));
        }
        Ok(())
    }

    /// Makes what is kept, in the batch itself: nothing of it is undone alone any more.
    ///
    /// # Errors
    /// What reading pages says: the whole transaction fails then.
    pub(super) fn make_kept(
        &mut self,
        core: &Core,
        writer: &mut Writer,
        bucket: &[u8],
    ) -> Result<()> {
        self.check()?;
        if self.kept == 0 {
            return Ok(());
        }
        let mut kept = self.take_kept();
        self.is_broken = true;
        let make = |tree: &mut Tree, edit: &mut Edit<'_>| kept.make(tree, edit);
        writer.batch.change_in_place(&core.pager, bucket, make)?;
        self.is_broken = false;
        if self.ends.is_empty() {
            kept.clear();
            (self.bytes, self.ends) = (kept.bytes, kept.ends);
        }
        Ok(())
    }
}

impl<'t> Work<'t> {
    pub(super) fn new(
        writer: &'t mut Writer,
        tree: Tree,
        outcome: Outcome,
        waiting: &'t mut Waiting,
        part_of: Option<&'t [u8]>,
    ) -> Work<'t> {
        let mark = writer.batch.mark();
        waiting.is_run = false;
        let (is_broken, has_changed_tree) = (false, false);
        Work { writer, tree, outcome, mark, waiting, part_of, is_broken, has_changed_tree }
    }

    /// Whether a put can wait: one that follows another; in a part of a transaction each, since
    /// what is made there is made in copies, as long as it may be undone alone.
    fn can_wait(&self) -> bool {
        self.waiting.is_run || (self.part_of.is_some() && !self.has_changed_tree)
    }

    /// Puts an entry, or gathers it. The caller checked the limits of key and value.
    #[inline]
    pub(super) fn put(&mut self, core: &Core, key: &[u8], value: &[u8]) -> Result<()> {
        if self.can_wait() && key.len() + value.len() <= ENTRY_BYTES_MAX {
            self.waiting.is_run = true;
            return self.gather(core, key, Some(value));
        }
        self.change(core, |tree, edit| {
            tree.put_if(edit, (key, NewValue::Bytes(value)), Condition::Always)
        })?;
        self.waiting.is_run = true;
        Ok(())
    }

    /// Gathers an entry, or its removal.
    #[inline]
    fn gather(&mut self, core: &Core, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.check()?;
        self.waiting.push(key, value);
        match self.waiting.ends.len() {
            ..TOGETHER => Ok(()),
            _ if self.waiting.kept > 0 => self.make_kept(core),
            _ => self.settle(core),
        }
    }

    /// Gathers an entry, or its removal, if its key is there, or is not, as `is_wanted` says.
    /// Returns whether it was so; `None` where the change cannot wait.
    pub(super) fn gather_if(
        &mut self,
        core: &Core,
        (key, value): (&[u8], Option<&[u8]>),
        is_wanted: bool,
    ) -> Result<Option<bool>> {
        let len = key.len() + value.map_or(0, <[u8]>::len);
        if self.part_of.is_none() || self.has_changed_tree || len > ENTRY_BYTES_MAX {
            return Ok(None);
        }
        self.check()?;
        self.make_kept(core)?;
        let is_there = match self.waiting.last_of(key) {
            Some(is_there) => is_there,
            None => self.tree.contains(&core.pager, key)?,
        };
        if is_there == is_wanted {
            self.gather(core, key, value)?;
        }
        Ok(Some(is_there == is_wanted))
    }

    /// Begins to write a value of so many bytes to the file.
    pub(super) fn begin_early<'c>(&mut self, core: &'c Core, len: u32) -> Result<EarlyWriter<'c>> {
        EarlyWriter::begin(core, &mut self.writer.space, len)
    }

    /// Makes what the parts before have put, if there is any, of which the tree knows nothing yet.
    fn make_kept(&mut self, core: &Core) -> Result<()> {
        let Some(bucket) = self.part_of.filter(|_| self.waiting.kept > 0) else { return Ok(()) };
        self.tree = Tree::empty();
        self.waiting.make_kept(core, self.writer, bucket)?;
        // What this part frees comes behind.
        self.mark = self.writer.batch.mark();
        self.tree = self.writer.batch.bucket(&core.pager, bucket)?.unwrap_or_else(Tree::empty);
        Ok(())
    }

    /// Makes the puts that were gathered; none of an earlier part are among them.
    fn settle(&mut self, core: &Core) -> Result<()> {
        // Left behind when a put fails: the tree may be half changed then.
        let mut gathered = self.waiting.take();
        self.change_now(core, |tree, edit| {
            gathered.make(tree, edit)?;
            Ok(true)
        })?;
        gathered.clear();
        (self.waiting.bytes, self.waiting.ends) = (gathered.bytes, gathered.ends);
        Ok(())
    }

    /// Ends a transaction on a bucket that did not fail. What a part has put may wait for what
    /// follows, if that is all it did.
    ///
    /// # Errors
    /// Those of [`Work::end_run`].
    pub(super) fn end(&mut self, core: &Core) -> Result<()> {
        if self.part_of.is_none() || self.has_changed_tree {
            return self.end_run(core);
        }
        self.check()?;
        if self.waiting.ends.len() > self.waiting.kept {
            self.outcome = Outcome::Changed;
            // What waits replaces nothing before it is made.
            core.running.1.store(0, Ordering::Relaxed);
            core.running.0.store(1, Ordering::Relaxed);
        }
        self.waiting.kept = self.waiting.ends.len();
        Ok(())
    }

    /// Whether a part that has ended left nothing but what waits: before it changes the tree, it
    /// makes that.
    pub(super) fn only_waits(&self) -> bool {
        self.waiting.has_kept()
    }

    /// Takes back what waits, of a part that failed.
    pub(super) fn give_up(&mut self) {
        let waiting = &mut *self.waiting;
        if seeded!(WaitingOutlivesFailedPart) {
            waiting.kept = waiting.ends.len();
        }
        waiting.ends.truncate(waiting.kept);
        waiting.bytes.truncate(waiting.ends.last().map_or(0, |ends| ends.value));
        self.writer.batch.give_up(self.mark);
    }

    /// Whether what the parts before have put could not be made, which fails all of them.
    pub(super) fn has_broken_all(&self) -> bool {
        self.waiting.is_broken
    }

    fn check(&self) -> Result<()> {
        self.waiting.check()?;
        if self.is_broken {
            return Err(Error::internal("a call of the transaction panicked"));
        }
        Ok(())
    }

    /// Ends a run of puts: makes the tree what it should be.
    pub(super) fn end_run(&mut self, core: &Core) -> Result<()> {
        self.check()?;
        self.make_kept(core)?;
        if !self.waiting.ends.is_empty() {
            self.settle(core)?;
        }
        self.waiting.is_run = false;
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
            self.has_changed_tree = true;
            self.outcome = Outcome::Changed;
            let freed = self.writer.batch.freed_since(self.mark);
            core.running.1.store(freed, Ordering::Relaxed);
            core.running.0.store(freed.max(1), Ordering::Relaxed);
        }
        Ok(has_changed)
    }
}
