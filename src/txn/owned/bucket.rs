//! Buckets of owned transactions for users (part of txn, layer L6).
//!
//! Owns: [`TxnBucket`]: the calls, and the limits of what they are given. Must not know: what
//! becomes of what was read. Keeps: errors-stick.

use super::touched::Touched;
use super::{OwnedTxn, TxnRange};
use crate::error::{Error, Result};
use crate::sync::{Arc, Mutex};
use crate::tree::{Condition, NewValue, PageRead};
use crate::txn::range::{Bounds, Range};
use crate::txn::{ValueReader, check_key, check_value, none_if_absent};
use std::ops::RangeBounds;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A bucket in an [`OwnedTxn`]: reads see what the transaction began with and what it wrote.
///
/// The calls are those of a [`Txn`], but for two: commits are durable, without
/// [`Txn::set_durability`]; and what walks entries is a [`TxnRange`], which knows what it has
/// passed over, so that instead of [`Txn::iter_from`] there is `range(key..)`.
///
/// A bucket that is not there has no entries to those that read, and is made by the first one that
/// puts something. There may be several of them at a time, of the same bucket too: they show the
/// same.
///
/// ```
/// # use btree_store::Error;
/// # let db = btree_store::Options::new().open_in_memory()?;
/// let txn = db.begin();
/// let mut stock = txn.bucket("stock")?;
/// assert_eq!(stock.get("apples"), Err(Error::NotFound));
/// stock.put("apples", "3")?;
/// assert_eq!(stock.insert("apples", "4"), Err(Error::Duplicate));
/// assert!(stock.update("apples", "5")?);
/// let mut sales = txn.bucket("sales")?;
/// sales.put("1", "apples")?;
/// assert_eq!((stock.len(), sales.first()?), (1, Some((b"1".to_vec(), b"apples".to_vec()))));
/// txn.commit()?;
/// assert_eq!(db.buckets()?, ["sales", "stock"]);
/// # Ok::<(), Error>(())
/// ```
///
/// [`Txn`]: crate::Txn
/// [`Txn::set_durability`]: crate::Txn::set_durability
/// [`Txn::iter_from`]: crate::Txn::iter_from
pub struct TxnBucket<'t> {
    pub(super) txn: &'t OwnedTxn,
    pub(super) bucket: Arc<Mutex<Touched>>,
}

// As for its transaction.
impl UnwindSafe for TxnBucket<'_> {}
impl RefUnwindSafe for TxnBucket<'_> {}

impl<'t> TxnBucket<'t> {
    pub(super) fn new(txn: &'t OwnedTxn, bucket: Arc<Mutex<Touched>>) -> TxnBucket<'t> {
        TxnBucket { txn, bucket }
    }

    pub(super) fn check(&self, key: &[u8]) -> Result<()> {
        self.txn.sticky.check()?;
        check_key(self.txn.core.pager.page_size(), key)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one
    /// beyond the limit; [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let key = key.as_ref();
        self.check(key)?;
        let found = self.bucket.lock().get(&self.txn.core.pager, key);
        self.txn.sticky.note(found)
    }

    /// The value of a key, or `None` where there is none, which counts as read, too.
    ///
    /// # Errors
    /// Those of [`TxnBucket::get`], but for `NotFound`.
    pub fn find(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        none_if_absent(self.get(key))
    }

    /// The value of a key as it is now, to be read piece by piece; it counts as read as a whole.
    /// The reader may outlive the transaction.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", vec![7; 1_000_000]))?;
    /// let txn = db.begin();
    /// let mut reader = txn.bucket("b")?.get_reader("k")?;
    /// assert_eq!(std::io::copy(&mut reader, &mut std::io::sink()).unwrap(), 1_000_000);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TxnBucket::get`]; what is found to be damaged later, the reader says.
    pub fn get_reader(&self, key: impl AsRef<[u8]>) -> Result<ValueReader> {
        let key = key.as_ref();
        self.check(key)?;
        let found = self.bucket.lock().stored(&self.txn.core.pager, key);
        let stored = self.txn.sticky.note(found)?;
        Ok(ValueReader::of_stored(stored, self.txn.hold()))
    }

    /// Whether the bucket holds a key.
    ///
    /// # Errors
    /// Those of [`TxnBucket::get`], but for `NotFound`.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.check(key)?;
        let found = self.bucket.lock().contains(&self.txn.core.pager, key);
        self.txn.sticky.note(found)
    }

    /// The number of entries of the bucket, known without a scan; any number in a transaction that
    /// failed. Whoever else changes it, is a conflict; what the entries are was not read.
    pub fn len(&self) -> u64 {
        self.bucket.lock().count()
    }

    /// As [`TxnBucket::len`]; fails in a transaction that failed.
    #[cfg(all(any(feature = "ffi", feature = "sim"), not(loom)))]
    pub(crate) fn try_len(&self) -> Result<u64> {
        self.txn.sticky.check()?;
        Ok(self.len())
    }

