//! Incremental backup and restore (part of backup, layer L7).
//!
//! Owns: the way from a state to a stream of what is newer than another, and from such streams,
//! one on the other, to a new file. Must not know: what pages hold.
//! Keeps: snapshot-stable, commit-atomic (a new file is there as a whole or not at all).
//!
//! A transaction writes pages to free places and stamps them with its number, and a page is
//! written after what it refers to. So below a page that is no newer than state `since` nothing is
//! newer, and such a page of a later state was one of `since` too, with the same bytes: it cannot
//! have been given up in between, for nothing refers again to what was given up. Nothing else need
//! be known of `since`, however long it is gone. A file that has its pages at their places, and
//! gets those that are newer, has all of the later state. That this is so, the checksums say which
//! every page holds of those below it, up to the meta page: they are compared before the file gets
//! its name, whatever it is that was put together.

use super::blocks::{BlockReader, Form};
use super::pages::{PageStream, copy_pages, write_pages};
use super::{BackupStats, Totals};
use crate::db::BTree;
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::options::{NewImage, NewStream, Options};
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::tree::PageRead;
use crate::txn::Snapshot;
use crate::vfs::Vfs;
use std::io::{Read, Write};
use std::path::Path;

impl Snapshot {
    /// Writes what this state has that is newer than state `since`, a number that
    /// [`Snapshot::seq`] gave or [`BackupStats::seq`], as a stream: the pages that transactions
    /// wrote after it. Since 0 that is everything, with which a chain begins; each further part
    /// is since the one before. [`Options::restore_chain`] makes a store of the chain again, and
    /// [`Snapshot::apply_backup`] brings a store that was made so up to date.
    ///
    /// The stream's length goes with what changed, in whole pages: a key that changed costs its
    /// leaf and the pages above. A value that has pages of its own is written again when its leaf
    /// was, and so is what a compaction moved. To find what is newer, the children of every page
    /// that is newer are read, and nothing below the others. State `since` need not exist any
    /// more. Readers and writers go on meanwhile; some 512 KiB are in memory, the names of the
    /// buckets that are looked at, since 0 of all, and some 8 bytes for each branch page of the
    /// tree that is looked at.
    ///
    /// Unlike [`Snapshot::backup_to`], it keeps the pages as they are, with their free places,
    /// and the store that is made of it has the numbers of this one.
    ///
    /// ```
    /// use btree_store::vfs::MemVfs;
    /// use btree_store::{BTree, Options};
    /// use std::sync::Arc;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
    /// let mut full = Vec::new();
    /// let base = db.snapshot().backup_since(0, &mut full)?;
    /// db.exec("users", |txn| txn.put("id:101", "Bob"))?;
    /// let mut increment = Vec::new();
    /// db.snapshot().backup_since(base.seq, &mut increment)?;
    ///
    /// let options = Options::new().vfs(Arc::new(MemVfs::new()));
    /// options.clone().restore_chain([&*full, &*increment], "restored.db")?;
    /// let restored = options.open("restored.db")?;
    /// assert_eq!(restored.view("users", |txn| txn.get("id:101"))?, b"Bob");
    /// assert_eq!(restored.current_seq(), db.current_seq());
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a `since` that is higher than this state's own number, and for a
    /// store whose last writer died and which is open for reading only: what it shows may not be
    /// durable, and after a power failure another state has its number; the others of
    /// [`Snapshot::backup_to`]. A number that belongs to another store cannot be told from one of
    /// this store's: what is made of it is refused when it is put on that store's state.
    pub fn backup_since(&self, since: u64, writer: &mut impl Write) -> Result<BackupStats> {
        write_pages(writer, self, since)
    }

    /// Writes the stream of [`Snapshot::backup_since`] into a new file, which is made where
    /// [`Snapshot::backup`] makes its own, and gets its name as that does: durably, when the stream
    /// is whole. A crash or an error leaves nothing at `path`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let name = |name: &str| dir.path().join(name);
    /// use btree_store::{BTree, Error, Options};
    /// let db = BTree::open(name("data.db"))?;
    /// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
    /// let full = db.snapshot().backup_since_file(0, name("full.pages"))?;
    /// db.exec("users", |txn| txn.put("id:101", "Bob"))?;
    /// db.snapshot().backup_since_file(full.seq, name("next.pages"))?;
    /// let again = db.snapshot().backup_since_file(full.seq, name("next.pages"));
    /// assert_eq!(again, Err(Error::Duplicate));
    ///
    /// let open = |part| std::fs::File::open(name(part)).unwrap();
    /// let chain = ["full.pages", "next.pages"].map(open);
    /// Options::new().restore_chain(chain, name("restored.db"))?;
    /// assert_eq!(BTree::open(name("restored.db"))?.current_seq(), db.current_seq());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Snapshot::backup_since`]; [`Error::Duplicate`], [`Error::Busy`] and
    /// [`Error::Invalid`] as for [`Snapshot::backup`].
    pub fn backup_since_file(&self, since: u64, path: impl AsRef<Path>) -> Result<BackupStats> {
        let mut new = NewStream::begin(&self.core().copies, path.as_ref())?;
        let stats = self.backup_since(since, &mut new)?;
        new.finish()?;
        Ok(stats)
    }

