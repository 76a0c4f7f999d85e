//! The least that a durable change costs: a write and a sync, without a store around them.

use crate::data::Chance;
use crate::engine::Result;
use crate::rig::Scratch;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const NAME: &str = "pwrite";

const PAGE: usize = 4096;
const FILE_PAGES: usize = 16_384;

/// A file whose bytes have all been written, so that no write makes it grow.
pub struct Limit {
    file: File,
    chance: Chance,
    next: usize,
    _scratch: Scratch,
}

impl Limit {
    pub fn new(parent: &Path) -> Result<Limit> {
        let scratch = Scratch::new(parent)?;
        let path = scratch.path().join("data");
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        for page in 0..FILE_PAGES {
            file.write_all_at(&[1; PAGE], (page * PAGE) as u64)?;
        }
        file.sync_all()?;
        Ok(Limit { file, chance: Chance::new(3), next: 0, _scratch: scratch })
    }

    /// One page somewhere.
    pub fn page(&mut self) -> Result<()> {
        let at = self.chance.below(FILE_PAGES);
        self.write(at, 1)
    }

    /// Four pages behind the last four.
    pub fn run(&mut self) -> Result<()> {
        self.next = (self.next + 4) % FILE_PAGES;
        self.write(self.next, 4)
    }

    fn write(&mut self, at: usize, pages: usize) -> Result<()> {
        let bytes = vec![self.chance.next().to_le_bytes()[0]; pages * PAGE];
        self.file.write_all_at(&bytes, (at * PAGE) as u64)?;
        Ok(self.file.sync_data()?)
    }
}
