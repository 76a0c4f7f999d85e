//! Sound files of every kind, built by hand.

use crate::build::{Builder, Entry, Fan, File, State, Tree, inline, snapshot, transaction};

/// A file, what was built into it, and the state of its newest slot.
pub struct Sample {
    pub builder: Builder,
    pub state: State,
    /// The state of the other slot, where it is an older one.
    pub before: Option<State>,
    /// Two levels, ascending keys, small values.
    pub a: Tree,
    /// One leaf, short keys, values in runs of 2, 3 and 1 pages.
    pub o: Tree,
    /// The catalog's tree, where it is one.
    pub catalog: Tree,
    /// Three levels.
    pub deep: Tree,
    /// Pages that nobody uses.
    pub spare: Vec<u32>,
    /// Pages of the space log, oldest first.
    pub log: Vec<u32>,
    /// What each bucket holds.
    pub buckets: Vec<(String, Vec<Entry>)>,
}

impl Sample {
    /// Writes the slot again after its state was changed.
    pub fn rewrite(&mut self) {
        self.builder.slot(&self.state);
    }

    pub fn file(&mut self) -> &mut File {
        &mut self.builder.file
    }
}

pub fn numbered(prefix: &str, count: usize, value_len: usize) -> Vec<Entry> {
    let entry = |at| {
        let value = (0..value_len).map(|byte| u8::try_from((at + byte) % 251).expect("a byte"));
        (format!("{prefix}{at:04}").into_bytes(), value.collect())
    };
    (0..count).map(entry).collect()
}

/// Keys around the length of a head, values inline and in runs.
fn short_keys(size: usize) -> Vec<Entry> {
    let value = |pages: usize, less: usize| vec![0x5A; pages * size - less];
    [
        (&b"a"[..], vec![]),
        (b"ab", b"1".to_vec()),
        (b"abc", b"22".to_vec()),
        (b"abcd", value(2, size / 3)),
        (b"abcd\0", b"0".to_vec()),
        (b"abcde", b"333".to_vec()),
        (b"b", value(3, 0)),
        (b"c", value(1, 7)),
    ]
    .map(|(key, value)| (key.to_vec(), value))
    .to_vec()
}

const FAN: Fan = Fan { leaf: 8, branch: 60 };

/// An inline catalog with a tree of two levels, one of a leaf with runs, and an empty bucket; the
/// space log in the tail; the other slot torn.
pub fn single(size: usize) -> Sample {
    let mut builder = Builder::new(size);
    let (a_entries, o_entries) = (numbered("key", 40, 20), short_keys(size));
    let mut spare = vec![builder.add(1)];
    let a = builder.tree(5, &a_entries, FAN);
    spare.push(builder.add(1));
    spare.push(builder.add(1));
    let o = builder.tree(3, &o_entries, FAN);
    spare.push(builder.add(1));
    let empty = Tree::default();
    let state = State {
        txn: 7,
        page_count: builder.file.pages(),
        buckets: 3,
        inline: inline(&[("a", &a), ("o", &o), ("z", &empty)]),
        tail: snapshot(2, u32::MAX, &spare),
        ..State::default()
    };
    let buckets = [("a", a_entries), ("o", o_entries), ("z", vec![])];
    let buckets = buckets.map(|(name, entries)| (name.to_owned(), entries)).to_vec();
    let (catalog, deep, log) = (Tree::default(), Tree::default(), vec![]);
    let before = None;
    let mut sample = Sample { builder, state, before, a, o, catalog, deep, spare, log, buckets };
    sample.rewrite();
    sample.file().seal();
    sample
}

/// The same with a mirror in slot 1, as a clean close leaves it.
pub fn at_rest(size: usize) -> Sample {
    let mut sample = single(size);
    sample.state = State { slot: 1, flags: 2, ..sample.state };
    sample.rewrite();
    sample.state = State { slot: 0, flags: 0, ..sample.state };
    sample.file().seal();
    sample
}

