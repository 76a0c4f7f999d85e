//! The short story of a run.
//!
//! Owns: [`Story`]: the operations, where the power failed, what survived, what was found.
//! Must not know: how the run was chosen. Keeps: nothing.

use super::choose::Choice;
use super::chooser::Answer;
use super::index;
use super::machine::Machine;
use super::points::Point;
use super::report::Violation;
use super::state::DiskState;
use super::trace::{Op, OpKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The operations shown of each run, the last ones.
const OPS_MAX: usize = 70;
/// The choices shown of each run.
const ANSWERS_MAX: usize = 16;

/// The story of one run.
pub(super) struct Story {
    text: String,
    levels: usize,
    message: Option<String>,
    /// Operations that are not shown and that change a name, or open a file, by their numbers.
    unshown: BTreeMap<u64, Op>,
    /// The latest of them that opened a file, where none that is shown did so later.
    opened: BTreeMap<u32, u64>,
}

impl Story {
    pub(super) fn new(name: &str) -> Story {
        let text = format!("{name}: the workload runs");
        let (unshown, opened) = (BTreeMap::new(), BTreeMap::new());
        Story { text, levels: 0, message: None, unshown, opened }
    }

    /// Whether the run after this many crashes failed.
    pub(super) fn fails_at(&self, crashes: usize) -> bool {
        self.message.is_some() && self.levels == crashes + 1
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn violation(self, token: String) -> Option<Violation> {
        let message = self.message?;
        Some(Violation { message, token, story: self.text })
    }

    /// Tells of one run: what it began with, its operations, how it ended.
    pub(super) fn add_level(
        &mut self,
        machine: &Machine,
        start: &DiskState,
        point: Option<&Point>,
        message: Option<&String>,
    ) {
        if self.levels > 0 {
            self.line("the power is back, and the check runs");
        }
        self.levels += 1;
        let answers = machine.chooser.answers();
        // A newest version needs no word.
        let told: Vec<&Answer> = answers.iter().filter(|answer| answer.chosen > 0).collect();
        for answer in told.iter().take(ANSWERS_MAX) {
            let unshown = self.unshown_of(answer.what);
            let unshown =
                unshown.map_or_else(String::new, |op| format!("; {}", op_text(machine, op)));
            self.line(&format!("  {}{unshown}", answer_text(machine, start, answer)));
        }
        if told.len() > ANSWERS_MAX {
            self.line(&format!("  and {} further choices", told.len() - ANSWERS_MAX));
        } else if answers.is_empty() {
            self.line("  nothing was left open");
        }
        let ops = machine.trace.as_ref().map_or(&[][..], |trace| trace.ops());
        match (message, point) {
            (Some(message), _) => {
                self.add_ops(machine, ops, machine.marks.len());
                self.line(&format!("  it fails: {message}"));
                self.message = Some(message.clone());
            }
            (None, Some(point)) => {
                let happened = |op: &&Op| match point.before {
                    // What has no number among the operations comes behind the last one.
                    None | Some(OpKind::BeginWriteBack) => op.number <= point.operation,
                    Some(_) => op.number < point.operation,
                };
                let end = ops.iter().take_while(happened).count();
                self.add_ops(machine, &ops[..end], point.marks);
                self.line(&end_text(machine, point, ops.get(end)));
            }
            (None, None) => {
                self.add_ops(machine, ops, machine.marks.len());
                self.line("  it passes");
            }
        }
    }

    /// Tells of operations, and of the first of the marks where they were left.
    fn add_ops(&mut self, machine: &Machine, ops: &[Op], marks: usize) {
        let shown: Vec<&Op> =
            ops.iter().filter(|op| !matches!(op.kind, OpKind::Size | OpKind::Id)).collect();
        let skipped = shown.len().saturating_sub(OPS_MAX);
        let marks = machine.marks.iter().zip(&machine.marked_behind).take(marks);
        let mut marks = marks.peekable();
        if skipped > 0 {
            let first = shown[skipped].number;
            while marks.next_if(|(_, behind)| **behind < first).is_some() {}
            self.line(&format!("  {skipped} operations, then"));
        }
        for op in &shown[..skipped] {
            self.keep_unshown(op);
        }
        for op in &shown[skipped..] {
            if let (OpKind::Open, Some(file)) = (op.kind, op.file) {
                self.opened.remove(&file);
            }
            while let Some((mark, _)) = marks.next_if(|(_, behind)| **behind < op.number) {
                self.line(&format!("  {mark}"));
            }
            self.line(&format!("  {}", op_text(machine, op)));
        }
        for (mark, _) in marks {
            self.line(&format!("  {mark}"));
        }
    }

    /// Keeps what a choice of a later run may be about.
    fn keep_unshown(&mut self, op: &Op) {
        let names = [OpKind::Rename, OpKind::Remove, OpKind::CreateDir, OpKind::RemoveDir];
        match (op.kind, op.file) {
            (OpKind::Open, Some(file)) => drop(self.opened.insert(file, op.number)),
            (kind, _) if names.contains(&kind) => {}
            _ => return,
        }
        self.unshown.insert(op.number, *op);
    }

    /// The operation that a choice is about, or that opened the file which it is about, if that
    /// was not shown.
    fn unshown_of(&self, what: Choice) -> Option<&Op> {
        let number = match what {
            Choice::Name { operation } => operation,
            Choice::Sector { file, .. } | Choice::Cached { file, .. } | Choice::Size { file } => {
                *self.opened.get(&file)?
            }
            Choice::Fault { .. } | Choice::CrashPoint | Choice::User => return None,
        };
        self.unshown.get(&number)
    }

    fn line(&mut self, line: &str) {
        write!(self.text, "\n{line}").expect("a string takes all text");
    }
}

/// Before what the power failed, which is `next` if that has a number.
fn end_text(machine: &Machine, point: &Point, next: Option<&Op>) -> String {
    match (point.before, next) {
        (None, None) => "the power fails at its end".to_owned(),
        (None, Some(_)) => format!("the power fails behind #{}", point.operation),
        (Some(kind), Some(op)) if op.number == point.operation && op.kind == kind => {
            let file = op.file.map_or_else(String::new, |file| format!(" file {file}"));
            let name = name_text(machine, op);
            format!("the power fails before #{} {}{file}{name}", op.number, kind.name())
        }
        (Some(kind), _) => {
            let word = if kind == OpKind::BeginWriteBack { "behind" } else { "before" };
            format!("the power fails {word} #{}, before {}", point.operation, kind.name())
        }
    }
}

/// An operation, with the name that it was given.
fn op_text(machine: &Machine, op: &Op) -> String {
    format!("{op}{}", name_text(machine, op))
}

/// The name that an operation on names was given.
fn name_text(machine: &Machine, op: &Op) -> String {
    let word = match op.kind {
        OpKind::Open | OpKind::FileId | OpKind::CreateDir => "",
        OpKind::Rename => "to ",
        OpKind::Remove | OpKind::SyncDir | OpKind::RemoveDir | OpKind::ReadDir => "of ",
        _ => return String::new(),
    };
    let path = machine.paths.of_checksum(op.checksum);
    path.map_or_else(String::new, |path| format!(" {word}{}", path.display()))
}

fn answer_text(machine: &Machine, start: &DiskState, answer: &Answer) -> String {
    let which = format!("({} of {})", answer.chosen + 1, answer.alternatives);
    match answer.what {
        Choice::Sector { file, sector } => {
            let sector_bytes = u64::from(machine.profile.sector_bytes);
            let from = u64::from(sector) * sector_bytes;
            let origin = match answer.origin {
                Some(0) => "what was there at first".to_owned(),
                Some(operation) => format!("what #{operation} wrote"),
                None => "an older version".to_owned(),
            };
            format!("file {file} bytes {from}..{}: {origin} {which}", from + sector_bytes)
        }
        Choice::Cached { file, sector } => {
            let sector_bytes = u64::from(machine.profile.sector_bytes);
            let from = u64::from(sector) * sector_bytes;
            format!("file {file} bytes {from}..{}: evicted {which}", from + sector_bytes)
        }
        Choice::Size { file } => {
            let state = start.files.get(index(file));
            match state.and_then(|state| state.open_size(answer.chosen)) {
                Some(size) => format!("file {file} size: {size} {which}"),
                None => format!("file {file} size: an older one {which}"),
            }
        }
        Choice::Name { operation: 0 } => "a name that was changed before: lost".to_owned(),
        Choice::Name { operation } => format!("the name changed by #{operation}: lost"),
        Choice::Fault { operation, kind: OpKind::BeginWriteBack } => {
            format!("the begin_write_back behind #{operation} fails")
        }
        Choice::Fault { operation, .. } => format!("#{operation} fails"),
        Choice::CrashPoint => format!("crash point {}", answer.chosen),
        Choice::User => format!("the caller's choice: {}", answer.chosen),
    }
}
