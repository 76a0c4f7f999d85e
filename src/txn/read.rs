//! Read transactions (part of txn, layer L6).
//!
//! Owns: [`ReadOnlyTxn`], one bucket of one durable state. Must not know: writers.
//! Keeps: snapshot-stable, errors-stick.

mod index;
mod many;

use super::iter::{Hold, Shared};
use super::range::Bounds;
use super::value::Kept;
use super::{
    Iter, Sticky, ValueReader, ValueRef, check_key, check_name, edge_entry, none_if_absent,
};
use crate::arena::Peeked;
use crate::catalog::Record;
use crate::commit::Core;
use crate::error::{Error, Result, of_closure};
use crate::node::{Begun, Node, Run, Touch, Value};
use crate::page::Page;
use crate::pager::{Pager, Sight};
use crate::readers::Pinned;
use crate::sync::Arc;
use crate::tree::{At, Cursor, Expected, PageRead, Recall, Seen, Tree, find_below, look};
use std::cell::Cell;
use std::ops::{Range, RangeBounds};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A bucket of a durable state, which does not change while the transaction lasts.
pub struct ReadOnlyTxn<'t> {
    core: &'t Arc<Core>,
    record: &'t Record,
    state: &'t Pinned<'t>,
    hold: Shared,
    sticky: Sticky,
    /// Whether a key was looked up before, where there are few hints.
    has_looked: Cell<bool>,
}

// Reading changes nothing that a panic could leave half changed.
impl UnwindSafe for ReadOnlyTxn<'_> {}
impl RefUnwindSafe for ReadOnlyTxn<'_> {}

impl std::fmt::Debug for ReadOnlyTxn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnlyTxn")
            .field("state", &self.state.txn)
            .field("entries", &self.record.entries)
            .finish_non_exhaustive()
    }
}

