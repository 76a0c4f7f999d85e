//! Who may import whom. The table is the one in `docs/architecture.md`, so that it has one place.

use crate::source::{Path, Source};
use crate::tree::{Tree, Violation, cells, quoted};
use std::collections::{BTreeMap, BTreeSet};

pub const ARCHITECTURE: &str = "docs/architecture.md";

/// Imports that the layers allow and the design does not: a module of the root, what it must not
/// know, and why.
const ABSENT: &[(&str, &str, &str)] = &[
    ("tree", "pager", "trees know no file"),
    ("tree", "vfs", "trees know no file"),
    ("tree", "space", "trees know no free space"),
    ("node", "vfs", "codecs do no I/O"),
    ("meta", "vfs", "codecs do no I/O"),
    ("space", "vfs", "codecs do no I/O"),
    ("cache", "vfs", "the cache does no I/O"),
    ("space", "node", "free space knows no tree"),
    ("cache", "node", "the cache knows no tree"),
    ("verify", "tree", "the walk shares no code with what it checks"),
    ("verify", "pager", "the walk shares no code with what it checks"),
    ("verify", "cache", "the walk shares no code with what it checks"),
];

/// The layer of each module of the crate's root, and the line of the table that says so.
#[derive(Debug, Default)]
pub struct Layers(BTreeMap<String, (usize, usize)>);

impl Layers {
    /// Reads the rows `| L<n> | `module`, `directory/` | ... |`.
    pub fn read(tree: &Tree) -> Layers {
        let mut layers = BTreeMap::new();
        for (index, line) in tree.text(ARCHITECTURE).lines().enumerate() {
            let Some(cells) = cells(line) else { continue };
            let digits = cells[0].strip_prefix('L').unwrap_or("");
            if let (Ok(layer), Some(modules)) = (digits.parse(), cells.get(1)) {
                for name in quoted(modules) {
                    layers.insert(name.trim_end_matches('/').to_owned(), (layer, index + 1));
                }
            }
        }
        Layers(layers)
    }

    /// The layer of a file under `src`; none for the crate's root, which only re-exports.
    pub fn of(&self, path: &str) -> Option<usize> {
        self.0.get(group(&module_of(path)?)).map(|(layer, _)| *layer)
    }
}

/// `src/node/leaf.rs` is `node::leaf`, `src/node/mod.rs` is `node`; none for the crate's root.
pub fn module_of(path: &str) -> Option<String> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    (inner != "lib").then(|| inner.replace('/', "::"))
}

fn group(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// An import: from a module to a module, and one place of it.
struct Edge<'a> {
    from: String,
    to: String,
    path: &'a str,
    line: usize,
}

/// Every file has a place, every row has a file, imports point down, and nothing goes in circles.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let layers = Layers::read(tree);
    let mut found = places(tree, &layers);
    let (edges, unknown) = edges(tree);
    found.extend(unknown);
    let layer = |module: &str| layers.0.get(group(module)).map(|(layer, _)| *layer);
    for edge in &edges {
        if let (Some(from), Some(to)) = (layer(&edge.from), layer(&edge.to))
            && to > from
        {
            let (name, target) = (&edge.from, &edge.to);
            let message = format!("{name} (layer L{from}) imports {target} (layer L{to})");
            found.push(Violation::new(edge.path, edge.line, message));
        }
    }
    for edge in &edges {
        let (from, to) = (group(&edge.from), group(&edge.to));
        if let Some((.., why)) = ABSENT.iter().find(|(who, what, _)| *who == from && *what == to) {
            let message = format!("{from} imports {to}: {why}");
            found.push(Violation::new(edge.path, edge.line, message));
        }
    }
    let level: Vec<_> = edges.iter().filter(|e| layer(&e.from) == layer(&e.to)).collect();
    found.extend(circles(&level));
    found
}

fn places(tree: &Tree, layers: &Layers) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for source in tree.engine() {
        let Some(module) = module_of(&source.path) else { continue };
        seen.insert(group(&module).to_owned());
        if layers.of(&source.path).is_none() {
            let message = format!("has no layer; give it a place in the table of {ARCHITECTURE}");
            found.push(Violation::new(&source.path, 1, message));
        }
    }
    for (name, (_, line)) in &layers.0 {
        if !seen.contains(name) {
            let message = format!("the table places {name}, which does not exist under src");
            found.push(Violation::new(ARCHITECTURE, *line, message));
        }
    }
    found
}

