//! Does the command do what its help says, and end with the code that it says?
//!
//! Runs the program itself, on files of the system. Pages of 512 bytes where it matters, so that
//! few entries make trees. What the store does, other tests attack.
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

#[path = "cli/campaigns.rs"]
mod campaigns;
#[path = "cli/codes.rs"]
mod codes;
#[path = "cli/copies.rs"]
mod copies;
#[path = "cli/dumps.rs"]
mod dumps;
#[path = "cli/entries.rs"]
mod entries;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/readme.rs"]
mod readme;
#[path = "cli/state.rs"]
mod state;

use btree_store::{BTree, Options};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const PAGE: u32 = 512;

/// A directory with a store in it, perhaps.
struct Place {
    dir: TempDir,
}

/// How a run of the command ended.
struct Ended {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ended {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// That it ended well, and what it printed.
    #[track_caller]
    fn done(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.text());
        self.text()
    }

    /// That it ended with a code, one line that says all of this, and nothing else.
    #[track_caller]
    fn refused(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        let is_line = self.err.starts_with("btree-store: ") && self.err.ends_with('\n');
        assert!(is_line && self.err.lines().count() == 1, "{:?}", self.err);
        for part in says {
            assert!(self.err.contains(part), "{part:?} is not in {:?}", self.err);
        }
    }
}

/// The command with these arguments.
fn command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btree-store"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the command.
fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, input: &[u8]) -> Ended {
    let mut child = command(args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Whoever reads nothing closes the pipe.
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap_or_default());
    let ended = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    Ended { code: ended.status.code().expect("no signal ends it"), out: ended.stdout, err }
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the command in the directory.
    fn run_with(&self, line: &[&str], input: &[u8]) -> Ended {
        run(self.args(line), input)
    }

    fn args(&self, line: &[&str]) -> Vec<OsString> {
        let arg = |arg: &&str| match arg.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => arg.into(),
        };
        line.iter().map(arg).collect()
    }

    /// The same with words that hold no space. `@name` is a file of the directory.
    fn run(&self, line: &str) -> Ended {
        self.run_with(&line.split(' ').collect::<Vec<_>>(), b"")
    }

    /// A store, to be written from within the test.
    fn store(&self, name: &str) -> BTree {
        Options::new().page_size(PAGE).open(self.path(name)).unwrap()
    }

    /// A store `data.db` with pages of every kind, closed.
    fn with_store() -> Place {
        let place = Place::new();
        let db = place.store("data.db");
        for round in 0..3_u32 {
            db.exec("users", |txn| {
                (0..200_u32).try_for_each(|at| {
                    txn.put(format!("id:{at:03}"), format!("name {at}, round {round}"))
                })?;
                txn.put("large", vec![b'v'; 3_000])
            })
            .unwrap();
        }
        for number in 0..20 {
            db.exec(format!("bucket {number:02}"), |_| Ok(())).unwrap();
        }
        // So many commits that the space log needs pages.
        for number in 0..40 {
            db.exec("users", |txn| txn.put(format!("id:{:03}", number * 67 % 200), "")).unwrap();
        }
        db.exec("users", |txn| txn.put("id:000", "name 0, round 2")).unwrap();
        place
    }
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.next() % end).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.next() & 0xff).unwrap()).collect()
    }
}
