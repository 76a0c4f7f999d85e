//! Trees: a sparse index of a sealed tree (layer L4).
//!
//! Owns: [`SparseIndex`]: in arrays, where the pages of one level of a tree are, and the heads of
//! the separators between them. Must not know: when one pays, how long the tree lives.
//! Keeps: sorted-keys (a key whose head is that of no separator belongs below the page to which the
//! way down leads; of others the index says nothing); child-not-newer (it knows the transaction of
//! each page's parent); bytes-never-panic (one index of a store at a time takes memory beside the
//! cache, as much as that has frames for at most).
//!
//! The way down searches a page for each level, and waits for the one before. In arrays it is one
//! search: the distance of a key's head from the lowest one says about where it is, some halvings
//! and a window the rest. A processor that has so little to do comes to the next key while the
//! entry of the one before is still on its way from memory. Of a large tree the leaves are too many
//! for arrays that stay in the processor's cache; there the index is one of branches.

use super::Expected;
use super::hand::{At, PageLook};
use crate::cache::{INDEX_BYTES_PER_PAGE, INDEX_PAGES_MAX};
use crate::node::{Node, Sought, common_prefix};
use crate::page::{ChildRef, TxnId};
use crate::seeded::seeded;
use crate::sync::{Arc, AtomicBool, Ordering};
use std::hint::select_unpredictable;

/// Levels that an index spares at least: to search one page is as fast.
pub(crate) const LEVELS_SPARED: u8 = 2;

/// Heads that are compared at the end of a search.
const WINDOW: usize = 8;

/// Halvings of a search at most: where keys lie so unevenly the way down is as good.
const HALVINGS_MAX: u32 = 7;

/// One separator of so many may have the head of the one in front of it.
const TIED_PART: usize = 16;

/// A page, and the transaction of its parent.
#[derive(Clone, Copy)]
struct Entry {
    child: ChildRef,
    txn_max: TxnId,
}

// For each page an entry, a head, up to four starts, and up to a head behind the last one.
const _: () = assert!(size_of::<Entry>() + 8 + 4 * 4 + 8 <= INDEX_BYTES_PER_PAGE);

/// The right to have the one index of a store.
pub(crate) struct Claim {
    is_taken: Arc<AtomicBool>,
    /// Pages for which there is room.
    pages_max: usize,
}

impl Claim {
    /// `None` where somebody has it. `frames` are those of the cache.
    pub(crate) fn of(is_taken: &Arc<AtomicBool>, frames: usize) -> Option<Claim> {
        let pages_max = frames.min(INDEX_PAGES_MAX);
        let is_free = if seeded!(IndexClaimedTwice) {
            let is_free = !is_taken.load(Ordering::Acquire);
            is_taken.store(true, Ordering::Release);
            is_free
        } else {
            // Who is refused writes nothing.
            let taken =
                is_taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            taken.is_ok()
        };
        is_free.then(|| Claim { is_taken: Arc::clone(is_taken), pages_max })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.is_taken.store(false, Ordering::Release);
    }
}

/// Why a tree gets no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Of the branches some are not at hand.
    Now,
    /// The keys are of a kind for which none pays, or the pages are those of no tree.
    Ever,
}

/// The pages of one level of a tree.
pub(crate) struct SparseIndex {
    root: ChildRef,
    /// The root's level, as the record has it that led there.
    root_level: u8,
    /// The level of the pages.
    level: u8,
    /// How far the distance of a head from the lowest one is shifted for its place in `starts`.
    shift: u32,
    halvings: u32,
    /// What all separators begin with; its first bytes as they lie, and which of a word they are.
    prefix: Box<[u8]>,
    prefix_word: u64,
    prefix_mask: u64,
    lowest: u64,
    /// How many heads have a lower place.
    starts: Box<[u32]>,
    /// The heads of the separators, ascending, and some behind them that are above all.
    heads: Box<[u64]>,
    /// One more than separators.
    entries: Box<[Entry]>,
    /// Given back when the memory is.
    _claim: Claim,
}

impl std::fmt::Debug for SparseIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pages = self.entries.len();
        f.debug_struct("SparseIndex").field("pages", &pages).finish_non_exhaustive()
    }
}

/// Heads have no highest bit, so that the difference of two has a sign.
const HEAD_MAX: u64 = u64::MAX >> 1;

