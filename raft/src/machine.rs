//! The state machine.
//!
//! Owns: [`StateMachine`], [`Application`], and the order in which state, last applied log id and
//! membership change: together. Must not know: what the application makes of an entry, or how the
//! log is kept.
//!
//! The application's buckets have a generation in their names. A snapshot fills buckets of the next
//! generation, in transactions of a few MiB; the last one changes the record that says which
//! generation counts, and removes the others. A crash in between leaves the state before, and
//! buckets that nobody sees, which the next start removes.

use crate::codec::encode;
use crate::error::{Error, Result};
use crate::file::{SnapshotFile, Spool};
use crate::group::{Group, Lane, blocking, put};
use crate::owner::Owner;
use crate::progress::{Applying, Progress};
use crate::reader::{APPLIED, Applied, MACHINE, StateReader, StateView, generation_prefix};
use crate::stream::{self, Record, Records};
use btree_store::{MultiTxn, Txn};
use openraft::storage::RaftStateMachine;
use openraft::{
    Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftLogId,
    RaftSnapshotBuilder, RaftTypeConfig, Snapshot, SnapshotMeta, StorageError, StoredMembership,
};
use std::fmt::Debug;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempPath;

/// Entries of a snapshot go into the store in transactions of about so many bytes.
const LOAD_BYTES: usize = 4 << 20;

/// What an entry on its way takes beside its bytes: where two vectors lie, and what the allocator
/// rounds up.
const ENTRY_BYTES: usize = 96;

type StoreResult<T, C> = std::result::Result<T, StorageError<<C as RaftTypeConfig>::NodeId>>;
type Meta<C> = SnapshotMeta<<C as RaftTypeConfig>::NodeId, <C as RaftTypeConfig>::Node>;

/// What an application makes of the entries that its cluster has agreed upon.
///
/// All nodes apply the same entries in the same order and must come to the same state: so what is
/// done may depend on the entry and on the buckets, and on nothing else.
///
/// ```
/// use btree_store_raft::{Application, Buckets, SnapshotFile};
/// use openraft::{BasicNode, Entry, TokioRuntime};
///
/// openraft::declare_raft_types!(
///     pub Config: D = u64, R = u64, NodeId = u64, Node = BasicNode, Entry = Entry<Config>,
///         SnapshotData = SnapshotFile, AsyncRuntime = TokioRuntime
/// );
///
/// /// Adds up; answers with the sum.
/// struct Counter;
///
/// impl Application<Config> for Counter {
///     fn apply(&self, data: u64, buckets: &mut Buckets<'_, '_>) -> btree_store::Result<u64> {
///         buckets.exec("counter", |txn| {
///             let sum = match txn.get("sum") {
///                 Ok(sum) => u64::from_le_bytes(sum.try_into().unwrap_or_default()),
///                 Err(btree_store::Error::NotFound) => 0,
///                 Err(error) => return Err(error),
///             };
///             let sum = sum.wrapping_add(data);
///             txn.put("sum", sum.to_le_bytes())?;
///             Ok(sum)
///         })
///     }
///
///     fn answer_without_data(&self) -> u64 {
///         0
///     }
/// }
/// ```
pub trait Application<C: RaftTypeConfig>: Send + Sync + 'static {
    /// Applies what one entry holds. All that it changes becomes durable together with the record
    /// that it is applied, in one transaction with the entries that are applied with it.
    ///
    /// # Errors
    /// An error ends the node, as does a panic: nothing of the transaction happens, and the entry
    /// will be applied again after a restart. So it is for a store that fails. What is wrong with
    /// an entry belongs into the answer, which is the same on all nodes.
    fn apply(&self, data: C::D, buckets: &mut Buckets<'_, '_>) -> btree_store::Result<C::R>;

    /// The answer to an entry that holds nothing for the application: a new leader's first one,
    /// and changes of the membership.
    fn answer_without_data(&self) -> C::R;
}

