//! Damaged files: what is right is answered, everything else is a typed error that names page
//! and invariant. Never a wrong answer, a panic, a hang, or memory that the file does not call for.
//!
//! Attacks: checksum-covers-page, page-knows-its-id, parent-holds-checksum, child-not-newer,
//! sorted-keys, uniform-depth, cells-disjoint, space-log-replays, valid-meta-whole,
//! bytes-never-panic, errors-stick.

mod common;

#[path = "corruption/bounds.rs"]
mod bounds;
#[path = "corruption/cursors.rs"]
mod cursors;
#[path = "corruption/forge.rs"]
mod forge;
#[path = "corruption/hostile.rs"]
mod hostile;
#[path = "corruption/memory.rs"]
mod memory;
#[path = "corruption/runs.rs"]
mod runs;
#[path = "corruption/samples.rs"]
mod samples;

use btree_store::format::HEADER_SPARE;
use btree_store::{BTree, Error, Result};
use common::counting::Counting;
use common::random::Random;
use common::walk::{Owner, Walk};
use common::{holding, is_deep, open, put_checksum};
use samples::{Sample, samples};
use std::collections::BTreeMap;

/// Each test asks for memory in its own threads.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a damaged file said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// All answers were right.
    Right,
    /// Some answers were errors, the others were right.
    Partly,
    /// The file did not open.
    Refused,
}

/// Asserts that an answer is right, or a corruption error that says what is wrong. Returns
/// whether it is right.
#[track_caller]
fn judge<T: PartialEq + std::fmt::Debug>(found: Result<T>, right: &T, context: &str) -> bool {
    match found {
        Ok(found) => {
            assert!(found == *right, "{context}: a wrong answer");
            true
        }
        Err(error) => {
            assert_named(error, context);
            false
        }
    }
}

/// Asserts that an error is a corruption error that names the invariant, and the page where the
/// violation belongs to one.
#[track_caller]
fn assert_named(error: Error, context: &str) {
    assert_eq!(error, Error::Corruption, "{context}: {}", common::story(error));
    let (page, invariant) = common::corruption(error);
    // The space log's tail and a bucket's record name no page; a page that a transaction built
    // anew has no id yet.
    let may_lack_page =
        ["space-log-replays", "valid-meta-whole", "entry-count", "separators-bound-children"];
    assert!(page.is_some() || may_lack_page.contains(&invariant), "{context}: {invariant}");
}

/// Opens damaged bytes, scans both ways, and asks for every key.
#[track_caller]
fn examine(bytes: &[u8], sample: &Sample, context: &str) -> Verdict {
    let vfs = holding(bytes);
    let db = match open(&vfs) {
        Ok(db) => db,
        Err(error) => {
            assert_named(error, context);
            let after = vfs.read_file(common::NAME);
            assert!(after.as_deref() == Some(bytes), "{context}: a refused file was changed");
            return Verdict::Refused;
        }
    };
    let names: Vec<String> = sample.buckets.keys().cloned().collect();
    let mut is_right = judge(db.buckets(), &names, context);
    for (name, entries) in &sample.buckets {
        is_right &= examine_bucket(&db, name, entries, context);
    }
    let missing = db.view("no such bucket", |_| Ok(()));
    is_right &= judge(missing.or_else(not_found), &(), context);
    if is_right { Verdict::Right } else { Verdict::Partly }
}

/// A missing key or bucket is the right answer where there is none.
fn not_found(error: Error) -> Result<()> {
    if error == Error::NotFound { Ok(()) } else { Err(error) }
}

fn examine_bucket(
    db: &BTree,
    name: &str,
    entries: &BTreeMap<Vec<u8>, Vec<u8>>,
    context: &str,
) -> bool {
    let forward = db.view(name, |txn| Ok(scan(&mut txn.iter(), btree_store::Iter::next_ref)));
    let mut all: Vec<_> = entries.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut is_right = judge(forward, &all, context);
    let backward = db.view(name, |txn| Ok(scan(&mut txn.iter(), btree_store::Iter::prev_ref)));
    all.reverse();
    is_right &= judge(backward, &all, context);
    is_right &= judge(db.view(name, |txn| Ok(txn.len())), &(all.len() as u64), context);
    for (key, value) in entries {
        is_right &= judge(db.view(name, |txn| txn.get(key)), value, context);
    }
    let absent = db.view(name, |txn| txn.get("absent").map(drop));
    is_right & judge(absent.or_else(not_found), &(), context)
}

