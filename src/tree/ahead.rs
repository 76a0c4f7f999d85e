//! Trees: what insertions will touch (layer L4).
//!
//! Owns: the way down for several keys side by side, in front of their insertion: while one waits
//! for memory, the others go on. Must not know: files. Changes nothing, and reads no page that is
//! not at hand.

use super::insert::Place;
use super::{Dirty, LINES, PageRead, Root, Tree};
use crate::arena::{prefetch_bytes, prefetch_value};

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
    /// Asks for what the insertion of these keys will touch, of the first [`TOGETHER`].
    pub(crate) fn ask_ahead<'k>(
        &self,
        pages: &dyn PageRead,
        keys: &(impl Iterator<Item = &'k [u8]> + Clone),
    ) {
        let Root::Dirty(root) = &self.root else { return };
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
                    prefetch_bytes(&node.bytes, LINES);
                }
            }
        }
    }
}
