//! Durable transactions of one key, alone and by several threads at once.

use crate::data::{Chance, Data, Kind, Order, seed};
use crate::engine::{Batch, Change, Result};
use crate::limit::{self, Limit};
use crate::measure::{Clock, Contender, Row, Sample, rest, time};
use crate::report::Report;
use crate::rig::{Rig, ample_cache, peers};
use crate::settings::{Settings, short};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Transactions of a timed piece.
const PIECE: usize = 100;
/// Transactions before it, on other keys.
const WARM_UP: usize = 20;
/// Keys of the store into which they write.
const COUNT: usize = 100_000;
const COMMITTERS: [usize; 5] = [1, 2, 4, 8, 16];

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for kind in [Kind::Small, Kind::Random] {
        let data = format!("{}/{}", format!("{kind:?}").to_lowercase(), short(COUNT));
        let alone = format!("commit/{data}/one-key/disk");
        let cpu = format!("commit/{data}/one-key/memory");
        let together = format!("commit/{data}/committers/disk");
        if ![&alone, &cpu, &together].iter().any(|name| report.wants(name)) {
            continue;
        }
        let data = Data::new(kind, COUNT);
        let on_disk = if report.wants(&alone) || report.wants(&together) {
            stores(settings, &data, &settings.disk)?
        } else {
            Vec::new()
        };
        if report.wants(&alone) {
            report.add(one_key(settings, alone, Clock::Wall, &data, &on_disk)?)?;
        }
        if report.wants(&together) {
            report.add(committers(settings, together, &data, &on_disk)?)?;
        }
        drop(on_disk);
        if report.wants(&cpu) {
            let in_memory = stores(settings, &data, &settings.memory)?;
            report.add(one_key(settings, cpu, Clock::Cpu, &data, &in_memory)?)?;
        }
    }
    Ok(())
}

fn stores(settings: &Settings, data: &Data, parent: &Path) -> Result<Vec<Rig>> {
    let order = data.order(Order::Random);
    let mut rigs = Vec::new();
    for peer in peers(settings).into_iter().filter(|peer| peer.is_durable) {
        let rig = Rig::new(peer, parent, ample_cache(data))?;
        rig.load(data, &order)?;
        rigs.push(rig);
    }
    Ok(rigs)
}

/// Overwrites one random key in a transaction of its own, some times.
fn overwrite(rig: &Rig, data: &Data, count: usize, seed: u64) -> Result<()> {
    // Each write has a version of its own: one that changed nothing would not have to be synced.
    static VERSION: AtomicUsize = AtomicUsize::new(1);
    let mut chance = Chance::new(seed);
    for _ in 0..count {
        let pairs = [chance.below(data.count) as u32];
        let change = Change::Put(VERSION.fetch_add(1, Ordering::Relaxed));
        rig.engine.write(&Batch { data, pairs: &pairs, change })?;
    }
    Ok(())
}

fn one_key(
    settings: &Settings,
    name: String,
    clock: Clock,
    data: &Data,
    rigs: &[Rig],
) -> Result<Row> {
    let row = &name;
    let mut contenders = Vec::new();
    for rig in rigs {
        let run = move |round| {
            rig.settle(data)?;
            overwrite(rig, data, WARM_UP, seed(row, &[round, 0]))?;
            let piece = || overwrite(rig, data, PIECE, seed(row, &[round, 1]));
            time(PIECE, || piece().map(|()| None)).map(Some)
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    if clock == Clock::Wall && settings.has_peer(limit::NAME) {
        contenders.extend(limits(&settings.disk)?);
    }
    Row::run(name.clone(), "ns/commit", clock, settings.rounds, contenders)
}

/// What the disk asks for, with no store above it.
fn limits<'a>(parent: &Path) -> Result<[Contender<'a>; 2]> {
    let (mut page, mut run) = (Limit::new(parent)?, Limit::new(parent)?);
    let mut by_page = move || (0..PIECE).try_for_each(|_| page.page());
    let mut by_run = move || (0..PIECE).try_for_each(|_| run.run());
    let piece = |write: &mut dyn FnMut() -> Result<()>| {
        rest();
        time(PIECE, || write().map(|()| None)).map(Some)
    };
    let page = move |_| piece(&mut by_page);
    let run = move |_| piece(&mut by_run);
    Ok([
        Contender::new(limit::NAME, "4 KiB in place", page),
        Contender::new(limit::NAME, "16 KiB behind the last", run),
    ])
}

fn committers(settings: &Settings, name: String, data: &Data, rigs: &[Rig]) -> Result<Row> {
    let row = &name;
    let mut contenders = Vec::new();
    for rig in rigs {
        for threads in COMMITTERS {
            let run = move |round| together(rig, data, threads, row, round).map(Some);
            contenders.push(Contender::new(rig.peer.name, format!("{threads} threads"), run));
        }
    }
    Row::run(name.clone(), "ns/commit", Clock::Wall, settings.rounds.div_ceil(2), contenders)
}

/// Several threads commit one key at a time, until each has done its share.
fn together(rig: &Rig, data: &Data, threads: usize, row: &str, round: usize) -> Result<Sample> {
    let seed = |thread: usize| seed(row, &[threads, round, thread]);
    rig.settle(data)?;
    overwrite(rig, data, WARM_UP, seed(threads))?;
    let share = (2 * PIECE / threads).max(PIECE / 4);
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let work = |thread: usize| {
            barrier.wait();
            overwrite(rig, data, share, seed(thread))
        };
        let running: Vec<_> = (0..threads).map(|t| scope.spawn(move || work(t))).collect();
        // The clock runs before the threads do: this one may be woken long after them.
        time(share * threads, || {
            barrier.wait();
            for thread in running {
                thread.join().expect("no thread panics")?;
            }
            Ok(None)
        })
    })
}
