//! Keys and values that page code gets wrong, and the random numbers that choose them.
//!
//! Attack: sorted-keys, cells-disjoint.

use crate::format::{key_len_max, leaf_cell_max};

/// Random numbers from a seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("a bound fits 64 bits");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    /// True `times` times out of a hundred.
    pub(crate) fn percent(&mut self, times: usize) -> bool {
        self.below(100) < times
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A family of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One to four bytes of a small alphabet, with zeros and 0xff.
    Short,
    /// One to sixteen random bytes.
    Random,
    /// A long prefix that all share, then a few bytes.
    SharedPrefix,
    /// Prefixes of one long key, so that each is a prefix of the next.
    Nested,
    /// A letter or two, then zeros: equal heads of different lengths.
    Zeros,
    /// 0xff throughout.
    Ones,
    /// The same head, then differing bytes behind it.
    TiedHeads,
    /// The maximum length, differing at the end or at the beginning.
    Longest,
    /// One of a few long prefixes, then a few bytes: separators are long and share little.
    Groups,
    /// "key_{i}" as decimal text.
    Decimal,
}

impl Shape {
    pub(crate) const ALL: &'static [Shape] = &[
        Shape::Short,
        Shape::Random,
        Shape::SharedPrefix,
        Shape::Nested,
        Shape::Zeros,
        Shape::Ones,
        Shape::TiedHeads,
        Shape::Longest,
        Shape::Groups,
        Shape::Decimal,
    ];

    /// A key of this family for this page size.
    pub(crate) fn key(self, rng: &mut Rng, page_size: usize) -> Vec<u8> {
        const ALPHABET: &[u8] = &[0, 0, 1, b'a', b'b', 0x7f, 0x80, 0xff];
        let max = key_len_max(page_size);
        let small = |rng: &mut Rng, len: usize| -> Vec<u8> {
            (0..len).map(|_| *rng.pick(ALPHABET)).collect()
        };
        match self {
            Shape::Short => {
                let len = 1 + rng.below(4);
                small(rng, len)
            }
            Shape::Random => {
                let len = 1 + rng.below(16);
                rng.bytes(len)
            }
            Shape::SharedPrefix => {
                let mut key = vec![b'p'; max - 6];
                let len = 1 + rng.below(6);
                key.extend(small(rng, len));
                key
            }
            Shape::Nested => vec![b'n'; 1 + rng.below(max)],
            Shape::Zeros => {
                let mut key = vec![*rng.pick(b"ab"); 1 + rng.below(2)];
                key.resize(key.len() + rng.below(8), 0);
                key
            }
            Shape::Ones => vec![0xff; 1 + rng.below(max)],
            Shape::TiedHeads => {
                let mut key = b"head".to_vec();
                let len = rng.below(6);
                key.extend(small(rng, len));
                key
            }
            Shape::Longest => {
                let mut key = vec![b'l'; max];
                let at = *rng.pick(&[0, max / 2, max - 2, max - 1]);
                key[at] = *rng.pick(ALPHABET);
                key[max - 1] = rng.bytes(1)[0];
                key
            }
            Shape::Groups => {
                let mut key = vec![b'g'; max - 10];
                key[rng.below(4)] = rng.bytes(1)[0] | 0x20;
                let len = 1 + rng.below(10);
                key.extend(rng.bytes(len));
                key
            }
            Shape::Decimal => format!("key_{}", rng.below(5000)).into_bytes(),
        }
    }
}

/// The longest value that fits inline beside a key.
pub(crate) fn inline_len_max(page_size: usize, key: &[u8]) -> usize {
    // Head 4, offset 2, lengths 4, and the key without the bytes that its head holds.
    leaf_cell_max(page_size) - 10 - key.len().saturating_sub(4)
}

/// The length of an inline value: often small, sometimes of the largest size.
pub(crate) fn inline_len(rng: &mut Rng, page_size: usize, key: &[u8]) -> usize {
    let max = inline_len_max(page_size, key);
    match rng.below(10) {
        0 => max,
        1 => max - rng.below(4).min(max),
        2 => rng.below(max + 1),
        3 => 0,
        _ => rng.below(24).min(max),
    }
}
