//! Many lookups in one state, so that trees get an index: of keys that are there, and of keys
//! between them, in two buckets.

use crate::matrix::budget::{Budget, Checked, ensure};
use crate::matrix::scripts::{PAGE, PATH, roomy};
use btree_store::Error;
use btree_store::vfs::MemVfs;
use std::sync::Arc;

/// Enough for branches above branches.
const ENTRIES: u32 = 1_200;
const BUCKETS: [&str; 2] = ["a", "b"];

pub fn run(budget: &mut Budget) -> Checked {
    let db = roomy(Arc::new(MemVfs::new())).cache_bytes(1024 * u64::from(PAGE)).open(PATH)?;
    for (step, bucket) in (2..).zip(BUCKETS) {
        db.exec(bucket, |txn| {
            (0..ENTRIES).try_for_each(|n| txn.put((n * step).to_be_bytes(), n.to_be_bytes()))
        })?;
    }
    let snapshot = db.snapshot();
    for _ in 0..2 {
        for (step, bucket) in (2..).zip(BUCKETS) {
            budget.spend();
            for n in 0..ENTRIES * step {
                let found = snapshot.view(bucket, |txn| txn.get(n.to_be_bytes()));
                let wanted = if n % step == 0 { Ok(n / step) } else { Err(Error::NotFound) };
                let wanted = wanted.map(|n| n.to_be_bytes().to_vec());
                ensure(found == wanted, || format!("{bucket}: {n}: {found:?}, not {wanted:?}"))?;
            }
        }
    }
    Ok(())
}
