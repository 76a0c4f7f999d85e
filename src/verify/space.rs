//! The pages of the space log, and the unused pages (part of verify, layer L5).
//!
//! Owns: following the log's pages, claiming them and the pages that the log tells as unused, and
//! holding the log against what the meta page lists.
//! Must not know: what the records mean.

use super::findings::{Checked, Flaw, all_zero};
use super::inspect::{Inspection, Part};
use super::node::kind_of;
use super::owners::Owner;
use super::replay::{Replay, Words};
use super::slot::Pointer;
use crate::error::Result;
use crate::format::{
    HEADER_COUNT, HEADER_HEAP, HEADER_LEN, HEADER_LEVEL, HEADER_TXN, KIND_SPACE_LOG, LOG_BODY,
    LOG_PREVIOUS, LOG_PREVIOUS_CHECKSUM, META_LOG_PAGES, log_page_words_max,
};
use crate::invariant::Invariant;
use crate::page::{get_u16, get_u32, get_u64};

/// Reads the log, and claims its pages and all unused ones.
pub(super) fn inspect(inspection: &mut Inspection<'_>) -> Result<()> {
    inspection.trail.part = Part::SpaceLog;
    let mut words = Words::default();
    let meta = inspection.meta;
    words.add(u32::from(meta.slot), meta.txn(), meta.tail());
    if !read_chain(inspection, &mut words)? {
        inspection.is_complete = false;
        return Ok(());
    }
    match Replay::run(&words, inspection.meta) {
        Ok(replay) => {
            for (from, to, owner) in replay.unused() {
                for page in from..to {
                    inspection.claim(page, owner);
                }
            }
            if meta.has_items() && inspection.is_complete {
                check_allocated(inspection, replay.allocated);
            }
        }
        Err((page, flaw)) => {
            inspection.report_flaw(page, flaw);
            inspection.is_complete = false;
        }
    }
    Ok(())
}

/// Reads the pages of the log from the newest to the oldest.
fn read_chain(inspection: &mut Inspection<'_>, words: &mut Words) -> Result<bool> {
    let mut bytes = Vec::new();
    let mut next = inspection.meta.log_head();
    let stated = inspection.meta.field(META_LOG_PAGES);
    for _ in 0..stated {
        if next.id == 0 {
            let expected = format_args!("{stated} pages");
            let (found, invariant) = (words.pages() - 1, Invariant::SpaceLogReplays);
            inspection.report(Some(u32::from(inspection.meta.slot)), invariant, expected, found);
            return Ok(false);
        }
        if !inspection.read_target(next, Owner::Log, &mut bytes)? {
            return Ok(false);
        }
        if let Err(flaw) = check_log_page(&bytes) {
            inspection.report_flaw(next.id, flaw);
            return Ok(false);
        }
        let end = LOG_BODY + 4 * usize::from(get_u16(&bytes, HEADER_COUNT));
        let unused = [HEADER_LEVEL..HEADER_COUNT, HEADER_HEAP..HEADER_LEN, end..bytes.len()];
        if !unused.into_iter().all(|range| all_zero(&bytes[range])) {
            let zeros = "zeros in what a page of the log does not use";
            let invariant = Invariant::SameCallsSameBytes;
            inspection.report(Some(next.id), invariant, zeros, "other bytes");
        }
        let txn_max = get_u64(&bytes, HEADER_TXN).min(next.txn_max);
        words.add(next.id, txn_max, &bytes[LOG_BODY..end]);
        let (id, checksum) =
            (get_u32(&bytes, LOG_PREVIOUS), get_u32(&bytes, LOG_PREVIOUS_CHECKSUM));
        next = Pointer { id, checksum, txn_max };
    }
    Ok(true)
}

fn check_log_page(bytes: &[u8]) -> Checked<()> {
    let replays = Invariant::SpaceLogReplays;
    let kind = kind_of(bytes);
    if kind != KIND_SPACE_LOG {
        let expected = format_args!("kind {KIND_SPACE_LOG}");
        return Err(Flaw::new(replays, expected, format_args!("kind {kind}")));
    }
    let (count, max) = (usize::from(get_u16(bytes, HEADER_COUNT)), log_page_words_max(bytes.len()));
    if count > max {
        return Err(Flaw::new(replays, format_args!("at most {max} words"), count));
    }
    Ok(())
}

/// Checks that a list of what the commit wrote and the log of what it allocated agree.
fn check_allocated(inspection: &mut Inspection<'_>, mut allocated: Vec<(u32, u32)>) {
    allocated.sort_unstable();
    let items = inspection.meta.items();
    let listed = joined(items.map(|item| (item.first, item.first + item.pages)));
    let allocated = joined(allocated.into_iter());
    let differ = listed.iter().zip(&allocated).find(|(listed, allocated)| listed != allocated);
    let (expected, found, page) = match differ {
        Some((l, a)) => {
            (format!("{} to {}", a.0, a.1), format!("{} to {}", l.0, l.1), l.0.min(a.0))
        }
        None if listed.len() == allocated.len() => return,
        None => {
            let at = listed.len().min(allocated.len());
            let page = listed.get(at).or(allocated.get(at)).map_or(0, |span| span.0);
            (format!("{} extents", allocated.len()), listed.len().to_string(), page)
        }
    };
    let expected = format!("the pages that the commit allocated, {expected}");
    inspection.report(Some(page), Invariant::MetaListsPages, expected, found);
}

/// Ascending ranges, neighbours as one.
fn joined(spans: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}
