//! Files in memory (layer L1).
//!
//! Owns: contents and locks of files that live as long as the process, and by way of its part
//! their names. Must not know: what the files hold.
//! Keeps: a name leads to a file and a handle holds the file, so that a rename or a removal
//! leaves open handles valid. Lock order: the names, then the contents of files.

mod names;

use self::names::{Names, Node, TOP, directory_refused};
use super::way::{End, Way, directory_kept};
use super::{FileId, LockMode, OpenMode, Vfs, VfsFile};
use crate::sync::{Arc, Mutex, RwLock};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::{fmt, ptr};

/// Files in memory, with the semantics of unix: handles outlive names, locks belong to handles.
///
/// A clone shows the same files. One directory is always there, the top: `"/"`, `"."`, and where
/// every path begins, relative or not; the others are made by [`Vfs::create_dir`]. There are no
/// links, so that `a/../b` is `b` if `a` is a directory. A sync does nothing, as nothing here
/// outlives the process; [`MemVfs::snapshot`] is what a killed process leaves behind.
///
/// ```
/// use btree_store::vfs::{MemVfs, OpenMode, Vfs, read_exact_at, write_all_at};
/// use std::path::Path;
/// let vfs = MemVfs::default();
/// let file = vfs.open(Path::new("numbers"), OpenMode::Create)?;
/// write_all_at(&*file, b"one two", 0)?;
/// let mut word = [0; 3];
/// read_exact_at(&*file, &mut word, 4)?;
/// assert_eq!(&word, b"two");
///
/// let killed = vfs.snapshot();
/// write_all_at(&*file, b"ten", 4)?;
/// assert_eq!(killed.read_file("numbers").as_deref(), Some(&b"one two"[..]));
/// assert_eq!(vfs.read_file("numbers").as_deref(), Some(&b"one ten"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct MemVfs {
    volume: Arc<Volume>,
}

/// What the clones of one [`MemVfs`] share.
struct Volume {
    names: Mutex<Names>,
}

/// A file, whatever name it has or had.
struct Content {
    inode: u64,
    bytes: RwLock<Vec<u8>>,
    locks: Mutex<Locks>,
}

/// Who holds a lock on a file: the lock of each handle that has one.
struct Locks {
    holders: BTreeMap<u64, LockMode>,
    handle_next: u64,
}

impl MemVfs {
    /// A place without files, the same as [`MemVfs::default`].
    pub fn new() -> MemVfs {
        MemVfs::with(Names { nodes: BTreeMap::new(), inode_next: TOP + 1 })
    }

    /// A deep copy of all named files at one moment, without locks and open handles: what the
    /// next process would find if this one were killed now.
    #[must_use]
    pub fn snapshot(&self) -> MemVfs {
        let names = self.volume.names.lock();
        // All files are held before the first is copied. Copied one after another, a later
        // write could be in the copy without an earlier one to another file.
        let held = names.files().map(|(way, content)| (way, content, content.bytes.read()));
        let held: Vec<_> = held.collect();
        let mut nodes = names.nodes.clone();
        for (way, content, bytes) in &held {
            let copy = Content::new(content.inode, bytes.to_vec());
            nodes.insert((*way).clone(), Node::File(copy));
        }
        MemVfs::with(Names { nodes, inode_next: names.inode_next })
    }

    /// The bytes of a file, or `None` when there is no file of this name.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let content = {
            let names = self.volume.names.lock();
            names.walk(path.as_ref()).and_then(|way| names.file(&way)).ok()?
        };
        let bytes = content.bytes.read();
        Some(bytes.to_vec())
    }

    /// Replaces the bytes of a file, which is made when it is missing, with the directories that
    /// its path names. Handles that are open on it see the new bytes.
    ///
    /// # Panics
    /// If the path is a directory's, or leads on behind a file.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let (path, mut names) = (path.as_ref(), self.volume.names.lock());
        let content = names.make_way(path).and_then(|way| names.open_or_make(&way));
        let content = content.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        drop(names);
        *content.bytes.write() = bytes.to_vec();
    }

    fn with(names: Names) -> MemVfs {
        MemVfs { volume: Arc::new(Volume { names: Mutex::new(names) }) }
    }
}

impl Default for MemVfs {
    fn default() -> MemVfs {
        MemVfs::new()
    }
}

impl fmt::Debug for MemVfs {
    /// Names and lengths in bytes; the contents are too long to be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.volume.names.lock();
        f.debug_map()
            .entries(names.files().map(|(way, content)| (way, content.bytes.read().len())))
            .finish()
    }
}

