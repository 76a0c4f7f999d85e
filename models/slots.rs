//! A reader's hold against publication and against the reuse of pages.
//!
//! Attacks: snapshot-stable, no-reuse-while-reachable, publish-after-durable.

use super::{Model, models};
use crate::catalog::{Catalog, Names};
use crate::page::TxnId;
use crate::readers::{self, Readers};
use crate::slots::{Published, Seat, Slots};
use crate::sync::Watched;
use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::thread;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = models![
    a_held_state_keeps_its_page,
    a_state_comes_where_another_was,
    states_never_go_backwards,
    readers_share_the_slots,
    a_pin_moves_from_a_slot_to_the_table,
    a_reader_without_a_slot_pins_in_the_table,
];

/// A state and the page on which it lies.
struct State {
    number: AtomicU64,
    page: AtomicUsize,
}

impl State {
    fn new(number: u64, page: usize) -> Arc<State> {
        Arc::new(State { number: AtomicU64::new(number), page: AtomicUsize::new(page) })
    }
}

/// Two pages. Accesses to them order nothing, so that only the code under test does: a reader
/// without a right to a page may see anything that was ever written there.
struct Store {
    published: Published<State>,
    first: Arc<State>,
    pages: [AtomicU64; 2],
    /// Their memory, without an order of its own: who writes comes after all who read, or loom says
    /// that they meet.
    memory: [Watched; 2],
}

impl Store {
    fn new() -> Arc<Store> {
        let slots = Arc::new(Slots::new());
        let first = State::new(1, 0);
        let pages = [AtomicU64::new(1), AtomicU64::new(0)];
        let published = Published::new(Arc::clone(&first), slots);
        let memory = [Watched::new(), Watched::new()];
        Arc::new(Store { published, first, pages, memory })
    }

    /// Reads the newest state; its page holds what the state says.
    fn read(&self) -> u64 {
        let hold = self.published.hold().expect("there are slots enough");
        let number = hold.number.load(Ordering::Relaxed);
        let page = hold.page.load(Ordering::Relaxed);
        let found = self.pages[page].load(Ordering::Relaxed);
        assert_eq!(found, number, "a state lies on its page");
        self.memory[page].read();
        number
    }

    /// Makes a state on a page that no state that may be read lies on, if there is one.
    fn write(&self, number: u64) -> bool {
        let Some(page) = self.free_page() else { return false };
        self.memory[page].write();
        self.pages[page].store(number, Ordering::Relaxed);
        self.published.publish(State::new(number, page));
        true
    }

    fn free_page(&self) -> Option<usize> {
        let mut is_free = [true; 2];
        self.published.for_each_held(|state| {
            is_free[state.page.load(Ordering::Relaxed)] = false;
        });
        is_free.iter().position(|&is_free| is_free)
    }
}

/// A thread that reads once.
fn reader_of(store: &Arc<Store>) -> thread::JoinHandle<()> {
    let store = Arc::clone(store);
    thread::spawn(move || {
        store.read();
    })
}

fn a_held_state_keeps_its_page() {
    let store = Store::new();
    let reader = reader_of(&store);
    assert!(store.write(2));
    store.write(3);
    reader.join().expect("the reader ends");
    assert!(store.write(4), "the page of a state that nobody holds is free");
}

/// A state that nobody holds gives its memory to a later one; a reader that is about to name the
/// one names the other.
fn a_state_comes_where_another_was() {
    let store = Store::new();
    let reader = reader_of(&store);
    assert!(store.write(2));
    let mut is_held = false;
    store.published.for_each_held(|state| is_held |= std::ptr::eq(state, &raw const *store.first));
    if !is_held {
        store.memory[0].write();
        store.pages[0].store(3, Ordering::Relaxed);
        store.first.number.store(3, Ordering::Relaxed);
        store.published.publish(Arc::clone(&store.first));
    }
    reader.join().expect("the reader ends");
    assert!(store.write(4));
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
    let readers = [reader_of(&store), reader_of(&store)];
    // Not by this thread, which would have to be preempted for each reader that is to be first.
    let writer = {
        let store = Arc::clone(&store);
        thread::spawn(move || {
            store.write(2);
            store.write(3);
        })
    };
    readers.into_iter().for_each(|reader| reader.join().expect("a reader ends"));
    writer.join().expect("the writer ends");
    assert!(store.write(4));
}

/// States 1 and 2 of a store, as its readers pin them, and a page that only the first one has.
struct Pins {
    slots: Arc<Slots>,
    readers: Readers,
    page: Watched,
}

impl Pins {
    fn state(txn: u64) -> Arc<readers::State> {
        let catalog = Catalog { buckets: 0, names: Names::Inline(Arc::new(BTreeMap::new())) };
        Arc::new(readers::State::new(TxnId(txn), 2, catalog))
    }

    fn new() -> Arc<Pins> {
        let slots = Arc::new(Slots::new());
        let readers = Readers::new(Pins::state(1), Arc::clone(&slots));
        Arc::new(Pins { slots, readers, page: Watched::new() })
    }

    /// Reads in a state that is pinned.
    fn read(&self, state: TxnId) {
        if state == TxnId(1) {
            self.page.read();
        }
    }

    /// Commits state 2, and writes the page of the first one if nobody reads that.
    fn write(&self) {
        self.readers.publish(Pins::state(2));
        if !self.readers.pinned().contains(&TxnId(1)) {
            self.page.write();
        }
    }
}

/// A cursor outlives its transaction: first a slot says that the state is read, then the table.
fn a_pin_moves_from_a_slot_to_the_table() {
    let pins = Pins::new();
    let reader = {
        let pins = Arc::clone(&pins);
        thread::spawn(move || {
            let held = pins.readers.pin_newest();
            let state = held.txn;
            pins.readers.pin(state);
            drop(held);
            pins.read(state);
            pins.readers.unpin(state);
        })
    };
    pins.write();
    reader.join().expect("the reader ends");
    assert_eq!(pins.readers.pinned(), [TxnId(2)]);
}

/// All slots are taken, or one is given back just then: the state counts as read either way.
fn a_reader_without_a_slot_pins_in_the_table() {
    let pins = Pins::new();
    let mut others: Vec<Seat<'_>> = std::iter::from_fn(|| pins.slots.visit()).collect();
    let reader = {
        let pins = Arc::clone(&pins);
        thread::spawn(move || {
            let state = pins.readers.pin_newest();
            pins.read(state.txn);
        })
    };
    others.pop();
    pins.write();
    reader.join().expect("the reader ends");
    assert_eq!(pins.readers.pinned(), [TxnId(2)]);
}
