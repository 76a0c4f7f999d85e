//! Trees: giving up a whole tree, and listing its pages (layer L4).
//!
//! Owns: the walk that reads branch pages only, unless leaves refer to overflow runs.
//! Must not know: files. Keeps: page-owned-once (each page is given up once).

use super::{Dirty, Edit, Expected, Freed, PageRead, Root, Tree};
use crate::error::Result;
use crate::node::{Node, Value};
use crate::page::{ChildRef, Extent, PageId, TxnId};

impl Tree {
    /// Gives up all pages of the tree, which becomes empty.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn clear(&mut self, edit: &mut Edit<'_>) -> Result<()> {
        let with_leaves = self.overflow_pages > 0;
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
        (0..node.children()).try_for_each(|at| {
            self.clear_sealed(node.child(at), below, with_leaves)
        })
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

/// One page or run of a sealed tree, as a walk meets it.
pub(crate) struct Met<'a> {
    pub(crate) extent: Extent,
    /// The lowest key of the subtree's parent path that leads here, to come back by a search.
    pub(crate) node: Option<Node<'a>>,
}

/// Visits every page and run of a sealed tree, parents first.
///
/// # Errors
/// What reading pages says, or what `visit` returns.
pub(crate) fn pages_of(
    pages: &dyn PageRead,
    tree: &Tree,
    visit: &mut dyn FnMut(Met<'_>) -> Result<()>,
) -> Result<()> {
    let Root::Clean(child, level) = tree.root else { return Ok(()) };
    walk(pages, child, Expected { level, txn_max: tree.txn }, visit)
}

fn walk(
    pages: &dyn PageRead,
    child: ChildRef,
    expected: Expected,
    visit: &mut dyn FnMut(Met<'_>) -> Result<()>,
) -> Result<()> {
    let page = pages.read_node(child, expected)?;
    let node = Node::new(page.bytes());
    visit(Met { extent: Extent::one(page.id()), node: Some(node) })?;
    if node.is_leaf() {
        for at in 0..node.count() {
            if let Value::Overflow(run) = node.value(at) {
                let extent = Extent { first: run.first, pages: run.pages(pages.page_size()) };
                visit(Met { extent, node: None })?;
            }
        }
        return Ok(());
    }
    let below = Expected { level: expected.level - 1, txn_max: page.txn() };
    (0..node.children()).try_for_each(|at| walk(pages, node.child(at), below, visit))
}

/// The page with the highest number that a sealed tree owns, by reading branches only, unless
/// the tree has overflow runs.
pub(crate) fn last_page(pages: &dyn PageRead, tree: &Tree) -> Result<PageId> {
    let mut last = PageId::NONE;
    pages_of(pages, tree, &mut |met| {
        last = last.max(PageId(met.extent.end() - 1));
        Ok(())
    })?;
    Ok(last)
}
