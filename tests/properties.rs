//! Does the store answer as the oracle does, for operations that are made small when they fail?
//!
//! The same operations as in `tests/oracle.rs`, drawn by proptest from bytes and by quickcheck
//! from seeds, on tiny pages and tiny caches. Both shorten a failing list: proptest towards the
//! plainest operations, quickcheck by leaving out operations and their steps. Beside the answers:
//! the same calls write the same bytes, whatever the cache; any bytes open, or are refused; keys
//! that proptest makes up come back in order.
//!
//! Attacks: separators-bound-children, sorted-keys, bytes-never-panic, same-calls-same-bytes,
//! cache-coherent.
#![cfg(feature = "sim")]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod model;

use btree_store::sim::oracle::{Handle, KeyShape, Op, ValueShape, Workload};
use btree_store::sim::{Bytes, Seeded};
use btree_store::verify::verify_path;
use btree_store::vfs::MemVfs;
use btree_store::{Barriers, Options};
use model::{PATH, Setting, run_all};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::collections::BTreeMap;
use std::sync::Arc;

fn a_setting() -> impl Strategy<Value = Setting> {
    let page_size = prop_oneof![3 => Just(512), 1 => Just(1024), 1 => Just(4096)];
    let barriers = prop_oneof![Just(Barriers::One), Just(Barriers::Two)];
    (page_size, 0_u64..8, barriers).prop_map(|(page_size, pages, barriers)| Setting {
        page_size,
        cache_bytes: pages * u64::from(page_size),
        barriers,
    })
}

fn a_workload(page_size: u32) -> impl Strategy<Value = Workload> {
    let keys = prop_oneof![
        Just(KeyShape::Short),
        Just(KeyShape::SharedPrefix),
        Just(KeyShape::Nested),
        Just(KeyShape::Sequential),
        Just(KeyShape::Longest),
        Just(KeyShape::Mixed),
    ];
    let values = prop_oneof![
        Just(ValueShape::Small),
        Just(ValueShape::Empty),
        Just(ValueShape::Edge),
        Just(ValueShape::Large),
        Just(ValueShape::Mixed),
    ];
    (keys, values, 1_u32..300, 1_u32..6, 1_u32..30).prop_map(move |drawn| {
        let (keys, values, key_count, bucket_count, steps_max) = drawn;
        let mut workload = Workload::new(page_size, keys, values);
        workload.key_count = key_count;
        workload.bucket_count = bucket_count;
        workload.steps_max = steps_max;
        workload
    })
}

/// Operations; each comes from bytes of its own, so that leaving bytes out makes it plainer and
/// leaves the others alone.
fn some_ops(most: usize) -> impl Strategy<Value = (Setting, Vec<Op>)> {
    let bytes = vec(vec(any::<u8>(), 0..200), 1..most);
    let setting = a_setting();
    setting.prop_flat_map(|setting| (Just(setting), a_workload(setting.page_size))).prop_flat_map(
        move |(setting, workload)| {
            let ops = bytes.clone().prop_map(move |bytes| {
                let mut workload = workload.clone();
                bytes.iter().map(|bytes| workload.op(&mut Bytes::new(bytes))).collect()
            });
            (Just(setting), ops)
        },
    )
}

