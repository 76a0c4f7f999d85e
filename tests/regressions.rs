//! Cases that failed once. Each names the claim that it broke.
//!
//! Attacks: failed-sync-poisons, durable-before-ok, slots-alternate, valid-meta-whole,
//! txn-ids-increase.

mod common;

use btree_store::format::{
    BUCKET_LEN, HEADER_KIND, HEADER_TXN, KIND_LEAF, META_BODY, META_FLAG_MIRROR, META_FLAGS,
};
use btree_store::verify::verify_path;
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Options};
use common::watch::{Op, Watch};
use common::{NAME, corruption, holding, on, open, put_checksum, story};
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const PAGE: usize = 512;

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

/// Commits when it is dropped, to a storage that panics, and catches that.
struct CatchesInDrop(BTree);

impl Drop for CatchesInDrop {
    fn drop(&mut self) {
        let commit = || self.0.exec("b", |txn| txn.put("k", "2"));
        assert!(catch_unwind(AssertUnwindSafe(commit)).is_err());
    }
}

/// A leader took its panic for the one that was under way: nobody led any more, and a slot turned
/// though the flush had not succeeded.
#[test]
fn a_leader_that_panics_while_its_thread_unwinds_poisons() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "1")).unwrap();
    watch.hook(|op| {
        assert!(!op.is_sync(), "the storage is broken");
        Ok(())
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = CatchesInDrop(db.clone());
        resume_unwind(Box::new("the application's own panic"));
    }));
    assert!(panicked.is_err());
    watch.unhook();
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(db.exec("b", |txn| txn.put("k", "3"))));
    let later = told.recv_timeout(std::time::Duration::from_secs(10));
    assert_eq!(later, Ok(Err(Error::Poisoned)), "a commit waits for a leader that is gone");
}

/// A storage that panicked when the last copy of a new store's state was written panicked once
/// more when the store was dropped, which ended the process.
#[test]
fn a_storage_that_panics_at_the_end_of_a_backup_ends_no_process() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    db.exec("empty", |_| Ok(())).unwrap();
    let (ops, done) = watch.record(|| db.backup("copy"));
    done.unwrap();
    // The last two syncs are around the copy of the state.
    let mut left = ops.iter().filter(|op| op.is_sync()).count() - 2;
    watch.hook(move |op| {
        if op.is_sync() {
            assert!(left > 0, "the storage is broken");
            left -= 1;
        }
        Ok(())
    });
    assert!(catch_unwind(AssertUnwindSafe(|| db.backup("other"))).is_err());
    watch.unhook();
    assert_eq!(db.exec("b", |txn| txn.put("k", "on")), Ok(()));
}

/// Commits when its thread ends, and tells what came of it.
struct CommitsAtTheEnd(BTree, Arc<Mutex<Option<Result<(), Error>>>>);

impl Drop for CommitsAtTheEnd {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(self.0.exec("b", |txn| txn.put("last", "words")));
    }
}

thread_local! {
    static COMMITS: RefCell<Option<CommitsAtTheEnd>> = const { RefCell::new(None) };
}

/// A thread that ends keeps no detail of an error: a full disk at its sync was told as one that
/// leaves the state before.
#[test]
fn a_full_disk_at_a_sync_of_a_thread_that_ends_is_no_promise() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "1")).unwrap();
    watch.hook(|op| if op.is_sync() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) });
    let told = Arc::new(Mutex::new(None));
    let (its, tell) = (db.clone(), Arc::clone(&told));
    let thread = std::thread::spawn(move || {
        COMMITS.set(Some(CommitsAtTheEnd(its.clone(), tell)));
        // The thread has a detail from here on, which goes away before the value above.
        assert_eq!(its.exec("", |_| Ok(())), Err(Error::Invalid));
    });
    thread.join().unwrap();
    assert_eq!(told.lock().unwrap().take(), Some(Err(Error::IoError)));
    assert_eq!(db.exec("b", |_| Ok(())), Err(Error::Poisoned));
}

