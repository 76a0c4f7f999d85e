//! Carrying operations out on a store (part of the oracle, layer L8).
//!
//! Owns: [`Handle`]: an open store, and the cursors and snapshots that outlive calls.
//! Must not know: what the right answer is. Keeps: a reply is made of what the store returned.

mod awaited;
mod owned;

use super::op::{
    Answer, CursorMove, Data, End, Ending, Ends, Exec, Op, Part, Peek, Read, Reply, SnapshotAct,
    Step, View, Way, Write,
};
use crate::error::{Error, Result};
use crate::{BTree, Iter, MultiTxn, Options, Range, ReadOnlyTxn, Snapshot, Txn, ValueReader};
use awaited::{Awaited, read_later};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// A store on which operations are carried out.
#[derive(Debug)]
pub struct Handle {
    options: Options,
    path: PathBuf,
    db: Option<BTree>,
    kept: Kept,
}

/// What outlives calls.
#[derive(Debug, Default)]
struct Kept {
    cursors: BTreeMap<u8, Iter>,
    snapshots: BTreeMap<u8, Snapshot>,
    awaited: Awaited,
}

/// What a closure panics with when it is told to.
struct Planned;

impl Handle {
    /// Opens a store.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(options: Options, path: impl AsRef<Path>) -> Result<Handle> {
        let path = path.as_ref().to_path_buf();
        let db = Some(options.clone().open(&path)?);
        Ok(Handle { options, path, db, kept: Kept::default() })
    }

    /// The store.
    ///
    /// # Panics
    /// When an [`Op::Reopen`] failed.
    pub fn db(&self) -> &BTree {
        self.db.as_ref().expect("the store is open")
    }

    /// Whether the store is open; it is not after an [`Op::Reopen`] that failed.
    pub fn is_open(&self) -> bool {
        self.db.is_some()
    }

    /// The snapshots that operations keep, by their slots.
    pub(super) fn snapshots(&self) -> &BTreeMap<u8, Snapshot> {
        &self.kept.snapshots
    }

    /// How many cursors and readers were kept so far.
    pub(in crate::sim) fn kept(&self) -> u64 {
        self.kept.awaited.made()
    }

    /// The disk can lose nothing that was written to it, nor what readers give that were kept.
    pub(in crate::sim) fn note_synced(&mut self) {
        self.kept.awaited.note_synced();
    }

    /// How many readers there were when that was so.
    pub(in crate::sim) fn synced(&self) -> u64 {
        self.kept.awaited.synced
    }

    /// Says whether the storage works during the next operation: what cannot be read is told then.
    pub(in crate::sim) fn expect_calm(&mut self, is_calm: bool) {
        self.kept.awaited.is_calm = is_calm;
    }

    /// Drops all cursors and snapshots, and reads what is to be read yet.
    ///
    /// # Errors
    /// What the store says; `Internal` where it is another value.
    pub(in crate::sim) fn look_back(&mut self) -> Result<()> {
        self.kept.cursors.clear();
        self.kept.snapshots.clear();
        self.read_awaited(&|_, _| false)
    }

    /// Reads what is to be read yet, while the storage works. What a reader of a number, from 1,
    /// says may be excused.
    ///
    /// # Errors
    /// What the store says; `Internal` where it is another value.
    pub(in crate::sim) fn read_awaited(
        &mut self,
        is_excused: &dyn Fn(u64, Error) -> bool,
    ) -> Result<()> {
        self.kept.awaited.read_all(is_excused)
    }

    pub(in crate::sim) fn drop_cursors(&mut self) {
        self.kept.cursors.clear();
    }

    /// Carries an operation out. A panic that the operation asks for is caught, any other is let
    /// through.
    ///
    /// # Panics
    /// When an [`Op::Reopen`] failed, for all but another one.
    pub fn run(&mut self, op: &Op) -> Reply {
        if *op == Op::Reopen {
            self.kept = Kept::default();
            self.db = None;
            let opened = self.options.clone().open(&self.path);
            return Reply::of(opened.map(|db| {
                self.db = Some(db);
                None
            }));
        }
        // Not a copy: what a handle was told of lost commits stays with it.
        let db = self.db.as_ref().expect("the store is open");
        Runner { db, kept: &mut self.kept }.run(op)
    }
}

