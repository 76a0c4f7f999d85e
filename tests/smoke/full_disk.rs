//! What frees space on a disk that is full to the last page.

use crate::common::watch::{Op, Watch};
use crate::common::{NAME, file_len, on};
use btree_store::{BTree, Error};
use std::io::ErrorKind;

fn key(round: u32) -> [u8; 4] {
    round.wrapping_mul(0x9e37_79b9).to_be_bytes()
}

/// Full by entries of bucket "b" that were put one by one. How many there are.
fn full() -> (BTree, u64) {
    const LIMIT: u64 = 2000 * 512;
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    db.exec("other", |txn| txn.put("k", "v")).unwrap();
    watch.hook(|op| match op {
        Op::SetLen(len) if *len > LIMIT => Err(ErrorKind::StorageFull.into()),
        Op::Write { offset, len } if offset + *len as u64 > LIMIT => {
            Err(ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    for round in 0_u32.. {
        let put = || db.exec("b", |txn| txn.put(key(round), [7; 100]));
        // The first failure may be that of more than is needed.
        if let Err(error) = put().or_else(|_| put()) {
            assert_eq!(error, Error::NoSpace);
            return (db, round.into());
        }
    }
    unreachable!("the disk is never full");
}

/// Removes entries until there is no page left: what they replace is kept for a snapshot. How many
/// were removed.
fn delete_all_that_can_be(db: &BTree) -> u64 {
    let del = |n: u32| db.exec("b", |txn| txn.del(key(n)));
    let stuck = (0..u32::MAX).find(|&n| del(n).is_err()).unwrap();
    assert_eq!(del(stuck), Err(Error::NoSpace));
    stuck.into()
}

#[test]
fn a_bucket_is_dropped_where_a_delete_finds_no_page() {
    let (db, count) = full();
    let held = db.snapshot();
    let removed = delete_all_that_can_be(&db);
    assert_eq!(db.compact(0), Err(Error::NoSpace));
    assert_eq!(db.exec("b", |txn| txn.delete_range::<[u8]>(..)), Ok(count - removed));
    drop(held);
    for n in 0..20_u32 {
        db.exec("other", |txn| txn.put(n.to_be_bytes(), [7; 300])).unwrap();
    }
    assert!(db.verify().unwrap().is_sound());
    let (db, _) = full();
    let held = db.snapshot();
    delete_all_that_can_be(&db);
    assert_eq!(db.del_bucket("b"), Ok(()));
    drop(held);
    for n in 0..20_u32 {
        db.exec("other", |txn| txn.put(n.to_be_bytes(), [7; 300])).unwrap();
    }
    assert!(db.verify().unwrap().is_sound());
}

/// What is wanted ahead of need is not wanted where there is no room for it.
#[test]
fn a_commit_takes_the_last_pages_of_the_disk() {
    let (memory, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    let put = |n: u32| db.exec("b", |txn| txn.put(n.to_be_bytes(), [7; 100]));
    (0..400).for_each(|n| put(n).unwrap());
    let limit = file_len(&memory) + 6 * 512;
    watch.hook(move |op| match op {
        Op::SetLen(len) if *len > limit => Err(ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    let full = |from: u32| (from..u32::MAX).find(|&n| put(n).is_err()).unwrap();
    let first = full(400);
    assert_eq!(put(first), Ok(()), "there is room for what is needed");
    let last = full(first + 1);
    assert_eq!(put(last), Err(Error::NoSpace));
    assert_eq!(file_len(&memory), limit);
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(u64::from(last)));
    assert!(db.verify().unwrap().is_sound());
}
