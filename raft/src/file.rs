//! Snapshots as files.
//!
//! Owns: [`SnapshotFile`], what openraft moves between nodes, and [`Spool`], the directory in
//! which they lie. Must not know: what is in them.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tempfile::TempPath;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, AsyncWriteExt, ReadBuf};

const SUFFIX: &str = ".snapshot";

/// A snapshot on its way: what openraft reads on the leader, and writes on a follower.
///
/// A file of the state machine's directory for snapshots, with a place in it of its own. The file
/// goes away with the last handle.
#[derive(Debug)]
pub struct SnapshotFile {
    file: tokio::fs::File,
    path: Arc<TempPath>,
    /// A write has failed, and nobody knows where the file stands, before it is told.
    has_failed: bool,
}

impl SnapshotFile {
    fn of(file: File, path: Arc<TempPath>) -> SnapshotFile {
        let mut file = tokio::fs::File::from_std(file);
        // openraft counts a chunk when all of it was taken, and tells where to write only where
        // that is elsewhere: a write that is given up must have taken all of it, or nothing.
        file.set_max_buf_size(usize::MAX);
        SnapshotFile { file, path, has_failed: false }
    }

    /// A handle at the beginning of a file that is whole.
    pub(crate) fn open(path: &Arc<TempPath>) -> Result<SnapshotFile> {
        let file = File::open(&**path).map_err(Error::spool("open a snapshot"))?;
        Ok(SnapshotFile::of(file, Arc::clone(path)))
    }

    /// The file, with all that was written, to be read from its beginning.
    pub(crate) async fn received(mut self) -> Result<Arc<TempPath>> {
        self.file.flush().await.map_err(Error::spool("write a snapshot"))?;
        Ok(self.path)
    }
}

impl AsyncRead for SnapshotFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buf)
    }
}

impl AsyncWrite for SnapshotFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_failed {
            return Poll::Ready(Err(io::Error::other("a write before this one failed")));
        }
        let written = Pin::new(&mut self.file).poll_write(context, buf);
        self.has_failed = matches!(written, Poll::Ready(Err(_)));
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(context)
    }
}

impl AsyncSeek for SnapshotFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.has_failed = false;
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}

fn unprepared() -> impl Fn(io::Error) -> Error {
    Error::spool("prepare the directory for snapshots")
}

/// A directory for snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// A directory, which is made when it is missing, and in which a file can be made. What others
    /// have left there stays, since it may be in use.
    pub(crate) fn open(directory: PathBuf) -> Result<Spool> {
        std::fs::create_dir_all(&directory).map_err(unprepared())?;
        let spool = Spool { directory };
        spool.left()?;
        spool.create()?;
        Ok(spool)
    }

    /// Removes what a process left that was killed, or a state machine that is replaced.
    pub(crate) fn clear(&self) -> Result<()> {
        for path in self.left()? {
            match std::fs::remove_file(path) {
                // A state machine that is replaced removes its own meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(unprepared())?,
            }
        }
        Ok(())
    }

    /// The snapshots in the directory.
    fn left(&self) -> Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(unprepared())? {
            let path = entry.map_err(unprepared())?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                left.push(path);
            }
        }
        Ok(left)
    }

    /// A new file.
    pub(crate) fn create(&self) -> Result<(File, Arc<TempPath>)> {
        let made = tempfile::Builder::new().suffix(SUFFIX).tempfile_in(&self.directory);
        let (file, path) = made.map_err(Error::spool("create a snapshot"))?.into_parts();
        Ok((file, Arc::new(path)))
    }

    /// A new file, to be written by openraft.
    pub(crate) fn receive(&self) -> Result<SnapshotFile> {
        let (file, path) = self.create()?;
        Ok(SnapshotFile::of(file, path))
    }
}