type StepFn = fn(&mut btree_store::Iter, &mut Vec<u8>, &mut Vec<u8>) -> bool;

fn scan(iter: &mut btree_store::Iter, step: StepFn) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut key, mut value, mut all) = (Vec::new(), Vec::new(), Vec::new());
    while step(iter, &mut key, &mut value) {
        all.push((key.clone(), value.clone()));
    }
    all
}

/// Counts verdicts, to see that the damage is found and that some of it does not matter.
#[derive(Default)]
struct Tally(BTreeMap<Verdict, usize>);

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict).or_insert(0) += 1;
    }

    fn of(&self, verdict: Verdict) -> usize {
        self.0.get(&verdict).copied().unwrap_or(0)
    }
}

#[test]
fn an_undamaged_file_answers_everything() {
    for sample in samples() {
        assert_eq!(examine(&sample.bytes, sample, sample.name), Verdict::Right);
        assert!(open(&holding(&sample.bytes)).unwrap().verify().unwrap().is_sound());
    }
}

/// Changes every other byte of each sample, from byte `first` on, in the way that `change` says;
/// with `BTREE_STORE_DEEP` in the environment each byte.
fn change_bytes(first: usize, change: impl Fn(usize) -> u8) {
    for sample in samples() {
        let (mut bytes, mut tally) = (sample.bytes.clone(), Tally::default());
        let (first, step) = if is_deep() { (0, 1) } else { (first, 2) };
        for at in (first..bytes.len()).step_by(step) {
            let mask = change(at);
            bytes[at] ^= mask;
            tally.add(examine(&bytes, sample, &format!("{}: byte {at} ^ {mask:#x}", sample.name)));
            bytes[at] ^= mask;
        }
        println!("{}: {:?}", sample.name, tally.0);
        assert!(tally.of(Verdict::Partly) > 0);
    }
}

#[test]
fn a_changed_byte_never_gives_a_wrong_answer() {
    change_bytes(0, |_| 0xFF);
}

#[test]
fn a_flipped_bit_never_gives_a_wrong_answer() {
    change_bytes(1, |at| 1 << ((at * 5 + at / 512) % 8));
}

#[test]
fn every_single_bit_of_a_few_pages_matters_or_is_not_used() {
    let sample = &samples()[0];
    let walk = Walk::new(&sample.bytes);
    let owners = walk.owners(walk.newest());
    // One page of each kind.
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for (page, owner) in &owners {
        kinds.insert(format!("{owner:?}"), *page);
    }
    assert!(kinds.len() >= 4, "{kinds:?}");
    let mut bytes = sample.bytes.clone();
    for page in kinds.into_values().filter(|page| *page >= 2) {
        for bit in 0..512 * 8 {
            let at = page as usize * 512 + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            let verdict = examine(&bytes, sample, &format!("page {page}, bit {bit}"));
            assert_ne!(verdict, Verdict::Right, "page {page}, bit {bit} is not covered");
            bytes[at] ^= 1 << (bit % 8);
        }
    }
}

