//! Compaction (layer L7).
//!
//! Owns: filling the leaves up, moving pages from the end of the file to free places, and the
//! shortening of the file. Must not know: how a commit is flushed.
//! Keeps: no-reuse-while-reachable (all of it is done by ordinary commits, and a page's old place
//! is given back only when no state that may be read or recovered needs it).

use crate::commit::{Bucket, Core, Outcome, Packing, WriteGuard};
use crate::error::Result;
use crate::page::{Extent, PageId};
use crate::pager::PIECE_BYTES;
use crate::sync::Arc;
use crate::tree::{Move, PageRead, Repack, SealedSize, Tree, sealed_size};
use std::collections::VecDeque;

/// Pages that one commit moves at most, so that a compaction needs little memory.
const MOVED_PER_COMMIT_MAX: u32 = 512;
/// How often the wanted end of the file is moved back to make room for what does not fit.
const CONCESSIONS_MAX: u32 = 5;
/// How often, at last, by all that is left: there is room side by side then.
const LAST_CONCESSIONS: u32 = 2;
/// Rounds of moving that bring no page nearer until the wanted end of the file is moved back: what
/// moves takes its ancestors with it, and where there is no room for them they go behind the limit.
const VAIN_MAX: u32 = 2;
/// Rounds of moving, whatever the size of the file.
const ROUNDS_MIN: u32 = 64;
/// A commit fills pages that come to this part of the file at most: what the first commits give up
/// is free only later, and the file grows meanwhile.
const FILLED_PART: u32 = 64;
const FILLED_PER_COMMIT_MIN: u32 = 16;
/// No more pages are filled once the file has grown by this part of itself: a reader keeps what
/// they replaced.
const GROWN_PART_MAX: u32 = 8;
/// Nodes that are looked at while other writers wait, by the pages that may be filled.
const LOOKS: u32 = 16;
/// Where no more pages can be won, nothing is moved: to move one takes so many.
const LEFT_MAX: u64 = 8;
/// Where fewer leaves can be emptied, none is filled: the last pages that are free cannot be used.
const EMPTIED_MIN: u64 = 4;
/// Where less than this part of the file is unused, single pages make no room for runs.
const LOOSE_PART: u32 = 8;
/// Commits until a page that was given up is free: both meta slots must have forgotten it.
const COMMITS_UNTIL_FREE: u32 = 2;

/// What [`crate::BTree::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactStats {
    /// Pages that were moved or filled up.
    pub moved_pages: usize,
    /// Pages that lie beyond the wanted end of the file and could not be moved.
    pub remaining_candidates: usize,
}

/// The file before a round of moving.
struct Survey {
    /// The wanted end of the file.
    limit: PageId,
    page_count: u32,
    /// Free pages in front of the limit.
    room: u32,
    /// The free extents in front of the limit, in pages.
    holes: Vec<u32>,
    /// Pages that are free or will be.
    unused: u64,
    /// Pages that will be free.
    pending: u64,
    /// The file does not end in free pages.
    is_cut: bool,
}

impl Survey {
    /// Looks for an end `target_pages` nearer, or where all that is used fits with some slack, but
    /// for so many pages of overflow runs that stay behind it.
    fn of(guard: &mut WriteGuard<'_>, target_pages: u32, slack: u32, kept_runs: u32) -> Survey {
        let (extents, page_count) = guard.free_extents();
        let tail = extents.last().filter(|last| last.end() >= page_count);
        let tail = tail.map_or(0, |last| last.pages);
        let free: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
        // Meta pages are never free, so this does not reach them.
        let pending = guard.pending_pages();
        let unused = free + pending;
        let room = u32::try_from(unused).unwrap_or(u32::MAX).saturating_sub(slack);
        let cut = room.max(tail).min(target_pages).saturating_add(kept_runs).min(page_count);
        let limit = page_count - cut;
        let in_front = |extent: &Extent| extent.end().min(limit).saturating_sub(extent.first.0);
        Survey {
            limit: PageId(limit),
            page_count,
            unused,
            pending,
            is_cut: tail == 0,
            room: extents.iter().map(in_front).sum(),
            holes: extents.iter().map(in_front).filter(|&pages| pages > 0).collect(),
        }
    }
}

