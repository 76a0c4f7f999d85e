//! Is the state what its last applied entry says, and what becomes of snapshots?

use crate::common::{
    FILE, LogEntry, Machine, blank, group, in_memory, machine_on, members, open_file, put, request,
    run,
};
use btree_store::sim::{Errno, Failure, Fault, OpSet, SimDisk, When};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Durability, Options};
use btree_store_raft::kv::{KeyValue, KeyValueConfig, Request, Response};
use btree_store_raft::{
    Application, Buckets, Error, Progress, SnapshotFile, StateMachine, StateReader,
};
use openraft::network::snapshot_transport::Streaming;
use openraft::raft::InstallSnapshotRequest;
use openraft::storage::RaftStateMachine;
use openraft::testing::log_id;
use openraft::{RaftSnapshotBuilder, Snapshot, Vote};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

fn get(reader: &StateReader<KeyValueConfig>, key: &str) -> Option<Vec<u8>> {
    KeyValue::get(&reader.view().expect("a view opens"), key).expect("it is read")
}

async fn snapshot_of(machine: &mut Machine) -> Snapshot<KeyValueConfig> {
    let mut builder = machine.get_snapshot_builder().await;
    builder.build_snapshot().await.expect("a snapshot is built")
}

async fn bytes_of(mut snapshot: Snapshot<KeyValueConfig>) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.snapshot.read_to_end(&mut bytes).await.expect("it is read");
    bytes
}

/// As openraft receives a snapshot.
async fn receive(machine: &mut Machine, bytes: &[u8]) -> Box<SnapshotFile> {
    let mut file = machine.begin_receiving_snapshot().await.expect("a file is made");
    for chunk in bytes.chunks(1_000) {
        file.write_all(chunk).await.expect("it is written");
    }
    file.shutdown().await.expect("it is written");
    file
}

#[test]
fn requests_are_answered_and_bad_ones_are_refused() {
    run(async {
        let dir = directory();
        let mut machine = machine_on(&in_memory(), dir.path());
        let swap = Request::compare_and_swap;
        let cases = [
            (Request::put("a", "1"), Response::Done),
            (Request::put("", "1"), Response::Refused),
            (Request::put(vec![7; 4_000], "1"), Response::Refused),
            (Request::delete("b"), Response::Unchanged),
            (swap("a", Some(b"2"), Some(b"3")), Response::Unchanged),
            (swap("a", Some(b"1"), Some(b"3")), Response::Done),
            (swap("b", None, Some(b"4")), Response::Done),
            (swap("b", Some(b"4"), None), Response::Done),
            (Request::delete("a"), Response::Done),
        ];
        let (requests, expected): (Vec<Request>, Vec<Response>) = cases.into_iter().unzip();
        let entries = (1..).zip(requests).map(|(index, asked)| request(1, index, asked));
        let entries: Vec<LogEntry> = entries.collect();
        assert_eq!(machine.apply(entries).await.expect("they are applied"), expected);
        let view = machine.reader().view().expect("a view opens");
        assert_eq!(view.view("kv", |txn| Ok(txn.len())), Ok(0));
    });
}

#[test]
fn state_and_last_applied_are_there_when_a_process_is_killed_after_each_step() {
    run(async {
        let dir = directory();
        let mut vfs = MemVfs::new();
        for index in 1..30 {
            let db = open_file(Arc::new(vfs.clone())).expect("it opens");
            let mut machine = machine_on(&db, dir.path());
            let entry = match index % 5 {
                0 => members(index, [1, index]),
                1 => blank(1, index),
                _ => put(index, &format!("key {index}"), vec![1; 200]),
            };
            machine.apply([entry]).await.expect("it is applied");
            vfs = vfs.snapshot();
            let db = open_file(Arc::new(vfs.clone())).expect("it opens again");
            let mut machine = machine_on(&db, dir.path());
            let (applied, membership) = machine.applied_state().await.expect("it is read");
            assert_eq!(applied, Some(log_id(1, 0, index)));
            let expected = (index >= 5).then(|| log_id(1, 0, index - index % 5));
            assert_eq!(*membership.log_id(), expected);
            for before in 1..=index {
                let is_there = get(&machine.reader(), &format!("key {before}")).is_some();
                assert_eq!(is_there, before % 5 > 1, "key {before} after {index}");
            }
            assert!(db.verify().expect("it is read").is_sound());
        }
        assert!(vfs.read_file(FILE).is_some());
    });
}

