//! Another process: this test binary, started again with a role to play.

use super::{BTree, Error, OsVfs, Watch, get, is_shared, new, race};
use btree_store::Options;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

const ROLE: &str = "BTREE_STORE_TEST_ROLE";
const PATH: &str = "BTREE_STORE_TEST_PATH";
/// What the child says stands behind this, among the harness's own lines.
const SAYS: &str = "child says: ";

/// A process that plays a role until it is told to end.
pub struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub fn start(role: &str, path: &Path) -> Child {
        Child::start_in(Path::new("."), role, path)
    }

    pub fn start_in(dir: &Path, role: &str, path: &Path) -> Child {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child::plays_its_role", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(PATH, path)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Child { process, input, output }
    }

    /// What the child has found out; it goes on living. "dead" when it died before.
    pub fn outcome(&mut self) -> String {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return "dead".to_owned();
            }
            if let Some((_, said)) = line.split_once(SAYS) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// Lets the child end in peace.
    pub fn end(mut self) {
        self.input.take();
        self.process.wait().unwrap();
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.input.take();
        let ended = self.process.wait();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn say(what: &str) {
    println!("{SAYS}{what}");
    std::io::stdout().flush().unwrap();
}

/// Waits until the parent closes the pipe.
fn linger() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// Opens a store and dies before the operation of this number.
fn die(path: &Path, step: usize) {
    let watch = Watch::new(OsVfs);
    watch.hook_at(step, |_| std::process::abort());
    let db = Options::new().vfs(Arc::new(watch.clone())).open(path).unwrap();
    watch.unhook();
    say("alive");
    drop(db);
}

/// Does nothing in the parent, whose environment names no role.
#[test]
fn plays_its_role() {
    let (Ok(role), Some(path)) = (std::env::var(ROLE), std::env::var_os(PATH)) else { return };
    let path = PathBuf::from(path);
    let told = |opened: Result<BTree, Error>| {
        say(&format!("{:?}", opened.as_ref().map(|db| get(db, "k"))));
        linger();
        drop(opened);
    };
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("open", _) => told(BTree::open(&path)),
        ("read", _) => told(Options::new().read_only().open(&path)),
        ("race", _) => {
            race(&path, "child");
            say("raced");
        }
        ("be", "first") => {
            say("ready");
            say(&new::race_to_be_first(&path));
        }
        ("relative", _) => {
            let absolute = std::env::current_dir().unwrap().join(&path);
            let (one, two) = (BTree::open(&path).unwrap(), BTree::open(absolute).unwrap());
            say(if is_shared(&one, &two) { "shared" } else { "apart" });
        }
        ("die", step) => die(&path, step.parse().unwrap()),
        other => panic!("no such role: {other:?}"),
    }
}
