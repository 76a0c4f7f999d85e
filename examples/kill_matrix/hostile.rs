//! Files made by somebody who computes checksums: every page is sealed, and its content is wrong.
//! What follows is a typed error; no panic, no hang, no allocation of what a field asks for.

use crate::matrix::budget::{Budget, Checked, Kill, ensure};
use crate::matrix::forge::{Forge, children_at, first_cell};
use crate::matrix::scripts::{PATH, options, roomy};
use btree_store::format::{
    CHILD_LEN, HEADER_COUNT, HEADER_DEAD, HEADER_HEAP, HEADER_ID, HEADER_KIND, HEADER_LEVEL,
    HEADER_PREFIX, HEADER_SPARE, HEADER_TXN, KIND_LEAF, META_LOG_HEAD,
};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error};
use std::sync::Arc;

const KEYS: u32 = 400;

pub fn run(budget: &mut Budget) -> Option<Kill> {
    check_all(budget).and_then(|()| check_log(budget)).and_then(|()| check_gap(budget)).err()
}

fn key(n: u32) -> String {
    format!("key_{n:05}_and_more")
}

/// A tree of three levels with two large values, made by one commit. The first looks like a leaf
/// without entries.
fn honest() -> Checked<Vec<u8>> {
    let vfs = Arc::new(MemVfs::new());
    let db = options(vfs.clone()).open(PATH)?;
    db.exec("b", |txn| {
        let mut leaf = [0; 400];
        leaf[HEADER_KIND] = KIND_LEAF;
        txn.put("first", leaf)?;
        (0..KEYS).try_for_each(|n| txn.put(key(n), [b'v'; 40]))?;
        txn.put("large", vec![b'l'; 2_000])
    })?;
    drop(db);
    vfs.read_file(PATH).ok_or(Kill("the file is gone".into()))
}

fn set_u16(page: &mut [u8], at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn get_u16(page: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([page[at], page[at + 1]]))
}

fn set_u32(page: &mut [u8], at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

type Change = fn(&mut Forge);

fn leaf(forge: &Forge) -> u32 {
    let leaves = forge.leaves();
    leaves[leaves.len() / 2]
}

/// What is wrong, and how it is made.
const CHANGES: &[(&str, Change)] = &[
    ("a page that is its own child", |forge| {
        let (root, wanted, record) = (forge.root(), 0x1234_5678, forge.record());
        let at = children_at(forge.page(root));
        set_u32(forge.page(root), at, root);
        set_u32(forge.page(root), at + 4, wanted);
        forge.force_checksum(root, wanted);
        forge.change_meta(|page| set_u32(page, record + 4, wanted));
    }),
    ("a leaf in place of a branch", |forge| {
        let (root, leaf) = (forge.root(), leaf(forge));
        let checksum = forge.seal(leaf);
        forge.change(root, |page| {
            let at = children_at(page);
            set_u32(page, at, leaf);
            set_u32(page, at + 4, checksum);
        });
    }),
    ("a large value in place of a leaf", |forge| {
        let (leaf, at) = forge.overflow();
        let run: [u8; 8] = forge.page(leaf)[at + 4..at + 12].try_into().expect("8 bytes");
        let root = forge.root();
        let page = forge.page(root);
        let last = children_at(page) + get_u16(page, HEADER_COUNT) * CHILD_LEN;
        let branch = u32::from_le_bytes(page[last..last + 4].try_into().expect("4 bytes"));
        forge.change(branch, |page| {
            let at = children_at(page) + CHILD_LEN;
            page[at..at + CHILD_LEN].copy_from_slice(&run);
        });
    }),
    ("a leaf of a later transaction", |forge| {
        let leaf = leaf(forge);
        let later = |page: &mut [u8]| page[HEADER_TXN..HEADER_TXN + 8].copy_from_slice(&[9; 8]);
        forge.change(leaf, later);
    }),
    ("a leaf with the id of another page", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u32(page, HEADER_ID, 3));
    }),
    ("a leaf that its parent does not mean", |forge| {
        let leaf = leaf(forge);
        let page = forge.page(leaf);
        let last = page.len() - 1;
        page[last] ^= 1;
        forge.seal(leaf);
    }),
    ("a leaf of another level", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| page[HEADER_LEVEL] = 1);
    }),
    ("more slots than the page holds", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, HEADER_COUNT, 0xFFFF));
    }),
    ("a few slots too many", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, HEADER_COUNT, 84));
    }),
    ("a heap out of the page", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, HEADER_HEAP, 0xFFFE));
    }),
    ("more dead bytes than there are", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, HEADER_DEAD, 0xFFFE));
    }),
    ("a prefix longer than the page", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, HEADER_PREFIX, 0xFFFE));
    }),
    ("a cell that ends behind the page", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, first_cell(page).0, 509));
    }),
    ("a cell of a branch that ends behind the page", |forge| {
        let root = forge.root();
        forge.change(root, |page| set_u16(page, first_cell(page).0, 511));
    }),
    ("a cell in front of the heap", |forge| {
        let leaf = leaf(forge);
        forge.change(leaf, |page| set_u16(page, first_cell(page).0, 33));
    }),
    ("a child behind the end of the file", |forge| {
        let root = forge.root();
        forge.change(root, |page| set_u32(page, children_at(page), u32::MAX));
    }),
    ("a value of four gigabytes", |forge| {
        let (leaf, at) = forge.overflow();
        forge.change(leaf, |page| set_u32(page, at, u32::MAX));
    }),
    ("a value that lies in a slot", |forge| {
        let (leaf, at) = forge.overflow();
        forge.change(leaf, |page| set_u32(page, at + 4, 1));
    }),
];

