//! A cursor over a plain map (part of the oracle, layer L8).
//!
//! Owns: [`Cursor`]. Must not know: transactions. Keeps: it stands between two entries of the
//! bucket as it was when the cursor was made.

use super::contents::Bucket;
use super::op::{CursorMove, Data, Way};
use std::ops::Bound;
use std::sync::Arc;

/// A position between two entries.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    bucket: Arc<Bucket>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// Not moved yet: before the first entry upwards, behind the last one downwards.
    Fresh,
    Before(Data),
    Behind(Data),
}

impl Cursor {
    pub(super) fn new(bucket: Arc<Bucket>, from: Option<Data>) -> Cursor {
        Cursor { bucket, place: from.map_or(Place::Fresh, Place::Before) }
    }

    /// Moves as asked; returns the entries stepped over.
    pub(super) fn step(&mut self, step: &CursorMove) -> Vec<(Data, Data)> {
        if let Some(key) = &step.seek {
            self.place = Place::Before(key.clone());
        }
        let mut entries = Vec::new();
        for _ in 0..step.most {
            let found = match step.way {
                Way::Up => self.up(),
                Way::Down => self.down(),
            };
            let Some(entry) = found else { break };
            self.place = match step.way {
                Way::Up => Place::Behind(entry.0.clone()),
                Way::Down => Place::Before(entry.0.clone()),
            };
            entries.push(entry);
        }
        entries
    }

    fn up(&self) -> Option<(Data, Data)> {
        let start = match &self.place {
            Place::Fresh => Bound::Unbounded,
            Place::Before(key) => Bound::Included(key.clone()),
            Place::Behind(key) => Bound::Excluded(key.clone()),
        };
        let entry = self.bucket.range((start, Bound::Unbounded)).next();
        entry.map(|(key, value)| (key.clone(), value.clone()))
    }

    fn down(&self) -> Option<(Data, Data)> {
        let end = match &self.place {
            Place::Fresh => Bound::Unbounded,
            Place::Before(key) => Bound::Excluded(key.clone()),
            Place::Behind(key) => Bound::Included(key.clone()),
        };
        let entry = self.bucket.range((Bound::Unbounded, end)).next_back();
        entry.map(|(key, value)| (key.clone(), value.clone()))
    }
}
