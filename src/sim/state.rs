//! The state of the whole simulated disk, which a crash changes and a fork copies.
//!
//! Owns: [`DiskState`] (files and names, in numbers that an arena gives meaning to) and
//! [`Snapshot`] (a state with its arena).
//! Must not know: handles, locks, faults, choices already made.
//! Keeps: a fork shares nothing that changes with what it was forked from.

use super::arena::{Arena, Mover, mix};
use super::file::FileState;
use super::names::Names;
use super::paths::Paths;
use super::profile::Profile;
use crate::sync::Arc;

/// Files and names.
#[derive(Debug, Default)]
pub(super) struct DiskState {
    pub(super) files: Vec<FileState>,
    pub(super) names: Names,
}

impl Clone for DiskState {
    fn clone(&self) -> DiskState {
        let mut copy = DiskState::default();
        copy.copy_from(self);
        copy
    }
}

impl DiskState {
    /// Becomes a copy of another state, in the memory it has.
    pub(super) fn copy_from(&mut self, other: &DiskState) {
        self.files.truncate(other.files.len());
        while self.files.len() < other.files.len() {
            self.files.push(FileState::default());
        }
        for (file, source) in self.files.iter_mut().zip(&other.files) {
            file.copy_from(source);
        }
        self.names.copy_from(&other.names);
    }

    /// A power failure. What survives stays open until it is looked at.
    pub(super) fn crash(&mut self, arena: &mut Arena) {
        for file in &mut self.files {
            file.crash(arena);
        }
        self.names.crash();
    }

    /// What the state hashes to, after a crash: equal hashes are equal states, in all
    /// likelihood.
    pub(super) fn hash(&self, arena: &Arena) -> u64 {
        self.files.iter().fold(self.names.hash(), |hash, file| mix(hash, file.hash(arena)))
    }

    /// How many images are open, as a base-two logarithm.
    pub(super) fn log2_images(&self, arena: &Arena) -> f64 {
        let files: f64 = self.files.iter().map(|file| file.log2_images(arena)).sum();
        files + self.names.log2_images()
    }

    /// Drops the contents that nothing refers to.
    pub(super) fn compact(&mut self, arena: &mut Arena) {
        let mut mover = Mover::new(std::mem::replace(arena, Arena::new(arena.sector_bytes())));
        for file in &mut self.files {
            file.move_contents(&mut mover);
        }
        *arena = mover.finish();
    }
}

/// A disk's state at one moment, to start other disks from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) held: Arc<Held>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) profile: Profile,
    pub(super) arena: Arena,
    pub(super) paths: Paths,
    pub(super) state: DiskState,
}
