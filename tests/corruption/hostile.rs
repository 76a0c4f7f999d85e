//! Files made by somebody who computes checksums: every page is sealed, and its content is wrong.

use super::forge::{CELL_HEADER, Forge, RECORD_LEN, children_at, first_cell};
use super::{assert_named, scan};
use crate::common::counting::within;
use crate::common::slot::name_like_a_slot;
use crate::common::walk::{Walk, u16_at, u32_at};
use crate::common::watch::Watch;
use crate::common::{self, NAME, holding, on, open, put_checksum};
use btree_store::format::{
    BUCKET_LEN, CHILD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_ID, HEADER_KIND,
    HEADER_LEVEL, HEADER_PREFIX, HEADER_RUN, HEADER_TXN, KIND_BRANCH, META_BODY, META_BUCKETS,
    META_CATALOG_LEN, META_CATALOG_LEVEL, META_CATALOG_ROOT, META_FLAGS, META_ITEM_RUN, META_ITEMS,
    META_LOG_HEAD, META_LOG_PAGES, META_PAGE_COUNT, META_SPARE, META_TAIL_WORDS,
    ONE_BARRIER_PAGES_MAX,
};
use btree_store::verify::verify_path;
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Iter, Result};
use std::sync::mpsc;
use std::time::Duration;

const KEYS: usize = 600;

fn key(i: usize) -> String {
    format!("key_{i:05}_and_more")
}

/// A tree of three levels or more with one large value, and keys that share their beginnings and
/// keys that do not, made by one commit.
fn honest() -> Forge {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| {
        (0..KEYS).try_for_each(|i| txn.put(key(i), [b'v'; 40]))?;
        (1..60_u8).try_for_each(|i| txn.put([i], [b's'; 40]))?;
        (128..188_u8).try_for_each(|i| txn.put([i; 100], [b's'; 40]))?;
        txn.put("large", vec![b'l'; 2_000])
    })
    .unwrap();
    drop(db);
    let forge = Forge::new(&vfs.read_file(NAME).unwrap());
    assert!(Walk::new(&forge.bytes).page(forge.root())[HEADER_LEVEL] >= 2);
    forge
}

