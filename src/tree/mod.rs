//! Trees: state, lookup, and what they ask of the pages below (layer L4).
//!
//! Owns: [`Tree`], a persistent value: a clone is a savepoint, and dropping one undoes it.
//! Must not know: files, page ids to come, transactions.
//! Keeps: parent-holds-checksum, uniform-depth and child-not-newer (on the way down), entry-count.

mod bulk;
mod compare;
mod cursor;
mod draft;
mod hand;
mod insert;
mod large;
mod look;
pub(crate) mod newer;
mod plan;
mod release;
mod relocate;
mod remove;
mod repack;
mod seal;
mod share;
pub(crate) mod sparse;
#[cfg(test)]
mod tests;
mod together;
mod way;

pub(crate) use bulk::Append;
pub(crate) use cursor::{Cursor, Lent};
pub(crate) use draft::Draft;
pub(crate) use insert::fits_inline;
pub(crate) use large::{EarlyRun, Large, NewValue};
pub(crate) use look::{At, GROUP, PageLook, Recall, Seen, look, look_all, look_for_leaf};
use plan::Plan;
pub(crate) use relocate::Move;
pub(crate) use repack::Repack;
pub(crate) use seal::{PlacedRun, SealedSize, Sealer, sealed_size};
pub(crate) use together::TOGETHER;
pub(crate) use way::Condition;

use crate::arena::{Lines, prefetch_bytes};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::format::{HEADER_CHECKSUM, HEADER_LEVEL, HEADER_TXN};
use crate::invariant::Invariant;
use crate::node::{Begun, Node, Run, Value, run_pages};
use crate::page::{ChildRef, Extent, Page, PageId, TxnId, get_u32, get_u64, not_meant, too_new};
use crate::seeded::seeded;
use crate::sync::Arc;

/// Where trees read sealed pages from.
pub(crate) trait PageRead {
    /// The page size in bytes.
    fn page_size(&self) -> usize;

    /// A leaf or branch, checked against what its parent holds of it.
    ///
    /// # Errors
    /// Corruption when bytes and reference disagree; what the storage says.
    fn read_node(&self, child: ChildRef, expected: Expected) -> Result<Page>;

    /// Appends the value of an overflow run to `out`.
    ///
    /// # Errors
    /// Corruption when the run does not hash to its checksum; what the storage says.
    fn read_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()>;

    /// Seals bytes that were built here. Whoever gives the page up before it is written tells so
    /// by [`PageRead::forget`].
    fn seal(&self, bytes: Draft, id: PageId, txn: TxnId) -> Page {
        Page::seal(bytes.into_buffer(), id, txn)
    }

    /// Pages with these ids will not be written as they were sealed.
    fn forget(&self, _ids: &[PageId]) {}

    /// What [`look_for_leaf`] finds, where pages can be looked at.
    fn leaf_at_hand(&self, _root: At, _key: &[u8]) -> Option<(Page, Begun, Option<At>)> {
        None
    }

    /// Pages that a transaction may hold at most, so that others find room.
    fn held_max(&self) -> usize {
        usize::MAX
    }

    /// Where a page lies that will be wanted soon, if that is known.
    fn lines(&self, _id: PageId) -> Option<Lines> {
        None
    }

    /// A hint that a leaf will be searched soon.
    fn prefetch_search(&self, _leaf: ChildRef) {}
}

/// What a parent knows of a child beside its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) level: u8,
    /// The child was written by this transaction or an earlier one.
    pub(crate) txn_max: TxnId,
}

/// A page that a transaction gave up, and the transaction that had written it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freed {
    pub(crate) extent: Extent,
    /// `TxnId(0)` where it is not known.
    pub(crate) birth: TxnId,
}

/// A page that the running transaction owns. A clone shares it until either is written to.
#[derive(Clone, Debug)]
pub(crate) struct Dirty {
    pub(crate) bytes: Draft,
    /// Most leaves have nothing of it.
    beside: Option<Arc<Beside>>,
}

/// What belongs to a dirty page, and has no place in its bytes.
#[derive(Clone, Debug, Default)]
struct Beside {
    /// Of a branch: the children that are dirty too; their references in its bytes are stale.
    kids: Vec<Option<Dirty>>,
    /// Of a leaf: large values that no sealed page refers to.
    values: Vec<(u64, Large)>,
}

impl Dirty {
    fn leaf(bytes: Buffer) -> Dirty {
        Dirty { bytes: bytes.into(), beside: None }
    }

