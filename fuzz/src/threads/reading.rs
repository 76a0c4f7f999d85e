//! What threads do that read: each way to a value, alone, together and from thread to thread.
//!
//! Owns: the reader, and the keeper of snapshots that others took. Must not know: what is written.

use crate::must;
use crate::pairs::{Draw, check, if_there, key};
use btree_store::{BTree, ReadOnlyTxn, Result, Snapshot};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;

/// One that opens read transactions, short ones and long ones.
pub struct Reader<'a> {
    pub db: BTree,
    pub draw: Draw,
    pub stop: &'a AtomicBool,
    pub keeper: Sender<Snapshot>,
}

impl Reader<'_> {
    /// How often it has looked until it was stopped.
    pub fn run(mut self) -> u64 {
        let (db, stop) = (self.db.clone(), self.stop);
        let mut looks = 0;
        while !stop.load(Ordering::Relaxed) {
            let bucket = if self.draw.once_in(3) { "h" } else { "g" };
            let times = if self.draw.once_in(4) { 60 } else { 2 };
            must(db.view(bucket, |txn| {
                for _ in 0..times {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    self.look(txn)?;
                    looks += 1;
                }
                Ok(())
            }));
        }
        looks
    }

    fn look(&mut self, txn: &ReadOnlyTxn<'_>) -> Result<()> {
        let draw = &mut self.draw;
        let at = draw.key();
        match draw.below(14) {
            0 | 1 => copy(txn, draw)?,
            2 => lend_many(txn, draw)?,
            3 | 4 => get_together(txn, draw)?,
            5 => scan(txn)?,
            6 => walk_to_and_fro(txn, at)?,
            7 => seek_and_hand_over(txn, at)?,
            8 => stream(txn, at)?,
            9 => keys_of_a_prefix(txn, at)?,
            10 => edges(txn, at)?,
            11 => share_snapshot(&self.db, draw),
            12 => self.keeper.send(self.db.snapshot()).expect("the keeper outlives the readers"),
            _ => lend(txn, draw)?,
        }
        Ok(())
    }
}

fn copy(txn: &ReadOnlyTxn<'_>, draw: &mut Draw) -> Result<()> {
    for _ in 0..300 {
        let key = key(draw.key());
        if let Some(value) = txn.find(&key)? {
            check(key, &value);
        }
    }
    Ok(())
}

fn lend(txn: &ReadOnlyTxn<'_>, draw: &mut Draw) -> Result<()> {
    for _ in 0..50 {
        let key = key(draw.key());
        if let Some(value) = if_there(txn.get_ref(&key))? {
            check(key, &value);
        }
    }
    Ok(())
}

/// More than a reader's slot has places for, and given back on another thread.
fn lend_many(txn: &ReadOnlyTxn<'_>, draw: &mut Draw) -> Result<()> {
    let mut lent = Vec::new();
    for _ in 0..40 {
        let key = key(draw.key());
        lent.extend(if_there(txn.get_ref(&key))?.map(|value| (key, value)));
    }
    thread::yield_now();
    for (key, value) in &lent {
        check(key, value);
    }
    thread::scope(|scope| {
        scope.spawn(|| lent.into_iter().for_each(|(key, value)| check(key, &value)));
    });
    Ok(())
}

fn get_together(txn: &ReadOnlyTxn<'_>, draw: &mut Draw) -> Result<()> {
    let keys: Vec<String> = (0..70).map(|_| key(draw.key())).collect();
    for (key, value) in keys.iter().zip(txn.get_many(&keys)?) {
        if let Some(value) = value {
            check(key, &value);
        }
    }
    Ok(())
}

/// All entries, in order, as many as the bucket says.
fn scan(txn: &ReadOnlyTxn<'_>) -> Result<()> {
    let (mut iter, mut count, mut last) = (txn.iter(), 0, Vec::new());
    while let Some((key, value)) = iter.next_entry()? {
        check(key, value);
        assert!(last.as_slice() < key, "keys are in order");
        last = key.to_vec();
        count += 1;
    }
    assert_eq!(count, txn.len());
    Ok(())
}

fn walk_to_and_fro(txn: &ReadOnlyTxn<'_>, at: u64) -> Result<()> {
    let mut range = txn.range(key(at).as_str()..);
    for _ in 0..100 {
        if let Some((key, value)) = range.next_entry()? {
            check(key, value);
        }
        if let Some((key, value)) = range.prev_entry()? {
            check(key, value);
        }
    }
    Ok(())
}

fn seek_and_hand_over(txn: &ReadOnlyTxn<'_>, at: u64) -> Result<()> {
    let mut iter = txn.iter_from(key(at))?;
    let (mut found_key, mut found) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        if !iter.prev_ref(&mut found_key, &mut found) {
            break;
        }
        check(&found_key, &found);
    }
    iter.seek(key(at))?;
    let rest = thread::spawn(move || {
        while let Some((key, value)) = must(iter.next_entry()) {
            check(key, value);
        }
    });
    rest.join().expect("what the cursor has left is whole");
    Ok(())
}

fn stream(txn: &ReadOnlyTxn<'_>, at: u64) -> Result<()> {
    if let Some(mut reader) = if_there(txn.get_reader(key(at)))? {
        let mut value = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            value.extend_from_slice(piece);
        }
        check(key(at), &value);
    }
    Ok(())
}

fn keys_of_a_prefix(txn: &ReadOnlyTxn<'_>, at: u64) -> Result<()> {
    let prefix = &key(at)[..6];
    let mut range = txn.prefix(prefix);
    while let Some(key) = range.next_key()? {
        assert!(key.starts_with(prefix.as_bytes()));
    }
    Ok(())
}

fn edges(txn: &ReadOnlyTxn<'_>, at: u64) -> Result<()> {
    for (key, value) in [txn.first()?, txn.last()?].into_iter().flatten() {
        check(key, &value);
    }
    let key = key(at);
    assert_eq!(txn.contains(&key)?, txn.find(&key)?.is_some());
    Ok(())
}

/// One snapshot that two threads read.
fn share_snapshot(db: &BTree, draw: &mut Draw) {
    let snapshot = db.snapshot();
    thread::scope(|scope| {
        for _ in 0..2 {
            let (mut draw, snapshot) = (draw.apart(), &snapshot);
            scope.spawn(move || {
                must(snapshot.view("g", |txn| lend(txn, &mut draw)));
            });
        }
    });
}

/// Drops, late and on a thread of its own, the snapshots that others took, and looks into some.
/// It ends when nobody is left to take one.
pub fn keep(snapshots: &Receiver<Snapshot>, mut draw: Draw) {
    let mut kept = VecDeque::new();
    for snapshot in snapshots {
        kept.push_back(snapshot);
        let (keeps, looks) = (draw.below(6), draw.once_in(3));
        while kept.len() as u64 > keeps {
            let Some(oldest) = kept.pop_front() else { break };
            if looks {
                must(oldest.view("g", |txn| lend(txn, &mut draw).and_then(|()| scan(txn))));
                must(oldest.buckets());
            }
        }
    }
}

/// Every entry of every bucket.
pub fn read_all(db: &BTree) -> Result<()> {
    db.buckets()?.iter().try_for_each(|bucket| db.view(bucket, scan))
}