/// The store and what outlives calls, inside and outside of closures.
struct Runner<'a> {
    db: &'a BTree,
    kept: &'a mut Kept,
}

impl Runner<'_> {
    fn run(&mut self, op: &Op) -> Reply {
        match op {
            Op::Exec(exec) => {
                let db = self.db;
                let mut steps = Vec::new();
                let call = || db.exec(&exec.bucket, |txn| self.exec(txn, exec, &mut steps));
                let end = caught(call);
                Reply { steps, end }
            }
            Op::Multi { parts, end } => {
                let db = self.db;
                let mut steps = Vec::new();
                let end = caught(|| {
                    db.exec_multi(|multi| {
                        for part in parts {
                            let answer = self.part(multi, part);
                            steps.push(Ok(answer));
                        }
                        finish(*end)
                    })
                });
                Reply { steps, end }
            }
            Op::Owned { by, exec } => self.owned(*by, exec),
            Op::View(view) => {
                let db = self.db;
                let mut steps = Vec::new();
                let call = || db.view(&view.bucket, |txn| self.view(txn, view, &mut steps));
                let end = caught(call);
                Reply { steps, end }
            }
            Op::Snapshot { slot, act } => self.snapshot(*slot, act),
            Op::DelBucket(name) => Reply::of(self.db.del_bucket(name).map(|()| None)),
            Op::Buckets => Reply::of(self.db.buckets().map(Answer::Names).map(Some)),
            Op::Commit => Reply::of(self.db.commit().map(|()| None)),
            Op::Sync => Reply::of(self.db.sync().map(|()| None)),
            Op::Compact(target) => Reply::of(self.db.compact(*target).map(|_| None)),
            Op::Cursor(step) => Reply::of(self.move_cursor(step).map(Some)),
            // A store cannot be closed by a closure that it runs.
            Op::Reopen => Reply::of(Err(Error::Invalid)),
        }
    }

    fn exec(
        &mut self,
        txn: &mut Txn<'_>,
        exec: &Exec,
        steps: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        for step in &exec.steps {
            steps.push(match step {
                Step::Peek(peek) => self.peek(txn, peek),
                Step::Write(write) => self.change(txn, write),
                Step::Durability(durability) => {
                    txn.set_durability(*durability);
                    Ok(Answer::Done)
                }
            });
        }
        finish(exec.end)
    }

    fn change(&mut self, txn: &mut Txn<'_>, write: &Write) -> Result<Answer> {
        let answer = change(txn, write)?;
        if let Some((key, value)) = read_later(write) {
            self.kept.awaited.push(txn.get_reader(key.bytes())?, value.clone())?;
        }
        Ok(answer)
    }

    fn view(
        &mut self,
        txn: &ReadOnlyTxn<'_>,
        view: &View,
        steps: &mut Vec<Result<Answer>>,
    ) -> Result<()> {
        for peek in &view.steps {
            let answer = self.peek(txn, peek);
            steps.push(answer);
        }
        finish(view.end)
    }

    fn snapshot(&mut self, slot: u8, act: &SnapshotAct) -> Reply {
        if *act == SnapshotAct::Take {
            self.kept.snapshots.insert(slot, self.db.snapshot());
            return Reply::of(Ok(None));
        }
        let Some(snapshot) = self.kept.snapshots.remove(&slot) else { return Reply::of(Ok(None)) };
        match act {
            SnapshotAct::CloneTo(to) => {
                self.kept.snapshots.insert(*to, snapshot.clone());
                Reply::of(Ok(None))
            }
            SnapshotAct::Take | SnapshotAct::Drop => Reply::of(Ok(None)),
            SnapshotAct::Buckets => {
                let names = snapshot.buckets().map(Answer::Names).map(Some);
                self.kept.snapshots.insert(slot, snapshot);
                Reply::of(names)
            }
            SnapshotAct::View(view) => {
                // Its steps may replace the snapshot, and do not end what it holds.
                let held = snapshot.clone();
                self.kept.snapshots.insert(slot, snapshot);
                let mut steps = Vec::new();
                let call = || held.view(&view.bucket, |txn| self.view(txn, view, &mut steps));
                let end = caught(call);
                Reply { steps, end }
            }
        }
    }

    fn part(&mut self, multi: &mut MultiTxn<'_>, part: &Part) -> Answer {
        match part {
            Part::Nest(op) => Answer::Reply(Box::new(self.run(op))),
            Part::Durability(durability) => {
                multi.set_durability(*durability);
                Answer::Done
            }
            Part::DelBucket(name) => match multi.del_bucket(name) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Reply(Box::new(Reply::of(Err(error)))),
            },
            Part::Exec(exec) => {
                let mut steps = Vec::new();
                let result = multi.exec(&exec.bucket, |txn| self.exec(txn, exec, &mut steps));
                let end = result.map_or_else(Ending::Failed, |()| Ending::Done);
                Answer::Reply(Box::new(Reply { steps, end }))
            }
        }
    }

    fn peek(&mut self, txn: &dyn Reads, peek: &Peek) -> Result<Answer> {
        match peek {
            Peek::Nest(op) => Ok(Answer::Reply(Box::new(self.run(op)))),
            Peek::Read(Read::Open { slot, from }) => {
                let from = from.as_ref().map(Data::bytes);
                self.kept.cursors.insert(*slot, txn.cursor(from)?);
                self.kept.awaited.add(txn, from)?;
                Ok(Answer::Done)
            }
            Peek::Read(Read::Cursor(step)) => self.move_cursor(step),
            Peek::Read(Read::Get(key)) => Ok(Answer::Value(txn.get(key.bytes())?.into())),
            Peek::Read(Read::Contains(key)) => Ok(Answer::Flag(txn.contains(key.bytes())?)),
            Peek::Read(Read::GetMany(keys)) => {
                let keys: Vec<&[u8]> = keys.iter().map(Data::bytes).collect();
                let values = txn.get_many(&keys)?;
                Ok(Answer::Values(values.into_iter().map(|value| value.map(Data::from)).collect()))
            }
            Peek::Read(Read::Range(start, end, ends)) => {
                let (start, end) = (bytes_of(start), bytes_of(end));
                read_ends(txn.range(start, end), *ends)
            }
            Peek::Read(Read::Prefix(prefix, ends)) => read_ends(txn.prefix(prefix.bytes()), *ends),
            Peek::Read(Read::Len) => txn.len().map(Answer::Count),
            Peek::Read(Read::First) => Ok(entry(txn.first()?)),
            Peek::Read(Read::Last) => Ok(entry(txn.last()?)),
        }
    }

    fn move_cursor(&mut self, step: &CursorMove) -> Result<Answer> {
        let mut entries = Vec::new();
        if let Some(iter) = self.kept.cursors.get_mut(&step.slot) {
            if let Some(key) = &step.seek {
                iter.seek(key.bytes())?;
            }
            let (mut key, mut value) = (Vec::new(), Vec::new());
            for _ in 0..step.most {
                let is_there = match step.way {
                    Way::Up => iter.next_ref(&mut key, &mut value),
                    Way::Down => iter.prev_ref(&mut key, &mut value),
                };
                if !is_there {
                    break;
                }
                entries.push(((&key).into(), (&value).into()));
            }
            if let Some(error) = iter.error() {
                return Err(error);
            }
        }
        Ok(Answer::Entries(entries))
    }
}

