//! What a path says, where there are no links (part of vfs, layer L1).
//!
//! Owns: [`Way`], a path taken apart, and [`End`], what it ends in: for files in memory and the
//! simulated disk, which answer as a unix system does.
//! Must not know: what there is.
//! Keeps: no path leads through a directory that is not there, or behind a file, unseen.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf, is_separator};

/// A path from the top on: `.` goes nowhere, `..` goes back, and from the top to itself. Relative
/// paths begin at the top, too.
#[derive(Debug)]
pub(crate) struct Way {
    /// The names on the way to what the path leads to: none for the top.
    pub(crate) names: PathBuf,
    /// The ways to what must be a directory for the path to lead anywhere, beside those in front
    /// of `names`: what `..` leaves.
    pub(crate) through: Vec<PathBuf>,
    pub(crate) end: End,
}

/// What a path ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In nothing: the path is empty.
    Empty,
    /// In a name.
    Name,
    /// In a name with a slash behind it, which only a directory may have.
    Slash,
    /// In `.`, which only a directory has.
    Here,
    /// In `..`.
    Up,
    /// In the top itself.
    Top,
    /// Nowhere: there is a zero byte in it, which no system takes.
    Nowhere,
}

impl Way {
    /// Takes a path apart.
    pub(crate) fn of(path: &Path) -> Way {
        let (mut names, mut through) = (PathBuf::new(), Vec::new());
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::ParentDir if names.parent().is_some() => {
                    through.push(names.clone());
                    names.pop();
                }
                _ => {}
            }
        }
        Way { names, through, end: End::of(path) }
    }
}

impl End {
    fn of(path: &Path) -> End {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.contains(&0) {
            return End::Nowhere;
        }
        let is_separator = |byte: &u8| is_separator(char::from(*byte));
        let Some(last) = bytes.iter().rposition(|byte| !is_separator(byte)) else {
            return if bytes.is_empty() { End::Empty } else { End::Top };
        };
        let start = bytes[..last].iter().rposition(is_separator).map_or(0, |at| at + 1);
        match &bytes[start..=last] {
            b"." => End::Here,
            b".." => End::Up,
            _ if last + 1 < bytes.len() => End::Slash,
            _ => End::Name,
        }
    }

    /// Refuses what can be no path.
    pub(crate) fn check_path(self) -> io::Result<()> {
        if self == End::Nowhere { Err(ErrorKind::InvalidInput.into()) } else { Ok(()) }
    }

    /// Refuses what names no file, to who opens or removes one.
    pub(crate) fn check_file(self) -> io::Result<()> {
        self.check(ErrorKind::IsADirectory)
    }

    /// Refuses what has no name that could be changed.
    pub(crate) fn check_rename(self) -> io::Result<()> {
        self.check(ErrorKind::ResourceBusy)
    }

    /// Refuses what has no name that could be removed with its directory.
    pub(crate) fn check_remove_dir(self) -> io::Result<()> {
        self.check(match self {
            End::Here => ErrorKind::InvalidInput,
            End::Up => ErrorKind::DirectoryNotEmpty,
            _ => ErrorKind::ResourceBusy,
        })
    }

    fn check(self, refused: ErrorKind) -> io::Result<()> {
        match self {
            End::Name | End::Slash => Ok(()),
            End::Nowhere => Err(ErrorKind::InvalidInput.into()),
            End::Empty => Err(ErrorKind::NotFound.into()),
            End::Here | End::Up | End::Top => Err(refused.into()),
        }
    }
}

/// Why a directory keeps its name, in memory as on the simulated disk, so that what runs on the one
/// runs on the other.
pub(crate) fn directory_kept() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "only files are renamed, and the path is a directory's")
}