    /// Whether the bucket has no entries. The same as [`TxnBucket::len`] to conflicts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry with the lowest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.iter().next().transpose()
    }

    /// The entry with the highest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.iter().next_back().transpose()
    }

    /// All entries, as they are now.
    pub fn iter(&self) -> TxnRange<'t> {
        self.bounded(Bounds::default())
    }

    /// The entries whose keys lie in a range, as they are now. None, when it ends before
    /// it begins. Bounds need not be keys: they may be empty, and as long as they like.
    pub fn range<'k, K: AsRef<[u8]> + ?Sized + 'k>(
        &self,
        range: impl RangeBounds<&'k K>,
    ) -> TxnRange<'t> {
        self.bounded(Bounds::of(&range))
    }

    /// The entries whose keys begin with `prefix`, as they are now.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// # db.exec("b", |txn| ["a", "ab", "ac", "b"].iter().try_for_each(|key| txn.put(key, "")))?;
    /// let txn = db.begin();
    /// assert_eq!(txn.bucket("b")?.prefix("a").count(), 3);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> TxnRange<'t> {
        self.bounded(Bounds::of_prefix(prefix.as_ref()))
    }

    fn bounded(&self, bounds: Bounds) -> TxnRange<'t> {
        let mut bucket = self.bucket.lock();
        let sound = self.txn.sticky.check().and_then(|()| bucket.check());
        let (tree, walk) = bucket.walk(bounds.clone());
        drop(bucket);
        TxnRange::new(Range::new(tree, self.txn.hold(), bounds).after(sound), walk)
    }

    /// Inserts an entry, or replaces its value.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for a key or a value beyond its
    /// limit: nothing is changed then. [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_if(key.as_ref(), value.as_ref(), Condition::Always).map(drop)
    }

    fn put_if(&mut self, key: &[u8], value: &[u8], condition: Condition<'_>) -> Result<bool> {
        self.check(key)?;
        check_value(value)?;
        self.put_new((key, NewValue::Bytes(value)), condition)
    }

    /// Puts an entry if a condition is met. The caller checked its limits.
    pub(super) fn put_new(
        &mut self,
        entry: (&[u8], NewValue<'_>),
        condition: Condition<'_>,
    ) -> Result<bool> {
        let done = self.bucket.lock().put_if(&self.txn.core, entry, condition);
        self.txn.sticky.note(done)
    }

    /// Inserts an entry whose key is absent.
    ///
    /// # Errors
    /// [`Error::Duplicate`], with nothing changed, when the key exists; those of
    /// [`TxnBucket::put`].
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        // That a key is there is said first, whatever the value.
        if check_value(value).is_err() && self.contains(key)? {
            return Err(Error::Duplicate);
        }
        if self.put_if(key, value, Condition::Absent)? { Ok(()) } else { Err(Error::Duplicate) }
    }

    /// Replaces the value of a key that exists. `false`, with nothing changed, when it does not.
    ///
    /// # Errors
    /// Those of [`TxnBucket::put`].
    pub fn update(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        self.put_if(key.as_ref(), value.as_ref(), Condition::Present)
    }

    /// Gives a key a new value, or removes it, if it has the expected one; `None` stands for a
    /// key that is absent. `false`, with nothing changed, when it has another.
    ///
    /// # Errors
    /// Those of [`TxnBucket::put`].
    pub fn compare_and_swap(
        &mut self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let key = key.as_ref();
        match (expected, new) {
            (None, None) => self.contains(key).map(|is_there| !is_there),
            (None, Some(new)) => self.put_if(key, new, Condition::Absent),
            (Some(expected), Some(new)) => self.put_if(key, new, Condition::Holds(expected)),
            (Some(expected), None) => self.del_if(key, Condition::Holds(expected)),
        }
    }

    /// Removes an entry that has to be there. Its `NotFound`, passed on by `?` out of the closure
    /// of [`BTree::transact`](crate::BTree::transact), takes the whole transaction back; where an
    /// entry may be missing, [`TxnBucket::remove`] says whether it was there.
    ///
    /// # Errors
    /// [`Error::NotFound`], with nothing changed; those of [`TxnBucket::remove`].
    pub fn del(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        if self.remove(key)? { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Removes an entry, if it is there. Returns whether it was.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one beyond the limit;
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.del_if(key.as_ref(), Condition::Present)
    }

    fn del_if(&mut self, key: &[u8], condition: Condition<'_>) -> Result<bool> {
        self.check(key)?;
        let done = self.bucket.lock().del_if(&self.txn.core, key, condition);
        self.txn.sticky.note(done)
    }

    /// Removes all entries whose keys lie in a range. Returns how many there were; none in a
    /// range that ends before it begins. The range counts as walked to its end. Bounds need not be
    /// keys, as in [`TxnBucket::range`].
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn delete_range<'k, K: AsRef<[u8]> + ?Sized + 'k>(
        &mut self,
        range: impl RangeBounds<&'k K>,
    ) -> Result<u64> {
        self.txn.sticky.check()?;
        // Before the lock: the caller's bounds may ask the transaction.
        let bounds = Bounds::of(&range);
        let done = self.bucket.lock().delete_range(&self.txn.core, bounds);
        self.txn.sticky.note(done)
    }
}

/// All entries of the bucket, copied, as they are now.
impl<'t> IntoIterator for &TxnBucket<'t> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;
    type IntoIter = TxnRange<'t>;

    fn into_iter(self) -> TxnRange<'t> {
        self.iter()
    }
}

impl std::fmt::Debug for TxnBucket<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxnBucket").field("txn", self.txn).finish_non_exhaustive()
    }
}