    fn branch(bytes: Buffer, kids: Vec<Option<Dirty>>) -> Dirty {
        Dirty { bytes: bytes.into(), beside: Some(Arc::new(Beside { kids, values: Vec::new() })) }
    }

    fn planned(plan: Plan) -> Dirty {
        Dirty { bytes: Draft::Planned(Arc::new(plan)), beside: None }
    }

    fn copy_of(page: &Page) -> Dirty {
        Dirty::instead_of(page, page.bytes().into())
    }

    /// What replaces a sealed page: other bytes, and the children of the same places.
    fn instead_of(page: &Page, bytes: Buffer) -> Dirty {
        let node = Node::new(page.bytes());
        if node.is_leaf() {
            Dirty::leaf(bytes)
        } else {
            Dirty::branch(bytes, vec![None; node.children()])
        }
    }

    /// The children of a branch, where they are dirty.
    #[inline]
    pub(crate) fn kids(&self) -> &[Option<Dirty>] {
        self.beside.as_ref().map_or(&[], |beside| &beside.kids)
    }

    #[inline]
    fn kids_mut(&mut self) -> &mut Vec<Option<Dirty>> {
        &mut self.beside_mut().kids
    }

    /// Takes the dirty children away.
    fn take_kids(&mut self) -> Vec<Option<Dirty>> {
        if self.kids().is_empty() { Vec::new() } else { std::mem::take(self.kids_mut()) }
    }

    /// The large values of a leaf, by their numbers.
    pub(crate) fn values(&self) -> &[(u64, Large)] {
        self.beside.as_ref().map_or(&[], |beside| &beside.values)
    }

    fn values_mut(&mut self) -> &mut Vec<(u64, Large)> {
        &mut self.beside_mut().values
    }

    #[inline]
    fn beside_mut(&mut self) -> &mut Beside {
        Arc::make_mut(self.beside.get_or_insert_default())
    }

    fn node(&self) -> Node<'_> {
        Node::new(&self.bytes)
    }

    fn level(&self) -> u8 {
        Node::new(self.bytes.source()).level()
    }

    /// Child `at` of a branch; `base` bounds the age of a sealed one.
    fn child(&self, pages: &dyn PageRead, at: usize, base: TxnId) -> Result<Held> {
        if let Some(kid) = &self.kids()[at] {
            return Ok(Held::Dirty(kid.clone()));
        }
        let expected = Expected { level: self.level() - 1, txn_max: base };
        pages.read_node(self.node().child(at), expected).map(Held::Clean)
    }

    fn value(&self, handle: u64) -> &Large {
        let found = self.values().iter().find(|(number, _)| *number == handle);
        &found.expect("a leaf holds the values of its unplaced cells").1
    }
}

/// A value where it lies.
pub(crate) enum Stored {
    /// A copy of what a leaf holds.
    Inline(Arc<[u8]>),
    Run(Run),
    Large(Large),
}

/// Where a tree begins.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// No entries, no pages.
    Empty,
    /// A sealed page at this level.
    Clean(ChildRef, u8),
    /// A page of the running transaction.
    Dirty(Dirty),
}

/// A tree as a value.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) root: Root,
    /// Number of entries.
    pub(crate) entries: u64,
    /// Pages of overflow runs.
    pub(crate) overflow_pages: u64,
    /// No sealed page of the tree is newer.
    pub(crate) txn: TxnId,
}

/// A node of either kind, held while it is read.
#[derive(Clone, Debug)]
enum Held {
    Clean(Page),
    Dirty(Dirty),
}

impl Held {
    fn node(&self) -> Node<'_> {
        match self {
            Held::Clean(page) => Node::new(page.bytes()),
            Held::Dirty(dirty) => dirty.node(),
        }
    }

    /// Where child `at` lies, if that is known.
    fn lines_of_child(&self, pages: &dyn PageRead, at: usize) -> Option<Lines> {
        if let Held::Dirty(dirty) = self
            && let Some(kid) = &dirty.kids()[at]
        {
            return Some(Lines::of(kid.bytes.source()));
        }
        pages.lines(self.node().child(at).id)
    }

    /// Reads child `at`; `base` bounds the age of what a dirty page points to.
    fn child(&self, pages: &dyn PageRead, at: usize, base: TxnId) -> Result<Held> {
        match self {
            Held::Dirty(dirty) => dirty.child(pages, at, base),
            Held::Clean(page) => {
                let node = Node::new(page.bytes());
                let expected = Expected { level: node.level() - 1, txn_max: page.txn() };
                pages.read_node(node.child(at), expected).map(Held::Clean)
            }
        }
    }

    /// Appends the value at `at` of a leaf to `out`.
    fn append_value(&self, pages: &dyn PageRead, at: usize, out: &mut Vec<u8>) -> Result<()> {
        match (self.node().value(at), self) {
            (Value::Inline(bytes), _) => out.extend_from_slice(bytes),
            (Value::Overflow(run), _) => pages.read_run(run, out)?,
            (Value::Unplaced { handle, .. }, Held::Dirty(dirty)) => {
                dirty.value(handle).append_to(pages, out)?;
            }
            (Value::Unplaced { .. }, Held::Clean(_)) => {
                return Err(Error::internal("a sealed page holds a value without pages"));
            }
        }
        Ok(())
    }
}

