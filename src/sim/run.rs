//! An exploration under way.
//!
//! Owns: [`Run`]: it loads the disk, runs workload and check, crashes, and goes on to the next
//! vector of choices; [`Settings`], what it is told to do.
//! Must not know: what is checked.
//! Keeps: a search that did not end is never a pass; a failure comes with what repeats it.

use super::arena::{Mark as ArenaMark, mix};
use super::choose::{Choose, Exhaustive, NOT_REPEATED};
use super::chooser::Chooser;
use super::crash::{Checked, Crash, Level};
use super::disk::SimDisk;
use super::paths::Paths;
use super::points::{CrashPoints, Images, Keep, Mark, Point};
use super::profile::Profile;
use super::report::{PointReport, Report, Verdict, Violation};
use super::requests::{Asked, Requests};
use super::state::{DiskState, Snapshot};
use super::token::{Path, Step};
use crate::error::{DetailedError, Error};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod replay;

type Workload<'a> = &'a mut dyn FnMut(&SimDisk) -> Checked;
type Check<'a> = &'a mut dyn FnMut(&SimDisk, &Crash) -> Checked;

/// How often the first run of a workload is had again.
const FIRST_REPEATS: u32 = 8;
/// What is wrong where everything passes, and nothing was asked of the disk.
const UNUSED: &str = "neither the workload nor the check has used the simulated disk, so that no \
                      crash was explored: open the store with `Options::vfs(disk.vfs())`";

/// What an exploration is told to do.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) start: Option<Snapshot>,
    /// Crashes after the first.
    pub(super) nested: u32,
    pub(super) executions_max: u64,
    pub(super) at: CrashPoints,
    pub(super) images: Images,
    /// Part, parts: the crash points that this exploration takes.
    pub(super) shard: (u32, u32),
}

/// An exploration under way.
pub(super) struct Run<'a> {
    settings: &'a Settings,
    disk: SimDisk,
    workload: Workload<'a>,
    check: Check<'a>,
    report: Report,
    crash: Crash,
    path: Path,
    /// Crash points of each level, kept for their memory.
    pools: Vec<Vec<Point>>,
    /// Runs at each level.
    runs: Vec<u64>,
    /// What crashes left so far: the disk and the marks, as hashes.
    seen: BTreeSet<(u64, u64)>,
    /// What the last run at each level asked for.
    requests: Vec<Requests>,
    failed: Option<Failed>,
    /// Whether a workload or a check has used the disk.
    is_used: bool,
    /// How the latest replay of what failed was unlike that, if it was.
    unlike: Option<String>,
}

/// A run that failed.
struct Failed {
    message: String,
    path: Path,
    /// What it asked for, and the runs that it crashed.
    requests: Vec<Requests>,
    paths: Paths,
}

