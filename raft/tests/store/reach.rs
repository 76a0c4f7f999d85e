//! Does the log stay in reach of the state?

use crate::common::{
    Log, blank, group, in_memory, log_on, machine_on, members, open_file, put, request,
};
use btree_store::vfs::MemVfs;
use btree_store_raft::kv::Request;
use openraft::RaftSnapshotBuilder;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log_id;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

/// Runs to the end, with one thread for what blocks.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.expect("a runtime can be built").block_on(future)
}

/// Gives all that has begun the time to be done: on the one thread, nothing overtakes it.
async fn waits<T: std::fmt::Debug>(mut work: Pin<&mut impl Future<Output = T>>) {
    for _ in 0..10 {
        tokio::select! {
            biased;
            done = &mut work => panic!("it does not wait: {done:?}"),
            () = std::future::ready(()) => {}
        }
        tokio::task::spawn_blocking(|| ()).await.expect("it does not panic");
    }
}

/// As openraft does: it hands the snapshot to its worker and has the log purged meanwhile.
#[test]
fn a_log_is_not_purged_beyond_a_state_that_is_still_being_installed() {
    run(async {
        let (dir, other_dir, left_dir) = (directory(), directory(), directory());
        let mut other = machine_on(&in_memory(), other_dir.path());
        other.apply([members(1, [1]), put(2, "a", "1")]).await.expect("they are applied");
        let built = other.get_snapshot_builder().await.build_snapshot().await;
        let (built, last) = (built.expect("it is built"), log_id(1, 0, 2));

        let vfs = MemVfs::new();
        let db = open_file(Arc::new(vfs.clone())).expect("it opens");
        let mut machine = machine_on(&db, dir.path());
        let mut log = Log::open(&group(&db), machine.progress()).expect("it opens");
        log.blocking_append([blank(1, 0), blank(1, 1)]).await.expect("appended");
        {
            let mut purge = std::pin::pin!(log.purge(last));
            waits(purge.as_mut()).await;
            let left = open_file(Arc::new(vfs.snapshot())).expect("it opens again");
            let state = log_on(&left).get_log_state().await.expect("read");
            assert_eq!(
                (state.last_purged_log_id, state.last_log_id),
                (None, Some(log_id(1, 0, 1)))
            );
            let mut left = machine_on(&left, left_dir.path());
            assert_eq!(left.applied_state().await.expect("read").0, None);
            machine.install_snapshot(&built.meta, built.snapshot).await.expect("installed");
            purge.await.expect("purged");
        }
        let left = open_file(Arc::new(vfs.snapshot())).expect("it opens again");
        let state = log_on(&left).get_log_state().await.expect("read");
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(last), Some(last)));
    });
}

#[test]
fn what_is_applied_is_purged_also_after_a_start() {
    run(async {
        let (dir, db) = (directory(), in_memory());
        let mut machine = machine_on(&db, dir.path());
        let mut log = Log::open(&group(&db), machine.progress()).expect("it opens");
        let entries = [put(0, "a", "1"), put(1, "b", "1"), put(2, "c", "1")];
        log.blocking_append(entries.clone()).await.expect("appended");
        machine.apply(entries).await.expect("they are applied");
        log.purge(log_id(1, 0, 1)).await.expect("purged");
        drop(machine);
        let machine = machine_on(&db, dir.path());
        let mut log = Log::open(&group(&db), machine.progress()).expect("it opens");
        log.purge(log_id(1, 0, 2)).await.expect("purged");
        let state = log.get_log_state().await.expect("read");
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 0, 2)));
    });
}

#[test]
fn a_purge_fails_when_the_state_machine_ends_before_it_is_so_far() {
    run(async {
        let (dir, db) = (directory(), in_memory());
        let machine = machine_on(&db, dir.path());
        let mut log = Log::open(&group(&db), machine.progress()).expect("it opens");
        {
            let mut purge = std::pin::pin!(log.purge(log_id(1, 0, 2)));
            waits(purge.as_mut()).await;
            drop(machine);
            let error = purge.await.expect_err("nobody brings the state so far");
            assert!(error.to_string().contains("the state machine has ended"), "{error}");
        }
        assert_eq!(log.get_log_state().await.expect("read").last_purged_log_id, None);
    });
}

#[test]
fn entries_of_a_later_term_that_end_below_the_state_are_not_taken_up_again() {
    run(async {
        let (dir, other_dir, left_dir) = (directory(), directory(), directory());
        let mut other = machine_on(&in_memory(), other_dir.path());
        other.apply([request(2, 3, Request::put("a", "1"))]).await.expect("applied");
        let built = other.get_snapshot_builder().await.build_snapshot().await.expect("built");
        let vfs = MemVfs::new();
        let db = open_file(Arc::new(vfs.clone())).expect("it opens");
        let mut machine = machine_on(&db, dir.path());
        let mut log = Log::open(&group(&db), machine.progress()).expect("it opens");
        log.blocking_append([blank(1, 0), blank(3, 1)]).await.expect("appended");
        machine.install_snapshot(&built.meta, built.snapshot).await.expect("installed");
        // The power fails before the purge.
        let left = open_file(Arc::new(vfs.snapshot())).expect("it opens again");
        let machine = machine_on(&left, left_dir.path());
        let mut log = Log::open(&group(&left), machine.progress()).expect("it opens");
        let (state, applied) = (log.get_log_state().await.expect("read"), Some(log_id(2, 0, 3)));
        assert_eq!((state.last_purged_log_id, state.last_log_id), (applied, applied));
    });
}

#[test]
fn a_purge_says_why_the_snapshot_it_waits_for_was_not_installed() {
    use tokio::io::AsyncWriteExt;
    run(async {
        let (dir, db) = (directory(), in_memory());
        let mut machine = machine_on(&db, dir.path());
        let mut log = Log::open(&group(&db), machine.progress()).expect("it opens");
        let last = log_id(1, 0, 2);
        let mut purge = std::pin::pin!(log.purge(last));
        waits(purge.as_mut()).await;
        let mut file = machine.begin_receiving_snapshot().await.expect("made");
        file.write_all(b"this is none").await.expect("written");
        let meta = openraft::SnapshotMeta { last_log_id: Some(last), ..Default::default() };
        machine.install_snapshot(&meta, file).await.expect_err("it is damaged");
        // As openraft does.
        drop(machine);
        let error = purge.await.expect_err("the state is not there");
        assert!(error.to_string().contains("the snapshot is damaged"), "{error}");
    });
}
