//! The seam to the storage (layer L1).
//!
//! Owns: the traits [`Vfs`] and [`VfsFile`], and the loops that turn short transfers into whole
//! ones. Must not know: pages, or anything above them. No other way leads to the disk.
//! Keeps: a short transfer is continued, a transfer of nothing ends in an error.

mod mem;
mod os;

pub use mem::MemVfs;
pub use os::OsVfs;

use crate::seeded::seeded;
use std::io::{self, ErrorKind};
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
/// [`Vfs::sync_dir`].
pub trait Vfs: Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` when the mode wants the file to exist and it does not; what the storage says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>>;

    /// The identity of the file behind a path, or `None` when there is no such file.
    ///
    /// # Errors
    /// What the storage says.
    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>>;

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
    /// What the storage says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// What the storage says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in the directory that holds `path` durable.
    ///
    /// # Errors
    /// What the storage says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

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
pub fn write_all_at(file: &dyn VfsFile, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.write_at(buf, offset) {
            Ok(0) if !seeded!(ZeroWriteLoops) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                let written = written.min(buf.len());
                if seeded!(ShortWriteNotLooped) {
                    return Ok(());
                }
                buf = &buf[written..];
                offset += written as u64;
            }
            Err(error)
                if error.kind() == ErrorKind::Interrupted && !seeded!(InterruptNotRetried) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
