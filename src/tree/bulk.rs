//! Trees: bulk load of sorted entries (layer L4).
//!
//! Owns: [`Append`], which builds full pages bottom up behind the last key of a tree.
//! Must not know: files. Keeps: sorted-keys (each key is compared with the one before),
//! separators-bound-children, uniform-depth, entry-count.

use super::insert::{Change, SplitUp, bounded, check_level};
use super::{Dirty, Edit, NewValue, Root, Tree, UNSEALED};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::node::{Insertion, NodeMut, single_branch, single_leaf, split_branch, split_leaf};
use std::cmp::Ordering;

/// A tree that grows behind its last key.
///
/// No entry goes down the tree: the right edge is taken out of it and held in the hand.
pub(crate) struct Append {
    /// The tree without its root.
    tree: Tree,
    /// The leaf that is filled, then the branches above it, upwards. The last child of each
    /// branch is the node before it, and missing in `kids`. Empty as long as the tree is.
    edge: Vec<Dirty>,
}

impl Append {
    /// Takes the right edge out of a tree.
    ///
    /// # Errors
    /// What reading pages says; the tree is then to be thrown away.
    pub(crate) fn begin(mut tree: Tree, edit: &mut Edit<'_>) -> Result<Append> {
        let mut edge = Vec::new();
        if !matches!(tree.root, Root::Empty) {
            edit.dirty_root(&mut tree)?;
        }
        let mut next = match std::mem::replace(&mut tree.root, Root::Empty) {
            Root::Dirty(root) => Some(root),
            _ => None,
        };
        while let Some(mut node) = next {
            next = None;
            if !node.node().is_leaf() {
                let last = node.node().count();
                edit.dirty_child(&mut node, last)?;
                next = node.kids_mut()[last].take();
            }
            edge.push(node);
        }
        edge.reverse();
        Ok(Append { tree, edge })
    }

    /// Puts an entry behind the last one. The caller checked the limits of key and value.
    ///
    /// # Errors
    /// `Duplicate` for the key that is the last one already, `Invalid` for a lower one; what a
    /// count that was read from the file says.
    pub(crate) fn push(&mut self, edit: &mut Edit<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        let page_size = edit.pages.page_size();
        let new = edit.entering(key, NewValue::Bytes(value));
        let encoded = new.encoded();
        let payload = encoded.payload();
        if let Some(leaf) = self.edge.first_mut() {
            check_ascends(leaf, key)?;
            let at = leaf.node().count();
            if NodeMut::new(&mut leaf.bytes).insert_leaf(at, key, payload) {
                edit.keep_value(leaf, &new);
            } else {
                let insertion = Insertion { at, key, payload, ascending: true };
                let split = split_leaf(&mut leaf.bytes, insertion);
                let mut right = Dirty::leaf(split.right);
                edit.keep_value(&mut right, &new);
                let full = std::mem::replace(leaf, right);
                self.carry(page_size, 1, full, split.separator)?;
            }
        } else {
            *edit.entered += page_size as u64;
            let mut leaf = Dirty::leaf(single_leaf(page_size, key, payload));
            edit.keep_value(&mut leaf, &new);
            self.edge.push(leaf);
        }
        let change = Change { added: new.overflow_pages(page_size), removed: 0 };
        self.tree.overflow_pages = change.of(self.tree.overflow_pages)?;
        self.tree.entries = Change { added: 1, removed: 0 }.of(self.tree.entries)?;
        Ok(())
    }

    /// Hangs a node that is full into the branch of level `level`; the node behind it, which
    /// begins at `separator`, has taken its place at the edge.
    fn carry(
        &mut self,
        page_size: usize,
        mut level: usize,
        mut full: Dirty,
        mut separator: Vec<u8>,
    ) -> Result<()> {
        while let Some(branch) = self.edge.get_mut(level) {
            let at = branch.node().count();
            bounded(&branch.bytes, at, &separator)?;
            let kids = branch.kids_mut();
            kids[at] = Some(full);
            kids.push(None);
            if NodeMut::new(&mut branch.bytes).insert_branch(at, &separator, UNSEALED) {
                return Ok(());
            }
            let split = split_branch(&mut branch.bytes, at, &separator, UNSEALED);
            let kids = branch.kids_mut().split_off(split.left_len);
            full = std::mem::replace(branch, Dirty::branch(split.right, kids));
            separator = split.separator;
            level += 1;
        }
        let level = check_level(level)?;
        let bytes = single_branch(page_size, level, [UNSEALED, UNSEALED], &separator);
        self.edge.push(Dirty::branch(bytes, vec![Some(full), None]));
        Ok(())
    }

    /// Puts the edge back into the tree. Nodes at the edge that are too small are merged with
    /// their neighbours, or take slots from them.
    ///
    /// # Errors
    /// What reading the neighbours says.
    pub(crate) fn finish(mut self, edit: &mut Edit<'_>) -> Result<Tree> {
        let page_size = edit.pages.page_size();
        let mut level = 1;
        while level < self.edge.len() {
            let child =
                std::mem::replace(&mut self.edge[level - 1], Dirty::leaf(Buffer::zeroed(0)));
            let parent = &mut self.edge[level];
            let last = parent.node().count();
            parent.kids_mut()[last] = Some(child);
            if let Some(split) = edit.mend_child(parent, last)? {
                let SplitUp { separator, right } = split;
                let full = std::mem::replace(parent, right);
                self.carry(page_size, level + 1, full, separator)?;
            }
            level += 1;
        }
        if let Some(root) = self.edge.pop() {
            self.tree.root = Root::Dirty(root);
        }
        self.tree.collapse_root();
        Ok(self.tree)
    }
}

/// Checks that a key lies behind the last one of a leaf.
fn check_ascends(leaf: &Dirty, key: &[u8]) -> Result<()> {
    let node = leaf.node();
    if node.count() == 0 || node.ends_before(key) {
        return Ok(());
    }
    match node.key(node.count() - 1).as_slice().cmp(key) {
        Ordering::Less => Ok(()),
        Ordering::Equal => Err(Error::Duplicate),
        Ordering::Greater => {
            Err(Error::invalid("the keys of a bulk load ascend, and begin behind the last key"))
        }
    }
}
