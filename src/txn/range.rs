//! Ranges of a bucket (part of txn, layer L6).
//!
//! Owns: [`Range`], an iterator whose two ends move on their own, and what bounds mean.
//! Must not know: how a tree is walked. Keeps: snapshot-stable, errors-stick.

use super::iter::{Hold, owned};
use crate::error::{Error, Result};
use crate::node::Way;
use crate::sync::Arc;
use crate::tree::{Cursor, Lent, Tree};
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};

/// The keys not below the first, and below the second where there is one.
#[derive(Clone, Default)]
pub(super) struct Bounds {
    pub(super) from: Vec<u8>,
    pub(super) to: Option<Vec<u8>>,
}

/// The lowest key above `key`.
pub(super) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

impl Bounds {
    pub(super) fn of<'k, K: AsRef<[u8]> + ?Sized + 'k>(range: &impl RangeBounds<&'k K>) -> Bounds {
        let from = match range.start_bound() {
            Bound::Included(key) => key.as_ref().to_vec(),
            Bound::Excluded(key) => successor(key.as_ref()),
            Bound::Unbounded => Vec::new(),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some(successor(key.as_ref())),
            Bound::Excluded(key) => Some(key.as_ref().to_vec()),
            Bound::Unbounded => None,
        };
        Bounds { from, to }
    }

    /// The keys that begin with `prefix`.
    pub(super) fn of_prefix(prefix: &[u8]) -> Bounds {
        // The lowest key behind them: the prefix with its last byte that can grow made larger.
        let kept = prefix.iter().rposition(|&byte| byte < u8::MAX);
        let to = kept.map(|at| [&prefix[..at], &[prefix[at] + 1]].concat());
        Bounds { from: prefix.to_vec(), to }
    }
}

/// The entries of a bucket whose keys lie in a range, as they were when this was made, in the
/// order of the keys.
///
/// Both ends move on their own, and the iterator ends where they meet. It does not see what its
/// transaction writes afterwards, and may outlive it. An error is yielded once, by the end that
/// meets it; then both ends have ended, for good, and the transaction around it fails:
/// a short scan is never a success. [`Range::next_entry`] and [`Range::prev_entry`] lend the
/// entries instead of copying them.
///
/// ```
/// # let db = btree_store::Options::new().open_in_memory()?;
/// db.exec("b", |txn| (b'a'..=b'f').try_for_each(|key| txn.put([key], "value")))?;
/// db.view("b", |txn| {
///     let keys = |entry: btree_store::Result<(Vec<u8>, _)>| entry.map(|(key, _)| key[0] as char);
///     let some: String = txn.range("b".."e").map(keys).collect::<Result<_, _>>()?;
///     assert_eq!(some, "bcd");
///     let back: String = txn.range("b"..).rev().map(keys).collect::<Result<_, _>>()?;
///     assert_eq!(back, "fedcb");
///     let mut range = txn.range("a"..="c");
///     let ends = [range.next(), range.next_back(), range.next(), range.next()];
///     assert_eq!(ends.into_iter().flatten().count(), 3);
///     Ok(())
/// })?;
/// # Ok::<(), btree_store::Error>(())
/// ```
pub struct Range {
    front: Cursor,
    back: Cursor,
    /// Which ends have moved: only then can they meet.
    has_moved: Moved,
    /// The ends have met, or one met an error.
    is_over: bool,
    hold: Arc<Hold>,
}

#[derive(Clone, Copy, Default)]
struct Moved {
    front: bool,
    back: bool,
}

impl Range {
    /// A range of `tree`, which belongs to the state that is held.
    pub(super) fn new(tree: Tree, hold: Arc<Hold>, bounds: Bounds) -> Range {
        let Bounds { from, to } = bounds;
        Range {
            front: Cursor::bounded(tree.clone(), from.clone(), to.clone()),
            back: Cursor::bounded(tree, from, to),
            has_moved: Moved::default(),
            is_over: false,
            hold,
        }
    }

