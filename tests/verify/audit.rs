//! The second reading, to which the crash explorer shows each image: does it call sound files
//! sound, count their pages as verify does, and object to each thing that is broken, one at a time?
//!
//! Attacks: valid-meta-whole, page-owned-once, parent-holds-checksum, sorted-keys,
//! separators-bound-children, entry-count, space-log-replays.

use crate::SIZES;
use crate::build::{snapshot, transaction};
use crate::cases::{child, tail};
use crate::samples::{Sample, at_rest, large, pair, single};
use btree_store::sim::{Audited, audit_slots};
use btree_store::verify::Standing;

fn audit(sample: &mut Sample) -> Audited {
    let slot = usize::try_from(sample.state.slot).expect("a slot");
    let size = u32::try_from(sample.file().size).expect("a page size");
    audit_slots(&sample.file().bytes, size)[slot].clone()
}

#[test]
fn sound_files_are_sound_and_counted_as_verify_counts_them() {
    for size in SIZES {
        for sample in [single, at_rest, large, pair] {
            let mut sample = sample(size);
            let report = sample.file().report();
            let audits = audit_slots(&sample.file().bytes, u32::try_from(size).expect("a size"));
            for (slot, audited) in (0..).zip(audits) {
                let state = report.states.iter().find(|state| state.slot == slot);
                let wanted = state.filter(|state| state.standing != Standing::Refused);
                // Of two slots with one state verify walks one.
                let walked = report.accepted().expect("a state is accepted");
                let wanted = wanted.map(|state| {
                    let counted = if state.txn == walked.txn { walked } else { state };
                    (state.txn, counted.free + counted.pending)
                });
                let found = audited.map(|found| found.map(|(txn, unused)| (txn, unused.into())));
                assert_eq!(found, Ok(wanted), "slot {slot} of {size}");
            }
        }
    }
}

/// What is broken, in which sample, and what the audit says of the sample's state: nothing stands
/// for a state that a recovery would not accept.
type Case = (&'static str, fn(usize) -> Sample, &'static str, fn(&mut Sample));

/// What is refused before anything that it refers to is looked at.
const SLOTS: &[Case] = &[
    ("a flipped bit", single, "", |s| s.file().page_mut(0)[300] ^= 1),
    ("another slot's number", single, "", |s| stamped(s, |s| s.file().set_u32(0, 4, 1))),
    ("another kind", single, "", |s| stamped(s, |s| s.file().set_u8(0, 16, 2))),
    ("another magic number", single, "", |s| stamped(s, |s| s.file().set_u8(0, 32, b'b'))),
    ("another version", single, "", |s| stamped(s, |s| s.file().set_u32(0, 40, 2))),
    ("another page size", single, "", |s| stamped(s, |s| s.file().set_u32(0, 44, 1024))),
    ("a file that is too short", single, "", |s| {
        let len = s.file().bytes.len() - 1;
        s.file().bytes.truncate(len);
    }),
    ("a listed page that was not written", pair, "", |s| {
        let (leaf, root) = (s.a.leaves[2], s.a.root);
        let bytes = s.file().page(root).to_vec();
        s.file().page_mut(leaf).copy_from_slice(&bytes);
    }),
    ("a listed page with another number", pair, "", |s| {
        let (leaf, root) = (s.a.leaves[2], s.a.root);
        sealed(s, |s| s.file().set_u32(leaf, 4, root));
    }),
    ("a listed page with a flipped bit", pair, "", |s| {
        let leaf = s.a.leaves[2];
        s.file().page_mut(leaf)[500] ^= 1;
    }),
    ("a listed run with a flipped bit", pair, "", |s| {
        let (first, _) = s.catalog.runs[0];
        s.file().page_mut(first + 1)[7] ^= 1;
    }),
];

const OWNERS: &[Case] = &[
    ("a child outside the file", single, "lies behind the end", |s| {
        let pages = s.file().pages();
        sealed(s, |s| point(s, 2, pages));
    }),
    ("a child that is a slot", single, "page 1 is Tree and Meta", |s| {
        sealed(s, |s| point(s, 2, 1));
    }),
    ("a child twice", single, "is Tree and Tree", |s| {
        let leaf = s.a.leaves[1];
        sealed(s, |s| point(s, 2, leaf));
    }),
    ("a run over another", single, "is Tree and Tree", |s| {
        let (leaf, first) = (s.o.root, s.o.runs[0].0);
        let at = s.file().value(leaf, 7);
        sealed(s, |s| s.file().set_u32(leaf, at + 4, first + 1));
    }),
    ("a run over the end", single, "lies behind the end", |s| {
        let (leaf, pages) = (s.o.root, s.file().pages());
        let at = s.file().value(leaf, 6);
        sealed(s, |s| s.file().set_u32(leaf, at + 4, pages - 1));
    }),
    ("a page of the log in a tree", large, "is Log and Tree", |s| {
        let leaf = s.a.leaves[1];
        sealed(s, |s| s.file().set_u32(0, 56, leaf));
    }),
];

