//! Stores that are to be new: who gets a file that several create at once, and what stays as it is
//! where there is one.

use super::{
    BTree, Child, Error, MemVfs, NAME, Options, OsVfs, get, is_shared, leftovers, place, put,
};
use crate::common::watch::{Op, Watch};
use crate::common::{self, on};
use btree_store::vfs::{LockMode, OpenMode, Vfs};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

/// The name of the file that is being created.
const CREATING: &str = "data.db-create";

fn create(path: &Path) -> Result<BTree, Error> {
    Options::new().create_new().open(path)
}

/// The names in a directory with what is in the files.
fn listing(dir: &Path) -> Vec<(std::ffi::OsString, Option<Vec<u8>>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> =
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).ok())).collect();
    found.sort();
    found
}

#[test]
fn a_new_store_is_made_once_and_opens_as_any_other() {
    let (dir, path) = place();
    let db = create(&path).unwrap();
    put(&db, "k", "v");
    assert!(is_shared(&db, &BTree::open(&path).unwrap()));
    assert_eq!(Child::start("open", &path).outcome(), "Err(Busy)");
    assert_eq!(create(&path).unwrap_err(), Error::Duplicate, "while it is open here");
    drop(db);
    assert_eq!(create(&path).unwrap_err(), Error::Duplicate, "when it is closed");
    assert_eq!(get(&BTree::open(&path).unwrap(), "k").as_deref(), Some("v"));
    assert_eq!(leftovers(dir.path()), 0);
    fs::remove_file(&path).unwrap();
    assert_eq!(get(&create(&path).unwrap(), "k"), None, "when it is removed");
}

#[test]
fn whatever_has_the_path_is_a_duplicate_and_stays_as_it_is() {
    let store = {
        let vfs = MemVfs::new();
        put(&common::open(&vfs).unwrap(), "k", "v");
        vfs.read_file(NAME).unwrap()
    };
    for bytes in [b"".as_slice(), b"x", &[0; 8192], &store] {
        let (dir, path) = place();
        fs::write(&path, bytes).unwrap();
        let before = listing(dir.path());
        assert_eq!(create(&path).unwrap_err(), Error::Duplicate, "{} bytes", bytes.len());
        let by_vfs = Options::new().vfs(Arc::new(OsVfs)).create_new();
        assert_eq!(by_vfs.open(&path).unwrap_err(), Error::Duplicate, "{} bytes", bytes.len());
        assert_eq!(listing(dir.path()), before);
        // It is not so much as opened, so nothing is locked.
        let (memory, watch) = Watch::memory();
        memory.write_file(NAME, bytes);
        let (ops, opened) = watch.record(|| on(watch.clone()).create_new().open(NAME));
        assert_eq!(opened.unwrap_err(), Error::Duplicate, "{} bytes", bytes.len());
        assert_eq!(ops, []);
    }
    let (dir, _) = place();
    assert_eq!(create(dir.path()).unwrap_err(), Error::Duplicate, "a directory");
}

