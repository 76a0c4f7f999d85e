//! Transactions whose closures fail with errors of a program's own (part of db, layer L7).
//!
//! Owns: the calls of [`BTree`] that take them. Must not know: how a transaction is undone.
//! Keeps: nothing of its own; each call is one of the same name without `try`.

use super::BTree;
use crate::error::Error;
use crate::txn::{MultiTxn, OwnedTxn, ReadOnlyTxn, Txn, with_own_error};

impl BTree {
    /// As [`BTree::exec`], with a closure that fails with errors of the program's own. When it
    /// does, nothing has changed, and this returns that very error.
    ///
    /// `?` makes an `E` of an [`Error`] in the closure. Where nothing else says what `E` is, the
    /// closure does: `|txn| -> Result<_, E> { .. }`.
    ///
    /// ```
    /// use btree_store::{Error, Options};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum Refused {
    ///     Overdrawn { left: u8 },
    ///     Store(Error),
    /// }
    ///
    /// impl From<Error> for Refused {
    ///     fn from(error: Error) -> Refused {
    ///         Refused::Store(error)
    ///     }
    /// }
    ///
    /// let db = Options::new().open_in_memory()?;
    /// db.exec("accounts", |txn| txn.put("anna", [5]))?;
    /// let withdraw = |amount: u8| {
    ///     db.try_exec("accounts", |txn| {
    ///         let balance = txn.get("anna")?[0];
    ///         txn.put("log", [amount])?;
    ///         let left = balance.checked_sub(amount).ok_or(Refused::Overdrawn { left: balance })?;
    ///         txn.put("anna", [left])?;
    ///         Ok(left)
    ///     })
    /// };
    /// assert_eq!(withdraw(7), Err(Refused::Overdrawn { left: 5 }));
    /// assert!(!db.view("accounts", |txn| txn.contains("log"))?); // it was taken back
    /// assert_eq!(withdraw(3), Ok(2));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns; those of [`BTree::exec`], as an `E`.
    pub fn try_exec<R, E: From<Error>>(
        &self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&mut Txn<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        with_own_error(|keep| self.exec(bucket, |txn| keep.or_keep(|| closure(txn))))
    }

    /// As [`BTree::view`], with a closure that fails with errors of the program's own.
    ///
    /// ```
    /// # use btree_store::{Error, Options};
    /// # let db = Options::new().open_in_memory()?;
    /// db.exec("settings", |txn| txn.put("port", "8o80"))?;
    /// let port = db.try_view("settings", |txn| -> Result<u16, Box<dyn std::error::Error>> {
    ///     Ok(String::from_utf8(txn.get("port")?)?.parse()?)
    /// });
    /// assert!(port.unwrap_err().is::<std::num::ParseIntError>());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns; those of [`BTree::view`], as an `E`.
    pub fn try_view<R, E: From<Error>>(
        &self,
        bucket: impl AsRef<str>,
        closure: impl FnOnce(&ReadOnlyTxn<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        with_own_error(|keep| self.view(bucket, |txn| keep.or_keep(|| closure(txn))))
    }

    /// As [`BTree::exec_multi`], with a closure that fails with errors of the program's own; its
    /// parts may, by [`MultiTxn::try_exec`].
    ///
    /// ```
    /// # use btree_store::{Error, Options};
    /// # let db = Options::new().open_in_memory()?;
    /// let failed = db.try_exec_multi(|multi| {
    ///     multi.exec("orders", |txn| txn.put("1", "apples"))?;
    ///     Err::<(), Box<dyn std::error::Error>>("sold out".into())
    /// });
    /// assert_eq!(failed.unwrap_err().to_string(), "sold out");
    /// assert!(db.buckets()?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns; those of [`BTree::exec_multi`], as an `E`.
    pub fn try_exec_multi<R, E: From<Error>>(
        &self,
        closure: impl FnOnce(&mut MultiTxn<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        with_own_error(|keep| self.exec_multi(|multi| keep.or_keep(|| closure(multi))))
    }

    /// As [`BTree::transact`], with a closure that fails with errors of the program's own. It runs
    /// again when its commit meets a conflict, and not when it fails, whatever its error was made
    /// of.
    ///
    /// ```
    /// # use btree_store::{Error, Options};
    /// # let db = Options::new().open_in_memory()?;
    /// let mut runs = 0;
    /// let count = db.try_transact(|txn| -> Result<u8, Box<dyn std::error::Error>> {
    ///     runs += 1;
    ///     let mut bucket = txn.bucket("b")?;
    ///     let count = u8::try_from(bucket.len())?;
    ///     if runs == 1 {
    ///         // Somebody is ahead of it.
    ///         let other = db.begin();
    ///         other.bucket("b")?.put("theirs", "")?;
    ///         std::thread::scope(|scope| scope.spawn(|| other.commit()).join().unwrap())?;
    ///     }
    ///     bucket.put("ours", [count])?;
    ///     Ok(count)
    /// });
    /// assert_eq!((count.unwrap(), runs), (1, 2));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What the closure returns; those of [`BTree::transact`], as an `E`.
    pub fn try_transact<R, E: From<Error>>(
        &self,
        mut closure: impl FnMut(&OwnedTxn) -> Result<R, E>,
    ) -> Result<R, E> {
        with_own_error(|keep| self.transact(|txn| keep.or_keep(|| closure(txn))))
    }
}
