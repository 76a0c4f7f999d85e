//! A store of one engine in a directory of its own, which goes away with it.

use crate::data::Data;
use crate::engine::{Batch, Engine, Peer, Result};
use crate::engines;
use crate::measure::rest;
use crate::settings::Settings;
use crate::system;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Pairs in a transaction when loading is not what is measured.
const LOAD_BATCH: usize = 100_000;

/// Bytes of memory for each byte that is written: changed pages, a cache, a file in memory.
const MEMORY_FACTOR: u64 = 4;
/// And at most so many, since a machine may have no more.
const MEMORY_MAX: u64 = 2 << 30;

/// Where files lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Memory,
    Disk,
}

impl Place {
    pub const ALL: [Place; 2] = [Place::Memory, Place::Disk];

    pub fn name(self) -> &'static str {
        if self == Place::Memory { "memory" } else { "disk" }
    }

    pub fn parent(self, settings: &Settings) -> &Path {
        if self == Place::Memory { &settings.memory } else { &settings.disk }
    }
}

/// A directory that is removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(parent: &Path) -> Result<Scratch> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("peers-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// An open store. The fields are dropped in this order.
pub struct Rig {
    pub engine: Box<dyn Engine>,
    pub scratch: Scratch,
    pub peer: Peer,
}

impl Rig {
    /// An empty store.
    pub fn new(peer: Peer, parent: &Path, cache_bytes: u64) -> Result<Rig> {
        let scratch = Scratch::new(parent)?;
        let failed = |error| format!("{}: {error}", peer.name);
        let engine = (peer.open)(scratch.path(), cache_bytes).map_err(failed)?;
        Ok(Rig { engine, scratch, peer })
    }

    /// The same store, closed and opened again.
    pub fn reopen(self, cache_bytes: u64) -> Result<Rig> {
        let Rig { engine, scratch, peer } = self;
        drop(engine);
        let engine = (peer.open)(scratch.path(), cache_bytes)?;
        Ok(Rig { engine, scratch, peer })
    }

    /// Writes a data set in this order.
    pub fn load(&self, data: &Data, order: &[u32]) -> Result<()> {
        let chunks = order.chunks(LOAD_BATCH);
        chunks.map(|pairs| Batch::put(data, pairs)).try_for_each(|batch| self.engine.write(&batch))
    }

    /// Lets engines and system finish what earlier pieces left, so that none pays for another, and
    /// has memory at hand for a piece that writes this data.
    pub fn settle(&self, data: &Data) -> Result<()> {
        rest();
        File::open(self.scratch.path())?.sync_all()?;
        system::back_free_memory(usize::try_from((MEMORY_FACTOR * data.bytes()).min(MEMORY_MAX))?);
        Ok(())
    }
}

/// The engines that are asked for.
pub fn peers(settings: &Settings) -> Vec<Peer> {
    engines::all().into_iter().filter(|peer| settings.has_peer(peer.name)).collect()
}

/// A cache that holds all pages of whatever engine.
pub fn ample_cache(data: &Data) -> u64 {
    2 * data.bytes() + 40 * data.count as u64 + (64 << 20)
}
