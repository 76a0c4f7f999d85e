//! Operations from bytes: those of the oracle's workload, and bulks, so that a short input leads
//! to a high tree.

use super::input::Input;
use btree_store::sim::oracle::{
    By, Data, End, Exec, KeyShape, Op, Part, Source, SourceEnd, Step, ValueShape, Workload, Write,
};
use btree_store::{Durability, Error};
use std::ops::Bound;

const KEY_SHAPES: [KeyShape; 6] = [
    KeyShape::Short,
    KeyShape::Mixed,
    KeyShape::SharedPrefix,
    KeyShape::Nested,
    KeyShape::Sequential,
    KeyShape::Longest,
];
const VALUE_SHAPES: [ValueShape; 5] =
    [ValueShape::Small, ValueShape::Mixed, ValueShape::Edge, ValueShape::Large, ValueShape::Empty];

/// Of eight write transactions, how many an input defers, by its first byte. Few bytes ask for any,
/// so that the other inputs mean what they meant before there were deferred commits.
fn deferred(data: &[u8]) -> u32 {
    match data.first() {
        Some(232..=235) => 3,
        Some(236..=239) => 5,
        Some(240..=243) => 8,
        _ => 0,
    }
}

/// Whether the first byte of an input asks for owned transactions, and for many ranges that are
/// removed. No more of them do, for the same reason.
fn is_various(data: &[u8]) -> bool {
    matches!(data.first(), Some(244..=247))
}

/// Whether the first byte of an input asks for values from readers, and for bulk loads.
fn is_filling(data: &[u8]) -> bool {
    matches!(data.first(), Some(248..=251))
}

/// What the first byte of an input adds to its workload.
pub fn tune(workload: &mut Workload, data: &[u8]) {
    workload.deferred = deferred(data);
    if is_various(data) {
        (workload.owned, workload.ranges, workload.phase) = (4, 4, 16);
    }
    if is_filling(data) {
        (workload.owned, workload.readers, workload.bulks, workload.rivals) = (4, 5, 5, 4);
    }
}

/// The workload that the next bytes ask for.
pub fn workload(input: &mut Input<'_>, page_size: u32) -> Workload {
    let mut workload = Workload::new(page_size, input.pick(&KEY_SHAPES), input.pick(&VALUE_SHAPES));
    workload.key_count = input.pick(&[16, 60, 250]);
    workload.bucket_count = input.pick(&[2, 1, 4, 40]);
    workload
}

fn len_of(value: usize) -> u32 {
    u32::try_from(value).expect("it is a number of few bytes")
}

/// A key of a bulk: short ones, and ones so long that branches hold few.
fn key(number: u32, len: usize) -> Data {
    let mut key = number.to_be_bytes()[2..].to_vec();
    key.resize(2 + len, b'k');
    key.into()
}

/// Many puts, or many removals, of keys at regular distances, in one transaction; now and then a
/// compaction. It has no cursors, and no calls inside calls.
fn bulk(input: &mut Input<'_>, page_size: u32) -> Op {
    if input.once_in(12) {
        return if input.once_in(4) { Op::DelBucket("b0".into()) } else { Op::Compact(0) };
    }
    let (first, stride) = (len_of(input.below(256)), 1 + len_of(input.below(5)));
    let count = 1 + len_of(input.below(48));
    let key_len = input.pick(&[2, 60, 20, 100]);
    let page = usize::try_from(page_size).expect("a page size fits");
    let value = vec![b'v'; input.pick(&[8, 40, page / 4, page / 2, page * 2])];
    let removes = input.once_in(3);
    let descends = input.once_in(4);
    let entry = |at: u32| {
        let at = if descends { count - 1 - at } else { at };
        (key(first + at * stride, key_len), Data::from(&value))
    };
    let writes: Vec<Write> = if !removes && !descends && input.once_in(4) {
        vec![Write::BulkLoad((0..count).map(entry).collect())]
    } else {
        let entries = (0..count).map(entry);
        let write = |(key, value)| if removes { Write::Del(key) } else { Write::Put(key, value) };
        entries.map(write).collect()
    };
    let steps: Vec<Step> = writes.into_iter().map(Step::Write).collect();
    let bucket = format!("b{}", input.below(3));
    let end = if input.once_in(16) { End::Panic } else { End::Commit };
    if input.once_in(8) {
        let (early, late) = steps.split_at(steps.len() / 2);
        let part = |steps: &[Step], bucket: &str, end| {
            Part::Exec(Exec { bucket: bucket.to_owned(), steps: steps.to_vec(), end })
        };
        let savepoint = End::Fail(Error::Conflict);
        let parts = vec![part(early, &bucket, End::Commit), part(late, "b0", savepoint)];
        return Op::Multi { parts, end };
    }
    Op::Exec(Exec { bucket, steps, end })
}

