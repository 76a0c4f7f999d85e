//! Do the storages behind the seam behave as the seam says, and alike?
//!
//! One battery of claims runs over the operating system's files, over files in memory and over the
//! simulated disk; the loops over short transfers run over a file that misbehaves on purpose.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

#[cfg(target_os = "linux")]
#[path = "vfs/paths.rs"]
mod paths;

use btree_store::vfs::{
    FileId, LockMode, MemVfs, OpenMode, OsVfs, Vfs, VfsFile, read_exact_at, write_all_at,
    write_all_vectored_at,
};
use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Mutex;

/// A storage, and a directory in it that a claim has for itself.
struct Place<'a> {
    vfs: &'a dyn Vfs,
    dir: &'a Path,
}

impl Place<'_> {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn VfsFile>> {
        self.vfs.open(&self.dir.join(name), mode)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Box<dyn VfsFile> {
        let file = self.open(name, OpenMode::Create).expect("the file is made");
        write_all_at(&*file, bytes, 0).expect("the bytes are written");
        file
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.vfs.rename(&self.dir.join(from), &self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.vfs.remove(&self.dir.join(name))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.vfs.create_dir(&self.dir.join(name))
    }

    fn remove_dir(&self, name: &str) -> io::Result<()> {
        self.vfs.remove_dir(&self.dir.join(name))
    }

    fn read_dir(&self, name: &str) -> io::Result<Vec<OsString>> {
        self.vfs.read_dir(&self.dir.join(name))
    }

    fn id(&self, name: &str) -> Option<FileId> {
        self.vfs.file_id(&self.dir.join(name)).expect("asking for an id works")
    }
}

fn content(file: &dyn VfsFile) -> Vec<u8> {
    let size = usize::try_from(file.size().expect("size works")).expect("a test's file is small");
    let mut bytes = vec![0xEE; size];
    read_exact_at(file, &mut bytes, 0).expect("the whole file can be read");
    bytes
}

fn failure<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("the call must fail").kind()
}

mod battery {
    use super::*;

    pub fn a_read_gives_what_was_written_last(place: &Place<'_>) {
        let file = place.create("f", b"one two six");
        write_all_at(&*file, b"ten", 4).unwrap();
        assert_eq!(content(&*file), b"one ten six");
        let other = place.open("f", OpenMode::Read).unwrap();
        assert_eq!(content(&*other), b"one ten six", "another handle sees it as well");
    }

