//! Point reads, scans and seeks, with every page in memory.

use crate::data::{Data, Kind, Order, Queries, Spread, seed};
use crate::engine::{Answer, Direction, Form, Result, Scope, Seen};
use crate::measure::{Clock, Contender, Row, Sample, burst, pause, rest};
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
/// Threads that read at once, at most.
const THREADS_MAX: usize = 4;
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
            list.extend([1, 2, THREADS_MAX].map(|threads| Question::Get(spread, scope, threads)));
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
    rigs.iter().try_for_each(|rig| read_all(rig, count))?;
    rest();
    for question in wanted {
        let name = question.name(kind, count);
        let row = match *question {
            Question::Get(spread, scope, threads) => {
                Gets { settings, data: &data, name, spread, scope, threads }.row(&rigs)
            }
            Question::GetMany => get_many(settings, &data, name, &rigs),
            Question::Scan(direction) => scan(settings, &data, name, &rigs, direction),
            Question::Seek(entries) => seek(settings, &data, name, &rigs, entries),
        };
        report.add(row?)?;
    }
    Ok(())
}

/// Brings every page into memory. An engine may hold a cache for each thread; so as many threads as
/// will read later do so, where there is memory for that.
fn read_all(rig: &Rig, count: usize) -> Result<()> {
    let threads = if count < LARGE { THREADS_MAX } else { 1 };
    std::thread::scope(|scope| {
        let scan = || rig.engine.scan(Direction::Forwards).map(|_| ());
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(scan)).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })
}

/// Which gets are timed.
pub struct Gets<'a> {
    pub settings: &'a Settings,
    pub data: &'a Data,
    pub name: String,
    pub spread: Spread,
    pub scope: Scope,
    pub threads: usize,
}

