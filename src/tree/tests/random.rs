//! Random work on a tree and its twin, from seeds.
//!
//! Attack: sorted-keys, separators-bound-children, uniform-depth, entry-count, page-owned-once,
//! no-reuse-while-reachable, snapshot-stable.
//!
//! `BTREE_STORE_DEEP=1` runs a million operations in the place of a hundred thousand.

use super::world::World;
use crate::format::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MIN};
use crate::node::tests::keys::{Rng, Shape, inline_len};

/// What a seed does.
struct Profile {
    shapes: Vec<Shape>,
    /// Percentage of values that go to overflow runs.
    large: usize,
    /// Operations between two turns from growing to shrinking and back.
    phase: usize,
    /// Operations between two seals, on average.
    seal_every: usize,
}

impl Profile {
    fn draw(rng: &mut Rng) -> Profile {
        let shapes = match rng.below(4) {
            0 => Shape::ALL.to_vec(),
            1 => vec![Shape::Groups, Shape::Random],
            2 => vec![*rng.pick(Shape::ALL), *rng.pick(Shape::ALL)],
            _ => vec![*rng.pick(Shape::ALL)],
        };
        Profile {
            shapes,
            large: *rng.pick(&[0, 0, 2, 20, 80]),
            phase: *rng.pick(&[40, 300, 1000, 3000]),
            seal_every: *rng.pick(&[1, 30, 300, 3000]),
        }
    }

    fn key(&self, rng: &mut Rng, page_size: usize) -> Vec<u8> {
        let shape = *rng.pick(&self.shapes);
        shape.key(rng, page_size)
    }

    fn value(&self, rng: &mut Rng, page_size: usize, key: &[u8]) -> Vec<u8> {
        let len = match rng.below(100) {
            percent if percent < self.large => rng.below(4 * page_size),
            0..60 => rng.below(8),
            _ => inline_len(rng, page_size, key),
        };
        vec![rng.bytes(1)[0]; len]
    }
}

fn near(world: &World, key: Vec<u8>) -> Vec<u8> {
    world.model.range(key.clone()..).next().map_or(key, |(held, _)| held.clone())
}

fn step(world: &mut World, rng: &mut Rng, profile: &Profile, grows: bool) {
    let page_size = world.store.page_size;
    let key = profile.key(rng, page_size);
    let writes = if grows { 600 } else { 150 };
    if rng.below(50) == 0 {
        world.looks = !world.looks;
    }
    match rng.below(1000) {
        die if die < writes => {
            let value = profile.value(rng, page_size, &key);
            world.put(&key, &value);
        }
        die if die < 750 => {
            let key = if rng.percent(80) { near(world, key) } else { key };
            world.del(&key);
        }
        750..800 => world.get(&key),
        800..850 => world.contains(&near(world, key)),
        850..900 => world.use_cursor(rng, &key),
        900..905 => world.save(),
        905..908 => world.restore(rng.below(100)),
        908..915 if world.cursors() < 4 => world.open_cursor(),
        915..925 => world.close_cursor(rng.below(100)),
        925..927 if world.snapshots() < 3 => world.snapshot(),
        927..930 => world.close_snapshot(rng.below(100)),
        930..932 => drop(world.check()),
        935 => world.relocate(rng),
        932..934 if !grows => world.delete_range(&key, rng.below(300)),
        934 if !grows => delete_range(world, &key, rng.below(300)),
        _ => {
            // The value that is there grows or shrinks.
            let key = near(world, key);
            let value = profile.value(rng, page_size, &key);
            world.put(&key, &value);
        }
    }
    match rng.below(20_000) {
        0..4 => world.clear(),
        4..8 => world.roll_back(),
        _ => {}
    }
}

fn delete_range(world: &mut World, key: &[u8], count: usize) {
    let keys: Vec<Vec<u8>> =
        world.model.range(key.to_vec()..).take(count).map(|(key, _)| key.clone()).collect();
    for key in keys {
        world.del(&key);
    }
}

/// Runs one seed. Returns the highest level that the tree reached.
fn run(seed: u64, page_size: u32, steps: usize) -> u8 {
    println!("seed {seed}, page size {page_size}, {steps} steps");
    let mut rng = Rng(seed);
    let profile = Profile::draw(&mut rng);
    let mut world = World::new(page_size as usize);
    let mut level = 0;
    for number in 0..steps {
        let grows = (number / profile.phase).is_multiple_of(2);
        step(&mut world, &mut rng, &profile, grows);
        if rng.below(profile.seal_every) == 0 {
            level = level.max(world.seal(&mut rng).level);
        }
    }
    level.max(world.seal(&mut rng).level)
}

fn scale() -> usize {
    if std::env::var_os("BTREE_STORE_DEEP").is_some() { 10 } else { 1 }
}

#[test]
fn trees_of_small_pages_hold_what_their_twins_hold() {
    let levels = (0..40 * scale()).map(|seed| run(seed as u64, PAGE_SIZE_MIN, 2000));
    let level = levels.max().expect("there are seeds");
    assert!(level >= 3, "the highest tree had only {} levels", level + 1);
}

#[test]
fn trees_of_default_pages_hold_what_their_twins_hold() {
    for seed in 0..4 * scale() {
        run(1_000_000 + seed as u64, PAGE_SIZE_DEFAULT, 5000);
    }
}

/// A leaf that is planned becomes the root when the one beside it is emptied at once.
#[test]
fn small_trees_of_large_values_lose_what_their_twins_lose() {
    for seed in 0..100 * scale() {
        let mut rng = Rng(3_000_000 + seed as u64);
        let mut world = World::new(PAGE_SIZE_MIN as usize);
        world.looks = false;
        for _ in 0..20 {
            for _ in 0..rng.below(30) {
                let key = [rng.bytes(1)[0]; 21];
                world.put(&key, &vec![1; 600 + 200 * rng.below(10)]);
            }
            world.seal(&mut rng);
            for _ in 0..rng.below(3) {
                let key = near(&world, rng.bytes(1));
                world.del(&key);
            }
            world.delete_range(&[], rng.below(30));
            world.check();
        }
    }
}
