//! A whole store from text.
//!
//! Owns: `load`: the lines, and in which transactions they are put. Must not know: how they were
//! made.

use super::args::Load;
use super::dump::{BUCKET, END, first_line};
use super::entries::missing;
use super::files::{hold_stdin, open_to_write};
use super::outcome::{Code, Done, Failure};
use super::output::Output;
use super::text::Form;
use btree_store::format::{PAGE_SIZE_MAX, VALUE_LEN_MAX};
use btree_store::{BTree, Error, MultiTxn};
use std::io::{BufRead, ErrorKind};

/// Bytes of a line at most: a value of which each byte is escaped, and a key.
const LINE_LEN_MAX: u64 = 4 * (VALUE_LEN_MAX + PAGE_SIZE_MAX as u64);

/// A line behind the first.
enum Line {
    Bucket(String),
    Entry(Vec<u8>, Vec<u8>),
    End,
}

/// The lines of a dump.
struct Lines<R> {
    input: R,
    form: Form,
    /// The number of the line that was read last, from 1.
    number: u64,
    buckets: u64,
    entries: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads the first line.
    fn begin(input: R) -> Done<Lines<R>> {
        let mut lines = Lines { input, form: Form::Text, number: 0, buckets: 0, entries: 0 };
        let line = lines.next_line()?.unwrap_or_default();
        for form in [Form::Text, Form::Hex] {
            if line == first_line(form).as_bytes() {
                lines.form = form;
                return Ok(lines);
            }
        }
        Err(lines.wrong(format_args!("is not {:?}, as a dump begins", first_line(Form::Text))))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("line {}: {what}", self.number))
    }

    /// The bytes of the next line; none behind the last.
    fn next_line(&mut self) -> Done<Option<Vec<u8>>> {
        self.number += 1;
        let mut line: Vec<u8> = Vec::new();
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io("read the dump", &error)),
            };
            let end = piece.iter().position(|&byte| byte < b' ' && byte != b'\t');
            let taken = end.unwrap_or(piece.len());
            let is_last = piece.is_empty();
            let byte = end.map(|end| piece[end]);
            let has_room = line.try_reserve(taken).is_ok();
            if has_room {
                line.extend_from_slice(&piece[..taken]);
            }
            self.input.consume(taken + usize::from(byte.is_some()));
            match byte {
                _ if !has_room || line.len() as u64 > LINE_LEN_MAX => {
                    return Err(self.wrong("is too long"));
                }
                Some(b'\n') => return Ok(Some(line)),
                Some(byte) => {
                    return Err(self.wrong(format_args!("holds the byte {byte:#04x} as it is")));
                }
                None if is_last => return Ok((!line.is_empty()).then_some(line)),
                None => {}
            }
        }
    }

    fn next(&mut self) -> Done<Line> {
        let Some(line) = self.next_line()? else {
            return Err(self.wrong("the dump ends without its last line"));
        };
        if let [b' ', entry @ ..] = &line[..] {
            return self.entry(entry);
        }
        if let Some(name) = line.strip_prefix(BUCKET.as_bytes()) {
            let name = Form::Text.read(name).map_err(|why| self.wrong(why))?;
            let name = String::from_utf8(name);
            self.buckets += 1;
            return name.map(Line::Bucket).map_err(|_| self.wrong("a bucket's name is UTF-8"));
        }
        let Some(counts) = line.strip_prefix(END.as_bytes()) else {
            return Err(self.wrong("is neither a bucket, nor an entry, nor the end"));
        };
        let stated = format!("{} {}", self.buckets, self.entries);
        if counts != stated.as_bytes() {
            let counts = Form::Text.show(counts);
            return Err(self.wrong(format_args!("says {counts}, but {stated} were there")));
        }
        match self.next_line()? {
            None => Ok(Line::End),
            Some(_) => Err(self.wrong("follows the end")),
        }
    }

    fn entry(&mut self, entry: &[u8]) -> Done<Line> {
        let Some(tab) = entry.iter().position(|&byte| byte == b'\t') else {
            return Err(self.wrong("has no tab between key and value"));
        };
        let (key, value) = (&entry[..tab], &entry[tab + 1..]);
        if value.contains(&b'\t') {
            return Err(self.wrong("has two tabs"));
        }
        let read = |bytes| self.form.read(bytes).map_err(|why| self.wrong(why));
        let entry = Line::Entry(read(key)?, read(value)?);
        self.entries += 1;
        Ok(entry)
    }
}

/// What follows a bucket within a transaction.
enum Next {
    Bucket(String),
    /// The transaction has its entries; so does the dump, or the bucket goes on.
    Commit(Option<String>),
}

