//! How much memory a large value takes: its own, and one copy.

use btree_store::Options;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROLE: &str = "BTREE_STORE_TEST_MEMORY";
const PATH: &str = "BTREE_STORE_TEST_PATH";
const MIB: usize = 1 << 20;
const VALUE: usize = 96 * MIB;

/// The most memory that this process has had, in bytes.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Plays its role in a process of its own, where nothing else takes memory.
#[test]
fn measures_itself() {
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(PATH)) else { return };
    let db = Options::new().cache_bytes(1 << 20).open(PathBuf::from(path)).unwrap();
    let value = if role == "put" { vec![7; VALUE] } else { Vec::new() };
    let before = peak().unwrap();
    match role.as_str() {
        "put" => db.exec("b", |txn| txn.put("k", &value)).unwrap(),
        "get" => {
            let found = db.view("b", |txn| txn.get("k")).unwrap();
            assert_eq!((found.len(), found[VALUE - 1]), (VALUE, 7));
        }
        _ => db.compact(0).map(drop).unwrap(),
    }
    println!("took {} bytes", peak().unwrap() - before);
}

fn measure(role: &str, path: &Path) -> usize {
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

#[test]
fn a_large_value_is_copied_once_at_most() {
    if peak().is_none() {
        println!("skipped: this system does not tell");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    for role in ["put", "get"] {
        let took = measure(role, &path);
        println!("{role} of {} MiB takes {} MiB", VALUE / MIB, took / MIB);
        assert!(took < VALUE + VALUE / 4, "{role} takes {} MiB", took / MIB);
    }
}
