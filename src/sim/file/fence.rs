//! Syncs that work (part of a file of the simulated disk).
//!
//! Owns: what a fence puts on the medium. Must not know: how a sync fails.
//! Keeps: what was written before a fence is on the medium, and what was cut off is gone no earlier
//! than the size says so.

use super::{Cached, Content, Fence, FileState, Version, index};
use std::collections::{BTreeMap, BTreeSet};

impl FileState {
    /// A sync that works: the newest versions are on the medium. Zeros of a cut are there with the
    /// size: as long as the old one may come back, what was cut off may come back with it, and not
    /// what was written there in between, which need not have reached the medium.
    pub(in crate::sim) fn fence(&mut self, fence: Fence) {
        let mut cuts = BTreeMap::new();
        let gone: BTreeSet<u32> = match fence {
            Fence::Data => self.cuts().iter().map(|cut| cut.sector).collect(),
            Fence::All => BTreeSet::new(),
        };
        let mut kept = Vec::new();
        for at in 0..self.pending.len() {
            let version = self.pending[at];
            let sector = index(version.sector);
            if gone.contains(&version.sector) {
                kept.push(version);
            } else if version.is_cut && fence == Fence::Data {
                cuts.insert(version.sector, version);
            } else {
                cuts.remove(&version.sector);
                if version.is_cut {
                    self.remember(sector);
                } else {
                    self.former.remove(&version.sector);
                }
                self.hold(sector, version.content.into());
                self.cached[sector] = Cached::Not;
                if fence == Fence::Data {
                    self.landed.insert(version.sector);
                }
            }
        }
        self.pending.clear();
        self.await_size(cuts.into_values().chain(kept));
        if fence == Fence::All {
            self.landed.clear();
        }
        if fence == Fence::All && !self.size.pending.is_empty() {
            self.size.pending.clear();
            self.size.durable.clear();
            self.size.durable.extend(self.size.now);
        }
    }

    /// Leaves zeros of what was cut off to a sync that fences the size.
    pub(super) fn await_size(&mut self, cuts: impl IntoIterator<Item = Version>) {
        for cut in cuts {
            self.cached[index(cut.sector)] = Cached::Dirty(cut.content);
            self.pending.push(cut);
        }
    }

    /// The zeros of sectors that were cut off as a whole and not written since.
    pub(super) fn cuts(&self) -> Vec<Version> {
        let newest: BTreeMap<u32, Version> =
            self.pending.iter().map(|version| (version.sector, *version)).collect();
        let is_zeros = |version: &Version| version.is_cut && version.content == Content::ZERO;
        newest.into_values().filter(is_zeros).collect()
    }

    /// Puts on the medium what the process sees, and forgets what failed; nothing may be open.
    pub(in crate::sim) fn settle(&mut self) {
        self.fails_late = false;
        self.fence(Fence::All);
        for (sector, cached) in self.cached.iter_mut().enumerate() {
            if let Some(content) = cached.content() {
                self.durable[sector] = content.into();
            }
            *cached = Cached::Not;
        }
        self.size.durable.clear();
        self.size.durable.extend(self.size.now);
    }

    /// Whether the medium need not have all that the process sees.
    pub(in crate::sim) fn has_unsynced(&self) -> bool {
        !self.pending.is_empty() || !self.size.pending.is_empty()
    }

    /// Whether a sector lies below every size that the medium may hold: then it is the file's own.
    pub(super) fn is_on_medium(&self, sector: usize, sector_bytes: usize) -> bool {
        let smallest = self.size.durable.iter().copied().min().unwrap_or(0);
        (sector as u64 + 1) * sector_bytes as u64 <= smallest
    }

    /// Whether zeros of a cut are a sector's newest version.
    pub(super) fn is_cut_off(&self, sector: usize) -> bool {
        let mut newest_first = self.pending.iter().rev();
        newest_first.find(|version| index(version.sector) == sector).is_some_and(|cut| cut.is_cut)
    }
}
