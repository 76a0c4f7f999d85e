//! Trees: cursors (layer L4).
//!
//! Owns: [`Cursor`], a position in a tree as it was when the cursor was made.
//! Must not know: transactions. Keeps: snapshot-stable, errors-stick, sorted-keys (from leaf to
//! leaf).

use super::{Held, PageRead, Tree};
use crate::error::{Error, Fault, Result};
use crate::invariant::Invariant;
use crate::seeded::seeded;

/// A position between two entries of a tree, which does not change under it.
#[derive(Debug)]
pub(crate) struct Cursor {
    tree: Tree,
    /// From the root to a leaf; empty before the first step.
    path: Vec<Step>,
    state: State,
    /// The keys on the two sides of the last step from leaf to leaf.
    between: [Vec<u8>; 2],
}

#[derive(Debug)]
struct Step {
    held: Held,
    /// Of a branch: the child the path goes through. Of a leaf: the entry behind the position.
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

impl Cursor {
    /// A cursor that has not moved: before the first entry, and behind the last.
    pub(crate) fn new(tree: Tree) -> Cursor {
        let between = [Vec::new(), Vec::new()];
        Cursor { tree, path: Vec::new(), state: State::Fresh, between }
    }

    /// Places the cursor in front of the first entry whose key is not below `key`.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn seek(&mut self, pages: &dyn PageRead, key: &[u8]) -> Result<()> {
        self.check()?;
        let result = self.descend(pages, |held| {
            let node = held.node();
            if node.is_leaf() {
                node.search(key).unwrap_or_else(|at| at)
            } else {
                node.child_for(key)
            }
        });
        self.stick(result)
    }

    /// Steps over the next entry and puts it into the buffers. `false` at the end.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn next(
        &mut self,
        pages: &dyn PageRead,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        self.check()?;
        let result = self.step(pages, Way::Forward, key, value);
        self.stick(result)
    }

    /// Steps over the previous entry and puts it into the buffers. `false` at the beginning.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn previous(
        &mut self,
        pages: &dyn PageRead,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        self.check()?;
        let result = self.step(pages, Way::Backward, key, value);
        self.stick(result)
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
            self.path.clear();
        }
        result
    }

    /// Builds the path from the root, choosing a place at each node.
    fn descend(&mut self, pages: &dyn PageRead, choose: impl Fn(&Held) -> usize) -> Result<()> {
        self.path.clear();
        self.state = State::Placed;
        let Some(root) = self.tree.held_root(pages)? else { return Ok(()) };
        self.descend_from(pages, root, choose)
    }

    fn descend_from(
        &mut self,
        pages: &dyn PageRead,
        mut held: Held,
        choose: impl Fn(&Held) -> usize,
    ) -> Result<()> {
        loop {
            let at = choose(&held);
            if held.node().is_leaf() {
                self.path.push(Step { held, at });
                return Ok(());
            }
            let child = held.child(pages, at, self.tree.txn)?;
            self.path.push(Step { held, at });
            held = child;
        }
    }

    fn step(
        &mut self,
        pages: &dyn PageRead,
        way: Way,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        // A branch's last child and the place behind a leaf's last entry have the same number.
        let edge = |held: &Held| match way {
            Way::Forward => 0,
            Way::Backward => held.node().count(),
        };
        if matches!(self.state, State::Fresh) {
            self.descend(pages, edge)?;
        }
        loop {
            let Some(leaf) = self.path.last_mut() else { return Ok(false) };
            let inside = match way {
                Way::Forward => leaf.at < leaf.held.node().count(),
                Way::Backward => leaf.at > 0,
            };
            if inside {
                let at = if way == Way::Forward { leaf.at } else { leaf.at - 1 };
                leaf.at = if way == Way::Forward { at + 1 } else { at };
                key.clear();
                value.clear();
                leaf.held.node().append_key(at, key);
                leaf.held.append_value(pages, at, value)?;
                return Ok(true);
            }
            if !self.cross(pages, way, edge)? {
                return Ok(false);
            }
        }
    }

    /// Moves to the neighbouring leaf. `false` when there is none; the position stays.
    fn cross(
        &mut self,
        pages: &dyn PageRead,
        way: Way,
        edge: impl Fn(&Held) -> usize,
    ) -> Result<bool> {
        let has_neighbour = |step: &Step| match way {
            Way::Forward => step.at < step.held.node().count(),
            Way::Backward => step.at > 0,
        };
        let branches = self.path.len().saturating_sub(1);
        let Some(up) = self.path[..branches].iter().rposition(has_neighbour) else {
            return Ok(false);
        };
        match way {
            Way::Forward => self.note_last(),
            Way::Backward => self.note_first(),
        }
        self.path.truncate(up + 1);
        let step = &mut self.path[up];
        step.at = if way == Way::Forward { step.at + 1 } else { step.at - 1 };
        let child = step.held.child(pages, step.at, self.tree.txn)?;
        self.descend_from(pages, child, edge)?;
        match way {
            Way::Forward => self.note_first(),
            Way::Backward => self.note_last(),
        }
        self.check_order()?;
        Ok(true)
    }

    /// Notes the last key of the leaf as the left one.
    fn note_last(&mut self) {
        let [left, _] = &mut self.between;
        left.clear();
        if let Some(leaf) = self.path.last().map(|leaf| leaf.held.node())
            && leaf.count() > 0
        {
            leaf.append_key(leaf.count() - 1, left);
        }
    }

    /// Notes the first key of the leaf as the right one.
    fn note_first(&mut self) {
        let [_, right] = &mut self.between;
        right.clear();
        if let Some(leaf) = self.path.last().map(|leaf| leaf.held.node())
            && leaf.count() > 0
        {
            leaf.append_key(0, right);
        }
    }

    /// Checks that keys ascend from leaf to leaf. A page that is in a tree many times would
    /// otherwise be met once for each path that leads to it.
    fn check_order(&self) -> Result<()> {
        let [left, right] = &self.between;
        if left < right {
            return Ok(());
        }
        let page = match self.path.last().map(|leaf| &leaf.held) {
            Some(Held::Clean(page)) => Some(page.id().0),
            _ => None,
        };
        let expected = "keys that ascend from leaf to leaf";
        Err(Error::corruption(page, Invariant::SortedKeys, expected, "others"))
    }
}
