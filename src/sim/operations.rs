//! What the machine does with an open file.
//!
//! Owns: the operations on files of [`Machine`]: reads, writes, lengths, syncs, locks.
//! Must not know: names, crashes, or who explores.
//! Keeps: an operation that reports an error did nothing, but a sync, which fails as told.

use super::arena::mix;
use super::fault::{Errno, Failure, SyncFailure};
use super::file::{Fence, FileState};
use super::index;
use super::machine::{CLEAR_UP_BYTES, Handle, Lock, Machine, file_op};
use super::monitor::WriteEvent;
use super::profile::{DataSync, Flush};
use super::requests::Request;
use super::trace::{Op, OpKind};
use crate::vfs::LockMode;
use std::io;

impl Machine {
    pub(super) fn read(
        &mut self,
        handle: &Handle,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        self.alive(handle)?;
        let asked = buf.len();
        self.asked = mix(mix(self.asked, offset), asked as u64);
        self.request = Request { offset, len: asked as u64, ..self.request };
        let result = self.begin(OpKind::Read).map(|failure| {
            let limit = transferred(failure, asked);
            self.with_file(handle.file, |file, scope| file.read(scope, &mut buf[..limit], offset))
        });
        if self.trace.is_some() {
            let got = result.as_ref().map_or(0, |read| *read);
            let checksum = crc32c::crc32c(&buf[..got]);
            let op = file_op(OpKind::Read, Some(handle.file), offset, asked as u64);
            self.end(Op { checksum, ..op }, &result, |read| *read as u64);
        }
        result
    }

    pub(super) fn write(
        &mut self,
        handle: &Handle,
        bytes: &[u8],
        offset: u64,
    ) -> io::Result<usize> {
        self.alive(handle)?;
        let checksum = crc32c::crc32c(bytes);
        self.asked = mix(mix(self.asked, offset), u64::from(checksum));
        self.request = Request { offset, len: bytes.len() as u64, checksum, ..self.request };
        let result = self.begin(OpKind::Write).and_then(|failure| {
            let limit = transferred(failure, bytes.len());
            self.check_room(handle, offset, limit)?;
            self.tell_monitor_of_write(handle, &bytes[..limit], offset);
            self.guard_write(handle, &bytes[..limit], offset);
            self.with_file(handle.file, |file, scope| file.write(scope, &bytes[..limit], offset));
            Ok(limit)
        });
        if self.trace.is_some() {
            let op = file_op(OpKind::Write, Some(handle.file), offset, bytes.len() as u64);
            self.end(Op { checksum, ..op }, &result, |written| *written as u64);
        }
        result
    }

