//! The file format is described once, in `docs/format.md`: its tables are the constants of
//! `src/format.rs`, its fields lie side by side, and its worked examples are what they say.
//!
//! Attacks: checksum-covers-page, page-knows-its-id (with a decoder of its own).

#[path = "format/decode.rs"]
mod decode;
#[path = "format/document.rs"]
mod document;
#[path = "format/example.rs"]
mod example;
#[path = "tidy/source.rs"]
#[allow(dead_code, reason = "tidy.rs uses the rest")]
mod source;
#[path = "tidy/tree.rs"]
#[allow(dead_code, reason = "tidy.rs uses the rest")]
mod tree;

use btree_store::format as constants;
use document::{Row, blocks, dump, parse_dump, tables, with_blocks};
use example::PAGE;
use std::collections::BTreeMap;
use std::path::Path;

const DOCUMENT: &str = include_str!("../docs/format.md");
const CONSTANTS: &str = include_str!("../src/format.rs");

macro_rules! values {
    ($($name:ident)*) => {
        [$((
            stringify!($name),
            u64::try_from(constants::$name).expect("no constant is negative"),
        )),*]
    };
}

macro_rules! limits {
    ($($name:ident)*) => {
        [$((stringify!($name), constants::$name as fn(usize) -> usize)),*]
    };
}

/// Every constant of the format that is a number.
fn values() -> BTreeMap<&'static str, u64> {
    let all = values![
        FORMAT_VERSION PAGE_SIZE_DEFAULT PAGE_SIZE_MIN PAGE_SIZE_MAX META_SLOTS PAGE_COUNT_MAX
        LEVELS_MAX HEADER_LEN HEADER_CHECKSUM HEADER_ID HEADER_TXN HEADER_KIND HEADER_LEVEL
        HEADER_COUNT HEADER_HEAP HEADER_DEAD HEADER_PREFIX HEADER_RUN HEADER_SPARE KIND_META
        KIND_LEAF KIND_BRANCH KIND_SPACE_LOG CHILD_LEN HEAD_LEN OFFSET_LEN LEAF_CELL_HEADER
        BRANCH_CELL_HEADER VALUE_OVERFLOW VALUE_UNPLACED OVERFLOW_LEN VALUE_LEN_MAX META_MAGIC
        META_VERSION META_PAGE_SIZE META_PAGE_COUNT META_FLAGS META_LOG_HEAD META_LOG_CHECKSUM
        META_LOG_PAGES META_BUCKETS META_CATALOG_ROOT META_CATALOG_CHECKSUM META_CATALOG_LEVEL
        META_CATALOG_LEN META_ITEMS META_TAIL_WORDS META_SPARE META_BODY META_FLAG_CATALOG_TREE
        META_FLAG_MIRROR META_ITEM_RUN META_ITEM_LEN ONE_BARRIER_PAGES_MAX BUCKET_LEN LOG_PREVIOUS
        LOG_PREVIOUS_CHECKSUM LOG_BODY LOG_RECORD_TXN LOG_RECORD_SNAPSHOT LOG_RECORD_RESIZE
        STREAM_VERSION STREAM_HEADER_MAGIC STREAM_HEADER_VERSION STREAM_HEADER_PAGE_SIZE
        STREAM_HEADER_SEQ STREAM_HEADER_CHECKSUM STREAM_HEADER_LEN STREAM_BLOCK_HEADER
        STREAM_BLOCK_MAX STREAM_BUCKET_LEN STREAM_ENTRY_LEN STREAM_END_LEN STREAM_VERSION_PAGES
        STREAM_SINCE_LEN STREAM_PIECE_LEN
    ];
    all.into_iter().collect()
}

/// Every constant that is a text.
const MAGICS: [(&str, [u8; 8]); 2] =
    [("MAGIC", constants::MAGIC), ("STREAM_MAGIC", constants::STREAM_MAGIC)];

/// Every limit that depends on the page size.
fn limits() -> BTreeMap<&'static str, fn(usize) -> usize> {
    let all = limits![
        key_len_max bucket_name_len_max leaf_cell_max meta_catalog_max meta_items_max
        meta_tail_words_max log_page_words_max
    ];
    all.into_iter().collect()
}

/// The names that `src/format.rs` defines.
fn defined(source: &str) -> Vec<String> {
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    let line = |line: &str| {
        let rest = line.strip_prefix("pub const ")?;
        Some(word(rest.strip_prefix("fn ").unwrap_or(rest)))
    };
    source.lines().filter_map(line).collect()
}

