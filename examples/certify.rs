//! Recomputes the certificate of crashes, or a part of it.
//!
//! ```text
//! cargo run --release --features sim --example certify            # all; writes the certificate
//! cargo run --release --features sim --example certify recheck    # a random 1%, against it
//! cargo run --release --features sim --example certify part 4096  # one part; writes nothing
//! cargo run --release --features sim --example certify replay 'TOKEN'
//! ```
//!
//! `rate` measures how many recoveries a second one core verifies, in small states.
//! `recheck` takes a percentage and a seed, if wanted. All fail when anything is violated,
//! unverified, or not as the certificate says.

use btree_store::sim::Seeded;
use btree_store::sim::certify::{Certificate, Certifier, FAMILY, Faults, Part, Workload, rows_of};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/certificate.json");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write_all(),
        ["recheck"] => recheck(1.0, clock()),
        ["recheck", percent] => number(percent).and_then(|percent| recheck(percent, clock())),
        ["recheck", percent, seed] => {
            number(percent).and_then(|percent| recheck(percent, number(seed)?))
        }
        ["part", tag] => one_part(tag, None),
        ["part", tag, every] => number(every).and_then(|every| one_part(tag, Some(every))),
        ["replay", token] => replay(token),
        ["rate"] => rate(),
        _ => Err("certify [recheck [PERCENT [SEED]] | part TAG [EVERY] | replay TOKEN]".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<bool, Box<dyn Error>>;

fn number<T: std::str::FromStr<Err: Error + 'static>>(text: &str) -> Result<T, Box<dyn Error>> {
    Ok(text.parse()?)
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs workloads of a part, and says how it went.
fn run(certifier: &Certifier, numbers: &[usize]) -> Result<Part, Box<dyn Error>> {
    let begin = Instant::now();
    let part = certifier.run_some(numbers, threads())?;
    let seconds = begin.elapsed().as_secs_f64();
    for row in part.failures() {
        println!("{} {:?}", Workload::numbered(row.number).name(), row.verdict);
        println!("{}", row.violation.as_deref().unwrap_or("the search did not end"));
    }
    println!(
        "{}: {} workloads, {} not verified, {} executions, {} runs with faults, {seconds:.1} s",
        certifier.tag(),
        part.rows.len(),
        part.failures().count(),
        part.executions(),
        part.fault_runs(),
    );
    Ok(part)
}

fn write_all() -> Done {
    let begin = Instant::now();
    let mut parts = Vec::new();
    for certifier in Certifier::all() {
        parts.push(run(&certifier, &certifier.numbers())?);
    }
    let certificate = Certificate { parts };
    std::fs::write(PATH, certificate.to_json())?;
    let executions: u64 = certificate.parts.iter().map(Part::executions).sum();
    let seconds = begin.elapsed().as_secs_f64();
    println!("{executions} executions in {seconds:.0} s on {} threads", threads());
    println!("{PATH}: {}", if certificate.is_verified() { "verified" } else { "NOT VERIFIED" });
    Ok(certificate.is_verified())
}

/// Runs some of each part again, and compares the rows to the letter.
fn recheck(percent: f64, seed: u64) -> Done {
    let certificate = std::fs::read_to_string(PATH)?;
    println!("{percent}% by seed {seed}");
    let mut random = Seeded::new(seed);
    let (mut compared, mut other) = (0, 0);
    for certifier in Certifier::all() {
        let mut wanted = |_: &usize| f64::from(random.below(1_000_000)) < percent * 10_000.0;
        let mut numbers = certifier.numbers();
        let first = numbers[0];
        numbers.retain(&mut wanted);
        if numbers.is_empty() {
            numbers.push(first);
        }
        let part = run(&certifier, &numbers)?;
        let rows = rows_of(&certificate, &certifier.tag());
        for row in &part.rows {
            compared += 1;
            if !rows.contains(&row.line().as_str()) {
                other += 1;
                println!("the certificate does not hold {}", row.line());
            }
        }
        other += part.failures().count();
    }
    println!("{compared} rows compared, {other} not as the certificate says");
    Ok(other == 0)
}

fn one_part(tag: &str, every: Option<usize>) -> Done {
    let all = Certifier::all();
    let found = all.into_iter().find(|known| known.tag() == tag);
    let mut certifier = found.ok_or("there is no part with this tag")?;
    certifier.every = every.unwrap_or(certifier.every);
    Ok(run(&certifier, &certifier.numbers())?.failures().next().is_none())
}

/// The workloads that begin with no bucket, or with one leaf; no faults; one thread.
fn rate() -> Done {
    let mut certifier = Certifier::new(512);
    certifier.faults = Faults::None;
    let numbers: Vec<usize> = (0..FAMILY / 2).step_by(2).collect();
    let begin = Instant::now();
    let part = certifier.run_some(&numbers, 1)?;
    let millis = u64::try_from(begin.elapsed().as_millis())?.max(1);
    let executions = part.executions();
    let per_second = executions * 1000 / millis;
    println!("{executions} verified recoveries in {millis} ms, {per_second} a second");
    // For reading, for writing, and again at last.
    println!("each opens the store three times: {} opens a second", per_second * 3);
    Ok(part.failures().next().is_none())
}

fn replay(token: &str) -> Done {
    let found = Certifier::replay(token)?;
    println!("{}", found.as_deref().unwrap_or("it passes"));
    Ok(found.is_none())
}
