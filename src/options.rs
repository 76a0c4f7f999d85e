//! How a store is opened (layer L7).
//!
//! Owns: [`Options`], the creation of files, whole stores (`new_store`) among them, the registry
//! through which one process shares a file. Must not know: transactions.
//! Keeps: one-writer (a file is open once: in a process by the registry, among processes by the
//! file's own lock), durable-before-ok (a file's name is durable before the first commit to it).

mod memory;
mod names;
mod new_store;

use names::{check_missing, exists, is_missing_or_empty, is_named};
use new_store::sync_new;
pub(crate) use new_store::{NewImage, NewStore, NewStream};

use crate::commit::{Barriers, Core, Durability, Keeper, Usage};
use crate::db::BTree;
use crate::error::{Error, Result};
use crate::format::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, PAGE_SIZE_MIN};
use crate::page::TxnId;
use crate::pager::Pager;
use crate::recover::{Access, initial_bytes, is_more_than_begun, recover};
#[cfg(not(loom))]
use crate::registry;
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::vfs::{LockMode, OpenMode, OsVfs, Vfs, VfsFile, write_all_at};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Bytes of pages that a store keeps in memory unless told otherwise.
const CACHE_BYTES_DEFAULT: u64 = 64 << 20;
/// The name of the file that is being created, behind the name that it will get.
const CREATING_SUFFIX: &str = "-create";
/// So often a file is opened that was renamed or removed before it was locked. Each time somebody
/// else has come further; unless the storage never says the same of a file and of its path.
const OPENINGS_MAX: u32 = 10_000;

/// How a store is opened, and created when it is missing.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data.db");
/// use btree_store::{Barriers, Options};
/// let db = Options::new().cache_bytes(1 << 20).barriers(Barriers::Two).open(&path)?;
/// db.exec("b", |txn| txn.put("k", "v"))?;
/// drop(db);
/// let db = Options::new().read_only().open(&path)?;
/// assert_eq!(db.view("b", |txn| txn.get("k"))?, b"v");
/// # Ok::<(), btree_store::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    /// Of a file that is created; `None` until one is chosen.
    page_size: Option<u32>,
    cache_bytes: u64,
    barriers: Barriers,
    durability: Durability,
    missing: Missing,
    existing: Existing,
    access: Access,
    vfs: Option<Arc<dyn Vfs>>,
}

/// What happens when there is no file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Fail,
}

