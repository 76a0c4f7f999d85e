//! The names of the simulated disk: what the medium holds, and what directories may yet lose.
//!
//! Owns: [`Names`]: durable names, and the changes since, in order, each durable, open or not yet
//! decided.
//! Must not know: what files hold.
//! Keeps: a crash keeps any subset of the changes that no directory sync fenced; nothing is
//! decided before a name is looked up, or listed, that it concerns. A name is one in a certain
//! directory, not a path: what lies in a directory whose own name was lost cannot be reached, also
//! if another one is made in its place.

use super::arena::mix;
use super::choose::{Choice, Choose};
use super::paths::{NameId, Paths};
use super::{count, index};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::ops::Bound;

/// The number of a directory. It is never given to another one, so that a directory that is made
/// anew has nothing of what lay in the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirectoryId(pub(super) u32);

/// The directory that is always there, in which every path begins.
pub(super) const TOP: DirectoryId = DirectoryId(0);

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(u32),
    Directory(DirectoryId),
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) directory: DirectoryId,
    pub(super) name: NameId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Done by the process, not fenced.
    Pending,
    /// A crash came first; nobody has looked.
    Open,
    /// On the medium.
    Kept,
    /// Not on the medium.
    Lost,
}

/// What a change does to names. Each kind names the file, so that it has its effect even if the
/// change before it was lost. A directory is not renamed: it would have two names where only the
/// later one of two renamings survives, and could be put into itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Link { place: Place, node: Node },
    Unlink { place: Place },
    Rename { from: Place, to: Place, file: u32 },
}

/// What a change makes of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Names(Node),
    Frees,
}

/// The place of a change among all that there ever were; the first has 1.
type Number = u64;

/// No change, or one that is not in the list any more.
const NONE: Number = 0;

#[derive(Clone, Copy, Debug)]
struct Change {
    edit: Edit,
    fate: Fate,
    operation: u64,
    /// The change before this one of the name whose directory holds this one.
    before: Number,
    /// That of the name that a renaming takes.
    before_from: Number,
    /// The change before this one that no sync had fenced then, in the same directory.
    unfenced_before: Number,
}

impl Change {
    /// What the change makes of a name.
    fn effect(&self, wanted: Place) -> Effect {
        match self.edit {
            Edit::Link { place, node } if place == wanted => Effect::Names(node),
            Edit::Unlink { place } if place == wanted => Effect::Frees,
            Edit::Rename { to, file, .. } if to == wanted => Effect::Names(Node::File(file)),
            Edit::Rename { from, .. } if from == wanted => Effect::Frees,
            _ => Effect::None,
        }
    }

    /// The name whose directory holds the change.
    fn place(&self) -> Place {
        match self.edit {
            Edit::Link { place, .. } | Edit::Unlink { place } => place,
            Edit::Rename { to, .. } => to,
        }
    }

    /// The name that a renaming takes.
    fn from(&self) -> Option<Place> {
        match self.edit {
            Edit::Rename { from, .. } => Some(from),
            Edit::Link { .. } | Edit::Unlink { .. } => None,
        }
    }

    /// The change before this one of one of its names.
    fn before_of(&self, place: Place) -> Number {
        if self.place() == place { self.before } else { self.before_from }
    }
}

/// What there is about a name.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    /// What it leads to on the medium.
    durable: Option<Node>,
    /// Since when: the numbers of durable names are in the order in which they became that.
    since: u64,
    /// The last change of it.
    last: Number,
    /// Changes of it in the list that its directory holds.
    held: u32,
}

/// The names, and what they lead to.
///
/// Changes leave the list in their order, so that one which is not fenced holds all later ones up.
/// A name is therefore asked of the changes that concern it only, and so is a sync.
#[derive(Debug, Default)]
pub(super) struct Names {
    named: BTreeMap<Place, Named>,
    changes: VecDeque<Change>,
    /// Changes that there were before those in the list.
    settled: Number,
    /// The last change in each directory that no sync has fenced.
    unfenced: Vec<Number>,
    /// How often a name became durable.
    made_durable: u64,
    /// Directories that were ever made, the top not among them.
    directories: u32,
    /// Changes that were looked at for a name, or for a sync.
    #[cfg(test)]
    looked: u64,
}

impl Names {
    pub(super) fn copy_from(&mut self, other: &Names) {
        self.named.clone_from(&other.named);
        self.changes.clone_from(&other.changes);
        self.settled = other.settled;
        self.unfenced.clone_from(&other.unfenced);
        self.made_durable = other.made_durable;
        self.directories = other.directories;
    }

    /// A change that is still in the list.
    fn change_mut(&mut self, number: Number) -> Option<&mut Change> {
        #[cfg(test)]
        {
            self.looked += 1;
        }
        let at = number.checked_sub(self.settled + 1)?;
        self.changes.get_mut(usize::try_from(at).ok()?)
    }

