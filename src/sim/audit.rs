//! An independent reading of a store's file.
//!
//! Owns: [`Audit`]: of one state, who owns each page, and what each tree holds. It follows
//! `docs/format.md` and shares no code with the engine but the constants of the format, so that
//! it is a twin of what it checks.
//! Must not know: how states come about.
//! Keeps: it reads the pages that a state can reach, and no others.

use super::index;
use crate::format::{
    BUCKET_LEN, CHILD_LEN, FORMAT_VERSION, HEADER_COUNT, HEADER_HEAP, HEADER_ID, HEADER_KIND,
    HEADER_LEN, HEADER_LEVEL, HEADER_PREFIX, HEADER_TXN, KIND_BRANCH, KIND_LEAF, KIND_META,
    KIND_SPACE_LOG, LOG_BODY, LOG_PREVIOUS, LOG_PREVIOUS_CHECKSUM, LOG_RECORD_RESIZE,
    LOG_RECORD_SNAPSHOT, LOG_RECORD_TXN, MAGIC, META_BODY, META_BUCKETS, META_CATALOG_CHECKSUM,
    META_CATALOG_LEN, META_CATALOG_LEVEL, META_CATALOG_ROOT, META_FLAG_CATALOG_TREE, META_FLAGS,
    META_ITEM_LEN, META_ITEM_RUN, META_ITEMS, META_LOG_CHECKSUM, META_LOG_HEAD, META_LOG_PAGES,
    META_MAGIC, META_PAGE_COUNT, META_PAGE_SIZE, META_SLOTS, META_TAIL_WORDS, META_VERSION,
    VALUE_OVERFLOW,
};

/// A file as an audit reads it.
pub(super) trait Medium {
    /// The file's length in bytes.
    fn len(&mut self) -> u64;
    /// Fills `buf` from `offset`, which lies within the file.
    fn read(&mut self, buf: &mut [u8], offset: u64);
}

/// What a page of a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    Meta,
    Tree,
    Log,
}

/// A reference to a page: id, checksum, level, and the newest transaction it may be of.
#[derive(Clone, Copy, Debug)]
struct Child {
    id: u32,
    checksum: u32,
    level: u8,
    txn_max: u64,
}

/// A state that was read as a whole.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) txn: u64,
    pub(super) page_count: u32,
    /// Pages that nobody owns: free or pending.
    pub(super) unused: u32,
    /// Levels of the highest tree; 0 if all are empty.
    pub(super) height: u8,
    pub(super) owners: Vec<Owner>,
}

type Found<T> = Result<T, String>;

impl Audit {
    /// Whether the state can reach a page.
    pub(super) fn owns(&self, page: u32) -> bool {
        self.owners.get(index(page)).is_some_and(|owner| *owner != Owner::Nobody)
    }

    /// Reads the state in a slot; `None` if recovery would not accept what is there.
    pub(super) fn of_slot(
        medium: &mut dyn Medium,
        slot: u32,
        page_size: usize,
    ) -> Found<Option<Audit>> {
        let len = medium.len();
        let mut reader = Reader { medium, page_size, owners: Vec::new() };
        if len < (u64::from(slot) + 1) * page_size as u64 {
            return Ok(None);
        }
        let meta = reader.raw(slot, 1);
        if !is_meta(&meta, slot, page_size)
            || len < u64::from(u32_at(&meta, META_PAGE_COUNT)) * page_size as u64
            || !reader.items_are_whole(&meta)
        {
            return Ok(None);
        }
        reader.state(&meta).map(Some).map_err(|error| format!("slot {slot}: {error}"))
    }
}

fn is_meta(bytes: &[u8], slot: u32, page_size: usize) -> bool {
    crc32c::crc32c(&bytes[4..]) == u32_at(bytes, 0)
        && u32_at(bytes, HEADER_ID) == slot
        && bytes[HEADER_KIND] == KIND_META
        && bytes[META_MAGIC..META_MAGIC + 8] == MAGIC
        && u32_at(bytes, META_VERSION) == FORMAT_VERSION
        && index(u32_at(bytes, META_PAGE_SIZE)) == page_size
}

