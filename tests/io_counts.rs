//! What reaches the storage: how many pages and syncs, which places, in which order.
//!
//! Attacks: committed-pages-immutable, meta-lists-pages, slots-alternate, txn-ids-increase,
//! durable-before-ok, failed-sync-poisons, same-calls-same-bytes.

mod common;

use btree_store::format::{HEADER_TXN, META_BUCKETS};
use btree_store::vfs::{MemVfs, OpenMode, Vfs};
use btree_store::{BTree, Barriers, Error, Result, Txn};
use common::random::Random;
use common::walk::{Owner, Walk};
use common::watch::{Counts, Op, Watch};
use common::{NAME, file_len, holding, on, open};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

const PAGE: u64 = 4096;

/// A key that sorts by its number.
fn key(i: usize) -> String {
    format!("key_{i:08}")
}

/// A file in memory with `keys` small entries in bucket "b".
fn filled(keys: usize) -> MemVfs {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    for first in (0..keys).step_by(100_000) {
        let end = keys.min(first + 100_000);
        db.exec("b", |txn| (first..end).try_for_each(|i| txn.put(key(i), [b'v'; 20]))).unwrap();
    }
    vfs
}

/// The most that one of `count` commits of one existing key asked of the storage, after a warm-up.
fn most(db: &BTree, watch: &Watch, keys: usize, count: usize) -> Counts {
    let mut random = Random::new(1);
    let mut most = Counts::default();
    for i in 0..count + 50 {
        let (key, value) = (key(random.below(keys)), [i.to_le_bytes()[0]; 20]);
        let (counts, done) = watch.during(|| db.exec("b", |txn| txn.put(&key, value)));
        done.unwrap();
        if i >= 50 {
            most.writes = most.writes.max(counts.writes);
            most.bytes_written = most.bytes_written.max(counts.bytes_written);
            most.syncs = most.syncs.max(counts.syncs);
            most.reads = most.reads.max(counts.reads);
            most.set_lens += counts.set_lens;
        }
    }
    most
}

/// The tree's height in a file.
fn height(vfs: &MemVfs) -> u64 {
    let bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    u64::from(walk.height(walk.newest()))
}

/// Asserts what a one-key commit may cost on this file.
fn assert_commits_cheap(vfs: &MemVfs, keys: usize, barriers: Barriers) {
    let watch = Watch::new(vfs.clone());
    let db = on(watch.clone()).barriers(barriers).open(NAME).unwrap();
    let most = most(&db, &watch, keys, 400);
    let (height, pages) = (height(vfs), most.bytes_written / PAGE);
    println!("{keys} keys, height {height}, {barriers:?}: {pages} pages at most, {most:?}");
    assert!(height >= 3);
    assert!(pages <= height + 2, "{pages} pages at height {height}");
    let syncs = if barriers == Barriers::One { 1 } else { 2 };
    assert_eq!(most.syncs, syncs);
}

#[test]
fn a_commit_of_one_key_writes_its_path_and_two_pages_and_syncs_once_a_barrier() {
    let vfs = filled(100_000);
    for barriers in [Barriers::One, Barriers::Two] {
        assert_commits_cheap(&vfs, 100_000, barriers);
    }
}

#[test]
fn a_commit_of_one_key_costs_the_same_among_a_million() {
    let vfs = filled(1_000_000);
    for barriers in [Barriers::One, Barriers::Two] {
        assert_commits_cheap(&vfs, 1_000_000, barriers);
    }
    // The same file answers two more questions, and takes long to make.
    assert_opening_reads_little(&vfs, 1_000_000);
}

#[test]
fn a_commit_of_one_key_costs_the_same_with_fifty_thousand_free_extents() {
    let vfs = scattered(50_000);
    for barriers in [Barriers::One, Barriers::Two] {
        assert_commits_cheap(&vfs, 100_000, barriers);
    }
}

/// A file whose free pages lie in at least this many extents: of large values that were put one
/// after another, each second is deleted.
fn scattered(extents: usize) -> MemVfs {
    let vfs = filled(100_000);
    let db = open(&vfs).unwrap();
    let value = vec![1; 4096];
    for first in (0..2 * extents).step_by(20_000) {
        let put = |i| (first + i, &value);
        db.exec("large", |txn| {
            (0..20_000).map(put).try_for_each(|(i, value)| txn.put(key(i), value))
        })
        .unwrap();
    }
    for first in (0..2 * extents).step_by(20_000) {
        db.exec("large", |txn| (0..10_000).try_for_each(|i| txn.del(key(first + 2 * i)))).unwrap();
    }
    (0..4_u8).for_each(|i| db.exec("b", |txn| txn.put(key(1), [i; 20])).unwrap());
    let found = free_extents(&vfs);
    println!("{found} free extents, {:?}", db.stats().unwrap());
    assert!(found >= extents, "{found} extents");
    drop(db);
    vfs
}

