//! Walks over leaves, beside a look at each of their slots.
//!
//! Attack: bytes-never-panic (a walk stays within whatever leaf it is given, also one that no
//! check accepts).

use super::hostile::{ID, PAGES, SIZE, damage, whole};
use super::keys::Rng;
use crate::buffer::Buffer;
use crate::format::{HEAD_LEN, HEADER_LEN, HEADER_PREFIX, OFFSET_LEN, PAGE_SIZE_DEFAULT};
use crate::node::{Leaf, Node, Value, Walk, Way, check_node};
use crate::page::get_u16;

/// Steps over all slots, and compares each with what the node says of it.
fn walk_over(walk: &mut Walk, page: &Buffer, way: Way) {
    let node = Node::new(page);
    walk.enter(Leaf::Built(page.clone()));
    let mut slots: Vec<usize> = (0..node.count()).collect();
    if way == Way::Backward {
        walk.place(node.count());
        slots.reverse();
    }
    for slot in slots {
        let (key, value) = if let Some(plain) = walk.look(way) {
            let (key, value) = walk.take(plain);
            (key.to_vec(), Some(value.to_vec()))
        } else {
            assert_eq!(walk.step(way), Some(slot));
            (walk.key().to_vec(), walk.held_value(slot).map(<[u8]>::to_vec))
        };
        assert_eq!(key, node.key(slot));
        match node.value(slot) {
            Value::Inline(held) => assert_eq!(value.as_deref(), Some(held)),
            _ => assert_eq!(value, None),
        }
        assert_eq!(walk.key(), key);
    }
    assert!(walk.look(way).is_none() && walk.step(way).is_none());
}

/// Looks at each slot of a leaf of which nothing is known but that its arrays lie in it.
fn look_everywhere(walk: &mut Walk, page: &Buffer) -> usize {
    let node = Node::new(page);
    let prefix = usize::from(get_u16(page, HEADER_PREFIX));
    let arrays = node.count() * (HEAD_LEN + OFFSET_LEN);
    if !node.is_leaf() || HEADER_LEN + prefix.next_multiple_of(4) + arrays > page.len() {
        return 0;
    }
    walk.enter(Leaf::Built(page.clone()));
    let mut bytes = 0;
    for at in 0..node.count() {
        for (way, place) in [(Way::Forward, at), (Way::Backward, at + 1)] {
            walk.place(place);
            if let Some(plain) = walk.look(way) {
                let (key, value) = walk.take(plain);
                bytes += key.iter().chain(value).map(|&byte| usize::from(byte)).sum::<usize>();
            }
        }
    }
    bytes
}

#[test]
fn walks_show_what_nodes_say() {
    let (mut walk, mut lent) = (Walk::default(), 0);
    for seed in 0..4_000 {
        let mut rng = Rng(seed);
        let size = if seed % 4 == 0 { PAGE_SIZE_DEFAULT as usize } else { SIZE };
        let mut page = whole(&mut rng, size);
        for _ in 0..4 {
            if Node::new(&page).is_leaf() && check_node(&page, ID, PAGES).is_ok() {
                walk_over(&mut walk, &page, Way::Forward);
                walk_over(&mut walk, &page, Way::Backward);
                lent += 1;
            }
            damage(&mut rng, &mut page);
        }
    }
    assert!(lent > 2_000, "{lent} leaves");
}

#[test]
fn walks_stay_within_damaged_leaves() {
    let (mut walk, mut bytes) = (Walk::default(), 0);
    for seed in 0..20_000 {
        let mut rng = Rng(seed);
        let mut page = whole(&mut rng, SIZE);
        for _ in 0..8 {
            damage(&mut rng, &mut page);
            bytes += look_everywhere(&mut walk, &page);
        }
    }
    assert!(bytes > 0, "something was lent");
}

#[test]
fn a_walk_that_left_its_leaf_lends_nothing() {
    let mut rng = Rng(1);
    let page = std::iter::repeat_with(|| whole(&mut rng, SIZE))
        .find(|page| Node::new(page).is_leaf())
        .expect("some pages are leaves");
    let mut walk = Walk::default();
    assert!(walk.look(Way::Forward).is_none() && walk.look(Way::Backward).is_none());
    walk.enter(Leaf::Built(page));
    walk.leave();
    assert!(walk.look(Way::Forward).is_none() && walk.look(Way::Backward).is_none());
    assert!(walk.node().is_none() && walk.step(Way::Forward).is_none());
}
