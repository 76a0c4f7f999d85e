//! Files that are no stores, and how stores are opened.
//!
//! Owns: the only way of the command to the file system beside the store, and the options with
//! which stores are opened. Must not know: what is read or written.

use super::outcome::{Code, Done, Failure};
use btree_store::{BTree, Options};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Opens a store that exists, to be read.
pub fn open_to_read(path: &Path) -> Done<BTree> {
    Ok(Options::new().read_only().open(path)?)
}

/// Whether a missing file is made, and with which pages.
#[derive(Clone, Copy)]
pub enum Missing {
    Fail,
    Create { page_size: u32 },
}

/// Opens a store to be written.
pub fn open_to_write(path: &Path, missing: Missing) -> Done<BTree> {
    let options = match missing {
        Missing::Fail => Options::new().must_exist(),
        Missing::Create { page_size } => Options::new().page_size(page_size),
    };
    Ok(options.open(path)?)
}

/// The length of a file in bytes.
pub fn len(path: &Path) -> Done<u64> {
    let metadata = std::fs::metadata(path);
    metadata.map(|found| found.len()).map_err(|error| Failure::io("ask for the length", &error))
}

/// A file of so many bytes or fewer is read at once: more than any length that the system makes up.
const SHORT_MAX: u64 = 1 << 16;

/// A value that comes from somewhere.
pub enum Source {
    Bytes(Vec<u8>),
    /// The file and its length.
    File(File, u64),
}

impl Source {
    /// A file's content: piece by piece, if its length is known.
    pub fn of_file(path: &Path, limit: u64) -> Done<Source> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let name = path.to_string_lossy();
        let (file, metadata) =
            open().map_err(|error: io::Error| Failure::io(&format!("read {name:?}"), &error))?;
        // Files that the system makes up say that they have no bytes, or a page of them, whatever
        // they have, and are read to their end.
        if metadata.is_file() && metadata.len() > SHORT_MAX {
            return Ok(Source::File(file, metadata.len()));
        }
        Source::of_reader(file, limit)
    }

    /// All that a reader has. One byte more than the limit is enough to be refused.
    pub fn of_reader(reader: impl Read, limit: u64) -> Done<Source> {
        let mut bytes = Vec::new();
        let read = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| Failure::io("read the value", &error))?;
        Ok(Source::Bytes(bytes))
    }
}

/// A stream of a backup. What is made of it is not written over it.
pub fn open_stream(path: &Path) -> Done<File> {
    let name = path.to_string_lossy();
    let file = File::open(path).map_err(|error| Failure::io(&format!("read {name:?}"), &error))?;
    hold(&file);
    Ok(file)
}

/// Standard input, which is not written over by what is made of it, as long as this lives.
pub fn hold_stdin() -> Option<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        hold(&file);
        Some(file)
    }
    #[cfg(not(unix))]
    None
}

/// Locks a file for those who read, as whoever makes a file finds out.
fn hold(file: &File) {
    if file.try_lock_shared().is_err() {
        // What cannot be locked may be a pipe, or somebody's who writes.
    }
}

/// Refuses to make a file of others of which one has a name that is written over meanwhile.
pub fn check_apart(file: &Path, streams: &[PathBuf]) -> Done<()> {
    for suffix in ["-create", "-btree-store-backup"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let Ok(taken) = std::fs::canonicalize(&name) else { continue };
        let is_taken = |stream: &&PathBuf| std::fs::canonicalize(stream).is_ok_and(|s| s == taken);
        if let Some(stream) = streams.iter().find(is_taken) {
            let name = stream.to_string_lossy();
            return Err(Failure::usage(format!("{name:?} has a name under which it is made")));
        }
    }
    Ok(())
}

/// Refuses what follows a stream: of a chain it is what is newer, and would be lost without a word.
pub fn ends_here(stream: &mut impl Read, otherwise: &str) -> Done<()> {
    match io::copy(&mut stream.take(1), &mut io::sink()) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{otherwise}: name each of a chain"))),
        Err(error) => Err(Failure::io("read the backup", &error)),
    }
}

/// The streams of a chain. Each is opened when the one before has been read: there may be more of
/// them than files may be open.
pub struct Chain<'a> {
    paths: std::slice::Iter<'a, PathBuf>,
    /// The one that was opened last.
    last: Option<(&'a Path, Rc<File>)>,
    /// Why the next one is missing.
    failure: Option<Failure>,
}

impl<'a> Chain<'a> {
    pub fn of(paths: &'a [PathBuf]) -> Chain<'a> {
        Chain { paths: paths.iter(), last: None, failure: None }
    }

    /// The stream that was not read to its end, if there is one, and why the next one is missing.
    pub fn end(self) -> (Option<&'a Path>, Option<Failure>) {
        (self.last.map(|(path, _)| path), self.failure)
    }

    /// Opens the next one, if there is one, where the last one ended as it should.
    fn open_next(&mut self) -> Done<Option<Rc<File>>> {
        if let Some((path, file)) = self.last.take() {
            ends_here(&mut &*file, "nothing was made, for bytes follow the stream")
                .map_err(|failure| failure.about(&path.to_string_lossy()))?;
        }
        let Some(path) = self.paths.next() else { return Ok(None) };
        let file = Rc::new(open_stream(path)?);
        self.last = Some((path, Rc::clone(&file)));
        Ok(Some(file))
    }
}

impl Iterator for Chain<'_> {
    type Item = Link;

    /// Where the next one fails, there is one that fails when it is read: an end would be the end
    /// of the chain, of which the file would be made.
    fn next(&mut self) -> Option<Link> {
        match self.open_next() {
            Ok(file) => file.map(|file| Link(Some(file))),
            Err(failure) => {
                self.failure = Some(failure);
                Some(Link(None))
            }
        }
    }
}

/// A stream of a chain, which cannot be read where there is none.
pub struct Link(Option<Rc<File>>);

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Some(file) => (&**file).read(buf),
            None => Err(io::Error::other("the chain is broken")),
        }
    }
}

/// Writes a file as a whole, in place of one that is there.
pub fn write(path: &Path, text: &str) -> Done<()> {
    let written = File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    let name = path.to_string_lossy();
    written.map_err(|error| Failure::new(Code::Failed, format!("write {name:?}: {error}")))
}