    pub fn a_read_across_the_end_is_short_and_beyond_it_is_empty(place: &Place<'_>) {
        let file = place.create("f", b"abcde");
        let mut buf = [0xEE; 4];
        assert_eq!(file.read_at(&mut buf, 3).unwrap(), 2);
        assert_eq!(&buf, b"de\xEE\xEE", "nothing is touched behind what was read");
        assert_eq!(file.read_at(&mut buf, 5).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
        assert_eq!(failure(read_exact_at(&*file, &mut buf, 3)), ErrorKind::UnexpectedEof);
    }

    /// More buffers than a system takes at once, some of them empty, and more bytes than are copied
    /// together.
    pub fn buffers_are_written_one_behind_the_other(place: &Place<'_>) {
        let file = place.create("f", b"begin");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let (small, large) = bytes.split_at(20_000);
        let mut bufs: Vec<IoSlice<'_>> = Vec::new();
        for (at, buf) in small.chunks(7).enumerate() {
            bufs.push(IoSlice::new(&buf[..buf.len() - at % 3 % buf.len()]));
            bufs.push(IoSlice::new(&[]));
        }
        bufs.push(IoSlice::new(large));
        let expected: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        write_all_vectored_at(&*file, &mut bufs, 3).unwrap();
        let found = content(&*file);
        assert_eq!(&found[..3], b"beg");
        assert!(found[3..] == expected, "what is read is what was written");
    }

    pub fn what_the_disk_begins_with_is_read_as_before_and_may_be_written_again(place: &Place<'_>) {
        let file = place.create("f", &[1; 10_000]);
        for range in [0..10_000, 4096..8192, 5..6, 7..7, 9_000..90_000, 1 << 40..1 << 41] {
            file.begin_write_back(range).unwrap();
            assert_eq!(content(&*file), [1; 10_000]);
        }
        write_all_at(&*file, &[2; 10_000], 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(content(&*file), [2; 10_000]);
    }

    pub fn a_hole_reads_as_zeros(place: &Place<'_>) {
        let file = place.create("f", b"ab");
        write_all_at(&*file, b"z", 10_000).unwrap();
        let mut expected = vec![0; 10_001];
        expected[..2].copy_from_slice(b"ab");
        expected[10_000] = b'z';
        assert_eq!(content(&*file), expected);
    }

    pub fn a_write_of_nothing_beyond_the_end_leaves_the_length(place: &Place<'_>) {
        let file = place.create("f", b"ab");
        assert_eq!(file.write_at(b"", 100).unwrap(), 0);
        assert_eq!(file.size().unwrap(), 2);
    }

    pub fn a_shortened_and_lengthened_file_has_zeros_for_the_old_bytes(place: &Place<'_>) {
        let file = place.create("f", b"abcdef");
        file.set_len(2).unwrap();
        assert_eq!(content(&*file), b"ab");
        file.set_len(5).unwrap();
        assert_eq!(content(&*file), b"ab\0\0\0");
        file.set_len(0).unwrap();
        assert_eq!(file.size().unwrap(), 0);
    }

    pub fn an_offset_no_file_can_have_is_an_error(place: &Place<'_>) {
        let file = place.create("f", b"ab");
        assert!(file.write_at(b"x", u64::MAX).is_err());
        assert!(file.set_len(u64::MAX).is_err());
        assert_eq!(content(&*file), b"ab");
    }

    pub fn syncs_succeed_and_change_nothing(place: &Place<'_>) {
        let file = place.create("f", b"ab");
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        place.vfs.sync_dir(&place.dir.join("f")).unwrap();
        assert_eq!(content(&*file), b"ab");
    }

    pub fn a_missing_file_is_not_found_and_not_made(place: &Place<'_>) {
        assert_eq!(failure(place.open("f", OpenMode::Read)), ErrorKind::NotFound);
        assert_eq!(failure(place.open("f", OpenMode::ReadWrite)), ErrorKind::NotFound);
        assert_eq!(failure(place.rename("f", "g")), ErrorKind::NotFound);
        assert_eq!(failure(place.remove("f")), ErrorKind::NotFound);
        assert_eq!(place.id("f"), None);
    }

    pub fn create_keeps_a_file_that_exists(place: &Place<'_>) {
        let made = place.create("f", b"kept");
        let again = place.open("f", OpenMode::Create).unwrap();
        assert_eq!(content(&*again), b"kept");
        assert_eq!(again.id().unwrap(), made.id().unwrap());
    }

    pub fn a_path_without_a_file_name_is_refused_as_a_directory(place: &Place<'_>) {
        for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
            let opened = place.vfs.open(Path::new("."), mode);
            assert_eq!(failure(opened), ErrorKind::IsADirectory, "{mode:?}");
        }
    }

    pub fn a_file_opened_for_reading_refuses_writes(place: &Place<'_>) {
        place.create("f", b"kept");
        let file = place.open("f", OpenMode::Read).unwrap();
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
        assert_eq!(content(&*file), b"kept");
    }

    pub fn a_replaced_file_lives_on_in_its_handles(place: &Place<'_>) {
        let old = place.create("f", b"old");
        let new = place.create("f-create", b"new");
        place.rename("f-create", "f").unwrap();
        assert_eq!(content(&*place.open("f", OpenMode::Read).unwrap()), b"new");
        assert_eq!(place.id("f-create"), None);
        assert_eq!(place.id("f"), Some(new.id().unwrap()));
        assert_ne!(place.id("f"), Some(old.id().unwrap()));
        write_all_at(&*old, b"OLD", 0).unwrap();
        assert_eq!(content(&*old), b"OLD", "the handle still reaches the replaced file");
        assert_eq!(content(&*new), b"new", "and only that one");
    }

    pub fn a_rename_onto_itself_keeps_the_file(place: &Place<'_>) {
        place.create("f", b"kept");
        place.rename("f", "f").unwrap();
        assert_eq!(content(&*place.open("f", OpenMode::Read).unwrap()), b"kept");
    }

    pub fn a_removed_file_lives_on_in_its_handles(place: &Place<'_>) {
        let old = place.create("f", b"old");
        place.remove("f").unwrap();
        assert_eq!(place.id("f"), None);
        assert_eq!(content(&*old), b"old");
        let new = place.create("f", b"new");
        assert_ne!(new.id().unwrap(), old.id().unwrap());
        assert_eq!(content(&*old), b"old");
    }

    pub fn an_id_belongs_to_one_file_under_any_name(place: &Place<'_>) {
        let file = place.create("f", b"");
        let other = place.create("g", b"");
        let id = file.id().unwrap();
        assert_ne!(id, other.id().unwrap());
        assert_eq!(place.id("f"), Some(id));
        assert_eq!(place.open("f", OpenMode::Read).unwrap().id().unwrap(), id);
        place.rename("f", "h").unwrap();
        assert_eq!(place.id("h"), Some(id));
        assert_eq!(file.id().unwrap(), id);
    }

    pub fn an_exclusive_lock_excludes_every_other_handle_until_it_is_dropped(place: &Place<'_>) {
        let holder = place.create("f", b"");
        let other = place.open("f", OpenMode::ReadWrite).unwrap();
        let reader = place.open("f", OpenMode::Read).unwrap();
        assert!(holder.try_lock(LockMode::Exclusive).unwrap());
        assert!(!other.try_lock(LockMode::Exclusive).unwrap());
        assert!(!other.try_lock(LockMode::Shared).unwrap());
        assert!(!reader.try_lock(LockMode::Shared).unwrap());
        drop(holder);
        assert!(other.try_lock(LockMode::Exclusive).unwrap());
        assert!(!reader.try_lock(LockMode::Shared).unwrap());
    }

    pub fn shared_locks_exclude_an_exclusive_one_until_the_last_is_dropped(place: &Place<'_>) {
        place.create("f", b"");
        let first = place.open("f", OpenMode::Read).unwrap();
        let second = place.open("f", OpenMode::Read).unwrap();
        let writer = place.open("f", OpenMode::ReadWrite).unwrap();
        assert!(first.try_lock(LockMode::Shared).unwrap());
        assert!(second.try_lock(LockMode::Shared).unwrap());
        assert!(!writer.try_lock(LockMode::Exclusive).unwrap());
        drop(first);
        assert!(!writer.try_lock(LockMode::Exclusive).unwrap());
        drop(second);
        assert!(writer.try_lock(LockMode::Exclusive).unwrap());
    }

    pub fn a_dropped_handle_without_the_lock_releases_nothing(place: &Place<'_>) {
        let holder = place.create("f", b"");
        assert!(holder.try_lock(LockMode::Exclusive).unwrap());
        let refused = place.open("f", OpenMode::ReadWrite).unwrap();
        assert!(!refused.try_lock(LockMode::Exclusive).unwrap());
        drop(refused);
        let late = place.open("f", OpenMode::ReadWrite).unwrap();
        assert!(!late.try_lock(LockMode::Exclusive).unwrap());
    }

    pub fn a_lock_follows_the_file_and_not_its_name(place: &Place<'_>) {
        let holder = place.create("f", b"");
        assert!(holder.try_lock(LockMode::Exclusive).unwrap());
        place.rename("f", "g").unwrap();
        let same = place.open("g", OpenMode::ReadWrite).unwrap();
        assert!(!same.try_lock(LockMode::Exclusive).unwrap());
        let new = place.create("f", b"");
        assert!(new.try_lock(LockMode::Exclusive).unwrap());
    }

    /// Windows adds a second lock instead of changing the first.
    #[cfg(unix)]
    pub fn a_lock_asked_for_again_is_changed_and_a_refused_change_loses_it(place: &Place<'_>) {
        let file = place.create("f", b"");
        let other = place.open("f", OpenMode::ReadWrite).unwrap();
        assert!(file.try_lock(LockMode::Exclusive).unwrap());
        assert!(file.try_lock(LockMode::Shared).unwrap());
        assert!(other.try_lock(LockMode::Shared).unwrap(), "the lock was weakened");
        assert!(!file.try_lock(LockMode::Exclusive).unwrap());
        assert!(other.try_lock(LockMode::Exclusive).unwrap(), "the refused handle holds nothing");
    }

    pub fn a_directory_is_made_listed_and_removed(place: &Place<'_>) {
        place.create_dir("d").unwrap();
        assert_eq!(place.read_dir("d").unwrap(), [""; 0]);
        // Made in another order than they are listed in.
        for name in ["d/b", "d/aa", "d/B", "d/a.c", "da"] {
            place.create(name, b"");
        }
        place.create_dir("d/a").unwrap();
        place.create("d/a/below", b"");
        assert_eq!(place.read_dir("d").unwrap(), ["B", "a", "a.c", "aa", "b"]);
        assert_eq!(place.read_dir("d/a").unwrap(), ["below"]);
        assert_eq!(place.read_dir("").unwrap(), ["d", "da"]);
        for name in ["d/b", "d/aa", "d/B", "d/a.c", "d/a/below"] {
            place.remove(name).unwrap();
        }
        place.remove_dir("d/a").unwrap();
        assert_eq!(place.read_dir("d").unwrap(), [""; 0]);
        place.remove_dir("d").unwrap();
        assert_eq!(failure(place.read_dir("d")), ErrorKind::NotFound);
        assert_eq!(place.id("d"), None);
        assert_eq!(place.read_dir("").unwrap(), ["da"]);
    }

    pub fn a_directory_that_is_not_empty_stays(place: &Place<'_>) {
        place.create_dir("d").unwrap();
        place.create("d/f", b"kept");
        assert_eq!(failure(place.remove_dir("d")), ErrorKind::DirectoryNotEmpty);
        assert_eq!(content(&*place.open("d/f", OpenMode::Read).unwrap()), b"kept");
        place.remove("d/f").unwrap();
        place.create_dir("d/e").unwrap();
        assert_eq!(failure(place.remove_dir("d")), ErrorKind::DirectoryNotEmpty);
        assert_eq!(place.read_dir("d").unwrap(), ["e"]);
    }

    pub fn what_is_in_no_directory_is_not_found_and_not_made(place: &Place<'_>) {
        place.create("f", b"kept");
        for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
            assert_eq!(failure(place.open("d/g", mode)), ErrorKind::NotFound, "{mode:?}");
        }
        assert_eq!(failure(place.rename("f", "d/f")), ErrorKind::NotFound);
        assert_eq!(failure(place.rename("d/f", "g")), ErrorKind::NotFound);
        assert_eq!(failure(place.remove("d/f")), ErrorKind::NotFound);
        assert_eq!(failure(place.create_dir("d/e")), ErrorKind::NotFound);
        assert_eq!(failure(place.remove_dir("d/e")), ErrorKind::NotFound);
        assert_eq!(failure(place.remove_dir("d")), ErrorKind::NotFound);
        assert_eq!(failure(place.read_dir("d")), ErrorKind::NotFound);
        assert_eq!(place.id("d/f"), None);
        assert!(!place.vfs.exists(&place.dir.join("d/f")).unwrap());
        assert_eq!(place.read_dir("").unwrap(), ["f"]);
    }

