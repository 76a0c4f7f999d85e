//! Every invariant has its partners: heading, variant, place where it is kept, checks, and a
//! statement whose citations somebody looked at.

use crate::document::{DOCUMENT, Document, FIELDS, Section};
use crate::source::Source;
use crate::tree::{Tree, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

pub const LOCK: &str = "tests/invariants.lock";

/// An invariant as the code names it: the variant, and the name in kebab case.
#[derive(Clone, Debug)]
pub struct Named {
    pub variant: String,
    pub name: String,
}

/// Files that name every invariant because they are about the names.
const ABOUT_NAMES: &[&str] = &["src/invariant.rs", "tests/invariants.rs", "tests/invariants/"];

fn is_about_names(path: &str) -> bool {
    ABOUT_NAMES.iter().any(|place| path.starts_with(place))
}

/// Every variant is a heading and the reverse, in the same order, and the names correspond.
pub fn headings(document: &Document, named: &[Named]) -> Vec<Violation> {
    let mut found = Vec::new();
    for Named { variant, name } in named {
        if kebab(variant) != *name {
            let message = format!("{variant} is named {name}, not {}", kebab(variant));
            found.push(Violation::new("src/invariant.rs", 1, message));
        }
    }
    for place in 0..named.len().max(document.sections.len()) {
        match (named.get(place), document.sections.get(place)) {
            (Some(named), Some(section)) if named.name == section.name => {}
            (Some(named), section) => {
                let line = section.map_or(1, |section| section.line);
                let message = format!("the heading of {} belongs here", named.name);
                found.push(Violation::new(DOCUMENT, line, message));
            }
            (None, Some(section)) => {
                let message = format!("{} is no variant of Invariant", section.name);
                found.push(Violation::new(DOCUMENT, section.line, message));
            }
            (None, None) => {}
        }
    }
    found
}

fn kebab(variant: &str) -> String {
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}

/// Every section has every field, in order, with something in it.
pub fn fields(document: &Document) -> Vec<Violation> {
    let mut found = Vec::new();
    for section in &document.sections {
        let labels: Vec<&str> = section.fields.iter().map(|f| f.label.as_str()).collect();
        if labels != FIELDS {
            let message = format!("{} has the fields {labels:?}, not {FIELDS:?}", section.name);
            found.push(Violation::new(DOCUMENT, section.line, message));
        }
        for field in section.fields.iter().filter(|field| field.text.is_empty()) {
            let message = format!("{}: {} says nothing", section.name, field.label);
            found.push(Violation::new(DOCUMENT, field.line, message));
        }
        let bugs = crate::tree::quoted(section.text("Seeded bugs"));
        if bugs.is_empty() || !bugs.iter().all(|bug| is_kebab(bug)) {
            let message = format!("{}: Seeded bugs are names in `kebab-case`", section.name);
            found.push(Violation::new(DOCUMENT, section.line("Seeded bugs"), message));
        }
    }
    found
}

/// The catalogue of the seeded bugs.
const CATALOGUE: &str = "src/seeded/catalogue.rs";

/// The bugs of the catalogue, `Bug = "name" breaks Invariant,`: name and variant.
fn seeded(tree: &Tree) -> Vec<(&str, &str)> {
    let words: Vec<&str> = tree.text(CATALOGUE).split_whitespace().collect();
    let entry = |words: &[&'_ str]| words[1] == "breaks" && words[0].starts_with('"');
    let entries = words.windows(3).filter(|words| entry(words));
    entries.map(|words| (words[0].trim_matches('"'), words[2].trim_end_matches(','))).collect()
}

/// Every seeded bug is listed in the section of the invariant that it breaks, and nowhere else.
pub fn bugs(tree: &Tree, document: &Document, named: &[Named]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut left = seeded(tree);
    for section in &document.sections {
        let named = named.iter().find(|named| named.name == section.name);
        for listed in crate::tree::quoted(section.text("Seeded bugs")) {
            let is_it = |(bug, breaks): &(&str, &str)| {
                *bug == listed && named.is_some_and(|named| named.variant == *breaks)
            };
            if let Some(at) = left.iter().position(is_it) {
                left.swap_remove(at);
            } else {
                let message = format!("{listed} does not break {}, or once more", section.name);
                found.push(Violation::new(DOCUMENT, section.line("Seeded bugs"), message));
            }
        }
    }
    for (bug, breaks) in left {
        let message = format!("{bug} is not in the section of {breaks}");
        found.push(Violation::new(CATALOGUE, 1, message));
    }
    found
}

fn is_kebab(word: &str) -> bool {
    word.contains('-')
        && word.split('-').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
}

/// How a file cites an invariant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Citation {
    head: bool,
    /// `invariant!(Name` or `Invariant::Name`, outside tests.
    code: bool,
}

/// Who cites an invariant: path and how.
fn citations<'a>(tree: &'a Tree, named: &Named) -> BTreeMap<&'a str, Citation> {
    let others = tree.sources.iter().filter(|source| !is_about_names(&source.path));
    let cite = |source: &'a Source| (source.path.as_str(), citation(source, named));
    others.map(cite).filter(|(_, citation)| *citation != Citation::default()).collect()
}

