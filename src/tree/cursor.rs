//! Trees: cursors (layer L4).
//!
//! Owns: [`Cursor`], a position in a tree as it was when the cursor was made.
//! Must not know: transactions. Keeps: snapshot-stable, errors-stick, sorted-keys (from leaf to
//! leaf).

use super::{At, Expected, Held, PageRead, Root, Tree};
use crate::error::{Error, Fault, Result};
use crate::invariant::Invariant;
use crate::node::{KeyBuffer, Node, Walk};
use crate::seeded::seeded;

/// An entry that is lent until the cursor moves.
pub(crate) type Lent<'a> = (&'a [u8], &'a [u8]);

/// A position between two entries of a tree, which does not change under it.
///
/// What a step needs of the leaf is decoded when the leaf is entered; a step within it copies the
/// key's parts together and nothing else.
#[derive(Debug)]
pub(crate) struct Cursor {
    tree: Tree,
    /// The keys that the cursor shows: not below the first, and below the second.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    /// The branches from the root to the leaf. Empty below a branch when the leaf was looked for:
    /// then the path is built when the leaf is left.
    path: Vec<Step>,
    leaf: Option<Held>,
    /// Behind a leaf that was looked for: the next one, if they have the same parent.
    next: Option<At>,
    walk: Walk,
    /// The leaf's entry behind the position, between `low` and `high`.
    at: usize,
    /// The first of the leaf's entries within the bounds.
    low: usize,
    /// Behind the last of them.
    high: usize,
    state: State,
    /// The key that was shown last.
    key: KeyBuffer,
    /// A value that is too large for a leaf.
    value: Vec<u8>,
    /// The key at the edge of the leaf that was left last.
    edge: Vec<u8>,
}

#[derive(Debug)]
struct Step {
    held: Held,
    /// The child the path goes through.
    at: usize,
}

#[derive(Debug)]
enum State {
    /// Not moved yet: before the first entry for `next`, behind the last for `previous`.
    Fresh,
    Placed,
    Failed(Fault),
}

/// Which way a step goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

/// Where a descent goes.
#[derive(Clone, Copy)]
enum Target<'k> {
    First,
    Last,
    /// In front of the first key that is not below this one.
    Key(&'k [u8]),
}

/// With fewer entries left in a leaf, the next one is asked for when a seek ends there.
const NEAR: usize = 16;

/// Entries that are asked for ahead when a cursor takes a place in a leaf.
const CELLS: usize = 8;

impl Target<'_> {
    fn choose(self, node: Node<'_>) -> usize {
        // A branch's last child and the place behind a leaf's last entry have the same number.
        match self {
            Target::First => 0,
            Target::Last => node.count(),
            Target::Key(key) if node.is_leaf() => node.search(key).unwrap_or_else(|at| at),
            Target::Key(key) => node.child_for(key),
        }
    }
}

impl Cursor {
    /// A cursor that has not moved: before the first entry, and behind the last.
    pub(crate) fn new(tree: Tree) -> Cursor {
        Cursor::bounded(tree, Vec::new(), None)
    }

    /// A cursor that shows the keys from `from` on, and below `to`.
    pub(crate) fn bounded(tree: Tree, from: Vec<u8>, to: Option<Vec<u8>>) -> Cursor {
        Cursor {
            tree,
            from,
            to,
            path: Vec::new(),
            leaf: None,
            next: None,
            walk: Walk::default(),
            at: 0,
            low: 0,
            high: 0,
            state: State::Fresh,
            key: KeyBuffer::default(),
            value: Vec::new(),
            edge: Vec::new(),
        }
    }