/// What happens when there is a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Open,
    Fail,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("page_size", &self.created_page_size())
            .field("cache_bytes", &self.cache_bytes)
            .field("barriers", &self.barriers)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Pages of 4,096 bytes, 64 MiB of cache, one barrier, durable commits, created when missing.
    pub fn new() -> Options {
        Options {
            page_size: None,
            cache_bytes: CACHE_BYTES_DEFAULT,
            barriers: Barriers::One,
            durability: Durability::Durable,
            missing: Missing::Create,
            existing: Existing::Open,
            access: Access::ReadWrite,
            vfs: None,
        }
    }

    /// The page size of a file that is created, in bytes: a power of two from 512 to 32,768. A
    /// file that exists keeps its own.
    pub fn page_size(mut self, bytes: u32) -> Options {
        self.page_size = Some(bytes);
        self
    }

    /// How many bytes of pages the store keeps in memory at most: fewer where the system does not
    /// have so much memory, and none for 0. Pages of a running transaction, and those that a commit
    /// is writing, are not counted; the index of a tree that many lookups make has room there. Of a
    /// value that is longer than 64 pages, or than a page and a sixteenth of this, nothing is kept.
    /// Where it has no room for a page, since all of it is in use, whoever holds the page has it in
    /// memory beside: a cursor a page of each level, and a borrowed value one.
    pub fn cache_bytes(mut self, bytes: u64) -> Options {
        self.cache_bytes = bytes;
        self
    }

    /// How many barriers a commit uses.
    pub fn barriers(mut self, barriers: Barriers) -> Options {
        self.barriers = barriers;
        self
    }

    /// When transactions return that do not say so themselves
    /// ([`Txn::set_durability`](crate::Txn::set_durability)).
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// A missing file is [`Error::IoError`], and not created.
    pub fn must_exist(mut self) -> Options {
        self.missing = Missing::Fail;
        self
    }

    /// The file is made by this opening: where there is something at the path, be it empty, or open
    /// in this process or another, it is [`Error::Duplicate`], and left as it is.
    ///
    /// Of threads and processes that create one file at once exactly one gets it, unless its
    /// storage fails; the others get [`Error::Duplicate`], or [`Error::Busy`] while it is made. The
    /// lock of [`VfsFile::try_lock`] sees to that, so it holds among the users of this library,
    /// whichever way they make the file. What any other program puts there just before the new
    /// file gets its name is replaced, as [`Vfs::rename`] does. After an [`Error::IoError`] there
    /// may be an empty store at the path.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("data.db");
    /// use btree_store::{Error, Options};
    /// let db = Options::new().create_new().open(&path)?;
    /// assert_eq!(Options::new().create_new().open(&path).unwrap_err(), Error::Duplicate);
    /// drop(db);
    /// assert_eq!(Options::new().create_new().open(&path).unwrap_err(), Error::Duplicate);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Together with [`Options::must_exist`] or [`Options::read_only`] it is [`Error::Invalid`].
    pub fn create_new(mut self) -> Options {
        self.existing = Existing::Fail;
        self
    }

    /// Nothing is written, not even by recovery; several processes may read at once. Where this
    /// process has the file open to write it, the handle is one of that store, and refuses writes
    /// with [`Error::Invalid`].
    ///
    /// A store whose free space alone is damaged opens this way only, to be read and copied.
    pub fn read_only(mut self) -> Options {
        self.access = Access::ReadOnly;
        self
    }

    /// Where the file lives, and its copies, instead of the operating system's files. Stores
    /// opened this way are not shared by path: a second open of the same file is [`Error::Busy`],
    /// unless both only read.
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Options {
        self.vfs = Some(vfs);
        self
    }

    /// Opens a store. Opening a file that this process has open already returns the open store,
    /// whatever the options say, but for the durability and [`Options::read_only`], which are the
    /// handle's own, and [`Options::create_new`]. A store is open as long as anything of it is
    /// there: a handle, a snapshot, a cursor, a transaction that [`BTree::begin`] began.
    ///
    /// The child of a fork is another process; see [`BTree`].
    ///
    /// # Errors
    /// [`Error::Duplicate`] as [`Options::create_new`] says; [`Error::Busy`] when another process
    /// has it open, or is making it, and to write it when this process has it open for reading
    /// only; [`Error::Poisoned`], to write it, when a sync of the open store has failed: it can be
    /// opened anew when nothing of it is there any more; [`Error::Corruption`] when it is no
    /// database, or one whose state cannot be recovered: the file is left as it is;
    /// [`Error::Invalid`] for a page size that is not allowed, for options that exclude each other,
    /// and for a file that is to be created beside another store that has commits, or anything else
    /// longer than 64 KiB, whose name is the same with `-create` behind it; [`Error::NoSpace`] when
    /// the disk is full; [`Error::IoError`], whose detail is of the kind [`ErrorKind::NotFound`]
    /// where a file is missing that is not to be created.
    pub fn open(self, path: impl AsRef<Path>) -> Result<BTree> {
        check_page_size(self.created_page_size())?;
        if self.existing == Existing::Fail && !self.may_create() {
            return Err(Error::invalid("a new file is wanted, which the other options exclude"));
        }
        let path = path.as_ref();
        match self.vfs.clone() {
            Some(vfs) => self.open_new(vfs, path, None),
            #[cfg(not(loom))]
            None => {
                let open_new = |keeper| self.open_new(Arc::new(OsVfs), path, keeper);
                match self.existing {
                    Existing::Open => registry::open(path, self.access, open_new),
                    Existing::Fail => registry::create(path, open_new),
                }
            }
            // A model opens each store once.
            #[cfg(loom)]
            None => self.open_new(Arc::new(OsVfs), path, None),
        }
        .map(|core| BTree::new(core, self.durability, self.access))
        .map_err(|error| error.of_file(path))
    }

    /// Whether a file may be created.
    pub(crate) fn may_create(&self) -> bool {
        self.access == Access::ReadWrite && self.missing == Missing::Create
    }

    /// Where files live, and the page size of one that is created, if either was chosen.
    pub(crate) fn into_place(self) -> (Option<Arc<dyn Vfs>>, Option<u32>) {
        (self.vfs, self.page_size)
    }

    fn created_page_size(&self) -> u32 {
        self.page_size.unwrap_or(PAGE_SIZE_DEFAULT)
    }

    fn open_new(&self, vfs: Arc<dyn Vfs>, path: &Path, keeper: Keeper) -> Result<Arc<Core>> {
        self.open_at(&*Arc::clone(&vfs), path, self.usage(vfs, keeper))
    }

    /// How a store is used whose copies are made in this place.
    fn usage(&self, copies: Arc<dyn Vfs>, keeper: Keeper) -> Usage {
        let is_read_only = self.access == Access::ReadOnly;
        Usage { barriers: self.barriers, is_read_only, copies, keeper }
    }

    fn open_at(&self, vfs: &dyn Vfs, path: &Path, usage: Usage) -> Result<Arc<Core>> {
        let file = match self.existing {
            Existing::Open => self.open_file(vfs, path)?,
            Existing::Fail => self.create_file(vfs, path)?,
        };
        let start = recover(&*file, self.access)?;
        if self.access == Access::ReadWrite {
            settle_name(vfs, path, start.state.txn)?;
        }
        let pager = Pager::new(file, start.meta.page_size, self.cache_bytes);
        Ok(Arc::new(Core::new(pager, start, usage)))
    }

    /// Opens and locks the file, and creates it first when it is missing or empty.
    fn open_file(&self, vfs: &dyn Vfs, path: &Path) -> Result<Box<dyn VfsFile>> {
        let (mode, lock) = match self.access {
            Access::ReadOnly => (OpenMode::Read, LockMode::Shared),
            Access::ReadWrite => (OpenMode::ReadWrite, LockMode::Exclusive),
        };
        let may_create = self.may_create();
        for _ in 0..OPENINGS_MAX {
            let file = match vfs.open(path, mode) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound && may_create => {
                    match self.create(vfs, path)? {
                        Some(file) => return Ok(file),
                        None => continue,
                    }
                }
                Err(error) => return Err(Error::io("open", &error)),
            };
            lock_file(&*file, lock)?;
            if !is_named(vfs, path, &*file)? {
                // It was renamed or removed between the opening and the lock.
                continue;
            }
            let size = file.size().map_err(|error| Error::io("ask for the size", &error))?;
            if size > 0 || !may_create {
                return Ok(file);
            }
            drop(file); // Some systems give the name of an open file to no other.
            if let Some(created) = self.create(vfs, path)? {
                return Ok(created);
            }
        }
        Err(never_named())
    }

    /// Creates and locks the file, where there is none.
    fn create_file(&self, vfs: &dyn Vfs, path: &Path) -> Result<Box<dyn VfsFile>> {
        for _ in 0..OPENINGS_MAX {
            check_missing(vfs, path)?;
            match self.create(vfs, path) {
                Ok(Some(file)) => return Ok(file),
                Ok(None) => {}
                // Whoever has the lock may have come just after a file that is there by now.
                Err(Error::Busy) => return check_missing(vfs, path).and(Err(Error::Busy.bare())),
                Err(error) => return Err(error),
            }
        }
        Err(never_named())
    }

    /// Creates the file under a temporary name, makes it durable, and gives it its name, which is
    /// not durable yet. `None` when somebody else was first.
    fn create(&self, vfs: &dyn Vfs, path: &Path) -> Result<Option<Box<dyn VfsFile>>> {
        let io = |operation| move |error: std::io::Error| Error::io(operation, &error);
        // A link keeps leading to the file.
        let path = &vfs.real_path(path).map_err(io("follow links"))?;
        if path.file_name().is_none() {
            return Err(Error::io("create", &ErrorKind::NotFound.into()));
        }
        let creating =
            if seeded!(CreatedInPlace) { path.clone() } else { with_suffix(path, CREATING_SUFFIX) };
        let Some(file) = open_creating(vfs, &creating)? else { return Ok(None) };
        if !is_missing_or_empty(vfs, path)? {
            return give_up(vfs, path, &creating);
        }
        let kept = vfs.keep_permissions(&creating, path).map_err(io("keep the permissions"));
        if let Err(error) = kept.and_then(|()| self.make_durable(&*file)) {
            if vfs.remove(&creating).is_err() {
                // Whoever makes a file of that name writes over what is left.
            }
            return Err(error);
        }
        // An empty one, or some other program's, which takes no lock; neither is to be replaced.
        if self.existing == Existing::Fail && exists(vfs, path)? {
            return give_up(vfs, path, &creating);
        }
        if !is_named(vfs, &creating, &*file)? {
            // Others have moved it, or put another there: what is named would be that.
            return Ok(None);
        }
        vfs.rename(&creating, path).map_err(io("name the new file"))?;
        Ok(Some(file))
    }

    /// Puts the empty state into a file, durably.
    fn make_durable(&self, file: &dyn VfsFile) -> Result<()> {
        begin_file(file, self.created_page_size())?;
        if seeded!(FileNotSyncedOnCreate) {
            return Ok(());
        }
        sync_new(file)
    }
}