fn put_u16(page: &mut [u8], at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put_u32(page: &mut [u8], at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// All that a program may do with a store.
type Work = fn(&BTree) -> Result<()>;
const WORKS: &[(&str, Work)] = &[
    ("scan", |db| db.view("b", |txn| Ok(scan(&mut txn.iter(), Iter::next_ref))).map(drop)),
    ("scan back", |db| db.view("b", |txn| Ok(scan(&mut txn.iter(), Iter::prev_ref))).map(drop)),
    ("get all", |db| {
        (0..KEYS).try_for_each(|i| db.view("b", |txn| txn.get(key(i)).map(drop)))?;
        db.view("b", |txn| txn.get("large").map(drop))
    }),
    ("first and last", |db| db.view("b", |txn| txn.first().and(txn.last()).map(drop))),
    ("several", |db| {
        let keys: Vec<String> = (0..KEYS).step_by(7).map(key).collect();
        db.view("b", |txn| txn.get_many(&keys).map(drop))
    }),
    ("seek", |db| db.view("b", |txn| txn.iter_from(key(300)).map(drop))),
    ("put all", |db| db.exec("b", |txn| (0..KEYS).try_for_each(|i| txn.put(key(i), "new")))),
    ("put between", |db| {
        db.exec("b", |txn| (0..KEYS).try_for_each(|i| txn.put(key(i) + "!", [b'w'; 60])))
    }),
    ("put large", |db| db.exec("b", |txn| txn.put("large", vec![b'm'; 3_000]))),
    ("bulk load", |db| {
        let keys = (0..KEYS).map(|i| format!("\u{fe}{i:05}"));
        db.exec("b", |txn| txn.bulk_load(keys.map(|key| (key, [b'w'; 40]))).map(drop))
    }),
    ("del up", |db| db.exec("b", |txn| (0..KEYS).try_for_each(|i| del(txn, i)))),
    ("del down", |db| db.exec("b", |txn| (0..KEYS).rev().try_for_each(|i| del(txn, i)))),
    ("del range", |db| db.exec("b", |txn| txn.delete_range::<[u8]>(..).map(drop))),
    ("del bucket", |db| db.del_bucket("b")),
    ("compact", |db| db.compact(0).map(drop)),
    ("verify", |db| db.verify().map(drop)),
    ("backup", |db| db.snapshot().backup_to(&mut std::io::sink()).map(drop)),
    ("pages", |db| db.backup_since(0, &mut std::io::sink()).map(drop)),
    ("pieces", |db| {
        let mut reader = db.view("b", |txn| txn.get_reader("large"))?;
        while reader.next_piece()?.is_some() {}
        Ok(())
    }),
    ("stats", |db| db.stats().map(drop)),
    ("buckets", |db| db.buckets().map(drop)),
];

/// Many lookups in one bucket make an index of its tree; another record of that root is no better
/// for it.
#[test]
fn a_record_of_another_level_stays_refused_when_its_root_has_an_index() {
    const KEYS: u32 = 2_000;
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    let put = |n: u32| (n.to_be_bytes(), [b'v'; 12]);
    db.exec("a", |txn| txn.bulk_load((0..KEYS).map(put)).map(drop)).unwrap();
    db.exec("b", |_| Ok(())).unwrap();
    drop(db);
    let mut bytes = vfs.read_file(NAME).unwrap();
    for slot in bytes.chunks_mut(512).take(2) {
        // The length of a name and the name, of one letter, stand in front of each record.
        let [a, b] = [0, 1].map(|bucket| META_BODY + bucket * (3 + BUCKET_LEN) + 3);
        assert!(slot[a + CHILD_LEN] >= 2, "an index spares two levels");
        slot.copy_within(a..a + BUCKET_LEN, b);
        slot[b + CHILD_LEN] += 1;
        put_checksum(slot);
    }
    let db = open(&holding(&bytes)).unwrap();
    let get = |bucket: &str, n: u32| db.view(bucket, |txn| txn.get(n.to_be_bytes()));
    assert_eq!(get("b", 7), Err(Error::Corruption));
    for n in (0..KEYS).chain(0..KEYS) {
        assert_eq!(get("a", n), Ok(vec![b'v'; 12]));
    }
    assert_eq!(get("b", 7), Err(Error::Corruption));
    let several = db.view("b", |txn| txn.get_many(&[7_u32.to_be_bytes()]).map(drop));
    assert_eq!(several, Err(Error::Corruption));
}

/// A leaf stands where a branch belongs, and is at hand as another bucket's root.
#[test]
fn a_page_at_the_wrong_level_is_not_read_for_several_keys_either() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec_multi(|multi| {
        multi.exec("b", |txn| (0..3 * KEYS).try_for_each(|i| txn.put(key(i), [b'v'; 40])))?;
        multi.exec("z", |txn| txn.put(key(0), "of z"))
    })
    .unwrap();
    drop(db);
    let mut forge = Forge::new(&vfs.read_file(NAME).unwrap());
    let root = forge.root();
    assert!(Walk::new(&forge.bytes).page(root)[HEADER_LEVEL] >= 2);
    // Behind the record of `b`: the length of the name `z`, the name, its root and checksum.
    let other = forge.record() + RECORD_LEN + 3;
    let leaf: [u8; CHILD_LEN] = forge.bytes[other..other + CHILD_LEN].try_into().unwrap();
    let first = children_at(forge.page(root));
    forge.page(root)[first..first + CHILD_LEN].copy_from_slice(&leaf);
    forge.seal_up(root);
    let db = open(&holding(&forge.bytes)).unwrap();
    assert_eq!(db.view("z", |txn| txn.get(key(0))).unwrap(), b"of z");
    assert_eq!(db.view("b", |txn| txn.get(key(0)).map(drop)), Err(Error::Corruption));
    let several = db.view("b", |txn| txn.get_many(&[key(0)]).map(drop));
    assert_eq!(several, Err(Error::Corruption));
}

/// A key that cannot be found is a wrong answer that nobody can notice in a file whose
/// checksums are right; the deletion goes on.
fn del(txn: &mut btree_store::Txn<'_>, i: usize) -> Result<()> {
    match txn.del(key(i)) {
        Err(Error::NotFound) => Ok(()),
        other => other,
    }
}

/// Does everything with a file, each on a fresh copy. No panic, no hang; errors are typed.
/// Returns what failed.
#[track_caller]
fn survive(bytes: &[u8], context: &str) -> Vec<&'static str> {
    let (sender, receiver) = mpsc::channel();
    let (owned, name) = (bytes.to_vec(), context.to_owned());
    let thread = std::thread::spawn(move || {
        let failed = work_through(&owned, &name);
        sender.send(()).expect("the test waits");
        failed
    });
    let ended = receiver.recv_timeout(Duration::from_secs(30));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "{context}: hangs");
    thread.join().unwrap_or_else(|_| panic!("{context}: panics"))
}

/// Bytes of pages that a store with a forged file keeps.
const CACHE_BYTES: usize = 1 << 20;
/// Bytes that a call on such a store takes beside them and what the file is long, at most, however
/// much that states.
const MEMORY_MAX: usize = 1 << 19;

fn work_through(bytes: &[u8], context: &str) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for (name, work) in WORKS {
        let context = format!("{context}, {name}");
        let vfs = holding(bytes);
        let memory_max = CACHE_BYTES + MEMORY_MAX + bytes.len();
        within(memory_max, &context, || {
            let options = on(vfs.clone()).cache_bytes(CACHE_BYTES as u64);
            let db = match options.open(NAME) {
                Ok(db) => db,
                Err(error) => {
                    assert_named(error, &context);
                    return failed.push("open");
                }
            };
            match work(&db) {
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => {
                    assert_named(error, &context);
                    failed.push(*name);
                    // Whatever failed, the store goes on.
                    let again = db.exec("another", |txn| txn.put("k", "v"));
                    again.unwrap_or_else(|error| assert_named(error, &context));
                }
            }
        });
        if failed == ["open"] {
            break;
        }
    }
    failed
}

