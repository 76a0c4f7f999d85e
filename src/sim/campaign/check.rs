//! What must hold of an open store of a campaign.
//!
//! Owns: the comparison with the model, and the account of pages.
//! Must not know: what happened to the store.

use super::super::oracle::{By, Ending, Handle, Op, Oracle, Reply, compare};
use crate::BTree;

/// An operation that nothing has disturbed leads to the oracle's state, and to its number, but for
/// what makes states of the same contents, or makes deferred commits durable unasked.
pub(super) fn check_undisturbed(db: &BTree, oracle: &mut Oracle, op: &Op) -> Result<(), String> {
    let (seq, wanted) = (db.current_seq(), oracle.seq());
    let is_free = may_compact(op) || seq == wanted + 1 && oracle.has_just_deferred();
    if seq < wanted || seq > wanted && !is_free {
        return Err(format!("{op:?} leads to state {seq}, not {wanted}"));
    }
    oracle.follow(seq);
    check(db, oracle)
}

/// The store holds what the oracle says, and every page has its owner.
pub(super) fn check(db: &BTree, oracle: &Oracle) -> Result<(), String> {
    compare(db, &oracle.durable()).map_err(|what| format!("state {}: {what}", oracle.seq()))?;
    check_pages(db)
}

/// Every page has its owner, and the store counts those without one as its file does.
pub(super) fn check_pages(db: &BTree) -> Result<(), String> {
    let report = db.verify().map_err(|error| error.to_string())?;
    if !report.is_sound() {
        return Err(format!("state {}: {report}", db.current_seq()));
    }
    let stats = db.stats().map_err(|error| error.to_string())?;
    let state = report.accepted().ok_or("no state is accepted")?;
    let said = (stats.seq, stats.page_count, stats.free_pages + stats.pending_pages);
    let found = (state.txn, state.page_count, state.free + state.pending);
    if said == found { Ok(()) } else { Err(format!("the store says {said:?}, its file {found:?}")) }
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
