//! Who may open a file: other processes, other names of the same file, two threads at once, and
//! what happens to a file that is none of ours.
//!
//! Attacks: one-writer.

mod common;

#[path = "locks/child.rs"]
mod child;
#[path = "locks/foreign.rs"]
mod foreign;
#[path = "locks/new.rs"]
mod new;

use btree_store::format::{META_MAGIC, META_VERSION};
use btree_store::verify::verify_path;
use btree_store::vfs::{MemVfs, OsVfs};
use btree_store::{BTree, Error, ErrorDetail, Options};
use child::Child;
use common::NAME;
use common::watch::{Op, Watch};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn put(db: &BTree, key: &str, value: &str) {
    db.exec("b", |txn| txn.put(key, value)).unwrap();
}

fn get(db: &BTree, key: &str) -> Option<String> {
    match db.view("b", |txn| txn.get(key)) {
        Ok(value) => Some(String::from_utf8(value).unwrap()),
        Err(Error::NotFound) => None,
        Err(error) => panic!("{error}: {}", common::story(error)),
    }
}

/// Whether two handles are of one store: only then is one's transaction nested in the other's.
fn is_shared(one: &BTree, two: &BTree) -> bool {
    one.exec("b", |_| Ok(two.exec("b", |_| Ok(())) == Err(Error::Invalid))).unwrap()
}

/// A directory, and the path of a store in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    (dir, path)
}

#[test]
fn a_second_process_is_told_that_the_file_is_busy() {
    let (_dir, path) = place();
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "v");
    assert_eq!(Child::start("open", &path).outcome(), "Err(Busy)");
    assert_eq!(Child::start("read", &path).outcome(), "Err(Busy)");
    drop(db);
    let mut child = Child::start("open", &path);
    assert_eq!(child.outcome(), "Ok(Some(\"v\"))");
    assert_eq!(BTree::open(&path).unwrap_err(), Error::Busy);
    assert_eq!(Options::new().read_only().open(&path).unwrap_err(), Error::Busy);
    child.end();
    assert_eq!(get(&BTree::open(&path).unwrap(), "k").as_deref(), Some("v"));
}

#[test]
fn a_killed_process_leaves_no_lock() {
    let (_dir, path) = place();
    drop(BTree::open(&path).unwrap());
    let mut child = Child::start("open", &path);
    assert_eq!(child.outcome(), "Ok(None)");
    child.kill();
    put(&BTree::open(&path).unwrap(), "k", "v");
}

#[test]
fn read_only_opens_share_among_processes_and_exclude_a_writer() {
    let (_dir, path) = place();
    put(&BTree::open(&path).unwrap(), "k", "v");
    let mut children = [Child::start("read", &path), Child::start("read", &path)];
    for child in &mut children {
        assert_eq!(child.outcome(), "Ok(Some(\"v\"))");
    }
    assert_eq!(BTree::open(&path).unwrap_err(), Error::Busy);
    let reader = Options::new().read_only().open(&path).unwrap();
    assert_eq!(get(&reader, "k").as_deref(), Some("v"));
    assert_eq!(Child::start("open", &path).outcome(), "Err(Busy)");
    children.into_iter().for_each(Child::end);
    assert_eq!(Child::start("open", &path).outcome(), "Err(Busy)");
    drop(reader);
    put(&BTree::open(&path).unwrap(), "k", "w");
}

#[test]
fn a_handle_for_reading_writes_nothing_though_others_of_the_process_do() {
    let (_dir, path) = place();
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "v");
    let reader = Options::new().read_only().open(&path).unwrap();
    for reader in [&reader, &reader.clone()] {
        assert!(reader.is_read_only() && !db.is_read_only());
        let seq = reader.current_seq();
        assert_eq!(reader.exec("b", |txn| txn.put("k", "w")), Err(Error::Invalid));
        assert_eq!(reader.exec_multi(|_| Ok(())), Err(Error::Invalid));
        assert_eq!(reader.del_bucket("b"), Err(Error::Invalid));
        assert_eq!(reader.sync(), Err(Error::Invalid));
        assert_eq!(reader.compact(0).map(drop), Err(Error::Invalid));
        let put_it = |txn: &btree_store::OwnedTxn| txn.bucket("b")?.put("k", "w");
        assert_eq!(reader.transact(put_it), Err(Error::Invalid));
        let begun = reader.begin();
        put_it(&begun).unwrap();
        assert_eq!(begun.commit(), Err(Error::Invalid));
        assert_eq!((get(reader, "k").as_deref(), reader.current_seq()), (Some("v"), seq));
    }
    put(&db, "k", "w");
    assert_eq!(get(&reader, "k").as_deref(), Some("w"));
}

