//! Is a chain of increments the state that its last part was made of, whatever happened between
//! them, and is anything else that is put together refused?

use super::twin::{Contents, Entries};
use super::{
    COPY, NAME, contents, contents_of, in_little_memory, is_left, options, random_contents,
};
use crate::common::random::Random;
use crate::common::{put_checksum, story};
use btree_store::format::{
    META_BODY, META_CATALOG_LEN, META_FLAGS, META_ITEMS, META_LOG_HEAD, META_LOG_PAGES,
    META_TAIL_WORDS,
};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, BackupStats, Error, Options, Result, Snapshot};
use std::sync::Arc;

/// A part of a chain, and the state that it was made of.
struct Part {
    stream: Vec<u8>,
    stats: BackupStats,
    contents: Contents,
}

fn part(snapshot: &Snapshot, since: u64) -> Part {
    let mut stream = Vec::new();
    let stats = snapshot.backup_since(since, &mut stream).unwrap();
    assert_eq!((stats.seq, stats.written_bytes), (snapshot.seq(), stream.len() as u64));
    Part { stream, stats, contents: contents(snapshot).unwrap() }
}

fn chain(vfs: &MemVfs, parts: &[&Part], path: &str) -> Result<BackupStats> {
    let streams = parts.iter().map(|part| part.stream.as_slice());
    Options::new().vfs(Arc::new(vfs.clone())).restore_chain(streams, path)
}

fn apply(vfs: &MemVfs, base: &str, part: &Part, path: &str) -> Result<BackupStats> {
    let base = options(vfs, 512).must_exist().open(base)?;
    base.snapshot().apply_backup(&mut part.stream.as_slice(), path)
}

/// A restored file, which is whole, has the numbers of its source, and can be worked with.
#[track_caller]
fn check(vfs: &MemVfs, path: &str, wanted: &Part) {
    assert!(contents_of(vfs, path) == wanted.contents, "{path} is not the state");
    let copy = vfs.snapshot();
    let db = options(&copy, 512).open(path).unwrap();
    assert_eq!(db.current_seq(), wanted.stats.seq);
    let mut contents = wanted.contents.clone();
    // What counts as free is written to.
    for round in 0..3_u8 {
        let large = vec![round; 1_500];
        db.exec("later", |txn| (0..40_u8).try_for_each(|key| txn.put([key, round], &large)))
            .unwrap();
        let entries = contents.entry("later".to_owned()).or_default();
        entries.extend((0..40).map(|key| (vec![key, round], large.clone())));
    }
    db.compact(0).unwrap();
    drop(db);
    assert!(contents_of(&copy, path) == contents, "{path} after it was written to");
}

/// Changes some of a store, so that trees grow, shrink, lose leaves, and buckets come and go.
fn change(db: &BTree, random: &mut Random) {
    let names = ["a", "b", "c", "d", "e"];
    let name = names[random.below(names.len())];
    match random.below(12) {
        0 => match db.del_bucket(name) {
            Ok(()) | Err(Error::NotFound) => {}
            Err(error) => panic!("{error}"),
        },
        1 => drop(db.compact(0).unwrap()),
        2 | 3 => {
            let (from, len) = (random.below(300), random.below(120));
            db.exec(name, |txn| {
                let key = |at: usize| format!("key {at:05}").into_bytes();
                txn.delete_range(key(from).as_slice()..key(from + len).as_slice())
            })
            .unwrap();
        }
        4 => {
            // Many buckets: the catalog becomes a tree, and is none again.
            let (first, is_made) = (random.below(40), random.below(2) == 0);
            db.exec_multi(|multi| {
                (first..first + 25).try_for_each(|number| {
                    let name = format!("bucket {number:03}");
                    if is_made {
                        return multi.exec(&name, |_| Ok(()));
                    }
                    match multi.del_bucket(&name) {
                        Err(Error::NotFound) => Ok(()),
                        done => done,
                    }
                })
            })
            .unwrap();
        }
        _ => {
            let (count, longest) = (1 + random.below(40), [20, 120, 3_000][random.below(3)]);
            db.exec(name, |txn| {
                for _ in 0..count {
                    let key = format!("key {:05}", random.below(400));
                    let len = random.below(longest);
                    match random.below(3) {
                        0 => match txn.del(&key) {
                            Ok(()) | Err(Error::NotFound) => {}
                            Err(error) => return Err(error),
                        },
                        _ => txn.put(&key, random.bytes(len))?,
                    }
                }
                Ok(())
            })
            .unwrap();
        }
    }
}

