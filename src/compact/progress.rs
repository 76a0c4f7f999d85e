//! Whether a compaction comes nearer to its end (part of compact, layer L7).
//!
//! Owns: [`Progress`] of rounds, and [`Least`], the lowest of the numbers so far.
//! Must not know: what is moved. Keeps: nothing that is written anywhere.

/// Rounds of moving that bring no page nearer until the wanted end of the file is moved back: what
/// moves takes its ancestors with it, and where there is no room for them they go behind the limit.
const VAIN_MAX: u32 = 2;

/// A number of pages that is to become lower.
#[derive(Default)]
pub(super) struct Least {
    pages: Option<u32>,
    /// How often it was looked at since it was lower than ever.
    vain: u32,
}

impl Least {
    /// Takes note of what it is now. Returns how often it was looked at in vain.
    pub(super) fn vain(&mut self, pages: u32) -> u32 {
        if self.pages.is_none_or(|least| pages < least) {
            *self = Least { pages: Some(pages), vain: 0 };
        } else {
            self.vain += 1;
        }
        self.vain
    }
}

/// Whether rounds of moving leave less behind the limit.
#[derive(Default)]
pub(super) struct Progress {
    /// The pages that lie behind it.
    behind: Least,
    /// The last round moved something.
    pub(super) has_moved: bool,
}

impl Progress {
    /// Takes note of what lies behind the limit. Returns whether rounds lead nowhere.
    pub(super) fn ends_with(&mut self, behind: u32) -> bool {
        if !std::mem::take(&mut self.has_moved) {
            return false;
        }
        self.behind.vain(behind) >= VAIN_MAX
    }
}
