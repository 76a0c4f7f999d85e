//! Histories of transactions that are open at once, beside maps: each that commits has happened at
//! its commit, and those that do not were really too late.

use super::{SETTINGS, store};
use crate::common::random::Random;
use btree_store::{BTree, Error, ErrorDetail, OwnedTxn};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Bound;

type Bucket = BTreeMap<Vec<u8>, Vec<u8>>;
type State = BTreeMap<String, Bucket>;

const SEEDS: u64 = 60;
const STEPS: usize = 150;
const OPEN_MAX: usize = 4;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A call of a transaction. Keys are numbers.
#[derive(Clone, Debug)]
enum Call {
    Get(u32),
    Read(u32),
    Contains(u32),
    Put(u32, Vec<u8>),
    Insert(u32, Vec<u8>),
    Update(u32, Vec<u8>),
    /// Expects what the value is in the second place, and leaves what is in the third.
    Swap(u32, Option<Vec<u8>>, Option<Vec<u8>>),
    Del(u32),
    DeleteRange(u32, u32),
    /// Steps from the front, then steps from the back.
    Walk(u32, u32, [usize; 2]),
    /// Deletes what it comes to, as many steps.
    Sweep(u32, u32, usize),
    Len,
    Ends,
    HasBucket,
    CreateBucket,
    DropBucket,
    List,
    PutFrom(u32, Vec<u8>),
    /// From the first key on, so many, in steps; one of them may come twice.
    Load(u32, u32, Vec<u8>),
}

