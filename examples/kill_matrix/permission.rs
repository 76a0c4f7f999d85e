//! Write permission: between two syncs a store writes pages that no durable state can reach, and
//! one meta slot, which does not hold the only copy of the newest durable state.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::scripts::{PAGE, PATH, dump, fill, key, value};
use crate::matrix::walk::Walk;
use btree_store::sim::{Monitor, SimDisk, WriteEvent};
use btree_store::{BTree, Error, Iter, Options, Txn, ValueReader};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const PAGE_BYTES: u64 = PAGE as u64;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    watch(budget).err()
}

fn watch(budget: &mut Budget) -> Checked {
    let disk = SimDisk::new();
    let open = || Options::new().page_size(PAGE).cache_bytes(4 * PAGE_BYTES).vfs(disk.vfs());
    let mut db = open().open(PATH)?;
    disk.watch(Box::new(Guard::new(disk.read_file(PATH).unwrap_or_default())));
    let check = || disk.violation().map_or(Ok(()), |found| Err(Kill(found)));
    budget.spend();
    fill(&db)?;
    check()?;
    let (mut readers, mut abandoned) = (Vec::new(), None);
    for round in 0..40 {
        budget.spend();
        change(&db, round)?;
        match round % 8 {
            2 => readers.push((db.view("b", |txn| Ok(txn.iter()))?, dump(&db)?)),
            3 => abandoned = Some(Abandoned::new(&db, round)?),
            4 => drop(db.compact(0)?),
            5 => {
                abandoned.take().map_or(Ok(()), Abandoned::check)?;
                for (mut reader, contents) in readers.drain(..) {
                    let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
                    while reader.next_ref(&mut key, &mut value) {
                        let wanted = contents.get("b").and_then(|bucket| bucket.get(&key));
                        ensure(wanted == Some(&value), || "a snapshot changed".into())?;
                        count += 1;
                    }
                    let wanted = contents.get("b").map_or(0, std::collections::BTreeMap::len);
                    ensure(count == wanted, || format!("a snapshot shrank to {count}"))?;
                }
            }
            6 => {
                // The process ends without closing.
                disk.kill();
                drop(db);
                db = open().open(PATH)?;
            }
            7 => {
                drop(db);
                db = open().open(PATH)?;
            }
            _ => {}
        }
        check()?;
    }
    drop((readers, abandoned, db));
    check()
}

fn change(db: &BTree, round: u32) -> Result<(), Error> {
    db.exec("b", |txn| {
        let from = round * 5 % 40;
        (from..from + 6).try_for_each(|n| txn.put(key(n), value(n + round, 70)))?;
        let _ = (from + 10..from + 14).all(|n| txn.del(key(n)).is_ok());
        txn.put(key(17), value(round, 600 + 300 * (round as usize % 4)))
    })
}

/// Large values of transactions that came to nothing, and those who read them all the same: a
/// cursor one that the end of the file has, a reader one that has room in the file as a rule.
struct Abandoned {
    values: [Vec<u8>; 2],
    iter: Iter,
    reader: ValueReader,
}

impl Abandoned {
    fn new(db: &BTree, round: u32) -> Checked<Abandoned> {
        let values = [value(round, 12_000), value(round, 700)];
        let iter = abandon(db, &values[0], |txn| txn.iter_from(key(60)))?;
        let reader = abandon(db, &values[1], |txn| txn.get_reader(key(60)))?;
        Ok(Abandoned { values, iter, reader })
    }

    fn check(mut self) -> Checked {
        let (mut key, mut found) = (Vec::new(), Vec::new());
        let is_there = self.iter.next_ref(&mut key, &mut found);
        ensure(is_there && found == self.values[0], || "a cursor sees other bytes".into())?;
        let piece = self.reader.next_piece()?;
        ensure(piece == Some(&self.values[1]), || "a reader gets other bytes".into())
    }
}

fn abandon<R>(
    db: &BTree,
    written: &[u8],
    hold: impl FnOnce(&Txn<'_>) -> Result<R, Error>,
) -> Checked<R> {
    let mut held = None;
    let failed = db.exec("b", |txn| {
        txn.put_from(key(60), written.len() as u64, &mut &*written)?;
        held = Some(hold(txn)?);
        Err::<(), _>(Error::Conflict)
    });
    ensure(failed == Err(Error::Conflict), || format!("a closure fails: {failed:?}"))?;
    held.ok_or(Kill("a closure did not run".into()))
}

/// Knows what may be durable.
struct Guard {
    live: Vec<u8>,
    /// Of each slot: its transaction, its pages, and how many pages its file has.
    slots: Vec<Slot>,
    slot_written: Option<u64>,
}

struct Slot {
    txn: u64,
    pages: BTreeSet<u64>,
    page_count: u64,
}

impl Guard {
    fn new(live: Vec<u8>) -> Guard {
        let mut guard = Guard { live, slots: Vec::new(), slot_written: None };
        guard.fence();
        guard
    }

    fn fence(&mut self) {
        let walk = Walk::new(&self.live);
        self.slots = (0..2)
            .map(|slot| {
                let meta = walk.meta(slot);
                // A tree that cannot be followed is for others to report.
                let owners = catch_unwind(AssertUnwindSafe(|| walk.owners(meta)));
                let pages = owners.unwrap_or_default().into_keys().map(u64::from);
                Slot {
                    txn: meta.txn,
                    pages: pages.filter(|page| *page > 1).collect(),
                    page_count: u64::from(meta.page_count),
                }
            })
            .collect();
        self.slot_written = None;
    }

    fn check_page(&mut self, page: u64) -> Result<(), String> {
        if page > 1 {
            let owner = self.slots.iter().find(|slot| slot.pages.contains(&page));
            return owner.map_or(Ok(()), |slot| {
                Err(format!("page {page} is written, durable state {} has it", slot.txn))
            });
        }
        let (own, other) = if page == 0 { (0, 1) } else { (1, 0) };
        if self.slots[own].txn > self.slots[other].txn {
            return Err(format!("slot {own} is written, which holds the newest durable state"));
        }
        match self.slot_written.replace(page) {
            Some(before) if before != page => Err("both slots between two syncs".into()),
            _ => Ok(()),
        }
    }
}

impl Monitor for Guard {
    fn write(&mut self, event: &WriteEvent<'_>) -> Result<(), String> {
        let start = usize::try_from(event.offset).map_err(|error| error.to_string())?;
        let end = start + event.new.len();
        self.live.resize(self.live.len().max(end), 0);
        let size = PAGE as usize;
        let mut verdict = Ok(());
        for page in start / size..end.div_ceil(size) {
            let (from, to) = (start.max(page * size), end.min((page + 1) * size));
            // Recovery writes again what is there.
            if self.live[from..to] != event.new[from - start..to - start] {
                verdict = verdict.and_then(|()| self.check_page(page as u64));
            }
        }
        self.live[start..end].copy_from_slice(event.new);
        verdict
    }

    fn set_len(&mut self, _file: u32, _path: &Path, len: u64) -> Result<(), String> {
        self.live.resize(usize::try_from(len).map_err(|error| error.to_string())?, 0);
        match self.slots.iter().find(|slot| slot.page_count * PAGE_BYTES > len) {
            Some(slot) => Err(format!("{len} bytes are too few for state {}", slot.txn)),
            None => Ok(()),
        }
    }

    fn synced(&mut self, _file: u32, _path: &Path, succeeded: bool) -> Result<(), String> {
        if succeeded {
            self.fence();
        }
        Ok(())
    }
}