#[test]
fn an_honest_file_survives_everything() {
    assert_eq!(survive(&honest().bytes, "honest"), Vec::<&str>::new());
    // Sealing again changes nothing.
    let mut forge = honest();
    let before = forge.bytes.clone();
    let leaf = forge.leaves()[3];
    forge.change(leaf, |_| {});
    assert!(forge.bytes == before);
}

/// Asserts that a change to a page of the tree is noticed by the scan and the gets.
#[track_caller]
fn assert_noticed(pick: fn(&Forge) -> u32, name: &str, change: impl FnOnce(&mut [u8])) {
    let mut forge = honest();
    let id = pick(&forge);
    forge.change(id, change);
    let failed = survive(&forge.bytes, name);
    for work in ["scan", "scan back", "get all"] {
        assert!(failed.contains(&work), "{name}: {work} does not notice; {failed:?} do");
    }
}

fn some_leaf(forge: &Forge) -> u32 {
    let leaves = forge.leaves();
    leaves[leaves.len() / 2]
}

/// A branch directly above the leaves.
fn some_branch(forge: &Forge) -> u32 {
    let walk = Walk::new(&forge.bytes);
    let mut id = forge.root();
    while walk.page(id)[HEADER_LEVEL] > 1 {
        let children = walk.children(id);
        id = children[children.len() / 2];
    }
    id
}

fn root(forge: &Forge) -> u32 {
    forge.root()
}

/// Chooses the page to be changed.
type Pick = fn(&Forge) -> u32;

const PICKS: [(&str, Pick); 3] = [("leaf", some_leaf), ("branch", some_branch), ("root", root)];

#[test]
fn counts_and_offsets_out_of_the_page_are_typed_errors() {
    for (name, pick) in PICKS {
        let fields =
            [HEADER_COUNT, HEADER_HEAP, HEADER_DEAD, HEADER_PREFIX].map(|field| (field, "field"));
        for (field, _) in fields {
            for value in [0xFFFF, 0xFFFE, 0x8000, 512, 513, 511, 33] {
                let what = format!("{name}, field at {field}: {value}");
                assert_noticed(pick, &what, |page| put_u16(page, field, value));
            }
        }
        assert_noticed(pick, &format!("{name}: no keys"), |page| put_u16(page, HEADER_COUNT, 0));
        for offset in [0, 31, 32, 100, 511, 512, 0xFFFF] {
            let what = format!("{name}: a cell at {offset}");
            assert_noticed(pick, &what, |page| put_u16(page, first_cell(page).0, offset));
        }
        for len in [0xFFFF, 129, 128, 512] {
            let what = format!("{name}: a key of {len} bytes");
            assert_noticed(pick, &what, |page| put_u16(page, first_cell(page).1, len));
        }
    }
}

#[test]
fn levels_kinds_and_transactions_that_do_not_fit_are_typed_errors() {
    for (name, pick) in PICKS {
        for level in [0, 1, 2, 3, 31, 32, 255] {
            let mut forge = honest();
            let id = pick(&forge);
            let own = forge.page(id)[HEADER_LEVEL];
            if own != level {
                forge.change(id, |page| page[HEADER_LEVEL] = level);
                let failed = survive(&forge.bytes, &format!("{name} of level {level}"));
                assert!(failed.contains(&"scan"), "{name} of level {level}: {failed:?}");
            }
        }
        for kind in [0, 1, 4, 5, 255] {
            assert_noticed(pick, &format!("{name} of kind {kind}"), |p| p[HEADER_KIND] = kind);
        }
        assert_noticed(pick, &format!("{name} of a later transaction"), |page| {
            page[HEADER_TXN..HEADER_TXN + 8].copy_from_slice(&9_u64.to_le_bytes());
        });
        assert_noticed(pick, &format!("{name} with another id"), |page| {
            put_u32(page, HEADER_ID, 3);
        });
    }
}

#[test]
fn children_out_of_the_file_are_typed_errors() {
    for (name, pick) in [PICKS[1], PICKS[2]] {
        for child in [0, 1, 1 << 20, u32::MAX] {
            assert_noticed(pick, &format!("{name} with child {child}"), |page| {
                put_u32(page, children_at(page), child);
            });
        }
    }
}