/// The application's buckets, in the transaction in which entries are applied.
#[derive(Debug)]
pub struct Buckets<'m, 't> {
    multi: &'m mut MultiTxn<'t>,
    prefix: &'m str,
}

impl Buckets<'_, '_> {
    /// Runs a closure on a bucket, which is made when it is missing. When the closure fails, its
    /// own changes are undone.
    ///
    /// # Errors
    /// What the closure returns; those of the store for the name.
    pub fn exec<R>(
        &mut self,
        bucket: &str,
        closure: impl FnOnce(&mut Txn<'_>) -> btree_store::Result<R>,
    ) -> btree_store::Result<R> {
        self.multi.exec(format!("{}{bucket}", self.prefix), closure)
    }

    /// Removes a bucket and all that it holds.
    ///
    /// # Errors
    /// Those of the store: `NotFound`, with nothing changed; `Corruption` and `IoError`.
    pub fn del_bucket(&mut self, bucket: &str) -> btree_store::Result<()> {
        self.multi.del_bucket(format!("{}{bucket}", self.prefix))
    }
}

/// A state machine whose state is durable when entries are applied, together with the last applied
/// log id and the membership.
///
/// Snapshots are streams in files of a directory. They need not survive the process: after a
/// restart openraft has one made when it needs it. A snapshot is made of one state of the store
/// while others are applied; one that is installed replaces the state in one transaction.
///
/// Use it on a tokio runtime: what blocks is done on its threads for that.
pub struct StateMachine<C: RaftTypeConfig, A> {
    lane: Lane,
    owner: Owner,
    shared: Arc<Shared<C, A>>,
    /// Not shared with who makes snapshots: it ends with the state machine. The last field, so that
    /// whoever waits for the end finds what holds the store dropped.
    applying: Applying<C::NodeId>,
}

/// What a state machine shares with those who make snapshots of it.
struct Shared<C: RaftTypeConfig, A> {
    application: A,
    spool: Spool,
    /// The snapshot that was made or installed last.
    current: Mutex<Option<Current<C>>>,
}

struct Current<C: RaftTypeConfig> {
    meta: Meta<C>,
    path: Arc<TempPath>,
}

impl<C: RaftTypeConfig, A> Shared<C, A> {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<Current<C>>> {
        // What it protects is assigned as a whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: RaftTypeConfig, A> Debug for StateMachine<C, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateMachine").field("group", self.lane.group()).finish_non_exhaustive()
    }
}

impl<C: RaftTypeConfig, A: Application<C>> StateMachine<C, A> {
    /// The state machine of a group, which is made when it is missing. One at a time: one that was
    /// opened before fails from now on, with [`Error::Replaced`], and changes nothing more. So a
    /// node may be started again although openraft's shutdown does not wait for the old one's. If
    /// this fails, the one before goes on; only where snapshots that were left cannot be removed,
    /// it does not.
    ///
    /// The directory is for its snapshots alone, and is made when it is missing; files in it that
    /// end with `.snapshot` are removed. There must be room for three times the state: for the
    /// current snapshot, the next one, and one that arrives; and for each older one that is still
    /// being sent to a follower. Blocks, like all that opens files.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Damaged`] when the group's buckets are in another format;
    /// [`Error::Spool`].
    pub fn open(
        group: &Group,
        application: A,
        snapshots: impl Into<PathBuf>,
    ) -> Result<StateMachine<C, A>> {
        group.prepare(MACHINE, &[])?;
        // What fails fails before it has the group, so that the one before goes on.
        let spool = Spool::open(snapshots.into())?;
        let (owner, applied) = Owner::next(group, MACHINE, |multi| {
            let record = multi.exec(group.bucket(MACHINE), |txn| txn.find(APPLIED))?;
            let applied = Applied::<C>::read(record)?;
            // An installation that was interrupted has left them, or is by whom this one replaces.
            let others = other_generations(group, applied.generation, multi.buckets()?);
            others.iter().try_for_each(|name| multi.del_bucket(name))?;
            Ok(applied)
        })?;
        spool.clear()?;
        let shared = Shared { application, spool, current: Mutex::new(None) };
        let applying = Applying::new(applied.log_id);
        let (lane, shared) = (Lane::new(group.clone()), Arc::new(shared));
        Ok(StateMachine { lane, owner, shared, applying })
    }

