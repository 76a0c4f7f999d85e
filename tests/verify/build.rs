//! Files built by hand: an encoder written from `docs/format.md`, with numbers of its own. It
//! shares no code with the engine.

use crate::counting::within;
use btree_store::verify::{Report, verify_file};
use btree_store::vfs::{FileId, LockMode, VfsFile};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

/// CRC32C, a byte at a time.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    static TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
    };
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    let mut value: u32 = 0;
    while byte < 256 {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
        value += 1;
    }
    table
}

/// The bytes of a file, and its page size.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    pub size: usize,
    pub bytes: Vec<u8>,
}

fn len(value: u32) -> usize {
    usize::try_from(value).expect("a page id is an index")
}

fn small(value: usize) -> u16 {
    u16::try_from(value).expect("what lies in a page has 16 bits")
}

fn word(value: usize) -> u32 {
    u32::try_from(value).expect("a count has 32 bits")
}

impl File {
    pub fn pages(&self) -> u32 {
        word(self.bytes.len() / self.size)
    }

    pub fn page(&self, id: u32) -> &[u8] {
        &self.bytes[len(id) * self.size..][..self.size]
    }

    pub fn page_mut(&mut self, id: u32) -> &mut [u8] {
        &mut self.bytes[len(id) * self.size..][..self.size]
    }

    pub fn u8(&self, page: u32, at: usize) -> u8 {
        self.page(page)[at]
    }

    pub fn u16(&self, page: u32, at: usize) -> usize {
        let bytes = self.page(page);
        usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8
    }

    pub fn u32(&self, page: u32, at: usize) -> u32 {
        let bytes = self.page(page);
        (0..4).map(|i| u32::from(bytes[at + i]) << (8 * i)).sum()
    }

    pub fn set_u8(&mut self, page: u32, at: usize, value: u8) {
        self.page_mut(page)[at] = value;
    }

    pub fn set_u16(&mut self, page: u32, at: usize, value: usize) {
        self.page_mut(page)[at..at + 2].copy_from_slice(&small(value).to_le_bytes());
    }

