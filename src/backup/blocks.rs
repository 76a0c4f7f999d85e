//! The blocks of a backup stream (part of backup, layer L7).
//!
//! Owns: the header, and blocks with their checksums. Must not know: what the blocks hold.
//! Keeps: bytes-never-panic (a length is compared with its bound before memory is asked for, and
//! no byte is given out before the checksum of its block was compared).
//!
//! The checksum of a block covers the checksum before it, so that a block that is missing, or in
//! another place, or of another stream, is found too.

use crate::error::{Error, Result};
use crate::format::{
    PAGE_SIZE_MAX, PAGE_SIZE_MIN, STREAM_BLOCK_HEADER, STREAM_BLOCK_MAX, STREAM_HEADER_CHECKSUM,
    STREAM_HEADER_LEN, STREAM_HEADER_MAGIC, STREAM_HEADER_PAGE_SIZE, STREAM_HEADER_SEQ,
    STREAM_HEADER_VERSION, STREAM_MAGIC, STREAM_VERSION, STREAM_VERSION_PAGES,
};
use crate::invariant::Invariant;
use crate::page::{crc32c, get_u32, get_u64, put_u32, put_u64};
use crate::txn::read_whole;
use std::fmt::Display;
use std::io::{Read, Write};

/// What the blocks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Entries,
    Pages,
}

impl Form {
    fn version(self) -> u32 {
        match self {
            Form::Entries => STREAM_VERSION,
            Form::Pages => STREAM_VERSION_PAGES,
        }
    }
}

/// What the header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) form: Form,
    /// Of the store, in bytes.
    pub(super) page_size: u32,
    /// The number of the state.
    pub(super) seq: u64,
}

fn block_checksum(before: u32, len: u32, content: &[u8]) -> u32 {
    crc32c(&[&before.to_le_bytes(), &len.to_le_bytes(), content])
}

/// What is wrong with a stream.
pub(super) fn broken(expected: impl Display, found: impl Display) -> Error {
    Error::corruption(None, Invariant::BytesNeverPanic, expected, found)
}

/// Cuts what is written into blocks.
pub(super) struct BlockWriter<'w> {
    writer: &'w mut dyn Write,
    /// The block that is filled, its header in front.
    block: Vec<u8>,
    /// The checksum of the block before, or of the header.
    before: u32,
    written: u64,
}

