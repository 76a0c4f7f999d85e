//! Trees: insertions that come together (layer L4).
//!
//! Owns: the way down for several keys side by side, in front of their insertion: while one waits
//! for memory, the others go on. That changes nothing, and reads no page that is not at hand. And
//! a way without a descent for keys that ascend behind all others. Must not know: files.
//! Keeps: sorted-keys, entry-count.

use super::insert::{Change, fits_inline};
use super::way::{Condition, Place};
use super::{Dirty, Edit, LINES, NewValue, PageRead, Root, Tree};
use crate::arena::{prefetch_bytes, prefetch_value};
use crate::error::Result;
use crate::node::{Encoded, NodeMut, Value};
use crate::seeded::seeded;
use std::iter::Peekable;

/// Insertions that are worth a way down of their own, side by side.
pub(crate) const TOGETHER: usize = 32;

/// A key on its way down.
#[derive(Clone, Copy)]
struct Descent<'t> {
    /// The page that it has come to, unless that is sealed.
    node: Option<&'t Dirty>,
    place: Place,
}

impl<'t> Descent<'t> {
    fn from(root: &'t Dirty) -> Descent<'t> {
        Descent { node: Some(root), place: Place::ROOT }
    }

    /// Where a key's way goes on: the place in its branch, and the child there.
    #[inline]
    fn next(&mut self, key: &[u8]) -> Option<(usize, &'t Option<Dirty>)> {
        let branch = self.node?;
        let at = self.place.enter(branch.node(), key);
        Some((at, &branch.kids()[at]))
    }

    /// The leaf to which a key belongs, if all pages on the way are dirty.
    fn leaf(mut self, levels: u8, key: &[u8]) -> Option<&'t Dirty> {
        for _ in 0..levels {
            let (_, kid) = self.next(key)?;
            self.node = kid.as_ref();
        }
        self.node
    }
}

impl Tree {
    /// Puts entries in their order, [`TOGETHER`] of them or fewer.
    ///
    /// # Errors
    /// Those of [`Tree::put`].
    pub(crate) fn put_all<'e>(
        &mut self,
        edit: &mut Edit<'_>,
        entries: impl Iterator<Item = (&'e [u8], &'e [u8])> + Clone,
    ) -> Result<()> {
        self.ask_ahead(edit.pages, &entries.clone().map(|(key, _)| key));
        let mut entries = entries.peekable();
        while let Some((key, value)) = entries.next() {
            let put = self.put_one(edit, (key, NewValue::Bytes(value)), Condition::Always)?;
            if put.is_some_and(|inserted| inserted.is_last) {
                self.append_run(edit, &mut entries)?;
            }
        }
        Ok(())
    }

    /// Puts the next entries, as long as each lies behind all others and fits into the last leaf.
    fn append_run<'e>(
        &mut self,
        edit: &mut Edit<'_>,
        entries: &mut Peekable<impl Iterator<Item = (&'e [u8], &'e [u8])>>,
    ) -> Result<()> {
        let page_size = edit.pages.page_size();
        let mut leaf = edit.dirty_root(self)?;
        while !leaf.node().is_leaf() {
            let last = leaf.node().count();
            leaf = edit.dirty_child(leaf, last)?;
        }
        let mut page = NodeMut::new(&mut leaf.bytes);
        let (mut added, mut entered) = (0, 0);
        while let Some(&(key, value)) = entries.peek() {
            let (node, at) = (page.node(), page.node().count());
            if !node.ends_before(key) || !fits_inline(page_size, key, value.len()) {
                break;
            }
            if !page.insert_leaf(at, key, Encoded::new(Value::Inline(value)).payload()) {
                break;
            }
            added += 1;
            entered += (key.len() + value.len()) as u64;
            entries.next();
        }
        *edit.entered += if seeded!(AppendedRunNotCounted) { 0 } else { entered };
        self.entries = Change { added, removed: 0 }.of(self.entries)?;
        Ok(())
    }

    /// Asks for what the insertion of these keys will touch, of the first [`TOGETHER`].
    fn ask_ahead<'k>(&self, pages: &dyn PageRead, keys: &(impl Iterator<Item = &'k [u8]> + Clone)) {
        let Root::Dirty(root) = &self.root else { return };
        if keys.clone().nth(1).is_none() {
            return;
        }
        let (start, levels) = (Descent::from(root), root.node().level());
        let leaf = |key| start.leaf(levels, key).map(std::ptr::from_ref);
        // Keys that ascend belong to one leaf for a while, which is at hand.
        if keys.clone().next().and_then(leaf) == keys.clone().last().and_then(leaf) {
            return;
        }
        let mut descents = [start; TOGETHER];
        for _ in 0..levels {
            // Two steps for each level: where a child lies must be known before it is asked for.
            let mut kids: [Option<&Option<Dirty>>; TOGETHER] = [None; TOGETHER];
            for ((key, descent), kid) in keys.clone().zip(&mut descents).zip(&mut kids) {
                let Some((at, found)) = descent.next(key) else { continue };
                prefetch_value(found);
                *kid = Some(found);
                if let (None, Some(branch)) = (found, descent.node) {
                    pages.prefetch_search(branch.node().child(at));
                }
            }
            for (descent, kid) in descents.iter_mut().zip(kids) {
                descent.node = kid.and_then(Option::as_ref);
                if let Some(node) = descent.node {
                    prefetch_bytes(node.bytes.source(), LINES);
                }
            }
        }
    }
}
