//! Readers that look at frames against those who fill and empty them.
//!
//! Attacks: cache-coherent.

use super::{Model, models};
use crate::buffer::Buffer;
use crate::cache::Cache;
use crate::page::{Page, PageId, TxnId};
use crate::slots::{Hold, Published, Slots};
use crate::sync::deny_meetings;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::slice::from_ref;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = models![
    a_page_that_is_looked_at_stays,
    a_fence_that_is_denied_empties_nothing,
    a_page_that_is_lent_stays,
    a_page_that_is_lent_to_another_thread_stays,
    a_page_that_is_held_stays,
    a_page_that_is_kept_stays,
    a_page_is_filled_before_it_is_found,
    a_miss_meets_the_reuse_of_an_id,
    the_locator_meets_the_reuse_of_an_id,
];

const SIZE: usize = 64;

struct World {
    cache: Cache,
    published: Published<()>,
    /// Pages that the writer has put in. loom tries another order only where two threads access
    /// the same thing and one of them writes it; so a reader that looks here lets it try a writer
    /// that came that far.
    put: AtomicU64,
}

fn page(id: u32, txn: u64) -> Page {
    let mut bytes = Buffer::zeroed(SIZE);
    bytes[32..40].copy_from_slice(&txn.to_le_bytes());
    Page::seal(bytes, PageId(id), TxnId(txn))
}

impl World {
    /// A cache of one frame, which holds `page`.
    fn with(page: &Page) -> Arc<World> {
        World::of(1, page)
    }

    /// A cache of so many frames, of which one holds `page`.
    fn of(frames: u64, page: &Page) -> Arc<World> {
        let slots = Arc::new(Slots::new());
        let cache = Cache::new(Cache::bytes_for(frames, SIZE), SIZE, &slots);
        cache.insert(from_ref(page));
        assert!(cache.get(page.child_ref()).is_some());
        let published = Published::new(Arc::new(()), slots);
        Arc::new(World { cache, published, put: AtomicU64::new(0) })
    }

    /// A thread that looks at one page and then, without leaving, at another.
    fn reader_of(self: &Arc<World>, pages: [&Page; 2]) -> thread::JoinHandle<()> {
        let (world, pages) = (Arc::clone(self), pages.map(Page::clone));
        thread::spawn(move || {
            let hold = world.published.hold().expect("there are slots enough");
            pages.iter().for_each(|page| world.look_in(&hold, page));
        })
    }

    fn let_others_run(&self) {
        self.put.load(Ordering::Relaxed);
    }

    fn insert(&self, page: &Page) {
        self.cache.insert(from_ref(page));
        self.put.fetch_add(1, Ordering::Relaxed);
    }

    fn look(&self, page: &Page) {
        let hold = self.published.hold().expect("there are slots enough");
        self.look_in(&hold, page);
    }

    /// Looks at a page; what it sees is the page, however often it looks.
    fn look_in(&self, hold: &Hold<'_, ()>, page: &Page) {
        let look = self.cache.look(hold.seat()).expect("the cache has a frame");
        if let Some(seen) = look.peek(page.child_ref()) {
            assert_eq!(seen.bytes, page.bytes());
            self.let_others_run();
            assert_eq!(seen.bytes, page.bytes());
        }
    }

    /// Looks at a page and borrows it.
    fn borrow(&self, page: &Page) {
        let hold = self.published.hold().expect("there are slots enough");
        let look = self.cache.look(hold.seat()).expect("the cache has a frame");
        let lent = look.peek(page.child_ref()).map(|seen| seen.pin(seen.bytes));
        drop(look);
        if let Some(lent) = lent {
            assert_eq!(lent.bytes(), page.bytes());
            self.let_others_run();
            assert_eq!(lent.bytes(), page.bytes());
        }
    }

    /// Looks at a page and keeps it.
    fn keep(&self, page: &Page) {
        let hold = self.published.hold().expect("there are slots enough");
        let look = self.cache.look(hold.seat()).expect("the cache has a frame");
        let kept = look.peek(page.child_ref()).map(|seen| look.keep(seen));
        drop(look);
        drop(hold);
        if let Some(kept) = kept {
            assert_eq!(kept.bytes(), page.bytes());
            self.let_others_run();
            assert_eq!(kept.bytes(), page.bytes());
        }
    }

    /// Holds a page.
    fn hold(&self, page: &Page) {
        if let Some(held) = self.cache.get(page.child_ref()) {
            assert_eq!(held.bytes(), page.bytes());
            self.let_others_run();
            assert_eq!(held.bytes(), page.bytes());
        }
    }
}

