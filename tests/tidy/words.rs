//! What may not be named, and where: locks, files, clocks, `unsafe`, and ways to lose an error.

use crate::layers::{ARCHITECTURE, Layers};
use crate::source::{Path, Source};
use crate::tree::{Tree, Violation, cells, quoted};
use std::collections::BTreeMap;

/// A discarded value that is right to discard: file, code that follows `let _`, why.
pub type Discard = (&'static str, &'static str, &'static str);

/// The highest layer of the engine; the edges above it may name clocks and threads.
const ENGINE_LAYER_MAX: usize = 7;

/// The root names only these of `std::sync`; everything else there is a lock or an atomic.
const SHARED_POINTERS: &[&str] = &["Arc", "Weak"];

/// Files that may hold a hash map: they look up by key, and nothing depends on the map's order.
const HASH_MAPS: &[&str] = &["src/cache.rs", "src/cache/"];

/// Who may name a clock: what weighs waits of threads for each other, with nobody's order known.
const CLOCKS: &[(&str, &str)] = &[("src/sync.rs", "Instant")];

/// Who may name the file system: the storage, and the command for what is no store.
const FILES: &[&str] = &["src/vfs/os.rs", "src/bin/btree-store/files.rs"];

/// Who may change the length of a file or make it durable.
const FENCES: &[&str] = &[
    "src/vfs/",
    "src/commit/",
    "src/recover.rs",
    "src/options.rs",
    "src/options/",
    "src/image.rs",
    "src/sim/",
    "src/bin/btree-store/files.rs",
];

/// Paths under `src` outside tests, with their file.
fn paths(tree: &Tree) -> impl Iterator<Item = (&Source, Path)> {
    let live = |source| Source::paths(source).into_iter().filter(|path| !path.test);
    tree.engine().flat_map(move |source| live(source).map(move |path| (source, path)))
}

fn starts(path: &Path, words: &[&str]) -> bool {
    path.segments.len() >= words.len() && path.segments.iter().zip(words).all(|(a, b)| a == b)
}

fn report(source: &Source, path: &Path, rule: &str) -> Violation {
    Violation::new(&source.path, path.line, format!("{}: {rule}", path.segments.join("::")))
}

/// Locks and atomics have one home.
pub fn check_locks(tree: &Tree) -> Vec<Violation> {
    let names_lock = |path: &Path| {
        let third = path.segments.get(2).map_or("", String::as_str);
        let is_std = starts(path, &["std", "sync"]) || starts(path, &["core", "sync"]);
        let is_foreign = starts(path, &["parking_lot"]) || starts(path, &["loom"]);
        is_foreign || (is_std && !SHARED_POINTERS.contains(&third))
    };
    let outside = paths(tree).filter(|(source, _)| source.path != "src/sync.rs");
    let guilty = outside.filter(|(_, path)| names_lock(path));
    guilty.map(|(source, path)| report(source, &path, "only src/sync.rs names it")).collect()
}

/// The file system has one door.
pub fn check_files(tree: &Tree) -> Vec<Violation> {
    let names_file = |path: &Path| {
        starts(path, &["std", "fs"])
            || starts(path, &["std", "os"]) && !starts(path, &["std", "os", "raw"])
    };
    let outside = paths(tree).filter(|(source, _)| !FILES.contains(&source.path.as_str()));
    let guilty = outside.filter(|(_, path)| names_file(path));
    let rule = format!("only {FILES:?} name it");
    guilty.map(|(source, path)| report(source, &path, &rule)).collect()
}

/// The order of writes and barriers is decided in few places.
pub fn check_fences(tree: &Tree) -> Vec<Violation> {
    const CALLS: &[&str] = &["sync_data", "sync_all", "sync_dir", "set_len"];
    let mut found = Vec::new();
    let may = |source: &Source| FENCES.iter().any(|place| source.path.starts_with(place));
    for source in tree.engine().filter(|source| !may(source)) {
        for token in source.tokens.iter().filter(|token| !token.test) {
            if CALLS.contains(&token.text.as_str()) {
                let message = format!("{}: only {FENCES:?} do this", token.text);
                found.push(Violation::new(&source.path, token.line, message));
            }
        }
    }
    found
}

/// The engine does the same for the same calls: no clock, chance, surroundings, hidden threads.
pub fn check_determinism(tree: &Tree) -> Vec<Violation> {
    const NAMES: &[&str] =
        &["SystemTime", "Instant", "UNIX_EPOCH", "rand", "getrandom", "RandomState"];
    const CALLS: &[[&str; 2]] = &[
        ["std", "env"],
        ["env", "var"],
        ["thread", "spawn"],
        ["thread", "Builder"],
        ["thread", "scope"],
        ["thread", "sleep"],
    ];
    let layers = Layers::read(tree);
    let engine = |source: &Source| layers.of(&source.path).is_none_or(|l| l <= ENGINE_LAYER_MAX);
    let mut found = Vec::new();
    for source in tree.engine().filter(|source| engine(source)) {
        let may_hash = HASH_MAPS.iter().any(|place| source.path.starts_with(place));
        for token in source.tokens.iter().filter(|token| !token.test) {
            let text = token.text.as_str();
            let is_hash = matches!(text, "HashMap" | "HashSet");
            let is_clock = CLOCKS.contains(&(source.path.as_str(), text));
            if NAMES.contains(&text) && !is_clock || (is_hash && !may_hash) {
                let message = format!("{text}: the same calls must write the same bytes");
                found.push(Violation::new(&source.path, token.line, message));
            }
        }
        for path in source.paths().iter().filter(|path| !path.test) {
            if path.segments.windows(2).any(|pair| CALLS.iter().any(|call| pair == call)) {
                found.push(report(source, path, "the same calls must write the same bytes"));
            }
        }
    }
    found
}

/// `unsafe` lives where the document says, each block says why it is sound, and something there
/// attacks it.
pub fn check_unsafe(tree: &Tree) -> Vec<Violation> {
    let listed = unsafe_files(tree);
    let holds = |place: &str, path: &str| {
        place == path || (place.ends_with('/') && path.starts_with(place))
    };
    let mut found = Vec::new();
    let mut used: Vec<&str> = Vec::new();
    for source in &tree.sources {
        let blocks = (0..source.tokens.len()).filter(|at| source.word(*at) == "unsafe");
        for at in blocks {
            let line = source.tokens[at].line;
            let is_listed = listed.keys().any(|place| holds(place, &source.path));
            // One report a file is enough.
            if !is_listed && !used.contains(&source.path.as_str()) {
                let message = format!("unsafe, but {ARCHITECTURE} does not list this file");
                found.push(Violation::new(&source.path, line, message));
            }
            used.push(&source.path);
            if matches!(source.word(at + 1), "{" | "impl") && !has_reason(source, line) {
                let message = "unsafe without `// SAFETY:` above it";
                found.push(Violation::new(&source.path, line, message));
            }
        }
    }
    for (path, (line, attackers)) in &listed {
        if !used.iter().any(|user| holds(path, user)) {
            let message = format!("lists {path}, which has no unsafe code");
            found.push(Violation::new(ARCHITECTURE, *line, message));
        }
        if attackers.is_empty() {
            let message = format!("names no file that attacks the unsafe code of {path}");
            found.push(Violation::new(ARCHITECTURE, *line, message));
        }
        for attacker in attackers.iter().filter(|attacker| !tree.texts.contains_key(*attacker)) {
            let message = format!("{attacker}, which attacks {path}, does not exist");
            found.push(Violation::new(ARCHITECTURE, *line, message));
        }
    }
    found
}

/// The table below the heading about unsafe code: file, why, what attacks it.
fn unsafe_files(tree: &Tree) -> BTreeMap<String, (usize, Vec<String>)> {
    let mut listed = BTreeMap::new();
    let mut inside = false;
    for (index, line) in tree.text(ARCHITECTURE).lines().enumerate() {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("unsafe");
        }
        let cells = cells(line).filter(|_| inside).unwrap_or_default();
        if let Some(path) = cells.first().and_then(|cell| quoted(cell).first().copied()) {
            let attackers = cells.last().map(|cell| quoted(cell)).unwrap_or_default();
            let attackers = attackers.into_iter().map(str::to_owned).collect();
            listed.insert(path.to_owned(), (index + 1, attackers));
        }
    }
    listed
}

