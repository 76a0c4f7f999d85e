//! Births that nobody knows: what is used again, no state that is read has.
//!
//! Attacks: no-reuse-while-reachable.

use super::super::{FreeSpace, Placement};
use crate::format::META_SLOTS;
use crate::node::tests::keys::Rng;
use crate::page::{Extent, PageId, TxnId};
use std::collections::{BTreeMap, BTreeSet};

/// Pages of a state.
type Pages = BTreeSet<u32>;

#[test]
fn pages_of_unknown_birth_are_used_again_when_no_state_that_is_read_has_them() {
    for seed in 0..300 {
        let mut draw = Rng(seed);
        let mut space = FreeSpace::new(META_SLOTS);
        let mut now = Pages::new();
        let mut states: BTreeMap<TxnId, Pages> = BTreeMap::from([(TxnId(0), now.clone())]);
        let mut pins: BTreeSet<TxnId> = BTreeSet::new();
        let mut newest = TxnId(0);
        for _ in 0..60 {
            let txn = newest.next();
            match draw.below(6) {
                0 => drop(pins.insert(newest)),
                1 => drop(pins.pop_first()),
                2 => drop(pins.pop_last()),
                _ => {}
            }
            states.retain(|state, _| pins.contains(state) || state.0 + 2 >= txn.0);
            space.begin(txn, &pins.iter().copied().collect::<Vec<_>>());
            let before = now.clone();
            for _ in 0..draw.below(6) {
                let pages = 1 + u32::try_from(draw.below(3)).expect("few");
                let Some(extent) = space.allocate(pages, Placement::BestFit) else {
                    space.grow(space.page_count() + 8);
                    continue;
                };
                for page in extent.first.0..extent.end() {
                    let has = states.iter().find(|(_, state)| state.contains(&page));
                    let has = has.map(|(state, _)| state);
                    assert_eq!(has, None, "seed {seed}: {txn} writes {page}, which a state has");
                    now.insert(page);
                }
            }
            for _ in 0..draw.below(6) {
                let old: Vec<u32> = now.intersection(&before).copied().collect();
                if let Some(&page) = old.get(draw.below(old.len().max(1))) {
                    now.remove(&page);
                    space.release(Extent::one(PageId(page)), TxnId(0)).expect("it is in use");
                }
            }
            space.finish(1 << 21, 1014, &[]);
            if draw.below(5) == 0 {
                space.undo();
                now = before;
                continue;
            }
            space.installed();
            states.insert(txn, now.clone());
            newest = txn;
        }
    }
}