/// A page of the space log is held against what points to it before its words are believed.
#[test]
fn a_page_of_the_space_log_that_is_damaged_or_another_refuses_the_file() {
    let sample = samples().iter().find(|sample| sample.name == "long log").unwrap();
    let walk = Walk::new(&sample.bytes);
    let owners = walk.owners(walk.newest());
    let log: Vec<u32> = owners
        .into_iter()
        .filter(|(_, owner)| *owner == Owner::Log)
        .map(|(page, _)| page)
        .collect();
    assert!(!log.is_empty());
    for page in log {
        let at = page as usize * sample.page_size;
        let refused = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = sample.bytes.clone();
            change(&mut bytes[at..at + sample.page_size]);
            let vfs = holding(&bytes);
            let error = open(&vfs).map(drop).unwrap_err();
            assert!(vfs.read_file(common::NAME).as_deref() == Some(bytes.as_slice()));
            common::corruption(error)
        };
        for bit in 0..sample.page_size * 8 {
            let found = refused(&|page| page[bit / 8] ^= 1 << (bit % 8));
            assert_eq!(found, (Some(page), "checksum-covers-page"), "page {page}, bit {bit}");
        }
        // Whole and in its place, but not the page that is meant: a lost write.
        let found = refused(&|page| {
            page[HEADER_SPARE] ^= 1;
            put_checksum(page);
        });
        assert_eq!(found, (Some(page), "parent-holds-checksum"));
    }
}

#[test]
fn two_swapped_pages_are_noticed() {
    for sample in samples() {
        let page_size = sample.page_size;
        let pages = sample.bytes.len() / page_size;
        let (mut random, mut tally) = (Random::new(1), Tally::default());
        for (one, two) in (0..pages).flat_map(|one| (0..one).map(move |two| (one, two))) {
            // All pairs of the first pages, some of the others.
            if one > 24 && random.below(pages) > 12 {
                continue;
            }
            let mut bytes = sample.bytes.clone();
            let (front, back) = bytes.split_at_mut(one * page_size);
            back[..page_size].swap_with_slice(&mut front[two * page_size..][..page_size]);
            tally.add(examine(&bytes, sample, &format!("{}: {one} and {two}", sample.name)));
        }
        println!("{}: swapped {:?}", sample.name, tally.0);
        assert!(tally.of(Verdict::Partly) > 0);
    }
}

#[test]
fn a_page_with_older_content_is_noticed() {
    for sample in samples() {
        let (page_size, mut noticed) = (sample.page_size, 0);
        for older in &sample.older {
            for page in 2..older.len() / page_size {
                let place = page * page_size..(page + 1) * page_size;
                if older[place.clone()] == sample.bytes[place.clone()] {
                    continue;
                }
                let mut bytes = sample.bytes.clone();
                bytes[place.clone()].copy_from_slice(&older[place]);
                let context = format!("{}: page {page} is older", sample.name);
                noticed += usize::from(examine(&bytes, sample, &context) != Verdict::Right);
            }
            // A lost write of one meta page: the other one has the state.
            for slot in 0..2 {
                let mut bytes = sample.bytes.clone();
                let place = slot * page_size..(slot + 1) * page_size;
                bytes[place.clone()].copy_from_slice(&older[place]);
                let context = format!("{}: slot {slot} is older", sample.name);
                assert_eq!(examine(&bytes, sample, &context), Verdict::Right, "{context}");
            }
        }
        println!("{}: {noticed} older pages noticed", sample.name);
        assert!(noticed > 8, "{}: {noticed}", sample.name);
    }
}

#[test]
fn a_zeroed_a_shifted_and_a_copied_page_are_noticed() {
    for sample in samples() {
        let page_size = sample.page_size;
        let pages = sample.bytes.len() / page_size;
        let place = |page: usize| page * page_size..(page + 1) * page_size;
        let mut tally = Tally::default();
        for page in 0..pages {
            let mut zeroed = sample.bytes.clone();
            zeroed[place(page)].fill(0);
            let mut shifted = sample.bytes.clone();
            shifted.copy_within(0..(pages - page - 1) * page_size, (page + 1) * page_size);
            let mut moved = sample.bytes.clone();
            moved.copy_within(page * page_size.., page.saturating_sub(1) * page_size);
            let mut byte = sample.bytes.clone();
            byte.copy_within(page * page_size..pages * page_size - 1, page * page_size + 1);
            let mut copied = sample.bytes.clone();
            copied.copy_within(place(page), (page + 1) % pages * page_size);
            let all = [
                (zeroed, "zeroed"),
                (shifted, "shifted"),
                (moved, "moved"),
                (byte, "shifted by a byte"),
                (copied, "copied"),
            ];
            for (bytes, what) in all {
                tally.add(examine(&bytes, sample, &format!("{}: {page} {what}", sample.name)));
            }
        }
        println!("{}: {:?}", sample.name, tally.0);
        assert!(tally.of(Verdict::Partly) > 0);
    }
}

