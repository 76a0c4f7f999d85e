//! What a run asks of the disk, to be told apart from what it asks when it is had again.
//!
//! Owns: [`Request`], and [`Requests`], those of a run in order.
//! Must not know: how they are carried out, or how it is found that two runs differ.
//! Keeps: requests are compared by what is asked, not by the numbers that they or their paths have.

use super::paths::{PathId, Paths};
use super::trace::OpKind;

/// Requests of a run that are kept at most.
const REQUESTS_MAX: usize = 100_000;

/// One thing that a run asks for. What does not belong to it is 0, or missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// The number of the operation, or of the one before.
    pub(super) number: u64,
    /// Nothing for a look at a name, or at a file, that is no operation.
    pub(super) kind: Option<OpKind>,
    pub(super) path: Option<PathId>,
    /// What a renaming asks for.
    pub(super) to: Option<PathId>,
    pub(super) file: Option<u32>,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Of the bytes written.
    pub(super) checksum: u32,
}

impl Request {
    pub(super) fn of_path(path: PathId) -> Request {
        Request { path: Some(path), ..Request::default() }
    }

    pub(super) fn of_file(file: u32) -> Request {
        Request { file: Some(file), ..Request::default() }
    }

    /// Where in its run it is.
    fn place(&self) -> String {
        let behind = if self.kind.is_some() { "" } else { "behind " };
        format!("{behind}operation #{}", self.number)
    }

    /// What is asked for.
    fn what<'a>(&self, paths: &'a Paths) -> impl PartialEq + use<'a> {
        let name = |path: Option<PathId>| path.map(|path| paths.path(path).as_os_str());
        let Request { kind, file, offset, len, checksum, .. } = *self;
        (kind, name(self.path), name(self.to), file, offset, len, checksum)
    }

    /// The same in words.
    fn text(&self, paths: &Paths) -> String {
        let name = |path: Option<PathId>, word: &str| {
            path.map_or(String::new(), |path| format!(" {word}{}", paths.path(path).display()))
        };
        let Request { offset, len, checksum, .. } = self;
        let kind = self.kind.map_or("a look at", OpKind::name);
        let file = self.file.map_or(String::new(), |file| format!(" file {file}"));
        let place = match self.kind {
            Some(OpKind::Read) => format!(" at {offset} len {len}"),
            Some(OpKind::Write) => format!(" at {offset} len {len} crc {checksum:08x}"),
            Some(OpKind::SetLen) => format!(" to {len}"),
            _ => String::new(),
        };
        format!("{kind}{file}{place}{}{}", name(self.path, ""), name(self.to, "to "))
    }
}

/// What a run asked for, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    held: Vec<Request>,
}

impl Requests {
    pub(super) fn push(&mut self, request: Request) {
        if self.held.len() < REQUESTS_MAX {
            self.held.push(request);
        }
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
    }
}

/// A run's requests, with the paths that they name.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) requests: &'a Requests,
    pub(super) paths: &'a Paths,
    /// Whether the run came to its end: one that was cut off would have asked for more.
    pub(super) is_whole: bool,
}

impl Asked<'_> {
    /// The first thing that this run asks for where another one asked for something else, in words;
    /// nothing if none is known. Closing a file tells runs apart only where nothing else does.
    pub(super) fn first_unlike(&self, before: &Asked<'_>) -> Option<String> {
        let is_told = |request: &&Request| request.kind != Some(OpKind::Close);
        self.first_unlike_of(before, is_told).or_else(|| self.first_unlike_of(before, |_| true))
    }

    fn first_unlike_of(
        &self,
        before: &Asked<'_>,
        is_told: fn(&&Request) -> bool,
    ) -> Option<String> {
        let mut old = before.requests.held.iter().filter(is_told);
        let mut new = self.requests.held.iter().filter(is_told);
        loop {
            return match (old.next(), new.next()) {
                (Some(old), Some(new)) => {
                    if old.what(before.paths) == new.what(self.paths) {
                        continue;
                    }
                    let (was, is) = (old.text(before.paths), new.text(self.paths));
                    Some(format!("{} is {is}, where it was {was} before", new.place()))
                }
                (None, Some(new)) if before.is_whole => Some(format!(
                    "{} is {}, where there was none",
                    new.place(),
                    new.text(self.paths)
                )),
                (Some(old), None) if self.is_whole => {
                    let was = old.text(before.paths);
                    Some(format!("{} was {was}, and there is none any more", old.place()))
                }
                _ => None,
            };
        }
    }
}