    #[cfg(unix)]
    pub fn a_way_behind_a_file_is_no_directory(place: &Place<'_>) {
        let not = ErrorKind::NotADirectory;
        place.create("f", b"kept");
        for below in ["f/g", "f/d/g"] {
            for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
                assert_eq!(failure(place.open(below, mode)), not, "{below}, {mode:?}");
            }
            assert_eq!(failure(place.rename("f", below)), not, "{below}");
            assert_eq!(failure(place.rename(below, "g")), not, "{below}");
            assert_eq!(failure(place.remove(below)), not, "{below}");
            assert_eq!(failure(place.create_dir(below)), not, "{below}");
            assert_eq!(failure(place.remove_dir(below)), not, "{below}");
            assert_eq!(failure(place.read_dir(below)), not, "{below}");
            assert_eq!(failure(place.vfs.file_id(&place.dir.join(below))), not, "{below}");
            assert_eq!(failure(place.vfs.exists(&place.dir.join(below))), not, "{below}");
            assert_eq!(failure(place.vfs.sync_dir(&place.dir.join(below))), not, "{below}");
        }
        assert_eq!(failure(place.remove_dir("f")), not);
        assert_eq!(failure(place.read_dir("f")), not);
        assert_eq!(place.read_dir("").unwrap(), ["f"]);
        assert_eq!(content(&*place.open("f", OpenMode::Read).unwrap()), b"kept");
    }

    pub fn a_name_is_a_file_or_a_directory(place: &Place<'_>) {
        place.create_dir("d").unwrap();
        place.create("f", b"kept");
        for name in ["d", "f"] {
            assert_eq!(failure(place.create_dir(name)), ErrorKind::AlreadyExists, "{name}");
        }
        for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
            assert_eq!(failure(place.open("d", mode)), ErrorKind::IsADirectory, "{mode:?}");
        }
        // Which error that is, differs from system to system.
        failure(place.remove("d"));
        failure(place.rename("f", "d"));
        assert_eq!(place.read_dir("").unwrap(), ["d", "f"]);
        assert!(place.id("d").is_some() && place.id("d") != place.id("f"));
        assert!(place.vfs.exists(&place.dir.join("d")).unwrap());
    }

    pub fn a_file_moves_from_a_directory_to_another(place: &Place<'_>) {
        place.create_dir("d").unwrap();
        place.create_dir("e").unwrap();
        place.create("d/f", b"moved");
        place.create("e/f", b"replaced");
        place.rename("d/f", "e/f").unwrap();
        assert_eq!(content(&*place.open("e/f", OpenMode::Read).unwrap()), b"moved");
        place.remove_dir("d").unwrap();
        assert_eq!(place.read_dir("").unwrap(), ["e"]);
        place.vfs.sync_dir(&place.dir.join("e/f")).unwrap();
        #[cfg(not(windows))]
        assert_eq!(failure(place.vfs.sync_dir(&place.dir.join("d/f"))), ErrorKind::NotFound);
    }

    pub fn threads_write_and_read_their_parts_at_once(place: &Place<'_>) {
        let file = place.create("f", b"");
        std::thread::scope(|scope| {
            for part in 0..4_u8 {
                let file = &*file;
                scope.spawn(move || {
                    for round in 0..100_u64 {
                        let offset = (round * 4 + u64::from(part)) * 64;
                        let bytes = [part + 1; 64];
                        write_all_at(file, &bytes, offset).unwrap();
                        let mut back = [0; 64];
                        read_exact_at(file, &mut back, offset).unwrap();
                        assert_eq!(back, bytes);
                    }
                });
            }
        });
        let all = content(&*file);
        assert_eq!(all.len(), 400 * 64);
        for (index, chunk) in all.chunks(64).enumerate() {
            let part = u8::try_from(index % 4).unwrap() + 1;
            assert!(chunk.iter().all(|byte| *byte == part), "part {index}");
        }
    }
}

