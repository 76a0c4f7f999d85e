//! The log and the vote.
//!
//! Owns: [`LogStore`], [`LogReader`], and the keys under which they keep things. Must not know:
//! the state machine, but for how far it is.
//!
//! One bucket holds the entries, each under its index, big-endian, so that the tree's order is the
//! log's. The other one holds the vote, the last purged log id, the last committed one, and whose
//! the log is: a job of a log that was dropped and opened again would else put an older vote back,
//! or its entries in the place of acknowledged ones.

use crate::codec::{decode, encode};
use crate::error::{Error, Result};
use crate::group::{Group, Lane, put, record};
use crate::owner::Owner;
use crate::progress::Progress;
use btree_store::MultiTxn;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogId, RaftLogReader,
    RaftTypeConfig, StorageError, Vote,
};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

const LOG: &str = "log";
const META: &str = "log-meta";
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";

/// What [`RaftLogReader::limited_get_log_entries`] returns at once: entries are added until they
/// have so many bytes.
const READ_BYTES: usize = 4 << 20;

type StoreResult<T, C> = std::result::Result<T, StorageError<<C as RaftTypeConfig>::NodeId>>;

/// The log, the vote and the last committed log id of a Raft group.
///
/// Entries are any that serde can read and write, and whose data nests at most 126 deep: structs,
/// maps, sequences, tuples, and variants with data, of which one with named or several fields
/// counts twice. Refuse what is deeper before Raft gets it: there it is an error of the log, which
/// ends the leader; and what is thousands deep overflows the stack on the way.
///
/// An append is durable, with one flush of the disk, when its callback is called and when it
/// returns; so are votes, truncations and purges. The committed log id is not worth a flush of its
/// own: it is written with what is written next. After a crash it is an older one, or none. A state
/// machine of this crate does not need it.
///
/// A purge waits until the state machine is so far; it fails when that has ended before.
///
/// Use it on a tokio runtime: what blocks is done on its threads for that.
pub struct LogStore<C: RaftTypeConfig> {
    lane: Lane,
    owner: Owner,
    /// What the log must stay in reach of.
    progress: Progress<C>,
    /// What was committed last, if it is not written yet.
    unsaved: Option<Committed<C>>,
}

/// The last committed log id, if there is one.
struct Committed<C: RaftTypeConfig>(Option<LogId<C::NodeId>>);

/// Reads a group's log while it is written.
pub struct LogReader<C> {
    lane: Lane,
    config: PhantomData<C>,
}

impl<C: RaftTypeConfig> Debug for LogStore<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("group", self.lane.group()).finish_non_exhaustive()
    }
}

impl<C> Debug for LogReader<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("group", self.lane.group()).finish_non_exhaustive()
    }
}

impl<C> Clone for LogReader<C> {
    fn clone(&self) -> LogReader<C> {
        LogReader { lane: self.lane.clone(), config: PhantomData }
    }
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// The log of a group, which is made when it is missing, with the progress of the state machine
    /// that openraft gets beside it. One at a time: one that was opened before fails from now on,
    /// with [`Error::Replaced`], and changes nothing more, also where it was asked before. So a
    /// node may be started again although the old one was dropped at its work. Blocks, like all
    /// that opens files.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Damaged`] when the group's buckets are in another format.
    pub fn open(group: &Group, progress: Progress<C>) -> Result<LogStore<C>> {
        group.prepare(META, &[LOG])?;
        let (owner, ()) = Owner::next(group, META, |_| Ok(()))?;
        if let Some(applied) = progress.now() {
            // A log that ends below the state was replaced by a snapshot, and not purged before the
            // power failed. openraft purges it, unless it is of a later term: it compares terms
            // first, and would have the next entries put behind a hole.
            let last = log_state::<C>(group)?.last_log_id;
            if last.is_some_and(|last| last.index < applied.index && last > applied) {
                Change { owner: &owner, committed: None }.purge::<C>(&applied)?;
            }
        }
        Ok(LogStore { lane: Lane::new(group.clone()), owner, progress, unsaved: None })
    }

    /// Changes the log, in order.
    async fn change(
        &mut self,
        change: impl FnOnce(&Change<'_>) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let unsaved = self.unsaved.as_ref();
        let committed = unsaved.map(|committed| encode(COMMITTED, &committed.0)).transpose()?;
        let owner = self.owner.clone();
        self.lane.write(move |_| change(&Change { owner: &owner, committed })).await?;
        self.unsaved = None;
        Ok(())
    }

    async fn meta<T: DeserializeOwned + Send + 'static>(
        &self,
        what: &'static str,
    ) -> Result<Option<T>> {
        self.lane.read(move |group| meta(&group.snapshot(), group, what)).await
    }
}

