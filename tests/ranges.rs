//! Do ranges, cursors, lookups, bulk loads and conditional writes answer as a `BTreeMap` does?
//!
//! Random contents on pages of 512 and 4,096 bytes, with no cache, a tiny and a large one; both
//! ends of a range in every order; ranges over what a transaction has written but not committed,
//! which goes on to write under them.
//!
//! Attacks: sorted-keys, entry-count, snapshot-stable, errors-stick.
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod common;

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Iter, Options, Range, ReadBucket, ReadRange, Txn};
use common::random::Random;
use common::{NAME, holding, on};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Bound;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Entry = (Vec<u8>, Vec<u8>);

/// Page sizes, and pages of the cache.
const SETTINGS: [(u32, u64); 4] = [(512, 0), (512, 5), (512, 1 << 12), (4096, 16)];
const SEEDS: u64 = 12;

fn store((page_size, cache_pages): (u32, u64)) -> BTree {
    let cache_bytes = cache_pages * u64::from(page_size);
    Options::new().page_size(page_size).cache_bytes(cache_bytes).open_in_memory().unwrap()
}

/// Keys that share prefixes, that are prefixes of others, and that end in zeros or 0xff.
fn key(random: &mut Random) -> Vec<u8> {
    let mut key = match random.below(4) {
        0 => format!("key_{:05}", random.below(4000)).into_bytes(),
        1 => vec![[0, b'a', u8::MAX][random.below(3)]; 1 + random.below(12)],
        2 => random.bytes(6),
        _ => [b"a/long/common/prefix/".as_slice(), &random.bytes(3)].concat(),
    };
    key.extend([[].as_slice(), &[0], &[u8::MAX]][random.below(3)]);
    key
}

fn value(random: &mut Random) -> Vec<u8> {
    let len = if random.below(40) == 0 { random.below(3000) } else { random.below(40) };
    random.bytes(len)
}

fn contents(random: &mut Random, count: usize) -> Map {
    (0..count).map(|_| (key(random), value(random))).collect()
}

fn bound(random: &mut Random, map: &Map) -> Bound<Vec<u8>> {
    let near = match map.keys().nth(random.below(map.len().max(1))) {
        Some(key) if random.below(2) == 0 => key.clone(),
        _ if random.below(6) == 0 => Vec::new(),
        _ => key(random),
    };
    match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(near),
        _ => Bound::Excluded(near),
    }
}

