//! The rules for each write of a store.
//!
//! Owns: [`Guard`], which knows what may be durable, and what a commit may therefore overwrite.
//! Must not know: why a write is made, or how the file is read.
//! Keeps: the rules of no-reuse-while-reachable and slots-alternate: between two syncs a store
//! writes pages that no state which may be durable can reach, and one meta slot, which does not
//! hold the only copy of the newest durable state.

use super::index;
use super::looks::Look;
use super::names::PathId;
use crate::format::META_SLOTS;
use crate::sync::Arc;

/// Watches the file of one store.
pub(super) struct Guard {
    pub(super) path: PathId,
    pub(super) page_size: usize,
    /// What the file held at the last fence, once it was asked for.
    pub(super) fenced: Option<Arc<Look>>,
    /// The slot written since then.
    slot_written: Option<u32>,
}

impl Guard {
    pub(super) fn new(path: PathId, page_size: usize) -> Guard {
        Guard { path, page_size, fenced: None, slot_written: None }
    }

    /// All that the process sees may be durable, and nothing else: after a sync, or a restart.
    pub(super) fn reset(&mut self) {
        self.fenced = None;
        self.slot_written = None;
    }

    /// Checks a page that is about to change.
    pub(super) fn check_page(&mut self, fenced: &Look, page: u32) -> Result<(), String> {
        if let Some(trouble) = &fenced.trouble {
            return Err(format!("the file written to is not sound: {trouble}"));
        }
        if page < META_SLOTS {
            return self.check_slot(fenced, page);
        }
        match fenced.audits.iter().flatten().find(|state| state.owns(page)) {
            Some(state) => Err(format!("page {page} is written, state {} has it", state.txn)),
            None => Ok(()),
        }
    }

    fn check_slot(&mut self, fenced: &Look, slot: u32) -> Result<(), String> {
        let txn = |slot: u32| fenced.audits[index(slot)].as_ref().map(|state| state.txn);
        if txn(slot) > txn(1 - slot) {
            return Err(format!("slot {slot} is written, which holds the newest durable state"));
        }
        match self.slot_written.replace(slot) {
            Some(before) if before != slot => Err("both slots between two syncs".to_owned()),
            _ => Ok(()),
        }
    }

    /// Checks a length that is about to be set.
    pub(super) fn check_len(&self, fenced: &Look, len: u64) -> Result<(), String> {
        let needs = |pages: u32| u64::from(pages) * self.page_size as u64;
        let mut states = fenced.audits.iter().flatten();
        match states.find(|state| len < needs(state.page_count)) {
            Some(state) => Err(format!("{len} bytes are too few for state {}", state.txn)),
            None => Ok(()),
        }
    }
}
