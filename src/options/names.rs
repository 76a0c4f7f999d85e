//! What a path names (part of options, layer L7).
//!
//! Owns: the questions that are asked of a path before and after a file is opened by it.
//! Must not know: what files hold. Keeps: one-writer (a lock counts while its file has the name).

use crate::error::{Error, Result};
use crate::vfs::{FileId, OpenMode, Vfs, VfsFile};
use std::io::ErrorKind;
use std::path::Path;

/// Whether a path still names this file.
pub(super) fn is_named(vfs: &dyn Vfs, path: &Path, file: &dyn VfsFile) -> Result<bool> {
    let named = vfs.file_id(path).map_err(|error| Error::io("identify", &error))?;
    let own = file.id().map_err(|error| Error::io("identify", &error))?;
    Ok(named == Some(own))
}

pub(super) fn exists(vfs: &dyn Vfs, path: &Path) -> Result<bool> {
    vfs.exists(path).map_err(|error| Error::io("identify", &error))
}

pub(super) fn check_missing(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    if exists(vfs, path)? { Err(Error::Duplicate) } else { Ok(()) }
}

pub(super) fn is_missing_or_empty(vfs: &dyn Vfs, path: &Path) -> Result<bool> {
    match vfs.open(path, OpenMode::Read) {
        Ok(file) => Ok(file.size().map_err(|error| Error::io("ask for the size", &error))? == 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("open", &error)),
    }
}

/// Whether a path names another file than this one by now, or none. Where the storage cannot say,
/// it may be the same.
pub(super) fn is_lost(vfs: &dyn Vfs, path: &Path, file: FileId) -> bool {
    vfs.file_id(path).is_ok_and(|named| named != Some(file))
}
