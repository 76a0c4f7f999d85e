//! How far a range was walked (part of txn, layer L6).
//!
//! Owns: [`Walk`], the keys of which a range of an owned transaction has said whether they are
//! there. Must not know: trees.
//! Keeps: nothing of its own.

use crate::node::Way;
use crate::txn::range::{Bounds, successor};

/// What a range has told its caller. Both ends move on their own.
#[derive(Default)]
pub(super) struct Walk {
    bounds: Bounds,
    /// The key that each end gave last.
    front: Option<Vec<u8>>,
    back: Option<Vec<u8>>,
    /// Nothing is left between the two.
    is_over: bool,
}

impl Walk {
    /// No step so far.
    pub(super) fn new(bounds: Bounds) -> Walk {
        Walk { bounds, ..Walk::default() }
    }

    /// All keys within the bounds.
    pub(super) fn whole(bounds: Bounds) -> Walk {
        Walk { bounds, is_over: true, ..Walk::default() }
    }

    /// The keys within bounds that lie beside these as well.
    #[cfg(all(feature = "ffi", not(loom)))]
    pub(super) fn widen(&mut self, told: Bounds) {
        let Bounds { from, to } = &mut self.bounds;
        if told.from < *from {
            *from = told.from;
        }
        if to.as_ref().is_some_and(|end| told.to.as_ref().is_none_or(|to| to > end)) {
            *to = told.to;
        }
    }

    /// One end gave a key, or found none left.
    pub(super) fn step(&mut self, way: Way, key: Option<&[u8]>) {
        let Some(key) = key else {
            self.is_over = true;
            return;
        };
        let last = match way {
            Way::Forward => &mut self.front,
            Way::Backward => &mut self.back,
        };
        let last = last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
    }

    /// The keys of which something is known: all, or those in front of what is left and behind it.
    pub(super) fn told(&self) -> Vec<Bounds> {
        let Bounds { from, to } = &self.bounds;
        if self.is_over {
            return vec![self.bounds.clone()];
        }
        let front = self.front.as_deref();
        let front = front.map(|key| Bounds { from: from.clone(), to: Some(successor(key)) });
        let back = self.back.clone().map(|key| Bounds { from: key, to: to.clone() });
        [front, back].into_iter().flatten().collect()
    }
}
