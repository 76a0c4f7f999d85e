//! Cases that failed once. Each names the claim that it broke.
//!
//! Attacks: failed-sync-poisons, durable-before-ok.

use btree_store::{BTree, Error, Options};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Commits when it is dropped, also while its thread unwinds.
struct CommitsInDrop(BTree);

impl Drop for CommitsInDrop {
    fn drop(&mut self) {
        let done = self.0.exec("b", |txn| txn.put("dropped", "while unwinding"));
        assert_eq!(done, Ok(()));
    }
}

/// The leader of a commit took a panic that was under way already for its own, and poisoned the
/// store after the commit had succeeded.
#[test]
fn a_commit_by_a_destructor_of_a_panicking_thread_does_not_poison() {
    let db = Options::new().page_size(512).open_in_memory().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = CommitsInDrop(db.clone());
        resume_unwind(Box::new("the application's own panic"));
    }));
    assert!(panicked.is_err());
    assert_eq!(db.view("b", |txn| txn.get("dropped")).unwrap(), b"while unwinding");
    assert_eq!(db.exec("b", |txn| txn.put("later", "on")), Ok(()));
}

/// Writes when its thread ends, and looks what a call inside of a call, and a name that is none,
/// are answered.
struct WritesAtTheEnd(BTree);

impl Drop for WritesAtTheEnd {
    fn drop(&mut self) {
        let db = &self.0;
        let inner = db.exec("b", |txn| {
            txn.put("last", "words")?;
            Ok(db.exec("b", |_| Ok(())))
        });
        assert_eq!(inner, Ok(Err(Error::Invalid)));
        assert_eq!(db.exec("", |_| Ok(())), Err(Error::Invalid));
        assert_eq!(Error::Invalid.detail(), None);
    }
}

thread_local! {
    static AT_THE_END: RefCell<Option<WritesAtTheEnd>> = const { RefCell::new(None) };
}

/// What the library kept for each thread was gone when a destructor of another value of the thread
/// wrote, or met an error: the process was aborted.
#[test]
fn a_destructor_of_a_thread_that_ends_may_write() {
    let db = Options::new().page_size(512).open_in_memory().unwrap();
    let its = db.clone();
    let thread = std::thread::spawn(move || {
        AT_THE_END.set(Some(WritesAtTheEnd(its.clone())));
        assert_eq!(its.exec("b", |txn| txn.put("k", "v")), Ok(()));
        assert_eq!(its.exec("", |_| Ok(())), Err(Error::Invalid));
        assert!(Error::Invalid.detail().is_some());
    });
    thread.join().unwrap();
    assert_eq!(db.view("b", |txn| txn.get("last")).unwrap(), b"words");
}

/// Each meta page that was read left the detail of an error that nobody had met.
#[test]
fn opening_a_sound_store_leaves_no_detail_of_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.db");
    let name = |bucket: u32| format!("{bucket:0>300}");
    // At last the catalog is a tree, which the meta page refers to.
    for buckets in [1, 40] {
        let db = Options::new().page_size(512).open(&path).unwrap();
        (0..buckets).for_each(|at| db.exec(&name(at)[200..], |txn| txn.put("k", "v")).unwrap());
        drop(db);
        let opened = std::thread::scope(|scope| {
            let open = || BTree::open(&path).map(|db| (db.buckets(), Error::Corruption.detail()));
            scope.spawn(open).join().unwrap().unwrap()
        });
        assert_eq!(opened.0.unwrap().len(), buckets as usize);
        assert_eq!(opened.1, None);
    }
}
