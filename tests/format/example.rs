//! The files that the worked examples of `docs/format.md` show, written by the engine.

use btree_store::vfs::MemVfs;
use btree_store::{BTree, Options, Result};
use std::sync::Arc;

/// Page size of the worked examples, in bytes.
pub const PAGE: usize = 512;

const NAME: &str = "example";

fn create(vfs: &MemVfs) -> Result<BTree> {
    Options::new().page_size(512).vfs(Arc::new(vfs.clone())).open(NAME)
}

/// The bytes of the file, whether it is open or not.
pub fn bytes(vfs: &MemVfs) -> Vec<u8> {
    vfs.read_file(NAME).expect("the file is there")
}

/// A store in memory with these bytes.
pub fn open(bytes: &[u8]) -> Result<BTree> {
    let vfs = MemVfs::default();
    vfs.write_file(NAME, bytes);
    create(&vfs)
}

/// A key and its value.
pub type Entry = (&'static str, Vec<u8>);

/// A value of `len` bytes: a text, then zeros, which keep the dumps short.
fn padded(text: &str, len: usize) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    value.resize(len, 0);
    value
}

/// The entries of the first commit: two leaves and a branch.
pub fn fruits() -> Vec<Entry> {
    vec![
        ("fruit/apple", padded("keeps through the winter", 120)),
        ("fruit/apricot", padded("orange, with a stone", 120)),
        ("fruit/banana", padded("", 120)),
        ("fruit/cherry", padded("the birds know the day", 120)),
        ("fruit/damson", padded("for jam", 120)),
    ]
}

/// The entry of the second commit: too large for a leaf.
pub fn large() -> Entry {
    let mut value = padded("a long story of figs", 600);
    value[592..].copy_from_slice(b" the end");
    ("fruit/fig", value)
}

/// Two commits, and the bytes of the file after them.
pub fn two_commits() -> Result<Vec<u8>> {
    let vfs = MemVfs::default();
    let _db = commit_twice(&vfs)?;
    Ok(bytes(&vfs))
}

fn commit_twice(vfs: &MemVfs) -> Result<BTree> {
    let db = create(vfs)?;
    db.exec("fruit", |txn| fruits().iter().try_for_each(|(key, value)| txn.put(key, value)))?;
    let (key, value) = large();
    db.exec("fruit", |txn| txn.put(key, &value))?;
    Ok(db)
}

/// A backup of the two commits.
pub fn stream() -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    commit_twice(&MemVfs::default())?.snapshot().backup_to(&mut stream)?;
    Ok(stream)
}

/// The first page of the space log that a longer run of commits writes.
pub fn log_page() -> Result<Vec<u8>> {
    let vfs = MemVfs::default();
    let db = create(&vfs)?;
    for round in 0_u32..1000 {
        let key = (round * 7919 % 1000).to_be_bytes();
        db.exec("numbers", |txn| txn.put(key, [b'x'; 40]))?;
        let bytes = bytes(&vfs);
        let mut pages = bytes.chunks(PAGE).filter(|page| page[16] == 4 && page[17] == 0);
        // A page of a value or an unused one may look alike; the checksum tells.
        if let Some(page) = pages.find(|page| crate::decode::has_checksum(page)) {
            return Ok(page.to_vec());
        }
    }
    panic!("no page of the space log was written");
}
