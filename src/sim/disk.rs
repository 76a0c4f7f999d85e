//! The simulated disk as its users hold it.
//!
//! Owns: [`SimDisk`], a handle on a machine that others share, and the files opened on it.
//! Must not know: how the machine works, who explores it.
//! Keeps: the machine's lock is held inside single calls only, and never across a user's code but
//! a monitor's and a source's of choices.

use super::choose::{Choice, Choose};
use super::chooser::Chooser;
use super::fault::Fault;
use super::file::{Fence, FileState};
use super::machine::{Handle, Machine};
use super::monitor::Monitor;
use super::names::Node;
use super::paths::PathId;
use super::points::Mark;
use super::profile::Profile;
use super::state::{Held, Snapshot};
use super::trace::{OpKind, Trace};
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::vfs::{FileId, LockMode, OpenMode, Vfs, VfsFile};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A simulated disk: files in memory that lose power the way real ones do.
///
/// It is a [`Vfs`], so a store opens files on it as it does on the real system. A clone is
/// another handle on the same disk.
///
/// What was written and not yet made durable by a sync may or may not survive
/// [`SimDisk::crash`], sector by sector. What did is decided when it is read for the first time,
/// by the disk's source of choices: without one, everything survives.
///
/// One directory is always there, the top: `"/"`, `"."`, and where every path begins, relative or
/// not. The others are made ([`Vfs::create_dir`]), and are durable when the directory that they lie
/// in was synced. Where the name of a directory did not survive, nothing that lay in it can be
/// reached, synced or not, also if a directory of that name is made anew.
///
/// ```
/// use btree_store::sim::{Seeded, SimDisk};
/// use btree_store::vfs::{OpenMode, Vfs, VfsFile};
/// use std::path::Path;
///
/// let disk = SimDisk::new();
/// disk.choose_from(Seeded::new(1));
/// let path = Path::new("file");
/// let file = disk.open(path, OpenMode::Create)?;
/// file.write_at(b"durable", 0)?;
/// file.sync_all()?;
/// disk.sync_dir(path)?;
/// file.write_at(b"perhaps", 0)?;
/// disk.crash();
///
/// assert!(file.size().is_err(), "the process that held it is gone");
/// let mut found = [0; 7];
/// disk.open(path, OpenMode::Read)?.read_at(&mut found, 0)?;
/// assert!(found == *b"durable" || found == *b"perhaps");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    machine: Mutex<Machine>,
    /// Told apart from every other disk of the process.
    number: u64,
}

static DISKS: AtomicU64 = AtomicU64::new(1);

impl SimDisk {
    /// An empty disk of the default kind.
    pub fn new() -> SimDisk {
        SimDisk::with_profile(Profile::default())
    }

    /// An empty disk.
    ///
    /// # Panics
    /// If its sectors have no bytes.
    pub fn with_profile(profile: Profile) -> SimDisk {
        let machine = Mutex::new(Machine::new(profile));
        let number = DISKS.fetch_add(1, Ordering::Relaxed);
        SimDisk { shared: Arc::new(Shared { machine, number }) }
    }

    /// A disk that begins as `snapshot`.
    pub fn from_snapshot(snapshot: &Snapshot) -> SimDisk {
        let disk = SimDisk::with_profile(snapshot.held.profile);
        disk.machine().restore(snapshot);
        disk
    }

    /// The disk's state as it is, what is not durable included.
    pub fn snapshot(&self) -> Snapshot {
        let machine = self.machine();
        let (mut state, mut arena) = (machine.state.clone(), machine.arena.clone());
        state.compact(&mut arena);
        let paths = machine.paths.clone();
        Snapshot { held: Arc::new(Held { profile: machine.profile, arena, paths, state }) }
    }

