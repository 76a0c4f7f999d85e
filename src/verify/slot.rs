//! A meta slot, read on its own (part of verify, layer L5).
//!
//! Owns: [`Meta`]: what makes a page a candidate, which is what recovery asks for and no more,
//! and what else the format asks of it.
//! Must not know: the other slot, or what the parts of the page mean.

use super::findings::{Checked, Flaw, all_zero};
use super::page_checksum;
use crate::format::{
    FORMAT_VERSION, HEADER_CHECKSUM, HEADER_ID, HEADER_KIND, HEADER_LEN, HEADER_TXN, KIND_META,
    LEVELS_MAX, MAGIC, META_BODY, META_CATALOG_CHECKSUM, META_CATALOG_LEN, META_CATALOG_LEVEL,
    META_CATALOG_ROOT, META_FLAG_CATALOG_TREE, META_FLAG_MIRROR, META_FLAGS, META_ITEM_LEN,
    META_ITEM_RUN, META_ITEMS, META_LOG_CHECKSUM, META_LOG_HEAD, META_LOG_PAGES, META_MAGIC,
    META_PAGE_COUNT, META_PAGE_SIZE, META_SLOTS, META_SPARE, META_TAIL_WORDS, META_VERSION,
    ONE_BARRIER_PAGES_MAX, PAGE_SIZE_MAX, PAGE_SIZE_MIN, meta_catalog_max, meta_items_max,
    meta_tail_words_max,
};
use crate::invariant::Invariant;
use crate::page::{get_u32, get_u64};

/// A pointer to a page, and what its header must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) id: u32,
    pub(super) checksum: u32,
    /// Whoever points was written by this transaction; the page is not newer.
    pub(super) txn_max: u64,
}

/// A page or a run that the commit wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) first: u32,
    pub(super) pages: u32,
    pub(super) checksum: u32,
    pub(super) is_run: bool,
}

/// A meta page that recovery would take for one.
pub(super) struct Meta {
    /// The slot, 0 or 1, and the page's id.
    pub(super) slot: u8,
    pub(super) bytes: Vec<u8>,
    items_at: usize,
    tail_at: usize,
    end: usize,
}

/// The page size that a meta page tells, of which the first `META_BODY` bytes are given.
pub(super) fn page_size_of(bytes: &[u8]) -> Checked<usize> {
    let whole = Invariant::ValidMetaWhole;
    if bytes[META_MAGIC..META_MAGIC + MAGIC.len()] != MAGIC {
        return Err(Flaw::new(whole, "the magic number", "another"));
    }
    let version = get_u32(bytes, META_VERSION);
    if version != FORMAT_VERSION {
        return Err(Flaw::new(whole, format_args!("version {FORMAT_VERSION}"), version));
    }
    let page_size = get_u32(bytes, META_PAGE_SIZE);
    if !page_size.is_power_of_two() || !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size) {
        return Err(Flaw::new(whole, "a page size", page_size));
    }
    Ok(page_size as usize)
}

impl Meta {
    /// Accepts what recovery accepts.
    pub(super) fn decode(bytes: Vec<u8>, slot: u8) -> Checked<Meta> {
        let whole = Invariant::ValidMetaWhole;
        let page_size = page_size_of(&bytes)?;
        if page_size != bytes.len() {
            return Err(Flaw::new(whole, format_args!("pages of {}", bytes.len()), page_size));
        }
        let (stored, computed) = (get_u32(&bytes, HEADER_CHECKSUM), page_checksum(&bytes));
        if stored != computed {
            let (expected, found) = (format!("{computed:#010x}"), format!("{stored:#010x}"));
            return Err(Flaw::new(Invariant::ChecksumCoversPage, expected, found));
        }
        let id = get_u32(&bytes, HEADER_ID);
        if id != u32::from(slot) {
            return Err(Flaw::new(Invariant::PageKnowsItsId, slot, id));
        }
        if bytes[HEADER_KIND] != KIND_META {
            return Err(Flaw::new(whole, "a meta page", format_args!("kind {}", bytes[16])));
        }
        let size = |count: usize, len: usize| (get_u32(&bytes, count) as usize).checked_mul(len);
        let after = |at: Option<usize>, len: Option<usize>| {
            at?.checked_add(len?).filter(|&end| end <= bytes.len())
        };
        let items_at = after(Some(META_BODY), size(META_CATALOG_LEN, 1));
        let tail_at = after(items_at, size(META_ITEMS, META_ITEM_LEN));
        let end = after(tail_at, size(META_TAIL_WORDS, 4));
        let (Some(items_at), Some(tail_at), Some(end)) = (items_at, tail_at, end) else {
            return Err(Flaw::new(whole, "a body within the page", "a longer one"));
        };
        let meta = Meta { slot, bytes, items_at, tail_at, end };
        meta.check_limits()?;
        meta.check_pointers()?;
        meta.check_items()?;
        Ok(meta)
    }

