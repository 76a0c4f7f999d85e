//! What is done to a store, and what it answers (part of the oracle, layer L8).
//!
//! Owns: [`Op`] and its parts, [`Reply`] and its parts. Must not know: who carries an operation
//! out. Keeps: every call of the public interface that changes entries has an operation, and those
//! that read them but for keys alone and borrowed values; of the calls that ask for buckets or make
//! them in an owned transaction there is none.

use super::source::Source;
use crate::Durability;
use crate::error::{Error, Result};
use std::borrow::Borrow;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// A key or a value; a clone shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Data(Arc<[u8]>);

impl Data {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: AsRef<[u8]>> From<T> for Data {
    fn from(bytes: T) -> Data {
        Data(bytes.as_ref().into())
    }
}

impl Borrow<[u8]> for Data {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Data {
    /// Long data is cut off in the middle, so that a list of operations can be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            short if short.len() <= 20 => write!(f, "\"{}\"", short.escape_ascii()),
            long => {
                let (head, tail) = (&long[..6], &long[long.len() - 6..]);
                let (head, tail) = (head.escape_ascii(), tail.escape_ascii());
                write!(f, "\"{head}..({})..{tail}\"", long.len())
            }
        }
    }
}

/// One operation on a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`BTree::exec`](crate::BTree::exec).
    Exec(Exec),
    /// [`BTree::exec_multi`](crate::BTree::exec_multi).
    Multi {
        /// What the closure does, one after another; it goes on after a part that fails.
        parts: Vec<Part>,
        /// How the closure ends.
        end: End,
    },
    /// A transaction as a value, or a closure that is given one. It may conflict with calls on the
    /// store inside of it, and with deferred commits that are not durable. Steps that have nothing
    /// to do with it do nothing: cursors, durability.
    Owned {
        /// Which call begins it.
        by: By,
        /// The bucket, what is done to it, and how it ends.
        exec: Exec,
    },
    /// [`BTree::view`](crate::BTree::view).
    View(View),
    /// Of the snapshot in a slot. Without one it does nothing.
    Snapshot {
        /// Where the snapshot is kept.
        slot: u8,
        /// What is done.
        act: SnapshotAct,
    },
    /// [`BTree::del_bucket`](crate::BTree::del_bucket).
    DelBucket(String),
    /// [`BTree::buckets`](crate::BTree::buckets).
    Buckets,
    /// [`BTree::commit`](crate::BTree::commit).
    Commit,
    /// [`BTree::sync`](crate::BTree::sync).
    Sync,
    /// [`BTree::compact`](crate::BTree::compact), with its target in bytes.
    Compact(u64),
    /// Moves a cursor that outlived its transaction.
    Cursor(CursorMove),
    /// Drops all cursors and snapshots, closes the store and opens it again.
    Reopen,
}

/// How an owned transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// [`BTree::begin`](crate::BTree::begin); it is dropped where it is not to commit.
    Begin,
    /// [`BTree::transact`](crate::BTree::transact), as often as it runs the closure, which makes no
    /// calls on the store. Answers of steps are those of each time, one behind the other.
    Transact,
}

/// A closure that reads a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The bucket.
    pub bucket: String,
    /// What the closure does.
    pub steps: Vec<Peek>,
    /// How the closure ends.
    pub end: End,
}

/// What is done with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotAct {
    /// [`BTree::snapshot`](crate::BTree::snapshot), in the place of the one in the slot.
    Take,
    /// A clone of it goes to this slot, in the place of the one there; and it is dropped.
    CloneTo(u8),
    /// [`Snapshot::view`](crate::Snapshot::view).
    View(View),
    /// [`Snapshot::buckets`](crate::Snapshot::buckets).
    Buckets,
    /// It is dropped.
    Drop,
}

/// A closure that writes to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The bucket.
    pub bucket: String,
    /// What the closure does; it goes on after a step that fails.
    pub steps: Vec<Step>,
    /// How the closure ends.
    pub end: End,
}

/// A part of a transaction over several buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`MultiTxn::exec`](crate::MultiTxn::exec).
    Exec(Exec),
    /// [`MultiTxn::del_bucket`](crate::MultiTxn::del_bucket).
    DelBucket(String),
    /// [`MultiTxn::set_durability`](crate::MultiTxn::set_durability).
    Durability(Durability),
    /// A call on the store itself, inside the closure.
    Nest(Op),
}

/// How a closure ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It returns `Ok`.
    Commit,
    /// It returns this error.
    Fail(Error),
    /// It panics; who runs the operation catches it outside of the store.
    Panic,
}

/// A step of a closure that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// What a closure that reads can do as well.
    Peek(Peek),
    /// A change.
    Write(Write),
    /// [`Txn::set_durability`](crate::Txn::set_durability).
    Durability(Durability),
}

/// A step of a closure that reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// A read of the transaction's bucket.
    Read(Read),
    /// A call on the store itself, inside the closure.
    Nest(Op),
}

