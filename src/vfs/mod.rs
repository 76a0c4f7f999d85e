//! The seam to the storage (layer L1).
//!
//! Owns: the traits [`Vfs`] and [`VfsFile`], and the loops that turn short transfers into whole
//! ones. Must not know: pages, or anything above them. No other way leads to the disk.
//! Keeps: a short transfer is continued, a transfer of nothing ends in an error.

mod mem;
mod os;
mod way;

pub use mem::MemVfs;
pub use os::OsVfs;
#[cfg(feature = "sim")]
pub(crate) use way::{End, Way, directory_kept};

use crate::seeded::seeded;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How [`Vfs::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// The file exists; it is only read.
    Read,
    /// The file exists; it is read and written.
    ReadWrite,
    /// The file is made when it is missing, and kept as it is when it exists.
    Create,
}

/// Which lock [`VfsFile::try_lock`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Shared with other shared locks.
    Shared,
    /// Alone.
    Exclusive,
}

/// The identity of a file, whatever names it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The file's number on the device.
    pub inode: u64,
}

/// A place where files live: the operating system's, memory, or a simulated disk.
///
/// All names are given by path. The durability of a name is the directory's, see
/// [`Vfs::sync_dir`]. A path whose directory does not exist is `NotFound`, and `NotADirectory` if
/// it leads on behind a file: `file/..` and `file/` do, too, and `missing/../file` is not found.
/// The empty path, which is the parent of a bare name, is the directory in which relative paths
/// begin to [`Vfs::create_dir`], [`Vfs::read_dir`] and [`Vfs::sync_dir`]; to the other calls it is
/// nothing.
///
/// [`MemVfs`] and the simulated disk answer to each path as [`OsVfs`] does on Linux, but to those
/// that are too long for the system, which they take. They have no links and no current directory,
/// and rename no directory.
///
/// A store makes, removes and lists no directory. The calls for it are for applications that keep
/// other files beside theirs; a storage that does without them answers `Unsupported`.
///
/// ```
/// use btree_store::vfs::{MemVfs, OpenMode, Vfs};
/// use std::path::Path;
/// fn begin(vfs: &dyn Vfs) -> std::io::Result<()> {
///     let dir = Path::new("segments");
///     vfs.create_dir(dir)?;
///     // Its name is durable when the directory that holds it was synced.
///     vfs.sync_dir(dir)?;
///     for name in ["2", "1"] {
///         let path = dir.join(name);
///         vfs.open(&path, OpenMode::Create)?.sync_all()?;
///         vfs.sync_dir(&path)?;
///     }
///     assert_eq!(vfs.read_dir(dir)?, ["1", "2"]);
///     Ok(())
/// }
/// begin(&MemVfs::new())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Vfs: Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` when the mode wants the file to exist and it does not; `IsADirectory` for a
    /// directory; what the storage says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>>;

    /// The identity of the file or directory behind a path, or `None` when there is none.
    ///
    /// # Errors
    /// What the storage says.
    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>>;

    /// Whether there is a file or a directory behind a path.
    ///
    /// # Errors
    /// What the storage says.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.file_id(path)?.is_some())
    }

    /// The path where the file behind `path` lies, or would lie if it were made: symbolic links
    /// of the last component are followed. The same path where there are none.
    ///
    /// # Errors
    /// What the storage says.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// Renames a file, replacing the target if it exists, atomically.
    ///
    /// # Errors
    /// `NotFound` when there is no such file. For a directory `Unsupported`, where the storage
    /// renames none: of the storages here only [`OsVfs`] leaves that to the system. What the
    /// storage says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// `NotFound` when there is no such file; some error for a directory, which is for
    /// [`Vfs::remove_dir`]; what the storage says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file the permission bits of another that it is going to replace, if that is there,
    /// and its group and owner where the system lets this process: a store that is made where an
    /// empty file was is for the same users. Lists of access rights are not kept. Does nothing
    /// unless a `Vfs` says otherwise.
    ///
    /// # Errors
    /// What the storage says.
    fn keep_permissions(&self, _file: &Path, _of: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Makes the names in the directory that holds `path` durable, those of directories as well as
    /// those of files. It does not make the name of that directory itself durable: for this it is
    /// called with the directory's path.
    ///
    /// # Errors
    /// What the storage says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory, in one that exists. It is durable after [`Vfs::sync_dir`] with the same
    /// path; a crash before may take it and all that lies in it.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a file or a directory of this name; `Unsupported` where the
    /// storage has no directories to be made, as is the case unless it says otherwise; what the
    /// storage says.
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Removes an empty directory. [`Vfs::sync_dir`] makes that durable.
    ///
    /// # Errors
    /// `DirectoryNotEmpty` when there is anything in it; `NotFound` when it does not exist;
    /// `NotADirectory` for a file; `Unsupported` as in [`Vfs::create_dir`]; what the storage says,
    /// which never lets the top go, for one.
    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    /// The names of the files and directories in a directory, without the way to them. They are
    /// sorted by their bytes: who does something with each does the same each time, whatever order
    /// the storage keeps them in. All are in memory at once.
    ///
    /// # Errors
    /// `NotFound` when it does not exist; `NotADirectory` for a file; `Unsupported` as in
    /// [`Vfs::create_dir`]; what the storage says.
    fn read_dir(&self, _path: &Path) -> io::Result<Vec<OsString>> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Bytes that [`VfsFile::write_vectored_at`] copies together at most.
const JOINED_BYTES_MAX: usize = 1 << 20;

/// An open file: positional, without a cursor, shared by threads.
///
/// The lock that [`VfsFile::try_lock`] took is given back when the file is dropped.
pub trait VfsFile: Send + Sync {
    /// Reads at `offset` in bytes; fewer bytes than asked for may come, none at the end.
    ///
    /// # Errors
    /// What the storage says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset` in bytes; fewer bytes than given may be taken.
    ///
    /// # Errors
    /// What the storage says.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Writes buffers one behind the other, from `offset` in bytes on; fewer bytes than given may
    /// be taken. Unless a file does better, some of them are copied together for one
    /// [`VfsFile::write_at`].
    ///
    /// # Errors
    /// What the storage says.
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if let [buf] = bufs {
            return self.write_at(buf, offset);
        }
        let mut joined = Vec::new();
        for buf in bufs {
            let room = JOINED_BYTES_MAX - joined.len();
            joined.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        self.write_at(&joined, offset)
    }

    /// Lets the storage begin with what was written in a range of bytes, so that it works while
    /// the caller does. Nothing is durable by that; a file that leaves all to the next sync is as
    /// good.
    ///
    /// # Errors
    /// What the storage says; what was written there may be lost.
    fn begin_write_back(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// Sets the length in bytes; new bytes read as zeros.
    ///
    /// # Errors
    /// What the storage says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// What the storage says.
    fn size(&self) -> io::Result<u64>;

    /// Makes the data written so far durable, and the length as far as reading it needs it.
    ///
    /// # Errors
    /// What the storage says; what was written since the last success may or may not be durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the data written so far and the length durable.
    ///
    /// # Errors
    /// What the storage says; what was written since the last success may or may not be durable.
    fn sync_all(&self) -> io::Result<()>;

    /// Takes a lock on the file itself; `false` when another holder excludes it.
    ///
    /// # Errors
    /// What the storage says.
    fn try_lock(&self, mode: LockMode) -> io::Result<bool>;

    /// The identity of the open file.
    ///
    /// # Errors
    /// What the storage says.
    fn id(&self) -> io::Result<FileId>;
}

/// Fills `buf` from `offset`, however short each transfer is.
///
/// # Errors
/// `UnexpectedEof` when the file ends first; what the storage says.
pub fn read_exact_at(file: &dyn VfsFile, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.read_at(buf, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                let read = read.min(buf.len());
                if seeded!(ShortReadNotLooped) {
                    return Ok(());
                }
                buf = &mut buf[read..];
                offset += read as u64;
            }
            Err(error)
                if error.kind() == ErrorKind::Interrupted && !seeded!(InterruptNotRetried) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `buf` at `offset`, however short each transfer is.
///
/// # Errors
/// `WriteZero` when the storage takes nothing; what the storage says.
pub fn write_all_at(file: &dyn VfsFile, buf: &[u8], offset: u64) -> io::Result<()> {
    write_all_vectored_at(file, &mut [IoSlice::new(buf)], offset)
}

/// Writes all of some buffers at `offset`, one behind the other, however short each transfer is.
/// What is left in `bufs` afterwards means nothing.
///
/// # Errors
/// `WriteZero` when the storage takes nothing; what the storage says.
pub fn write_all_vectored_at(
    file: &dyn VfsFile,
    mut bufs: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    // Empty buffers in front would be taken for a storage that takes nothing.
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match file.write_vectored_at(bufs, offset) {
            Ok(0) if !seeded!(ZeroWriteLoops) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                let written = written.min(bufs.iter().map(|buf| buf.len()).sum());
                if seeded!(ShortWriteNotLooped) {
                    return Ok(());
                }
                IoSlice::advance_slices(&mut bufs, written);
                offset += written as u64;
            }
            Err(error)
                if error.kind() == ErrorKind::Interrupted && !seeded!(InterruptNotRetried) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
