//! How long a store takes to open and to answer once: closed in order, and killed while it wrote.

use crate::child;
use crate::data::{Data, Kind, Order, Queries, Spread};
use crate::engine::{Form, Peer, Result, Scope};
use crate::measure::{Clock, Contender, Row, Sample, rest, time};
use crate::report::Report;
use crate::rig::{Rig, Scratch, ample_cache, peers};
use crate::settings::{Settings, short};
use std::time::Duration;

/// The writer is killed so long after its first commits.
const BURST: Duration = Duration::from_millis(200);

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for count in settings.counts.iter().copied() {
        let name = format!("open/random/{}/disk", short(count));
        if report.wants(&name) {
            report.add(row(settings, name, &Data::new(Kind::Random, count))?)?;
        }
    }
    Ok(())
}

fn row(settings: &Settings, name: String, data: &Data) -> Result<Row> {
    let order = data.order(Order::Random);
    let mut stores = Vec::new();
    for peer in peers(settings).into_iter().filter(|peer| peer.is_durable) {
        let rig = Rig::new(peer, &settings.disk, ample_cache(data))?;
        rig.load(data, &order)?;
        let Rig { engine, scratch, peer } = rig;
        drop(engine);
        stores.push((peer, scratch));
    }
    let mut contenders = Vec::new();
    for (peer, scratch) in &stores {
        let clean = move |_| open(*peer, scratch, data).map(Some);
        let killed = move |round| {
            child::burst_and_kill(peer.name, scratch.path(), data, round, BURST)?;
            open(*peer, scratch, data).map(Some)
        };
        contenders.push(Contender::new(peer.name, "closed", clean));
        contenders.push(Contender::new(peer.name, "killed", killed));
    }
    Row::run(name, "ns/open", Clock::Wall, settings.rounds, contenders)
}

fn open(peer: Peer, scratch: &Scratch, data: &Data) -> Result<Sample> {
    // What the store before it left running must have come to rest.
    rest();
    let queries = Queries::new(data, Spread::Uniform, 1, 5);
    let mut opened = None;
    let sample = time(1, || {
        let engine = (peer.open)(scratch.path(), ample_cache(data))?;
        let seen = engine.get(&queries, Scope::PerGet, Form::Copied)?;
        opened = Some(engine);
        if seen.is_some_and(|seen| seen.entries == 1) {
            Ok(None)
        } else {
            Err("a key is lost".into())
        }
    });
    drop(opened);
    sample
}
