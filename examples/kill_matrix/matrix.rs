//! The matrix: every bug by every technique, each pair in a process of its own, so that a bug
//! may panic, abort, hang or ask for all memory.

mod accounting;
mod backups;
mod budget;
mod bytes;
mod certificate;
mod controls;
mod copies;
mod crash;
mod deferred;
mod faults;
mod gate;
mod hostile;
mod locks;
mod lookups;
mod loom;
mod losses;
mod meanwhile;
mod media;
mod model;
mod optimistic;
mod permission;
mod recovering;
mod report;
mod scripts;
mod threads;

use crate::common::{forge, walk, watch};
use btree_store::seeded::{Bug, switch_on};
use budget::{Budget, Technique};
use report::{Cell, Row};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A technique that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(15);
/// The bugs that are found by that: whoever meets them waits for ever. Of the others, a technique
/// without an end says nothing but that the machine is slow.
const HANGING: &[Bug] = &[Bug::NestedExecDeadlocks, Bug::LeaderWakesNobody];
/// Processes at once.
const WORKERS: usize = 2;

/// The techniques that run in this build, by name.
const TECHNIQUES: &[(&str, Technique)] = &[
    ("model", model::run),
    ("accounting", accounting::run),
    ("crash", crash::run),
    ("certificate", certificate::run),
    ("permission", permission::run),
    ("faults", faults::run),
    ("media", media::run),
    ("hostile", hostile::run),
    ("threads", threads::run),
    ("bytes", bytes::run),
    ("locks", locks::run),
    ("controls", controls::run),
];

/// The names of the table's columns.
pub fn technique_names() -> impl Iterator<Item = &'static str> {
    TECHNIQUES.iter().map(|(name, _)| *name).chain([loom::NAME])
}

pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", technique, bug] => run_here(technique, bug),
        ["--open", path] => locks::open_in_this_process(path),
        _ => run_all(&args),
    }
}

/// Runs one technique on one bug in this process; what it prints is read by [`run_apart`].
fn run_here(technique: &str, bug: &str) -> ExitCode {
    let Some((_, technique)) = TECHNIQUES.iter().find(|(name, _)| *name == technique) else {
        return ExitCode::FAILURE;
    };
    let bug = Bug::ALL.iter().copied().find(|known| known.name() == bug);
    switch_on(bug);
    std::panic::set_hook(Box::new(|_| {}));
    let mut budget = Budget::new(bug);
    let killed = catch_unwind(AssertUnwindSafe(|| technique(&mut budget)));
    let killed = killed.unwrap_or_else(|payload| Some(budget::Kill::of_panic(&*payload)));
    match killed {
        None => println!("\nPASS"),
        Some(kill) => println!("\nKILL {}", kill.0.replace('\n', " ")),
    }
    ExitCode::SUCCESS
}

/// Runs one technique on one bug in a process of its own.
fn run_apart(technique: &str, bug: Option<Bug>) -> Cell {
    let began = Instant::now();
    let program = std::env::current_exe().expect("the program knows its path");
    // The engine as it is has an end, too.
    let may_hang = bug.is_none_or(|bug| HANGING.contains(&bug));
    let bug = bug.map_or("none", Bug::name);
    // A bug that asks for all memory gets none, before its time is over: new memory may be slow.
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""])
        .arg(program)
        .args(["--run", technique, bug])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts itself");
    let mut output = child.stdout.take().expect("the output is piped");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).map(|_| text)
    });
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break Some(status),
            None if began.elapsed() > PATIENCE => break None,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if status.is_none() {
        child.kill().expect("a child can be ended");
        child.wait().expect("a child that was ended can be waited for");
    }
    // What the shell says when it cannot start the program; it is no bug that was found.
    let code = status.and_then(|status| status.code());
    let did_not_start = matches!(code, Some(126 | 127));
    assert!(!did_not_start, "the program did not start: was it built anew meanwhile?");
    let text = reader.join().expect("reading does not panic").unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let executions = text.bytes().take_while(|byte| *byte == b'.').count() as u64;
    let last = text.lines().last().unwrap_or_default();
    let killed = match (status, last.strip_prefix("KILL ")) {
        (None, _) => may_hang.then(|| "it hangs".to_owned()),
        (_, Some(why)) => Some(why.to_owned()),
        (_, None) if last == "PASS" => None,
        (Some(status), None) => Some(format!("the process died: {status}")),
    };
    let complaint = text.lines().find_map(|line| line.strip_prefix("TOLD BADLY "));
    Cell { executions, time: began.elapsed(), killed, complaint: complaint.map(str::to_owned) }
}

/// Runs all techniques on these bugs, in order; what the models found is there already.
fn run_rows(bugs: &[Option<Bug>], mut models: loom::Findings) -> Vec<Row> {
    let bugs: Vec<_> = bugs.iter().map(|bug| (*bug, models.take(*bug))).collect();
    let queue = Mutex::new(bugs.into_iter().enumerate());
    let rows = Mutex::new(Vec::new());
    let work = || loop {
        let next = queue.lock().expect("no worker panics").next();
        let Some((place, (bug, by_models))) = next else { return };
        let cells = TECHNIQUES.iter().map(|(technique, _)| run_apart(technique, bug));
        let cells: Vec<Cell> = cells.chain([by_models]).collect();
        let row = Row { bug, cells };
        println!("{}", row.line());
        rows.lock().expect("no worker panics").push((place, row));
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let mut rows = rows.into_inner().expect("no worker panics");
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn run_all(names: &[String]) -> ExitCode {
    let began = Instant::now();
    let bugs: Vec<Option<Bug>> = if names.is_empty() {
        std::iter::once(None).chain(Bug::ALL.iter().copied().map(Some)).collect()
    } else {
        let named = |name: &String| Bug::ALL.iter().copied().find(|bug| bug.name() == name);
        if let Some(name) = names.iter().find(|name| *name != "none" && named(name).is_none()) {
            eprintln!("{name} is no bug of the catalogue");
            return ExitCode::FAILURE;
        }
        names.iter().map(named).collect()
    };
    let models = match loom::run(&bugs) {
        Ok(models) => models,
        Err(why) => {
            eprintln!("the models: {why}");
            return ExitCode::FAILURE;
        }
    };
    let rows = run_rows(&bugs, models);
    let summary = report::Summary::of(&rows);
    println!("\n{summary}\n{:.0} s", began.elapsed().as_secs_f64());
    if names.is_empty()
        && let Err(error) = report::write(&rows, &summary)
    {
        eprintln!("the report could not be written: {error}");
        return ExitCode::FAILURE;
    }
    if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