#[test]
fn a_handle_for_reading_puts_no_large_value_into_the_file() {
    let (_dir, path) = place();
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "v");
    let reader = Options::new().read_only().open(&path).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    let begun = reader.begin();
    let put_it = |txn: &btree_store::OwnedTxn| {
        txn.bucket("b")?.put_from("l", 1 << 20, &mut std::io::repeat(1).take(1 << 20))
    };
    assert_eq!(put_it(&begun), Err(Error::Invalid));
    assert_eq!(reader.transact(put_it), Err(Error::Invalid));
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
}

#[test]
fn a_store_that_is_open_for_reading_is_busy_for_whoever_wants_to_write() {
    let (_dir, path) = place();
    put(&BTree::open(&path).unwrap(), "k", "v");
    let reader = Options::new().read_only().open(&path).unwrap();
    let refused = BTree::open(&path).unwrap_err();
    let why = "this process has the file open for reading only";
    assert_eq!((refused, refused.detail()), (Error::Busy, Some(ErrorDetail::Message(why))));
    let again = Options::new().read_only().open(&path).unwrap();
    assert_eq!(get(&again, "k").as_deref(), Some("v"));
    drop((reader, again));
    put(&BTree::open(&path).unwrap(), "k", "w");
}

#[test]
fn a_cursor_keeps_the_file_open() {
    let (_dir, path) = place();
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "v");
    let mut iter = db.view("b", |txn| Ok(txn.iter())).unwrap();
    drop(db);
    assert_eq!(Child::start("open", &path).outcome(), "Err(Busy)");
    let again = BTree::open(&path).unwrap();
    put(&again, "k", "w");
    drop(again);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    assert!(iter.next_ref(&mut key, &mut value));
    assert_eq!((key, value), (b"k".to_vec(), b"v".to_vec()));
    drop(iter);
    assert_eq!(Child::start("open", &path).outcome(), "Ok(Some(\"w\"))");
}

#[test]
fn every_name_of_a_file_leads_to_one_store() {
    let (dir, path) = place();
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "v");
    let hard = dir.path().join("hard");
    fs::hard_link(&path, &hard).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let mut names = vec![
        path.clone(),
        hard,
        dir.path().join(".").join(NAME),
        dir.path().join("sub").join("..").join(NAME),
    ];
    #[cfg(unix)]
    {
        let soft = dir.path().join("soft");
        std::os::unix::fs::symlink(&path, &soft).unwrap();
        names.push(soft);
        let sub = dir.path().join("linked");
        std::os::unix::fs::symlink(dir.path(), &sub).unwrap();
        names.push(sub.join(NAME));
    }
    for name in &names {
        let other = BTree::open(name).unwrap();
        assert!(is_shared(&db, &other), "{}", name.display());
        assert_eq!(Child::start("open", name).outcome(), "Err(Busy)", "{}", name.display());
    }
    drop(db);
    for name in &names {
        let one = BTree::open(name).unwrap();
        assert!(names.iter().all(|other| is_shared(&one, &BTree::open(other).unwrap())));
    }
}

#[test]
fn a_relative_path_leads_to_the_same_store() {
    // The child's working directory is the store's; a test may not change its own.
    let (dir, path) = place();
    drop(BTree::open(&path).unwrap());
    let mut child = Child::start_in(dir.path(), "relative", Path::new(NAME));
    assert_eq!(child.outcome(), "shared");
}