/// How many gaps the newest state leaves between its pages.
fn free_extents(vfs: &MemVfs) -> usize {
    let bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    let owners = walk.owners(walk.newest());
    let pages: Vec<u32> = owners.into_keys().collect();
    pages.windows(2).filter(|pair| pair[0] + 1 < pair[1]).count()
}

/// Pages that an opening reads, and what it changes.
fn opening(vfs: &MemVfs) -> Counts {
    let watch = Watch::new(vfs.clone());
    let (counts, db) = watch.during(|| on(watch.clone()).open(NAME).unwrap());
    drop(db);
    counts
}

/// Opening reads the slots, the log and what the last commit wrote, whatever the file holds.
fn assert_opening_reads_little(vfs: &MemVfs, keys: usize) {
    let bytes = vfs.read_file(NAME).unwrap();
    let listed = |slot| Walk::new(&bytes).meta(slot).items as u64;
    let listed = listed(0).max(listed(1));
    let clean = opening(vfs);
    assert!(clean.is_silent(), "{keys} keys: {clean:?}");
    let db = open(vfs).unwrap();
    for i in 0..20 {
        db.exec("b", |txn| txn.put(key(i * keys / 20), [7; 20])).unwrap();
    }
    let killed = opening(&vfs.snapshot());
    drop(db);
    let pages = (clean.bytes_read.div_ceil(PAGE), killed.bytes_read.div_ceil(PAGE));
    println!("{keys} keys: opening reads {pages:?} pages, clean and killed; {killed:?}");
    assert!(listed <= 32 && pages.0 <= 8 + listed, "{pages:?} pages, {listed} are listed");
    assert!(pages.1 <= 40, "{pages:?} pages, clean and killed");
}

#[test]
fn opening_reads_as_many_pages_for_a_hundred_thousand_keys_as_for_a_thousand() {
    for keys in [1_000, 10_000, 100_000] {
        assert_opening_reads_little(&filled(keys), keys);
    }
}

#[test]
fn opening_after_a_kill_writes_neighbours_together() {
    let vfs = MemVfs::new();
    let db = open(&vfs).unwrap();
    for bucket in ["a", "b"] {
        let fill = |txn: &mut Txn<'_>| (0..1000).try_for_each(|i| txn.put(key(i), [7; 100]));
        db.exec(bucket, fill).unwrap();
    }
    let killed = opening(&vfs.snapshot());
    assert!(killed.bytes_written > 40 * PAGE, "{killed:?}");
    // The pages of two commits and two meta pages.
    assert_eq!(killed.writes, 4, "{killed:?}");
}

#[test]
fn dropping_a_bucket_of_small_pairs_reads_its_branches_only() {
    let vfs = filled(100_000);
    let watch = Watch::new(vfs.clone());
    let bytes = vfs.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    let owners = walk.owners(walk.newest());
    let of_tree = |owner: &&Owner| matches!(owner, Owner::Tree(_));
    let all = owners.values().filter(of_tree).count() as u64;
    let branches = owners.values().filter(|o| matches!(o, Owner::Tree(1..))).count() as u64;
    let db = on(watch.clone()).open(NAME).unwrap();
    let before = db.stats().unwrap().pages_read;
    let (counts, dropped) = watch.during(|| db.del_bucket("b"));
    dropped.unwrap();
    let read = db.stats().unwrap().pages_read - before;
    println!("{read} pages read of {all}, {branches} branches; {counts:?}");
    assert_eq!(read, branches);
    assert_eq!(counts.bytes_read, branches * PAGE);
    assert!(read * 50 < all, "{read} of {all} pages");
}

