//! The twin of the stream format: a writer from `docs/format.md` that shares no code with the
//! engine, and can also write what the engine would not.

use std::collections::BTreeMap;

pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
pub type Contents = BTreeMap<String, Entries>;

const BLOCK: usize = 256 * 1024;

/// The records of some contents.
pub fn records(contents: &Contents) -> Vec<u8> {
    let (mut out, mut entries, mut bytes) = (Vec::new(), 0_u64, 0_u64);
    for (name, bucket) in contents {
        bucket_record(&mut out, name.as_bytes(), bucket.len() as u64);
        for (key, value) in bucket {
            entry_record(&mut out, key, value);
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
        }
    }
    end_record(&mut out, contents.len() as u64, entries, bytes);
    out
}

pub fn bucket_record(out: &mut Vec<u8>, name: &[u8], entries: u64) {
    out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    out.extend(entries.to_le_bytes());
    out.extend(name);
}

pub fn entry_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
    out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(key);
    out.extend(value);
}

pub fn end_record(out: &mut Vec<u8>, buckets: u64, entries: u64, bytes: u64) {
    out.extend([0; 2]);
    out.extend([buckets, entries, bytes].iter().flat_map(|number| number.to_le_bytes()));
}

/// A stream of these records, in blocks of so many bytes each.
pub fn stream(page_size: u32, seq: u64, records: &[u8], block: usize) -> Vec<u8> {
    let mut out = header(1, page_size, seq);
    let mut before = out[24..28].to_vec();
    for content in records.chunks(block) {
        let len = u32::try_from(content.len()).unwrap().to_le_bytes();
        let covered = [&before, len.as_slice(), content].concat();
        before = crc32c::crc32c(&covered).to_le_bytes().to_vec();
        out.extend([len.as_slice(), &before, content].concat());
    }
    out
}

pub fn header(version: u32, page_size: u32, seq: u64) -> Vec<u8> {
    let mut out = b"BTBACKUP".to_vec();
    out.extend(version.to_le_bytes());
    out.extend(page_size.to_le_bytes());
    out.extend(seq.to_le_bytes());
    let checksum = crc32c::crc32c(&out);
    out.extend(checksum.to_le_bytes());
    out
}

/// The stream that the engine writes.
pub fn backup(page_size: u32, seq: u64, contents: &Contents) -> Vec<u8> {
    stream(page_size, seq, &records(contents), BLOCK)
}