#[test]
fn a_circle_of_children_ends_in_a_typed_error() {
    // A page that is its own child, with the right checksum.
    let mut forge = honest();
    let id = some_branch(&forge);
    let (at, wanted) = (children_at(forge.page(id)), 0x1234_5678);
    put_u32(forge.page(id), at, id);
    put_u32(forge.page(id), at + 4, wanted);
    forge.force_checksum(id, wanted);
    let parents_checksum = wanted;
    reseal_parents(&mut forge, id, parents_checksum);
    assert!(survive(&forge.bytes, "own child").contains(&"scan"));
    // A page whose child is the root.
    let mut forge = honest();
    let (id, root) = (some_branch(&forge), forge.root());
    let at = children_at(forge.page(id));
    put_u32(forge.page(id), at, root);
    put_u32(forge.page(id), at + 4, wanted);
    let below = forge.seal(id);
    reseal_parents_but_root(&mut forge, id, below);
    forge.force_checksum(root, wanted);
    let record = forge.record();
    forge.change_meta(|page| put_u32(page, record + 4, wanted));
    assert!(survive(&forge.bytes, "the root below itself").contains(&"scan"));
}

/// Puts a page's checksum into its parents, up to the meta pages.
fn reseal_parents(forge: &mut Forge, id: u32, checksum: u32) {
    reseal_parents_but_root(forge, id, checksum);
    let root = forge.root();
    forge.seal_up(root);
}

/// Puts a page's checksum into its parents; the root is left unsealed.
fn reseal_parents_but_root(forge: &mut Forge, id: u32, checksum: u32) {
    let pages = u32::try_from(forge.bytes.len() / forge.page_size).unwrap();
    let root = forge.root();
    for parent in 2..pages {
        let walk = Walk::new(&forge.bytes);
        if parent == id || walk.page(parent)[HEADER_KIND] != 3 {
            continue;
        }
        let Some(at) = walk.children(parent).iter().position(|child| *child == id) else {
            continue;
        };
        let place = children_at(walk.page(parent)) + at * CHILD_LEN + 4;
        put_u32(forge.page(parent), place, checksum);
        if parent != root {
            let own = forge.seal(parent);
            reseal_parents_but_root(forge, parent, own);
        }
        return;
    }
}

#[test]
fn overflow_runs_out_of_the_file_are_typed_errors() {
    for (len, first) in [
        (u32::MAX, None),
        (u32::MAX - 4_095, None),
        (1 << 31, None),
        (0, None),
        (2_000, Some(0)),
        (2_000, Some(1)),
        (2_000, Some(u32::MAX)),
        (2_000, Some(u32::MAX - 3)),
    ] {
        let mut forge = honest();
        let (leaf, at) = forge.overflow();
        forge.change(leaf, |page| {
            put_u32(page, at, len);
            if let Some(first) = first {
                put_u32(page, at + 4, first);
            }
        });
        let failed = survive(&forge.bytes, &format!("a run of {len} bytes from {first:?}"));
        for work in ["scan", "get all"] {
            assert!(failed.contains(&work), "{len} bytes from {first:?}: {failed:?}");
        }
    }
}

#[test]
fn a_value_without_pages_in_a_sealed_leaf_is_a_typed_error() {
    let mut forge = honest();
    let (leaf, at) = forge.overflow();
    let tag_at = {
        let walk = Walk::new(&forge.bytes);
        let page = walk.page(leaf);
        // The tag lies behind the key's length; the key's rest lies between.
        (0..page.len() - 2).rev().find(|&p| p < at && u16_at(page, p) == 0xFFFF).unwrap()
    };
    forge.change(leaf, |page| put_u16(page, tag_at, 0xFFFE));
    let failed = survive(&forge.bytes, "unplaced");
    assert!(failed.contains(&"scan"), "{failed:?}");
}

#[test]
fn keys_out_of_order_never_panic() {
    // Two keys of a leaf change places: their heads, and the offsets of their cells.
    for (name, pick) in PICKS {
        assert_noticed(pick, &format!("{name} with swapped keys"), |page| {
            let (offsets, _) = first_cell(page);
            let count = usize::from(u16_at(page, HEADER_COUNT));
            let heads = offsets - count * 4;
            let (one, two) = (u32_at(page, heads), u32_at(page, heads + 4));
            put_u32(page, heads, two);
            put_u32(page, heads + 4, one);
            let (one, two) = (u16_at(page, offsets), u16_at(page, offsets + 2));
            put_u16(page, offsets, two);
            put_u16(page, offsets + 2, one);
        });
        assert_noticed(pick, &format!("{name} with the same cell twice"), |page| {
            let (offsets, cell) = first_cell(page);
            put_u16(page, offsets + 2, u16::try_from(cell).unwrap());
        });
    }
}

#[test]
fn leaves_in_the_wrong_places_never_panic() {
    // References of a branch change places: each page is whole and sorted, their order is not.
    // Leaves of short keys come to lie beside leaves of long ones.
    for (name, pick) in [PICKS[1], PICKS[2]] {
        let honest = honest();
        let id = pick(&honest);
        let children = Walk::new(&honest.bytes).children(id).len();
        for (one, two) in (0..children).flat_map(|one| (0..one).map(move |two| (one, two))) {
            let mut forge = Forge { bytes: honest.bytes.clone(), page_size: 512 };
            forge.change(id, |page| {
                let first = children_at(page);
                let place = |at: usize| first + at * CHILD_LEN..first + (at + 1) * CHILD_LEN;
                let (left, right) = (page[place(one)].to_vec(), page[place(two)].to_vec());
                page[place(two)].copy_from_slice(&left);
                page[place(one)].copy_from_slice(&right);
            });
            let failed = survive(&forge.bytes, &format!("{name}: {one} and {two} swapped"));
            assert!(failed.contains(&"scan"), "{name}: {one} and {two} swapped: {failed:?}");
        }
    }
}

