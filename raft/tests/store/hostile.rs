//! Is whatever stands in the file a typed error, and never a panic?

use crate::common::{
    FILE, Log, LogEntry, Machine, Numbers, blank, group, in_memory, log_on, machine_on, members,
    open_file, put, run,
};
use btree_store::BTree;
use btree_store::vfs::MemVfs;
use btree_store_raft::kv::KeyValue;
use btree_store_raft::{Error, LogStore, Progress};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log_id;
use openraft::{
    BasicNode, Entry, EntryPayload, RaftLogReader, RaftSnapshotBuilder, StorageError, TokioRuntime,
    Vote,
};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// All that a node reads.
async fn read_all(log: &mut Log, machine: &mut Machine) -> Result<(), StorageError<u64>> {
    log.read_vote().await?;
    log.read_committed().await?;
    log.get_log_state().await?;
    log.try_get_log_entries(..).await?;
    log.limited_get_log_entries(0, 100).await?;
    machine.applied_state().await?;
    machine.get_snapshot_builder().await.build_snapshot().await?;
    Ok(())
}

async fn fill(log: &mut Log, machine: &mut Machine) {
    let entries: Vec<LogEntry> =
        vec![blank(1, 0), members(1, [1, 2, 3]), put(2, "a", "1"), put(3, "b", vec![7; 900])];
    log.save_vote(&Vote::new(3, 1)).await.expect("saved");
    log.save_committed(Some(log_id(1, 0, 3))).await.expect("noted");
    log.blocking_append(entries.clone()).await.expect("appended");
    log.purge(log_id(1, 0, 0)).await.expect("purged");
    machine.apply(entries).await.expect("applied");
}

/// Records of the node, under the names that the documents of the sources give.
const RECORDS: [(&str, &[u8]); 6] = [
    ("g/log", &[0, 0, 0, 0, 0, 0, 0, 2]),
    ("g/log", &[0, 0, 0, 0, 0, 0, 0, 3]),
    ("g/log-meta", b"vote"),
    ("g/log-meta", b"purged"),
    ("g/log-meta", b"committed"),
    ("g/machine", b"applied"),
];

fn put_record(db: &BTree, (bucket, key): (&str, &[u8]), record: &[u8]) {
    db.exec(bucket, |txn| txn.put(key, record)).expect("it is put");
}

#[test]
fn records_that_are_cut_off_or_go_on_are_told_by_name() {
    let (db, dir) = (in_memory(), tempfile::tempdir().expect("it can be made"));
    let (mut log, mut machine) = (log_on(&db), machine_on(&db, dir.path()));
    run(async {
        fill(&mut log, &mut machine).await;
        read_all(&mut log, &mut machine).await.expect("all is well");
        for record in RECORDS {
            let whole = db.view(record.0, |txn| txn.get(record.1)).expect("it is there");
            let longer = [&whole[..], &[0]].concat();
            for bad in (0..whole.len()).map(|end| &whole[..end]).chain([&longer[..]]) {
                put_record(&db, record, bad);
                let error = read_all(&mut log, &mut machine).await.expect_err("it is damaged");
                assert!(error.to_string().contains("is damaged"), "{record:?} {bad:?}: {error}");
            }
            put_record(&db, record, &whole);
        }
        read_all(&mut log, &mut machine).await.expect("all is well again");
    });
}

#[test]
fn records_of_any_bytes_are_no_panic() {
    let (db, dir) = (in_memory(), tempfile::tempdir().expect("it can be made"));
    let (mut log, mut machine) = (log_on(&db), machine_on(&db, dir.path()));
    let mut numbers = Numbers::new(1);
    run(async {
        fill(&mut log, &mut machine).await;
        for _ in 0..300 {
            for record in RECORDS {
                let whole = db.view(record.0, |txn| txn.get(record.1)).expect("it is there");
                let mut bad = whole.clone();
                for _ in 0..=numbers.below(3) {
                    let len = bad.len() as u64;
                    let at = usize::try_from(numbers.below(len)).expect("it is an index");
                    bad[at] = u8::try_from(numbers.below(256)).expect("it is a byte");
                }
                put_record(&db, record, &bad);
                if let Err(error) = read_all(&mut log, &mut machine).await {
                    let told = error.to_string();
                    assert!(!told.contains("panic"), "{record:?} {bad:?}: {told}");
                }
                put_record(&db, record, &whole);
            }
        }
    });
}

#[test]
fn an_entry_under_another_index_and_a_key_that_is_none_are_damage() {
    run(async {
        let db = in_memory();
        let mut log = log_on(&db);
        log.blocking_append([blank(1, 0)]).await.expect("appended");
        let entry = db.view("g/log", |txn| txn.get([0; 8])).expect("it is there");
        put_record(&db, ("g/log", &[0, 0, 0, 0, 0, 0, 0, 1]), &entry);
        let error = log.try_get_log_entries(..).await.expect_err("it is damaged");
        assert!(error.to_string().contains("index 0 is stored under 1"), "{error}");
        put_record(&db, ("g/log", b"zzz"), &entry);
        let error = log.get_log_state().await.expect_err("it is damaged");
        assert!(error.to_string().contains("a key is no index"), "{error}");
    });
}

