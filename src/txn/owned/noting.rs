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
    /// What was stepped over since the last seek: it lies side by side, however often the way
    /// changed.
    walk: Option<Arc<Mutex<Walk>>>,
    /// The lowest key behind the position; at first, and at the end, there is none.
    place: Option<Vec<u8>>,
}

impl TxnBucket<'_> {
    /// A cursor over the bucket as it is now. Before the first entry for steps forward, behind the
    /// last one for steps backward.
    pub(crate) fn cursor(&self) -> NotingIter {
        let bucket = self.bucket.lock();
        let sound = self.txn.sticky.check().and_then(|()| bucket.check());
        let iter = Iter::new(bucket.tree(), self.txn.hold()).after(sound);
        drop(bucket);
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

    /// Steps over an entry and puts its key into a buffer, and its value if there is one for it;
    /// it counts as read in any case. `false` at the end.
    ///
    /// # Errors
    /// Those of [`Iter::next_entry`].
    pub(crate) fn step(
        &mut self,
        way: Way,
        key: &mut Vec<u8>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<bool> {
        let is_there = self.iter.step(way, key, value)?;
        let place = match way {
            Way::Forward => is_there.then(|| successor(key)),
            Way::Backward => Some(if is_there { key.clone() } else { Vec::new() }),
        };
        let before = std::mem::replace(&mut self.place, place.clone());
        match way {
            // At the end already.
            Way::Forward if before.is_none() && self.walk.is_some() => {}
            Way::Forward => self.pass_over(before.unwrap_or_default(), place),
            Way::Backward => self.pass_over(place.unwrap_or_default(), before),
        }
        Ok(is_there)
    }

    /// Writes down that keys from one on, up to another if there is one, were told.
    fn pass_over(&mut self, from: Vec<u8>, to: Option<Vec<u8>>) {
        let told = Bounds { from, to };
        match &self.walk {
            Some(walk) => walk.lock().widen(told),
            None => self.walk = Some(self.bucket.lock().pass_over(told)),
        }
    }
}

impl std::fmt::Debug for NotingIter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotingIter").field("iter", &self.iter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    //! Attacks: first-committer-wins.

    use super::*;

    #[test]
    fn a_cursor_that_turns_round_and_round_takes_no_memory() {
        let db = crate::Options::new().open_in_memory().unwrap();
        db.exec("b", |txn| txn.put("k", "v")).unwrap();
        let txn = db.begin();
        let bucket = txn.bucket("b").unwrap();
        let (mut cursor, mut key, mut value) = (bucket.cursor(), Vec::new(), Vec::new());
        for _ in 0..100 {
            assert!(cursor.step(Way::Forward, &mut key, Some(&mut value)).unwrap());
            assert!(cursor.step(Way::Backward, &mut key, None).unwrap());
        }
        assert_eq!(bucket.bucket.lock().walks(), 1);
    }
}
