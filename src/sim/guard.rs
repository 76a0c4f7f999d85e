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

/// Which file a guard watches.
#[derive(Clone, Copy)]
pub(super) enum Watched {
    /// What is opened by this path.
    Path(PathId),
    /// The file with this number, by whatever path it was opened.
    File(u32),
}

/// Watches the file of one store.
pub(super) struct Guard {
    watched: Watched,
    pub(super) page_size: usize,
    /// What the file held at the last fence, once it was asked for; or since a process ended.
    pub(super) fenced: Option<Arc<Look>>,
    /// What it held at the last fence, if a process has ended since that had written.
    durable: Option<Arc<Look>>,
    /// The slot written since the last fence.
    slot_written: Option<u32>,
}

impl Guard {
    pub(super) fn new(watched: Watched, page_size: usize) -> Guard {
        Guard { watched, page_size, fenced: None, durable: None, slot_written: None }
    }

    /// Whether a file that was opened by this path is what it watches.
    pub(super) fn watches(&self, path: PathId, file: u32) -> bool {
        match self.watched {
            Watched::Path(watched) => watched == path,
            Watched::File(watched) => watched == file,
        }
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
    use super::{Arc, Audit, Guard, Look, Watched};
    use crate::sim::audit::Owner;
    use crate::sim::paths::Paths;
    use crate::sim::{Failure, Fault, OpSet, SimDisk, SyncFailure, When};
    use crate::vfs::{OpenMode, Vfs};
    use crate::{BTree, Error, Options};
    use std::path::Path;

    const PAGE: usize = 512;

    /// A state of so many pages that has the slots and some of the others.
    fn state(txn: u64, page_count: u32, pages: &[u32]) -> Audit {
        let owner = |page: u32| match page {
            0 | 1 => Owner::Meta,
            page if pages.contains(&page) => Owner::Tree,
            _ => Owner::Nobody,
        };
        let owners: Vec<Owner> = (0..page_count).map(owner).collect();
        Audit { txn, page_count, unused: 0, height: 1, owners }
    }

    fn look(audits: [Option<Audit>; 2]) -> Look {
        Look { audits, ..Look::default() }
    }

    /// State 7 in slot 0 and 6 in slot 1; page 4 is of the newer one only, 5 of the older one, 3
    /// of both, 6 of none. The older one is longer.
    fn two_states() -> Look {
        look([Some(state(7, 8, &[3, 4])), Some(state(6, 9, &[3, 5]))])
    }

    /// As a close leaves it.
    fn one_state_twice() -> Look {
        look([Some(state(7, 8, &[3])), Some(state(7, 8, &[3]))])
    }

    /// What a process left in the cache that has ended: state 8, in slot 1.
    fn not_durable() -> Look {
        look([Some(state(7, 8, &[3, 4])), Some(state(8, 7, &[3, 6]))])
    }

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Page(u32),
        Len(u64),
        Fence,
    }

    use Change::{Fence, Len, Page};

    /// What the guard says of the last of some changes; it says nothing of the others.
    fn verdict(durable: Option<Look>, seen: &Look, changes: &[Change]) -> Result<(), String> {
        let path = Paths::default().id(Path::new("store"));
        let mut guard = Guard::new(Watched::Path(path), PAGE);
        if let Some(durable) = durable {
            guard.fenced = Some(Arc::new(durable));
            guard.look_again();
        }
        let mut verdict = Ok(());
        for change in changes {
            assert_eq!(verdict, Ok(()), "before {change:?}");
            verdict = match *change {
                Page(page) => guard.check_page(seen, page),
                Len(len) => guard.check_len(seen, len),
                Fence => {
                    guard.reset();
                    Ok(())
                }
            };
        }
        verdict
    }