impl Gets<'_> {
    pub fn row(&self, rigs: &[Rig]) -> Result<Row> {
        let mut contenders = Vec::new();
        for rig in rigs {
            for form in [Form::Borrowed, Form::Copied] {
                if form == Form::Copied || rig.peer.lends {
                    let run = move |round| self.piece(rig, form, round);
                    contenders.push(Contender::new(rig.peer.name, form_name(form), run));
                }
            }
        }
        Row::run(self.name.clone(), "ns/get", Clock::Wall, self.settings.rounds, contenders)
    }

    fn piece(&self, rig: &Rig, form: Form, round: usize) -> Result<Option<Sample>> {
        let count = self.settings.queries;
        let queries = |thread| {
            let piece = [form as usize, round, thread];
            WarmAndTimed::new(self.data, self.spread, count, &self.name, &piece)
        };
        let queries: Vec<WarmAndTimed> = (0..self.threads).map(queries).collect();
        if let [queries] = queries.as_slice() {
            let get = |queries: &Queries| rig.engine.get(queries, self.scope, form);
            return queries.look_up(self.settings, self.data, get);
        }
        self.by_threads(rig, form, &queries).map(Some)
    }

    /// All threads at once, each bound to a processor and warmed up there.
    fn by_threads(&self, rig: &Rig, form: Form, queries: &[WarmAndTimed]) -> Result<Sample> {
        let barrier = Barrier::new(queries.len());
        let now = || (Instant::now(), system::process_cpu());
        let work = |thread: usize, queries: &WarmAndTimed| -> Result<_> {
            system::pin(thread);
            // A thread that fails here must not leave the others at the barrier.
            let warm = rig.engine.get(&queries.warm, self.scope, form);
            // Before the barrier, so that all are woken at once.
            let _urgent = self.settings.burst.then(system::Urgent::begin);
            barrier.wait();
            warm?;
            let start = now();
            let seen = rig.engine.get(&queries.timed, self.scope, form)?;
            let end = now();
            queries.check(self.data, seen)?;
            Ok((start, end))
        };
        let done: Result<Vec<_>> = std::thread::scope(|scope| {
            let threads: Vec<_> = queries
                .iter()
                .enumerate()
                .map(|(thread, queries)| scope.spawn(move || work(thread, queries)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        // From when the first begins to when the last ends. Both clocks only go forwards, and are
        // read together.
        let (starts, ends): (Vec<_>, Vec<_>) = done?.into_iter().unzip();
        let (Some(start), Some(end)) = (starts.iter().min(), ends.iter().max()) else {
            return Err("there is no thread".into());
        };
        let (wall, cpu) = (end.0 - start.0, end.1.saturating_sub(start.1));
        pause(wall);
        let operations = queries.iter().map(|queries| queries.timed.len()).sum::<usize>() as u64;
        Ok(Sample { operations, wall, cpu, ..Sample::default() })
    }
}

pub fn form_name(form: Form) -> &'static str {
    if form == Form::Borrowed { "borrowed" } else { "copied" }
}

/// The keys of a piece, and others to warm up with: as many, so that caches are as in a longer run.
pub struct WarmAndTimed {
    pub warm: Queries,
    pub timed: Queries,
}

impl WarmAndTimed {
    /// Keys of this piece of a row; another asks for the same ones only by chance.
    pub fn new(
        data: &Data,
        spread: Spread,
        count: usize,
        row: &str,
        piece: &[usize],
    ) -> WarmAndTimed {
        let list = |part| Queries::new(data, spread, count, seed(row, &[piece, &[part]].concat()));
        WarmAndTimed { warm: list(0), timed: list(1) }
    }

    /// Warms up and times.
    fn run(
        &self,
        settings: &Settings,
        work: impl Fn(&Queries) -> Answer<Seen>,
    ) -> Result<Option<Sample>> {
        if work(&self.warm)?.is_none() {
            return Ok(None);
        }
        burst(settings, self.timed.len(), || work(&self.timed)).map(Some)
    }

    /// Warms up and times gets, which have to see what was stored.
    pub fn look_up(
        &self,
        settings: &Settings,
        data: &Data,
        get: impl Fn(&Queries) -> Answer<Seen>,
    ) -> Result<Option<Sample>> {
        let Some(sample) = self.run(settings, get)? else { return Ok(None) };
        self.check(data, sample.seen)?;
        Ok(Some(sample))
    }

    fn check(&self, data: &Data, seen: Option<Seen>) -> Result<()> {
        let expected = Some(Seen::expected(data, &self.timed));
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}").into()) }
    }
}

/// The forms ask for keys of their own: those of one would be in the processor's caches for the
/// other. Each has to see what was stored.
pub fn get_many(settings: &Settings, data: &Data, name: String, rigs: &[Rig]) -> Result<Row> {
    let queries = |form: usize, round| {
        WarmAndTimed::new(data, Spread::Uniform, settings.queries, &name, &[form, round])
    };
    let queries = &queries;
    let mut contenders = Vec::new();
    for rig in rigs {
        let many = move |round| {
            let get = |keys: &Queries| rig.engine.get_many(keys, GROUP);
            queries(0, round).look_up(settings, data, get)
        };
        let single = move |round| {
            let get = |keys: &Queries| rig.engine.get(keys, Scope::Long, Form::Borrowed);
            queries(1, round).look_up(settings, data, get)
        };
        contenders.push(Contender::new(rig.peer.name, "many", many));
        if rig.peer.lends {
            contenders.push(Contender::new(rig.peer.name, "one by one", single));
        }
    }
    Row::run(name.clone(), "ns/get", Clock::Wall, settings.rounds, contenders)
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
    let row = &name;
    let mut contenders = Vec::new();
    for rig in rigs {
        let run = move |round| {
            let queries = WarmAndTimed::new(data, Spread::Uniform, count, row, &[round]);
            queries.run(settings, |keys| rig.engine.seek(keys, entries))
        };
        contenders.push(Contender::new(rig.peer.name, "", run));
    }
    Row::run(name.clone(), "ns/seek", Clock::Wall, settings.rounds, contenders)
}
