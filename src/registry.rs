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
    stores: Mutex<BTreeMap<FileId, Weak<Core>>>,
    closed: Condvar,
}

static REGISTRY: Registry =
    Registry { stores: Mutex::new(BTreeMap::new()), closed: Condvar::new() };

/// Takes a store out of the table, after its file was closed.
struct Entry(Arc<Mutex<Option<FileId>>>);

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(id) = *self.0.lock() else { return };
        REGISTRY.stores.lock().remove(&id);
        REGISTRY.closed.notify_all();
    }
}

/// Returns the open store of a file, or opens it with `open_new`.
pub(crate) fn open(
    path: &Path,
    open_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    let named = |id: FileId| {
        let name = crc32c::crc32c(path.as_os_str().as_encoded_bytes());
        FileId { inode: name.into(), ..id }
    };
    let identify = || {
        let id = OsVfs.file_id(path).map_err(|error| Error::io("identify", &error))?;
        Ok::<_, Error>(if seeded!(LockedByName) { id.map(named) } else { id })
    };
    let mut stores = REGISTRY.stores.lock();
    while let Some(id) = identify()?
        && !seeded!(SecondOpenMakesSecondStore)
    {
        match stores.get(&id).map(Weak::upgrade) {
            None => break,
            Some(Some(core)) => return Ok(core),
            Some(None) => REGISTRY.closed.wait(&mut stores),
        }
    }
    // The table stays locked, so that two threads cannot open one file at once.
    let place = Arc::new(Mutex::new(None));
    let core = open_new(Some(Box::new(Entry(Arc::clone(&place)))))?;
    let mut id = core.pager.file().id().map_err(|error| Error::io("identify", &error))?;
    if !cfg!(unix) {
        // There it comes from the name, and a file that was just created had another one.
        id = identify()?.unwrap_or(id);
    }
    let id = if seeded!(LockedByName) { named(id) } else { id };
    *place.lock() = Some(id);
    stores.insert(id, Arc::downgrade(&core));
    Ok(core)
}
