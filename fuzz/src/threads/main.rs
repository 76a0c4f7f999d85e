//! All that threads can do with one store at once, for a sanitizer to watch: `threads SECONDS
//! [SEED] [--bug NAME]`. `docs/fuzzing.md` says how it is run.
//!
//! Owns: the arguments, and the kinds of store. Must not know: what the threads do.
//!
//! The seed decides what each thread does, one thing after another; how far it gets in its time,
//! and in which order the threads come, is not in its hands.

mod opening;
mod pairs;
mod reading;
mod round;
mod upkeep;
mod writing;

use btree_store::{Barriers, DetailedError, Durability, Options, Result};
use pairs::Draw;
use round::Kind;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "threads SECONDS [SEED] [--bug NAME]";

/// Pages and caches so small that frames are written anew all the time, and such as are usual.
fn kinds() -> [Kind; 4] {
    let tiny = || Options::new().page_size(512).cache_bytes(64 << 10);
    let small = || {
        let options = Options::new().page_size(1024).cache_bytes(1 << 20);
        options.barriers(Barriers::Two)
    };
    let usual = || Options::new().cache_bytes(16 << 20).durability(Durability::Deferred);
    let uncached = || Options::new().page_size(1024).cache_bytes(0);
    [
        Kind { name: "tiny", options: tiny },
        Kind { name: "small", options: small },
        Kind { name: "usual", options: usual },
        Kind { name: "uncached", options: uncached },
    ]
}

/// What a thread could not do with the store is told with all that is known of it.
fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{}", DetailedError::from(error)))
}

struct Arguments {
    seconds: u64,
    seed: u64,
    bug: Option<String>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut numbers, mut bug) = (Vec::new(), None);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--bug" if bug.is_none() => bug = Some(given.next()?),
            _ => numbers.push(argument.parse().ok()?),
        }
    }
    match numbers[..] {
        [seconds] => Some(Arguments { seconds, seed: 1, bug }),
        [seconds, seed] => Some(Arguments { seconds, seed, bug }),
        _ => None,
    }
}

#[cfg(seeded_bug)]
fn switch_on(name: &str) -> std::result::Result<(), String> {
    use btree_store::seeded::{Bug, switch_on};
    let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
    let bug =
        bug.ok_or_else(|| format!("{name} is no seeded bug; docs/kill-matrix.md has them"))?;
    switch_on([bug]);
    println!("the seeded bug {name} is on");
    Ok(())
}

#[cfg(not(seeded_bug))]
fn switch_on(name: &str) -> std::result::Result<(), String> {
    Err(format!("{name} is not in this build, which takes RUSTFLAGS=\"--cfg seeded_bug\""))
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(Err(why)) = arguments.bug.as_deref().map(switch_on) {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    println!("seed {}", arguments.seed);
    let mut seeds = Draw::new(arguments.seed);
    for kind in kinds() {
        round::run(&kind, Duration::from_secs(arguments.seconds), &mut seeds.apart());
    }
    println!("every value was whole, and every file sound");
    ExitCode::SUCCESS
}