/// The storage's failures while a store was closed took the place of what the call had met that
/// closed it.
#[test]
fn closing_a_store_leaves_the_detail_of_the_call_that_closed_it() {
    let (_, watch) = Watch::memory();
    let db = on(watch.clone()).page_size(512).open(NAME).unwrap();
    let txn = db.begin();
    txn.bucket("b").unwrap().put("k", "mine").unwrap();
    db.exec("b", |txn| txn.put("k", "theirs")).unwrap();
    drop(db);
    watch.hook(|op| if op.is_sync() { Err(io::Error::other("gone")) } else { Ok(()) });
    assert_eq!(txn.commit(), Err(Error::Conflict));
    assert_eq!(story(Error::Conflict), "an entry that was read or written has changed since");
}

/// What a program returned as its own judgement was told with the story of another file's damage.
#[test]
fn an_error_that_a_closure_makes_up_has_no_detail_of_another() {
    let damaged = || assert_eq!(open(&holding(&[1; 100])).map(drop), Err(Error::Corruption));
    let db = open(&MemVfs::new()).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let made_up = || Err::<(), _>(Error::Corruption);
    let calls: [&dyn Fn() -> Result<(), Error>; 11] = [
        &|| db.exec("b", |_| made_up()),
        &|| db.exec_multi(|multi| multi.exec("b", |_| made_up())),
        &|| db.view("b", |_| made_up()),
        &|| db.snapshot().view("b", |_| made_up()),
        &|| db.transact(|_| made_up()),
        &|| db.try_exec("b", |_| made_up()),
        &|| db.try_exec_multi(|_| made_up()),
        &|| db.try_exec_multi(|multi| multi.try_exec("b", |_| made_up())),
        &|| db.try_view("b", |_| made_up()),
        &|| db.snapshot().try_view("b", |_| made_up()),
        &|| db.try_transact(|_| made_up()),
    ];
    for call in calls {
        damaged();
        assert!(Error::Corruption.detail().is_some());
        assert_eq!(call(), Err(Error::Corruption));
        assert_eq!(Error::Corruption.detail(), None);
        // One that a call in the closure met keeps its own.
        let inner = db.view("b", |_| {
            damaged();
            made_up()
        });
        assert_eq!(inner, Err(Error::Corruption));
        assert!(Error::Corruption.detail().is_some());
    }
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

/// A store that was closed after this many commits of a bucket, and where the leaf lies that the
/// last one wrote. The slots hold that state both ways round.
fn closed_after(commits: u8) -> (MemVfs, usize) {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("other", |txn| txn.put("k", "v")).unwrap();
    for n in 0..commits {
        db.exec("a", |txn| txn.put([n], "v")).unwrap();
    }
    drop(db);
    let bytes = vfs.read_file(NAME).unwrap();
    let is_newest = |page: &[u8]| page[HEADER_KIND] == KIND_LEAF && page[HEADER_TXN] == commits + 1;
    let leaf = bytes.chunks(PAGE).position(is_newest).expect("the commit wrote a leaf");
    (vfs, leaf * PAGE)
}

/// The copy in the other slot was the only state that recovery accepted, and the next commit was
/// written over it.
#[test]
fn a_commit_spares_the_only_slot_that_is_accepted() {
    for commits in 1..=2 {
        let (vfs, leaf) = closed_after(commits);
        let mut before = vfs.read_file(NAME).unwrap();
        before[leaf + 300] ^= 1;
        vfs.write_file(NAME, &before);
        let db = on(vfs.clone()).open(NAME).unwrap();
        db.exec("b", |txn| txn.put("k", "v")).unwrap();
        let mut torn = vfs.snapshot().read_file(NAME).unwrap();
        drop(db);
        let range = |slot: usize| slot * PAGE..(slot + 1) * PAGE;
        let slot = (0..2).find(|&slot| torn[range(slot)] != before[range(slot)]);
        torn[slot.expect("the commit wrote its slot") * PAGE + 200] ^= 1;
        let killed = MemVfs::new();
        killed.write_file(NAME, &torn);
        let db = on(killed).open(NAME).expect("the state before the torn commit");
        assert_eq!(db.buckets().unwrap(), ["a", "other"]);
    }
}

/// A commit's page that could not be read made a closed store one that did not open, if the slot
/// that lists it was slot 0.
#[test]
fn a_closed_store_opens_though_a_page_of_its_last_commit_cannot_be_read() {
    for commits in 1..=2 {
        let (vfs, leaf) = closed_after(commits);
        let watch = Watch::new(vfs);
        let is_in = move |offset: u64, len: usize| {
            offset < (leaf + PAGE) as u64 && offset + len as u64 > leaf as u64
        };
        watch.hook(move |op| match op {
            Op::Read { offset, len } if is_in(*offset, *len) => Err(io::Error::other("unreadable")),
            _ => Ok(()),
        });
        for options in [on(watch.clone()), on(watch.clone()).read_only()] {
            let db = options.open(NAME).unwrap();
            assert_eq!(db.buckets().unwrap(), ["a", "other"]);
            assert_eq!(db.view("other", |txn| txn.get("k")).unwrap(), b"v");
            assert_eq!(db.view("a", |txn| txn.get([0])), Err(Error::IoError));
        }
    }
}

/// A report called the original accepted where it lies in slot 0, though an open takes the copy.
#[test]
fn the_slot_that_an_open_accepts_is_called_accepted() {
    for commits in 1..=2 {
        let (vfs, _) = closed_after(commits);
        let report = btree_store::verify::verify_path(&vfs, NAME).unwrap();
        assert!(report.accepted().unwrap().is_mirror, "{commits} commits: {report}");
    }
}

/// A walk called the copy accepted, and walked the original, which a forged file has of another
/// state.
#[test]
fn what_is_walked_is_the_state_that_an_open_finds() {
    for commits in 1..=2 {
        let (vfs, _) = closed_after(commits);
        let mut bytes = vfs.read_file(NAME).unwrap();
        for slot in bytes.chunks_mut(PAGE).take(2) {
            if u32::from(slot[META_FLAGS]) & META_FLAG_MIRROR != 0 {
                // "a" is the first bucket: the length of its name and the name stand in front.
                let record = META_BODY + 3;
                slot[record..record + BUCKET_LEN].fill(0);
                put_checksum(slot);
            }
        }
        let vfs = holding(&bytes);
        let report = btree_store::verify::verify_path(&vfs, NAME).unwrap();
        assert!(!report.is_sound());
        let accepted = report.accepted().unwrap();
        assert_eq!((accepted.buckets[0].name.as_str(), accepted.buckets[0].entries), ("a", 0));
        let db = open(&vfs).unwrap();
        assert_eq!(db.view("a", |txn| txn.get([0])), Err(Error::NotFound));
    }
}

/// A leaf from which an entry was removed, and which then became the root of its tree, gave up the
/// value of another entry for the first that was removed from it by a range: slots were counted in
/// the leaf as it will be, and looked up in the leaf as it was.
#[test]
fn values_of_a_leaf_that_has_become_the_root_are_given_up_each_for_itself() {
    const ENTRIES: u8 = 18;
    let key = |n: u8| [n; 21];
    let large = |n: u8| vec![n; 600 + usize::from(n) * 100];
    for gone in 0..ENTRIES {
        for to in 0..=ENTRIES {
            for by_range in [true, false] {
                let options = on(MemVfs::new()).page_size(512).cache_bytes(1 << 20);
                let db = options.open(NAME).unwrap();
                let put = |n| db.exec("b", |txn| txn.put(key(n), large(n)));
                (0..ENTRIES).for_each(|n| put(n).unwrap());
                db.exec("b", |txn| {
                    txn.del(key(gone))?;
                    if by_range {
                        return txn.delete_range(key(0).as_slice()..&key(to)).map(drop);
                    }
                    (0..to).filter(|&n| n != gone).try_for_each(|n| txn.del(key(n)))
                })
                .unwrap();
                let report = db.verify().unwrap();
                assert!(report.is_sound(), "{gone}, ..{to}, by a range: {by_range}: {report}");
            }
        }
    }
}

/// Details are kept for the latest error of a name.
#[test]
fn a_busy_file_does_not_say_why_another_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    drop(BTree::open(&path).unwrap());
    let reader = Options::new().read_only().open(&path).unwrap();
    assert_eq!(BTree::open(&path).unwrap_err(), Error::Busy);
    assert!(Error::Busy.detail().is_some());
    let vfs = MemVfs::new();
    let open = || Options::new().vfs(Arc::new(vfs.clone())).open("b.db");
    let held = open().unwrap();
    let refused = open().unwrap_err();
    assert_eq!((refused, refused.detail()), (Error::Busy, None));
    drop((reader, held));
}

