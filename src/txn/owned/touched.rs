//! A bucket in an owned transaction (part of txn, layer L6).
//!
//! Owns: [`Touched`]: what the bucket was, what the transaction made of it, and what of it the
//! transaction has seen. Must not know: what else the transaction touched, limits of keys.
//! Keeps: commit-atomic (the changes lie in a tree of their own, which no other transaction sees),
//! first-committer-wins (all that was seen is written down before it is told).
//!
//! The changes are made to a private copy of the tree, so that reads, ranges and counts see them
//! without more. They reach the store a second time, key by key, when the transaction commits: the
//! newest tree may have changes of others, at other keys.

use super::walk::Walk;
use crate::commit::{Core, View};
use crate::error::{Error, Result};
use crate::node::Run;
use crate::page::{ChildRef, Page, TxnId};
use crate::pager::Pager;
use crate::seeded::seeded;
use crate::sync::{Arc, Mutex};
use crate::tree::{Condition, Edit, Expected, Large, NewValue, PageRead, Stored, Tree};
use crate::txn::MultiTxn;
use crate::txn::range::Bounds;
use std::collections::BTreeMap;

/// What was done with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Written,
}

/// A bucket that an owned transaction has looked at.
#[expect(clippy::struct_excessive_bools, reason = "each of them is told or not by itself")]
pub(super) struct Touched {
    /// What it was when the transaction began; `None` where it was not there.
    then: Option<Tree>,
    /// What the transaction sees.
    now: Option<Tree>,
    base: TxnId,
    next_handle: u64,
    /// It was dropped, whether it was there then or was made since.
    is_dropped: bool,
    /// Somebody was told whether it is there.
    is_asked_for: bool,
    /// Somebody was told how many entries it has.
    is_counted: bool,
    keys: BTreeMap<Vec<u8>, Use>,
    /// Ranges of which all entries were removed. What was put into them since is among the keys.
    removed: Vec<Bounds>,
    walks: Vec<Arc<Mutex<Walk>>>,
    /// How often it was changed.
    changes: u64,
    /// A change is under way, or has panicked: nobody knows then what the transaction sees.
    is_broken: bool,
}

/// Entries that are put behind the last one, beside the bucket that will have them.
pub(super) struct Load {
    pub(super) tree: Tree,
    pub(super) base: TxnId,
    pub(super) next_handle: u64,
    pub(super) keys: Vec<Vec<u8>>,
    /// How often the bucket had been changed.
    changes: u64,
}

/// Reads pages for changes that may wait long: none of the cache's frames is held for them.
pub(super) struct Unheld<'a>(pub(super) &'a Pager);

impl PageRead for Unheld<'_> {
    fn page_size(&self) -> usize {
        self.0.page_size()
    }

    fn read_node(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        self.0.read_node(child, expected)
    }

    fn read_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        self.0.read_run(run, out)
    }

    fn held_max(&self) -> usize {
        0
    }
}

impl Touched {
    /// A bucket as a transaction finds it.
    pub(super) fn new(view: &View, then: Option<Tree>) -> Touched {
        Touched {
            now: then.clone(),
            then,
            base: view.base.txn,
            next_handle: view.next_handle,
            is_dropped: false,
            is_asked_for: false,
            is_counted: false,
            keys: BTreeMap::new(),
            removed: Vec::new(),
            walks: Vec::new(),
            changes: 0,
            is_broken: false,
        }
    }

    /// Whether it is there, without anybody being told.
    pub(super) fn is_there(&self) -> bool {
        self.now.is_some()
    }

    /// Whether it is there.
    pub(super) fn ask(&mut self) -> bool {
        self.is_asked_for = true;
        self.is_there()
    }

    /// How many entries it has.
    pub(super) fn count(&mut self) -> u64 {
        self.is_counted = true;
        self.now.as_ref().map_or(0, |tree| tree.entries)
    }

    /// The tree that the transaction sees.
    pub(super) fn tree(&self) -> Tree {
        self.now.clone().unwrap_or_else(|| self.no_entries())
    }

    fn no_entries(&self) -> Tree {
        Tree { txn: self.base, ..Tree::empty() }
    }

