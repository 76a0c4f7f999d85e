//! Names of buckets that look like a slot.

use btree_store::format::META_BODY;

fn put_u32(page: &mut [u8], at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// A string with the bytes of a meta page of 512 bytes in slot 1.
fn looks_like_a_slot() -> String {
    let mut page = vec![0; 512];
    (page[4], page[8], page[16], page[40], page[48]) = (1, 1, 1, 1, 2);
    page[32..40].copy_from_slice(b"BTSTORE\0");
    put_u32(&mut page, 44, 512);
    for spare in 0..0x4000_u16 {
        [page[96], page[97]] = (spare << 1 & 0x7F00 | spare & 0x7F).to_le_bytes();
        let checksum = crc32c::crc32c(&page[4..]);
        if checksum.to_le_bytes().is_ascii() {
            put_u32(&mut page, 0, checksum);
            return String::from_utf8(page).unwrap();
        }
    }
    unreachable!("one checksum in sixteen is ASCII")
}

/// The name of a first bucket, in a store with larger pages, that has those bytes where slot 1
/// would be if pages had 512 bytes.
pub fn name_like_a_slot() -> String {
    "a".repeat(512 - META_BODY - 2) + &looks_like_a_slot()
}
