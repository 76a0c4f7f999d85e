//! Trees: cursors (layer L4).
//!
//! Owns: [`Cursor`], a position in a tree as it was when the cursor was made.
//! Must not know: transactions. Keeps: snapshot-stable, errors-stick, sorted-keys (from leaf to
//! leaf).

mod unread;

use super::{At, Dirty, Expected, Held, PageRead, Root, Tree};
use crate::arena::Lines;
use crate::error::{Error, Fault, Result};
use crate::invariant::Invariant;
use crate::node::{Begun, Leaf, Node, Walk, Way};
use crate::page::Page;
use crate::seeded::seeded;

/// An entry that is lent until the cursor moves.
pub(crate) type Lent<'a> = (&'a [u8], &'a [u8]);

/// A position between two entries of a tree, which does not change under it.
#[derive(Debug)]
pub(crate) struct Cursor {
    tree: Tree,
    /// The keys that the cursor shows: not below the first, and below the second.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    /// The branches from the root to the leaf. Empty below a branch when the leaf was looked for:
    /// then the path is built when the leaf is left.
    path: Vec<Step>,
    walk: Walk,
    /// The leaf, where it is dirty: it holds large values.
    dirty: Option<Dirty>,
    /// Behind a leaf that was looked for: the next one, if they have the same parent.
    next: Option<At>,
    state: State,
    /// It is on its way, or was when the storage panicked: nobody knows then where it is.
    is_moving: bool,
    /// A value that is too large for a leaf.
    value: Vec<u8>,
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
    Failed(Box<Fault>),
}

/// Where a descent goes.
#[derive(Clone, Copy)]
enum Target<'k> {
    First,
    Last,
    /// In front of the first key that is not below this one.
    Key(&'k [u8]),
}

impl Target<'_> {
    fn choose(self, node: Node<'_>) -> usize {
        // A branch's last child and the place behind a leaf's last entry have the same number.
        match self {
            Target::First => 0,
            Target::Last => node.count(),
            Target::Key(key) if node.is_leaf() => node.end_search(node.begin_search(key), key),
            Target::Key(key) => node.child_for(key),
        }
    }
}

impl Cursor {
    /// A cursor that has not moved: before the first entry, and behind the last.
    #[inline(always)]
    pub(crate) fn new(tree: Tree) -> Cursor {
        Cursor::bounded(tree, Vec::new(), None)
    }

    /// A cursor that shows the keys from `from` on, and below `to`.
    #[inline(always)]
    pub(crate) fn bounded(tree: Tree, from: Vec<u8>, to: Option<Vec<u8>>) -> Cursor {
        Cursor {
            tree,
            from,
            to,
            path: Vec::new(),
            walk: Walk::default(),
            dirty: None,
            next: None,
            state: State::Fresh,
            is_moving: false,
            value: Vec::new(),
        }
    }

