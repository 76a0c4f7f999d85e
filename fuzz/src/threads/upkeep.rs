//! What is done to a store as a whole while others use it.
//!
//! Owns: compaction, copies, verification, a second handle. Must not know: who reads and writes.

use crate::must;
use crate::pairs::{Draw, key, value};
use crate::reading::read_all;
use btree_store::{BTree, Durability, Options, Result};
use std::fs::remove_file;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub struct Upkeep<'a> {
    pub db: BTree,
    pub draw: Draw,
    pub stop: &'a AtomicBool,
    /// The store's file.
    pub path: &'a Path,
    /// Where copies may be made.
    pub dir: &'a Path,
}

impl Upkeep<'_> {
    pub fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            must(self.step());
        }
    }

    fn step(&mut self) -> Result<()> {
        match self.draw.below(9) {
            0 => self.db.compact(0).map(drop),
            1 => self.copy(),
            2 => self.restore(),
            3 => self.chain(),
            4 => {
                assert!(self.db.verify()?.is_sound(), "the store is sound while others write");
                Ok(())
            }
            5 => self.db.stats().map(drop),
            6 => self.second_handle(),
            7 => {
                self.db.pending_pages();
                self.db.current_seq();
                assert!(self.db.contains_bucket("g")?);
                Ok(())
            }
            _ => {
                std::thread::sleep(Duration::from_millis(5));
                Ok(())
            }
        }
    }

    fn copy(&self) -> Result<()> {
        let copy = self.dir.join("copy.db");
        self.db.backup(&copy)?;
        look_at(&copy)
    }

    fn restore(&self) -> Result<()> {
        let (mut stream, restored) = (Vec::new(), self.dir.join("restored.db"));
        self.db.snapshot().backup_to(&mut stream)?;
        Options::new().restore(&mut stream.as_slice(), &restored)?;
        look_at(&restored)
    }

    /// A backup, an increment, and what both make together.
    fn chain(&self) -> Result<()> {
        let (mut full, mut next) = (Vec::new(), Vec::new());
        let base = self.db.snapshot().backup_since(0, &mut full)?;
        self.db.exec("g", |txn| txn.put(key(1), value(1, 2, 3)))?;
        self.db.snapshot().backup_since(base.seq, &mut next)?;
        let pages = self.dir.join("pages");
        self.db.backup_since_file(base.seq, &pages)?;
        remove_file(pages).expect("it was written");
        let chained = self.dir.join("chained.db");
        Options::new().restore_chain([full.as_slice(), next.as_slice()], &chained)?;
        look_at(&chained)
    }

    /// The store is opened once more by the same name.
    fn second_handle(&self) -> Result<()> {
        let other = BTree::open(self.path)?;
        other.buckets()?;
        other.exec("h", |txn| {
            txn.set_durability(Durability::Deferred);
            txn.put(key(7), value(7, 7, 7))
        })
    }
}

/// A copy is sound and whole; it is removed.
fn look_at(path: &Path) -> Result<()> {
    let db = BTree::open(path)?;
    assert!(db.verify()?.is_sound(), "a copy is sound");
    read_all(&db)?;
    drop(db);
    remove_file(path).expect("nobody else has the copy");
    Ok(())
}