    /// How far it is, for [`LogStore::open`](crate::LogStore::open).
    pub fn progress(&self) -> Progress<C> {
        self.applying.progress()
    }

    /// A handle to read the state with, while openraft owns the state machine.
    pub fn reader(&self) -> StateReader<C> {
        StateReader::new(self.lane.group())
    }
}

/// Removes the buckets that an installation has left that failed.
fn remove_other_generations(owner: &Owner, generation: u64) -> Result<()> {
    let group = owner.group();
    let others = other_generations(group, generation, group.snapshot().buckets()?);
    if !others.is_empty() {
        owner.exec_multi(|multi| others.iter().try_for_each(|name| multi.del_bucket(name)))?;
    }
    Ok(())
}

/// The application's buckets, of all, that are not of this generation.
fn other_generations(group: &Group, generation: u64, mut names: Vec<String>) -> Vec<String> {
    let (data, own) = (group.bucket("data/"), generation_prefix(group, generation));
    names.retain(|name| name.starts_with(&data) && !name.starts_with(&own));
    names
}

/// Applies entries, in one transaction.
fn apply<C, A>(owner: &Owner, application: &A, entries: Vec<Entry<C>>) -> Result<Vec<C::R>>
where
    C: RaftTypeConfig<Entry = Entry<C>>,
    A: Application<C>,
{
    let group = owner.group();
    let mut applied = Applied::<C>::of(&group.snapshot(), group)?;
    let mut before = applied.log_id.as_ref().map(|log_id| log_id.index);
    for entry in &entries {
        let found = entry.log_id.index;
        if let Some(before) = before.filter(|before| *before >= found) {
            return Err(Error::Order { before, found });
        }
        before = Some(found);
    }
    if let Some(last) = entries.last() {
        applied.log_id = Some(last.log_id.clone());
    }
    for entry in &entries {
        if let EntryPayload::Membership(membership) = &entry.payload {
            let log_id = Some(entry.log_id.clone());
            applied.membership = StoredMembership::new(log_id, membership.clone());
        }
    }
    let record = encode("record of what is applied", &applied)?;
    let prefix = generation_prefix(group, applied.generation);
    let answers = owner.exec_multi(|multi| {
        let mut buckets = Buckets { multi: &mut *multi, prefix: &prefix };
        let answer = |entry: Entry<C>| match entry.payload {
            EntryPayload::Normal(data) => application.apply(data, &mut buckets),
            EntryPayload::Blank | EntryPayload::Membership(_) => {
                Ok(application.answer_without_data())
            }
        };
        let answers =
            entries.into_iter().map(answer).collect::<btree_store::Result<Vec<C::R>>>()?;
        put(multi, &group.bucket(MACHINE), APPLIED, &record)?;
        Ok(answers)
    })?;
    Ok(answers)
}

/// Replaces the state by what a snapshot holds.
fn install<C: RaftTypeConfig>(owner: &Owner, meta: &Meta<C>, path: &TempPath) -> Result<()> {
    let group = owner.group();
    let before = Applied::<C>::of(&group.snapshot(), group)?.generation;
    // What an installation that failed has left would be mixed with this one.
    remove_other_generations(owner, before)?;
    let generation = before.wrapping_add(1);
    let file = File::open(path).map_err(Error::spool("open a snapshot"))?;
    load(owner, &generation_prefix(group, generation), Records::begin(BufReader::new(file))?)?;
    let applied: Applied<C> = Applied {
        log_id: meta.last_log_id.clone(),
        membership: meta.last_membership.clone(),
        generation,
    };
    let record = encode("record of what is applied", &applied)?;
    let old = other_generations(group, generation, group.snapshot().buckets()?);
    owner.exec_multi(|multi| {
        put(multi, &group.bucket(MACHINE), APPLIED, &record)?;
        old.iter().try_for_each(|name| multi.del_bucket(name))
    })?;
    Ok(())
}

/// Entries on their way from a snapshot to the store.
struct Load<'o> {
    owner: &'o Owner,
    bucket: String,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Load<'_> {
    fn flush(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        self.bytes = 0;
        self.owner.exec_multi(|multi| {
            multi.exec(&self.bucket, |txn| {
                entries.iter().try_for_each(|(key, value)| txn.put(key, value))
            })
        })?;
        Ok(())
    }
}