fn citation(source: &Source, named: &Named) -> Citation {
    let head = source.head();
    let mut words = head.split(|c: char| !c.is_alphanumeric() && c != '-');
    let cites = |at: usize| {
        source.reads(at, &["Invariant", "::", &named.variant])
            || source.reads(at, &["invariant", "!", "(", &named.variant])
    };
    let in_src = source.path.starts_with("src/");
    Citation {
        head: words.any(|word| word == named.name),
        code: in_src && (0..source.tokens.len()).any(|at| !source.tokens[at].test && cites(at)),
    }
}

/// Whether `place` holds `path`: it is the file, or the file whose modules lie in a directory of
/// the same name, or a directory with `/` at its end.
fn holds(place: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(place.trim_end_matches(".rs").trim_end_matches('/')) else {
        return false;
    };
    if place.ends_with('/') {
        rest.starts_with('/')
    } else {
        rest == ".rs" || rest.starts_with('/')
    }
}

fn section<'a>(document: &'a Document, named: &Named) -> Option<&'a Section> {
    document.sections.iter().find(|section| section.name == named.name)
}

/// Every invariant is kept somewhere: its section names the files, the files name it.
pub fn enforced(tree: &Tree, document: &Document, named: &[Named]) -> Vec<Violation> {
    let mut found = Vec::new();
    for named in named {
        // A missing section is reported by `headings`.
        let Some(section) = section(document, named) else { continue };
        let (citations, files) = (citations(tree, named), section.files("Enforced"));
        let mut guilty = |message: String| {
            let message = format!("{}: {message}", named.name);
            found.push(Violation::new(DOCUMENT, section.line("Enforced"), message));
        };
        if !files.iter().any(|file| file.starts_with("src/")) {
            guilty("Enforced names no file under src".to_owned());
        }
        for file in &files {
            if !tree.texts.keys().any(|path| holds(file, path)) {
                guilty(format!("Enforced names {file}, which does not exist"));
            } else if !citations.keys().any(|path| holds(file, path)) {
                guilty(format!("Enforced names {file}, which does not cite it"));
            }
        }
        let by_construction = section.text("Enforced").starts_with("by construction in `");
        let in_code = citations.values().any(|citation| citation.code);
        if !in_code && !by_construction {
            let variant = &named.variant;
            guilty(format!("neither invariant!({variant}, ..) nor Invariant::{variant} is in src"));
        }
    }
    found
}

/// A file that tests: an integration test, a test module, a model, a fuzz target.
fn is_check(source: &Source) -> bool {
    let outside = ["tests/", "models/", "fuzz/"].iter().any(|at| source.path.starts_with(at));
    outside || source.is_test_file()
}

/// Every invariant is checked in two independent ways at least: its section names the files, the
/// files name it at their heads.
pub fn checked(tree: &Tree, document: &Document, named: &[Named]) -> Vec<Violation> {
    let mut found = Vec::new();
    for named in named {
        let Some(section) = section(document, named) else { continue };
        let (citations, files) = (citations(tree, named), section.files("Checked by"));
        let mut guilty = |message: String| {
            let message = format!("{}: {message}", named.name);
            found.push(Violation::new(DOCUMENT, section.line("Checked by"), message));
        };
        let mut kinds = BTreeSet::new();
        for file in &files {
            match document.kinds.get(*file) {
                Some(kind) => drop(kinds.insert(kind.clone())),
                None => guilty(format!("{file} is not in the table of the kinds of check")),
            }
            let cited = |(path, how): (&&str, &Citation)| {
                holds(file, path) && (how.head || (how.code && !file.ends_with("tests.rs")))
            };
            if !tree.texts.keys().any(|path| holds(file, path)) {
                guilty(format!("Checked by names {file}, which does not exist"));
            } else if !citations.iter().any(cited) {
                guilty(format!("Checked by names {file}, which does not cite it at its head"));
            }
        }
        if kinds.len() < 2 {
            guilty(format!("checked by {kinds:?}, at least two kinds are needed"));
        }
        let heads = tree.sources.iter().filter(|source| is_check(source));
        if !heads.filter(|s| !is_about_names(&s.path)).any(|s| citation(s, named).head) {
            guilty("no test file cites it at its head".to_owned());
        }
    }
    found
}