    /// The disk as an argument for whoever opens files on it.
    pub fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(self.clone())
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.shared.machine.lock()
    }

    /// Sets the source of the disk's choices. While an exploration is under way they are its own,
    /// and a run that sets others fails.
    pub fn choose_from(&self, source: impl Choose + Send + 'static) {
        self.machine().chooser = Chooser::given(Box::new(source));
    }

    /// Asks the source of choices for one of `alternatives`, on behalf of the caller: an
    /// exploration tries each, so that a workload can leave its own order or sizes open.
    pub fn choose(&self, alternatives: u32) -> u32 {
        if alternatives < 2 {
            return 0;
        }
        self.machine().chooser.choose(alternatives, Choice::User)
    }

    /// Leaves a mark, which [`Crash::marks`](super::Crash::marks) shows after a crash.
    pub fn mark(&self, mark: Mark) {
        self.machine().mark(mark);
    }

    /// Marks that step `n` has begun: its effect may be found from here on.
    pub fn started(&self, n: u64) {
        self.mark(Mark::Started(n));
    }

    /// Marks that step `n` was acknowledged: its effect must be found from here on.
    pub fn acknowledged(&self, n: u64) {
        self.mark(Mark::Acknowledged(n));
    }

    /// The marks left so far, in order.
    pub fn marks(&self) -> Vec<Mark> {
        self.machine().marks.clone()
    }

    /// Leaves the crash points so far out of the exploration under way: another one, whose
    /// workload is the part until here, has them.
    pub fn forget_crash_points(&self) {
        self.machine().recorder.forget();
    }

    /// Adds a fault to those that the disk follows.
    pub fn inject(&self, fault: Fault) {
        self.machine().plan.add(fault);
    }

    /// Whether one of the faults has struck since the last of them were cleared.
    pub fn has_fault_struck(&self) -> bool {
        self.machine().plan.has_struck()
    }

    /// Whether one of them explains that a store meets an error.
    pub(super) fn has_failed(&self) -> bool {
        self.machine().plan.has_failed()
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.machine().plan.clear();
    }

    /// Loses power and starts again: handles are dead, locks are free, faults are over, the page
    /// cache is gone, and what was not durable may be.
    pub fn crash(&self) {
        self.machine().crash();
    }

    /// Ends the process without losing power: handles are dead, locks are free; the page cache
    /// stays, and with it whatever a failed sync left there.
    pub fn kill(&self) {
        self.machine().restart();
    }

    /// Switches the power off. All calls fail until [`SimDisk::crash`]. An exploration takes
    /// this moment for a crash point and records none after it.
    pub fn power_off(&self) {
        self.machine().power_off(None);
    }

    /// Memory pressure: what a failed sync left in the page cache as clean is dropped, and reads
    /// see what the medium holds.
    pub fn evict(&self) {
        self.machine().evict_with(FileState::evict);
    }

    /// Memory pressure of which nobody knows what it took: each sector that a failed sync left in
    /// the page cache as clean is still there, or dropped. Which it is is decided when it is read.
    pub fn evict_some(&self) {
        self.machine().evict_with(FileState::evict_some);
    }

    /// Whether a file has been written to, or changed its length, since a sync last worked.
    pub(super) fn has_unsynced(&self, path: &Path) -> bool {
        let file = self.file_at(path);
        file.is_some_and(|(mut machine, file)| {
            machine.with_file(file, |file, _| file.has_unsynced())
        })
    }

    /// Whether a power failure has left open what a file holds, how long it is, or which names
    /// there are, and nobody has looked since.
    pub(super) fn is_undecided(&self) -> bool {
        let machine = self.machine();
        machine.state.log2_images(&machine.arena) > 0.0
    }

    /// Makes everything durable, as if it had been synced long ago. The result is what initial
    /// states are made of. It is no operation, and no crash point: within a workload, images that
    /// were possible until then are not looked at.
    pub fn settle(&self) {
        self.machine().settle();
    }

    /// The paths of all files in all directories, from the top on, in no particular order. It is no
    /// operation; [`Vfs::read_dir`] is one, and shows what directories there are.
    pub fn names(&self) -> Vec<PathBuf> {
        let mut machine = self.machine();
        machine.note_look();
        let files = machine.files();
        machine.is_used |= !files.is_empty();
        files
    }

    /// The bytes of a file as a process would read them; `None` if there is no such file. It is
    /// no operation: it is not counted, not traced, and does not fail.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let (mut machine, file) = self.file_at(path.as_ref())?;
        Some(machine.with_file(file, |file, scope| {
            let mut bytes = vec![0; usize::try_from(file.size(scope)).unwrap_or(0)];
            file.read(scope, &mut bytes, 0);
            bytes
        }))
    }

    /// Fills `buf` with the bytes of a file from `offset`, as a process would read them. `false`
    /// if the file does not exist or ends before. Like [`SimDisk::read_file`] it is no operation.
    pub fn peek(&self, path: impl AsRef<Path>, buf: &mut [u8], offset: u64) -> bool {
        let Some((mut machine, file)) = self.file_at(path.as_ref()) else { return false };
        machine.with_file(file, |file, scope| file.read(scope, buf, offset) == buf.len())
    }

    /// The length of a file in bytes, if it exists. It is no operation.
    pub fn file_len(&self, path: impl AsRef<Path>) -> Option<u64> {
        let (mut machine, file) = self.file_at(path.as_ref())?;
        Some(machine.with_file(file, FileState::size))
    }

    /// Replaces a file's bytes on the medium itself, or makes the file: damage at rest, or a file
    /// brought from elsewhere. Directories that are missing on its way are made, and durable at
    /// once, as is its name if that is new; a name that is there already stays as durable as it
    /// was. It is no operation.
    ///
    /// # Panics
    /// If the path is a directory's, or leads on behind a file.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let (mut machine, id) = self.path_id(path.as_ref());
        machine.keep_request(None);
        machine.is_used = true;
        let file = match machine.bring(id) {
            Ok(file) => file,
            Err(error) => panic!("{}: {error}", path.as_ref().display()),
        };
        let growth = machine.profile.growth;
        machine.with_file(file, |file, scope| {
            *file = FileState::new(growth);
            file.write(scope, bytes, 0);
            file.fence(Fence::All);
        });
    }

    /// How many operations of a kind were asked for since the disk was made, or since the run of
    /// an exploration began.
    pub fn count(&self, kind: OpKind) -> u64 {
        self.machine().counts[kind as usize]
    }

    /// The number of the latest operation.
    pub fn operations(&self) -> u64 {
        self.machine().operation
    }

    /// Starts to keep a trace, from now on.
    pub fn keep_trace(&self) {
        self.machine().trace = Some(Trace::default());
    }

    /// The operations since [`SimDisk::keep_trace`], or since the run of an exploration began.
    pub fn trace(&self) -> Trace {
        self.machine().trace.clone().unwrap_or_default()
    }

    /// Has a monitor check each write from now on. Of an exploration it watches the run that calls
    /// this, and no later one.
    pub fn watch(&self, monitor: Box<dyn Monitor>) {
        self.machine().monitor = Some(monitor);
    }

    /// Ends the watch.
    pub fn unwatch(&self) -> Option<Box<dyn Monitor>> {
        self.machine().monitor.take()
    }

    /// The first thing that a monitor objected to.
    pub fn violation(&self) -> Option<String> {
        self.machine().violation.clone()
    }

    /// How many images the latest crash left open, as a base-two logarithm: the sum over all
    /// sectors, sizes and names that nobody has looked at yet.
    pub fn log2_images(&self) -> f64 {
        let machine = self.machine();
        machine.state.log2_images(&machine.arena)
    }

    fn path_id(&self, path: &Path) -> (MutexGuard<'_, Machine>, PathId) {
        let mut machine = self.machine();
        let path = machine.paths.id(path);
        machine.note_path(path);
        (machine, path)
    }

    /// The file behind a name, for a look at it that is no operation.
    fn file_at(&self, path: &Path) -> Option<(MutexGuard<'_, Machine>, u32)> {
        let (mut machine, path) = self.path_id(path);
        machine.note_look();
        machine.keep_request(None);
        let file = machine.find_file(path)?;
        machine.is_used = true;
        Some((machine, file))
    }

    fn file_id_of(&self, machine: &Machine, node: Node) -> FileId {
        // A restarted machine is another device: nothing can take its files for those from
        // before.
        let device = self.shared.number << 32 | machine.generation;
        FileId { device, inode: node.number() + 1 }
    }
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("number", &self.shared.number).finish_non_exhaustive()
    }
}

