//! Moving pages from the end of the file to free places (part of compact, layer L7).
//!
//! Owns: [`Moving`], rounds of commits, each of which goes on in the trees where the last ended;
//! and [`Survey`], what the free space says before each. Must not know: how leaves are filled up.
//! Keeps: no-reuse-while-reachable (pages move by ordinary commits).
//!
//! Nothing in the file says which tree a page belongs to, so that the pages behind the wanted end
//! are found by walks. A walk through all trees is a *lap*; many rounds make one. The free space
//! knows how many pages in use lie there, so that no lap is begun to find none.

use super::progress::{Least, Progress};
use super::{COMMITS_UNTIL_FREE, MOVED_PER_COMMIT_MAX, ROUNDS_MIN, install};
use crate::commit::{Core, Outcome, Packing, WriteGuard};
use crate::error::Result;
use crate::page::{Extent, PageId};
use crate::pager::PIECE_BYTES;
use crate::sync::Arc;
use crate::tree::{Move, SealedSize, sealed_size};
use std::ops::ControlFlow;

/// How often the wanted end of the file is moved back to make room for what does not fit.
const CONCESSIONS_MAX: u32 = 5;
/// Bytes of an extent in the log.
const EXTENT_BYTES: usize = 8;
/// Nodes that are looked at while other writers wait.
const LOOKS_MAX: u32 = 8192;
/// Where no more pages can be won, nothing is moved: to move one takes so many.
pub(super) const LEFT_MAX: u32 = 8;
/// Another lap is made to bring the end nearer by this part of the file at least.
const NEARER_PART_MIN: u32 = 1024;

/// Where the end of the file is wanted.
pub(super) struct Wish {
    /// So many pages nearer at most.
    pub(super) target_pages: u32,
    /// So many pages behind the place where all that is used fits.
    pub(super) slack: u32,
    /// Pages of overflow runs that stay where they are, behind the wanted end of the others.
    pub(super) kept_runs: u32,
    /// Not in front of this page.
    pub(super) limit_min: u32,
}

/// The file before a round of moving.
pub(super) struct Survey {
    /// The wanted end of the file.
    limit: PageId,
    /// Where it could be now.
    nearest: u32,
    page_count: u32,
    /// Free pages in front of the limit.
    room: u32,
    /// The free extents in front of the limit, in pages.
    holes: Vec<u32>,
    /// Pages that are free or will be.
    unused: u64,
    /// Pages that will be free.
    pending: u64,
    /// Pages of trees behind the limit.
    behind: u32,
    /// Pages of the log there: commits write them anew in front of it, the oldest of all first.
    log_behind: u32,
    /// Pages of the log.
    log: u32,
    /// Commits that write the log anew, at most: no page of it goes away before.
    sweep_commits: u32,
    /// The file does not end in free pages.
    is_cut: bool,
}

impl Survey {
    /// Looks for an end `target_pages` nearer, or where all that is used fits with some slack, but
    /// for so many pages of overflow runs that stay behind it; or for one that is not in front of
    /// `limit_min`.
    pub(super) fn of(guard: &mut WriteGuard<'_>, wish: &Wish) -> Survey {
        let (extents, page_count) = guard.free_extents();
        let tail = extents.last().filter(|last| last.end() >= page_count);
        let tail = tail.map_or(0, |last| last.pages);
        let free: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
        // Meta pages are never free, so this does not reach them.
        let pending = guard.pending_pages();
        let unused = free + pending;
        let room = u32::try_from(unused).unwrap_or(u32::MAX).saturating_sub(wish.slack);
        let cut = room.max(tail).min(wish.target_pages);
        let cut = cut.saturating_add(wish.kept_runs).min(page_count);
        let nearest = page_count - cut;
        let limit = nearest.max(wish.limit_min);
        let in_front = |extent: &Extent| extent.end().min(limit).saturating_sub(extent.first.0);
        let behind = PageId(limit);
        let log_behind = guard.log_pages_from(behind);
        Survey {
            limit: PageId(limit),
            nearest,
            page_count,
            unused,
            pending,
            behind: guard.used_from(behind).saturating_sub(log_behind),
            log_behind,
            log: guard.log_pages_from(PageId(0)),
            sweep_commits: sweep_commits(extents.len() as u64 + pending, guard.page_size()),
            is_cut: tail == 0,
            room: extents.iter().map(in_front).sum(),
            holes: extents.iter().map(in_front).filter(|&pages| pages > 0).collect(),
        }
    }

