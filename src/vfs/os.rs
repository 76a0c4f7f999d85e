//! The operating system's files (layer L1).
//!
//! Owns: the one place that names `std::fs`. Must not know: what the files hold.
//! Keeps: nothing is buffered here, so that a write that returned is the system's, and a sync
//! that returned is the disk's.

use super::{FileId, LockMode, OpenMode, Vfs, VfsFile};
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Longer chains of symbolic links are taken for a circle; Linux says 40 too.
const SYMLINKS_MAX: u32 = 40;

/// Bytes of several buffers that one call writes at most. Linux may keep what one call wrote in one
/// piece of memory: each small write into a large one, and each sync of it, looks at all of it;
/// reads find their way in few large ones sooner than in many small ones.
#[cfg(target_os = "linux")]
const VECTORED_BYTES_MAX: usize = 256 << 10;

/// The files of the operating system, by way of the standard library.
///
/// What differs between systems: on macOS both syncs ask the drive itself to empty its cache
/// (`F_FULLFSYNC`), and where a share refuses that, each commit fails; on Windows [`Vfs::sync_dir`]
/// does nothing, as a directory cannot be synced there; elsewhere it fails on file systems that
/// cannot sync one, and no file is made there. On systems that are neither Unix nor Windows the
/// [`FileId`] comes from the canonical path at the time of the call, so that two hard links to one
/// file count as two files.
///
/// In the child of a fork, a file that its parent opened is read only: writing, another length and
/// syncs fail. On Unix no file gets the number of a standard stream that is closed.
///
/// ```
/// use btree_store::vfs::{OpenMode, OsVfs, Vfs, read_exact_at, write_all_at};
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers");
/// let file = OsVfs.open(&path, OpenMode::Create)?;
/// write_all_at(&*file, b"one two", 0)?;
/// file.sync_all()?;
/// OsVfs.sync_dir(&path)?;
/// let mut word = [0; 3];
/// read_exact_at(&*file, &mut word, 4)?;
/// assert_eq!(&word, b"two");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

impl Vfs for OsVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        // Before it is opened: the opening of a pipe may wait for its other end.
        if let Ok(metadata) = fs::metadata(path) {
            check_kind(&metadata)?;
        }
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
        }
        let file = match options.open(path) {
            Ok(file) => file,
            // Some systems call a directory a permission that is missing.
            Err(_) if path.is_dir() => return Err(directory_refused()),
            Err(error) => return Err(error),
        };
        // It may have become another since the check above.
        check_kind(&file.metadata()?)?;
        let id = identity(path, &file)?;
        #[cfg(unix)]
        let file = behind_the_standard_streams(file)?;
        Ok(Box::new(OsFile { file, id, process: std::process::id() }))
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        match identity_of_path(path) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..SYMLINKS_MAX {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => {
                    let target = fs::read_link(&path)?;
                    path = path.parent().unwrap_or(Path::new("")).join(target);
                }
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::InvalidInput, "too many symbolic links"))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn keep_permissions(&self, file: &Path, of: &Path) -> io::Result<()> {
        let old = match fs::metadata(of) {
            Ok(old) => old,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let file = open_itself(file)?;
        let new = file.metadata()?;
        // Where all files have one mode, and belong to somebody else, it cannot even be set anew.
        if old.permissions() != new.permissions() {
            file.set_permissions(old.permissions())?;
        }
        #[cfg(unix)]
        keep_owner(&file, &old, &new)?;
        Ok(())
    }

    #[cfg(not(windows))]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Of the parent of what `..` leads to, the path without it knows nothing.
        let is_up = path.components().next_back() == Some(std::path::Component::ParentDir);
        let above = is_up.then(|| path.join(".."));
        let parent = above.as_deref().unwrap_or_else(|| here(path.parent().unwrap_or(path)));
        // A sync of a file would succeed, and make no name durable; and the opening of a pipe may
        // wait for its other end. It may have become another meanwhile.
        let check = |is_dir: bool| if is_dir { Ok(()) } else { Err(ErrorKind::NotADirectory) };
        check(fs::metadata(parent)?.is_dir())?;
        let parent = File::open(parent)?;
        check(parent.metadata()?.is_dir())?;
        parent.sync_all()
    }

    #[cfg(windows)]
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(here(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = fs::read_dir(here(path))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<OsString>>>()?;
        names.sort_unstable();
        Ok(names)
    }
}

