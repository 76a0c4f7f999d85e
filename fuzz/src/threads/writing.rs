//! What threads do that write: each kind of transaction, such as fail among them.
//!
//! Owns: the writer. Must not know: what is read elsewhere.

use crate::must;
use crate::pairs::{Draw, check, if_there, key, stamp, value};
use btree_store::{BTree, Durability, Error, OwnedTxn, Result, Snapshot, Txn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;

/// What a transaction writes that does not commit. No value of a key is like it.
const NEVER_SEEN: &str = "not to be seen";
const ON_PURPOSE: &str = "on purpose";

pub struct Writer<'a> {
    pub db: BTree,
    pub draw: Draw,
    pub stop: &'a AtomicBool,
    pub keeper: Sender<Snapshot>,
    /// What values are stamped with; no other writer has it.
    pub stamp: u64,
}

impl Writer<'_> {
    /// How often it has written until it was stopped.
    pub fn run(mut self) -> u64 {
        let mut writes = 0;
        while !self.stop.load(Ordering::Relaxed) {
            must(self.write());
            self.stamp += 1;
            writes += 1;
        }
        writes
    }

    fn write(&mut self) -> Result<()> {
        let at = self.draw.key();
        match self.draw.below(13) {
            0..=2 => self.batch(),
            3 => self.two_buckets(at),
            4 | 5 => self.owned(at),
            6 => self.transact(at),
            7 => self.put_from(at),
            8 => {
                let range = key(at)..key(at + 200);
                let range = range.start.as_str()..range.end.as_str();
                self.db.exec("h", |txn| txn.delete_range(range)).map(drop)
            }
            9 => self.bulk_load(),
            10 => {
                let snapshot = self.db.snapshot();
                self.keeper.send(snapshot).expect("the keeper outlives the writers");
                self.db.sync()
            }
            11 => {
                self.panics(at);
                Ok(())
            }
            _ => {
                self.fails(at);
                Ok(())
            }
        }
    }

    fn batch(&mut self) -> Result<()> {
        let (draw, stamp) = (&mut self.draw, self.stamp);
        self.db.exec("g", |txn| {
            for _ in 0..=draw.below(60) {
                let at = draw.key();
                txn.put(key(at), value(at, stamp, draw.len()))?;
            }
            if draw.once_in(3) {
                let at = draw.key();
                txn.remove(key(at))?;
                if let Some(value) = txn.find(key(at + 1))? {
                    check(key(at + 1), &value);
                }
            }
            if draw.once_in(3) {
                share(txn, draw);
            }
            if draw.once_in(3) {
                txn.set_durability(Durability::Deferred);
            }
            Ok(())
        })
    }

    /// In both buckets, or in none; and an inner transaction that fails alone.
    fn two_buckets(&self, at: u64) -> Result<()> {
        self.db.exec_multi(|multi| {
            for bucket in ["g", "h"] {
                multi.exec(bucket, |txn| txn.put(key(at), value(at, self.stamp, 30)))?;
            }
            let failed = multi.exec("g", |txn| {
                txn.put(key(at), NEVER_SEEN)?;
                txn.put(key(at + 3), NEVER_SEEN)?;
                Err::<(), _>(Error::NotFound)
            });
            assert_eq!(failed, Err(Error::NotFound));
            Ok(())
        })
    }

    /// An optimistic transaction that threads share, and that ends on another.
    fn owned(&mut self, at: u64) -> Result<()> {
        let txn = self.db.begin();
        let (len, removes_more) = (self.draw.len(), self.draw.once_in(3));
        let mut bucket = txn.bucket("g")?;
        let mut range = bucket.range(key(at).as_str()..key(at + 20).as_str());
        while let Some((key, value)) = range.next_entry()? {
            check(key, value);
        }
        drop(range);
        bucket.put(key(at), value(at, self.stamp, len))?;
        bucket.remove(key(at + 5))?;
        if removes_more {
            bucket.delete_range(key(at).as_str()..key(at + 8).as_str())?;
        }
        drop(bucket);
        thread::scope(|scope| {
            for bucket in ["g", "h"] {
                let (txn, stamp, draw) = (&txn, self.stamp, self.draw.apart());
                scope.spawn(move || must(read_and_put(txn, bucket, stamp, draw)));
            }
        });
        let commits = !self.draw.once_in(4);
        thread::scope(|scope| {
            scope.spawn(move || if commits { commit(txn) } else { drop(txn) });
        });
        Ok(())
    }

    /// Again and again until nobody was ahead.
    fn transact(&mut self, at: u64) -> Result<()> {
        self.db.transact(|txn| {
            let mut bucket = txn.bucket("h")?;
            let old = bucket.find(key(at))?.map_or(0, |value| stamp(&value));
            bucket.put(key(at), value(at, old + 1, 40))
        })
    }

    fn put_from(&mut self, at: u64) -> Result<()> {
        let len = if self.draw.once_in(2) { 300_000 } else { 9_000 };
        let bytes = value(at, self.stamp, len);
        let (len, mut reader) = (bytes.len() as u64, bytes.as_slice());
        if self.draw.once_in(2) {
            return self.db.exec("h", |txn| txn.put_from(key(at), len, &mut reader));
        }
        let txn = self.db.begin();
        txn.bucket("h")?.put_from(key(at), len, &mut reader)?;
        commit(txn);
        Ok(())
    }

    fn bulk_load(&mut self) -> Result<()> {
        let bucket = format!("b{}", self.draw.below(30));
        let entries = self.draw.below(500);
        self.db.exec(&bucket, |txn| {
            txn.delete_range::<str>(..)?;
            txn.bulk_load((0..entries).map(|at| (key(at), value(at, self.stamp, 20))))
        })?;
        if self.draw.once_in(2) {
            // The other writer may have been faster.
            if_there(self.db.del_bucket(&bucket))?;
        }
        Ok(())
    }

    fn panics(&self, at: u64) {
        let writes = AssertUnwindSafe(|| {
            self.db.exec("g", |txn| -> Result<()> {
                txn.put(key(at), NEVER_SEEN)?;
                resume_unwind(Box::new(ON_PURPOSE))
            })
        });
        let why = catch_unwind(writes).expect_err("it panics");
        if why.downcast_ref::<&str>() != Some(&ON_PURPOSE) {
            resume_unwind(why);
        }
    }

    fn fails(&self, at: u64) {
        let failed = self.db.exec("g", |txn| {
            (at..at + 50).try_for_each(|at| txn.put(key(at), NEVER_SEEN))?;
            txn.del("missing")
        });
        assert_eq!(failed, Err(Error::NotFound));
    }
}

/// Threads that read in a transaction while it runs.
fn share(txn: &Txn<'_>, draw: &mut Draw) {
    let read = |mut draw: Draw| -> Result<()> {
        for _ in 0..30 {
            let key = key(draw.key());
            if let Some(value) = txn.find(&key)? {
                check(key, &value);
            }
        }
        let mut iter = txn.iter();
        for _ in 0..30 {
            let Some((key, value)) = iter.next_entry()? else { break };
            check(key, value);
        }
        Ok(())
    };
    thread::scope(|scope| {
        for draw in [draw.apart(), draw.apart()] {
            scope.spawn(|| must(read(draw)));
        }
    });
}

fn read_and_put(txn: &OwnedTxn, bucket: &str, stamp: u64, mut draw: Draw) -> Result<()> {
    let mut bucket = txn.bucket(bucket)?;
    for _ in 0..20 {
        let at = draw.key();
        if let Some(value) = bucket.find(key(at))? {
            check(key(at), &value);
        }
        bucket.put(key(at), value(at, stamp, 10))?;
    }
    Ok(())
}

fn commit(txn: OwnedTxn) {
    match txn.commit() {
        // Others were ahead.
        Err(Error::Conflict) => {}
        done => must(done),
    }
}