#[test]
fn what_the_storage_says_behind_the_opening_names_the_file_too() {
    let (_, watch) = Watch::memory();
    let db = Options::new().vfs(Arc::new(watch.clone())).open(NAME).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    watch.hook(|op| match op {
        Op::Rename => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    });
    let told = common::story(db.backup("copy.db").unwrap_err());
    assert!(told.contains(": copy.db: "), "{told}");
    watch.unhook();
    drop(db);
    watch.hook(|op| match op {
        Op::Read { .. } => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    });
    let told = common::story(verify_path(&watch, NAME).unwrap_err());
    assert!(told.contains(&format!(": {NAME}: ")), "{told}");
}

/// A walk called the older state accepted, where an open refuses the file.
#[test]
fn a_walk_accepts_no_state_that_an_open_refuses() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    let before = vfs.read_file(NAME).unwrap();
    (0..3).for_each(|n: u8| db.exec("b", |txn| txn.put("k", [n; 300])).unwrap());
    let mut lost = vfs.read_file(NAME).unwrap();
    let txn = |bytes: &[u8], page: usize| {
        let at = page * PAGE + HEADER_TXN;
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    };
    // The older slot is as it was made: it lists nothing, and is whole.
    let older = usize::from(txn(&lost, 0) > txn(&lost, 1));
    lost[older * PAGE..][..PAGE].copy_from_slice(&before[older * PAGE..][..PAGE]);
    assert_eq!((txn(&lost, older), txn(&lost, 1 - older)), (0, 3));
    let is_newest =
        |&page: &usize| lost[page * PAGE + HEADER_KIND] == KIND_LEAF && txn(&lost, page) == 3;
    let leaf = (2..lost.len() / PAGE).find(is_newest).unwrap();
    lost[leaf * PAGE + 100] ^= 1;
    let vfs = holding(&lost);
    assert_eq!(on(vfs.clone()).open(NAME).map(drop), Err(Error::Corruption));
    assert_eq!(corruption(Error::Corruption), (None, "txn-ids-increase"));
    let report = verify_path(&vfs, NAME).unwrap();
    assert!(!report.is_sound() && report.accepted().is_none(), "{report}");
}

