//! Files of holes: as long as they say, with nothing behind it. They cost their maker nothing, and
//! are not to cost the reader memory for each page.

use super::hostile::stating;
use crate::common::counting::{with_memory, within};
use crate::common::{put_checksum, story};
use btree_store::format::{
    LOG_RECORD_RESIZE, LOG_RECORD_SNAPSHOT, META_BODY, META_PAGE_COUNT, META_TAIL_WORDS,
};
use btree_store::verify::verify_path;
use btree_store::vfs::OsVfs;
use btree_store::{BTree, Error, Options, Result};
use std::path::Path;

const CACHE_BYTES: u64 = 1 << 16;
/// Of a file that is verified.
const PAGES: u32 = 1 << 20;
/// Bytes for the largest file of all, which has 2³² - 1 pages: 16 for each 16,384 of them, more
/// than once.
const MEMORY_MAX: usize = 32 << 20;

/// A sound store without entries that has so many free pages, or one that does not say so.
fn holes(path: &Path, pages: u32, has_log: bool) {
    let tail = [LOG_RECORD_RESIZE, 2, pages];
    logged(path, pages, if has_log { &tail } else { &[] });
}

/// A store that has all pages that a store can have, of which none is free.
fn fullest(path: &Path) -> BTree {
    logged(path, u32::MAX, &[LOG_RECORD_SNAPSHOT, 2, u32::MAX, 0]);
    Options::new().cache_bytes(CACHE_BYTES).open(path).unwrap()
}

/// A store without entries that has so many pages, and of them what the log's tail says.
fn logged(path: &Path, pages: u32, tail: &[u32]) {
    let mut bytes = stating(2, 0, &[]);
    for slot in bytes.chunks_mut(512) {
        let mut put = |at: usize, word: u32| slot[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(META_PAGE_COUNT, pages);
        put(META_TAIL_WORDS, tail.len().try_into().unwrap());
        tail.iter().enumerate().for_each(|(at, word)| put(META_BODY + 4 * at, *word));
        put_checksum(slot);
    }
    std::fs::write(path, &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(u64::from(pages) * 512).unwrap();
}

type Work = fn(&BTree) -> Result<()>;
const WORKS: [(&str, Work); 4] = [
    ("put", |db| db.exec("b", |txn| txn.put("k", "v"))),
    ("put large", |db| db.exec("b", |txn| txn.put("k", vec![7; 300_000]))),
    ("stats", |db| db.stats().map(drop)),
    ("compact", |db| db.compact(0).map(drop)),
];

#[test]
fn a_file_of_terabytes_of_holes_takes_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let options = || Options::new().cache_bytes(CACHE_BYTES);
    for (has_log, wanted) in [(true, Ok(())), (false, Err(Error::Corruption))] {
        holes(&path, u32::MAX, has_log);
        let read = || options().read_only().open(&path).and_then(|db| db.buckets());
        // Who reads does not need the log.
        assert_eq!(within(MEMORY_MAX, "read", read).map(drop), Ok(()));
        for (name, work) in WORKS {
            holes(&path, u32::MAX, has_log);
            let run = || options().open(&path).and_then(|db| work(&db));
            assert_eq!(within(MEMORY_MAX, name, run), wanted, "{name}");
        }
    }
}

#[test]
fn where_page_ids_have_run_out_the_state_before_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let db = fullest(&path);
    let before = (db.buckets(), db.stats());
    for len in [1, 2_000, 300_000] {
        // A leaf, a run of pages, and one that is written when it is put.
        let put = db.exec("b", |txn| txn.put("k", vec![7; len]));
        assert_eq!(put, Err(Error::NoSpace), "{len}");
        assert!(story(Error::NoSpace).contains("page ids"), "{len}");
        assert_eq!((db.buckets(), db.stats()), before, "{len}");
    }
    assert_eq!(db.exec("b", |_| Ok(())), Ok(()));
    drop(db);
    assert_eq!(BTree::open(&path).unwrap().buckets().unwrap(), ["b"]);
}

/// A verification has a byte for each page that the file has.
#[test]
fn a_verification_without_a_byte_for_each_page_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let check = || verify_path(&OsVfs, &path);
    for has_log in [true, false] {
        holes(&path, PAGES, has_log);
        let report = within(PAGES as usize + (1 << 16), "verify", check).unwrap();
        assert_eq!(report.is_sound(), has_log, "{report}");
        let refused = with_memory(PAGES as usize - 1, check).unwrap_err();
        assert_eq!(refused, Error::IoError);
        let story = story(refused);
        assert!(story.starts_with("find a byte of memory for each page: "), "{story}");
    }
}

/// All pages that there can be are in use: nothing can be won, and no number comes round.
#[test]
fn a_compaction_of_the_fullest_file_of_all_wins_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let db = fullest(&path);
    let done = db.compact(0).unwrap();
    assert_eq!((done.moved_pages, done.remaining_candidates), (0, 0));
}