#[test]
fn an_unlinked_file_stays_the_store_of_its_handles_only() {
    let (_dir, path) = place();
    let old = BTree::open(&path).unwrap();
    put(&old, "k", "old");
    fs::remove_file(&path).unwrap();
    let new = BTree::open(&path).unwrap();
    assert!(!is_shared(&old, &new));
    assert_eq!(get(&new, "k"), None);
    put(&new, "k", "new");
    put(&old, "k", "older");
    assert_eq!(get(&new, "k").as_deref(), Some("new"));
    drop(old);
    assert!(is_shared(&new, &BTree::open(&path).unwrap()));
    drop(new);
    assert_eq!(get(&BTree::open(&path).unwrap(), "k").as_deref(), Some("new"));
}

#[test]
fn a_file_that_is_renamed_over_stays_the_store_of_its_handles_only() {
    let (dir, path) = place();
    let (other, moved) = (dir.path().join("other"), dir.path().join("moved"));
    put(&BTree::open(&other).unwrap(), "k", "other");
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "first");
    fs::rename(&other, &path).unwrap();
    let over = BTree::open(&path).unwrap();
    assert!(!is_shared(&db, &over));
    assert_eq!(get(&over, "k").as_deref(), Some("other"));
    assert_eq!(get(&db, "k").as_deref(), Some("first"));
    put(&db, "k", "lost");
    // A store that moves while it is open is found under its new name.
    fs::rename(&path, &moved).unwrap();
    assert!(is_shared(&over, &BTree::open(&moved).unwrap()));
    let third = BTree::open(&path).unwrap();
    assert_eq!(get(&third, "k"), None);
    assert!(!is_shared(&third, &over));
}

#[test]
fn closing_and_opening_at_once_in_two_threads_always_works() {
    let (_dir, path) = place();
    put(&BTree::open(&path).unwrap(), "k", "v");
    for round in 0..1_000 {
        let db = BTree::open(&path).unwrap();
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mine = db;
                barrier.wait();
                drop(mine);
            });
            barrier.wait();
            let opened = BTree::open(&path);
            let again = opened.unwrap_or_else(|e| panic!("{e} in round {round}"));
            assert_eq!(get(&again, "k").as_deref(), Some("v"), "round {round}");
        });
    }
}

#[test]
fn two_threads_that_create_a_file_share_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = dir.path().join(format!("{round}.db"));
        let barrier = Barrier::new(2);
        let open = || {
            barrier.wait();
            BTree::open(&path).unwrap_or_else(|e| panic!("{e} in round {round}"))
        };
        let (one, two) = std::thread::scope(|scope| {
            let other = scope.spawn(open);
            (open(), other.join().unwrap())
        });
        assert!(is_shared(&one, &two), "round {round}");
    }
    assert_eq!(leftovers(dir.path()), 0);
}

fn leftovers(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with("-create")).count()
}

#[test]
fn a_creator_that_comes_too_late_takes_what_is_there_and_leaves_nothing() {
    let (memory, watch) = Watch::memory();
    let (mut other, mut opens) = (None, 0);
    let place = memory.clone();
    watch.hook(move |op| {
        // The first opening finds no file; before the second, another process makes it.
        opens += usize::from(matches!(op, Op::Open(..)));
        if opens == 2 && other.is_none() {
            let db = common::open(&place).unwrap();
            put(&db, "k", "v");
            other = Some(());
        }
        Ok(())
    });
    let db = common::on(watch.clone()).open(NAME).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some("v"));
    assert_eq!(memory.read_file("data.db-create"), None);
}

/// How often two processes race to create a store.
const RACES: usize = 60;

/// Opens the store of a race, waiting for the other process.
fn open_in_turn(path: &Path) -> BTree {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match BTree::open(path) {
            Ok(db) => return db,
            Err(Error::Busy) if Instant::now() < end => std::thread::yield_now(),
            Err(error) => panic!("{error}: {}", common::story(error)),
        }
    }
}

/// One side of the race: every store gets an entry of this side.
fn race(dir: &Path, me: &str) {
    for round in 0..RACES {
        let db = open_in_turn(&dir.join(format!("{round}.db")));
        put(&db, me, "was here");
    }
}

