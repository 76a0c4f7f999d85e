//! Trees: giving up a whole tree (layer L4).
//!
//! Owns: the walk that reads branch pages only, unless leaves refer to overflow runs.
//! Must not know: files. Keeps: page-owned-once (each page is given up once).

use super::{Dirty, Edit, Expected, Freed, Root, Tree};
use crate::error::Result;
use crate::node::Node;
use crate::page::{ChildRef, Extent, TxnId};
use crate::seeded::seeded;

impl Tree {
    /// Gives up all pages of the tree, which becomes empty.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn clear(&mut self, edit: &mut Edit<'_>) -> Result<()> {
        let with_leaves = self.overflow_pages > 0 && !seeded!(DroppedBucketLeaksRuns);
        match std::mem::replace(&mut self.root, Root::Empty) {
            Root::Empty => {}
            Root::Clean(child, level) => {
                edit.clear_sealed(child, Expected { level, txn_max: self.txn }, with_leaves)?;
            }
            Root::Dirty(dirty) => edit.clear_dirty(&dirty, with_leaves)?,
        }
        self.entries = 0;
        self.overflow_pages = 0;
        Ok(())
    }
}

impl Edit<'_> {
    fn clear_sealed(
        &mut self,
        child: ChildRef,
        expected: Expected,
        with_leaves: bool,
    ) -> Result<()> {
        if expected.level == 0 && !with_leaves {
            if seeded!(DroppedBucketLeaksLeaves) {
                return Ok(());
            }
            self.freed.push(Freed { extent: Extent::one(child.id), birth: TxnId(0) });
            return Ok(());
        }
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
        (0..node.children())
            .try_for_each(|at| self.clear_sealed(node.child(at), below, with_leaves))
    }

    fn clear_dirty(&mut self, dirty: &Dirty, with_leaves: bool) -> Result<()> {
        let node = dirty.node();
        if node.is_leaf() {
            for at in 0..node.count() {
                self.free_value(node.value(at));
            }
            return Ok(());
        }
        let below = Expected { level: node.level() - 1, txn_max: self.base };
        (0..node.children()).try_for_each(|at| match &dirty.kids[at] {
            Some(kid) => self.clear_dirty(kid, with_leaves),
            None => self.clear_sealed(node.child(at), below, with_leaves),
        })
    }
}