/// Runs each claim over each storage.
macro_rules! claims {
    ($($(#[$attribute:meta])* $claim:ident)*) => {
        mod os_files {
            use super::*;
            $($(#[$attribute])* #[test] fn $claim() {
                let dir = tempfile::tempdir().unwrap();
                battery::$claim(&Place { vfs: &OsVfs, dir: dir.path() });
            })*
        }
        mod files_in_memory {
            use super::*;
            $($(#[$attribute])* #[test] fn $claim() {
                let (vfs, dir) = (MemVfs::new(), Path::new("dir"));
                vfs.create_dir(dir).unwrap();
                battery::$claim(&Place { vfs: &vfs, dir });
            })*
        }
        #[cfg(feature = "sim")]
        mod files_on_the_simulated_disk {
            use super::*;
            $($(#[$attribute])* #[test] fn $claim() {
                let (vfs, dir) = (btree_store::sim::SimDisk::new(), Path::new("dir"));
                vfs.create_dir(dir).unwrap();
                battery::$claim(&Place { vfs: &vfs, dir });
            })*
        }
    };
}

claims! {
    a_read_gives_what_was_written_last
    a_read_across_the_end_is_short_and_beyond_it_is_empty
    what_the_disk_begins_with_is_read_as_before_and_may_be_written_again
    a_hole_reads_as_zeros
    buffers_are_written_one_behind_the_other
    a_write_of_nothing_beyond_the_end_leaves_the_length
    a_shortened_and_lengthened_file_has_zeros_for_the_old_bytes
    an_offset_no_file_can_have_is_an_error
    syncs_succeed_and_change_nothing
    a_missing_file_is_not_found_and_not_made
    create_keeps_a_file_that_exists
    a_path_without_a_file_name_is_refused_as_a_directory
    a_file_opened_for_reading_refuses_writes
    a_replaced_file_lives_on_in_its_handles
    a_rename_onto_itself_keeps_the_file
    a_removed_file_lives_on_in_its_handles
    #[cfg(unix)] an_id_belongs_to_one_file_under_any_name
    an_exclusive_lock_excludes_every_other_handle_until_it_is_dropped
    shared_locks_exclude_an_exclusive_one_until_the_last_is_dropped
    a_dropped_handle_without_the_lock_releases_nothing
    a_lock_follows_the_file_and_not_its_name
    #[cfg(unix)] a_lock_asked_for_again_is_changed_and_a_refused_change_loses_it
    a_directory_is_made_listed_and_removed
    a_directory_that_is_not_empty_stays
    what_is_in_no_directory_is_not_found_and_not_made
    #[cfg(unix)] a_way_behind_a_file_is_no_directory
    a_name_is_a_file_or_a_directory
    a_file_moves_from_a_directory_to_another
    threads_write_and_read_their_parts_at_once
}

mod only_os_files {
    use super::*;

    /// Files and directories of /proc know no sync: whoever really asks the system is refused.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_sync_asks_the_system() {
        let path = Path::new("/proc/self/comm");
        if std::fs::File::open(path).unwrap().sync_data().is_ok() {
            println!("skipped: this system syncs /proc");
            return;
        }
        let file = OsVfs.open(path, OpenMode::Read).unwrap();
        assert_eq!(failure(file.sync_data()), ErrorKind::InvalidInput);
        assert_eq!(failure(file.sync_all()), ErrorKind::InvalidInput);
        assert_eq!(failure(OsVfs.sync_dir(path)), ErrorKind::InvalidInput);
    }

    #[cfg(unix)]
    #[test]
    fn hard_links_and_symlinks_lead_to_one_id_and_one_lock() {
        let dir = tempfile::tempdir().unwrap();
        let [real, hard, soft, loose] =
            ["real", "hard", "soft", "loose"].map(|n| dir.path().join(n));
        let file = OsVfs.open(&real, OpenMode::Create).unwrap();
        std::fs::hard_link(&real, &hard).unwrap();
        std::os::unix::fs::symlink(&real, &soft).unwrap();
        std::os::unix::fs::symlink(dir.path().join("missing"), &loose).unwrap();
        let id = file.id().unwrap();
        assert!(file.try_lock(LockMode::Exclusive).unwrap());
        for path in [&real, &hard, &soft] {
            assert_eq!(OsVfs.file_id(path).unwrap(), Some(id), "{}", path.display());
            let again = OsVfs.open(path, OpenMode::ReadWrite).unwrap();
            assert_eq!(again.id().unwrap(), id, "{}", path.display());
            assert!(!again.try_lock(LockMode::Shared).unwrap(), "{}", path.display());
        }
        assert_eq!(OsVfs.file_id(&loose).unwrap(), None, "a symlink to nothing is no file");
    }

    #[cfg(unix)]
    #[test]
    fn a_symlink_to_a_directory_is_refused_as_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        for path in [dir.path(), &link] {
            for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
                assert_eq!(failure(OsVfs.open(path, mode)), ErrorKind::IsADirectory, "{mode:?}");
            }
        }
    }

    #[test]
    fn the_directory_of_a_bare_name_is_the_current_one() {
        OsVfs.sync_dir(Path::new("a-name-that-need-not-exist")).unwrap();
        let here = OsVfs.read_dir(Path::new("")).unwrap();
        assert!(!here.is_empty() && here == OsVfs.read_dir(Path::new(".")).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn names_behind_a_pipe_are_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("p");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let (done, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let refused = OsVfs.sync_dir(&pipe.join("x")).map_err(|error| error.kind());
            done.send(refused).expect("the test waits");
        });
        let refused = told.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(refused, Ok(Err(ErrorKind::NotADirectory)));
    }

    #[cfg(not(windows))]
    #[test]
    fn a_missing_directory_cannot_be_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("f");
        assert_eq!(failure(OsVfs.sync_dir(&path)), ErrorKind::NotFound);
        assert_eq!(failure(OsVfs.open(&path, OpenMode::Create)), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_written_is_in_the_file_the_system_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsVfs.open(&path, OpenMode::Create).unwrap();
        write_all_at(&*file, b"abc", 2).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0\0abc");
    }
}

