//! What fuzz targets need of the codecs, which are private otherwise (layer L8).
//!
//! Owns: [`TreePage`], [`MetaPage`], [`Space`]: a page or a log that was decoded or built, with
//! every accessor and every change that the engine uses. Nothing here is part of the public
//! interface; it may change in any version.
//! Must not know: what a target asks, or what is right.
//! Keeps: nothing of its own; what is called here is the engine's code, unchanged.

use crate::buffer::Buffer;
use crate::catalog::{decode_inline, encode_inline};
use crate::error::Result;
use crate::meta::{CatalogPart, Meta, Slot};
use crate::node::{self, Encoded, Insertion, Node, NodeMut, Run, Sought, Touch, check_node};
use crate::page::{ChildRef, Extent, PageId, TxnId};
use crate::space::{FreeSpace, LogPage, Placement};

/// A value as a leaf of a file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// A reference to a run of pages.
    Run {
        /// Length of the value in bytes.
        len: u32,
        /// First page of the run.
        first: u32,
        /// Checksum of the run.
        checksum: u32,
    },
}

impl Value {
    fn encoded(&self) -> Encoded<'_> {
        Encoded::new(match self {
            Value::Inline(bytes) => node::Value::Inline(bytes),
            &Value::Run { len, first, checksum } => {
                node::Value::Overflow(Run { len, first: PageId(first), checksum })
            }
        })
    }
}

/// A value of a sealed page.
fn of_file(value: node::Value<'_>) -> Option<Value> {
    match value {
        node::Value::Inline(bytes) => Some(Value::Inline(bytes.to_vec())),
        node::Value::Overflow(run) => {
            Some(Value::Run { len: run.len, first: run.first.0, checksum: run.checksum })
        }
        node::Value::Unplaced { .. } => None,
    }
}

/// A child of a branch: page id and checksum.
pub type Child = (u32, u32);

fn reference((id, checksum): Child) -> ChildRef {
    ChildRef { id: PageId(id), checksum }
}

/// A leaf or a branch whose bytes were accepted, or built here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePage {
    bytes: Buffer,
}

/// A page split in two.
#[derive(Clone, Debug)]
pub struct Halves {
    /// The lower half.
    pub left: TreePage,
    /// Above the last key of the left half, and at most the first of the right one.
    pub separator: Vec<u8>,
    /// The upper half.
    pub right: TreePage,
    /// Slots (of a leaf) or children (of a branch) that went to the left.
    pub left_len: usize,
}

/// Two pages of the codec, whose types are its own.
macro_rules! halves {
    ($left:expr, $split:expr) => {{
        let split = $split;
        Halves {
            left: TreePage { bytes: $left },
            separator: split.separator,
            right: TreePage { bytes: split.right },
            left_len: split.left_len,
        }
    }};
}

impl TreePage {
    /// Takes bytes read from page `id` of a file of `page_count` pages.
    ///
    /// # Errors
    /// Corruption, for whatever is no leaf and no branch.
    pub fn decode(bytes: &[u8], id: u32, page_count: u32) -> Result<TreePage> {
        check_node(bytes, PageId(id), page_count)?;
        Ok(TreePage { bytes: bytes.into() })
    }

    /// A leaf of one entry.
    pub fn leaf(page_size: usize, key: &[u8], value: &Value) -> TreePage {
        TreePage { bytes: node::single_leaf(page_size, key, value.encoded().payload()) }
    }

    /// A branch of two children.
    pub fn branch(page_size: usize, level: u8, children: [Child; 2], key: &[u8]) -> TreePage {
        let children = children.map(reference);
        TreePage { bytes: node::single_branch(page_size, level, children, key) }
    }

