//! The arrays of pages of which nothing was checked.
//!
//! Attack: bytes-never-panic (no look leaves the page, whatever it says of itself).

use super::keys::Rng;
use crate::format::{
    HEADER_COUNT, HEADER_KIND, HEADER_LEN, HEADER_PREFIX, KIND_BRANCH, KIND_LEAF, LEAF_CELL_HEADER,
};
use crate::node::Sought;
use crate::node::arrays::Arrays;
use crate::node::heads::WINDOW;
use crate::page::put_u16;

/// Bytes of a page that says of itself to have so many slots and so long a prefix.
fn page(rng: &mut Rng, len: usize, kind: u8, count: usize, prefix: usize) -> Box<[u8]> {
    let mut page = rng.bytes(len);
    page[HEADER_KIND] = kind;
    for (at, value) in [(HEADER_COUNT, count), (HEADER_PREFIX, prefix)] {
        put_u16(&mut page, at, u16::try_from(value).expect("it fits its field"));
    }
    // Nothing lies behind the last byte, so that a look there is found under a sanitizer.
    page.into()
}

fn arrays(page: &[u8]) -> Option<Arrays<'_>> {
    if page[HEADER_KIND] == KIND_LEAF { Arrays::of_leaf(page) } else { Arrays::of_branch(page) }
}

#[test]
fn arrays_that_end_in_their_page_are_known_and_no_others() {
    let rng = &mut Rng(1);
    for len in [HEADER_LEN, 40, 512, 4096] {
        for (kind, per_slot, least) in [(KIND_LEAF, 6, 0), (KIND_BRANCH, 14, 8)] {
            for prefix in [0, 1, 4, 7, 8, 9, 31] {
                let padded = usize::next_multiple_of(prefix, 4);
                let taken = HEADER_LEN + padded + least + WINDOW * 4;
                let most = len.checked_sub(taken).map(|room| room / per_slot);
                for count in [0, 1, 2, 24, 25, 60, 300, 678, 0xffff] {
                    let page = page(rng, len, kind, count, prefix);
                    let is_known = most.is_some_and(|most| count <= most);
                    assert_eq!(arrays(&page).is_some(), is_known, "{count} slots of {len} bytes");
                }
            }
        }
    }
}

#[test]
fn a_search_stays_among_the_slots_whatever_they_hold() {
    let rng = &mut Rng(2);
    let mut ranked = 0;
    for round in 0..20_000 {
        let (kind, len) = (*rng.pick(&[KIND_LEAF, KIND_BRANCH]), *rng.pick(&[512, 4096]));
        let (count, prefix) = (rng.below(len / 7), *rng.pick(&[0, 0, 0, 1, 3, 7, 8, 12]));
        let page = page(rng, len, kind, count, prefix);
        let Some(arrays) = arrays(&page) else { continue };
        // A key that begins as the page says, of any length behind that.
        let rest = rng.below(13);
        let mut key = page[HEADER_LEN..HEADER_LEN + prefix].to_vec();
        key.extend_from_slice(&rng.bytes(rest));
        let sought = Sought::new(&key);
        let rank = arrays.rank(sought).expect("the key has the prefix");
        ranked += 1;
        assert!(rank.slot <= count && (!rank.is_tied || rank.slot < count), "round {round}");
        match kind {
            KIND_BRANCH => assert!(arrays.child_for(sought).is_some()),
            _ if rank.is_tied => {
                let settled = arrays.settle(sought, rank.slot, LEAF_CELL_HEADER);
                assert!(matches!(settled, Ok(slot) | Err(slot) if slot <= count), "round {round}");
            }
            _ => {}
        }
    }
    assert!(ranked > 5_000, "{ranked} pages were searched");
}

#[test]
fn a_key_ends_with_what_is_the_same_byte_by_byte() {
    let rng = &mut Rng(3);
    for _ in 0..20_000 {
        let len = rng.below(40);
        let key = rng.bytes(len);
        let (count, behind) = (rng.below(len + 1), rng.below(12));
        let mut other = key[len - count..].to_vec();
        if rng.percent(50) && count > 0 {
            other[rng.below(count)] ^= 1 << rng.below(8);
        }
        let is_same = key.ends_with(&other);
        other.extend_from_slice(&rng.bytes(behind));
        let found = Sought::new(&key).ends_with(count, &other);
        let is_known = len >= 8 && other.len() >= 8;
        assert_eq!(found, is_known.then_some(is_same), "{count} of {key:?}, {other:?}");
    }
}
