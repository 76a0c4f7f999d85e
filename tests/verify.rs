//! Does verify call sound files sound, and does it say of every other file what is wrong with it?
//!
//! The files are built by hand from `docs/format.md`; the engine reads them too.

#[cfg(feature = "sim")]
#[path = "verify/audit.rs"]
mod audit;
#[path = "verify/build.rs"]
mod build;
#[path = "verify/cases.rs"]
mod cases;
#[path = "common/counting.rs"]
mod counting;
#[path = "verify/engine.rs"]
mod engine;
#[path = "verify/hostile.rs"]
mod hostile;
#[path = "verify/samples.rs"]
mod samples;
#[path = "verify/slots.rs"]
mod slots;
#[path = "verify/space.rs"]
mod space;
#[path = "verify/trees.rs"]
mod trees;

use btree_store::Options;
use btree_store::verify::{BucketReport, Owner, Report};
use btree_store::vfs::MemVfs;
use build::File;
use counting::Counting;
use samples::{Sample, at_rest, large, pair, single};
use std::sync::Arc;

/// Each test asks for memory in its own thread.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZES: [usize; 3] = [512, 4096, 32768];

/// What the engine reads from a file, bucket by bucket.
fn engine_reads(file: &File) -> Vec<(String, Vec<build::Entry>)> {
    let vfs = MemVfs::new();
    vfs.write_file("file", &file.bytes);
    let db = Options::new().vfs(Arc::new(vfs)).read_only().open("file").expect("it opens");
    let names = db.buckets().expect("the catalog is read");
    let read = |name: &String| {
        db.view(name, |txn| {
            let (mut cursor, mut entries) = (txn.iter(), Vec::new());
            let (mut key, mut value) = (Vec::new(), Vec::new());
            while cursor.next_ref(&mut key, &mut value) {
                entries.push((key.clone(), value.clone()));
            }
            cursor.error().map_or(Ok(entries), Err)
        })
    };
    names.iter().map(|name| (name.clone(), read(name).expect("the bucket is read"))).collect()
}

/// A sample is sound, its counts are right, and the engine reads what was built.
fn check_sound(name: &str, sample: &mut Sample) {
    let buckets = sample.buckets.clone();
    let report = sample.file().report();
    assert!(report.is_sound(), "{name}: {report}");
    let state = report.accepted().expect("a sound file has a state");
    let wanted: Vec<(String, u64)> =
        buckets.iter().map(|(name, entries)| (name.clone(), entries.len() as u64)).collect();
    let found: Vec<(String, u64)> =
        state.buckets.iter().map(|bucket| (bucket.name.clone(), bucket.entries)).collect();
    assert_eq!(found, wanted, "{name}");
    let total = state.reachable + state.log_pages + state.free + state.pending + 2;
    assert_eq!(total, u64::from(state.page_count), "{name}: {report}");
    assert_eq!(state.lost, 0, "{name}");
    check_owners(name, &report);
    assert_eq!(engine_reads(sample.file()), buckets, "{name}");
}

/// The owners of the pages are as many as the report counts.
fn check_owners(name: &str, report: &Report) {
    let state = report.accepted().expect("a sound file has a state");
    let sum = |pages: fn(&BucketReport) -> u64| state.buckets.iter().map(pages).sum::<u64>();
    let wanted = [
        (Owner::Nobody, 0),
        (Owner::Slot, 2),
        (Owner::Catalog, state.catalog_pages),
        (Owner::Branch, sum(|bucket| bucket.branch_pages)),
        (Owner::Leaf, sum(|bucket| bucket.leaf_pages)),
        (Owner::Run, sum(|bucket| bucket.overflow_pages)),
        (Owner::Log, state.log_pages),
        (Owner::Free, state.free),
        (Owner::Pending, state.pending),
    ];
    for (owner, count) in wanted {
        let found = report.owners().iter().filter(|found| **found == owner).count();
        assert_eq!(found as u64, count, "{name}: {owner:?}");
    }
    assert_eq!(report.owners().len() as u64, u64::from(state.page_count), "{name}");
}

#[test]
fn files_built_from_the_document_are_sound() {
    for size in SIZES {
        check_sound("single", &mut single(size));
        check_sound("at rest", &mut at_rest(size));
        check_sound("large", &mut large(size));
        check_sound("pair", &mut pair(size));
    }
}

/// Numbers that look random and are the same every time: xorshift after a multiplication.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).expect("the upper half")
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(u32::try_from(end).expect("it is small"))).expect("it is small")
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() & 0xFF).expect("8 bits")
    }
}

/// The members of a JSON object, checked for form: every bracket closed, every string ended.
fn check_json(text: &str) {
    let (mut open, mut is_string, mut is_escaped) = (Vec::new(), false, false);
    for c in text.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            c if is_string => assert!(!c.is_control(), "{text}"),
            '{' | '[' => open.push(c),
            '}' => assert_eq!(open.pop(), Some('{'), "{text}"),
            ']' => assert_eq!(open.pop(), Some('['), "{text}"),
            ',' | ':' | '-' => assert!(!open.is_empty(), "{text}"),
            c => assert!(c.is_ascii_alphanumeric(), "{c} in {text}"),
        }
    }
    assert!(open.is_empty() && !is_string, "{text}");
}

#[test]
fn reports_can_be_read_by_people_and_programs() {
    let mut sample = pair(512);
    let text = sample.file().report().to_string();
    for part in ["slot 1: transaction 7, accepted", "fallback", "bucket \"a\": 40 entries", "sound"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = sample.file().report().to_json();
    check_json(&json);
    for part in
        ["{\"page_size\":512,", "\"sound\":true", "\"standing\":\"fallback\"", "\"level\":1"]
    {
        assert!(json.contains(part), "{part}: {json}");
    }
    let (root, leaf) = (sample.a.root, sample.a.leaves[2]);
    sample.file().page_mut(leaf)[500] ^= 1;
    sample.file().stamp(leaf);
    sample.file().set_u8(0, 106, b'"');
    sample.file().stamp(0);
    let report = sample.file().report();
    check_json(&report.to_json());
    // The damaged page is listed, so that the older state counts.
    assert_eq!(report.accepted().map(|state| state.txn), Some(6));
    assert!(report.refused.iter().any(|refused| refused.page == Some(leaf)), "{report}");
    let mut sample = single(512);
    let leaf = sample.a.leaves[2];
    sample.file().page_mut(leaf)[500] ^= 1;
    let text = sample.file().report().to_string();
    let way = format!("bucket \"a\", level 1 page {}, level 0 page {leaf})", sample.a.root);
    assert!(text.contains(&way), "{way}: {text}");
    assert_ne!(root, leaf);
}
