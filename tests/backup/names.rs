//! Where copies may be made, and what is there already.

use super::{
    COPY, CREATING, FILLING, NAME, contents, contents_of, fill_round, is_left, options, stream_of,
};
use btree_store::vfs::{FileId, LockMode, MemVfs, OpenMode, OsVfs, Vfs, VfsFile};
use btree_store::{BTree, Error, Options};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

#[test]
fn what_is_there_already_is_left_as_it_is() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let stream = stream_of(&db.snapshot());
    for there in [b"".as_slice(), b"some text", &vfs.read_file(NAME).unwrap()] {
        vfs.write_file(COPY, there);
        assert_eq!(db.backup(COPY), Err(Error::Duplicate));
        let options = Options::new().vfs(Arc::new(vfs.clone()));
        assert_eq!(options.restore(&mut stream.as_slice(), COPY), Err(Error::Duplicate));
        assert!(vfs.read_file(COPY).unwrap() == there);
    }
    assert_eq!(db.backup(NAME), Err(Error::Duplicate), "the store itself");
    assert_eq!(db.backup(""), Err(Error::IoError));
    assert!(!is_left(&vfs));
}

#[test]
fn whoever_else_makes_the_file_goes_first() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let other = vfs.open(CREATING.as_ref(), OpenMode::Create).unwrap();
    assert!(other.try_lock(LockMode::Exclusive).unwrap());
    assert_eq!(db.backup(COPY), Err(Error::Busy));
    assert!(vfs.read_file(CREATING).is_some() && vfs.read_file(COPY).is_none());
    drop(other);
    // It died, and has left something there.
    vfs.write_file(CREATING, &vec![7; 60_000]);
    vfs.write_file(FILLING, &vec![7; 1_000_000]);
    db.backup(COPY).unwrap();
    assert!(contents_of(&vfs, COPY) == contents(&db.snapshot()).unwrap());
    assert!(!is_left(&vfs));
}

#[test]
fn what_somebody_else_holds_is_left_as_it_is() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let held = options(&vfs, 512).open(FILLING).unwrap();
    held.exec("b", |txn| txn.put("k", "v")).unwrap();
    assert_eq!(db.backup(COPY), Err(Error::Busy));
    let mut stream = stream_of(&db.snapshot());
    assert_eq!(super::restore(&vfs, &stream), Err(Error::Busy));
    stream.truncate(stream.len() / 2);
    assert_eq!(super::restore(&vfs, &stream), Err(Error::Busy));
    assert!(vfs.read_file(CREATING).is_none() && vfs.read_file(COPY).is_none());
    drop(held);
    let held = options(&vfs, 512).must_exist().open(FILLING).unwrap();
    assert_eq!(held.view("b", |txn| txn.get("k")).unwrap(), b"v");
}

