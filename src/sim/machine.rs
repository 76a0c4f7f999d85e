//! The machine behind a simulated disk: it carries out operations and loses power.
//!
//! Owns: [`Machine`]: the state, the source of choices, the fault plan, the locks, the recording
//! of crash points, the trace, the marks.
//! Must not know: who explores.
//! Keeps: state, choices and plan decide every answer.

use super::arena::{Arena, Mark as ArenaMark, mix};
use super::chooser::Chooser;
use super::fault::{Errno, Failure, Plan};
use super::file::{FileState, Scope};
use super::guard::Guard;
use super::looks::Looks;
use super::monitor::Monitor;
use super::paths::{PathId, Paths};
use super::points::{Mark, Moment, Recorder};
use super::profile::Profile;
use super::requests::{Request, Requests};
use super::state::{DiskState, Snapshot};
use super::trace::{Op, OpKind, Outcome, Trace};
use super::{count, index};
use crate::vfs::LockMode;
use std::io;

/// Contents are cleared up when they exceed this many bytes, or twice what is in use.
pub(super) const CLEAR_UP_BYTES: usize = 64 << 20;

/// Operations of one run at most while it is explored: more is a loop that does not end.
const OPERATIONS_MAX: u64 = 10_000_000;
/// Those of them that a fault strikes at most. Each sync is a crash point that is kept, so that as
/// many as the others do not fit into memory.
const FAILURES_MAX: u64 = 10_000;
/// Those of them without power at most.
const REFUSED_MAX: u64 = 100_000;
const NO_END: &str = "the run has no end";

/// A lock on a file.
#[derive(Debug)]
pub(super) struct Lock {
    pub(super) file: u32,
    pub(super) handle: u64,
    pub(super) mode: LockMode,
}

/// An operation that a fault has struck; where it began, if it was a transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Struck {
    pub(super) kind: OpKind,
    pub(super) offset: u64,
    pub(super) failure: Failure,
}

/// An open file, as its handle knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    pub(super) file: u32,
    pub(super) number: u64,
    pub(super) path: PathId,
    pub(super) writable: bool,
    pub(super) generation: u64,
}

/// Everything behind a disk.
pub(super) struct Machine {
    pub(super) profile: Profile,
    pub(super) arena: Arena,
    pub(super) paths: Paths,
    pub(super) state: DiskState,
    pub(super) chooser: Chooser,
    pub(super) plan: Plan,
    pub(super) trace: Option<Trace>,
    pub(super) marks: Vec<Mark>,
    /// Behind which operation each mark was left, while a trace is kept from the beginning.
    pub(super) marked_behind: Vec<u64>,
    pub(super) recorder: Recorder,
    pub(super) monitor: Option<Box<dyn Monitor>>,
    pub(super) guard: Option<Guard>,
    pub(super) looks: Looks,
    pub(super) violation: Option<String>,
    /// What was asked for since the state was loaded, as a hash.
    pub(super) asked: u64,
    /// What is being asked for.
    pub(super) request: Request,
    /// What was asked for since the state was loaded, if somebody compares it.
    pub(super) requests: Option<Requests>,
    /// The number of the last operation before that.
    first_operation: u64,
    /// Whether anybody asked for an operation, or looked at a file, since the disk was made.
    pub(super) is_used: bool,
    pub(super) counts: [u64; OpKind::COUNT],
    /// The number of the latest operation.
    pub(super) operation: u64,
    /// Counts restarts; handles of an earlier one are dead.
    pub(super) generation: u64,
    pub(super) powered: bool,
    /// Operations that a fault made fail since the state was loaded.
    failures: u64,
    /// Operations without power since the state was loaded.
    refused: u64,
    /// Looks that are no operations since the state was loaded.
    looked: u64,
    /// Whether contents may be renumbered: nobody outside holds a state.
    pub(super) clears_up: bool,
    pub(super) clear_up_at: usize,
    pub(super) locks: Vec<Lock>,
    /// What faults have struck since the state was loaded.
    pub(super) struck: Vec<Struck>,
    pub(super) handles: u64,
}

impl Machine {
    pub(super) fn new(profile: Profile) -> Machine {
        Machine {
            profile,
            arena: Arena::new(index(profile.sector_bytes)),
            paths: Paths::default(),
            state: DiskState::default(),
            chooser: Chooser::newest(),
            plan: Plan::default(),
            trace: None,
            marks: Vec::new(),
            marked_behind: Vec::new(),
            recorder: Recorder::default(),
            monitor: None,
            guard: None,
            looks: Looks::default(),
            violation: None,
            asked: 0,
            request: Request::default(),
            requests: None,
            first_operation: 0,
            is_used: false,
            counts: [0; OpKind::COUNT],
            operation: 0,
            generation: 0,
            powered: true,
            failures: 0,
            refused: 0,
            looked: 0,
            clears_up: true,
            clear_up_at: CLEAR_UP_BYTES,
            locks: Vec::new(),
            struck: Vec::new(),
            handles: 0,
        }
    }

