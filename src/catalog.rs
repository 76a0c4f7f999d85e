//! The bucket catalog: names to trees (layer L4).
//!
//! Owns: [`Catalog`], kept in the meta page while it is small and in a tree of its own after
//! that. Must not know: transactions, files. Keeps: entry-count (of buckets).

use crate::error::{Error, Result};
use crate::format::{BUCKET_LEN, LEVELS_MAX, META_SLOTS, meta_catalog_max};
use crate::invariant::Invariant;
use crate::meta::CatalogPart;
use crate::node::{Node, Run, Value};
use crate::page::{ChildRef, Page, PageId, TxnId, get_u16, get_u32, get_u64, put_u32, put_u64};
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::tree::newer::Visit;
use crate::tree::{Cursor, Edit, PageRead, Root, Tree};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// What the catalog holds of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The root and its level; `None` for an empty bucket.
    pub(crate) root: Option<(ChildRef, u8)>,
    pub(crate) entries: u64,
    pub(crate) overflow_pages: u64,
}

impl Record {
    /// The record of a sealed tree.
    pub(crate) fn of(tree: &Tree) -> Record {
        let root = match tree.root {
            Root::Clean(child, level) => Some((child, level)),
            Root::Empty | Root::Dirty(_) => None,
        };
        Record { root, entries: tree.entries, overflow_pages: tree.overflow_pages }
    }

    /// The tree, in a state of transaction `txn`.
    pub(crate) fn tree(self, txn: TxnId) -> Tree {
        let root = self.root.map_or(Root::Empty, |(child, level)| Root::Clean(child, level));
        Tree { root, entries: self.entries, overflow_pages: self.overflow_pages, txn }
    }

    pub(crate) fn encode(self) -> [u8; BUCKET_LEN] {
        let mut out = [0; BUCKET_LEN];
        if let Some((child, level)) = self.root {
            put_u32(&mut out, 0, child.id.0);
            put_u32(&mut out, 4, child.checksum);
            put_u32(&mut out, 8, u32::from(level));
        }
        put_u64(&mut out, 12, self.entries);
        put_u64(&mut out, 20, self.overflow_pages);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Record> {
        let broken = |found: &dyn std::fmt::Display| {
            Error::corruption(None, Invariant::EntryCount, "a bucket's record", found)
        };
        if bytes.len() != BUCKET_LEN {
            return Err(broken(&bytes.len()));
        }
        let id = PageId(get_u32(bytes, 0));
        let level = get_u32(bytes, 8);
        let (entries, overflow_pages) = (get_u64(bytes, 12), get_u64(bytes, 20));
        let root = match u8::try_from(level) {
            Ok(level) if id.0 >= META_SLOTS && level < LEVELS_MAX => {
                Some((ChildRef { id, checksum: get_u32(bytes, 4) }, level))
            }
            Ok(0) if id == PageId::NONE && entries == 0 => None,
            _ => return Err(broken(&format_args!("root {id} at level {level}"))),
        };
        Ok(Record { root, entries, overflow_pages })
    }
}

/// The buckets of a state.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) buckets: u32,
    pub(crate) names: Names,
}

/// Where the names are.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    Inline(Arc<BTreeMap<Vec<u8>, Record>>),
    Tree(Tree),
}

/// Shows the pages of a catalog to somebody, and reads its leaves.
struct Listing<'a> {
    visit: &'a mut dyn Visit,
    all: Vec<(Vec<u8>, Record)>,
}

impl Visit for Listing<'_> {
    fn page(&mut self, page: &Page) -> Result<()> {
        self.visit.page(page)?;
        let node = Node::new(page.bytes());
        let leaves = if node.is_leaf() { node.count() } else { 0 };
        for at in 0..leaves {
            let record = match node.value(at) {
                Value::Inline(record) => record,
                Value::Overflow(_) | Value::Unplaced { .. } => &[],
            };
            self.all.push((node.key(at), Record::decode(record)?));
        }
        Ok(())
    }

    fn run(&mut self, run: Run) -> Result<()> {
        self.visit.run(run)
    }
}