mod only_files_in_memory {
    use super::*;

    #[test]
    fn a_clone_shows_the_same_files() {
        let vfs = MemVfs::new();
        let clone = vfs.clone();
        vfs.write_file("f", b"abc");
        assert_eq!(clone.read_file("f").as_deref(), Some(&b"abc"[..]));
        assert_eq!(clone.file_id(Path::new("f")).unwrap(), vfs.file_id(Path::new("f")).unwrap());
    }

    #[test]
    fn a_snapshot_has_the_bytes_and_neither_later_writes_nor_locks_nor_removed_files() {
        let vfs = MemVfs::new();
        let place = Place { vfs: &vfs, dir: Path::new("") };
        let file = place.create("f", b"before");
        let removed = place.create("removed", b"x");
        place.remove("removed").unwrap();
        assert!(file.try_lock(LockMode::Exclusive).unwrap());

        let snapshot = vfs.snapshot();
        write_all_at(&*file, b"after!", 0).unwrap();
        assert_eq!(snapshot.read_file("f").as_deref(), Some(&b"before"[..]));
        assert_eq!(snapshot.read_file("removed"), None);
        let again = snapshot.open(Path::new("f"), OpenMode::ReadWrite).unwrap();
        assert!(again.try_lock(LockMode::Exclusive).unwrap());
        write_all_at(&*again, b"second", 0).unwrap();
        assert_eq!(content(&*file), b"after!", "nor do writes to the snapshot come back");
        drop(removed);
    }

