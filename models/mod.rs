//! Models of the crate's synchronisation, on the real types (compiled under `--cfg loom` only).
//!
//! A model is a function that loom runs once for each interleaving of its threads that differs
//! from the others, with at most [`PREEMPTIONS`] preemptions. No limit of time or number is set,
//! whatever the environment says; so a model that ends has seen them all.
//!
//! loom tries two orders only of accesses to one atomic, lock or [`crate::sync::Watched`] of which
//! one writes. What is to be met elsewhere needs an access there that a write of another thread
//! conflicts with. And an interleaving is repeated to get to the next one, so nothing may depend on
//! addresses that the allocator chooses.
//!
//! Attacks: snapshot-stable, no-reuse-while-reachable, publish-after-durable, cache-coherent.

#[cfg(seeded_bug)]
mod bugs;
mod cache;
#[expect(clippy::unwrap_used, reason = "what fails here fails the model")]
mod commit;
#[expect(clippy::unwrap_used, reason = "what fails here fails the model")]
mod disk;
#[expect(clippy::unwrap_used, reason = "what fails here fails the model")]
mod early;
#[expect(clippy::unwrap_used, reason = "what fails here fails the model")]
mod index;
mod slots;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Threads are switched so often at most, beside where one has to wait.
const PREEMPTIONS: usize = 3;

/// A model with fewer interleavings explores nothing.
const INTERLEAVINGS_MIN: u64 = 5;

/// Something that holds in every interleaving.
#[derive(Clone, Copy)]
struct Model {
    name: &'static str,
    run: fn(),
}

/// Functions as models of their names.
macro_rules! models {
    ($($run:ident),* $(,)?) => {
        &[$(Model { name: stringify!($run), run: $run }),*]
    };
}
use models;

/// Every model.
fn all() -> impl Iterator<Item = Model> {
    let models = [slots::MODELS, cache::MODELS, index::MODELS, early::MODELS, commit::MODELS];
    models.into_iter().flatten().copied()
}

/// Runs a model to its end, and `each` before each interleaving. Returns how many it has.
///
/// loom ends early, and reports success, when its environment variables limit the permutations or
/// the time. The limits are taken away here.
fn explore(model: Model, each: fn()) -> u64 {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.max_branches = 100_000;
    builder.checkpoint_file = None;
    let interleavings = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&interleavings);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        each();
        (model.run)();
    });
    interleavings.load(Ordering::Relaxed)
}

/// Runs the models that the arguments name by a part of their names, or all.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--bugs", ref bugs @ ..] => run_bugs(bugs),
        #[cfg(seeded_bug)]
        [bugs::CHILD, model, bug] => bugs::run_child(model, bug),
        ref names => run_models(names),
    }
}

fn run_models(names: &[&str]) -> ExitCode {
    let is_wanted = |model: &Model| {
        let mut names = names.iter().filter(|name| !name.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|name| model.name.contains(name))
    };
    let models: Vec<Model> = all().filter(is_wanted).collect();
    let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Of one model the interleavings come one after the other, each on the thread that began it.
    let work = || {
        while let Some(model) = models.get(next.fetch_add(1, Ordering::Relaxed)) {
            passed.fetch_add(usize::from(passes(*model)), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let passed = passed.into_inner();
    let failed = models.len() - passed;
    println!("{passed} passed, {failed} failed; at most {PREEMPTIONS} preemptions");
    if passed > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores a model, and says how it went.
fn passes(model: Model) -> bool {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| explore(model, || ())));
    let seconds = start.elapsed().as_secs_f64();
    let name = model.name;
    match outcome {
        Ok(count) if count >= INTERLEAVINGS_MIN => {
            println!("{name}: {count} interleavings, all, in {seconds:.1} s");
            return true;
        }
        Ok(count) => println!("{name}: FAILED, {count} interleavings explore nothing"),
        Err(_) => println!("{name}: FAILED"),
    }
    false
}

#[cfg(not(seeded_bug))]
fn run_bugs(_: &[&str]) -> ExitCode {
    println!("the bugs are not in this build: add --cfg seeded_bug");
    ExitCode::FAILURE
}

#[cfg(seeded_bug)]
use bugs::run_bugs;
