//! Trees: lookup in pages that are at hand (layer L4).
//!
//! Owns: the way down through pages that are neither held nor copied, for one key or several.
//! Must not know: how pages come to be at hand, or what to do where one is not.
//! Keeps: sorted-keys (a key is looked for where the way down leads).

pub(crate) use super::hand::{At, PageLook};

use super::Expected;
use super::sparse::SparseIndex;
use crate::arena::Peeked;
use crate::node::{Begun, Node, Sought, Tie, Touch, Value};
use crate::page::{ChildRef, PageId, TxnId};

/// Descents that go on side by side.
pub(crate) const GROUP: usize = 16;

/// Where no page is: whoever does not get on is here from then on. No page of a tree has this id,
/// and no frame, an empty one included, the tag of it with this checksum.
const NOWHERE: ChildRef = ChildRef { id: PageId::NONE, checksum: u32::MAX };

/// When hints are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recall {
    /// When the way begins.
    AtOnce,
    /// Before the last branch is searched: a load that waits keeps the processor from ending what
    /// comes after it.
    Late,
}

impl Recall {
    /// The level of the branch before whose search that is, on the way from a root.
    #[inline(always)]
    fn level(self, root: At) -> u8 {
        match self {
            Recall::AtOnce => root.expected.level,
            Recall::Late => 1,
        }
    }
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

impl<'l, 'a> Seen<'l, 'a> {
    /// What a leaf says of the key that may be there.
    #[inline(always)]
    fn of(page: Peeked<'l, 'a>, tie: Tie, sought: Sought<'_>) -> Seen<'l, 'a> {
        let found = Node::new(page.bytes).find_tied(tie, sought);
        found.map_or(Seen::Absent, |value| Seen::There(page, value))
    }
}

/// Looks a key up in pages at hand, from a root on.
#[inline(always)]
pub(crate) fn look<'l, 'a>(
    root: At,
    pages: &'l impl PageLook<'a>,
    key: &[u8],
    touch: Touch,
    recall: Recall,
    index: Option<&SparseIndex>,
) -> Seen<'l, 'a> {
    let (sought, cue, mut recalled) = (Sought::new(key), pages.ask(key), Default::default());
    let recalled_at = recall.level(root);
    // The root is at hand, since every lookup begins there.
    let (mut at, mut home) = (root, pages.home(root.child.id));
    if let Some(index) = index
        && let Some(leaf) = index.find(sought)
    {
        (at, home) = (leaf, leaf.prefetch(pages));
    }
    while at.expected.level > 0 {
        if at.expected.level == recalled_at {
            recalled = pages.recall(cue);
        }
        let Some(next) = at.step_down(pages, home, sought) else { return Seen::Missing(at) };
        (at, home) = (next, next.prefetch(pages));
    }
    match at.tie(pages, home, sought, touch) {
        None => Seen::Missing(at),
        Some((_, None)) => Seen::Absent,
        Some((leaf, Some(tie))) => {
            pages.note(recalled, &leaf, tie.cell());
            Seen::of(leaf, tie, sought)
        }
    }
}

/// The leaf to which a key belongs, from a root on, the search for it there, and the leaf behind,
/// if they have the same parent. `None` where a page is not at hand.
///
/// Who walks on from there waits for a leaf, then for its cells. The leaf behind and its cells are
/// asked for meanwhile, where the walk is likely to come there.
#[inline(always)]
pub(crate) fn look_for_leaf<'l, 'a>(
    root: At,
    pages: &'l impl PageLook<'a>,
    key: &[u8],
) -> Option<(Peeked<'l, 'a>, Begun, Option<At>)> {
    let (mut at, mut home, mut next) = (root, pages.home(root.child.id), None::<At>);
    loop {
        let (page, found) = at.peek(pages, home)?;
        let node = Node::new(page.bytes);
        if node.is_leaf() {
            let begun = node.begin_search(key);
            if let Some(next) = next {
                next.prefetch_behind(pages, node.count() - begun.slot);
            }
            return Some((page, begun, next));
        }
        let child = node.child_for(key);
        at = At::below(node.child(child), found);
        home = at.prefetch(pages);
        let behind = (child + 1 < node.children()).then(|| node.child(child + 1));
        next = behind.map(|child| At::below(child, found));
        if let Some(next) = next.filter(|next| next.expected.level == 0 && pages.has_long_entries())
        {
            next.prefetch(pages);
        }
    }
}

/// Looks several keys up, at most [`GROUP`], side by side: while one waits for memory, the
/// others go on. Calls `each` for one after the other.
#[inline(always)]
pub(crate) fn look_all<'l, 'a: 'l>(
    root: At,
    pages: &'l impl PageLook<'a>,
    keys: &[&[u8]],
    index: Option<&SparseIndex>,
    mut each: impl FnMut(Seen<'l, 'a>),
) {
    let keys = &keys[..keys.len().min(GROUP)];
    // All ways are equally long, so that their places need not know their level.
    let mut places = [(root.child, root.expected.txn_max); GROUP];
    let at = |(child, txn_max), level| At { child, expected: Expected { level, txn_max } };
    let mut levels = root.expected.level;
    if let Some(index) = index {
        levels = index.level();
        for (key, place) in keys.iter().zip(&mut places) {
            // Where heads do not tell, the key is looked up on its own.
            let found = index.find(Sought::new(key));
            *place = found.map_or((NOWHERE, TxnId(0)), |at| {
                at.prefetch(pages);
                (at.child, at.expected.txn_max)
            });
        }
    }
    for level in (1..=levels).rev() {
        for (key, place) in keys.iter().zip(&mut places) {
            let (at, sought) = (at(*place, level), Sought::new(key));
            let Some(next) = at.step_down(pages, pages.home(at.child.id), sought) else {
                place.0 = NOWHERE;
                continue;
            };
            next.prefetch(pages);
            *place = (next.child, next.expected.txn_max);
        }
    }
    let mut ties = [None; GROUP];
    for ((key, place), tie) in keys.iter().zip(&places).zip(&mut ties) {
        let at = at(*place, 0);
        *tie = at.tie(pages, pages.home(at.child.id), Sought::new(key), Touch::Beginning);
    }
    for (key, tie) in keys.iter().zip(&ties) {
        each(match tie {
            None => Seen::Missing(root),
            Some((_, None)) => Seen::Absent,
            Some((page, Some(tie))) => Seen::of(*page, *tie, Sought::new(key)),
        });
    }
}