#[test]
fn a_chain_is_the_state_whatever_happened_between_its_parts() {
    for seed in 0..24 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let (vfs, other) = (MemVfs::new(), MemVfs::new());
        let db = options(&vfs, 512).open(NAME).unwrap();
        for _ in 0..random.below(20) {
            change(&db, &mut random);
        }
        let mut parts = vec![part(&db.snapshot(), 0)];
        let mut held = Vec::new();
        for number in 1..=4 {
            // A reader keeps old pages alive, and some are backed up when they are old already.
            held.push(db.snapshot());
            for _ in 0..random.below(8) {
                change(&db, &mut random);
            }
            let snapshot = db.snapshot();
            for _ in 0..random.below(3) {
                change(&db, &mut random);
            }
            let since = parts[number - 1].stats.seq;
            parts.push(part(&snapshot, since));
            if random.below(2) == 0 {
                held.clear();
            }
        }
        for last in 1..=parts.len() {
            let chosen: Vec<&Part> = parts[..last].iter().collect();
            let path = format!("chain {last}");
            let stats = chain(&other, &chosen, &path).unwrap();
            let wanted = chosen[last - 1];
            let file = other.read_file(&path).unwrap();
            assert_eq!((stats.seq, stats.written_bytes), (wanted.stats.seq, file.len() as u64));
            assert_eq!(super::counts(stats), super::counts_of(&wanted.contents));
            check(&other, &path, wanted);
            // The same, one at a time.
            if last > 1 {
                let path = format!("applied {last}");
                let base = format!("chain {}", last - 1);
                assert_eq!(apply(&other, &base, wanted, &path).unwrap(), stats);
                assert!(contents_of(&other, &path) == wanted.contents, "{path}");
            }
        }
        assert!(db.verify().unwrap().is_sound());
    }
}

#[test]
fn whatever_a_store_holds_goes_through_pages_too() {
    for seed in 0..12 {
        println!("seed {seed}");
        let page_size = [512, 1_024, 4_096][usize::try_from(seed).unwrap() % 3];
        let wanted = random_contents(&mut Random::new(seed), page_size);
        let (vfs, other) = (MemVfs::new(), MemVfs::new());
        let db = options(&vfs, u32::try_from(page_size).unwrap()).open(NAME).unwrap();
        super::fill(&db, &wanted);
        let all = part(&db.snapshot(), 0);
        assert!(all.contents == wanted);
        // One is restored as any stream is.
        let stats = super::restore(&other, &all.stream).unwrap();
        assert_eq!(super::counts(stats), super::counts_of(&wanted));
        assert_eq!(super::counts(all.stats), super::counts_of(&wanted));
        check(&other, COPY, &all);
    }
}

#[test]
fn a_store_without_anything_and_one_without_changes_go_through_pages() {
    let (vfs, other) = (MemVfs::new(), MemVfs::new());
    let db = options(&vfs, 512).open(NAME).unwrap();
    let empty = part(&db.snapshot(), 0);
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let some = part(&db.snapshot(), 0);
    let same = part(&db.snapshot(), some.stats.seq);
    assert_eq!((same.stats.entries, same.stats.buckets), (0, 1));
    let first = part(&db.snapshot(), empty.stats.seq);
    for (number, parts) in
        [vec![&empty], vec![&empty, &first], vec![&some, &same, &same]].iter().enumerate()
    {
        let path = format!("chain {number}");
        chain(&other, parts, &path).unwrap();
        check(&other, &path, parts[parts.len() - 1]);
    }
}

