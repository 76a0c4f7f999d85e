//! A storage that calls the store that calls it.

use super::{BTree, Error, MemVfs, NAME, in_time, on};
use btree_store::Txn;
use btree_store::vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

type Next = Arc<Mutex<Option<BTree>>>;

/// Writes to the store that it was given, from inside the next change of the file's length.
struct Calling(MemVfs, Next);

struct CallingFile(Box<dyn VfsFile>, Next);

impl Vfs for Calling {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(CallingFile(self.0.open(path, mode)?, Arc::clone(&self.1))))
    }
    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.0.file_id(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
}

impl VfsFile for CallingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let db = self.1.lock().unwrap().take();
        if let Some(db) = db {
            let grows = |txn: &mut Txn<'_>| {
                (0..4_000_u32).try_for_each(|n| txn.put(n.to_be_bytes(), [7; 100]))
            };
            assert_eq!(db.exec("c", grows), Err(Error::Invalid));
        }
        self.0.set_len(len)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.0.try_lock(mode)
    }
    fn id(&self) -> io::Result<FileId> {
        self.0.id()
    }
}

/// Gives the store to its storage when it is read first: then the turn was given back.
struct Gives(Option<BTree>, Next);

impl Read for Gives {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(db) = self.0.take() {
            *self.1.lock().unwrap() = Some(db);
        }
        buf.fill(7);
        Ok(buf.len())
    }
}

/// The file's length was locked, and the commit of the storage waited for it on the same thread.
#[test]
fn a_storage_that_calls_the_store_while_a_value_makes_room_is_refused() {
    const LEN: u64 = 20 << 20;
    let next = Next::default();
    let db = on(Calling(MemVfs::new(), Arc::clone(&next))).page_size(512).open(NAME).unwrap();
    in_time(move || {
        let txn = db.begin();
        let mut reader = Gives(Some(db.clone()), Arc::clone(&next)).take(LEN);
        txn.bucket("b").unwrap().put_from("k", LEN, &mut reader).unwrap();
        assert!(next.lock().unwrap().is_none(), "the storage was not asked for more room");
        // What the thread counted as has ended with it.
        assert_eq!(db.exec("d", |txn| txn.put("k", "v")), Ok(()));
        txn.commit().unwrap();
        assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(1));
    });
}

/// Also where the thread counts as one that writes already.
#[test]
fn what_a_value_makes_room_for_leaves_the_rules_of_a_run_as_they_were() {
    const LEN: u64 = 20 << 20;
    let next = Next::default();
    let db = on(Calling(MemVfs::new(), next)).page_size(512).open(NAME).unwrap();
    in_time(move || {
        let its = db.clone();
        let done = db.transact(|txn| {
            let mut reader = std::io::repeat(7).take(LEN);
            txn.bucket("b")?.put_from("k", LEN, &mut reader)?;
            assert_eq!(its.exec("c", |txn| txn.put("k", "v")), Err(Error::Invalid));
            Ok(())
        });
        assert_eq!(done, Ok(()));
        assert_eq!(db.exec("c", |txn| txn.put("k", "v")), Ok(()));
    });
}