#[test]
fn two_processes_that_create_a_file_both_get_it_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Child::start("race", dir.path());
    race(dir.path(), "parent");
    assert_eq!(child.outcome(), "raced");
    child.end();
    for round in 0..RACES {
        let db = BTree::open(dir.path().join(format!("{round}.db"))).unwrap();
        for side in ["parent", "child"] {
            assert_eq!(get(&db, side).as_deref(), Some("was here"), "{side}, round {round}");
        }
    }
    assert_eq!(leftovers(dir.path()), 0, "files of the loser are left");
}

#[test]
fn a_creator_killed_at_any_step_leaves_a_file_that_opens() {
    for step in 0.. {
        let (dir, path) = place();
        let mut child = Child::start(&format!("die {step}"), &path);
        let outcome = child.outcome();
        child.end();
        let db = BTree::open(&path)
            .unwrap_or_else(|e| panic!("{e} after a death at step {step}: {}", common::story(e)));
        assert_eq!(get(&db, "k"), None);
        put(&db, "k", "v");
        drop(db);
        assert_eq!(get(&BTree::open(&path).unwrap(), "k").as_deref(), Some("v"));
        assert_eq!(leftovers(dir.path()), 0, "after a death at step {step}");
        if outcome == "alive" {
            assert!(step > 5, "only {step} steps");
            break;
        }
    }
}

#[test]
fn an_error_at_any_step_of_the_creation_leaves_a_place_where_it_works_later() {
    for step in 0.. {
        let (memory, watch) = Watch::memory();
        watch.hook_at(step, |_| Err(ErrorKind::Other.into()));
        let opened = common::on(watch.clone()).open(NAME);
        watch.unhook();
        let failed = opened.is_err();
        assert!(opened.is_ok() || opened.as_ref().unwrap_err() == &Error::IoError);
        drop(opened);
        let db = common::open(&memory).unwrap();
        put(&db, "k", "v");
        if !failed {
            assert!(step > 5, "only {step} steps");
            break;
        }
    }
}

#[test]
fn what_a_killed_creator_left_is_replaced() {
    for left in [vec![], vec![0; 8192], b"half a page".to_vec(), vec![0xFF; 1 << 16]] {
        let (dir, path) = place();
        fs::write(dir.path().join("data.db-create"), &left).unwrap();
        let db = BTree::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 8192);
        put(&db, "k", "v");
        assert_eq!(leftovers(dir.path()), 0);
    }
}

#[test]
fn a_store_that_has_the_temporary_name_is_not_replaced() {
    let (dir, path) = place();
    let other = dir.path().join("data.db-create");
    let db = BTree::open(&other).unwrap();
    put(&db, "k", "v");
    assert_eq!(BTree::open(&path).unwrap_err(), Error::Busy, "while it is open");
    assert_eq!(db.backup(&path), Err(Error::Busy), "while it is open");
    drop(db);
    assert_eq!(BTree::open(&path).unwrap_err(), Error::Invalid);
    assert!(!path.exists());
    let db = BTree::open(&other).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some("v"));
    drop(db);
    let third = BTree::open(dir.path().join("third.db")).unwrap();
    assert_eq!(third.backup(&path), Err(Error::Invalid));
    assert_eq!(get(&BTree::open(&other).unwrap(), "k").as_deref(), Some("v"));
}

