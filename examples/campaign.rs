//! A campaign: random transactions beside a model, with everything that a disk may do to them.
//!
//! ```text
//! cargo run --release --features sim --example campaign                # 100,000 transactions
//! cargo run --release --features sim --example campaign 5000 77        # how many, first seed
//! cargo run --release --features sim --example campaign 5000 77 1000   # in sessions of so many
//! cargo run --release --features sim --example campaign replay 77      # one session again
//! cargo run --release --features sim --example campaign replay 77+deferred+roomy
//! ```
//!
//! `btree_store::sim::campaign` says what is done and what is checked. The command `btree-store
//! torture` does the same in parts, and writes reports.

use btree_store::sim::campaign::{Campaign, PER_SESSION, SESSION_MAX, SYNC_FAILURES, replay};
use std::process::ExitCode;
use std::time::Instant;

const TRANSACTIONS: u64 = 100_000;
/// Failures that are told.
const TOLD_MAX: usize = 3;

fn campaign(transactions: u64, first: u64, per_session: u64) -> ExitCode {
    let begin = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let campaign = Campaign::new(transactions, first).per_session(per_session);
    let found = campaign.run(threads, |_| {});
    for failed in found.failed.iter().take(TOLD_MAX) {
        println!("{}: {}\n{}", failed.token, failed.what, failed.story);
    }
    let counts = found.counts;
    println!(
        "seeds {first}..={}: {} transactions, {} sessions fail; {} power failures, {} of them \
         inside of transactions, {} inside of recoveries, {} left more than one image; {} full \
         disks, {} reads and writings back failed; {} processes ended; {} transactions \
         deferred, {} faults took some",
        first + (counts.sessions - 1),
        counts.transactions,
        found.failed.len(),
        counts.all_power_failures,
        counts.power_failures,
        counts.nested,
        counts.undecided,
        counts.full_disks,
        counts.other_faults,
        counts.kills,
        counts.deferred,
        counts.losses,
    );
    for (how, count) in SYNC_FAILURES.iter().zip(&counts.failed_syncs) {
        println!("  syncs that fail as {how:?}: {count}");
    }
    println!("{:.0} s on {threads} threads", begin.elapsed().as_secs_f64());
    if found.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn again(seed: &str) -> ExitCode {
    // The token of a report, or what stands behind its colon.
    let seed = seed.trim_start_matches("campaign:");
    let Some((_, failed)) = replay(&format!("campaign:{seed}")) else {
        println!("{seed} is no seed");
        return ExitCode::FAILURE;
    };
    let Some(failed) = failed else {
        println!("it passes");
        return ExitCode::SUCCESS;
    };
    println!("{}: {}\n{}", failed.token, failed.what, failed.story);
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u64>().ok();
    match args.as_slice() {
        [] => campaign(TRANSACTIONS, 1, PER_SESSION),
        [word, seed] if word == "replay" => again(seed),
        [transactions, rest @ ..] if rest.len() < 3 => {
            let seed = rest.first().map_or(Some(1), number);
            let each = rest.get(1).map_or(Some(PER_SESSION), number);
            match (number(transactions), seed, each) {
                (Some(transactions @ 1..), Some(seed), Some(each @ 1..=SESSION_MAX)) => {
                    campaign(transactions, seed, each)
                }
                _ => usage(),
            }
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("campaign [TRANSACTIONS [SEED [PER_SESSION]]], or campaign replay SEED");
    ExitCode::FAILURE
}
