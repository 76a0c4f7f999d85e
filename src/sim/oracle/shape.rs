//! What keys and values look like (part of the oracle, layer L8).
//!
//! Owns: [`KeyShape`], [`ValueShape`], the plainest keys, and how long a value in a leaf may be.
//! Must not know: operations. Keeps: a number stands for the same key each time.

use super::op::Data;
use crate::format::leaf_cell_max;
use crate::sim::index;

/// What keys look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyShape {
    /// One to six bytes, the lowest and the highest byte among them.
    Short,
    /// A prefix of a third of the longest key, and a number.
    SharedPrefix,
    /// Keys that are prefixes of each other.
    Nested,
    /// Numbers; new ones are higher than all before.
    Sequential,
    /// Keys of the greatest length, which differ at the start, in the middle or at the end.
    Longest,
    /// All of these, by turns.
    Mixed,
}

/// How long values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueShape {
    /// No bytes.
    Empty,
    /// Up to 40 bytes.
    Small,
    /// As long as just fits into a leaf, and a byte or two more or less.
    Edge,
    /// Several pages, the last one often full, or holding a single byte.
    Large,
    /// All of these, by turns.
    Mixed,
}

/// The digits of a number, in bytes that sort at the edges.
pub(super) fn short(mut number: u32) -> Data {
    const DIGITS: [u8; 5] = [0, b'a', b'b', 0x7F, 255];
    let mut key = Vec::new();
    loop {
        key.push(DIGITS[index(number % 5)]);
        number /= 5;
        if number == 0 {
            return key.into();
        }
    }
}

pub(super) fn sequential(number: u32) -> Data {
    u64::from(number).to_be_bytes().into()
}

/// The longest value, in bytes, that has room in a leaf beside a key of `key_len` bytes.
pub(super) fn inline_len_max(page_size: usize, key_len: usize) -> usize {
    // Head, offset and lengths take ten bytes; the head holds four of the key.
    leaf_cell_max(page_size) - 10 - key_len.saturating_sub(4)
}