/// Any bytes, short words over few letters, and long common beginnings.
fn a_key(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![Just(0_u8), Just(b'a'), Just(255)];
    let tail = vec(prop_oneof![Just(b'x'), Just(0), any::<u8>()], 0..6);
    prop_oneof![
        2 => vec(any::<u8>(), 1..=longest),
        3 => vec(letter, 1..8),
        3 => (1..longest, tail).prop_map(move |(len, tail)| {
            let mut key = vec![b'p'; len];
            key.extend(tail);
            key.truncate(longest);
            key
        }),
    ]
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn the_store_answers_as_the_oracle_does((setting, ops) in some_ops(60)) {
        run_all(setting, &ops, 8).map_err(proptest::test_runner::TestCaseError::fail)?;
    }

    #[test]
    fn the_same_calls_write_the_same_bytes((setting, ops) in some_ops(40)) {
        let write = |cache_bytes| {
            let vfs = MemVfs::new();
            let options = Options::new()
                .page_size(setting.page_size)
                .barriers(setting.barriers)
                .cache_bytes(cache_bytes)
                .vfs(Arc::new(vfs.clone()));
            let mut store = Handle::open(options, PATH).unwrap();
            for op in &ops {
                drop(store.run(op));
            }
            drop(store);
            vfs.read_file(PATH)
        };
        let first = write(setting.cache_bytes);
        assert!(first == write(setting.cache_bytes), "{setting:?}: two runs, two files");
        assert!(first == write(1 << 20), "{setting:?}: the cache decides what is written");
    }

    #[test]
    fn arbitrary_keys_come_back_in_order_and_after_a_reopen(
        setting in a_setting(),
        entries in btree_map(a_key(128), vec(any::<u8>(), 0..700), 1..200),
        removed in vec(any::<proptest::sample::Index>(), 0..200),
    ) {
        check_entries(setting, entries, &removed);
    }

    #[test]
    fn arbitrary_bytes_open_or_are_refused(bytes in vec(any::<u8>(), 0..3000)) {
        open_anything(&bytes);
    }

    #[test]
    fn a_file_with_arbitrary_changes_opens_or_is_refused(
        (setting, ops) in some_ops(20),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        cut in prop_oneof![3 => Just(None), 1 => any::<proptest::sample::Index>().prop_map(Some)],
    ) {
        let vfs = MemVfs::new();
        let options = Options::new().page_size(setting.page_size).vfs(Arc::new(vfs.clone()));
        let mut store = Handle::open(options, PATH).unwrap();
        for op in &ops {
                drop(store.run(op));
            }
        drop(store);
        let mut bytes = vfs.read_file(PATH).unwrap();
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        open_anything(&bytes);
    }
}

fn check_entries(
    setting: Setting,
    mut entries: BTreeMap<Vec<u8>, Vec<u8>>,
    removed: &[proptest::sample::Index],
) {
    let vfs = MemVfs::new();
    let open = || {
        let options = Options::new().page_size(setting.page_size).cache_bytes(setting.cache_bytes);
        options.vfs(Arc::new(vfs.clone())).open(PATH).unwrap()
    };
    let check = |entries: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let db = open();
        let found = db.view("b", |txn| {
            let (mut key, mut value, mut found) = (Vec::new(), Vec::new(), Vec::new());
            let mut iter = txn.iter();
            while iter.next_ref(&mut key, &mut value) {
                found.push((key.clone(), value.clone()));
            }
            for key in entries.keys() {
                assert_eq!(txn.get(key).as_ref(), Ok(&entries[key]));
            }
            Ok(found)
        });
        assert!(found.unwrap().into_iter().eq(entries.clone()));
        let report = db.verify().unwrap();
        assert!(report.is_sound(), "{report}");
    };
    // Half of them one by one, half of them in one transaction, from the end.
    let half = entries.len() / 2;
    let db = open();
    for (key, value) in entries.iter().take(half) {
        db.exec("b", |txn| txn.put(key, value)).unwrap();
    }
    db.exec("b", |txn| {
        entries.iter().skip(half).rev().try_for_each(|(key, value)| txn.insert(key, value))
    })
    .unwrap();
    drop(db);
    check(&entries);
    let db = open();
    for index in removed {
        let Some(key) = entries.keys().nth(index.index(entries.len().max(1))).cloned() else {
            break;
        };
        entries.remove(&key);
        db.exec("b", |txn| txn.del(&key)).unwrap();
    }
    drop(db);
    check(&entries);
}

