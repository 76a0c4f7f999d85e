//! Files that are not ours, or not whole, or of a later version: a typed error, and no byte of
//! them is changed.

use super::{BTree, Error, ErrorDetail, MemVfs, NAME, Options, get, place, put};
use crate::common::{self, holding, on, open};
use btree_store::format::{META_PAGE_SIZE, META_VERSION};
use std::fs;

#[test]
fn a_foreign_file_is_a_typed_error_and_stays_untouched() {
    let sqlite = [b"SQLite format 3\0".as_slice(), &[0; 4080]].concat();
    let zeros = vec![0; 100_000];
    let files: [&[u8]; 7] = [
        b"x",
        b"#!/bin/sh\necho hello\n",
        &[0; 8192],
        &[0xFF; 8192],
        &zeros,
        &sqlite,
        &b"BTSTORE\0".repeat(2_000),
    ];
    for bytes in files {
        let (dir, path) = place();
        fs::write(&path, bytes).unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
        for options in [Options::new(), Options::new().read_only(), Options::new().must_exist()] {
            let error = options.open(&path).unwrap_err();
            assert_eq!(error, Error::Corruption);
            let (_, invariant) = common::corruption(error);
            assert!(["valid-meta-whole", "checksum-covers-page"].contains(&invariant));
        }
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
    }
}

/// A pipe is no place for a store, and replacing it by one would be worse than an error.
#[cfg(unix)]
#[test]
fn a_pipe_and_a_device_are_typed_errors_and_stay_what_they_are() {
    use std::os::unix::fs::FileTypeExt;
    let (dir, path) = place();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo here");
        return;
    }
    for options in [Options::new(), Options::new().must_exist(), Options::new().read_only()] {
        let error = options.open(&path).unwrap_err();
        assert!(matches!(error.detail(), Some(ErrorDetail::Io { .. })), "{error:?}");
    }
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // By a link, so that a failure of this test does not cost the machine its device.
    let link = dir.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let error = BTree::open(&link).unwrap_err();
    assert_eq!(error, Error::IoError, "{}", common::story(error));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

/// A small file, closed or killed in the middle of its life, and what it holds.
fn small(page_size: u32) -> [Vec<u8>; 2] {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(page_size).open(NAME).unwrap();
    for i in 0..12 {
        put(&db, &format!("key_{i}"), &"v".repeat(i * 30));
    }
    let killed = vfs.read_file(NAME).unwrap();
    drop(db);
    [killed, vfs.read_file(NAME).unwrap()]
}

#[test]
fn a_file_truncated_at_any_length_is_an_error_or_a_state_that_was() {
    for page_size in [512, 1024] {
        for bytes in small(page_size) {
            let mut opened = 0;
            for len in 1..=bytes.len() {
                let vfs = holding(&bytes[..len]);
                match open(&vfs) {
                    Ok(db) => {
                        opened += 1;
                        let there = (0..12).filter(|i| get(&db, &format!("key_{i}")).is_some());
                        let count = there.count();
                        // A file whose last commit made it longer has the state before, too.
                        assert!(count >= 11, "{count} keys of {len} bytes");
                        for i in 0..count {
                            let value = get(&db, &format!("key_{i}"));
                            assert_eq!(value, Some("v".repeat(i * 30)), "at {len} bytes");
                        }
                    }
                    Err(error) => {
                        assert_eq!(common::corruption(error).1, "valid-meta-whole", "{len}");
                        assert_eq!(vfs.read_file(NAME).unwrap(), &bytes[..len]);
                    }
                }
            }
            assert!(opened > 0);
        }
    }
}

#[test]
fn a_file_with_bytes_behind_its_end_opens() {
    for bytes in small(512) {
        for extra in [1, 511, 512, 5_000] {
            let longer = [bytes.as_slice(), &vec![0xAA; extra]].concat();
            let vfs = holding(&longer);
            let db = open(&vfs).unwrap();
            assert_eq!(get(&db, "key_11"), Some("v".repeat(330)));
            for i in 0..50 {
                put(&db, &format!("more_{i}"), &"w".repeat(300));
            }
            drop(db);
            let db = open(&vfs).unwrap();
            assert_eq!(common::dump(&db, "b").unwrap().len(), 62);
        }
    }
}

/// Puts another number into both slots and seals them again.
fn with_field(bytes: &[u8], page_size: usize, at: usize, value: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for slot in [0, page_size] {
        bytes[slot + at..slot + at + 4].copy_from_slice(&value.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[slot + 4..slot + page_size]);
        bytes[slot..slot + 4].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

#[test]
fn a_file_of_a_later_version_is_a_typed_error_that_says_so() {
    for page_size in [512, 4096] {
        let [_, bytes] = small(page_size);
        for version in [0, 2, 1_000, u32::MAX] {
            let later = with_field(&bytes, page_size as usize, META_VERSION, version);
            let vfs = holding(&later);
            for options in [on(vfs.clone()), on(vfs.clone()).read_only()] {
                let error = options.open(NAME).unwrap_err();
                assert_eq!(error, Error::Corruption);
                let story = common::story(error);
                assert!(story.contains("version 1"), "{story}");
                assert!(story.contains(&version.to_string()), "{story}");
            }
            assert_eq!(vfs.read_file(NAME).unwrap(), later);
        }
    }
}

#[test]
fn a_file_of_an_impossible_page_size_is_a_typed_error() {
    let [_, bytes] = small(512);
    for size in [0, 1, 511, 65_536, 1 << 31, u32::MAX] {
        let vfs = holding(&with_field(&bytes, 512, META_PAGE_SIZE, size));
        let error = open(&vfs).unwrap_err();
        assert_eq!(common::corruption(error).1, "valid-meta-whole");
        assert!(common::story(error).contains("page size"), "{}", common::story(error));
    }
}

#[test]
fn the_error_of_a_foreign_file_says_what_is_missing() {
    let error = open(&holding(&[7; 8192])).unwrap_err();
    assert!(common::story(error).contains("magic"), "{}", common::story(error));
    let error = open(&holding(b"short")).unwrap_err();
    assert!(common::story(error).contains("found 5"), "{}", common::story(error));
}