/// A bucket's name, which is text.
///
/// # Errors
/// Corruption.
pub(crate) fn shown_name(name: &[u8]) -> Result<&str> {
    std::str::from_utf8(name).map_err(|_| {
        let invariant = Invariant::BytesNeverPanic;
        Error::corruption(None, invariant, "a bucket's name in UTF-8", "other bytes")
    })
}

/// Names as text, one behind the other.
///
/// # Errors
/// Corruption.
pub(crate) fn shown_names<'n>(names: impl Iterator<Item = &'n Vec<u8>>) -> Result<Vec<String>> {
    names.map(|name| shown_name(name).map(str::to_owned)).collect()
}

/// Bytes of one bucket in the inline catalog.
fn inline_len(name: &[u8]) -> usize {
    2 + name.len() + BUCKET_LEN
}

impl Catalog {
    /// The bucket's tree, in a state of transaction `txn`.
    pub(crate) fn find(
        &self,
        pages: &dyn PageRead,
        name: &[u8],
        txn: TxnId,
    ) -> Result<Option<Tree>> {
        let mut place = None;
        let record = self.find_record(pages, name, &mut place)?;
        Ok(record.map(|record| record.tree(txn)))
    }

    /// The bucket's record: where it lies already, or in `place`. A reader begins with this call,
    /// and moving the record would cost more than finding it.
    #[inline]
    pub(crate) fn find_record<'a>(
        &'a self,
        pages: &dyn PageRead,
        name: &[u8],
        place: &'a mut Option<Record>,
    ) -> Result<Option<&'a Record>> {
        match &self.names {
            Names::Inline(map) => Ok(map.get(name)),
            Names::Tree(tree) => match tree.get(pages, name) {
                Ok(bytes) => Ok(Some(place.insert(Record::decode(&bytes)?))),
                Err(Error::NotFound) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// All buckets by name.
    pub(crate) fn list(&self, pages: &dyn PageRead) -> Result<Vec<(Vec<u8>, Record)>> {
        match &self.names {
            Names::Inline(map) => Ok(map.iter().map(|(n, r)| (n.clone(), *r)).collect()),
            Names::Tree(tree) => {
                let mut cursor = Cursor::new(tree.clone());
                let (mut name, mut bytes) = (Vec::new(), Vec::new());
                let mut all = Vec::new();
                while cursor.next(pages, &mut name, &mut bytes)? {
                    all.push((name.clone(), Record::decode(&bytes)?));
                }
                Ok(all)
            }
        }
    }

    /// Calls `each` with the names from `from` on, in their order, until it breaks.
    pub(crate) fn for_each_from(
        &self,
        pages: &dyn PageRead,
        from: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        match &self.names {
            Names::Inline(map) => {
                let names = map.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
                for (name, _) in names {
                    if each(name)?.is_break() {
                        break;
                    }
                }
            }
            Names::Tree(tree) => {
                let mut cursor = Cursor::bounded(tree.clone(), from.to_vec(), None);
                let (mut name, mut record) = (Vec::new(), Vec::new());
                while cursor.next(pages, &mut name, &mut record)? && each(&name)?.is_continue() {}
            }
        }
        Ok(())
    }

    /// Visits the pages of the catalog itself that transactions behind `since` wrote, or all of
    /// them. Returns the buckets to which they refer, and those of a catalog without pages; all
    /// that is newer belongs to one of these.
    pub(crate) fn visit_newer(
        &self,
        pages: &dyn PageRead,
        since: Option<TxnId>,
        visit: &mut dyn Visit,
    ) -> Result<Vec<(Vec<u8>, Record)>> {
        let Names::Tree(tree) = &self.names else { return self.list(pages) };
        let mut listing = Listing { visit, all: Vec::new() };
        let visited = tree.visit_newer(pages, since, &mut listing)?;
        if since.is_none() && visited.entries != tree.entries {
            let (expected, found) = (tree.entries, visited.entries);
            return Err(Error::corruption(None, Invariant::EntryCount, expected, found));
        }
        Ok(listing.all)
    }

    /// Adds or replaces a bucket.
    pub(crate) fn put(&mut self, edit: &mut Edit<'_>, name: &[u8], record: Record) -> Result<()> {
        match &mut self.names {
            Names::Inline(map) => {
                Arc::make_mut(map).insert(name.to_vec(), record);
                let bytes: usize = map.keys().map(|name| inline_len(name)).sum();
                if bytes.next_multiple_of(4) > meta_catalog_max(edit.pages.page_size()) {
                    let mut tree = Tree::empty();
                    for (name, record) in map.iter() {
                        tree.put(edit, name, &record.encode())?;
                    }
                    self.names = Names::Tree(tree);
                }
            }
            Names::Tree(tree) => tree.put(edit, name, &record.encode())?,
        }
        self.recount()
    }

    /// Removes a bucket.
    pub(crate) fn remove(&mut self, edit: &mut Edit<'_>, name: &[u8]) -> Result<()> {
        match &mut self.names {
            Names::Inline(map) => {
                Arc::make_mut(map).remove(name);
                if seeded!(DroppedBucketStillCounted) {
                    return Ok(());
                }
            }
            Names::Tree(tree) => {
                tree.del(edit, name)?;
                if tree.entries == 0 {
                    self.names = Names::Inline(Arc::default());
                }
            }
        }
        self.recount()
    }

    fn recount(&mut self) -> Result<()> {
        let buckets = match &self.names {
            Names::Inline(map) => map.len() as u64,
            Names::Tree(tree) => tree.entries,
        };
        self.buckets = u32::try_from(buckets)
            .map_err(|_| Error::no_space("numbers of buckets have run out"))?;
        Ok(())
    }
}

/// The inline form: for each bucket its name's length u16, its name, its record; padded to 4.
pub(crate) fn encode_inline(map: &BTreeMap<Vec<u8>, Record>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, record) in map {
        let len = u16::try_from(name.len()).expect("a name is as short as a key");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(name);
        out.extend_from_slice(&record.encode());
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Reads the inline form of `buckets` buckets.
pub(crate) fn decode_inline(bytes: &[u8], buckets: u32) -> Result<BTreeMap<Vec<u8>, Record>> {
    let broken =
        || Error::corruption(None, Invariant::EntryCount, "an inline catalog", bytes.len());
    let mut map = BTreeMap::new();
    let mut rest = bytes;
    for _ in 0..buckets {
        if rest.len() < 2 {
            return Err(broken());
        }
        let len = usize::from(get_u16(rest, 0));
        let record = rest.get(2 + len..2 + len + BUCKET_LEN).ok_or_else(broken)?;
        let name = rest[2..2 + len].to_vec();
        let is_new = map.last_key_value().is_none_or(|(last, _)| *last < name);
        if len == 0 || !is_new {
            return Err(broken());
        }
        map.insert(name, Record::decode(record)?);
        rest = &rest[2 + len + BUCKET_LEN..];
    }
    if rest.len() >= 4 || rest.iter().any(|&byte| byte != 0) {
        return Err(broken());
    }
    Ok(map)
}

impl Catalog {
    /// The part that the meta page holds. The catalog is sealed.
    pub(crate) fn to_part(&self) -> CatalogPart {
        match &self.names {
            Names::Inline(map) => CatalogPart::Inline(encode_inline(map)),
            Names::Tree(tree) => match tree.root {
                Root::Clean(child, level) => CatalogPart::Tree(child, level),
                Root::Empty | Root::Dirty(_) => unreachable!("a catalog tree is sealed, not empty"),
            },
        }
    }

    /// The catalog of a meta page of transaction `txn`.
    pub(crate) fn from_part(part: &CatalogPart, buckets: u32, txn: TxnId) -> Result<Catalog> {
        let names = match part {
            CatalogPart::Inline(bytes) => Names::Inline(Arc::new(decode_inline(bytes, buckets)?)),
            CatalogPart::Tree(child, level) => Names::Tree(Tree {
                root: Root::Clean(*child, *level),
                entries: u64::from(buckets),
                overflow_pages: 0,
                txn,
            }),
        };
        Ok(Catalog { buckets, names })
    }
}