#[test]
fn a_tree_in_disorder_answers_alike_however_often_it_is_asked() {
    // Many lookups in one state make an index of a tree, and this one deserves none.
    const KEYS: u32 = 2_000;
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    db.exec("b", |txn| (0..KEYS).try_for_each(|n| txn.put(n.to_be_bytes(), [b'v'; 12]))).unwrap();
    drop(db);
    let honest = Forge::new(&vfs.read_file(NAME).unwrap());
    let children = Walk::new(&honest.bytes).children(honest.root()).len();
    assert!(children > 3 && Walk::new(&honest.bytes).page(honest.root())[HEADER_LEVEL] == 2);
    for one in 1..children {
        let mut forge = Forge { bytes: honest.bytes.clone(), page_size: 512 };
        let root = forge.root();
        forge.change(root, |page| {
            let place = |at: usize| children_at(page) + at * CHILD_LEN;
            let (left, right) = (place(one - 1), place(one));
            let (front, back) = page.split_at_mut(right);
            front[left..].swap_with_slice(&mut back[..CHILD_LEN]);
        });
        let vfs = holding(&forge.bytes);
        let answers = |db: &BTree, by: usize| -> Vec<Result<Vec<u8>>> {
            let keys = (0..KEYS).step_by(by).map(u32::to_be_bytes);
            keys.map(|key| db.view("b", |txn| txn.get(key))).collect()
        };
        let first = answers(&open(&vfs).unwrap(), 20);
        let db = open(&vfs).unwrap();
        assert_eq!(answers(&db, 1).len() + answers(&db, 1).len(), 2 * KEYS as usize);
        assert_eq!(answers(&db, 20), first, "{one} and the one in front of it swapped");
    }
}

#[test]
fn a_page_with_two_parents_never_panics() {
    for (name, pick) in [PICKS[1], PICKS[2]] {
        let mut forge = honest();
        let id = pick(&forge);
        forge.change(id, |page| {
            let first = children_at(page);
            page.copy_within(first..first + CHILD_LEN, first + CHILD_LEN);
        });
        let failed = survive(&forge.bytes, &format!("{name}: the first child twice"));
        for work in ["scan", "del bucket"] {
            assert!(failed.contains(&work), "{name}: the first child twice: {failed:?}");
        }
    }
}

#[test]
fn a_tree_that_meets_itself_a_million_times_neither_hangs_nor_fills_the_memory() {
    // All children of every branch are its first: as many paths as a tree of that height has,
    // each to the same leaf. Higher levels are made from pages that become unused.
    let mut forge = honest();
    let root = forge.root();
    let leaf = forge.leaves()[0];
    let spare: Vec<u32> = forge.leaves()[5..].to_vec();
    let mut below = (leaf, u32_at(forge.page(leaf), 0));
    let model = {
        let branch = some_branch(&forge);
        forge.page(branch).to_vec()
    };
    let height: u8 = 24;
    for level in 1..=height {
        let id = if level == height { root } else { spare[usize::from(level)] };
        let page = forge.page(id);
        page.copy_from_slice(&model);
        page[HEADER_LEVEL] = level;
        put_u32(page, HEADER_ID, id);
        let (first, count) = (children_at(page), usize::from(u16_at(page, HEADER_COUNT)));
        for at in 0..=count {
            put_u32(page, first + at * CHILD_LEN, below.0);
            put_u32(page, first + at * CHILD_LEN + 4, below.1);
        }
        below = (id, forge.seal(id));
    }
    let record = forge.record();
    forge.change_meta(|page| {
        put_u32(page, record + 4, below.1);
        put_u32(page, record + 8, u32::from(height));
    });
    let failed = survive(&forge.bytes, "a tree that meets itself");
    for work in ["scan", "scan back", "del bucket"] {
        assert!(failed.contains(&work), "{work} does not notice: {failed:?}");
    }
}

#[test]
fn wrong_counts_of_a_bucket_never_panic() {
    for entries in [1_u64, 2, u64::from(u32::MAX), u64::MAX] {
        let mut forge = honest();
        let record = forge.record();
        forge.change_meta(|page| page[record + 12..][..8].copy_from_slice(&entries.to_le_bytes()));
        survive(&forge.bytes, &format!("{entries} entries"));
    }
    for overflow in [0_u64, 1, u64::MAX] {
        let mut forge = honest();
        let record = forge.record();
        forge.change_meta(|page| page[record + 20..][..8].copy_from_slice(&overflow.to_le_bytes()));
        survive(&forge.bytes, &format!("{overflow} overflow pages"));
    }
}

