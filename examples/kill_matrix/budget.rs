//! What a technique may spend, and what it finds.

use btree_store::seeded::Bug;
use btree_store::sim::{Report, Verdict};
use std::any::Any;
use std::io::Write;

/// Looks for a bug until it finds one or has spent what it has.
pub type Technique = fn(&mut Budget) -> Option<Kill>;

/// Counts executions: one operation, one crash image, one damaged file that was checked.
pub struct Budget {
    pub bug: Option<Bug>,
    pub executions: u64,
}

impl Budget {
    pub fn new(bug: Option<Bug>) -> Budget {
        Budget { bug, executions: 0 }
    }

    /// Counts an execution that begins. Who started this process counts along, also when it dies.
    pub fn spend(&mut self) {
        self.spend_many(1);
    }

    /// Counts executions that begin together, or that are told of together.
    pub fn spend_many(&mut self, executions: u64) {
        self.executions += executions;
        (0..executions).for_each(|_| print!("."));
        drop(std::io::stdout().flush());
    }

    /// What an exploration says. That it was cut off is no pass; with a bug there may be many more
    /// executions, and what they have not found others may.
    pub fn judge(&self, report: Report) -> Option<Kill> {
        match report.verdict {
            Verdict::Verified => None,
            Verdict::Unverified => {
                let what = format!("{}: {} executions are too few", report.name, report.executions);
                // Not among the dots that are counted.
                eprintln!("{what}");
                self.bug.is_none().then_some(Kill(what))
            }
            Verdict::Violated => {
                let message = report.violation.map_or_else(String::new, |found| found.message);
                Some(Kill(format!("{}: {message}", report.name)))
            }
        }
    }
}

/// A violation that was found.
#[derive(Clone, Debug)]
pub struct Kill(pub String);

impl Kill {
    pub fn of_panic(payload: &(dyn Any + Send)) -> Kill {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Kill(format!("panic: {}", text.unwrap_or("of another kind")))
    }
}

impl<E: std::fmt::Display> From<E> for Kill {
    fn from(error: E) -> Kill {
        Kill(error.to_string())
    }
}

/// What holds, or the violation.
pub type Checked<T = ()> = Result<T, Kill>;

/// Asks for something that must hold.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Kill(what())) }
}