/// A directory, which for a bare name is that of nothing.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// An open file of the operating system, and its identity since it was opened.
struct OsFile {
    file: File,
    id: FileId,
    /// Which process opened it.
    process: u32,
}

impl OsFile {
    /// The file, where it may be changed. The child of a fork has a copy of all that its parent
    /// knows of it, which soon is old.
    fn to_change(&self) -> io::Result<&File> {
        if self.process == std::process::id() {
            return Ok(&self.file);
        }
        let said = "the file was opened by the process of which this one is a fork";
        Err(io::Error::new(ErrorKind::PermissionDenied, said))
    }
}

impl Drop for OsFile {
    /// Closing alone gives the lock up only when every copy of the handle is closed; a process
    /// that another thread starts at this moment has one, until it runs its own program.
    fn drop(&mut self) {
        // In the child of a fork it is the parent's lock.
        if self.to_change().is_ok_and(|file| file.unlock().is_err()) {
            // Closing, which comes next, is then all that can be done.
        }
    }
}

impl VfsFile for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        write_at(self.to_change()?, buf, offset)
    }

    #[cfg(target_os = "linux")]
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes = 0;
        let fits = |buf: &&IoSlice<'_>| {
            bytes += buf.len();
            bytes <= VECTORED_BYTES_MAX
        };
        match bufs.iter().take_while(fits).count() {
            0 | 1 => bufs.first().map_or(Ok(0), |buf| self.write_at(buf, offset)),
            count => write_vectored_at(self.to_change()?, &bufs[..count], offset),
        }
    }

    #[cfg(target_os = "linux")]
    fn begin_write_back(&self, range: Range<u64>) -> io::Result<()> {
        begin_write_back(&self.file, range)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.to_change()?.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        // The child of a fork would be told the failure that its parent has to know.
        self.to_change()?.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.to_change()?.sync_all()
    }

    fn try_lock(&self, mode: LockMode) -> io::Result<bool> {
        // The lock of a process there: another handle of the same one would take it, and drop it.
        if cfg!(target_os = "solaris") {
            return Err(ErrorKind::Unsupported.into());
        }
        let outcome = match mode {
            LockMode::Shared => self.file.try_lock_shared(),
            LockMode::Exclusive => self.file.try_lock(),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            // Also where the filesystem has no locks: taken for a success, two processes would
            // write to one file.
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(self.id)
    }
}

/// What the system says where it does not let a process give a file away.
#[cfg(unix)]
const FORBIDDEN: [ErrorKind; 3] =
    [ErrorKind::PermissionDenied, ErrorKind::InvalidInput, ErrorKind::Unsupported];

/// Opens a file, and on Linux no other that a link of its name leads to, which may just have come
/// there.
fn open_itself(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Windows lets nobody change what is only read.
    #[cfg(not(unix))]
    options.write(true);
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
    options.open(path)
}

