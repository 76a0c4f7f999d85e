//! Every constant of the file format (layer L0).
//!
//! Owns: numbers and offsets; `docs/format.md` shows them as tables, `tests/format.rs` compares.
//! Must not know: how anything is encoded or decoded.
//! All integers are little endian, except the heads of keys, which compare as big endian.

/// The first bytes of the body of a meta page.
pub const MAGIC: [u8; 8] = *b"BTSTORE\0";
/// The version of this format.
pub const FORMAT_VERSION: u32 = 1;

/// The page size unless another is chosen when the file is created, in bytes.
pub const PAGE_SIZE_DEFAULT: u32 = 4096;
/// The smallest page size, in bytes; tests use it so that rare paths are common.
pub const PAGE_SIZE_MIN: u32 = 512;
/// The largest page size, in bytes: offsets within a page are 16 bits wide.
pub const PAGE_SIZE_MAX: u32 = 32768;

/// The two meta slots are the pages 0 and 1.
pub const META_SLOTS: u32 = 2;
/// The number of page ids; the id of no page is 0 (a meta slot is never pointed to).
pub const PAGE_COUNT_MAX: u32 = u32::MAX;
/// No tree is higher; a pointer cycle ends here.
pub const LEVELS_MAX: u8 = 32;

/// Bytes of the header that every page but those of an overflow run begins with.
pub const HEADER_LEN: usize = 32;
/// CRC32C of all bytes of the page after this field, u32.
pub const HEADER_CHECKSUM: usize = 0;
/// The page's own id, u32.
pub const HEADER_ID: usize = 4;
/// The transaction that wrote the page, u64.
pub const HEADER_TXN: usize = 8;
/// The kind of the page, u8: one of `KIND_*`.
pub const HEADER_KIND: usize = 16;
/// The level of a tree page, u8: 0 for a leaf.
pub const HEADER_LEVEL: usize = 17;
/// Entries of a leaf, separators of a branch, words of a space log page, u16.
pub const HEADER_COUNT: usize = 18;
/// Where the heap of a tree page begins, u16: no cell lies in front of it.
pub const HEADER_HEAP: usize = 20;
/// Bytes of the heap that belong to no cell, u16.
pub const HEADER_DEAD: usize = 22;
/// Length of the prefix that all keys of a tree page share, u16.
pub const HEADER_PREFIX: usize = 24;
/// The slot of the latest insertion plus one, u16, which tells ascending runs; 0 for none.
pub const HEADER_RUN: usize = 26;
/// Unused, u32, zero.
pub const HEADER_SPARE: usize = 28;

/// Kind of a meta page.
pub const KIND_META: u8 = 1;
/// Kind of a leaf.
pub const KIND_LEAF: u8 = 2;
/// Kind of a branch.
pub const KIND_BRANCH: u8 = 3;
/// Kind of a page of the space log.
pub const KIND_SPACE_LOG: u8 = 4;

/// Bytes of a child reference in a branch: page id u32, checksum u32.
pub const CHILD_LEN: usize = 8;
/// Bytes of a head: the first four bytes of a key after the prefix, zero padded, big endian.
pub const HEAD_LEN: usize = 4;
/// Bytes of a cell offset, u16.
pub const OFFSET_LEN: usize = 2;
/// Bytes in front of a leaf cell's key rest: key length after the prefix u16, value length u16.
pub const LEAF_CELL_HEADER: usize = 4;
/// Bytes in front of a branch cell's key rest: key length after the prefix u16.
pub const BRANCH_CELL_HEADER: usize = 2;
/// Value length that marks an overflow reference in place of an inline value.
pub const VALUE_OVERFLOW: u16 = 0xFFFF;
/// Value length that marks a value not yet placed; it exists in memory only.
pub const VALUE_UNPLACED: u16 = 0xFFFE;
/// Bytes of an overflow reference: value length u32, first page u32, checksum u32.
pub const OVERFLOW_LEN: usize = 12;

/// Longest value, in bytes.
pub const VALUE_LEN_MAX: u64 = u32::MAX as u64;

/// Magic number, 8 bytes.
pub const META_MAGIC: usize = 32;
/// Format version, u32.
pub const META_VERSION: usize = 40;
/// Page size in bytes, u32.
pub const META_PAGE_SIZE: usize = 44;
/// Pages of the file, u32: each is a meta page, reachable, free or pending.
pub const META_PAGE_COUNT: usize = 48;
/// `META_FLAG_*`, all others zero, u32.
pub const META_FLAGS: usize = 52;
/// Newest page of the space log, u32; 0 for none.
pub const META_LOG_HEAD: usize = 56;
/// Its checksum, u32.
pub const META_LOG_CHECKSUM: usize = 60;
/// Pages of the space log, u32.
pub const META_LOG_PAGES: usize = 64;
/// Number of buckets, u32.
pub const META_BUCKETS: usize = 68;
/// Root page of the catalog tree, u32; 0 when inline.
pub const META_CATALOG_ROOT: usize = 72;
/// Its checksum, u32.
pub const META_CATALOG_CHECKSUM: usize = 76;
/// Its level, u32.
pub const META_CATALOG_LEVEL: usize = 80;
/// Bytes of the inline catalog, u32, a multiple of 4.
pub const META_CATALOG_LEN: usize = 84;
/// Number of items of the commit list, u32.
pub const META_ITEMS: usize = 88;
/// Words of the space log's tail, u32.
pub const META_TAIL_WORDS: usize = 92;
/// Unused, u64, zero.
pub const META_SPARE: usize = 96;
/// The inline catalog, then the commit list, then the space log's tail; zeros after them.
pub const META_BODY: usize = 104;
/// Flag: the catalog is a tree.
pub const META_FLAG_CATALOG_TREE: u32 = 1;
/// Flag: a copy of the other slot's state, written when that one was durable already.
pub const META_FLAG_MIRROR: u32 = 2;
/// Set in the pages field of an item that is an overflow run.
pub const META_ITEM_RUN: u32 = 1 << 31;
/// Bytes of an item of the commit list: first page u32, pages u32, checksum u32.
pub const META_ITEM_LEN: usize = 12;

