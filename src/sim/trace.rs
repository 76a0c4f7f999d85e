//! The record of what was asked of the disk.
//!
//! Owns: [`Op`] and [`Trace`], a list of operations and a number that sums it up.
//! Must not know: how operations are carried out.
//! Keeps: equal runs have equal [`Trace::hash`]es, whatever the platform.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpKind {
    /// A file was opened, or made and opened.
    Open,
    /// The identity of a path was asked for.
    FileId,
    /// A name was changed.
    Rename,
    /// A name was removed.
    Remove,
    /// Names were made durable.
    SyncDir,
    /// Bytes were read.
    Read,
    /// Bytes were written.
    Write,
    /// The length was set.
    SetLen,
    /// The length was asked for.
    Size,
    /// Data was made durable.
    SyncData,
    /// Data and length were made durable.
    SyncAll,
    /// A lock was asked for.
    Lock,
    /// The identity of an open file was asked for.
    Id,
    /// A file was closed.
    Close,
    /// The disk was told to begin with what was written. It is counted, but it has no number among
    /// the operations, and traces leave it out.
    BeginWriteBack,
    /// A directory was made.
    CreateDir,
    /// A directory was removed.
    RemoveDir,
    /// A directory was listed.
    ReadDir,
}

impl OpKind {
    /// The number of kinds.
    pub(super) const COUNT: usize = OpKind::ReadDir as usize + 1;

    /// Every kind.
    pub(super) const ALL: [OpKind; OpKind::COUNT] = [
        OpKind::Open,
        OpKind::FileId,
        OpKind::Rename,
        OpKind::Remove,
        OpKind::SyncDir,
        OpKind::Read,
        OpKind::Write,
        OpKind::SetLen,
        OpKind::Size,
        OpKind::SyncData,
        OpKind::SyncAll,
        OpKind::Lock,
        OpKind::Id,
        OpKind::Close,
        OpKind::BeginWriteBack,
        OpKind::CreateDir,
        OpKind::RemoveDir,
        OpKind::ReadDir,
    ];

    /// Whether it moves bytes, of which some may be missing.
    pub(super) fn transfers(self) -> bool {
        matches!(self, OpKind::Read | OpKind::Write)
    }

    /// Whether a failure of it leaves something behind, see
    /// [`SyncFailure`](super::SyncFailure).
    pub(super) fn writes_back(self) -> bool {
        matches!(self, OpKind::SyncData | OpKind::SyncAll | OpKind::BeginWriteBack)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            OpKind::Open => "open",
            OpKind::FileId => "file_id",
            OpKind::Rename => "rename",
            OpKind::Remove => "remove",
            OpKind::SyncDir => "sync_dir",
            OpKind::Read => "read",
            OpKind::Write => "write",
            OpKind::SetLen => "set_len",
            OpKind::Size => "size",
            OpKind::SyncData => "sync_data",
            OpKind::SyncAll => "sync_all",
            OpKind::Lock => "lock",
            OpKind::Id => "id",
            OpKind::Close => "close",
            OpKind::BeginWriteBack => "begin_write_back",
            OpKind::CreateDir => "create_dir",
            OpKind::RemoveDir => "remove_dir",
            OpKind::ReadDir => "read_dir",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It worked; the number of bytes transferred, or the number asked for.
    Done(u64),
    /// It failed with an error of this kind.
    Failed(std::io::ErrorKind),
}

/// One operation, as it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Its number; the first operation of a disk is 1.
    pub number: u64,
    /// What was asked.
    pub kind: OpKind,
    /// The number of the file, if the operation concerns one that exists.
    pub file: Option<u32>,
    /// The offset in bytes, where there is one.
    pub offset: u64,
    /// The length in bytes, where there is one.
    pub len: u64,
    /// CRC32C of the bytes written or read, or of the path named; 0 where there are none.
    pub checksum: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}", self.number, self.kind.name())?;
        if let Some(file) = self.file {
            write!(f, " file {file}")?;
        }
        match self.kind {
            OpKind::Read | OpKind::Write => {
                write!(f, " at {} len {} crc {:08x}", self.offset, self.len, self.checksum)?;
            }
            OpKind::SetLen => write!(f, " to {}", self.len)?,
            _ => {}
        }
        match self.outcome {
            Outcome::Done(done) if matches!(self.kind, OpKind::Read | OpKind::Write) => {
                if done < self.len {
                    write!(f, ": only {done}")?;
                }
                Ok(())
            }
            Outcome::Done(_) => Ok(()),
            Outcome::Failed(kind) => write!(f, ": {kind:?}"),
        }
    }
}

/// The operations of a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    ops: Vec<Op>,
}

impl Trace {
    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// A number that two traces share only if they are, in all likelihood, the same.
    pub fn hash(&self) -> u64 {
        let mut mixer = Mixer(0xCBF2_9CE4_8422_2325);
        self.ops.hash(&mut mixer);
        mixer.finish()
    }

    pub(super) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    pub(super) fn clear(&mut self) {
        self.ops.clear();
    }
}

/// FNV-1a with a rotation: the same value on every run, unlike the standard library's hasher.
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let mixed = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
            self.0 = mixed.rotate_left(23);
        }
    }

    // Numbers by their values: the bytes that these are by default are a machine's own.
    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(i64::try_from(number).unwrap_or(i64::MAX).cast_unsigned());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hashed_by_value() {
        let hash = |write: &dyn Fn(&mut Mixer)| {
            let mut mixer = Mixer(1);
            write(&mut mixer);
            mixer.finish()
        };
        let bytes = hash(&|mixer| mixer.write(&0x0102_0304_u64.to_le_bytes()));
        assert_eq!(hash(&|mixer| mixer.write_u64(0x0102_0304)), bytes);
        assert_eq!(hash(&|mixer| mixer.write_usize(0x0102_0304)), bytes);
        assert_eq!(hash(&|mixer| mixer.write_isize(0x0102_0304)), bytes);
        let short = hash(&|mixer| mixer.write(&0x0102_0304_u32.to_le_bytes()));
        assert_eq!(hash(&|mixer| mixer.write_u32(0x0102_0304)), short);
    }
}