#[test]
fn a_file_that_is_locked_is_a_duplicate_sooner_than_busy() {
    let (dir, path) = place();
    let mut child = Child::start("open", &path);
    assert_eq!(child.outcome(), "Ok(None)");
    let before = listing(dir.path());
    assert_eq!(create(&path).unwrap_err(), Error::Duplicate, "open in another process");
    assert_eq!(listing(dir.path()), before);
    child.end();
    let (memory, watch) = Watch::memory();
    let db = on(watch.clone()).create_new().open(NAME).unwrap();
    assert_eq!(on(watch.clone()).create_new().open(NAME).unwrap_err(), Error::Duplicate);
    drop(db);
    // The file comes between the look and the lock of the one that would be made.
    memory.remove(Path::new(NAME)).unwrap();
    let (place, held) = (memory.clone(), Mutex::new(None));
    watch.hook(move |op| {
        if matches!(op, Op::Open(..)) {
            let file = place.open(Path::new(CREATING), OpenMode::Create)?;
            assert!(held.lock().unwrap().is_some() || file.try_lock(LockMode::Exclusive)?);
            held.lock().unwrap().get_or_insert(file);
            place.write_file(NAME, b"x");
        }
        Ok(())
    });
    assert_eq!(on(watch.clone()).create_new().open(NAME).unwrap_err(), Error::Duplicate);
    assert_eq!(memory.read_file(NAME).unwrap(), b"x");
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_the_file_that_is_to_be_new() {
    let (dir, path) = place();
    let target = dir.path().join("real.db");
    std::os::unix::fs::symlink("real.db", &path).unwrap();
    let db = create(&path).unwrap();
    assert!(is_shared(&db, &BTree::open(&target).unwrap()));
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(create(&path).unwrap_err(), Error::Duplicate);
    assert_eq!(create(&target).unwrap_err(), Error::Duplicate);
    assert_eq!(leftovers(dir.path()), 0);
}

#[test]
fn options_that_exclude_a_new_file_are_refused_before_anything_is_made() {
    let (dir, path) = place();
    for exists in [false, true] {
        if exists {
            put(&BTree::open(&path).unwrap(), "k", "v");
        }
        let before = listing(dir.path());
        for options in [Options::new().read_only(), Options::new().must_exist()] {
            let options = options.create_new();
            assert_eq!(options.clone().open(&path).unwrap_err(), Error::Invalid);
            assert_eq!(options.open_in_memory().unwrap_err(), Error::Invalid);
        }
        assert_eq!(listing(dir.path()), before, "exists: {exists}");
    }
    put(&Options::new().create_new().open_in_memory().unwrap(), "k", "v");
    let missing = create(&dir.path().join("missing").join(NAME)).unwrap_err();
    assert_eq!(super::kind(missing), ErrorKind::NotFound);
    assert_eq!(super::kind(create(Path::new("")).unwrap_err()), ErrorKind::NotFound);
}

#[test]
fn what_a_killed_creator_left_is_replaced_and_a_store_of_that_name_is_not() {
    for left in [vec![], vec![0; 8192], b"half a page".to_vec()] {
        let (dir, path) = place();
        fs::write(dir.path().join(CREATING), &left).unwrap();
        put(&create(&path).unwrap(), "k", "v");
        assert_eq!(leftovers(dir.path()), 0);
    }
    let (dir, path) = place();
    put(&BTree::open(dir.path().join(CREATING)).unwrap(), "k", "v");
    let before = listing(dir.path());
    assert_eq!(create(&path).unwrap_err(), Error::Invalid);
    assert_eq!(listing(dir.path()), before);
}

#[test]
fn of_threads_that_create_one_file_exactly_one_gets_it() {
    const THREADS: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    for round in 0..60 {
        let name = format!("{round}.db");
        let (path, options) = match round % 3 {
            0 => (dir.path().join(name), Options::new()),
            1 => (dir.path().join(name), Options::new().vfs(Arc::new(OsVfs))),
            _ => (name.into(), on(MemVfs::new())),
        };
        let barrier = Barrier::new(THREADS);
        let create = || {
            barrier.wait();
            options.clone().create_new().open(&path)
        };
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let refused: Vec<Error> =
            opened.iter().filter_map(|one| one.as_ref().err()).copied().collect();
        assert_eq!(refused.len(), THREADS - 1, "round {round}: {refused:?}");
        // The table of this process makes the threads take turns; a storage of the user's does not.
        let is_fair =
            |error: &Error| *error == Error::Duplicate || round % 3 > 0 && *error == Error::Busy;
        assert!(refused.iter().all(is_fair), "round {round}: {refused:?}");
    }
    assert_eq!(leftovers(dir.path()), 0);
}

/// How often two processes race to create a new store.
const RACES: usize = 60;

/// One side of the race: `+` for a store that it got, `-` for one that it did not.
pub fn race_to_be_first(dir: &Path) -> String {
    let one = |round| match create(&dir.join(format!("{round}.db"))) {
        Ok(_) => '+',
        Err(Error::Duplicate | Error::Busy) => '-',
        Err(error) => panic!("{error}: {}", common::story(error)),
    };
    (0..RACES).map(one).collect()
}

#[test]
fn of_processes_that_create_one_file_exactly_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Child::start("be first", dir.path());
    assert_eq!(child.outcome(), "ready");
    let mine = race_to_be_first(dir.path());
    let theirs = child.outcome();
    child.end();
    assert_eq!(theirs.len(), RACES, "{theirs}");
    let is_fair = |(one, two): (char, char)| one != two;
    assert!(mine.chars().zip(theirs.chars()).all(is_fair), "\n{mine}\n{theirs}");
    assert_eq!(leftovers(dir.path()), 0);
}

