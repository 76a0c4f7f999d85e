//! Directories: what a crash may take of them, rule by rule.

use super::*;
use btree_store::sim::Explorer;

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// A file with nothing in it to be lost.
fn make(disk: &SimDisk, name: &str) {
    disk.open(path(name), OpenMode::Create).expect("its directory is there");
}

fn make_dir(disk: &SimDisk, name: &str) {
    disk.create_dir(path(name)).expect("its directory is there");
}

fn sync_dir(disk: &SimDisk, name: &str) {
    disk.sync_dir(path(name)).expect("its directory is there");
}

/// The names in a directory, or what it is instead.
fn list(disk: &SimDisk, name: &str) -> Result<String, ErrorKind> {
    let names = disk.read_dir(path(name)).map_err(|error| error.kind())?;
    Ok(names.iter().map(|name| name.to_str().expect("a test's name")).collect::<Vec<_>>().join(" "))
}

/// What `look` finds after a crash behind `work`, over all outcomes.
fn found<T: Ord>(work: impl Fn(&SimDisk), look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    let report = Explorer::new("directories").explore(
        |disk| {
            work(disk);
            disk.acknowledged(1);
            Ok(())
        },
        |disk, crash| {
            if crash.acknowledged() == 1 {
                found.insert(look(disk));
            }
            Ok(())
        },
    );
    assert!(report.is_verified(), "{report}");
    found
}

/// What a directory holds after a crash behind `work`, over all outcomes.
fn listed(work: impl Fn(&SimDisk), name: &str) -> BTreeSet<Result<String, ErrorKind>> {
    found(work, |disk| list(disk, name))
}

const MISSING: Result<&str, ErrorKind> = Err(ErrorKind::NotFound);

fn all<const N: usize>(
    listings: [Result<&str, ErrorKind>; N],
) -> BTreeSet<Result<String, ErrorKind>> {
    listings.into_iter().map(|listing| listing.map(str::to_owned)).collect()
}

#[test]
fn a_directory_is_durable_once_its_parent_was_synced() {
    let made = |sync: Option<&'static str>| {
        listed(
            move |disk| {
                make_dir(disk, "d");
                make_dir(disk, "d/e");
                if let Some(name) = sync {
                    sync_dir(disk, name);
                }
            },
            "d",
        )
    };
    assert_eq!(made(None), all([Ok("e"), Ok(""), MISSING]));
    assert_eq!(made(Some("d")), all([Ok("e"), Ok("")]));
    // That makes what is in it durable, and not its own name.
    assert_eq!(made(Some("d/e")), all([Ok("e"), MISSING]));
}

#[test]
fn what_lies_in_a_directory_whose_name_was_lost_is_gone() {
    let work = |disk: &SimDisk| {
        make_dir(disk, "d");
        make(disk, "d/f");
        sync_dir(disk, "d/f");
    };
    let left = found(work, |disk| {
        let before = (list(disk, "d"), disk.names().len());
        let again = disk.create_dir(path("d")).map_err(|error| error.kind());
        (before, again, list(disk, "d"), disk.read_file("d/f").is_some())
    });
    let kept = ((Ok("f".into()), 1), Err(ErrorKind::AlreadyExists), Ok("f".into()), true);
    let lost = ((Err(ErrorKind::NotFound), 0), Ok(()), Ok(String::new()), false);
    assert_eq!(left, [kept, lost].into());
}

/// Each of the changes may be lost by itself, and a directory never has what lay in the one of its
/// name before it.
#[test]
fn a_directory_that_is_made_anew_is_another_one() {
    let work = |disk: &SimDisk| {
        disk.write_file("d/old", b"");
        disk.remove(path("d/old")).expect("it is there");
        disk.remove_dir(path("d")).expect("it is empty");
        make_dir(disk, "d");
        make(disk, "d/new");
    };
    assert_eq!(listed(work, "d"), all([Ok("new"), Ok("old"), Ok(""), MISSING]));
    let fenced = |disk: &SimDisk| {
        work(disk);
        sync_dir(disk, "d");
    };
    assert_eq!(listed(fenced, "d"), all([Ok("new"), Ok("")]));
}

#[test]
fn a_removed_directory_may_come_back_with_all_that_was_in_it() {
    let work = |disk: &SimDisk| {
        disk.write_file("d/f", b"");
        disk.remove(path("d/f")).expect("it is there");
        disk.remove_dir(path("d")).expect("it is empty");
    };
    assert_eq!(listed(work, "d"), all([Ok("f"), Ok(""), MISSING]));
    let fenced = |disk: &SimDisk| {
        work(disk);
        sync_dir(disk, "d");
    };
    assert_eq!(listed(fenced, "d"), all([MISSING]));
}

/// As the top: what is in a directory is the directory's, wherever the file came from.
#[test]
fn a_file_that_moved_is_where_its_new_directory_says() {
    let moved = |fenced: Option<&'static str>| {
        let work = move |disk: &SimDisk| {
            disk.write_file("d/f", b"");
            disk.write_file("e/g", b"");
            disk.rename(path("d/f"), path("e/f")).expect("it is there");
            if let Some(name) = fenced {
                sync_dir(disk, name);
            }
        };
        found(work, |disk| (list(disk, "d").expect("durable"), list(disk, "e").expect("durable")))
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(moved(None), [pair("f", "g"), pair("", "f g")].into());
    assert_eq!(moved(Some("d/f")), [pair("f", "g"), pair("", "f g")].into());
    assert_eq!(moved(Some("e/f")), [pair("", "f g")].into());
}

