//! One timed piece, and a row of them in turn.
//!
//! A machine that others use too changes from second to second. So nothing is compared across
//! rounds: in each round every contender runs once, in another order each time, and a ratio is one
//! of two pieces of the same round. A short piece runs at a priority above the neighbours', and is
//! followed by a pause. No piece begins while an engine still works on an earlier one.

use crate::engine::{Result, Seen};
use crate::engines::OURS;
use crate::settings::Settings;
use crate::system;
use std::time::{Duration, Instant};

/// Pauses are this many times as long as the bursts before them.
const PAUSE_FACTOR: u32 = 2;
/// A process that is at rest takes no more than one part in so many of a processor.
const BUSY_PART: u32 = 20;
/// And what this thread's own sleep takes.
const SLEEP_COST: Duration = Duration::from_micros(100);

const REST_STEP: Duration = Duration::from_millis(20);
const REST_STEPS_MAX: usize = 250;

/// What judges a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// CPU time of the whole process: for what never waits for the disk.
    Cpu,
    /// Time on the wall: for what waits for the disk or for other threads.
    Wall,
    /// The sample's own figure, which is no time.
    Figure,
}

/// What one timed piece cost, all its operations together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub operations: u64,
    pub wall: Duration,
    pub cpu: Duration,
    /// Bytes given to write calls.
    pub bytes: u64,
    pub syncs: u64,
    pub seen: Option<Seen>,
    /// Where time is not the question.
    pub figure: f64,
}

impl Sample {
    /// What the row compares: nanoseconds an operation, or the figure.
    pub fn value(&self, clock: Clock) -> f64 {
        let per_operation = |time: Duration| time.as_nanos() as f64 / self.operations.max(1) as f64;
        match clock {
            Clock::Cpu => per_operation(self.cpu),
            Clock::Wall => per_operation(self.wall),
            Clock::Figure => self.figure,
        }
    }

    pub fn figure(figure: f64) -> Sample {
        Sample { operations: 1, figure, ..Sample::default() }
    }
}

/// Waits until what other engines left running has come to an end, and gives back the memory that
/// they freed: otherwise the next one's first large request puts all of it in order.
pub fn rest() {
    system::give_back_memory();
    for _ in 0..REST_STEPS_MAX {
        let cpu = system::process_cpu();
        std::thread::sleep(REST_STEP);
        if system::process_cpu().saturating_sub(cpu) < REST_STEP / BUSY_PART {
            return;
        }
    }
}

/// Lets neighbours run after a burst, and waits longer if an engine still works behind it.
pub fn pause(burst: Duration) {
    let (cpu, length) = (system::process_cpu(), burst * PAUSE_FACTOR);
    std::thread::sleep(length);
    if system::process_cpu().saturating_sub(cpu) > length / BUSY_PART + SLEEP_COST {
        rest();
    }
}

/// Times one piece.
pub fn time(operations: usize, piece: impl FnOnce() -> Result<Option<Seen>>) -> Result<Sample> {
    let (bytes, syncs) = (system::bytes_written(), system::syncs());
    let (cpu, start) = (system::process_cpu(), Instant::now());
    let seen = piece()?;
    let (wall, cpu) = (start.elapsed(), system::process_cpu().saturating_sub(cpu));
    Ok(Sample {
        operations: operations as u64,
        wall,
        cpu,
        bytes: system::bytes_written() - bytes,
        syncs: system::syncs() - syncs,
        seen,
        figure: 0.0,
    })
}

/// Times a piece of some milliseconds above the neighbours, and pauses.
pub fn burst(
    settings: &Settings,
    operations: usize,
    piece: impl FnOnce() -> Result<Option<Seen>>,
) -> Result<Sample> {
    let urgent = settings.burst.then(system::Urgent::begin);
    let sample = time(operations, piece);
    drop(urgent);
    let sample = sample?;
    pause(sample.wall);
    Ok(sample)
}

/// The order of a round's contenders: from one on to both sides by turns, and each round from the
/// next one on. So each takes every place once in as many rounds, and none always runs behind the
/// same other, whose marks on caches and memory would be its alone (the squares of E. J. Williams).
pub fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    let side =
        move |step: usize| if step.is_multiple_of(2) { step / 2 } else { count - step.div_ceil(2) };
    (0..count).map(move |step| (round + side(step)) % count)
}

type Run<'a> = Box<dyn FnMut(usize) -> Result<Option<Sample>> + 'a>;

/// One way to do a row's work: called once a round.
pub struct Contender<'a> {
    pub engine: &'static str,
    pub form: String,
    run: Run<'a>,
}

impl<'a> Contender<'a> {
    pub fn new(
        engine: &'static str,
        form: impl Into<String>,
        run: impl FnMut(usize) -> Result<Option<Sample>> + 'a,
    ) -> Contender<'a> {
        Contender { engine, form: form.into(), run: Box::new(run) }
    }
}

/// All samples of one contender, one a round.
pub struct Series {
    pub engine: &'static str,
    pub form: String,
    pub samples: Vec<Sample>,
}

impl Series {
    pub fn name(&self) -> String {
        match self.form.as_str() {
            "" => self.engine.to_owned(),
            form => format!("{} ({form})", self.engine),
        }
    }

    pub fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(value).collect())
    }
}

/// What one question came to.
pub struct Row {
    pub name: String,
    /// Of one operation's value.
    pub unit: String,
    pub clock: Clock,
    pub series: Vec<Series>,
}

impl Row {
    /// Runs the contenders in turn.
    pub fn run(
        name: String,
        unit: &str,
        clock: Clock,
        rounds: usize,
        mut contenders: Vec<Contender<'_>>,
    ) -> Result<Row> {
        let empty = |contender: &Contender<'_>| Series {
            engine: contender.engine,
            form: contender.form.clone(),
            samples: Vec::with_capacity(rounds),
        };
        let mut series: Vec<Series> = contenders.iter().map(empty).collect();
        for round in 0..rounds {
            // Forms ask for keys of their own; so sums agree within a form.
            let mut seen: Vec<(usize, Seen)> = Vec::new();
            for at in turns(round, contenders.len()) {
                let failed = |error| format!("{name}: {}: {error}", series[at].name());
                let Some(sample) = (contenders[at].run)(round).map_err(failed)? else { continue };
                let known = seen.iter().find(|(other, _)| series[*other].form == series[at].form);
                if let (Some(now), Some((other, then))) = (sample.seen, known)
                    && now != *then
                {
                    let (who, other) = (series[at].name(), series[*other].name());
                    return Err(format!("{name}: {who} saw {now:?}, {other} {then:?}").into());
                }
                seen.extend(sample.seen.map(|now| (at, now)));
                series[at].samples.push(sample);
            }
        }
        series.retain(|series| series.samples.len() == rounds);
        Ok(Row { name, unit: unit.to_owned(), clock, series })
    }

    pub fn find(&self, engine: &str, form: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.engine == engine && series.form == form)
    }

    /// The median of the first's value by the second's, within each round.
    pub fn ratio(&self, first: &Series, second: &Series) -> f64 {
        let pairs = first.samples.iter().zip(&second.samples);
        median(pairs.map(|(a, b)| a.value(self.clock) / b.value(self.clock)).collect())
    }

    /// Our series that is compared with another: the one of the same form, or our first.
    pub fn ours_for(&self, other: &Series) -> Option<&Series> {
        let mut ours = self.series.iter().filter(|series| series.engine == OURS);
        self.find(OURS, &other.form).or_else(|| ours.next())
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}