/// A store of these contents with some later changes, and its chain of three.
fn three(seed: u64) -> (BTree, [Part; 3]) {
    let mut random = Random::new(seed);
    let db = options(&MemVfs::new(), 512).open(NAME).unwrap();
    db.exec("a", |txn| (0..400_u32).try_for_each(|at| txn.put(at.to_be_bytes(), random.bytes(20))))
        .unwrap();
    let first = part(&db.snapshot(), 0);
    db.exec("a", |txn| txn.put(7_u32.to_be_bytes(), random.bytes(700))).unwrap();
    let second = part(&db.snapshot(), first.stats.seq);
    db.exec("a", |txn| txn.del(300_u32.to_be_bytes())).unwrap();
    let third = part(&db.snapshot(), second.stats.seq);
    (db, [first, second, third])
}

/// Refuses what was put together, without leaving a trace. Returns what the error says.
#[track_caller]
fn refused(vfs: &MemVfs, made: Result<BackupStats>) -> String {
    assert_eq!(made, Err(Error::Invalid));
    assert!(vfs.read_file(COPY).is_none() && !is_left(vfs));
    story(Error::Invalid)
}

#[test]
fn parts_in_another_order_are_refused() {
    let (_, [first, second, third]) = three(1);
    let vfs = MemVfs::new();
    let wrong: [&[&Part]; 7] = [
        &[],
        &[&second],
        &[&second, &first],
        &[&first, &third],
        &[&first, &first],
        &[&first, &second, &second],
        &[&first, &second, &third, &first],
    ];
    for parts in wrong {
        let seqs: Vec<u64> = parts.iter().map(|part| part.stats.seq).collect();
        println!("{seqs:?}");
        refused(&vfs, chain(&vfs, parts, COPY));
    }
    chain(&vfs, &[&first], "first").unwrap();
    chain(&vfs, &[&first, &second], "second").unwrap();
    let before = ["first", "second"].map(|name| vfs.read_file(name).unwrap());
    for (base, part) in [("first", &third), ("second", &second), ("first", &first)] {
        let story = refused(&vfs, apply(&vfs, base, part, COPY));
        assert!(story.contains("since another state"), "{story}");
    }
    assert!(["first", "second"].map(|name| vfs.read_file(name).unwrap()) == before);
}

#[test]
fn parts_of_two_stores_are_refused_though_their_numbers_fit() {
    let ((_, [first, second, third]), (_, [others, other_second, other_third])) =
        (three(1), three(2));
    assert_eq!(second.stats.seq, other_second.stats.seq);
    let vfs = MemVfs::new();
    for parts in [
        vec![&first, &other_second],
        vec![&others, &second],
        vec![&first, &second, &other_third],
        vec![&first, &other_second, &third],
    ] {
        let story = refused(&vfs, chain(&vfs, &parts, COPY));
        assert!(story.contains("two stores"), "{story}");
    }
    chain(&vfs, &[&first], "base").unwrap();
    refused(&vfs, apply(&vfs, "base", &other_second, COPY));
    // The same store, which went on by itself where the source went on otherwise.
    let base = options(&vfs, 512).open("base").unwrap();
    base.exec("a", |txn| txn.put(9_u32.to_be_bytes(), "mine")).unwrap();
    assert_eq!(base.current_seq(), second.stats.seq);
    drop(base);
    refused(&vfs, apply(&vfs, "base", &third, COPY));
}

#[test]
fn a_store_that_was_written_to_is_no_base_any_more() {
    let (_, [first, second, _]) = three(1);
    let vfs = MemVfs::new();
    chain(&vfs, &[&first], "base").unwrap();
    // Opening and closing it changes nothing.
    drop(options(&vfs, 512).open("base").unwrap());
    apply(&vfs, "base", &second, "applied").unwrap();
    check(&vfs, "applied", &second);
    let base = options(&vfs, 512).open("base").unwrap();
    base.exec("mine", |txn| txn.put("k", "v")).unwrap();
    drop(base);
    refused(&vfs, apply(&vfs, "base", &second, COPY));
}

