//! Damage at rest: flipped bits, swapped, stale and zeroed pages, truncation, extension. What
//! follows is a right answer or a typed error, never a wrong answer; and what opens with it opens
//! when the power fails too.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::scripts::{Contents, PAGE, PATH, dump, fill, key, options, roomy, value};
use btree_store::format::{HEADER_TXN, META_BODY};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error};
use std::sync::Arc;

const PAGE_BYTES: usize = PAGE as usize;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    check_all(budget).err()
}

/// A file at rest, what it held a few commits earlier, and its contents.
fn samples() -> Checked<(Vec<u8>, Vec<u8>, Contents)> {
    let vfs = Arc::new(MemVfs::new());
    let db = options(vfs.clone()).open(PATH)?;
    fill(&db)?;
    // A few commits in which pages are written anew, at the same places in the end.
    let mut older = Vec::new();
    for round in 0..6 {
        if round == 1 {
            older = vfs.read_file(PATH).unwrap_or_default();
        }
        db.exec("b", |txn| (30..40).try_for_each(|n| txn.put(key(n), value(n + round, 60))))?;
    }
    let contents = dump(&db)?;
    drop(db);
    Ok((vfs.read_file(PATH).unwrap_or_default(), older, contents))
}

fn check_all(budget: &mut Budget) -> Checked {
    let (file, older, contents) = samples()?;
    check(budget, &file, &contents, "the file as it is")?;
    let pages = file.len() / PAGE_BYTES;
    for page in 0..pages {
        let range = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
        let damage: [(&str, &dyn Fn(&mut Vec<u8>)); 5] = [
            ("flipped near its end", &|bytes| bytes[range.end - 9] ^= 4),
            ("flipped in the middle", &|bytes| bytes[range.start + 300] ^= 1),
            ("zeroed", &|bytes| bytes[range.clone()].fill(0)),
            ("stale", &|bytes| {
                if let Some(old) = older.get(range.clone()) {
                    bytes[range.clone()].copy_from_slice(old);
                }
            }),
            ("swapped", &|bytes| {
                let other = (page + 1) % pages * PAGE_BYTES;
                let (low, high) = (range.start.min(other), range.start.max(other));
                let (head, tail) = bytes.split_at_mut(high);
                head[low..low + PAGE_BYTES].swap_with_slice(&mut tail[..PAGE_BYTES]);
            }),
        ];
        for (what, change) in damage {
            let mut bytes = file.clone();
            change(&mut bytes);
            check(budget, &bytes, &contents, &format!("page {page} {what}"))?;
        }
    }
    for at in (0..file.len()).step_by(file.len() / 16) {
        check(budget, &file[..at], &contents, &format!("cut off at {at}"))?;
    }
    let longer = [file.as_slice(), &[7; 3000]].concat();
    check(budget, &longer, &contents, "extended")?;
    (0..pages).try_for_each(|page| check_torn(budget, &file, page))
}

/// A page of a file at rest is damaged, and then the next commit is torn: what opened opens.
fn check_torn(budget: &mut Budget, file: &[u8], page: usize) -> Checked {
    budget.spend();
    let mut before = file.to_vec();
    before[page * PAGE_BYTES + 300] ^= 1;
    let vfs = MemVfs::new();
    vfs.write_file(PATH, &before);
    let opened = roomy(Arc::new(vfs.clone())).open(PATH);
    let Ok(db) = opened else { return Ok(()) };
    if db.exec("torn", |txn| txn.put("k", "v")).is_err() {
        return Ok(());
    }
    let mut torn = vfs.snapshot().read_file(PATH).unwrap_or_default();
    // The slot of the commit, whose transaction is the higher one.
    let newest = torn.chunks_mut(PAGE_BYTES).take(2).max_by_key(|slot| slot[HEADER_TXN]);
    newest.ok_or_else(|| Kill("there are no slots".to_owned()))?[META_BODY - 1] ^= 1;
    let vfs = Arc::new(MemVfs::new());
    vfs.write_file(PATH, &torn);
    let opened = roomy(vfs).open(PATH);
    ensure(opened.is_ok(), || format!("page {page} damaged, the next commit torn: {opened:?}"))
}

/// Opens a damaged file and reads all of it.
fn check(budget: &mut Budget, bytes: &[u8], contents: &Contents, what: &str) -> Checked {
    budget.spend();
    let vfs = Arc::new(MemVfs::new());
    vfs.write_file(PATH, bytes);
    let opened = roomy(vfs).open(PATH);
    let typed = |error: Error| {
        ensure(error == Error::Corruption, || format!("{what}: {error:?}, not corruption"))
    };
    let db = match opened {
        Ok(db) => db,
        // An empty file is made anew, and then holds nothing.
        Err(error) => return typed(error),
    };
    if bytes.is_empty() {
        return Ok(());
    }
    check_cursors(&db, what)?;
    match dump(&db) {
        Ok(found) => ensure(found == *contents, || format!("{what}: a wrong answer")),
        Err(error) => typed(error),
    }
}

/// A cursor that met an error says so, stays where it is, and the call around it fails.
fn check_cursors(db: &BTree, what: &str) -> Checked {
    let Ok(names) = db.buckets() else { return Ok(()) };
    for name in names {
        let mut verdict: Checked<Option<Error>> = Ok(None);
        let outcome = db.view(&name, |txn| {
            let (mut key, mut value, mut count) = (Vec::new(), Vec::new(), 0);
            let mut iter = txn.iter();
            while iter.next_ref(&mut key, &mut value) {
                count += 1;
            }
            let goes_on = iter.next_ref(&mut key, &mut value);
            verdict = match iter.error() {
                Some(_) if goes_on => Err(Kill(format!("{what}: a cursor goes on"))),
                None if goes_on || count != txn.len() => {
                    Err(Kill(format!("{what}: {count} of {} entries, no error", txn.len())))
                }
                error => Ok(error),
            };
            Ok(())
        });
        let met = verdict?;
        ensure(met.is_none() || outcome == Err(Error::Corruption), || {
            format!("{what}: a cursor met {met:?}, the call returned {outcome:?}")
        })?;
    }
    Ok(())
}
