//! Pages: their ids, their header, and the seal (layer L2).
//!
//! Owns: [`PageId`], [`TxnId`], [`Extent`], [`ChildRef`], the header's fields, the checksum.
//! Must not know: what the body of a page means, or where pages come from.
//! Keeps: checksum-covers-page, page-knows-its-id, committed-pages-immutable (nobody can change
//! a sealed [`Page`]).

use crate::arena::Pin;
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::format::{
    HEADER_CHECKSUM, HEADER_COUNT, HEADER_ID, HEADER_KIND, HEADER_LEVEL, HEADER_TXN,
};
use crate::invariant::Invariant;
use crate::seeded::seeded;
use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};
use std::fmt;

/// The number of a page: its offset in the file divided by the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

impl PageId {
    /// No page: the meta slots are never pointed to.
    pub const NONE: PageId = PageId(0);

    /// The offset of the page in the file, in bytes.
    pub fn offset(self, page_size: usize) -> u64 {
        u64::from(self.0) * page_size as u64
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a commit, and of the state it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxnId(pub u64);

impl TxnId {
    /// The id of the next commit.
    pub fn next(self) -> TxnId {
        TxnId(self.0 + 1)
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Pages that lie side by side. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extent {
    /// The first page.
    pub first: PageId,
    /// How many pages.
    pub pages: u32,
}

impl Extent {
    /// The extent of one page.
    pub fn one(page: PageId) -> Extent {
        Extent { first: page, pages: 1 }
    }

    /// The page after the last. No file has a page beyond the last of all numbers, which only a
    /// reference that is not to be believed may name.
    pub fn end(self) -> u32 {
        self.first.0.saturating_add(self.pages)
    }

    /// Whether `next` begins where this ends. What a damaged file calls an extent of no pages
    /// touches nothing.
    pub(crate) fn touches(self, next: Extent) -> bool {
        self.pages > 0 && next.pages > 0 && self.end() == next.first.0
    }
}

/// What a parent holds of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChildRef {
    /// Where the child lies.
    pub id: PageId,
    /// The checksum that the child's header must hold.
    pub checksum: u32,
}

impl ChildRef {
    /// What eight bytes say, read as one number.
    #[inline(always)]
    pub(crate) fn of_word(word: u64) -> ChildRef {
        let low = |word: u64| u32::try_from(word & u64::from(u32::MAX)).expect("32 bits");
        ChildRef { id: PageId(low(word)), checksum: low(word >> 32) }
    }
}

#[inline]
pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let field: [u8; 4] = bytes[at..at + 4].try_into().expect("the range has four bytes");
    u32::from_le_bytes(field)
}

#[inline]
pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    let field: [u8; 8] = bytes[at..at + 8].try_into().expect("the range has eight bytes");
    u64::from_le_bytes(field)
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The checksum of a page: CRC32C (which iSCSI named first) of all that follows the checksum field,
/// the id included. What checks a store computes its own, by another library.
pub(crate) fn page_checksum(bytes: &[u8]) -> u32 {
    if seeded!(ChecksumOverUsedBytes) {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(4, |last| last + 1);
        return crc32_iscsi(&bytes[HEADER_CHECKSUM + 4..used.max(4)]);
    }
    crc32_iscsi(&bytes[HEADER_CHECKSUM + 4..])
}

/// The checksum of an overflow run, whose bytes come piece by piece: CRC32C of its first page's id,
/// then of all its bytes.
pub(crate) struct RunHash(Digest);

impl RunHash {
    pub(crate) fn new(first: PageId) -> RunHash {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&first.0.to_le_bytes());
        RunHash(digest)
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of the bytes that came so far.
    pub(crate) fn checksum(&self) -> u32 {
        u32::try_from(self.0.finalize()).expect("the checksum has 32 bits")
    }
}

/// The checksum of an overflow run whose bytes are all at hand.
pub(crate) fn run_checksum(first: PageId, bytes: &[u8]) -> u32 {
    let mut hash = RunHash::new(first);
    hash.update(bytes);
    hash.checksum()
}

/// CRC32C of some bytes, one behind the other.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).expect("the checksum has 32 bits")
}

/// Stamps id and transaction on a page and computes its checksum. Returns the checksum.
pub(crate) fn seal_bytes(bytes: &mut [u8], id: PageId, txn: TxnId) -> u32 {
    let early = seeded!(IdStampedAfterChecksum).then(|| page_checksum(bytes));
    put_u32(bytes, HEADER_ID, id.0);
    put_u64(bytes, HEADER_TXN, txn.0);
    let checksum = early.unwrap_or_else(|| page_checksum(bytes));
    put_u32(bytes, HEADER_CHECKSUM, checksum);
    checksum
}

/// A sealed page. Its bytes never change.
#[derive(Clone)]
pub(crate) struct Page {
    /// What the header says too; kept here, since a commit asks often and the header is far.
    child: ChildRef,
    bytes: Bytes,
}

/// Where the bytes of a page are.
#[derive(Clone)]
enum Bytes {
    /// In memory of their own.
    Own(Buffer),
    /// In a frame of the cache, which the page holds.
    Frame(Pin),
}

impl Page {
    /// Seals bytes that were built here.
    pub(crate) fn seal(mut bytes: Buffer, id: PageId, txn: TxnId) -> Page {
        let checksum = seal_bytes(&mut bytes, id, txn);
        Page { child: ChildRef { id, checksum }, bytes: Bytes::Own(bytes) }
    }

