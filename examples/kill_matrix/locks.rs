//! One writer a file, whatever its names: other paths, links, handles and processes.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use btree_store::vfs::OsVfs;
use btree_store::{BTree, Error, Options};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    check(budget).err()
}

/// What the other process says when the file is in use.
const BUSY: u8 = 3;

/// Opens a file, in another process.
pub fn open_in_this_process(path: &str) -> ExitCode {
    match BTree::open(path) {
        Ok(_) => ExitCode::SUCCESS,
        Err(Error::Busy) => ExitCode::from(BUSY),
        Err(_) => ExitCode::from(4),
    }
}

/// The names under which files are made: what somebody holds there, and a store that is damaged.
fn names(budget: &mut Budget, db: &BTree, dir: &Path) -> Checked {
    budget.spend();
    let held = dir.join("copy.db-btree-store-backup");
    let holder = BTree::open(&held)?;
    let made = db.backup(dir.join("copy.db")).map(drop);
    ensure(made == Err(Error::Busy), || format!("a file that is held is written: {made:?}"))?;
    ensure(held.exists(), || "a file that is held is removed".into())?;
    drop(holder);
    budget.spend();
    let damaged = dir.join("new.db-create");
    let other = Options::new().page_size(512).open(&damaged)?;
    other.exec("b", |txn| txn.put("k", "v"))?;
    drop(other);
    let mut bytes = std::fs::read(&damaged)?;
    [100, 612].into_iter().for_each(|at| bytes[at] ^= 1);
    std::fs::write(&damaged, &bytes)?;
    let made = BTree::open(dir.join("new.db")).map(drop);
    let left = std::fs::read(&damaged).unwrap_or_default();
    ensure(left == bytes, || "a damaged store is written over".into())?;
    ensure(made == Err(Error::Invalid), || format!("a name that is taken: {made:?}"))
}

fn check(budget: &mut Budget) -> Checked {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("data.db");
    let open = |path: &Path| Options::new().page_size(512).open(path);
    let db = open(&path)?;
    db.exec("b", |txn| txn.put("k", "v"))?;
    budget.spend();
    let again = open(&path)?;
    again.exec("b", |txn| txn.put("k", "w"))?;
    ensure(db.view("b", |txn| txn.get("k"))? == b"w", || "a path has two stores".into())?;
    budget.spend();
    let other = dir.path().join("link.db");
    std::fs::hard_link(&path, &other)?;
    let linked = open(&other).map_err(|error| Kill(format!("by a hard link: {error:?}")))?;
    linked.exec("b", |txn| txn.put("k", "x"))?;
    ensure(db.view("b", |txn| txn.get("k"))? == b"x", || "a file has two stores".into())?;
    budget.spend();
    let apart = Options::new().vfs(Arc::new(OsVfs)).open(&path).map(drop);
    ensure(apart == Err(Error::Busy), || format!("a second store opens: {apart:?}"))?;
    budget.spend();
    let program = std::env::current_exe()?;
    let path = path.as_os_str();
    let status = Command::new(program).arg("--open").arg(path).status()?;
    ensure(status.code() == Some(i32::from(BUSY)), || format!("another process opens: {status}"))?;
    names(budget, &db, dir.path())
}
