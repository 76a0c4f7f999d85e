//! Are names what a plain list of changes says, asked in the same order, and found as quickly
//! however many changes there are?

use super::*;
use crate::sim::Seeded;
use std::path::Path;

/// The twin: durable names and changes as two lists, each walked from end to end.
#[derive(Default)]
struct Plain {
    durable: Vec<(Place, Node)>,
    changes: Vec<(Edit, Fate, u64)>,
    directories: u32,
}

fn held_by(edit: Edit) -> Place {
    match edit {
        Edit::Link { place, .. } | Edit::Unlink { place } | Edit::Rename { to: place, .. } => place,
    }
}

fn effect(edit: Edit, wanted: Place) -> Effect {
    match edit {
        Edit::Link { place, node } if place == wanted => Effect::Names(node),
        Edit::Unlink { place } if place == wanted => Effect::Frees,
        Edit::Rename { to, file, .. } if to == wanted => Effect::Names(Node::File(file)),
        Edit::Rename { from, .. } if from == wanted => Effect::Frees,
        _ => Effect::None,
    }
}

impl Plain {
    fn node_at(&mut self, choose: &mut dyn Choose, wanted: Place) -> Option<Node> {
        for (edit, fate, operation) in self.changes.iter_mut().rev() {
            let effect = effect(*edit, wanted);
            if effect != Effect::None && *fate == Fate::Open {
                *fate = decide(choose, *operation);
            }
            match effect {
                _ if *fate == Fate::Lost => {}
                Effect::None => {}
                Effect::Names(node) => return Some(node),
                Effect::Frees => return None,
            }
        }
        self.durable.iter().find(|(place, _)| *place == wanted).map(|(_, node)| *node)
    }

    fn list(&mut self, choose: &mut dyn Choose, paths: &Paths, of: DirectoryId) -> Vec<Node> {
        let durable = self.durable.iter().map(|(place, _)| *place);
        let places = durable.chain(self.changes.iter().map(|(edit, ..)| held_by(*edit)));
        let mut here: Vec<Place> = places.filter(|place| place.directory == of).collect();
        here.sort_by_key(|place| paths.name(place.name));
        here.dedup();
        here.into_iter().filter_map(|place| self.node_at(choose, place)).collect()
    }

    /// Gives the changes that are pending, and meant, another fate.
    fn turn(&mut self, meant: impl Fn(Edit) -> bool, to: Fate) {
        for (edit, fate, _) in &mut self.changes {
            if *fate == Fate::Pending && meant(*edit) {
                *fate = to;
            }
        }
        while let Some((edit, fate, _)) = self.changes.first().copied() {
            match fate {
                Fate::Pending | Fate::Open => return,
                Fate::Lost => {}
                Fate::Kept => {
                    self.durable.retain(|(place, _)| effect(edit, *place) == Effect::None);
                    if let Effect::Names(node) = effect(edit, held_by(edit)) {
                        self.durable.push((held_by(edit), node));
                    }
                }
            }
            self.changes.remove(0);
        }
    }

    fn hash(&self) -> u64 {
        let number = |place: Place| u64::from(place.directory.0) << 32 | u64::from(place.name.0);
        let mut hash = !u64::from(self.directories);
        for (place, node) in &self.durable {
            hash = mix(mix(hash, number(*place)), node.number());
        }
        for (edit, fate, _) in self.changes.iter().filter(|(_, fate, _)| *fate != Fate::Lost) {
            let numbers = match *edit {
                Edit::Link { place, node } => [1, number(place), node.number(), 0],
                Edit::Unlink { place } => [2, number(place), 0, 0],
                Edit::Rename { from, to, file } => [3, number(from), u64::from(file), number(to)],
            };
            hash = mix(numbers.into_iter().fold(hash, mix), u64::from(*fate == Fate::Open));
        }
        hash
    }
}

/// Answers by chance, and writes down what it was asked.
struct Written {
    random: Seeded,
    asked: Vec<Choice>,
}

impl Choose for Written {
    fn choose(&mut self, alternatives: u32, what: Choice) -> u32 {
        self.asked.push(what);
        self.random.choose(alternatives, what)
    }
}

