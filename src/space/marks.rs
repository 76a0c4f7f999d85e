//! A mark for each page (part of the space codec, layer L3).
//!
//! Owns: [`Marks`], a set of pages that takes as long for a page alone as for 64 together.
//! Must not know: what a mark means.
//! Keeps: nothing that is written anywhere; a range of pages that no file has costs little, and so
//! does one in which no page is marked, whatever was marked there once.
//!
//! Reading the log back touches each page that a record names, in no order. Sets of extents search
//! for each of them several times; marks are found by arithmetic.

use crate::page::{Extent, PageId};

/// Pages of a chunk: large enough that the marks of a file are few pieces of memory, small enough
/// that those of a small file are hardly any.
const CHUNK_PAGES: u32 = 1 << 14;
const WORD_PAGES: u32 = u64::BITS;
const WORDS: usize = (CHUNK_PAGES / WORD_PAGES) as usize;

/// The marks of pages that lie side by side.
#[derive(Clone, Debug, Default)]
enum Chunk {
    #[default]
    None,
    All,
    Some(Box<[u64; WORDS]>),
}

/// A set of pages.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// Of the first pages; behind them none is marked.
    chunks: Vec<Chunk>,
    /// Pages from here on never have a mark: a log may speak of more than the file has.
    end: u32,
}

/// Part of a range: whole, or within a chunk.
struct Part {
    chunk: usize,
    from: u32,
    to: u32,
}

impl Part {
    fn is_whole(&self) -> bool {
        self.to - self.from == CHUNK_PAGES
    }

    /// The words of the part, each with the bits that belong to it.
    fn words(&self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (from, to) = (self.from, self.to);
        (from / WORD_PAGES..to.div_ceil(WORD_PAGES)).map(move |word| {
            let first = from.saturating_sub(word * WORD_PAGES);
            let end = (to - word * WORD_PAGES).min(WORD_PAGES);
            (word as usize, u64::MAX << first & u64::MAX >> (WORD_PAGES - end))
        })
    }
}

/// Where the marks of a range lie that has one word, as most have: chunk, word and bits.
#[inline]
fn within_word(range: Extent, limit: u32) -> Option<(usize, usize, u64)> {
    let (from, pages) = (range.first.0, range.pages);
    let bit = from % WORD_PAGES;
    let is_within = pages > 0 && pages <= WORD_PAGES - bit && from.checked_add(pages)? <= limit;
    is_within.then(|| {
        let word = from % CHUNK_PAGES / WORD_PAGES;
        let bits = u64::MAX >> (WORD_PAGES - pages) << bit;
        ((from / CHUNK_PAGES) as usize, word as usize, bits)
    })
}

/// A range, as far as `limit`, chunk by chunk.
fn parts(range: Extent, limit: u32) -> impl Iterator<Item = Part> {
    let (mut from, end) = (range.first.0, range.end().min(limit));
    std::iter::from_fn(move || {
        if from >= end {
            return None;
        }
        let first = from / CHUNK_PAGES * CHUNK_PAGES;
        let to = (end - first).min(CHUNK_PAGES);
        let part = Part { chunk: (first / CHUNK_PAGES) as usize, from: from - first, to };
        from = first.saturating_add(to);
        Some(part)
    })
}

impl Chunk {
    /// Its words, to change some of them.
    fn words(&mut self) -> &mut [u64; WORDS] {
        let all = match self {
            Chunk::None => 0,
            Chunk::All => u64::MAX,
            Chunk::Some(_) => {
                let Chunk::Some(words) = self else { unreachable!("it was matched") };
                return words;
            }
        };
        *self = Chunk::Some(Box::new([all; WORDS]));
        self.words()
    }
}

impl Marks {
    /// No marks, and none from page `end` on, whatever is set.
    pub fn below(end: u32) -> Marks {
        Marks { chunks: Vec::new(), end }
    }

