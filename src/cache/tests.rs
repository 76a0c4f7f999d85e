//! What is in the cache, and for how long.
//!
//! Attacks: cache-coherent.

use super::*;
use crate::buffer::Buffer;
use crate::page::TxnId;
use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::Barrier;

const SIZE: usize = 512;

fn cache(frames: u64) -> (Cache, Arc<Slots>) {
    let slots = Arc::new(Slots::new());
    (Cache::new(Cache::bytes_for(frames, SIZE), SIZE, &slots), slots)
}

fn page(id: u32, txn: u64) -> Page {
    let mut bytes = Buffer::zeroed(SIZE);
    bytes[40..48].copy_from_slice(&txn.to_le_bytes());
    Page::seal(bytes, PageId(id), TxnId(txn))
}

#[test]
fn the_bound_holds_to_the_page() {
    for frames in [0, 1, 2, 7, 300] {
        let (cache, _) = cache(frames);
        for id in 2..1000 {
            cache.insert(&[page(id, 1)]);
            assert!(cache.len() as u64 <= frames);
        }
        assert!(cache.len() as u64 >= frames.min(8) / 2, "{frames}");
    }
}

#[test]
fn a_smaller_file_than_the_cache_stays_in_it() {
    let (cache, _) = cache(100);
    let pages: Vec<Page> = (2..100).map(|id| page(id, 1)).collect();
    for page in &pages {
        cache.insert(from_ref(page));
    }
    for page in &pages {
        let found = cache.get(page.child_ref()).expect("there is room for all");
        assert_eq!(found.bytes(), page.bytes());
    }
}

#[test]
fn a_used_page_outlives_one_round_of_the_clock() {
    let (cache, _) = cache(4);
    let pages: Vec<Page> = (2..8).map(|id| page(id, 1)).collect();
    for page in &pages[..4] {
        cache.insert(from_ref(page));
    }
    assert!(cache.get(pages[1].child_ref()).is_some());
    cache.insert(from_ref(&pages[4]));
    cache.insert(from_ref(&pages[5]));
    assert!(cache.get(pages[1].child_ref()).is_some());
    assert_eq!(pages.iter().filter(|page| cache.get(page.child_ref()).is_some()).count(), 4);
}

