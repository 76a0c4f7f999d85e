//! The document of pitfalls names tests that exist.

use std::path::Path;

/// The text of all files of a test target, `tests/NAME.rs` and `tests/NAME/`, or of a path.
fn sources(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stem = if name.contains('/') { root.join(name) } else { root.join("tests").join(name) };
    let mut files = vec![stem.with_extension("rs")];
    if let Ok(entries) = std::fs::read_dir(&stem) {
        files.extend(entries.map(|entry| entry.expect("the directory can be listed").path()));
    }
    files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// Whether a text has a test of this name that runs. Models are run by the list that names them.
fn has_test(text: &str, name: &str, is_model: bool) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let begin = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev();
        let heads: Vec<&str> = above
            .map_while(|line| ["#[", "//"].iter().any(|how| line.starts_with(how)).then_some(*line))
            .collect();
        let is_run = if is_model {
            lines.contains(&format!("{name},").as_str())
        } else {
            heads.contains(&"#[test]") && !heads.iter().any(|line| line.contains("ignore"))
        };
        line.starts_with(&begin) && is_run
    })
}

#[test]
fn every_pitfall_has_tests_that_exist() {
    let document = include_str!("../docs/pitfalls.md");
    let rows =
        document.lines().filter(|line| line.starts_with("| ") && !line.contains("What went"));
    let (mut count, mut missing) = (0, Vec::new());
    for row in rows {
        let names: Vec<&str> =
            row.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(!names.is_empty(), "no test is named: {row}");
        count += 1;
        for name in names {
            let (target, test) = name.split_once("::").expect("it was filtered");
            if !has_test(&sources(target), test, target.starts_with("models/")) {
                missing.push(name);
            }
        }
    }
    assert!(count >= 32, "{count} rows");
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}
