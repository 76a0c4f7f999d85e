//! Single claims on trees, each with the case that shows it.
//!
//! Attack: separators-bound-children, uniform-depth, entry-count, page-owned-once,
//! same-calls-same-bytes, snapshot-stable.

use super::store::Store;
use super::world::World;
use crate::error::{Error, ErrorDetail};
use crate::format::{LEVELS_MAX, PAGE_SIZE_MIN, key_len_max};
use crate::invariant::Invariant;
use crate::node::tests::keys::{Rng, Shape, inline_len_max};
use crate::node::{NodeMut, single_branch};
use crate::tree::{Append, Cursor, Dirty, Edit, Root, Tree, UNSEALED};

const SIZE: usize = PAGE_SIZE_MIN as usize;

fn number(i: u32) -> Vec<u8> {
    format!("{i:06}").into_bytes()
}

/// A sealed tree of these keys.
fn sealed(keys: impl Iterator<Item = Vec<u8>>, value: &[u8]) -> World {
    let mut world = World::new(SIZE);
    keys.for_each(|key| world.put(&key, value));
    world.seal(&mut Rng(0));
    world
}

#[test]
fn a_branch_of_one_child_goes_even_if_its_prefix_is_long() {
    let long = |i: u32| [&[b'p'; 120][..], &number(i)].concat();
    for order in 0..3 {
        let mut world = sealed((0..600).map(long), b"v");
        let mut keys: Vec<Vec<u8>> = (0..600).map(long).collect();
        match order {
            0 => {}
            1 => keys.reverse(),
            _ => {
                let mut rng = Rng(5);
                keys.sort_by_cached_key(|_| rng.next());
            }
        }
        for (done, key) in keys.iter().enumerate() {
            world.del(key);
            if done % 10 == 0 {
                world.check();
            }
        }
        assert!(matches!(world.tree.root, Root::Empty));
    }
}

#[test]
fn a_range_that_was_removed_can_come_back_with_other_separators() {
    let mut world = sealed((0..2100).map(number), b"value");
    for round in 0..20_u32 {
        let range = round * 90..round * 90 + 300;
        range.clone().for_each(|i| world.del(&number(i)));
        world.check();
        let longer = |i| [number(i), vec![b'0'; round as usize]].concat();
        range.clone().for_each(|i| world.put(&longer(i), b"again"));
        world.seal(&mut Rng(u64::from(round)));
        range.clone().for_each(|i| world.del(&longer(i)));
        range.for_each(|i| world.put(&number(i), b"value"));
        world.seal(&mut Rng(u64::from(round)));
    }
    assert_eq!(world.tree.entries, 2100);
}

#[test]
fn keys_of_the_longest_length_come_and_go() {
    let key = |i: u32| {
        let mut key = vec![b'k'; key_len_max(SIZE)];
        // Each key differs from its neighbours at another place.
        key[(i as usize * 7) % 120] = b'l';
        key[120..126].copy_from_slice(&number(i));
        key
    };
    let mut world = sealed((0..500).map(key), b"v");
    let level = world.check().level;
    assert!(level >= 3, "long separators make a high tree, not one of level {level}");
    for i in (0..500).step_by(2).chain((1..500).step_by(2)) {
        world.del(&key(i));
        world.check();
    }
}

#[test]
fn a_collapse_of_the_root_leaves_a_sealed_child_where_it_is() {
    // Two of these entries fill a leaf.
    let mut world = sealed((0..3).map(number), &[1; 210]);
    assert!(matches!(world.tree.root, Root::Clean(_, 1)));
    world.del(&number(2));
    assert!(!world.tree.is_dirty(), "the empty leaf went, and the root with it");
    let Root::Clean(leaf, 0) = world.tree.root else { panic!("{:?}", world.tree.root) };
    assert!(world.store.pages.contains_key(&leaf.id));
    let found = world.seal(&mut Rng(0));
    assert_eq!((found.leaves, found.branches), (1, 0));
}

#[test]
fn every_length_of_value_is_kept_inline_or_in_a_run() {
    let mut world = World::new(SIZE);
    let key = b"a key of some length";
    let edge = inline_len_max(SIZE, key);
    let lengths = (0..=edge + 3).chain([SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 1]);
    for (number, len) in lengths.enumerate() {
        world.put(key, &vec![7; len]);
        let pages = if len > edge { len.div_ceil(SIZE) } else { 0 };
        assert_eq!(world.tree.overflow_pages, pages as u64, "{len} bytes");
        if number % 3 == 0 {
            world.seal(&mut Rng(0));
        } else {
            world.check();
        }
    }
}

#[test]
fn removal_of_a_missing_key_changes_nothing() {
    let mut world = sealed((0..500).map(number), b"value");
    world.del(b"missing");
    world.del(b"");
    assert!(!world.tree.is_dirty(), "no page was made dirty");
    world.seal(&mut Rng(0));
}

#[test]
fn a_lookup_reads_one_page_a_level() {
    let world = sealed((0..5000).map(number), b"value");
    let level = world.check().level;
    for i in 0..5000 {
        let before = world.store.reads.get();
        world.get(&number(i));
        assert_eq!(world.store.reads.get() - before, u64::from(level) + 1);
    }
}

#[test]
fn clearing_a_tree_without_overflow_reads_no_leaf() {
    let mut world = sealed((0..5000).map(number), b"value");
    let branches = world.check().branches;
    let before = world.store.reads.get();
    world.clear();
    assert_eq!(world.store.reads.get() - before, branches as u64);
    world.seal(&mut Rng(0));
    assert!(world.store.pages.is_empty());
}