    /// Each rule is broken once, and where it is just kept nothing is said.
    #[test]
    fn each_rule_objects_to_what_breaks_it_and_to_nothing_else() {
        let sound = [
            (None, two_states(), vec![Page(6), Page(8), Page(1), Page(6), Page(1)]),
            (None, two_states(), vec![Len(9 * 512), Len(u64::MAX)]),
            (None, one_state_twice(), vec![Page(0), Page(2), Page(0), Fence, Page(1)]),
            (None, one_state_twice(), vec![Len(8 * 512)]),
            (None, look([None, None]), vec![Page(2), Page(1), Len(0)]),
            (Some(two_states()), not_durable(), vec![Page(7), Len(9 * 512)]),
            // What was left is durable now.
            (Some(two_states()), not_durable(), vec![Fence, Page(0), Page(5), Len(8 * 512)]),
        ];
        for (durable, seen, changes) in sound {
            let told = format!("{durable:?}, {seen:?}, {changes:?}");
            assert_eq!(verdict(durable, &seen, &changes), Ok(()), "{told}");
        }
        let damaged = Look { trouble: Some("it is damaged".to_owned()), ..two_states() };
        let broken = [
            (None, damaged, vec![Page(6)], "not sound: it is damaged"),
            (None, two_states(), vec![Page(3)], "page 3 is written, state 7 has it"),
            (None, two_states(), vec![Page(6), Page(4)], "page 4 is written, state 7 has it"),
            (None, two_states(), vec![Page(1), Page(5)], "page 5 is written, state 6 has it"),
            (None, two_states(), vec![Page(0)], "slot 0 is written, which holds the newest"),
            (
                None,
                look([None, Some(state(6, 9, &[3]))]),
                vec![Page(1)],
                "slot 1 is written, which",
            ),
            (None, one_state_twice(), vec![Page(0), Page(1)], "both slots between two syncs"),
            (None, one_state_twice(), vec![Page(1), Page(0)], "both slots between two syncs"),
            (None, two_states(), vec![Len(9 * 512 - 1)], "too few for state 6"),
            (None, two_states(), vec![Len(8 * 512 - 1)], "too few for state 7"),
            // What was durable still counts, whatever is seen, and the other way round.
            (Some(two_states()), not_durable(), vec![Page(5)], "page 5 is written, state 6 has it"),
            (Some(two_states()), not_durable(), vec![Page(6)], "page 6 is written, state 8 has it"),
            (Some(two_states()), not_durable(), vec![Page(0)], "slot 0 is written, which"),
            (Some(two_states()), not_durable(), vec![Page(1)], "slot 1 is written, which"),
            (Some(two_states()), not_durable(), vec![Len(9 * 512 - 1)], "too few for state 6"),
        ];
        for (durable, seen, changes, wanted) in broken {
            let told = format!("{durable:?}, {seen:?}, {changes:?}");
            let found = verdict(durable, &seen, &changes).expect_err(&told);
            assert!(found.contains(wanted), "{found}, not {wanted}: {told}");
        }
    }

    /// The guard is asked for each write and each length, and heeds only what changes something.
    #[test]
    fn what_breaks_a_rule_on_a_disk_is_a_violation() {
        type Plant = fn(&dyn crate::vfs::VfsFile, u64);
        let plants: [(Plant, Option<&str>); 6] = [
            (|file, len| file.set_len(len - 512).expect("it is cut"), Some("too few for state")),
            (|file, _| drop(file.write_at(&[7; 512], 0)), None),
            (|file, _| drop(file.write_at(&[7; 1024], 0)), Some("both slots between two syncs")),
            (|file, len| drop(file.write_at(&[7; 512], len)), None),
            (
                |file, len| {
                    // All pages but the slots: some are of the state.
                    let bytes = vec![7; usize::try_from(len).expect("a length") - 1024];
                    drop(file.write_at(&bytes, 1024));
                },
                Some("is written, state"),
            ),
            (
                |file, len| {
                    // What is there already.
                    let mut bytes = vec![0; usize::try_from(len).expect("a length")];
                    file.read_at(&mut bytes, 0).expect("it is read");
                    drop(file.write_at(&bytes, 0));
                    file.set_len(len).expect("it stays");
                },
                None,
            ),
        ];
        for (number, (plant, wanted)) in plants.into_iter().enumerate() {
            let disk = SimDisk::new();
            let path = Path::new("store");
            let db = Options::new().page_size(512).vfs(disk.vfs()).open(path).expect("it opens");
            db.exec("b", |txn| txn.put("n", [7; 2000])).expect("it is put");
            drop(db);
            let id = disk.machine().paths.id(path);
            disk.machine().guard = Some(Guard::new(Watched::Path(id), PAGE));
            let file = disk.open(path, OpenMode::ReadWrite).expect("it is there");
            plant(&*file, disk.file_len(path).expect("it is there"));
            let found = disk.violation();
            let is_right = match (&found, wanted) {
                (Some(found), Some(wanted)) => found.contains(wanted),
                (found, wanted) => found.is_some() == wanted.is_some(),
            };
            assert!(is_right, "plant {number}: {found:?}, not {wanted:?}");
        }
    }

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
        disk.machine().guard = Some(Guard::new(Watched::Path(id), PAGE));
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
