//! Point reads, scans and seeks, with every page in memory.

use crate::data::{Data, Kind, Order, Queries, Spread};
use crate::engine::{Answer, Direction, Form, Result, Scope, Seen};
use crate::measure::{Clock, Contender, Row, Sample, burst};
use crate::report::Report;
use crate::rig::{Rig, ample_cache, peers};
use crate::settings::{Settings, short};
use crate::system;
use std::sync::Barrier;
use std::time::Instant;

/// From this many keys on, files lie on the disk, in the system's cache.
const LARGE: usize = 5_000_000;
/// Keys that are looked up together.
const GROUP: usize = 16;
/// Entries of a timed piece of seeks, about.
const SEEK_ENTRIES: usize = 50_000;

#[derive(Clone, Copy)]
enum Question {
    Get(Spread, Scope, usize),
    GetMany,
    Scan(Direction),
    Seek(usize),
}

impl Question {
    fn name(self, kind: Kind, count: usize) -> String {
        let data = format!("{}/{}", format!("{kind:?}").to_lowercase(), short(count));
        match self {
            Question::Get(spread, scope, threads) => {
                let spread = format!("{spread:?}").to_lowercase();
                let scope = if scope == Scope::PerGet { "txn-per-get" } else { "long-txn" };
                format!("get/{data}/{spread}/{scope}/{threads}t")
            }
            Question::GetMany => format!("get-many/{data}/{GROUP}"),
            Question::Scan(direction) => {
                format!("scan/{data}/{}", format!("{direction:?}").to_lowercase())
            }
            Question::Seek(entries) => format!("seek/{data}/{entries}"),
        }
    }
}

fn questions() -> Vec<Question> {
    let mut list = Vec::new();
    for spread in [Spread::Uniform, Spread::Zipf] {
        for scope in [Scope::PerGet, Scope::Long] {
            list.extend([1, 2, 4].map(|threads| Question::Get(spread, scope, threads)));
        }
    }
    list.push(Question::GetMany);
    list.extend([Direction::Forwards, Direction::Backwards].map(Question::Scan));
    list.extend([10, 100].map(Question::Seek));
    list
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    for kind in [Kind::Small, Kind::Random] {
        for count in settings.counts.iter().copied() {
            let mut wanted = questions();
            wanted.retain(|question| report.wants(&question.name(kind, count)));
            if !wanted.is_empty() {
                run_on(settings, report, kind, count, &wanted)?;
            }
        }
    }
    Ok(())
}

fn run_on(
    settings: &Settings,
    report: &mut Report,
    kind: Kind,
    count: usize,
    wanted: &[Question],
) -> Result<()> {
    let data = Data::new(kind, count);
    let order = data.order(Order::Random);
    let parent = if count >= LARGE { &settings.disk } else { &settings.memory };
    let mut rigs = Vec::new();
    for peer in peers(settings) {
        let start = Instant::now();
        let rig = Rig::new(peer, parent, ample_cache(&data))?;
        rig.load(&data, &order)?;
        rigs.push(rig);
        report.note(&format!("{} has {count} pairs after {:.1?}", peer.name, start.elapsed()));
    }
    for rig in &rigs {
        rig.engine.scan(Direction::Forwards)?;
    }
    for question in wanted {
        let name = question.name(kind, count);
        let row = match *question {
            Question::Get(spread, scope, threads) => {
                let gets = Gets { settings, data: &data, spread, scope, threads };
                gets.row(name, &rigs)
            }
            Question::GetMany => get_many(settings, &data, name, &rigs),
            Question::Scan(direction) => scan(settings, &data, name, &rigs, direction),
            Question::Seek(entries) => seek(settings, &data, name, &rigs, entries),
        };
        report.add(row?)?;
    }
    Ok(())
}

/// Which gets are timed.
struct Gets<'a> {
    settings: &'a Settings,
    data: &'a Data,
    spread: Spread,
    scope: Scope,
    threads: usize,
}

