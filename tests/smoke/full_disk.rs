//! What frees space on a disk that is full to the last page.

use crate::common::watch::{Op, Watch};
use crate::common::{NAME, on};
use btree_store::{BTree, Error};
use std::io::ErrorKind;

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
        let key = round.wrapping_mul(0x9e37_79b9).to_be_bytes();
        if let Err(error) = db.exec("b", |txn| txn.put(key, [7; 100])) {
            assert_eq!(error, Error::NoSpace);
            return (db, round.into());
        }
    }
    unreachable!("the disk is never full");
}

#[test]
fn a_bucket_is_dropped_where_a_delete_finds_no_page() {
    let (db, count) = full();
    assert_eq!(db.exec("b", |txn| txn.del([0; 4])), Err(Error::NoSpace));
    assert_eq!(db.compact(0), Err(Error::NoSpace));
    assert_eq!(db.exec("b", |txn| txn.delete_range::<[u8]>(..)), Ok(count));
    for n in 0..20_u32 {
        db.exec("other", |txn| txn.put(n.to_be_bytes(), [7; 300])).unwrap();
    }
    assert!(db.verify().unwrap().is_sound());
    let (db, _) = full();
    assert_eq!(db.exec("b", |txn| txn.del([0; 4])), Err(Error::NoSpace));
    assert_eq!(db.del_bucket("b"), Ok(()));
    for n in 0..20_u32 {
        db.exec("other", |txn| txn.put(n.to_be_bytes(), [7; 300])).unwrap();
    }
    assert!(db.verify().unwrap().is_sound());
}