/// Removes a file that was being created, whose lock is held, where somebody else was first.
fn give_up(vfs: &dyn Vfs, path: &Path, creating: &Path) -> Result<Option<Box<dyn VfsFile>>> {
    // What is removed may be the mark of whoever gave the file its name, and died since.
    vfs.sync_dir(path).map_err(|error| Error::io("sync the directory", &error))?;
    vfs.remove(creating).map_err(|error| Error::io("remove what is not needed", &error))?;
    Ok(None)
}

/// Each opening came too late.
fn never_named() -> Error {
    let never = std::io::Error::other("the path never names the file that was opened by it");
    Error::io("identify", &never)
}

/// Makes the name of a file durable before anything is acknowledged, if nobody may have: of an
/// empty store, and of a copy whose maker died, or could do no more, which has left its mark.
fn settle_name(vfs: &dyn Vfs, path: &Path, txn: TxnId) -> Result<()> {
    let io = |error: std::io::Error| Error::io("sync the directory", &error);
    let path = vfs.real_path(path).map_err(io)?;
    let mark = with_suffix(&path, CREATING_SUFFIX);
    let is_new = txn == TxnId(0) && !seeded!(DirectoryNotSyncedOnCreate);
    // Where the storage cannot say whether there is one, there may be.
    let is_marked = !is_new && !seeded!(MarkOfACopyIgnored) && vfs.exists(&mark).unwrap_or(true);
    if is_new || is_marked {
        vfs.sync_dir(&path).map_err(io)?;
    }
    if is_marked && remove_mark(vfs, &mark).is_err() {
        // It costs the next opening a sync.
    }
    Ok(())
}

