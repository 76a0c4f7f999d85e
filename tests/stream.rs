//! Large values that are read piece by piece: little is in memory, and nothing that is damaged
//! is read to its end.
//!
//! Attacks: parent-holds-checksum, snapshot-stable, errors-stick.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a step of a claim that fails is a failed test")]

mod common;

use btree_store::vfs::MemVfs;
use btree_store::{BTree, DetailedError, Error, Options, Result, ValueReader};
use common::random::Random;
use common::watch::{Op, Watch};
use common::{NAME, corruption, holding, on};
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex};

const PAGE: usize = 512;
/// What a reader holds at most, as its documentation says.
const PIECE: usize = 1 << 18;

fn tiny(vfs: impl btree_store::vfs::Vfs) -> Options {
    on(vfs).page_size(u32::try_from(PAGE).unwrap())
}

fn filled(entries: &[(&str, &[u8])]) -> MemVfs {
    let vfs = MemVfs::new();
    let db = tiny(vfs.clone()).open(NAME).unwrap();
    db.exec("b", |txn| entries.iter().try_for_each(|(key, value)| txn.put(key, value))).unwrap();
    vfs
}

fn reader(db: &BTree, key: &str) -> Result<ValueReader> {
    db.view("b", |txn| txn.get_reader(key))
}

/// What the pieces of a reader are together; none is empty, or longer than is said.
fn pieces(reader: &mut ValueReader) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = reader.next_piece()? {
        assert!((1..=PIECE).contains(&piece.len()), "a piece of {} bytes", piece.len());
        all.extend_from_slice(piece);
    }
    Ok(all)
}

/// Lengths around the borders of cells, pages, runs and pieces.
fn lengths() -> Vec<usize> {
    let borders = [0, PAGE / 4, PAGE, 2 * PAGE, 3 * PAGE, PIECE, PIECE + PAGE, 2 * PIECE];
    let around = borders.iter().flat_map(|&at| [at.saturating_sub(1), at, at + 1]);
    around.chain([100, 333, PAGE / 2, 1_000_003]).collect()
}

#[test]
fn pieces_are_the_value_together_whatever_its_length() {
    let db = tiny(MemVfs::new()).open(NAME).unwrap();
    let mut random = Random::new(1);
    for len in lengths() {
        let value = random.bytes(len);
        db.exec("b", |txn| {
            txn.put("k", &value)?;
            let mut uncommitted = txn.get_reader("k")?;
            assert_eq!(uncommitted.len(), len as u64);
            assert!(pieces(&mut uncommitted)? == value, "{len} bytes, not committed yet");
            Ok(())
        })
        .unwrap();
        let mut whole = reader(&db, "k").unwrap();
        assert_eq!((whole.len(), whole.is_empty()), (len as u64, len == 0));
        assert!(pieces(&mut whole).unwrap() == value, "{len} bytes");
        assert_eq!(whole.next_piece(), Ok(None));
        assert_eq!(whole.len(), len as u64);
        // The two ways to read may take turns.
        let (mut mixed, mut all) = (reader(&db, "k").unwrap(), Vec::new());
        loop {
            let mut some = vec![0; 1 + random.below(3 * PAGE)];
            let read = mixed.read(&mut some).unwrap();
            all.extend_from_slice(&some[..read]);
            let Some(piece) = mixed.next_piece().unwrap() else { break };
            all.extend_from_slice(piece);
        }
        assert!(all == value, "{len} bytes, read both ways");
    }
    assert_eq!(reader(&db, "missing").unwrap_err(), Error::NotFound);
    assert_eq!(reader(&db, "").unwrap_err(), Error::Invalid);
}

#[test]
fn no_request_to_the_storage_is_longer_than_a_piece() {
    let vfs = filled(&[("k", &Random::new(2).bytes(3_000_000))]);
    let watch = Watch::new(vfs);
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let (ops, len) = watch.record(|| {
        let mut reader = reader(&db, "k").unwrap();
        std::io::copy(&mut reader, &mut std::io::sink()).unwrap()
    });
    assert_eq!(len, 3_000_000);
    let longest = ops.iter().map(|op| if let Op::Read { len, .. } = op { *len } else { 0 }).max();
    assert_eq!(longest, Some(PIECE));
}

