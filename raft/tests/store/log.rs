//! Does the log hold what a model holds, also after a process was killed?

use crate::common::{
    FILE, Log, LogEntry, Numbers, blank, group, in_memory, log_on, members, open_file, put, run,
};
use btree_store::sim::{OpKind, SimDisk};
use btree_store::vfs::MemVfs;
use btree_store::{Durability, Options};
use btree_store_raft::kv::KeyValueConfig;
use btree_store_raft::{LogStore, Progress};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log_id;
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, LogState, RaftLogReader, StorageError, TokioRuntime,
    Vote,
};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a log should hold.
#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<LogId<u64>>,
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
    /// What of it a process that is killed leaves.
    committed_kept: Option<LogId<u64>>,
}

impl Model {
    fn next_index(&self) -> u64 {
        let last = self.entries.keys().next_back().copied();
        last.or(self.purged.map(|purged| purged.index)).map_or(0, |last| last + 1)
    }

    fn state(&self) -> LogState<KeyValueConfig> {
        let last = self.entries.values().next_back().map(|entry| entry.log_id);
        LogState { last_purged_log_id: self.purged, last_log_id: last.or(self.purged) }
    }
}

/// Does one thing to a log and its model.
async fn step(numbers: &mut Numbers, term: u64, log: &mut Log, model: &mut Model) -> String {
    let next = model.next_index();
    let first = model.entries.keys().next().copied().unwrap_or(next);
    match numbers.below(6) {
        0 => {
            let vote = Vote::new(term, numbers.below(3));
            log.save_vote(&vote).await.expect("a vote is saved");
            model.vote = Some(vote);
            model.committed_kept = model.committed;
            format!("{vote}")
        }
        1 => {
            let committed = Some(log_id(term, 0, next));
            log.save_committed(committed).await.expect("a log id is noted");
            model.committed = committed;
            format!("committed {committed:?}")
        }
        2 if first < next => {
            let since = first + numbers.below(next - first + 1);
            log.truncate(log_id(term, 0, since)).await.expect("the log is cut");
            model.entries.split_off(&since);
            model.committed_kept = model.committed;
            format!("truncate {since}")
        }
        3 if first < next => {
            let upto = first + numbers.below(next - first);
            let purged = model.entries[&upto].log_id;
            log.purge(purged).await.expect("the log is purged");
            model.entries = model.entries.split_off(&(upto + 1));
            model.purged = Some(purged);
            model.committed_kept = model.committed;
            format!("purge {upto}")
        }
        _ => {
            let entry = |index| {
                let len = [0, 3, 600, 3_000][usize::try_from(index % 4).unwrap_or(0)];
                let mut entry = put(index, "key", vec![7; len]);
                entry.log_id = log_id(term, 0, index);
                entry
            };
            let entries: Vec<LogEntry> = (next..=next + numbers.below(4)).map(entry).collect();
            log.blocking_append(entries.clone()).await.expect("entries are appended");
            let count = entries.len();
            model.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
            model.committed_kept = model.committed;
            format!("append {count}")
        }
    }
}

async fn check(log: &mut Log, model: &Model, committed: Option<LogId<u64>>, told: &str) {
    assert_eq!(log.get_log_state().await.expect("it is read"), model.state(), "{told}");
    assert_eq!(log.read_vote().await.expect("it is read"), model.vote, "{told}");
    assert_eq!(log.read_committed().await.expect("it is read"), committed, "{told}");
    let found = log.try_get_log_entries(..).await.expect("entries are read");
    assert!(found.iter().eq(model.entries.values()), "{told}: {found:?}");
    let some = 1..=model.next_index() / 2;
    let found = log.get_log_reader().await.try_get_log_entries(some.clone()).await;
    let expected = model.entries.values().filter(|entry| some.contains(&entry.log_id.index));
    assert!(found.expect("entries are read").iter().eq(expected), "{told}: {some:?}");
}