#[test]
fn an_entry_is_applied_once() {
    run(async {
        let dir = directory();
        let mut machine = machine_on(&in_memory(), dir.path());
        machine.apply([put(1, "a", "1"), put(2, "b", "1")]).await.expect("they are applied");
        for again in [[put(2, "b", "2"), put(3, "c", "2")], [put(3, "c", "2"), put(3, "c", "2")]] {
            let error = machine.apply(again).await.expect_err("it was applied before");
            assert!(error.to_string().contains("does not follow"), "{error}");
        }
        let reader = machine.reader();
        assert_eq!((get(&reader, "b"), get(&reader, "c")), (Some(b"1".to_vec()), None));
    });
}

/// Fails where it is told to, after it has written.
struct Faulty;

impl Application<KeyValueConfig> for Faulty {
    fn apply(
        &self,
        request: Request,
        buckets: &mut Buckets<'_, '_>,
    ) -> btree_store::Result<Response> {
        buckets.exec("kv", |txn| txn.put("touched", "yes"))?;
        assert_ne!(request, Request::delete("panic"), "as it was told to");
        if request == Request::delete("fail") {
            Err(btree_store::Error::Internal)
        } else {
            Ok(Response::Done)
        }
    }

    fn answer_without_data(&self) -> Response {
        Response::Done
    }
}

#[test]
fn an_application_that_fails_leaves_nothing_and_the_store_goes_on() {
    run(async {
        let (dir, db) = (directory(), in_memory());
        let mut machine: StateMachine<KeyValueConfig, Faulty> =
            StateMachine::open(&group(&db), Faulty, dir.path()).expect("it opens");
        for (key, told) in [("fail", "internal error"), ("panic", "not done")] {
            let entries = [put(1, "a", "1"), request(1, 2, Request::delete(key))];
            let error = machine.apply(entries).await.expect_err("the application fails");
            assert!(error.to_string().contains(told), "{error}");
            assert_eq!(machine.applied_state().await.expect("it is read").0, None);
            assert_eq!(get(&machine.reader(), "touched"), None);
        }
        machine.apply([put(1, "a", "1")]).await.expect("it goes on");
        assert_eq!(get(&machine.reader(), "touched").as_deref(), Some(b"yes".as_slice()));
    });
}

/// Pages of 512 bytes have names of up to 128.
#[test]
fn a_group_whose_name_leaves_no_room_for_a_bucket_is_no_fault_of_a_request() {
    run(async {
        let (dir, db) = (directory(), in_memory());
        let group = btree_store_raft::Group::new(&db, "g".repeat(110)).expect("it is a name");
        let mut machine = Machine::open(&group, KeyValue, dir.path()).expect("it opens");
        let error = machine.apply([put(1, "a", "1")]).await.expect_err("it has no bucket");
        assert!(error.to_string().contains("bucket name of 135 bytes"), "{error}");
        assert_eq!(machine.applied_state().await.expect("read").0, None);
    });
}

/// Asks for what it has no say in.
struct Hasty;

impl Application<KeyValueConfig> for Hasty {
    fn apply(&self, _: Request, buckets: &mut Buckets<'_, '_>) -> btree_store::Result<Response> {
        buckets.exec("kv", |txn| {
            txn.set_durability(Durability::Deferred);
            txn.put("k", "v")
        })?;
        Ok(Response::Done)
    }

    fn answer_without_data(&self) -> Response {
        Response::Done
    }
}

#[test]
fn what_is_applied_is_durable_whatever_the_application_defers() {
    run(async {
        let (dir, db) = (directory(), in_memory());
        let mut machine: StateMachine<KeyValueConfig, Hasty> =
            StateMachine::open(&group(&db), Hasty, dir.path()).expect("it opens");
        machine.apply([put(1, "a", "1")]).await.expect("it is applied");
        assert_eq!(machine.applied_state().await.expect("read").0, Some(log_id(1, 0, 1)));
        assert_eq!(get(&machine.reader(), "k").as_deref(), Some(b"v".as_slice()));
        machine.apply([put(1, "a", "1")]).await.expect_err("it was applied before");
    });
}

