//! A state of the application's buckets as a stream of bytes.
//!
//! Owns: the form of a snapshot between nodes. Must not know: where the bytes are kept.
//!
//! A magic number; for each bucket a `B`, its name's length (u16) and its name, and then for each
//! of its entries an `E`, the lengths of key (u16) and value (u32), key and value; at the end a
//! `Z`, the number of entries (u64), and the CRC32C of all that comes before it (u32). Numbers are
//! little-endian. Equal states make equal streams.

use crate::error::{Error, Result};
use crate::reader::StateView;
use openraft::RaftTypeConfig;
use std::io::{self, ErrorKind, Read, Write};

const MAGIC: &[u8; 8] = b"BTSRAFT1";
const BUCKET: u8 = b'B';
const ENTRY: u8 = b'E';
const END: u8 = b'Z';
const SNAPSHOT: &str = "snapshot";

/// Bytes on their way, and their checksum.
struct Summed<T> {
    inner: T,
    sum: u32,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.inner.write_all(bytes)
    }

    fn put_entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.put(&[ENTRY])?;
        self.put(&length::<u16>(key)?.to_le_bytes())?;
        self.put(&length::<u32>(value)?.to_le_bytes())?;
        self.put(key)?;
        self.put(value)
    }
}

/// A length in the type that the stream has for it.
fn length<N: TryFrom<usize>>(bytes: &[u8]) -> io::Result<N> {
    N::try_from(bytes.len()).map_err(|_| ErrorKind::InvalidInput.into())
}

/// Writes a state of the application's buckets. Returns the stream's checksum.
pub(crate) fn write<C: RaftTypeConfig>(view: &StateView<C>, to: impl Write) -> Result<u32> {
    let failed = Error::spool("write a snapshot");
    let mut to = Summed { inner: to, sum: 0 };
    to.put(MAGIC).map_err(&failed)?;
    let mut entries: u64 = 0;
    for bucket in view.buckets()? {
        let begin = |to: &mut Summed<_>| {
            to.put(&[BUCKET])?;
            to.put(&length::<u16>(bucket.as_bytes())?.to_le_bytes())?;
            to.put(bucket.as_bytes())
        };
        begin(&mut to).map_err(&failed)?;
        let written = view.view(&bucket, |txn| {
            let mut range = txn.range::<[u8]>(..);
            // Lent: a large value is in memory once.
            while let Some((key, value)) = range.next_entry()? {
                if let Err(error) = to.put_entry(key, value) {
                    return Ok(Err(error));
                }
                entries += 1;
            }
            Ok(Ok(()))
        })?;
        written.map_err(&failed)?;
    }
    let mut finish = || -> io::Result<u32> {
        to.put(&[END])?;
        to.put(&entries.to_le_bytes())?;
        let sum = to.sum;
        to.put(&sum.to_le_bytes())?;
        to.inner.flush()?;
        Ok(sum)
    };
    finish().map_err(failed)
}

/// What a stream consists of.
pub(crate) enum Record {
    /// A bucket begins.
    Bucket(String),
    /// An entry of the bucket that began last.
    Entry { key: Vec<u8>, value: Vec<u8> },
}

/// Reads a stream back, and believes nothing: that all of it is as it was written is known when
/// [`Records::next`] says that there is no more, and not before.
pub(crate) struct Records<R> {
    from: Summed<R>,
    entries: u64,
    is_over: bool,
}

impl<R: Read> Records<R> {
    /// Of a stream that begins here.
    pub(crate) fn begin(from: R) -> Result<Records<R>> {
        let mut records =
            Records { from: Summed { inner: from, sum: 0 }, entries: 0, is_over: false };
        if records.take::<8>()? != *MAGIC {
            return Err(Error::damaged(SNAPSHOT, "it does not begin like one"));
        }
        Ok(records)
    }

    /// The next record; `None` at the end of a whole stream.
    pub(crate) fn next(&mut self) -> Result<Option<Record>> {
        if self.is_over {
            return Ok(None);
        }
        match self.take::<1>()? {
            [BUCKET] => {
                let len = u64::from(u16::from_le_bytes(self.take()?));
                let name = String::from_utf8(self.take_vec(len)?);
                let name = name.map_err(|_| Error::damaged(SNAPSHOT, "a name is not UTF-8"))?;
                Ok(Some(Record::Bucket(name)))
            }
            [ENTRY] => {
                let key_len = u64::from(u16::from_le_bytes(self.take()?));
                let value_len = u64::from(u32::from_le_bytes(self.take()?));
                self.entries += 1;
                Ok(Some(Record::Entry {
                    key: self.take_vec(key_len)?,
                    value: self.take_vec(value_len)?,
                }))
            }
            [END] => self.finish().map(|()| None),
            [other] => Err(Error::damaged(SNAPSHOT, format_args!("there is no record {other}"))),
        }
    }

    fn finish(&mut self) -> Result<()> {
        let entries = u64::from_le_bytes(self.take()?);
        let sum = self.from.sum;
        if u32::from_le_bytes(self.take()?) != sum {
            return Err(Error::damaged(SNAPSHOT, "its checksum is another"));
        }
        if entries != self.entries {
            let why = format_args!("{entries} entries were written, {} found", self.entries);
            return Err(Error::damaged(SNAPSHOT, why));
        }
        let behind = io::copy(&mut (&mut self.from.inner).take(1), &mut io::sink());
        if behind.map_err(Error::spool("read a snapshot"))? != 0 {
            return Err(Error::damaged(SNAPSHOT, "it goes on behind its end"));
        }
        self.is_over = true;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.inner.read_exact(&mut bytes).map_err(|error| failed(&error))?;
        self.from.sum = crc32c::crc32c_append(self.from.sum, &bytes);
        Ok(bytes)
    }

    /// So many bytes. Memory grows with what is there, not with what is promised.
    fn take_vec(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.from.inner).take(len).read_to_end(&mut bytes);
        if read.map_err(|error| failed(&error))? as u64 != len {
            return Err(cut_off());
        }
        self.from.sum = crc32c::crc32c_append(self.from.sum, &bytes);
        Ok(bytes)
    }
}

fn failed(error: &io::Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        return cut_off();
    }
    Error::Spool { operation: "read a snapshot", kind: error.kind(), message: error.to_string() }
}

fn cut_off() -> Error {
    Error::damaged(SNAPSHOT, "it is cut off")
}
