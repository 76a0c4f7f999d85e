//! Read transactions (part of txn, layer L6).
//!
//! Owns: [`ReadOnlyTxn`], one bucket of one durable state. Must not know: writers.
//! Keeps: snapshot-stable, errors-stick.

use super::{Iter, Sticky, check_key, check_name, edge_entry};
use crate::commit::Core;
use crate::error::{Error, Result};
use crate::page::TxnId;
use crate::readers::State;
use crate::sync::Arc;
use crate::tree::{Cursor, Tree};

/// A bucket of the newest durable state, which does not change while the transaction lasts.
#[derive(Debug)]
pub struct ReadOnlyTxn<'t> {
    core: &'t Arc<Core>,
    tree: Tree,
    state: TxnId,
    sticky: Sticky,
}

/// A pin on a state, given back when it is dropped.
struct Pin<'t> {
    core: &'t Core,
    state: Arc<State>,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.core.readers.unpin(self.state.txn);
    }
}

/// Runs a closure on a bucket of the newest durable state.
pub(crate) fn run_view<R>(
    core: &Arc<Core>,
    bucket: &str,
    closure: impl FnOnce(&ReadOnlyTxn<'_>) -> Result<R>,
) -> Result<R> {
    check_name(core, bucket)?;
    let pin = Pin { core, state: core.readers.pin_newest() };
    let found = pin.state.catalog.find(&core.pager, bucket.as_bytes(), pin.state.txn)?;
    let Some(tree) = found else { return Err(Error::NotFound) };
    let txn = ReadOnlyTxn { core, tree, state: pin.state.txn, sticky: Sticky::new() };
    let value = closure(&txn)?;
    txn.sticky.check()?;
    Ok(value)
}

impl ReadOnlyTxn<'_> {
    fn page_size(&self) -> usize {
        use crate::tree::PageRead;
        self.core.pager.page_size()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for one
    /// beyond the limit; [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let key = key.as_ref();
        self.sticky.check()?;
        check_key(self.page_size(), key)?;
        self.sticky.note(self.tree.get(&self.core.pager, key))
    }

    /// Whether the bucket holds a key.
    ///
    /// # Errors
    /// Those of [`ReadOnlyTxn::get`], but for `NotFound`.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.sticky.check()?;
        check_key(self.page_size(), key)?;
        self.sticky.note(self.tree.contains(&self.core.pager, key))
    }

    /// The number of entries of the bucket, known without a scan.
    pub fn len(&self) -> u64 {
        self.tree.entries
    }

    /// Whether the bucket has no entries.
    pub fn is_empty(&self) -> bool {
        self.tree.entries == 0
    }

    /// The entry with the lowest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.sticky.check()?;
        self.sticky.note(edge_entry(self.core, &self.tree, Cursor::next))
    }

    /// The entry with the highest key, or `None` in an empty bucket.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.sticky.check()?;
        self.sticky.note(edge_entry(self.core, &self.tree, Cursor::previous))
    }

    /// A cursor over the bucket.
    #[allow(
        clippy::iter_not_returning_iterator,
        reason = "programs written for the seed's interface call this name and drive the cursor"
    )]
    pub fn iter(&self) -> Iter {
        Iter::new(self.core, self.tree.clone(), self.state, self.sticky.clone())
    }

    /// A cursor in front of the first entry whose key is not below `key`.
    ///
    /// # Errors
    /// [`Error::Corruption`] and [`Error::IoError`], which stick.
    pub fn iter_from(&self, key: impl AsRef<[u8]>) -> Result<Iter> {
        let mut iter = self.iter();
        iter.seek(key)?;
        Ok(iter)
    }
}
