//! Loading, batches and removal: what they cost the processor, and what they cost with a disk.

use crate::data::{Data, Kind, Order};
use crate::engine::{Batch, Change, Result};
use crate::measure::{Clock, Contender, Row, Sample, time};
use crate::report::Report;
use crate::rig::{Place, Rig, ample_cache, peers};
use crate::settings::{Settings, short};

const BATCH: usize = 1_000;
const SMALL: usize = 100_000;

#[derive(Clone, Copy)]
enum Question {
    /// All in one transaction.
    Load(Order),
    /// From nothing, in transactions of a thousand.
    Batches,
    /// A random half, in one transaction.
    RemoveHalf,
}

impl Question {
    fn name(self, kind: Kind, count: usize, place: Place) -> String {
        let data = format!("{}/{}", format!("{kind:?}").to_lowercase(), short(count));
        let place = place.name();
        match self {
            Question::Load(order) => {
                format!("load/{data}/{}/{place}", format!("{order:?}").to_lowercase())
            }
            Question::Batches => format!("batches/{data}/{BATCH}/{place}"),
            Question::RemoveHalf => format!("remove-half/{data}/{place}"),
        }
    }

    /// Many small transactions say the same of a small store, in less time.
    fn is_asked(self, count: usize, place: Place) -> bool {
        match self {
            Question::Load(_) => true,
            Question::Batches => count <= SMALL,
            Question::RemoveHalf => count <= SMALL || place == Place::Memory,
        }
    }
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let orders = [Order::Random, Order::Sorted].map(Question::Load);
    let questions = orders.into_iter().chain([Question::Batches, Question::RemoveHalf]);
    for question in questions {
        for kind in [Kind::Small, Kind::Random] {
            for count in settings.counts.iter().copied() {
                for place in Place::ALL {
                    let name = question.name(kind, count, place);
                    if question.is_asked(count, place) && report.wants(&name) {
                        report.add(row(settings, question, name, kind, count, place)?)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn row(
    settings: &Settings,
    question: Question,
    name: String,
    kind: Kind,
    count: usize,
    place: Place,
) -> Result<Row> {
    let data = Data::new(kind, count);
    let order =
        data.order(if let Question::Load(order) = question { order } else { Order::Random });
    let clock = if place == Place::Disk { Clock::Wall } else { Clock::Cpu };
    let mut contenders = Vec::new();
    for peer in peers(settings) {
        let is_asked = place == Place::Memory || peer.is_durable;
        if !is_asked || count > peer.bulk_most {
            continue;
        }
        let (data, order) = (&data, &order);
        let rig = move || -> Result<Rig> {
            let rig = Rig::new(peer, place.parent(settings), ample_cache(data))?;
            if let Question::RemoveHalf = question {
                rig.load(data, order)?;
            }
            Ok(rig)
        };
        let run = move |_| piece(question, &rig()?, data, order).map(Some);
        contenders.push(Contender::new(peer.name, "", run));
        if let Question::Load(Order::Sorted) = question {
            let append = move |_| append(&rig()?, data, order);
            contenders.push(Contender::new(peer.name, "append", append));
        }
    }
    let share = if count > SMALL { 3 } else { 2 };
    Row::run(name, "ns/pair", clock, settings.rounds.div_ceil(share), contenders)
}

/// Loads by what the engine has for sorted pairs.
fn append(rig: &Rig, data: &Data, order: &[u32]) -> Result<Option<Sample>> {
    rig.settle(data)?;
    let mut is_offered = true;
    let sample = time(order.len(), || {
        is_offered = rig.engine.write_sorted(&Batch::put(data, order))?.is_some();
        Ok(None)
    })?;
    Ok(is_offered.then_some(sample))
}

fn piece(question: Question, rig: &Rig, data: &Data, order: &[u32]) -> Result<Sample> {
    rig.settle(data)?;
    let engine = &rig.engine;
    match question {
        Question::Load(_) => time(order.len(), || {
            engine.write(&Batch::put(data, order))?;
            Ok(None)
        }),
        Question::Batches => time(order.len(), || {
            order.chunks(BATCH).try_for_each(|pairs| engine.write(&Batch::put(data, pairs)))?;
            Ok(None)
        }),
        Question::RemoveHalf => {
            let half = &order[..order.len() / 2];
            time(half.len(), || {
                engine.write(&Batch { data, pairs: half, change: Change::Remove })?;
                Ok(None)
            })
        }
    }
}