    /// Starts over from `state` after operation number `operation`, without a process.
    pub(super) fn load(&mut self, state: &DiskState, operation: u64) {
        self.state.copy_from(state);
        self.operation = operation;
        self.first_operation = operation;
        self.asked = 0;
        self.boot();
        self.plan.reset();
        self.marks.clear();
        self.marked_behind.clear();
        self.monitor = None;
        self.violation = None;
        self.struck.clear();
        (self.failures, self.refused, self.looked) = (0, 0, 0);
        self.counts = [0; OpKind::COUNT];
        if let Some(trace) = &mut self.trace {
            trace.clear();
        }
        if let Some(requests) = &mut self.requests {
            requests.clear();
        }
    }

    /// Becomes a snapshot's disk.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        self.profile = snapshot.held.profile;
        self.arena.copy_from(&snapshot.held.arena);
        self.arena.forget_origins();
        self.paths = snapshot.held.paths.clone();
        self.load(&snapshot.held.state, 0);
        self.state.names.forget_operations();
    }

    /// Decides whatever is open.
    pub(super) fn decide_all(&mut self) {
        for number in 0..self.state.files.len() {
            self.with_file(count(number), FileState::decide_all);
        }
        self.state.names.decide_all(&mut self.chooser);
    }

    /// Makes everything durable, as the process sees it.
    pub(super) fn settle(&mut self) {
        self.decide_all();
        for file in &mut self.state.files {
            file.settle();
        }
        self.state.names.settle();
    }

    /// Ends the process: its handles are dead, its locks are free. The page cache stays.
    pub(super) fn restart(&mut self) {
        self.generation += 1;
        self.locks.clear();
        if let Some(guard) = &mut self.guard {
            guard.look_again();
        }
    }

    /// Loses power and starts again.
    pub(super) fn crash(&mut self) {
        self.state.crash(&mut self.arena);
        self.boot();
        self.plan.clear();
    }

    /// Starts with nothing in the page cache.
    fn boot(&mut self) {
        self.restart();
        self.powered = true;
        if let Some(guard) = &mut self.guard {
            guard.reset();
        }
    }

    /// Has files lose some of what is clean in the page cache.
    pub(super) fn evict_with(&mut self, evict: impl Fn(&mut FileState)) {
        self.state.files.iter_mut().for_each(evict);
        if let Some(guard) = &mut self.guard {
            guard.look_again();
        }
    }

    pub(super) fn arena_mark(&self) -> ArenaMark {
        self.arena.mark()
    }

    /// Counts an operation, keeps a crash point if one is wanted here, and asks for a fault.
    pub(super) fn begin(&mut self, kind: OpKind) -> io::Result<Option<Failure>> {
        self.operation += 1;
        self.counts[kind as usize] += 1;
        self.note_operation(kind);
        self.chooser.done = self.asked;
        self.is_used = true;
        if !self.powered {
            self.note_refusal();
            return Err(power_is_off());
        }
        if !self.clears_up && self.operation - self.first_operation > OPERATIONS_MAX {
            self.take_verdict(Err(NO_END.to_owned()));
            self.powered = false;
            return Err(power_is_off());
        }
        if self.recorder.records_before(kind) {
            self.record(Some(kind));
        }
        self.strike(kind)
    }

    /// Counts an operation that a fault makes fail. A run that tries again and again loses its
    /// power.
    fn note_failure(&mut self) {
        self.failures += 1;
        if !self.clears_up && self.failures > FAILURES_MAX {
            self.take_verdict(Err(NO_END.to_owned()));
            self.powered = false;
        }
    }

    /// Counts an operation without power, with a file of a process that is gone, or one that fails
    /// and has no number. A run that goes on all the same is ended by a panic, but not by a second
    /// one, which aborts.
    pub(super) fn note_refusal(&mut self) {
        self.refused += 1;
        self.end_beyond(self.refused, REFUSED_MAX);
    }

    /// Counts a look that is no operation. A run that does nothing else is ended in the same way.
    pub(super) fn note_look(&mut self) {
        self.looked += 1;
        self.end_beyond(self.looked, OPERATIONS_MAX);
    }

    fn end_beyond(&mut self, count: u64, max: u64) {
        if !self.clears_up && count > max && !std::thread::panicking() {
            self.take_verdict(Err(NO_END.to_owned()));
            panic!("{NO_END}");
        }
    }

    /// Asks for a fault.
    fn strike(&mut self, kind: OpKind) -> io::Result<Option<Failure>> {
        if self.plan.is_empty() {
            return Ok(None);
        }
        let failure = self.plan.strike(kind, self.operation, &mut self.chooser);
        if let Some(failure) = failure {
            self.struck.push(Struck { kind, offset: self.request.offset, failure });
            // A transfer that is only short gets on.
            if !matches!(failure, Failure::Short(1..)) {
                self.note_failure();
            }
        }
        match failure {
            Some(Failure::Error(errno)) => Err(errno.error()),
            Some(Failure::PowerOff) => {
                self.power_off(Some(kind));
                Err(power_is_off())
            }
            Some(Failure::Sync(_)) if !kind.writes_back() => Err(Errno::Eio.error()),
            failure => Ok(failure),
        }
    }

    /// Counts what has no number among the operations, so that tokens mean the same whether it is
    /// asked for or not, and asks for a fault.
    pub(super) fn begin_aside(&mut self, kind: OpKind) -> io::Result<Option<Failure>> {
        self.counts[kind as usize] += 1;
        if !self.powered {
            self.note_refusal();
            return Err(power_is_off());
        }
        let failure = self.strike(kind);
        if !matches!(failure, Ok(None)) {
            self.note_operation(kind);
        }
        failure
    }

    /// Switches the power off; what is called from now on fails.
    pub(super) fn power_off(&mut self, kind: Option<OpKind>) {
        // What has no number among the operations has recorded nothing when it began.
        let is_recorded = kind.is_some_and(|kind| self.recorder.records_before(kind));
        if self.powered && !is_recorded {
            self.record(kind);
        }
        self.powered = false;
    }

    /// Leaves a mark. Without power nobody is there to leave one.
    pub(super) fn mark(&mut self, mark: Mark) {
        if self.powered {
            if self.recorder.records_marks() {
                self.record(None);
            }
            self.marks.push(mark);
            if self.trace.is_some() {
                self.marked_behind.push(self.operation);
            }
        }
    }

    /// Keeps the present moment as a crash point.
    pub(super) fn record(&mut self, before: Option<OpKind>) {
        let moment = Moment {
            before,
            operation: self.operation,
            state: &self.state,
            marks: self.marks.len(),
        };
        self.recorder.record(&moment, &mut self.chooser);
    }

    /// Notes an operation that ended.
    pub(super) fn end<T>(&mut self, op: Op, result: &io::Result<T>, done: impl FnOnce(&T) -> u64) {
        if let Some(trace) = &mut self.trace {
            let outcome = match result {
                Ok(value) => Outcome::Done(done(value)),
                Err(error) => Outcome::Failed(error.kind()),
            };
            trace.push(Op { number: self.operation, outcome, ..op });
        }
    }

    /// Takes note of a path that the run names. It is the same in each run: a path keeps its
    /// number.
    pub(super) fn note_path(&mut self, path: PathId) {
        self.asked = mix(self.asked, path.number());
        self.request = Request::of_path(path);
    }

    /// Takes note of the path that a renaming asks for.
    pub(super) fn note_target(&mut self, path: PathId) {
        self.asked = mix(self.asked, path.number());
        self.request.to = Some(path);
    }

    /// Takes note of the operation that is asked for.
    fn note_operation(&mut self, kind: OpKind) {
        self.asked = mix(self.asked, kind as u64);
        self.keep_request(Some(kind));
    }

    /// Keeps what is asked for; what has no kind is no operation.
    pub(super) fn keep_request(&mut self, kind: Option<OpKind>) {
        if let Some(requests) = &mut self.requests {
            requests.push(Request { number: self.operation, kind, ..self.request });
        }
    }

    pub(super) fn alive(&mut self, handle: &Handle) -> io::Result<()> {
        self.asked = mix(self.asked, u64::from(handle.file));
        self.request = Request::of_file(handle.file);
        if handle.generation == self.generation {
            return Ok(());
        }
        self.note_refusal();
        Err(io::Error::other("the simulated machine was restarted since this file was opened"))
    }

    /// Runs `act` on a file with all it needs.
    pub(super) fn with_file<R>(
        &mut self,
        file: u32,
        act: impl FnOnce(&mut FileState, &mut Scope<'_>) -> R,
    ) -> R {
        let mut scope = Scope {
            arena: &mut self.arena,
            choose: &mut self.chooser,
            file,
            operation: self.operation,
        };
        act(&mut self.state.files[index(file)], &mut scope)
    }
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the simulated machine has no power")
}

pub(super) fn file_op(kind: OpKind, file: Option<u32>, offset: u64, len: u64) -> Op {
    Op { number: 0, kind, file, offset, len, checksum: 0, outcome: Outcome::Done(0) }
}