    fn node(&self) -> Node<'_> {
        Node::new(&self.bytes)
    }

    fn node_mut(&mut self) -> NodeMut<'_> {
        NodeMut::new(&mut self.bytes)
    }

    /// The page.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a leaf.
    pub fn is_leaf(&self) -> bool {
        self.node().is_leaf()
    }

    /// Its level.
    pub fn level(&self) -> u8 {
        self.node().level()
    }

    /// Entries of a leaf, separators of a branch.
    pub fn count(&self) -> usize {
        self.node().count()
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.node().used()
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> &[u8] {
        self.node().prefix()
    }

    /// Whether slot `at` continues a run of ascending insertions.
    pub fn continues_run(&self, at: usize) -> bool {
        self.node().continues_run(at)
    }

    /// The slot that holds a key, or the slot where it belongs.
    ///
    /// # Errors
    /// The slot where the key belongs, when it is not there.
    pub fn search(&self, key: &[u8]) -> std::result::Result<usize, usize> {
        self.node().search(key)
    }

    /// The child of a branch whose keys include `key`.
    pub fn child_for(&self, key: &[u8]) -> usize {
        self.node().child_for(key)
    }

    /// What a lookup finds in a leaf under a key.
    pub fn find(&self, key: &[u8]) -> Option<Value> {
        let sought = Sought::new(key);
        let tie = self.node().tie(sought, Touch::Beginning)?;
        of_file(self.node().find_tied(tie, sought)?)
    }

    /// The child to which a lookup of a key goes on in a branch; `None` in a leaf.
    pub fn step_down(&self, key: &[u8]) -> Option<Child> {
        let child = self.node().step_down(Sought::new(key))?;
        Some((child.id.0, child.checksum))
    }

    /// The key of a slot.
    pub fn key(&self, at: usize) -> Vec<u8> {
        self.node().key(at)
    }

    /// The value of a slot of a leaf; `None` for what lives in memory only.
    pub fn value(&self, at: usize) -> Option<Value> {
        of_file(self.node().value(at))
    }

    /// A child of a branch.
    pub fn child(&self, at: usize) -> Child {
        let child = self.node().child(at);
        (child.id.0, child.checksum)
    }

    /// Inserts an entry at the slot that a search returned; `false` when it does not fit.
    #[must_use]
    pub fn insert_leaf(&mut self, at: usize, key: &[u8], value: &Value) -> bool {
        self.node_mut().insert_leaf(at, key, value.encoded().payload())
    }

    /// Inserts a separator and the child on its right; `false` when it does not fit.
    #[must_use]
    pub fn insert_branch(&mut self, at: usize, separator: &[u8], right: Child) -> bool {
        self.node_mut().insert_branch(at, separator, reference(right))
    }

    /// Removes an entry.
    pub fn remove_leaf(&mut self, at: usize) {
        self.node_mut().remove_leaf(at);
    }

    /// Removes a child, with the separator on its left, or on its right for the first.
    pub fn remove_child(&mut self, at: usize) {
        self.node_mut().remove_child(at);
    }

    /// Replaces a child.
    pub fn set_child(&mut self, at: usize, child: Child) {
        self.node_mut().set_child(at, reference(child));
    }

    /// Overwrites a value of the same kind and length; `false` when it is of another.
    #[must_use]
    pub fn overwrite(&mut self, at: usize, value: &Value) -> bool {
        self.node_mut().overwrite_payload(at, value.encoded().payload())
    }

    /// Splits a full leaf while inserting an entry.
    pub fn split_leaf(&self, at: usize, key: &[u8], value: &Value, run: Ascending) -> Halves {
        let (encoded, ascending) = (value.encoded(), run == Ascending::Yes);
        let insertion = Insertion { at, key, payload: encoded.payload(), ascending };
        let mut left = self.bytes.clone();
        let split = node::split_leaf(&mut left, insertion);
        halves!(left, split)
    }

    /// Splits a full branch while inserting a separator and the child on its right.
    pub fn split_branch(&self, at: usize, separator: &[u8], right: Child) -> Halves {
        let mut left = self.bytes.clone();
        let split = node::split_branch(&mut left, at, separator, reference(right));
        halves!(left, split)
    }

    /// Merges two neighbours; `None` when one page cannot hold both.
    pub fn merge(&self, separator: &[u8], right: &TreePage) -> Option<TreePage> {
        node::merge(&self.bytes, separator, &right.bytes).map(|bytes| TreePage { bytes })
    }

    /// Shares the slots of two neighbours evenly; `None` when that does not fit.
    pub fn rebalance(&self, separator: &[u8], right: &TreePage) -> Option<Halves> {
        node::rebalance(&self.bytes, separator, &right.bytes)
            .map(|halves| halves!(halves.left, halves.split))
    }
}

