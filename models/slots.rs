//! A reader's hold against publication and against the reuse of pages.
//!
//! Attacks: snapshot-stable, no-reuse-while-reachable, publish-after-durable.

use super::Model;
use crate::slots::{Published, Slots};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "a_held_state_keeps_its_page",
        run: a_held_state_keeps_its_page,
        finds: &["reader-registers-after-root-read", "held-versions-not-asked"],
    },
    Model { name: "states_never_go_backwards", run: states_never_go_backwards, finds: &[] },
    Model { name: "readers_share_the_slots", run: readers_share_the_slots, finds: &[] },
];

/// A state and the page on which it lies.
struct State {
    number: u64,
    page: usize,
}

/// Two pages. Accesses to them order nothing, so that only the code under test does: a reader
/// without a right to a page may see anything that was ever written there.
struct Store {
    published: Published<State>,
    pages: [AtomicU64; 2],
}

impl Store {
    fn new() -> Arc<Store> {
        let slots = Arc::new(Slots::new());
        let first = Arc::new(State { number: 1, page: 0 });
        let pages = [AtomicU64::new(1), AtomicU64::new(0)];
        Arc::new(Store { published: Published::new(first, slots), pages })
    }

    /// Reads the newest state; its page holds what the state says.
    fn read(&self) -> u64 {
        let hold = self.published.hold().expect("there are slots enough");
        let (number, page) = (hold.number, hold.page);
        let found = self.pages[page].load(Ordering::Relaxed);
        assert_eq!(found, number, "a state lies on its page");
        number
    }

    /// Makes a state on a page that no state that may be read lies on, if there is one.
    fn write(&self, number: u64) -> bool {
        let mut is_free = [true; 2];
        self.published.for_each_held(|state| is_free[state.page] = false);
        let Some(page) = is_free.iter().position(|&is_free| is_free) else { return false };
        self.pages[page].store(number, Ordering::Relaxed);
        self.published.publish(Arc::new(State { number, page }));
        true
    }
}

fn a_held_state_keeps_its_page() {
    let store = Store::new();
    let reader = {
        let store = Arc::clone(&store);
        thread::spawn(move || {
            store.read();
        })
    };
    assert!(store.write(2));
    store.write(3);
    reader.join().expect("the reader ends");
    assert!(store.write(4), "the page of a state that nobody holds is free");
}

fn states_never_go_backwards() {
    let store = Store::new();
    let reader = {
        let store = Arc::clone(&store);
        thread::spawn(move || {
            let first = store.read();
            assert!(store.read() >= first);
        })
    };
    store.write(2);
    reader.join().expect("the reader ends");
    assert_eq!(store.read(), 2);
}

fn readers_share_the_slots() {
    let store = Store::new();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.read();
            })
        })
        .collect();
    store.write(2);
    readers.into_iter().for_each(|reader| reader.join().expect("a reader ends"));
    assert!(store.write(3));
}
