//! A storage that counts what reaches it, keeps a record, and asks a hook before each operation.

use btree_store::vfs::{FileId, LockMode, MemVfs, OpenMode, Vfs, VfsFile};
use std::io;
use std::ops::{Range, Sub};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One call that reaches the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Open(PathBuf, OpenMode),
    Read { offset: u64, len: usize },
    Write { offset: u64, len: usize },
    BeginWriteBack,
    SetLen(u64),
    SyncData,
    SyncAll,
    Rename,
    Remove,
    SyncDir,
}

impl Op {
    pub fn is_sync(&self) -> bool {
        matches!(self, Op::SyncData | Op::SyncAll)
    }

    /// Whether it changes a file or a name.
    pub fn is_change(&self) -> bool {
        matches!(self, Op::Write { .. } | Op::SetLen(_) | Op::Rename | Op::Remove)
    }
}

/// How many calls, and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub reads: u64,
    pub bytes_read: u64,
    pub writes: u64,
    pub bytes_written: u64,
    pub set_lens: u64,
    /// Of both kinds.
    pub syncs: u64,
    /// Renames, removals and syncs of directories.
    pub names: u64,
}

impl Counts {
    fn add(&mut self, op: &Op) {
        match op {
            Op::Open(..) | Op::BeginWriteBack => {}
            Op::Read { len, .. } => {
                self.reads += 1;
                self.bytes_read += *len as u64;
            }
            Op::Write { len, .. } => {
                self.writes += 1;
                self.bytes_written += *len as u64;
            }
            Op::SetLen(_) => self.set_lens += 1,
            Op::SyncData | Op::SyncAll => self.syncs += 1,
            Op::Rename | Op::Remove | Op::SyncDir => self.names += 1,
        }
    }

    /// Whether nothing was changed and nothing synced.
    pub fn is_silent(&self) -> bool {
        self.writes + self.set_lens + self.syncs + self.names == 0
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, before: Counts) -> Counts {
        Counts {
            reads: self.reads - before.reads,
            bytes_read: self.bytes_read - before.bytes_read,
            writes: self.writes - before.writes,
            bytes_written: self.bytes_written - before.bytes_written,
            set_lens: self.set_lens - before.set_lens,
            syncs: self.syncs - before.syncs,
            names: self.names - before.names,
        }
    }
}

type Hook = Box<dyn FnMut(&Op) -> io::Result<()> + Send>;

#[derive(Default)]
struct Seen {
    counts: Counts,
    record: Option<Vec<Op>>,
}

struct Shared {
    inner: Arc<dyn Vfs>,
    seen: Mutex<Seen>,
    hook: Mutex<Option<Hook>>,
}

/// A storage around another one; a clone watches the same files.
#[derive(Clone)]
pub struct Watch {
    shared: Arc<Shared>,
}

impl Watch {
    pub fn new(inner: impl Vfs) -> Watch {
        let (seen, hook) = (Mutex::default(), Mutex::new(None));
        Watch { shared: Arc::new(Shared { inner: Arc::new(inner), seen, hook }) }
    }

    /// Files in memory, and the watch around them.
    pub fn memory() -> (MemVfs, Watch) {
        let memory = MemVfs::new();
        (memory.clone(), Watch::new(memory))
    }

    pub fn counts(&self) -> Counts {
        self.shared.seen.lock().unwrap().counts
    }

    /// What `call` asked of the storage.
    pub fn during<R>(&self, call: impl FnOnce() -> R) -> (Counts, R) {
        let before = self.counts();
        let result = call();
        (self.counts() - before, result)
    }

    /// The operations of `call`, in order.
    pub fn record<R>(&self, call: impl FnOnce() -> R) -> (Vec<Op>, R) {
        self.shared.seen.lock().unwrap().record = Some(Vec::new());
        let result = call();
        let record = self.shared.seen.lock().unwrap().record.take();
        (record.unwrap_or_default(), result)
    }

    /// Asks `hook` before each operation from now on; its error is the operation's.
    pub fn hook(&self, hook: impl FnMut(&Op) -> io::Result<()> + Send + 'static) {
        *self.locked_hook() = Some(Box::new(hook));
    }

    /// Asks `hook` before the operation of this number only, counted from now on.
    pub fn hook_at(
        &self,
        number: usize,
        mut hook: impl FnMut(&Op) -> io::Result<()> + Send + 'static,
    ) {
        let mut seen = 0;
        self.hook(move |op| {
            seen += 1;
            if seen == number + 1 { hook(op) } else { Ok(()) }
        });
    }

    pub fn unhook(&self) {
        *self.locked_hook() = None;
    }

    /// Also after a hook that panicked.
    fn locked_hook(&self) -> MutexGuard<'_, Option<Hook>> {
        self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, op: Op) -> io::Result<()> {
        let asked = self.locked_hook().as_mut().map_or(Ok(()), |hook| hook(&op));
        let mut seen = self.shared.seen.lock().unwrap();
        seen.counts.add(&op);
        if let Some(record) = &mut seen.record {
            record.push(op);
        }
        asked
    }
}

impl Vfs for Watch {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        self.note(Op::Open(path.to_owned(), mode))?;
        let inner = self.shared.inner.open(path, mode)?;
        Ok(Box::new(WatchedFile { inner, watch: self.clone() }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.shared.inner.file_id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Op::Rename)?;
        self.shared.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(Op::Remove)?;
        self.shared.inner.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Op::SyncDir)?;
        self.shared.inner.sync_dir(path)
    }
}

struct WatchedFile {
    inner: Box<dyn VfsFile>,
    watch: Watch,
}

impl VfsFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch.note(Op::Read { offset, len: buf.len() })?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.watch.note(Op::Write { offset, len: buf.len() })?;
        self.inner.write_at(buf, offset)
    }

    fn begin_write_back(&self, range: Range<u64>) -> io::Result<()> {
        self.watch.note(Op::BeginWriteBack)?;
        self.inner.begin_write_back(range)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.note(Op::SetLen(len))?;
        self.inner.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.note(Op::SyncData)?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.watch.note(Op::SyncAll)?;
        self.inner.sync_all()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.inner.try_lock(mode)
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }
}
