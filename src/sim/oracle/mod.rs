//! The oracle: what a store must answer, by a model that is right because it is plain (layer L8).
//!
//! Owns: [`Oracle`], a `BTreeMap` with the rules of the public interface: transactions,
//! savepoints, failures, panics, cursors, sequence numbers, errors.
//! Must not know: pages, files; it shares no code with the engine but its error type and limits.
//! Keeps: every state that was committed can be named by its number, until it is forgotten.

mod change;
mod compare;
mod contents;
mod cursor;
mod handle;
mod op;
mod owned;
mod shape;
mod simpler;
mod source;
mod workload;

pub(in crate::sim) use compare::compare_cursors;
pub use compare::{Difference, compare, compare_snapshots};
pub use contents::{Bucket, Contents};
pub use handle::Handle;
pub use op::{
    Answer, By, CursorMove, Data, End, Ending, Ends, Exec, Op, Part, Peek, Read, Reply,
    SnapshotAct, Step, View, Way, Write,
};
pub use shape::{KeyShape, ValueShape};
pub use source::{Source, SourceEnd};
pub use workload::Workload;

use crate::Durability;
use crate::error::{Error, Result};
use crate::format::{bucket_name_len_max, key_len_max};
use crate::sim::index;
use contents::{Undo, keys_in, roll_back};
use cursor::Cursor;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A model of a store, which says of every operation what a store must answer.
///
/// ```
/// use btree_store::Options;
/// use btree_store::sim::oracle::{Handle, KeyShape, Oracle, ValueShape, Workload, compare};
/// use btree_store::sim::Seeded;
/// use btree_store::vfs::MemVfs;
/// use std::sync::Arc;
///
/// let options = Options::new().page_size(512).vfs(Arc::new(MemVfs::new()));
/// let mut store = Handle::open(options, "data.db")?;
/// let mut oracle = Oracle::new(512);
/// let mut workload = Workload::new(512, KeyShape::Short, ValueShape::Small);
/// let mut source = Seeded::new(7);
/// for _ in 0..100 {
///     let op = workload.op(&mut source);
///     assert_eq!(store.run(&op), oracle.apply(&op), "{op:?}");
///     oracle.follow(store.db().current_seq());
/// }
/// compare(store.db(), oracle.now()).unwrap();
/// # Ok::<(), btree_store::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Oracle {
    page_size: usize,
    now: Contents,
    seq: u64,
    /// The changes of the write transaction that runs.
    running: Option<Vec<Undo>>,
    /// What the transaction that runs, or its part, asked for.
    durability: Durability,
    /// The changes of deferred commits that are not durable.
    deferred: Vec<Undo>,
    /// The operation done last ended with a deferred commit.
    has_just_deferred: bool,
    /// How many closures the call is inside of.
    depth: u32,
    cursors: BTreeMap<u8, Cursor>,
    snapshots: BTreeMap<u8, Contents>,
    /// Of each commit that is not forgotten: how it is taken back. The newest is at the back and
    /// has the number `seq`.
    history: VecDeque<Vec<Undo>>,
}

/// Whether a transaction counts as a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Changed,
    Same,
}

impl Oracle {
    /// The model of a new store with pages of this size, in bytes; limits depend on it.
    pub fn new(page_size: u32) -> Oracle {
        Oracle {
            page_size: index(page_size),
            now: Contents::default(),
            seq: 0,
            running: None,
            durability: Durability::Durable,
            deferred: Vec::new(),
            has_just_deferred: false,
            depth: 0,
            cursors: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            history: VecDeque::new(),
        }
    }

    /// The number of the newest durable commit.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What write transactions see now.
    pub fn now(&self) -> &Contents {
        &self.now
    }

    /// What readers see now: nothing of deferred commits that are not durable, nor of the
    /// transaction that runs.
    pub fn durable(&self) -> Contents {
        let mut contents = self.now.clone();
        let running = self.running.iter().flatten().rev();
        running.chain(self.deferred.iter().rev()).for_each(|change| contents.take_back(change));
        contents
    }

    /// Whether deferred commits are not durable yet.
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Whether the operation done last ended with a deferred commit that changes something. Only
    /// then may the store have made durable, unasked, what is deferred.
    pub fn has_just_deferred(&self) -> bool {
        self.has_just_deferred && self.has_deferred()
    }