struct Reader<'a> {
    medium: &'a mut dyn Medium,
    page_size: usize,
    owners: Vec<Owner>,
}

impl Reader<'_> {
    fn raw(&mut self, first: u32, pages: u32) -> Vec<u8> {
        let mut bytes = vec![0; index(pages) * self.page_size];
        self.medium.read(&mut bytes, u64::from(first) * self.page_size as u64);
        bytes
    }

    fn items_are_whole(&mut self, meta: &[u8]) -> bool {
        let start = META_BODY + index(u32_at(meta, META_CATALOG_LEN));
        (0..index(u32_at(meta, META_ITEMS))).all(|item| {
            let at = start + item * META_ITEM_LEN;
            let (first, pages) = (u32_at(meta, at), u32_at(meta, at + 4));
            let bytes = self.raw(first, pages & !META_ITEM_RUN);
            let found = if pages & META_ITEM_RUN == 0 {
                if u32_at(&bytes, HEADER_ID) != first
                    || crc32c::crc32c(&bytes[4..]) != u32_at(&bytes, 0)
                {
                    return false;
                }
                u32_at(&bytes, 0)
            } else {
                run_checksum(first, &bytes)
            };
            found == u32_at(meta, at + 8)
        })
    }

    fn state(mut self, meta: &[u8]) -> Found<Audit> {
        let (txn, page_count) = (u64_at(meta, HEADER_TXN), u32_at(meta, META_PAGE_COUNT));
        self.owners = vec![Owner::Nobody; index(page_count)];
        for slot in 0..META_SLOTS {
            self.claim(slot, 1, Owner::Meta)?;
        }
        let (mut height, mut buckets) = (0, 0);
        for record in self.catalog(meta, txn)? {
            buckets += 1;
            height = height.max(self.bucket(&record, txn)?);
        }
        same("buckets", u64::from(u32_at(meta, META_BUCKETS)), buckets)?;
        let unused = self.space(meta, txn)?;
        Ok(Audit { txn, page_count, unused, height, owners: self.owners })
    }

    fn claim(&mut self, first: u32, pages: u32, owner: Owner) -> Found<()> {
        for page in first..first.saturating_add(pages) {
            match self.owners.get_mut(index(page)) {
                Some(held) if *held == Owner::Nobody => *held = owner,
                Some(held) => return Err(format!("page {page} is {owner:?} and {held:?}")),
                None => return Err(format!("page {page} lies behind the end")),
            }
        }
        Ok(())
    }

    /// The records of all buckets.
    fn catalog(&mut self, meta: &[u8], txn: u64) -> Found<Vec<Vec<u8>>> {
        let mut records = Vec::new();
        if u32_at(meta, META_FLAGS) & META_FLAG_CATALOG_TREE == 0 {
            let end = META_BODY + index(u32_at(meta, META_CATALOG_LEN));
            let mut at = META_BODY;
            while at + 2 + BUCKET_LEN < end {
                let record = at + 2 + u16_at(meta, at);
                records.push(meta[record..record + BUCKET_LEN].to_vec());
                at = record + BUCKET_LEN;
            }
            return Ok(records);
        }
        let level = u8::try_from(u32_at(meta, META_CATALOG_LEVEL)).map_err(|e| e.to_string())?;
        let root = Child {
            id: u32_at(meta, META_CATALOG_ROOT),
            checksum: u32_at(meta, META_CATALOG_CHECKSUM),
            level,
            txn_max: txn,
        };
        self.tree(root, &mut |_, value| {
            if let Value::Inline(record) = value {
                records.push(record.to_vec());
            }
        })?;
        Ok(records)
    }

    /// Reads a bucket's tree. Returns its levels.
    fn bucket(&mut self, record: &[u8], txn: u64) -> Found<u8> {
        let (id, checksum, level) = (u32_at(record, 0), u32_at(record, 4), u32_at(record, 8));
        let (entries, overflow) = (u64_at(record, 12), u64_at(record, 20));
        let (mut found_entries, mut found_overflow) = (0, 0);
        let mut height = 0;
        if id != 0 {
            let level = u8::try_from(level).map_err(|error| error.to_string())?;
            height = level + 1;
            self.tree(Child { id, checksum, level, txn_max: txn }, &mut |_, value| {
                found_entries += 1;
                if let Value::Run(pages) = value {
                    found_overflow += u64::from(pages);
                }
            })?;
        }
        same("entries", entries, found_entries)?;
        same("overflow pages", overflow, found_overflow)?;
        Ok(height)
    }

    /// Reads a tree in the order of its keys.
    fn tree(&mut self, root: Child, entry: &mut dyn FnMut(&[u8], Value<'_>)) -> Found<()> {
        let mut stack = vec![(root, None::<Vec<u8>>, None::<Vec<u8>>)];
        let mut previous: Option<Vec<u8>> = None;
        while let Some((child, low, high)) = stack.pop() {
            let page = self.tree_page(child)?;
            let keys: Vec<Vec<u8>> = (0..page.count()).map(|slot| page.key(slot)).collect();
            if child.level > 0 {
                for at in (0..=keys.len()).rev() {
                    let low = if at == 0 { low.clone() } else { Some(keys[at - 1].clone()) };
                    let high = keys.get(at).cloned().or_else(|| high.clone());
                    stack.push((page.child(at, child), low, high));
                }
                continue;
            }
            for (slot, key) in keys.into_iter().enumerate() {
                let fits = low.as_ref().is_none_or(|low| *low <= key)
                    && high.as_ref().is_none_or(|high| key < *high)
                    && previous.as_ref().is_none_or(|previous| *previous < key);
                if !fits {
                    return Err(format!("page {}: key {slot} is out of order", child.id));
                }
                let value = page.value(slot);
                if let Value::Reference { len, first, checksum } = value {
                    let pages = self.run(len, first, checksum)?;
                    entry(&key, Value::Run(pages));
                } else {
                    entry(&key, value);
                }
                previous = Some(key);
            }
        }
        Ok(())
    }

    fn tree_page(&mut self, child: Child) -> Found<TreePage> {
        self.claim(child.id, 1, Owner::Tree)?;
        let bytes = self.raw(child.id, 1);
        let kind = if child.level == 0 { KIND_LEAF } else { KIND_BRANCH };
        let is_right = crc32c::crc32c(&bytes[4..]) == child.checksum
            && u32_at(&bytes, 0) == child.checksum
            && u32_at(&bytes, HEADER_ID) == child.id
            && bytes[HEADER_KIND] == kind
            && bytes[HEADER_LEVEL] == child.level
            && u64_at(&bytes, HEADER_TXN) <= child.txn_max
            && u16_at(&bytes, HEADER_HEAP) <= self.page_size;
        if is_right { Ok(TreePage { bytes }) } else { Err(format!("{child:?} is another page")) }
    }

    /// Reads an overflow run. Returns its pages.
    fn run(&mut self, len: u32, first: u32, checksum: u32) -> Found<u32> {
        let pages = index(len).div_ceil(self.page_size);
        let pages = u32::try_from(pages).map_err(|error| error.to_string())?;
        self.claim(first, pages, Owner::Tree)?;
        let bytes = self.raw(first, pages);
        if run_checksum(first, &bytes) != checksum {
            return Err(format!("the run from page {first} is not what it was"));
        }
        Ok(pages)
    }

    /// Replays the space log, and compares it with the owners. Returns the unused pages.
    fn space(&mut self, meta: &[u8], txn: u64) -> Found<u32> {
        let (mut id, mut checksum) = (u32_at(meta, META_LOG_HEAD), u32_at(meta, META_LOG_CHECKSUM));
        let mut parts: Vec<Vec<u32>> = Vec::new();
        for _ in 0..u32_at(meta, META_LOG_PAGES) {
            self.claim(id, 1, Owner::Log)?;
            let bytes = self.raw(id, 1);
            let is_right = crc32c::crc32c(&bytes[4..]) == checksum
                && u32_at(&bytes, 0) == checksum
                && u32_at(&bytes, HEADER_ID) == id
                && bytes[HEADER_KIND] == KIND_SPACE_LOG
                && u64_at(&bytes, HEADER_TXN) <= txn;
            if !is_right {
                return Err(format!("page {id} is not of the space log"));
            }
            let words = u16_at(&bytes, HEADER_COUNT);
            parts.push((0..words).map(|at| u32_at(&bytes, LOG_BODY + at * 4)).collect());
            (id, checksum) = (u32_at(&bytes, LOG_PREVIOUS), u32_at(&bytes, LOG_PREVIOUS_CHECKSUM));
        }
        parts.reverse();
        let tail = META_BODY
            + index(u32_at(meta, META_CATALOG_LEN))
            + index(u32_at(meta, META_ITEMS)) * META_ITEM_LEN;
        let words = index(u32_at(meta, META_TAIL_WORDS));
        parts.push((0..words).map(|at| u32_at(meta, tail + at * 4)).collect());
        let mut replay = Replay { unused: vec![None; self.owners.len()] };
        for part in &parts {
            replay.part(part)?;
        }
        self.compare(&replay.unused)
    }

    fn compare(&self, unused: &[Option<bool>]) -> Found<u32> {
        let mut total = 0;
        for (page, owner) in self.owners.iter().enumerate().skip(index(META_SLOTS)) {
            let Some(unused) = unused.get(page).copied().flatten() else {
                return Err(format!("the space log does not know page {page}"));
            };
            if unused != (*owner == Owner::Nobody) {
                return Err(format!("page {page} is {owner:?}, the log says unused: {unused}"));
            }
            total += u32::from(unused);
        }
        Ok(total)
    }
}