impl Vfs for MemVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let content = {
            let mut names = self.volume.names.lock();
            match mode {
                OpenMode::Read | OpenMode::ReadWrite => names.file(&names.walk(path)?)?,
                OpenMode::Create => {
                    let way = names.place(path)?;
                    names.open_or_make(&way)?
                }
            }
        };
        let handle = content.locks.lock().number_handle();
        Ok(Box::new(MemFile { volume: self.volume.clone(), content, handle, mode }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        let names = self.volume.names.lock();
        match names.walk(path).and_then(|way| names.inode(&way)) {
            Ok(inode) => Ok(Some(self.volume.id(inode))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.volume.names.lock();
        Way::of(to).end.check_path()?;
        let (from, to) = (names.place(from)?, names.place(to)?);
        from.end.check_rename()?;
        to.end.check_rename()?;
        names.find(&from.names)?;
        let Some(Node::File(content)) = names.nodes.get(&from.names).cloned() else {
            return Err(directory_kept());
        };
        if from.end == End::Slash || to.end == End::Slash {
            return Err(ErrorKind::NotADirectory.into());
        }
        if let Some(Node::Directory { .. }) = names.nodes.get(&to.names) {
            let holds_it = from.names.starts_with(&to.names);
            let not_empty = || ErrorKind::DirectoryNotEmpty.into();
            return Err(if holds_it { not_empty() } else { directory_refused() });
        }
        names.nodes.remove(&from.names);
        names.nodes.insert(to.names, Node::File(content));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.volume.names.lock();
        let way = names.walk(path)?;
        names.file(&way)?;
        names.nodes.remove(&way.names);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let names = self.volume.names.lock();
        let mut way = names.walk_to_parent(path)?.names;
        way.pop();
        names.directory(&way).map(drop)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut names = self.volume.names.lock();
        let way = names.walk(path)?;
        match names.find(&way.names) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let way = names.place(path)?;
                names.make_directory(way.names);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut names = self.volume.names.lock();
        let way = names.walk(path)?;
        way.end.check_remove_dir()?;
        names.directory(&way.names)?;
        if names.below(&way.names).next().is_some() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        names.nodes.remove(&way.names);
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let names = self.volume.names.lock();
        let way = names.walk(path)?.names;
        names.directory(&way)?;
        let here = names.below(&way).filter(|below| below.parent() == Some(&way));
        Ok(here.filter_map(|below| below.file_name()).map(OsStr::to_owned).collect())
    }
}

impl Volume {
    /// The device is the volume's address, so that files of two living volumes never look the
    /// same to a table of the open files of the process.
    fn id(&self, inode: u64) -> FileId {
        FileId { device: ptr::from_ref(self).addr() as u64, inode }
    }
}

impl Content {
    fn new(inode: u64, bytes: Vec<u8>) -> Arc<Content> {
        let locks = Locks { holders: BTreeMap::new(), handle_next: 0 };
        Arc::new(Content { inode, bytes: RwLock::new(bytes), locks: Mutex::new(locks) })
    }
}

impl Locks {
    fn number_handle(&mut self) -> u64 {
        let handle = self.handle_next;
        self.handle_next += 1;
        handle
    }

    /// As `flock` does it: a handle that asks again gives its own lock up first, and has none
    /// when another handle excludes the new one.
    fn try_lock(&mut self, handle: u64, mode: LockMode) -> bool {
        self.holders.remove(&handle);
        let free = match mode {
            LockMode::Shared => self.holders.values().all(|held| *held == LockMode::Shared),
            LockMode::Exclusive => self.holders.is_empty(),
        };
        if free {
            self.holders.insert(handle, mode);
        }
        free
    }
}

/// An open handle on a [`Content`].
struct MemFile {
    /// Held so that its address, which is in the file's id, is not given to another volume.
    volume: Arc<Volume>,
    content: Arc<Content>,
    handle: u64,
    mode: OpenMode,
}

impl MemFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.mode {
            OpenMode::ReadWrite | OpenMode::Create => Ok(()),
            OpenMode::Read => Err(io::Error::new(
                ErrorKind::PermissionDenied,
                "the file is open for reading only",
            )),
        }
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.content.locks.lock().holders.remove(&self.handle);
    }
}

impl VfsFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.content.bytes.read();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable()?;
        if buf.is_empty() {
            return Ok(0);
        }
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let end = start.checked_add(buf.len()).ok_or(ErrorKind::FileTooLarge)?;
        let mut bytes = self.content.bytes.write();
        if bytes.len() < end {
            grow(&mut bytes, end)?;
        }
        bytes[start..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let len = usize::try_from(len).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut bytes = self.content.bytes.write();
        if bytes.len() < len {
            return grow(&mut bytes, len);
        }
        bytes.truncate(len);
        // Who shortens a file wants the space back.
        bytes.shrink_to_fit();
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.content.bytes.read().len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        Ok(self.content.locks.lock().try_lock(self.handle, mode))
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(self.volume.id(self.content.inode))
    }
}

/// Grows to `len` bytes with zeros; too large a length is an error, where `resize` would end the
/// process.
fn grow(bytes: &mut Vec<u8>, len: usize) -> io::Result<()> {
    bytes.try_reserve(len - bytes.len()).map_err(|_| ErrorKind::StorageFull)?;
    bytes.resize(len, 0);
    Ok(())
}
