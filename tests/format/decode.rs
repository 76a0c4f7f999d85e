//! A second reader of the format, written from `docs/format.md` with numbers of its own. It shares
//! no code with the engine. It turns the bytes of a page into the text of the worked examples.

use std::fmt::Write;

/// CRC32C, a bit at a time.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) + 256 * usize::from(bytes[at + 1])
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |sum, byte| sum * 256 + u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum * 256 + u64::from(*byte))
}

fn len_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32_at(bytes, at)).expect("a length fits")
}

/// Text in quotes; zeros at its end are counted.
fn show(bytes: &[u8]) -> String {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let text = String::from_utf8_lossy(&bytes[..bytes.len() - zeros]);
    if zeros == 0 { format!("{text:?}") } else { format!("{text:?} and {zeros} zeros") }
}

/// Whether the checksum in a page's header is the one of the page.
pub fn has_checksum(bytes: &[u8]) -> bool {
    u32_at(bytes, 0) == crc32c(&[&bytes[4..]])
}

/// What a page with a header says.
pub fn page(bytes: &[u8]) -> String {
    let (stored, computed) = (u32_at(bytes, 0), crc32c(&[&bytes[4..]]));
    assert_eq!(stored, computed, "the checksum of page {}: {computed:#010x}", u32_at(bytes, 4));
    assert_eq!(u32_at(bytes, 28), 0, "the spare field");
    let (kind, body) = match bytes[16] {
        1 => ("meta page", meta(bytes)),
        2 => ("leaf", leaf(bytes)),
        3 => ("branch", branch(bytes)),
        4 => ("space log", space_log(bytes)),
        kind => panic!("kind {kind}"),
    };
    let (id, txn) = (u32_at(bytes, 4), u64_at(bytes, 8));
    format!("page {id}, {kind}, transaction {txn}, checksum {stored:#010x}\n{body}")
}

/// The header of a page, a field a line.
pub fn header(bytes: &[u8]) -> String {
    let fields = [
        ("checksum", 4),
        ("id", 4),
        ("transaction", 8),
        ("kind", 1),
        ("level", 1),
        ("count", 2),
        ("heap", 2),
        ("dead", 2),
        ("prefix", 2),
        ("run", 2),
        ("spare", 4),
    ];
    let (mut out, mut rest) = (String::new(), bytes);
    for (name, len) in fields {
        let (field, behind) = rest.split_at(len);
        let hex: Vec<String> = field.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = field.iter().rev().fold(0, |sum: u64, byte| sum * 256 + u64::from(*byte));
        let value = if name == "checksum" { format!("{value:#010x}") } else { value.to_string() };
        writeln!(out, "{:24}| {name} {value}", hex.join(" ")).expect("a string takes it");
        rest = behind;
    }
    out
}

/// What a run of pages from `first` on says.
pub fn run(first: usize, bytes: &[u8]) -> String {
    let id = u32::try_from(first).expect("an id has 32 bits");
    let checksum = crc32c(&[&id.to_le_bytes(), bytes]);
    format!("run from page {first}, {} bytes, checksum {checksum:#010x}\n", bytes.len())
}

/// Where the arrays of a tree page lie.
struct Arrays {
    count: usize,
    prefix: Vec<u8>,
    children: usize,
    heads: usize,
    offsets: usize,
}

fn arrays(bytes: &[u8], child_len: usize) -> Arrays {
    let (count, prefix_len) = (u16_at(bytes, 18), u16_at(bytes, 24));
    let children = 32 + prefix_len.div_ceil(4) * 4;
    let heads = if child_len == 0 { children } else { children + (count + 1) * child_len };
    let prefix = bytes[32..32 + prefix_len].to_vec();
    Arrays { count, prefix, children, heads, offsets: heads + 4 * count }
}

fn tree_line(bytes: &[u8], arrays: &Arrays) -> String {
    format!(
        "level {}, count {}, heap at {}, {} dead, prefix {}, run {}\n",
        bytes[17],
        arrays.count,
        u16_at(bytes, 20),
        u16_at(bytes, 22),
        show(&arrays.prefix),
        u16_at(bytes, 26)
    )
}

