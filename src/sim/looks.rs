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
use std::collections::BTreeMap;

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

#[derive(Debug)]
struct Known {
    /// Each sector read, and what it hashed to.
    read: Vec<(u32, u64)>,
    look: Arc<Look>,
}

/// Looks by what the slots hash to.
#[derive(Debug, Default)]
pub(super) struct Looks {
    known: BTreeMap<u64, Vec<Known>>,
}

impl Looks {
    /// What a look at the file would find, if that is known.
    pub(super) fn find(&self, key: u64, file: &FileState, arena: &Arena) -> Option<Arc<Look>> {
        let same = |known: &&Known| {
            known.read.iter().all(|(sector, hash)| file.known_hash(arena, *sector) == Some(*hash))
        };
        self.known.get(&key)?.iter().rev().find(same).map(|known| Arc::clone(&known.look))
    }

    /// Remembers a look, for which these sectors were read.
    pub(super) fn add(
        &mut self,
        key: u64,
        mut sectors: Vec<u32>,
        file: &FileState,
        arena: &Arena,
        look: &Arc<Look>,
    ) {
        sectors.sort_unstable();
        sectors.dedup();
        let hash = |sector: u32| file.known_hash(arena, sector).map(|hash| (sector, hash));
        let read: Option<Vec<(u32, u64)>> = sectors.into_iter().map(hash).collect();
        if let Some(read) = read {
            self.known.entry(key).or_default().push(Known { read, look: Arc::clone(look) });
        }
    }
}
