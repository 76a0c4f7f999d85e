//! The benchmarks of the seed and what is near to them: buckets, tiny transactions, many kinds of
//! change in one transaction. Each with a disk, and in memory for what it costs the processor.

use crate::data::{Data, Kind, Queries};
use crate::engine::{Answer, BUCKET, Batch, Change, Result};
use crate::measure::{Clock, Contender, Row, Sample, time};
use crate::report::Report;
use crate::rig::{Place, Rig, ample_cache, peers};
use crate::settings::Settings;

struct Task {
    name: &'static str,
    unit: &'static str,
    /// Of a timed piece.
    operations: usize,
    /// Keys that the task is about.
    keys: usize,
    held: Held,
    /// Each round begins with a new store.
    is_fresh: bool,
    piece: fn(&Rig, &Data, usize) -> Answer<()>,
}

/// What the store holds at first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// One pair that the task leaves alone. Some stores do not write what leaves an empty bucket
    /// empty, and others do.
    Another,
    /// All keys of the task.
    All,
}

const KEYS: usize = 1_000;
const BUCKETS: usize = 20;
const TRANSACTIONS: usize = 5;
/// Keys of a transaction, with four operations each.
const MIXED_KEYS: usize = 250;

const TASKS: &[Task] = &[
    Task {
        name: "seed/insert_1k_tx",
        unit: "ns/put",
        operations: KEYS,
        keys: KEYS,
        held: Held::Nothing,
        is_fresh: false,
        piece: insert_each,
    },
    Task {
        name: "seed/delete_insert_cycle_1k",
        unit: "ns/removal",
        operations: KEYS,
        keys: KEYS,
        held: Held::All,
        is_fresh: true,
        piece: remove_each,
    },
    Task {
        name: "seed/create_drop_empty_bucket",
        unit: "ns/bucket",
        operations: BUCKETS,
        keys: 1,
        held: Held::Nothing,
        is_fresh: false,
        piece: create_and_drop,
    },
    Task {
        name: "seed/drop_large_bucket_100k",
        unit: "ns/bucket",
        operations: 1,
        keys: 100_000,
        held: Held::All,
        is_fresh: true,
        piece: |rig, _, _| rig.engine.drop_bucket(),
    },
    Task {
        name: "exec-multi/1000-mixed",
        unit: "ns/txn",
        operations: TRANSACTIONS,
        keys: MIXED_KEYS,
        held: Held::Another,
        is_fresh: false,
        piece: mixed,
    },
];

fn insert_each(rig: &Rig, data: &Data, round: usize) -> Answer<()> {
    one_by_one(rig, data, Change::Put(round)).map(Some)
}

fn remove_each(rig: &Rig, data: &Data, _round: usize) -> Answer<()> {
    one_by_one(rig, data, Change::Remove).map(Some)
}

fn one_by_one(rig: &Rig, data: &Data, change: Change) -> Result<()> {
    let mut pairs = 0..data.count as u32;
    pairs.try_for_each(|pair| rig.engine.write(&Batch { data, pairs: &[pair], change }))
}

fn create_and_drop(rig: &Rig, _data: &Data, round: usize) -> Answer<()> {
    for number in 0..BUCKETS {
        if rig.engine.create_and_drop(&format!("{BUCKET}_{round}_{number}"))?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

fn mixed(rig: &Rig, data: &Data, _round: usize) -> Answer<()> {
    let queries = Queries::in_order(data);
    for _ in 0..TRANSACTIONS {
        if rig.engine.mixed(&queries)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for task in TASKS {
        for place in Place::ALL {
            let name = format!("{}/{}", task.name, place.name());
            if report.wants(&name) {
                report.add(task.row(settings, name, place)?)?;
            }
        }
    }
    Ok(())
}

impl Task {
    fn row(&self, settings: &Settings, name: String, place: Place) -> Result<Row> {
        let data = Data::new(Kind::Small, self.keys);
        let mut contenders = Vec::new();
        for peer in peers(settings) {
            if place == Place::Disk && !peer.is_durable {
                continue;
            }
            let data = &data;
            let mut rested: Option<Rig> = None;
            let run = move |round| {
                let rig = match rested.take() {
                    Some(rig) => rig,
                    None => {
                        let rig = Rig::new(peer, place.parent(settings), ample_cache(data))?;
                        match self.held {
                            Held::Nothing => {}
                            Held::Another => rig.load(&Data::new(Kind::Random, 1), &[0])?,
                            Held::All => rig.load(data, &data.in_order())?,
                        }
                        rig
                    }
                };
                let sample = self.sample(&rig, data, round);
                rested = (!self.is_fresh).then_some(rig);
                sample
            };
            contenders.push(Contender::new(peer.name, "", run));
        }
        let clock = if place == Place::Disk { Clock::Wall } else { Clock::Cpu };
        // A thousand syncs of a slow disk take seconds.
        let is_long = place == Place::Disk && self.operations >= KEYS;
        let rounds = settings.rounds.div_ceil(if is_long { 3 } else { 1 });
        Row::run(name, self.unit, clock, rounds, contenders)
    }

    fn sample(&self, rig: &Rig, data: &Data, round: usize) -> Result<Option<Sample>> {
        rig.settle(data)?;
        let mut is_offered = true;
        let sample = time(self.operations, || {
            is_offered = (self.piece)(rig, data, round)?.is_some();
            Ok(None)
        })?;
        Ok(is_offered.then_some(sample))
    }
}