#[test]
fn clearing_a_tree_gives_up_its_large_values() {
    for is_sealed in [true, false] {
        let mut world = sealed((0..500).map(number), b"value");
        (0..500).step_by(9).for_each(|i| world.put(&number(i), &[3; 1300]));
        if is_sealed {
            world.seal(&mut Rng(0));
        }
        world.clear();
        assert_eq!((world.tree.entries, world.tree.overflow_pages), (0, 0));
        world.seal(&mut Rng(0));
        assert!(world.store.pages.is_empty() && world.store.runs.is_empty());
    }
}

#[test]
fn a_scan_reads_each_page_once() {
    let world = sealed((0..5000).map(number), b"value");
    let found = world.check();
    let before = world.store.reads.get();
    let mut cursor = Cursor::new(world.tree.clone());
    let (mut key, mut value) = (Vec::new(), Vec::new());
    while cursor.next(&world.store, &mut key, &mut value).expect("nothing fails here") {}
    assert_eq!(world.store.reads.get() - before, (found.leaves + found.branches) as u64);
}

/// Does the same work, with or without cursors, snapshots and undone changes in between.
fn work(disturbed: bool) -> Store {
    let (mut world, mut rng, mut other) = (World::new(SIZE), Rng(11), Rng(12));
    world.reuse = false;
    for step in 0..4000 {
        let key = Shape::ALL[step % Shape::ALL.len()].key(&mut rng, SIZE);
        let value = vec![rng.bytes(1)[0]; rng.below(300)];
        let is_put = rng.percent(60);
        if disturbed && other.percent(10) {
            world.open_cursor();
            world.save();
            world.put(&key, b"other");
            world.del(&key);
            world.use_cursor(&mut other, &key);
            // The first savepoint is the oldest; this takes the one just made.
            world.restore_latest();
            world.close_cursor(0);
        }
        if is_put {
            world.put(&key, &value);
        } else {
            world.del(&key);
        }
        if rng.percent(1) {
            world.seal(&mut rng);
        }
    }
    world.seal(&mut rng);
    world.store
}

#[test]
fn the_same_changes_make_the_same_bytes_whoever_looks_on() {
    let (plain, disturbed) = (work(false), work(true));
    let bytes = |store: &Store| -> Vec<Vec<u8>> {
        store.pages.values().map(|page| page.bytes().to_vec()).collect()
    };
    assert!(bytes(&plain) == bytes(&disturbed), "a page differs");
    assert!(plain.runs == disturbed.runs, "a run differs");
}

#[test]
fn counts_that_the_file_made_too_small_are_corruption() {
    let check = |tree: &Tree, change: &dyn Fn(&mut World) -> Result<(), Error>| {
        let mut world = sealed((0..9).map(number), &[1; 1000]);
        world.tree.entries = tree.entries;
        world.tree.overflow_pages = tree.overflow_pages;
        assert_eq!(change(&mut world), Err(Error::Corruption));
        let detail = Error::Corruption.detail();
        let Some(ErrorDetail::Corruption(corruption)) = detail else { panic!("{detail:?}") };
        assert_eq!(corruption.invariant, Invariant::EntryCount);
    };
    let del: &dyn Fn(&mut World) -> _ = &|world| world.edit(|tree, e| tree.del(e, &number(3)));
    let put: &dyn Fn(&mut World) -> _ =
        &|world| world.edit(|tree, edit| tree.put(edit, &number(3), b"small"));
    let add: &dyn Fn(&mut World) -> _ =
        &|world| world.edit(|tree, edit| tree.put(edit, b"new", b"small"));
    let counts = |entries, overflow_pages| Tree { entries, overflow_pages, ..Tree::empty() };
    check(&counts(0, 18), del);
    check(&counts(9, 1), del);
    check(&counts(9, 1), put);
    check(&counts(u64::MAX, 18), add);
}

/// A tree of the greatest height, whose right edge has no room: only a forged file has one.
fn highest() -> World {
    let mut world = World::new(SIZE);
    world.put(b"y", &[1; 200]);
    world.put(b"z", &[1; 200]);
    let Root::Dirty(mut node) = std::mem::replace(&mut world.tree.root, Root::Empty) else {
        panic!("a tree that was put into is dirty")
    };
    assert!(node.node().is_leaf());
    for level in 1..LEVELS_MAX {
        // What goes up when a branch is split lies behind the separators there.
        let first = u32::from(LEVELS_MAX - level) * 1000;
        let mut bytes = single_branch(SIZE, level, [UNSEALED, UNSEALED], &number(first));
        let mut kids = vec![None, None];
        for separator in (first + 1..).map(number) {
            if !NodeMut::new(&mut bytes).insert_branch(kids.len() - 1, &separator, UNSEALED) {
                break;
            }
            kids.push(None);
        }
        *kids.last_mut().expect("it has two at least") = Some(node);
        node = Dirty::branch(bytes, kids);
    }
    world.tree.root = Root::Dirty(node);
    world
}

type Grow = fn(&mut Tree, &mut Edit<'_>) -> Result<(), Error>;

#[test]
fn no_tree_grows_higher_than_what_is_read() {
    let grow: [Grow; 2] = [
        |tree, edit| tree.put(edit, b"zz", &[1; 200]),
        |tree, edit| Append::begin(tree.clone(), edit)?.push(edit, b"zz", &[1; 200]),
    ];
    for grow in grow {
        let mut world = highest();
        world.edit(|tree, edit| tree.put(edit, b"z", &[2; 200])).unwrap();
        assert_eq!(world.edit(grow), Err(Error::Corruption));
        let detail = Error::Corruption.detail();
        let Some(ErrorDetail::Corruption(corruption)) = detail else { panic!("{detail:?}") };
        assert_eq!(corruption.invariant, Invariant::UniformDepth);
    }
}
