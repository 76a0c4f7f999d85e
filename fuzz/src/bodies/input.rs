//! The fuzzer's bytes as a source of numbers and choices.

use btree_store::sim::{Choice, Choose};

/// Bytes that are read from the front; zeros after the end.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Input<'a> {
        Input { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let byte = self.rest.first().copied().unwrap_or(0);
        self.rest = self.rest.get(1..).unwrap_or_default();
        byte
    }

    /// A number below `bound`, which is not 0: one byte, or two where one does not reach.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut value = usize::from(self.byte());
        if bound > 256 {
            value = value << 8 | usize::from(self.byte());
        }
        value % bound
    }

    /// One of a few.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True once in `bound` times; never after the end.
    pub fn once_in(&mut self, bound: usize) -> bool {
        self.below(bound) + 1 == bound
    }

    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// A number that means something at many places: small, near a limit, or any.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..=223 => u32::from(small),
            224 => u32::MAX,
            225 => u32::MAX - 1,
            226 => 1 << 31,
            227 => (1 << 31) - 1,
            228 => 0xFFFF,
            229 => 0xFFFE,
            230 => 512,
            231 => 4096,
            232..=243 => u32::from(self.byte()) << 8 | u32::from(self.byte()),
            _ => self.word(),
        }
    }

    /// Up to `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

impl Choose for Input<'_> {
    fn choose(&mut self, alternatives: u32, _what: Choice) -> u32 {
        let alternatives = usize::try_from(alternatives).expect("it counts few things");
        u32::try_from(self.below(alternatives)).expect("it is below a number of 32 bits")
    }
}