/// What a round of moving came to.
enum Round {
    Moved(Move),
    /// Nothing that can be moved lies behind the limit.
    Done,
    /// This many pages could be moved if there were room for them and their ancestors.
    Cramped(u32),
}

/// Whether rounds of moving leave less behind the limit.
#[derive(Default)]
struct Progress {
    /// The fewest pages that a round left behind it.
    least: Option<u32>,
    /// Rounds since then.
    vain: u32,
}

impl Progress {
    /// Takes note of what a round left. Returns whether such rounds lead nowhere.
    fn ends_with(&mut self, remaining: u32) -> bool {
        if self.least.is_none_or(|least| remaining < least) {
            *self = Progress { least: Some(remaining), vain: 0 };
        } else {
            self.vain += 1;
        }
        self.vain >= VAIN_MAX
    }
}

pub(crate) fn compact(core: &Arc<Core>, target_bytes: u64) -> Result<CompactStats> {
    let page_size = core.pager.page_size() as u64;
    let target_pages = match target_bytes {
        0 => u32::MAX,
        bytes => u32::try_from(bytes.div_ceil(page_size)).unwrap_or(u32::MAX),
    };
    let before = core.readers.newest().page_count;
    let filled = fill_up(core, target_pages)?;
    let stats = CompactStats { moved_pages: filled, ..CompactStats::default() };
    let mut moving = Moving { core, before, target_pages, kept_runs: 0, last: 0, stats };
    moving.run()?;
    let is_cramped = moving.stats.remaining_candidates > 0 && is_loose(core);
    let runs = if is_cramped { overflow_pages(core)? } else { 0 };
    if runs > 0 {
        // The free pages lie one by one between others. Those are moved together, and the runs
        // behind them.
        moving.kept_runs = runs;
        moving.run()?;
        (moving.kept_runs, moving.last) = (0, LAST_CONCESSIONS);
        moving.run()?;
    }
    core.shorten_file()?;
    Ok(moving.stats)
}

/// Whether much of the file is unused.
fn is_loose(core: &Arc<Core>) -> bool {
    let counts = core.space_counts();
    let unused = counts.free_pages + counts.pending_pages;
    unused > u64::from(core.pager.page_count() / LOOSE_PART)
}

/// Pages of the overflow runs of all buckets.
fn overflow_pages(core: &Arc<Core>) -> Result<u32> {
    let state = core.readers.pin_newest();
    let buckets = state.catalog.list(&core.pager)?;
    let pages: u64 = buckets.iter().map(|(_, record)| record.overflow_pages).sum();
    Ok(u32::try_from(pages).unwrap_or(u32::MAX))
}

/// Moving pages from the end of the file, until there is nothing left or no way.
struct Moving<'a> {
    core: &'a Arc<Core>,
    /// Pages of the file before the compaction.
    before: u32,
    target_pages: u32,
    /// Pages of overflow runs that stay where they are, behind the wanted end of the others.
    kept_runs: u32,
    /// How often the wanted end is moved back by all that is left.
    last: u32,
    stats: CompactStats,
}

