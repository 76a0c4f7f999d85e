//! The name by which programs ask for the shared library.

use super::build::{cargo, finish, libraries, root, run};
use std::path::Path;
use std::process::Command;

/// What the dynamic section of a file has under a tag, such as `SONAME`.
fn dynamic(file: &Path, tag: &str) -> Vec<String> {
    let text = run(Command::new("readelf").args(["--dynamic", "--wide"]).arg(file));
    let tag = format!("({tag})");
    let lines = text.lines().filter(|line| line.contains(&tag));
    let name = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
    lines.map(|line| name(line).expect("readelf shows a name in brackets")).collect()
}

#[test]
fn a_program_asks_for_the_shared_library_by_its_name() {
    let library = libraries().join("libbtree_store.so");
    assert_eq!(dynamic(&library, "SONAME"), ["libbtree_store.so"]);
    // Linked by its path, a library without a name would be asked for by that path.
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let mut gcc = Command::new("gcc");
    gcc.arg("-I").arg(root().join("include")).arg(root().join("examples/ffi.c")).arg(&library);
    run(gcc.arg("-o").arg(&program));
    let needed = dynamic(&program, "NEEDED");
    assert!(needed.iter().any(|name| name == "libbtree_store.so"), "{needed:?}");
}

/// What the build script tells cargo, or that it failed.
fn told(script: &Path, system: &str, feature: Option<&str>, name: Option<&str>) -> Option<String> {
    let mut command = Command::new(script);
    command.env("CARGO_CFG_TARGET_OS", system);
    for (variable, value) in [("CARGO_FEATURE_FFI", feature), ("BTREE_STORE_SONAME", name)] {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    let output = finish(&mut command);
    let text = String::from_utf8(output.stdout).expect("cargo reads UTF-8");
    let is_flag = |line: &&str| !line.starts_with("cargo:rerun-if-");
    output.status.success().then(|| text.lines().filter(is_flag).collect())
}

#[test]
fn a_packager_chooses_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    let rustc = Path::new(cargo().get_program()).with_file_name("rustc");
    let rustc = if rustc.exists() { rustc } else { "rustc".into() };
    run(Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&script).arg("build.rs"));
    let flag = |name| Some(format!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{name}"));
    let with = Some("1");
    assert_eq!(told(&script, "linux", with, None), flag("libbtree_store.so"));
    let name = "libbtree_store.so.0.1";
    assert_eq!(told(&script, "linux", with, Some(name)), flag(name));
    assert_eq!(told(&script, "linux", None, Some(name)).as_deref(), Some(""));
    assert_eq!(told(&script, "windows", with, Some(name)).as_deref(), Some(""));
    for name in ["", "two,options", "../up", "line\nline"] {
        assert_eq!(told(&script, "linux", with, Some(name)), None, "{name:?}");
    }
}
