//! The page cache (layer L3).
//!
//! Owns: sealed pages by id, in shards with a clock each, never more than the bound.
//! Must not know: files, trees. Keeps: cache-coherent (what is written anew is replaced or
//! removed by its writer before anybody can ask for it).

use crate::page::{Page, PageId};
use crate::sync::{AtomicBool, Ordering, RwLock};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const SHARDS: usize = 16;
/// Caches of fewer pages have one shard, so that the bound is exact.
const SHARDED_FROM: usize = 16 * SHARDS;

/// Sealed pages by id.
pub(crate) struct Cache {
    shards: Box<[RwLock<Shard>]>,
    pages_max_per_shard: usize,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<PageId, Slot, BuildHasherDefault<IdHasher>>,
    ring: Vec<PageId>,
    hand: usize,
}

struct Slot {
    page: Page,
    used: AtomicBool,
    ring_at: usize,
}

/// Spreads page ids, which are dense small numbers, over the table.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Cache {
    /// A cache of at most `pages_max` pages.
    pub(crate) fn new(pages_max: usize) -> Cache {
        let count = if pages_max >= SHARDED_FROM { SHARDS } else { 1 };
        let shards = (0..count).map(|_| RwLock::new(Shard::default())).collect();
        Cache { shards, pages_max_per_shard: pages_max / count }
    }

    fn shard(&self, id: PageId) -> &RwLock<Shard> {
        &self.shards[id.0 as usize % self.shards.len()]
    }

    /// The page with this id, if it is here.
    pub(crate) fn get(&self, id: PageId) -> Option<Page> {
        let shard = self.shard(id).read();
        let slot = shard.slots.get(&id)?;
        // Loading first keeps the line shared while many threads read the same page.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.page.clone())
    }

    /// Keeps a page, in place of an older one of this id, and of the one that the clock picks.
    pub(crate) fn insert(&self, page: Page) {
        if self.pages_max_per_shard == 0 {
            return;
        }
        let id = page.id();
        let mut shard = self.shard(id).write();
        if let Some(slot) = shard.slots.get_mut(&id) {
            slot.page = page;
            return;
        }
        let ring_at = if shard.ring.len() < self.pages_max_per_shard {
            shard.ring.push(id);
            shard.ring.len() - 1
        } else {
            let at = shard.evict();
            shard.ring[at] = id;
            at
        };
        shard.slots.insert(id, Slot { page, used: AtomicBool::new(false), ring_at });
    }

    /// Forgets a page.
    pub(crate) fn remove(&self, id: PageId) {
        let mut shard = self.shard(id).write();
        let Some(slot) = shard.slots.remove(&id) else { return };
        shard.ring.swap_remove(slot.ring_at);
        let Some(&moved) = shard.ring.get(slot.ring_at) else { return };
        if let Some(other) = shard.slots.get_mut(&moved) {
            other.ring_at = slot.ring_at;
        }
    }

    /// How many pages are here.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().ring.len()).sum()
    }
}

impl Shard {
    /// Removes the first page that was not used since the hand last came by. Its ring place.
    fn evict(&mut self) -> usize {
        loop {
            let at = self.hand % self.ring.len();
            self.hand = at + 1;
            let id = self.ring[at];
            let was_used =
                self.slots.get(&id).is_some_and(|slot| slot.used.swap(false, Ordering::Relaxed));
            if !was_used {
                self.slots.remove(&id);
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Attacks: cache-coherent.
    use super::*;
    use crate::page::TxnId;

    fn page(id: u32, txn: u64) -> Page {
        Page::seal(vec![0; 512].into_boxed_slice(), PageId(id), TxnId(txn))
    }

    #[test]
    fn the_bound_holds_to_the_page() {
        for pages_max in [0, 1, 2, 7, 300] {
            let cache = Cache::new(pages_max);
            for id in 2..1000 {
                cache.insert(page(id, 1));
                assert!(cache.len() <= pages_max);
            }
        }
    }

    #[test]
    fn a_used_page_outlives_one_round_of_the_clock() {
        let cache = Cache::new(4);
        for id in 2..6 {
            cache.insert(page(id, 1));
        }
        assert!(cache.get(PageId(3)).is_some());
        cache.insert(page(6, 1));
        cache.insert(page(7, 1));
        assert!(cache.get(PageId(3)).is_some());
        assert!(cache.get(PageId(2)).is_none());
    }

    #[test]
    fn a_page_written_anew_replaces_the_old_one() {
        let cache = Cache::new(4);
        cache.insert(page(3, 1));
        cache.insert(page(3, 2));
        assert_eq!(cache.get(PageId(3)).map(|page| page.txn()), Some(TxnId(2)));
        cache.remove(PageId(3));
        assert!(cache.get(PageId(3)).is_none());
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn removal_keeps_the_ring_whole() {
        let cache = Cache::new(8);
        for round in 0..1000_u32 {
            cache.insert(page(2 + round * 7 % 13, 1));
            cache.remove(PageId(2 + round * 5 % 11));
            assert!(cache.len() <= 8);
        }
    }
}