/// A storage where somebody makes the file while the copy is written.
#[test]
fn a_file_that_came_meanwhile_is_left_as_it_is() {
    let (memory, watch) = crate::common::watch::Watch::memory();
    let db = options(&watch, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let place = memory.clone();
    watch.hook(move |op| {
        if op.is_sync() {
            place.write_file(COPY, b"came meanwhile");
        }
        Ok(())
    });
    assert_eq!(db.backup(COPY), Err(Error::Duplicate));
    watch.unhook();
    assert_eq!(memory.read_file(COPY).unwrap(), b"came meanwhile");
    assert!(memory.read_file(CREATING).is_none());
}

#[test]
fn real_files_are_copied_and_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = BTree::open(at(NAME)).unwrap();
    fill_round(&db, 1);
    let wanted = contents(&db.snapshot()).unwrap();
    let stats = db.backup(at(COPY)).unwrap();
    assert_eq!(stats.written_bytes, fs::metadata(at(COPY)).unwrap().len());
    let copy = BTree::open(at(COPY)).unwrap();
    assert!(contents(&copy.snapshot()).unwrap() == wanted);
    fill_round(&copy, 2);
    assert!(contents(&db.snapshot()).unwrap() == wanted, "they are two stores");
    assert_eq!(db.backup(at(COPY)), Err(Error::Duplicate), "it is open");
    assert_eq!(db.backup(dir.path()), Err(Error::Duplicate), "a directory");
    assert_eq!(db.backup(at("none").join("copy")), Err(Error::IoError), "no directory");
    let mut stream = stream_of(&db.snapshot());
    Options::new().restore(&mut stream.as_slice(), at("restored")).unwrap();
    assert!(contents_of(&OsVfs, at("restored")) == wanted);
    stream.pop();
    let short = Options::new().restore(&mut stream.as_slice(), at("short"));
    assert_eq!(short, Err(Error::Corruption));
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [COPY, NAME, "restored"]);
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = BTree::open(at(NAME)).unwrap();
    fill_round(&db, 1);
    std::os::unix::fs::symlink("target", at("link")).unwrap();
    db.backup(at("link")).unwrap();
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert!(contents_of(&OsVfs, at("target")) == contents(&db.snapshot()).unwrap());
    assert_eq!(db.backup(at("link")), Err(Error::Duplicate));
}

/// A maker dies between the name and its sync, when somebody else has found no file.
#[test]
fn the_mark_of_a_maker_that_died_meanwhile_is_not_lost() {
    use crate::common::watch::{Op, Watch};
    let (memory, watch) = Watch::memory();
    let source = options(&memory, 512).open(NAME).unwrap();
    fill_round(&source, 1);
    source.backup(COPY).unwrap();
    drop(source);
    let whole = memory.read_file(COPY).unwrap();
    let maker_dies = || {
        memory.remove(COPY.as_ref()).unwrap();
        let (place, whole) = (memory.clone(), whole.clone());
        watch.hook(move |op| {
            if matches!(op, Op::Open(path, OpenMode::Create) if path.ends_with(CREATING)) {
                place.write_file(COPY, &whole);
                place.write_file(CREATING, b"");
            }
            Ok(())
        });
    };
    maker_dies();
    let (ops, db) = watch.record(|| options(&watch, 512).open(COPY).unwrap());
    watch.unhook();
    assert!(ops.contains(&Op::SyncDir), "the name is not durable: {ops:?}");
    drop(db);
    let db = options(&watch, 512).open(NAME).unwrap();
    maker_dies();
    assert_eq!(db.backup(COPY), Err(Error::Duplicate));
    watch.unhook();
    assert!(memory.read_file(CREATING).is_some(), "the mark is gone");
}

/// A storage where nobody may lock what has the name of a mark.
#[derive(Clone)]
struct Guarded(MemVfs);

struct GuardedFile(Box<dyn VfsFile>);

impl Vfs for Guarded {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        let file = self.0.open(path, mode)?;
        Ok(if path.ends_with(CREATING) { Box::new(GuardedFile(file)) } else { file })
    }

    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.0.file_id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
}

impl VfsFile for GuardedFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.0.write_at(buf, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn try_lock(&self, _: LockMode) -> io::Result<bool> {
        panic!("another store is locked")
    }

    fn id(&self) -> io::Result<FileId> {
        self.0.id()
    }
}

#[test]
fn a_store_that_has_the_name_of_a_mark_is_not_locked_by_its_neighbour() {
    let vfs = MemVfs::new();
    for name in [COPY, CREATING] {
        let db = options(&vfs, 512).open(name).unwrap();
        db.exec("b", |txn| txn.put("k", "v")).unwrap();
    }
    let db = options(&Guarded(vfs), 512).open(COPY).unwrap();
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
}

