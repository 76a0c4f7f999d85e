//! Where the simulated disk's choices come from.
//!
//! Owns: [`Choose`] and its sources: every vector of choices in turn ([`Exhaustive`]), a seed
//! ([`Seeded`]), a fuzzer's bytes ([`Bytes`]), a recorded vector ([`Script`]).
//! Must not know: what is chosen.
//! Keeps: one vector of choices is one run.

use super::trace::OpKind;

/// What a choice is about. It serves stories and custom sources; of the standard ones
/// [`Exhaustive`] compares it with what was asked before, and [`Seeded`] prefers newest versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Choice {
    /// Which version of a sector survived a crash; 0 is the newest.
    Sector {
        /// The file's number on the disk.
        file: u32,
        /// The sector's number in the file.
        sector: u32,
    },
    /// Which content of a sector that a failed sync lost is read after
    /// [`SimDisk::evict_some`](super::SimDisk::evict_some); 0 is the one in the cache.
    Cached {
        /// The file's number on the disk.
        file: u32,
        /// The sector's number in the file.
        sector: u32,
    },
    /// Which size of a file survived a crash; 0 is the newest.
    Size {
        /// The file's number on the disk.
        file: u32,
    },
    /// Whether a directory kept the creation, renaming or removal of a name, a file's or another
    /// directory's; 0 means that it did.
    Name {
        /// The operation that changed the name.
        operation: u64,
    },
    /// Whether an operation fails, see [`When::Chosen`](super::When::Chosen); 0 means no.
    Fault {
        /// The operation; the one before it, where what fails has no number of its own.
        operation: u64,
        /// Its kind.
        kind: OpKind,
    },
    /// At which crash point a sampled run loses power.
    CrashPoint,
    /// Asked by the user's own code, through [`SimDisk::choose`](super::SimDisk::choose).
    User,
}

/// A source of choices.
///
/// Everything that a run on a [`SimDisk`](super::SimDisk) leaves open is asked here, in order.
/// The same answers to the same questions give the same run.
///
/// It is asked in the middle of an operation, with the disk locked: a source must not use the disk
/// that asks it, which would wait for itself for ever, nor own a file that is open on it.
pub trait Choose {
    /// Picks one of `alternatives`, which are at least two. An answer beyond the last one is
    /// taken as the last one.
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32;
}

/// Always the first alternative: whatever was written has survived, nothing fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Newest;

impl Choose for Newest {
    fn choose(&mut self, _alternatives: u32, _what: Choice) -> u32 {
        0
    }
}

/// Depth-first search over all vectors of choices.
///
/// The first run answers 0 to every question. [`Exhaustive::advance`] moves to the next vector:
/// the last answer that can still grow grows by one, and what follows it is forgotten.
///
/// ```
/// use btree_store::sim::{Choice, Choose, Exhaustive};
/// let mut search = Exhaustive::new();
/// let mut seen = Vec::new();
/// loop {
///     let first = search.choose(2, Choice::User);
///     let second = if first == 0 { search.choose(3, Choice::User) } else { 0 };
///     seen.push((first, second));
///     if !search.advance() {
///         break;
///     }
/// }
/// assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0)]);
/// assert_eq!(search.executions(), 4);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Exhaustive {
    trail: Vec<Step>,
    at: usize,
    changed: Option<usize>,
    executions: u64,
    /// Whether the current run has asked otherwise than one with these answers before.
    strayed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    chosen: u32,
    question: Question,
}

/// What was asked, and what the run had done until then, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    alternatives: u32,
    what: Choice,
    done: u64,
}

impl Question {
    /// How it differs from the one that was asked before in its place.
    fn unlike(self, before: Question) -> String {
        let Question { alternatives: of, what, .. } = self;
        if (of, what) == (before.alternatives, before.what) {
            return format!("it has done something else than before when it asks for {what:?}");
        }
        let Question { alternatives: of_then, what: then, .. } = before;
        format!("it asks for {what:?}, one of {of}, where it asked for {then:?}, one of {of_then}")
    }
}

impl Exhaustive {
    /// A search that has not run yet.
    pub fn new() -> Exhaustive {
        Exhaustive::default()
    }

    /// Ends a run and moves to the next vector; `false` when all were run.
    pub fn advance(&mut self) -> bool {
        self.executions += 1;
        // What a run did not ask is no part of its vector.
        self.trail.truncate(self.at);
        (self.at, self.strayed) = (0, false);
        while let Some(last) = self.trail.last_mut() {
            if last.chosen + 1 < last.question.alternatives {
                last.chosen += 1;
                self.changed = Some(self.trail.len() - 1);
                return true;
            }
            self.trail.pop();
        }
        self.changed = None;
        false
    }

