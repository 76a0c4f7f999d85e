//! Pages and logs without a file. The first byte says which codec is asked, and how.

use super::input::Input;
use super::{node, space};
use btree_store::Error;
use btree_store::format::{
    FORMAT_VERSION, HEADER_ID, HEADER_KIND, HEADER_TXN, KIND_META, MAGIC, META_MAGIC,
    META_PAGE_SIZE, META_VERSION, PAGE_SIZE_MIN,
};
use btree_store::fuzzing::{MetaPage, page_checksum};

const SIZE: usize = 512;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(6) {
        0 => node::arbitrary(&page_of(input.all())),
        1 => node::damaged(&mut input),
        2 => node::twin(&mut input),
        3 => meta(&mut input),
        4 => space::arbitrary(&mut input),
        _ => space::twin(&mut input),
    }
}

fn page_of(bytes: &[u8]) -> Vec<u8> {
    let mut page = bytes.to_vec();
    page.resize(SIZE, 0);
    page
}

/// A meta page from bytes, with or without the fields that are looked at first.
fn meta(input: &mut Input<'_>) {
    let slot = u32::from(input.byte() & 1);
    let is_made_up = !input.once_in(4);
    let mut page = page_of(input.all());
    if is_made_up {
        page[META_MAGIC..META_MAGIC + MAGIC.len()].copy_from_slice(&MAGIC);
        page[META_VERSION..META_VERSION + 4].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        page[META_PAGE_SIZE..META_PAGE_SIZE + 4].copy_from_slice(&PAGE_SIZE_MIN.to_le_bytes());
        page[HEADER_ID..HEADER_ID + 4].copy_from_slice(&slot.to_le_bytes());
        page[HEADER_KIND] = KIND_META;
        // Transactions are not counted in such numbers.
        page[HEADER_TXN + 4..HEADER_TXN + 8].fill(0);
        let checksum = page_checksum(&page);
        page[..4].copy_from_slice(&checksum.to_le_bytes());
    }
    let mut meta = match MetaPage::decode(&page, slot) {
        Ok(meta) => meta,
        Err(error) => return assert_eq!(error, Error::Corruption),
    };
    assert!(meta.file_len() >= 2 * SIZE as u64);
    let items = meta.items();
    assert!(items.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{items:?}");
    for slot in [0, 1] {
        let again = MetaPage::decode(&meta.encode(slot), slot);
        assert_eq!(again.as_ref(), Ok(&meta), "what is written is read");
    }
    match meta.rewrite_catalog() {
        Ok(names) => {
            let before = meta.clone();
            assert_eq!(meta.rewrite_catalog(), Ok(names));
            assert_eq!(meta, before, "a catalog that was written here is written alike");
        }
        Err(error) => assert_eq!(error, Error::Corruption),
    }
    match meta.space() {
        Ok(mut space) => space::use_it(&mut space),
        Err(error) => assert_eq!(error, Error::Corruption),
    }
}
