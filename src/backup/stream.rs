//! The records of a backup stream (part of backup, layer L7).
//!
//! Owns: what the blocks of a stream hold, written and read. Must not know: how a stream is cut
//! into blocks, or where the entries come from or go.
//! Keeps: bytes-never-panic, sorted-keys and entry-count (of what a stream says).

use super::blocks::{BlockReader, BlockWriter, Form, Head};
use super::source::{Bucket, Entry, Source, Value};
use super::{BackupStats, Totals};
use crate::error::{Error, Result};
use crate::format::{
    STREAM_BUCKET_LEN, STREAM_END_LEN, STREAM_ENTRY_LEN, bucket_name_len_max, key_len_max,
};
use crate::invariant::Invariant;
use crate::page::{get_u16, get_u32, get_u64, put_u16, put_u32, put_u64};
use crate::pager::PIECE_BYTES;
use std::fmt::Display;
use std::io::Write;

/// Writes all that a source gives as a stream.
///
/// # Errors
/// What the source and the writer say.
pub(super) fn write_stream(
    writer: &mut dyn Write,
    page_size: usize,
    source: &mut dyn Source,
) -> Result<BackupStats> {
    let page_size = u32::try_from(page_size).map_err(|_| Error::Internal)?;
    let seq = source.seq();
    let mut out = BlockWriter::begin(writer, Head { form: Form::Entries, page_size, seq })?;
    let mut totals = Totals::default();
    while let Some(Bucket { name, entries }) = source.next_bucket()? {
        let mut record = [0; STREAM_BUCKET_LEN];
        put_u16(&mut record, 0, u16::try_from(name.len()).map_err(|_| Error::Internal)?);
        put_u64(&mut record, 2, entries);
        out.push(&record)?;
        out.push(name.as_bytes())?;
        write_entries(&mut out, source, &mut totals)?;
        totals.buckets += 1;
    }
    let mut record = [0; STREAM_END_LEN];
    put_u64(&mut record, 2, totals.buckets);
    put_u64(&mut record, 10, totals.entries);
    put_u64(&mut record, 18, totals.content_bytes);
    out.push(&record)?;
    Ok(totals.stats(seq, out.finish()?))
}

/// Writes the entries of a bucket.
fn write_entries(
    out: &mut BlockWriter<'_>,
    source: &mut dyn Source,
    totals: &mut Totals,
) -> Result<()> {
    while let Some(Entry { key, value }) = source.next_entry()? {
        let len = match value {
            Value::Whole(value) => u32::try_from(value.len()).map_err(|_| Error::Internal)?,
            Value::Pieces(len) => len,
        };
        let mut record = [0; STREAM_ENTRY_LEN];
        put_u16(&mut record, 0, u16::try_from(key.len()).map_err(|_| Error::Internal)?);
        put_u32(&mut record, 2, len);
        out.push(&record)?;
        out.push(key)?;
        totals.add_entry(key, u64::from(len));
        match value {
            Value::Whole(value) => out.push(value)?,
            Value::Pieces(_) => {
                while let Some(piece) = source.next_piece()? {
                    out.push(piece)?;
                }
            }
        }
    }
    Ok(())
}

/// The entries of a stream.
pub(super) struct StreamSource<'r> {
    blocks: BlockReader<'r>,
    head: Head,
    /// The name of the bucket, which is read; empty before the first.
    name: String,
    /// Entries of it that are still to come.
    left: u64,
    /// The key that was read last; empty before the first of a bucket.
    key: Vec<u8>,
    /// The key before it.
    last: Vec<u8>,
    value: Vec<u8>,
    /// Bytes of a value in pieces that are still to come.
    rest: u32,
    totals: Totals,
}