    #[test]
    fn files_of_two_volumes_and_files_made_after_a_snapshot_have_ids_of_their_own() {
        let vfs = MemVfs::new();
        vfs.write_file("f", b"");
        let snapshot = vfs.snapshot();
        snapshot.write_file("g", b"");
        let ids = [
            vfs.file_id(Path::new("f")).unwrap().unwrap(),
            snapshot.file_id(Path::new("f")).unwrap().unwrap(),
            snapshot.file_id(Path::new("g")).unwrap().unwrap(),
        ];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
    }

    #[test]
    fn write_file_replaces_the_bytes_under_open_handles() {
        let vfs = MemVfs::new();
        let file = vfs.open(Path::new("f"), OpenMode::Create).unwrap();
        write_all_at(&*file, b"longer than the next", 0).unwrap();
        vfs.write_file("f", b"short");
        assert_eq!(content(&*file), b"short");
        assert_eq!(vfs.read_file("missing"), None);
    }

    #[test]
    fn debug_shows_names_and_lengths_only() {
        let vfs = MemVfs::new();
        vfs.write_file("f", b"abc");
        vfs.write_file("d/f", b"ab");
        assert_eq!(format!("{vfs:?}"), r#"{"d/f": 2, "f": 3}"#);
    }

    #[test]
    fn a_file_from_elsewhere_brings_its_directories_and_a_snapshot_has_them() {
        let vfs = MemVfs::new();
        vfs.write_file("d/e/f", b"brought");
        let snapshot = vfs.snapshot();
        vfs.remove(Path::new("d/e/f")).unwrap();
        vfs.remove_dir(Path::new("d/e")).unwrap();
        assert_eq!(snapshot.read_dir(Path::new("d")).unwrap(), ["e"]);
        assert_eq!(snapshot.read_file("/d/./e/f").as_deref(), Some(&b"brought"[..]));
        assert_eq!((vfs.read_file("d/e/f"), snapshot.read_file("d/e")), (None, None));
    }

    #[test]
    #[should_panic(expected = "f/g: not a directory")]
    fn a_file_from_elsewhere_replaces_no_file_by_a_directory() {
        let vfs = MemVfs::new();
        vfs.write_file("f", b"");
        vfs.write_file("f/g", b"");
    }

    #[test]
    fn the_top_stays_and_a_directory_is_not_renamed() {
        let vfs = MemVfs::new();
        let refused = [ErrorKind::ResourceBusy, ErrorKind::InvalidInput];
        for (top, refused) in ["/", "."].map(Path::new).into_iter().zip(refused) {
            assert_eq!(failure(vfs.remove_dir(top)), refused);
            assert_eq!(failure(vfs.create_dir(top)), ErrorKind::AlreadyExists);
            assert_eq!(failure(vfs.remove(top)), ErrorKind::IsADirectory);
            assert!(vfs.file_id(top).unwrap().is_some());
        }
        vfs.create_dir(Path::new("d")).unwrap();
        let renamed = vfs.rename(Path::new("d"), Path::new("e"));
        assert_eq!(failure(renamed), ErrorKind::Unsupported);
        assert_eq!(vfs.read_dir(Path::new("")).unwrap(), ["d"]);
    }
}

mod without_directories {
    use super::*;

