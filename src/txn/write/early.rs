//! Values that come from a reader (part of txn, layer L6).
//!
//! Owns: [`Txn::put_from`]; [`Taken`]: how a value is taken out of a reader, and what is said of
//! one that has another length. Must not know: where a value's pages lie, or what the tree does
//! with it.
//! Keeps: commit-atomic (a value that was not taken to its end gives its pages back).

use super::super::{Sticky, check_value_len};
use super::Txn;
use crate::commit::EarlyWriter;
use crate::error::{Error, Result};
use crate::pager::PIECE_BYTES;
use crate::sync::Arc;
use crate::tree::{Condition, EarlyRun, NewValue, PageRead, fits_inline};
use std::io::{ErrorKind, Read};

/// Values of at least so many bytes are written to the file when they are put. Shorter ones wait
/// in memory for the commit, which writes them together with all else.
pub(super) const EARLY_BYTES_MIN: usize = PIECE_BYTES;

/// A value that was taken out of its reader.
pub(in crate::txn) enum Taken {
    Bytes(Vec<u8>),
    Early(Arc<EarlyRun>),
}

impl Taken {
    /// The value, to be put.
    pub(in crate::txn) fn as_new(&self) -> NewValue<'_> {
        match self {
            Taken::Bytes(bytes) => NewValue::Bytes(bytes),
            Taken::Early(early) => NewValue::Early(early),
        }
    }

    /// Takes the value of a key, of so many bytes, out of a reader that ends there. `begin` begins
    /// to write one that has no room in a leaf.
    ///
    /// # Errors
    /// What the reader says, and `Invalid` when it ends elsewhere, which do not stick; what `begin`
    /// and the storage say, which does.
    pub(in crate::txn) fn take<'c>(
        page_size: usize,
        sticky: &Sticky,
        (key, len): (&[u8], u32),
        reader: &mut dyn Read,
        begin: impl FnOnce() -> Result<EarlyWriter<'c>>,
    ) -> Result<Taken> {
        if fits_inline(page_size, key, len as usize) {
            let mut bytes = vec![0; len as usize];
            fill(reader, &mut bytes)?;
            check_end(reader)?;
            return Ok(Taken::Bytes(bytes));
        }
        let mut early = sticky.note(begin())?;
        let mut piece = vec![0; PIECE_BYTES.min(len as usize)];
        let mut left = len as usize;
        while left > 0 {
            piece.truncate(left);
            fill(reader, &mut piece)?;
            sticky.note(early.push(&piece))?;
            left -= piece.len();
        }
        check_end(reader)?;
        sticky.note(early.finish()).map(Taken::Early)
    }
}

impl Txn<'_> {
    /// As [`Txn::put`], of a value of `len` bytes that comes from a reader, which must end there.
    ///
    /// A value that has no room in a leaf goes to the file piece by piece while it is read, to
    /// pages that are free: 256 KiB of it are in memory at a time, and none when this returns.
    /// Nothing in the file refers to it before the transaction commits; if that does not happen,
    /// the pages are free again. A file that grew for them stays that long until they are used, or
    /// [`BTree::compact`](crate::BTree::compact) gives its end back to the system. Whoever else
    /// wants to write waits while the reader takes its time.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     let mut reader = std::io::repeat(7).take(1_000_000);
    ///     txn.put_from("k", 1_000_000, &mut reader)?;
    ///     assert_eq!(txn.put_from("k", 3, &mut "four".as_bytes()), Err(Error::Invalid));
    ///     Ok(())
    /// })?;
    /// assert_eq!(db.view("b", |txn| Ok(txn.get_reader("k")?.len()))?, 1_000_000);
    /// # use std::io::Read;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when the reader ends before `len` bytes or goes on behind them, and
    /// [`Error::IoError`] with what it says when it fails: nothing is changed then, and the
    /// transaction may go on. Those of [`Txn::put`], and [`Error::NoSpace`], which sticks.
    pub fn put_from(
        &mut self,
        key: impl AsRef<[u8]>,
        len: u64,
        reader: &mut impl Read,
    ) -> Result<()> {
        let key = key.as_ref();
        self.check(key)?;
        let value = (key, check_value_len(len)?);
        let (core, work) = (self.core, self.work.get_mut());
        let begin = || work.begin_early(core, value.1);
        let page_size = core.pager.page_size();
        let taken = Taken::take(page_size, &self.sticky, value, reader, begin)?;
        self.put_new(key, taken.as_new())
    }

    /// As [`Txn::put`], of a value that may have its pages already.
    ///
    /// # Errors
    /// Those of [`Txn::put`].
    pub(in crate::txn) fn put_new(&mut self, key: &[u8], value: NewValue<'_>) -> Result<()> {
        self.check(key)?;
        self.change(|tree, edit| tree.put_if(edit, (key, value), Condition::Always)).map(drop)
    }
}

/// What fails where a reader does.
const READ: &str = "read a value that is put";

fn fill(reader: &mut dyn Read, bytes: &mut [u8]) -> Result<()> {
    let is_whole = read_whole(reader, bytes, READ)?;
    let short = || Error::invalid("the reader ends before the length given");
    if is_whole { Ok(()) } else { Err(short()) }
}

fn check_end(reader: &mut dyn Read) -> Result<()> {
    match read_some(reader, &mut [0], READ)? {
        0 => Ok(()),
        _ => Err(Error::invalid("the reader goes on behind the length given")),
    }
}

/// Fills a buffer. Returns whether the reader had so much. [`Read::read_exact`] does not tell an
/// end from a reader that fails with `UnexpectedEof`, and panics where one says that it read too
/// much.
///
/// # Errors
/// `IoError` with what the reader says; `Invalid` for one that counts wrong.
pub(crate) fn read_whole(
    reader: &mut dyn Read,
    mut bytes: &mut [u8],
    operation: &'static str,
) -> Result<bool> {
    while !bytes.is_empty() {
        match read_some(reader, bytes, operation)? {
            0 => return Ok(false),
            read => bytes = &mut bytes[read..],
        }
    }
    Ok(true)
}

/// As [`Read::read`], again where that is interrupted; fails as [`read_whole`] does.
fn read_some(reader: &mut dyn Read, bytes: &mut [u8], operation: &'static str) -> Result<usize> {
    loop {
        match reader.read(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(read) if read > bytes.len() => {
                return Err(Error::invalid("the reader says that it read more than there is room"));
            }
            // That its disk is full says nothing of the store's.
            Err(error) => return Err(Error::io(operation, &error).of_unknown_outcome()),
            Ok(read) => return Ok(read),
        }
    }
}
