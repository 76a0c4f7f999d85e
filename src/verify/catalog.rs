//! The buckets of a state (part of verify, layer L5).
//!
//! Owns: [`Bucket`], read from a record, and the catalog that lies in the meta page.
//! Must not know: trees. Written from `docs/format.md`, apart from the engine's codec.

use super::findings::{Checked, Flaw, all_zero};
use super::slot::{Meta, Pointer};
use crate::format::{BUCKET_LEN, LEVELS_MAX, META_BUCKETS, bucket_name_len_max};
use crate::invariant::Invariant;
use crate::page::{get_u16, get_u32, get_u64};

/// What the catalog says of a bucket.
pub(super) struct Bucket {
    pub(super) name: Vec<u8>,
    /// The page where the record lies.
    pub(super) page: u32,
    /// The root and its level; none when the bucket is empty.
    pub(super) root: Option<(Pointer, u8)>,
    pub(super) entries: u64,
    pub(super) overflow_pages: u64,
}

/// Where a record was found: the page, and the transaction that wrote it.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) page: u32,
    pub(super) txn: u64,
}

impl Bucket {
    pub(super) fn decode(name: &[u8], record: &[u8], source: Source) -> Checked<Bucket> {
        let count = Invariant::EntryCount;
        if record.len() != BUCKET_LEN {
            return Err(Flaw::new(count, "the record of a bucket", "a value of another length"));
        }
        if std::str::from_utf8(name).is_err() {
            return Err(Flaw::new(count, "a name in UTF-8", name.escape_ascii()));
        }
        let (id, level) = (get_u32(record, 0), get_u32(record, 8));
        let (entries, overflow_pages) = (get_u64(record, 12), get_u64(record, 20));
        let level = u8::try_from(level).ok().filter(|&level| level < LEVELS_MAX);
        let Some(level) = level else {
            let expected = format_args!("a level below {LEVELS_MAX}");
            return Err(Flaw::new(Invariant::UniformDepth, expected, get_u32(record, 8)));
        };
        if id == 0 && (entries > 0 || overflow_pages > 0) {
            let found = format_args!("{entries} entries, {overflow_pages} overflow pages");
            return Err(Flaw::new(count, "a root, or an empty bucket", found));
        }
        if id == 0 && !all_zero(record) {
            let zeros = "zeros in the record of an empty bucket";
            return Err(Flaw::new(Invariant::SameCallsSameBytes, zeros, "other bytes"));
        }
        let pointer = Pointer { id, checksum: get_u32(record, 4), txn_max: source.txn };
        let root = (id != 0).then_some((pointer, level));
        Ok(Bucket { name: name.to_vec(), page: source.page, root, entries, overflow_pages })
    }
}

/// Reads the catalog that lies in the meta page. What was read before a flaw is kept in `out`.
pub(super) fn read_inline(meta: &Meta, out: &mut Vec<Bucket>) -> Checked<()> {
    let mut rest = meta.inline_catalog();
    let source = Source { page: u32::from(meta.slot), txn: meta.txn() };
    let stated = meta.field(META_BUCKETS);
    for number in 0..stated {
        if rest.len() < 4 && all_zero(rest) {
            return Err(Flaw::new(Invariant::EntryCount, format_args!("{stated} buckets"), number));
        }
        let (name, record) = split_bucket(&mut rest)?;
        let max = bucket_name_len_max(meta.page_size());
        if name.is_empty() || name.len() > max {
            let expected = format_args!("a name of 1 to {max} bytes");
            return Err(Flaw::new(Invariant::ValidMetaWhole, expected, name.len()));
        }
        if let Some(last) = out.last().filter(|last| *last.name >= *name) {
            let [last, found] = [&*last.name, name].map(String::from_utf8_lossy);
            let expected = format_args!("a name above {last:?}");
            return Err(Flaw::new(Invariant::SortedKeys, expected, format_args!("{found:?}")));
        }
        out.push(Bucket::decode(name, record, source)?);
    }
    if rest.len() >= 4 {
        let len = rest.len();
        let found = format_args!("{len} bytes behind them");
        return Err(Flaw::new(Invariant::EntryCount, format_args!("{stated} buckets"), found));
    }
    if !all_zero(rest) {
        let zeros = "zeros behind the inline catalog";
        return Err(Flaw::new(Invariant::SameCallsSameBytes, zeros, "other bytes"));
    }
    Ok(())
}

/// Takes a name and a record from the front of `rest`.
fn split_bucket<'b>(rest: &mut &'b [u8]) -> Checked<(&'b [u8], &'b [u8])> {
    let split = |bytes: &'b [u8]| {
        let (len, bytes) = bytes.split_at_checked(2)?;
        let (name, bytes) = bytes.split_at_checked(usize::from(get_u16(len, 0)))?;
        let (record, bytes) = bytes.split_at_checked(BUCKET_LEN)?;
        Some((name, record, bytes))
    };
    let Some((name, record, behind)) = split(rest) else {
        let len = rest.len();
        let found = format_args!("{len} bytes");
        return Err(Flaw::new(Invariant::ValidMetaWhole, "a bucket in the catalog", found));
    };
    *rest = behind;
    Ok((name, record))
}
