//! One path of an exploration once more.
//!
//! Owns: the replay of a path and of a failure, and what makes a failure simpler.
//! Must not know: what is checked.
//! Keeps: a failure that does not come back is told as that.

use super::{Asked, Run};
use crate::sim::choose::{NOT_REPEATED, Script};
use crate::sim::chooser::Chooser;
use crate::sim::crash::{Crash, Level};
use crate::sim::disk::SimDisk;
use crate::sim::points::Keep;
use crate::sim::report::{Report, Violation};
use crate::sim::story::Story;
use crate::sim::token::{Path, TokenError};

impl Run<'_> {
    /// Runs one path, and tells what happened.
    pub(in crate::sim) fn replay(&mut self, path: &Path) -> Result<Story, TokenError> {
        self.crash = Crash::default();
        self.disk = SimDisk::with_profile(self.settings.profile);
        let mut state = self.begin();
        self.disk.keep_trace();
        self.unlike = None;
        // With other choices it may do something else.
        let is_compared = self.failed.as_ref().is_some_and(|failed| failed.path == *path);
        let mut story = Story::new(&self.settings.name);
        let mut operation = 0;
        let mut choices = &path.workload;
        for level in 0..=path.steps.len() {
            let script = Script::new(choices.clone());
            let chooser = Chooser::given(Box::new(script)).keep_answers();
            self.load(level, &state, operation, chooser);
            let next = path.steps.get(level);
            let keep = next.map_or(Keep::Nothing, |step| Keep::One(step.point));
            self.disk.machine().recorder.start(keep, self.settings.at, Vec::new());
            let outcome = self.run(level);
            if is_compared && self.unlike.is_none() {
                self.unlike = self.unlike_failed(level, outcome.is_ok());
            }
            let mut machine = self.disk.machine();
            if machine.powered {
                machine.record(None);
            }
            let points = machine.recorder.take();
            let point = points.iter().find(|point| point.kept);
            story.add_level(&machine, &state, point, outcome.as_ref().err());
            drop(machine);
            let (Ok(()), Some(step)) = (outcome, next) else { break };
            let Some(point) = point else { return Err(TokenError::NoSuchPoint) };
            let marks = self.disk.machine().marks[..point.marks].to_vec();
            self.crash.levels.push(Level { operation: point.operation, marks });
            state = self.crashed(point).0;
            operation = point.operation;
            choices = &step.choices;
        }
        Ok(story)
    }

    /// What the run that just ended did otherwise than the one that failed, or was crashed for it.
    fn unlike_failed(&self, level: usize, is_whole: bool) -> Option<String> {
        let (failed, machine) = (self.failed.as_ref()?, self.disk.machine());
        // The one that failed has not come to its end.
        let was_whole = level < failed.path.steps.len();
        let (requests, paths) = (failed.requests.get(level)?, &failed.paths);
        let before = Asked { requests, paths, is_whole: was_whole };
        let (requests, paths) = (machine.requests.as_ref()?, &machine.paths);
        Asked { requests, paths, is_whole }.first_unlike(&before)
    }

    /// Tells the story of the failure, if there is one, after making it simpler.
    pub(in crate::sim) fn finish(mut self) -> Report {
        let Some(failed) = &self.failed else { return self.report };
        let (message, path) = (failed.message.clone(), failed.path.clone());
        let mut report = self.report.clone();
        let path = self.simplify(path);
        let token = path.to_token(&self.settings.name);
        let told = self.replay(&path).ok().and_then(|story| story.violation(token.clone()));
        report.violation = Some(match told {
            // What it fails with by chance is not what has to be mended.
            Some(told) if message.contains(NOT_REPEATED) => Violation { message, ..told },
            Some(told) => told,
            None => {
                let mut story = "it did not fail again: the run is not deterministic".to_owned();
                if let Some(unlike) = self.unlike {
                    story = format!("{story}; {unlike}");
                }
                Violation { message, token, story }
            }
        });
        report
    }

    /// Takes the newest version wherever the failure does not need an older one.
    fn simplify(&mut self, path: Path) -> Path {
        const REPLAYS_MAX: usize = 300;
        let mut held = path;
        let mut replays = 0;
        for level in (0..=held.steps.len()).rev() {
            let len = choices_of(&mut held, level).len();
            for at in (0..len).rev() {
                let before = choices_of(&mut held, level)[at];
                if before == 0 || replays == REPLAYS_MAX {
                    continue;
                }
                replays += 1;
                choices_of(&mut held, level)[at] = 0;
                let fails = self.replay(&held).is_ok_and(|story| story.fails_at(held.steps.len()));
                if !fails {
                    choices_of(&mut held, level)[at] = before;
                }
            }
        }
        held
    }
}

fn choices_of(path: &mut Path, level: usize) -> &mut Vec<u32> {
    match level.checked_sub(1) {
        None => &mut path.workload,
        Some(step) => &mut path.steps[step].choices,
    }
}
