//! A store of one engine in a directory of its own, which goes away with it.

use crate::data::Data;
use crate::engine::{Batch, Engine, Peer, Result};
use crate::engines;
use crate::settings::Settings;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Pairs in a transaction when loading is not what is measured.
const LOAD_BATCH: usize = 100_000;

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

    /// A store that holds a data set, written in this order.
    pub fn loaded(
        peer: Peer,
        parent: &Path,
        cache_bytes: u64,
        data: &Data,
        order: &[u32],
    ) -> Result<Rig> {
        let rig = Rig::new(peer, parent, cache_bytes)?;
        for pairs in order.chunks(LOAD_BATCH) {
            rig.engine.write(&Batch::put(data, pairs))?;
        }
        Ok(rig)
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