/// A slot that had lost what was written to it was taken for the state before a commit that was
/// torn, however many had come between: all of them were gone without an error.
#[test]
fn a_state_that_is_not_the_one_before_a_torn_commit_is_not_fallen_back_to() {
    let mut refused = 0;
    for is_closed in [true, false] {
        let vfs = MemVfs::new();
        let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
        let commit = |n: u8| db.exec("b", |txn| txn.put("k", [n; 300])).unwrap();
        (0..4).for_each(commit);
        let before = vfs.read_file(NAME).unwrap();
        (4..9).for_each(commit);
        let mut bytes = vfs.read_file(NAME).unwrap();
        if is_closed {
            drop(db);
            bytes = vfs.read_file(NAME).unwrap();
        }
        let txn = |bytes: &[u8], slot: usize| {
            let at = slot * PAGE + HEADER_TXN;
            u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
        };
        for slot in 0..2 {
            let mut lost = bytes.clone();
            lost[slot * PAGE..][..PAGE].copy_from_slice(&before[slot * PAGE..][..PAGE]);
            let newest = txn(&lost, 1 - slot);
            assert!(newest > txn(&lost, slot) + 1);
            // Without the newest state's leaf.
            let mut leaves = lost.chunks_exact(PAGE).enumerate().skip(2);
            let is_newest = |(_, page): &(usize, &[u8])| {
                page[HEADER_KIND] == KIND_LEAF
                    && page[HEADER_TXN..HEADER_TXN + 8] == newest.to_le_bytes()
            };
            let flags = &lost[(1 - slot) * PAGE + META_FLAGS..][..4];
            if flags == META_FLAG_MIRROR.to_le_bytes() {
                // It lists nothing, and so it is not refused for a leaf.
                continue;
            }
            let (leaf, _) = leaves.rfind(is_newest).unwrap();
            lost[leaf * PAGE + 100] ^= 1;
            let vfs = holding(&lost);
            for options in [on(vfs.clone()), on(vfs.clone()).read_only()] {
                let opened = options.open(NAME).and_then(|db| db.view("b", |txn| txn.get("k")));
                assert_eq!(opened, Err(Error::Corruption), "closed: {is_closed}, slot {slot}");
            }
            assert!(vfs.read_file(NAME).unwrap() == lost);
            refused += 1;
        }
    }
    assert_eq!(refused, 3);
}

