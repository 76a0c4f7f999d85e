//! The store by its parts, through its public interface and on files in memory.
//!
//! Each benchmark is arranged so that one part carries nearly all of the cost: a bucket of one
//! leaf for the search in a node, a large one for the way down, no cache for loading pages, one
//! key for a commit, a reopened file for recovery.

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Options};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const BUCKET: &str = "b";
/// About what a leaf of small pairs holds.
const LEAF: u32 = 100;
const LARGE: u32 = 100_000;
const AMPLE: u64 = 256 << 20;

fn key(number: u32) -> String {
    format!("key_{number:06}")
}

/// Numbers below `end`, without a visible order.
fn strewn(count: u32, end: u32) -> Vec<String> {
    (0..count).map(|i| key(i.wrapping_mul(2_654_435_761) % end)).collect()
}

fn open(vfs: &MemVfs, cache_bytes: u64) -> BTree {
    let options = Options::new().vfs(Arc::new(vfs.clone())).cache_bytes(cache_bytes);
    options.open("data").expect("a file in memory opens")
}

/// A file with so many pairs.
fn filled(pairs: u32) -> MemVfs {
    let vfs = MemVfs::new();
    let db = open(&vfs, AMPLE);
    db.exec(BUCKET, |txn| (0..pairs).try_for_each(|i| txn.put(key(i), "val_000000")))
        .expect("memory does not fail");
    vfs
}

/// Gets in one transaction: the search in a node, or the way down to it.
fn gets(criterion: &mut Criterion, name: &str, pairs: u32, cache_bytes: u64) {
    let db = open(&filled(pairs), cache_bytes);
    let keys = strewn(1_000, pairs);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("get", |bencher| {
        bencher.iter(|| {
            db.view(BUCKET, |txn| {
                keys.iter().try_for_each(|key| txn.get(key).map(|value| drop(black_box(value))))
            })
            .expect("every key is there");
        });
    });
    group.finish();
}

fn node(criterion: &mut Criterion) {
    gets(criterion, "node: a bucket of one leaf", LEAF, AMPLE);
}

fn tree(criterion: &mut Criterion) {
    gets(criterion, "tree: 100,000 pairs", LARGE, AMPLE);
    let keys = strewn(10_000, LARGE);
    let mut group = criterion.benchmark_group("tree: 10,000 puts in one transaction");
    group.throughput(Throughput::Elements(keys.len() as u64)).sample_size(20);
    group.bench_function("put", |bencher| {
        let put = |db: BTree| {
            db.exec(BUCKET, |txn| keys.iter().try_for_each(|key| txn.put(key, "val_000000")))
                .expect("memory does not fail");
            db
        };
        bencher.iter_batched(|| open(&MemVfs::new(), AMPLE), put, BatchSize::LargeInput);
    });
    group.finish();
}

/// Without a cache each page of the way down is read and checked.
fn cache(criterion: &mut Criterion) {
    gets(criterion, "cache: none, 100,000 pairs", LARGE, 0);
}

fn view(criterion: &mut Criterion) {
    let db = open(&filled(LEAF), AMPLE);
    criterion.bench_function("reader: an empty view", |bencher| {
        bencher.iter(|| db.view(BUCKET, |_| Ok(())).expect("the bucket is there"));
    });
}

fn commit(criterion: &mut Criterion) {
    let db = open(&filled(LARGE), AMPLE);
    let keys = strewn(1_000, LARGE);
    let mut next = keys.iter().cycle();
    let mut count = 0_u64;
    criterion.bench_function("commit: one key of 100,000", |bencher| {
        bencher.iter(|| {
            let key = next.next().expect("the cycle has no end");
            count += 1;
            db.exec(BUCKET, |txn| txn.put(key, count.to_le_bytes())).expect("memory does not fail");
        });
    });
}

fn recovery(criterion: &mut Criterion) {
    let vfs = filled(LARGE);
    criterion.bench_function("recovery: open what was closed, 100,000 pairs", |bencher| {
        bencher.iter(|| black_box(open(&vfs, AMPLE)));
    });
    let killed = killed();
    criterion.bench_function("recovery: open what was killed, 100,000 pairs", |bencher| {
        let copy = || killed_copy(&killed);
        bencher.iter_batched(copy, |vfs| black_box(open(&vfs, AMPLE)), BatchSize::LargeInput);
    });
}

/// The bytes of a file whose store went on.
fn killed() -> Vec<u8> {
    let vfs = filled(LARGE);
    let db = open(&vfs, AMPLE);
    db.exec(BUCKET, |txn| txn.put("key", "value")).expect("memory does not fail");
    let bytes = vfs.read_file("data").expect("the file is there");
    drop(db);
    bytes
}

fn killed_copy(bytes: &[u8]) -> MemVfs {
    let vfs = MemVfs::new();
    vfs.write_file("data", bytes);
    vfs
}

criterion_group!(parts, node, tree, cache, view, commit, recovery);
criterion_main!(parts);
