//! Owned transactions of the model (part of the oracle, layer L8).
//!
//! Owns: what such a transaction sees, what it has looked at, and when it conflicts.
//! Must not know: how a store compares states. Keeps: a transaction that commits has happened at
//! its commit; one that conflicts, fails or is dropped has changed nothing.

use super::change::check_ascends;
use super::contents::{Bucket, Contents, keys_in};
use super::op::{Answer, By, Data, End, Ending, Ends, Exec, Peek, Read, Reply, Step, Write};
use super::shape::inline_len_max;
use super::{Effect, Oracle, ending};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// How often `transact` runs a closure beside others.
const TRANSACT_RUNS: usize = 4;

/// What becomes of a key that a transaction has touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Written,
}

/// A range, and how far it was walked.
struct Walk {
    start: Bound<Data>,
    end: Bound<Data>,
    /// What all of its keys begin with.
    prefix: Data,
    /// The keys that its ends gave last.
    front: Option<Data>,
    back: Option<Data>,
    is_over: bool,
}

impl Walk {
    fn new(start: &Bound<Data>, end: &Bound<Data>, prefix: &Data) -> Walk {
        let (start, end, prefix) = (start.clone(), end.clone(), prefix.clone());
        Walk { start, end, prefix, front: None, back: None, is_over: false }
    }

    fn keys(&self, bucket: &Bucket) -> Vec<Data> {
        let mut keys = keys_in(bucket, &self.start, &self.end);
        keys.retain(|key| key.bytes().starts_with(self.prefix.bytes()));
        keys
    }

    /// The entries of a bucket of which it has told whether they are there.
    fn told<'b>(&self, bucket: &'b Bucket) -> Vec<(Data, &'b Data)> {
        let is_told = |key: &Data| {
            let in_front = self.front.as_ref().is_some_and(|front| key <= front);
            let behind = self.back.as_ref().is_some_and(|back| key >= back);
            self.is_over || in_front || behind
        };
        let keys = self.keys(bucket).into_iter().filter(is_told);
        keys.map(|key| (key.clone(), &bucket[&key])).collect()
    }
}

/// A transaction that is open.
struct Open {
    /// The bucket as the transaction sees it.
    now: Option<Bucket>,
    keys: BTreeMap<Data, Use>,
    walks: Vec<Walk>,
    is_counted: bool,
}

impl Open {
    fn note(&mut self, key: &Data, used: Use) {
        let known = self.keys.entry(key.clone()).or_insert(used);
        if used == Use::Written {
            *known = used;
        }
    }

    fn get(&mut self, key: &Data) -> Option<Data> {
        self.note(key, Use::Read);
        self.now.as_ref().and_then(|bucket| bucket.get(key).cloned())
    }

    fn set(&mut self, key: &Data, value: Option<&Data>) {
        self.note(key, Use::Written);
        let bucket = self.now.get_or_insert_default();
        match value {
            Some(value) => drop(bucket.insert(key.clone(), value.clone())),
            None => drop(bucket.remove(key)),
        }
    }

    /// Walks over a range, as far as it is asked to.
    fn walk(&mut self, mut walk: Walk, steps: impl FnOnce(&mut Walked<'_>)) -> Vec<(Data, Data)> {
        let none = Bucket::new();
        let bucket = self.now.as_ref().unwrap_or(&none);
        let left = walk.keys(bucket).into();
        let mut walked = Walked { walk: &mut walk, bucket, left, entries: Vec::new() };
        steps(&mut walked);
        let entries = walked.entries;
        self.walks.push(walk);
        entries
    }

    fn read_ends(&mut self, walk: Walk, ends: Ends) -> Answer {
        Answer::Entries(self.walk(walk, |walked| {
            let next = |is_front| Ok(walked.step(is_front).then_some(()));
            ends.read(next).expect("a map reads without errors");
        }))
    }

    /// Whether what it has looked at is as it was.
    fn conflicts(&self, then: Option<&Bucket>, newest: Option<&Bucket>) -> bool {
        let none = Bucket::new();
        let (then, newest) = (then.unwrap_or(&none), newest.unwrap_or(&none));
        let is_changed = |key: &Data| then.get(key) != newest.get(key);
        self.is_counted && then.len() != newest.len()
            || self.keys.keys().any(is_changed)
            || self.walks.iter().any(|walk| walk.told(then) != walk.told(newest))
    }

    fn has_changes(&self, then: Option<&Bucket>) -> bool {
        let is_written = || self.keys.values().any(|used| *used == Use::Written);
        self.now.is_some() && (then.is_none() || is_written())
    }
}

/// A range on its way.
struct Walked<'w> {
    walk: &'w mut Walk,
    bucket: &'w Bucket,
    left: std::collections::VecDeque<Data>,
    entries: Vec<(Data, Data)>,
}