impl<'a> Run<'a> {
    pub(super) fn new(settings: &'a Settings, workload: Workload<'a>, check: Check<'a>) -> Run<'a> {
        Run {
            settings,
            disk: SimDisk::with_profile(settings.profile),
            workload,
            check,
            report: Report::new(&settings.name),
            crash: Crash::default(),
            path: Path::default(),
            pools: Vec::new(),
            runs: Vec::new(),
            seen: BTreeSet::new(),
            requests: Vec::new(),
            failed: None,
            is_used: false,
            unlike: None,
        }
    }

    /// Puts the disk into its first state, and returns that.
    fn begin(&mut self) -> DiskState {
        let mut machine = self.disk.machine();
        if let Some(start) = &self.settings.start {
            machine.restore(start);
        }
        machine.clears_up = false;
        machine.requests = Some(Requests::default());
        machine.state.clone()
    }

    /// Runs everything.
    pub(super) fn explore(&mut self) {
        let start = self.begin();
        let flow = self.level(0, &start, 0);
        debug_assert_eq!(flow.is_break(), self.report.verdict != Verdict::Verified);
        // A part of a search may have no crash point, and look at nothing.
        let has_looked = self.report.executions > 0;
        if flow.is_continue() && has_looked && !self.is_used {
            self.report.verdict = Verdict::Violated;
            self.report.violation = Some(Violation {
                message: UNUSED.to_owned(),
                token: self.path.to_token(&self.settings.name),
                story: "there was nothing that a power failure could change".to_owned(),
            });
        }
    }

    /// Runs everything that can follow `start`.
    fn level(&mut self, level: usize, start: &DiskState, operation: u64) -> ControlFlow<()> {
        let floor = self.disk.machine().arena_mark();
        let mut search = Exhaustive::new();
        loop {
            let report = &self.report;
            let spent = if level == 0 { report.workload_runs } else { report.executions };
            if spent >= self.settings.executions_max {
                self.report.verdict = Verdict::Unverified;
                return ControlFlow::Break(());
            }
            self.load(level, start, operation, Chooser::search(search));
            let outcome = self.run(level);
            let points = self.take_points(level);
            let marks = std::mem::take(&mut self.disk.machine().marks);
            let Some(found) = self.take_search() else {
                self.keep_requests(level);
                return self.fail(OWN_SOURCE.to_owned());
            };
            search = found;
            self.note_choices(level, search.choices());
            let is_whole = outcome.is_ok();
            let outcome = outcome.and_then(|()| not_repeated(&search));
            let mut outcome = outcome.map_err(|message| self.with_unlike(level, is_whole, message));
            self.keep_requests(level);
            for _ in 0..self.repeats(level) {
                outcome =
                    outcome.and_then(|()| self.run_again(level, start, operation, &search, &marks));
            }
            if let Err(message) = outcome {
                return self.fail(message);
            }
            let flow = self.crash_at_each(level, &points, &marks);
            self.give_points_back(level, points);
            flow?;
            self.disk.machine().arena.truncate(floor);
            if !search.advance() {
                return ControlFlow::Continue(());
            }
        }
    }

    fn load(&mut self, level: usize, start: &DiskState, operation: u64, chooser: Chooser) {
        let keep = if level <= self.nested() { Keep::New } else { Keep::Nothing };
        let pool = self.pools.get_mut(level).map(std::mem::take).unwrap_or_default();
        let mut machine = self.disk.machine();
        machine.load(start, operation);
        machine.is_used = false;
        machine.chooser = chooser;
        machine.recorder.start(keep, self.settings.at, pool);
        if level > 0 && self.settings.images == Images::Eager {
            machine.decide_all();
        }
    }

    fn nested(&self) -> usize {
        super::index(self.settings.nested)
    }

    /// Runs the workload, or the check after the `level`-th crash, and counts it.
    fn run(&mut self, level: usize) -> Result<(), String> {
        let outcome = self.call(level);
        if level == 0 {
            self.report.workload_runs += 1;
        } else {
            self.report.executions += 1;
        }
        let mut machine = self.disk.machine();
        let is_used = std::mem::take(&mut machine.is_used);
        self.is_used |= is_used;
        if level > 0 && is_used {
            self.report.looks += 1;
        }
        if level == 0 && machine.plan.has_ever_struck() {
            self.report.struck_runs += 1;
        }
        self.report.trace = mix(self.report.trace, machine.asked);
        outcome
    }

    /// Counts a run, and says how often it is had again: a few are. A run shares the choices before
    /// its last one with others, and what it does until then is compared anyway. The first run of
    /// the workload, mostly the only one, is had often enough that an order of two, which chance
    /// gives, is not the same in each. Of the checks the first, mostly of a disk with nothing on
    /// it, is not the one to take.
    fn repeats(&mut self, level: usize) -> u32 {
        self.runs.resize(self.runs.len().max(level + 1), 0);
        self.runs[level] += 1;
        let number = self.runs[level];
        if (level, number) == (0, 1) {
            return FIRST_REPEATS;
        }
        u32::from(number.is_power_of_two() && number.trailing_zeros() % 5 == u32::from(level > 0))
    }

    /// Has the run that just ended once more, uncounted: it has to do the same, to its end.
    fn run_again(
        &mut self,
        level: usize,
        start: &DiskState,
        operation: u64,
        search: &Exhaustive,
        marks: &[Mark],
    ) -> Result<(), String> {
        let asked = self.disk.machine().asked;
        self.load(level, start, operation, Chooser::search(search.again()));
        self.disk.machine().recorder.start(Keep::Nothing, self.settings.at, Vec::new());
        let outcome = self.call(level);
        let is_whole = outcome.is_ok();
        let again = self.take_search();
        let machine = self.disk.machine();
        let outcome = match outcome {
            Err(message) if message.contains(NOT_REPEATED) => Err(message),
            Err(message) => Err(format!("{NOT_REPEATED}: it passed, and then: {message}")),
            Ok(()) if machine.asked != asked => {
                Err(format!("{NOT_REPEATED}: run again, it makes other operations"))
            }
            Ok(()) if machine.marks != marks => {
                let (before, now) = unlike_marks(marks, &machine.marks);
                Err(format!(
                    "{NOT_REPEATED}: run again, it leaves other marks: {now}, not {before}"
                ))
            }
            Ok(()) => match again {
                Some(again) if again.choices().len() != search.choices().len() => {
                    Err(format!("{NOT_REPEATED}: run again, it asks more, or less"))
                }
                Some(again) => not_repeated(&again),
                None => Err(format!("{NOT_REPEATED}: run again, it brings choices of its own")),
            },
        };
        drop(machine);
        outcome.map_err(|message| self.with_unlike(level, is_whole, message))
    }

    /// A message, and if it says that the run which just ended did not do again what the one before
    /// it did, the first thing that it did otherwise.
    fn with_unlike(&self, level: usize, is_whole: bool, message: String) -> String {
        let before = self.requests.get(level).filter(|_| message.contains(NOT_REPEATED));
        let machine = self.disk.machine();
        let (Some(before), Some(requests)) = (before, &machine.requests) else { return message };
        let paths = &machine.paths;
        let before = Asked { requests: before, paths, is_whole: true };
        let unlike = Asked { requests, paths, is_whole }.first_unlike(&before);
        unlike.map_or(message.clone(), |unlike| format!("{message}; {unlike}"))
    }

    /// Keeps what the run that just ended asked for.
    fn keep_requests(&mut self, level: usize) {
        self.requests.resize_with(self.requests.len().max(level + 1), Requests::default);
        if let Some(requests) = &mut self.disk.machine().requests {
            std::mem::swap(requests, &mut self.requests[level]);
        }
    }

    /// Calls the workload, or the check after the `level`-th crash.
    fn call(&mut self, level: usize) -> Result<(), String> {
        let (disk, crash) = (&self.disk, &self.crash);
        let (workload, check) = (&mut self.workload, &mut self.check);
        let result = catch_unwind(AssertUnwindSafe(|| {
            if level == 0 { workload(disk) } else { check(disk, crash) }
        }));
        let violation = self.disk.machine().violation.take();
        if let Some(violation) = violation {
            return Err(violation);
        }
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(told(error.as_ref())),
            Err(panic) => Err(format!("panic: {}", panic_text(panic.as_ref()))),
        }
    }