/// What the space log says so far: of each page, whether it is unused.
struct Replay {
    unused: Vec<Option<bool>>,
}

impl Replay {
    fn part(&mut self, words: &[u32]) -> Found<()> {
        let mut at = 0;
        while at < words.len() {
            let word = |offset: usize| words.get(at + offset).copied().unwrap_or(0);
            match word(0) {
                LOG_RECORD_TXN => {
                    let (allocated, freed) = (index(word(3)), index(word(4)));
                    for extent in 0..allocated + freed {
                        let offset = 5 + 2 * extent;
                        self.set(word(offset), word(offset + 1), extent >= allocated)?;
                    }
                    at += 5 + 2 * (allocated + freed);
                }
                LOG_RECORD_SNAPSHOT => {
                    let extents = index(word(3));
                    let listed: Vec<(u32, u32)> =
                        (0..extents).map(|e| (word(4 + 2 * e), word(5 + 2 * e))).collect();
                    self.snapshot(word(1), word(2), &listed)?;
                    at += 4 + 2 * extents;
                }
                LOG_RECORD_RESIZE => {
                    self.resize(word(1), word(2))?;
                    at += 3;
                }
                other => return Err(format!("the space log has a record of kind {other}")),
            }
        }
        Ok(())
    }

    fn slot(&mut self, page: u32) -> &mut Option<bool> {
        if self.unused.len() <= index(page) {
            self.unused.resize(index(page) + 1, None);
        }
        &mut self.unused[index(page)]
    }