    /// What the store held after commit `seq`; `None` for a commit to come or a forgotten one.
    pub fn state(&self, seq: u64) -> Option<Contents> {
        let back = usize::try_from(self.seq.checked_sub(seq)?).ok()?;
        let first = self.history.len().checked_sub(back)?;
        let mut contents = self.durable();
        for commit in self.history.range(first..).rev() {
            commit.iter().rev().for_each(|change| contents.take_back(change));
        }
        Some(contents)
    }

    /// Forgets the states before commit `seq`, and frees their memory.
    pub fn forget_before(&mut self, seq: u64) {
        let keep = usize::try_from(self.seq.saturating_sub(seq)).unwrap_or(usize::MAX);
        let surplus = self.history.len().saturating_sub(keep);
        self.history.drain(..surplus);
    }

    /// Takes over the store's number after a call that commits states of the same contents, as
    /// [`Op::Compact`] does, or makes deferred commits durable unasked; how many states they are,
    /// and when that is, is the store's affair.
    pub fn follow(&mut self, seq: u64) {
        while self.seq < seq {
            self.seq += 1;
            self.history.push_back(std::mem::take(&mut self.deferred));
        }
    }

    /// A sync said that the deferred commits that are not durable were lost.
    pub fn lose_deferred(&mut self) {
        roll_back(&mut self.now, &mut self.deferred, 0);
    }

    /// Makes deferred commits durable, all as one.
    fn flush(&mut self) {
        if self.has_deferred() {
            self.follow(self.seq + 1);
        }
    }

    /// The process ended and the store was opened again, in the state of commit `seq`: what came
    /// later is gone. `false` if there is no such state, and then nothing is done.
    pub fn recover(&mut self, seq: u64) -> bool {
        let Some(contents) = self.state(seq) else { return false };
        while self.seq > seq {
            self.history.pop_back();
            self.seq -= 1;
        }
        self.now = contents;
        (self.running, self.deferred) = (None, Vec::new());
        self.let_go();
        true
    }

    /// The process goes on, in a state that was found: what outlives calls stays.
    pub fn go_on_in(&mut self, state: Oracle) {
        let (cursors, snapshots) = (self.cursors.clone(), self.snapshots.clone());
        *self = Oracle { cursors, snapshots, ..state };
    }

    /// Does an operation, and says what the store must answer.
    pub fn apply(&mut self, op: &Op) -> Reply {
        self.has_just_deferred &= self.depth > 0;
        match op {
            Op::Exec(exec) => self.exec(exec),
            Op::Multi { parts, end } => self.multi(parts, *end),
            Op::Owned { by, exec } => self.owned(*by, exec),
            Op::View(view) => self.view(view),
            Op::Snapshot { slot, act } => self.with_snapshot(*slot, act),
            Op::DelBucket(name) => Reply::of(self.del_bucket(name).map(|()| None)),
            Op::Buckets => Reply::of(Ok(Some(Answer::Names(self.durable().names())))),
            Op::Commit | Op::Sync | Op::Compact(_) => {
                let idle = self.check_idle();
                if idle.is_ok() {
                    self.flush();
                }
                Reply::of(idle.map(|()| None))
            }
            Op::Cursor(step) => Reply::of(Ok(Some(self.move_cursor(step)))),
            // A closure cannot close the store that runs it.
            Op::Reopen if self.depth > 0 => Reply::of(Err(Error::Invalid)),
            Op::Reopen => {
                self.flush();
                self.let_go();
                Reply::of(Ok(None))
            }
        }
    }

    /// Drops what outlives transactions, and no process.
    fn let_go(&mut self) {
        self.cursors.clear();
        self.snapshots.clear();
    }

    pub(in crate::sim) fn drop_cursors(&mut self) {
        self.cursors.clear();
    }

    /// Does an operation inside a closure.
    fn nested(&mut self, op: &Op) -> Answer {
        self.depth += 1;
        let reply = self.apply(op);
        self.depth -= 1;
        Answer::Reply(Box::new(reply))
    }

    /// Refuses what is not allowed inside a write transaction.
    fn check_idle(&self) -> Result<()> {
        if self.running.is_some() { Err(Error::Invalid) } else { Ok(()) }
    }

    fn check_name(&self, name: &str) -> Result<()> {
        check_len(name.len(), bucket_name_len_max(self.page_size))
    }

    fn check_key(&self, key: &Data) -> Result<()> {
        check_len(key.bytes().len(), key_len_max(self.page_size))
    }