/// A change of the log, made on a thread that may block.
struct Change<'o> {
    owner: &'o Owner,
    /// The record of the committed log id, if it is not written yet.
    committed: Option<Vec<u8>>,
}

impl Change<'_> {
    /// Runs the one transaction of the change, which takes the committed log id along.
    fn commit(
        &self,
        change: impl FnOnce(&mut MultiTxn<'_>) -> btree_store::Result<()>,
    ) -> Result<()> {
        self.owner.exec_multi(|multi| {
            change(multi)?;
            match &self.committed {
                Some(record) => put(multi, &self.group().bucket(META), COMMITTED, record),
                None => Ok(()),
            }
        })
    }

    fn group(&self) -> &Group {
        self.owner.group()
    }

    fn save(&self, what: &str, record: &[u8]) -> Result<()> {
        self.commit(|multi| put(multi, &self.group().bucket(META), what, record))
    }

    fn append<C: RaftTypeConfig>(&self, entries: &[C::Entry]) -> Result<()> {
        let Some(first) = entries.first().map(|entry| entry.get_log_id().index) else {
            return self.commit(|_| Ok(()));
        };
        let entries = encoded::<C>(entries)?;
        self.commit(|multi| {
            multi.exec(self.group().bucket(LOG), |txn| {
                // Whatever stands there was left over when a snapshot replaced the log.
                txn.delete_range::<[u8]>(first.to_be_bytes().as_slice()..)?;
                entries.iter().try_for_each(|(key, entry)| txn.put(key, entry))
            })
        })
    }

    fn truncate(&self, since: u64) -> Result<()> {
        self.commit(|multi| {
            multi.exec(self.group().bucket(LOG), |txn| {
                txn.delete_range::<[u8]>(since.to_be_bytes().as_slice()..).map(drop)
            })
        })
    }

    fn purge<C: RaftTypeConfig>(&self, upto: &LogId<C::NodeId>) -> Result<()> {
        let state = log_state::<C>(self.group())?;
        if state.last_purged_log_id.as_ref() >= Some(upto) {
            return self.commit(|_| Ok(()));
        }
        // Log ids grow along a log. One that goes on below what it is purged up to is left over
        // from before a snapshot replaced it.
        let is_replaced = state.last_log_id.is_some_and(|last| last < *upto);
        let record = encode(PURGED, upto)?;
        self.commit(|multi| {
            multi.exec(self.group().bucket(LOG), |txn| {
                let upto = upto.index.to_be_bytes();
                let to = if is_replaced { Bound::Unbounded } else { Bound::Included(&upto[..]) };
                txn.delete_range::<[u8]>((Bound::Unbounded, to))
            })?;
            put(multi, &self.group().bucket(META), PURGED, &record)
        })
    }
}

/// Entries as keys and values; they must follow each other.
fn encoded<C: RaftTypeConfig>(entries: &[C::Entry]) -> Result<Vec<([u8; 8], Vec<u8>)>> {
    let mut before: Option<u64> = None;
    let encode_next = |entry: &C::Entry| {
        let index = entry.get_log_id().index;
        if let Some(before) = before.filter(|before| before.checked_add(1) != Some(index)) {
            return Err(Error::Order { before, found: index });
        }
        before = Some(index);
        Ok((index.to_be_bytes(), encode("log entry", entry)?))
    };
    entries.iter().map(encode_next).collect()
}

/// A record of the log's, in a state of the store.
fn meta<T: DeserializeOwned>(
    state: &btree_store::Snapshot,
    group: &Group,
    what: &'static str,
) -> Result<Option<T>> {
    let record = record(state, &group.bucket(META), what)?;
    record.map(|record| decode(what, &record)).transpose()
}

fn log_state<C: RaftTypeConfig>(group: &Group) -> Result<LogState<C>> {
    let state = group.snapshot();
    let last_purged_log_id = meta(&state, group, PURGED)?;
    let last = state.view(group.bucket(LOG), |txn| {
        Ok(txn.last()?.map(|(key, entry)| entry_of::<C>(&key, &entry)))
    });
    let last = last?.transpose()?;
    let last_log_id =
        last.map(|entry| entry.get_log_id().clone()).or_else(|| last_purged_log_id.clone());
    Ok(LogState { last_purged_log_id, last_log_id })
}

