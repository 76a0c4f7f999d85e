//! What shows where a file grew and no data landed (part of a file of the simulated disk).
//!
//! Owns: what the medium held where the file was cut, and when it shows.
//! Must not know: why a file grows.
//! Keeps: nothing shows where data was fenced, or on a disk that shows zeros.

use super::{Cached, Candidates, Content, FileState, count, sector_of, within};
use crate::sim::arena::Arena;

impl FileState {
    /// Keeps in mind what the medium holds in a sector that is cut off.
    pub(super) fn remember(&mut self, sector: usize) {
        let held = self.durable.get(sector).copied().unwrap_or(Candidates::ZERO);
        if self.stale && held != Candidates::ZERO {
            self.former.insert(count(sector), held);
        }
    }

    /// Where the file grew and a write changed nothing, the cache holds zeros, whatever the
    /// medium shows: what was not written is not read from it.
    pub(super) fn keep_growth_in_cache(&mut self, arena: &Arena) {
        let smallest = self.size.durable.iter().copied().min().unwrap_or(0);
        let largest = self.size.pending.iter().copied().max().unwrap_or(0);
        if largest <= smallest {
            return;
        }
        let sector_bytes = arena.sector_bytes();
        let (first, last) =
            (sector_of(smallest, sector_bytes), sector_of(largest - 1, sector_bytes));
        if self.cached.len() <= last {
            self.cached.resize(last + 1, Cached::Not);
        }
        for sector in first..=last {
            if self.cached[sector] == Cached::Not
                && let Some(content) = self.known_content(sector)
            {
                self.cached[sector] = Cached::Lost(content);
            }
        }
    }

    /// Between the size that is certain and a larger one that may survive, the medium may show
    /// what it held before, but where data was fenced.
    pub(super) fn expose_stale(&mut self, arena: &mut Arena, from: u64, to: u64) {
        let sector_bytes = arena.sector_bytes();
        let (first, last) = (sector_of(from, sector_bytes), sector_of(to - 1, sector_bytes));
        if self.durable.len() <= last {
            self.durable.resize(last + 1, Candidates::ZERO);
        }
        for sector in (first..=last).filter(|sector| !self.landed.contains(&count(*sector))) {
            let keep = if sector == first { within(from, sector_bytes) } else { 0 };
            let mut open: Vec<Content> = arena.contents(self.durable[sector]).collect();
            let former = self.former.get(&count(sector)).copied();
            let mut old: Vec<Content> = vec![Content::STALE];
            old.extend(former.into_iter().flat_map(|former| arena.contents(former)));
            for held in 0..open.len() {
                for &old in &old {
                    open.push(arena.join(open[held], keep, old));
                }
            }
            self.durable[sector] = arena.set_of(open.into_iter());
        }
    }
}
