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
    ensure(status.code() == Some(i32::from(BUSY)), || format!("another process opens: {status}"))
}
