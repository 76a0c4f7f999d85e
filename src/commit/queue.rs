//! The queue in front of the flush: who waits, who leads (part of commit, layer L5).
//!
//! Owns: [`Queue`], [`Round`], and the rule of the hand-over: the one who leads hands the lead to
//! one of the first who still wait, and nobody else takes it meanwhile.
//! Must not know: what is flushed, or what an outcome means.
//! Keeps: durable-before-ok (whoever joined is told one outcome, by the leader who knows it).
//!
//! Those who wait for one batch share a bell, since they are told the same, with one call of the
//! system for all. The next leader is woken first, so that the next flush begins while the others
//! still wake up.

use crate::error::Fault;
use crate::seeded::seeded;
use crate::sync::{Arc, Bell, Stopwatch};
use std::collections::VecDeque;

/// What became of a transaction.
pub(super) type Outcome = std::result::Result<(), Fault>;

/// What a waiter is told.
pub(super) enum Word {
    /// It leads now; its own outcome comes later.
    Lead,
    Outcome(Outcome),
}

/// Those who wait for one batch, or one who waits for the lead alone.
pub(super) struct Round(Bell<Told>);

/// What a round was told.
#[derive(Default)]
struct Told {
    /// The lead is there for the first who takes it.
    lead: bool,
    outcome: Option<Outcome>,
}

impl Round {
    fn new() -> Arc<Round> {
        Arc::new(Round(Bell::new(Told::default())))
    }

    /// Waits for the next word.
    pub(super) fn listen(&self) -> Word {
        self.0.wait(|told| {
            if std::mem::take(&mut told.lead) {
                return Some(Word::Lead);
            }
            told.outcome.clone().map(Word::Outcome)
        })
    }

    /// One of those who wait is to lead.
    pub(super) fn offer_lead(&self) {
        let offer = |told: &mut Told| told.lead = true;
        if seeded!(LeaderWakesNobody) {
            return self.0.change(offer);
        }
        self.0.ring_one(offer);
    }

    /// All who wait are told what became of their batch.
    pub(super) fn tell(&self, outcome: Outcome) {
        let tell = |told: &mut Told| told.outcome = Some(outcome);
        if seeded!(LeaderWakesNobody) {
            return self.0.change(tell);
        }
        self.0.ring_all(tell);
    }
}

/// Who waits, and whether it begins by leading.
pub(super) struct Waiter {
    round: Arc<Round>,
    /// Nobody leads, so that it does.
    leads: bool,
}