fn check_all(budget: &mut Budget) -> Checked {
    let honest = honest()?;
    budget.spend();
    ensure(scan(&open(&honest)?).is_ok(), || "an honest file is refused".into())?;
    for (what, change) in CHANGES {
        budget.spend();
        let mut forge = Forge::new(&honest);
        change(&mut forge);
        let Some(db) =
            open(&forge.bytes).map_or_else(|error| typed(error, what), |db| Ok(Some(db)))?
        else {
            continue;
        };
        let noticed = scan(&db) == Err(Error::Corruption);
        ensure(noticed, || format!("{what}: a scan does not notice"))?;
        let noticed = get_all(&db) == Err(Error::Corruption);
        ensure(noticed, || format!("{what}: no get notices"))?;
        work(&db, what)?;
    }
    Ok(())
}

/// A store whose free space has many pieces, so that its log has pages.
fn with_log() -> Checked<Vec<u8>> {
    let vfs = Arc::new(MemVfs::new());
    let db = options(vfs.clone()).open(PATH)?;
    db.exec("b", |txn| (0..KEYS).try_for_each(|n| txn.put(key(n), [b'v'; 400])))?;
    for at in 0..3 {
        db.exec("b", |txn| (at..KEYS).step_by(7).try_for_each(|n| txn.del(key(n))))?;
        db.exec("c", |txn| txn.put(key(at), "v"))?;
    }
    drop(db);
    vfs.read_file(PATH).ok_or(Kill("the file is gone".into()))
}

/// A whole page of the log that what points to it does not mean is no page of the log.
fn check_log(budget: &mut Budget) -> Checked {
    budget.spend();
    let mut forge = Forge { bytes: with_log()?, page_size: 512 };
    let slot = &forge.page(0)[META_LOG_HEAD..META_LOG_HEAD + 4];
    let head = u32::from_le_bytes(slot.try_into().expect("4 bytes"));
    if head == 0 {
        // Not for a bug of the log.
        return Ok(());
    }
    forge.page(head)[HEADER_SPARE] ^= 1;
    forge.seal(head);
    let opened = open(&forge.bytes).map(drop);
    ensure(opened == Err(Error::Corruption), || format!("another page of the log: {opened:?}"))
}

/// A slot that lost what was written to it is not the state before a commit that was torn.
fn check_gap(budget: &mut Budget) -> Checked {
    let vfs = Arc::new(MemVfs::new());
    let db = options(vfs.clone()).open(PATH)?;
    // The slots as they were made list nothing, and are whole.
    let before = vfs.read_file(PATH).unwrap_or_default();
    (0..7).try_for_each(|n: u8| db.exec("b", |txn| txn.put("k", [n; 300])))?;
    let lost = vfs.read_file(PATH).unwrap_or_default();
    for slot in 0..2 {
        budget.spend();
        let mut forge = Forge { bytes: lost.clone(), page_size: 512 };
        forge.page(slot).copy_from_slice(&before[slot as usize * 512..][..512]);
        let newest = forge.page(1 - slot)[HEADER_TXN..HEADER_TXN + 8].to_vec();
        let pages = u32::try_from(lost.len() / 512).unwrap_or(0);
        for page in 2..pages {
            if forge.page(page)[HEADER_TXN..HEADER_TXN + 8] == newest {
                forge.page(page)[100] ^= 1;
            }
        }
        let opened = open(&forge.bytes).map(drop);
        ensure(opened == Err(Error::Corruption), || format!("slot {slot} is old: {opened:?}"))?;
    }
    Ok(())
}

fn open(bytes: &[u8]) -> Result<BTree, Error> {
    let vfs = MemVfs::new();
    vfs.write_file(PATH, bytes);
    roomy(Arc::new(vfs)).open(PATH)
}

fn typed<T>(error: Error, what: &str) -> Checked<Option<T>> {
    let is_typed = matches!(error, Error::Corruption | Error::NotFound);
    ensure(is_typed, || format!("{what}: {error:?}"))?;
    Ok(None)
}

fn scan(db: &BTree) -> Result<(), Error> {
    db.view("b", |txn| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut iter = txn.iter();
        while iter.next_ref(&mut key, &mut value) {}
        iter.error().map_or(Ok(()), Err)
    })
}

fn get_all(db: &BTree) -> Result<(), Error> {
    let keys = (0..KEYS).map(key);
    let all = ["first".to_owned()].into_iter().chain(keys).chain(["large".to_owned()]);
    all.into_iter().try_for_each(|key| db.view("b", |txn| txn.get(key).map(drop)))
}

/// Whatever else is done ends, well or in a typed error.
fn work(db: &BTree, what: &str) -> Checked {
    let results = [
        get_all(db),
        db.exec("b", |txn| (0..KEYS).step_by(7).try_for_each(|n| txn.put(key(n), "new"))),
        db.exec("b", |txn| (0..KEYS).step_by(5).try_for_each(|n| txn.del(key(n)))),
        db.del_bucket("b"),
        db.verify().map(drop),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        typed::<()>(error, what)?;
    }
    Ok(())
}