/// Each variant is a map in the record, and a call of a function where it is read.
#[derive(Debug, Serialize, Deserialize)]
enum Chain {
    N(Box<Chain>),
    End,
}

openraft::declare_raft_types!(
    ChainConfig: D = Chain, R = (), NodeId = u64, Node = BasicNode, Entry = Entry<ChainConfig>,
        SnapshotData = Cursor<Vec<u8>>, AsyncRuntime = TokioRuntime
);

#[test]
fn a_record_that_nests_deeper_than_a_stack_is_damage() {
    let db = in_memory();
    let mut log =
        LogStore::<ChainConfig>::open(&group(&db), Progress::unknown()).expect("it opens");
    let payload = EntryPayload::Normal(Chain::N(Box::new(Chain::End)));
    let entry: Entry<ChainConfig> = Entry { log_id: log_id(1, 0, 0), payload };
    let whole = rmp_serde::to_vec_named(&entry).expect("it can be written");
    let (link, end) = (b"\x81\xa1N", b"\xa3End");
    let head = whole.strip_suffix(&[&link[..], end].concat()[..]).expect("it ends so");
    let deep = [head, &link.repeat(100_000), end].concat();
    put_record(&db, ("g/log", &[0; 8]), &deep);
    let error = run(log.try_get_log_entries(..)).expect_err("it is damaged");
    assert!(error.to_string().contains("is damaged"), "{error}");
}

#[test]
fn another_format_is_refused_at_open() {
    let (db, dir) = (in_memory(), tempfile::tempdir().expect("it can be made"));
    put_record(&db, ("g/log-meta", b"format"), b"btree-store-raft 2");
    put_record(&db, ("g/machine", b"format"), &[0xff; 5_000]);
    let refused = Log::open(&group(&db), Progress::unknown()).map(drop);
    assert!(matches!(refused, Err(Error::Damaged { what: "group", .. })), "{refused:?}");
    let refused = Machine::open(&group(&db), KeyValue, dir.path()).map(drop);
    assert!(matches!(refused, Err(Error::Damaged { what: "group", .. })), "{refused:?}");
}

#[test]
fn an_owner_that_is_no_number_is_refused_at_open() {
    let (db, dir) = (in_memory(), tempfile::tempdir().expect("it can be made"));
    put_record(&db, ("g/machine", b"owner"), &[0; 7]);
    let refused = Machine::open(&group(&db), KeyValue, dir.path()).map(drop);
    assert!(matches!(refused, Err(Error::Damaged { what: "owner", .. })), "{refused:?}");
    put_record(&db, ("g/log-meta", b"owner"), &[0; 9]);
    let refused = Log::open(&group(&db), Progress::unknown()).map(drop);
    assert!(matches!(refused, Err(Error::Damaged { what: "owner", .. })), "{refused:?}");
}

/// Opens what is in a file, and reads all of it.
fn try_file(bytes: &[u8], snapshots: &Path) -> Result<(), String> {
    let vfs = MemVfs::new();
    vfs.write_file(FILE, bytes);
    let db = open_file(Arc::new(vfs)).map_err(|error| error.to_string())?;
    let group = group(&db);
    let mut log = Log::open(&group, Progress::unknown()).map_err(|error| error.to_string())?;
    let mut machine =
        Machine::open(&group, KeyValue, snapshots).map_err(|error| error.to_string())?;
    run(read_all(&mut log, &mut machine)).map_err(|error| error.to_string())
}

#[test]
fn damage_to_the_file_is_an_error_that_names_the_page() {
    let (vfs, dir) = (MemVfs::new(), tempfile::tempdir().expect("it can be made"));
    let db = open_file(Arc::new(vfs.clone())).expect("it opens");
    run(async {
        let (mut log, mut machine) = (log_on(&db), machine_on(&db, dir.path()));
        fill(&mut log, &mut machine).await;
    });
    drop(db);
    let bytes = vfs.read_file(FILE).expect("it is there");
    assert_eq!(try_file(&bytes, dir.path()), Ok(()));
    let mut found = 0;
    for at in (0..bytes.len()).step_by(127) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        if let Err(error) = try_file(&bytes, dir.path()) {
            assert!(error.contains("corrupted"), "byte {at}: {error}");
            found += usize::from(error.contains("page"));
        }
    }
    assert!(found > 10, "{found} places were found damaged");
}

#[test]
fn a_group_in_another_format_is_left_as_it_is() {
    let db = in_memory();
    put_record(&db, ("g/log-meta", b"format"), b"btree-store-raft 2");
    let before = (db.buckets().expect("read"), db.current_seq());
    assert!(Log::open(&group(&db), Progress::unknown()).is_err());
    assert_eq!((db.buckets().expect("read"), db.current_seq()), before);
}
