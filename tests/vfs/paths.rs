//! Paths that are not spelled as usual: what each call makes of each of them, on the system's files
//! and on the others.
//!
//! The system is the measure, and so a Linux: others name some errors otherwise.

use super::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What lies in the place before each call: directories with a slash, files without.
const LAID_OUT: [&str; 7] = ["d/", "d/e/", "d/e/f", "d/f", "empty/", "f", "g"];

/// Each from the place on: the place itself, files, what would lie behind a file, directories,
/// nothing, and what can be no path.
const PATHS: [&str; 6] = [
    ". ./ .. ../dir d/.. d/../ d/../.",
    "f f/ f// f/. f/./ ./f d/../f d/../f/ empty/../f d//f d/./f d/f/ d/e/../f d/e/../../f d/e/f",
    "f/x f/x/ f/x/. f/x/.. f/x/../.. f/x/../../g f/.. f/../g d/f/../x d/f/../../f",
    "d d/ d// d/. d/e d/e/ d/e/.. d/e/../ empty empty/ empty/. empty/.. d/../empty d/../empty/",
    "x x/ x/. x/.. x/../f x/y d/x d/x/ d/x/../f d/../x empty/../x/",
    "f\0",
];

/// One of each sort, as each is tried with each.
const RENAMED: &str =
    ". .. f f/ f/. d/../g d/f f/x f/../g d d/ d/. d/e/.. empty x x/ x/../f x/y f\0";

fn paths() -> impl Iterator<Item = &'static str> {
    PATHS.into_iter().flat_map(|paths| paths.split(' '))
}

/// A call with one path.
type Call = fn(&dyn Vfs, &Path) -> io::Result<String>;

const CALLS: [(&str, Call); 9] = [
    ("open for reading", |vfs, path| opened(vfs, path, OpenMode::Read)),
    ("open for both", |vfs, path| opened(vfs, path, OpenMode::ReadWrite)),
    ("open or make", |vfs, path| opened(vfs, path, OpenMode::Create)),
    ("file_id", |vfs, path| Ok(if vfs.file_id(path)?.is_some() { "some" } else { "none" }.into())),
    ("exists", |vfs, path| Ok(vfs.exists(path)?.to_string())),
    ("remove", |vfs, path| vfs.remove(path).map(|()| String::new())),
    ("create_dir", |vfs, path| vfs.create_dir(path).map(|()| String::new())),
    ("remove_dir", |vfs, path| vfs.remove_dir(path).map(|()| String::new())),
    ("read_dir", |vfs, path| vfs.read_dir(path).map(|names| format!("{names:?}"))),
];

fn opened(vfs: &dyn Vfs, path: &Path, mode: OpenMode) -> io::Result<String> {
    let file = vfs.open(path, mode)?;
    Ok(String::from_utf8(content(&*file)).expect("the test's own bytes"))
}

/// Has the same laid out in a new directory, which is alone in a new one.
fn lay_out(vfs: &dyn Vfs, dir: &Path) {
    for dir in [dir.parent().expect("it has one"), dir] {
        vfs.create_dir(dir).expect("it is new");
    }
    for name in LAID_OUT {
        match name.strip_suffix('/') {
            Some(name) => vfs.create_dir(&dir.join(name)).expect("its directory is there"),
            None => drop(Place { vfs, dir }.create(name, name.as_bytes())),
        }
    }
}

/// All that lies below, with a slash behind directories, and what is in files.
fn lies_in(vfs: &dyn Vfs, dir: &Path, way: &str, all: &mut BTreeSet<String>) {
    for name in vfs.read_dir(dir).expect("it is there") {
        let path = dir.join(&name);
        let name = format!("{way}{}", name.to_str().expect("a test's name"));
        if vfs.read_dir(&path).is_ok() {
            lies_in(vfs, &path, &format!("{name}/"), all);
            all.insert(format!("{name}/"));
        } else {
            let held = opened(vfs, &path, OpenMode::Read).expect("it is there");
            all.insert(format!("{name}: {held}"));
        }
    }
}

/// What a call answers, and what lies there behind it if that is not what lay there before.
#[derive(Debug, PartialEq)]
struct Effect {
    answer: Result<String, ErrorKind>,
    left: Option<BTreeSet<String>>,
}

/// A storage, and a place in it that is laid out anew where a call has changed it.
struct Storage {
    name: &'static str,
    vfs: Box<dyn Vfs>,
    top: PathBuf,
    places: u32,
    laid_out: Option<BTreeSet<String>>,
}

impl Storage {
    fn new(name: &'static str, vfs: impl Vfs, top: &Path) -> Storage {
        Storage { name, vfs: Box::new(vfs), top: top.to_owned(), places: 0, laid_out: None }
    }