/// One thread uses page 2 while another wants its frame for page 3, then for page 4.
fn against_eviction(use_page: fn(&World, &Page)) {
    let (old, new, newer) = (page(2, 1), page(3, 2), page(4, 3));
    let world = World::with(&old);
    let reader = {
        let (world, old) = (Arc::clone(&world), old.clone());
        thread::spawn(move || use_page(&world, &old))
    };
    world.insert(&new);
    world.insert(&newer);
    reader.join().expect("the reader ends");
    world.cache.insert(from_ref(&new));
    let found = world.cache.get(new.child_ref()).expect("a frame that nobody uses is given");
    assert_eq!(found.bytes(), new.bytes());
}

fn a_page_that_is_looked_at_stays() {
    against_eviction(World::look);
}

/// Whoever takes a slot, or has left it, is seen without a heavy fence; who looks from one is not.
fn a_fence_that_is_denied_empties_nothing() {
    deny_meetings();
    against_eviction(World::look);
}

fn a_page_that_is_lent_stays() {
    against_eviction(World::borrow);
}

/// A reader lends a page to another thread, which gives it back, and then borrows it again: whoever
/// fills the frame afterwards sees that both have left it. `stage` keeps other orders short, and
/// orders nothing else.
fn a_page_that_is_lent_to_another_thread_stays() {
    let (old, new, newer) = (page(2, 1), page(3, 2), page(4, 3));
    let world = World::with(&old);
    let stage = Arc::new(AtomicU64::new(0));
    let writer = {
        let (world, stage) = (Arc::clone(&world), Arc::clone(&stage));
        thread::spawn(move || {
            if stage.load(Ordering::Relaxed) == 2 {
                world.insert(&new);
                world.insert(&newer);
            }
        })
    };
    // A thread of loom borrows from nobody who ends.
    let world: &'static World = Box::leak(Box::new(world));
    let hold = Box::leak(Box::new(world.published.hold().expect("there are slots enough")));
    let lend = |hold: &'static Hold<'static, ()>| {
        let look = world.cache.look(hold.seat()).expect("the cache has a frame");
        look.peek(old.child_ref()).map(|seen| seen.pin(seen.bytes))
    };
    let lent = lend(hold).expect("nobody has begun to fill the frame");
    let borrower = {
        let (old, stage) = (old.clone(), Arc::clone(&stage));
        thread::spawn(move || {
            assert_eq!(lent.bytes(), old.bytes());
            drop(lent);
            stage.store(1, Ordering::Relaxed);
        })
    };
    if stage.load(Ordering::Relaxed) == 1 {
        drop(lend(hold));
        stage.store(2, Ordering::Relaxed);
    }
    borrower.join().expect("the borrower ends");
    writer.join().expect("the writer ends");
}

fn a_page_that_is_held_stays() {
    against_eviction(World::hold);
}

fn a_page_that_is_kept_stays() {
    against_eviction(World::keep);
}

/// A reader that finds a page finds it filled; and whoever fills a frame sees that the reader has
/// left it, though it looks at another by now.
fn a_page_is_filled_before_it_is_found() {
    let (old, new, newer) = (page(2, 1), page(3, 2), page(4, 3));
    let world = World::with(&old);
    let reader = world.reader_of([&old, &new]);
    world.insert(&new);
    world.insert(&newer);
    reader.join().expect("the reader ends");
}

/// A reader misses page 2 and loads it, while the writer puts another content of it in its
/// place: each is found under its own checksum, or not at all.
fn a_miss_meets_the_reuse_of_an_id() {
    let (other, old, new) = (page(3, 1), page(2, 1), page(2, 2));
    let world = World::with(&other);
    let reader = {
        let (world, old) = (Arc::clone(&world), old.clone());
        thread::spawn(move || {
            let loaded = world.cache.load(old.child_ref(), |bytes| {
                bytes.copy_from_slice(old.bytes());
                Ok(())
            });
            if let Some(page) = loaded.expect("nothing fails") {
                world.let_others_run();
                assert_eq!(page.bytes(), old.bytes());
            }
        })
    };
    world.cache.remove(new.id());
    world.insert(&new);
    world.look(&new);
    reader.join().expect("the reader ends");
    world.cache.remove(new.id());
    assert!(world.cache.get(new.child_ref()).is_none());
    assert!(world.cache.get(old.child_ref()).is_none());
}

/// Page 4 finds its home taken, by page 2; so the locator is made, and says where it is, while a
/// reader looks. Its id stands for another content then: each is found under its own checksum, or
/// not at all.
fn the_locator_meets_the_reuse_of_an_id() {
    let (neighbour, old, new) = (page(2, 1), page(4, 1), page(4, 2));
    let world = World::of(2, &neighbour);
    let reader = world.reader_of([&old, &new]);
    world.insert(&old);
    world.cache.remove(old.id());
    world.insert(&new);
    reader.join().expect("the reader ends");
    if world.cache.get(new.child_ref()).is_none() {
        world.cache.insert(from_ref(&new));
    }
    for page in [&neighbour, &new] {
        let found = world.cache.get(page.child_ref()).expect("nothing put it out");
        assert_eq!(found.bytes(), page.bytes());
    }
    assert!(world.cache.get(old.child_ref()).is_none());
}
