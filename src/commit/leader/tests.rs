//! What finds the writer behind a leader that panicked? Attacks: commit-atomic,
//! failed-sync-poisons.

use crate::sync::Arc;
use crate::vfs::{FileId, LockMode, MemVfs, OpenMode, Vfs, VfsFile};
use crate::{Durability, Options};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

type Armed = Arc<Mutex<Option<(Sender<()>, Receiver<()>)>>>;

/// Files whose next read, once that is wanted, says that it came, waits, and panics.
#[derive(Clone)]
struct Trap {
    files: MemVfs,
    armed: Armed,
}

struct Trapped(Box<dyn VfsFile>, Armed);

impl Vfs for Trap {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(Trapped(self.files.open(path, mode)?, Arc::clone(&self.armed))))
    }
    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.files.file_id(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.files.sync_dir(path)
    }
}

impl VfsFile for Trapped {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let armed = self.1.lock().expect("no test panics with it").take();
        if let Some((come, go)) = armed {
            come.send(()).expect("the test waits");
            go.recv().expect("the test goes on");
            panic!("the storage panics");
        }
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

/// The seal takes the batch apart; a transaction that began before the store was poisoned would
/// see the state before what was acknowledged, as deferred, and could return with it.
#[test]
fn whoever_comes_behind_a_leader_that_panicked_finds_the_store_poisoned() {
    let trap = Trap { files: MemVfs::new(), armed: Arc::default() };
    let options = Options::new().page_size(512).cache_bytes(0);
    let options = options.durability(Durability::Deferred).vfs(Arc::new(trap.clone()));
    let db = options.open("f").expect("a new store");
    // So many that the catalog has pages of its own.
    db.exec_multi(|multi| {
        (0..100).try_for_each(|n| multi.exec(format!("bucket {n}"), |txn| txn.put("k", "old")))
    })
    .expect("buckets");
    db.sync().expect("durable");
    db.exec("bucket 50", |txn| txn.put("k", "new")).expect("deferred");
    let ((come, came), (go, gone)) = (channel(), channel());
    *trap.armed.lock().expect("nobody panicked yet") = Some((come, gone));
    let snapshot = db.snapshot();
    let core = snapshot.core();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| db.sync())).is_err());
        came.recv().expect("the seal reads the catalog");
        // Here the leader waits to say what happened, when it has given the writer up.
        let flush = core.flush.lock();
        go.send(()).expect("the leader waits");
        let writer = core.writer.lock();
        let is_poisoned = core.is_poisoned();
        let is_whole = writer.batch.buckets.contains_key("bucket 50".as_bytes());
        drop(writer);
        drop(flush);
        assert!(leader.join().expect("it was caught"), "the storage has not panicked");
        assert!(is_poisoned && !is_whole, "a transaction would begin on half a batch");
    });
}
