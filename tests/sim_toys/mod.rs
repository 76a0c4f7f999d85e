//! Small stores for the tests of the simulated disk: one that is right, and the same with one
//! mistake each, as they are made.

use btree_store::sim::{Checked, Crash, SimDisk};
use btree_store::vfs::{self, OpenMode, Vfs, VfsFile};
use std::io;
use std::path::Path;

/// What is wrong with a [`Toy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    None,
    /// The new file gets its name before its bytes are durable.
    RenameBeforeSync,
    /// The new file's name is never made durable.
    NoDirectorySync,
    /// Made in place, so that half of it can be found.
    CreateInPlace,
    /// One sync for data and meta, although recovery does not check the data.
    MetaBeforeData,
    /// `sync_data` after growth.
    SizeNotFenced,
    /// The checksum of the meta covers its first half.
    HalfChecksum,
    /// Success is reported before the last sync.
    AcknowledgedEarly,
    /// Every commit writes the same meta slot.
    OneSlot,
    /// The data of a commit overwrites that of the commit before it.
    OverwritesData,
    /// A failed sync is called again, and believed.
    RetriesSync,
    /// What recovery found in the page cache is not written again.
    TrustsCache,
    /// A write is not continued after a short one.
    ShortWrite,
}

/// Every mistake.
pub const MISTAKES: [Mistake; 12] = [
    Mistake::RenameBeforeSync,
    Mistake::NoDirectorySync,
    Mistake::CreateInPlace,
    Mistake::MetaBeforeData,
    Mistake::SizeNotFenced,
    Mistake::HalfChecksum,
    Mistake::AcknowledgedEarly,
    Mistake::OneSlot,
    Mistake::OverwritesData,
    Mistake::RetriesSync,
    Mistake::TrustsCache,
    Mistake::ShortWrite,
];

const META: usize = 1024;
const DATA: usize = 1024;
const PATH: &str = "toy";
const TEMPORARY: &str = "toy-create";

/// A register: two meta slots of two sectors each, then the values, each in a place of its own.
/// The state after commit `n` is the value [`value`]`(n)`.
pub struct Toy {
    file: Box<dyn VfsFile>,
    mistake: Mistake,
    pub seq: u64,
    place: u64,
    poisoned: bool,
}

/// What the register holds after commit `seq`.
pub fn value(seq: u64) -> Vec<u8> {
    (0..DATA as u64).map(|at| (seq * 31 + at % 251 + 1).to_le_bytes()[0]).collect()
}