const PAGES: &[Case] = &[
    ("a flipped bit in a leaf", single, "is another page", |s| {
        let leaf = s.a.leaves[3];
        s.file().page_mut(leaf)[510] ^= 4;
    }),
    ("a flipped bit in its checksum", single, "is another page", |s| {
        let leaf = s.a.leaves[3];
        s.file().page_mut(leaf)[0] ^= 4;
    }),
    ("another checksum at its parent", single, "is another page", |s| {
        let root = s.a.root;
        let at = child(s, root, 3) + 4;
        s.file().page_mut(root)[at] ^= 1;
        let (record, checksum) = (s.file().record(0, 0), s.file().stamp(root));
        s.file().set_u32(0, record + 4, checksum);
        s.file().stamp(0);
    }),
    ("another page's number", single, "is another page", |s| {
        let (leaf, other) = (s.a.leaves[3], s.a.leaves[2]);
        sealed(s, |s| s.file().set_u32(leaf, 4, other));
    }),
    ("another kind", single, "is another page", |s| {
        let leaf = s.a.leaves[3];
        sealed(s, |s| s.file().set_u8(leaf, 16, 4));
    }),
    ("another level", single, "is another page", |s| {
        let leaf = s.a.leaves[3];
        sealed(s, |s| s.file().set_u8(leaf, 17, 1));
    }),
    ("a leaf newer than its branch", single, "is another page", |s| {
        let leaf = s.a.leaves[3];
        sealed(s, |s| s.file().set_u64(leaf, 8, 6));
    }),
    ("a root newer than the state", single, "is another page", |s| {
        let root = s.a.root;
        sealed(s, |s| s.file().set_u64(root, 8, 8));
    }),
    ("a heap behind the page", single, "is another page", |s| {
        let leaf = s.a.leaves[3];
        sealed(s, |s| s.file().set_u16(leaf, 20, 513));
    }),
    ("a flipped bit in the catalog's tree", large, "is another page", |s| {
        let leaf = s.catalog.leaves[1];
        s.file().page_mut(leaf)[300] ^= 1;
    }),
    ("a flipped bit in a run", single, "is not what it was", |s| {
        let (first, pages) = s.o.runs[0];
        s.file().page_mut(first + pages - 1)[500] ^= 1;
    }),
];

const ENTRIES: &[Case] = &[
    ("two keys exchanged", single, "key 1 is out of order", |s| {
        let leaf = s.a.leaves[2];
        sealed(s, |s| exchange_keys(s, leaf));
    }),
    ("the same key twice", single, "key 1 is out of order", |s| {
        let leaf = s.a.leaves[2];
        let [_, heads, offsets, _] = s.file().arrays(leaf);
        let (head, cell) = (s.file().u32(leaf, heads), s.file().u16(leaf, offsets));
        sealed(s, |s| {
            s.file().set_u32(leaf, heads + 4, head);
            s.file().set_u16(leaf, offsets + 2, cell);
        });
    }),
    ("a separator above the first key on its right", single, "key 0 is out of order", |s| {
        sealed(s, |s| raise_separator(s, 1));
    }),
    ("a separator below the last key on its left", single, "key 7 is out of order", |s| {
        sealed(s, |s| raise_separator(s, -1));
    }),
    ("an entry too many in a record", single, "41 entries are stored, found 40", |s| {
        let at = s.file().record(0, 0);
        sealed(s, |s| s.file().set_u64(0, at + 12, 41));
    }),
    ("entries without a root", single, "2 entries are stored, found 0", |s| {
        let at = s.file().record(0, 2);
        sealed(s, |s| s.file().set_u64(0, at + 12, 2));
    }),
    ("an overflow page too few", single, "5 overflow pages are stored, found 6", |s| {
        let at = s.file().record(0, 1);
        sealed(s, |s| s.file().set_u64(0, at + 20, 5));
    }),
    ("a bucket too many", single, "4 buckets are stored, found 3", |s| {
        sealed(s, |s| s.file().set_u32(0, 68, 4));
    }),
    ("a bucket too few, beside a tree", large, "23 buckets are stored, found 24", |s| {
        sealed(s, |s| s.file().set_u32(0, 68, 23));
    }),
];

