//! Small files with everything in them, and what they hold.

use crate::common::random::Random;
use crate::common::walk::{Owner, Walk};
use crate::common::{NAME, on};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Options};
use std::collections::BTreeMap;
use std::sync::OnceLock;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A file that was closed cleanly.
pub struct Sample {
    pub name: &'static str,
    pub page_size: usize,
    pub bytes: Vec<u8>,
    /// What the file was at earlier closings.
    pub older: Vec<Vec<u8>>,
    pub buckets: BTreeMap<String, Entries>,
}

/// A store and its twin.
struct Author {
    vfs: MemVfs,
    page_size: u32,
    buckets: BTreeMap<String, Entries>,
    older: Vec<Vec<u8>>,
}

impl Author {
    fn new(page_size: u32) -> Author {
        let (vfs, buckets, older) = (MemVfs::new(), BTreeMap::new(), Vec::new());
        Author { vfs, page_size, buckets, older }
    }

    fn session(&mut self, work: impl FnOnce(&BTree, &mut BTreeMap<String, Entries>)) {
        let options: Options = on(self.vfs.clone()).page_size(self.page_size);
        let db = options.open(NAME).unwrap();
        work(&db, &mut self.buckets);
        drop(db);
        self.older.push(self.vfs.read_file(NAME).unwrap());
    }

    fn publish(mut self, name: &'static str) -> Sample {
        let bytes = self.older.pop().unwrap();
        let (page_size, buckets) = (self.page_size as usize, self.buckets);
        Sample { name, page_size, bytes, older: self.older, buckets }
    }
}

fn put(
    db: &BTree,
    buckets: &mut BTreeMap<String, Entries>,
    bucket: &str,
    list: &[(String, Vec<u8>)],
) {
    db.exec(bucket, |txn| list.iter().try_for_each(|(key, value)| txn.put(key, value))).unwrap();
    let twin = buckets.entry(bucket.to_owned()).or_default();
    twin.extend(list.iter().map(|(key, value)| (key.clone().into_bytes(), value.clone())));
}

fn del(db: &BTree, buckets: &mut BTreeMap<String, Entries>, bucket: &str, key: &str) {
    let deleted = db.exec(bucket, |txn| txn.del(key));
    let was_there = buckets.get_mut(bucket).unwrap().remove(key.as_bytes()).is_some();
    assert_eq!(deleted, if was_there { Ok(()) } else { Err(Error::NotFound) });
}

/// Branches, leaves, overflow runs, two buckets and an empty one.
fn plain() -> Sample {
    let mut author = Author::new(512);
    let mut random = Random::new(1);
    for round in 0..4 {
        author.session(|db, buckets| {
            let list: Vec<_> = (0..60)
                .map(|i| (format!("key_{:04}", (i * 7 + round) % 200), random.bytes(i % 23)))
                .collect();
            put(db, buckets, "tree", &list);
            let large = random.bytes(1_300);
            put(db, buckets, "tree", &[("large".to_owned(), large)]);
            let value = random.bytes(513);
            put(db, buckets, "small", &[(format!("only {round}"), value)]);
            put(db, buckets, "empty", &[]);
            (0..10).for_each(|i| del(db, buckets, "tree", &format!("key_{:04}", i * 11 + round)));
        });
    }
    author.publish("plain")
}

/// Many buckets: the catalog is a tree.
fn many_buckets() -> Sample {
    let mut author = Author::new(512);
    let mut random = Random::new(2);
    for round in 0..3 {
        author.session(|db, buckets| {
            for i in 0..30 {
                let value = random.bytes(20 + i);
                let list = [(format!("k{round}"), value), ("same".to_owned(), vec![1; i])];
                put(db, buckets, &format!("bucket number {:02}", (i * 5 + round) % 36), &list);
            }
            let name = format!("bucket number {:02}", round * 5);
            db.del_bucket(&name).unwrap();
            buckets.remove(&name);
        });
    }
    author.publish("many buckets")
}

/// Free pages in many places: the space log has pages of its own.
fn long_log() -> Sample {
    let mut author = Author::new(512);
    let mut random = Random::new(3);
    author.session(|db, buckets| {
        let list: Vec<_> = (0..120).map(|i| (format!("{i:03}"), random.bytes(400))).collect();
        put(db, buckets, "b", &list);
    });
    for round in 0..3 {
        author.session(|db, buckets| {
            (0..35).for_each(|i| del(db, buckets, "b", &format!("{:03}", (i * 3 + round) % 120)));
            for i in 0..4 {
                put(db, buckets, "c", &[(format!("{}", i + round), random.bytes(60))]);
            }
        });
    }
    author.publish("long log")
}

/// All samples, made once.
pub fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let all = vec![plain(), many_buckets(), long_log()];
        let kinds = |sample: &Sample| {
            let walk = Walk::new(&sample.bytes);
            let owners: Vec<Owner> = walk.owners(walk.newest()).into_values().collect();
            println!(
                "{}: {} bytes, {} pages in use",
                sample.name,
                sample.bytes.len(),
                owners.len()
            );
            owners
        };
        let has = |sample: &Sample, owner: Owner| kinds(sample).contains(&owner);
        assert!(has(&all[0], Owner::Run) && has(&all[0], Owner::Tree(1)));
        assert!(has(&all[1], Owner::Catalog));
        assert!(has(&all[2], Owner::Log));
        all
    })
}