    /// The crash points of the run that just ended, its end included.
    fn take_points(&mut self, level: usize) -> Vec<Point> {
        let mut machine = self.disk.machine();
        if machine.powered && level <= self.nested() {
            machine.record(None);
        }
        machine.recorder.take()
    }

    fn give_points_back(&mut self, level: usize, points: Vec<Point>) {
        while self.pools.len() <= level {
            self.pools.push(Vec::new());
        }
        self.pools[level] = points;
    }

    /// The search, if the run has left it its place: with other choices it saw one image of many.
    fn take_search(&mut self) -> Option<Exhaustive> {
        let chooser = std::mem::replace(&mut self.disk.machine().chooser, Chooser::newest());
        chooser.into_search()
    }

    fn note_choices(&mut self, level: usize, choices: Vec<u32>) {
        match level.checked_sub(1) {
            None => self.path.workload = choices,
            Some(step) => self.path.steps[step].choices = choices,
        }
    }

    fn fail(&mut self, message: String) -> ControlFlow<()> {
        self.note_failure(message);
        ControlFlow::Break(())
    }

    fn note_failure(&mut self, message: String) {
        self.report.verdict = Verdict::Violated;
        self.failed = Some(Failed {
            message,
            path: self.path.clone(),
            requests: std::mem::take(&mut self.requests),
            paths: self.disk.machine().paths.clone(),
        });
    }

