//! A disk in memory that freezes, fails and forgets.
//!
//! Simpler than the simulated disk of the library, and shares no code with it: each sector and
//! each name is either as the last sync left it or as it is now.

use btree_store::sim::Seeded;
use btree_store::vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

pub const SECTOR: usize = 512;

/// Operations that change something, or make it durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads are not counted among the operations; they have numbers of their own.
    Read,
    Create,
    Write {
        offset: u64,
    },
    SetLen,
    Sync,
    SyncDir,
    Rename,
}

/// What an operation does instead of succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and returns this error.
    Error(ErrorKind),
    /// A read or a write transfers so many bytes; anything else succeeds.
    Short(usize),
    /// A sync fails; what it should have made durable never will be, though reads see it.
    Drop,
    /// A sync fails; what it should have made durable is gone for readers too.
    Revert,
    /// A sync succeeds, makes nothing durable, and the next one fails.
    Late,
}

/// What is left of what was not synced, when power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    Everything,
    Nothing,
    /// Each sector, size and name by a coin.
    Coin(u64),
}

/// Whether an operation, by its number and kind, fails.
pub type Plan = Box<dyn FnMut(u64, Kind) -> Option<Fault> + Send>;

#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<Disk>>);

struct Disk {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since the directory was synced: the name, and what it leads to.
    name_changes: Vec<Vec<(PathBuf, Option<u64>)>>,
    files: BTreeMap<u64, Content>,
    operations: Vec<Kind>,
    reads: u64,
    is_late: bool,
    /// From this operation on, everything fails.
    freeze_at: Option<u64>,
    is_frozen: bool,
    plan: Option<Plan>,
    next: u64,
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync, and whether the size changed.
    dirty: BTreeSet<usize>,
    resized: bool,
    locks: BTreeMap<u64, LockMode>,
}

