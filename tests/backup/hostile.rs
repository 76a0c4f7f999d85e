//! Streams that are not what `backup_to` wrote.

use super::twin::{Contents, Entries, bucket_record, end_record, entry_record, header, stream};
use super::{COPY, PIECE, contents_of, in_little_memory, is_left, restore, twin};
use crate::common::story;
use crate::common::watch::{Op, Watch};
use btree_store::vfs::MemVfs;
use btree_store::{Error, Options};
use std::io::{self, Read};
use std::sync::Arc;

/// A small stream in several blocks.
fn small() -> (Contents, Vec<u8>) {
    let entries = Entries::from([
        (b"key".to_vec(), b"value".to_vec()),
        (b"kez".to_vec(), Vec::new()),
        (b"l".to_vec(), vec![3; 300]),
    ]);
    let contents =
        Contents::from([("bucket".to_owned(), entries), ("empty".to_owned(), Entries::new())]);
    let stream = stream(512, 9, &twin::records(&contents), 100);
    (contents, stream)
}

/// Refuses a stream without leaving a trace. Returns what the error says.
#[track_caller]
fn refused(stream: &[u8]) -> String {
    let vfs = MemVfs::new();
    let made = in_little_memory(stream, || restore(&vfs, stream));
    assert_eq!(made, Err(Error::Corruption));
    assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
    story(Error::Corruption)
}

#[test]
fn every_truncation_is_refused() {
    let (contents, stream) = small();
    for len in 0..stream.len() {
        let story = refused(&stream[..len]);
        assert!(story.ends_with("found the end of the stream"), "{len} bytes: {story}");
    }
    let vfs = MemVfs::new();
    restore(&vfs, &stream).unwrap();
    assert_eq!(contents_of(&vfs, COPY), contents);
}

#[test]
fn every_other_byte_is_refused() {
    let (_, stream) = small();
    for at in 0..stream.len() {
        for change in [1, 0x80, 0xFF] {
            let mut damaged = stream.clone();
            damaged[at] ^= change;
            let story = refused(&damaged);
            assert!(story.starts_with("bytes-never-panic"), "byte {at}: {story}");
        }
    }
}

#[test]
fn blocks_that_are_missing_or_elsewhere_are_refused() {
    let (_, stream) = small();
    let blocks = |stream: &[u8]| {
        let (mut at, mut ends) = (28, vec![28]);
        while at < stream.len() {
            at += 8 + u32::from_le_bytes(stream[at..at + 4].try_into().unwrap()) as usize;
            ends.push(at);
        }
        ends.windows(2).map(|ends| stream[ends[0]..ends[1]].to_vec()).collect::<Vec<_>>()
    };
    let all = blocks(&stream);
    assert!(all.len() >= 4);
    let built = |blocks: &[Vec<u8>]| [&stream[..28], &blocks.concat()].concat();
    assert_eq!(built(&all), stream);
    for at in 0..all.len() {
        let mut missing = all.clone();
        missing.remove(at);
        refused(&built(&missing));
        let mut doubled = all.clone();
        doubled.insert(at, all[at].clone());
        if at + 1 < all.len() {
            refused(&built(&doubled));
            let mut swapped = all.clone();
            swapped.swap(at, at + 1);
            refused(&built(&swapped));
        }
    }
    // Of a stream that differs by its number only.
    let other = [&header(1, 512, 10), &stream[28..]].concat();
    assert!(refused(&other).contains("block 1"));
}

#[test]
fn foreign_and_future_streams_are_named() {
    let (_, stream) = small();
    let sqlite = refused(b"SQLite format 3\0 and more of it, much longer than a header is");
    assert!(sqlite.ends_with("expected BTBACKUP, found SQLite f"), "{sqlite}");
    assert!(refused(b"").contains("expected the beginning of a backup stream"));
    let future = refused(&[&header(3, 512, 9), &stream[28..]].concat());
    assert!(future.ends_with("expected version 1 or 2 of a backup stream, found 3"), "{future}");
    for page_size in [0, 256, 513, 65_536, u32::MAX] {
        let story = refused(&twin::stream(page_size, 9, &twin::records(&Contents::new()), 100));
        assert!(story.ends_with(&format!("a page size in the header, found {page_size}")));
    }
    // A store file is no stream.
    let vfs = MemVfs::new();
    drop(super::options(&vfs, 512).open("data.db").unwrap());
    refused(&vfs.read_file("data.db").unwrap());
}

/// Records with right checksums around them.
#[track_caller]
fn refused_records(build: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut records = Vec::new();
    build(&mut records);
    refused(&stream(512, 1, &records, 1 << 18))
}

#[test]
fn records_that_the_engine_does_not_write_are_named() {
    let descending = refused_records(|out| {
        bucket_record(out, b"b", 2);
        entry_record(out, b"b", b"");
        entry_record(out, b"a", b"");
        end_record(out, 1, 2, 2);
    });
    assert!(descending.starts_with("sorted-keys"), "{descending}");
    let doubled = refused_records(|out| {
        bucket_record(out, b"b", 2);
        entry_record(out, b"a", &vec![1; PIECE]);
        entry_record(out, b"a", &vec![2; PIECE]);
        end_record(out, 1, 2, 2);
    });
    assert!(doubled.starts_with("sorted-keys"), "{doubled}");
    for names in [[b"b", b"a"], [b"b", b"b"]] {
        let story = refused_records(|out| {
            for name in names {
                bucket_record(out, name, 0);
            }
            end_record(out, 2, 0, 0);
        });
        assert!(story.starts_with("sorted-keys: expected bucket names"), "{story}");
    }
    let empty = refused_records(|out| {
        bucket_record(out, b"b", 1);
        entry_record(out, b"", b"v");
        end_record(out, 1, 1, 1);
    });
    assert!(empty.contains("expected a key of 1 to 128 bytes, in block 1, found 0"), "{empty}");
    let long = refused_records(|out| {
        bucket_record(out, b"b", 1);
        entry_record(out, &[1; 129], b"v");
    });
    assert!(long.contains("expected a key of 1 to 128 bytes, in block 1, found 129"), "{long}");
    let name = refused_records(|out| bucket_record(out, &[b'n'; 129], 0));
    assert!(name.contains("expected a bucket name of 1 to 128 bytes"), "{name}");
    let bytes = refused_records(|out| bucket_record(out, &[0xC3, 0x28], 0));
    assert!(bytes.contains("expected a bucket's name in UTF-8"), "{bytes}");
}

