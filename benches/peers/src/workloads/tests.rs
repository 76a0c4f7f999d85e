//! No piece asks for keys that an earlier piece of the same engine has just read: the processor's
//! caches would hold them, and whichever form comes second would look quick.

use super::{large, mixed, read};
use crate::data::{Data, Kind, Order, Queries, Spread};
use crate::engine::{Answer, Batch, Direction, Engine, Form, Result, Scope, Seen};
use crate::engines;
use crate::rig::{Rig, Scratch};
use crate::settings::Settings;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const ROUNDS: usize = 3;
const QUERIES: usize = 64;
/// Lists of so many keys of ten thousand share some by chance, but hardly more than this.
const KEYS: usize = 10_000;
const SHARED_MAX: usize = 8;

type Log = Arc<Mutex<Vec<Vec<u32>>>>;

/// A map that notes which keys it is asked for.
struct Spy {
    inner: Box<dyn Engine>,
    log: Log,
}

impl Engine for Spy {
    fn write(&self, batch: &Batch<'_>) -> Result<()> {
        self.inner.write(batch)
    }

    fn get(&self, queries: &Queries, scope: Scope, form: Form) -> Answer<Seen> {
        self.log.lock().unwrap().push(queries.pairs().to_vec());
        self.inner.get(queries, scope, form)
    }

    fn get_many(&self, queries: &Queries, _group: usize) -> Answer<Seen> {
        self.get(queries, Scope::Long, Form::Borrowed)
    }

    fn scan(&self, direction: Direction) -> Answer<Seen> {
        self.inner.scan(direction)
    }

    fn seek(&self, queries: &Queries, entries: usize) -> Answer<Seen> {
        self.inner.seek(queries, entries)
    }
}

fn settings() -> Settings {
    let arguments = format!("--no-burst --rounds {ROUNDS} --queries {QUERIES}");
    Settings::parse(arguments.split(' ').map(str::to_owned)).unwrap()
}

fn spy(settings: &Settings, data: &Data) -> ([Rig; 1], Log) {
    let peer = engines::all().into_iter().find(|peer| peer.name == "BTreeMap").unwrap();
    let scratch = Scratch::new(&settings.memory).unwrap();
    let (inner, log) = ((peer.open)(scratch.path(), 0).unwrap(), Log::default());
    let rig = Rig { engine: Box::new(Spy { inner, log: Arc::clone(&log) }), scratch, peer };
    rig.load(data, &data.order(Order::Random)).unwrap();
    ([rig], log)
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    let a: BTreeSet<_> = a.iter().collect();
    b.iter().filter(|pair| a.contains(pair)).count()
}

/// As many lists as are expected, none of which has the keys of another.
fn assert_strangers(log: &Log, lists: usize) {
    let keys = log.lock().unwrap().concat();
    let found: Vec<&[u32]> = keys.chunks(QUERIES).collect();
    assert_eq!(found.len(), lists);
    for (at, list) in found.iter().enumerate() {
        for (earlier, other) in found[..at].iter().enumerate() {
            let shared = shared(list, other);
            assert!(shared <= SHARED_MAX, "lists {earlier} and {at} share {shared} keys");
        }
    }
}

#[test]
fn forms_threads_and_rounds_of_gets_have_keys_of_their_own() {
    let (settings, data) = (settings(), Data::new(Kind::Random, KEYS));
    let (rigs, log) = spy(&settings, &data);
    let mut lists = 0;
    for (threads, scope) in [(1, Scope::PerGet), (1, Scope::Long), (2, Scope::Long)] {
        let name = format!("get/{scope:?}/{threads}");
        let spread = Spread::Uniform;
        let gets = read::Gets { settings: &settings, data: &data, name, spread, scope, threads };
        assert_eq!(gets.row(&rigs).unwrap().series.len(), 2);
        // Two forms, and for each thread a list to warm up with and one to time.
        lists += ROUNDS * 2 * threads * 2;
    }
    assert_strangers(&log, lists);
}

#[test]
fn gets_together_and_one_by_one_have_keys_of_their_own() {
    let (settings, data) = (settings(), Data::new(Kind::Random, KEYS));
    let (rigs, log) = spy(&settings, &data);
    let row = read::get_many(&settings, &data, "get-many".to_owned(), &rigs).unwrap();
    assert_eq!(row.series.len(), 2);
    assert_strangers(&log, ROUNDS * 2 * 2);
}

#[test]
fn a_reader_alone_and_one_beside_a_writer_have_keys_of_their_own() {
    let _alone = crate::tests::alone();
    let (settings, data) = (settings(), Data::new(Kind::Random, KEYS));
    let (rigs, log) = spy(&settings, &data);
    let (wait, pace) = ("reader".to_owned(), "writer".to_owned());
    let (wait, pace) = mixed::rows(&settings, wait, pace, &data, &rigs).unwrap();
    assert_eq!((wait.series.len(), pace.series.len()), (2, 1));
    assert_strangers(&log, ROUNDS * 2 * 2);
}

#[test]
fn forms_of_large_gets_have_values_of_their_own_in_a_round() {
    let (settings, data) = (settings(), Data::random(96, 64));
    let (rigs, log) = spy(&settings, &data);
    let row = large::gets(&settings, "large".to_owned(), &data, &rigs).unwrap();
    assert_eq!(row.series.len(), 2);
    let log = log.lock().unwrap();
    assert_eq!(log.len(), ROUNDS * 4);
    for round in log.chunks(4) {
        let [warm, timed, again, other] = round else { panic!("a round of {}", round.len()) };
        assert_eq!(warm, again);
        for (a, b) in [(timed, other), (timed, warm), (other, warm)] {
            assert_eq!((a.len(), shared(a, b)), (32, 0));
        }
    }
}