impl Moving<'_> {
    fn run(&mut self) -> Result<()> {
        let (mut idle, mut slack, mut concessions) = (0, 0, 0);
        let mut progress = Progress::default();
        // Others may write meanwhile; a compaction does not chase them for ever.
        for _ in 0..ROUNDS_MIN + self.before / MOVED_PER_COMMIT_MAX * 8 {
            let mut guard = self.core.begin()?;
            let survey = self.survey(&mut guard, slack);
            let is_little =
                self.stats.moved_pages == 0 && survey.is_cut && survey.unused <= LEFT_MAX;
            if survey.limit.0 >= survey.page_count || is_little {
                break;
            }
            // Each moved page takes its ancestors with it: few at a time cost more than they win.
            if u64::from(survey.room) < survey.pending / 2 && idle < COMMITS_UNTIL_FREE {
                drop(guard);
                idle += 1;
                pass(self.core, &survey)?;
                continue;
            }
            let cramped = match self.move_some(guard, &survey)? {
                Round::Moved(goal) => {
                    self.stats.moved_pages += goal.moved as usize;
                    self.stats.remaining_candidates = goal.remaining as usize;
                    if !progress.ends_with(goal.remaining) {
                        idle = 0;
                        continue;
                    }
                    Some(goal.remaining)
                }
                Round::Cramped(pages) => Some(pages),
                Round::Done => None,
            };
            match cramped {
                Some(pages) if concessions < CONCESSIONS_MAX + self.last => {
                    let is_last = concessions >= CONCESSIONS_MAX;
                    slack += if is_last { pages } else { pages.clamp(1, 2 << concessions) };
                    concessions += 1;
                    progress = Progress::default();
                }
                _ => {
                    self.stats.remaining_candidates = cramped.unwrap_or(0) as usize;
                    // What earlier rounds gave up becomes free, and what they left of the log,
                    // and the end can be cut off.
                    if idle > COMMITS_UNTIL_FREE {
                        break;
                    }
                    idle += 1;
                    pass(self.core, &survey)?;
                }
            }
        }
        Ok(())
    }

    fn survey(&self, guard: &mut WriteGuard<'_>, slack: u32) -> Survey {
        // What filling made the file longer is cut too.
        let grown = self.core.pager.page_count();
        let target = self.target_pages.saturating_add(grown).saturating_sub(self.before);
        Survey::of(guard, target, slack, self.kept_runs)
    }

    /// Moves some pages from behind the limit to the room in front of it.
    fn move_some(&self, mut guard: WriteGuard<'_>, survey: &Survey) -> Result<Round> {
        let mut budget = MOVED_PER_COMMIT_MAX.min(survey.room / 2).max(1);
        while budget > 0 {
            let mark = guard.batch().0.mark();
            let mut goal = Move::new(survey.limit, budget);
            goal.moves_runs = self.kept_runs == 0;
            goal.copied_bytes_min = PIECE_BYTES;
            goal.holes.clone_from(&survey.holes);
            let size = move_buckets(self.core, &mut guard, &mut goal)?;
            let needed = size.runs.iter().sum::<u32>() + size.nodes();
            if goal.moved == 0 {
                let remaining = goal.remaining;
                return Ok(if remaining > 0 { Round::Cramped(remaining) } else { Round::Done });
            }
            if needed <= survey.room {
                let catalog_budget = (survey.room - needed) / 4;
                guard.copy_moving(survey.limit)?;
                guard.pack(Packing { limit: survey.limit, catalog_budget });
                guard.finish(Outcome::Changed)?;
                return Ok(Round::Moved(goal));
            }
            // The ancestors of what moves need room too.
            guard.batch().0.roll_back(mark);
            budget /= 2;
        }
        Ok(Round::Cramped(1))
    }
}

/// Fills the nodes of all buckets up, until so many pages are given up as are wanted. Returns how
/// many were written: none where that would win too little.
fn fill_up(core: &Arc<Core>, target_pages: u32) -> Result<usize> {
    let before = core.readers.newest().page_count;
    let mut trial = Walk::new(core)?;
    while trial.goes_on() && trial.united < EMPTIED_MIN {
        // The guard is dropped, and with it all that was filled.
        trial.step(&mut core.begin()?)?;
    }
    if trial.united < EMPTIED_MIN {
        return Ok(0);
    }
    let mut walk = Walk::new(core)?;
    let growth_max = (before / GROWN_PART_MAX).max(4 * walk.budget);
    while walk.goes_on() {
        let mut guard = core.begin()?;
        let Survey { unused, page_count, .. } = Survey::of(&mut guard, target_pages, 0, 0);
        let is_enough = unused >= u64::from(target_pages);
        if is_enough || page_count.saturating_sub(before) > growth_max {
            break;
        }
        if walk.step(&mut guard)? > 0 {
            guard.pack(Packing { limit: PageId(page_count), catalog_budget: 0 });
            guard.finish(Outcome::Changed)?;
        }
    }
    Ok(walk.written)
}

