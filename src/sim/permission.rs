//! Looks at the store's file from within the machine, and the permission of each write to it.
//!
//! Owns: [`Machine::look`], and the calls to the [`Guard`] around writes.
//! Must not know: who writes, or why.
//! Keeps: a look is no operation: it is not counted and does not fail.

use super::audit::{Audit, Medium};
use super::disk::SimDisk;
use super::file::FileState;
use super::guard::{Guard, Watched};
use super::index;
use super::looks::{Look, Looks};
use super::machine::{Handle, Machine};
use crate::sync::{Arc, Mutex};
use crate::verify::{Standing, verify_file};
use crate::vfs::{FileId, LockMode, VfsFile};
use std::io;
use std::path::Path;

/// A file as a look reads it.
struct Reading<'m> {
    inner: Mutex<Inner<'m>>,
}

struct Inner<'m> {
    machine: &'m mut Machine,
    file: u32,
    /// The sectors that were read.
    sectors: Vec<u32>,
}

impl Inner<'_> {
    fn read(&mut self, buf: &mut [u8], offset: u64) -> usize {
        let sector_bytes = u64::from(self.machine.profile.sector_bytes);
        let read = self.machine.with_file(self.file, |file, scope| file.read(scope, buf, offset));
        let sectors = offset / sector_bytes..(offset + read as u64).div_ceil(sector_bytes);
        self.sectors.extend(sectors.filter_map(|sector| u32::try_from(sector).ok()));
        read
    }
}

impl Medium for &Reading<'_> {
    fn len(&mut self) -> u64 {
        let mut inner = self.inner.lock();
        let file = inner.file;
        inner.machine.with_file(file, FileState::size)
    }

    fn read(&mut self, buf: &mut [u8], offset: u64) {
        let read = self.inner.lock().read(buf, offset);
        buf[read..].fill(0);
    }
}

fn is_for_reading<T>() -> io::Result<T> {
    Err(io::ErrorKind::PermissionDenied.into())
}

impl VfsFile for Reading<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.inner.lock().read(buf, offset))
    }

    fn size(&self) -> io::Result<u64> {
        let mut inner = self.inner.lock();
        let file = inner.file;
        Ok(inner.machine.with_file(file, FileState::size))
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<usize> {
        is_for_reading()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        is_for_reading()
    }

    fn sync_data(&self) -> io::Result<()> {
        is_for_reading()
    }

    fn sync_all(&self) -> io::Result<()> {
        is_for_reading()
    }

    fn try_lock(&self, _mode: LockMode) -> io::Result<bool> {
        is_for_reading()
    }

    fn id(&self) -> io::Result<FileId> {
        is_for_reading()
    }
}

impl SimDisk {
    /// Has the rules kept for each write to the file that has this path now, if there is one and
    /// none is watched yet; what earlier looks found is forgotten.
    pub(super) fn guard(&self, path: &Path, page_size: u32) {
        let mut machine = self.machine();
        machine.looks = Looks::default();
        if machine.guard.is_some() {
            return;
        }
        let path = machine.paths.id(path);
        if let Some(file) = machine.find_file(path) {
            machine.guard = Some(Guard::new(Watched::File(file), index(page_size)));
        }
    }

    /// Has them kept no longer: what a process sees is not what it was told.
    pub(super) fn unguard(&self) {
        self.machine().guard = None;
    }
}

impl Machine {
    /// What the slots and the length of a file hash to, if reading them decides nothing.
    fn look_key(&self, file: u32, page_size: usize) -> Option<u64> {
        let file = &self.state.files[index(file)];
        let sectors = (2 * page_size).div_ceil(index(self.profile.sector_bytes));
        file.known_hash_of_first(&self.arena, sectors)
    }

    /// Looks at a store's file, as a process would read it: both states, by the audit and by the
    /// walk that users have.
    pub(super) fn look(&mut self, number: u32, page_size: usize) -> Arc<Look> {
        if let Some(key) = self.look_key(number, page_size) {
            let file = &self.state.files[index(number)];
            if let Some(look) = self.looks.find(key, file, &self.arena) {
                return look;
            }
        }
        let inner = Inner { machine: self, file: number, sectors: Vec::new() };
        let reading = Reading { inner: Mutex::new(inner) };
        let look = Arc::new(look_at(&reading, page_size));
        let sectors = std::mem::take(&mut reading.inner.lock().sectors);
        drop(reading);
        if let Some(key) = self.look_key(number, page_size) {
            let file = &self.state.files[index(number)];
            self.looks.add(key, &sectors, file, &self.arena, &look);
        }
        look
    }

    /// Checks the permission of a write that is about to be carried out.
    pub(super) fn guard_write(&mut self, handle: &Handle, bytes: &[u8], offset: u64) {
        let Some(page_size) = self.guarded_page_size(handle) else { return };
        let file = &self.state.files[index(handle.file)];
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        let mut changed = Vec::new();
        for page in start / page_size..end.div_ceil(page_size) {
            let (from, to) = (start.max(page * page_size), end.min((page + 1) * page_size));
            // Recovery writes again what is there.
            if !file.holds(&self.arena, &bytes[from - start..to - start], from as u64) {
                changed.push(super::count(page));
            }
        }
        if changed.is_empty() {
            return;
        }
        let fenced = self.guarded_look(handle.file, page_size);
        let Some(guard) = &mut self.guard else { return };
        let verdict = changed.iter().try_for_each(|page| guard.check_page(&fenced, *page));
        self.take_verdict(verdict);
    }