    fn set(&mut self, first: u32, pages: u32, unused: bool) -> Found<()> {
        for page in first..first + pages {
            let slot = self.slot(page);
            if *slot == Some(unused) {
                return Err(format!("page {page} becomes unused: {unused} twice"));
            }
            *slot = Some(unused);
        }
        Ok(())
    }

    fn snapshot(&mut self, from: u32, to: u32, listed: &[(u32, u32)]) -> Found<()> {
        let known = u32::try_from(self.unused.len()).map_err(|error| error.to_string())?;
        for page in from..to.min(known) {
            let said = listed.iter().any(|(first, pages)| (*first..first + pages).contains(&page));
            let slot = self.slot(page);
            if slot.is_some_and(|held| held != said) {
                return Err(format!("a snapshot says of page {page} unused: {said}"));
            }
            *slot = Some(said);
        }
        Ok(())
    }

    fn resize(&mut self, from: u32, to: u32) -> Found<()> {
        for page in from..to {
            *self.slot(page) = Some(true);
        }
        for page in to..from {
            if self.slot(page).replace(true) == Some(false) {
                return Err(format!("page {page} was cut off while in use"));
            }
            *self.slot(page) = None;
        }
        Ok(())
    }
}

/// A value as a leaf holds it.
#[derive(Clone, Copy)]
enum Value<'a> {
    Inline(&'a [u8]),
    Reference {
        len: u32,
        first: u32,
        checksum: u32,
    },
    /// A reference that was followed: the pages of its run.
    Run(u32),
}

