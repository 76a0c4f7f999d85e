//! Data larger than the cache, and what memory that takes.

use crate::child;
use crate::data::{Data, Kind, Order, Spread};
use crate::engine::{Direction, Form, Result, Scope};
use crate::measure::{Clock, Contender, Row, Sample, burst, rest};
use crate::report::Report;
use crate::rig::{Rig, ample_cache, peers};
use crate::settings::{Settings, short};
use crate::workloads::read::WarmAndTimed;

/// The cache's bytes, in hundredths of the data's.
const PERCENTS: [u64; 3] = [10, 25, 50];

/// What is asked of each cache.
#[derive(Clone, Copy)]
enum Question {
    Get(Spread),
    Scan,
    /// What memory a process takes that reads and scans.
    Memory,
}

const QUESTIONS: [Question; 4] =
    [Question::Get(Spread::Uniform), Question::Get(Spread::Zipf), Question::Scan, Question::Memory];

impl Question {
    fn name(self, count: usize, percent: u64) -> String {
        let work = match self {
            Question::Get(spread) => format!("get/{}", format!("{spread:?}").to_lowercase()),
            Question::Scan => "scan".to_owned(),
            Question::Memory => "memory".to_owned(),
        };
        format!("bounded/random/{}/{percent}%/{work}", short(count))
    }
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for count in settings.counts.iter().copied() {
        let mut wanted = Vec::new();
        for percent in PERCENTS {
            for question in QUESTIONS {
                let name = question.name(count, percent);
                if report.wants(&name) {
                    wanted.push((percent, question, name));
                }
            }
        }
        if wanted.is_empty() {
            continue;
        }
        let data = Data::new(Kind::Random, count);
        let mut rigs = stores(settings, &data)?;
        for (percent, question, name) in wanted {
            let cache_bytes = data.bytes() * percent / 100;
            let reopened: Result<Vec<Rig>> =
                rigs.into_iter().map(|rig| rig.reopen(cache_bytes)).collect();
            rigs = reopened?;
            rest();
            let row = match question {
                Question::Get(spread) => row(settings, name, &data, &rigs, Some(spread)),
                Question::Scan => row(settings, name, &data, &rigs, None),
                Question::Memory => {
                    let (row, closed) = peaks(name, &data, rigs, cache_bytes)?;
                    rigs = closed;
                    Ok(row)
                }
            };
            report.add(row?)?;
        }
    }
    Ok(())
}

fn stores(settings: &Settings, data: &Data) -> Result<Vec<Rig>> {
    let order = data.order(Order::Random);
    let mut rigs = Vec::new();
    for peer in peers(settings).into_iter().filter(|peer| peer.is_durable) {
        let rig = Rig::new(peer, &settings.disk, ample_cache(data))?;
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
    let row = &name;
    let mut contenders = Vec::new();
    for rig in rigs {
        let run = move |round| {
            let Some(spread) = spread else {
                let scan = || rig.engine.scan(Direction::Forwards);
                return burst(settings, data.count, scan).map(Some);
            };
            let queries = WarmAndTimed::new(data, spread, settings.queries, row, &[round]);
            let get = |keys: &_| rig.engine.get(keys, Scope::PerGet, Form::Copied);
            queries.look_up(settings, data, get)
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    let unit = if spread.is_some() { "ns/get" } else { "ns/entry" };
    Row::run(name.clone(), unit, Clock::Wall, settings.rounds, contenders)
}

/// The greatest memory of a process of its own that reads and scans, less what it had before it
/// opened the store, by the bytes of the cache.
fn peaks(name: String, data: &Data, rigs: Vec<Rig>, cache_bytes: u64) -> Result<(Row, Vec<Rig>)> {
    let mut closed = Vec::new();
    for Rig { engine, scratch, peer } in rigs {
        drop(engine);
        closed.push((peer, scratch));
    }
    let mut contenders = Vec::new();
    for (peer, scratch) in &closed {
        let run = move |_| {
            let peak = child::peak_of_reads(peer.name, scratch.path(), data, cache_bytes)?;
            Ok(Some(Sample::figure(peak as f64 / cache_bytes as f64)))
        };
        contenders.push(Contender::new(peer.name, "", run));
    }
    let row = Row::run(name, "x cache", Clock::Figure, 1, contenders)?;
    let opened = closed.into_iter().map(|(peer, scratch)| {
        let engine = (peer.open)(scratch.path(), cache_bytes)?;
        Ok(Rig { engine, scratch, peer })
    });
    Ok((row, opened.collect::<Result<_>>()?))
}