    /// Commits nothing but the passage of a transaction, so that pages that wait become free.
    pub(super) fn pass(&self, core: &Core) -> Result<()> {
        let mut guard = core.begin()?;
        guard.pack(Packing { limit: self.limit, catalog_budget: self.room / 4 });
        guard.finish(Outcome::Changed)
    }
}

/// Commits that write so many extents to the log, at most: each fills a page of it, of which less
/// than half is about the commit itself.
fn sweep_commits(extents: u64, page_size: usize) -> u32 {
    let in_page = (page_size / (2 * EXTENT_BYTES)) as u64;
    u32::try_from(extents.div_ceil(in_page)).unwrap_or(u32::MAX) + 1
}

/// What a round of moving came to.
enum Round {
    /// So many pages moved.
    Moved(u32),
    /// Nothing yet; the walk goes on.
    Looked,
    /// Nothing that can be moved lies behind the limit.
    Done,
    /// This many pages could be moved if there were room for them and their ancestors.
    Cramped(u32),
}

/// A place in the trees: a bucket that may be gone, and a key in it that may be too.
#[derive(Clone, Default)]
struct Place {
    bucket: Vec<u8>,
    key: Vec<u8>,
}

/// A walk through all trees, in the order of names and keys.
#[derive(Default)]
struct Lap {
    /// Where it goes on.
    place: Place,
    /// Pages that were moved.
    moved: u32,
    /// Pages of runs that found no hole, and how many the shortest of them has.
    left: u32,
    shortest_left: Option<u32>,
}

/// What a lap left behind the limit, as it moved little or nothing.
struct Leftover {
    limit: PageId,
    behind: u32,
    lap: Lap,
}

impl Leftover {
    /// What another lap would come to; `None` where it might find more to move.
    fn round(&self, survey: &Survey) -> Option<Round> {
        let hole = survey.holes.iter().copied().max().unwrap_or(0);
        let is_same = survey.limit >= self.limit
            && survey.behind <= self.behind
            && self.lap.shortest_left.is_none_or(|shortest| hole < shortest);
        is_same.then(|| match self.lap.left.min(survey.behind) {
            0 => Round::Done,
            left => Round::Cramped(left),
        })
    }
}

/// What a run has tried.
#[derive(Default)]
struct Tried {
    /// Commits that moved nothing, since the last that did.
    idle: u32,
    concessions: u32,
    /// Pages that found no room, for which the wanted end was moved back last.
    refused: u32,
    progress: Progress,
    /// Pages of the log, when nothing else was to be moved.
    log: u32,
    /// Commits since it had more.
    log_idle: u32,
    /// The pages behind the limit, when only commits could move them.
    of_catalog: Least,
}

/// Moving pages from the end of the file, until there is nothing left or no way.
pub(super) struct Moving<'a> {
    core: &'a Arc<Core>,
    /// Pages of the file before the compaction.
    before: u32,
    target_pages: u32,
    /// Pages of overflow runs that stay where they are, behind the wanted end of the others.
    pub(super) kept_runs: u32,
    /// Those of more pages are kept.
    pub(super) run_pages_max: u32,
    /// The pages of the shortest run that found no hole, as far as the last lap knows.
    pub(super) shortest_left: Option<u32>,
    /// How often the wanted end is moved back by all that is left, at last.
    pub(super) last: u32,
    /// Pages that were moved, or filled before.
    pub(super) moved: usize,
    /// Pages behind the wanted end that could not be moved.
    pub(super) remaining: usize,
    /// How far the wanted end was moved back.
    slack: u32,
    /// The wanted end is not in front of this page.
    limit_min: u32,
    lap: Lap,
    leftover: Option<Leftover>,
}