#[test]
fn a_transaction_that_changes_nothing_touches_nothing() {
    let vfs = filled(1_000);
    let watch = Watch::new(vfs.clone());
    let db = on(watch.clone()).open(NAME).unwrap();
    let before = (db.current_seq(), vfs.read_file(NAME));
    let calls: [(&str, &dyn Fn() -> Result<()>); 9] = [
        ("empty", &|| db.exec("b", |_| Ok(()))),
        ("get", &|| db.exec("b", |txn| txn.get(key(1)).map(drop))),
        ("del of a missing key", &|| db.exec("b", |txn| txn.del("no").or(Ok(())))),
        ("update of a missing key", &|| db.exec("b", |txn| txn.update("no", "v").map(drop))),
        ("insert of a key that is there", &|| {
            db.exec("b", |txn| txn.insert(key(1), "v").or(Ok(())))
        }),
        ("empty range", &|| db.exec("b", |txn| txn.delete_range(&b"x"[..]..&b"a"[..]).map(drop))),
        ("exec_multi", &|| db.exec_multi(|_| Ok(()))),
        ("exec_multi of nothing", &|| {
            db.exec_multi(|multi| multi.exec("b", |txn| txn.get(key(2)).map(drop)))
        }),
        ("commit", &|| db.commit()),
    ];
    for (name, call) in calls {
        let (counts, done) = watch.during(call);
        done.unwrap();
        assert!(counts.is_silent(), "{name}: {counts:?}");
        assert_eq!(db.current_seq(), before.0, "{name}");
    }
    let (counts, ()) = watch.during(|| drop(db));
    assert!(counts.is_silent(), "closing: {counts:?}");
    assert_eq!(vfs.read_file(NAME), before.1);
}

#[test]
fn a_transaction_that_leaves_its_buckets_empty_or_missing_as_before_touches_nothing() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    let large = vec![b'v'; 10_000];
    db.exec("empty", |_| Ok(())).unwrap();
    db.exec("full", |txn| txn.put("k", "v")).unwrap();
    let before = (db.current_seq(), vfs.read_file(NAME));
    let put_and_del = |txn: &mut Txn<'_>| {
        (0..300).try_for_each(|i| txn.put(key(i), &large))?;
        (0..300).try_for_each(|i| txn.del(key(i)))
    };
    let silent: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("entries of an empty bucket", &|| db.exec("empty", put_and_del)),
        ("a range of them", &|| {
            db.exec("empty", |txn| {
                txn.put("k", "v")?;
                txn.delete_range::<[u8]>(..).map(drop)
            })
        }),
        ("a bucket made and dropped", &|| {
            db.exec_multi(|multi| {
                multi.exec("new", |txn| txn.put("k", "v"))?;
                multi.del_bucket("new")
            })
        }),
        ("a bucket dropped and made", &|| {
            db.exec_multi(|multi| {
                multi.exec("full", |txn| txn.get("k").map(drop))?;
                multi.del_bucket("empty")?;
                multi.exec("empty", |_| Ok(()))
            })
        }),
    ];
    for (name, call) in silent {
        let (counts, done) = watch.during(call);
        done.unwrap();
        assert!(counts.is_silent(), "{name}: {counts:?}");
        assert_eq!(db.current_seq(), before.0, "{name}");
    }
    assert_eq!(vfs.read_file(NAME), before.1);
    // What looks alike and is none of them.
    let loud: [&dyn Fn() -> Result<()>; 4] = [
        &|| db.exec("full", |txn| txn.del("k").and(txn.put("k", "v"))),
        &|| db.exec("full", |txn| txn.del("k")),
        &|| {
            db.exec_multi(|multi| {
                multi.exec("empty", |txn| txn.put("k", "v")).and(multi.del_bucket("full"))
            })
        },
        &|| db.exec_multi(|multi| multi.del_bucket("empty").and(multi.exec("new", |_| Ok(())))),
    ];
    for (number, call) in (1..).zip(loud) {
        call().unwrap();
        assert_eq!(db.current_seq(), before.0 + number);
    }
    assert_eq!(db.buckets().unwrap(), ["new"]);
    assert_eq!(db.verify().map(|report| report.is_sound()), Ok(true));
}

#[test]
fn touching_a_missing_bucket_makes_it_and_an_empty_one_is_not_missing() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("b", |_| Ok(())).unwrap();
    assert_eq!((db.current_seq(), db.buckets().unwrap()), (1, vec!["b".to_owned()]));
    let (counts, done) = watch.during(|| db.exec("b", |_| Ok(())));
    done.unwrap();
    assert!(counts.is_silent(), "{counts:?}");
    // A later call without changes keeps what an earlier one made.
    db.exec_multi(|multi| {
        multi.exec("b", |txn| txn.put("k", "v"))?;
        multi.exec("b", |_| Ok(()))?;
        multi.exec("c", |_| Ok(()))
    })
    .unwrap();
    assert_eq!(db.current_seq(), 2);
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
    drop(db);
    let db = open(&vfs).unwrap();
    assert_eq!(db.buckets().unwrap(), ["b", "c"]);
    assert_eq!(db.view("c", |txn| Ok(txn.len())), Ok(0));
}

