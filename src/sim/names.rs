//! The names of the simulated disk: what the medium holds, and what directories may yet lose.
//!
//! Owns: [`Paths`], which numbers paths, and [`Names`]: durable names, and the changes since, in
//! order, each durable, open or not yet decided.
//! Must not know: what files hold.
//! Keeps: a crash keeps any subset of the changes that no directory sync fenced; nothing is
//! decided before a name is looked up that it concerns.

use super::arena::mix;
use super::choose::{Choice, Choose};
use super::{count, index};
use std::path::{Component, Path, PathBuf};

/// The number of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathId(u32);

/// All paths ever named, with their directories.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    paths: Vec<PathBuf>,
    directories: Vec<PathId>,
}

impl Paths {
    /// The number of a path, a new one if it was never named.
    pub(super) fn id(&mut self, path: &Path) -> PathId {
        if let Some(id) = self.known(path) {
            return id;
        }
        let clean = clean(path);
        if let Some(id) = self.known(&clean) {
            return id;
        }
        let directory = match clean.parent() {
            Some(parent) => self.id(parent),
            None => PathId(count(self.paths.len())),
        };
        let id = PathId(count(self.paths.len()));
        self.paths.push(clean);
        self.directories.push(directory);
        id
    }

    fn known(&self, path: &Path) -> Option<PathId> {
        // Bytes, not components: this is on the path of every open.
        let wanted = path.as_os_str();
        let at = self.paths.iter().position(|held| held.as_os_str() == wanted)?;
        Some(PathId(count(at)))
    }

    pub(super) fn path(&self, id: PathId) -> &Path {
        &self.paths[index(id.0)]
    }

    /// The path that an operation on names carries the checksum of.
    pub(super) fn of_checksum(&self, checksum: u32) -> Option<&Path> {
        let bytes = |path: &&PathBuf| crc32c::crc32c(path.as_os_str().as_encoded_bytes());
        self.paths.iter().find(|path| bytes(path) == checksum).map(PathBuf::as_path)
    }

    fn directory(&self, id: PathId) -> PathId {
        self.directories[index(id.0)]
    }
}

/// A path without `.`, `..` and doubled separators: the simulated disk has no links.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                clean.push(component);
            }
        }
    }
    clean
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Done by the process, not fenced.
    Pending,
    /// A crash came first; nobody has looked.
    Open,
    /// On the medium.
    Kept,
    /// Not on the medium.
    Lost,
}

/// What a change does to names. Each kind names the file, so that it has its effect even if the
/// change before it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Link { name: PathId, file: u32 },
    Unlink { name: PathId },
    Rename { from: PathId, to: PathId, file: u32 },
}

/// What a change makes of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Names(u32),
    Frees,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    edit: Edit,
    fate: Fate,
    operation: u64,
}

impl Change {
    /// What the change makes of a name.
    fn effect(&self, wanted: PathId) -> Effect {
        match self.edit {
            Edit::Link { name, file } if name == wanted => Effect::Names(file),
            Edit::Unlink { name } if name == wanted => Effect::Frees,
            Edit::Rename { to, file, .. } if to == wanted => Effect::Names(file),
            Edit::Rename { from, .. } if from == wanted => Effect::Frees,
            _ => Effect::None,
        }
    }

    /// The name whose directory holds the change.
    fn place(&self) -> PathId {
        match self.edit {
            Edit::Link { name, .. } | Edit::Unlink { name } => name,
            Edit::Rename { to, .. } => to,
        }
    }
}

/// The names and their files.
#[derive(Debug, Default)]
pub(super) struct Names {
    durable: Vec<(PathId, u32)>,
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn copy_from(&mut self, other: &Names) {
        self.durable.clone_from(&other.durable);
        self.changes.clone_from(&other.changes);
    }

    /// The file behind a name, as the process sees it.
    pub(super) fn find(&mut self, choose: &mut dyn Choose, name: PathId) -> Option<u32> {
        for change in self.changes.iter_mut().rev() {
            let effect = change.effect(name);
            if effect == Effect::None {
                continue;
            }
            if change.fate == Fate::Open {
                change.fate = decide(choose, change.operation);
            }
            match effect {
                _ if change.fate == Fate::Lost => {}
                Effect::Names(file) => return Some(file),
                Effect::Frees | Effect::None => return None,
            }
        }
        let durable = self.durable.iter().find(|(held, _)| *held == name);
        durable.map(|(_, file)| *file)
    }