    fn note(&mut self, key: &[u8], used: Use) {
        if seeded!(ReadsNotCompared) && used == Use::Read {
            return;
        }
        match self.keys.get_mut(key) {
            Some(known) if used == Use::Written => *known = used,
            Some(_) => {}
            None => drop(self.keys.insert(key.to_vec(), used)),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `NotFound`; what reading pages says; those of [`Touched::check`].
    pub(super) fn get(&mut self, pages: &dyn PageRead, key: &[u8]) -> Result<Vec<u8>> {
        self.check()?;
        self.note(key, Use::Read);
        self.now.as_ref().map_or(Err(Error::NotFound), |tree| tree.get(pages, key))
    }

    /// The value of a key, where it lies.
    ///
    /// # Errors
    /// Those of [`Touched::get`].
    pub(super) fn stored(&mut self, pages: &dyn PageRead, key: &[u8]) -> Result<Stored> {
        self.check()?;
        self.note(key, Use::Read);
        self.now.as_ref().map_or(Err(Error::NotFound), |tree| tree.stored(pages, key))
    }

    /// Whether it holds a key.
    ///
    /// # Errors
    /// What reading pages says; those of [`Touched::check`].
    pub(super) fn contains(&mut self, pages: &dyn PageRead, key: &[u8]) -> Result<bool> {
        self.check()?;
        self.note(key, Use::Read);
        self.now.as_ref().map_or(Ok(false), |tree| tree.contains(pages, key))
    }

    /// The tree, for a walk within bounds, and where the walk says how far it came.
    pub(super) fn walk(&mut self, bounds: Bounds) -> (Tree, Arc<Mutex<Walk>>) {
        let walk = Arc::new(Mutex::new(Walk::new(bounds)));
        self.walks.push(Arc::clone(&walk));
        (self.tree(), walk)
    }

    /// Puts an entry if a condition is met, and makes the bucket if it is not there. Returns
    /// whether the condition was met.
    ///
    /// # Errors
    /// What reading pages says; the transaction is then to be given up. Those of
    /// [`Touched::check`].
    pub(super) fn put_if(
        &mut self,
        core: &Core,
        (key, value): (&[u8], NewValue<'_>),
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.change(core, key, |tree, edit| tree.put_if(edit, (key, value), condition))
    }

    /// Removes an entry if a condition is met. Returns whether it was.
    ///
    /// # Errors
    /// Those of [`Touched::put_if`].
    pub(super) fn del_if(
        &mut self,
        core: &Core,
        key: &[u8],
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.change(core, key, |tree, edit| tree.del_if(edit, key, condition))
    }

    fn change(
        &mut self,
        core: &Core,
        key: &[u8],
        change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> Result<bool>,
    ) -> Result<bool> {
        let done = self.edit(core, change);
        let is_written = done == Ok(true);
        self.note(key, if is_written { Use::Written } else { Use::Read });
        done
    }

    /// Changes the tree, or finds nothing to change. Who says what was seen calls this.
    fn edit(
        &mut self,
        core: &Core,
        change: impl FnOnce(&mut Tree, &mut Edit<'_>) -> Result<bool>,
    ) -> Result<bool> {
        self.check()?;
        let was_there = self.is_there();
        let mut tree = self.now.take().unwrap_or_else(|| self.no_entries());
        let mut edit = Edit {
            pages: &Unheld(&core.pager),
            // Nothing is freed before the changes reach the store.
            freed: &mut Vec::new(),
            next_handle: &mut self.next_handle,
            entered: &mut 0,
            base: self.base,
        };
        self.is_broken = true;
        let done = change(&mut tree, &mut edit);
        self.is_broken = false;
        self.changes += u64::from(done != Ok(false));
        if was_there || done == Ok(true) {
            self.now = Some(tree);
        }
        done
    }

    /// Removes all entries within bounds. Returns how many there were.
    ///
    /// # Errors
    /// Those of [`Touched::put_if`].
    pub(super) fn delete_range(&mut self, core: &Core, bounds: Bounds) -> Result<u64> {
        self.check()?;
        self.pass_over(bounds.clone());
        let mut removed = 0;
        let Bounds { from, to } = bounds.clone();
        let has_changed = self.edit(core, |tree, edit| {
            removed = tree.del_within(edit, from, to.as_deref())?;
            Ok(removed > 0)
        })?;
        if has_changed {
            self.removed.push(bounds);
        }
        Ok(removed)
    }

    /// Makes the bucket. Returns whether it was not there.
    pub(super) fn make(&mut self) -> bool {
        let is_new = !self.ask();
        if is_new {
            self.changes += 1;
            self.now = Some(self.no_entries());
        }
        is_new
    }

    /// What a load begins with. It is built beside the bucket.
    ///
    /// # Errors
    /// Those of [`Touched::check`].
    pub(super) fn begin_load(&self) -> Result<Load> {
        self.check()?;
        Ok(Load {
            tree: self.tree(),
            base: self.base,
            next_handle: self.next_handle,
            changes: self.changes,
            keys: Vec::new(),
        })
    }

    /// The keys within bounds, and the absence of others, count as read; what is returned can be
    /// made wider.
    pub(super) fn pass_over(&mut self, bounds: Bounds) -> Arc<Mutex<Walk>> {
        let walk = Arc::new(Mutex::new(Walk::whole(bounds)));
        self.walks.push(Arc::clone(&walk));
        walk
    }

    /// How many walks were written down.
    #[cfg(all(test, feature = "ffi", not(loom)))]
    pub(super) fn walks(&self) -> usize {
        self.walks.len()
    }

    /// Gives the bucket what was loaded.
    ///
    /// # Errors
    /// `Invalid`, with nothing changed, if it was changed since the load began; those of
    /// [`Touched::check`].
    pub(super) fn end_load(&mut self, load: Load) -> Result<()> {
        self.check()?;
        if self.changes != load.changes {
            return Err(Error::invalid("the bucket was changed while entries were loaded"));
        }
        self.changes += 1;
        self.now = Some(load.tree);
        self.next_handle = load.next_handle;
        load.keys.iter().for_each(|key| self.note(key, Use::Written));
        Ok(())
    }

    /// Drops the bucket, and with it all that it holds. Returns whether it was there.
    pub(super) fn clear(&mut self) -> bool {
        if !self.ask() {
            return false;
        }
        self.pass_over(Bounds::default());
        self.changes += 1;
        self.is_dropped = true;
        self.now = None;
        true
    }

    /// Fails after a change that panicked: the bucket is without all that the transaction had put.
    ///
    /// # Errors
    /// `Internal`.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_broken {
            return Err(Error::internal("a call of the transaction panicked"));
        }
        Ok(())
    }

    /// Whether the transaction has changed it, also where it ends as it began: that it does has to
    /// be so when the transaction commits.
    pub(super) fn has_changes(&self) -> bool {
        let is_put = || self.keys.values().any(|used| *used == Use::Written);
        let is_written = || !self.removed.is_empty() || is_put();
        self.is_dropped || (self.is_there() && (self.then.is_none() || is_written()))
    }

    /// What the transaction has seen or changed of it and somebody else has changed meanwhile;
    /// `newest` is what the bucket is now.
    ///
    /// # Errors
    /// What reading pages says.
    pub(super) fn conflict(
        &self,
        pages: &dyn PageRead,
        newest: Option<&Tree>,
    ) -> Result<Option<&'static str>> {
        if self.is_asked_for && self.then.is_some() != newest.is_some() {
            return Ok(Some("a bucket was made or dropped since"));
        }
        let none = Tree::empty();
        let (then, newest) = (self.then.as_ref().unwrap_or(&none), newest.unwrap_or(&none));
        if then.is_same(newest) {
            return Ok(None);
        }
        if self.is_counted && then.entries != newest.entries {
            return Ok(Some("the number of entries that was asked for has changed since"));
        }
        for (key, used) in &self.keys {
            if seeded!(WritesNotCompared) && *used == Use::Written {
                continue;
            }
            if !then.agrees_at(pages, newest, key)? {
                return Ok(Some("an entry that was read or written has changed since"));
            }
        }
        let walks = self.walks.iter().filter(|_| !seeded!(RangesNotCompared));
        for Bounds { from, to } in united(walks.flat_map(|walk| walk.lock().told()).collect()) {
            if !then.agrees_within(pages, newest, (&from, to.as_deref()))? {
                return Ok(Some("entries of a range that was walked have changed since"));
            }
        }
        Ok(None)
    }

    /// Makes the changes in the newest state.
    ///
    /// # Errors
    /// Those of the calls of a [`Txn`](crate::Txn).
    pub(super) fn replay(&self, core: &Core, multi: &mut MultiTxn<'_>, name: &str) -> Result<()> {
        if self.is_dropped && self.then.is_some() {
            multi.del_bucket(name)?;
        }
        let Some(now) = self.now.as_ref().filter(|_| self.has_changes()) else { return Ok(()) };
        let written = self.keys.iter().filter(|(_, used)| **used == Use::Written);
        multi.exec(name, |txn| {
            for Bounds { from, to } in united(self.removed.clone()) {
                txn.remove_within(from, to.as_deref())?;
            }
            for (key, _) in written {
                match now.stored(&core.pager, key) {
                    Ok(Stored::Inline(value) | Stored::Large(Large::Here(value))) => {
                        txn.put(key, value)?;
                    }
                    Ok(Stored::Large(Large::Early(early))) => {
                        txn.put_new(key, NewValue::Early(&early))?;
                    }
                    Ok(_) => txn.put(key, now.get(&core.pager, key)?)?,
                    // What the transaction put itself and then removed is not there either.
                    Err(Error::NotFound) => match txn.del(key) {
                        Ok(()) | Err(Error::NotFound) => {}
                        Err(error) => return Err(error),
                    },
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }
}

/// The same keys in bounds that do not overlap: many walks begin at one place.
fn united(mut told: Vec<Bounds>) -> Vec<Bounds> {
    told.retain(|bounds| bounds.to.as_ref().is_none_or(|to| *to > bounds.from));
    told.sort_unstable_by(|one, other| one.from.cmp(&other.from));
    let mut united: Vec<Bounds> = Vec::new();
    for next in told {
        let Some(last) = united.last_mut() else {
            united.push(next);
            continue;
        };
        match (&last.to, &next.to) {
            (Some(end), _) if *end < next.from => united.push(next),
            (Some(end), to) if to.as_ref().is_none_or(|to| to > end) => last.to = next.to,
            _ => {}
        }
    }
    united
}
