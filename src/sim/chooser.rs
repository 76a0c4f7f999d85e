//! The source of choices that a machine asks, and the record of its answers.
//!
//! Owns: [`Chooser`]. Must not know: what the answers are used for.
//! Keeps: an answer is one of the alternatives.

use super::choose::{Choice, Choose, Exhaustive, Newest};
use crate::seeded::seeded;

/// An answer that was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) what: Choice,
    pub(super) alternatives: u32,
    pub(super) chosen: u32,
    /// The operation that wrote what was picked, of a sector's content.
    pub(super) origin: Option<u64>,
}

enum Source {
    Search(Exhaustive),
    Given(Box<dyn Choose + Send>),
}

/// A source of choices with a record.
pub(super) struct Chooser {
    source: Source,
    answers: Option<Vec<Answer>>,
    /// What the run has done so far, as a hash: a search compares it.
    pub(super) done: u64,
}

impl Chooser {
    pub(super) fn newest() -> Chooser {
        Chooser::given(Box::new(Newest))
    }

    pub(super) fn given(source: Box<dyn Choose + Send>) -> Chooser {
        Chooser { source: Source::Given(source), answers: None, done: 0 }
    }

    pub(super) fn search(search: Exhaustive) -> Chooser {
        Chooser { source: Source::Search(search), answers: None, done: 0 }
    }

    /// Keeps the answers from now on.
    pub(super) fn keep_answers(mut self) -> Chooser {
        self.answers = Some(Vec::new());
        self
    }

    pub(super) fn keeps_answers(&self) -> bool {
        self.answers.is_some()
    }

    /// Keeps with the last answer which operation wrote what it picked.
    pub(super) fn note_origin(&mut self, origin: u64) {
        if let Some(last) = self.answers.as_mut().and_then(|answers| answers.last_mut()) {
            last.origin = Some(origin);
        }
    }

    /// The answers kept.
    pub(super) fn answers(&self) -> &[Answer] {
        self.answers.as_deref().unwrap_or_default()
    }

    /// Takes the answers kept, those that pick a crash point left out: a path names it.
    pub(super) fn take_choices(&mut self) -> Vec<u32> {
        let answers = self.answers.as_mut().map(std::mem::take).unwrap_or_default();
        let kept = answers.iter().filter(|answer| answer.what != Choice::CrashPoint);
        kept.map(|answer| answer.chosen).collect()
    }

    /// Whether no earlier run began with the same answers.
    pub(super) fn is_new(&self) -> bool {
        match &self.source {
            Source::Search(search) => search.is_new(),
            Source::Given(_) => true,
        }
    }

    /// The search, if the source is one.
    pub(super) fn into_search(self) -> Option<Exhaustive> {
        match self.source {
            Source::Search(search) => Some(search),
            Source::Given(_) => None,
        }
    }
}

impl Choose for Chooser {
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32 {
        if seeded!(CrashKeepsAll, !matches!(what, Choice::Fault { .. } | Choice::User)) {
            return 0;
        }
        let answer = match &mut self.source {
            Source::Search(search) => search.choose_after(self.done, alternatives, what),
            Source::Given(source) => source.choose(alternatives, what),
        };
        let chosen = answer.min(alternatives - 1);
        if let Some(answers) = &mut self.answers {
            answers.push(Answer { what, alternatives, chosen, origin: None });
        }
        chosen
    }
}