#[test]
fn wrong_records_of_a_bucket_are_typed_errors() {
    for (field, name) in [(0, "root"), (8, "level")] {
        for value in [0, 1, 2, 7, 40, 1 << 20, u32::MAX] {
            let mut forge = honest();
            let record = forge.record();
            if u32_at(&forge.bytes, record + field) == value {
                continue;
            }
            forge.change_meta(|page| put_u32(page, record + field, value));
            let failed = survive(&forge.bytes, &format!("{name} {value}"));
            assert!(!failed.is_empty(), "{name} {value}");
        }
    }
    assert_eq!(RECORD_LEN, 28);
    assert_eq!(CELL_HEADER, 4);
}

#[test]
fn wrong_fields_of_a_meta_page_never_panic_and_never_hang() {
    let fields = [
        META_PAGE_COUNT,
        META_FLAGS,
        META_LOG_HEAD,
        META_LOG_PAGES,
        META_BUCKETS,
        META_CATALOG_ROOT,
        META_CATALOG_LEVEL,
        META_CATALOG_LEN,
        META_ITEMS,
        META_TAIL_WORDS,
        META_SPARE,
        HEADER_LEVEL - 1,
        HEADER_RUN,
    ];
    let honest = honest();
    let pages = u32::try_from(honest.bytes.len() / 512).unwrap();
    for field in fields {
        for value in [0, 1, 2, 3, pages, pages - 1, pages + 1, 1 << 16, 1 << 31, u32::MAX] {
            let mut forge = Forge { bytes: honest.bytes.clone(), page_size: 512 };
            forge.change_meta(|page| put_u32(page, field, value));
            survive(&forge.bytes, &format!("meta field at {field}: {value}"));
        }
    }
}

/// A new file whose slots say that it has so many pages, with a catalog of empty buckets and a
/// list; zeros fill the file up.
pub fn stating(pages: u32, buckets: u8, list: &[[u32; 3]]) -> Vec<u8> {
    let vfs = MemVfs::new();
    drop(on(vfs.clone()).page_size(512).open(NAME).unwrap());
    let mut forge = Forge { bytes: vfs.read_file(NAME).unwrap(), page_size: 512 };
    forge.bytes.resize(pages as usize * 512, 0);
    let bucket = |name: u8| [&[2, 0, b'b', b'a' + name], [0; RECORD_LEN].as_slice()].concat();
    let mut body: Vec<u8> = (0..buckets).flat_map(bucket).collect();
    let catalog = u32::try_from(body.len()).unwrap();
    body.extend(list.iter().flatten().flat_map(|word| word.to_le_bytes()));
    forge.change_meta(|page| {
        put_u32(page, META_PAGE_COUNT, pages);
        put_u32(page, META_CATALOG_LEN, catalog);
        put_u32(page, META_BUCKETS, buckets.into());
        put_u32(page, META_ITEMS, u32::try_from(list.len()).unwrap());
        put_u32(page, META_TAIL_WORDS, 0);
        page[META_BODY..META_BODY + body.len()].copy_from_slice(&body);
    });
    forge.bytes
}

/// It leaves no room in the meta page for the list and the tail of a commit.
#[test]
fn a_catalog_too_long_to_be_inline_is_a_typed_error() {
    assert_eq!(open(&holding(&stating(2, 3, &[]))).unwrap().buckets().unwrap().len(), 3);
    for buckets in 4..=12 {
        let bytes = stating(2, buckets, &[]);
        let error = open(&holding(&bytes)).unwrap_err();
        assert_eq!(common::corruption(error), (Some(0), "valid-meta-whole"), "{buckets} buckets");
        let report = verify_path(&holding(&bytes), NAME).unwrap();
        assert!(report.states.is_empty() && !report.is_sound(), "{report}");
    }
}

/// What a slot lists is read before the slot is believed, and held in memory.
#[test]
fn a_list_of_more_pages_than_a_commit_may_list_is_not_read() {
    let run = |first, pages| [first, pages | META_ITEM_RUN, 7];
    for list in [&[run(2, ONE_BARRIER_PAGES_MAX + 1)][..], &[run(2, 300), run(302, 300)]] {
        let bytes = stating(4000, 0, list);
        let (vfs, watch) = Watch::memory();
        vfs.write_file(NAME, &bytes);
        let error = on(watch.clone()).open(NAME).unwrap_err();
        assert_eq!(common::corruption(error).1, "valid-meta-whole", "{list:?}");
        assert!(watch.counts().bytes_read < 100_000, "{list:?}: {:?}", watch.counts());
        let report = verify_path(&vfs, NAME).unwrap();
        assert!(report.states.is_empty() && !report.is_sound(), "{report}");
    }
}

/// No commit can follow a state of the last number.
#[test]
fn a_meta_page_of_the_last_transaction_is_a_typed_error() {
    let mut forge = honest();
    forge.change_meta(|page| page[HEADER_TXN..HEADER_TXN + 8].fill(u8::MAX));
    assert_eq!(survive(&forge.bytes, "the last transaction"), ["open"]);
}