const DIRECTORIES: u32 = 3;
const NAMES: u32 = 4;

fn paths() -> Paths {
    let mut paths = Paths::default();
    // In another order than that of their numbers.
    for name in ["d", "b", "c", "a"] {
        paths.id(Path::new(name));
    }
    paths
}

fn random_place(random: &mut Seeded) -> Place {
    let directory = DirectoryId(random.below(DIRECTORIES));
    Place { directory, name: NameId(random.below(NAMES)) }
}

#[test]
fn names_are_asked_and_answer_as_a_plain_list_of_changes() {
    let (paths, mut asked) = (paths(), 0);
    for seed in 0..3000 {
        let mut random = Seeded::new(seed);
        let (mut names, mut plain) = (Names::default(), Plain::default());
        let [mut one, mut other] =
            [seed, seed].map(|seed| Written { random: Seeded::new(seed), asked: Vec::new() });
        for operation in 0..40 {
            let (place, to) = (random_place(&mut random), random_place(&mut random));
            let mut change = |edit| plain.changes.push((edit, Fate::Pending, operation));
            match random.below(16) {
                0..4 => {
                    let node = Node::File(random.below(100));
                    names.link(place, node, operation);
                    change(Edit::Link { place, node });
                }
                4 => {
                    names.make_directory(place, operation);
                    plain.directories += 1;
                    let node = Node::Directory(DirectoryId(plain.directories));
                    change(Edit::Link { place, node });
                }
                5 => {
                    names.unlink(place, operation);
                    change(Edit::Unlink { place });
                }
                6..8 if place != to => {
                    names.rename(place, to, 7, operation);
                    change(Edit::Rename { from: place, to, file: 7 });
                }
                8..11 => {
                    names.fence(place.directory);
                    let held = |edit| held_by(edit).directory == place.directory;
                    plain.turn(held, Fate::Kept);
                }
                11 => {
                    names.crash();
                    plain.turn(|_| true, Fate::Open);
                }
                12 => {
                    names.settle_last();
                    if let Some((_, fate, _)) = plain.changes.last_mut() {
                        *fate = Fate::Kept;
                    }
                    plain.turn(|_| false, Fate::Kept);
                }
                13 => {
                    let mut copy = Names::default();
                    copy.copy_from(&names);
                    names = copy;
                }
                14 => {
                    let listed = names.list(&mut one, &paths, place.directory);
                    let nodes: Vec<Node> = listed.into_iter().map(|(_, node)| node).collect();
                    assert_eq!(nodes, plain.list(&mut other, &paths, place.directory), "{seed}");
                }
                _ => {
                    let found = names.node_at(&mut one, place);
                    assert_eq!(found, plain.node_at(&mut other, place), "{seed}");
                }
            }
            assert_eq!(one.asked, other.asked, "seed {seed}, operation {operation}");
            assert_eq!(names.hash(), plain.hash(), "seed {seed}, operation {operation}");
        }
        asked += one.asked.len();
    }
    assert!(asked > 3000, "{asked}");
}

/// One directory is never synced, and holds all that comes later up.
#[test]
fn a_name_costs_no_more_however_many_changes_are_held_up() {
    let looked = |files: u32| {
        let mut names = Names::default();
        let place =
            |directory, name| Place { directory: DirectoryId(directory), name: NameId(name) };
        names.make_directory(place(0, 0), 1);
        names.link(place(1, 0), Node::File(0), 2);
        for file in 1..=files {
            names.link(place(2, 2 * file), Node::File(file), 3);
            names.rename(place(2, 2 * file), place(2, 2 * file + 1), file, 4);
            names.fence(DirectoryId(2));
            // The newest, the oldest that was renamed, and the one that is held up.
            for (place, file) in
                [(place(2, 2 * file + 1), file), (place(2, 3), 1), (place(1, 0), 0)]
            {
                let found = names.node_at(&mut Seeded::new(0), place);
                assert_eq!(found, Some(Node::File(file)));
            }
        }
        assert_eq!(names.changes.len() as u64, 2 + 2 * u64::from(files), "all are held up");
        names.looked
    };
    assert_eq!(looked(2000), 10 * looked(200));
}
