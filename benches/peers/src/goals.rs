//! What the store promises of its speed, one line each, and whether a run keeps it.

use crate::engines::OURS;
use crate::measure::{Row, Series};
use crate::report::figure;

/// A promise: in each row that fits, ours costs at most so much of what the other costs.
struct Goal {
    /// Parts of a row's name, all of which it has.
    row: &'static [&'static str],
    /// The form of ours.
    ours: &'static str,
    beside: Beside,
    at_most: f64,
}

enum Beside {
    /// An engine and its form.
    One(&'static str, &'static str),
    /// Each of these engines, in the form that ours has.
    Each(&'static [&'static str]),
}

/// What came of one promise in one row.
pub struct Verdict {
    pub row: String,
    pub ours: String,
    pub beside: String,
    pub ratio: f64,
    pub goal: f64,
    pub holds: bool,
}

const B_TREES: &[&str] = &["lmdb", "redb", "seed", "canopydb", "sqlite"];
const ALL: &[&str] = &["lmdb", "redb", "seed", "canopydb", "sqlite", "fjall"];

const fn goal(
    row: &'static [&'static str],
    ours: &'static str,
    beside: Beside,
    at_most: f64,
) -> Goal {
    Goal { row, ours, beside, at_most }
}

const GOALS: &[Goal] = &[
    goal(&["get/"], "borrowed", Beside::One("lmdb", "borrowed"), 0.4),
    goal(&["get/"], "copied", Beside::One("lmdb", "copied"), 0.5),
    goal(&["get/"], "copied", Beside::One("seed", "copied"), 0.25),
    goal(&["get-many/"], "many", Beside::One("lmdb", "one by one"), 0.3),
    goal(&["scan/small"], "", Beside::One("lmdb", ""), 0.35),
    goal(&["scan/random"], "", Beside::One("lmdb", ""), 0.5),
    goal(&["seek/"], "", Beside::One("lmdb", ""), 0.6),
    goal(&["load/random/1m/random/memory"], "", Beside::One("lmdb", ""), 0.7),
    goal(&["load/small/1m/random/memory"], "", Beside::One("lmdb", ""), 0.5),
    goal(&["load/", "/1m/sorted/memory"], "", Beside::One("lmdb", ""), 0.7),
    goal(&["batches/"], "", Beside::Each(B_TREES), 1.0),
    goal(&["remove-half/"], "", Beside::Each(B_TREES), 1.0),
    goal(&["one-key/disk"], "", Beside::One("pwrite", "4 KiB in place"), 1.3),
    goal(&["one-key/disk"], "", Beside::Each(ALL), 1.0),
    goal(&["committers/"], "8 threads", Beside::One(OURS, "1 threads"), 1.0 / 4.0),
    goal(&["committers/"], "16 threads", Beside::One(OURS, "1 threads"), 1.0 / 6.0),
];

/// Every promise about the rows that were run.
pub fn judge(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for goal in GOALS {
        let fits = |row: &&Row| goal.row.iter().all(|part| row.name.contains(part));
        for row in rows.iter().filter(fits) {
            let Some(ours) = row.find(OURS, goal.ours) else { continue };
            let others: Vec<&Series> = match goal.beside {
                Beside::One(engine, form) => row.find(engine, form).into_iter().collect(),
                Beside::Each(engines) => {
                    engines.iter().filter_map(|engine| row.find(engine, goal.ours)).collect()
                }
            };
            verdicts.extend(others.into_iter().map(|other| verdict(goal, row, ours, other)));
        }
    }
    verdicts
}

fn verdict(goal: &Goal, row: &Row, ours: &Series, other: &Series) -> Verdict {
    let ratio = row.ratio(ours, other);
    let value = figure(ours.median(|sample| sample.value(row.clock)));
    let form = if goal.ours.is_empty() { String::new() } else { format!(" ({})", goal.ours) };
    Verdict {
        row: format!("{}{form}", row.name),
        ours: format!("{value} {}", row.unit),
        beside: other.name(),
        ratio,
        goal: goal.at_most,
        holds: ratio <= goal.at_most,
    }
}
