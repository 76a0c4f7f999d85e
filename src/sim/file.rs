//! One file of the simulated disk: what the medium holds, and what the page cache holds over it.
//!
//! Owns: [`FileState`]: per sector its content on the medium (perhaps still open after a crash),
//! the newer content in the cache, and the versions since the last fence; likewise the size.
//! Must not know: names, handles, faults, or who asks.
//! Keeps: a crash leaves each sector at one of its versions, and the size at one of its values,
//! independently; nothing is decided before it is read.

mod evict;
mod fence;
mod stale;

use super::arena::{Arena, Candidates, Content, Mover, mix};
use super::choose::{Choice, Choose};
use super::chooser::Chooser;
use super::profile::Growth;
use super::{count, index};
use std::collections::{BTreeMap, BTreeSet};

/// What an operation on a file works with.
pub(super) struct Scope<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) choose: &'a mut Chooser,
    /// The file's number.
    pub(super) file: u32,
    /// The operation's number, kept as the origin of what it writes.
    pub(super) operation: u64,
}

impl Scope<'_> {
    fn ask(&mut self, alternatives: u32, what: Choice) -> u32 {
        self.choose.choose(alternatives, what).min(alternatives - 1)
    }
}

/// What the cache holds of a sector: nothing, or a content, dirty or clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cached {
    /// The medium's content is what is read.
    Not,
    /// Written since the last fence.
    Dirty(Content),
    /// Read as this, and believed to be on the medium, which may not have it: a sync failed.
    Lost(Content),
    /// The same, or evicted since; nobody has looked.
    Fading(Content),
}

impl Cached {
    fn content(self) -> Option<Content> {
        match self {
            Cached::Not => None,
            Cached::Dirty(content) | Cached::Lost(content) | Cached::Fading(content) => {
                Some(content)
            }
        }
    }

    /// The content, if reading it decides nothing.
    fn known(self) -> Option<Content> {
        if matches!(self, Cached::Fading(_)) { None } else { self.content() }
    }

    fn is_lost(self) -> bool {
        matches!(self, Cached::Lost(_) | Cached::Fading(_))
    }
}

/// A version of a sector written since the last fence.
#[derive(Clone, Copy, Debug)]
struct Version {
    sector: u32,
    content: Content,
    /// Zeros of what was cut off: they come with the size.
    is_cut: bool,
}

/// A file's size.
#[derive(Debug, Default)]
struct Size {
    /// What the medium may hold, the newest first; one value once it is decided.
    durable: Vec<u64>,
    /// The values since the last fence, in order.
    pending: Vec<u64>,
    /// What the process sees; `None` while the medium's is open.
    now: Option<u64>,
}

/// The state of a file.
#[derive(Debug, Default)]
pub(super) struct FileState {
    durable: Vec<Candidates>,
    cached: Vec<Cached>,
    pending: Vec<Version>,
    size: Size,
    /// Sectors beyond the size on the medium whose data is fenced.
    landed: BTreeSet<u32>,
    /// What the medium held where the file was cut, and still holds there.
    former: BTreeMap<u32, Candidates>,
    /// Whether old bytes may show where the file grows.
    stale: bool,
    /// The next sync reports a failure that an earlier one met.
    pub(super) fails_late: bool,
}

/// What a failed or successful sync does about the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// Data and size.
    All,
    /// Data only.
    Data,
}

impl FileState {
    pub(super) fn new(growth: Growth) -> FileState {
        let size = Size { durable: vec![0], pending: Vec::new(), now: Some(0) };
        FileState { size, stale: growth == Growth::Stale, ..FileState::default() }
    }

    pub(super) fn copy_from(&mut self, other: &FileState) {
        self.durable.clone_from(&other.durable);
        self.cached.clone_from(&other.cached);
        self.pending.clone_from(&other.pending);
        self.size.durable.clone_from(&other.size.durable);
        self.size.pending.clone_from(&other.size.pending);
        self.size.now = other.size.now;
        self.landed.clone_from(&other.landed);
        self.former.clone_from(&other.former);
        self.stale = other.stale;
        self.fails_late = other.fails_late;
    }

    /// The size that the process sees, unless it is open.
    pub(super) fn known_size(&self) -> Option<u64> {
        self.size.now
    }