#[test]
fn the_sequence_grows_by_one_with_every_commit_that_changes_something() {
    let db = open(&MemVfs::new()).unwrap();
    for seq in 1..100 {
        db.exec("b", |txn| txn.put("k", "the same value")).unwrap();
        assert_eq!(db.current_seq(), seq);
        assert_eq!(db.exec("b", |txn| txn.del("missing")), Err(Error::NotFound));
        assert_eq!(db.current_seq(), seq);
    }
}

#[test]
fn a_read_only_open_writes_nothing_even_when_recovery_is_due() {
    let vfs = filled(1_000);
    let db = open(&vfs).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let killed = vfs.snapshot();
    drop(db);
    for state in [vfs.snapshot(), killed] {
        let before = state.read_file(NAME);
        let watch = Watch::new(state.clone());
        let (ops, ()) = watch.record(|| {
            let db = on(watch.clone()).read_only().open(NAME).unwrap();
            assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
            assert_eq!(common::dump(&db, "b").unwrap().len(), 1_001);
            assert_eq!(db.exec("b", |_| Ok(())), Err(Error::Invalid));
            assert_eq!(db.del_bucket("b"), Err(Error::Invalid));
            assert_eq!(db.commit(), Err(Error::Invalid));
            assert_eq!(db.compact(0), Err(Error::Invalid));
        });
        let wrong = |op: &&Op| op.is_change() || op.is_sync() || matches!(op, Op::SyncDir);
        assert_eq!(ops.iter().find(wrong), None);
        assert_eq!(state.read_file(NAME), before);
    }
    let empty = MemVfs::new();
    let missing = on(empty.clone()).read_only().open(NAME);
    assert_eq!(missing.unwrap_err(), Error::IoError);
    assert_eq!(empty.read_file(NAME), None);
}

/// The slot of a commit that a crash tore is what recovery empties.
#[test]
fn a_read_only_open_leaves_a_refused_slot_alone() {
    let vfs = filled(1_000);
    let db = open(&vfs).unwrap();
    for value in ["v", "w"] {
        db.exec("b", |txn| txn.put("k", value)).unwrap();
    }
    let torn = vfs.snapshot();
    let mut bytes = torn.read_file(NAME).unwrap();
    let walk = Walk::new(&bytes);
    let page = walk.listed(walk.newest().slot)[0] as usize;
    bytes[page * 4096 + 100] ^= 1;
    torn.write_file(NAME, &bytes);
    let watch = Watch::new(torn.clone());
    let (counts, ()) = watch.during(|| {
        let db = on(watch.clone()).read_only().open(NAME).unwrap();
        assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
    });
    assert!(counts.is_silent(), "{counts:?}");
    assert!(torn.read_file(NAME).unwrap() == bytes);
}

/// Pages that a write touches.
fn touched(op: &Op, page_size: u64) -> Option<(u32, u32)> {
    let Op::Write { offset, len } = op else { return None };
    let end = (offset + *len as u64).div_ceil(page_size);
    Some((u32::try_from(offset / page_size).unwrap(), u32::try_from(end).unwrap()))
}

/// Holds every write of one commit against what may be read after a crash before its end: the
/// pages of the newest durable state, of the one before, and those of live snapshots.
fn assert_writes_allowed(ops: &[Op], before: &[u8], pinned: &BTreeSet<u32>, context: &str) {
    let walk = Walk::new(before);
    let page_size = walk.page_size as u64;
    let newest = walk.newest();
    let other = walk.meta(1 - newest.slot);
    let mut guarded: BTreeSet<u32> = walk.owners(newest).into_keys().collect();
    guarded.extend(walk.owners(other).into_keys());
    guarded.extend(pinned);
    let free_slot = u32::try_from(other.slot).unwrap();
    guarded.remove(&free_slot);
    let mut metas = 0;
    for op in ops {
        let Some((first, end)) = touched(op, page_size) else { continue };
        let wrong = guarded.range(first..end).next();
        assert_eq!(wrong, None, "{context}: {op:?} writes a page that is in use");
        metas += usize::from(first == free_slot);
    }
    assert_eq!(metas, 1, "{context}: one meta page, into the slot that is not the newest state's");
}

