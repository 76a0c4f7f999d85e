//! Pages that cannot be read, or are not the ones their parents mean.
//!
//! Attack: parent-holds-checksum, page-knows-its-id, checksum-covers-page, child-not-newer,
//! uniform-depth, errors-stick, bytes-never-panic.

use super::store::Store;
use super::walk::walk;
use super::world::World;
use crate::buffer::Buffer;
use crate::error::{Error, ErrorDetail, Result};
use crate::format::PAGE_SIZE_MIN;
use crate::invariant::Invariant;
use crate::node::tests::keys::Rng;
use crate::node::{Node, NodeMut, Run, check_node};
use crate::page::{ChildRef, Page, PageId, TxnId};
use crate::tree::{Cursor, Edit, Expected, Move, PageRead, Repack, Root, Tree, check_child};

const SIZE: usize = PAGE_SIZE_MIN as usize;

fn number(i: u32) -> Vec<u8> {
    format!("{i:06}").into_bytes()
}

/// A sealed tree of three levels, with some large values.
fn three_levels() -> World {
    let mut world = World::new(SIZE);
    for i in 0..1500 {
        let len = if i % 50 == 0 { 700 } else { 5 };
        world.put(&number(i), &vec![b'v'; len]);
    }
    let found = world.seal(&mut Rng(0));
    assert_eq!(found.level, 2);
    world
}

type Work = fn(&mut Tree, &mut Edit<'_>) -> Result<()>;

/// Every kind of change and lookup, each beginning at the first key.
const WORKS: &[(&str, Work)] = &[
    ("get", |tree, edit| tree.get(edit.pages, &number(0)).map(drop)),
    ("contains", |tree, edit| tree.contains(edit.pages, &number(0)).map(drop)),
    ("put", |tree, edit| tree.put(edit, &number(0), b"new")),
    ("put of a large value", |tree, edit| tree.put(edit, b"0", &[1; 5000])),
    ("del", |tree, edit| tree.del(edit, &number(0))),
    ("del of many", |tree, edit| (0..200).try_for_each(|i| tree.del(edit, &number(i)))),
    ("clear", |tree, edit| tree.clear(edit)),
    ("scan", |tree, edit| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut cursor = Cursor::new(tree.clone());
        while cursor.next(edit.pages, &mut key, &mut value)? {}
        while cursor.previous(edit.pages, &mut key, &mut value)? {}
        Ok(())
    }),
    ("del of a run", |tree, edit| tree.del_run(edit, &number(0), None).map(drop)),
    ("puts together", |tree, edit| {
        let key = number(0);
        tree.put_all(edit, [(key.as_slice(), b"new".as_slice())].into_iter())
    }),
    ("repack", |tree, edit| {
        tree.repack(edit, &mut Repack::new(Vec::new(), u32::MAX, u32::MAX)).map(drop)
    }),
    ("relocate", |tree, edit| tree.relocate(edit, &mut Move::new(PageId(0), u32::MAX, u32::MAX))),
    ("seek", |tree, edit| Cursor::new(tree.clone()).seek(edit.pages, &number(0))),
];

#[test]
fn whichever_read_fails_the_error_is_returned_and_the_savepoint_is_whole() {
    let mut world = three_levels();
    let sealed = world.tree.clone();
    for (name, work) in WORKS {
        for reads in 0.. {
            world.store.reads_left.set(Some(reads));
            let done = world.edit(work);
            world.store.reads_left.set(None);
            world.tree = sealed.clone();
            walk(&world.store, &world.tree, &world.model);
            if done.is_ok() {
                assert!(reads > 0, "{name} reads nothing");
                break;
            }
            assert_eq!(done, Err(Error::IoError), "{name}, read {reads}");
        }
    }
}

fn keeps_failing(cursor: &mut Cursor, store: &Store, error: Error) {
    let detail = error.detail();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        // Another error on the thread does not take its place.
        assert_eq!(Error::invalid("something else"), Error::Invalid);
        assert_eq!(cursor.next(store, &mut key, &mut value), Err(error));
        assert_eq!(error.detail(), detail);
        assert_eq!(cursor.previous(store, &mut key, &mut value), Err(error));
        assert_eq!(cursor.seek(store, b"0"), Err(error));
        assert_eq!(cursor.error(), Some(error));
        assert_eq!(error.detail(), detail);
    }
}

#[test]
fn a_cursor_that_met_a_failed_read_keeps_failing_after_the_disk_recovered() {
    let world = three_levels();
    for reads in 0..40 {
        let mut cursor = Cursor::new(world.tree.clone());
        let (mut key, mut value) = (Vec::new(), Vec::new());
        world.store.reads_left.set(Some(reads));
        let error = loop {
            match cursor.next(&world.store, &mut key, &mut value) {
                Ok(more) => assert!(more, "there are more than 40 pages"),
                Err(error) => break error,
            }
        };
        world.store.reads_left.set(None);
        assert_eq!(error, Error::IoError);
        keeps_failing(&mut cursor, &world.store, error);
    }
}

