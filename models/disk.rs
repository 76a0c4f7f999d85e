//! A disk of one file that knows what is durable, for models of the whole store.
//!
//! Attacks: durable-before-ok.

use crate::vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The page size of the models, in bytes: a few buckets lie in the meta page.
pub(super) const PAGE: u32 = 2048;

/// A call of the disk that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The sync of this number, counted from 1 after the disk was armed; nothing gets durable.
    Sync(usize),
    /// The write behind the meta pages of this number, counted alike.
    Page(usize),
}

struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    syncs: usize,
    pages: usize,
    fault: Fault,
    /// What fails takes all that was written since the last sync.
    is_lossy: bool,
}

impl Content {
    fn fail(&mut self) {
        self.fault = Fault::None;
        if self.is_lossy {
            let len = self.bytes.len();
            self.bytes.clone_from(&self.durable);
            self.bytes.resize(len, 0);
        }
    }
}

/// A disk with one file, of which it knows what is durable.
///
/// Its mutex is the standard library's: a model does not switch threads inside a call. It does at
/// the beginning of a sync, where time passes.
#[derive(Clone)]
pub(super) struct Disk {
    content: Arc<Mutex<Content>>,
    sync_begins: Arc<AtomicUsize>,
    calls: Option<Arc<AtomicUsize>>,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let (bytes, durable) = (Vec::new(), Vec::new());
        let content =
            Content { bytes, durable, syncs: 0, pages: 0, fault: Fault::None, is_lossy: false };
        let content = Arc::new(Mutex::new(content));
        Disk { content, sync_begins: Arc::new(AtomicUsize::new(0)), calls: None }
    }

    /// A disk on which threads are switched also at the beginning of each write behind the meta
    /// pages, and of each call that asks for the length or changes it.
    pub(super) fn of_calls() -> Disk {
        Disk { calls: Some(Arc::new(AtomicUsize::new(0))), ..Disk::new() }
    }

    /// The model then tries every order of the calls that begin so.
    fn meet(&self) {
        if let Some(calls) = &self.calls {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call fail, once.
    pub(super) fn arm(&self, fault: Fault) {
        let mut content = self.content();
        (content.syncs, content.pages) = (0, 0);
        content.fault = fault;
    }

    /// As [`Disk::arm`]; and what fails takes all that is not durable.
    pub(super) fn arm_with_loss(&self, fault: Fault) {
        self.arm(fault);
        self.content().is_lossy = true;
    }

    /// Whether what is durable holds these bytes anywhere.
    pub(super) fn is_durable(&self, bytes: &str) -> bool {
        // The model then tries both orders of this and a sync that is about to begin.
        self.sync_begins.fetch_add(0, Ordering::SeqCst);
        self.content().durable.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    }

    /// A disk that holds what a power failure would leave, if it lost all that it may lose.
    pub(super) fn after_power_failure(&self) -> Disk {
        let disk = Disk::new();
        let durable = self.content().durable.clone();
        disk.content().bytes.clone_from(&durable);
        disk.content().durable = durable;
        disk
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_begins.fetch_add(1, Ordering::SeqCst);
        let mut content = self.content();
        content.syncs += 1;
        if content.fault == Fault::Sync(content.syncs) {
            content.fail();
            return Err(io::Error::other("the sync fails"));
        }
        content.durable = content.bytes.clone();
        Ok(())
    }
}

impl Vfs for Disk {
    fn open(&self, _: &Path, _: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.clone()))
    }

    fn file_id(&self, _: &Path) -> io::Result<Option<FileId>> {
        self.id().map(Some)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl VfsFile for Disk {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content();
        let rest = content.bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        let is_page = offset >= 2 * PAGE as usize;
        if is_page {
            self.meet();
        }
        let mut content = self.content();
        content.pages += usize::from(is_page);
        if is_page && content.fault == Fault::Page(content.pages) {
            content.fail();
            return Err(io::Error::other("the write fails"));
        }
        let end = offset + buf.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[offset..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.meet();
        self.content().bytes.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.meet();
        Ok(self.content().bytes.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn try_lock(&self, _: LockMode) -> io::Result<bool> {
        Ok(true)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 1, inode: 1 })
    }
}
