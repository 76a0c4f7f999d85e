//! Entries in their order.
//!
//! Owns: `scan`, and how an entry is printed. Must not know: how a range is walked.

use super::args::Scan;
use super::entries::{bytes_of, name_of, no_bucket};
use super::files::open_to_read;
use super::outcome::{Code, Done, Failure};
use super::output::Output;
use super::text::Form;
use std::ops::Bound;

/// The keys that are wanted: not below the first, and below the second where there is one.
struct Bounds {
    from: Vec<u8>,
    to: Option<Vec<u8>>,
}

impl Bounds {
    fn of(args: &Scan, form: Form) -> Done<Bounds> {
        let read = |what, text: &Option<std::ffi::OsString>| {
            text.as_ref().map(|text| bytes_of(what, form, text)).transpose()
        };
        let from = read("--from", &args.from)?.unwrap_or_default();
        let to = read("--to", &args.to)?;
        let prefix = read("--prefix", &args.prefix)?.unwrap_or_default();
        let behind = behind(&prefix);
        let to = match (to, behind) {
            (Some(to), Some(behind)) => Some(to.min(behind)),
            (to, behind) => to.or(behind),
        };
        Ok(Bounds { from: from.max(prefix), to })
    }
}

/// The lowest key behind all that begin with a prefix.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    Some([&prefix[..kept], &[prefix[kept] + 1]].concat())
}

/// Prints an entry.
pub fn print(
    out: &mut Output,
    form: Form,
    bucket: &str,
    (key, value): (&[u8], Option<&[u8]>),
) -> Done<()> {
    if out.is_json() {
        return out.json(|json| {
            json.string("bucket", &Form::Text.show(bucket.as_bytes()));
            json.string("key", &form.show(key));
            if let Some(value) = value {
                json.string("value", &form.show(value));
            }
        });
    }
    form.write(key, &mut out.out)?;
    if let Some(value) = value {
        out.text("\t")?;
        form.write(value, &mut out.out)?;
    }
    out.text("\n")
}

/// Prints entries.
pub fn scan(args: &Scan, out: &mut Output) -> Done {
    let form = Form::of(args.form.hex);
    let bucket = name_of(&args.place.bucket)?;
    let Bounds { from, to } = Bounds::of(args, form)?;
    let db = open_to_read(&args.place.file)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut is_there = false;
    let result: Done<()> = db.try_view(&bucket, |txn| {
        is_there = true;
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = txn.range::<[u8]>((Bound::Included(from.as_slice()), to));
        while left > 0 {
            let entry = match (args.keys, args.reverse) {
                (false, false) => range.next_entry()?.map(|(key, value)| (key, Some(value))),
                (false, true) => range.prev_entry()?.map(|(key, value)| (key, Some(value))),
                (true, false) => range.next_key()?.map(|key| (key, None)),
                (true, true) => range.prev_key()?.map(|key| (key, None)),
            };
            let Some(entry) = entry else { break };
            print(out, form, &bucket, entry)?;
            left -= 1;
        }
        Ok(())
    });
    match result {
        Err(Failure::Told { code: Code::NotFound, .. }) if !is_there => Err(no_bucket(&bucket)),
        result => result.map(|()| Code::Done),
    }
}