#[test]
fn no_commit_writes_a_page_that_a_durable_state_or_a_snapshot_uses() {
    for (seed, page_size) in [(1, 512), (2, 512), (3, 4096)] {
        let (vfs, watch) = Watch::memory();
        let db = on(watch.clone()).page_size(page_size).open(NAME).unwrap();
        db.exec("b", |txn| txn.put("k", "v")).unwrap();
        let mut random = Random::new(seed);
        let mut pins = Vec::new();
        for round in 0..400 {
            let before = vfs.read_file(NAME).unwrap();
            let pinned = pins.iter().flat_map(|(_, pages): &(_, Vec<u32>)| pages.clone()).collect();
            let (ops, done) = watch.record(|| {
                db.exec("b", |txn| {
                    for _ in 0..=random.below(5) {
                        let len = [20, 90, 600, 3_000][random.below(4)];
                        txn.put(key(random.below(300)), vec![1; len])?;
                    }
                    match txn.del(key(random.below(300))) {
                        Err(Error::NotFound) => Ok(()),
                        other => other,
                    }
                })
            });
            done.unwrap();
            assert_writes_allowed(&ops, &before, &pinned, &format!("seed {seed}, round {round}"));
            if random.below(8) == 0 {
                let bytes = vfs.read_file(NAME).unwrap();
                let walk = Walk::new(&bytes);
                let pages: Vec<u32> = walk.owners(walk.newest()).into_keys().skip(2).collect();
                pins.push((db.view("b", |txn| Ok(txn.iter())).unwrap(), pages));
            }
            if random.below(8) == 0 && !pins.is_empty() {
                pins.swap_remove(random.below(pins.len()));
            }
        }
    }
}

/// Where a commit's meta write, its data writes and its syncs lie in its operations.
fn order(ops: &[Op]) -> String {
    let letter = |op: &Op| match op {
        Op::Write { offset, .. } if offset / PAGE < 2 => Some('M'),
        Op::Write { .. } => Some('D'),
        Op::SyncData => Some('s'),
        Op::SyncAll => Some('S'),
        Op::SetLen(_) => Some('G'),
        _ => None,
    };
    let letters: Vec<char> = ops.iter().filter_map(letter).collect();
    let mut order: String = letters.into_iter().collect();
    while order.contains("DD") {
        order = order.replace("DD", "D");
    }
    order
}

#[test]
fn a_meta_page_lists_its_pages_or_comes_after_their_sync() {
    for barriers in [Barriers::One, Barriers::Two] {
        for keys in [1, 10, 10_000] {
            let (vfs, watch) = Watch::memory();
            let db = on(watch.clone()).barriers(barriers).open(NAME).unwrap();
            let fill =
                || db.exec("b", |txn| (0..keys).try_for_each(|i| txn.put(key(i), [b'v'; 100])));
            for round in 0..4 {
                let (ops, done) = watch.record(fill);
                done.unwrap();
                let bytes = vfs.read_file(NAME).unwrap();
                let walk = Walk::new(&bytes);
                let listed = walk.listed(walk.newest().slot);
                let (order, context) = (order(&ops), format!("{barriers:?}, {keys} keys"));
                let plain = order.replace('G', "").replace('S', "s");
                let expected: &[&str] = match (barriers, keys) {
                    (_, 10_000) => &["DssMs", "DsMs"],
                    (Barriers::Two, _) => &["DsMs"],
                    _ => &["DMs"],
                };
                assert!(expected.contains(&plain.as_str()), "{context}: {order}");
                assert_eq!(listed.is_empty(), keys == 10_000, "{context}: {listed:?}");
                // Growth comes first, and its first barrier fences the length too.
                if order.contains('G') {
                    assert!(order.starts_with("GD"), "{context}: {order}");
                    let first = order.chars().find(|c| matches!(c, 's' | 'S'));
                    assert_eq!(first, Some('S'), "{context}: {order}");
                }
                assert!(round > 0 || order.contains('G'), "{context}: {order}");
            }
        }
    }
}

#[test]
fn a_value_of_a_mebibyte_takes_one_sync_and_is_whole_after_a_kill() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("small", "v")).unwrap();
    let value: Vec<u8> = (0..1_u32 << 20).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let (counts, done) = watch.during(|| db.exec("b", |txn| txn.put("large", &value)));
    done.unwrap();
    assert_eq!(counts.syncs, 1, "{counts:?}");
    let db = open(&vfs.snapshot()).unwrap();
    assert_eq!(db.view("b", |txn| txn.get("large")).unwrap(), value);
    assert_eq!(db.verify().map(|report| report.is_sound()), Ok(true));
}

