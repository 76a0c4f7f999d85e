//! The log of pages that are known, against a set of page numbers.
//! Attacks: page-owned-once, space-log-replays.

use super::{LARGE, SMALL, TINY};
use crate::format::META_SLOTS;
use crate::page::{Extent, PageId, TxnId};
use crate::space::{FreeSpace, LogPage, PageSet};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn extents() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((META_SLOTS..400, 1..6_u32), 0..200)
}

fn extent((first, pages): (u32, u32)) -> Extent {
    Extent { first: PageId(first), pages }
}

proptest! {
    #[test]
    fn the_log_of_known_pages_calls_all_others_free(claims in extents()) {
        let (mut used, mut twin) = (PageSet::default(), BTreeSet::new());
        for claim in claims {
            let pages = claim.0..claim.0 + claim.1;
            let is_new = pages.clone().all(|page| !twin.contains(&page));
            prop_assert_eq!(used.claim(extent(claim)).is_ok(), is_new);
            if is_new {
                twin.extend(pages);
            }
        }
        let end = twin.last().map_or(META_SLOTS, |last| last + 1);
        prop_assert_eq!(used.end(), end);
        for limits in [TINY, SMALL, LARGE] {
            let log = used.log_of_others(limits.tail, limits.page);
            prop_assert!(log.tail.len() <= limits.tail / 2);
            prop_assert!(log.pages.iter().all(|words| words.len() <= limits.page));
            let pages: Vec<LogPage> = (end..)
                .zip(&log.pages)
                .map(|(id, words)| LogPage { id: PageId(id), checksum: 0, words: words.clone() })
                .collect();
            let page_count = end + u32::try_from(pages.len()).expect("there are few");
            let space = FreeSpace::replay(TxnId(7), page_count, &pages, &log.tail);
            let space = space.expect("the log replays");
            let free: BTreeSet<u32> =
                space.iter_free().flat_map(|e| e.first.0..e.end()).collect();
            let wanted: BTreeSet<u32> = (META_SLOTS..end).filter(|p| !twin.contains(p)).collect();
            prop_assert_eq!(free, wanted);
            prop_assert_eq!(space.pending_pages(), 0);
        }
    }

    #[test]
    fn pages_that_come_again_are_there_once(added in extents()) {
        let (mut given, mut twin) = (PageSet::default(), BTreeSet::new());
        for part in added {
            given.add(extent(part));
            twin.extend(part.0..part.0 + part.1);
            for first in [part.0.saturating_sub(3), part.0, part.0 + 1] {
                for pages in [1, part.1, part.1 + 2] {
                    let wanted = (first..first + pages).all(|page| twin.contains(&page));
                    prop_assert_eq!(given.holds(extent((first, pages))), wanted);
                }
            }
        }
    }
}