    /// Places the cursor in front of the first entry within the bounds whose key is not below
    /// `key`.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn seek(&mut self, pages: &dyn PageRead, key: &[u8]) -> Result<()> {
        self.moving(|cursor| cursor.descend(pages, Target::Key(key)))
    }

    /// Steps over an entry and lends it. `None` where there is none.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    #[inline(always)]
    pub(crate) fn step<'p>(
        &mut self,
        pages: impl Fn() -> &'p dyn PageRead,
        way: Way,
    ) -> Result<Option<Lent<'_>>> {
        self.step_if(pages, way, |_| true)
    }

    /// As [`Cursor::step`], if the entry's key is wanted; the value of another is not read.
    #[inline(always)]
    pub(crate) fn step_if<'p>(
        &mut self,
        pages: impl Fn() -> &'p dyn PageRead,
        way: Way,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Lent<'_>>> {
        match self.walk.look(way) {
            Some(plain) => Ok(Some(self.walk.take(plain)).filter(|(key, _)| is_wanted(key))),
            None => self.lend_if(pages(), way, is_wanted),
        }
    }

    /// As [`Cursor::step`], of the next entry, which is put into the buffers. `false` at the end.
    #[inline]
    pub(crate) fn next(
        &mut self,
        pages: &dyn PageRead,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        self.copy(pages, Way::Forward, key, value)
    }

    /// Steps over the previous entry and puts it into the buffers. `false` at the beginning.
    #[inline]
    pub(crate) fn previous(
        &mut self,
        pages: &dyn PageRead,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        self.copy(pages, Way::Backward, key, value)
    }

    /// The key that was shown last; empty before the first step.
    pub(crate) fn key(&self) -> &[u8] {
        self.walk.key()
    }

    /// Lets the cursor fail, with what its tree met before.
    pub(crate) fn fail(&mut self, error: Error) {
        self.state = State::Failed(Box::new(Fault::keep(error)));
    }

    /// The error that the cursor met.
    pub(crate) fn error(&self) -> Option<Error> {
        match &self.state {
            State::Failed(fault) if !seeded!(CursorForgetsItsError) => Some(fault.raise()),
            _ if self.is_moving => Some(Error::internal("a step of the cursor panicked")),
            _ => None,
        }
    }

    fn moving<T>(&mut self, way: impl FnOnce(&mut Cursor) -> Result<T>) -> Result<T> {
        self.error().map_or(Ok(()), Err)?;
        self.is_moving = true;
        let result = way(self);
        self.is_moving = false;
        self.stick(result)
    }

    fn stick<T>(&mut self, result: Result<T>) -> Result<T> {
        if seeded!(IteratorGoesOnAfterError) {
            return result;
        }
        if let Err(error) = &result {
            self.fail(*error);
            self.leave();
        }
        result
    }

    /// Forgets the position; the next step has to look at the state.
    fn leave(&mut self) {
        self.path.clear();
        self.walk.leave();
        (self.dirty, self.next) = (None, None);
    }

    /// As [`Cursor::step_if`], of an entry of this leaf or another.
    #[cold]
    #[inline(never)]
    fn lend_if(
        &mut self,
        pages: &dyn PageRead,
        way: Way,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Lent<'_>>> {
        let at = match self.walk.step(way) {
            Some(at) => at,
            None if !self.reach(pages, way)? => return Ok(None),
            None => match self.walk.look(way) {
                Some(plain) => {
                    return Ok(Some(self.walk.take(plain)).filter(|(key, _)| is_wanted(key)));
                }
                None => self.walk.step(way).ok_or_else(misplaced)?,
            },
        };
        if !is_wanted(self.walk.key()) {
            return Ok(None);
        }
        if self.walk.held_value(at).is_none() {
            self.read_aside(pages, at)?;
        }
        Ok(Some((self.walk.key(), self.walk.held_value(at).unwrap_or(&self.value))))
    }

    /// Steps over an entry and puts it into the buffers. A value too large for a leaf goes from
    /// the file to the buffer.
    #[inline(always)]
    fn copy(
        &mut self,
        pages: &dyn PageRead,
        way: Way,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        key.clear();
        value.clear();
        match self.walk.look(way) {
            Some(plain) => {
                let (shown, held) = self.walk.take(plain);
                key.extend_from_slice(shown);
                value.extend_from_slice(held);
                Ok(true)
            }
            None => self.copy_other(pages, way, key, value),
        }
    }

    /// The same for an entry of another leaf, or one that is not as most are.
    #[cold]
    #[inline(never)]
    fn copy_other(
        &mut self,
        pages: &dyn PageRead,
        way: Way,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        let Some(at) = self.step_over(pages, way)? else { return Ok(false) };
        key.extend_from_slice(self.walk.key());
        self.append_value(pages, at, value).map(|()| true)
    }

    /// Steps over an entry of this leaf or another, and shows its key. Returns its slot.
    fn step_over(&mut self, pages: &dyn PageRead, way: Way) -> Result<Option<usize>> {
        match self.walk.step(way) {
            None if self.reach(pages, way)? => self.walk.step(way).ok_or_else(misplaced).map(Some),
            slot => Ok(slot),
        }
    }

    /// Goes to a leaf with an entry to step over. `false` when there is none.
    #[cold]
    #[inline(never)]
    fn reach(&mut self, pages: &dyn PageRead, way: Way) -> Result<bool> {
        self.moving(|cursor| cursor.find_leaf(pages, way))
    }

    fn find_leaf(&mut self, pages: &dyn PageRead, way: Way) -> Result<bool> {
        if matches!(self.state, State::Fresh) {
            let bound = match way {
                Way::Forward => Some(std::mem::take(&mut self.from)),
                Way::Backward => self.to.take(),
            };
            let result = match (way, &bound) {
                (Way::Forward, Some(key)) if key.is_empty() => self.descend(pages, Target::First),
                (_, Some(key)) => self.descend(pages, Target::Key(key)),
                (_, None) => self.descend(pages, Target::Last),
            };
            match way {
                Way::Forward => self.from = bound.unwrap_or_default(),
                Way::Backward => self.to = bound,
            }
            result?;
            self.bound();
        }
        loop {
            let Some(node) = self.walk.node() else { return Ok(false) };
            let (at, low, high) = (self.walk.at(), self.walk.low(), self.walk.high());
            let (is_inside, is_bounded) = match way {
                Way::Forward => (at < high, high < node.count()),
                Way::Backward => (at > low, low > 0),
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
            && let expected = (Expected { level, txn_max: self.tree.txn })
            && let Some((leaf, begun, next)) = pages.leaf_at_hand(At { child, expected }, key)
        {
            self.stand_in(leaf, begun, next, key);
            return Ok(());
        }
        let Some(root) = self.tree.held_root(pages)? else { return Ok(()) };
        let leaf = self.leaf_below(pages, root, target)?;
        self.stand(leaf, target);
        Ok(())
    }

    /// Takes the place of a key in the leaf to which it belongs, where its search was begun; `next`
    /// is the leaf behind it.
    pub(crate) fn stand_in(&mut self, leaf: Page, begun: Begun, next: Option<At>, key: &[u8]) {
        (self.state, self.dirty) = (State::Placed, None);
        self.walk.enter(Leaf::Sealed(leaf));
        let at = self.walk.node().map_or(0, |node| node.end_search(begun, key));
        self.walk.place(at);
        self.bound();
        self.next = next;
    }

    /// Goes down to a leaf.
    fn leaf_below(
        &mut self,
        pages: &dyn PageRead,
        mut held: Held,
        target: Target<'_>,
    ) -> Result<Held> {
        while !held.node().is_leaf() {
            let at = target.choose(held.node());
            let child = held.child(pages, at, self.tree.txn)?;
            self.path.push(Step { held, at });
            held = child;
        }
        Ok(held)
    }

    /// Takes a place in a leaf.
    fn stand(&mut self, leaf: Held, target: Target<'_>) {
        let leaf = match leaf {
            Held::Clean(page) => {
                self.dirty = None;
                Leaf::Sealed(page)
            }
            Held::Dirty(dirty) if seeded!(CursorMissesAPlannedEntry) => {
                Leaf::Built(self.dirty.insert(dirty).bytes.source().into())
            }
            Held::Dirty(dirty) => Leaf::Built(self.dirty.insert(dirty).bytes.buffer().clone()),
        };
        self.walk.enter(leaf);
        let at = self.walk.node().map_or(0, |node| target.choose(node));
        self.walk.place(at);
        self.bound();
    }

    /// Builds the path to the leaf in which the cursor stands.
    fn find_path(&mut self, pages: &dyn PageRead) -> Result<()> {
        if !self.path.is_empty() || matches!(self.tree.root, Root::Clean(_, 0)) {
            return Ok(());
        }
        let Some(key) = self.walk.node().filter(|node| node.count() > 0).map(|node| node.key(0))
        else {
            return Ok(());
        };
        let mut next = self.tree.held_root(pages)?;
        while let Some(held) = next.take_if(|held| !held.node().is_leaf()) {
            let at = held.node().child_for(&key);
            if held.node().level() > 1 {
                next = Some(held.child(pages, at, self.tree.txn)?);
            }
            self.path.push(Step { held, at });
        }
        Ok(())
    }

    /// Finds out which entries of the leaf lie within the bounds, and keeps to them.
    fn bound(&mut self) {
        if self.from.is_empty() && self.to.is_none() {
            return;
        }
        let Some(node) = self.walk.node() else { return };
        let rank = |key: &[u8]| node.search(key).unwrap_or_else(|at| at);
        let low = if self.from.is_empty() { 0 } else { rank(&self.from) };
        let high = self.to.as_deref().map_or(node.count(), rank).max(low);
        self.walk.bound(low, high);
    }

    /// Moves to the neighbouring leaf. `false` when there is none; the position stays.
    fn cross(&mut self, pages: &dyn PageRead, way: Way) -> Result<bool> {
        let has_neighbour = |step: &Step| match way {
            Way::Forward => step.at < step.held.node().count(),
            Way::Backward => step.at > 0,
        };
        let target = if way == Way::Forward { Target::First } else { Target::Last };
        if let Some(At { child, expected }) = self.next.take().filter(|_| way == Way::Forward) {
            let leaf = Held::Clean(pages.read_node(child, expected)?);
            self.check_order(&leaf, way)?;
            self.stand(leaf, target);
            return Ok(true);
        }
        self.find_path(pages)?;
        let Some(up) = self.path.iter().rposition(has_neighbour) else { return Ok(false) };
        self.path.truncate(up + 1);
        let step = &mut self.path[up];
        step.at = if way == Way::Forward { step.at + 1 } else { step.at - 1 };
        let child = step.held.child(pages, step.at, self.tree.txn)?;
        let along = self.ask_for_next(pages, way);
        let leaf = self.leaf_below(pages, child, target)?;
        self.check_order(&leaf, way)?;
        self.stand(leaf, target);
        if let Some(lines) = along {
            self.walk.ask_along(lines);
        }
        Ok(true)
    }

    /// Has the leaf after the next fetched into the processor's cache meanwhile. Where leaves have
    /// many entries, the steps over those of the next one are to do it: asking for all lines at
    /// once waits for most of them.
    fn ask_for_next(&self, pages: &dyn PageRead, way: Way) -> Option<Lines> {
        let Step { held, at } = self.path.last()?;
        let next = if way == Way::Forward { Some(at + 1) } else { at.checked_sub(1) };
        let next = next.filter(|&next| next < held.node().children())?;
        let lines = held.lines_of_child(pages, next)?;
        if self.walk.high() >= lines.count() {
            return Some(lines);
        }
        lines.ask();
        None
    }

    /// Checks that keys ascend from the leaf in which the cursor stands to a neighbour of it. A
    /// page that is in a tree many times would otherwise be met once for each path to it.
    fn check_order(&self, leaf: &Held, way: Way) -> Result<()> {
        let Some(left) = self.walk.node() else { return Ok(()) };
        let (low, high) = match way {
            Way::Forward => (left, leaf.node()),
            Way::Backward => (leaf.node(), left),
        };
        if leaf.node().count() > 0 && low.is_below(high) {
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
    Error::internal("a cursor stands before an entry when it steps")
}
