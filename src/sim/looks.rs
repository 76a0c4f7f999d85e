//! What looks at a store's file found, kept for as long as the file stays what it was.
//!
//! Owns: [`Look`], the findings of the audit and of the walk, and [`Looks`], which remembers them
//! with all that was read for them.
//! Must not know: when somebody looks.
//! Keeps: a finding is used again only while every sector that led to it holds what it held.

use super::arena::Arena;
use super::audit::Audit;
use super::file::FileState;
use crate::sync::Arc;
use std::collections::{BTreeSet, HashMap};

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The states of the slots, as far as a recovery would accept them.
    pub(super) audits: [Option<Audit>; 2],
    /// Why the other slots do not count, as the walk says.
    pub(super) refused: usize,
    /// Pages of the newest state that the next commit may write, as the walk says.
    pub(super) free: Option<u64>,
    /// The first thing that is wrong.
    pub(super) trouble: Option<String>,
    /// The first thing that is wrong with the newest state.
    pub(super) newest_trouble: Option<String>,
}

impl Look {
    /// The newest state.
    pub(super) fn newest(&self) -> Option<&Audit> {
        self.audits.iter().flatten().max_by_key(|state| state.txn)
    }
}

/// How a look goes on that has begun in some way.
#[derive(Debug)]
enum Step {
    /// It reads this sector. The step has a number.
    Reads(u32, usize),
    /// It ends, and found this.
    Found(Arc<Look>),
}

/// Looks, by what they read. Which sector a look reads next follows from what it has read, so that
/// looks that begin alike have their first steps in common.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// By the number of the step before and what its sector hashed to; the first, by 0 and by what
    /// the slots hashed to.
    steps: HashMap<(usize, u64), Step>,
}

impl Looks {
    /// What a look at the file would find, if that is known.
    pub(super) fn find(&self, key: u64, file: &FileState, arena: &Arena) -> Option<Arc<Look>> {
        let mut at = (0, key);
        loop {
            match self.steps.get(&at)? {
                Step::Reads(sector, number) => at = (*number, file.known_hash(arena, *sector)?),
                Step::Found(look) => return Some(Arc::clone(look)),
            }
        }
    }

    /// Remembers a look, which read these sectors one after the other.
    pub(super) fn add(
        &mut self,
        key: u64,
        sectors: &[u32],
        file: &FileState,
        arena: &Arena,
        look: &Arc<Look>,
    ) {
        let mut seen = BTreeSet::new();
        let mut at = (0, key);
        for sector in sectors.iter().filter(|sector| seen.insert(**sector)) {
            let Some(hash) = file.known_hash(arena, *sector) else { return };
            let number = self.steps.len() + 1;
            match self.steps.entry(at).or_insert(Step::Reads(*sector, number)) {
                Step::Reads(same, number) => {
                    debug_assert_eq!(same, sector, "looks that read the same go on alike");
                    at = (*number, hash);
                }
                Step::Found(_) => return,
            }
        }
        self.steps.insert(at, Step::Found(Arc::clone(look)));
    }
}
