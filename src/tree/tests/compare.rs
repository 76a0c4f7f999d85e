//! Two states of a tree beside two maps: do they agree where the maps do?
//!
//! Attack: first-committer-wins.

use super::walk::Model;
use super::world::World;
use crate::node::tests::keys::Rng;
use crate::tree::Tree;
use std::ops::Bound;

fn key(number: usize) -> Vec<u8> {
    format!("key_{number:05}").into_bytes()
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = *rng.pick(&[0, 8, 8, 8, 60, 1_500]);
    vec![u8::try_from(rng.below(3)).expect("a byte"); len]
}

/// Some ranges and keys, of all of which the trees say what the maps say. Returns how often they
/// agree, and how often not.
fn compare(world: &World, then: &(Tree, Model), rng: &mut Rng, keys: usize) -> [usize; 2] {
    let (tree, model) = then;
    let mut counts = [0; 2];
    for _ in 0..10 {
        let from = if rng.percent(20) { Vec::new() } else { key(rng.below(keys)) };
        let to = (!rng.percent(20)).then(|| key(rng.below(keys)));
        let bounds =
            (Bound::Included(from.clone()), to.clone().map_or(Bound::Unbounded, Bound::Excluded));
        let is_empty = to.as_ref().is_some_and(|to| *to <= from);
        let wanted = is_empty || model.range(bounds.clone()).eq(world.model.range(bounds.clone()));
        for (one, two) in [(tree, &world.tree), (&world.tree, tree)] {
            let found = one.agrees_within(&world.store, two, (&from, to.as_deref()));
            assert_eq!(found, Ok(wanted), "{bounds:?}");
        }
        counts[usize::from(!wanted)] += 1;
        let key = key(rng.below(keys));
        let wanted = model.get(&key) == world.model.get(&key);
        assert_eq!(tree.agrees_at(&world.store, &world.tree, &key), Ok(wanted), "{key:?}");
    }
    counts
}

#[test]
fn two_states_agree_where_their_contents_do() {
    let mut counts = [0; 2];
    for seed in 0..30 {
        println!("seed {seed}");
        let mut rng = Rng(seed);
        let keys = *rng.pick(&[5, 100, 800]);
        let mut world = World::new(*rng.pick(&[512, 4096]));
        world.store.held_max = *rng.pick(&[0, usize::MAX]);
        for _ in 0..keys {
            let number = rng.below(keys);
            world.put(&key(number), &value(&mut rng));
        }
        world.seal(&mut rng);
        world.snapshot();
        let then = (world.tree.clone(), world.model.clone());
        for _ in 0..25 {
            for _ in 0..rng.below(4) {
                let number = rng.below(keys);
                match rng.below(3) {
                    0 if world.model.contains_key(&key(number)) => world.del(&key(number)),
                    // The value that it has: another page, the same entry.
                    1 if world.model.contains_key(&key(number)) => {
                        let value = world.model[&key(number)].clone();
                        world.put(&key(number), &value);
                    }
                    _ => world.put(&key(number), &value(&mut rng)),
                }
            }
            if rng.percent(30) && !world.model.is_empty() {
                world.seal(&mut rng);
            }
            let found = compare(&world, &then, &mut rng, keys);
            (0..2).for_each(|at| counts[at] += found[at]);
        }
    }
    assert!(counts.iter().all(|&count| count > 500), "{counts:?}");
}

#[test]
fn what_both_states_have_as_the_same_page_is_not_read() {
    let mut rng = Rng(1);
    let mut world = World::new(512);
    for number in 0..3_000 {
        world.put(&key(number), b"some value");
    }
    let leaves = world.seal(&mut rng).leaves as u64;
    assert!(leaves > 100);
    world.snapshot();
    let then = world.tree.clone();
    let count = |world: &World| {
        let before = world.store.reads.get();
        let agree = then.agrees_within(&world.store, &world.tree, (&[], None));
        (agree, world.store.reads.get() - before)
    };
    assert_eq!(count(&world), (Ok(true), 0));
    world.put(&key(1_500), b"some value");
    world.seal(&mut rng);
    let (agree, reads) = count(&world);
    assert_eq!(agree, Ok(true));
    assert!(reads <= 12, "{reads} pages are read, of {leaves} leaves");
    for number in 0..8 {
        world.put(&[&key(1_500), [number].as_slice()].concat(), b"a leaf splits");
        world.del(&[&key(1_500), [number].as_slice()].concat());
    }
    world.seal(&mut rng);
    let (agree, reads) = count(&world);
    assert_eq!(agree, Ok(true));
    assert!(reads <= leaves, "{reads} pages are read, of {leaves} leaves twice");
}

/// Behind a branch that was divided anew elsewhere, and for one key of a wide branch.
#[test]
fn how_a_branch_is_divided_outside_of_a_range_does_not_count() {
    let mut rng = Rng(2);
    let mut world = World::new(4096);
    for number in 0..9_000 {
        world.put(&key(number), b"some value");
    }
    let leaves = world.seal(&mut rng).leaves as u64;
    world.snapshot();
    let then = world.tree.clone();
    for number in 0..100 {
        world.put(&[&key(8_000), [number].as_slice()].concat(), b"leaves split");
    }
    assert!(world.seal(&mut rng).leaves as u64 > leaves);
    for (from, to) in [(10, 7_000), (10, 11), (8_500, 8_900)] {
        let before = world.store.reads.get();
        let bounds = (key(from), key(to));
        let agree = then.agrees_within(&world.store, &world.tree, (&bounds.0, Some(&bounds.1)));
        let reads = world.store.reads.get() - before;
        assert_eq!(agree, Ok(true));
        assert!(reads <= 6, "{reads} pages are read from {from} to {to}, of {leaves} leaves");
    }
}
