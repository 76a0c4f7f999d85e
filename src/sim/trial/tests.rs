//! Does a trial tell what is wrong, and nothing else?

use super::faulty::explained;
use super::*;
use crate::sim::certify::Certifier;
use crate::sim::fault::{Errno, Failure, Fault, OpSet, SyncFailure, When};
use crate::vfs::{FileId, LockMode, OpenMode, VfsFile};
use std::io;

fn disk_of_one_leaf() -> SimDisk {
    let start = Certifier::new(512).start(Initial::OneLeaf).expect("it can be made");
    SimDisk::from_snapshot(&start)
}

fn trial() -> Trial {
    Trial::new(Initial::OneLeaf, &[Step::PutNew], 512, Barriers::Two)
}

#[test]
fn what_was_durable_before_the_disk_lied_is_not_given_up() {
    let trial = trial().with_promise(Promise::LastMayBeLost);
    let disk = disk_of_one_leaf();
    // The second process finds no power: nothing is noted by it.
    let off = Fault::new(OpSet::ALL, When::Once(0), Failure::PowerOff);
    trial.run_recovering(&disk, Some(off)).expect_err("there is no power");
    assert_eq!(trial.left(&disk, &Crash::default()), [State::of_step(1)]);
}

/// Where the last step's slot was, and no older: each commit goes over the older of two.
#[test]
fn what_neither_slot_holds_any_more_is_not_found_again() {
    let put = Step::PutNew;
    for (steps, durability, possible) in [
        ([put, put, put], Durability::Durable, &[1, 2][..]),
        // Nothing is written for it: the slots hold what they held.
        ([put, put, Step::DeleteMiss], Durability::Durable, &[0, 1, 2]),
        ([put, Step::DeleteMiss, put], Durability::Durable, &[0, 1, 2]),
        // Deferred, all steps are one commit.
        ([put, put, put], Durability::Deferred, &[0, 1, 2]),
    ] {
        let trial = Trial::new(Initial::OneLeaf, &steps, 512, Barriers::One)
            .with_durability(durability)
            .with_promise(Promise::LastMayBreak);
        let states: Vec<State> = possible.iter().copied().map(State::of_step).collect();
        assert_eq!(trial.left(&disk_of_one_leaf(), &Crash::default()), states, "{steps:?}");
    }
}

/// Also behind a fault that the transaction got over, such as a short write.
#[test]
fn a_reader_is_looked_at_behind_a_fault_that_the_step_gets_over() {
    let mut trial = Trial::new(Initial::OneLeaf, &[Step::UnderReader], 512, Barriers::Two);
    let short = Fault::new(OpSet::of(&[OpKind::Write]), When::Once(0), Failure::Short(200));
    trial.run_faulted(&disk_of_one_leaf(), short).expect("nothing is wrong");
    // The model is wrong of what the reader sees: whoever looks at it tells.
    trial.dumps[0][0].forward ^= 1;
    let told =
        trial.run_faulted(&disk_of_one_leaf(), short).expect_err("the reader is not looked at");
    assert!(told.to_string().contains("an old reader found"), "{told}");
}

/// A disk whose files are opened in another way.
struct Other {
    disk: SimDisk,
    open: fn(&SimDisk, &Path, OpenMode) -> io::Result<Box<dyn VfsFile>>,
}

impl Vfs for Other {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        (self.open)(&self.disk, path, mode)
    }
    fn file_id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.disk.file_id(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
}

/// The process that follows on the first opens nothing, for no reason.
fn refusing(disk: &SimDisk) -> Arc<dyn Vfs> {
    let open = |disk: &SimDisk, path: &Path, mode| {
        let is_second = disk.machine().generation == 2;
        if is_second { Err(io::ErrorKind::InvalidInput.into()) } else { disk.open(path, mode) }
    };
    Arc::new(Other { disk: disk.clone(), open })
}

#[test]
fn an_error_that_no_fault_explains_is_told() {
    let disk = disk_of_one_leaf();
    assert_eq!(disk.machine().generation, 1);
    trial().run_recovering(&disk, None).expect("nothing is wrong");
    let trial = Trial { vfs: refusing, ..trial() };
    trial.run_recovering(&disk_of_one_leaf(), None).expect_err("an open fails");
    // With a fault about that strikes nowhere.
    let none = Fault::new(OpSet::SYNCS, When::Once(99), Failure::Error(Errno::Eio));
    trial.run_recovering(&disk_of_one_leaf(), Some(none)).expect_err("an open fails");
    let disk = disk_of_one_leaf();
    disk.kill();
    trial.check_recovering(&disk, &Crash::default(), none).expect_err("an open fails");
}

