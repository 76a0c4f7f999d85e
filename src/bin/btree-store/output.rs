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
}

impl Output {
    pub fn new(reader: Reader) -> Output {
        Output { out: BufWriter::with_capacity(1 << 16, io::stdout().lock()), reader }
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

    /// Prints what was found, which counts whether or not somebody reads it.
    pub fn finding(&mut self, text: &str) -> Done<()> {
        match self.text(text) {
            Err(Failure::ClosedPipe) => Ok(()),
            printed => printed,
        }
    }

    /// Gives all that was printed to the system.
    pub fn finish(mut self) -> Done<()> {
        Ok(self.out.flush()?)
    }
}

/// Says something beside the output: a line on standard error.
pub fn note(text: &str) {
    // Where this cannot be written, there is nowhere to say so.
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