/// A change of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// [`Txn::put`](crate::Txn::put).
    Put(Data, Data),
    /// [`Txn::put_from`](crate::Txn::put_from).
    PutFrom {
        /// The key.
        key: Data,
        /// The value, whose length is told.
        value: Data,
        /// How a reader gives it.
        source: Source,
    },
    /// [`Txn::insert`](crate::Txn::insert).
    Insert(Data, Data),
    /// [`Txn::update`](crate::Txn::update).
    Update(Data, Data),
    /// [`Txn::compare_and_swap`](crate::Txn::compare_and_swap).
    Swap {
        /// The key.
        key: Data,
        /// What it must hold; nothing, if it must be absent.
        expected: Option<Data>,
        /// What it holds then; nothing, if it is removed.
        new: Option<Data>,
    },
    /// [`Txn::bulk_load`](crate::Txn::bulk_load).
    BulkLoad(Vec<(Data, Data)>),
    /// [`Txn::del`](crate::Txn::del).
    Del(Data),
    /// [`Txn::delete_range`](crate::Txn::delete_range).
    DeleteRange(Bound<Data>, Bound<Data>),
}

/// A read of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// `get`.
    Get(Data),
    /// `contains`.
    Contains(Data),
    /// `get_many`; in a transaction that writes, which has none, a `get` of each.
    GetMany(Vec<Data>),
    /// `range`, read from both of its ends.
    Range(Bound<Data>, Bound<Data>, Ends),
    /// `prefix`, likewise.
    Prefix(Data, Ends),
    /// `len`.
    Len,
    /// `first`.
    First,
    /// `last`.
    Last,
    /// Makes a cursor, in the place of the one in this slot. It stays when the transaction has
    /// ended.
    Open {
        /// Where the cursor is kept.
        slot: u8,
        /// The key of `iter_from`; `iter` without one.
        from: Option<Data>,
    },
    /// Moves a cursor.
    Cursor(CursorMove),
}

/// How many entries of a range are read at most: so many from its front, then from its back, and
/// again, until it is empty or both have had their turn twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// From the front.
    pub front: u32,
    /// From the back.
    pub back: u32,
}

impl Ends {
    /// Reads what comes: `true` asks for the next entry from the front.
    pub(super) fn read<E>(self, mut next: impl FnMut(bool) -> Result<Option<E>>) -> Result<Vec<E>> {
        let mut entries = Vec::new();
        for (is_front, most) in [(true, self.front), (false, self.back)].repeat(2) {
            for _ in 0..most {
                let Some(entry) = next(is_front)? else { break };
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

/// A move of the cursor in a slot. Without a cursor it does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMove {
    /// Where the cursor is kept.
    pub slot: u8,
    /// `seek` to this key first.
    pub seek: Option<Data>,
    /// Which way it steps.
    pub way: Way,
    /// How many entries it steps over at most.
    pub most: u32,
}

/// Which way a cursor steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To higher keys.
    Up,
    /// To lower keys.
    Down,
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What each step, or each part, answers. Empty when the closure was not called. A part that
    /// panics ends the list before itself.
    pub steps: Vec<Result<Answer>>,
    /// What the call itself does.
    pub end: Ending,
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returns `Ok`.
    Done,
    /// It returns an error.
    Failed(Error),
    /// It lets the closure's panic through.
    Panicked,
}

/// What a step answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing more than that it was done.
    Done,
    /// A value.
    Value(Data),
    /// A value for each of several keys, if there is one.
    Values(Vec<Option<Data>>),
    /// Yes or no.
    Flag(bool),
    /// A number of entries.
    Count(u64),
    /// An entry, if there is one.
    Entry(Option<(Data, Data)>),
    /// The entries that a cursor stepped over, or that a range gave.
    Entries(Vec<(Data, Data)>),
    /// Names of buckets.
    Names(Vec<String>),
    /// What a call inside the closure answered.
    Reply(Box<Reply>),
}

impl Reply {
    /// The reply of a call that runs no closure.
    pub(super) fn of(result: Result<Option<Answer>>) -> Reply {
        match result {
            Ok(answer) => Reply { steps: answer.into_iter().map(Ok).collect(), end: Ending::Done },
            Err(error) => Reply { steps: Vec::new(), end: Ending::Failed(error) },
        }
    }