#[test]
fn a_damaged_value_is_never_read_to_its_end() {
    let value = Random::new(3).bytes(700_000);
    let bytes = filled(&[("k", &value)]).read_file(NAME).unwrap();
    let at = |part: &[u8]| bytes.windows(part.len()).position(|found| found == part).unwrap();
    let run = at(&value[..64]);
    // The last of them lies in the zeros behind the value.
    for offset in [0, 1, PAGE, PIECE - 1, PIECE, 350_000, 699_999, 700_000] {
        let mut damaged = bytes.clone();
        damaged[run + offset] ^= 0x10;
        let db = tiny(holding(&damaged)).open(NAME).unwrap();
        let told = db.view("b", |txn| {
            let mut reader = txn.get_reader("k")?;
            let mut read = 0;
            let error = loop {
                match reader.next_piece() {
                    Ok(piece) => read += piece.expect("it ends with an error").len(),
                    Err(error) => break error,
                }
            };
            assert!(read < value.len(), "the damage at {offset} was found behind the last byte");
            assert_eq!(corruption(error).1, "parent-holds-checksum");
            assert_eq!(reader.next_piece(), Err(Error::Corruption), "the error sticks");
            let again = reader.read(&mut [0; 8]).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::InvalidData);
            let inner = again.get_ref().unwrap().downcast_ref::<DetailedError>().unwrap();
            assert_eq!(inner.error, Error::Corruption);
            assert!(inner.to_string().contains("parent-holds-checksum"), "{inner}");
            assert_eq!(Error::from(again), Error::Corruption);
            assert_eq!(Error::from(std::io::Error::other(Error::Busy)), Error::Busy);
            assert_eq!(corruption(Error::Corruption).1, "parent-holds-checksum");
            Ok(())
        });
        assert_eq!(told, Err(Error::Corruption), "the transaction tells it too");
        let mut all = vec![0; value.len()];
        assert!(reader(&db, "k").unwrap().read_exact(&mut all).is_err());
    }
}

#[test]
fn a_read_that_fails_sticks_to_the_reader() {
    let vfs = filled(&[("k", &vec![7; 600_000])]);
    let watch = Watch::new(vfs);
    let db = tiny(watch.clone()).open(NAME).unwrap();
    let mut reader = reader(&db, "k").unwrap();
    assert!(reader.next_piece().unwrap().is_some());
    watch.hook(|op| match op {
        Op::Read { .. } => Err(ErrorKind::Other.into()),
        _ => Ok(()),
    });
    assert_eq!(reader.next_piece(), Err(Error::IoError));
    watch.unhook();
    assert_eq!(reader.next_piece(), Err(Error::IoError));
    assert_eq!(reader.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::Other);
}

#[test]
fn a_reader_sees_its_state_however_long_it_lives() {
    let db = Arc::new(tiny(MemVfs::new()).open(NAME).unwrap());
    let values: Vec<Vec<u8>> = (0..6).map(|seed| Random::new(seed).bytes(400_000)).collect();
    let readers = Mutex::new(Vec::new());
    for value in &values {
        db.exec("b", |txn| {
            txn.put("k", value)?;
            readers.lock().unwrap().push((&value[..], txn.get_reader("k")?));
            Ok(())
        })
        .unwrap();
        let mut begun = reader(&db, "k").unwrap();
        assert_eq!(begun.next_piece().unwrap().unwrap(), &value[..PIECE]);
        readers.lock().unwrap().push((&value[PIECE..], begun));
    }
    for _ in 0..4 {
        db.exec("b", |txn| txn.put("k", vec![0; 400_000])).unwrap();
    }
    db.compact(0).unwrap();
    for (at, (wanted, mut reader)) in readers.into_inner().unwrap().into_iter().enumerate() {
        assert!(pieces(&mut reader).unwrap() == wanted, "reader {at}");
    }
}

#[test]
fn a_piece_that_was_read_says_nothing_of_an_error() {
    let db = btree_store::Options::new().open_in_memory().unwrap();
    db.exec("b", |txn| txn.put("k", vec![7; 1_000_000])).unwrap();
    let mut reader = db.view("b", |txn| txn.get_reader("k")).unwrap();
    let error = db.exec("b", |txn| txn.put(vec![1; 100_000], "v")).unwrap_err();
    let told = error.detail();
    assert!(told.is_some());
    assert!(reader.next_piece().unwrap().is_some());
    assert_eq!(error.detail(), told);
    assert_eq!(btree_store::Error::Internal.detail(), None);
}
