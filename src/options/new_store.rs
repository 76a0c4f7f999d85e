//! Files that are made under a temporary name (part of options, layer L7).
//!
//! Owns: [`NewStore`], [`NewImage`] and [`NewStream`], which get their name when they hold all that
//! they should.
//! Must not know: what they hold.
//! Keeps: durable-before-ok (a name is given durably, or its mark stays).

use super::names::{check_missing, is_lost};
use super::{CREATING_SUFFIX, begin_file, open_creating, open_locked, with_suffix};
use crate::commit::{Barriers, Core, Usage};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::pager::Pager;
use crate::recover::{Access, recover};
use crate::seeded::seeded;
use crate::sync::Arc;
use crate::vfs::{FileId, Vfs, VfsFile, write_all_at};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Bytes of pages that are kept in memory of a store that is being made: its right edges.
const NEW_CACHE_BYTES: u64 = 1 << 20;
/// The name of the file until then, behind the name that it will get. What has this name is written
/// over, so it is one that nobody gives a store.
const FILLING_SUFFIX: &str = "-btree-store-backup";

/// A store that is made under a temporary name, and is nobody else's before it gets its own.
/// Dropped earlier, it is removed.
pub(crate) struct NewStore {
    // Dropped in this order: the file stays locked until its name is gone.
    name: NewName,
    core: Arc<Core>,
}

/// The name of a file that is being made, which goes away with this.
struct NewName {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    /// What is removed when this is dropped, if it is the file that was made.
    doomed: Option<(PathBuf, FileId)>,
    /// Keeps others from creating a file at `path`, and is the mark of a name that may not be
    /// durable, see [`super::settle_name`]; removed at the end.
    creating: PathBuf,
    lock: Box<dyn VfsFile>,
}

impl Drop for NewName {
    fn drop(&mut self) {
        if let Some((doomed, made)) = &self.doomed
            && !is_lost(&*self.vfs, doomed, *made)
            && self.vfs.remove(doomed).is_err()
        {
            // A store may be at `path`, and stay there: the mark stays, too.
            return;
        }
        let is_lost = self.lock.id().is_ok_and(|id| is_lost(&*self.vfs, &self.creating, id));
        if !is_lost && self.vfs.remove(&self.creating).is_err() {
            // Whoever makes a file of that name, or opens it, comes along here.
        }
    }
}

fn real_path(vfs: &dyn Vfs, path: &Path) -> Result<PathBuf> {
    vfs.real_path(path).map_err(|error| Error::io("follow links", &error))
}

/// Refuses a name of a file that is made where it is a link: what that leads to is another's.
pub(super) fn refuse_link(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    if real_path(vfs, path)? == path {
        return Ok(());
    }
    Err(Error::invalid("the name under which a file is made is a symbolic link"))
}

impl NewName {
    /// Takes the place, and makes the file. Nobody may have one of that name.
    fn begin(vfs: &Arc<dyn Vfs>, path: &Path) -> Result<(NewName, Box<dyn VfsFile>)> {
        NewName::make(vfs, path).map_err(|error| error.of_file(path))
    }

    fn make(vfs: &Arc<dyn Vfs>, path: &Path) -> Result<(NewName, Box<dyn VfsFile>)> {
        let path = real_path(&**vfs, path)?;
        if path.file_name().is_none() {
            return Err(Error::io("create", &ErrorKind::NotFound.into()));
        }
        check_missing(&**vfs, &path)?;
        let creating = with_suffix(&path, CREATING_SUFFIX);
        let Some(lock) = open_creating(&**vfs, &creating)? else { return Err(Error::Busy.bare()) };
        // Once more: it may have come before the lock, and then this is the mark of its maker,
        // who died, and stays.
        check_missing(&**vfs, &path)?;
        let filling = with_suffix(&path, FILLING_SUFFIX);
        let held =
            if seeded!(HeldFileRemoved) { vfs.file_id(&filling).ok().flatten() } else { None };
        let doomed = held.map(|id| (filling.clone(), id));
        let mut name = NewName { vfs: Arc::clone(vfs), path, doomed, creating, lock };
        let Some(file) = open_locked(&**vfs, &filling)? else { return Err(Error::Busy.bare()) };
        let made = file.id().map_err(|error| Error::io("identify", &error))?;
        // Not before: what somebody else has locked is not to be removed.
        name.doomed = Some((filling, made));
        Ok((name, file))
    }

    /// Gives the file its name, durably. On an error there is no file of that name.
    fn give(&mut self) -> Result<()> {
        let given = self.give_it();
        given.map_err(|error| error.of_file(&self.path))
    }