/// What a store met that was closed in a closure, and that nobody is told, let the closure's own
/// error be told with the story of another file's damage.
#[test]
fn a_store_that_is_closed_in_a_closure_lends_no_detail() {
    let damaged = || assert_eq!(open(&holding(&[1; 100])).map(drop), Err(Error::Corruption));
    let db = open(&MemVfs::new()).unwrap();
    db.exec("b", |txn| txn.put("k", "v")).unwrap();
    let closing = || {
        let (_, watch) = Watch::memory();
        let other = on(watch.clone()).page_size(512).open(NAME).unwrap();
        other.exec("b", |txn| txn.put("k", "v")).unwrap();
        watch.hook(|op| if op.is_sync() { Err(io::Error::other("gone")) } else { Ok(()) });
        other
    };
    for own in [false, true] {
        let other = closing();
        damaged();
        let made_up = if own {
            db.try_view("b", |_| {
                drop(other);
                Err::<(), _>(Error::Corruption)
            })
        } else {
            db.view("b", |_| {
                drop(other);
                Err::<(), _>(Error::Corruption)
            })
        };
        assert_eq!(made_up, Err(Error::Corruption));
        assert_eq!(Error::Corruption.detail(), None, "own: {own}");
    }
}

/// Nobody could read a store of which only the log of the free space is damaged, which readers do
/// not need.
#[test]
fn a_store_whose_log_is_damaged_can_be_read_and_copied() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/space-log.btree");
    let whole = std::fs::read(golden).unwrap();
    let all = |db: &BTree| {
        let names = db.buckets().unwrap();
        let read = |name: &String| db.view(name, |txn| txn.range::<[u8]>(..).collect());
        names.iter().map(|name| read(name).unwrap()).collect::<Vec<Vec<(Vec<u8>, Vec<u8>)>>>()
    };
    let wanted = all(&open(&holding(&whole)).unwrap());
    assert!(wanted.iter().map(Vec::len).sum::<usize>() > 100);
    let mut damaged = whole;
    damaged[133 * PAGE + 60] ^= 1;
    let vfs = holding(&damaged);
    assert_eq!(open(&vfs).map(drop), Err(Error::Corruption));
    let (_, invariant) = corruption(Error::Corruption);
    assert_eq!(invariant, "checksum-covers-page");
    let db = on(vfs.clone()).read_only().open(NAME).unwrap();
    assert_eq!(all(&db), wanted);
    for _ in 0..2 {
        assert_eq!(db.stats().map(drop), Err(Error::Corruption));
        assert_eq!(corruption(Error::Corruption).0, Some(133));
    }
    db.backup("copy").unwrap();
    let copy = on(vfs.clone()).open("copy").unwrap();
    assert_eq!(all(&copy), wanted);
    assert!(copy.stats().is_ok() && copy.verify().unwrap().is_sound());
    // What cannot be read is passed over, too.
    let watch = Watch::new(vfs);
    watch.hook(|op| match op {
        Op::Read { offset, .. } if *offset == 133 * PAGE as u64 => Err(io::Error::other("gone")),
        _ => Ok(()),
    });
    drop((db, copy));
    let db = on(watch.clone()).read_only().open(NAME).unwrap();
    assert_eq!(all(&db), wanted);
    assert_eq!(db.stats().map(drop), Err(Error::IoError));
}

