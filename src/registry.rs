//! The files that this process has open (layer L7).
//!
//! Owns: the table through which a second open of a file returns the open store.
//! Must not know: how a store is opened. Keeps: one-writer (by the file's identity, whatever its
//! names).

use crate::commit::{Core, Keeper};
use crate::error::{Error, ErrorDetail, Fault, Result};
use crate::recover::Access;
use crate::seeded::seeded;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use crate::vfs::{FileId, OsVfs, Vfs};
use std::collections::BTreeMap;
use std::path::Path;

/// The open stores. A store that is being closed is still in the table, as a dead entry.
struct Registry {
    table: Mutex<Table>,
    closed: Condvar,
}

struct Table {
    /// Who has the stores open.
    process: u32,
    stores: Stores,
}

type Stores = BTreeMap<FileId, Listed>;

impl Registry {
    /// The table. What the parent of a forked process had open is not in it: its writer and its
    /// lock are the parent's.
    fn lock(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock();
        let process = std::process::id();
        if table.process != process {
            *table = Table { process, stores: Stores::new() };
        }
        table
    }
}

/// A store in the table, and what tells its entry from another's.
struct Listed {
    core: Weak<Core>,
    place: Place,
}

/// Where a store is in the table, once it is.
type Place = Arc<Mutex<Option<FileId>>>;

static REGISTRY: Registry = Registry {
    table: Mutex::new(Table { process: 0, stores: Stores::new() }),
    closed: Condvar::new(),
};

/// Takes a store out of the table, after its file was closed.
struct Entry(Place);

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(id) = *self.0.lock() else { return };
        let Table { stores, .. } = &mut *REGISTRY.lock();
        // Of a file that lost its name, the number may be another's since it was closed.
        if stores.get(&id).is_some_and(|listed| Arc::ptr_eq(&listed.place, &self.0)) {
            stores.remove(&id);
        }
        REGISTRY.closed.notify_all();
    }
}

/// Returns the open store of a file, or opens it with `open_new`.
///
/// # Errors
/// `Busy` and `Poisoned` when the file is to be written and the open store cannot; those of
/// `open_new`.
pub(crate) fn open(
    path: &Path,
    access: Access,
    open_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    let mut table = REGISTRY.lock();
    while let Some(id) = identify(path)?
        && !seeded!(SecondOpenMakesSecondStore)
    {
        match table.stores.get(&id).map(|listed| listed.core.upgrade()) {
            None => break,
            Some(Some(core)) => match admit(core, access, table)? {
                Some(core) => return Ok(core),
                None => table = REGISTRY.lock(),
            },
            Some(None) => REGISTRY.closed.wait(&mut table),
        }
    }
    list(&mut table.stores, path, open_new)
}

/// An open store, for whoever wants it in this way. `None` if it would be refused, and whoever had
/// it has dropped it since it was looked up: nobody has the file open now.
fn admit(
    core: Arc<Core>,
    access: Access,
    table: MutexGuard<'_, Table>,
) -> Result<Option<Arc<Core>>> {
    let refusal = match check(&core, access) {
        Ok(()) => return Ok(Some(core)),
        Err(error) => Fault::keep(error),
    };
    // While the table is locked: so long, nobody else is refused for this reference.
    let Some(last) = Arc::into_inner(core) else { return Err(refusal.raise()) };
    // What is closed takes itself out of the table.
    drop(table);
    drop(last);
    Ok(None)
}

/// Whether an open store serves whoever wants it in this way.
fn check(core: &Core, access: Access) -> Result<()> {
    if access == Access::ReadOnly {
        return Ok(());
    }
    if core.is_read_only {
        let why = "this process has the file open for reading only";
        return Err(Error::Busy.with(ErrorDetail::Message(why)));
    }
    core.check_poison()
}

/// Opens a store with `create_new`, which fails where there is a file: no open store is returned.
pub(crate) fn create(
    path: &Path,
    create_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    list(&mut REGISTRY.lock().stores, path, create_new)
}

