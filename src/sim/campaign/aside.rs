//! What is set aside while others commit, and how a process goes on in which the storage failed.
//!
//! Owns: [`Aside`], an owned transaction that is open during an operation, and its own bucket.
//! Must not know: which operation, and what happens to it.

use super::super::Seeded;
use super::super::oracle::{
    By, Data, End, Ending, Exec, Handle, Op, Oracle, Step, Write, compare_cursors,
    compare_snapshots,
};
use super::check::{check, check_pages};
use crate::error::{Error, Result};
use crate::{BTree, OwnedTxn};

/// No other operation names it.
const BUCKET: &str = "aside";
/// Keys of such transactions, and values that are put where the storage has failed: these have one
/// page to three, so that what was given up is written over.
const KEYS: u32 = 3;
const FILLERS: u32 = 6;
/// Such transactions that are given up one after the other.
const GIVEN_UP: u64 = 3;

type Told = std::result::Result<(), String>;

/// A transaction that has put a value of some pages, which went to the file.
pub(super) struct Aside {
    txn: OwnedTxn,
    key: Data,
    value: Data,
}

/// What may have taken what was set aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    AllWentWell,
    /// A commit may have failed.
    Trouble,
}

fn value(random: &mut Seeded, len: u32) -> Data {
    let first = random.below(251);
    let bytes = (first..first + len).map(|at| (at % 251).to_le_bytes()[0]);
    Data::from(bytes.collect::<Vec<u8>>())
}

fn put_all(writes: impl Iterator<Item = Write>) -> Exec {
    let steps = writes.map(Step::Write).collect();
    Exec { bucket: BUCKET.to_owned(), steps, end: End::Commit }
}

impl Aside {
    pub(super) fn begin(db: &BTree, page_size: u32, random: &mut Seeded) -> Result<Aside> {
        let key = Data::from([random.below(KEYS).to_le_bytes()[0]]);
        let len = page_size + random.below(5 * page_size);
        let value = value(random, len);
        let txn = db.begin();
        txn.bucket(BUCKET)?.put_from(key.bytes(), u64::from(len), &mut value.bytes())?;
        Ok(Aside { txn, key, value })
    }

    /// Its value is what was put, whatever others did, or gone with what failed.
    fn check(&self, meanwhile: Meanwhile) -> Told {
        let found = self.txn.bucket(BUCKET).and_then(|bucket| bucket.get(self.key.bytes()));
        match found {
            Ok(found) if found == self.value.bytes() => Ok(()),
            Err(Error::Conflict) if meanwhile == Meanwhile::Trouble => Ok(()),
            Ok(_) => Err("what was set aside has become another value".to_owned()),
            Err(error) => Err(format!("what was set aside is read with {error}")),
        }
    }

    /// Commits it, or drops it, behind an operation that nothing has disturbed.
    pub(super) fn end(self, db: &BTree, oracle: &mut Oracle, random: &mut Seeded) -> Told {
        self.check(Meanwhile::AllWentWell)?;
        if random.below(2) == 0 {
            return Ok(());
        }
        self.commit(oracle, Meanwhile::AllWentWell)?;
        check(db, oracle)
    }

    /// Drops it. Also where the store does nothing any more, what cannot be read is the fault of
    /// what failed, and not of the file.
    pub(super) fn end_behind_trouble(aside: Option<Aside>) -> Told {
        aside.map_or(Ok(()), |aside| aside.check(Meanwhile::Trouble))
    }

    /// Commits it; it may conflict only if something has failed meanwhile.
    fn commit(self, oracle: &mut Oracle, meanwhile: Meanwhile) -> Told {
        match self.txn.commit() {
            Ok(()) => {
                let (key, value) = (self.key, self.value);
                let exec = put_all([Write::Put(key, value)].into_iter());
                oracle.apply(&Op::Owned { by: By::Begin, exec });
                Ok(())
            }
            Err(Error::Conflict) if meanwhile == Meanwhile::Trouble => Ok(()),
            Err(error) => Err(format!("what was set aside ends with {error}")),
        }
    }
}