#[test]
fn a_lying_disk_keeps_no_directory_for_certain() {
    let disk = SimDisk::with_profile(Profile { flush: Flush::Lying, ..Profile::default() });
    make_dir(&disk, "d");
    sync_dir(&disk, "d");
    disk.choose_from(Script::new(vec![1]));
    disk.crash();
    assert_eq!(list(&disk, "d"), Err(ErrorKind::NotFound));
}

/// Counts what is asked, and has everything survive.
#[derive(Clone, Default)]
struct Counted(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Choose for Counted {
    fn choose(&mut self, _alternatives: u32, what: Choice) -> u32 {
        assert!(matches!(what, Choice::Name { .. }), "{what:?}");
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        0
    }
}

#[test]
fn a_listing_decides_what_it_shows_and_nothing_else() {
    let disk = SimDisk::new();
    for name in ["d", "e"] {
        make_dir(&disk, name);
        for file in ["1", "2", "3"] {
            make(&disk, &format!("{name}/{file}"));
        }
        disk.remove(&path(name).join("3")).expect("it is there");
    }
    disk.crash();
    let asked = Counted::default();
    disk.choose_from(asked.clone());
    let mut counts = Vec::new();
    let mut count = || counts.push(asked.0.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(list(&disk, "d").as_deref(), Ok("1 2"));
    count();
    assert_eq!(list(&disk, "d").as_deref(), Ok("1 2"));
    count();
    // The first name that is found is one too many.
    assert!(disk.remove_dir(path("e")).is_err());
    count();
    assert_eq!(disk.names().len(), 4);
    count();
    // The directory and three names of it, as the removal was kept; nothing; two; what is left.
    assert_eq!(counts, [4, 4, 6, 8]);
    assert!(disk.log2_images() > 1.9, "whether what was removed had been made, nobody asked");
}

#[test]
fn the_top_is_always_there_and_every_path_begins_in_it() {
    let disk = SimDisk::new();
    let busy = ErrorKind::ResourceBusy;
    let tops = [("/", busy), (".", ErrorKind::InvalidInput), ("/..", ErrorKind::DirectoryNotEmpty)];
    for (top, kind) in tops {
        assert_eq!(list(&disk, top).as_deref(), Ok(""), "{top:?}");
        assert!(disk.exists(path(top)).expect("asked"), "{top:?}");
        let refused = |result: std::io::Result<()>| result.map_err(|error| error.kind());
        assert_eq!(refused(disk.create_dir(path(top))), Err(ErrorKind::AlreadyExists), "{top:?}");
        assert_eq!(refused(disk.remove_dir(path(top))), Err(kind), "{top:?}");
        assert_eq!(refused(disk.remove(path(top))), Err(ErrorKind::IsADirectory), "{top:?}");
        sync_dir(&disk, top);
    }
    disk.write_file("/d/f", b"one");
    for same in ["d/f", "/d/f", "./d//f", "d/../d/f", "../d/f"] {
        assert_eq!(disk.read_file(same).as_deref(), Some(&b"one"[..]), "{same:?}");
    }
    disk.rename(path("d/f"), path("/d/f")).expect("they are the same");
    assert_eq!(list(&disk, "d").as_deref(), Ok("f"));
}

#[test]
fn a_directory_is_not_renamed() {
    let disk = SimDisk::new();
    make_dir(&disk, "d");
    let renamed = disk.rename(path("d"), path("e")).map_err(|error| error.kind());
    assert_eq!(renamed, Err(ErrorKind::Unsupported));
    assert_eq!(list(&disk, "").as_deref(), Ok("d"));
}

#[test]
fn a_file_from_elsewhere_brings_its_directories() {
    let disk = SimDisk::new();
    disk.write_file("d/e/f", b"brought");
    disk.choose_from(Never);
    disk.crash();
    assert_eq!(disk.read_file("d/e/f").as_deref(), Some(&b"brought"[..]));
    assert_eq!(disk.names(), [path("d/e/f")]);
}

#[test]
#[should_panic(expected = "d/f/g: not a directory")]
fn a_file_from_elsewhere_replaces_no_file_by_a_directory() {
    let disk = SimDisk::new();
    disk.write_file("d/f", b"");
    disk.write_file("d/f/g", b"");
}

#[test]
fn operations_on_directories_are_traced_and_struck() {
    let disk = SimDisk::new();
    disk.keep_trace();
    make_dir(&disk, "d");
    make_dir(&disk, "d/e");
    list(&disk, "").expect("it is there");
    disk.remove_dir(path("d/e")).expect("it is empty");
    disk.inject(Fault::new(OpSet::NAMES, When::From(1), Failure::Error(Errno::Enospc)));
    make_dir(&disk, "d/e");
    assert!(disk.create_dir(path("d/f")).is_err());
    assert!(disk.remove_dir(path("d/e")).is_err());
    assert_eq!(list(&disk, "d").as_deref(), Ok("e"), "listing changes no name");
    let lines: Vec<String> = disk.trace().ops().iter().map(ToString::to_string).collect();
    let wanted = [
        "#1 create_dir",
        "#2 create_dir",
        "#3 read_dir",
        "#4 remove_dir",
        "#5 create_dir",
        "#6 create_dir: StorageFull",
        "#7 remove_dir: StorageFull",
        "#8 read_dir",
    ];
    assert_eq!(lines, wanted);
    assert_eq!((disk.count(OpKind::CreateDir), disk.count(OpKind::ReadDir)), (4, 2));
}