/// As a flipped bit in each meta page, or a later version, leaves it.
#[test]
fn a_damaged_store_that_has_the_temporary_name_is_not_replaced() {
    let damage_both = |bytes: &mut [u8], at: usize| [0, 512].map(|slot| bytes[slot + at] ^= 0x10);
    for (keys, at) in [(1, 100), (1, META_VERSION), (1_000, 100), (1_000, META_MAGIC)] {
        let (dir, path) = place();
        let other = dir.path().join("data.db-create");
        let db = Options::new().page_size(512).open(&other).unwrap();
        db.exec("b", |txn| (0..keys).try_for_each(|key: u32| txn.put(key.to_be_bytes(), [7; 90])))
            .unwrap();
        drop(db);
        let mut bytes = fs::read(&other).unwrap();
        assert!(keys == 1 || bytes.len() > 1 << 16);
        damage_both(&mut bytes, at);
        fs::write(&other, &bytes).unwrap();
        assert_eq!(BTree::open(&other).unwrap_err(), Error::Corruption);
        assert_eq!(BTree::open(&path).unwrap_err(), Error::Invalid, "{keys} keys, byte {at}");
        let third = BTree::open(dir.path().join("third.db")).unwrap();
        assert_eq!(third.backup(&path), Err(Error::Invalid), "{keys} keys, byte {at}");
        assert!(!path.exists());
        assert!(fs::read(&other).unwrap() == bytes, "{keys} keys, byte {at}");
    }
}

#[test]
fn an_existing_empty_file_becomes_a_store() {
    let (dir, path) = place();
    fs::write(&path, b"").unwrap();
    let refused = Options::new().must_exist().open(&path).unwrap_err();
    assert_eq!(refused, Error::Corruption);
    let refused = Options::new().read_only().open(&path).unwrap_err();
    assert_eq!(refused, Error::Corruption);
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    let db = BTree::open(&path).unwrap();
    put(&db, "k", "v");
    assert_eq!(Child::start("open", &path).outcome(), "Err(Busy)");
    drop(db);
    assert_eq!(get(&BTree::open(&path).unwrap(), "k").as_deref(), Some("v"));
    assert_eq!(leftovers(dir.path()), 0);
}

#[cfg(unix)]
#[test]
fn a_symlink_to_an_empty_or_missing_file_stays_a_symlink() {
    for target_exists in [true, false] {
        let (dir, path) = place();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        let target = dir.path().join("elsewhere").join("real.db");
        if target_exists {
            fs::write(&target, b"").unwrap();
        }
        std::os::unix::fs::symlink("elsewhere/real.db", &path).unwrap();
        let db = BTree::open(&path).unwrap();
        put(&db, "k", "v");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "exists: {target_exists}");
        let real = BTree::open(&target).unwrap();
        assert!(is_shared(&db, &real), "exists: {target_exists}");
        assert_eq!(leftovers(dir.path()) + leftovers(&dir.path().join("elsewhere")), 0);
    }
}

