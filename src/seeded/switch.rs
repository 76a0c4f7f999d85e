//! Which seeded bugs are on (part of seeded, layer L0).
//!
//! Owns: the switches. Must not know: what the bugs are. Keeps: nothing of its own.

use super::Bug;
use crate::sync::{Ordering, Switch};

/// One bit for each bug that is on.
static ON: [Switch; WORDS] = [const { Switch::new(0) }; WORDS];
const WORDS: usize = Bug::ALL.len().div_ceil(64);
static ASKED: Switch = Switch::new(0);

fn place(bug: Bug) -> (usize, u64) {
    let number = bug as usize;
    (number / 64, 1 << (number % 64))
}

/// Switches these bugs on, and all others off, in the whole process.
pub fn switch_on(bugs: impl IntoIterator<Item = Bug>) {
    let mut bits = [0; WORDS];
    for (word, bit) in bugs.into_iter().map(place) {
        bits[word] |= bit;
    }
    for (word, bits) in ON.iter().zip(bits) {
        word.store(bits, Ordering::SeqCst);
    }
}

/// Whether a bug is on.
pub fn is_on(bug: Bug) -> bool {
    let (word, bit) = place(bug);
    ON[word].load(Ordering::Relaxed) & bit != 0
}

/// Not the same at every call: what a clock, or the order of a hash map, brings in.
pub fn chance() -> bool {
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    asked.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 1
}
