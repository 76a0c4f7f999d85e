//! The files that this process has open (layer L7).
//!
//! Owns: the table through which a second open of a file returns the open store.
//! Must not know: how a store is opened. Keeps: one-writer (by the file's identity, whatever its
//! names).

use crate::commit::{Core, Keeper};
use crate::error::{Error, Result};
use crate::seeded::seeded;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use crate::vfs::{FileId, OsVfs, Vfs};
use std::collections::BTreeMap;
use std::path::Path;

/// The open stores. A store that is being closed is still in the table, as a dead entry.
struct Registry {
    stores: Mutex<BTreeMap<FileId, Listed>>,
    closed: Condvar,
}

/// A store in the table, and what tells its entry from another's.
struct Listed {
    core: Weak<Core>,
    place: Place,
}

/// Where a store is in the table, once it is.
type Place = Arc<Mutex<Option<FileId>>>;

static REGISTRY: Registry =
    Registry { stores: Mutex::new(BTreeMap::new()), closed: Condvar::new() };

/// Takes a store out of the table, after its file was closed.
struct Entry(Place);

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(id) = *self.0.lock() else { return };
        let mut stores = REGISTRY.stores.lock();
        // Of a file that lost its name, the number may be another's since it was closed.
        if stores.get(&id).is_some_and(|listed| Arc::ptr_eq(&listed.place, &self.0)) {
            stores.remove(&id);
        }
        REGISTRY.closed.notify_all();
    }
}

/// Returns the open store of a file, or opens it with `open_new`.
pub(crate) fn open(
    path: &Path,
    open_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    let mut stores = REGISTRY.stores.lock();
    while let Some(id) = identify(path)?
        && !seeded!(SecondOpenMakesSecondStore)
    {
        match stores.get(&id).map(|listed| listed.core.upgrade()) {
            None => break,
            Some(Some(core)) => return Ok(core),
            Some(None) => REGISTRY.closed.wait(&mut stores),
        }
    }
    list(&mut stores, path, open_new)
}

/// Opens a store with `create_new`, which fails where there is a file: no open store is returned.
pub(crate) fn create(
    path: &Path,
    create_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    list(&mut REGISTRY.stores.lock(), path, create_new)
}

/// Opens a store and puts it into the table, which stays locked meanwhile, so that two threads
/// cannot open one file at once.
fn list(
    stores: &mut BTreeMap<FileId, Listed>,
    path: &Path,
    open_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    let place = Place::default();
    let core = open_new(Some(Box::new(Entry(Arc::clone(&place)))))?;
    let mut id = core.pager.file().id().map_err(|error| Error::io("identify", &error))?;
    if !cfg!(unix) {
        // There it comes from the name, and a file that was just created had another one.
        id = identify(path)?.unwrap_or(id);
    }
    let id = if seeded!(LockedByName) { named(path, id) } else { id };
    *place.lock() = Some(id);
    stores.insert(id, Listed { core: Arc::downgrade(&core), place });
    Ok(core)
}

fn identify(path: &Path) -> Result<Option<FileId>> {
    let id = OsVfs.file_id(path).map_err(|error| Error::io("identify", &error))?;
    Ok(if seeded!(LockedByName) { id.map(|id| named(path, id)) } else { id })
}

/// What the seeded bug takes for the identity of a file.
fn named(path: &Path, id: FileId) -> FileId {
    let name = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
    FileId { inode: name.into(), ..id }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    //! Attacks: one-writer.

    use super::*;
    use crate::commit::{Barriers, Usage};
    use crate::pager::Pager;
    use crate::recover::{Access, initial_bytes, recover};
    use crate::vfs::{LockMode, OpenMode, write_all_at};

    /// A store that nobody has in the table yet.
    fn core_of(path: &Path, keeper: Keeper) -> Arc<Core> {
        let file = OsVfs.open(path, OpenMode::ReadWrite).unwrap();
        assert!(file.try_lock(LockMode::Exclusive).unwrap());
        let start = recover(&*file, Access::ReadWrite).unwrap();
        let pager = Pager::new(file, start.meta.page_size, 0);
        let usage =
            Usage { barriers: Barriers::One, is_read_only: false, copies: Arc::new(OsVfs), keeper };
        Arc::new(Core::new(pager, start, usage))
    }

    fn is_free(path: &Path) -> bool {
        let file = OsVfs.open(path, OpenMode::ReadWrite).unwrap();
        file.try_lock(LockMode::Exclusive).unwrap()
    }

    /// While the second store is opened, the file of the first is closed, and not yet out of the
    /// table; the second one's gets its number. Here by a rename; in life since a file without a
    /// name is gone, and its number is given to the next.
    #[test]
    fn a_store_that_is_closed_takes_no_other_out_of_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let file = OsVfs.open(&one, OpenMode::Create).unwrap();
        write_all_at(&*file, &initial_bytes(512), 0).unwrap();
        drop(file);
        let first = open(&one, |keeper| Ok(core_of(&one, keeper))).unwrap();
        let mut closing = None;
        let second = open(&two, |keeper| {
            closing = Some(std::thread::spawn(move || drop(first)));
            while !is_free(&one) {
                std::thread::yield_now();
            }
            OsVfs.rename(&one, &two).unwrap();
            Ok(core_of(&two, keeper))
        })
        .unwrap();
        closing.unwrap().join().unwrap();
        let again = open(&two, |_| panic!("the open store is not found")).unwrap();
        assert!(Arc::ptr_eq(&second, &again));
    }
}