/// What is set aside and given up is free again.
pub(super) fn give_up(store: &Handle, page_size: u32) -> Told {
    let of = |error: Error| error.to_string();
    let pages = || store.db().stats().map(|stats| (stats.free_pages, stats.pending_pages));
    let before = pages().map_err(of)?;
    for seed in 0..GIVEN_UP {
        drop(Aside::begin(store.db(), page_size, &mut Seeded::new(seed)).map_err(of)?);
    }
    let after = pages().map_err(of)?;
    let is_same = before == after;
    if is_same { Ok(()) } else { Err(format!("of pages {before:?} is {after:?}")) }
}

/// What was put when the storage failed, and may be gone with that: the disk could still lose it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    /// Up to which reader it could not.
    pub(super) since: u64,
    /// The failure that may have taken it.
    pub(super) taken_by: Option<Error>,
}

impl Put {
    /// Whether a reader of this number may say so.
    fn is_excused(self, number: u64, error: Error) -> bool {
        let may_be = |taken_by| error == taken_by || error == Error::Conflict;
        number > self.since && self.taken_by.is_some_and(may_be)
    }
}

/// Goes on with a store that holds what the oracle says, in the process in which the storage has
/// failed: what was set aside is still there for those who have it, and for nobody else, but for
/// what could still be lost.
pub(super) fn go_on(
    store: &mut Handle,
    oracle: &mut Oracle,
    (aside, put): (Option<Aside>, Put),
    page_size: u32,
    random: &mut Seeded,
) -> Told {
    check_pages(store.db())?;
    if let Some(aside) = aside {
        aside.check(Meanwhile::Trouble)?;
        aside.commit(oracle, Meanwhile::Trouble)?;
    }
    let filled = (0..FILLERS).map(|number| {
        let key = Data::from([b'f', number.to_le_bytes()[0]]);
        Write::Put(key, value(random, page_size * (1 + number % 3)))
    });
    let op = Op::Exec(put_all(filled));
    let (found, wanted) = (store.run(&op), oracle.apply(&op));
    if found != wanted || found.end != Ending::Done {
        return Err(format!("the next commit answers {found:?}"));
    }
    store
        .read_awaited(&|number, error| put.is_excused(number, error))
        .map_err(|error| format!("a value that was put before is {error}"))?;
    let stays = compare_snapshots(store, oracle).and_then(|()| compare_cursors(store, oracle));
    stays.map_err(|what| format!("what was kept has changed: {what}"))?;
    check(store.db(), oracle)
}

#[cfg(test)]
mod tests {
    use super::super::super::oracle::{Peek, Read, View};
    use super::super::super::{Errno, Failure, Fault, OpSet, SimDisk, When};
    use super::super::check::Unused;
    use super::*;
    use crate::Options;

    const PAGE: u32 = 512;

    /// A store with free pages, of which a value of some is set aside.
    fn store() -> Handle {
        let options = Options::new().page_size(PAGE).vfs(SimDisk::new().vfs());
        let mut store = Handle::open(options, "store").expect("it opens");
        for len in [20, 1, 2, 3] {
            let key = Data::from("key");
            let value = value(&mut Seeded::new(1), len * PAGE);
            let reply = store.run(&Op::Exec(put_all([Write::Put(key, value)].into_iter())));
            assert_eq!(reply.end, Ending::Done);
        }
        store
    }

    #[test]
    fn what_stays_set_aside_is_missed_where_nothing_was_done() {
        let store = store();
        let unused = Unused::of(&store);
        let aside = Aside::begin(store.db(), PAGE, &mut Seeded::new(1)).expect("there is room");
        let op = Op::Owned { by: By::Begin, exec: put_all(std::iter::empty()) };
        let reply = |end| crate::sim::oracle::Reply { steps: Vec::new(), end };
        let failed = reply(Ending::Failed(Error::Conflict));
        unused.check(&store, &op, &failed).expect_err("pages are set aside");
        unused.check(&store, &op, &reply(Ending::Done)).expect("somebody may have them");
        drop(aside);
        unused.check(&store, &op, &failed).expect("all are free again");
        give_up(&store, PAGE).expect("they are free each time");
    }