#[test]
fn a_state_machine_is_durable_on_a_handle_that_defers() {
    let options = Options::new().page_size(512).durability(Durability::Deferred);
    let (dir, other_dir) = (directory(), directory());
    let db = options.open_in_memory().expect("it opens");
    run(async {
        let mut other = machine_on(&in_memory(), other_dir.path());
        other.apply([put(5, "b", "1")]).await.expect("it is applied");
        let snapshot = snapshot_of(&mut other).await;
        let meta = snapshot.meta.clone();
        let bytes = bytes_of(snapshot).await;

        let mut machine = machine_on(&db, dir.path());
        machine.apply([put(1, "a", "1")]).await.expect("it is applied");
        assert_eq!(get(&machine.reader(), "a").as_deref(), Some(b"1".as_slice()));
        machine.apply([put(1, "a", "1")]).await.expect_err("it was applied before");
        // A snapshot that is cut off at its end leaves what the next one must find, and remove.
        let file = receive(&mut machine, &bytes[..bytes.len() - 1]).await;
        machine.install_snapshot(&meta, file).await.expect_err("it is cut off");
        let file = receive(&mut machine, &bytes).await;
        machine.install_snapshot(&meta, file).await.expect("it is installed");
        assert_eq!(machine.applied_state().await.expect("read").0, meta.last_log_id);
        machine.apply([put(6, "c", "1")]).await.expect("it goes on");
        let held = ["a", "b", "c"].map(|key| get(&machine.reader(), key).is_some());
        assert_eq!(held, [false, true, true]);
    });
}

/// A state of some MiB: many entries, a large value.
async fn large(machine: &mut Machine) {
    let entries = (2..200).map(|index| put(index, &format!("key {index:05}"), vec![3; 50_000]));
    machine.apply(entries.chain([members(200, [1, 2])])).await.expect("they are applied");
    machine.apply([put(201, "large", vec![5; 1 << 20])]).await.expect("it is applied");
}

#[test]
fn a_snapshot_is_of_one_state_and_replaces_another_as_a_whole() {
    run(async {
        let (dir, other_dir, db) = (directory(), directory(), in_memory());
        let mut machine = machine_on(&in_memory(), dir.path());
        large(&mut machine).await;
        // What is applied after the builder was made is not in it.
        let mut builder = machine.get_snapshot_builder().await;
        machine.apply([put(202, "late", "1")]).await.expect("it is applied");
        let snapshot = builder.build_snapshot().await.expect("it is built");
        let meta = snapshot.meta.clone();
        assert_eq!(meta.last_log_id, Some(log_id(1, 0, 201)));
        let bytes = bytes_of(snapshot).await;

        let mut other = machine_on(&db, other_dir.path());
        other.apply([put(1, "old", "1")]).await.expect("it is applied");
        let reader = other.reader();
        let old = reader.view().expect("a view opens");
        let file = receive(&mut other, &bytes).await;
        other.install_snapshot(&meta, file).await.expect("it is installed");
        assert_eq!(other.applied_state().await.expect("read").0, meta.last_log_id);
        assert_eq!(get(&reader, "old"), None);
        assert_eq!(get(&reader, "late"), None);
        assert_eq!(get(&reader, "key 00199"), Some(vec![3; 50_000]));
        assert_eq!(get(&reader, "large"), Some(vec![5; 1 << 20]));
        assert_eq!(KeyValue::get(&old, "old"), Ok(Some(b"1".to_vec())));
        // Equal states make equal snapshots, on whatever node.
        let current = other.get_current_snapshot().await.expect("read").expect("it is there");
        assert_eq!(current.meta, meta);
        assert_eq!(bytes_of(current).await, bytes);
        let again = snapshot_of(&mut other).await;
        assert_eq!(again.meta, meta);
        assert_eq!(bytes_of(again).await, bytes);
        // Of the buckets before nothing is left.
        let buckets = db.buckets().expect("they are read");
        assert_eq!(buckets.iter().filter(|name| name.contains("/data/")).count(), 1);
    });
}