    /// What a way from the top leads to, as the process sees it; `None` if a part of it is
    /// missing.
    ///
    /// # Errors
    /// `NotADirectory` if it leads on behind a file.
    pub(super) fn find(
        &mut self,
        choose: &mut dyn Choose,
        way: &[NameId],
    ) -> io::Result<Option<Node>> {
        let mut node = Node::Directory(TOP);
        for name in way {
            let Node::Directory(directory) = node else {
                return Err(ErrorKind::NotADirectory.into());
            };
            match self.node_at(choose, Place { directory, name: *name }) {
                Some(found) => node = found,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The directory at the end of a way from the top.
    ///
    /// # Errors
    /// `NotFound` if a part is missing, `NotADirectory` if one is a file.
    pub(super) fn directory(
        &mut self,
        choose: &mut dyn Choose,
        way: &[NameId],
    ) -> io::Result<DirectoryId> {
        match self.find(choose, way)? {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// The last name of a way from the top, whatever it leads to, and if to nothing. The top has
    /// no name.
    ///
    /// # Errors
    /// Those of [`Names::directory`] for the directory of the name; `IsADirectory` for the top.
    pub(super) fn place(&mut self, choose: &mut dyn Choose, way: &[NameId]) -> io::Result<Place> {
        let (name, parent) = way.split_last().ok_or(ErrorKind::IsADirectory)?;
        Ok(Place { directory: self.directory(choose, parent)?, name: *name })
    }

    /// What a name leads to, as the process sees it.
    pub(super) fn node_at(&mut self, choose: &mut dyn Choose, place: Place) -> Option<Node> {
        let named = self.named.get(&place).copied()?;
        let mut number = named.last;
        while let Some(change) = self.change_mut(number) {
            number = change.before_of(place);
            if change.fate == Fate::Open {
                change.fate = decide(choose, change.operation);
            }
            if change.fate == Fate::Lost {
                continue;
            }
            match change.effect(place) {
                Effect::Names(node) => return Some(node),
                Effect::Frees => return None,
                Effect::None => {}
            }
        }
        named.durable
    }

    /// The names of a directory that lead to something, as the process sees it, in their order.
    /// Whether each does is decided here, and no more than that.
    pub(super) fn list(
        &mut self,
        choose: &mut dyn Choose,
        paths: &Paths,
        directory: DirectoryId,
    ) -> Vec<(NameId, Node)> {
        let names = self.ever_in(paths, directory).into_iter();
        names
            .filter_map(|name| Some((name, self.node_at(choose, Place { directory, name })?)))
            .collect()
    }

    /// Whether no name of a directory leads to anything, as the process sees it.
    pub(super) fn is_empty(
        &mut self,
        choose: &mut dyn Choose,
        paths: &Paths,
        directory: DirectoryId,
    ) -> bool {
        let mut names = self.ever_in(paths, directory).into_iter();
        names.all(|name| self.node_at(choose, Place { directory, name }).is_none())
    }

    /// The names of a directory that the medium or a change knows, in their order, so that the
    /// same questions are asked in the same order whatever numbers the names have.
    fn ever_in(&self, paths: &Paths, directory: DirectoryId) -> Vec<NameId> {
        let first = Place { directory, name: NameId(0) };
        let all = self.named.range((Bound::Included(first), Bound::Unbounded));
        let here = all.take_while(|(place, _)| place.directory == directory);
        let known = here.filter(|(_, named)| named.durable.is_some() || named.held > 0);
        let mut names: Vec<NameId> = known.map(|(place, _)| place.name).collect();
        names.sort_by_key(|name| paths.name(*name));
        names
    }

    /// Makes an empty directory.
    pub(super) fn make_directory(&mut self, place: Place, operation: u64) {
        self.directories += 1;
        self.link(place, Node::Directory(DirectoryId(self.directories)), operation);
    }

    pub(super) fn link(&mut self, place: Place, node: Node, operation: u64) {
        self.change(Edit::Link { place, node }, operation);
    }

    pub(super) fn unlink(&mut self, place: Place, operation: u64) {
        self.change(Edit::Unlink { place }, operation);
    }

    pub(super) fn rename(&mut self, from: Place, to: Place, file: u32, operation: u64) {
        self.change(Edit::Rename { from, to, file }, operation);
    }

    fn change(&mut self, edit: Edit, operation: u64) {
        let number = self.settled + self.changes.len() as Number + 1;
        let mut change = Change {
            edit,
            fate: Fate::Pending,
            operation,
            before: NONE,
            before_from: NONE,
            unfenced_before: NONE,
        };
        let place = change.place();
        let named = self.named.entry(place).or_default();
        change.before = std::mem::replace(&mut named.last, number);
        named.held += 1;
        if let Some(from) = change.from() {
            let named = self.named.entry(from).or_default();
            change.before_from = std::mem::replace(&mut named.last, number);
        }
        let directory = index(place.directory.0);
        if self.unfenced.len() <= directory {
            self.unfenced.resize(directory + 1, NONE);
        }
        change.unfenced_before = std::mem::replace(&mut self.unfenced[directory], number);
        self.changes.push_back(change);
    }

    /// A directory sync that works: the changes in the directory are on the medium. Whether its
    /// own name is, is the business of the directory that holds that.
    pub(super) fn fence(&mut self, directory: DirectoryId) {
        let unfenced = self.unfenced.get_mut(index(directory.0));
        let mut number = unfenced.map_or(NONE, std::mem::take);
        while let Some(change) = self.change_mut(number) {
            number = change.unfenced_before;
            if change.fate == Fate::Pending {
                change.fate = Fate::Kept;
            }
        }
        self.settle_prefix();
    }

    /// A power failure: any subset of the changes since the last directory sync survives.
    pub(super) fn crash(&mut self) {
        for change in &mut self.changes {
            if change.fate == Fate::Pending {
                change.fate = Fate::Open;
            }
        }
        self.unfenced.clear();
        self.settle_prefix();
    }

    /// Decides whatever is open.
    pub(super) fn decide_all(&mut self, choose: &mut dyn Choose) {
        for change in &mut self.changes {
            if change.fate == Fate::Open {
                change.fate = decide(choose, change.operation);
            }
        }
    }

    /// What was changed until now was there at first.
    pub(super) fn forget_operations(&mut self) {
        self.changes.iter_mut().for_each(|change| change.operation = 0);
    }

    /// Makes all changes durable.
    pub(super) fn settle(&mut self) {
        for change in &mut self.changes {
            if change.fate == Fate::Pending {
                change.fate = Fate::Kept;
            }
        }
        self.settle_prefix();
    }

    /// Makes the latest change durable.
    pub(super) fn settle_last(&mut self) {
        if let Some(change) = self.changes.back_mut() {
            change.fate = Fate::Kept;
        }
        self.settle_prefix();
    }

    /// Works the changes at the front whose fate is known into the durable names.
    fn settle_prefix(&mut self) {
        let known = |change: &Change| matches!(change.fate, Fate::Kept | Fate::Lost);
        while let Some(change) = self.changes.front().copied().filter(known) {
            self.changes.pop_front();
            self.settled += 1;
            let place = change.place();
            if let Some(named) = self.named.get_mut(&place) {
                named.held -= 1;
            }
            for place in change.from().into_iter().chain([place]) {
                let is_kept = change.fate == Fate::Kept;
                self.settle_name(place, if is_kept { change.effect(place) } else { Effect::None });
            }
        }
    }

    /// Works a change that left the list into one of its names.
    fn settle_name(&mut self, place: Place, effect: Effect) {
        let Some(named) = self.named.get_mut(&place) else { return };
        match effect {
            Effect::None => {}
            Effect::Frees => named.durable = None,
            Effect::Names(node) => {
                self.made_durable += 1;
                named.since = self.made_durable;
                named.durable = Some(node);
            }
        }
        if named.durable.is_none() && named.last <= self.settled {
            self.named.remove(&place);
        }
    }

    /// What the names on the medium hash to, those that are open included.
    pub(super) fn hash(&self) -> u64 {
        let number = |place: Place| u64::from(place.directory.0) << 32 | u64::from(place.name.0);
        let durable = self.named.iter();
        let durable =
            durable.filter_map(|(place, named)| Some((named.since, place, named.durable?)));
        let mut durable: Vec<(u64, &Place, Node)> = durable.collect();
        durable.sort_unstable_by_key(|(since, ..)| *since);
        // Numbers here may be 0, and mixing 0 into 0 is 0: a name would be none.
        let begin = !u64::from(self.directories);
        let hash = durable
            .into_iter()
            .fold(begin, |hash, (_, place, node)| mix(mix(hash, number(*place)), node.number()));
        let changes = self.changes.iter().filter(|change| change.fate != Fate::Lost);
        changes.fold(hash, |hash, change| {
            let numbers = match change.edit {
                Edit::Link { place, node } => [1, number(place), node.number(), 0],
                Edit::Unlink { place } => [2, number(place), 0, 0],
                Edit::Rename { from, to, file } => [3, number(from), u64::from(file), number(to)],
            };
            let open = u64::from(change.fate == Fate::Open);
            mix(numbers.into_iter().fold(hash, mix), open)
        })
    }

    /// How many sets of names are open, as a base-two logarithm.
    pub(super) fn log2_images(&self) -> f64 {
        f64::from(count(self.changes.iter().filter(|change| change.fate == Fate::Open).count()))
    }
}

impl Node {
    /// A number for each node.
    pub(super) fn number(self) -> u64 {
        match self {
            Node::File(file) => u64::from(file),
            Node::Directory(directory) => 1 << 32 | u64::from(directory.0),
        }
    }
}

fn decide(choose: &mut dyn Choose, operation: u64) -> Fate {
    match choose.choose(2, Choice::Name { operation }) {
        0 => Fate::Kept,
        _ => Fate::Lost,
    }
}

#[cfg(test)]
mod tests;
