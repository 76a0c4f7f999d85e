//! Words that no commit wrote. Attacks: bytes-never-panic, space-log-replays.

use super::{ANYWHERE, LARGE, SMALL, Source, fragmented, moves};
use crate::error::Error;
use crate::page::{PageId, TxnId};
use crate::space::tests::twin::{End, Reader};
use crate::space::{Extent, FreeSpace, LogPage, Placement};
use proptest::prelude::*;

/// Numbers that mean something, and some that do not.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..4u32,
        6 => 0..40u32,
        1 => (0..3u32).prop_map(|below| u32::MAX - below),
        1 => any::<u32>(),
    ]
}

fn extents(count: u32) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec((2..40u32, 0..5u32), count as usize).prop_map(|mut extents| {
        extents.sort_unstable();
        extents.into_iter().flat_map(|(first, pages)| [first, pages]).collect()
    })
}

/// Something like a record.
fn record() -> impl Strategy<Value = Vec<u32>> {
    let txn = (0..6u32, 0..3u32, 0..3u32).prop_flat_map(|(txn, allocated, freed)| {
        (extents(allocated), extents(freed))
            .prop_map(move |(a, f)| [vec![1, txn, 0, allocated, freed], a, f].concat())
    });
    let to = prop_oneof![Just(u32::MAX), 2..40u32];
    let from = prop_oneof![3 => Just(2u32), 1 => 0..40u32];
    let snapshot = (from, to, 0..4u32).prop_flat_map(|(from, to, count)| {
        extents(count).prop_map(move |unused| [vec![2, from, to, count], unused].concat())
    });
    let count = || prop_oneof![Just(2u32), Just(20u32), Just(40u32), word()];
    let resize = (count(), count()).prop_map(|(old, new)| vec![3, old, new]);
    let noise = prop::collection::vec(word(), 0..6);
    prop_oneof![4 => txn, 3 => snapshot, 2 => resize, 1 => noise]
}

fn words() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(record(), 0..6).prop_map(|records| records.concat())
}

/// What is believed can be worked with.
fn use_it(mut space: FreeSpace, txn: TxnId) {
    let free = space.iter_free().map(|extent| u64::from(extent.pages)).sum::<u64>();
    assert_eq!(space.free_pages(), free);
    for later in 1..6 {
        space.begin(TxnId(txn.0 + later), &[]);
        if let Some(extent) = space.allocate_up_to(3, ANYWHERE) {
            space.release(extent, txn).unwrap();
        }
        let needed = space.log_pages_needed(SMALL.tail, SMALL.page);
        let mut ids = Vec::new();
        for _ in 0..needed {
            let Some(extent) = space.allocate(1, Placement::BestFit) else {
                return space.undo();
            };
            ids.push(extent.first);
        }
        space.finish(SMALL.tail, SMALL.page, &ids);
        for id in ids {
            space.log_page_sealed(id, 0);
        }
        space.installed();
    }
}

/// Whether the log was believed.
fn attack(txn: TxnId, page_count: u32, pages: &[LogPage], tail: &[u32]) -> bool {
    match FreeSpace::replay(txn, page_count, pages, tail) {
        Ok(space) => {
            use_it(space, txn);
            true
        }
        Err(error) => {
            assert_eq!(error, Error::Corruption);
            false
        }
    }
}

#[test]
fn a_hundred_thousand_invented_logs_never_panic() {
    let mut source = Source::new();
    let count = prop_oneof![Just(2u32), Just(20u32), Just(40u32), word()];
    let page = (2..40u32, words());
    let log = (0..6u64, count, prop::collection::vec(page, 0..3), words());
    let mut believed = 0;
    for _ in 0..100_000 {
        let (txn, page_count, pages, tail) = source.draw(&log);
        let page = |(id, words)| LogPage { id: PageId(id), checksum: 0, words };
        let pages: Vec<LogPage> = pages.into_iter().map(page).collect();
        believed += usize::from(attack(TxnId(txn), page_count, &pages, &tail));
    }
    assert!(believed > 100, "some are believed: {believed}");
}

#[test]
fn a_damaged_log_never_panics_and_is_seldom_believed() {
    let mut twin = fragmented(SMALL, 600);
    let mut source = Source::new();
    while twin.newest().2.len() < 4 || twin.newest().3.is_empty() {
        let ops = source.draw(&moves(2, 600));
        twin.commit(Reader::Rest, &ops, End::Install);
    }
    let (txn, page_count, pages, tail) = twin.newest();
    assert!(attack(txn, page_count, &pages, &tail), "the log is right");
    let damage = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), word());
    let mut believed = 0;
    for _ in 0..5_000 {
        let (part, at, word) = source.draw(&damage);
        let (mut pages, mut tail) = (pages.clone(), tail.clone());
        let part = part.index(pages.len() + 1);
        let words = pages.get_mut(part).map_or(&mut tail, |page| &mut page.words);
        if words.is_empty() {
            continue;
        }
        let at = at.index(words.len());
        match word {
            0 => words.truncate(at),
            1 => words[at] = words[at].wrapping_add(1),
            _ => words[at] = word,
        }
        believed += usize::from(attack(txn, page_count, &pages, &tail));
    }
    assert!(believed < 500, "{believed} of 5000 are believed");
}

#[test]
fn a_log_that_lacks_a_page_is_not_believed() {
    let mut twin = fragmented(LARGE, 4000);
    let mut source = Source::new();
    for _ in 0..400 {
        let ops = source.draw(&moves(8, 4000));
        twin.commit(Reader::Rest, &ops, End::Install);
    }
    let (txn, page_count, pages, tail) = twin.newest();
    for lost in 1..pages.len() {
        let mut pages = pages.clone();
        pages.remove(lost);
        assert!(FreeSpace::replay(txn, page_count, &pages, &tail).is_err(), "page {lost}");
    }
}

