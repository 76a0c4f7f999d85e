//! Operations without crashes. What is asked: does the store answer as the oracle does, and is
//! the file sound whenever it is looked at?

use super::input::Input;
use super::op::{bulks, tune, workload};
use btree_store::sim::oracle::{Handle, Op, Oracle, compare, compare_snapshots};
use btree_store::vfs::MemVfs;
use btree_store::{Barriers, Options};
use std::sync::Arc;

const PATH: &str = "data.db";
/// Operations of one input at most, so that it takes milliseconds.
const OPS_MAX: usize = 120;
/// Everything is compared after so many.
const OPS_PER_CHECK: usize = 24;

struct World {
    store: Handle,
    oracle: Oracle,
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let page_size = input.pick(&[512, 512, 1024, 4096]);
    let cache_bytes = input.pick(&[0, 4 * u64::from(page_size), 1 << 20]);
    let barriers = input.pick(&[Barriers::One, Barriers::Two]);
    let options = Options::new().page_size(page_size).cache_bytes(cache_bytes).barriers(barriers);
    let vfs = MemVfs::new();
    let store = Handle::open(options.vfs(Arc::new(vfs.clone())), PATH).expect("a new store opens");
    let mut world = World { store, oracle: Oracle::new(page_size) };
    let mut workload = workload(&mut input, page_size);
    tune(&mut workload, data);
    let bulk = bulks(data);
    for done in 1..=OPS_MAX {
        if input.is_empty() {
            break;
        }
        let is_bulk = input.below(4) == 3;
        let op = if is_bulk { bulk(&mut input, page_size) } else { workload.op(&mut input) };
        world.step(&op);
        if done % OPS_PER_CHECK == 0 || op == Op::Reopen {
            world.check();
        }
    }
    world.check();
    world.step(&Op::Reopen);
    world.check();
}

impl World {
    fn step(&mut self, op: &Op) {
        let found = self.store.run(op);
        let wanted = self.oracle.apply(op);
        assert_eq!(found, wanted, "{op:?}");
        let db = self.store.db();
        let (seq, expected) = (db.current_seq(), self.oracle.seq());
        // How many states a compaction commits is the store's affair.
        let is_free = || {
            let flushes = seq == expected + 1 && self.oracle.has_just_deferred();
            flushes || seq > expected && format!("{op:?}").contains("Compact(")
        };
        assert!(seq == expected || is_free(), "{op:?}\nleads to state {seq}, not {expected}");
        self.oracle.follow(seq);
        assert_eq!(db.pending_pages(), (0, 0), "{op:?}");
    }

    fn check(&mut self) {
        let db = self.store.db();
        compare(db, &self.oracle.durable())
            .and_then(|()| compare_snapshots(&self.store, &self.oracle))
            .unwrap_or_else(|difference| panic!("{difference}"));
        let report = db.verify().expect("memory does not fail");
        assert!(report.is_sound(), "{report}");
        let stats = db.stats().expect("no transaction runs");
        let state = &report.states[0];
        let said = (stats.seq, stats.page_count, stats.free_pages + stats.pending_pages);
        assert_eq!(said, (state.txn, state.page_count, state.free + state.pending));
        self.oracle.forget_before(self.oracle.seq());
    }
}