/// Whether a comment with the reason stands directly above the statement at `line`.
fn has_reason(source: &Source, line: usize) -> bool {
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let is_comment = |text: &str| text.starts_with("//");
    let mut above = lines[..line - 1].iter().rev().peekable();
    // The statement may begin some lines above its unsafe block.
    while above.next_if(|text| !is_comment(text) && !text.ends_with([';', '{', '}', ','])).is_some()
    {
    }
    above.take_while(|text| is_comment(text)).any(|text| text.starts_with("// SAFETY:"))
}

/// An error is handled or passed on: no unwrap, nothing discarded.
pub fn check_errors(tree: &Tree, discards: &[Discard]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut used = vec![false; discards.len()];
    for source in tree.engine() {
        for at in 0..source.tokens.len() {
            let token = &source.tokens[at];
            if token.test {
                continue;
            }
            let mut guilty = |message: &str| {
                found.push(Violation::new(&source.path, token.line, message));
            };
            if source.reads(at, &[".", "unwrap", "("]) {
                guilty("unwrap: use `?`, or `expect` with the reason why it cannot fail");
            }
            if source.reads(at, &[".", "ok", "(", ")", ";"]) && is_statement(source, at) {
                guilty("an error is discarded by `.ok()`");
            }
            if source.reads(at, &["let", "_"]) && matches!(source.word(at + 2), "=" | ":") {
                let line = source.text.lines().nth(token.line - 1).unwrap_or("");
                let allows =
                    |(path, code, _): &Discard| *path == source.path && line.contains(code);
                match discards.iter().position(allows) {
                    Some(index) => used[index] = true,
                    None => guilty("a value is discarded by `let _`"),
                }
            }
        }
    }
    for ((path, code, reason), used) in discards.iter().zip(used) {
        if !used || reason.is_empty() {
            let message = format!("the allowed discard `{code}` is not there, or has no reason");
            found.push(Violation::new(path, 1, message));
        }
    }
    found
}

/// Whether the value of the expression that ends at `at` is used by nothing.
fn is_statement(source: &Source, at: usize) -> bool {
    let mut depth = 0_usize;
    for before in (0..at).rev() {
        match source.word(before) {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" if depth > 0 => depth -= 1,
            "(" | "[" | "=" | "return" | "break" if depth == 0 => return false,
            ";" | "{" if depth == 0 => return true,
            _ => {}
        }
    }
    true
}

/// No number loses its upper bits on the way.
pub fn check_casts(tree: &Tree) -> Vec<Violation> {
    const NARROW: &[&str] = &["u8", "u16", "u32", "i8", "i16", "i32", "f32"];
    let mut found = Vec::new();
    for source in tree.engine() {
        for (at, token) in source.tokens.iter().enumerate() {
            let target = source.word(at + 1);
            if token.text == "as" && !token.test && NARROW.contains(&target) {
                let message = format!("`as {target}` may cut bits off; use `try_from` or `from`");
                found.push(Violation::new(&source.path, token.line, message));
            }
        }
    }
    found
}