    fn give_it(&mut self) -> Result<()> {
        let NewName { vfs, path, doomed, .. } = self;
        check_missing(&**vfs, path)?;
        let lost = || Error::io("name the new file", &io::Error::other("another has its place"));
        let Some((filling, made)) = doomed.take_if(|(name, made)| !is_lost(&**vfs, name, *made))
        else {
            return Err(lost());
        };
        if let Err(error) = vfs.rename(&filling, path) {
            *doomed = Some((filling, made));
            return Err(Error::io("name the new file", &error));
        }
        // Where files are known by their names, it has become another.
        let named = vfs.file_id(path).ok().flatten();
        let made = if cfg!(any(unix, windows)) { made } else { named.unwrap_or(made) };
        *doomed = Some((path.clone(), made));
        if is_lost(&**vfs, path, made) {
            return Err(lost());
        }
        let synced = if seeded!(NameOfACopyNotSynced) { Ok(()) } else { vfs.sync_dir(path) };
        synced.map_err(|error| Error::io("sync the directory", &error))?;
        *doomed = None;
        Ok(())
    }
}

impl NewStore {
    /// Begins with an empty store.
    ///
    /// # Errors
    /// `Duplicate` when there is a file of that name, `Busy` when somebody else makes one;
    /// what the storage says.
    pub(crate) fn begin(vfs: Arc<dyn Vfs>, path: &Path, page_size: u32) -> Result<NewStore> {
        let (name, file) = NewName::begin(&vfs, path)?;
        let begun = begin_file(&*file, page_size).and_then(|()| recover(&*file, Access::ReadWrite));
        let mut start = begun.map_err(|error| error.of_file(path))?;
        // Nobody has synced the file: the first commit does, its length included.
        start.fenced_len = 0;
        let pager = Pager::new(file, start.meta.page_size, NEW_CACHE_BYTES);
        let usage =
            Usage { barriers: Barriers::One, is_read_only: false, copies: vfs, keeper: None };
        Ok(NewStore { name, core: Arc::new(Core::new(pager, start, usage)) })
    }

    /// Whom the store's transactions belong to.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Closes the store and gives it its name, durably. On an error there is no file of that name.
    ///
    /// # Errors
    /// `Duplicate` when there is a file of that name meanwhile; what the storage says.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.core.settle()?;
        self.name.give()
    }
}

/// A store that is made page by page, under a temporary name. Dropped earlier, it is removed.
pub(crate) struct NewImage {
    // Dropped in this order, as a new store is.
    name: NewName,
    pub(crate) image: Image,
}

impl NewImage {
    /// Begins with an empty file, and fails as [`NewStore::begin`] does.
    pub(crate) fn begin(vfs: &Arc<dyn Vfs>, path: &Path, page_size: usize) -> Result<NewImage> {
        let (name, file) = NewName::begin(vfs, path)?;
        let image = Image::begin(file, page_size).map_err(|error| error.of_file(path))?;
        Ok(NewImage { name, image })
    }

    /// Gives the file its name, durably. On an error there is no file of that name.
    ///
    /// # Errors
    /// Those of [`NewStore::finish`].
    pub(crate) fn finish(mut self) -> Result<()> {
        self.name.give()
    }
}

/// Makes a new file durable. A device may tell one sync late that a sync failed, and no commit
/// follows for sure.
///
/// # Errors
/// What the storage says.
pub(super) fn sync_new(file: &dyn VfsFile) -> Result<()> {
    let mut synced = (0..2).map(|_| file.sync_all());
    synced.try_for_each(|synced| synced.map_err(|error| Error::io("sync the new file", &error)))
}

/// A file of bytes behind each other, under a temporary name. Dropped earlier, it is removed.
pub(crate) struct NewStream {
    // Dropped in this order, as a new store is.
    name: NewName,
    file: Box<dyn VfsFile>,
    /// Where the next bytes go.
    at: u64,
}

impl NewStream {
    /// Begins with an empty file, and fails as [`NewStore::begin`] does.
    pub(crate) fn begin(vfs: &Arc<dyn Vfs>, path: &Path) -> Result<NewStream> {
        let (name, file) = NewName::begin(vfs, path)?;
        // A process that died may have left something there.
        let emptied = file.set_len(0).map_err(|error| Error::io("empty the new file", &error));
        emptied.map_err(|error| error.of_file(path))?;
        Ok(NewStream { name, file, at: 0 })
    }

    /// Makes the bytes durable and gives the file its name, durably. On an error there is no file
    /// of that name.
    ///
    /// # Errors
    /// Those of [`NewStore::finish`].
    pub(crate) fn finish(mut self) -> Result<()> {
        sync_new(&*self.file).map_err(|error| error.of_file(&self.name.path))?;
        self.name.give()
    }
}

impl Write for NewStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all_at(&*self.file, bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
