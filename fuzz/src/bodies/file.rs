//! A file from elsewhere. What is asked: does nothing panic or hang, is every error a typed one,
//! is what `verify` calls sound readable and writable, does a damaged file ever lie?

use super::dump::{self, Contents, Dump, agrees, judge, poke};
use super::input::Input;
use super::patch::{Hand, Patient};
use super::reseal;
use super::seeds::{self, PATH, Seed, on};
use btree_store::verify::{Report, Standing, verify_path};
use btree_store::vfs::MemVfs;
use btree_store::{BTree, Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Cache sizes in bytes: all of a file, or next to nothing.
const CACHES: [u64; 2] = [1 << 20, 0];
const RAW_PAGE_SIZE: usize = 512;
/// A file without pages behind its meta pages is refused for its length.
const RAW_PAGES_MIN: usize = 8;

/// Checksums stay as they are: what is damaged is to be noticed.
pub fn damaged(data: &[u8]) {
    let mut input = Input::new(data);
    let is_raw = input.once_in(5);
    let cache_bytes = input.pick(&CACHES);
    if is_raw {
        return Case { bytes: raw(&mut input), cache_bytes }.judge();
    }
    let (patient, seed) = patient(Hand::Media, &mut input);
    let case = Case { bytes: patient.bytes, cache_bytes };
    case.judge();
    case.never_lies(&seed.states);
}

/// Checksums are made to fit: what lies behind them is reached.
pub fn forged(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.below(5);
    let cache_bytes = input.pick(&CACHES);
    let bytes = match kind {
        0 => {
            let mut bytes = raw(&mut input);
            reseal::everything(&mut bytes, RAW_PAGE_SIZE);
            bytes
        }
        // What points to the pages that were written to does not know their checksums.
        1 => {
            let (mut patient, seed) = patient(Hand::Forger, &mut input);
            reseal::headers(&mut patient.bytes, seed.page_size, &patient.touched);
            patient.bytes
        }
        _ => {
            let (mut patient, seed) = patient(Hand::Forger, &mut input);
            reseal::everything(&mut patient.bytes, seed.page_size);
            patient.bytes
        }
    };
    Case { bytes, cache_bytes }.judge();
}

/// All that is left of the input, as a file.
fn raw(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = input.all().to_vec();
    // Most of a file is zeros.
    let pages = bytes.len().div_ceil(RAW_PAGE_SIZE).max(RAW_PAGES_MIN);
    bytes.resize(pages * RAW_PAGE_SIZE, 0);
    bytes
}

/// A sound file that is no longer sound, perhaps, and what it was.
fn patient(hand: Hand, input: &mut Input<'_>) -> (Patient<'static>, &'static Seed) {
    let seeds = seeds::all();
    let seed = &seeds[input.below(seeds.len())];
    let (bytes, page_size) = (seed.bytes.clone(), seed.page_size);
    let mut patient = Patient { bytes, page_size, hand, touched: BTreeSet::new(), others: seeds };
    patient.damage(input);
    (patient, seed)
}

/// A file to be judged.
struct Case {
    bytes: Vec<u8>,
    cache_bytes: u64,
}

impl Case {
    fn vfs(&self) -> MemVfs {
        let vfs = MemVfs::new();
        vfs.write_file(PATH, &self.bytes);
        vfs
    }

    fn open(&self, vfs: &MemVfs) -> Result<BTree> {
        on(vfs).cache_bytes(self.cache_bytes).must_exist().open(PATH)
    }

    fn judge(&self) {
        let vfs = self.vfs();
        let report = verify_path(&vfs, PATH).expect("memory does not fail");
        assert!(report.to_json().len() > report.to_string().len() / 8);
        let dump = self.read_only(&vfs);
        if report.is_sound() {
            self.sound(&report, &dump);
        } else {
            self.unsound(&dump);
        }
    }

    /// What a reader finds that may not write.
    fn read_only(&self, vfs: &MemVfs) -> Dump {
        let dump = match on(vfs).cache_bytes(self.cache_bytes).read_only().open(PATH) {
            Ok(db) => {
                let dump = dump::read(&db);
                poke(&db, &dump);
                dump
            }
            Err(error) => Err(error),
        };
        judge(dump.clone());
        assert!(vfs.read_file(PATH).as_ref() == Some(&self.bytes), "a read-only open wrote");
        dump
    }

    /// All of a sound file can be read, is what the walk counted, and can be worked with.
    fn sound(&self, report: &Report, dump: &Dump) {
        let mut expected = dump::contents(dump);
        let state = report.states.iter().find(|state| state.standing == Standing::Accepted);
        let state = state.expect("a sound file has a state");
        let counted = state.buckets.iter().map(|bucket| (bucket.name.as_str(), bucket.entries));
        let found = expected.iter().map(|(name, entries)| (name.as_str(), entries.len() as u64));
        assert!(counted.eq(found), "{report}");
        let vfs = self.vfs();
        let db = self.open(&vfs).expect("a sound file opens");
        assert_eq!(dump::contents(&dump::read(&db)), expected);
        assert_sound(&db);
        for change in changes(&expected) {
            change.on_store(&db).unwrap_or_else(|error| {
                panic!("{change:?} on a sound file: {error:?}, {:?}", error.detail())
            });
            change.on_model(&mut expected);
            // The walk is slow; what was wrong earlier is mostly still wrong.
            if change == Change::Compact {
                assert_sound(&db);
            }
        }
        assert_eq!(dump::contents(&dump::read(&db)), expected);
        drop(db);
        let db = self.open(&vfs).expect("the file opens again");
        assert_eq!(dump::contents(&dump::read(&db)), expected);
        assert_sound(&db);
    }

    /// What can be read and written of a file that is not sound is; the rest is an error.
    fn unsound(&self, dump: &Dump) {
        let vfs = self.vfs();
        let db = match self.open(&vfs) {
            Ok(db) => db,
            Err(error) => {
                judge(Err::<(), _>(error));
                assert!(vfs.read_file(PATH).as_ref() == Some(&self.bytes), "a refused file");
                return;
            }
        };
        let again = dump::read(&db);
        assert_eq!(*dump, again, "a reader that may write finds something else");
        let names = dump.as_ref().map(|buckets| buckets.keys().cloned().collect());
        let names: Vec<String> = names.unwrap_or_default();
        let contents: Contents = names.into_iter().map(|name| (name, BTreeMap::new())).collect();
        for change in changes(&contents) {
            match change.on_store(&db) {
                // A file may claim as many buckets as can be: then there is no room for another.
                Err(Error::NoSpace) => {}
                result => drop(judge(result)),
            }
        }
        judge(db.verify());
        judge(dump::read(&db));
        drop(db);
        if let Some(db) = judge(self.open(&vfs)) {
            judge(dump::read(&db));
        }
    }

    /// Whatever a file damaged by chance answers is right in a state that it held.
    fn never_lies(&self, states: &[Contents]) {
        let vfs = self.vfs();
        let Ok(db) = self.open(&vfs) else { return };
        let dump = dump::read(&db);
        let is_right = states.iter().any(|state| agrees(&db, &dump, state));
        assert!(is_right, "an answer that is right in no state: {dump:?}");
    }
}

fn assert_sound(db: &BTree) {
    let report = db.verify().expect("memory does not fail");
    assert!(report.is_sound(), "{report}");
}

/// Work on a file of unknown origin.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Put(String, Vec<u8>, usize),
    DeleteRange(String, Vec<u8>),
    DropBucket(String),
    Compact,
}