impl Waiter {
    /// The word that whoever joins finds, or waits for.
    pub(super) fn listen(&mut self) -> Word {
        if std::mem::take(&mut self.leads) { Word::Lead } else { self.round.listen() }
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

/// A round that waits, first come first.
struct Entry {
    want: Want,
    round: Arc<Round>,
    waiters: usize,
}

/// A round that is about to be told.
pub(super) struct Released {
    pub(super) batch: u64,
    pub(super) round: Arc<Round>,
    pub(super) waiters: usize,
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

/// Whether it is worth while to let others run. Where other programs want the processor, one turn
/// may cost a slice of milliseconds, and where a sync costs little, flushing for each is cheaper.
#[derive(Default)]
struct Worth {
    /// What a flush takes, on average; none was made where it is 0.
    flush_nanos: u64,
    /// Flushes for which nobody is waited.
    rests: u64,
}

impl Worth {
    /// A wait may take so many flushes: on a slow disk on a machine with other work, who wakes up
    /// for a flush of its own waits for the processor as well.
    const FLUSHES: u64 = 4;
    /// The rests after a wait that was too long take so many times what it took.
    const RESTS: u64 = 16;
    const RESTS_MAX: u64 = 1 << 16;

    fn note_flush(&mut self, nanos: u64) {
        let old = if self.flush_nanos == 0 { nanos } else { self.flush_nanos };
        self.flush_nanos = (old - old / 8).saturating_add(nanos / 8).max(1);
    }

    /// Whether a wait took longer than it can be worth.
    fn is_exceeded(&mut self, waited_nanos: u64) -> bool {
        let longest = self.flush_nanos.saturating_mul(Worth::FLUSHES);
        let is_exceeded = self.flush_nanos > 0 && waited_nanos > longest;
        if is_exceeded {
            let rests = waited_nanos.saturating_mul(Worth::RESTS) / self.flush_nanos;
            self.rests = rests.min(Worth::RESTS_MAX);
        }
        is_exceeded
    }

    fn is_resting(&mut self) -> bool {
        let is_resting = self.rests > 0;
        self.rests -= u64::from(is_resting);
        is_resting
    }
}

/// A leader's wait for those who were here before.
#[derive(Default)]
pub(super) struct Gathering {
    /// Since it let others run for the first time.
    watch: Option<Stopwatch>,
    /// How many were here when the leader looked last.
    here: usize,
    /// How often it has let others run since the last one joined.
    yields_in_vain: u32,
}

/// Those who wait, first come first.
#[derive(Default)]
pub(super) struct Queue {
    /// Somebody leads, or was told to.
    is_led: bool,
    entries: VecDeque<Entry>,
    /// How many wait in all of them.
    here: usize,
    /// How many were here when the lead passed on, with those who were about to leave: so many
    /// may be here again soon.
    expected: usize,
    patience: Patience,
    worth: Worth,
}

impl Queue {
    /// Waits for the outcome of a batch. Whoever joins while nobody leads is told to lead.
    pub(super) fn join(&mut self, batch: u64) -> Waiter {
        self.here += 1;
        let leads = !std::mem::replace(&mut self.is_led, true);
        let want = Want::Batch(batch);
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.want == want) {
            entry.waiters += 1;
            return Waiter { round: Arc::clone(&entry.round), leads };
        }
        Waiter { round: self.push(want), leads }
    }

    /// Waits for the lead itself; nobody has to tell an outcome.
    pub(super) fn join_to_lead(&mut self) -> Waiter {
        if !std::mem::replace(&mut self.is_led, true) {
            return Waiter { round: Round::new(), leads: true };
        }
        self.here += 1;
        Waiter { round: self.push(Want::Lead), leads: false }
    }

    fn push(&mut self, want: Want) -> Arc<Round> {
        let round = Round::new();
        self.entries.push_back(Entry { want, round: Arc::clone(&round), waiters: 1 });
        round
    }

    /// Whether somebody leads.
    pub(super) fn is_led(&self) -> bool {
        self.is_led
    }

    /// Takes out all who wait for batches up to this one.
    pub(super) fn take_until(&mut self, batch: u64) -> Vec<Released> {
        let mut released = Vec::new();
        self.entries.retain(|entry| match entry.want {
            Want::Batch(number) if number <= batch => {
                let (round, waiters) = (Arc::clone(&entry.round), entry.waiters);
                released.push(Released { batch: number, round, waiters });
                false
            }
            Want::Batch(_) | Want::Lead => true,
        });
        self.here -= released.iter().map(|round| round.waiters).sum::<usize>();
        released
    }

    /// Whether the leader, who seals the batch otherwise, is to let others run: some who were here
    /// when the lead passed on are not back, and one came back not long ago.
    pub(super) fn is_awaiting(&mut self, gathering: &mut Gathering) -> bool {
        let here = self.here;
        if gathering.watch.is_some_and(|watch| self.worth.is_exceeded(watch.nanos())) {
            return false;
        }
        if here >= self.expected {
            if gathering.watch.is_some() {
                self.patience.grow();
            }
            return false;
        }
        if gathering.watch.is_none() && self.worth.is_resting() {
            return false;
        }
        if here > std::mem::replace(&mut gathering.here, here) {
            gathering.yields_in_vain = 0;
        }
        if gathering.yields_in_vain >= self.patience.0 {
            self.patience.shrink();
            return false;
        }
        gathering.watch.get_or_insert_with(Stopwatch::start);
        gathering.yields_in_vain += 1;
        true
    }

    /// A flush took so long.
    pub(super) fn note_flush(&mut self, nanos: u64) {
        self.worth.note_flush(nanos);
    }

    /// The lead passes to one of the first in the queue, to whom it is to be offered; to nobody if
    /// it is empty. `released` are about to leave, and may come back soon.
    pub(super) fn hand_over(&mut self, released: usize) -> Option<Arc<Round>> {
        self.expected = self.here + released;
        let Some(first) = self.entries.front() else {
            self.is_led = false;
            return None;
        };
        let round = Arc::clone(&first.round);
        if first.want == Want::Lead {
            self.entries.pop_front();
            self.here -= 1;
        }
        Some(round)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
