//! The kill matrix: a row for each bug of the catalogue, and something that finds it in each.

use super::tree::{Tree, Violation};
use std::collections::BTreeSet;

const CATALOGUE: &str = "src/seeded/catalogue.rs";
const MATRIX: &str = "docs/kill-matrix.md";
const README: &str = "README.md";

/// The names in the catalogue: of each entry, what stands between the quotation marks behind its
/// variant.
fn catalogue(text: &str) -> BTreeSet<&str> {
    let is_variant = |name: &str| name.chars().all(char::is_alphanumeric) && !name.is_empty();
    let entries = text.lines().filter_map(|line| line.trim().split_once(" = \""));
    let named = entries.filter(|(variant, _)| is_variant(variant));
    named.filter_map(|(_, rest)| rest.split_once('"')).map(|(name, _)| name).collect()
}

/// The rows of the matrix: line, name, and whether a column holds a number.
fn rows(text: &str) -> Vec<(usize, &str, bool)> {
    let table = text.lines().zip(1..).filter(|(line, _)| line.starts_with("| "));
    let cells = table.map(|(line, at)| (line.split('|').map(str::trim).collect::<Vec<_>>(), at));
    cells
        .filter(|(cells, _)| cells.len() > 3 && cells[1] != "bug")
        .map(|(cells, at)| {
            (at, cells[1], cells[3..].iter().any(|cell| cell.parse::<u64>().is_ok()))
        })
        .collect()
}

/// Every bug has a row, every row a bug, and every row something that finds it; the pages that say
/// how many there are say it right.
pub fn check_matrix(tree: &Tree) -> Vec<Violation> {
    let bugs = catalogue(tree.text(CATALOGUE));
    let rows = rows(tree.text(MATRIX));
    let named: BTreeSet<&str> = rows.iter().map(|(_, name, _)| *name).collect();
    let lacking = bugs.difference(&named);
    let lacking = lacking.map(|bug| Violation::new(MATRIX, 1, format!("has no row for {bug}")));
    let wrong = rows.iter().filter_map(|&(line, name, is_found)| {
        let what = match (bugs.contains(name), is_found) {
            (false, _) => format!("{name} is no bug of {CATALOGUE}"),
            (true, false) => format!("nothing finds {name}"),
            (true, true) => return None,
        };
        Some(Violation::new(MATRIX, line, what))
    });
    let unsaid =
        [(MATRIX, "bugs, 0 survive"), (README, "bugs")].into_iter().filter_map(|(path, what)| {
            let summary = format!("{} {what}", rows.len());
            let says = tree.text(path).contains(&summary);
            (!says).then(|| Violation::new(path, 1, format!("does not say `{summary}`")))
        });
    lacking.chain(wrong).chain(unsaid).collect()
}

/// The bugs of one mark: what stands in front of a condition.
fn marked(rest: &str) -> impl Iterator<Item = &str> {
    let end = rest.find([',', ')']).unwrap_or(rest.len());
    rest[..end].split('|').map(str::trim)
}

/// Every bug of the catalogue has a place in the engine; else its row tells of the past.
pub fn check_places(tree: &Tree) -> Vec<Violation> {
    let engine = tree.texts.iter().filter(|(path, _)| path.starts_with("src/"));
    let engine = engine.filter(|(path, _)| path.as_str() != CATALOGUE);
    let placed: BTreeSet<&str> =
        engine.flat_map(|(_, text)| text.split("seeded!(").skip(1)).flat_map(marked).collect();
    let lines = tree.texts.get(CATALOGUE).map_or("", String::as_str).lines().zip(1..);
    let bugs = lines.filter_map(|(line, at)| Some((line.trim().split_once(" = \"")?.0, at)));
    let is_bug = |bug: &str| !bug.is_empty() && bug.chars().all(char::is_alphanumeric);
    let lost = bugs.filter(|(bug, _)| is_bug(bug) && !placed.contains(bug));
    lost.map(|(bug, at)| Violation::new(CATALOGUE, at, format!("{bug} changes nothing"))).collect()
}

const MODELS: &str = "models/";
const FOUND_BY: &str = "models/bugs.rs";

/// Every model is there for a bug: what `models/bugs.rs` does not name may be one that cannot fail.
pub fn check_models(tree: &Tree) -> Vec<Violation> {
    let bugs = tree.texts.get(FOUND_BY).map_or("", String::as_str);
    let files = tree.texts.iter().filter(|(path, _)| path.starts_with(MODELS));
    let listed = files.flat_map(|(path, text)| {
        let lines = text.lines().zip(1..).skip_while(|(line, _)| !line.ends_with("models!["));
        let names = lines.skip(1).take_while(|(line, _)| line.trim() != "];");
        names.map(|(line, at)| (path.as_str(), at, line.trim().trim_end_matches(',')))
    });
    let is_alone = |(_, _, name): &(&str, usize, &str)| !bugs.contains(&format!("\"{name}\""));
    let report =
        |(path, at, name)| Violation::new(path, at, format!("{name} is there for no seeded bug"));
    listed.filter(is_alone).map(report).collect()
}
