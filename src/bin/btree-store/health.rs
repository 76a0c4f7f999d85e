//! How a store is.
//!
//! Owns: `stat`, `check` and `compact`. Must not know: what a page holds.

use super::args::{Check, Compact, Stat};
use super::entries::counts;
use super::files::{Missing, len, open_to_read, open_to_write};
use super::outcome::{Code, Done, Failure};
use super::output::Output;
use super::text::Form;
use btree_store::Stats;
use btree_store::json::Json;
use btree_store::verify::{BucketReport, Report, verify_path};
use btree_store::vfs::OsVfs;

/// Prints sizes and counts.
pub fn stat(args: &Stat, out: &mut Output) -> Done {
    let db = open_to_read(&args.file)?;
    let (stats, counts, bytes) = (db.stats()?, counts(&db)?, len(&args.file)?);
    let report = if args.full { Some(db.verify()?) } else { None };
    let state = report.as_ref().and_then(Report::accepted);
    let trees = state.map_or(&[][..], |state| &state.buckets);
    let entries = counts.iter().map(|(_, entries)| *entries).fold(0, u64::saturating_add);
    if out.is_json() {
        out.finding(&Json::line(|json| {
            json.number("page_size", u64::from(stats.page_size));
            json.number("pages", u64::from(stats.page_count));
            json.number("file_bytes", bytes);
            json.number("free_pages", stats.free_pages);
            json.number("free_extents", stats.free_extents as u64);
            json.number("pending_pages", stats.pending_pages);
            json.number("seq", stats.seq);
            json.number("buckets", u64::from(stats.buckets));
            json.number("entries", entries);
            if args.full {
                json.list("trees", trees, tree);
            }
        }));
    } else {
        out.finding(&sizes(&stats, bytes, entries));
        for bucket in trees {
            out.finding(&format!("{bucket}\n"));
        }
    }
    report.as_ref().map_or(Ok(Code::Done), judged)
}

/// How a command ends that has walked the file and does not print what is wrong with it.
pub fn judged(report: &Report) -> Done {
    if report.is_sound() {
        return Ok(Code::Done);
    }
    let what = report.violations.first().map_or_else(String::new, ToString::to_string);
    Err(Failure::new(Code::Damage, format!("{what}; `btree-store check` says all")))
}

fn sizes(stats: &Stats, bytes: u64, entries: u64) -> String {
    let Stats { page_size, page_count, free_pages, free_extents, .. } = stats;
    format!(
        "page size: {page_size}\n\
         pages: {page_count}\n\
         file bytes: {bytes}\n\
         free pages: {free_pages}, in {free_extents} extents\n\
         pending pages: {}\n\
         state: {}\n\
         buckets: {}\n\
         entries: {entries}\n",
        stats.pending_pages, stats.seq, stats.buckets
    )
}

fn tree(json: &mut Json, bucket: &BucketReport) {
    json.string("name", &Form::Text.show(bucket.name.as_bytes()));
    json.number("entries", bucket.entries);
    json.optional("level", bucket.level.map(u64::from));
    json.number("leaf_pages", bucket.leaf_pages);
    json.number("branch_pages", bucket.branch_pages);
    json.number("overflow_pages", bucket.overflow_pages);
    json.number("key_bytes", bucket.key_bytes);
    json.number("value_bytes", bucket.value_bytes);
    json.number("fill_percent", bucket.fill_percent());
}

/// Walks the file.
pub fn check(args: &Check, out: &mut Output) -> Done {
    let report = verify_path(&OsVfs, &args.file)?;
    let text = if out.is_json() { report.to_json() + "\n" } else { report.to_string() };
    out.finding(&text);
    Ok(if report.is_sound() { Code::Done } else { Code::Damage })
}

/// Makes the file shorter.
pub fn compact(args: &Compact, out: &mut Output) -> Done {
    let db = open_to_write(&args.file, Missing::Fail)?;
    let before = len(&args.file)?;
    let done = db.compact(args.bytes)?;
    // The file as it is once it is closed.
    drop(db);
    let after = len(&args.file)?;
    if out.is_json() {
        out.json(|json| {
            json.number("bytes_before", before);
            json.number("bytes_after", after);
            json.number("moved_pages", done.moved_pages as u64);
            json.number("remaining_candidates", done.remaining_candidates as u64);
        })?;
    } else {
        out.text(&format!(
            "{before} bytes before, {after} after; {} pages moved or filled, {} left behind\n",
            done.moved_pages, done.remaining_candidates
        ))?;
    }
    Ok(Code::Done)
}