/// Some of each, in all buckets, or in some of many.
fn changes(contents: &Contents) -> Vec<Change> {
    let mut changes = vec![Change::Put("new bucket".into(), b"key".to_vec(), 30)];
    for (name, entries) in contents.iter().step_by(1 + contents.len() / 4) {
        let middle = entries.keys().nth(entries.len() / 2).cloned();
        let middle = middle.unwrap_or_else(|| b"k".to_vec());
        changes.push(Change::Put(name.clone(), b"\0lowest".to_vec(), 200));
        changes.push(Change::Put(name.clone(), middle.clone(), 1500));
        changes.push(Change::DeleteRange(name.clone(), middle));
    }
    changes.push(Change::Compact);
    changes.extend(contents.keys().next().cloned().map(Change::DropBucket));
    changes.extend(contents.keys().nth(1).cloned().map(Change::DropBucket));
    changes.push(Change::Compact);
    changes
}

impl Change {
    fn on_store(&self, db: &BTree) -> Result<()> {
        match self {
            Change::Put(bucket, key, len) => db.exec(bucket, |txn| txn.put(key, vec![b'+'; *len])),
            Change::DeleteRange(bucket, from) => db.exec(bucket, |txn| {
                let deleted = txn.delete_range(from.as_slice()..)?;
                // A range may be empty, and a bucket may hold more than anybody can wait for.
                if deleted > 0 { Ok(()) } else { txn.put("\0", "") }
            }),
            Change::DropBucket(name) => db.del_bucket(name),
            Change::Compact => db.compact(0).map(drop),
        }
    }

    fn on_model(&self, contents: &mut Contents) {
        match self {
            Change::Put(bucket, key, len) => {
                let entries = contents.entry(bucket.clone()).or_default();
                entries.insert(key.clone(), vec![b'+'; *len]);
            }
            Change::DeleteRange(bucket, from) => {
                let entries = contents.entry(bucket.clone()).or_default();
                if entries.split_off(from).is_empty() {
                    entries.insert(vec![0], Vec::new());
                }
            }
            Change::DropBucket(name) => drop(contents.remove(name)),
            Change::Compact => {}
        }
    }
}