#[test]
fn a_copy_of_the_file_is_a_base_too() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    let mut random = Random::new(5);
    (0..30).for_each(|_| change(&db, &mut random));
    let copy = vfs.snapshot();
    let since = db.current_seq();
    (0..5).for_each(|_| change(&db, &mut random));
    let later = part(&db.snapshot(), since);
    apply(&copy, NAME, &later, COPY).unwrap();
    check(&copy, COPY, &later);
}

#[test]
fn other_forms_other_sizes_and_later_states_are_refused() {
    let (db, [first, second, _]) = three(1);
    let vfs = MemVfs::new();
    let entries = super::stream_of(&db.snapshot());
    let of_entries = Part { stream: entries, ..part(&db.snapshot(), 0) };
    refused(&vfs, chain(&vfs, &[&of_entries], COPY));
    refused(&vfs, chain(&vfs, &[&first, &of_entries], COPY));
    chain(&vfs, &[&first], "base").unwrap();
    refused(&vfs, apply(&vfs, "base", &of_entries, COPY));
    refused(&vfs, super::restore(&vfs, &second.stream));
    let sized = options(&vfs, 1_024).restore(&mut first.stream.as_slice(), COPY);
    refused(&vfs, sized);
    let mut nothing = Vec::new();
    let later = db.backup_since(db.current_seq() + 1, &mut nothing);
    assert_eq!((later, nothing.len()), (Err(Error::Invalid), 0));
    let exists = options(&vfs, 512).restore(&mut first.stream.as_slice(), "base");
    assert_eq!(exists, Err(Error::Duplicate));
}

#[test]
fn every_truncation_and_every_other_byte_of_an_increment_is_refused() {
    let (_, [first, second, _]) = three(1);
    let vfs = MemVfs::new();
    chain(&vfs, &[&first], "base").unwrap();
    let base = options(&vfs, 512).open("base").unwrap().snapshot();
    let refused = |stream: &[u8], what: &dyn Fn() -> String| {
        let made = in_little_memory(stream, || base.apply_backup(&mut &*stream, COPY));
        assert_eq!(made, Err(Error::Corruption), "{}", what());
        assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs), "{}", what());
    };
    let stream = &second.stream;
    for len in (0..stream.len()).filter(|len| *len < 200 || len % 13 == 0) {
        refused(&stream[..len], &|| format!("{len} bytes"));
    }
    for at in 0..stream.len() {
        let mut damaged = stream.clone();
        damaged[at] ^= if at % 2 == 0 { 1 } else { 0x80 };
        refused(&damaged, &|| format!("byte {at}"));
    }
    base.apply_backup(&mut stream.as_slice(), COPY).unwrap();
    check(&vfs, COPY, &second);
}

/// How long an increment is, in pages of 512 bytes.
fn pages_since(db: &BTree, since: u64) -> u64 {
    db.backup_since(since, &mut std::io::sink()).unwrap().written_bytes / 512
}

#[test]
fn an_increment_is_as_long_as_what_changed() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    let key = |at: u32| at.to_be_bytes();
    db.exec("a", |txn| (0..20_000).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
    db.exec_multi(|multi| {
        (0..300).try_for_each(|n| multi.exec(format!("other {n:03}"), |txn| txn.put("k", "v")))
    })
    .unwrap();
    let all = pages_since(&db, 0);
    assert!(all > 1_500, "{all} pages");
    let report = db.verify().unwrap();
    let levels = report.accepted().unwrap().buckets.iter().filter_map(|bucket| bucket.level).max();
    let levels = u64::from(levels.unwrap()) + 1;
    for changes in [1_u32, 5, 25] {
        let since = db.current_seq();
        db.exec("a", |txn| {
            (0..changes).try_for_each(|at| txn.put(key(at * 797), [changes.to_le_bytes()[0]; 30]))
        })
        .unwrap();
        let pages = pages_since(&db, since);
        // Each change a way through the bucket; one way through the catalog; the meta page.
        let most = u64::from(changes) * levels + levels + 2;
        assert!(pages <= most, "{pages} pages for {changes} changes, at most {most}");
        assert!(pages > u64::from(changes), "{pages} pages for {changes} changes");
    }
}

