//! These tests do not vanish in silence.

use super::build::{cargo, finish, root};

/// Without the feature, a run of these tests is an error of cargo's, not a run of none.
#[test]
fn without_the_feature_the_tests_refuse_to_run() {
    let output = finish(cargo().args(["test", "--test", "ffi", "--no-run"]));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "cargo ran the tests of the C ABI without the feature");
    assert!(text.contains("requires the features: `ffi`"), "{text}");
}

/// Nor are the models passed over where nobody asks for their schedules.
#[test]
fn without_their_cfg_the_models_do_not_compile() {
    let dir = tempfile::tempdir().unwrap();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = std::process::Command::new(compiler);
    compile.args(["--edition", "2024", "--emit", "metadata", "--out-dir"]).arg(dir.path());
    let output = finish(compile.arg(root().join("models/main.rs")));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("the models need --cfg loom"), "{text}");
}

/// The command that judges the project names the feature; the README has the same command.
#[test]
fn the_command_that_judges_the_project_names_the_feature() {
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let names_feature = |line: &str| {
        let features = line.split("--features ").nth(1).unwrap_or("");
        let first = features.split_whitespace().next().unwrap_or("");
        line.starts_with("cargo test") && first.split(',').any(|feature| feature == "ffi")
    };
    assert!(script.lines().map(str::trim).any(names_feature), ".ci/run tests without `ffi`");
}