impl Walked<'_> {
    /// Goes a step on, and says whether there was one.
    fn step(&mut self, is_front: bool) -> bool {
        let key = if is_front { self.left.pop_front() } else { self.left.pop_back() };
        let Some(key) = key else {
            self.walk.is_over = true;
            return false;
        };
        let end = if is_front { &mut self.walk.front } else { &mut self.walk.back };
        *end = Some(key.clone());
        let value = self.bucket[&key].clone();
        self.entries.push((key, value));
        true
    }
}

impl Oracle {
    pub(super) fn owned(&mut self, by: By, exec: &Exec) -> Reply {
        if by == By::Transact
            && let Err(error) = self.check_idle()
        {
            return Reply::of(Err(error));
        }
        if let Err(error) = self.check_name(&exec.bucket) {
            return Reply::of(Err(error));
        }
        let mut reply = self.owned_on(&self.durable(), by, exec);
        if by == By::Begin || reply.end != Ending::Failed(Error::Conflict) {
            return reply;
        }
        let again = if exec.end == End::Commit {
            // What it lost against is durable now.
            self.owned_on(&self.durable(), by, exec)
        } else {
            reply.steps = vec![reply.steps; TRANSACT_RUNS].concat();
            // The last time nobody is ahead of it: it sees what is not durable.
            self.owned_on(&self.now.clone(), by, exec)
        };
        reply.steps.extend(again.steps);
        Reply { end: again.end, ..reply }
    }

    /// Runs a transaction that began on a state, and commits it if it is to.
    fn owned_on(&mut self, base: &Contents, by: By, exec: &Exec) -> Reply {
        let name: Arc<str> = exec.bucket.as_str().into();
        let now = base.bucket(&name).cloned();
        let (keys, walks) = (BTreeMap::new(), Vec::new());
        let mut open = Open { now, keys, walks, is_counted: false };
        let mut steps = Vec::with_capacity(exec.steps.len());
        for step in &exec.steps {
            steps.push(match step {
                Step::Peek(Peek::Nest(op)) if by == By::Begin => Ok(self.nested(op)),
                Step::Peek(Peek::Nest(_)) | Step::Durability(_) => Ok(Answer::Done),
                Step::Peek(Peek::Read(read)) => self.read_owned(&mut open, read),
                Step::Write(write) => self.write_owned(&mut open, write),
            });
        }
        let mut end = ending(exec.end);
        if end == Ending::Done && open.has_changes(base.bucket(&name)) {
            end = self.commit_owned(base, &name, &open);
        }
        Reply { steps, end }
    }

    fn commit_owned(&mut self, base: &Contents, name: &Arc<str>, open: &Open) -> Ending {
        if let Err(error) = self.check_idle() {
            return Ending::Failed(error);
        }
        self.begin();
        if open.conflicts(base.bucket(name), self.now.bucket(name)) {
            // The turn ends without a change.
            self.end(&Ending::Done, Effect::Same);
            return Ending::Failed(Error::Conflict);
        }
        let mut effect = Effect::Same;
        let undo = self.running.as_mut().expect("a write transaction runs");
        if self.now.bucket(name).is_none() {
            self.now.create(name, undo);
            effect = Effect::Changed;
        }
        let written = open.keys.iter().filter(|(_, used)| **used == Use::Written);
        for (key, _) in written {
            let value = open.now.as_ref().and_then(|bucket| bucket.get(key));
            let is_there = self.now.bucket(name).is_some_and(|bucket| bucket.contains_key(key));
            if value.is_some() || is_there {
                self.now.set(name, key, value, undo);
                effect = Effect::Changed;
            }
        }
        self.end(&Ending::Done, effect);
        Ending::Done
    }