#[test]
fn to_find_what_changed_only_siblings_of_it_are_read() {
    let vfs = MemVfs::new();
    let key = |at: u32| at.to_be_bytes();
    let since = {
        let db = options(&vfs, 512).open(NAME).unwrap();
        db.exec("a", |txn| (0..20_000).try_for_each(|at| txn.put(key(at), [7; 30]))).unwrap();
        let since = db.current_seq();
        db.exec("a", |txn| txn.put(key(777), [8; 30])).unwrap();
        since
    };
    let db = Options::new().cache_bytes(0).vfs(Arc::new(vfs)).open(NAME).unwrap();
    let before = db.stats().unwrap().pages_read;
    db.backup_since(since, &mut Vec::new()).unwrap();
    let read = db.stats().unwrap().pages_read - before;
    // A page of 512 bytes has less than 60 children; there are three levels of branches.
    assert!(read < 4 * 60, "{read} pages were read");
    assert!(db.stats().unwrap().page_count > 1_500);
}

#[test]
fn values_with_pages_of_their_own_go_through_in_pieces() {
    let (vfs, other) = (MemVfs::new(), MemVfs::new());
    let db = options(&vfs, 512).open(NAME).unwrap();
    let mut random = Random::new(4);
    let mut large = |len| random.bytes(len);
    db.exec("a", |txn| txn.put("k", large(3 * super::PIECE + 7))).unwrap();
    let first = part(&db.snapshot(), 0);
    db.exec("b", |txn| txn.put("k", large(2 * super::PIECE))).unwrap();
    let second = part(&db.snapshot(), first.stats.seq);
    assert!(second.stream.len() < 2 * super::PIECE + 4_096, "the first value is not sent again");
    db.exec("a", |txn| txn.put("beside it", "v")).unwrap();
    let third = part(&db.snapshot(), second.stats.seq);
    assert!(third.stream.len() > 3 * super::PIECE, "its leaf was written anew");
    chain(&other, &[&first, &second, &third], COPY).unwrap();
    check(&other, COPY, &third);
}

#[test]
fn free_places_in_pieces_make_a_log_of_pages() {
    let (vfs, other) = (MemVfs::new(), MemVfs::new());
    let db = options(&vfs, 512).open(NAME).unwrap();
    db.exec("a", |txn| (0..3_000_u32).try_for_each(|at| txn.put(at.to_be_bytes(), [7; 200])))
        .unwrap();
    for at in (0..3_000_u32).step_by(5) {
        db.exec("a", |txn| txn.del(at.to_be_bytes())).unwrap();
    }
    let all = part(&db.snapshot(), 0);
    chain(&other, &[&all], COPY).unwrap();
    let report = btree_store::verify::verify_path(&other, COPY).unwrap();
    let state = report.accepted().unwrap();
    println!("{} pages of the log, {} free", state.log_pages, state.free);
    assert!(state.log_pages > 1 && state.pending == 0, "{report}");
    check(&other, COPY, &all);
}

#[test]
fn a_bucket_that_came_again_is_the_later_one() {
    let (vfs, other) = (MemVfs::new(), MemVfs::new());
    let db = options(&vfs, 512).open(NAME).unwrap();
    let fill = |round: u8, count: u32| {
        db.exec("a", |txn| (0..count).try_for_each(|at| txn.put(at.to_be_bytes(), [round; 40])))
            .unwrap();
    };
    fill(1, 300);
    db.exec("kept", |txn| txn.put("k", "v")).unwrap();
    let first = part(&db.snapshot(), 0);
    db.del_bucket("a").unwrap();
    fill(2, 10);
    let second = part(&db.snapshot(), first.stats.seq);
    let entries: Entries = (0..10_u32).map(|at| (at.to_be_bytes().to_vec(), vec![2; 40])).collect();
    assert!(second.contents["a"] == entries);
    db.del_bucket("a").unwrap();
    let third = part(&db.snapshot(), second.stats.seq);
    db.exec("a", |_| Ok(())).unwrap();
    let last = part(&db.snapshot(), third.stats.seq);
    for (number, parts) in
        [vec![&first, &second], vec![&first, &second, &third], vec![&first, &second, &third, &last]]
            .iter()
            .enumerate()
    {
        let path = format!("chain {number}");
        chain(&other, parts, &path).unwrap();
        check(&other, &path, parts[parts.len() - 1]);
    }
}

