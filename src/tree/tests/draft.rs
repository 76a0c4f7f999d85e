//! Entries that are planned, beside the same entries put into copies.
//!
//! Attack: same-calls-same-bytes.

use super::world::World;
use crate::node::tests::keys::Rng;
use crate::page::PageId;
use crate::tree::{Draft, Root};
use std::collections::BTreeMap;

const ROUNDS: usize = 60;

fn key(rng: &mut Rng) -> Vec<u8> {
    let number = rng.below(3_000);
    // Few keys of the second kind, whose leaves lose a long prefix to them.
    let stem = if rng.below(50) == 0 { "k" } else { "key_with_a_prefix_" };
    format!("{stem}{number:05}").into_bytes()
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = *rng.pick(&[0, 20, 20, 20, 40, 90, 700]);
    vec![u8::try_from(rng.below(256)).expect("a byte"); len]
}

/// The pages of a tree that got the same entries in some transactions, each of a few puts.
fn pages(seed: u64, page_size: usize, held_max: usize) -> BTreeMap<PageId, Vec<u8>> {
    let mut world = World::new(page_size);
    world.store.held_max = held_max;
    let mut rng = Rng(seed);
    for _ in 0..ROUNDS {
        for _ in 0..rng.below(40) {
            let (key, value) = (key(&mut rng), value(&mut rng));
            match rng.below(10) {
                0 => world.get(&key),
                1 if world.model.contains_key(&key) => world.del(&key),
                // Without a look at it, which would carry out the plan.
                _ => {
                    world.edit(|tree, edit| tree.put(edit, &key, &value)).expect("nothing fails");
                    world.model.insert(key, value.into());
                }
            }
        }
        if !world.model.is_empty() {
            world.seal(&mut Rng(1));
        }
    }
    let pages = world.store.pages.iter();
    pages.map(|(&id, page)| (id, page.bytes().to_vec())).collect()
}

#[test]
fn a_planned_entry_leaves_the_bytes_that_a_changed_copy_would() {
    for page_size in [512, 1024, 4096] {
        for seed in 0..10 {
            let copied = pages(seed, page_size, 0);
            for held_max in [3, usize::MAX] {
                let planned = pages(seed, page_size, held_max);
                assert!(planned == copied, "page size {page_size}, seed {seed}, {held_max} held");
            }
        }
    }
}

#[test]
fn a_transaction_holds_as_many_leaves_as_it_may() {
    for held_max in [0, 1, 5, 20] {
        let mut world = World::new(4096);
        let key = |i: usize| format!("{i:05}").into_bytes();
        for i in 0..1_000 {
            world.edit(|tree, edit| tree.put(edit, &key(i), &[0; 150])).expect("nothing fails");
            world.model.insert(key(i), [0; 150].into());
        }
        world.seal(&mut Rng(1));
        world.store.held_max = held_max;
        for i in (0..1_000).step_by(30) {
            world.edit(|tree, edit| tree.put(edit, &key(i), &[1; 150])).expect("nothing fails");
            world.model.insert(key(i), [1; 150].into());
        }
        let Root::Dirty(root) = &world.tree.root else { panic!("a tree that was changed") };
        let is_planned = |bytes: &Draft| matches!(bytes, Draft::Planned(_));
        let planned = root.kids().iter().flatten().filter(|kid| is_planned(&kid.bytes)).count();
        // The root was given up first.
        assert_eq!(planned, held_max.saturating_sub(1));
        world.seal(&mut Rng(1));
    }
}