/// The head of a key behind a prefix of so many bytes: its first eight bytes as a number that
/// compares alike, with zeros where there are none, and without the last bit.
#[inline(always)]
fn head_of(sought: Sought<'_>, prefix: usize) -> Option<u64> {
    Some(sought.long_head(prefix)? >> 1)
}

impl SparseIndex {
    /// Whether it is one of the tree with this root, at the level where it was found.
    #[inline(always)]
    pub(crate) fn is_of(&self, root: At) -> bool {
        let is_same = self.root == root.child && self.root_level == root.expected.level;
        is_same || seeded!(IndexOfAnotherTree)
    }

    /// The level of the pages to which it refers.
    #[inline(always)]
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    /// The page to which the way down to a key leads, unless heads do not tell.
    #[inline(always)]
    pub(super) fn find(&self, sought: Sought<'_>) -> Option<At> {
        if (sought.word() ^ self.prefix_word) & self.prefix_mask != 0 {
            return None;
        }
        if self.prefix.len() > size_of::<u64>() && !sought.key.starts_with(&self.prefix) {
            return None;
        }
        let head = head_of(sought, self.prefix.len())?;
        let place = usize::try_from(head.saturating_sub(self.lowest) >> self.shift).ok()?;
        let mut base = *self.starts.get(place).or(self.starts.last())? as usize;
        for step in (0..self.halvings).rev() {
            let half = WINDOW << step;
            let is_below = *self.heads.get(base + half - 1)? < head;
            base = select_unpredictable(is_below, base + half, base);
        }
        let window: &[u64; WINDOW] = self.heads.get(base..)?.first_chunk()?;
        // Their signs, which are taken of several at once; comparisons are not.
        let below: u64 = window.iter().map(|other| other.wrapping_sub(head) >> 63).sum();
        let rank = base + usize::try_from(below).ok()?;
        let entry = self.entries.get(rank)?;
        // A head says nothing of what lies behind it.
        if *self.heads.get(rank)? == head && !seeded!(IndexBelievesHeads) {
            return None;
        }
        let expected = Expected { level: self.level, txn_max: entry.txn_max };
        Some(At { child: entry.child, expected })
    }

    /// An index of the lowest level of a tree that has few enough pages, with all branches above
    /// at hand.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn new<'a>(
        root: At,
        pages: &impl PageLook<'a>,
        claim: Claim,
    ) -> Result<SparseIndex, Unfit> {
        let mut levels = 0..(root.expected.level + 1).saturating_sub(LEVELS_SPARED);
        let found = levels.find_map(|level| {
            Some((level, count_pages(root, pages, level, 0, claim.pages_max).ok()?))
        });
        let (level, count) = found.ok_or(Unfit::Now)?;
        let edge = |end| edge(root, pages, level, end);
        let (first, last) = (edge(End::First)?, edge(End::Last)?);
        let shared = common_prefix(&first, &last);
        let mut walk = Walk { prefix: &first[..shared], level, rows: Rows::of(count), tied: 0 };
        walk.gather(root, pages, None)?;
        if walk.tied > count / TIED_PART {
            return Err(Unfit::Ever);
        }
        walk.rows.arrange(root, level, &first[..shared], claim).ok_or(Unfit::Ever)
    }
}

/// Separators and pages, in order.
struct Rows {
    heads: Vec<u64>,
    entries: Vec<Entry>,
}

impl Rows {
    /// With room for so many pages, and for what lies behind the heads.
    fn of(pages: usize) -> Rows {
        Rows { heads: Vec::with_capacity(2 * pages), entries: Vec::with_capacity(pages) }
    }

    fn arrange(self, root: At, level: u8, prefix: &[u8], claim: Claim) -> Option<SparseIndex> {
        let Rows { mut heads, entries } = self;
        let (lowest, highest) = (*heads.first()?, *heads.last()?);
        let places = (2 * heads.len()).next_power_of_two();
        let bits = u64::BITS - (highest - lowest).leading_zeros();
        let shift = bits.saturating_sub(places.ilog2());
        let (starts, most) = starts_of(&heads, lowest, shift, places)?;
        let halvings = most.div_ceil(WINDOW).next_power_of_two().ilog2();
        let (behind, pages) = (WINDOW << halvings, entries.len().max(WINDOW));
        if halvings > HALVINGS_MAX || behind > pages {
            return None;
        }
        heads.extend(std::iter::repeat_n(HEAD_MAX, behind));
        let bytes = size_of_val(&*starts) + size_of_val(&*heads) + size_of_val(&*entries);
        debug_assert!(bytes <= pages * INDEX_BYTES_PER_PAGE, "{bytes} bytes for {pages} pages");
        let mut word = [0; 8];
        let len = prefix.len().min(word.len());
        word[..len].copy_from_slice(&prefix[..len]);
        let unwanted = u32::try_from(8 * (word.len() - len)).ok()?;
        Some(SparseIndex {
            root: root.child,
            root_level: root.expected.level,
            level,
            shift,
            halvings,
            prefix: prefix.into(),
            prefix_word: u64::from_le_bytes(word),
            prefix_mask: u64::MAX.unbounded_shr(unwanted),
            lowest,
            starts,
            heads: heads.into(),
            entries: entries.into(),
            _claim: claim,
        })
    }
}

