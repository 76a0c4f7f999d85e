//! Who wants the one index of a tree that a store may have.
//!
//! Attacks: bytes-never-panic.

use super::disk::{Disk, PAGE};
use super::{Model, models};
use crate::commit::Core;
use crate::pager::Pager;
use crate::readers::State;
use crate::sync::Watched;
use crate::tree::sparse::SparseIndex;
use crate::tree::{At, Expected};
use crate::{BTree, Options};
use loom::thread;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = models![
    one_at_a_time_has_the_index,
    a_state_keeps_the_index_that_it_has,
    the_index_of_a_state_or_of_the_next,
];

struct World {
    pager: Pager,
    /// What an index lies in: whoever makes one comes after whoever gave the last one up.
    memory: Watched,
}

impl World {
    /// Makes an index, if there is none, and gives it up. Returns whether it did.
    fn make(&self) -> bool {
        let Some(claim) = self.pager.claim_index() else { return false };
        self.memory.write();
        drop(claim);
        true
    }
}

/// Three want it. One of them gets it, and others only when it was given back, by whoever had it.
fn one_at_a_time_has_the_index() {
    let pager = Pager::new(Box::new(Disk::new()), PAGE as usize, 1 << 16);
    let world = Arc::new(World { pager, memory: Watched::new() });
    let others = [0, 1].map(|_| {
        let world = Arc::clone(&world);
        thread::spawn(move || world.make())
    });
    let mut makers = u32::from(world.make());
    makers += others.map(|other| u32::from(other.join().unwrap())).iter().sum::<u32>();
    assert!(makers > 0, "somebody is first");
    assert!(world.make(), "it was given back");
}

/// A bucket of which the root lies two levels above the leaves.
fn open() -> BTree {
    let vfs = Arc::new(Disk::new());
    let options = Options::new().page_size(512).cache_bytes(1 << 17).vfs(vfs);
    let db = options.open("model").unwrap();
    let entries = 0..400_u32;
    db.exec("b", |txn| entries.clone().try_for_each(|n| txn.put(n.to_be_bytes(), [1; 100])))
        .unwrap();
    db
}

fn root(core: &Core, state: &State) -> At {
    let mut place = None;
    let record = state.catalog.find_record(&core.pager, b"b", &mut place).unwrap().unwrap();
    let (child, level) = record.root.unwrap();
    assert_eq!(level, 2);
    At { child, expected: Expected { level, txn_max: state.txn } }
}

/// Makes an index of the newest state, if there is none anywhere, as a lookup does that finds that
/// it pays.
fn make(core: &Core) {
    let state = core.readers.pin_newest();
    let sight = core.pager.look(state.seat().unwrap()).unwrap();
    let Some(claim) = core.pager.claim_index() else { return };
    // Some branches may be on their way to the cache.
    if let Ok(index) = SparseIndex::new(root(core, &state), &sight, claim) {
        assert!(state.index.get_or_init(|| Some(index)).is_some());
    }
}

/// Whether a state has an index.
fn has_index(state: &State) -> bool {
    state.index.get().is_some()
}

/// Two readers want the index of a state. One of them makes it, and while the state has it nobody
/// else may.
fn a_state_keeps_the_index_that_it_has() {
    let db = open();
    let core = Arc::clone(db.snapshot().core());
    let first = core.readers.newest();
    let reader = {
        let core = Arc::clone(&core);
        thread::spawn(move || make(&core))
    };
    make(&core);
    reader.join().unwrap();
    assert!(has_index(&first) && core.pager.claim_index().is_none());
}

/// A reader makes the index of the newest state while the next one is published, and another reader
/// comes to that. Of the two states one has it at most, and nobody has a right to it without it.
fn the_index_of_a_state_or_of_the_next() {
    let db = open();
    let core = Arc::clone(db.snapshot().core());
    let first = core.readers.newest();
    let reader = {
        let core = Arc::clone(&core);
        thread::spawn(move || make(&core))
    };
    let next = State::new(first.txn.next(), first.page_count, first.catalog.clone());
    core.readers.publish(Arc::new(next));
    make(&core);
    reader.join().unwrap();
    let newest = core.readers.newest();
    let having = [&first, &newest].into_iter().filter(|state| has_index(state)).count();
    assert!(having <= 1, "two have one");
    assert_eq!(core.pager.claim_index().is_none(), having == 1);
}
