//! Checks each write of a store as it happens.
//!
//! Owns: [`Guard`], which knows what may be durable, and what a commit may therefore overwrite.
//! Must not know: why a write is made.
//! Keeps: the rules of no-reuse-while-reachable and slots-alternate: between two syncs a store
//! writes pages that no state which may be durable can reach, and one meta slot, which does not
//! hold the only copy of the newest durable state.

use super::audit::{Audit, Medium};
use super::index;
use super::monitor::{Monitor, WriteEvent};
use crate::format::META_SLOTS;
use std::path::{Path, PathBuf};

/// Watches the file of one store.
pub(super) struct Guard {
    path: PathBuf,
    page_size: usize,
    /// What the process has written so far.
    live: Vec<u8>,
    /// The states in the slots as of the last sync.
    durable: [Option<Audit>; 2],
    /// The slot written since then.
    slot_written: Option<u32>,
}

/// A file in memory.
struct Bytes<'a>(&'a [u8]);

impl Medium for Bytes<'_> {
    fn len(&mut self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, buf: &mut [u8], offset: u64) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.0.get(start..start.saturating_add(buf.len())) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => buf.fill(0),
        }
    }
}

impl Guard {
    /// Watches a file that holds these bytes durably.
    pub(super) fn new(path: &Path, page_size: usize, bytes: Vec<u8>) -> Result<Guard, String> {
        let mut guard = Guard {
            path: path.to_path_buf(),
            page_size,
            live: bytes,
            durable: [None, None],
            slot_written: None,
        };
        guard.fence()?;
        Ok(guard)
    }

    /// Everything written so far is durable.
    fn fence(&mut self) -> Result<(), String> {
        let mut medium = Bytes(&self.live);
        self.durable = [
            Audit::of_slot(&mut medium, 0, self.page_size)?,
            Audit::of_slot(&mut medium, 1, self.page_size)?,
        ];
        self.slot_written = None;
        Ok(())
    }

    fn check_page(&mut self, page: u32) -> Result<(), String> {
        if page < META_SLOTS {
            return self.check_slot(page);
        }
        match self.durable.iter().flatten().find(|state| state.owns(page)) {
            Some(state) => Err(format!("page {page} is reached by state {}", state.txn)),
            None => Ok(()),
        }
    }

    fn check_slot(&mut self, slot: u32) -> Result<(), String> {
        let txn = |slot: u32| self.durable[index(slot)].as_ref().map(|state| state.txn);
        let (own, other) = (txn(slot), txn(1 - slot));
        if own > other {
            return Err(format!("slot {slot} holds the newest durable state"));
        }
        match self.slot_written.replace(slot) {
            Some(before) if before != slot => Err("both slots between two syncs".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Monitor for Guard {
    fn write(&mut self, event: &WriteEvent<'_>) -> Result<(), String> {
        if event.path != self.path {
            return Ok(());
        }
        let start = usize::try_from(event.offset).map_err(|error| error.to_string())?;
        let end = start + event.new.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        let mut verdict = Ok(());
        for page in start / self.page_size..end.div_ceil(self.page_size) {
            let from = start.max(page * self.page_size);
            let to = end.min((page + 1) * self.page_size);
            // Recovery writes again what is there.
            if self.live[from..to] != event.new[from - start..to - start] {
                let page = u32::try_from(page).map_err(|error| error.to_string())?;
                verdict = verdict.and_then(|()| self.check_page(page));
            }
        }
        self.live[start..end].copy_from_slice(event.new);
        verdict
    }

    fn set_len(&mut self, _file: u32, path: &Path, len: u64) -> Result<(), String> {
        if path != self.path {
            return Ok(());
        }
        self.live.resize(usize::try_from(len).map_err(|error| error.to_string())?, 0);
        for state in self.durable.iter().flatten() {
            if len < u64::from(state.page_count) * self.page_size as u64 {
                return Err(format!("{len} bytes are too few for state {}", state.txn));
            }
        }
        Ok(())
    }

    fn synced(&mut self, _file: u32, path: &Path, succeeded: bool) -> Result<(), String> {
        if path == self.path && succeeded { self.fence() } else { Ok(()) }
    }
}