    fn check_limits(&self) -> Checked<()> {
        let (inline, inline_max) =
            (self.inline_catalog().len(), meta_catalog_max(self.page_size()));
        if !self.has_catalog_tree() && inline > inline_max {
            let expected = format_args!("at most {inline_max} bytes of the inline catalog");
            return Err(Flaw::new(Invariant::ValidMetaWhole, expected, inline));
        }
        let listed: u64 = self.items().map(|item| u64::from(item.pages)).sum();
        if listed > u64::from(ONE_BARRIER_PAGES_MAX) {
            let expected =
                format_args!("at most {ONE_BARRIER_PAGES_MAX} pages of a commit with a list");
            return Err(Flaw::new(Invariant::ValidMetaWhole, expected, listed));
        }
        Ok(())
    }

    fn check_pointers(&self) -> Checked<()> {
        let whole = Invariant::ValidMetaWhole;
        if self.txn() == u64::MAX {
            return Err(Flaw::new(whole, "a transaction that another may follow", self.txn()));
        }
        let (flags, page_count) = (self.field(META_FLAGS), self.page_count());
        let is_inside = |page: u32| page >= META_SLOTS && page < page_count;
        if flags & !(META_FLAG_CATALOG_TREE | META_FLAG_MIRROR) != 0 {
            return Err(Flaw::new(whole, "known flags", format_args!("{flags:#x}")));
        }
        if page_count < META_SLOTS {
            return Err(Flaw::new(whole, "the slots within the file", page_count));
        }
        if self.has_catalog_tree() {
            let (root, level) = (self.field(META_CATALOG_ROOT), self.field(META_CATALOG_LEVEL));
            if level >= u32::from(LEVELS_MAX) {
                return Err(Flaw::new(whole, "a level of the catalog", level));
            }
            if !is_inside(root) {
                return Err(Flaw::new(whole, "a catalog within the file", root));
            }
        }
        let (head, pages) = (self.field(META_LOG_HEAD), self.field(META_LOG_PAGES));
        if pages > page_count || (pages > 0) != is_inside(head) {
            let found = format_args!("{pages} pages from page {head}");
            return Err(Flaw::new(whole, "a space log within the file", found));
        }
        Ok(())
    }

    fn check_items(&self) -> Checked<()> {
        let mut end = META_SLOTS;
        for item in self.items() {
            let is_sound = item.first >= end && item.pages > 0 && (item.is_run || item.pages == 1);
            let behind = item.first.checked_add(item.pages).filter(|&b| b <= self.page_count());
            end = match behind {
                Some(behind) if is_sound => behind,
                _ => {
                    let found = format_args!("{} pages from page {}", item.pages, item.first);
                    return Err(Flaw::new(Invariant::ValidMetaWhole, "ascending items", found));
                }
            };
        }
        Ok(())
    }

    pub(super) fn field(&self, at: usize) -> u32 {
        get_u32(&self.bytes, at)
    }

    pub(super) fn txn(&self) -> u64 {
        get_u64(&self.bytes, HEADER_TXN)
    }

    pub(super) fn page_size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn page_count(&self) -> u32 {
        self.field(META_PAGE_COUNT)
    }

