//! The meta page (layer L3).
//!
//! Owns: [`Meta`] and its encoding in a slot. Must not know: files, or what the catalog and the
//! space log mean. Keeps: meta-lists-pages, bytes-never-panic.

use crate::error::{Error, Result};
use crate::format::{
    FORMAT_VERSION, HEADER_KIND, HEADER_TXN, KIND_META, LEVELS_MAX, MAGIC, META_BODY, META_BUCKETS,
    META_CATALOG_CHECKSUM, META_CATALOG_LEN, META_CATALOG_LEVEL, META_CATALOG_ROOT,
    META_FLAG_CATALOG_TREE, META_FLAG_MIRROR, META_FLAGS, META_ITEM_LEN, META_ITEM_RUN, META_ITEMS,
    META_LOG_CHECKSUM, META_LOG_HEAD, META_LOG_PAGES, META_MAGIC, META_PAGE_COUNT, META_PAGE_SIZE,
    META_SLOTS, META_TAIL_WORDS, META_VERSION, ONE_BARRIER_PAGES_MAX, PAGE_SIZE_MAX, PAGE_SIZE_MIN,
    meta_catalog_max,
};
use crate::invariant::{Invariant, invariant};
use crate::page::{
    ChildRef, Extent, PageId, TxnId, check_bytes, get_u32, get_u64, put_u32, seal_bytes,
};

/// One of the two meta slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Zero,
    One,
}

impl Slot {
    pub(crate) fn other(self) -> Slot {
        match self {
            Slot::Zero => Slot::One,
            Slot::One => Slot::Zero,
        }
    }

    pub(crate) fn page(self) -> PageId {
        match self {
            Slot::Zero => PageId(0),
            Slot::One => PageId(1),
        }
    }
}

/// A page or run that a commit wrote, and what it must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) extent: Extent,
    pub(crate) checksum: u32,
    /// The checksum is an overflow run's, not a page's own.
    pub(crate) is_run: bool,
}

/// The catalog, as the meta page holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CatalogPart {
    Inline(Vec<u8>),
    Tree(ChildRef, u8),
}

/// A committed state, as far as the meta page holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) txn: TxnId,
    pub(crate) page_size: usize,
    pub(crate) page_count: u32,
    /// A copy of a state that was durable in the other slot already.
    pub(crate) is_mirror: bool,
    pub(crate) buckets: u32,
    pub(crate) catalog: CatalogPart,
    pub(crate) log_head: Option<ChildRef>,
    pub(crate) log_pages: u32,
    /// What the commit wrote, by page; empty when a data barrier came first.
    pub(crate) items: Vec<Item>,
    pub(crate) tail: Vec<u32>,
}

fn word(value: usize) -> u32 {
    u32::try_from(value).expect("what lies in a page fits 32 bits")
}

impl Meta {
    /// A copy for the other slot: of what is durable, so that it need not list it.
    pub(crate) fn mirror(&self) -> Meta {
        Meta { is_mirror: true, items: Vec::new(), ..self.clone() }
    }

    /// The length that the file has at least, in bytes.
    pub(crate) fn file_len(&self) -> u64 {
        u64::from(self.page_count) * self.page_size as u64
    }

