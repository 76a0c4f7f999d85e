//! Cursors of a bucket in an owned transaction (part of txn, layer L6).
//!
//! Owns: [`NotingIter`], which moves one position both ways, as C programs do. Must not know: what
//! becomes of what it has seen.
//! Keeps: first-committer-wins (what it steps over is written down before it is told),
//! errors-stick, snapshot-stable.

use super::TxnBucket;
use super::touched::Touched;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::node::Way;
use crate::sync::{Arc, Mutex};
use crate::txn::Iter;
use crate::txn::range::{Bounds, successor};

/// A cursor over a bucket as it was when this was made. What it steps over counts as read, together
/// with the absence of all other keys between. It is not to be moved when its transaction has
/// ended.
pub(crate) struct NotingIter {
    iter: Iter,
    bucket: Arc<Mutex<Touched>>,
    /// Steps of one way, one behind the other.
    walk: Option<(Way, Arc<Mutex<Walk>>)>,
    /// The lowest key behind the position; at first, and at the end, there is none.
    place: Option<Vec<u8>>,
}

impl TxnBucket<'_> {
    /// A cursor over the bucket as it is now. Before the first entry for steps forward, behind the
    /// last one for steps backward.
    pub(crate) fn cursor(&self) -> NotingIter {
        let sound = self.txn.sticky.check();
        let iter = Iter::new(self.bucket.lock().tree(), self.txn.hold()).after(sound);
        NotingIter { iter, bucket: Arc::clone(&self.bucket), walk: None, place: None }
    }
}

impl NotingIter {
    /// The error that ended it, if one did.
    pub(crate) fn error(&self) -> Option<Error> {
        self.iter.error()
    }

    /// As [`Iter::seek`].
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        (self.walk, self.place) = (None, Some(key.to_vec()));
        self.iter.seek(key)
    }

    /// Steps over an entry and puts it into the two buffers. `false` at the end.
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    pub(crate) fn step(
        &mut self,
        way: Way,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        let is_there = match way {
            Way::Forward => self.iter.next_ref(key, value),
            Way::Backward => self.iter.prev_ref(key, value),
        };
        self.iter.error().map_or(Ok(()), Err)?;
        let same = self.walk.take().filter(|(before, _)| *before == way);
        let walk = same.map_or_else(|| self.begin_walk(way), |(_, walk)| walk);
        walk.lock().step(way, is_there.then_some(key));
        self.walk = Some((way, walk));
        self.place = match way {
            Way::Forward => is_there.then(|| successor(key)),
            Way::Backward => Some(if is_there { key.clone() } else { Vec::new() }),
        };
        Ok(is_there)
    }

    /// Steps from the position to one end.
    fn begin_walk(&self, way: Way) -> Arc<Mutex<Walk>> {
        let bounds = match way {
            Way::Forward => Bounds { from: self.place.clone().unwrap_or_default(), to: None },
            Way::Backward => Bounds { from: Vec::new(), to: self.place.clone() },
        };
        self.bucket.lock().walk(bounds).1
    }
}

impl std::fmt::Debug for NotingIter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotingIter").field("iter", &self.iter).finish_non_exhaustive()
    }
}
