//! The rules for each write of a store.
//!
//! Owns: [`Guard`], which knows what may be durable, and what a commit may therefore overwrite.
//! Must not know: why a write is made, or how the file is read.
//! Keeps: the rules of no-reuse-while-reachable and slots-alternate: between two syncs a store
//! writes pages that no state which may be durable can reach, and one meta slot, which does not
//! hold the only copy of the newest durable state.

use super::audit::Audit;
use super::index;
use super::looks::Look;
use super::paths::PathId;
use crate::format::META_SLOTS;
use crate::sync::Arc;

/// Watches the file of one store.
pub(super) struct Guard {
    pub(super) path: PathId,
    pub(super) page_size: usize,
    /// What the file held at the last fence, once it was asked for; or since a process ended.
    pub(super) fenced: Option<Arc<Look>>,
    /// What it held at the last fence, if a process has ended since that had written.
    durable: Option<Arc<Look>>,
    /// The slot written since the last fence.
    slot_written: Option<u32>,
}

impl Guard {
    pub(super) fn new(path: PathId, page_size: usize) -> Guard {
        Guard { path, page_size, fenced: None, durable: None, slot_written: None }
    }

    /// All that the process sees is durable, and nothing else: after a sync, or a power failure.
    pub(super) fn reset(&mut self) {
        self.fenced = None;
        self.durable = None;
        self.slot_written = None;
    }

    /// What is seen may be another state than before, and durable or not; what was durable is.
    pub(super) fn look_again(&mut self) {
        let fenced = self.fenced.take();
        self.durable = self.durable.take().or(fenced);
    }

    /// Checks a page that is about to change.
    pub(super) fn check_page(&mut self, seen: &Look, page: u32) -> Result<(), String> {
        if let Some(trouble) = &seen.trouble {
            return Err(format!("the file written to is not sound: {trouble}"));
        }
        if page < META_SLOTS {
            return self.check_slot(seen, page);
        }
        match self.states(seen).find(|state| state.owns(page)) {
            Some(state) => Err(format!("page {page} is written, state {} has it", state.txn)),
            None => Ok(()),
        }
    }

    /// The states that may be durable.
    fn states<'a>(&'a self, seen: &'a Look) -> impl Iterator<Item = &'a Audit> {
        let looks = self.durable.as_deref().into_iter().chain([seen]);
        looks.flat_map(|look| look.audits.iter().flatten())
    }

    fn check_slot(&mut self, seen: &Look, slot: u32) -> Result<(), String> {
        let is_newest = |look: &Look| {
            let txn = |slot: u32| look.audits[index(slot)].as_ref().map(|state| state.txn);
            txn(slot) > txn(1 - slot)
        };
        if is_newest(seen) || self.durable.as_deref().is_some_and(is_newest) {
            return Err(format!("slot {slot} is written, which holds the newest durable state"));
        }
        match self.slot_written.replace(slot) {
            Some(before) if before != slot => Err("both slots between two syncs".to_owned()),
            _ => Ok(()),
        }
    }

    /// Checks a length that is about to be set.
    pub(super) fn check_len(&self, seen: &Look, len: u64) -> Result<(), String> {
        let needs = |pages: u32| u64::from(pages) * self.page_size as u64;
        match self.states(seen).find(|state| len < needs(state.page_count)) {
            Some(state) => Err(format!("{len} bytes are too few for state {}", state.txn)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::{Failure, Fault, OpSet, SimDisk, SyncFailure, When};
    use crate::vfs::{OpenMode, Vfs};
    use crate::{BTree, Error, Options};
    use std::path::Path;

    /// A process writes a commit, and ends before it is durable: the next one sees it, and must
    /// leave the state before it alone.
    #[test]
    fn what_a_process_left_in_the_cache_is_not_taken_for_durable() {
        let disk = SimDisk::new();
        let path = Path::new("store");
        let open = || Options::new().page_size(512).vfs(disk.vfs()).open(path).expect("it opens");
        let put = |db: &BTree, n: u8| db.exec("b", |txn| txn.put("n", [n]));
        assert_eq!(put(&open(), 1), Ok(()));
        // The first handle was that of the file's temporary name.
        let db = open();
        assert_eq!(put(&db, 2), Ok(()));
        let id = disk.machine().paths.id(path);
        disk.machine().guard = Some(super::Guard::new(id, 512));
        let keep = Failure::Sync(SyncFailure::Keep);
        disk.inject(Fault::new(OpSet::SYNCS, When::Once(0), keep));
        assert_eq!(put(&db, 3), Err(Error::IoError));
        disk.kill();
        assert_eq!(disk.violation(), None);

        // Of the slots one is newer, and not durable.
        let file = disk.open(path, OpenMode::ReadWrite).expect("it is there");
        let txn = |slot: u64| {
            let mut txn = [0; 8];
            let at = slot * 512 + crate::format::HEADER_TXN as u64;
            assert!(disk.peek(path, &mut txn, at));
            u64::from_le_bytes(txn)
        };
        let older = u64::from(txn(0) > txn(1));
        file.write_at(&[0; 512], older * 512).expect("written");
        let violation = disk.violation().expect("that was the durable state");
        assert!(violation.contains("the newest durable state"), "{violation}");
    }
}
