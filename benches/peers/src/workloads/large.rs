//! Large values: written one a transaction, and read.

use crate::data::{Data, Order, Queries, seed, shuffle};
use crate::engine::{Batch, Form, Result, Scope};
use crate::measure::{Clock, Contender, Row, rest, time};
use crate::report::Report;
use crate::rig::{Place, Rig, ample_cache, peers};
use crate::settings::Settings;
use crate::workloads::read::{WarmAndTimed, form_name};

/// Bytes of a value, how many there are, and the name of that.
const SIZES: [(usize, usize, &str); 3] =
    [(4 << 10, 2_000, "4KiB"), (64 << 10, 500, "64KiB"), (1 << 20, 64, "1MiB")];

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for (bytes, count, size) in SIZES {
        for place in Place::ALL {
            let name = format!("large-values/{size}/put/{}", place.name());
            if report.wants(&name) {
                report.add(puts(settings, name, &Data::random(count, bytes), place)?)?;
            }
        }
        let name = format!("large-values/{size}/get");
        if report.wants(&name) {
            let data = Data::random(count, bytes);
            let rigs = stores(settings, &data)?;
            report.add(gets(settings, name, &data, &rigs)?)?;
        }
    }
    Ok(())
}

fn puts(settings: &Settings, name: String, data: &Data, place: Place) -> Result<Row> {
    let order = data.order(Order::Random);
    let mut contenders = Vec::new();
    for peer in peers(settings) {
        if place == Place::Disk && !peer.is_durable {
            continue;
        }
        let order = &order;
        let run = move |_| {
            let rig = Rig::new(peer, place.parent(settings), ample_cache(data))?;
            rig.settle(data)?;
            let each = |pair| rig.engine.write(&Batch::put(data, &[pair]));
            let sample = time(order.len(), || {
                order.iter().copied().try_for_each(each)?;
                Ok(None)
            });
            sample.map(Some)
        };
        contenders.push(Contender::new(peer.name, "", run));
    }
    let clock = if place == Place::Disk { Clock::Wall } else { Clock::Cpu };
    Row::run(name, "ns/put", clock, settings.rounds.div_ceil(2), contenders)
}

/// Stores that hold all values, each of which was read once, in the order of the keys.
fn stores(settings: &Settings, data: &Data) -> Result<Vec<Rig>> {
    let sorted = Queries::of(data, data.order(Order::Sorted));
    let mut rigs = Vec::new();
    for peer in peers(settings) {
        let rig = Rig::new(peer, &settings.memory, ample_cache(data))?;
        rig.load(data, &data.order(Order::Random))?;
        rig.engine.get(&sorted, Scope::PerGet, Form::Copied)?;
        rigs.push(rig);
    }
    rest();
    Ok(rigs)
}

/// Each form has a third of the values of its own in each round, and warms up with the last third.
pub fn gets(settings: &Settings, name: String, data: &Data, rigs: &[Rig]) -> Result<Row> {
    let queries = |form: Form, round| {
        let mut pairs = data.in_order();
        shuffle(&mut pairs, seed(&name, &[round]));
        let third = |part: usize| {
            let len = data.count / 3;
            Queries::of(data, pairs[part * len..][..len].to_vec())
        };
        WarmAndTimed { warm: third(2), timed: third(form as usize) }
    };
    let queries = &queries;
    let mut contenders = Vec::new();
    for rig in rigs {
        for form in [Form::Borrowed, Form::Copied] {
            if form == Form::Borrowed && !rig.peer.lends {
                continue;
            }
            let run = move |round| {
                let get = |keys: &Queries| rig.engine.get(keys, Scope::PerGet, form);
                queries(form, round).look_up(settings, data, get)
            };
            contenders.push(Contender::new(rig.peer.name, form_name(form), run));
        }
    }
    Row::run(name.clone(), "ns/get", Clock::Wall, settings.rounds, contenders)
}