    pub(super) fn link(&mut self, name: PathId, file: u32, operation: u64) {
        self.change(Edit::Link { name, file }, operation);
    }

    pub(super) fn unlink(&mut self, name: PathId, operation: u64) {
        self.change(Edit::Unlink { name }, operation);
    }

    pub(super) fn rename(&mut self, from: PathId, to: PathId, file: u32, operation: u64) {
        self.change(Edit::Rename { from, to, file }, operation);
    }

    fn change(&mut self, edit: Edit, operation: u64) {
        self.changes.push(Change { edit, fate: Fate::Pending, operation });
    }

    /// A directory sync that works: the changes in the directory of `name` are on the medium.
    pub(super) fn fence(&mut self, paths: &Paths, name: PathId) {
        let directory = paths.directory(name);
        for change in &mut self.changes {
            if change.fate == Fate::Pending && paths.directory(change.place()) == directory {
                change.fate = Fate::Kept;
            }
        }
        self.settle_prefix();
    }

    /// A power failure: any subset of the changes since the last directory sync survives.
    pub(super) fn crash(&mut self) {
        for change in &mut self.changes {
            if change.fate == Fate::Pending {
                change.fate = Fate::Open;
            }
        }
        self.settle_prefix();
    }

    /// Decides whatever is open.
    pub(super) fn decide_all(&mut self, choose: &mut dyn Choose) {
        for change in &mut self.changes {
            if change.fate == Fate::Open {
                change.fate = decide(choose, change.operation);
            }
        }
    }

    /// Makes all changes durable.
    pub(super) fn settle(&mut self) {
        for change in &mut self.changes {
            if change.fate == Fate::Pending {
                change.fate = Fate::Kept;
            }
        }
        self.settle_prefix();
    }

    /// Makes the latest change durable.
    pub(super) fn settle_last(&mut self) {
        if let Some(change) = self.changes.last_mut() {
            change.fate = Fate::Kept;
        }
        self.settle_prefix();
    }

    /// Works the changes at the front whose fate is known into the durable names.
    fn settle_prefix(&mut self) {
        let known = |change: &Change| matches!(change.fate, Fate::Kept | Fate::Lost);
        let end = self.changes.iter().position(|change| !known(change));
        for change in self.changes.drain(..end.unwrap_or(self.changes.len())) {
            if change.fate == Fate::Lost {
                continue;
            }
            let (gone, made) = match change.edit {
                Edit::Link { name, file } => (None, Some((name, file))),
                Edit::Unlink { name } => (Some(name), None),
                Edit::Rename { from, to, file } => (Some(from), Some((to, file))),
            };
            let made_name = made.map(|(name, _)| name);
            self.durable.retain(|(name, _)| Some(*name) != gone && Some(*name) != made_name);
            self.durable.extend(made);
        }
    }

    /// What the names on the medium hash to, those that are open included.
    pub(super) fn hash(&self) -> u64 {
        let number = |name: PathId, file: u32| u64::from(name.0) << 32 | u64::from(file);
        let durable = self.durable.iter().map(|(name, file)| number(*name, *file));
        let hash = durable.fold(0, mix);
        let changes = self.changes.iter().filter(|change| change.fate != Fate::Lost);
        changes.fold(hash, |hash, change| {
            let (kind, number) = match change.edit {
                Edit::Link { name, file } => (1, number(name, file)),
                Edit::Unlink { name } => (2, number(name, 0)),
                Edit::Rename { from, to, file } => (number(from, 3), number(to, file)),
            };
            let open = u64::from(change.fate == Fate::Open);
            mix(mix(mix(hash, kind), number), open)
        })
    }

    /// How many sets of names are open, as a base-two logarithm.
    pub(super) fn log2_images(&self) -> f64 {
        f64::from(count(self.changes.iter().filter(|change| change.fate == Fate::Open).count()))
    }

    /// Every name that a change or the medium knows.
    pub(super) fn all(&self) -> Vec<PathId> {
        let mut all: Vec<PathId> = self.durable.iter().map(|(name, _)| *name).collect();
        for change in &self.changes {
            if !all.contains(&change.place()) {
                all.push(change.place());
            }
        }
        all
    }
}

fn decide(choose: &mut dyn Choose, operation: u64) -> Fate {
    match choose.choose(2, Choice::Name { operation }) {
        0 => Fate::Kept,
        _ => Fate::Lost,
    }
}