/// Removes a mark, unless somebody holds what has its name, or wrote to it.
fn remove_mark(vfs: &dyn Vfs, mark: &Path) -> std::io::Result<()> {
    let file = vfs.open(mark, OpenMode::ReadWrite)?;
    // Another store perhaps, and who opens it now must not find it locked.
    if file.size()? > 0 {
        return Ok(());
    }
    let is_held = file.try_lock(LockMode::Exclusive)? && vfs.file_id(mark)? == Some(file.id()?);
    if is_held && file.size()? == 0 { vfs.remove(mark) } else { Ok(()) }
}

impl BTree {
    /// Opens a store, and creates it when there is no file.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<BTree> {
        Options::new().open(path)
    }
}

/// Refuses what is no page size.
pub(crate) fn check_page_size(bytes: u32) -> Result<()> {
    if bytes.is_power_of_two() && (PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&bytes) {
        return Ok(());
    }
    Err(Error::invalid("a page size is a power of two from 512 to 32,768"))
}

/// Opens and locks a file that is being created. `None` when its name is somebody else's by now.
fn open_creating(vfs: &dyn Vfs, creating: &Path) -> Result<Option<Box<dyn VfsFile>>> {
    let file = open_locked(vfs, creating)?;
    if let Some(file) = &file
        && has_commits(&**file)?
    {
        return Err(Error::invalid("another store has the name under which this one is made"));
    }
    Ok(file)
}

/// Opens and locks a file that is made, not one of another name to which a link leads. `None` when
/// its name is somebody else's by now.
fn open_locked(vfs: &dyn Vfs, path: &Path) -> Result<Option<Box<dyn VfsFile>>> {
    new_store::refuse_link(vfs, path)?;
    let file = vfs.open(path, OpenMode::Create).map_err(|error| match error.kind() {
        // The directory is missing: of that, the file's own name says more.
        ErrorKind::NotFound => Error::io("create", &error),
        _ => Error::io("create", &error).of_file(path),
    })?;
    lock_file(&*file, LockMode::Exclusive)?;
    Ok(is_named(vfs, path, &*file)?.then_some(file))
}

/// Whether a file is a store that somebody wrote to, be it damaged, and not what a creator left
/// that died.
fn has_commits(file: &dyn VfsFile) -> Result<bool> {
    match recover(file, Access::ReadOnly) {
        Ok(start) => Ok(start.state.txn > TxnId(0)),
        Err(Error::Corruption) if seeded!(DamagedStoreWrittenOver) => Ok(false),
        Err(Error::Corruption) => is_more_than_begun(file),
        Err(error) => Err(error),
    }
}

/// Puts the empty state into a file that is being created.
fn begin_file(file: &dyn VfsFile, page_size: u32) -> Result<()> {
    // A process that died may have left something there.
    file.set_len(0).map_err(|error| Error::io("empty the new file", &error))?;
    let bytes = initial_bytes(page_size as usize);
    write_all_at(file, &bytes, 0).map_err(|error| Error::io("write the new file", &error))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

fn lock_file(file: &dyn VfsFile, mode: LockMode) -> Result<()> {
    if seeded!(LockDroppedEarly | SecondOpenMakesSecondStore) {
        return Ok(());
    }
    match file.try_lock(mode) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Busy.bare()),
        Err(error) => Err(Error::io("lock", &error)),
    }
}