#[test]
fn what_was_done_is_there_when_a_process_is_killed_after_each_step() {
    for seed in 0..12 {
        run(async {
            let (mut numbers, mut model) = (Numbers::new(seed), Model::default());
            let mut vfs = MemVfs::new();
            let mut log = log_on(&open_file(Arc::new(vfs.clone())).expect("it opens"));
            let mut told = format!("seed {seed}:");
            for term in 1..60 {
                told = format!("{told} {},", step(&mut numbers, term, &mut log, &mut model).await);
                check(&mut log, &model, model.committed, &told).await;
                if numbers.below(3) == 0 {
                    vfs = vfs.snapshot();
                    log = log_on(&open_file(Arc::new(vfs.clone())).expect("it opens again"));
                    model.committed = model.committed_kept;
                    told.push_str(" killed,");
                    check(&mut log, &model, model.committed, &told).await;
                }
            }
        });
    }
}

#[test]
fn an_append_and_a_vote_cost_one_sync_each_and_a_committed_log_id_none() {
    let disk = SimDisk::new();
    let syncs = || disk.count(OpKind::SyncData) + disk.count(OpKind::SyncAll);
    run(async {
        let mut log = log_on(&open_file(disk.vfs()).expect("it opens"));
        log.blocking_append([blank(1, 0)]).await.expect("an entry is appended");
        let before = syncs();
        log.blocking_append((1..=20).map(|index| put(index, "k", "v"))).await.expect("appended");
        assert_eq!(syncs() - before, 1);
        log.save_committed(Some(log_id(1, 0, 20))).await.expect("noted");
        log.try_get_log_entries(..).await.expect("read");
        assert_eq!(syncs() - before, 1);
        log.save_vote(&Vote::new(2, 1)).await.expect("saved");
        assert_eq!(syncs() - before, 2);
    });
    let mut again = log_on(&open_file(disk.vfs()).expect("it opens again"));
    assert_eq!(run(again.read_committed()).expect("read"), Some(log_id(1, 0, 20)));
}

#[test]
fn a_vote_and_an_append_are_durable_whatever_the_handle_defers() {
    let disk = SimDisk::new();
    let options = Options::new().page_size(512).durability(Durability::Deferred).vfs(disk.vfs());
    let db = options.open(FILE).expect("it opens");
    let syncs = || disk.count(OpKind::SyncData) + disk.count(OpKind::SyncAll);
    run(async {
        let mut log = log_on(&db);
        let before = syncs();
        log.save_vote(&Vote::new(1, 1)).await.expect("saved");
        assert_eq!(syncs() - before, 1);
        assert_eq!(log.read_vote().await.expect("read"), Some(Vote::new(1, 1)));
        log.blocking_append([blank(1, 0), blank(1, 1)]).await.expect("appended");
        assert_eq!(syncs() - before, 2);
        assert_eq!(log.try_get_log_entries(..).await.expect("read"), [blank(1, 0), blank(1, 1)]);
        log.truncate(log_id(1, 0, 1)).await.expect("cut");
        log.purge(log_id(1, 0, 0)).await.expect("purged");
        assert_eq!(syncs() - before, 4);
    });
}

#[test]
fn entries_of_megabytes_come_back_and_are_read_a_few_at_a_time() {
    run(async {
        let mut log = log_on(&in_memory());
        let entries: Vec<_> = (0..6)
            .map(|index| put(index, "k", vec![u8::try_from(index).unwrap(); 3 << 20]))
            .collect();
        log.blocking_append(entries.clone()).await.expect("they are appended");
        let some = log.limited_get_log_entries(1, 6).await.expect("they are read");
        assert_eq!(some, entries[1..3]);
        assert_eq!(log.try_get_log_entries(0..6).await.expect("they are read"), entries);
        log.truncate(log_id(1, 0, 1)).await.expect("the log is cut");
        assert_eq!(log.try_get_log_entries(..).await.expect("read"), entries[..1]);
    });
}