#[test]
fn a_snapshot_that_is_not_whole_changes_nothing() {
    run(async {
        let (dir, other_dir, db) = (directory(), directory(), in_memory());
        let mut machine = machine_on(&in_memory(), dir.path());
        machine.apply([put(1, "a", "1"), put(2, "b", "")]).await.expect("they are applied");
        let snapshot = snapshot_of(&mut machine).await;
        let meta = snapshot.meta.clone();
        let bytes = bytes_of(snapshot).await;

        let mut other = machine_on(&db, other_dir.path());
        other.apply([put(1, "old", "1")]).await.expect("it is applied");
        let mut damaged: Vec<Vec<u8>> = (0..bytes.len()).map(|end| bytes[..end].to_vec()).collect();
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                damaged.push(bytes);
            }
        }
        damaged.push([&bytes[..], &[0]].concat());
        for bytes in damaged {
            let file = receive(&mut other, &bytes).await;
            let error = other.install_snapshot(&meta, file).await.expect_err("it is damaged");
            assert!(error.to_string().contains("the snapshot is damaged"), "{error}: {bytes:?}");
            assert_eq!(other.applied_state().await.expect("read").0, Some(log_id(1, 0, 1)));
            assert_eq!(get(&other.reader(), "old").as_deref(), Some(b"1".as_slice()));
        }
        assert!(other.get_current_snapshot().await.expect("read").is_none());
        let file = receive(&mut other, &bytes).await;
        other.install_snapshot(&meta, file).await.expect("it is whole");
        assert_eq!(get(&other.reader(), "a").as_deref(), Some(b"1".as_slice()));
    });
}

#[test]
fn what_a_snapshot_left_that_was_cut_off_is_not_in_the_next_one() {
    run(async {
        let (dir, db) = (directory(), in_memory());
        let mut machine = machine_on(&in_memory(), dir.path());
        machine.apply([put(1, "small", "1")]).await.expect("it is applied");
        let small = snapshot_of(&mut machine).await;
        let meta = small.meta.clone();
        let small = bytes_of(small).await;
        large(&mut machine).await;
        let large = bytes_of(snapshot_of(&mut machine).await).await;

        let other_dir = directory();
        let mut other = machine_on(&db, other_dir.path());
        let file = receive(&mut other, &large[..large.len() - 1]).await;
        other.install_snapshot(&meta, file).await.expect_err("it is cut off");
        let left = db.buckets().expect("they are read");
        assert!(left.iter().any(|name| name.contains("/data/")), "nothing was left: {left:?}");
        let file = receive(&mut other, &small).await;
        other.install_snapshot(&meta, file).await.expect("it is whole");
        let view = other.reader().view().expect("a view opens");
        assert_eq!(view.view("kv", |txn| Ok(txn.len())), Ok(1));
    });
}

#[test]
fn entries_without_values_are_installed_some_at_a_time() {
    run(async {
        let (dir, other_dir, db) = (directory(), directory(), in_memory());
        let mut machine = machine_on(&in_memory(), dir.path());
        let entries = (1..=100_000).map(|index| put(index, &format!("{index:08}"), ""));
        machine.apply(entries).await.expect("they are applied");
        let snapshot = snapshot_of(&mut machine).await;
        let mut other = machine_on(&db, other_dir.path());
        let before = db.current_seq();
        other.install_snapshot(&snapshot.meta, snapshot.snapshot).await.expect("installed");
        let transactions = db.current_seq() - before;
        assert!(transactions > 3, "{transactions} transactions held all of it");
    });
}

#[test]
fn a_snapshot_of_an_older_state_does_not_replace_a_newer_one() {
    run(async {
        let dir = directory();
        let mut machine = machine_on(&in_memory(), dir.path());
        machine.apply([put(1, "k", "v")]).await.expect("it is applied");
        let mut old = machine.get_snapshot_builder().await;
        machine.apply([put(2, "k", "w")]).await.expect("it is applied");
        let new = snapshot_of(&mut machine).await.meta;
        old.build_snapshot().await.expect("it is built");
        let current = machine.get_current_snapshot().await.expect("read").expect("it is there");
        assert_eq!(current.meta, new);
    });
}

#[test]
fn what_an_installation_left_that_was_interrupted_is_removed() {
    let (dir, db) = (directory(), in_memory());
    drop(machine_on(&db, dir.path()));
    let left = "g/data/0000000000000001/kv";
    db.exec(left, |txn| txn.put("half", "1")).expect("it is put there");
    std::fs::write(dir.path().join("left.snapshot"), "half").expect("it is put there");
    let machine = machine_on(&db, dir.path());
    assert_eq!(db.view(left, |_| Ok(())), Err(btree_store::Error::NotFound));
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is read").count(), 0);
    assert_eq!(get(&machine.reader(), "half"), None);
}

/// openraft's shutdown does not wait for whoever drops its snapshots.
#[test]
fn a_state_machine_opens_while_the_old_one_removes_its_snapshots() {
    let (dir, db) = (directory(), in_memory());
    let mut old = machine_on(&db, dir.path());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            run(async {
                while !is_over.load(Ordering::Relaxed) {
                    drop(old.begin_receiving_snapshot().await.expect("a file is made"));
                }
            });
        });
        let opened =
            (0..3_000).try_for_each(|_| Machine::open(&group(&db), KeyValue, dir.path()).map(drop));
        is_over.store(true, Ordering::Relaxed);
        opened.expect("it opens");
    });
}

