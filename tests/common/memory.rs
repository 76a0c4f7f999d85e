//! How much memory something takes, in a process of its own, where nothing else takes any.
//!
//! The test `memory::measures_itself` of the same program plays a role that its environment names.

use std::path::{Path, PathBuf};
use std::process::Command;

const ROLE: &str = "BTREE_STORE_TEST_MEMORY";
const PATH: &str = "BTREE_STORE_TEST_PATH";
pub const MIB: usize = 1 << 20;

/// The most memory that this process has had, in bytes.
pub fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The role of this process, and where it plays it, if it has one.
pub fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(PATH)?.into()))
}

/// Tells whoever measures what came on top of what there was before.
pub fn tell(before: usize) {
    println!("took {} bytes", peak().unwrap() - before);
}

/// What a role takes at a path, in bytes.
pub fn measure(role: &str, path: &Path) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["memory::measures_itself", "--exact", "--nocapture"])
        .env(ROLE, role)
        .env(PATH, path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let (_, rest) = said.split_once("took ").expect("the child measures");
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