    /// A page of bytes that were read and checked.
    pub(crate) fn own(bytes: Buffer) -> Page {
        Page { child: child_ref(&bytes), bytes: Bytes::Own(bytes) }
    }

    /// A page that lies in a frame.
    #[inline(always)]
    pub(crate) fn in_frame(pin: Pin) -> Page {
        Page { child: child_ref(pin.bytes()), bytes: Bytes::Frame(pin) }
    }

    /// Whether the page lies in a frame of the cache.
    pub(crate) fn is_in_frame(&self) -> bool {
        matches!(self.bytes, Bytes::Frame(_))
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Frame(pin) => pin.bytes(),
        }
    }

    pub(crate) fn id(&self) -> PageId {
        self.child.id
    }

    pub(crate) fn checksum(&self) -> u32 {
        self.child.checksum
    }

    pub(crate) fn txn(&self) -> TxnId {
        TxnId(get_u64(self.bytes(), HEADER_TXN))
    }

    pub(crate) fn level(&self) -> u8 {
        self.bytes()[HEADER_LEVEL]
    }

    /// How a parent refers to this page.
    pub(crate) fn child_ref(&self) -> ChildRef {
        self.child
    }
}

#[inline]
fn child_ref(bytes: &[u8]) -> ChildRef {
    ChildRef { id: PageId(get_u32(bytes, HEADER_ID)), checksum: get_u32(bytes, HEADER_CHECKSUM) }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("id", &self.id())
            .field("txn", &self.txn())
            .field("kind", &self.bytes()[HEADER_KIND])
            .field("level", &self.level())
            .field("count", &get_u16(self.bytes(), HEADER_COUNT))
            .finish_non_exhaustive()
    }
}

/// The error of a page that is whole, with a checksum that whoever points to it does not mean.
#[cold]
pub(crate) fn not_meant(child: ChildRef, found: u32) -> Error {
    Error::corruption(
        Some(child.id.0),
        Invariant::ParentHoldsChecksum,
        format_args!("{:#010x}", child.checksum),
        format_args!("{found:#010x}"),
    )
}

/// The error of a page of a later transaction than whoever points to it may have.
#[cold]
pub(crate) fn too_new(id: PageId, txn_max: TxnId, found: TxnId) -> Error {
    let expected = format_args!("at most {txn_max}");
    Error::corruption(Some(id.0), Invariant::ChildNotNewer, expected, found)
}

/// Checks the checksum and the id of a page read from `id`.
pub(crate) fn check_bytes(bytes: &[u8], id: PageId) -> Result<()> {
    let (stored, computed) = (get_u32(bytes, HEADER_CHECKSUM), page_checksum(bytes));
    if stored != computed && !seeded!(ChecksumNotCompared) {
        return Err(Error::corruption(
            Some(id.0),
            Invariant::ChecksumCoversPage,
            format_args!("{computed:#010x}"),
            format_args!("{stored:#010x}"),
        ));
    }
    let found = get_u32(bytes, HEADER_ID);
    if found != id.0 && !seeded!(IdNotCompared) {
        return Err(Error::corruption(Some(id.0), Invariant::PageKnowsItsId, id, found));
    }
    Ok(())
}
