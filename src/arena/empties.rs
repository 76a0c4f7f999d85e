//! Frames of memory that hold nothing (part of arena, layer L2).
//!
//! Owns: [`Empties`], a set of the rights to write frames. Must not know: what frames hold, how
//! they become empty.

use super::Empty;

/// Frames that hold nothing.
pub(crate) struct Empties {
    /// A bit for each frame.
    words: Vec<u64>,
    count: usize,
    /// No word from this one on has a bit.
    end: usize,
}

impl Empties {
    pub(super) fn all(frames: u32) -> Empties {
        let count = frames as usize;
        let mut words = vec![u64::MAX; count.div_ceil(64)];
        if let Some(last) = words.last_mut()
            && !count.is_multiple_of(64)
        {
            *last = (1 << (count % 64)) - 1;
        }
        let end = words.len();
        Empties { words, count, end }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Takes this frame if it is empty.
    pub(crate) fn take_only(&mut self, wanted: u32) -> Option<Empty> {
        let (word, bit) = (wanted as usize / 64, wanted % 64);
        let is_empty = self.words.get(word).is_some_and(|bits| bits >> bit & 1 == 1);
        is_empty.then(|| self.take_bit(word, bit))
    }

    /// Takes this frame if it is empty, or else any.
    pub(crate) fn take(&mut self, wanted: u32) -> Option<Empty> {
        if let Some(empty) = self.take_only(wanted) {
            return Some(empty);
        }
        // From the end, where the homes of pages are that a small file does not have.
        while self.words[..self.end].last().is_some_and(|&bits| bits == 0) {
            self.end -= 1;
        }
        let bits = *self.words[..self.end].last()?;
        Some(self.take_bit(self.end - 1, bits.ilog2()))
    }

    fn take_bit(&mut self, word: usize, bit: u32) -> Empty {
        self.words[word] &= !(1 << bit);
        self.count -= 1;
        let first = u32::try_from(word * 64).expect("frames are counted in 32 bits");
        Empty { frame: first + bit }
    }

    /// Gives a frame back.
    #[expect(clippy::needless_pass_by_value, reason = "the right to write the frame ends here")]
    pub(crate) fn put(&mut self, empty: Empty) {
        let Empty { frame } = empty;
        let word = frame as usize / 64;
        self.words[word] |= 1 << (frame % 64);
        self.count += 1;
        self.end = self.end.max(word + 1);
    }
}