    /// Makes a store file of this state and an increment: of what [`Snapshot::backup_since`] wrote
    /// since the state of the source that this one is. That is a state of a store which
    /// [`Options::restore`], [`Options::restore_chain`] or this call made, and to which nothing
    /// was written since; or of a copy of the source's file.
    ///
    /// This store stays as it is. All of its pages are copied, and the new file is read once
    /// again, before it gets its name as with [`Snapshot::backup`]; in memory is as much as for
    /// [`Options::restore_chain`]. The file is made where [`Snapshot::backup`] makes its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let name = |name: &str| dir.path().join(name);
    /// use btree_store::{BTree, Error, Options};
    /// let db = BTree::open(name("data.db"))?;
    /// db.exec("users", |txn| txn.put("id:100", "Alice"))?;
    /// let mut full = Vec::new();
    /// let base = db.snapshot().backup_since(0, &mut full)?;
    /// Options::new().restore(&mut full.as_slice(), name("standby-1.db"))?;
    /// db.exec("users", |txn| txn.put("id:101", "Bob"))?;
    /// let mut increment = Vec::new();
    /// db.snapshot().backup_since(base.seq, &mut increment)?;
    ///
    /// let standby = BTree::open(name("standby-1.db"))?;
    /// standby.snapshot().apply_backup(&mut increment.as_slice(), name("standby-2.db"))?;
    /// let standby = BTree::open(name("standby-2.db"))?;
    /// assert_eq!(standby.view("users", |txn| txn.get("id:101"))?, b"Bob");
    /// // Once more would be an increment on another state than it was made for.
    /// let again = standby.snapshot().apply_backup(&mut increment.as_slice(), name("no.db"));
    /// assert_eq!(again, Err(Error::Invalid));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when the increment was made since another state than this, be it one of
    /// the same number in another store, or is no stream of pages, and as for [`Snapshot::backup`];
    /// [`Error::Corruption`] and
    /// [`Error::IoError`] as for [`Options::restore`], and of this store; [`Error::Duplicate`],
    /// [`Error::Busy`] and [`Error::NoSpace`] as for [`Snapshot::backup`]. There is no file at
    /// `path` then.
    pub fn apply_backup(
        &self,
        reader: &mut impl Read,
        path: impl AsRef<Path>,
    ) -> Result<BackupStats> {
        self.apply_backup_and(reader, path, |_| Ok(()))
    }

    /// As [`Snapshot::apply_backup`], of a stream behind which a closure looks before the file gets
    /// its name.
    ///
    /// # Errors
    /// Those of [`Snapshot::apply_backup`]; what the closure says: there is no file at `path` then.
    #[doc(hidden)]
    pub fn apply_backup_and<R: Read>(
        &self,
        reader: &mut R,
        path: impl AsRef<Path>,
        look_behind: impl FnOnce(&mut R) -> Result<()>,
    ) -> Result<BackupStats> {
        let (blocks, head) = BlockReader::begin(reader)?;
        check_form(head.form)?;
        let stream = PageStream::begin(head, blocks)?;
        let page_size = self.core().pager.page_size();
        check_base(&stream, self.seq(), page_size)?;
        let mut new = NewImage::begin(&self.core().copies, path.as_ref(), page_size)?;
        copy_pages(self, &mut new.image)?;
        let state = stream.pour(&mut new.image)?;
        look_behind(reader)?;
        Chain { new, state, is_alone: false }.finish()
    }
}

impl BTree {
    /// Writes what the newest durable state has that is newer than state `since`:
    /// [`Snapshot::backup_since`] of a snapshot that lives as long as this call.
    ///
    /// # Errors
    /// Those of [`Snapshot::backup_since`].
    pub fn backup_since(&self, since: u64, writer: &mut impl Write) -> Result<BackupStats> {
        self.snapshot().backup_since(since, writer)
    }

    /// Writes that stream into a new file: [`Snapshot::backup_since_file`] of a snapshot that lives
    /// as long as this call.
    ///
    /// # Errors
    /// Those of [`Snapshot::backup_since_file`].
    pub fn backup_since_file(&self, since: u64, path: impl AsRef<Path>) -> Result<BackupStats> {
        self.snapshot().backup_since_file(since, path)
    }
}

