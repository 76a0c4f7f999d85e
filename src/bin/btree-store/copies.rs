//! Copies of whole stores.
//!
//! Owns: `backup` and `restore`. Must not know: how a copy is made, or what is in it.

use super::args::{Backup, Restore};
use super::files::open_to_read;
use super::outcome::{Code, Done, Failure};
use super::output::Output;
use btree_store::{BackupStats, Error, ErrorDetail, Options};
use std::io::{self, ErrorKind, Write};

/// Copies a store into a new file, or into a stream.
pub fn backup(args: &Backup, out: &mut Output) -> Done {
    let db = open_to_read(&args.file)?;
    let Some(target) = &args.target else {
        if out.is_json() {
            return Err(Failure::usage("--json has no place beside a stream: name a TARGET"));
        }
        let written = db.snapshot().backup_to(&mut out.out);
        out.out.flush()?;
        written.map_err(why_not_written)?;
        return Ok(Code::Done);
    };
    let name = target.to_string_lossy();
    let done = db.backup(target).map_err(|error| why(error).about(&name))?;
    tell(out, &done)
}

/// Why a stream ended early. A closed pipe is what it is for every command.
fn why_not_written(error: Error) -> Failure {
    match error.detail() {
        Some(ErrorDetail::Io { kind: ErrorKind::BrokenPipe, .. }) => Failure::ClosedPipe,
        _ => error.into(),
    }
}

/// Makes a store of a stream.
pub fn restore(args: &Restore, out: &mut Output) -> Done {
    let done = Options::new().restore(&mut io::stdin().lock(), &args.file).map_err(why)?;
    tell(out, &done)
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