    fn exec(&mut self, exec: &Exec) -> Reply {
        if let Err(error) = self.check_name(&exec.bucket).and_then(|()| self.check_idle()) {
            return Reply::of(Err(error));
        }
        self.begin();
        let (reply, effect) = self.in_bucket(exec);
        self.end(&reply.end, effect);
        reply
    }

    /// Begins the write transaction.
    fn begin(&mut self) {
        (self.running, self.durability) = (Some(Vec::new()), Durability::Durable);
    }

    /// Ends the write transaction.
    fn end(&mut self, end: &Ending, effect: Effect) {
        let mut undo = self.running.take().expect("a write transaction runs");
        if *end != Ending::Done {
            return roll_back(&mut self.now, &mut undo, 0);
        }
        if effect == Effect::Changed && !self.now.is_hollow_as_before(&undo) {
            self.deferred.append(&mut undo);
            self.has_just_deferred = true;
        }
        if self.durability == Durability::Durable {
            self.flush();
        }
    }

    /// Runs a closure on a bucket. When it fails, its own changes are undone.
    fn in_bucket(&mut self, exec: &Exec) -> (Reply, Effect) {
        let name: Arc<str> = exec.bucket.as_str().into();
        let mut effect = Effect::Same;
        let undo = self.running.as_mut().expect("a write transaction runs");
        let (mark, before) = (undo.len(), self.durability);
        if self.now.bucket(&name).is_none() {
            self.now.create(&name, undo);
            effect = Effect::Changed;
        }
        let mut steps = Vec::with_capacity(exec.steps.len());
        for step in &exec.steps {
            steps.push(match step {
                Step::Peek(Peek::Nest(op)) => Ok(self.nested(op)),
                Step::Peek(Peek::Read(read)) => {
                    let bucket = self.now.shared(&name).expect("the bucket was made");
                    self.read(&bucket, read)
                }
                Step::Write(write) => self.write(&name, write, &mut effect),
                Step::Durability(durability) => {
                    self.durability = *durability;
                    Ok(Answer::Done)
                }
            });
        }
        let end = ending(exec.end);
        if end != Ending::Done {
            let undo = self.running.as_mut().expect("a write transaction runs");
            roll_back(&mut self.now, undo, mark);
            (self.durability, effect) = (before, Effect::Same);
        }
        (Reply { steps, end }, effect)
    }

    fn multi(&mut self, parts: &[Part], end: End) -> Reply {
        if let Err(error) = self.check_idle() {
            return Reply::of(Err(error));
        }
        self.begin();
        let mut reply = Reply { steps: Vec::new(), end: ending(end) };
        let mut effect = Effect::Same;
        for part in parts {
            let answer = match part {
                Part::Nest(op) => self.nested(op),
                Part::Durability(durability) => {
                    self.durability = *durability;
                    Answer::Done
                }
                Part::DelBucket(name) => match self.drop_bucket(name) {
                    Ok(()) => {
                        effect = Effect::Changed;
                        Answer::Done
                    }
                    Err(error) => Answer::Reply(Box::new(Reply::of(Err(error)))),
                },
                Part::Exec(exec) => {
                    let inner = match self.check_name(&exec.bucket) {
                        Ok(()) => self.in_bucket(exec),
                        Err(error) => (Reply::of(Err(error)), Effect::Same),
                    };
                    if inner.0.end == Ending::Panicked {
                        reply.end = Ending::Panicked;
                        break;
                    }
                    if inner.1 == Effect::Changed {
                        effect = Effect::Changed;
                    }
                    Answer::Reply(Box::new(inner.0))
                }
            };
            reply.steps.push(Ok(answer));
        }
        self.end(&reply.end, effect);
        reply
    }

    fn del_bucket(&mut self, name: &str) -> Result<()> {
        self.check_idle()?;
        self.begin();
        let result = self.drop_bucket(name);
        let end = result.map_or_else(Ending::Failed, |()| Ending::Done);
        self.end(&end, Effect::Changed);
        result
    }

    fn drop_bucket(&mut self, name: &str) -> Result<()> {
        self.check_name(name)?;
        let undo = self.running.as_mut().expect("a write transaction runs");
        if self.now.drop_bucket(name, undo) { Ok(()) } else { Err(Error::NotFound) }
    }

    fn view(&mut self, view: &View) -> Reply {
        let is_now = self.running.is_none() && !self.has_deferred();
        let bucket = if is_now {
            self.now.shared(&view.bucket)
        } else {
            self.durable().shared(&view.bucket)
        };
        self.view_of(bucket, view)
    }

