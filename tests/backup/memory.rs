//! How much memory a backup takes, whatever the size of the data.

use super::PIECE;
use crate::common::memory::{MIB, measure, peak, role, tell};
use btree_store::Options;
use std::fs::File;

/// Plays its role in a process of its own, where nothing else takes memory.
#[test]
fn measures_itself() {
    let Some((role, path)) = role() else { return };
    let db = Options::new().cache_bytes(1 << 20).open(path.join("data.db")).unwrap();
    let before = peak().unwrap();
    match role.as_str() {
        "file" => db.backup(path.join("copy.db")).map(drop).unwrap(),
        "stream" => {
            let mut file = File::create(path.join("stream")).unwrap();
            db.snapshot().backup_to(&mut file).map(drop).unwrap();
        }
        "pages" => {
            let mut file = File::create(path.join("pages")).unwrap();
            db.backup_since(0, &mut file).map(drop).unwrap();
        }
        "chain" => {
            let file = File::open(path.join("pages")).unwrap();
            Options::new().restore_chain([file], path.join("chain.db")).map(drop).unwrap();
        }
        _ => {
            let mut file = File::open(path.join("stream")).unwrap();
            Options::new().restore(&mut file, path.join("restored.db")).map(drop).unwrap();
        }
    }
    tell(before);
}

#[test]
fn a_backup_takes_little_memory() {
    if peak().is_none() {
        println!("skipped: this system does not tell");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().cache_bytes(1 << 20).open(dir.path().join("data.db")).unwrap();
    db.exec("large", |txn| txn.put("k", vec![7; 64 * MIB])).unwrap();
    for round in 0..6_u8 {
        // The most that is kept in memory: values that are almost large, and small entries.
        db.exec("medium", |txn| {
            (0..40_u8).try_for_each(|at| txn.put([round, at], vec![at; PIECE - 1]))
        })
        .unwrap();
        db.exec("small", |txn| {
            (0..50_000_u32).try_for_each(|at| {
                txn.put([at, u32::from(round)].map(u32::to_be_bytes).concat(), [7; 60])
            })
        })
        .unwrap();
    }
    drop(db);
    let roles = [
        ("file", 50 * MIB),
        ("stream", 2 * MIB),
        ("restore", 50 * MIB),
        ("pages", 2 * MIB),
        ("chain", 3 * MIB),
    ];
    for (role, most) in roles {
        let took = measure(role, dir.path());
        println!("{role}: {took} bytes");
        assert!(took <= most, "{role}: {took} bytes, at most {most}");
    }
}
