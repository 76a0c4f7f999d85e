//! The project's files, as the checks see them, and what a check reports.

use crate::source::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub path: String,
    pub line: usize,
    pub message: String,
}

impl Violation {
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Violation {
        Violation { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// All files of the project that are text.
#[derive(Debug, Default)]
pub struct Tree {
    /// Rust files, by path.
    pub sources: Vec<Source>,
    /// Every file, Rust files included, by path.
    pub texts: BTreeMap<String, String>,
}

/// What a check reads: source, documents, settings, and the scripts without an extension.
const EXTENSIONS: &[&str] = &["rs", "md", "toml", "h", "c", "sh", "lock", "run"];
const DIRECTORIES_SKIPPED: &[&str] = &[".git", "artifacts", "corpus", "golden", "node_modules"];

impl Tree {
    /// Reads the project.
    pub fn read(root: &Path) -> Tree {
        let mut texts = BTreeMap::new();
        collect(root, "", &mut texts);
        Tree::new(texts)
    }

    pub fn new(texts: BTreeMap<String, String>) -> Tree {
        let is_rust = |path: &str| Path::new(path).extension().is_some_and(|e| e == "rs");
        let rust = texts.iter().filter(|(path, _)| is_rust(path));
        let mut sources: Vec<Source> = rust.map(|(path, text)| Source::new(path, text)).collect();
        mark_test_files(&mut sources);
        Tree { sources, texts }
    }

    /// The Rust files under `src`.
    pub fn engine(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.starts_with("src/"))
    }

    pub fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }
}

/// A file that is declared by `#[cfg(test)] mod name;` is a test, and so is all below it.
fn mark_test_files(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in sources.iter() {
        let stem = source.path.trim_end_matches(".rs");
        let directory = match stem.rsplit_once('/') {
            Some((directory, "mod" | "lib" | "main")) => directory,
            _ => stem,
        };
        roots.extend(source.test_modules.iter().map(|name| format!("{directory}/{name}")));
    }
    for source in sources {
        let is_below = |root: &String| {
            let rest = source.path.strip_prefix(root.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if roots.iter().any(is_below) {
            source.mark_all_as_test();
        }
    }
}

fn collect(root: &Path, below: &str, texts: &mut BTreeMap<String, String>) {
    let entries = std::fs::read_dir(root.join(below)).expect("the directory can be listed");
    for entry in entries {
        let entry = entry.expect("the directory can be listed");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type().expect("the entry has a type").is_dir() {
            if !DIRECTORIES_SKIPPED.contains(&name.as_str()) && !name.starts_with("target") {
                collect(root, &path, texts);
            }
        } else if EXTENSIONS.contains(&name.rsplit('.').next().unwrap_or("")) || name == "run" {
            let text = std::fs::read_to_string(entry.path()).expect("the file is UTF-8 text");
            texts.insert(path, text);
        }
    }
}

/// The cells of a row of a Markdown table, or `None` when the line is none.
pub fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The words between backticks.
pub fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