    /// A storage as it was written before there were calls for directories.
    struct Older;

    impl Vfs for Older {
        fn open(&self, _: &Path, _: OpenMode) -> io::Result<Box<dyn VfsFile>> {
            unimplemented!("nothing is opened")
        }

        fn file_id(&self, _: &Path) -> io::Result<Option<FileId>> {
            unimplemented!("nothing is opened")
        }

        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            unimplemented!("nothing is opened")
        }

        fn remove(&self, _: &Path) -> io::Result<()> {
            unimplemented!("nothing is opened")
        }

        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            unimplemented!("nothing is opened")
        }
    }

    #[test]
    fn a_storage_that_has_no_directories_says_so() {
        let path = Path::new("d");
        assert_eq!(failure(Older.create_dir(path)), ErrorKind::Unsupported);
        assert_eq!(failure(Older.remove_dir(path)), ErrorKind::Unsupported);
        assert_eq!(failure(Older.read_dir(path)), ErrorKind::Unsupported);
    }
}

mod short_transfers {
    use super::*;

    /// What a [`Stub`] does at a transfer; it starts over behind the last step.
    #[derive(Clone, Copy)]
    enum Step {
        /// Transfers this many bytes, as far as there are as many.
        Bytes(usize),
        Interrupted,
        Failed,
    }

    /// A file whose transfers follow a script.
    struct Stub {
        script: Vec<Step>,
        state: Mutex<State>,
    }

    struct State {
        bytes: Vec<u8>,
        calls: usize,
    }

    impl Stub {
        fn new(script: &[Step], bytes: &[u8]) -> Stub {
            let state = State { bytes: bytes.to_vec(), calls: 0 };
            Stub { script: script.to_vec(), state: Mutex::new(state) }
        }

        fn calls(&self) -> usize {
            self.state.lock().unwrap().calls
        }

        fn bytes(&self) -> Vec<u8> {
            self.state.lock().unwrap().bytes.clone()
        }
    }

    impl State {
        fn step(&mut self, script: &[Step]) -> io::Result<usize> {
            assert!(self.calls < 10_000, "an endless loop");
            let step = script[self.calls % script.len()];
            self.calls += 1;
            match step {
                Step::Bytes(count) => Ok(count),
                Step::Interrupted => Err(ErrorKind::Interrupted.into()),
                Step::Failed => Err(ErrorKind::StorageFull.into()),
            }
        }
    }

