//! The models: every interleaving of a few threads. They take a build of their own, under loom;
//! so they run as a command, and what they say is read here.

use crate::matrix::report::Cell;
use btree_store::seeded::Bug;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const NAME: &str = "loom";

/// A model with fewer interleavings explores nothing, as `models/mod.rs` has it.
const INTERLEAVINGS_MIN: u64 = 5;

/// What the models found.
#[derive(Default)]
pub struct Findings(Vec<(Option<Bug>, Cell)>);

impl Findings {
    /// What came of a bug; of several models, the best. Without a model nothing is found; but in
    /// the engine as it is, models that were not run, or that explored nothing, are no pass.
    pub fn take(&mut self, bug: Option<Bug>) -> Cell {
        let of_bug = self.0.extract_if(.., |(found, _)| *found == bug).map(|(_, cell)| cell);
        let best = of_bug.min_by_key(|cell| (cell.killed.is_none(), cell.executions));
        let none = Cell { executions: 0, time: Duration::ZERO, killed: None, complaint: None };
        let mut best = best.unwrap_or(none);
        if bug.is_none() && best.killed.is_none() && best.executions < INTERLEAVINGS_MIN {
            best.killed = Some(format!("{} interleavings explore nothing", best.executions));
        }
        best
    }
}

/// Runs the models that are there for these bugs; for none, all of them.
pub fn run(bugs: &[Option<Bug>]) -> Result<Findings, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // target/release/examples/kill_matrix
    let target = program.ancestors().nth(3).ok_or("the program is not where cargo puts it")?;
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", "--release", "--test", "models", "--target-dir"])
        .arg(target.join(NAME))
        .args(["--", "--bugs"])
        .args(bugs.iter().map(|bug| bug.map_or("none", Bug::name)))
        .env("RUSTFLAGS", "--cfg loom --cfg seeded_bug")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    let output = child.stdout.take().ok_or("no output")?;
    let (mut findings, mut is_whole) = (Findings::default(), false);
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| error.to_string())?;
        println!("{NAME}: {}", line.chars().take(110).collect::<String>());
        match parse(&line)? {
            Line::Finding(bug, cell) => findings.0.push((bug, cell)),
            Line::End => is_whole = true,
            Line::Other => {}
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    // That a bug was not found, or something without one, is for the summary to say.
    if is_whole { Ok(findings) } else { Err(format!("they did not come to their end: {status}")) }
}

enum Line {
    Finding(Option<Bug>, Cell),
    End,
    Other,
}

/// A line that `models/bugs.rs` writes: what came of it, the bug, the model, the interleavings, the
/// milliseconds, the reason.
fn parse(line: &str) -> Result<Line, String> {
    if line.ends_with(" not") && line.contains(" as expected, ") {
        return Ok(Line::End);
    }
    if line.ends_with(" is there for no bug") {
        return Err(line.to_owned());
    }
    let fields: Vec<&str> = line.splitn(6, ' ').collect();
    let [kind @ ("HOLDS" | "FAILS"), bug, model, interleavings, millis, ref why @ ..] = fields[..]
    else {
        return Ok(Line::Other);
    };
    let wrong = || format!("a line that cannot be read: {line}");
    let named = Bug::ALL.iter().copied().find(|known| known.name() == bug);
    if named.is_none() && bug != "none" {
        return Err(wrong());
    }
    let executions = interleavings.parse().map_err(|_| wrong())?;
    let time = Duration::from_millis(millis.parse().map_err(|_| wrong())?);
    let killed = (kind == "FAILS").then(|| format!("{model}: {}", why.concat()));
    Ok(Line::Finding(named, Cell { executions, time, killed, complaint: None }))
}