    /// The range, which fails if the tree could not be made what it should be.
    pub(super) fn after(mut self, made: Result<()>) -> Range {
        if let Err(error) = made {
            self.front.fail(error);
            self.back.fail(error);
        }
        self
    }

    /// The first entry that is left, lent until the range moves again; `None` when none is left.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`]; the range then keeps failing, and so does
    /// its transaction.
    #[inline(always)]
    pub fn next_entry(&mut self) -> Result<Option<Lent<'_>>> {
        self.check()?;
        if self.is_over {
            return Ok(None);
        }
        self.has_moved.front = true;
        let is_left = |key: &[u8]| !self.has_moved.back || key < self.back.key();
        let step = self.front.step_if(|| &self.hold.core.pager, Way::Forward, is_left);
        told(&self.hold, &mut self.is_over, &self.back, step)
    }

    /// The last entry that is left, lent until the range moves again; `None` when none is left.
    ///
    /// # Errors
    /// Those of [`Range::next_entry`].
    #[inline(always)]
    pub fn prev_entry(&mut self) -> Result<Option<Lent<'_>>> {
        self.check()?;
        if self.is_over {
            return Ok(None);
        }
        self.has_moved.back = true;
        let is_left = |key: &[u8]| !self.has_moved.front || key > self.front.key();
        let step = self.back.step_if(|| &self.hold.core.pager, Way::Backward, is_left);
        told(&self.hold, &mut self.is_over, &self.front, step)
    }

    /// The key of the first entry that is left, as [`Range::next_entry`] lends it; the value is not
    /// read, however large it is.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     txn.put("film", vec![7; 1_000_000])?;
    ///     txn.put("text", "short")
    /// })?;
    /// db.view("b", |txn| {
    ///     let mut range = txn.range::<[u8]>(..);
    ///     assert_eq!(range.next_key()?, Some(b"film".as_slice()));
    ///     assert_eq!(range.next_entry()?, Some((b"text".as_slice(), b"short".as_slice())));
    ///     assert_eq!(range.next_key()?, None);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Range::next_entry`].
    pub fn next_key(&mut self) -> Result<Option<&[u8]>> {
        self.check()?;
        if self.is_over {
            return Ok(None);
        }
        self.has_moved.front = true;
        let is_left = |key: &[u8]| !self.has_moved.back || key < self.back.key();
        let step = self.front.key_if(&self.hold.core.pager, Way::Forward, is_left);
        told(&self.hold, &mut self.is_over, &self.back, step)
    }

    /// The key of the last entry that is left; the value is not read.
    ///
    /// # Errors
    /// Those of [`Range::next_entry`].
    pub fn prev_key(&mut self) -> Result<Option<&[u8]>> {
        self.check()?;
        if self.is_over {
            return Ok(None);
        }
        self.has_moved.back = true;
        let is_left = |key: &[u8]| !self.has_moved.front || key > self.front.key();
        let step = self.back.key_if(&self.hold.core.pager, Way::Backward, is_left);
        told(&self.hold, &mut self.is_over, &self.front, step)
    }

    /// The error that ended the range, if one did.
    pub fn error(&self) -> Option<Error> {
        let error = self.front.error().or_else(|| self.back.error());
        error.map(|error| self.hold.cause_of(error))
    }

    #[inline]
    fn check(&self) -> Result<()> {
        if self.is_over { self.error().map_or(Ok(()), Err) } else { Ok(()) }
    }
}

/// What a step of one end came to. Where it finds nothing left, an error of the other end counts:
/// where that was when the storage panicked, nobody knows.
#[inline(always)]
fn told<T>(
    hold: &Hold,
    is_over: &mut bool,
    other: &Cursor,
    step: Result<Option<T>>,
) -> Result<Option<T>> {
    *is_over = !matches!(step, Ok(Some(_)));
    if *is_over && let Some(error) = other.error() {
        return hold.note(Err(error));
    }
    hold.note(step)
}

impl Iterator for Range {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over { None } else { owned(self.next_entry()) }
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_over { None } else { owned(self.prev_entry()) }
    }
}

impl FusedIterator for Range {}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").field("state", &self.hold.state).finish_non_exhaustive()
    }
}