/// The key of slot `at`, and the offset behind its rest.
fn key(bytes: &[u8], arrays: &Arrays, at: usize, cell_header: usize) -> (Vec<u8>, usize) {
    let cell = u16_at(bytes, arrays.offsets + 2 * at);
    let len = u16_at(bytes, cell);
    let head = arrays.heads + 4 * at;
    let head = [bytes[head + 3], bytes[head + 2], bytes[head + 1], bytes[head]];
    let rest = cell + cell_header;
    let end = rest + len.saturating_sub(4);
    let key = [&arrays.prefix, &head[..len.min(4)], &bytes[rest..end]].concat();
    (key, end)
}

fn leaf(bytes: &[u8]) -> String {
    let arrays = arrays(bytes, 0);
    let mut out = tree_line(bytes, &arrays);
    for at in 0..arrays.count {
        let (key, value) = key(bytes, &arrays, at, 4);
        let len = u16_at(bytes, u16_at(bytes, arrays.offsets + 2 * at) + 2);
        let value = if len == 0xFFFF {
            let (len, first) = (u32_at(bytes, value), u32_at(bytes, value + 4));
            let checksum = u32_at(bytes, value + 8);
            format!("{len} bytes in the run from page {first}, checksum {checksum:#010x}")
        } else {
            show(&bytes[value..value + len])
        };
        line(&mut out, &format!("{} = {value}", show(&key)));
    }
    out
}

fn branch(bytes: &[u8]) -> String {
    let arrays = arrays(bytes, 8);
    let mut out = tree_line(bytes, &arrays);
    for at in 0..=arrays.count {
        if at > 0 {
            let (key, _) = key(bytes, &arrays, at - 1, 2);
            line(&mut out, &format!("separator {}", show(&key)));
        }
        let child = arrays.children + 8 * at;
        let (id, checksum) = (u32_at(bytes, child), u32_at(bytes, child + 4));
        line(&mut out, &format!("child {id}, checksum {checksum:#010x}"));
    }
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "  {text}").expect("a string takes what is written");
}

fn meta(bytes: &[u8]) -> String {
    assert_eq!(&bytes[32..40], b"BTSTORE\0", "the magic number");
    assert_eq!(u32_at(bytes, 40), 1, "the version");
    assert_eq!(len_at(bytes, 44), bytes.len(), "the page size");
    let (flags, buckets) = (u32_at(bytes, 52), u32_at(bytes, 68));
    let (inline_len, items, words) = (len_at(bytes, 84), len_at(bytes, 88), len_at(bytes, 92));
    let (inline, rest) = bytes[104..].split_at(inline_len);
    let (listed, rest) = rest.split_at(12 * items);
    let (tail, rest) = rest.split_at(4 * words);
    assert!(rest.iter().all(|byte| *byte == 0), "zeros behind the body");
    let mut out = format!("{} pages, {buckets} buckets", u32_at(bytes, 48));
    out.push_str(if flags & 2 != 0 { ", mirror\n" } else { "\n" });
    if flags & 1 != 0 {
        let (root, checksum) = (u32_at(bytes, 72), u32_at(bytes, 76));
        let level = u32_at(bytes, 80);
        line(&mut out, &format!("catalog root {root}, checksum {checksum:#010x}, level {level}"));
    } else {
        inline_catalog(inline, buckets, &mut out);
    }
    for item in listed.chunks(12) {
        let (first, pages, checksum) = (u32_at(item, 0), u32_at(item, 4), u32_at(item, 8));
        let what = match pages.checked_sub(1 << 31) {
            Some(pages) => format!("run of {pages}"),
            None => format!("{pages}"),
        };
        line(&mut out, &format!("lists {what} from page {first}, checksum {checksum:#010x}"));
    }
    if u32_at(bytes, 64) > 0 {
        let (pages, head, checksum) = (u32_at(bytes, 64), u32_at(bytes, 56), u32_at(bytes, 60));
        line(&mut out, &format!("log pages {pages}, newest {head}, checksum {checksum:#010x}"));
    }
    records(tail, &mut out);
    out
}

fn inline_catalog(bytes: &[u8], buckets: u32, out: &mut String) {
    let mut rest = bytes;
    for _ in 0..buckets {
        let len = u16_at(rest, 0);
        let (name, record) = (&rest[2..2 + len], &rest[2 + len..2 + len + 28]);
        let (root, checksum) = (u32_at(record, 0), u32_at(record, 4));
        let (level, entries) = (u32_at(record, 8), u64_at(record, 12));
        let overflow = u64_at(record, 20);
        let text = format!(
            "bucket {}: root {root}, checksum {checksum:#010x}, level {level}, {entries} entries, \
             {overflow} overflow pages",
            show(name)
        );
        line(out, &text);
        rest = &rest[2 + len + 28..];
    }
    assert!(rest.len() < 4 && rest.iter().all(|byte| *byte == 0), "padding of the catalog");
}