    /// What a call does.
    fn effect(&mut self, call: &dyn Fn(&Place<'_>) -> io::Result<String>) -> Effect {
        let vfs = &*self.vfs;
        self.places += u32::from(self.laid_out.is_none());
        let dir = self.top.join(self.places.to_string()).join("dir");
        let listed = || {
            let mut all = BTreeSet::new();
            lies_in(vfs, &dir, "", &mut all);
            all
        };
        let before = self.laid_out.take().unwrap_or_else(|| {
            lay_out(vfs, &dir);
            listed()
        });
        let answer = call(&Place { vfs, dir: &dir }).map_err(|error| error.kind());
        let left = listed();
        if left == before {
            self.laid_out = Some(before);
            return Effect { answer, left: None };
        }
        Effect { answer, left: Some(left) }
    }
}

/// The system's files, and the others.
struct Storages {
    _dir: tempfile::TempDir,
    system: Storage,
    others: Vec<Storage>,
}

impl Storages {
    fn new() -> Storages {
        let dir = tempfile::tempdir().unwrap();
        let system = Storage::new("system", OsVfs, dir.path());
        let others = vec![
            Storage::new("memory", MemVfs::new(), Path::new("/")),
            #[cfg(feature = "sim")]
            Storage::new("simulated", btree_store::sim::SimDisk::new(), Path::new("/")),
        ];
        Storages { _dir: dir, system, others }
    }

    /// What a call does on the system's files, and on the others by their names.
    fn effects(
        &mut self,
        call: impl Fn(&Place<'_>) -> io::Result<String>,
    ) -> (Effect, Vec<(&'static str, Effect)>) {
        let others = self.others.iter_mut().map(|other| (other.name, other.effect(&call)));
        (self.system.effect(&call), others.collect())
    }
}

#[test]
fn every_call_answers_to_every_path_as_the_system_does() {
    let (mut storages, mut told) = (Storages::new(), Vec::new());
    for (call_name, call) in CALLS {
        for path in paths() {
            let (system, others) = storages.effects(|place| call(place.vfs, &place.dir.join(path)));
            for (name, effect) in others.iter().filter(|(_, effect)| *effect != system) {
                told.push(format!("{call_name} {path:?}: {name} {effect:?}, and not {system:?}"));
            }
        }
    }
    assert!(told.is_empty(), "{}:\n{}", told.len(), told.join("\n"));
}

/// Few paths, as the system's syncs take their time.
#[test]
fn the_directory_that_is_synced_has_to_be_there() {
    let mut storages = Storages::new();
    for path in "f f/. f/x f/.. f/../g d/.. x x/.. x/../f d/x/../f".split(' ') {
        let (system, others) = storages
            .effects(|place| place.vfs.sync_dir(&place.dir.join(path)).map(|()| String::new()));
        assert!(others.iter().all(|(_, other)| *other == system), "{path}: {system:?}, {others:?}");
    }
}

/// The system renames directories, too, and the others say that they do not.
#[test]
fn every_rename_from_every_path_to_every_path_does_what_the_system_does() {
    let kept = Effect { answer: Err(ErrorKind::Unsupported), left: None };
    let (mut storages, mut told, mut renamed) = (Storages::new(), Vec::new(), 0);
    let pairs = RENAMED.split(' ').flat_map(|from| RENAMED.split(' ').map(move |to| (from, to)));
    for (from, to) in pairs {
        let is_dir = Cell::new(false);
        let (system, others) = storages.effects(|place| {
            is_dir.set(place.read_dir(from).is_ok());
            place.rename(from, to).map(|()| String::new())
        });
        renamed += u32::from(system.answer.is_ok() && !is_dir.get());
        for (name, effect) in others {
            let is_kept = is_dir.get() && effect == kept;
            let is_same = effect == system && !(is_dir.get() && system.answer.is_ok());
            if !is_kept && !is_same {
                told.push(format!("{from:?} to {to:?}: {name} {effect:?}, and not {system:?}"));
            }
        }
    }
    assert!(told.is_empty(), "{}:\n{}", told.len(), told.join("\n"));
    assert_eq!(renamed, 12);
}

/// Where relative paths begin, which the empty path is to some calls and not to others. Nothing of
/// the system's is changed: each of these names the directory that the test runs in, or one above.
#[test]
fn the_top_answers_as_the_current_directory_does() {
    type Refused = fn(&dyn Vfs, &Path) -> io::Result<()>;
    let refused: [Refused; 9] = [
        |vfs, path| vfs.open(path, OpenMode::Read).map(drop),
        |vfs, path| vfs.open(path, OpenMode::ReadWrite).map(drop),
        |vfs, path| vfs.open(path, OpenMode::Create).map(drop),
        |vfs, path| vfs.remove(path),
        |vfs, path| vfs.create_dir(path),
        |vfs, path| vfs.remove_dir(path),
        |vfs, path| vfs.rename(path, Path::new("missing")),
        |vfs, path| vfs.rename(Path::new("missing"), path),
        |vfs, path| vfs.rename(path, path),
    ];
    let answers = |vfs: &dyn Vfs, path: &Path| {
        let kinds = refused.map(|call| call(vfs, path).map_err(|error| error.kind()));
        assert!(kinds.iter().all(Result::is_err), "{}: {kinds:?}", path.display());
        let is_there = (vfs.exists(path).ok(), vfs.file_id(path).ok().map(|id| id.is_some()));
        (kinds, is_there, vfs.read_dir(path).is_ok())
    };
    for path in ["", ".", "./", "/", "//", "..", "/..", "/."].map(Path::new) {
        let system = answers(&OsVfs, path);
        let memory = MemVfs::new();
        assert_eq!(answers(&memory, path), system, "{}", path.display());
        #[cfg(feature = "sim")]
        assert_eq!(answers(&btree_store::sim::SimDisk::new(), path), system, "{}", path.display());
    }
}