/// A catalog that is a tree, a bucket of three levels, and the space log in two pages and a tail.
pub fn large(size: usize) -> Sample {
    let mut builder = Builder::new(size);
    let mut buckets = vec![
        ("alpha".to_owned(), numbered("key", 40, 20)),
        ("deep".to_owned(), numbered("a-longer-key-", 62, 10)),
        ("omega".to_owned(), short_keys(size)),
        ("void".to_owned(), vec![]),
    ];
    buckets.extend((0..20).map(|at| (format!("bucket{at:02}"), numbered("k", 2, 3))));
    buckets.sort();
    let mut trees = Vec::new();
    let mut spare = vec![builder.add(1)];
    for (name, entries) in &buckets {
        let fan = if name == "deep" { Fan { leaf: 4, branch: 4 } } else { FAN };
        trees.push(builder.tree(6, entries, fan));
    }
    spare.push(builder.add(1));
    let tree_of = |wanted: &str| {
        let at = buckets.iter().position(|(name, _)| name == wanted);
        trees[at.expect("there is such a bucket")].clone()
    };
    let (a, deep, o) = (tree_of("alpha"), tree_of("deep"), tree_of("omega"));
    let names = buckets.iter().zip(&trees);
    let records: Vec<Entry> =
        names.map(|((name, _), tree)| (name.clone().into_bytes(), tree.record())).collect();
    let catalog = builder.tree(8, &records, Fan { leaf: 6, branch: 8 });
    spare.push(builder.add(1));
    spare.push(builder.add(1));
    let pages = builder.file.pages();
    // One page was freed by an older transaction, one by the state's own; one was allocated.
    let (freed, pending, taken) = (spare[1], spare[2], deep.leaves[3]);
    let unused = [spare[0], spare[3], taken];
    let middle = deep.leaves[5];
    let portion = |from: u32, to: u32| {
        let within: Vec<u32> =
            unused.iter().copied().filter(|page| (from..to).contains(page)).collect();
        snapshot(from, to, &within)
    };
    let grown = vec![3, pages - 1, pages + 2];
    let mut first = [grown, portion(2, middle)].concat();
    first.extend(transaction(4, &[taken], &[]));
    let second = portion_without(&portion(middle, u32::MAX), pages + 2);
    let log = builder.log(8, &[first, second]);
    let tail = [transaction(5, &[log.0 - 1, log.0], &[freed]), transaction(10, &[], &[pending])];
    let state = State {
        txn: 10,
        page_count: builder.file.pages(),
        flags: 1,
        log,
        buckets: u32::try_from(buckets.len()).expect("there are few"),
        catalog: (catalog.root, catalog.level),
        tail: tail.concat(),
        ..State::default()
    };
    let log = vec![log.0 - 1, log.0];
    let before = None;
    let mut sample = Sample { builder, state, before, a, o, catalog, deep, spare, log, buckets };
    sample.rewrite();
    sample.file().seal();
    sample
}

/// Adds to a snapshot that the log's own pages, which are the last two, were unused then.
fn portion_without(record: &[u32], pages: u32) -> Vec<u32> {
    let mut record = record.to_vec();
    // The page in front of them is unused too.
    let last = record.len() - 1;
    assert_eq!(record[last - 1] + record[last], pages - 2, "the last spare page is in front");
    record[last] += 2;
    record
}

/// Two states: transaction 6 in slot 0, and 7, which replaced a leaf of `a`, added a bucket with
/// a run, and lists what it wrote, in slot 1. The sample's own state is that of 7.
pub fn pair(size: usize) -> Sample {
    let mut builder = Builder::new(size);
    let (a_entries, o_entries) = (numbered("key", 40, 20), short_keys(size));
    let old = builder.tree(6, &a_entries, FAN);
    let o = builder.tree(3, &o_entries, FAN);
    let mut spare = vec![builder.add(1)];
    let leaf = copy(&mut builder, old.leaves[2], 7);
    let root = copy(&mut builder, old.root, 7);
    let child = builder.file.arrays(root)[0] + 8 * 2;
    builder.file.set_u32(root, child, leaf);
    let at = builder.file.value(leaf, 1);
    builder.file.set_u8(leaf, at, 0xEE);
    let r_entries = vec![(b"large".to_vec(), vec![7; 2 * size - 9])];
    let r = builder.tree(7, &r_entries, FAN);
    spare.push(builder.add(1));
    let mut a = Tree { root, branches: vec![root], ..old.clone() };
    a.leaves[2] = leaf;
    let run = r.runs[0];
    let written = [vec![leaf, root, r.root], (run.0..run.0 + run.1).collect()].concat();
    let unused = [written.clone(), spare.clone()].concat();
    let before = State {
        txn: 6,
        page_count: builder.file.pages(),
        buckets: 2,
        inline: inline(&[("a", &old), ("o", &o)]),
        tail: snapshot(2, u32::MAX, &unused),
        ..State::default()
    };
    builder.slot(&before);
    let mut items = vec![(leaf, 1), (root, 1), (r.root, 1), (run.0, run.1 | 1 << 31)];
    items.sort_unstable();
    let change = transaction(7, &written, &[old.leaves[2], old.root]);
    let state = State {
        slot: 1,
        txn: 7,
        buckets: 3,
        inline: inline(&[("a", &a), ("o", &o), ("r", &r)]),
        items,
        tail: [before.tail.clone(), change].concat(),
        ..before.clone()
    };
    let mut new_entries = a_entries;
    new_entries[2 * FAN.leaf + 1].1[0] = 0xEE;
    let buckets = [("a", new_entries), ("o", o_entries), ("r", r_entries)];
    let buckets = buckets.map(|(name, entries)| (name.to_owned(), entries)).to_vec();
    let deep = old;
    let catalog = r;
    let (before, log) = (Some(before), vec![]);
    let mut sample = Sample { builder, state, before, a, o, catalog, deep, spare, log, buckets };
    sample.rewrite();
    sample.file().seal();
    sample
}

/// A copy of a page as a transaction that replaces it writes it.
fn copy(builder: &mut Builder, page: u32, txn: u64) -> u32 {
    let id = builder.add(1);
    let bytes = builder.file.page(page).to_vec();
    builder.file.page_mut(id).copy_from_slice(&bytes);
    builder.file.set_u32(id, 4, id);
    builder.file.set_u64(id, 8, txn);
    id
}

/// A file without buckets, as creation leaves it.
pub fn new_file(size: usize) -> File {
    let mut builder = Builder::new(size);
    let state = State { page_count: 2, ..State::default() };
    builder.slot(&state);
    builder.slot(&State { slot: 1, flags: 2, ..state });
    builder.file.seal();
    builder.file
}
