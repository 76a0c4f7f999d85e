//! How long a reader waits, alone and beside a writer that commits without a pause.

use crate::data::{Chance, Data, Kind, Order, Queries, seed};
use crate::engine::{Batch, Change, Direction, Form, Result, Scope};
use crate::measure::{Clock, Contender, Row, Sample};
use crate::report::Report;
use crate::rig::{Rig, ample_cache, peers};
use crate::settings::{Settings, short};
use crate::system;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

const COUNT: usize = 100_000;
/// Of the waits, the greatest but for one in so many.
const ONE_IN: usize = 100;

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for kind in [Kind::Small, Kind::Random] {
        let data = format!("{}/{}", format!("{kind:?}").to_lowercase(), short(COUNT));
        let (wait, pace) = (format!("reader/{data}/p99"), format!("writer/{data}/beside-reader"));
        if report.wants(&wait) | report.wants(&pace) {
            let data = Data::new(kind, COUNT);
            let rigs = stores(settings, &data)?;
            let (wait, pace) = rows(settings, wait, pace, &data, &rigs)?;
            report.add(wait)?;
            report.add(pace)?;
        }
    }
    Ok(())
}

/// Stores that hold all pairs, each of which was read once.
fn stores(settings: &Settings, data: &Data) -> Result<Vec<Rig>> {
    let order = data.order(Order::Random);
    let mut rigs = Vec::new();
    for peer in peers(settings).into_iter().filter(|peer| peer.is_durable) {
        let rig = Rig::new(peer, &settings.disk, ample_cache(data))?;
        rig.load(data, &order)?;
        rig.engine.scan(Direction::Forwards)?;
        rigs.push(rig);
    }
    Ok(rigs)
}

/// The reader's row, and the writer's.
pub fn rows(
    settings: &Settings,
    wait: String,
    pace: String,
    data: &Data,
    rigs: &[Rig],
) -> Result<(Row, Row)> {
    let commits = std::cell::RefCell::new(Vec::new());
    let row = &wait;
    let mut contenders = Vec::new();
    for rig in rigs {
        let commits = &commits;
        // Keys of its own for each form, and others to warm up with.
        let waits =
            move |form, round, part| waits(settings, rig, data, seed(row, &[form, round, part]));
        let alone = move |round| {
            rig.settle(data)?;
            waits(0, round, 0)?;
            waits(0, round, 1).map(Sample::figure).map(Some)
        };
        let beside = move |round| {
            rig.settle(data)?;
            let (wait, pace) = beside_writer(rig, data, round, |part| waits(1, round, part))?;
            commits.borrow_mut().push((rig.peer.name, round, pace));
            Ok(Some(Sample::figure(wait)))
        };
        contenders.push(Contender::new(rig.peer.name, "alone", alone));
        contenders.push(Contender::new(rig.peer.name, "beside a writer", beside));
    }
    let wait = Row::run(wait.clone(), "ns, p99", Clock::Figure, settings.rounds, contenders)?;
    let commits = commits.into_inner();
    let mut contenders = Vec::new();
    for rig in rigs {
        let commits = &commits;
        let run = move |round| {
            let mut found =
                commits.iter().filter(|(name, at, _)| (*name, *at) == (rig.peer.name, round));
            Ok(found.next().map(|(.., pace)| Sample::figure(*pace)))
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    let pace = Row::run(pace, "ns/commit", Clock::Figure, settings.rounds, contenders)?;
    Ok((wait, pace))
}

/// Reads key by key and returns the wait of which one in a hundred is longer, in nanoseconds.
fn waits(settings: &Settings, rig: &Rig, data: &Data, seed: u64) -> Result<f64> {
    let mut chance = Chance::new(seed);
    let mut query = |_| Queries::of(data, vec![chance.below(data.count) as u32]);
    let queries: Vec<Queries> = (0..settings.queries).map(&mut query).collect();
    let mut found = 0;
    let mut waits = Vec::with_capacity(queries.len());
    system::pin(0);
    let urgent = settings.burst.then(system::Urgent::begin);
    for query in &queries {
        let start = Instant::now();
        let seen = rig.engine.get(query, Scope::PerGet, Form::Copied)?;
        waits.push(start.elapsed().as_nanos() as u64);
        found += seen.map_or(0, |seen| seen.entries);
    }
    drop(urgent);
    system::unpin();
    if found != queries.len() as u64 {
        return Err(format!("{found} of {} keys are found", queries.len()).into());
    }
    waits.sort_unstable();
    Ok(waits[waits.len() - 1 - waits.len() / ONE_IN] as f64)
}

/// The reader's wait beside a writer, and the writer's time for a commit, in nanoseconds. The
/// reader warms up beside the writer too.
fn beside_writer(
    rig: &Rig,
    data: &Data,
    round: usize,
    waits: impl Fn(usize) -> Result<f64>,
) -> Result<(f64, f64)> {
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            system::pin(1);
            while !stop.load(Ordering::Relaxed) {
                let number = commits.fetch_add(1, Ordering::Relaxed);
                let pair = (number * 7_919 % data.count as u64) as u32;
                let change = Change::Put(round + 1);
                rig.engine.write(&Batch { data, pairs: &[pair], change })?;
            }
            Ok(())
        });
        while commits.load(Ordering::Relaxed) < 10 && !writer.is_finished() {
            std::thread::yield_now();
        }
        let warm = waits(0);
        let (start, first) = (Instant::now(), commits.load(Ordering::Relaxed));
        let wait = warm.and_then(|_| waits(1));
        let (time, last) = (start.elapsed(), commits.load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no thread panics")?;
        Ok((wait?, time.as_nanos() as f64 / (last - first).max(1) as f64))
    })
}
