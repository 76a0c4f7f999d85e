//! Compaction (layer L7).
//!
//! Owns: moving pages from the end of the file to free places, and the shortening of the file.
//! Must not know: how a commit is flushed.
//! Keeps: no-reuse-while-reachable (pages are moved by ordinary commits, and a page's old place
//! is given back only when no state that may be read or recovered needs it).

use crate::commit::{Bucket, Core, Outcome, Packing, WriteGuard};
use crate::error::Result;
use crate::page::{Extent, PageId};
use crate::sync::Arc;
use crate::tree::{Move, PageRead, SealedSize, Tree, sealed_size};

/// Pages that one commit moves at most, so that a compaction needs little memory.
const MOVED_PER_COMMIT_MAX: u32 = 512;
/// How often the wanted end of the file is moved back to make room for what does not fit.
const CONCESSIONS_MAX: u32 = 5;
/// Rounds of moving, whatever the size of the file.
const ROUNDS_MIN: u32 = 64;
/// Commits until a page that was given up is free: both meta slots must have forgotten it.
const COMMITS_UNTIL_FREE: u32 = 2;

/// What [`crate::BTree::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactStats {
    /// Pages that were moved.
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
    /// No page waits, and the file does not end in free pages: only moving helps.
    is_settled: bool,
}

impl Survey {
    /// Looks for an end `target_pages` nearer, or where all that is used fits with some slack.
    fn of(guard: &WriteGuard<'_>, target_pages: u32, slack: u32) -> Survey {
        let (extents, page_count) = guard.free_extents();
        let is_settled =
            guard.pending_pages() == 0 && extents.last().is_none_or(|last| last.end() < page_count);
        let free: u64 = extents.iter().map(|extent| u64::from(extent.pages)).sum();
        // Meta pages are never free, so this does not reach them.
        let unused = free + guard.pending_pages();
        let unused = u32::try_from(unused).unwrap_or(u32::MAX).saturating_sub(slack);
        let cut = unused.min(target_pages).min(page_count);
        let limit = page_count - cut;
        let in_front = |extent: &Extent| extent.end().min(limit).saturating_sub(extent.first.0);
        Survey {
            limit: PageId(limit),
            page_count,
            is_settled,
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

pub(crate) fn compact(core: &Arc<Core>, target_bytes: u64) -> Result<CompactStats> {
    let page_size = core.pager.page_size() as u64;
    let target_pages = match target_bytes {
        0 => u32::MAX,
        bytes => u32::try_from(bytes.div_ceil(page_size)).unwrap_or(u32::MAX),
    };
    let mut stats = CompactStats::default();
    let (mut idle, mut slack, mut concessions) = (0, 0, 0);
    let before = core.readers.newest().page_count;
    let target = |page_count: u32| target_pages.saturating_sub(before.saturating_sub(page_count));
    // Others may write meanwhile; a compaction does not chase them for ever.
    for _ in 0..ROUNDS_MIN + before / MOVED_PER_COMMIT_MAX * 8 {
        let guard = core.begin()?;
        let survey = Survey::of(&guard, target(core.pager.page_count()), slack);
        if survey.limit.0 >= survey.page_count {
            break;
        }
        match move_some(core, guard, &survey)? {
            Round::Moved(goal) => {
                stats.moved_pages += goal.moved as usize;
                stats.remaining_candidates = goal.remaining as usize;
                idle = 0;
            }
            Round::Cramped(pages) if concessions < CONCESSIONS_MAX => {
                slack = slack * 2 + pages + 4;
                concessions += 1;
            }
            round => {
                stats.remaining_candidates = match round {
                    Round::Cramped(remaining) => remaining as usize,
                    Round::Moved(_) | Round::Done => 0,
                };
                // What earlier rounds gave up becomes free, and the end can be cut off.
                if survey.is_settled || idle > COMMITS_UNTIL_FREE {
                    break;
                }
                idle += 1;
                pass(core, &survey)?;
            }
        }
    }
    core.shorten_file()?;
    Ok(stats)
}

/// Commits nothing but the passage of a transaction, so that pages that wait become free.
fn pass(core: &Arc<Core>, survey: &Survey) -> Result<()> {
    let mut guard = core.begin()?;
    guard.pack(Packing { limit: survey.limit, catalog_budget: survey.room / 4 });
    guard.finish(Outcome::Changed)
}

/// Moves some pages from behind the limit to the room in front of it.
fn move_some(core: &Arc<Core>, mut guard: WriteGuard<'_>, survey: &Survey) -> Result<Round> {
    let mut budget = MOVED_PER_COMMIT_MAX.min(survey.room / 2).max(1);
    while budget > 0 {
        let mark = guard.batch().0.mark();
        let mut goal = Move::new(survey.limit, budget);
        goal.holes.clone_from(&survey.holes);
        let size = move_buckets(core, &mut guard, &mut goal)?;
        let needed = size.runs.iter().sum::<u32>() + size.nodes();
        if goal.moved == 0 {
            let remaining = goal.remaining;
            return Ok(if remaining > 0 { Round::Cramped(remaining) } else { Round::Done });
        }
        if needed <= survey.room {
            let catalog_budget = (survey.room - needed) / 4;
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
