//! The report as JSON (part of verify, layer L5).
//!
//! Owns: [`Report::to_json`].
//! Must not know: how anything was found.

use super::report::{BucketReport, Report, StateReport, Violation};
use crate::json::Json;

impl Report {
    /// The report as one JSON object on one line. Its names are those of the fields; `sound` and
    /// `at_rest` are [`Report::is_sound`] and [`Report::is_at_rest`].
    pub fn to_json(&self) -> String {
        let mut line = Json::line(|out| {
            out.optional("page_size", self.page_size.map(u64::from));
            out.number("file_len", self.file_len);
            out.truth("sound", self.is_sound());
            out.truth("at_rest", self.is_at_rest());
            out.list("states", &self.states, state);
            out.list("refused", &self.refused, violation);
            out.list("violations", &self.violations, violation);
            out.number("violations_dropped", self.violations_dropped);
        });
        line.pop();
        line
    }
}

fn state(out: &mut Json, state: &StateReport) {
    out.number("slot", u64::from(state.slot));
    out.number("txn", state.txn);
    out.truth("is_mirror", state.is_mirror);
    out.string("standing", state.standing.name());
    out.truth("is_complete", state.is_complete);
    out.number("page_count", u64::from(state.page_count));
    out.number("reachable", state.reachable);
    out.number("catalog_pages", state.catalog_pages);
    out.number("log_pages", state.log_pages);
    out.number("free", state.free);
    out.number("pending", state.pending);
    out.number("lost", state.lost);
    out.list("buckets", &state.buckets, bucket);
}

fn bucket(out: &mut Json, bucket: &BucketReport) {
    out.string("name", &bucket.name);
    out.number("entries", bucket.entries);
    out.optional("level", bucket.level.map(u64::from));
    out.number("leaf_pages", bucket.leaf_pages);
    out.number("branch_pages", bucket.branch_pages);
    out.number("overflow_pages", bucket.overflow_pages);
    out.number("key_bytes", bucket.key_bytes);
    out.number("value_bytes", bucket.value_bytes);
    out.number("used_bytes", bucket.used_bytes);
    out.number("tree_bytes", bucket.tree_bytes);
}

fn violation(out: &mut Json, violation: &Violation) {
    out.optional("page", violation.page.map(u64::from));
    out.string("invariant", violation.invariant.name());
    out.string("expected", &violation.expected);
    out.string("found", &violation.found);
    out.optional("slot", violation.slot.map(u64::from));
    out.optional("txn", violation.txn);
    out.string("path", &violation.path);
}
