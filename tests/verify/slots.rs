//! Slots that do not fit together or are not what their state is, slots that do not count, and
//! bytes that should be zero.
//!
//! Attacks: meta-lists-pages, slots-alternate, txn-ids-increase, valid-meta-whole,
//! same-calls-same-bytes, no-reuse-while-reachable.

use crate::build::{snapshot, transaction};
use crate::cases::{Case, case, check, tail};
use crate::samples::{Sample, at_rest, large, pair, single};
use btree_store::Invariant::{
    self, ChecksumCoversPage, MetaListsPages, PageKnowsItsId, SameCallsSameBytes, SlotsAlternate,
    TxnIdsIncrease, ValidMetaWhole,
};
use btree_store::verify::Report;

const SLOTS: &[Case] = &[
    case("a page of the commit that is not listed", pair, MetaListsPages, |s| {
        let page = s.a.leaves[2];
        s.state.items.retain(|(first, _)| *first != page);
        // The log tells that the page was in use before.
        let (first, end) = (s.spare[0], s.spare[1] + 1);
        let unused: Vec<u32> = (first..end).filter(|other| *other != page).collect();
        let freed = [s.deep.leaves[2], s.deep.root];
        tail(s, |words| {
            let change = transaction(7, &unused[1..unused.len() - 1], &freed);
            *words = [snapshot(2, u32::MAX, &unused), change].concat();
        });
        page
    }),
    case("a listed page of an older transaction", pair, MetaListsPages, |s| {
        let page = s.a.leaves[2];
        s.file().set_u64(page, 8, 6);
        page
    }),
    case("a run that is not listed", pair, MetaListsPages, |s| {
        let run = s.catalog.runs[0].0;
        s.state.items.retain(|(first, _)| *first != run);
        s.rewrite();
        s.a.leaves[2]
    }),
    case("a mirror with a list", pair, MetaListsPages, |s| {
        s.state.flags = 2;
        s.rewrite();
        1
    }),
    case("the same transaction twice", at_rest, SlotsAlternate, |s| {
        s.file().set_u32(1, 52, 0);
        1
    }),
    case("two states of one transaction", at_rest, SlotsAlternate, |s| {
        let at = s.file().record(0, 0) + 12;
        s.file().set_u64(0, at, 41);
        0
    }),
    case("transactions that are not neighbours", at_rest, TxnIdsIncrease, |s| {
        s.file().set_u64(0, 8, 9);
        1
    }),
];

#[test]
fn slots_that_contradict_each_other_or_their_state_are_found() {
    check(SLOTS);
}

const UNUSED: &[Case] = &[
    case("free space of a leaf", single, SameCallsSameBytes, |s| {
        let page = s.a.leaves[1];
        let at = s.file().u16(page, 20) - 1;
        s.file().set_u8(page, at, 1);
        page
    }),
    case("free space of a branch", single, SameCallsSameBytes, |s| {
        let page = s.a.root;
        let at = s.file().arrays(page)[3];
        s.file().set_u8(page, at, 1);
        page
    }),
    case("a dead byte", single, SameCallsSameBytes, |s| {
        let page = s.a.leaves[1];
        let cell = s.file().cell(page, 0);
        s.file().set_u16(page, cell + 2, 19);
        s.file().set_u8(page, 511, 1);
        s.file().set_u16(page, 22, 1);
        page
    }),
    case("behind the prefix", single, SameCallsSameBytes, |s| {
        let page = s.a.leaves[1];
        let at = 32 + s.file().u16(page, 24);
        assert!(!at.is_multiple_of(4));
        s.file().set_u8(page, at, 1);
        page
    }),
    case("the spare field of a leaf", single, SameCallsSameBytes, |s| {
        let page = s.a.leaves[1];
        s.file().set_u8(page, 31, 1);
        page
    }),
    case("the spare field of a slot", single, SameCallsSameBytes, |s| {
        s.file().set_u64(0, 96, 1);
        0
    }),
    case("the header of a slot", single, SameCallsSameBytes, |s| {
        s.file().set_u16(0, 26, 1);
        0
    }),
    case("behind the body of a slot", single, SameCallsSameBytes, |s| {
        s.file().set_u8(0, 511, 1);
        0
    }),
    case("the pointer to a catalog that is inline", single, SameCallsSameBytes, |s| {
        s.file().set_u32(0, 72, 2);
        0
    }),
    case("the checksum of a log that is empty", single, SameCallsSameBytes, |s| {
        s.file().set_u32(0, 60, 2);
        0
    }),
    case("behind the inline catalog", single, SameCallsSameBytes, |s| {
        let at = s.file().body(0)[1] - 1;
        s.file().set_u8(0, at, 1);
        0
    }),
    case("the record of an empty bucket", single, SameCallsSameBytes, |s| {
        let at = s.file().record(0, 2) + 8;
        s.file().set_u32(0, at, 1);
        0
    }),
    case("behind the words of a page of the log", large, SameCallsSameBytes, |s| {
        let page = s.log[0];
        s.file().set_u8(page, 511, 1);
        page
    }),
    case("the header of a page of the log", large, SameCallsSameBytes, |s| {
        let page = s.log[1];
        s.file().set_u8(page, 17, 1);
        page
    }),
    case("behind a value in a run", single, SameCallsSameBytes, |s| {
        let (first, pages) = s.o.runs[0];
        s.file().set_u8(first + pages - 1, 511, 1);
        first + pages - 1
    }),
];

