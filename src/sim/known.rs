//! What is known of a file without deciding anything that a crash left open.
//!
//! Owns: the looks at [`FileState`] that change nothing.
//! Must not know: who looks.
//! Keeps: where reading would decide, the answer is that nobody knows.

use super::arena::{Arena, mix};
use super::file::{FileState, sector_of, within};
use super::index;

impl FileState {
    /// The bytes at `offset`, as far as the file reaches; `None` if reading them decides anything.
    pub(super) fn peek(&self, arena: &Arena, len: usize, offset: u64) -> Option<Vec<u8>> {
        let left = self.known_size()?.saturating_sub(offset);
        let mut left = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        let sector_bytes = arena.sector_bytes();
        let (mut sector, mut at) = (sector_of(offset, sector_bytes), within(offset, sector_bytes));
        let mut bytes = Vec::with_capacity(left);
        while left > 0 {
            let piece = left.min(sector_bytes - at);
            bytes.extend_from_slice(&arena.get(self.known_content(sector)?)[at..at + piece]);
            left -= piece;
            sector += 1;
            at = 0;
        }
        Some(bytes)
    }

    /// What a sector hashes to, if reading it decides nothing.
    pub(super) fn known_hash(&self, arena: &Arena, sector: u32) -> Option<u64> {
        self.known_content(index(sector)).map(|content| arena.hash(content.into()))
    }

    /// What the size and the first sectors hash to, if reading them decides nothing.
    pub(super) fn known_hash_of_first(&self, arena: &Arena, sectors: usize) -> Option<u64> {
        (0..sectors).try_fold(self.known_size()?, |hash, sector| {
            Some(mix(hash, arena.hash(self.known_content(sector)?.into())))
        })
    }

    /// Whether the file holds these bytes; `false` where reading them would decide anything.
    pub(super) fn holds(&self, arena: &Arena, bytes: &[u8], offset: u64) -> bool {
        if self.known_size().is_none_or(|size| size < offset + bytes.len() as u64) {
            return false;
        }
        let sector_bytes = arena.sector_bytes();
        let (mut sector, mut at) = (sector_of(offset, sector_bytes), within(offset, sector_bytes));
        let mut left = bytes;
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(sector_bytes - at));
            let Some(content) = self.known_content(sector) else { return false };
            if arena.get(content)[at..at + piece.len()] != *piece {
                return false;
            }
            (left, at) = (rest, 0);
            sector += 1;
        }
        true
    }
}