/// Another store is opened, or to be new as well, before each step of the creation.
#[test]
fn of_two_creators_one_gets_the_file_whenever_the_other_comes() {
    for other_is_new in [true, false] {
        let mut outcomes = Vec::new();
        for step in 0.. {
            let (memory, watch) = Watch::memory();
            let (place, other) = (memory.clone(), Arc::new(Mutex::new(None)));
            let kept = other.clone();
            watch.hook_at(step, move |_| {
                let options = on(place.clone());
                let options = if other_is_new { options.create_new() } else { options };
                *kept.lock().unwrap() = Some(options.open(NAME));
                Ok(())
            });
            let mine = on(watch.clone()).create_new().open(NAME);
            watch.unhook();
            let Some(theirs) = other.lock().unwrap().take() else { break };
            let at = format!("step {step}: {mine:?}, {theirs:?}");
            assert!(mine.is_ok() != theirs.is_ok(), "{at}");
            let refused = mine.as_ref().err().or(theirs.as_ref().err()).copied();
            assert!(matches!(refused, Some(Error::Duplicate | Error::Busy)), "{at}");
            assert_eq!(memory.read_file(CREATING), None, "{at}");
            outcomes.push((mine.is_ok(), refused));
        }
        assert_eq!(outcomes.first(), Some(&(false, Some(Error::Duplicate))), "came first");
        assert!(outcomes.contains(&(true, Some(Error::Busy))), "came meanwhile: {outcomes:?}");
        let late = if other_is_new { Error::Duplicate } else { Error::Busy };
        assert_eq!(outcomes.last(), Some(&(true, Some(late))), "came late");
    }
}

/// Up to the rename, which replaces, as is documented.
#[test]
fn a_file_of_another_program_that_comes_before_the_naming_is_not_replaced() {
    for step in 0.. {
        let (memory, watch) = Watch::memory();
        let (place, is_named) = (memory.clone(), Arc::new(Mutex::new(false)));
        let naming = is_named.clone();
        watch.hook_at(step, move |op| {
            *naming.lock().unwrap() = *op == Op::Rename;
            place.write_file(NAME, b"");
            Ok(())
        });
        let opened = on(watch.clone()).create_new().open(NAME);
        watch.unhook();
        if *is_named.lock().unwrap() {
            assert!(step >= 5, "only {step} steps");
            break;
        }
        assert_eq!(opened.unwrap_err(), Error::Duplicate, "before step {step}");
        assert_eq!(memory.read_file(NAME).as_deref(), Some(b"".as_slice()), "before step {step}");
        assert_eq!(memory.read_file(CREATING), None, "before step {step}");
    }
}

#[test]
fn an_error_at_any_step_leaves_no_file_or_an_empty_store() {
    let mut left = 0;
    for step in 0.. {
        let (memory, watch) = Watch::memory();
        watch.hook_at(step, |_| Err(ErrorKind::Other.into()));
        let opened = on(watch.clone()).create_new().open(NAME);
        watch.unhook();
        let Err(error) = opened else {
            assert!(step > 5, "only {step} steps");
            break;
        };
        assert_eq!(error, Error::IoError, "step {step}");
        let is_left = memory.read_file(NAME).is_some();
        left += usize::from(is_left);
        let db = match on(memory.clone()).create_new().open(NAME) {
            Err(Error::Duplicate) if is_left => common::open(&memory).unwrap(),
            again => again.unwrap(),
        };
        put(&db, "k", "v");
    }
    assert!(left > 0);
}

#[test]
fn a_store_that_could_not_be_made_leaves_no_file() {
    let fails: [fn(&Op) -> bool; 3] =
        [|op| matches!(op, Op::Write { .. }), |op| matches!(op, Op::SetLen(_)), Op::is_sync];
    for (number, fails) in fails.into_iter().enumerate() {
        let (memory, watch) = Watch::memory();
        watch.hook(move |op| if fails(op) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) });
        assert_eq!(on(watch.clone()).open(NAME).unwrap_err(), Error::NoSpace, "{number}");
        assert!(memory.read_file(NAME).is_none(), "{number}");
        assert!(memory.read_file(CREATING).is_none(), "{number}");
    }
}