/// Bytes of a bucket's record, in the inline catalog and as a value of the catalog tree:
/// root id u32 (0 when empty), root checksum u32, root level u32, entries u64, overflow pages u64.
pub const BUCKET_LEN: usize = 28;

/// Previous (older) page of the space log, u32; 0 for none.
pub const LOG_PREVIOUS: usize = 32;
/// Its checksum, u32.
pub const LOG_PREVIOUS_CHECKSUM: usize = 36;
/// The words of a page of the space log, u32 each.
pub const LOG_BODY: usize = 40;

/// Space log record: 1, txn low, txn high, allocated extents, freed extents, then that many
/// extents (first page, pages) of each.
pub const LOG_RECORD_TXN: u32 = 1;
/// Space log record: 2, from, to, free extents, then that many extents: exactly these pages of
/// `from..to` held nothing after the commit that wrote it; those that this very commit freed
/// among them are told apart by its TXN record.
pub const LOG_RECORD_SNAPSHOT: u32 = 2;
/// Space log record: 3, old page count, new page count: pages were added free, or cut off.
pub const LOG_RECORD_RESIZE: u32 = 3;

/// The longest key of a file with this page size, in bytes: a quarter of a page, so that a
/// branch holds at least two separators of this length.
pub const fn key_len_max(page_size: usize) -> usize {
    page_size / 4
}

/// The longest bucket name, in bytes: as long as a key.
pub const fn bucket_name_len_max(page_size: usize) -> usize {
    key_len_max(page_size)
}

/// The largest leaf cell, slot included: two of them always share a page. A value that makes
/// its cell larger goes to an overflow run.
pub const fn leaf_cell_max(page_size: usize) -> usize {
    (page_size - HEADER_LEN) / 2 - 8
}

/// Bytes of the inline catalog at most; more buckets move to a tree.
pub const fn meta_catalog_max(page_size: usize) -> usize {
    (page_size - META_BODY) / 4
}

/// Pages of a commit that uses one barrier, at most: recovery reads them all and writes them again.
/// A value of 1 MiB has room, in pages of 4 KiB.
pub const ONE_BARRIER_PAGES_MAX: u32 = 512;

/// Items of the commit list at most; a larger commit uses two barriers and lists nothing.
pub const fn meta_items_max(page_size: usize) -> usize {
    let max = (page_size - META_BODY) / 4 / META_ITEM_LEN;
    if max > 64 { 64 } else { max }
}

/// Words of the space log's tail at most.
pub const fn meta_tail_words_max(page_size: usize) -> usize {
    let body = page_size - META_BODY;
    (body - meta_catalog_max(page_size) - meta_items_max(page_size) * META_ITEM_LEN - 8) / 4
}

/// Words of a page of the space log at most.
pub const fn log_page_words_max(page_size: usize) -> usize {
    (page_size - LOG_BODY) / 4
}

/// The first bytes of a backup stream.
pub const STREAM_MAGIC: [u8; 8] = *b"BTBACKUP";
/// The version of the format of backup streams that hold a state's entries.
pub const STREAM_VERSION: u32 = 1;
/// The version of the format of backup streams that hold pages.
pub const STREAM_VERSION_PAGES: u32 = 2;
/// Of a stream's header: magic number, 8 bytes.
pub const STREAM_HEADER_MAGIC: usize = 0;
/// Version, u32.
pub const STREAM_HEADER_VERSION: usize = 8;
/// Page size of the store that was backed up, in bytes, u32: limits follow from it.
pub const STREAM_HEADER_PAGE_SIZE: usize = 12;
/// The number of the state, u64.
pub const STREAM_HEADER_SEQ: usize = 16;
/// CRC32C of all bytes in front of it, u32.
pub const STREAM_HEADER_CHECKSUM: usize = 24;
/// Bytes of a stream's header; blocks follow.
pub const STREAM_HEADER_LEN: usize = 28;
/// Bytes in front of a block's content: length u32, checksum u32.
pub const STREAM_BLOCK_HEADER: usize = 8;
/// Bytes of a block's content at most.
pub const STREAM_BLOCK_MAX: usize = 1 << 18;
/// Bytes of a bucket's record without the name: length of the name u16, entries u64.
pub const STREAM_BUCKET_LEN: usize = 10;
/// Bytes of an entry's record without key and value: length of the key u16, of the value u32.
pub const STREAM_ENTRY_LEN: usize = 6;
/// Bytes of the closing record: zero u16, then buckets, entries, bytes of keys and values, each
/// u64.
pub const STREAM_END_LEN: usize = 26;
/// Bytes that the content of a stream of pages begins with: the state since which pages are in it
/// u64, pages of the file u32.
pub const STREAM_SINCE_LEN: usize = 12;
/// Bytes in front of what lies at a place of the file: first page u32, length in bytes u32.
pub const STREAM_PIECE_LEN: usize = 8;
