//! Free space against a plain twin, a set of page numbers.
//! Attacks: page-owned-once, no-reuse-while-reachable, space-log-replays, bytes-never-panic.

use super::*;

#[test]
fn a_fresh_file_grows_allocates_and_replays() {
    let mut space = FreeSpace::new(META_SLOTS);
    assert_eq!(space.tail(), &[] as &[u32]);
    space.begin(TxnId(1), &[]);
    space.grow(34);
    let extent = space.allocate(5, Placement::BestFit).unwrap();
    assert_eq!(extent, span(2, 7));
    assert_eq!(space.log_pages_needed(50, 118), 0);
    assert!(space.finish(50, 118, &[]).pages.is_empty());
    let again = FreeSpace::replay(TxnId(1), 34, &[], space.tail()).unwrap();
    space.installed();
    assert_eq!(again.iter_free().collect::<Vec<_>>(), space.iter_free().collect::<Vec<_>>());
    space.begin(TxnId(2), &[]);
    space.release(span(3, 5), TxnId(1));
    space.finish(50, 118, &[]);
    space.installed();
    space.begin(TxnId(3), &[]);
    assert_eq!(space.pending_pages(), 2);
    space.finish(50, 118, &[]);
    space.installed();
    space.begin(TxnId(4), &[]);
    assert_eq!(space.free_pages(), 29);
}
