//! What the machine does with names.
//!
//! Owns: the operations on names and directories of [`Machine`].
//! Must not know: what files hold, crashes, or who explores.
//! Keeps: an operation that reports an error did nothing. Errors are those of a unix system.

use super::count;
use super::file::FileState;
use super::machine::{Handle, Machine, file_op, power_is_off};
use super::names::{DirectoryId, Node, Place, TOP};
use super::paths::{NameId, PathId};
use super::profile::Flush;
use super::trace::{Op, OpKind};
use crate::vfs::{End, OpenMode, directory_kept};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

impl Machine {
    /// Walks all of a path but for its last names.
    ///
    /// # Errors
    /// `NotFound` if a part is missing, `NotADirectory` if one is a file; `InvalidInput` if it can
    /// be no path.
    fn walk(&mut self, path: PathId) -> io::Result<End> {
        let way = self.paths.way(path);
        way.end.check_path()?;
        let here = (way.end == End::Here).then_some(&way.names);
        for passed in way.through.iter().chain(here) {
            self.state.names.directory(&mut self.chooser, passed)?;
        }
        Ok(way.end)
    }

    /// What a path leads to.
    ///
    /// # Errors
    /// `NotADirectory` if it leads on behind a file; `InvalidInput` if it can be no path.
    pub(super) fn find(&mut self, path: PathId) -> io::Result<Option<Node>> {
        let end = match self.walk(path) {
            Ok(end) => end,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if end == End::Empty {
            return Ok(None);
        }
        match self.state.names.find(&mut self.chooser, &self.paths.way(path).names)? {
            Some(Node::File(_)) if end == End::Slash => Err(ErrorKind::NotADirectory.into()),
            found => Ok(found),
        }
    }

    /// The file that a path leads to, if it is one.
    pub(super) fn find_file(&mut self, path: PathId) -> Option<u32> {
        match self.find(path) {
            Ok(Some(Node::File(file))) => Some(file),
            _ => None,
        }
    }

    /// The last name of a path, in a directory that exists, if the path ends in a name.
    fn place(&mut self, path: PathId) -> io::Result<(End, Option<Place>)> {
        let end = self.walk(path)?;
        if !matches!(end, End::Name | End::Slash) {
            return Ok((end, None));
        }
        let names = &self.paths.way(path).names;
        self.state.names.place(&mut self.chooser, names).map(|place| (end, Some(place)))
    }

    /// The same, where all other paths are refused.
    fn entry(
        &mut self,
        path: PathId,
        check: fn(End) -> io::Result<()>,
    ) -> io::Result<(End, Place)> {
        let (end, place) = self.place(path)?;
        check(end)?;
        Ok((end, place.ok_or(ErrorKind::IsADirectory)?))
    }

    /// The directory that a path leads to.
    fn directory(&mut self, path: PathId) -> io::Result<DirectoryId> {
        self.walk(path)?;
        self.state.names.directory(&mut self.chooser, &self.paths.way(path).names)
    }

    /// The directory that holds what a path leads to, or would lead to: that of the top is the top.
    fn parent(&mut self, path: PathId) -> io::Result<DirectoryId> {
        let (way, names) = (self.paths.way(path), &mut self.state.names);
        for passed in &way.through {
            names.directory(&mut self.chooser, passed)?;
        }
        let parent = way.names.split_last().map_or(&[][..], |(_, parent)| parent);
        names.directory(&mut self.chooser, parent)
    }

    fn node_at(&mut self, place: Place) -> Option<Node> {
        self.state.names.node_at(&mut self.chooser, place)
    }

    fn is_empty(&mut self, directory: DirectoryId) -> bool {
        self.state.names.is_empty(&mut self.chooser, &self.paths, directory)
    }

    pub(super) fn open(&mut self, path: PathId, mode: OpenMode) -> io::Result<Handle> {
        let result = self.begin(OpKind::Open).and_then(|_| self.open_file(path, mode));
        let op = self.name_op(OpKind::Open, path, result.as_ref().ok().map(|handle| handle.file));
        self.end(op, &result, |_| 0);
        result
    }

    fn open_file(&mut self, path: PathId, mode: OpenMode) -> io::Result<Handle> {
        let (end, place) = self.entry(path, End::check_file)?;
        // It asks for a directory, and that is not how one is made.
        if end == End::Slash && mode == OpenMode::Create {
            return Err(ErrorKind::IsADirectory.into());
        }
        let file = match (self.node_at(place), mode) {
            (Some(Node::File(_)), _) if end == End::Slash => {
                return Err(ErrorKind::NotADirectory.into());
            }
            (Some(Node::File(file)), _) => file,
            (Some(Node::Directory(_)), _) => return Err(ErrorKind::IsADirectory.into()),
            (None, OpenMode::Create) => self.create(place),
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(ErrorKind::NotFound.into()),
        };
        self.handles += 1;
        Ok(Handle {
            file,
            number: self.handles,
            path,
            writable: mode != OpenMode::Read,
            generation: self.generation,
        })
    }

    /// Makes an empty file with a name that is not fenced yet.
    fn create(&mut self, place: Place) -> u32 {
        let file = count(self.state.files.len());
        self.state.files.push(FileState::new(self.profile.growth));
        self.state.names.link(place, Node::File(file), self.operation);
        file
    }

    /// The file of a path that is brought from elsewhere: what is missing on the way is made, and
    /// durable at once.
    ///
    /// # Errors
    /// `NotADirectory` if the path leads on behind a file, `IsADirectory` if it is a directory's.
    pub(super) fn bring(&mut self, path: PathId) -> io::Result<u32> {
        let way = self.paths.way(path).clone();
        let parent = way.names.split_last().map_or(&[][..], |(_, parent)| parent);
        for passed in way.through.iter().map(Vec::as_slice).chain([parent]) {
            self.make_way(passed)?;
        }
        let (end, place) = self.entry(path, End::check_file)?;
        if end == End::Slash {
            return Err(ErrorKind::IsADirectory.into());
        }
        match self.node_at(place) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => {
                let file = self.create(place);
                self.state.names.settle_last();
                Ok(file)
            }
        }
    }

