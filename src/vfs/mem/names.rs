//! The names of files in memory (part of vfs, layer L1).
//!
//! Owns: [`Names`]: what there is, and what a path leads to.
//! Must not know: locks, open handles.
//! Keeps: what lies in a directory lies in one that is there.

use super::Content;
use crate::sync::Arc;
use crate::vfs::way::{End, Way};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// What there is but for the top, by the way to it, in an order in which a directory stands right
/// in front of all that lies in it.
pub(super) struct Names {
    pub(super) nodes: BTreeMap<PathBuf, Node>,
    pub(super) inode_next: u64,
}

/// What a path leads to.
#[derive(Clone)]
pub(super) enum Node {
    File(Arc<Content>),
    Directory { inode: u64 },
}

/// The inode of the top.
pub(super) const TOP: u64 = 0;

impl Names {
    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, &Arc<Content>)> {
        self.nodes.iter().filter_map(|(way, node)| match node {
            Node::File(content) => Some((way, content)),
            Node::Directory { .. } => None,
        })
    }

    /// The inode at the end of a way. `NotFound` if a part is missing, `NotADirectory` if it leads
    /// on behind a file.
    pub(super) fn find(&self, way: &Path) -> io::Result<u64> {
        let Some(parent) = way.parent() else { return Ok(TOP) };
        match self.nodes.get(way) {
            Some(Node::File(content)) => Ok(content.inode),
            Some(Node::Directory { inode }) => Ok(*inode),
            None => Err(self.why_missing(parent).into()),
        }
    }

    /// Why there is nothing in `parent`: the nearest of the directories above that is there is one,
    /// or is a file.
    fn why_missing(&self, parent: &Path) -> ErrorKind {
        match parent.ancestors().find_map(|above| self.nodes.get(above)) {
            Some(Node::File(_)) => ErrorKind::NotADirectory,
            Some(Node::Directory { .. }) | None => ErrorKind::NotFound,
        }
    }

    /// The inode of a directory; `NotADirectory` if it is a file.
    pub(super) fn directory(&self, way: &Path) -> io::Result<u64> {
        match self.nodes.get(way) {
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            _ => self.find(way),
        }
    }

    /// Takes a path apart, and walks all of it but for its last names.
    pub(super) fn walk(&self, path: &Path) -> io::Result<Way> {
        let way = self.walk_to_parent(path)?;
        way.end.check_path()?;
        if way.end == End::Here {
            self.directory(&way.names)?;
        }
        Ok(way)
    }

    /// The same for who asks only for the directory that holds what the path leads to.
    pub(super) fn walk_to_parent(&self, path: &Path) -> io::Result<Way> {
        let way = Way::of(path);
        way.through.iter().try_for_each(|passed| self.directory(passed).map(drop))?;
        Ok(way)
    }

    /// The inode of what a way leads to.
    pub(super) fn inode(&self, way: &Way) -> io::Result<u64> {
        match way.end {
            End::Empty => Err(ErrorKind::NotFound.into()),
            End::Slash => self.directory(&way.names),
            _ => self.find(&way.names),
        }
    }

    /// The file that a way leads to; `IsADirectory` if it is none.
    pub(super) fn file(&self, way: &Way) -> io::Result<Arc<Content>> {
        way.end.check_file()?;
        match self.nodes.get(&way.names) {
            Some(Node::File(content)) if way.end == End::Name => Ok(content.clone()),
            _ => self.inode(way).and_then(|_| Err(directory_refused())),
        }
    }

    /// The same, and the last name has to be in a directory.
    pub(super) fn place(&self, path: &Path) -> io::Result<Way> {
        let way = self.walk(path)?;
        way.names.parent().map_or(Ok(TOP), |parent| self.directory(parent))?;
        Ok(way)
    }

    /// Takes a path apart, and makes the directories that are missing on its way.
    pub(super) fn make_way(&mut self, path: &Path) -> io::Result<Way> {
        let way = Way::of(path);
        way.end.check_path()?;
        for passed in way.through.iter().map(PathBuf::as_path).chain(way.names.parent()) {
            let mut made = PathBuf::new();
            for name in passed {
                made.push(name);
                if self.directory(&made).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                    self.make_directory(made.clone());
                }
            }
            self.directory(passed)?;
        }
        Ok(way)
    }

    /// What lies in a directory, and in those in it.
    pub(super) fn below<'a>(&'a self, way: &'a Path) -> impl Iterator<Item = &'a Path> {
        let behind = (Bound::Excluded(way), Bound::Unbounded);
        let behind = self.nodes.range::<Path, _>(behind).map(|(below, _)| below.as_path());
        behind.take_while(move |below| below.starts_with(way))
    }

    /// The file that a way leads to, a new one if there is none. A slash behind its name asks for a
    /// directory, and that is not how one is made.
    pub(super) fn open_or_make(&mut self, way: &Way) -> io::Result<Arc<Content>> {
        way.end.check_file()?;
        if way.end == End::Slash {
            return Err(directory_refused());
        }
        if self.nodes.contains_key(&way.names) {
            return self.file(way);
        }
        let content = Content::new(self.number_inode(), Vec::new());
        self.nodes.insert(way.names.clone(), Node::File(content.clone()));
        Ok(content)
    }

    pub(super) fn make_directory(&mut self, way: PathBuf) {
        let inode = self.number_inode();
        self.nodes.insert(way, Node::Directory { inode });
    }

    fn number_inode(&mut self) -> u64 {
        let inode = self.inode_next;
        self.inode_next += 1;
        inode
    }
}

pub(super) fn directory_refused() -> io::Error {
    io::Error::new(ErrorKind::IsADirectory, "the path names a directory, not a file")
}
