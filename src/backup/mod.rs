//! Backup and restore (layer L7).
//!
//! Owns: the ways from a state to a new file, to a stream, and from streams to a new file.
//! Must not know: what pages hold, or how a transaction becomes durable.
//! Keeps: snapshot-stable (what is copied is one state), commit-atomic (a new file is there as a
//! whole or not at all), bytes-never-panic (a stream comes from elsewhere).

mod blocks;
mod fill;
mod increment;
mod pages;
mod source;
mod stream;

use crate::compact::cut_free_end;
use crate::db::BTree;
use crate::error::{Error, Result};
use crate::options::{NewStore, Options, check_page_size};
use crate::sync::Arc;
use crate::tree::PageRead;
use crate::tree::newer::Visited;
use crate::txn::Snapshot;
use crate::vfs::{OsVfs, Vfs};
use blocks::{BlockReader, Form};
use fill::fill;
use increment::Chain;
use pages::PageStream;
use source::{Source, StateSource};
use std::io::{Read, Write};
use std::path::Path;
use stream::{StreamSource, write_stream};

/// What a backup or a restore has copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupStats {
    /// The number of the state that was copied, [`Snapshot::seq`]. The numbers of a new file begin
    /// anew, but those of one that is made of [`Snapshot::backup_since`] go on with the source's.
    pub seq: u64,
    /// Buckets of the state.
    pub buckets: u64,
    /// Entries of all buckets; of an increment, those of the leaves that are in it.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub content_bytes: u64,
    /// Bytes of the file or of the stream that was written.
    pub written_bytes: u64,
}

/// What was copied so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    buckets: u64,
    entries: u64,
    content_bytes: u64,
}

impl Totals {
    fn of(buckets: u64, visited: Visited) -> Totals {
        let Visited { entries, content_bytes, .. } = visited;
        Totals { buckets, entries, content_bytes }
    }

    fn add_entry(&mut self, key: &[u8], value_len: u64) {
        self.entries += 1;
        self.content_bytes += key.len() as u64 + value_len;
    }

    fn stats(self, seq: u64, written_bytes: u64) -> BackupStats {
        let Totals { buckets, entries, content_bytes } = self;
        BackupStats { seq, buckets, entries, content_bytes, written_bytes }
    }
}

