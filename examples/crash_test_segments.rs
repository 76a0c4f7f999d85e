//! A log of one's own without the store, crash-tested: segments in a directory, and a manifest that
//! says which of them count.
//!
//! `cargo run --release --features sim --example crash_test_segments`
//!
//! Three mistakes with directories, each made often. A directory that was made is lost with all
//! that was synced in it, unless the directory above was synced, too. A manifest can be on the disk
//! before the name of a segment that it counts. And what a listing shows after a crash are also
//! segments that were never finished, and those that a merge has replaced. The explorer finds each,
//! and runs every outcome of the log that makes none of them.

use btree_store::sim::{Checked, Crash, Explorer, Report, SimDisk};
use btree_store::vfs::{OpenMode, Vfs, read_exact_at, write_all_at};
use std::io;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "log";
const MANIFEST: &str = "log/manifest";
const TEMPORARY: &str = "log/manifest.new";

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The directory is made, and its own name never made durable.
    NoParentSync,
    /// The manifest counts a segment whose name may not be durable.
    NoSegmentNameSync,
    /// After a crash all segments count that the directory shows.
    TrustsListing,
    /// Nothing.
    None,
}

struct Log<'a> {
    vfs: &'a dyn Vfs,
    mistake: Mistake,
    /// The segments that count, in order.
    segments: Vec<u64>,
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(number.to_string())
}

fn read(vfs: &dyn Vfs, path: &Path) -> io::Result<String> {
    let file = vfs.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.size()?).map_err(io::Error::other)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn write(vfs: &dyn Vfs, path: &Path, text: &str) -> io::Result<()> {
    let file = vfs.open(path, OpenMode::Create)?;
    // A crash may have left one that is longer.
    file.set_len(0)?;
    write_all_at(&*file, text.as_bytes(), 0)?;
    file.sync_all()
}

impl<'a> Log<'a> {
    fn open(vfs: &'a dyn Vfs, mistake: Mistake) -> io::Result<Log<'a>> {
        let directory = Path::new(DIRECTORY);
        match vfs.create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if mistake != Mistake::NoParentSync {
            // Also of one that is there: it may be from a process that was killed before this.
            vfs.sync_dir(directory)?;
        }
        let listed = vfs.read_dir(directory)?;
        let mut listed: Vec<u64> =
            listed.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
        listed.sort_unstable();
        let counted = match read(vfs, Path::new(MANIFEST)) {
            _ if mistake == Mistake::TrustsListing => listed.clone(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => text?.split_whitespace().filter_map(|number| number.parse().ok()).collect(),
        };
        // Never finished, or replaced.
        for number in listed.iter().filter(|number| !counted.contains(number)) {
            vfs.remove(&segment(*number))?;
        }
        Ok(Log { vfs, mistake, segments: counted })
    }

    /// Appends lines, as a segment of their own.
    fn append(&mut self, lines: &str) -> io::Result<()> {
        let segments = [&self.segments[..], &[self.write_segment(lines)?]].concat();
        self.count(segments)
    }

    /// Makes one segment of all.
    fn merge(&mut self) -> io::Result<()> {
        let merged = vec![self.write_segment(&self.lines()?)?];
        let replaced = self.segments.clone();
        self.count(merged)?;
        replaced.into_iter().try_for_each(|number| self.vfs.remove(&segment(number)))
    }

    fn lines(&self) -> io::Result<String> {
        self.segments.iter().map(|number| read(self.vfs, &segment(*number))).collect()
    }

    fn write_segment(&self, lines: &str) -> io::Result<u64> {
        let number = self.segments.last().map_or(1, |last| last + 1);
        write(self.vfs, &segment(number), lines)?;
        if self.mistake != Mistake::NoSegmentNameSync {
            self.vfs.sync_dir(&segment(number))?;
        }
        Ok(number)
    }

    /// Has these segments count, and no other.
    fn count(&mut self, segments: Vec<u64>) -> io::Result<()> {
        let numbers: Vec<String> = segments.iter().map(u64::to_string).collect();
        let (manifest, temporary) = (Path::new(MANIFEST), Path::new(TEMPORARY));
        write(self.vfs, temporary, &numbers.join(" "))?;
        self.vfs.rename(temporary, manifest)?;
        self.vfs.sync_dir(manifest)?;
        self.segments = segments;
        Ok(())
    }
}

fn line(n: u64) -> String {
    format!("line {n}\n")
}

/// The workload: lines, a merge, and another line.
fn work(disk: &SimDisk, mistake: Mistake) -> Checked {
    let mut log = Log::open(disk, mistake)?;
    for n in 1..=3 {
        disk.started(n);
        log.append(&line(n))?;
        disk.acknowledged(n);
        if n == 2 {
            log.merge()?;
        }
    }
    Ok(())
}

/// The check: the lines that may be found are, each once, and the log goes on behind them.
fn check(disk: &SimDisk, crash: &Crash, mistake: Mistake) -> Checked {
    let mut log = Log::open(disk, mistake)?;
    let found = log.lines()?;
    let lines = |last: u64| (1..=last).map(line).collect::<String>();
    let mut possible = crash.acknowledged()..=crash.started();
    if !possible.any(|last| found == lines(last)) {
        let (from, to) = (crash.acknowledged(), crash.started());
        return Err(format!("found {found:?}, not the first {from} to {to} lines").into());
    }
    log.append("the last\n")?;
    let again = Log::open(disk, mistake)?.lines()?;
    if again == found + "the last\n" { Ok(()) } else { Err(format!("then {again:?}").into()) }
}

/// Every outcome of every crash.
pub fn explore(mistake: Mistake) -> Report {
    Explorer::new(format!("{mistake:?}"))
        .explore(|disk| work(disk, mistake), |disk, crash| check(disk, crash, mistake))
}

/// Shows all four.
pub fn main() {
    for mistake in
        [Mistake::NoParentSync, Mistake::NoSegmentNameSync, Mistake::TrustsListing, Mistake::None]
    {
        println!("{}\n", explore(mistake));
    }
}