/// The first slot is damaged, and what is wrong with the second is the storage's alone: it may be
/// whole, so that nobody is told to give the store up.
#[test]
fn a_slot_that_cannot_be_read_beside_a_damaged_one_is_an_error_of_the_storage() {
    let (vfs, _) = closed_after(1);
    let mut bytes = vfs.read_file(NAME).unwrap();
    bytes[META_BODY] ^= 1;
    let watch = Watch::new(holding(&bytes));
    watch.hook(|op| match op {
        Op::Read { offset, .. } if *offset == PAGE as u64 => Err(io::Error::other("unreadable")),
        _ => Ok(()),
    });
    for options in [on(watch.clone()), on(watch.clone()).read_only()] {
        assert_eq!(options.open(NAME).unwrap_err(), Error::IoError);
    }
    watch.unhook();
    let db = on(watch).open(NAME).unwrap();
    assert_eq!(db.view("other", |txn| txn.get("k")).unwrap(), b"v");
}

/// A page of the commit before the newest one cannot be read. It may be in a cache, of which its
/// device has not had it: behind a kill the open for writing, which would have it written again, is
/// refused until it can be read. Once it was passed over, and a later commit relied on it.
#[test]
fn a_page_that_has_to_be_written_again_is_not_passed_over_when_it_cannot_be_read() {
    let (vfs, watch) = Watch::memory();
    let db = on(watch).page_size(512).open(NAME).unwrap();
    for (bucket, key) in [("old", "k"), ("new", "k"), ("new", "l")] {
        db.exec(bucket, |txn| txn.put(key, [7; 200])).unwrap();
    }
    let newest = |db: &BTree| db.view("new", |txn| Ok(txn.len()));
    db.exec("old", |txn| txn.put("k", [8; 200])).unwrap();
    db.exec("new", |txn| txn.put("m", [8; 200])).unwrap();
    let killed = vfs.snapshot();
    let open = |watch: &Watch| on(watch.clone()).cache_bytes(0).open(NAME);
    // Where the older bucket's leaf is.
    let watch = Watch::new(killed.snapshot());
    let read_only = on(watch.clone()).cache_bytes(0).read_only().open(NAME).unwrap();
    let last = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&last);
    watch.hook(move |op| {
        if let Op::Read { offset, .. } = op {
            seen.store(*offset, Ordering::Relaxed);
        }
        Ok(())
    });
    read_only.view("old", |txn| txn.get("k")).unwrap();
    let place = last.load(Ordering::Relaxed);
    assert!(place >= 2 * 512, "a page was read");
    let watch = Watch::new(killed);
    watch.hook(move |op| match op {
        Op::Read { offset, len } if (*offset..*offset + *len as u64).contains(&place) => {
            Err(io::Error::other("a bad sector"))
        }
        _ => Ok(()),
    });
    assert_eq!(open(&watch).map(drop), Err(Error::IoError));
    let read_only = on(watch.clone()).cache_bytes(0).read_only().open(NAME).unwrap();
    assert_eq!(newest(&read_only), Ok(3));
    assert_eq!(read_only.view("old", |txn| txn.get("k")), Err(Error::IoError));
    drop(read_only);
    watch.unhook();
    let opened = open(&watch).unwrap();
    assert_eq!(newest(&opened), Ok(3));
    assert_eq!(opened.view("old", |txn| txn.get("k")), Ok(vec![8; 200]));
}