/// What is wrong with the tables of a document, given the source that defines the constants.
fn compare(document: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows: Vec<Row> = tables(document).into_iter().flatten().collect();
    for name in defined(source) {
        match rows.iter().filter(|row| row.name == name).count() {
            1 => {}
            count => wrong.push(format!("{name} has {count} rows, not one")),
        }
    }
    let (values, limits) = (values(), limits());
    for row in &rows {
        let told = |column: &str| row.cell(column).unwrap_or("nothing").to_owned();
        let name = row.name.as_str();
        if let Some(value) = values.get(name) {
            let column = if row.cell("Offset").is_some() { "Offset" } else { "Value" };
            if told(column) != value.to_string() {
                wrong.push(format!("{name} is {value}, {} is told", told(column)));
            }
        } else if let Some(limit) = limits.get(name) {
            for page_size in [512, 4096, 32768] {
                let (is, told) = (limit(page_size).to_string(), told(&page_size.to_string()));
                if is != told {
                    wrong.push(format!("{name}({page_size}) is {is}, {told} is told"));
                }
            }
        } else if let Some((_, magic)) = MAGICS.iter().find(|(magic, _)| *magic == name) {
            let bytes: Vec<String> = magic.iter().map(|b| format!("{b:02X}")).collect();
            if told("Value") != format!("`{}`", bytes.join(" ")) {
                wrong.push(format!("{name} is {}, {} is told", bytes.join(" "), told("Value")));
            }
        } else {
            wrong.push(format!("line {}: {name} is no constant of the format", row.line));
        }
    }
    wrong
}

/// Fields that overlap, or leave a gap, in the tables that have offsets.
fn misplaced(document: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for table in tables(document) {
        let mut fields = table.iter().filter(|row| row.cell("Offset").is_some()).peekable();
        while let Some(field) = fields.next() {
            let offset: usize = field.cell("Offset").and_then(|o| o.parse().ok()).unwrap_or(0);
            let width = match field.cell("Type") {
                Some("u8") => 1,
                Some("u16") => 2,
                Some("u32") => 4,
                Some("u64" | "8 bytes") => 8,
                Some("end") if fields.peek().is_none() => continue,
                other => {
                    wrong.push(format!("{}: the type {other:?}", field.name));
                    continue;
                }
            };
            let next = fields.peek().and_then(|row| row.cell("Offset")).unwrap_or("nothing");
            if next != (offset + width).to_string() {
                wrong.push(format!("{} ends at {}, then {next}", field.name, offset + width));
            }
        }
    }
    wrong
}

#[test]
fn the_tables_are_the_constants() {
    assert_eq!(compare(DOCUMENT, CONSTANTS), [""; 0]);
}

#[test]
fn the_fields_lie_side_by_side() {
    assert_eq!(misplaced(DOCUMENT), [""; 0]);
    let starts = tables(DOCUMENT).into_iter().filter_map(|table| {
        let first = table.into_iter().next()?;
        first.cell("Offset").map(str::to_owned)
    });
    let header = constants::HEADER_LEN.to_string();
    assert_eq!(starts.collect::<Vec<_>>(), ["0", &header, &header, "0"]);
}

#[test]
fn every_constant_of_this_test_is_defined() {
    let mut defined = defined(CONSTANTS);
    let mut known: Vec<String> =
        values().into_keys().chain(limits().into_keys()).map(str::to_owned).collect();
    known.extend(MAGICS.map(|(name, _)| name.to_owned()));
    defined.sort();
    known.sort();
    assert_eq!(defined, known);
}

#[test]
fn a_constant_that_is_missing_or_wrong_is_found() {
    let cases = [
        ("| `HEADER_ID` | 4 |", "| `HEADER_ID` | 5 |", "HEADER_ID is 4, 5 is told"),
        ("| `HEADER_ID` | 4 |", "| `HEADER_IDS` | 4 |", "HEADER_ID has 0 rows"),
        ("| `key_len_max` | 128 |", "| `key_len_max` | 127 |", "key_len_max(512) is 128"),
        ("`42 54", "`42 55", "MAGIC is 42 54"),
        ("| `LEVELS_MAX` |", "| `LEVELS` |", "LEVELS is no constant"),
    ];
    for (from, to, part) in cases {
        let changed = DOCUMENT.replace(from, to);
        let wrong = compare(&changed, CONSTANTS);
        assert!(wrong.iter().any(|wrong| wrong.contains(part)), "{part}: {wrong:?}");
    }
    let more = format!("{CONSTANTS}pub const LATEST: u32 = 1;\n");
    assert_eq!(compare(DOCUMENT, &more), ["LATEST has 0 rows, not one"]);
    let moved = DOCUMENT.replace("| `HEADER_KIND` | 16 | u8 |", "| `HEADER_KIND` | 16 | u16 |");
    assert_eq!(misplaced(&moved), ["HEADER_KIND ends at 18, then 17"]);
}

