//! A storage in memory that holds one operation until it is told to go on, while all others pass.

use crate::matrix::scripts::PAGE;
use btree_store::vfs::{FileId, LockMode, MemVfs, OpenMode, Vfs, VfsFile};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Which operation is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A write behind the slots.
    Data,
    Sync,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed(At),
    Holding,
    /// Open again; what was held works, or fails.
    Released {
        works: bool,
    },
}

/// A storage with a gate; a clone has the same files and the same gate.
#[derive(Clone)]
pub struct Gate {
    memory: MemVfs,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Default for Gate {
    fn default() -> Gate {
        let shared = Arc::new((Mutex::new(State::Open), Condvar::new()));
        Gate { memory: MemVfs::new(), shared }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("nobody panics while holding the gate")
    }

    /// Holds the next operation of a kind.
    pub fn close(&self, at: At) {
        *self.lock() = State::Closed(at);
    }

    /// Waits until an operation is held; `false` when none comes.
    pub fn wait_for_somebody(&self) -> bool {
        let wait = Duration::from_secs(5);
        let is_open = |state: &mut State| *state != State::Holding;
        let held = self.shared.1.wait_timeout_while(self.lock(), wait, is_open);
        held.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    /// Lets the operation go on, or fail because the disk is full.
    pub fn open_again(&self, works: bool) {
        *self.lock() = State::Released { works };
        self.shared.1.notify_all();
    }

    fn pass(&self, kind: At) -> io::Result<()> {
        let mut state = self.lock();
        if *state != State::Closed(kind) {
            return Ok(());
        }
        *state = State::Holding;
        self.shared.1.notify_all();
        let is_held = |state: &mut State| *state == State::Holding;
        let state = self.shared.1.wait_while(state, is_held);
        let works = state.is_ok_and(|state| *state != State::Released { works: false });
        if works { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
    }
}

impl Vfs for Gate {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(Gated { inner: self.memory.open(path, mode)?, gate: self.clone() }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.memory.file_id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.memory.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.sync_dir(path)
    }
}

struct Gated {
    inner: Box<dyn VfsFile>,
    gate: Gate,
}

impl VfsFile for Gated {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if offset >= 2 * u64::from(PAGE) {
            self.gate.pass(At::Data)?;
        }
        self.inner.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass(At::Sync)?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.gate.pass(At::Sync)?;
        self.inner.sync_all()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.inner.try_lock(mode)
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }
}
