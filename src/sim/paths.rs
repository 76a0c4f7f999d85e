//! The paths of the simulated disk, as numbers.
//!
//! Owns: [`Paths`], which numbers paths and the names that they consist of.
//! Must not know: what a path leads to.
//! Keeps: a number stands for one path, or one name, for as long as the disk lives.

use super::{count, index};
use crate::vfs::{self, End};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// The number of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathId(u32);

impl PathId {
    pub(super) fn number(self) -> u64 {
        self.0.into()
    }
}

/// The number of a name, whatever directory it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameId(pub(super) u32);

/// A path taken apart, see [`vfs::Way`].
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The names on the way from the top: none for the top itself.
    pub(super) names: Vec<NameId>,
    /// The ways to what else must be a directory.
    pub(super) through: Vec<Vec<NameId>>,
    pub(super) end: End,
}

/// All paths ever named, and what each says.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    paths: Vec<PathBuf>,
    ways: Vec<Way>,
    names: Vec<OsString>,
    /// The numbers by what they stand for. As bytes: this is on the way of every open.
    path_ids: BTreeMap<OsString, PathId>,
    name_ids: BTreeMap<OsString, NameId>,
}

impl Paths {
    /// The number of a path, a new one if it was never named.
    pub(super) fn id(&mut self, path: &Path) -> PathId {
        if let Some(id) = self.known(path) {
            return id;
        }
        let way = vfs::Way::of(path);
        let is_plain = way.through.is_empty() && way.end == End::Name;
        let path = if is_plain { clean(path) } else { path.to_owned() };
        if let Some(id) = self.known(&path) {
            return id;
        }
        let through = way.through.iter().map(|passed| self.numbered(passed)).collect();
        let way = Way { names: self.numbered(&way.names), through, end: way.end };
        let id = PathId(count(self.paths.len()));
        self.path_ids.insert(path.clone().into_os_string(), id);
        self.paths.push(path);
        self.ways.push(way);
        id
    }

    fn numbered(&mut self, names: &Path) -> Vec<NameId> {
        names.iter().map(|name| self.name_id(name)).collect()
    }

    fn known(&self, path: &Path) -> Option<PathId> {
        self.path_ids.get(path.as_os_str()).copied()
    }

    fn name_id(&mut self, name: &OsStr) -> NameId {
        if let Some(id) = self.name_ids.get(name) {
            return *id;
        }
        let id = NameId(count(self.names.len()));
        self.names.push(name.to_owned());
        self.name_ids.insert(name.to_owned(), id);
        id
    }

    pub(super) fn path(&self, id: PathId) -> &Path {
        &self.paths[index(id.0)]
    }

    pub(super) fn way(&self, id: PathId) -> &Way {
        &self.ways[index(id.0)]
    }

    pub(super) fn name(&self, id: NameId) -> &OsStr {
        &self.names[index(id.0)]
    }

    /// The path that an operation on names carries the checksum of.
    pub(super) fn of_checksum(&self, checksum: u32) -> Option<&Path> {
        let bytes = |path: &&PathBuf| crc32c::crc32c(path.as_os_str().as_encoded_bytes());
        self.paths.iter().find(|path| bytes(path) == checksum).map(PathBuf::as_path)
    }
}

/// A path without `.` and doubled separators, which change nothing between its names.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}