/// Whether nothing lies behind a leaf that is split, so that keys come in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ascending {
    /// Nothing does.
    Yes,
    /// Something does, or nobody knows.
    No,
}

/// A meta page that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaPage {
    meta: Meta,
}

fn slot_of(number: u32) -> Slot {
    if number == 0 { Slot::Zero } else { Slot::One }
}

impl MetaPage {
    /// Takes the bytes of slot 0 or 1.
    ///
    /// # Errors
    /// Corruption, for whatever is no meta page of that slot.
    pub fn decode(bytes: &[u8], slot: u32) -> Result<MetaPage> {
        Meta::decode(bytes, slot_of(slot)).map(|meta| MetaPage { meta })
    }

    /// The page for slot 0 or 1, sealed.
    pub fn encode(&self, slot: u32) -> Vec<u8> {
        self.meta.encode(slot_of(slot))
    }

    /// The length that the file has at least, in bytes.
    pub fn file_len(&self) -> u64 {
        self.meta.file_len()
    }

    /// The items of the commit list: first page, pages.
    pub fn items(&self) -> Vec<(u32, u32)> {
        let items = self.meta.items.iter();
        items.map(|item| (item.extent.first.0, item.extent.pages)).collect()
    }

    /// Reads the inline catalog and writes it again; `None` when the catalog is a tree.
    ///
    /// # Errors
    /// Corruption, when it is no catalog.
    pub fn rewrite_catalog(&mut self) -> Result<Option<usize>> {
        let CatalogPart::Inline(bytes) = &mut self.meta.catalog else { return Ok(None) };
        let map = decode_inline(bytes, self.meta.buckets)?;
        *bytes = encode_inline(&map);
        Ok(Some(map.len()))
    }

    /// The free space of the state, if its log has no pages.
    ///
    /// # Errors
    /// Corruption, when the tail does not tell it.
    pub fn space(&self) -> Result<Space> {
        let Meta { txn, page_count, tail, .. } = &self.meta;
        FreeSpace::replay(*txn, *page_count, &[], tail).map(|space| Space { space })
    }
}

/// Where pages are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The smallest extent that is large enough.
    BestFit,
    /// The lowest.
    Lowest,
    /// The lowest in front of a page.
    Below(u32),
}

impl Place {
    fn placement(self) -> Placement {
        match self {
            Place::BestFit => Placement::BestFit,
            Place::Lowest => Placement::Below(PageId(u32::MAX)),
            Place::Below(page) => Placement::Below(PageId(page)),
        }
    }
}

/// Pages that lie side by side: the first, and how many.
pub type Pages = (u32, u32);

fn pages((first, pages): Pages) -> Extent {
    Extent { first: PageId(first), pages }
}

fn numbers(extent: Extent) -> Pages {
    (extent.first.0, extent.pages)
}

/// Free space, replayed from a log or made anew.
#[derive(Clone, Debug)]
pub struct Space {
    space: FreeSpace,
}

/// A page of the space log: its id, its checksum, its words.
pub type Log = (u32, u32, Vec<u32>);

impl Space {
    /// A fresh file of this many pages, all owned.
    pub fn new(page_count: u32) -> Space {
        Space { space: FreeSpace::new(page_count) }
    }

    /// Rebuilds the free space of state `txn` from its log, oldest page first.
    ///
    /// # Errors
    /// Corruption, when the log contradicts itself or leaves something open.
    pub fn replay(txn: u64, page_count: u32, log: &[Log], tail: &[u32]) -> Result<Space> {
        let page = |(id, checksum, words): &Log| {
            let (id, checksum, words) = (PageId(*id), *checksum, words.clone());
            LogPage { id, checksum, words }
        };
        let log: Vec<LogPage> = log.iter().map(page).collect();
        FreeSpace::replay(TxnId(txn), page_count, &log, tail).map(|space| Space { space })
    }

