//! Trees: cursors and the values of large entries (layer L4).
//!
//! Owns: steps over entries whose values are not wanted, or not at once, and how a value that no
//! leaf holds is read. Must not know: transactions. Keeps: errors-stick.

use super::super::compare::Lies;
use super::{Cursor, Lent, PageRead, misplaced};
use crate::error::{Error, Result};
use crate::node::{Run, Value, Way};

/// An entry that is lent, or its key and where its value lies.
type LentOrRun<'a> = (&'a [u8], std::result::Result<&'a [u8], Run>);

impl Cursor {
    /// Steps over the next entry and lends its key; its value is not read. `None` at the end.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn next_key(&mut self, pages: &dyn PageRead) -> Result<Option<&[u8]>> {
        Ok(self.step_over(pages, Way::Forward)?.map(|_| self.walk.key()))
    }

    /// Steps over an entry and lends its key, if that is wanted; its value is not read. `None`
    /// where there is none.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn key_if(
        &mut self,
        pages: &dyn PageRead,
        way: Way,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<&[u8]>> {
        if let Some(plain) = self.walk.look(way) {
            let (key, _) = self.walk.take(plain);
            return Ok(Some(key).filter(|key| is_wanted(key)));
        }
        let slot = self.step_over(pages, way)?;
        Ok(slot.map(|_| self.walk.key()).filter(|key| is_wanted(key)))
    }

    /// Steps over the next entry and lends it, but for a value of at least so many bytes in a run,
    /// which is not read. `None` at the end. The tree is sealed.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(crate) fn next_or_run(
        &mut self,
        pages: &dyn PageRead,
        bytes_min: usize,
    ) -> Result<Option<LentOrRun<'_>>> {
        if let Some(plain) = self.walk.look(Way::Forward) {
            let (key, value): Lent<'_> = self.walk.take(plain);
            return Ok(Some((key, Ok(value))));
        }
        let Some(at) = self.step_over(pages, Way::Forward)? else { return Ok(None) };
        if let Value::Overflow(run) = self.walk.value(at).ok_or_else(misplaced)? {
            if run.len as usize >= bytes_min {
                return Ok(Some((self.walk.key(), Err(run))));
            }
            self.read_aside(pages, at)?;
        }
        Ok(Some((self.walk.key(), Ok(self.walk.held_value(at).unwrap_or(&self.value)))))
    }

    /// Steps over the next entry, and tells its key and where its value lies. `None` at the end.
    ///
    /// # Errors
    /// What reading pages says; the cursor then keeps failing.
    pub(in crate::tree) fn next_lying(
        &mut self,
        pages: &dyn PageRead,
    ) -> Result<Option<(&[u8], Lies<'_>)>> {
        let Some(at) = self.step_over(pages, Way::Forward)? else { return Ok(None) };
        let value = self.walk.value(at).ok_or_else(misplaced)?;
        Ok(Some((self.walk.key(), Lies::of(value, self.dirty.as_ref())?)))
    }

    /// Takes the value of slot `at` of the leaf into the buffer that values are lent from.
    pub(super) fn read_aside(&mut self, pages: &dyn PageRead, at: usize) -> Result<()> {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        let read = self.append_value(pages, at, &mut value);
        self.value = value;
        read
    }

    /// Appends the value of slot `at` of the leaf, whose key is shown.
    pub(super) fn append_value(
        &mut self,
        pages: &dyn PageRead,
        at: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if let Some(value) = self.walk.held_value(at) {
            out.extend_from_slice(value);
            return Ok(());
        }
        let (low, high, place) = (self.walk.low(), self.walk.high(), self.walk.at());
        // Nothing to step over: where the storage panics nobody got the entry.
        self.walk.bound(place, place);
        let read = self.moving(|cursor| match (cursor.walk.value(at), &cursor.dirty) {
            (Some(Value::Overflow(run)), _) => pages.read_run(run, out),
            (Some(Value::Unplaced { handle, .. }), Some(dirty)) => {
                dirty.value(handle).append_to(pages, out)
            }
            _ => Err(Error::internal("a sealed page holds a value without pages")),
        });
        if read.is_ok() {
            self.walk.bound(low, high);
        }
        read
    }
}
