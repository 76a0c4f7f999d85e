//! Pages that are set aside, against sets of page numbers: through commits that adopt them, are
//! undone, or know nothing of them.
//! Attacks: page-owned-once, no-reuse-while-reachable, space-log-replays.

use crate::format::META_SLOTS;
use crate::page::{Extent, TxnId};
use crate::space::{FreeSpace, Placement, Reservation};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Enough for all records of a history, so that no log pages are needed.
const TAIL: usize = 1 << 20;
const PAGE: usize = 1 << 10;

#[derive(Clone, Debug)]
enum Step {
    Reserve(u32),
    /// Drops the reservation that this chooses.
    Drop(usize),
    /// Begins a commit, which adopts every n-th reservation and frees and takes some pages.
    Seal {
        adopt: usize,
        free: usize,
        allocate: u32,
        grow: u32,
        /// Pages that the file ends in and are free: so many are cut off at most.
        cut: u32,
    },
    Install,
    /// Undoes the commit, and drops what it had adopted, or keeps it.
    Undo {
        is_kept: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..12_u32).prop_map(Step::Reserve),
        3 => any::<usize>().prop_map(Step::Drop),
        4 => (1..4_usize, 0..6_usize, 0..9_u32, 0..9_u32, 0..9_u32).prop_map(
            |(adopt, free, allocate, grow, cut)| Step::Seal { adopt, free, allocate, grow, cut }
        ),
        4 => Just(Step::Install),
        2 => any::<bool>().prop_map(|is_kept| Step::Undo { is_kept }),
    ]
}

struct Twin {
    space: FreeSpace,
    txn: TxnId,
    /// Of the newest durable state, and of the two before it.
    states: Vec<BTreeSet<u32>>,
    reserved: Vec<Reservation>,
    /// What the commit under way will own, and what it adopted.
    sealed: Option<(BTreeSet<u32>, Vec<Reservation>)>,
}

fn pages(extents: impl Iterator<Item = Extent>) -> BTreeSet<u32> {
    let mut pages = BTreeSet::new();
    for extent in extents {
        for page in extent.first.0..extent.end() {
            assert!(pages.insert(page), "{page} is there twice");
        }
    }
    pages
}

impl Twin {
    fn new() -> Twin {
        let space = FreeSpace::new(META_SLOTS);
        let states = vec![BTreeSet::new()];
        Twin { space, txn: TxnId(0), states, reserved: Vec::new(), sealed: None }
    }

    fn apply(&mut self, step: &Step) {
        match (step, self.sealed.is_some()) {
            (Step::Reserve(count), _) => {
                let reservation = self.space.reserve(*count).expect("there are ids");
                let taken = pages(std::iter::once(reservation.extent()));
                assert_eq!(taken.len(), *count as usize);
                for state in self.states.iter().chain(self.sealed.iter().map(|(owned, _)| owned)) {
                    assert!(taken.is_disjoint(state), "a page of a state is set aside");
                }
                self.reserved.push(reservation);
            }
            (Step::Drop(pick), _) if !self.reserved.is_empty() => {
                self.reserved.swap_remove(pick % self.reserved.len());
            }
            (Step::Seal { adopt, free, allocate, grow, cut }, false) => {
                self.seal(*adopt, *free, [*allocate, *grow, *cut]);
            }
            (Step::Install, true) => {
                let (owned, _) = self.sealed.take().expect("matched");
                self.space.installed();
                self.txn = self.txn.next();
                self.states.insert(0, owned);
                self.states.truncate(2);
            }
            (Step::Undo { is_kept }, true) => {
                self.space.undo();
                let (_, adopted) = self.sealed.take().expect("matched");
                self.reserved.extend(adopted.into_iter().filter(|_| *is_kept));
            }
            _ => {}
        }
    }