    /// A value that waits to be read is excused by a fault only where one may strike.
    #[test]
    fn a_value_that_cannot_be_read_is_told_where_nothing_fails() {
        let disk = SimDisk::new();
        let options = Options::new().page_size(PAGE).cache_bytes(0).vfs(disk.vfs());
        let mut store = Handle::open(options, "store").expect("it opens");
        // Longer than what is kept in memory.
        let value = value(&mut Seeded::new(1), 100 * PAGE);
        let put = put_all([Write::Put(Data::from("key"), value)].into_iter());
        assert_eq!(store.run(&Op::Exec(put)).end, Ending::Done);
        let open = Peek::Read(Read::Open { slot: 0, from: None });
        let view = View { bucket: BUCKET.to_owned(), steps: vec![open], end: End::Commit };
        for fails in [false, true] {
            assert_eq!(store.run(&Op::View(view.clone())).end, Ending::Done);
            if fails {
                let eio = Failure::Error(Errno::Eio);
                disk.inject(Fault::new(OpSet::READS, When::From(0), eio));
            }
            assert_eq!(store.read_awaited(&|_, _| false).is_err(), fails);
        }
    }

    /// A failure of the storage excuses readers that were made while it was there, and no others.
    #[test]
    fn only_what_was_put_meanwhile_is_excused() {
        let put = Put { since: 3, taken_by: Some(Error::IoError) };
        assert!(put.is_excused(4, Error::IoError) && put.is_excused(4, Error::Conflict));
        assert!(!put.is_excused(4, Error::Corruption) && !put.is_excused(3, Error::IoError));
        let untaken = Put { taken_by: None, ..put };
        assert!(!untaken.is_excused(4, Error::Conflict));
        // All are read, and each is asked for by its number.
        let disk = SimDisk::new();
        let options = Options::new().page_size(PAGE).cache_bytes(0).vfs(disk.vfs());
        let mut store = Handle::open(options, "store").expect("it opens");
        let value = value(&mut Seeded::new(1), 100 * PAGE);
        let fill = put_all([Write::Put(Data::from("key"), value)].into_iter());
        assert_eq!(store.run(&Op::Exec(fill)).end, Ending::Done);
        let open = |slot| Peek::Read(Read::Open { slot, from: None });
        let steps = vec![open(0), open(1)];
        let view = View { bucket: BUCKET.to_owned(), steps, end: End::Commit };
        let before = store.kept();
        assert_eq!(store.run(&Op::View(view.clone())).end, Ending::Done);
        disk.inject(Fault::new(OpSet::READS, When::From(0), Failure::Error(Errno::Eio)));
        let asked = std::cell::RefCell::new(Vec::new());
        let excuse = |number, error| {
            asked.borrow_mut().push((number, error));
            true
        };
        assert_eq!(store.read_awaited(&excuse), Ok(()));
        let asked = asked.into_inner();
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|(number, error)| *number > before && *error == Error::IoError));
        assert_eq!(store.read_awaited(&|_, _| false), Ok(()), "none is left");
    }

    #[test]
    fn what_is_set_aside_is_committed_or_lost_to_trouble() {
        let mut oracle = Oracle::new(PAGE);
        let begin = |store: &Handle| {
            let aside = Aside::begin(store.db(), PAGE, &mut Seeded::new(1));
            aside.expect("there is room")
        };
        let store = store();
        let (first, second, third) = (begin(&store), begin(&store), begin(&store));
        for aside in [&first, &second, &third] {
            aside.check(Meanwhile::AllWentWell).expect("it is there");
        }
        first.commit(&mut oracle, Meanwhile::AllWentWell).expect("nobody is ahead of it");
        assert_eq!(oracle.seq(), 1);
        second.commit(&mut oracle, Meanwhile::AllWentWell).expect_err("a conflict out of nothing");
        third.commit(&mut oracle, Meanwhile::Trouble).expect("trouble may take it");
        assert_eq!(oracle.seq(), 1);
    }
}