/// A process was killed before the sync of its last commit, which the system's cache still has.
#[test]
fn a_chain_begins_on_a_durable_state() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    db.exec("a", |txn| txn.put("k", "first")).unwrap();
    let on_disk = vfs.snapshot();
    db.exec("a", |txn| txn.put("k", "lost")).unwrap();
    let cached = vfs.snapshot();
    drop(db);
    let reader = options(&cached, 512).read_only().open(NAME).unwrap();
    let refused = reader.backup_since(0, &mut Vec::new());
    let told = story(Error::Invalid);
    // The power fails, and the chain goes on from what the disk has.
    let db = options(&on_disk, 512).open(NAME).unwrap();
    if let Ok(stats) = refused {
        db.exec("a", |txn| txn.put("k", "other")).unwrap();
        assert_eq!(stats.seq, db.current_seq());
        panic!("a part of a chain is of a state {} that is another by now", stats.seq);
    }
    assert_eq!(refused, Err(Error::Invalid));
    assert!(told.contains("durable"), "{told}");
    assert_eq!(reader.view("a", |txn| txn.get("k")).unwrap(), b"lost");
    // Opened for writing once, the state is durable, and so it is for readers.
    drop(reader);
    drop(options(&cached, 512).open(NAME).unwrap());
    let reader = options(&cached, 512).read_only().open(NAME).unwrap();
    chain(&cached, &[&part(&reader.snapshot(), 0)], COPY).unwrap();
}

/// Recovery copies the copy of a state whose original is damaged. One of two copies is durable.
#[test]
fn a_chain_goes_on_from_two_copies_of_a_state() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    db.exec("a", |txn| txn.put("k", "v")).unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    bytes[512 + 200] ^= 1;
    vfs.write_file(NAME, &bytes);
    // Nothing is committed: the two copies stay.
    drop(options(&vfs, 512).open(NAME).unwrap());
    let reader = options(&vfs, 512).read_only().open(NAME).unwrap();
    let whole = part(&reader.snapshot(), 0);
    chain(&vfs, &[&whole], COPY).unwrap();
    check(&vfs, COPY, &whole);
}

type Change = fn(&mut [u8]);

/// The page of the state is the one of a stream that could say what no file of its pages holds.
#[test]
fn a_state_that_is_a_copy_or_has_a_log_or_a_list_is_refused() {
    let db = options(&MemVfs::new(), 512).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let sound = part(&db.snapshot(), 0).stream;
    let records = &sound[28 + 8..];
    let state = records.len() - 512;
    let built = |change: &dyn Fn(&mut [u8])| {
        let mut records = records.to_vec();
        change(&mut records[state..]);
        put_checksum(&mut records[state..]);
        let len = u32::try_from(records.len()).unwrap().to_le_bytes();
        let checksum = crc32c::crc32c(&[&sound[24..28], &len, &records].concat()).to_le_bytes();
        [&sound[..28], &len, &checksum, &records].concat()
    };
    assert!(built(&|_| {}) == sound);
    let changes: [(&str, Change); 4] = [
        ("a copy", |page| page[META_FLAGS] |= 2),
        ("a log", |page| (page[META_LOG_HEAD], page[META_LOG_PAGES]) = (2, 1)),
        ("a tail", |page| page[META_TAIL_WORDS] = 1),
        ("a list", |page| {
            let item = META_BODY + usize::from(page[META_CATALOG_LEN]);
            page[META_ITEMS] = 1;
            (page[item], page[item + 4]) = (2, 1);
        }),
    ];
    for (what, change) in changes {
        let vfs = MemVfs::new();
        let made = options(&vfs, 512).restore(&mut built(&change).as_slice(), COPY);
        assert_eq!(made, Err(Error::Corruption), "{what}");
        assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs), "{what}");
        let story = story(Error::Corruption);
        assert!(story.contains("without a space log and a list"), "{what}: {story}");
    }
}