/// A leaf or branch whose checksum is right.
struct TreePage {
    bytes: Vec<u8>,
}

impl TreePage {
    fn count(&self) -> usize {
        u16_at(&self.bytes, HEADER_COUNT)
    }

    fn is_branch(&self) -> bool {
        self.bytes[HEADER_KIND] == KIND_BRANCH
    }

    fn children_at(&self) -> usize {
        HEADER_LEN + u16_at(&self.bytes, HEADER_PREFIX).next_multiple_of(4)
    }

    fn heads_at(&self) -> usize {
        let children = if self.is_branch() { (self.count() + 1) * CHILD_LEN } else { 0 };
        self.children_at() + children
    }

    fn cell(&self, slot: usize) -> usize {
        u16_at(&self.bytes, self.heads_at() + self.count() * 4 + slot * 2)
    }

    fn cell_header(&self) -> usize {
        if self.is_branch() { 2 } else { 4 }
    }

    fn key(&self, slot: usize) -> Vec<u8> {
        let prefix = u16_at(&self.bytes, HEADER_PREFIX);
        let mut key = self.bytes[HEADER_LEN..HEADER_LEN + prefix].to_vec();
        let cell = self.cell(slot);
        let len = u16_at(&self.bytes, cell);
        let head = u32_at(&self.bytes, self.heads_at() + slot * 4).to_be_bytes();
        key.extend_from_slice(&head[..len.min(4)]);
        let rest = cell + self.cell_header();
        key.extend_from_slice(&self.bytes[rest..rest + len.saturating_sub(4)]);
        key
    }

    fn value(&self, slot: usize) -> Value<'_> {
        let cell = self.cell(slot);
        let start = cell + self.cell_header() + u16_at(&self.bytes, cell).saturating_sub(4);
        let len = u16_at(&self.bytes, cell + 2);
        if len == usize::from(VALUE_OVERFLOW) {
            return Value::Reference {
                len: u32_at(&self.bytes, start),
                first: u32_at(&self.bytes, start + 4),
                checksum: u32_at(&self.bytes, start + 8),
            };
        }
        Value::Inline(&self.bytes[start..start + len])
    }

    fn child(&self, at: usize, parent: Child) -> Child {
        let start = self.children_at() + at * CHILD_LEN;
        Child {
            id: u32_at(&self.bytes, start),
            checksum: u32_at(&self.bytes, start + 4),
            level: parent.level - 1,
            txn_max: u64_at(&self.bytes, HEADER_TXN),
        }
    }
}

fn same(what: &str, stored: u64, found: u64) -> Found<()> {
    if stored == found { Ok(()) } else { Err(format!("{stored} {what} are stored, found {found}")) }
}

fn run_checksum(first: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&first.to_le_bytes()), bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
