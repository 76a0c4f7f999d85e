//! Trees: lookup in pages that are at hand (layer L4).
//!
//! Owns: the way down through pages that are neither held nor copied, for one key or several.
//! Must not know: how pages come to be at hand, or what to do where one is not.
//! Keeps: uniform-depth and child-not-newer (a page that fails a check counts as not at hand, so
//! that whoever reads it says what is wrong).

use super::Expected;
use crate::arena::Peeked;
use crate::format::HEADER_TXN;
use crate::node::{Descent, Node, Touch, Value};
use crate::page::{ChildRef, PageId, TxnId, get_u64};
use crate::seeded::seeded;

/// Descents that go on side by side.
pub(crate) const GROUP: usize = 16;

/// Pages at hand.
pub(crate) trait PageLook<'a> {
    /// Asks for what a search touches of a page that will be wanted, at this level.
    fn prefetch(&self, id: PageId, level: u8);

    /// The page to which its parent refers, if it is at hand.
    fn peek(&self, child: ChildRef) -> Option<Peeked<'_, 'a>>;
}

/// Where a lookup in pages at hand ended.
pub(crate) enum Seen<'l, 'a> {
    /// At the leaf that holds the key, with this value.
    There(Peeked<'l, 'a>, Value<'l>),
    /// The tree does not hold the key.
    Absent,
    /// At a page that is not at hand.
    Missing(At),
}

/// A sealed page on the way down, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) child: ChildRef,
    pub(crate) expected: Expected,
}

/// What one step down led to.
enum Step<'l, 'a> {
    Down(At),
    End(Seen<'l, 'a>),
}

impl At {
    #[inline]
    fn prefetch<'a>(self, pages: &impl PageLook<'a>) {
        pages.prefetch(self.child.id, self.expected.level);
    }

    /// The page, if it is at hand and what its parent says.
    #[inline(always)]
    fn peek<'l, 'a>(self, pages: &'l impl PageLook<'a>) -> Option<(Peeked<'l, 'a>, Expected)> {
        let page = pages.peek(self.child)?;
        let (level, txn) = (Node::new(page.bytes).level(), TxnId(get_u64(page.bytes, HEADER_TXN)));
        let is_meant = level == self.expected.level && txn <= self.expected.txn_max;
        if !is_meant && !seeded!(LevelNotCompared | CyclicChildAccepted | ChildTxnNotCompared) {
            return None;
        }
        Some((page, Expected { level, txn_max: txn }))
    }

    #[inline(always)]
    fn step<'l, 'a>(self, pages: &'l impl PageLook<'a>, key: &[u8], touch: Touch) -> Step<'l, 'a> {
        let Some((page, found)) = self.peek(pages) else {
            return Step::End(Seen::Missing(self));
        };
        match Node::new(page.bytes).descend(key, touch) {
            Descent::Value(value) => Step::End(Seen::There(page, value)),
            Descent::Absent => Step::End(Seen::Absent),
            Descent::Child(child) => Step::Down(At::below(child, found)),
        }
    }

    /// A child of a page that was found so.
    fn below(child: ChildRef, parent: Expected) -> At {
        At { child, expected: Expected { level: parent.level - 1, ..parent } }
    }
}

/// Looks a key up in pages at hand, from a root on.
#[inline(always)]
pub(crate) fn look<'l, 'a>(
    root: At,
    pages: &'l impl PageLook<'a>,
    key: &[u8],
    touch: Touch,
) -> Seen<'l, 'a> {
    // The root is at hand, since every lookup begins there.
    let mut at = root;
    loop {
        match at.step(pages, key, touch) {
            Step::Down(next) => {
                next.prefetch(pages);
                at = next;
            }
            Step::End(seen) => return seen,
        }
    }
}

/// The leaf to which a key belongs, from a root on, and the one behind it, if they have the same
/// parent. `None` where a page is not at hand.
pub(crate) fn look_for_leaf<'l, 'a>(
    root: At,
    pages: &'l impl PageLook<'a>,
    key: &[u8],
) -> Option<(Peeked<'l, 'a>, Option<At>)> {
    let (mut at, mut next) = (root, None);
    loop {
        at.prefetch(pages);
        let (page, found) = at.peek(pages)?;
        let node = Node::new(page.bytes);
        if node.is_leaf() {
            return Some((page, next));
        }
        let child = node.child_for(key);
        at = At::below(node.child(child), found);
        let behind = (child + 1 < node.children()).then(|| node.child(child + 1));
        next = behind.map(|child| At::below(child, found));
    }
}

/// Looks several keys up, at most [`GROUP`], side by side: while one waits for memory, the
/// others go on. Calls `each` with the number of each key.
pub(crate) fn look_all<'l, 'a: 'l>(
    root: At,
    pages: &'l impl PageLook<'a>,
    keys: &[&[u8]],
    mut each: impl FnMut(usize, Seen<'l, 'a>),
) {
    let mut places = [root; GROUP];
    let keys = &keys[..keys.len().min(GROUP)];
    // A bit for each key whose way goes on: a place that is there or not takes longer to copy.
    let mut running = (1_u32 << keys.len()) - 1;
    while running != 0 {
        let mut left = running;
        while left != 0 {
            let number = left.trailing_zeros() as usize;
            left &= left - 1;
            let (place, key) = (&mut places[number], keys[number]);
            match place.step(pages, key, Touch::Beginning) {
                Step::Down(next) => {
                    next.prefetch(pages);
                    *place = next;
                }
                Step::End(seen) => {
                    running &= !(1 << number);
                    each(number, seen);
                }
            }
        }
    }
}
