//! What packagers give to pkg-config.

use super::build::{SYSTEM_LIBRARIES, libraries, root, run};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::Command;

const TEMPLATE: &str = "include/btree_store.pc.in";

fn template() -> String {
    fs::read_to_string(root().join(TEMPLATE)).expect("the template can be read")
}

#[test]
fn the_template_says_what_the_library_is() {
    let text = template();
    let field = |name: &str| {
        let mut fields =
            text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        fields.next().map(str::to_owned)
    };
    assert_eq!(field("Version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(field("Libs.private"), Some(SYSTEM_LIBRARIES.join(" ")));
    let manual = fs::read_to_string(root().join("docs/ffi.md")).unwrap();
    let places: Vec<&str> = text.split('@').skip(1).step_by(2).collect();
    assert_eq!(places, ["PREFIX", "LIBDIR"]);
    assert!(places.iter().all(|place| manual.contains(&format!("@{place}@"))), "{places:?}");
}

/// A directory with the header, one kind of library, and what pkg-config reads.
fn installed(prefix: &Path, library: &str) {
    let libdir = prefix.join("lib");
    for directory in [prefix.join("include"), libdir.join("pkgconfig")] {
        fs::create_dir_all(directory).unwrap();
    }
    let header = "include/btree_store.h";
    fs::copy(root().join(header), prefix.join(header)).unwrap();
    fs::copy(libraries().join(library), libdir.join(library)).unwrap();
    let text = template().replace("@PREFIX@", prefix.to_str().unwrap());
    let text = text.replace("@LIBDIR@", libdir.to_str().unwrap());
    fs::write(libdir.join("pkgconfig/btree_store.pc"), text).unwrap();
}

/// What pkg-config says of an installed library.
fn told(prefix: &Path, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_LIBDIR", prefix.join("lib/pkgconfig")).env_remove("PKG_CONFIG_PATH");
    let text = run(command.args(arguments).arg("btree_store"));
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether there is a pkg-config. A missing one is told where it is seen: what a test prints in the
/// usual way is shown only when it fails.
fn has_pkg_config() -> bool {
    let found = Command::new("pkg-config").arg("--version").output();
    let is_missing = found.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if is_missing {
        let text = "skipped: no pkg-config here; its template was compared as a text, no more";
        writeln!(io::stderr(), "{text}").expect("the standard error takes a line");
    }
    !is_missing
}

#[test]
fn a_program_is_built_as_pkg_config_says() {
    if !has_pkg_config() {
        return;
    }
    for (library, flags) in [
        ("libbtree_store.so", &["--cflags", "--libs"][..]),
        ("libbtree_store.a", &["--static", "--cflags", "--libs"][..]),
    ] {
        let prefix = tempfile::tempdir().unwrap();
        installed(prefix.path(), library);
        assert_eq!(told(prefix.path(), &["--modversion"]), [env!("CARGO_PKG_VERSION")]);
        let program = prefix.path().join("program");
        let mut gcc = Command::new("gcc");
        gcc.arg(root().join("examples/ffi.c")).args(told(prefix.path(), flags));
        gcc.arg(format!("-Wl,-rpath,{}", prefix.path().join("lib").display()));
        run(gcc.arg("-o").arg(&program));
        let text = run(Command::new(program).arg(prefix.path().join("phone.db")));
        assert!(text.starts_with("alice has number 100\n"), "{library}: {text}");
    }
}