    /// Marks pages, those marked already included.
    pub fn set(&mut self, range: Extent) {
        if let Some((chunk, word, bits)) = within_word(range, self.end)
            && let Some(Chunk::Some(words)) = self.chunks.get_mut(chunk)
        {
            words[word] |= bits;
            return;
        }
        for part in parts(range, self.end) {
            if self.chunks.len() <= part.chunk {
                self.chunks.resize(part.chunk + 1, Chunk::None);
            }
            match &mut self.chunks[part.chunk] {
                Chunk::All => {}
                chunk if part.is_whole() => *chunk = Chunk::All,
                chunk => {
                    let words = chunk.words();
                    part.words().for_each(|(word, bits)| words[word] |= bits);
                }
            }
        }
    }

    /// Takes the marks off these pages, whether they had one or not.
    pub fn clear(&mut self, range: Extent) {
        if let Some((chunk, word, bits)) = within_word(range, self.end)
            && let Some(Chunk::Some(words)) = self.chunks.get_mut(chunk)
            && words[word] & !bits != 0
        {
            words[word] &= !bits;
            return;
        }
        for part in parts(range, self.end) {
            match self.chunks.get_mut(part.chunk) {
                None | Some(Chunk::None) => {}
                Some(chunk) if part.is_whole() => *chunk = Chunk::None,
                Some(chunk) => {
                    let (words, mut left) = (chunk.words(), 0);
                    part.words().for_each(|(word, bits)| {
                        words[word] &= !bits;
                        left |= words[word];
                    });
                    // Zeros that are kept are counted again and again.
                    if left == 0 && words.iter().all(|&word| word == 0) {
                        *chunk = Chunk::None;
                    }
                }
            }
        }
    }

    /// Whether a page of a range is marked.
    pub fn has_any(&self, range: Extent) -> bool {
        match within_word(range, self.end) {
            Some((chunk, word, bits)) => self.bits_of(chunk, word) & bits != 0,
            None => self.count(range) > 0,
        }
    }

    /// Whether as many pages of a range are marked here as there.
    pub fn is_alike(&self, other: &Marks, range: Extent) -> bool {
        let (here, there) = (within_word(range, self.end), within_word(range, other.end));
        match here {
            Some((chunk, word, bits)) if here == there => {
                let (here, there) = (self.bits_of(chunk, word), other.bits_of(chunk, word));
                // Sets that are the same are as large, which most are.
                here & bits == there & bits
                    || (here & bits).count_ones() == (there & bits).count_ones()
            }
            _ => self.count(range) == other.count(range),
        }
    }

    fn bits_of(&self, chunk: usize, word: usize) -> u64 {
        match self.chunks.get(chunk) {
            None | Some(Chunk::None) => 0,
            Some(Chunk::All) => u64::MAX,
            Some(Chunk::Some(words)) => words[word],
        }
    }

    /// How many pages of a range are marked.
    pub fn count(&self, range: Extent) -> u64 {
        let count = |part: Part| match self.chunks.get(part.chunk) {
            None | Some(Chunk::None) => 0,
            Some(Chunk::All) => u64::from(part.to - part.from),
            Some(Chunk::Some(words)) => {
                let ones =
                    |(word, bits): (usize, u64)| u64::from((words[word] & bits).count_ones());
                part.words().map(ones).sum()
            }
        };
        parts(range, self.end).map(count).sum()
    }

    /// All that is marked, by address; what touches is one extent.
    pub fn extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut add = |first: u32, pages: u32| match extents.last_mut() {
            Some(last) if last.end() == first => last.pages += pages,
            _ => extents.push(Extent { first: PageId(first), pages }),
        };
        for (chunk, first) in self.chunks.iter().zip((0..).step_by(CHUNK_PAGES as usize)) {
            match chunk {
                Chunk::None => {}
                Chunk::All => add(first, CHUNK_PAGES),
                Chunk::Some(words) => {
                    let firsts = (first..).step_by(WORD_PAGES as usize);
                    words.iter().zip(firsts).for_each(|(&word, first)| ones(first, word, &mut add));
                }
            }
        }
        extents
    }
}