    /// Places the cursor in front of the first entry within the bounds whose key is not below
    /// `key`.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn seek(&mut self, pages: &dyn PageRead, key: &[u8]) -> Result<()> {
        self.check()?;
        let result = self.descend(pages, Target::Key(key));
        self.stick(result)
    }

    /// Steps over the next entry and lends it. `None` at the end.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    #[inline(always)]
    pub(crate) fn forward(&mut self, pages: &dyn PageRead) -> Result<Option<Lent<'_>>> {
        if self.at >= self.high && !self.enter(pages, Way::Forward)? {
            return Ok(None);
        }
        self.at += 1;
        self.show(pages, self.at - 1)
    }

    /// Steps over the previous entry and lends it. `None` at the beginning.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    #[inline(always)]
    pub(crate) fn backward(&mut self, pages: &dyn PageRead) -> Result<Option<Lent<'_>>> {
        if self.at <= self.low && !self.enter(pages, Way::Backward)? {
            return Ok(None);
        }
        self.at -= 1;
        self.show(pages, self.at)
    }

    /// Steps over the next entry and puts it into the buffers. `false` at the end.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    #[inline]
    pub(crate) fn next(
        &mut self,
        pages: &dyn PageRead,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        if self.at >= self.high && !self.enter(pages, Way::Forward)? {
            return Ok(false);
        }
        self.at += 1;
        self.copy(pages, self.at - 1, key, value).map(|()| true)
    }

    /// Steps over the previous entry and puts it into the buffers. `false` at the beginning.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    #[inline]
    pub(crate) fn previous(
        &mut self,
        pages: &dyn PageRead,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        if self.at <= self.low && !self.enter(pages, Way::Backward)? {
            return Ok(false);
        }
        self.at -= 1;
        self.copy(pages, self.at, key, value).map(|()| true)
    }

    /// The key that was shown last; empty before the first step.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.key()
    }

    /// The error that the cursor met.
    pub(crate) fn error(&self) -> Option<Error> {
        match &self.state {
            State::Failed(fault) if !seeded!(CursorForgetsItsError) => Some(fault.raise()),
            _ => None,
        }
    }

    fn check(&self) -> Result<()> {
        self.error().map_or(Ok(()), Err)
    }

    fn stick<T>(&mut self, result: Result<T>) -> Result<T> {
        if seeded!(IteratorGoesOnAfterError) {
            return result;
        }
        if let Err(error) = &result {
            self.state = State::Failed(Fault::keep(*error));
            self.leave();
        }
        result
    }

    /// Forgets the position; the next step has to look at the state.
    fn leave(&mut self) {
        self.path.clear();
        (self.leaf, self.next) = (None, None);
        (self.at, self.low, self.high) = (0, 0, 0);
    }

    /// Lends entry `at` of the leaf.
    #[inline(always)]
    fn show(&mut self, pages: &dyn PageRead, at: usize) -> Result<Option<Lent<'_>>> {
        // Each field by itself, so that the leaf is looked at once: what is lent borrows from it.
        let Cursor { leaf, walk, key, value, state, at: next, low, high, .. } = self;
        let Some(leaf) = &*leaf else { return Err(misplaced()) };
        if let Some(held) = walk.entry(leaf.bytes(), at, key) {
            return Ok(Some((key.key(), held)));
        }
        if let Err(error) = leaf.replace_value(pages, at, value) {
            if !seeded!(IteratorGoesOnAfterError) {
                *state = State::Failed(Fault::keep(error));
                // The next step has to look at the state.
                (*next, *low, *high) = (0, 0, 0);
            }
            return Err(error);
        }
        Ok(Some((key.key(), value)))
    }

    /// Copies entry `at` of the leaf. A value too large for a leaf goes from the file to the
    /// buffer.
    #[inline(always)]
    fn copy(
        &mut self,
        pages: &dyn PageRead,
        at: usize,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<()> {
        key.clear();
        value.clear();
        let Some(leaf) = &self.leaf else { return Err(misplaced()) };
        let held = self.walk.entry(leaf.bytes(), at, &mut self.key);
        key.extend_from_slice(self.key.key());
        let Some(held) = held else {
            let read = leaf.append_value(pages, at, value);
            return self.stick(read);
        };
        value.extend_from_slice(held);
        Ok(())
    }

    /// Goes on to a leaf with an entry to step over. `false` when there is none.
    #[cold]
    #[inline(never)]
    fn enter(&mut self, pages: &dyn PageRead, way: Way) -> Result<bool> {
        self.check()?;
        let result = self.find_leaf(pages, way);
        self.stick(result)
    }

    fn find_leaf(&mut self, pages: &dyn PageRead, way: Way) -> Result<bool> {
        if matches!(self.state, State::Fresh) {
            let bound = match way {
                Way::Forward => Some(std::mem::take(&mut self.from)),
                Way::Backward => self.to.take(),
            };
            let result = match (way, &bound) {
                (_, Some(key)) if !key.is_empty() => self.descend(pages, Target::Key(key)),
                (Way::Forward, _) => self.descend(pages, Target::First),
                (Way::Backward, _) => self.descend(pages, Target::Last),
            };
            match way {
                Way::Forward => self.from = bound.unwrap_or_default(),
                Way::Backward => self.to = bound,
            }
            result?;
            self.bound();
        }
        loop {
            let Some(leaf) = &self.leaf else { return Ok(false) };
            let count = leaf.node().count();
            let (is_inside, is_bounded) = match way {
                Way::Forward => (self.at < self.high, self.high < count),
                Way::Backward => (self.at > self.low, self.low > 0),
            };
            if is_inside {
                return Ok(true);
            }
            if is_bounded || !self.cross(pages, way)? {
                return Ok(false);
            }
        }
    }

    /// Builds the path from the root, choosing a place at each node.
    fn descend(&mut self, pages: &dyn PageRead, target: Target<'_>) -> Result<()> {
        self.leave();
        self.state = State::Placed;
        if let Target::Key(key) = target
            && let Root::Clean(child, level) = self.tree.root
        {
            let root = At { child, expected: Expected { level, txn_max: self.tree.txn } };
            if let Some((leaf, next)) = pages.leaf_at_hand(root, key) {
                self.stand(Held::Clean(leaf), target);
                self.next = next;
                if let Some(next) = next.filter(|_| self.high - self.at < NEAR) {
                    pages.prefetch_search(next.child);
                }
                return Ok(());
            }
        }
        let Some(root) = self.tree.held_root(pages)? else { return Ok(()) };
        self.descend_from(pages, root, target)
    }

    fn descend_from(
        &mut self,
        pages: &dyn PageRead,
        mut held: Held,
        target: Target<'_>,
    ) -> Result<()> {
        while !held.node().is_leaf() {
            let at = target.choose(held.node());
            let child = held.child(pages, at, self.tree.txn)?;
            self.path.push(Step { held, at });
            held = child;
        }
        self.stand(held, target);
        Ok(())
    }

    /// Takes a place in a leaf.
    fn stand(&mut self, leaf: Held, target: Target<'_>) {
        self.at = target.choose(leaf.node());
        self.walk = Walk::begin(leaf.node(), &mut self.key);
        self.leaf = Some(leaf);
        self.bound();
        if let Some(leaf) = &self.leaf {
            // Cells lie anywhere in a leaf, and steps meet one after the other.
            leaf.node().prefetch_cells(self.at..self.high.min(self.at + CELLS));
        }
    }

    /// Builds the path to the leaf, whose edge is noted, in which the cursor stands.
    fn find_path(&mut self, pages: &dyn PageRead) -> Result<()> {
        if !self.path.is_empty() || matches!(self.tree.root, Root::Clean(_, 0)) {
            return Ok(());
        }
        let mut next = self.tree.held_root(pages)?;
        while let Some(held) = next.take_if(|held| !held.node().is_leaf()) {
            let at = held.node().child_for(&self.edge);
            if held.node().level() > 1 {
                next = Some(held.child(pages, at, self.tree.txn)?);
            }
            self.path.push(Step { held, at });
        }
        Ok(())
    }

    /// Finds out which entries of the leaf lie within the bounds, and keeps to them.
    fn bound(&mut self) {
        let Some(leaf) = &self.leaf else { return };
        let node = leaf.node();
        let rank = |key: &[u8]| node.search(key).unwrap_or_else(|at| at);
        self.low = if self.from.is_empty() { 0 } else { rank(&self.from) };
        self.high = self.to.as_deref().map_or(node.count(), rank).max(self.low);
        self.at = self.at.clamp(self.low, self.high);
    }

    /// Moves to the neighbouring leaf. `false` when there is none; the position stays.
    fn cross(&mut self, pages: &dyn PageRead, way: Way) -> Result<bool> {
        let has_neighbour = |step: &Step| match way {
            Way::Forward => step.at < step.held.node().count(),
            Way::Backward => step.at > 0,
        };
        self.note_edge(way);
        let target = if way == Way::Forward { Target::First } else { Target::Last };
        if let Some(At { child, expected }) = self.next.take().filter(|_| way == Way::Forward) {
            let leaf = Held::Clean(pages.read_node(child, expected)?);
            self.stand(leaf, target);
            return self.check_order(way).map(|()| true);
        }
        self.find_path(pages)?;
        let Some(up) = self.path.iter().rposition(has_neighbour) else { return Ok(false) };
        self.path.truncate(up + 1);
        let step = &mut self.path[up];
        step.at = if way == Way::Forward { step.at + 1 } else { step.at - 1 };
        let child = step.held.child(pages, step.at, self.tree.txn)?;
        self.ask_for_next(pages, way);
        self.descend_from(pages, child, target)?;
        self.check_order(way)?;
        Ok(true)
    }

    /// Has the leaf after the next fetched into the processor's cache meanwhile.
    fn ask_for_next(&self, pages: &dyn PageRead, way: Way) {
        let Some(Step { held, at }) = self.path.last() else { return };
        let next = if way == Way::Forward { Some(at + 1) } else { at.checked_sub(1) };
        if let Some(next) = next.filter(|&next| next < held.node().children()) {
            held.prefetch_child(pages, next);
        }
    }

    /// Notes the key at the leaf's edge that is crossed.
    fn note_edge(&mut self, way: Way) {
        self.edge.clear();
        if let Some(leaf) = self.leaf.as_ref().map(Held::node)
            && leaf.count() > 0
        {
            let last = if way == Way::Forward { leaf.count() - 1 } else { 0 };
            leaf.append_key(last, &mut self.edge);
        }
    }

    /// Checks that keys ascend from leaf to leaf. A page that is in a tree many times would
    /// otherwise be met once for each path that leads to it.
    fn check_order(&mut self, way: Way) -> Result<()> {
        let Some(leaf) = &self.leaf else { return Ok(()) };
        let node = leaf.node();
        let is_ordered = node.count() > 0 && {
            let first = if way == Way::Forward { 0 } else { node.count() - 1 };
            self.walk.entry(leaf.bytes(), first, &mut self.key);
            match way {
                Way::Forward => self.edge.as_slice() < self.key.key(),
                Way::Backward => self.key.key() < self.edge.as_slice(),
            }
        };
        if is_ordered {
            return Ok(());
        }
        let page = match leaf {
            Held::Clean(page) => Some(page.id().0),
            Held::Dirty(_) => None,
        };
        let expected = "keys that ascend from leaf to leaf";
        Err(Error::corruption(page, Invariant::SortedKeys, expected, "others"))
    }
}

fn misplaced() -> Error {
    Error::internal("a cursor stands in a leaf when it steps")
}