/// What a map has in a range that may end before it begins.
fn expected(map: &Map, bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<Entry> {
    let is_in = |key: &Vec<u8>| {
        let behind_start = match &bounds.0 {
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
            Bound::Unbounded => true,
        };
        let before_end = match &bounds.1 {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        behind_start && before_end
    };
    let entries = map.iter().filter(|(key, _)| is_in(key));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Takes what is left from the two ends, in a random order, until one of them has nothing more.
fn take_both<R: ReadRange, T>(
    random: &mut Random,
    mut range: R,
    mut step: impl FnMut(&mut R, bool, usize) -> Result<Option<T>, Error>,
) -> Vec<T> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let bias = random.below(11);
    loop {
        let is_front = random.below(10) < bias;
        match step(&mut range, is_front, random.below(2)).unwrap() {
            Some(taken) if is_front => front.push(taken),
            Some(taken) => back.push(taken),
            None => break,
        }
    }
    assert!(range.next().is_none() && range.next_back().is_none(), "the range is fused");
    assert!(range.next_entry().unwrap().is_none() && range.prev_entry().unwrap().is_none());
    assert!(range.next_key().unwrap().is_none() && range.prev_key().unwrap().is_none());
    front.extend(back.into_iter().rev());
    front
}

/// Takes entries from the two ends, by copying or lending.
fn take_all(random: &mut Random, range: impl ReadRange) -> Vec<Entry> {
    let lent = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
    take_both(random, range, |range, is_front, kind| match (is_front, kind) {
        (true, 0) => range.next().transpose(),
        (true, _) => Ok(range.next_entry()?.map(lent)),
        (false, 0) => range.next_back().transpose(),
        (false, _) => Ok(range.prev_entry()?.map(lent)),
    })
}

/// Takes keys from the two ends, of some with their entries.
fn take_keys(random: &mut Random, range: impl ReadRange) -> Vec<Vec<u8>> {
    take_both(random, range, |range, is_front, kind| {
        let key = match (is_front, kind) {
            (true, 0) => range.next_entry()?.map(|(key, _)| key),
            (true, _) => range.next_key()?,
            (false, 0) => range.prev_entry()?.map(|(key, _)| key),
            (false, _) => range.prev_key()?,
        };
        Ok(key.map(<[u8]>::to_vec))
    })
}

/// A range of any kind of bucket.
fn between<B: ReadBucket>(bucket: &B, bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> B::Range {
    bucket.range::<Vec<u8>>((bounds.0.as_ref(), bounds.1.as_ref()))
}

/// Ranges of any kind of bucket beside those of a map.
fn check(random: &mut Random, bucket: &impl ReadBucket, map: &Map) {
    for _ in 0..8 {
        let bounds = (bound(random, map), bound(random, map));
        let found = take_all(random, between(bucket, &bounds));
        let wanted = expected(map, &bounds);
        assert!(found == wanted, "{bounds:?}");
        let found = take_keys(random, between(bucket, &bounds));
        assert!(found.iter().eq(wanted.iter().map(|(key, _)| key)), "keys of {bounds:?}");
        let probe = key(random);
        let prefix = &probe[..random.below(4).min(probe.len())];
        let wanted: Vec<Entry> = map
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert!(take_all(random, bucket.prefix(prefix)) == wanted, "prefix {prefix:?}");
    }
}

/// All that can be asked of any kind of bucket, beside a map.
fn check_all(random: &mut Random, bucket: &impl ReadBucket, map: &Map) -> Result<(), Error> {
    check(random, bucket, map);
    let read = |key: &[u8]| {
        let (mut reader, mut value) = (bucket.get_reader(key)?, Vec::new());
        reader.read_to_end(&mut value).unwrap();
        Ok(value)
    };
    for _ in 0..30 {
        let any = key(random);
        let near = map.keys().nth(random.below(map.len().max(1))).filter(|_| random.below(2) == 0);
        let key = near.unwrap_or(&any);
        let wanted = map.get(key).cloned().ok_or(Error::NotFound);
        assert_eq!(bucket.get(key), wanted, "{key:?}");
        assert_eq!(bucket.find(key), Ok(map.get(key).cloned()), "{key:?}");
        assert_eq!(bucket.get_ref(key).map(|value| value.to_vec()), wanted, "{key:?}");
        assert_eq!(read(key), wanted, "{key:?}");
        assert_eq!(bucket.contains(key), Ok(wanted.is_ok()), "{key:?}");
    }
    let long = vec![b'k'; 5000];
    for (key, error) in [(&[][..], Error::Invalid), (&long, Error::TooLarge)] {
        assert_eq!(bucket.get(key), Err(error));
        assert_eq!(bucket.find(key), Err(error));
        assert_eq!(bucket.get_ref(key).map(drop), Err(error));
        assert_eq!(bucket.get_reader(key).map(drop), Err(error));
        assert_eq!(bucket.contains(key), Err(error));
    }
    assert_eq!((bucket.len(), bucket.is_empty()), (map.len() as u64, map.is_empty()));
    let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    assert_eq!(bucket.first()?, map.first_key_value().map(owned));
    assert_eq!(bucket.last()?, map.last_key_value().map(owned));
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert!(take_all(random, bucket.iter()) == expected(map, &all));
    Ok(())
}

/// Moves a cursor back and forth, with seeks, beside a position in a list.
fn wander(random: &mut Random, mut cursor: Iter, map: &Map) {
    let list: Vec<(&Vec<u8>, &Vec<u8>)> = map.iter().collect();
    cursor.seek([0_u8; 0]).unwrap();
    let mut at = 0;
    for _ in 0..300 {
        match random.below(8) {
            0 => {
                let key = key(random);
                cursor.seek(&key).unwrap();
                at = list.partition_point(|(held, _)| **held < key);
            }
            1..5 => {
                let found = cursor.next_entry().unwrap();
                let wanted = list.get(at).map(|(key, value)| (key.as_slice(), value.as_slice()));
                assert_eq!(found, wanted);
                at = (at + 1).min(list.len());
            }
            _ => {
                let found = cursor.prev_entry().unwrap();
                let wanted = at.checked_sub(1).map(|at| list[at]);
                assert_eq!(found, wanted.map(|(key, value)| (key.as_slice(), value.as_slice())));
                at = at.saturating_sub(1);
            }
        }
    }
}

#[test]
fn ranges_over_durable_entries_equal_those_of_a_map() {
    for setting in SETTINGS {
        for seed in 0..SEEDS {
            let mut random = Random::new(seed);
            let count = [0, 1, 30, 900][random.below(4)];
            let map = contents(&mut random, count);
            let db = store(setting);
            db.exec("b", |txn| map.iter().try_for_each(|(key, value)| txn.put(key, value)))
                .unwrap();
            db.view("b", |txn| {
                check(&mut random, txn, &map);
                wander(&mut random, txn.iter(), &map);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

#[test]
fn one_function_reads_every_kind_of_bucket_as_a_map() {
    for (setting, seed) in SETTINGS.iter().flat_map(|setting| (50..56).map(move |i| (setting, i))) {
        println!("{setting:?}, seed {seed}");
        let random = &mut Random::new(seed);
        let count = [0, 1, 30, 500][random.below(4)];
        let (old, added) = (contents(random, count), contents(random, 20));
        let new = old.clone().into_iter().chain(added.clone()).collect();
        let db = store(*setting);
        db.exec("b", |txn| old.iter().try_for_each(|(key, value)| txn.put(key, value))).unwrap();
        let (owned, snapshot) = (db.begin(), db.snapshot());
        let mut bucket = owned.bucket("b").unwrap();
        check_all(random, &bucket, &old).unwrap();
        added.iter().try_for_each(|(key, value)| bucket.put(key, value)).unwrap();
        check_all(random, &bucket, &new).unwrap();
        db.view("b", |txn| check_all(random, txn, &old)).unwrap();
        db.exec_multi(|multi| {
            multi.exec("b", |txn| {
                check_all(random, txn, &old)?;
                added.iter().try_for_each(|(key, value)| txn.put(key, value))?;
                check_all(random, txn, &new)
            })
        })
        .unwrap();
        db.view("b", |txn| check_all(random, txn, &new)).unwrap();
        snapshot.view("b", |txn| check_all(random, txn, &old)).unwrap();
        assert_eq!(owned.commit(), Err(Error::Conflict), "what was read has changed");
    }
}

/// A random change of a bucket and of a map, which must answer alike.
fn change(random: &mut Random, txn: &mut Txn<'_>, map: &mut Map) {
    let any = key(random);
    let key = match map.keys().nth(random.below(map.len().max(1))) {
        Some(held) if random.below(2) == 0 => held.clone(),
        _ => any,
    };
    let (new, held) = (value(random), map.get(&key).cloned());
    match random.below(13) {
        0 => assert_eq!(txn.insert(&key, &new).is_ok(), map.insert_new(&key, &new)),
        1 => {
            assert_eq!(txn.update(&key, &new), Ok(held.is_some()));
            held.and_then(|_| map.insert(key, new));
        }
        2..6 => swap(random, txn, map, (key, new)),
        6 => {
            let bounds = (bound(random, map), Bound::Included(key));
            let removed = txn.delete_range::<Vec<u8>>((bounds.0.as_ref(), bounds.1.as_ref()));
            let doomed = expected(map, &bounds);
            assert_eq!(removed, Ok(doomed.len() as u64), "{bounds:?}");
            map.retain(|key, _| doomed.iter().all(|(gone, _)| gone != key));
        }
        7 => assert_eq!(txn.del(&key), map.remove(&key).map(drop).ok_or(Error::NotFound)),
        8 => assert_eq!(txn.remove(&key), Ok(map.remove(&key).is_some())),
        _ => {
            txn.put(&key, &new).unwrap();
            map.insert(key, new);
        }
    }
    assert_eq!(txn.len(), map.len() as u64);
}

trait InsertNew {
    fn insert_new(&mut self, key: &[u8], value: &[u8]) -> bool;
}

impl InsertNew for Map {
    fn insert_new(&mut self, key: &[u8], value: &[u8]) -> bool {
        let is_new = !self.contains_key(key);
        if is_new {
            self.insert(key.to_vec(), value.to_vec());
        }
        is_new
    }
}

fn swap(random: &mut Random, txn: &mut Txn<'_>, map: &mut Map, (key, new): Entry) {
    let held = map.get(&key).cloned();
    let guess = match random.below(4) {
        0 => Some(value(random)),
        1 => None,
        _ => held.clone(),
    };
    let new = (random.below(3) > 0).then_some(new);
    let done = txn.compare_and_swap(&key, guess.as_deref(), new.as_deref()).unwrap();
    assert_eq!(done, guess == held, "{key:?}");
    match new {
        Some(new) if done => drop(map.insert(key, new)),
        None if done => drop(map.remove(&key)),
        _ => {}
    }
}

#[test]
fn seeks_among_leaves_of_few_long_entries_go_on_as_in_a_map() {
    let mut random = Random::new(7);
    let len = |random: &mut Random| [10, 400, 900, 1300][random.below(4)];
    let entry = |random: &mut Random| (key(random), vec![b'v'; len(random)]);
    let map: Map = (0..600).map(|_| entry(&mut random)).collect();
    let db = store((4096, 1 << 12));
    db.exec("b", |txn| map.iter().try_for_each(|(key, value)| txn.put(key, value))).unwrap();
    db.view("b", |txn| {
        for from in map.keys().cloned().chain((0..300).map(|_| key(&mut random))) {
            let mut iter = txn.iter_from(&from)?;
            let wanted = map.range(from.clone()..).take(12);
            for (key, value) in wanted {
                assert_eq!(iter.next_entry()?, Some((&**key, &**value)), "from {from:?}");
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn changes_answer_as_those_of_a_map_and_ranges_keep_what_they_were_made_on() {
    for setting in SETTINGS {
        for seed in 0..SEEDS {
            let mut random = Random::new(100 + seed);
            let mut map = contents(&mut random, 400);
            let db = store(setting);
            db.exec("b", |txn| map.iter().try_for_each(|(key, value)| txn.put(key, value)))
                .unwrap();
            db.exec("b", |txn| {
                let mut open = Vec::new();
                for step in 0..300 {
                    change(&mut random, txn, &mut map);
                    if step % 60 == 0 {
                        check(&mut random, txn, &map);
                        wander(&mut random, txn.iter(), &map);
                        let bounds = (bound(&mut random, &map), bound(&mut random, &map));
                        let mut range = between(txn, &bounds);
                        let mut wanted = expected(&map, &bounds);
                        if step % 120 == 0 {
                            assert_eq!(range.next_back().transpose()?, wanted.pop());
                        }
                        open.push((range, wanted));
                    }
                }
                for (range, wanted) in open {
                    assert!(take_all(&mut random, range) == wanted, "a range is a snapshot");
                }
                Ok(())
            })
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let all = (Bound::Unbounded, Bound::Unbounded);
            db.view("b", |txn| {
                check(&mut random, txn, &map);
                wander(&mut random, txn.iter(), &map);
                assert!(take_all(&mut random, between(txn, &all)) == expected(&map, &all));
                Ok(())
            })
            .unwrap();
            assert!(db.verify().unwrap().is_sound());
        }
    }
}

#[test]
fn a_bulk_load_equals_single_puts_and_appends_behind_what_is_there() {
    for setting in SETTINGS {
        for seed in 0..SEEDS {
            let mut random = Random::new(200 + seed);
            let map = contents(&mut random, 1500);
            let db = store(setting);
            let mut from = 0;
            // In pieces of any size, in one transaction or several, some after a removal.
            while from < map.len() {
                let count = [0, 1, 7, 100, 1000][random.below(5)].min(map.len() - from);
                let piece = map.iter().skip(from).take(count);
                assert_eq!(db.exec("b", |txn| txn.bulk_load(piece.clone())), Ok(count as u64));
                from += count;
                if random.below(4) == 0 && count > 0 {
                    let (last, value) = map.iter().nth(from - 1).unwrap();
                    db.exec("b", |txn| {
                        txn.del(last)?;
                        txn.bulk_load([(last, value)]).map(drop)
                    })
                    .unwrap();
                }
            }
            db.view("b", |txn| {
                check(&mut random, txn, &map);
                wander(&mut random, txn.iter(), &map);
                assert_eq!(txn.len(), map.len() as u64);
                Ok(())
            })
            .unwrap();
            let report = db.verify().unwrap();
            assert!(report.is_sound(), "seed {seed}: {report}");
        }
    }
}

#[test]
fn a_bulk_load_in_disorder_is_refused_and_leaves_nothing() {
    for setting in SETTINGS {
        let db = store(setting);
        db.exec("b", |txn| (0..500_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [1; 30])))
            .unwrap();
        let seq = db.current_seq();
        let entry = |i: u32| (i.to_be_bytes().to_vec(), vec![2; 30]);
        let with = |last: Entry| (500..900).map(entry).chain([last]).collect::<Vec<_>>();
        let long = (vec![u8::MAX; 5000], Vec::new());
        for (entries, error) in [
            (with(entry(899)), Error::Duplicate),
            (with(entry(3)), Error::Invalid),
            (with((Vec::new(), Vec::new())), Error::Invalid),
            (with(long), Error::TooLarge),
            (vec![entry(499)], Error::Duplicate),
            (vec![entry(0)], Error::Invalid),
        ] {
            db.exec("b", |txn| {
                assert_eq!(txn.bulk_load(entries), Err(error));
                assert_eq!(txn.len(), 500);
                let keys = txn.range::<[u8]>(..).map(|entry| entry.map(|(key, _)| key));
                assert_eq!(keys.collect::<Result<Vec<_>, _>>()?.len(), 500);
                Ok(())
            })
            .unwrap();
            assert_eq!(db.current_seq(), seq, "{error}");
        }
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn a_bulk_load_fills_pages_and_a_panic_in_its_iterator_changes_nothing() {
    let db = store((4096, 64));
    let entry = |i: u32| (i.to_be_bytes(), [0; 50]);
    db.exec("b", |txn| txn.bulk_load((0..20_000).map(entry))).unwrap();
    let used = db.stats().unwrap();
    let bytes = (u64::from(used.page_count) - used.free_pages) * 4096;
    assert!(bytes < 20_000 * 54 * 125 / 100, "{bytes} bytes for 1,080,000 of data");
    let panicked = db.exec("b", |txn| {
        let entries = (20_000..30_000).map(|i| if i == 29_000 { panic!() } else { entry(i) });
        let load = std::panic::AssertUnwindSafe(|| txn.bulk_load(entries));
        assert!(std::panic::catch_unwind(load).is_err());
        assert_eq!(txn.len(), 20_000);
        txn.put("z", "kept")
    });
    assert_eq!(panicked, Ok(()));
    assert_eq!(db.view("b", |txn| Ok(txn.len())), Ok(20_001));
    assert!(db.verify().unwrap().is_sound());
}

/// Pages that a call on a bucket of 2,000 entries, the first of 4,000 pages, takes from the file.
fn pages_read(call: impl FnOnce(&BTree)) -> u64 {
    let vfs = MemVfs::new();
    let options = || on(vfs.clone()).page_size(512);
    let db = options().open(NAME).unwrap();
    db.exec("b", |txn| {
        txn.put("first", vec![7; 4_000 * 512])?;
        (0..2_000_u32).try_for_each(|i| txn.put(format!("key {i:04}"), [7; 20]))
    })
    .unwrap();
    drop(db);
    let db = options().open(NAME).unwrap();
    call(&db);
    db.stats().unwrap().pages_read
}

#[test]
fn an_end_that_nothing_is_below_costs_no_walk_over_what_lies_behind_it() {
    let read = pages_read(|db| {
        db.view("b", |txn| {
            let mut range = txn.range::<[u8]>((Bound::Unbounded, Bound::Excluded([].as_slice())));
            assert_eq!(range.prev_entry(), Ok(None));
            Ok(())
        })
        .unwrap();
    });
    assert!(read < 10, "{read} pages");
}

#[test]
fn where_its_ends_meet_a_range_reads_no_value_again() {
    type Steps = fn(&mut Range) -> [Option<btree_store::Result<Entry>>; 3];
    let meetings: [Steps; 3] = [
        |range| [range.next(), range.next_back(), range.next_back()],
        |range| [range.next_back(), range.next_back(), range.next()],
        |range| [range.next_back(), range.next(), range.next()],
    ];
    for (round, steps) in meetings.into_iter().enumerate() {
        let read = pages_read(|db| {
            db.view("b", |txn| {
                let [one, two, none] = steps(&mut txn.range::<str>(..="key 0000"));
                assert!(one.is_some_and(|entry| entry.is_ok()));
                assert!(two.is_some_and(|entry| entry.is_ok()));
                assert_eq!(none, None);
                Ok(())
            })
            .unwrap();
        });
        assert!((4_000..4_020).contains(&read), "round {round}: {read} pages");
    }
}

#[test]
fn where_only_keys_are_wanted_no_value_with_pages_of_its_own_is_read() {
    type Step = for<'r> fn(&'r mut Range) -> btree_store::Result<Option<&'r [u8]>>;
    let steps: [Step; 2] = [Range::next_key, Range::prev_key];
    for (round, step) in steps.into_iter().enumerate() {
        let read = pages_read(|db| {
            db.view("b", |txn| {
                let (mut range, mut count) = (txn.range::<str>(..="key 0001"), 0);
                while step(&mut range)?.is_some() {
                    count += 1;
                }
                assert_eq!(count, 3);
                Ok(())
            })
            .unwrap();
        });
        assert!(read < 10, "round {round}: {read} pages");
    }
}

#[test]
fn what_is_removed_is_not_read() {
    let removed = |db: &BTree| db.exec("b", |txn| txn.delete_range::<str>(..="first"));
    let read = pages_read(|db| assert_eq!(removed(db), Ok(1)));
    assert!(read < 20, "{read} pages");
}

/// A step that tells whether it met an entry.
type Step = fn(&mut Range) -> Option<btree_store::Result<()>>;

#[test]
fn a_range_that_meets_damage_yields_the_error_once_and_fails_its_transaction() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| (0..2000_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [7; 20]))).unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    let is_leaf = |page: &[u8]| page[16] == 2;
    let leaves: Vec<usize> =
        (2..bytes.len() / 512).filter(|at| is_leaf(&bytes[at * 512..])).collect();
    bytes[leaves[leaves.len() / 2] * 512 + 300] ^= 4;
    let db = on(holding(&bytes)).page_size(512).open(NAME).unwrap();
    let steps: [Step; 4] = [
        |range| range.next().map(|entry| entry.map(drop)),
        |range| range.next_back().map(|entry| entry.map(drop)),
        |range| range.next_key().map(|key| key.map(drop)).transpose(),
        |range| range.prev_key().map(|key| key.map(drop)).transpose(),
    ];
    for step in steps {
        let mut count = 0;
        let result = db.view("b", |txn| {
            let mut range = txn.range::<[u8]>(..);
            let error = loop {
                match step(&mut range) {
                    Some(Ok(())) => count += 1,
                    Some(Err(error)) => break error,
                    None => panic!("the scan ended as if all were well"),
                }
            };
            assert_eq!(error, Error::Corruption);
            assert!(range.next().is_none() && range.next_back().is_none());
            assert_eq!(range.next_entry(), Err(Error::Corruption));
            assert_eq!(range.prev_entry(), Err(Error::Corruption));
            assert_eq!(range.next_key(), Err(Error::Corruption));
            assert_eq!(range.prev_key(), Err(Error::Corruption));
            assert_eq!(range.error(), Some(Error::Corruption));
            let cursor: Vec<_> = txn.iter().collect();
            assert_eq!(cursor.iter().filter(|entry| entry.is_err()).count(), 1);
            assert_eq!(cursor.last(), Some(&Err(Error::Corruption)));
            Ok(())
        });
        assert_eq!(result, Err(Error::Corruption));
        assert!(count > 100 && count < 1900, "{count} entries before the damage");
    }
}
