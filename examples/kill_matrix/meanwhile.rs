//! What goes on while a flush fails: a transaction that has set pages aside, a cursor that stays.

use crate::common::watch::{Op, Watch};
use crate::matrix::budget::{Budget, Checked, ensure};
use crate::matrix::gate::{At, Gate};
use crate::matrix::scripts::{PAGE, PATH, check_pages, key, options, value};
use btree_store::{BTree, Error, Iter};
use std::io::ErrorKind;
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub fn run(budget: &mut Budget) -> Checked {
    outlived(budget)?;
    cut(budget)
}

/// A cursor that has seen a batch whose flush failed takes nothing of the next one for its own.
fn outlived(budget: &mut Budget) -> Checked {
    budget.spend();
    let gate = Gate::default();
    let db = options(Arc::new(gate.clone())).cache_bytes(0).open(PATH)?;
    let put = |byte: u8| {
        db.exec("b", |txn| {
            txn.put("a", [byte; 10])?;
            (0..4).try_for_each(|n| txn.put(key(n), [byte; 3_000]))
        })
    };
    gate.close(At::Data);
    let held = std::thread::scope(|scope| {
        let leader = scope.spawn(|| put(1));
        gate.wait_for_somebody();
        let mut held = None;
        let follower = db.exec("b", |txn| {
            let mut iter = txn.iter();
            iter.next_ref(&mut Vec::new(), &mut Vec::new());
            held = Some(iter);
            gate.open_again(false);
            Ok(())
        });
        leader.join().is_ok_and(|led| led == Err(Error::NoSpace) && follower == led).then_some(held)
    });
    let Some(Some(mut iter)) = held else { return Ok(()) };
    gate.close(At::Data);
    let found = std::thread::scope(|scope| {
        let leader = scope.spawn(|| put(2));
        gate.wait_for_somebody();
        let (mut key, mut value, mut found) = (Vec::new(), Vec::new(), Vec::new());
        while iter.next_ref(&mut key, &mut value) {
            found.extend_from_slice(&value);
        }
        gate.open_again(true);
        leader.join().map(|led| led.map(|()| found))
    });
    let Ok(Ok(found)) = found else { return Ok(()) };
    ensure(!found.contains(&2), || "a cursor yields the value of a later batch".into())
}

/// Whichever of a compaction's writes fails, also one of the commit that cuts the file off: the
/// value for which a transaction has set pages aside meanwhile is the only one that has them.
fn cut(budget: &mut Budget) -> Checked {
    let large = value(1, 300_000);
    for failing in 1..40 {
        budget.spend();
        let (_, watch) = Watch::memory();
        let db = options(Arc::new(watch.clone())).cache_bytes(0).open(PATH)?;
        leave_holes(&db)?;
        let reached = fail_slowly(&watch, failing);
        let held = std::thread::scope(|scope| -> Checked<Option<Iter>> {
            let compaction = scope.spawn(|| {
                let done = db.compact(0);
                watch.unhook();
                done
            });
            // The hook, which tells, is gone when the compaction is over.
            if reached.recv().is_err() {
                return Ok(None);
            }
            let mut held = None;
            let _ = db.exec("b", |txn| {
                txn.put([0], &large)?;
                held = Some(txn.iter());
                Ok(())
            });
            drop(compaction.join());
            Ok(held)
        })?;
        let Some(mut held) = held else { return Ok(()) };
        db.exec("c", |txn| (0..400_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 200])))?;
        let (mut key, mut found) = (Vec::new(), Vec::new());
        held.next_ref(&mut key, &mut found);
        ensure(found == large, || format!("write {failing}: a value was written over"))?;
        drop(held);
        check_pages(&db)?;
    }
    Ok(())
}

/// A file of many leaves, most of them nearly empty.
fn leave_holes(db: &BTree) -> Result<(), Error> {
    for round in 0..4 {
        let mut keys = (0..500_u32).map(|i| (i * 4 + round).to_be_bytes());
        db.exec("b", |txn| keys.try_for_each(|key| txn.put(key, [1; 60])))?;
    }
    let mut doomed = (0..2_000_u32).filter(|i| i % 8 > 0);
    db.exec("b", |txn| doomed.try_for_each(|i| txn.del(i.to_be_bytes())))
}

/// Makes a write of pages take a while, and then fail. Tells when it came to that.
fn fail_slowly(watch: &Watch, mut left: usize) -> mpsc::Receiver<()> {
    let (reached, wait) = mpsc::channel();
    watch.hook(move |op| {
        let is_page = matches!(op, Op::Write { offset, .. } if *offset >= 2 * u64::from(PAGE));
        left = left.wrapping_sub(usize::from(is_page));
        if !(is_page && left == 0) {
            return Ok(());
        }
        // Nobody listens when a bug has ended the compaction.
        let _ = reached.send(());
        std::thread::sleep(Duration::from_millis(30));
        Err(ErrorKind::StorageFull.into())
    });
    wait
}