fn meta(seq: u64, mistake: Mistake) -> Vec<u8> {
    let mut bytes = vec![0x55; META];
    bytes[4..12].copy_from_slice(&seq.to_le_bytes());
    bytes[META - 8..].copy_from_slice(&Toy::place(seq, mistake).to_le_bytes());
    let checksum = meta_checksum(&bytes, mistake);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn meta_checksum(bytes: &[u8], mistake: Mistake) -> u32 {
    let end = if mistake == Mistake::HalfChecksum { META / 2 } else { META };
    crc32c::crc32c(&bytes[4..end])
}

/// The sequence number of a valid meta, and where its value is.
fn parse(bytes: &[u8], mistake: Mistake) -> Option<(u64, u64)> {
    let stored = u32::from_le_bytes(bytes[..4].try_into().ok()?);
    let seq = u64::from_le_bytes(bytes[4..12].try_into().ok()?);
    let place = u64::from_le_bytes(bytes[META - 8..].try_into().ok()?);
    (meta_checksum(bytes, mistake) == stored).then_some((seq, place))
}

fn write(file: &dyn VfsFile, bytes: &[u8], offset: u64, mistake: Mistake) -> io::Result<()> {
    if mistake == Mistake::ShortWrite {
        return file.write_at(bytes, offset).map(|_| ());
    }
    vfs::write_all_at(file, bytes, offset)
}

impl Toy {
    pub fn open(disk: &SimDisk, mistake: Mistake) -> io::Result<Toy> {
        let path = Path::new(PATH);
        let file = match disk.open(path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Toy::create(disk, mistake)?,
            other => other?,
        };
        let mut toy = Toy { file, mistake, seq: 0, place: 0, poisoned: false };
        (toy.seq, toy.place) = toy.newest_meta()?;
        if mistake != Mistake::TrustsCache {
            toy.write_again()?;
        }
        Ok(toy)
    }

    fn create(disk: &SimDisk, mistake: Mistake) -> io::Result<Box<dyn VfsFile>> {
        let (path, temporary) = (Path::new(PATH), Path::new(TEMPORARY));
        let in_place = mistake == Mistake::CreateInPlace;
        let file = disk.open(if in_place { path } else { temporary }, OpenMode::Create)?;
        let file_ref = &*file;
        file_ref.set_len(0)?;
        write(file_ref, &meta(0, mistake), 0, mistake)?;
        write(file_ref, &meta(0, mistake), META as u64, mistake)?;
        write(file_ref, &value(0), Toy::place(0, mistake), mistake)?;
        if mistake != Mistake::RenameBeforeSync {
            file_ref.sync_all()?;
        }
        if !in_place {
            disk.rename(temporary, path)?;
        }
        if mistake != Mistake::NoDirectorySync {
            disk.sync_dir(path)?;
        }
        Ok(file)
    }

    fn place(seq: u64, mistake: Mistake) -> u64 {
        let number = if mistake == Mistake::OverwritesData { 0 } else { seq };
        (2 * META) as u64 + number * DATA as u64
    }

    fn newest_meta(&self) -> io::Result<(u64, u64)> {
        let mut newest = None;
        for slot in 0..2 {
            let mut bytes = vec![0; META];
            vfs::read_exact_at(&*self.file, &mut bytes, slot * META as u64)?;
            newest = newest.max(parse(&bytes, self.mistake));
        }
        newest.ok_or_else(|| io::Error::other("no valid meta"))
    }

    /// What was read may be in the page cache only: it is made durable before it is built on.
    fn write_again(&self) -> io::Result<()> {
        let value = self.read()?;
        write(&*self.file, &value, self.place, self.mistake)?;
        self.file.set_len(self.place + DATA as u64)?;
        self.file.sync_all()?;
        self.write_meta()?;
        self.file.sync_all()
    }

    fn write_meta(&self) -> io::Result<()> {
        let slot = if self.mistake == Mistake::OneSlot { 0 } else { self.seq % 2 };
        write(&*self.file, &meta(self.seq, self.mistake), slot * META as u64, self.mistake)
    }

    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; DATA];
        vfs::read_exact_at(&*self.file, &mut bytes, self.place)?;
        Ok(bytes)
    }

    fn sync(&mut self, grown: bool) -> io::Result<()> {
        if self.poisoned {
            return Err(io::Error::other("poisoned"));
        }
        let all = grown && self.mistake != Mistake::SizeNotFenced;
        let sync = || if all { self.file.sync_all() } else { self.file.sync_data() };
        let mut result = sync();
        if result.is_err() && self.mistake == Mistake::RetriesSync {
            result = sync();
        }
        self.poisoned = result.is_err();
        result
    }

    /// Makes the value of the next commit the register's; marks on `disk` when it began, and
    /// when it was acknowledged.
    pub fn commit(&mut self, disk: &SimDisk) -> io::Result<()> {
        let seq = self.seq + 1;
        disk.started(seq);
        let place = Toy::place(seq, self.mistake);
        write(&*self.file, &value(seq), place, self.mistake)?;
        if self.mistake != Mistake::MetaBeforeData {
            self.sync(true)?;
        }
        (self.seq, self.place) = (seq, place);
        self.write_meta()?;
        if self.mistake == Mistake::AcknowledgedEarly {
            disk.acknowledged(seq);
        }
        self.sync(self.mistake == Mistake::MetaBeforeData)?;
        disk.acknowledged(seq);
        Ok(())
    }
}

/// A workload of this many commits.
pub fn commits(mistake: Mistake, number: u64) -> impl FnMut(&SimDisk) -> Checked {
    move |disk| {
        let mut toy = Toy::open(disk, mistake)?;
        for _ in 0..number {
            toy.commit(disk)?;
        }
        Ok(())
    }
}

/// The check: the register holds a state that it may hold; it takes a further commit.
pub fn check(mistake: Mistake) -> impl FnMut(&SimDisk, &Crash) -> Checked {
    move |disk, crash| {
        let mut toy = Toy::open(disk, mistake)?;
        if toy.seq < crash.acknowledged() {
            let message = format!("commit {} is lost, found {}", crash.acknowledged(), toy.seq);
            return Err(message.into());
        }
        if toy.seq > crash.started() {
            return Err(format!("found {}, which never began", toy.seq).into());
        }
        if toy.read()? != value(toy.seq) {
            return Err(format!("the value of commit {} is torn", toy.seq).into());
        }
        // Whoever saw this state may rely on it.
        disk.acknowledged(toy.seq);
        toy.commit(disk)?;
        Ok(())
    }
}