#[test]
fn entries_that_do_not_follow_each_other_are_refused_and_nothing_is_changed() {
    run(async {
        let mut log = log_on(&in_memory());
        log.blocking_append([blank(1, 0), blank(1, 1)]).await.expect("they are appended");
        for wrong in [[blank(1, 2), blank(1, 4)], [blank(1, 3), blank(1, 3)]] {
            let error = log.blocking_append(wrong).await.expect_err("that is no log");
            assert!(error.to_string().contains("does not follow"), "{error}");
        }
        let found = log.try_get_log_entries(..).await.expect("read");
        assert_eq!(found, [blank(1, 0), blank(1, 1)]);
        log.blocking_append([]).await.expect("nothing is nothing");
    });
}

#[test]
fn an_append_of_nothing_keeps_the_committed_log_id() {
    let db = in_memory();
    run(async {
        let mut log = log_on(&db);
        log.blocking_append([blank(1, 0)]).await.expect("it is appended");
        let committed = Some(log_id(1, 0, 0));
        log.save_committed(committed).await.expect("noted");
        log.blocking_append([]).await.expect("nothing is nothing");
        assert_eq!(log.read_committed().await.expect("read"), committed);
        assert_eq!(log_on(&db).read_committed().await.expect("read"), committed);
    });
}

#[test]
fn what_a_snapshot_replaced_is_gone_when_the_log_goes_on() {
    run(async {
        // The entries of term 1 are not what was agreed upon; a snapshot up to term 3 came, and a
        // crash before the log was purged.
        let mut log = log_on(&in_memory());
        log.blocking_append((0..6).map(|index| blank(1, index))).await.expect("appended");
        log.purge(log_id(3, 0, 2)).await.expect("purged");
        let state = log.get_log_state().await.expect("read");
        assert_eq!(state.last_log_id, Some(log_id(3, 0, 2)));

        let mut log = log_on(&in_memory());
        log.blocking_append((0..6).map(|index| blank(1, index))).await.expect("appended");
        log.blocking_append([blank(3, 3)]).await.expect("appended");
        let state = log.get_log_state().await.expect("read");
        assert_eq!(state.last_log_id, Some(log_id(3, 0, 3)));
        assert_eq!(log.try_get_log_entries(4..).await.expect("read"), []);
    });
}

/// Fields that are left out when they are none, as is usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Patch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<u32>,
}

/// Variants that have nothing but their fields' names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    One { x: u32 },
    Other { y: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One {
        x: u32,
        #[serde(flatten)]
        more: BTreeMap<String, u32>,
    },
}

openraft::declare_raft_types!(
    PatchConfig: D = (Patch, Either, Tagged), R = (), NodeId = u64, Node = BasicNode,
        Entry = Entry<PatchConfig>, SnapshotData = Cursor<Vec<u8>>, AsyncRuntime = TokioRuntime
);

#[test]
fn entries_come_back_as_they_were_whatever_serde_leaves_out() {
    let mut log =
        LogStore::<PatchConfig>::open(&group(&in_memory()), Progress::unknown()).expect("it opens");
    let some = |at: u32| (at % 2 == 1).then_some(at);
    let data = |at: u32| {
        let either = if at < 2 { Either::One { x: at } } else { Either::Other { y: at } };
        let more = BTreeMap::from([("more".to_owned(), at)]);
        (Patch { first: some(at / 2), second: some(at) }, either, Tagged::One { x: at, more })
    };
    run(async {
        let entry = |at| {
            let payload = EntryPayload::Normal(data(at));
            Entry { log_id: log_id(1, 0, u64::from(at)), payload }
        };
        log.blocking_append((0..4).map(entry)).await.expect("appended");
        for (at, found) in (0..4).zip(log.try_get_log_entries(..).await.expect("read")) {
            let EntryPayload::Normal(found) = found.payload else { panic!("another payload") };
            assert_eq!(found, data(at));
        }
    });
}

/// Levels of [`Deep`] in an entry, which is two levels itself.
const DEPTH_MAX: usize = 126;