/// Hands out the runs of ones of a word that stands for the pages from `first` on.
fn ones(first: u32, mut word: u64, add: &mut impl FnMut(u32, u32)) {
    let mut from = 0;
    while word != 0 {
        let zeros = word.trailing_zeros();
        word >>= zeros;
        let ones = word.trailing_ones();
        add(first + from + zeros, ones);
        from += zeros + ones;
        word = word.checked_shr(ones).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::extents::span;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range() -> impl Strategy<Value = Extent> {
        let near = |at: u32| at.saturating_sub(70)..at + 70;
        let from = prop_oneof![near(CHUNK_PAGES), near(2 * CHUNK_PAGES), 0..3 * CHUNK_PAGES];
        (from, prop_oneof![1..200u32, 1..3 * CHUNK_PAGES])
            .prop_map(|(from, n)| span(from, from + n))
    }

    proptest! {
        /// Marks are a set of page numbers.
        #[test]
        fn marks_are_what_a_set_of_numbers_is(
            steps in prop::collection::vec((any::<bool>(), range()), 1..12),
            asked in range(),
        ) {
            let (mut marks, mut twin) = (Marks::below(u32::MAX), BTreeSet::new());
            for (is_set, range) in steps {
                let pages = range.first.0..range.end();
                if is_set {
                    marks.set(range);
                    twin.extend(pages);
                } else {
                    marks.clear(range);
                    twin.retain(|page| !pages.contains(page));
                }
            }
            let pages: Vec<u32> =
                marks.extents().into_iter().flat_map(|e| e.first.0..e.end()).collect();
            prop_assert!(pages.iter().eq(twin.iter()));
            let wanted = twin.range(asked.first.0..asked.end()).count() as u64;
            prop_assert_eq!(marks.count(asked), wanted);
            prop_assert_eq!(marks.has_any(asked), wanted > 0);
            let none = Marks::below(u32::MAX);
            prop_assert_eq!(marks.is_alike(&none, asked), wanted == 0);
            prop_assert!(marks.is_alike(&marks.clone(), asked));
            let touching = marks.extents().windows(2).any(|two| two[0].end() == two[1].first.0);
            prop_assert!(!touching);
            prop_assert!(marks.has_no_zeros());
        }
    }

    impl Marks {
        /// Whether no chunk is kept that has no mark.
        fn has_no_zeros(&self) -> bool {
            let is_zero =
                |chunk: &Chunk| matches!(chunk, Chunk::Some(words) if **words == [0; WORDS]);
            !self.chunks.iter().any(is_zero)
        }
    }

    /// A log may free and allocate a page in each chunk, and then ask for the count of all again
    /// and again.
    #[test]
    fn a_chunk_whose_last_mark_goes_is_as_one_that_never_had_any() {
        let mut marks = Marks::below(u32::MAX);
        for first in [5, CHUNK_PAGES + WORD_PAGES - 2] {
            marks.set(span(first, first + 4));
            marks.clear(span(first, first + 3));
            assert_eq!(marks.count(span(0, u32::MAX)), 1);
            marks.clear(span(first + 2, first + 4));
            assert!(marks.has_no_zeros(), "page {first}");
        }
    }

    #[test]
    fn the_last_page_there_can_be_is_a_page_like_others() {
        let (last, mut marks) = (span(u32::MAX - 1, u32::MAX), Marks::below(u32::MAX));
        marks.set(last);
        assert_eq!(marks.extents(), [last]);
        marks.set(span(0, u32::MAX));
        assert_eq!(marks.count(span(0, u32::MAX)), u64::from(u32::MAX));
        assert_eq!(marks.extents(), [span(0, u32::MAX)]);
        marks.clear(span(0, u32::MAX));
        assert_eq!(marks.extents(), []);
    }
}
