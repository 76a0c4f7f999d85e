//! What reads a bucket, as traits (part of txn, layer L6).
//!
//! Owns: [`ReadBucket`] and [`ReadRange`], through which one function reads a bucket of any kind of
//! transaction. Must not know: how any of them reads. Keeps: nothing of its own; they do.

use super::{Range, ReadOnlyTxn, Txn, TxnBucket, TxnRange, ValueReader, ValueRef, none_if_absent};
use crate::error::{Error, Result};
use crate::tree::Lent;
use std::iter::FusedIterator;
use std::ops::{Deref, RangeBounds};

mod sealed {
    /// Nobody else implements the traits, so that they may get further methods.
    pub trait Sealed {}
}
use sealed::Sealed;

/// A bucket that can be read, whatever the transaction it belongs to: the [`ReadOnlyTxn`] of
/// [`BTree::view`](crate::BTree::view) and [`Snapshot::view`](crate::Snapshot::view), the [`Txn`]
/// of [`BTree::exec`](crate::BTree::exec) and [`MultiTxn::exec`](crate::MultiTxn::exec), which
/// shows what it wrote, and the [`TxnBucket`] of an [`OwnedTxn`](crate::OwnedTxn), for which what
/// is read here counts as read.
///
/// A function over `&impl ReadBucket` is written once for all of them. The methods are those of the
/// types, which say more of each; but [`ReadBucket::iter`] is a range for all of them, and
/// [`ReadBucket::get_ref`] copies where nothing can be lent. Only this crate implements the trait.
///
/// ```
/// use btree_store::{Error, Options, ReadBucket, ReadRange, Result};
///
/// /// How many entries there are below `prefix`, and the bytes of their values.
/// fn usage(bucket: &impl ReadBucket, prefix: &str) -> Result<(usize, usize)> {
///     let (mut entries, mut bytes) = (0, 0);
///     let mut range = bucket.prefix(prefix);
///     while let Some((_key, value)) = range.next_entry()? {
///         (entries, bytes) = (entries + 1, bytes + value.len());
///     }
///     Ok((entries, bytes))
/// }
///
/// let db = Options::new().open_in_memory()?;
/// db.exec("mail", |txn| {
///     txn.put("anna/1", "Hello")?;
///     txn.put("otto/1", "Bye")?;
///     assert_eq!(usage(txn, "anna/")?, (1, 5)); // a write transaction, of what it wrote
///     Ok(())
/// })?;
/// assert_eq!(db.view("mail", |txn| usage(txn, "otto/"))?, (1, 3)); // a read transaction
/// assert_eq!(db.snapshot().view("mail", |txn| usage(txn, ""))?, (2, 8)); // a kept state
/// let txn = db.begin();
/// assert_eq!(usage(&txn.bucket("mail")?, "otto/")?, (1, 3)); // an owned transaction
/// # Ok::<(), Error>(())
/// ```
pub trait ReadBucket: Sealed {
    /// What [`ReadBucket::get_ref`] gives: a [`ValueRef`] of a [`ReadOnlyTxn`], and a copy of the
    /// others, whose pages may change.
    type Value: Deref<Target = [u8]> + AsRef<[u8]> + std::fmt::Debug;
    /// Entries in the order of the keys: a [`Range`], or the [`TxnRange`] of a [`TxnBucket`].
    type Range: ReadRange;

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one
    /// beyond the limit; [`Error::Corruption`] and [`Error::IoError`], which stick.
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Vec<u8>>;

    /// The value of a key, or `None` where there is none.
    ///
    /// # Errors
    /// Those of [`ReadBucket::get`], but for `NotFound`.
    #[inline]
    fn find(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        none_if_absent(self.get(key))
    }

    /// The value of a key where it lies, if it can be lent; a copy otherwise.
    ///
    /// # Errors
    /// Those of [`ReadBucket::get`].
    fn get_ref(&self, key: impl AsRef<[u8]>) -> Result<Self::Value>;

    /// The value of a key, to be read piece by piece: of a large one, little is in memory at a
    /// time. The reader may outlive the transaction.
    ///
    /// # Errors
    /// Those of [`ReadBucket::get`]; what is found to be damaged later, the reader says.
    fn get_reader(&self, key: impl AsRef<[u8]>) -> Result<ValueReader>;

    /// Whether the bucket holds a key.
    ///
    /// # Errors
    /// Those of [`ReadBucket::get`], but for `NotFound`.
    fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool>;

    /// The number of entries of the bucket, known without a scan; any number in a write transaction
    /// that failed.
    fn len(&self) -> u64;

    /// Whether the bucket has no entries.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry with the lowest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>>;

