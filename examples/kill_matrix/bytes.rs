//! The same calls write the same bytes, and every page has the checksum that the format asks for.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::scripts::{PATH, options};
use crate::matrix::walk::{Owner, Walk, u32_at};
use crate::matrix::watch::Watch;
use btree_store::sim::Seeded;
use btree_store::sim::oracle::{Handle, KeyShape, ValueShape, Workload};
use std::sync::Arc;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    (0..12).find_map(|seed| compare_runs(budget, seed).err())
}

fn compare_runs(budget: &mut Budget, seed: u64) -> Checked {
    budget.spend();
    let [first, second] = [write(seed)?, write(seed)?];
    ensure(first.0 == second.0, || format!("seed {seed}: other operations"))?;
    ensure(first.1 == second.1, || format!("seed {seed}: other bytes"))?;
    check_checksums(&first.1)
}

/// Every page in use but those of runs: the CRC32C of all that follows on the checksum.
fn check_checksums(bytes: &[u8]) -> Checked {
    let walk = Walk::new(bytes);
    for (page, owner) in walk.owners(walk.newest()) {
        let bytes = walk.page(page);
        let is_right = owner == Owner::Run || crc32c::crc32c(&bytes[4..]) == u32_at(bytes, 0);
        ensure(is_right, || format!("page {page} has another checksum"))?;
    }
    Ok(())
}

/// The operations that reached the storage, and the bytes of the file.
fn write(seed: u64) -> Checked<(String, Vec<u8>)> {
    let (memory, watch) = Watch::memory();
    let (record, result) = watch.record(|| -> Checked {
        let mut store = Handle::open(options(Arc::new(watch.clone())), PATH)?;
        let mut workload =
            Workload::new(crate::matrix::scripts::PAGE, KeyShape::Mixed, ValueShape::Mixed);
        let mut source = Seeded::new(seed);
        for _ in 0..25 {
            store.run(&workload.op(&mut source));
        }
        Ok(())
    });
    result?;
    let bytes = memory.read_file(PATH).ok_or(Kill("the file is gone".into()))?;
    Ok((format!("{record:?}"), bytes))
}
