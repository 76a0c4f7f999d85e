//! What is printed.
//!
//! Owns: [`Output`], standard output with a buffer, and how it is told what form is wanted; lines
//! on standard error.
//! Must not know: what is printed.

use super::outcome::{Done, Failure};
use btree_store::json::Json;
use std::io::{self, BufWriter, StdoutLock, Write};

/// For whom a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Person,
    Program,
}

/// Standard output.
pub struct Output {
    pub out: BufWriter<StdoutLock<'static>>,
    pub reader: Reader,
    /// Why a finding could not be printed.
    lost: Option<Failure>,
}

impl Output {
    pub fn new(reader: Reader) -> Output {
        let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        Output { out, reader, lost: None }
    }

    pub fn is_json(&self) -> bool {
        self.reader == Reader::Program
    }

    /// Prints an object on a line.
    pub fn json(&mut self, members: impl FnOnce(&mut Json)) -> Done<()> {
        self.text(&Json::line(members))
    }

    pub fn text(&mut self, text: &str) -> Done<()> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Prints what was found, which counts whether or not somebody reads it, and whether or not it
    /// can be printed: [`Output::finish`] tells that it could not.
    pub fn finding(&mut self, text: &str) {
        if let Err(failure @ Failure::Told { .. }) = self.text(text) {
            self.lost.get_or_insert(failure);
        }
    }

    /// Gives all that was printed to the system.
    pub fn finish(mut self) -> Done<()> {
        let flushed = self.out.flush();
        self.lost.map_or(Ok(()), Err)?;
        Ok(flushed?)
    }
}

/// Says something beside the output: a line on standard error.
pub fn note(text: &str) {
    // Where this cannot be written, there is nowhere to say so.
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