type Op = (&'static str, Call);

fn key(number: u32) -> Vec<u8> {
    // Some are prefixes of others.
    format!("key{number}").into_bytes()
}

/// Keys in the order of their bytes.
fn bounds(from: u32, to: u32) -> (Vec<u8>, Vec<u8>) {
    let (from, to) = (key(from), key(to));
    if from <= to { (from, to) } else { (to, from) }
}

/// The keys of a load: some are out of order.
fn loaded(from: u32, count: u32) -> Vec<Vec<u8>> {
    (from..from + count).map(key).collect()
}

fn show<T: std::fmt::Debug>(answer: T) -> String {
    format!("{answer:?}")
}

type Entry = (Vec<u8>, Vec<u8>);

/// What an end of a range gives in so many steps, the end of it included.
fn take(steps: usize, mut step: impl FnMut() -> Option<Entry>) -> Vec<Option<Entry>> {
    let mut given = Vec::new();
    for _ in 0..steps {
        let entry = step();
        given.push(entry.clone());
        if entry.is_none() {
            break;
        }
    }
    given
}

/// What the store answers.
fn ask(txn: &OwnedTxn, (name, call): &Op) -> String {
    let mut bucket = txn.bucket(name).unwrap();
    match call {
        Call::Get(at) => show(bucket.get(key(*at))),
        Call::Read(at) => show(bucket.get_reader(key(*at)).map(|mut reader| {
            let mut value = Vec::new();
            reader.read_to_end(&mut value).unwrap();
            value
        })),
        Call::Contains(at) => show(bucket.contains(key(*at))),
        Call::Put(at, value) => show(bucket.put(key(*at), value)),
        Call::Insert(at, value) => show(bucket.insert(key(*at), value)),
        Call::Update(at, value) => show(bucket.update(key(*at), value)),
        Call::Swap(at, old, new) => {
            show(bucket.compare_and_swap(key(*at), old.as_deref(), new.as_deref()))
        }
        Call::Del(at) => show(bucket.del(key(*at))),
        Call::DeleteRange(from, to) => {
            let (from, to) = bounds(*from, *to);
            show(bucket.delete_range(&from..&to))
        }
        Call::Walk(from, to, [front, back]) => {
            let (from, to) = bounds(*from, *to);
            let mut range = bucket.range(&from..&to);
            let given = take(*front, || range.next().transpose().unwrap());
            show((given, take(*back, || range.next_back().transpose().unwrap())))
        }
        Call::Sweep(from, to, steps) => {
            let (from, to) = bounds(*from, *to);
            let mut range = bucket.range(&from..&to);
            show(take(*steps, || {
                let entry = range.next_entry().unwrap();
                let entry = entry.map(|(key, value)| (key.to_vec(), value.to_vec()));
                entry.inspect(|(key, _)| bucket.del(key).unwrap())
            }))
        }
        Call::Len => show((bucket.len(), bucket.is_empty())),
        Call::Ends => show((bucket.first().unwrap(), bucket.last().unwrap())),
        Call::HasBucket => show(txn.contains_bucket(name)),
        Call::CreateBucket => show(txn.create_bucket(name)),
        Call::DropBucket => show(txn.del_bucket(name)),
        Call::List => show(txn.buckets().unwrap()),
        Call::PutFrom(at, value) => {
            show(bucket.put_from(key(*at), value.len() as u64, &mut value.as_slice()))
        }
        Call::Load(from, count, value) => {
            show(bucket.bulk_load(loaded(*from, *count).into_iter().map(|key| (key, value))))
        }
    }
}

/// Keys of a bucket.
type Span = (&'static str, Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What a transaction has seen, written down apart from the store.
#[derive(Clone, Debug, Default)]
struct Seen {
    keys: BTreeSet<(&'static str, Vec<u8>)>,
    spans: Vec<Span>,
    counted: BTreeSet<&'static str>,
    asked: BTreeSet<&'static str>,
    is_listed: bool,
    written: BTreeSet<&'static str>,
    dropped: BTreeSet<&'static str>,
}

fn in_span(state: &State, name: &str, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> Vec<Entry> {
    let entries = state.get(name).into_iter().flat_map(|bucket| {
        bucket.range((from.clone(), to.clone())).map(|(key, value)| (key.clone(), value.clone()))
    });
    entries.collect()
}

impl Seen {
    /// Whether anything of it differs between two states.
    fn differs(&self, then: &State, now: &State) -> bool {
        let value = |state: &State, name: &str, key: &[u8]| {
            state.get(name).and_then(|bucket| bucket.get(key).cloned())
        };
        let len = |state: &State, name: &str| state.get(name).map_or(0, BTreeMap::len);
        self.keys.iter().any(|(name, key)| value(then, name, key) != value(now, name, key))
            || self.spans.iter().any(|(name, from, to)| {
                in_span(then, name, from, to) != in_span(now, name, from, to)
            })
            || self.counted.iter().any(|name| len(then, name) != len(now, name))
            || self.asked.iter().any(|name| then.contains_key(*name) != now.contains_key(*name))
            || (self.is_listed && !then.keys().eq(now.keys()))
    }

    /// A walk over some entries from one end, or both.
    fn walk(
        &mut self,
        name: &'static str,
        (from, to): (Vec<u8>, Vec<u8>),
        given: [&[Option<Entry>]; 2],
    ) {
        let (from, to) = (Bound::Included(from), Bound::Excluded(to));
        if given.iter().any(|given| given.contains(&None)) {
            return self.spans.push((name, from, to));
        }
        let last = given.map(|given| given.last().cloned().flatten());
        if let Some((key, _)) = &last[0] {
            self.spans.push((name, from, Bound::Included(key.clone())));
        }
        if let Some((key, _)) = &last[1] {
            self.spans.push((name, Bound::Included(key.clone()), to));
        }
    }
}

/// Says that all went well.
const DONE: Result<(), Error> = Ok(());

/// A model of a transaction: what it has made of a state, and what it has seen.
struct Model<'m> {
    state: &'m mut State,
    seen: &'m mut Seen,
}

fn copy((key, value): (&Vec<u8>, &Vec<u8>)) -> Entry {
    (key.clone(), value.clone())
}

impl Model<'_> {
    /// What the map answers.
    fn answer(&mut self, (name, call): &Op) -> String {
        match call {
            Call::Get(at)
            | Call::Read(at)
            | Call::Contains(at)
            | Call::Put(at, _)
            | Call::PutFrom(at, _)
            | Call::Insert(at, _)
            | Call::Update(at, _)
            | Call::Swap(at, ..)
            | Call::Del(at) => {
                self.seen.keys.insert((name, key(*at)));
                self.of_key(name, &key(*at), call)
            }
            Call::DeleteRange(from, to) | Call::Walk(from, to, _) | Call::Sweep(from, to, _) => {
                self.of_range(name, bounds(*from, *to), call)
            }
            Call::Load(from, count, value) => self.load(name, &loaded(*from, *count), value),
            _ => self.of_bucket(name, call),
        }
    }

    fn load(&mut self, name: &'static str, keys: &[Vec<u8>], value: &Vec<u8>) -> String {
        let Some(first) = keys.first() else { return show(Ok::<_, Error>(0)) };
        self.seen.spans.push((name, Bound::Included(first.clone()), Bound::Unbounded));
        let bucket = self.state.get(name);
        let mut last = bucket.and_then(|bucket| bucket.keys().next_back().cloned());
        for key in keys {
            match last.as_ref().map(|last| last.cmp(key)) {
                Some(Ordering::Equal) => return show(Err::<(), _>(Error::Duplicate)),
                Some(Ordering::Greater) => return show(Err::<(), _>(Error::Invalid)),
                _ => last = Some(key.clone()),
            }
        }
        for key in keys {
            self.seen.keys.insert((name, key.clone()));
            self.write(name, key, Some(value));
        }
        show(Ok::<_, Error>(keys.len()))
    }

    fn write(&mut self, name: &'static str, key: &[u8], value: Option<&Vec<u8>>) {
        self.seen.written.insert(name);
        let bucket = self.state.entry(name.to_owned()).or_default();
        match value {
            Some(value) => bucket.insert(key.to_vec(), value.clone()),
            None => bucket.remove(key),
        };
    }

    fn of_key(&mut self, name: &'static str, key: &[u8], call: &Call) -> String {
        let found = self.state.get(name).and_then(|bucket| bucket.get(key).cloned());
        let is_there = found.is_some();
        match call {
            Call::Get(_) | Call::Read(_) => show(found.ok_or(Error::NotFound)),
            Call::Insert(..) if is_there => show(Err::<(), _>(Error::Duplicate)),
            Call::Put(_, value) | Call::PutFrom(_, value) | Call::Insert(_, value) => {
                self.write(name, key, Some(value));
                show(DONE)
            }
            Call::Update(_, value) => {
                if is_there {
                    self.write(name, key, Some(value));
                }
                show(Ok::<_, Error>(is_there))
            }
            Call::Swap(_, old, new) => {
                let is_met = found == *old;
                if is_met && (old.is_some() || new.is_some()) {
                    self.write(name, key, new.as_ref());
                }
                show(Ok::<_, Error>(is_met))
            }
            Call::Del(_) if is_there => {
                self.write(name, key, None);
                show(DONE)
            }
            Call::Del(_) => show(Err::<(), _>(Error::NotFound)),
            _ => show(Ok::<_, Error>(is_there)),
        }
    }

    fn of_range(
        &mut self,
        name: &'static str,
        (from, to): (Vec<u8>, Vec<u8>),
        call: &Call,
    ) -> String {
        let bucket = self.state.get(name).cloned().unwrap_or_default();
        let mut range = bucket.range(from.clone()..to.clone());
        let mut remove = |key: &Vec<u8>| {
            self.seen.keys.insert((name, key.clone()));
            self.write(name, key, None);
        };
        match call {
            Call::Walk(.., [front, back]) => {
                let front = take(*front, || range.next().map(copy));
                let back = take(*back, || range.next_back().map(copy));
                self.seen.walk(name, (from, to), [&front, &back]);
                show((front, back))
            }
            Call::Sweep(.., steps) => {
                let given = take(*steps, || range.next().map(copy));
                given.iter().flatten().for_each(|(key, _)| remove(key));
                self.seen.walk(name, (from, to), [&given, &[]]);
                show(given)
            }
            _ => {
                let gone: Vec<&Vec<u8>> = range.map(|(key, _)| key).collect();
                for key in &gone {
                    remove(key);
                }
                self.seen.spans.push((name, Bound::Included(from), Bound::Excluded(to)));
                show(Ok::<_, Error>(gone.len()))
            }
        }
    }

    fn of_bucket(&mut self, name: &'static str, call: &Call) -> String {
        let bucket = self.state.get(name);
        let is_there = bucket.is_some();
        if matches!(call, Call::HasBucket | Call::CreateBucket | Call::DropBucket) {
            self.seen.asked.insert(name);
        }
        match call {
            Call::Len => {
                self.seen.counted.insert(name);
                let len = bucket.map_or(0, BTreeMap::len);
                show((len, len == 0))
            }
            Call::Ends => {
                let first = bucket.and_then(|bucket| bucket.first_key_value().map(copy));
                let last = bucket.and_then(|bucket| bucket.last_key_value().map(copy));
                let reached = |end: &Option<Entry>| {
                    end.clone().map_or(Bound::Unbounded, |(key, _)| Bound::Included(key))
                };
                self.seen.spans.push((name, Bound::Unbounded, reached(&first)));
                self.seen.spans.push((name, reached(&last), Bound::Unbounded));
                show((first, last))
            }
            Call::CreateBucket if is_there => show(Err::<(), _>(Error::Duplicate)),
            Call::CreateBucket => {
                self.state.insert(name.to_owned(), Bucket::new());
                show(DONE)
            }
            Call::DropBucket if is_there => {
                self.state.remove(name);
                self.seen.dropped.insert(name);
                self.seen.spans.push((name, Bound::Unbounded, Bound::Unbounded));
                show(DONE)
            }
            Call::DropBucket => show(Err::<(), _>(Error::NotFound)),
            Call::List => {
                self.seen.is_listed = true;
                show(self.state.keys().collect::<Vec<_>>())
            }
            _ => show(Ok::<_, Error>(is_there)),
        }
    }
}

/// A transaction, and all that is known of it.
struct Open {
    txn: OwnedTxn,
    then: State,
    now: State,
    seen: Seen,
    done: Vec<(Op, String)>,
}

impl Open {
    fn begin(db: &BTree, newest: &State) -> Open {
        let (then, now) = (newest.clone(), newest.clone());
        Open { txn: db.begin(), then, now, seen: Seen::default(), done: Vec::new() }
    }

    fn run(&mut self, op: Op) {
        let answer = ask(&self.txn, &op);
        let Open { now: state, seen, .. } = self;
        let wanted = Model { state, seen }.answer(&op);
        assert_eq!(answer, wanted, "{op:?}");
        self.done.push((op, answer));
    }

    fn has_changes(&self) -> bool {
        let is_changed = |name: &str| {
            let is_new = !self.then.contains_key(name);
            self.now.contains_key(name) && (is_new || self.seen.written.contains(name))
        };
        !self.seen.dropped.is_empty() || NAMES.iter().any(|name| is_changed(name))
    }

    /// Commits; `newest` goes on to what is then the newest state. Returns why it did not.
    fn commit(self, newest: &mut State) -> Option<ErrorDetail> {
        let is_late = self.has_changes() && self.seen.differs(&self.then, newest);
        let told = format!("{:?}\n{:?}", self.done, self.seen);
        let has_changes = self.has_changes();
        let result = self.txn.commit();
        if is_late {
            assert_eq!(result, Err(Error::Conflict), "{told}");
            return Some(Error::Conflict.detail().expect("it is told what changed"));
        }
        assert_eq!(result, Ok(()), "{told}\n{:?}", Error::Conflict.detail());
        if has_changes {
            // As if it had run now.
            let (state, seen) = (newest, &mut Seen::default());
            let mut model = Model { state, seen };
            for (op, answer) in &self.done {
                let now = model.answer(op);
                assert_eq!(now, *answer, "{op:?}\n{told}");
            }
        }
        None
    }
}

/// One shape of histories: how many keys, how long values are.
struct Shape {
    keys: usize,
    value_len_max: usize,
}

impl Shape {
    fn value(&self, random: &mut Random) -> Vec<u8> {
        // Few different ones, so that some are put again.
        let is_long = random.below(12) == 0;
        let len = random.below(if is_long { self.value_len_max } else { 12 });
        vec![u8::try_from(random.below(2)).unwrap(); len]
    }

    fn call(&self, random: &mut Random, state: &State, name: &str) -> Call {
        let at = |random: &mut Random| u32::try_from(random.below(self.keys)).unwrap();
        let (one, other) = (at(random), at(random));
        let steps = [0, 1, 2, 5, 1000];
        let near = u32::try_from(random.below(8)).unwrap();
        match random.below(38) {
            0..3 => Call::Get(one),
            3..6 => Call::Read(one),
            6 => Call::Contains(one),
            7..13 => Call::Put(one, self.value(random)),
            13 | 14 => Call::Insert(one, self.value(random)),
            15 | 16 => Call::Update(one, self.value(random)),
            17 | 18 => {
                let held = state.get(name).and_then(|bucket| bucket.get(&key(one)).cloned());
                let old = if random.below(4) == 0 { Some(Vec::new()) } else { held };
                let new = (random.below(3) > 0).then(|| self.value(random));
                Call::Swap(one, old, new)
            }
            19..23 => Call::Del(one),
            23 => Call::DeleteRange(one, one + near),
            24..27 => Call::Walk(one, other, [steps[random.below(5)], steps[random.below(5)]]),
            27 => Call::Sweep(one, one + near, steps[random.below(5)]),
            28 => Call::Len,
            29 => Call::Ends,
            30 => Call::HasBucket,
            31 => Call::CreateBucket,
            34 | 35 => Call::PutFrom(one, self.value(random)),
            36 | 37 => {
                // Mostly behind the last key, where it is taken.
                let last = state.get(name).and_then(|bucket| bucket.keys().next_back().cloned());
                let last =
                    last.map_or(0, |key| String::from_utf8(key).unwrap()[3..].parse().unwrap());
                let from = if random.below(4) > 0 { last + 1 } else { one };
                Call::Load(from, near, self.value(random))
            }
            32 if random.below(3) == 0 => Call::DropBucket,
            _ => Call::List,
        }
    }
}

/// What the store holds.
fn contents(db: &BTree) -> State {
    let snapshot = db.snapshot();
    let entries = |name: String| {
        let bucket = snapshot.view(&name, |txn| txn.range::<[u8]>(..).collect());
        (name, bucket.unwrap())
    };
    snapshot.buckets().unwrap().into_iter().map(entries).collect()
}

/// Somebody else writes, moves pages, or does nothing.
fn disturb(db: &BTree, random: &mut Random, shape: &Shape, newest: &mut State) {
    let name = NAMES[random.below(3)];
    let number = u32::try_from(random.below(shape.keys)).unwrap();
    match random.below(12) {
        0 => {
            db.compact(0).unwrap();
        }
        1 if newest.remove(name).is_some() => db.del_bucket(name).unwrap(),
        2 => {
            newest.entry(name.to_owned()).or_default();
            db.exec(name, |_| Ok(())).unwrap();
        }
        _ => {
            let value = shape.value(random);
            db.exec(name, |txn| txn.put(key(number), &value)).unwrap();
            newest.entry(name.to_owned()).or_default().insert(key(number), value);
        }
    }
}

/// One history. Counts commits, and what conflicts were told.
fn history(seed: u64, counts: &mut BTreeMap<String, u32>) {
    let mut random = Random::new(seed);
    let setting = SETTINGS[random.below(SETTINGS.len())];
    let shape =
        Shape { keys: [6, 60, 400][random.below(3)], value_len_max: [20, 2_000][random.below(2)] };
    println!("seed {seed}: {setting:?}, {} keys", shape.keys);
    let db = store(setting);
    let mut newest = State::new();
    for _ in 0..shape.keys {
        disturb(&db, &mut random, &shape, &mut newest);
    }
    let mut open: Vec<Open> = Vec::new();
    for _ in 0..STEPS {
        match random.below(20) {
            0..3 if open.len() < OPEN_MAX => open.push(Open::begin(&db, &newest)),
            3 | 4 => disturb(&db, &mut random, &shape, &mut newest),
            5 | 6 if !open.is_empty() => {
                let ended = open.swap_remove(random.below(open.len()));
                let why = ended.commit(&mut newest);
                let told = why.map_or_else(|| "committed".to_owned(), |why| why.to_string());
                *counts.entry(told).or_default() += 1;
                assert!(contents(&db) == newest, "the store holds something else");
            }
            7 if random.below(4) == 0 && !open.is_empty() => {
                drop(open.swap_remove(random.below(open.len())));
            }
            _ if open.is_empty() => {}
            _ => {
                let at = random.below(open.len());
                let name = NAMES[random.below(3)];
                let call = shape.call(&mut random, &open[at].now, name);
                open[at].run((name, call));
            }
        }
    }
    drop(open);
    assert!(contents(&db) == newest, "the store holds something else");
    let report = db.verify().unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn each_transaction_that_commits_has_happened_at_its_commit_and_the_others_were_late() {
    let mut counts = BTreeMap::new();
    (0..SEEDS).for_each(|seed| history(seed, &mut counts));
    println!("{counts:?}");
    // Every kind of conflict was met, and not only conflicts.
    assert_eq!(counts.len(), 6, "{counts:?}");
    assert!(counts.values().all(|&count| count >= 3), "{counts:?}");
}