#[test]
fn a_file_cut_off_at_any_page_is_refused() {
    for sample in samples() {
        for page in 1..sample.bytes.len() / sample.page_size {
            for len in [page * sample.page_size, page * sample.page_size + 1] {
                let context = format!("{}: cut at {len}", sample.name);
                let verdict = examine(&sample.bytes[..len], sample, &context);
                assert_eq!(verdict, Verdict::Refused, "{context}");
            }
        }
    }
}

/// A call that writes.
enum Call {
    Put(Vec<u8>),
    Del(Vec<u8>),
    Clear,
    Compact,
    Drop,
}

impl Call {
    fn random(random: &mut Random, entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Call {
        let n = random.below(1_000);
        let key = || entries.keys().nth(n % entries.len()).unwrap().clone();
        match random.below(5) {
            0 if !entries.is_empty() => Call::Put(key()),
            1 if !entries.is_empty() => Call::Del(key()),
            2 => Call::Clear,
            3 => Call::Compact,
            _ => Call::Drop,
        }
    }

    fn run(&self, db: &BTree, name: &str) -> Result<()> {
        match self {
            Call::Put(key) => db.exec(name, |txn| txn.put(key, "new")),
            Call::Del(key) => db.exec(name, |txn| txn.del(key)),
            Call::Clear => db.exec(name, |txn| txn.delete_range::<[u8]>(..).map(drop)),
            Call::Compact => db.compact(0).map(drop),
            Call::Drop => db.del_bucket(name),
        }
    }

    /// What the buckets hold when it was done.
    fn apply(self, name: &str, buckets: &mut BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>) {
        let entries = buckets.get_mut(name).unwrap();
        match self {
            Call::Put(key) => drop(entries.insert(key, b"new".to_vec())),
            Call::Del(key) => drop(entries.remove(&key)),
            Call::Clear => entries.clear(),
            Call::Compact => {}
            Call::Drop => drop(buckets.remove(name)),
        }
    }
}

#[test]
fn writing_to_a_damaged_file_never_panics_and_never_spreads_a_wrong_answer() {
    let (mut random, mut failed, mut done) = (Random::new(5), 0, 0);
    for sample in samples() {
        for round in 0..400 {
            let mut bytes = sample.bytes.clone();
            let at = 2 * sample.page_size + random.below(bytes.len() - 2 * sample.page_size);
            bytes[at] ^= 1 << random.below(8);
            let vfs = holding(&bytes);
            let Ok(db) = open(&vfs) else { continue };
            let name = sample.buckets.keys().nth(random.below(sample.buckets.len())).unwrap();
            let context = format!("{}, round {round}: byte {at}, bucket {name}", sample.name);
            let call = Call::random(&mut random, &sample.buckets[name]);
            let mut after = sample.buckets.clone();
            match call.run(&db, name) {
                Ok(()) => {
                    done += 1;
                    call.apply(name, &mut after);
                }
                // Nothing has changed, and what is whole can be read.
                Err(error) => {
                    failed += 1;
                    assert_named(error, &context);
                }
            }
            assert_holds(&db, &after, &context);
            drop(db);
            match open(&vfs) {
                Ok(db) => assert_holds(&db, &after, &format!("{context}, opened again")),
                Err(error) => assert_named(error, &context),
            }
        }
    }
    println!("{failed} calls failed, {done} did not meet the damage");
    assert!(failed > 50 && done > 500);
}

/// What is answered of the buckets, and of which there are, is right.
#[track_caller]
fn assert_holds(db: &BTree, buckets: &BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>, context: &str) {
    judge(db.buckets(), &buckets.keys().cloned().collect(), context);
    for (name, entries) in buckets {
        examine_bucket(db, name, entries, context);
    }
}