/// Fills buckets, whose names get the prefix, with what a snapshot holds.
fn load(owner: &Owner, prefix: &str, mut records: Records<BufReader<File>>) -> Result<()> {
    let mut load: Option<Load<'_>> = None;
    while let Some(record) = records.next()? {
        match (record, &mut load) {
            (Record::Bucket(name), load) => {
                if let Some(before) = load {
                    before.flush()?;
                }
                let bucket = format!("{prefix}{name}");
                *load = Some(Load { owner, bucket, entries: Vec::new(), bytes: 0 });
            }
            (Record::Entry { key, value }, Some(load)) => {
                load.bytes += key.len() + value.len() + ENTRY_BYTES;
                load.entries.push((key, value));
                if load.bytes >= LOAD_BYTES {
                    load.flush()?;
                }
            }
            (Record::Entry { .. }, None) => {
                return Err(Error::damaged("snapshot", "an entry is in no bucket"));
            }
        }
    }
    load.map_or(Ok(()), |mut last| last.flush())
}

/// Makes a snapshot of one state, while others are applied.
pub struct SnapshotBuilder<C: RaftTypeConfig, A> {
    shared: Arc<Shared<C, A>>,
    /// The state; or why there is none.
    view: Option<Result<StateView<C>>>,
    lane: Lane,
}

impl<C: RaftTypeConfig, A> Debug for SnapshotBuilder<C, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotBuilder").field("view", &self.view).finish_non_exhaustive()
    }
}

/// Writes a state into a file, which is the current snapshot from then on.
fn build<C: RaftTypeConfig, A>(
    shared: &Shared<C, A>,
    view: &StateView<C>,
) -> Result<(Meta<C>, Arc<TempPath>)> {
    let (file, path) = shared.spool.create()?;
    let sum = stream::write(view, BufWriter::new(file))?;
    let last = view.last_applied();
    let last_text = last.map_or_else(|| "none".to_owned(), ToString::to_string);
    let meta = SnapshotMeta {
        last_log_id: last.cloned(),
        last_membership: view.membership().clone(),
        // Equal for equal states, so that a transfer can go on with another node's snapshot.
        snapshot_id: format!("{last_text}-{sum:08x}"),
    };
    let mut current = shared.current();
    let is_newer =
        current.as_ref().is_none_or(|current| current.meta.last_log_id <= meta.last_log_id);
    if is_newer {
        *current = Some(Current { meta: meta.clone(), path: Arc::clone(&path) });
    }
    Ok((meta, path))
}

/// For openraft: a failure with the state machine or its snapshots.
fn failed<C: RaftTypeConfig>(
    subject: ErrorSubject<C::NodeId>,
    verb: ErrorVerb,
) -> impl FnOnce(Error) -> StorageError<C::NodeId> {
    move |error| error.of(subject, verb)
}

