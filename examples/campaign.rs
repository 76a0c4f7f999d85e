//! A campaign: random transactions beside a model, with everything that a disk may do to them.
//!
//! ```text
//! cargo run --release --features sim --example campaign                # 100,000 transactions
//! cargo run --release --features sim --example campaign 5000 77        # how many, first seed
//! cargo run --release --features sim --example campaign replay 77      # one session again
//! ```
//!
//! A session is forty transactions on one disk: of 512 or 4,096 bytes a page, of one barrier or
//! two, of any kind of disk that keeps its promises. The power fails inside of them, and inside of
//! the recoveries, up to three times in a row; the disk is full; syncs fail in the five ways; the
//! process ends without a power failure, with its cache kept or evicted. After each, the store
//! holds a state between the last that was acknowledged and the last that had begun, as the model
//! has it; every page has its owner; and it goes on. A session that fails is made smaller before
//! it is shown.

use btree_store::sim::oracle::{
    Data, End, Ending, Exec, Handle, KeyShape, Op, Oracle, Step, ValueShape, Workload, Write,
    compare,
};
use btree_store::sim::{
    DataSync, Errno, Failure, Fault, Growth, OpSet, Profile, Seeded, SimDisk, SyncFailure, When,
    minimise,
};
use btree_store::{Barriers, Options};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const PATH: &str = "store";
const TRANSACTIONS: u64 = 100_000;
const PER_SESSION: u64 = 40;
const NESTED_MAX: u32 = 3;

/// What happens while a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Nothing,
    /// The power fails inside of an operation, counted from the transaction's begin.
    PowerOff(u64),
    Fault(Fault),
    /// The process ends after it.
    Kill,
}

/// A transaction, what happens to it, and the seed of all else.
#[derive(Clone, Debug)]
struct Act {
    op: Op,
    event: Event,
    seed: u64,
}

#[derive(Clone, Debug)]
struct Session {
    page_size: u32,
    barriers: Barriers,
    profile: Profile,
    acts: Vec<Act>,
}

/// What a campaign did.
#[derive(Default)]
struct Counts {
    transactions: AtomicU64,
    power_failures: AtomicU64,
    nested: AtomicU64,
    full: AtomicU64,
    syncs: [AtomicU64; SYNC_FAILURES.len()],
    kills: AtomicU64,
}

const SYNC_FAILURES: [SyncFailure; 5] = [
    SyncFailure::Drop,
    SyncFailure::Keep,
    SyncFailure::Revert,
    SyncFailure::Late,
    SyncFailure::NoSpace,
];

fn one_of<T: Copy>(random: &mut Seeded, of: &[T]) -> T {
    of[random.below(u32::try_from(of.len()).unwrap_or(1)) as usize]
}

impl Session {
    fn new(seed: u64, len: u64) -> Session {
        let mut random = Seeded::new(seed);
        let page_size = one_of(&mut random, &[512, 512, 4096]);
        let barriers = one_of(&mut random, &[Barriers::One, Barriers::Two]);
        let profile = Profile {
            sector_bytes: one_of(&mut random, &[512, 512, 64, 4096]),
            growth: one_of(&mut random, &[Growth::Zeros, Growth::Stale]),
            data_sync: one_of(&mut random, &[DataSync::KeepsSize, DataSync::LosesSize]),
            ..Profile::default()
        };
        let keys = one_of(&mut random, &[KeyShape::Mixed, KeyShape::Sequential, KeyShape::Longest]);
        let values = one_of(&mut random, &[ValueShape::Small, ValueShape::Mixed, ValueShape::Edge]);
        let mut workload = Workload::new(page_size, keys, values);
        workload.key_count = one_of(&mut random, &[10, 40, 150]);
        workload.bucket_count = 3;
        let acts = (0..len).map(|_| {
            let op = workload.op(&mut random);
            let event = Event::random(&mut random, &op);
            Act { op, event, seed: random.next_u64() }
        });
        Session { page_size, barriers, profile, acts: acts.collect() }
    }

    fn open(&self, disk: &SimDisk) -> btree_store::Result<Handle> {
        let options = Options::new()
            .page_size(self.page_size)
            .barriers(self.barriers)
            .cache_bytes(u64::from(self.page_size) * 8)
            .vfs(disk.vfs());
        Handle::open(options, PATH)
    }

    fn run(&self, counts: &Counts) -> Result<(), String> {
        let disk = SimDisk::with_profile(self.profile);
        let mut store = self.open(&disk).map_err(|error| error.to_string())?;
        let mut oracle = Oracle::new(self.page_size);
        for (number, act) in self.acts.iter().enumerate() {
            let told = |what: String| format!("transaction {number}: {what}");
            store = self.step(&disk, store, &mut oracle, act, counts).map_err(told)?;
            oracle.forget_before(oracle.seq());
        }
        Ok(())
    }