    /// Checks the permission to set a file's length.
    pub(super) fn guard_set_len(&mut self, handle: &Handle, len: u64) {
        let Some(page_size) = self.guarded_page_size(handle) else { return };
        let fenced = self.guarded_look(handle.file, page_size);
        let Some(guard) = &self.guard else { return };
        let verdict = guard.check_len(&fenced, len);
        self.take_verdict(verdict);
    }

    /// A sync of a file succeeded.
    pub(super) fn guard_fence(&mut self, handle: &Handle) {
        if self.guarded_page_size(handle).is_some()
            && let Some(guard) = &mut self.guard
        {
            guard.reset();
        }
    }

    fn guarded_page_size(&self, handle: &Handle) -> Option<usize> {
        let guard = self.guard.as_ref()?;
        guard.watches(handle.path, handle.file).then_some(guard.page_size)
    }

    /// What the file held at the last fence, or when this process began: nothing was changed since,
    /// if nobody asked before.
    fn guarded_look(&mut self, file: u32, page_size: usize) -> Arc<Look> {
        if let Some(fenced) = self.guard.as_ref().and_then(|guard| guard.fenced.clone()) {
            return fenced;
        }
        let look = self.look(file, page_size);
        if let Some(guard) = &mut self.guard {
            guard.fenced = Some(Arc::clone(&look));
        }
        look
    }
}

fn look_at(reading: &Reading<'_>, page_size: usize) -> Look {
    let mut look = Look::default();
    let mut broken = [None, None];
    for slot in [0, 1] {
        match Audit::of_slot(&mut { reading }, super::count(slot), page_size) {
            Ok(audit) => look.audits[slot] = audit,
            Err(error) => broken[slot] = Some(error),
        }
    }
    let report = match verify_file(reading) {
        Ok(report) => report,
        Err(error) => {
            look.trouble = Some(error.to_string());
            look.newest_trouble.clone_from(&look.trouble);
            return look;
        }
    };
    look.refused = report.refused.len();
    look.free = report.accepted().map(|state| state.free);
    // Of two slots with one state both are the newest's: the walk reads what the original lists.
    let newest = report.accepted().map(|state| state.txn);
    let holds_newest = |slot: u8| {
        let mut states = report.states.iter().filter(|state| state.slot == slot);
        states.any(|state| Some(state.txn) == newest && state.standing != Standing::Refused)
    };
    let concerns = |slot: Option<u8>| newest.is_none() || slot.is_none_or(holds_newest);
    if let Some(violation) = report.violations.first() {
        look.trouble = Some(report.to_string());
        if report.violations.iter().any(|violation| concerns(violation.slot)) {
            look.newest_trouble = Some(violation.to_string());
        }
    }
    for (slot, error) in [0, 1].into_iter().zip(broken) {
        look.trouble = look.trouble.take().or_else(|| error.clone());
        if concerns(Some(slot)) {
            look.newest_trouble = look.newest_trouble.take().or(error);
        }
    }
    look
}

#[cfg(test)]
mod tests {
    use crate::Options;
    use crate::format::{META_FLAG_MIRROR, META_FLAGS, META_SPARE};
    use crate::sim::SimDisk;
    use crate::vfs::{OpenMode, Vfs};
    use std::path::Path;

    /// Of two slots with one state both are the newest's, whichever of them is accepted.
    #[test]
    fn what_is_wrong_with_the_original_is_wrong_with_the_newest_state() {
        let path = Path::new("store");
        for commits in 1..=2_u8 {
            let disk = SimDisk::new();
            let db = Options::new().page_size(512).vfs(disk.vfs()).open(path).expect("it opens");
            for n in 0..commits {
                db.exec("b", |txn| txn.put("n", [n])).expect("it is put");
            }
            drop(db);
            let file = disk.open(path, OpenMode::ReadWrite).expect("it is there");
            for at in [0, 512] {
                let mut page = [0; 512];
                assert!(disk.peek(path, &mut page, at));
                if u32::from(page[META_FLAGS]) & META_FLAG_MIRROR == 0 {
                    page[META_SPARE] = 1;
                    let checksum = crc32c::crc32c(&page[4..]);
                    page[..4].copy_from_slice(&checksum.to_le_bytes());
                    assert_eq!(file.write_at(&page, at).ok(), Some(512));
                }
            }
            let mut machine = disk.machine();
            let path = machine.paths.id(path);
            let number = machine.find_file(path).expect("it is there");
            let look = machine.look(number, 512);
            assert!(look.trouble.is_some());
            assert!(look.newest_trouble.is_some(), "{commits} commits");
        }
    }
}
