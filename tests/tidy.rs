//! The project's hygiene: what `docs/architecture.md` and the style promise of the sources.
//!
//! Reads the sources with the standard library alone. One test judges the project and reports
//! everything at once; the tests in `tidy/planted.rs` give each check a violation to find, since a
//! check that cannot fail is worth nothing.
//!
//! Attacks: same-calls-same-bytes (no clock, no chance, no hash order in the engine).

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/matrix.rs"]
mod matrix;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use std::path::Path;
use tree::{Tree, Violation};
use words::Discard;

/// Values that are right to discard, each with its reason.
const DISCARDS: &[Discard] = &[];

/// The command that the README tells a reader to type, and that `.ci/run` ends with.
const TEST_COMMAND: &str = "cargo test --features ffi,sim,cli";

/// The README's command is the one that is run.
fn check_command(tree: &Tree) -> Vec<Violation> {
    let places = ["README.md", ".ci/run"];
    let lacks = |path: &&str| !tree.text(path).lines().any(|line| line.trim() == TEST_COMMAND);
    let report = |path| Violation::new(path, 1, format!("has no line `{TEST_COMMAND}`"));
    places.into_iter().filter(lacks).map(report).collect()
}

/// Whether the manifest says that a target, of a kind, asks for a feature.
fn is_gated(tree: &Tree, (kind, name): (&str, &str), feature: &str) -> bool {
    let wanted = format!("[[{kind}]]\nname = \"{name}\"\nrequired-features = [\"{feature}\"]\n");
    tree.text("Cargo.toml").contains(&wanted)
}

/// A target that is nothing without a feature says so in the manifest: without the feature, asking
/// for it is an error then, and not a run of no tests.
fn check_gates(tree: &Tree) -> Vec<Violation> {
    let gates = tree.sources.iter().filter_map(|source| {
        let path = source.path.as_str();
        let (kind, file) = path.split_once('/')?;
        let kind = match kind {
            "tests" => "test",
            "examples" => "example",
            "benches" => "bench",
            _ => return None,
        };
        let name = file.strip_suffix(".rs").filter(|name| !name.contains('/'))?;
        let mut lines = tree.text(path).lines().zip(1..);
        let (feature, line) = lines.find_map(|(text, line)| {
            let feature = text.strip_prefix("#![cfg(feature = \"")?.strip_suffix("\")]")?;
            Some((feature, line))
        })?;
        let is_gated = is_gated(tree, (kind, name), feature);
        (!is_gated)
            .then(|| Violation::new(path, line, "Cargo.toml has no `required-features` for it"))
    });
    gates.collect()
}

/// What is nothing without a feature inside of a target: the target asks for the feature too.
fn check_parts(tree: &Tree) -> Vec<Violation> {
    let files = tree
        .texts
        .iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|e| e == "rs"));
    let lines = files.flat_map(|(path, text)| text.lines().zip(1..).map(move |line| (path, line)));
    let lost = lines.filter_map(|(path, (line, at))| {
        let target = path.strip_prefix("tests/")?.split(['/', '.']).next()?;
        let feature = line.trim().strip_prefix("#[cfg(feature = \"")?.strip_suffix("\")]")?;
        let is_gated = is_gated(tree, ("test", target), feature);
        (!is_gated).then(|| Violation::new(path, at, "is left out in silence without its feature"))
    });
    lost.collect()
}

/// The command leaves no feature out.
fn check_features(tree: &Tree) -> Vec<Violation> {
    let tested = TEST_COMMAND.rsplit(' ').next().unwrap_or("");
    let lines = tree.text("Cargo.toml").lines().skip_while(|line| *line != "[features]").skip(1);
    let features = lines.take_while(|line| !line.starts_with('['));
    let names = features.filter_map(|line| Some(line.split_once(" = [")?.0));
    let is_lost =
        |name: &&str| *name != "default" && !tested.split(',').any(|other| other == *name);
    let lost = names.filter(is_lost);
    lost.map(|name| Violation::new("Cargo.toml", 1, format!("{name} is not tested"))).collect()
}

#[test]
fn the_project_is_tidy() {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.engine().count() >= 8, "the sources were not found");
    assert!(tree.texts.contains_key(".ci/run"), "the scripts were not found");
    let checks = [
        layers::check(&tree),
        shape::check_sizes(&tree),
        shape::check_heads(&tree),
        shape::check_leftovers(&tree),
        words::check_locks(&tree),
        words::check_files(&tree),
        words::check_fences(&tree),
        words::check_determinism(&tree),
        words::check_unsafe(&tree),
        words::check_errors(&tree, DISCARDS),
        words::check_casts(&tree),
        matrix::check_matrix(&tree),
        matrix::check_places(&tree),
        matrix::check_models(&tree),
        check_command(&tree),
        check_gates(&tree),
        check_parts(&tree),
        check_features(&tree),
    ];
    let mut found: Vec<Violation> = checks.into_iter().flatten().collect();
    found.sort();
    let report: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), report.join("\n"));
}