    /// Makes the directories that are missing on a way from the top, durable at once.
    fn make_way(&mut self, way: &[NameId]) -> io::Result<()> {
        for end in 1..=way.len() {
            if self.state.names.find(&mut self.chooser, &way[..end])?.is_none() {
                let place = self.state.names.place(&mut self.chooser, &way[..end])?;
                self.state.names.make_directory(place, self.operation);
                self.state.names.settle_last();
            }
        }
        Ok(())
    }

    pub(super) fn node_of(&mut self, path: PathId) -> io::Result<Option<Node>> {
        let result = self.begin(OpKind::FileId).and_then(|_| self.find(path));
        let file = match result {
            Ok(Some(Node::File(file))) => Some(file),
            _ => None,
        };
        let op = self.name_op(OpKind::FileId, path, file);
        self.end(op, &result, |_| 0);
        result
    }

    /// Has no number among the operations, so that tokens mean the same whether it is asked for or
    /// not; and no fault is meant for it.
    pub(super) fn exists(&mut self, path: PathId) -> io::Result<bool> {
        self.keep_request(None);
        self.note_look();
        if !self.powered {
            self.note_refusal();
            return Err(power_is_off());
        }
        self.is_used = true;
        let found = self.find(path);
        if found.is_err() {
            self.note_refusal();
        }
        Ok(found?.is_some())
    }

    pub(super) fn rename(&mut self, from: PathId, to: PathId) -> io::Result<()> {
        let result = self.begin(OpKind::Rename).and_then(|_| self.rename_file(from, to));
        self.end_name_op(OpKind::Rename, to, result)
    }

