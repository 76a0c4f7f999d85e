//! Trees: the pages that are newer than a state (layer L4).
//!
//! Owns: the walk over them, which reads the children of no page that is older.
//! Must not know: files, or what becomes of a page.
//! Keeps: child-not-newer (so nothing newer is left out: what lies below a page is no newer),
//! page-owned-once (a branch is met once).

use super::release::check_once;
use super::{Expected, PageRead, Root, Tree};
use crate::error::{Error, Result};
use crate::node::{Node, Run, Value};
use crate::page::{ChildRef, Page, PageId, TxnId};
use crate::seeded::seeded;
use std::collections::BTreeSet;

/// Who looks at the pages of a walk.
pub(crate) trait Visit {
    /// A page of the tree comes; what lies below it follows.
    fn page(&mut self, page: &Page) -> Result<()>;

    /// A run comes to which the leaf before refers.
    fn run(&mut self, run: Run) -> Result<()>;
}

/// What the leaves of a walk hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visited {
    pub(crate) entries: u64,
    /// Bytes of their keys and values.
    pub(crate) content_bytes: u64,
    pub(crate) overflow_pages: u64,
}

impl Visited {
    pub(crate) fn add(&mut self, other: Visited) {
        self.entries += other.entries;
        self.content_bytes += other.content_bytes;
        self.overflow_pages += other.overflow_pages;
    }
}

impl Tree {
    /// Visits the pages that transactions behind `since` wrote, or all of them, and the runs to
    /// which such leaves refer, whoever wrote those. The tree is sealed.
    ///
    /// # Errors
    /// What reading pages says, and whoever looks at them.
    pub(crate) fn visit_newer(
        &self,
        pages: &dyn PageRead,
        since: Option<TxnId>,
        visit: &mut dyn Visit,
    ) -> Result<Visited> {
        let since = since.map(|txn| if seeded!(IncrementMissesTheNext) { txn.next() } else { txn });
        let (branches, visited) = (BTreeSet::new(), Visited::default());
        let mut walk = Walk { pages, since, visit, branches, visited };
        match &self.root {
            Root::Empty => {}
            Root::Clean(child, level) => {
                walk.descend(*child, Expected { level: *level, txn_max: self.txn })?;
            }
            Root::Dirty(_) => return Err(Error::internal("a tree is walked that is not sealed")),
        }
        Ok(walk.visited)
    }
}

struct Walk<'a> {
    pages: &'a dyn PageRead,
    since: Option<TxnId>,
    visit: &'a mut dyn Visit,
    /// The branches met so far.
    branches: BTreeSet<PageId>,
    visited: Visited,
}

impl Walk<'_> {
    fn descend(&mut self, child: ChildRef, expected: Expected) -> Result<()> {
        let page = self.pages.read_node(child, expected)?;
        // Whatever it refers to was there when it was written, and is as old.
        if self.since.is_some_and(|since| page.txn() <= since) {
            return Ok(());
        }
        let node = Node::new(page.bytes());
        if !node.is_leaf() {
            check_once(&mut self.branches, page.id())?;
        }
        self.visit.page(&page)?;
        if node.is_leaf() {
            return self.enter(node);
        }
        let below = Expected { level: node.level() - 1, txn_max: page.txn() };
        (0..node.children()).try_for_each(|at| self.descend(node.child(at), below))
    }

    fn enter(&mut self, leaf: Node<'_>) -> Result<()> {
        for at in 0..leaf.count() {
            let value_len = match leaf.value(at) {
                Value::Inline(value) => value.len() as u64,
                Value::Overflow(run) => {
                    self.visit.run(run)?;
                    self.visited.overflow_pages += u64::from(run.pages(self.pages.page_size()));
                    u64::from(run.len)
                }
                Value::Unplaced { .. } => {
                    return Err(Error::internal("a sealed page holds a value without pages"));
                }
            };
            self.visited.entries += 1;
            self.visited.content_bytes += leaf.key_len(at) as u64 + value_len;
        }
        Ok(())
    }
}
