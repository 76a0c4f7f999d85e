//! Parts of a transaction whose puts wait for each other: are they undone alone, seen by who looks,
//! and made in place?
//!
//! Attacks: commit-atomic.
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

use super::MultiTxn;
use crate::node::tests::keys::Rng;
use crate::tree::Root;
use crate::{BTree, Error, Options, ReadOnlyTxn, Result, Txn};
use std::collections::BTreeMap;

fn store() -> BTree {
    Options::new().page_size(512).open_in_memory().unwrap()
}

fn key(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

/// Where the root keeps what it knows of its children.
fn place(multi: &MultiTxn<'_>) -> *const () {
    let tree = multi.batch().bucket(&multi.core.pager, b"b").unwrap().unwrap();
    let Root::Dirty(root) = &tree.root else { panic!("the root is not dirty") };
    assert!(!root.kids().is_empty(), "a branch");
    root.kids().as_ptr().cast()
}

#[test]
fn what_parts_end_with_is_made_in_place() {
    let db = store();
    db.exec_multi(|multi| {
        multi.exec("b", |txn| (0..500).try_for_each(|number| txn.put(key(number), "old")))?;
        multi.make_all()?;
        let before = place(multi);
        for number in 0..200 {
            multi.exec("b", |txn| {
                assert_eq!(txn.get(key(number))?, b"old");
                txn.put(key(number), "new")
            })?;
            multi.exec("b", |txn| txn.insert(key(1_000 + number), "x"))?;
            multi.exec("b", |txn| txn.del(key(1_000 + number)))?;
            multi.exec("other", |txn| txn.put("k", "v"))?;
        }
        multi.make_all()?;
        assert_eq!(place(multi), before, "it was copied");
        Ok(())
    })
    .unwrap();
    assert_eq!(db.view("b", |txn| Ok((txn.len(), txn.get(key(7))?))), Ok((500, b"new".into())));
    assert!(db.verify().unwrap().is_sound());
}

type Model = BTreeMap<(u64, Vec<u8>), Vec<u8>>;

/// One step in a bucket and in the map, which say the same.
fn step(txn: &mut Txn<'_>, model: &mut Model, bucket: u64, random: &mut Rng) -> Result<()> {
    let (key, value) = (
        key(random.below(60) as u64),
        u8::try_from(random.below(256)).map(|byte| [byte; 9]).unwrap(),
    );
    let place = (bucket, key.to_vec());
    let is_there = model.contains_key(&place);
    let puts = match random.below(8) {
        0 | 1 => {
            assert_eq!(txn.remove(key)?, is_there);
            model.remove(&place);
            false
        }
        2 => {
            let wanted = if is_there { Err(Error::Duplicate) } else { Ok(()) };
            assert_eq!(txn.insert(key, value), wanted);
            !is_there
        }
        3 => {
            assert_eq!(txn.update(key, value)?, is_there);
            is_there
        }
        4 => {
            assert_eq!(txn.find(key)?.as_ref(), model.get(&place));
            false
        }
        _ => txn.put(key, value).map(|()| true)?,
    };
    if puts {
        model.insert(place, value.to_vec());
    }
    Ok(())
}

/// In parts of one step or many, which end well or fail, over few buckets and over many.
#[test]
fn parts_are_what_a_map_makes_of_them() {
    for seed in 0..60 {
        println!("seed {seed}");
        let (db, mut model, mut random) = (store(), Model::new(), Rng(seed));
        let buckets = *random.pick(&[1, 3, 100]);
        db.exec_multi(|multi| {
            for _ in 0..400 {
                let bucket = random.below(buckets) as u64;
                let (mut after, fails) = (model.clone(), random.percent(20));
                let steps = *random.pick(&[1, 1, 1, 3, 40]);
                let ended = multi.exec(format!("{bucket}"), |txn| {
                    (0..steps).try_for_each(|_| step(txn, &mut after, bucket, &mut random))?;
                    if fails { Err(Error::NotFound) } else { Ok(()) }
                });
                assert_eq!(ended.is_err(), fails);
                model = if fails { model.clone() } else { after };
            }
            Ok(())
        })
        .unwrap();
        let mut found = Model::new();
        for bucket in 0..buckets as u64 {
            let all = |txn: &ReadOnlyTxn<'_>| txn.range::<[u8]>(..).collect::<Result<Vec<_>>>();
            let entries = db.view(format!("{bucket}"), all).unwrap_or_default();
            found.extend(entries.into_iter().map(|(key, value)| ((bucket, key), value)));
        }
        assert_eq!(found, model);
        assert!(db.verify().unwrap().is_sound());
    }
}