    /// Runs one transaction, and goes on from what is left of it.
    fn step(
        &self,
        disk: &SimDisk,
        mut store: Handle,
        oracle: &mut Oracle,
        act: &Act,
        counts: &Counts,
    ) -> Result<Handle, String> {
        counts.transactions.fetch_add(1, Ordering::Relaxed);
        let mut random = Seeded::new(act.seed);
        disk.choose_from(Seeded::new(random.next_u64()));
        act.event.inject(disk);
        let low = oracle.seq();
        let found = store.run(&act.op);
        let wanted = oracle.apply(&act.op);
        let commits_any_number = may_compact(&act.op);
        if act.event == Event::Nothing {
            if found != wanted {
                return Err(format!("{:?} answers {found:?}, not {wanted:?}", act.op));
            }
            oracle.follow(store.db().current_seq());
            return Ok(store);
        }
        act.event.count(counts);
        // What a compaction had committed before it failed holds the same contents.
        if commits_any_number {
            oracle.follow(low + 1000);
        }
        let is_done = found == wanted && found.end == Ending::Done && !commits_any_number;
        let low = if is_done && !act.event.may_lie() { oracle.seq() } else { low };
        let left = Left { disk, low, is_lying: act.event.may_lie() };
        disk.clear_faults();
        Session::go_on_open(&store, oracle, &left, &act.event)?;
        self.restart(store, oracle, &left, act, &mut random, counts)
    }

    /// An error means a state that had begun, to those who read, while the process goes on.
    fn go_on_open(
        store: &Handle,
        oracle: &Oracle,
        left: &Left<'_>,
        event: &Event,
    ) -> Result<(), String> {
        if !store.is_open() || matches!(event, Event::PowerOff(_)) {
            return Ok(());
        }
        let seq = store.db().current_seq();
        let mut seen = oracle.clone();
        if seq < left.low || !seen.recover(seq) {
            return Err(format!("state {seq} is shown, {} was acknowledged", left.low));
        }
        compare(store.db(), seen.now()).map_err(|what| format!("{event:?}, still open: {what}"))
    }

    /// Ends the process, perhaps with a power failure, perhaps with more while it comes back.
    fn restart(
        &self,
        store: Handle,
        oracle: &mut Oracle,
        left: &Left<'_>,
        act: &Act,
        random: &mut Seeded,
        counts: &Counts,
    ) -> Result<Handle, String> {
        let disk = left.disk;
        let power_fails = matches!(act.event, Event::PowerOff(_)) || random.below(2) == 0;
        // Closing commits nothing, but after a sync that lied it may cover the state before.
        if !power_fails && random.below(2) == 0 && !left.is_lying {
            drop(store);
        } else {
            disk.kill();
            drop(store);
        }
        disk.kill();
        if power_fails {
            disk.crash();
            for _ in 0..random.below(NESTED_MAX + 1) {
                counts.nested.fetch_add(1, Ordering::Relaxed);
                let at = When::Once(u64::from(random.below(24)));
                disk.inject(Fault::new(OpSet::ALL, at, Failure::PowerOff));
                let opened = self.open(disk);
                disk.crash();
                drop(opened);
            }
        } else if random.below(3) == 0 {
            disk.evict();
        }
        let mut opened = self.open(disk);
        // A failure that is told late comes now, once.
        if left.is_lying && opened.is_err() {
            disk.kill();
            opened = self.open(disk);
        }
        let opened = opened.map_err(|error| {
            let detail = error.detail().map_or_else(String::new, |detail| detail.to_string());
            format!("after {:?} the store does not open: {error}: {detail}", act.event)
        })?;
        let seq = opened.db().current_seq();
        if seq < left.low || !oracle.recover(seq) {
            let (low, high) = (left.low, oracle.seq());
            return Err(format!("after {:?} state {seq} is none of {low}..={high}", act.event));
        }
        compare(opened.db(), oracle.now())
            .map_err(|what| format!("after {:?}, state {seq}: {what}", act.event))?;
        let report = opened.db().verify().map_err(|error| error.to_string())?;
        if !report.is_sound() {
            return Err(format!("after {:?}, state {seq}: {report}", act.event));
        }
        if left.is_lying { self.hear_late(opened, oracle, left) } else { Ok(opened) }
    }

    /// Goes on until whatever is still to be told late is told.
    fn hear_late(
        &self,
        opened: Handle,
        oracle: &mut Oracle,
        left: &Left<'_>,
    ) -> Result<Handle, String> {
        // Each time another entry: what changes nothing is not synced, and hears nothing.
        let key = Data::from(oracle.seq().to_be_bytes());
        if opened.db().exec("late", |txn| txn.put(key.bytes(), "")).is_err() {
            left.disk.kill();
        }
        drop(opened);
        let again = self.open(left.disk).map_err(|error| error.to_string())?;
        let bucket = "late".to_owned();
        let steps = vec![Step::Write(Write::Put(key, Data::from("")))];
        oracle.apply(&Op::Exec(Exec { bucket, steps, end: End::Commit }));
        let seq = again.db().current_seq();
        if seq < left.low || !oracle.recover(seq) {
            return Err(format!("after a failure told late state {seq} is found"));
        }
        compare(again.db(), oracle.now()).map_err(|what| format!("told late: {what}"))?;
        Ok(again)
    }
}