impl CrashDisk {
    pub fn new() -> CrashDisk {
        CrashDisk(Arc::new(Mutex::new(Disk {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            files: BTreeMap::new(),
            operations: Vec::new(),
            reads: 0,
            is_late: false,
            freeze_at: None,
            is_frozen: false,
            plan: None,
            next: 1,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no test panics inside the disk")
    }

    /// Everything fails from operation `at` on.
    pub fn freeze_at(&self, at: u64) {
        self.lock().freeze_at = Some(at);
    }

    pub fn is_frozen(&self) -> bool {
        self.lock().is_frozen
    }

    pub fn plan(&self, plan: impl FnMut(u64, Kind) -> Option<Fault> + Send + 'static) {
        self.lock().plan = Some(Box::new(plan));
    }

    /// Nothing fails from now on; the counting starts again.
    pub fn heal(&self) {
        let mut disk = self.lock();
        disk.plan = None;
        disk.freeze_at = None;
        disk.is_frozen = false;
        disk.is_late = false;
        disk.operations.clear();
        disk.reads = 0;
    }

    /// The operations so far, the failed ones too.
    pub fn operations(&self) -> Vec<Kind> {
        self.lock().operations.clone()
    }

    /// Power fails: a new disk with what is left.
    pub fn crash(&self, survivors: Survivors) -> CrashDisk {
        let disk = self.lock();
        let mut coin = Coin::new(survivors);
        let mut names = disk.durable_names.clone();
        for change in &disk.name_changes {
            if coin.survives() {
                for (name, file) in change {
                    match file {
                        Some(file) => names.insert(name.clone(), *file),
                        None => names.remove(name),
                    };
                }
            }
        }
        let left = CrashDisk::new();
        {
            let mut new = left.lock();
            new.next = disk.next;
            new.files =
                disk.files.iter().map(|(id, file)| (*id, file.after_crash(&mut coin))).collect();
            new.durable_names.clone_from(&names);
            new.names = names;
        }
        left
    }
}

struct Coin {
    survivors: Survivors,
    source: Seeded,
}

impl Coin {
    fn new(survivors: Survivors) -> Coin {
        let seed = if let Survivors::Coin(seed) = survivors { seed } else { 0 };
        Coin { survivors, source: Seeded::new(seed) }
    }

    fn survives(&mut self) -> bool {
        match self.survivors {
            Survivors::Everything => true,
            Survivors::Nothing => false,
            Survivors::Coin(_) => self.source.below(2) == 0,
        }
    }
}

impl Content {
    fn after_crash(&self, coin: &mut Coin) -> Content {
        let len = if coin.survives() { self.now.len() } else { self.durable.len() };
        let mut bytes = self.durable.clone();
        bytes.resize(self.now.len().max(self.durable.len()), 0);
        for (at, now) in self.now.chunks(SECTOR).enumerate() {
            let place = at * SECTOR..at * SECTOR + now.len();
            if bytes[place.clone()] != *now && coin.survives() {
                bytes[place].copy_from_slice(now);
            }
        }
        bytes.resize(len, 0);
        Content { now: bytes.clone(), durable: bytes, ..Content::default() }
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.resized) {
            self.durable.resize(self.now.len(), 0);
        }
        for at in std::mem::take(&mut self.dirty) {
            let end = ((at + 1) * SECTOR).min(self.now.len());
            if at * SECTOR < end {
                // A size that an earlier failure lost becomes durable with the data behind it.
                self.durable.resize(self.durable.len().max(end), 0);
                self.durable[at * SECTOR..end].copy_from_slice(&self.now[at * SECTOR..end]);
            }
        }
    }

    fn set_len(&mut self, len: usize) {
        // What is cut off and added again holds zeros.
        self.dirty.extend(len / SECTOR..self.now.len().div_ceil(SECTOR));
        self.now.resize(len, 0);
        self.resized = true;
    }

    fn write(&mut self, bytes: &[u8], start: usize) {
        let end = start + bytes.len();
        if end > self.now.len() {
            self.now.resize(end, 0);
            self.resized = true;
        }
        self.now[start..end].copy_from_slice(bytes);
        self.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
    }
}

impl Disk {
    /// Counts an operation. `Some` if it is to fail in a way that its kind has to carry out.
    fn begin(&mut self, kind: Kind) -> io::Result<Option<Fault>> {
        let number = self.operations.len() as u64;
        self.operations.push(kind);
        self.check_frozen(number)?;
        let fault = self.plan.as_mut().and_then(|plan| plan(number, kind));
        if let Some(Fault::Error(kind)) = fault {
            return Err(kind.into());
        }
        Ok(fault)
    }

    fn check_frozen(&mut self, number: u64) -> io::Result<()> {
        self.is_frozen |= self.freeze_at.is_some_and(|at| number >= at);
        if self.is_frozen { Err(io::Error::other("the disk is frozen")) } else { Ok(()) }
    }

    fn content(&mut self, id: u64) -> &mut Content {
        self.files.get_mut(&id).expect("a handle's file exists")
    }

    fn change_names(&mut self, change: Vec<(PathBuf, Option<u64>)>) {
        for (name, file) in &change {
            match file {
                Some(file) => self.names.insert(name.clone(), *file),
                None => self.names.remove(name),
            };
        }
        self.name_changes.push(change);
    }
}

impl Vfs for CrashDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let mut disk = self.lock();
        if disk.is_frozen {
            return Err(io::Error::other("the disk is frozen"));
        }
        let file = match disk.names.get(path) {
            Some(&file) => file,
            None if mode == OpenMode::Create => {
                disk.begin(Kind::Create)?;
                let file = disk.next;
                disk.next += 1;
                disk.files.insert(file, Content::default());
                disk.change_names(vec![(path.to_path_buf(), Some(file))]);
                file
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        let handle = disk.next;
        disk.next += 1;
        Ok(Box::new(File { disk: self.clone(), file, handle }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        let names = &self.lock().names;
        Ok(names.get(path).map(|&file| FileId { device: 1, inode: file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.begin(Kind::Rename)?;
        let file = *disk.names.get(from).ok_or(ErrorKind::NotFound)?;
        disk.change_names(vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(file))]);
        Ok(())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        disk.begin(Kind::SyncDir)?;
        disk.name_changes.clear();
        disk.durable_names = disk.names.clone();
        Ok(())
    }
}

struct File {
    disk: CrashDisk,
    file: u64,
    handle: u64,
}

impl File {
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let mut fault = disk.begin(Kind::Sync)?;
        if std::mem::take(&mut disk.is_late) {
            fault = Some(Fault::Drop);
        }
        disk.is_late = fault == Some(Fault::Late);
        let content = disk.content(self.file);
        match fault {
            Some(Fault::Late) => {
                content.dirty.clear();
                content.resized = false;
                return Ok(());
            }
            None | Some(Fault::Short(_) | Fault::Error(_)) => {
                content.sync();
                return Ok(());
            }
            Some(Fault::Drop) => {}
            Some(Fault::Revert) => content.now = content.durable.clone(),
        }
        content.dirty.clear();
        content.resized = false;
        Err(io::Error::other("the sync fails"))
    }
}

impl VfsFile for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        if disk.is_frozen {
            return Err(io::Error::other("the disk is frozen"));
        }
        let number = disk.reads;
        disk.reads += 1;
        let most = match disk.plan.as_mut().and_then(|plan| plan(number, Kind::Read)) {
            Some(Fault::Error(kind)) => return Err(kind.into()),
            Some(Fault::Short(most)) => most,
            _ => usize::MAX,
        };
        let now = &disk.content(self.file).now;
        let start = usize::try_from(offset).expect("a test's file is small").min(now.len());
        let count = buf.len().min(now.len() - start).min(most);
        buf[..count].copy_from_slice(&now[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let fault = disk.begin(Kind::Write { offset })?;
        let count =
            if let Some(Fault::Short(most)) = fault { most.min(buf.len()) } else { buf.len() };
        let start = usize::try_from(offset).expect("a test's file is small");
        disk.content(self.file).write(&buf[..count], start);
        Ok(count)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin(Kind::SetLen)?;
        let len = usize::try_from(len).expect("a test's file is small");
        disk.content(self.file).set_len(len);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().content(self.file).now.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        let mut disk = self.disk.lock();
        let locks = &mut disk.content(self.file).locks;
        locks.remove(&self.handle);
        let is_free = locks.values().all(|held| [*held, mode] == [LockMode::Shared; 2]);
        if is_free {
            locks.insert(self.handle, mode);
        }
        Ok(is_free)
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 1, inode: self.file })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.disk.lock().content(self.file).locks.remove(&self.handle);
    }
}
