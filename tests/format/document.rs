//! `docs/format.md`, taken apart: tables of constants, fields and limits, and worked examples.

use crate::tree::{cells, quoted};
use std::fmt::Write;

/// A row of a table of constants: the columns behind the name.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub line: usize,
    /// The heads of the columns, the name's included.
    pub columns: Vec<String>,
    pub cells: Vec<String>,
}

impl Row {
    /// The cell below a column's head.
    pub fn cell(&self, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|head| head == column)?;
        self.cells.get(at).map(String::as_str)
    }
}

/// A fenced block: what stands behind the fence, and the lines inside.
#[derive(Debug)]
pub struct Block {
    pub info: Vec<String>,
    pub text: String,
}

impl Block {
    /// The word at the beginning of the fence, which says what the block shows.
    pub fn kind(&self) -> &str {
        self.info.first().map_or("", String::as_str)
    }

    /// A number behind it.
    pub fn number(&self, at: usize) -> usize {
        let word = self.info.get(at).expect("the fence has another word");
        word.parse().expect("the word is a number")
    }
}

/// The tables whose first column is called `Name`, in order.
pub fn tables(text: &str) -> Vec<Vec<Row>> {
    let mut tables: Vec<Vec<Row>> = Vec::new();
    let mut columns: Option<Vec<String>> = None;
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else {
            columns = None;
            continue;
        };
        let cells: Vec<String> = cells.into_iter().map(str::to_owned).collect();
        match &columns {
            None => {
                if cells[0] == "Name" {
                    tables.push(Vec::new());
                }
                columns = Some(cells);
            }
            Some(columns) if columns[0] == "Name" && !cells[0].starts_with("---") => {
                let name = quoted(&cells[0]).first().map_or("", |name| name).to_owned();
                let row = Row { name, line: index + 1, columns: columns.clone(), cells };
                tables.last_mut().expect("a table began").push(row);
            }
            Some(_) => {}
        }
    }
    tables
}

/// The fenced blocks, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    with_blocks(text, |block| {
        blocks.push(Block { info: block.info.clone(), text: block.text.clone() });
        None
    });
    blocks
}

/// The text, with the lines of each fenced block replaced by what `change` makes of it.
pub fn with_blocks(text: &str, mut change: impl FnMut(&Block) -> Option<String>) -> String {
    let mut out = String::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(info)) => {
                let info = info.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { info, text: String::new() });
            }
            (Some(block), Some(_)) => out.push_str(&change(&block).unwrap_or(block.text)),
            (Some(mut block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
                continue;
            }
            (None, None) => {}
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The bytes of a dump: lines of an offset and up to 16 bytes, both hexadecimal, and whatever
/// follows a bar. What no line gives is zero.
pub fn parse_dump(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let hex = |word| u32::from_str_radix(word, 16).expect("a hexadecimal number");
    for line in text.lines() {
        let mut words = line.split('|').next().unwrap_or("").split_whitespace();
        let offset = words.next().map(hex).expect("an offset");
        let offset = usize::try_from(offset).expect("an offset fits");
        for (index, word) in words.enumerate() {
            bytes[offset + index] = u8::try_from(hex(word)).expect("a byte");
        }
    }
    bytes
}

/// The dump of bytes, without the lines that are zero.
pub fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        if line.iter().all(|byte| *byte == 0) {
            continue;
        }
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let text: String = line.iter().map(shown).collect();
        writeln!(out, "{:04x}  {}  | {text}", index * 16, hex.join(" "))
            .expect("a string takes what is written");
    }
    out
}