    /// Runs a closure on a bucket, if there is one.
    fn view_of(&mut self, bucket: Option<Arc<Bucket>>, view: &View) -> Reply {
        if let Err(error) = self.check_name(&view.bucket) {
            return Reply::of(Err(error));
        }
        let Some(bucket) = bucket else { return Reply::of(Err(Error::NotFound)) };
        let mut steps = Vec::with_capacity(view.steps.len());
        for peek in &view.steps {
            steps.push(match peek {
                Peek::Read(read) => self.read(&bucket, read),
                Peek::Nest(op) => Ok(self.nested(op)),
            });
        }
        Reply { steps, end: ending(view.end) }
    }

    fn with_snapshot(&mut self, slot: u8, act: &SnapshotAct) -> Reply {
        if *act == SnapshotAct::Take {
            let contents = self.durable();
            self.snapshots.insert(slot, contents);
            return Reply::of(Ok(None));
        }
        let Some(contents) = self.snapshots.get(&slot) else { return Reply::of(Ok(None)) };
        match act {
            SnapshotAct::View(view) => self.view_of(contents.shared(&view.bucket), view),
            SnapshotAct::Buckets => Reply::of(Ok(Some(Answer::Names(contents.names())))),
            SnapshotAct::CloneTo(_) | SnapshotAct::Drop | SnapshotAct::Take => {
                let contents = self.snapshots.remove(&slot);
                if let (SnapshotAct::CloneTo(to), Some(contents)) = (act, contents) {
                    self.snapshots.insert(*to, contents);
                }
                Reply::of(Ok(None))
            }
        }
    }

    fn read(&mut self, bucket: &Arc<Bucket>, read: &Read) -> Result<Answer> {
        let entry = |entry: Option<(&Data, &Data)>| {
            Answer::Entry(entry.map(|(key, value)| (key.clone(), value.clone())))
        };
        match read {
            Read::Get(key) => {
                self.check_key(key)?;
                bucket.get(key).cloned().map(Answer::Value).ok_or(Error::NotFound)
            }
            Read::Contains(key) => {
                self.check_key(key)?;
                Ok(Answer::Flag(bucket.contains_key(key)))
            }
            Read::GetMany(keys) => {
                keys.iter().try_for_each(|key| self.check_key(key))?;
                Ok(Answer::Values(keys.iter().map(|key| bucket.get(key).cloned()).collect()))
            }
            Read::Range(start, end, ends) => {
                let keys = keys_in(bucket, start, end);
                Ok(Answer::Entries(ends_of(bucket, keys, *ends)))
            }
            Read::Prefix(prefix, ends) => {
                let begins = |key: &&Data| key.bytes().starts_with(prefix.bytes());
                let keys = bucket.keys().filter(begins).cloned().collect();
                Ok(Answer::Entries(ends_of(bucket, keys, *ends)))
            }
            Read::Len => Ok(Answer::Count(bucket.len() as u64)),
            Read::First => Ok(entry(bucket.first_key_value())),
            Read::Last => Ok(entry(bucket.last_key_value())),
            Read::Open { slot, from } => {
                let cursor = Cursor::new(Arc::clone(bucket), from.clone());
                self.cursors.insert(*slot, cursor);
                Ok(Answer::Done)
            }
            Read::Cursor(step) => Ok(self.move_cursor(step)),
        }
    }

    fn move_cursor(&mut self, step: &CursorMove) -> Answer {
        let entries = self.cursors.get_mut(&step.slot).map(|cursor| cursor.step(step));
        Answer::Entries(entries.unwrap_or_default())
    }
}

/// The entries of these keys, read from both ends.
fn ends_of(bucket: &Bucket, keys: Vec<Data>, ends: Ends) -> Vec<(Data, Data)> {
    let mut left = VecDeque::from(keys);
    let next = |is_front| {
        let key = if is_front { left.pop_front() } else { left.pop_back() };
        Ok(key.map(|key| (key.clone(), bucket[&key].clone())))
    };
    ends.read(next).expect("a map reads without errors")
}

fn check_len(len: usize, limit: usize) -> Result<()> {
    match len {
        0 => Err(Error::Invalid),
        _ if len > limit => Err(Error::TooLarge),
        _ => Ok(()),
    }
}

fn ending(end: End) -> Ending {
    match end {
        End::Commit => Ending::Done,
        End::Fail(error) => Ending::Failed(error),
        End::Panic => Ending::Panicked,
    }
}
