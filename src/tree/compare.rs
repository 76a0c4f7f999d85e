//! Trees: whether two hold the same (layer L4).
//!
//! Owns: the comparison of two states of a tree, at a key or within bounds; what both have as the
//! same page is not read. Must not know: who asks, files. Keeps: first-committer-wins.

use super::large::run_equals;
use super::{Cursor, Dirty, Held, Large, PageRead, Root, Tree};
use crate::error::{Error, Result};
use crate::node::{Node, Run, Value};
use crate::page::TxnId;

/// Longer values in runs of pages are compared by where they lie: reading both would take the
/// memory of both.
const COMPARED_BYTES_MAX: u32 = 256 << 10;

/// Where a value lies.
#[derive(Clone, Copy)]
pub(super) enum Lies<'a> {
    Here(&'a [u8]),
    Run(Run),
}

impl<'a> Lies<'a> {
    /// Where a value of a leaf lies, which may be a dirty one.
    pub(super) fn of(value: Value<'a>, dirty: Option<&'a Dirty>) -> Result<Lies<'a>> {
        match (value, dirty) {
            (Value::Inline(bytes), _) => Ok(Lies::Here(bytes)),
            (Value::Overflow(run), _) => Ok(Lies::Run(run)),
            (Value::Unplaced { handle, .. }, Some(dirty)) => Ok(match dirty.value(handle) {
                Large::Here(bytes) => Lies::Here(bytes),
                Large::Early(early) => Lies::Run(early.run),
                Large::Moving(run) => Lies::Run(*run),
            }),
            (Value::Unplaced { .. }, None) => {
                Err(Error::internal("a sealed page holds a value without pages"))
            }
        }
    }

    fn equals(self, pages: &dyn PageRead, other: Lies<'_>) -> Result<bool> {
        match (self, other) {
            (Lies::Here(one), Lies::Here(other)) => Ok(one == other),
            (Lies::Run(run), Lies::Here(bytes)) | (Lies::Here(bytes), Lies::Run(run)) => {
                Ok(run.len <= COMPARED_BYTES_MAX && run_equals(pages, run, bytes)?)
            }
            (Lies::Run(one), Lies::Run(other)) if one == other => Ok(true),
            (Lies::Run(one), Lies::Run(other)) => {
                if one.len != other.len || one.len > COMPARED_BYTES_MAX {
                    return Ok(false);
                }
                let mut value = Vec::new();
                pages.read_run(other, &mut value)?;
                run_equals(pages, one, &value)
            }
        }
    }
}

impl Held {
    fn lies(&self, at: usize) -> Result<Lies<'_>> {
        let dirty = match self {
            Held::Clean(_) => None,
            Held::Dirty(dirty) => Some(dirty),
        };
        Lies::of(self.node().value(at), dirty)
    }

    /// What hangs below child `at`; `base` bounds the age of what a dirty page points to.
    fn subtree(&self, at: usize, base: TxnId) -> Tree {
        let node = self.node();
        let clean = || Root::Clean(node.child(at), node.level() - 1);
        let (root, txn) = match self {
            Held::Clean(page) => (clean(), page.txn()),
            Held::Dirty(dirty) => (dirty.kids()[at].clone().map_or_else(clean, Root::Dirty), base),
        };
        Tree { root, txn, ..Tree::empty() }
    }

    /// The children of two branches that may have keys within bounds, if there are as many in both
    /// and the same separators between them: so what is compared is what the bounds leave of each.
    /// What lies outside may be divided otherwise.
    fn pairs_within(
        &self,
        other: &Held,
        (from, to): (&[u8], Option<&[u8]>),
    ) -> Option<impl Iterator<Item = (usize, usize)> + use<>> {
        let (one, other) = (self.node(), other.node());
        if one.is_leaf() || one.level() != other.level() {
            return None;
        }
        let children = |node: Node<'_>| {
            let first = if from.is_empty() { 0 } else { node.child_for(from) };
            first..to.map_or(node.count(), |to| node.child_for(to))
        };
        let (here, there) = (children(one), children(other));
        let is_like = here.len() == there.len()
            && here.clone().zip(there.clone()).all(|(at, beside)| one.key(at) == other.key(beside));
        is_like.then(|| (here.start..=here.end).zip(there.start..=there.end))
    }
}

impl Tree {
    /// Whether both begin at the same page, and so hold the same. Of states of which the older one
    /// is pinned: then no page of it has been written anew.
    pub(crate) fn is_same(&self, other: &Tree) -> bool {
        match (&self.root, &other.root) {
            (Root::Empty, Root::Empty) => true,
            (Root::Clean(one, _), Root::Clean(other, _)) => one == other,
            _ => false,
        }
    }

    /// Whether a key has the same value in both, or is in none. A value of more than 256 KiB that
    /// was moved counts as another.
    ///
    /// # Errors
    /// What reading pages says.
    pub(crate) fn agrees_at(&self, pages: &dyn PageRead, other: &Tree, key: &[u8]) -> Result<bool> {
        match (self.find(pages, key)?, other.find(pages, key)?) {
            (None, None) => Ok(true),
            (Some((leaf, at)), Some((other, there))) => {
                leaf.lies(at)?.equals(pages, other.lies(there)?)
            }
            _ => Ok(false),
        }
    }

    /// Whether both have the same entries from a key on, and below another; what both have as the
    /// same page is passed over. The same of large values as [`Tree::agrees_at`].
    ///
    /// # Errors
    /// What reading pages says.
    pub(crate) fn agrees_within(
        &self,
        pages: &dyn PageRead,
        other: &Tree,
        (from, to): (&[u8], Option<&[u8]>),
    ) -> Result<bool> {
        if self.is_same(other) || to.is_some_and(|to| to <= from) {
            return Ok(true);
        }
        let held = (self.held_root(pages)?, other.held_root(pages)?);
        let (Some(one), Some(two)) = held else {
            return self.has_entries_of(pages, other, (from, to));
        };
        let Some(pairs) = one.pairs_within(&two, (from, to)) else {
            return self.has_entries_of(pages, other, (from, to));
        };
        for (at, there) in pairs {
            // One level less each time: a child is read at the level that its parent says.
            let (one, two) = (one.subtree(at, self.txn), two.subtree(there, other.txn));
            if !one.agrees_within(pages, &two, (from, to))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same, entry by entry.
    fn has_entries_of(
        &self,
        pages: &dyn PageRead,
        other: &Tree,
        (from, to): (&[u8], Option<&[u8]>),
    ) -> Result<bool> {
        let cursor =
            |tree: &Tree| Cursor::bounded(tree.clone(), from.to_vec(), to.map(<[u8]>::to_vec));
        let (mut one, mut two) = (cursor(self), cursor(other));
        loop {
            match (one.next_lying(pages)?, two.next_lying(pages)?) {
                (None, None) => return Ok(true),
                (Some((key, value)), Some((other_key, other)))
                    if key == other_key && value.equals(pages, other)? => {}
                _ => return Ok(false),
            }
        }
    }
}