/// As deep as one likes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Deep {
    next: Option<Box<Deep>>,
}

openraft::declare_raft_types!(
    DeepConfig: D = Deep, R = (), NodeId = u64, Node = BasicNode, Entry = Entry<DeepConfig>,
        SnapshotData = Cursor<Vec<u8>>, AsyncRuntime = TokioRuntime
);

#[test]
fn an_entry_that_could_not_be_read_again_is_refused() {
    let mut log =
        LogStore::<DeepConfig>::open(&group(&in_memory()), Progress::unknown()).expect("it opens");
    let entry = |index, levels| {
        let deep =
            (1..levels).fold(Deep { next: None }, |next, _| Deep { next: Some(Box::new(next)) });
        Entry { log_id: log_id(1, 0, index), payload: EntryPayload::Normal(deep) }
    };
    run(async {
        let error = log.blocking_append([entry(0, DEPTH_MAX + 1)]).await;
        let error = error.expect_err("nobody could read it");
        assert!(error.to_string().contains("cannot be serialised"), "{error}");
        assert_eq!(log.get_log_state().await.expect("read").last_log_id, None);
        log.blocking_append([entry(0, DEPTH_MAX)]).await.expect("it is appended");
        let found = log.try_get_log_entries(..).await.expect("it is read");
        assert_eq!(found, [entry(0, DEPTH_MAX)]);
    });
}

/// Records had no names once.
#[test]
fn entries_that_were_written_without_names_are_read() {
    let db = in_memory();
    let mut log = log_on(&db);
    let entries = [blank(1, 0), put(1, "k", "v"), members(2, [1, 2])];
    for entry in &entries {
        let record = rmp_serde::to_vec(entry).expect("it can be written");
        let key = entry.log_id.index.to_be_bytes();
        db.exec("g/log", |txn| txn.put(key, record)).expect("it is put there");
    }
    assert_eq!(run(log.try_get_log_entries(..)).expect("read"), entries);
}

/// Whether [`Slow`] waits.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// What it takes as long to write as the test wants.
#[derive(Deserialize)]
struct Slow;

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        while IS_CLOSED.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        serializer.serialize_unit_struct("Slow")
    }
}

/// Closed as long as it lives.
struct Closed;

impl Drop for Closed {
    fn drop(&mut self) {
        IS_CLOSED.store(false, Ordering::Release);
    }
}

openraft::declare_raft_types!(
    SlowConfig: D = Slow, R = (), NodeId = u64, Node = BasicNode, Entry = Entry<SlowConfig>,
        SnapshotData = Cursor<Vec<u8>>, AsyncRuntime = TokioRuntime
);

#[test]
fn work_that_nobody_waits_for_is_done_before_what_comes_later() {
    let group = group(&in_memory());
    let mut log = LogStore::<SlowConfig>::open(&group, Progress::unknown()).expect("it opens");
    run(async {
        IS_CLOSED.store(true, Ordering::Release);
        let closed = Closed;
        let payload = EntryPayload::Normal(Slow);
        let append = log.blocking_append([Entry { log_id: log_id(1, 0, 0), payload }]);
        // It has begun when it was polled once, and is dropped.
        tokio::select! {
            biased;
            appended = append => panic!("it cannot be written yet: {appended:?}"),
            () = std::future::ready(()) => {}
        }
        let mut cut = std::pin::pin!(log.truncate(log_id(1, 0, 0)));
        for _ in 0..5_000 {
            tokio::select! {
                biased;
                done = &mut cut => panic!("it has overtaken the append: {done:?}"),
                () = tokio::task::yield_now() => std::thread::yield_now(),
            }
        }
        drop(closed);
        cut.await.expect("it is cut");
    });
    assert_eq!(run(log.get_log_state()).expect("read").last_log_id, None);
}

