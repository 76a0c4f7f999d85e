//! Trees: lookup in pages that are at hand (layer L4).
//!
//! Owns: the way down through pages that are neither held nor copied, for one key or several.
//! Must not know: how pages come to be at hand, or what to do where one is not.
//! Keeps: uniform-depth and child-not-newer (a page that fails a check counts as not at hand, so
//! that whoever reads it says what is wrong).

use super::Expected;
use crate::arena::Peeked;
use crate::format::{HEADER_LEN, HEADER_LEVEL, HEADER_TXN};
use crate::node::{Begun, Node, Sought, Tie, Touch, Value};
use crate::page::{ChildRef, PageId, TxnId, get_u64};
use crate::seeded::seeded;

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

/// With fewer entries left in a leaf, a search is about the next one too.
const NEAR: usize = 16;

/// Pages at hand.
pub(crate) trait PageLook<'a> {
    /// Where it is kept what is known of a key that was looked up before.
    type Cue: Copy;
    /// What is known of it.
    type Recalled: Default;

    /// Asks for what is known of a key.
    fn ask(&self, key: &[u8]) -> Self::Cue;

    /// Asks for the place where the key was found before.
    fn recall(&self, cue: Self::Cue) -> Self::Recalled;

    /// Takes note that the key is at this byte of a leaf.
    fn note(&self, recalled: Self::Recalled, leaf: &Peeked<'_, 'a>, at: usize);

    /// Where a page is as a rule.
    type Home: Copy;

    /// Where a page is, if it is where most are.
    fn home(&self, id: PageId) -> Self::Home;

    /// Asks for what a search touches of a page that will be wanted, at this level.
    fn prefetch(&self, home: Self::Home, level: u8);

    /// Whether entries are so long that leaves have few of them.
    fn has_long_entries(&self) -> bool;

    /// The page to which its parent refers, if it is at hand.
    fn peek(&self, home: Self::Home, child: ChildRef) -> Option<Peeked<'_, 'a>>;
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

/// A sealed page on the way down, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) child: ChildRef,
    pub(crate) expected: Expected,
}

impl At {
    /// Asks for what a search touches of the page. Returns where it is, if it is where most are.
    #[inline(always)]
    fn prefetch<'a, P: PageLook<'a>>(self, pages: &P) -> P::Home {
        let home = pages.home(self.child.id);
        pages.prefetch(home, self.expected.level);
        home
    }

    /// Asks for what a walk touches first of a leaf, which comes from the one in front of it, where
    /// so many entries are left.
    #[inline(always)]
    fn prefetch_behind<'a>(self, pages: &impl PageLook<'a>, left: usize) {
        if left >= NEAR {
            return;
        }
        if !pages.has_long_entries() {
            self.prefetch(pages);
        } else if let Some((page, _)) = self.peek(pages, pages.home(self.child.id)) {
            Node::new(page.bytes).prefetch_behind(left);
        }
    }

    /// The page, if it is at hand and what its parent says.
    #[inline(always)]
    fn peek<'l, 'a, P: PageLook<'a>>(
        self,
        pages: &'l P,
        home: P::Home,
    ) -> Option<(Peeked<'l, 'a>, Expected)> {
        let page = pages.peek(home, self.child)?;
        let header: &[u8; HEADER_LEN] = page.bytes.first_chunk()?;
        let (level, txn) = (header[HEADER_LEVEL], TxnId(get_u64(header, HEADER_TXN)));
        let is_meant = level == self.expected.level && txn <= self.expected.txn_max;
        if !is_meant && !seeded!(LevelNotCompared | CyclicChildAccepted | ChildTxnNotCompared) {
            return None;
        }
        Some((page, Expected { level, txn_max: txn }))
    }

    /// The next page on the way to a key, if this one is a branch at hand.
    #[inline(always)]
    fn step_down<'a, P: PageLook<'a>>(
        self,
        pages: &P,
        home: P::Home,
        sought: Sought<'_>,
    ) -> Option<At> {
        let (page, found) = self.peek(pages, home)?;
        let child = Node::new(page.bytes).step_down(sought)?;
        Some(At::below(child, found))
    }

    /// The leaf, if it is at hand, and where it has a key, if it does.
    #[inline(always)]
    fn tie<'l, 'a, P: PageLook<'a>>(
        self,
        pages: &'l P,
        home: P::Home,
        sought: Sought<'_>,
        touch: Touch,
    ) -> Option<(Peeked<'l, 'a>, Option<Tie>)> {
        let (page, _) = self.peek(pages, home)?;
        let node = Node::new(page.bytes);
        node.is_leaf().then(|| (page, node.tie(sought, touch)))
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
    recall: Recall,
) -> Seen<'l, 'a> {
    let (sought, cue, mut recalled) = (Sought::new(key), pages.ask(key), Default::default());
    let recalled_at = recall.level(root);
    // The root is at hand, since every lookup begins there.
    let (mut at, mut home) = (root, pages.home(root.child.id));
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
    mut each: impl FnMut(Seen<'l, 'a>),
) {
    let keys = &keys[..keys.len().min(GROUP)];
    // All ways are equally long, so that their places need not know their level.
    let mut places = [(root.child, root.expected.txn_max); GROUP];
    let at = |(child, txn_max), level| At { child, expected: Expected { level, txn_max } };
    for level in (1..=root.expected.level).rev() {
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