/// Gives a file the group and the owner of another, as far as the system lets this process.
#[cfg(unix)]
fn keep_owner(file: &File, old: &Metadata, new: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (owner, group) = (old.uid(), old.gid());
    let group = (group != new.gid()).then_some((None, Some(group)));
    let owner = (owner != new.uid()).then_some((Some(owner), None));
    // Whoever gave the file away may not change its group.
    for (owner, group) in group.into_iter().chain(owner) {
        match fchown(file, owner, group) {
            // A number that this process's user namespace does not have is invalid to the system.
            Err(error) if FORBIDDEN.contains(&error.kind()) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Where a standard stream is closed, the next file that is opened gets its number, and what is
/// printed would lie over the first slot. A copy that the library makes has never such a number.
#[cfg(unix)]
fn behind_the_standard_streams(file: File) -> io::Result<File> {
    const STANDARD_MAX: std::os::fd::RawFd = 2;
    if file.as_raw_fd() > STANDARD_MAX { Ok(file) } else { file.try_clone() }
}

/// Refuses what is no regular file: nothing can be stored in a pipe or a device, and it must not
/// be replaced by a file.
fn check_kind(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(directory_refused());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path names no regular file"));
    }
    Ok(())
}

fn directory_refused() -> io::Error {
    io::Error::new(ErrorKind::IsADirectory, "the path names a directory, not a file")
}

#[cfg(unix)]
fn identity(_path: &Path, file: &File) -> io::Result<FileId> {
    file.metadata().map(|metadata| of_metadata(&metadata))
}

#[cfg(unix)]
fn identity_of_path(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|metadata| of_metadata(&metadata))
}

#[cfg(unix)]
fn of_metadata(metadata: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    FileId { device: metadata.dev(), inode: metadata.ino() }
}

/// What Windows tells of an open file, in the order of its words: the standard library has no
/// stable way to the volume and the index.
#[cfg(windows)]
#[repr(C)]
#[derive(Default)]
struct Information {
    attributes: u32,
    times: [u32; 6],
    volume: u32,
    size: [u32; 2],
    links: u32,
    /// The high word first.
    index: [u32; 2],
}

#[cfg(windows)]
#[link(name = "kernel32")]
unsafe extern "system" {
    #[link_name = "GetFileInformationByHandle"]
    fn file_information(file: RawHandle, information: *mut Information) -> i32;
}

#[cfg(windows)]
fn identity(_path: &Path, file: &File) -> io::Result<FileId> {
    let mut told = Information::default();
    // SAFETY: the handle is open while the file is borrowed, and `told` has the words that the
    // system writes, which mean something whatever they are.
    if unsafe { file_information(file.as_raw_handle(), &raw mut told) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let [high, low] = told.index.map(u64::from);
    Ok(FileId { device: told.volume.into(), inode: high << 32 | low })
}

#[cfg(windows)]
fn identity_of_path(path: &Path) -> io::Result<FileId> {
    // Whoever asks for no access is refused nothing that another has; and this opens directories.
    const BACKUP_SEMANTICS: u32 = 0x0200_0000;
    let mut options = OpenOptions::new();
    let file = options.access_mode(0).custom_flags(BACKUP_SEMANTICS).open(path)?;
    identity(path, &file)
}

#[cfg(not(any(unix, windows)))]
fn identity(path: &Path, _file: &File) -> io::Result<FileId> {
    identity_of_path(path)
}

#[cfg(not(any(unix, windows)))]
fn identity_of_path(path: &Path) -> io::Result<FileId> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    fs::canonicalize(path)?.hash(&mut hasher);
    Ok(FileId { device: 0, inode: hasher.finish() })
}

#[cfg(unix)]
use std::os::{fd::AsRawFd, unix::fs::FileExt};
#[cfg(target_os = "linux")]
use std::{io::IoSlice, ops::Range};

#[cfg(unix)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buf, offset)
}

#[cfg(unix)]
fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(buf, offset)
}

#[cfg(target_os = "linux")]
fn write_vectored_at(file: &File, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| ErrorKind::InvalidInput)?;
    // More of them would be an error.
    let count = bufs.len().min(libc::UIO_MAXIOV as usize);
    let count = libc::c_int::try_from(count).expect("the system's limit is one of its numbers");
    // SAFETY: a slice for output and output only is laid out as the system's `iovec`; there are
    // `count` of them, and what they borrow is only read.
    let written = unsafe { libc::pwritev64(file.as_raw_fd(), bufs.as_ptr().cast(), count, offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

#[cfg(target_os = "linux")]
fn begin_write_back(file: &File, range: Range<u64>) -> io::Result<()> {
    let len = range.end.saturating_sub(range.start);
    let offset = i64::try_from(range.start).map_err(|_| ErrorKind::InvalidInput)?;
    let len = i64::try_from(len).map_err(|_| ErrorKind::InvalidInput)?;
    let (fd, how) = (file.as_raw_fd(), libc::SYNC_FILE_RANGE_WRITE);
    // SAFETY: the call takes numbers only, and the file is open while it is borrowed.
    if unsafe { libc::sync_file_range(fd, offset, len, how) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Where there is no such call, or none is allowed, the next sync does it all.
        Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::EINVAL | libc::ESPIPE) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(windows)]
use std::os::windows::{
    fs::{FileExt, OpenOptionsExt},
    io::{AsRawHandle, RawHandle},
};

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buf, offset)
}

#[cfg(windows)]
fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    file.seek_write(buf, offset)
}

#[cfg(not(any(unix, windows)))]
fn read_at(_file: &File, _buf: &mut [u8], _offset: u64) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(not(any(unix, windows)))]
fn write_at(_file: &File, _buf: &[u8], _offset: u64) -> io::Result<usize> {
    Err(ErrorKind::Unsupported.into())
}