impl Gets<'_> {
    fn row(&self, name: String, rigs: &[Rig]) -> Result<Row> {
        let mut contenders = Vec::new();
        for rig in rigs {
            for form in [Form::Borrowed, Form::Copied] {
                if form == Form::Copied || rig.peer.lends {
                    let run = move |round| self.piece(rig, form, round);
                    contenders.push(Contender::new(rig.peer.name, form_name(form), run));
                }
            }
        }
        Row::run(name, "ns/get", Clock::Wall, self.settings.rounds, contenders)
    }

    fn queries(&self, round: usize, thread: usize) -> Queries {
        let seed = ((round + 1) * 64 + thread) as u64;
        Queries::new(self.data, self.spread, self.settings.queries, seed)
    }

    fn piece(&self, rig: &Rig, form: Form, round: usize) -> Result<Option<Sample>> {
        // Other keys than those of the timed piece; the same number, so that caches are as in a
        // longer run.
        let warm_up = self.queries(round, 63);
        if rig.engine.get(&warm_up, self.scope, form)?.is_none() {
            return Ok(None);
        }
        let queries: Vec<Queries> = (0..self.threads).map(|t| self.queries(round, t)).collect();
        if let [queries] = queries.as_slice() {
            let get = || rig.engine.get(queries, self.scope, form);
            return burst(self.settings, queries.len(), get).map(Some);
        }
        self.by_threads(rig, form, &queries).map(Some)
    }

    /// All threads at once, each bound to a processor.
    fn by_threads(&self, rig: &Rig, form: Form, queries: &[Queries]) -> Result<Sample> {
        let barrier = Barrier::new(queries.len());
        let work = |thread: usize, queries: &Queries| -> Result<(Instant, Instant, Option<Seen>)> {
            system::pin(thread);
            // Before the barrier, so that all are woken at once.
            let _urgent = self.settings.burst.then(system::Urgent::begin);
            barrier.wait();
            let start = Instant::now();
            let seen = rig.engine.get(queries, self.scope, form)?;
            Ok((start, Instant::now(), seen))
        };
        let cpu = system::process_cpu();
        let done: Result<Vec<_>> = std::thread::scope(|scope| {
            let threads: Vec<_> = queries
                .iter()
                .enumerate()
                .map(|(thread, queries)| scope.spawn(move || work(thread, queries)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let cpu = system::process_cpu().saturating_sub(cpu);
        let done = done?;
        let start = done.iter().map(|(start, ..)| *start).min();
        let end = done.iter().map(|(_, end, _)| *end).max();
        let wall = end.zip(start).map_or_else(Default::default, |(end, start)| end - start);
        let mut sum = Seen::default();
        for (.., seen) in done {
            let seen = seen.unwrap_or_default();
            sum.entries += seen.entries;
            sum.sum += seen.sum;
        }
        std::thread::sleep(if self.settings.burst { wall * 2 } else { Default::default() });
        let operations = queries.iter().map(Queries::len).sum::<usize>() as u64;
        Ok(Sample { operations, wall, cpu, seen: Some(sum), ..Sample::default() })
    }
}

pub fn form_name(form: Form) -> &'static str {
    if form == Form::Borrowed { "borrowed" } else { "copied" }
}

/// Warms up with one set of queries and times another.
fn warm_and_time(
    settings: &Settings,
    data: &Data,
    count: usize,
    round: usize,
    work: impl Fn(&Queries) -> Answer<Seen>,
) -> Result<Option<Sample>> {
    let queries = |seed| Queries::new(data, Spread::Uniform, count, seed);
    if work(&queries(1_000 + round as u64))?.is_none() {
        return Ok(None);
    }
    let queries = queries(round as u64);
    burst(settings, queries.len(), || work(&queries)).map(Some)
}

fn get_many(settings: &Settings, data: &Data, name: String, rigs: &[Rig]) -> Result<Row> {
    let mut contenders = Vec::new();
    for rig in rigs {
        let many = move |round| {
            let work = |queries: &Queries| rig.engine.get_many(queries, GROUP);
            warm_and_time(settings, data, settings.queries, round, work)
        };
        let single = move |round| {
            let work = |queries: &Queries| rig.engine.get(queries, Scope::Long, Form::Borrowed);
            warm_and_time(settings, data, settings.queries, round, work)
        };
        contenders.push(Contender::new(rig.peer.name, "many", many));
        if rig.peer.lends {
            contenders.push(Contender::new(rig.peer.name, "one by one", single));
        }
    }
    Row::run(name, "ns/get", Clock::Wall, settings.rounds, contenders)
}

fn scan(
    settings: &Settings,
    data: &Data,
    name: String,
    rigs: &[Rig],
    direction: Direction,
) -> Result<Row> {
    let mut contenders = Vec::new();
    for rig in rigs {
        let run = move |_| {
            let sample = burst(settings, data.count, || rig.engine.scan(direction))?;
            Ok(sample.seen.is_some().then_some(sample))
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    Row::run(name, "ns/entry", Clock::Wall, settings.rounds, contenders)
}

fn seek(
    settings: &Settings,
    data: &Data,
    name: String,
    rigs: &[Rig],
    entries: usize,
) -> Result<Row> {
    let count = (SEEK_ENTRIES / entries).max(100);
    let mut contenders = Vec::new();
    for rig in rigs {
        let run = move |round| {
            let work = |queries: &Queries| rig.engine.seek(queries, entries);
            warm_and_time(settings, data, count, round, work)
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    Row::run(name, "ns/seek", Clock::Wall, settings.rounds, contenders)
}
