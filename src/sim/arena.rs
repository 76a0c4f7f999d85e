//! The contents of sectors, and the sets of contents that a crash leaves open.
//!
//! Owns: [`Arena`], which holds each content once, and the numbers that stand for contents.
//! A disk's state is made of such numbers, so that forking it copies numbers and no contents.
//! Must not know: files, names, or why a content is held.
//! Keeps: a content never changes once it has a number.

use super::{count, index};

/// The number of a sector's content in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content(u32);

impl Content {
    /// All zeros.
    pub(super) const ZERO: Content = Content(0);
    /// What the disk held before the file grew, in the profile that shows it.
    pub(super) const STALE: Content = Content(1);
}

/// What a sector may hold on the medium: one content, or one of a set that nobody has read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidates(u32);

const SET: u32 = 1 << 31;

impl Candidates {
    /// A sector never written.
    pub(super) const ZERO: Candidates = Candidates(Content::ZERO.0);

    /// The content, unless it is still open.
    pub(super) fn decided(self) -> Option<Content> {
        (self.0 & SET == 0).then_some(Content(self.0))
    }
}

impl From<Content> for Candidates {
    fn from(content: Content) -> Candidates {
        Candidates(content.0)
    }
}

/// A length of the arena, to cut it back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    contents: usize,
    sets: usize,
}

/// All contents, each of one sector, and all sets of contents.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    sector_bytes: usize,
    bytes: Vec<u8>,
    /// The operation that wrote each content; 0 for what was there before.
    origins: Vec<u64>,
    /// What each content hashes to.
    hashes: Vec<u64>,
    /// Sets one after the other: length, then contents, the newest first.
    sets: Vec<u32>,
}

impl Arena {
    pub(super) fn new(sector_bytes: usize) -> Arena {
        assert!(sector_bytes > 0, "a disk has sectors: Profile::sector_bytes is at least 1");
        let mut bytes = vec![0; sector_bytes];
        // A pattern that is neither text nor zeros, so that trusting it shows.
        bytes.extend(
            (0_u8..=255).cycle().map(|step| step.wrapping_mul(167) ^ 0xA5).take(sector_bytes),
        );
        let hashes = bytes.chunks(sector_bytes).map(hash_bytes).collect();
        Arena { sector_bytes, bytes, origins: vec![0, 0], hashes, sets: Vec::new() }
    }

    pub(super) fn sector_bytes(&self) -> usize {
        self.sector_bytes
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { contents: self.origins.len(), sets: self.sets.len() }
    }