impl<'r> StreamSource<'r> {
    /// What follows the header of a stream of entries.
    pub(super) fn behind(head: Head, blocks: BlockReader<'r>) -> StreamSource<'r> {
        StreamSource {
            blocks,
            head,
            name: String::new(),
            left: 0,
            key: Vec::new(),
            last: Vec::new(),
            value: Vec::new(),
            rest: 0,
            totals: Totals::default(),
        }
    }

    /// Of the store that was backed up, in bytes.
    pub(super) fn page_size(&self) -> u32 {
        self.head.page_size
    }

    /// Checks a length from the stream.
    fn check_len(&self, what: &str, len: u16, limit: usize) -> Result<usize> {
        let len = usize::from(len);
        if (1..=limit).contains(&len) {
            return Ok(len);
        }
        Err(self.blocks.broken(format_args!("a {what} of 1 to {limit} bytes"), len))
    }

    /// Reads the rest of the closing record, whose beginning was read.
    fn end(&mut self, beginning: [u8; STREAM_BUCKET_LEN]) -> Result<()> {
        let mut record = [0; STREAM_END_LEN];
        record[..STREAM_BUCKET_LEN].copy_from_slice(&beginning);
        self.blocks.fill(&mut record[STREAM_BUCKET_LEN..])?;
        let [buckets, entries, content_bytes] = [2, 10, 18].map(|at| get_u64(&record, at));
        let told = Totals { buckets, entries, content_bytes };
        if told != self.totals {
            return Err(count_error(shown(told), shown(self.totals)));
        }
        self.blocks.check_end()
    }
}

fn shown(totals: Totals) -> String {
    let Totals { buckets, entries, content_bytes } = totals;
    format!("{buckets} buckets, {entries} entries, {content_bytes} bytes")
}

fn count_error(expected: impl Display, found: impl Display) -> Error {
    Error::corruption(None, Invariant::EntryCount, expected, found)
}

fn order_error(what: &str) -> Error {
    let expected = format!("{what} that ascend in a backup stream");
    Error::corruption(None, Invariant::SortedKeys, expected, "others")
}

impl Source for StreamSource<'_> {
    fn seq(&self) -> u64 {
        self.head.seq
    }

    fn next_bucket(&mut self) -> Result<Option<Bucket>> {
        let mut record = [0; STREAM_BUCKET_LEN];
        self.blocks.fill(&mut record)?;
        let len = get_u16(&record, 0);
        if len == 0 {
            return self.end(record).map(|()| None);
        }
        let limit = bucket_name_len_max(self.head.page_size as usize);
        let mut name = vec![0; self.check_len("bucket name", len, limit)?];
        self.blocks.fill(&mut name)?;
        let name = String::from_utf8(name)
            .map_err(|_| self.blocks.broken("a bucket's name in UTF-8", "other bytes"))?;
        if name <= self.name {
            return Err(order_error("bucket names"));
        }
        self.left = get_u64(&record, 2);
        self.key.clear();
        self.totals.buckets += 1;
        self.name.clone_from(&name);
        Ok(Some(Bucket { name, entries: self.left }))
    }

    fn next_entry(&mut self) -> Result<Option<Entry<'_>>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut record = [0; STREAM_ENTRY_LEN];
        self.blocks.fill(&mut record)?;
        let limit = key_len_max(self.head.page_size as usize);
        let key_len = self.check_len("key", get_u16(&record, 0), limit)?;
        let len = get_u32(&record, 2);
        std::mem::swap(&mut self.key, &mut self.last);
        self.key.resize(key_len, 0);
        self.blocks.fill(&mut self.key)?;
        if self.key <= self.last {
            return Err(order_error("keys"));
        }
        self.totals.add_entry(&self.key, u64::from(len));
        let value = if len as usize >= PIECE_BYTES {
            self.rest = len;
            Value::Pieces(len)
        } else {
            self.value.resize(len as usize, 0);
            self.blocks.fill(&mut self.value)?;
            Value::Whole(&self.value)
        };
        Ok(Some(Entry { key: &self.key, value }))
    }

    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        if self.rest == 0 {
            return Ok(None);
        }
        let piece = self.blocks.take(self.rest as usize)?;
        self.rest -= u32::try_from(piece.len()).expect("a piece is no longer than asked for");
        Ok(Some(piece))
    }
}