    /// Whether what differs first from what is wanted says that the storage failed, or failed
    /// before, and nothing behind it is a wrong answer. Readers that are to fail do so in both.
    pub fn blames_storage(&self, wanted: &Reply) -> bool {
        let is_trouble =
            |error: &Error| matches!(error, Error::IoError | Error::NoSpace | Error::Poisoned);
        let ends_so = |reply: &Reply| matches!(&reply.end, Ending::Failed(e) if is_trouble(e));
        let mut steps = self.steps.iter().zip(&wanted.steps);
        match steps.find(|(found, wanted)| found != wanted) {
            Some((Ok(Answer::Reply(found)), Ok(Answer::Reply(wanted)))) => {
                found.blames_storage(wanted)
            }
            // A part that drops a bucket.
            Some((Ok(Answer::Reply(found)), _)) => ends_so(found),
            Some((Err(found), _)) => {
                // Of a part behind, or a cursor that could not be opened anew, the model knows
                // nothing.
                let may_come = |found: &Result<Answer>| match found {
                    Ok(answer) => matches!(answer, Answer::Reply(_) | Answer::Entries(_)),
                    Err(error) => is_trouble(error),
                };
                is_trouble(found) && steps.all(|(found, wanted)| found == wanted || may_come(found))
            }
            Some((Ok(_), _)) => false,
            None => self.end != wanted.end && ends_so(self),
        }
    }
}

impl Step {
    /// The key that it reads or changes, if it is one.
    pub(super) fn key(&self) -> Option<&Data> {
        match self {
            Step::Peek(Peek::Read(Read::Get(key) | Read::Contains(key)))
            | Step::Write(
                Write::Put(key, _)
                | Write::PutFrom { key, .. }
                | Write::Insert(key, _)
                | Write::Update(key, _)
                | Write::Swap { key, .. }
                | Write::Del(key),
            ) => Some(key),
            Step::Peek(_) | Step::Write(_) | Step::Durability(_) => None,
        }
    }
}

impl Op {
    /// How many calls of the store, of transactions and of cursors the operation makes.
    pub fn calls(&self) -> u64 {
        let peeks = |peek: &Peek| match peek {
            Peek::Read(_) => 1,
            Peek::Nest(op) => op.calls(),
        };
        let inside = |exec: &Exec| -> u64 {
            exec.steps
                .iter()
                .map(|step| match step {
                    Step::Peek(peek) => peeks(peek),
                    Step::Write(_) | Step::Durability(_) => 1,
                })
                .sum()
        };
        match self {
            Op::Exec(exec) | Op::Owned { exec, .. } => 1 + inside(exec),
            Op::View(view) | Op::Snapshot { act: SnapshotAct::View(view), .. } => {
                1 + view.steps.iter().map(peeks).sum::<u64>()
            }
            Op::Multi { parts, .. } => {
                let calls = parts.iter().map(|part| match part {
                    Part::Exec(exec) => 1 + inside(exec),
                    Part::DelBucket(_) | Part::Durability(_) => 1,
                    Part::Nest(op) => op.calls(),
                });
                1 + calls.sum::<u64>()
            }
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_in_front_of_trouble_is_not_the_storages() {
        let value = |text: &str| Ok(Answer::Value(Data::from(text)));
        let wanted = Reply { steps: vec![value("right"), Ok(Answer::Done)], end: Ending::Done };
        let failed = Ending::Failed(Error::IoError);
        for second in [Ok(Answer::Done), Err(Error::IoError)] {
            let found = Reply { steps: vec![value("wrong"), second], end: failed.clone() };
            assert!(!found.blames_storage(&wanted), "{found:?}");
        }
        let steps = vec![value("right"), Err(Error::IoError)];
        let found = Reply { steps, end: failed.clone() };
        assert!(found.blames_storage(&wanted));
        let found = Reply { steps: wanted.steps.clone(), end: failed };
        assert!(found.blames_storage(&wanted));
    }

    /// Numbers of entries that were removed, loaded or asked for are answers like all others.
    #[test]
    fn a_wrong_count_is_not_the_storages_whatever_comes_behind() {
        let count = |count| vec![Ok(Answer::Count(count)), Ok(Answer::Done)];
        for end in [Error::Invalid, Error::IoError, Error::NoSpace].map(Ending::Failed) {
            for wanted_end in [Ending::Done, end.clone()] {
                let wanted = Reply { steps: count(2), end: wanted_end };
                for told in [1, 3] {
                    let mut found = Reply { steps: count(told), end: end.clone() };
                    assert!(!found.blames_storage(&wanted), "{found:?}");
                    found.steps[1] = Err(Error::IoError);
                    assert!(!found.blames_storage(&wanted), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_behind_trouble_is_a_wrong_answer() {
        let steps = vec![Ok(Answer::Done), Ok(Answer::Count(2)), Ok(Answer::Flag(true))];
        let wanted = Reply { steps, end: Ending::Done };
        let behind = |second, third| {
            let steps = vec![Err(Error::IoError), second, third];
            Reply { steps, end: Ending::Failed(Error::IoError) }.blames_storage(&wanted)
        };
        assert!(behind(Err(Error::IoError), Ok(Answer::Flag(true))));
        assert!(behind(Ok(Answer::Count(2)), Err(Error::Poisoned)));
        assert!(!behind(Ok(Answer::Count(3)), Err(Error::IoError)));
        assert!(!behind(Err(Error::IoError), Ok(Answer::Flag(false))));
        assert!(!behind(Err(Error::NotFound), Err(Error::IoError)));
    }
}
