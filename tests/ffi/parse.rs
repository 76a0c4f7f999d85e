//! What the header declares and what the sources define, as text.

use super::build::root;
use std::collections::BTreeMap;
use std::path::Path;

/// A function by its C types.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    pub name: String,
    pub parameters: Vec<String>,
    pub result: String,
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).expect("the project's files can be read")
}

/// The header without comments and without what the preprocessor reads.
fn header_code() -> String {
    let text = read("include/btree_store.h");
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("a comment ends").1;
    }
    code.push_str(rest);
    code
}

/// A type or a declaration with one space between words, and none around stars.
fn tidy_type(text: &str) -> String {
    let spaced = text.replace('*', " * ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").replace("* *", "**")
}

/// `const char *path` is `const char *`.
fn without_name(declaration: &str) -> String {
    let tidy = tidy_type(declaration);
    if tidy == "void" {
        return tidy;
    }
    let (kind, name) = tidy.rsplit_once(' ').expect("a parameter has a type and a name");
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{declaration}");
    kind.to_owned()
}

/// The functions of the header, in its order.
pub fn header_functions() -> Vec<Function> {
    let code: String =
        header_code().lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
    let code = code.replace("extern \"C\" {", "");
    let mut functions = Vec::new();
    for statement in code.split(';').map(str::trim) {
        let is_other = statement.contains("typedef") || statement.contains(['{', '}']);
        let Some((head, tail)) = statement.split_once('(').filter(|_| !is_other) else { continue };
        let head = tidy_type(head);
        let (result, name) = head.rsplit_once(' ').expect("a function has a result and a name");
        let inside = tail.strip_suffix(')').expect("a declaration ends with its parameters");
        let parameters: Vec<String> = inside.split(',').map(without_name).collect();
        let parameters = if parameters == ["void"] { Vec::new() } else { parameters };
        functions.push(Function { name: name.to_owned(), parameters, result: result.to_owned() });
    }
    functions
}

/// The constants of the header: name and text.
pub fn header_constants() -> BTreeMap<String, String> {
    let code = header_code();
    let defines = code.lines().filter_map(|line| line.trim().strip_prefix("#define BTREE_"));
    let pairs = defines.filter_map(|rest| rest.split_once(' '));
    let bare = |text: &str| text.trim().trim_matches(['(', ')']).to_owned();
    pairs.map(|(name, value)| (format!("BTREE_{name}"), bare(value))).collect()
}

/// The text of each source of the C ABI, its unit tests left out.
fn sources() -> Vec<String> {
    let mut paths = vec![root().join("src/ffi.rs")];
    let listed = std::fs::read_dir(root().join("src/ffi")).expect("the directory can be listed");
    for entry in listed {
        paths.push(entry.expect("the directory can be listed").path());
    }
    paths.retain(|path| !path.ends_with("tests.rs"));
    paths.sort();
    paths.iter().map(read).collect()
}

/// The exported functions of the sources, by their C types.
pub fn source_functions() -> Vec<Function> {
    let mut functions = Vec::new();
    for source in sources() {
        let marks = source.matches("no_mangle").count();
        let before = functions.len();
        for item in source.split("#[unsafe(no_mangle)]").skip(1) {
            functions.push(exported(item));
        }
        assert_eq!(functions.len() - before, marks, "every exported function is seen");
    }
    functions
}

/// `pub unsafe extern "C" fn name(a: A, b: B) -> R {` in C's words.
fn exported(item: &str) -> Function {
    let signature = item.trim_start().split_once(" {").expect("a function has a body").0;
    let bare = signature.strip_prefix("pub unsafe ").or(signature.strip_prefix("pub "));
    let bare = bare.and_then(|text| text.strip_prefix("extern \"C\" fn "));
    let (name, tail) =
        bare.and_then(|text| text.split_once('(')).unwrap_or_else(|| panic!("{signature}"));
    let (inside, result) = tail.rsplit_once(')').expect("the parameters end");
    let parameters = inside.split(',').map(str::trim).filter(|text| !text.is_empty());
    let kind = |text: &str| c_type(text.split_once(": ").expect("a parameter has a type").1);
    let result = result.trim().strip_prefix("-> ").map_or("void".to_owned(), c_type);
    Function { name: name.to_owned(), parameters: parameters.map(kind).collect(), result }
}

/// A Rust type in C's words.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(inner) = rust.strip_prefix("Option<").and_then(|text| text.strip_suffix('>')) {
        return inner.to_owned();
    }
    if let Some(inner) = rust.strip_prefix("*mut ") {
        return tidy_type(&format!("{} *", c_type(inner)));
    }
    if let Some(inner) = rust.strip_prefix("*const ") {
        let inner = c_type(inner);
        assert!(!inner.contains('*'), "no function takes a pointer to a constant pointer");
        return tidy_type(&format!("const {inner} *"));
    }
    let name = match rust {
        "c_int" => "int",
        "c_char" => "char",
        "c_void" => "void",
        "u8" => "uint8_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "TxnHandle" => "Txn",
        "MultiTxnHandle" => "MultiTxn",
        "OwnedTxnHandle" => "BTreeTxn",
        "Snapshot" => "BTreeSnapshot",
        "BTree" | "TxnIter" | "TxnReader" | "BTreeOptions" | "BTreeStats" | "BTreeCompactStats" => {
            rust
        }
        _ => panic!("{rust} has no C type"),
    };
    name.to_owned()
}

/// The public constants of the sources: name and value in C's words.
pub fn source_constants() -> BTreeMap<String, String> {
    let mut constants = BTreeMap::new();
    for source in sources() {
        for line in source.lines().filter_map(|line| line.strip_prefix("pub const ")) {
            let (name, rest) = line.split_once(": ").expect("a constant has a type");
            let value = rest.split_once(" = ").expect("a constant has a value").1;
            let value = value.trim_end_matches(';').replace("u64::MAX", "UINT64_MAX");
            constants.insert(name.to_owned(), value);
        }
    }
    constants
}
