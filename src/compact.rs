//! Compaction (layer L7).
//!
//! Owns: filling the leaves up, the order of this and of moving pages from the end of the file to
//! free places, and the shortening of the file. Must not know: how a commit is flushed.
//! Keeps: no-reuse-while-reachable (all of it is done by ordinary commits, and a page's old place
//! is given back only when no state that may be read or recovered needs it).

mod moving;
mod progress;

use crate::commit::{Bucket, Core, Outcome, Packing, WriteGuard};
use crate::error::Result;
use crate::page::PageId;
use crate::sync::Arc;
use crate::tree::{Cursor, PageRead, Repack, Tree};
use moving::{LEFT_MAX, Moving, Survey, Wish};
use std::collections::VecDeque;

/// Pages that one commit moves at most, so that a compaction needs little memory.
const MOVED_PER_COMMIT_MAX: u32 = 512;
/// How often what lies between free pages is moved together.
const GATHERINGS_MAX: u32 = 4;
/// How often, at last, by all that is left: there is room side by side then.
const LAST_CONCESSIONS: u32 = 2;
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

pub(crate) fn compact(core: &Arc<Core>, target_bytes: u64) -> Result<CompactStats> {
    let page_size = core.pager.page_size() as u64;
    let target_pages = match target_bytes {
        0 => u32::MAX,
        bytes => u32::try_from(bytes.div_ceil(page_size)).unwrap_or(u32::MAX),
    };
    let before = core.readers.newest().page_count;
    let filled = fill_up(core, target_pages)?;
    let mut moving = Moving::new(core, before, target_pages, filled);
    moving.run()?;
    for _ in 0..GATHERINGS_MAX {
        let now = core.readers.newest().page_count;
        if !moving.is_cramped() || !is_loose(core)? || overflow_pages(core)? == 0 {
            break;
        }
        // The free pages lie in small pieces between others. Those are moved together, shorter runs
        // too, and the runs behind them that found no room.
        moving.run_pages_max =
            moving.shortest_left.map_or(0, |shortest| shortest.saturating_sub(1));
        moving.kept_runs = longer_runs(core, moving.run_pages_max)?;
        moving.run()?;
        (moving.kept_runs, moving.run_pages_max, moving.last) = (0, u32::MAX, LAST_CONCESSIONS);
        moving.run()?;
        if core.readers.newest().page_count >= now {
            break;
        }
    }
    core.shorten_file()?;
    let missing = if target_pages < before { missing(core, before - target_pages)? } else { 0 };
    let remaining_candidates = moving.remaining.max(missing);
    Ok(CompactStats { moved_pages: moving.moved, remaining_candidates })
}

/// How many pages the end of the file is behind the one that was wanted, as far as there are pages
/// that could be given up for them.
fn missing(core: &Arc<Core>, wanted: u32) -> Result<usize> {
    let counts = core.space_counts()?;
    let unused = counts.free_pages + counts.pending_pages;
    let missing = core.readers.newest().page_count.saturating_sub(wanted);
    // The last few are not worth what it takes to win them.
    let unused = u32::try_from(unused).unwrap_or(u32::MAX);
    Ok(if unused <= LEFT_MAX { 0 } else { missing.min(unused) as usize })
}

/// Pages of the overflow runs of more than so many pages.
fn longer_runs(core: &Arc<Core>, pages_max: u32) -> Result<u32> {
    if pages_max == 0 {
        return overflow_pages(core);
    }
    let (state, pages) = (core.readers.pin_newest(), &core.pager);
    let mut longer = 0_u32;
    for (name, record) in state.catalog.list(pages)? {
        if record.overflow_pages == 0 {
            continue;
        }
        let Some(tree) = state.catalog.find(pages, &name, state.txn)? else { continue };
        let mut cursor = Cursor::new(tree);
        while let Some((_, value)) = cursor.next_or_run(pages, 0)? {
            let run = value.err().map_or(0, |run| run.pages(pages.page_size()));
            longer = longer.saturating_add(if run > pages_max { run } else { 0 });
        }
    }
    Ok(longer)
}

/// Whether much of the file is unused.
fn is_loose(core: &Arc<Core>) -> Result<bool> {
    let counts = core.space_counts()?;
    let unused = counts.free_pages + counts.pending_pages;
    Ok(unused > u64::from(core.pager.page_count() / LOOSE_PART))
}