/// What an event leaves behind.
struct Left<'d> {
    disk: &'d SimDisk,
    /// The oldest state that may be found.
    low: u64,
    is_lying: bool,
}

fn may_compact(op: &Op) -> bool {
    format!("{op:?}").contains("Compact(")
}

impl Event {
    fn random(random: &mut Seeded, op: &Op) -> Event {
        let text = format!("{op:?}");
        // A call that holds several commits of which one fails has more than two outcomes.
        let is_single = matches!(op, Op::Exec(_) | Op::Multi { .. } | Op::DelBucket(_))
            && !text.contains("Nest(");
        match random.below(100) {
            0..14 => Event::PowerOff(u64::from(random.below(30))),
            14..22 if is_single => {
                let when = When::From(u64::from(random.below(5)));
                Event::Fault(Fault::new(OpSet::WRITES, when, Failure::Error(Errno::Enospc)))
            }
            22..40 if is_single => {
                let failure = Failure::Sync(one_of(random, &SYNC_FAILURES));
                let when = When::Once(u64::from(random.below(2)));
                Event::Fault(Fault::new(OpSet::SYNCS, when, failure))
            }
            40..44 => Event::Kill,
            _ => Event::Nothing,
        }
    }

    fn inject(self, disk: &SimDisk) {
        match self {
            Event::PowerOff(at) => {
                disk.inject(Fault::new(OpSet::ALL, When::Once(at), Failure::PowerOff));
            }
            Event::Fault(fault) => disk.inject(fault),
            Event::Nothing | Event::Kill => {}
        }
    }

    /// Whether a sync may have reported success although it failed.
    fn may_lie(self) -> bool {
        format!("{self:?}").contains("Sync(Late)")
    }

    fn count(self, counts: &Counts) {
        let text = format!("{self:?}");
        let count = match self {
            Event::Nothing => return,
            Event::PowerOff(_) => &counts.power_failures,
            Event::Kill => &counts.kills,
            Event::Fault(_) => {
                let is_it = |how: &SyncFailure| text.contains(&format!("Sync({how:?})"));
                SYNC_FAILURES.iter().position(is_it).map_or(&counts.full, |at| &counts.syncs[at])
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs a session; if it fails, makes it smaller and tells of it.
fn run(seed: u64, counts: &Counts) -> Option<String> {
    let session = Session::new(seed, PER_SESSION);
    let what = session.run(counts).err()?;
    let unused = Counts::default();
    let with = |acts: &[Act]| Session { acts: acts.to_vec(), ..session.clone() };
    let acts = minimise(&session.acts, |acts| with(acts).run(&unused).is_err());
    let smallest = with(&acts);
    let what = smallest.run(&unused).err().unwrap_or(what);
    let mut story = format!("seed {seed}: {what}\n{:?}, {:?}", session.profile, session.barriers);
    for act in &acts {
        let op: String = format!("{:?}", act.op).chars().take(600).collect();
        write!(story, "\n  {op}\n    {:?}, seed {}", act.event, act.seed).expect("text is taken");
    }
    Some(story)
}

fn campaign(transactions: u64, first: u64) -> ExitCode {
    let begin = Instant::now();
    let (counts, next) = (Counts::default(), AtomicU64::new(first));
    let last = first + transactions.div_ceil(PER_SESSION);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut stories = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                return stories;
            }
            stories.extend(run(seed, &counts));
        }
    };
    let stories: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<String>>| {
            thread.join().expect("a session panics only when the store does")
        };
        running.into_iter().flat_map(join).collect()
    });
    for story in stories.iter().take(3) {
        println!("{story}");
    }
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "seeds {first}..{last}: {} transactions, {} sessions fail; {} power failures inside of \
         transactions, {} more inside of recoveries; {} full disks; {} processes ended",
        of(&counts.transactions),
        stories.len(),
        of(&counts.power_failures),
        of(&counts.nested),
        of(&counts.full),
        of(&counts.kills),
    );
    for (how, count) in SYNC_FAILURES.iter().zip(&counts.syncs) {
        println!("  syncs that fail as {how:?}: {}", of(count));
    }
    println!("{:.0} s on {threads} threads", begin.elapsed().as_secs_f64());
    if stories.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<u64>().ok();
    match args.as_slice() {
        [] => campaign(TRANSACTIONS, 1),
        [word, seed] if word == "replay" => {
            let story = number(seed).and_then(|seed| run(seed, &Counts::default()));
            println!("{}", story.as_deref().unwrap_or("it passes"));
            if story.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        [transactions] => campaign(number(transactions).unwrap_or(TRANSACTIONS), 1),
        [transactions, seed, ..] => {
            campaign(number(transactions).unwrap_or(TRANSACTIONS), number(seed).unwrap_or(1))
        }
    }
}
