//! A whole store as text.
//!
//! Owns: `dump`, and the words of its form. Must not know: how it is read.

use super::args::Dump;
use super::entries::{name_of, no_bucket};
use super::files::open_to_read;
use super::outcome::{Code, Done};
use super::output::Output;
use super::scan::print;
use super::text::Form;
use btree_store::Snapshot;
use std::io::Write;

/// The first line, of each form.
pub fn first_line(form: Form) -> &'static str {
    match form {
        Form::Text => "btree-store dump 1",
        Form::Hex => "btree-store dump 1 hex",
    }
}

/// What begins the line of a bucket, and the last line.
pub const BUCKET: &str = "bucket ";
pub const END: &str = "end ";

/// Prints all entries of all buckets, or of those that are named.
pub fn dump(args: &Dump, out: &mut Output) -> Done {
    let form = Form::of(args.form.hex);
    let wanted: Vec<String> = args.buckets.iter().map(|name| name_of(name)).collect::<Done<_>>()?;
    let state = open_to_read(&args.file)?.snapshot();
    let names = state.buckets()?;
    if let Some(name) = wanted.iter().find(|name| !names.contains(name)) {
        return Err(no_bucket(name));
    }
    let names = if wanted.is_empty() { names } else { wanted };
    if !out.is_json() {
        out.text(first_line(form))?;
        out.text("\n")?;
    }
    let mut entries = 0;
    for name in &names {
        entries += dump_bucket(&state, name, form, out)?;
    }
    if !out.is_json() {
        out.text(&format!("{END}{} {entries}\n", names.len()))?;
    }
    Ok(Code::Done)
}

/// Prints a bucket, and returns how many entries it has.
fn dump_bucket(state: &Snapshot, name: &str, form: Form, out: &mut Output) -> Done<u64> {
    let shown = Form::Text.show(name.as_bytes());
    state.try_view(name, |txn| {
        if out.is_json() {
            out.json(|json| {
                json.string("bucket", &shown);
                json.number("entries", txn.len());
            })?;
        } else {
            out.text(&format!("{BUCKET}{shown}\n"))?;
        }
        // Each value in the same memory, however large.
        let (mut iter, mut key, mut value) = (txn.iter(), Vec::new(), Vec::new());
        let mut count = 0;
        while iter.next_ref(&mut key, &mut value) {
            if !out.is_json() {
                out.out.write_all(b" ")?;
            }
            print(out, form, name, (&key, Some(&value)))?;
            count += 1;
        }
        iter.error().map_or(Ok(count), |error| Err(error.into()))
    })
}