const LOG: &[Case] = &[
    ("a flipped bit in its newest page", large, "is not of the space log", |s| {
        let page = s.log[1];
        s.file().page_mut(page)[511] ^= 1;
    }),
    ("a flipped bit in its oldest page", large, "is not of the space log", |s| {
        let page = s.log[0];
        s.file().page_mut(page)[511] ^= 1;
    }),
    ("a flipped bit in a checksum", large, "is not of the space log", |s| {
        let page = s.log[0];
        s.file().page_mut(page)[0] ^= 1;
    }),
    ("another page's number", large, "is not of the space log", |s| {
        let page = s.log[1];
        sealed(s, |s| s.file().set_u32(page, 4, 77));
    }),
    ("another kind", large, "is not of the space log", |s| {
        let page = s.log[0];
        sealed(s, |s| s.file().set_u8(page, 16, 2));
    }),
    ("a page that is to come", large, "is not of the space log", |s| {
        let page = s.log[0];
        sealed(s, |s| s.file().set_u64(page, 8, 11));
    }),
    ("an unknown record", single, "a record of kind 4", |s| {
        edited(s, |words| words[0] = 4);
    }),
    ("a used page allocated", single, "becomes unused: false twice", |s| {
        let page = s.a.leaves[0];
        edited(s, |words| words.extend(transaction(6, &[page], &[])));
    }),
    ("an unused page freed", single, "becomes unused: true twice", |s| {
        let page = s.spare[0];
        edited(s, |words| words.extend(transaction(6, &[], &[page])));
    }),
    ("a snapshot that contradicts", single, "a snapshot says of page", |s| {
        let unused = s.spare[..2].to_vec();
        edited(s, |words| words.extend(snapshot(2, u32::MAX, &unused)));
    }),
    ("used pages cut off", single, "was cut off while in use", |s| {
        let (pages, used) = (s.file().pages(), s.a.leaves[0]);
        edited(s, |words| words.extend([3, pages, used, 3, used, pages]));
    }),
    ("pages that no record tells of", single, "does not know page", |s| {
        let unused = s.spare.clone();
        edited(s, |words| *words = snapshot(unused[1], u32::MAX, &unused[1..]));
    }),
    ("a page that is lost", single, "is Nobody, the log says unused: false", |s| {
        let unused = [s.spare[0], s.spare[3]];
        edited(s, |words| *words = snapshot(2, u32::MAX, &unused));
    }),
    ("a page of a tree that is free", single, "is Tree, the log says unused: true", |s| {
        let unused = [s.spare.as_slice(), &[s.a.leaves[2]]].concat();
        edited(s, |words| *words = snapshot(2, u32::MAX, &unused));
    }),
    ("a page of the log that is free", large, "is Log, the log says unused: true", |s| {
        let page = s.log[0];
        edited(s, |words| words.extend(transaction(10, &[], &[page])));
    }),
];

/// All checksums are computed again, from the leaves to the slots.
fn sealed(sample: &mut Sample, change: impl FnOnce(&mut Sample)) {
    change(sample);
    sample.file().seal();
}

/// That of slot 0 is.
fn stamped(sample: &mut Sample, change: impl FnOnce(&mut Sample)) {
    change(sample);
    sample.file().stamp(0);
}

/// The records of the log's tail are others.
fn edited(sample: &mut Sample, change: impl FnOnce(&mut Vec<u32>)) {
    sealed(sample, |sample| {
        tail(sample, change);
    });
}

/// Child `at` of the tree `a` is another page.
fn point(sample: &mut Sample, at: usize, page: u32) {
    let root = sample.a.root;
    let at = child(sample, root, at);
    sample.file().set_u32(root, at, page);
}

/// Exchanges the first two keys of a leaf, each with its value.
fn exchange_keys(sample: &mut Sample, leaf: u32) {
    let [_, heads, offsets, _] = sample.file().arrays(leaf);
    for (at, width) in [(heads, 4), (offsets, 2)] {
        let bytes = sample.file().page_mut(leaf);
        let (left, right) = bytes[at..at + 2 * width].split_at_mut(width);
        left.swap_with_slice(right);
    }
}

/// Makes the first separator of the tree `a` a little higher, or lower.
fn raise_separator(sample: &mut Sample, by: i32) {
    let root = sample.a.root;
    let [_, heads, _, _] = sample.file().arrays(root);
    let head = sample.file().u32(root, heads);
    sample.file().set_u32(root, heads, head.wrapping_add_signed(by << 16));
}

#[test]
fn each_thing_that_is_broken_is_found() {
    for (name, sample, wanted, change) in [SLOTS, OWNERS, PAGES, ENTRIES, LOG].concat() {
        let mut sample = sample(512);
        change(&mut sample);
        match audit(&mut sample) {
            Ok(None) if wanted.is_empty() => {}
            Err(error) if !wanted.is_empty() && error.contains(wanted) => {}
            found => panic!("{name}: {found:?}, not {wanted:?}"),
        }
    }
}
