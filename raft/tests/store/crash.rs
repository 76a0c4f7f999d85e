//! Is all that was acknowledged there after a power failure, wherever it strikes, and nothing half?
//!
//! A node's log and state machine have one file on the simulated disk, or two. The explorer lets
//! the power fail at each sync of a small workload, in every way that can be told apart, and again
//! while the node recovers; it lets operations fail before. What the node holds then is compared
//! with what it held after each step.

use crate::common::{
    FILE, Log, LogEntry, Machine, blank, group, in_memory, log_on, machine_on, members, open_file,
    put, run,
};
use btree_store::sim::{
    Checked, Crash, DataSync, Errno, Explorer, Failure, Fault, Growth, OpSet, Profile, SimDisk,
    SyncFailure, When,
};
use btree_store::{BTree, Options};
use btree_store_raft::kv::KeyValue;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log_id;
use openraft::{LogId, RaftLogReader, RaftSnapshotBuilder, SnapshotMeta, Vote};
use std::error::Error;
use std::path::Path;

/// What a node has on its disk.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    entries: Vec<LogEntry>,
    applied: Option<LogId<u64>>,
    membership: Option<LogId<u64>>,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Node {
    dbs: Vec<BTree>,
    log: Log,
    machine: Machine,
}

impl Node {
    fn open(disk: &SimDisk, files: &[&str], snapshots: &Path) -> Result<Node, Box<dyn Error>> {
        let open = |file: &&str| Options::new().page_size(512).vfs(disk.vfs()).open(file);
        let dbs = files.iter().map(open).collect::<btree_store::Result<Vec<BTree>>>()?;
        let machine = Machine::open(&group(&dbs[dbs.len() - 1]), KeyValue, snapshots)?;
        let log = Log::open(&group(&dbs[0]), machine.progress())?;
        Ok(Node { dbs, log, machine })
    }

    async fn held(&mut self) -> Result<Held, Box<dyn Error>> {
        let (applied, membership) = self.machine.applied_state().await?;
        let view = self.machine.reader().view()?;
        let pairs = match view.view("kv", |txn| txn.range::<[u8]>(..).collect()) {
            Err(btree_store::Error::NotFound) => Vec::new(),
            other => other?,
        };
        Ok(Held {
            vote: self.log.read_vote().await?,
            purged: self.log.get_log_state().await?.last_purged_log_id,
            entries: self.log.try_get_log_entries(..).await?,
            applied,
            membership: *membership.log_id(),
            pairs,
        })
    }

    async fn step(&mut self, step: u64, snapshot: &[u8]) -> Checked {
        match step {
            1 => self.log.save_vote(&Vote::new(1, 0)).await?,
            2 => {
                let entries = [members(1, [1, 2]), put(2, "a", "1"), put(3, "b", vec![2; 700])];
                self.log.blocking_append(entries).await?;
            }
            3 => {
                let entries = [members(1, [1, 2]), put(2, "a", "1")];
                self.machine.apply(entries).await?;
            }
            4 => self.log.truncate(log_id(1, 0, 3)).await?,
            5 => {
                self.log.save_committed(Some(log_id(1, 0, 2))).await?;
                self.log.blocking_append([blank(2, 3), put(4, "a", "2")]).await?;
            }
            6 => self.log.purge(log_id(1, 0, 2)).await?,
            7 => drop(self.machine.apply([blank(2, 3), put(4, "a", "2")]).await?),
            8 => {
                let mut file = self.machine.begin_receiving_snapshot().await?;
                tokio::io::AsyncWriteExt::write_all(&mut file, snapshot).await?;
                let last_log_id = Some(log_id(3, 0, 9));
                let meta = SnapshotMeta { last_log_id, ..SnapshotMeta::default() };
                // openraft asks for the purge before the snapshot is installed.
                tokio::select! {
                    biased;
                    purged = self.log.purge(log_id(3, 0, 9)) => purged?,
                    () = std::future::ready(()) => {}
                }
                self.machine.install_snapshot(&meta, file).await?;
            }
            9 => self.log.purge(log_id(3, 0, 9)).await?,
            _ => self.log.blocking_append([put(10, "c", "3")]).await?,
        }
        Ok(())
    }
}

const STEPS: u64 = 10;

/// A snapshot that another node has made, of two buckets' worth of pages.
fn other_snapshot() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory can be made");
    run(async {
        let mut machine = machine_on(&in_memory(), dir.path());
        let entries = (1..6).map(|index| put(index, &format!("other {index}"), vec![9; 300]));
        machine.apply(entries).await.expect("they are applied");
        let built = machine.get_snapshot_builder().await.build_snapshot().await;
        let mut bytes = Vec::new();
        let mut file = built.expect("it is built").snapshot;
        tokio::io::AsyncReadExt::read_to_end(&mut file, &mut bytes).await.expect("it is read");
        bytes
    })
}

/// One way to run the workload.
#[derive(Clone, Copy)]
struct Trial<'t> {
    files: &'t [&'t str],
    fault: Option<Fault>,
    /// Whether the power fails again while the check runs.
    is_nested: bool,
    dir: &'t Path,
    snapshot: &'t [u8],
    /// What a node holds after each number of steps.
    expected: &'t [Held],
}