/// The kind of an I/O error.
#[track_caller]
fn kind(error: Error) -> ErrorKind {
    assert_eq!(error, Error::IoError);
    match error.detail() {
        Some(ErrorDetail::Io { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_and_a_missing_parent_are_typed_errors() {
    let (dir, path) = place();
    for options in [Options::new(), Options::new().read_only(), Options::new().must_exist()] {
        let error = options.clone().open(dir.path()).unwrap_err();
        assert_eq!(kind(error), ErrorKind::IsADirectory);
        let error = options.clone().open(dir.path().join("missing").join(NAME)).unwrap_err();
        assert_eq!(kind(error), ErrorKind::NotFound);
        let error = options.open("").unwrap_err();
        assert_eq!(kind(error), ErrorKind::NotFound);
    }
    for options in [Options::new().read_only(), Options::new().must_exist()] {
        assert_eq!(kind(options.open(&path).unwrap_err()), ErrorKind::NotFound);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn what_the_storage_says_of_a_file_names_it() {
    let (dir, path) = place();
    let lost = dir.path().join("missing").join(NAME);
    let db = BTree::open(&path).unwrap();
    let options = || Options::new().must_exist();
    let names = |error: Error| {
        assert_eq!(kind(error), ErrorKind::NotFound);
        let story = common::story(error);
        assert!(story.contains(&format!(": {}: ", lost.display())), "{story}");
        let once = story.matches(lost.to_str().unwrap()).count();
        assert_eq!(once, 1, "{story}");
    };
    names(BTree::open(&lost).unwrap_err());
    names(options().open(&lost).unwrap_err());
    names(options().vfs(Arc::new(OsVfs)).open(&lost).unwrap_err());
    names(Options::new().create_new().open(&lost).unwrap_err());
    names(verify_path(&OsVfs, &lost).unwrap_err());
    names(db.backup(&lost).unwrap_err());
    let (mut stream, mut pages) = (Vec::new(), Vec::new());
    db.snapshot().backup_to(&mut stream).unwrap();
    db.backup_since(0, &mut pages).unwrap();
    names(Options::new().restore(&mut stream.as_slice(), &lost).unwrap_err());
    names(Options::new().restore_chain([pages.as_slice()], &lost).unwrap_err());
}

#[test]
fn a_storage_of_the_users_own_is_locked_by_its_files() {
    let vfs = MemVfs::new();
    let db = common::open(&vfs).unwrap();
    assert_eq!(common::open(&vfs).unwrap_err(), Error::Busy);
    assert_eq!(common::on(vfs.clone()).read_only().open(NAME).unwrap_err(), Error::Busy);
    drop(db);
    let one = common::on(vfs.clone()).read_only().open(NAME).unwrap();
    let two = common::on(vfs.clone()).read_only().open(NAME).unwrap();
    assert_eq!(common::open(&vfs).unwrap_err(), Error::Busy);
    drop((one, two));
    common::open(&vfs).unwrap();
    // The system's files by way of the option are locked against the plain way.
    let (_dir, path) = place();
    let db = BTree::open(&path).unwrap();
    let again = Options::new().vfs(Arc::new(OsVfs)).open(&path);
    assert_eq!(again.unwrap_err(), Error::Busy);
    drop(db);
}

#[test]
fn a_store_in_memory_is_created_or_refused() {
    let refused = [Options::new().read_only(), Options::new().must_exist()];
    for options in refused.into_iter().chain([Options::new().page_size(1_000)]) {
        assert_eq!(options.open_in_memory().unwrap_err(), Error::Invalid);
        assert!(matches!(Error::Invalid.detail(), Some(ErrorDetail::Message(_))));
    }
    put(&Options::new().open_in_memory().unwrap(), "k", "v");
}

#[test]
fn a_second_open_shares_whatever_its_options_say() {
    let (_dir, path) = place();
    let db = Options::new().page_size(512).open(&path).unwrap();
    let other = Options::new().page_size(8192).cache_bytes(0).open(&path).unwrap();
    assert!(is_shared(&db, &other));
    assert_eq!(other.stats().unwrap().page_size, 512);
    drop((db, other));
    let db = Options::new().page_size(32_768).open(&path).unwrap();
    assert_eq!(db.stats().unwrap().page_size, 512, "a file keeps its page size");
}

#[test]
fn a_page_size_that_is_not_allowed_is_refused_before_anything_is_made() {
    let (dir, path) = place();
    for size in [0, 1, 256, 511, 513, 4095, 65_536, u32::MAX] {
        assert_eq!(Options::new().page_size(size).open(&path).unwrap_err(), Error::Invalid);
        assert!(matches!(Error::Invalid.detail(), Some(ErrorDetail::Message(_))));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    for size in [512, 1024, 2048, 4096, 8192, 16_384, 32_768] {
        let db = Options::new().page_size(size).open(dir.path().join(size.to_string())).unwrap();
        put(&db, "k", "v");
        assert_eq!(db.stats().unwrap().page_size, size);
    }
}

/// An empty file with these permission bits.
#[cfg(unix)]
fn empty(mode: u32) -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let (dir, path) = place();
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (dir, path)
}

#[cfg(unix)]
#[test]
fn an_empty_file_that_becomes_a_store_keeps_its_permissions() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, path) = empty(0o600);
    drop(BTree::open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn an_empty_file_that_becomes_a_store_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, chown};
    let (_dir, path) = empty(0o640);
    if chown(&path, Some(1234), Some(1235)).is_err() {
        println!("skipped: only root gives files away");
        return;
    }
    drop(BTree::open(&path).unwrap());
    let is = fs::metadata(&path).unwrap();
    assert_eq!((is.uid(), is.gid(), is.mode() & 0o777), (1234, 1235, 0o640));
}
