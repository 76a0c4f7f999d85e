//! Trees: giving up a whole tree (layer L4).
//!
//! Owns: the walk that reads branch pages only, unless leaves refer to overflow runs.
//! Must not know: files. Keeps: page-owned-once (each page is given up once).

use super::{Dirty, Edit, Expected, Freed, Root, Tree};
use crate::error::{Error, Result};
use crate::invariant::Invariant;
use crate::node::Node;
use crate::page::{ChildRef, Extent, PageId, TxnId};
use crate::seeded::seeded;
use std::collections::BTreeSet;

impl Tree {
    /// Gives up all pages of the tree, which becomes empty.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn clear(&mut self, edit: &mut Edit<'_>) -> Result<()> {
        let with_leaves = self.overflow_pages > 0 && !seeded!(DroppedBucketLeaksRuns);
        let mut walk = Walk { with_leaves, met: BTreeSet::new() };
        match std::mem::replace(&mut self.root, Root::Empty) {
            Root::Empty => {}
            Root::Clean(child, level) => {
                edit.clear_sealed(child, Expected { level, txn_max: self.txn }, &mut walk)?;
            }
            Root::Dirty(dirty) => edit.clear_dirty(&dirty, &mut walk)?,
        }
        self.entries = 0;
        self.overflow_pages = 0;
        Ok(())
    }
}

/// A walk over a tree that is given up.
struct Walk {
    /// Leaves are read too, since they refer to overflow runs.
    with_leaves: bool,
    /// The branches met so far, and the leaves that were read.
    met: BTreeSet<PageId>,
}

/// Refuses a page that was met before: what lies below it would be met once for each path that
/// leads to it, and there may be billions.
pub(super) fn check_once(met: &mut BTreeSet<PageId>, id: PageId) -> Result<()> {
    if met.insert(id) {
        return Ok(());
    }
    let invariant = Invariant::PageOwnedOnce;
    Err(Error::corruption(Some(id.0), invariant, "a page with one parent", "a second parent"))
}

impl Edit<'_> {
    fn clear_sealed(&mut self, child: ChildRef, expected: Expected, walk: &mut Walk) -> Result<()> {
        if expected.level == 0 && !walk.with_leaves {
            if seeded!(DroppedBucketLeaksLeaves) {
                return Ok(());
            }
            self.freed.push(Freed { extent: Extent::one(child.id), birth: TxnId(0) });
            return Ok(());
        }
        check_once(&mut walk.met, child.id)?;
        let page = self.pages.read_node(child, expected)?;
        self.free_page(&page);
        let node = Node::new(page.bytes());
        if node.is_leaf() {
            for at in 0..node.count() {
                self.free_value(node.value(at));
            }
            return Ok(());
        }
        let below = Expected { level: expected.level - 1, txn_max: page.txn() };
        (0..node.children()).try_for_each(|at| self.clear_sealed(node.child(at), below, walk))
    }

    fn clear_dirty(&mut self, dirty: &Dirty, walk: &mut Walk) -> Result<()> {
        let node = dirty.node();
        if node.is_leaf() {
            for at in 0..node.count() {
                self.free_value(node.value(at));
            }
            return Ok(());
        }
        let below = Expected { level: node.level() - 1, txn_max: self.base };
        (0..node.children()).try_for_each(|at| match &dirty.kids()[at] {
            Some(kid) => self.clear_dirty(kid, walk),
            None => self.clear_sealed(node.child(at), below, walk),
        })
    }
}