/// Replaces a sealed page by `bytes`, whatever its parent says.
fn replace(store: &mut Store, id: PageId, bytes: Buffer, txn: TxnId) -> ChildRef {
    let page = Page::seal(bytes, id, txn);
    let child = page.child_ref();
    store.pages.insert(id, page);
    child
}

/// Makes child 0 of the page at `parent` another one. Returns how to refer to the parent now.
fn redirect(store: &mut Store, parent: PageId, child: ChildRef) -> ChildRef {
    let page = store.pages[&parent].clone();
    let mut bytes: Buffer = page.bytes().into();
    NodeMut::new(&mut bytes).set_child(0, child);
    replace(store, parent, bytes, page.txn())
}

/// The pages on the way to the first key, root first.
fn first_path(world: &World) -> Vec<PageId> {
    let Root::Clean(root, level) = world.tree.root else { panic!("the tree is sealed") };
    let mut path = vec![root.id];
    for _ in 0..level {
        let page = &world.store.pages[path.last().expect("the root is there")];
        path.push(Node::new(page.bytes()).child(0).id);
    }
    path
}

/// Does everything that meets the first path, and expects it to fail.
fn refuses(world: &mut World, invariant: Invariant) {
    let broken = world.tree.clone();
    let before = world.tree.clone();
    for (name, work) in WORKS {
        assert_eq!(world.edit(work), Err(Error::Corruption), "{name}");
        let detail = Error::Corruption.detail();
        let Some(ErrorDetail::Corruption(corruption)) = detail else { panic!("{detail:?}") };
        assert_eq!(corruption.invariant, invariant, "{name}: {corruption}");
        assert!(corruption.page.is_some());
        world.tree = before.clone();
    }
    let mut cursor = Cursor::new(broken);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let error = cursor.next(&world.store, &mut key, &mut value).expect_err("it is broken");
    keeps_failing(&mut cursor, &world.store, error);
}

#[test]
fn a_flipped_bit_is_found_at_every_level() {
    for level in 0..3 {
        for byte in [4, 8, 16, 20, 40, SIZE - 1] {
            let mut world = three_levels();
            let id = first_path(&world)[level];
            world.store.damage(id, byte);
            refuses(&mut world, Invariant::ChecksumCoversPage);
        }
    }
}

#[test]
fn a_page_put_back_to_older_content_is_found_at_every_level() {
    for level in 0..3 {
        let mut world = three_levels();
        let id = first_path(&world)[level];
        let page = world.store.pages[&id].clone();
        replace(&mut world.store, id, page.bytes().into(), TxnId(0));
        refuses(&mut world, Invariant::ParentHoldsChecksum);
    }
}

#[test]
fn a_page_at_the_place_of_another_is_found() {
    let mut world = three_levels();
    let path = first_path(&world);
    let other = world.store.pages[&path[1]].clone();
    world.store.pages.insert(path[2], other);
    refuses(&mut world, Invariant::PageKnowsItsId);
}

#[test]
fn a_child_of_another_level_is_found() {
    let mut world = three_levels();
    let path = first_path(&world);
    let leaf = world.store.pages[&path[2]].child_ref();
    let root = redirect(&mut world.store, path[0], leaf);
    world.tree.root = Root::Clean(root, 2);
    refuses(&mut world, Invariant::UniformDepth);
}

#[test]
fn a_child_newer_than_its_parent_is_found_at_every_level() {
    for level in 0..3 {
        let mut world = three_levels();
        let path = first_path(&world);
        let page = world.store.pages[&path[level]].clone();
        let newer = page.txn().next();
        let mut child = replace(&mut world.store, path[level], page.bytes().into(), newer);
        for parent in path[..level].iter().rev() {
            child = redirect(&mut world.store, *parent, child);
        }
        world.tree.root = Root::Clean(child, 2);
        refuses(&mut world, Invariant::ChildNotNewer);
    }
}

/// A store whose references hold no checksums, so that they can form a cycle.
struct Careless<'a>(&'a Store);

impl PageRead for Careless<'_> {
    fn page_size(&self) -> usize {
        self.0.page_size
    }

    fn read_node(&self, child: ChildRef, expected: Expected) -> Result<Page> {
        let page = self.0.pages[&child.id].clone();
        check_node(page.bytes(), child.id, self.0.end)?;
        check_child(page.bytes(), page.child_ref(), expected)?;
        Ok(page)
    }

    fn read_run(&self, run: Run, out: &mut Vec<u8>) -> Result<()> {
        self.0.read_run(run, out)
    }
}

#[test]
fn a_cycle_ends_in_an_error() {
    let mut world = three_levels();
    let path = first_path(&world);
    let Root::Clean(root, _) = world.tree.root else { panic!("the tree is sealed") };
    redirect(&mut world.store, path[1], root);
    let careless = Careless(&world.store);
    for (name, work) in WORKS {
        let mut edit = Edit {
            pages: &careless,
            freed: &mut vec![],
            next_handle: &mut 0,
            entered: &mut 0,
            base: TxnId(9),
        };
        let done = work(&mut world.tree.clone(), &mut edit);
        assert_eq!(done, Err(Error::Corruption), "{name}");
    }
}