    fn check_room(&self, handle: &Handle, offset: u64, len: usize) -> io::Result<()> {
        if !handle.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.profile.file_bytes_max => Ok(()),
            _ => Err(Errno::Enospc.error()),
        }
    }

    fn tell_monitor_of_write(&mut self, handle: &Handle, bytes: &[u8], offset: u64) {
        let Some(monitor) = &mut self.monitor else { return };
        let file = &self.state.files[index(handle.file)];
        let old = file.peek(&self.arena, bytes.len(), offset);
        let event = WriteEvent {
            operation: self.operation,
            file: handle.file,
            path: self.paths.path(handle.path),
            offset,
            old: old.as_deref(),
            new: bytes,
        };
        let verdict = monitor.write(&event);
        self.take_verdict(verdict);
    }

    pub(super) fn take_verdict(&mut self, verdict: Result<(), String>) {
        if let (None, Err(violation)) = (&self.violation, verdict) {
            self.violation = Some(format!("operation #{}: {violation}", self.operation));
        }
    }

    pub(super) fn set_len(&mut self, handle: &Handle, len: u64) -> io::Result<()> {
        self.alive(handle)?;
        self.asked = mix(self.asked, len);
        self.request.len = len;
        let result = self.begin(OpKind::SetLen).and_then(|_| {
            self.check_room(handle, len, 0)?;
            if let Some(monitor) = &mut self.monitor {
                let path = self.paths.path(handle.path);
                let verdict = monitor.set_len(handle.file, path, len);
                self.take_verdict(verdict);
            }
            self.guard_set_len(handle, len);
            self.with_file(handle.file, |file, scope| file.set_len(scope, len));
            Ok(())
        });
        self.end(file_op(OpKind::SetLen, Some(handle.file), 0, len), &result, |()| 0);
        result
    }

    pub(super) fn size(&mut self, handle: &Handle) -> io::Result<u64> {
        self.alive(handle)?;
        let result = self.begin(OpKind::Size).map(|_| self.with_file(handle.file, FileState::size));
        self.end(file_op(OpKind::Size, Some(handle.file), 0, 0), &result, |size| *size);
        result
    }

    pub(super) fn id(&mut self, handle: &Handle) -> io::Result<u32> {
        self.alive(handle)?;
        let result = self.begin(OpKind::Id).map(|_| handle.file);
        self.end(file_op(OpKind::Id, Some(handle.file), 0, 0), &result, |_| 0);
        result
    }

    pub(super) fn sync(&mut self, handle: &Handle, kind: OpKind) -> io::Result<()> {
        self.alive(handle)?;
        let result =
            self.begin(kind).and_then(|failure| self.sync_file(handle.file, kind, failure));
        if let Some(monitor) = &mut self.monitor {
            let verdict = monitor.synced(handle.file, self.paths.path(handle.path), result.is_ok());
            self.take_verdict(verdict);
        }
        if result.is_ok() {
            self.guard_fence(handle);
        }
        self.end(file_op(kind, Some(handle.file), 0, 0), &result, |()| 0);
        self.clear_up();
        result
    }

    /// What was written may land before it is synced, whether the disk is told to begin or not; so
    /// that changes nothing, unless it fails.
    pub(super) fn begin_write_back(&mut self, handle: &Handle) -> io::Result<()> {
        self.alive(handle)?;
        let kind = OpKind::BeginWriteBack;
        match self.begin_aside(kind)? {
            Some(failure @ Failure::Sync(_)) => self.sync_file(handle.file, kind, Some(failure)),
            _ => Ok(()),
        }
    }

    fn sync_file(&mut self, number: u32, kind: OpKind, failure: Option<Failure>) -> io::Result<()> {
        let (file, arena) = (&mut self.state.files[index(number)], &mut self.arena);
        let is_owed = file.fails_late;
        let tells = is_owed && kind != OpKind::BeginWriteBack;
        let how = match failure {
            Some(Failure::Sync(how)) => Some(how),
            _ => tells.then_some(SyncFailure::Drop),
        };
        // What is owed is told by a sync, whatever else has failed since.
        file.fails_late = how == Some(SyncFailure::Late) || (is_owed && !tells);
        match how {
            Some(SyncFailure::Keep) => Err(Errno::Eio.error()),
            Some(SyncFailure::Revert) => {
                file.revert(arena);
                Err(Errno::Eio.error())
            }
            Some(how) => {
                file.lose(arena);
                match how {
                    SyncFailure::Late if !tells => Ok(()),
                    SyncFailure::NoSpace => Err(Errno::Enospc.error()),
                    _ => Err(Errno::Eio.error()),
                }
            }
            None if self.profile.flush == Flush::Lying => Ok(()),
            None => {
                let data_only =
                    kind == OpKind::SyncData && self.profile.data_sync == DataSync::LosesSize;
                file.fence(if data_only { Fence::Data } else { Fence::All });
                Ok(())
            }
        }
    }

    /// Forgets contents that nothing refers to any more, once in a while.
    fn clear_up(&mut self) {
        if self.clears_up && self.recorder.is_off() && self.arena.len_bytes() > self.clear_up_at {
            self.state.compact(&mut self.arena);
            self.clear_up_at = CLEAR_UP_BYTES.max(self.arena.len_bytes() * 2);
        }
    }

    pub(super) fn try_lock(&mut self, handle: &Handle, mode: LockMode) -> io::Result<bool> {
        self.alive(handle)?;
        let result = self.begin(OpKind::Lock).map(|_| {
            // As `flock` does it: who asks again gives up what it has, whatever comes of it.
            self.unlock(handle);
            let excluded = self.locks.iter().any(|lock| {
                lock.file == handle.file
                    && (mode == LockMode::Exclusive || lock.mode == LockMode::Exclusive)
            });
            if !excluded {
                self.locks.push(Lock { file: handle.file, handle: handle.number, mode });
            }
            !excluded
        });
        self.end(file_op(OpKind::Lock, Some(handle.file), 0, 0), &result, |got| u64::from(*got));
        result
    }

    fn unlock(&mut self, handle: &Handle) {
        self.locks.retain(|lock| lock.handle != handle.number);
    }

    pub(super) fn close(&mut self, handle: &Handle) {
        if handle.generation != self.generation {
            return;
        }
        self.unlock(handle);
        if self.powered {
            self.operation += 1;
            self.counts[OpKind::Close as usize] += 1;
            // It tells no runs apart, but where the operations behind it get other numbers.
            self.request = Request::of_file(handle.file);
            self.keep_request(Some(OpKind::Close));
            self.end(file_op(OpKind::Close, Some(handle.file), 0, 0), &Ok(()), |()| 0);
        }
    }
}

/// How many bytes a transfer moves under a fault.
fn transferred(failure: Option<Failure>, asked: usize) -> usize {
    match failure {
        Some(Failure::Short(limit)) => asked.min(limit),
        _ => asked,
    }
}