/// The imports of the engine, without those of tests and of the crate's root.
fn edges(tree: &Tree) -> (Vec<Edge<'_>>, Vec<Violation>) {
    let known: BTreeSet<String> = tree.engine().filter_map(|s| module_of(&s.path)).collect();
    let exported = exported(tree, &known);
    let (mut edges, mut unknown) = (Vec::new(), Vec::new());
    for source in tree.engine() {
        let Some(from) = module_of(&source.path) else { continue };
        for path in source.paths().iter().filter(|path| !path.test) {
            let Some(target) = absolute(&from, path) else { continue };
            let (line, path) = (path.line, source.path.as_str());
            match resolve(&target, &known, &exported) {
                Some(to) if to != from => edges.push(Edge { from: from.clone(), to, path, line }),
                Some(_) => {}
                None => {
                    let message = format!("crate::{} names no module", target.join("::"));
                    unknown.push(Violation::new(path, line, message));
                }
            }
        }
    }
    (edges, unknown)
}

/// The path from the crate's root, or `None` when it does not start there.
fn absolute(module: &str, path: &Path) -> Option<Vec<String>> {
    let mut base: Vec<String> = module.split("::").map(str::to_owned).collect();
    base.extend(path.inside.iter().cloned());
    let mut rest = path.segments.as_slice();
    match rest.first()?.as_str() {
        "crate" => base.clear(),
        "super" | "self" => {}
        _ => return None,
    }
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        rest = tail;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The module that a path from the root leads into.
fn resolve(
    target: &[String],
    known: &BTreeSet<String>,
    exported: &BTreeMap<String, String>,
) -> Option<String> {
    let prefixes = (1..=target.len()).rev().map(|n| target[..n].join("::"));
    let module = prefixes.into_iter().find(|prefix| known.contains(prefix));
    module.or_else(|| exported.get(target.first()?).cloned())
}

/// Where the names that the crate's root re-exports come from.
fn exported(tree: &Tree, known: &BTreeSet<String>) -> BTreeMap<String, String> {
    let root = tree.engine().find(|source| source.path == "src/lib.rs");
    let mut names = BTreeMap::new();
    for path in root.map(Source::paths).unwrap_or_default() {
        let target: Vec<String> = match path.segments.first().map(String::as_str) {
            Some("crate" | "self") => path.segments[1..].to_vec(),
            _ => path.segments.clone(),
        };
        if let (Some(module), Some(name)) =
            (resolve(&target, known, &BTreeMap::new()), target.last())
        {
            names.insert(name.clone(), module);
        }
    }
    names
}

fn is_ancestor(above: &str, below: &str) -> bool {
    below.strip_prefix(above).is_some_and(|rest| rest.starts_with("::"))
}

/// Imports within a layer that lie on a circle: between modules of the root, and between files of
/// one directory.
/// A directory's own `mod.rs` and its files belong together, they may name each other.
fn circles(edges: &[&Edge<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    let groups = |edge: &Edge<'_>| (group(&edge.from).to_owned(), group(&edge.to).to_owned());
    let files = |edge: &Edge<'_>| (edge.from.clone(), edge.to.clone());
    let (within, between): (Vec<_>, Vec<_>) =
        edges.iter().copied().partition(|edge| group(&edge.from) == group(&edge.to));
    let are_kin =
        |edge: &&Edge<'_>| is_ancestor(&edge.from, &edge.to) || is_ancestor(&edge.to, &edge.from);
    let siblings: Vec<_> = within.into_iter().filter(|edge| !are_kin(edge)).collect();
    found.extend(circles_among(&between, groups));
    found.extend(circles_among(&siblings, files));
    found
}

fn circles_among(
    edges: &[&Edge<'_>],
    ends: impl Fn(&Edge<'_>) -> (String, String),
) -> Vec<Violation> {
    let mut reach: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for edge in edges {
        let (from, to) = ends(edge);
        reach.entry(from).or_default().insert(to);
    }
    close(&mut reach);
    let lies_on_circle = |edge: &&&Edge<'_>| {
        let (from, to) = ends(edge);
        reach.get(&to).is_some_and(|reached| reached.contains(&from))
    };
    let report = |edge: &&Edge<'_>| {
        let message = format!("{} imports {}, which leads back to it", edge.from, edge.to);
        Violation::new(edge.path, edge.line, message)
    };
    edges.iter().filter(lies_on_circle).map(report).collect()
}

/// Adds what can be reached in more than one step.
fn close(reach: &mut BTreeMap<String, BTreeSet<String>>) {
    loop {
        let before: usize = reach.values().map(BTreeSet::len).sum();
        let snapshot = reach.clone();
        for reached in reach.values_mut() {
            let further = reached.iter().filter_map(|to| snapshot.get(to)).flatten();
            let further: Vec<String> = further.cloned().collect();
            reached.extend(further);
        }
        if reach.values().map(BTreeSet::len).sum::<usize>() == before {
            return;
        }
    }
}