    /// The size that the process sees.
    pub(super) fn size(&mut self, scope: &mut Scope<'_>) -> u64 {
        if let Some(now) = self.size.now {
            return now;
        }
        let alternatives = count(self.size.durable.len());
        let chosen = scope.ask(alternatives, Choice::Size { file: scope.file });
        let now = self.size.durable[index(chosen)];
        self.size.durable.clear();
        self.size.durable.push(now);
        self.size.now = Some(now);
        self.cut_medium(scope.arena, now);
        now
    }

    /// Bytes that can be read at `offset`, at most `len`; the size stays open if all its values
    /// reach that far.
    fn readable(&mut self, scope: &mut Scope<'_>, offset: u64, len: usize) -> usize {
        let end = offset.saturating_add(len as u64);
        let smallest = self.size.durable.iter().copied().min().unwrap_or(0);
        if self.size.now.is_none() && end <= smallest {
            return len;
        }
        let left = self.size(scope).saturating_sub(offset);
        len.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// What lies beyond the size is not part of the file: it reads as zeros if the file grows.
    fn cut_medium(&mut self, arena: &mut Arena, size: u64) {
        let sector_bytes = arena.sector_bytes();
        let (whole, rest) = (sector_of(size, sector_bytes), within(size, sector_bytes));
        for sector in whole..self.durable.len() {
            self.remember(sector);
        }
        self.durable.truncate(whole + usize::from(rest > 0));
        if rest > 0
            && let Some(last) = self.durable.get(whole).copied()
        {
            self.durable[whole] =
                arena.map(last, |arena, held| arena.join(held, rest, Content::ZERO));
        }
    }

    /// The content of a sector as the process sees it.
    fn content(&mut self, scope: &mut Scope<'_>, sector: usize) -> Content {
        if let Some(Cached::Fading(kept)) = self.cached.get(sector).copied() {
            self.keep_or_drop(scope, sector, kept);
        }
        if let Some(content) = self.cached.get(sector).and_then(|cached| cached.content()) {
            return content;
        }
        let Some(candidates) = self.durable.get(sector).copied() else { return Content::ZERO };
        if let Some(content) = candidates.decided() {
            return content;
        }
        let what = Choice::Sector { file: scope.file, sector: count(sector) };
        let chosen = scope.ask(scope.arena.alternatives(candidates), what);
        let content = scope.arena.pick(candidates, chosen);
        scope.choose.note_origin(scope.arena.origin(content));
        self.durable[sector] = content.into();
        content
    }

    /// The content of a sector, if reading it decides nothing.
    pub(super) fn known_content(&self, sector: usize) -> Option<Content> {
        match self.cached.get(sector) {
            Some(cached) if *cached != Cached::Not => cached.known(),
            _ => self.durable.get(sector).map_or(Some(Content::ZERO), |held| held.decided()),
        }
    }

    pub(super) fn read(&mut self, scope: &mut Scope<'_>, buf: &mut [u8], offset: u64) -> usize {
        let len = self.readable(scope, offset, buf.len());
        let sector_bytes = scope.arena.sector_bytes();
        let (mut sector, mut at) = (sector_of(offset, sector_bytes), within(offset, sector_bytes));
        let mut left = &mut buf[..len];
        while !left.is_empty() {
            let content = self.content(scope, sector);
            let (piece, rest) = left.split_at_mut(left.len().min(sector_bytes - at));
            piece.copy_from_slice(&scope.arena.get(content)[at..at + piece.len()]);
            left = rest;
            sector += 1;
            at = 0;
        }
        len
    }

    /// Writes, growing the file if the end lies beyond its size.
    pub(super) fn write(&mut self, scope: &mut Scope<'_>, mut bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let size = self.size(scope);
        let end = offset + bytes.len() as u64;
        let sector_bytes = scope.arena.sector_bytes();
        let (mut sector, mut at) = (sector_of(offset, sector_bytes), within(offset, sector_bytes));
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(sector_bytes - at));
            self.write_sector(scope, sector, at, piece);
            bytes = rest;
            sector += 1;
            at = 0;
        }
        if end > size {
            self.set_size(end);
        }
    }

    fn write_sector(&mut self, scope: &mut Scope<'_>, sector: usize, at: usize, piece: &[u8]) {
        let whole = piece.len() == scope.arena.sector_bytes();
        let base = if whole { Content::ZERO } else { self.content(scope, sector) };
        let content = scope.arena.overlay(base, at, piece, scope.operation);
        let lost = self.cached.get(sector).is_some_and(|cached| cached.is_lost());
        let unchanged =
            self.known_content(sector).is_some_and(|held| scope.arena.same(held, content));
        // A sector that a failed sync lost is dirty again even when its bytes stay the same, zeros
        // that are written are fenced earlier than those of a cut, and where the file grew, too.
        let was_there = self.is_on_medium(sector, scope.arena.sector_bytes());
        if unchanged && !lost && was_there && !self.is_cut_off(sector) {
            scope.arena.drop_last();
            return;
        }
        self.add_version(sector, content);
    }

    fn add_version(&mut self, sector: usize, content: Content) {
        if self.cached.len() <= sector {
            self.cached.resize(sector + 1, Cached::Not);
        }
        self.cached[sector] = Cached::Dirty(content);
        self.pending.push(Version { sector: count(sector), content, is_cut: false });
    }

    fn set_size(&mut self, size: u64) {
        self.size.now = Some(size);
        self.size.pending.push(size);
    }

    /// Sets the length; what is cut off reads as zeros if the file grows again.
    pub(super) fn set_len(&mut self, scope: &mut Scope<'_>, len: u64) {
        let size = self.size(scope);
        if len == size {
            return;
        }
        if len < size {
            self.zero_from(scope, len);
        }
        self.set_size(len);
    }

    fn zero_from(&mut self, scope: &mut Scope<'_>, len: u64) {
        let sector_bytes = scope.arena.sector_bytes();
        self.landed.retain(|&sector| u64::from(sector) * (sector_bytes as u64) < len);
        let (mut sector, at) = (sector_of(len, sector_bytes), within(len, sector_bytes));
        if at > 0 {
            let zeros = vec![0; sector_bytes - at];
            let before = self.pending.len();
            self.write_sector(scope, sector, at, &zeros);
            if let Some(cut) = self.pending.get_mut(before) {
                cut.is_cut = true;
            }
            sector += 1;
        }
        for sector in sector..self.durable.len().max(self.cached.len()) {
            let lost = self.cached.get(sector).is_some_and(|cached| cached.is_lost());
            let zero = self
                .known_content(sector)
                .is_some_and(|held| scope.arena.same(held, Content::ZERO));
            if lost || !zero {
                self.add_version(sector, Content::ZERO);
                self.pending.last_mut().expect("it was added").is_cut = true;
            }
        }
    }

    /// Puts a content on the medium.
    fn hold(&mut self, sector: usize, content: Candidates) {
        if self.durable.len() <= sector {
            self.durable.resize(sector + 1, Candidates::ZERO);
        }
        self.durable[sector] = content;
    }

    /// A sync that fails and gives up: any of the versions landed. What the process reads stays.
    /// The size goes by the file system's journal: a later sync can still fence it, and with it the
    /// zeros of what was cut off.
    pub(super) fn lose(&mut self, arena: &mut Arena) {
        if self.stale {
            self.keep_growth_in_cache(arena);
        }
        let cuts = self.cuts();
        self.land_anywhere(arena);
        for cached in &mut self.cached {
            if let Cached::Dirty(content) = *cached {
                *cached = Cached::Lost(content);
            }
        }
        self.await_size(cuts);
    }

    /// A sync that fails and drops what it could not write: reads see the medium at once.
    pub(super) fn revert(&mut self, arena: &mut Arena) {
        self.land_anywhere(arena);
        self.resize_anywhere();
        self.forget_cache(arena);
    }

    /// A power failure: each sector stops at one of its versions, the size at one of its values.
    pub(super) fn crash(&mut self, arena: &mut Arena) {
        self.land_anywhere(arena);
        self.resize_anywhere();
        self.forget_cache(arena);
        self.fails_late = false;
    }

    fn forget_cache(&mut self, arena: &mut Arena) {
        self.cached.clear();
        let sizes = &self.size.durable;
        self.size.now = if sizes.len() == 1 { sizes.first().copied() } else { None };
        let largest = sizes.iter().copied().max().unwrap_or(0);
        self.cut_medium(arena, largest);
    }

    /// Opens the medium to every version since the last fence.
    fn land_anywhere(&mut self, arena: &mut Arena) {
        let smallest = self.size.durable.iter().copied().min().unwrap_or(0);
        let largest = self.size.pending.iter().copied().max().unwrap_or(0);
        if self.stale && largest > smallest {
            self.expose_stale(arena, smallest, largest);
        }
        self.pending.sort_by_key(|version| version.sector);
        for group in self.pending.chunk_by(|one, other| one.sector == other.sector) {
            let sector = index(group[0].sector);
            if self.durable.len() <= sector {
                self.durable.resize(sector + 1, Candidates::ZERO);
            }
            let mut open: Vec<Content> =
                group.iter().rev().map(|version| version.content).collect();
            open.extend(arena.contents(self.durable[sector]));
            self.durable[sector] = arena.set_of(open.into_iter());
        }
        self.pending.clear();
    }

    /// Opens the size on the medium to every value since the last fence.
    fn resize_anywhere(&mut self) {
        self.landed.clear();
        let before = std::mem::take(&mut self.size.durable);
        let mut seen = BTreeSet::new();
        for size in self.size.pending.drain(..).rev().chain(before) {
            if seen.insert(size) {
                self.size.durable.push(size);
            }
        }
    }

    /// One of the sizes that the file may have.
    pub(super) fn open_size(&self, chosen: u32) -> Option<u64> {
        self.size.durable.get(index(chosen)).copied()
    }

    /// Decides whatever is open.
    pub(super) fn decide_all(&mut self, scope: &mut Scope<'_>) {
        self.size(scope);
        for sector in 0..self.durable.len() {
            if self.cached.get(sector).is_none_or(|cached| cached.known().is_none()) {
                self.content(scope, sector);
            }
        }
    }

    /// What the medium hashes to; after a crash there is nothing else.
    pub(super) fn hash(&self, arena: &Arena) -> u64 {
        let zero = arena.hash(Candidates::ZERO);
        let sectors = self.durable.iter().map(|held| arena.hash(*held)).enumerate();
        let written = sectors.filter(|(_, held)| *held != zero);
        let hash = written.fold(0, |hash, (at, held)| mix(mix(hash, at as u64), held));
        // A size of 0 among others counts, too.
        let hash = mix(hash, !(self.size.durable.len() as u64));
        let former = self.former.iter().map(|(sector, held)| (*sector, arena.hash(*held)));
        let hash = former.fold(hash, |hash, (at, held)| mix(mix(hash, u64::from(at)), held));
        self.size.durable.iter().fold(hash, |hash, size| mix(hash, *size))
    }

    /// How many images are open, as a base-two logarithm.
    pub(super) fn log2_images(&self, arena: &Arena) -> f64 {
        let sectors = self.durable.iter().map(|held| arena.alternatives(*held));
        let sizes = count(self.size.durable.len());
        sectors.chain([sizes]).filter(|held| *held > 1).map(|held| f64::from(held).log2()).sum()
    }

    pub(super) fn move_contents(&mut self, mover: &mut Mover) {
        for held in &mut self.durable {
            *held = mover.candidates(*held);
        }
        for held in self.former.values_mut() {
            *held = mover.candidates(*held);
        }
        for cached in &mut self.cached {
            *cached = match *cached {
                Cached::Not => Cached::Not,
                Cached::Dirty(content) => Cached::Dirty(mover.content(content)),
                Cached::Lost(content) => Cached::Lost(mover.content(content)),
                Cached::Fading(content) => Cached::Fading(mover.content(content)),
            };
        }
        for version in &mut self.pending {
            version.content = mover.content(version.content);
        }
    }
}

pub(super) fn sector_of(offset: u64, sector_bytes: usize) -> usize {
    usize::try_from(offset / sector_bytes as u64).expect("a simulated file fits into memory")
}

pub(super) fn within(offset: u64, sector_bytes: usize) -> usize {
    usize::try_from(offset % sector_bytes as u64).expect("the rest is below the sector size")
}
