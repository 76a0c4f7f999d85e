//! Names against a twin that shares no code with them: small random programs, all outcomes.
//!
//! The twin keeps a list of changes and of those that a sync has fenced; an outcome is what any
//! subset of the others leaves, done in order.

use super::*;
use btree_store::sim::Explorer;
use std::collections::BTreeMap;
use std::io;

const PATHS: [&str; 6] = ["d", "e", "d/f", "d/e", "d/e/f", "e/f"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Make(&'static str),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    MakeDir(&'static str),
    RemoveDir(&'static str),
    SyncDir(&'static str),
}

fn random_step(random: &mut Seeded) -> Step {
    let mut path = || PATHS[random.below(6) as usize];
    let (one, other) = (path(), path());
    match random.below(12) {
        0..2 => Step::Make(one),
        2 => Step::Remove(one),
        3 => Step::Rename(one, other),
        4..8 => Step::MakeDir(one),
        8 => Step::RemoveDir(one),
        _ => Step::SyncDir(one),
    }
}

fn on_disk(disk: &SimDisk, step: Step) -> io::Result<()> {
    match step {
        Step::Make(path) => disk.open(Path::new(path), OpenMode::Create).map(drop),
        Step::Remove(path) => disk.remove(Path::new(path)),
        Step::Rename(from, to) => disk.rename(Path::new(from), Path::new(to)),
        Step::MakeDir(path) => disk.create_dir(Path::new(path)),
        Step::RemoveDir(path) => disk.remove_dir(Path::new(path)),
        Step::SyncDir(path) => disk.sync_dir(Path::new(path)),
    }
}

/// All that can be reached, with a slash behind directories.
fn reached(disk: &SimDisk, directory: &str, all: &mut Vec<String>) {
    for name in disk.read_dir(Path::new(directory)).expect("it was listed") {
        let path = format!("{directory}{}", name.to_str().expect("a test's name"));
        if disk.open(Path::new(&path), OpenMode::Read).is_ok() {
            all.push(path);
        } else {
            all.push(format!("{path}/"));
            reached(disk, &format!("{path}/"), all);
        }
    }
}

/// What a name leads to: files below 100, directories above, the top being 100.
type Node = u32;
type Name = (Node, &'static str);
const TOP: Node = 100;

/// What a change makes of names, at once; the first one's directory has to be synced.
#[derive(Debug)]
struct Change {
    makes: Vec<(Name, Option<Node>)>,
    fenced: bool,
}

#[derive(Debug, Default)]
struct Twin {
    changes: Vec<Change>,
    made: u32,
}

impl Twin {
    /// The names after all changes that are fenced, and those of the others that `kept` picks.
    fn names(&self, kept: impl Fn(usize) -> bool) -> BTreeMap<Name, Node> {
        let mut names = BTreeMap::new();
        let mut open = 0;
        for change in &self.changes {
            let happens = change.fenced || kept(open);
            open += usize::from(!change.fenced);
            for (name, node) in change.makes.iter().filter(|_| happens) {
                match node {
                    Some(node) => drop(names.insert(*name, *node)),
                    None => drop(names.remove(name)),
                }
            }
        }
        names
    }

    fn now(&self) -> BTreeMap<Name, Node> {
        self.names(|_| true)
    }

    /// The directory and the last name of a path.
    fn name(&self, path: &'static str) -> Result<Name, ErrorKind> {
        let names = self.now();
        let mut at = TOP;
        let mut parts: Vec<&str> = path.split('/').collect();
        let last = parts.pop().expect("a path has a part");
        for part in parts {
            at = *names.get(&(at, part)).ok_or(ErrorKind::NotFound)?;
            if at < TOP {
                return Err(ErrorKind::NotADirectory);
            }
        }
        Ok((at, last))
    }

    fn change(&mut self, makes: Vec<(Name, Option<Node>)>) {
        self.changes.push(Change { makes, fenced: false });
    }

    fn take(&mut self, step: Step) -> Result<(), ErrorKind> {
        let now = self.now();
        let is_dir = |node: Node| node >= TOP;
        match step {
            Step::Make(path) => {
                let name = self.name(path)?;
                match now.get(&name) {
                    Some(node) if is_dir(*node) => return Err(ErrorKind::IsADirectory),
                    Some(_) => {}
                    None => {
                        self.made += 1;
                        self.change(vec![(name, Some(self.made))]);
                    }
                }
            }
            Step::MakeDir(path) => {
                let name = self.name(path)?;
                if now.contains_key(&name) {
                    return Err(ErrorKind::AlreadyExists);
                }
                self.made += 1;
                self.change(vec![(name, Some(TOP + self.made))]);
            }
            Step::Remove(path) => {
                let name = self.name(path)?;
                if is_dir(*now.get(&name).ok_or(ErrorKind::NotFound)?) {
                    return Err(ErrorKind::IsADirectory);
                }
                self.change(vec![(name, None)]);
            }
            Step::RemoveDir(path) => {
                let name = self.name(path)?;
                let node = *now.get(&name).ok_or(ErrorKind::NotFound)?;
                if !is_dir(node) {
                    return Err(ErrorKind::NotADirectory);
                }
                if now.keys().any(|(directory, _)| *directory == node) {
                    return Err(ErrorKind::DirectoryNotEmpty);
                }
                self.change(vec![(name, None)]);
            }
            Step::Rename(from, to) => self.rename(from, to)?,
            Step::SyncDir(path) => {
                let (directory, _) = self.name(path)?;
                for change in &mut self.changes {
                    change.fenced |= change.makes[0].0.0 == directory;
                }
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &'static str, to: &'static str) -> Result<(), ErrorKind> {
        let (now, old, new) = (self.now(), self.name(from)?, self.name(to)?);
        let node = *now.get(&old).ok_or(ErrorKind::NotFound)?;
        if node >= TOP {
            return Err(ErrorKind::Unsupported);
        }
        if now.get(&new).is_some_and(|node| *node >= TOP) {
            let holds_it = from.starts_with(&format!("{to}/"));
            let (held, other) = (ErrorKind::DirectoryNotEmpty, ErrorKind::IsADirectory);
            return Err(if holds_it { held } else { other });
        }
        if old != new {
            self.change(vec![(new, Some(node)), (old, None)]);
        }
        Ok(())
    }

    /// All that can be reached after each outcome of a crash.
    fn outcomes(&self) -> BTreeSet<Vec<String>> {
        let open = self.changes.iter().filter(|change| !change.fenced).count();
        let outcome = |bits: u32| {
            let names = self.names(|at| bits >> at & 1 == 1);
            let mut all = Vec::new();
            let mut left = vec![(TOP, String::new())];
            while let Some((directory, way)) = left.pop() {
                for ((_, name), node) in names.iter().filter(|((of, _), _)| *of == directory) {
                    let slash = if *node >= TOP { "/" } else { "" };
                    let path = format!("{way}{name}{slash}");
                    all.push(path.clone());
                    if *node >= TOP {
                        left.push((*node, path));
                    }
                }
            }
            all.sort();
            all
        };
        (0..1 << open).map(outcome).collect()
    }
}

#[test]
fn names_survive_as_their_twin_says() {
    let (mut outcomes, mut widest) = (0, 0);
    for seed in 0..3000 {
        let mut random = Seeded::new(seed);
        let steps = 4 + random.below(14);
        let program: Vec<Step> = (0..steps).map(|_| random_step(&mut random)).collect();
        let mut twin = Twin::default();
        let told: Vec<Result<(), ErrorKind>> =
            program.iter().map(|step| twin.take(*step)).collect();
        let mut found = BTreeSet::new();
        let report = Explorer::new("twin").explore(
            |disk| {
                for (step, told) in program.iter().zip(&told) {
                    let done = on_disk(disk, *step).map_err(|error| error.kind());
                    if done != *told {
                        return Err(format!("{step:?}: {done:?}, and not {told:?}").into());
                    }
                }
                disk.acknowledged(1);
                Ok(())
            },
            |disk, crash| {
                if crash.acknowledged() == 1 {
                    let mut all = Vec::new();
                    reached(disk, "", &mut all);
                    all.sort();
                    found.insert(all);
                }
                Ok(())
            },
        );
        assert!(report.is_verified(), "seed {seed}, {program:?}: {report}");
        assert_eq!(found, twin.outcomes(), "seed {seed}, {program:?}");
        outcomes += found.len();
        widest = widest.max(found.len());
    }
    println!("{outcomes} outcomes, {widest} of one program");
    assert!(outcomes > 7000 && widest > 20, "{outcomes} outcomes, {widest} of one program");
}
