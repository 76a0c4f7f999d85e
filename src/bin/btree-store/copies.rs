//! Copies of whole stores.
//!
//! Owns: `backup` and `restore`. Must not know: how a copy is made, or what is in it.

use super::args::{Backup, Restore};
use super::files::{Chain, check_apart, ends_here, hold_stdin, open_stream, open_to_read};
use super::outcome::{Code, Done, Failure};
use super::output::{Output, note};
use btree_store::{BTree, BackupStats, Error, ErrorDetail, Options};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Copies a store into a new file, or into a stream.
pub fn backup(args: &Backup, out: &mut Output) -> Done {
    let db = open_to_read(&args.file)?;
    let Some(target) = &args.target else {
        if out.is_json() {
            return Err(Failure::usage("--json has no place beside a stream: name a TARGET"));
        }
        let written = match args.since {
            None => db.snapshot().backup_to(&mut out.out),
            Some(since) => db.backup_since(since, &mut out.out),
        };
        // What went wrong counts before whether somebody reads what came before it.
        let done = written.map_err(why_not_written)?;
        out.out.flush()?;
        if args.since.is_some() {
            // The next part is made since this state.
            note(&format!("state {}", done.seq));
        }
        return Ok(Code::Done);
    };
    let name = target.to_string_lossy();
    let done = match args.since {
        None => db.backup(target),
        Some(since) => db.backup_since_file(since, target),
    };
    let done = done.map_err(|error| why(error).about(&name))?;
    if args.since.is_some() && !out.is_json() {
        out.text(&format!("state {}: ", done.seq))?;
    }
    tell(out, &done)
}

/// Why a stream ended early. A closed pipe is what it is for every command.
fn why_not_written(error: Error) -> Failure {
    match error.detail() {
        Some(ErrorDetail::Io { kind: ErrorKind::BrokenPipe, .. }) => Failure::ClosedPipe,
        _ => error.into(),
    }
}

/// Makes a store of streams.
pub fn restore(args: &Restore, out: &mut Output) -> Done {
    check_apart(&args.file, &args.streams)?;
    let _held = args.streams.is_empty().then(hold_stdin);
    let done = match (&args.onto, &args.streams[..]) {
        (Some(base), []) => put_onto(base, &mut io::stdin().lock(), &args.file),
        (Some(base), [stream]) => put_onto(base, &mut open_stream(stream)?, &args.file),
        (Some(_), _) => Err(Failure::usage("--onto takes one stream at a time")),
        (None, []) => make_of_one(&mut io::stdin().lock(), &args.file),
        (None, [stream]) => make_of_one(&mut open_stream(stream)?, &args.file),
        (None, streams) => make_of_chain(streams, &args.file),
    }?;
    tell(out, &done)
}

/// Makes a store of one stream.
fn make_of_one(stream: &mut impl Read, file: &Path) -> Done<BackupStats> {
    let mut end = End(None);
    let done = Options::new().restore_and(stream, file, |stream| end.look(stream));
    end.told(done)
}

/// Why a stream does not end where it should: then no file is made.
struct End(Option<Failure>);

impl End {
    fn look(&mut self, stream: &mut impl Read) -> Result<(), Error> {
        self.0 = ends_here(stream, "nothing was made, for bytes follow the stream").err();
        if self.0.is_none() { Ok(()) } else { Err(Error::Invalid) }
    }

    fn told(self, done: Result<BackupStats, Error>) -> Done<BackupStats> {
        self.0.map_or_else(|| done.map_err(why), Err)
    }
}

/// Makes a store of another and of what is newer.
fn put_onto(base: &Path, stream: &mut impl Read, file: &Path) -> Done<BackupStats> {
    let about_base = |failure: Failure| failure.about(&base.to_string_lossy());
    let base: BTree = open_to_read(base).map_err(about_base)?;
    let mut end = End(None);
    let done = base.snapshot().apply_backup_and(stream, file, |stream| end.look(stream));
    end.told(done)
}

/// Makes a store of several streams.
fn make_of_chain(streams: &[PathBuf], file: &Path) -> Done<BackupStats> {
    let mut chain = Chain::of(streams);
    let done = Options::new().restore_chain(&mut chain, file);
    let (at, failure) = chain.end();
    if let Some(failure) = failure {
        return Err(failure);
    }
    done.map_err(|error| match (at, &error) {
        // Of the streams: which of them it is, nobody else knows.
        (Some(at), Error::Corruption | Error::Invalid) => {
            why(error).about(&format!("at {}", at.to_string_lossy()))
        }
        _ => why(error),
    })
}

/// Why a new file was not made.
fn why(error: Error) -> Failure {
    match error {
        Error::Duplicate => Failure::new(Code::Failed, "the file exists already"),
        other => other.into(),
    }
}

fn tell(out: &mut Output, done: &BackupStats) -> Done {
    if out.is_json() {
        out.json(|json| {
            json.number("seq", done.seq);
            json.number("buckets", done.buckets);
            json.number("entries", done.entries);
            json.number("content_bytes", done.content_bytes);
            json.number("written_bytes", done.written_bytes);
        })?;
    } else {
        out.text(&format!("{} entries of {} buckets\n", done.entries, done.buckets))?;
    }
    Ok(Code::Done)
}