    /// The page for a slot, sealed.
    pub(crate) fn encode(&self, slot: Slot) -> Vec<u8> {
        let mut out = vec![0; self.page_size];
        out[HEADER_KIND] = KIND_META;
        out[META_MAGIC..META_MAGIC + MAGIC.len()].copy_from_slice(&MAGIC);
        put_u32(&mut out, META_VERSION, FORMAT_VERSION);
        put_u32(&mut out, META_PAGE_SIZE, word(self.page_size));
        put_u32(&mut out, META_PAGE_COUNT, self.page_count);
        put_u32(&mut out, META_BUCKETS, self.buckets);
        if let Some(head) = self.log_head {
            put_u32(&mut out, META_LOG_HEAD, head.id.0);
            put_u32(&mut out, META_LOG_CHECKSUM, head.checksum);
        }
        put_u32(&mut out, META_LOG_PAGES, self.log_pages);
        let mut flags = if self.is_mirror { META_FLAG_MIRROR } else { 0 };
        let mut inline: &[u8] = &[];
        match &self.catalog {
            CatalogPart::Inline(bytes) => inline = bytes,
            CatalogPart::Tree(root, level) => {
                flags |= META_FLAG_CATALOG_TREE;
                put_u32(&mut out, META_CATALOG_ROOT, root.id.0);
                put_u32(&mut out, META_CATALOG_CHECKSUM, root.checksum);
                put_u32(&mut out, META_CATALOG_LEVEL, u32::from(*level));
            }
        }
        put_u32(&mut out, META_FLAGS, flags);
        put_u32(&mut out, META_CATALOG_LEN, word(inline.len()));
        put_u32(&mut out, META_ITEMS, word(self.items.len()));
        put_u32(&mut out, META_TAIL_WORDS, word(self.tail.len()));
        self.encode_body(&mut out, inline);
        seal_bytes(&mut out, slot.page(), self.txn);
        out
    }

    fn encode_body(&self, out: &mut [u8], inline: &[u8]) {
        let mut at = META_BODY;
        let end = at + inline.len() + self.items.len() * META_ITEM_LEN + self.tail.len() * 4;
        invariant!(MetaListsPages, end <= out.len(), "a meta page of {end} bytes");
        out[at..at + inline.len()].copy_from_slice(inline);
        at += inline.len();
        for item in &self.items {
            put_u32(out, at, item.extent.first.0);
            put_u32(out, at + 4, item.extent.pages | if item.is_run { META_ITEM_RUN } else { 0 });
            put_u32(out, at + 8, item.checksum);
            at += META_ITEM_LEN;
        }
        for &tail_word in &self.tail {
            put_u32(out, at, tail_word);
            at += 4;
        }
    }

    /// Reads the page of a slot.
    ///
    /// # Errors
    /// Corruption, for whatever is not what [`Meta::encode`] makes.
    pub(crate) fn decode(bytes: &[u8], slot: Slot) -> Result<Meta> {
        let page_size = page_size_of(bytes, slot)?;
        let broken = |expected: &str, found: u32| {
            Error::corruption(Some(slot.page().0), Invariant::ValidMetaWhole, expected, found)
        };
        if bytes.len() != page_size {
            return Err(broken("a whole page", word(bytes.len())));
        }
        check_bytes(bytes, slot.page())?;
        let field = |at| get_u32(bytes, at);
        let flags = field(META_FLAGS);
        if bytes[HEADER_KIND] != KIND_META || flags > META_FLAG_CATALOG_TREE + META_FLAG_MIRROR {
            return Err(broken("a meta page's kind and flags", flags));
        }
        let txn = TxnId(get_u64(bytes, HEADER_TXN));
        if txn.0 == u64::MAX {
            return Err(broken("a transaction that another may follow", u32::MAX));
        }
        let page_count = field(META_PAGE_COUNT);
        let in_file = |id: u32| id >= META_SLOTS && id < page_count;
        let mut body = Body { bytes, at: META_BODY };
        let inline =
            body.take(field(META_CATALOG_LEN), 1).ok_or_else(|| broken("a body", 0))?.to_vec();
        let items =
            body.take(field(META_ITEMS), META_ITEM_LEN).ok_or_else(|| broken("a body", 1))?;
        let tail = body.take(field(META_TAIL_WORDS), 4).ok_or_else(|| broken("a body", 2))?;
        let catalog = if flags & META_FLAG_CATALOG_TREE == 0 {
            // A longer one would leave no room for what commits add to the page.
            if inline.len() > meta_catalog_max(page_size) {
                return Err(broken("a catalog short enough to be inline", word(inline.len())));
            }
            CatalogPart::Inline(inline)
        } else {
            let (id, level) = (field(META_CATALOG_ROOT), field(META_CATALOG_LEVEL));
            let level = u8::try_from(level).ok().filter(|&level| level < LEVELS_MAX);
            let level =
                level.ok_or_else(|| broken("a catalog's level", field(META_CATALOG_LEVEL)))?;
            if !in_file(id) {
                return Err(broken("a catalog within the file", id));
            }
            let checksum = field(META_CATALOG_CHECKSUM);
            CatalogPart::Tree(ChildRef { id: PageId(id), checksum }, level)
        };
        let (head, log_pages) = (field(META_LOG_HEAD), field(META_LOG_PAGES));
        if page_count < META_SLOTS || log_pages > page_count || (log_pages > 0) != in_file(head) {
            return Err(broken("a space log within the file", head));
        }
        let checksum = field(META_LOG_CHECKSUM);
        Ok(Meta {
            txn,
            page_size,
            page_count,
            is_mirror: flags & META_FLAG_MIRROR != 0,
            buckets: field(META_BUCKETS),
            catalog,
            log_head: (log_pages > 0).then_some(ChildRef { id: PageId(head), checksum }),
            log_pages,
            items: decode_items(items, page_count)
                .ok_or_else(|| broken("few items, in order", page_count))?,
            tail: tail.chunks_exact(4).map(|word| get_u32(word, 0)).collect(),
        })
    }
}

