//! Free space against a plain twin, a set of page numbers.
//! Attacks: page-owned-once, no-reuse-while-reachable, space-log-replays.

mod fresh;
mod hostile;
mod reserved;
mod twin;
mod young;

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use twin::{End, Limits, Op, Reader, Twin};

/// Hardly more than the records of a commit.
const TINY: Limits = Limits { tail: 24, page: 40 };
/// Those of a page size of 512 bytes, and of 4096.
const SMALL: Limits = Limits { tail: 50, page: 118 };
const LARGE: Limits = Limits { tail: 554, page: 1014 };

#[derive(Clone, Debug)]
struct Transaction {
    reader: Reader,
    ops: Vec<Op>,
    end: End,
}

/// The lowest place of all.
const ANYWHERE: Placement = Placement::Below(PageId(u32::MAX));

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        4 => Just(Placement::BestFit),
        1 => Just(ANYWHERE),
        1 => (0..200u32).prop_map(|limit| Placement::Below(PageId(limit))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1..6u32, placement())
            .prop_map(|(pages, placement)| Op::Allocate { pages, placement }),
        1 => (1..12u32, placement())
            .prop_map(|(pages, placement)| Op::AllocateUpTo { pages, placement }),
        6 => (any::<usize>(), 1..5u32).prop_map(|(pick, pages)| Op::Free { pick, pages }),
        1 => (1..20u32).prop_map(|pages| Op::Grow { pages }),
        1 => any::<u32>().prop_map(|pick| Op::Cut { pick }),
        1 => Just(Op::WantCheckpoint),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let reader = prop_oneof![
        6 => Just(Reader::Rest),
        1 => Just(Reader::Pin),
        2 => any::<usize>().prop_map(Reader::Unpin),
    ];
    let end = prop_oneof![
        12 => Just(End::Install),
        1 => Just(End::Undo),
        1 => Just(End::Abandon),
        1 => Just(End::Lose),
        1 => Just(End::Reopen),
    ];
    (reader, prop::collection::vec(op(), 0..9), end).prop_map(|(reader, ops, end)| Transaction {
        reader,
        ops,
        end,
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![3 => Just(TINY), 2 => Just(SMALL), 1 => Just(LARGE)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_history_equals_the_twin(
        limits in limits(),
        history in prop::collection::vec(transaction(), 1..150),
    ) {
        let mut twin = Twin::new(limits);
        twin.commit(Reader::Rest, &[Op::Grow { pages: 60 }], End::Install);
        for Transaction { reader, ops, end } in history {
            twin.commit(reader, &ops, end);
        }
    }
}

#[test]
fn every_short_history_of_a_small_file_equals_the_twin() {
    let place = |pages| Op::Allocate { pages, placement: Placement::BestFit };
    let free = |pick| Op::Free { pick, pages: 1 };
    let bodies = [vec![place(1)], vec![free(0)], vec![free(0), free(1), place(1)]];
    let readers = [Reader::Rest, Reader::Pin, Reader::Unpin(0)];
    let mut small = Twin::new(SMALL);
    small.commit(Reader::Rest, &[Op::Grow { pages: 4 }, place(3)], End::Install);
    let mut twins = vec![small];
    for _ in 0..5 {
        let mut later = Vec::new();
        for (twin, reader) in twins.iter().flat_map(|twin| readers.map(|reader| (twin, reader))) {
            later.extend(bodies.iter().map(|ops| {
                let mut twin = twin.clone();
                twin.commit(reader, ops, End::Install);
                twin
            }));
        }
        twins = later;
    }
    assert_eq!(twins.len(), 9_usize.pow(5));
}

/// The same values in every run.
struct Source(TestRunner);

impl Source {
    fn new() -> Source {
        Source(TestRunner::deterministic())
    }

    fn draw<T: std::fmt::Debug>(&mut self, strategy: &impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.0).expect("nothing is filtered").current()
    }
}

/// A file of this many pages, the even ones free, but for the first half of them.
fn fragmented(limits: Limits, pages: u32) -> Twin {
    let mut twin = Twin::new(limits);
    let fill = Op::Allocate { pages: pages - 64, placement: ANYWHERE };
    twin.commit(Reader::Rest, &[Op::Grow { pages }, fill], End::Install);
    let even: Vec<u32> = (pages / 4..pages / 2).map(|half| 2 * half).collect();
    for part in even.chunks(64) {
        let ops: Vec<Op> = part.iter().map(|&page| Op::FreeAt { page }).collect();
        twin.commit(Reader::Rest, &ops, End::Install);
    }
    twin
}

/// Moves some even pages, so that the free ones stay scattered.
fn moves(count: usize, pages: u32) -> impl Strategy<Value = Vec<Op>> {
    let one = (0..pages / 2 - 32).prop_map(|half| Op::Swap { page: 2 * half });
    prop::collection::vec(one, count)
}

/// What the log did over a history.
#[derive(Debug, Default)]
struct Log {
    spills: usize,
    written_most: usize,
    dropped: usize,
    dropped_most: usize,
    /// The longest full snapshot, in words.
    snapshot_words: usize,
    pages_most: usize,
}

impl Log {
    fn add(&mut self, twin: &Twin) {
        self.spills += usize::from(twin.written > 0);
        self.written_most = self.written_most.max(twin.written);
        self.dropped += twin.dropped;
        self.dropped_most = self.dropped_most.max(twin.dropped);
        self.snapshot_words = self.snapshot_words.max(twin.snapshot_words);
        self.pages_most = self.pages_most.max(twin.space.log_page_count() as usize);
    }
}

/// Runs `commits` commits that `count` moves make up, and opens the file again now and then.
fn churn(twin: &mut Twin, commits: usize, count: usize, pages: u32) -> Log {
    let (mut source, mut log) = (Source::new(), Log::default());
    let moves = moves(count, pages);
    for at in 1..=commits {
        let ops = source.draw(&moves);
        let end = if at % 50 == 0 { End::Reopen } else { End::Install };
        twin.commit(Reader::Rest, &ops, end);
        log.add(twin);
    }
    log
}

/// Whether the sweep went round several times, with a log within its bound.
fn assert_bounded(log: &Log, limits: Limits) {
    let pages_max = 4 + 4 * log.snapshot_words / limits.page;
    assert!(log.pages_most <= pages_max, "at most {pages_max} log pages: {log:?}");
    assert!(log.dropped > 2 * log.pages_most, "the sweep went round: {log:?}");
    assert!(log.dropped_most <= log.written_most + 2, "a commit drops few pages: {log:?}");
}

#[test]
fn the_log_is_at_most_four_snapshots_long_in_tiny_pages() {
    let log = churn(&mut fragmented(TINY, 500), 600, 1, 500);
    assert_bounded(&log, TINY);
    assert!(log.written_most <= 3, "{log:?}");
}

#[test]
fn the_log_is_at_most_four_snapshots_long_in_small_pages() {
    let log = churn(&mut fragmented(SMALL, 1000), 400, 3, 1000);
    assert_bounded(&log, SMALL);
    assert!(log.written_most <= 2, "{log:?}");
}

#[test]
fn the_log_is_at_most_four_snapshots_long_in_large_pages() {
    let log = churn(&mut fragmented(LARGE, 4000), 800, 8, 4000);
    assert_bounded(&log, LARGE);
    assert!(log.written_most <= 1, "{log:?}");
}

#[test]
fn the_log_is_at_most_four_snapshots_long_when_commits_fill_their_pages() {
    // The records of 22 moves leave hardly any room in a page for a snapshot.
    let log = churn(&mut fragmented(SMALL, 2000), 120, 22, 2000);
    assert_bounded(&log, SMALL);
    assert!(log.written_most <= 2, "{log:?}");
}

#[test]
fn the_log_vanishes_with_the_fragments() {
    for (limits, pages) in [(SMALL, 1000), (LARGE, 8000)] {
        let mut twin = fragmented(limits, pages);
        let long = twin.space.log_page_count();
        assert!(long > 4);
        // All owned pages, the odd ones too, are freed and melt into one extent.
        let all = Op::Free { pick: 0, pages: 1 };
        let ops = vec![all; pages as usize];
        twin.commit(Reader::Rest, &ops, End::Install);
        let peak = twin.space.log_page_count();
        let one = [Op::Allocate { pages: 1, placement: Placement::BestFit }, all];
        for _ in 0..40 * peak {
            twin.commit(Reader::Rest, &one, End::Install);
        }
        assert_eq!(twin.space.log_page_count(), 0, "of {peak} pages");
    }
}

#[test]
fn the_log_shrinks_when_the_free_pages_are_used_up() {
    let mut twin = fragmented(SMALL, 2000);
    churn(&mut twin, 300, 3, 2000);
    let place = Op::AllocateUpTo { pages: 1000, placement: Placement::BestFit };
    twin.commit(Reader::Rest, &vec![place; 1000], End::Install);
    let peak = twin.space.log_page_count();
    assert!(peak > 10);
    for _ in 0..40 * peak {
        let ops = [Op::Free { pick: 0, pages: 1 }, place];
        twin.commit(Reader::Rest, &ops, End::Install);
    }
    assert!(twin.space.log_page_count() <= 2, "of {peak} pages");
}

#[test]
fn a_commit_writes_log_pages_in_proportion_to_its_records() {
    let mut twin = fragmented(SMALL, 2000);
    let ops: Vec<Op> = (0..900).map(|half| Op::FreeAt { page: 2 * half + 1 }).collect();
    twin.commit(Reader::Rest, &ops, End::Install);
    let records = 2 * ops.len();
    assert!(twin.written * SMALL.page <= 2 * records, "{} pages", twin.written);
}

#[test]
fn a_pinned_reader_does_not_make_the_file_grow() {
    let mut twin = fragmented(SMALL, 600);
    twin.commit(Reader::Pin, &[], End::Install);
    let mut source = Source::new();
    let moves = moves(3, 600);
    let mut page_counts = Vec::new();
    for _ in 0..600 {
        let ops = source.draw(&moves);
        twin.commit(Reader::Rest, &ops, End::Install);
        page_counts.push(twin.space.page_count());
    }
    assert_eq!(page_counts[200], page_counts[599]);
}

#[test]
fn a_fresh_file_has_an_empty_tail() {
    let space = FreeSpace::new(META_SLOTS);
    assert!(space.tail().is_empty());
    assert_eq!((space.log_head(), space.log_page_count()), (None, 0));
}

#[test]
fn pages_that_a_fresh_file_begins_with_are_owned() {
    let space = FreeSpace::new(7);
    let again = FreeSpace::replay(TxnId(0), 7, &[], space.tail()).unwrap();
    assert_eq!((again.free_pages(), again.pending_pages()), (0, 0));
    assert!(FreeSpace::replay(TxnId(0), 7, &[], &[]).is_err());
}

#[test]
fn pages_are_reusable_two_commits_later() {
    let mut space = FreeSpace::new(5);
    let commit = |space: &mut FreeSpace, txn: u64| {
        space.begin(TxnId(txn), &[]);
        let free = space.free_pages();
        if txn == 1 {
            space.release(span(3, 5), TxnId(0)).unwrap();
        }
        space.finish(SMALL.tail, SMALL.page, &[]);
        space.installed();
        free
    };
    assert_eq!([1, 2, 3].map(|txn| commit(&mut space, txn)), [0, 0, 2]);
}

#[test]
fn a_page_that_is_not_in_use_cannot_be_freed() {
    let mut twin = fragmented(SMALL, 600);
    let (log_page, _) = twin.space.log_head().unwrap();
    let space = &mut twin.space;
    space.begin(TxnId(u64::MAX), &[]);
    let taken = space.allocate(1, Placement::BestFit).unwrap();
    space.release(taken, TxnId(0)).unwrap();
    let free = space.iter_free().next().unwrap();
    let outside = [span(0, 1), span(1, 3), span(599, 601), Extent { pages: 0, ..free }];
    let endless = Extent { first: PageId(u32::MAX), pages: u32::MAX };
    for extent in outside.into_iter().chain([taken, free, endless, Extent::one(log_page)]) {
        assert_eq!(space.release(extent, TxnId(0)), Err(Error::Corruption), "{extent:?}");
    }
}