    impl VfsFile for Stub {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut state = self.state.lock().unwrap();
            let start = usize::try_from(offset).unwrap().min(state.bytes.len());
            let count = state.step(&self.script)?.min(buf.len()).min(state.bytes.len() - start);
            buf[..count].copy_from_slice(&state.bytes[start..start + count]);
            Ok(count)
        }

        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
            let mut state = self.state.lock().unwrap();
            let count = state.step(&self.script)?.min(buf.len());
            let start = usize::try_from(offset).unwrap();
            let end = (start + count).max(state.bytes.len());
            state.bytes.resize(end, 0);
            state.bytes[start..start + count].copy_from_slice(&buf[..count]);
            Ok(count)
        }

        fn set_len(&self, _len: u64) -> io::Result<()> {
            unimplemented!("the loops only transfer")
        }

        fn size(&self) -> io::Result<u64> {
            unimplemented!("the loops only transfer")
        }

        fn sync_data(&self) -> io::Result<()> {
            unimplemented!("the loops only transfer")
        }

        fn sync_all(&self) -> io::Result<()> {
            unimplemented!("the loops only transfer")
        }

        fn try_lock(&self, _mode: LockMode) -> io::Result<bool> {
            unimplemented!("the loops only transfer")
        }

        fn id(&self) -> io::Result<FileId> {
            unimplemented!("the loops only transfer")
        }
    }

    /// Bytes of which no two neighbours are equal, so that a shifted transfer shows.
    fn pattern(len: u8) -> Vec<u8> {
        (0..len).collect()
    }

    /// Scripts that make progress, however slowly.
    const SLOW: [&[Step]; 4] = [
        &[Step::Bytes(1)],
        &[Step::Interrupted, Step::Bytes(1)],
        &[Step::Bytes(3), Step::Interrupted, Step::Interrupted, Step::Bytes(7)],
        &[Step::Bytes(1000)],
    ];

    #[test]
    fn a_read_is_whole_however_short_its_transfers_are() {
        for (index, script) in SLOW.iter().enumerate() {
            let stub = Stub::new(script, &pattern(100));
            let mut buf = [0xEE; 61];
            read_exact_at(&stub, &mut buf, 20).unwrap();
            assert_eq!(buf, pattern(100)[20..81], "script {index}");
        }
    }

    #[test]
    fn a_write_is_whole_however_short_its_transfers_are() {
        for (index, script) in SLOW.iter().enumerate() {
            let stub = Stub::new(script, &[0xEE; 100]);
            write_all_at(&stub, &pattern(61), 20).unwrap();
            let mut expected = vec![0xEE; 100];
            expected[20..81].copy_from_slice(&pattern(61));
            assert_eq!(stub.bytes(), expected, "script {index}");
        }
    }

    #[test]
    fn buffers_are_written_whole_however_short_their_transfers_are() {
        for (index, script) in SLOW.iter().enumerate() {
            let (stub, bytes) = (Stub::new(script, &[0xEE; 100]), pattern(61));
            let parts = [0..0, 0..1, 1..1, 1..20, 20..61, 61..61];
            let mut bufs = parts.map(|part| IoSlice::new(&bytes[part]));
            write_all_vectored_at(&stub, &mut bufs, 20).unwrap();
            let mut expected = vec![0xEE; 100];
            expected[20..81].copy_from_slice(&bytes);
            assert_eq!(stub.bytes(), expected, "script {index}");
        }
    }

    #[test]
    fn a_read_of_nothing_ends_in_unexpected_eof() {
        let stub = Stub::new(&[Step::Bytes(0)], &pattern(100));
        assert_eq!(failure(read_exact_at(&stub, &mut [0; 4], 0)), ErrorKind::UnexpectedEof);
        assert_eq!(stub.calls(), 1);

        let short = Stub::new(&[Step::Bytes(1)], &pattern(3));
        assert_eq!(failure(read_exact_at(&short, &mut [0; 4], 0)), ErrorKind::UnexpectedEof);
        assert_eq!(short.calls(), 4);
    }

    #[test]
    fn a_write_of_nothing_ends_in_write_zero() {
        let stub = Stub::new(&[Step::Bytes(1), Step::Bytes(0)], &[]);
        assert_eq!(failure(write_all_at(&stub, &pattern(4), 0)), ErrorKind::WriteZero);
        assert_eq!(stub.calls(), 2);
    }

    #[test]
    fn an_error_in_the_middle_ends_the_transfer_with_that_error() {
        let script = [Step::Bytes(1), Step::Interrupted, Step::Failed];
        let stub = Stub::new(&script, &pattern(100));
        assert_eq!(failure(read_exact_at(&stub, &mut [0; 4], 0)), ErrorKind::StorageFull);
        assert_eq!(stub.calls(), 3);
        let stub = Stub::new(&script, &[]);
        assert_eq!(failure(write_all_at(&stub, &pattern(4), 0)), ErrorKind::StorageFull);
        assert_eq!(stub.bytes(), [0], "what was taken before stays");
    }

    #[test]
    fn an_empty_transfer_calls_nothing() {
        let stub = Stub::new(&[Step::Failed], &[]);
        read_exact_at(&stub, &mut [], 0).unwrap();
        write_all_at(&stub, &[], 0).unwrap();
        write_all_vectored_at(&stub, &mut [IoSlice::new(&[]), IoSlice::new(&[])], 0).unwrap();
        assert_eq!(stub.calls(), 0);
    }
}