    fn rename_file(&mut self, from: PathId, to: PathId) -> io::Result<()> {
        self.paths.way(to).end.check_path()?;
        let (from_end, old) = self.place(from)?;
        let found = old.and_then(|old| self.node_at(old));
        let (to_end, new) = self.place(to)?;
        from_end.check_rename()?;
        to_end.check_rename()?;
        let (Some(old), Some(new)) = (old, new) else { return Err(ErrorKind::NotFound.into()) };
        let file = match found {
            Some(Node::File(file)) => file,
            Some(Node::Directory(_)) => return Err(directory_kept()),
            None => return Err(ErrorKind::NotFound.into()),
        };
        if from_end == End::Slash || to_end == End::Slash {
            return Err(ErrorKind::NotADirectory.into());
        }
        if let Some(Node::Directory(_)) = self.node_at(new) {
            let to = self.paths.way(to).names.as_slice();
            let holds_it = self.paths.way(from).names.starts_with(to);
            let kind =
                if holds_it { ErrorKind::DirectoryNotEmpty } else { ErrorKind::IsADirectory };
            return Err(kind.into());
        }
        if old != new {
            self.state.names.rename(old, new, file, self.operation);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: PathId) -> io::Result<()> {
        let result = self.begin(OpKind::Remove).and_then(|_| {
            let (end, place) = self.entry(path, End::check_file)?;
            match self.node_at(place) {
                Some(Node::File(_)) if end == End::Slash => {
                    return Err(ErrorKind::NotADirectory.into());
                }
                Some(Node::File(_)) => self.state.names.unlink(place, self.operation),
                Some(Node::Directory(_)) => return Err(ErrorKind::IsADirectory.into()),
                None => return Err(ErrorKind::NotFound.into()),
            }
            Ok(())
        });
        self.end_name_op(OpKind::Remove, path, result)
    }

    pub(super) fn sync_dir(&mut self, path: PathId) -> io::Result<()> {
        let result = self.begin(OpKind::SyncDir).and_then(|_| {
            let directory = self.parent(path)?;
            if self.profile.flush == Flush::Honest {
                self.state.names.fence(directory);
            }
            Ok(())
        });
        self.end_name_op(OpKind::SyncDir, path, result)
    }

    pub(super) fn create_dir(&mut self, path: PathId) -> io::Result<()> {
        let result = self.begin(OpKind::CreateDir).and_then(|_| {
            let place = match self.place(path)? {
                (_, Some(place)) if self.node_at(place).is_none() => place,
                _ => return Err(ErrorKind::AlreadyExists.into()),
            };
            self.state.names.make_directory(place, self.operation);
            Ok(())
        });
        self.end_name_op(OpKind::CreateDir, path, result)
    }

    pub(super) fn remove_dir(&mut self, path: PathId) -> io::Result<()> {
        let result = self.begin(OpKind::RemoveDir).and_then(|_| {
            let (_, place) = self.entry(path, End::check_remove_dir)?;
            let directory = match self.node_at(place) {
                Some(Node::Directory(directory)) => directory,
                Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
                None => return Err(ErrorKind::NotFound.into()),
            };
            if !self.is_empty(directory) {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            self.state.names.unlink(place, self.operation);
            Ok(())
        });
        self.end_name_op(OpKind::RemoveDir, path, result)
    }

    pub(super) fn read_dir(&mut self, path: PathId) -> io::Result<Vec<OsString>> {
        let result = self.begin(OpKind::ReadDir).and_then(|_| {
            let directory = self.directory(path)?;
            let listed = self.state.names.list(&mut self.chooser, &self.paths, directory);
            Ok(listed.into_iter().map(|(name, _)| self.paths.name(name).to_owned()).collect())
        });
        let op = self.name_op(OpKind::ReadDir, path, None);
        self.end(op, &result, |names: &Vec<OsString>| names.len() as u64);
        result
    }

    /// The paths of all files, each directory's in the order of their names.
    pub(super) fn files(&mut self) -> Vec<PathBuf> {
        let (mut files, mut left) = (Vec::new(), vec![(TOP, PathBuf::new())]);
        while let Some((directory, path)) = left.pop() {
            for (name, node) in self.state.names.list(&mut self.chooser, &self.paths, directory) {
                let path = path.join(self.paths.name(name));
                match node {
                    Node::File(_) => files.push(path),
                    Node::Directory(directory) => left.push((directory, path)),
                }
            }
        }
        files
    }

    fn end_name_op(
        &mut self,
        kind: OpKind,
        path: PathId,
        result: io::Result<()>,
    ) -> io::Result<()> {
        let op = self.name_op(kind, path, None);
        self.end(op, &result, |()| 0);
        result
    }

    fn name_op(&self, kind: OpKind, path: PathId, file: Option<u32>) -> Op {
        let path = self.trace.is_some().then(|| self.paths.path(path).as_os_str());
        let checksum = path.map_or(0, |path| crc32c::crc32c(path.as_encoded_bytes()));
        Op { checksum, ..file_op(kind, file, 0, 0) }
    }
}