    /// Pages of the file.
    pub fn page_count(&self) -> u32 {
        self.space.page_count()
    }

    /// The free extents, by address.
    pub fn free(&self) -> Vec<Pages> {
        self.space.iter_free().map(numbers).collect()
    }

    /// The pending extents, by address.
    pub fn pending(&self) -> Vec<Pages> {
        self.space.iter_pending().map(numbers).collect()
    }

    /// How many pages are free, and how many pending.
    pub fn counts(&self) -> (u64, u64) {
        (self.space.free_pages(), self.space.pending_pages())
    }

    /// Free pages at the very end of the file.
    pub fn tail_free(&self) -> u32 {
        self.space.tail_free()
    }

    /// Begins the commit of `txn`; `pinned` are the snapshots that may be read, ascending.
    pub fn begin(&mut self, txn: u64, pinned: &[u64]) {
        let pinned: Vec<TxnId> = pinned.iter().copied().map(TxnId).collect();
        self.space.begin(TxnId(txn), &pinned);
    }

    /// Allocates pages that lie side by side.
    pub fn allocate(&mut self, count: u32, place: Place) -> Option<Pages> {
        self.space.allocate(count, place.placement()).map(numbers)
    }

    /// Allocates so many pages that lie side by side, or fewer.
    pub fn allocate_up_to(&mut self, count: u32, place: Place) -> Option<Pages> {
        self.space.allocate_up_to(count, place.placement()).map(numbers)
    }

    /// Frees pages that a state has, from state `birth` on.
    ///
    /// # Errors
    /// Corruption, when they are not those of a tree.
    pub fn release(&mut self, extent: Pages, birth: u64) -> Result<()> {
        self.space.release(pages(extent), TxnId(birth))
    }

    /// Lengthens the file to so many pages.
    pub fn grow(&mut self, page_count: u32) {
        self.space.grow(page_count);
    }

    /// Shortens the file to so many pages; what is cut off is free.
    pub fn cut(&mut self, page_count: u32) {
        self.space.cut(page_count);
    }

    /// Asks for a checkpoint in this commit.
    pub fn want_checkpoint(&mut self) {
        self.space.want_checkpoint(PageId(self.space.page_count() / 2));
    }

    /// How many log pages the commit must allocate. `words` are those of a tail and of a page.
    pub fn log_pages_needed(&self, words: (usize, usize)) -> u32 {
        self.space.log_pages_needed(words.0, words.1)
    }

    /// Ends the commit's changes; the words of the log pages that it writes.
    pub fn finish(&mut self, words: (usize, usize), log_pages: &[u32]) -> Vec<Vec<u32>> {
        let ids: Vec<PageId> = log_pages.iter().copied().map(PageId).collect();
        self.space.finish(words.0, words.1, &ids).pages
    }

    /// Records the checksum of the next log page.
    pub fn log_page_sealed(&mut self, id: u32, checksum: u32) {
        self.space.log_page_sealed(PageId(id), checksum);
    }

    /// The newest log page and its checksum.
    pub fn log_head(&self) -> Option<(u32, u32)> {
        self.space.log_head().map(|(id, checksum)| (id.0, checksum))
    }

    /// Log pages that the state retains.
    pub fn log_page_count(&self) -> u32 {
        self.space.log_page_count()
    }

    /// The words of the log's tail.
    pub fn tail(&self) -> Vec<u32> {
        self.space.tail().to_vec()
    }

    /// The commit is durable.
    pub fn installed(&mut self) {
        self.space.installed();
    }

    /// Takes back what the commit did.
    pub fn undo(&mut self) {
        self.space.undo();
    }
}

/// The checksum that the header of a page must hold.
pub fn page_checksum(bytes: &[u8]) -> u32 {
    crate::page::page_checksum(bytes)
}

/// The checksum of an overflow run.
pub fn run_checksum(first: u32, bytes: &[u8]) -> u32 {
    crate::page::run_checksum(PageId(first), bytes)
}
