//! Files that are busy, foreign or damaged, seen from C.

use super::build::{Link, compile, run};
use btree_store::BTree;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE_SIZE: usize = 4096;

struct Probe {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Probe {
    fn new() -> Probe {
        let directory = tempfile::tempdir().expect("there is room for files");
        let program = compile("tests/ffi/probe.c", Link::Shared, directory.path());
        Probe { directory, program }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("file.db")
    }

    fn answer(&self, verb: &str, path: &Path) -> String {
        run(Command::new(&self.program).arg(verb).arg(path))
    }

    /// A store with a bucket of many pages.
    fn fill(&self) -> BTree {
        let db = BTree::open(self.path()).expect("a new file opens");
        db.exec("b", |txn| (0..300_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 100])))
            .expect("the bucket takes entries");
        db
    }
}

#[test]
fn a_second_process_is_busy() {
    let probe = Probe::new();
    let db = probe.fill();
    assert_eq!(probe.answer("open", &probe.path()), "-10 the file is in use\n");
    drop(db);
    assert_eq!(probe.answer("open", &probe.path()), "0 \n");
    assert_eq!(probe.answer("verify", &probe.path()), "0 \n");
}

#[test]
fn a_foreign_file_is_corruption_and_stays() {
    let probe = Probe::new();
    let bytes = b"this is no database. ".repeat(1000);
    std::fs::write(probe.path(), &bytes).unwrap();
    for verb in ["open", "verify"] {
        let answer = probe.answer(verb, &probe.path());
        let last = answer.lines().last().unwrap();
        assert!(last.starts_with("-2 the file is corrupted: "), "{verb}: {answer}");
    }
    assert_eq!(std::fs::read(probe.path()).unwrap(), bytes);
}

#[test]
fn a_missing_directory_is_io() {
    let probe = Probe::new();
    let answer = probe.answer("open", Path::new("/nowhere/at/all.db"));
    assert!(answer.starts_with("-6 I/O error: "), "{answer}");
}

#[test]
fn a_damaged_leaf_is_corruption_though_the_callback_ignores_it() {
    let probe = Probe::new();
    drop(probe.fill());
    let mut bytes = std::fs::read(probe.path()).unwrap();
    // A value of some leaf: the last bytes of the file that are 7.
    let at = bytes.iter().rposition(|&byte| byte == 7).unwrap();
    bytes[at] ^= 1;
    std::fs::write(probe.path(), &bytes).unwrap();
    let page = at / PAGE_SIZE;
    let text = probe.answer("open", &probe.path());
    assert!(text.starts_with("-2 the file is corrupted: page "), "{text}");
    assert!(text.contains(&format!("page {page}: checksum-covers-page")), "{text}");
    let text = probe.answer("verify", &probe.path());
    assert!(text.contains(&format!("- page {page}: ")), "{text}");
    assert!(text.lines().last().unwrap().starts_with("-2 "), "{text}");
}