    /// The entry with the highest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>>;

    /// All entries, as they are now. Where a type has an `iter` of its own, a call on that type is
    /// that one: a cursor, for [`Txn`] and [`ReadOnlyTxn`].
    fn iter(&self) -> Self::Range {
        self.range::<[u8]>(..)
    }

    /// The entries whose keys lie in a range, as they are now. None, when it ends before it
    /// begins. Bounds need not be keys: they may be empty, and as long as they like.
    fn range<'k, K: AsRef<[u8]> + ?Sized + 'k>(
        &self,
        range: impl RangeBounds<&'k K>,
    ) -> Self::Range;

    /// The entries whose keys begin with `prefix`, as they are now.
    fn prefix(&self, prefix: impl AsRef<[u8]>) -> Self::Range;
}

/// Entries of a bucket in the order of the keys, whatever the transaction: a [`Range`] or a
/// [`TxnRange`], whose methods these are. [`ReadBucket`] has an example.
///
/// As an iterator it copies entries, from either end; [`ReadRange::next_entry`] and
/// [`ReadRange::prev_entry`] lend them instead. Only this crate implements the trait.
pub trait ReadRange:
    DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>)>> + FusedIterator + Sealed
{
    /// The first entry that is left, lent until the range moves again; `None` when none is left.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`]; the range then keeps failing, and so does
    /// its transaction.
    fn next_entry(&mut self) -> Result<Option<Lent<'_>>>;

    /// The last entry that is left, lent until the range moves again; `None` when none is left.
    ///
    /// # Errors
    /// Those of [`ReadRange::next_entry`].
    fn prev_entry(&mut self) -> Result<Option<Lent<'_>>>;

    /// The key of the first entry that is left, lent until the range moves again; the value is not
    /// read, however large it is.
    ///
    /// # Errors
    /// Those of [`ReadRange::next_entry`].
    fn next_key(&mut self) -> Result<Option<&[u8]>>;

    /// The key of the last entry that is left; the value is not read.
    ///
    /// # Errors
    /// Those of [`ReadRange::next_entry`].
    fn prev_key(&mut self) -> Result<Option<&[u8]>>;

    /// The error that ended the range, if one did.
    fn error(&self) -> Option<Error>;
}

/// The traits of a bucket and of its ranges, each method by the type's own of the same name, and
/// `get_ref` by the one that is named.
macro_rules! forward {
    ($bucket:ident, $value:ty, $get_ref:ident, $range:ty) => {
        impl Sealed for $bucket<'_> {}

        impl<'t> ReadBucket for $bucket<'t> {
            type Value = $value;
            type Range = $range;

            #[inline]
            fn get(&self, key: impl AsRef<[u8]>) -> Result<Vec<u8>> {
                $bucket::get(self, key)
            }

            #[inline]
            fn get_ref(&self, key: impl AsRef<[u8]>) -> Result<$value> {
                $bucket::$get_ref(self, key)
            }

            fn get_reader(&self, key: impl AsRef<[u8]>) -> Result<ValueReader> {
                $bucket::get_reader(self, key)
            }

            fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
                $bucket::contains(self, key)
            }

            fn len(&self) -> u64 {
                $bucket::len(self)
            }

            fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
                $bucket::first(self)
            }

            fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
                $bucket::last(self)
            }

            fn range<'k, K: AsRef<[u8]> + ?Sized + 'k>(
                &self,
                range: impl RangeBounds<&'k K>,
            ) -> $range {
                $bucket::range(self, range)
            }

            fn prefix(&self, prefix: impl AsRef<[u8]>) -> $range {
                $bucket::prefix(self, prefix)
            }
        }
    };
    ($range:ty) => {
        impl Sealed for $range {}

        impl ReadRange for $range {
            #[inline]
            fn next_entry(&mut self) -> Result<Option<Lent<'_>>> {
                <$range>::next_entry(self)
            }

            #[inline]
            fn prev_entry(&mut self) -> Result<Option<Lent<'_>>> {
                <$range>::prev_entry(self)
            }

            fn next_key(&mut self) -> Result<Option<&[u8]>> {
                <$range>::next_key(self)
            }

            fn prev_key(&mut self) -> Result<Option<&[u8]>> {
                <$range>::prev_key(self)
            }

            fn error(&self) -> Option<Error> {
                <$range>::error(self)
            }
        }
    };
}

forward!(ReadOnlyTxn, ValueRef<'t>, get_ref, Range);
forward!(Txn, Vec<u8>, get, Range);
forward!(TxnBucket, Vec<u8>, get, TxnRange<'t>);
forward!(Range);
forward!(TxnRange<'_>);