#[test]
fn a_page_is_found_under_its_own_checksum_only() {
    let (cache, _) = cache(4);
    let (old, new) = (page(3, 1), page(3, 2));
    cache.insert(from_ref(&old));
    assert!(cache.get(new.child_ref()).is_none());
    cache.remove(PageId(3));
    assert!(cache.get(old.child_ref()).is_none());
    cache.insert(from_ref(&new));
    assert_eq!(cache.get(new.child_ref()).map(|page| page.txn()), Some(TxnId(2)));
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_page_is_made_at_home_or_not_at_all() {
    let (cache, _) = cache(4);
    let make = |page: &Page| {
        cache.make(page.id(), |bytes| {
            bytes.copy_from_slice(page.bytes());
            page.child_ref()
        })
    };
    let (old, new, neighbour) = (page(3, 1), page(3, 2), page(7, 1));
    let made = make(&old).expect("its home is empty");
    assert_eq!(made.bytes(), old.bytes());
    assert!(make(&neighbour).is_none(), "both are at home in one frame");
    assert!(cache.get(old.child_ref()).is_some(), "nothing made room");
    assert!(make(&new).is_none(), "the old page is held");
    assert!(cache.get(old.child_ref()).is_none(), "its id stands for another");
    assert_eq!(made.bytes(), old.bytes());
    drop(made);
    cache.settle();
    assert_eq!(make(&new).expect("its home is empty again").bytes(), new.bytes());
}

#[test]
fn a_held_page_stays_what_it_is() {
    let (cache, _) = cache(4);
    let first = page(2, 1);
    cache.insert(from_ref(&first));
    let held = cache.get(first.child_ref()).expect("it was put there");
    let copy = held.clone();
    cache.remove(PageId(2));
    for id in 2..100 {
        cache.insert(&[page(id, 2)]);
        assert_eq!(held.bytes(), first.bytes());
    }
    drop(held);
    for id in 2..100 {
        cache.insert(&[page(id, 3)]);
    }
    assert_eq!(copy.bytes(), first.bytes());
}

#[test]
fn pages_that_are_all_held_leave_no_frame() {
    let (cache, _) = cache(4);
    let load = |id: u32| {
        let page = page(id, 1);
        cache.load(page.child_ref(), |bytes| {
            bytes.copy_from_slice(page.bytes());
            Ok(())
        })
    };
    let mut held: Vec<Page> = (2..6).map(|id| load(id).unwrap().unwrap()).collect();
    assert!(load(9).unwrap().is_none());
    held.pop();
    assert!(load(9).unwrap().is_some());
}

#[test]
fn frames_that_are_all_held_are_not_looked_at_each_time() {
    let frames = 4 * LOOKED_AT_IN_VAIN;
    let (cache, _) = cache(u64::from(frames));
    let mut held: Vec<Page> = Vec::new();
    for id in 0..frames {
        let page = page(2 + id, 1);
        cache.insert(from_ref(&page));
        held.extend(cache.get(page.child_ref()));
    }
    assert_eq!(held.len(), frames as usize);
    let other = page(2 + frames, 1);
    let has_room = || {
        cache.insert(from_ref(&other));
        cache.get(other.child_ref()).is_some()
    };
    assert!(!has_room());
    held.pop();
    let in_vain = (0..frames).take_while(|_| !has_room()).count();
    assert_eq!(in_vain, (2 * frames / LOOKED_AT_IN_VAIN) as usize);
}

#[test]
fn a_page_that_cannot_be_read_takes_no_frame() {
    let (cache, _) = cache(2);
    for _ in 0..10 {
        let failed = cache.load(page(2, 1).child_ref(), |_| Err(crate::Error::IoError));
        assert!(failed.is_err() && cache.len() == 0);
    }
}

#[test]
fn pages_far_from_home_are_found_and_forgotten() {
    let (cache, _) = cache(64);
    // All have the same home.
    let pages: Vec<Page> = (1..=40).map(|n| page(n * 64, 1)).collect();
    for page in &pages {
        cache.insert(from_ref(page));
    }
    let here =
        |page: &&Page| cache.get(page.child_ref()).is_some_and(|p| p.bytes() == page.bytes());
    assert!(pages.iter().filter(here).count() >= 16);
    for page in &pages {
        cache.remove(page.id());
    }
    assert_eq!((pages.iter().filter(here).count(), cache.len()), (0, 0));
}

/// Threads look at pages, hold pages and wear the cache out, while one writes pages anew; every
/// byte that they see belongs to the page that they asked for.
#[test]
fn threads_see_the_pages_they_ask_for() {
    let (cache, slots) = cache(40);
    let published = crate::slots::Published::new(Arc::new(0_u64), Arc::clone(&slots));
    let newest: Vec<AtomicU64> = (0..120).map(|_| AtomicU64::new(1)).collect();
    let table: BTreeMap<(u32, u64), Page> =
        (2..120).flat_map(|id| (1..4).map(move |txn| ((id, txn), page(id, txn)))).collect();
    let start = Barrier::new(4);
    let wanted = |seed: &mut u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let id = 2 + u32::try_from((*seed >> 33) % 118).unwrap();
        &table[&(id, newest[id as usize].load(Ordering::Relaxed))]
    };
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (cache, published, start, wanted) = (&cache, &published, &start, &wanted);
            scope.spawn(move || {
                start.wait();
                let mut seed = thread + 1;
                let hold = published.hold().expect("there are more slots than threads");
                let mut held = Vec::new();
                for round in 0..40_000_u32 {
                    let page = wanted(&mut seed);
                    let look = cache.look(hold.seat()).expect("the cache has frames");
                    let Some(seen) = look.peek(page.child_ref()) else {
                        drop(look);
                        cache.insert(from_ref(page));
                        continue;
                    };
                    assert_eq!(seen.bytes, page.bytes());
                    if round % 7 == 0 {
                        held.push((seen.pin(seen.bytes), page));
                    }
                    drop(look);
                    if held.len() > 12 {
                        let (pinned, page) = held.remove(0);
                        assert_eq!(pinned.bytes(), page.bytes());
                    }
                }
            });
        }
        start.wait();
        let mut seed = 99;
        for _ in 0..20_000 {
            let page = wanted(&mut seed);
            let at = &newest[page.id().0 as usize];
            at.store(at.load(Ordering::Relaxed) % 3 + 1, Ordering::Relaxed);
            cache.remove(page.id());
        }
    });
    assert!(cache.len() <= 40);
}

