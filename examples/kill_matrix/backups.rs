//! Chains of increments beside the model: what is restored of one is the state that its last part
//! was made of, and a part in a wrong place is refused.

use crate::matrix::budget::{Budget, Checked, ensure};
use crate::matrix::scripts::{PAGE, PATH, options};
use btree_store::sim::Seeded;
use btree_store::sim::oracle::{Handle, KeyShape, Oracle, ValueShape, Workload, compare};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error};
use std::sync::Arc;

const PARTS: usize = 4;
const OPS: u32 = 8;

pub fn run(budget: &mut Budget) -> Checked {
    (0..6).try_for_each(|seed| run_chain(budget, seed))
}

fn run_chain(budget: &mut Budget, seed: u64) -> Checked {
    let mut store = Handle::open(options(Arc::new(MemVfs::new())), PATH)?;
    let mut oracle = Oracle::new(PAGE);
    let mut workload = Workload::new(PAGE, KeyShape::Mixed, ValueShape::Mixed);
    workload.bucket_count = 2;
    let mut source = Seeded::new(seed);
    let (mut parts, mut since) = (Vec::new(), 0);
    for part in 0..PARTS {
        for _ in 0..OPS {
            let op = workload.op(&mut source);
            let (found, wanted) = (store.run(&op), oracle.apply(&op));
            ensure(found == wanted, || format!("seed {seed}: {op:?}"))?;
            oracle.follow(store.db().current_seq());
        }
        budget.spend();
        let mut stream = Vec::new();
        since = store.db().backup_since(since, &mut stream)?.seq;
        parts.push(stream);
        let db = restored(&parts)?;
        let report = db.verify()?;
        ensure(report.is_sound(), || format!("seed {seed}, part {part}: {report}"))?;
        compare(&db, oracle.now())?;
        ensure(db.current_seq() == since, || format!("seed {seed}: state {}", db.current_seq()))?;
        let twice: Vec<_> = parts.iter().chain(parts.last()).cloned().collect();
        let refused = restored(&twice).err();
        ensure(refused == Some(Error::Invalid), || format!("the last part twice: {refused:?}"))?;
    }
    Ok(())
}

fn restored(parts: &[Vec<u8>]) -> Result<BTree, Error> {
    let options = options(Arc::new(MemVfs::new()));
    options.clone().restore_chain(parts.iter().map(Vec::as_slice), PATH)?;
    options.open(PATH)
}