    /// Forgets everything added since `mark`.
    pub(super) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.contents * self.sector_bytes);
        self.origins.truncate(mark.contents);
        self.hashes.truncate(mark.contents);
        self.sets.truncate(mark.sets);
    }

    pub(super) fn copy_from(&mut self, other: &Arena) {
        self.sector_bytes = other.sector_bytes;
        self.bytes.clone_from(&other.bytes);
        self.origins.clone_from(&other.origins);
        self.hashes.clone_from(&other.hashes);
        self.sets.clone_from(&other.sets);
    }

    /// Bytes held, for whoever decides when to clear up.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(super) fn get(&self, content: Content) -> &[u8] {
        let start = index(content.0) * self.sector_bytes;
        &self.bytes[start..start + self.sector_bytes]
    }

    /// What is there now was there at first: operations are counted anew.
    pub(super) fn forget_origins(&mut self) {
        self.origins.fill(0);
    }

    /// The operation that wrote a content; 0 for what was there before.
    pub(super) fn origin(&self, content: Content) -> u64 {
        self.origins[index(content.0)]
    }

    pub(super) fn same(&self, one: Content, other: Content) -> bool {
        let hash = |content: Content| self.hashes[index(content.0)];
        one == other || (hash(one) == hash(other) && self.get(one) == self.get(other))
    }

    /// What the contents that a sector may hold hash to, in their order.
    pub(super) fn hash(&self, candidates: Candidates) -> u64 {
        let hashes = self.contents(candidates).map(|content| self.hashes[index(content.0)]);
        hashes.fold(0, mix)
    }

    /// A new content: `base` with `piece` laid over it at `at`.
    pub(super) fn overlay(
        &mut self,
        base: Content,
        at: usize,
        piece: &[u8],
        origin: u64,
    ) -> Content {
        let start = self.bytes.len();
        if piece.len() == self.sector_bytes {
            self.bytes.extend_from_slice(piece);
        } else {
            let from = index(base.0) * self.sector_bytes;
            self.bytes.extend_from_within(from..from + self.sector_bytes);
            self.bytes[start + at..start + at + piece.len()].copy_from_slice(piece);
        }
        self.number_last(origin)
    }

    /// A content equal to `base` up to `keep`, and to `rest` from there.
    pub(super) fn join(&mut self, base: Content, keep: usize, rest: Content) -> Content {
        let (from, rest_from) =
            (index(base.0) * self.sector_bytes, index(rest.0) * self.sector_bytes);
        if self.bytes[from + keep..from + self.sector_bytes]
            == self.bytes[rest_from + keep..rest_from + self.sector_bytes]
        {
            return base;
        }
        self.bytes.extend_from_within(from..from + keep);
        self.bytes.extend_from_within(rest_from + keep..rest_from + self.sector_bytes);
        self.number_last(self.origin(base))
    }

    /// Takes back the content added last.
    pub(super) fn drop_last(&mut self) {
        self.origins.pop();
        self.hashes.pop();
        self.bytes.truncate(self.origins.len() * self.sector_bytes);
    }

    fn number_last(&mut self, origin: u64) -> Content {
        let number = count(self.origins.len());
        assert!(number < SET, "the simulated disk holds too many versions of sectors");
        self.origins.push(origin);
        let start = index(number) * self.sector_bytes;
        self.hashes.push(hash_bytes(&self.bytes[start..]));
        Content(number)
    }

    /// How many contents a sector may hold.
    pub(super) fn alternatives(&self, candidates: Candidates) -> u32 {
        match candidates.decided() {
            Some(_) => 1,
            None => self.sets[index(candidates.0 & !SET)],
        }
    }

    /// The contents that a sector may hold, the newest first.
    pub(super) fn contents(&self, candidates: Candidates) -> impl Iterator<Item = Content> + '_ {
        let set = if candidates.decided().is_some() {
            &[]
        } else {
            let start = index(candidates.0 & !SET);
            &self.sets[start + 1..=start + index(self.sets[start])]
        };
        candidates.decided().into_iter().chain(set.iter().copied().map(Content))
    }

    /// The `chosen`-th content of a set.
    pub(super) fn pick(&self, candidates: Candidates, chosen: u32) -> Content {
        self.contents(candidates).nth(index(chosen)).expect("the choice is one of the alternatives")
    }

    /// A set of these contents, given the newest first; equal ones count once.
    pub(super) fn set_of(&mut self, contents: impl Iterator<Item = Content>) -> Candidates {
        let start = self.sets.len();
        self.sets.push(0);
        for content in contents {
            let known =
                self.sets[start + 1..].iter().any(|&held| self.same(Content(held), content));
            if !known {
                self.sets.push(content.0);
            }
        }
        let len = self.sets.len() - start - 1;
        if len == 1 {
            let only = Content(self.sets[start + 1]);
            self.sets.truncate(start);
            return only.into();
        }
        self.sets[start] = count(len);
        Candidates(count(start) | SET)
    }

    /// The candidates after `change` was applied to each.
    pub(super) fn map(
        &mut self,
        candidates: Candidates,
        mut change: impl FnMut(&mut Arena, Content) -> Content,
    ) -> Candidates {
        if let Some(content) = candidates.decided() {
            return change(self, content).into();
        }
        let before: Vec<Content> = self.contents(candidates).collect();
        let after: Vec<Content> = before.iter().map(|&held| change(self, held)).collect();
        if before == after { candidates } else { self.set_of(after.into_iter()) }
    }
}

/// Stirs a number into a hash.
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

/// Stirs bytes into a hash. Their count is not stirred in.
pub(super) fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix(hash, rest)
}

/// What a sector hashes to. Its halves need not wait for each other.
fn hash_bytes(bytes: &[u8]) -> u64 {
    // Where two hashes are equal, mixing them is 0: the halves begin far apart, and one is turned.
    const BEGIN: [u64; 2] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344];
    let (front, back) = bytes.split_at(bytes.len() / 2);
    let halves = mix(mix_bytes(BEGIN[0], front).rotate_left(32), mix_bytes(BEGIN[1], back));
    // Of contents that differ in few bits the halves may hash alike; the checksum never does.
    mix(halves, u64::from(crc32c::crc32c(bytes)))
}

/// Moves the contents still in use to a new arena.
pub(super) struct Mover {
    from: Arena,
    to: Arena,
    moved: Vec<u32>,
}

impl Mover {
    pub(super) fn new(from: Arena) -> Mover {
        let to = Arena::new(from.sector_bytes);
        let mut moved = vec![u32::MAX; from.origins.len()];
        moved[..2].copy_from_slice(&[Content::ZERO.0, Content::STALE.0]);
        Mover { from, to, moved }
    }

    pub(super) fn content(&mut self, content: Content) -> Content {
        let slot = index(content.0);
        if self.moved[slot] == u32::MAX {
            self.to.bytes.extend_from_slice(self.from.get(content));
            self.moved[slot] = self.to.number_last(self.from.origins[slot]).0;
        }
        Content(self.moved[slot])
    }

    pub(super) fn candidates(&mut self, candidates: Candidates) -> Candidates {
        if let Some(content) = candidates.decided() {
            return self.content(content).into();
        }
        let held: Vec<Content> = self.from.contents(candidates).collect();
        let held: Vec<Content> = held.into_iter().map(|content| self.content(content)).collect();
        self.to.set_of(held.into_iter())
    }

    pub(super) fn finish(self) -> Arena {
        self.to
    }
}