/// Written anew again and again, pages stay where they are found at once.
#[test]
fn pages_written_anew_come_home() {
    let (cache, _) = cache(200);
    for txn in 1..50 {
        (2..100).for_each(|id| cache.remove(PageId(id)));
        cache.settle();
        for id in 2..100 {
            cache.insert(&[page(id, txn)]);
        }
        let at_home =
            |id: u32| cache.arena.tag(cache.home(PageId(id))) == tag_of(page(id, txn).child_ref());
        assert!((2..100).all(at_home), "transaction {txn}");
    }
}

#[test]
fn pages_of_runs_and_of_trees_are_not_taken_for_each_other() {
    let (cache, slots) = cache(100);
    let (run, tree) = (vec![7; 3 * SIZE], page(10, 1));
    // The same ids and checksums for both, but for the last bit, which no tag has.
    for checksum in [tree.child_ref().checksum, tree.child_ref().checksum ^ 1] {
        let first = ChildRef { checksum, ..tree.child_ref() };
        cache.insert_run(first, &run, SIZE);
        assert!(cache.get(first).is_none());
        let seat = slots.visit().expect("a slot is free");
        let look = cache.look(&seat).expect("there are frames");
        assert!(look.peek(first).is_none());
        assert_eq!(look.peek_run(first).expect("it was kept").bytes, &run[..SIZE]);
        let mut out = vec![1];
        assert!(look.copy_run(first, 2 * SIZE + 3, &mut out));
        assert_eq!(out, [&[1], &run[..2 * SIZE + 3]].concat());
        assert!(!look.copy_run(first, 3 * SIZE + 1, &mut out));
        assert_eq!(out.len(), 1 + 2 * SIZE + 3);
    }
    cache.insert(from_ref(&tree));
    cache.remove(PageId(11));
    let seat = slots.visit().expect("a slot is free");
    let look = cache.look(&seat).expect("there are frames");
    assert!(!look.copy_run(tree.child_ref(), 2 * SIZE, &mut Vec::new()), "one page is gone");
    assert!(cache.get(tree.child_ref()).is_some());
}

#[test]
fn frames_that_readers_keep_do_not_keep_others_out() {
    let (cache, slots) = cache(64);
    let pages: Vec<Page> = (64..128).map(|id| page(id, 1)).collect();
    for page in &pages {
        cache.insert(from_ref(page));
    }
    let seat = slots.visit().expect("a slot is free");
    let look = cache.look(&seat).expect("there are frames");
    let lend = |page: &Page| {
        let seen = look.peek(page.child_ref()).expect("it was put there");
        seen.pin(seen.bytes)
    };
    let lent: Vec<_> = pages[..8].iter().map(lend).collect();
    drop(look);
    let is_missed = |id: &u32| {
        let other = page(*id, 1);
        cache.insert(from_ref(&other));
        cache.get(other.child_ref()).is_none()
    };
    let missed = (1000..2000).filter(is_missed).count();
    assert!(missed <= lent.len(), "{missed} of 1000 found no frame");
    for (lent, page) in lent.iter().zip(&pages) {
        assert_eq!(lent.bytes(), page.bytes());
    }
}

#[test]
fn a_read_that_panics_takes_no_frame() {
    let (cache, _) = cache(2);
    for _ in 0..10 {
        let load = || cache.load(page(2, 1).child_ref(), |_| panic!("the storage panics"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(load)).is_err());
        assert_eq!(cache.len(), 0);
        let make = || cache.make(PageId(2), |_| panic!("the page cannot be made"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(make)).is_err());
        assert_eq!(cache.len(), 0);
    }
}

#[test]
fn a_run_that_memory_cannot_hold_is_not_at_hand() {
    let (cache, slots) = cache(100);
    let first = ChildRef { id: PageId(10), checksum: 7 };
    cache.insert_run(first, &[7; SIZE], SIZE);
    let seat = slots.visit().expect("a slot is free");
    let look = cache.look(&seat).expect("there are frames");
    let mut out = vec![1];
    assert!(!look.copy_run(first, usize::MAX >> 1, &mut out));
    assert_eq!(out, [1]);
}