/// A walk over the leaves of all buckets.
struct Walk {
    /// The buckets that are left.
    names: VecDeque<Vec<u8>>,
    /// Where to go on in the first of them.
    from: Vec<u8>,
    /// Pages that one step fills at most.
    budget: u32,
    /// Steps that are left: what others write meanwhile is not chased for ever.
    rounds: u32,
    /// Pages that were filled.
    written: usize,
    /// Pages that were emptied.
    united: u64,
}

impl Walk {
    fn new(core: &Arc<Core>) -> Result<Walk> {
        // Others commit meanwhile, and the catalog may have pages.
        let state = core.readers.pin_newest();
        let names = state.catalog.list(&core.pager)?.into_iter().map(|(name, _)| name).collect();
        let pages = state.page_count;
        let budget = (pages / FILLED_PART).clamp(FILLED_PER_COMMIT_MIN, MOVED_PER_COMMIT_MAX);
        let rounds = ROUNDS_MIN + pages / budget * 8;
        Ok(Walk { names, from: Vec::new(), budget, rounds, written: 0, united: 0 })
    }

    fn goes_on(&self) -> bool {
        self.rounds > 0 && !self.names.is_empty()
    }

    /// Fills some pages. Returns how many.
    fn step(&mut self, guard: &mut WriteGuard<'_>) -> Result<u32> {
        self.rounds -= 1;
        let (batch, pages) = guard.batch();
        let from = std::mem::take(&mut self.from);
        let mut goal = Repack::new(from, self.budget, self.budget * LOOKS);
        while let Some(name) = self.names.front() {
            if let Some(mut tree) = batch.bucket(pages, name)?
                && tree.repack(&mut batch.edit(pages), &mut goal)?
            {
                install(batch, name, tree);
            }
            if goal.is_spent() {
                break;
            }
            goal.from.clear();
            self.names.pop_front();
        }
        self.written += goal.written as usize;
        self.united += u64::from(goal.united);
        self.from = goal.from;
        Ok(goal.written)
    }
}

/// Commits nothing but the passage of a transaction, so that pages that wait become free.
fn pass(core: &Arc<Core>, survey: &Survey) -> Result<()> {
    let mut guard = core.begin()?;
    guard.pack(Packing { limit: survey.limit, catalog_budget: survey.room / 4 });
    guard.finish(Outcome::Changed)
}

/// Gives the free end of the file back to the system. Moves nothing; what was given up by the last
/// commits may stay.
pub(crate) fn cut_free_end(core: &Arc<Core>) -> Result<()> {
    let survey = Survey::of(&mut core.begin()?, u32::MAX, 0, 0);
    pass(core, &survey)?;
    core.shorten_file()
}

/// Makes dirty what is to be moved. Returns what it will take.
fn move_buckets(
    core: &Arc<Core>,
    guard: &mut WriteGuard<'_>,
    goal: &mut Move,
) -> Result<SealedSize> {
    let (batch, pages) = guard.batch();
    let mut size = SealedSize::default();
    let state = Arc::clone(&batch.base);
    for (name, _) in state.catalog.list(pages)? {
        let Some(mut tree) = batch.bucket(pages, &name)? else { continue };
        let moved = goal.moved;
        tree.relocate(&mut batch.edit(pages), goal)?;
        if goal.moved > moved {
            sealed_size(&tree, core.pager.page_size(), &mut size);
            install(batch, &name, tree);
        }
    }
    Ok(size)
}

fn install(batch: &mut crate::commit::Batch, name: &[u8], tree: Tree) {
    batch.install(name, Bucket::Live(tree));
}
