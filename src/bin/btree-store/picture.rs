//! A file as a picture: a character for each page, or for some that follow one another.
//!
//! Owns: `pages`. Must not know: how it is found out what a page is there for.

use super::args::Pages;
use super::health::judged;
use super::outcome::Done;
use super::output::Output;
use btree_store::json::Json;
use btree_store::verify::{Owner, Report, verify_path};
use btree_store::vfs::OsVfs;
use std::fmt::Write;

/// Rows of a picture, unless told how many pages a character stands for.
const ROWS_MAX: usize = 32;

/// What a page is there for: its name, and its character for pages of one kind, and for a stretch
/// in which it is the most frequent kind.
struct Kind {
    owner: Owner,
    name: &'static str,
    pure: char,
    mixed: char,
}

const fn kind(owner: Owner, name: &'static str, [pure, mixed]: [char; 2]) -> Kind {
    Kind { owner, name, pure, mixed }
}

const KINDS: [Kind; 9] = [
    kind(Owner::Slot, "meta", ['M', 'm']),
    kind(Owner::Catalog, "catalog", ['C', 'c']),
    kind(Owner::Branch, "branch", ['B', 'b']),
    kind(Owner::Leaf, "leaf", ['L', 'l']),
    kind(Owner::Run, "overflow", ['O', 'o']),
    kind(Owner::Log, "log", ['S', 's']),
    kind(Owner::Free, "free", ['.', ',']),
    kind(Owner::Pending, "pending", ['-', '~']),
    kind(Owner::Nobody, "unknown", ['?', '?']),
];

/// How many pages of each kind there are, in the order of [`KINDS`].
type Counts = [usize; KINDS.len()];

fn count(owners: &[Owner]) -> Counts {
    let mut counts = [0; KINDS.len()];
    for owner in owners {
        // What this does not know is at the end.
        let at = KINDS.iter().position(|kind| kind.owner == *owner).unwrap_or(KINDS.len() - 1);
        counts[at] += 1;
    }
    counts
}

/// The character of a stretch. A page of which nothing is known is never hidden.
fn character(owners: &[Owner]) -> char {
    let counts = count(owners);
    let [.., unknown] = KINDS;
    if counts[KINDS.len() - 1] > 0 {
        return unknown.pure;
    }
    // Of equally many, the first.
    let most = (0..KINDS.len()).rev().max_by_key(|&at| counts[at]).unwrap_or(0);
    if counts[most] == owners.len() { KINDS[most].pure } else { KINDS[most].mixed }
}

/// The rows, each with its first page in front, and what the characters mean.
fn picture(owners: &[Owner], columns: usize, scale: usize) -> String {
    let digits = owners.len().to_string().len();
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).and_then(|()| text.write_char('\n')).expect("a string takes all text");
    };
    for (row, stretch) in owners.chunks(columns.saturating_mul(scale)).enumerate() {
        let characters: String = stretch.chunks(scale).map(character).collect();
        line(format_args!("{:>digits$} {characters}", row * columns * scale));
    }
    line(format_args!(""));
    for (kind, count) in KINDS.iter().zip(count(owners)) {
        if kind.owner != Owner::Nobody || count > 0 {
            line(format_args!("{} {:<8} {count:>digits$}", kind.pure, kind.name));
        }
    }
    if scale > 1 {
        let mixed = "small letters, `,` and `~`: mostly that";
        line(format_args!("a character is {scale} pages; {mixed}"));
    }
    text
}

/// The stretches of one kind: first page, number of pages, kind.
fn extents(owners: &[Owner]) -> Vec<(usize, usize, &'static str)> {
    let mut first = 0;
    let extent = |chunk: &[Owner]| {
        let name = KINDS.iter().find(|kind| kind.owner == chunk[0]).map_or("unknown", |k| k.name);
        let extent = (first, chunk.len(), name);
        first += chunk.len();
        extent
    };
    owners.chunk_by(|one, other| one == other).map(extent).collect()
}

fn print_json(report: &Report, out: &mut Output) {
    let owners = report.owners();
    out.finding(&Json::line(|json| {
        json.optional("page_size", report.page_size.map(u64::from));
        json.number("pages", owners.len() as u64);
        json.truth("sound", report.is_sound());
        json.member("counts", |json| {
            for (kind, count) in KINDS.iter().zip(count(owners)) {
                json.number(kind.name, count as u64);
            }
        });
        json.list("extents", extents(owners), |json, (first, pages, name)| {
            json.number("first", first as u64);
            json.number("pages", pages as u64);
            json.string("kind", name);
        });
    }));
}

/// Draws the pages of the state that an open finds.
pub fn pages(args: &Pages, out: &mut Output) -> Done {
    let report = verify_path(&OsVfs, &args.file)?;
    let owners = report.owners();
    if out.is_json() {
        print_json(&report, out);
    } else if !owners.is_empty() {
        let columns = usize::from(args.width.get());
        let fitting = owners.len().div_ceil(columns * ROWS_MAX).max(1);
        let scale = args.scale.and_then(|scale| usize::try_from(scale.get()).ok());
        out.finding(&picture(owners, columns, scale.unwrap_or(fitting)));
    }
    judged(&report)
}