fn entry(entry: Option<(Vec<u8>, Vec<u8>)>) -> Answer {
    Answer::Entry(entry.map(|(key, value)| (key.into(), value.into())))
}

fn bytes_of(bound: &Bound<Data>) -> Bound<&[u8]> {
    bound.as_ref().map(Data::bytes)
}

fn read_ends(
    mut range: impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>)>>,
    ends: Ends,
) -> Result<Answer> {
    let next = |is_front| {
        let entry = if is_front { range.next() } else { range.next_back() };
        entry.map(|entry| entry.map(|(key, value)| (key.into(), value.into()))).transpose()
    };
    ends.read(next).map(Answer::Entries)
}

fn change(txn: &mut Txn<'_>, write: &Write) -> Result<Answer> {
    match write {
        // The two ways to put answer alike and leave the same behind, by different ways.
        Write::Put(key, value) if value.bytes().len() % 2 == 1 => {
            let (len, mut reader) = (value.bytes().len() as u64, value.bytes());
            txn.put_from(key.bytes(), len, &mut reader).map(|()| Answer::Done)
        }
        Write::PutFrom { key, value, source } => {
            let (len, mut reader) = (value.bytes().len() as u64, source.reader(value.bytes()));
            txn.put_from(key.bytes(), len, &mut reader).map(|()| Answer::Done)
        }
        Write::Put(key, value) => txn.put(key.bytes(), value.bytes()).map(|()| Answer::Done),
        Write::Insert(key, value) => txn.insert(key.bytes(), value.bytes()).map(|()| Answer::Done),
        Write::Update(key, value) => txn.update(key.bytes(), value.bytes()).map(Answer::Flag),
        Write::Swap { key, expected, new } => {
            let (expected, new) =
                (expected.as_ref().map(Data::bytes), new.as_ref().map(Data::bytes));
            txn.compare_and_swap(key.bytes(), expected, new).map(Answer::Flag)
        }
        Write::BulkLoad(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.bytes(), value.bytes()));
            txn.bulk_load(entries).map(Answer::Count)
        }
        Write::Del(key) => txn.del(key.bytes()).map(|()| Answer::Done),
        Write::DeleteRange(start, end) => {
            txn.delete_range((bytes_of(start), bytes_of(end))).map(Answer::Count)
        }
    }
}

