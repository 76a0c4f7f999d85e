//! The store beside its peers: the same pairs, the same durability, in turn.

mod chart;
mod child;
mod data;
mod engine;
mod engines;
mod goals;
mod json;
mod limit;
mod measure;
mod record;
mod report;
mod rig;
mod settings;
mod system;
#[cfg(test)]
mod tests;
mod workloads;

use engine::Result;
use report::Report;
use settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == child::ARGUMENT
    {
        return child::run(rest);
    }
    let mut settings = Settings::parse(arguments.into_iter())?;
    if settings.burst && !system::may_be_urgent() {
        eprintln!("bursts run at the ordinary priority: this user may not raise it");
        settings.burst = false;
    }
    if system::is_in_memory(&settings.disk) {
        let disk = settings.disk.display();
        eprintln!("{disk} lies in memory: rows of a disk wait for none (--disk DIR)");
    }
    let mut report = Report::new(&settings)?;
    for group in workloads::GROUPS {
        group(&settings, &mut report)?;
    }
    report.finish()
}