#[test]
fn snapshots_take_no_room_once_they_are_replaced() {
    run(async {
        let dir = directory();
        let count = || std::fs::read_dir(dir.path()).expect("it is read").count();
        let mut machine = machine_on(&in_memory(), dir.path());
        for index in 1..5 {
            machine.apply([put(index, "k", "v")]).await.expect("it is applied");
            drop(snapshot_of(&mut machine).await);
            assert_eq!(count(), 1);
        }
        let open = machine.get_current_snapshot().await.expect("read").expect("it is there");
        machine.apply([put(9, "k", "v")]).await.expect("it is applied");
        drop(snapshot_of(&mut machine).await);
        assert_eq!(bytes_of(open).await[..8], *b"BTSRAFT1");
        drop(machine);
        assert_eq!(count(), 0);
    });
}

#[test]
fn a_state_machine_that_was_replaced_changes_nothing_more() {
    run(async {
        let (dir, old_dir, new_dir, db) = (directory(), directory(), directory(), in_memory());
        let mut machine = machine_on(&in_memory(), dir.path());
        machine.apply([put(5, "b", "1")]).await.expect("it is applied");
        let snapshot = snapshot_of(&mut machine).await;
        let meta = snapshot.meta.clone();

        let mut old = machine_on(&db, old_dir.path());
        old.apply([put(1, "a", "1")]).await.expect("it is applied");
        let mut new = machine_on(&db, new_dir.path());
        let seq = db.current_seq();
        let applied = old.apply([put(2, "a", "2")]).await.map(drop);
        let file = receive(&mut old, &bytes_of(snapshot).await).await;
        let installed = old.install_snapshot(&meta, file).await;
        for done in [applied, installed] {
            let error = done.expect_err("it was replaced");
            assert!(error.to_string().contains("another state machine"), "{error}");
        }
        assert_eq!(db.current_seq(), seq, "it has changed something");
        new.apply([put(2, "a", "3")]).await.expect("it is applied");
        assert_eq!(get(&new.reader(), "a").as_deref(), Some(b"3".as_slice()));
    });
}

#[test]
fn a_state_machine_goes_on_when_the_one_that_is_to_replace_it_does_not_open() {
    run(async {
        let (dir, disk) = (directory(), SimDisk::new());
        let db = open_file(disk.vfs()).expect("it opens");
        let mut machine = machine_on(&db, dir.path());
        machine.apply([put(1, "a", "1")]).await.expect("it is applied");
        let current = snapshot_of(&mut machine).await;
        let no_directory = dir.path().join("file");
        std::fs::write(&no_directory, "").expect("it is written");
        let refused = Machine::open(&group(&db), KeyValue, &no_directory).map(drop);
        assert!(matches!(refused, Err(Error::Spool { .. })), "{refused:?}");
        machine.apply([put(2, "b", "1")]).await.expect("it goes on");

        // The disk is full while it opens.
        disk.inject(Fault::new(OpSet::WRITES, When::Once(0), Failure::Error(Errno::Enospc)));
        let refused = Machine::open(&group(&db), KeyValue, dir.path()).map(drop);
        assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
        machine.apply([put(3, "c", "1")]).await.expect("it goes on");
        let again = machine.get_current_snapshot().await.expect("read").expect("it is there");
        assert_eq!(again.meta, current.meta);
        assert_eq!(bytes_of(again).await, bytes_of(current).await);
    });
}

/// openraft's shutdown does not wait for whoever installs.
#[test]
fn a_state_machine_that_is_replaced_while_it_installs_leaves_nothing_half() {
    run(async {
        let (dir, old_dir, new_dir) = (directory(), directory(), directory());
        let mut machine = machine_on(&in_memory(), dir.path());
        large(&mut machine).await;
        let snapshot = snapshot_of(&mut machine).await;
        let meta = snapshot.meta.clone();
        let bytes = bytes_of(snapshot).await;

        let db = in_memory();
        let mut old = machine_on(&db, old_dir.path());
        let file = receive(&mut old, &bytes).await;
        let installing = tokio::spawn(async move { old.install_snapshot(&meta, file).await });
        let has_begun = || db.buckets().expect("read").iter().any(|name| name.contains("/data/"));
        while !has_begun() {
            tokio::task::yield_now().await;
        }
        let new = machine_on(&db, new_dir.path());
        let installed = installing.await.expect("it does not panic");
        let view = new.reader().view().expect("a view opens");
        let is_whole = view.view("kv", |txn| Ok(txn.len())) == Ok(199);
        assert_eq!(installed.is_ok(), is_whole);
        assert_eq!(view.last_applied().is_some(), is_whole);
        let count = db.buckets().expect("read").iter().filter(|n| n.contains("/data/")).count();
        assert_eq!(count, usize::from(is_whole), "the rest is removed");
    });
}