impl Trial<'_> {
    /// Does the steps, until one fails.
    fn work(&self, disk: &SimDisk) -> Checked {
        if let Some(fault) = self.fault {
            disk.inject(fault);
        }
        match self.do_steps(disk) {
            Err(error) if disk.has_fault_struck() => {
                // Of a disk that fails, nothing is damaged, and nothing panics.
                let told = error.to_string();
                let wrong = ["panic", "not done", "is damaged", "corrupt", "internal"];
                if wrong.iter().any(|word| told.contains(word)) { Err(error) } else { Ok(()) }
            }
            worked => worked,
        }
    }

    fn do_steps(&self, disk: &SimDisk) -> Checked {
        let mut node = Node::open(disk, self.files, self.dir)?;
        run(async {
            for step in 1..=STEPS {
                disk.started(step);
                node.step(step, self.snapshot).await?;
                disk.acknowledged(step);
            }
            Ok(())
        })
    }

    fn check(&self, disk: &SimDisk, crash: &Crash) -> Checked {
        let mut node = Node::open(disk, self.files, self.dir)?;
        run(async {
            let held = node.held().await?;
            let steps = crash.acknowledged()..=crash.started();
            let is_after = |step| usize::try_from(step).is_ok_and(|at| self.expected[at] == held);
            if !steps.clone().any(is_after) {
                return Err(format!("after one of the steps {steps:?} it holds {held:?}").into());
            }
            let committed = node.log.read_committed().await?;
            if committed.is_some_and(|committed| committed != log_id(1, 0, 2)) {
                return Err(format!("{committed:?} was never committed").into());
            }
            // It goes out with the entries that are appended next.
            if committed.is_none() && crash.acknowledged() >= 5 {
                return Err("what was committed is gone".into());
            }
            if self.is_nested {
                // After another crash it would hold what no step has left.
                return Ok(());
            }
            // The node goes on.
            node.log.save_vote(&Vote::new(9, 1)).await?;
            node.machine.apply([put(20, "after", "1")]).await?;
            let (vote, applied) =
                (node.log.read_vote().await?, node.machine.applied_state().await?);
            if vote != Some(Vote::new(9, 1)) || applied.0 != Some(log_id(1, 0, 20)) {
                return Err(format!("it does not go on: {vote:?}, {applied:?}").into());
            }
            for db in &node.dbs {
                let report = db.verify()?;
                if !report.is_sound() {
                    return Err(format!("{report:?}").into());
                }
            }
            Ok(())
        })
    }
}

/// Runs trials of all kinds of disks and faults on these files.
fn explore_all(files: &[&str]) {
    let (dir, snapshot) = (tempfile::tempdir().expect("it can be made"), other_snapshot());
    let mut expected = Vec::new();
    let mut node = Node::open(&SimDisk::new(), files, dir.path()).expect("it opens");
    run(async {
        expected.push(node.held().await.expect("it is read"));
        for step in 1..=STEPS {
            node.step(step, &snapshot).await.expect("it is done");
            expected.push(node.held().await.expect("it is read"));
        }
    });
    drop(node);
    let explore = |name: &str, profile: Profile, nested: u32, fault| {
        let (is_nested, dir) = (nested > 0, dir.path());
        let trial =
            Trial { files, fault, is_nested, dir, snapshot: &snapshot, expected: &expected };
        let explorer = Explorer::new(format!("{name}, {files:?}")).profile(profile).nested(nested);
        let report =
            explorer.explore(|disk| trial.work(disk), |disk, crash| trial.check(disk, crash));
        assert!(report.is_verified(), "{report}");
        assert_eq!(report.struck_runs > 0, fault.is_some(), "{report}");
        assert!(report.points.len() as u64 >= STEPS, "{report}");
        println!("{report}");
    };
    explore("sectors", Profile::default(), 1, None);
    let stale =
        Profile { growth: Growth::Stale, data_sync: DataSync::LosesSize, ..Profile::default() };
    explore("old bytes and lost sizes", stale, 0, None);
    let faults = [
        (OpSet::SYNCS, Failure::Sync(SyncFailure::Drop)),
        (OpSet::SYNCS, Failure::Sync(SyncFailure::Keep)),
        (OpSet::SYNCS, Failure::Sync(SyncFailure::Revert)),
        (OpSet::WRITES, Failure::Error(Errno::Eio)),
        (OpSet::WRITES, Failure::Error(Errno::Enospc)),
        (OpSet::READS, Failure::Error(Errno::Eio)),
    ];
    for (ops, failure) in faults {
        let fault = Fault::new(ops, When::Chosen(1), failure);
        explore(&format!("{failure:?}"), Profile::default(), 0, Some(fault));
    }
}

#[test]
fn what_was_acknowledged_survives_every_crash_and_nothing_is_half() {
    explore_all(&["node.db"]);
}

#[test]
fn so_it_does_when_log_and_state_have_a_file_each() {
    explore_all(&["log.db", "state.db"]);
}

/// The check above can fail: a node that acknowledges before it has written is found out.
#[test]
fn a_log_that_acknowledges_too_early_is_found_out() {
    let dir = tempfile::tempdir().expect("it can be made");
    let report = Explorer::new("too early").explore(
        |disk| {
            let db = open_file(disk.vfs())?;
            let mut log = log_on(&db);
            run(async {
                disk.started(1);
                disk.acknowledged(1);
                Ok(log.blocking_append([blank(1, 0)]).await?)
            })
        },
        |disk, crash| {
            let mut node = Node::open(disk, &[FILE], dir.path())?;
            let found = run(node.log.try_get_log_entries(..))?.len() as u64;
            if found < crash.acknowledged() { Err("the entry is gone".into()) } else { Ok(()) }
        },
    );
    let violation = report.violation.expect("it is found out");
    assert!(violation.message.contains("the entry is gone"), "{violation}");
}