/// Runs a closure on a bucket of the newest durable state.
pub(crate) fn run_view<R>(
    core: &Arc<Core>,
    bucket: &str,
    closure: impl FnOnce(&ReadOnlyTxn<'_>) -> Result<R>,
) -> Result<R> {
    view_state(core, || core.readers.pin_newest(), bucket, closure)
}

/// Runs a closure on a bucket of the state that `pin` gives.
#[inline]
pub(super) fn view_state<'c, R>(
    core: &'c Arc<Core>,
    pin: impl FnOnce() -> Pinned<'c>,
    bucket: &str,
    closure: impl FnOnce(&ReadOnlyTxn<'_>) -> Result<R>,
) -> Result<R> {
    check_name(core, bucket)?;
    let state = pin();
    let mut place = None;
    let found = state.catalog.find_record(&core.pager, bucket.as_bytes(), &mut place)?;
    let Some(record) = found else { return Err(Error::NotFound) };
    let (hold, sticky, has_looked) = (Shared::new(), Sticky::new(), Cell::new(false));
    let txn = ReadOnlyTxn { core, record, state: &state, hold, sticky, has_looked };
    let value = of_closure(|| closure(&txn))?;
    txn.sticky.check()?;
    Ok(value)
}

/// What a lookup does with a value where it found it.
trait Take<'t> {
    type Out;
    /// How much of the value is wanted at once.
    const TOUCH: Touch;
    /// The value lies in a page that is looked at.
    fn peeked(page: Peeked<'_, 't>, value: &[u8]) -> Self::Out;
    /// The value was read, or is held.
    fn kept(kept: Box<Kept<'t>>) -> Self::Out;
}

/// Copies the value.
struct Copy;

impl<'t> Take<'t> for Copy {
    type Out = Vec<u8>;
    const TOUCH: Touch = Touch::Whole;

    #[inline(always)]
    fn peeked(_: Peeked<'_, '_>, value: &[u8]) -> Vec<u8> {
        // A call that returns a vector returns it in memory.
        let mut copy = Vec::with_capacity(value.len());
        copy.extend_from_slice(value);
        copy
    }

    #[inline(always)]
    fn kept(kept: Box<Kept<'t>>) -> Vec<u8> {
        kept.into_vec()
    }
}

/// Lends the value.
struct Lend;

impl<'t> Take<'t> for Lend {
    type Out = ValueRef<'t>;
    const TOUCH: Touch = Touch::Beginning;

    #[inline(always)]
    fn peeked(page: Peeked<'_, 't>, value: &[u8]) -> ValueRef<'t> {
        ValueRef::in_frame(page.pin(value))
    }

    #[inline(always)]
    fn kept(kept: Box<Kept<'t>>) -> ValueRef<'t> {
        ValueRef::kept(kept)
    }
}

/// Where the bytes of a value are.
enum Place {
    /// At this range of its page.
    Here(Range<usize>),
    Run(Run),
}

impl Place {
    #[inline]
    fn of(bytes: &[u8], value: Value<'_>) -> Place {
        match value {
            Value::Inline(value) => {
                let start = value.as_ptr().addr() - bytes.as_ptr().addr();
                Place::Here(start..start + value.len())
            }
            Value::Overflow(run) => Place::Run(run),
            Value::Unplaced { .. } => unplaced(),
        }
    }
}

fn unplaced() -> ! {
    unreachable!("a sealed page holds no value without pages")
}

impl<'t> ReadOnlyTxn<'t> {
    #[inline]
    fn check(&self, key: &[u8]) -> Result<()> {
        self.sticky.check()?;
        check_key(self.core.pager.page_size(), key)
    }

    /// Where the bucket's tree begins; `None` when it is empty.
    #[inline]
    fn root(&self) -> Option<At> {
        let (child, level) = self.record.root?;
        Some(At { child, expected: Expected { level, txn_max: self.state.txn } })
    }

    fn hold(&self) -> Arc<Hold> {
        self.hold.hold(self.core, self.state.txn, &self.sticky, || None)
    }

    /// The leaf to which a key belongs, its search there, and the leaf behind, if they are at hand.
    #[inline(always)]
    fn leaf_for(&self, key: &[u8]) -> Option<(Page, Begun, Option<At>)> {
        self.look()?.leaf_for(self.root()?, key)
    }

    fn tree(&self) -> Tree {
        self.record.tree(self.state.txn)
    }

    /// Begins to look at pages of the cache.
    #[inline(always)]
    fn look(&self) -> Option<Sight<'t>> {
        self.core.pager.look(self.state.seat()?)
    }

    /// Looks a key up in pages at hand.
    ///
    /// From the second time on nothing stands between two lookups, so that the next one's hint is
    /// loaded during the one before, unless it is far.
    #[inline(always)]
    fn look_up<'l>(
        &self,
        root: At,
        pages: &'l Sight<'t>,
        key: &[u8],
        touch: Touch,
    ) -> Seen<'l, 't> {
        let is_soon = pages.has_near_hints() && self.has_looked.replace(true);
        let recall = if is_soon { Recall::AtOnce } else { Recall::Late };
        look(root, pages, key, touch, recall, self.index(root, pages))
    }

    // Not inlined, the value's place is moved through memory, which costs a stall.
    #[inline(always)]
    fn find_as<T: Take<'t>>(&self, key: &[u8]) -> Result<T::Out> {
        self.check(key)?;
        let Some(root) = self.root() else { return Err(Error::NotFound) };
        let place = match self.look() {
            None => Err(root),
            Some(pages) => match self.look_up(root, &pages, key, T::TOUCH) {
                Seen::There(page, Value::Inline(value)) => return Ok(T::peeked(page, value)),
                Seen::There(_, Value::Overflow(run)) => Ok(run),
                Seen::There(_, Value::Unplaced { .. }) => unplaced(),
                Seen::Absent => return Err(Error::NotFound),
                Seen::Missing(at) => Err(at),
            },
        };
        self.find_elsewhere(place, key).map(T::kept)
    }

    /// The value of a run, or of a key that is looked up where a page is not at hand.
    // It comes as an address: a place in memory that this fills, as the way through the cache does,
    // is copied, and the copy waits for what was just written.
    #[inline(never)]
    fn find_elsewhere(
        &self,
        place: std::result::Result<Run, At>,
        key: &[u8],
    ) -> Result<Box<Kept<'t>>> {
        let kept = match place {
            Ok(run) => match self.run_at_hand(run) {
                Some(kept) => kept,
                None => Kept::Own(self.read(run, Pager::read_run_anew)?),
            },
            Err(at) => {
                let found = self.sticky.note(find_below(&self.core.pager, at, key))?;
                let Some((page, at)) = found else { return Err(Error::NotFound) };
                match Place::of(page.bytes(), Node::new(page.bytes()).value(at)) {
                    Place::Here(range) => Kept::Page(page, range),
                    Place::Run(run) => Kept::Own(self.read(run, PageRead::read_run)?),
                }
            }
        };
        Ok(Box::new(kept))
    }

    /// The value of a run, if it is at hand.
    fn run_at_hand(&self, run: Run) -> Option<Kept<'t>> {
        let pages = self.look()?;
        if let Some(page) = pages.peek_run(run) {
            return Some(Kept::Frame(page.pin(&page.bytes[..run.len as usize])));
        }
        let mut value = Vec::new();
        pages.copy_run(run, &mut value).then_some(Kept::Own(value))
    }

    /// The value of a run, which one of the pager's ways appends.
    #[cold]
    fn read(
        &self,
        run: Run,
        append: fn(&Pager, Run, &mut Vec<u8>) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        self.sticky.note(append(&self.core.pager, run, &mut value))?;
        Ok(value)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one
    /// beyond the limit; [`Error::Corruption`] and [`Error::IoError`], which stick.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        self.find_as::<Copy>(key.as_ref())
    }

    /// The value of a key, or `None` where there is none.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", "v"))?;
    /// db.view("b", |txn| {
    ///     assert_eq!(txn.find("k")?.as_deref(), Some(b"v".as_slice()));
    ///     assert_eq!(txn.find("missing")?, None);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ReadOnlyTxn::get`], but for `NotFound`.
    #[inline]
    pub fn find(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        none_if_absent(self.get(key))
    }

    /// The value of a key where it lies, without a copy. Keeps its page in the cache meanwhile.
    ///
    /// # Errors
    /// Those of [`ReadOnlyTxn::get`].
    #[inline]
    pub fn get_ref(&self, key: impl AsRef<[u8]>) -> Result<ValueRef<'t>> {
        self.find_as::<Lend>(key.as_ref())
    }

    /// The value of a key, to be read piece by piece: of a large one, little is in memory at a
    /// time. The reader may outlive the transaction.
    ///
    /// ```
    /// # use std::io::Read;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", vec![7; 1_000_000]))?;
    /// let mut reader = db.view("b", |txn| txn.get_reader("k"))?;
    /// let mut first = [0; 3];
    /// reader.read_exact(&mut first).unwrap();
    /// assert_eq!(first, [7; 3]);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ReadOnlyTxn::get`]; what is found to be damaged later, the reader says.
    pub fn get_reader(&self, key: impl AsRef<[u8]>) -> Result<ValueReader> {
        let key = key.as_ref();
        self.check(key)?;
        let Some(root) = self.root() else { return Err(Error::NotFound) };
        let found = self.sticky.note(find_below(&self.core.pager, root, key))?;
        let Some((page, at)) = found else { return Err(Error::NotFound) };
        match Place::of(page.bytes(), Node::new(page.bytes()).value(at)) {
            Place::Here(range) => {
                Ok(ValueReader::in_memory(Arc::from(&page.bytes()[range]), self.hold()))
            }
            Place::Run(run) => Ok(ValueReader::of_run(run, self.hold())),
        }
    }

    /// Whether the bucket holds a key.
    ///
    /// # Errors
    /// Those of [`ReadOnlyTxn::get`], but for `NotFound`.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.check(key)?;
        let Some(root) = self.root() else { return Ok(false) };
        let seen =
            self.look().map(|pages| match self.look_up(root, &pages, key, Touch::Beginning) {
                Seen::There(..) => Ok(true),
                Seen::Absent => Ok(false),
                Seen::Missing(at) => Err(at),
            });
        let at = match seen {
            Some(Ok(is_there)) => return Ok(is_there),
            Some(Err(at)) => at,
            None => root,
        };
        let found = find_below(&self.core.pager, at, key);
        self.sticky.note(found).map(|found| found.is_some())
    }

    /// The number of entries of the bucket, known without a scan.
    pub fn len(&self) -> u64 {
        self.record.entries
    }

    /// As [`ReadOnlyTxn::len`]; fails in a transaction that failed.
    #[cfg(all(feature = "ffi", not(loom)))]
    pub(crate) fn try_len(&self) -> Result<u64> {
        self.sticky.check().map(|()| self.record.entries)
    }

    /// Whether the bucket has no entries.
    pub fn is_empty(&self) -> bool {
        self.record.entries == 0
    }

    /// The entry with the lowest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.sticky.check()?;
        self.sticky.note(edge_entry(self.core, &self.tree(), Cursor::next))
    }

    /// The entry with the highest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.sticky.check()?;
        self.sticky.note(edge_entry(self.core, &self.tree(), Cursor::previous))
    }

    /// A cursor over the bucket. Backwards as an [`Iterator`]: `txn.range::<[u8]>(..).rev()`.
    #[allow(
        clippy::iter_not_returning_iterator,
        reason = "programs written for the seed's interface call this name and drive the cursor"
    )]
    #[inline]
    pub fn iter(&self) -> Iter {
        Iter::new(self.tree(), self.hold()).after(self.sticky.check())
    }

    /// The entries whose keys lie in a range. None, when it ends before
    /// it begins.
    ///
    /// All entries are `txn.range::<[u8]>(..)`. Bounds need not be keys: they may be empty, and as
    /// long as they like.
    pub fn range<'k, K: AsRef<[u8]> + ?Sized + 'k>(
        &self,
        range: impl RangeBounds<&'k K>,
    ) -> super::Range {
        self.bounded(Bounds::of(&range))
    }

    /// The entries whose keys begin with `prefix`.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// # db.exec("b", |txn| ["a", "ab", "ac", "b"].iter().try_for_each(|key| txn.put(key, "")))?;
    /// let count = db.view("b", |txn| Ok(txn.prefix("a").count()))?;
    /// assert_eq!(count, 3);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> super::Range {
        self.bounded(Bounds::of_prefix(prefix.as_ref()))
    }

    fn bounded(&self, bounds: Bounds) -> super::Range {
        super::Range::new(self.tree(), self.hold(), bounds).after(self.sticky.check())
    }

    /// A cursor in front of the first entry whose key is not below `key`, which may be empty, or
    /// longer than keys may be.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    #[inline]
    pub fn iter_from(&self, key: impl AsRef<[u8]>) -> Result<Iter> {
        self.sticky.check()?;
        let (key, mut iter) = (key.as_ref(), Iter::new(self.tree(), self.hold()));
        match self.leaf_for(key) {
            Some((leaf, begun, next)) => iter.stand_in(leaf, begun, next, key),
            None => iter.seek(key)?,
        }
        Ok(iter)
    }
}