impl Snapshot {
    /// Copies this state, all buckets of it, into a new store file, which [`BTree::open`] opens
    /// afterwards. Its pages are full, whatever the source's are, and have the same size; next to
    /// none are free.
    ///
    /// Readers and writers go on meanwhile; what they write is not copied. About 50 MiB and the
    /// names of all buckets are in memory at a time, whatever else the size of the data. The file
    /// is written under another name beside `path`, with `-btree-store-backup` behind it, and gets
    /// its own, durably, when it is whole: a crash or an error leaves nothing at `path`. The error
    /// removes the other file; after a crash it stays until the next backup to this path, which
    /// writes over it. So may an empty file with `-create` behind its name, until somebody opens a
    /// store at `path`.
    ///
    /// The file is made where [`Options::vfs`] of this store says, or else as one of the operating
    /// system; of a store in memory, too ([`Options::open_in_memory`]).
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (path, copy) = (dir.path().join("data.db"), dir.path().join("copy.db"));
    /// use btree_store::{BTree, Error};
    /// let db = BTree::open(&path)?;
    /// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
    /// let stats = db.snapshot().backup(&copy)?;
    /// assert_eq!((stats.seq, stats.buckets, stats.entries), (1, 1, 1));
    /// let copied = BTree::open(&copy)?;
    /// assert_eq!(copied.view("users", |txn| txn.get("id:100"))?, b"Alice");
    /// assert_eq!(db.backup(&copy), Err(Error::Duplicate));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Duplicate`] when there is something at `path`, be it empty: it is left as it is;
    /// [`Error::Busy`] when another backup, or the opening of a store there, is making the same
    /// file; [`Error::Invalid`] when another store, or anything longer than 64 KiB, has the name of
    /// the file with `-create` behind it; [`Error::NoSpace`] and [`Error::IoError`] of either file;
    /// [`Error::Corruption`] of the source.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<BackupStats> {
        let pager = &self.core().pager;
        let page_size = u32::try_from(pager.page_size()).map_err(|_| Error::Internal)?;
        let vfs = Arc::clone(&self.core().copies);
        make(vfs, path.as_ref(), page_size, &mut StateSource::new(self)?)
    }

    /// Writes this state, all buckets of it, as a stream, from which [`Options::restore`] makes a
    /// store again. `docs/format.md` in the repository describes it.
    ///
    /// Readers and writers go on meanwhile. Some 256 KiB are in memory, one value of less than
    /// that, and the names of all buckets, whatever else the size of the data. The writer gets
    /// pieces of at most 256 KiB and 8 bytes, and is flushed at the end. The same state gives the
    /// same bytes.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// use btree_store::Options;
    /// use btree_store::vfs::MemVfs;
    /// use std::sync::Arc;
    /// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
    /// let mut stream = Vec::new();
    /// let stats = db.snapshot().backup_to(&mut stream)?;
    /// assert_eq!(stats.written_bytes, stream.len() as u64);
    /// let options = Options::new().vfs(Arc::new(MemVfs::new()));
    /// options.clone().restore(&mut stream.as_slice(), "restored.db")?;
    /// let restored = options.open("restored.db")?;
    /// assert_eq!(restored.view("users", |txn| txn.get("id:100"))?, b"Alice");
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::IoError`] and [`Error::NoSpace`] with what the writer says; [`Error::Corruption`]
    /// and [`Error::IoError`] of the source. What was written by then is no whole stream, and a
    /// restore refuses it.
    pub fn backup_to(&self, writer: &mut impl Write) -> Result<BackupStats> {
        write_stream(writer, self.core().pager.page_size(), &mut StateSource::new(self)?)
    }
}

impl BTree {
    /// Copies the newest durable state into a new store file: [`Snapshot::backup`] of a snapshot
    /// that lives as long as this call.
    ///
    /// # Errors
    /// Those of [`Snapshot::backup`].
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<BackupStats> {
        self.snapshot().backup(path)
    }
}

impl Options {
    /// Makes a store file out of a stream that [`Snapshot::backup_to`] wrote, or
    /// [`Snapshot::backup_since`] since 0. It is not open afterwards. What follows is about the
    /// former; [`Options::restore_chain`] says how the latter differs.
    ///
    /// Its pages are full, and have the size that the options say, or else that of the store that
    /// was backed up. As with [`Snapshot::backup`], the file gets its name when it is whole, and
    /// about 50 MiB are in memory. Nothing is believed before its checksum was compared. The
    /// stream says where it ends: what follows it in the reader is not read.
    ///
    /// Of the options, the page size and the [`Vfs`](crate::vfs::Vfs) count. Those that are for
    /// opened stores do not: the cache's size, barriers and durability.
    ///
    /// ```
    /// use btree_store::{Error, Options};
    /// # let db = Options::new().open_in_memory()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("restored.db");
    /// let mut stream = Vec::new();
    /// db.snapshot().backup_to(&mut stream)?;
    /// stream.truncate(stream.len() - 1);
    /// assert_eq!(Options::new().restore(&mut stream.as_slice(), &path), Err(Error::Corruption));
    /// assert!(!path.exists());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corruption`] for a stream that is damaged, ends too early, or is none of this
    /// version: the detail names the place; [`Error::IoError`] with what the reader says,
    /// [`Error::Invalid`] if it says that it read more than there was room;
    /// [`Error::TooLarge`] for a key or a name that is too long for the page size of the options;
    /// [`Error::Invalid`] for a page size that is not allowed, for options that do not let a file
    /// be created, and as for [`Snapshot::backup`]; so are [`Error::Duplicate`], [`Error::Busy`],
    /// [`Error::NoSpace`] and [`Error::IoError`]. There is no file at `path` then.
    pub fn restore(self, reader: &mut impl Read, path: impl AsRef<Path>) -> Result<BackupStats> {
        self.restore_and(reader, path, |_| Ok(()))
    }

    /// As [`Options::restore`], of a stream behind which a closure looks before the file gets its
    /// name.
    ///
    /// # Errors
    /// Those of [`Options::restore`]; what the closure says: there is no file at `path` then.
    #[doc(hidden)]
    pub fn restore_and<R: Read>(
        self,
        reader: &mut R,
        path: impl AsRef<Path>,
        look_behind: impl FnOnce(&mut R) -> Result<()>,
    ) -> Result<BackupStats> {
        let (vfs, chosen) = self.creating()?;
        let (blocks, head) = BlockReader::begin(reader)?;
        if head.form == Form::Pages {
            let stream = PageStream::begin(head, blocks)?;
            let chain = Chain::begin(&vfs, path.as_ref(), chosen, stream)?;
            look_behind(reader)?;
            return chain.finish();
        }
        let mut source = StreamSource::behind(head, blocks);
        let page_size = chosen.unwrap_or(source.page_size());
        let new = NewStore::begin(vfs, path.as_ref(), page_size)?;
        let totals = fill_file(&new, path.as_ref(), &mut source)?;
        let seq = source.seq();
        look_behind(reader)?;
        end(new, (page_size, seq), &totals)
    }

    /// Where a file may be created, and the page size that was chosen for it.
    fn creating(self) -> Result<(Arc<dyn Vfs>, Option<u32>)> {
        if !self.may_create() {
            return Err(Error::invalid("a restore creates a file, which these options exclude"));
        }
        let (vfs, page_size) = self.into_place();
        page_size.map_or(Ok(()), check_page_size)?;
        Ok((vfs.unwrap_or_else(|| Arc::new(OsVfs)), page_size))
    }
}

/// Makes a new store file out of what a source gives.
fn make(
    vfs: Arc<dyn Vfs>,
    path: &Path,
    page_size: u32,
    source: &mut dyn Source,
) -> Result<BackupStats> {
    let new = NewStore::begin(vfs, path, page_size)?;
    let totals = fill_file(&new, path, source)?;
    end(new, (page_size, source.seq()), &totals)
}

/// Fills a new store. That its disk is full is told with its path: the source's need not be.
fn fill_file(new: &NewStore, path: &Path, source: &mut dyn Source) -> Result<Totals> {
    fill(new.core(), source).map_err(|error| match error {
        Error::NoSpace => error.of_file(path),
        other => other,
    })
}

/// Gives a store that was filled its name.
fn end(new: NewStore, (page_size, seq): (u32, u64), totals: &Totals) -> Result<BackupStats> {
    cut_free_end(new.core())?;
    let pages = new.core().readers.newest().page_count;
    new.finish()?;
    Ok(totals.stats(seq, u64::from(pages) * u64::from(page_size)))
}
