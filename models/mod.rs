//! Models of the crate's synchronisation, on the real types (compiled under `--cfg loom` only).
//!
//! A model is a closure that loom runs once for each interleaving of its threads that differs
//! from the others, with at most [`PREEMPTIONS`] preemptions. No limit of time or number is set,
//! whatever the environment says; so a model that ends has seen them all.
//!
//! Attacks: snapshot-stable, no-reuse-while-reachable, publish-after-durable, cache-coherent.

mod cache;
mod slots;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const PREEMPTIONS: usize = 3;

/// A model, and the seeded bugs that it must find.
struct Model {
    name: &'static str,
    run: fn(),
    #[cfg_attr(not(seeded_bug), expect(dead_code, reason = "only then there are bugs"))]
    finds: &'static [&'static str],
}

/// Every model.
fn all() -> Vec<Model> {
    [slots::MODELS, cache::MODELS].into_iter().flatten().copied().collect()
}

impl Clone for Model {
    fn clone(&self) -> Model {
        *self
    }
}

impl Copy for Model {}

/// Runs a model to its end. Returns how many interleavings it has.
fn explore(run: fn()) -> u64 {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.max_branches = 100_000;
    builder.checkpoint_file = None;
    let executions = std::sync::Arc::new(AtomicU64::new(0));
    let counter = std::sync::Arc::clone(&executions);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        run();
    });
    executions.load(Ordering::Relaxed)
}

/// Runs the models that the arguments name, or all.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--bugs") {
        return run_bugs();
    }
    let is_wanted = |name: &str| {
        let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|wanted| name.contains(wanted.as_str()))
    };
    let (mut passed, mut failed) = (0, 0);
    for model in all().into_iter().filter(|model| is_wanted(model.name)) {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| explore(model.run)));
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(executions) => {
                println!("{}: {executions} interleavings, all, in {seconds:.1} s", model.name);
                passed += 1;
            }
            Err(_) => {
                println!("{}: FAILED", model.name);
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if passed > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(seeded_bug))]
fn run_bugs() -> ExitCode {
    println!("the bugs are not in this build: add --cfg seeded_bug");
    ExitCode::FAILURE
}

#[cfg(seeded_bug)]
fn run_bugs() -> ExitCode {
    use crate::seeded::{Bug, switch_on};
    std::panic::set_hook(Box::new(|_| {}));
    let (mut found, mut missed) = (0, 0);
    for model in all() {
        for name in model.finds {
            let bug = Bug::ALL.iter().find(|bug| bug.name() == *name);
            let bug = bug.expect("a model names a bug of the catalogue");
            switch_on(Some(*bug));
            let outcome = catch_unwind(AssertUnwindSafe(|| explore(model.run)));
            switch_on(None);
            if outcome.is_err() {
                println!("{name}: found by {}", model.name);
                found += 1;
            } else {
                println!("{name}: NOT found by {}", model.name);
                missed += 1;
            }
        }
    }
    println!("{found} passed, {missed} failed");
    if found > 0 && missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