impl<C, A> RaftSnapshotBuilder<C> for SnapshotBuilder<C, A>
where
    C: RaftTypeConfig<SnapshotData = SnapshotFile>,
    A: Application<C>,
{
    async fn build_snapshot(&mut self) -> StoreResult<Snapshot<C>, C> {
        let (shared, lane) = (Arc::clone(&self.shared), self.lane.clone());
        let view = self.view.take();
        let built = blocking(move || {
            // A second snapshot is of the newest state.
            let view = match view {
                Some(view) => view?,
                None => StateReader::new(lane.group()).view()?,
            };
            let (meta, path) = build(&shared, &view)?;
            Ok(Snapshot { meta, snapshot: Box::new(SnapshotFile::open(&path)?) })
        });
        built.await.map_err(failed::<C>(ErrorSubject::Snapshot(None), ErrorVerb::Write))
    }
}

impl<C, A> RaftStateMachine<C> for StateMachine<C, A>
where
    C: RaftTypeConfig<SnapshotData = SnapshotFile, Entry = Entry<C>>,
    A: Application<C>,
{
    type SnapshotBuilder = SnapshotBuilder<C, A>;

    async fn applied_state(
        &mut self,
    ) -> StoreResult<(Option<LogId<C::NodeId>>, StoredMembership<C::NodeId, C::Node>), C> {
        let applied = self.lane.read(|group| Applied::<C>::of(&group.snapshot(), group)).await;
        let applied = applied.map_err(failed::<C>(ErrorSubject::StateMachine, ErrorVerb::Read))?;
        Ok((applied.log_id, applied.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> StoreResult<Vec<C::R>, C>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry<C>> = entries.into_iter().collect();
        let Some(last) = entries.last() else { return Ok(Vec::new()) };
        let last = last.get_log_id().clone();
        let (owner, shared) = (self.owner.clone(), Arc::clone(&self.shared));
        let (applying, is_at) = (self.applying.clone(), Some(last.clone()));
        let work = move |_: &Group| {
            let answers = apply::<C, A>(&owner, &shared.application, entries)?;
            applying.is_at(is_at);
            Ok(answers)
        };
        let applied = self.lane.write(work).await;
        let applied = applied.inspect_err(|error| self.applying.ends_by(error));
        applied.map_err(failed::<C>(ErrorSubject::Apply(last), ErrorVerb::Write))
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<C, A> {
        let view = self.lane.read(|group| StateReader::new(group).view()).await;
        let shared = Arc::clone(&self.shared);
        SnapshotBuilder { shared, view: Some(view), lane: self.lane.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> StoreResult<Box<SnapshotFile>, C> {
        let spool = self.shared.spool.clone();
        let made = blocking(move || spool.receive()).await;
        let made = made.map_err(failed::<C>(ErrorSubject::Snapshot(None), ErrorVerb::Write))?;
        Ok(Box::new(made))
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta<C>,
        snapshot: Box<SnapshotFile>,
    ) -> StoreResult<(), C> {
        let (signature, meta, shared) = (meta.signature(), meta.clone(), Arc::clone(&self.shared));
        let (owner, applying) = (self.owner.clone(), self.applying.clone());
        let installed = match snapshot.received().await {
            Err(error) => Err(error),
            Ok(path) => {
                let work = move |_: &Group| {
                    install::<C>(&owner, &meta, &path)?;
                    applying.is_at(meta.last_log_id.clone());
                    *shared.current() = Some(Current { meta, path });
                    Ok(())
                };
                self.lane.write(work).await
            }
        };
        let subject = ErrorSubject::Snapshot(Some(signature));
        let installed = installed.inspect_err(|error| self.applying.ends_by(error));
        installed.map_err(failed::<C>(subject, ErrorVerb::Write))
    }

    async fn get_current_snapshot(&mut self) -> StoreResult<Option<Snapshot<C>>, C> {
        let shared = Arc::clone(&self.shared);
        let opened = blocking(move || {
            let current = shared.current();
            let current = current.as_ref().map(|current| {
                let snapshot = Box::new(SnapshotFile::open(&current.path)?);
                Ok(Snapshot { meta: current.meta.clone(), snapshot })
            });
            current.transpose()
        });
        opened.await.map_err(failed::<C>(ErrorSubject::Snapshot(None), ErrorVerb::Read))
    }
}