    fn read_owned(&self, open: &mut Open, read: &Read) -> Result<Answer> {
        let within = |prefix| Walk::new(&Bound::Unbounded, &Bound::Unbounded, prefix);
        let any = Data::from("");
        match read {
            Read::Get(key) => {
                self.check_key(key)?;
                open.get(key).map(Answer::Value).ok_or(Error::NotFound)
            }
            Read::Contains(key) => {
                self.check_key(key)?;
                Ok(Answer::Flag(open.get(key).is_some()))
            }
            Read::GetMany(keys) => {
                let get = |key| self.check_key(key).map(|()| open.get(key));
                Ok(Answer::Values(keys.iter().map(get).collect::<Result<_>>()?))
            }
            Read::Range(start, end, ends) => Ok(open.read_ends(Walk::new(start, end, &any), *ends)),
            Read::Prefix(prefix, ends) => Ok(open.read_ends(within(prefix), *ends)),
            Read::Len => {
                open.is_counted = true;
                Ok(Answer::Count(open.now.as_ref().map_or(0, |bucket| bucket.len() as u64)))
            }
            Read::First | Read::Last => {
                let is_front = matches!(read, Read::First);
                let entries = open.walk(within(&any), |walked| {
                    walked.step(is_front);
                });
                Ok(Answer::Entry(entries.into_iter().next()))
            }
            Read::Open { .. } | Read::Cursor(_) => Ok(Answer::Done),
        }
    }

    fn write_owned(&self, open: &mut Open, write: &Write) -> Result<Answer> {
        match write {
            Write::Put(key, value) => {
                self.check_key(key)?;
                open.set(key, Some(value));
                Ok(Answer::Done)
            }
            Write::PutFrom { key, value, source } => {
                self.check_key(key)?;
                if value.bytes().len() > inline_len_max(self.page_size, key.bytes().len()) {
                    // Its pages are set aside by whoever has the writer's turn.
                    self.check_idle()?;
                }
                source.check(value.bytes().len())?;
                open.set(key, Some(value));
                Ok(Answer::Done)
            }
            Write::Insert(key, value) => {
                self.check_key(key)?;
                if open.get(key).is_some() {
                    return Err(Error::Duplicate);
                }
                open.set(key, Some(value));
                Ok(Answer::Done)
            }
            Write::Update(key, value) => {
                self.check_key(key)?;
                let is_there = open.get(key).is_some();
                if is_there {
                    open.set(key, Some(value));
                }
                Ok(Answer::Flag(is_there))
            }
            Write::Swap { key, expected, new } => {
                self.check_key(key)?;
                let is_met = open.get(key) == *expected;
                if is_met && (expected, new) != (&None, &None) {
                    open.set(key, new.as_ref());
                }
                Ok(Answer::Flag(is_met))
            }
            Write::BulkLoad(entries) => self.load_owned(open, entries),
            Write::Del(key) => {
                self.check_key(key)?;
                open.get(key).ok_or(Error::NotFound)?;
                open.set(key, None);
                Ok(Answer::Done)
            }
            Write::DeleteRange(start, end) => {
                let walk = Walk::new(start, end, &Data::from(""));
                let walk = Walk { is_over: true, ..walk };
                let keys = open.now.as_ref().map_or_else(Vec::new, |bucket| walk.keys(bucket));
                open.walks.push(walk);
                for key in &keys {
                    open.set(key, None);
                }
                Ok(Answer::Count(keys.len() as u64))
            }
        }
    }

    /// All entries, if their keys ascend and lie behind the last one; or none. That there are no
    /// others from the first one on is seen in either case.
    fn load_owned(&self, open: &mut Open, entries: &[(Data, Data)]) -> Result<Answer> {
        let last = open.now.as_ref().and_then(|bucket| bucket.last_key_value());
        let mut last = last.map(|(key, _)| key.clone());
        for (number, (key, _)) in entries.iter().enumerate() {
            self.check_key(key)?;
            if number == 0 {
                let behind = Bound::Included(key.clone());
                let walk = Walk::new(&behind, &Bound::Unbounded, &Data::from(""));
                open.walks.push(Walk { is_over: true, ..walk });
            }
            check_ascends(last.as_ref(), key)?;
            last = Some(key.clone());
        }
        for (key, value) in entries {
            open.set(key, Some(value));
        }
        Ok(Answer::Count(entries.len() as u64))
    }
}