/// The entry under a key.
fn entry_of<C: RaftTypeConfig>(key: &[u8], bytes: &[u8]) -> Result<C::Entry> {
    let index = <[u8; 8]>::try_from(key).map(u64::from_be_bytes);
    let index = index.map_err(|_| Error::damaged("log", "a key is no index"))?;
    let entry: C::Entry = decode("log entry", bytes)?;
    let found = entry.get_log_id().index;
    if found == index {
        return Ok(entry);
    }
    Err(Error::damaged("log entry", format_args!("index {found} is stored under {index}")))
}

/// The entries in a range, until they have `bytes_max` bytes.
fn entries<C: RaftTypeConfig>(
    group: &Group,
    (from, to): (Bound<[u8; 8]>, Bound<[u8; 8]>),
    bytes_max: usize,
) -> Result<Vec<C::Entry>> {
    group.snapshot().view(group.bucket(LOG), |txn| {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let range = (from.as_ref().map(<[u8; 8]>::as_slice), to.as_ref().map(<[u8; 8]>::as_slice));
        for found in txn.range::<[u8]>(range) {
            let (key, entry) = found?;
            match entry_of::<C>(&key, &entry) {
                Ok(entry) => entries.push(entry),
                Err(error) => return Ok(Err(error)),
            }
            bytes += entry.len();
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(Ok(entries))
    })?
}

impl<C: RaftTypeConfig> LogReader<C> {
    async fn read(
        &self,
        range: &(impl RangeBounds<u64> + Send),
        bytes_max: usize,
    ) -> StoreResult<Vec<C::Entry>, C> {
        let key = |bound: Bound<&u64>| bound.map(|index| index.to_be_bytes());
        let range = (key(range.start_bound()), key(range.end_bound()));
        let found = self.lane.read(move |group| entries::<C>(group, range, bytes_max)).await;
        found.map_err(|error| error.of(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogReader<C> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> StoreResult<Vec<C::Entry>, C> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.read(&range, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> StoreResult<Vec<C::Entry>, C> {
        self.read(&(start..end), READ_BYTES).await
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogStore<C> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> StoreResult<Vec<C::Entry>, C> {
        self.get_log_reader().await.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> StoreResult<Vec<C::Entry>, C> {
        self.get_log_reader().await.limited_get_log_entries(start, end).await
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> StoreResult<LogState<C>, C> {
        let found = self.lane.read(log_state::<C>).await;
        found.map_err(|error| error.of(ErrorSubject::Logs, ErrorVerb::Read))
    }

    async fn get_log_reader(&mut self) -> LogReader<C> {
        LogReader { lane: self.lane.clone(), config: PhantomData }
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> StoreResult<(), C> {
        let record = encode(VOTE, vote);
        let saved = match record {
            Ok(record) => self.change(move |change| change.save(VOTE, &record)).await,
            Err(error) => Err(error),
        };
        saved.map_err(|error| error.of(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> StoreResult<Option<Vote<C::NodeId>>, C> {
        let found = self.meta(VOTE).await;
        found.map_err(|error| error.of(ErrorSubject::Vote, ErrorVerb::Read))
    }

    async fn save_committed(&mut self, committed: Option<LogId<C::NodeId>>) -> StoreResult<(), C> {
        self.unsaved = Some(Committed(committed));
        Ok(())
    }

    async fn read_committed(&mut self) -> StoreResult<Option<LogId<C::NodeId>>, C> {
        if let Some(Committed(committed)) = &self.unsaved {
            return Ok(committed.clone());
        }
        let found = self.meta::<Option<LogId<C::NodeId>>>(COMMITTED).await;
        let found = found.map_err(|error| error.of(ErrorSubject::Store, ErrorVerb::Read))?;
        Ok(found.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> StoreResult<(), C>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<C::Entry> = entries.into_iter().collect();
        let appended = self.change(move |change| change.append::<C>(&entries)).await;
        callback.log_io_completed(match &appended {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::other(error.clone())),
        });
        appended.map_err(|error| error.of(ErrorSubject::Logs, ErrorVerb::Write))
    }

    async fn truncate(&mut self, since: LogId<C::NodeId>) -> StoreResult<(), C> {
        let truncated = self.change(move |change| change.truncate(since.index)).await;
        truncated.map_err(|error| error.of(ErrorSubject::Logs, ErrorVerb::Delete))
    }

    async fn purge(&mut self, upto: LogId<C::NodeId>) -> StoreResult<(), C> {
        let purged = match self.progress.reaches(&upto).await {
            Ok(()) => self.change(move |change| change.purge::<C>(&upto)).await,
            Err(error) => Err(error),
        };
        purged.map_err(|error| error.of(ErrorSubject::Logs, ErrorVerb::Delete))
    }
}