    fn seal(&mut self, adopt: usize, free: usize, [allocate, grow, cut]: [u32; 3]) {
        let txn = self.txn.next();
        self.space.begin(txn, &[self.txn]);
        let mut owned = self.states[0].clone();
        let all = std::mem::take(&mut self.reserved).into_iter().enumerate();
        let (adopted, kept): (Vec<_>, Vec<_>) = all.partition(|(at, _)| at % adopt == 0);
        self.reserved = kept.into_iter().map(|(_, reservation)| reservation).collect();
        let adopted: Vec<_> = adopted.into_iter().map(|(_, reservation)| reservation).collect();
        self.space.adopt(adopted.iter().map(Reservation::extent));
        owned.extend(pages(adopted.iter().map(Reservation::extent)));
        let freed: Vec<u32> = self.states[0].iter().copied().step_by(3).take(free).collect();
        for page in freed {
            let page_id = crate::page::PageId(page);
            self.space.release(Extent::one(page_id), TxnId(0)).expect("it is owned");
            owned.remove(&page);
        }
        if grow > 0 {
            self.space.grow(self.space.edge() + grow);
        }
        if allocate > 0
            && let Some(extent) = self.space.allocate_up_to(allocate, Placement::BestFit)
        {
            let taken = pages(std::iter::once(extent));
            assert!(self.states.iter().all(|state| taken.is_disjoint(state)));
            owned.extend(taken);
        }
        let cut = cut.min(self.space.tail_free());
        if cut > 0 {
            self.space.cut(self.space.page_count() - cut);
        }
        assert_eq!(self.space.log_pages_needed(TAIL, PAGE), 0);
        self.space.finish(TAIL, PAGE, &[]);
        let replayed =
            FreeSpace::replay(txn, self.space.page_count(), &[], self.space.tail()).expect("sound");
        let unused = pages(replayed.iter_free().chain(replayed.iter_pending()));
        let wanted: BTreeSet<u32> =
            (META_SLOTS..self.space.page_count()).filter(|page| !owned.contains(page)).collect();
        assert_eq!(unused, wanted, "what a crash behind the commit leaves free");
        self.sealed = Some((owned, adopted));
    }

    /// Each page is owned, free, pending or set aside, and one of these only.
    fn compare(&mut self) {
        self.space.take_dropped();
        let unused = pages(self.space.iter_free().chain(self.space.iter_pending()));
        let aside = pages(self.reserved.iter().map(Reservation::extent));
        let owned = self.sealed.as_ref().map_or(&self.states[0], |(owned, _)| owned);
        assert!(
            unused.is_disjoint(&aside) && unused.is_disjoint(owned) && aside.is_disjoint(owned)
        );
        let count = self.space.page_count();
        let all = unused.iter().chain(&aside).chain(owned).filter(|&&page| page < count);
        assert_eq!(all.count(), (count - META_SLOTS) as usize);
        assert!(owned.iter().chain(&unused).all(|&page| page < count));
        assert!(self.space.reserved.agree(), "gaps behind the file");
    }
}

proptest! {
    #[test]
    fn pages_that_are_set_aside_have_one_owner_whatever_happens(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut twin = Twin::new();
        for step in &steps {
            twin.apply(step);
            twin.compare();
        }
    }
}

/// Each that is set aside behind a commit looks at what was dropped since the last, and not at all
/// that the commit has adopted: the ends of these are told once.
#[test]
fn what_a_commit_adopted_is_looked_at_once() {
    let mut space = FreeSpace::new(META_SLOTS);
    let adopted: Vec<Reservation> = (0..100).map(|_| space.reserve(2).expect("room")).collect();
    space.begin(TxnId(1), &[TxnId(0)]);
    space.adopt(adopted.iter().map(Reservation::extent));
    space.finish(TAIL, PAGE, &[]);
    drop(adopted);
    assert_eq!(space.reserved.dropped(), 100);
    let next = space.reserve(2).expect("room");
    assert_eq!(space.reserved.dropped(), 0, "they wait with the commit");
    space.undo();
    assert_eq!(space.reserved.dropped(), 100);
    drop(next);
    space.take_dropped();
    assert_eq!(space.page_count(), META_SLOTS);
    assert_eq!(space.edge(), META_SLOTS);
}
