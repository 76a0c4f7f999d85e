//! Trees: pages at hand (layer L4).
//!
//! Owns: [`PageLook`], what is asked of pages that are neither held nor copied, and [`At`], a page
//! on the way down. Must not know: how pages come to be at hand, which way leads down.
//! Keeps: uniform-depth and child-not-newer (a page that fails a check counts as not at hand, so
//! that whoever reads it says what is wrong).

use super::Expected;
use crate::arena::Peeked;
use crate::format::{HEADER_LEN, HEADER_LEVEL, HEADER_TXN};
use crate::node::{Node, Sought, Tie, Touch};
use crate::page::{ChildRef, PageId, TxnId, get_u64};
use crate::seeded::seeded;

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

/// A sealed page on the way down, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) child: ChildRef,
    pub(crate) expected: Expected,
}

impl At {
    /// Asks for what a search touches of the page. Returns where it is, if it is where most are.
    #[inline(always)]
    pub(super) fn prefetch<'a, P: PageLook<'a>>(self, pages: &P) -> P::Home {
        let home = pages.home(self.child.id);
        pages.prefetch(home, self.expected.level);
        home
    }

    /// Asks for what a walk touches first of a leaf, which comes from the one in front of it, where
    /// so many entries are left.
    #[inline(always)]
    pub(super) fn prefetch_behind<'a>(self, pages: &impl PageLook<'a>, left: usize) {
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
    pub(super) fn peek<'l, 'a, P: PageLook<'a>>(
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
    pub(super) fn step_down<'a, P: PageLook<'a>>(
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
    pub(super) fn tie<'l, 'a, P: PageLook<'a>>(
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
    pub(super) fn below(child: ChildRef, parent: Expected) -> At {
        At { child, expected: Expected { level: parent.level - 1, ..parent } }
    }
}