/// Every citation has its partner: a test that attacks an invariant stands in its section, a file
/// that keeps one too, and the names exist.
pub fn cited(tree: &Tree, document: &Document, named: &[Named]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in tree.sources.iter().filter(|source| !is_about_names(&source.path)) {
        let head = source.head();
        for word in listed(&head, "Keeps:").chain(listed(&head, "Attacks:")) {
            if !named.iter().any(|named| named.name == word) {
                let message = format!("{word} is no invariant");
                found.push(Violation::new(&source.path, 1, message));
            }
        }
        for named in named {
            let Some(section) = section(document, named) else { continue };
            let keeps = listed(&head, "Keeps:").any(|word| word == named.name);
            let wanted: &[&str] = match () {
                () if is_check(source) && citation(source, named).head => &["Checked by"],
                () if keeps => &["Enforced", "Checked by"],
                () => continue,
            };
            let is_named =
                |label: &&str| section.files(label).iter().any(|file| holds(file, &source.path));
            if !wanted.iter().any(is_named) {
                let (name, label) = (&named.name, wanted[0]);
                let message = format!("cites {name}, but `{label}` there does not name this file");
                found.push(Violation::new(&source.path, 1, message));
            }
        }
    }
    found
}

/// The names listed behind a label, up to the end of its sentence: `Keeps: a-b, c-d (why).`
fn listed<'a>(head: &'a str, label: &str) -> impl Iterator<Item = String> + use<'a> {
    let rest = head.split_once(label).map_or("", |(_, rest)| rest);
    let sentence = rest.split(['.', ';']).next().unwrap_or("");
    let mut depth = 0_usize;
    let outside: String = sentence
        .chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect();
    let words: Vec<String> = outside.split([',', '\n', ' ']).map(str::to_owned).collect();
    words.into_iter().filter(|word| is_kebab(word))
}

/// The lines that the lock file must hold: name, hash of the statement, number of citing files.
pub fn lock(tree: &Tree, document: &Document, named: &[Named]) -> String {
    let mut lines = String::new();
    for named in named {
        let statement = section(document, named).map_or("", |section| section.text("Statement"));
        let words: Vec<&str> = statement.split_whitespace().collect();
        let (hash, count) = (fnv(&words.join(" ")), citations(tree, named).len());
        writeln!(lines, "{} {hash:016x} {count}", named.name)
            .expect("a string takes what is written");
    }
    lines
}

/// FNV-1a, 64 bits: enough to notice that a sentence changed.
fn fnv(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, mix)
}

/// The lock file says what the document and the sources say now.
pub fn locked(tree: &Tree, document: &Document, named: &[Named]) -> Vec<Violation> {
    let (stored, wanted) = (tree.text(LOCK), lock(tree, document, named));
    let mut found = Vec::new();
    for (line, named) in wanted.lines().zip(named) {
        if stored.lines().any(|other| other == line) {
            continue;
        }
        let at = section(document, named).map_or(1, |section| section.line);
        let files: Vec<&str> = citations(tree, named).into_keys().collect();
        let message = format!(
            "{}: its statement or the number of its citations changed. Look at each citation \
             again ({}), then run the test with UPDATE_INVARIANTS_LOCK=1",
            named.name,
            files.join(", ")
        );
        found.push(Violation::new(DOCUMENT, at, message));
    }
    if stored.lines().count() != wanted.lines().count() {
        let message = format!("{} lines, not {}", stored.lines().count(), wanted.lines().count());
        found.push(Violation::new(LOCK, 1, message));
    }
    found
}