#[test]
fn bytes_that_should_be_zero_are_found() {
    check(UNUSED);
}

/// A slot that recovery does not accept: what is changed in slot 0, and what is named.
type Refused = (&'static str, fn(&mut Sample), Invariant);

const REFUSED: &[Refused] = &[
    ("magic", |s| s.file().set_u8(0, 32, b'X'), ValidMetaWhole),
    ("version", |s| s.file().set_u32(0, 40, 2), ValidMetaWhole),
    ("page size", |s| s.file().set_u32(0, 44, 513), ValidMetaWhole),
    ("another page size", |s| s.file().set_u32(0, 44, 1024), ChecksumCoversPage),
    ("checksum", |s| s.file().set_u8(0, 200, 9), ChecksumCoversPage),
    ("id", |s| s.file().set_u32(0, 4, 1), PageKnowsItsId),
    ("kind", |s| s.file().set_u8(0, 16, 2), ValidMetaWhole),
    ("flags", |s| s.file().set_u32(0, 52, 4), ValidMetaWhole),
    ("pages", |s| s.file().set_u32(0, 48, 1), ValidMetaWhole),
    ("pages of the log", |s| s.file().set_u32(0, 64, 1), ValidMetaWhole),
    ("catalog", |s| s.file().set_u32(0, 84, 500), ValidMetaWhole),
    ("a catalog that should be a tree", |s| s.file().set_u32(0, 84, 104), ValidMetaWhole),
    ("items", |s| s.file().set_u32(0, 88, 500), ValidMetaWhole),
    (
        "more pages than may be listed",
        |s| {
            s.file().set_u32(0, 88, 1);
            let item = s.file().body(0)[1];
            s.file().set_u32(0, item + 4, 0x8000_0000 + 513);
        },
        ValidMetaWhole,
    ),
    ("tail", |s| s.file().set_u32(0, 92, u32::MAX), ValidMetaWhole),
    ("root of the catalog", |s| s.file().set_u32(0, 52, 1), ValidMetaWhole),
    (
        "length of the file",
        |s| {
            s.file().set_u32(0, 48, 4000);
            s.file().set_u64(0, 8, 8);
        },
        ValidMetaWhole,
    ),
];

/// The changes after which the slot's checksum stays wrong.
const UNSTAMPED: &[&str] = &["checksum", "another page size"];

#[test]
fn slots_that_do_not_count_are_refused_for_the_right_reason() {
    for (name, change, invariant) in REFUSED {
        let mut sample = single(512);
        change(&mut sample);
        if !UNSTAMPED.contains(name) {
            sample.file().stamp(0);
        }
        let report = sample.file().report();
        assert!(report.accepted().is_none() && !report.is_sound(), "{name}: {report}");
        assert_eq!(report.refused.len(), 2, "{name}: {report}");
        let found = &report.refused.iter().find(|v| v.slot == Some(0)).expect("slot 0").invariant;
        assert_eq!(found, invariant, "{name}: {report}");
        // Beside a whole mirror, the same makes the slot not count, and the file is sound.
        let mut sample = at_rest(512);
        change(&mut sample);
        if !UNSTAMPED.contains(name) {
            sample.file().stamp(0);
        }
        let report = sample.file().report();
        assert!(report.is_sound() && !report.is_at_rest(), "{name}: {report}");
        assert_eq!(report.accepted().map(|state| state.slot), Some(1), "{name}: {report}");
    }
}

/// Makes the older slot list `page`, and wait for another content of it.
fn older_slot_wants(page: u32) -> Report {
    let mut sample = pair(512);
    let mut before = sample.before.clone().expect("a pair has two states");
    before.items = vec![(page, 1)];
    sample.builder.slot(&before);
    sample.file().seal();
    let item = sample.file().body(0)[1];
    sample.file().set_u32(0, item + 8, 77);
    sample.file().stamp(0);
    sample.file().report()
}

#[test]
fn a_page_of_the_state_before_that_was_written_again_is_found() {
    let sample = pair(512);
    for page in [sample.a.leaves[2], sample.spare[1]] {
        let report = older_slot_wants(page);
        assert_eq!(report.violations.len(), 1, "{report}");
        assert!(report.violates(Invariant::NoReuseWhileReachable, Some(page)), "{report}");
    }
    // Nobody may have written this one: the disk lost it, and the state does not count.
    let report = older_slot_wants(sample.deep.leaves[2]);
    assert!(report.is_sound() && report.refused.len() == 1, "{report}");
}