    /// Lets the power fail at each of the points, and runs everything that can follow.
    fn crash_at_each(&mut self, level: usize, points: &[Point], marks: &[Mark]) -> ControlFlow<()> {
        for point in points.iter().filter(|point| point.kept) {
            let (part, parts) = self.settings.shard;
            if level == 0 && point.number % parts != part {
                continue;
            }
            let (crashed, floor) = self.crashed(point);
            let executions_before = self.report.executions;
            self.crash
                .levels
                .push(Level { operation: point.operation, marks: marks[..point.marks].to_vec() });
            if !self.is_unseen(&crashed) {
                self.report.repeated += 1;
                self.crash.levels.pop();
                self.disk.machine().arena.truncate(floor);
                continue;
            }
            self.path.steps.push(Step { point: point.number, choices: Vec::new() });
            let flow = self.level(level + 1, &crashed, point.operation);
            self.path.steps.pop();
            self.crash.levels.pop();
            if level == 0 {
                self.report_point(point, &crashed, executions_before);
            }
            flow?;
            self.disk.machine().arena.truncate(floor);
        }
        ControlFlow::Continue(())
    }

    /// Whether no crash before this one left the same disk after the same marks: what can
    /// follow then has been seen.
    fn is_unseen(&mut self, crashed: &DiskState) -> bool {
        let machine = self.disk.machine();
        let marks = self.crash.levels.iter().flat_map(|level| {
            let numbers = level.marks.iter().flat_map(|mark| mark.number());
            numbers.chain([u64::MAX])
        });
        let marks = marks.fold(0, mix);
        self.seen.insert((crashed.hash(&machine.arena), marks))
    }

    /// The disk after a crash at `point`, and where the arena ended before.
    fn crashed(&self, point: &Point) -> (DiskState, ArenaMark) {
        let mut machine = self.disk.machine();
        let floor = machine.arena_mark();
        let mut crashed = point.state.clone();
        crashed.crash(&mut machine.arena);
        (crashed, floor)
    }

    fn report_point(&mut self, point: &Point, crashed: &DiskState, executions_before: u64) {
        let log2_images = crashed.log2_images(&self.disk.machine().arena);
        self.report.points.push(PointReport {
            number: point.number,
            operation: point.operation,
            before: point.before,
            executions: self.report.executions - executions_before,
            log2_images,
        });
    }

    /// One run of the workload, one crash, one check; perhaps further crashes.
    pub(super) fn sample(&mut self, source: Box<dyn Choose + Send>) {
        self.report.verdict = Verdict::Unverified;
        let mut state = self.begin();
        let mut operation = 0;
        let mut chooser = Chooser::given(source).keep_answers();
        for level in 0.. {
            self.load(level, &state, operation, chooser);
            let keep = if level <= self.nested() { Keep::Sampled } else { Keep::Nothing };
            self.disk.machine().recorder.start(keep, self.settings.at, Vec::new());
            let outcome = self.run(level);
            self.keep_requests(level);
            if let Some(point) = self.report.points.last_mut() {
                point.executions = self.report.executions;
            }
            let points = self.take_points(level);
            chooser = std::mem::replace(&mut self.disk.machine().chooser, Chooser::newest());
            if !chooser.keeps_answers() {
                return self.note_failure(OWN_SOURCE.to_owned());
            }
            self.note_choices(level, chooser.take_choices());
            if let Err(message) = outcome {
                self.note_failure(message);
                return;
            }
            let Some(point) = points.iter().find(|point| point.kept) else { return };
            let (crashed, _) = self.crashed(point);
            if level == 0 {
                self.report_point(point, &crashed, self.report.executions);
            }
            let marks = std::mem::take(&mut self.disk.machine().marks);
            let marks = marks[..point.marks].to_vec();
            self.crash.levels.push(Level { operation: point.operation, marks });
            self.path.steps.push(Step { point: point.number, choices: Vec::new() });
            state = crashed;
            operation = point.operation;
        }
    }
}

/// With other choices than those that it is asked for, a run is another each time.
const OWN_SOURCE: &str = "the run brings a source of choices of its own";

fn not_repeated(search: &Exhaustive) -> Result<(), String> {
    if search.asked_all() {
        return Ok(());
    }
    Err(format!("{NOT_REPEATED}: it asked less than before, or something else"))
}

/// The first marks of two runs that are not the same.
fn unlike_marks(before: &[Mark], now: &[Mark]) -> (String, String) {
    let same = before.iter().zip(now).take_while(|(before, now)| before == now).count();
    let told = |marks: &[Mark]| marks.get(same).map_or("none".to_owned(), Mark::to_string);
    (told(before), told(now))
}

/// An error with what is known beyond its name.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<Error>() {
        Some(error) => DetailedError::from(*error).to_string(),
        None => error.to_string(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
