//! Changes that are planned, beside the same changes made to copies.
//!
//! Attack: same-calls-same-bytes.

use super::world::World;
use crate::node::Node;
use crate::node::tests::keys::Rng;
use crate::page::PageId;
use crate::tree::plan::Plan;
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

/// The pages of a tree that met the same changes in some transactions, each of a few.
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
                2..5 if !world.model.is_empty() => {
                    let from = world.model.range(key..).next().or(world.model.iter().next());
                    let key = from.expect("it is not empty").0.clone();
                    world.edit(|tree, edit| tree.del(edit, &key)).expect("it is there");
                    world.model.remove(&key);
                }
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
fn a_planned_change_leaves_the_bytes_that_a_changed_copy_would() {
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

/// A sealed tree of a thousand entries, some twenty to a leaf.
fn world() -> World {
    let mut world = World::new(4096);
    for i in 0..1_000 {
        put(&mut world, i, 0);
    }
    world.seal(&mut Rng(1));
    world
}

fn numbered(i: usize) -> Vec<u8> {
    format!("{i:05}").into_bytes()
}

/// Puts an entry without a look at it.
fn put(world: &mut World, i: usize, byte: u8) {
    world.edit(|tree, edit| tree.put(edit, &numbered(i), &[byte; 150])).expect("nothing fails");
    world.model.insert(numbered(i), [byte; 150].into());
}

fn planned(world: &World) -> usize {
    let Root::Dirty(root) = &world.tree.root else { panic!("a tree that was changed") };
    let is_planned = |bytes: &Draft| matches!(bytes, Draft::Planned(_));
    root.kids().iter().flatten().filter(|kid| is_planned(&kid.bytes)).count()
}

#[test]
fn removals_of_a_leaf_are_planned_until_it_is_small_or_somebody_looks() {
    let mut world = world();
    let del = |world: &mut World, i| {
        let removed = world.edit(|tree, edit| tree.del(edit, &numbered(i)));
        let was_there = world.model.remove(&numbered(i)).is_some();
        assert_eq!(removed.is_ok(), was_there, "{i}");
    };
    for i in [102, 100, 101, 100, 500] {
        del(&mut world, i);
    }
    assert_eq!(planned(&world), 2);
    // A copy shares the plan, and keeps what it had.
    let copy = world.tree.clone();
    del(&mut world, 103);
    assert_eq!(copy.get(&world.store, &numbered(103)), Ok(vec![0; 150]));
    for i in 100..104 {
        world.get(&numbered(i));
        del(&mut world, i);
    }
    assert_eq!(planned(&world), 2);
    del(&mut world, 104);
    assert_eq!(planned(&world), 1);
    // All of its leaf, which has no plan for its last entries.
    for i in 490..520 {
        del(&mut world, i);
    }
    put(&mut world, 105, 1);
    assert_eq!(copy.get(&world.store, &numbered(105)), Ok(vec![0; 150]));
    world.seal(&mut Rng(1));
    for i in 0..1_000 {
        world.get(&numbered(i));
    }
}

#[test]
fn a_transaction_holds_as_many_leaves_as_it_may() {
    for held_max in [0, 1, 5, 20] {
        let mut world = world();
        world.store.held_max = held_max;
        for i in (0..1_000).step_by(30) {
            put(&mut world, i, 1);
        }
        // The root was given up first.
        assert_eq!(planned(&world), held_max.saturating_sub(1));
        world.seal(&mut Rng(1));
    }
}

/// A cursor in another thread may look at a plan, and end, between two steps of who changes it.
#[test]
fn what_was_built_of_a_plan_does_not_outlive_its_next_removal() {
    let mut world = World::new(512);
    for i in 0..100 {
        world.put(format!("key{i:03}").as_bytes(), &[7; 20]);
    }
    world.seal(&mut Rng(1));
    let leaf = world.store.pages.values().find(|page| page.level() == 0).expect("a leaf");
    let count = Node::new(leaf.bytes()).count();
    let mut plan = Plan::remove(leaf);
    plan.remove_too(3);
    assert_eq!(Node::new(plan.look()).count(), count - 1);
    plan.remove_too(1);
    assert_eq!(Node::new(plan.look()).count(), count - 2);
    assert_eq!(Node::new(&plan.take()).count(), count - 2);
}