impl Vfs for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let (mut machine, path) = self.path_id(path);
        let handle = machine.open(path, mode)?;
        drop(machine);
        Ok(Box::new(SimFile { disk: self.clone(), handle }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        let (mut machine, path) = self.path_id(path);
        let node = machine.node_of(path)?;
        Ok(node.map(|node| self.file_id_of(&machine, node)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (mut machine, path) = self.path_id(path);
        machine.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut machine, from) = self.path_id(from);
        let to = machine.paths.id(to);
        machine.note_target(to);
        machine.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut machine, path) = self.path_id(path);
        machine.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (mut machine, path) = self.path_id(path);
        machine.sync_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (mut machine, path) = self.path_id(path);
        machine.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (mut machine, path) = self.path_id(path);
        machine.remove_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let (mut machine, path) = self.path_id(path);
        machine.read_dir(path)
    }
}

/// A file opened on a simulated disk.
struct SimFile {
    disk: SimDisk,
    handle: Handle,
}

impl VfsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.machine().read(&self.handle, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.machine().write(&self.handle, buf, offset)
    }

    fn begin_write_back(&self, _range: Range<u64>) -> io::Result<()> {
        self.disk.machine().begin_write_back(&self.handle)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.machine().set_len(&self.handle, len)
    }

    fn size(&self) -> io::Result<u64> {
        self.disk.machine().size(&self.handle)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.machine().sync(&self.handle, OpKind::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.machine().sync(&self.handle, OpKind::SyncAll)
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        self.disk.machine().try_lock(&self.handle, mode)
    }

    fn id(&self) -> io::Result<FileId> {
        let mut machine = self.disk.machine();
        let file = machine.id(&self.handle)?;
        Ok(self.disk.file_id_of(&machine, Node::File(file)))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.machine().close(&self.handle);
    }
}
