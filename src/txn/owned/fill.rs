//! Buckets of owned transactions: values from readers, bulk load (part of txn, layer L6).
//!
//! Owns: [`TxnBucket::put_from`] and [`TxnBucket::bulk_load`]. While a reader is read, or entries
//! are asked for, none of the transaction's locks is held: both may use the transaction.
//! Must not know: how a value is taken out of a reader, or full pages are built.
//! Keeps: commit-atomic (a value, or a load, that fails has changed nothing), first-committer-wins
//! (a load has looked at all keys that could be behind its first one).

use super::TxnBucket;
use super::touched::Unheld;
use crate::error::Result;
use crate::tree::{Condition, Edit, PageRead};
use crate::txn::range::Bounds;
use crate::txn::write::{Loader, PushFn, Taken};
use crate::txn::{check_value, check_value_len};
use std::io::Read;

impl TxnBucket<'_> {
    /// As [`TxnBucket::put`], of a value of `len` bytes that comes from a reader, which must end
    /// there.
    ///
    /// A value that has no room in a leaf goes to the file piece by piece while it is read, to
    /// pages that are free: 256 KiB of it are in memory at a time, and none when this returns. For
    /// that it takes the writer's turn, once, and gives it back before it reads: so it waits for a
    /// write transaction that runs, but nobody waits while the reader takes its time.
    /// Nothing in the file refers to the value before the transaction commits; if that does not
    /// happen, the pages are free again. A file that grew for them stays that long until they are
    /// used, or [`BTree::compact`](crate::BTree::compact) gives its end back to the system; and if
    /// others make it longer meanwhile, it gets room for all `len` bytes, however many come.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// let txn = db.begin();
    /// let mut bucket = txn.bucket("b")?;
    /// bucket.put_from("k", 1_000_000, &mut std::io::repeat(7).take(1_000_000))?;
    /// assert_eq!(bucket.put_from("k", 3, &mut "four".as_bytes()), Err(Error::Invalid));
    /// txn.commit()?;
    /// assert_eq!(db.view("b", |txn| Ok(txn.get_reader("k")?.len()))?, 1_000_000);
    /// # use std::io::Read;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] when the reader ends before `len` bytes or goes on behind them, and
    /// [`Error::IoError`] with what it says when it fails: nothing is changed then, and the
    /// transaction may go on. Those of [`TxnBucket::put`]. For a value that has no room in a leaf
    /// also [`Error::NoSpace`], which sticks; [`Error::Invalid`] inside a write transaction of
    /// the same thread, and on a read-only store; [`Error::Poisoned`] after a failed sync. Where a
    /// commit of others fails later, it may take such a value with it: whoever cannot read it any
    /// more, and the commit, are told [`Error::Conflict`](crate::Error::Conflict).
    ///
    /// [`Error::Invalid`]: crate::Error::Invalid
    /// [`Error::IoError`]: crate::Error::IoError
    /// [`Error::NoSpace`]: crate::Error::NoSpace
    /// [`Error::Poisoned`]: crate::Error::Poisoned
    pub fn put_from(
        &mut self,
        key: impl AsRef<[u8]>,
        len: u64,
        reader: &mut impl Read,
    ) -> Result<()> {
        let key = key.as_ref();
        self.check(key)?;
        let value = (key, check_value_len(len)?);
        let super::OwnedTxn { core, hearing, room, sticky, .. } = self.txn;
        let begin = || room.begin_early(core, hearing, sticky, value.1);
        let taken = Taken::take(core.pager.page_size(), sticky, value, reader, begin)?;
        self.put_new((key, taken.as_new()), Condition::Always).map(drop)
    }

    /// Puts entries with ascending keys into an empty bucket, or behind its last key. Builds full
    /// pages from the bottom up, without a search for each key. Returns how many there were.
    ///
    /// All keys from the first entry's on count as read, since none but the new ones may be there:
    /// whoever else puts one is a conflict. The pages stay in memory until the transaction commits,
    /// and so do large values, and each key once more. To commit, the entries are put into the
    /// newest state one by one.
    ///
    /// ```
    /// # use btree_store::Error;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// let txn = db.begin();
    /// let mut bucket = txn.bucket("b")?;
    /// let entries = (0..10_000_u32).map(|number| (number.to_be_bytes(), "value"));
    /// assert_eq!(bucket.bulk_load(entries)?, 10_000);
    /// assert_eq!(bucket.bulk_load([("a", "1"), ("b", "2"), ("b", "3")]), Err(Error::Duplicate));
    /// assert_eq!(bucket.len(), 10_000);
    /// txn.commit()?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Duplicate`] for a key that equals the one before, [`Error::Invalid`] for one that
    /// is lower, or empty; [`Error::TooLarge`] for a key or a value beyond its limit;
    /// [`Error::Invalid`] if the bucket was changed while the entries came: nothing is changed
    /// then, and nothing was kept of what came before. [`Error::Corruption`] and
    /// [`Error::IoError`], which stick.
    ///
    /// [`Error::Corruption`]: crate::Error::Corruption
    /// [`Error::Duplicate`]: crate::Error::Duplicate
    /// [`Error::Invalid`]: crate::Error::Invalid
    /// [`Error::IoError`]: crate::Error::IoError
    /// [`Error::TooLarge`]: crate::Error::TooLarge
    pub fn bulk_load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.load(|push| {
            let mut entries = entries.into_iter();
            entries.try_for_each(|(key, value)| push(key.as_ref(), value.as_ref()))
        })
    }

    /// As [`TxnBucket::bulk_load`], of the entries that a closure gives to the function it gets.
    ///
    /// # Errors
    /// What the closure returns: nothing is changed then; those of [`TxnBucket::bulk_load`].
    pub(crate) fn load(
        &mut self,
        entries: impl FnOnce(&mut PushFn<'_>) -> Result<()>,
    ) -> Result<u64> {
        self.txn.sticky.check()?;
        let begun = self.bucket.lock().begin_load();
        let mut load = self.txn.sticky.note(begun)?;
        let mut edit = Edit {
            pages: &Unheld(&self.txn.core.pager),
            // Nothing is freed before the entries reach the store.
            freed: &mut Vec::new(),
            next_handle: &mut load.next_handle,
            entered: &mut 0,
            base: load.base,
        };
        let keys = &mut load.keys;
        load.tree = Loader::fill(load.tree, &mut edit, &self.txn.sticky, |loader| {
            entries(&mut |key: &[u8], value: &[u8]| {
                self.check(key)?;
                check_value(value)?;
                if keys.is_empty() {
                    // Before it is told how the first key stands to the last one.
                    let bounds = Bounds { from: key.to_vec(), to: None };
                    self.bucket.lock().pass_over(bounds);
                }
                loader.push(key, value)?;
                keys.push(key.to_vec());
                Ok(())
            })
        })?;
        let count = load.keys.len() as u64;
        if count > 0 {
            self.bucket.lock().end_load(load)?;
        }
        Ok(count)
    }
}
