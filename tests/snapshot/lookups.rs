//! Are lookups the same with an index of the tree, which many of them in one state make?
//!
//! Attacks: sorted-keys, snapshot-stable.

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Options, ReadOnlyTxn, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Large enough for all pages, so that an index can be made.
const CACHE_BYTES: u64 = 16 << 20;

fn store(page_size: u32, cache_bytes: u64) -> BTree {
    let options = Options::new().page_size(page_size).cache_bytes(cache_bytes);
    options.vfs(Arc::new(MemVfs::new())).open("data.db").unwrap()
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// A name of keys, and the key of each number.
type Shape = (&'static str, fn(u32) -> Vec<u8>);

const SHAPES: &[Shape] = &[
    ("four bytes", |n| n.to_be_bytes().to_vec()),
    ("eight bytes", |n| u64::from(n).to_be_bytes().to_vec()),
    ("digits", |n| format!("key_{n:06}").into_bytes()),
    ("digits of all lengths", |n| n.to_string().into_bytes()),
    ("a long prefix", |n| format!("https://www.example.com/{n:05}").into_bytes()),
    ("a prefix, and some in front of it", |n| {
        if n < 3 { format!("in front of it: {n}") } else { format!("key_{n:06}") }.into_bytes()
    }),
    ("a long prefix, and some in front of it", |n| {
        // With the rest of one that lies far behind.
        let (host, n) = if n < 3 { ("aaaaaaa", n + 2_000) } else { ("example", n) };
        format!("https://www.{host}.com/{n:05}").into_bytes()
    }),
    ("one head for many", |n| format!("{:02}/a row of many/{n:06}", n % 7).into_bytes()),
    ("two clusters", |n| {
        let high: u8 = if n % 2 == 0 { 0 } else { 255 };
        [&[high; 3], &n.to_be_bytes()[..]].concat()
    }),
    ("heads that differ in their last bit", |n| {
        let high = n / 256;
        [&high.to_be_bytes()[..], &[0, 0, 0, n.to_be_bytes()[3], 1]].concat()
    }),
    ("of zeros, ones and the highest bytes", |n| {
        let word = mix(u64::from(n));
        let len = 1 + word % 12;
        (0..len).map(|at| [0, 1, 255][usize::try_from((word >> (4 * at)) % 3).unwrap()]).collect()
    }),
    ("scattered, and one far behind", |n| match n {
        1 => vec![255; 8],
        _ => (mix(u64::from(n)) >> 1).to_be_bytes().to_vec(),
    }),
    ("scattered", |n| mix(u64::from(n)).to_be_bytes().to_vec()),
];

/// Keys that are there, and others: next to them, what they begin with, and far from all.
fn asked_for(model: &Model) -> Vec<Vec<u8>> {
    let near = |key: &Vec<u8>| {
        let mut above = key.clone();
        above.push(0);
        let mut below = key.clone();
        let last = below.last_mut().unwrap();
        *last = last.wrapping_sub(1);
        [key.clone(), above, below, key[..key.len().div_ceil(2)].to_vec()]
    };
    let far = [vec![0], vec![255; 20], b"z".to_vec()];
    model.keys().flat_map(near).chain(far).collect()
}

fn assert_answers(txn: &ReadOnlyTxn<'_>, model: &Model, keys: &[Vec<u8>], what: &str) {
    for key in keys {
        let (found, wanted) = (txn.get(key), model.get(key).cloned().ok_or(Error::NotFound));
        assert_eq!(found, wanted, "{what}: {}", key.escape_ascii());
        assert_eq!(txn.contains(key), Ok(model.contains_key(key)), "{what}");
    }
    let found = txn.get_many(keys).unwrap();
    for (key, found) in keys.iter().zip(&found) {
        let wanted = model.get(key).map(Vec::as_slice);
        assert_eq!(found.as_deref(), wanted, "{what}: many: {}", key.escape_ascii());
    }
}

#[test]
fn lookups_answer_alike_with_and_without_an_index() {
    // So many entries that there are branches above branches.
    for (page_size, entries) in [(512, 2_500), (1024, 9_000)] {
        for (what, key) in SHAPES {
            let db = store(page_size, CACHE_BYTES);
            let mut models = [Model::new(), Model::new()];
            // The first bucket has what the second does not have.
            for ((bucket, model), at) in ["a", "b"].iter().zip(&mut models).zip(0_u8..) {
                db.exec(bucket, |txn| {
                    for n in (0..entries).filter(|n| n % 3 != u32::from(at)) {
                        model.insert(key(n), vec![at]);
                        txn.put(key(n), [at])?;
                    }
                    Ok(())
                })
                .unwrap();
            }
            let snapshot = db.snapshot();
            for (bucket, model) in ["a", "b", "a"].iter().zip([&models[0], &models[1], &models[0]])
            {
                let keys = asked_for(model);
                snapshot
                    .view(*bucket, |txn| {
                        assert_answers(txn, model, &keys, what);
                        Ok(())
                    })
                    .unwrap();
                // In transactions of their own the looks are counted too.
                for key in keys.iter().step_by(7) {
                    let wanted = model.get(key).cloned().ok_or(Error::NotFound);
                    assert_eq!(db.view(bucket, |txn| txn.get(key)), wanted, "{what}");
                }
            }
        }
    }
}

#[test]
fn an_index_of_branches_answers_as_one_of_leaves() {
    // A cache for some of the leaves, and all branches.
    let db = store(512, 250 * 512);
    let entries = 60_000_u32;
    let key = |n: u32| (n * 2).to_be_bytes();
    db.exec("b", |txn| (0..entries).try_for_each(|n| txn.put(key(n), n.to_be_bytes()))).unwrap();
    db.view("b", |txn| {
        // The branches come into the cache, and stay there.
        for n in (0..entries).chain((0..entries).map(|n| n * 79 % entries)) {
            assert_eq!(txn.get(key(n)), Ok(n.to_be_bytes().to_vec()), "{n}");
            assert_eq!(txn.get((n * 2 + 1).to_be_bytes()), Err(Error::NotFound), "{n}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_index_is_of_one_state() {
    let db = store(512, CACHE_BYTES);
    let key = |n: u32| n.to_be_bytes();
    let fill = |round: u8| {
        db.exec("b", |txn| {
            (0..2_000).try_for_each(|n| match n % 4 {
                0 if round % 2 == 1 => txn.del(key(n)).or(Ok(())),
                _ => txn.put(key(n), [round; 4]),
            })
        })
    };
    let wanted = |n: u32, round: u8| {
        if n.is_multiple_of(4) && round % 2 == 1 {
            Err(Error::NotFound)
        } else {
            Ok(vec![round; 4])
        }
    };
    let mut snapshots = Vec::new();
    for round in 0..8_u8 {
        fill(round).unwrap();
        for n in 0..2_000 {
            assert_eq!(db.view("b", |txn| txn.get(key(n))), wanted(n, round), "{n}");
        }
        snapshots.push((round, db.snapshot()));
        for (of, snapshot) in &snapshots {
            for n in (0..2_000).step_by(3) {
                assert_eq!(snapshot.view("b", |txn| txn.get(key(n))), wanted(n, *of), "{n}, {of}");
            }
        }
        // An older state than the newest may have the index, or none.
        snapshots.retain(|(of, _)| of % 3 != round % 3);
    }
}

#[test]
fn threads_that_look_up_beside_a_writer_see_whole_states() -> Result<()> {
    const KEYS: u32 = 1_500;
    let db = store(512, CACHE_BYTES);
    let key = |n: u32| n.to_be_bytes();
    let write = |round: u32| {
        db.exec("b", |txn| (0..KEYS).try_for_each(|n| txn.put(key(n), round.to_be_bytes())))
    };
    write(0)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3_u32 {
            let (db, is_over) = (&db, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    db.view("b", |txn| {
                        let first = txn.get(key(0))?;
                        for n in (0..KEYS).map(|n| n * (thread * 2 + 7) % KEYS) {
                            assert_eq!(txn.get(key(n))?, first, "{n}");
                        }
                        Ok(())
                    })
                    .unwrap();
                }
            });
        }
        let done = (1..60).try_for_each(write);
        is_over.store(true, Ordering::Relaxed);
        done
    })
}