    pub(super) fn is_mirror(&self) -> bool {
        self.field(META_FLAGS) & META_FLAG_MIRROR != 0
    }

    pub(super) fn has_catalog_tree(&self) -> bool {
        self.field(META_FLAGS) & META_FLAG_CATALOG_TREE != 0
    }

    pub(super) fn catalog_root(&self) -> Pointer {
        let (id, checksum) = (self.field(META_CATALOG_ROOT), self.field(META_CATALOG_CHECKSUM));
        Pointer { id, checksum, txn_max: self.txn() }
    }

    pub(super) fn log_head(&self) -> Pointer {
        let (id, checksum) = (self.field(META_LOG_HEAD), self.field(META_LOG_CHECKSUM));
        Pointer { id, checksum, txn_max: self.txn() }
    }

    pub(super) fn inline_catalog(&self) -> &[u8] {
        &self.bytes[META_BODY..self.items_at]
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        self.bytes[self.items_at..self.tail_at].chunks_exact(META_ITEM_LEN).map(|item| {
            let pages = get_u32(item, 4);
            Item {
                first: get_u32(item, 0),
                pages: pages & !META_ITEM_RUN,
                checksum: get_u32(item, 8),
                is_run: pages & META_ITEM_RUN != 0,
            }
        })
    }

    pub(super) fn has_items(&self) -> bool {
        self.items_at < self.tail_at
    }

    pub(super) fn tail(&self) -> &[u8] {
        &self.bytes[self.tail_at..self.end]
    }

    /// Whether two slots hold the same state: all but what makes one a mirror of the other.
    pub(super) fn is_same_state(&self, other: &Meta) -> bool {
        let before = META_MAGIC..META_FLAGS;
        let behind = META_LOG_HEAD..META_ITEMS;
        self.txn() == other.txn()
            && self.bytes[before.clone()] == other.bytes[before]
            && self.has_catalog_tree() == other.has_catalog_tree()
            && self.bytes[behind.clone()] == other.bytes[behind]
            && self.inline_catalog() == other.inline_catalog()
            && self.tail() == other.tail()
    }

    /// What the format asks beyond what recovery asks, handed to `report`.
    pub(super) fn check_form(&self, mut report: impl FnMut(Flaw)) {
        let mut limit = |invariant, what: &str, max: usize, found: usize| {
            if found > max {
                report(Flaw::new(invariant, format_args!("at most {max} {what}"), found));
            }
        };
        let page_size = self.page_size();
        let inline = self.inline_catalog().len();
        if self.has_catalog_tree() {
            let what = "bytes of an inline catalog beside a tree";
            limit(Invariant::ValidMetaWhole, what, 0, inline);
        }
        limit(Invariant::ValidMetaWhole, "bytes behind a multiple of 4", 0, inline % 4);
        let items_max = if self.is_mirror() { 0 } else { meta_items_max(page_size) };
        limit(Invariant::MetaListsPages, "items", items_max, self.items().count());
        let words_max = meta_tail_words_max(page_size);
        limit(Invariant::SpaceLogReplays, "words of a tail", words_max, self.tail().len() / 4);
        self.check_unused(&mut report);
    }

    fn check_unused(&self, report: &mut impl FnMut(Flaw)) {
        let mut unused = |what: &str, from: usize, to: usize| {
            if !all_zero(&self.bytes[from..to]) {
                let zeros = format_args!("zeros in {what}");
                report(Flaw::new(Invariant::SameCallsSameBytes, zeros, "other bytes"));
            }
        };
        unused("the header of a meta page", HEADER_KIND + 1, HEADER_LEN);
        unused("the spare field", META_SPARE, META_BODY);
        unused("the page behind the body", self.end, self.bytes.len());
        if self.field(META_LOG_PAGES) == 0 {
            unused("the pointer to a space log without pages", META_LOG_HEAD, META_LOG_PAGES);
        }
        if !self.has_catalog_tree() {
            unused("the pointer to a catalog that is inline", META_CATALOG_ROOT, META_CATALOG_LEN);
        }
    }
}