#[test]
fn a_log_that_is_huge_or_goes_in_a_circle_is_a_typed_error() {
    let sample = super::samples().iter().find(|sample| sample.name == "long log").unwrap();
    let walk = Walk::new(&sample.bytes);
    let head = u32_at(walk.page(walk.newest().slot.try_into().unwrap()), META_LOG_HEAD);
    assert!(head >= 2);
    for pages in [0, 2, 3, 1_000, 1 << 30, u32::MAX] {
        let mut bytes = sample.bytes.clone();
        for slot in [0, 512] {
            put_u32(&mut bytes, slot + META_LOG_PAGES, pages);
            let checksum = crc32c::crc32c(&bytes[slot + 4..slot + 512]);
            put_u32(&mut bytes, slot, checksum);
        }
        if pages != u32_at(walk.page(0), META_LOG_PAGES) {
            let error = open(&holding(&bytes)).unwrap_err();
            assert_named(error, &format!("{pages} log pages"));
        }
    }
    // A log page that points to itself, with the checksum that it has.
    let mut bytes = sample.bytes.clone();
    let at = head as usize * 512;
    put_u32(&mut bytes, at + 32, head);
    let mut forge = Forge { bytes, page_size: 512 };
    let wanted = u32_at(forge.page(head), 0);
    put_u32(forge.page(head), 36, wanted);
    forge.force_checksum(head, wanted);
    for slot in 0..2 {
        let many = u32_at(forge.page(slot), META_LOG_PAGES) + 5;
        put_u32(forge.page(slot), META_LOG_PAGES, many);
        forge.seal(slot);
    }
    let error = open(&holding(&forge.bytes)).unwrap_err();
    assert_eq!(common::corruption(error).1, "space-log-replays", "{}", common::story(error));
}

#[test]
fn words_of_the_log_that_make_no_sense_are_typed_errors() {
    let mut random = common::random::Random::new(8);
    let honest = honest();
    let (tail_words, tail_at) = {
        let walk = Walk::new(&honest.bytes);
        let page = walk.page(0);
        let catalog = u32_at(page, META_CATALOG_LEN) as usize;
        (u32_at(page, META_TAIL_WORDS) as usize, btree_store::format::META_BODY + catalog)
    };
    assert!(tail_words > 3);
    let mut refused = 0;
    for round in 0..400 {
        let mut forge = Forge { bytes: honest.bytes.clone(), page_size: 512 };
        let word = tail_at + random.below(tail_words) * 4;
        let value = match random.below(4) {
            0 => u32::MAX - u32::try_from(random.below(3)).unwrap(),
            1 => u32::try_from(random.below(200)).unwrap(),
            2 => u32_at(&honest.bytes, word).wrapping_add(1),
            _ => u32::try_from(random.next() & u64::from(u32::MAX)).unwrap(),
        };
        forge.change_meta(|page| put_u32(page, word, value));
        let failed = survive(&forge.bytes, &format!("round {round}: word at {word} is {value}"));
        refused += usize::from(failed == ["open"]);
    }
    assert!(refused > 200, "{refused} of 400 refused");
}

#[test]
fn random_changes_of_sealed_pages_never_panic() {
    for seed in 0..150 {
        let mut random = common::random::Random::new(seed);
        let mut forge = honest();
        let pages = [some_leaf(&forge), some_branch(&forge), forge.root(), forge.leaves()[0]];
        let id = pages[random.below(4)];
        forge.change(id, |page| {
            for _ in 0..=random.below(3) {
                let used = if random.below(2) == 0 { 120 } else { 512 };
                let at = 16 + random.below(used - 16);
                page[at] = random.next().to_le_bytes()[0];
            }
        });
        survive(&forge.bytes, &format!("seed {seed}, page {id}"));
    }
}

#[test]
fn no_commit_becomes_the_last_transaction() {
    let mut forge = honest();
    forge.change_meta(|page| {
        page[HEADER_TXN..HEADER_TXN + 8].copy_from_slice(&(u64::MAX - 1).to_le_bytes());
    });
    let vfs = holding(&forge.bytes);
    let db = open(&vfs).unwrap();
    assert_eq!(db.exec("b", |txn| txn.put("new", "value")), Err(Error::NoSpace));
    drop(db);
    let db = open(&vfs).expect("it opened before");
    assert!(!db.view("b", |txn| txn.contains("new")).unwrap());
}

#[test]
fn a_catalog_tree_of_another_number_of_buckets_is_a_typed_error() {
    for stated in [2_u32, 9] {
        let vfs = MemVfs::new();
        let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
        db.exec_multi(|multi| {
            (0..6).try_for_each(|i| multi.exec(format!("bucket {i}"), |_| Ok(())))
        })
        .unwrap();
        drop(db);
        let mut forge = Forge { bytes: vfs.read_file(NAME).unwrap(), page_size: 512 };
        forge.change_meta(|page| put_u32(page, META_BUCKETS, stated));
        let db = open(&holding(&forge.bytes)).unwrap();
        let names = db.buckets().unwrap();
        assert_eq!(names.len(), 6);
        let deleted = names.iter().try_for_each(|name| db.del_bucket(name));
        assert_named(deleted.unwrap_err(), &format!("{stated} buckets stated"));
    }
}

