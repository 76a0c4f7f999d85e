//! Who leads: what holds of the leader while it works (part of commit, layer L5).
//!
//! Owns: [`Leader`], which gives the lead up, [`Held`], its hold on the writer, and [`Underway`], a
//! flush that may not return.
//! Must not know: what a leader does.
//! Keeps: failed-sync-poisons, commit-atomic: also where the leader panics, nothing begins on what
//! it has left half done, and nobody waits for it.

use super::queue::{Outcome as Told, Released};
use super::seal::Job;
use super::writing::AsIfWriting;
use super::{Core, Writer};
use crate::error::{Error, Fault};
use crate::sync::{MutexGuard, Ordering};
use std::ops::{Deref, DerefMut};

/// Gives the lead up, also when the leader panics at work; then nobody knows what is durable.
pub(crate) struct Leader<'a> {
    core: &'a Core,
    /// Whom to tell what, once the lead is given up.
    pub(super) answers: Vec<(Released, Told)>,
    /// It may be writing. That its thread panics does not tell: a destructor may commit while its
    /// thread unwinds.
    is_at_work: bool,
    /// A storage that calls the store is refused what would wait for this thread.
    _turn: AsIfWriting,
}

impl<'a> Leader<'a> {
    pub(super) fn of(core: &'a Core) -> Leader<'a> {
        Leader { core, answers: Vec::new(), is_at_work: false, _turn: core.as_if_writing() }
    }

    /// Does what may write. If it does not return, nobody knows what is durable.
    pub(super) fn at_work<R>(&mut self, work: impl FnOnce(&mut Leader<'a>) -> R) -> R {
        self.is_at_work = true;
        let done = work(self);
        self.is_at_work = false;
        done
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut flush = self.core.flush.lock();
        if self.is_at_work {
            let fault = panicked();
            let all = flush.queue.take_until(u64::MAX);
            self.answers.extend(all.into_iter().map(|round| (round, Err(fault.clone()))));
            let first = flush.durable + 1;
            flush.losses.note(first, &fault);
            flush.poisoned = Some(fault);
            self.core.is_poisoned.store(true, Ordering::Release);
            // What was put early may be gone, whatever the leader was at.
            self.core.failures.fetch_add(1, Ordering::Release);
        }
        let released = self.answers.iter().map(|(round, _)| round.waiters).sum();
        let next = flush.queue.hand_over(released);
        drop(flush);
        if let Some(next) = next {
            next.offer_lead();
        }
        for (released, outcome) in self.answers.drain(..) {
            released.round.tell(outcome);
        }
    }
}

/// What the leader met that does not return.
fn panicked() -> Fault {
    Fault::keep(Error::internal("the leader of a commit panicked"))
}

/// A flush. If it does not return, it may have taken what others read or put early, as one that
/// fails.
pub(super) struct Underway<'a> {
    core: &'a Core,
    job: &'a Job,
    is_done: bool,
}

impl<'a> Underway<'a> {
    pub(super) fn of(core: &'a Core, job: &'a Job) -> Underway<'a> {
        Underway { core, job, is_done: false }
    }

    /// The flush has returned.
    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.core.lose(self.job, &panicked());
        }
    }
}

/// The leader's hold on the writer. If the leader panics, whoever is next finds the store poisoned
/// before it finds what was half done.
pub(super) struct Held<'a> {
    core: &'a Core,
    is_done: bool,
    writer: MutexGuard<'a, Writer>,
}

impl<'a> Held<'a> {
    pub(super) fn of(core: &'a Core) -> Held<'a> {
        Held { core, is_done: false, writer: core.writer.lock() }
    }

    /// Gives the writer up.
    pub(super) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.writer.batch.lose(&panicked());
            self.core.is_poisoned.store(true, Ordering::Release);
        }
    }
}

impl Deref for Held<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