#[test]
fn counts_that_are_wrong_are_named() {
    for (buckets, entries, bytes) in [(2, 1, 4), (1, 0, 4), (1, 1, 5), (0, 0, 0)] {
        let story = refused_records(|out| {
            bucket_record(out, b"b", 1);
            entry_record(out, b"k", b"abc");
            end_record(out, buckets, entries, bytes);
        });
        assert!(story.starts_with("entry-count"), "{story}");
        assert!(story.ends_with("found 1 buckets, 1 entries, 4 bytes"), "{story}");
    }
    // The closing record is taken for an entry without a key.
    let many = refused_records(|out| {
        bucket_record(out, b"b", u64::MAX);
        entry_record(out, b"k", b"abc");
        end_record(out, 1, 1, 4);
    });
    assert!(many.contains("expected a key"), "{many}");
    // The entry is taken for a bucket.
    refused_records(|out| {
        bucket_record(out, b"b", 0);
        entry_record(out, b"k", b"abc");
        end_record(out, 1, 1, 4);
    });
    let more = refused_records(|out| {
        end_record(out, 0, 0, 0);
        out.extend(b"more");
    });
    assert!(more.ends_with("no bytes behind the closing record, in block 1, found 4"), "{more}");
}

#[test]
fn lengths_are_looked_at_before_memory_is_asked_for() {
    let head = header(1, 512, 1);
    for len in [0, (1 << 18) + 1, 1 << 31, u32::MAX] {
        let story = refused(&[&head, len.to_le_bytes().as_slice(), &[0; 100]].concat());
        assert!(story.ends_with(&format!("from 1 to 262144, in block 1, found {len}")), "{story}");
    }
    // A value of 4 GiB of which nothing comes.
    let mut records = Vec::new();
    bucket_record(&mut records, b"b", 1);
    records.extend([1, 0, 0xFF, 0xFF, 0xFF, 0xFF, b'k']);
    let (_, watch) = Watch::memory();
    let stream = stream(512, 1, &records, 1 << 18);
    let (ops, made) = watch.record(|| {
        Options::new().vfs(Arc::new(watch.clone())).restore(&mut stream.as_slice(), COPY)
    });
    assert_eq!(made, Err(Error::Corruption));
    let story = story(Error::Corruption);
    assert!(story.ends_with("expected block 2, found the end of the stream"), "{story}");
    let longest = ops.iter().map(|op| if let Op::SetLen(len) = op { *len } else { 0 }).max();
    assert!(longest.is_some_and(|len| len < 20 << 20), "the file was {longest:?} bytes long");
}

/// A reader that gives few bytes at a time, and fails after some.
struct Failing<'a>(&'a [u8], usize);

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::Error::other("the line is dead"));
        }
        let len = buf.len().min(7).min(self.1).min(self.0.len());
        buf[..len].copy_from_slice(&self.0[..len]);
        (self.0, self.1) = (&self.0[len..], self.1 - len);
        Ok(len)
    }
}

#[test]
fn what_the_reader_says_is_told() {
    let (contents, stream) = small();
    let mut with_large = contents.clone();
    with_large.get_mut("bucket").unwrap().insert(vec![b'm'], vec![1; PIECE + 1]);
    let large = twin::backup(512, 1, &with_large);
    let few = (0..stream.len()).map(|after| (&stream, after));
    let some = (0..large.len()).step_by(10_007).map(|after| (&large, after));
    for (stream, after) in few.chain(some) {
        let vfs = MemVfs::new();
        let options = Options::new().vfs(Arc::new(vfs.clone()));
        let found = options.restore(&mut Failing(stream, after), COPY);
        assert_eq!(found, Err(Error::IoError), "after {after} bytes");
        assert_eq!(story(Error::IoError), "read the backup: the line is dead");
        assert!(vfs.read_file(COPY).is_none() && !is_left(&vfs));
    }
    let vfs = MemVfs::new();
    let options = Options::new().vfs(Arc::new(vfs.clone()));
    options.restore(&mut Failing(&stream, usize::MAX), COPY).unwrap();
    assert_eq!(contents_of(&vfs, COPY), contents);
}

#[test]
fn damage_in_a_value_that_comes_in_pieces_is_told_as_such() {
    let entries = Entries::from([(b"k".to_vec(), vec![1; 3 * PIECE])]);
    let stream = twin::backup(512, 1, &Contents::from([("b".to_owned(), entries)]));
    for at in [PIECE, 2 * PIECE, 3 * PIECE] {
        let mut damaged = stream.clone();
        damaged[at] ^= 1;
        assert!(refused(&damaged).contains("the checksum"));
        assert!(refused(&stream[..at]).ends_with("found the end of the stream"));
    }
}