/// Pages of the overflow runs of all buckets.
fn overflow_pages(core: &Arc<Core>) -> Result<u32> {
    let state = core.readers.pin_newest();
    let buckets = state.catalog.list(&core.pager)?;
    // Whatever the file says of them.
    let pages = buckets.iter().map(|(_, record)| record.overflow_pages);
    let pages = pages.fold(0, u64::saturating_add);
    Ok(u32::try_from(pages).unwrap_or(u32::MAX))
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
        let (unused, page_count) = guard.unused_pages();
        let is_enough = unused >= u64::from(target_pages);
        if is_enough || page_count.saturating_sub(before) > growth_max {
            break;
        }
        if walk.step(&mut guard)? {
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

    /// Fills some pages. Returns whether there were any, which may all be of a commit that waits
    /// for its flush.
    fn step(&mut self, guard: &mut WriteGuard<'_>) -> Result<bool> {
        let filled = self.fill_some(guard);
        guard.note(filled)
    }

    fn fill_some(&mut self, guard: &mut WriteGuard<'_>) -> Result<bool> {
        let mut has_filled = false;
        self.rounds -= 1;
        let (batch, pages) = guard.batch();
        let from = std::mem::take(&mut self.from);
        let mut goal = Repack::new(from, self.budget, self.budget * LOOKS);
        while let Some(name) = self.names.front() {
            if let Some(mut tree) = batch.bucket(pages, name)?
                && tree.repack(&mut batch.edit(pages), &mut goal)?
            {
                install(batch, name, tree);
                has_filled = true;
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
        Ok(has_filled)
    }
}

/// Gives the free end of the file back to the system. Moves nothing; what was given up by the last
/// commits may stay.
pub(crate) fn cut_free_end(core: &Arc<Core>) -> Result<()> {
    let wish = Wish { target_pages: u32::MAX, slack: 0, kept_runs: 0, limit_min: 0 };
    let survey = Survey::of(&mut core.begin()?, &wish);
    survey.pass(core)?;
    core.shorten_file()
}

fn install(batch: &mut crate::commit::Batch, name: &[u8], tree: Tree) {
    batch.install(name, Bucket::Live(tree));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Walk, overflow_pages};
    use crate::Durability;
    use crate::format::{BUCKET_LEN, META_BODY};
    use crate::options::Options;
    use crate::sync::Arc;
    use crate::vfs::MemVfs;

    /// Others may have deferred commits between the steps of a compaction.
    #[test]
    fn what_is_filled_of_a_commit_that_waits_for_its_flush_is_kept() {
        let db = Options::new().page_size(512).open_in_memory().unwrap();
        let core = Arc::clone(db.snapshot().core());
        let keys = || (0..300_u32).map(u32::to_be_bytes);
        db.exec("b", |txn| keys().try_for_each(|key| txn.put(key, [0; 20]))).unwrap();
        db.exec("b", |txn| {
            txn.set_durability(Durability::Deferred);
            keys().filter(|key| key[3] % 2 == 0).try_for_each(|key| txn.del(key))
        })
        .unwrap();
        let mut walk = Walk::new(&core).unwrap();
        let has_filled = walk.step(&mut core.begin().unwrap()).unwrap();
        assert!(
            has_filled && walk.united > 0 && walk.written == 0,
            "{} {}",
            walk.united,
            walk.written
        );
    }

    #[test]
    fn counts_that_are_made_up_end_in_the_largest() {
        let vfs = MemVfs::new();
        let open = || Options::new().page_size(512).vfs(Arc::new(vfs.clone())).open("f").unwrap();
        let put = |name: &str| open().exec(name, |txn| txn.put("k", "v")).unwrap();
        put("a");
        put("b");
        let mut bytes = vfs.read_file("f").unwrap();
        for slot in bytes.chunks_mut(512).take(2) {
            for bucket in 0..2 {
                let at = META_BODY + bucket * (3 + BUCKET_LEN) + 3 + 20;
                slot[at..at + 8].fill(0xFF);
            }
            let checksum = crc32c::crc32c(&slot[4..]).to_le_bytes();
            slot[..4].copy_from_slice(&checksum);
        }
        vfs.write_file("f", &bytes);
        assert_eq!(overflow_pages(open().snapshot().core()), Ok(u32::MAX));
    }
}