#[test]
fn groups_share_a_store_and_nothing_else() {
    let db = in_memory();
    run(async {
        let group = |name: &str| btree_store_raft::Group::new(&db, name).expect("it is a name");
        let mut one: Log = LogStore::open(&group("one"), Progress::unknown()).expect("it opens");
        let mut two: Log = LogStore::open(&group("two"), Progress::unknown()).expect("it opens");
        one.blocking_append([blank(1, 0), blank(1, 1)]).await.expect("appended");
        two.blocking_append([blank(7, 0)]).await.expect("appended");
        one.truncate(log_id(1, 0, 0)).await.expect("cut");
        assert_eq!(two.try_get_log_entries(..).await.expect("read"), [blank(7, 0)]);
    });
}

/// A change that a log was asked for.
#[derive(Clone, Copy, Debug)]
enum Late {
    Append,
    AppendNothing,
    Vote,
    Truncate,
    Purge,
    PurgeAgain,
}

impl Late {
    async fn ask(self, mut log: Log) -> Result<(), StorageError<u64>> {
        match self {
            Late::Append => log.blocking_append([blank(1, 3), blank(1, 4)]).await,
            Late::AppendNothing => {
                // It would take this along.
                log.save_committed(Some(log_id(1, 0, 2))).await?;
                log.blocking_append([]).await
            }
            Late::Vote => log.save_vote(&Vote::new(1, 7)).await,
            Late::Truncate => log.truncate(log_id(1, 0, 1)).await,
            Late::Purge => log.purge(log_id(1, 0, 2)).await,
            Late::PurgeAgain => log.purge(log_id(1, 0, 0)).await,
        }
    }
}

/// A program may drop a node without waiting for it, and start it again.
#[test]
fn what_a_log_that_was_replaced_was_asked_for_changes_nothing() {
    let kinds = [
        Late::Append,
        Late::AppendNothing,
        Late::Vote,
        Late::Truncate,
        Late::Purge,
        Late::PurgeAgain,
    ];
    for late in kinds {
        let db = in_memory();
        // One thread for what blocks, and it is taken.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
        let runtime = runtime.expect("a runtime can be built");
        let mut old = log_on(&db);
        runtime.block_on(async {
            old.save_vote(&Vote::new(1, 0)).await.expect("saved");
            old.blocking_append((0..3).map(|index| blank(1, index))).await.expect("appended");
            old.purge(log_id(1, 0, 0)).await.expect("purged");
        });
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        drop(runtime.spawn_blocking(move || wait.recv()));
        let asked = runtime.spawn(late.ask(old));
        runtime.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
        let mut new = log_on(&db);
        let (vote, entries) = (Vote::new(2, 1), [blank(1, 1), blank(1, 2), blank(2, 3)]);
        run(async {
            new.save_vote(&vote).await.expect("saved");
            new.blocking_append(entries[2..].to_vec()).await.expect("appended");
        });
        let seq = db.current_seq();
        go_on.send(()).expect("it waits");
        let done = runtime.block_on(asked).expect("it does not panic");
        run(async {
            assert_eq!(new.try_get_log_entries(..).await.expect("read"), entries, "{late:?}");
            assert_eq!(new.read_vote().await.expect("read"), Some(vote), "{late:?}");
            assert_eq!(new.read_committed().await.expect("read"), None, "{late:?}");
        });
        assert_eq!(db.current_seq(), seq, "{late:?} has changed something");
        let error = done.expect_err("it was replaced");
        assert!(error.to_string().contains("log of the group was opened"), "{late:?}: {error}");
    }
}

/// Stores of earlier versions have none.
#[test]
fn a_log_without_an_owner_is_opened() {
    let db = in_memory();
    run(log_on(&db).blocking_append([blank(1, 0)])).expect("appended");
    db.exec("g/log-meta", |txn| txn.remove("owner").map(drop)).expect("it is removed");
    let mut log = log_on(&db);
    run(async {
        log.blocking_append([blank(1, 1)]).await.expect("appended");
        let found = log.try_get_log_entries(..).await.expect("read");
        assert_eq!(found, [blank(1, 0), blank(1, 1)]);
    });
}