/// The items, in ascending order within the file; of so few pages that all can be in memory.
fn decode_items(bytes: &[u8], page_count: u32) -> Option<Vec<Item>> {
    let mut end = META_SLOTS;
    let mut items = Vec::with_capacity(bytes.len() / META_ITEM_LEN);
    for item in bytes.chunks_exact(META_ITEM_LEN) {
        let (first, pages) = (get_u32(item, 0), get_u32(item, 4));
        let is_run = pages & META_ITEM_RUN != 0;
        let pages = pages & !META_ITEM_RUN;
        let is_sound = first >= end && pages > 0 && (is_run || pages == 1);
        end = first.checked_add(pages).filter(|&end| is_sound && end <= page_count)?;
        let extent = Extent { first: PageId(first), pages };
        items.push(Item { extent, checksum: get_u32(item, 8), is_run });
    }
    let pages: u64 = items.iter().map(|item| u64::from(item.extent.pages)).sum();
    (pages <= u64::from(ONE_BARRIER_PAGES_MAX)).then_some(items)
}

struct Body<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Body<'a> {
    /// The next `count` fields of `len` bytes, if they lie in the page.
    fn take(&mut self, count: u32, len: usize) -> Option<&'a [u8]> {
        let len = (count as usize).checked_mul(len)?;
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}

/// Whether these first [`META_BODY`] bytes of a slot are those of a later state than the first one,
/// or of another version. Nothing else of them is looked at: the page may be damaged.
pub(crate) fn is_of_a_commit(bytes: &[u8]) -> bool {
    let is_new = get_u32(bytes, META_VERSION) == FORMAT_VERSION && get_u64(bytes, HEADER_TXN) == 0;
    bytes[META_MAGIC..META_MAGIC + MAGIC.len()] == MAGIC && !is_new
}

/// The page size that the meta page of a slot states, read before anything of it is trusted.
///
/// # Errors
/// Corruption when the bytes are no meta page of a format that this crate reads.
pub(crate) fn page_size_of(bytes: &[u8], slot: Slot) -> Result<usize> {
    let broken = |expected: &str, found: &dyn std::fmt::Display| {
        Error::corruption(Some(slot.page().0), Invariant::ValidMetaWhole, expected, found)
    };
    if bytes.len() < META_BODY {
        return Err(broken("a meta page", &format_args!("{} bytes", bytes.len())));
    }
    if bytes[META_MAGIC..META_MAGIC + MAGIC.len()] != MAGIC {
        return Err(broken("the magic number", &"another"));
    }
    let version = get_u32(bytes, META_VERSION);
    if version != FORMAT_VERSION {
        return Err(broken("format version 1", &version));
    }
    let page_size = get_u32(bytes, META_PAGE_SIZE);
    if !page_size.is_power_of_two() || !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size) {
        return Err(broken("a page size", &page_size));
    }
    Ok(page_size as usize)
}
