//! The queue in front of the flush: who waits, who leads (part of commit, layer L5).
//!
//! Owns: [`Queue`], [`Waiter`], and the rule of the hand-over: the one who leads hands the lead to
//! the first who still waits, and nobody else takes it meanwhile.
//! Must not know: what is flushed, or what an outcome means.
//! Keeps: durable-before-ok (whoever joined is told one outcome, by the leader who knows it).
//!
//! Each waiter has a bell of its own: a leader wakes those whom it has something to tell, and the
//! next leader first, so that the next flush begins while the others still wake up.

use crate::error::Fault;
use crate::seeded::seeded;
use crate::sync::{Arc, Condvar, Mutex};
use std::collections::VecDeque;

/// What became of a transaction.
pub(super) type Outcome = std::result::Result<(), Fault>;

/// What a waiter is told.
pub(super) enum Word {
    /// It leads now; its own outcome comes later.
    Lead,
    Outcome(Outcome),
}

/// One who waits.
pub(super) struct Waiter {
    told: Mutex<Option<Word>>,
    bell: Condvar,
}

impl Waiter {
    fn new(told: Option<Word>) -> Arc<Waiter> {
        Arc::new(Waiter { told: Mutex::new(told), bell: Condvar::new() })
    }

    /// Waits for the next word.
    pub(super) fn listen(&self) -> Word {
        let mut told = self.told.lock();
        loop {
            if let Some(word) = told.take() {
                return word;
            }
            self.bell.wait(&mut told);
        }
    }

    pub(super) fn tell(&self, word: Word) {
        *self.told.lock() = Some(word);
        if !seeded!(LeaderWakesNobody) {
            self.bell.notify_one();
        }
    }
}

/// What an entry of the queue waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// The outcome of this batch.
    Batch(u64),
    /// To lead, once, without a batch.
    Lead,
}

/// How often a leader lets others run after the last of them joined, before it waits no longer for
/// the rest. It grows while all come back, and shrinks while some do not, so that those who rarely
/// commit cost little. A model tries every order anyway.
struct Patience(u32);

impl Patience {
    const MIN: u32 = if cfg!(loom) { 0 } else { 32 };
    const MAX: u32 = 16 * Patience::MIN;

    fn grow(&mut self) {
        self.0 = (2 * self.0).min(Patience::MAX);
    }

    fn shrink(&mut self) {
        self.0 = (self.0 / 2).max(Patience::MIN);
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience(4 * Patience::MIN)
    }
}

/// A leader's wait for those who were here before.
#[derive(Default)]
pub(super) struct Gathering {
    /// How many were here when the leader looked last.
    here: usize,
    /// How often it has let others run, in all and since the last one joined.
    yields: u32,
    yields_in_vain: u32,
}

/// Those who wait, first come first.
#[derive(Default)]
pub(super) struct Queue {
    /// Somebody leads, or was told to.
    is_led: bool,
    entries: VecDeque<(Want, Arc<Waiter>)>,
    /// How many were here when the lead passed on, with those who were about to leave: so many
    /// may be here again soon.
    expected: usize,
    patience: Patience,
}

impl Queue {
    /// Waits for the outcome of a batch. Whoever joins while nobody leads is told to lead.
    pub(super) fn join(&mut self, batch: u64) -> Arc<Waiter> {
        let waiter = Waiter::new((!self.is_led).then_some(Word::Lead));
        self.is_led = true;
        self.entries.push_back((Want::Batch(batch), Arc::clone(&waiter)));
        waiter
    }

    /// Waits for the lead itself; nobody has to tell an outcome.
    pub(super) fn join_to_lead(&mut self) -> Arc<Waiter> {
        if self.is_led {
            let waiter = Waiter::new(None);
            self.entries.push_back((Want::Lead, Arc::clone(&waiter)));
            return waiter;
        }
        self.is_led = true;
        Waiter::new(Some(Word::Lead))
    }

    /// Whether somebody leads.
    pub(super) fn is_led(&self) -> bool {
        self.is_led
    }

    /// Takes out all who wait for batches up to this one.
    pub(super) fn take_until(&mut self, batch: u64) -> Vec<(u64, Arc<Waiter>)> {
        let mut taken = Vec::new();
        self.entries.retain(|(want, waiter)| match *want {
            Want::Batch(number) if number <= batch => {
                taken.push((number, Arc::clone(waiter)));
                false
            }
            Want::Batch(_) | Want::Lead => true,
        });
        taken
    }

    /// Whether the leader, who seals the batch otherwise, is to let others run: some who were here
    /// when the lead passed on are not back, and one came back not long ago.
    pub(super) fn is_awaiting(&mut self, gathering: &mut Gathering) -> bool {
        let here = self.entries.len();
        if here >= self.expected {
            if gathering.yields > 0 {
                self.patience.grow();
            }
            return false;
        }
        if here > std::mem::replace(&mut gathering.here, here) {
            gathering.yields_in_vain = 0;
        }
        if gathering.yields_in_vain >= self.patience.0 {
            self.patience.shrink();
            return false;
        }
        gathering.yields += 1;
        gathering.yields_in_vain += 1;
        true
    }

    /// The lead passes to the first in the queue, who is to be told; to nobody if it is empty.
    /// `released` are about to leave, and may come back soon.
    pub(super) fn hand_over(&mut self, released: usize) -> Option<Arc<Waiter>> {
        self.expected = self.entries.len() + released;
        let Some((want, first)) = self.entries.front() else {
            self.is_led = false;
            return None;
        };
        let first = Arc::clone(first);
        if *want == Want::Lead {
            self.entries.pop_front();
        }
        Some(first)
    }
}