/// Who has filled the disk gives back what it took, so that others can write, and it can itself.
#[test]
fn a_commit_that_found_the_disk_full_leaves_the_file_as_long_as_it_was() {
    for barriers in [Barriers::One, Barriers::Two] {
        let (memory, watch) = Watch::memory();
        let db = on(watch.clone()).barriers(barriers).open(NAME).unwrap();
        let fill = |txn: &mut Txn<'_>| (0..1000).try_for_each(|i| txn.put(key(i), [7; 100]));
        db.exec("a", |txn| txn.put("k", "v")).unwrap();
        let len = file_len(&memory);
        watch.hook(|op| match op {
            Op::Write { offset, len } if offset + *len as u64 > 20 * PAGE => {
                Err(ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        });
        for _ in 0..3 {
            assert_eq!(db.exec("b", fill), Err(Error::NoSpace));
            assert_eq!(file_len(&memory), len, "{barriers:?}");
        }
        db.exec("a", |txn| txn.put("k", "w")).unwrap();
        watch.unhook();
        db.exec("b", fill).unwrap();
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn what_a_commit_failed_with_is_told_though_giving_back_fails_too() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    let mut has_failed = false;
    watch.hook(move |op| match op {
        Op::Write { .. } => {
            has_failed = true;
            Err(ErrorKind::StorageFull.into())
        }
        Op::SetLen(_) if has_failed => Err(io::Error::other("gone")),
        _ => Ok(()),
    });
    let failed = db.exec("b", |txn| txn.put("k", "v")).unwrap_err();
    let why = common::story(failed);
    watch.unhook();
    assert_eq!(failed, Error::NoSpace);
    assert!(why.starts_with("write pages: "), "{why}");
}

#[test]
fn closing_a_poisoned_store_leaves_the_detail_of_what_poisoned_it() {
    let (_, watch) = Watch::memory();
    let failed = {
        let db = on(watch.clone()).open(NAME).unwrap();
        watch.hook(|op| if op.is_sync() { Err(io::Error::other("gone")) } else { Ok(()) });
        db.exec("b", |txn| txn.put("k", "v")).unwrap_err()
    };
    assert_eq!((failed, common::story(failed).as_str()), (Error::IoError, "sync: gone"));
}

#[test]
fn a_commit_returns_after_its_sync_and_the_slots_alternate() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).open(NAME).unwrap();
    let mut last = None;
    for seq in 1..50 {
        let (ops, done) = watch.record(|| db.exec("b", |txn| txn.put(key(1), seq.to_string())));
        done.unwrap();
        assert!(ops.last().is_some_and(Op::is_sync), "{ops:?}");
        let bytes = vfs.read_file(NAME).unwrap();
        let newest = Walk::new(&bytes).newest();
        assert_eq!(newest.txn, seq);
        assert_ne!(last, Some(newest.slot));
        last = Some(newest.slot);
        if seq % 10 == 0 {
            // A killed process: the next one goes on in the other slot.
            let killed = vfs.snapshot();
            let db = open(&killed).unwrap();
            db.exec("b", |txn| txn.put("k", "v")).unwrap();
            let bytes = killed.read_file(NAME).unwrap();
            let next = Walk::new(&bytes).newest();
            assert_eq!(next.txn, seq + 1);
            assert_ne!(next.slot, newest.slot);
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_written() {
    for failing in 1..=2 {
        let vfs = filled(1_000);
        let watch = Watch::new(vfs.clone());
        let db = on(watch.clone()).barriers(Barriers::Two).open(NAME).unwrap();
        let mut syncs = 0;
        watch.hook(move |op| {
            syncs += usize::from(op.is_sync());
            if op.is_sync() && syncs == failing { Err(ErrorKind::Other.into()) } else { Ok(()) }
        });
        assert_eq!(db.exec("b", |txn| txn.put("k", "v")), Err(Error::IoError));
        let clone = db.clone();
        let (counts, ()) = watch.during(|| {
            for _ in 0..3 {
                assert_eq!(clone.exec("b", |txn| txn.put("k", "v")), Err(Error::Poisoned));
                assert_eq!(clone.exec_multi(|_| Ok(())), Err(Error::Poisoned));
                assert_eq!(db.commit(), Err(Error::Poisoned));
                assert_eq!(db.compact(0), Err(Error::Poisoned));
                assert_eq!(db.view("b", |txn| txn.get(key(5))).unwrap(), [b'v'; 20]);
                assert_eq!(db.view("b", |txn| txn.get("k")), Err(Error::NotFound));
            }
            drop((db, clone));
        });
        assert!(counts.is_silent(), "sync {failing}: {counts:?}");
        watch.unhook();
        let (ops, db) = watch.record(|| on(watch.clone()).open(NAME).unwrap());
        let written = ops.iter().filter(|op| matches!(op, Op::Write { .. })).count();
        let last = ops.iter().rposition(Op::is_change);
        let fenced = last.is_some_and(|at| ops[at..].iter().any(Op::is_sync));
        // Before the meta page is written there is nothing that recovery relies on.
        let is_written_again = written > 0 && fenced;
        assert_eq!(is_written_again, failing == 2, "{ops:?}");
        let value = db.view("b", |txn| txn.get("k"));
        assert!(matches!(value.as_deref(), Ok(b"v") | Err(Error::NotFound)), "{value:?}");
        db.exec("b", |txn| txn.put("k2", "v")).unwrap();
    }
}

/// The bytes after a workload, and the operations that made them.
fn workload(page_size: u32, cache_bytes: u64) -> (Vec<u8>, Vec<Op>) {
    let (vfs, watch) = Watch::memory();
    let (ops, ()) = watch.record(|| {
        let mut random = Random::new(9);
        for _ in 0..10 {
            let options = on(watch.clone()).page_size(page_size).cache_bytes(cache_bytes);
            let db = options.open(NAME).unwrap();
            for _ in 0..40 {
                let bucket = format!("bucket {}", random.below(12));
                let len = [0, 10, 300, 2_000][random.below(4)];
                let value = random.bytes(len);
                let result = match random.below(6) {
                    0 => db.del_bucket(bucket),
                    1 => db.exec(bucket, |txn| txn.del(key(random.below(40)))),
                    2 => db.compact(0).map(drop),
                    _ => db.exec(bucket, |txn| txn.put(key(random.below(40)), &value)),
                };
                assert!(matches!(result, Ok(()) | Err(Error::NotFound)), "{result:?}");
            }
        }
    });
    let changes = |op: &Op| op.is_change() || op.is_sync();
    (vfs.read_file(NAME).unwrap(), ops.into_iter().filter(changes).collect())
}

#[test]
fn the_same_calls_write_the_same_bytes_whatever_the_cache() {
    for page_size in [512, 4096] {
        let (bytes, ops) = workload(page_size, 1 << 20);
        for cache_bytes in [1 << 20, 0, 5 * 4096] {
            let (again, again_ops) = workload(page_size, cache_bytes);
            assert!(again == bytes, "pages of {page_size}, cache of {cache_bytes}: other bytes");
            assert_eq!(again_ops, ops);
        }
    }
}

#[test]
fn the_cache_holds_no_more_than_it_may() {
    let vfs = filled(100_000);
    for pages in [0, 1, 10, 300] {
        let db = on(vfs.clone()).cache_bytes(pages * PAGE).open(NAME).unwrap();
        let mut random = Random::new(pages);
        for _ in 0..300 {
            let key = key(random.below(100_000));
            assert_eq!(db.view("b", |txn| txn.get(key)).unwrap().len(), 20);
            db.exec("b", |txn| txn.put(format!("x{}", random.below(1_000)), [b'v'; 20])).unwrap();
            let cached = db.stats().unwrap().cached_pages as u64;
            assert!(cached <= pages, "{cached} of {pages} pages");
        }
        assert!(common::dump(&db, "b").unwrap().len() >= 100_000);
        assert!(db.stats().unwrap().cached_pages as u64 <= pages);
    }
}

#[test]
fn a_scan_leaves_in_the_cache_what_others_use_meanwhile() {
    const CACHED: u64 = 64;
    let watch = Watch::new(filled(200_000));
    let db = on(watch.clone()).cache_bytes(CACHED * PAGE).open(NAME).unwrap();
    assert!(u64::from(db.stats().unwrap().page_count) > 20 * CACHED);
    let (mut gets, mut reads) = (0, 0);
    db.view("b", |txn| {
        for entry in txn.range::<[u8]>(..).step_by(100) {
            entry?;
            let (counts, found) = watch.during(|| db.view("b", |txn| txn.get(key(7))));
            (gets, reads) = (gets + 1, reads + counts.reads);
            assert_eq!(found?.len(), 20);
        }
        Ok(())
    })
    .unwrap();
    println!("{reads} reads in {gets} gets beside a scan");
    assert!(gets == 2_000 && reads <= 30, "{reads} reads in {gets} gets");
}

#[test]
fn what_a_commit_replaced_leaves_the_cache() {
    let db = on(filled(20_000)).cache_bytes(64 << 20).open(NAME).unwrap();
    for round in 0..5 {
        let rewrite = |i| db.exec("b", |txn| txn.put(key(i), [round; 20]));
        (0..20_000).step_by(997).try_for_each(rewrite).unwrap();
        assert!(common::dump(&db, "b").unwrap().len() == 20_000);
        let stats = db.stats().unwrap();
        let held = u64::from(stats.page_count) - stats.free_pages - stats.pending_pages;
        let cached = stats.cached_pages as u64;
        assert!(cached <= held, "{cached} of {held} pages");
    }
}

#[test]
fn an_opening_of_a_foreign_file_writes_nothing() {
    for bytes in [vec![0; 8192], b"PNG".to_vec(), vec![0xFF; 100_000]] {
        let vfs = holding(&bytes);
        let watch = Watch::new(vfs.clone());
        let (ops, opened) = watch.record(|| on(watch.clone()).open(NAME));
        assert_eq!(opened.unwrap_err(), Error::Corruption);
        assert!(!ops.iter().any(|op| op.is_change() || op.is_sync()), "{ops:?}");
        assert_eq!(vfs.read_file(NAME).unwrap(), bytes);
    }
}

/// Not even what would be written as it is: a disk that refuses it would hide what is wrong.
#[test]
fn a_store_that_is_refused_is_not_written_to() {
    let (memory, watch) = Watch::memory();
    let db = open(&memory).unwrap();
    for n in 0..3_u8 {
        db.exec("b", |txn| txn.put("k", [n])).unwrap();
    }
    // As a kill leaves it.
    let mut bytes = memory.read_file(NAME).unwrap();
    drop(db);
    let size = usize::try_from(PAGE).unwrap();
    let txn = |slot: usize| {
        u64::from_le_bytes(bytes[slot * size + HEADER_TXN..][..8].try_into().unwrap())
    };
    let newest = usize::from(txn(1) > txn(0));
    let slot = &mut bytes[newest * size..][..size];
    assert_eq!(slot[META_BUCKETS], 1);
    slot[META_BUCKETS] += 1;
    common::put_checksum(slot);
    memory.write_file(NAME, &bytes);
    let (counts, refused) = watch.during(|| on(watch.clone()).open(NAME).map(drop));
    assert_eq!(refused, Err(Error::Corruption));
    assert!(counts.is_silent(), "{counts:?}");
    watch.hook(|op| if op.is_change() { Err(io::Error::other("worn out")) } else { Ok(()) });
    assert_eq!(on(watch.clone()).open(NAME).map(drop), Err(Error::Corruption));
}

#[test]
fn a_cut_that_is_told_as_failed_loses_no_later_commit() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    let put = |i: u32| db.exec("b", |txn| txn.put(i.to_be_bytes(), [b'v'; 60]));
    db.exec("b", |txn| (0..400_u32).try_for_each(|i| txn.put(i.to_be_bytes(), [b'v'; 60])))
        .unwrap();
    let from = 40_u32.to_be_bytes();
    db.exec("b", |txn| txn.delete_range::<[u8]>(from.as_slice()..).map(drop)).unwrap();
    let memory = vfs.clone();
    watch.hook(move |op| match op {
        Op::SetLen(len) if *len < file_len(&memory) => {
            memory.open(Path::new(NAME), OpenMode::ReadWrite)?.set_len(*len)?;
            Err(io::Error::other("told late"))
        }
        _ => Ok(()),
    });
    assert_eq!(db.compact(0), Err(Error::IoError));
    watch.unhook();
    for i in 1000..1040_u32 {
        put(i).unwrap();
        // What the next process finds if this one is killed now.
        let copy = open(&holding(&vfs.read_file(NAME).unwrap())).unwrap();
        assert!(copy.view("b", |txn| txn.contains(i.to_be_bytes())).unwrap(), "{i}");
    }
}

#[test]
fn a_bad_sector_in_a_page_that_was_replaced_does_not_close_the_store() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "1")).unwrap();
    db.exec("b", |txn| txn.put("k", "2")).unwrap();
    let (other, watch) = Watch::memory();
    other.write_file(NAME, &vfs.read_file(NAME).unwrap());
    // The leaf of the first commit, which the second replaced.
    watch.hook(|op| match op {
        Op::Read { offset: 1024, .. } => Err(io::Error::other("a bad sector")),
        _ => Ok(()),
    });
    let db = on(watch.clone()).open(NAME).unwrap();
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"2");
}
