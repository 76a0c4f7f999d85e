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
    /// The number itself.
    Nothing,
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
const NEXT: &[&str] = &["seed", "redb"];

const fn goal(
    row: &'static [&'static str],
    ours: &'static str,
    beside: Beside,
    at_most: f64,
) -> Goal {
    Goal { row, ours, beside, at_most }
}

const GOALS: &[Goal] = &[
    goal(&["get/small"], "borrowed", Beside::One("lmdb", "borrowed"), 0.4),
    goal(&["get/random"], "borrowed", Beside::One("lmdb", "borrowed"), 0.4),
    goal(&["get/small"], "copied", Beside::One("lmdb", "copied"), 0.5),
    goal(&["get/random"], "copied", Beside::One("lmdb", "copied"), 0.5),
    goal(&["get/small"], "copied", Beside::One("seed", "copied"), 0.25),
    goal(&["get/random"], "copied", Beside::One("seed", "copied"), 0.25),
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
    goal(&["create_drop_empty_bucket/"], "", Beside::Each(NEXT), 1.0),
    goal(&["drop_large_bucket_100k/"], "", Beside::Each(NEXT), 1.0),
    goal(&["exec-multi/"], "", Beside::Each(NEXT), 1.0),
    goal(&["size/", "/loaded"], "", Beside::Nothing, 1.35),
    goal(&["size/", "/compacted"], "", Beside::Nothing, 1.08),
    goal(&["open/"], "killed", Beside::One(OURS, "closed"), 2.0),
    goal(&["bounded/", "/get/"], "", Beside::Each(&["redb"]), 1.0),
    goal(&["bounded/", "/scan"], "", Beside::Each(&["redb"]), 1.0),
    goal(&["bounded/", "/memory"], "", Beside::Nothing, 1.1),
    goal(&["reader/"], "beside a writer", Beside::One(OURS, "alone"), 1.5),
];

/// Every promise about the rows that were run.
pub fn judge(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for goal in GOALS {
        // A name that only contains the first part, as get-many contains get, does not fit.
        let fits = |row: &&Row| {
            let mut words = row.name.match_indices(goal.row[0]);
            let is_whole = words.any(|(at, _)| at == 0 || row.name[..at].ends_with('/'));
            is_whole && goal.row.iter().all(|part| row.name.contains(part))
        };
        for row in rows.iter().filter(fits) {
            let ours = row.find(OURS, goal.ours);
            if let Beside::Nothing = goal.beside {
                let number = ours.map_or(f64::NAN, |ours| ours.median(|s| s.value(row.clock)));
                verdicts.push(verdict(goal, row, ours, String::new(), number));
            }
            for other in others(goal, row) {
                let ratio = ours.map_or(f64::NAN, |ours| row.ratio(ours, other));
                verdicts.push(verdict(goal, row, ours, other.name(), ratio));
            }
        }
    }
    verdicts
}

fn others<'r>(goal: &Goal, row: &'r Row) -> Vec<&'r Series> {
    match goal.beside {
        Beside::One(engine, form) => row.find(engine, form).into_iter().collect(),
        Beside::Each(engines) => {
            engines.iter().filter_map(|engine| row.find(engine, goal.ours)).collect()
        }
        Beside::Nothing => Vec::new(),
    }
}

fn verdict(goal: &Goal, row: &Row, ours: Option<&Series>, beside: String, ratio: f64) -> Verdict {
    let form = if goal.ours.is_empty() { String::new() } else { format!(" ({})", goal.ours) };
    let value = |series: &Series| figure(series.median(|sample| sample.value(row.clock)));
    Verdict {
        row: format!("{}{form}", row.name),
        ours: ours.map_or("not offered".into(), |ours| format!("{} {}", value(ours), row.unit)),
        beside,
        ratio,
        goal: goal.at_most,
        holds: ratio <= goal.at_most,
    }
}