    /// The runs that have ended.
    pub fn executions(&self) -> u64 {
        self.executions
    }

    /// The answers of the current run so far.
    pub fn choices(&self) -> Vec<u32> {
        self.trail[..self.at].iter().map(|step| step.chosen).collect()
    }

    /// Whether the current run has asked all that a run with these answers asked before, and
    /// nothing else.
    pub fn asked_all(&self) -> bool {
        self.at == self.trail.len() && !self.strayed
    }

    /// Whether no run before the current one began with the same answers as this one so far.
    pub fn is_new(&self) -> bool {
        self.changed.is_none_or(|changed| self.at > changed)
    }

    /// A search that has the run that just ended before it once more.
    pub(super) fn again(&self) -> Exhaustive {
        let trail = self.trail[..self.at].to_vec();
        Exhaustive { trail, ..Exhaustive::default() }
    }

    /// Picks an alternative in a run that has done, until now, what hashes to `done`.
    pub(super) fn choose_after(&mut self, done: u64, alternatives: u32, what: Choice) -> u32 {
        let question = Question { alternatives, what, done };
        if let Some(step) = self.trail.get(self.at) {
            if step.question != question {
                self.strayed = true;
                if std::thread::panicking() {
                    // It was told, and what is closed by the panic may ask on: a second one aborts.
                    return 0;
                }
                panic!("{NOT_REPEATED}: {}", question.unlike(step.question));
            }
        } else {
            self.trail.push(Step { chosen: 0, question });
        }
        self.at += 1;
        self.trail[self.at - 1].chosen
    }
}

/// How every message about a run begins that did not do again what it did before.
pub(super) const NOT_REPEATED: &str = "the run is not deterministic";

impl Choose for Exhaustive {
    /// # Panics
    /// If a run with the same answers has asked something else here: then answers would be given
    /// to other questions than they were meant for, and outcomes left out.
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32 {
        self.choose_after(0, alternatives, what)
    }
}

/// Choices drawn from a seed, always the same for the same seed.
///
/// Half of the answers are 0, the newest: a sampled crash then loses some of what was written,
/// not nearly all of it. Of the questions whether an operation fails a quarter are told that it
/// does, so that [`When::Chosen`](super::When::Chosen) strikes early: to draw from all operations,
/// let [`When::Once`](super::When::Once) strike at what
/// [`SimDisk::choose`](super::SimDisk::choose) says.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded { state: seed }
    }

    /// The next number, each of the 2^64 equally likely (`SplitMix64`).
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let scaled = ((self.next_u64() >> 32) * u64::from(bound)) >> 32;
        u32::try_from(scaled).unwrap_or(0)
    }
}

impl Choose for Seeded {
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32 {
        let even = matches!(what, Choice::User | Choice::CrashPoint);
        if !even && self.next_u64() & 1 == 0 {
            return 0;
        }
        self.below(alternatives)
    }
}

/// Choices read from a fuzzer's bytes; 0 to every question after the last byte.
///
/// Where a sampled run loses its power is not asked of them: each of its crash points is a
/// question, and few inputs have a byte for each. The first two bytes, which are choices besides,
/// are the seed of that.
#[derive(Clone, Debug)]
pub struct Bytes {
    bytes: Vec<u8>,
    at: usize,
    points: Seeded,
}

impl Bytes {
    /// The choices that these bytes stand for: one byte a choice, two where one does not reach.
    pub fn new(bytes: &[u8]) -> Bytes {
        let seed = bytes.iter().take(2).fold(0, |seed, &byte| seed << 8 | u64::from(byte));
        Bytes { bytes: bytes.to_vec(), at: 0, points: Seeded::new(seed) }
    }

    fn next_byte(&mut self) -> u32 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        u32::from(byte)
    }
}

impl Choose for Bytes {
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32 {
        if what == Choice::CrashPoint {
            return self.points.below(alternatives);
        }
        let mut value = self.next_byte();
        if alternatives > 256 {
            value = value << 8 | self.next_byte();
        }
        value % alternatives
    }
}

/// A recorded vector of choices; 0 to every question after its end.
#[derive(Clone, Debug, Default)]
pub struct Script {
    choices: Vec<u32>,
    at: usize,
}

impl Script {
    /// The run that had these answers.
    pub fn new(choices: Vec<u32>) -> Script {
        Script { choices, at: 0 }
    }
}

impl Choose for Script {
    fn choose(&mut self, alternatives: u32, _what: Choice) -> u32 {
        let chosen = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        chosen.min(alternatives - 1)
    }
}
