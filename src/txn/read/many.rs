//! Lookups of several keys at once (part of txn, layer L6).
//!
//! Owns: [`ReadOnlyTxn::get_many`]. Must not know: how the descents overlap.
//! Keeps: errors-stick.

use super::{Lend, ReadOnlyTxn, Take};
use crate::error::Result;
use crate::node::Value;
use crate::tree::{GROUP, Seen, look_all};
use crate::txn::{ValueRef, none_if_absent};

impl<'t> ReadOnlyTxn<'t> {
    /// The values of several keys, `None` for those that are not there, in the order of the
    /// keys. Faster than one call for each: while one key waits for memory, the others go on.
    ///
    /// ```
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| {
    ///     txn.put("a", "1")?;
    ///     txn.put("c", "3")
    /// })?;
    /// db.view("b", |txn| {
    ///     let values = txn.get_many(&["a", "b", "c"])?;
    ///     assert_eq!(values[0].as_deref(), Some(b"1".as_slice()));
    ///     assert!(values[1].is_none());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ReadOnlyTxn::get`], but for `NotFound`; then there is no value at all.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<ValueRef<'t>>>> {
        let mut values = Vec::with_capacity(keys.len());
        let mut group: [&[u8]; GROUP] = [&[]; GROUP];
        for keys in keys.chunks(GROUP) {
            for (to, key) in group.iter_mut().zip(keys) {
                *to = key.as_ref();
                self.check(to)?;
            }
            self.get_group(&group[..keys.len()], &mut values)?;
        }
        Ok(values)
    }

    /// Looks up at most a group of keys, and appends what was found to `values`.
    fn get_group(&self, keys: &[&[u8]], values: &mut Vec<Option<ValueRef<'t>>>) -> Result<()> {
        let from = values.len();
        let mut is_left = [true; GROUP];
        if let (Some(root), Some(pages)) = (self.root(), self.look()) {
            look_all(root, &pages, keys, self.index(root, &pages), |seen| {
                let is_left = &mut is_left[values.len() - from];
                *is_left = matches!(seen, Seen::Missing(_));
                if let Seen::There(page, Value::Inline(value)) = seen {
                    return values.push(Some(Lend::peeked(page, value)));
                }
                *is_left |= matches!(seen, Seen::There(..));
                values.push(None);
            });
        }
        values.resize_with(from + keys.len(), || None);
        let values = values[from..].iter_mut();
        for ((key, value), _) in keys.iter().zip(values).zip(is_left).filter(|(_, left)| *left) {
            *value = none_if_absent(self.get_ref(key))?;
        }
        Ok(())
    }
}
