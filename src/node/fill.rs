//! Tree pages: filled from a neighbour (part of node, layer L3).
//!
//! Owns: [`fill_left`], which moves as many slots to the left one of two neighbours as it takes.
//! Must not know: trees; the caller replaces the pages in their parent.

use super::build::{Halves, Halving, joined};
use super::parts::Shape;
use super::{Node, NodeMut};
use crate::buffer::Buffer;
use crate::seeded::seeded;

/// What became of two neighbours of which the left one was filled.
pub(crate) enum Filled {
    /// The left page holds all.
    Whole(Buffer),
    /// Some slots moved from the right page to the left one.
    Part(Halves),
}

/// Moves slots from the right one of two neighbours to the left one, until that is full, as it is
/// from `full` bytes on, or the next slot does not fit. `None` when none moves: so nothing moves
/// when what comes out is filled again.
pub(crate) fn fill_left(
    left: &[u8],
    separator: &[u8],
    right: &[u8],
    full: usize,
) -> Option<Filled> {
    let node = Node::new(left);
    let parts = joined(node, separator, Node::new(right));
    let halving = Halving { parts: &parts, shape: Shape::of(node), page_size: left.len() };
    let form = |slots: usize| halving.form(0..slots, halving.shape);
    let takes = |slots: usize| {
        form(slots - 1).is_none_or(|form| form.len() < full) && form(slots).is_some()
    };
    let count = node.count();
    if !takes(count + 1) {
        return None;
    }
    // The left page takes `low` slots, and not `high`.
    let (mut low, mut high) = (count + 1, parts.len + 1);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if takes(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if low == parts.len {
        return form(low).map(|form| Filled::Whole(form.build(left.len())));
    }
    // A branch keeps two children, and the slot between the two moves up.
    let cut = if node.is_leaf() { low } else { low.min(parts.len - 2) };
    let cut = halving.cut_at(cut).filter(|_| cut > count)?;
    let mut halves = halving.halves(&cut);
    let right = &mut halves.split.right;
    if seeded!(FillingDropsTheNext) && node.is_leaf() && Node::new(right).count() > 1 {
        NodeMut::new(right).remove_leaf(0);
    }
    Some(Filled::Part(halves))
}