    pub fn set_u32(&mut self, page: u32, at: usize, value: u32) {
        self.page_mut(page)[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub fn set_u64(&mut self, page: u32, at: usize, value: u64) {
        self.page_mut(page)[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Where a tree page has its children, heads, offsets, and where the offsets end.
    pub fn arrays(&self, page: u32) -> [usize; 4] {
        let count = self.u16(page, 18);
        let children = 32 + self.u16(page, 24).div_ceil(4) * 4;
        let heads = if self.u8(page, 16) == 3 { children + 8 * (count + 1) } else { children };
        [children, heads, heads + 4 * count, heads + 6 * count]
    }

    /// Where the cell of a slot lies.
    pub fn cell(&self, page: u32, slot: usize) -> usize {
        self.u16(page, self.arrays(page)[2] + 2 * slot)
    }

    /// Where the value of a leaf's slot lies.
    pub fn value(&self, leaf: u32, slot: usize) -> usize {
        let cell = self.cell(leaf, slot);
        cell + 4 + self.u16(leaf, cell).saturating_sub(4)
    }

    /// Where the body of a meta page has the inline catalog, the items, the tail, and its end.
    pub fn body(&self, slot: u32) -> [usize; 4] {
        // Changed at random, a number may be larger than an address.
        let behind = |from: usize, at, size: usize| {
            from.saturating_add(size.saturating_mul(len(self.u32(slot, at))))
        };
        let items = behind(104, 84, 1);
        let tail = behind(items, 88, 12);
        [104, items, tail, behind(tail, 92, 4)]
    }

    /// Where the record of an inline bucket lies.
    pub fn record(&self, slot: u32, bucket: usize) -> usize {
        let after = |at: usize| at + 2 + self.u16(slot, at) + 28;
        let start = (0..bucket).fold(104, |at, _| after(at));
        start + 2 + self.u16(slot, start)
    }

    pub fn report(&self) -> Report {
        // Of the log all words are held, and of each page a byte.
        let memory_max = self.bytes.len() * 3 / 2 + (1 << 20);
        within(memory_max, "verify", || verify_file(self).expect("memory does not fail"))
    }
}

/// What verify may ask for: bytes and a length.
impl VfsFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<usize> {
        panic!("verify writes")
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        panic!("verify changes the length")
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        panic!("verify syncs")
    }

    fn sync_all(&self) -> io::Result<()> {
        panic!("verify syncs")
    }

    fn try_lock(&self, _mode: LockMode) -> io::Result<bool> {
        panic!("verify_file takes no lock")
    }

    fn id(&self) -> io::Result<FileId> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Computing all checksums again, from the leaves to the slots, whatever the pages hold.
impl File {
    /// Makes the checksum of one page right.
    pub fn stamp(&mut self, page: u32) -> u32 {
        let checksum = crc32c(&[&self.page(page)[4..]]);
        self.set_u32(page, 0, checksum);
        checksum
    }

    fn run_checksum(&self, first: u32, pages: u32) -> Option<u32> {
        let from = len(first).checked_mul(self.size)?;
        let bytes = self.bytes.get(from..from.checked_add(len(pages).checked_mul(self.size)?)?)?;
        Some(crc32c(&[&first.to_le_bytes(), bytes]))
    }

    fn bytes_at(&self, page: u32, at: usize, count: usize) -> bool {
        page < self.pages() && at.checked_add(count).is_some_and(|end| end <= self.size)
    }

    pub fn seal(&mut self) {
        let mut done = BTreeMap::new();
        for slot in 0..self.pages().min(2) {
            self.seal_slot(slot, &mut done);
        }
    }

    fn seal_slot(&mut self, slot: u32, done: &mut BTreeMap<u32, u32>) {
        if &self.page(slot)[32..40] != b"BTSTORE\0" {
            return;
        }
        let (head, pages) = (self.u32(slot, 56), self.u32(slot, 64));
        if let Some(checksum) = self.seal_log(head, pages.min(self.pages()), done) {
            self.set_u32(slot, 60, checksum);
        }
        if self.u32(slot, 52) & 1 == 1 {
            let (root, level) = (self.u32(slot, 72), self.u32(slot, 80));
            if let Some(checksum) = self.seal_tree(root, level, true, done) {
                self.set_u32(slot, 76, checksum);
            }
        }
        let [mut at, items, tail, _] = self.body(slot);
        for _ in 0..self.u32(slot, 68).min(100) {
            if !self.bytes_at(slot, at, 2) || !self.bytes_at(slot, at, 2 + self.u16(slot, at) + 28)
            {
                break;
            }
            at += 2 + self.u16(slot, at);
            self.seal_record(slot, at, done);
            at += 28;
        }
        for item in (items..tail).step_by(12) {
            if !self.bytes_at(slot, item, 12) {
                break;
            }
            let (first, pages) = (self.u32(slot, item), self.u32(slot, item + 4));
            let checksum = match pages.checked_sub(1 << 31) {
                Some(pages) => self.run_checksum(first, pages),
                None => (first < self.pages()).then(|| self.u32(first, 0)),
            };
            if let Some(checksum) = checksum {
                self.set_u32(slot, item + 8, checksum);
            }
        }
        self.stamp(slot);
    }

    fn seal_record(&mut self, page: u32, at: usize, done: &mut BTreeMap<u32, u32>) {
        let (root, level) = (self.u32(page, at), self.u32(page, at + 8));
        if let Some(checksum) = self.seal_tree(root, level, false, done) {
            self.set_u32(page, at + 4, checksum);
        }
    }

    fn seal_log(&mut self, head: u32, pages: u32, done: &mut BTreeMap<u32, u32>) -> Option<u32> {
        if pages == 0 || head < 2 || head >= self.pages() || done.contains_key(&head) {
            return done.get(&head).copied();
        }
        let mut chain = vec![head];
        while word(chain.len()) < pages {
            let previous = self.u32(*chain.last()?, 32);
            if previous < 2 || previous >= self.pages() || chain.contains(&previous) {
                break;
            }
            chain.push(previous);
        }
        let mut below = None;
        for &page in chain.iter().rev() {
            if let Some(checksum) = below {
                self.set_u32(page, 36, checksum);
            }
            below = Some(self.stamp(page));
            done.extend(below.map(|checksum| (page, checksum)));
        }
        below
    }

    fn seal_tree(
        &mut self,
        page: u32,
        level: u32,
        is_catalog: bool,
        done: &mut BTreeMap<u32, u32>,
    ) -> Option<u32> {
        if page < 2 || page >= self.pages() || level > 31 || done.contains_key(&page) {
            return done.get(&page).copied();
        }
        // A page that comes back to itself finds this.
        done.insert(page, self.u32(page, 0));
        let [children, _, offsets, end] = self.arrays(page);
        for at in 0..=self.u16(page, 18) {
            let child = children + 8 * at;
            if level > 0 && self.bytes_at(page, child, 8) {
                let id = self.u32(page, child);
                if let Some(checksum) = self.seal_tree(id, level - 1, is_catalog, done) {
                    self.set_u32(page, child + 4, checksum);
                }
            }
        }
        for slot in 0..self.u16(page, 18) {
            if level > 0 || end > self.size || !self.bytes_at(page, offsets + 2 * slot, 2) {
                break;
            }
            let cell = self.cell(page, slot);
            if self.bytes_at(page, cell, 4) {
                self.seal_value(page, slot, is_catalog, done);
            }
        }
        let checksum = self.stamp(page);
        done.insert(page, checksum);
        Some(checksum)
    }

    fn seal_value(
        &mut self,
        leaf: u32,
        slot: usize,
        is_catalog: bool,
        done: &mut BTreeMap<u32, u32>,
    ) {
        let (tag, value) = (self.u16(leaf, self.cell(leaf, slot) + 2), self.value(leaf, slot));
        if tag == 0xFFFF && self.bytes_at(leaf, value, 12) {
            let (value_len, first) = (self.u32(leaf, value), self.u32(leaf, value + 4));
            let pages = value_len.div_ceil(word(self.size));
            if let Some(checksum) = self.run_checksum(first, pages) {
                self.set_u32(leaf, value + 8, checksum);
            }
        } else if is_catalog && tag == 28 && self.bytes_at(leaf, value, 28) {
            self.seal_record(leaf, value, done);
        }
    }
}

/// A tree that was built.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub root: u32,
    pub level: u32,
    pub entries: u64,
    pub overflow_pages: u64,
    pub leaves: Vec<u32>,
    /// From the lowest level to the root.
    pub branches: Vec<u32>,
    /// First page and pages.
    pub runs: Vec<(u32, u32)>,
}

impl Tree {
    /// The record that the catalog holds; the checksum is still to come.
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::new();
        for field in [self.root, 0, self.level] {
            record.extend(field.to_le_bytes());
        }
        record.extend(self.entries.to_le_bytes());
        record.extend(self.overflow_pages.to_le_bytes());
        record
    }
}

pub type Entry = (Vec<u8>, Vec<u8>);

/// How many entries a leaf gets, and how many children a branch.
#[derive(Clone, Copy)]
pub struct Fan {
    pub leaf: usize,
    pub branch: usize,
}

/// What a slot holds beside the trees.
#[derive(Clone, Default)]
pub struct State {
    pub slot: u32,
    pub txn: u64,
    pub page_count: u32,
    pub flags: u32,
    /// Newest page of the log, pages.
    pub log: (u32, u32),
    pub buckets: u32,
    pub inline: Vec<u8>,
    /// Root and level.
    pub catalog: (u32, u32),
    /// First page, pages with the mark of a run.
    pub items: Vec<(u32, u32)>,
    pub tail: Vec<u32>,
}

/// A file under construction.
pub struct Builder {
    pub file: File,
}

fn head(suffix: &[u8]) -> [u8; 4] {
    let mut head = [0; 4];
    for (at, byte) in suffix.iter().take(4).enumerate() {
        head[3 - at] = *byte;
    }
    head
}

fn shared(keys: &[&[u8]]) -> usize {
    let Some((first, rest)) = keys.split_first() else { return 0 };
    let common = |key: &&[u8]| first.iter().zip(*key).take_while(|(a, b)| a == b).count();
    rest.iter().map(common).min().unwrap_or(first.len())
}

impl Builder {
    pub fn new(size: usize) -> Builder {
        Builder { file: File { size, bytes: vec![0; 2 * size] } }
    }

    /// Adds pages at the end, filled with what a page that was used before may hold.
    pub fn add(&mut self, pages: u32) -> u32 {
        let first = self.file.pages();
        let bytes = self.file.bytes.len() + len(pages) * self.file.size;
        self.file.bytes.resize(bytes, 0xA5);
        first
    }

    fn page(&mut self, id: u32, txn: u64, kind: u8) {
        self.file.page_mut(id).fill(0);
        self.file.set_u32(id, 4, id);
        self.file.set_u64(id, 8, txn);
        self.file.set_u8(id, 16, kind);
    }

    /// Writes a tree page: keys, what follows each in its cell, and the children of a branch.
    fn node(&mut self, id: u32, keys: &[&[u8]], behind: &[Vec<u8>], children: &[u32]) {
        let prefix = shared(keys);
        let (count, size) = (keys.len(), self.file.size);
        let mut heap = size;
        self.file.set_u16(id, 18, count);
        self.file.set_u16(id, 24, prefix);
        if let Some(key) = keys.first() {
            self.file.page_mut(id)[32..32 + prefix].copy_from_slice(&key[..prefix]);
        }
        let [at_children, heads, offsets, end] = self.file.arrays(id);
        for (at, child) in children.iter().enumerate() {
            self.file.set_u32(id, at_children + 8 * at, *child);
        }
        for (at, key) in keys.iter().enumerate() {
            let suffix = &key[prefix..];
            let rest = suffix.get(4..).unwrap_or_default();
            let mut cell = small(suffix.len()).to_le_bytes().to_vec();
            if children.is_empty() {
                // A leaf's cell: the length or mark of the value, the rest of the key, the value.
                cell.extend(&behind[at][..2]);
                cell.extend(rest);
                cell.extend(&behind[at][2..]);
            } else {
                cell.extend(rest);
            }
            heap -= cell.len();
            assert!(heap >= end, "page {id} is too full");
            self.file.page_mut(id)[heap..heap + cell.len()].copy_from_slice(&cell);
            self.file.page_mut(id)[heads + 4 * at..][..4].copy_from_slice(&head(suffix));
            self.file.set_u16(id, offsets + 2 * at, heap);
        }
        self.file.set_u16(id, 20, heap);
    }

    /// Builds a tree of these entries, which ascend.
    pub fn tree(&mut self, txn: u64, entries: &[Entry], fan: Fan) -> Tree {
        let mut tree = Tree { entries: entries.len() as u64, ..Tree::default() };
        // Each child with its first key.
        let mut row: Vec<(Vec<u8>, Vec<u8>, u32)> = Vec::new();
        for chunk in entries.chunks(fan.leaf) {
            let values: Vec<Vec<u8>> =
                chunk.iter().map(|(key, value)| self.value(key, value, &mut tree)).collect();
            let id = self.add(1);
            self.page(id, txn, 2);
            let keys: Vec<&[u8]> = chunk.iter().map(|(key, _)| key.as_slice()).collect();
            self.node(id, &keys, &values, &[]);
            tree.leaves.push(id);
            row.push((chunk[0].0.clone(), chunk[chunk.len() - 1].0.clone(), id));
        }
        while row.len() > 1 {
            tree.level += 1;
            let mut above = Vec::new();
            for chunk in row.chunks(fan.branch) {
                let id = self.add(1);
                self.page(id, txn, 3);
                self.file.set_u8(id, 17, u8::try_from(tree.level).expect("the tree is low"));
                let separators: Vec<Vec<u8>> = chunk
                    .windows(2)
                    .map(|pair| pair[1].0[..=shared(&[&pair[0].1, &pair[1].0])].to_vec())
                    .collect();
                let keys: Vec<&[u8]> = separators.iter().map(Vec::as_slice).collect();
                let children: Vec<u32> = chunk.iter().map(|(_, _, id)| *id).collect();
                self.node(id, &keys, &[], &children);
                tree.branches.push(id);
                above.push((chunk[0].0.clone(), chunk[chunk.len() - 1].1.clone(), id));
            }
            row = above;
        }
        tree.root = row.first().map_or(0, |(_, _, id)| *id);
        tree
    }

    /// Adds a branch.
    pub fn branch(&mut self, level: u32, separators: &[&[u8]], children: &[u32]) -> u32 {
        let id = self.add(1);
        self.page(id, 1, 3);
        self.file.set_u8(id, 17, u8::try_from(level).expect("a level"));
        self.node(id, separators, &[], children);
        id
    }

    /// What lies in a cell for a value: its length, and itself or the reference to a new run.
    fn value(&mut self, key: &[u8], value: &[u8], tree: &mut Tree) -> Vec<u8> {
        let size = self.file.size;
        if 10 + key.len().saturating_sub(4) + value.len() <= (size - 32) / 2 - 8 {
            let mut inline = small(value.len()).to_le_bytes().to_vec();
            inline.extend(value);
            return inline;
        }
        let pages = word(value.len().div_ceil(size));
        let first = self.add(pages);
        let from = len(first) * size;
        self.file.bytes[from..].fill(0);
        self.file.bytes[from..from + value.len()].copy_from_slice(value);
        tree.runs.push((first, pages));
        tree.overflow_pages += u64::from(pages);
        let mut reference = vec![0xFF, 0xFF];
        for field in [word(value.len()), first, 0] {
            reference.extend(field.to_le_bytes());
        }
        reference
    }

    /// Builds pages of the space log, oldest first. Returns the newest and how many there are.
    pub fn log(&mut self, txn: u64, portions: &[Vec<u32>]) -> (u32, u32) {
        let mut previous = 0;
        for words in portions {
            let id = self.add(1);
            self.log_page(id, txn, previous, words);
            previous = id;
        }
        (previous, word(portions.len()))
    }

    /// Writes one page of the space log.
    pub fn log_page(&mut self, id: u32, txn: u64, previous: u32, words: &[u32]) {
        self.page(id, txn, 4);
        self.file.set_u16(id, 18, words.len());
        self.file.set_u32(id, 32, previous);
        for (at, value) in words.iter().enumerate() {
            self.file.set_u32(id, 40 + 4 * at, *value);
        }
    }

    /// Writes a slot.
    pub fn slot(&mut self, state: &State) {
        let slot = state.slot;
        self.page(slot, state.txn, 1);
        let file = &mut self.file;
        file.page_mut(slot)[32..40].copy_from_slice(b"BTSTORE\0");
        let fields = [
            (40, 1),
            (44, word(file.size)),
            (48, state.page_count),
            (52, state.flags),
            (56, state.log.0),
            (64, state.log.1),
            (68, state.buckets),
            (72, state.catalog.0),
            (80, state.catalog.1),
            (84, word(state.inline.len())),
            (88, word(state.items.len())),
            (92, word(state.tail.len())),
        ];
        for (at, value) in fields {
            file.set_u32(slot, at, value);
        }
        let mut body = state.inline.clone();
        for (first, pages) in &state.items {
            body.extend([*first, *pages, 0].into_iter().flat_map(u32::to_le_bytes));
        }
        body.extend(state.tail.iter().copied().flat_map(u32::to_le_bytes));
        file.page_mut(slot)[104..104 + body.len()].copy_from_slice(&body);
    }
}

/// The inline catalog of these buckets, which ascend.
pub fn inline(buckets: &[(&str, &Tree)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, tree) in buckets {
        out.extend(small(name.len()).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(tree.record());
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The extents of these pages: first page, pages, and so on.
pub fn extents(pages: &[u32]) -> Vec<u32> {
    let mut sorted = pages.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<u32> = Vec::new();
    for page in sorted {
        match out.as_mut_slice() {
            [.., first, count] if *first + *count == page => *count += 1,
            _ => out.extend([page, 1]),
        }
    }
    out
}

/// The record of a snapshot.
pub fn snapshot(from: u32, to: u32, unused: &[u32]) -> Vec<u32> {
    let extents = extents(unused);
    [vec![2, from, to, word(extents.len() / 2)], extents].concat()
}

/// The record of a transaction.
pub fn transaction(txn: u32, allocated: &[u32], freed: &[u32]) -> Vec<u32> {
    let (allocated, freed) = (extents(allocated), extents(freed));
    let counts = [word(allocated.len() / 2), word(freed.len() / 2)];
    [vec![1, txn, 0, counts[0], counts[1]], allocated, freed].concat()
}
