//! Libraries, compilers, and programs that run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a Rust static library wants from a C linker on Linux.
pub const SYSTEM_LIBRARIES: &[&str] =
    &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

/// How a program gets the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Shared,
    Static,
}

/// Cargo, without the flags of the build that runs this test: a sanitizer's or a coverage tool's
/// library does not link into a plain C program.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).arg("--offline");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo
}

/// The directory with the shared and the static library, built once for all tests by the command
/// of the manual, in a directory of their own; less optimised, which takes a fifth of the time.
pub fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ffi");
        let mut build = cargo();
        build.args(["build", "--lib", "--release", "--features", "ffi", "--target-dir"]);
        build.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        build.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        run(build.arg(&target));
        target.join("release")
    })
}

/// Runs a command that must succeed, and returns what it wrote to its standard output.
pub fn run(command: &mut Command) -> String {
    let output = finish(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Output {
    let tool = command.get_program().to_owned();
    // Cargo's path for a test names its own libraries, which a build without the feature may have
    // left there, before those for which the program was linked.
    command.env_remove("LD_LIBRARY_PATH");
    command.output().unwrap_or_else(|error| {
        panic!("{} cannot run, and this test needs it: {error}", tool.display())
    })
}

/// Compiles and links a C program, with every warning an error.
pub fn compile(source: &str, link: Link, directory: &Path) -> PathBuf {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"]);
    build_program(&mut gcc, source, link, directory)
}

/// Compiles and links a C++ program, with every warning an error.
pub fn compile_cpp(source: &str, link: Link, directory: &Path) -> PathBuf {
    let mut gpp = Command::new("g++");
    gpp.args(["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"]);
    build_program(&mut gpp, source, link, directory)
}

fn build_program(compiler: &mut Command, source: &str, link: Link, directory: &Path) -> PathBuf {
    let libraries = libraries();
    let name = Path::new(source).file_stem().expect("a source has a name").to_owned();
    let program = directory.join(name).with_extension(format!("{link:?}").to_lowercase());
    compiler.arg("-I").arg(root().join("include")).arg(root().join(source));
    match link {
        Link::Shared => {
            compiler.arg("-L").arg(libraries).args(["-lbtree_store", "-lpthread"]);
            compiler.arg(format!("-Wl,-rpath,{}", libraries.display()));
        }
        Link::Static => {
            compiler.arg(libraries.join("libbtree_store.a")).args(SYSTEM_LIBRARIES);
        }
    }
    run(compiler.arg("-o").arg(&program));
    program
}