/// Ends a closure as it was told.
fn finish(end: End) -> Result<()> {
    match end {
        End::Commit => Ok(()),
        End::Fail(error) => Err(error),
        // Unlike `panic!`, this prints nothing.
        End::Panic => resume_unwind(Box::new(Planned)),
    }
}

fn caught(call: impl FnOnce() -> Result<()>) -> Ending {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Ending::Done,
        Ok(Err(error)) => Ending::Failed(error),
        Err(payload) if payload.is::<Planned>() => Ending::Panicked,
        Err(payload) => resume_unwind(payload),
    }
}

/// What both kinds of transactions can do.
trait Reads {
    fn get(&self, key: &[u8]) -> Result<Vec<u8>>;
    fn contains(&self, key: &[u8]) -> Result<bool>;
    /// The number of entries; an error where that may be any.
    fn len(&self) -> Result<u64>;
    fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>>;
    fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>>;
    fn cursor(&self, from: Option<&[u8]>) -> Result<Iter>;
    fn reader(&self, key: &[u8]) -> Result<ValueReader>;
    fn range(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Range;
    fn prefix(&self, prefix: &[u8]) -> Range;
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;
}

macro_rules! reads {
    ($txn:ty, $len:item, $get_many:item) => {
        impl Reads for $txn {
            fn get(&self, key: &[u8]) -> Result<Vec<u8>> {
                <$txn>::get(self, key)
            }

            fn contains(&self, key: &[u8]) -> Result<bool> {
                <$txn>::contains(self, key)
            }

            fn first(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
                <$txn>::first(self)
            }

            fn last(&self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
                <$txn>::last(self)
            }

            fn cursor(&self, from: Option<&[u8]>) -> Result<Iter> {
                match from {
                    Some(key) => <$txn>::iter_from(self, key),
                    None => Ok(<$txn>::iter(self)),
                }
            }

            fn reader(&self, key: &[u8]) -> Result<ValueReader> {
                <$txn>::get_reader(self, key)
            }

            fn range(&self, start: Bound<&[u8]>, end: Bound<&[u8]>) -> Range {
                <$txn>::range::<[u8]>(self, (start, end))
            }

            fn prefix(&self, prefix: &[u8]) -> Range {
                <$txn>::prefix(self, prefix)
            }

            $len

            $get_many
        }
    };
}

reads!(
    Txn<'_>,
    fn len(&self) -> Result<u64> {
        let len = Txn::len(self);
        self.try_len().map(|_| len)
    },
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let get = |key: &&[u8]| match Txn::get(self, key) {
            Err(Error::NotFound) => Ok(None),
            found => found.map(Some),
        };
        keys.iter().map(get).collect()
    }
);
reads!(
    ReadOnlyTxn<'_>,
    fn len(&self) -> Result<u64> {
        Ok(ReadOnlyTxn::len(self))
    },
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let values = ReadOnlyTxn::get_many(self, keys)?;
        Ok(values.into_iter().map(|value| value.map(|value| value.to_vec())).collect())
    }
);
