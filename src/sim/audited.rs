//! Files in memory as the audit reads them.
//!
//! Owns: [`audit_slots`], by which tests show the audit files that are broken.
//! Must not know: what is wrong with a file.

use super::audit::{Audit, Medium};
use super::index;
use crate::format::META_SLOTS;

/// A slot as the audit reads it: the transaction of its state and how many pages nobody owns,
/// nothing where a recovery would not accept it, or what is wrong with it.
pub type Audited = std::result::Result<Option<(u64, u32)>, String>;

/// Reads both slots of a file as a search does after each crash: by code that shares nothing with
/// the engine's, and nothing with [`verify_file`](crate::verify::verify_file), either. It is made
/// for files of this crate that are broken in one place; others may make it panic.
#[doc(hidden)]
pub fn audit_slots(bytes: &[u8], page_size: u32) -> [Audited; 2] {
    let mut held = Held(bytes);
    let mut slot = |slot: u32| {
        let audit = Audit::of_slot(&mut held, slot, index(page_size))?;
        Ok(audit.map(|state| (state.txn, state.unused)))
    };
    [slot(0), slot(META_SLOTS - 1)]
}

struct Held<'a>(&'a [u8]);

impl Medium for Held<'_> {
    fn len(&mut self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, buf: &mut [u8], offset: u64) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let read = buf.len().min(self.0.len() - start);
        buf[..read].copy_from_slice(&self.0[start..start + read]);
        buf[read..].fill(0);
    }
}