/// The bulks of an input, by its first byte.
pub fn bulks(data: &[u8]) -> fn(&mut Input<'_>, u32) -> Op {
    match data {
        _ if is_various(data) => various_bulk,
        _ if is_filling(data) => filling_bulk,
        _ if deferred(data) > 0 => deferring_bulk,
        _ => bulk,
    }
}

/// As [`bulk`], or puts of few keys, which are in two leaves or three; or some of these are
/// removed, and then a range of them. Some are owned.
fn various_bulk(input: &mut Input<'_>, page_size: u32) -> Op {
    const KEYS: usize = 24;
    if input.once_in(4) {
        return bulk(input, page_size);
    }
    let place = |number: usize| key(len_of(number % KEYS), 20);
    let (first, count) = (input.below(KEYS), 1 + input.below(KEYS));
    let page = usize::try_from(page_size).expect("a page size fits");
    let writes: Vec<Write> = if input.once_in(2) {
        let dels = (0..count % 4).map(|at| Write::Del(place(first + at)));
        let end = Bound::Excluded(place(input.below(KEYS)));
        dels.chain([Write::DeleteRange(Bound::Unbounded, end)]).collect()
    } else {
        let value = vec![b'v'; input.pick(&[page * 2, 8, page / 2])];
        (0..count).map(|at| Write::Put(place(first + at), Data::from(&value))).collect()
    };
    let steps = writes.into_iter().map(Step::Write).collect();
    let exec = Exec { bucket: "b0".to_owned(), steps, end: End::Commit };
    perhaps_owned(exec, input.below(8))
}

/// The transaction of a closure, or an owned one that commits, or one that is dropped.
fn perhaps_owned(exec: Exec, how: usize) -> Op {
    match how {
        0 => Op::Owned { by: By::Begin, exec },
        1 => Op::Owned { by: By::Transact, exec },
        2 => Op::Owned { by: By::Begin, exec: Exec { end: End::Fail(Error::Conflict), ..exec } },
        _ => Op::Exec(exec),
    }
}

/// As [`bulk`], or a few values from readers, or a bulk behind what may be there, with or without a
/// key that does not ascend; half of them are owned.
fn filling_bulk(input: &mut Input<'_>, page_size: u32) -> Op {
    /// Longer than what is written at once.
    const LONG: usize = (256 << 10) + 1;
    if input.once_in(6) {
        return bulk(input, page_size);
    }
    let (first, count) = (input.below(48), 1 + input.below(10));
    let page = usize::try_from(page_size).expect("a page size fits");
    let len = if input.once_in(32) { LONG } else { input.pick(&[page * 2, 8, page / 2, page]) };
    let value = Data::from(vec![b'v'; len]);
    let place = |number: usize| key(len_of(number), 20);
    let writes = if input.once_in(3) {
        let odd = if input.once_in(6) { count / 2 } else { count };
        let number = |at| if at == odd { first } else { first + at };
        let keys = (0..count).map(|at| place(number(at)));
        vec![Write::BulkLoad(keys.map(|key| (key, Data::from("bulk"))).collect())]
    } else {
        let given = len_of(input.below(256)) * len_of(len) / 255;
        let end = [SourceEnd::There, SourceEnd::Short(given), SourceEnd::Fails(given)];
        let source = Source { piece_max: input.pick(&[u32::MAX, 100, 4096]), end: end[0] };
        let odd = Source { end: input.pick(&end), ..source };
        let put = |at| Write::PutFrom {
            key: place(first + at),
            value: value.clone(),
            source: if at == 0 { odd } else { source },
        };
        (0..count.min(4)).map(put).collect()
    };
    let steps = writes.into_iter().map(Step::Write).collect();
    perhaps_owned(Exec { bucket: "b0".to_owned(), steps, end: End::Commit }, input.below(6))
}

/// As [`bulk`]; most are deferred, or a sync comes in their place.
fn deferring_bulk(input: &mut Input<'_>, page_size: u32) -> Op {
    let kind = input.below(4);
    if kind == 3 {
        return Op::Sync;
    }
    match bulk(input, page_size) {
        Op::Exec(mut exec) if kind > 0 => {
            exec.steps.insert(0, Step::Durability(Durability::Deferred));
            Op::Exec(exec)
        }
        Op::Multi { mut parts, end } if kind > 0 => {
            parts.insert(0, Part::Durability(Durability::Deferred));
            Op::Multi { parts, end }
        }
        op => op,
    }
}
