//! Sizes and heads: how long lines, functions and files are, and what a file says of itself.

use crate::layers::{ARCHITECTURE, Layers, module_of};
use crate::source::Source;
use crate::tree::{Tree, Violation};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Lines and functions of every Rust file, and the files under `src`, are short enough.
pub fn check_sizes(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in &tree.sources {
        for (index, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let message = format!("{columns} columns, at most {COLUMNS_MAX}");
                found.push(Violation::new(&source.path, index + 1, message));
            }
        }
        for function in source.functions() {
            if function.lines > FUNCTION_LINES_MAX {
                let (name, lines) = (function.name, function.lines);
                let message = format!("{name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
                found.push(Violation::new(&source.path, function.line, message));
            }
        }
    }
    for source in tree.engine() {
        let lines = source.lines_without_tests();
        if lines > FILE_LINES_MAX {
            let message = format!("{lines} lines without tests, at most {FILE_LINES_MAX}");
            found.push(Violation::new(&source.path, 1, message));
        }
    }
    found
}

/// Every file under `src` begins by saying what it owns, and the right layer.
pub fn check_heads(tree: &Tree) -> Vec<Violation> {
    let layers = Layers::read(tree);
    tree.engine().filter_map(|source| head(source, &layers)).collect()
}

fn head(source: &Source, layers: &Layers) -> Option<Violation> {
    let head = source.head();
    let violation = |message: String| Some(Violation::new(&source.path, 1, message));
    if head.is_empty() {
        return violation("does not begin with a `//!` head".to_owned());
    }
    // The root's head is the crate's documentation, a test's head says what it attacks.
    let module = module_of(&source.path).filter(|_| !source.is_test_file())?;
    if !head.contains("Owns:") {
        return violation("its head does not say what it owns (`Owns: ...`)".to_owned());
    }
    // A file without a layer is reported where the table is compared with the files.
    let layer = layers.of(&source.path)?;
    let said = head.split("layer L").nth(1);
    let said = said.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    match said {
        Some(said) if said == layer.to_string() => None,
        Some(said) => violation(format!("says layer L{said}, {ARCHITECTURE} says L{layer}")),
        None if module.contains("::") => None,
        None => violation(format!("its head does not say `layer L{layer}`")),
    }
}

/// Nothing is left for later.
pub fn check_leftovers(tree: &Tree) -> Vec<Violation> {
    // Spelled in two halves, so that this file passes its own check.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found = Vec::new();
    for (path, text) in &tree.texts {
        for (index, line) in text.lines().enumerate() {
            let mut parts = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(word) = parts.find(|part| words.contains(part)) {
                found.push(Violation::new(path, index + 1, format!("{word} is left")));
            }
        }
    }
    for source in tree.engine() {
        for (at, token) in source.tokens.iter().enumerate() {
            let is_stub = matches!(token.text.as_str(), "todo" | "unimplemented" | "dbg");
            if is_stub && source.word(at + 1) == "!" {
                let message = format!("{}! is left", token.text);
                found.push(Violation::new(&source.path, token.line, message));
            }
            if source.reads(at, &["allow", "(", "dead_code"]) {
                let message = "code that nothing uses is left";
                found.push(Violation::new(&source.path, token.line, message));
            }
        }
    }
    found
}