impl<'w> BlockWriter<'w> {
    /// Writes the header.
    ///
    /// # Errors
    /// What the writer says.
    pub(super) fn begin(writer: &'w mut dyn Write, head: Head) -> Result<BlockWriter<'w>> {
        let mut bytes = vec![0; STREAM_HEADER_LEN];
        bytes[STREAM_HEADER_MAGIC..STREAM_HEADER_VERSION].copy_from_slice(&STREAM_MAGIC);
        put_u32(&mut bytes, STREAM_HEADER_VERSION, head.form.version());
        put_u32(&mut bytes, STREAM_HEADER_PAGE_SIZE, head.page_size);
        put_u64(&mut bytes, STREAM_HEADER_SEQ, head.seq);
        let before = crc32c(&[&bytes[..STREAM_HEADER_CHECKSUM]]);
        put_u32(&mut bytes, STREAM_HEADER_CHECKSUM, before);
        let block = vec![0; STREAM_BLOCK_HEADER];
        let mut begun = BlockWriter { writer, block, before, written: 0 };
        begun.write(&bytes)?;
        Ok(begun)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the writer says.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        const FULL: usize = STREAM_BLOCK_HEADER + STREAM_BLOCK_MAX;
        while !bytes.is_empty() {
            if self.block.len() == FULL {
                self.end_block()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(FULL - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes what is left. Returns how many bytes the stream has.
    ///
    /// # Errors
    /// What the writer says.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.end_block()?;
        self.writer.flush().map_err(|error| write_error(&error))?;
        Ok(self.written)
    }

    fn end_block(&mut self) -> Result<()> {
        let mut block = std::mem::take(&mut self.block);
        let len = u32::try_from(block.len() - STREAM_BLOCK_HEADER).expect("a block is small");
        self.before = block_checksum(self.before, len, &block[STREAM_BLOCK_HEADER..]);
        put_u32(&mut block, 0, len);
        put_u32(&mut block, 4, self.before);
        self.write(&block)?;
        block.truncate(STREAM_BLOCK_HEADER);
        self.block = block;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|error| write_error(&error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn write_error(error: &std::io::Error) -> Error {
    Error::io("write the backup", error)
}

/// Reads blocks, and gives their bytes once their checksum was compared.
pub(super) struct BlockReader<'r> {
    reader: &'r mut dyn Read,
    block: Vec<u8>,
    /// Bytes of the block that were given.
    given: usize,
    /// The checksum of the block, or of the header.
    before: u32,
    /// Blocks that were read.
    blocks: u64,
}

impl<'r> BlockReader<'r> {
    /// Reads the header.
    ///
    /// # Errors
    /// Corruption when it is none of this version; what the reader says.
    pub(super) fn begin(reader: &'r mut dyn Read) -> Result<(BlockReader<'r>, Head)> {
        let mut bytes = [0; STREAM_HEADER_LEN];
        // A foreign stream may be shorter than a header.
        let (magic, rest) = bytes.split_at_mut(STREAM_HEADER_VERSION);
        read_exact(reader, magic, "the beginning of a backup stream")?;
        if magic != STREAM_MAGIC {
            let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
            return Err(broken(shown(&STREAM_MAGIC), shown(magic)));
        }
        read_exact(reader, rest, "the header of a backup stream")?;
        let version = get_u32(&bytes, STREAM_HEADER_VERSION);
        let form = [Form::Entries, Form::Pages].into_iter().find(|form| form.version() == version);
        let Some(form) = form else {
            let known = format!("version {STREAM_VERSION} or {STREAM_VERSION_PAGES}");
            return Err(broken(format_args!("{known} of a backup stream"), version));
        };
        let stored = get_u32(&bytes, STREAM_HEADER_CHECKSUM);
        let before = crc32c(&[&bytes[..STREAM_HEADER_CHECKSUM]]);
        compare(stored, before, "the header")?;
        let page_size = get_u32(&bytes, STREAM_HEADER_PAGE_SIZE);
        if !page_size.is_power_of_two() || !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size) {
            return Err(broken("a page size in the header", page_size));
        }
        let head = Head { form, page_size, seq: get_u64(&bytes, STREAM_HEADER_SEQ) };
        let begun = BlockReader { reader, block: Vec::new(), given: 0, before, blocks: 0 };
        Ok((begun, head))
    }

    /// The next bytes, at most so many, and at least one.
    ///
    /// # Errors
    /// Corruption where there are none; what the reader says.
    pub(super) fn take(&mut self, most: usize) -> Result<&[u8]> {
        if self.given == self.block.len() {
            self.advance()?;
        }
        let from = self.given;
        self.given = from + most.min(self.block.len() - from);
        Ok(&self.block[from..self.given])
    }

    /// Fills a buffer.
    ///
    /// # Errors
    /// Those of [`BlockReader::take`].
    pub(super) fn fill(&mut self, mut buf: &mut [u8]) -> Result<()> {
        while !buf.is_empty() {
            let bytes = self.take(buf.len())?;
            let (now, later) = buf.split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            buf = later;
        }
        Ok(())
    }

    /// Checks that the block has no more bytes.
    ///
    /// # Errors
    /// Corruption, if it has.
    pub(super) fn check_end(&self) -> Result<()> {
        let rest = self.block.len() - self.given;
        if rest == 0 {
            Ok(())
        } else {
            Err(self.broken("no bytes behind the closing record", rest))
        }
    }

    /// What is wrong with the block that was read last.
    pub(super) fn broken(&self, expected: impl Display, found: impl Display) -> Error {
        broken(format_args!("{expected}, in block {}", self.blocks), found)
    }

    fn advance(&mut self) -> Result<()> {
        self.blocks += 1;
        let mut header = [0; STREAM_BLOCK_HEADER];
        read_exact(self.reader, &mut header, format_args!("block {}", self.blocks))?;
        let (len, stored) = (get_u32(&header, 0), get_u32(&header, 4));
        if len == 0 || len as usize > STREAM_BLOCK_MAX {
            return Err(self.broken(format!("a length from 1 to {STREAM_BLOCK_MAX}"), len));
        }
        // Empty until its checksum was compared.
        let mut block = std::mem::take(&mut self.block);
        self.given = 0;
        block.resize(len as usize, 0);
        read_exact(self.reader, &mut block, format_args!("the content of block {}", self.blocks))?;
        let computed = block_checksum(self.before, len, &block);
        compare(stored, computed, format_args!("block {}", self.blocks))?;
        (self.block, self.before) = (block, computed);
        Ok(())
    }
}

fn compare(stored: u32, computed: u32, what: impl Display) -> Result<()> {
    if stored == computed {
        return Ok(());
    }
    let expected = format!("the checksum {computed:#010x} of {what}");
    Err(broken(expected, format!("{stored:#010x}")))
}

fn read_exact(reader: &mut dyn Read, buf: &mut [u8], what: impl Display) -> Result<()> {
    let is_whole = read_whole(reader, buf, "read the backup")?;
    if is_whole { Ok(()) } else { Err(broken(what, "the end of the stream")) }
}
