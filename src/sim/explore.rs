//! The crash explorer.
//!
//! Owns: [`Explorer`], which runs a workload, lets the power fail at every crash point, and runs
//! a check on every image that the check can tell from another.
//! Must not know: what is checked.
//! Keeps: nothing; the run does.

use super::choose::Choose;
use super::crash::{Checked, Crash};
use super::disk::SimDisk;
use super::points::{CrashPoints, Images};
use super::profile::Profile;
use super::report::{Report, Violation};
use super::run::{Run, Settings};
use super::state::Snapshot;
use super::token::{Path, TokenError};

/// A crash exploration: its workload's name, its disk, its limits.
///
/// [`Explorer::explore`] runs the workload once and lets the power fail before each sync and at
/// the end. For each of these crash points it runs the check on the crashed disk, again and
/// again, until every way in which sectors, sizes and names can have survived was seen by the
/// check. What the check does not read does not count: that makes it feasible.
///
/// ```
/// use btree_store::sim::{Explorer, SimDisk};
/// use btree_store::vfs::{OpenMode, Vfs, VfsFile};
/// use std::path::Path;
///
/// let path = Path::new("value");
/// let report = Explorer::new("one value").explore(
///     // The workload: a value that is replaced as a whole, or so it hopes.
///     |disk: &SimDisk| {
///         let file = disk.open(path, OpenMode::Create)?;
///         disk.started(1);
///         file.write_at(&[7; 1024], 0)?;
///         file.sync_all()?;
///         disk.sync_dir(path)?;
///         disk.acknowledged(1);
///         Ok(())
///     },
///     // The check: the value is there as a whole, or, before it was acknowledged, not at all.
///     |disk, crash| match disk.read_file(path) {
///         Some(found) if found == [7; 1024] => Ok(()),
///         None if crash.acknowledged() == 0 => Ok(()),
///         found => Err(format!("found {found:?}").into()),
///     },
/// );
/// // Two sectors do not reach the disk together.
/// assert!(!report.is_verified());
/// println!("{report}");
/// ```
#[derive(Clone, Debug)]
pub struct Explorer {
    settings: Settings,
}

impl Explorer {
    /// An exploration of one crash, on an empty disk of the default kind, of ten million checks
    /// and as many runs of the workload at most. The name stands in the report and in replay
    /// tokens.
    pub fn new(name: impl Into<String>) -> Explorer {
        let settings = Settings {
            name: name.into(),
            profile: Profile::default(),
            start: None,
            nested: 0,
            executions_max: 10_000_000,
            at: CrashPoints::Fences,
            images: Images::Lazy,
            shard: (0, 1),
        };
        Explorer { settings }
    }

