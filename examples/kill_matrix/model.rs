//! Random operations beside a model that answers as a store must: transactions, failures, panics,
//! nested calls, cursors, snapshots, compaction, reopening, increments, deferred commits, owned
//! transactions, values from readers and bulks. At last a campaign, with all that a disk may do.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::scripts::{PATH, options};
use crate::matrix::{backups, lookups};
use btree_store::sim::Seeded;
use btree_store::sim::campaign::{Campaign, Failed};
use btree_store::sim::oracle::{
    Handle, KeyShape, Op, Oracle, ValueShape, Workload, compare, compare_snapshots,
};
use btree_store::vfs::MemVfs;
use std::sync::Arc;

const SHAPES: &[(KeyShape, ValueShape, u32)] = &[
    (KeyShape::Longest, ValueShape::Edge, 80),
    (KeyShape::Mixed, ValueShape::Mixed, 400),
    (KeyShape::Nested, ValueShape::Small, 200),
    (KeyShape::SharedPrefix, ValueShape::Large, 60),
    (KeyShape::Sequential, ValueShape::Small, 400),
    (KeyShape::Longest, ValueShape::Empty, 200),
];
const OPS: u32 = 120;
const ROUNDS: u64 = 3;
/// The same with deferred commits, so many of eight.
const DEFERRED: u32 = 5;
const DEFERRING_ROUNDS: u64 = 6;
const DEFERRING: (KeyShape, ValueShape, u32) = (KeyShape::Mixed, ValueShape::Small, 60);
/// The same with owned transactions, values from readers and bulks.
const FILLING_ROUNDS: u64 = 6;
const FILLING: (KeyShape, ValueShape, u32) = (KeyShape::Mixed, ValueShape::Mixed, 60);
/// Transactions of the campaign, of how many parts, and how many of these are run.
const CAMPAIGN: u64 = 4_000;
const PARTS: u64 = 10;
const PARTS_RUN: u64 = 6;
/// Half of the stores have a cache for all pages; the others have one for few, in which nothing
/// stays for long, and whose transactions hold no page.
const CACHE_BYTES: u64 = 1 << 20;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    for round in 0..ROUNDS {
        for (number, shape) in SHAPES.iter().enumerate() {
            let seed = round * 101 + number as u64;
            if let Err(kill) = run_shape(budget, *shape, |_| {}, seed) {
                return Some(kill);
            }
        }
    }
    let copied = backups::run(budget).and_then(|()| lookups::run(budget));
    let mut deferring =
        |round| run_shape(budget, DEFERRING, |workload| workload.deferred = DEFERRED, 1001 + round);
    let deferred = copied.and_then(|()| (0..DEFERRING_ROUNDS).try_for_each(&mut deferring));
    let fill = |workload: &mut Workload| {
        (workload.owned, workload.rivals) = (4, 5);
        (workload.readers, workload.bulks, workload.compactions) = (5, 6, 6);
    };
    let mut filling = |round| run_shape(budget, FILLING, fill, 2001 + round);
    let filled = deferred.and_then(|()| (0..FILLING_ROUNDS).try_for_each(&mut filling));
    filled.and_then(|()| (0..PARTS_RUN).try_for_each(|part| campaign(budget, part))).err()
}

/// A part of the campaign.
fn campaign(budget: &mut Budget, part: u64) -> Checked {
    let found = Campaign::new(CAMPAIGN, 1).shard(part, PARTS).run(1, |_| {});
    budget.spend_many(found.counts.transactions);
    let told = |failed: &Failed| Kill(format!("{}: {}", failed.token, failed.what));
    found.failed.first().map_or(Ok(()), |failed| Err(told(failed)))
}

fn run_shape(
    budget: &mut Budget,
    shape: (KeyShape, ValueShape, u32),
    tune: impl Fn(&mut Workload),
    seed: u64,
) -> Checked {
    let options = options(Arc::new(MemVfs::new()));
    let is_small = seed % 2 == 0;
    let options = if is_small { options } else { options.cache_bytes(CACHE_BYTES) };
    let mut store = Handle::open(options, PATH)?;
    let mut oracle = Oracle::new(crate::matrix::scripts::PAGE);
    let mut workload = Workload::new(crate::matrix::scripts::PAGE, shape.0, shape.1);
    workload.key_count = shape.2;
    workload.bucket_count = 2;
    workload.steps_max = 10;
    tune(&mut workload);
    let mut source = Seeded::new(seed);
    for number in 0..OPS {
        budget.spend();
        let op = workload.op(&mut source);
        let (found, wanted) = (store.run(&op), oracle.apply(&op));
        ensure(found == wanted, || format!("seed {seed}, operation {number}: {op:?}"))?;
        let seq = store.db().current_seq();
        let may_move = oracle.has_just_deferred() || format!("{op:?}").contains("Compact(");
        ensure(may_move || seq == oracle.seq(), || format!("sequence {seq}: {op:?}"))?;
        oracle.follow(seq);
        if number % 4 == 3 {
            compare(store.db(), &oracle.durable())?;
            compare_snapshots(&store, &oracle)?;
        }
        if number % 24 == 23 {
            ensure(store.run(&Op::Reopen) == oracle.apply(&Op::Reopen), || "reopen".into())?;
            compare(store.db(), &oracle.durable())?;
        }
    }
    Ok(())
}