impl<'a> Moving<'a> {
    /// Brings the end of a file that had `before` pages so many nearer, when `filled` pages were
    /// filled.
    pub(super) fn new(
        core: &'a Arc<Core>,
        before: u32,
        target_pages: u32,
        filled: usize,
    ) -> Moving<'a> {
        Moving {
            core,
            before,
            target_pages,
            kept_runs: 0,
            run_pages_max: u32::MAX,
            shortest_left: None,
            last: 0,
            moved: filled,
            remaining: 0,
            slack: 0,
            limit_min: 0,
            lap: Lap::default(),
            leftover: None,
        }
    }

    /// Whether something that lies far behind found no room.
    pub(super) fn is_cramped(&self) -> bool {
        self.remaining > 0 || self.slack > 0
    }

    pub(super) fn run(&mut self) -> Result<()> {
        let mut tried = Tried::default();
        (self.slack, self.limit_min) = (0, 0);
        self.shortest_left = None;
        (self.lap, self.leftover) = (Lap::default(), None);
        // Others may write meanwhile; a compaction does not chase them for ever.
        for _ in 0..ROUNDS_MIN + self.before / MOVED_PER_COMMIT_MAX * 8 {
            let mut guard = self.core.begin()?;
            let survey = self.survey(&mut guard);
            let is_little =
                self.moved == 0 && survey.is_cut && survey.unused <= u64::from(LEFT_MAX);
            if survey.limit.0 >= survey.page_count || is_little {
                // Nothing lies behind it; but it may be the file's own end by now.
                self.remaining = tried.refused as usize;
                break;
            }
            // Each moved page takes its ancestors with it: few at a time cost more than they win.
            if u64::from(survey.room) < survey.pending / 2 && tried.idle < COMMITS_UNTIL_FREE {
                drop(guard);
                tried.idle += 1;
                survey.pass(self.core)?;
                continue;
            }
            let round = if tried.progress.ends_with(survey.behind) && survey.behind > 0 {
                drop(guard);
                Round::Cramped(survey.behind)
            } else {
                self.move_some(guard, &survey)?
            };
            match round {
                Round::Looked => {}
                Round::Moved(moved) => {
                    self.moved += moved as usize;
                    self.remaining = survey.behind.saturating_sub(moved) as usize;
                    tried.refused = 0;
                    (tried.idle, tried.progress.has_moved) = (0, true);
                }
                Round::Cramped(pages) if tried.concessions < CONCESSIONS_MAX + self.last => {
                    self.concede(&mut tried, pages);
                }
                Round::Done if self.waits_for_the_catalog(&mut tried, &survey) => {
                    survey.pass(self.core)?;
                }
                Round::Cramped(_) | Round::Done => {
                    tried.refused = 0;
                    let left =
                        if let Round::Cramped(pages) = round { pages } else { survey.behind };
                    self.remaining = left as usize;
                    if !Moving::goes_on(&mut tried, &survey) {
                        break;
                    }
                    survey.pass(self.core)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at the file. The wanted end comes nearer when nothing is behind it any more, and a lap
    /// is worth it: the log becomes shorter by a few pages with each commit.
    fn survey(&mut self, guard: &mut WriteGuard<'_>) -> Survey {
        let survey = self.look(guard);
        // The wanted end is never in front of the nearest one.
        let is_far = survey.limit.0 - survey.nearest >= survey.limit.0 / NEARER_PART_MIN + LEFT_MAX;
        if survey.behind + survey.log_behind > 0 || !is_far {
            return survey;
        }
        (self.limit_min, self.lap) = (0, Lap::default());
        self.look(guard)
    }

    fn look(&mut self, guard: &mut WriteGuard<'_>) -> Survey {
        // What filling made the file longer is cut too.
        let target_pages = target_now(self.target_pages, self.before, self.core.pager.page_count());
        let (slack, kept_runs) = (self.slack, self.kept_runs);
        let wish = Wish { target_pages, slack, kept_runs, limit_min: self.limit_min };
        let survey = Survey::of(guard, &wish);
        self.limit_min = survey.limit.0;
        survey
    }

    /// Moves the wanted end back, since so many pages find no room.
    fn concede(&mut self, tried: &mut Tried, pages: u32) {
        let is_last = tried.concessions >= CONCESSIONS_MAX;
        let more = if is_last { pages } else { pages.clamp(1, 2 << tried.concessions) };
        self.slack = self.slack.saturating_add(more);
        self.limit_min = self.limit_min.saturating_add(more);
        tried.concessions += 1;
        tried.refused = pages;
        tried.progress = Progress::default();
    }

    /// Whether commits are still to move what only they can: pages of the catalog. Where those are
    /// no fewer after some commits, they get more room.
    fn waits_for_the_catalog(&mut self, tried: &mut Tried, survey: &Survey) -> bool {
        // Runs that are kept lie there too.
        if survey.behind <= self.kept_runs {
            return false;
        }
        if tried.of_catalog.vain(survey.behind) <= COMMITS_UNTIL_FREE {
            return true;
        }
        if tried.concessions >= CONCESSIONS_MAX + self.last {
            return false;
        }
        self.concede(tried, survey.behind);
        tried.of_catalog = Least::default();
        true
    }

    /// Whether to let time pass when nothing more can be moved: what earlier rounds gave up becomes
    /// free, and what they left of the log, and the end can be cut off.
    fn goes_on(tried: &mut Tried, survey: &Survey) -> bool {
        let log_before = std::mem::replace(&mut tried.log, survey.log);
        let is_shorter = survey.log < log_before;
        tried.log_idle = if is_shorter { 0 } else { tried.log_idle + 1 };
        if survey.log_behind > 0 && tried.log_idle <= survey.sweep_commits {
            return true;
        }
        tried.idle += 1;
        tried.idle <= COMMITS_UNTIL_FREE + 1
    }

    /// Moves some pages from behind the limit to the room in front of it.
    fn move_some(&mut self, mut guard: WriteGuard<'_>, survey: &Survey) -> Result<Round> {
        if survey.behind == 0 {
            return Ok(Round::Done);
        }
        if let Some(round) = self.leftover.as_ref().and_then(|leftover| leftover.round(survey)) {
            return Ok(round);
        }
        self.leftover = None;
        let mut budget = MOVED_PER_COMMIT_MAX.min(survey.room / 2).max(1);
        while budget > 0 {
            let mark = guard.batch().0.mark();
            let mut goal = Move::new(survey.limit, budget, LOOKS_MAX);
            goal.run_pages_max = self.run_pages_max;
            goal.copied_bytes_min = PIECE_BYTES;
            goal.holes.clone_from(&survey.holes);
            let moved = move_buckets(&mut guard, &self.lap.place, &mut goal);
            let (place, size) = guard.note(moved)?;
            let needed = size.runs.iter().sum::<u32>() + size.nodes();
            if goal.moved == 0 {
                drop(guard);
                self.go_on(place, &goal, survey);
                let over = self.leftover.as_ref().and_then(|leftover| leftover.round(survey));
                return Ok(over.unwrap_or(Round::Looked));
            }
            if needed <= survey.room {
                let catalog_budget = (survey.room - needed) / 4;
                guard.copy_moving(survey.limit)?;
                guard.pack(Packing { limit: survey.limit, catalog_budget });
                guard.finish(Outcome::Changed)?;
                self.go_on(place, &goal, survey);
                return Ok(Round::Moved(goal.moved));
            }
            // The ancestors of what moves need room too.
            guard.batch().0.roll_back(mark);
            budget /= 2;
        }
        Ok(Round::Cramped(1))
    }

    /// Takes note of how far the lap came. Where it moved less than it left, the next one waits
    /// until there is more room: so a lap halves what can be moved, and few are made.
    fn go_on(&mut self, place: Option<Place>, goal: &Move, survey: &Survey) {
        self.lap.moved += goal.moved;
        self.lap.left = self.lap.left.saturating_add(goal.left);
        let shortest = [self.lap.shortest_left, goal.shortest_left];
        self.lap.shortest_left = shortest.into_iter().flatten().min();
        if let Some(place) = place {
            self.lap.place = place;
            return;
        }
        let lap = std::mem::take(&mut self.lap);
        self.shortest_left = lap.shortest_left;
        if lap.moved <= lap.left {
            let (limit, behind) = (survey.limit, survey.behind);
            self.leftover = Some(Leftover { limit, behind, lap });
        }
    }
}

/// How many pages nearer the end is wanted when a file of `before` pages has `now`.
fn target_now(target_pages: u32, before: u32, now: u32) -> u32 {
    let pages = (u64::from(target_pages) + u64::from(now)).saturating_sub(u64::from(before));
    u32::try_from(pages).unwrap_or(u32::MAX)
}

/// Makes dirty what is to be moved, from a place on. Returns where to go on, if something is left
/// of the trees, and what it will take.
fn move_buckets(
    guard: &mut WriteGuard<'_>,
    from: &Place,
    goal: &mut Move,
) -> Result<(Option<Place>, SealedSize)> {
    let (batch, pages) = guard.batch();
    let (mut size, mut place) = (SealedSize::default(), None);
    let state = Arc::clone(&batch.base);
    state.catalog.for_each_from(pages, &from.bucket, &mut |name| {
        goal.from = if name == from.bucket { from.key.clone() } else { Vec::new() };
        let Some(mut tree) = batch.bucket(pages, name)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let moved = goal.moved;
        tree.relocate(&mut batch.edit(pages), goal)?;
        if goal.moved > moved {
            sealed_size(&tree, pages.page_size(), &mut size);
            install(batch, name, tree);
        }
        if !goal.is_spent() {
            return Ok(ControlFlow::Continue(()));
        }
        let (bucket, key) = (name.to_vec(), std::mem::take(&mut goal.from));
        place = Some(Place { bucket, key });
        Ok(ControlFlow::Break(()))
    })?;
    Ok((place, size))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::target_now;

    #[test]
    fn all_that_can_be_won_is_wanted_of_the_largest_file_too() {
        assert_eq!(target_now(u32::MAX, 3_000_000_000, 3_000_000_000), u32::MAX);
        assert_eq!(target_now(10, 100, 105), 15);
        assert_eq!(target_now(10, 100, 80), 0);
    }
}