/// How many heads have a lower place, for each place and one behind the last; and how many have the
/// same one at most.
fn starts_of(heads: &[u64], lowest: u64, shift: u32, places: usize) -> Option<(Box<[u32]>, usize)> {
    let mut starts = Vec::with_capacity(places + 1);
    let (mut at, mut most) = (0, 0);
    for place in 0..=places as u64 {
        let is_lower = |head: &&u64| (**head - lowest) >> shift < place;
        let here = heads[at..].iter().take_while(is_lower).count();
        (at, most) = (at + here, most.max(here));
        starts.push(u32::try_from(at).ok()?);
    }
    Some((starts.into(), most))
}

/// Counts the pages of a level below a page of a higher one, from `count` on.
fn count_pages<'a>(
    at: At,
    pages: &impl PageLook<'a>,
    level: u8,
    count: usize,
    count_max: usize,
) -> Result<usize, Unfit> {
    let (page, found) = at.peek(pages, pages.home(at.child.id)).ok_or(Unfit::Now)?;
    let node = Node::new(page.bytes);
    let children = node.children();
    if at.expected.level == level + 1 {
        return Some(count + children).filter(|&count| count <= count_max).ok_or(Unfit::Now);
    }
    (0..children).try_fold(count, |count, child| {
        count_pages(At::below(node.child(child), found), pages, level, count, count_max)
    })
}

#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// The first or the last separator between the pages of a level.
fn edge<'a>(root: At, pages: &impl PageLook<'a>, level: u8, end: End) -> Result<Vec<u8>, Unfit> {
    let mut at = root;
    loop {
        let (page, found) = at.peek(pages, pages.home(at.child.id)).ok_or(Unfit::Now)?;
        let node = Node::new(page.bytes);
        let child = match end {
            End::First => 0,
            End::Last => node.count(),
        };
        if at.expected.level == level + 1 {
            let separator = child.saturating_sub(1);
            return (separator < node.count()).then(|| node.key(separator)).ok_or(Unfit::Ever);
        }
        at = At::below(node.child(child), found);
    }
}

/// A walk along the pages of a level.
struct Walk<'p> {
    prefix: &'p [u8],
    level: u8,
    rows: Rows,
    /// Heads that are that of the separator in front.
    tied: usize,
}

impl Walk<'_> {
    /// Gathers the pages below one, in front of which stands this head.
    fn gather<'a>(
        &mut self,
        at: At,
        pages: &impl PageLook<'a>,
        before: Option<u64>,
    ) -> Result<(), Unfit> {
        let (page, found) = at.peek(pages, pages.home(at.child.id)).ok_or(Unfit::Now)?;
        let (node, mut key) = (Node::new(page.bytes), Vec::new());
        for child in 0..node.children() {
            let mut head = before;
            if let Some(separator) = child.checked_sub(1) {
                key.clear();
                node.append_key(separator, &mut key);
                if !key.starts_with(self.prefix) {
                    return Err(Unfit::Ever);
                }
                head = head_of(Sought::new(&key), self.prefix.len());
            }
            if at.expected.level > self.level + 1 {
                self.gather(At::below(node.child(child), found), pages, head)?;
            } else {
                self.push(head, Entry { child: node.child(child), txn_max: found.txn_max })?;
            }
        }
        Ok(())
    }

    fn push(&mut self, head: Option<u64>, entry: Entry) -> Result<(), Unfit> {
        if let Some(head) = head {
            let last = self.rows.heads.last().copied();
            // Separators ascend in each tree.
            if last.is_some_and(|last| last > head) {
                return Err(Unfit::Ever);
            }
            self.tied += usize::from(last == Some(head));
            self.rows.heads.push(head);
        }
        self.rows.entries.push(entry);
        Ok(())
    }
}