/// Two handles on one snapshot read it at their own pace.
#[test]
fn a_snapshot_is_read_by_several_at_once() {
    run(async {
        let dir = directory();
        let mut machine = machine_on(&in_memory(), dir.path());
        machine.apply([put(1, "k", "v")]).await.expect("it is applied");
        drop(snapshot_of(&mut machine).await);
        let mut one = machine.get_current_snapshot().await.expect("read").expect("it is there");
        let two = machine.get_current_snapshot().await.expect("read").expect("it is there");
        let mut begin = [0; 8];
        one.snapshot.read_exact(&mut begin).await.expect("it is read");
        let bytes = bytes_of(two).await;
        assert_eq!(bytes_of(one).await, bytes[8..]);
    });
}

/// Some programs keep their own things in the same store.
#[test]
fn a_store_is_shared_with_the_application() {
    let (dir, db): (TempDir, BTree) = (directory(), in_memory());
    db.exec("mine", |txn| txn.put("k", "v")).expect("it is put");
    run(async {
        let mut machine = machine_on(&db, dir.path());
        machine.apply([put(1, "k", "w")]).await.expect("it is applied");
        let bytes = bytes_of(snapshot_of(&mut machine).await).await;
        assert!(!bytes.windows(4).any(|window| window == b"mine"));
    });
    assert_eq!(db.view("mine", |txn| txn.get("k")).as_deref(), Ok(b"v".as_slice()));
}

/// What a request that was given up had taken of its chunk is no matter: the next one brings the
/// chunk to the same place.
#[test]
fn a_chunk_whose_receiver_was_dropped_is_taken_again_at_its_place() {
    // openraft's own, more than the file takes at once by itself.
    const CHUNK: usize = 3 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let (dir, other_dir) = (directory(), directory());
        let mut other = machine_on(&in_memory(), other_dir.path());
        other.apply([put(1, "k", vec![7; 5 << 20])]).await.expect("applied");
        let built = snapshot_of(&mut other).await;
        let meta = built.meta.clone();
        let bytes = bytes_of(built).await;
        let mut machine = machine_on(&in_memory(), dir.path());
        let file = machine.begin_receiving_snapshot().await.expect("a file");
        let mut streaming = Streaming::<KeyValueConfig>::new(meta.snapshot_id.clone(), file);
        let ask = |at: usize, end: usize| InstallSnapshotRequest::<KeyValueConfig> {
            vote: Vote::new(1, 1),
            meta: meta.clone(),
            offset: at as u64,
            data: bytes[at..end].to_vec(),
            done: end == bytes.len(),
        };
        // The one thread that may block is taken, so that the write does not end.
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || wait.recv());
        {
            let mut dropped = std::pin::pin!(streaming.receive(ask(0, CHUNK)));
            tokio::select! {
                biased;
                _ = &mut dropped => {}
                () = std::future::ready(()) => {}
            }
        }
        go_on.send(()).expect("it waits");
        taken.await.expect("it ends").expect("it was told");
        streaming.receive(ask(0, CHUNK)).await.expect("received");
        streaming.receive(ask(CHUNK, bytes.len())).await.expect("received");
        let mut file = streaming.into_snapshot_data();
        file.shutdown().await.expect("written");
        machine.install_snapshot(&meta, file).await.expect("all bytes arrived");
    });
}

#[test]
fn the_end_of_a_state_machine_is_told() {
    run(async {
        let dir = directory();
        let machine = machine_on(&in_memory(), dir.path());
        let mut ended = std::pin::pin!(machine.progress().ended());
        let is_told = tokio::select! {
            biased;
            () = &mut ended => true,
            () = std::future::ready(()) => false,
        };
        assert!(!is_told);
        drop(machine);
        ended.await;
        Progress::<KeyValueConfig>::unknown().ended().await;
    });
}