impl Tree {
    /// A tree without entries.
    pub(crate) fn empty() -> Tree {
        Tree { root: Root::Empty, entries: 0, overflow_pages: 0, txn: TxnId(0) }
    }

    /// Whether the running transaction changed a page of the tree.
    pub(crate) fn is_dirty(&self) -> bool {
        matches!(self.root, Root::Dirty(_))
    }

    fn held_root(&self, pages: &dyn PageRead) -> Result<Option<Held>> {
        match &self.root {
            Root::Empty => Ok(None),
            Root::Dirty(dirty) => Ok(Some(Held::Dirty(dirty.clone()))),
            Root::Clean(child, level) => {
                let expected = Expected { level: *level, txn_max: self.txn };
                pages.read_node(*child, expected).map(|page| Some(Held::Clean(page)))
            }
        }
    }

    /// The leaf and the slot that hold `key`.
    fn find(&self, pages: &dyn PageRead, key: &[u8]) -> Result<Option<(Held, usize)>> {
        let mut dirty = match &self.root {
            Root::Empty => return Ok(None),
            Root::Dirty(dirty) => dirty,
            Root::Clean(child, level) => {
                let expected = Expected { level: *level, txn_max: self.txn };
                return find_sealed(pages, *child, expected, key);
            }
        };
        loop {
            let node = dirty.node();
            if node.is_leaf() {
                return Ok(node.search(key).ok().map(|at| (Held::Dirty(dirty.clone()), at)));
            }
            let at = node.child_for(key);
            let Some(kid) = &dirty.kids()[at] else {
                let expected = Expected { level: node.level() - 1, txn_max: self.txn };
                return find_sealed(pages, node.child(at), expected, key);
            };
            dirty = kid;
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `NotFound`; what reading pages says.
    pub(crate) fn get(&self, pages: &dyn PageRead, key: &[u8]) -> Result<Vec<u8>> {
        let Some((held, at)) = self.find(pages, key)? else { return Err(Error::NotFound) };
        let mut value = Vec::new();
        held.append_value(pages, at, &mut value)?;
        Ok(value)
    }

    /// Where the value of a key lies.
    ///
    /// # Errors
    /// Those of [`Tree::get`].
    pub(crate) fn stored(&self, pages: &dyn PageRead, key: &[u8]) -> Result<Stored> {
        let Some((held, at)) = self.find(pages, key)? else { return Err(Error::NotFound) };
        match (held.node().value(at), &held) {
            (Value::Inline(bytes), _) => Ok(Stored::Inline(Arc::from(bytes))),
            (Value::Overflow(run), _) => Ok(Stored::Run(run)),
            (Value::Unplaced { handle, .. }, Held::Dirty(dirty)) => {
                Ok(Stored::Large(dirty.value(handle).clone()))
            }
            (Value::Unplaced { .. }, Held::Clean(_)) => {
                Err(Error::internal("a sealed page holds a value without pages"))
            }
        }
    }

    /// Whether the tree holds a key.
    ///
    /// # Errors
    /// What reading pages says.
    pub(crate) fn contains(&self, pages: &dyn PageRead, key: &[u8]) -> Result<bool> {
        self.find(pages, key).map(|found| found.is_some())
    }
}

/// The leaf and the slot that hold `key`, below a sealed page.
fn find_sealed(
    pages: &dyn PageRead,
    child: ChildRef,
    expected: Expected,
    key: &[u8],
) -> Result<Option<(Held, usize)>> {
    let found = find_below(pages, At { child, expected }, key)?;
    Ok(found.map(|(page, at)| (Held::Clean(page), at)))
}

/// The leaf and the slot that hold `key`, below a sealed page.
pub(crate) fn find_below(
    pages: &dyn PageRead,
    at: At,
    key: &[u8],
) -> Result<Option<(Page, usize)>> {
    let At { mut child, mut expected } = at;
    loop {
        let page = pages.read_node(child, expected)?;
        let node = Node::new(page.bytes());
        if node.is_leaf() {
            return Ok(node.search(key).ok().map(|at| (page, at)));
        }
        child = node.child(node.child_for(key));
        expected = Expected { level: node.level() - 1, txn_max: page.txn() };
    }
}

/// What a change of a tree needs.
pub(crate) struct Edit<'a> {
    pub(crate) pages: &'a dyn PageRead,
    /// Sealed pages that the tree no longer uses.
    pub(crate) freed: &'a mut Vec<Freed>,
    /// Numbers for values without pages.
    pub(crate) next_handle: &'a mut u64,
    /// Bytes of the entries that were put, and of the first pages of trees.
    pub(crate) entered: &'a mut u64,
    /// The newest transaction whose pages the tree may hold.
    pub(crate) base: TxnId,
}

impl Edit<'_> {
    /// Makes the root dirty. The tree is not empty.
    fn dirty_root<'t>(&mut self, tree: &'t mut Tree) -> Result<&'t mut Dirty> {
        if let Root::Clean(child, level) = tree.root {
            let expected = Expected { level, txn_max: tree.txn };
            tree.root = Root::Dirty(self.copy(child, expected)?);
        }
        match &mut tree.root {
            Root::Dirty(dirty) => Ok(dirty),
            _ => Err(Error::internal("an empty tree has no root")),
        }
    }

    /// Makes child `at` of a branch dirty.
    fn dirty_child<'n>(&mut self, parent: &'n mut Dirty, at: usize) -> Result<&'n mut Dirty> {
        if parent.kids()[at].is_none() {
            let node = parent.node();
            let expected = Expected { level: node.level() - 1, txn_max: self.base };
            let child = node.child(at);
            parent.kids_mut()[at] = Some(self.copy(child, expected)?);
        }
        match &mut parent.kids_mut()[at] {
            Some(kid) => {
                prefetch_bytes(kid.bytes.built(), LINES);
                Ok(kid)
            }
            None => Err(Error::internal("a child that was made dirty is not")),
        }
    }

    fn copy(&mut self, child: ChildRef, expected: Expected) -> Result<Dirty> {
        let page = self.pages.read_node(child, expected)?;
        self.free_page(&page);
        Ok(Dirty::copy_of(&page))
    }

    fn free_page(&mut self, page: &Page) {
        self.freed.push(Freed { extent: Extent::one(page.id()), birth: page.txn() });
    }

    /// Gives up the pages that a leaf's cell refers to. Returns how many there were or would be.
    fn free_value(&mut self, value: Value<'_>) -> u64 {
        let page_size = self.pages.page_size();
        match value {
            Value::Inline(_) => 0,
            Value::Overflow(run) => {
                let extent = run.extent(page_size);
                if !seeded!(ReplacedRunNotFreed) {
                    self.freed.push(Freed { extent, birth: TxnId(0) });
                }
                u64::from(extent.pages)
            }
            Value::Unplaced { len, .. } => u64::from(run_pages(len, page_size)),
        }
    }
}

/// Lines at the beginning of a dirty page that are asked for before it is searched.
const LINES: usize = 14;

/// Checks what only the reader of a page can check: that it is the child its parent means.
pub(crate) fn check_child(bytes: &[u8], child: ChildRef, expected: Expected) -> Result<()> {
    let (id, found) = (Some(child.id.0), get_u32(bytes, HEADER_CHECKSUM));
    if found != child.checksum && !seeded!(ChildChecksumNotCompared) {
        return Err(not_meant(child, found));
    }
    let level = bytes[HEADER_LEVEL];
    if level != expected.level && !seeded!(LevelNotCompared | CyclicChildAccepted) {
        let invariant = Invariant::UniformDepth;
        return Err(Error::corruption(id, invariant, expected.level, level));
    }
    let txn = TxnId(get_u64(bytes, HEADER_TXN));
    if txn > expected.txn_max && !seeded!(ChildTxnNotCompared) {
        return Err(too_new(child.id, expected.txn_max, txn));
    }
    Ok(())
}

/// A child reference that a dirty child will fill in when it is sealed.
const UNSEALED: ChildRef = ChildRef { id: PageId::NONE, checksum: 0 };
