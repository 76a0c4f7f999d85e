//! The longest value that a store takes, in a real file. Of 4 GiB with `BTREE_STORE_DEEP` in the
//! environment.

use crate::common::is_deep;
use btree_store::{BTree, Options, Result};
use std::io::{self, Read};

/// Bytes that say where they lie: their place among all, in words of eight bytes.
struct Places {
    at: u64,
    end: u64,
}

impl Read for Places {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        for (at, byte) in (self.at..).zip(&mut buf[..len]) {
            *byte = (at / 8).to_be_bytes()[usize::try_from(at % 8).unwrap()];
        }
        self.at += len as u64;
        Ok(len)
    }
}

/// Reads a value piece by piece, and compares it.
fn compare(db: &BTree, len: u64) -> Result<()> {
    let mut reader = db.view("b", |txn| txn.get_reader("k"))?;
    assert_eq!(reader.len(), len);
    let (mut wanted, mut found) = (Places { at: 0, end: len }, 0);
    let mut buf = Vec::new();
    while let Some(piece) = reader.next_piece()? {
        buf.resize(piece.len(), 0);
        wanted.read_exact(&mut buf).unwrap();
        assert!(buf == piece, "behind {found} bytes");
        found += piece.len() as u64;
    }
    assert_eq!(found, len);
    Ok(())
}

#[test]
fn the_longest_value_is_read_as_it_was_put() {
    let len = if is_deep() { u64::from(u32::MAX) } else { (9 << 20) + 7 };
    for page_size in [512, 4096] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.db");
        let options = || Options::new().cache_bytes(1 << 20);
        let db = options().page_size(page_size).open(&path).unwrap();
        db.exec("b", |txn| txn.put_from("k", len, &mut Places { at: 0, end: len })).unwrap();
        assert_eq!(compare(&db, len), Ok(()));
        drop(db);
        let db = options().open(&path).unwrap();
        assert_eq!(compare(&db, len), Ok(()));
        assert!(db.verify().unwrap().is_sound());
        // It goes as a whole.
        db.exec("b", |txn| txn.del("k")).unwrap();
        db.compact(0).unwrap();
        drop(db);
        assert!(std::fs::metadata(&path).unwrap().len() < 64 * u64::from(page_size));
    }
}
