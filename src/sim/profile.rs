//! What kind of disk is simulated.
//!
//! Owns: [`Profile`]. Must not know: how the disk does it. Keeps: nothing.

/// What a file shows where it grew and no data landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Growth {
    /// Zeros.
    Zeros,
    /// Zeros or what the disk held there before: what was cut off from the file there, or, as
    /// another file's, a pattern that is neither text nor zeros.
    Stale,
}

/// What `sync_data` does about a file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataSync {
    /// It makes it durable, as POSIX asks for.
    KeepsSize,
    /// It leaves it out, so that only `sync_all` makes growth durable.
    LosesSize,
}

/// Whether a sync that reports success did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flush {
    /// It did.
    Honest,
    /// It did nothing. Nothing is durable on such a disk, but what is found should still be
    /// whole, or be reported as damaged.
    Lying,
}

/// What kind of disk is simulated.
///
/// ```
/// use btree_store::sim::{Growth, Profile, SimDisk};
/// // A disk that writes 4,096 bytes atomically, and shows old bytes where a file grew.
/// let profile = Profile { sector_bytes: 4096, growth: Growth::Stale, ..Profile::default() };
/// let disk = SimDisk::with_profile(profile);
/// # let _ = disk;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The bytes that reach the medium together or not at all: 512 unless said otherwise; 4096
    /// for disks that write whole pages, 64 for finer tears. At least 1.
    pub sector_bytes: u32,
    /// What a file shows where it grew and no data landed.
    pub growth: Growth,
    /// What `sync_data` does about a file's size.
    pub data_sync: DataSync,
    /// Whether a sync that reports success did its work.
    pub flush: Flush,
    /// The longest file, in bytes; going beyond it is ENOSPC.
    pub file_bytes_max: u64,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            sector_bytes: 512,
            growth: Growth::Zeros,
            data_sync: DataSync::KeepsSize,
            flush: Flush::Honest,
            file_bytes_max: 1 << 32,
        }
    }
}
