//! Watching writes as they happen.
//!
//! Owns: [`Monitor`], which a disk calls, and what it is told.
//! Must not know: what a monitor checks. Keeps: nothing.

use std::path::Path;

/// A write, before it is carried out.
#[derive(Clone, Copy, Debug)]
pub struct WriteEvent<'a> {
    /// The operation's number.
    pub operation: u64,
    /// The file's number.
    pub file: u32,
    /// The path that the file was opened by.
    pub path: &'a Path,
    /// Where, in bytes.
    pub offset: u64,
    /// What the file holds there, as far as it reaches; `None` when a crash left that open and
    /// nobody has read it.
    pub old: Option<&'a [u8]>,
    /// What is written.
    pub new: &'a [u8],
}

/// Checks each write as it happens, for rules that a look at the result cannot check: that a
/// committed page is never overwritten, for instance.
///
/// A monitor is called while the disk is locked: it must not use the disk. The first error it
/// returns is kept, see [`SimDisk::violation`](super::SimDisk::violation), and ends an
/// exploration as a violation.
pub trait Monitor: Send {
    /// A write is about to be carried out.
    ///
    /// # Errors
    /// What is wrong with it.
    fn write(&mut self, event: &WriteEvent<'_>) -> Result<(), String>;

    /// A file's length is about to be set, in bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    fn set_len(&mut self, _file: u32, _path: &Path, _len: u64) -> Result<(), String> {
        Ok(())
    }

    /// A sync of a file ended, well or not.
    ///
    /// # Errors
    /// What is wrong with it.
    fn synced(&mut self, _file: u32, _path: &Path, _succeeded: bool) -> Result<(), String> {
        Ok(())
    }
}