impl Options {
    /// Makes a store file of a chain of streams that [`Snapshot::backup_since`] wrote: the first
    /// since 0, each of the others since the state of the one before. It is not open afterwards.
    ///
    /// The file has the pages of the source at their places, holes between them, the source's
    /// numbers, and its page size. It holds the last state of the chain; what the other parts have
    /// beside that is free space. As with [`Options::restore`], nothing is believed before its
    /// checksum was compared, and the file gets its name when it is whole and was read once again;
    /// some 2 MiB are in memory, the names of all buckets, some 8 bytes for each branch page of the
    /// tree that is read, and up to some 40 bytes for each stretch in which used pages lie side by
    /// side. The file is as long as the last used page of the
    /// source asks for. The cache's size, barriers and durability of the options do not count.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a chain that is empty, does not begin with a stream since 0, has a
    /// part that was made since another state than the one before it, be it one of the same number
    /// in another store, or has a stream of [`Snapshot::backup_to`] in it, and for another page
    /// size in the options; those of [`Options::restore`]. There is no file at `path` then.
    pub fn restore_chain<R: Read>(
        self,
        streams: impl IntoIterator<Item = R>,
        path: impl AsRef<Path>,
    ) -> Result<BackupStats> {
        let (vfs, chosen) = self.creating()?;
        let mut chain = None::<Chain>;
        for mut reader in streams {
            let (blocks, head) = BlockReader::begin(&mut reader)?;
            check_form(head.form)?;
            let stream = PageStream::begin(head, blocks)?;
            match &mut chain {
                None => chain = Some(Chain::begin(&vfs, path.as_ref(), chosen, stream)?),
                Some(chain) => chain.put_on(stream)?,
            }
        }
        let chain = chain.ok_or_else(|| Error::invalid("a chain of backups has a first one"))?;
        chain.finish()
    }
}

fn check_form(form: Form) -> Result<()> {
    match form {
        Form::Pages => Ok(()),
        Form::Entries => Err(Error::invalid("a backup of entries is no part of a chain of pages")),
    }
}

/// Checks that a stream was made since this state.
fn check_base(stream: &PageStream<'_>, seq: u64, page_size: usize) -> Result<()> {
    let is_base = stream.since == seq && stream.page_size() == page_size;
    if is_base || seeded!(IncrementTakenAnywhere) {
        return Ok(());
    }
    Err(Error::invalid("the increment was made since another state than the one below it"))
}

/// A file that is made of streams, one on the other.
pub(super) struct Chain {
    new: NewImage,
    /// Of the last one.
    state: Meta,
    /// Nothing lies below the last one.
    is_alone: bool,
}

impl Chain {
    /// Begins with a stream that needs nothing below it.
    ///
    /// # Errors
    /// `Invalid` for another stream or another page size than was chosen; those of
    /// [`NewImage::begin`] and [`PageStream::pour`].
    pub(super) fn begin(
        vfs: &Arc<dyn Vfs>,
        path: &Path,
        chosen: Option<u32>,
        stream: PageStream<'_>,
    ) -> Result<Chain> {
        if stream.since > 0 {
            return Err(Error::invalid("an increment needs the state below it"));
        }
        let page_size = stream.page_size();
        if chosen.is_some_and(|chosen| chosen as usize != page_size) {
            return Err(Error::invalid("a backup of pages keeps its page size"));
        }
        let mut new = NewImage::begin(vfs, path, page_size)?;
        let state = stream.pour(&mut new.image)?;
        Ok(Chain { new, state, is_alone: true })
    }

    /// Puts the next stream on what is there.
    fn put_on(&mut self, stream: PageStream<'_>) -> Result<()> {
        check_base(&stream, self.state.txn.0, self.state.page_size)?;
        self.state = stream.pour(&mut self.new.image)?;
        self.is_alone = false;
        Ok(())
    }

    /// Reads all that the last state has, and gives the file its name.
    ///
    /// # Errors
    /// `Invalid` when the parts do not belong together; those of [`Image::finish`] and
    /// [`NewImage::finish`].
    ///
    /// [`Image::finish`]: crate::image::Image::finish
    pub(super) fn finish(mut self) -> Result<BackupStats> {
        let seq = self.state.txn.0;
        let made = match self.new.image.finish(self.state) {
            // Each part was whole by itself.
            Err(Error::Corruption) if !self.is_alone => {
                return Err(Error::invalid(
                    "the increment and what is below it are of two stores, or the file is damaged",
                ));
            }
            made => made?,
        };
        self.new.finish()?;
        Ok(Totals::of(made.buckets, made.visited).stats(seq, made.file_bytes))
    }
}