fn space_log(bytes: &[u8]) -> String {
    let (previous, checksum) = (u32_at(bytes, 32), u32_at(bytes, 36));
    let mut out = format!("older page {previous}, checksum {checksum:#010x}\n");
    let (words, rest) = bytes[40..].split_at(4 * u16_at(bytes, 18));
    assert!(rest.iter().all(|byte| *byte == 0), "zeros behind the words");
    records(words, &mut out);
    out
}

fn records(bytes: &[u8], out: &mut String) {
    let words: Vec<u32> = bytes.chunks(4).map(|word| u32_at(word, 0)).collect();
    let mut rest = words.as_slice();
    while let [tag, tail @ ..] = rest {
        rest = match (tag, tail) {
            (1, [low, high, allocated, freed, tail @ ..]) => {
                let (allocated, tail) = extents(*allocated, tail);
                let (freed, tail) = extents(*freed, tail);
                let txn = u64::from(*low) + (u64::from(*high) << 32);
                let text = format!("transaction {txn}: allocated {allocated}, freed {freed}");
                line(out, &text);
                tail
            }
            (2, [from, to, unused, tail @ ..]) => {
                let (unused, tail) = extents(*unused, tail);
                line(out, &format!("snapshot {from}..{to}: unused {unused}"));
                tail
            }
            (3, [old, new, tail @ ..]) => {
                line(out, &format!("resize {old} to {new}"));
                tail
            }
            _ => panic!("record {tag}"),
        };
    }
}

fn extents(count: u32, words: &[u32]) -> (String, &[u32]) {
    let (own, rest) = words.split_at(2 * usize::try_from(count).expect("a count fits"));
    let shown = own.chunks(2).map(|extent| format!("{}..{}", extent[0], extent[0] + extent[1]));
    let shown: Vec<String> = shown.collect();
    (if shown.is_empty() { "none".to_owned() } else { shown.join(" ") }, rest)
}

/// What a backup stream says.
pub fn stream(bytes: &[u8]) -> String {
    assert_eq!(&bytes[..8], b"BTBACKUP");
    let mut before = crc32c(&[&bytes[..24]]);
    assert_eq!(u32_at(bytes, 24), before, "the checksum of the header");
    let (version, size, state) = (u32_at(bytes, 8), u32_at(bytes, 12), u64_at(bytes, 16));
    let mut out = format!("version {version}, pages of {size} bytes, state {state}\n");
    let (mut at, mut records) = (28, Vec::new());
    while at < bytes.len() {
        let content = &bytes[at + 8..at + 8 + len_at(bytes, at)];
        let computed = crc32c(&[&before.to_le_bytes(), &bytes[at..at + 4], content]);
        before = u32_at(bytes, at + 4);
        assert_eq!(before, computed, "the checksum of the block at {at}");
        writeln!(out, "block of {} bytes, checksum {before:#010x}", content.len())
            .expect("a string takes it");
        records.extend_from_slice(content);
        at += 8 + content.len();
    }
    let mut rest = records.as_slice();
    while u16_at(rest, 0) > 0 {
        let (name, entries) = (&rest[10..10 + u16_at(rest, 0)], u64_at(rest, 2));
        rest = &rest[10 + name.len()..];
        writeln!(out, "  bucket {}, {entries} entries", show(name)).expect("a string takes it");
        for _ in 0..entries {
            let (key, value) = rest[6..].split_at(u16_at(rest, 0));
            let value = &value[..len_at(rest, 2)];
            rest = &rest[6 + key.len() + value.len()..];
            let shown = match value.len() {
                0..=200 => show(value),
                len => format!("{len} bytes from {} on", show(&value[..20])),
            };
            writeln!(out, "    {} = {shown}", show(key)).expect("a string takes it");
        }
    }
    let [buckets, entries, sum] = [2, 10, 18].map(|at| u64_at(rest, at));
    assert_eq!(rest.len(), 26, "nothing follows the closing record");
    writeln!(out, "  {buckets} buckets, {entries} entries, {sum} bytes")
        .expect("a string takes it");
    out
}
