//! What memory pressure does to a file whose sync has failed.
//!
//! Owns: the evictions of [`FileState`].
//! Must not know: why memory is short.
//! Keeps: only what is clean leaves the cache; each sector goes, or stays, by itself.

use super::{Cached, FileState, Scope};
use crate::sim::arena::{Candidates, Content};
use crate::sim::choose::Choice;
use crate::sim::{count, index};

impl FileState {
    /// All that a failed sync lost leaves the cache.
    pub(in crate::sim) fn evict(&mut self) {
        for cached in &mut self.cached {
            if cached.is_lost() {
                *cached = Cached::Not;
            }
        }
    }

    /// Any of what a failed sync lost leaves the cache; which sectors do stays open until they are
    /// looked at.
    pub(in crate::sim) fn evict_some(&mut self) {
        for cached in &mut self.cached {
            if let Cached::Lost(content) = *cached {
                *cached = Cached::Fading(content);
            }
        }
    }

    /// Decides whether a sector is still in the cache. Left it and is on the medium all the same:
    /// that is no case of its own, for whoever still sees it in the cache may find that.
    pub(super) fn keep_or_drop(&mut self, scope: &mut Scope<'_>, sector: usize, kept: Content) {
        let durable = self.durable.get(sector).copied().unwrap_or(Candidates::ZERO);
        let others: Vec<Content> =
            scope.arena.contents(durable).filter(|held| !scope.arena.same(*held, kept)).collect();
        let what = Choice::Cached { file: scope.file, sector: count(sector) };
        let chosen = if others.is_empty() { 0 } else { scope.ask(count(others.len()) + 1, what) };
        self.cached[sector] = Cached::Lost(kept);
        if let Some(held) = index(chosen).checked_sub(1) {
            self.cached[sector] = Cached::Not;
            self.hold(sector, others[held].into());
        }
    }
}