#[test]
fn the_checksum_is_the_published_one() {
    // The check value of CRC-32/ISCSI, and 32 zeros as in RFC 3720.
    assert_eq!(decode::crc32c(&[b"123456789"]), 0xE306_9283);
    assert_eq!(decode::crc32c(&[&[0; 32]]), 0x8A91_36AA);
}

/// The document with every worked example as the engine writes it now, and as the decoder reads
/// it. A fence says what its block shows: `page 4`, `run 5 2` (first page, pages), `log 2`,
/// `header 7`; a block `says` tells what the dump above it holds.
fn refreshed(document: &str) -> String {
    let file = example::two_commits().expect("the commits succeed");
    let log = example::log_page().expect("the commits succeed");
    let stream = example::stream().expect("the commits succeed");
    let part = |first: usize, pages: usize| &file[first * PAGE..(first + pages) * PAGE];
    let mut says = None;
    with_blocks(document, |block| {
        let (shown, meaning) = match block.kind() {
            "page" => (part(block.number(1), 1), decode::page(part(block.number(1), 1))),
            "run" => {
                let run = part(block.number(1), block.number(2));
                (run, decode::run(block.number(1), run))
            }
            "log" => (log.as_slice(), decode::page(&log)),
            "stream" => {
                says = Some(decode::stream(&stream));
                return Some(dump(&stream));
            }
            "header" => return Some(decode::header(part(block.number(1), 1))),
            "says" => return says.take(),
            _ => return None,
        };
        let id = format!("page {},", block.number(1));
        assert!(meaning.contains(&id), "the fence of {id} shows {meaning}");
        says = Some(meaning);
        Some(dump(shown))
    })
}

/// The file that the pages and runs of the document make up; other pages are zero.
fn file_of_examples() -> Vec<u8> {
    let mut file = vec![0; 10 * PAGE];
    for block in blocks(DOCUMENT).iter().filter(|block| matches!(block.kind(), "page" | "run")) {
        let (from, pages) = (block.number(1) * PAGE, if block.kind() == "run" { 2 } else { 1 });
        file[from..from + pages * PAGE].copy_from_slice(&parse_dump(&block.text, pages * PAGE));
    }
    file
}

#[test]
fn the_examples_are_what_the_engine_writes_and_the_decoder_reads() {
    let fresh = refreshed(DOCUMENT);
    if std::env::var_os("UPDATE_FORMAT_EXAMPLES").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md");
        std::fs::write(path, fresh).expect("the document can be written");
        return;
    }
    let lines = || fresh.lines().zip(DOCUMENT.lines()).enumerate();
    let wrong = lines().find(|(_, (fresh, told))| fresh != told);
    assert_eq!(wrong, None, "if the change is meant, run with UPDATE_FORMAT_EXAMPLES=1");
    assert_eq!(fresh.lines().count(), DOCUMENT.lines().count());
    let count = |kind| blocks(DOCUMENT).iter().filter(|block| block.kind() == kind).count();
    let counts = ["header", "page", "run", "log", "stream", "says"].map(count);
    assert_eq!(counts, [1, 5, 1, 1, 1, 8], "the document lost an example");
}

#[test]
fn the_engine_reads_the_examples() {
    let db = example::open(&file_of_examples()).expect("the file is whole");
    assert_eq!(db.current_seq(), 2);
    for (key, value) in example::fruits().into_iter().chain([example::large()]) {
        assert_eq!(db.view("fruit", |txn| txn.get(key)), Ok(value));
    }
}

#[test]
fn without_a_listed_page_the_older_state_counts() {
    let whole = example::two_commits().expect("the commits succeed");
    let newest = |page: &[u8]| page[8] == 2 && page[16] != 1 && decode::has_checksum(page);
    let listed = (0..whole.len() / PAGE).filter(|at| newest(&whole[at * PAGE..(at + 1) * PAGE]));
    let listed: Vec<usize> = listed.collect();
    assert_eq!(listed.len(), 2, "a leaf and a branch");
    for at in listed {
        let mut file = whole.clone();
        file[at * PAGE..(at + 1) * PAGE].fill(0);
        let db = example::open(&file).expect("the older state is whole");
        assert_eq!(db.current_seq(), 1, "without page {at}");
        let (key, _) = example::large();
        assert_eq!(db.view("fruit", |txn| txn.contains(key)), Ok(false));
        assert_eq!(db.view("fruit", |txn| Ok(txn.len())), Ok(5));
    }
}
