//! How large the files are, by the bytes of the pairs in them.

use crate::data::{Data, Kind, Order};
use crate::engine::{Batch, Result, directory_bytes};
use crate::measure::{Clock, Contender, Row, Sample};
use crate::report::Report;
use crate::rig::{Rig, ample_cache, peers};
use crate::settings::{Settings, short};

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for kind in [Kind::Small, Kind::Random] {
        for count in settings.counts.iter().copied() {
            let name = format!("size/{}/{}", format!("{kind:?}").to_lowercase(), short(count));
            for moment in [Moment::Loaded, Moment::Compacted] {
                let name = format!("{name}/{}", format!("{moment:?}").to_lowercase());
                if report.wants(&name) {
                    report.add(row(settings, name, &Data::new(kind, count), moment)?)?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// All pairs were put in random order, in one transaction.
    Loaded,
    /// And then the store was compacted.
    Compacted,
}

/// Sizes are the same each time; so one round is enough.
fn row(settings: &Settings, name: String, data: &Data, moment: Moment) -> Result<Row> {
    let order = data.order(Order::Random);
    let mut contenders = Vec::new();
    for peer in peers(settings) {
        if !peer.is_durable || data.count > peer.bulk_most {
            continue;
        }
        let order = &order;
        let run = move |_| {
            let mut rig = Rig::new(peer, &settings.memory, ample_cache(data))?;
            rig.engine.write(&Batch::put(data, order))?;
            let bytes = match moment {
                Moment::Loaded => Some(directory_bytes(rig.scratch.path())?),
                Moment::Compacted => rig.engine.compact(rig.scratch.path())?,
            };
            Ok(bytes.map(|bytes| Sample::figure(bytes as f64 / data.bytes() as f64)))
        };
        contenders.push(Contender::new(peer.name, "", run));
    }
    Row::run(name, "x data", Clock::Figure, 1, contenders)
}