#[test]
fn a_store_that_has_the_name_of_a_mark_is_left_as_it_is() {
    let vfs = MemVfs::new();
    let db = options(&vfs, 512).open(NAME).unwrap();
    options(&vfs, 512).open(CREATING).unwrap().exec("b", |txn| txn.put("k", "v")).unwrap();
    let before = vfs.read_file(CREATING).unwrap();
    assert_eq!(db.backup(COPY), Err(Error::Invalid));
    assert_eq!(super::restore(&vfs, &stream_of(&db.snapshot())), Err(Error::Invalid));
    assert!(vfs.read_file(CREATING).unwrap() == before && vfs.read_file(COPY).is_none());
}

/// What a link leads to that has a temporary name is somebody else's.
#[cfg(unix)]
#[test]
fn a_temporary_name_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let db = BTree::open(at("data.db")).unwrap();
    fill_round(&db, 1);
    fs::write(at("victim"), "keep").unwrap();
    for link in ["copy.db-btree-store-backup", "copy.db-create", "new.db-create"] {
        std::os::unix::fs::symlink("victim", at(link)).unwrap();
        if link.starts_with("new") {
            assert_eq!(BTree::open(at("new.db")).map(drop), Err(Error::Invalid), "{link}");
        } else {
            assert_eq!(db.backup(at("copy.db")), Err(Error::Invalid), "{link}");
        }
        assert_eq!(fs::read(at("victim")).unwrap(), b"keep", "{link}");
        assert!(!at("copy.db").exists() && !at("new.db").exists(), "{link}");
        fs::remove_file(at(link)).unwrap();
    }
    db.backup(at("copy.db")).unwrap();
}

/// Others have moved the directory with what is made, and make files of the same names.
#[test]
fn what_took_the_temporary_names_meanwhile_is_neither_named_nor_removed() {
    let (memory, watch) = crate::common::watch::Watch::memory();
    let db = options(&watch, 512).open(NAME).unwrap();
    fill_round(&db, 1);
    let stream = stream_of(&db.snapshot());
    let mut parts = Vec::new();
    db.backup_since(0, &mut parts).unwrap();
    let makes: [(&str, &dyn Fn() -> btree_store::Result<()>); 4] = [
        ("backup", &|| db.backup(COPY).map(drop)),
        ("backup_since_file", &|| db.backup_since_file(0, COPY).map(drop)),
        ("restore", &|| options(&watch, 512).restore(&mut stream.as_slice(), COPY).map(drop)),
        ("restore_chain", &|| {
            options(&watch, 512).restore_chain([parts.as_slice()], COPY).map(drop)
        }),
    ];
    for (what, make) in makes {
        let (place, first) = (memory.clone(), AtomicBool::new(true));
        watch.hook(move |op| {
            if op.is_sync() && first.swap(false, Ordering::Relaxed) {
                for name in [FILLING, CREATING] {
                    place.remove(name.as_ref())?;
                    place.write_file(name, b"another's");
                }
            }
            Ok(())
        });
        assert_eq!(make(), Err(Error::IoError), "{what}");
        watch.unhook();
        assert!(memory.read_file(COPY).is_none(), "{what}");
        for name in [FILLING, CREATING] {
            assert_eq!(memory.read_file(name).unwrap(), b"another's", "{what}");
            memory.remove(name.as_ref()).unwrap();
        }
    }
}

#[test]
fn what_took_the_name_of_a_store_that_is_made_is_not_named() {
    let (memory, watch) = crate::common::watch::Watch::memory();
    let (place, first) = (memory.clone(), AtomicBool::new(true));
    watch.hook(move |op| {
        if op.is_sync() && first.swap(false, Ordering::Relaxed) {
            let creating = format!("{NAME}-create");
            place.remove(creating.as_ref())?;
            place.write_file(&creating, b"");
        }
        Ok(())
    });
    let db = options(&watch, 512).open(NAME).unwrap();
    watch.unhook();
    fill_round(&db, 1);
    let kept = contents(&db.snapshot()).unwrap();
    drop(db);
    assert!(contents_of(&memory, NAME) == kept);
}