/// Puts entries into a bucket until it ends, or the transaction is full.
fn fill_bucket<R: BufRead>(
    multi: &mut MultiTxn<'_>,
    name: &str,
    lines: &mut Lines<R>,
    left: &mut u64,
) -> Done<Next> {
    let line = lines.number;
    let mut begun = false;
    let result = multi.try_exec(name, |txn| {
        begun = true;
        while *left > 0 {
            match lines.next()? {
                Line::Bucket(name) => return Ok(Next::Bucket(name)),
                Line::End => return Ok(Next::Commit(None)),
                Line::Entry(key, value) => {
                    let put = txn.put(&key, &value);
                    put.map_err(|error| at_line(lines.number, error))?;
                    *left -= 1;
                }
            }
        }
        Ok(Next::Commit(Some(name.to_owned())))
    });
    match result {
        Err(failure) if !begun => Err(at_line(line, failure)),
        result => result,
    }
}

fn at_line(number: u64, failure: impl Into<Failure>) -> Failure {
    failure.into().about(&format!("line {number}"))
}

/// Puts a transaction's entries. The bucket that goes on, unless the dump has ended.
fn load_batch<R: BufRead>(
    db: &BTree,
    mut name: String,
    lines: &mut Lines<R>,
    batch: u64,
) -> Done<Option<String>> {
    let mut left = batch;
    db.try_exec_multi(|multi| {
        loop {
            match fill_bucket(multi, &name, lines, &mut left)? {
                Next::Bucket(next) => name = next,
                Next::Commit(next) => return Ok(next),
            }
        }
    })
}

/// Puts what the lines hold, from a bucket on. Returns in how many transactions.
fn load_from<R: BufRead>(
    db: &BTree,
    mut name: Option<String>,
    lines: &mut Lines<R>,
    batch: u64,
) -> Done<u64> {
    let (mut transactions, mut committed) = (0_u64, 0);
    while let Some(next) = name {
        let loaded = load_batch(db, next, lines, batch);
        name = loaded.map_err(|failure| failure.about(&kept(db, committed)))?;
        (transactions, committed) = (transactions + 1, lines.entries);
    }
    Ok(transactions)
}

/// What is in the store after a failure, behind so many entries that are.
fn kept(db: &BTree, committed: u64) -> String {
    // After a failed sync only the next opening tells.
    let is_known = db.commit() != Err(Error::Poisoned);
    match (is_known, committed) {
        (true, 0) => "nothing was kept".to_owned(),
        (true, some) => format!("{some} entries were kept"),
        (false, 0) => "nobody knows whether anything was kept".to_owned(),
        (false, some) => format!("{some} entries were kept, of the next ones nobody knows"),
    }
}

/// Reads a dump, and puts what it holds.
pub fn load(args: &Load, out: &mut Output) -> Done {
    let _held = hold_stdin();
    let mut lines = Lines::begin(std::io::stdin().lock())?;
    let first = lines.next()?;
    let db = open_to_write(&args.file, missing(args.create))?;
    let batch = args.batch.map_or(u64::MAX, u64::from);
    let name = match first {
        Line::Bucket(name) => Some(name),
        Line::Entry(..) => return Err(lines.wrong("is an entry of no bucket")),
        Line::End => None,
    };
    let transactions = load_from(&db, name, &mut lines, batch)?;
    let (buckets, entries) = (lines.buckets, lines.entries);
    if out.is_json() {
        out.json(|json| {
            json.number("buckets", buckets);
            json.number("entries", entries);
            json.number("transactions", transactions);
        })?;
    } else {
        out.text(&format!("buckets: {buckets}, entries: {entries}\n"))?;
    }
    Ok(Code::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use btree_store::Options;
    use btree_store::sim::{Errno, Failure as Fails, Fault, OpSet, SimDisk, When};

    const DUMP: &[u8] = b"btree-store dump 1\nbucket b\n k\tv\n l\tw\nend 1 2\n";

    /// What is told of a load, an entry a transaction, on a disk that fails so.
    fn told(fault: Fault) -> String {
        let disk = SimDisk::new();
        let db = Options::new().vfs(disk.vfs()).open("data.db").unwrap();
        let mut lines = Lines::begin(DUMP).unwrap();
        let Line::Bucket(name) = lines.next().unwrap() else { panic!("no bucket comes first") };
        disk.inject(fault);
        match load_from(&db, Some(name), &mut lines, 1) {
            Err(Failure::Told { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn after_a_failed_sync_nobody_knows_what_was_kept() {
        let sync = |at| Fault::new(OpSet::SYNCS, When::Once(at), Fails::Error(Errno::Eio));
        let (first, second) = (told(sync(0)), told(sync(1)));
        assert!(first.starts_with("nobody knows whether anything was kept: "), "{first}");
        let says = "1 entries were kept, of the next ones nobody knows: ";
        assert!(second.starts_with(says), "{second}");
        let full = told(Fault::new(OpSet::WRITES, When::From(0), Fails::Error(Errno::Enospc)));
        assert!(full.starts_with("nothing was kept: "), "{full}");
    }
}
