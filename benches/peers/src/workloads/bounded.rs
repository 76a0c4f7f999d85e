//! Data larger than the cache, and what memory that takes.

use crate::child;
use crate::data::{Data, Kind, Order, Queries, Spread};
use crate::engine::{Direction, Form, Result, Scope};
use crate::measure::{Clock, Contender, Row, Sample, burst};
use crate::report::Report;
use crate::rig::{Rig, peers};
use crate::settings::{Settings, short};

/// The cache's bytes, in hundredths of the data's.
const PERCENTS: [u64; 3] = [10, 25, 50];

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for count in settings.counts.iter().copied() {
        for percent in PERCENTS {
            let base = format!("bounded/random/{}/{percent}%", short(count));
            let work = [Spread::Uniform, Spread::Zipf].map(Some).into_iter().chain([None]);
            let named = |spread: Option<Spread>| match spread {
                Some(spread) => format!("{base}/get/{}", format!("{spread:?}").to_lowercase()),
                None => format!("{base}/scan"),
            };
            let wanted: Vec<_> = work.filter(|work| report.wants(&named(*work))).collect();
            let memory = format!("{base}/memory");
            let is_memory_wanted = report.wants(&memory);
            if wanted.is_empty() && !is_memory_wanted {
                continue;
            }
            let data = Data::new(Kind::Random, count);
            let cache_bytes = data.bytes() * percent / 100;
            let rigs = stores(settings, &data, cache_bytes)?;
            for work in wanted {
                report.add(row(settings, named(work), &data, &rigs, work)?)?;
            }
            if is_memory_wanted {
                report.add(peaks(memory, &data, rigs, cache_bytes)?)?;
            }
        }
    }
    Ok(())
}

fn stores(settings: &Settings, data: &Data, cache_bytes: u64) -> Result<Vec<Rig>> {
    let order = data.order(Order::Random);
    let mut rigs = Vec::new();
    for peer in peers(settings).into_iter().filter(|peer| peer.is_durable) {
        let rig = Rig::new(peer, &settings.disk, cache_bytes)?;
        rig.load(data, &order)?;
        rigs.push(rig);
    }
    Ok(rigs)
}

fn row(
    settings: &Settings,
    name: String,
    data: &Data,
    rigs: &[Rig],
    spread: Option<Spread>,
) -> Result<Row> {
    let mut contenders = Vec::new();
    for rig in rigs {
        let run = move |round| {
            let Some(spread) = spread else {
                let scan = || rig.engine.scan(Direction::Forwards);
                return burst(settings, data.count, scan).map(Some);
            };
            let queries = |seed| Queries::new(data, spread, settings.queries, seed);
            rig.engine.get(&queries(1_000 + round as u64), Scope::PerGet, Form::Copied)?;
            let queries = queries(round as u64);
            let get = || rig.engine.get(&queries, Scope::PerGet, Form::Copied);
            burst(settings, queries.len(), get).map(Some)
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    let unit = if spread.is_some() { "ns/get" } else { "ns/entry" };
    Row::run(name, unit, Clock::Wall, settings.rounds, contenders)
}

/// The greatest memory of a process of its own that reads and scans, less what it had before it
/// opened the store, by the bytes of the cache.
fn peaks(name: String, data: &Data, rigs: Vec<Rig>, cache_bytes: u64) -> Result<Row> {
    let mut contenders = Vec::new();
    for rig in rigs {
        let Rig { engine, scratch, peer } = rig;
        drop(engine);
        let run = move |_| {
            let peak = child::peak_of_reads(peer.name, scratch.path(), data, cache_bytes)?;
            Ok(Some(Sample::figure(peak as f64 / cache_bytes as f64)))
        };
        contenders.push(Contender::new(peer.name, "", run));
    }
    Row::run(name, "x cache", Clock::Figure, 1, contenders)
}