/// Opens a store and puts it into the table, which stays locked meanwhile, so that two threads
/// cannot open one file at once.
fn list(
    stores: &mut Stores,
    path: &Path,
    open_new: impl FnOnce(Keeper) -> Result<Arc<Core>>,
) -> Result<Arc<Core>> {
    let place = Place::default();
    let core = open_new(Some(Box::new(Entry(Arc::clone(&place)))))?;
    let mut id = core.pager.file().id().map_err(|error| Error::io("identify", &error))?;
    if !cfg!(any(unix, windows)) {
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
    use crate::BTree;
    use crate::commit::{Barriers, Durability, Usage};
    use crate::pager::Pager;
    use crate::recover::{initial_bytes, recover};
    use crate::sync::{AtomicBool, Ordering};
    use crate::vfs::{LockMode, OpenMode, VfsFile, write_all_at};
    use std::io;
    use std::time::Duration;

    /// A store that nobody has in the table yet.
    fn core_of(path: &Path, keeper: Keeper) -> Arc<Core> {
        core_in(OsVfs.open(path, OpenMode::ReadWrite).unwrap(), keeper)
    }

    fn core_in(file: Box<dyn VfsFile>, keeper: Keeper) -> Arc<Core> {
        assert!(file.try_lock(LockMode::Exclusive).unwrap());
        let start = recover(&*file, Access::ReadWrite).unwrap();
        let pager = Pager::new(file, start.meta.page_size, 0);
        let usage =
            Usage { barriers: Barriers::One, is_read_only: false, copies: Arc::new(OsVfs), keeper };
        Arc::new(Core::new(pager, start, usage))
    }

    /// A file whose syncs fail when that is wanted.
    struct Failing(Box<dyn VfsFile>, Arc<AtomicBool>);

    impl VfsFile for Failing {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0.read_at(buf, offset)
        }

        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
            self.0.write_at(buf, offset)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }

        fn sync_data(&self) -> io::Result<()> {
            self.sync_all()
        }

        fn sync_all(&self) -> io::Result<()> {
            let fails = self.1.load(Ordering::Relaxed);
            if fails { Err(io::Error::other("the disk is gone")) } else { self.0.sync_all() }
        }

        fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
            self.0.try_lock(mode)
        }

        fn id(&self) -> io::Result<FileId> {
            self.0.id()
        }
    }

    /// A poisoned store stays open as long as anybody has it; whoever opens it to write is told so
    /// at once, and why.
    #[test]
    fn a_poisoned_store_that_somebody_holds_cannot_be_opened_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.db");
        let fails = Arc::new(AtomicBool::new(false));
        let open_again = |access| {
            open(&path, access, |keeper| {
                let file = OsVfs.open(&path, OpenMode::Create).unwrap();
                if file.size().unwrap() == 0 {
                    write_all_at(&*file, &initial_bytes(512), 0).unwrap();
                }
                let file = Box::new(Failing(file, Arc::clone(&fails)));
                Ok(core_in(file, keeper))
            })
            .map(|core| BTree::new(core, Durability::Durable, access))
        };
        let put = |db: &BTree, value: &str| db.exec("b", |txn| txn.put("k", value));
        let db = open_again(Access::ReadWrite).unwrap();
        put(&db, "1").unwrap();
        fails.store(true, Ordering::Relaxed);
        put(&db, "2").unwrap_err();
        fails.store(false, Ordering::Relaxed);
        let snapshot = db.snapshot();
        drop(db);
        let refused = open_again(Access::ReadWrite).unwrap_err();
        let why = refused.detail().map(|detail| detail.to_string());
        assert_eq!((refused, why.as_deref()), (Error::Poisoned, Some("sync: the disk is gone")));
        let reader = open_again(Access::ReadOnly).unwrap();
        assert_eq!(reader.view("b", |txn| txn.get("k")).unwrap(), b"1");
        drop((reader, snapshot));
        put(&open_again(Access::ReadWrite).unwrap(), "3").unwrap();
    }

    #[test]
    fn an_open_that_is_left_with_the_last_of_a_store_that_cannot_serve_closes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.db");
        drop(BTree::open(&path).unwrap());
        let (done, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let core = open(&path, Access::ReadOnly, |keeper| {
                let file = OsVfs.open(&path, OpenMode::Read).unwrap();
                assert!(file.try_lock(LockMode::Shared).unwrap());
                let start = recover(&*file, Access::ReadOnly).unwrap();
                let pager = Pager::new(file, start.meta.page_size, 0);
                let copies = Arc::new(OsVfs);
                let barriers = Barriers::One;
                let usage = Usage { barriers, is_read_only: true, copies, keeper };
                Ok(Arc::new(Core::new(pager, start, usage)))
            })
            .unwrap();
            // Whoever had it beside this has dropped it since it was looked up.
            let admitted = admit(core, Access::ReadWrite, REGISTRY.lock()).unwrap();
            assert!(admitted.is_none(), "a store that nobody has open was admitted");
            drop(BTree::open(&path).unwrap());
            done.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(60)).expect("an open waits for itself");
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
        let first = open(&one, Access::ReadWrite, |keeper| Ok(core_of(&one, keeper))).unwrap();
        let mut closing = None;
        let second = open(&two, Access::ReadWrite, |keeper| {
            closing = Some(std::thread::spawn(move || drop(first)));
            while !is_free(&one) {
                std::thread::yield_now();
            }
            OsVfs.rename(&one, &two).unwrap();
            Ok(core_of(&two, keeper))
        })
        .unwrap();
        closing.unwrap().join().unwrap();
        let not_found = |_: Keeper| panic!("the open store is not found");
        let again = open(&two, Access::ReadWrite, not_found).unwrap();
        assert!(Arc::ptr_eq(&second, &again));
    }
}