#[test]
fn a_log_page_that_is_free_is_not_believed() {
    let tail = [3, 2, 20, 1, 1, 0, 1, 0, 5, 1];
    let page = |id| LogPage { id: PageId(id), checksum: 0, words: Vec::new() };
    let replay = |pages: &[LogPage]| FreeSpace::replay(TxnId(1), 20, pages, &tail);
    let space = replay(&[page(5)]).unwrap();
    assert_eq!(space.log_head(), Some((PageId(5), 0)));
    assert_eq!(space.iter_free().next(), Some(Extent { first: PageId(2), pages: 3 }));
    assert!(replay(&[page(6)]).is_err());
    assert!(replay(&[page(20)]).is_err());
    assert!(replay(&[page(5), page(5)]).is_err());
}

/// Whether a file of 20 pages at state 3 may have this tail, after it grew from 2 pages.
fn is_believed(words: &[u32]) -> bool {
    let tail = [&[3, 2, 20], words].concat();
    FreeSpace::replay(TxnId(3), 20, &[], &tail).is_ok()
}

#[test]
fn records_that_agree_are_believed() {
    let all = u32::MAX;
    let cases: [(&str, &[u32]); 8] = [
        ("nothing more", &[]),
        ("an allocation", &[1, 1, 0, 1, 0, 5, 1]),
        ("allocated and freed by one", &[1, 3, 0, 1, 1, 5, 1, 5, 1]),
        ("two records of one transaction", &[1, 3, 0, 1, 0, 5, 1, 1, 3, 0, 0, 1, 5, 1]),
        ("a snapshot of all", &[2, 2, all, 1, 2, 18]),
        ("a sweep", &[2, 2, 10, 1, 2, 8, 2, 10, all, 1, 10, 10, 2, 2, 9, 1, 2, 7]),
        ("a gap of one page", &[1, 1, 0, 2, 0, 5, 1, 7, 1]),
        ("a growth after a cut", &[3, 20, 10, 3, 10, 20]),
    ];
    for (name, words) in cases {
        assert!(is_believed(words), "{name}");
    }
}

#[test]
fn a_record_that_contradicts_is_not_believed() {
    let all = u32::MAX;
    let cases: [(&str, &[u32]); 27] = [
        ("a transaction to come", &[1, 4, 0, 1, 0, 5, 1]),
        ("a transaction far to come", &[1, 3, 1, 1, 0, 5, 1]),
        ("an earlier transaction", &[1, 3, 0, 1, 0, 5, 1, 1, 2, 0, 1, 0, 7, 1]),
        ("extents that touch", &[1, 1, 0, 2, 0, 5, 1, 6, 1]),
        ("extents that overlap", &[1, 1, 0, 2, 0, 5, 2, 6, 1]),
        ("descending extents", &[1, 1, 0, 2, 0, 8, 1, 5, 1]),
        ("an empty extent", &[1, 1, 0, 1, 0, 5, 0]),
        ("a meta slot", &[1, 1, 0, 1, 0, 1, 1]),
        ("an extent beyond the end", &[1, 1, 0, 1, 0, 19, 2]),
        ("an extent beyond all ids", &[1, 1, 0, 1, 0, 19, all]),
        ("an owned page allocated", &[1, 1, 0, 1, 0, 5, 1, 1, 1, 0, 1, 0, 5, 1]),
        ("a free page freed", &[1, 1, 0, 0, 1, 5, 1]),
        ("freed, then allocated", &[1, 3, 0, 1, 1, 5, 1, 5, 1, 1, 3, 0, 1, 0, 5, 1]),
        ("a snapshot without a free page", &[2, 2, all, 1, 2, 17]),
        ("a snapshot with an owned page", &[1, 1, 0, 1, 0, 5, 1, 2, 2, all, 1, 2, 18]),
        ("an owned page for a free one", &[1, 1, 0, 1, 0, 5, 1, 2, 2, all, 1, 2, 17]),
        ("a snapshot with a gap before it", &[2, 2, 10, 1, 2, 8, 2, 11, all, 1, 11, 9]),
        ("a snapshot of nothing", &[2, 2, 2, 0]),
        ("a snapshot of the meta slots", &[2, 1, all, 1, 2, 18]),
        ("an extent outside its snapshot", &[2, 2, 10, 1, 2, 18]),
        ("a resize of another count", &[3, 19, 20]),
        ("a resize to the same count", &[3, 20, 20]),
        ("another count at the end", &[3, 20, 21]),
        ("an owned page cut off", &[1, 1, 0, 1, 0, 19, 1, 3, 20, 19, 3, 19, 20]),
        ("a record cut short", &[3, 20]),
        ("an unknown tag", &[4, 20, 19]),
        ("more extents than words", &[1, 1, 0, all, all, 5, 1]),
    ];
    for (name, words) in cases {
        assert!(!is_believed(words), "{name}");
    }
}

/// What a log says of pages that the file has not is neither walked over nor kept.
#[test]
fn pages_that_only_the_log_speaks_of_cost_little() {
    let words = [3, 2, u32::MAX, 3, u32::MAX, 2].repeat(169);
    let page = |id| LogPage { id: PageId(id), checksum: 0, words: words.clone() };
    let pages: Vec<LogPage> = (2..3002).map(page).collect();
    let tail = [3, 2, 3002, 1, 1, 0, 1, 0, 2, 3000];
    let space = FreeSpace::replay(TxnId(1), 3002, &pages, &tail).unwrap();
    assert_eq!((space.page_count(), space.free_pages()), (3002, 0));
}