/// Whatever the bytes are: an answer or a typed error, and no more than reading when it says no.
fn open_anything(bytes: &[u8]) {
    let vfs = MemVfs::new();
    vfs.write_file(PATH, bytes);
    let report = verify_path(&vfs, PATH).unwrap();
    let options = || Options::new().vfs(Arc::new(vfs.clone()));
    let Ok(db) = options().read_only().open(PATH) else {
        assert!(!report.is_sound(), "{report}");
        assert!(vfs.read_file(PATH).unwrap() == bytes);
        return;
    };
    let mut is_readable = true;
    for name in db.buckets().unwrap_or_default() {
        let scanned = db.view(&name, |txn| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let mut iter = txn.iter();
            while iter.next_ref(&mut key, &mut value) {}
            let mut iter = txn.iter();
            while iter.prev_ref(&mut key, &mut value) {}
            txn.first().and(txn.last()).map(drop)
        });
        is_readable &= scanned.is_ok();
    }
    assert!(is_readable || !report.is_sound(), "{report}");
    drop(db);
    assert!(vfs.read_file(PATH).unwrap() == bytes, "reading wrote");
    let Ok(db) = options().open(PATH) else {
        assert!(!report.is_sound(), "{report}");
        return;
    };
    for name in db.buckets().unwrap_or_default() {
        // Writing into what is damaged may be refused; it may not panic.
        let put = db.exec(&name, |txn| txn.put("k", "v").and(txn.del("k")));
        let dropped = db.del_bucket(&name);
        assert!(put.is_ok() && dropped.is_ok() || !report.is_sound(), "{report}");
    }
    let compacted = db.compact(0);
    assert!(compacted.is_ok() || !report.is_sound(), "{report}");
}

/// Operations that quickcheck makes up, and shortens.
#[derive(Clone, Debug)]
struct Story {
    setting: Setting,
    ops: Vec<Op>,
}

impl Arbitrary for Story {
    fn arbitrary(g: &mut Gen) -> Story {
        let page_size = *g.choose(&[512, 512, 4096]).unwrap();
        let setting = Setting {
            page_size,
            cache_bytes: u64::from(u8::arbitrary(g) % 6) * u64::from(page_size),
            barriers: *g.choose(&[Barriers::One, Barriers::Two]).unwrap(),
        };
        let shapes = [KeyShape::Short, KeyShape::SharedPrefix, KeyShape::Nested, KeyShape::Mixed];
        let values = [ValueShape::Small, ValueShape::Edge, ValueShape::Mixed];
        let (shape, values) = (*g.choose(&shapes).unwrap(), *g.choose(&values).unwrap());
        let mut workload = Workload::new(page_size, shape, values);
        workload.key_count = 1 + u32::from(u8::arbitrary(g));
        workload.steps_max = 1 + u32::from(u8::arbitrary(g)) % 40;
        let mut source = Seeded::new(u64::arbitrary(g));
        let count = usize::arbitrary(g) % g.size();
        Story { setting, ops: (0..count).map(|_| workload.op(&mut source)).collect() }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Story>> {
        let setting = self.setting;
        let halves = (1..self.ops.len().min(2)).flat_map({
            let ops = self.ops.clone();
            move |_| [ops[..ops.len() / 2].to_vec(), ops[ops.len() / 2..].to_vec()]
        });
        let without = (0..self.ops.len()).map({
            let ops = self.ops.clone();
            move |at| {
                let mut ops = ops.clone();
                ops.remove(at);
                ops
            }
        });
        let plainer = (0..self.ops.len()).flat_map({
            let ops = self.ops.clone();
            move |at| {
                let ops = ops.clone();
                ops[at].simpler().into_iter().map(move |op| {
                    let mut ops = ops.clone();
                    ops[at] = op;
                    ops
                })
            }
        });
        let lists = halves.chain(without).chain(plainer);
        Box::new(lists.map(move |ops| Story { setting, ops }))
    }
}

#[test]
fn stories_that_quickcheck_makes_up_come_out_as_the_oracle_says() {
    #[allow(clippy::needless_pass_by_value, reason = "quickcheck calls it so")]
    fn property(story: Story) -> Result<bool, String> {
        run_all(story.setting, &story.ops, 8).map(|()| true)
    }
    let property: fn(Story) -> Result<bool, String> = property;
    QuickCheck::new().rng(Gen::new(120)).tests(300).quickcheck(property);
}