/// Whoever opens the file to read it makes another.
fn littering(disk: &SimDisk) -> Arc<dyn Vfs> {
    let open = |disk: &SimDisk, path: &Path, mode| {
        drop(disk.open(Path::new("litter"), OpenMode::Create)?);
        disk.open(path, mode)
    };
    Arc::new(Other { disk: disk.clone(), open })
}

#[test]
fn a_read_only_open_that_makes_a_file_is_told() {
    let disk = disk_of_one_leaf();
    let possible = [State::of_step(0)];
    trial().check_read_only(&disk, &possible).expect("nothing is wrong");
    let trial = Trial { vfs: littering, ..trial() };
    trial.check_read_only(&disk, &possible).expect_err("a file is made");
}

/// Whatever fails but a sync and the write of a slot, nobody knows less of what is durable.
#[test]
fn a_store_goes_on_where_neither_a_sync_failed_nor_a_slot() {
    type Act = fn(&dyn VfsFile) -> io::Result<usize>;
    let write_page: Act = |file| file.write_at(&[1; 512], 1024);
    let write_slot: Act = |file| file.write_at(&[1; 512], 512);
    let acts: [(Act, bool); 9] = [
        (write_page, true),
        (write_slot, false),
        (|file| file.read_at(&mut [0; 512], 0), true),
        (|file| file.size().map(|_| 0), true),
        (|file| file.set_len(4096).map(|()| 0), true),
        (|file| file.id().map(|_| 0), true),
        (|file| file.try_lock(LockMode::Shared).map(usize::from), true),
        (|file| file.sync_data().map(|()| 0), false),
        (|file| file.sync_all().map(|()| 0), false),
    ];
    for (place, (act, must_go_on)) in acts.into_iter().enumerate() {
        let disk = disk_of_one_leaf();
        let file = disk.open(Path::new(PATH), OpenMode::ReadWrite).expect("the file is there");
        disk.inject(Fault::new(OpSet::ALL, When::Once(0), Failure::Error(Errno::Eio)));
        act(&*file).expect_err("a fault strikes");
        assert_eq!(trial().must_go_on(&disk), must_go_on, "act {place}");
    }
    // Of a page nothing is taken; and the disk fails, now or late, at what it is told to begin.
    let late = Failure::Sync(SyncFailure::Late);
    let begin: Act = |file| file.begin_write_back(1024..1536).map(|()| 0);
    for (ops, failure, act, must_go_on) in [
        (OpSet::WRITES, Failure::Short(0), write_page, true),
        (OpSet::WRITES, Failure::Short(0), write_slot, false),
        (OpSet::WRITE_BACKS, Failure::Sync(SyncFailure::Drop), begin, true),
        (OpSet::WRITE_BACKS, late, begin, false),
    ] {
        let disk = disk_of_one_leaf();
        let file = disk.open(Path::new(PATH), OpenMode::ReadWrite).expect("the file is there");
        disk.inject(Fault::new(ops, When::Once(0), failure));
        drop(act(&*file));
        assert!(disk.has_fault_struck());
        assert_eq!(trial().must_go_on(&disk), must_go_on, "{failure:?}");
    }
}

/// A store tries again what was interrupted, and goes on where a transfer ended.
#[test]
fn what_a_store_has_to_get_over_explains_no_error() {
    for (failure, is_explained) in [
        (Failure::Error(Errno::Eio), true),
        (Failure::Error(Errno::Enospc), true),
        (Failure::Short(0), true),
        (Failure::Error(Errno::Eintr), false),
        (Failure::Short(1), false),
        (Failure::Short(200), false),
    ] {
        let disk = disk_of_one_leaf();
        let file = disk.open(Path::new(PATH), OpenMode::ReadWrite).expect("the file is there");
        disk.inject(Fault::new(OpSet::WRITES, When::Once(0), failure));
        let moved = file.write_at(&[1; 512], 1024);
        assert_ne!(moved.ok(), Some(512), "{failure:?}");
        assert!(disk.has_fault_struck());
        for error in [Error::IoError, Error::NoSpace, Error::Poisoned] {
            let checked = explained(error, disk.has_failed());
            assert_eq!(checked.is_ok(), is_explained, "{error:?} after {failure:?}");
        }
    }
}