    /// The kind of disk.
    ///
    /// # Panics
    /// When what the disk is to [`start`](Explorer::start) with is of another kind.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Explorer {
        let is_free = self.settings.start.is_none() || self.settings.profile == profile;
        assert!(is_free, "the disk that it starts with is of another kind");
        self.settings.profile = profile;
        self
    }

    /// What is on the disk before the workload runs; the disk is of the snapshot's kind, whatever
    /// [`Explorer::profile`] has said before.
    #[must_use]
    pub fn start(mut self, start: &Snapshot) -> Explorer {
        self.settings.profile = start.held.profile;
        self.settings.start = Some(start.clone());
        self
    }

    /// Lets the power fail again while the check runs, this many times after the first.
    ///
    /// The check then runs on what itself has left: where it writes, say a commit that shows that
    /// the store still works, the check behind the next crash may find that, or a part of it, and
    /// has to accept it. [`Crash::depth`] says how many crashes there were. [`Crash::marks`] are
    /// those of the workload and of the checks that were crashed, in this order; where the same
    /// numbers mean something else in a check, [`Crash::marks_of`]`(0)` are the workload's alone.
    ///
    /// ```
    /// use btree_store::sim::{Explorer, Mark, SimDisk};
    /// use btree_store::{BTree, Error, Options};
    ///
    /// fn open(disk: &SimDisk) -> btree_store::Result<BTree> {
    ///     Options::new().page_size(512).vfs(disk.vfs()).open("app.db")
    /// }
    ///
    /// let report = Explorer::new("one put").nested(1).explore(
    ///     |disk| {
    ///         let db = open(disk)?;
    ///         db.exec("app", |txn| txn.put("by", "workload"))?;
    ///         disk.acknowledged(1);
    ///         Ok(())
    ///     },
    ///     |disk, crash| {
    ///         let db = open(disk)?;
    ///         let is_owed = crash.marks_of(0).contains(&Mark::Acknowledged(1));
    ///         match db.view("app", |txn| txn.get("by")) {
    ///             Ok(by) if by == b"workload" => {}
    ///             // The check before this one has written, and was crashed.
    ///             Ok(by) if by == b"check" && crash.depth() == 2 => {}
    ///             Err(Error::NotFound) if !is_owed => {}
    ///             found => return Err(format!("found {found:?} after {crash:?}").into()),
    ///         }
    ///         Ok(db.exec("app", |txn| txn.put("by", "check"))?)
    ///     },
    /// );
    /// assert!(report.is_verified(), "{report}");
    /// ```
    /// # Panics
    /// For more than 64 crashes in a row.
    #[must_use]
    pub fn nested(mut self, crashes: u32) -> Explorer {
        assert!(crashes <= 64, "{crashes} crashes in a row, of which 64 are the most");
        self.settings.nested = crashes;
        self
    }

    /// Ends the search after this many checks, or after this many runs of the workload, which are
    /// counted by themselves; it is then unverified.
    #[must_use]
    pub fn executions_max(mut self, executions: u64) -> Explorer {
        self.settings.executions_max = executions;
        self
    }

    /// Where the power fails.
    #[must_use]
    pub fn crash_points(mut self, at: CrashPoints) -> Explorer {
        self.settings.at = at;
        self
    }

    /// When the images of a crash are told apart.
    #[must_use]
    pub fn images(mut self, images: Images) -> Explorer {
        self.settings.images = images;
        self
    }

    /// Takes only the crash points whose number leaves the rest `part` when divided by `parts`,
    /// so that several explorers can share the work.
    ///
    /// # Panics
    /// If there is no such part: an exploration of nothing would pass.
    #[must_use]
    pub fn shard(mut self, part: u32, parts: u32) -> Explorer {
        assert!(part < parts, "part {part} of {parts} parts, counted from 0");
        self.settings.shard = (part, parts);
        self
    }

    /// Runs every outcome of every crash.
    ///
    /// Workload and check run many times; given the same disk they must do the same, in the same
    /// order. A search whose runs do not is no pass: the questions that a run leaves open, and the
    /// operations before each, are compared with those of the run before it that had the same
    /// answers so far; and some runs are had again, uncounted, and compared to their end: the
    /// workload's first eight times, a few others once. What is compared are the operations, their
    /// files, names and places, and the bytes that are written. So nothing that is written may come
    /// from a clock or from chance; who walks a `HashMap` sorts first. The violation names the
    /// first operation that differs, what it was and what it is, and so does the story of a failure
    /// that does not come back. The orders in which threads get their turn are not explored, and
    /// are no part of a token: let one thread use the disk, or the threads one after another.
    ///
    /// Of crashes that leave the same disk after the same marks only the first is looked at: a
    /// check goes by the disk and the marks, and by nothing else that the workload did.
    ///
    /// They end with what they opened closed. A panic in either is a failure, and so is an error,
    /// also one of a fault that the workload injected itself: there it ends with
    /// `if disk.has_fault_struck() { return Ok(()) }`. A search in which neither has used the disk
    /// is a failure as well; [`Report::looks`] says how many checks have.
    ///
    /// Any write may fail here, once:
    ///
    /// ```
    /// use btree_store::sim::{Errno, Explorer, Failure, Fault, OpSet, SimDisk, When};
    /// use btree_store::{BTree, Error, Options};
    ///
    /// fn open(disk: &SimDisk) -> btree_store::Result<BTree> {
    ///     Options::new().page_size(512).vfs(disk.vfs()).open("app.db")
    /// }
    ///
    /// let report = Explorer::new("a bad disk").explore(
    ///     |disk| {
    ///         let db = open(disk)?;
    ///         let failure = Failure::Error(Errno::Eio);
    ///         disk.inject(Fault::new(OpSet::WRITES, When::Chosen(1), failure));
    ///         disk.started(1);
    ///         match db.exec("app", |txn| txn.put("key", "value")) {
    ///             Ok(()) => disk.acknowledged(1),
    ///             Err(_) if disk.has_fault_struck() => return Ok(()),
    ///             Err(error) => return Err(error.into()),
    ///         }
    ///         Ok(())
    ///     },
    ///     |disk, crash| match open(disk)?.view("app", |txn| txn.get("key")) {
    ///         Ok(value) if value == b"value" && crash.started() == 1 => Ok(()),
    ///         Err(Error::NotFound) if crash.acknowledged() == 0 => Ok(()),
    ///         found => Err(format!("found {found:?} after {crash:?}").into()),
    ///     },
    /// );
    /// assert!(report.is_verified() && report.struck_runs > 0, "{report}");
    /// ```
    pub fn explore(
        &self,
        mut workload: impl FnMut(&SimDisk) -> Checked,
        mut check: impl FnMut(&SimDisk, &Crash) -> Checked,
    ) -> Report {
        let mut run = Run::new(&self.settings, &mut workload, &mut check);
        run.explore();
        run.finish()
    }

    /// Runs one outcome of one crash, and perhaps of nested ones, all picked by `source`. The
    /// verdict is never `Verified`. Nobody compares one sample with another, nor asks whether the
    /// disk was used.
    pub fn sample(
        &self,
        source: impl Choose + Send + 'static,
        mut workload: impl FnMut(&SimDisk) -> Checked,
        mut check: impl FnMut(&SimDisk, &Crash) -> Checked,
    ) -> Report {
        let mut run = Run::new(&self.settings, &mut workload, &mut check);
        run.sample(Box::new(source));
        run.finish()
    }

    /// Runs what a token stands for. The violation, if it still fails. A token names a crash point
    /// by its number, and choices by theirs: with other settings, or when the workload has become
    /// another, it may stand for something else, and pass for that.
    ///
    /// # Errors
    /// The text is no token, or does not belong to this workload.
    pub fn replay(
        &self,
        token: &str,
        workload: impl FnMut(&SimDisk) -> Checked,
        check: impl FnMut(&SimDisk, &Crash) -> Checked,
    ) -> Result<Option<Violation>, TokenError> {
        self.retell(token, workload, check).map(|(_, violation)| violation)
    }

    /// Runs what a token stands for. What happens in it, and the violation, if it still fails.
    ///
    /// # Errors
    /// Those of [`Explorer::replay`].
    pub fn retell(
        &self,
        token: &str,
        mut workload: impl FnMut(&SimDisk) -> Checked,
        mut check: impl FnMut(&SimDisk, &Crash) -> Checked,
    ) -> Result<(String, Option<Violation>), TokenError> {
        let path = Path::parse(&self.settings.name, token)?;
        let mut run = Run::new(&self.settings, &mut workload, &mut check);
        let story = run.replay(&path)?;
        let text = story.text().to_owned();
        Ok((text, story.violation(path.to_token(&self.settings.name))))
    }
}
