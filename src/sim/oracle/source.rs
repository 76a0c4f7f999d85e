//! Values that come from readers (part of the oracle, layer L8).
//!
//! Owns: [`Source`]: how a reader gives a value, and what a store answers to it.
//! Must not know: who takes the value, and where it goes.
//! Keeps: what a reader gives follows from the value and the source alone.

use crate::error::{Error, Result};
use crate::sim::index;
use std::io::{self, ErrorKind, Read};

/// How a reader gives a value. Before each piece it is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Bytes of a piece at most; at least 1.
    pub piece_max: u32,
    /// Where it ends.
    pub end: SourceEnd,
}

/// Where a reader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEnd {
    /// Where the value does.
    There,
    /// Behind so many bytes of the value, if that is longer.
    Short(u32),
    /// It fails behind so many bytes, at the latest where the value ends.
    Fails(u32),
    /// It goes on behind the value.
    Beyond,
}

impl Source {
    /// All of the value at once, and nothing more.
    pub const PLAIN: Source = Source { piece_max: u32::MAX, end: SourceEnd::There };

    /// What a store that takes a value of `len` bytes says of it.
    pub(super) fn check(self, len: usize) -> Result<()> {
        match self.end {
            SourceEnd::Short(given) if index(given) < len => Err(Error::Invalid),
            SourceEnd::Beyond => Err(Error::Invalid),
            SourceEnd::Fails(_) => Err(Error::IoError),
            SourceEnd::There | SourceEnd::Short(_) => Ok(()),
        }
    }

    /// A reader that gives the value in this way.
    pub(super) fn reader(self, whole: &[u8]) -> SourceReader<'_> {
        let given = match self.end {
            SourceEnd::There | SourceEnd::Beyond => whole,
            SourceEnd::Short(len) | SourceEnd::Fails(len) => &whole[..whole.len().min(index(len))],
        };
        SourceReader { left: given, source: self, was_interrupted: false }
    }
}

/// A value on its way.
#[derive(Debug)]
pub(super) struct SourceReader<'v> {
    left: &'v [u8],
    source: Source,
    was_interrupted: bool,
}

impl Read for SourceReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.was_interrupted = !self.was_interrupted;
        if self.was_interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        if !self.left.is_empty() {
            let len = bytes.len().min(index(self.source.piece_max));
            return self.left.read(&mut bytes[..len]);
        }
        match self.source.end {
            SourceEnd::There | SourceEnd::Short(_) => Ok(0),
            SourceEnd::Fails(_) => Err(ErrorKind::Other.into()),
            SourceEnd::Beyond => io::repeat(b'+').read(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(source: Source, value: &str) -> (String, Option<ErrorKind>) {
        let mut text = String::new();
        let read = source.reader(value.as_bytes()).take(20).read_to_string(&mut text);
        (text, read.err().map(|error| error.kind()))
    }

    #[test]
    fn a_reader_gives_what_its_source_says() {
        for piece_max in [1, 2, u32::MAX] {
            let of = |end| given(Source { piece_max, end }, "value");
            let failed = Some(ErrorKind::Other);
            assert_eq!(of(SourceEnd::There), ("value".to_owned(), None));
            assert_eq!(of(SourceEnd::Short(3)), ("val".to_owned(), None));
            assert_eq!(of(SourceEnd::Short(9)), ("value".to_owned(), None));
            assert_eq!(of(SourceEnd::Fails(0)), (String::new(), failed));
            assert_eq!(of(SourceEnd::Fails(9)), ("value".to_owned(), failed));
            assert_eq!(of(SourceEnd::Beyond).0, "value+++++++++++++++");
        }
        let mut bytes = [0; 9];
        let source = Source { piece_max: 2, end: SourceEnd::There };
        let mut reader = source.reader(b"value");
        reader.read(&mut bytes).expect_err("it is interrupted first");
        assert_eq!(reader.read(&mut bytes).expect("a piece"), 2);
    }
}