#[test]
fn a_wrong_count_of_one_bucket_does_not_close_the_file() {
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(512).open(NAME).unwrap();
    for name in ["a", "b"] {
        db.exec(name, |txn| txn.put("k", "v")).unwrap();
    }
    drop(db);
    let mut forge = Forge { bytes: vfs.read_file(NAME).unwrap(), page_size: 512 };
    let record = forge.record();
    forge.change_meta(|page| page[record + 12..][..8].copy_from_slice(&3_u64.to_le_bytes()));
    let vfs = holding(&forge.bytes);
    let db = open(&vfs).unwrap();
    let deleted = db.exec("a", |txn| txn.del("k"));
    drop(db);
    let db = open(&vfs).expect("it opened before");
    assert_eq!(db.view("b", |txn| txn.get("k")).unwrap(), b"v");
    assert_eq!(deleted, Err(Error::Corruption));
}

/// A bucket whose name holds such a page where slot 1 would be, and the file of its store.
fn named_like_a_slot() -> (String, Vec<u8>) {
    let name = name_like_a_slot();
    let vfs = MemVfs::new();
    let db = on(vfs.clone()).page_size(4096).open(NAME).unwrap();
    db.exec(&name, |txn| txn.put("k", "v")).unwrap();
    drop(db);
    (name, vfs.read_file(NAME).unwrap())
}

#[test]
fn a_name_that_looks_like_a_slot_is_none() {
    let (name, mut bytes) = named_like_a_slot();
    bytes[HEADER_TXN] ^= 0x40;
    // What lies there would be a slot, if pages were so short.
    assert_eq!(u32_at(&bytes[512..], 44), 512);
    assert_eq!(verify_path(&holding(&bytes), NAME).unwrap().page_size, Some(4096));
    let db = open(&holding(&bytes)).unwrap();
    assert_eq!(db.view(&name, |txn| txn.get("k")), Ok(b"v".to_vec()));
}

/// Slot 0 does not state the page size any more, and slot 1 is where it is, and in the name.
#[test]
fn a_file_that_may_have_two_page_sizes_is_refused_and_left_alone() {
    let (name, sound) = named_like_a_slot();
    for lost in [64, 512, 600] {
        let mut bytes = sound.clone();
        bytes[..lost].fill(0);
        let vfs = holding(&bytes);
        let report = verify_path(&vfs, NAME).unwrap();
        let opened = open(&vfs).map(drop);
        if lost > 512 {
            // The one in the name is damaged.
            assert_eq!((opened, report.page_size), (Ok(()), Some(4096)));
            let db = open(&vfs).unwrap();
            assert_eq!(db.view(&name, |txn| txn.get("k")), Ok(b"v".to_vec()));
        } else {
            assert_eq!((opened, report.page_size), (Err(Error::Corruption), None));
            assert!(!report.is_sound(), "{report}");
            assert_eq!(vfs.read_file(NAME).unwrap(), bytes);
        }
    }
}

/// Branches of one separator as long as that are never joined, and those with none always.
#[test]
fn a_tree_that_meets_itself_behind_long_separators_is_not_deleted_a_billion_times() {
    let mut forge = honest();
    let (root, leaves) = (forge.root(), forge.leaves());
    let mut below = (leaves[0], u32_at(forge.page(leaves[0]), 0));
    let txn = forge.page(root)[HEADER_TXN..HEADER_TXN + 8].to_vec();
    for level in 1..=31_u8 {
        let id = if level == 31 { root } else { leaves[4 + usize::from(level)] };
        let mut separator = [b'z'; 128];
        separator[127] = 255 - level;
        let page = forge.page(id);
        page.fill(0);
        put_u32(page, HEADER_ID, id);
        page[HEADER_TXN..HEADER_TXN + 8].copy_from_slice(&txn);
        page[HEADER_KIND] = KIND_BRANCH;
        page[HEADER_LEVEL] = level;
        put_u16(page, HEADER_COUNT, 1);
        put_u16(page, HEADER_HEAP, 510);
        put_u16(page, HEADER_PREFIX, 128);
        page[32..160].copy_from_slice(&separator);
        for at in [160, 168] {
            put_u32(page, at, below.0);
            put_u32(page, at + 4, below.1);
        }
        // The cell: two zeros at the end of the page.
        put_u16(page, 180, 510);
        below = (id, forge.seal(id));
    }
    let record = forge.record();
    forge.change_meta(|page| {
        put_u32(page, record + 4, below.1);
        put_u32(page, record + 8, 31);
        page[record + 12..record + 20].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    });
    let failed = survive(&forge.bytes, "a tree that meets itself, long separators");
    assert!(failed.contains(&"del range"), "{failed:?}");
}
