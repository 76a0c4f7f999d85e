//! Tree pages: two leaves that share their entries in place (layer L3).
//!
//! Owns: which entries move, and moving them: those alone, where the other leaf has room for them
//! as it lies; else both leaves are written anew. Must not know: trees.

use super::build::{Form, Halving, PageCopy, shortest_separator};
use super::parts::{Parts, Shape};
use super::{Node, NodeMut};
use crate::seeded::seeded;
use std::ops::Range;

/// Shares the entries of two leaves evenly, in place, if that fits and `accept` takes the new
/// separator. Returns whether it did; otherwise nothing changed.
pub(crate) fn share<E>(
    left: &mut [u8],
    right: &mut [u8],
    accept: impl FnOnce(&[u8]) -> Result<bool, E>,
) -> Result<bool, E> {
    if let Some(handover) = Handover::between(Node::new(left), Node::new(right)) {
        let is_accepted = accept(&handover.separator)?;
        if is_accepted {
            handover.carry_out(left, right);
        }
        return Ok(is_accepted);
    }
    share_anew(left, right, accept)
}

/// The same, with both leaves written anew.
#[cold]
fn share_anew<E>(
    left: &mut [u8],
    right: &mut [u8],
    accept: impl FnOnce(&[u8]) -> Result<bool, E>,
) -> Result<bool, E> {
    let (old_left, old_right) = (PageCopy::of(left), PageCopy::of(right));
    let node = Node::new(old_left.bytes());
    let parts = Parts::joined(node, None, Node::new(old_right.bytes()));
    let halving = Halving { parts: &parts, shape: Shape::of(node), page_size: left.len() };
    let Some(cut) = halving.cut(&[]) else { return Ok(false) };
    if !accept(&halving.separator(&cut).0)? {
        return Ok(false);
    }
    for (form, page) in cut.forms.iter().zip([left, right]) {
        page.fill(0);
        form.write(page);
    }
    Ok(true)
}

/// Entries that one of two leaves hands over to the other, which has room for them as it lies.
struct Handover {
    from: Giver,
    /// Of the one that gives.
    slots: Range<usize>,
    separator: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Giver {
    Left,
    Right,
}

impl Giver {
    /// Two leaves, the one that gives first.
    fn first<T>(self, [left, right]: [T; 2]) -> [T; 2] {
        match self {
            Giver::Left => [left, right],
            Giver::Right => [right, left],
        }
    }
}

impl Handover {
    /// What makes both leaves equally full, if all of it fits into the other as it lies.
    fn between(left: Node<'_>, right: Node<'_>) -> Option<Handover> {
        let from = if left.used() > right.used() { Giver::Left } else { Giver::Right };
        let [giver, taker] = from.first([left, right]);
        if !giver.prefix().starts_with(taker.prefix()) {
            return None;
        }
        let parts = Parts::of(giver);
        let nth = |count: usize| match from {
            Giver::Left => parts.len - 1 - count,
            Giver::Right => count,
        };
        let prefix_lens = [giver, taker].map(|node| node.prefix().len());
        let mut used = [giver, taker].map(Node::used);
        let (mut count, mut needed) = (0, 0);
        while count + 1 < parts.len {
            let [given, taken] = prefix_lens.map(|len| parts.slot_len(nth(count), len));
            let moved = [used[0] - given, used[1] + taken];
            if moved[0].abs_diff(moved[1]) >= used[0].abs_diff(used[1]) {
                break;
            }
            (used, needed, count) = (moved, needed + taken, count + 1);
        }
        if count == 0 || taker.gap() < needed {
            return None;
        }
        let (slots, edge) = match from {
            Giver::Left => (parts.len - count..parts.len, parts.len - count),
            Giver::Right => (0..count, count),
        };
        let separator = shortest_separator(&parts.get(edge - 1).key, &parts.get(edge).key);
        Some(Handover { from, slots, separator })
    }

    fn carry_out(self, left: &mut [u8], right: &mut [u8]) {
        let [giver, taker] = self.from.first([left, right]);
        let old = PageCopy::of(giver);
        let node = Node::new(old.bytes());
        let parts = Parts::of(node);
        let stays = usize::from(seeded!(HandedOverEntryStays));
        let (at, kept) = match self.from {
            Giver::Left => (0, 0..self.slots.start + stays),
            Giver::Right => (Node::new(taker).count(), self.slots.end - stays..parts.len),
        };
        NodeMut::new(taker).take_in(at, &parts, self.slots);
        let form = Form::fitting(&parts, kept, Shape::of(node), giver.len());
        giver.fill(0);
        form.expect("some of a page's slots fit into a page").write(giver);
    }
}
