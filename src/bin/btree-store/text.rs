//! Bytes as text, and back.
//!
//! Owns: [`Form`], the two ways in which keys and values are written. Must not know: what they
//! mean.

use std::io::{self, Write};

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What can be printed stands for itself; all else is escaped by a backslash.
    Text,
    /// Two digits a byte.
    Hex,
}

/// Whether a byte stands for itself.
fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'\\'
}

/// Whether a character that is not of ASCII can be printed, as the standard library has it.
fn is_printable(c: char) -> bool {
    !c.is_ascii() && c.escape_debug().len() == 1
}

impl Form {
    pub fn of(is_hex: bool) -> Form {
        if is_hex { Form::Hex } else { Form::Text }
    }

    /// Writes bytes, without a line break whatever they are.
    pub fn write(self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        match self {
            Form::Hex => bytes.chunks(1 << 10).try_for_each(|piece| {
                let digits: Vec<u8> = piece.iter().flat_map(|&byte| digits_of(byte)).collect();
                out.write_all(&digits)
            }),
            Form::Text => bytes.utf8_chunks().try_for_each(|chunk| {
                write_text(chunk.valid(), out)?;
                chunk.invalid().iter().try_for_each(|&byte| write_escaped(byte, out))
            }),
        }
    }

    /// The bytes as a string, for a line that is not long.
    pub fn show(self, bytes: &[u8]) -> String {
        let mut text = Vec::new();
        self.write(bytes, &mut text).expect("memory takes all bytes");
        String::from_utf8(text).expect("what is written is text")
    }

    /// The bytes that a text stands for.
    pub fn read(self, text: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Form::Hex => read_hex(text),
            Form::Text => read_text(text),
        }
    }
}

fn write_text(text: &str, out: &mut impl Write) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.bytes().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        let (shown, behind) = rest.split_at(plain);
        out.write_all(shown.as_bytes())?;
        let Some(c) = behind.chars().next() else { return Ok(()) };
        let (bytes, behind) = behind.split_at(c.len_utf8());
        if is_printable(c) {
            out.write_all(bytes.as_bytes())?;
        } else {
            bytes.bytes().try_for_each(|byte| write_escaped(byte, out))?;
        }
        rest = behind;
    }
    Ok(())
}

fn write_escaped(byte: u8, out: &mut impl Write) -> io::Result<()> {
    match byte {
        b'\\' => out.write_all(b"\\\\"),
        b'\n' => out.write_all(b"\\n"),
        b'\r' => out.write_all(b"\\r"),
        b'\t' => out.write_all(b"\\t"),
        byte => {
            let [high, low] = digits_of(byte);
            out.write_all(&[b'\\', b'x', high, low])
        }
    }
}

/// The two hexadecimal digits of a byte.
fn digits_of(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)])
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn pair(digits: &[u8]) -> Option<u8> {
    match digits {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn read_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    let bytes: Option<Vec<u8>> = text.chunks(2).map(pair).collect();
    bytes.ok_or_else(|| "not hexadecimal digits, two for each byte".to_owned())
}

fn read_text(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        let (byte, len) = match rest[at + 1..] {
            [b'\\', ..] => (Some(b'\\'), 2),
            [b'n', ..] => (Some(b'\n'), 2),
            [b'r', ..] => (Some(b'\r'), 2),
            [b't', ..] => (Some(b'\t'), 2),
            [b'x', high, low, ..] => (pair(&[high, low]), 4),
            _ => (None, 0),
        };
        let Some(byte) = byte else {
            return Err(r"a backslash stands before \, n, r, t, or x and two digits".to_owned());
        };
        bytes.push(byte);
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_bytes_comes_back_from_both_forms_on_one_line() {
        for high in 0..=u8::MAX {
            for low in 0..=u8::MAX {
                for form in [Form::Text, Form::Hex] {
                    let text = form.show(&[high, low]);
                    assert_eq!(form.read(text.as_bytes()), Ok(vec![high, low]), "{text:?}");
                    assert!(!text.contains(char::is_control), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn what_can_be_printed_stands_for_itself() {
        for text in ["", " a b~", "Grüße", "日本", "\"'"] {
            assert_eq!(Form::Text.show(text.as_bytes()), text);
        }
        // A zero width joiner, a space that is none, half a character.
        assert_eq!(Form::Text.show("\u{200d}".as_bytes()), r"\xe2\x80\x8d");
        assert_eq!(Form::Text.show("\u{a0}".as_bytes()), r"\xc2\xa0");
        assert_eq!(Form::Text.show(&[b'a', 0xc3]), r"a\xc3");
        assert_eq!(Form::Text.show(b"\\\n\r\t\0\x7f"), r"\\\n\r\t\x00\x7f");
    }

    #[test]
    fn any_other_text_is_an_error() {
        for text in ["\\", "\\q", "\\x", "\\x1", "\\xg0", "a\\"] {
            assert!(Form::Text.read(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["0", "abc", "0g", "é"] {
            assert!(Form::Hex.read(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(Form::Hex.read(b"00fFAb"), Ok(vec![0, 255, 0xab]));
    }
}
