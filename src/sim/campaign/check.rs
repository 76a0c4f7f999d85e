//! What must hold of an open store of a campaign.
//!
//! Owns: the comparison with the model, and the account of pages.
//! Must not know: what happened to the store.

use super::super::oracle::{By, Ending, Handle, Op, Oracle, Reply, compare, compare_snapshots};
use crate::verify::StateReport;
use crate::{BTree, Stats};

/// Of so many states the snapshots that are kept are compared in one.
const SNAPSHOTS_OF: u64 = 4;

/// An operation that nothing has disturbed leads to the oracle's state, and to its number, but for
/// what makes states of the same contents, or makes deferred commits durable unasked.
pub(super) fn check_undisturbed(
    store: &Handle,
    oracle: &mut Oracle,
    op: &Op,
) -> Result<(), String> {
    let (seq, wanted) = (store.db().current_seq(), oracle.seq());
    let is_free = may_compact(op) || seq == wanted + 1 && oracle.has_just_deferred();
    if seq < wanted || seq > wanted && !is_free {
        return Err(format!("{op:?} leads to state {seq}, not {wanted}"));
    }
    oracle.follow(seq);
    if seq.is_multiple_of(SNAPSHOTS_OF) {
        let stays = compare_snapshots(store, oracle);
        stays.map_err(|what| format!("{op:?}: a snapshot has changed: {what}"))?;
    }
    check(store.db(), oracle)
}

/// The store holds what the oracle says, and every page has its owner.
pub(super) fn check(db: &BTree, oracle: &Oracle) -> Result<(), String> {
    compare(db, &oracle.durable()).map_err(|what| format!("state {}: {what}", oracle.seq()))?;
    check_pages(db)
}

/// Every page has its owner, and the store counts those without one as its file does. It may wait
/// longer until it uses one again, for a reader, or until it commits; not shorter.
pub(super) fn check_pages(db: &BTree) -> Result<(), String> {
    count_pages(db, waits_long_enough)
}

/// The same of a store that was just opened, which nobody reads: the next commit may write just
/// what the file says.
pub(super) fn check_opened(db: &BTree) -> Result<(), String> {
    count_pages(db, waits_just_as_long)
}

fn waits_long_enough(stats: &Stats, state: &StateReport) -> bool {
    stats.free_pages <= state.free
}

fn waits_just_as_long(stats: &Stats, state: &StateReport) -> bool {
    stats.free_pages == state.free
}

fn count_pages(db: &BTree, is_right: fn(&Stats, &StateReport) -> bool) -> Result<(), String> {
    let report = db.verify().map_err(|error| error.to_string())?;
    if !report.is_sound() {
        return Err(format!("state {}: {report}", db.current_seq()));
    }
    let stats = db.stats().map_err(|error| error.to_string())?;
    judge(&stats, report.accepted().ok_or("no state is accepted")?, is_right)
}

fn judge(
    stats: &Stats,
    state: &StateReport,
    is_right: fn(&Stats, &StateReport) -> bool,
) -> Result<(), String> {
    let said = (stats.seq, stats.page_count, stats.free_pages + stats.pending_pages);
    let found = (state.txn, state.page_count, state.free + state.pending);
    if said != found {
        return Err(format!("the store says {said:?}, its file {found:?}"));
    }
    if is_right(stats, state) {
        return Ok(());
    }
    let (said, found) = (stats.free_pages, state.free);
    Err(format!("the store may write {said} pages of state {}, its file has {found}", state.txn))
}

/// Whether a compaction may run; inside of a write transaction it is refused.
pub(super) fn may_compact(op: &Op) -> bool {
    // Nor does one in the closure of `transact`, which refuses it.
    let writes = matches!(op, Op::Exec(_) | Op::Multi { .. } | Op::Owned { by: By::Transact, .. });
    !writes && format!("{op:?}").contains("Compact(")
}

/// What an operation finds that may come to nothing: which pages are free, and which wait to be.
pub(super) struct Unused {
    pages: Option<(u64, u64)>,
    seq: u64,
    kept: u64,
}

impl Unused {
    pub(super) fn of(store: &Handle) -> Unused {
        let stats = store.db().stats().ok();
        let pages = stats.as_ref().map(|stats| (stats.free_pages, stats.pending_pages));
        Unused { pages, seq: store.db().current_seq(), kept: store.kept() }
    }

    /// Pages that were set aside for a write transaction that came to nothing are free again, if
    /// nobody reads there: neither now, nor until now.
    pub(super) fn check(&self, store: &Handle, op: &Op, reply: &Reply) -> Result<(), String> {
        let writes = matches!(op, Op::Exec(_) | Op::Multi { .. } | Op::Owned { .. });
        let now = Unused::of(store);
        if !writes || reply.end == Ending::Done || (self.seq, self.kept) != (now.seq, now.kept) {
            return Ok(());
        }
        let (before, after) = (self.pages, now.pages);
        if before == after {
            return Ok(());
        }
        Err(format!("{op:?} comes to nothing, and of pages {before:?} is {after:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::sim::SimDisk;

    /// Two commits behind an open some pages wait that the next one might write: each count is
    /// compared for itself, and not their sum.
    #[test]
    fn pages_that_are_free_and_pages_that_wait_are_told_apart() {
        let disk = SimDisk::new();
        let open =
            || Options::new().page_size(512).vfs(disk.vfs()).open("store").expect("it opens");
        let put = |db: &BTree, n: u8| db.exec("b", |txn| txn.put("n", [n; 3000]));
        let db = open();
        for n in 0..4 {
            put(&db, n).expect("it is put");
        }
        check_pages(&db).expect("it waits long enough");
        check_opened(&db).expect_err("it waits longer than a store that was opened");
        drop(db);
        let db = open();
        check_opened(&db).expect("it was opened");
        let (stats, report) = (db.stats().expect("counts"), db.verify().expect("a report"));
        let state = report.accepted().expect("a state");
        assert!(stats.free_pages > 0 && stats.pending_pages > 0, "{stats:?}");
        let mut more = stats;
        (more.free_pages, more.pending_pages) = (stats.free_pages + 1, stats.pending_pages - 1);
        let mut less = stats;
        (less.free_pages, less.pending_pages) = (stats.free_pages - 1, stats.pending_pages + 1);
        judge(&more, state, waits_long_enough).expect_err("a page is used too soon");
        judge(&more, state, waits_just_as_long).expect_err("a page is used too soon");
        judge(&less, state, waits_just_as_long).expect_err("a page is used too late");
        judge(&less, state, waits_long_enough).expect("somebody may read it");
        more.pending_pages += 1;
        judge(&more, state, |_, _| true).expect_err("the sum is another");
    }
}
