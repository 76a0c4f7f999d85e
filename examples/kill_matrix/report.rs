//! The matrix as a table.

use crate::matrix::technique_names;
use btree_store::seeded::Bug;
use std::fmt::{self, Write};
use std::io;
use std::time::Duration;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kill-matrix.md");
/// What is asked of the matrix.
const BUGS_MIN: usize = 60;
const MEDIAN_MAX: u64 = 100;

/// What came of one bug and one technique.
pub struct Cell {
    pub executions: u64,
    pub time: Duration,
    pub killed: Option<String>,
    /// What is wrong with how it was told.
    pub complaint: Option<String>,
}

/// All that came of one bug, or of the engine as it is.
pub struct Row {
    pub bug: Option<Bug>,
    pub cells: Vec<Cell>,
}

impl Row {
    fn name(&self) -> &'static str {
        self.bug.map_or("none", Bug::name)
    }

    fn complaints(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().filter_map(|cell| cell.complaint.as_deref())
    }

    /// The technique that kills with the fewest executions, by number.
    fn best(&self) -> Option<usize> {
        let killing = (0..self.cells.len()).filter(|at| self.cells[*at].killed.is_some());
        killing.min_by_key(|at| (self.cells[*at].executions, self.cells[*at].time))
    }

    pub fn line(&self) -> String {
        let mut line = format!("{:36}", self.name());
        for (name, cell) in technique_names().zip(&self.cells) {
            if cell.killed.is_some() {
                let (executions, millis) = (cell.executions, cell.time.as_millis());
                write!(line, " {name}:{executions}/{millis}ms").expect("a string takes text");
            }
        }
        match self.best() {
            Some(best) => {
                let why = self.cells[best].killed.as_deref().unwrap_or_default();
                format!("{line} | {}", why.chars().take(90).collect::<String>())
            }
            None => line + " survives",
        }
    }
}

/// What the matrix says as a whole.
pub struct Summary {
    bugs: usize,
    survivors: Vec<&'static str>,
    median: u64,
    slowest: (Duration, &'static str),
    false_alarms: Vec<&'static str>,
    complaints: Vec<String>,
}

impl Summary {
    pub fn of(rows: &[Row]) -> Summary {
        let bugs: Vec<&Row> = rows.iter().filter(|row| row.bug.is_some()).collect();
        let survivors = bugs.iter().filter(|row| row.best().is_none());
        let mut kills: Vec<(&Cell, &'static str)> = Vec::new();
        for row in &bugs {
            kills.extend(row.best().map(|best| (&row.cells[best], row.name())));
        }
        let mut executions: Vec<u64> = kills.iter().map(|(cell, _)| cell.executions).collect();
        executions.sort_unstable();
        let slowest = kills.iter().map(|(cell, name)| (cell.time, *name)).max();
        let engine = rows.iter().filter(|row| row.bug.is_none()).flat_map(|row| &row.cells);
        let alarms = technique_names().zip(engine).filter(|(_, cell)| cell.killed.is_some());
        let complaints = bugs.iter().flat_map(|row| row.complaints().map(move |it| (row, it)));
        Summary {
            bugs: bugs.len(),
            survivors: survivors.map(|row| row.name()).collect(),
            median: executions.get(executions.len() / 2).copied().unwrap_or(0),
            slowest: slowest.unwrap_or((Duration::ZERO, "none")),
            false_alarms: alarms.map(|(name, _)| name).collect(),
            complaints: complaints.map(|(row, it)| format!("{}: {it}", row.name())).collect(),
        }
    }

    pub fn is_good(&self) -> bool {
        self.survivors.is_empty()
            && self.false_alarms.is_empty()
            && self.complaints.is_empty()
            && (self.bugs < BUGS_MIN || self.median <= MEDIAN_MAX)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bugs, {} survive; median of the executions to kill: {}; slowest kill: {:.1} s ({})",
            self.bugs,
            self.survivors.len(),
            self.median,
            self.slowest.0.as_secs_f64(),
            self.slowest.1,
        )?;
        for name in &self.survivors {
            write!(f, "\nsurvives: {name}")?;
        }
        for name in &self.false_alarms {
            write!(f, "\nfinds something in the engine as it is: {name}")?;
        }
        for complaint in &self.complaints {
            write!(f, "\ntold badly: {complaint}")?;
        }
        Ok(())
    }
}

/// Writes the table. The numbers of executions are the same each time, but for threads; times
/// are left out.
pub fn write(rows: &[Row], summary: &Summary) -> io::Result<()> {
    let bugs = rows.iter().filter(|row| row.bug.is_some()).count();
    if bugs < BUGS_MIN {
        return Err(io::Error::other(format!("{bugs} bugs are too few")));
    }
    let mut text = String::from(
        "# Kill matrix\n\nEach row is a seeded bug (`src/seeded/catalogue.rs` says where its shape \
         comes from), each column a way\nof checking (`examples/kill_matrix/`), each number the \
         executions after which it finds the bug: crash\nimages, operations, damaged files, \
         interleavings. An empty cell did not find it. The column `loom` are\nthe models, each \
         run on the bugs that `models/bugs.rs` names for it, and on the engine as it is. The\n\
         last three rows are broken checkers. Written by `examples/kill_matrix.rs`; `README.md` \
         has the\ncommand.\n\n",
    );
    let names: Vec<&str> = technique_names().collect();
    let engine = if summary.false_alarms.is_empty() { "nothing" } else { "SOMETHING" };
    writeln!(
        text,
        "{bugs} bugs, {} survive. Median of the executions to kill: {}. In the engine as it is \
         the same\nchecks find {engine}.\n",
        summary.survivors.len(),
        summary.median
    )
    .and_then(|()| writeln!(text, "| bug | breaks | {} |", names.join(" | ")))
    .and_then(|()| writeln!(text, "|{}", "---|".repeat(names.len() + 2)))
    .map_err(io::Error::other)?;
    for row in rows {
        let Some(bug) = row.bug else { continue };
        let cell = |cell: &Cell| {
            cell.killed.as_ref().map_or_else(String::new, |_| cell.executions.to_string())
        };
        let cells: Vec<String> = row.cells.iter().map(cell).collect();
        let (name, breaks) = (bug.name(), bug.breaks().name());
        writeln!(text, "| {name} | {breaks} | {} |", cells.join(" | "))
            .map_err(io::Error::other)?;
    }
    std::fs::write(PATH, text)
}
